//! `cscf new`: a scenario made of a trace, or one to fill.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cscf_core::config::Lab;

use super::term;
use crate::capture;
use crate::record::{record, skeleton};
use crate::report::{artefacts, plain};

/// What `cscf new` is asked.
#[derive(Clone, Debug, Args)]
pub struct NewArgs {
    /// The name of the scenario; its file is NAME.yaml
    #[arg(required_unless_present = "from")]
    pub name: Option<String>,
    /// A trace.jsonl, pcap or pcapng of which it is made
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// What it shows, in one line
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// The file to write; `-` is standard output [default: NAME.yaml, or - without a name]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

/// Writes the scenario, and on standard error what it does not hold.
pub(super) fn main(args: &NewArgs) -> ExitCode {
    let file = match args.name.as_deref().map(file_of).transpose() {
        Ok(file) => file,
        Err(fault) => return term::could_not_run(&fault),
    };
    let name = args.name.as_deref().unwrap_or("recorded");
    let title = args.title.clone();
    let text = match &args.from {
        None => skeleton(&title.unwrap_or_else(|| format!("What {name} shows"))),
        Some(file) => {
            let capture = match capture::read_file(file) {
                Ok(capture) => capture,
                Err(fault) => return term::could_not_run(&format!("{}: {fault}", file.display())),
            };
            for flaw in &capture.flaws {
                note(flaw);
            }
            let title = title.unwrap_or_else(|| format!("Recorded of {}", file.display()));
            match record(&capture, &title, &Lab::default_lab()) {
                Ok(recording) => {
                    recording.losses.iter().for_each(|loss| note(loss));
                    recording.text
                }
                Err(fault) => return term::could_not_run(&format!("{}: {fault}", file.display())),
            }
        }
    };
    let output = args.output.clone().or(file).unwrap_or_else(|| PathBuf::from("-"));
    if output.as_os_str() == "-" {
        return term::print(&text);
    }
    let shown = output.display();
    if output.is_file() && !args.force {
        return term::could_not_run(&format!("{shown} is there already; --force writes over it"));
    }
    match artefacts::write_file(&output, text.as_bytes()) {
        Ok(()) if output.is_file() => {
            term::print(&format!("{shown} is written; try: cscf run --virtual {shown}\n"))
        }
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => term::could_not_run(&fault.to_string()),
    }
}

/// The file of a scenario with this name.
fn file_of(name: &str) -> Result<PathBuf, String> {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.trim().is_empty() || last.starts_with('.') {
        return Err(format!("{name:?} is no name of a scenario"));
    }
    let has_ending = [".yaml", ".yml"].iter().any(|ending| last.ends_with(ending));
    Ok(PathBuf::from(if has_ending { name.to_owned() } else { format!("{name}.yaml") }))
}

fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "note: {}", plain(text));
}
