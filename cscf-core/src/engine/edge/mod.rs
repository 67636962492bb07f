//! The edge of a node: the one place where fault rules are applied, between the bytes of the world
//! and a node that knows nothing of it. Simulated lab and live host drive it like any other node.
//!
//! Without rules everything goes through untouched. With rules the edge cuts streams into whole
//! messages, asks the [`Table`] about each, and does what it says; what is held back waits here.
//!
//! **On a stream** a message that is late makes all behind it late, and one that is lost, copied,
//! changed or overtaken is so as a whole: the stream stays one of whole messages. A datagram is on
//! its own. A changed message that no datagram (65,507 bytes) or no peer would take stays as it is.

mod apply;
mod crash;
mod orders;

pub(super) use orders::{listed, removed};

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::{Input, Node, Output, one_by_one};
use crate::fault::{Cutter, Direction, Table};
use crate::hss::{Provisioning, StateFault};
use crate::ids::Seed;
use crate::operator::{Order, OrderResult};
use crate::time::Instant;
use crate::trace::{Protocol, Refusals, TraceEvent, TraceKind, Wire};
use crate::transport::ipsec::{SaCommand, SaSet};
use crate::transport::{ConnId, Flow, Packet, SaId};

/// Makes a fresh node in the place of one that crashed.
pub type Rebuild<N> = Box<dyn FnMut(Instant) -> Option<N>>;

/// A node with its fault rules.
pub struct FaultEdge<N: Node> {
    node: N,
    name: Arc<str>,
    table: Table,
    outputs: VecDeque<Output>,
    now: Instant,
    held: BTreeMap<(Instant, u64), Held>,
    held_count: u64,
    held_bytes: usize,
    flows: BTreeMap<ConnId, Flow>,
    cutters: BTreeMap<ConnId, Cutter>,
    sets: BTreeMap<SaId, SaSet>,
    /// The transactions of INVITEs that a rule has refused: their ACKs are for the rule.
    refused: VecDeque<String>,
    refusals: Refusals,
    /// What the node says it sends, until it does.
    sent: Option<TraceEvent>,
    rebuild: Option<Rebuild<N>>,
    /// What subscriptions have become since the lab file: a database outlives a crash.
    provisioned: Vec<Provisioning>,
    /// A rule has stopped the node, until this time if it names one.
    down: Option<Option<Instant>>,
}

impl<N: Node> std::fmt::Debug for FaultEdge<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultEdge")
            .field("name", &self.name)
            .field("table", &self.table)
            .field("down", &self.down)
            .finish_non_exhaustive()
    }
}

/// A message on its way through the edge.
#[derive(Clone, Debug)]
struct Moving {
    direction: Direction,
    flow: Flow,
    bytes: Bytes,
    received_at: Instant,
    /// What the node said of sending it, where somebody reads the trace.
    sent: Option<TraceEvent>,
}

/// A message that is held back.
#[derive(Debug)]
struct Held {
    moving: Moving,
    /// It waits for the next one to go before it.
    overtaken: bool,
}

impl<N: Node> FaultEdge<N> {
    /// The edge of a node; chance of its rules comes from `seed`.
    #[must_use]
    pub fn new(node: N, seed: Seed) -> Self {
        let name: Arc<str> = node.name().into();
        let table = Table::new(&name, seed);
        Self {
            node,
            name,
            table,
            outputs: VecDeque::new(),
            now: Instant::EPOCH,
            held: BTreeMap::new(),
            held_count: 0,
            held_bytes: 0,
            flows: BTreeMap::new(),
            cutters: BTreeMap::new(),
            sets: BTreeMap::new(),
            refused: VecDeque::new(),
            refusals: Refusals::default(),
            sent: None,
            rebuild: None,
            provisioned: Vec::new(),
            down: None,
        }
    }

    /// Who makes a fresh node after a crash.
    pub fn set_rebuild(&mut self, rebuild: Rebuild<N>) {
        self.rebuild = Some(rebuild);
    }

    /// The node.
    pub const fn inner(&self) -> &N {
        &self.node
    }

    /// The node, to be given a command. The drain rule holds for the edge then.
    pub const fn inner_mut(&mut self) -> &mut N {
        &mut self.node
    }

    /// Whether a rule has stopped the node.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// Messages that are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Puts another node in the place of this one, which has ended: the rules stay, with their
    /// counts.
    pub fn replace(&mut self, now: Instant, node: N) {
        self.forget_all();
        self.now = now;
        self.node = node;
        self.down = None;
    }

    /// The node has ended with everything that was on its way.
    pub fn forget_all(&mut self) {
        self.outputs.clear();
        self.held.clear();
        self.held_bytes = 0;
        self.flows.clear();
        self.cutters.clear();
        self.sets.clear();
        self.refused.clear();
        self.sent = None;
    }

    /// Keeps in mind which connections and security associations there are.
    fn track(&mut self, output: &Output) {
        match output {
            Output::Close(conn) => self.untrack(*conn),
            Output::Connect { conn, transport, local, remote, sa } => {
                let flow = Flow {
                    transport: *transport,
                    local: *local,
                    remote: *remote,
                    conn: Some(*conn),
                    sa: *sa,
                };
                self.flows.insert(*conn, flow);
            }
            Output::Security(SaCommand::Install(set)) => {
                self.sets.insert(set.id, (**set).clone());
            }
            Output::Security(SaCommand::Remove(id)) => {
                self.sets.remove(id);
            }
            _ => {}
        }
    }

    fn untrack(&mut self, conn: ConnId) {
        self.flows.remove(&conn);
        self.cutters.remove(&conn);
        let gone = |held: &Held| held.moving.flow.conn == Some(conn);
        if self.held.values().any(gone) {
            self.held.retain(|_, held| !gone(held));
            self.held_bytes = self.held.values().map(|held| held.moving.bytes.len()).sum();
        }
    }

    fn on_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Datagram(Packet { flow, bytes, received_at }) if !self.is_idle() => {
                let direction = Direction::Received;
                self.take(Moving { direction, flow, bytes, received_at, sent: None });
            }
            Input::Bytes { conn, bytes, received_at } if !self.is_idle() => {
                self.on_bytes(conn, bytes, received_at);
            }
            Input::Opened(flow) => {
                if let Some(conn) = flow.conn {
                    self.flows.entry(conn).or_insert(flow);
                    // From its first byte on it is known where messages begin.
                    if !self.table.is_empty() {
                        self.cutters.entry(conn).or_default();
                    }
                }
                self.node.handle_input(now, Input::Opened(flow));
            }
            Input::Closed { conn, cause } => {
                self.untrack(conn);
                self.node.handle_input(now, Input::Closed { conn, cause });
            }
            other => self.node.handle_input(now, other),
        }
    }

    /// Whether everything goes through untouched.
    fn is_idle(&self) -> bool {
        self.table.is_empty() && self.held.is_empty() && self.cutters.is_empty()
    }

    fn on_bytes(&mut self, conn: ConnId, bytes: Bytes, received_at: Instant) {
        let flow = self.flows.get(&conn).copied();
        let cuts = flow.is_some_and(|flow| !flow.transport.keeps_messages());
        if cuts && !self.table.is_empty() && Cutter::begins(&bytes) {
            self.cutters.entry(conn).or_default();
        }
        if let Some(flow) = flow.filter(|flow| flow.transport.keeps_messages()) {
            let direction = Direction::Received;
            return self.take(Moving { direction, flow, bytes, received_at, sent: None });
        }
        let (Some(flow), Some(cutter)) = (flow, self.cutters.get_mut(&conn)) else {
            return self.node.handle_input(self.now, Input::Bytes { conn, bytes, received_at });
        };
        let moving =
            |bytes| Moving { direction: Direction::Received, flow, bytes, received_at, sent: None };
        cutter.push(&bytes);
        while let Some(piece) = self.cutters.get_mut(&conn).and_then(Cutter::next_piece) {
            self.take(moving(piece));
        }
        if self.table.is_empty() {
            let rest = self.cutters.remove(&conn).and_then(|mut cutter| cutter.rest());
            if let Some(rest) = rest {
                self.pass(moving(rest));
            }
        }
    }

    /// Looks at what the node wants; gives it if it is to go on as it is.
    fn on_output(&mut self, output: Output) -> Option<Output> {
        self.track(&output);
        if self.is_idle() && self.sent.is_none() {
            return Some(output);
        }
        match output {
            Output::Trace(event) if matches!(event.kind, TraceKind::Sent(_)) => {
                let before = self.sent.replace(event);
                self.outputs.extend(before.map(Output::Trace));
            }
            Output::Datagram(Packet { flow, bytes, received_at }) => {
                self.leaves(flow, bytes, received_at);
            }
            Output::Write { conn, bytes } => match self.flows.get(&conn).copied() {
                Some(flow) => self.leaves(Flow { conn: Some(conn), ..flow }, bytes, self.now),
                None => self.outputs.push_back(Output::Write { conn, bytes }),
            },
            other => {
                self.outputs.extend(self.sent.take().map(Output::Trace));
                self.outputs.push_back(other);
            }
        }
        None
    }

    fn leaves(&mut self, flow: Flow, bytes: Bytes, received_at: Instant) {
        let is_of = |event: &mut TraceEvent| match &event.kind {
            TraceKind::Sent(wire) => wire.bytes == bytes,
            _ => false,
        };
        let sent = self.sent.take_if(is_of);
        self.outputs.extend(self.sent.take().map(Output::Trace));
        self.take(Moving { direction: Direction::Sent, flow, bytes, received_at, sent });
    }

    /// Does what has come due.
    fn wake(&mut self) {
        for (on, hit) in self.table.turned(self.now) {
            self.turn(on, &hit);
        }
        while let Some(entry) = self.held.first_entry()
            && entry.key().0 <= self.now
        {
            let held = entry.remove();
            self.held_bytes = self.held_bytes.saturating_sub(held.moving.bytes.len());
            self.go_on(held.moving);
        }
    }

    fn trace(&mut self, kind: TraceKind) {
        let event = TraceEvent { at: self.now, node: Arc::clone(&self.name), kind };
        self.outputs.push_back(Output::Trace(event));
    }
}

impl Moving {
    fn wire(&self) -> Wire {
        let protocol =
            if self.bytes.first() == Some(&1) { Protocol::Diameter } else { Protocol::Sip };
        let Flow { transport, local, remote, .. } = self.flow;
        Wire { protocol, transport, local, remote, bytes: self.bytes.clone() }
    }
}

impl<N: Node> Node for FaultEdge<N> {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        if self.down.is_some() && !self.restarts() {
            return self.while_down(&input);
        }
        self.wake();
        self.on_input(now, input);
    }

    fn handle_datagrams(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        if self.down.is_none() && self.is_idle() {
            self.now = self.now.max(now);
            return self.node.handle_datagrams(now, packets);
        }
        one_by_one(self, now, packets);
    }

    fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if self.down.is_some() {
                while self.node.poll_output().is_some() {}
                return None;
            }
            match self.node.poll_output() {
                None => return self.sent.take().map(Output::Trace),
                Some(output) => {
                    if let Some(output) = self.on_output(output) {
                        return Some(output);
                    }
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if let Some(until) = self.down {
            return until;
        }
        let held = self.held.keys().next().map(|(at, _)| *at);
        [self.node.poll_timeout(), held, self.table.turns_at()].into_iter().flatten().min()
    }

    fn shut_down(&mut self, now: Instant) {
        self.node.shut_down(now);
    }

    fn is_unkept(&self) -> bool {
        self.node.is_unkept()
    }

    fn kept(&mut self) -> String {
        self.node.kept()
    }

    fn restore(&mut self, now: Instant, kept: &str) -> Result<(), StateFault> {
        self.node.restore(now, kept)
    }

    fn order(&mut self, now: Instant, order: &Order) -> OrderResult {
        self.now = self.now.max(now);
        self.obey(order)
    }

    fn provision(&mut self, now: Instant, what: Provisioning) -> OrderResult {
        self.now = self.now.max(now);
        if self.down.is_some() {
            return Err(orders::is_down());
        }
        let done = self.node.provision(now, what.clone());
        if done.is_ok() && self.rebuild.is_some() {
            self.keep_in_mind(what);
        }
        done
    }
}
