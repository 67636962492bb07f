//! What an engine holds, whatever its role: the tables, the queue of events for the role, and the
//! order in which things are carried out.

use std::collections::{BTreeMap, VecDeque};

use super::alive::Alive;
use super::contexts::Context;
use super::core::Sizes;
use super::injected::Injected;
use super::load::Load;
use super::lookup::Waiting;
use super::outgoing::{Attempt, AttemptId};
use super::route::{Addresses, StatelessTags};
use super::settings::Settings;
use super::shard::ASK_SHIFT;
use super::wire::{Outlet, SendFault};
use crate::clause::{Clause, rfc3261};
use crate::cx::{AskId, CxDemand, DemandId};
use crate::dialog::field::uri_of;
use crate::ids::{Ids, Seed, ShardId};
use crate::map::{Numbers, Slots};
use crate::policy::PolicyEvent;
use crate::proxy::{ContextAction, LoopGuard};
use crate::role::{
    Answer, Answered, ContextId, Env, Incoming, News, OwnAnswered, OwnTag, Question, Side,
};
use crate::sip::{FrameError, HeaderName, Message, Rejected, Request, Response};
use crate::time::{DeadlineId, Instant, Wheel};
use crate::trace::Note;
use crate::transaction::{
    Event as LayerEvent, LayerSettings, Outbox, Timers, TransactionLayer, Transmit,
};
use crate::transport::dns::DnsQuestion;
use crate::transport::ipsec::SaSet;
use crate::transport::size::TcpRefusals;
use crate::transport::{ConnId, Flow, FlowEvent, SaId};

/// Something for the role.
#[derive(Debug)]
pub(super) enum Event {
    Answer(AskId, Answer),
    Cancel(ContextId, Box<Request>),
    Demand(DemandId, CxDemand),
    End(ContextId),
    Flow(FlowEvent),
    News(ShardId, News),
    Own(Box<OwnAnswered>),
    Policy(PolicyEvent),
    Request(Box<Incoming>),
    Response(Box<Answered>),
}

/// What came by a flow.
#[derive(Debug)]
pub(super) enum Arrival {
    Message(Message),
    /// The stream cannot be read any further; what came before is served first.
    Broken(FrameError),
    /// It is answered, if it can be, or dropped.
    Malformed(Rejected),
}

/// What an engine itself waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The outside must have answered.
    Ask(AskId),
    /// The budget of a request ends.
    Budget(AttemptId),
    /// A connection must be open.
    Connect(ConnId),
    /// A context nobody looks after ends.
    Forgotten(ContextId),
    /// A silent connection ends.
    Idle(ConnId),
    /// A message on a connection must have arrived whole.
    Partial(ConnId),
    /// A ping on a connection must have been answered.
    Pong(ConnId),
    /// A binding request is repeated, or given up.
    Probe(u64),
    /// Something must have come by a watched flow.
    Silent(u64),
    /// Timer C of a context.
    TimerC(ContextId),
}

/// A question to the outside that waits for its answer.
#[derive(Debug)]
pub(super) struct OpenAsk {
    deadline: DeadlineId,
    /// What a DNS server was asked.
    dns: Option<DnsQuestion>,
}

/// Everything of an engine that does not depend on the role's type.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) outlet: Outlet,
    pub(super) settings: Settings,
    pub(super) addresses: Addresses,
    /// Flows that are kept alive, and those that are watched.
    pub(super) alive: Alive,
    /// The security associations of the role; how many is the role's to limit.
    pub(super) associations: BTreeMap<SaId, SaSet>,
    /// Answers that the operator ordered.
    pub(super) injected: Option<Injected>,
    /// How long messages wait, and how many come.
    pub(super) load: Load,
    pub(super) extensions: Vec<String>,
    pub(super) proxy: bool,
    pub(super) ids: Ids,
    pub(super) loop_guard: LoopGuard,
    /// The To tags of answers without a transaction.
    pub(super) tags: StatelessTags,
    pub(super) tcp_refusals: TcpRefusals,
    notes: Vec<Note>,
    asks: u64,
    pub(super) open_asks: Numbers<AskId, OpenAsk>,
    /// Names of next hops that are being looked up.
    pub(super) lookups: Numbers<AskId, Waiting>,
    /// What has come and is not yet taken in hand, in order.
    pub(super) inbox: VecDeque<(Flow, Arrival)>,
    pub(super) events: VecDeque<Event>,
    pub(super) due: Wheel<Due>,
    pub(super) layer: TransactionLayer,
    pub(super) outbox: Outbox,
    /// By the numbers of their ids; server transactions know theirs.
    pub(super) contexts: Slots<Context>,
    /// By the numbers of their ids; client transactions know theirs.
    pub(super) attempts: Slots<Attempt>,
    pub(super) own: Numbers<OwnTag, AttemptId>,
    /// Contexts to look at again when the role has spoken.
    pub(super) touched: Vec<ContextId>,
    /// Reused from call to call.
    pub(super) wishes: Vec<ContextAction>,
}

impl Core {
    pub(super) fn new(
        name: &str,
        settings: Settings,
        seed: Seed,
        proxy: bool,
        extensions: Vec<String>,
    ) -> Self {
        let layer = LayerSettings {
            clients_max: settings.limits.client_transactions_max,
            servers_max: settings.limits.server_transactions_max,
            // The engine says 100 itself, after the role: what is answered at once needs none.
            trying_after: None,
            detect_merged: !proxy,
        };
        Self {
            outlet: Outlet::new(name, &settings),
            addresses: Addresses::new(&settings),
            alive: Alive::new(&seed),
            associations: BTreeMap::new(),
            injected: None,
            load: Load::new(settings.load),
            extensions,
            proxy,
            ids: Ids::new(seed, settings.shard.id),
            loop_guard: LoopGuard::new(&seed),
            tags: StatelessTags::new(&seed),
            tcp_refusals: TcpRefusals::default(),
            notes: Vec::new(),
            asks: u64::from(settings.shard.id.0) << ASK_SHIFT,
            open_asks: Numbers::default(),
            lookups: Numbers::default(),
            inbox: VecDeque::new(),
            events: VecDeque::new(),
            due: Wheel::new(),
            layer: TransactionLayer::new(&seed, layer),
            outbox: Outbox::default(),
            contexts: Slots::new(),
            attempts: Slots::new(),
            own: Numbers::default(),
            touched: Vec::new(),
            wishes: Vec::new(),
            settings,
        }
    }

    /// Time, chance and the way to say why, for one call of the role.
    pub(super) const fn env(&mut self, now: Instant) -> Env<'_> {
        Env {
            now,
            unix_at_epoch: self.settings.unix_at_epoch,
            ids: &mut self.ids,
            tracing: self.outlet.tracing,
            notes: &mut self.notes,
            asks: &mut self.asks,
        }
    }

    /// Tells what the role has noted, before what it did; refusals with the sender of what was
    /// refused, if this is the answer it gets.
    pub(super) fn tell_notes(&mut self, now: Instant, refused: Option<&Response>) {
        if self.notes.is_empty() {
            return;
        }
        let from = refused.and_then(|answer| answer.headers.get(HeaderName::From));
        let about = from.map(uri_of).unwrap_or_default();
        for note in self.notes.drain(..) {
            self.outlet.note_about(now, about, note);
        }
    }

    pub(super) fn note(&mut self, now: Instant, clause: Clause, text: impl FnOnce() -> String) {
        if self.outlet.tracing {
            self.outlet.note(now, Note::new(clause, text(), false));
        }
    }

    pub(super) fn refuse(&mut self, now: Instant, clause: Clause, text: impl FnOnce() -> String) {
        self.outlet.note(now, Note::new(clause, text(), true));
    }

    /// As [`Self::refuse`], about the sender of a request.
    pub(super) fn refuse_request(
        &mut self,
        now: Instant,
        clause: Clause,
        request: &Request,
        text: String,
    ) {
        let from = request.headers.get(HeaderName::From).map(uri_of).unwrap_or_default();
        self.outlet.note_about(now, from, Note::new(clause, text, true));
    }

    pub(super) fn next_arrival(&mut self) -> Option<(Flow, Arrival)> {
        self.inbox.pop_front()
    }

    pub(super) fn on_message(&mut self, now: Instant, flow: Flow, message: Message, side: Side) {
        self.outlet.counts.came(&message);
        match message {
            Message::Request(request) => self.on_request(now, flow, request, side),
            Message::Response(response) => self.on_response(now, flow, response),
        }
        self.pump(now);
    }

    pub(super) const fn timers(&self, side: Side) -> Timers {
        match side {
            Side::Air => self.settings.air,
            Side::Core => self.settings.core,
        }
    }

    /// Something happened to a context: it is to be looked after.
    pub(super) fn touch(&mut self, context: ContextId) {
        if self.touched.last() != Some(&context) {
            self.touched.push(context);
        }
    }

    /// Looks after the contexts that something happened to, once the role has heard of it all.
    pub(super) fn look_around(&mut self, now: Instant) {
        while self.events.is_empty()
            && let Some(context) = self.touched.pop()
        {
            self.look_after(now, context);
            self.pump(now);
        }
    }

    /// Carries out what calls have left behind, until nothing is left.
    pub(super) fn pump(&mut self, now: Instant) {
        while !self.outbox.transmits.is_empty() || !self.outbox.events.is_empty() {
            let Outbox { mut transmits, mut events } = std::mem::take(&mut self.outbox);
            for transmit in transmits.drain(..) {
                self.transmit(now, transmit);
            }
            for event in events.drain(..) {
                match event {
                    LayerEvent::ClientEnded(client, tu) => self.on_client_ended(client, tu),
                    LayerEvent::ClientTimedOut(client, tu) => {
                        self.on_client_timed_out(now, client, tu);
                    }
                    LayerEvent::ClientTransportFailed(client, tu) => {
                        self.on_client_failed(now, client, tu);
                    }
                    LayerEvent::ServerEnded(server, tu) => self.on_server_ended(server, tu),
                    LayerEvent::ServerNotAcknowledged(_) => {
                        self.on_not_acknowledged(now);
                    }
                }
            }
            self.outbox.reuse(Outbox { transmits, events });
        }
    }

    fn transmit(&mut self, now: Instant, transmit: Transmit) {
        let Transmit { flow, bytes, client } = transmit;
        let fault = match self.outlet.send(now, &flow, &bytes) {
            Ok(()) => return,
            Err(fault) => fault,
        };
        match client {
            // Its connection is gone, but a CANCEL or ACK must still reach the peer.
            Some(_) if fault == SendFault::NoConnection && self.send_anew(now, &flow, &bytes) => {}
            Some(client) => self.layer.client_failed(client, &mut self.outbox),
            None if fault == SendFault::NoConnection => self.send_elsewhere(now, &flow, &bytes),
            None => self.lost(now, &flow, fault),
        }
    }

    pub(super) fn lost(&mut self, now: Instant, flow: &Flow, fault: SendFault) {
        self.outlet.counters.send_failures += 1;
        let remote = flow.remote;
        self.note(now, rfc3261("18.4"), || format!("message to {remote} not sent: {fault}"));
    }

    /// The number of a question of our own.
    pub(super) const fn next_ask(&mut self) -> AskId {
        self.asks += 1;
        AskId(self.asks)
    }

    /// Asks the outside, with a deadline.
    pub(super) fn ask(&mut self, now: Instant, ask: AskId, question: Question) {
        if let Question::Dns(question) = &question
            && let Some(answer) = self.known(question)
        {
            return self.answered(now, ask, Answer::Dns(question.clone(), answer));
        }
        let limits = &self.settings.limits;
        let within = match question {
            Question::Cx(_) | Question::Dns(_) => limits.ask_for,
            Question::Policy(_) => limits.ask_policy_for,
        };
        let deadline = self.due.insert(now + within, Due::Ask(ask));
        let dns = match &question {
            Question::Dns(question) => Some(question.clone()),
            Question::Cx(_) | Question::Policy(_) => None,
        };
        self.open_asks.insert(ask, OpenAsk { deadline, dns });
        self.outlet.push(super::Output::Ask(ask, question));
    }

    /// An answer; a second one, or one that came too late, is not for the role. Nor is one to a
    /// question of a node that was here before and used the same number.
    pub(super) fn on_answer(&mut self, now: Instant, ask: AskId, answer: Answer) {
        if let (Answer::Dns(its, _), Some(open)) = (&answer, self.open_asks.get(&ask))
            && open.dns.as_ref() != Some(its)
        {
            return;
        }
        if let Some(open) = self.open_asks.remove(&ask) {
            self.due.cancel(open.deadline);
            self.answered(now, ask, answer);
        }
    }

    /// Acts on every deadline that has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.layer.poll_timeout().is_some_and(|at| at <= now) {
            self.layer.handle_timeout(now, &mut self.outbox);
            self.pump(now);
        }
        while let Some(due) = self.due.pop_due(now) {
            match due {
                Due::Ask(ask) => {
                    if self.open_asks.remove(&ask).is_some() {
                        self.answered(now, ask, Answer::TimedOut);
                    }
                }
                Due::Budget(attempt) => self.on_budget(now, attempt),
                Due::Connect(conn) => self.on_connect_timeout(now, conn),
                Due::Forgotten(context) => self.on_forgotten(now, context),
                Due::Idle(conn) => self.on_idle(now, conn),
                Due::Partial(conn) => self.on_partial(now, conn),
                Due::Pong(conn) => self.on_pong_due(now, conn),
                Due::Probe(number) => self.on_probe_due(now, number),
                Due::Silent(number) => self.on_silence_due(now, number),
                Due::TimerC(context) => self.on_timer_c(now, context),
            }
            self.pump(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.layer.poll_timeout(), self.due.next()].into_iter().flatten().min()
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            contexts: self.contexts.len(),
            attempts: self.attempts.len(),
            server_transactions: self.layer.server_count(),
            client_transactions: self.layer.client_count(),
            asks: self.open_asks.len(),
            role_timers: 0,
            connections: self.outlet.connection_count(),
            watched: self.alive.len(),
        }
    }
}
