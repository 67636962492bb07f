//! `cscf load`: a fleet of UEs that registers, calls and writes messages at a rate, and measures.

mod drive;
pub mod fleet;
pub mod histogram;
mod lab;
pub mod pace;
pub mod people;
pub mod plan;
pub mod results;
pub mod scan;
pub mod search;
mod show;
mod socket;

use std::fs::File;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use cscf_core::auth::{AkaKeys, derive_opc, from_hex};
use cscf_core::host::prepare_process;
use cscf_core::host::program::{
    self, EXIT_COULD_NOT_RUN, EXIT_FAILED, EXIT_OK, fresh_seed, load_lab,
};
use cscf_core::time::Duration;
use cscf_core::words::duration;

use crate::cli::term;
use drive::{Driver, Found, Manner, Outcome};
use fleet::Setup;
use people::{People, Range, Secret, Sources};
use plan::{Phase, Rate};
use search::{Next, Search};

/// What `cscf load` is asked.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// WORK:RATE[:TIME or COUNT], e.g. register:500:5000 call=8,message=2:200:10s call:max:3s
    /// [default: register:100:5s call:50:5s]
    #[arg(value_parser = Phase::parse)]
    pub phases: Vec<Phase>,
    /// The P-CSCF to load, ours or foreign [default: start the lab itself]
    #[arg(long, value_name = "HOST:PORT")]
    pub dut: Option<String>,
    /// The lab whose subscribers are the UEs; without --dut it is started
    #[arg(long, value_name = "FILE")]
    pub lab: Option<PathBuf>,
    /// Start the lab in this process instead of one process for each node
    #[arg(long, conflicts_with = "dut")]
    pub one_process: bool,
    /// How many UEs; callers are the first half, each calls one of the second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub users: Option<u32>,
    /// The first private identity, counted up; the IMPU is `sip:` and the IMPI
    #[arg(long, value_name = "IMPI", conflicts_with = "lab")]
    pub impi: Option<String>,
    /// K of all of them, 32 digits
    #[arg(long, value_name = "HEX", requires = "impi")]
    pub k: Option<String>,
    /// OP of all of them, 32 digits
    #[arg(long, value_name = "HEX", requires = "k")]
    pub op: Option<String>,
    /// `OPc` of all of them, 32 digits
    #[arg(long, value_name = "HEX", requires = "k", conflicts_with = "op")]
    pub opc: Option<String>,
    /// The password of all of them, for SIP digest
    #[arg(long, value_name = "TEXT", requires = "impi", conflicts_with = "k")]
    pub password: Option<String>,
    /// Source addresses, 127.1.1.1:5070 counted up, or ports, 192.0.2.7:20000-29999
    /// [default: 127.1.1.1 for a P-CSCF on loopback, else one port]
    #[arg(long, value_name = "RANGE", value_parser = Sources::parse)]
    pub sources: Option<Sources>,
    /// Route of requests while no Service-Route is known; may be given more than once
    #[arg(long, value_name = "URI")]
    pub route: Vec<String>,
    /// Arrivals by chance (Poisson) instead of at equal distances
    #[arg(long)]
    pub poisson: bool,
    /// The seed of that chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How long each phase runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub warm_up: Duration,
    /// Registrations a second before a phase whose UEs must be registered
    #[arg(long, value_name = "RATE", default_value_t = 300.0)]
    pub prepare_rate: f64,
    /// The first rate of a search for the maximum
    #[arg(long, value_name = "RATE", default_value_t = 100.0)]
    pub from_rate: f64,
    /// How long a callee rings
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = duration)]
    pub ring: Duration,
    /// How long a call is held
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = duration)]
    pub hold: Duration,
    /// How long a request waits for its answer
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration)]
    pub timeout: Duration,
    /// The retransmission interval T1
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    pub t1: Duration,
    /// The expiration that REGISTER asks for, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600_000)]
    pub expires: u32,
    /// How late work may begin (p99) before the generator counts as the bottleneck
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = duration)]
    pub late_max: Duration,
    /// Before each phase say `ready PHASE` and wait for a line of standard input
    #[arg(long)]
    pub wait: bool,
    /// Tell how it goes each second, also where no terminal is
    #[arg(long)]
    pub progress: bool,
    /// Write a line for each latency of each phase
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write everything as JSON, one object a phase; `-` is standard output instead of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Loads.
#[must_use]
pub fn main(args: &LoadArgs) -> ExitCode {
    // The UEs of a fleet are small: their memory comes evenly, however many they are.
    prepare_process(0);
    match program::runtime().and_then(|runtime| runtime.block_on(lab::load(args))) {
        Ok(true) => ExitCode::from(EXIT_OK),
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(text) => {
            term::error(&text);
            ExitCode::from(EXIT_COULD_NOT_RUN)
        }
    }
}

/// The phases, or what is run without any.
fn phases(args: &LoadArgs) -> Vec<Phase> {
    if !args.phases.is_empty() {
        return args.phases.clone();
    }
    let default = ["register:100:5s", "call:50:5s"];
    default.iter().filter_map(|text| Phase::parse(text).ok()).collect()
}

/// The users: counted up, or the subscribers of the lab.
fn people(args: &LoadArgs) -> Result<People, String> {
    let Some(impi) = &args.impi else {
        let Some(path) = &args.lab else {
            return Err("who are the UEs? Give --lab FILE, or --impi with --k or --password".into());
        };
        let lab = load_lab(Some(path))?;
        return Ok(People::listed(&lab.subscribers, &lab.domain, args.users));
    };
    let key = |text: &str| {
        from_hex::<16>(text).ok_or_else(|| format!("`{text}` is no key of 32 hexadecimal digits"))
    };
    let secret = match (&args.k, &args.op, &args.opc, &args.password) {
        (Some(k), Some(op), _, _) => {
            let k = key(k)?;
            let opc = derive_opc(k, key(op)?);
            Secret::Card(AkaKeys::Milenage { k, opc }.functions())
        }
        (Some(k), None, Some(opc), _) => {
            Secret::Card(AkaKeys::Milenage { k: key(k)?, opc: key(opc)? }.functions())
        }
        (None, _, _, Some(password)) => Secret::Password(password.clone()),
        _ => return Err("--impi needs --k with --op or --opc, or --password".to_owned()),
    };
    Ok(People::counted(Range::new(impi)?, secret, args.users.unwrap_or(1000)))
}

/// The address of the system under test.
fn resolve(dut: &str) -> Result<SocketAddrV4, String> {
    use std::net::ToSocketAddrs as _;
    let all = dut.to_socket_addrs();
    let all = all.map_err(|fault| format!("--dut {dut}: {fault}; write e.g. 127.0.0.1:5060"))?;
    let v4 = |address| match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    };
    all.into_iter().find_map(v4).ok_or_else(|| format!("--dut {dut} has no IPv4 address"))
}

/// Where UEs send from unless it is said.
fn default_sources(dut: SocketAddrV4) -> Result<Sources, String> {
    if dut.ip().is_loopback() {
        return Sources::parse("127.1.1.1");
    }
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(dut)?;
        socket.local_addr()
    });
    match probe {
        Ok(SocketAddr::V4(local)) => {
            Ok(Sources::Ports { address: *local.ip(), first: local.port(), count: 1 })
        }
        Ok(SocketAddr::V6(_)) => Err(format!("{dut} cannot be reached by IPv4")),
        Err(fault) => Err(format!("{dut} cannot be reached: {fault}")),
    }
}

fn setup(args: &LoadArgs, people: People, dut: SocketAddrV4) -> Result<Setup, String> {
    let pairs = phases(args).iter().any(|phase| {
        phase.mix.iter().any(|(work, _)| matches!(work, plan::Work::Call | plan::Work::Message))
    });
    let least = if pairs { 2 } else { 1 };
    if people.count() < least {
        return Err(format!("{} UEs are too few: {least} are needed", people.count()));
    }
    for (name, rate) in [("--prepare-rate", args.prepare_rate), ("--from-rate", args.from_rate)] {
        if !(0.01..=1e6).contains(&rate) {
            return Err(format!("{name} {rate}: a rate is 0.01 to 1000000 a second"));
        }
    }
    let [a, b, c, d, ..] = fresh_seed()?.0;
    Ok(Setup {
        people,
        sources: args.sources.map_or_else(|| default_sources(dut), Ok)?,
        dut,
        routes: args.route.clone(),
        ring: args.ring,
        hold: args.hold,
        t1: args.t1.max(Duration::from_millis(1)),
        timeout: args.timeout.max(Duration::from_millis(1)),
        expires: args.expires,
        run: u32::from_be_bytes([a, b, c, d]),
    })
}

/// Everything that a load does, in a thread of its own. False if something failed.
fn run(args: &LoadArgs, setup: Setup, stop: Arc<AtomicBool>) -> Result<bool, String> {
    let shows = args.progress || std::io::stderr().is_terminal();
    let manner = Manner {
        seed: args.seed,
        poisson: args.poisson,
        warm_up: args.warm_up,
        late_max: args.late_max,
        stop,
        tell: Box::new(move |tick| {
            if shows {
                term::log(&format!("{}\n", show::tick(tick)));
            }
        }),
    };
    let mut files = Files::open(args)?;
    let mut driver = Driver::new(setup, manner)?;
    let mut fine = true;
    for phase in phases(args) {
        if let Some(prepared) = driver.prepare(&phase, args.prepare_rate) {
            if prepared.results.failed_all() > 0 || driver.is_stopped() {
                files.tell("before the phase ", &prepared)?;
                fine = false;
            }
            if prepared.registered == 0 {
                return Ok(false);
            }
        }
        if args.wait && !waits(&phase) {
            return Ok(fine);
        }
        let outcome = match phase.rate {
            Rate::PerSecond(rate) => driver.run(&phase, rate, false),
            Rate::Max => search(args, &mut driver, &phase, &mut files)?,
        };
        files.tell("", &outcome)?;
        fine &= match outcome.found {
            None => outcome.results.failed_all() == 0 && outcome.results.skipped == 0,
            Some(found) => found.held.is_some(),
        };
        if driver.is_stopped() {
            break;
        }
    }
    Ok(fine)
}

/// Says that it is ready and waits for a line; false if nobody is there any more.
fn waits(phase: &Phase) -> bool {
    term::out(&format!("ready {phase}\n"));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).is_ok_and(|length| length > 0)
}

/// Looks for the highest rate; the outcome is that of the last try that held, or of the last.
fn search(
    args: &LoadArgs,
    driver: &mut Driver,
    phase: &Phase,
    files: &mut Files,
) -> Result<Outcome, String> {
    let mut search = Search::new(args.from_rate);
    let (mut rate, mut best) = (args.from_rate, None);
    loop {
        let outcome = driver.run(phase, rate, true);
        let verdict = outcome.verdict();
        let said = match verdict {
            search::Verdict::Holds => "holds".to_owned(),
            search::Verdict::Fails => why_not(&outcome),
            search::Verdict::GeneratorIsTheLimit => {
                let why = outcome.bottleneck(drive::SHARE_MAX).unwrap_or_default();
                format!("says nothing, the generator is the bottleneck: {why}")
            }
        };
        files.line(&format!("  {phase} at {rate:.0}/s {said}\n"));
        let next = if driver.is_stopped() { search.end() } else { search.after(verdict) };
        if verdict == search::Verdict::Holds {
            best = Some(outcome.clone());
        }
        let (held, at_least) = match next {
            Next::Try(again) => {
                rate = again;
                continue;
            }
            Next::Found(held) => (held, false),
            Next::Limit(held) => (held, true),
        };
        let found = Some(Found { held, at_least });
        return Ok(Outcome { found, ..best.unwrap_or(outcome) });
    }
}

fn why_not(outcome: &Outcome) -> String {
    let results = &outcome.results;
    let (failed, again) = (results.failed_all(), results.sent_again + results.came_again);
    let first = results.failed.keys().next().map(|it| format!(" ({it})")).unwrap_or_default();
    let skipped = results.skipped;
    format!("does not hold: {failed} failed{first}, {again} retransmissions, {skipped} skipped")
}

/// Where results go.
struct Files {
    csv: Option<File>,
    json: Option<File>,
    /// JSON takes the place of the table.
    json_here: bool,
}

impl Files {
    fn open(args: &LoadArgs) -> Result<Self, String> {
        let create = |path: &PathBuf| {
            let fault = |fault| format!("{} cannot be written: {fault}", path.display());
            File::create(path).map_err(fault)
        };
        let json_here = args.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let json = args.json.as_ref().filter(|_| !json_here).map(create).transpose()?;
        let mut csv = args.csv.as_ref().map(create).transpose()?;
        if let Some(file) = &mut csv {
            file.write_all(show::CSV_HEAD.as_bytes()).map_err(|fault| fault.to_string())?;
        }
        Ok(Self { csv, json, json_here })
    }

    fn line(&self, text: &str) {
        if !self.json_here {
            term::out(text);
        }
    }

    fn tell(&mut self, before: &str, outcome: &Outcome) -> Result<(), String> {
        self.line(&format!("{before}{}\n", show::text(outcome)));
        let fault = |fault: std::io::Error| format!("results cannot be written: {fault}");
        let json = show::to_json(outcome);
        if self.json_here {
            term::out(&format!("{json}\n"));
        }
        if let Some(file) = &mut self.json {
            writeln!(file, "{json}").map_err(fault)?;
        }
        if let Some(file) = &mut self.csv {
            file.write_all(show::csv(outcome).as_bytes()).map_err(fault)?;
        }
        Ok(())
    }
}
