//! Several engines as one node, in one thread. What one hands over arrives at another at once, or
//! after a seeded while, in the order it was handed over: so the races of engines on several cores
//! happen in the simulated lab, and are replayed.
//!
//! Everything that comes from outside is received by engine 0, except by connections that another
//! engine has opened.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::shard::{ShardEvent, connection_owner, question_owner};
use super::{Input, Node, Output};
use crate::ids::{Ids, Seed, ShardId};
use crate::operator::{Order, OrderAnswer, OrderResult, Show};
use crate::time::{Duration, Instant};
use crate::transport::ConnId;

/// The engines of one node: the first owns the registrations, the others have calls only.
#[derive(Debug)]
pub struct Shards<N: Node, C: Node = N> {
    owner: N,
    calls: Vec<C>,
    name: Arc<str>,
    chance: Ids,
    /// How long a hand-over takes at most.
    delay_max: Duration,
    /// What is on its way, by the time it arrives and the order it was handed over.
    queue: BTreeMap<(Instant, u64), (ShardId, ShardEvent)>,
    posted: u64,
    /// When the last hand-over between two of them arrives.
    last_at: BTreeMap<(ShardId, ShardId), Instant>,
    outputs: VecDeque<Output>,
}

impl<N: Node, C: Node> Shards<N, C> {
    /// Joins engine 0 with those after it, in the order of their numbers. A hand-over takes
    /// `delay_max` at most; how long each time comes from `seed`.
    #[must_use]
    pub fn new(owner: N, calls: Vec<C>, delay_max: Duration, seed: Seed) -> Self {
        let name = owner.name().into();
        Self {
            owner,
            calls,
            name,
            chance: Ids::new(seed, ShardId(u8::MAX)),
            delay_max,
            queue: BTreeMap::new(),
            posted: 0,
            last_at: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The engines by themselves, for who runs them on threads of their own.
    #[must_use]
    pub fn into_parts(self) -> (N, Vec<C>) {
        (self.owner, self.calls)
    }

    /// Engine 0.
    pub const fn owner(&self) -> &N {
        &self.owner
    }

    /// The other engines.
    pub fn calls(&self) -> &[C] {
        &self.calls
    }

    /// What is on its way from one to another.
    #[must_use]
    pub fn on_the_way(&self) -> usize {
        self.queue.len()
    }

    fn part(&mut self, id: ShardId) -> Option<&mut dyn Node> {
        match usize::from(id.0).checked_sub(1) {
            None => Some(&mut self.owner),
            Some(index) => self.calls.get_mut(index).map(|it| it as &mut dyn Node),
        }
    }

    fn ids(&self) -> impl Iterator<Item = ShardId> + use<N, C> {
        let count = u8::try_from(self.calls.len()).unwrap_or(u8::MAX);
        (0..=count).map(ShardId)
    }

    fn give(&mut self, now: Instant, to: ShardId, input: Input) {
        if let Some(part) = self.part(to) {
            part.handle_input(now, input);
        }
        self.drain(now, to);
    }

    /// Takes what an engine wants, and puts what it hands over on its way.
    fn drain(&mut self, now: Instant, from: ShardId) {
        while let Some(output) = self.part(from).and_then(Node::poll_output) {
            match output {
                Output::Shard(to, event) if self.delay_max.is_zero() => {
                    self.give(now, to, Input::Shard(event));
                }
                Output::Shard(to, event) => self.post(now, (from, to), event),
                other => self.outputs.push_back(other),
            }
        }
    }

    fn post(&mut self, now: Instant, way: (ShardId, ShardId), event: ShardEvent) {
        let most = u64::try_from(self.delay_max.as_micros()).unwrap_or(u64::MAX);
        let delay = Duration::from_micros(self.chance.below(most));
        let last_at = self.last_at.entry(way).or_insert(now);
        *last_at = (now + delay).max(*last_at);
        self.posted += 1;
        self.queue.insert((*last_at, self.posted), (way.1, event));
    }

    /// Hands over what has arrived.
    fn arrive(&mut self, now: Instant) {
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= now
        {
            let (to, event) = entry.remove();
            self.give(now, to, Input::Shard(event));
        }
    }

    fn of_connection(conn: Option<ConnId>) -> ShardId {
        conn.map_or(ShardId(0), connection_owner)
    }

    fn all(&mut self, now: Instant, input: &Input) {
        for id in self.ids() {
            self.give(now, id, input.clone());
        }
    }

    /// What all engines say to an order: tables as one, else the first that obeyed.
    fn joined(order: &Order, answers: Vec<OrderResult>) -> Option<OrderResult> {
        let metrics = matches!(order, Order::Show { what: Show::Metrics, .. });
        let health = matches!(order, Order::Show { what: Show::Health, .. });
        let mut first: Option<OrderResult> = None;
        for answer in answers {
            match (&mut first, answer) {
                (Some(Ok(OrderAnswer::Table(table))), Ok(OrderAnswer::Table(other))) => {
                    if metrics {
                        table.add_up(other);
                    } else if !health {
                        table.rows.extend(other.rows);
                    }
                }
                (Some(Ok(_)), _) | (Some(Err(_)), Err(_)) => {}
                (None | Some(Err(_)), answer) => first = Some(answer),
            }
        }
        first
    }
}

impl<N: Node, C: Node> Node for Shards<N, C> {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.arrive(now);
        match input {
            Input::Timeout => {
                for id in self.ids() {
                    let due = self.part(id).and_then(|part| part.poll_timeout());
                    if due.is_some_and(|at| at <= now) {
                        self.give(now, id, Input::Timeout);
                    }
                }
            }
            Input::Unreachable { .. } => self.all(now, &input),
            Input::Answer(ask, _) => self.give(now, question_owner(ask), input),
            Input::Bytes { conn, .. } | Input::Closed { conn, .. } => {
                self.give(now, connection_owner(conn), input);
            }
            Input::Opened(flow) => self.give(now, Self::of_connection(flow.conn), input),
            other => self.give(now, ShardId(0), other),
        }
        self.arrive(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.iter().filter_map(Node::poll_timeout);
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        calls.chain(self.owner.poll_timeout()).chain(queued).min()
    }

    fn shut_down(&mut self, now: Instant) {
        for id in self.ids() {
            if let Some(part) = self.part(id) {
                part.shut_down(now);
            }
            self.drain(now, id);
        }
    }

    fn order(&mut self, now: Instant, order: &Order) -> OrderResult {
        let mut answers = Vec::new();
        for id in self.ids() {
            answers.extend(self.part(id).map(|part| part.order(now, order)));
            self.drain(now, id);
        }
        self.arrive(now);
        Self::joined(order, answers).unwrap_or(Err(crate::operator::OrderError::NotHere))
    }
}
