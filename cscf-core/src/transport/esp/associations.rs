//! One set of associations at work: sequence numbers out, windows in, and the checks of what comes
//! (RFC 4303 §3.3, §3.4; TS 33.203 §7.1).

use std::net::{IpAddr, SocketAddr};

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};

use super::super::ipsec::{Mode, SaSet};
use super::DropCause;
use super::suite::{Fault, Header, Opened, Overhead, Suite};
use super::window::Window;
use crate::ids::Seed;
use crate::time::Instant;

/// The most octets of an ESP packet: with the headers of IPv4 and UDP (RFC 3948) it still fits into
/// an IP packet.
const PACKET_MAX: usize = 65_507;

/// A packet that is dropped: why, the port inside where it could be read, and the values.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) cause: DropCause,
    pub(super) port: u16,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) const fn new(cause: DropCause, detail: String) -> Self {
        Self { cause, port: 0, detail }
    }
}

/// Initialization vectors that nobody can foretell who does not know the seed (NIST SP 800-38A
/// Appendix C): the encrypted count of packets.
pub(super) struct Vectors {
    key: Aes128,
    count: u64,
}

impl std::fmt::Debug for Vectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vectors({})", self.count)
    }
}

impl Vectors {
    pub(super) fn new(seed: &Seed) -> Self {
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(seed.0) {
            *to = from;
        }
        Self { key: Aes128::new(&key.into()), count: 0 }
    }

    fn next(&mut self) -> [u8; 16] {
        self.count += 1;
        let mut block = u128::from(self.count).to_be_bytes().into();
        self.key.encrypt_block(&mut block);
        block.into()
    }
}

/// Which two ports an association is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    /// Our client port and the peer's server port.
    OurClient,
    /// Our server port and the peer's client port.
    OurServer,
}

impl Pair {
    /// Both.
    pub(super) const BOTH: [Self; 2] = [Self::OurClient, Self::OurServer];

    /// Our address and the peer's.
    pub(super) const fn addrs(self, set: &SaSet) -> (SocketAddr, SocketAddr) {
        match self {
            Self::OurClient => (set.local.client(), set.remote.server()),
            Self::OurServer => (set.local.server(), set.remote.client()),
        }
    }

    /// The pair of these addresses, if they are one.
    pub(super) fn between(set: &SaSet, local: SocketAddr, remote: SocketAddr) -> Option<Self> {
        Self::BOTH.into_iter().find(|pair| pair.addrs(set) == (local, remote))
    }
}

/// Both associations between two ports.
#[derive(Clone, Copy, Debug, Default)]
struct Between {
    sent: u32,
    window: Window,
}

/// A set of associations at work.
#[derive(Debug)]
pub(super) struct Associations {
    pub(super) set: SaSet,
    pub(super) until: Instant,
    suite: Suite,
    client: Between,
    server: Between,
}

impl Associations {
    /// Makes the key schedules.
    ///
    /// # Errors
    ///
    /// Why packets of this set cannot be made here.
    pub(super) fn new(now: Instant, set: &SaSet) -> Result<Self, &'static str> {
        if set.mode != Mode::Transport {
            return Err("its mode is UDP-enc-tun; here is transport mode only");
        }
        if set.local.addr.is_ipv4() != set.remote.addr.is_ipv4() {
            return Err("its addresses are of two families");
        }
        let suite = Suite::new(set.algorithms, &set.keys);
        let suite = suite.ok_or("its keys have not the length of its algorithms")?;
        let (client, server) = Default::default();
        Ok(Self { until: now + set.lifetime, set: set.clone(), suite, client, server })
    }

    /// Takes what is said of the same associations anew: their sequence numbers and windows stay,
    /// for a number must not be used twice under a key. False if they are others.
    pub(super) fn renew(&mut self, now: Instant, set: &SaSet) -> bool {
        let same = SaSet { lifetime: set.lifetime, ..self.set.clone() } == *set;
        if same {
            self.until = now + set.lifetime;
            self.set.lifetime = set.lifetime;
        }
        same
    }

    const fn between(&mut self, pair: Pair) -> &mut Between {
        match pair {
            Pair::OurClient => &mut self.client,
            Pair::OurServer => &mut self.server,
        }
    }

    /// What a packet has beyond its payload.
    pub(super) fn overhead(&self) -> Overhead {
        self.suite.overhead()
    }

    /// Makes an ESP packet out of room for [`Overhead::prefix`] and the payload behind it.
    pub(super) fn seal(
        &mut self,
        now: Instant,
        (pair, next_header): (Pair, u8),
        packet: Vec<u8>,
        vectors: &mut Vectors,
    ) -> Result<Vec<u8>, String> {
        let id = self.set.id.0;
        if now > self.until {
            return Err(format!("association set {id} has expired"));
        }
        let spi = match pair {
            Pair::OurClient => self.set.remote.ports.spi_server,
            Pair::OurServer => self.set.remote.ports.spi_client,
        };
        let between = self.between(pair);
        let Some(sequence) = between.sent.checked_add(1) else {
            return Err(format!("the sequence numbers of SPI {spi} are used up"));
        };
        between.sent = sequence;
        let iv = if self.suite.wants_random_iv() {
            vectors.next()
        } else {
            // Unique under the key that all four associations share, at both ends: their SPIs
            // differ (TS 33.203 §7.1), and no number is used twice (RFC 4106 §3.1).
            u128::to_be_bytes((u128::from(spi) << 32 | u128::from(sequence)) << 64)
        };
        let sealed = self.suite.seal(Header { spi, sequence }, &iv, next_header, packet);
        sealed
            .filter(|it| it.len() <= PACKET_MAX)
            .ok_or_else(|| format!("too long for an ESP packet of {PACKET_MAX} octets"))
    }

    /// Checks a packet that names one of our SPIs, as far as what is inside: time, sequence number,
    /// integrity, addresses (RFC 4303 §3.4). The window moves only for what is genuine.
    pub(super) fn open(
        &mut self,
        now: Instant,
        (local, remote): (IpAddr, IpAddr),
        esp: (Header, &[u8]),
        room: usize,
    ) -> Result<(Opened, Pair), Refusal> {
        let (Header { spi, sequence }, packet) = esp;
        let refuse = |cause, detail: String| {
            Refusal::new(cause, format!("SPI {spi}, sequence number {sequence}{detail}"))
        };
        let ports = self.set.local.ports;
        let pair = match spi {
            _ if spi == ports.spi_server => Pair::OurServer,
            _ if spi == ports.spi_client => Pair::OurClient,
            _ => return Err(refuse(DropCause::UnknownSpi, String::new())),
        };
        if now > self.until {
            return Err(refuse(DropCause::Expired, format!(" of set {}", self.set.id.0)));
        }
        let window = self.between(pair).window;
        if !window.admits(sequence) {
            let newest = window.newest();
            return Err(refuse(DropCause::Replayed, format!(", newest {newest}")));
        }
        let opened = match self.suite.open(packet, room) {
            Err(Fault::Length) => {
                let (length, algorithms) = (packet.len(), self.set.algorithms);
                let detail = format!(": {length} octets are no packet of {algorithms}");
                return Err(refuse(DropCause::Malformed, detail));
            }
            Err(Fault::Icv) => {
                return Err(refuse(DropCause::BadIcv, format!(" by {}", self.set.algorithms)));
            }
            Err(Fault::Padding) => None,
            Ok(opened) => Some(opened),
        };
        let (here, peer) = (self.set.local.addr, self.set.remote.addr);
        if (local, remote) != (here, peer) {
            let detail = format!(": for {peer} to {here}, not {remote} to {local}");
            return Err(refuse(DropCause::WrongAddress, detail));
        }
        self.between(pair).window.note(sequence);
        let opened = opened.ok_or_else(|| {
            refuse(DropCause::Malformed, ": its padding is not 1, 2, 3 …".to_owned())
        })?;
        Ok((opened, pair))
    }

    /// As if so many packets had been sent.
    #[cfg(test)]
    pub(super) const fn skip_to(&mut self, pair: Pair, sent: u32) {
        self.between(pair).sent = sent;
    }
}
