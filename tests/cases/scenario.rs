//! The built-in scenarios as cases: each runs in virtual time, and a step marked `proves: [ID]`
//! proves its ids when the whole scenario passes.

use std::collections::BTreeMap;
use std::sync::Arc;

use cscf_core::config::{Lab, NodeRole, Problems, render};
use scenarios::builtin::{self, Builtin};
use scenarios::conformance::{Behaviour, catalogue};
use scenarios::lab::checks;
use scenarios::run::Instance;
use scenarios::script::{Failure, Scenario, Seen, StepKind, read_scenario};

use super::Case;
use cscf_tests::{DOMAIN, cast_of};

/// One case a scenario.
pub(crate) fn cases() -> Vec<Case> {
    builtin::ALL.iter().map(scenario_case).collect()
}

fn scenario_case(builtin: &'static Builtin) -> Case {
    let scenario = read_scenario(builtin.source, DOMAIN).expect("reads; a unit test says so");
    let marks = scenario.all_steps().into_iter().flat_map(|step| &step.proves);
    let proves = marks.map(|(_, id)| id.clone()).collect();
    let run = move || {
        markers_stand_where_they_can_prove(builtin, &scenario)?;
        codes_are_shown_for_their_reason(builtin, &scenario)?;
        let outcome = scenarios::run::simulate(builtin.source, 1)?;
        let instance = Instance::new(&Lab::default_lab(), &scenario, 1, 0);
        let mut cast = cast_of(&instance.map_err(|fault| fault.to_string())?);
        cast.crashed.extend(scenario.all_steps().into_iter().filter_map(|step| match &step.kind {
            StepKind::Crash { node } => Some(node.clone()),
            _ => None,
        }));
        let violations = checks::at_each_hop(&outcome.events, &cast);
        match outcome.failure {
            None if !violations.is_empty() => Err(violations.join("\n")),
            None => Ok(()),
            Some(Failure::Expectation(problem)) => {
                let problems = Problems(vec![problem]);
                Err(render(builtin.file, builtin.source, &problems, false))
            }
            Some(Failure::Broken(fault)) => Err(fault),
        }
    };
    Case { name: format!("scenario::{}", builtin.name), proves, run: Arc::new(run) }
}

/// A marker must stand at an expectation on a message (or a decision) of the entry's role.
fn markers_stand_where_they_can_prove(
    builtin: &Builtin,
    scenario: &Scenario,
) -> Result<(), String> {
    let catalogue = catalogue().map_err(|problems| format!("{problems:?}"))?;
    let by_marker: BTreeMap<String, &Behaviour> = catalogue
        .iter()
        .flat_map(|entry| entry.markers().into_iter().map(move |marker| (marker, entry)))
        .collect();
    for step in scenario.all_steps() {
        for (at, id) in &step.proves {
            let Some(entry) = by_marker.get(id) else { continue };
            let (StepKind::Expect(seen) | StepKind::Never(seen)) = &step.kind else {
                return Err(format!("{}:{}: {id} stands at no expectation", builtin.file, at.line));
            };
            let peer = match &seen.what {
                Seen::Message { peer, .. } => peer.as_deref(),
                Seen::Diagnosis | Seen::Note { .. } | Seen::State(_) => None,
            };
            let nodes = [Some(seen.node.as_str()), peer];
            let first = match entry.role.as_str() {
                "p-cscf" => Some('p'),
                "i-cscf" => Some('i'),
                "s-cscf" => Some('s'),
                _ => None,
            };
            let fits = first.is_none_or(|first| {
                nodes.iter().flatten().any(|node| {
                    let mut letters = node.chars();
                    letters.next() == Some(first) && letters.all(|letter| letter.is_ascii_digit())
                })
            });
            // A UE's view of what the element before it sends is a view of that element's wire.
            let at_the_edge = entry.role == "p-cscf" && scenario.ues().contains(&seen.node);
            if !fits && !at_the_edge {
                let role = &entry.role;
                return Err(format!(
                    "{}:{}: {id} is about the {role}, the step looks at {}",
                    builtin.file, at.line, seen.node
                ));
            }
        }
    }
    Ok(())
}

/// A scenario that says which response code it shows must look at that response where its
/// generator sends it, and at the decision behind it where the generator is a node of the core;
/// nobody is told to answer so (an emulated phone or application server may be).
fn codes_are_shown_for_their_reason(builtin: &Builtin, scenario: &Scenario) -> Result<(), String> {
    let file = builtin.file;
    for step in scenario.all_steps() {
        let injects = matches!(&step.kind, StepKind::Operate(_))
            && (step.text.contains("inject") || step.text.starts_with("from now on"));
        if injects && !scenario.shows.is_empty() {
            return Err(format!("{file}:{}: an injected answer shows no reason", step.at.line));
        }
    }
    if !scenario.shows.is_empty() && !scenario.faults.is_empty() {
        return Err(format!("{file}: an answer by a fault rule shows no reason"));
    }
    for shows in &scenario.shows {
        let line = shows.at.line;
        let is_generator = |node: &str| generates(&shows.by, node, scenario);
        let seen = scenario.all_steps().into_iter().filter_map(|step| match &step.kind {
            StepKind::Expect(seen) => Some((step, seen)),
            _ => None,
        });
        let sent = seen.clone().any(|(step, seen)| {
            let Seen::Message { label, peer, .. } = &seen.what else { return false };
            // The point of this entry is that a REGISTER gets 403 and never 404.
            let status = if shows.code == "RC-404d" { Some(403) } else { shows.status() };
            let right = status.is_none_or(|status| *label == status.to_string());
            let at = is_generator(&seen.node) || peer.as_deref().is_some_and(is_generator);
            right && at && step.proves.iter().any(|(_, id)| *id == shows.code)
        });
        if !sent {
            return Err(format!("{file}:{line}: no step proves {} at a {}", shows.code, shows.by));
        }
        let decided = seen.clone().any(|(_, seen)| {
            let reason = matches!(seen.what, Seen::Note { .. } | Seen::Diagnosis);
            reason && is_generator(&seen.node)
        });
        if !decided && shows.by.ends_with("cscf") {
            return Err(format!("{file}:{line}: no step looks at why the {} says so", shows.by));
        }
    }
    Ok(())
}

/// Whether a node of a scenario is of the role that a code is shown for.
fn generates(role: &str, node: &str, scenario: &Scenario) -> bool {
    let letters = node.trim_end_matches(|letter: char| letter.is_ascii_digit());
    match role {
        "p-cscf" => letters == "p",
        "i-cscf" => letters == "i",
        "s-cscf" => letters == "s",
        "as" => scenario.lab.nodes.iter().any(|it| it.name == node && it.role == NodeRole::As),
        _ => scenario.ues().iter().any(|ue| ue == node),
    }
}
