//! `cscf check`: everything that is wrong in a lab file or a scenario.

use std::path::Path;

use cscf_core::config::NodeRole;
use cscf_core::host::program::load_lab;

/// One line about a file in which nothing is wrong.
pub(super) fn check(file: &Path) -> Result<String, String> {
    // What cannot be read is told below.
    let source = std::fs::read_to_string(file).unwrap_or_default();
    let begins = |line: &str| line.starts_with("scenario:") || line.starts_with("steps:");
    if source.lines().any(begins) {
        let name = file.display().to_string();
        let steps = crate::run::check(&name, &source)?;
        return Ok(format!("{name}: ok: a scenario of {steps} steps\n"));
    }
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
