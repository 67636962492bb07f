//! An engine and a policy function as one node: questions of policy are answered beside it, and
//! what is told of bearers comes back as events. Used by the P-CSCF, live and simulated alike.

use std::collections::VecDeque;
use std::sync::Arc;

use super::edge::{listed, removed};
use super::{Engine, Input, Node, Output, one_by_one};
use crate::clause::own;
use crate::cx::AskId;
use crate::fault::{Action, Hit, Table};
use crate::ids::Seed;
use crate::operator::{FaultOrder, Order, OrderAnswer, OrderError, OrderResult};
use crate::policy::{Function, PolicyRequest, PolicyWish, Told};
use crate::role::{Answer, Question, Role};
use crate::time::Instant;
use crate::trace::{Note, TraceEvent, TraceKind};
use crate::transport::Packet;

/// A node with a policy function of its own.
#[derive(Debug)]
pub struct PolicyNode<R: Role> {
    engine: Engine<R>,
    function: Function,
    /// Rules by which the function does something else now and then.
    faults: Table,
    name: Arc<str>,
    outputs: VecDeque<Output>,
}

impl<R: Role> PolicyNode<R> {
    /// Joins an engine with its policy function.
    #[must_use]
    pub fn new(engine: Engine<R>, function: Function) -> Self {
        let name: Arc<str> = engine.name().into();
        // Chance is the lab's own here: nobody outside is to guess it.
        let faults = Table::new(&format!("{name}-policy"), Seed::derive(0, &name));
        Self { engine, function, faults, name, outputs: VecDeque::new() }
    }

    /// The engine.
    pub const fn engine(&self) -> &Engine<R> {
        &self.engine
    }

    /// The engine, for tests that put its role into a state.
    pub const fn engine_mut(&mut self) -> &mut Engine<R> {
        &mut self.engine
    }

    /// The policy function.
    pub const fn function(&self) -> &Function {
        &self.function
    }

    /// Gives the role an order. The drain rule holds as after [`Node::handle_input`].
    pub fn command(&mut self, now: Instant, command: R::Command) {
        self.engine.command(now, command);
        self.pump(now);
    }

    /// Carries questions and answers between the two until both are silent.
    fn pump(&mut self, now: Instant) {
        loop {
            while let Some(output) = self.engine.poll_output() {
                match output {
                    Output::Ask(ask, Question::Policy(request)) => {
                        self.ask(now, ask, &request);
                    }
                    other => self.outputs.push_back(other),
                }
            }
            let Some(told) = self.function.poll() else { break };
            match told {
                Told::Answer(ask, answer) => {
                    self.engine.handle_input(now, Input::Answer(ask, Answer::Policy(answer)));
                }
                Told::Event(event) => self.engine.handle_input(now, Input::Policy(event)),
                Told::Note(text) => self.note(now, text),
            }
        }
    }

    /// Asks the function, which a rule may have do something else.
    fn ask(&mut self, now: Instant, ask: AskId, request: &PolicyRequest) {
        let hit = match request.wish {
            PolicyWish::Authorize(_) => self.faults.decide_policy(now, &request.who),
            PolicyWish::End => None,
        };
        let Some(Hit { action: Action::Policy(conduct), .. }) = hit else {
            return self.function.ask(now, ask, request);
        };
        if let (Some(hit), true) = (hit, self.engine.tracing()) {
            let kind = TraceKind::Note(Note::new(own("fault"), hit.said("policy"), false));
            let event = TraceEvent { at: now, node: Arc::clone(&self.name), kind };
            self.outputs.push_back(Output::Trace(event));
        }
        self.function.ask_for(now, ask, request, conduct);
    }

    fn note(&mut self, now: Instant, text: String) {
        if self.engine.tracing() {
            let kind = TraceKind::Note(Note::new(self.engine.role().policy_clause(), text, false));
            let event = TraceEvent { at: now, node: Arc::clone(&self.name), kind };
            self.outputs.push_back(Output::Trace(event));
        }
    }

    /// Obeys an order to the policy function; `None` if it is for the role.
    fn obey(&mut self, now: Instant, order: &Order) -> Option<OrderResult> {
        match order {
            Order::Fault(FaultOrder::Add(rule)) if matches!(rule.action, Action::Policy(_)) => {
                Some(match self.faults.add(now, (**rule).clone()) {
                    Ok(id) => Ok(OrderAnswer::done(format!("{id}: {rule}"))),
                    Err(full) => Err(OrderError::refused(full.to_string())),
                })
            }
            Order::Fault(FaultOrder::List) => Some(Ok(OrderAnswer::Table(listed(&self.faults)))),
            Order::Fault(FaultOrder::Remove(which)) => Some(removed(&self.faults.remove(which))),
            Order::Policy { who, conduct } => {
                self.function.set_conduct(who.as_deref(), *conduct);
                let of = who.as_deref().map_or_else(String::new, |who| format!(" for {who}"));
                Some(Ok(OrderAnswer::done(format!("the policy function {conduct}{of}"))))
            }
            Order::BearerLost { who, signalling: true } => {
                self.function.lose_signalling(who);
                Some(Ok(OrderAnswer::done(format!("the signalling bearer of {who} is lost"))))
            }
            Order::BearerLost { who, signalling: false } => Some(match self.function.lose(who) {
                0 => Err(OrderError::refused(format!("{who} has no session with bearers"))),
                _ => Ok(OrderAnswer::done(format!("the bearers of {who} are lost"))),
            }),
            _ => None,
        }
    }
}

impl<R: Role> Node for PolicyNode<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.function.handle_timeout(now);
        self.engine.handle_input(now, input);
        self.pump(now);
    }

    fn handle_datagrams(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        if self.engine.tracing() {
            return one_by_one(self, now, packets);
        }
        self.function.handle_timeout(now);
        self.engine.handle_datagrams(now, packets);
        self.pump(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.engine.poll_timeout(), self.function.poll_timeout()].into_iter().flatten().min()
    }

    fn order(&mut self, now: Instant, order: &Order) -> OrderResult {
        let answer = self.obey(now, order).unwrap_or_else(|| self.engine.order(now, order));
        self.pump(now);
        answer
    }
}
