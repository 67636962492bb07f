//! Rules of REGISTER (RFC 3261 §10, TS 24.229 §5.1.1 and §5.4.1).

use std::collections::BTreeMap;

use cscf_core::auth::Credentials;
use cscf_core::clause::{ir92, rfc3261, rfc5626, ts24229};
use cscf_core::sip::{HeaderName, Method, NameAddr, Uri};
use cscf_core::time::{Duration, Instant};

use super::rule::{Found, rules};
use super::traffic::{Item, Traffic};
use super::trail::Trails;

/// Registrations longer than this are refreshed 600 s before their end, others at half time
/// (TS 24.229 §5.1.1.4.1).
const LONG: u64 = 1_200;
/// How much later than the window begins a refresh may come, in hundredths of the interval.
const LATE_PERCENT: u64 = 5;

rules! {
    NO_FEATURES = Warning "REG-010" ir92("2.2.1"),
        "Contact of REGISTER does not say what the device can",
        "calls and texts that ask for multimedia telephony do not reach it",
        "add +g.3gpp.icsi-ref of multimedia telephony, and +g.3gpp.smsip for short messages";
    NO_INSTANCE = Warning "REG-020" ir92("2.2.1"),
        "Contact of REGISTER has no +sip.instance",
        "the network takes each new address for one more device; there is no GRUU",
        "add +sip.instance with the IMEI as a URN";
    REG_ID = Error "REG-030" rfc5626("4.2.1"),
        "reg-id without +sip.instance or without Supported: outbound",
        "the registrar ignores reg-id; flows of one device count as devices",
        "send reg-id together with +sip.instance and the option tag outbound";
    NO_PATH = Error "REG-040" ts24229("5.1.1.2.1"),
        "Supported of REGISTER lacks path",
        "a P-CSCF whose Path the UE does not support has to be refused with 420 or 421",
        "write Supported: path";
    ACCESS_OPEN = Warning "REG-050" ts24229("5.1.1.2.1"),
        "P-Access-Network-Info in the first REGISTER, which nothing protects",
        "where the user is can be read by everybody on the way",
        "leave it out until the user is authenticated";
    ACCESS_MISSING = Error "REG-060" ts24229("5.1.1.2.1"),
        "a protected REGISTER has no P-Access-Network-Info",
        "the network does not know the access: services and charging by location fail",
        "send P-Access-Network-Info in every protected request but ACK and CANCEL";
    OTHER_CALL_ID = Warning "REG-070" rfc3261("10.2"),
        "a registration is refreshed under another Call-ID",
        "the registrar cannot see which of two REGISTERs is the later one",
        "keep Call-ID for all REGISTERs of a device";
    CSEQ = Error "REG-080" rfc3261("10.2"),
        "CSeq of REGISTER does not rise",
        "the registrar answers 500 and keeps the old binding",
        "count CSeq up by one for each REGISTER under a Call-ID";
    TO_FROM = Error "REG-090" ts24229("5.1.1.2.1"),
        "From and To of a REGISTER are different identities",
        "it asks to register for somebody else; a registrar of IMS refuses with 403",
        "write the same public user identity into both";
    USER_IN_URI = Error "REG-100" rfc3261("10.2"),
        "the Request-URI of REGISTER has a user part",
        "it names a user instead of the domain; routing to the home network may fail",
        "write the domain of the home network alone, e.g. sip:ims.example";
    BRIEF_AGAIN = Error "REG-110" ts24229("5.1.1.2.1"),
        "REGISTER after 423 asks for less than Min-Expires",
        "it is refused again and again",
        "ask for at least Min-Expires of the 423";
    LATE = Error "REG-120" ts24229("5.1.1.4.1"),
        "the registration was refreshed after it had expired",
        "between the two nobody could call this user",
        "refresh 600 s before the end, at half time if it is 1200 s or less";
    LATE_IN_WINDOW = Warning "REG-130" ts24229("5.1.1.4.1"),
        "the registration was refreshed later than the window says",
        "if the first attempt fails, little time is left for the next",
        "refresh 600 s before the end, at half time if it is 1200 s or less";
    NO_SERVICE_ROUTE = Error "REG-140" ts24229("5.4.1.2.2F"),
        "the 200 to REGISTER has no Service-Route or no P-Associated-URI",
        "the UE does not know the way to its S-CSCF, or under which identities it may call",
        "let the S-CSCF add both to the 200";
    NO_EXPIRY = Error "REG-150" rfc3261("10.3"),
        "the 200 to REGISTER does not say when the binding expires",
        "the UE cannot tell when to refresh",
        "let the registrar return each binding with expires";
    INTERVAL = Hint "REG-160" ts24229("5.1.1.2.1"),
        "REGISTER does not ask for 600000 seconds",
        "the network's own interval is not used",
        "ask for 600000 s and take what the 200 grants";
}

/// What was registered, of one device and identity.
struct Registered<'a> {
    request: &'a Item,
    /// Granted, and when.
    granted: Option<(u64, Instant)>,
    /// Whether a refresh has been tried since: what follows is not late by itself.
    tried: bool,
    /// Min-Expires of a 423 since.
    least: Option<(u32, &'a Item)>,
}

/// Looks at all messages.
pub(super) fn check(traffic: &Traffic, found: &mut Found) {
    let trails = Trails::of(traffic);
    let mut known: BTreeMap<(usize, String), Registered<'_>> = BTreeMap::new();
    for item in traffic.fresh().filter(|item| item.method == Method::Register) {
        let key = |device| (device, contact_key(item));
        if item.status() == 0 && item.own && traffic.is_ue(item.from) {
            first_party(item, found);
            let key = key(item.from);
            if let Some(before) = known.get(&key) {
                again(item, before, found);
            }
            let before = known.remove(&key);
            // A challenged REGISTER has no other time than the one it goes on with.
            let goes_on = before.as_ref().is_some_and(|it| refreshes(item, it.request));
            let least = before.as_ref().and_then(|it| it.least);
            let granted = before.and_then(|it| it.granted).filter(|_| goes_on);
            known.insert(key, Registered { request: item, granted, tried: true, least });
        } else if item.status() > 0 && traffic.is_ue(item.to) {
            let Some(request) = traffic.request_of(item) else { continue };
            if item.status() == 200 {
                accepted(item, request, &trails, found);
            }
            let Some(it) = known.get_mut(&(item.to, contact_key(request))) else { continue };
            match item.status() {
                200 => {
                    it.granted = granted(item, request).map(|time| (time, item.at));
                    it.tried = false;
                    it.least = None;
                }
                423 => {
                    let least = item.header(HeaderName::MinExpires).parse().ok();
                    it.least = least.map(|least| (least, item));
                }
                // Whatever else ends it: what comes next begins anew.
                300.. if item.status() != 401 && item.status() != 407 => it.granted = None,
                _ => {}
            }
        }
    }
}

/// One registration of a device: by instance and flow, else by the identity.
fn contact_key(item: &Item) -> String {
    let contact = item.headers().first_value(HeaderName::Contact);
    let contact = contact.and_then(|it| NameAddr::parse(it).ok());
    let param =
        |name| contact.as_ref().and_then(|it| it.param(name)).unwrap_or_default().to_owned();
    let to = item.message.to_addr().map(|it| it.uri.to_string()).unwrap_or_default();
    format!("{to} {} {}", param("+sip.instance"), param("reg-id"))
}

fn first_party(item: &Item, found: &mut Found) {
    let (Ok(from), Ok(to)) = (item.message.from_addr(), item.message.to_addr()) else { return };
    if from.uri != to.uri {
        found.add(&TO_FROM, item, format!("From {}, To {}", from.uri, to.uri));
    }
    let uri = item.as_request().and_then(|it| it.uri().ok());
    if let Some(user) = uri.as_ref().and_then(Uri::user) {
        found.add(&USER_IN_URI, item, format!("user {user}"));
    }
    if !item.has_token(HeaderName::Supported, "path") {
        found.add(&NO_PATH, item, format!("Supported: {}", item.header(HeaderName::Supported)));
    }
    let has_access = item.has(HeaderName::PAccessNetworkInfo);
    if has_access && !item.protected && !is_known(item) {
        found.add(&ACCESS_OPEN, item, item.header(HeaderName::PAccessNetworkInfo));
    }
    if item.protected && !has_access {
        found.add(&ACCESS_MISSING, item, "protected");
    }
    let interval = asked(item);
    if interval == Some(0) {
        return;
    }
    contact(item, found);
    if interval != Some(600_000) {
        let detail = interval.map_or_else(|| "no interval".to_owned(), |it| format!("{it} s"));
        found.add(&INTERVAL, item, detail);
    }
}

/// Whether it answers a challenge, now or once more: with a nonce.
fn is_known(item: &Item) -> bool {
    let credentials = item.header(HeaderName::Authorization).parse::<Credentials>();
    credentials.is_ok_and(|it| it.nonce().is_some_and(|it| !it.is_empty()))
}

/// Whether it is that of a 3GPP terminal: it answers with its card.
fn uses_aka(item: &Item) -> bool {
    let credentials = item.header(HeaderName::Authorization).parse::<Credentials>();
    credentials.is_ok_and(|it| it.params.value("algorithm").is_some_and(|it| it.starts_with("AKA")))
}

fn contact(item: &Item, found: &mut Found) {
    let Ok(contacts) = item.message.contacts() else { return };
    let Some(contact) = contacts.first() else { return };
    if contact.param("+g.3gpp.icsi-ref").is_none() && contact.param("+g.3gpp.smsip").is_none() {
        found.add(&NO_FEATURES, item, format!("<{}>", contact.uri));
    }
    let instance = contact.param("+sip.instance");
    if instance.is_none() && uses_aka(item) {
        found.add(&NO_INSTANCE, item, format!("<{}>", contact.uri));
    }
    let outbound = item.has_token(HeaderName::Supported, "outbound");
    if let Some(reg_id) = contact.param("reg-id")
        && (instance.is_none() || !outbound)
    {
        let lacking = if outbound { "+sip.instance" } else { "Supported: outbound" };
        found.add(&REG_ID, item, format!("reg-id={reg_id} without {lacking}"));
    }
}

/// The interval that a REGISTER asks for.
fn asked(item: &Item) -> Option<u32> {
    let contacts = item.message.contacts().ok()?;
    contacts.first().and_then(NameAddr::expires).or_else(|| item.message.expires())
}

fn again(item: &Item, before: &Registered<'_>, found: &mut Found) {
    let first = before.request;
    if item.call_id != first.call_id {
        // An initial registration, after a refusal or a restart for instance, may begin anew.
        let refresh = is_known(item) || item.protected;
        if refresh && before.granted.is_some_and(|(time, _)| time > 0) {
            let detail = format!("Call-ID {}, was {}", item.call_id, first.call_id);
            found.against(&OTHER_CALL_ID, item, &[first], detail);
        }
    } else if item.cseq <= first.cseq && item.bytes != first.bytes && !item.tries_elsewhere(first) {
        let detail = format!("CSeq {} after {}", item.cseq, first.cseq);
        found.against(&CSEQ, item, &[first], detail);
    }
    let interval = asked(item);
    if let (Some((least, refusal)), Some(interval)) = (before.least, interval)
        && interval < least
        && interval > 0
    {
        let detail = format!("{interval} s, Min-Expires is {least}");
        found.against(&BRIEF_AGAIN, item, &[refusal], detail);
    }
    let Some((granted, at)) = before.granted.filter(|(time, _)| *time > 0) else { return };
    if interval == Some(0) || before.tried || !refreshes(item, first) {
        return;
    }
    let since = item.at.since(at);
    let due = if granted > LONG { granted - 600 } else { granted / 2 };
    let detail = format!("after {} s of {granted} s", since.as_secs());
    if since > Duration::from_secs(granted) {
        found.against(&LATE, item, &[first], detail);
    } else if since > Duration::from_secs(due + granted * LATE_PERCENT / 100 + 1) {
        found.against(&LATE_IN_WINDOW, item, &[first], detail);
    }
}

/// Whether a REGISTER goes on with a registration instead of beginning one anew, as a device does
/// that was switched off: under the same Call-ID, and not without a nonce where others have one
/// (TS 24.229 §5.1.1.2.2, §5.1.1.4.1).
fn refreshes(item: &Item, before: &Item) -> bool {
    let begins = item.has(HeaderName::Authorization) && !is_known(item) && !item.protected;
    item.call_id == before.call_id && !begins
}

/// The seconds that a 200 grants to the contact of its request.
fn granted(item: &Item, request: &Item) -> Option<u64> {
    if asked(request) == Some(0) {
        return Some(0);
    }
    let wanted = request.message.contacts().ok()?.first().map(|it| it.uri.clone())?;
    let contacts = item.message.contacts().ok()?;
    let own = contacts.list().iter().find(|it| it.uri == wanted)?;
    own.expires().or_else(|| item.message.expires()).map(u64::from)
}

fn accepted<'a>(item: &'a Item, request: &Item, trails: &Trails<'a>, found: &mut Found) {
    let star = request.header(HeaderName::Contact).trim() == "*";
    let query = !request.has(HeaderName::Contact);
    if star || query || asked(request) == Some(0) {
        return;
    }
    let lacking = [HeaderName::ServiceRoute, HeaderName::PAssociatedUri]
        .into_iter()
        .find(|name| !item.has(*name));
    if let Some(name) = lacking {
        // Whoever left it out, not the P-CSCF that passes on what came.
        let made = trails.origin(item, |it| !it.has(name));
        found.against(&NO_SERVICE_ROUTE, made, &elsewhere(item, made), lacks(name));
    }
    if let Some(uri) = open_contact(item) {
        let made = trails.origin(item, |it| open_contact(it).is_some());
        found.against(&NO_EXPIRY, made, &elsewhere(item, made), format!("<{uri}>"));
    }
}

fn lacks(name: HeaderName) -> String {
    format!("{name} is missing")
}

/// The message that came to the UE, where it is not the one at fault itself.
fn elsewhere<'a>(item: &'a Item, made: &Item) -> Vec<&'a Item> {
    if item.index == made.index { Vec::new() } else { vec![item] }
}

/// A contact in a 200 that does not say when it expires.
fn open_contact(item: &Item) -> Option<String> {
    if item.has(HeaderName::Expires) {
        return None;
    }
    let contacts = item.message.contacts().ok()?;
    let open = contacts.list().iter().find(|it| it.expires().is_none());
    open.map(|it| it.uri.to_string())
}
