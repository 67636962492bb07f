//! Names in the steps of a scenario that nobody has: whom a command is about, at which node the
//! device is seen, which node orders a user's end.

use cscf_core::config::{Lab, NodeConfig, NodeRole, Problem, nearest};

use crate::script::{DUT, Expectation, Order, Scenario, Seen, Step, StepKind, at_word};

/// Who there is.
pub(super) struct Known<'a> {
    /// Subscribers and parties.
    pub(super) users: &'a [&'a str],
    /// Nodes and phones that take part.
    pub(super) seen: &'a [&'a str],
}

/// A problem for each such name.
pub(super) fn unknown(scenario: &Scenario, lab: &Lab, known: &Known<'_>) -> Vec<Problem> {
    let role_of = |name: &str| {
        let own = scenario.lab.nodes.iter().find(|node| node.name == name);
        own.or_else(|| lab.node_named(name)).map(|node: &NodeConfig| node.role)
    };
    let mut out = Vec::new();
    for step in scenario.all_steps() {
        match &step.kind {
            StepKind::Command { order, .. } => {
                let targets = order.targets().into_iter().filter(|target| is_name(target));
                out.extend(targets.filter_map(|target| unknown_target(step, target, known)));
            }
            StepKind::Operate(_) => out.extend(not_hss(step, role_of)),
            StepKind::Expect(seen) | StepKind::Never(seen) if scenario.test.is_some() => {
                let role = role_of(&seen.node);
                out.extend(not_at_the_edge(step, seen, role == Some(NodeRole::Pcscf)));
            }
            _ => {}
        }
    }
    out
}

/// Whether a target is meant as a name: it is no URI, no number, and no captured value.
fn is_name(target: &str) -> bool {
    let first = target.chars().next();
    first.is_some_and(|letter| letter.is_ascii_alphabetic())
        && !target.contains([':', '@', '.', '$', ' '])
}

fn unknown_target(step: &Step, target: &str, known: &Known<'_>) -> Option<Problem> {
    let all: Vec<&str> = known.users.iter().chain(known.seen).copied().collect();
    if all.contains(&target) {
        return None;
    }
    let text = format!("`{target}` is no subscriber, phone or node, and no URI");
    let near = nearest(target, all.iter().copied());
    let help = near.map(|near| format!("did you mean `{near}`?"));
    Some(Problem { at: at_word(step, target), text, help })
}

/// RTR and PPR are the HSS's (TS 29.228 §6.1.3, §6.2).
fn not_hss(step: &Step, role_of: impl Fn(&str) -> Option<NodeRole>) -> Option<Problem> {
    let mut words = step.text.split_whitespace();
    let (who, verb, what) = (words.next()?, words.next()?, words.next()?);
    let is_one = verb == "sends" && matches!(what, "RTR" | "PPR");
    if !is_one || role_of(who) == Some(NodeRole::Hss) {
        return None;
    }
    let text = format!("`{who}` is no HSS of the lab, and only an HSS sends {what}");
    Some(Problem { at: at_word(step, who), text, help: Some("write e.g. `hss`".to_owned()) })
}

/// A device is seen where it reaches its P-CSCF, nowhere else.
fn not_at_the_edge(step: &Step, seen: &Expectation, is_pcscf: bool) -> Option<Problem> {
    let Seen::Message { peer: Some(peer), .. } = &seen.what else { return None };
    if peer != DUT || is_pcscf {
        return None;
    }
    let node = &seen.node;
    let text = format!("`{DUT}` is seen at its P-CSCF, not at `{node}`");
    let help = format!("leave out `to {node}` and `from {node}`");
    Some(Problem { at: at_word(step, node), text, help: Some(help) })
}

impl Order {
    /// Whom the order is about: names of parties, subscribers and nodes, or URIs.
    fn targets(&self) -> Vec<&str> {
        match self {
            Self::About { whom, order } => {
                let mut targets = order.targets();
                targets.push(whom);
                targets
            }
            Self::Dressed { order, .. } => order.targets(),
            Self::Call { target, .. }
            | Self::Message { target, .. }
            | Self::Sms { target, .. }
            | Self::Options { target }
            | Self::Redirect { target }
            | Self::Request { target, .. }
            | Self::Transfer { target, .. }
            | Self::Unwatch { target, .. }
            | Self::Watch { target, .. } => vec![target],
            _ => Vec::new(),
        }
    }
}
