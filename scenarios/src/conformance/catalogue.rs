//! Reads the catalogue of behaviours.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use cscf_core::config::{Node, Problems, Reader, Value, read_tree};

/// One testable behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Its id, e.g. `P-REG-100`.
    pub id: String,
    /// Who must behave so: `p-cscf`, `i-cscf`, `s-cscf`, `as`, `ue`, or `core` for several.
    pub role: String,
    /// The area, e.g. `registration`.
    pub area: String,
    /// Where it stands written.
    pub clause: String,
    /// One line.
    pub title: String,
    /// 1: registration and call on a bench, 2: faithful core, 3: complete.
    pub tier: u8,
    /// Whether the primary text was read for it.
    pub verified: bool,
    /// The letters of its cases; empty for an entry with one case.
    pub cases: BTreeSet<char>,
}

impl Behaviour {
    /// The markers that cover the entry: its id, or one per case.
    #[must_use]
    pub fn markers(&self) -> Vec<String> {
        if self.cases.is_empty() {
            return vec![self.id.clone()];
        }
        self.cases.iter().map(|letter| format!("{}{letter}", self.id)).collect()
    }
}

/// The catalogue compiled into the program.
///
/// # Errors
///
/// As [`read_catalogue`].
pub fn catalogue() -> Result<Vec<Behaviour>, Problems> {
    read_catalogue(include_str!("../../../tests/behaviours.yaml"))
}

/// What a step may prove: the entries of the compiled-in catalogue, with and without letters.
pub fn markers() -> &'static BTreeSet<String> {
    static MARKERS: OnceLock<BTreeSet<String>> = OnceLock::new();
    MARKERS.get_or_init(|| {
        let entries = catalogue().unwrap_or_default();
        let ids = entries.iter().map(|entry| entry.id.clone());
        ids.chain(entries.iter().flat_map(Behaviour::markers)).collect()
    })
}

/// Reads a catalogue file.
///
/// # Errors
///
/// Every mistake in it, with its place.
pub fn read_catalogue(source: &str) -> Result<Vec<Behaviour>, Problems> {
    let tree = read_tree(source)?;
    let mut problems = Problems::default();
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    let Value::Seq(items) = &tree.value else {
        problems.push(tree.at, "the catalogue must be a list", None);
        return Err(problems);
    };
    for item in items {
        let Some(behaviour) = behaviour(item, &mut problems) else { continue };
        if !seen.insert(behaviour.id.clone()) {
            problems.push(item.at, format!("{} stands twice", behaviour.id), None);
        }
        out.push(behaviour);
    }
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

fn behaviour(node: &Node, problems: &mut Problems) -> Option<Behaviour> {
    let mut reader = Reader::new(node, "a behaviour", problems);
    let mut text =
        |key| reader.required(key, problems).and_then(Node::text).unwrap_or_default().to_owned();
    let id = text("id");
    let (role, area, clause, title) = (text("role"), text("area"), text("clause"), text("title"));
    let (given, expect) = (text("given"), text("expect"));
    let (level, tier, confidence) = (text("level"), text("tier"), text("confidence"));
    let _ = reader.optional("evidence");
    let _ = reader.optional("source");
    reader.finish(problems);
    let tier = match tier.as_str() {
        "1" => 1,
        "2" => 2,
        "3" => 3,
        _ => {
            problems.push(node.at, format!("{id}: tier is 1, 2 or 3"), None);
            return None;
        }
    };
    if !matches!(level.as_str(), "must" | "should" | "may") {
        problems.push(node.at, format!("{id}: level is must, should or may"), None);
    }
    let verified = confidence == "verified";
    let cases = letters(&given).intersection(&letters(&expect)).copied().collect();
    Some(Behaviour { id, role, area, clause, title, tier, verified, cases })
}

/// The letters of `(a)`, `(b)` … in a text.
fn letters(text: &str) -> BTreeSet<char> {
    let marks: Vec<char> = text.chars().collect();
    marks
        .windows(3)
        .filter_map(|window| match window {
            ['(', letter @ 'a'..='h', ')'] => Some(*letter),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_catalogue_reads_without_a_mistake() {
        let catalogue = catalogue().expect("reads");
        assert!(catalogue.len() >= 560, "{}", catalogue.len());
        let lettered = catalogue.iter().find(|entry| entry.id == "P-REG-390").expect("there");
        assert_eq!(lettered.markers().first().map(String::as_str), Some("P-REG-390a"));
    }
}
