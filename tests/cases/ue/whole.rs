//! The UE in a whole lab: what its messages look like at the next node's socket, and how several
//! devices of one user live together.

use cscf_core::sip::{HeaderName, Message, Request, SecurityMechanism};
use cscf_core::time::Duration;
use cscf_core::transport::SaId;
use cscf_core::transport::ipsec::{
    Algorithms, End, EspKeys, IPSEC_LIFETIME, Mode, Offer, Ports, SaCommand, SaSet,
};
use cscf_tests::Bench;

use super::phone::{Phone, answer_to, vector};
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::the_first_register_is_as_34_229_has_it", &["U-REG-010", "P92-010"], first),
        case("ue::the_answer_arrives_under_esp", &["U-REG-020", "P92-020"], under_esp),
        case("ue::devices_of_one_user_are_registered_side_by_side", &[], devices),
        case("ue::a_subscription_is_made_refreshed_and_notified", &["N-SUB-010"], subscription),
        case("ue::one_200_of_a_forked_subscribe_comes_back", &["N-SUB-040"], forked),
        case("ue::a_p_cscf_that_is_gone_is_replaced_by_another", &["U-REG-120"], another_pcscf),
    ]
}

const DOMAIN: &str = "ims.mnc001.mcc001.3gppnetwork.org";

fn request(message: &Message) -> &Request {
    match message {
        Message::Request(request) => request,
        Message::Response(response) => panic!("a {}", response.status),
    }
}

fn value(request: &Request, name: HeaderName) -> &str {
    request.headers.get(name).unwrap_or_else(|| panic!("no {name}"))
}

fn first() {
    let mut bench = Bench::of("scenario: none\nparties:\n  alice: {security: on}\nsteps: []\n");
    bench.replace("p1", "p");
    bench.play("alice registers");
    bench.run_for(Duration::from_millis(100));
    let heard = bench.heard_by("p");
    let (flow, message) = &heard[0];
    assert_eq!((flow.sa, flow.local.port()), (None, 5060), "unprotected");
    let register = request(message);
    assert_eq!(register.request_uri, format!("sip:{DOMAIN}"));
    let impu = format!("<sip:001010000000001@{DOMAIN}>");
    assert_eq!(value(register, HeaderName::To), impu);
    assert!(value(register, HeaderName::From).starts_with(&format!("{impu};tag=")));
    let via = value(register, HeaderName::Via);
    assert!(via.starts_with("SIP/2.0/UDP 127.1.0.101:5060;branch=z9hG4bK"), "{via}");
    assert!(via.ends_with(";rport"), "{via}");
    // One registration for voice and messages (IR.92 2.2.1).
    assert_eq!(
        value(register, HeaderName::Contact),
        "<sip:127.1.0.101:5060>;+sip.instance=\"<urn:gsma:imei:35209900-000001-0>\";\
         +g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\";+g.3gpp.smsip;audio;\
         expires=600000"
    );
    assert_eq!(value(register, HeaderName::Supported), "path,gruu");
    for name in [HeaderName::Require, HeaderName::ProxyRequire] {
        assert_eq!(value(register, name), "sec-agree");
    }
    assert_eq!(
        value(register, HeaderName::Authorization),
        format!(
            "Digest username=\"001010000000001@{DOMAIN}\", realm=\"{DOMAIN}\", \
             uri=\"sip:{DOMAIN}\", nonce=\"\", response=\"\""
        )
    );
    let client = register.headers.security(HeaderName::SecurityClient).expect("parses");
    assert!(!client.is_empty());
    for mechanism in &client {
        Offer::of(mechanism).expect("alg, ealg, SPIs and ports");
    }
    for name in [HeaderName::Route, HeaderName::PAccessNetworkInfo, HeaderName::SecurityVerify] {
        assert!(!register.headers.contains(name), "{name}");
    }
}

/// Other ports than those of the P-CSCF that was there before.
const PORTS: Ports = Ports { client: 6100, server: 6062, spi_client: 7001, spi_server: 7002 };

/// The P-CSCF's end of the associations for a first REGISTER with these keys.
fn set(bench: &Bench, register: &Request) -> SaSet {
    let client = register.headers.security(HeaderName::SecurityClient).expect("parses");
    let ue = Offer::of(&client[0]).expect("an offer");
    let vector = vector(&Phone::new("alice"), 1);
    let algorithms = Algorithms::named("hmac-sha-1-96", "null").expect("a pair");
    SaSet {
        id: SaId(1),
        local: End { addr: bench.addr("p1").ip(), ports: PORTS },
        remote: End { addr: bench.addr("alice").ip(), ports: ue.ports },
        algorithms,
        mode: Mode::Transport,
        keys: EspKeys::expand(algorithms, &vector.ck, &vector.ik),
        lifetime: IPSEC_LIFETIME,
    }
}

fn under_esp() {
    let mut bench = Bench::of("scenario: none\nparties:\n  alice: {security: on}\nsteps: []\n");
    bench.replace("p1", "p");
    let alice = bench.addr("alice");
    bench.play("alice registers");
    bench.run_for(Duration::from_millis(100));
    let (_, message) = bench.heard_by("p").remove(0);
    let register = request(&message).clone();
    let set = set(&bench, &register);
    let back = set.datagram_flow();
    bench.secure("p", SaCommand::Install(Box::new(set)));
    let mechanism = "ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;ealg=null;prot=esp;mod=trans;spi-c=7001;\
                     spi-s=7002;port-c=6100;port-s=6062";
    let challenge = super::phone::aka_challenge(&Phone::new("alice"), 1);
    let lines = format!("{challenge}Security-Server: {mechanism}\n");
    let text = answer_to(&register, 401, &lines).to_bytes();
    bench.send_bytes("p", alice, &text);
    bench.run_for(Duration::from_millis(100));

    let heard = bench.heard_by("p");
    let (flow, message) = heard.last().expect("the answer");
    assert_eq!(flow.sa, Some(SaId(1)), "under the set of the challenge");
    assert_eq!((flow.local.port(), flow.remote.port()), (6062, 40_003));
    let answer = request(message);
    assert_eq!(value(answer, HeaderName::CSeq), "2 REGISTER");
    let via = value(answer, HeaderName::Via);
    assert!(via.starts_with("SIP/2.0/UDP 127.1.0.101:40002;") && !via.contains("rport"), "{via}");
    assert!(value(answer, HeaderName::Contact).starts_with("<sip:127.1.0.101:40002>"));
    let verify = answer.headers.security(HeaderName::SecurityVerify).expect("parses");
    assert_eq!(verify, [SecurityMechanism::parse(mechanism).expect("parses")]);
    let client = value(answer, HeaderName::SecurityClient);
    assert_eq!(client, value(&register, HeaderName::SecurityClient));

    // The 200 comes under the set, and everything after goes under it.
    let lines = "Contact: <sip:127.1.0.101:40002>;expires=600000\n\
                 Service-Route: <sip:orig@10.9.9.9:6060;lr>\nP-Associated-URI: <sip:a@x>\n";
    let text = String::from_utf8(answer_to(answer, 200, lines).to_bytes().to_vec()).expect("text");
    bench.send_by("p", back, &text);
    bench.play("alice is registered");
    bench.run_for(Duration::from_millis(100));
    let heard = bench.heard_by("p");
    let (flow, message) = heard.last().expect("SUBSCRIBE");
    assert_eq!(flow.sa, Some(SaId(1)));
    let subscribe = request(message);
    assert_eq!(subscribe.method.as_str(), "SUBSCRIBE");
    assert!(subscribe.headers.contains(HeaderName::SecurityVerify));
    let route = subscribe.headers.first_value(HeaderName::Route);
    assert_eq!(route, Some("<sip:127.1.0.11:6062;lr>"));
    // A NOTIFY in clear at a protected port does not reach it.
    assert!(bench.dropped("alice").is_empty());
    bench.send_bytes("p", "127.1.0.101:40002".parse().expect("an address"), b"NOTIFY x");
    bench.run_for(Duration::from_millis(100));
    assert_eq!(bench.dropped("alice").len(), 1, "{:?}", bench.dropped("alice"));
}

fn devices() {
    let mut bench = Bench::of(
        "scenario: none\nparties:\n  alice: {reg_id: 1}\n  tablet: {of: alice, reg_id: 1}\n\
         steps: []\n",
    );
    bench.register(&["alice", "tablet"]);
    let instances: Vec<String> = ["alice", "tablet"]
        .into_iter()
        .map(|ue| {
            let sent = bench.sent(ue);
            let register = sent.iter().find(|told| told.label() == "REGISTER").expect("one");
            register.header("Contact")
        })
        .collect();
    assert!(instances[0].contains("urn:gsma:imei:"), "{instances:?}");
    assert!(instances[1].contains("urn:uuid:"), "{instances:?}");
    bench.play("alice fetches her registrations\nalice is registrations 2");
    let sent = bench.sent("alice");
    let fetch = sent.iter().rev().find(|told| told.label() == "REGISTER").expect("REGISTER");
    assert_eq!(fetch.header("Contact"), "");
    bench.play("tablet deregisters\ntablet is deregistered");
    bench.play("alice fetches her registrations\nalice is registrations 1");
    bench.play("tablet registers\ntablet is registered");
    bench.play("alice deregisters everything\nalice is deregistered");
    let sent = bench.sent("alice");
    let star = sent.iter().rev().find(|told| told.label() == "REGISTER").expect("REGISTER");
    assert_eq!((star.header("Contact"), star.header("Expires")), ("*".to_owned(), "0".to_owned()));
    bench.play("tablet fetches its registrations\ntablet is registrations 0");
}

fn subscription() {
    let mut bench = Bench::new(&["alice"]);
    bench.play("alice registers\nalice is notified active");
    bench.run_for(Duration::from_secs(1));
    let received = bench.received("alice");
    let ok: Vec<_> =
        received.iter().filter(|told| told.header("CSeq").ends_with("SUBSCRIBE")).collect();
    assert!(ok.iter().all(|told| told.label() == "200 SUBSCRIBE"), "200, never 202");
    assert_eq!(ok.len(), 1);
    assert!(ok[0].header("Expires").parse::<u32>().is_ok_and(|granted| granted <= 600_000));
    let notify = received.iter().find(|told| told.label() == "NOTIFY").expect("NOTIFY");
    assert!(notify.header("Subscription-State").starts_with("active;expires="));
    assert!((notify.at.max(ok[0].at) - notify.at.min(ok[0].at)).as_millis() < 200, "at once");
    // The refresh is in the dialog, and is notified at once, too.
    bench.mark();
    bench.run_for(Duration::from_secs(599_500));
    let sent = bench.sent("alice");
    let refresh = sent.iter().find(|told| told.label() == "SUBSCRIBE").expect("a refresh");
    assert!(refresh.header("To").contains(";tag="), "{}", refresh.header("To"));
    let received = bench.received("alice");
    let notified = received.iter().find(|told| told.label() == "NOTIFY" && told.at >= refresh.at);
    let state = notified.expect("NOTIFY").header("Subscription-State");
    assert!(state.starts_with("active;expires="), "{state}");
}

fn forked() {
    let mut bench = Bench::of(
        "scenario: none\nparties:\n  alice: {}\n  bob: {reg_id: 1}\n  tablet: {of: bob, reg_id: 1}\n\
         steps: []\n",
    );
    bench.register(&["alice", "bob", "tablet"]);
    let p1 = bench.addr("p1");
    bench.replace("bob", "b1");
    bench.replace("tablet", "b2");
    bench.play("alice subscribes to presence of bob");
    bench.run_for(Duration::from_millis(200));
    for (raw, tag) in [("b1", "one"), ("b2", "two")] {
        let heard = bench.heard(raw);
        let subscribe = heard.iter().map(request).find(|it| it.method.as_str() == "SUBSCRIBE");
        let subscribe = subscribe.unwrap_or_else(|| panic!("{raw} gets a branch"));
        let mut ok = answer_to(subscribe, 200, "Expires: 3600\nContact: <sip:bob@127.1.0.9>");
        ok.set_to_tag(tag);
        let to = value(subscribe, HeaderName::To);
        ok.headers.set(HeaderName::To, &format!("{to};tag={tag}"));
        bench.send_bytes(raw, p1, &ok.to_bytes());
    }
    bench.run_for(Duration::from_secs(5));
    let sent = bench.sent("alice");
    let own = sent.iter().find(|told| told.header("Event") == "presence").expect("SUBSCRIBE");
    let received = bench.received("alice");
    let answers = received.iter().filter(|told| {
        told.label() == "200 SUBSCRIBE" && told.header("Call-ID") == own.header("Call-ID")
    });
    assert_eq!(answers.count(), 1);
}

fn another_pcscf() {
    let mut bench = Bench::of(
        "scenario: none\nlab:\n  nodes:\n    p2: {role: p-cscf, listen: 127.0.0.1:5070}\n\
         parties:\n  alice: {p_cscfs: [p1, p2]}\nsteps: []\n",
    );
    bench.play("p1 crashes");
    bench.play("alice registers\np2 receives REGISTER from alice within 130s");
    bench.play("alice is registered");
    let sent = bench.sent("alice");
    let registers: Vec<_> = sent.iter().filter(|told| told.label() == "REGISTER").collect();
    let (first, last) = (registers.first().expect("one"), registers.last().expect("one"));
    assert_ne!(first.wire.remote, last.wire.remote);
    assert_ne!(first.header("Call-ID"), last.header("Call-ID"), "an initial registration");
}
