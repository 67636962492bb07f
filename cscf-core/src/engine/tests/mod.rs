//! Engines with tiny roles, joined by a network of thirty lines.

mod basics;
mod calls;
mod cx;
mod names;
mod paths;
mod refusals;
mod roles;
mod storms;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;

use super::{Input, Listen, Node, Output, Settings};
use crate::cx::AskId;
use crate::role::Question;
use crate::time::{Duration, Instant};
use crate::trace::{TraceEvent, TraceKind};
use crate::transport::{ConnId, Flow, Packet, Transport};

/// The address of a node: `127.0.0.<n>:5060`.
pub(super) fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, n], 5060))
}

/// Settings of a node on UDP and TCP that knows `n1` … `n9` by name.
pub(super) fn settings(n: u8) -> Settings {
    let mut settings = Settings::new(Listen::both(addr(n)));
    settings.own_hosts = vec![format!("n{n}.example")];
    for other in 1..=9 {
        settings.hosts.add_addr(&format!("n{other}.example"), addr(other));
    }
    settings.tracing = true;
    settings
}

/// What a peer outside an engine got, and how.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) flow: Flow,
    pub(super) text: String,
}

/// The network: nodes by address, everything in order of time, one millisecond a hop.
pub(super) struct Net<'a> {
    pub(super) now: Instant,
    nodes: BTreeMap<SocketAddr, &'a mut dyn Node>,
    queue: VecDeque<(Instant, SocketAddr, Input)>,
    /// For connections: the other end's address and number.
    ends: BTreeMap<(SocketAddr, ConnId), (SocketAddr, ConnId)>,
    accepted: u64,
    /// Addresses that refuse TCP.
    pub(super) no_tcp: Vec<SocketAddr>,
    /// Addresses where nothing is.
    pub(super) unreachable: Vec<SocketAddr>,
    /// What went to addresses without a node.
    pub(super) got: Vec<Got>,
    pub(super) trace: Vec<TraceEvent>,
    /// What nodes asked the outside.
    pub(super) asked: Vec<(AskId, Question)>,
}

impl<'a> Net<'a> {
    pub(super) fn new(nodes: Vec<(u8, &'a mut dyn Node)>) -> Self {
        let nodes = nodes.into_iter().map(|(n, node)| (addr(n), node)).collect();
        Self {
            now: Instant::from_secs(1),
            nodes,
            queue: VecDeque::new(),
            ends: BTreeMap::new(),
            accepted: 0,
            no_tcp: Vec::new(),
            unreachable: Vec::new(),
            got: Vec::new(),
            trace: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// A datagram from `from` to node `to`.
    pub(super) fn datagram(&mut self, from: SocketAddr, to: u8, text: &str) {
        let bytes = Bytes::from(text.to_owned());
        let flow = flow(Transport::Udp, addr(to), from, None);
        let packet = Packet { flow, bytes, received_at: self.now };
        self.input(addr(to), Input::Datagram(packet));
    }

    pub(super) fn input(&mut self, to: SocketAddr, input: Input) {
        if let Some(node) = self.nodes.get_mut(&to) {
            node.handle_input(self.now, input);
        }
        self.drain(to);
    }

    /// Takes a node's outputs and puts them on their way.
    pub(super) fn drain(&mut self, at: SocketAddr) {
        let later = self.now + Duration::from_millis(1);
        while let Some(output) = self.nodes.get_mut(&at).and_then(|node| node.poll_output()) {
            match output {
                Output::Trace(event) => self.trace.push(event),
                Output::Datagram(Packet { flow: sent, bytes, .. }) => {
                    let to = sent.remote;
                    if self.unreachable.contains(&to) {
                        let cause = "icmp".to_owned();
                        let (local, remote) = (sent.local, to);
                        let input = Input::Unreachable { local, remote, cause };
                        self.queue.push_back((later, at, input));
                    } else if self.nodes.contains_key(&to) {
                        let flow = flow(Transport::Udp, to, sent.local, None);
                        let packet = Packet { flow, bytes, received_at: later };
                        self.queue.push_back((later, to, Input::Datagram(packet)));
                    } else {
                        self.keep(sent, &bytes);
                    }
                }
                Output::Connect { conn, transport, local, remote, .. } => {
                    if self.no_tcp.contains(&remote) || !self.nodes.contains_key(&remote) {
                        let cause = "refused".to_owned();
                        self.queue.push_back((later, at, Input::Closed { conn, cause }));
                        continue;
                    }
                    self.accepted += 1;
                    let theirs = ConnId::accepted(self.accepted);
                    self.ends.insert((at, conn), (remote, theirs));
                    self.ends.insert((remote, theirs), (at, conn));
                    let here = Input::Opened(flow(transport, local, remote, Some(conn)));
                    let there = Input::Opened(flow(transport, remote, local, Some(theirs)));
                    self.queue.push_back((later, remote, there));
                    self.queue.push_back((later, at, here));
                }
                Output::Write { conn, bytes } => match self.ends.get(&(at, conn)) {
                    Some((to, conn)) => {
                        self.queue.push_back((
                            later,
                            *to,
                            Input::Bytes { conn: *conn, bytes, received_at: later },
                        ));
                    }
                    None => {
                        let flow = flow(Transport::Tcp, at, at, Some(conn));
                        self.keep(flow, &bytes);
                    }
                },
                Output::Close(conn) => self.reset(at, conn),
                Output::Ask(ask, question) => self.asked.push((ask, question)),
                Output::DemandAnswer(..) | Output::Security(_) | Output::Shard(..) => {}
            }
        }
    }

    /// Ends a connection of `at`, as both sides see it.
    pub(super) fn reset(&mut self, at: SocketAddr, conn: ConnId) {
        if let Some((to, theirs)) = self.ends.remove(&(at, conn)) {
            self.ends.remove(&(to, theirs));
            let cause = "reset".to_owned();
            self.queue.push_back((self.now, to, Input::Closed { conn: theirs, cause }));
        }
    }

    fn keep(&mut self, flow: Flow, bytes: &Bytes) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.got.push(Got { flow, text });
    }

    /// Lets time pass.
    pub(super) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let packet = self.queue.iter().map(|(at, ..)| *at).min();
            let timer = self
                .nodes
                .iter()
                .filter_map(|(addr, node)| node.poll_timeout().map(|at| (at, *addr)))
                .min();
            match (packet, timer) {
                (Some(at), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                    let first = self.queue.iter().position(|(other, ..)| *other == at);
                    let (_, to, input) =
                        first.and_then(|first| self.queue.remove(first)).expect("there");
                    self.now = self.now.max(at);
                    self.input(to, input);
                }
                (_, Some((at, node))) if at <= end => {
                    self.now = self.now.max(at);
                    self.input(node, Input::Timeout);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    pub(super) fn run_ms(&mut self, millis: u64) {
        self.run_for(Duration::from_millis(millis));
    }

    /// First lines of what left a node, with the transport: `UDP INVITE`, `TCP 200`.
    pub(super) fn sent(&self, node: &str) -> Vec<String> {
        let sent = |event: &TraceEvent| match &event.kind {
            TraceKind::Sent(wire) if &*event.node == node => {
                Some(format!("{} {}", wire.transport, subject(&wire.bytes)))
            }
            _ => None,
        };
        self.trace.iter().filter_map(sent).collect()
    }

    /// The messages that left a node.
    pub(super) fn sent_bytes(&self, node: &str) -> Vec<(Instant, Bytes)> {
        let sent = |event: &TraceEvent| match &event.kind {
            TraceKind::Sent(wire) if &*event.node == node => Some((event.at, wire.bytes.clone())),
            _ => None,
        };
        self.trace.iter().filter_map(sent).collect()
    }

    /// The notes of a node.
    pub(super) fn notes(&self, node: &str) -> Vec<String> {
        let note = |event: &TraceEvent| match &event.kind {
            TraceKind::Note(note) if &*event.node == node => {
                Some(format!("{}: {}", note.clause, note.text))
            }
            _ => None,
        };
        self.trace.iter().filter_map(note).collect()
    }

    /// Why things were dropped at a node.
    pub(super) fn dropped(&self, node: &str) -> Vec<String> {
        let dropped = |event: &TraceEvent| match &event.kind {
            TraceKind::Dropped { reason, .. } if &*event.node == node => Some(reason.clone()),
            _ => None,
        };
        self.trace.iter().filter_map(dropped).collect()
    }
}

pub(super) const fn flow(
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
    conn: Option<ConnId>,
) -> Flow {
    Flow { transport, local, remote, conn, sa: None }
}

/// Method, or status.
pub(super) fn subject(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut words = text.split([' ', '\r']);
    match words.next() {
        Some("SIP/2.0") => words.next().unwrap_or_default().to_owned(),
        first => first.unwrap_or_default().to_owned(),
    }
}

/// The value of a header line in a message's text.
pub(super) fn header<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}
