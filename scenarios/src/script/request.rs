//! The lines under `alice sends request …`: what is other than a UE would write it.

use cscf_core::config::{Entry, Node, Problems, Value};

use crate::ue::{Change, PARTS, SIZE_MAX};

/// Whether a header may be called so (RFC 3261 §25.1).
pub(super) fn is_token(text: &str) -> bool {
    let marks = "-.!%*_+`'~";
    let fits = |letter: char| letter.is_ascii_alphanumeric() || marks.contains(letter);
    !text.is_empty() && text.chars().all(fits)
}

/// Reads one line: a header or a part of the request, and what stands there.
pub(super) fn change(entry: &Entry, problems: &mut Problems) -> Option<Change> {
    let name = entry.key.clone();
    if !PARTS.contains(&name.as_str()) && !is_token(&name) {
        problems.push(entry.at, format!("`{name}` is no name of a header"), None);
        return None;
    }
    let values = match &entry.node.value {
        Value::Scalar(text) if text == "absent" => Vec::new(),
        Value::Seq(items) => items.iter().map(|item| text(item, problems)).collect(),
        Value::Scalar(_) | Value::Map(_) => vec![text(&entry.node, problems)],
    };
    let count = values.len();
    let first = values.first().map(String::as_str).unwrap_or_default();
    if PARTS.contains(&name.as_str()) && count != 1 {
        problems.push(entry.node.at, format!("`{name}` is one value"), None);
    }
    let size = first.parse::<usize>().ok().filter(|size| *size <= SIZE_MAX);
    if name.ends_with("_size") && size.is_none() {
        let fault = format!("`{name}` is a number of bytes, {SIZE_MAX} at most");
        problems.push(entry.node.at, fault, None);
    }
    if name == "version" && first.parse::<u8>().is_err() {
        problems.push(entry.node.at, "`version` is the major number of SIP", None);
    }
    Some(Change { name, values })
}

/// A value; a header of several lines would be several headers.
fn text(node: &Node, problems: &mut Problems) -> String {
    match node.text() {
        Some(text) => text.to_owned(),
        None => {
            problems.push(node.at, "here must be a text", None);
            String::new()
        }
    }
}
