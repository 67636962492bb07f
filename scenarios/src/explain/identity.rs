//! Rules of the headers of the network: who may say them, and to whom (TS 24.229 §4.4, §5.1.2A,
//! §5.2, RFC 3325).

use std::collections::{BTreeMap, BTreeSet};

use cscf_core::clause::{rfc3325, ts24229};
use cscf_core::sip::{HeaderName, Method, NameAddr, Request};

use super::rule::{Found, rules};
use super::security::is_edge;
use super::traffic::{Item, Kind, Traffic};

/// Users registered from one host that are told apart, at most.
const USERS_MAX: usize = 64;

rules! {
    ASSERTED_BY_UE = Warning "IDE-010" ts24229("5.1.2A.1.1"),
        "a UE asserts its identity itself",
        "nobody believes a UE; the P-CSCF takes the header away or refuses",
        "write P-Preferred-Identity, and let the P-CSCF assert";
    WITHHELD = Error "IDE-020" rfc3325("7"),
        "an identity that is to be withheld goes to the UE",
        "the caller asked for privacy and is shown",
        "take P-Asserted-Identity out where Privacy has id, before it leaves the trust domain";
    CHARGING_OF_UE = Error "IDE-030" ts24229("4.5.1"),
        "a UE sends charging headers",
        "charging by what a UE says can be evaded",
        "leave P-Charging-Vector and P-Charging-Function-Addresses to the network";
    CHARGING_TO_UE = Error "IDE-040" ts24229("4.5.1"),
        "charging headers go to the UE",
        "names of the network's charging leave the network",
        "take P-Charging-Vector and P-Charging-Function-Addresses out at the P-CSCF";
    ACCESS_TO_UE = Error "IDE-050" ts24229("4.4.4"),
        "P-Access-Network-Info of one user goes to another",
        "the callee learns in which cell the caller is",
        "take P-Access-Network-Info out before the message leaves the trust domain";
    PREFERRED_GOES_ON = Error "IDE-060" ts24229("5.2.6.3"),
        "P-Preferred-Identity goes on behind the P-CSCF",
        "a wish of the UE is mixed with what the network asserts",
        "let the P-CSCF replace it by P-Asserted-Identity";
    NOT_ASSERTED = Error "IDE-070" ts24229("5.2.6.3"),
        "the P-CSCF sends a request on without P-Asserted-Identity",
        "the S-CSCF does not know who calls, and refuses",
        "let the P-CSCF assert a registered identity, that of P-Preferred-Identity if it is one";
    NOT_VISITED = Error "IDE-080" ts24229("5.2.2.1"),
        "REGISTER goes on without P-Visited-Network-ID, Path or Require: path",
        "the home network cannot check roaming, or does not know the way back to the UE",
        "let the P-CSCF add all three";
    NO_ICID = Error "IDE-090" ts24229("5.2.6.3"),
        "the P-CSCF sends a request on without P-Charging-Vector with an icid",
        "the records of the nodes cannot be put together",
        "let the P-CSCF make an icid for each dialog and stand-alone transaction";
    SERVED_TO_UE = Error "IDE-100" ts24229("4.4.13"),
        "P-Served-User or P-Visited-Network-ID goes to the UE",
        "what is for the servers of the network leaves it",
        "take both out before the message goes to the UE";
    VISITED_OF_UE = Warning "IDE-110" ts24229("5.2.2.1"),
        "a UE sends P-Visited-Network-ID",
        "only the P-CSCF knows which network it is of",
        "leave the header out";
    ACCESS_OF_UE = Error "IDE-120" ts24229("5.1.2A.1.1"),
        "a protected request has no P-Access-Network-Info",
        "the network does not know where the user is: emergency and charging suffer",
        "send P-Access-Network-Info in every request but ACK and CANCEL";
    NOT_THE_ROUTE = Error "IDE-130" ts24229("5.1.2A.1.1"),
        "Route of an initial request does not end with the Service-Route",
        "the request misses the user's S-CSCF and its services; the P-CSCF refuses with 400",
        "write the P-CSCF and then the Service-Route of the last 200 to REGISTER, in order";
    NO_CONTEXT = Error "IDE-140" ts24229("5.1.2A.1.5"),
        "a local number has no phone-context",
        "nobody can tell in which country or network the number is",
        "write tel:1234;phone-context=ims.example, or an international number with +";
}

/// Looks at all messages.
pub(super) fn check(traffic: &Traffic, found: &mut Found) {
    let mut registered: BTreeSet<usize> = BTreeSet::new();
    for item in traffic.fresh() {
        if item.method == Method::Register && item.status() == 200 && traffic.is_ue(item.to) {
            registered.insert(item.to);
        }
        if item.own && traffic.is_ue(item.from) {
            of_ue(item, found);
        }
        if is_edge(traffic, item.from) {
            if traffic.is_ue(item.to) {
                to_ue(item, found);
            } else if item.status() == 0 {
                inwards(traffic, item, &registered, found);
            }
        }
    }
    routes(traffic, found);
    numbers(traffic, found);
}

fn of_ue(item: &Item, found: &mut Found) {
    let first = |names: &[HeaderName]| names.iter().copied().find(|name| item.has(*name));
    let charging = [HeaderName::PChargingVector, HeaderName::PChargingFunctionAddresses];
    if let Some(name) = first(&charging) {
        found.add(&CHARGING_OF_UE, item, format!("{name} in {}", item.label()));
    }
    if item.has(HeaderName::PAssertedIdentity) {
        found.add(&ASSERTED_BY_UE, item, item.header(HeaderName::PAssertedIdentity));
    }
    if item.has(HeaderName::PVisitedNetworkId) {
        found.add(&VISITED_OF_UE, item, item.header(HeaderName::PVisitedNetworkId));
    }
    // REGISTER has rules of its own.
    let exempt = matches!(item.method, Method::Ack | Method::Cancel | Method::Register);
    if item.protected && !exempt && item.status() == 0 && !item.has(HeaderName::PAccessNetworkInfo)
    {
        found.add(&ACCESS_OF_UE, item, item.label());
    }
}

fn to_ue(item: &Item, found: &mut Found) {
    let privacy = item.headers().privacy();
    if item.has(HeaderName::PAssertedIdentity)
        && privacy.is_ok_and(|it| it.hides_asserted_identity())
    {
        let detail = format!(
            "Privacy: {}, P-Asserted-Identity: {}",
            item.header(HeaderName::Privacy),
            item.header(HeaderName::PAssertedIdentity)
        );
        found.add(&WITHHELD, item, detail);
    }
    for (name, rule) in [
        (HeaderName::PChargingVector, &CHARGING_TO_UE),
        (HeaderName::PChargingFunctionAddresses, &CHARGING_TO_UE),
        (HeaderName::PAccessNetworkInfo, &ACCESS_TO_UE),
        (HeaderName::PServedUser, &SERVED_TO_UE),
        (HeaderName::PVisitedNetworkId, &SERVED_TO_UE),
    ] {
        if item.has(name) {
            found.add(rule, item, format!("{name} in {}", item.label()));
        }
    }
}

/// A request that the P-CSCF sends into the network.
fn inwards(traffic: &Traffic, item: &Item, registered: &BTreeSet<usize>, found: &mut Found) {
    if item.has(HeaderName::PPreferredIdentity) {
        found.add(&PREFERRED_GOES_ON, item, item.header(HeaderName::PPreferredIdentity));
    }
    // Towards another P-CSCF, and what it makes itself, is no business of these.
    if item.vias < 2 || !item.is_initial() {
        return;
    }
    let Some(ue) = ue_of(traffic, item) else { return };
    if item.method == Method::Register {
        let lacking = [HeaderName::PVisitedNetworkId, HeaderName::Path]
            .into_iter()
            .find(|name| !item.has(*name))
            .map(|name| name.to_string())
            .or_else(|| {
                let required = item.has_token(HeaderName::Require, "path");
                (!required).then(|| "path in Require".to_owned())
            });
        if let Some(name) = lacking {
            found.add(&NOT_VISITED, item, format!("{name} is missing"));
        }
        return;
    }
    // Who calls for help without being registered has no identity to assert (§5.2.10.2).
    let emergency = item.as_request().is_some_and(Request::asks_emergency_service);
    let known = registered.contains(&ue) || !emergency;
    if known && !item.has(HeaderName::PAssertedIdentity) {
        found.add(&NOT_ASSERTED, item, item.label());
    }
    if !item.header(HeaderName::PChargingVector).contains("icid-value=") {
        found.add(&NO_ICID, item, item.label());
    }
}

/// The UE whose request the P-CSCF forwards.
fn ue_of(traffic: &Traffic, item: &Item) -> Option<usize> {
    let before = traffic.items.get(..item.index).unwrap_or_default();
    before
        .iter()
        .rev()
        .take(1_000)
        .find(|it| it.to == item.from && it.call_id == item.call_id && it.cseq == item.cseq)
        .map(|it| it.from)
        .filter(|from| traffic.is_ue(*from))
}

fn uris(item: &Item, name: HeaderName) -> Vec<String> {
    item.headers()
        .values(name)
        .map(|it| NameAddr::parse(it).map_or_else(|_| it.to_owned(), |it| it.uri.to_string()))
        .collect()
}

/// Initial requests of registered UEs against the Service-Route of their last 200; a host may hold
/// several phones.
fn routes(traffic: &Traffic, found: &mut Found) {
    type Routes<'a> = BTreeMap<&'a str, (Vec<String>, &'a Item)>;
    let mut known: BTreeMap<usize, Routes<'_>> = BTreeMap::new();
    for item in traffic.fresh() {
        let to_ue = traffic.is_ue(item.to);
        if item.method == Method::Register && item.status() == 200 && to_ue {
            let user = item.header(HeaderName::To).split('>').next().unwrap_or_default();
            let route = uris(item, HeaderName::ServiceRoute);
            let routes = known.entry(item.to).or_default();
            if route.is_empty() {
                routes.remove(user);
            } else if routes.len() < USERS_MAX || routes.contains_key(user) {
                routes.insert(user, (route, item));
            }
        }
        let begins = item.own && item.is_initial() && item.method != Method::Register;
        if !begins || !traffic.is_ue(item.from) {
            continue;
        }
        // An emergency call goes where the P-CSCF says (TS 24.229 §5.1.6.8.3).
        if item.as_request().is_some_and(Request::asks_emergency_service) {
            continue;
        }
        let Some(routes) = known.get(&item.from) else { continue };
        let route = uris(item, HeaderName::Route);
        if !routes.values().any(|(service_route, _)| route.ends_with(service_route))
            && let Some((service_route, registered)) = routes.values().next()
        {
            let detail =
                format!("Route {}, Service-Route {}", route.join(", "), service_route.join(", "));
            found.against(&NOT_THE_ROUTE, item, &[registered], detail);
        }
    }
}

fn numbers(traffic: &Traffic, found: &mut Found) {
    for (item, request) in traffic.own_requests() {
        if traffic.device(item.from).kind != Kind::Ue || !item.is_initial() {
            continue;
        }
        let Some(number) = request.request_uri.strip_prefix("tel:") else { continue };
        if !number.starts_with('+') && !number.contains(";phone-context=") {
            found.add(&NO_CONTEXT, item, &*request.request_uri);
        }
    }
}
