//! What a node tells about itself: one stream, from which ladder, pcapng, log, verdicts and the
//! answer to "why?" are made.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::clause::Clause;
use crate::time::Instant;
use crate::transport::Transport;

/// One event in the life of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// When it happened.
    pub at: Instant,
    /// The node it happened at, e.g. `p1`, `alice`.
    pub node: Arc<str>,
    /// What happened.
    pub kind: TraceKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceKind {
    /// A message came in, whole (streams: after framing).
    Received(Wire),
    /// A message left, whole.
    Sent(Wire),
    /// A role, the engine or the HSS decided something.
    Note(Note),
    /// Something that came in was not acted on.
    Dropped {
        /// Where it came from.
        remote: SocketAddr,
        /// Why, e.g. `start line is not SIP`.
        reason: String,
    },
    /// A party reached a state a scenario can wait for, e.g. `registered`, `call bob established`.
    State(String),
    /// The network of the simulation or a fault rule did something to a packet.
    Fault {
        /// What was done, e.g. `lost`, `duplicated`, `delayed 20ms`.
        action: String,
        /// The packet's addresses.
        wire: Wire,
    },
}

/// The protocol of a message on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Diameter (RFC 6733).
    Diameter,
    /// SIP (RFC 3261).
    Sip,
}

/// A message with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Which protocol it speaks.
    pub protocol: Protocol,
    /// How it travels.
    pub transport: Transport,
    /// The node's own address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The message.
    pub bytes: Bytes,
}

/// A decision and where it stands written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The clause it follows.
    pub clause: Clause,
    /// What was decided and from what fact, present tense.
    pub text: String,
    /// The decision refused something (a 3xx–6xx of our own, a packet dropped).
    pub refusal: bool,
}
