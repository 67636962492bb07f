//! `cscf check`: everything that is wrong in a lab file or a scenario.

use std::path::Path;

use cscf_core::config::{Auth, Lab, NodeRole, SecAgree, SubscriberConfig};
use cscf_core::host::program::{load_lab, tls_of};

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
    tls_of(&lab, Some(file))?;
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
        "{}: ok: {} with {}, and {} subscribers\n{}",
        file.display(),
        lab.domain,
        nodes.join(", "),
        lab.subscribers.count(),
        left_out(&lab).unwrap_or_default()
    ))
}

/// Who cannot register although nothing is wrong in the file: IPsec takes its keys from AKA.
fn left_out(lab: &Lab) -> Option<String> {
    if lab.gm.sec_agree != SecAgree::Required {
        return None;
    }
    let by_digest = |it: &&SubscriberConfig| matches!(it.auth, Auth::Digest { .. });
    let mut without =
        lab.subscribers.listed().iter().filter(|it| it.ipsec.is_none()).filter(by_digest);
    let first = without.next()?;
    let more = match without.count() {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    };
    Some(format!(
        "note: {}{more} authenticates by digest, which gives no keys for IPsec: under `ipsec: \
         required` only a client on TLS registers so; `ipsec: optional` at a subscriber takes it \
         out\n",
        first.name
    ))
}
