//! Every built-in scenario once more with a P-CSCF and an S-CSCF of several engines each, in
//! virtual time: what a scenario expects does not depend on how many there are.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

use cscf_core::config::{Lab, NodeRole};
use cscf_core::trace::TraceKind;
use cscf_tests::in_parallel;
use scenarios::builtin::{self, Builtin};
use scenarios::run::{Outcome, simulate_in};

/// The built-in lab with so many engines in its P- and its S-CSCF.
fn lab(shards: u8) -> Lab {
    let mut lab = Lab::default_lab();
    for node in &mut lab.nodes {
        if matches!(node.role, NodeRole::Pcscf | NodeRole::Scscf) {
            node.load.shards = Some(shards);
        }
    }
    lab
}

/// Scenarios that do not run so, and why.
const NOT_SO: [(&str, &str); 1] =
    [("fault-policy-refuses", "a rule for the policy function counts in each engine by itself")];

/// Runs them all; what failed, and how many INVITEs went by which engine, by the branches of Via.
fn run_all(shards: u8, seed: u64) -> (Vec<String>, Vec<usize>) {
    let all: Vec<&Builtin> =
        builtin::ALL.iter().filter(|it| !NOT_SO.iter().any(|(name, _)| *name == it.name)).collect();
    let lab = &lab(shards);
    let told = in_parallel(&all, |one| match simulate_in(lab, one.source, seed) {
        Err(fault) => (Some(format!("{}: {fault}", one.name)), Vec::new()),
        Ok(outcome) => {
            let fault = outcome.failure.as_ref().map(|it| format!("{}: {it:?}", one.name));
            (fault, spread(&outcome, shards))
        }
    });
    let (mut failed, mut sum) = (Vec::new(), vec![0; usize::from(shards)]);
    for (fault, spread) in told {
        failed.extend(fault);
        sum.iter_mut().zip(spread).for_each(|(sum, count)| *sum += count);
    }
    failed.sort();
    (failed, sum)
}

/// How many INVITEs each engine of P- and S-CSCF has sent.
fn spread(outcome: &Outcome, shards: u8) -> Vec<usize> {
    let sent = outcome.events.iter().filter_map(|event| match &event.kind {
        TraceKind::Sent(wire) if matches!(&*event.node, "p1" | "s1") => Some(&wire.bytes),
        _ => None,
    });
    let tops: Vec<String> = sent
        .filter(|bytes| bytes.starts_with(b"INVITE "))
        .filter_map(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            text.lines().find(|line| line.starts_with("Via:")).map(str::to_owned)
        })
        .collect();
    let by = |shard: u8| {
        let mark = format!("branch=z9hG4bK{shard}-");
        tops.iter().filter(|via| via.contains(&mark)).count()
    };
    (0..shards).map(by).collect()
}

fn assert_all_run(shards: u8, seed: u64) {
    let (failed, spread) = run_all(shards, seed);
    assert!(
        failed.is_empty(),
        "{} of {} with {shards} engines:\n{}",
        failed.len(),
        builtin::ALL.len(),
        failed.join("\n")
    );
    let sum: usize = spread.iter().sum();
    let least = spread.iter().min().copied().unwrap_or_default();
    assert!(least * usize::from(shards) * 4 > sum, "calls are not spread: {spread:?}");
}

#[test]
fn every_scenario_runs_with_two_engines() {
    assert_all_run(2, 1);
}

#[test]
fn every_scenario_runs_with_four_engines() {
    assert_all_run(4, 2);
}
