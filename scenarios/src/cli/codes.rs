//! `cscf codes`: who sends which response code, why, and the scenario that shows it.

use crate::codes::{Row, json, table, text};
use crate::conformance::catalogue;

/// The rows of these codes, or all.
pub(super) fn codes(wanted: &[u16], as_json: bool) -> Result<String, String> {
    let catalogue = catalogue().map_err(|_| "the built-in catalogue cannot be read".to_owned())?;
    let mut rows = table(&catalogue);
    for status in wanted {
        if !rows.iter().any(|row| row.status == Some(*status)) {
            return Err(format!("nobody in this core sends {status} by itself"));
        }
    }
    let asked = |row: &Row| row.status.is_some_and(|status| wanted.contains(&status));
    rows.retain(|row| wanted.is_empty() || asked(row));
    Ok(if as_json { json(&rows) } else { text(&rows) })
}
