//! What the programs `p-cscf`, `i-cscf`, `s-cscf` and `cscf hss` have in common: reading the lab
//! file, starting one node of it, and ending in order.
//!
//! A line `ready NAME ADDRESS` on standard output says that the node listens. As a child
//! (`--child`) the program ends with its standard input, so that nothing outlives its parent.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use super::alone::Controlled;
use super::control::Tap;
use super::orders::{Obedient, answer_line, read_order};
use super::pipe::{Lines, TracePipe};
use super::protected::{Chosen, Wish as EspWish, choose_for};
use super::{
    Addresses, Clock, Host, Sink, StateFile, Tls, log, pace, prepare_process, stdin_lines,
    stop_signal,
};
use crate::clause::own;
use crate::config::{
    Lab, NodeConfig, NodeRole, Problems, Start, TlsConfig, read_lab, read_tree, render,
};
use crate::engine::{FaultEdge, Node};
use crate::ids::Seed;
use crate::operator::{FaultOrder, Order, OrderError};
use crate::time::Instant;
use crate::trace::{Note, TraceEvent, TraceKind};

/// The exit code of a program that did what it was asked.
pub const EXIT_OK: u8 = 0;
/// The exit code of a run whose expectations were not met.
pub const EXIT_FAILED: u8 = 1;
/// The exit code of a program that could not run.
pub const EXIT_COULD_NOT_RUN: u8 = 2;

/// Makes the node of a lab. The error says what in the lab does not fit.
pub type Build = fn(&Lab, &NodeConfig, &Start) -> Result<Box<dyn Node>, String>;

/// The command line of a node program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// The lab file; without one, the built-in lab.
    pub lab: Option<PathBuf>,
    /// The node; without one, the first of the program's role.
    pub node: Option<String>,
    /// The epoch that all processes of a lab share, in nanoseconds of Unix time.
    pub epoch_unix_ns: Option<u64>,
    /// End when standard input does.
    pub child: bool,
    /// Write trace events to standard output as JSON lines.
    pub trace_json: bool,
    /// Build no trace at all.
    pub quiet: bool,
    /// Where the state that outlives an HSS is kept.
    pub state: Option<PathBuf>,
    /// What its security associations are carried by, in place of what the lab says.
    pub esp: Option<EspWish>,
    /// Where it is controlled, in place of what the lab says.
    pub control: Option<SocketAddr>,
    /// It is controlled nowhere.
    pub no_control: bool,
}

/// What stands for the built-in lab where a lab file is named.
pub const BUILT_IN: &str = "builtin:default";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Help,
    Run(Args),
    Version,
}

/// Runs the program of a role with the command line of this process.
#[must_use]
pub fn run(role: NodeRole, build: Build) -> ExitCode {
    run_with(role, std::env::args_os().skip(1), build)
}

/// Runs the program of a role with these arguments (without the program's name).
#[must_use]
pub fn run_with(
    role: NodeRole,
    args: impl IntoIterator<Item = OsString>,
    build: Build,
) -> ExitCode {
    let name = role.as_str();
    let result = match parse(args) {
        Ok(Wish::Help) => say(&usage(role)),
        Ok(Wish::Version) => say(&format!("{name} {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Wish::Run(args)) => serve(role, &args, build),
        Err(fault) => Err(format!("{fault}\n\n{}", usage(role))),
    };
    match result {
        Ok(()) => ExitCode::from(EXIT_OK),
        Err(fault) => {
            let mut error = std::io::stderr().lock();
            let _ = writeln!(error, "error: {}", fault.trim_end());
            ExitCode::from(EXIT_COULD_NOT_RUN)
        }
    }
}

pub(super) fn say(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    // A reader that has gone away wants no help.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(())
}

fn usage(role: NodeRole) -> String {
    let name = role.as_str();
    let state = match role {
        NodeRole::Hss => {
            "  --state FILE         keep sequence numbers and assigned S-CSCFs there\n"
        }
        NodeRole::As | NodeRole::Icscf | NodeRole::Pcscf | NodeRole::Scscf => "",
    };
    format!(
        "{name}: one node of an IMS core\n\n\
         Usage: {name} [--lab FILE] [--node NAME]\n\n\
         Options:\n  \
           --lab FILE           the lab file (default: the built-in lab)\n  \
           --node NAME          the node of the lab (default: its first {name})\n  \
           --epoch-unix-ns N    where trace times count from (default: now)\n  \
           --trace-json         write trace events to standard output, one JSON object a line\n  \
           --child              obey orders on standard input, end when it does\n  \
           --control ADDR:PORT  serve the control interface there (default: beside that of the\n  \
                                lab); without it and where the port is taken, none\n  \
           --no-control         serve none\n  \
           --esp BACKEND        P-CSCF: auto, kernel, raw, udp, off (default: as in the lab)\n  \
           --quiet              write no trace and no log\n\
         {state}  \
           --help, --version\n\n\
         CSCF_LOG=debug logs every message and decision to standard error.\n"
    )
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Wish, String> {
    let mut out = Args::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy().into_owned();
        let (key, inline) = match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(OsString::from(value))),
            None => (text, None),
        };
        let mut value =
            || inline.clone().or_else(|| args.next()).ok_or_else(|| format!("{key} needs a value"));
        match key.as_str() {
            "--child" => out.child = true,
            "--control" => out.control = Some(control_address(&value()?.to_string_lossy())?),
            "--epoch-unix-ns" => {
                let text = value()?.to_string_lossy().into_owned();
                let number = text.parse();
                out.epoch_unix_ns =
                    Some(number.map_err(|_| format!("--epoch-unix-ns `{text}` is no number"))?);
            }
            "--help" | "-h" => return Ok(Wish::Help),
            "--esp" => {
                let text = value()?.to_string_lossy().into_owned();
                out.esp = Some(EspWish::named(&text).map_err(|fault| format!("--esp: {fault}"))?);
            }
            "--no-control" => out.no_control = true,
            "--lab" => out.lab = Some(value()?.into()),
            "--node" => out.node = Some(value()?.to_string_lossy().into_owned()),
            "--quiet" => out.quiet = true,
            "--state" => out.state = Some(value()?.into()),
            "--trace-json" => out.trace_json = true,
            "--version" | "-V" => return Ok(Wish::Version),
            _ => return Err(format!("unknown argument `{key}`")),
        }
    }
    Ok(Wish::Run(out))
}

/// Reads a lab file, or gives the built-in lab.
///
/// # Errors
///
/// Everything that is wrong with it, with its places, ready to print.
pub fn load_lab(path: Option<&Path>) -> Result<Lab, String> {
    let Some(path) = path.filter(|path| *path != Path::new(BUILT_IN)) else {
        return Ok(Lab::default_lab());
    };
    let shown = path.display();
    let source = std::fs::read_to_string(path)
        .map_err(|fault| format!("the lab file {shown} cannot be read: {fault}"))?;
    let lab = read_lab(&source).map_err(|problems| mistakes(path, &source, &problems));
    lab.map(|mut lab| {
        lab.tls.resolve(path.parent().unwrap_or(Path::new("")));
        lab
    })
}

/// The certificates of a lab, where it has any; `file` is where the lab was read from.
///
/// # Errors
///
/// A file that is of no use, or a listener without a certificate; with its place in the lab file.
pub fn tls_of(lab: &Lab, file: Option<&Path>) -> Result<Option<Tls>, String> {
    let needed = lab.nodes.iter().find(|node| node.secured.needs_certificate());
    if needed.is_none() && lab.tls == TlsConfig::default() {
        return Ok(None);
    }
    let tls = Tls::read(&lab.tls).map_err(|fault| {
        let text = format!("{}: {}", fault.file.display(), fault.reason);
        let help = "docs/tls.md says what each file is; `cscf init --tls` makes such files";
        placed(file, &["tls", fault.key], &text, help).unwrap_or_else(|| fault.to_string())
    })?;
    let Some(node) = needed.filter(|_| !tls.listens()) else {
        return Ok(Some(tls.with_names(lab.names_of_listeners())));
    };
    let text = format!("{} listens for TLS, and the lab has no certificate", node.name);
    let help = "write `tls: {certificate: FILE, key: FILE}`, or let `cscf init --tls` make a lab \
                with one";
    let mut keys =
        node.secured.listeners().into_iter().map(|(transport, _)| transport.param_name());
    let key = keys.find(|key| *key != "ws").unwrap_or("listen");
    let said = placed(file, &["nodes", &node.name, key], &text, help);
    Err(said.unwrap_or_else(|| format!("{text}: {help}")))
}

/// A mistake that is not in the text of a lab file but in what it names, told at its place there.
fn placed(file: Option<&Path>, keys: &[&str], text: &str, help: &str) -> Option<String> {
    let file = file.filter(|path| *path != Path::new(BUILT_IN))?;
    let source = std::fs::read_to_string(file).ok()?;
    let tree = read_tree(&source).ok()?;
    let mut problems = Problems::default();
    problems.push(tree.place(keys), text, Some(help.to_owned()));
    Some(mistakes(file, &source, &problems))
}

/// What is wrong with a lab file, as it is printed.
fn mistakes(path: &Path, source: &str, problems: &Problems) -> String {
    let colour = std::io::stderr().is_terminal() && !no_color();
    let shown = path.display().to_string();
    let list = render(&shown, source, problems, colour);
    format!("the lab file {shown} has mistakes\n\n{list}")
}

/// Whether the user wants no colours anywhere (<https://no-color.org>).
#[must_use]
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Finds the node that a program of this role shall be.
fn choose<'a>(lab: &'a Lab, role: NodeRole, name: Option<&str>) -> Result<&'a NodeConfig, String> {
    let Some(name) = name else {
        return lab.node(role).ok_or_else(|| format!("the lab has no {}", role.as_str()));
    };
    let node = lab.node_named(name).ok_or_else(|| {
        let names: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
        format!("the lab has no node `{name}`; its nodes are {}", names.join(", "))
    })?;
    if node.role == role {
        Ok(node)
    } else {
        Err(format!("{name} is a {}, not a {}", node.role.as_str(), role.as_str()))
    }
}

/// A seed that nobody can guess.
///
/// # Errors
///
/// The system has no randomness to give.
pub fn fresh_seed() -> Result<Seed, String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|fault| format!("no randomness: {fault}"))?;
    Ok(Seed(seed))
}

/// A runtime with one thread, as every program here uses.
///
/// # Errors
///
/// The system gives no event queue.
pub fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_all().on_thread_park(pace::rest).build();
    built.map_err(|fault| format!("the event loop cannot start: {fault}"))
}

/// Obeys the orders that stand on standard input, one a line, until it ends.
async fn obey(node: &Obedient, lines: Option<&Lines>) {
    let mut orders = stdin_lines();
    while let Some(line) = orders.recv().await {
        let Some((number, order)) = read_order(&line) else { continue };
        let answer = match order {
            Ok(order) => node.obey(&order).await,
            Err(text) => Err(OrderError::Refused(text)),
        };
        let text = answer_line(number, &answer);
        match lines {
            Some(lines) => lines.line(text),
            None => {
                let _ = say(&(text + "\n"));
            }
        }
    }
}

/// A node behind the fault rules of the lab file, with what starts it again after a crash.
///
/// # Errors
///
/// A rule that the node cannot have; no randomness.
pub fn with_faults(
    node: Box<dyn Node>,
    lab: &Lab,
    config: &NodeConfig,
    start: &Start,
    build: Build,
) -> Result<Box<dyn Node>, String> {
    let mut edge = FaultEdge::new(node, fresh_seed()?);
    let (fresh_lab, fresh_config, start) = (lab.clone(), config.clone(), *start);
    edge.set_rebuild(Box::new(move |_| {
        let start = Start { seed: fresh_seed().ok()?, ..start };
        build(&fresh_lab, &fresh_config, &start).ok()
    }));
    for rule in lab.fault_rules(&config.name, config.role) {
        let order = Order::Fault(FaultOrder::Add(Box::new(rule)));
        edge.order(Instant::EPOCH, &order).map_err(|fault| fault.to_string())?;
    }
    Ok(Box::new(edge))
}

fn control_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("--control `{text}` is no address with port"))
}

/// The way of the trace to the parent, where it is wanted.
fn pipe(args: &Args) -> Result<Option<TracePipe>, String> {
    let wanted = args.trace_json && !args.quiet;
    wanted.then(TracePipe::start).transpose().map_err(|it| format!("the trace cannot start: {it}"))
}

/// Where the trace goes: to the parent, to readers of the control interface, and into the log.
fn sink(args: &Args, pipe: Option<&TracePipe>, tap: Tap) -> Sink {
    if args.quiet {
        return Rc::new(|_| {});
    }
    // A child is silent until it is told to log.
    log::init_with(if args.child { "off" } else { "info" });
    match pipe.map(TracePipe::sink) {
        Some(pipe) => Rc::new(move |event| {
            log::event(&event);
            pipe(event);
        }),
        None => Rc::new(move |event| {
            log::event(&event);
            tap.event(&event);
        }),
    }
}

fn serve(role: NodeRole, args: &Args, build: Build) -> Result<(), String> {
    let mut lab = load_lab(args.lab.as_deref())?;
    let config = choose(&lab, role, args.node.as_deref())?.clone();
    let chosen = choose_for(&lab, &config, args.esp).map_err(|fault| fault.to_string())?;
    chosen.tell(&mut lab);
    let Chosen { protect, why, .. } = chosen;
    let (lab, config) = (Arc::new(lab), &config);
    if args.state.is_some() && role != NodeRole::Hss {
        return Err(format!("--state is for the HSS; a {} keeps no state", role.as_str()));
    }
    let tls = tls_of(&lab, args.lab.as_deref())?;
    prepare_process(lab.subscribers.count());
    let clock = args.epoch_unix_ns.map_or_else(Clock::start, Clock::since_unix_ns);
    let start =
        Start { seed: fresh_seed()?, unix_at_epoch: clock.unix_at_epoch(), tracing: !args.quiet };
    let pipe = pipe(args)?;
    let tap = Tap::default();
    let sink = sink(args, pipe.as_ref(), tap.clone());
    if role == NodeRole::Pcscf {
        let kind = TraceKind::Note(Note::new(own("ipsec_backend"), why, false));
        sink(TraceEvent { at: clock.now(), node: config.name.as_str().into(), kind });
    }
    let mut node = with_faults(build(&lab, config, &start)?, &lab, config, &start, build)?;
    let state = args.state.as_deref();
    let state = state.map(|path| StateFile::resume(path, &mut node, clock.now())).transpose()?;
    let result = runtime()?.block_on(async {
        let controlled = Controlled::bind(&lab, config, args).await?;
        let host = Host::new(clock, sink).with_dns(&lab.dns.servers).with_tls(tls);
        let host = host.with_pace(lab.gather);
        let addresses = Addresses::of(config).protected(protect);
        let handle = host.add_keeping(node, &addresses, state).map_err(|it| it.to_string())?;
        let node = Obedient::new(handle, Arc::clone(&lab), config, clock);
        let lines = pipe.as_ref().map(TracePipe::lines);
        if let Some(controlled) = &controlled {
            controlled.announce()?;
        }
        say(&format!("ready {} {}\n", config.name, config.listen))?;
        let orders = async {
            if args.child {
                obey(&node, lines.as_ref()).await;
            } else if let Some(controlled) = controlled {
                let tap = Some(tap).filter(|_| !args.quiet);
                controlled.serve(Arc::clone(&lab), &config.name, node.clone(), tap).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let ending = host
            .run_until(async {
                tokio::select! {
                    signal = stop_signal() => match signal {
                        Ok(_) => Ok(()),
                        Err(fault) => Err(format!("signals cannot be received: {fault}")),
                    },
                    () = orders => Ok(()),
                    node = host.ended() => Err(format!("{} has failed", node.name)),
                }
            })
            .await;
        host.stop().await;
        ending
    });
    if let Some(pipe) = pipe {
        let lost = pipe.finish();
        if lost > 0 {
            let mut error = std::io::stderr().lock();
            let _ = writeln!(error, "{lost} trace events were lost: they were not read in time");
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Wish, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn arguments_are_read_in_both_forms() {
        let expected = Args {
            lab: Some("lab.yaml".into()),
            node: Some("p1".to_owned()),
            epoch_unix_ns: Some(5),
            child: true,
            ..Args::default()
        };
        let apart = ["--lab", "lab.yaml", "--node", "p1", "--epoch-unix-ns", "5", "--child"];
        let joined = ["--lab=lab.yaml", "--node=p1", "--epoch-unix-ns=5", "--child"];
        assert_eq!(parsed(&apart), Ok(Wish::Run(expected.clone())));
        assert_eq!(parsed(&joined), Ok(Wish::Run(expected)));
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert_eq!(parsed(&["--nod", "p1"]), Err("unknown argument `--nod`".to_owned()));
        assert_eq!(parsed(&["--node"]), Err("--node needs a value".to_owned()));
    }

    #[test]
    fn a_node_is_found_by_name_and_role() {
        let lab = Lab::default_lab();
        let name = |result: Result<&NodeConfig, String>| result.map(|node| node.name.clone());
        assert_eq!(name(choose(&lab, NodeRole::Pcscf, None)), Ok("p1".to_owned()));
        assert_eq!(name(choose(&lab, NodeRole::Scscf, Some("s1"))), Ok("s1".to_owned()));
        let wrong = choose(&lab, NodeRole::Scscf, Some("p1")).expect_err("another role");
        assert_eq!(wrong, "p1 is a p-cscf, not a s-cscf");
        let unknown = choose(&lab, NodeRole::Scscf, Some("x")).expect_err("unknown");
        assert_eq!(unknown, "the lab has no node `x`; its nodes are p1, i1, s1, hss");
    }
}
