//! What must not be: from where on, until when, and whether it was after all. What other processes
//! tell late is looked at again at the end of a run.

use cscf_core::config::Problem;
use cscf_core::time::Instant;

use super::seen::{failing_fields, is_seen, repeats};
use super::{Captures, Expectation, Stage, Step, explain};

/// The last thing that was as expected, the last command, or the end of the last wait: what must
/// not be, must not be from there on.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    /// Its time.
    pub(super) at: Instant,
    /// The event that was expected, if it was one: at its node only what comes behind it counts.
    event: Option<usize>,
}

impl Mark {
    /// It begins at this time.
    pub(super) fn time(&mut self, at: Instant) {
        if at > self.at {
            *self = Self { at, event: None };
        }
    }

    /// It begins with this event. Nodes are independent: one that is earlier changes nothing.
    pub(super) fn event(&mut self, at: Instant, event: usize) {
        if at >= self.at {
            *self = Self { at, event: Some(event) };
        }
    }

    /// The later of two.
    pub(super) fn max(self, other: Self) -> Self {
        if other.at > self.at { other } else { self }
    }

    /// The time from which `within` counts: now, or a moment ago where what happens is told late.
    pub(super) fn from(&self, stage: &dyn Stage) -> Instant {
        let now = stage.now();
        if self.at + stage.lateness() >= now { self.at.min(now) } else { now }
    }

    /// The first event to look at, not before `begin`.
    pub(super) fn behind(
        &self,
        expectation: &Expectation,
        begin: usize,
        stage: &dyn Stage,
    ) -> usize {
        let event = self.event.and_then(|at| Some((at, stage.events().get(at)?)));
        let own = event.filter(|(_, event)| *event.node == *expectation.node);
        own.map_or(begin, |(at, _)| begin.max(at + 1))
    }
}

/// Something that must not be for a while.
#[derive(Clone, Copy)]
pub(super) struct Quiet<'a> {
    pub(super) step: &'a Step,
    pub(super) expectation: &'a Expectation,
    /// The branch it stands in.
    pub(super) branch: Option<&'a str>,
    /// The first event that has not been looked at.
    pub(super) next: usize,
    /// From when on.
    pub(super) since: Instant,
    /// Until when.
    pub(super) until: Instant,
}

impl Quiet<'_> {
    /// The event by which it was after all, among those that have not been looked at.
    pub(super) fn broken_by(
        &mut self,
        stage: &dyn Stage,
        captures: &mut Captures,
    ) -> Option<usize> {
        let wanted = self.expectation;
        while let Some(event) = stage.events().get(self.next) {
            let at = self.next;
            self.next += 1;
            let in_time = event.at >= self.since && event.at <= self.until;
            if in_time
                && is_seen(event, wanted, stage)
                && !repeats(wanted, at, stage)
                && wanted.fields.iter().all(|field| captures.knows(&field.matcher))
                && failing_fields(wanted, event, captures).is_empty()
            {
                return Some(at);
            }
        }
        None
    }

    /// What is said of it.
    pub(super) fn problem(&self, stage: &dyn Stage, at: usize) -> Problem {
        let mut problem = explain::forbidden(self.step, stage, at);
        if let Some(branch) = self.branch {
            problem.text = format!("in branch `{branch}`: {}", problem.text);
        }
        problem
    }
}
