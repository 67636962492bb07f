//! `cscf subscribers import`: a lab file out of the table of a SIM vendor; `cscf profile`: the
//! document that the HSS sends for a subscriber.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cscf_core::config::{import_subscribers, render};
use cscf_core::host::program::load_lab;

/// What `cscf subscribers` is asked.
#[derive(Clone, Debug, Args)]
pub struct SubscribersArgs {
    #[command(subcommand)]
    order: Order,
}

#[derive(Clone, Debug, Subcommand)]
enum Order {
    /// Add the subscribers of a CSV file (IMSI, MSISDN, K, OP or OPc, AMF, SQN) to a lab
    Import {
        /// The table; its head names the columns, or their contents do
        file: PathBuf,
        /// The lab to add to [default: the built-in lab]
        #[arg(long, value_name = "FILE")]
        lab: Option<PathBuf>,
        /// The lab file to write [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// What `cscf profile` is asked.
#[derive(Clone, Debug, Args)]
pub struct ProfileArgs {
    /// The name of a subscriber of the lab
    name: String,
    /// The lab file [default: the built-in lab]
    #[arg(long, value_name = "FILE")]
    lab: Option<PathBuf>,
}

/// Imports.
pub(super) fn subscribers(args: &SubscribersArgs) -> Result<String, String> {
    let Order::Import { file, lab, output } = &args.order;
    let mut lab = load_lab(lab.as_deref())?;
    let shown = file.display();
    let source = std::fs::read_to_string(file)
        .map_err(|fault| format!("{shown} cannot be read: {fault}"))?;
    let new = import_subscribers(&source, &lab.domain).map_err(|problems| {
        format!("{shown} has mistakes\n\n{}", render(&shown.to_string(), &source, &problems, false))
    })?;
    let known: BTreeSet<&str> =
        lab.subscribers.listed().iter().map(|it| it.impi.as_str()).collect();
    let in_range = |impi: &str| lab.subscribers.ranges().any(|it| it.imsis.of_impi(impi).is_some());
    let is_known = |impi: &str| known.contains(impi) || in_range(impi);
    if let Some(twice) = new.iter().find(|it| is_known(&it.impi)) {
        return Err(format!("{} of {shown} is in the lab already", twice.impi));
    }
    let count = new.len();
    lab.subscribers.extend(new);
    let text = lab.to_yaml();
    match output {
        None => Ok(text),
        Some(path) => {
            write(path, &text)?;
            let path = path.display();
            Ok(format!("wrote {path} with {count} more subscribers: `cscf up --lab {path}`\n"))
        }
    }
}

/// Whole or not at all: a file beside it takes its place.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let fault = |fault: std::io::Error| format!("{} cannot be written: {fault}", path.display());
    std::fs::write(&beside, text).map_err(fault)?;
    std::fs::rename(&beside, path).map_err(fault)
}

/// The document.
pub(super) fn profile(args: &ProfileArgs) -> Result<String, String> {
    let lab = load_lab(args.lab.as_deref())?;
    let name = &args.name;
    lab.profile_of(name).map(|document| document.trim_end().to_owned() + "\n").ok_or_else(|| {
        match lab.subscribers.nearest(name, []) {
            Some(near) => format!("no subscriber `{name}`; did you mean `{near}`?"),
            None => format!("no subscriber `{name}` in the lab"),
        }
    })
}
