//! Suites that judge devices can fail: each mutant of the emulated UE, one rule broken at one
//! place, fails the case meant for it, no two mutants look alike, and the UE without mistakes fails
//! nothing. What each mutant fails, and by what, is `docs/mutants.md`; `CSCF_BLESS=1` writes it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use cscf_core::config::Lab;
use cscf_tests::in_parallel;
use scenarios::device::{Case, Finding, MUTANTS, Verdict, all_cases, in_virtual_time};
use scenarios::lab::NetworkOptions;
use scenarios::ue::{CodecSet, Evs};

/// What a UE fails: by case, the causes.
type Row = BTreeMap<String, BTreeSet<String>>;

/// Judges a UE by a case; the causes of its failure, if it fails.
fn causes(case: &Case, lab: &Lab, mutant: Option<&str>) -> Option<BTreeSet<String>> {
    let judged = in_virtual_time(&case.scenario, lab, 1, mutant)
        .unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
    let failed = judged.findings.iter().filter(|finding| finding.verdict == Verdict::Failed);
    let causes: BTreeSet<String> = failed.map(|finding| finding.cause.clone()).collect();
    if mutant.is_none() && judged.verdict != Verdict::Passed {
        panic!("{}: {:?} {:?}", case.name, judged.verdict, judged.findings);
    }
    (judged.verdict == Verdict::Failed).then_some(causes)
}

fn matrix(cases: &[Case], lab: &Lab) -> BTreeMap<&'static str, Row> {
    let rows = in_parallel(MUTANTS, |mutant| {
        let fails = |case: &Case| Some((case.name.clone(), causes(case, lab, Some(mutant.name))?));
        (mutant.name, cases.iter().filter_map(fails).collect())
    });
    rows.into_iter().collect()
}

fn page(matrix: &BTreeMap<&str, Row>) -> String {
    let mut out = String::from(
        "# Mutants\n\nThe emulated UE with one rule broken at one place (`cscf test SUITE \
         --dut-mutant NAME`), and \
         what it fails. Each fails the\ncases meant for it (**bold**), no two rows are \
         alike, and the UE without \
         mistakes fails no case. Computed by\n`cargo test -p cscf-tests --test mutants`; \
         `CSCF_BLESS=1` writes it \
         anew.\n\nA cause is the message that did not come (with its line in the case), or the \
         header that is \
         wrong.\n\n| mutant | fails |\n|---|---|\n",
    );
    for mutant in MUTANTS {
        let cells: Vec<String> = matrix[mutant.name]
            .iter()
            .map(|(case, causes)| {
                let causes: Vec<&str> = causes.iter().map(String::as_str).collect();
                let case = if mutant.meant.contains(&case.as_str()) {
                    format!("**{case}**")
                } else {
                    case.clone()
                };
                format!("{case} ({})", causes.join("; ").replace('|', "\\|"))
            })
            .collect();
        let _ = writeln!(out, "| {} | {} |", mutant.name, cells.join("<br>"));
    }
    out
}

#[test]
fn the_ue_without_mistakes_passes_every_case() {
    let lab = Lab::default_lab();
    let cases = all_cases(&lab).expect("reads");
    assert!(cases.len() >= 40, "{}", cases.len());
    for case in &cases {
        causes(case, &lab, None);
    }
}

/// The cases that the UE without mistakes does not pass on such a network.
fn failing_over(network: &NetworkOptions, seeds: std::ops::Range<u64>) -> Vec<String> {
    let lab = Lab::default_lab();
    let cases = all_cases(&lab).expect("reads");
    let mut out = Vec::new();
    for case in &cases {
        let mut scenario = case.scenario.clone();
        scenario.network = network.clone();
        for seed in seeds.clone() {
            let judged = in_virtual_time(&scenario, &lab, seed, None).expect("runs");
            // What others lose does not come.
            let of_ue = |it: &&Finding| {
                it.verdict == Verdict::Failed && !it.text.contains(": dut receives ")
            };
            let failed = judged.findings.iter().filter(of_ue);
            for finding in failed {
                out.push(format!("{} (seed {seed}): {}", case.name, finding.text));
            }
        }
    }
    out
}

#[test]
fn what_comes_twice_or_again_is_no_fault_of_the_ue() {
    let twice = NetworkOptions { duplicate: 1000, ..NetworkOptions::default() };
    assert_eq!(failing_over(&twice, 1..2), Vec::<String>::new());
    let lossy = NetworkOptions { loss: 100, ..NetworkOptions::default() };
    assert_eq!(failing_over(&lossy, 1..3), Vec::<String>::new());
}

#[test]
fn a_ue_that_answers_with_evs_passes_where_evs_is_offered() {
    let lab = Lab::default_lab();
    let cases = all_cases(&lab).expect("reads");
    let case = cases.iter().find(|case| case.name == "ct-16.x").expect("there");
    let mut scenario = case.scenario.clone();
    let device = scenario.parties.iter_mut().find(|party| party.is_device()).expect("there");
    device.codecs = Some(CodecSet::Evs(Evs::B0));
    let judged = in_virtual_time(&scenario, &lab, 1, None).expect("runs");
    assert_eq!(judged.verdict, Verdict::Passed, "{:?}", judged.findings);
}

#[test]
fn every_mutant_fails_the_cases_meant_for_it_and_no_two_are_alike() {
    let lab = Lab::default_lab();
    let cases = all_cases(&lab).expect("reads");
    let matrix = matrix(&cases, &lab);
    let mut faults = Vec::new();
    for mutant in MUTANTS {
        for meant in mutant.meant {
            if !matrix[mutant.name].contains_key(*meant) {
                faults.push(format!("`{}` does not fail {meant}", mutant.name));
            }
        }
    }
    for case in &cases {
        if !MUTANTS.iter().any(|mutant| mutant.meant.contains(&case.name.as_str())) {
            faults.push(format!("no mutant is meant for {}", case.name));
        }
    }
    let mut seen: BTreeMap<&Row, &str> = BTreeMap::new();
    for (name, row) in &matrix {
        if let Some(other) = seen.insert(row, name) {
            faults.push(format!("`{name}` and `{other}` fail the same by the same"));
        }
    }
    let page = page(&matrix);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mutants.md");
    if std::env::var_os("CSCF_BLESS").is_some() {
        std::fs::write(&path, &page).expect("writes");
    } else if std::fs::read_to_string(&path).ok().as_deref() != Some(page.as_str()) {
        faults.push("docs/mutants.md is not what this run found; CSCF_BLESS=1 writes it".into());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
