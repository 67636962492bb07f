//! `cscf up`: a live lab that keeps running, its nodes as processes of their own or all in this
//! one.

mod causes;
mod following;
pub mod node;
pub mod orders;
pub mod processes;
mod progress;
pub mod robots;
mod table;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use cscf_core::config::{ControlToken, Lab, NodeRole, Start, read_lab_but_subscribers};
use cscf_core::host::control::{Control, Tap, Token, server};
use cscf_core::host::orders::Obedient;
use cscf_core::host::program::{self, EXIT_COULD_NOT_RUN, EXIT_OK, load_lab};
use cscf_core::host::protected::{Chosen, Wish, choose_for};
use cscf_core::host::{Addresses, Clock, Host, StateFile, json, prepare_process, stop_signal};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::TraceEvent;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub use processes::{NodeEvent, NodeProcesses, StartError, Starting, Telling};

use crate::cli::{UpArgs, term};
use following::Following;
use orders::Orders;
use progress::Progress;

/// Events of nodes in this process that may wait; more are lost.
const EVENTS_MAX: usize = 10_000;

/// Runs a lab until it is told to stop.
#[must_use]
pub fn main(args: &UpArgs) -> ExitCode {
    let result = program::runtime().and_then(|runtime| runtime.block_on(up(args)));
    match result {
        Ok(()) => ExitCode::from(EXIT_OK),
        Err(text) => {
            term::error(&text);
            ExitCode::from(EXIT_COULD_NOT_RUN)
        }
    }
}

/// Events told before signals and phones have their turn.
const EVENTS_AT_ONCE: usize = 1_000;

/// How long a refusal waits for its cause, and a row of the ladder for an earlier one, when nothing
/// else happens.
const CAUSE_FOR: Duration = Duration::from_millis(200);

/// What is told about a running lab: the terminal and the trace file.
struct Told {
    progress: Progress,
    ladder: Option<Following>,
    trace: Option<BufWriter<File>>,
    tap: Tap,
}

impl Told {
    fn new(lab: &Lab, args: &UpArgs) -> Result<Self, String> {
        let trace = match &args.trace {
            Some(path) => Some(BufWriter::new(File::create(path).map_err(|fault| {
                format!("the trace file {} cannot be written: {fault}", path.display())
            })?)),
            None => None,
        };
        let ladder = match &args.ladder {
            Some(who) => Some(Following::new(lab, who.as_deref())?),
            None => None,
        };
        Ok(Self { progress: Progress::new(lab), ladder, trace, tap: Tap::default() })
    }

    fn event(&mut self, event: &TraceEvent) {
        self.tap.event(event);
        for line in self.progress.lines(event) {
            term::out(&format!("{line}\n"));
        }
        if let Some(ladder) = &mut self.ladder {
            let lines = ladder.lines(event);
            if !lines.is_empty() {
                term::out(&lines);
            }
        }
        let Some(trace) = &mut self.trace else { return };
        if let Err(fault) = writeln!(trace, "{}", json::to_json(event)) {
            term::error(&format!("the trace ends here, it cannot be written: {fault}"));
            self.trace = None;
        }
    }

    /// Whether something waits for what may still come.
    fn holds(&self) -> bool {
        self.progress.holds() || self.ladder.as_ref().is_some_and(Following::holds)
    }

    /// Nothing has come for a while: no cause for what was refused, nothing that was earlier.
    fn overdue(&mut self) {
        for line in self.progress.overdue() {
            term::out(&format!("{line}\n"));
        }
        if let Some(ladder) = &mut self.ladder {
            term::out(&ladder.rest());
        }
    }

    /// Whoever follows the file sees each burst whole.
    fn pause(&mut self) {
        if let Some(trace) = &mut self.trace {
            let _ = trace.flush();
        }
    }
}

async fn up(args: &UpArgs) -> Result<(), String> {
    let clock = Clock::start();
    let telling = if args.quiet { Telling::Nothing } else { Telling::Trace(clock.epoch_unix_ns()) };
    let (mut lab, early) = load(args, telling).await?;
    let tls = program::tls_of(&lab, args.lab.as_deref())?;
    let esp = choose_esp(&mut lab, args)?;
    let lab = Arc::new(lab);
    robots::check(&lab, &args.with)?;
    let told = Told::new(&lab, args)?;
    let listener = bind(&lab, args).await?;
    prepare_process(lab.subscribers.count());
    // From here on no signal is missed.
    let stop = stop_signal();
    let stop = async {
        let signal = stop.await;
        signal.map(|_| ()).map_err(|fault| format!("signals cannot be received: {fault}"))
    };
    tokio::pin!(stop);
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let host = Host::new(
        clock,
        Rc::new(move |event| {
            // A terminal that does not keep up must not stop a node.
            let _ = sender.try_send(event);
        }),
    );
    let host = host.with_dns(&lab.dns.servers).with_tls(tls);
    if args.one_process {
        let host = host.with_hops_in_memory().with_pace(lab.gather);
        let mut handles = Vec::new();
        for config in &lab.nodes {
            let start = Start {
                seed: program::fresh_seed()?,
                unix_at_epoch: clock.unix_at_epoch(),
                tracing: !args.quiet,
            };
            let node = node::build(&lab, config, &start)?;
            let mut node = program::with_faults(node, &lab, config, &start, node::build)?;
            let state = args.state.as_deref().filter(|_| config.role == NodeRole::Hss);
            let state =
                state.map(|path| StateFile::resume(path, &mut node, clock.now())).transpose()?;
            let esp = choose_for(&lab, config, wish(args)).map_err(|fault| fault.to_string())?;
            let addresses = Addresses::of(config).protected(esp.protect);
            let handle = host.add_keeping(node, &addresses, state).map_err(|it| it.to_string())?;
            let node = Obedient::new(handle, Arc::clone(&lab), config, clock);
            handles.push((config.name.clone(), node));
        }
        let orders = Orders::here(handles);
        let nodes = Nodes { host, events, processes: None, orders, listener, esp };
        return run(args, &lab, told, nodes, stop).await;
    }
    let starting = starting(args, telling);
    let starting = async {
        match early {
            Some(processes) => Ok(processes),
            None => NodeProcesses::start_with(&lab, &starting).await,
        }
    };
    let processes = tokio::select! {
        started = starting => started.map_err(|fault| fault.to_string())?,
        // Who is told to stop before all are ready has started nothing that lasts.
        signal = &mut stop => return signal,
    };
    let orders = processes.orders();
    let nodes = Nodes { host, events, processes: Some(processes), orders, listener, esp };
    run(args, &lab, told, nodes, stop).await
}

/// What the command line says of ESP.
fn wish(args: &UpArgs) -> Option<Wish> {
    args.ipsec.map(Wish::By)
}

/// What the P-CSCFs of the lab have of ESP, and why: `lab.esp` says whether there is any.
fn choose_esp(lab: &mut Lab, args: &UpArgs) -> Result<Chosen, String> {
    let pcscf = lab.node(NodeRole::Pcscf).cloned();
    let Some(pcscf) = pcscf else {
        return Ok(Chosen { why: "there is no P-CSCF".to_owned(), ..Chosen::default() });
    };
    let chosen = choose_for(lab, &pcscf, wish(args)).map_err(|fault| fault.to_string())?;
    if chosen.protect.is_none() && args.ipsec.is_some() {
        return Err(format!("{}; `cscf doctor` tells how to allow it", chosen.why));
    }
    chosen.tell(lab);
    Ok(chosen)
}

fn starting(args: &UpArgs, telling: Telling) -> Starting<'_> {
    let (lab_file, state) = (args.lab.as_deref(), args.state.as_deref());
    Starting { lab_file, telling, state, by_themselves: false, esp: wish(args) }
}

/// A lab file of so many bytes is long.
const LONG_BYTES: u64 = 1 << 20;

/// Reads the lab. While it reads a long one the nodes start, and the HSS reads the subscribers
/// itself; they are given if the lab is as it seemed.
async fn load(args: &UpArgs, telling: Telling) -> Result<(Lab, Option<NodeProcesses>), String> {
    let is_long = |path: &Path| std::fs::metadata(path).is_ok_and(|it| it.len() > LONG_BYTES);
    let long = args.lab.clone().filter(|path| !args.one_process && is_long(path));
    let source = long.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    let seems = source.as_deref().and_then(read_lab_but_subscribers);
    let (Some(path), Some(mut seems)) = (long, seems) else {
        return Ok((load_lab(args.lab.as_deref())?, None));
    };
    seems.tls.resolve(path.parent().unwrap_or(Path::new("")));
    let reading = spawn_blocking(move || load_lab(Some(&path)));
    let starting = Starting { by_themselves: true, ..starting(args, telling) };
    let (started, lab) = tokio::join!(NodeProcesses::start_with(&seems, &starting), reading);
    let mut lab = lab.map_err(|fault| fault.to_string())??;
    let processes = started.map_err(|fault| fault.to_string())?;
    let subscribers = std::mem::take(&mut lab.subscribers);
    let is_as_it_seemed = lab == seems;
    lab.subscribers = subscribers;
    if is_as_it_seemed {
        return Ok((lab, Some(processes)));
    }
    processes.stop().await;
    Ok((lab, None))
}

/// Everything that runs.
struct Nodes {
    host: Host,
    events: mpsc::Receiver<TraceEvent>,
    processes: Option<NodeProcesses>,
    orders: Orders,
    listener: Option<(TcpListener, Option<Token>)>,
    esp: Chosen,
}

/// The control address with its token, where there is one.
async fn bind(lab: &Lab, args: &UpArgs) -> Result<Option<(TcpListener, Option<Token>)>, String> {
    let Some(addr) = lab.control.filter(|_| !args.no_control) else { return Ok(None) };
    let token = lab.control_token.as_ref().map(Token::of).transpose()?;
    Ok(Some((server::bind(addr).await?, token)))
}

/// Takes orders, or waits for ever.
async fn control(
    lab: &Arc<Lab>,
    orders: Orders,
    tap: Option<Tap>,
    listener: Option<(TcpListener, Option<Token>)>,
) {
    let addr = listener.as_ref().and_then(|(listener, _)| listener.local_addr().ok());
    match (listener, addr) {
        (Some((listener, token)), Some(addr)) => {
            let names: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
            let control = Control::new(Arc::clone(lab), &names, Box::new(orders), addr);
            let control = control.with_token(token).with_trace(tap);
            server::serve(listener, Arc::new(control)).await;
        }
        _ => std::future::pending().await,
    }
}

/// Where orders are taken, for the terminal: a token that was made just now is told.
fn told_control(lab: &Lab, listener: &Option<(TcpListener, Option<Token>)>) -> Option<String> {
    let (listener, token) = listener.as_ref()?;
    let addr = listener.local_addr().ok()?;
    let fresh = lab.control_token == Some(ControlToken::Fresh);
    let token = token.as_ref().filter(|_| fresh);
    let token = token.map(|it| format!("\ntoken        {}", it.as_str())).unwrap_or_default();
    Some(format!("control      {addr}, see `cscf ctl --help`{token}\n\n"))
}

async fn run(
    args: &UpArgs,
    lab: &Arc<Lab>,
    mut told: Told,
    nodes: Nodes,
    stop: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let Nodes { host, mut events, mut processes, orders, listener, esp } = nodes;
    let phones = robots::switch_on(&host, lab, &args.with, esp.protect.as_ref().map(|it| it.form));
    let result = match phones {
        Ok(_phones) => {
            let names: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
            let ready_after = host.clock().now().since(Instant::EPOCH);
            let table = table::table(lab, &esp, ready_after);
            term::out(&format!("ready {}\n{table}\n", names.join(" ")));
            if let Some(text) = told_control(lab, &listener) {
                term::out(&text);
            }
            let tap = Some(told.tap.clone()).filter(|_| !args.quiet);
            let control = control(lab, orders, tap, listener);
            let follow = follow(&host, &mut told, &mut events, processes.as_mut());
            host.run_until(async {
                tokio::select! {
                    biased;
                    stopped = stop => stopped,
                    ended = follow => ended,
                    () = control => Ok(()),
                }
            })
            .await
        }
        Err(fault) => Err(fault),
    };
    host.stop().await;
    if let Some(processes) = processes {
        for event in processes.stop().await {
            if let NodeEvent::Trace(event) = event {
                told.event(&event);
            }
        }
    }
    while let Ok(event) = events.try_recv() {
        told.event(&event);
    }
    told.overdue();
    told.pause();
    result
}

/// Tells what happens until a node ends.
async fn follow(
    host: &Host,
    told: &mut Told,
    events: &mut mpsc::Receiver<TraceEvent>,
    mut processes: Option<&mut NodeProcesses>,
) -> Result<(), String> {
    loop {
        let from_process = async {
            match processes.as_mut() {
                Some(processes) => processes.events().recv().await,
                None => std::future::pending().await,
            }
        };
        let quiet = timeout(CAUSE_FOR, std::future::pending::<()>());
        let first = tokio::select! {
            _ = quiet, if told.holds() => {
                told.overdue();
                continue;
            }
            ended = host.ended() => return Err(format!("{} has failed", ended.name)),
            Some(event) = events.recv() => NodeEvent::Trace(event),
            Some(event) = from_process => event,
        };
        let mut next = Some(first);
        let mut told_now = 0;
        while let Some(event) = next {
            match event {
                NodeEvent::Trace(event) => told.event(&event),
                NodeEvent::Died { name, status, last_words } => {
                    return Err(format!("{name} has ended ({status})\n{last_words}"));
                }
            }
            told_now += 1;
            if told_now == EVENTS_AT_ONCE {
                break;
            }
            let from_process =
                processes.as_mut().and_then(|processes| processes.events().try_recv().ok());
            next = from_process.or_else(|| events.try_recv().ok().map(NodeEvent::Trace));
        }
        told.pause();
    }
}
