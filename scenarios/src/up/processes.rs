//! The nodes of a lab as child processes: this very program, started again under each node's name.
//!
//! A child says `ready …` on its standard output and then writes its trace there as JSON lines.
//! It ends when its standard input does, so nothing outlives a parent that was killed.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cscf_core::config::{Lab, NodeConfig, NodeRole};
use cscf_core::host::json::from_json;
use cscf_core::host::orders::read_answer;
use cscf_core::host::program::BUILT_IN;
use cscf_core::host::protected::Wish;
use cscf_core::time::Duration;
use cscf_core::trace::TraceEvent;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::orders::{Logs, Orders, Stdin, Waiting};
use crate::cli::term;

/// Events that may wait for the reader; then the children's pipes fill, and they lose trace events.
const EVENTS_MAX: usize = 2_000;
/// How long a child may take until it listens.
const READY_FOR: Duration = Duration::from_secs(10);
/// How long a child may take to end when it is asked to.
const STOP_FOR: Duration = Duration::from_secs(1);
/// Lines of a child's standard error kept for the report of its death.
const LAST_WORDS_MAX: usize = 20;

/// What a node process tells.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// Something in its trace.
    Trace(TraceEvent),
    /// It ended without having been asked to.
    Died {
        /// The node's name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it wrote to standard error.
        last_words: String,
    },
}

/// What node processes are to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Only when they end; nothing of a trace is made.
    Nothing,
    /// Their trace, in time since this epoch (nanoseconds of Unix time).
    Trace(u64),
}

/// What node processes are told when they start.
#[derive(Clone, Copy, Debug)]
pub struct Starting<'a> {
    /// The lab file; without one, the built-in lab.
    pub lab_file: Option<&'a Path>,
    /// What they tell.
    pub telling: Telling,
    /// Where the HSS keeps its state.
    pub state: Option<&'a Path>,
    /// The subscribers of the lab file are not in the lab: only who needs them reads the file.
    pub by_themselves: bool,
    /// What carries the ESP of P-CSCFs; none: as the lab says.
    pub esp: Option<Wish>,
}

/// The nodes could not be started; none is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The part of the lab that most nodes need cannot be written for them.
    #[error("no temporary file: {0}")]
    LabFile(io::Error),
    /// This program cannot find or start itself.
    #[error("{name} cannot be started")]
    Spawn {
        /// The node's name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// A node ended before it listened; its own words say why.
    #[error("{name} did not start ({status})\n{words}")]
    Ended {
        /// The node's name.
        name: String,
        /// How it ended.
        status: String,
        /// What it wrote to standard error.
        words: String,
    },
    /// A node does not say that it is ready.
    #[error("{name} is not ready after {} s", READY_FOR.as_secs())]
    Slow {
        /// The node's name.
        name: String,
    },
}

/// The running nodes of a lab.
///
/// Dropping it kills what still runs.
#[derive(Debug)]
pub struct NodeProcesses {
    children: Vec<Node>,
    events: mpsc::Receiver<NodeEvent>,
    /// For nodes that start later.
    sender: mpsc::Sender<NodeEvent>,
    waiting: Waiting,
    orders_given: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Node {
    name: String,
    /// Its standard input; closing it asks the child to end.
    stdin: Stdin,
    logs: Logs,
    kill: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// The last lines of a child's standard error.
type Words = Arc<Mutex<VecDeque<String>>>;

impl NodeProcesses {
    /// Starts every node of the lab and returns when all listen. The children read the lab from
    /// `lab_file` (the built-in lab without one); `lab` must be the same lab.
    ///
    /// # Errors
    ///
    /// [`StartError`] names the first node that did not start; the others have been ended.
    pub async fn start(
        lab: &Lab,
        lab_file: Option<&Path>,
        epoch_unix_ns: u64,
    ) -> Result<Self, StartError> {
        let telling = Telling::Trace(epoch_unix_ns);
        let starting = Starting { lab_file, telling, state: None, by_themselves: false, esp: None };
        Self::start_with(lab, &starting).await
    }

    /// As [`NodeProcesses::start`], with all that the nodes are told.
    ///
    /// # Errors
    ///
    /// As [`NodeProcesses::start`].
    pub async fn start_with(lab: &Lab, starting: &Starting<'_>) -> Result<Self, StartError> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let (waiting, orders_given) = (Waiting::default(), Arc::default());
        let mut started = Self { children: Vec::new(), events, sender, waiting, orders_given };
        let written = lab.subscribers.listed().len();
        let cut = (starting.by_themselves || written > SUBSCRIBERS_FEW)
            .then(|| without_subscribers(lab))
            .transpose()
            .map_err(StartError::LabFile)?;
        // The HSS first, and ready: then the others find it at their first attempt.
        let (hss, others): (Vec<_>, Vec<_>) =
            lab.nodes.iter().partition(|node| node.role == NodeRole::Hss);
        for group in [hss, others] {
            let mut waiting = Vec::new();
            for config in group {
                let needs_all = matches!(config.role, NodeRole::As | NodeRole::Hss);
                let cut = cut.as_ref().filter(|_| !needs_all).map(|file| file.path());
                let starting = Starting { lab_file: cut.or(starting.lab_file), ..*starting };
                match started.add(config, &starting) {
                    Ok(is_ready) => waiting.push((config.name.clone(), is_ready)),
                    Err(fault) => {
                        started.stop().await;
                        return Err(fault);
                    }
                }
            }
            for (name, is_ready) in waiting {
                if let Err(fault) = ready(name, is_ready).await {
                    started.stop().await;
                    return Err(fault);
                }
            }
        }
        Ok(started)
    }

    /// Starts a node; gives what it says when it listens.
    fn add(
        &mut self,
        config: &NodeConfig,
        starting: &Starting<'_>,
    ) -> Result<oneshot::Receiver<Readiness>, StartError> {
        let (ready, is_ready) = oneshot::channel();
        let told = Told {
            logs: Logs::default(),
            events: self.sender.clone(),
            ready: Some(ready),
            waiting: self.waiting.clone(),
        };
        let node = spawn(config, starting, told)
            .map_err(|source| StartError::Spawn { name: config.name.clone(), source })?;
        self.children.push(node);
        Ok(is_ready)
    }

    /// Kills a node at once, as a crash would; returns whether it ran.
    pub async fn kill(&mut self, name: &str) -> bool {
        let Some(at) = self.children.iter().position(|child| child.name == name) else {
            return false;
        };
        let mut child = self.children.remove(at);
        if let Some(kill) = child.kill.take() {
            let _ = kill.send(());
        }
        let _ = timeout(STOP_FOR, &mut child.task).await;
        true
    }

    /// Starts a node that was killed, and returns when it listens.
    ///
    /// # Errors
    ///
    /// [`StartError`] says why it did not start.
    pub async fn start_again(
        &mut self,
        config: &NodeConfig,
        starting: &Starting<'_>,
    ) -> Result<(), StartError> {
        let is_ready = self.add(config, starting)?;
        ready(config.name.clone(), is_ready).await
    }

    /// The names of the nodes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.children.iter().map(|child| child.name.as_str())
    }

    /// The way to give them orders.
    #[must_use]
    pub fn orders(&self) -> Orders {
        let nodes = self
            .children
            .iter()
            .map(|one| (one.name.clone(), Arc::clone(&one.stdin), Arc::clone(&one.logs)));
        Orders::processes(nodes, self.waiting.clone(), Arc::clone(&self.orders_given))
    }

    /// What the nodes tell, in the order it arrives.
    pub const fn events(&mut self) -> &mut mpsc::Receiver<NodeEvent> {
        &mut self.events
    }

    /// Ends all nodes: each closes its sockets in order; who has not ended after a second is
    /// killed. Returns what they still told.
    pub async fn stop(mut self) -> Vec<NodeEvent> {
        for child in &mut self.children {
            *child.stdin.lock().await = None;
        }
        let mut rest = Vec::new();
        let events = &mut self.events;
        for child in &mut self.children {
            let ended = async {
                loop {
                    tokio::select! {
                        biased;
                        _ = &mut child.task => return,
                        Some(event) = events.recv() => rest.push(event),
                    }
                }
            };
            if timeout(STOP_FOR, ended).await.is_err() {
                if let Some(kill) = child.kill.take() {
                    let _ = kill.send(());
                }
                let _ = timeout(STOP_FOR, &mut child.task).await;
            }
        }
        while let Ok(event) = self.events.try_recv() {
            rest.push(event);
        }
        rest.retain(|event| matches!(event, NodeEvent::Trace(_)));
        rest
    }
}

/// That a child listens, or its status and last words.
type Readiness = Result<(), (String, String)>;

type Ready = oneshot::Sender<Readiness>;

/// Waits until a child listens.
async fn ready(name: String, is_ready: oneshot::Receiver<Readiness>) -> Result<(), StartError> {
    Err(match timeout(READY_FOR, is_ready).await {
        Ok(Ok(Ok(()))) => return Ok(()),
        Ok(Ok(Err((status, words)))) => StartError::Ended { name, status, words },
        Ok(Err(_)) => StartError::Ended {
            name,
            status: "it closed its output".to_owned(),
            words: String::new(),
        },
        Err(_) => StartError::Slow { name },
    })
}

/// Whom a child's words go to.
struct Told {
    logs: Logs,
    events: mpsc::Sender<NodeEvent>,
    ready: Option<Ready>,
    waiting: Waiting,
}

/// With more subscribers than this, written one by one, nodes that need none do not read them.
const SUBSCRIBERS_FEW: usize = 1_000;

/// A lab file for the nodes that need no subscribers, where reading them would take time.
fn without_subscribers(lab: &Lab) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("cscf-lab-").suffix(".yaml").tempfile()?;
    file.write_all(lab.to_yaml_for_cscfs().as_bytes())?;
    Ok(file)
}

fn spawn(config: &NodeConfig, starting: &Starting<'_>, told: Told) -> io::Result<Node> {
    let mut command = Command::new(std::env::current_exe()?);
    let state = starting.state.filter(|_| config.role == NodeRole::Hss);
    let esp = starting.esp.filter(|_| config.role == NodeRole::Pcscf);
    command.arg0(config.role.as_str());
    command
        .arg("--lab")
        .arg(starting.lab_file.unwrap_or_else(|| Path::new(BUILT_IN)))
        .args(["--node", &config.name, "--child"])
        .args(match starting.telling {
            Telling::Nothing => vec!["--quiet".to_owned()],
            Telling::Trace(epoch) => {
                vec!["--trace-json".to_owned(), format!("--epoch-unix-ns={epoch}")]
            }
        })
        .args(esp.iter().flat_map(|esp| ["--esp", esp.as_str()]))
        .args(state.iter().flat_map(|path| [OsStr::new("--state"), path.as_os_str()]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: Ctrl-C in the terminal is for the parent, which ends its children.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let stdin = Arc::new(tokio::sync::Mutex::new(child.stdin.take()));
    let (kill, killed) = oneshot::channel();
    let name = config.name.clone();
    let logs = Arc::clone(&told.logs);
    let task = tokio::spawn(watch(name.clone(), child, told, killed));
    Ok(Node { name, stdin, logs, kill: Some(kill), task })
}

/// Reads what a child writes until it ends.
async fn watch(name: String, mut child: Child, mut told: Told, mut killed: oneshot::Receiver<()>) {
    let (words, logs) = (Words::default(), Arc::clone(&told.logs));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = async {
        let traces = async {
            if let Some(stdout) = stdout {
                read_told(stdout, &mut told).await;
            }
        };
        let errors = async {
            if let Some(stderr) = stderr {
                read_words(stderr, &words, (&name, &logs)).await;
            }
        };
        tokio::join!(traces, errors);
        child.wait().await
    };
    let status = tokio::select! {
        status = reading => Some(status),
        // Without a sender the owner has gone.
        _ = &mut killed => None,
    };
    let Some(Ok(status)) = status else {
        let _ = child.kill().await;
        return;
    };
    let last_words = words
        .lock()
        .map(|words| words.iter().map(|line| format!("  {line}\n")).collect::<String>())
        .unwrap_or_default();
    let Told { events, ready, .. } = told;
    match ready {
        Some(ready) => {
            let _ = ready.send(Err((status.to_string(), last_words)));
        }
        None => {
            let _ = events.send(NodeEvent::Died { name, status, last_words }).await;
        }
    }
}

async fn read_told(stdout: impl AsyncRead + Unpin, told: &mut Told) {
    let mut lines = BufReader::with_capacity(64 * 1024, stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(event) = from_json(&line) {
            // A reader that has gone away still lets the child run until it is stopped.
            let _ = told.events.send(NodeEvent::Trace(event)).await;
        } else if let Some((number, answer)) = read_answer(&line) {
            told.waiting.answered(number, answer);
        } else if line.starts_with("ready ")
            && let Some(ready) = told.ready.take()
        {
            let _ = ready.send(Ok(()));
        }
    }
}

/// Keeps the last lines; shows them where the node was told to log.
async fn read_words(stderr: impl AsyncRead + Unpin, words: &Words, (name, logs): (&str, &Logs)) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if logs.load(Ordering::Relaxed) {
            term::log(&format!("{name}: {line}\n"));
        }
        if let Ok(mut words) = words.lock() {
            if words.len() == LAST_WORDS_MAX {
                words.pop_front();
            }
            words.push_back(line);
        }
    }
}
