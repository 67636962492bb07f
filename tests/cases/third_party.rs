//! Application servers and registrations: filter criteria, third-party REGISTER (TS 24.229
//! §5.4.1.7, TS 23.218 §5.2.3), and the server's side (§5.7.1.1).

use cscf_core::ifc::{DefaultHandling, RegistrationType, UserProfile};
use cscf_core::time::Duration;
use cscf_tests::{Bench, Told};

use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("third_party::a_matching_server_is_told", &["S-REG-280"], told),
        case("third_party::a_failing_server_ends_it_or_not", &["S-REG-290"], failure),
        case("third_party::a_short_grant_is_refreshed_in_time", &["S-REG-280"], short_grant),
        case("third_party::every_end_is_told", &["S-DRG-110"], every_end),
        case("third_party::the_server_learns_who_is_registered", &["A-GEN-010"], learns),
        case("third_party::the_server_refuses_as_it_is_told", &["A-GEN-020"], refuses),
        case("third_party::a_server_of_the_profile_may_subscribe", &["S-NOT-020c"], subscribes),
        case("third_party::every_element_of_the_profile_counts", &["X-CX-080"], elements),
    ]
}

/// A lab in which as1 answers as said, and alice's criteria have these lines besides.
fn bench(register: &str, criterion: &str) -> Bench {
    Bench::of(&format!(
        "scenario: none\nparties:\n  alice: {{}}\nlab:\n  nodes:\n    as1: {{role: as, listen: \
         \"127.0.0.1:7060\", register: {register}}}\n  subscribers:\n    alice:\n      \
         filter_criteria:\n        - {{priority: 1, server: as1, {criterion}}}\nsteps: []\n"
    ))
}

fn registers(list: &[Told]) -> Vec<&Told> {
    list.iter().filter(|told| told.label() == "REGISTER").collect()
}

const SECOND: Duration = Duration::from_secs(1);

fn told() {
    // Each kind of REGISTER alone.
    for (kind, expected) in [
        ("initial", vec!["600000"]),
        ("re-registration", vec!["600000"]),
        ("deregistration", vec!["0"]),
        ("[initial, deregistration]", vec!["600000", "0"]),
    ] {
        let when = format!("all_of: [{{method: REGISTER, registration: {kind}}}]");
        let mut bench = bench("accepts", &when);
        bench.play("alice registers\nalice is registered\nalice re-registers\n");
        bench.play("alice is re-registered\nalice deregisters\nalice is deregistered");
        bench.run_for(SECOND);
        let received = bench.received("as1");
        let expires: Vec<_> = registers(&received).iter().map(|it| it.header("Expires")).collect();
        assert_eq!(expires, expected, "{kind}");
        for told in registers(&received) {
            let us = format!("<sip:{}>", bench.addr("s1"));
            assert_eq!(told.request().request_uri, format!("sip:{}", bench.addr("as1")));
            assert_eq!(told.header("Contact"), us);
            assert!(told.header("From").starts_with(&us));
            assert!(told.header("To").starts_with("<sip:+15550100001@"));
            assert!(told.header("P-Charging-Vector").contains("orig-ioi=\"Type 3"));
        }
    }
    // Nothing for a method that is no REGISTER.
    let mut bench = bench("accepts", "all_of: [{method: INVITE}]");
    bench.register(&["alice"]);
    bench.run_for(SECOND);
    assert!(registers(&bench.received("as1")).is_empty());
}

/// Whether alice is told that her registration has ended, within this time.
fn is_ended(register: &str, handling: &str, within: Duration) -> bool {
    let mut bench = bench(register, &format!("default_handling: {handling}"));
    bench.register(&["alice"]);
    bench.run_for(within);
    let told = bench.received("alice");
    let text = |told: &Told| String::from_utf8_lossy(told.message.body()).into_owned();
    let ended = told.iter().any(|told| text(told).contains("event=\"rejected\""));
    if ended {
        let last = told.last().expect("a NOTIFY");
        assert_eq!(last.header("Subscription-State"), "terminated;reason=rejected");
    } else {
        bench.play("alice re-registers\nalice is re-registered");
    }
    ended
}

fn failure() {
    let (soon, late) = (Duration::from_secs(3), Duration::from_secs(34));
    for answer in ["refuses 500", "refuses 503"] {
        assert!(is_ended(answer, "terminated", soon), "{answer}");
        assert!(!is_ended(answer, "continued", soon), "{answer}");
    }
    assert!(!is_ended("silent", "terminated", Duration::from_secs(30)), "too early");
    assert!(is_ended("silent", "terminated", late));
    assert!(!is_ended("silent", "continued", late));
    // A server that will not have the user is no failure of the server.
    assert!(!is_ended("refuses 403", "terminated", late));
}

fn short_grant() {
    let mut bench = bench("accepts for 120s", "all_of: [{method: REGISTER}]");
    bench.register(&["alice"]);
    bench.run_for(Duration::from_secs(61));
    let received = bench.received("as1");
    let [first, second] = registers(&received)[..] else { panic!("two REGISTERs") };
    assert_eq!(first.header("Call-ID"), second.header("Call-ID"));
    assert_eq!(second.header("CSeq"), "2 REGISTER");
    let left: u64 = second.header("Expires").parse().expect("seconds");
    assert!((599_930..600_000).contains(&left), "{left}");
}

fn every_end() {
    for end in [
        "alice deregisters",
        "operator deregisters alice",
        "operator deregisters alice with deactivated",
        "operator orders \"rtr alice --reason permanent\"",
    ] {
        let mut bench =
            bench("accepts", "all_of: [{method: REGISTER, registration: deregistration}]");
        bench.register(&["alice"]);
        bench.play(end);
        bench.run_for(SECOND);
        let received = bench.received("as1");
        let [told] = registers(&received)[..] else { panic!("{end}: one REGISTER") };
        assert_eq!(
            (told.header("Expires").as_str(), told.header("CSeq").as_str()),
            ("0", "1 REGISTER")
        );
    }
    // Its time runs out.
    let mut bench = bench("accepts", "all_of: [{method: REGISTER}]");
    bench.play("alice registers for 600s\nalice is registered");
    assert!(bench.stage.lab.crash("alice"));
    bench.run_for(Duration::from_secs(601));
    let received = bench.received("as1");
    let last = *registers(&received).last().expect("a REGISTER");
    assert_eq!(last.header("Expires"), "0");
}

fn learns() {
    let mut bench = bench("accepts", "all_of: [{method: REGISTER}]");
    bench.register(&["alice"]);
    bench.play("as1 is registered alice\nas1 is notified alice active");
    let sent = bench.sent("as1");
    let ok = sent.iter().find(|told| told.label() == "200 REGISTER").expect("a 200");
    assert_eq!(ok.header("Expires"), "600000");
    // It asks the S-CSCF that the REGISTER named.
    let subscribe = sent.iter().find(|told| told.label() == "SUBSCRIBE").expect("a SUBSCRIBE");
    assert_eq!(subscribe.wire.remote, bench.addr("s1"));
    assert!(subscribe.request().request_uri.starts_with("sip:+15550100001@"));
    bench.mark();
    bench.play("alice deregisters\nas1 is deregistered alice");
    let sent = bench.sent("as1");
    let ok = sent.iter().find(|told| told.label() == "200 REGISTER").expect("a 200");
    assert_eq!(ok.header("Expires"), "0");
    // A REGISTER of a stranger teaches nothing.
    let (from, to) = (bench.raw("stranger"), bench.addr("as1"));
    bench.mark();
    bench.send(
        "stranger",
        to,
        &format!(
            "REGISTER sip:{to} SIP/2.0\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-x\nMax-Forwards: 70\n\
             From: <sip:{from}>;tag=x\nTo: <sip:mallory@ims.example>\nCall-ID: x\n\
             CSeq: 1 REGISTER\nContact: <sip:{from}>\nExpires: 600\nContent-Length: 0\n"
        ),
    );
    bench.run_for(SECOND);
    let sent = bench.sent("as1");
    assert_eq!(sent.iter().map(Told::label).collect::<Vec<_>>(), ["403 REGISTER"]);
}

fn refuses() {
    for (status, ends) in [(403, false), (480, false), (500, true), (503, true)] {
        let mut bench = bench(&format!("refuses {status}"), "default_handling: terminated");
        bench.register(&["alice"]);
        bench.run_for(Duration::from_secs(3));
        let sent = bench.sent("as1");
        assert_eq!(sent[0].label(), format!("{status} REGISTER"));
        let told = sent.len();
        assert_eq!(told, if ends { 2 } else { 1 }, "{status}: with Expires 0 again");
    }
}

fn subscribes() {
    let mut bench = bench("accepts", "all_of: [{method: REGISTER}]");
    bench.register(&["alice"]);
    bench.play("as1 is subscribed alice\nas1 is notified alice active");
    let sent = bench.sent("as1");
    let subscribe = sent.iter().find(|told| told.label() == "SUBSCRIBE").expect("a SUBSCRIBE");
    let us = format!("<sip:{}>", bench.addr("as1"));
    assert_eq!(subscribe.header("P-Asserted-Identity"), us);
    let answers = bench.sent("s1");
    let call_id = subscribe.header("Call-ID");
    let ours = |told: &&Told| told.header("Call-ID") == call_id;
    let labels: Vec<_> = answers.iter().filter(ours).map(Told::label).collect();
    assert_eq!(labels, ["200 SUBSCRIBE", "NOTIFY"]);
    bench.mark();
    bench.play("alice deregisters\nas1 is notified alice terminated");
}

/// A server a criterion, all at one address; which of them hear of alice says which criteria hold.
fn elements() {
    let criteria = [
        (50, true, ""),
        (10, true, "all_of: [{method: REGISTER, registration: initial}]"),
        (20, false, "all_of: [{method: REGISTER, registration: deregistration}]"),
        (30, true, "all_of: [{header: Supported, content: \"pa.h\"}]"),
        (31, false, "all_of: [{header: X-None}]"),
        (32, true, "all_of: [{not: {header: X-None}}]"),
        (33, true, "all_of: [{request_uri: \":6060$\"}]"),
        (34, false, "all_of: [{sdp: m, content: audio}]"),
        (35, true, "all_of: [{session_case: originating}]"),
        (36, false, "all_of: [{session_case: terminating}]"),
        (37, false, "profile_part: unregistered"),
        (38, true, "profile_part: registered, default_handling: terminated, service_info: a&b"),
        (39, true, "any_of: [[{method: REGISTER}, {header: X-None}], {header: Supported}]"),
        (40, false, "all_of: [{method: REGISTER}, [{session_case: terminating}, {sdp: m}]]"),
        (41, false, "all_of: [{request_uri: \"(\"}]"),
    ];
    let list: String = criteria
        .iter()
        .map(|(priority, _, when)| {
            let server = format!("sip:127.1.0.201:5060;n={priority}");
            format!("        - {{priority: {priority}, server: \"{server}\", {when}}}\n")
        })
        .collect();
    let mut bench = Bench::of(&format!(
        "scenario: none\nparties:\n  alice: {{}}\nlab:\n  subscribers:\n    alice:\n      \
         filter_criteria:\n{list}steps: []\n"
    ));
    bench.raw("servers");
    bench.register(&["alice"]);
    bench.run_for(Duration::from_millis(100));

    let sent = bench.sent("s1");
    let first = |it: &&&Told| it.at == registers(&sent)[0].at;
    let all = registers(&sent);
    let told = all.iter().filter(first).map(|it| it.request().request_uri.to_string());
    let told: Vec<_> = told.collect();
    let mut expected: Vec<u32> = criteria.iter().filter(|it| it.1).map(|it| it.0).collect();
    expected.sort_unstable();
    let expected: Vec<_> =
        expected.iter().map(|it| format!("sip:127.1.0.201:5060;n={it}")).collect();
    assert_eq!(told, expected);
    let of_38 = registers(&sent).into_iter().find(|it| it.request().request_uri.ends_with("38"));
    let body = String::from_utf8_lossy(of_38.expect("38").message.body()).into_owned();
    assert!(body.contains("<service-info>a&amp;b</service-info>"), "{body}");
    assert!(bench.notes("s1").iter().any(|it| it.refusal && it.text.contains("priority 41")));

    // What went over Cx.
    let document = bench.sent_diameter("hss").iter().find_map(|bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (start, end) = (text.find("<?xml")?, text.find("</IMSSubscription>")?);
        Some(format!("{}</IMSSubscription>", &text[start..end]))
    });
    let profile = UserProfile::parse(&document.expect("a profile in an SAA")).expect("reads");
    assert!(profile.public_identities().any(|it| it.barred));
    let ifcs = &profile.service_profiles[0].initial_filter_criteria;
    assert_eq!(ifcs.len(), criteria.len());
    let of = |priority| ifcs.iter().find(|it| it.priority == priority).expect("a criterion");
    assert_eq!(of(38).application_server.default_handling, DefaultHandling::SessionTerminated);
    let spts = &of(10).trigger_point.as_ref().expect("a trigger point").triggers;
    assert_eq!(spts[0].registration_types, [RegistrationType::Initial]);
}
