//! Who takes part in a trace: names and roles of the nodes, and what the links between them are
//! called.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::config::NodeRole;
use cscf_core::trace::{Protocol, Wire};

use super::pcapng::{Names, name_at};

/// Who takes part in a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    /// The lifelines from left to right.
    pub columns: Vec<String>,
    /// The names of the addresses.
    pub names: Names,
    /// The roles of the nodes; who has none is a UE.
    pub roles: BTreeMap<String, NodeRole>,
}

/// The reference point of a link (TS 23.002 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Between a CSCF and the HSS.
    Cx,
    /// Between a UE and its P-CSCF.
    Gm,
    /// Between an S-CSCF and an application server.
    Isc,
    /// Between an I-CSCF and an application server.
    Ma,
    /// Between CSCFs.
    Mw,
    /// Between an application server and the HSS.
    Sh,
}

impl Link {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cx => "Cx",
            Self::Gm => "Gm",
            Self::Isc => "ISC",
            Self::Ma => "Ma",
            Self::Mw => "Mw",
            Self::Sh => "Sh",
        }
    }
}

impl Parties {
    /// The name at an address, or the address.
    #[must_use]
    pub fn name(&self, addr: &SocketAddr) -> String {
        name_at(&self.names, addr).map_or_else(|| addr.to_string(), str::to_owned)
    }

    /// The reference point that a message of a node passes.
    #[must_use]
    pub fn link(&self, node: &str, wire: &Wire) -> Link {
        self.link_between(node, &self.name(&wire.remote), wire.protocol)
    }

    /// The reference point between two nodes.
    #[must_use]
    pub fn link_between(&self, one: &str, other: &str, protocol: Protocol) -> Link {
        let roles = [self.roles.get(one).copied(), self.roles.get(other).copied()];
        let either = |role: NodeRole| roles.contains(&Some(role));
        match protocol {
            Protocol::Diameter if either(NodeRole::As) => Link::Sh,
            Protocol::Diameter => Link::Cx,
            Protocol::Sip if either(NodeRole::As) && either(NodeRole::Icscf) => Link::Ma,
            Protocol::Sip if either(NodeRole::As) => Link::Isc,
            Protocol::Sip if roles.contains(&None) => Link::Gm,
            Protocol::Sip => Link::Mw,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cscf_core::transport::Transport;

    use super::*;

    #[test]
    fn a_link_is_named_by_the_roles_of_its_ends() {
        let addr = |host: u8| SocketAddr::from(([127, 0, 0, host], 5060));
        let roles = [
            ("edge", NodeRole::Pcscf),
            ("door", NodeRole::Icscf),
            ("home", NodeRole::Scscf),
            ("shop", NodeRole::As),
            ("hss", NodeRole::Hss),
        ];
        let named = ["alice", "edge", "door", "home", "shop", "hss"];
        let parties = Parties {
            columns: Vec::new(),
            names: (1..).map(addr).zip(named.map(str::to_owned)).collect(),
            roles: roles.map(|(name, role)| (name.to_owned(), role)).into(),
        };
        let link = |node: &str, host: u8, protocol| {
            let (transport, local) = (Transport::Udp, addr(99));
            let wire = Wire { protocol, transport, local, remote: addr(host), bytes: Bytes::new() };
            parties.link(node, &wire).as_str()
        };
        assert_eq!(link("alice", 2, Protocol::Sip), "Gm");
        assert_eq!(link("edge", 1, Protocol::Sip), "Gm");
        assert_eq!(link("edge", 3, Protocol::Sip), "Mw");
        assert_eq!(link("home", 5, Protocol::Sip), "ISC");
        assert_eq!(link("shop", 3, Protocol::Sip), "Ma");
        assert_eq!(link("home", 6, Protocol::Diameter), "Cx");
        assert_eq!(link("shop", 6, Protocol::Diameter), "Sh");
        assert_eq!(link("edge", 77, Protocol::Sip), "Gm");
    }
}
