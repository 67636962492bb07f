//! The security agreement of the UE, TS 33.203 §7 and TS 24.229 §5.1.1.5.

use cscf_core::role::{Cause, OwnAnswered};
use cscf_core::sip::{HeaderName, Method, Request, SecurityMechanism};
use cscf_core::time::{Duration, Instant};
use cscf_core::transport::ipsec::{EspKeys, Mode, Offer, SaCommand, SaSet};
use cscf_core::transport::{Flow, FlowEvent, SaId, Transport};
use scenarios::ue::{Phase, Protection, UeCommand, UeTimer};

use super::phone::{Did, Phone, aka_challenge, answer_to, vector};
use super::registration::{credentials, header, notify};
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::it_offers_a_security_agreement", &["P92-020"], offered),
        case("ue::a_challenge_is_answered_under_new_associations", &["U-REG-020"], answered),
        case("ue::without_a_usable_mechanism_it_begins_anew", &["U-REG-030"], unusable),
        case(
            "ue::an_invalid_challenge_makes_no_associations",
            &["U-REG-040", "U-REG-050"],
            invalid,
        ),
        case("ue::the_200_makes_the_associations_last", &["U-REG-070"], settled),
        case("ue::everything_after_is_protected", &["U-REG-080", "P92-020"], protected),
        case("ue::a_refresh_offers_new_spis_and_the_same_port", &["U-REG-090"], refreshed),
        case("ue::authenticated_again_it_switches_over", &["U-REG-170"], switched),
        case("ue::a_refused_reauthentication_leaves_the_old_set", &[], refused),
        case("ue::deregistered_it_has_no_associations", &["U-REG-150"], left),
        case("ue::the_notify_of_the_end_is_answered_first", &["U-REG-160a"], ended_by_network),
        case("ue::silence_makes_it_doubt_its_associations", &["U-REG-200"], silence),
        case("ue::an_unheard_answer_makes_it_start_over_once", &[], unheard),
        case("ue::silence_while_it_leaves_is_the_end", &[], silence_at_the_end),
        case("ue::associations_that_do_not_hold_are_told", &[], not_held),
        case("ue::mistakes_of_the_agreement_are_made", &[], mistakes),
    ]
}

const SERVER: &str = "ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;ealg=aes-cbc;prot=esp;mod=trans;\
    spi-c=2001;spi-s=2002;port-c=5100;port-s=5062, \
    ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;ealg=null;prot=esp;mod=trans;\
    spi-c=2001;spi-s=2002;port-c=5100;port-s=5062, \
    ipsec-3gpp;q=0.95;alg=hmac-md5-96;ealg=null;prot=esp;mod=trans;\
    spi-c=2001;spi-s=2002;port-c=5100;port-s=5062";

fn secure() -> Phone {
    Phone::with("alice", |config| config.security = Protection::Ipsec)
}

fn client(request: &Request) -> Vec<SecurityMechanism> {
    request.headers.security(HeaderName::SecurityClient).expect("Security-Client")
}

fn offer(request: &Request) -> Offer {
    Offer::of(&client(request)[0]).expect("an offer")
}

fn challenge(phone: &Phone, sqn: u64, server: &str) -> String {
    format!("{}Security-Server: {server}\n", aka_challenge(phone, sqn))
}

/// The set that was installed in this turn.
fn installed(did: &Did) -> &SaSet {
    let sets = did.security.iter().filter_map(|command| match command {
        SaCommand::Install(set) => Some(&**set),
        SaCommand::Remove(_) => None,
    });
    let sets: Vec<&SaSet> = sets.collect();
    assert_eq!(sets.len(), 1, "{did:?}");
    sets[0]
}

fn removed(did: &Did) -> Vec<u32> {
    let ids = did.security.iter().filter_map(|command| match command {
        SaCommand::Install(_) => None,
        SaCommand::Remove(id) => Some(id.0),
    });
    ids.collect()
}

/// The 200 to a protected REGISTER.
fn ok(phone: &Phone, expires: u32) -> String {
    phone.ok_lines(expires).replace("10.0.0.1:5060", "10.0.0.1:40002")
}

/// A registered phone and what it did at the 200.
fn registered() -> (Phone, Did) {
    let mut phone = secure();
    let did = set_up(&mut phone);
    (phone, did)
}

/// Registers a phone under set 1; gives what it did at the 200.
fn set_up(phone: &mut Phone) -> Did {
    let did = phone.register();
    let lines = challenge(phone, 1, SERVER);
    let did = phone.answer(did.request(), 401, &lines);
    let lines = ok(phone, 600_000);
    let did = phone.answer(did.request(), 200, &lines);
    assert_eq!(did.states, ["registered"]);
    did
}

/// Where everything goes under set 1.
const UNDER_1: &str = "UDP 10.0.0.1:40003 -> 10.0.0.10:5062 set 1";

fn offered() {
    let mut phone = secure();
    let did = phone.register();
    assert_eq!(did.to, ["sip:10.0.0.10:5060"], "unprotected");
    let (_, register) = did.request();
    let list = client(register);
    let pairs: Vec<(Option<&str>, &str)> = list.iter().map(|it| (it.alg(), it.ealg())).collect();
    // Integrity always, encryption or none (IR.92 2.2.2).
    assert_eq!(pairs, [(Some("hmac-sha-1-96"), "null"), (Some("hmac-sha-1-96"), "aes-cbc")]);
    for it in &list {
        let offer = Offer::of(it).expect("complete");
        assert_eq!((it.prot(), offer.mode), ("esp", Mode::Transport));
        assert_eq!(offer.ports.server, 40_002);
    }
    for name in [HeaderName::Require, HeaderName::ProxyRequire] {
        assert_eq!(header(register, name), "sec-agree");
    }
    for name in [HeaderName::SecurityVerify, HeaderName::PAccessNetworkInfo, HeaderName::Route] {
        assert!(!register.headers.contains(name), "{name}");
    }
    assert!(header(register, HeaderName::Contact).starts_with("<sip:10.0.0.1:5060>"));
}

fn answered() {
    let mut phone = secure();
    let first = phone.register();
    let (_, unprotected) = first.request();
    let lines = challenge(&phone, 1, SERVER);
    let did = phone.answer(first.request(), 401, &lines);
    // The q of the P-CSCF decides among what we offered; hmac-md5-96 we did not.
    let set = installed(&did);
    let pair = (set.algorithms.integrity().as_str(), set.algorithms.encryption().as_str());
    assert_eq!(pair, ("hmac-sha-1-96", "null"));
    let vector = vector(&phone, 1);
    assert_eq!(set.keys, EspKeys::expand(set.algorithms, &vector.ck, &vector.ik));
    assert_eq!(set.local.ports, offer(unprotected).ports);
    let theirs = set.remote;
    assert_eq!(theirs.server().to_string(), "10.0.0.10:5062");
    assert_eq!((theirs.ports.spi_client, theirs.ports.spi_server), (2001, 2002));
    assert_eq!(did.order, ["install", "request"]);

    let (_, register) = did.request();
    assert_eq!(did.to, [UNDER_1]);
    for name in [HeaderName::CallId, HeaderName::SecurityClient, HeaderName::From] {
        assert_eq!(header(register, name), header(unprotected, name));
    }
    assert_eq!(header(register, HeaderName::CSeq), "2 REGISTER");
    let verify = register.headers.security(HeaderName::SecurityVerify).expect("parses");
    let server: Vec<_> =
        SERVER.split(", ").map(|it| SecurityMechanism::parse(it).expect("parses")).collect();
    assert_eq!(verify, server);
    let sent = credentials(register);
    assert!(sent.response().is_some() && sent.cnonce().is_some());
    assert_eq!(sent.nc(), Some("00000001"));
    assert!(header(register, HeaderName::Contact).starts_with("<sip:10.0.0.1:40002>"));
    for name in [HeaderName::Require, HeaderName::ProxyRequire] {
        assert_eq!(header(register, name), "sec-agree");
    }
    assert!(register.headers.contains(HeaderName::PAccessNetworkInfo));
}

fn unusable() {
    for server in [
        "",
        "Security-Server: tls;q=0.1\n",
        // Nothing we offered, a port missing, a tunnel.
        "Security-Server: ipsec-3gpp;alg=hmac-md5-96;spi-c=2001;spi-s=2002;port-c=5100;\
         port-s=5062\n",
        "Security-Server: ipsec-3gpp;alg=hmac-sha-1-96;spi-c=2001;spi-s=2002;port-c=5100\n",
        "Security-Server: ipsec-3gpp;alg=hmac-sha-1-96;mod=UDP-enc-tun;spi-c=2001;spi-s=2002;\
         port-c=5100;port-s=5062\n",
    ] {
        let mut phone = secure();
        let first = phone.register();
        let lines = aka_challenge(&phone, 1) + server;
        let did = phone.answer(first.request(), 401, &lines);
        let (_, anew) = did.request();
        assert!(did.security.is_empty(), "{server}");
        assert_eq!(did.to, ["sip:10.0.0.10:5060"]);
        assert_ne!(header(anew, HeaderName::CallId), header(first.request().1, HeaderName::CallId));
        assert!(credentials(anew).response().is_none());
        let told = phone.notes.iter().any(|note| note.diagnosis.is_some());
        assert!(told, "{server}");
        // Once more and no further.
        let lines = aka_challenge(&phone, 2) + server;
        let did = phone.answer(did.request(), 401, &lines);
        assert_eq!(did.states, ["registration failed 401"], "{server}");
        assert!(did.requests.is_empty());
    }
    // Who was switched off meanwhile does not begin anew.
    let mut phone = secure();
    let first = phone.register();
    phone.command(UeCommand::Deregister);
    let did = phone.answer(first.request(), 401, &aka_challenge(&phone, 1));
    assert!(did.requests.is_empty() && did.states.contains(&"deregistered".to_owned()), "{did:?}");
}

fn invalid() {
    for (mistake, auts) in [("wrong key", false), ("old sqn", true)] {
        let mut phone = Phone::with("alice", |config| {
            config.security = Protection::Ipsec;
            assert!(config.mistakes.make(mistake));
        });
        let first = phone.register();
        let lines = challenge(&phone, 1, SERVER);
        let did = phone.answer(first.request(), 401, &lines);
        assert!(did.security.is_empty(), "no associations");
        assert_eq!(did.to, ["sip:10.0.0.10:5060"], "unprotected");
        let (_, register) = did.request();
        assert_eq!(credentials(register).auts().is_some(), auts, "{mistake}");
        assert_eq!(
            header(register, HeaderName::CallId),
            header(first.request().1, HeaderName::CallId)
        );
        let (old, new) = (offer(first.request().1).ports, offer(register).ports);
        assert_ne!(old.client, new.client);
        assert_ne!(old.spi_client, new.spi_client);
        assert_ne!(old.spi_server, new.spi_server);
        for name in [HeaderName::SecurityVerify, HeaderName::PAccessNetworkInfo] {
            assert!(!register.headers.contains(name), "{name}");
        }
    }
    // On an existing set it stays there.
    let (mut phone, _) = registered();
    let did = phone.command(UeCommand::Reregister);
    let wrong = challenge(&phone, 1, SERVER);
    let did = phone.answer(did.request(), 401, &wrong);
    assert!(credentials(did.request().1).auts().is_some(), "a number used before");
    assert_eq!(did.to, [UNDER_1]);
    assert!(did.security.is_empty());
}

fn settled() {
    let (mut phone, did) = registered();
    assert!(did.security.is_empty(), "the set is the one of the challenge");
    let end = Instant::from_secs(600_030);
    assert!(did.timers.contains(&(UeTimer::Associations, end)), "30 s longer: {:?}", did.timers);
    // A shorter registration does not make them shorter.
    let did = phone.command(UeCommand::Reregister);
    let lines = ok(&phone, 1200);
    let did = phone.answer(did.request(), 200, &lines);
    assert!(did.timers.contains(&(UeTimer::Associations, end)), "{:?}", did.timers);
    let did = phone.timer(UeTimer::Associations, end);
    assert_eq!(removed(&did), [1]);
}

fn protected() {
    let (mut phone, did) = registered();
    let verify = SecurityMechanism::parse(SERVER.split(", ").next().expect("one")).expect("parses");
    let check = |did: &Did| {
        let (_, request) = did.request();
        assert_eq!(did.to, [UNDER_1], "{}", request.method);
        for name in [HeaderName::Require, HeaderName::ProxyRequire] {
            assert!(request.headers.has_token(name, "sec-agree"), "{}", request.method);
        }
        let list = request.headers.security(HeaderName::SecurityVerify).expect("parses");
        assert_eq!((list.len(), &list[0]), (3, &verify), "{}", request.method);
        assert!(request.headers.contains(HeaderName::PAccessNetworkInfo), "{}", request.method);
        let contact = request.headers.get(HeaderName::Contact).unwrap_or("<sip:10.0.0.1:40002>");
        assert!(contact.starts_with("<sip:10.0.0.1:40002>"), "{contact}");
        let routes: Vec<&str> = request.headers.values(HeaderName::Route).collect();
        assert_eq!(routes, ["<sip:10.0.0.10:5062;lr>", "<sip:orig-u1@scscf.home.net:6060;lr>"]);
    };
    assert_eq!(did.request().1.method, Method::Subscribe);
    check(&did);
    let target = "bob".to_owned();
    check(&phone.command(UeCommand::SendOptions { target: target.clone() }));
    check(&phone.command(UeCommand::SendMessage { target, text: "hi".to_owned() }));
    let target = "bob".to_owned();
    check(&phone.command(UeCommand::Call { target, options: Default::default() }));
}

fn refreshed() {
    let (mut phone, _) = registered();
    let first = phone.command(UeCommand::Reregister);
    assert_eq!(first.to, [UNDER_1]);
    let (_, register) = first.request();
    assert_eq!(header(register, HeaderName::CSeq), "3 REGISTER");
    assert!(register.headers.contains(HeaderName::SecurityVerify));
    let ports = offer(register).ports;
    assert_eq!((ports.client, ports.server), (40_004, 40_002));
    let lines = ok(&phone, 600_000);
    let did = phone.answer(first.request(), 200, &lines);
    assert_eq!(did.states, ["re-registered"]);
    assert!(did.security.is_empty(), "not challenged: the set stays");
    let next = phone.command(UeCommand::Reregister);
    let again = offer(next.request().1).ports;
    assert_eq!((again.client, again.server), (40_005, 40_002));
    assert!(again.spi_client != ports.spi_client && again.spi_server != ports.spi_server);
}

fn switched() {
    let (mut phone, did) = registered();
    let (tag, subscribe) = did.request();
    let subscribe = subscribe.clone();
    phone.answer((tag, &subscribe), 200, "Expires: 600000\nContact: <sip:s1:6060>");
    let short = "state=\"active\" event=\"shortened\" expires=\"60\"";
    let short = notify(&subscribe, "active;expires=600000", short);
    let did = phone.request(on_set(short));
    assert_eq!(did.timers, [(UeTimer::Register, Instant::from_secs(30))]);
    let did = phone.timer(UeTimer::Register, Instant::from_secs(30));
    assert_eq!(did.to, [UNDER_1]);
    let server = SERVER.replace("5100", "5101").replace("200", "210");
    let lines = challenge(&phone, 2, &server);
    let did = phone.answer(did.request(), 401, &lines);
    assert_eq!(installed(&did).id, SaId(2));
    let under_2 = "UDP 10.0.0.1:40004 -> 10.0.0.10:5062 set 2";
    assert_eq!(did.to, [under_2]);
    let verify = header(did.request().1, HeaderName::SecurityVerify);
    assert!(verify.contains("port-c=5101"), "{verify}");
    // Until the 200 everything else stays where it is.
    let target = "bob".to_owned();
    let other = phone.command(UeCommand::SendOptions { target: target.clone() });
    assert_eq!(other.to, [UNDER_1]);
    let lines = ok(&phone, 600_000);
    let did = phone.answer(did.request(), 200, &lines);
    assert!(did.security.is_empty(), "the old set stays for its transactions");
    let other = phone.command(UeCommand::SendOptions { target });
    assert_eq!(other.to, [under_2]);
    // The network may go on with the old one until it has seen the new one in use.
    let end = Instant::from_secs(600_030);
    assert!(did.timers.contains(&(UeTimer::Associations, end)), "{:?}", did.timers);
    let (tag, request) = other.request();
    let (response, cause) = (answer_to(request, 200, ""), Cause::Received);
    let flow = Some(Flow { sa: Some(SaId(2)), ..under_1() });
    let did = phone.answered(OwnAnswered { tag, response, cause, flow });
    let at = phone.now + Duration::from_secs(128);
    assert_eq!(did.timers, [(UeTimer::Associations, at)]);
    let did = phone.timer(UeTimer::Associations, at);
    assert_eq!(removed(&did), [1]);
}

/// As the P-CSCF sends it to the protected port.
fn on_set(mut request: Request) -> Request {
    let body = String::from_utf8_lossy(&request.body).replace("10.0.0.1:5060", "10.0.0.1:40002");
    request.request_uri = "sip:10.0.0.1:40002".into();
    request.body = body.into();
    request
}

fn refused() {
    let (mut phone, _) = registered();
    let did = phone.command(UeCommand::Reregister);
    let lines = challenge(&phone, 2, SERVER);
    let did = phone.answer(did.request(), 401, &lines);
    let did = phone.answer(did.request(), 480, "");
    assert_eq!(did.states, ["re-registration failed 480"]);
    assert_eq!(removed(&did), [2], "only what was being authenticated");
    let target = "bob".to_owned();
    assert_eq!(phone.command(UeCommand::SendOptions { target }).to, [UNDER_1]);

    // A first registration leaves nothing.
    let mut phone = secure();
    let did = phone.register();
    let lines = challenge(&phone, 1, SERVER);
    let did = phone.answer(did.request(), 401, &lines);
    let did = phone.answer(did.request(), 403, "");
    assert_eq!((removed(&did), did.states), (vec![1], vec!["registration failed 403".to_owned()]));
}

fn left() {
    let (mut phone, _) = registered();
    let did = phone.command(UeCommand::Deregister);
    assert_eq!(did.to, [UNDER_1]);
    let (_, register) = did.request();
    assert!(header(register, HeaderName::Contact).ends_with(";expires=0"));
    assert_eq!(offer(register).ports.client, 40_004, "new values");
    let did = phone.answer(did.request(), 200, "");
    assert_eq!(removed(&did), [1]);
    // The next beginning is unprotected, with a client port of its own.
    let did = phone.register();
    assert_eq!(did.to, ["sip:10.0.0.10:5060"]);
    assert_eq!(offer(did.request().1).ports.client, 40_005);
}

fn ended_by_network() {
    let (mut phone, did) = registered();
    let (tag, subscribe) = did.request();
    let subscribe = subscribe.clone();
    phone.answer((tag, &subscribe), 200, "Expires: 600000\nContact: <sip:s1:6060>");
    let end = "state=\"terminated\" event=\"rejected\"";
    let did = phone.request(on_set(notify(&subscribe, "terminated;reason=rejected", end)));
    assert_eq!(did.order, ["reply", "remove"], "the 200 under the old set");
    assert_eq!(did.states, ["notified terminated", "deregistered by network"]);
    assert_eq!(phone.ue.phase(), Phase::Off);
}

/// The path of the first set.
fn under_1() -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "10.0.0.1:40003".parse().expect("an address"),
        remote: "10.0.0.10:5062".parse().expect("an address"),
        conn: None,
        sa: Some(SaId(1)),
    }
}

/// The challenge is answered, and nobody answers that: once more from the start, then no more.
fn unheard() {
    let mut phone = secure();
    let mut did = phone.register();
    for (turn, set) in [(1, SaId(1)), (2, SaId(2))] {
        assert_eq!(did.to, ["sip:10.0.0.10:5060"]);
        assert_eq!(credentials(did.request().1).response(), None);
        let lines = challenge(&phone, turn, SERVER);
        did = phone.answer(did.request(), 401, &lines);
        let (tag, register) = did.request();
        let response = answer_to(register, 408, "");
        let flow = Some(Flow { sa: Some(set), ..under_1() });
        did = phone.answered(OwnAnswered { tag, response, cause: Cause::Timeout, flow });
        let cause = phone.notes.iter().rev().find_map(|note| note.diagnosis.as_deref());
        let cause = cause.expect("it says why");
        assert_eq!(cause.check, "an answer over the association");
        assert!(cause.ours.contains("SPIs"), "{}", cause.ours);
    }
    assert_eq!(did.states, ["registration failed 408"]);
    assert_eq!(removed(&did), [2]);
}

fn not_held() {
    let mut phone = secure();
    let did = phone.register();
    let lines = challenge(&phone, 1, SERVER);
    let did = phone.answer(did.request(), 401, &lines);
    let id = installed(&did).id;
    let late = did.request();
    let refuse = |set| FlowEvent::NotSecured { set, cause: "no room".to_owned() };
    assert!(phone.flow_event(refuse(SaId(id.0 + 1))).states.is_empty(), "nothing of ours");
    let did = phone.flow_event(refuse(id));
    assert_eq!(did.states, ["associations refused", "registration failed 500"]);
    assert_eq!(removed(&did), [id.0]);
    assert!(phone.notes.iter().any(|it| it.text.contains("the associations do not hold")));
    // What still comes for that REGISTER is not looked at.
    assert!(phone.answer(late, 403, "").states.is_empty());
}

fn silence() {
    let (mut phone, _) = registered();
    let mut silent = |cause: Cause| {
        let target = "bob".to_owned();
        let did = phone.command(UeCommand::SendOptions { target });
        let (tag, request) = did.request();
        let response = answer_to(request, if cause == Cause::Received { 404 } else { 408 }, "");
        phone.answered(OwnAnswered { tag, response, cause, flow: Some(under_1()) })
    };
    assert!(silent(Cause::Timeout).requests.is_empty());
    // An answer, whatever it says, shows that they work.
    assert!(silent(Cause::Received).requests.is_empty());
    assert!(silent(Cause::Timeout).requests.is_empty());
    let did = silent(Cause::Timeout);
    assert!(did.states.contains(&"registration lost".to_owned()), "{:?}", did.states);
    assert_eq!(removed(&did), [1]);
    assert_eq!(did.to, ["sip:10.0.0.10:5060"], "unprotected");
    let (_, register) = did.request();
    assert_eq!((&register.method, credentials(register).response()), (&Method::Register, None));
    assert_eq!(header(register, HeaderName::CSeq), "1 REGISTER");
}

/// It is on its way out: silence does not make it register anew, at another P-CSCF or later.
fn silence_at_the_end() {
    for refreshing in [false, true] {
        let mut phone = Phone::with("alice", |config| {
            config.security = Protection::Ipsec;
            config.retries = true;
            config.other_pcscfs = vec!["sip:10.0.0.11:5060".to_owned()];
        });
        set_up(&mut phone);
        let silent = |phone: &mut Phone, did: &Did| {
            let (tag, request) = did.request();
            let (response, flow) = (answer_to(request, 408, ""), Some(under_1()));
            phone.answered(OwnAnswered { tag, response, cause: Cause::Timeout, flow })
        };
        let options =
            |phone: &mut Phone| phone.command(UeCommand::SendOptions { target: "bob".to_owned() });
        let (first, second) = (options(&mut phone), options(&mut phone));
        let mut last =
            phone.command(if refreshing { UeCommand::Reregister } else { UeCommand::Deregister });
        if refreshing {
            // Nobody answers the refresh: it begins anew, is switched off, and loses its set.
            last = silent(&mut phone, &last);
            assert_eq!(phone.ue.phase(), Phase::Registering);
            assert!(phone.command(UeCommand::Deregister).requests.is_empty());
        } else {
            assert!(silent(&mut phone, &first).requests.is_empty());
        }
        let did = silent(&mut phone, &second);
        assert!(did.requests.is_empty() && did.states.contains(&"deregistered".to_owned()));
        assert_eq!(removed(&did), [1]);
        let did = silent(&mut phone, &last);
        assert!(did.requests.is_empty() && did.states.is_empty(), "{did:?}");
        assert!(!did.timers.iter().any(|(timer, _)| *timer == UeTimer::Register));
        assert_eq!(phone.ue.phase(), Phase::Off);
    }
}

fn mistakes() {
    let phone = |mistake: &str| {
        Phone::with("alice", |config| {
            config.security = Protection::Ipsec;
            assert!(config.mistakes.make(mistake));
        })
    };
    let answer = |mistake: &str| {
        let mut phone = phone(mistake);
        let first = phone.register();
        let lines = challenge(&phone, 1, SERVER);
        let did = phone.answer(first.request(), 401, &lines);
        (client(first.request().1), did)
    };
    let (offered, did) = answer("security-client differs");
    assert_ne!(client(did.request().1), offered);
    assert!(header(did.request().1, HeaderName::SecurityVerify).contains("spi-s=2002"));
    let (offered, did) = answer("security-verify differs");
    assert_eq!(client(did.request().1), offered);
    assert!(header(did.request().1, HeaderName::SecurityVerify).contains("spi-s=2003"));
    let did = phone("no common algorithm").register();
    assert_eq!(client(did.request().1)[0].alg(), Some("hmac-sha-512-256"));
    let did = phone("no sec-agree").register();
    let (_, register) = did.request();
    assert!(register.headers.has_token(HeaderName::Supported, "sec-agree"));
    for name in [HeaderName::Require, HeaderName::ProxyRequire, HeaderName::SecurityClient] {
        assert!(!register.headers.contains(name), "{name}");
    }
}
