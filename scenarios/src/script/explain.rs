//! Why an expectation was not met: what was there instead, and the decisions that led to it.

use cscf_core::config::Problem;
use cscf_core::sip::{self, HeaderName, Message};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};

use super::seen::{Mismatch, instead_of};
use super::{Captures, Expectation, Seen, Stage, Step};
use crate::report::{diagnosis, summary};

/// A message whose header, parameter or body is not as the scenario says.
pub(super) fn differs(
    found: &Mismatch<'_>,
    event: &TraceEvent,
    stage: &dyn Stage,
    captures: &Captures,
) -> Problem {
    let Mismatch { field, wanted, actual } = found;
    let mut help = captures.origins(&field.matcher);
    let parameter = field.parameter.iter().map(|name| format!(";{name}")).collect::<String>();
    let actual = actual.join(" | ");
    let is = match actual.lines().count() {
        0 => {
            help.extend(instead_of(event, &field.name));
            "absent".to_owned()
        }
        1 => actual,
        // A body is told below.
        lines => {
            help.extend(actual.lines().map(|line| format!("  | {line}")));
            format!("these {lines} lines")
        }
    };
    let text = format!("{}{parameter}: expected {wanted}, actual: {is}", field.name);
    help.extend(chain(stage.events(), event));
    Problem { at: field.value_at, text, help: Some(help.join("\n")) }
}

/// Something that came before it was allowed to.
pub(super) fn too_early(
    step: &Step,
    event: &TraceEvent,
    stage: &dyn Stage,
    (after, least): (Duration, Duration),
) -> Problem {
    let text = format!("came after {after:?}, not before {least:?} was allowed: {}", step.text);
    let help = Some(chain(stage.events(), event).join("\n"));
    Problem { at: step.at, text, help }
}

/// Something that must not be, and is.
pub(super) fn forbidden(step: &Step, stage: &dyn Stage, at: usize) -> Problem {
    let event = stage.events().get(at);
    let when = event.map_or(Instant::default(), |event| event.at);
    let text = format!("must not be, but happened at {when}: {}", step.text);
    let help = event.map(|event| chain(stage.events(), event).join("\n"));
    Problem { at: step.at, text, help }
}

/// Something that did not come in time; `begin` is the first event that was looked at.
pub(super) fn missing(
    step: &Step,
    expectation: &Expectation,
    stage: &dyn Stage,
    begin: usize,
) -> Problem {
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
    if matches!(expectation.what, Seen::Note { .. } | Seen::Diagnosis) {
        let decisions = unread.iter().filter(at_node).filter_map(|event| match &event.kind {
            TraceKind::Note(note) => Some(decision(event, note)),
            _ => None,
        });
        for line in latest(decisions.collect()) {
            if !help.contains(&line) {
                help.push(line);
            }
        }
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
            format!("{} {} receives {}", event.at, event.node, summary::label(wire))
        }
        TraceKind::Sent(wire) => {
            format!("{} {} sends {}", event.at, event.node, summary::label(wire))
        }
        TraceKind::State(state) => format!("{} {} is {state}", event.at, event.node),
        TraceKind::Note(note) => decision(event, note),
        TraceKind::Dropped { reason, .. } => format!("{} {} drops: {reason}", event.at, event.node),
        TraceKind::Fault { action, .. } => match cscf_core::fault::cause(event) {
            Some(_) => format!("{} {}: {action}", event.at, event.node),
            None => format!("{} network: {action}", event.at),
        },
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

/// Decisions shown of a chain at most: the last ones.
const DECISIONS_MAX: usize = 8;

/// What happened, and the decisions that led there: for a message those of each node that it
/// passed, just before it was sent on; for a decision those of the node before it, for the same
/// message.
fn chain(events: &[TraceEvent], event: &TraceEvent) -> Vec<String> {
    let mut out = vec![said(event)];
    let mut decisions = Vec::new();
    let (TraceKind::Received(wire) | TraceKind::Sent(wire)) = &event.kind else {
        let at = events.iter().position(|other| std::ptr::eq(other, event));
        let (trigger, before) = just_before(events, at.unwrap_or_default());
        out.extend(trigger.map(|it| format!("for what came: {}", said(it))));
        out.extend(latest(before));
        return out;
    };
    let Some(key) = identity(wire) else { return out };
    let mut origin = None;
    for (at, other) in events.iter().enumerate() {
        let TraceKind::Sent(sent) = &other.kind else { continue };
        if other.at > event.at || identity(sent).as_ref() != Some(&key) {
            continue;
        }
        origin = origin.or(Some(other));
        for decision in just_before(events, at).1 {
            if !decisions.contains(&decision) {
                decisions.push(decision);
            }
        }
    }
    if let Some(origin) = origin.filter(|origin| *origin.node != *event.node) {
        out.push(format!("made by {} at {}", origin.node, origin.at));
    }
    out.extend(latest(decisions));
    out
}

/// The decisions of a node right before one of its events, and what it had received then.
fn just_before(events: &[TraceEvent], at: usize) -> (Option<&TraceEvent>, Vec<String>) {
    let Some(event) = events.get(at) else { return (None, Vec::new()) };
    let mut decisions = Vec::new();
    let earlier = events.get(..at).unwrap_or_default().iter().rev();
    for other in earlier.filter(|other| *other.node == *event.node) {
        match &other.kind {
            TraceKind::Note(note) => decisions.push(decision(other, note)),
            TraceKind::Received(_) => {
                decisions.reverse();
                return (Some(other), decisions);
            }
            _ => break,
        }
    }
    decisions.reverse();
    (None, decisions)
}

fn latest(mut decisions: Vec<String>) -> Vec<String> {
    let surplus = decisions.len().saturating_sub(DECISIONS_MAX);
    decisions.drain(..surplus);
    decisions
}

/// What makes a message the same at every hop: of SIP Call-ID, CSeq and start line without the URI,
/// of Diameter the command and the end-to-end identifier (RFC 6733 §3).
fn identity(wire: &Wire) -> Option<(String, String, String)> {
    if wire.protocol == Protocol::Diameter {
        let end_to_end = wire.bytes.get(16..20)?;
        let label = summary::diameter_label(&wire.bytes);
        return Some((label, format!("{end_to_end:02x?}"), String::new()));
    }
    let message = sip::parse(&wire.bytes).ok()?;
    let kind = match &message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => response.status.to_string(),
    };
    let header = |name| message.headers().get(name).unwrap_or_default().to_owned();
    Some((header(HeaderName::CallId), header(HeaderName::CSeq), kind))
}
