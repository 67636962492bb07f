//! The trace as the page's script reads it: rows in the order of time, their lines in one table,
//! because the lines of a message come again at each of its hops. Its size is bounded.

use std::collections::{BTreeMap, BTreeSet};

use cscf_core::sip::{self, HeaderName, Message};
use cscf_core::time::Instant;
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};
use serde::Serialize;

use super::super::hops::{Hop, hops};
use super::super::summary::{diameter_lines, label, result_code};
use super::super::{Parties, diagnosis};

/// Rows of a page at most; the rest is in `trace.jsonl`.
const ROWS_MAX: usize = 20_000;
/// Bytes of one message that are shown at most.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all different lines at most; messages beyond are shown without their text.
const LINES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The longest label, type, name and sentence in a row, in bytes: what is longer is cut.
const WORD_BYTES_MAX: usize = 200;
const SENTENCE_BYTES_MAX: usize = 2_000;
/// Methods one can choose among.
const METHODS_MAX: usize = 200;
/// Calls one can choose among.
const CALLS_MAX: usize = 2_000;
/// Lifelines at most; further peers share the last one.
const COLUMNS_MAX: usize = 60;
/// Texts of one party that Diameter messages are searched for.
const IDENTITIES_MAX: usize = 20;

/// What the script reads.
#[derive(Debug, Default, Serialize)]
struct Trace {
    columns: Vec<String>,
    links: Vec<&'static str>,
    methods: Vec<String>,
    calls: Vec<String>,
    lines: Vec<String>,
    rows: Vec<Row>,
    /// Rows that have no place here.
    left: usize,
}

/// One row; for a message all but `told`.
#[derive(Debug, Default, Serialize)]
#[serde(default)]
struct Row {
    /// Microseconds since the first row.
    at: u64,
    /// What happened that is no message.
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<usize>,
    /// Transport and addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<usize>,
    /// The columns of the UEs it concerns, and of its ends.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    parties: BTreeSet<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    head: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    body: Vec<u32>,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    content_type: String,
    /// The row of the message as it came to who sends it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    came: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Decision>,
    #[serde(skip_serializing_if = "is_false")]
    diameter: bool,
    /// A refusal, a packet dropped, a fault.
    #[serde(skip_serializing_if = "is_false")]
    bad: bool,
    /// Something of the message is not shown.
    #[serde(skip_serializing_if = "is_false")]
    cut: bool,
}

/// A decision that led to a message.
#[derive(Debug, Serialize)]
struct Decision {
    clause: String,
    text: String,
    #[serde(skip_serializing_if = "is_false")]
    refusal: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cause: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The trace as JSON in which nothing is markup.
pub(super) fn to_json(events: &[TraceEvent], parties: &Parties) -> String {
    let trace = Builder::new(events, parties).build(events);
    let json = serde_json::to_string(&trace).unwrap_or_else(|_| "{}".to_owned());
    // In JSON these letters stand inside strings only.
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// What makes a message the same at every hop: Call-ID, CSeq, method or code.
type Identity = (String, String, String);

struct Builder<'a> {
    parties: &'a Parties,
    trace: Trace,
    start: Option<Instant>,
    lines: BTreeMap<String, u32>,
    lines_bytes: usize,
    methods: BTreeMap<String, usize>,
    calls: BTreeMap<String, usize>,
    /// The last row that brought a message to a column.
    came: BTreeMap<(usize, Identity), usize>,
    /// By the column of a UE, the identities it registers and calls itself by.
    identities: BTreeMap<usize, BTreeSet<String>>,
}

impl<'a> Builder<'a> {
    fn new(events: &[TraceEvent], parties: &'a Parties) -> Self {
        let mut columns = parties.columns.clone();
        columns.truncate(COLUMNS_MAX);
        let mut builder = Self {
            parties,
            trace: Trace { columns, ..Trace::default() },
            start: None,
            lines: BTreeMap::new(),
            lines_bytes: 0,
            methods: BTreeMap::new(),
            calls: BTreeMap::new(),
            came: BTreeMap::new(),
            identities: BTreeMap::new(),
        };
        for hop in hops(events, parties) {
            let from = builder.column(&hop.from);
            builder.column(&hop.to);
            if !parties.roles.contains_key(&hop.from) {
                let known = builder.identities.entry(from).or_default();
                known.extend(names_itself(&hop.wire));
                while known.len() > IDENTITIES_MAX {
                    known.pop_last();
                }
            }
        }
        builder
    }

    fn build(mut self, events: &[TraceEvent]) -> Trace {
        let messages = hops(events, self.parties);
        let mut messages = messages.iter().peekable();
        for (index, event) in events.iter().enumerate() {
            let message = messages.next_if(|hop| hop.index == index);
            let row = match message {
                Some(hop) if is_watchdog(&hop.wire) => continue,
                Some(hop) => Some(hop.at),
                None => told(event, self.parties).map(|_| event.at),
            };
            let Some(at) = row else { continue };
            if self.trace.rows.len() >= ROWS_MAX {
                self.trace.left += 1;
                continue;
            }
            let start = *self.start.get_or_insert(at);
            let at = u64::try_from(at.since(start).as_micros()).unwrap_or(u64::MAX);
            let row = match message {
                Some(hop) => self.message(hop),
                None => self.event(event),
            };
            self.trace.rows.push(Row { at, ..row });
        }
        self.trace
    }

    fn event(&mut self, event: &TraceEvent) -> Row {
        let column = self.column(&event.node);
        let bad = !matches!(event.kind, TraceKind::State(_));
        let told = told(event, self.parties).map(|text| clip(&text, SENTENCE_BYTES_MAX).to_owned());
        Row { told, parties: [column].into(), bad, ..Row::default() }
    }

    fn message(&mut self, hop: &Hop<'_>) -> Row {
        let (from, to) = (self.column(&hop.from), self.column(&hop.to));
        let Wire { protocol, transport, local, remote, bytes } = &hop.wire;
        let link = self.parties.link_between(&hop.from, &hop.to, *protocol).as_str();
        let link = position(&mut self.trace.links, link);
        let text = String::from_utf8_lossy(bytes);
        let mut row = Row {
            from: Some(from),
            to: Some(to),
            link: Some(link),
            way: Some(format!("{}, {local} to {remote}", transport.param_name())),
            notes: hop.notes.iter().map(|note| decision(&hop.from, note)).collect(),
            parties: self.concerned(from, to, &text),
            ..Row::default()
        };
        match protocol {
            Protocol::Diameter => self.diameter(&mut row, &hop.wire),
            Protocol::Sip => self.sip(&mut row, &hop.wire, &text),
        }
        row
    }

    fn diameter(&mut self, row: &mut Row, wire: &Wire) {
        let name = label(wire);
        let code = result_code(&wire.bytes);
        row.diameter = true;
        row.bad = code.is_some_and(|code| !(2000..3000).contains(&code));
        row.label = Some(code.map_or_else(|| name.clone(), |code| format!("{name} {code}")));
        row.method = self.method(&name);
        let lines = diameter_lines(&wire.bytes);
        row.head = self.keep(lines.iter().map(String::as_str), &mut row.cut);
    }

    fn sip(&mut self, row: &mut Row, wire: &Wire, text: &str) {
        row.label = Some(clip(&label(wire), WORD_BYTES_MAX).to_owned());
        let clipped = clip(text, MESSAGE_BYTES_MAX);
        row.cut = clipped.len() < text.len();
        let (head, body) = match clipped.split_once("\r\n\r\n") {
            Some((head, body)) => (head, body),
            None => (clipped, ""),
        };
        row.head = self.keep(head.lines(), &mut row.cut);
        row.body = self.keep(body.lines(), &mut row.cut);
        let Ok(message) = sip::parse(&wire.bytes) else { return };
        let header = |name| message.headers().get(name).unwrap_or_default();
        let (call, cseq) = (header(HeaderName::CallId), header(HeaderName::CSeq));
        row.content_type =
            clip(header(HeaderName::ContentType), WORD_BYTES_MAX).to_ascii_lowercase();
        let (method, kind) = match &message {
            Message::Request(request) => {
                let method = request.method.to_string();
                (method.clone(), method)
            }
            Message::Response(response) => {
                // A challenge belongs to every registration.
                row.bad = response.status >= 400 && !matches!(response.status, 401 | 407);
                let method = cseq.split_whitespace().nth(1).unwrap_or_default();
                (method.to_owned(), response.status.to_string())
            }
        };
        row.method = self.method(&method);
        row.call = self.call(call, &method);
        let identity = (call.to_owned(), cseq.to_owned(), kind);
        let index = self.trace.rows.len();
        row.came = row.from.and_then(|from| self.came.get(&(from, identity.clone())).copied());
        if let Some(to) = row.to {
            self.came.insert((to, identity), index);
        }
    }

    /// The ends, and the UEs whose identity stands in the message.
    fn concerned(&self, from: usize, to: usize, text: &str) -> BTreeSet<usize> {
        let mut out: BTreeSet<usize> = [from, to].into();
        for (column, identities) in &self.identities {
            if identities.iter().any(|identity| text.contains(identity.as_str())) {
                out.insert(*column);
            }
        }
        out
    }

    fn column(&mut self, name: &str) -> usize {
        let columns = &mut self.trace.columns;
        if let Some(found) = columns.iter().position(|column| column == name) {
            return found;
        }
        if columns.len() < COLUMNS_MAX {
            columns.push(name.to_owned());
        }
        columns.len().saturating_sub(1)
    }

    fn method(&mut self, name: &str) -> Option<usize> {
        let name = clip(name, WORD_BYTES_MAX);
        if let Some(known) = self.methods.get(name) {
            return Some(*known);
        }
        let next = self.trace.methods.len();
        if next >= METHODS_MAX {
            return None;
        }
        self.methods.insert(name.to_owned(), next);
        self.trace.methods.push(name.to_owned());
        Some(next)
    }

    fn call(&mut self, id: &str, method: &str) -> Option<usize> {
        if let Some(known) = self.calls.get(id) {
            return Some(*known);
        }
        let next = self.calls.len();
        if next >= CALLS_MAX {
            return None;
        }
        self.calls.insert(id.to_owned(), next);
        let name = format!("{method} {id}");
        self.trace.calls.push(clip(&name, WORD_BYTES_MAX).to_owned());
        Some(next)
    }

    fn keep<'b>(&mut self, lines: impl Iterator<Item = &'b str>, cut: &mut bool) -> Vec<u32> {
        let mut out = Vec::new();
        for line in lines {
            if let Some(known) = self.lines.get(line) {
                out.push(*known);
                continue;
            }
            self.lines_bytes += line.len();
            let next = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
            if self.lines_bytes > LINES_BYTES_MAX {
                *cut = true;
                break;
            }
            self.lines.insert(line.to_owned(), next);
            self.trace.lines.push(line.to_owned());
            out.push(next);
        }
        out
    }
}

fn decision(node: &str, note: &Note) -> Decision {
    Decision {
        clause: note.clause.to_string(),
        text: clip(&note.text, SENTENCE_BYTES_MAX).to_owned(),
        refusal: note.refusal,
        cause: diagnosis::lines(node, note)
            .iter()
            .map(|line| clip(line, SENTENCE_BYTES_MAX).to_owned())
            .collect(),
    }
}

/// What an event that is no message tells.
fn told(event: &TraceEvent, parties: &Parties) -> Option<String> {
    let node = &event.node;
    Some(match &event.kind {
        TraceKind::State(state) => format!("{node} {state}"),
        TraceKind::Dropped { remote, reason } => {
            format!("{node} drops a packet of {}: {reason}", parties.name(remote))
        }
        TraceKind::Fault { action, wire } => {
            let (from, to) = (parties.name(&wire.local), parties.name(&wire.remote));
            format!("{} {from} to {to} {action}", label(wire))
        }
        TraceKind::Note(note) if note.diagnosis.is_some() => {
            diagnosis::lines(node, note).join("; ")
        }
        TraceKind::Note(_) | TraceKind::Received(_) | TraceKind::Sent(_) => return None,
    })
}

/// What a UE calls itself by: the address of record it registers, its private identity, the
/// identity of its own requests.
fn names_itself(wire: &Wire) -> Vec<String> {
    let Ok(Message::Request(request)) = sip::parse(&wire.bytes) else { return Vec::new() };
    let Some(from) = request.headers.get(HeaderName::From) else { return Vec::new() };
    let inside = from.split_once('<').map_or(from, |(_, rest)| rest);
    let uri = inside.split(['>', ';']).next().unwrap_or_default().trim();
    let user = request.headers.get(HeaderName::Authorization).and_then(|credentials| {
        let (_, rest) = credentials.split_once("username=\"")?;
        rest.split('"').next()
    });
    let names = [Some(uri), user].into_iter().flatten();
    names.filter(|name| name.len() > 4 && !name.contains("anonymous")).map(str::to_owned).collect()
}

/// Diameter's own housekeeping after the capabilities exchange is left out of the picture.
fn is_watchdog(wire: &Wire) -> bool {
    wire.protocol == Protocol::Diameter && label(wire).starts_with("DW")
}

fn position(names: &mut Vec<&'static str>, name: &'static str) -> usize {
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

/// The beginning of a text, at most so many bytes.
fn clip(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or_default()).unwrap_or(text)
}
