//! `together`: lists of steps that run side by side, each in its own order.

use cscf_core::config::{Node, Position, Problems, Value};

use super::{Scenario, Step, StepKind, steps};

/// One of the lists of steps under `together`.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Where its name stands.
    pub at: Position,
    /// Its name: any word, used in errors.
    pub name: String,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// Reads what stands under `together`.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Vec<Branch> {
    let Value::Map(entries) = &node.value else {
        let text = format!("`together` has branches by name, here is {}", node.kind());
        problems.push(node.at, text, Some(EXAMPLE.to_owned()));
        return Vec::new();
    };
    if entries.len() < 2 {
        let text = "`together` needs two branches at least";
        problems.push(node.at, text, Some(EXAMPLE.to_owned()));
    }
    let mut out = Vec::new();
    for entry in entries {
        let steps = steps::read_all(&entry.node, problems);
        if steps.is_empty() && matches!(&entry.node.value, Value::Seq(items) if items.is_empty()) {
            problems.push(entry.at, format!("branch `{}` has no steps", entry.key), None);
        }
        for step in &steps {
            if matches!(step.kind, StepKind::Together(_)) {
                problems.push(step.at, "branches have no branches", None);
            }
        }
        out.push(Branch { at: entry.at, name: entry.key.clone(), steps });
    }
    out
}

/// How branches are written.
pub(super) const EXAMPLE: &str =
    "write e.g. `together: {left: [alice registers], right: [bob registers]}`";

impl Scenario {
    /// All steps in the order of the file, those in branches, too.
    #[must_use]
    pub fn all_steps(&self) -> Vec<&Step> {
        let mut out = Vec::new();
        for step in &self.steps {
            match &step.kind {
                StepKind::Together(branches) => {
                    out.extend(branches.iter().flat_map(|branch| &branch.steps));
                }
                _ => out.push(step),
            }
        }
        out
    }
}
