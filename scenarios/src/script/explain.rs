//! Why an expectation was not met: what was there instead, and the decisions that led to it.

use cscf_core::config::Problem;
use cscf_core::sip::{self, HeaderName, Message};
use cscf_core::time::Duration;
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};

use super::seen::{Mismatch, nearest_field};
use super::{Captures, Expectation, Stage, Step};
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
    if actual.is_empty()
        && let Some(near) = nearest_field(event, &field.name)
    {
        help.push(format!("there is no `{}`; did you mean `{near}`?", field.name));
    }
    let actual = if actual.is_empty() { "absent".to_owned() } else { actual.join(" | ") };
    let parameter = field.parameter.iter().map(|name| format!(";{name}")).collect::<String>();
    let text = format!("{}{parameter}: expected {wanted}, actual: {actual}", field.name);
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
pub(super) fn forbidden(step: &Step, event: &TraceEvent, stage: &dyn Stage) -> Problem {
    let text = format!("must not be, but happened at {}: {}", event.at, step.text);
    let help = Some(chain(stage.events(), event).join("\n"));
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
