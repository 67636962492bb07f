//! A P-CSCF of a lab.

use cscf_core::config::{Lab, NodeConfig, NodeRole, Start};
use cscf_core::engine::Engine;
use cscf_core::ua::timer_n;

use crate::{Config, Pcscf, Security};

/// The configuration of a P-CSCF of the lab.
///
/// # Errors
///
/// The lab has no I-CSCF.
pub fn config(lab: &Lab, node: &NodeConfig) -> Result<Config, String> {
    let entries: Vec<String> = lab
        .nodes
        .iter()
        .filter(|node| node.role == NodeRole::Icscf)
        .map(NodeConfig::sip_uri)
        .collect();
    let Some(first) = entries.first() else {
        return Err(format!("{} needs an I-CSCF, and the lab has none", node.name));
    };
    let mut config = Config::new(&node.name, &node.advertised(), &lab.domain, first);
    config.core_entries = entries;
    config.trusted_peers = lab.trusted_peers();
    config.security = Security { gm: lab.gm.clone(), esp: lab.esp };
    config.notify_awaited = timer_n(lab.core_timers.t1);
    config.reg_await_auth = lab.reg_await_auth;
    config.reg_event_subscription = lab.reg_event_subscription;
    config.outbound = lab.outbound;
    Ok(config)
}

/// A P-CSCF of the lab.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn node(lab: &Lab, node: &NodeConfig, start: &Start) -> Result<Engine<Pcscf>, String> {
    let role = Pcscf::new(config(lab, node)?);
    Ok(Engine::new(&node.name, role, lab.settings(node, start)?, start.seed))
}
