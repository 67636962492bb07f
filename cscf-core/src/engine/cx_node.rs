//! An engine and its Diameter client as one node: questions of Cx go out as bytes, answers and
//! demands come back as events. Used by I- and S-CSCF, live and simulated alike.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Engine, Input, Node, Output, one_by_one};
use crate::diameter::{ClientInput, ClientOutput, DiameterClient};
use crate::operator::{Order, OrderAnswer, OrderResult, Samples, Show};
use crate::role::{Answer, Question, Role};
use crate::time::Instant;
use crate::trace::TraceEvent;
use crate::transport::{ConnId, Packet, Transport};

/// A node that asks the HSS over Diameter. Its connections to the HSS are numbered apart from those
/// of the engine ([`DiameterClient::owns`]).
#[derive(Debug)]
pub struct CxNode<R: Role> {
    engine: Engine<R>,
    client: DiameterClient,
    name: Arc<str>,
    outputs: VecDeque<Output>,
}

impl<R: Role> CxNode<R> {
    /// Joins an engine with its client.
    #[must_use]
    pub fn new(engine: Engine<R>, client: DiameterClient) -> Self {
        let name = engine.name().into();
        Self { engine, client, name, outputs: VecDeque::new() }
    }

    /// The engine.
    pub const fn engine(&self) -> &Engine<R> {
        &self.engine
    }

    /// The engine, for tests that put its role into a state.
    pub const fn engine_mut(&mut self) -> &mut Engine<R> {
        &mut self.engine
    }

    /// The Diameter client.
    pub const fn client(&self) -> &DiameterClient {
        &self.client
    }

    /// Gives the role an order. The drain rule holds as after [`Node::handle_input`].
    pub fn command(&mut self, now: Instant, command: R::Command) {
        self.engine.command(now, command);
        self.pump(now);
    }

    /// The node ends: the HSS is told (RFC 6733 §5.4).
    pub fn shut_down(&mut self, now: Instant) {
        self.client.handle_input(now, ClientInput::Shutdown);
        self.pump(now);
    }

    /// Carries questions and answers between the two until both are silent.
    fn pump(&mut self, now: Instant) {
        loop {
            let mut idle = true;
            while let Some(output) = self.engine.poll_output() {
                idle = false;
                self.on_engine_output(now, output);
            }
            while let Some(output) = self.client.poll_output() {
                idle = false;
                self.on_client_output(now, output);
            }
            if idle {
                break;
            }
        }
    }

    fn on_engine_output(&mut self, now: Instant, output: Output) {
        match output {
            Output::Ask(ask, Question::Cx(request)) => {
                self.client.handle_input(now, ClientInput::Ask(ask, request));
            }
            Output::DemandAnswer(demand, reply) => {
                self.client.handle_input(now, ClientInput::DemandAnswer(demand, reply));
            }
            other => self.outputs.push_back(other),
        }
    }

    fn on_client_output(&mut self, now: Instant, output: ClientOutput) {
        match output {
            ClientOutput::Answer(ask, answer) => {
                self.engine.handle_input(now, Input::Answer(ask, Answer::Cx(answer)));
            }
            ClientOutput::Demand(demand, what) => {
                self.engine.handle_input(now, Input::Demand(demand, what));
            }
            ClientOutput::Trace(kind) => {
                if self.engine.tracing() {
                    let event = TraceEvent { at: now, node: Arc::clone(&self.name), kind };
                    self.outputs.push_back(Output::Trace(event));
                }
            }
            ClientOutput::Close { conn } => self.outputs.push_back(Output::Close(conn)),
            ClientOutput::Connect { conn, local, remote } => {
                let transport = Transport::Tcp;
                let sa = None;
                self.outputs.push_back(Output::Connect { conn, transport, local, remote, sa });
            }
            ClientOutput::Write { conn, bytes } => {
                self.outputs.push_back(Output::Write { conn, bytes });
            }
        }
    }

    fn owns(&self, conn: ConnId) -> bool {
        self.client.owns(conn)
    }
}

impl<R: Role> Node for CxNode<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Bytes { conn, bytes, .. } if self.owns(conn) => {
                self.client.handle_input(now, ClientInput::Bytes(conn, bytes));
            }
            Input::Closed { conn, cause } if self.owns(conn) => {
                self.client.handle_input(now, ClientInput::Closed(conn, cause));
            }
            Input::Opened(flow) if flow.conn.is_some_and(|conn| self.owns(conn)) => {
                self.client.handle_input(now, ClientInput::Opened(flow));
            }
            Input::Timeout => {
                self.client.handle_input(now, ClientInput::Timeout);
                self.engine.handle_input(now, Input::Timeout);
            }
            other => self.engine.handle_input(now, other),
        }
        self.pump(now);
    }

    fn handle_datagrams(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        if self.engine.tracing() {
            return one_by_one(self, now, packets);
        }
        self.engine.handle_datagrams(now, packets);
        self.pump(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.engine.poll_timeout(), self.client.poll_timeout()].into_iter().flatten().min()
    }

    fn shut_down(&mut self, now: Instant) {
        Self::shut_down(self, now);
    }

    fn order(&mut self, now: Instant, order: &Order) -> OrderResult {
        let mut answer = self.engine.order(now, order);
        self.pump(now);
        let asked = matches!(order, Order::Show { what: Show::Health | Show::Metrics, .. });
        if let (true, Ok(OrderAnswer::Table(table))) = (asked, &mut answer) {
            super::orders::peer(table, self.client.peer(), self.client.is_connected());
            if matches!(order, Order::Show { what: Show::Metrics, .. }) {
                let mut samples = Samples::default();
                super::orders::answers(self.client.answers(), &mut samples);
                table.rows.extend(samples.into_table().rows);
            }
        }
        answer
    }
}
