//! Transactions (RFC 3261 §17 with RFC 6026 and RFC 4320): four machines, which know no socket and
//! no clock, and the layer that finds the machine for each message.
//!
//! Each state of a machine owns exactly the deadlines that may expire in it, so a timer cannot
//! outlive its state. The tables of `docs/transactions.md` are the machines' specification; the
//! tests execute them row by row.

mod client;
mod derived;
mod invite_client;
mod invite_server;
mod key;
mod layer;
mod server;
#[cfg(test)]
mod tables;
#[cfg(test)]
pub(crate) mod testing;
pub mod timers;

use bytes::Bytes;

pub use client::{Client, ClientState};
pub use derived::{ack_of_failure, cancel_of};
pub use invite_client::{InviteClient, InviteClientState};
pub use invite_server::{InviteServer, InviteServerState, Trying};
pub use key::{Key, KeyError, Keys};
pub use layer::{
    CancelTarget, Cancelled, ClientEvent, ClientId, Event, LayerSettings, Listed, Outbox,
    ServerEvent, ServerId, StartError, TransactionLayer, Transmit, TuId,
};
pub use server::{Server, ServerState};
pub use timers::{Reliability, Timers};

use crate::time::{Duration, Instant};

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The message just taken in is the TU's to see.
    PassUp,
    /// Bytes for the transaction's path.
    Send(Bytes),
    /// The TU must learn that no answer came (timers B and F), or no ACK (timer H).
    TimedOut,
    /// The TU must learn that the request did not get through (RFC 3261 §17.1.4).
    TransportFailed,
}

/// A response that a server transaction does not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// A final response was sent already; only further 2xx to an INVITE may follow.
    #[error("final response already sent")]
    AfterFinal,
    /// The transaction is over, or never was.
    #[error("no such transaction")]
    Gone,
    /// A 1xx other than 100 to a request other than INVITE (RFC 4320 §4.1).
    #[error("provisional response to a request other than INVITE")]
    Provisional,
    /// A 408 to a request other than INVITE (RFC 4320 §4.2).
    #[error("408 to a request other than INVITE")]
    Timeout,
    /// A 100 over UDP before the client's timer E has grown to T2 (RFC 4320 §4.1).
    #[error("100 to a request other than INVITE before timer E reached T2")]
    TooEarly,
}

/// When a message is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    /// When it is sent next.
    pub at: Instant,
    /// How long the wait was that ends at `at`.
    pub interval: Duration,
}

impl Resend {
    /// The first repetition after `interval`; none on a reliable transport.
    fn new(now: Instant, interval: Duration, on: Reliability) -> Option<Self> {
        (on == Reliability::Unreliable).then(|| Self { at: now + interval, interval })
    }

    /// Sends the message if its time has come, and waits `next(interval)` for the next time.
    fn fire(
        resend: &mut Option<Self>,
        bytes: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
        next: impl FnOnce(Duration) -> Duration,
    ) {
        if let Some(resend) = resend
            && resend.at <= now
        {
            out.push(Effect::Send(bytes.clone()));
            resend.interval = next(resend.interval);
            resend.at = now + resend.interval;
        }
    }
}

/// The earlier of a repetition and an end.
fn earlier(resend: Option<&Resend>, end: Option<Instant>) -> Option<Instant> {
    resend.map(|resend| resend.at).into_iter().chain(end).min()
}
