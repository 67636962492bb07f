//! `cscf test`: suites that judge a device.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cscf_core::config::Lab;

use super::term;
use crate::device::{self, Case, Device, MUTANTS, Mutant, Options, SUITES, all_cases};
use crate::script::Need;

/// What `cscf test` is asked.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    /// A suite (`cscf test --list`), `all`, or a file or folder of cases; then cases of it
    #[arg(value_name = "SUITE")]
    pub suite: Option<String>,
    /// Only these cases of the suite
    #[arg(value_name = "CASE")]
    pub cases: Vec<String>,
    /// The device: a command, started for each case, e.g. "./client {address} {port} {impi}"
    #[arg(long, value_name = "COMMAND", conflicts_with = "dut_wait")]
    pub dut: Option<String>,
    /// The device is a phone, and you are told what to do with it
    #[arg(long)]
    pub dut_wait: bool,
    /// The device is the emulated UE with one rule broken; `list` shows which there are
    #[arg(long, value_name = "NAME", conflicts_with_all = ["dut", "dut_wait"])]
    pub dut_mutant: Option<String>,
    /// The subscriber of the lab that the device is [default: alice, or as the case says]
    #[arg(long = "as", value_name = "NAME")]
    pub subscriber: Option<String>,
    /// What the device can besides: long, nr, p-cscfs, video
    #[arg(long, value_name = "NEED", value_delimiter = ',', value_parser = Need::named)]
    pub can: Vec<Need>,
    /// What the device cannot: calls, sms, preconditions, reg-event, …
    #[arg(long, value_name = "NEED", value_delimiter = ',', value_parser = Need::named)]
    pub cannot: Vec<Need>,
    /// Write the results as `JUnit` XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write annotations and a step summary for GitHub Actions [default: when run there]
    #[arg(long)]
    pub github: bool,
    /// Where the artefacts go
    #[arg(long, value_name = "DIR", default_value = "cscf-out/test")]
    pub out: PathBuf,
    /// The core makes security agreements with the device, over ESP
    #[arg(long)]
    pub ipsec: bool,
    /// The seed of all chance in virtual time (without a device of your own)
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The lab file [default: the built-in lab]
    #[arg(long, value_name = "FILE")]
    pub lab: Option<PathBuf>,
    /// List suites and cases
    #[arg(long)]
    pub list: bool,
}

/// Runs the command.
#[must_use]
pub(super) fn test(args: TestArgs) -> ExitCode {
    if args.list {
        return term::exit(list());
    }
    let mutant = match args.dut_mutant.as_deref() {
        Some("list") => return term::print(&mutants()),
        Some(name) => match Mutant::named(name) {
            Some(mutant) => Some(mutant.name.to_owned()),
            None => {
                let near = cscf_core::config::nearest(name, MUTANTS.iter().map(|it| it.name));
                let near = near.map(|near| format!("; did you mean `{near}`?"));
                let near = near.unwrap_or_else(|| "; `--dut-mutant list` shows them".to_owned());
                return term::could_not_run(&format!("no mutant `{name}`{near}"));
            }
        },
        None => None,
    };
    if args.suite.is_none() && mutant.is_none() {
        return match suites() {
            Ok(text) => {
                let printed = term::print(&text);
                let asked = term::could_not_run("say which suite, or `all`");
                if printed == ExitCode::SUCCESS { asked } else { printed }
            }
            Err(fault) => term::could_not_run(&fault),
        };
    }
    let device = match (args.dut, args.dut_wait) {
        (Some(command), _) => Device::Program(command),
        (None, true) => Device::Human,
        (None, false) => Device::Own(mutant),
    };
    device::main(&Options {
        suites: vec![args.suite.unwrap_or_else(|| "all".to_owned())],
        cases: args.cases,
        device,
        subscriber: args.subscriber,
        can: args.can,
        cannot: args.cannot,
        seed: args.seed,
        ipsec: args.ipsec,
        lab: args.lab,
        out: args.out,
        junit: args.junit,
        github: args.github || crate::report::github::is_here(),
    })
}

/// The suites with what a device must bring for them, and how it is named.
fn suites() -> Result<String, String> {
    let cases = all_cases(&Lab::default_lab())?;
    let mut out = String::from("suite            cases  a device must bring\n");
    for suite in SUITES {
        let cases: Vec<_> = cases.iter().filter(|case| case.suite == suite).collect();
        let needs_of = |need: Need| {
            let needs = |case: &&&Case| {
                case.scenario.test.as_ref().is_some_and(|test| test.needs.contains(&need))
            };
            cases.iter().filter(needs).count()
        };
        let needs = Need::NAMED.iter().filter_map(|(word, need)| match needs_of(*need) {
            0 => None,
            count if count == cases.len() => Some((*word).to_owned()),
            count => Some(format!("{word} ({count})")),
        });
        let needs: Vec<String> = needs.collect();
        out.push_str(&format!("{suite:<16} {:>5}  {}\n", cases.len(), needs.join(", ")));
    }
    out.push_str(
        "\nIn brackets: how many cases need it; the others run without. `cscf test --list` shows \
         the cases.\nThe device: --dut \"COMMAND\", --dut-wait (a phone), else the emulated UE. \
         --can and --cannot say what it can;\n--as NAME is the subscriber it is: alice has a card \
         (aka), carol a password (digest).\n",
    );
    Ok(out)
}

fn list() -> Result<String, String> {
    let cases = all_cases(&Lab::default_lab())?;
    let mut out = String::new();
    for suite in SUITES {
        out.push_str(&format!("{suite}\n"));
        for case in cases.iter().filter(|case| case.suite == suite) {
            let needs = case.scenario.test.as_ref().map(|test| test.needs.as_slice());
            let needs: Vec<&str> = needs.unwrap_or_default().iter().map(|it| it.word()).collect();
            let needs = if needs.is_empty() {
                String::new()
            } else {
                format!(" (needs {})", needs.join(", "))
            };
            out.push_str(&format!("  {:<28} {}{needs}\n", case.name, case.scenario.title));
        }
    }
    Ok(out)
}

fn mutants() -> String {
    let line = |it: &Mutant| format!("{:<28} meant for {}\n", it.name, it.meant.join(", "));
    MUTANTS.iter().map(line).collect()
}
