//! The pipe on which a node process tells its parent what it does: trace events as JSON lines on
//! standard output, written by a thread of its own so that a slow reader never stops a node.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::{Sink, json};
use crate::time::Duration;
use crate::trace::{TraceEvent, TraceKind};

/// Bytes of events that may wait for the reader; more events are lost and counted.
const WAITING_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What an event weighs besides its message.
const EVENT_BYTES: usize = 256;
/// How long the end may take.
const FLUSH_FOR: Duration = Duration::from_millis(500);

/// What waits to be written.
#[derive(Debug)]
enum Item {
    Event(TraceEvent),
    /// A line that is no event; it is not lost.
    Line(String),
}

/// Writes lines between the events.
#[derive(Clone, Debug)]
pub struct Lines(Sender<Item>);

impl Lines {
    /// Writes a line.
    pub fn line(&self, text: String) {
        // When nobody reads any more there is nobody to tell.
        let _ = self.0.send(Item::Line(text));
    }
}

/// The writing end.
#[derive(Debug)]
pub struct TracePipe {
    events: Sender<Item>,
    waiting_bytes: Arc<AtomicUsize>,
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
        Self::to(io::stdout())
    }

    /// Starts writing. Standard output is not locked for good: others of this process say something
    /// there too.
    fn to(out: impl io::Write + Send + 'static) -> io::Result<Self> {
        let (events, waiting) = channel();
        let (finished, done) = channel();
        let waiting_bytes = Arc::<AtomicUsize>::default();
        let written = Arc::clone(&waiting_bytes);
        std::thread::Builder::new().name("trace".to_owned()).spawn(move || {
            // When nobody reads any more there is nobody to tell.
            let _ = write(out, &waiting, &written);
            let _ = finished.send(());
        })?;
        Ok(Self { events, waiting_bytes, done, lost: Rc::default() })
    }

    /// A sink for [`super::Host::new`].
    #[must_use]
    pub fn sink(&self) -> Sink {
        let (events, lost) = (self.events.clone(), Rc::clone(&self.lost));
        let waiting_bytes = Arc::clone(&self.waiting_bytes);
        Rc::new(move |event| {
            let weight = weight(&event);
            let before = waiting_bytes.fetch_add(weight, Ordering::Relaxed);
            if before > WAITING_BYTES_MAX || events.send(Item::Event(event)).is_err() {
                waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
                lost.set(lost.get() + 1);
            }
        })
    }

    /// A way to write lines that are no events. It must be gone before [`TracePipe::finish`].
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines(self.events.clone())
    }

    /// Writes what waits, if the reader takes it within half a second, and returns how many events
    /// were lost. All sinks must be gone.
    #[must_use]
    pub fn finish(self) -> u64 {
        drop(self.events);
        // Whether the reader took it all or not, the program ends now.
        let _ = self.done.recv_timeout(FLUSH_FOR);
        self.lost.get()
    }
}

fn weight(event: &TraceEvent) -> usize {
    EVENT_BYTES
        + match &event.kind {
            TraceKind::Fault { wire, .. } | TraceKind::Received(wire) | TraceKind::Sent(wire) => {
                wire.bytes.len()
            }
            TraceKind::Dropped { reason: text, .. } | TraceKind::State(text) => text.len(),
            TraceKind::Note(note) => note.text.len(),
        }
}

fn write(
    out: impl io::Write,
    waiting: &Receiver<Item>,
    waiting_bytes: &AtomicUsize,
) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(64 * 1024, out);
    while let Ok(first) = waiting.recv() {
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Item::Event(event) => {
                    writeln!(out, "{}", json::to_json(&event))?;
                    waiting_bytes.fetch_sub(weight(&event), Ordering::Relaxed);
                }
                Item::Line(text) => writeln!(out, "{text}")?,
            }
            next = waiting.try_recv().ok();
        }
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    /// A reader that takes nothing until it is let.
    struct Slow(Receiver<()>);

    impl io::Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn events_beyond_the_bound_are_lost_and_counted_and_nobody_waits() {
        let (let_go, held) = channel();
        let pipe = TracePipe::to(Slow(held)).expect("thread");
        let sink = pipe.sink();
        let text = "x".repeat(1024 * 1024);
        for _ in 0..20 {
            let kind = TraceKind::State(text.clone());
            sink(TraceEvent { at: Instant::EPOCH, node: "p1".into(), kind });
        }
        drop((sink, let_go));
        let lost = pipe.finish();
        // 2 MiB wait, and what the writer holds.
        assert!((16..=18).contains(&lost), "{lost}");
    }
}
