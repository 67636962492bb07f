//! Every built-in scenario once more with IPv6, and with UEs of both versions of IP at a P-CSCF
//! that listens on both, in virtual time: what a scenario expects does not depend on the addresses.

use std::net::{IpAddr, SocketAddr};

use cscf_core::trace::{TraceEvent, TraceKind, Wire};
use cscf_tests::in_parallel;
use scenarios::builtin::{self, Builtin};
use scenarios::run::{Family, simulate_on};

/// Scenarios that run with IPv4 only, and why.
const ONLY_V4: [(&str, &str); 0] = [];

/// Runs them all; what failed, with the events of those that did not.
fn run_all(family: Family, look: impl Fn(&[TraceEvent]) -> Option<String> + Sync) -> Vec<String> {
    let all: Vec<&Builtin> = builtin::ALL
        .iter()
        .filter(|it| !ONLY_V4.iter().any(|(name, _)| *name == it.name))
        .collect();
    let faults = in_parallel(&all, |one| {
        let fault = match simulate_on(one.source, 1, family) {
            Err(fault) => Some(fault),
            Ok(outcome) => match outcome.failure {
                Some(failure) => Some(format!("{failure:?}")),
                None => look(&outcome.events),
            },
        };
        fault.map(|fault| format!("{}: {fault}", one.name))
    });
    faults.into_iter().flatten().collect()
}

fn wires(events: &[TraceEvent]) -> impl Iterator<Item = &Wire> {
    events.iter().filter_map(|event| match &event.kind {
        TraceKind::Sent(wire) | TraceKind::Received(wire) => Some(wire),
        _ => None,
    })
}

/// Headers whose addresses are hosts of URIs or of Via: in brackets, but for `received`
/// (RFC 3261 25.1).
const OF_HOSTS: [&str; 9] = [
    "Via:",
    "Contact:",
    "Route:",
    "Record-Route:",
    "Path:",
    "Service-Route:",
    "From:",
    "P-Asserted-Identity:",
    "Refer-To:",
];

/// What is wrong with the addresses of a message on IPv6.
fn wrong_on_v6(wire: &Wire) -> Option<String> {
    let text = String::from_utf8_lossy(&wire.bytes);
    let bare = |line: &&str| {
        let before = line.split("2001:db8:").next().unwrap_or_default();
        let is_of_host = OF_HOSTS.iter().any(|name| line.starts_with(name));
        let fits = before.ends_with('[') || before.ends_with("received=");
        let in_sdp = ["c=IN ", "o="].iter().any(|name| line.starts_with(name));
        (is_of_host && line.contains("2001:db8:") && !fits)
            || (in_sdp && line.contains("2001:db8:") && !line.contains("IN IP6 2001:db8:"))
    };
    of_v4(wire).or_else(|| text.lines().find(bare).map(str::to_owned))
}

/// What a message names of the other version of IP, but in what scenarios write themselves.
fn of_v4(wire: &Wire) -> Option<String> {
    let is_v4 = |addr: &SocketAddr| matches!(addr.ip(), IpAddr::V4(_));
    if is_v4(&wire.local) || is_v4(&wire.remote) {
        return Some(format!("{} to {}", wire.local, wire.remote));
    }
    let text = String::from_utf8_lossy(&wire.bytes);
    let line = text.lines().find(|line| line.contains("127.1.0."));
    line.map(str::to_owned)
}

#[test]
fn every_scenario_runs_on_ipv6() {
    let failed = run_all(Family::V6, |events| wires(events).find_map(wrong_on_v6));
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        builtin::ALL.len(),
        failed.join("\n")
    );
}

#[test]
fn every_scenario_runs_with_phones_of_both_versions() {
    let failed = run_all(Family::Dual, |_| None);
    assert!(
        failed.is_empty(),
        "{} of {}:\n{}",
        failed.len(),
        builtin::ALL.len(),
        failed.join("\n")
    );
}
