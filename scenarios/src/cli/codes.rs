//! `cscf codes`: who sends which response code, why, and the scenario that shows it.

use crate::codes::{Row, json, table, text};
use crate::conformance::catalogue;

/// The rows of these codes (`403`) or entries (`403a`), or all.
pub(super) fn codes(wanted: &[String], as_json: bool) -> Result<String, String> {
    let catalogue = catalogue().map_err(|_| "the built-in catalogue cannot be read".to_owned())?;
    let mut rows = table(&catalogue);
    for text in wanted {
        let status = text.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        let known = status.parse().is_ok_and(|status| (100..700_u16).contains(&status));
        if !known {
            return Err(format!("`{text}` is no response code; write `403` or `403a`"));
        }
        if !rows.iter().any(|row| is_asked(row, text)) {
            return Err(format!("nobody in this core sends {text} by itself"));
        }
    }
    rows.retain(|row| wanted.is_empty() || wanted.iter().any(|text| is_asked(row, text)));
    Ok(if as_json { json(&rows) } else { text(&rows) })
}

fn is_asked(row: &Row, text: &str) -> bool {
    row.entry.strip_prefix("RC-") == Some(text)
        || row.status.is_some_and(|status| status.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_asked_for_with_or_without_its_letter() {
        let lines = |text: &str| {
            let rows = codes(&[text.to_owned()], true)?;
            Ok::<_, String>(rows.lines().count())
        };
        let (all, one) = (lines("403").expect("rows"), lines("403a").expect("rows"));
        assert!(one >= 1 && one < all, "{one} of {all}");
        assert!(lines("299").is_err_and(|fault| fault.contains("nobody")));
        assert!(lines("4o3").is_err_and(|fault| fault.contains("write `403`")));
        assert!(lines("999").is_err());
    }
}
