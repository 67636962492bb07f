//! What a header must look like: exact text, `/regex/`, `contains …`, `present`, `absent`,
//! `at least 600`.

use std::fmt;

use regex::Regex;

/// A condition on the values of a header.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// The header is not there.
    Absent,
    /// One value begins with a number that is not less.
    AtLeast(String),
    /// One value contains this text.
    Contains(String),
    /// No value contains this text.
    Lacks(String),
    /// One value is this text.
    Exact(String),
    /// One value begins with a number that is greater.
    MoreThan(String),
    /// The header is there.
    Present,
    /// One value matches.
    Regex(Regex),
}

impl Matcher {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// The regular expression's own words when it is none.
    pub fn read(text: &str) -> Result<Self, String> {
        if let Some(pattern) =
            text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|p| !p.is_empty())
        {
            return Regex::new(pattern).map(Self::Regex).map_err(|fault| {
                // The last of its lines says what; the others show where.
                let fault = fault.to_string();
                let reason = fault.lines().last().unwrap_or_default();
                let reason = reason.trim().trim_start_matches("error: ");
                format!("`{pattern}` is no regular expression: {reason}")
            });
        }
        for (words, of) in
            [("at least ", Self::AtLeast as fn(String) -> Self), ("more than ", Self::MoreThan)]
        {
            let limit = text.strip_prefix(words).map(str::trim).unwrap_or_default();
            // A captured value is known when the scenario runs.
            if limit.starts_with('$') || number(limit).is_some_and(|it| it.to_string() == limit) {
                return Ok(of(limit.to_owned()));
            }
        }
        Ok(match text {
            "absent" => Self::Absent,
            "present" => Self::Present,
            _ => match text.split_once(' ') {
                Some(("contains", rest)) => Self::Contains(rest.trim().to_owned()),
                Some(("lacks", rest)) => Self::Lacks(rest.trim().to_owned()),
                _ => Self::Exact(text.to_owned()),
            },
        })
    }

    /// The text in the condition, in which captured values may be named.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Absent | Self::Present => "",
            Self::AtLeast(text)
            | Self::Contains(text)
            | Self::Lacks(text)
            | Self::Exact(text)
            | Self::MoreThan(text) => text,
            Self::Regex(regex) => regex.as_str(),
        }
    }

    /// What the condition finds in the values of a header: of a regular expression its first group,
    /// if it has one, else the whole value.
    pub(super) fn found(&self, values: &[String]) -> Option<String> {
        let value = values.iter().find(|value| self.accepts(std::slice::from_ref(*value)))?;
        if let Self::Regex(regex) = self
            && let Some(group) = regex.captures(value).and_then(|groups| groups.get(1))
        {
            return Some(group.as_str().to_owned());
        }
        Some(value.clone())
    }

    /// Whether the values of a header satisfy the condition.
    #[must_use]
    pub fn accepts(&self, values: &[String]) -> bool {
        match self {
            Self::Absent => values.is_empty(),
            Self::AtLeast(limit) => compares(values, limit, |own, limit| own >= limit),
            Self::MoreThan(limit) => compares(values, limit, |own, limit| own > limit),
            Self::Contains(text) => values.iter().any(|value| value.contains(text.as_str())),
            Self::Lacks(text) => !values.iter().any(|value| value.contains(text.as_str())),
            Self::Exact(text) => values.iter().any(|value| value == text),
            Self::Present => !values.is_empty(),
            Self::Regex(regex) => values.iter().any(|value| regex.is_match(value)),
        }
    }
}

/// The number that a value begins with: `7` of `CSeq: 7 REGISTER`.
fn number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn compares(values: &[String], limit: &str, fits: fn(u64, u64) -> bool) -> bool {
    let Some(limit) = number(limit) else { return false };
    values.iter().filter_map(|value| number(value)).any(|own| fits(own, limit))
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::AtLeast(limit) => write!(f, "at least {limit}"),
            Self::MoreThan(limit) => write!(f, "more than {limit}"),
            Self::Contains(text) => write!(f, "contains {text}"),
            Self::Lacks(text) => write!(f, "lacks {text}"),
            Self::Exact(text) if text.is_empty() => f.write_str("an empty value"),
            Self::Exact(text) => f.write_str(text),
            Self::Present => f.write_str("present"),
            Self::Regex(regex) => write!(f, "/{regex}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_accepts_and_refuses() {
        let values = ["<sip:a@b;lr>".to_owned(), "x".to_owned()];
        for (text, fits) in [
            ("absent", false),
            ("present", true),
            ("x", true),
            ("sip", false),
            ("contains a@b", true),
            ("contains c@d", false),
            ("lacks c@d", true),
            ("lacks a@b", false),
            ("/^<sip:.*;lr>$/", true),
            ("/^sip/", false),
        ] {
            let matcher = Matcher::read(text).expect("reads");
            assert_eq!(matcher.accepts(&values), fits, "{text}");
        }
        assert!(Matcher::read("/(/").is_err());
        let numbers = ["x".to_owned(), "7 REGISTER".to_owned()];
        for (text, fits) in [
            ("at least 7", true),
            ("at least 8", false),
            ("more than 6", true),
            ("more than 7", false),
        ] {
            assert_eq!(Matcher::read(text).expect("reads").accepts(&numbers), fits, "{text}");
        }
        let text = Matcher::read("at least 60 s are left").expect("reads");
        assert!(matches!(text, Matcher::Exact(_)));
        assert!(Matcher::read("absent").expect("reads").accepts(&[]));
    }
}
