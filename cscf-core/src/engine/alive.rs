//! Flows that are kept alive, and flows that are watched (RFC 5626 §3.5, §4.4, §5.4): pings on
//! connections and binding requests by datagram with the time their answers have, and the longest
//! silence of a peer. When to do either is the role's business.

use std::net::SocketAddr;

use bytes::Bytes;

use super::Output;
use super::state::{Core, Due, Event};
use crate::clause::{own, rfc5626};
use crate::ids::Seed;
use crate::map::{Map, map};
use crate::sip::PING;
use crate::time::{DeadlineId, Duration, Instant};
use crate::transport::stun::{self, Answered, TransactionId};
use crate::transport::{ConnId, Flow, FlowEvent, Packet, SaId};

/// How long a pong may take (RFC 5626 §4.4.1).
const PONG_FOR: Duration = Duration::from_secs(10);
/// How often a binding request is sent (RFC 8489 §6.2.1: Rc).
const PROBE_SENT_MAX: u32 = 7;
/// When it is sent again first; then after twice as long each time (RFC 8489 §6.2.1: RTO).
const PROBE_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long the last one is waited for, in multiples of that (RFC 8489 §6.2.1: Rm).
const PROBE_LAST: u32 = 16;
/// Binding requests without answer at a time.
const PROBES_MAX: usize = 1_024;

/// What tells a watched flow from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Conn(ConnId),
    Datagrams(SocketAddr, SocketAddr),
    Sa(SaId),
}

impl Key {
    const fn of(flow: &Flow) -> Self {
        match (flow.sa, flow.conn) {
            // One set of associations is for UDP and TCP (TS 33.203 §7.1).
            (Some(sa), _) => Self::Sa(sa),
            (None, Some(conn)) => Self::Conn(conn),
            (None, None) => Self::Datagrams(flow.local, flow.remote),
        }
    }
}

/// A binding request that waits for its answer.
#[derive(Debug)]
struct Probe {
    number: u64,
    id: TransactionId,
    /// As the role gave it.
    flow: Flow,
    sent: u32,
    due: DeadlineId,
}

/// A flow that is watched.
#[derive(Debug)]
struct Watched {
    number: u64,
    flow: Flow,
    within: Duration,
    heard_at: Instant,
    /// That it is silent has been told; without a deadline.
    due: Option<DeadlineId>,
}

/// What an engine keeps alive or watches. Nothing of it grows but by the role.
#[derive(Debug)]
pub(super) struct Alive {
    probes: Vec<Probe>,
    watched: Map<Key, Watched>,
    numbers: Map<u64, Key>,
    count: u64,
}

impl Alive {
    pub(super) fn new(seed: &Seed) -> Self {
        Self { probes: Vec::new(), watched: map(seed), numbers: map(seed), count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.probes.len() + self.watched.len()
    }

    /// Whether an answer of STUN may be for us.
    pub(super) const fn probes(&self) -> bool {
        !self.probes.is_empty()
    }

    const fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

impl Core {
    /// Sends a keep-alive.
    pub(super) fn keep_alive(&mut self, now: Instant, flow: Flow) {
        if flow.transport.is_reliable() {
            return self.ping(now, flow);
        }
        // A new one takes the place of one that still waits.
        self.forget_probes(|probe| probe.flow == flow);
        if self.alive.probes.len() >= PROBES_MAX {
            return self.flow_failed(flow, "too many keep-alives without answer");
        }
        let [_, _, _, _, id @ ..] = self.ids.rand16();
        let number = self.alive.next_number();
        let due = self.due.insert(now + PROBE_AGAIN_AFTER, Due::Probe(number));
        self.alive.probes.push(Probe { number, id, flow, sent: 1, due });
        self.send_probe(now, flow, &id);
    }

    fn ping(&mut self, now: Instant, flow: Flow) {
        let connection = flow.conn.and_then(|conn| self.outlet.connection_mut(conn));
        let Some(connection) = connection.filter(|connection| connection.open) else {
            return self.flow_failed(flow, "the connection is gone");
        };
        // What came before is no answer.
        connection.framer.take_crlfs();
        let waits = connection.pong_by.is_some();
        let by = *connection.pong_by.get_or_insert(now + PONG_FOR);
        let Some(conn) = flow.conn else { return };
        if !waits {
            self.due.insert(by, Due::Pong(conn));
        }
        self.note(now, rfc5626("4.4.1"), || format!("ping on {flow}"));
        self.outlet.push(Output::Write { conn, bytes: Bytes::from_static(PING) });
    }

    /// Line ends came on a connection whose ping waits for its pong, or a message that was being
    /// received when the time ended is through.
    pub(super) fn on_line_ends(&mut self, now: Instant, conn: ConnId, pongs: usize) {
        let Some(connection) = self.outlet.connection_mut(conn) else { return };
        let Some(by) = connection.pong_by else { return };
        if pongs > 0 {
            connection.pong_by = None;
            connection.framer.was_pong();
            let flow = connection.flow;
            self.note(now, rfc5626("4.4.1"), || format!("pong on {flow}"));
            self.events.push_back(Event::Flow(FlowEvent::Alive { flow, mapped: None }));
        } else if by <= now && connection.framer.pending() == 0 {
            self.no_pong(now, conn);
        }
    }

    pub(super) fn on_pong_due(&mut self, now: Instant, conn: ConnId) {
        let Some(connection) = self.outlet.connection(conn) else { return };
        match connection.pong_by {
            // A message that is being received is waited for (RFC 5626 §4.4.1); not for ever.
            Some(by) if by <= now && connection.framer.pending() == 0 => self.no_pong(now, conn),
            Some(by) if by > now => {
                self.due.insert(by, Due::Pong(conn));
            }
            _ => {}
        }
    }

    fn no_pong(&mut self, now: Instant, conn: ConnId) {
        let seconds = PONG_FOR.as_secs();
        self.close(now, conn, &format!("no pong within {seconds} s"));
    }

    fn send_probe(&mut self, now: Instant, flow: Flow, id: &TransactionId) {
        match self.protected_flow(flow) {
            Ok(to) => {
                self.note(now, rfc5626("4.4.2"), || format!("binding request on {to}"));
                let bytes = stun::request(id);
                let packet = Packet { flow: to, bytes, received_at: Instant::EPOCH };
                self.outlet.push(Output::Datagram(packet));
            }
            Err(fault) => {
                self.forget_probes(|probe| probe.flow == flow);
                self.flow_failed(flow, &fault.to_string());
            }
        }
    }

    pub(super) fn on_probe_due(&mut self, now: Instant, number: u64) {
        let Some(at) = self.alive.probes.iter().position(|it| it.number == number) else { return };
        let Some(probe) = self.alive.probes.get_mut(at) else { return };
        if probe.sent >= PROBE_SENT_MAX {
            let flow = probe.flow;
            self.alive.probes.remove(at);
            let why = format!("no answer to {PROBE_SENT_MAX} binding requests");
            return self.flow_failed(flow, &why);
        }
        let last = probe.sent + 1 == PROBE_SENT_MAX;
        let times = if last { PROBE_LAST } else { 1 << probe.sent };
        probe.sent += 1;
        probe.due = self.due.insert(now + PROBE_AGAIN_AFTER * times, Due::Probe(number));
        let (flow, id) = (probe.flow, probe.id);
        self.send_probe(now, flow, &id);
    }

    /// STUN that is no request: the answer to one of ours, or nothing of ours.
    pub(super) fn on_stun_answer(&mut self, now: Instant, from: &Flow, bytes: &[u8]) {
        let answered = stun::read_answer(bytes);
        let is_its = |probe: &Probe, id: &TransactionId| {
            probe.id == *id
                && probe.flow.sa == from.sa
                && probe.flow.remote.ip() == from.remote.ip()
        };
        let found = answered.and_then(|(id, answered)| {
            let at = self.alive.probes.iter().position(|probe| is_its(probe, &id))?;
            Some((self.alive.probes.remove(at), answered))
        });
        let Some((probe, answered)) = found else {
            return self.outlet.dropped(now, from.remote, "STUN that answers nothing of ours");
        };
        self.due.cancel(probe.due);
        let flow = probe.flow;
        match answered {
            Answered::Mapped(addr) => {
                self.note(now, rfc5626("4.4.2"), || format!("{flow}: we are seen at {addr}"));
                let mapped = Some(addr);
                self.events.push_back(Event::Flow(FlowEvent::Alive { flow, mapped }));
            }
            Answered::Refused => self.flow_failed(flow, "the binding request is refused"),
        }
    }

    /// A datagram to this address came back: it is known now what the time would tell
    /// (RFC 8489 §6.2.1).
    pub(super) fn probes_unreachable(&mut self, to: &Flow, cause: &str) {
        let same = |probe: &Probe| {
            let flow = &probe.flow;
            flow.sa.is_none() && (flow.local, flow.remote) == (to.local, to.remote)
        };
        let failed: Vec<Flow> =
            self.alive.probes.iter().filter(|it| same(it)).map(|it| it.flow).collect();
        self.forget_probes(same);
        for flow in failed {
            self.flow_failed(flow, cause);
        }
    }

    fn forget_probes(&mut self, gone: impl Fn(&Probe) -> bool) {
        for probe in self.alive.probes.extract_if(.., |probe| gone(probe)) {
            self.due.cancel(probe.due);
        }
    }

    fn flow_failed(&mut self, flow: Flow, cause: &str) {
        let cause = cause.to_owned();
        self.events.push_back(Event::Flow(FlowEvent::Failed { flow, cause }));
    }

    /// Watches a flow, or no longer.
    pub(super) fn watch(&mut self, now: Instant, flow: Flow, within: Option<Duration>) {
        let key = Key::of(&flow);
        self.unwatch(key);
        let Some(within) = within else { return };
        if self.alive.watched.len() >= self.settings.limits.watched_max {
            return self.note(now, own("limits"), || format!("{flow} is not watched: table full"));
        }
        let number = self.alive.next_number();
        let due = Some(self.due.insert(now + within, Due::Silent(number)));
        self.alive.numbers.insert(number, key);
        self.alive.watched.insert(key, Watched { number, flow, within, heard_at: now, due });
    }

    fn unwatch(&mut self, key: Key) {
        let Some(watched) = self.alive.watched.remove(&key) else { return };
        self.alive.numbers.remove(&watched.number);
        if let Some(due) = watched.due {
            self.due.cancel(due);
        }
    }

    /// What was kept alive or watched under these associations is no longer.
    pub(super) fn associations_ended(&mut self, sa: SaId) {
        self.forget_probes(|probe| probe.flow.sa == Some(sa));
        self.unwatch(Key::Sa(sa));
    }

    /// A connection has ended, and with it what was watched of it.
    pub(super) fn connection_ended(&mut self, conn: ConnId) {
        self.unwatch(Key::Conn(conn));
    }

    /// Something came by this flow.
    pub(super) fn heard(&mut self, now: Instant, flow: &Flow) {
        if self.alive.watched.is_empty() {
            return;
        }
        let Some(watched) = self.alive.watched.get_mut(&Key::of(flow)) else { return };
        watched.heard_at = now;
        if watched.due.is_none() {
            let until = now + watched.within;
            watched.due = Some(self.due.insert(until, Due::Silent(watched.number)));
            let flow = watched.flow;
            self.events.push_back(Event::Flow(FlowEvent::Alive { flow, mapped: None }));
        }
    }

    pub(super) fn on_silence_due(&mut self, now: Instant, number: u64) {
        let key = self.alive.numbers.get(&number).copied();
        let Some(watched) = key.and_then(|key| self.alive.watched.get_mut(&key)) else { return };
        let until = watched.heard_at + watched.within;
        if until > now {
            watched.due = Some(self.due.insert(until, Due::Silent(number)));
            return;
        }
        watched.due = None;
        let (flow, seconds) = (watched.flow, watched.within.as_secs());
        let cause = format!("nothing came for {seconds} s");
        match flow.conn {
            Some(conn) if flow.sa.is_none() => self.close(now, conn, &cause),
            _ => self.flow_failed(flow, &cause),
        }
    }
}
