//! What an expectation looks at: whether an event is the one, and the values of its fields.

use cscf_core::config::nearest;
use cscf_core::sip::{self, HeaderName, Message};
use cscf_core::sms;
use cscf_core::trace::{Protocol, TraceEvent, TraceKind, Wire};

use super::{Captures, Expectation, FieldExpectation, Matcher, Seen, Stage, parameter};
use crate::report::diagnosis;
use crate::report::summary::diameter_label;

/// Whether an event is what an expectation waits for, whatever its fields are.
pub(super) fn is_seen(event: &TraceEvent, expectation: &Expectation, stage: &dyn Stage) -> bool {
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

/// Whether a message of the device, or one to it, is one that was there before: on lossy paths
/// requests and responses come again with the same bytes (RFC 3261 §17), and are no new messages.
pub(super) fn repeats(expectation: &Expectation, at: usize, stage: &dyn Stage) -> bool {
    if !expectation.is_about_device() {
        return false;
    }
    let events = stage.events();
    let wire_of = |event: &'_ TraceEvent| match (&event.kind, &expectation.what) {
        (TraceKind::Received(wire), Seen::Message { received: true, .. })
        | (TraceKind::Sent(wire), Seen::Message { received: false, .. }) => {
            (*event.node == *expectation.node).then(|| wire.bytes.clone())
        }
        _ => None,
    };
    let Some(bytes) = events.get(at).and_then(wire_of) else { return false };
    let earlier = events.get(..at).unwrap_or_default();
    earlier.iter().any(|event| wire_of(event).is_some_and(|other| other == bytes))
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

/// The interval that a message asks for or grants: of its first Contact, else of Expires
/// (RFC 3261 §10.2.1.1).
fn interval(message: &Message) -> Option<String> {
    let headers = message.headers();
    let contact: Vec<String> =
        headers.get(HeaderName::Contact).map(str::to_owned).into_iter().collect();
    let own = parameter::values(&contact, "expires").into_iter().next();
    own.or_else(|| headers.get(HeaderName::Expires).map(|text| text.trim().to_owned()))
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
        ("request_uri", Message::Request(request)) => vec![request.request_uri.to_string()],
        ("interval", message) => interval(message).into_iter().collect(),
        ("reason", Message::Response(response)) => vec![response.reason.clone().into_owned()],
        (name, _) if is_of_sms(name) => sms_values(&message, name),
        ("body", _) => {
            let body = message.body();
            if body.is_empty() {
                return Vec::new();
            }
            if carries_sms(&message) {
                return vec![sms::long(body)];
            }
            vec![String::from_utf8_lossy(body).into_owned()]
        }
        _ => {
            let fields = message.headers().fields_named(name);
            fields.map(|field| field.unfolded().into_owned()).collect()
        }
    }
}

/// What a condition on a short message may name: `rp_mr`, `sms_text` and the like.
fn is_of_sms(name: &str) -> bool {
    name == "rp" || name == "tp" || ["rp_", "tp_", "sms_"].iter().any(|it| name.starts_with(it))
}

fn carries_sms(message: &Message) -> bool {
    message.headers().get(HeaderName::ContentType).is_some_and(sms::is_content_type)
}

fn sms_values(message: &Message, name: &str) -> Vec<String> {
    let carries = carries_sms(message);
    carries.then(|| sms::field(message.body(), name)).flatten().into_iter().collect()
}

/// What a message has instead of a header or AVP that is not there: the one whose name is nearest,
/// or the names of all AVPs.
pub(super) fn instead_of(event: &TraceEvent, name: &str) -> Option<String> {
    let (TraceKind::Received(wire) | TraceKind::Sent(wire)) = &event.kind else { return None };
    let names: Vec<String> = if wire.protocol == Protocol::Diameter {
        crate::report::summary::avp_names(&wire.bytes)
    } else {
        let message = sip::parse(&wire.bytes).ok()?;
        message.headers().iter().map(|field| field.name_text().to_owned()).collect()
    };
    if names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return None;
    }
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => Some(format!("there is no `{name}`; did you mean `{near}`?")),
        None if wire.protocol == Protocol::Diameter => {
            Some(format!("there is no `{name}`; there is: {}", names.join(", ")))
        }
        None => None,
    }
}

/// A field that is not as expected.
pub(super) struct Mismatch<'a> {
    /// The line of the scenario.
    pub(super) field: &'a FieldExpectation,
    /// What it must be, captured values filled in.
    pub(super) wanted: Matcher,
    /// What it is.
    pub(super) actual: Vec<String>,
}

/// Looks at the fields of an event in the order of the lines, and keeps what they capture; gives
/// those that are not as expected.
pub(super) fn failing_fields<'a>(
    expectation: &'a Expectation,
    event: &TraceEvent,
    captures: &mut Captures,
) -> Vec<Mismatch<'a>> {
    let mut out = Vec::new();
    for field in &expectation.fields {
        let actual = field_values(event, &field.name, field.parameter.as_deref());
        if !captures.knows(&field.matcher) {
            // What would have captured it was wrong, and that has been said.
            continue;
        }
        let wanted = captures.matcher(&field.matcher);
        if !wanted.accepts(&actual) {
            out.push(Mismatch { field, wanted, actual });
            continue;
        }
        if let Some(name) = &field.capture
            && let Some(value) = wanted.found(&actual)
        {
            captures.keep(name, field.at.line, value);
        }
    }
    out
}

/// The values of a header of a message, or of a parameter of it.
#[must_use]
pub fn field_values(event: &TraceEvent, name: &str, parameter: Option<&str>) -> Vec<String> {
    let values = values(event, name);
    match parameter {
        Some(name) => parameter::values(&values, name),
        None => values,
    }
}
