//! The fault rules of a run: names in them that nobody has, and rules that no message met.

use cscf_core::config::{Lab, Position, Problem, inside, nearest};
use cscf_core::fault::{self, POLICY, Rule};
use cscf_core::operator::{FaultOrder, Order};
use cscf_core::trace::TraceEvent;

use crate::script::{Scenario, StepKind};

/// The names in a rule that are neither of a node or phone, nor of a user.
pub(super) fn unknown(at: Position, rule: &Rule, seen: &[&str], users: &[&str]) -> Vec<Problem> {
    let all = || seen.iter().chain(users).copied();
    let wrong = |place: Position, name: &str, what: &str, known: &[&str]| {
        let help = nearest(name, known.iter().copied()).map_or_else(
            || format!("known: {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        Problem { at: place, text: format!("`{name}` is no {what}"), help: Some(help) }
    };
    let mut out = Vec::new();
    if rule.node != POLICY && !seen.contains(&rule.node.as_str()) {
        let what = "node of the lab, nor a phone of this scenario";
        out.push(wrong(inside(at, &rule.text, 0, rule.node.len()), &rule.node, what, seen));
    }
    for (offset, name) in rule.names() {
        if !all().any(|known| known == name) {
            let known: Vec<&str> = all().collect();
            let place = inside(at, &rule.text, offset, name.len());
            out.push(wrong(place, name, "node, phone or subscriber", &known));
        }
    }
    out
}

/// A line of warning for each rule that hit nothing in a run.
pub(super) fn unmet(scenario: &Scenario, lab: &Lab, events: &[TraceEvent]) -> Vec<String> {
    let steps = scenario.all_steps().into_iter();
    let given = steps.filter_map(|step| match &step.kind {
        StepKind::Operate(Order::Fault(FaultOrder::Add(rule))) => Some(&**rule),
        _ => None,
    });
    let rules = lab.faults.iter().chain(scenario.faults.iter().map(|(_, rule)| rule)).chain(given);
    let met = |rule: &Rule| events.iter().any(|event| fault::rule_text(event) == Some(&rule.text));
    rules
        .filter(|rule| !met(rule))
        .map(|rule| format!("warning: no message met the fault rule `{rule}`"))
        .collect()
}
