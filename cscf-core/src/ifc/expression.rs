//! The regular expressions of a user profile (extended ones, TS 29.228 §B.2.3): compiled once,
//! shared by all profiles that hold the same text, and bounded. Matching takes time linear in the
//! text, whatever the expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

/// The longest expression, in bytes.
const PATTERN_MAX: usize = 1_024;
/// The most memory one compiled expression may take, in bytes.
const COMPILED_MAX: usize = 65_536;
/// Compiled expressions that are shared; beyond that one in use is compiled for its profile alone.
const SHARED_MAX: usize = 10_000;

/// Compiles expressions, each text once.
#[derive(Debug, Default)]
pub struct Expressions {
    known: BTreeMap<(bool, Box<str>), Option<Arc<Regex>>>,
}

/// An expression of a profile. One that is none never matches.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    /// As it stands in the profile.
    pub(super) text: Box<str>,
    regex: Option<Arc<Regex>>,
}

/// Two expressions with one text are one.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Expression {
    /// Whether the text holds a match.
    pub(super) fn is_found_in(&self, text: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// Whether it can match at all.
    pub(super) const fn is_usable(&self) -> bool {
        self.regex.is_some()
    }
}

impl Expressions {
    /// Nothing is compiled yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { known: BTreeMap::new() }
    }

    /// An expression that is looked for anywhere in a text, upper and lower case apart.
    pub(super) fn anywhere(&mut self, text: &str) -> Expression {
        Expression { text: text.into(), regex: self.compiled(text, false) }
    }

    /// An expression that a name must match as a whole, whatever its case.
    pub(super) fn whole_name(&mut self, text: &str) -> Expression {
        Expression { text: text.into(), regex: self.compiled(text, true) }
    }

    fn compiled(&mut self, text: &str, name: bool) -> Option<Arc<Regex>> {
        let key = (name, Box::from(text));
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let regex = compile(text, name).map(Arc::new);
        if self.known.len() >= SHARED_MAX {
            let used = |regex: &mut Option<Arc<Regex>>| {
                regex.as_ref().is_some_and(|regex| Arc::strong_count(regex) > 1)
            };
            self.known.retain(|_, regex| used(regex));
        }
        if self.known.len() < SHARED_MAX {
            self.known.insert(key, regex.clone());
        }
        regex
    }
}

fn compile(text: &str, name: bool) -> Option<Regex> {
    if text.len() > PATTERN_MAX {
        return None;
    }
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .case_insensitive(name)
            .size_limit(COMPILED_MAX)
            .dfa_size_limit(COMPILED_MAX)
            .nest_limit(50)
            .build()
            .ok()
    };
    let regex = build(text)?;
    if name { build(&format!("^(?:{text})$")) } else { Some(regex) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_compiled_once_and_shared() {
        let mut all = Expressions::new();
        let (one, two) = (all.anywhere("a+"), all.anywhere("a+"));
        assert!(Arc::ptr_eq(one.regex.as_ref().unwrap(), two.regex.as_ref().unwrap()));
        assert_eq!(all.known.len(), 1);
    }

    #[test]
    fn what_is_no_expression_or_too_large_never_matches() {
        let mut all = Expressions::new();
        let long = "a".repeat(PATTERN_MAX + 1);
        for text in ["(", "[a-", "(a{1000}){1000}", "x{999999}", &long] {
            let expression = all.anywhere(text);
            assert!(!expression.is_usable(), "{text}");
            assert!(!expression.is_found_in(text));
        }
    }

    /// `(a+)+$` takes a backtracking matcher longer than anybody lives.
    #[test]
    fn a_hostile_expression_takes_no_longer_than_others() {
        let mut all = Expressions::new();
        let text = format!("{}!", "a".repeat(100_000));
        assert!(!all.anywhere("(a+)+$").is_found_in(&text));
        assert!(!all.anywhere("(a|a)*b").is_found_in(&text));
    }

    #[test]
    fn expressions_that_nobody_uses_make_room() {
        let mut all = Expressions::new();
        let kept = all.anywhere("kept");
        for number in 0..SHARED_MAX + 10 {
            all.anywhere(&format!("n{number}"));
        }
        assert!(all.known.len() <= SHARED_MAX);
        assert!(all.known.contains_key(&(false, "kept".into())) && kept.is_usable());
    }
}
