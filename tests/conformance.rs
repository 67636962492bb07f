//! The conformance tests: each says which entries of the catalogue it proves, and the run itself
//! writes down what was proven (`tests/coverage.json`, `docs/conformance.md`).
//!
//! Cases live in `tests/cases/*.rs`; the built-in scenarios are cases too, each step marked
//! `proves: [ID]` proving its ids when the scenario passes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Failed, Trial};
use scenarios::conformance::{self, Coverage};

type Passed = Arc<Mutex<BTreeSet<String>>>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = cases::all();
    let passed: Passed = Passed::default();
    let mut trials: Vec<Trial> = cases.iter().map(|case| trial(case, &passed)).collect();
    let markers: Vec<(String, Vec<String>)> =
        cases.iter().map(|case| (case.name.clone(), case.proves.clone())).collect();
    trials.push(Trial::test("catalogue::every_marker_names_a_case_of_an_entry", {
        let markers = markers.clone();
        move || unknown_markers(&markers)
    }));
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.has_failed() || !whole {
        return conclusion.exit_code();
    }
    let passed = passed.lock().expect("no test holds it").clone();
    match check_coverage(&markers, &passed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn trial(case: &cases::Case, passed: &Passed) -> Trial {
    let (name, run, passed) = (case.name.clone(), Arc::clone(&case.run), Arc::clone(passed));
    Trial::test(case.name.clone(), move || {
        run().map_err(Failed::from)?;
        passed.lock().expect("no test panics with it").insert(name);
        Ok(())
    })
}

fn unknown_markers(markers: &[(String, Vec<String>)]) -> Result<(), Failed> {
    let catalogue = conformance::catalogue().map_err(|problems| format!("{problems:?}"))?;
    let known: BTreeSet<String> = catalogue.iter().flat_map(|entry| entry.markers()).collect();
    let unknown: Vec<String> = markers
        .iter()
        .flat_map(|(name, ids)| ids.iter().map(move |id| (name, id)))
        .filter(|(_, id)| !known.contains(*id))
        .map(|(name, id)| format!("{name} marks {id}, which is no entry (or needs a case letter)"))
        .collect();
    if unknown.is_empty() { Ok(()) } else { Err(unknown.join("\n").into()) }
}

/// Compares what this run proved with what is checked in; `CSCF_BLESS=1` writes it instead.
fn check_coverage(
    markers: &[(String, Vec<String>)],
    passed: &BTreeSet<String>,
) -> Result<(), String> {
    let mut coverage: Coverage = BTreeMap::new();
    for (name, ids) in markers.iter().filter(|(name, _)| passed.contains(name)) {
        for id in ids {
            coverage.entry(id.clone()).or_default().push(name.clone());
        }
    }
    for by in coverage.values_mut() {
        by.sort();
        by.dedup();
    }
    let catalogue = conformance::catalogue().map_err(|problems| format!("{problems:?}"))?;
    let json = serde_json::to_string_pretty(&coverage).map_err(|fault| fault.to_string())? + "\n";
    let page = conformance::markdown(&conformance::rows(&catalogue, &coverage));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bless = std::env::var_os("CSCF_BLESS").is_some();
    for (path, content) in
        [(here.join("coverage.json"), json), (here.join("../docs/conformance.md"), page)]
    {
        if bless {
            std::fs::write(&path, content).map_err(|fault| fault.to_string())?;
        } else if std::fs::read_to_string(&path).ok().as_deref() != Some(content.as_str()) {
            return Err(format!(
                "{} is not what this run proved; CSCF_BLESS=1 cargo test -p cscf-tests --test \
                 conformance writes it anew",
                path.display()
            ));
        }
    }
    Ok(())
}
