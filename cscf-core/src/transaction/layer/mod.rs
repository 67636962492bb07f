//! The transaction layer: finds the machine for each message, files the machines' deadlines, and
//! bounds their number. It knows of flows only that bytes can be sent on them.

mod answers;
mod event;
#[cfg(test)]
mod programs;
mod table;
#[cfg(test)]
mod tests;

use super::derived::trying_of;
use super::key::has_rfc3261_branch;
use super::{
    Client, Effect, InviteClient, InviteServer, InviteServerState, KeyError, Keys, Refused,
    Reliability, Server, Timers, Trying, cancel_of,
};
use crate::ids::Seed;
use crate::sip::{Message, Method, Request, Response, parse};
use crate::time::{Duration, Instant};
use crate::transport::Flow;

use answers::Answers;
pub use event::{
    CancelTarget, Cancelled, ClientEvent, Event, LayerSettings, Outbox, ServerEvent, StartError,
    Transmit, TuId,
};
use table::{Id, Machine, Table};

/// A client transaction. Stale ids are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Id);

/// A server transaction. Stale ids are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(Id);

/// All transactions of a node.
#[derive(Debug)]
pub struct TransactionLayer {
    keys: Keys,
    settings: LayerSettings,
    table: Table,
    answers: Answers,
    /// Emptied before each use; kept for its room.
    effects: Vec<Effect>,
}

/// A transaction as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `client` or `server`.
    pub side: &'static str,
    /// `INVITE` or `non-INVITE`.
    pub kind: &'static str,
    /// The name of its state.
    pub state: &'static str,
    /// Where it sends; none while it only lingers, unless it is protected.
    pub flow: Option<Flow>,
}

impl TransactionLayer {
    /// No transactions yet.
    #[must_use]
    pub fn new(seed: &Seed, settings: LayerSettings) -> Self {
        let (table, answers) = (Table::new(seed), Answers::default());
        Self { keys: Keys::new(seed), settings, table, answers, effects: Vec::new() }
    }

    /// How many transactions there are, lingering ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.table.client_count + self.table.server_count
    }

    /// Whether there is no transaction.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many client transactions there are.
    #[must_use]
    pub const fn client_count(&self) -> usize {
        self.table.client_count
    }

    /// How many server transactions there are.
    #[must_use]
    pub const fn server_count(&self) -> usize {
        self.table.server_count
    }

    /// Every transaction as an operator sees it, in the order of the places they have.
    pub fn list(&self) -> impl Iterator<Item = Listed> {
        self.table.records().map(|record| Listed {
            side: if record.machine.is_client() { "client" } else { "server" },
            kind: match record.machine {
                Machine::InviteClient(_) | Machine::InviteServer(_) => "INVITE",
                Machine::Client(_) | Machine::Server(_) => "non-INVITE",
            },
            state: record.machine.state_name(),
            flow: record.path.as_ref().map(|path| path.flow),
        })
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.table.next()
    }

    /// Acts on all deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(index) = self.table.pop_due(now) {
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
        let known = self.table.find(key);
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
        if self.table.server_count >= self.settings.servers_max {
            return Ok(ServerEvent::Full);
        }
        let machine = self.server_machine(now, request, flow.transport.into(), timers);
        let id = self.table.insert(key, machine, (flow, timers), TuId::NONE);
        let merged = self.note_merged(id.index, request);
        self.settle(id.index, None, out);
        let id = ServerId(id);
        Ok(match target {
            Some(target) => ServerEvent::Cancel(id, target),
            None if merged => ServerEvent::Merged(id),
            None => ServerEvent::New(id),
        })
    }

    /// The flow of the transaction that a message would come to: of the request a response answers,
    /// of the request it repeats, of the INVITE it cancels or acknowledges. None where there is no
    /// such transaction, or where nothing protects it and it only lingers.
    #[must_use]
    pub fn flow_of(&self, message: &Message) -> Option<Flow> {
        if !self.table.has_protected {
            return None;
        }
        let key = match message {
            Message::Response(response) => self.keys.of_response(response),
            Message::Request(request) if request.method == Method::Cancel => {
                self.keys.invite_of(request)
            }
            Message::Request(request) => self.keys.server(request),
        };
        let record = self.table.get(self.table.find(key.ok()?)?)?;
        record.path.as_ref().map(|path| path.flow)
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
        let record = self.table.checked(id.0).ok_or(Refused::Gone)?;
        // That of an INVITE is kept until its ACK comes, or not at all.
        let is_kept = matches!(record.machine, Machine::Server(_)) && !response.is_provisional();
        let bytes = if is_kept { self.answers.write(response) } else { response.to_bytes() };
        let status = response.status;
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
        if self.table.checked(id.0).is_none() {
            return;
        }
        self.step(id.0.index, None, out, |machine, timers, _| {
            if let Machine::Server(it) = machine {
                it.on_no_answer(now, timers);
            }
        });
    }

    /// Says what the TU has a server transaction for: its end comes with it.
    pub fn set_tu(&mut self, id: ServerId, tu: TuId) {
        if self.table.checked(id.0).is_some()
            && let Some(record) = self.table.record(id.0.index)
        {
            record.tu = tu;
        }
    }

    /// What the TU has a server transaction for.
    #[must_use]
    pub fn tu_of(&self, id: ServerId) -> TuId {
        self.table.checked(id.0).map_or(TuId::NONE, |record| record.tu)
    }

    /// The answers of this server transaction leave by another flow from now on.
    pub fn answer_by(&mut self, id: ServerId, flow: Flow) {
        if self.table.checked(id.0).is_some()
            && let Some(path) = self.table.record(id.0.index).and_then(|it| it.path.as_mut())
        {
            path.flow = flow;
        }
    }

    /// The TU leaves this request without any answer. The transaction absorbs retransmissions as if
    /// it had answered.
    pub fn discard(&mut self, now: Instant, id: ServerId, out: &mut Outbox) {
        if self.table.checked(id.0).is_none() {
            return;
        }
        self.step(id.0.index, None, out, |machine, timers, _| match machine {
            Machine::Server(it) => it.on_no_answer(now, timers),
            Machine::InviteServer(it) => it.on_discard(now, timers),
            _ => {}
        });
    }

    /// Whether the server transaction waits for its final response.
    #[must_use]
    pub fn is_pending(&self, id: ServerId) -> bool {
        match self.table.checked(id.0).map(|record| &record.machine) {
            Some(Machine::InviteServer(it)) => it.is_pending(),
            Some(Machine::Server(it)) => it.is_pending(),
            _ => false,
        }
    }

    /// The flow the responses of a server transaction take, as long as it is kept.
    #[must_use]
    pub fn server_flow(&self, id: ServerId) -> Option<Flow> {
        self.table.checked(id.0)?.path.as_ref().map(|path| path.flow)
    }

    /// Moves a server transaction to another flow: its connection is gone and a new one was opened
    /// (RFC 3261 §18.2.2).
    pub fn set_server_flow(&mut self, id: ServerId, flow: Flow) {
        if self.table.checked(id.0).is_some()
            && let Some(path) =
                self.table.record(id.0.index).and_then(|record| record.path.as_mut())
        {
            path.flow = flow;
        }
    }

    /// Sends a request, ready for the wire with our Via on top, and opens its client transaction.
    /// Events of it come with `tu`.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing was sent then.
    pub fn start_client(
        &mut self,
        now: Instant,
        request: &Request,
        (flow, timers): (Flow, &Timers),
        tu: TuId,
        out: &mut Outbox,
    ) -> Result<ClientId, StartError> {
        if request.method == Method::Ack {
            return Err(StartError::IsAck);
        }
        let branch = request.top_branch().ok_or(StartError::NoBranch)?;
        let key = self.keys.client(branch, request.method.as_str());
        if self.table.find(key).is_some() {
            return Err(StartError::BranchInUse);
        }
        if self.table.client_count >= self.settings.clients_max {
            return Err(StartError::Full);
        }
        let (bytes, reliability) = (request.to_bytes(), Reliability::from(flow.transport));
        let effects = &mut self.effects;
        let machine = if request.method == Method::Invite {
            Machine::InviteClient(InviteClient::start(now, bytes, reliability, timers, effects))
        } else {
            Machine::Client(Client::start(now, bytes, reliability, timers, effects))
        };
        let id = self.table.insert(key, machine, (flow, timers), tu);
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
        let Some(index) = key.and_then(|key| self.table.find(key)) else {
            return ClientEvent::Stray;
        };
        let (id, own) = (self.table.id(index), self.table.is_own_cancel(index));
        let tu = self.table.tu(index);
        let passed = self.step(index, None, out, |machine, timers, effects| match machine {
            Machine::InviteClient(it) => it.on_response(now, response, timers, effects),
            Machine::Client(it) => it.on_response(now, response.status, timers, effects),
            Machine::InviteServer(_) | Machine::Server(_) => {}
        });
        self.release_cancel(now, index, out);
        if passed && !own { ClientEvent::Response(ClientId(id), tu) } else { ClientEvent::Absorbed }
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
        if self.table.checked(id.0).is_none() {
            return Cancelled::TooLate;
        }
        let Some(record) = self.table.record(id.0.index) else { return Cancelled::TooLate };
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
        if self.table.checked(id.0).is_some() {
            self.fail(id.0.index, out);
        }
    }

    /// A path does not work any more: all requests waiting on it have failed. Whether it is
    /// protected by a security association makes no difference.
    pub fn flow_failed(&mut self, flow: &Flow, out: &mut Outbox) {
        for index in self.table.waiting_on(flow) {
            self.fail(index, out);
        }
    }

    /// Forgets a client transaction without a word: its TU has given it up (a budget ran out). Late
    /// responses are stray.
    pub fn drop_client(&mut self, id: ClientId) {
        if self.table.checked(id.0).is_some() {
            self.table.remove(id.0.index);
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
        let id = ServerId(self.table.id(index));
        let passed = self.step(index, None, out, |machine, timers, effects| {
            if let Machine::InviteServer(it) = machine {
                it.on_ack(now, timers, effects);
            }
        });
        if passed { ServerEvent::Ack(id) } else { ServerEvent::Absorbed }
    }

    /// By RFC 2543 an ACK belongs to an INVITE only if its To tag is that of the response sent.
    fn answers_to(&self, index: u32, ack: &Request) -> bool {
        let record = self.table.get(index);
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
        let Some(index) = self.table.find(invite) else { return Ok(CancelTarget::None) };
        let id = ServerId(self.table.id(index));
        Ok(match self.is_pending(id) {
            true => CancelTarget::Pending(id),
            false => CancelTarget::Answered(id),
        })
    }

    /// Starts the machine of a new request, its effects in `self.effects`.
    fn server_machine(
        &mut self,
        now: Instant,
        request: &Request,
        reliability: Reliability,
        timers: &Timers,
    ) -> Machine {
        let trying = || trying_of(request);
        if request.method != Method::Invite {
            let it = Server::start(now, trying(), reliability, timers, &mut self.effects);
            return Machine::Server(it);
        }
        let trying = match self.settings.trying_after {
            None => Trying::Never,
            Some(Duration::ZERO) => Trying::Now(trying()),
            Some(after) => Trying::At(now + after, trying()),
        };
        Machine::InviteServer(InviteServer::start(trying, reliability, &mut self.effects))
    }

    /// Counts the copies of a request; says whether this is not the first.
    fn note_merged(&mut self, index: u32, request: &Request) -> bool {
        if !self.settings.detect_merged || request.method == Method::Cancel {
            return false;
        }
        let Some(key) = self.keys.merged(request) else { return false };
        if let Some(path) = self.table.record(index).and_then(|record| record.path.as_mut()) {
            path.merged = Some(key);
        }
        self.table.count_merged(key) > 1
    }

    /// Sends the CANCEL that waits, if it need not wait any more.
    fn release_cancel(&mut self, now: Instant, index: u32, out: &mut Outbox) -> bool {
        let Some(record) = self.table.record(index) else { return false };
        let (Machine::InviteClient(it), Some(path)) = (&mut record.machine, &mut record.path)
        else {
            return false;
        };
        let timers = path.timers;
        if path.held_cancel.is_none() || !it.on_cancel(now, &timers) {
            return false;
        }
        let (flow, reason) = (path.flow, path.held_cancel.take().flatten());
        path.cancel_sent = true;
        let cancel = it.request().and_then(|invite| cancel_of(invite, reason.as_deref()));
        self.settle(index, None, out);
        let Some(cancel) = cancel else { return false };
        let started = self.start_client(now, &cancel, (flow, &timers), TuId::NONE, out);
        let Ok(id) = started else { return false };
        if let Some(path) = self.table.record(id.0.index).and_then(|record| record.path.as_mut()) {
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
        if let Some(record) = self.table.record(index) {
            // Who has no path any more has no timer to start either.
            let timers = record.path.as_ref().map(|path| path.timers).unwrap_or_default();
            act(&mut record.machine, &timers, &mut effects);
        }
        self.effects = effects;
        self.settle(index, flow, out)
    }

    /// Carries out `self.effects` for a transaction, files its deadline, removes it when it is
    /// over. Says whether the TU shall see the message.
    fn settle(&mut self, index: u32, flow: Option<Flow>, out: &mut Outbox) -> bool {
        let mut effects = std::mem::take(&mut self.effects);
        let (id, own) = (self.table.id(index), self.table.is_own_cancel(index));
        let (mut passed, mut ended) = (false, None);
        if let Some(record) = self.table.record(index) {
            let tu = record.tu;
            let flow = flow.or_else(|| record.path.as_ref().map(|path| path.flow));
            let client = record.machine.is_client().then_some(ClientId(id));
            ended = record.machine.is_terminated().then_some((client, tu));
            for effect in effects.drain(..) {
                match (effect, client) {
                    (Effect::PassUp, _) => passed = true,
                    (Effect::Send(bytes), _) => {
                        out.transmits.extend(flow.map(|flow| Transmit { flow, bytes, client }));
                    }
                    (Effect::TimedOut | Effect::TransportFailed, Some(_)) if own => {}
                    (Effect::TimedOut, Some(id)) => out.events.push(Event::ClientTimedOut(id, tu)),
                    (Effect::TransportFailed, Some(id)) => {
                        out.events.push(Event::ClientTransportFailed(id, tu));
                    }
                    (Effect::TimedOut | Effect::TransportFailed, None) => {
                        out.events.push(Event::ServerNotAcknowledged(ServerId(id)));
                    }
                }
            }
        }
        effects.clear();
        self.effects = effects;
        if let Some((client, tu)) = ended {
            self.table.remove(index);
            match client {
                Some(_) if own => {}
                Some(client) => out.events.push(Event::ClientEnded(client, tu)),
                None => out.events.push(Event::ServerEnded(ServerId(id), tu)),
            }
        } else {
            self.table.trim(index);
            self.table.file(index);
        }
        passed
    }
}
