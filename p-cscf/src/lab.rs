//! A P-CSCF of a lab.

use cscf_core::config::{Lab, NodeConfig, NodeRole, Start};
use cscf_core::engine::{Engine, PolicyNode, Settings, Shards};
use cscf_core::ids::{Shard, ShardId};
use cscf_core::policy::{Function, Rules};
use cscf_core::time::Duration;
use cscf_core::ua::timer_n;

use crate::{Config, Emergency, Pcscf, Security};

/// The configuration of a P-CSCF of the lab.
///
/// # Errors
///
/// The lab has no I-CSCF.
pub fn config(lab: &Lab, node: &NodeConfig) -> Result<Config, String> {
    let domain = lab.domain_of(node);
    let entries = lab.nodes_of(domain, NodeRole::Icscf).map(NodeConfig::sip_uri);
    let entries: Vec<String> = entries.collect();
    let Some(first) = entries.first() else {
        return Err(format!("{} needs an I-CSCF, and the lab has none", node.name));
    };
    let mut config = Config::new(&node.name, &node.advertised(), domain, first);
    let secured = node.secured.listeners().into_iter();
    config.secured_uris = secured.map(|(kind, _)| (kind, node.advertised_for(kind))).collect();
    config.core_entries = entries;
    config.trusted_peers = lab.peers_trusted_by(node);
    // Members of ranges have no wishes of their own.
    let wishes = lab.subscribers.listed().iter();
    let wishes = wishes.filter_map(|one| Some((one.impi.clone(), one.ipsec?)));
    config.security = Security { gm: lab.gm.clone(), of: wishes.collect(), esp: lab.esp };
    config.notify_awaited = timer_n(lab.core_timers.t1);
    config.reg_await_auth = lab.reg_await_auth;
    config.reg_event_subscription = lab.reg_event_subscription;
    config.outbound = lab.outbound;
    let edge = &node.edge;
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    config.media = edge.media.clone();
    config.policy = true;
    config.policy_retry_after = edge.policy_retry_after.map(seconds);
    config.signalling_lost_retry_after = edge.signalling_lost_retry_after.map(seconds);
    config.flow_timer = edge.flow_timer.map(seconds);
    if let Some(network) = &edge.network {
        config.visited_network.clone_from(network);
        config.charging.ioi.clone_from(network);
    }
    config.emergency = Emergency {
        numbers: edge.emergency_numbers.clone(),
        e_cscfs: edge.e_cscfs.clone(),
        calls: edge.emergency_calls,
        anonymous: edge.anonymous_emergency_calls,
    };
    Ok(config)
}

/// A P-CSCF of the lab.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn node(lab: &Lab, node: &NodeConfig, start: &Start) -> Result<PolicyNode<Pcscf>, String> {
    node_as(lab, node, start, config(lab, node)?)
}

/// A P-CSCF of the lab that is configured otherwise.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn node_as(
    lab: &Lab,
    node: &NodeConfig,
    start: &Start,
    config: Config,
) -> Result<PolicyNode<Pcscf>, String> {
    part(lab, node, start, (config, Shard::ALONE))
}

fn part(
    lab: &Lab,
    node: &NodeConfig,
    start: &Start,
    (config, shard): (Config, Shard),
) -> Result<PolicyNode<Pcscf>, String> {
    let impi = |who: &String| lab.user_named(who).unwrap_or_else(|| who.clone());
    let of = node.edge.policy_of.iter().map(|(who, conduct)| (impi(who), *conduct)).collect();
    let function = Function::new(Rules { all: node.edge.policy, of });
    let settings = Settings { shard, ..lab.settings(node, start)? };
    let role = Pcscf::new(config, &start.seed).in_shard(shard);
    Ok(PolicyNode::new(Engine::new(&node.name, role, settings, start.seed), function))
}

/// A P-CSCF of the lab in as many engines as it shall have, the first with the registrations.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn shards(
    lab: &Lab,
    node: &NodeConfig,
    start: &Start,
) -> Result<Shards<PolicyNode<Pcscf>>, String> {
    let count = node.load.shards.unwrap_or(1);
    let one = |id| part(lab, node, start, (config(lab, node)?, Shard { id: ShardId(id), count }));
    let calls: Result<_, _> = (1..count).map(one).collect();
    Ok(Shards::new(one(0)?, calls?, node.load.hand_over.unwrap_or_default(), start.seed))
}
