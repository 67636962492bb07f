//! What a second engine of a P-CSCF and of an S-CSCF is worth: `shards USERS CALLS`.
//!
//! USERS register and then call each other in pairs, CALLS times each, in the simulated lab; what
//! comes to P- and S-CSCF is kept. Then fresh ones get the same from memory, the calls with a clock
//! running: both of one engine, on one thread; and of two engines, those with the same number on a
//! thread each. An engine is a function of its inputs, so all happens again as it did.
//!
//! Two rates: by the clock, which needs cores that nobody else uses, and by the time of the busiest
//! thread on its core, which tells what the clock would show if it had them.

#![allow(clippy::print_stdout, reason = "it is a program")]
#![allow(unused_crate_dependencies, reason = "those of the tests")]

use std::net::SocketAddr;
use std::sync::{Arc, Barrier, Mutex, PoisonError};

use cscf_core::config::{Lab, NodeConfig, NodeRole, Start, read_lab};
use cscf_core::engine::{Engine, Input, Node, Output, Shards};
use cscf_core::host::Clock;
use cscf_core::ids::Seed;
use cscf_core::time::{Duration, Instant};
use scenarios::lab::{LabNode, NetworkOptions};
use scenarios::run::{Instance, SimulatedStage, UNIX_AT_EPOCH};
use scenarios::script::Stage as _;
use scenarios::ue::{CallOptions, Robot, Ue, UeCommand, UeConfig};

/// An engine of one of the nodes, with what is around it.
type Part = Box<dyn Node + Send>;

/// What came to the engines, in order: the number of the engine's thread, and the node.
type Tape = Arc<Mutex<Vec<(usize, &'static str, Instant, Input)>>>;

const NODES: [&str; 2] = ["p1", "s1"];

/// An engine whose inputs are kept.
struct Taped {
    part: Part,
    node: &'static str,
    thread: usize,
    tape: Tape,
}

impl Node for Taped {
    fn name(&self) -> &str {
        self.part.name()
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        let entry = (self.thread, self.node, now, input.clone());
        self.tape.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        self.part.handle_input(now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.part.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.part.poll_timeout()
    }
}

impl LabNode for Taped {}

fn main() -> Result<(), String> {
    let usage = "shards USERS CALLS";
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [users, calls] = args.as_slice() else { return Err(usage.to_owned()) };
    let users: usize = users.parse().map_err(|_| usage)?;
    let calls: usize = calls.parse().map_err(|_| usage)?;
    let mut rates: Vec<Rates> = Vec::new();
    for shards in [1, 2] {
        let run = Run::record(users, calls, shards)?;
        let mut best = Rates { clock: 0.0, cores: 0.0 };
        for _ in 0..5 {
            let rates = run.replay()?;
            best.clock = best.clock.max(rates.clock);
            best.cores = best.cores.max(rates.cores);
        }
        println!(
            "{shards} engine(s): {} messages of calls, of these {:?} by each; {:.0} a second, {:.0} \
             by the time on the core",
            run.messages.iter().sum::<usize>(),
            run.messages,
            best.clock,
            best.cores
        );
        rates.push(best);
    }
    if let [one, two] = rates.as_slice() {
        let (clock, cores) = (two.clock / one.clock, two.cores / one.cores);
        println!("ratio {clock:.2} by the clock, {cores:.2} by the time on the core");
    }
    Ok(())
}

/// Messages of calls a second.
struct Rates {
    clock: f64,
    cores: f64,
}

/// How long this thread has been on a core; zero where the system does not tell.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// What came in a run.
struct Run {
    lab: Lab,
    registering: Vec<(usize, &'static str, Instant, Input)>,
    calling: Vec<Vec<(&'static str, Instant, Input)>>,
    /// SIP messages of calls by engine; one that is handed over counts where it ends.
    messages: Vec<usize>,
}

impl Run {
    /// Has users register and call each other, and keeps what comes to P- and S-CSCF.
    fn record(users: usize, calls: usize, shards: u8) -> Result<Self, String> {
        let lab = lab_of(users, shards)?;
        let pcscf = lab.node(NodeRole::Pcscf).map(NodeConfig::sip_uri).unwrap_or_default();
        let mut ues: Vec<UeConfig> = Vec::new();
        for (subscriber, number) in lab.subscribers.iter().zip(0_u16..) {
            let [high, low] = number.to_be_bytes();
            let address = SocketAddr::from(([127, 9, high, low], 5060));
            let mut ue = UeConfig::of_subscriber(&lab, &subscriber, &pcscf, address);
            ue.reg_event = false;
            ue.preconditions = false;
            ue.reliable_provisionals = false;
            ue.robot = Robot::Answers { after: Duration::from_millis(50) };
            ues.push(ue);
        }
        let instance = Instance { lab: lab.clone(), ues };
        let mut stage = SimulatedStage::new(instance.clone(), NetworkOptions::default(), 1)?;
        let tape = Tape::default();
        for node in NODES {
            stage.lab.crash(node);
            stage.lab.restart(taped(&lab, node, &tape)?);
        }
        let wait = |stage: &mut SimulatedStage, millis| {
            let end = stage.now() + Duration::from_millis(millis);
            stage.lab.run_until(end);
        };
        wait(&mut stage, 1_000);
        for ue in &instance.ues {
            command(&mut stage, &ue.name, UeCommand::Register { expires: None })?;
            wait(&mut stage, 10);
        }
        wait(&mut stage, 5_000);
        let take = || std::mem::take(&mut *tape.lock().unwrap_or_else(PoisonError::into_inner));
        let registering = take();
        for _ in 0..calls {
            for pair in instance.ues.chunks_exact(2) {
                let [caller, callee] = pair else { continue };
                let target = callee.impus.first().cloned().unwrap_or_default();
                let options = CallOptions::default();
                command(&mut stage, &caller.name, UeCommand::Call { target, options })?;
                wait(&mut stage, 2);
            }
            wait(&mut stage, 200);
            for pair in instance.ues.chunks_exact(2) {
                let [caller, _] = pair else { continue };
                command(&mut stage, &caller.name, UeCommand::Hangup)?;
                wait(&mut stage, 2);
            }
            wait(&mut stage, 200);
        }
        let mut calling = vec![Vec::new(); usize::from(shards)];
        let mut messages = vec![0; usize::from(shards)];
        for (thread, node, at, input) in take() {
            let owned = matches!(&input, Input::Datagram(_) | Input::Shard(_));
            if let (true, Some(count)) = (owned, messages.get_mut(thread)) {
                *count += usize::from(is_whole(&input));
            }
            if let Some(list) = calling.get_mut(thread) {
                list.push((node, at, input));
            }
        }
        // What engine 0 received for others is counted with them.
        let others: usize = messages.iter().skip(1).sum();
        if let Some(first) = messages.first_mut() {
            *first = first.saturating_sub(others);
        }
        Ok(Self { lab, registering, calling, messages })
    }

    /// Gives fresh nodes the same; how fast.
    fn replay(&self) -> Result<Rates, String> {
        let mut parts: Vec<Vec<(&'static str, Part)>> = Vec::new();
        for node in NODES {
            for (thread, part) in parts_of(&self.lab, node)?.into_iter().enumerate() {
                if parts.len() <= thread {
                    parts.push(Vec::new());
                }
                if let Some(list) = parts.get_mut(thread) {
                    list.push((node, part));
                }
            }
        }
        for (thread, node, at, input) in &self.registering {
            if let Some(list) = parts.get_mut(*thread) {
                give(list, node, *at, input.clone());
            }
        }
        // The copies are made before the clock runs.
        let work: Vec<_> = parts.into_iter().zip(self.calling.iter().cloned()).collect();
        let barrier = Barrier::new(work.len() + 1);
        let (started, busiest) = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for (mut list, inputs) in work {
                let barrier = &barrier;
                threads.push(scope.spawn(move || {
                    barrier.wait();
                    let before = on_core();
                    for (node, at, input) in inputs {
                        give(&mut list, node, at, input);
                    }
                    on_core().saturating_sub(before)
                }));
            }
            let started = Clock::start();
            barrier.wait();
            let busy = threads.into_iter().filter_map(|thread| thread.join().ok());
            (started, busy.max().unwrap_or_default())
        });
        let count = u32::try_from(self.messages.iter().sum::<usize>()).unwrap_or(u32::MAX);
        let rate = |span: Duration| f64::from(count) / span.as_secs_f64();
        Ok(Rates { clock: rate(started.now().since(Instant::EPOCH)), cores: rate(busiest) })
    }
}

/// Hands an input to an engine and drops what it wants.
fn give(parts: &mut [(&'static str, Part)], node: &str, now: Instant, input: Input) {
    if let Some((_, part)) = parts.iter_mut().find(|(name, _)| *name == node) {
        part.handle_input(now, input);
        while part.poll_output().is_some() {}
        let _ = part.poll_timeout();
    }
}

/// Whether it is a message that came to the node, or was handed over in it.
fn is_whole(input: &Input) -> bool {
    match input {
        Input::Datagram(packet) => packet.bytes.len() > 4,
        Input::Shard(event) => matches!(event, cscf_core::engine::ShardEvent::Message(_)),
        _ => false,
    }
}

fn command(stage: &mut SimulatedStage, name: &str, command: UeCommand) -> Result<(), String> {
    let given = stage.lab.with(name, |ue: &mut Engine<Ue>, now| ue.command(now, command));
    given.ok_or_else(|| format!("no UE {name}"))
}

/// The engines of a node, fresh.
fn parts_of(lab: &Lab, name: &str) -> Result<Vec<Part>, String> {
    let node = lab.node_named(name).ok_or_else(|| format!("no node {name}"))?;
    let seed = Seed::derive(1, name);
    let start = Start { seed, unix_at_epoch: UNIX_AT_EPOCH, tracing: false };
    let several = node.load.shards.is_some_and(|count| count > 1);
    Ok(match (node.role, several) {
        (NodeRole::Pcscf, false) => vec![Box::new(p_cscf::lab::node(lab, node, &start)?)],
        (NodeRole::Pcscf, true) => boxed(p_cscf::lab::shards(lab, node, &start)?),
        (_, false) => vec![Box::new(s_cscf::lab::node(lab, node, &start)?)],
        (_, true) => boxed(s_cscf::lab::shards(lab, node, &start)?),
    })
}

fn boxed<N: Node + Send + 'static, C: Node + Send + 'static>(shards: Shards<N, C>) -> Vec<Part> {
    let (owner, calls) = shards.into_parts();
    let owner: Part = Box::new(owner);
    std::iter::once(owner).chain(calls.into_iter().map(|it| Box::new(it) as Part)).collect()
}

/// The node with a tape at each of its engines.
fn taped(lab: &Lab, name: &'static str, tape: &Tape) -> Result<Box<dyn LabNode>, String> {
    let parts = parts_of(lab, name)?.into_iter().enumerate();
    let mut parts =
        parts.map(|(thread, part)| Taped { part, node: name, thread, tape: Arc::clone(tape) });
    let owner = parts.next().ok_or("a node has an engine")?;
    let calls: Vec<Taped> = parts.collect();
    Ok(match calls.is_empty() {
        true => Box::new(owner),
        false => Box::new(Shards::new(owner, calls, Duration::ZERO, Seed::derive(1, "shards"))),
    })
}

fn lab_of(users: usize, shards: u8) -> Result<Lab, String> {
    let source = format!(
        "domain: ims.mnc001.mcc001.3gppnetwork.org\n\
         nodes:\n  \
         p1: {{role: p-cscf, listen: 127.1.0.11:5060, shards: {shards}}}\n  \
         i1: {{role: i-cscf, listen: 127.1.0.12:4060}}\n  \
         s1: {{role: s-cscf, listen: 127.1.0.13:6060, shards: {shards}}}\n  \
         hss: {{role: hss, listen: 127.1.0.14:3868}}\n\
         subscribers:\n  \
         - range: {{imsi: 001010000100000, count: {users}, msisdn: +15550200000, \
         k: 30313233343536373839616263646566, opc: 8e27b6af0e692e750f32667a3b14605d}}\n"
    );
    let mut lab = read_lab(&source).map_err(|problems| format!("{problems:?}"))?;
    lab.reg_event_subscription = false;
    Ok(lab)
}
