//! The command line of `cscf`. Each command is a few lines here and a module that does the work.
//!
//! Exit codes, of every command: 0 ok; 1 the answer is no (an expectation was not met, a message or
//! a MAC is wrong, a node refused an order); 2 it could not run.

mod aka;
mod check;
mod codes;
mod conformance;
mod ctl;
mod doctor;
mod explain;
mod init;
mod ladder;
mod list;
mod live;
mod new;
mod parse;
mod schema;
mod subscribers;
pub mod term;
mod test;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use cscf_core::config::{EspBackend, NodeRole};
use cscf_core::host::program;

pub use aka::AkaArgs;
pub use ctl::{At, CtlArgs, KeysArgs, WhyArgs};
pub use explain::ExplainArgs;
pub use init::InitArgs;
pub use ladder::LadderArgs;
pub use new::NewArgs;
pub use schema::Of as SchemaOf;
pub use subscribers::{ProfileArgs, SubscribersArgs};
pub use test::TestArgs;

use crate::conformance::Draw;
use crate::load::LoadArgs;
use crate::run::{Family, Options, apart};
use crate::up::robots::With;

/// What `cscf` says when it is not asked anything.
const SHORT_HELP: &str = "\
cscf run volte-call      starts an IMS core, registers two phones, makes a call, draws its ladder

More:
  cscf list              the scenarios that ship with this program
  cscf run NAME|FILE …   runs scenarios; --virtual in virtual time, --explain with every reason,
                         --watch again whenever a file is saved; `cscf run --virtual all` runs all
  cscf test SUITE        judges a client or phone by the cases of a suite; --list shows them
  cscf ladder FILE       draws a saved trace or a pcap of SIP; --html FILE as a page
  cscf codes             each response code: who sends it, why, and the scenario that shows it
  cscf up                starts a core for your own phones and clients, and says how to reach it
  cscf load              loads a core with registrations and calls, and measures
  cscf ctl ORDER         orders something of a running core: dereg alice, show registrations, …
  cscf why alice         tells why a running core refused her
  cscf keys              prints the keys of her packets for Wireshark, of a core or a run
  cscf doctor            what this machine can do for protected calls, and how to allow more
  cscf init              writes a lab file to change: addresses, subscribers, timers
  cscf check FILE        says what is wrong in a lab file or a scenario
  cscf aka --k K …       computes and checks an AKA challenge, and says what is wrong with it
  cscf subscribers import FILE.csv   makes a lab file of a SIM vendor's table
  cscf profile alice     prints the user profile that the HSS sends for her
  cscf schema            prints a JSON Schema of scenarios, for editors; `cscf schema lab` of labs
  cscf parse FILE …      says what the parser makes of a SIP message
  cscf new NAME          writes a scenario to fill; --from TRACE records one of a trace
  cscf explain FILE      reads a capture of anybody and says what violates which clause
  cscf help              everything
";

/// An emulator of the IMS core: P-CSCF, I-CSCF, S-CSCF, HSS, and phones to try them.
#[derive(Debug, Parser)]
#[command(name = "cscf", version, disable_help_subcommand = false)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios and draw their ladders
    Run(RunArgs),
    /// Judge a device by suites of cases: your client, a phone, or the emulated UE
    Test(TestArgs),
    /// List the scenarios that ship with this program
    List,
    /// Draw a saved trace, or any capture of SIP
    Ladder(LadderArgs),
    /// Say who sends each response code, why, and which scenario shows it
    Codes {
        /// Only these codes, e.g. 403 488, or entries of the table, e.g. 403a
        codes: Vec<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Start a core that keeps running, and say how to reach it
    Up(UpArgs),
    /// Load a core, ours or foreign, with registrations, calls and messages, and measure
    Load(Box<LoadArgs>),
    /// Give an order to a running lab: deregister, re-authenticate, show …
    Ctl(CtlArgs),
    /// Tell why a user of a running lab was refused, or everybody
    Why(WhyArgs),
    /// Print the keys of security associations for Wireshark, of a running lab or of a run
    Keys(KeysArgs),
    /// Print a script that completes commands: `source <(cscf completions bash)`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Run only the HSS of a lab
    #[command(disable_help_flag = true)]
    Hss {
        /// `--lab FILE`, `--node NAME`, …: see `cscf hss --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<OsString>,
    },
    /// Run only an application server of a lab
    #[command(disable_help_flag = true)]
    As {
        /// `--lab FILE`, `--node NAME`, …: see `cscf as --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<OsString>,
    },
    /// Say what this machine can do (ESP, IPv6, ports), why not more, and how to allow it
    Doctor {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Write a lab file to change
    Init(InitArgs),
    /// Say what is wrong in a lab file or a scenario
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the JSON Schema of scenario or lab files, for editors
    Schema {
        /// Of which files
        #[arg(value_enum, default_value_t)]
        of: SchemaOf,
    },
    /// Say what the parser makes of SIP messages, each file one datagram
    Parse {
        /// Files; `-` is standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Write a scenario to fill, or one that does what a trace shows
    New(NewArgs),
    /// Say what in a capture violates which clause: pcap, pcapng, trace.jsonl
    Explain(ExplainArgs),
    /// Compute and check an AKA challenge: MAC, SQN, RES, CK, IK, and the likely cause
    Aka(AkaArgs),
    /// Print the user profile that the HSS sends for a subscriber
    Profile(ProfileArgs),
    /// Import subscribers from a CSV file
    Subscribers(SubscribersArgs),
    /// Say which behaviours of the standards are proven by tests
    Conformance {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        /// Draw so many covered entries by chance, to be tried by taking out the code behind them
        #[arg(long, value_name = "N")]
        sample: Option<usize>,
        /// What the draw depends on, e.g. a commit: the same words draw the same entries
        #[arg(long, value_name = "TEXT", default_value = "1", requires = "sample")]
        seed: String,
        /// Draw only entries whose id begins with one of these, e.g. `P-REG,S-AUT,RC-`
        #[arg(long, value_name = "PREFIX", value_delimiter = ',', requires = "sample")]
        of: Vec<String>,
    },
}

/// What `cscf run` is asked.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Names of built-in scenarios (`cscf list`), patterns as 'call/*', all, or scenario files
    #[arg(required = true)]
    pub scenarios: Vec<String>,
    /// In virtual time and one process: the same seed gives the same bytes
    #[arg(long = "virtual")]
    pub in_virtual_time: bool,
    /// The seed of all chance in a virtual run
    #[arg(long, value_name = "N", default_value_t = 1, requires = "in_virtual_time")]
    pub seed: u64,
    /// Where the artefacts go [default: cscf-out/SCENARIO]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print every decision with its clause under its message
    #[arg(long)]
    pub explain: bool,
    /// The lab file [default: the built-in lab]
    #[arg(long, value_name = "FILE")]
    pub lab: Option<PathBuf>,
    /// Write the results as `JUnit` XML, for a service of continuous integration
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write annotations and a step summary for GitHub Actions [default: when run there]
    #[arg(long)]
    pub github: bool,
    /// How many scenarios of a pattern run at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Run again whenever a scenario or lab file is saved
    #[arg(long)]
    pub watch: bool,
    /// All UEs with a card make a security agreement, and ESP protects their packets
    #[arg(
        long, value_name = "on", num_args = 0..=1, require_equals = true, default_value = "off",
        hide_default_value = true, default_missing_value = "on", value_parser = ipsec_of_run,
        action = clap::ArgAction::Set
    )]
    pub ipsec: bool,
    /// All UEs agree on TLS; with --ipsec those without a card
    #[arg(long)]
    pub tls: bool,
    /// On IPv6: live on `::1` with a port each, with --ipsec in a network of the run's own
    #[arg(long)]
    pub ipv6: bool,
    /// P-CSCFs on IPv4 and IPv6, the core on IPv4, UEs on IPv6 and IPv4 in turn
    #[arg(long, conflicts_with = "ipv6")]
    pub dual_stack: bool,
}

impl RunArgs {
    fn options(self) -> Options {
        Options {
            scenarios: self.scenarios,
            simulated: self.in_virtual_time,
            seed: self.seed,
            out: self.out,
            explain: self.explain,
            lab: self.lab,
            junit: self.junit,
            github: self.github || crate::report::github::is_here(),
            jobs: self.jobs.map(usize::from),
            watch: self.watch,
            ipsec: self.ipsec,
            tls: self.tls,
            family: match (self.ipv6, self.dual_stack) {
                (true, _) => Family::V6,
                (false, true) => Family::Dual,
                (false, false) => Family::V4,
            },
            apart: false,
        }
    }
}

/// What `cscf up` is asked.
#[derive(Clone, Debug, Default, Args)]
pub struct UpArgs {
    /// The lab file [default: the built-in lab]
    #[arg(long, value_name = "FILE")]
    pub lab: Option<PathBuf>,
    /// All nodes in this process instead of one process each
    #[arg(long)]
    pub one_process: bool,
    /// Let a subscriber of the lab be an emulated phone: answers, busy, rings, rejects or echo
    #[arg(long, value_name = "NAME=BEHAVIOUR")]
    pub with: Vec<With>,
    /// Write the trace to a file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Make no trace and tell nothing: for measurements
    #[arg(long, conflicts_with = "trace")]
    pub quiet: bool,
    /// Draw the ladder as it grows, of everybody or of one subscriber
    #[arg(long, value_name = "USER", num_args = 0..=1, conflicts_with = "quiet")]
    pub ladder: Option<Option<String>>,
    /// Keep sequence numbers and assigned S-CSCFs of the HSS in a file, over a restart
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Take no orders: `cscf ctl` and `cscf why` find nothing
    #[arg(long)]
    pub no_control: bool,
    /// Demand ESP for security agreements, by this back-end: auto, kernel, raw or udp
    #[arg(
        long, value_name = "BACKEND", num_args = 0..=1, require_equals = true,
        default_missing_value = "auto", value_parser = EspBackend::named
    )]
    pub ipsec: Option<EspBackend>,
}

/// `--ipsec` of a run says only that there is some; by what, the lab says.
fn ipsec_of_run(text: &str) -> Result<bool, String> {
    match (text, EspBackend::named(text)) {
        ("on", _) => Ok(true),
        ("off", _) => Ok(false),
        (_, Ok(_)) => Err(format!(
            "a run takes the back-end from the lab: write `ipsec_backend: {text}` into a lab file, \
             then --ipsec --lab FILE"
        )),
        (_, Err(fault)) => {
            Err(format!("{fault}; and a run takes it from the lab: `ipsec_backend`"))
        }
    }
}

fn completions(shell: Shell) -> Result<String, String> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cscf", &mut out);
    String::from_utf8(out).map_err(|fault| fault.to_string())
}

/// Runs `cscf`, or the node program under whose name it was started.
#[must_use]
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if apart::is_probe(&name) {
        return apart::probe();
    }
    if let Some(role) = node_program(&name) {
        return program::run_with(role, args, crate::up::node::build);
    }
    match Cli::try_parse() {
        Ok(Cli { command: Some(command) }) => dispatch(command),
        Ok(Cli { command: None }) => term::print(SHORT_HELP),
        Err(fault) => {
            let code = if fault.use_stderr() { program::EXIT_COULD_NOT_RUN } else { 0 };
            // Nothing is left to be done if even that cannot be said.
            let _ = fault.print();
            ExitCode::from(code)
        }
    }
}

/// The role of the program with this name, `p-cscf` for instance.
fn node_program(arg0: &OsStr) -> Option<NodeRole> {
    let name = Path::new(arg0).file_name()?.to_str()?;
    NodeRole::ALL.iter().find(|(role, _)| *role == name).map(|(_, role)| *role)
}

fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Run(args) => crate::run::main(&args.options()),
        Command::Test(args) => test::test(args),
        Command::Ladder(args) => term::exit(ladder::ladder(&args)),
        Command::List => term::exit(list::list()),
        Command::Codes { codes, json } => term::exit(codes::codes(&codes, json)),
        Command::Up(args) => crate::up::main(&args),
        Command::Load(args) => crate::load::main(&args),
        Command::Ctl(args) => ctl::ctl(&args),
        Command::Why(args) => ctl::why(&args),
        Command::Keys(args) => ctl::keys(&args),
        Command::Completions { shell } => term::exit(completions(shell)),
        Command::As { args } => program::run_with(NodeRole::As, args, crate::up::node::build),
        Command::Hss { args } => program::run_with(NodeRole::Hss, args, crate::up::node::build),
        Command::Doctor { json } => doctor::doctor(json),
        Command::Init(args) => term::exit(init::init(&args)),
        Command::Check { file } => term::exit(check::check(&file)),
        Command::Schema { of } => term::exit(schema::schema(of)),
        Command::Parse { files, json } => parse::parse(&files, json),
        Command::New(args) => new::main(&args),
        Command::Explain(args) => explain::main(&args),
        Command::Aka(args) => aka::aka(&args),
        Command::Conformance { json, sample, seed, of } => {
            let draw = sample.map(|count| Draw { count, seed, of });
            term::exit(conformance::conformance(json, draw.as_ref()))
        }
        Command::Profile(args) => term::exit(subscribers::profile(&args)),
        Command::Subscribers(args) => term::exit(subscribers::subscribers(&args)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn shells_complete_every_command() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let script = completions(shell).expect("a script");
            assert!(script.contains("completions") && script.contains("conformance"));
        }
    }

    #[test]
    fn the_short_help_starts_with_the_example() {
        assert!(SHORT_HELP.starts_with("cscf run volte-call"));
    }

    #[test]
    fn the_program_is_the_node_it_is_named_after() {
        assert_eq!(node_program(OsStr::new("p-cscf")), Some(NodeRole::Pcscf));
        assert_eq!(node_program(OsStr::new("/usr/bin/hss")), Some(NodeRole::Hss));
        assert_eq!(node_program(OsStr::new("/usr/bin/cscf")), None);
    }
}
