//! Everything that leaves, and the connections it leaves by: a bounded table, bounded queues, reuse
//! (RFC 3261 §18.1.1, §18.2.2), and the trace in the order things happened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::Output;
use super::counts::Counts;
use super::settings::{Counters, EngineLimits, Settings};
use super::shard::{ShardEvent, connection_owner, first_connection};
use crate::sip::Framer;
use crate::time::Instant;
use crate::trace::{Note, Protocol, Refusals, TraceEvent, TraceKind, Wire};
use crate::transport::{ConnId, Flow, Packet, SaId, Transport};

/// Why a message did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SendFault {
    #[error("no address of ours reaches it")]
    NoAddress,
    #[error("its security associations are gone")]
    NoAssociation,
    #[error("the connection is gone")]
    NoConnection,
    #[error("the connection table is full")]
    TableFull,
    #[error("the write queue of the connection is full")]
    QueueFull,
}

/// A connection of the table.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) flow: Flow,
    pub(super) framer: Framer,
    pub(super) open: bool,
    /// Messages that wait for the connection to open.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// When something last came or went.
    pub(super) used_at: Instant,
    /// Since when a message (or the first one) is awaited whole.
    pub(super) partial_since: Option<Instant>,
    /// Until when the answer to our ping is waited for.
    pub(super) pong_by: Option<Instant>,
}

type PeerKey = (Transport, SocketAddr, SocketAddr, Option<SaId>);

/// The way out of an engine.
#[derive(Debug)]
pub(super) struct Outlet {
    name: Arc<str>,
    pub(super) tracing: bool,
    outputs: VecDeque<Output>,
    refusals: Refusals,
    connections: BTreeMap<ConnId, Connection>,
    /// The connection to use towards a peer, by transport, own and peer's address, and protection.
    by_peer: BTreeMap<PeerKey, ConnId>,
    /// Connections closed to keep the bound, until their end is told.
    shed: Vec<Flow>,
    /// Open connections of the other engines of the node.
    others: BTreeSet<ConnId>,
    opened: u64,
    limits: EngineLimits,
    pub(super) counters: Counters,
    pub(super) counts: Counts,
}

impl Outlet {
    pub(super) fn new(name: &str, settings: &Settings) -> Self {
        Self {
            name: name.into(),
            tracing: settings.tracing,
            outputs: VecDeque::new(),
            refusals: Refusals::default(),
            connections: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            shed: Vec::new(),
            others: BTreeSet::new(),
            opened: first_connection(settings.shard.id),
            limits: settings.limits,
            counters: Counters::default(),
            counts: Counts::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn trace(&mut self, at: Instant, kind: impl FnOnce() -> TraceKind) {
        if self.tracing {
            let node = Arc::clone(&self.name);
            self.outputs.push_back(Output::Trace(TraceEvent { at, node, kind: kind() }));
        }
    }

    /// Tells a decision; refusals are kept whether or not anybody reads the trace.
    pub(super) fn note(&mut self, at: Instant, note: Note) {
        self.note_about(at, "", note);
    }

    /// As [`Self::note`], about whoever sent what was refused.
    pub(super) fn note_about(&mut self, at: Instant, about: &str, note: Note) {
        self.refusals.keep(at, about, &note);
        self.trace(at, || TraceKind::Note(note));
    }

    pub(super) const fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    pub(super) fn dropped(&mut self, at: Instant, remote: SocketAddr, reason: &str) {
        self.counters.dropped += 1;
        self.trace(at, || TraceKind::Dropped { remote, reason: reason.to_owned() });
    }

    pub(super) fn received(&mut self, at: Instant, flow: &Flow, bytes: &Bytes) {
        self.trace(at, || TraceKind::Received(wire(flow, bytes)));
    }

    /// Sends a message along a flow: on its connection (waiting for it if it is being opened), or
    /// as a datagram.
    pub(super) fn send(
        &mut self,
        now: Instant,
        flow: &Flow,
        bytes: &Bytes,
    ) -> Result<(), SendFault> {
        let Some(conn) = flow.conn else {
            self.left(now, flow, bytes);
            let packet = Packet { flow: *flow, bytes: bytes.clone(), received_at: Instant::EPOCH };
            self.push(Output::Datagram(packet));
            return Ok(());
        };
        let queue_max = self.limits.write_queue_bytes_max;
        if self.others.contains(&conn) {
            self.left(now, flow, bytes);
            let (flow, bytes) = (*flow, bytes.clone());
            self.push(Output::Shard(connection_owner(conn), ShardEvent::Write { flow, bytes }));
            return Ok(());
        }
        let connection = self.connections.get_mut(&conn).ok_or(SendFault::NoConnection)?;
        connection.used_at = now;
        if connection.open {
            self.write(now, conn, flow, bytes.clone());
        } else {
            if connection.waiting_bytes + bytes.len() > queue_max {
                return Err(SendFault::QueueFull);
            }
            connection.waiting_bytes += bytes.len();
            connection.waiting.push_back(bytes.clone());
        }
        Ok(())
    }

    fn write(&mut self, now: Instant, conn: ConnId, flow: &Flow, bytes: Bytes) {
        self.left(now, flow, &bytes);
        self.push(Output::Write { conn, bytes });
    }

    fn left(&mut self, now: Instant, flow: &Flow, bytes: &Bytes) {
        self.counters.messages_out += 1;
        self.counts.left(bytes);
        self.trace(now, || TraceKind::Sent(wire(flow, bytes)));
    }

    /// A connection of another engine of the node is up, or has ended.
    pub(super) fn note_other(&mut self, conn: ConnId, open: bool) {
        if open {
            self.others.insert(conn);
        } else {
            self.others.remove(&conn);
        }
    }

    /// Whether a message can leave by this connection.
    pub(super) fn reaches(&self, conn: ConnId) -> bool {
        self.connections.contains_key(&conn) || self.others.contains(&conn)
    }

    /// Writes what another engine sends on a connection of this one; says whether there is one.
    pub(super) fn write_for_other(&mut self, now: Instant, conn: ConnId, bytes: &Bytes) -> bool {
        let Some(connection) = self.connections.get_mut(&conn).filter(|it| it.open) else {
            return false;
        };
        connection.used_at = now;
        self.push(Output::Write { conn, bytes: bytes.clone() });
        true
    }

    /// The flow of a connection to this peer: the one there is, else a new one that is asked for.
    /// Says whether it is new.
    pub(super) fn connect(&mut self, now: Instant, to: Flow) -> Result<(Flow, bool), SendFault> {
        if let Some(connection) = self.to_peer(&to) {
            return Ok((connection.flow, false));
        }
        self.make_room(now)?;
        self.opened += 1;
        let conn = ConnId::opened(self.opened);
        let flow = Flow { conn: Some(conn), ..to };
        self.insert(now, flow, false);
        let Flow { transport, local, remote, sa, .. } = flow;
        self.push(Output::Connect { conn, transport, local, remote, sa });
        Ok((flow, true))
    }

    /// The connection towards this peer, opened by either side.
    fn to_peer(&self, to: &Flow) -> Option<&Connection> {
        self.by_peer.get(&peer_key(to)).and_then(|conn| self.connections.get(conn))
    }

    /// The connections under these security associations.
    pub(super) fn protected_by(&self, sa: SaId) -> Vec<ConnId> {
        let under = self.connections.iter().filter(|(_, it)| it.flow.sa == Some(sa));
        under.map(|(conn, _)| *conn).collect()
    }

    fn insert(&mut self, now: Instant, flow: Flow, open: bool) {
        let Some(conn) = flow.conn else { return };
        self.counters.connections += 1;
        self.by_peer.insert(peer_key(&flow), conn);
        let connection = Connection {
            flow,
            framer: Framer::new(),
            open,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            used_at: now,
            partial_since: open.then_some(now),
            pong_by: None,
        };
        self.connections.insert(conn, connection);
    }

    /// Makes room for one connection: at the limit the open one that was silent longest goes.
    /// Its end is to be told by [`Self::take_shed`].
    fn make_room(&mut self, now: Instant) -> Result<(), SendFault> {
        if self.connections.len() < self.limits.connections_max {
            return Ok(());
        }
        let oldest = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.open && connection.used_at < now)
            .min_by_key(|(_, connection)| connection.used_at)
            .map(|(conn, _)| *conn);
        let conn = oldest.ok_or(SendFault::TableFull)?;
        self.counters.connections_shed += 1;
        let closed = self.close(conn);
        self.shed.extend(closed.map(|(flow, _)| flow));
        Ok(())
    }

    /// A connection is up. One that we asked for gets what waited for it; one of a peer enters the
    /// table, or is refused when there is no room.
    pub(super) fn opened(&mut self, now: Instant, flow: &Flow) -> bool {
        let Some(conn) = flow.conn else { return false };
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.open = true;
            connection.used_at = now;
            // Transactions know the flow that was asked for, whatever local port it really has.
            let asked = connection.flow;
            connection.waiting_bytes = 0;
            let waiting = std::mem::take(&mut connection.waiting);
            for bytes in waiting {
                self.write(now, conn, &asked, bytes);
            }
            return true;
        }
        if self.make_room(now).is_err() {
            self.counters.connections_shed += 1;
            self.push(Output::Close(conn));
            return false;
        }
        self.insert(now, *flow, true);
        true
    }

    /// Takes a connection out of the table and tells the host to end it.
    pub(super) fn close(&mut self, conn: ConnId) -> Option<(Flow, bool)> {
        let ended = self.remove(conn)?;
        self.push(Output::Close(conn));
        Some(ended)
    }

    /// Takes a connection that has ended out of the table; says whether it had been up.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<(Flow, bool)> {
        let connection = self.connections.remove(&conn)?;
        let flow = connection.flow;
        let key = peer_key(&flow);
        // A later connection to the same peer may have taken the entry over.
        if self.by_peer.get(&key) == Some(&conn) {
            self.by_peer.remove(&key);
        }
        Some((flow, connection.open))
    }

    /// Connections that were closed to keep the bound.
    pub(super) fn take_shed(&mut self) -> Vec<Flow> {
        std::mem::take(&mut self.shed)
    }

    pub(super) fn connection(&self, conn: ConnId) -> Option<&Connection> {
        self.connections.get(&conn)
    }

    pub(super) fn connection_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(&conn)
    }

    pub(super) fn connection_count(&self) -> usize {
        self.connections.len()
    }
}

const fn peer_key(flow: &Flow) -> PeerKey {
    (flow.transport, flow.local, flow.remote, flow.sa)
}

fn wire(flow: &Flow, bytes: &Bytes) -> Wire {
    Wire {
        protocol: Protocol::Sip,
        transport: flow.transport,
        local: flow.local,
        remote: flow.remote,
        bytes: bytes.clone(),
    }
}
