//! What a node tells about itself: one stream, from which ladder, pcapng, log, verdicts and the
//! answer to "why?" are made.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::Credentials;
use crate::clause::Clause;
use crate::sip::{HeaderName, Request};
use crate::time::Instant;
use crate::transport::{Flow, Transport};

/// One event in the life of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// When it happened.
    pub at: Instant,
    /// The node it happened at, e.g. `p1`, `alice`.
    pub node: Arc<str>,
    /// What happened.
    pub kind: TraceKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceKind {
    /// A message came in, whole (streams: after framing).
    Received(Wire),
    /// A message left, whole.
    Sent(Wire),
    /// A role, the engine or the HSS decided something.
    Note(Note),
    /// Something that came in was not acted on.
    Dropped {
        /// Where it came from.
        remote: SocketAddr,
        /// Why, e.g. `start line is not SIP`.
        reason: String,
    },
    /// A party reached a state a scenario can wait for, e.g. `registered`, `call bob established`.
    State(String),
    /// The network of the simulation or a fault rule did something to a packet.
    Fault {
        /// What was done, e.g. `lost`, `duplicated`, `delayed 20ms`.
        action: String,
        /// The packet's addresses.
        wire: Wire,
    },
}

/// The protocol of a message on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Diameter (RFC 6733).
    Diameter,
    /// SIP (RFC 3261).
    Sip,
}

/// A message with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Which protocol it speaks.
    pub protocol: Protocol,
    /// How it travels.
    pub transport: Transport,
    /// The node's own address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The message.
    pub bytes: Bytes,
}

/// A decision and where it stands written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The clause it follows.
    pub clause: Clause,
    /// What was decided and from what fact, present tense.
    pub text: String,
    /// The decision refused something (a 3xx–6xx of our own, a packet dropped).
    pub refusal: bool,
    /// What whoever was refused has to know to change it.
    pub diagnosis: Option<Box<Diagnosis>>,
    /// The connection whose end it tells. Its number and its associations are known in the process
    /// of the node only.
    pub ended: Option<Box<Flow>>,
}

impl Note {
    /// A note without diagnosis.
    #[must_use]
    pub const fn new(clause: Clause, text: String, refusal: bool) -> Self {
        Self { clause, text, refusal, diagnosis: None, ended: None }
    }

    /// A refusal whose cause is known.
    #[must_use]
    pub fn diagnosed(clause: Clause, text: String, diagnosis: Diagnosis) -> Self {
        Self { diagnosis: Some(Box::new(diagnosis)), ..Self::new(clause, text, true) }
    }

    /// The end of a connection that was up.
    #[must_use]
    pub fn end_of(flow: Flow, clause: Clause, text: String) -> Self {
        Self { ended: Some(Box::new(flow)), ..Self::new(clause, text, false) }
    }

    /// A copy in which no text is longer than so many bytes.
    fn cut(&self, max: usize) -> Self {
        let diagnosis = self.diagnosis.as_deref().map(|it| {
            Box::new(Diagnosis {
                about: cut(&it.about, max),
                check: cut(&it.check, max),
                ours: cut(&it.ours, max),
                theirs: cut(&it.theirs, max),
                change: cut(&it.change, max),
            })
        });
        let text = cut(&self.text, max);
        Self { diagnosis, ended: self.ended.clone(), ..Self::new(self.clause, text, self.refusal) }
    }
}

/// The cause of a refusal, taken from the very values that decided it: which check, what each side
/// has, and what to change. The clause is the note's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Whom it concerns: an identity as the message has it (IMPI or IMPU), or an address.
    pub about: String,
    /// What was compared, e.g. `Security-Verify against the Security-Server that was sent`.
    pub check: String,
    /// The value this node has or expects; empty where there is none.
    pub ours: String,
    /// The value that came.
    pub theirs: String,
    /// What to change, and where.
    pub change: String,
}

impl Diagnosis {
    /// A diagnosis of `about` by this check, values and advice still to be added.
    pub fn new(about: impl Into<String>, check: impl Into<String>) -> Self {
        Self { about: about.into(), check: check.into(), ..Self::default() }
    }

    /// Says whom it concerns by the request it is about, unless that is said already: the private
    /// identity of the credentials, else the identity in To.
    #[must_use]
    pub fn of_request(mut self, request: &Request) -> Self {
        if self.about.is_empty() {
            let header = |name| request.headers.get(name).unwrap_or_default();
            let credentials = header(HeaderName::Authorization).parse::<Credentials>().ok();
            let impi = credentials.as_ref().and_then(Credentials::username);
            let impi = impi.filter(|impi| !impi.is_empty());
            self.about = impi.map_or_else(|| header(HeaderName::To).to_owned(), Into::into);
        }
        self
    }

    /// The value this node has or expects.
    #[must_use]
    pub fn ours(mut self, value: impl Into<String>) -> Self {
        self.ours = value.into();
        self
    }

    /// The value that came.
    #[must_use]
    pub fn theirs(mut self, value: impl Into<String>) -> Self {
        self.theirs = value.into();
        self
    }

    /// What to change, and where.
    #[must_use]
    pub fn change(mut self, advice: impl Into<String>) -> Self {
        self.change = advice.into();
        self
    }
}

impl std::fmt::Display for Diagnosis {
    /// `check: theirs …, ours …; change`, what is empty left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { check, ours, theirs, change, .. } = self;
        f.write_str(check)?;
        match (theirs.is_empty(), ours.is_empty()) {
            (false, false) => write!(f, ": came {theirs}, here {ours}")?,
            (false, true) => write!(f, ": came {theirs}")?,
            (true, false) => write!(f, ": here {ours}")?,
            (true, true) => {}
        }
        if !change.is_empty() {
            write!(f, "; {change}")?;
        }
        Ok(())
    }
}

/// Refusals kept at most; the oldest gives way.
const REFUSALS_MAX: usize = 1_000;
/// The longest text of a kept refusal, in bytes.
const TEXT_MAX: usize = 1_024;

/// The last refusals of a node, also while nobody reads the trace: the answer to "why?". Bounded in
/// number and size.
#[derive(Debug, Default)]
pub struct Refusals {
    last: VecDeque<Refused>,
    by_clause: BTreeMap<Clause, u64>,
}

/// A refusal that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When it was.
    pub at: Instant,
    /// Whom it concerns as far as the message tells; empty where it does not. A diagnosis may know
    /// it better.
    pub about: String,
    /// What was decided.
    pub note: Note,
}

impl Refusals {
    /// Keeps a note if it is a refusal.
    pub fn keep(&mut self, at: Instant, about: &str, note: &Note) {
        if !note.refusal {
            return;
        }
        // Clauses are named in the code: there are as many as it names.
        *self.by_clause.entry(note.clause).or_default() += 1;
        if self.last.len() == REFUSALS_MAX {
            self.last.pop_front();
        }
        self.last.push_back(Refused { at, about: cut(about, TEXT_MAX), note: note.cut(TEXT_MAX) });
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Refused> {
        self.last.iter()
    }

    /// How often something was refused, by clause.
    #[must_use]
    pub const fn by_clause(&self) -> &BTreeMap<Clause, u64> {
        &self.by_clause
    }
}

/// The beginning of a text, with an ellipsis where something is missing.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnosis_reads_as_a_sentence_without_what_is_empty() {
        let full = Diagnosis::new("alice", "the realm").theirs("a").ours("b").change("write b");
        assert_eq!(full.to_string(), "the realm: came a, here b; write b");
        assert_eq!(
            Diagnosis::new("alice", "no HSS").ours("127.0.0.1").to_string(),
            "no HSS: here 127.0.0.1"
        );
        assert_eq!(Diagnosis::new("alice", "no HSS").to_string(), "no HSS");
    }

    #[test]
    fn refusals_are_kept_in_bounds_of_number_and_size() {
        let mut kept = Refusals::default();
        let clause = crate::clause::rfc3261("1");
        kept.keep(Instant::EPOCH, "x", &Note::new(clause, "no refusal".into(), false));
        assert_eq!(kept.iter().count(), 0);
        let long = Diagnosis::new("a", "b").theirs("ä".repeat(5_000)).ours("short");
        let note = Note::diagnosed(clause, "t".repeat(5_000), long);
        for _ in 0..2_000 {
            kept.keep(Instant::EPOCH, "x", &note);
        }
        assert_eq!(kept.iter().count(), REFUSALS_MAX);
        let last = kept.iter().last().expect("kept");
        assert_eq!(last.note.text.len(), TEXT_MAX + "…".len());
        let cause = last.note.diagnosis.as_ref().expect("kept");
        assert_eq!(cause.theirs, format!("{}…", "ä".repeat(TEXT_MAX / 2)));
        assert_eq!(cause.ours, "short");
    }
}
