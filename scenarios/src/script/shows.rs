//! The key `shows`: which response codes a scenario shows, who sends them, and why.

use cscf_core::config::{Node, Position, Problems, Reader, Value, nearest};

use super::words;

/// A response code that a scenario shows (`cscf codes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shows {
    /// Where it stands.
    pub at: Position,
    /// The entry of the catalogue, with its letter where it has letters: `RC-403a`.
    pub code: String,
    /// Who sends it: one of [`Shows::BY`].
    pub by: String,
    /// The reason, in words.
    pub because: String,
    /// Where the standard says so.
    pub clause: String,
}

impl Shows {
    /// Who may send a response.
    pub const BY: [&str; 5] = ["p-cscf", "i-cscf", "s-cscf", "as", "ue"];

    /// The status code; `None` for one that stands for all codes nobody knows.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let digits = self.code.strip_prefix("RC-")?;
        digits.trim_end_matches(|letter: char| letter.is_ascii_lowercase()).parse().ok()
    }

    /// The name under which `cscf run` finds the scenario: `code-403a`.
    #[must_use]
    pub fn name(&self) -> String {
        self.code.replace("RC-", "code-").to_ascii_lowercase()
    }
}

/// Reads one entry or a list of them.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Vec<Shows> {
    let items = match &node.value {
        Value::Seq(items) => items.as_slice(),
        Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(node),
    };
    items.iter().filter_map(|item| one(item, problems)).collect()
}

fn one(node: &Node, problems: &mut Problems) -> Option<Shows> {
    let mut reader = Reader::new(node, "what is shown", problems);
    let code = reader.required("code", problems);
    let by = reader.required("by", problems);
    let mut text = |key| {
        let node = reader.required(key, problems);
        node.map(|node| words::text(node, problems)).unwrap_or_default()
    };
    let (because, clause) = (text("because"), text("clause"));
    reader.finish(problems);
    let (code, by) = (code?, by?);
    let name = code.text().unwrap_or_default();
    if !name.starts_with("RC-") {
        let fault = format!("`{name}` is no response code of the catalogue");
        problems.push(code.at, fault, Some("write it as `RC-488`".to_owned()));
    }
    let role = by.text().unwrap_or_default();
    if !Shows::BY.contains(&role) {
        let help = nearest(role, Shows::BY).map_or_else(
            || format!("known: {}", Shows::BY.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        problems.push(by.at, format!("`{role}` sends no responses"), Some(help));
    }
    let (code, by) = (name.to_owned(), role.to_owned());
    Some(Shows { at: node.at, code, by, because, clause })
}
