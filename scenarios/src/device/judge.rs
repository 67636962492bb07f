//! The judge of a case: which steps that were not met are the device's fault, and what its messages
//! lack by the tables of headers.

use cscf_core::config::{Lab, NodeRole, Position};
use cscf_core::trace::{Protocol, TraceEvent, TraceKind, Wire};

use super::packs::{self, Conditions};
use crate::report::summary;
use crate::script::{DUT, FieldExpectation, Judge, Scenario, Seen, Stage, Step, StepKind, Unmet};

/// What a case came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The device did all it must.
    Passed,
    /// It did not run: the device cannot, or there is no time.
    Skipped,
    /// Nothing can be said.
    Inconclusive,
    /// The device broke a rule.
    Failed,
}

impl Verdict {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Skipped => "skipped",
            Self::Inconclusive => "inconclusive",
            Self::Failed => "FAILED",
        }
    }
}

/// One thing that was not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is the device's fault.
    pub verdict: Verdict,
    /// Where it stands written.
    pub clause: String,
    /// What is wrong, one line.
    pub text: String,
    /// The message that is wrong, e.g. `0.012 REGISTER at p1`, where there is one.
    pub message: Option<String>,
    /// Where in the file of the case.
    pub at: Position,
    /// What was there instead, and why.
    pub help: Option<String>,
    /// A short name of the cause: the step, or the header.
    pub cause: String,
}

/// The judge of one run of a case.
#[derive(Debug)]
pub(super) struct CaseJudge<'a> {
    clause: &'a str,
    conditions: Conditions,
    /// All that was found, in order.
    pub(super) findings: Vec<Finding>,
}

impl Finding {
    /// Nothing can be said, and why.
    pub(super) fn undecided(text: String, cause: &str) -> Self {
        Self {
            verdict: Verdict::Inconclusive,
            clause: String::new(),
            text,
            message: None,
            at: Position::default(),
            help: None,
            cause: cause.to_owned(),
        }
    }
}

impl<'a> CaseJudge<'a> {
    pub(super) fn new(scenario: &'a Scenario, conditions: Conditions) -> Self {
        let clause = scenario.test.as_ref().map_or("", |case| case.clause.as_str());
        Self { clause, conditions, findings: Vec::new() }
    }

    /// The worst finding; without one the device passed.
    pub(super) fn verdict(&self) -> Verdict {
        let verdicts = self.findings.iter().map(|finding| finding.verdict);
        verdicts.max().unwrap_or(Verdict::Passed)
    }

    /// Looks at a message of the device by the tables; the step's own conditions win.
    fn look_at_headers(&mut self, step: &Step, event: Option<usize>, stage: &dyn Stage) {
        let StepKind::Expect(expectation) = &step.kind else { return };
        let event = event.and_then(|index| stage.events().get(index));
        let Some(event) = event.filter(|_| expectation.is_of_device()) else { return };
        for fault in packs::check(event, &expectation.fields, &self.conditions) {
            self.findings.push(Finding {
                verdict: if step.when { Verdict::Passed } else { Verdict::Failed },
                clause: fault.clause,
                cause: format!("{}:{}", fault.message, fault.name),
                text: fault.text,
                message: Some(said(event)),
                at: step.at,
                help: None,
            });
        }
        // What a table says of a condition of the case is no verdict of this case.
        self.findings.retain(|finding| finding.verdict != Verdict::Passed);
    }
}

impl Judge for CaseJudge<'_> {
    fn met(&mut self, step: &Step, event: Option<usize>, stage: &dyn Stage) {
        self.look_at_headers(step, event, stage);
    }

    fn unmet(&mut self, step: &Step, unmet: Unmet, stage: &dyn Stage) -> bool {
        let about_device = match &step.kind {
            StepKind::Expect(seen) | StepKind::Never(seen) => seen.is_about_device(),
            _ => false,
        };
        let judged = about_device && !step.when;
        // What the network sends is not as the case wants it: that is no fault of the device.
        let of_network = matches!(&step.kind, StepKind::Expect(seen)
            if unmet.event.is_some() && !seen.is_of_device());
        let failed = judged && !of_network;
        let verdict = if failed { Verdict::Failed } else { Verdict::Inconclusive };
        let event = unmet.event.and_then(|index| stage.events().get(index));
        for problem in unmet.problems {
            let text = if step.when {
                format!("a condition of the case was not reached: {}", problem.text)
            } else {
                problem.text
            };
            self.findings.push(Finding {
                verdict,
                clause: step.clause.clone().unwrap_or_else(|| self.clause.to_owned()),
                cause: cause_of(step, &text),
                text,
                message: event.map(said),
                at: problem.at,
                help: problem.help,
            });
        }
        self.look_at_headers(step, unmet.event, stage);
        // A wrong header does not end a dialog; what never came leaves nothing to go on with.
        judged && unmet.event.is_some()
    }
}

/// A short name of what was not met: the step without its subject, and the header if it is one's.
fn cause_of(step: &Step, text: &str) -> String {
    let (StepKind::Expect(seen) | StepKind::Never(seen)) = &step.kind else {
        return step.text.clone();
    };
    let Seen::Message { label, .. } = &seen.what else { return step.text.clone() };
    let never = matches!(step.kind, StepKind::Never(_));
    let text = match text.strip_prefix("in branch `").and_then(|rest| rest.split_once("`: ")) {
        Some((_, text)) => text,
        None => text,
    };
    let is_named = |field: &&FieldExpectation| {
        text.split([':', ';']).next().is_some_and(|name| name == field.name)
    };
    let named: Vec<&FieldExpectation> = seen.fields.iter().filter(is_named).collect();
    let is_it = |field: &&FieldExpectation| text.contains(&format!("expected {},", field.matcher));
    // Of several conditions on a header the one that does not hold is a part of the cause.
    let which = named.iter().copied().find(is_it).filter(|_| named.len() > 1);
    let which = which.map(|field| format!(" {}", field.matcher)).unwrap_or_default();
    let field = named.first();
    let line = step.at.line;
    match field {
        _ if never => format!("{label} at {line} must not be"),
        Some(field) => {
            let parameter = field.parameter.iter().map(|name| format!(";{name}"));
            format!("{label}:{}{}{which}", field.name, parameter.collect::<String>())
        }
        None if text.contains("came after") => format!("{label} at {line} too early"),
        None => format!("{label} at {line} missing"),
    }
}

fn said(event: &TraceEvent) -> String {
    let label = match &event.kind {
        TraceKind::Received(wire) | TraceKind::Sent(wire) => summary::label(wire),
        _ => String::new(),
    };
    format!("{label} of {} at {}", event.at, event.node)
}

/// Whether the device was heard at all, at a P-CSCF of the lab.
pub(super) fn heard(stage: &dyn Stage, lab: &Lab) -> bool {
    let at_edge = |event: &TraceEvent| {
        lab.node_named(&event.node).is_some_and(|node| node.role == NodeRole::Pcscf)
    };
    stage.events().iter().any(|event| at_edge(event) && is_of_device(event, stage))
}

/// Whether an event is a message that came from the device.
pub(super) fn is_of_device(event: &TraceEvent, stage: &dyn Stage) -> bool {
    let from_device =
        |wire: &Wire| wire.protocol == Protocol::Sip && stage.name_of(&wire.remote) == Some(DUT);
    matches!(&event.kind, TraceKind::Received(wire) if from_device(wire))
}
