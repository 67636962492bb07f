//! The ladder: one lifeline a node, one arrow a message, the time since the start, and at the right
//! the clauses of the decisions that led to the arrow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use cscf_core::time::Instant;
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};

use super::hops::Speakers;
use super::pcapng::{Names, name_at};
use super::summary::label;
use super::{diagnosis, plain};

/// How a ladder is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// ANSI colours.
    pub colour: bool,
    /// Each decision as a sentence of its own, not only its clause.
    pub explain: bool,
}

/// Between two lifelines, in characters.
const PITCH: usize = 13;
/// Where the first lifeline stands.
const LEFT: usize = 14;
/// Characters of a name in one line of the heading, and its lines at most.
const HEAD_ROOM: usize = PITCH - 1;
const HEAD_LINES_MAX: usize = 5;
/// Lifelines at most; further peers share the last one.
const COLUMNS_MAX: usize = 60;
/// The lifeline of those who have none.
const OTHERS: &str = "others";
/// Bytes of a whole ladder at most.
const LADDER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Draws the ladder. `columns` are the lifelines from left to right; a peer that has none is drawn
/// under its address at the right.
#[must_use]
pub fn draw(events: &[TraceEvent], columns: &[String], names: &Names, style: Style) -> String {
    let mut ladder = Ladder::new(columns, names, style);
    ladder.speakers = Speakers::of(events);
    for event in events {
        ladder.meet(event);
    }
    ladder.head();
    for (index, event) in events.iter().enumerate() {
        if ladder.out.len() > LADDER_BYTES_MAX {
            let left = events.len() - index;
            let _ = writeln!(ladder.out, "({left} more events are not drawn)");
            break;
        }
        ladder.event(event);
    }
    ladder.out
}

/// A ladder that grows as events come.
#[derive(Debug)]
pub struct Growing {
    ladder: Ladder,
    /// Lifelines in the last heading; when there are more, there is a new heading.
    headed: usize,
}

impl Growing {
    /// A ladder with these lifelines, of events in the order of time; peers that have none get one
    /// when they are first seen.
    #[must_use]
    pub fn new(columns: &[String], names: &Names, style: Style) -> Self {
        Self { ladder: Ladder::new(columns, names, style), headed: 0 }
    }

    /// The lines that an event adds.
    pub fn event(&mut self, event: &TraceEvent) -> String {
        self.ladder.speakers.hear(event);
        self.ladder.event(event);
        let lines = std::mem::take(&mut self.ladder.out);
        if lines.is_empty() || self.ladder.columns.len() == self.headed {
            return lines;
        }
        self.headed = self.ladder.columns.len();
        self.ladder.head();
        std::mem::take(&mut self.ladder.out) + &lines
    }

    /// Leaves a message of this node out, and the decisions that led to it.
    pub fn skip(&mut self, node: &str) {
        self.ladder.notes.remove(node);
    }
}

#[derive(Debug)]
struct Ladder {
    columns: Vec<String>,
    names: Names,
    style: Style,
    notes: BTreeMap<String, Vec<Note>>,
    start: Option<Instant>,
    /// Who tells what it sends, as far as is known.
    speakers: Speakers,
    out: String,
}

impl Ladder {
    fn new(columns: &[String], names: &Names, style: Style) -> Self {
        let (mut columns, names) = (columns.to_vec(), names.clone());
        columns.truncate(COLUMNS_MAX);
        let (notes, start, speakers) = (BTreeMap::new(), None, Speakers::default());
        Self { columns, names, style, notes, start, speakers, out: String::new() }
    }

    /// The names of the lifelines, long ones in several lines.
    fn head(&mut self) {
        let names: Vec<Vec<String>> = self.columns.iter().map(|it| heading(it)).collect();
        let lines = names.iter().map(Vec::len).max().unwrap_or_default();
        for number in 0..lines.clamp(1, HEAD_LINES_MAX) {
            let mut line = " ".repeat(LEFT - PITCH / 2);
            for name in &names {
                let part = name.get(number).map_or("", String::as_str);
                let _ = write!(line, "{part:^PITCH$}");
            }
            let _ = writeln!(self.out, "{}", line.trim_end());
        }
    }

    /// Gives the ends of a message lifelines before anything is drawn.
    fn meet(&mut self, event: &TraceEvent) {
        match &event.kind {
            TraceKind::Sent(wire) if is_watchdog(wire) => {}
            kind => {
                if let Some(wire) = self.speakers.message(kind) {
                    let sent = matches!(kind, TraceKind::Sent(_));
                    self.column(&event.node);
                    self.name(if sent { &wire.remote } else { &wire.local });
                }
            }
        }
    }

    fn event(&mut self, event: &TraceEvent) {
        match &event.kind {
            TraceKind::Note(note) => {
                self.diagnosis(event, note);
                self.notes.entry(event.node.to_string()).or_default().push(note.clone());
            }
            TraceKind::Sent(wire) if !is_watchdog(wire) => self.sent(event, wire),
            TraceKind::Fault { action, wire } => self.fault(event, action, wire),
            TraceKind::State(state) => {
                let time = self.time(event.at);
                let text = format!("{} {}", event.node, plain(state));
                let _ = writeln!(self.out, "{time} {}  * {text}", self.lifelines(None));
            }
            TraceKind::Dropped { remote, reason } => {
                let time = self.time(event.at);
                let text = format!("{} drops a packet of {remote}: {}", event.node, plain(reason));
                let _ = writeln!(self.out, "{time} {}  ! {text}", self.lifelines(None));
            }
            TraceKind::Received(wire) => {
                if self.speakers.message(&event.kind).is_some() {
                    self.came(event, wire);
                }
            }
            TraceKind::Sent(_) => {}
        }
    }

    /// A message of somebody who tells nothing, e.g. a device under test.
    fn came(&mut self, event: &TraceEvent, wire: &Wire) {
        let from = self.name(&wire.remote);
        let arrow = self.arrow(&from, &event.node, &label(wire));
        let time = self.time(event.at);
        let _ = writeln!(self.out, "{time} {}", arrow.trim_end());
    }

    fn sent(&mut self, event: &TraceEvent, wire: &Wire) {
        let notes = self.notes.remove(&*event.node).unwrap_or_default();
        if self.style.explain {
            self.explain(&event.node, &notes);
        }
        let to = self.name(&wire.remote);
        if to == *event.node {
            return self.own_hop(event, &label(wire), &notes);
        }
        let arrow = self.arrow(&event.node, &to, &label(wire));
        let clauses = if self.style.explain { String::new() } else { clauses(&notes) };
        let time = self.time(event.at);
        let line = format!("{time} {arrow}{}", self.dim(&clauses));
        let _ = writeln!(self.out, "{}", line.trim_end());
    }

    /// Why somebody was refused, whether or not reasons are asked for.
    fn diagnosis(&mut self, event: &TraceEvent, note: &Note) {
        for (index, line) in diagnosis::lines(&event.node, note).into_iter().enumerate() {
            let time = if index == 0 { self.time(event.at) } else { format!("{:9}", "") };
            let sign = if index == 0 { '!' } else { ' ' };
            let _ = writeln!(self.out, "{time} {}  {sign} {line}", self.lifelines(None));
        }
    }

    /// A message of a node to itself, e.g. an S-CSCF that serves both ends: no arrow, its words.
    fn own_hop(&mut self, event: &TraceEvent, label: &str, notes: &[Note]) {
        let time = self.time(event.at);
        let clauses = if self.style.explain { String::new() } else { clauses(notes) };
        let clauses = self.dim(&clauses);
        let node = &event.node;
        let text =
            format!("{time} {}  @ {node} to itself: {label}  {clauses}", self.lifelines(None));
        let _ = writeln!(self.out, "{}", text.trim_end());
    }

    fn fault(&mut self, event: &TraceEvent, action: &str, wire: &Wire) {
        let to = self.name(&wire.remote);
        let from = self.name(&wire.local);
        let time = self.time(event.at);
        let text = format!("{} {from} -> {to} {action}", label(wire));
        let _ = writeln!(self.out, "{time} {}  x {text}", self.lifelines(None));
    }

    fn explain(&mut self, node: &str, notes: &[Note]) {
        for note in notes {
            let sign = if note.refusal { '!' } else { '.' };
            let text = format!("{node}: {} [{}]", note.text, note.clause);
            let lines = self.lifelines(None);
            let text = self.dim(&plain(&text));
            let _ = writeln!(self.out, "{:9} {lines}  {sign} {text}", "");
        }
    }

    fn time(&mut self, at: Instant) -> String {
        let start = *self.start.get_or_insert(at);
        let since = at.since(start);
        format!("{:>4}.{:04}", since.as_secs(), since.subsec_micros() / 100)
    }

    fn name(&mut self, addr: &SocketAddr) -> String {
        let name = name_at(&self.names, addr).map_or_else(|| addr.to_string(), str::to_owned);
        self.column(&name);
        name
    }

    /// The lifeline of a party, which gets one where it has none.
    fn column(&mut self, name: &str) -> usize {
        if let Some(known) = self.columns.iter().position(|column| column == name) {
            return known;
        }
        match self.columns.len() {
            COLUMNS_MAX => COLUMNS_MAX - 1,
            count => {
                let last = count == COLUMNS_MAX - 1;
                self.columns.push(if last { OTHERS.to_owned() } else { name.to_owned() });
                count
            }
        }
    }

    fn dim(&self, text: &str) -> String {
        if self.style.colour && !text.is_empty() {
            format!("\x1b[2m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// The lifelines with an arrow between two of them.
    fn arrow(&mut self, from: &str, to: &str, label: &str) -> String {
        let (a, b) = (self.column(from), self.column(to));
        self.lifelines(Some((a, b, label)))
    }

    fn lifelines(&self, arrow: Option<(usize, usize, &str)>) -> String {
        let mut cells: Vec<char> = vec![' '; LEFT - 10 + PITCH * self.columns.len()];
        let at = |column: usize| LEFT - 10 + PITCH * column;
        let mut put = |index: usize, letter: char| {
            if let Some(cell) = cells.get_mut(index) {
                *cell = letter;
            }
        };
        for column in 0..self.columns.len() {
            put(at(column), '|');
        }
        if let Some((from, to, label)) = arrow {
            let (left, right) = (at(from.min(to)) + 1, at(from.max(to)));
            for index in left..right {
                put(index, '-');
            }
            let room = right.saturating_sub(left).saturating_sub(2);
            // Where the whole label does not fit, the code alone says enough.
            let short = label.split(' ').next().unwrap_or(label);
            let label = if label.chars().count() <= room { label } else { short };
            let text: Vec<char> = label.chars().take(room).collect();
            let begin = left + right.saturating_sub(left).saturating_sub(text.len()) / 2;
            for (offset, letter) in text.into_iter().enumerate() {
                put(begin + offset, letter);
            }
            if from < to {
                put(right - 1, '>');
            } else if from > to {
                put(left, '<');
            }
        }
        let line: String = cells.into_iter().collect();
        line.trim_end().to_owned() + &" ".repeat(PITCH / 3)
    }
}

/// A name in lines of a heading; a port has a line of its own.
fn heading(name: &str) -> Vec<String> {
    if name.chars().count() <= HEAD_ROOM {
        return vec![name.to_owned()];
    }
    let (host, port) =
        name.rsplit_once(':').map_or((name, None), |(host, port)| (host, Some(port)));
    let letters: Vec<char> = host.chars().collect();
    let lines = letters.chunks(HEAD_ROOM).map(|part| part.iter().collect());
    lines.chain(port.map(|port| format!(":{port}"))).collect()
}

/// Diameter's own housekeeping after the capabilities exchange is left out of the picture.
fn is_watchdog(wire: &Wire) -> bool {
    wire.protocol == Protocol::Diameter && matches!(label(wire).get(..2), Some("DW"))
}

/// The clauses of the decisions, each once, refusals marked.
fn clauses(notes: &[Note]) -> String {
    let mut seen: Vec<String> = Vec::new();
    for note in notes {
        let text = note.clause.to_string();
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    // The document is said once for a run of its sections.
    let mut out = String::new();
    let mut document = "";
    for text in &seen {
        let (name, section) = text.split_once(" §").unwrap_or((text, ""));
        if name == document && !section.is_empty() {
            let _ = write!(out, ", §{section}");
        } else {
            out.push_str(if out.is_empty() { "" } else { "; " });
            out.push_str(text);
        }
        document = name;
    }
    out
}
