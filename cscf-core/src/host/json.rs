//! Trace events as JSON lines: the form of `trace.jsonl`, and of the pipe on which a node process
//! tells its parent what it does.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clause::Clause;
use crate::time::Instant;
use crate::trace::{Diagnosis, Note, Protocol, TraceEvent, TraceKind, Wire};
use crate::transport::Flow;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    at_ns: u64,
    node: Cow<'a, str>,
    kind: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    protocol: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    transport: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    local: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    remote: Option<SocketAddr>,
    /// The message where it is text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    text: Option<Cow<'a, str>>,
    /// The message where it is not text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    document: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    section: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    refusal: Option<bool>,
    /// The words of a note, a state, a fault, or of why something was dropped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    what: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    diagnosis: Option<Cause<'a>>,
}

/// The diagnosis of a note.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cause<'a> {
    about: Cow<'a, str>,
    check: Cow<'a, str>,
    ours: Cow<'a, str>,
    theirs: Cow<'a, str>,
    change: Cow<'a, str>,
}

impl<'a> From<&'a Diagnosis> for Cause<'a> {
    fn from(diagnosis: &'a Diagnosis) -> Self {
        let Diagnosis { about, check, ours, theirs, change } = diagnosis;
        Self {
            about: Cow::Borrowed(about),
            check: Cow::Borrowed(check),
            ours: Cow::Borrowed(ours),
            theirs: Cow::Borrowed(theirs),
            change: Cow::Borrowed(change),
        }
    }
}

impl From<&Cause<'_>> for Diagnosis {
    fn from(cause: &Cause<'_>) -> Self {
        Self::new(&*cause.about, &*cause.check)
            .ours(&*cause.ours)
            .theirs(&*cause.theirs)
            .change(&*cause.change)
    }
}

/// One event as one line of JSON, without the line end.
#[must_use]
pub fn to_json(event: &TraceEvent) -> String {
    let mut line = Line {
        at_ns: event.at.as_nanos(),
        node: Cow::Borrowed(&event.node),
        kind: Cow::Borrowed(""),
        protocol: None,
        transport: None,
        local: None,
        remote: None,
        text: None,
        base64: None,
        document: None,
        section: None,
        refusal: None,
        what: None,
        diagnosis: None,
    };
    line.kind = Cow::Borrowed(match &event.kind {
        TraceKind::Dropped { remote, reason } => {
            line.remote = Some(*remote);
            line.what = Some(Cow::Borrowed(reason));
            "dropped"
        }
        TraceKind::Fault { action, wire } => {
            fill(&mut line, wire);
            line.what = Some(Cow::Borrowed(action));
            "fault"
        }
        TraceKind::Note(note) => {
            line.document = Some(Cow::Borrowed(note.clause.document));
            line.section = Some(Cow::Borrowed(note.clause.section));
            line.refusal = note.refusal.then_some(true);
            line.what = Some(Cow::Borrowed(&note.text));
            line.diagnosis = note.diagnosis.as_deref().map(Cause::from);
            if let Some(flow) = &note.ended {
                line.transport = Some(Cow::Borrowed(flow.transport.param_name()));
                (line.local, line.remote) = (Some(flow.local), Some(flow.remote));
            }
            "note"
        }
        TraceKind::Received(wire) => {
            fill(&mut line, wire);
            "received"
        }
        TraceKind::Sent(wire) => {
            fill(&mut line, wire);
            "sent"
        }
        TraceKind::State(state) => {
            line.what = Some(Cow::Borrowed(state));
            "state"
        }
    });
    serde_json::to_string(&line).unwrap_or_default()
}

fn fill<'a>(line: &mut Line<'a>, wire: &'a Wire) {
    line.protocol = Some(Cow::Borrowed(match wire.protocol {
        Protocol::Diameter => "diameter",
        Protocol::Sip => "sip",
    }));
    line.transport = Some(Cow::Borrowed(wire.transport.param_name()));
    line.local = Some(wire.local);
    line.remote = Some(wire.remote);
    match std::str::from_utf8(&wire.bytes) {
        Ok(text) if wire.protocol == Protocol::Sip => line.text = Some(Cow::Borrowed(text)),
        _ => line.base64 = Some(STANDARD.encode(&wire.bytes)),
    }
}

/// Reads one line back; `None` if it is no trace event.
#[must_use]
pub fn from_json(text: &str) -> Option<TraceEvent> {
    let line: Line<'_> = serde_json::from_str(text).ok()?;
    let what = || line.what.as_deref().unwrap_or_default().to_owned();
    let kind = match &*line.kind {
        "dropped" => TraceKind::Dropped { remote: line.remote?, reason: what() },
        "fault" => TraceKind::Fault { action: what(), wire: wire(&line)? },
        "note" => TraceKind::Note(Note {
            clause: Clause {
                document: intern(line.document.as_deref()?),
                section: intern(line.section.as_deref()?),
            },
            text: what(),
            refusal: line.refusal.unwrap_or_default(),
            diagnosis: line.diagnosis.as_ref().map(|cause| Box::new(Diagnosis::from(cause))),
            ended: ended(&line).map(Box::new),
        }),
        "received" => TraceKind::Received(wire(&line)?),
        "sent" => TraceKind::Sent(wire(&line)?),
        "state" => TraceKind::State(what()),
        _ => return None,
    };
    Some(TraceEvent { at: Instant::from_nanos(line.at_ns), node: Arc::from(&*line.node), kind })
}

/// The connection of a note that has one.
fn ended(line: &Line<'_>) -> Option<Flow> {
    let transport = line.transport.as_deref()?.parse().ok()?;
    Some(Flow { transport, local: line.local?, remote: line.remote?, conn: None, sa: None })
}

fn wire(line: &Line<'_>) -> Option<Wire> {
    let bytes = match (&line.text, &line.base64) {
        (Some(text), _) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(text)) => STANDARD.decode(text).ok()?.into(),
        (None, None) => return None,
    };
    Some(Wire {
        protocol: if line.protocol.as_deref()? == "diameter" {
            Protocol::Diameter
        } else {
            Protocol::Sip
        },
        transport: line.transport.as_deref()?.parse().ok()?,
        local: line.local?,
        remote: line.remote?,
        bytes,
    })
}

/// Clause names are static text; names read back are kept once each, in a bounded table.
fn intern(text: &str) -> &'static str {
    use std::collections::BTreeSet;
    use std::sync::{Mutex, OnceLock};
    const NAMES_MAX: usize = 10_000;
    static NAMES: OnceLock<Mutex<BTreeSet<&'static str>>> = OnceLock::new();
    let Ok(mut names) = NAMES.get_or_init(|| Mutex::new(BTreeSet::new())).lock() else {
        return "";
    };
    if let Some(known) = names.get(text) {
        return known;
    }
    if names.len() >= NAMES_MAX {
        return "";
    }
    let name: &'static str = Box::leak(text.into());
    names.insert(name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clause::ts24229;
    use crate::transport::Transport;

    #[test]
    fn every_kind_of_event_reads_back_as_itself() {
        let addr: SocketAddr = "127.0.0.1:5060".parse().expect("address");
        let wire = |protocol, bytes: &'static [u8]| Wire {
            protocol,
            transport: Transport::Udp,
            local: addr,
            remote: addr,
            bytes: Bytes::from_static(bytes),
        };
        let note = Note::new(ts24229("5.2.2"), "no".into(), true);
        let diagnosis = Diagnosis::new("alice", "realm").ours("a").theirs("b").change("write a");
        let diagnosed = Note::diagnosed(ts24229("5.2.2"), "no".into(), diagnosis);
        let flow =
            Flow { transport: Transport::Tls, local: addr, remote: addr, conn: None, sa: None };
        let ended = Note::end_of(flow, ts24229("5.2.2"), "it ended".into());
        let kinds = [
            TraceKind::Note(ended),
            TraceKind::Received(wire(Protocol::Sip, b"OPTIONS sip:a SIP/2.0\r\n\r\n")),
            TraceKind::Sent(wire(Protocol::Diameter, &[1, 0, 0, 255])),
            TraceKind::Sent(wire(Protocol::Sip, &[0xff, 0xfe])),
            TraceKind::Note(note),
            TraceKind::Note(diagnosed),
            TraceKind::Dropped { remote: addr, reason: "not SIP".into() },
            TraceKind::State("registered".into()),
            TraceKind::Fault { action: "lost".into(), wire: wire(Protocol::Sip, b"x") },
        ];
        for kind in kinds {
            let event = TraceEvent { at: Instant::from_millis(7), node: "p1".into(), kind };
            assert_eq!(from_json(&to_json(&event)), Some(event));
        }
        assert_eq!(from_json("{\"at_ns\":1}"), None);
    }
}
