//! The fault rules of a run: names in them that nobody has, and rules that no message met.

use cscf_core::config::{Lab, Position, Problem, inside, nearest};
use cscf_core::fault::{self, POLICY, Rule};
use cscf_core::operator::{FaultOrder, Order};
use cscf_core::trace::TraceEvent;

use crate::script::{Scenario, StepKind};

/// The rules of a scenario with the place and text in which each stands.
pub(super) fn given(scenario: &Scenario) -> impl Iterator<Item = (Position, &str, &Rule)> {
    let listed = scenario.faults.iter().map(|(at, rule)| (*at, rule.text.as_str(), rule));
    let begun = scenario.all_steps().into_iter().filter_map(|step| match &step.kind {
        StepKind::Operate(Order::Fault(FaultOrder::Add(rule))) => {
            Some((step.at, step.text.as_str(), &**rule))
        }
        _ => None,
    });
    listed.chain(begun)
}

/// The names in a rule that are neither of a node or phone, nor of a user.
pub(super) fn unknown(
    (at, text): (Position, &str),
    rule: &Rule,
    seen: &[&str],
    users: &[&str],
) -> Vec<Problem> {
    // The text of the file may have words before the rule, and its headers elsewhere.
    let begin = text.find(&format!("{} ", rule.node)).unwrap_or_default();
    let wrong = |offset: usize, name: &str, what: &str, known: &[&str]| {
        let help = nearest(name, known.iter().copied()).map_or_else(
            || format!("known: {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        let place = inside(at, text, begin + offset, name.len());
        Problem { at: place, text: format!("`{name}` is no {what}"), help: Some(help) }
    };
    let mut out = Vec::new();
    if rule.node != POLICY && !seen.contains(&rule.node.as_str()) {
        out.push(wrong(0, &rule.node, super::PHONE, seen));
    }
    let all: Vec<&str> = seen.iter().chain(users).copied().collect();
    for (offset, name) in rule.names().filter(|(_, name)| !all.contains(name)) {
        out.push(wrong(offset, name, "node, phone or subscriber", &all));
    }
    out
}

/// A line of warning for each rule that hit nothing in a run.
pub(super) fn unmet(scenario: &Scenario, lab: &Lab, events: &[TraceEvent]) -> String {
    let rules = lab.faults.iter().chain(given(scenario).map(|(_, _, rule)| rule));
    let met = |rule: &Rule| events.iter().any(|event| fault::rule_text(event) == Some(&rule.text));
    rules
        .filter(|rule| !met(rule))
        .map(|rule| format!("warning: no message met the fault rule `{rule}`\n"))
        .collect()
}
