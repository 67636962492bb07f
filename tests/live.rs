//! Every built-in scenario on real sockets, in an instance of its own, many at a time; and runs
//! beside each other, without root. What runs in virtual time only says why.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test may fail")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use cscf_core::config::Lab;
use scenarios::builtin;
use scenarios::script::read_scenario;

/// Live scenarios at a time: they mostly wait for timers.
const JOBS: &str = "24";
/// Scenarios that may fail beside so many others, and then have to pass alone.
const FAILED_MAX: usize = 8;

fn cscf(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cscf-under-test"));
    command.args(args).current_dir(folder).stdin(Stdio::null()).env_remove("CSCF_LOG");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of an output that begin so.
fn lines<'a>(output: &'a str, begin: &str) -> Vec<&'a str> {
    output.lines().filter(|line| line.starts_with(begin)).collect()
}

#[test]
fn every_scenario_passes_live_or_says_why_not() {
    let folder = tempfile::tempdir().expect("folder");
    let output = cscf(folder.path(), &["run", "--jobs", JOBS, "all"]).output().expect("runs");
    let (said, faults) = (text(&output.stdout), text(&output.stderr));
    let domain = Lab::default_lab().domain;
    let of_virtual = |it: &&builtin::Builtin| {
        read_scenario(it.source, &domain).expect("reads").only_virtual().is_some()
    };
    let only_virtual = builtin::ALL.iter().filter(of_virtual).count();
    let failed = lines(&said, "FAILED: ");
    assert_eq!(output.status.code(), Some(i32::from(!failed.is_empty())), "{said}\n{faults}");
    assert!(failed.len() <= FAILED_MAX, "{said}");
    for line in &failed {
        // Beside many others a machine may be too slow for the times of a step; alone it is not.
        let name = line.split_whitespace().nth(1).expect("a name");
        let again = cscf(folder.path(), &["run", name]).output().expect("runs");
        assert!(again.status.success(), "{said}\n{}{}", text(&again.stdout), text(&again.stderr));
        println!("passed alone: {name}");
    }
    assert_eq!(lines(&said, "skipped: ").len(), only_virtual, "{said}");
    let passed = lines(&said, "passed: ").len() + failed.len();
    assert_eq!(passed, builtin::ALL.len() - only_virtual, "{said}");
    for line in lines(&said, "skipped: ") {
        println!("{line}");
    }
    println!("{}", said.lines().last().unwrap_or_default());
}

#[test]
fn all_scenarios_pass_in_virtual_time_side_by_side() {
    let folder = tempfile::tempdir().expect("folder");
    let output = cscf(folder.path(), &["run", "--virtual", "all"]).output().expect("runs");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", text(&output.stderr));
    assert_eq!(lines(&said, "passed: ").len(), builtin::ALL.len(), "{said}");
    println!("{}", said.lines().last().unwrap_or_default());
}

#[test]
fn two_runs_beside_each_other_do_not_meet() {
    let folders = [tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder")];
    let start = |folder: &tempfile::TempDir| -> Child {
        let mut command = cscf(folder.path(), &["run", "volte-call", "--out", "out"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    };
    let runs = folders.each_ref().map(start);
    let mut networks = Vec::new();
    for (run, folder) in runs.into_iter().zip(&folders) {
        let output: Output = run.wait_with_output().expect("ends");
        assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
        let trace = std::fs::read_to_string(folder.path().join("out/trace.jsonl")).expect("trace");
        networks.push(networks_in(&trace));
    }
    let [one, other] = networks.as_slice() else { panic!("two runs") };
    // Each keeps to a network 127.x.y of its own.
    assert_eq!((one.len(), other.len()), (1, 1), "{one:?} {other:?}");
    assert_ne!(one, other);
}

/// The addresses in a trace, without their ports.
fn addresses_in(trace: &str) -> std::collections::BTreeSet<String> {
    let events = trace.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let ends = events.flat_map(|event: serde_json::Value| {
        let end =
            |name: &str| event.get(name)?.as_str()?.rsplit_once(':').map(|it| it.0.to_owned());
        [end("local"), end("remote")]
    });
    ends.flatten().collect()
}

#[test]
fn a_call_runs_live_on_ipv6_and_between_both_versions() {
    for (switch, dual) in [("--ipv6", false), ("--dual-stack", true)] {
        let folder = tempfile::tempdir().expect("folder");
        let args = ["run", "volte-call", switch, "--out", "out"];
        let output = cscf(folder.path(), &args).output().expect("runs");
        let (said, faults) = (text(&output.stdout), text(&output.stderr));
        if faults.contains("no free ports on ::1") {
            println!("skipped: this machine has no IPv6");
            return;
        }
        assert!(output.status.success(), "{switch}: {said}\n{faults}");
        let trace = std::fs::read_to_string(folder.path().join("out/trace.jsonl")).expect("trace");
        let addresses = addresses_in(&trace);
        assert!(addresses.contains("[::1]"), "{addresses:?}");
        assert_eq!(addresses.iter().any(|it| it.starts_with("127.")), dual, "{addresses:?}");
    }
    // Where all have one address each listener has a port, those of TLS and WebSocket too.
    for name in ["register-tls", "call-mixed-transports"] {
        let folder = tempfile::tempdir().expect("folder");
        let output = cscf(folder.path(), &["run", name, "--ipv6"]).output().expect("runs");
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
}

/// The networks 127.x.y of all addresses in a trace.
fn networks_in(trace: &str) -> std::collections::BTreeSet<String> {
    let mut networks = std::collections::BTreeSet::new();
    for line in trace.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        for end in ["local", "remote"] {
            if let Some(address) = event.get(end).and_then(serde_json::Value::as_str)
                && address.starts_with("127.")
            {
                networks.insert(address.split('.').take(3).collect::<Vec<_>>().join("."));
            }
        }
    }
    networks
}
