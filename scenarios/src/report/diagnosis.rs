//! The diagnosis of a refusal as lines for a person: which check in which node, both values, the
//! clause, what to change.

use std::borrow::Cow;

use cscf_core::trace::{Diagnosis, Note};

use super::plain;

/// The lines of a diagnosed note; empty for any other.
#[must_use]
pub fn lines(node: &str, note: &Note) -> Vec<String> {
    let Some(diagnosis) = note.diagnosis.as_deref() else { return Vec::new() };
    let Diagnosis { about, check, ours, theirs, change } = diagnosis;
    let mut out = vec![format!("{node} on {about}: {check} [{}]", note.clause)];
    for (name, value) in [("came", theirs), ("here", ours), ("change", change)] {
        if !value.is_empty() {
            out.push(format!("  {name:<6} {value}"));
        }
    }
    for line in &mut out {
        if let Cow::Owned(clean) = plain(line) {
            *line = clean;
        }
    }
    out
}

/// A field of a diagnosis by its name in scenarios.
#[must_use]
pub fn field(note: &Note, name: &str) -> Option<String> {
    let diagnosis = note.diagnosis.as_deref()?;
    let value = match name {
        "about" => &diagnosis.about,
        "came" => &diagnosis.theirs,
        "change" => &diagnosis.change,
        "check" => &diagnosis.check,
        "here" => &diagnosis.ours,
        "clause" => return Some(note.clause.to_string()),
        _ => return None,
    };
    (!value.is_empty()).then(|| value.clone())
}

#[cfg(test)]
mod tests {
    use cscf_core::clause::ts24229;

    use super::*;

    #[test]
    fn a_diagnosis_has_a_line_for_each_value_that_is_there() {
        let diagnosis = Diagnosis::new("alice", "the realm").theirs("a").change("write b");
        let note = Note::diagnosed(ts24229("5.4.1.2.1"), "no".into(), diagnosis);
        let text = lines("s1", &note).join("\n");
        assert_eq!(
            text,
            "s1 on alice: the realm [TS 24.229 §5.4.1.2.1]\n  came   a\n  change write b"
        );
        assert_eq!(field(&note, "here"), None);
        assert_eq!(field(&note, "check").as_deref(), Some("the realm"));
    }
}
