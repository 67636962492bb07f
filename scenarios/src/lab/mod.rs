//! The simulated lab: all nodes in one process, virtual time, a network with seeded faults.
//!
//! The loop: take the earliest of packets in flight and nodes' deadlines; set the time; hand it in;
//! drain. Ties are broken by the order of posting and of adding nodes, so a seed replays a run byte
//! for byte.

pub mod checks;
mod esp;
mod network;

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cscf_core::engine::{FaultEdge, Input, Node, Output, Rebuild};
use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::operator::{Order, OrderError, OrderResult};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Protocol, TraceEvent, TraceKind, Wire};
use cscf_core::transport::ipsec::SaCommand;
use cscf_core::transport::{ConnId, Flow, Packet, SaId, Transport};

use esp::{Database, Load};
pub use network::NetworkOptions;
use network::{Pipe, Sending};

/// A node that the lab can look into.
pub trait LabNode: Node + Any {
    /// What it still holds, by name; all must be zero when everything has expired.
    fn remainders(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }
}

/// The simulated lab.
pub struct Lab {
    now: Instant,
    seed: u64,
    posted: u64,
    slots: Vec<Slot>,
    by_addr: BTreeMap<SocketAddr, usize>,
    /// Addresses for connections of one kind: TLS, WebSocket.
    kinds: BTreeMap<SocketAddr, Transport>,
    queue: BTreeMap<(Instant, u64), Event>,
    pipes: BTreeMap<(usize, ConnId), Pipe>,
    connections: u64,
    network: NetworkOptions,
    chance: Ids,
    trace: Vec<TraceEvent>,
    inboxes: BTreeMap<SocketAddr, Vec<Packet>>,
}

struct Slot {
    name: String,
    /// The node with its fault rules.
    edge: FaultEdge<Box<dyn LabNode>>,
    /// Whether it runs: not after a crash.
    up: bool,
    deadline: Option<Instant>,
    esp: Database,
    /// How long it works on each message.
    service_time: Duration,
    /// When it will be through with the messages that have arrived.
    free_at: Instant,
}

#[derive(Debug)]
enum Event {
    Datagram { slot: usize, flow: Flow, load: Load },
    Input { slot: usize, input: Input },
    Inbox { addr: SocketAddr, packet: Packet },
    Segment { slot: usize, flow: Flow, load: Load },
}

impl Slot {
    /// The node with its edge, while it runs.
    fn running(&mut self) -> Option<&mut FaultEdge<Box<dyn LabNode>>> {
        self.up.then_some(&mut self.edge)
    }
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab")
            .field("now", &self.now)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Lab {
    /// An empty lab at time zero.
    #[must_use]
    pub fn new(seed: u64, network: NetworkOptions) -> Self {
        Self {
            now: Instant::EPOCH,
            seed,
            posted: 0,
            slots: Vec::new(),
            by_addr: BTreeMap::new(),
            kinds: BTreeMap::new(),
            queue: BTreeMap::new(),
            pipes: BTreeMap::new(),
            connections: 0,
            network,
            chance: Ids::new(Seed::derive(seed, "network"), ShardId(0)),
            trace: Vec::new(),
            inboxes: BTreeMap::new(),
        }
    }

    /// The seed of a node of this run.
    #[must_use]
    pub fn seed_of(&self, name: &str) -> Seed {
        Seed::derive(self.seed, name)
    }

    /// Adds a node that owns these addresses.
    pub fn add(&mut self, node: Box<dyn LabNode>, addresses: &[SocketAddr]) {
        let slot = self.slots.len();
        for addr in addresses {
            self.by_addr.insert(*addr, slot);
        }
        let name = node.name().to_owned();
        let seed = Seed::derive(self.seed, &format!("faults of {name}"));
        let associations = Seed::derive(self.seed, &format!("associations of {name}"));
        self.slots.push(Slot {
            name,
            edge: FaultEdge::new(node, seed),
            up: true,
            deadline: None,
            esp: Database::new(associations),
            service_time: Duration::ZERO,
            free_at: Instant::EPOCH,
        });
        self.drain(slot);
    }

    /// Gives the node `name` these addresses as protected ports: clear text at them is dropped.
    pub fn protect(&mut self, name: &str, ports: &[SocketAddr]) {
        let Some(index) = self.slots.iter().position(|slot| slot.name == name) else { return };
        for addr in ports {
            self.by_addr.insert(*addr, index);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.esp.declare(ports);
        }
    }

    /// Gives the node `name` an address for connections of this kind only.
    pub fn listen(&mut self, name: &str, transport: Transport, addr: SocketAddr) {
        if let Some(index) = self.slots.iter().position(|slot| slot.name == name) {
            self.by_addr.insert(addr, index);
            self.kinds.insert(addr, transport);
        }
    }

    /// Has the node `name` work so long on each message; those that arrive meanwhile wait.
    pub fn slow_down(&mut self, name: &str, service_time: Duration) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.name == name) {
            slot.service_time = service_time;
        }
    }

    /// An address without a node: what is sent to it is kept in its inbox.
    pub fn add_inbox(&mut self, addr: SocketAddr) {
        self.inboxes.entry(addr).or_default();
    }

    /// The time now.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// All events so far.
    #[must_use]
    pub fn trace(&self) -> &[TraceEvent] {
        &self.trace
    }

    /// The network's faults from now on.
    pub const fn network_mut(&mut self) -> &mut NetworkOptions {
        &mut self.network
    }

    /// The names of all nodes in the order they were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.name.as_str())
    }

    /// What the nodes still hold: node, what, how many; zero counts left out.
    #[must_use]
    pub fn remainders(&self) -> Vec<(String, &'static str, usize)> {
        let mut out = Vec::new();
        for slot in &self.slots {
            if !slot.up {
                continue;
            }
            let late = ("messages held back by faults", slot.edge.held());
            let held = slot.edge.inner().remainders().into_iter().chain([late]);
            let held = held.filter(|(_, count)| *count > 0);
            out.extend(held.map(|(what, count)| (slot.name.clone(), what, count)));
        }
        out
    }

    /// Lets `act` do something to the node `name` of type `T` (a command), then performs what the
    /// node wants. `None` when there is no such node.
    pub fn with<T: LabNode, R>(
        &mut self,
        name: &str,
        act: impl FnOnce(&mut T, Instant) -> R,
    ) -> Option<R> {
        let index = self.slots.iter().position(|slot| slot.name == name)?;
        let now = self.now;
        let edge = self.slots.get_mut(index)?.running()?;
        let any: &mut dyn Any = edge.inner_mut().as_mut();
        let result = act(any.downcast_mut::<T>()?, now);
        self.drain(index);
        Some(result)
    }

    /// Gives a node an order of the operator, then performs what the node wants. A node that is not
    /// running has no part in it.
    ///
    /// # Errors
    ///
    /// The node's.
    pub fn order(&mut self, name: &str, order: &Order) -> OrderResult {
        let now = self.now;
        let index = self.slots.iter().position(|slot| slot.name == name);
        let slot = index.and_then(|index| Some((index, self.slots.get_mut(index)?.running()?)));
        let Some((index, edge)) = slot else { return Err(OrderError::NotHere) };
        let answer = edge.order(now, order);
        self.drain(index);
        answer
    }

    /// Stops the node at once: its connections are reset, its state is gone. Gives back whether
    /// there was one running.
    pub fn crash(&mut self, name: &str) -> bool {
        let Some(index) = self.slots.iter().position(|slot| slot.name == name) else {
            return false;
        };
        let Some(slot) = self.slots.get_mut(index) else { return false };
        slot.deadline = None;
        slot.esp.clear();
        let was = std::mem::take(&mut slot.up);
        slot.edge.forget_all();
        let open: Vec<ConnId> =
            self.pipes.keys().filter(|(slot, _)| *slot == index).map(|(_, conn)| *conn).collect();
        for conn in open {
            self.end_pipe(index, conn, "reset by peer");
        }
        was
    }

    /// Starts a fresh node under a name that was crashed.
    pub fn restart(&mut self, node: Box<dyn LabNode>) {
        let Some(index) = self.slots.iter().position(|slot| slot.name == node.name()) else {
            return;
        };
        let now = self.now;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.edge.replace(now, node);
            slot.up = true;
        }
        self.drain(index);
    }

    /// Who makes a fresh node in the place of `name` when a fault rule has it crash.
    pub fn set_rebuild(&mut self, name: &str, rebuild: Rebuild<Box<dyn LabNode>>) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.name == name) {
            slot.edge.set_rebuild(rebuild);
        }
    }

    /// Sends a datagram from an address that need not belong to a node.
    pub fn send_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let flow =
            Flow { transport: Transport::Udp, local: from, remote: to, conn: None, sa: None };
        let load = Load::Clear(bytes.clone());
        self.datagram(&Packet { flow, bytes, received_at: Instant::EPOCH }, "raw", &load);
    }

    /// Takes what has arrived at an inbox.
    pub fn take_inbox(&mut self, addr: SocketAddr) -> Vec<Packet> {
        self.inboxes.get_mut(&addr).map(std::mem::take).unwrap_or_default()
    }

    /// The time of the next event, if anything is due at all.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let deadline = self.slots.iter().filter_map(|slot| slot.deadline).min();
        queued.into_iter().chain(deadline).min()
    }

    /// Performs the next event. `false` when nothing is due any more.
    pub fn step(&mut self) -> bool {
        let queued = self.queue.keys().next().copied();
        let due = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| slot.deadline.map(|at| (at, index)))
            .min();
        match (queued, due) {
            (Some(key), Some((at, index))) if at < key.0 => self.wake(at, index),
            (Some(key), _) => self.deliver(key),
            (None, Some((at, index))) => self.wake(at, index),
            (None, None) => return false,
        }
        true
    }

    /// Runs until `end`, or until nothing is due; the time is `end` afterwards.
    pub fn run_until(&mut self, end: Instant) {
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn wake(&mut self, at: Instant, index: usize) {
        self.now = self.now.max(at);
        self.input(index, Input::Timeout);
    }

    fn deliver(&mut self, key: (Instant, u64)) {
        let Some(event) = self.queue.remove(&key) else { return };
        self.now = self.now.max(key.0);
        match event {
            Event::Datagram { slot, flow, load } => {
                if let Some((sa, bytes)) = self.accepted(slot, &flow, &load) {
                    let flow = Flow { sa, ..flow };
                    let packet = Packet { flow, bytes, received_at: self.now };
                    self.serve(slot, Input::Datagram(packet));
                }
            }
            Event::Segment { slot, flow, load } => {
                if let (Some((_, bytes)), Some(conn)) =
                    (self.accepted(slot, &flow, &load), flow.conn)
                {
                    let received_at = self.now;
                    self.serve(slot, Input::Bytes { conn, bytes, received_at });
                }
            }
            Event::Input { slot, input } => self.input(slot, input),
            Event::Inbox { addr, packet } => {
                if let Some(inbox) = self.inboxes.get_mut(&addr) {
                    inbox.push(packet);
                }
            }
        }
    }

    /// Hands a message to a node when it has worked through those before.
    fn serve(&mut self, index: usize, input: Input) {
        let now = self.now;
        match self.slots.get_mut(index) {
            Some(slot) if slot.service_time > Duration::ZERO => {
                let done_at = slot.free_at.max(now) + slot.service_time;
                slot.free_at = done_at;
                self.post(done_at, Event::Input { slot: index, input });
            }
            _ => self.input(index, input),
        }
    }

    fn input(&mut self, index: usize, input: Input) {
        let now = self.now;
        if let Some(edge) = self.slots.get_mut(index).and_then(Slot::running) {
            edge.handle_input(now, input);
        }
        self.drain(index);
    }

    fn drain(&mut self, index: usize) {
        loop {
            let Some(edge) = self.slots.get_mut(index).and_then(Slot::running) else { return };
            let Some(output) = edge.poll_output() else { break };
            self.output(index, output);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.deadline = slot.edge.poll_timeout();
        }
    }

    fn output(&mut self, index: usize, output: Output) {
        match output {
            Output::Close(conn) => self.end_pipe(index, conn, "closed by peer"),
            Output::Connect { conn, transport, local, remote, sa } => {
                let flow = Flow { transport, local, remote, conn: Some(conn), sa };
                self.connect(index, flow);
            }
            Output::Datagram(packet) => {
                let name = self.slots.get(index).map_or("", |slot| slot.name.as_str()).to_owned();
                if let Some(load) = self.protected(index, &packet.flow, &packet.bytes) {
                    self.datagram(&packet, &name, &load);
                }
            }
            Output::Security(command) => self.secure(index, command),
            Output::Trace(event) => self.trace.push(event),
            Output::Write { conn, bytes } => self.write(index, conn, &bytes),
            // Questions are answered inside the node that asks, and its engines joined in it.
            Output::Ask(..) | Output::DemandAnswer(..) | Output::Shard(..) => {}
        }
    }

    fn post(&mut self, at: Instant, event: Event) {
        self.posted += 1;
        self.queue.insert((at, self.posted), event);
    }

    fn secure(&mut self, index: usize, command: SaCommand) {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(index) else { return };
        match command {
            SaCommand::Install(set) => slot.esp.install(now, *set),
            SaCommand::Remove(id) => slot.esp.remove(now, id),
        }
    }

    /// What goes over the wire for a packet that a node sends; `None` when it does not leave.
    fn protected(&mut self, index: usize, flow: &Flow, bytes: &Bytes) -> Option<Load> {
        let now = self.now;
        match self.slots.get_mut(index)?.esp.protect(now, flow, bytes) {
            Ok(load) => Some(load),
            Err(reason) => {
                self.dropped(index, flow.remote, reason);
                None
            }
        }
    }

    /// The associations under which a packet arrives at a node, and its bytes; `None` when it is
    /// dropped.
    fn accepted(
        &mut self,
        index: usize,
        flow: &Flow,
        load: &Load,
    ) -> Option<(Option<SaId>, Bytes)> {
        let now = self.now;
        match self.slots.get_mut(index)?.esp.accept(now, flow.local, load) {
            Ok(accepted) => Some(accepted),
            Err(reason) => {
                self.dropped(index, flow.remote, reason);
                None
            }
        }
    }

    fn dropped(&mut self, index: usize, remote: SocketAddr, reason: String) {
        let Some(slot) = self.slots.get(index) else { return };
        let (at, node) = (self.now, Arc::from(slot.name.as_str()));
        self.trace.push(TraceEvent { at, node, kind: TraceKind::Dropped { remote, reason } });
    }

    /// The node that packets to this address are for.
    fn owner(&self, addr: SocketAddr) -> Option<usize> {
        let owned = self.by_addr.get(&addr).copied();
        owned.or_else(|| self.slots.iter().position(|slot| slot.esp.owns(addr)))
    }

    fn datagram(&mut self, packet: &Packet, sender: &str, load: &Load) {
        let Flow { local, remote, .. } = packet.flow;
        let sending = self.network.datagram(&mut self.chance, packet.bytes.len());
        let wire = || Wire {
            protocol: Protocol::Sip,
            transport: Transport::Udp,
            local,
            remote,
            bytes: packet.bytes.clone(),
        };
        let Sending { arrivals, action } = sending;
        if let Some(action) = action {
            let kind = TraceKind::Fault { action, wire: wire() };
            self.trace.push(TraceEvent { at: self.now, node: Arc::from(sender), kind });
        }
        for delay in arrivals {
            let at = self.now + delay;
            let flow = Flow { local: remote, remote: local, ..packet.flow };
            match self.owner(remote) {
                _ if self.inboxes.contains_key(&remote) => {
                    let packet = Packet { flow, bytes: packet.bytes.clone(), received_at: at };
                    self.post(at, Event::Inbox { addr: remote, packet });
                }
                Some(slot) if self.is_up(slot) => {
                    self.post(at, Event::Datagram { slot, flow, load: load.clone() });
                }
                // Nobody listens there: an ICMP port unreachable comes back.
                Some(_) | None => {
                    if let Some(slot) = self.owner(local) {
                        let cause = "port unreachable".to_owned();
                        let input = Input::Unreachable { local, remote, cause };
                        self.post(at + delay, Event::Input { slot, input });
                    }
                }
            }
        }
    }

    fn is_up(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.up && !slot.edge.is_down())
    }

    fn connect(&mut self, index: usize, flow: Flow) {
        let Some(conn) = flow.conn else { return };
        let delay = self.network.segment(&mut self.chance);
        let at = self.now + delay + delay;
        if let Some(kind) = self.kinds.get(&flow.remote).filter(|kind| **kind != flow.transport) {
            let cause = format!("no {} there but {kind}", flow.transport);
            return self
                .post(at, Event::Input { slot: index, input: Input::Closed { conn, cause } });
        }
        let Some(load) = self.protected(index, &flow, &Bytes::new()) else { return };
        let listener = self.owner(flow.remote).filter(|slot| self.is_up(*slot));
        let Some(peer) = listener else {
            let input = Input::Closed { conn, cause: "refused".to_owned() };
            return self.post(at, Event::Input { slot: index, input });
        };
        // Nobody answers a SYN that is dropped.
        let there = Flow { local: flow.remote, remote: flow.local, ..flow };
        let Some((sa, _)) = self.accepted(peer, &there, &load) else { return };
        self.connections += 1;
        let theirs = ConnId::accepted(self.connections);
        let reverse = Flow { conn: Some(theirs), sa, ..there };
        self.pipes.insert((index, conn), Pipe::new(peer, flow, reverse, at));
        self.pipes.insert((peer, theirs), Pipe::new(index, reverse, flow, at));
        self.post(at, Event::Input { slot: peer, input: Input::Opened(reverse) });
        self.post(at, Event::Input { slot: index, input: Input::Opened(flow) });
    }

    fn write(&mut self, index: usize, conn: ConnId, bytes: &Bytes) {
        let delay = self.network.segment(&mut self.chance);
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(&(index, conn)) else { return };
        let (slot, ours, flow) = (pipe.peer, pipe.flow, pipe.reverse);
        // A stream keeps its order: nothing arrives before what was sent earlier.
        let at = (now + delay).max(pipe.last_at);
        pipe.last_at = at;
        let pieces = match ours.transport.keeps_messages() {
            true => vec![bytes.clone()],
            false => self.network.cut(&mut self.chance, bytes),
        };
        for piece in pieces {
            // Each segment is a packet of its own.
            let Some(load) = self.protected(index, &ours, &piece) else { break };
            self.post(at, Event::Segment { slot, flow, load });
        }
        if self.network.resets(&mut self.chance) {
            let cause = "reset by the network".to_owned();
            self.post(now, Event::Input { slot: index, input: Input::Closed { conn, cause } });
            self.end_pipe(index, conn, "reset by the network");
        }
    }

    /// Takes both ends of a pipe away and tells the peer, behind what is still on its way.
    fn end_pipe(&mut self, index: usize, conn: ConnId, cause: &str) {
        let Some(pipe) = self.pipes.remove(&(index, conn)) else { return };
        let (slot, Some(theirs)) = (pipe.peer, pipe.reverse.conn) else { return };
        self.pipes.remove(&(slot, theirs));
        let at = pipe.last_at.max(self.now);
        let input = Input::Closed { conn: theirs, cause: cause.to_owned() };
        self.post(at, Event::Input { slot, input });
    }
}
