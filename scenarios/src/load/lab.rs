//! The system under test of a load: somebody else's, or a lab that is started for it.

use std::io::Write as _;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cscf_core::auth::{AkaKeys, from_hex};
use cscf_core::config::{Lab, NodeRole, Start};
use cscf_core::host::program::{self, fresh_seed, load_lab};
use cscf_core::host::{Addresses, Clock, Host, stop_signal};
use cscf_core::time::Duration;
use tempfile::NamedTempFile;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::fleet::Setup;
use super::people::{People, Range, Secret};
use super::{LoadArgs, people, resolve, run, setup};
use crate::up::{NodeEvent, NodeProcesses, Starting, Telling, node};

/// The users of the lab that is started without a lab file.
const USERS: u32 = 2000;
const FIRST_IMSI: &str = "001010900000001";
const K: &str = "8baf473f2f8fd09487cccbd7097c6862";
const OPC: &str = "cdc202d5123e20f62b6d676ac72cb318";
/// How long the generator may take to see that it is to stop.
const STOP_FOR: Duration = Duration::from_secs(3);

type Ended = oneshot::Receiver<Result<bool, String>>;

/// Loads what the arguments say; false if something failed.
pub(super) async fn load(args: &LoadArgs) -> Result<bool, String> {
    if let Some(dut) = &args.dut {
        let setup = setup(args, people(args)?, resolve(dut)?)?;
        let (stop, ended) = start(args, setup)?;
        return until_end(&stop, ended, std::future::pending()).await;
    }
    if args.impi.is_some() {
        return Err("--impi is for --dut; the lab that is started has its own UEs".to_owned());
    }
    let own = args.lab.is_none().then(|| own_lab(args.users.unwrap_or(USERS))).transpose()?;
    let path = own.as_ref().map(|file| file.path().to_owned()).or_else(|| args.lab.clone());
    let lab = load_lab(path.as_deref())?;
    let people = match own {
        Some(_) => own_people(&lab.domain, args.users.unwrap_or(USERS))?,
        None => People::listed(&lab.subscribers, &lab.domain, args.users),
    };
    let setup = setup(args, people, entry(&lab)?)?;
    let mut lab = lab;
    lab.carry_esp(false);
    match args.one_process {
        true => here(args, &lab, setup).await,
        false => apart(args, &lab, path.as_deref(), setup).await,
    }
}

/// The address of the first P-CSCF of a lab.
fn entry(lab: &Lab) -> Result<SocketAddrV4, String> {
    match lab.node(NodeRole::Pcscf).map(|node| node.listen) {
        Some(SocketAddr::V4(address)) => Ok(address),
        Some(SocketAddr::V6(address)) => Err(format!("the P-CSCF listens on {address}: no IPv4")),
        None => Err("the lab has no P-CSCF".to_owned()),
    }
}

/// The built-in lab with a range of users, in a file for its nodes.
fn own_lab(users: u32) -> Result<NamedTempFile, String> {
    let fault = |fault: std::io::Error| format!("no temporary file: {fault}");
    let mut file = NamedTempFile::new().map_err(fault)?;
    let lab = Lab::default_lab().to_yaml();
    let range = format!("{{imsi: \"{FIRST_IMSI}\", count: {users}, k: {K}, opc: {OPC}}}");
    writeln!(file, "{lab}  range: {range}").and_then(|()| file.flush()).map_err(fault)?;
    Ok(file)
}

fn own_people(domain: &str, users: u32) -> Result<People, String> {
    let keys = from_hex(K).zip(from_hex(OPC));
    let (k, opc) = keys.ok_or("the built-in keys are none")?;
    let secret = Secret::Card(AkaKeys::Milenage { k, opc }.functions());
    Ok(People::counted(Range::new(&format!("{FIRST_IMSI}@{domain}"))?, secret, users))
}

/// Starts the generator in a thread of its own.
fn start(args: &LoadArgs, setup: Setup) -> Result<(Arc<AtomicBool>, Ended), String> {
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, ended) = oneshot::channel();
    let (args, seen) = (args.clone(), Arc::clone(&stop));
    let thread = std::thread::Builder::new().name("load".to_owned());
    let started = thread.spawn(move || {
        let _ = sender.send(run(&args, setup, seen));
    });
    started.map_err(|fault| format!("no thread: {fault}"))?;
    Ok((stop, ended))
}

/// Until the generator is done, a signal comes, or the system under test ends.
async fn until_end(
    stop: &AtomicBool,
    mut ended: Ended,
    died: impl Future<Output = String>,
) -> Result<bool, String> {
    let gone = |_| Err("the generator has failed".to_owned());
    let died = tokio::select! {
        result = &mut ended => return result.unwrap_or_else(gone),
        signal = stop_signal() => {
            signal.map_err(|fault| format!("signals cannot be received: {fault}"))?;
            None
        }
        died = died => Some(died),
    };
    stop.store(true, Ordering::Relaxed);
    let result = timeout(STOP_FOR, ended).await;
    match (died, result) {
        (Some(died), _) => Err(died),
        (None, Ok(Ok(result))) => result,
        // It waits for standard input, or never began.
        (None, _) => Ok(false),
    }
}

/// Each node a process.
async fn apart(
    args: &LoadArgs,
    lab: &Lab,
    lab_file: Option<&Path>,
    setup: Setup,
) -> Result<bool, String> {
    let telling = Telling::Nothing;
    let starting = Starting { lab_file, telling, state: None, by_themselves: false, esp: None };
    let started = NodeProcesses::start_with(lab, &starting).await;
    let mut processes = started.map_err(|fault| fault.to_string())?;
    let result = match start(args, setup) {
        Ok((stop, ended)) => until_end(&stop, ended, died(&mut processes)).await,
        Err(fault) => Err(fault),
    };
    processes.stop().await;
    result
}

async fn died(processes: &mut NodeProcesses) -> String {
    while let Some(event) = processes.events().recv().await {
        if let NodeEvent::Died { name, status, last_words } = event {
            return format!("{name} has ended ({status})\n{last_words}");
        }
    }
    std::future::pending().await
}

/// All nodes in this process, in the thread that waits.
async fn here(args: &LoadArgs, lab: &Lab, setup: Setup) -> Result<bool, String> {
    let clock = Clock::start();
    let host = Host::new(clock, Rc::new(|_| {})).with_dns(&lab.dns.servers);
    let host = host.with_tls(program::tls_of(lab, None)?).with_hops_in_memory();
    for config in &lab.nodes {
        let start =
            Start { seed: fresh_seed()?, unix_at_epoch: clock.unix_at_epoch(), tracing: false };
        let node = node::build(lab, config, &start)?;
        let node = program::with_faults(node, lab, config, &start, node::build)?;
        let addresses = Addresses::of(config);
        host.add_keeping(node, &addresses, None).map_err(|fault| fault.to_string())?;
    }
    let (stop, ended) = start(args, setup)?;
    let died = async { format!("{} has failed", host.ended().await.name) };
    let result = host.run_until(until_end(&stop, ended, died)).await;
    host.stop().await;
    result
}
