//! What every node can tell its operator: the last refusals with their causes.

use crate::operator::Table;
use crate::time::Instant;
use crate::trace::Note;

/// The names of the columns of [`refusals`].
pub(super) const COLUMNS: [&str; 8] =
    ["at", "about", "text", "clause", "check", "came", "here", "change"];

/// Refusals as a table, oldest first; the columns of a cause that was not found are empty.
pub(super) fn refusals<'a>(kept: impl Iterator<Item = &'a (Instant, Note)>) -> Table {
    let mut table = Table::new(&COLUMNS);
    for (at, note) in kept {
        let cause = note.diagnosis.as_deref().cloned().unwrap_or_default();
        table.push([
            at.to_string(),
            cause.about,
            note.text.clone(),
            note.clause.to_string(),
            cause.check,
            cause.theirs,
            cause.ours,
            cause.change,
        ]);
    }
    table
}
