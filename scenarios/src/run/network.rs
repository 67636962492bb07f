//! The addresses of an instance: IPv4, IPv6 or both.
//!
//! IPv4 has 127.0.0.0/8 on every machine, so that each node and UE of a live run has an address of
//! its own with the standard ports. Of IPv6 there is `::1` alone without privileges: there each
//! has a port of its own. In virtual time, and in a network namespace of the run's own
//! (`--ipsec`), they have addresses of the range for documentation (RFC 3849).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use cscf_core::config::{Lab, NodeRole};

/// Which versions of IP the parties speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv4 everywhere.
    #[default]
    V4,
    /// IPv6 everywhere.
    V6,
    /// P-CSCFs listen on both, the core speaks IPv4, UEs IPv6 and IPv4 in turn.
    Dual,
}

/// Where the nodes and UEs of an instance are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    family: Family,
    x: u8,
    y: u8,
    /// The first of the ports on `::1`, where there are no addresses of IPv6.
    first_port: Option<u16>,
}

/// Ports on `::1` that one run has: one for each number of a host.
const PORTS: u16 = 256;
/// The first port of the first run, and how many runs fit below the ports that systems give.
const FIRST_PORT: u16 = 20_480;
const RUNS: u16 = 48;
/// The number of the first node, and how many have addresses in a namespace.
const NODE: u8 = 11;
const NODES: u8 = 40;
/// The number of the first UE.
pub(super) const UE: u8 = 101;
/// The ports of one run on `::1` that are neither of a node nor of a UE.
const SECURED: u8 = NODE + NODES;
const PAST_UES: u8 = 221;
/// Where UEs listen.
const UE_PORT: u16 = 5060;

impl Network {
    /// 127.`x`.`y`.0/24.
    #[must_use]
    pub const fn v4(x: u8, y: u8) -> Self {
        Self { family: Family::V4, x, y, first_port: None }
    }

    /// The addresses of this family where there is nobody else: in virtual time, or in a network
    /// namespace that has [`Network::addresses_apart`].
    #[must_use]
    pub const fn alone(family: Family) -> Self {
        Self { family, x: 1, y: 0, first_port: None }
    }

    /// The addresses of IPv6 that [`Network::alone`] gives to nodes and UEs.
    pub fn addresses_apart() -> impl Iterator<Item = IpAddr> {
        let alone = Self::alone(Family::V6);
        let hosts = (NODE..NODE + NODES).chain(UE..=u8::MAX);
        hosts.map(move |host| alone.of_v6(host, 0).ip())
    }

    /// The address of a node that listens on this port.
    #[must_use]
    pub fn node(&self, host: u8, port: u16) -> SocketAddr {
        match self.family {
            Family::V4 | Family::Dual => self.of_v4(host, port),
            Family::V6 => self.of_v6(host, port),
        }
    }

    /// The other address of a P-CSCF, where it has two.
    #[must_use]
    pub fn other(&self, host: u8, port: u16) -> Option<SocketAddr> {
        (self.family == Family::Dual).then(|| self.of_v6(host, port))
    }

    /// The address of a UE.
    #[must_use]
    pub fn ue(&self, host: u8) -> SocketAddr {
        match self.family {
            Family::V4 => self.of_v4(host, UE_PORT),
            Family::Dual if host.is_multiple_of(2) => self.of_v4(host, UE_PORT),
            Family::Dual | Family::V6 => self.of_v6(host, UE_PORT),
        }
    }

    fn of_v4(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, self.x, self.y, host)), port)
    }

    fn of_v6(&self, host: u8, port: u16) -> SocketAddr {
        match self.first_port {
            Some(first) => {
                let port = first.saturating_add(u16::from(host));
                SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port)
            }
            None => {
                let [x, y, host] = [self.x, self.y, host].map(u16::from);
                let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, x, y, 0, 0, host);
                SocketAddr::new(IpAddr::V6(ip), port)
            }
        }
    }

    /// Gives the nodes of a lab their addresses, the control interface off. On `::1` each listener
    /// for TLS and WebSocket has a port of its own, too.
    pub(super) fn settle(&self, lab: &mut Lab) {
        lab.control = None;
        let free = (SECURED..UE).chain(PAST_UES..=u8::MAX).map(u16::from);
        let mut ports = self.first_port.map(|first| free.map(move |it| first.saturating_add(it)));
        let domain = lab.domain.clone();
        for (node, host) in lab.nodes.iter_mut().zip(NODE..) {
            let port = node.listen.port();
            node.listen = self.node(host, port);
            node.advertise = (node.listen.ip().to_string(), node.listen.port());
            let other = self.other(host, port).filter(|_| node.role == NodeRole::Pcscf);
            if let Some(other) = other {
                node.listen.set_port(other.port());
                // What it writes of itself is read by both: a name.
                let domain = node.domain.as_ref().unwrap_or(&domain);
                node.advertise = (format!("{}.{domain}", node.name), node.listen.port());
            }
            node.listen_also = other;
            node.secured.set_ip(node.listen.ip());
            if let Some(ports) = &mut ports {
                node.secured.set_ports(ports);
            }
        }
    }
}

/// A network that no other live run of this machine uses.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Where it is.
    pub(crate) network: Network,
    /// Listening sockets hold it.
    _held: Vec<TcpListener>,
}

impl Claim {
    /// Takes the first that is free: 127.x.y.0/24, held by a socket on 127.x.y.1; for IPv6 a block
    /// of ports on `::1`, held by the first of them.
    ///
    /// # Errors
    ///
    /// None is.
    pub(crate) fn take(family: Family) -> Result<Self, String> {
        let (v4, x, y) = claim_v4()?;
        let mut held = vec![v4];
        let mut network = Network { family, x, y, first_port: None };
        if family != Family::V4 {
            let (v6, first) = claim_v6()?;
            held.push(v6);
            network.first_port = Some(first);
        }
        Ok(Self { network, _held: held })
    }
}

fn claim_v4() -> Result<(TcpListener, u8, u8), String> {
    const TRIES: u32 = 500;
    const PORT: u16 = 9480;
    let start = std::process::id();
    let mut last = String::new();
    for attempt in 0..TRIES {
        let [.., x, y] = (start.wrapping_add(attempt.wrapping_mul(257))).to_be_bytes();
        // 127.0.0.0/24 is for labs of the operator's own.
        let x = 16 + x % 200;
        match TcpListener::bind(SocketAddr::from((Ipv4Addr::new(127, x, y, 1), PORT))) {
            Ok(held) => return Ok((held, x, y)),
            Err(fault) => last = fault.to_string(),
        }
    }
    Err(format!("no free network in 127.0.0.0/8: {last}"))
}

fn claim_v6() -> Result<(TcpListener, u16), String> {
    let start = u16::try_from(std::process::id() % u32::from(RUNS)).unwrap_or_default();
    let mut last = String::new();
    for attempt in 0..RUNS {
        let first = FIRST_PORT + PORTS * ((start + attempt) % RUNS);
        match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, first))) {
            Ok(held) => return Ok((held, first)),
            Err(fault) => last = fault.to_string(),
        }
    }
    Err(format!("no free ports on ::1 ({last}); without IPv6 on this machine use --virtual"))
}

#[cfg(test)]
mod tests {
    use cscf_core::transport::Transport;

    use super::*;

    #[test]
    fn each_family_has_its_addresses() {
        let all = |network: Network| {
            [network.node(11, 5060), network.ue(101), network.ue(102)].map(|it| it.to_string())
        };
        let v4 = all(Network::v4(1, 0));
        assert_eq!(v4, ["127.1.0.11:5060", "127.1.0.101:5060", "127.1.0.102:5060"]);
        let v6 = all(Network::alone(Family::V6));
        assert_eq!(v6[0], "[2001:db8:0:1::b]:5060");
        assert_eq!(v6[1], "[2001:db8:0:1::65]:5060");
        let dual = Network::alone(Family::Dual);
        assert_eq!(all(dual), ["127.1.0.11:5060", v6[1].as_str(), "127.1.0.102:5060"]);
        assert_eq!(dual.other(11, 5060).map(|it| it.to_string()), Some(v6[0].clone()));
        let ports = Network { first_port: Some(20_480), ..Network::alone(Family::V6) };
        assert_eq!(all(ports), ["[::1]:20491", "[::1]:20581", "[::1]:20582"]);
    }

    #[test]
    fn on_one_address_each_listener_has_a_port_of_its_own() {
        let mut lab = Lab::default_lab();
        let mut second = lab.nodes[0].clone();
        second.name = "p2".to_owned();
        lab.nodes.push(second);
        for node in lab.nodes.iter_mut().filter(|node| node.role == NodeRole::Pcscf) {
            for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
                node.listen_for(transport);
            }
        }
        let network = Network { first_port: Some(20_480), ..Network::alone(Family::V6) };
        network.settle(&mut lab);
        let secured = lab.nodes.iter().flat_map(|node| node.secured_listeners());
        let nodes = lab.nodes.iter().map(|node| node.listen);
        let ues = (UE..PAST_UES).map(|host| network.ue(host));
        let all: Vec<_> = secured.map(|(_, addr)| addr).chain(nodes).chain(ues).collect();
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), different.len()), (6 + 5 + 120, 131));
        assert!(all.iter().all(|addr| (20_481..20_736).contains(&addr.port())), "{all:?}");
    }
}
