//! For each rule a recorded exchange with a change that breaks it; the exchange without the change
//! is the neighbour that does not.

use std::collections::{BTreeMap, BTreeSet};

use scenarios::explain::{Report, Selection, explain, rules, text};

use super::broken_messages::MESSAGES;
use super::broken_session::SESSION;
use super::tape::{Op, Tape};

/// A rule, the scenario that is changed, the changes, and what else they have to break.
pub(crate) type Case = (&'static str, &'static str, &'static [Op], &'static [&'static str]);

/// Two phones and a call with preconditions.
pub(crate) const CALL: &str = "flow-8-preconditions";
/// A registration over security associations.
pub(crate) const ASSOCIATIONS: &str = "flow-3-over-associations";

/// A call without preconditions, whose 183 is sent reliably.
pub(crate) const PLAIN: &str = "flow-9-no-preconditions";
/// A registration that is refreshed, soon and then in time.
pub(crate) const REFRESHED: &str = "flow-3-reregistration";

pub(crate) fn all(report: &Report) -> BTreeSet<&'static str> {
    report.findings.iter().map(|it| it.rule.id).collect()
}

#[test]
fn each_rule_finds_what_breaks_it_and_not_the_neighbour() {
    let mut wrong = String::new();
    let mut tapes: BTreeMap<&str, Tape> = BTreeMap::new();
    for (rule, scenario, changes, also) in MESSAGES.iter().chain(SESSION) {
        let tape = tapes.entry(scenario).or_insert_with(|| Tape::of(scenario));
        let before = all(&explain(&tape.capture(), &Selection::default()));
        let mut broken = tape.clone();
        for change in *changes {
            if let Err(fault) = broken.change(change) {
                wrong.push_str(&format!("{rule} {scenario}: {fault}\n"));
            }
        }
        let report = explain(&broken.capture(), &Selection::default());
        let new: BTreeSet<&str> = all(&report).difference(&before).copied().collect();
        let expected: BTreeSet<&str> = also.iter().copied().chain([*rule]).collect();
        if new != expected {
            wrong.push_str(&format!("{rule} {scenario}: found {new:?}, expected {expected:?}\n"));
            let only = new.iter().map(|it| (*it).to_owned()).collect();
            if !new.is_empty() {
                let only = Selection { only, ignore: Vec::new() };
                wrong.push_str(&text(&explain(&broken.capture(), &only)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_rule_has_a_message_that_breaks_it() {
    let proven: BTreeSet<&str> = MESSAGES.iter().chain(SESSION).map(|(rule, ..)| *rule).collect();
    let ids = rules().into_iter().map(|it| it.id);
    let unproven: Vec<&str> = ids.filter(|id| !proven.contains(id)).collect();
    assert!(unproven.is_empty(), "no message breaks {unproven:?}");
}
