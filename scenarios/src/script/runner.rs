//! Walks the steps of a scenario over a stage, simulated or live, and says what was not as
//! expected.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::config::{Position, Problem};
use cscf_core::sip::{self, HeaderName, Message};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};

use super::{Expectation, FieldExpectation, Order, Scenario, Seen, Step, StepKind, parameter};
use crate::report::diagnosis;
use crate::report::summary::diameter_label;

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
    let mut cursors = Cursors::default();
    for step in &scenario.steps {
        run_step(step, stage, &mut cursors)?;
    }
    let end = stage.now() + SETTLE;
    while stage.advance(end).map_err(Failure::Broken)? {}
    Ok(())
}

/// How far each node's events have been looked at: messages, decisions and states apart.
#[derive(Default)]
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
}

fn run_step(step: &Step, stage: &mut dyn Stage, cursors: &mut Cursors) -> Result<(), Failure> {
    let failed =
        |fault: String| Failure::Expectation(Problem { at: step.at, text: fault, help: None });
    match &step.kind {
        StepKind::Command { ue, order } => {
            cursors.start(stage);
            stage.command(ue, order).map_err(failed)
        }
        StepKind::Operate(order) => {
            cursors.start(stage);
            stage.operate(order).map_err(failed)
        }
        StepKind::Crash { node } => stage.crash(node).map_err(failed),
        StepKind::Restart { node } => stage.restart(node).map_err(failed),
        StepKind::Wait(time) => {
            cursors.start(stage);
            let end = stage.now() + *time;
            while stage.advance(end).map_err(Failure::Broken)? {}
            Ok(())
        }
        StepKind::Expect(expectation) => {
            let since = cursors.since;
            let cursor = cursors.of(expectation);
            expect(step, expectation, stage, (cursor, since))
        }
        StepKind::Never(expectation) => {
            let cursor = cursors.of(expectation);
            never(step, expectation, stage, cursor)
        }
    }
}

fn expect(
    step: &Step,
    expectation: &Expectation,
    stage: &mut dyn Stage,
    (cursor, since): (&mut usize, Instant),
) -> Result<(), Failure> {
    let begin = *cursor;
    let deadline = stage.now() + expectation.within;
    loop {
        while let Some(event) = stage.events().get(*cursor) {
            *cursor += 1;
            // Events of other processes may arrive late.
            if event.at >= since && is_seen(event, expectation, stage) {
                let index = *cursor - 1;
                return check_fields(expectation, index, stage);
            }
        }
        if !stage.advance(deadline).map_err(Failure::Broken)? && stage.events().len() <= *cursor {
            return Err(Failure::Expectation(missing(step, expectation, stage, begin)));
        }
    }
}

fn never(
    step: &Step,
    expectation: &Expectation,
    stage: &mut dyn Stage,
    cursor: &mut usize,
) -> Result<(), Failure> {
    let deadline = stage.now() + expectation.within;
    // What was seen before this step does not count.
    *cursor = (*cursor).max(stage.events().len());
    while stage.advance(deadline).map_err(Failure::Broken)? {}
    while let Some(event) = stage.events().get(*cursor) {
        *cursor += 1;
        if is_seen(event, expectation, stage) && failing_field(expectation, event).is_none() {
            let text = format!("must not be, but happened at {}: {}", event.at, step.text);
            let help = Some(chain(stage.events(), event).join("\n"));
            return Err(Failure::Expectation(Problem { at: step.at, text, help }));
        }
    }
    Ok(())
}

fn is_seen(event: &TraceEvent, expectation: &Expectation, stage: &dyn Stage) -> bool {
    if *event.node != *expectation.node {
        return false;
    }
    match (&event.kind, &expectation.what) {
        (TraceKind::Received(wire), Seen::Message { received: true, label, answers, peer })
        | (TraceKind::Sent(wire), Seen::Message { received: false, label, answers, peer }) => {
            let peer_fits = peer
                .as_deref()
                .is_none_or(|peer| stage.name_of(&wire.remote).is_some_and(|name| name == peer));
            peer_fits && is_message(wire, label, answers.as_deref())
        }
        (TraceKind::Note(note), Seen::Diagnosis) => note.diagnosis.is_some(),
        (TraceKind::Note(note), Seen::Note { clause }) => note.clause.to_string() == *clause,
        (TraceKind::State(state), Seen::State(words)) => {
            state == words
                || state.strip_prefix(words.as_str()).is_some_and(|rest| rest.starts_with(' '))
        }
        _ => false,
    }
}

fn is_message(wire: &Wire, label: &str, answers: Option<&str>) -> bool {
    if wire.protocol == Protocol::Diameter {
        return answers.is_none() && diameter_label(&wire.bytes) == label;
    }
    match sip::parse(&wire.bytes) {
        Ok(Message::Request(request)) => answers.is_none() && request.method.as_str() == label,
        Ok(Message::Response(response)) => {
            let cseq = response.headers.get(HeaderName::CSeq).unwrap_or_default();
            let method = cseq.split_whitespace().nth(1).unwrap_or_default();
            label.parse() == Ok(response.status) && answers.is_none_or(|answers| answers == method)
        }
        Err(_) => false,
    }
}

/// The values of a field of an event: of a header, or of one of the names that are no header.
fn values(event: &TraceEvent, name: &str) -> Vec<String> {
    let (TraceKind::Received(wire) | TraceKind::Sent(wire)) = &event.kind else {
        return match &event.kind {
            TraceKind::Note(note) if name == "text" => vec![note.text.clone()],
            TraceKind::Note(note) => diagnosis::field(note, name).into_iter().collect(),
            _ => Vec::new(),
        };
    };
    if name == "transport" {
        return vec![wire.transport.param_name().to_owned()];
    }
    if wire.protocol == Protocol::Diameter {
        return crate::report::summary::avp_values(&wire.bytes, name);
    }
    let Ok(message) = sip::parse(&wire.bytes) else { return Vec::new() };
    match (name, &message) {
        ("request_uri", Message::Request(request)) => vec![request.request_uri.clone()],
        ("reason", Message::Response(response)) => vec![response.reason.clone()],
        ("body", _) => {
            let body = message.body();
            if body.is_empty() {
                return Vec::new();
            }
            vec![String::from_utf8_lossy(body).into_owned()]
        }
        _ => {
            let fields = message.headers().fields_named(name);
            fields.map(|field| field.unfolded().into_owned()).collect()
        }
    }
}

fn failing_field<'a>(
    expectation: &'a Expectation,
    event: &TraceEvent,
) -> Option<(&'a FieldExpectation, Vec<String>)> {
    expectation.fields.iter().find_map(|field| {
        let mut values = values(event, &field.name);
        if let Some(name) = &field.parameter {
            values = parameter::values(&values, name);
        }
        (!field.matcher.accepts(&values)).then_some((field, values))
    })
}

fn check_fields(expectation: &Expectation, index: usize, stage: &dyn Stage) -> Result<(), Failure> {
    let events = stage.events();
    let Some(event) = events.get(index) else { return Ok(()) };
    let Some((field, values)) = failing_field(expectation, event) else { return Ok(()) };
    let actual = if values.is_empty() { "absent".to_owned() } else { values.join(" | ") };
    let parameter = field.parameter.iter().map(|name| format!(";{name}")).collect::<String>();
    let text = format!("{}{parameter} is not as expected; actual: {actual}", field.name);
    let at = Position { start: field.value_at.start, end: field.value_at.end, ..field.value_at };
    let help = Some(chain(events, event).join("\n"));
    Err(Failure::Expectation(Problem { at, text, help }))
}

fn missing(step: &Step, expectation: &Expectation, stage: &dyn Stage, begin: usize) -> Problem {
    let events = stage.events();
    let within = expectation.within;
    let mut help = Vec::new();
    let at_node = |event: &&TraceEvent| *event.node == *expectation.node;
    let unread = events.get(begin..).unwrap_or_default();
    let last = unread.iter().rev().filter(at_node).find(|event| {
        matches!(event.kind, TraceKind::Received(_) | TraceKind::Sent(_) | TraceKind::State(_))
    });
    match last {
        Some(event) => {
            help.push(format!("last seen there instead: {}", said(event)));
            help.extend(chain(events, event).into_iter().skip(1));
        }
        None => help.push(format!("nothing more was seen at {}", expectation.node)),
    }
    let refusals = unread.iter().filter_map(|event| match &event.kind {
        TraceKind::Note(note) if note.refusal => Some(decision(event, note)),
        _ => None,
    });
    for line in refusals.take(5) {
        if !help.contains(&line) {
            help.push(line);
        }
    }
    let text = format!("did not happen within {within:?}: {}", step.text);
    Problem { at: step.at, text, help: Some(help.join("\n")) }
}

fn said(event: &TraceEvent) -> String {
    match &event.kind {
        TraceKind::Received(wire) => {
            format!("{} {} receives {}", event.at, event.node, crate::report::summary::label(wire))
        }
        TraceKind::Sent(wire) => {
            format!("{} {} sends {}", event.at, event.node, crate::report::summary::label(wire))
        }
        TraceKind::State(state) => format!("{} {} is {state}", event.at, event.node),
        TraceKind::Note(note) => decision(event, note),
        TraceKind::Dropped { reason, .. } => format!("{} {} drops: {reason}", event.at, event.node),
        TraceKind::Fault { action, .. } => format!("{} network: {action}", event.at),
    }
}

fn decision(event: &TraceEvent, note: &Note) -> String {
    let mut out = format!("{} {} decides: {} [{}]", event.at, event.node, note.text, note.clause);
    for line in diagnosis::lines(&event.node, note).into_iter().skip(1) {
        out.push_str("\n        ");
        out.push_str(line.trim_start());
    }
    out
}

/// The decisions that led to a message: those of the node that made it first, just before.
fn chain(events: &[TraceEvent], event: &TraceEvent) -> Vec<String> {
    let (TraceKind::Received(wire) | TraceKind::Sent(wire)) = &event.kind else {
        return Vec::new();
    };
    let key = identity(wire);
    let made = events
        .iter()
        .position(|other| matches!(&other.kind, TraceKind::Sent(sent) if identity(sent) == key));
    let Some(made) = made else { return vec![said(event)] };
    let mut out = vec![said(event)];
    let Some(origin) = events.get(made) else { return out };
    if *origin.node != *event.node {
        out.push(format!("made by {} at {}", origin.node, origin.at));
    }
    let mut notes: Vec<String> = Vec::new();
    for earlier in events.get(..made).unwrap_or_default().iter().rev() {
        if *earlier.node != *origin.node {
            continue;
        }
        match &earlier.kind {
            TraceKind::Note(note) if notes.len() < 5 => notes.push(decision(earlier, note)),
            _ => break,
        }
    }
    out.extend(notes.into_iter().rev());
    out
}

/// What makes a message the same at every hop: Call-ID, CSeq and start line without the URI.
fn identity(wire: &Wire) -> Option<(String, String, String)> {
    if wire.protocol == Protocol::Diameter {
        return None;
    }
    let message = sip::parse(&wire.bytes).ok()?;
    let kind = match &message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => response.status.to_string(),
    };
    let header = |name| message.headers().get(name).unwrap_or_default().to_owned();
    Some((header(HeaderName::CallId), header(HeaderName::CSeq), kind))
}
