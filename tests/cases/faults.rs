//! Fault rules at the wire of the simulated lab: what each action does to the messages of a hop,
//! by datagram, by stream and under security associations, and what is told of it.

use cscf_core::fault;
use cscf_core::sip::{self, Message};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Protocol, TraceEvent, TraceKind, Wire};
use cscf_tests::{header, label};
use scenarios::report::summary::{avp_values, diameter_label};
use scenarios::run::{judge, simulate};

use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("faults::a_request_gets_the_answer_of_a_rule", &[], answers),
        case("faults::the_answer_to_an_invite_takes_its_ack", &[], answers_invite),
        case("faults::an_answer_goes_back_under_its_associations", &[], answers_protected),
        case("faults::a_lost_message_is_told_and_not_seen", &[], drops),
        case("faults::a_late_datagram_is_overtaken", &[], delays_datagram),
        case("faults::a_late_message_holds_up_its_stream", &[], delays_stream),
        case("faults::a_message_comes_twice", &[], copies),
        case("faults::a_message_is_overtaken_by_the_next", &[], reorders),
        case("faults::messages_in_a_row_are_overtaken_one_by_one", &[], reorders_each),
        case("faults::a_fresh_hss_knows_whom_the_old_one_was_given", &[], crashes_hss),
        case("faults::corruption_follows_the_seed", &[], corrupts),
        case("faults::a_connection_is_cut_behind_a_message", &[], cuts),
        case("faults::a_changed_message_is_what_the_next_hop_gets", &[], edits),
        case("faults::a_stream_of_changed_messages_stays_one", &[], edits_stream),
        case("faults::diameter_is_lost_late_or_refused", &[], diameter),
        case("faults::vectors_are_made_wrong_for_one_user", &[], vectors),
        case("faults::a_node_crashes_and_is_back_without_its_state", &[], crashes),
        case("faults::overload_lasts_from_begin_to_end", &[], overload),
        case("faults::the_policy_function_refuses_one_user", &[], policy),
        case("faults::a_phone_has_faults_too", &[], phone),
        case("faults::a_rule_that_met_nothing_is_told", &[], unmet),
    ]
}

/// The events of a scenario: rules, then parties, then steps, one a line.
fn run(rules: &[&str], parties: &str, steps: &[&str]) -> Vec<TraceEvent> {
    run_seeded(rules, parties, steps, 1)
}

fn source(rules: &[&str], parties: &str, steps: &[&str]) -> String {
    let list = |lines: &[&str]| -> String {
        lines.iter().map(|line| format!("  - '{}'\n", line.replace('\'', "''"))).collect()
    };
    let faults = if rules.is_empty() { String::new() } else { format!("faults:\n{}", list(rules)) };
    format!("scenario: x\nparties: {{{parties}}}\n{faults}steps:\n{}", list(steps))
}

fn run_seeded(rules: &[&str], parties: &str, steps: &[&str], seed: u64) -> Vec<TraceEvent> {
    let outcome = simulate(&source(rules, parties, steps), seed).expect("runs");
    if let Some(failure) = outcome.failure {
        panic!("{failure:?}");
    }
    outcome.events
}

/// What a node received or sent, with its time and label.
fn wires<'a>(
    events: &'a [TraceEvent],
    node: &'a str,
    received: bool,
) -> impl Iterator<Item = (Instant, String, &'a Wire)> {
    events.iter().filter(move |event| *event.node == *node).filter_map(move |event| {
        let wire = match &event.kind {
            TraceKind::Received(wire) if received => wire,
            TraceKind::Sent(wire) if !received => wire,
            _ => return None,
        };
        let label = match wire.protocol {
            Protocol::Diameter => diameter_label(&wire.bytes),
            Protocol::Sip => sip::parse(&wire.bytes).map(|it| label(&it)).unwrap_or_default(),
        };
        Some((event.at, label, wire))
    })
}

/// When messages of this label were at a node.
fn times(events: &[TraceEvent], node: &str, received: bool, wanted: &str) -> Vec<Instant> {
    let found = wires(events, node, received).filter(|(_, label, _)| label == wanted);
    found.map(|(at, ..)| at).collect()
}

fn messages(events: &[TraceEvent], node: &str, received: bool, wanted: &str) -> Vec<Message> {
    wires(events, node, received)
        .filter(|(_, label, _)| label == wanted)
        .map(|(_, _, wire)| sip::parse(&wire.bytes).expect("a message"))
        .collect()
}

/// How often rules hit.
fn hits(events: &[TraceEvent]) -> usize {
    events.iter().filter(|event| fault::cause(event).is_some()).count()
}

const ASKS: [&str; 5] = [
    "alice registers",
    "alice is registered",
    "bob registers",
    "bob is registered",
    "alice asks bob",
];

fn answers() {
    let rule =
        "p1 answers REGISTER from alice with 423 \"Brief\", first: {Min-Expires: \"700000\"}";
    let steps = ["alice registers", "alice is registered"];
    let events = run(&[rule], "", &steps);
    let refused = &messages(&events, "alice", true, "423 REGISTER")[0];
    assert_eq!(header(refused, "Min-Expires"), "700000");
    assert!(header(refused, "To").contains(";tag="));
    let first = times(&events, "alice", true, "423 REGISTER")[0];
    assert!(times(&events, "i1", true, "REGISTER").iter().all(|at| *at > first), "nothing before");
    let wished = &messages(&events, "alice", false, "REGISTER")[1];
    assert!(header(wished, "Contact").contains("expires=700000"));
    // The trace says that a rule did it, and which.
    let told = events.iter().filter_map(fault::rule_text).collect::<Vec<_>>();
    assert_eq!(told, [rule]);
}

fn answers_invite() {
    let rule = "s1 answers INVITE from p1 with 486 \"Busy Here\", first";
    let steps = [
        "alice registers",
        "alice is registered",
        "alice calls bob",
        "alice is call failed 486",
        "wait 40s",
    ];
    let events = run(&[rule], "", &steps);
    assert_eq!(times(&events, "s1", true, "ACK").len(), 1);
    assert_eq!(times(&events, "p1", true, "486 INVITE").len(), 1);
    let tripped = |(_, label, _): (Instant, String, &Wire)| label.ends_with(" INVITE");
    let answers = wires(&events, "s1", false).filter(|it| tripped(it.clone())).count();
    assert_eq!(answers, 1, "the answer of the rule, once");
    assert!(times(&events, "s1", false, "ACK").is_empty(), "the node saw no ACK");
}

fn answers_protected() {
    let steps = [
        "alice registers",
        "alice is registered",
        "alice re-registers",
        "alice receives 504 for REGISTER",
    ];
    let rule = "p1 answers REGISTER from alice with 504, third";
    let events = run(&[rule], "alice: {security: on}", &steps);
    let server_port = wires(&events, "alice", true)
        .find(|(_, label, _)| label == "504 REGISTER")
        .map(|(_, _, wire)| wire.local.port());
    let by = wires(&events, "alice", true)
        .find(|(_, label, _)| label == "200 REGISTER")
        .map(|(_, _, wire)| wire.local.port());
    assert!(server_port.is_some() && server_port == by, "{server_port:?} {by:?}");
    assert_ne!(server_port, Some(5060));
}

fn drops() {
    let rule = "p1 drops 401 to alice, first";
    let events = run(&[rule], "", &["alice registers", "alice is registered"]);
    let sent = times(&events, "p1", false, "401 REGISTER");
    assert_eq!(times(&events, "alice", true, "401 REGISTER").len(), 1);
    assert_eq!(sent.len(), 1, "what is lost is not told as sent");
    assert_eq!(hits(&events), 1);
    let events = run(&["i1 drops REGISTER from p1, first"], "", &["alice registers", "wait 3s"]);
    let seen = times(&events, "i1", true, "REGISTER");
    assert!(seen[0] > times(&events, "p1", false, "REGISTER")[1], "the first was not seen");
}

/// Registers alice and bob, has alice ask bob and send him a text in the same moment.
fn asks_and_texts() -> Vec<&'static str> {
    let mut steps = ASKS.to_vec();
    steps.extend(["alice sends message \"x\" to bob", "wait 10s"]);
    steps
}

fn delays_datagram() {
    let rule = "p1 delays OPTIONS from alice by 1500ms, first";
    let events = run(&[rule], "", &asks_and_texts());
    let sent = times(&events, "alice", false, "OPTIONS")[0];
    let (options, message) =
        (times(&events, "p1", true, "OPTIONS")[0], times(&events, "p1", true, "MESSAGE")[0]);
    assert!(message < options, "a datagram is on its own");
    assert_eq!(options.since(sent), Duration::from_millis(1_501));
}

fn delays_stream() {
    let rule = "p1 delays OPTIONS from alice by 1500ms, first";
    let events = run(&[rule], "alice: {transport: tcp}", &asks_and_texts());
    let sent = times(&events, "alice", false, "OPTIONS")[0];
    let (options, message) =
        (times(&events, "p1", true, "OPTIONS")[0], times(&events, "p1", true, "MESSAGE")[0]);
    assert_eq!(options.since(sent), Duration::from_millis(1_501));
    assert_eq!(message, options, "what is behind it on the stream waits for it");
    let labels: Vec<String> = wires(&events, "p1", true)
        .filter(|(at, ..)| *at == options)
        .map(|(_, label, _)| label)
        .collect();
    assert_eq!(labels[..2], ["OPTIONS", "MESSAGE"], "in their order");
}

fn copies() {
    let rule = "p1 sends OPTIONS to s1 3 times";
    let events = run(&[rule], "", &ASKS);
    // Three of them, and the one that comes back by the I-CSCF for bob.
    assert_eq!(times(&events, "s1", true, "OPTIONS").len(), 4);
    let rule = "p1 receives OPTIONS from alice twice";
    let events = run(&[rule], "alice: {transport: tcp}", &ASKS);
    assert_eq!(times(&events, "alice", false, "OPTIONS").len(), 1);
    // And the one that goes to bob.
    assert_eq!(times(&events, "p1", true, "OPTIONS").len(), 3);
}

fn reorders() {
    for party in ["", "alice: {transport: tcp}"] {
        let events = run(&["p1 reorders OPTIONS from alice, first"], party, &asks_and_texts());
        let labels: Vec<String> = wires(&events, "p1", true)
            .map(|(_, label, _)| label)
            .filter(|label| label == "OPTIONS" || label == "MESSAGE")
            .collect();
        assert_eq!(labels[..2], ["MESSAGE", "OPTIONS"], "{party}");
    }
    // Alone it goes on after two seconds.
    let mut steps = ASKS.to_vec();
    steps.push("wait 10s");
    let events = run(&["s1 reorders OPTIONS to p1, first"], "", &steps);
    let sent = times(&events, "s1", false, "OPTIONS");
    assert!(sent[0].since(times(&events, "s1", true, "OPTIONS")[0]) <= Duration::from_secs(2));
}

fn reorders_each() {
    let mut steps = ASKS[..4].to_vec();
    steps.extend(["wait 5s", "alice asks bob", "alice sends message \"x\" to bob", "wait 10s"]);
    let events = run(&["p1 reorders requests from alice, after 3s"], "", &steps);
    let labels: Vec<String> = wires(&events, "p1", true)
        .map(|(_, label, _)| label)
        .filter(|label| label == "OPTIONS" || label == "MESSAGE")
        .collect();
    assert_eq!(labels[..2], ["MESSAGE", "OPTIONS"], "the second fits too, and goes first");
    let asked = times(&events, "alice", false, "OPTIONS")[0];
    assert!(times(&events, "p1", true, "OPTIONS")[0].since(asked) < Duration::from_secs(1));
}

fn crashes_hss() {
    let add = "operator orders \"subscriber remove bob\"";
    let steps = [
        "alice registers",
        "alice is registered",
        add,
        "bob registers",
        "bob is registration failed within 60s",
        "alice asks bob",
        "wait 60s",
        "bob registers",
        "bob is registration failed within 60s",
    ];
    let rule = "hss crashes at UAR of bob and restarts after 3s, first";
    let events = run(&[rule], "bob: {retries: off}", &steps);
    let said = events.iter().any(|event| {
        *event.node == *"hss"
            && matches!(&event.kind, TraceKind::State(text) if text == "restarted")
    });
    assert!(said);
    let last = wires(&events, "hss", false).filter(|(_, label, _)| label == "UAA").last();
    let last = last.expect("a UAA");
    assert_eq!(avp_values(&last.2.bytes, "Experimental-Result-Code"), ["5001"]);
}

fn corrupts() {
    let corrupted = |seed| {
        let mut steps = ASKS.to_vec();
        steps.push("wait 5s");
        let events = run_seeded(&["p1 corrupts OPTIONS to s1, first"], "", &steps, seed);
        let fault = |event: &TraceEvent| match &event.kind {
            TraceKind::Fault { wire, .. } => Some(wire.bytes.clone()),
            _ => None,
        };
        events.iter().find_map(fault).expect("a fault")
    };
    assert_eq!(corrupted(1), corrupted(1));
    assert_ne!(corrupted(1), corrupted(2));
}

fn cuts() {
    let rule = "p1 cuts the connection of alice after REGISTER, first";
    let parties = "alice: {transport: tcp, retries: on}";
    let events = run(&[rule], parties, &["alice registers", "alice is registered within 120s"]);
    let ports: Vec<u16> = wires(&events, "p1", true)
        .filter(|(_, label, _)| label == "REGISTER")
        .map(|(_, _, wire)| wire.remote.port())
        .collect();
    assert!(ports.len() >= 2);
    assert!(!times(&events, "i1", true, "REGISTER").is_empty(), "the message itself went on");
    let told = events.iter().any(|event| match &event.kind {
        TraceKind::Note(note) => *event.node == *"p1" && note.text.contains("cut by fault p1-1"),
        _ => false,
    });
    assert!(told, "the node heard that its connection is gone");
}

fn edits() {
    let rules = [
        "p1 adds P-Foo \"a, b\" to OPTIONS to s1",
        "p1 removes Max-Forwards from OPTIONS to s1",
        "p1 sets Max-Forwards to 30 in OPTIONS to s1",
        "s1 replaces \"OK\" with \"Fine\" in 200 for OPTIONS to p1",
        "alice sets Subject to x in OPTIONS to p1",
    ];
    let events = run(&rules, "", &[&ASKS[..], &["alice is options answered 200"]].concat());
    let at_s1 = &messages(&events, "s1", true, "OPTIONS")[0];
    assert_eq!(
        (header(at_s1, "P-Foo"), header(at_s1, "Max-Forwards")),
        ("a, b".into(), "30".into())
    );
    assert_eq!(header(at_s1, "Subject"), "x");
    let sent = messages(&events, "p1", false, "OPTIONS");
    assert_eq!(header(&sent[0], "P-Foo"), "a, b", "the trace says what left");
    let Message::Response(answer) = &messages(&events, "p1", true, "200 OPTIONS")[1] else {
        panic!()
    };
    assert_eq!(answer.reason, "Fine");
}

fn edits_stream() {
    // Every message of the stream becomes longer, in both directions.
    let rules = [
        "p1 adds P-Long \"0123456789\" to received requests from alice",
        "p1 adds P-Long \"0123456789\" to responses to alice",
    ];
    let events = run(
        &rules,
        "alice: {transport: tcp}",
        &[&ASKS[..], &["alice is options answered 200"]].concat(),
    );
    let answers: Vec<Message> = messages(&events, "alice", true, "200 OPTIONS");
    assert_eq!(header(&answers[0], "P-Long"), "0123456789");
    assert!(hits(&events) >= 6);
}

fn diameter() {
    let registers = ["alice registers", "alice is registered within 60s"];
    let events = run(&["s1 delays MAR to hss by 2s, first"], "", &registers);
    assert_eq!(
        times(&events, "hss", true, "MAR")[0].since(times(&events, "s1", true, "REGISTER")[0]),
        Duration::from_millis(2_001)
    );
    let fails = ["alice registers", "alice is registration failed within 60s"];
    let events = run(&["hss drops MAR of alice"], "", &fails);
    assert!(times(&events, "hss", false, "MAA").is_empty());
    let events = run(&["hss drops MAR of bob"], "", &registers);
    assert_eq!(hits(&events), 0);
    let events = run(&["hss answers UAR of alice with 5003, first"], "", &fails);
    let uaa = wires(&events, "i1", true).find(|(_, label, _)| label == "UAA").expect("a UAA");
    assert_eq!(avp_values(&uaa.2.bytes, "Experimental-Result-Code"), ["5003"]);
    let events = run(&["hss sets Server-Name to \"sip:127.0.0.9:1\" in SAA to s1"], "", &registers);
    let saa = wires(&events, "s1", true).find(|(_, label, _)| label == "SAA").expect("a SAA");
    assert_eq!(avp_values(&saa.2.bytes, "Server-Name"), ["sip:127.0.0.9:1"]);
    // A node that is no HSS answers what the HSS demands.
    let steps = [&registers[..], &["hss sends PPR for alice", "hss receives PPA from s1"]].concat();
    let events = run(&["s1 answers PPR with 5012"], "", &steps);
    let ppa = wires(&events, "hss", true).find(|(_, label, _)| label == "PPA").expect("a PPA");
    assert_eq!(avp_values(&ppa.2.bytes, "Result-Code"), ["5012"]);
}

fn vectors() {
    let steps = ["alice registers", "alice is registered", "bob registers", "bob is registered"];
    let rules = ["hss answers MAR of alice with old SQN, first"];
    let events = run(&rules, "", &steps);
    let auts = |name: &str| {
        let sent = messages(&events, name, false, "REGISTER");
        sent.iter().any(|it| header(it, "Authorization").contains("auts="))
    };
    assert!(auts("alice") && !auts("bob"));
    for rule in [
        "hss answers MAR of alice with wrong MAC, first",
        "p1 spoils the MAC in 401 to alice, first",
    ] {
        let events = run(&[rule], "", &steps);
        let sent = messages(&events, "alice", false, "REGISTER");
        assert!(header(&sent[1], "Authorization").contains("response=\"\""), "{rule}");
        assert_eq!(hits(&events), 1, "{rule}");
    }
}

fn crashes() {
    let rule = "s1 crashes at INVITE from p1 and restarts after 3s";
    let steps = [
        "alice registers",
        "alice is registered",
        "alice calls bob",
        "alice is call failed within 60s",
        "wait 5s",
        "operator orders \"show registrations\"",
        "alice asks bob",
        "alice is options answered within 60s",
    ];
    let events = run(&[rule], "", &steps);
    let states: Vec<(Instant, &str)> = events
        .iter()
        .filter_map(|event| match &event.kind {
            TraceKind::State(state) if *event.node == *"s1" => Some((event.at, state.as_str())),
            _ => None,
        })
        .collect();
    let at = |wanted: &str| states.iter().find(|(_, state)| *state == wanted).expect(wanted).0;
    assert_eq!(at("restarted").since(at("crashed")), Duration::from_secs(3));
    assert!(times(&events, "s1", true, "INVITE").iter().all(|it| *it >= at("restarted")));
    // It has forgotten her: what she asks later is refused.
    let answers = wires(&events, "alice", true).filter(|(_, label, _)| label.ends_with(" OPTIONS"));
    assert!(answers.last().is_some_and(|(_, label, _)| !label.starts_with('2')));
}

fn overload() {
    let steps = [
        "alice registers",
        "alice is registration failed 503",
        "wait 10s",
        "alice registers",
        "alice is registered",
    ];
    let events = run(&["p1 is overloaded, until 5s: {Retry-After: 3}"], "", &steps);
    let refused = &messages(&events, "alice", true, "503 REGISTER")[0];
    assert_eq!(header(refused, "Retry-After"), "3");
    assert_eq!(hits(&events), 2, "its begin and its end are told");
}

fn policy() {
    let calls = |caller: &str, callee: &str| {
        [
            "alice registers".to_owned(),
            "alice is registered".to_owned(),
            "bob registers".to_owned(),
            "bob is registered".to_owned(),
            format!("{caller} calls {callee}"),
            "wait 10s".to_owned(),
        ]
    };
    let parties = "alice: {when_called: rings}, bob: {when_called: rings}";
    for (caller, callee, hit) in [("alice", "bob", 1), ("bob", "alice", 1)] {
        let steps = calls(caller, callee);
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let events = run(&["policy refuses of alice, first"], parties, &steps);
        assert_eq!(hits(&events), hit, "{caller}");
    }
}

fn phone() {
    let rule = "alice drops 401 from p1, first";
    let events = run(&[rule], "", &["alice registers", "alice is registered"]);
    assert_eq!(times(&events, "p1", false, "401 REGISTER").len(), 2);
    assert_eq!(times(&events, "alice", true, "401 REGISTER").len(), 1);
}

fn unmet() {
    let steps =
        ["from now on p1 drops BYE", "alice registers", "alice is registered", "faults end"];
    let source = source(&["p1 drops 401 to alice, first", "s1 drops INVITE, second"], "", &steps);
    let (code, said) = judge("x.yaml", &source, 1);
    let warnings: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
    assert_eq!(
        warnings,
        [
            "no message met the fault rule `s1 drops INVITE, second`",
            "no message met the fault rule `p1 drops BYE`"
        ]
    );
    assert_eq!(code, 0, "{said}");
    // Names that nobody has are said where they stand.
    let wrong = self::source(&["p1 drops INVITE from alcie"], "", &["from now on p7 drops BYE"]);
    let (code, said) = judge("x.yaml", &wrong, 1);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("`alcie` is no node, phone or subscriber"), "{said}");
    assert!(said.contains("did you mean `alice`?") && said.contains("x.yaml:4:27"), "{said}");
    assert!(said.contains("`p7` is no node") && said.contains("x.yaml:6:18"), "{said}");
}
