//! The built-in scenarios as cases: each runs in virtual time, and a step marked `proves: [ID]`
//! proves its ids when the whole scenario passes.

use std::collections::BTreeMap;
use std::sync::Arc;

use cscf_core::config::{Problems, render};
use scenarios::builtin::{self, Builtin};
use scenarios::conformance::{Behaviour, catalogue};
use scenarios::script::{Failure, Scenario, Seen, StepKind, read_scenario};

use super::Case;
use cscf_tests::DOMAIN;

/// One case a scenario.
pub(crate) fn cases() -> Vec<Case> {
    builtin::ALL.iter().map(scenario_case).collect()
}

fn scenario_case(builtin: &'static Builtin) -> Case {
    let scenario = read_scenario(builtin.source, DOMAIN).expect("reads; a unit test says so");
    let marks = scenario.steps.iter().flat_map(|step| &step.proves);
    let proves = marks.map(|(_, id)| id.clone()).collect();
    let run = move || {
        markers_stand_where_they_can_prove(builtin, &scenario)?;
        let outcome = scenarios::run::simulate(builtin.source, 1)?;
        match outcome.failure {
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
    for step in &scenario.steps {
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
