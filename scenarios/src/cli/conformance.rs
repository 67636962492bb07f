//! `cscf conformance`: which behaviours of the catalogue are proven.

use std::io::IsTerminal as _;

use cscf_core::config::render;

use crate::conformance::{COVERAGE, Coverage, catalogue, json, list, rows, sample, text};

/// The report on all behaviours, or on a sample of the covered ones: how many, and the words that
/// the draw depends on.
pub(super) fn conformance(as_json: bool, sampled: Option<(usize, &str)>) -> Result<String, String> {
    let catalogue = catalogue().map_err(|problems| {
        let colour = std::io::stderr().is_terminal();
        render("tests/behaviours.yaml", "", &problems, colour)
    })?;
    let coverage: Coverage = serde_json::from_str(COVERAGE)
        .map_err(|fault| format!("the built-in list of proofs cannot be read: {fault}"))?;
    let rows = rows(&catalogue, &coverage);
    if let Some((count, seed)) = sampled {
        let drawn = sample(&rows, count, seed);
        return Ok(if as_json { json(&drawn) } else { list(&drawn) });
    }
    Ok(if as_json { json(&rows) } else { text(&rows) })
}
