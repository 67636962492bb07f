//! UDP or TCP by size (RFC 3261 §18.1.1): what is known of path MTUs, and which targets refused
//! TCP.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::time::{Duration, Instant};

/// How long a target that refused TCP gets UDP without a new attempt (G-TRANS-010).
pub const TCP_REFUSED_FOR: Duration = Duration::from_secs(60);
/// The largest request sent over UDP when the path MTU is unknown, in bytes.
pub const UNKNOWN_MTU_SIZE_MAX: usize = 1300;
/// How far below a known path MTU a request over UDP must stay, in bytes.
pub const MTU_MARGIN: usize = 200;
/// The MTU of the loopback interface, in bytes.
pub const LOOPBACK_MTU: usize = 65_536;

/// What is known about the MTU of paths, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathMtu {
    /// Known for these peers, or known to be unknown (`None`).
    pub peers: BTreeMap<std::net::IpAddr, Option<usize>>,
    /// Known for all others except loopback; `None`: unknown.
    pub default: Option<usize>,
}

impl PathMtu {
    /// The MTU towards a peer; loopback is known as 65536.
    #[must_use]
    pub fn towards(&self, peer: SocketAddr) -> Option<usize> {
        match self.peers.get(&peer.ip()) {
            Some(known) => *known,
            None if peer.ip().is_loopback() => Some(LOOPBACK_MTU),
            None => self.default,
        }
    }

    /// Whether a request of this many bytes is too large for UDP: within 200 bytes of the path MTU,
    /// or larger than 1300 bytes while the MTU is unknown (RFC 3261 §18.1.1).
    #[must_use]
    pub fn too_large(&self, peer: SocketAddr, request_bytes: usize) -> bool {
        match self.towards(peer) {
            Some(mtu) => request_bytes + MTU_MARGIN > mtu,
            None => request_bytes > UNKNOWN_MTU_SIZE_MAX,
        }
    }
}

/// Targets that refused TCP, for [`TCP_REFUSED_FOR`]; bounded, the one that ends first goes first.
#[derive(Clone, Debug, Default)]
pub struct TcpRefusals {
    until: BTreeMap<SocketAddr, Instant>,
}

/// How many refusing targets are remembered.
const REFUSALS_MAX: usize = 4_096;

impl TcpRefusals {
    /// Remembers that the target refused TCP.
    pub fn remember(&mut self, now: Instant, target: SocketAddr) {
        if self.until.len() >= REFUSALS_MAX {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= REFUSALS_MAX
            && let Some(first) = self.until.iter().min_by_key(|(_, until)| **until)
        {
            let first = *first.0;
            self.until.remove(&first);
        }
        self.until.insert(target, now + TCP_REFUSED_FOR);
    }

    /// Whether the target refused TCP lately.
    #[must_use]
    pub fn refused(&self, now: Instant, target: SocketAddr) -> bool {
        self.until.get(&target).is_some_and(|until| *until > now)
    }

    /// Forgets a refusal: the target has opened or accepted a connection.
    pub fn forget(&mut self, target: SocketAddr) {
        self.until.remove(&target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_rule_knows_three_cases() {
        let mut mtu = PathMtu::default();
        let far: SocketAddr = "192.0.2.1:5060".parse().expect("address");
        let near: SocketAddr = "127.0.0.9:5060".parse().expect("address");
        for (size, large) in [(1299, false), (1300, false), (1301, true)] {
            assert_eq!(mtu.too_large(far, size), large, "unknown, {size}");
            assert!(!mtu.too_large(near, size), "loopback, {size}");
        }
        assert!(mtu.too_large(near, 65_400));
        mtu.peers.insert(far.ip(), Some(1500));
        assert!(!mtu.too_large(far, 1300));
        assert!(mtu.too_large(far, 1301));
        mtu.peers.insert(near.ip(), None);
        assert!(mtu.too_large(near, 1301), "a loopback address may stand for a path unknown");
    }

    #[test]
    fn a_refusal_of_tcp_is_remembered_for_a_minute() {
        let mut refusals = TcpRefusals::default();
        let peer: SocketAddr = "192.0.2.1:5060".parse().expect("address");
        refusals.remember(Instant::from_secs(10), peer);
        assert!(refusals.refused(Instant::from_secs(69), peer));
        assert!(!refusals.refused(Instant::from_secs(70), peer));
        for port in 1..=5_000 {
            let other = SocketAddr::new(peer.ip(), port);
            refusals.remember(Instant::from_secs(11), other);
        }
        assert!(refusals.until.len() <= REFUSALS_MAX);
    }
}
