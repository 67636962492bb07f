//! Rules of the security agreement and of digest: Security-*, Authorization (RFC 3329, TS 33.203,
//! TS 24.229 §5.1.1, RFC 7616).

use std::collections::BTreeMap;

use cscf_core::auth::{AuthParams, Challenge, Credentials};
use cscf_core::clause::{rfc3310, rfc3329, rfc7616, ts24229, ts33203};
use cscf_core::sip::{HeaderName, Method, SecurityMechanism, mechanisms_agree};

use super::rule::{Found, rules};
use super::traffic::{Item, Kind, Traffic};

const SEC_AGREE: &str = "sec-agree";
/// Challenges of one 401 that are looked at, at most.
const CHALLENGES_MAX: usize = 16;

rules! {
    NOT_REQUIRED = Error "SEC-010" rfc3329("2.3.1"),
        "Security-Client without sec-agree in Require and Proxy-Require",
        "a P-CSCF that does not know the agreement goes on without security instead of saying so",
        "write Require: sec-agree and Proxy-Require: sec-agree beside Security-Client";
    VERIFY_DIFFERS = Error "SEC-020" rfc3329("2.3.1"),
        "Security-Verify is not the Security-Server that was sent",
        "the P-CSCF takes it for an attack on the choice of algorithms and refuses with 4xx",
        "copy every mechanism of Security-Server, in order, with all its parameters";
    VERIFY_MISSING = Error "SEC-030" ts24229("5.1.1.5.1"),
        "the REGISTER that answers the challenge has no Security-Verify",
        "the P-CSCF cannot see whether its list of algorithms arrived unchanged",
        "copy Security-Server of the 401 into Security-Verify";
    CLIENT_DIFFERS = Error "SEC-040" ts24229("5.1.1.5.1"),
        "Security-Client of the answer is not that of the challenged REGISTER",
        "the associations of both ends do not fit; nothing arrives any more",
        "repeat Security-Client unchanged in the REGISTER that answers the challenge";
    SERVER_MISSING = Error "SEC-050" ts24229("5.2.2.2"),
        "the challenge to a REGISTER with Security-Client has no Security-Server",
        "the UE cannot set up security associations and gives up",
        "let the P-CSCF add Security-Server to the 401, or refuse with 494 or 421";
    VERIFY_LATER = Error "SEC-060" ts24229("5.1.2A.1.1"),
        "a protected request has no Security-Verify or does not require sec-agree",
        "the P-CSCF cannot tell the request from one that evades the agreement",
        "put Security-Verify, and sec-agree in Require and Proxy-Require, into each protected request";
    ONE_PORT = Error "SEC-070" ts33203("7.1"),
        "the protected client and server port are the same, or an SPI is used twice",
        "the four associations cannot be told apart",
        "choose port-c and port-s, and spi-c and spi-s, each different from the other";
    FLAG_OF_UE = Error "SEC-080" ts24229("5.1.1.2.1"),
        "a UE says integrity-protected",
        "the P-CSCF says so of the UE; a UE that says it tries to be believed without proof",
        "leave integrity-protected out";
    KEYS_TO_UE = Error "SEC-090" ts24229("5.2.2.2"),
        "the challenge takes CK or IK to the UE",
        "the keys of the security associations can be read by everybody on the way",
        "take ck and ik out of WWW-Authenticate at the P-CSCF";
    NO_COUNT = Error "SEC-100" rfc7616("3.4"),
        "credentials with qop have no nc or cnonce",
        "the response cannot be computed; the registrar answers 401 or 400",
        "send cnonce and nc=00000001 with qop";
    QOP_UNANSWERED = Warning "SEC-110" rfc7616("3.4"),
        "the challenge offers qop and the credentials have none",
        "a replay of the credentials cannot be seen",
        "answer with qop=auth, cnonce and nc";
    OTHER_CHALLENGE = Error "SEC-120" rfc7616("3.4"),
        "the credentials do not answer the challenge that was sent",
        "the registrar challenges again, for ever",
        "copy realm, nonce and opaque of the last challenge";
    OTHER_ALGORITHM = Error "SEC-130" rfc3310("3.3"),
        "the credentials name another algorithm than the challenge",
        "the registrar computes another response and refuses",
        "copy algorithm of the challenge, AKAv1-MD5 for IMS AKA";
    REGISTER_OPEN = Error "SEC-140" ts24229("5.1.1.2.2"),
        "the first REGISTER has no Authorization, or one that lacks a parameter",
        "the network does not learn the private identity; the HSS is asked for a guess",
        "write Authorization: Digest username, realm and uri, with nonce=\"\" and response=\"\"";
}

/// What of a registration the next message is held against.
#[derive(Default)]
struct Agreement<'a> {
    /// The last REGISTER.
    request: Option<&'a Item>,
    /// The last challenge, until it is answered.
    challenge: Option<&'a Item>,
    /// What the P-CSCF offered last.
    server: Vec<SecurityMechanism>,
}

/// Looks at all messages.
pub(super) fn check(traffic: &Traffic, found: &mut Found) {
    let mut agreements: BTreeMap<(usize, &str), Agreement<'_>> = BTreeMap::new();
    for item in traffic.fresh() {
        if item.method == Method::Register && item.status() == 0 && item.own {
            if traffic.is_ue(item.from) {
                let agreement = agreements.entry((item.from, &*item.call_id)).or_default();
                register(item, agreement, found);
                agreement.request = Some(item);
            }
        } else if item.method == Method::Register && item.status() == 401 && traffic.is_ue(item.to)
        {
            let agreement = agreements.entry((item.to, &*item.call_id)).or_default();
            challenge(item, agreement, found);
        }
    }
    for (item, _) in traffic.own_requests() {
        let exempt = matches!(item.method, Method::Ack | Method::Cancel | Method::Register);
        if item.protected && traffic.is_ue(item.from) && !exempt {
            later(item, found);
        }
    }
}

fn challenge<'a>(item: &'a Item, agreement: &mut Agreement<'a>, found: &mut Found) {
    agreement.challenge = Some(item);
    agreement.server = item.headers().security(HeaderName::SecurityServer).unwrap_or_default();
    // Without a challenge it is GIBA, which has no Authorization (TS 24.229 §5.1.1.2.6).
    if let Some(request) = agreement.request
        && !request.has(HeaderName::Authorization)
    {
        found.add(&REGISTER_OPEN, request, "no Authorization");
    }
    let asked = agreement.request.filter(|it| it.has(HeaderName::SecurityClient));
    if let Some(asked) = asked
        && agreement.server.is_empty()
    {
        found.against(&SERVER_MISSING, item, &[asked], "no Security-Server");
    }
    let offered = challenges(item);
    let has = |key: &&str| offered.iter().any(|it| it.params.raw(key).is_some());
    if let Some(key) = ["ck", "ik"].into_iter().find(has) {
        found.add(&KEYS_TO_UE, item, format!("{key} is in WWW-Authenticate"));
    }
}

fn register(item: &Item, agreement: &mut Agreement<'_>, found: &mut Found) {
    let credentials = item.header(HeaderName::Authorization).parse::<Credentials>().ok();
    if let Some(it) = &credentials
        && it.params.raw("integrity-protected").is_some()
    {
        found.add(&FLAG_OF_UE, item, it.params.raw("integrity-protected").unwrap_or_default());
    }
    let clients = item.headers().security(HeaderName::SecurityClient).unwrap_or_default();
    if !clients.is_empty() {
        let lacking = [HeaderName::Require, HeaderName::ProxyRequire]
            .into_iter()
            .find(|name| !item.has_token(*name, SEC_AGREE));
        if let Some(name) = lacking {
            found.add(&NOT_REQUIRED, item, format!("{name} lacks sec-agree"));
        }
        for it in clients.iter().filter(|it| it.is_ipsec_3gpp()) {
            let ports = it.port_c().is_some() && it.port_c() == it.port_s();
            let spis = it.spi_c().is_some() && it.spi_c() == it.spi_s();
            if ports || spis {
                found.add(&ONE_PORT, item, it.to_string());
                break;
            }
        }
    }
    match (agreement.challenge.take(), agreement.request) {
        (Some(challenge), Some(before)) => {
            // A UE that refuses the challenge answers with nothing (TS 24.229 §5.1.1.5.3).
            let answer = credentials
                .as_ref()
                .filter(|it| it.auts().is_none() && it.response().is_some_and(|it| !it.is_empty()));
            if let Some(it) = answer {
                answers(item, challenge, before, it, found);
                verify(item, challenge, &clients, agreement, found);
            }
        }
        (None, None) => opening(item, credentials.as_ref(), found),
        _ => {}
    }
}

/// The first REGISTER of a registration.
fn opening(item: &Item, credentials: Option<&Credentials>, found: &mut Found) {
    let Some(it) = credentials else { return };
    // With a nonce it goes on with a registration that was not captured.
    if it.nonce().is_some_and(|nonce| !nonce.is_empty()) {
        return;
    }
    let lacking = ["username", "realm", "uri", "nonce", "response"]
        .into_iter()
        .find(|name| it.params.raw(name).is_none());
    if let Some(name) = lacking {
        found.add(&REGISTER_OPEN, item, format!("{name} is missing"));
    }
}

/// The challenges of digest in a 401: there may be one for each algorithm (RFC 8760 §2.4).
fn challenges(item: &Item) -> Vec<Challenge> {
    let values = item.headers().values(HeaderName::WwwAuthenticate);
    values.filter_map(|it| it.parse().ok()).take(CHALLENGES_MAX).collect()
}

/// The algorithm that is named, else that which is meant (RFC 7616 §3.3).
fn algorithm(params: &AuthParams) -> String {
    params.value("algorithm").unwrap_or_else(|| "MD5".into()).into_owned()
}

/// The first of these parameters in which credentials differ from a challenge that has it.
fn differs(challenge: &Challenge, it: &Credentials) -> Option<&'static str> {
    ["realm", "nonce", "opaque"].into_iter().find(|name| {
        let offered = challenge.params.value(name);
        offered.is_some() && offered != it.params.value(name)
    })
}

/// The credentials against the challenge they answer: that which is nearest to them.
fn answers(item: &Item, challenged: &Item, before: &Item, it: &Credentials, found: &mut Found) {
    let taken = algorithm(&it.params);
    let offered = challenges(challenged);
    let is_taken = |one: &Challenge| algorithm(&one.params).eq_ignore_ascii_case(&taken);
    let nearest = offered.iter().min_by_key(|one| (differs(one, it).is_some(), !is_taken(one)));
    let Some(challenge) = nearest else { return };
    // The same REGISTER again answers nothing.
    if item.cseq == before.cseq {
        return;
    }
    if let Some(name) = differs(challenge, it) {
        let value = |params: &AuthParams| {
            params.value(name).map_or_else(|| "nothing".to_owned(), |it| it.into_owned())
        };
        let detail = format!("{name} was {}, is {}", value(&challenge.params), value(&it.params));
        found.against(&OTHER_CHALLENGE, item, &[challenged], detail);
    }
    if !is_taken(challenge) {
        let names: Vec<String> = offered.iter().map(|it| algorithm(&it.params)).collect();
        let detail = format!("the challenge has {}, the answer {taken}", names.join(", "));
        found.against(&OTHER_ALGORITHM, item, &[challenged], detail);
    }
    let qop = it.params.value("qop");
    if qop.is_none() && challenge.params.value("qop").is_some() {
        found.against(&QOP_UNANSWERED, item, &[challenged], "no qop");
    }
    if qop.is_some() && (it.nc().is_none() || it.cnonce().is_none()) {
        let lacking = if it.nc().is_none() { "nc" } else { "cnonce" };
        found.add(&NO_COUNT, item, format!("{lacking} is missing"));
    }
}

/// The lists of mechanisms against each other.
fn verify(
    item: &Item,
    challenge: &Item,
    clients: &[SecurityMechanism],
    agreement: &Agreement<'_>,
    found: &mut Found,
) {
    if agreement.server.is_empty() {
        return;
    }
    let verify = item.headers().security(HeaderName::SecurityVerify).unwrap_or_default();
    if verify.is_empty() {
        found.against(&VERIFY_MISSING, item, &[challenge], "no Security-Verify");
    } else if !mechanisms_agree(&verify, &agreement.server) {
        let other = verify.iter().zip(&agreement.server).find(|(a, b)| !a.agrees_with(b));
        let detail = other.map_or_else(
            || format!("{} mechanisms, {} were sent", verify.len(), agreement.server.len()),
            |(has, had)| format!("{has}, was sent as {had}"),
        );
        found.against(&VERIFY_DIFFERS, item, &[challenge], detail);
    }
    let Some(before) = agreement.request else { return };
    let had = before.headers().security(HeaderName::SecurityClient).unwrap_or_default();
    // New associations of a re-authentication may bring new numbers (TS 24.229 §5.1.1.4.1).
    if !had.is_empty() && !mechanisms_agree(&had, clients) {
        let show = |list: &[SecurityMechanism]| {
            list.first().map_or_else(|| "nothing".to_owned(), ToString::to_string)
        };
        let detail = format!("was {}, is {}", show(&had), show(clients));
        found.against(&CLIENT_DIFFERS, item, &[before], detail);
    }
}

fn later(item: &Item, found: &mut Found) {
    let required = [HeaderName::Require, HeaderName::ProxyRequire]
        .into_iter()
        .all(|name| item.has_token(name, SEC_AGREE));
    let verify = item.has(HeaderName::SecurityVerify);
    if verify && required {
        return;
    }
    let lacking = if verify { "sec-agree is not required" } else { "no Security-Verify" };
    found.add(&VERIFY_LATER, item, format!("{}: {lacking}", item.label()));
}

/// Whether a device is the P-CSCF.
pub(super) fn is_edge(traffic: &Traffic, device: usize) -> bool {
    traffic.device(device).kind == Kind::Edge
}
