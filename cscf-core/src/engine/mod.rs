//! The engine: the only thing between bytes and a role. It does everything RFC 3261 asks of any
//! element, so that roles contain only what TS 24.229 asks of theirs.
//!
//! **Drain rule**: after each [`Node::handle_input`] or [`Node::handle_datagrams`] call
//! [`Node::poll_output`] until it returns `None`, then [`Node::poll_timeout`] once; nothing is sent
//! otherwise. `now` never decreases; an early [`Input::Timeout`] is harmless.

mod alive;
mod answered;
mod contexts;
mod core;
mod counts;
mod cx_node;
mod edge;
mod hss;
mod injected;
mod load;
mod lookup;
mod orders;
mod outgoing;
mod owner;
mod perform;
mod policy_node;
mod receive;
mod route;
mod security;
mod settings;
mod shard;
mod shards;
mod state;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;

use bytes::Bytes;

pub use self::core::{Engine, Sizes};
pub use cx_node::CxNode;
pub use edge::{FaultEdge, Rebuild};
pub use load::LoadLimit;
pub use owner::owner_of;
pub use policy_node::PolicyNode;
pub use settings::{Counters, EngineLimits, Listen, Settings, host_text};
pub use shard::{ShardEvent, connection_owner, question_owner};
pub use shards::Shards;

use crate::cx::{AskId, CxDemand, DemandId, DemandReply};
use crate::hss::{Provisioning, StateFault};
use crate::ids::ShardId;
use crate::operator::{Order, OrderError, OrderResult};
use crate::policy::PolicyEvent;
use crate::role::{Answer, Question};
use crate::time::Instant;
use crate::trace::TraceEvent;
use crate::transport::ipsec::SaCommand;
use crate::transport::{ConnId, Flow, Packet, SaId, Transport};

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// The outside answers a question.
    Answer(AskId, Answer),
    /// Bytes of a connection, in any portions.
    Bytes {
        /// Which connection.
        conn: ConnId,
        /// The bytes.
        bytes: Bytes,
        /// When they arrived.
        received_at: Instant,
    },
    /// A connection ended, or could not be opened.
    Closed {
        /// Which connection.
        conn: ConnId,
        /// Why, for the trace, e.g. `reset by peer`, `refused`.
        cause: String,
    },
    /// A datagram.
    Datagram(Packet),
    /// The host has refused something that came: it is counted and told.
    Dropped {
        /// Where it came from.
        remote: SocketAddr,
        /// Why, for the trace, e.g. `TLS: plain text on the TLS port`.
        reason: String,
    },
    /// The HSS demands something.
    Demand(DemandId, CxDemand),
    /// Security associations that the node wanted installed do not hold: nothing is protected by
    /// them, and the order to install them counts as if it had never been.
    NotSecured {
        /// Which set.
        set: SaId,
        /// Why, for people: what the kernel or the machine of ESP says.
        why: String,
    },
    /// A connection is up: one that we asked for, or one a peer opened.
    Opened(Flow),
    /// The policy function tells something.
    Policy(PolicyEvent),
    /// Another engine of the node hands something over.
    Shard(ShardEvent),
    /// The time [`Node::poll_timeout`] named has come.
    Timeout,
    /// A datagram to this address came back undelivered (ICMP).
    Unreachable {
        /// Our address.
        local: SocketAddr,
        /// The peer's address.
        remote: SocketAddr,
        /// Why, for the trace.
        cause: String,
    },
}

/// What a node wants.
#[derive(Clone, Debug)]
pub enum Output {
    /// A question to the outside.
    Ask(AskId, Question),
    /// End a connection.
    Close(ConnId),
    /// Open a connection.
    Connect {
        /// The number it shall have.
        conn: ConnId,
        /// The transport.
        transport: Transport,
        /// The address it is bound to, so that address and port name us to the peer.
        local: SocketAddr,
        /// The peer.
        remote: SocketAddr,
        /// The security associations that protect it.
        sa: Option<SaId>,
    },
    /// Send a datagram.
    Datagram(Packet),
    /// The answer to a demand of the HSS.
    DemandAnswer(DemandId, DemandReply),
    /// Install or remove security associations.
    Security(SaCommand),
    /// Hand something over to another engine of the node.
    Shard(ShardId, ShardEvent),
    /// Something to tell.
    Trace(TraceEvent),
    /// Write to a connection.
    Write {
        /// Which connection.
        conn: ConnId,
        /// The bytes.
        bytes: Bytes,
    },
}

/// Hands datagrams to a node one after the other: each is through before the next, but for what
/// the outside answers. Who reads the trace finds each decision behind its message then.
fn one_by_one(node: &mut (impl Node + ?Sized), now: Instant, packets: &mut Vec<Packet>) {
    for packet in packets.drain(..) {
        node.handle_input(now, Input::Datagram(packet));
    }
}

/// A node of the network: bytes and events in, bytes and events out, one deadline.
pub trait Node {
    /// Its name in traces.
    fn name(&self) -> &str;
    /// Takes one event.
    fn handle_input(&mut self, now: Instant, input: Input);
    /// Takes all these datagrams, in their order, and leaves none. What it wants is the same as if
    /// they came one after the other and faster than anybody outside answers: what was asked of the
    /// HSS or the policy function is asked behind the last of them, keep-alives are answered before
    /// the first is decided, and deadlines wait for all. A node that can do the same thing to each
    /// before the next thing spares the processor to fetch its code for each anew. By default none
    /// can.
    fn handle_datagrams(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        one_by_one(self, now, packets);
    }
    /// Gives one output; `None` when drained.
    fn poll_output(&mut self) -> Option<Output>;
    /// The next time the node wants [`Input::Timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// The node ends soon: it takes leave of peers that are to hear of it. The drain rule holds as
    /// after [`Node::handle_input`]. By default there are none.
    fn shut_down(&mut self, now: Instant) {
        let _ = now;
    }
    /// Whether what [`Node::kept`] tells may have changed since it was last asked. By default
    /// nothing outlives a node.
    fn is_unkept(&self) -> bool {
        false
    }
    /// What is to outlive the node, as text that [`Node::restore`] of its successor takes.
    fn kept(&mut self) -> String {
        String::new()
    }
    /// Goes on where another node was when it told `kept`; before any other input.
    ///
    /// # Errors
    ///
    /// What in the text is wrong, and where.
    fn restore(&mut self, now: Instant, kept: &str) -> Result<(), StateFault> {
        let _ = (now, kept);
        Err(StateFault { line: 1, column: 1, text: "this node keeps no state".to_owned() })
    }
    /// Obeys an order of the operator. The drain rule holds as after [`Node::handle_input`]. By
    /// default the node has no part in any.
    ///
    /// # Errors
    ///
    /// [`OrderError::NotHere`] when such an order is not for this node, else why it cannot be
    /// obeyed.
    fn order(&mut self, now: Instant, order: &Order) -> OrderResult {
        let _ = (now, order);
        Err(OrderError::NotHere)
    }
    /// Takes up, changes or lets go a subscription. The drain rule holds as after
    /// [`Node::handle_input`]. By default the node has none.
    ///
    /// # Errors
    ///
    /// As [`Node::order`].
    fn provision(&mut self, now: Instant, what: Provisioning) -> OrderResult {
        let _ = (now, what);
        Err(OrderError::NotHere)
    }
}
