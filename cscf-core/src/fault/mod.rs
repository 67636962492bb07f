//! Fault rules: what a node does wrong on purpose with messages it receives or sends, as values.
//!
//! A rule is one sentence with one text form for lab files, scenarios and live orders ([`Rule`]);
//! a [`Table`] holds those of one node, says which of them hit a message, and counts. What a hit
//! does to bytes is in [`change`] and [`answer`]; what takes time or touches connections is done
//! by the edge of the node (`engine::FaultEdge`). No role knows of any of it.

pub mod answer;
pub mod change;
mod message;
mod parse;
mod rule;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub use message::{Content, Looked, mentions_one};
pub use parse::{FORMS, read};
pub use rule::{
    About, Action, Answer, Condition, Count, Direction, Edit, Known, Matching, Mistake, Rule,
    Spoilt, What, When,
};
pub use stream::Cutter;
pub use table::{Full, Hit, Kept, RULES_MAX, Table};
pub use words::{COMMANDS, METHODS};

use crate::trace::{TraceEvent, TraceKind};

/// The name that stands for the policy functions of all P-CSCFs in the place of a node.
pub const POLICY: &str = "policy";

/// What a trace says of a rule that hit: the beginning of every text of [`Hit::said`].
const SAID: &str = "fault ";

/// The text of the rule that made this event, if one did.
#[must_use]
pub fn rule_text(event: &TraceEvent) -> Option<&str> {
    let id = cause(event)?;
    let text = match &event.kind {
        TraceKind::Fault { action, .. } => action,
        TraceKind::Note(note) => &note.text,
        _ => return None,
    };
    let (_, rest) =
        text.strip_prefix(SAID)?.strip_prefix(id)?.strip_prefix(": ")?.split_once(": ")?;
    Some(rest)
}

/// The identifier of the rule that made this event, if one did.
#[must_use]
pub fn cause(event: &TraceEvent) -> Option<&str> {
    let text = match &event.kind {
        TraceKind::Fault { action, .. } => action,
        TraceKind::Note(note) if note.clause == crate::clause::own("fault") => &note.text,
        _ => return None,
    };
    text.strip_prefix(SAID)?.split([':', ' ']).next()
}
