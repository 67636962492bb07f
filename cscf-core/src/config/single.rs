//! One subscriber by itself, as it comes and goes while a lab runs: its entry in one line, and as
//! JSON with the keys of a lab file.

use serde_json::{Map, Value as Json};

use super::lab::Lab;
use super::problem::{Problem, Problems};
use super::subscriber::{SubscriberConfig, read_subscriber};
use super::tree::{Node, Value, read_tree};
use super::write::write_subscriber;
use crate::hss::Subscriber;

impl Lab {
    /// Reads the entry of a subscriber as it may stand in the file of this lab; JSON is one form of
    /// it.
    ///
    /// # Errors
    ///
    /// What is wrong, with the columns.
    pub fn subscriber_from(&self, name: &str, entry: &str) -> Result<SubscriberConfig, String> {
        let tree = read_tree(entry).map_err(|problems| told(&problems))?;
        let mut problems = Problems::default();
        let read = read_subscriber(name, &tree, &self.domain, &mut problems);
        match read {
            Some(one) if problems.is_empty() => {
                let unknown = self.unknown_servers_of(&one);
                if unknown.is_empty() { Ok(one) } else { Err(unknown.join("\n")) }
            }
            _ => Err(told(&problems)),
        }
    }

    /// What the HSS of a network keeps of a subscriber; `None` if it belongs to another network.
    #[must_use]
    pub fn subscription_in(&self, domain: &str, one: &SubscriberConfig) -> Option<Subscriber> {
        (self.home_of(one) == domain).then(|| self.subscription(one))
    }
}

impl SubscriberConfig {
    /// The entry with the keys of a lab file; every value is a text, a list or an object.
    #[must_use]
    pub fn entry(&self) -> Map<String, Json> {
        let mut text = String::new();
        write_subscriber(&mut text, self);
        let read = read_tree(&text).ok();
        match read.as_ref().map(|tree| &tree.value) {
            Some(Value::Map(entries)) => match entries.first().map(|entry| json(&entry.node)) {
                Some(Json::Object(entry)) => entry,
                _ => Map::new(),
            },
            _ => Map::new(),
        }
    }
}

/// Reads an entry of a lab file into JSON; every value is a text, a list or an object.
///
/// # Errors
///
/// What is no entry, with the columns.
pub fn read_entry(text: &str) -> Result<Map<String, Json>, String> {
    let tree = read_tree(text).map_err(|problems| told(&problems))?;
    match json(&tree) {
        Json::Object(entry) => Ok(entry),
        _ => Err("an entry looks like {impi: …, impus: […], digest: {password: …}}".to_owned()),
    }
}

fn told(problems: &Problems) -> String {
    let one = |problem: &Problem| {
        let help = problem.help.as_ref().map(|help| format!(" ({help})"));
        format!("column {}: {}{}", problem.at.column, problem.text, help.unwrap_or_default())
    };
    problems.0.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Map(entries) => {
            let pairs = entries.iter().map(|entry| (entry.key.clone(), json(&entry.node)));
            Json::Object(pairs.collect())
        }
        Value::Scalar(text) => Json::String(text.clone()),
        Value::Seq(items) => Json::Array(items.iter().map(json).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subscriber_reads_back_from_its_json() {
        let lab = Lab::default_lab();
        for one in lab.subscribers.listed() {
            let entry = Json::Object(one.entry()).to_string();
            assert!(!entry.contains('\n'), "{entry}");
            assert_eq!(lab.subscriber_from(&one.name, &entry), Ok(one.clone()));
        }
    }

    #[test]
    fn what_is_wrong_in_an_entry_is_said_with_its_column() {
        let lab = Lab::default_lab();
        let fault = |entry: &str| lab.subscriber_from("erin", entry).expect_err("wrong");
        let said = fault("{impi: erin, impus: [erin], digest: {password: x}}");
        assert!(said.starts_with("column 22: `erin` is no public identity"), "{said}");
        assert!(fault("{impi: erin").starts_with("column "));
        let said = fault(
            "{impi: e, impus: [\"sip:e@x\"], digest: {password: x}, \
             filter_criteria: [{priority: 0, server: as9}]}",
        );
        assert!(said.contains("as9"), "{said}");
        assert!(fault("{impi: e, impis: 1}").contains("unknown key `impis`"));
    }
}
