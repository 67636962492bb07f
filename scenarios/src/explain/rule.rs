//! What a rule is, and what was found against one.

use cscf_core::clause::Clause;

use super::traffic::Item;

/// The longest detail, in characters.
pub(super) const DETAIL_MAX: usize = 300;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Violates what a standard demands.
    Error,
    /// Violates what a standard recommends or a profile asks for.
    Warning,
    /// Worth to be known.
    Hint,
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Hint => "hint",
        }
    }
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, e.g. `SEC-010`.
    pub id: &'static str,
    /// How bad it is to violate it.
    pub severity: Severity,
    /// Where it stands.
    pub clause: Clause,
    /// What is wrong, as a sentence.
    pub title: &'static str,
    /// What comes of it.
    pub why: &'static str,
    /// What to do instead.
    pub change: &'static str,
}

/// A place where a rule is violated.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub rule: &'static Rule,
    /// The message at fault; `None` where it cannot be read.
    pub item: Option<usize>,
    /// Who sent it.
    pub device: usize,
    /// Its frame, and those it contradicts.
    pub frames: Vec<u64>,
    /// The values.
    pub detail: String,
}

/// What is found while rules look.
#[derive(Debug, Default)]
pub(super) struct Found(pub Vec<Raw>);

impl Found {
    /// A message violates a rule.
    pub(super) fn add(&mut self, rule: &'static Rule, item: &Item, detail: impl Into<String>) {
        self.against(rule, item, &[], detail);
    }

    /// A message violates a rule together with others that came before.
    pub(super) fn against(
        &mut self,
        rule: &'static Rule,
        item: &Item,
        others: &[&Item],
        detail: impl Into<String>,
    ) {
        let frames = others.iter().map(|it| it.frame).chain([item.frame]).collect();
        let (item, device) = (Some(item.index), item.from);
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_MAX) {
            detail.truncate(end);
            detail.shrink_to_fit();
        }
        self.0.push(Raw { rule, item, device, frames, detail });
    }
}

/// The rules of a topic: each a static of its own, and all in `RULES`.
macro_rules! rules {
    ($($name:ident = $severity:ident $id:literal $clause:expr,
        $title:literal, $why:literal, $change:literal;)*) => {
        $(static $name: $crate::explain::rule::Rule = $crate::explain::rule::Rule {
            id: $id,
            severity: $crate::explain::rule::Severity::$severity,
            clause: $clause,
            title: $title,
            why: $why,
            change: $change,
        };)*
        /// The rules of this topic.
        pub(super) static RULES: &[&$crate::explain::rule::Rule] = &[$(&$name),*];
    };
}
pub(super) use rules;
