//! Any node of a lab, by its role.

use cscf_core::config::{Lab, NodeConfig, Start};
use cscf_core::engine::Node;

/// Makes the node of a lab.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn build(lab: &Lab, node: &NodeConfig, start: &Start) -> Result<Box<dyn Node>, String> {
    let node: Box<dyn Node> = crate::run::lab_node(lab, node, start)?;
    Ok(node)
}
