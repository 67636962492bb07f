//! Bytes in: datagrams, stream portions, connections that come and go, undelivered datagrams. What
//! is a message goes into the inbox; what is none is answered if it can be, else dropped and
//! counted.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::route;
use super::state::{Arrival, Core, Due, Event};
use super::wire::SendFault;
use crate::clause::{rfc3261, rfc5626};
use crate::sip::{self, HeaderName, Rejected, Request};
use crate::sip::{FrameError, PING, PONG};
use crate::time::Instant;
use crate::trace::{Diagnosis, Note};
use crate::transport::stun;
use crate::transport::via::ViaView;
use crate::transport::{ConnId, Flow, FlowEvent, Packet, Transport};

impl Core {
    /// A datagram: one message, or a keep-alive.
    pub(super) fn on_datagram(&mut self, now: Instant, packet: Packet) {
        let Packet { flow, bytes, .. } = packet;
        self.heard(now, &flow);
        // Keep-alives of clients behind NATs: nobody wants an answer; those who do use STUN.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        if stun::is_stun(&bytes) {
            if stun::is_request(&bytes) && self.settings.keep_alives {
                return self.on_stun(now, &flow, &bytes);
            }
            if self.alive.probes() {
                return self.on_stun_answer(now, &flow, &bytes);
            }
        }
        self.on_whole(now, flow, &bytes);
    }

    /// A keep-alive that asks for its own address (RFC 5626 §4.4.2): the answer goes back as it
    /// came, by the associations it came by.
    fn on_stun(&mut self, now: Instant, flow: &Flow, bytes: &[u8]) {
        let Some(answer) = stun::answer(bytes, flow.remote) else {
            return self.outlet.dropped(now, flow.remote, "STUN that is no binding request");
        };
        let Ok(flow) = self.protected_flow(*flow) else { return };
        self.note(now, rfc5626("5.4"), || format!("binding request answered: {flow}"));
        let packet = Packet { flow, bytes: answer, received_at: Instant::EPOCH };
        self.outlet.push(super::Output::Datagram(packet));
    }

    /// One whole message: for this engine, or for another one of the node.
    fn on_whole(&mut self, now: Instant, flow: Flow, bytes: &Bytes) {
        if self.settings.shard.is_alone() || !self.hand_over(now, flow, bytes) {
            self.take_whole(now, flow, bytes);
        }
    }

    /// One whole message of this engine's own.
    pub(super) fn take_whole(&mut self, now: Instant, flow: Flow, bytes: &Bytes) {
        self.outlet.received(now, &flow, bytes);
        let arrival = sip::read(bytes).map_or_else(Arrival::Malformed, Arrival::Message);
        self.inbox.push_back((flow, arrival));
    }

    /// What was no message, in its turn.
    pub(super) fn on_malformed(&mut self, now: Instant, flow: &Flow, why: Rejected) {
        match why {
            Rejected::Answerable { request, status, reason, offset } => {
                self.refuse_malformed(now, flow, *request, (status, &reason), offset);
            }
            Rejected::Unanswerable(fault) => {
                self.outlet.dropped(now, flow.remote, &fault.to_string());
            }
        }
    }

    /// Answers what is too malformed for a transaction.
    fn refuse_malformed(
        &mut self,
        now: Instant,
        flow: &Flow,
        mut request: Request,
        response: (u16, &str),
        at: Option<usize>,
    ) {
        let (status, reason) = response;
        self.outlet.counters.refused += 1;
        let text = match at {
            Some(at) => format!("{status} {reason}: at byte {at}"),
            None => format!("{status} {reason}"),
        };
        let cause = Diagnosis::new("", "the message can be read")
            .theirs(text.as_str())
            .ours("the grammar of SIP")
            .change("the named header in what was sent; `cscf parse FILE` shows the place")
            .of_request(&request);
        self.outlet.note(now, Note::diagnosed(rfc3261("16.3"), text, cause));
        route::stamp(&mut request, flow);
        let response = request.response(status, reason);
        self.send_stateless(now, flow, &request, response);
    }

    /// A portion of a stream.
    pub(super) fn on_bytes(&mut self, now: Instant, conn: ConnId, bytes: &Bytes) {
        let Some(connection) = self.outlet.connection_mut(conn) else { return };
        let flow = connection.flow;
        connection.used_at = now;
        self.heard(now, &flow);
        if flow.transport.keeps_messages() {
            return self.on_web_socket(now, flow, bytes);
        }
        if let Some(connection) = self.outlet.connection_mut(conn) {
            connection.framer.push(bytes);
        }
        while let Some(connection) = self.outlet.connection_mut(conn) {
            match connection.framer.next() {
                Some(Ok(message)) => self.on_whole(now, flow, &message),
                Some(Err(fault)) => {
                    return self.inbox.push_back((flow, Arrival::Broken(fault)));
                }
                None => break,
            }
        }
        let framer = self.outlet.connection_mut(conn).map(|it| &mut it.framer);
        let (pings, line_ends) =
            framer.map_or((0, 0), |framer| (framer.take_pings(), framer.take_crlfs()));
        if pings > 0 {
            self.pong(now, &flow);
        }
        self.on_line_ends(now, conn, line_ends.saturating_sub(2 * pings));
        self.watch_partial(now, conn);
    }

    /// A message of a WebSocket: one of SIP, whole, with or without Content-Length (RFC 7118 §5),
    /// or a keep-alive (RFC 7118 §6).
    fn on_web_socket(&mut self, now: Instant, flow: Flow, bytes: &Bytes) {
        if !bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            if let Some(connection) = flow.conn.and_then(|it| self.outlet.connection_mut(it)) {
                connection.partial_since = None;
            }
            return self.on_whole(now, flow, bytes);
        }
        let Some(conn) = flow.conn else { return };
        if bytes.len() >= PING.len() {
            self.pong(now, &flow);
        } else {
            self.on_line_ends(now, conn, usize::from(bytes.len() >= PONG.len()));
        }
    }

    /// Answers pings; one pong a portion is enough of an answer for any number of them.
    fn pong(&mut self, now: Instant, flow: &Flow) {
        let Some(conn) = flow.conn else { return };
        self.note(now, rfc5626("5.4"), || format!("ping answered: {flow}"));
        self.outlet.push(super::Output::Write { conn, bytes: Bytes::from_static(PONG) });
    }

    /// A message may take its time to arrive whole, but not for ever.
    fn watch_partial(&mut self, now: Instant, conn: ConnId) {
        let first_message_for = self.settings.limits.first_message_for;
        let Some(connection) = self.outlet.connection_mut(conn) else { return };
        if connection.framer.pending() == 0 {
            connection.partial_since = None;
        } else if connection.partial_since.is_none() {
            connection.partial_since = Some(now);
            self.due.insert(now + first_message_for, Due::Partial(conn));
        }
    }

    /// Nobody knows where the next message of this stream begins: the request is answered if its
    /// head is there, and the connection closed (RFC 3261 §18.3).
    pub(super) fn on_broken_stream(&mut self, now: Instant, flow: &Flow, fault: &FrameError) {
        self.outlet.dropped(now, flow.remote, fault.reason);
        if let Some(request) = fault.request() {
            self.refuse_malformed(now, flow, request, (fault.status, fault.reason), None);
        }
        if let Some(conn) = flow.conn {
            self.close(now, conn, fault.reason);
        }
    }

    /// A connection is up.
    pub(super) fn on_opened(&mut self, now: Instant, flow: Flow) {
        let asked = flow.conn.and_then(|conn| self.outlet.connection(conn)).map(|it| it.flow);
        if !self.outlet.opened(now, &flow) {
            return;
        }
        let limits = self.settings.limits;
        if let Some(conn) = flow.conn {
            if asked.is_none() {
                self.due.insert(now + limits.first_message_for, Due::Partial(conn));
            }
            if let Some(idle_for) = limits.idle_for {
                self.due.insert(now + idle_for, Due::Idle(conn));
            }
        }
        self.tell_connection(asked.unwrap_or(flow), true);
        self.tcp_refusals.forget(flow.remote);
        self.tell_shed();
        self.events.push_back(Event::Flow(FlowEvent::Opened(asked.unwrap_or(flow))));
    }

    /// A connection has ended, or could not be opened.
    pub(super) fn on_closed(&mut self, now: Instant, conn: ConnId, cause: String) {
        if let Some((flow, was_open)) = self.outlet.remove(conn) {
            self.on_gone(now, flow, was_open, cause);
        }
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, now: Instant, conn: ConnId, cause: &str) {
        if let Some((flow, was_open)) = self.outlet.close(conn) {
            self.on_gone(now, flow, was_open, cause.to_owned());
        }
    }

    fn on_gone(&mut self, now: Instant, flow: Flow, was_open: bool, cause: String) {
        if was_open && self.outlet.tracing {
            let text = format!("connection ended: {flow}: {cause}");
            self.outlet.note(now, Note::end_of(flow, rfc3261("18.4"), text));
        } else {
            self.note(now, rfc3261("18.4"), || format!("no connection: {flow}: {cause}"));
        }
        self.layer.flow_failed(&flow, &mut self.outbox);
        if let Some(conn) = flow.conn {
            self.connection_ended(conn);
        }
        self.tell_connection(flow, false);
        let event = match was_open {
            true => FlowEvent::Closed { flow, cause },
            false => FlowEvent::Unreachable { flow, cause },
        };
        self.events.push_back(Event::Flow(event));
    }

    /// Tells the ends of connections that were closed to keep the bound.
    pub(super) fn tell_shed(&mut self) {
        for flow in self.outlet.take_shed() {
            self.layer.flow_failed(&flow, &mut self.outbox);
            if let Some(conn) = flow.conn {
                self.connection_ended(conn);
            }
            self.tell_connection(flow, false);
            let cause = "connection table is full".to_owned();
            self.events.push_back(Event::Flow(FlowEvent::Closed { flow, cause }));
        }
    }

    /// A datagram came back undelivered: what waits on this path has failed (RFC 3261 §18.4).
    pub(super) fn on_unreachable(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        cause: String,
    ) {
        let flow = Flow { transport: Transport::Udp, local, remote, conn: None, sa: None };
        self.note(now, rfc3261("18.4"), || format!("undelivered: {flow}: {cause}"));
        self.layer.flow_failed(&flow, &mut self.outbox);
        self.probes_unreachable(&flow, &cause);
        self.events.push_back(Event::Flow(FlowEvent::Unreachable { flow, cause }));
    }

    pub(super) fn on_connect_timeout(&mut self, now: Instant, conn: ConnId) {
        if self.outlet.connection(conn).is_some_and(|connection| !connection.open) {
            self.close(now, conn, "no answer to the connection attempt");
        }
    }

    /// A message, or the first one, has not arrived whole in time.
    pub(super) fn on_partial(&mut self, now: Instant, conn: ConnId) {
        let Some(connection) = self.outlet.connection(conn) else { return };
        let Some(since) = connection.partial_since else { return };
        let until = since + self.settings.limits.first_message_for;
        if until > now {
            self.due.insert(until, Due::Partial(conn));
        } else {
            self.outlet.counters.connections_shed += 1;
            self.close(now, conn, "no whole message in time");
        }
    }

    pub(super) fn on_idle(&mut self, now: Instant, conn: ConnId) {
        let Some(idle_for) = self.settings.limits.idle_for else { return };
        let Some(connection) = self.outlet.connection(conn) else { return };
        let until = connection.used_at + idle_for;
        if until > now {
            self.due.insert(until, Due::Idle(conn));
        } else {
            self.close(now, conn, "idle");
        }
    }

    /// The flow of the answers to a request: its connection, else where its Via says (RFC 3261
    /// §18.2.2, RFC 3581 §4), which may have been `stamped` there a moment ago.
    pub(super) fn return_flow(
        &self,
        request: &Request,
        flow: &Flow,
        stamped: Option<SocketAddr>,
    ) -> Flow {
        if flow.conn.is_some() {
            return *flow;
        }
        if flow.sa.is_some() {
            // From our client port to the peer's server port, whatever Via says (TS 33.203 §7.1).
            return self.protected_flow(*flow).unwrap_or(*flow);
        }
        let by_via = || {
            let top = request.headers.first_value(HeaderName::Via).and_then(ViaView::parse)?;
            top.response_addr(false, |name| self.address_of(name, flow.local))
        };
        Flow { remote: stamped.or_else(by_via).unwrap_or(flow.remote), ..*flow }
    }

    /// Sends by a new connection to the same peer; says whether that could be begun.
    pub(super) fn send_anew(&mut self, now: Instant, flow: &Flow, bytes: &Bytes) -> bool {
        let to = Flow { conn: None, ..*flow };
        self.protected_flow(to)
            .and_then(|to| self.connect(now, to))
            .is_ok_and(|(flow, _)| self.outlet.send(now, &flow, bytes).is_ok())
    }

    /// A response whose connection is gone: a new one is opened to the address in its Via (RFC 3261
    /// §18.2.2).
    pub(super) fn send_elsewhere(&mut self, now: Instant, flow: &Flow, bytes: &Bytes) {
        let sent = sip::parse(bytes).ok().and_then(|message| {
            let via = message.headers().first_value(HeaderName::Via).and_then(ViaView::parse)?;
            let remote = via.response_addr(true, |name| self.address_of(name, flow.local))?;
            let to = self.protected_flow(Flow { remote, conn: None, ..*flow }).ok()?;
            let (flow, _) = self.connect(now, to).ok()?;
            self.outlet.send(now, &flow, bytes).ok()
        });
        if sent.is_none() {
            self.lost(now, flow, SendFault::NoConnection);
        }
    }

    /// The address of a name that can be reached from ours.
    fn address_of(&self, name: &str, local: SocketAddr) -> Option<IpAddr> {
        let mut records = self.settings.hosts.records(name).iter().map(|record| record.addr);
        records.find(|addr| addr.is_ipv4() == local.is_ipv4())
    }
}
