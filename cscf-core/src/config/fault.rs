//! The key `faults` of a lab file, and of a scenario: a list of rules, each a sentence, with its
//! headers below it where it has some.

use super::lab::{Lab, NodeRole};
use super::problem::Problems;
use super::tree::{Node, Position, Reader, Value};
use crate::fault::{self, Known, Mistake, POLICY, RULES_MAX, Rule};
use crate::words::nearest;

/// Reads a list of fault rules; what is wrong goes to `problems`.
pub fn read_faults(node: &Node, problems: &mut Problems) -> Vec<(Position, Rule)> {
    let Value::Seq(items) = &node.value else {
        problems.push(node.at, "faults must be a list of sentences", None);
        return Vec::new();
    };
    items.iter().filter_map(|item| read_fault(item, problems)).collect()
}

/// Reads one: a sentence, or a sentence with headers.
fn read_fault(node: &Node, problems: &mut Problems) -> Option<(Position, Rule)> {
    match &node.value {
        Value::Scalar(text) => rule_at(node.at, text, text.parse(), problems),
        Value::Map(entries) => match entries.as_slice() {
            [entry] => {
                let headers = headers_below(&entry.node, problems)?;
                rule_at(entry.at, &entry.key, fault::read(&entry.key, &headers), problems)
            }
            _ => {
                problems.push(node.at, "a fault is one sentence", None);
                None
            }
        },
        Value::Seq(_) => {
            problems.push(node.at, "a fault is a sentence, not a list", None);
            None
        }
    }
}

/// The headers and the body that stand below a sentence.
pub fn headers_below(node: &Node, problems: &mut Problems) -> Option<Vec<(String, String)>> {
    let Value::Map(entries) = &node.value else {
        problems.push(node.at, "here must be `header: value` lines", None);
        return None;
    };
    let mut out = Vec::new();
    for entry in entries {
        match &entry.node.value {
            Value::Scalar(text) => out.push((entry.key.clone(), text.clone())),
            Value::Seq(items) => {
                let values = items.iter().filter_map(Node::text);
                out.extend(values.map(|text| (entry.key.clone(), text.to_owned())));
            }
            Value::Map(_) => problems.push(entry.node.at, "a header is one value or a list", None),
        }
    }
    Some(out)
}

/// A rule that was read, or its mistake at its place in the file.
pub fn rule_at(
    at: Position,
    text: &str,
    read: Result<Rule, Mistake>,
    problems: &mut Problems,
) -> Option<(Position, Rule)> {
    match read {
        Ok(rule) => Some((at, rule)),
        Err(mistake) => {
            let Mistake { at: offset, len, text: fault, help } = mistake;
            problems.push(inside(at, text, offset, len), fault, help);
            None
        }
    }
}

/// The place of a part of a value, if it is written in one line and without escapes.
#[must_use]
pub fn inside(at: Position, text: &str, offset: usize, len: usize) -> Position {
    let quotes = match at.end.saturating_sub(at.start).checked_sub(text.len()) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return at,
    };
    let before = text.get(..offset).unwrap_or_default().chars().count() + quotes;
    let start = at.start + offset + quotes;
    let column = at.column + u32::try_from(before).unwrap_or_default();
    Position { line: at.line, column, start, end: start + len }
}

impl Lab {
    /// The rules of the lab file for a node, with who the names in them are.
    #[must_use]
    pub fn fault_rules(&self, name: &str, role: NodeRole) -> Vec<Rule> {
        let is_its =
            |rule: &&Rule| rule.node == name || (rule.node == POLICY && role == NodeRole::Pcscf);
        let rules = self.faults.iter().filter(is_its);
        rules.map(|rule| Rule { known: self.known_in(rule), ..rule.clone() }).collect()
    }

    /// Who the names in a rule are, as far as the lab knows them; and all nodes.
    #[must_use]
    pub fn known_in(&self, rule: &Rule) -> Vec<Known> {
        let nodes = self.nodes.iter().map(|node| Known {
            name: node.name.clone(),
            addresses: node.addresses().collect(),
            identities: Vec::new(),
        });
        let users = rule.names().filter_map(|(_, name)| {
            let one = self.subscribers.with_identity(name)?;
            let impus = one.impus.iter().map(|impu| impu.uri.clone());
            let identities = std::iter::once(one.impi.clone()).chain(impus).collect();
            Some(Known { name: name.to_owned(), addresses: Vec::new(), identities })
        });
        nodes.chain(users).collect()
    }

    /// Reads the key `faults` once nodes and subscribers are known.
    pub(super) fn read_faults(&mut self, reader: &mut Reader<'_>, problems: &mut Problems) {
        let Some(node) = reader.optional("faults") else { return };
        for (at, rule) in read_faults(node, problems) {
            let known = self.known_in(&rule);
            let nodes: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            if rule.node != POLICY && !nodes.contains(&rule.node.as_str()) {
                let help = nearest(&rule.node, nodes.iter().copied().chain([POLICY]))
                    .map_or_else(|| nodes.join(", "), |near| format!("did you mean `{near}`?"));
                let place = inside(at, &rule.text, 0, rule.node.len());
                problems.push(place, format!("`{}` is no node of the lab", rule.node), Some(help));
            }
            for (offset, name) in rule.names() {
                if known.iter().any(|known| known.name == name) {
                    continue;
                }
                let help = self.subscribers.nearest(name, nodes.iter().copied());
                let help = help.map(|near| format!("did you mean `{near}`?"));
                let text = format!("`{name}` is no node and no subscriber of the lab");
                problems.push(inside(at, &rule.text, offset, name.len()), text, help);
            }
            self.faults.push(rule);
        }
        if self.faults.len() > RULES_MAX {
            problems.push(node.at, format!("at most {RULES_MAX} fault rules"), None);
        }
    }

    /// The key as it is written.
    pub(super) fn written_faults(&self) -> String {
        if self.faults.is_empty() {
            return String::new();
        }
        let mut out = "\n# What nodes do wrong on purpose: docs/faults.md.\nfaults:\n".to_owned();
        for rule in &self.faults {
            out.push_str(&format!("  - '{}'\n", rule.text.replace('\'', "''")));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_lab;
    use super::*;

    #[test]
    fn a_lab_with_faults_reads_back_and_knows_who_is_meant() {
        let mut lab = Lab::default_lab();
        let rule: Rule = "p1 answers REGISTER from alice with 503 \"it's late\", first 2: \
                          {Retry-After: \"30\"}"
            .parse()
            .expect("a rule");
        lab.faults = vec![rule, "policy refuses of bob".parse().expect("a rule")];
        assert_eq!(read_lab(&lab.to_yaml()), Ok(lab.clone()));
        let rules = lab.fault_rules("p1", NodeRole::Pcscf);
        assert_eq!(rules.len(), 2);
        let alice = rules[0].known.iter().find(|known| known.name == "alice").expect("alice");
        assert!(alice.identities.contains(&"tel:+15550100001".to_owned()), "{alice:?}");
        assert!(lab.fault_rules("s1", NodeRole::Scscf).is_empty());
        let named = read_lab(&lab.to_yaml_for_cscfs()).expect("a lab");
        assert_eq!(named.fault_rules("p1", NodeRole::Pcscf), rules);
    }

    #[test]
    fn a_mistake_is_said_at_its_word() {
        let yaml = Lab::default_lab().to_yaml();
        let line = u32::try_from(yaml.lines().count()).expect("few") + 2;
        let faults = "faults:\n  - p1 drps INVITE from alice\n  - 'p1 drops INVITE from alcie'\n";
        let problems = read_lab(&(yaml + faults)).expect_err("wrong");
        let said: Vec<_> = problems
            .0
            .iter()
            .map(|it| (it.at.line, it.at.column, it.text.as_str(), it.help.as_deref()))
            .collect();
        assert_eq!(
            said,
            [
                (line, 8, "a fault rule has no verb `drps`", Some("did you mean `drops`?")),
                (
                    line + 1,
                    27,
                    "`alcie` is no node and no subscriber of the lab",
                    Some("did you mean `alice`?")
                ),
            ]
        );
    }
}
