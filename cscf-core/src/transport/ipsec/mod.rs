//! Security associations of Gm as values (TS 33.203 §7.1): what two ends agree on, which packets an
//! association is for, and the orders to whoever carries packets. No packet is touched here.
//!
//! Two ends hold one [`SaSet`] each, every one seen from its own side: four associations, two in
//! and two out, between the client port of one end and the server port of the other.

mod algorithms;
mod negotiation;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use algorithms::{Algorithms, Encryption, EspKeys, Integrity};
pub use negotiation::{Offer, OfferError, difference, offers, preferred};

use super::{Flow, SaId, Transport};
use crate::time::Duration;

/// The lifetime of an association below SIP: the longest there is, for SIP ends it before
/// (TS 33.203 §7.1).
pub const IPSEC_LIFETIME: Duration = Duration::from_secs(u32::MAX as u64);

/// SPIs from here upwards are free to use (RFC 4303 §2.1).
pub const SPI_MIN: u32 = 256;

/// How packets are wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Transport mode: `trans`.
    #[default]
    Transport,
    /// Tunnel mode inside UDP, for UEs behind a translation: `UDP-enc-tun` (TS 33.203 Annex M).
    UdpEncapsulatedTunnel,
}

impl Mode {
    /// Its name in the headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transport => "trans",
            Self::UdpEncapsulatedTunnel => "UDP-enc-tun",
        }
    }

    /// The mode of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Transport, Self::UdpEncapsulatedTunnel]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(name))
    }
}

/// The protected ports of one end and the SPIs of what comes in there: what `port-c`, `port-s`,
/// `spi-c` and `spi-s` say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// The protected client port.
    pub client: u16,
    /// The protected server port.
    pub server: u16,
    /// The SPI of what comes in at the client port.
    pub spi_client: u32,
    /// The SPI of what comes in at the server port.
    pub spi_server: u32,
}

/// One end of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// Its address.
    pub addr: IpAddr,
    /// Its ports and SPIs.
    pub ports: Ports,
}

impl End {
    /// Its protected client port with its address.
    #[must_use]
    pub const fn client(&self) -> SocketAddr {
        SocketAddr::new(self.addr, self.ports.client)
    }

    /// Its protected server port with its address.
    #[must_use]
    pub const fn server(&self) -> SocketAddr {
        SocketAddr::new(self.addr, self.ports.server)
    }
}

/// Four unidirectional security associations between a UE and a P-CSCF, shared by UDP and TCP, with
/// anti-replay (TS 33.203 §7.1), seen from one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaSet {
    /// The number the owner gave it; flows name it.
    pub id: SaId,
    /// Our end.
    pub local: End,
    /// The peer's end.
    pub remote: End,
    /// How packets are protected.
    pub algorithms: Algorithms,
    /// How packets are wrapped.
    pub mode: Mode,
    /// The keys.
    pub keys: EspKeys,
    /// How long the associations last at most, counted from their installation.
    pub lifetime: Duration,
}

/// The packets an association is for: addresses and ports as its receiver sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selectors {
    /// The receiver's address and port.
    pub local: SocketAddr,
    /// The sender's address and port.
    pub remote: SocketAddr,
}

impl SaSet {
    /// Where datagrams go: from our client port to the peer's server port, requests and responses
    /// alike (TS 33.203 §7.1).
    #[must_use]
    pub const fn datagram_flow(&self) -> Flow {
        self.flow(Transport::Udp)
    }

    /// Where a connection of ours goes: from our client port to the peer's server port
    /// (TS 33.203 §7.1).
    #[must_use]
    pub const fn stream_flow(&self) -> Flow {
        self.flow(Transport::Tcp)
    }

    const fn flow(&self, transport: Transport) -> Flow {
        let (local, remote) = (self.local.client(), self.remote.server());
        Flow { transport, local, remote, conn: None, sa: Some(self.id) }
    }

    /// The SPI of the association that carries packets from one of our ports to one of the peer's,
    /// if there is one.
    #[must_use]
    pub fn outbound_spi(&self, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
        let ports = self.remote.ports;
        if (local, remote) == (self.local.client(), self.remote.server()) {
            Some(ports.spi_server)
        } else if (local, remote) == (self.local.server(), self.remote.client()) {
            Some(ports.spi_client)
        } else {
            None
        }
    }

    /// What the inbound association with this SPI is for, if it is one of this set.
    #[must_use]
    pub fn inbound(&self, spi: u32) -> Option<Selectors> {
        let ports = self.local.ports;
        if spi == ports.spi_server {
            Some(Selectors { local: self.local.server(), remote: self.remote.client() })
        } else if spi == ports.spi_client {
            Some(Selectors { local: self.local.client(), remote: self.remote.server() })
        } else {
            None
        }
    }

    /// Whether an address and port is one of our protected ones.
    #[must_use]
    pub fn protects(&self, local: SocketAddr) -> bool {
        local == self.local.client() || local == self.local.server()
    }

    /// The same associations as the peer sees them, under its own number.
    #[must_use]
    pub fn seen_by_peer(&self, id: SaId) -> Self {
        Self { id, local: self.remote, remote: self.local, ..self.clone() }
    }
}

impl fmt::Display for SaSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, theirs) = (self.local.ports, self.remote.ports);
        write!(
            f,
            "set {}, {} {}: {}|{} with {}|{}, SPIs {}|{} in, {}|{} out",
            self.id.0,
            self.algorithms,
            self.mode.as_str(),
            self.local.client(),
            ours.server,
            self.remote.client(),
            theirs.server,
            ours.spi_client,
            ours.spi_server,
            theirs.spi_client,
            theirs.spi_server,
        )
    }
}

/// An order to whoever carries packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaCommand {
    /// These associations hold from now on.
    Install(Box<SaSet>),
    /// These no longer do: packets under them are dropped, connections under them end.
    Remove(SaId),
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn set() -> SaSet {
        let end = |addr: &str, client, server, spi| End {
            addr: addr.parse().expect("address"),
            ports: Ports { client, server, spi_client: spi, spi_server: spi + 1 },
        };
        let algorithms = Algorithms::named("hmac-sha-1-96", "null").expect("go together");
        SaSet {
            id: SaId(7),
            local: end("10.0.0.10", 41_001, 41_002, 2_001),
            remote: end("10.0.0.1", 40_001, 40_002, 1_001),
            algorithms,
            mode: Mode::Transport,
            keys: EspKeys::expand(algorithms, &[1; 16], &[2; 16]),
            lifetime: IPSEC_LIFETIME,
        }
    }

    #[test]
    fn each_port_pair_has_its_association_each_way() {
        let (p, ue) = (set(), set().seen_by_peer(SaId(1)));
        let request = ue.datagram_flow();
        let spi = ue.outbound_spi(request.local, request.remote).expect("an association");
        let selectors = p.inbound(spi).expect("the same one");
        assert_eq!((spi, selectors.local.port(), selectors.remote.port()), (2_002, 41_002, 40_001));
        // A response on a connection goes back on the other association of the pair.
        let spi = p.outbound_spi(selectors.local, selectors.remote).expect("an association");
        assert_eq!(spi, 1_001);
        let selectors = ue.inbound(spi).expect("the same one");
        assert_eq!((selectors.local, selectors.remote), (request.local, request.remote));
        let flow = p.stream_flow();
        assert_eq!((flow.local.port(), flow.remote.port()), (41_001, 40_002));
        assert_eq!(p.outbound_spi(flow.local, selectors.local), None, "client to client");
    }
}
