//! What runs from seeds have in common: which seed to replay, and who is what in an instance.

use std::collections::BTreeSet;

use cscf_core::config::NodeRole;
use scenarios::lab::checks::Cast;
use scenarios::run::Instance;
use scenarios::ue::UeConfig;

/// The one seed to replay, from `CSCF_SEED`.
///
/// # Panics
///
/// When it is no number.
#[must_use]
pub fn seed_to_replay() -> Option<u64> {
    let text = std::env::var("CSCF_SEED").ok()?;
    Some(text.parse().expect("CSCF_SEED is a number"))
}

/// Who is what in an instance, for the invariants of every run.
#[must_use]
pub fn cast_of(instance: &Instance) -> Cast {
    let edges = instance.lab.nodes.iter().filter(|node| node.role == NodeRole::Pcscf);
    let (nodes, hosts) = (instance.lab.nodes.iter(), instance.lab.nodes.iter());
    let wrong = |ue: &&UeConfig| ue.mistakes.wrong_key || ue.mistakes.wrong_res;
    Cast {
        ues: instance.ues.iter().map(|ue| ue.name.clone()).collect(),
        impostors: instance.ues.iter().filter(wrong).map(|ue| ue.name.clone()).collect(),
        crashed: BTreeSet::new(),
        edges: edges.map(|node| node.name.clone()).collect(),
        ue_addresses: instance.ues.iter().map(|ue| ue.address).collect(),
        roles: nodes.flat_map(|node| node.addresses().map(|at| (at.ip(), node.role))).collect(),
        hosts: hosts.map(|node| (node.advertise.0.clone(), node.role)).collect(),
    }
}
