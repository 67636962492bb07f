//! An S-CSCF of a lab.

use cscf_core::config::{Lab, NodeConfig, NodeRole, ServingConfig, Start};
use cscf_core::engine::{CxNode, Engine};
use cscf_core::registrar::ExpiryLimits;
use cscf_core::time::Duration;

use crate::{AkaWithoutSecAgree, Config, Scscf};

/// The configuration of an S-CSCF of the lab: the first I-CSCF is where requests enter a network.
#[must_use]
pub fn config(lab: &Lab, node: &NodeConfig) -> Config {
    let icscf = lab.node(NodeRole::Icscf).map(NodeConfig::sip_uri).unwrap_or_default();
    let mut config = Config::new(node.sip_uri(), &lab.domain, icscf);
    config.trusted = lab.trusted_peers();
    config.expiry = ExpiryLimits {
        min: lab.registration.expires_min,
        max: lab.registration.expires_max,
        default: lab.registration.expires_default,
        // RFC 3261 §10.3 lets nobody refuse an hour; an operator who writes more wants it so.
        min_override: lab.registration.expires_min > Duration::from_secs(3600),
    };
    config.giba = lab.gm.giba;
    config.await_auth_for = lab.reg_await_auth;
    config.aka_without_sec_agree = if lab.aka_without_sec_agree {
        AkaWithoutSecAgree::Allow
    } else {
        AkaWithoutSecAgree::Deny
    };
    let ServingConfig {
        vectors_per_request,
        reauthenticate_every,
        reauthenticate_after,
        aka_algorithms,
        aka_algorithms_of,
        hss_failure,
        flows_max,
        strict_path,
        feature_caps,
        profile_max,
        restoration,
        proxy_authentication,
    } = node.serving.clone();
    let by_user = aka_algorithms_of.into_iter();
    let impi = |who: String| lab.user_named(&who).map_or_else(|| who.clone(), str::to_owned);
    config.aka_algorithms_by_user = by_user.map(|(who, list)| (impi(who), list)).collect();
    config.flows_max = usize::try_from(flows_max).unwrap_or(usize::MAX);
    config.profile_max = usize::try_from(profile_max).unwrap_or(usize::MAX);
    Config {
        reauthenticate_every,
        reauthenticate_after,
        vectors_per_request,
        aka_algorithms,
        hss_failure,
        restoration,
        proxy_authentication,
        strict_path,
        feature_caps,
        ..config
    }
}

/// An S-CSCF of the lab.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn node(lab: &Lab, node: &NodeConfig, start: &Start) -> Result<CxNode<Scscf>, String> {
    let role = Scscf::new(config(lab, node), &start.seed);
    let engine = Engine::new(&node.name, role, lab.settings(node, start)?, start.seed);
    Ok(CxNode::new(engine, lab.diameter_client(node, start)?))
}
