//! Who takes part in a trace: names and roles of the nodes, and what the links between them are
//! called.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use cscf_core::config::NodeRole;
use cscf_core::sip::{self, HeaderName, Message};
use cscf_core::trace::{Protocol, TraceEvent, Wire};

use super::hops::hops;
use super::pcapng::{Names, name_at};
use super::summary::diameter_label;

/// Parties that are told apart at most where they are guessed.
const GUESSED_MAX: usize = 500;

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
    /// Who takes part in a trace of which only the messages are known: the roles follow from what
    /// is spoken. Who asks or answers in Diameter is of the core, who passes SIP on is a proxy, and
    /// whoever else speaks SIP is a UE.
    #[must_use]
    pub fn guess(events: &[TraceEvent], names: &Names) -> Self {
        let mut parties = Self { names: names.clone(), ..Self::default() };
        let mut came: BTreeSet<(String, Vec<u8>)> = BTreeSet::new();
        let mut seen: Vec<String> = Vec::new();
        for hop in hops(events, &parties) {
            for end in [&hop.from, &hop.to] {
                if !seen.contains(end) && seen.len() < GUESSED_MAX {
                    seen.push(end.clone());
                }
            }
            if let Some(role) = role_by_diameter(&hop.from, &hop.wire) {
                parties.roles.insert(hop.from.clone(), role);
            } else if let Some(thread) = thread(&hop.wire) {
                if came.contains(&(hop.from.clone(), thread.clone())) {
                    parties.roles.entry(hop.from.clone()).or_insert(NodeRole::Pcscf);
                }
                if came.len() < GUESSED_MAX * GUESSED_MAX {
                    came.insert((hop.to, thread));
                }
            }
        }
        let is_ue = |name: &&String| !parties.roles.contains_key(*name);
        let ues: Vec<String> = seen.iter().filter(is_ue).cloned().collect();
        let mut core: Vec<String> = seen.iter().filter(|name| !is_ue(name)).cloned().collect();
        core.sort_by_key(|name| place_of(parties.roles.get(name).copied()));
        let first = ues.first().cloned().into_iter();
        parties.columns = first.chain(core).chain(ues.iter().skip(1).cloned()).collect();
        parties
    }

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

/// Where a node of the core stands: in the order in which a call passes them.
const fn place_of(role: Option<NodeRole>) -> u8 {
    match role {
        Some(NodeRole::Pcscf) => 0,
        Some(NodeRole::Icscf) => 1,
        Some(NodeRole::Scscf) => 2,
        Some(NodeRole::Hss) => 3,
        Some(NodeRole::As) | None => 4,
    }
}

/// The role that sends a Diameter message (TS 29.228 §6): I-CSCFs ask where, S-CSCFs register and
/// authenticate, application servers read user data, an HSS answers all of them.
fn role_by_diameter(name: &str, wire: &Wire) -> Option<NodeRole> {
    if wire.protocol != Protocol::Diameter {
        // Our own names of application servers: as1.
        let number = name.strip_prefix("as").filter(|number| !number.is_empty());
        return number.and_then(|it| it.parse::<u16>().ok()).map(|_| NodeRole::As);
    }
    match diameter_label(&wire.bytes).as_str() {
        "UAR" | "LIR" => Some(NodeRole::Icscf),
        "MAR" | "SAR" => Some(NodeRole::Scscf),
        "UAA" | "LIA" | "MAA" | "SAA" => Some(NodeRole::Hss),
        _ => None,
    }
}

/// What a message and its copy behind a proxy have in common: Call-ID and CSeq, for a request.
fn thread(wire: &Wire) -> Option<Vec<u8>> {
    let Ok(Message::Request(request)) = sip::parse(&wire.bytes) else { return None };
    let header = |name| request.headers.get(name).unwrap_or_default();
    Some(format!("{}\n{}", header(HeaderName::CallId), header(HeaderName::CSeq)).into_bytes())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cscf_core::time::Instant;
    use cscf_core::trace::TraceKind;
    use cscf_core::transport::Transport;

    use super::*;

    #[test]
    fn who_passes_requests_on_is_of_the_core() {
        let addr = |host: u8| SocketAddr::from(([10, 0, 0, host], 5060));
        let text = "OPTIONS sip:b SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let events = [(1, 2), (2, 3), (3, 4)].map(|(from, to)| {
            let wire = Wire {
                protocol: Protocol::Sip,
                transport: Transport::Udp,
                local: addr(from),
                remote: addr(to),
                bytes: Bytes::from_static(text.as_bytes()),
            };
            let node = addr(from).to_string().into();
            TraceEvent { at: Instant::EPOCH, node, kind: TraceKind::Sent(wire) }
        });
        let parties = Parties::guess(&events, &Names::new());
        assert_eq!(
            parties.columns,
            ["10.0.0.1:5060", "10.0.0.2:5060", "10.0.0.3:5060", "10.0.0.4:5060"]
        );
        let link = |one: u8, other: u8| {
            let [one, other] = [one, other].map(|host| addr(host).to_string());
            parties.link_between(&one, &other, Protocol::Sip).as_str()
        };
        assert_eq!([link(1, 2), link(2, 3), link(3, 4)], ["Gm", "Mw", "Gm"]);
    }

    #[test]
    fn guessed_parties_stand_in_the_order_of_a_run() {
        let lab = cscf_core::config::Lab::default_lab();
        let source = crate::builtin::find("server-in-call").expect("a scenario").source;
        let outcome = crate::run::simulate(source, 1).expect("runs");
        let capture = crate::capture::Capture::of_events(&outcome.events);
        let parties = Parties::guess(&outcome.events, &capture.names);
        let place = |name: &str| parties.columns.iter().position(|it| it == name);
        let nodes = lab.nodes.iter().map(|node| node.name.as_str());
        let order: Vec<Option<usize>> = nodes.chain(["as1"]).map(place).collect();
        assert!(order.is_sorted() && order.iter().all(Option::is_some), "{:?}", parties.columns);
        assert_eq!(order.first(), Some(&Some(1)), "after the first phone: {:?}", parties.columns);
        assert!(place("bob") > place("as1"), "{:?}", parties.columns);
    }

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
