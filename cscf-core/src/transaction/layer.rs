//! The transaction layer: finds the machine for each message, files the machines' deadlines, and
//! bounds their number. It knows of flows only that bytes can be sent on them.

use bytes::Bytes;

use super::key::has_rfc3261_branch;
use super::{
    Client, Effect, InviteClient, InviteClientState, InviteServer, InviteServerState, Key,
    KeyError, Keys, Refused, Reliability, Server, ServerState, Timers, Trying, cancel_of,
};
use crate::ids::Seed;
use crate::map::{Map, map};
use crate::sip::{Message, Method, Request, Response, parse};
use crate::time::{DeadlineId, Duration, Instant, Wheel};
use crate::transport::Flow;

use std::collections::BTreeSet;

/// A client transaction. Stale ids are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Id);

/// A server transaction. Stale ids are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(Id);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id {
    index: u32,
    life: u32,
}

/// How the layer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSettings {
    /// At most so many client transactions.
    pub clients_max: usize,
    /// At most so many server transactions.
    pub servers_max: usize,
    /// After which time of silence of the TU an INVITE is answered with 100: zero at a proxy,
    /// 200 ms at a UAS that takes its time, `None` if the TU always answers within 200 ms.
    pub trying_after: Option<Duration>,
    /// Whether merged requests are told from new ones, as a UAS needs it and a proxy must not
    /// (RFC 3261 §8.2.2.2).
    pub detect_merged: bool,
}

impl Default for LayerSettings {
    fn default() -> Self {
        Self {
            clients_max: 1_000_000,
            servers_max: 1_000_000,
            trying_after: Some(Duration::ZERO),
            detect_merged: false,
        }
    }
}

/// Bytes for a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where they go.
    pub flow: Flow,
    /// The message.
    pub bytes: Bytes,
    /// The client transaction, if it is one's request, so that its failure can be told back with
    /// [`TransactionLayer::client_failed`].
    pub client: Option<ClientId>,
}

/// What the layer tells besides the direct answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client transaction is over; nothing comes of it any more.
    ClientEnded(ClientId),
    /// No final response came in time: to the TU a 408 (RFC 3261 §8.1.3.1).
    ClientTimedOut(ClientId),
    /// The request did not get through: to the TU a 503 (RFC 3261 §8.1.3.1, §16.9).
    ClientTransportFailed(ClientId),
    /// No ACK came for the final response to an INVITE (timer H).
    ServerNotAcknowledged(ServerId),
    /// The server transaction is over.
    ServerEnded(ServerId),
}

/// What calls leave behind, in order: first [`Outbox::transmits`], then [`Outbox::events`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    /// To be sent.
    pub transmits: Vec<Transmit>,
    /// To be told.
    pub events: Vec<Event>,
}

/// Which INVITE a CANCEL is about (RFC 3261 §9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelTarget {
    /// An INVITE that has its final response: the CANCEL gets 200 and has no effect.
    Answered(ServerId),
    /// None: the CANCEL gets 481.
    None,
    /// An INVITE without a final response: the CANCEL gets 200, the INVITE usually 487.
    Pending(ServerId),
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Taken care of: a retransmission, or the ACK of a 3xx–6xx.
    Absorbed,
    /// The ACK of a 2xx that came with the branch of its INVITE; the TU's to see.
    Ack(ServerId),
    /// A CANCEL, which is a transaction of its own, and what it is about.
    Cancel(ServerId, CancelTarget),
    /// A new request, for which there is no room: answer 503 without a transaction.
    Full,
    /// Another copy of a request that is being handled: answer 482 (RFC 3261 §8.2.2.2). Only with
    /// [`LayerSettings::detect_merged`].
    Merged(ServerId),
    /// A new request; the TU's to see.
    New(ServerId),
    /// An ACK without a transaction, so that of a 2xx; the TU's to see.
    StrayAck,
}

/// What a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Taken care of.
    Absorbed,
    /// The TU's to see. For an INVITE each repeated 2xx comes again.
    Response(ClientId),
    /// A response without a transaction. Not to be forwarded (RFC 6026 §7.3, RFC 4320 §4.2).
    Stray,
}

/// Why no client transaction was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The branch is in use with this method. The culprit is us.
    #[error("branch is in use")]
    BranchInUse,
    /// There are too many client transactions.
    #[error("client transaction table is full")]
    Full,
    /// An ACK has no client transaction. The culprit is us.
    #[error("an ACK has no transaction")]
    IsAck,
    /// The request has no Via with a branch. The culprit is us.
    #[error("request has no branch")]
    NoBranch,
}

/// What became of the wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// No provisional response has come: the CANCEL goes out when one does (RFC 3261 §9.1).
    Held,
    /// The CANCEL went out. Its own responses are absorbed here.
    Sent,
    /// The INVITE has its final response, or is no INVITE, or there is no room.
    TooLate,
}

/// All transactions of a node.
#[derive(Debug)]
pub struct TransactionLayer {
    keys: Keys,
    settings: LayerSettings,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_key: Map<Key, u32>,
    merged: Map<Key, u32>,
    /// Client transactions that wait for a response, by the flow their request took.
    waiting: BTreeSet<(Flow, u32)>,
    deadlines: Wheel<u32>,
    client_count: usize,
    server_count: usize,
    /// Emptied before each use; kept for its room.
    effects: Vec<Effect>,
}

#[derive(Debug, Default)]
struct Slot {
    life: u32,
    record: Option<Record>,
}

/// A transaction. What only an unfinished one needs is in `path`, so that those who merely linger
/// are small.
#[derive(Debug)]
struct Record {
    key: Key,
    machine: Machine,
    deadline: Option<DeadlineId>,
    timers: Timers,
    path: Option<Box<Path>>,
}

#[derive(Debug)]
enum Machine {
    Client(Client),
    InviteClient(InviteClient),
    InviteServer(InviteServer),
    Server(Server),
}

#[derive(Debug)]
struct Path {
    flow: Flow,
    merged: Option<Key>,
    /// The transaction is a CANCEL of this layer's own.
    own_cancel: bool,
    /// A CANCEL waits for a provisional response; its Reason.
    held_cancel: Option<Option<String>>,
    cancel_sent: bool,
}

impl Machine {
    const fn is_client(&self) -> bool {
        matches!(self, Self::Client(_) | Self::InviteClient(_))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Client(it) => it.poll_timeout(),
            Self::InviteClient(it) => it.poll_timeout(),
            Self::InviteServer(it) => it.poll_timeout(),
            Self::Server(it) => it.poll_timeout(),
        }
    }

    fn handle_timeout(&mut self, now: Instant, timers: &Timers, out: &mut Vec<Effect>) {
        match self {
            Self::Client(it) => it.handle_timeout(now, timers, out),
            Self::InviteClient(it) => it.handle_timeout(now, out),
            Self::InviteServer(it) => it.handle_timeout(now, timers, out),
            Self::Server(it) => it.handle_timeout(now, out),
        }
    }

    fn is_terminated(&self) -> bool {
        match self {
            Self::Client(it) => *it.state() == super::ClientState::Terminated,
            Self::InviteClient(it) => *it.state() == InviteClientState::Terminated,
            Self::InviteServer(it) => *it.state() == InviteServerState::Terminated,
            Self::Server(it) => *it.state() == ServerState::Terminated,
        }
    }

    /// Whether a response is still awaited, so that a failing path matters.
    const fn is_waiting(&self) -> bool {
        match self {
            Self::Client(it) => matches!(
                it.state(),
                super::ClientState::Proceeding { .. } | super::ClientState::Trying { .. }
            ),
            Self::InviteClient(it) => it.request().is_some(),
            Self::InviteServer(_) | Self::Server(_) => false,
        }
    }

    /// Whether the path is still needed: to send by it without being asked.
    const fn needs_path(&self) -> bool {
        match self {
            Self::Client(_) => self.is_waiting(),
            Self::Server(it) => it.is_pending(),
            Self::InviteClient(it) => !matches!(it.state(), InviteClientState::Accepted { .. }),
            Self::InviteServer(it) => !matches!(it.state(), InviteServerState::Confirmed { .. }),
        }
    }
}

impl TransactionLayer {
    /// No transactions yet.
    #[must_use]
    pub fn new(seed: &Seed, settings: LayerSettings) -> Self {
        Self {
            keys: Keys::new(seed),
            settings,
            slots: Vec::new(),
            free: Vec::new(),
            by_key: map(seed),
            merged: map(seed),
            waiting: BTreeSet::new(),
            deadlines: Wheel::new(),
            client_count: 0,
            server_count: 0,
            effects: Vec::new(),
        }
    }

    /// How many transactions there are, lingering ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.client_count + self.server_count
    }

    /// Whether there is no transaction.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many client transactions there are.
    #[must_use]
    pub const fn client_count(&self) -> usize {
        self.client_count
    }

    /// How many server transactions there are.
    #[must_use]
    pub const fn server_count(&self) -> usize {
        self.server_count
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Acts on all deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(index) = self.deadlines.pop_due(now) {
            if let Some(record) = self.record(index) {
                record.deadline = None;
            }
            self.step(index, None, out, |machine, timers, effects| {
                machine.handle_timeout(now, timers, effects);
            });
        }
    }

    /// Takes a request as it came from the wire: its top Via must not be changed yet, or always in
    /// the same way. `timers` are those of the side it came from; they count for a new transaction.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when no transaction can be told from it; answer 400 without one.
    pub fn receive_request(
        &mut self,
        now: Instant,
        request: &Request,
        flow: Flow,
        timers: &Timers,
        out: &mut Outbox,
    ) -> Result<ServerEvent, KeyError> {
        let key = self.keys.server(request)?;
        let known = self.by_key.get(&key).copied();
        if request.method == Method::Ack {
            return Ok(self.receive_ack(now, known, request, out));
        }
        if let Some(index) = known {
            self.step(index, Some(flow), out, |machine, _, effects| match machine {
                Machine::InviteServer(it) => it.on_retransmission(effects),
                Machine::Server(it) => it.on_retransmission(effects),
                Machine::Client(_) | Machine::InviteClient(_) => {}
            });
            return Ok(ServerEvent::Absorbed);
        }
        let target = match request.method {
            Method::Cancel => Some(self.cancel_target(request)?),
            _ => None,
        };
        if self.server_count >= self.settings.servers_max {
            return Ok(ServerEvent::Full);
        }
        let (id, merged) = self.open_server(now, key, request, flow, timers, out);
        Ok(match target {
            Some(target) => ServerEvent::Cancel(id, target),
            None if merged => ServerEvent::Merged(id),
            None => ServerEvent::New(id),
        })
    }

    /// Sends a response of the TU; Via and To tag are in it.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the transaction does not send it.
    pub fn send_response(
        &mut self,
        now: Instant,
        id: ServerId,
        response: &Response,
        out: &mut Outbox,
    ) -> Result<(), Refused> {
        self.checked(id.0).ok_or(Refused::Gone)?;
        let (status, bytes) = (response.status, response.to_bytes());
        let mut result = Err(Refused::Gone);
        self.step(id.0.index, None, out, |machine, timers, effects| {
            result = match machine {
                Machine::InviteServer(it) => it.send_response(now, status, bytes, timers, effects),
                Machine::Server(it) => it.send_response(now, status, bytes, timers, effects),
                Machine::Client(_) | Machine::InviteClient(_) => Err(Refused::Gone),
            };
        });
        result
    }

    /// The TU has no final response for this request other than INVITE and never will: its client
    /// has run out of time (RFC 4320 §4.2). The transaction absorbs retransmissions for its last
    /// time. Nothing happens to an INVITE.
    pub fn no_answer(&mut self, now: Instant, id: ServerId, out: &mut Outbox) {
        if self.checked(id.0).is_none() {
            return;
        }
        self.step(id.0.index, None, out, |machine, timers, _| {
            if let Machine::Server(it) = machine {
                it.on_no_answer(now, timers);
            }
        });
    }

    /// Whether the server transaction waits for its final response.
    #[must_use]
    pub fn is_pending(&self, id: ServerId) -> bool {
        match self.checked(id.0).map(|record| &record.machine) {
            Some(Machine::InviteServer(it)) => it.is_pending(),
            Some(Machine::Server(it)) => it.is_pending(),
            _ => false,
        }
    }

    /// The flow the responses of a server transaction take, as long as it is kept.
    #[must_use]
    pub fn server_flow(&self, id: ServerId) -> Option<Flow> {
        self.checked(id.0)?.path.as_ref().map(|path| path.flow)
    }

    /// Moves a server transaction to another flow: its connection is gone and a new one was opened
    /// (RFC 3261 §18.2.2).
    pub fn set_server_flow(&mut self, id: ServerId, flow: Flow) {
        if self.checked(id.0).is_some()
            && let Some(path) = self.record(id.0.index).and_then(|record| record.path.as_mut())
        {
            path.flow = flow;
        }
    }

    /// Sends a request, ready for the wire with our Via on top, and opens its client transaction.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing was sent then.
    pub fn start_client(
        &mut self,
        now: Instant,
        request: &Request,
        flow: Flow,
        timers: &Timers,
        out: &mut Outbox,
    ) -> Result<ClientId, StartError> {
        if request.method == Method::Ack {
            return Err(StartError::IsAck);
        }
        let branch = request.top_branch().ok_or(StartError::NoBranch)?;
        let key = self.keys.client(branch, request.method.as_str());
        if self.by_key.contains_key(&key) {
            return Err(StartError::BranchInUse);
        }
        if self.client_count >= self.settings.clients_max {
            return Err(StartError::Full);
        }
        let (bytes, reliability) = (request.to_bytes(), Reliability::from(flow.transport));
        let mut effects = std::mem::take(&mut self.effects);
        let machine = if request.method == Method::Invite {
            let it = InviteClient::start(now, bytes, reliability, timers, &mut effects);
            Machine::InviteClient(it)
        } else {
            Machine::Client(Client::start(now, bytes, reliability, timers, &mut effects))
        };
        let id = self.insert(key, machine, flow, timers);
        self.waiting.insert((flow, id.index));
        self.client_count += 1;
        self.effects = effects;
        self.settle(id.index, None, out);
        Ok(ClientId(id))
    }

    /// Takes a response as it came from the wire, our Via on top.
    pub fn receive_response(
        &mut self,
        now: Instant,
        response: &Response,
        out: &mut Outbox,
    ) -> ClientEvent {
        let key = self.keys.of_response(response).ok();
        let Some(index) = key.and_then(|key| self.by_key.get(&key)).copied() else {
            return ClientEvent::Stray;
        };
        let (id, own) = (self.id(index), self.is_own_cancel(index));
        let passed = self.step(index, None, out, |machine, timers, effects| match machine {
            Machine::InviteClient(it) => it.on_response(now, response, timers, effects),
            Machine::Client(it) => it.on_response(now, response.status, timers, effects),
            Machine::InviteServer(_) | Machine::Server(_) => {}
        });
        self.release_cancel(now, index, out);
        if passed && !own { ClientEvent::Response(ClientId(id)) } else { ClientEvent::Absorbed }
    }

    /// Cancels an INVITE of ours: at once, or when the first provisional response comes (RFC 3261
    /// §9.1). `reason` is the value of a Reason header.
    pub fn cancel(
        &mut self,
        now: Instant,
        id: ClientId,
        reason: Option<&str>,
        out: &mut Outbox,
    ) -> Cancelled {
        if self.checked(id.0).is_none() {
            return Cancelled::TooLate;
        }
        let Some(record) = self.record(id.0.index) else { return Cancelled::TooLate };
        let (Machine::InviteClient(it), Some(path)) = (&record.machine, &mut record.path) else {
            return Cancelled::TooLate;
        };
        if it.request().is_none() {
            return Cancelled::TooLate;
        }
        if path.cancel_sent {
            return Cancelled::Sent;
        }
        path.held_cancel.get_or_insert_with(|| reason.map(str::to_owned));
        if self.release_cancel(now, id.0.index, out) { Cancelled::Sent } else { Cancelled::Held }
    }

    /// A request could not be sent, or its connection went down.
    pub fn client_failed(&mut self, id: ClientId, out: &mut Outbox) {
        if self.checked(id.0).is_some() {
            self.fail(id.0.index, out);
        }
    }

    /// A path does not work any more: all requests waiting on it have failed. Whether it is
    /// protected by a security association makes no difference.
    pub fn flow_failed(&mut self, flow: &Flow, out: &mut Outbox) {
        let same = |other: &Flow| Flow { sa: None, ..*other } == Flow { sa: None, ..*flow };
        let first = (Flow { sa: None, ..*flow }, 0);
        let failed: Vec<u32> = self
            .waiting
            .range(first..)
            .take_while(|(other, _)| same(other))
            .map(|(_, index)| *index)
            .collect();
        for index in failed {
            self.fail(index, out);
        }
    }

    /// Forgets a client transaction without a word: its TU has given it up (a budget ran out). Late
    /// responses are stray.
    pub fn drop_client(&mut self, id: ClientId) {
        if self.checked(id.0).is_some() {
            self.remove(id.0.index);
        }
    }

    fn fail(&mut self, index: u32, out: &mut Outbox) {
        self.step(index, None, out, |machine, _, effects| match machine {
            Machine::Client(it) => it.on_transport_failure(effects),
            Machine::InviteClient(it) => it.on_transport_failure(effects),
            Machine::InviteServer(_) | Machine::Server(_) => {}
        });
    }

    fn receive_ack(
        &mut self,
        now: Instant,
        known: Option<u32>,
        ack: &Request,
        out: &mut Outbox,
    ) -> ServerEvent {
        let Some(index) = known else { return ServerEvent::StrayAck };
        if !has_rfc3261_branch(ack) && !self.answers_to(index, ack) {
            return ServerEvent::StrayAck;
        }
        let id = ServerId(self.id(index));
        let passed = self.step(index, None, out, |machine, timers, effects| {
            if let Machine::InviteServer(it) = machine {
                it.on_ack(now, timers, effects);
            }
        });
        if passed { ServerEvent::Ack(id) } else { ServerEvent::Absorbed }
    }

    /// By RFC 2543 an ACK belongs to an INVITE only if its To tag is that of the response sent.
    fn answers_to(&self, index: u32, ack: &Request) -> bool {
        let record = self.slots.get(index as usize).and_then(|slot| slot.record.as_ref());
        let Some(Machine::InviteServer(it)) = record.map(|record| &record.machine) else {
            return false;
        };
        match it.state() {
            InviteServerState::Completed { response, .. } => {
                let sent = parse(response).ok();
                sent.as_ref().and_then(Message::to_tag) == ack.to_tag()
            }
            _ => true,
        }
    }

    fn cancel_target(&self, cancel: &Request) -> Result<CancelTarget, KeyError> {
        let invite = self.keys.invite_of(cancel)?;
        let Some(index) = self.by_key.get(&invite) else { return Ok(CancelTarget::None) };
        let id = ServerId(self.id(*index));
        Ok(match self.is_pending(id) {
            true => CancelTarget::Pending(id),
            false => CancelTarget::Answered(id),
        })
    }

    fn open_server(
        &mut self,
        now: Instant,
        key: Key,
        request: &Request,
        flow: Flow,
        timers: &Timers,
        out: &mut Outbox,
    ) -> (ServerId, bool) {
        let reliability = Reliability::from(flow.transport);
        let trying = || request.reply(100).to_bytes();
        let mut effects = std::mem::take(&mut self.effects);
        let machine = if request.method == Method::Invite {
            let trying = match self.settings.trying_after {
                None => Trying::Never,
                Some(Duration::ZERO) => Trying::Now(trying()),
                Some(after) => Trying::At(now + after, trying()),
            };
            Machine::InviteServer(InviteServer::start(trying, reliability, &mut effects))
        } else {
            Machine::Server(Server::start(now, trying(), reliability, timers, &mut effects))
        };
        let id = self.insert(key, machine, flow, timers);
        self.server_count += 1;
        let merged = self.note_merged(id.index, request);
        self.effects = effects;
        self.settle(id.index, None, out);
        (ServerId(id), merged)
    }

    /// Counts the copies of a request; says whether this is not the first.
    fn note_merged(&mut self, index: u32, request: &Request) -> bool {
        if !self.settings.detect_merged || request.method == Method::Cancel {
            return false;
        }
        let Some(key) = self.keys.merged(request) else { return false };
        if let Some(path) = self.record(index).and_then(|record| record.path.as_mut()) {
            path.merged = Some(key);
        }
        let count = self.merged.entry(key).or_insert(0);
        *count += 1;
        *count > 1
    }

    /// Sends the CANCEL that waits, if it need not wait any more.
    fn release_cancel(&mut self, now: Instant, index: u32, out: &mut Outbox) -> bool {
        let Some(record) = self.record(index) else { return false };
        let timers = record.timers;
        let (Machine::InviteClient(it), Some(path)) = (&mut record.machine, &mut record.path)
        else {
            return false;
        };
        if path.held_cancel.is_none() || !it.on_cancel(now, &timers) {
            return false;
        }
        let (flow, reason) = (path.flow, path.held_cancel.take().flatten());
        path.cancel_sent = true;
        let cancel = it.request().and_then(|invite| cancel_of(invite, reason.as_deref()));
        self.settle(index, None, out);
        let Some(cancel) = cancel else { return false };
        let Ok(id) = self.start_client(now, &cancel, flow, &timers, out) else { return false };
        if let Some(path) = self.record(id.0.index).and_then(|record| record.path.as_mut()) {
            path.own_cancel = true;
        }
        true
    }

    /// Lets `act` work on a machine and carries out its effects; says whether the TU shall see the
    /// message. `flow` is where a retransmission came from.
    fn step(
        &mut self,
        index: u32,
        flow: Option<Flow>,
        out: &mut Outbox,
        act: impl FnOnce(&mut Machine, &Timers, &mut Vec<Effect>),
    ) -> bool {
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(record) = self.record(index) {
            let timers = record.timers;
            act(&mut record.machine, &timers, &mut effects);
        }
        self.effects = effects;
        self.settle(index, flow, out)
    }

    /// Carries out `self.effects` for a transaction, files its deadline, removes it when it is
    /// over. Says whether the TU shall see the message.
    fn settle(&mut self, index: u32, flow: Option<Flow>, out: &mut Outbox) -> bool {
        let mut effects = std::mem::take(&mut self.effects);
        let (id, own) = (self.id(index), self.is_own_cancel(index));
        let (mut passed, mut ended) = (false, false);
        if let Some(record) = self.record(index) {
            let flow = flow.or_else(|| record.path.as_ref().map(|path| path.flow));
            let client = record.machine.is_client().then_some(ClientId(id));
            ended = record.machine.is_terminated();
            for effect in effects.drain(..) {
                match (effect, client) {
                    (Effect::PassUp, _) => passed = true,
                    (Effect::Send(bytes), _) => {
                        out.transmits.extend(flow.map(|flow| Transmit { flow, bytes, client }));
                    }
                    (Effect::TimedOut | Effect::TransportFailed, Some(_)) if own => {}
                    (Effect::TimedOut, Some(id)) => out.events.push(Event::ClientTimedOut(id)),
                    (Effect::TransportFailed, Some(id)) => {
                        out.events.push(Event::ClientTransportFailed(id));
                    }
                    (Effect::TimedOut | Effect::TransportFailed, None) => {
                        out.events.push(Event::ServerNotAcknowledged(ServerId(id)));
                    }
                }
            }
        }
        effects.clear();
        self.effects = effects;
        if ended {
            let client = self.remove(index);
            match client {
                true if own => {}
                true => out.events.push(Event::ClientEnded(ClientId(id))),
                false => out.events.push(Event::ServerEnded(ServerId(id))),
            }
        } else {
            self.trim(index);
            self.file(index);
        }
        passed
    }

    /// Lets go of what the machine does not need any more.
    fn trim(&mut self, index: u32) {
        let Some(record) = self.record(index) else { return };
        let Some(path) = &record.path else { return };
        let flow = path.flow;
        let waits = record.machine.is_waiting();
        let keeps = record.machine.needs_path() || path.merged.is_some() || path.own_cancel;
        let client = record.machine.is_client();
        if !keeps {
            record.path = None;
        }
        if client && !waits {
            self.waiting.remove(&(flow, index));
        }
    }

    fn file(&mut self, index: u32) {
        let Some(record) = self.slots.get_mut(index as usize).and_then(|it| it.record.as_mut())
        else {
            return;
        };
        match (record.machine.poll_timeout(), record.deadline) {
            (Some(at), Some(id)) if self.deadlines.reschedule(id, at) => {}
            (Some(at), _) => record.deadline = Some(self.deadlines.insert(at, index)),
            (None, Some(id)) => {
                self.deadlines.cancel(id);
                record.deadline = None;
            }
            (None, None) => {}
        }
    }

    fn insert(&mut self, key: Key, machine: Machine, flow: Flow, timers: &Timers) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let path =
            Path { flow, merged: None, own_cancel: false, held_cancel: None, cancel_sent: false };
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.record = Some(Record {
                key,
                machine,
                deadline: None,
                timers: *timers,
                path: Some(Box::new(path)),
            });
        }
        self.by_key.insert(key, index);
        self.id(index)
    }

    /// Removes a transaction; says whether it was a client's.
    fn remove(&mut self, index: u32) -> bool {
        let Some(slot) = self.slots.get_mut(index as usize) else { return false };
        let Some(record) = slot.record.take() else { return false };
        slot.life = slot.life.wrapping_add(1);
        self.free.push(index);
        self.by_key.remove(&record.key);
        if let Some(id) = record.deadline {
            self.deadlines.cancel(id);
        }
        if let Some(path) = record.path {
            self.waiting.remove(&(path.flow, index));
            if let Some(key) = path.merged
                && let Some(count) = self.merged.get_mut(&key)
            {
                *count -= 1;
                if *count == 0 {
                    self.merged.remove(&key);
                }
            }
        }
        let client = record.machine.is_client();
        if client {
            self.client_count -= 1;
        } else {
            self.server_count -= 1;
        }
        client
    }

    fn id(&self, index: u32) -> Id {
        Id { index, life: self.slots.get(index as usize).map_or(0, |slot| slot.life) }
    }

    fn is_own_cancel(&self, index: u32) -> bool {
        let record = self.slots.get(index as usize).and_then(|slot| slot.record.as_ref());
        record.and_then(|record| record.path.as_ref()).is_some_and(|path| path.own_cancel)
    }

    fn record(&mut self, index: u32) -> Option<&mut Record> {
        self.slots.get_mut(index as usize)?.record.as_mut()
    }

    fn checked(&self, id: Id) -> Option<&Record> {
        let slot = self.slots.get(id.index as usize)?;
        slot.record.as_ref().filter(|_| slot.life == id.life)
    }
}
