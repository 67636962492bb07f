//! `cscf explain`: silent on our own scenarios but where they provoke a violation themselves, and
//! each rule finds the message made for it and not its neighbour.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

#[path = "explain/broken.rs"]
mod broken;
#[path = "explain/broken_messages.rs"]
mod broken_messages;
#[path = "explain/broken_session.rs"]
mod broken_session;
#[path = "explain/command.rs"]
mod command;
#[path = "explain/neighbours.rs"]
mod neighbours;
#[path = "explain/provoked.rs"]
mod provoked;
#[path = "explain/recorded.rs"]
mod recorded;
mod running;
#[path = "explain/tape.rs"]
mod tape;
#[path = "explain/tools.rs"]
mod tools;

use std::collections::{BTreeMap, BTreeSet};

use scenarios::builtin;
use scenarios::capture::Capture;
use scenarios::explain::{Report, Selection, Severity, explain, rules, rules_as_markdown, text};

/// The rules of a report that are no hints, by name.
fn names(report: &Report) -> BTreeSet<&'static str> {
    let serious = report.findings.iter().filter(|it| it.rule.severity != Severity::Hint);
    serious.map(|it| it.rule.id).collect()
}

#[test]
fn our_own_scenarios_violate_nothing_but_what_they_provoke() {
    let provoked: BTreeMap<&str, BTreeSet<&str>> = provoked::BY_SCENARIO
        .iter()
        .map(|(name, ids)| (*name, ids.iter().copied().collect()))
        .collect();
    let mut wrong = String::new();
    for it in builtin::ALL {
        let outcome = scenarios::run::simulate(it.source, 1).expect("runs");
        let report = explain(&Capture::of_events(&outcome.events), &Selection::default());
        let expected = provoked.get(it.name).cloned().unwrap_or_default();
        let found = names(&report);
        if found != expected {
            wrong.push_str(&format!("{}: found {found:?}, expected {expected:?}\n", it.name));
            let only = Selection {
                only: found.difference(&expected).map(|it| (*it).to_owned()).collect(),
                ignore: Vec::new(),
            };
            if !only.only.is_empty() {
                wrong.push_str(&text(&explain(&Capture::of_events(&outcome.events), &only)));
            }
        }
    }
    for name in provoked.keys() {
        assert!(builtin::find(name).is_some(), "no scenario {name}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_table_of_rules_is_that_of_the_program() {
    let ids: BTreeSet<&str> = rules().iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), rules().len(), "two rules of one name");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    if std::env::var_os("CSCF_BLESS").is_some() {
        std::fs::write(&path, rules_as_markdown()).expect("written");
    }
    let written = std::fs::read_to_string(&path).expect("docs/rules.md");
    assert!(written == rules_as_markdown(), "docs/rules.md: CSCF_BLESS=1 writes it");
}
