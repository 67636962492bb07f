//! A file for what outlives a node: read when the node starts, written while it runs and when it
//! ends. The node tells its state as text ([`Node::kept`]); here it becomes a file, whole or not at
//! all: it is written beside, flushed to the disk, and takes the place of the old one.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;

use super::task::{Event, NodeTask};
use crate::clause::own;
use crate::engine::Node;
use crate::time::{Duration, Instant};
use crate::trace::{Note, TraceEvent, TraceKind};

/// At least so much time lies between two writings.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// And so many times as long as the last writing took, so that a large state does not stop a node.
const PAUSE_TIMES: u32 = 10;

/// The file. Nobody else can have it for state while this lives.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// What stands at the path, locked.
    _held: Option<File>,
}

impl StateFile {
    /// Lets a node go on where the file says another one was; without a file the node begins anew.
    /// Then writes the file, so that it is known from the start that it can be.
    ///
    /// # Errors
    ///
    /// The file is no state of such a node, damaged, in use, or cannot be read or written: with its
    /// name, line and column. It is left as it is then.
    pub fn resume<N: Node + ?Sized>(
        path: &Path,
        node: &mut N,
        now: Instant,
    ) -> Result<Self, String> {
        let shown = path.display();
        let mut file = Self { path: path.to_owned(), _held: None };
        match File::open(path) {
            Ok(found) => {
                lock(&found).map_err(|fault| format!("the state file {shown} {fault}"))?;
                let text = io::read_to_string(&found)
                    .map_err(|fault| format!("the state file {shown} cannot be read: {fault}"))?;
                node.restore(now, &text).map_err(|fault| {
                    let (line, column) = (fault.line, fault.column);
                    format!(
                        "the state file cannot be taken\n  --> {shown}:{line}:{column}: {}\n\
                         It is left as it is. To begin anew, move it away.",
                        fault.text
                    )
                })?;
                // Locked until the new one stands there.
                file._held = Some(found);
            }
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => {
                return Err(format!("the state file {shown} cannot be read: {fault}"));
            }
        }
        file.write(&node.kept())
            .map_err(|fault| format!("the state file {shown} cannot be written: {fault}"))?;
        Ok(file)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let mut new = File::create(&beside)?;
        lock(&new).map_err(io::Error::other)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        self._held = Some(new);
        // The new name must be on the disk as well.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

fn lock(file: &File) -> Result<(), String> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err("is in use by another node".to_owned()),
        Err(TryLockError::Error(fault)) => Err(format!("cannot be locked: {fault}")),
    }
}

/// When the state of a running node is written.
pub(super) struct Keeper {
    file: Arc<Mutex<StateFile>>,
    /// Not before.
    next_at: Instant,
    /// Since when it is being written.
    writing_since: Option<Instant>,
    /// The last time it could not be; this is told once.
    failed: bool,
}

impl Keeper {
    pub(super) fn new(file: StateFile) -> Self {
        let file = Arc::new(Mutex::new(file));
        Self { file, next_at: Instant::EPOCH, writing_since: None, failed: false }
    }
}

fn write(file: &Mutex<StateFile>, text: &str) -> io::Result<()> {
    file.lock().unwrap_or_else(PoisonError::into_inner).write(text)
}

impl<N: Node> NodeTask<N> {
    /// When the next writing is due.
    pub(super) fn keep_at(&self) -> Option<Instant> {
        let keeper = self.keeper.as_ref()?;
        let has_news = self.node.is_unkept() || keeper.failed;
        (has_news && keeper.writing_since.is_none()).then_some(keeper.next_at)
    }

    /// Has the state written by another thread, if it is due.
    pub(super) fn keep_turn(&mut self) {
        let now = self.with.clock.now();
        if self.keep_at().is_none_or(|at| at > now) {
            return;
        }
        let text = self.node.kept();
        let Some(keeper) = &mut self.keeper else { return };
        keeper.writing_since = Some(now);
        let (file, events) = (Arc::clone(&keeper.file), self.events_in.clone());
        self.tasks.spawn_local(async move {
            let written = spawn_blocking(move || write(&file, &text)).await;
            let _ = events.send(Event::Kept(written.unwrap_or(Ok(())))).await;
        });
    }

    /// The state was written, or not.
    pub(super) fn kept(&mut self, result: io::Result<()>) {
        let now = self.with.clock.now();
        let Some(keeper) = &mut self.keeper else { return };
        let took = keeper.writing_since.take().map_or(Duration::ZERO, |since| now.since(since));
        keeper.next_at = now + PAUSE_MIN.max(took.saturating_mul(PAUSE_TIMES));
        let told = keeper.failed;
        keeper.failed = result.is_err();
        if let (Err(fault), false) = (result, told) {
            self.tell_unkept(&format!("{fault}; it is tried again"));
        }
    }

    /// Writes the state for the last time.
    pub(super) fn keep_last(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        let file = Arc::clone(&keeper.file);
        if (self.node.is_unkept() || keeper.failed)
            && let Err(fault) = write(&file, &self.node.kept())
        {
            self.tell_unkept(&format!("{fault}; what happened since is lost"));
        }
    }

    fn tell_unkept(&self, fault: &str) {
        let text = format!("the state cannot be written: {fault}");
        let kind = TraceKind::Note(Note::new(own("state"), text, true));
        let (at, node) = (self.with.clock.now(), self.node.name().into());
        (self.with.sink)(TraceEvent { at, node, kind });
    }
}
