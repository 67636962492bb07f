//! What goes into the transaction layer besides messages, and what comes out of it.

use bytes::Bytes;

use super::{ClientId, ServerId};
use crate::time::Duration;
use crate::transport::Flow;

/// How the layer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSettings {
    /// At most so many client transactions.
    pub clients_max: usize,
    /// At most so many server transactions.
    pub servers_max: usize,
    /// After which time of silence of the TU an INVITE is answered with 100: zero at a proxy,
    /// 200 ms at a UAS that takes its time, `None` if the TU always answers within 200 ms.
    pub trying_after: Option<Duration>,
    /// Whether merged requests are told from new ones, as a UAS needs it and a proxy must not
    /// (RFC 3261 §8.2.2.2).
    pub detect_merged: bool,
}

impl Default for LayerSettings {
    fn default() -> Self {
        Self {
            clients_max: 1_000_000,
            servers_max: 1_000_000,
            trying_after: Some(Duration::ZERO),
            detect_merged: false,
        }
    }
}

/// What the TU has a transaction for: a number of the TU's own, which comes with each event, so
/// that the TU need not search for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TuId(pub u64);

impl TuId {
    /// The TU has not said.
    pub const NONE: Self = Self(0);
}

/// Bytes for a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where they go.
    pub flow: Flow,
    /// The message.
    pub bytes: Bytes,
    /// The client transaction, if it is one's request, so that its failure can be told back with
    /// [`super::TransactionLayer::client_failed`].
    pub client: Option<ClientId>,
}

/// What the layer tells besides the direct answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client transaction is over; nothing comes of it any more.
    ClientEnded(ClientId, TuId),
    /// No final response came in time: to the TU a 408 (RFC 3261 §8.1.3.1).
    ClientTimedOut(ClientId, TuId),
    /// The request did not get through: to the TU a 503 (RFC 3261 §8.1.3.1, §16.9).
    ClientTransportFailed(ClientId, TuId),
    /// No ACK came for the final response to an INVITE (timer H).
    ServerNotAcknowledged(ServerId),
    /// The server transaction is over.
    ServerEnded(ServerId, TuId),
}

/// What calls leave behind, in order: first [`Outbox::transmits`], then [`Outbox::events`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    /// To be sent.
    pub transmits: Vec<Transmit>,
    /// To be told.
    pub events: Vec<Event>,
}

impl Outbox {
    /// Takes the memory of one whose content has been taken, unless something has come meanwhile.
    pub(crate) fn reuse(&mut self, taken: Self) {
        if self.transmits.is_empty() && (1..=REUSED_MAX).contains(&taken.transmits.capacity()) {
            self.transmits = taken.transmits;
        }
        if self.events.is_empty() && (1..=REUSED_MAX).contains(&taken.events.capacity()) {
            self.events = taken.events;
        }
    }
}

/// What has room for more was of a storm, and is not kept.
const REUSED_MAX: usize = 64;

/// Which INVITE a CANCEL is about (RFC 3261 §9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelTarget {
    /// An INVITE that has its final response: the CANCEL gets 200 and has no effect.
    Answered(ServerId),
    /// None: the CANCEL gets 481.
    None,
    /// An INVITE without a final response: the CANCEL gets 200, the INVITE usually 487.
    Pending(ServerId),
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Taken care of: a retransmission, or the ACK of a 3xx–6xx.
    Absorbed,
    /// The ACK of a 2xx that came with the branch of its INVITE; the TU's to see.
    Ack(ServerId),
    /// A CANCEL, which is a transaction of its own, and what it is about.
    Cancel(ServerId, CancelTarget),
    /// A new request, for which there is no room: answer 503 without a transaction.
    Full,
    /// Another copy of a request that is being handled: answer 482 (RFC 3261 §8.2.2.2). Only with
    /// [`LayerSettings::detect_merged`].
    Merged(ServerId),
    /// A new request; the TU's to see.
    New(ServerId),
    /// An ACK without a transaction, so that of a 2xx; the TU's to see.
    StrayAck,
}

/// What a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Taken care of.
    Absorbed,
    /// The TU's to see. For an INVITE each repeated 2xx comes again.
    Response(ClientId, TuId),
    /// A response without a transaction. Not to be forwarded (RFC 6026 §7.3, RFC 4320 §4.2).
    Stray,
}

/// Why no client transaction was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The branch is in use with this method. The culprit is us.
    #[error("branch is in use")]
    BranchInUse,
    /// There are too many client transactions.
    #[error("client transaction table is full")]
    Full,
    /// An ACK has no client transaction. The culprit is us.
    #[error("an ACK has no transaction")]
    IsAck,
    /// The request has no Via with a branch. The culprit is us.
    #[error("request has no branch")]
    NoBranch,
}

/// What became of the wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// No provisional response has come: the CANCEL goes out when one does (RFC 3261 §9.1).
    Held,
    /// The CANCEL went out. Its own responses are absorbed here.
    Sent,
    /// The INVITE has its final response, or is no INVITE, or there is no room.
    TooLate,
}
