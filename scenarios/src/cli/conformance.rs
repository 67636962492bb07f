//! `cscf conformance`: which behaviours of the catalogue are proven.

use std::io::IsTerminal as _;

use cscf_core::config::render;

use crate::conformance::{COVERAGE, Coverage, Draw, catalogue, json, list, rows, sample, text};

/// The report on all behaviours, or on a sample of the covered ones.
pub(super) fn conformance(as_json: bool, draw: Option<&Draw>) -> Result<String, String> {
    let catalogue = catalogue().map_err(|problems| {
        let colour = std::io::stderr().is_terminal();
        render("tests/behaviours.yaml", "", &problems, colour)
    })?;
    let coverage: Coverage = serde_json::from_str(COVERAGE)
        .map_err(|fault| format!("the built-in list of proofs cannot be read: {fault}"))?;
    let rows = rows(&catalogue, &coverage);
    if let Some(draw) = draw {
        let drawn = sample(&rows, draw);
        return Ok(if as_json { json(&drawn) } else { list(&drawn) });
    }
    Ok(if as_json { json(&rows) } else { text(&rows) })
}
