//! Walks the steps of a scenario over a stage, simulated or live, and says what was not as
//! expected.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::config::Problem;
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::TraceEvent;

use super::seen::{failing_field, is_seen};
use super::{Branch, Captures, Expectation, Order, Scenario, Seen, Step, StepKind, explain};

/// Where a scenario runs.
pub trait Stage {
    /// The time now.
    fn now(&self) -> Instant;
    /// All events so far, each node's in its own order.
    fn events(&self) -> &[TraceEvent];
    /// Lets the next thing happen, not later than `until`. `false` when the time is `until`.
    ///
    /// # Errors
    ///
    /// What broke, e.g. a process that died.
    fn advance(&mut self, until: Instant) -> Result<bool, String>;
    /// Gives a user's order to a UE.
    ///
    /// # Errors
    ///
    /// Why it cannot be given, e.g. there is no such call.
    fn command(&mut self, ue: &str, order: &Order) -> Result<(), String>;
    /// Gives an order of the operator to the nodes that have a part in it.
    ///
    /// # Errors
    ///
    /// Why it cannot be obeyed.
    fn operate(&mut self, order: &cscf_core::operator::Order) -> Result<(), String>;
    /// Stops a node at once.
    ///
    /// # Errors
    ///
    /// Where this stage cannot do that.
    fn crash(&mut self, node: &str) -> Result<(), String>;
    /// Starts a stopped node again.
    ///
    /// # Errors
    ///
    /// Where this stage cannot do that.
    fn restart(&mut self, node: &str) -> Result<(), String>;
    /// The name of the node at an address.
    fn name_of(&self, addr: &SocketAddr) -> Option<&str>;
}

/// Why a run did not end well.
#[derive(Clone, Debug)]
pub enum Failure {
    /// An expectation was not met.
    Expectation(Problem),
    /// The run could not go on.
    Broken(String),
}

/// How long the stage goes on after the last step, so that the last messages arrive.
const SETTLE: Duration = Duration::from_millis(500);

/// Runs the steps.
///
/// # Errors
///
/// The first step that was not as expected.
pub fn run(scenario: &Scenario, stage: &mut dyn Stage) -> Result<(), Failure> {
    let mut captures = Captures::default();
    let mut cursors = Cursors::default();
    for step in &scenario.steps {
        if let StepKind::Together(branches) = &step.kind {
            let begin = |branch| Walk::new(Some(branch), &branch.steps, cursors.clone());
            let mut walks: Vec<_> = branches.iter().map(begin).collect();
            side_by_side(&mut walks, stage, &mut captures)?;
            for walk in walks {
                cursors.join(walk.cursors);
            }
        } else {
            let mut walk = [Walk::new(None, std::slice::from_ref(step), cursors)];
            side_by_side(&mut walk, stage, &mut captures)?;
            let [done] = walk;
            cursors = done.cursors;
        }
    }
    let end = stage.now() + SETTLE;
    while stage.advance(end).map_err(Failure::Broken)? {}
    Ok(())
}

/// Goes on with lists of steps, in their order at each moment, until all are done.
fn side_by_side(
    walks: &mut [Walk<'_>],
    stage: &mut dyn Stage,
    captures: &mut Captures,
) -> Result<(), Failure> {
    let mut reached = None;
    loop {
        let mut next: Option<Instant> = None;
        for walk in walks.iter_mut() {
            if let Some(until) = walk.go_on(stage, captures, reached)? {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
        }
        let Some(until) = next else { return Ok(()) };
        let more = stage.advance(until).map_err(Failure::Broken)?;
        reached = (!more).then_some(until);
    }
}

/// How far each node's events have been looked at: messages, decisions and states apart.
#[derive(Clone, Default)]
struct Cursors {
    next: BTreeMap<(String, u8), usize>,
    /// The last command, or the begin of the last wait: what was before it is past.
    since: Instant,
    /// How many events were there then.
    past: usize,
}

impl Cursors {
    /// What was until now is past.
    fn start(&mut self, stage: &dyn Stage) {
        (self.since, self.past) = (stage.now(), stage.events().len());
    }

    /// The cursor of an expectation, behind everything that is past.
    fn of(&mut self, expectation: &Expectation) -> &mut usize {
        let class = match expectation.what {
            Seen::Message { .. } => 0,
            Seen::Note { .. } => 1,
            Seen::State(_) => 2,
            Seen::Diagnosis => 3,
        };
        let next = self.next.entry((expectation.node.clone(), class)).or_default();
        *next = (*next).max(self.past);
        next
    }

    /// What another list of steps has looked at is past, too.
    fn join(&mut self, other: Self) {
        for (key, cursor) in other.next {
            let own = self.next.entry(key).or_default();
            *own = (*own).max(cursor);
        }
        self.since = self.since.max(other.since);
        self.past = self.past.max(other.past);
    }
}

/// A list of steps on its way.
struct Walk<'a> {
    /// Which branch it is, if it is one.
    branch: Option<&'a Branch>,
    steps: &'a [Step],
    /// What the next step waits for, once it has begun.
    waits: Option<Waits>,
    cursors: Cursors,
}

/// A step that has begun.
#[derive(Clone, Copy)]
struct Waits {
    until: Instant,
    /// The first event that it looks at.
    begin: usize,
}

impl<'a> Walk<'a> {
    const fn new(branch: Option<&'a Branch>, steps: &'a [Step], cursors: Cursors) -> Self {
        Self { branch, steps, waits: None, cursors }
    }

    /// Does the next steps; gives until when one waits. All that could happen until `reached` has
    /// happened.
    fn go_on(
        &mut self,
        stage: &mut dyn Stage,
        captures: &mut Captures,
        mut reached: Option<Instant>,
    ) -> Result<Option<Instant>, Failure> {
        while let Some((step, rest)) = self.steps.split_first() {
            let waits = self.step(step, stage, captures, reached);
            if let Some(until) = waits.map_err(|fault| self.in_branch(fault))? {
                return Ok(Some(until));
            }
            (self.steps, self.waits, reached) = (rest, None, None);
        }
        Ok(None)
    }

    fn in_branch(&self, failure: Failure) -> Failure {
        match (failure, self.branch) {
            (Failure::Expectation(problem), Some(branch)) => {
                let text = format!("in branch `{}`: {}", branch.name, problem.text);
                Failure::Expectation(Problem { text, ..problem })
            }
            (failure, _) => failure,
        }
    }

    /// Does one step, or goes on with it; gives until when it waits.
    fn step(
        &mut self,
        step: &Step,
        stage: &mut dyn Stage,
        captures: &mut Captures,
        reached: Option<Instant>,
    ) -> Result<Option<Instant>, Failure> {
        let failed =
            |fault: String| Failure::Expectation(Problem { at: step.at, text: fault, help: None });
        match &step.kind {
            StepKind::Command { ue, order } => {
                self.cursors.start(stage);
                stage.command(ue, &captures.order(order)).map_err(failed)?;
            }
            StepKind::Operate(order) => {
                self.cursors.start(stage);
                let filled = captures.fill(&order.to_string()).parse();
                filled.and_then(|order| stage.operate(&order)).map_err(failed)?;
            }
            StepKind::Crash { node } => stage.crash(node).map_err(failed)?,
            StepKind::Restart { node } => stage.restart(node).map_err(failed)?,
            StepKind::Wait(time) => {
                if self.waits.is_none() {
                    self.cursors.start(stage);
                }
                let until = self.begin(*time, stage.events().len(), stage.now()).until;
                return Ok((reached < Some(until)).then_some(until));
            }
            StepKind::Expect(expectation) => {
                return self.expect(step, expectation, stage, captures, reached);
            }
            StepKind::Never(expectation) => {
                // What was seen before this step does not count.
                let waits = self.begin(expectation.within, stage.events().len(), stage.now());
                if reached < Some(waits.until) {
                    return Ok(Some(waits.until));
                }
                self.never(step, expectation, stage, captures, waits.begin)?;
            }
            // Their steps are walked apart.
            StepKind::Together(_) => {}
        }
        Ok(None)
    }

    /// What the step waits for, from now on if it has just begun.
    fn begin(&mut self, time: Duration, begin: usize, now: Instant) -> Waits {
        *self.waits.get_or_insert(Waits { until: now + time, begin })
    }

    fn expect(
        &mut self,
        step: &Step,
        expectation: &Expectation,
        stage: &dyn Stage,
        captures: &mut Captures,
        reached: Option<Instant>,
    ) -> Result<Option<Instant>, Failure> {
        let since = self.cursors.since;
        let begin = *self.cursors.of(expectation);
        let waits = self.begin(expectation.within, begin, stage.now());
        let cursor = self.cursors.of(expectation);
        while let Some(event) = stage.events().get(*cursor) {
            *cursor += 1;
            // Events of other processes may arrive late.
            if event.at >= since && is_seen(event, expectation, stage) {
                let found = failing_field(expectation, event, captures);
                return found.map_or(Ok(None), |found| {
                    let problem = explain::differs(&found, event, stage, captures);
                    Err(Failure::Expectation(problem))
                });
            }
        }
        if reached < Some(waits.until) {
            return Ok(Some(waits.until));
        }
        let problem = explain::missing(step, expectation, stage, waits.begin);
        Err(Failure::Expectation(problem))
    }

    fn never(
        &mut self,
        step: &Step,
        expectation: &Expectation,
        stage: &dyn Stage,
        captures: &mut Captures,
        begin: usize,
    ) -> Result<(), Failure> {
        let cursor = self.cursors.of(expectation);
        *cursor = (*cursor).max(begin);
        while let Some(event) = stage.events().get(*cursor) {
            *cursor += 1;
            let seen = is_seen(event, expectation, stage);
            if seen && failing_field(expectation, event, captures).is_none() {
                return Err(Failure::Expectation(explain::forbidden(step, event, stage)));
            }
        }
        Ok(())
    }
}
