//! The pipe on which a node process tells its parent what it does: trace events as JSON lines on
//! standard output, written by a thread of its own so that a slow reader never stops a node.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use super::{Sink, json};
use crate::time::Duration;
use crate::trace::TraceEvent;

/// Events that may wait for the reader; more are lost and counted.
const EVENTS_MAX: usize = 50_000;
/// How long the end may take.
const FLUSH_FOR: Duration = Duration::from_millis(500);

/// The writing end.
#[derive(Debug)]
pub struct TracePipe {
    events: SyncSender<TraceEvent>,
    done: Receiver<()>,
    lost: Rc<Cell<u64>>,
}

impl TracePipe {
    /// Starts writing to standard output.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start() -> io::Result<Self> {
        let (events, waiting) = sync_channel(EVENTS_MAX);
        let (finished, done) = sync_channel(1);
        std::thread::Builder::new().name("trace".to_owned()).spawn(move || {
            // When nobody reads any more there is nobody to tell.
            let _ = write(&waiting);
            let _ = finished.send(());
        })?;
        Ok(Self { events, done, lost: Rc::default() })
    }

    /// A sink for [`super::Host::new`].
    #[must_use]
    pub fn sink(&self) -> Sink {
        let (events, lost) = (self.events.clone(), Rc::clone(&self.lost));
        Rc::new(move |event| {
            if events.try_send(event).is_err() {
                lost.set(lost.get() + 1);
            }
        })
    }

    /// Writes what waits, if the reader takes it within half a second, and returns how many events
    /// were lost. All sinks must be gone.
    #[must_use]
    pub fn finish(self) -> u64 {
        drop(self.events);
        match self.done.recv_timeout(FLUSH_FOR) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        self.lost.get()
    }
}

fn write(waiting: &Receiver<TraceEvent>) -> io::Result<()> {
    // Not locked for good: others of this process say something there too.
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout());
    while let Ok(event) = waiting.recv() {
        writeln!(out, "{}", json::to_json(&event))?;
        while let Ok(event) = waiting.try_recv() {
            writeln!(out, "{}", json::to_json(&event))?;
        }
        out.flush()?;
    }
    Ok(())
}
