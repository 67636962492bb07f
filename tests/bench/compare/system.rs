//! The systems that are compared: how each is started and ended. All addresses are loopback.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cscf_core::host::Clock;
use cscf_core::time::Instant;

use crate::account::{Parts, command_line, tree};
use crate::{kamailio, probe};

/// The home network of all systems.
pub(crate) const DOMAIN: &str = "ims.mnc001.mcc001.3gppnetwork.org";
/// The P-CSCF of all systems.
pub(crate) const PCSCF: &str = "127.0.0.11:5060";
/// The key of all cards.
pub(crate) const K: &str = "8baf473f2f8fd09487cccbd7097c6862";
/// The operator's key.
pub(crate) const OP: &str = "11111111111111111111111111111111";

/// A system to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System {
    /// Kamailio's IMS modules as P-, I- and S-CSCF, with a small HSS.
    Kamailio,
    /// The same that also keeps dialogs and checks who calls.
    KamailioFull,
    /// cscf, each node a process, with what Kamailio does too.
    Cscf,
    /// The same with `gather: off`: every message is looked at when it comes.
    CscfPrompt,
    /// The same as a lab is by default: the P-CSCF subscribes to each registration.
    CscfFull,
    /// All nodes in one process.
    CscfOne,
}

impl System {
    /// All.
    pub(crate) const ALL: [Self; 6] = [
        Self::Kamailio,
        Self::Cscf,
        Self::CscfPrompt,
        Self::CscfOne,
        Self::KamailioFull,
        Self::CscfFull,
    ];

    /// Its name on the command line and in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kamailio => "kamailio",
            Self::KamailioFull => "kamailio-full",
            Self::Cscf => "cscf",
            Self::CscfPrompt => "cscf-prompt",
            Self::CscfFull => "cscf-full",
            Self::CscfOne => "cscf-one-process",
        }
    }

    const fn is_kamailio(self) -> bool {
        matches!(self, Self::Kamailio | Self::KamailioFull)
    }
}

/// Where programs and files are.
#[derive(Clone, Debug)]
pub(crate) struct Rig {
    /// The program `cscf`.
    pub(crate) cscf: PathBuf,
    /// Where everything is written.
    pub(crate) folder: PathBuf,
    /// How many subscribers our HSS has.
    pub(crate) subscribers: u32,
}

/// A system that runs; it ends when this is dropped.
pub(crate) struct Running {
    /// What runs it.
    pub(crate) system: System,
    /// Its parts, for accounts.
    pub(crate) parts: Parts,
    processes: Vec<Child>,
}

impl Rig {
    /// Starts a system and waits until it has answered a REGISTER. Returns how long that took from
    /// the first process on, in seconds.
    pub(crate) fn start(&self, system: System) -> Result<(Running, f64), String> {
        let files = self.folder.join(system.name());
        fs::create_dir_all(&files).map_err(|fault| format!("{}: {fault}", files.display()))?;
        let probe = probe::socket()?;
        let mut running = Running { system, parts: Parts::new(), processes: Vec::new() };
        let begin = if system.is_kamailio() {
            let nodes = kamailio::render(system, &files)?;
            let begin = Clock::start();
            kamailio::start(&nodes, &files, &mut running.processes)?;
            begin
        } else {
            let lab = files.join("lab.yaml");
            kamailio::write(&lab, &self.lab(system))?;
            let begin = Clock::start();
            running.processes.push(self.start_cscf(system, &lab, &files)?);
            begin
        };
        running.wait(&probe, &begin)?;
        let took = seconds(&begin);
        running.name_parts();
        Ok((running, took))
    }

    fn lab(&self, system: System) -> String {
        let reg_event = if system == System::CscfFull { "on" } else { "off" };
        let gather = if system == System::CscfPrompt { "off" } else { "auto" };
        format!(
            "domain: {DOMAIN}\ncontrol: \"off\"\nreg_event_subscription: {reg_event}\n\
             gather: \"{gather}\"\nnodes:\n  \
             p1: {{role: p-cscf, listen: \"{PCSCF}\"}}\n  \
             i1: {{role: i-cscf, listen: \"127.0.0.12:5060\"}}\n  \
             s1: {{role: s-cscf, listen: \"127.0.0.13:5060\"}}\n  \
             hss: {{role: hss, listen: \"127.0.0.14:3868\"}}\nsubscribers:\n  \
             - range: {{imsi: 001010000000001, count: {}, k: {K}, op: \"{OP}\"}}\n",
            self.subscribers
        )
    }

    fn start_cscf(&self, system: System, lab: &Path, files: &Path) -> Result<Child, String> {
        let mut command = Command::new(&self.cscf);
        command.args(["up", "--quiet", "--no-control", "--lab"]).arg(lab);
        if system == System::CscfOne {
            command.arg("--one-process");
        }
        spawn(command, &files.join("up.log"))
    }
}

impl Running {
    fn wait(&mut self, probe: &UdpSocket, begin: &Clock) -> Result<(), String> {
        while seconds(begin) < 30.0 {
            if probe::answered(probe) {
                return Ok(());
            }
            for process in &mut self.processes {
                if let Ok(Some(status)) = process.try_wait() {
                    return Err(format!("{} ended: {status}", self.system.name()));
                }
            }
        }
        Err(format!("{} answers no REGISTER within 30 s", self.system.name()))
    }

    /// Which process is which part.
    fn name_parts(&mut self) {
        for process in &self.processes {
            let all = tree(process.id());
            let line = command_line(process.id());
            if self.system.is_kamailio() {
                let config = line.iter().rev().find(|word| word.ends_with(".cfg"));
                let stem = config.and_then(|path| Path::new(path).file_stem());
                let name = stem.map_or_else(|| "hss".into(), |it| it.to_string_lossy());
                self.parts.insert(name.replace("cscf", "-cscf"), all);
                continue;
            }
            for one in all {
                let line = command_line(one);
                let node = line.iter().skip_while(|word| *word != "--node").nth(1);
                let name = match node.map(String::as_str) {
                    Some("p1") => "p-cscf",
                    Some("i1") => "i-cscf",
                    Some("s1") => "s-cscf",
                    Some(other) => other,
                    None if self.system == System::CscfOne => "all",
                    None => "supervisor",
                };
                self.parts.entry(name.to_owned()).or_default().push(one);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for process in &self.processes {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
        }
        for process in &mut self.processes {
            let _ = process.wait();
        }
    }
}

/// Since a clock was started.
fn seconds(clock: &Clock) -> f64 {
    clock.now().since(Instant::EPOCH).as_secs_f64()
}

/// Starts a program whose output goes to a file.
pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<Child, String> {
    let file = File::create(log).map_err(|fault| format!("{}: {fault}", log.display()))?;
    let again = file.try_clone().map_err(|fault| fault.to_string())?;
    command.stdin(Stdio::null()).stdout(file).stderr(again);
    let program = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|fault| format!("{program}: {fault}"))
}

/// The lines that a child writes.
pub(crate) fn lines(child: &mut Child) -> Option<impl Iterator<Item = String> + use<>> {
    child.stdout.take().map(|out| BufReader::new(out).lines().map_while(Result::ok))
}
