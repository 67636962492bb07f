//! `cscf check`: everything that is wrong in a lab file.

use std::path::Path;

use cscf_core::config::NodeRole;
use cscf_core::host::program::load_lab;

/// One line about a lab file in which nothing is wrong.
pub(super) fn check(file: &Path) -> Result<String, String> {
    let lab = load_lab(Some(file))?;
    let names = |wanted: NodeRole| {
        let of_role = lab.nodes.iter().filter(|node| node.role == wanted);
        of_role.map(|node| format!("{} {}", node.name, node.listen)).collect::<Vec<_>>().join(", ")
    };
    let nodes: Vec<String> = NodeRole::ALL
        .into_iter()
        .map(|(_, role)| names(role))
        .filter(|names| !names.is_empty())
        .collect();
    Ok(format!(
        "{}: ok: {} with {}, and {} subscribers\n",
        file.display(),
        lab.domain,
        nodes.join(", "),
        lab.subscribers.len()
    ))
}
