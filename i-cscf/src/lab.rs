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
    let scscfs = lab.nodes.iter().filter(|node| node.role == NodeRole::Scscf).map(scscf);
    Config {
        trusted: lab.trusted_peers(),
        scscfs: scscfs.collect(),
        ..Config::new(node.sip_uri(), lab.domain.clone())
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
