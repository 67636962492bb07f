//! An I-CSCF of a lab.

use cscf_core::config::{Lab, NodeConfig, NodeRole, Start};
use cscf_core::engine::{CxNode, Engine};

use crate::{Config, Icscf, ScscfConfig};

/// The configuration of an I-CSCF of the lab.
#[must_use]
pub fn config(lab: &Lab, node: &NodeConfig) -> Config {
    let scscf = |node: &NodeConfig| ScscfConfig {
        uri: node.sip_uri(),
        capabilities: node.capabilities.clone(),
    };
    let domain = lab.domain_of(node);
    Config {
        trusted: lab.peers_trusted_by(node),
        scscfs: lab.nodes_of(domain, NodeRole::Scscf).map(scscf).collect(),
        restoration: node.entry.restoration,
        unknown_user: node.entry.unknown_user,
        transit: node.entry.transit,
        ..Config::new(node.sip_uri(), domain)
    }
}

/// An I-CSCF of the lab, with its Diameter client.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn node(lab: &Lab, node: &NodeConfig, start: &Start) -> Result<CxNode<Icscf>, String> {
    let role = Icscf::new(config(lab, node));
    let engine = Engine::new(&node.name, role, lab.settings(node, start)?, start.seed);
    Ok(CxNode::new(engine, lab.diameter_client(node, start)?))
}
