//! `cscf ladder FILE`: draws a saved trace, or any capture of SIP, as text or as a page.

use std::path::PathBuf;

use clap::Args;

use super::term;
use crate::capture::{self, Capture};
use crate::explain::traffic::Traffic;
use crate::report::{Parties, artefacts, html, ladder, plain};

/// What `cscf ladder` is asked.
#[derive(Clone, Debug, Args)]
pub struct LadderArgs {
    /// A `trace.jsonl`, a pcap or a pcapng with SIP or Diameter
    pub file: PathBuf,
    /// Write a page that needs no network instead of printing text
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print every decision with its clause under its message
    #[arg(long)]
    pub explain: bool,
}

/// Draws it.
pub(super) fn ladder(args: &LadderArgs) -> Result<String, String> {
    let shown = args.file.display();
    let mut capture =
        capture::read_file(&args.file).map_err(|fault| format!("{shown}: {fault}"))?;
    for flaw in &capture.flaws {
        term::error(&format!("{shown}: {}", plain(flaw)));
    }
    name_devices(&mut capture);
    let events = capture.events();
    let parties = Parties::guess(&events, &capture.names);
    if let Some(path) = &args.html {
        let title = args.file.file_name().unwrap_or_default().to_string_lossy();
        let page = html::draw(&title, &events, &parties, None);
        artefacts::write_file(path, page.as_bytes()).map_err(|fault| fault.to_string())?;
        return Ok(String::new());
    }
    let colour = term::colour(&std::io::stdout());
    let style = ladder::Style { colour, explain: args.explain };
    Ok(ladder::draw(&events, &parties.columns, &parties.names, style))
}

/// Gives the ports of a device its name, where the file does not: a phone on TCP has many.
fn name_devices(capture: &mut Capture) {
    let named = Traffic::of(capture).names;
    for (addr, name) in named {
        capture.names.entry(addr).or_insert(name);
    }
}
