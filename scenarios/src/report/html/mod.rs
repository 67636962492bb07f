//! The ladder as one HTML page that needs nothing else: no network, no other file.
//!
//! The page holds the trace as JSON in a block that no browser runs, and a script that draws it.
//! What a peer has sent reaches the page as text only: in the block `<`, `>` and `&` are written as
//! escapes of JSON, the script makes text nodes, and the policy of the page lets no other script
//! run.

mod rows;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cscf_core::trace::TraceEvent;
use sha2::{Digest as _, Sha256};

use super::Parties;
use super::escape::escape;
use super::junit::{Outcome, Suite};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("ladder.js");
const STYLE: &str = include_str!("ladder.css");

/// Draws the page. `title` is its heading; `result` says what the run came to, if there was one.
#[must_use]
pub fn draw(
    title: &str,
    events: &[TraceEvent],
    parties: &Parties,
    result: Option<&Suite>,
) -> String {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; \
         form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let values = [
        ("policy", policy),
        ("title", escape(title)),
        ("style", STYLE.to_owned()),
        ("verdict", result.map(verdict).unwrap_or_default()),
        ("trace", rows::to_json(events, parties)),
        ("script", SCRIPT.to_owned()),
    ];
    fill(PAGE, &values)
}

/// The template with each `{{name}}` replaced; what is put in is not looked at again.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let room: usize = values.iter().map(|(_, value)| value.len()).sum();
    let mut out = String::with_capacity(template.len() + room);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (name, behind) = after.split_once("}}").unwrap_or((after, ""));
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            out.push_str(value);
        }
        rest = behind;
    }
    out + rest
}

/// The hash by which a policy names what it allows (CSP level 3 §8.2).
fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text.as_bytes()))
}

fn verdict(result: &Suite) -> String {
    let mut out = String::new();
    for case in &result.cases {
        let (class, word, text) = match &case.outcome {
            Outcome::Passed => ("passed", "passed", ""),
            Outcome::Failed { text, .. } => ("failed", "failed", text.as_str()),
            Outcome::CouldNotRun { text, .. } => ("broken", "could not run", text.as_str()),
            Outcome::Skipped { reason } => ("skipped", "skipped", reason.as_str()),
            Outcome::Inconclusive { reason } => ("skipped", "inconclusive", reason.as_str()),
        };
        let name = escape(&case.name);
        let _ = writeln!(out, "<span class=\"verdict {class}\">{word}: {name}</span>");
        if !text.is_empty() {
            let _ = writeln!(out, "<pre class=\"{class}\">{}</pre>", escape(text));
        }
    }
    out
}

#[cfg(test)]
mod tests;
