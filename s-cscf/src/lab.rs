//! An S-CSCF of a lab.

use cscf_core::config::{Lab, NodeConfig, NodeRole, ServingConfig, Start};
use cscf_core::engine::{CxNode, Engine, Settings, Shards};
use cscf_core::ids::{Shard, ShardId};
use cscf_core::registrar::{ExpiryLimits, Registrations};
use cscf_core::sip::MediaPolicy;
use cscf_core::time::Duration;

use crate::{AkaWithoutSecAgree, Config, Scscf};

/// The configuration of an S-CSCF of the lab: the first I-CSCF is where requests enter a network.
#[must_use]
pub fn config(lab: &Lab, node: &NodeConfig) -> Config {
    let domain = lab.domain_of(node);
    let icscf = lab.nodes_of(domain, NodeRole::Icscf).next();
    let icscf = icscf.map(NodeConfig::sip_uri).unwrap_or_default();
    let mut config = Config::new(node.sip_uri(), domain, icscf);
    config.trusted = lab.peers_trusted_by(node);
    config.trusts_other_networks = lab.interconnect;
    config.expiry = ExpiryLimits {
        min: lab.registration.expires_min,
        max: lab.registration.expires_max,
        default: lab.registration.expires_default,
        // RFC 3261 §10.3 lets nobody refuse an hour; an operator who writes more wants it so.
        min_override: lab.registration.expires_min > Duration::from_secs(3600),
    };
    config.giba = lab.gm.giba;
    config.numbering = lab.numbering.plan.clone();
    config.break_out = lab.break_out_uri();
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
        media_profiles,
        breadth,
    } = node.serving.clone();
    let policies = media_profiles.iter().map(|(id, allowed)| (*id, media_policy(allowed)));
    config.media_profiles = policies.collect();
    let by_user = aka_algorithms_of.into_iter();
    let impi = |who: String| lab.user_named(&who).unwrap_or(who);
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
        breadth,
        ..config
    }
}

/// The policy of kinds of media, `audio`, and kinds with a codec, `audio/AMR-WB`.
fn media_policy(allowed: &[String]) -> MediaPolicy {
    let kinds = allowed.iter().map(|text| text.split('/').next().unwrap_or(text).to_owned());
    let codecs = allowed.iter().filter_map(|text| Some(text.split_once('/')?.1.to_owned()));
    let codecs: Vec<String> = codecs.collect();
    MediaPolicy { media: Some(kinds.collect()), codecs: (!codecs.is_empty()).then_some(codecs) }
}

/// An S-CSCF of the lab.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn node(lab: &Lab, node: &NodeConfig, start: &Start) -> Result<CxNode<Scscf>, String> {
    let published = Registrations::new(&start.seed);
    let engine = engine(lab, node, start, (published, Shard::ALONE))?;
    Ok(CxNode::new(engine, lab.diameter_client(node, start)?))
}

fn engine(
    lab: &Lab,
    node: &NodeConfig,
    start: &Start,
    (published, shard): (Registrations, Shard),
) -> Result<Engine<Scscf>, String> {
    let config = Config { shard, ..config(lab, node) };
    let settings = Settings { shard, ..lab.settings(node, start)? };
    let role = Scscf::reading(config, published);
    Ok(Engine::new(&node.name, role, settings, start.seed))
}

/// An S-CSCF of the lab in as many engines as it shall have, the first with the registrations and
/// the HSS.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn shards(
    lab: &Lab,
    node: &NodeConfig,
    start: &Start,
) -> Result<Shards<CxNode<Scscf>, Engine<Scscf>>, String> {
    let count = node.load.shards.unwrap_or(1);
    let published = Registrations::new(&start.seed);
    let one = |id| {
        let shard = Shard { id: ShardId(id), count };
        engine(lab, node, start, (published.clone(), shard))
    };
    let owner = CxNode::new(one(0)?, lab.diameter_client(node, start)?);
    let calls: Result<_, _> = (1..count).map(one).collect();
    Ok(Shards::new(owner, calls?, node.load.hand_over.unwrap_or_default(), start.seed))
}
