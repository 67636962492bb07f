//! ESP of Gm in user space (RFC 4303, transport mode; TS 33.203 §7, Annex I): packets under
//! security associations in and out, UDP and TCP inside, without a socket and without a clock.
//! Whoever carries packets (a raw socket, UDP datagrams as RFC 3948 frames them, the simulated
//! network) hands in what came and puts on the wire what [`Endpoint::poll_event`] gives.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::{Flow, Packet};

mod associations;
mod endpoint;
pub mod framing;
mod inside;
mod suite;
mod tcp;
mod window;
pub mod wireshark;

pub use endpoint::Endpoint;

/// Why a packet was dropped; every one is counted and noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropCause {
    /// No association of ours has its SPI (RFC 4303 §3.4.2).
    UnknownSpi,
    /// The integrity check value is wrong (RFC 4303 §3.4.4).
    BadIcv,
    /// Its sequence number was here before or is left of the window (RFC 4303 §3.4.3).
    Replayed,
    /// What it protects is not between the ports of its association (TS 33.203 §7.1).
    WrongPort,
    /// It comes from, or is for, another address than its association's (TS 33.203 §7.1).
    WrongAddress,
    /// The association has outlived its time.
    Expired,
    /// Clear text at a protected port (TS 33.203 §7.1).
    ClearText,
    /// Too short, wrongly padded, or no UDP or TCP inside.
    Malformed,
    /// A bound of this endpoint is reached.
    Full,
}

impl DropCause {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::UnknownSpi,
        Self::BadIcv,
        Self::Replayed,
        Self::WrongPort,
        Self::WrongAddress,
        Self::Expired,
        Self::ClearText,
        Self::Malformed,
        Self::Full,
    ];

    /// What happened, in words: `integrity check value wrong`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSpi => "no association",
            Self::BadIcv => "integrity check value wrong",
            Self::Replayed => "replayed or too old",
            Self::WrongPort => "wrong port",
            Self::WrongAddress => "wrong address",
            Self::Expired => "association expired",
            Self::ClearText => "clear text",
            Self::Malformed => "malformed",
            Self::Full => "no room",
        }
    }
}

impl std::fmt::Display for DropCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an endpoint may take from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspLimits {
    /// TCP connections inside associations, both directions, those that are ending among them. One
    /// set has never more than two, for its ports leave room for one each way.
    pub connections_max: usize,
    /// Bytes that wait to be sent on one connection; then it is reset.
    pub write_queue_bytes_max: usize,
    /// The most bytes of an IP packet on the wire, for the segment size of TCP inside.
    pub path_mtu: usize,
}

impl Default for EspLimits {
    fn default() -> Self {
        Self { connections_max: 4_096, write_queue_bytes_max: 256 * 1024, path_mtu: 1_280 }
    }
}

/// A connection inside associations as the endpoint numbers it; whoever carries packets knows it by
/// a [`ConnId`](super::ConnId).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What an endpoint gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EspEvent {
    /// Put this ESP packet (SPI to ICV, without IP header) on the wire between these addresses.
    Transmit {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
        /// The packet.
        bytes: Bytes,
    },
    /// A datagram came under an association; its flow names the set.
    Datagram(Packet),
    /// A peer opened a connection under an association. Its flow has no
    /// [`ConnId`](super::ConnId) yet.
    Accepted {
        /// The connection.
        stream: StreamId,
        /// Where it leads.
        flow: Flow,
    },
    /// A connection that we asked for is up.
    Connected(StreamId),
    /// Bytes of a connection.
    Bytes {
        /// Which connection.
        stream: StreamId,
        /// The bytes.
        bytes: Bytes,
    },
    /// A connection ended, or could not be opened. One that the caller closed is not told of.
    Closed {
        /// Which connection.
        stream: StreamId,
        /// Why, for the trace.
        cause: String,
    },
    /// A packet was dropped.
    Dropped {
        /// Who sent it, with the port inside where it could be read (0 otherwise).
        remote: SocketAddr,
        /// Why.
        cause: DropCause,
        /// The values, for the trace: `SPI 1001, sequence number 7`.
        detail: String,
    },
}
