//! The trace as server-sent events: each reader has its own place in one bounded ring, so that a
//! slow one loses events, is told how many, and slows nobody.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::timeout;

use super::super::json;
use super::filter::TraceFilter;
use crate::time::Duration;
use crate::trace::{TraceEvent, TraceKind};

/// Events that the ring holds; a reader that is further behind loses the oldest.
const RING_EVENTS: usize = 1_024;
/// Pieces on their way to one reader.
const PIECES_MAX: usize = 16;
/// A reader hears at least so often, so that a dead one is noticed.
const SIGN_EVERY: Duration = Duration::from_secs(15);
/// A reader that takes nothing for so long is let go.
const STALLED_FOR: Duration = Duration::from_secs(60);

/// Where the events of a trace pass by. It may be cloned; without readers it costs nothing.
#[derive(Clone, Debug)]
pub struct Tap(broadcast::Sender<Arc<TraceEvent>>);

impl Default for Tap {
    fn default() -> Self {
        Self(broadcast::channel(RING_EVENTS).0)
    }
}

impl Tap {
    /// Takes an event to whoever reads. It never waits.
    pub fn event(&self, event: &TraceEvent) {
        if self.0.receiver_count() > 0 {
            let _ = self.0.send(Arc::new(event.clone()));
        }
    }

    /// Gives a reader the events that come from now on; `stalled` is told when it takes none.
    pub(super) fn read(&self, filter: TraceFilter, stalled: Arc<Notify>) -> Events {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let events = self.0.subscribe();
        tokio::spawn(async move {
            if feed(events, filter, &sender).await.is_err() {
                stalled.notify_one();
            }
        });
        Events { pieces, _turn: None }
    }
}

/// The reader takes nothing any more.
struct Stalled;

/// Hands events on until the reader or the trace ends.
async fn feed(
    mut events: broadcast::Receiver<Arc<TraceEvent>>,
    mut filter: TraceFilter,
    reader: &mpsc::Sender<Bytes>,
) -> Result<(), Stalled> {
    hand(reader, ": the trace from now on\n\n".to_owned()).await?;
    let mut number = 0_u64;
    loop {
        let next = tokio::select! {
            () = reader.closed() => return Ok(()),
            next = timeout(SIGN_EVERY, events.recv()) => next,
        };
        let piece = match next {
            Err(_) => ": nothing happens\n\n".to_owned(),
            Ok(Err(RecvError::Closed)) => return Ok(()),
            Ok(Err(RecvError::Lagged(lost))) => {
                format!("event: dropped\ndata: {{\"dropped\":{lost}}}\n\n")
            }
            Ok(Ok(event)) if filter.is_meant(&event) => {
                number += 1;
                let data = json::to_json(&event);
                format!("id: {number}\nevent: {}\ndata: {data}\n\n", word(&event.kind))
            }
            Ok(Ok(_)) => continue,
        };
        hand(reader, piece).await?;
    }
}

async fn hand(reader: &mpsc::Sender<Bytes>, piece: String) -> Result<(), Stalled> {
    match timeout(STALLED_FOR, reader.send(piece.into())).await {
        // A reader that has gone is no fault.
        Ok(_) => Ok(()),
        Err(_) => Err(Stalled),
    }
}

/// The kind of an event in a word, as in `kind` of its JSON.
const fn word(kind: &TraceKind) -> &'static str {
    match kind {
        TraceKind::Dropped { .. } => "not-taken",
        TraceKind::Fault { .. } => "fault",
        TraceKind::Note(_) => "note",
        TraceKind::Received(_) => "received",
        TraceKind::Sent(_) => "sent",
        TraceKind::State(_) => "state",
    }
}

/// The body of an answer that goes on as long as events come.
#[derive(Debug)]
pub(super) struct Events {
    pieces: mpsc::Receiver<Bytes>,
    /// Others wait for the place of this reader.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Events {
    pub(super) fn with_turn(self, turn: OwnedSemaphorePermit) -> Self {
        Self { _turn: Some(turn), ..self }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::time::Instant;

    fn event(number: u64) -> TraceEvent {
        let kind = TraceKind::State(format!("state {number}"));
        TraceEvent { at: Instant::from_millis(number), node: "p1".into(), kind }
    }

    async fn next(events: &mut Events) -> String {
        let frame = events.frame().await.expect("goes on").expect("no fault");
        String::from_utf8_lossy(&frame.into_data().expect("data")).into_owned()
    }

    #[test]
    fn a_reader_that_is_behind_is_told_what_it_lost() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("runtime").block_on(async {
            let tap = Tap::default();
            tap.event(&event(0));
            let mut events = tap.read(TraceFilter::all(), Arc::default());
            assert!(next(&mut events).await.starts_with(':'), "it reads from now on");
            let ring = u64::try_from(RING_EVENTS).expect("small");
            for number in 1..=ring + 5 {
                tap.event(&event(number));
            }
            assert_eq!(next(&mut events).await, "event: dropped\ndata: {\"dropped\":5}\n\n");
            let piece = next(&mut events).await;
            assert!(piece.starts_with("id: 1\nevent: state\ndata: {") && piece.contains("state 6"));
            drop(tap);
            let mut last = String::new();
            while let Some(frame) = events.frame().await {
                let data = frame.expect("no fault").into_data().expect("data");
                last = String::from_utf8_lossy(&data).into_owned();
            }
            assert!(last.contains(&format!("state {}", ring + 5)), "{last}");
        });
    }
}
