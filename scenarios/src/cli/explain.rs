//! `cscf explain FILE`: what in the traffic of anybody violates which clause.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::term;
use crate::capture;
use crate::explain::{Selection, Severity, explain, json, rules_as_text, text};
use crate::report::plain;

/// What `cscf explain` is asked.
#[derive(Clone, Debug, Default, Args)]
pub struct ExplainArgs {
    /// A pcap, a pcapng, a trace.jsonl, or one SIP message as text
    #[arg(required_unless_present = "rules")]
    pub file: Option<PathBuf>,
    /// One JSON object a finding, a line each
    #[arg(long)]
    pub json: bool,
    /// Only these rules, or topics by their letters, e.g. `SEC,SIP-070`
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub rule: Vec<String>,
    /// Not these rules
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// List the rules
    #[arg(long)]
    pub rules: bool,
}

/// Exits with 1 if anything is wrong that a standard demands, with 2 if the file cannot be read.
pub(super) fn main(args: &ExplainArgs) -> ExitCode {
    let selection = Selection { only: args.rule.clone(), ignore: args.ignore.clone() };
    if let Some(name) = selection.unknown() {
        return term::could_not_run(&format!(
            "no rule and no topic is {name:?}; `--rules` lists them"
        ));
    }
    if args.rules {
        return term::print(&rules_as_text());
    }
    let Some(file) = &args.file else { return term::could_not_run("no file is named") };
    let capture = match capture::read_file(file) {
        Ok(capture) => capture,
        Err(fault) => return term::could_not_run(&format!("{}: {fault}", file.display())),
    };
    let report = explain(&capture, &selection);
    for flaw in &report.flaws {
        let _ = writeln!(std::io::stderr(), "note: {}", plain(flaw));
    }
    if report.messages == 0 {
        return term::could_not_run(&format!("{}: holds no SIP", file.display()));
    }
    let out = if args.json { json(&report) } else { text(&report) };
    let printed = term::print(&out);
    if report.count(Severity::Error) > 0 { ExitCode::from(1) } else { printed }
}
