//! Scenarios made of our own traces do the same again, from the same seed and from another.

use cscf_core::config::Lab;
use scenarios::builtin;
use scenarios::capture::{self, Capture};
use scenarios::record::{record, skeleton};
use scenarios::report::{Parties, pcapng};

use super::tape::{Op, Tape};

fn passes(source: &str, seed: u64) {
    let outcome =
        scenarios::run::simulate(source, seed).unwrap_or_else(|it| panic!("{it}\n{source}"));
    let failure = outcome.failure.map(|it| format!("{it:?}"));
    assert_eq!(failure, None, "seed {seed}\n{source}");
}

#[test]
fn what_was_recorded_happens_again() {
    for (name, says) in [
        ("register-aka", &["alice registers", "Service-Route: present"][..]),
        ("deregister", &["alice deregisters", "alice is deregistered"]),
        ("volte-call", &["alice calls bob", "bob answers", "alice hangs up", "as $icid_1"]),
        ("call-cancel", &["alice cancels", "bob receives CANCEL"]),
        ("call-busy", &["bob rejects with 486"]),
        ("message", &["alice sends message \"Hello, Bob\" to bob"]),
        ("flow-13-hold", &["alice holds", "bob holds", "alice resumes by UPDATE"]),
        ("flow-9-no-preconditions", &["preconditions: off"]),
        ("flow-3-over-associations", &["alice: {security: on", "only: virtual"]),
        ("flow-3-reregistration", &["alice re-registers"]),
    ] {
        let source = builtin::find(name).expect("a scenario").source;
        let outcome = scenarios::run::simulate(source, 1).expect("runs");
        let of_trace = Capture::of_events(&outcome.events);
        let recording = record(&of_trace, name, &Lab::default_lab()).expect("recorded");
        for text in says {
            assert!(recording.text.contains(text), "no {text}:\n{}", recording.text);
        }
        assert!(recording.losses.is_empty(), "{:?}", recording.losses);
        for seed in [1, 2] {
            passes(&recording.text, seed);
        }
    }
}

#[test]
fn a_packet_capture_is_recorded_too() {
    let source = builtin::find("volte-call").expect("a scenario").source;
    let outcome = scenarios::run::simulate(source, 1).expect("runs");
    let bytes = pcapng::write(&outcome.events, &Parties::default());
    let capture = capture::read(&bytes[..]).expect("a capture");
    let recording = record(&capture, "volte-call", &Lab::default_lab()).expect("recorded");
    for text in ["alice calls bob", "bob receives INVITE from p1", "bob answers"] {
        assert!(recording.text.contains(text), "no {text}:\n{}", recording.text);
    }
    passes(&recording.text, 3);
}

#[test]
fn a_text_with_signs_of_yaml_or_for_terminals_is_recorded() {
    let recorded = |body: &'static str, target: &'static str| {
        let mut tape = Tape::of("message");
        tape.change(&Op::Body("alice MESSAGE", body)).expect("changed");
        tape.change(&Op::Swap("alice MESSAGE", "MESSAGE sip:+15550100002@", target))
            .expect("changed");
        record(&tape.capture(), "odd", &Lab::default_lab()).expect("recorded")
    };
    let same = "MESSAGE sip:+15550100002@";
    for body in
        ["a # b", "a: b", "it's - [x] {y}: &z *", "a\\nb", "tab\there", "\u{1b}[31m\u{85}", "$x"]
    {
        let text = recorded(body, same).text;
        assert!(!text.contains(['\u{1b}', '\u{85}']), "{text:?}");
        passes(&text, 1);
        let again = scenarios::run::simulate(&text, 1).expect("runs");
        let sent = Capture::of_events(&again.events).messages;
        let sent = sent.iter().any(|it| it.bytes.ends_with(format!("\r\n\r\n{body}").as_bytes()));
        assert!(sent, "no {body:?} was sent:\n{text}");
    }
    let recording = recorded("a", "MESSAGE sip:\"nobody\"@elsewhere;x=");
    let loss = recording.losses.iter().find(|it| it.contains("no word of a scenario"));
    assert!(loss.is_some() || recording.text.contains("to bob"), "{}", recording.text);
    let recording = recorded("say \"hello\"", same);
    assert!(recording.losses.iter().any(|it| it.contains("not recorded")), "{}", recording.text);
}

#[test]
fn a_scenario_to_fill_runs_as_it_is() {
    passes(&skeleton("A call"), 1);
}

#[test]
fn what_cannot_be_said_is_told() {
    let source = builtin::find("flow-18-transfer").expect("a scenario").source;
    let outcome = scenarios::run::simulate(source, 1).expect("runs");
    let recording = record(&Capture::of_events(&outcome.events), "transfer", &Lab::default_lab());
    let recording = recording.expect("recorded");
    let loss = recording.losses.iter().find(|it| it.contains("REFER")).expect("told");
    assert!(recording.text.contains(&format!("# {loss}")), "{}", recording.text);
    let empty = record(&Capture::default(), "nothing", &Lab::default_lab());
    assert!(empty.is_err_and(|it| it.contains("no phone begins anything")));
}
