//! The registration scenarios once more under worse conditions: each with 10 % loss, and each with
//! one node that starts anew at a random step. What must hold then is what the network may not
//! break: the invariants of every run, and that each phone ends as the scenario says, or with a
//! diagnosis.
//!
//! `CSCF_SEED=17 cargo test -p cscf-tests --test flows` replays one seed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod families;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::config::Lab;
use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::operator;
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{TraceEvent, TraceKind};
use cscf_tests::{cast_of, seed_to_replay};
use scenarios::builtin;
use scenarios::lab::checks::{self, Cast};
use scenarios::run::{Instance, SimulatedStage};
use scenarios::script::{Expectation, Order, Scenario, Seen, Stage, Step, StepKind, read_scenario};

/// Seeds of each scenario.
const SEEDS: u64 = 4;
/// Longer than any transaction, back-off or wait for a challenge.
const PATIENCE: Duration = Duration::from_secs(900);

/// Refusals shown of a run that failed.
const REFUSALS_SHOWN: usize = 8;

/// How a run came out.
struct Run {
    what: String,
    /// Events until the last step was done.
    advances: u64,
    events: Vec<TraceEvent>,
    /// The first state that was not reached, and of which UE.
    missed: Option<Missed>,
    /// When a node started anew, if one did.
    shaken_at: Option<Instant>,
    /// The identities of each UE.
    identities: BTreeMap<String, Vec<String>>,
    violations: Vec<String>,
}

/// A state that did not come.
#[derive(Debug, PartialEq, Eq)]
struct Missed {
    /// Whose.
    node: String,
    /// The step.
    text: String,
}

fn seeds() -> Vec<u64> {
    seed_to_replay().map_or_else(|| (1..=SEEDS).collect(), |seed| vec![seed])
}

fn registration_scenarios() -> Vec<(&'static str, Scenario)> {
    let domain = Lab::default_lab().domain;
    let files = builtin::ALL.iter().filter(|it| it.file.starts_with("scenarios/register/"));
    let read = |it: &builtin::Builtin| read_scenario(it.source, &domain).expect("reads");
    let all: Vec<_> = files.map(|it| (it.name, read(it))).collect();
    assert!(all.len() >= 20, "{}", all.len());
    all
}

/// The lab of a scenario, in which one node may start anew in the middle of anything.
struct Shaken {
    stage: SimulatedStage,
    advances: u64,
    /// Which node, at which event, for how long.
    fault: Option<(String, u64, Duration)>,
    down_until: Option<Instant>,
    /// When it went down.
    shaken_at: Option<Instant>,
}

impl Shaken {
    fn shake(&mut self) -> Result<(), String> {
        self.advances += 1;
        let now = self.stage.now();
        let Some((node, at, down)) = self.fault.clone() else { return Ok(()) };
        if self.advances == at {
            self.down_until = Some(now + down);
            self.shaken_at = Some(now);
            self.stage.crash(&node)
        } else if self.down_until.is_some_and(|until| until <= now) {
            (self.down_until, self.fault) = (None, None);
            self.stage.restart(&node)
        } else {
            Ok(())
        }
    }
}

impl Stage for Shaken {
    fn now(&self) -> Instant {
        self.stage.now()
    }

    fn events(&self) -> &[TraceEvent] {
        self.stage.events()
    }

    fn advance(&mut self, until: Instant) -> Result<bool, String> {
        self.shake()?;
        let until = self.down_until.map_or(until, |at| at.min(until));
        let more = self.stage.advance(until)?;
        Ok(more || self.down_until.is_some_and(|at| at <= self.stage.now()))
    }

    fn command(&mut self, ue: &str, order: &Order) -> Result<(), String> {
        self.stage.command(ue, order)
    }

    fn operate(&mut self, order: &operator::Order) -> Result<(), String> {
        // A node that is down takes no orders.
        if self.down_until.is_some() { Ok(()) } else { self.stage.operate(order) }
    }

    fn crash(&mut self, node: &str) -> Result<(), String> {
        self.stage.crash(node)
    }

    fn restart(&mut self, node: &str) -> Result<(), String> {
        self.stage.restart(node)
    }

    fn name_of(&self, addr: &SocketAddr) -> Option<&str> {
        self.stage.name_of(addr)
    }
}

/// Which node starts anew, at which of so many events, and for how long it is down.
fn fault(name: &str, seed: u64, events: u64) -> (String, u64, Duration) {
    let mut chance = Ids::new(Seed::derive(seed, name), ShardId(0));
    let node = ["p1", "i1", "s1", "hss"][usize::try_from(chance.below(4)).expect("few")];
    let at = 1 + chance.below(events);
    (node.to_owned(), at, Duration::from_millis(chance.below(5_000)))
}

/// Does what the steps order and waits for the states they name, in any order of messages; gives
/// the first state that did not come. Whatever status a failure has, it is one.
fn walk(scenario: &Scenario, stage: &mut Shaken) -> Result<Option<Missed>, String> {
    let mut mark = 0;
    for step in scenario.all_steps() {
        match &step.kind {
            StepKind::Expect(Expectation { node, what: Seen::State(state), .. }) => {
                let failed = "registration failed";
                let state = if state.starts_with(failed) { failed } else { state.as_str() };
                let end = stage.now() + PATIENCE;
                let there = |event: &TraceEvent| match &event.kind {
                    TraceKind::State(is) => *event.node == **node && is.starts_with(state),
                    _ => false,
                };
                let mut next = mark;
                loop {
                    let events = &stage.events()[next..];
                    if events.iter().any(there) {
                        break;
                    }
                    next += events.len();
                    if !stage.advance(end)? && stage.events().len() == next {
                        let (node, text) = (node.clone(), step.text.clone());
                        return Ok(Some(Missed { node, text }));
                    }
                }
            }
            StepKind::Expect(_) | StepKind::Never(_) | StepKind::Together(_) => {}
            StepKind::Command { ue, order } => {
                mark = stage.events().len();
                stage.command(ue, order)?;
            }
            StepKind::Operate(order) => {
                mark = stage.events().len();
                stage.operate(order)?;
            }
            StepKind::Crash { node } => stage.crash(node)?,
            StepKind::Restart { node } => stage.restart(node)?,
            StepKind::Wait(time) => {
                mark = stage.events().len();
                let end = stage.now() + *time;
                while stage.advance(end)? {}
            }
        }
    }
    Ok(None)
}

fn cast(instance: &Instance, scenario: &Scenario, crashed: Option<&str>) -> Cast {
    let stopped = scenario.all_steps().into_iter().filter_map(|step| match &step.kind {
        StepKind::Crash { node } => Some(node.clone()),
        _ => None,
    });
    let crashed = stopped.chain(crashed.map(str::to_owned)).collect();
    Cast { crashed, ..cast_of(instance) }
}

fn play(
    what: String,
    scenario: &Scenario,
    fault: Option<(String, u64, Duration)>,
    seed: u64,
) -> Run {
    let instance = Instance::new(&Lab::default_lab(), scenario, 1, 0).expect("instance");
    let identities = instance.ues.iter().map(|ue| {
        let all = std::iter::once(&ue.impi).chain(&ue.impus).chain([&ue.register_impu]);
        (ue.name.clone(), all.cloned().collect())
    });
    let identities = identities.collect();
    let cast = cast(&instance, scenario, fault.as_ref().map(|(node, ..)| node.as_str()));
    let network = scenario.network.clone();
    let stage = SimulatedStage::new(instance, network, seed).expect("stage");
    let mut stage = Shaken { stage, advances: 0, fault, down_until: None, shaken_at: None };
    let missed = walk(scenario, &mut stage).unwrap_or_else(|fault| panic!("{what}: {fault}"));
    let advances = stage.advances;
    // Whatever is under way comes to its end.
    let end = stage.now() + PATIENCE;
    while stage.advance(end).expect("goes on") {}
    let events = stage.events().to_vec();
    let violations = checks::all(&events, &cast);
    let shaken_at = stage.shaken_at;
    Run { what, advances, events, missed, shaken_at, identities, violations }
}

impl Run {
    /// Whether a UE that missed a state has ended registered all the same, or somebody said why
    /// not: a diagnosis of this UE, made after the fault (a dropped packet explains nothing).
    fn is_explained(&self, missed: &Missed) -> bool {
        let since = self.shaken_at.unwrap_or(Instant::EPOCH);
        let of_ue = self.identities.get(&missed.node).map_or(&[][..], Vec::as_slice);
        let concerns = |about: &str| of_ue.iter().any(|identity| about.contains(&**identity));
        let told = self.events.iter().filter(|event| event.at >= since).any(|event| {
            let TraceKind::Note(note) = &event.kind else { return false };
            note.diagnosis.as_ref().is_some_and(|cause| concerns(&cause.about))
        });
        told || self.ends_registered(&missed.node)
    }

    /// What was refused since the fault, for whoever looks into it.
    fn refusals(&self) -> Vec<String> {
        let since = self.shaken_at.unwrap_or(Instant::EPOCH);
        let notes = self.events.iter().filter(|event| event.at >= since).filter_map(|event| {
            let TraceKind::Note(note) = &event.kind else { return None };
            note.refusal.then(|| format!("    {} {}: {}", event.at, event.node, note.text))
        });
        notes.take(REFUSALS_SHOWN).collect()
    }

    fn ends_registered(&self, ue: &str) -> bool {
        let states = self.events.iter().rev().filter_map(|event| match &event.kind {
            TraceKind::State(state) if *event.node == *ue => Some(state.as_str()),
            _ => None,
        });
        let words = ["registered", "re-registered", "registration", "deregistered"];
        let mut of_registration =
            states.filter(|state| words.iter().any(|word| state.starts_with(word)));
        matches!(of_registration.next(), Some("registered" | "re-registered"))
    }
}

fn judge(runs: &[Run]) -> usize {
    let mut faults = Vec::new();
    for run in runs {
        faults.extend(run.violations.iter().map(|text| format!("{}: {text}", run.what)));
        if let Some(missed) = run.missed.as_ref().filter(|missed| !run.is_explained(missed)) {
            faults.push(format!("{}: {}, and nobody says why", run.what, missed.text));
            faults.extend(run.refusals());
            if std::env::var_os("CSCF_TRACE").is_some() {
                run.events.iter().for_each(|event| println!("{event:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    runs.iter().filter(|run| run.missed.is_none()).count()
}

#[test]
fn with_a_tenth_of_the_packets_lost_phones_end_as_the_scenario_says() {
    let mut runs = Vec::new();
    for (name, mut scenario) in registration_scenarios() {
        scenario.network.loss = 100;
        for seed in seeds() {
            runs.push(play(format!("{name}, seed {seed}"), &scenario, None, seed));
        }
    }
    let lost = runs.iter().flat_map(|run| &run.events);
    let lost = lost.filter(|event| matches!(event.kind, TraceKind::Fault { .. })).count();
    assert!(lost > runs.len(), "{lost} packets lost in {} runs", runs.len());
    let reached = judge(&runs);
    let missed = runs.iter().filter_map(|run| Some((&run.what, run.missed.as_ref()?)));
    let missed: Vec<String> = missed.map(|(what, it)| format!("{what}: {}", it.text)).collect();
    println!("{reached} of {} runs as without loss\n{}", runs.len(), missed.join("\n"));
    // Whatever is lost is repeated.
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn when_a_node_starts_anew_phones_end_registered_or_with_a_diagnosis() {
    let mut runs = Vec::new();
    for (name, scenario) in registration_scenarios() {
        let stops = |step: &&Step| matches!(step.kind, StepKind::Crash { .. });
        if scenario.all_steps().iter().any(stops) {
            continue;
        }
        let calm = play(name.to_owned(), &scenario, None, 1);
        assert_eq!(calm.missed, None, "{name}");
        for seed in seeds() {
            let fault = fault(name, seed, calm.advances);
            let what = format!("{name}, seed {seed}, {} starts anew at {}", fault.0, fault.1);
            runs.push(play(what, &scenario, Some(fault), seed));
        }
    }
    let reached = judge(&runs);
    println!("{reached} of {} runs as without", runs.len());
}
