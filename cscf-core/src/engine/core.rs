//! The engine: joins one role with transactions, response contexts and transport rules.
//!
//! Everything that does not depend on the role's type is in [`Core`]; it queues [`Event`]s for the
//! role, and [`Engine`] hands them over one by one and performs what the role wants. So no call of
//! a role is ever inside another one.

use super::injected::Injected;
use super::settings::{Counters, Settings};
use super::state::{Arrival, Core, Event};
use super::{Input, Node, Output, ShardEvent, one_by_one};
use crate::ids::Seed;
use crate::map::SeededState;
use crate::operator::{Order, OrderAnswer, OrderResult, Samples, Show, Table};
use crate::role::{Action, Actions, ContextId, Role};
use crate::sip::{Message, Response};
use crate::time::{Deadlines, Instant};
use crate::trace::{Refused, TraceKind};
use crate::transport::{Flow, Packet};

/// One node: a role, and everything RFC 3261 asks of any element around it.
#[derive(Debug)]
pub struct Engine<R: Role> {
    role: R,
    core: Core,
    timers: Deadlines<R::Timer, SeededState>,
    /// Reused from event to event.
    actions: Actions<R::Timer>,
}

impl<R: Role> Engine<R> {
    /// An engine around `role`; all chance comes from `seed`.
    pub fn new(name: &str, role: R, settings: Settings, seed: Seed) -> Self {
        let extensions = role.proxy_extensions().iter().map(|tag| (*tag).to_owned()).collect();
        let timers = Deadlines::keyed(SeededState::new(&seed));
        let core = Core::new(name, settings, seed, role.is_proxy(), extensions);
        Self { role, core, timers, actions: Vec::new() }
    }

    /// Gives the role an order. The drain rule holds as after [`Node::handle_input`].
    pub fn command(&mut self, now: Instant, command: R::Command) {
        let Self { role, core, actions, .. } = self;
        role.on_command(&mut core.env(now), command, actions);
        self.perform(now, None);
        self.run(now);
    }

    /// The role.
    pub const fn role(&self) -> &R {
        &self.role
    }

    /// The role, for tests that put it into a state.
    pub const fn role_mut(&mut self) -> &mut R {
        &mut self.role
    }

    /// What was counted since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.core.outlet.counters
    }

    /// The last refusals (at most 1,000), oldest first: the answer to "why?".
    pub fn recent_refusals(&self) -> impl Iterator<Item = &Refused> {
        self.core.outlet.refusals().iter()
    }

    /// How much is held now.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes { role_timers: self.timers.len(), ..self.core.sizes() }
    }

    /// Whether somebody reads the trace.
    #[must_use]
    pub const fn tracing(&self) -> bool {
        self.core.outlet.tracing
    }

    /// Whether somebody reads the trace from now on.
    pub const fn set_tracing(&mut self, tracing: bool) {
        self.core.outlet.tracing = tracing;
    }

    /// Hands messages and events to the role until none is left.
    fn run(&mut self, now: Instant) {
        self.hand_over(now);
        while let Some((flow, arrival)) = self.core.next_arrival() {
            match arrival {
                Arrival::Message(message) => self.take(now, flow, message),
                Arrival::Broken(fault) => self.core.on_broken_stream(now, &flow, &fault),
                Arrival::Malformed(why) => self.core.on_malformed(now, &flow, why),
            }
            self.hand_over(now);
        }
    }

    fn take(&mut self, now: Instant, flow: Flow, message: Message) {
        let side = self.role.side(&flow);
        match self.role.admits(&flow, &message) {
            Ok(()) if self.strays(now, &flow, &message) => {}
            Ok(()) => self.core.on_message(now, flow, message, side),
            Err(why) => self.core.outlet.dropped(now, flow.remote, why),
        }
    }

    /// Drops what belongs to a protected transaction and came by another way, or unprotected
    /// (TS 33.203 §7.1); says whether it did.
    fn strays(&mut self, now: Instant, flow: &Flow, message: &Message) -> bool {
        let Some(of) = self.core.layer.flow_of(message) else { return false };
        if flow.may_continue(&of, |one, other| self.role.is_one_peer(one, other)) {
            return false;
        }
        self.core.drop_stray(now, flow, message, &of);
        true
    }

    fn hand_over(&mut self, now: Instant) {
        self.core.pump(now);
        loop {
            while let Some(event) = self.core.events.pop_front() {
                let opened = match &event {
                    Event::Request(incoming) => Some(incoming.context),
                    _ => None,
                };
                self.call(now, event);
                self.perform(now, opened);
            }
            self.core.look_around(now);
            if self.core.events.is_empty() {
                break;
            }
        }
    }

    fn call(&mut self, now: Instant, event: Event) {
        let Self { role, core, actions, .. } = self;
        match event {
            Event::Answer(ask, answer) => role.on_answer(&mut core.env(now), ask, answer, actions),
            Event::Cancel(context, cancel) => {
                role.on_cancel(&mut core.env(now), context, &cancel, actions);
            }
            Event::Demand(demand, what) => {
                role.on_demand(&mut core.env(now), demand, what, actions);
            }
            Event::End(context) => role.on_context_end(context),
            Event::Flow(event) => role.on_flow(&mut core.env(now), event, actions),
            Event::News(from, news) => role.on_news(&mut core.env(now), from, &news, actions),
            Event::Own(answered) => role.on_own_response(&mut core.env(now), *answered, actions),
            Event::Policy(event) => role.on_policy(&mut core.env(now), event, actions),
            Event::Request(incoming) => {
                role.on_load(core.load_of(now, &incoming));
                role.on_request(&mut core.env(now), *incoming, actions);
            }
            Event::Response(answered) => role.on_response(&mut core.env(now), *answered, actions),
        }
    }

    /// Performs what the role wants, in order, after telling its notes.
    fn perform(&mut self, now: Instant, opened: Option<ContextId>) {
        let refused = self.actions.iter().find_map(refusal);
        self.core.tell_notes(now, refused);
        // 100 stands before what is forwarded; a request that is answered at once needs none.
        let answers = |action: &Action<R::Timer>| match action {
            Action::Reply { context, .. } | Action::Discard { context } => Some(*context) == opened,
            _ => false,
        };
        if let Some(context) = opened
            && !self.actions.iter().any(answers)
        {
            self.core.say_trying(now, context);
        }
        let mut actions = std::mem::take(&mut self.actions);
        let mut rest = actions.drain(..);
        while let Some(action) = rest.next() {
            match action {
                Action::SetTimer { timer, at } => self.timers.set(timer, at),
                Action::ClearTimer { timer } => {
                    self.timers.cancel(&timer);
                }
                Action::Reply { context, response } => self.core.reply(now, context, *response),
                Action::Forward { context, request, to, record_route, within, side } => {
                    let others = forwards(rest.as_slice(), context);
                    let how = super::outgoing::How { to, within, side, others };
                    self.core.forward(now, context, *request, record_route.as_deref(), &how);
                }
                Action::PassUp { context, branch, response } => {
                    self.core.pass_up(now, context, branch, *response);
                }
                Action::Cancel { context, reason } => {
                    self.core.cancel_branches(now, context, reason.as_deref());
                }
                Action::Originate { tag, request, to, within, side } => {
                    let how = super::outgoing::How { to, within, side, others: 0 };
                    self.core.originate(now, tag, *request, &how);
                }
                Action::CancelOwn { tag, reason } => {
                    self.core.cancel_own(now, tag, reason.as_deref());
                }
                Action::SendAck { request, to } => self.core.send_ack(now, *request, &to),
                Action::Ask { ask, question } => self.core.ask(now, ask, question),
                Action::AnswerDemand { demand, reply } => {
                    self.core.outlet.push(Output::DemandAnswer(demand, reply));
                }
                Action::AnswerBy { context, flow } => self.core.answer_by(now, context, flow),
                Action::KeepAlive { flow } => self.core.keep_alive(now, flow),
                Action::Watch { flow, within } => self.core.watch(now, flow, within),
                Action::Discard { context } => self.core.discard(now, context),
                Action::Security(command) => self.core.secure(now, command),
                Action::State(text) => self.core.outlet.trace(now, || TraceKind::State(text)),
                Action::Tell { to, news } => self.core.tell_news(to, &news),
            }
        }
        drop(rest);
        self.actions = actions;
        self.core.pump(now);
    }

    /// A message is taken in hand that arrived then.
    fn taken(&mut self, now: Instant, received_at: Instant) {
        self.core.load.taken(now, received_at);
        self.core.outlet.counts.waited(now.since(received_at));
    }

    fn datagram(&mut self, now: Instant, packet: Packet) {
        self.taken(now, packet.received_at);
        self.core.on_datagram(now, packet);
    }

    /// Serves what has come, and the deadlines that lie at or before it: a host that is busy with
    /// packets must not starve them.
    fn serve(&mut self, now: Instant) {
        self.run(now);
        self.timeouts(now);
        self.run(now);
    }

    /// What another engine of the node hands over.
    fn on_shard(&mut self, now: Instant, event: ShardEvent) {
        if let ShardEvent::Message(packet) = &event {
            self.taken(now, packet.received_at);
        }
        self.core.on_shard(now, event);
    }

    /// What every engine can tell of itself; `None` for what only roles know.
    fn shown(&self, what: Show) -> Option<Table> {
        Some(match what {
            Show::Health => super::orders::health(&self.role.workload()),
            Show::Metrics => {
                let mut samples = Samples::default();
                super::orders::workload(&self.role.workload(), &mut samples);
                self.core.tell_counts(&mut samples);
                self.role.tell_held(&mut samples);
                samples.into_table()
            }
            Show::Refusals => super::orders::refusals(self.core.outlet.refusals()),
            Show::Transactions => self.core.transactions(),
            _ => return None,
        })
    }

    fn timeouts(&mut self, now: Instant) {
        while self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
            self.hand_over(now);
        }
        while let Some(timer) = self.timers.pop_due(now) {
            let Self { role, core, actions, .. } = self;
            role.on_timer(&mut core.env(now), timer, actions);
            self.perform(now, None);
            self.hand_over(now);
        }
    }
}

impl<R: Role> Node for Engine<R> {
    fn name(&self) -> &str {
        self.core.outlet.name()
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Answer(ask, answer) => self.core.on_answer(now, ask, answer),
            Input::Bytes { conn, bytes, received_at } => {
                self.taken(now, received_at);
                self.core.on_bytes(now, conn, &bytes);
            }
            Input::Closed { conn, cause } => self.core.on_closed(now, conn, cause),
            Input::Datagram(packet) => self.datagram(now, packet),
            Input::Dropped { remote, reason } => {
                self.core.outlet.dropped(now, remote, &reason);
            }
            Input::Demand(demand, what) => {
                self.core.events.push_back(Event::Demand(demand, what));
            }
            Input::NotSecured { set, why } => self.core.on_not_secured(now, set, why),
            Input::Opened(flow) => self.core.on_opened(now, flow),
            Input::Policy(event) => self.core.events.push_back(Event::Policy(event)),
            Input::Shard(event) => self.on_shard(now, event),
            Input::Timeout => {}
            Input::Unreachable { local, remote, cause } => {
                self.core.on_unreachable(now, local, remote, cause);
            }
        }
        self.serve(now);
    }

    fn handle_datagrams(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        if self.tracing() {
            return one_by_one(self, now, packets);
        }
        for packet in packets.drain(..) {
            self.datagram(now, packet);
        }
        self.serve(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.core.outlet.pop()
    }

    fn order(&mut self, now: Instant, order: &Order) -> OrderResult {
        if let Order::Show { what, of } = order
            && let Some(table) = self.shown(*what)
        {
            return Ok(OrderAnswer::Table(table.only(of)));
        }
        if let Order::Inject { status, method, times, .. } = order {
            self.core.injected = Injected::new(*status, method.as_deref(), *times);
            let text = match status {
                Some(status) => format!("{status} is answered"),
                None => "requests are answered as they should be".to_owned(),
            };
            return Ok(OrderAnswer::Done(text));
        }
        let Self { role, core, actions, .. } = self;
        let answer = role.on_order(&mut core.env(now), order, actions);
        self.perform(now, None);
        self.run(now);
        answer
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.core.poll_timeout()].into_iter().flatten().min()
    }
}

/// The final answer by which a role refuses something, if this action is one.
fn refusal<T>(action: &Action<T>) -> Option<&Response> {
    match action {
        Action::Reply { response, .. } | Action::PassUp { response, .. } => {
            Some(&**response).filter(|response| response.status >= 300)
        }
        _ => None,
    }
}

/// How many branches these actions open for a request.
fn forwards<T>(actions: &[Action<T>], of: ContextId) -> u32 {
    let opens =
        |action: &&Action<T>| matches!(action, Action::Forward { context, .. } if *context == of);
    u32::try_from(actions.iter().filter(opens).count()).unwrap_or(u32::MAX)
}

/// How much an engine holds: all zero after the last deadline, connections aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Response contexts.
    pub contexts: usize,
    /// Requests on their way, with all their retries.
    pub attempts: usize,
    /// Server transactions, lingering ones included.
    pub server_transactions: usize,
    /// Client transactions, lingering ones included.
    pub client_transactions: usize,
    /// Questions without an answer.
    pub asks: usize,
    /// Timers of the role.
    pub role_timers: usize,
    /// Connections.
    pub connections: usize,
    /// Flows that are watched, and keep-alives without answer.
    pub watched: usize,
}
