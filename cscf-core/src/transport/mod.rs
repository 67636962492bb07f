//! Rules about transport, without a socket: flows, packets, where the next hop is.

pub mod dns;
pub mod esp;
pub mod ipsec;
pub mod locate;
pub mod size;
pub mod stun;
pub mod target;
pub mod via;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use bytes::Bytes;

use crate::time::{Duration, Instant};

/// A transport protocol as it stands in a Via (RFC 3261 §18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// UDP.
    Udp,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS (RFC 7118).
    Wss,
}

impl Transport {
    /// Whether the transport itself delivers, so that nothing is retransmitted (RFC 3261 §17).
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether TLS protects it.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The name in a Via header: `UDP`.
    #[must_use]
    pub const fn via_name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Udp => "UDP",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The name in a `transport` parameter: `udp`.
    #[must_use]
    pub const fn param_name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The name in the `transport` parameter of a URI: WebSocket has one, with TLS or without
    /// (RFC 7118 §5.2.3).
    #[must_use]
    pub const fn uri_name(self) -> &'static str {
        match self {
            Self::Wss => "ws",
            other => other.param_name(),
        }
    }

    /// Whether each message travels by itself and whole, so that nothing has to find its end:
    /// datagrams, and messages of a WebSocket.
    #[must_use]
    pub const fn keeps_messages(self) -> bool {
        matches!(self, Self::Udp | Self::Ws | Self::Wss)
    }

    /// The port a URI without one means (RFC 3261 §19.1.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Tls => 5061,
            Self::Wss => 443,
            Self::Ws => 80,
            Self::Tcp | Self::Udp => 5060,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.via_name())
    }
}

/// The text names no transport we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown transport {0}")]
pub struct UnknownTransport(pub String);

impl FromStr for Transport {
    type Err = UnknownTransport;
    fn from_str(text: &str) -> Result<Self, UnknownTransport> {
        // As nearly everybody writes the two that are nearly always meant.
        match text {
            "UDP" | "udp" => return Ok(Self::Udp),
            "TCP" | "tcp" => return Ok(Self::Tcp),
            _ => {}
        }
        [Self::Tcp, Self::Tls, Self::Udp, Self::Ws, Self::Wss]
            .into_iter()
            .find(|transport| transport.via_name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownTransport(text.to_owned()))
    }
}

/// A connection of a node. Connections that the engine opens and those that the host accepts are
/// numbered apart, so that both sides may give numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl ConnId {
    /// The `count`-th connection opened by the node itself.
    #[must_use]
    pub const fn opened(count: u64) -> Self {
        Self(count << 1 | 1)
    }

    /// The `count`-th connection accepted from a peer.
    #[must_use]
    pub const fn accepted(count: u64) -> Self {
        Self(count << 1)
    }
}

/// A set of security associations towards one UE (TS 33.203 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaId(pub u32);

/// Where a packet travels: both addresses, and the connection or security association if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The transport protocol.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection, on stream transports.
    pub conn: Option<ConnId>,
    /// The security association set, on protected Gm flows.
    pub sa: Option<SaId>,
}

impl Flow {
    /// Whether it is protected: by security associations, or by TLS.
    #[must_use]
    pub const fn is_protected(&self) -> bool {
        self.sa.is_some() || self.transport.is_secure()
    }

    /// Whether a message that came by this flow may belong to a transaction of another: what is
    /// under associations stays under those of one UE, which `one_peer` tells (TS 33.203 §7.1), and
    /// what is under TLS stays under TLS with one address, since a UE may have connected anew.
    /// Between flows that nothing protects there is nothing to keep.
    #[must_use]
    pub fn may_continue(&self, of: &Self, one_peer: impl FnOnce(SaId, SaId) -> bool) -> bool {
        match (of.sa, self.sa) {
            (Some(theirs), Some(its)) => theirs == its || one_peer(theirs, its),
            (None, None) if of.transport.is_secure() => {
                self.transport.is_secure() && self.remote.ip() == of.remote.ip()
            }
            (None, None) => true,
            _ => false,
        }
    }

    /// What protects it, in words.
    #[must_use]
    pub fn protection(&self) -> String {
        match self.sa {
            Some(sa) => format!("by set {}", sa.0),
            None if self.transport.is_secure() => format!("over TLS with {}", self.remote.ip()),
            None => "in clear text".to_owned(),
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.transport, self.local, self.remote)
    }
}

/// A datagram, or one framed message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it travels.
    pub flow: Flow,
    /// Its bytes.
    pub bytes: Bytes,
    /// When it arrived: a host tells the earliest time that it can have been (for waiting times;
    /// zero for packets that leave).
    pub received_at: Instant,
}

/// Something happened to a path, not to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowEvent {
    /// A keep-alive was answered, or something came by a watched flow that had been silent
    /// (RFC 5626 §4.4).
    Alive {
        /// Which one, as it was given.
        flow: Flow,
        /// Our address as the peer sees it, where STUN told it.
        mapped: Option<SocketAddr>,
    },
    /// A connection ended.
    Closed {
        /// Which one.
        flow: Flow,
        /// Why, for the trace.
        cause: String,
    },
    /// Keep-alives by datagram got no answer in time, or nothing came by a watched flow for too
    /// long. On a connection it is [`Self::Closed`] that tells so.
    Failed {
        /// Which one, as it was given.
        flow: Flow,
        /// Why, for the trace.
        cause: String,
    },
    /// The peer wants keep-alives on this flow, at least so often (RFC 6223 §4.3). Told before the
    /// response that asks for them.
    Keep {
        /// The path the response came by.
        flow: Flow,
        /// The longest time between two; zero where the peer names none.
        every: Duration,
    },
    /// Security associations that were to be installed do not hold: nothing comes or goes by them.
    NotSecured {
        /// Which set.
        set: SaId,
        /// Why, for people.
        cause: String,
    },
    /// A connection that we asked for is up, or a peer connected.
    Opened(Flow),
    /// A datagram could not be delivered (ICMP), or a connection was refused.
    Unreachable {
        /// The path that does not work.
        flow: Flow,
        /// Why, for the trace.
        cause: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_goes_on_by_the_protection_it_began_with() {
        let flow = |transport, remote: &str, sa: Option<u32>| Flow {
            transport,
            local: "10.0.0.10:5060".parse().expect("address"),
            remote: remote.parse().expect("address"),
            conn: None,
            sa: sa.map(SaId),
        };
        let clear = flow(Transport::Udp, "10.0.0.1:5060", None);
        let other = flow(Transport::Tcp, "10.0.0.2:7000", None);
        let tls = flow(Transport::Tls, "10.0.0.1:7000", None);
        let anew = flow(Transport::Wss, "10.0.0.1:7001", None);
        let stranger = flow(Transport::Tls, "10.0.0.2:7000", None);
        let set = |number| flow(Transport::Udp, "10.0.0.1:5060", Some(number));
        // Sets 1 and 2 are of one UE.
        let goes_on = |of: &Flow, by: &Flow| by.may_continue(of, |a, b| a.0 < 3 && b.0 < 3);
        for (of, by, expected) in [
            (clear, other, true),
            (clear, tls, true),
            (clear, set(1), false),
            (tls, anew, true),
            (tls, clear, false),
            (tls, stranger, false),
            (tls, set(1), false),
            (set(1), set(1), true),
            (set(1), set(2), true),
            (set(1), set(3), false),
            (set(3), set(3), true),
            (set(1), clear, false),
            (set(1), tls, false),
        ] {
            assert_eq!(goes_on(&of, &by), expected, "{} {}", of.protection(), by.protection());
        }
    }
}
