//! The P-CSCF towards UEs: called identity, flows, timers, and what does not pass the edge.

use cscf_core::sip::HeaderName;
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, Told};

use super::by_hand::{Hand, alice_and, both, charging, impu, one, sent_to, uri_of};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "pcscf::the_called_identity_is_asserted_for_the_callee",
            &["P-TER-030", "P-TER-090"],
            called,
        ),
        case("pcscf::a_flow_that_is_gone_gives_430_or_480", &["P-TER-040b", "RC-430"], flows),
        case(
            "pcscf::a_silent_phone_gets_the_timers_of_its_radio",
            &["P-TER-050", "P-TER-060", "RC-408"],
            silent_phone,
        ),
        case("pcscf::a_path_is_for_the_core_only", &["P-TER-080"], path_from_outside),
        case("pcscf::reliability_is_between_the_ends", &["P-TER-110"], reliable),
        case("pcscf::privacy_hides_the_identity_at_the_edge", &["G-TRUST-020"], privacy),
        case("pcscf::charging_never_reaches_a_ue", &["G-ICID-030"], charging_headers),
    ]
}

fn called() {
    let (mut bench, alice, bob) = both();
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, ""));
    let came = one(&bench, "s1", bench.addr("p1"), "INVITE").header("P-Charging-Vector");
    let icid = charging(&came, "icid-value").expect("icid");
    let invite = bob.heard_one(&mut bench, "INVITE");
    let b = format!("<{}>", impu(2));
    assert_eq!(invite.headers.get(HeaderName::PCalledPartyId), Some(&*b));
    assert_eq!(invite.headers.get(HeaderName::PChargingVector), None);
    let lines = format!(
        "P-Preferred-Identity: <tel:+15550100002>\nP-Asserted-Identity: <{}>\n\
         P-Charging-Vector: icid-value=forged;term-ioi=forged",
        impu(9)
    );
    for status in [183, 180, 200] {
        bob.answer(&mut bench, &invite, status, &lines);
        let sent = one(&bench, "p1", bench.addr("s1"), &format!("{status} INVITE"));
        assert_eq!(sent.header("P-Asserted-Identity"), b);
        assert_eq!(sent.header("P-Preferred-Identity"), "");
        let vector = sent.header("P-Charging-Vector");
        assert_eq!(charging(&vector, "icid-value"), Some(icid.clone()));
        assert_eq!(charging(&vector, "orig-ioi"), charging(&came, "orig-ioi"));
        assert_eq!(charging(&vector, "term-ioi"), Some(format!("Type 1{DOMAIN}")));
    }
}

fn flows() {
    let mut bench = Bench::of("scenario: tcp\nparties:\n  bob: {transport: tcp}\nsteps: []\n");
    bench.register(&["bob"]);
    bench.run_for(Duration::from_secs(1));
    let path = sent_to(&bench, "p1", bench.addr("i1"), "REGISTER");
    let path = path.last().expect("REGISTER").header("Path");
    let core = Hand::node(&mut bench, "s1", "p1");
    let to_bob = |n: u32, route: &str| {
        core.request("MESSAGE", "sip:bob@127.1.0.102", n, &format!("Route: {route}"))
    };
    let (user, _) = uri_of(&path).split_once('@').expect("a token");
    let unknown = path.replace(user, "sip:0-u0123456789abcdef");
    core.send(&mut bench, &to_bob(1, &unknown));
    assert_eq!(core.answered(&mut bench).status, 480);
    core.send(&mut bench, &to_bob(2, &unknown.replace(";lr", ";lr;ob")));
    assert_eq!(core.answered(&mut bench).status, 430);
    // The connection of the UE breaks.
    bench.mark();
    assert!(bench.stage.lab.crash("bob"));
    bench.run_for(Duration::from_secs(1));
    core.send(&mut bench, &to_bob(3, &path));
    bench.run_for(Duration::from_secs(10));
    assert_eq!(core.answered(&mut bench).status, 480);
}

/// The times between what a node sent, in milliseconds.
fn gaps(sent: &[Told]) -> Vec<u128> {
    let pairs = sent.iter().zip(sent.iter().skip(1));
    pairs.map(|(a, b)| (b.at - a.at).as_millis()).collect()
}

fn silent_phone() {
    for (radio, t1, t2, end) in [("on", 2000, 16000, 128), ("off", 500, 4000, 32)] {
        let parties = format!("parties:\n  alice: {{}}\n  bob: {{radio: {radio}}}\n");
        let mut bench = Bench::of(&format!("scenario: silent\n{parties}steps: []\n"));
        let bob = Hand::registered(&mut bench, "bob");
        let alice = Hand::registered(&mut bench, "alice");
        alice.send(&mut bench, &alice.request("MESSAGE", &impu(2), 1, ""));
        bench.run_for(Duration::from_secs(300));
        let sent = sent_to(&bench, "p1", bob.addr, "MESSAGE");
        let wanted = [t1, 2 * t1, 4 * t1, t2, t2];
        assert_eq!(gaps(&sent)[..5], wanted, "radio {radio}");
        // Nobody is told late that a non-INVITE request was not answered.
        for node in ["p1", "s1", "i1"] {
            assert!(bench.sent(node).iter().all(|told| told.label() != "408 MESSAGE"), "{node}");
        }
        bench.mark();
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 2, ""));
        bench.run_for(Duration::from_secs(300));
        let sent = sent_to(&bench, "p1", bob.addr, "INVITE");
        assert_eq!(gaps(&sent)[..4], [t1, 2 * t1, 4 * t1, 8 * t1], "radio {radio}");
        let late = one(&bench, "p1", bench.addr("s1"), "408 INVITE");
        assert_eq!((late.at - sent[0].at).as_secs(), end, "radio {radio}");
        let told = alice.answers(&mut bench, "408 INVITE");
        assert!(!told.is_empty(), "the caller is told");
    }
}

fn path_from_outside() {
    let mut bench = Bench::new(&["bob"]);
    bench.register(&["bob"]);
    let path = sent_to(&bench, "p1", bench.addr("i1"), "REGISTER");
    let path = path.last().expect("REGISTER").header("Path");
    let stranger = Hand::stranger(&mut bench, "p1");
    bench.mark();
    for (n, method) in (1..).zip(["INVITE", "MESSAGE"]) {
        let text = stranger.request(method, "sip:bob@127.1.0.101", n, &format!("Route: {path}"));
        stranger.send(&mut bench, &text);
        assert_eq!(stranger.answered(&mut bench).status, 403);
    }
    assert!(bench.received("bob").is_empty());
}

fn reliable() {
    let (mut bench, alice, bob) = both();
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, "Supported: 100rel"));
    let invite = bob.heard_one(&mut bench, "INVITE");
    assert_eq!(invite.headers.get(HeaderName::Supported), Some("100rel"));
    bob.answer(&mut bench, &invite, 183, "Require: 100rel\nRSeq: 4711");
    let progress = alice.answers(&mut bench, "183 INVITE").remove(0);
    assert_eq!(progress.headers.get(HeaderName::Require), Some("100rel"));
    assert_eq!(progress.headers.get(HeaderName::RSeq), Some("4711"));
    alice.send(&mut bench, &alice.in_dialog("PRACK", 2, &progress, "RAck: 4711 1 INVITE"));
    let prack = bob.heard_one(&mut bench, "PRACK");
    assert_eq!(prack.headers.get(HeaderName::RAck), Some("4711 1 INVITE"));
    bench.run_for(Duration::from_secs(2));
    assert!(alice.answers(&mut bench, "").is_empty(), "only the callee answers PRACK");
    bob.answer(&mut bench, &prack, 200, "X-Own: bob");
    let answer = alice.answered(&mut bench);
    assert_eq!(answer.headers.fields_named("X-Own").count(), 1);
}

fn privacy() {
    for (lines, shown) in
        [("", true), ("Privacy: none", true), ("Privacy: id", false), ("Privacy: header;id", false)]
    {
        let (mut bench, alice, bob) = both();
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, lines));
        let inside = one(&bench, "s1", bench.addr("p1"), "INVITE");
        assert!(inside.header("P-Asserted-Identity").contains(&impu(1)));
        let invite = bob.heard_one(&mut bench, "INVITE");
        assert_eq!(invite.headers.contains(HeaderName::PAssertedIdentity), shown, "{lines}");
        bob.answer(&mut bench, &invite, 180, lines);
        let inside = one(&bench, "s1", bench.addr("p1"), "180 INVITE");
        assert!(inside.header("P-Asserted-Identity").contains(&impu(2)));
        let ringing = alice.answers(&mut bench, "180 INVITE").remove(0);
        assert_eq!(ringing.headers.contains(HeaderName::PAssertedIdentity), shown, "{lines}");
    }
}

const CHARGING: &str = "P-Charging-Vector: icid-value=secret;orig-ioi=secret\n\
                        P-Charging-Function-Addresses: ccf=secret";

/// Whether a message says anything about charging.
fn has_charging(headers: &cscf_core::sip::Headers) -> bool {
    headers.contains(HeaderName::PChargingVector)
        || headers.contains(HeaderName::PChargingFunctionAddresses)
}

fn charging_headers() {
    let (mut bench, alice) = alice_and(&[]);
    let core = Hand::node(&mut bench, "s1", "p1");
    let path = {
        let mut bench = Bench::new(&["alice"]);
        bench.register(&["alice"]);
        let sent = sent_to(&bench, "p1", bench.addr("i1"), "REGISTER");
        sent.last().expect("REGISTER").header("Path")
    };
    let secret = |text: &str| text.contains("secret");
    // From the UE: request and response.
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, CHARGING));
    let invite = core.heard_one(&mut bench, "INVITE");
    assert!(!secret(&String::from_utf8_lossy(&invite.to_bytes())));
    let target = format!("sip:{}", alice.addr);
    let route = format!("{CHARGING}\nRoute: {path}");
    core.send(&mut bench, &core.request("MESSAGE", &target, 2, &route));
    let message = alice.heard_one(&mut bench, "MESSAGE");
    assert!(!has_charging(&message.headers), "a request towards the UE");
    let forged = CHARGING.replace("secret", "forged");
    alice.answer(&mut bench, &message, 200, &forged);
    let answer = core.answered(&mut bench);
    assert!(!String::from_utf8_lossy(&answer.to_bytes()).contains("forged"));
    assert!(!answer.headers.contains(HeaderName::PChargingFunctionAddresses));
    // Towards the UE: responses.
    core.answer(&mut bench, &invite, 180, CHARGING);
    core.answer(&mut bench, &invite, 200, CHARGING);
    let answers = alice.answers(&mut bench, "");
    assert_eq!(answers.iter().filter(|it| it.status > 100).count(), 2);
    assert!(answers.iter().all(|answer| !has_charging(&answer.headers)));
}
