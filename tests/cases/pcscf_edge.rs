//! What the P-CSCF remembers of a registration and when it forgets, whom it sends away, and what
//! passes the edge of the trust domain (TS 24.229 §4.4, §5.2.2, §5.2.5).

use cscf_core::operator::Show;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::by_hand::{self, impu, reconfigure};
use super::hand::{A_MOMENT, Hand, status, values};
use super::pcscf_register::{
    edge, forwarded, home_says, ok_lines, register, request, sends, to_home,
};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pcscf_edge::a_200_says_routes_and_identities", &["P-REG-310"], stored),
        case("pcscf_edge::a_registration_ends_in_time", &["P-REG-350"], expiry),
        case("pcscf_edge::what_the_registrar_says_is_done", &["P-REG-340"], told),
        case("pcscf_edge::a_draining_node_sends_away", &["P-REG-410", "RC-305"], drained),
        case("pcscf_edge::no_emergency_registration_by_policy", &["P-REG-420"], no_emergency),
        case("pcscf_edge::overload_has_new_users_wait", &["RC-503a"], overloaded),
        case("pcscf_edge::a_503_of_the_core_is_no_503_of_ours", &["RC-503d", "RC-500d"], core_503),
        case("pcscf_edge::who_is_no_party_is_refused", &["RC-403b"], no_party),
        case("pcscf_edge::what_is_malformed_gets_400_or_nothing", &["RC-400"], malformed),
    ]
}

/// Sends a request of the UE and takes the final response.
fn asks(hand: &mut Hand, method: &str, lines: &str) -> Message {
    let text = request(hand, method, lines);
    hand.ask(&text)
}

fn stored() {
    let mut hand = edge();
    let home = to_home(&hand);
    register(&mut hand, &[&home, "sip:t@h.example"]);
    let came = sends(&mut hand, "MESSAGE", "");
    let both = [format!("<{home};lr>"), "<sip:t@h.example;lr>".to_owned()];
    assert_eq!(values(&came, HeaderName::Route), both);
    let default = format!("<sip:+15550100001@{DOMAIN};user=phone>");
    assert!(header(&came, "P-Asserted-Identity").starts_with(&default));
    home_says(&mut hand, &came, "200 OK", "");
    // Each of the associated identities may be used.
    let third = format!("<sip:alice@{DOMAIN}>");
    let wish = format!("P-Preferred-Identity: {third}\n");
    let came = sends(&mut hand, "MESSAGE", &wish);
    assert!(header(&came, "P-Asserted-Identity").contains(&third));
    home_says(&mut hand, &came, "200 OK", "");
    // Expiry and the home network's name are kept as well.
    let kept = |hand: &mut Hand| by_hand::shown(&mut hand.bench, Show::Registrations);
    let rows = kept(&mut hand);
    assert_eq!(rows.len(), 1);
    let has = |rows: &[Vec<String>], cell: &str| rows[0].iter().any(|it| it == cell);
    let lasts = |rows: &[Vec<String>], start| rows[0].iter().any(|it| it.starts_with(start));
    assert!(has(&rows, "term_ioi=Type 1y") && lasts(&rows, "expires_s=359"), "{rows:?}");
    // Another 200 says otherwise.
    let lines = hand.unchallenged(None);
    let came = forwarded(&mut hand, &lines);
    let ok = ok_lines(&hand, &[&home]);
    let only = "P-Associated-URI: <tel:+15550100009>\n";
    let ok: String = ok
        .lines()
        .map(|line| if line.starts_with("P-Ass") { only.into() } else { format!("{line}\n") })
        .collect();
    let ok = ok.replace("Type 1y", "Type 1z").replace("=3600", "=600");
    home_says(&mut hand, &came, "200 OK", &ok).expect("a 200");
    let came = sends(&mut hand, "MESSAGE", &wish);
    assert_eq!(values(&came, HeaderName::Route), both[..1]);
    assert_eq!(header(&came, "P-Asserted-Identity"), "<tel:+15550100009>");
    let rows = kept(&mut hand);
    assert!(has(&rows, "term_ioi=Type 1z") && rows.len() == 1, "{rows:?}");
    assert!(lasts(&rows, "expires_s=59"), "{rows:?}");
}

fn expiry() {
    let mut hand = edge();
    let home = to_home(&hand);
    register(&mut hand, &[&home]);
    hand.bench.run_for(Duration::from_secs(3_610));
    // Until the guard is over a late refresh would still find it.
    sends(&mut hand, "MESSAGE", "");
    hand.bench.run_for(Duration::from_secs(40));
    hand.bench.heard("home");
    let answer = asks(&mut hand, "OPTIONS", "");
    assert_eq!(label(&answer), "403 OPTIONS");
    let heard = hand.bench.heard("home");
    assert!(!heard.iter().any(|it| label(it) == "OPTIONS"), "it does not go on");
}

fn told() {
    let (mut bench, alice) = by_hand::alice_and(&[]);
    let message = |n| alice.request("OPTIONS", &impu(2), n, "");
    alice.send(&mut bench, &message(1));
    let forwards = |bench: &Bench| {
        let sent = bench.sent("p1");
        sent.iter().filter(|told| told.label() == "OPTIONS").count()
    };
    assert_eq!(forwards(&bench), 1);
    bench.mark();
    bench.play("hss sends RTR for alice with permanent termination\nwait 100ms");
    let s1 = bench.addr("s1");
    assert_eq!(by_hand::sent_to(&bench, "p1", s1, "200 NOTIFY").len(), 1);
    // The UE's own NOTIFY still gets through.
    assert_eq!(alice.heard(&mut bench, "NOTIFY").len(), 1);
    bench.run_for(Duration::from_secs(200));
    bench.mark();
    alice.send(&mut bench, &message(2));
    assert_eq!(forwards(&bench), 0);
    assert_eq!(alice.answered(&mut bench).status, 403);
    // A NOTIFY of a subscription that nobody made.
    let s1 = by_hand::Hand::node(&mut bench, "s1", "p1");
    let p1 = format!("sip:0-r0000000000000001@{}", bench.addr("p1"));
    let lines = "Event: reg\nSubscription-State: terminated";
    let text = s1.request("NOTIFY", &p1, 3, lines).replace("To: <", "To: <sip:x@y>;tag=none\nX: <");
    s1.send(&mut bench, &text);
    assert_eq!(s1.answered(&mut bench).status, 481);
}

fn drained() {
    let mut hand = edge();
    hand.bench.play("p1 drains");
    let lines = hand.unchallenged(None);
    let answer = hand.register(&lines);
    assert_eq!(label(&answer), "305 REGISTER");
    // Nothing else is answered so, and nothing goes home.
    let answer = asks(&mut hand, "MESSAGE", "");
    assert_eq!(label(&answer), "403 MESSAGE");
    assert_eq!(hand.bench.heard("home").len(), 0);
    // A 305 that comes goes on to the UE; nobody here follows it.
    let mut hand = edge();
    let lines = hand.unchallenged(None);
    let came = forwarded(&mut hand, &lines);
    let there = hand.bench.raw("there");
    let contact = format!("Contact: <sip:{there}>\n");
    let answer = home_says(&mut hand, &came, "305 Use Proxy", &contact).expect("a final response");
    assert_eq!(label(&answer), "305 REGISTER");
    assert_eq!(hand.bench.heard("there").len(), 0);
}

/// The REGISTER of an emergency registration (TS 24.229 §5.1.6.2).
fn emergency(hand: &mut Hand) -> String {
    let contact = hand.contact.replace('>', ";sos>");
    let lines = hand.unchallenged(None) + &contact;
    hand.next(&lines)
}

fn no_emergency() {
    for (allowed, expected) in [(true, None), (false, Some("403 REGISTER"))] {
        let mut hand = edge();
        reconfigure(&mut hand.bench, |config| config.emergency_registration = allowed);
        let text = emergency(&mut hand);
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        let answer = hand.answered();
        assert_eq!(answer.as_ref().map(label).as_deref(), expected);
        assert_eq!(hand.bench.heard("home").is_empty(), !allowed);
        // Any other registration is none of this policy.
        let lines = hand.unchallenged(None);
        forwarded(&mut hand, &lines);
    }
}

fn overloaded() {
    let mut hand = edge();
    hand.bench.play("operator orders \"overload p1 --retry-after 30\"");
    let lines = hand.unchallenged(None);
    let answer = hand.register(&lines);
    assert_eq!(label(&answer), "503 REGISTER");
    assert_eq!(header(&answer, "Retry-After"), "30");
    assert_eq!(hand.bench.heard("home").len(), 0);
    let text = emergency(&mut hand);
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    assert_eq!(hand.bench.heard("home").len(), 1, "an emergency is never refused so");
}

fn core_503() {
    let mut hand = edge();
    let lines = hand.unchallenged(None);
    let came = forwarded(&mut hand, &lines);
    let answer = home_says(&mut hand, &came, "503 Service Unavailable", "Retry-After: 5\n");
    let answer = answer.expect("a final response");
    assert_eq!(label(&answer), "500 REGISTER");
}

fn no_party() {
    // Only for an emergency registered, and nothing of an emergency asked.
    let mut hand = edge();
    let text = emergency(&mut hand);
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    let came = super::pcscf_register::last(&mut hand, "REGISTER");
    let home = to_home(&hand);
    let ok = ok_lines(&hand, &[&home]).replacen('>', ";sos>", 1);
    home_says(&mut hand, &came, "200 OK", &ok).expect("a 200");
    let answer = asks(&mut hand, "MESSAGE", "");
    assert_eq!(label(&answer), "403 MESSAGE");
    // A request in a dialog of others.
    let (mut bench, _, bob, answer, _) = by_hand::call();
    let stranger = by_hand::Hand::stranger(&mut bench, "p1");
    stranger.send(&mut bench, &stranger.in_dialog("BYE", 2, &answer, ""));
    assert_eq!(stranger.answered(&mut bench).status, 403);
    assert_eq!(bob.heard(&mut bench, "BYE").len(), 0);
}

/// It is this refusal, and its reason phrase names the fault.
fn named(answer: &Message, expected: &str) {
    assert_eq!(label(answer), expected);
    let Message::Response(response) = answer else { panic!("a response") };
    assert_ne!(response.reason, "Bad Request");
}

fn malformed() {
    let mut hand = edge();
    let home = to_home(&hand);
    register(&mut hand, &[&home]);
    let two = "Refer-To: <sip:a@x>\nRefer-To: <sip:b@x>\nContent-Length";
    for (from, to, method, expected) in [
        (";tag=r", ";x=r", "MESSAGE", 400),
        ("Content-Length", two, "REFER", 400),
        ("CSeq: 1 MESSAGE", "CSeq: 1 INVITE", "MESSAGE", 400),
        ("CSeq: 1 ACK", "CSeq: one ACK", "ACK", 0),
        ("Via: SIP/2.0/UDP", "Via: SIP2.0;UDP;;", "MESSAGE", 0),
    ] {
        let text = request(&mut hand, method, "");
        assert!(text.contains(from), "{from}");
        hand.send(&text.replace(from, to));
        hand.bench.run_for(A_MOMENT);
        let answer = hand.answered();
        assert_eq!(answer.as_ref().map_or(0, status), expected, "{to}");
        if let Some(Message::Response(response)) = answer {
            assert_ne!(response.reason, "Bad Request", "the reason names the fault");
        }
    }
    // A Route that is not the Service-Route, where the operator has it refused.
    let mut hand = edge();
    reconfigure(&mut hand.bench, |config| config.route_mismatch = p_cscf::RouteMismatch::Reject);
    register(&mut hand, &["sip:other@h.example"]);
    named(&asks(&mut hand, "MESSAGE", ""), "400 MESSAGE");
    // The registrar, and the registration stays.
    let mut hand = Hand::ue(Bench::new(&[]), "carol");
    hand.registered(None, None);
    let lines = hand.unchallenged(None) + "Contact: *\nExpires: 60\n";
    named(&hand.register(&lines), "400 REGISTER");
    let fetch = hand.unchallenged(None);
    hand.contact = String::new();
    let mut answer = hand.register(&fetch);
    if label(&answer) == "401 REGISTER" {
        let proof = hand.proof(&answer, None);
        answer = hand.register(&proof);
    }
    assert_eq!(values(&answer, HeaderName::Contact).len(), 1);
}
