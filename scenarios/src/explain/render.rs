//! What was found, for a person, for a program, and the table of rules for `docs/rules.md`.

use std::fmt::Write as _;

use serde_json::json;

use super::{Finding, Report, Severity, rules};
use crate::report::plain;

/// The report as text.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let mut device = None;
    let mut subject = None;
    for it in &report.findings {
        if device != Some(&it.device) {
            let kind = if it.kind.is_empty() { String::new() } else { format!(" ({})", it.kind) };
            let _ = writeln!(out, "{}{kind}", plain(&it.device));
            device = Some(&it.device);
            subject = None;
        }
        if subject != Some(&it.subject) {
            if !it.subject.is_empty() {
                let _ = writeln!(out, "  {}", plain(&it.subject));
            }
            subject = Some(&it.subject);
        }
        finding(&mut out, it);
    }
    let many =
        |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let count = |severity, one: &str| many(report.count(severity), one);
    let _ = writeln!(
        out,
        "{} of {}: {}, {}, {}",
        many(report.messages, "SIP message"),
        many(report.devices.len(), "device"),
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
        count(Severity::Hint, "hint"),
    );
    out
}

fn finding(out: &mut String, it: &Finding) {
    let frames: Vec<String> = it.frames.iter().map(u64::to_string).collect();
    let word = if frames.len() == 1 { "frame" } else { "frames" };
    let more = if it.count > 1 { format!(", {} times", it.count) } else { String::new() };
    let _ = writeln!(
        out,
        "    {} {}: {} ({word} {}{more})",
        it.rule.severity.as_str(),
        it.rule.id,
        it.rule.title,
        frames.join(", ")
    );
    if !it.detail.is_empty() {
        let _ = writeln!(out, "      {}", plain(&it.detail));
    }
    let _ = writeln!(out, "      {}: {}", it.rule.clause, it.rule.why);
    let _ = writeln!(out, "      change: {}", it.rule.change);
}

/// One JSON object a finding, a line each.
#[must_use]
pub fn json(report: &Report) -> String {
    let mut out = String::new();
    for it in &report.findings {
        let line = json!({
            "rule": it.rule.id,
            "severity": it.rule.severity.as_str(),
            "title": it.rule.title,
            "clause": it.rule.clause.to_string(),
            "why": it.rule.why,
            "change": it.rule.change,
            "device": it.device,
            "kind": it.kind,
            "subject": it.subject,
            "frames": it.frames,
            "count": it.count,
            "detail": it.detail,
        });
        let _ = writeln!(out, "{line}");
    }
    out
}

/// All rules, a line each.
#[must_use]
pub fn rules_as_text() -> String {
    let mut out = String::new();
    for rule in rules() {
        let (id, severity) = (rule.id, rule.severity.as_str());
        let _ = writeln!(out, "{id}  {severity:<7}  {} ({})", rule.title, rule.clause);
    }
    out
}

/// `docs/rules.md`.
#[must_use]
pub fn rules_as_markdown() -> String {
    let mut out = String::from(
        "# Rules of `cscf explain`\n\nMade from the table in `scenarios/src/explain/`; \
         `CSCF_BLESS=1 cargo test -p cscf-tests --test explain` writes this file. \
         An error violates what a standard\ndemands, a warning what it recommends or a profile \
         asks for; a hint is worth to be known.\n\n| rule | severity | what is wrong | clause | \
         what comes of it | what to do |\n|---|---|---|---|---|---|\n",
    );
    for rule in rules() {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            rule.id,
            rule.severity.as_str(),
            rule.title,
            rule.clause,
            rule.why,
            rule.change
        );
    }
    out
}
