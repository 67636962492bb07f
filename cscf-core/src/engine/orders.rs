//! What every node can tell its operator: the last refusals with their causes.

use crate::operator::Table;
use crate::trace::Refusals;

/// The names of the columns of [`refusals`].
pub(super) const COLUMNS: [&str; 8] =
    ["at", "about", "text", "clause", "check", "came", "here", "change"];

/// Refusals as a table, oldest first; the columns of a cause that was not found are empty.
pub(super) fn refusals(kept: &Refusals) -> Table {
    let mut table = Table::new(&COLUMNS);
    for kept in kept.iter() {
        let cause = kept.note.diagnosis.as_deref().cloned().unwrap_or_default();
        let about = if cause.about.is_empty() { kept.about.clone() } else { cause.about };
        table.push([
            kept.at.to_string(),
            about,
            kept.note.text.clone(),
            kept.note.clause.to_string(),
            cause.check,
            cause.theirs,
            cause.ours,
            cause.change,
        ]);
    }
    table
}
