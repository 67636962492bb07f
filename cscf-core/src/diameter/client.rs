//! The Diameter client inside an I- or S-CSCF: questions of Cx go out, answers and demands come in
//! (TS 29.228 §5, RFC 6733 §5). One connection, opened again with growing pauses when it fails.
//!
//! A question waits while there is hope that the connection comes within its time; on a
//! disconnection everything in flight is answered [`CxAnswer::Unreachable`] at once.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::clause::{own, rfc6733};
use crate::cx::{AskId, CxAnswer, CxCounts, CxDemand, CxRequest, DemandId, DemandReply};
use crate::diameter::capabilities::{LocalPeer, Timing};
use crate::diameter::codec::{Avp, Fault, Message};
use crate::diameter::dictionary as avp;
use crate::diameter::dictionary::result;
use crate::diameter::peer::{Event, Link, LinkSettings, Side};
use crate::diameter::reply::{Refusal, RequestHead};
use crate::diameter::{answer, demand, request};
use crate::ids::{Ids, Seed, ShardId, push_decimal};
use crate::time::{Duration, Instant};
use crate::trace::{Note, Protocol, TraceKind, Wire};
use crate::transport::{ConnId, Flow, Transport};

/// The most questions that wait or are in flight at once.
const ASKS_MAX: usize = 4_096;
/// The most demands of the HSS that are not answered at once.
const DEMANDS_MAX: usize = 1_024;
/// Our connections are numbered from here, apart from those of the engine in the same node.
const FIRST_CONN: u64 = 1 << 40;

/// What a [`DiameterClient`] must know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Who we are.
    pub us: LocalPeer,
    /// The realm of the HSS.
    pub destination_realm: String,
    /// Origin-Host of the HSS, where it is known (TS 29.229 §5.5).
    pub destination_host: Option<String>,
    /// Where the HSS listens.
    pub server: SocketAddr,
    /// The address the connection is bound to; port 0 lets the system choose.
    pub local: SocketAddr,
    /// Spans.
    pub timing: Timing,
    /// Whether somebody reads the trace; without, only refusals are told.
    pub tracing: bool,
}

/// What happens to a [`DiameterClient`].
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// A question for the HSS.
    Ask(AskId, CxRequest),
    /// Bytes of the connection.
    Bytes(ConnId, Bytes),
    /// The connection ended or could not be opened, and why.
    Closed(ConnId, String),
    /// The role answers a demand.
    DemandAnswer(DemandId, DemandReply),
    /// The connection asked for by [`ClientOutput::Connect`] is up; `conn` is set, and `local` is
    /// the address it really has.
    Opened(Flow),
    /// The node ends: disconnect in order.
    Shutdown,
    /// The time [`DiameterClient::poll_timeout`] named has come.
    Timeout,
}

/// What a [`DiameterClient`] wants.
#[derive(Clone, Debug)]
pub enum ClientOutput {
    /// The answer to a question.
    Answer(AskId, CxAnswer),
    /// End the connection.
    Close {
        /// Which one.
        conn: ConnId,
    },
    /// Open a connection over TCP.
    Connect {
        /// Its number.
        conn: ConnId,
        /// What it is bound to.
        local: SocketAddr,
        /// The HSS.
        remote: SocketAddr,
    },
    /// The HSS demands something; answer with [`ClientInput::DemandAnswer`].
    Demand(DemandId, CxDemand),
    /// Something to tell.
    Trace(TraceKind),
    /// Write to the connection.
    Write {
        /// Which one.
        conn: ConnId,
        /// The bytes.
        bytes: Bytes,
    },
}

#[derive(Debug)]
enum Phase {
    /// A connection is being opened.
    Connecting { conn: ConnId, until: Instant },
    /// There is none; the next attempt.
    Idle { retry_at: Instant },
    /// There is one.
    Linked { conn: ConnId, link: Box<Link> },
    /// The node ends.
    Stopped,
}

#[derive(Debug)]
struct Waiting {
    ask: AskId,
    request: CxRequest,
    until: Instant,
}

#[derive(Debug)]
struct Flight {
    ask: AskId,
    command: u32,
}

/// The client.
#[derive(Debug)]
pub struct DiameterClient {
    config: ClientConfig,
    us: Arc<LocalPeer>,
    /// Destination-Host, where it is known, and Destination-Realm.
    destination: Vec<Avp>,
    ids: Ids,
    phase: Phase,
    conns: u64,
    /// Attempts that failed since a connection was in use.
    failures: u32,
    /// A connection was in use and failed: the next one must prove itself (RFC 3539 §3.4.1).
    reopen: bool,
    /// Shutting down: do not come back.
    stopping: bool,
    waiting: VecDeque<Waiting>,
    flights: BTreeMap<u32, Flight>,
    /// In order of time, since all wait equally long; entries of answered questions go when they
    /// come to the front.
    deadlines: VecDeque<(Instant, u32)>,
    demands: BTreeMap<DemandId, RequestHead>,
    demand_count: u64,
    session_high: u32,
    session_low: u32,
    answers: CxCounts,
    outputs: VecDeque<ClientOutput>,
}

impl DiameterClient {
    /// A client that connects as soon as it is driven.
    #[must_use]
    pub fn new(config: ClientConfig, seed: Seed) -> Self {
        let mut ids = Ids::new(seed, ShardId::default());
        let session_high = u32::try_from(ids.below(1 << 32)).unwrap_or(0);
        let host = config.destination_host.iter();
        let mut destination: Vec<Avp> =
            host.map(|host| Avp::text(&avp::DESTINATION_HOST, host)).collect();
        destination.push(Avp::text(&avp::DESTINATION_REALM, &config.destination_realm));
        Self {
            us: Arc::new(config.us.clone()),
            destination,
            config,
            ids,
            phase: Phase::Idle { retry_at: Instant::EPOCH },
            conns: 0,
            failures: 0,
            reopen: false,
            stopping: false,
            waiting: VecDeque::new(),
            flights: BTreeMap::new(),
            deadlines: VecDeque::new(),
            demands: BTreeMap::new(),
            demand_count: 0,
            session_high,
            session_low: 0,
            answers: CxCounts::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Whether a connection is one of ours, for a node that has others too.
    #[must_use]
    pub fn owns(&self, conn: ConnId) -> bool {
        conn.0 >= ConnId::opened(FIRST_CONN).0
    }

    /// Whether questions reach the HSS now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(&self.phase, Phase::Linked { link, .. } if link.is_usable())
    }

    /// The answers that came, and how often none did.
    #[must_use]
    pub const fn answers(&self) -> &CxCounts {
        &self.answers
    }

    /// The name of the peer it asks.
    #[must_use]
    pub fn peer(&self) -> &str {
        self.config.destination_host.as_deref().unwrap_or(&self.config.destination_realm)
    }

    /// Takes one event.
    pub fn handle_input(&mut self, now: Instant, input: ClientInput) {
        match input {
            ClientInput::Ask(ask, request) => self.on_ask(now, ask, request),
            ClientInput::Bytes(conn, bytes) => {
                if let Phase::Linked { conn: ours, link } = &mut self.phase
                    && *ours == conn
                {
                    link.on_bytes(now, &mut self.ids, &bytes);
                }
            }
            ClientInput::Closed(conn, cause) => self.on_closed(now, conn, &cause),
            ClientInput::DemandAnswer(demand, reply) => self.on_demand_answer(demand, &reply),
            ClientInput::Opened(flow) => self.on_opened(now, flow),
            ClientInput::Shutdown => self.on_shutdown(now),
            ClientInput::Timeout => {}
        }
        self.on_time(now);
        self.drain_link(now);
    }

    /// Gives one output; `None` when drained.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// The next time it wants [`ClientInput::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Connecting { until, .. } => Some(*until),
            Phase::Idle { retry_at } => Some(*retry_at),
            Phase::Linked { link, .. } => link.poll_timeout(),
            Phase::Stopped => None,
        };
        let waiting = self.waiting.front().map(|waiting| waiting.until);
        let flight = self.deadlines.front().map(|(at, _)| *at);
        phase.into_iter().chain(waiting).chain(flight).min()
    }

    fn on_ask(&mut self, now: Instant, ask: AskId, request: CxRequest) {
        let until = now + self.config.timing.answer_within;
        if self.waiting.len() + self.flights.len() >= ASKS_MAX {
            let text = format!("{ASKS_MAX} questions wait already: unreachable");
            return self.give_up(ask, text);
        }
        if self.is_connected() {
            return self.send(now, ask, &request);
        }
        match &self.phase {
            Phase::Idle { retry_at } if *retry_at > until => {
                let text = format!("no connection to {}: unreachable", self.config.server);
                self.give_up(ask, text);
            }
            _ if self.stopping => self.give_up(ask, "shut down: unreachable".to_owned()),
            _ => self.waiting.push_back(Waiting { ask, request, until }),
        }
    }

    fn send(&mut self, now: Instant, ask: AskId, question: &CxRequest) {
        let Phase::Linked { link, .. } = &mut self.phase else { return };
        self.session_low = self.session_low.wrapping_add(1);
        let (host, high, low) = (&self.us.origin_host, self.session_high, self.session_low);
        let mut session = String::with_capacity(host.len() + 2 * (1 + 10));
        session.push_str(host);
        for number in [high, low] {
            session.push(';');
            push_decimal(&mut session, number.into());
        }
        let mut avps = link.cx_avps(session);
        avps.extend_from_slice(&self.destination);
        request::encode(question, &mut avps);
        let command = request::command_of(question);
        let hop_by_hop = link.send_request(command, avps);
        self.flights.insert(hop_by_hop, Flight { ask, command });
        self.deadlines.push_back((now + self.config.timing.answer_within, hop_by_hop));
    }

    fn on_opened(&mut self, now: Instant, flow: Flow) {
        let Phase::Connecting { conn, .. } = self.phase else { return };
        if flow.conn != Some(conn) {
            return;
        }
        let settings = LinkSettings {
            us: Arc::clone(&self.us),
            side: Side::Client,
            timing: self.config.timing,
            local: flow.local,
            remote: self.config.server,
        };
        let link = Link::initiate(settings, self.reopen, now, &mut self.ids);
        self.phase = Phase::Linked { conn, link: Box::new(link) };
    }

    fn on_closed(&mut self, now: Instant, conn: ConnId, cause: &str) {
        match self.phase {
            Phase::Connecting { conn: ours, .. } | Phase::Linked { conn: ours, .. }
                if ours == conn =>
            {
                self.drain_link(now);
                self.go_idle(now, cause);
            }
            _ => {}
        }
    }

    fn on_shutdown(&mut self, now: Instant) {
        self.stopping = true;
        let waiting = std::mem::take(&mut self.waiting);
        for one in waiting {
            self.outputs.push_back(ClientOutput::Answer(one.ask, CxAnswer::Unreachable));
        }
        self.lose_flights();
        match &mut self.phase {
            Phase::Linked { link, .. } => link.disconnect(now),
            Phase::Connecting { conn, .. } => {
                self.outputs.push_back(ClientOutput::Close { conn: *conn });
            }
            Phase::Idle { .. } | Phase::Stopped => {}
        }
        if !matches!(self.phase, Phase::Linked { .. }) {
            self.phase = Phase::Stopped;
        }
    }

    /// Everything that is due; questions first, so that their answers stand before what follows.
    fn on_time(&mut self, now: Instant) {
        while let Some((at, hop_by_hop)) = self.deadlines.front().copied() {
            let answered = !self.flights.contains_key(&hop_by_hop);
            if at > now && !answered {
                break;
            }
            self.deadlines.pop_front();
            if let Some(flight) = self.flights.remove(&hop_by_hop) {
                let within = self.config.timing.answer_within.as_secs();
                self.give_up(flight.ask, format!("no answer within {within} s: unreachable"));
            }
        }
        while self.waiting.front().is_some_and(|waiting| waiting.until <= now) {
            if let Some(waiting) = self.waiting.pop_front() {
                let text = format!("no connection to {} in time: unreachable", self.config.server);
                self.give_up(waiting.ask, text);
            }
        }
        match &mut self.phase {
            Phase::Connecting { conn, until } if *until <= now => {
                let conn = *conn;
                self.outputs.push_back(ClientOutput::Close { conn });
                self.go_idle(now, "no connection in time");
            }
            Phase::Idle { retry_at } if *retry_at <= now => self.connect(now),
            Phase::Linked { link, .. } => link.on_timeout(now, &mut self.ids),
            Phase::Connecting { .. } | Phase::Idle { .. } | Phase::Stopped => {}
        }
    }

    fn connect(&mut self, now: Instant) {
        self.conns += 1;
        let conn = ConnId::opened(FIRST_CONN + self.conns);
        let until = now + self.config.timing.handshake_within;
        self.phase = Phase::Connecting { conn, until };
        let ClientConfig { local, server: remote, .. } = self.config;
        self.outputs.push_back(ClientOutput::Connect { conn, local, remote });
    }

    /// Takes what the connection tells, until it has no more to say.
    fn drain_link(&mut self, now: Instant) {
        let tracing = self.config.tracing;
        loop {
            let Phase::Linked { conn, link } = &mut self.phase else { return };
            let Some(event) = link.poll_event() else { return };
            let (conn, local, remote) = (*conn, link.local, link.remote);
            let wire = |bytes| Wire {
                protocol: Protocol::Diameter,
                transport: Transport::Tcp,
                local,
                remote,
                bytes,
            };
            match event {
                Event::Write(bytes) => {
                    if tracing {
                        let sent = TraceKind::Sent(wire(bytes.clone()));
                        self.outputs.push_back(ClientOutput::Trace(sent));
                    }
                    self.outputs.push_back(ClientOutput::Write { conn, bytes });
                }
                Event::Received(bytes) if tracing => {
                    let received = TraceKind::Received(wire(bytes));
                    self.outputs.push_back(ClientOutput::Trace(received));
                }
                Event::Note(note) => {
                    self.outputs.push_back(ClientOutput::Trace(TraceKind::Note(note)));
                }
                Event::Received(_) => {}
                Event::Usable => self.on_usable(now),
                Event::Answer(message) => self.on_answer(&message),
                Event::Spoiled { hop_by_hop, fault } => self.on_spoiled(hop_by_hop, &fault),
                Event::Request(message) => self.on_demand(&message),
                Event::Down(cause) => {
                    self.outputs.push_back(ClientOutput::Close { conn });
                    self.go_idle(now, &cause);
                }
            }
        }
    }

    fn on_usable(&mut self, now: Instant) {
        self.failures = 0;
        self.reopen = true;
        for waiting in std::mem::take(&mut self.waiting) {
            self.send(now, waiting.ask, &waiting.request);
        }
    }

    fn on_answer(&mut self, message: &Message) {
        let header = message.header;
        let matches = |flight: &Flight| flight.command == header.command;
        if !self.flights.get(&header.hop_by_hop).is_some_and(matches) {
            let text = format!("{} to no question of ours: dropped", message.name());
            return self.note(true, text);
        }
        let Some(flight) = self.flights.remove(&header.hop_by_hop) else { return };
        match answer::decode(message) {
            Ok(answer) => {
                self.answers.count(request::command_named(flight.command), answer.result());
                self.outputs.push_back(ClientOutput::Answer(flight.ask, answer));
            }
            Err(fault) => {
                let text = format!("{} is wrong: {fault}: unreachable", message.name());
                self.give_up(flight.ask, text);
            }
        }
    }

    fn on_spoiled(&mut self, hop_by_hop: u32, fault: &Fault) {
        match self.flights.remove(&hop_by_hop) {
            Some(flight) => {
                self.give_up(flight.ask, format!("an answer cannot be read: {fault}: unreachable"));
            }
            None => self.note(true, format!("an answer cannot be read: {fault}: dropped")),
        }
    }

    fn on_demand(&mut self, message: &Message) {
        let Phase::Linked { link, .. } = &mut self.phase else { return };
        let head = RequestHead::of(message);
        if self.demands.len() >= DEMANDS_MAX {
            let text = format!("{DEMANDS_MAX} demands wait already");
            return link.refuse(&head, &Refusal::new(result::TOO_BUSY, text));
        }
        match demand::decode(message) {
            Err(fault) => link.refuse(&head, &Refusal::from(&fault)),
            Ok(what) => {
                self.demand_count += 1;
                let demand = DemandId(self.demand_count);
                self.demands.insert(demand, head);
                self.outputs.push_back(ClientOutput::Demand(demand, what));
            }
        }
    }

    fn on_demand_answer(&mut self, demand: DemandId, reply: &DemandReply) {
        let Some(head) = self.demands.remove(&demand) else { return };
        if let Phase::Linked { link, .. } = &mut self.phase {
            link.send_answer(&head, demand::encode_reply(reply));
        }
    }

    /// The connection is gone: answers what is in flight and plans the next attempt.
    fn go_idle(&mut self, now: Instant, cause: &str) {
        if matches!(self.phase, Phase::Linked { .. }) {
            self.demands.clear();
        }
        self.lose_flights();
        if self.stopping {
            self.phase = Phase::Stopped;
            return self.note(false, format!("shut down: {cause}"));
        }
        let pause = self.pause();
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Idle { retry_at: now + pause };
        let (server, millis) = (self.config.server, pause.as_millis());
        self.note(true, format!("no connection to {server}: {cause}; again in {millis} ms"));
    }

    /// Doubles from `retry_first` to `retry_max`, less up to a tenth by chance, so that the clients
    /// of an HSS that restarts do not all come at once.
    fn pause(&mut self) -> Duration {
        let Timing { retry_first, retry_max, .. } = self.config.timing;
        let doubled = retry_first.saturating_mul(1 << self.failures.min(16)).min(retry_max);
        let tenth = u64::try_from(doubled.as_millis() / 10).unwrap_or(0);
        doubled.saturating_sub(Duration::from_millis(self.ids.below(tenth + 1)))
    }

    /// In the order in which they were asked.
    fn lose_flights(&mut self) {
        for (_, hop_by_hop) in std::mem::take(&mut self.deadlines) {
            if let Some(flight) = self.flights.remove(&hop_by_hop) {
                self.give_up(flight.ask, "the connection is lost: unreachable".to_owned());
            }
        }
    }

    fn give_up(&mut self, ask: AskId, text: String) {
        self.answers.count(None, None);
        self.note(true, text);
        self.outputs.push_back(ClientOutput::Answer(ask, CxAnswer::Unreachable));
    }

    fn note(&mut self, refusal: bool, text: String) {
        let clause = if refusal { rfc6733("5") } else { own("diameter") };
        let note = Note::new(clause, text, refusal);
        self.outputs.push_back(ClientOutput::Trace(TraceKind::Note(note)));
    }
}
