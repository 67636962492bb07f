//! Walks the steps of a scenario over a stage, simulated or live, and says what was not as
//! expected.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::config::Problem;
use cscf_core::operator::{self, FaultOrder};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::TraceEvent;

use super::quiet::{Mark, Quiet};
use super::seen::{failing_fields, is_seen, repeats};
use super::{Branch, Captures, DUT, Expectation, Order, Scenario, Seen, Step, StepKind, explain};

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
    fn operate(&mut self, order: &operator::Order) -> Result<(), String>;
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
    /// How long after it happened an event may be told: other processes tell theirs late.
    fn lateness(&self) -> Duration {
        Duration::ZERO
    }
    /// The name of the node at an address.
    fn name_of(&self, addr: &SocketAddr) -> Option<&str>;
    /// Whether this UE knows all its orders from the start and obeys them at its own pace: what it
    /// did before an order or during a wait is not past then.
    fn acts_by_itself(&self, ue: &str) -> bool {
        let _ = ue;
        false
    }
}

/// Why a run did not end well.
#[derive(Clone, Debug)]
pub enum Failure {
    /// An expectation was not met.
    Expectation(Problem),
    /// The run could not go on.
    Broken(String),
}

/// An expectation that was not met.
#[derive(Clone, Debug)]
pub struct Unmet {
    /// What was not as expected: one problem, or one for each condition on the message.
    pub problems: Vec<Problem>,
    /// The message (or decision) that is not as expected, as its place among the stage's events;
    /// `None` when nothing came.
    pub event: Option<usize>,
}

impl Unmet {
    fn of(problem: Problem, event: Option<usize>) -> Self {
        Self { problems: vec![problem], event }
    }
}

/// Who is told how the steps of a scenario go.
pub trait Judge {
    /// A step was met, an expectation by the event at this place.
    fn met(&mut self, step: &Step, event: Option<usize>, stage: &dyn Stage) {
        let _ = (step, event, stage);
    }

    /// An expectation was not met. Says whether to go on all the same.
    fn unmet(&mut self, step: &Step, unmet: Unmet, stage: &dyn Stage) -> bool;
}

/// Ends at the first expectation that is not met, and keeps it.
#[derive(Default)]
struct First(Option<Problem>);

impl Judge for First {
    fn unmet(&mut self, _step: &Step, unmet: Unmet, _stage: &dyn Stage) -> bool {
        self.0 = unmet.problems.into_iter().next();
        false
    }
}

/// Why steps are not gone on with.
enum Stop {
    /// An expectation that was not met; its judge has not been asked yet.
    Unmet(Unmet),
    /// The judge has seen enough.
    Judged,
    /// The run cannot go on.
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
    let mut first = First::default();
    judged(scenario, stage, &mut first).map_err(Failure::Broken)?;
    first.0.map_or(Ok(()), |problem| Err(Failure::Expectation(problem)))
}

/// Runs the steps and tells a judge of each, who may go on where an expectation was not met.
///
/// # Errors
///
/// Why the run could not go on.
pub fn judged(
    scenario: &Scenario,
    stage: &mut dyn Stage,
    judge: &mut dyn Judge,
) -> Result<(), String> {
    let mut run = Run { stage, captures: Captures::default(), judge, quiet: Vec::new() };
    match run.all(scenario) {
        Ok(()) | Err(Stop::Judged) => Ok(()),
        Err(Stop::Broken(fault)) => Err(fault),
        Err(Stop::Unmet(_)) => Err("an expectation was not judged".to_owned()),
    }
}

/// What all lists of steps of a run share.
struct Run<'a> {
    stage: &'a mut dyn Stage,
    captures: Captures,
    judge: &'a mut dyn Judge,
    /// What was not to be, and may still be told late.
    quiet: Vec<Quiet<'a>>,
}

impl<'a> Run<'a> {
    fn all(&mut self, scenario: &'a Scenario) -> Result<(), Stop> {
        let mut cursors = Cursors::default();
        for (_, rule) in &scenario.faults {
            let order = operator::Order::Fault(FaultOrder::Add(Box::new(rule.clone())));
            let broken = |text| Stop::Broken(format!("the fault `{rule}`: {text}"));
            self.stage.operate(&order).map_err(broken)?;
        }
        for step in &scenario.steps {
            if let StepKind::Together(branches) = &step.kind {
                let begin = |branch| Walk::new(Some(branch), &branch.steps, cursors.clone());
                let mut walks: Vec<_> = branches.iter().map(begin).collect();
                self.side_by_side(&mut walks)?;
                for walk in walks {
                    cursors.join(walk.cursors);
                }
            } else {
                let mut walk = [Walk::new(None, std::slice::from_ref(step), cursors)];
                self.side_by_side(&mut walk)?;
                let [done] = walk;
                cursors = done.cursors;
            }
        }
        let late = self.quiet.iter().map(|quiet| quiet.until + self.stage.lateness()).max();
        let end = self.stage.now() + SETTLE;
        let end = late.map_or(end, |late| end.max(late));
        while self.stage.advance(end).map_err(Stop::Broken)? {}
        self.look_again()
    }

    /// Looks for what was not to be among what other processes have told since.
    fn look_again(&mut self) -> Result<(), Stop> {
        for mut quiet in std::mem::take(&mut self.quiet) {
            let Some(at) = quiet.broken_by(&*self.stage, &mut self.captures) else { continue };
            let problems = vec![quiet.problem(&*self.stage, at)];
            let unmet = Unmet { problems, event: Some(at) };
            if !self.judge.unmet(quiet.step, unmet, &*self.stage) {
                return Err(Stop::Judged);
            }
        }
        Ok(())
    }

    /// Goes on with lists of steps, in their order at each moment, until all are done.
    fn side_by_side(&mut self, walks: &mut [Walk<'a>]) -> Result<(), Stop> {
        let mut reached = None;
        loop {
            let mut next: Option<Instant> = None;
            for walk in walks.iter_mut() {
                if let Some(until) = walk.go_on(self, reached)? {
                    next = Some(next.map_or(until, |next| next.min(until)));
                }
            }
            let Some(until) = next else { return Ok(()) };
            let more = self.stage.advance(until).map_err(Stop::Broken)?;
            reached = (!more).then_some(until);
        }
    }
}

/// How far each node's events have been looked at: messages, those of the device, decisions and
/// states apart.
#[derive(Clone, Default)]
struct Cursors {
    next: BTreeMap<(String, u8), usize>,
    /// The last command, or the begin of the last wait: what was before it is past.
    since: Instant,
    /// How many events were there then.
    past: usize,
    /// The last command, or the last message that was expected: times of what comes next count
    /// from there.
    last: Instant,
    /// Where what must not be begins.
    mark: Mark,
    /// The device acts at its own pace: nobody's command makes its messages past.
    by_itself: bool,
}

impl Cursors {
    /// What was until now is past.
    fn start(&mut self, stage: &dyn Stage) {
        (self.since, self.past) = (stage.now(), stage.events().len());
        self.by_itself = stage.acts_by_itself(DUT);
        if !self.by_itself {
            self.last = self.since;
        }
        self.mark.time(self.since);
    }

    /// The cursor of an expectation, behind everything that is past.
    fn of(&mut self, expectation: &Expectation) -> &mut usize {
        let class = match expectation.what {
            Seen::Message { .. } if expectation.is_about_device() => 4,
            Seen::Message { .. } => 0,
            Seen::Note { .. } => 1,
            Seen::State(_) => 2,
            Seen::Diagnosis => 3,
        };
        let past = if self.waits_for(expectation) { 0 } else { self.past };
        let next = self.next.entry((expectation.node.clone(), class)).or_default();
        *next = (*next).max(past);
        next
    }

    /// From when on an expectation looks.
    fn since(&self, expectation: &Expectation) -> Instant {
        if self.waits_for(expectation) { Instant::default() } else { self.since }
    }

    /// Whether it is about a device whose messages may have come before their order.
    fn waits_for(&self, expectation: &Expectation) -> bool {
        self.by_itself && expectation.is_about_device()
    }

    /// An expectation was met by the event at this place.
    fn met(&mut self, expectation: &Expectation, event: &TraceEvent, at: usize) {
        if matches!(expectation.what, Seen::Message { .. }) {
            self.last = self.last.max(event.at);
        }
        self.mark.event(event.at, at);
    }

    /// What another list of steps has looked at is past, too.
    fn join(&mut self, other: Self) {
        for (key, cursor) in other.next {
            let own = self.next.entry(key).or_default();
            *own = (*own).max(cursor);
        }
        self.since = self.since.max(other.since);
        self.past = self.past.max(other.past);
        self.last = self.last.max(other.last);
        self.mark = self.mark.max(other.mark);
        self.by_itself |= other.by_itself;
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
    /// The event that met the step, if it was an expectation.
    found: Option<usize>,
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
        Self { branch, steps, waits: None, cursors, found: None }
    }

    /// Does the next steps; gives until when one waits. All that could happen until `reached` has
    /// happened.
    fn go_on(
        &mut self,
        run: &mut Run<'a>,
        mut reached: Option<Instant>,
    ) -> Result<Option<Instant>, Stop> {
        while let Some((step, rest)) = self.steps.split_first() {
            match self.step(step, run, reached) {
                Ok(Some(until)) => return Ok(Some(until)),
                Ok(None) => run.judge.met(step, self.found.take(), &*run.stage),
                Err(Stop::Unmet(unmet)) => {
                    if !run.judge.unmet(step, self.in_branch(unmet), &*run.stage) {
                        return Err(Stop::Judged);
                    }
                }
                Err(stop) => return Err(stop),
            }
            (self.steps, self.waits, self.found, reached) = (rest, None, None, None);
        }
        Ok(None)
    }

    fn in_branch(&self, mut unmet: Unmet) -> Unmet {
        if let Some(branch) = self.branch {
            for problem in &mut unmet.problems {
                problem.text = format!("in branch `{}`: {}", branch.name, problem.text);
            }
        }
        unmet
    }

    /// Does one step, or goes on with it; gives until when it waits.
    fn step(
        &mut self,
        step: &'a Step,
        run: &mut Run<'a>,
        reached: Option<Instant>,
    ) -> Result<Option<Instant>, Stop> {
        let failed =
            |text: String| Stop::Unmet(Unmet::of(Problem { at: step.at, text, help: None }, None));
        let Run { stage, captures, .. } = run;
        match &step.kind {
            StepKind::Command { ue, order } => {
                if stage.acts_by_itself(ue) {
                    self.cursors.mark.time(stage.now());
                } else {
                    self.cursors.start(&**stage);
                }
                stage.command(ue, &captures.order(order)).map_err(failed)?;
            }
            StepKind::Operate(order) => {
                self.cursors.start(&**stage);
                let filled = if step.uses.is_empty() {
                    Ok(order.clone())
                } else {
                    captures.fill(&order.to_string()).parse()
                };
                filled.and_then(|order| stage.operate(&order)).map_err(failed)?;
            }
            StepKind::Crash { node } => stage.crash(node).map_err(failed)?,
            StepKind::Restart { node } => stage.restart(node).map_err(failed)?,
            StepKind::Wait(time) => {
                if self.waits.is_none() && !stage.acts_by_itself(DUT) {
                    self.cursors.start(&**stage);
                }
                let until = self.begin(stage.now() + *time, stage.events().len()).until;
                self.cursors.mark.time(until);
                return Ok((reached < Some(until)).then_some(until));
            }
            StepKind::Expect(expectation) => {
                return self.expect(step, expectation, run, reached);
            }
            StepKind::Never(expectation) => {
                return self.never((step, expectation), run, reached);
            }
            // Their steps are walked apart.
            StepKind::Together(_) => {}
        }
        Ok(None)
    }

    /// What the step waits for, from now on if it has just begun.
    fn begin(&mut self, until: Instant, begin: usize) -> Waits {
        *self.waits.get_or_insert(Waits { until, begin })
    }

    fn expect(
        &mut self,
        step: &Step,
        expectation: &Expectation,
        run: &mut Run<'_>,
        reached: Option<Instant>,
    ) -> Result<Option<Instant>, Stop> {
        let stage = &*run.stage;
        let (since, last) = (self.cursors.since(expectation), self.cursors.last);
        let begin = *self.cursors.of(expectation);
        let from = if expectation.no_earlier.is_some() { last } else { stage.now() };
        let waits = self.begin(from + expectation.within, begin);
        let cursor = self.cursors.of(expectation);
        while let Some(event) = stage.events().get(*cursor) {
            let at = *cursor;
            *cursor += 1;
            // Events of other processes may arrive late.
            let in_time = event.at >= since && event.at <= waits.until;
            if in_time && is_seen(event, expectation, stage) && !repeats(expectation, at, stage) {
                self.found = Some(at);
                self.cursors.met(expectation, event, at);
                let after = event.at.since(last);
                let early = expectation.no_earlier.filter(|least| after < *least);
                let mut problems: Vec<Problem> = early
                    .map(|least| explain::too_early(step, event, stage, (after, least)))
                    .into_iter()
                    .collect();
                for found in failing_fields(expectation, event, &mut run.captures) {
                    problems.push(explain::differs(&found, event, stage, &run.captures));
                }
                let unmet = Unmet { problems, event: self.found };
                return if unmet.problems.is_empty() { Ok(None) } else { Err(Stop::Unmet(unmet)) };
            }
        }
        let end = waits.until + stage.lateness();
        if reached < Some(end) {
            return Ok(Some(end));
        }
        let problem = explain::missing(step, expectation, stage, waits.begin);
        Err(Stop::Unmet(Unmet::of(problem, None)))
    }

    /// Something must not be, from the last thing that was expected on, or the last command.
    fn never(
        &mut self,
        (step, expectation): (&'a Step, &'a Expectation),
        run: &mut Run<'a>,
        reached: Option<Instant>,
    ) -> Result<Option<Instant>, Stop> {
        let stage = &*run.stage;
        let begin = *self.cursors.of(expectation);
        let from = self.cursors.mark.from(stage);
        let waits = self.begin(from + expectation.within, begin);
        if reached < Some(waits.until) {
            return Ok(Some(waits.until));
        }
        let next = self.cursors.mark.behind(expectation, waits.begin, stage);
        let since = self.cursors.mark.at;
        let branch = self.branch.map(|branch| branch.name.as_str());
        let mut quiet = Quiet { step, expectation, branch, next, since, until: waits.until };
        self.cursors.mark.time(waits.until);
        let broken = quiet.broken_by(stage, &mut run.captures);
        *self.cursors.of(expectation) = quiet.next;
        if let Some(at) = broken {
            let problem = explain::forbidden(step, stage, at);
            return Err(Stop::Unmet(Unmet::of(problem, Some(at))));
        }
        if stage.lateness() > Duration::ZERO {
            run.quiet.push(quiet);
        }
        Ok(None)
    }
}
