//! What runs came to, as results that a service of continuous integration reads.

use std::collections::BTreeSet;
use std::path::Path;

use cscf_core::config::{Problems, render};
use cscf_core::time::Duration;
use cscf_core::trace::{TraceEvent, TraceKind};

use super::{Loaded, Options, Outcome};
use crate::report::github;
use crate::report::junit::{self, Case, Suite};
use crate::script::Failure;

/// What services group the cases by.
const CLASS: &str = "cscf.run";

/// The result of a scenario that ran, or broke while it ran. `ladder` is given to whoever reads of
/// a failure.
pub(super) fn of_run(
    loaded: &Loaded,
    outcome: &Outcome,
    options: &Options,
    folder: &Path,
    ladder: &str,
) -> Suite {
    let result = match &outcome.failure {
        None => junit::Outcome::Passed,
        Some(Failure::Expectation(problem)) => junit::Outcome::Failed {
            kind: "expectation".to_owned(),
            message: format!("{}:{}: {}", loaded.file, problem.at.line, problem.text),
            text: render(&loaded.file, &loaded.source, &Problems(vec![problem.clone()]), false),
        },
        Some(Failure::Broken(fault)) => broken(fault),
    };
    let system_out = if outcome.failure.is_some() { ladder.to_owned() } else { String::new() };
    let mut properties = vec![
        ("title".to_owned(), loaded.scenario.title.clone()),
        ("file".to_owned(), loaded.file.clone()),
    ];
    if options.simulated {
        properties.push(("seed".to_owned(), options.seed.to_string()));
    }
    if !folder.as_os_str().is_empty() {
        properties.push(("artefacts".to_owned(), folder.display().to_string()));
    }
    let case = Case {
        name: loaded.name.clone(),
        classname: CLASS.to_owned(),
        time: outcome.time,
        outcome: result,
        properties: properties.clone(),
        system_out,
    };
    properties.push(("clauses".to_owned(), clauses(&outcome.events)));
    Suite { name: loaded.name.clone(), properties, cases: vec![case] }
}

/// What GitHub shows at the line of the scenario that was not met.
pub(super) fn annotation(loaded: &Loaded, outcome: &Outcome) -> Option<String> {
    let title = format!("{} failed", loaded.name);
    match outcome.failure.as_ref()? {
        Failure::Expectation(problem) => {
            let mut text = problem.text.clone();
            if let Some(help) = &problem.help {
                text = format!("{text}\n{help}");
            }
            let place = (problem.at.line, problem.at.column);
            Some(github::annotation(&loaded.file, Some(place), &title, &text))
        }
        Failure::Broken(fault) => Some(github::annotation(&loaded.file, None, &title, fault)),
    }
}

/// The result of a scenario that was left out.
pub(super) fn skipped(name: &str, reason: &str) -> Suite {
    let reason = reason.to_owned();
    not_run(name, junit::Outcome::Skipped { reason })
}

/// The result of something that did not come to run.
pub(super) fn could_not_run(name: &str, fault: &str) -> Suite {
    not_run(name, broken(fault))
}

fn not_run(name: &str, outcome: junit::Outcome) -> Suite {
    let case = Case {
        name: name.to_owned(),
        classname: CLASS.to_owned(),
        time: Duration::ZERO,
        outcome,
        properties: Vec::new(),
        system_out: String::new(),
    };
    Suite { name: name.to_owned(), properties: Vec::new(), cases: vec![case] }
}

fn broken(fault: &str) -> junit::Outcome {
    // Of mistakes in a file the first is told, not how many there are.
    let first = fault.lines().find_map(|line| line.strip_prefix("error: "));
    let message = first.or(fault.lines().next()).unwrap_or_default().to_owned();
    junit::Outcome::CouldNotRun { message, text: fault.to_owned() }
}

/// The clauses of all decisions, each once, in order.
fn clauses(events: &[TraceEvent]) -> String {
    let found: BTreeSet<String> = events
        .iter()
        .filter_map(|event| match &event.kind {
            TraceKind::Note(note) => Some(note.clause.to_string()),
            _ => None,
        })
        .collect();
    found.into_iter().collect::<Vec<_>>().join(", ")
}
