//! What is told of refusals that no scenario can provoke: which check, both values, the clause.
//! Those of scenarios are in `scenarios/diagnosis/`.

use cscf_core::auth::{AkaFunctions as _, IntegrityProtected, to_hex};
use cscf_core::trace::Diagnosis;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::by_hand::reconfigure;
use super::cx::{provision, subscriber_of};
use super::hand::{A_MOMENT, Hand, challenge, line, rand, restart_s1};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("diagnosis::a_first_hop_without_outbound", &[], first_hop),
        case("diagnosis::a_request_that_is_not_proven", &[], not_proven),
        case("diagnosis::a_client_that_misreads_res", &[], misread_res),
        case("diagnosis::an_emergency_registration_by_policy", &[], emergency),
        case("diagnosis::a_network_without_roaming_agreement", &[], roaming),
        case("diagnosis::a_user_without_an_open_identity", &[], barred),
        case("diagnosis::what_a_refusal_has_to_do_with_whom", &[], every_refusal),
    ]
}

/// The latest diagnosis of a node, with its clause.
fn told(bench: &Bench, node: &str) -> (String, Diagnosis) {
    let mut notes = bench.notes(node).into_iter().rev();
    let found = notes.find_map(|note| Some((note.clause.to_string(), *note.diagnosis?)));
    found.expect("a diagnosis")
}

fn check((clause, told): (String, Diagnosis), expected: [&str; 6]) {
    let [about, what, came, here, change, by] = expected;
    assert!(told.about.contains(about), "{told:?}");
    assert_eq!(told.check, what);
    assert!(told.theirs.contains(came), "{told:?}");
    assert!(told.ours.contains(here), "{told:?}");
    assert!(told.change.contains(change), "{told:?}");
    assert_eq!(clause, by);
}

fn first_hop() {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    hand.lines += "Path: <sip:tok@edge.example;lr>\nSupported: outbound\n";
    let contact = "Contact: <sip:a@10.0.0.1>;reg-id=1;+sip.instance=\"<urn:x:1>\"\n";
    let lines = hand.unchallenged(NO) + contact;
    assert_eq!(label(&hand.register(&lines)), "439 REGISTER");
    let expected = ["001010000000001@", "the first hop knows outbound", "edge.example", "`ob`"];
    let [about, what, came, here] = expected;
    check(told(&hand.bench, "s1"), [about, what, came, here, "reg-id", "RFC 5626 §6"]);
}

fn not_proven() {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "carol");
    restart_s1(&mut hand.bench, |config| config.proxy_authentication = true);
    let ok = hand.registered(None, None);
    let (route, impu) = (header(&ok, "Service-Route"), hand.impu.clone());
    for (line, came) in [("", "no Proxy-Authorization"), (WRONG, "nonce=\"guess\"")] {
        hand.cseq += 1;
        let (at, cseq) = (hand.at, hand.cseq);
        let text = format!(
            "MESSAGE sip:bob@{DOMAIN} SIP/2.0\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-r{cseq}\n\
             Route: {route}\nMax-Forwards: 70\nFrom: <{impu}>;tag=r\nTo: <sip:bob@{DOMAIN}>\n\
             Call-ID: r\nCSeq: {cseq} MESSAGE\nP-Asserted-Identity: <{impu}>\n\
             {}Content-Length: 0\n",
            line.replace("REALM", DOMAIN)
        );
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        let expected = ["carol@", "the request is proven", came, "", "password"];
        let [about, what, came, here, change] = expected;
        check(told(&hand.bench, "s1"), [about, what, came, here, change, "TS 24.229 §5.4.3.6"]);
    }
}

const WRONG: &str = "Proxy-Authorization: Digest realm=\"REALM\",nonce=\"guess\",response=\"0\"\n";

/// RES is octets; clients have taken its digits, or have stopped at a zero (RFC 3310 §3.3).
fn misread_res() {
    for (password, here) in [
        (None, "RES written in hexadecimal"),
        (Some(&b""[..]), "no RES at all"),
        (Some(&b"other"[..]), "the response is not that of this user"),
    ] {
        let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
        let lines = hand.unchallenged(NO);
        let challenged = hand.register(&lines);
        let shown = challenge(&challenged);
        let digits = to_hex(hand.milenage().f2345(&rand(&shown)).res.as_bytes());
        let wrong = hand.answer(&shown, password.unwrap_or(digits.as_bytes()));
        assert_eq!(label(&hand.register(&line(wrong, YES))), "403 REGISTER");
        let what = "the response fits the challenge";
        let by = "TS 24.229 §5.4.1.2.3A";
        check(told(&hand.bench, "s1"), ["001010000000001@", what, "response", here, "RES", by]);
    }
}

fn emergency() {
    let mut hand = Hand::ue(Bench::new(&[]), "alice");
    reconfigure(&mut hand.bench, |config| config.emergency_registration = false);
    hand.contact = format!("Contact: <sip:alice@{};sos>;expires=600\n", hand.at);
    let lines = hand.unchallenged(None);
    assert_eq!(label(&hand.register(&lines)), "403 REGISTER");
    let what = "emergency registrations are served";
    let expected = ["001010000000001@", what, "sos", "off", "policy", "TS 24.229 §5.2.2.1"];
    check(told(&hand.bench, "p1"), expected);
}

fn roaming() {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    restart_s1(&mut hand.bench, |config| {
        config.visited_networks = Some(vec!["home.example".to_owned()]);
    });
    let lines = hand.unchallenged(NO);
    assert_eq!(label(&hand.register(&lines)), "403 REGISTER");
    let what = "there is a roaming agreement with the visited network";
    let (came, here) = (DOMAIN, "only home.example");
    let by = "TS 24.229 §5.4.1.2.1";
    check(told(&hand.bench, "s1"), ["001010000000001@", what, came, here, "visited", by]);
}

fn barred() {
    let mut hand = Hand::ue(Bench::new(&[]), "alice");
    let only = format!("sip:erin@{DOMAIN}");
    provision(&mut hand.bench, subscriber_of("erin", &[(&only, true)]));
    hand.who.impi = format!("erin@{DOMAIN}");
    hand.impu = only;
    let lines = hand.unchallenged(None);
    assert_eq!(label(&hand.register(&lines)), "403 REGISTER");
    let what = "an identity of the implicit registration set is not barred";
    let (came, here) = ("sip:erin@", "all identities of the set are barred");
    let by = "TS 29.228 §6.1.1.1";
    check(told(&hand.bench, "hss"), ["erin@", what, came, here, "impus", by]);
    let what = "the HSS lets the user register";
    let (came, here) = ("sip:erin@", "AUTHORIZATION_REJECTED");
    let by = "TS 24.229 §5.3.1.3";
    check(told(&hand.bench, "i1"), ["erin@", what, came, here, "barred", by]);
}

/// Whatever is refused to a REGISTER at an S-CSCF is found by its user's identity.
fn every_refusal() {
    let long = format!("Contact: <sip:a@10.0.0.1>;x={}\n", "y".repeat(20_000));
    for (lines, status) in [
        ("Require: no-such-extension\n", "420"),
        ("Contact: <sip:a@10.0.0.1>;expires=5\n", "423"),
        ("Contact: *\n", "400"),
        ("Contact: <sip:a@10.0.0.1\n", "400"),
        (&long, "400"),
    ] {
        let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
        hand.contact.clear();
        let lines = hand.unchallenged(NO) + lines;
        assert_eq!(label(&hand.register(&lines)), format!("{status} REGISTER"));
        let (_, told) = told(&hand.bench, "s1");
        assert!(told.about.contains("001010000000001"), "{told:?}");
        assert!(!told.theirs.is_empty() && !told.ours.is_empty(), "{told:?}");
        assert!(!told.change.is_empty(), "{told:?}");
    }
}
