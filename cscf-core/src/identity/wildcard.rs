//! Wildcarded identities: one text that stands for many identities, an extended regular expression
//! between exclamation marks (TS 23.003 §13.4A, §13.5).

use regex::{Regex, RegexBuilder};

/// The longest wildcarded identity, in bytes.
const TEXT_MAX: usize = 512;
/// The most memory a compiled one may take, in bytes.
const COMPILED_MAX: usize = 65_536;

/// A wildcarded identity that can be matched; in time linear in the text, whatever the expression.
#[derive(Clone, Debug)]
pub struct Wildcard {
    text: Box<str>,
    regex: Regex,
}

impl Wildcard {
    /// Whether a text is meant as a wildcarded identity: it holds two exclamation marks.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.find('!').is_some_and(|at| text.rfind('!') != Some(at))
    }

    /// Reads a wildcarded identity; `None` if it is not one, or an expression that is too large.
    /// The outermost exclamation marks are the delimiters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (start, end) = (text.find('!')?, text.rfind('!')?);
        if start == end || text.len() > TEXT_MAX {
            return None;
        }
        let (before, expression) = (text.get(..start)?, text.get(start + 1..end)?);
        let after = text.get(end + 1..)?;
        let (scheme, before) = before.split_once(':')?;
        // Port and parameters are no part of an identity.
        let after = after.find([';', ':', '?']).map_or(after, |at| after.split_at(at).0);
        let (user, host) = after.split_once('@').unwrap_or((after, ""));
        let host = if host.is_empty() { String::new() } else { format!("@{host}") };
        let fixed = |text: &str| regex::escape(text);
        let pattern = format!(
            "^{}:{}(?:{expression}){}{}$",
            fixed(&scheme.to_ascii_lowercase()),
            fixed(before),
            fixed(user),
            fixed(&host.to_ascii_lowercase())
        );
        // The expression alone first: it must not close the group around it.
        for pattern in [expression, &pattern] {
            compile(pattern)?;
        }
        Some(Self { text: text.into(), regex: compile(&pattern)? })
    }

    /// The identity as the HSS has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it stands for the identity with this key, see [`Impu`](super::Impu).
    #[must_use]
    pub fn stands_for(&self, key: &str) -> bool {
        self.regex.is_match(key)
    }
}

/// The same text means the same.
impl PartialEq for Wildcard {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Wildcard {}

fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern)
        .size_limit(COMPILED_MAX)
        .dfa_size_limit(COMPILED_MAX)
        .nest_limit(50)
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_for_what_its_expression_matches_as_a_whole() {
        for (text, key, matches) in [
            ("sip:pbx!.*!@ims.example", "sip:pbx12@ims.example", true),
            ("sip:pbx!.*!@IMS.example:5060;user=phone", "sip:pbx@ims.example", true),
            ("sip:pbx!.*!@ims.example", "sip:apbx12@ims.example", false),
            ("sip:pbx!.*!@ims.example", "sip:pbx12@ims.example.org", false),
            ("tel:+1555!01[0-9]{2}!", "tel:+15550123", true),
            ("tel:+1555!01[0-9]{2}!", "tel:+155501234", false),
            ("sip:!a|b!@h", "sip:a@h", true),
            ("sip:!a|b!@h", "sip:ab@h", false),
            // The outermost marks count.
            ("sip:x!a!b!@h", "sip:xa!b@h", true),
        ] {
            let wildcard = Wildcard::parse(text).expect(text);
            assert_eq!(wildcard.stands_for(key), matches, "{text} for {key}");
        }
    }

    #[test]
    fn what_is_none_or_too_large_is_refused() {
        let long = format!("sip:!{}!@h", "a".repeat(TEXT_MAX));
        for text in [
            "sip:a@h",
            "sip:a!b@h",
            "!.*!",
            "sip:!(!@h",
            "sip:!a)|(.*!@h",
            &long,
            "sip:!(a{999}){999}!@h",
        ] {
            assert_eq!(Wildcard::parse(text), None, "{text}");
        }
        let hostile = Wildcard::parse("sip:!(a+)+!@h").expect("an expression");
        assert!(!hostile.stands_for(&format!("sip:{}@", "a".repeat(100_000))));
    }
}
