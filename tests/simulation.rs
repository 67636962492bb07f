//! Random runs: UEs of all kinds (in the clear, with security associations, over TLS and WebSocket,
//! on IPv4 and IPv6), some subscribers with two of them, register, call, hold, cancel, send texts
//! and switch off in random order over two hours of virtual time, while the network loses, delays,
//! doubles and reorders packets and, in every second run, nodes start anew. Then calm; then every
//! invariant must hold and every table be empty. The seed chooses as well whether P- and S-CSCF
//! consist of 1, 2 or 4 engines each.
//!
//! `CSCF_SEED=17 cargo test -p cscf-tests --test simulation` replays one seed; `CSCF_SEEDS=1000`
//! runs so many instead of 100.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use cscf_core::config::{
    Auth, Impu, Lab as LabConfig, NodeRole, SubscriberConfig, SubscriberTransport,
};
use cscf_core::engine::Engine;
use cscf_core::host::json::to_json;
use cscf_core::hss::HssNode;
use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Protocol, TraceEvent, TraceKind};
use cscf_core::transport::Transport;
use cscf_tests::{cast_of, seed_to_replay};
use scenarios::lab::NetworkOptions;
use scenarios::lab::checks::{self, Cast};
use scenarios::run::{Family, Instance, Network, SimulatedStage};
use scenarios::script::{Stage as _, read_scenario};
use scenarios::ue::{CallOptions, Credentials, Protection, Resources, Robot, Ue, UeCommand};

const SEEDS: u64 = 100;
const NODES: [&str; 4] = ["p1", "i1", "s1", "hss"];
const HOURS_2: Duration = Duration::from_secs(7_200);
/// Longer than any registration, subscription or transaction of these runs.
const EXPIRY: Duration = Duration::from_secs(8_000);

/// What a run did, for the summary.
#[derive(Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, events: &[TraceEvent]) {
        for event in events {
            let key = match &event.kind {
                TraceKind::Sent(wire) if wire.protocol == Protocol::Sip => first_word(&wire.bytes),
                TraceKind::Fault { action, .. } => action.clone(),
                TraceKind::State(state) => state_words(state),
                _ => continue,
            };
            *self.0.entry(key).or_default() += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }
}

/// The method of a request, the status of a response.
fn first_word(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line).into_owned();
    let mut words = text.split(' ');
    let first = words.next().unwrap_or_default();
    if first == "SIP/2.0" { words.next().unwrap_or_default().to_owned() } else { first.to_owned() }
}

/// A state without what is individual in it.
fn state_words(state: &str) -> String {
    if state.starts_with("message received") {
        return "message received".to_owned();
    }
    if state.starts_with("registered sip:") { "registered at the S-CSCF" } else { state }.to_owned()
}

/// Seeded choices of one run.
struct Chance(Ids);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(Ids::new(Seed::derive(seed, "plan"), ShardId(0)))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// The lab's subscribers plus as many as the run needs.
fn lab(ue_count: u64) -> LabConfig {
    let mut lab = LabConfig::default_lab();
    for number in 5..=ue_count {
        let digits = format!("{number:04}");
        let imsi = format!("00101000000{digits}");
        let (name, domain) = (format!("ue{number}"), lab.domain.clone());
        let open = |uri: String| Impu { uri, barred: false };
        let auth = if number % 3 == 0 {
            Auth::Digest { password: format!("secret-{number}"), algorithms: vec!["MD5".into()] }
        } else {
            let mut k = *b"0123456789abcdef";
            k[15] = u8::try_from(number).expect("few");
            let opc = cscf_core::auth::derive_opc(k, [7; 16]);
            Auth::Aka { k, opc, amf: [0x80, 0], sqn: 0 }
        };
        lab.subscribers.push(SubscriberConfig {
            ipsec: None,
            name,
            impi: format!("{imsi}@{domain}"),
            impus: vec![
                open(format!("sip:+1555010{digits}@{domain};user=phone")),
                open(format!("tel:+1555010{digits}")),
                Impu { uri: format!("sip:{imsi}@{domain}"), barred: true },
            ],
            auth,
            transport: SubscriberTransport::AsRegistered,
            filter_criteria: Vec::new(),
            hss: Default::default(),
        });
    }
    lab
}

fn instance(chance: &mut Chance, shards: u8) -> Instance {
    let ue_count = 2 + chance.below(19);
    let mut lab = lab(ue_count);
    for node in &mut lab.nodes {
        if matches!(node.role, NodeRole::Pcscf | NodeRole::Scscf) {
            node.load.shards = Some(shards);
            node.load.hand_over = Some(Duration::from_millis(2));
        }
    }
    let names: Vec<&str> = lab.subscribers.listed().iter().map(|it| it.name.as_str()).collect();
    let take = usize::try_from(ue_count).expect("few");
    let mut parties = String::new();
    for name in names.iter().take(take) {
        let transport = match chance.below(10) {
            0 => "{transport: tls}",
            1 => "{transport: ws}",
            2 | 3 => "{transport: tcp}",
            _ => "{}",
        };
        parties.push_str(&format!("  {name}: {transport}\n"));
    }
    // Further devices of some subscribers: what comes in for them forks.
    for name in names.iter().take(take) {
        if chance.percent(20) {
            parties.push_str(&format!("  {name}-tablet: {{of: {name}}}\n"));
        }
    }
    let source = format!("scenario: random\nparties:\n{parties}steps: []\n");
    let scenario = read_scenario(&source, &lab.domain).expect("reads");
    let family = match chance.below(4) {
        0 => Family::V6,
        1 | 2 => Family::Dual,
        _ => Family::V4,
    };
    let network = Network::alone(family);
    let mut instance = Instance::on(&lab, &scenario, &network).expect("instance");
    instance.lab.gm.tls = true;
    for ue in &mut instance.ues {
        ue.expires = Duration::from_secs(600 + chance.below(3_000));
        let in_the_clear = matches!(ue.transport, Transport::Tcp | Transport::Udp);
        let has_card = matches!(ue.credentials, Credentials::Aka { .. });
        // Every other one with a password agrees on TLS, where the P-CSCF listens for it.
        let listens = instance.lab.nodes.iter().any(|node| node.secured.tls.is_some());
        let number = ue.name.bytes().last().unwrap_or_default();
        let by_tls = in_the_clear || ue.transport == Transport::Tls;
        ue.security = match has_card {
            true if in_the_clear && chance.percent(50) => Protection::Ipsec,
            false if listens && by_tls && number % 2 == 0 => Protection::Tls,
            _ => Protection::Off,
        };
        ue.preconditions = chance.percent(60);
        ue.reliable_provisionals = ue.preconditions || chance.percent(50);
        ue.resources = Resources::After(chance.millis(1, 900));
        ue.reg_event = chance.percent(70);
        ue.robot = match chance.below(10) {
            0 => Robot::Busy,
            1 => Robot::Rejects(603),
            2 => Robot::Rings,
            3 => Robot::Echo,
            _ => Robot::Answers { after: chance.millis(10, 5_000) },
        };
        if chance.percent(8) {
            ue.mistakes.wrong_res = true;
        } else if chance.percent(5) {
            ue.mistakes.old_sqn = true;
        }
    }
    instance
}

/// Of how many engines P- and S-CSCF consist in this run: 1, 2 or 4.
fn shards_of(seed: u64) -> u8 {
    let mut chance = Ids::new(Seed::derive(seed, "shards"), ShardId(0));
    1 << chance.below(3)
}

/// What happens, and to whom.
enum Deed {
    /// A user does something.
    User(String, UeCommand),
    /// A node stops.
    Crash(&'static str),
    /// It starts again, with nothing of what it knew.
    Restart(&'static str),
}

/// What happens when.
type Plan = Vec<(Instant, Deed)>;

/// Nodes stop and start anew, one after the other.
fn shake(chance: &mut Chance, plan: &mut Plan) -> BTreeSet<String> {
    let mut shaken = BTreeSet::new();
    if chance.percent(50) {
        return shaken;
    }
    let mut at = Instant::EPOCH + chance.millis(30_000, 600_000);
    for _ in 0..1 + chance.below(5) {
        let node = NODES[usize::try_from(chance.below(4)).expect("few")];
        plan.push((at, Deed::Crash(node)));
        at += chance.millis(1, 30_000);
        plan.push((at, Deed::Restart(node)));
        at += chance.millis(1_000, 1_200_000);
        shaken.insert(node.to_owned());
    }
    shaken
}

/// What the users do.
fn plan(chance: &mut Chance, instance: &Instance) -> Plan {
    let mut plan = Vec::new();
    let end = u64::try_from(HOURS_2.as_millis()).expect("short");
    for ue in &instance.ues {
        let start = Instant::EPOCH + chance.millis(0, 60_000);
        plan.push((start, Deed::User(ue.name.clone(), UeCommand::Register { expires: None })));
        for _ in 0..4 + chance.below(6) {
            let at = Instant::EPOCH + chance.millis(60_000, end - 120_000);
            act(chance, instance, &ue.name, at, &mut plan);
        }
    }
    plan
}

fn act(chance: &mut Chance, instance: &Instance, ue: &str, at: Instant, plan: &mut Plan) {
    let bound = u64::try_from(instance.ues.len()).expect("few");
    let other = &instance.ues[usize::try_from(chance.below(bound)).expect("few")];
    let target = if chance.percent(5) {
        format!("sip:+15559999999@{};user=phone", instance.lab.domain)
    } else {
        other.impus.first().cloned().unwrap_or_default()
    };
    let mut push =
        |after: Duration, command| plan.push((at + after, Deed::User(ue.to_owned(), command)));
    match chance.below(10) {
        0..=4 => {
            push(Duration::ZERO, UeCommand::Call { target, options: CallOptions::default() });
            if chance.percent(30) {
                push(chance.millis(1, 4_000), UeCommand::Cancel);
            }
            if chance.percent(30) {
                push(chance.millis(4_000, 20_000), UeCommand::Hold);
                push(chance.millis(20_000, 40_000), UeCommand::Resume);
            }
            push(chance.millis(6_000, 60_000), UeCommand::Hangup);
        }
        5 | 6 => {
            let text = format!("text of {ue}");
            push(Duration::ZERO, UeCommand::SendMessage { target, text });
        }
        7 => push(Duration::ZERO, UeCommand::Reregister),
        8 => push(Duration::ZERO, UeCommand::SendOptions { target }),
        _ => {
            push(Duration::ZERO, UeCommand::Deregister);
            push(
                chance.millis(1_000, 100_000),
                UeCommand::Register { expires: Some(Duration::from_secs(1_200)) },
            );
        }
    }
}

fn storm(chance: &mut Chance) -> NetworkOptions {
    NetworkOptions {
        delay: chance.millis(1, 60),
        jitter: chance.millis(1, 300),
        loss: chance.below(200),
        duplicate: chance.below(200),
        reorder: chance.below(200),
        reorder_by: chance.millis(1, 2_000),
        cut_streams: true,
        reset: chance.below(10),
        ..NetworkOptions::default()
    }
}

/// Runs one seed; gives the trace and what was violated.
fn run(seed: u64) -> (Vec<TraceEvent>, Vec<String>) {
    let mut chance = Chance::new(seed);
    let instance = instance(&mut chance, shards_of(seed));
    let mut plan = plan(&mut chance, &instance);
    let crashed = shake(&mut chance, &mut plan);
    plan.sort_by_key(|(at, _)| *at);
    let cast = Cast { crashed, ..cast_of(&instance) };
    let impis: Vec<String> = instance.ues.iter().map(|ue| ue.impi.clone()).collect();
    let network = storm(&mut chance);
    let mut stage = SimulatedStage::new(instance, network, seed).expect("stage");
    let mut faults = Vec::new();
    let mut sqns: BTreeMap<String, u64> = BTreeMap::new();
    for (at, deed) in plan {
        stage.lab.run_until(at);
        match deed {
            Deed::User(ue, command) => {
                let given =
                    stage.lab.with(&ue, |node: &mut Engine<Ue>, now| node.command(now, command));
                given.expect("a UE of that name");
            }
            Deed::Crash(node) => stage.crash(node).expect("runs"),
            Deed::Restart(node) => stage.restart(node).expect("starts"),
        }
        // A number that nobody has asked for since a restart is that of the card's first day.
        if !cast.crashed.contains("hss") {
            sqn_never_falls(&mut stage, &impis, &mut sqns, &mut faults);
        }
    }
    stage.lab.run_until(Instant::EPOCH + HOURS_2);
    // Calm: everybody hangs up and switches off, and what is left expires.
    *stage.lab.network_mut() = NetworkOptions::default();
    for ue in &cast.ues {
        for command in
            [UeCommand::Cancel, UeCommand::Hangup, UeCommand::Hangup, UeCommand::Deregister]
        {
            stage.lab.with(ue, |node: &mut Engine<Ue>, now| node.command(now, command));
        }
    }
    let end = stage.now() + EXPIRY;
    stage.lab.run_until(end);
    let left = stage.lab.remainders();
    faults
        .extend(left.iter().map(|(node, what, count)| format!("{node} still has {count} {what}")));
    let events = stage.lab.trace().to_vec();
    faults.extend(checks::all(&events, &cast));
    (events, faults)
}

fn sqn_never_falls(
    stage: &mut SimulatedStage,
    impis: &[String],
    sqns: &mut BTreeMap<String, u64>,
    faults: &mut Vec<String>,
) {
    let now = stage.now();
    stage.lab.with("hss", |hss: &mut HssNode, _| {
        for impi in impis {
            let Some(sqn) = hss.store().sqn(impi) else { continue };
            let sqn = sqn.value();
            let before = sqns.insert(impi.clone(), sqn).unwrap_or_default();
            if sqn < before {
                faults.push(format!("{now} hss: SQN of {impi} falls from {before} to {sqn}"));
            }
        }
    });
}

/// Runs the seeds; gives what was violated, a paragraph a seed.
fn run_seeds(seeds: impl IntoIterator<Item = u64>, tally: &mut Tally) -> Vec<String> {
    let mut failed = Vec::new();
    for seed in seeds {
        let (events, faults) = run(seed);
        tally.count(&events);
        if !faults.is_empty() {
            failed.push(format!(
                "seed {seed}: {} violations, the first:\n{}\nreplay: CSCF_SEED={seed} cargo test \
                 -p cscf-tests --test simulation",
                faults.len(),
                faults.iter().take(6).cloned().collect::<Vec<_>>().join("\n")
            ));
        }
    }
    failed
}

fn assert_none(failed: &[String]) {
    assert!(failed.is_empty(), "{} seeds failed\n{}", failed.len(), failed.join("\n\n"));
}

/// What must have happened at least once in all runs together.
const LISTED: &[&str] = &[
    "REGISTER",
    "INVITE",
    "ACK",
    "PRACK",
    "UPDATE",
    "BYE",
    "CANCEL",
    "MESSAGE",
    "OPTIONS",
    "SUBSCRIBE",
    "NOTIFY",
    "100",
    "180",
    "183",
    "200",
    "401",
    "403",
    "404",
    "480",
    "481",
    "486",
    "487",
    "603",
    "lost",
    "duplicated",
    "held back",
    "registered",
    "re-registered",
    "deregistered",
    "call established",
    "message delivered",
    "message received",
];

#[test]
fn every_invariant_holds_in_random_runs() {
    let mut total = Tally::default();
    if let Some(seed) = seed_to_replay() {
        let failed = run_seeds([seed], &mut total);
        print_summary(&total);
        return assert_none(&failed);
    }
    let count = std::env::var("CSCF_SEEDS").ok().and_then(|text| text.parse().ok());
    let count = count.unwrap_or(SEEDS);
    let sum = Mutex::new((Tally::default(), Vec::new()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let workers = u64::try_from(workers).expect("few");
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let sum = &sum;
            scope.spawn(move || {
                let mut tally = Tally::default();
                let mine = (0..count).filter(|seed| seed % workers == worker);
                let failed = run_seeds(mine, &mut tally);
                let mut sum = sum.lock().expect("no panic");
                sum.0.add(&tally);
                sum.1.extend(failed);
            });
        }
    });
    let (tally, failed) = sum.into_inner().expect("no panic");
    total.add(&tally);
    print_summary(&total);
    assert_none(&failed);
    let never: BTreeSet<&&str> = LISTED.iter().filter(|key| !total.0.contains_key(**key)).collect();
    assert!(never.is_empty(), "never happened: {never:?}");
}

fn print_summary(tally: &Tally) {
    println!("what happened in all runs:");
    for (key, count) in &tally.0 {
        println!("  {count:>9}  {key}");
    }
}

#[test]
fn a_seed_gives_the_same_bytes_twice() {
    for seed in [1, 7, 42] {
        let lines = |seed| {
            let (events, _) = run(seed);
            events.iter().map(to_json).collect::<Vec<_>>().join("\n")
        };
        let (first, second) = (lines(seed), lines(seed));
        assert!(first.len() > 100_000, "seed {seed} does something");
        assert!(first == second, "seed {seed} differs between two runs");
    }
}

/// Writes the trace of `CSCF_SEED` to `CSCF_TRACE`, to look into a seed that failed.
#[test]
fn a_trace_is_written_on_demand() {
    let (Some(seed), Ok(path)) = (seed_to_replay(), std::env::var("CSCF_TRACE")) else {
        return;
    };
    let (events, faults) = run(seed);
    let lines: Vec<String> = events.iter().map(to_json).collect();
    std::fs::write(path, lines.join("\n")).expect("written");
    println!("{}", faults.join("\n"));
}
