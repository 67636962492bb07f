//! `compare`: cscf beside Kamailio's IMS modules, under the same load on the same machine, turn by
//! turn. `tests/bench/compare.sh` builds what it needs and runs it; docs/performance.md has the
//! last results.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]
#![allow(unused_crate_dependencies, reason = "those of the tests")]

mod account;
mod floor;
mod hss;
mod kamailio;
mod load;
mod probe;
mod report;
mod system;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use system::{Rig, System};
use tasks::Task;

/// Compares cscf with Kamailio's IMS modules under the same load.
#[derive(Debug, Parser)]
struct Args {
    /// The build of `cscf`
    #[arg(long, value_name = "FILE", default_value = "target/profiled/cscf")]
    cscf: PathBuf,
    /// How often each workload is run with each system
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeat: u32,
    /// What is measured [default: floor,start,fixed,maximum,half]
    #[arg(long, value_name = "TASK", value_delimiter = ',', value_parser = Task::parse)]
    tasks: Vec<Task>,
    /// Which systems [default: all that are installed]
    #[arg(long, value_name = "SYSTEM", value_delimiter = ',', value_parser = tasks::system)]
    systems: Vec<System>,
    /// Subscribers of our HSS; the competitor's knows everybody
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    subscribers: u32,
    /// Where configurations and logs are written
    #[arg(long, value_name = "FOLDER", default_value = "target/compare")]
    folder: PathBuf,
    /// Be the small HSS of the competitor there
    #[arg(long, value_name = "ADDRESS:PORT", hide = true)]
    hss: Option<String>,
    /// Be one of the processes that do nothing but hand on datagrams
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u8).range(0..4))]
    carry: Option<u8>,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> Result<(), String> {
    if let Some(address) = &args.hss {
        return hss::serve(address);
    }
    if let Some(process) = args.carry {
        return floor::carry(process.into());
    }
    if !args.cscf.is_file() {
        let path = args.cscf.display();
        return Err(format!(
            "{path} is not there; run tests/bench/profiled.sh, or name another with --cscf"
        ));
    }
    let folder = std::path::absolute(&args.folder).map_err(|fault| fault.to_string())?;
    let rig = Rig { cscf: args.cscf, folder, subscribers: args.subscribers };
    let systems = if args.systems.is_empty() { System::ALL.to_vec() } else { args.systems };
    let tasks = if args.tasks.is_empty() { Task::DEFAULT.to_vec() } else { args.tasks };
    println!("Machine: {}\n", account::machine());
    tasks::run(&rig, &systems, &tasks, args.repeat)
}
