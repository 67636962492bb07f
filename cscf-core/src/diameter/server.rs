//! The Diameter server of an HSS: any number of connections, also several of one identity; the
//! questions of Cx come up, answers and demands go down (RFC 6733 §5, TS 29.228 §6).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::clause::{rfc6733, ts29228};
use crate::cx::{CxAnswer, CxCommand, CxDemand, CxRequest, CxResult, DemandId, ResultCode};
use crate::diameter::capabilities::{LocalPeer, Timing};
use crate::diameter::codec::{Avp, Fault, MESSAGE_MAX, Message};
use crate::diameter::dictionary as avp;
use crate::diameter::dictionary::result;
use crate::diameter::peer::{Event, Link, LinkSettings, Side};
use crate::diameter::reply::{Refusal, RequestHead};
use crate::diameter::{answer, demand, request, restoration};
use crate::ids::{Ids, Seed, ShardId};
use crate::time::Instant;
use crate::trace::{Note, Protocol, TraceKind, Wire};
use crate::transport::{ConnId, Flow, Transport};

/// The most connections at once.
const LINKS_MAX: usize = 1_024;
/// The most questions that are not answered at once.
const REQUESTS_MAX: usize = 8_192;
/// The most demands in flight at once.
const DEMANDS_MAX: usize = 8_192;
/// What an answer needs besides its user profile, in bytes.
const ANSWER_MARGIN: usize = 4_096;

/// What a [`DiameterServer`] must know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Who we are.
    pub us: LocalPeer,
    /// Spans.
    pub timing: Timing,
    /// Whether somebody reads the trace; without, only refusals are told.
    pub tracing: bool,
}

/// The number of a question of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What happens to a [`DiameterServer`].
#[derive(Clone, Debug)]
pub enum ServerInput {
    /// The answer to a question.
    Answer(RequestId, CxAnswer),
    /// Bytes of a connection.
    Bytes(ConnId, Bytes),
    /// A connection ended, and why.
    Closed(ConnId, String),
    /// The HSS demands something of an S-CSCF.
    Demand {
        /// Its number, chosen by the HSS.
        demand: DemandId,
        /// Origin-Host of the S-CSCF, as in its SAR or MAR (TS 29.228 table 6.1.3.1).
        destination_host: String,
        /// What is demanded.
        what: CxDemand,
    },
    /// A question gets no answer; nothing is kept of it.
    Forget(RequestId),
    /// A question gets an answer that cannot be understood, for tests of who asks.
    Garbage {
        /// Which one.
        id: RequestId,
        /// The answer is well formed and says success, only its data is garbage.
        data_only: bool,
    },
    /// A peer connected; `conn` is set.
    Opened(Flow),
    /// The node ends: disconnect in order.
    Shutdown,
    /// The time [`DiameterServer::poll_timeout`] named has come.
    Timeout,
}

/// What a [`DiameterServer`] wants.
#[derive(Clone, Debug)]
pub enum ServerOutput {
    /// End a connection.
    Close {
        /// Which one.
        conn: ConnId,
    },
    /// The answer to a demand; `None` when the S-CSCF cannot be reached or does not answer.
    DemandAnswer(DemandId, Option<CxResult>),
    /// A question; answer with [`ServerInput::Answer`].
    Request {
        /// Its number.
        id: RequestId,
        /// Origin-Host of who asks.
        origin_host: String,
        /// The question.
        request: CxRequest,
    },
    /// Something to tell.
    Trace(TraceKind),
    /// Write to a connection.
    Write {
        /// Which one.
        conn: ConnId,
        /// The bytes.
        bytes: Bytes,
    },
}

#[derive(Debug)]
struct Asked {
    conn: ConnId,
    head: RequestHead,
    request: CxRequest,
}

#[derive(Debug)]
struct Demanded {
    demand: DemandId,
    command: u32,
}

/// The server.
#[derive(Debug)]
pub struct DiameterServer {
    config: ServerConfig,
    us: Arc<LocalPeer>,
    ids: Ids,
    links: BTreeMap<ConnId, Link>,
    asked: BTreeMap<RequestId, Asked>,
    request_count: u64,
    demands: BTreeMap<(ConnId, u32), Demanded>,
    /// In order of time, since all wait equally long.
    deadlines: VecDeque<(Instant, ConnId, u32)>,
    session_high: u32,
    session_low: u32,
    outputs: VecDeque<ServerOutput>,
}

impl DiameterServer {
    /// A server without connections.
    #[must_use]
    pub fn new(config: ServerConfig, seed: Seed) -> Self {
        let mut ids = Ids::new(seed, ShardId::default());
        let session_high = u32::try_from(ids.below(1 << 32)).unwrap_or(0);
        Self {
            us: Arc::new(config.us.clone()),
            config,
            ids,
            links: BTreeMap::new(),
            asked: BTreeMap::new(),
            request_count: 0,
            demands: BTreeMap::new(),
            deadlines: VecDeque::new(),
            session_high,
            session_low: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one event.
    pub fn handle_input(&mut self, now: Instant, input: ServerInput) {
        match input {
            ServerInput::Answer(id, answer) => self.on_answer_of_hss(id, &answer),
            ServerInput::Bytes(conn, bytes) => {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.on_bytes(now, &mut self.ids, &bytes);
                    self.drain_link(conn);
                }
            }
            ServerInput::Closed(conn, cause) => {
                if self.links.contains_key(&conn) {
                    self.drain_link(conn);
                    self.forget(conn, &cause);
                }
            }
            ServerInput::Demand { demand, destination_host, what } => {
                self.on_demand(now, demand, &destination_host, &what);
            }
            ServerInput::Forget(id) => {
                self.asked.remove(&id);
            }
            ServerInput::Garbage { id, data_only } => self.answer_garbage(id, data_only),
            ServerInput::Opened(flow) => self.on_opened(now, flow),
            ServerInput::Shutdown => {
                for link in self.links.values_mut() {
                    link.disconnect(now);
                }
                self.drain_links();
            }
            ServerInput::Timeout => self.on_time(now),
        }
    }

    /// Gives one output; `None` when drained.
    pub fn poll_output(&mut self) -> Option<ServerOutput> {
        self.outputs.pop_front()
    }

    /// The next time it wants [`ServerInput::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.values().filter_map(Link::poll_timeout).min();
        let demand = self.deadlines.front().map(|(at, ..)| *at);
        links.into_iter().chain(demand).min()
    }

    /// Origin-Host of every peer that is connected, in the order of the connections.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        let open = self.links.values().filter(|link| link.is_open());
        open.filter_map(|link| link.peer.as_ref().map(|(host, _)| host.as_str()))
    }

    fn on_opened(&mut self, now: Instant, flow: Flow) {
        let Some(conn) = flow.conn else { return };
        if self.links.len() >= LINKS_MAX {
            self.note(true, format!("{LINKS_MAX} connections already: {} refused", flow.remote));
            self.outputs.push_back(ServerOutput::Close { conn });
            return;
        }
        let settings = LinkSettings {
            us: Arc::clone(&self.us),
            side: Side::Server,
            timing: self.config.timing,
            local: flow.local,
            remote: flow.remote,
        };
        self.links.insert(conn, Link::accept(settings, now, &mut self.ids));
    }

    fn on_answer_of_hss(&mut self, id: RequestId, answer: &CxAnswer) {
        let Some(Asked { conn, head, request }) = self.asked.remove(&id) else { return };
        let Some(link) = self.links.get_mut(&conn) else { return };
        // A protocol error has its own form, with the E bit (RFC 6733 §7.1.3).
        if let Some(code) = protocol_error(answer) {
            link.refuse(&head, &Refusal::new(code, "as the HSS decides".to_owned()));
            return self.drain_link(conn);
        }
        let mut avps = Vec::new();
        answer::encode(answer, &request, &mut avps);
        let length: usize = avps.iter().map(|avp| avp.data.len() + 16).sum();
        if length + ANSWER_MARGIN > MESSAGE_MAX {
            let text = format!("the answer would have more than {MESSAGE_MAX} bytes");
            link.refuse(&head, &Refusal::new(result::UNABLE_TO_COMPLY, text));
        } else {
            link.send_answer(&head, avps);
        }
        self.drain_link(conn);
    }

    fn answer_garbage(&mut self, id: RequestId, data_only: bool) {
        let Some(Asked { conn, head, request }) = self.asked.remove(&id) else { return };
        // Neither text nor an AVP: its length goes beyond the message.
        let noise = [[0xff; 16], self.ids.rand16()].concat();
        let Some(link) = self.links.get_mut(&conn) else { return };
        if data_only {
            let carries = match request.command() {
                CxCommand::Lir | CxCommand::Uar => &avp::SERVER_CAPABILITIES,
                CxCommand::Mar => &avp::SIP_AUTH_DATA_ITEM,
                CxCommand::Sar => &avp::USER_DATA,
            };
            let result = match request.command() {
                CxCommand::Uar => CxResult::FirstRegistration,
                CxCommand::Lir => CxResult::UnregisteredService,
                CxCommand::Mar | CxCommand::Sar => CxResult::Success,
            };
            link.send_answer(
                &head,
                vec![answer::encode_result(result), Avp::octets(carries, noise)],
            );
        } else {
            link.send_garbage(&head, &noise);
        }
        self.drain_link(conn);
    }

    /// Sends a demand on a connection of the S-CSCF, the newest first.
    fn on_demand(&mut self, now: Instant, demand: DemandId, host: &str, what: &CxDemand) {
        let is_theirs = |link: &Link| {
            link.is_usable()
                && link.peer.as_ref().is_some_and(|(peer, _)| peer.eq_ignore_ascii_case(host))
        };
        let found = self.links.iter_mut().rev().find(|(_, link)| is_theirs(link));
        let (Some((conn, link)), true) = (found, self.demands.len() < DEMANDS_MAX) else {
            self.note(true, format!("no connection of {host}: the demand cannot be sent"));
            self.outputs.push_back(ServerOutput::DemandAnswer(demand, None));
            return;
        };
        let conn = *conn;
        let (peer_host, realm) = link.peer.clone().unwrap_or_default();
        self.session_low = self.session_low.wrapping_add(1);
        let (us, high, low) = (&self.us.origin_host, self.session_high, self.session_low);
        let mut avps = link.cx_avps(format!("{us};{high};{low}"));
        avps.push(Avp::text(&avp::DESTINATION_HOST, &peer_host));
        avps.push(Avp::text(&avp::DESTINATION_REALM, &realm));
        demand::encode(what, &mut avps);
        let command = demand::command_of(what);
        let hop_by_hop = link.send_request(command, avps);
        self.demands.insert((conn, hop_by_hop), Demanded { demand, command });
        let until = now + self.config.timing.answer_within;
        self.deadlines.push_back((until, conn, hop_by_hop));
        self.drain_link(conn);
    }

    fn on_time(&mut self, now: Instant) {
        while let Some((at, conn, hop_by_hop)) = self.deadlines.front().copied() {
            let answered = !self.demands.contains_key(&(conn, hop_by_hop));
            if at > now && !answered {
                break;
            }
            self.deadlines.pop_front();
            if let Some(demanded) = self.demands.remove(&(conn, hop_by_hop)) {
                self.note(true, "a demand is not answered in time".to_owned());
                self.outputs.push_back(ServerOutput::DemandAnswer(demanded.demand, None));
            }
        }
        for link in self.links.values_mut() {
            link.on_timeout(now, &mut self.ids);
        }
        self.drain_links();
    }

    fn drain_links(&mut self) {
        let conns: Vec<ConnId> = self.links.keys().copied().collect();
        for conn in conns {
            self.drain_link(conn);
        }
    }

    fn drain_link(&mut self, conn: ConnId) {
        let tracing = self.config.tracing;
        while let Some(link) = self.links.get_mut(&conn) {
            let Some(event) = link.poll_event() else { return };
            let (local, remote) = (link.local, link.remote);
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
                        self.outputs.push_back(ServerOutput::Trace(sent));
                    }
                    self.outputs.push_back(ServerOutput::Write { conn, bytes });
                }
                Event::Received(bytes) if tracing => {
                    let received = TraceKind::Received(wire(bytes));
                    self.outputs.push_back(ServerOutput::Trace(received));
                }
                Event::Note(note) => {
                    self.outputs.push_back(ServerOutput::Trace(TraceKind::Note(note)));
                }
                Event::Received(_) => {}
                Event::Usable => {}
                Event::Request(message) => self.on_request(conn, &message),
                Event::Answer(message) => self.on_demand_answer(conn, &message),
                Event::Spoiled { hop_by_hop, fault } => {
                    self.on_spoiled(conn, hop_by_hop, &fault);
                }
                Event::Down(cause) => {
                    self.outputs.push_back(ServerOutput::Close { conn });
                    self.forget(conn, &cause);
                }
            }
        }
    }

    fn on_request(&mut self, conn: ConnId, message: &Message) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let head = RequestHead::of(message);
        if self.asked.len() >= REQUESTS_MAX {
            let text = format!("{REQUESTS_MAX} questions wait already");
            return link.refuse(&head, &Refusal::new(result::TOO_BUSY, text));
        }
        let lacking = |features: &Avp| features.mandatory && !restoration::all_supported(features);
        if message.all(&avp::SUPPORTED_FEATURES).any(lacking) {
            let ours = restoration::supported_features();
            let result = CxResult::FeatureUnsupported;
            link.send_answer(&head, vec![answer::encode_result(result), ours]);
            let text = format!("{}: a feature is demanded: {result}", message.name());
            return self.note(true, text);
        }
        match request::decode(message) {
            Err(fault) => link.refuse(&head, &Refusal::from(&fault)),
            Ok(request) => {
                self.request_count += 1;
                let id = RequestId(self.request_count);
                let origin_host = message.text(&avp::ORIGIN_HOST).unwrap_or_default().to_owned();
                self.asked.insert(id, Asked { conn, head, request: request.clone() });
                self.outputs.push_back(ServerOutput::Request { id, origin_host, request });
            }
        }
    }

    fn on_demand_answer(&mut self, conn: ConnId, message: &Message) {
        let key = (conn, message.header.hop_by_hop);
        let matches = |demanded: &Demanded| demanded.command == message.header.command;
        if !self.demands.get(&key).is_some_and(matches) {
            return self.note(true, format!("{} to no demand of ours: dropped", message.name()));
        }
        let Some(demanded) = self.demands.remove(&key) else { return };
        let result = match answer::decode_result(message) {
            Ok(result) => Some(result),
            Err(fault) => {
                self.note(true, format!("{} is wrong: {fault}", message.name()));
                None
            }
        };
        self.outputs.push_back(ServerOutput::DemandAnswer(demanded.demand, result));
    }

    fn on_spoiled(&mut self, conn: ConnId, hop_by_hop: u32, fault: &Fault) {
        self.note(true, format!("an answer cannot be read: {fault}"));
        if let Some(demanded) = self.demands.remove(&(conn, hop_by_hop)) {
            self.outputs.push_back(ServerOutput::DemandAnswer(demanded.demand, None));
        }
    }

    /// The connection is gone, and with it what waited on it.
    fn forget(&mut self, conn: ConnId, cause: &str) {
        let Some(link) = self.links.remove(&conn) else { return };
        let name = link.peer.map_or_else(|| link.remote.to_string(), |(host, _)| host);
        self.note(false, format!("{name} is disconnected: {cause}"));
        self.asked.retain(|_, asked| asked.conn != conn);
        let lost: Vec<_> = self.demands.keys().filter(|(of, _)| *of == conn).copied().collect();
        for key in lost {
            if let Some(demanded) = self.demands.remove(&key) {
                self.outputs.push_back(ServerOutput::DemandAnswer(demanded.demand, None));
            }
        }
    }

    fn note(&mut self, refusal: bool, text: String) {
        let clause = if refusal { ts29228("6") } else { rfc6733("5") };
        let note = Note::new(clause, text, refusal);
        self.outputs.push_back(ServerOutput::Trace(TraceKind::Note(note)));
    }
}

/// The Result-Code of an answer, if it is that of a protocol error.
const fn protocol_error(answer: &CxAnswer) -> Option<u32> {
    match answer.result() {
        Some(result) => match result.code() {
            ResultCode::Base(code) if code >= 3000 && code < 4000 => Some(code),
            ResultCode::Base(_) | ResultCode::Experimental(_) => None,
        },
        None => None,
    }
}
