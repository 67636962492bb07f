//! Captured values: `as $name` keeps what a condition found, `$name` stands for it in later ones
//! and in what later commands send. A name is captured once and known in every step behind.

use std::collections::BTreeMap;

use cscf_core::config::{Position, Problems, nearest};

use super::{Matcher, Order, Step, StepKind};

/// What was captured in a run so far.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    values: BTreeMap<String, Captured>,
}

/// One captured value.
#[derive(Clone, Debug)]
struct Captured {
    /// The line of the scenario that captured it.
    line: u32,
    value: String,
}

impl Captures {
    /// Keeps a value.
    pub(super) fn keep(&mut self, name: &str, line: u32, value: String) {
        self.values.insert(name.to_owned(), Captured { line, value });
    }

    /// A text with captured values in the place of their names.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        let value = |name: &str| self.values.get(name).map(|it| it.value.clone());
        replace(text, "$", value)
    }

    /// A regular expression in which captured values stand for themselves.
    fn fill_pattern(&self, pattern: &str) -> String {
        let value = |name: &str| self.values.get(name).map(|it| regex::escape(&it.value));
        replace(pattern, "$$", value)
    }

    /// A condition with captured values in the place of their names.
    pub(super) fn matcher(&self, matcher: &Matcher) -> Matcher {
        match matcher {
            Matcher::Absent | Matcher::Present => matcher.clone(),
            Matcher::AtLeast(text) => Matcher::AtLeast(self.fill(text)),
            Matcher::MoreThan(text) => Matcher::MoreThan(self.fill(text)),
            Matcher::Contains(text) => Matcher::Contains(self.fill(text)),
            Matcher::Lacks(text) => Matcher::Lacks(self.fill(text)),
            Matcher::Exact(text) => Matcher::Exact(self.fill(text)),
            Matcher::Regex(regex) => {
                let filled = self.fill_pattern(regex.as_str());
                let changed = if filled == regex.as_str() { None } else { regex_of(&filled) };
                Matcher::Regex(changed.unwrap_or_else(|| regex.clone()))
            }
        }
    }

    /// Whether all values that a condition names were captured.
    pub(super) fn knows(&self, matcher: &Matcher) -> bool {
        names(matcher.text()).iter().all(|name| self.values.contains_key(name))
    }

    /// Where the captured values in a condition come from.
    pub(super) fn origins(&self, matcher: &Matcher) -> Vec<String> {
        let names = names(matcher.text());
        let known = names.iter().filter_map(|name| Some((name, self.values.get(name)?)));
        known
            .map(|(name, it)| format!("${name} is `{}`, captured in line {}", it.value, it.line))
            .collect()
    }

    /// An order with captured values in the place of their names.
    pub(super) fn order(&self, order: &Order) -> Order {
        let mut order = order.clone();
        for text in order.texts() {
            *text = self.fill(text);
        }
        order
    }
}

fn regex_of(pattern: &str) -> Option<regex::Regex> {
    regex::Regex::new(pattern).ok()
}

/// Splits ` as $name` off a condition.
///
/// # Errors
///
/// What is wrong with the name.
pub(super) fn split(text: &str) -> Result<(&str, Option<String>), String> {
    let Some((condition, name)) = text.rsplit_once("as $") else { return Ok((text, None)) };
    if !(condition.is_empty() || condition.ends_with(' ')) || name.contains(' ') {
        return Ok((text, None));
    }
    if name_at(name) != name || name.is_empty() {
        let fault = format!("`${name}` is no name to capture under");
        return Err(format!("{fault}; write small letters, digits and _, e.g. `as $icid`"));
    }
    Ok((condition.trim_end(), Some(name.to_owned())))
}

/// The name at the begin of a text; empty where none is.
fn name_at(text: &str) -> &str {
    let is_first = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    if !text.starts_with(is_first) {
        return "";
    }
    let end = text.find(|letter: char| !is_first(letter) && !letter.is_ascii_digit());
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

/// Puts values in the place of `$name`; `dollar` is what becomes of `$$`. What a backslash precedes
/// stays as it is.
fn replace(text: &str, dollar: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\']) {
        let (before, mark) = rest.split_at(at);
        out.push_str(before);
        if let Some(tail) = mark.strip_prefix("$$") {
            out.push_str(dollar);
            rest = tail;
            continue;
        }
        if let Some(tail) = mark.strip_prefix('$') {
            let name = name_at(tail);
            match value(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("${name}")),
            }
            rest = tail.get(name.len()..).unwrap_or_default();
            continue;
        }
        let mut letters = mark.chars();
        out.extend(letters.by_ref().take(2));
        rest = letters.as_str();
    }
    out.push_str(rest);
    out
}

/// The names that a text uses.
pub(super) fn names(text: &str) -> Vec<String> {
    let found = std::cell::RefCell::new(Vec::new());
    replace(text, "$", |name| {
        if !name.is_empty() {
            found.borrow_mut().push(name.to_owned());
        }
        None
    });
    found.into_inner()
}

impl Order {
    /// The texts in an order that may use captured values.
    fn texts(&mut self) -> Vec<&mut String> {
        match self {
            Self::About { whom, order } => {
                let mut texts = order.texts();
                texts.push(whom);
                texts
            }
            Self::Dressed { headers, order } => {
                let mut texts = order.texts();
                texts.extend(headers.iter_mut().filter_map(|(_, value)| value.as_mut()));
                texts
            }
            Self::Request { target, changes, .. } => {
                let values = changes.iter_mut().flat_map(|change| &mut change.values);
                values.chain(std::iter::once(target)).collect()
            }
            Self::Message { target, text } | Self::Sms { target, text, .. } => vec![target, text],
            Self::Publish { status: text, .. }
            | Self::Call { target: text, .. }
            | Self::Options { target: text }
            | Self::Redirect { target: text }
            | Self::Transfer { target: text, .. }
            | Self::Unwatch { target: text, .. }
            | Self::Watch { target: text, .. } => vec![text],
            Self::Answer
            | Self::Cancel
            | Self::Deregister
            | Self::DeregisterAll
            | Self::Dtmf { .. }
            | Self::Fetch
            | Self::HangUp
            | Self::Hold { .. }
            | Self::KeepPublication { .. }
            | Self::LoseBearer
            | Self::Register { .. }
            | Self::Reject { .. }
            | Self::Reregister
            | Self::Ring
            | Self::SmsMemory { .. }
            | Self::Subscribe
            | Self::Video { .. } => Vec::new(),
        }
    }
}

/// The names that are captured, and in which line.
type Known = BTreeMap<String, u32>;

/// Says of each name that is used where nothing can have captured it, and of each captured twice.
pub(super) fn check(steps: &[Step], problems: &mut Problems) {
    let mut known = Known::new();
    for step in steps {
        check_step(step, &mut known, &Known::new(), problems);
    }
}

fn check_step(step: &Step, known: &mut Known, beside: &Known, problems: &mut Problems) {
    if let StepKind::Together(branches) = &step.kind {
        let before = known.clone();
        for (number, branch) in branches.iter().enumerate() {
            let mut others = Known::new();
            for (other, it) in branches.iter().enumerate() {
                if other != number {
                    others.extend(it.steps.iter().flat_map(captured).map(|(at, it)| (it, at.line)));
                }
            }
            let mut own = before.clone();
            for step in &branch.steps {
                check_step(step, &mut own, &others, problems);
            }
            for (name, line) in own {
                known.entry(name).or_insert(line);
            }
        }
        return;
    }
    let own = captured(step);
    for (at, name) in &step.uses {
        let is_own = own.iter().any(|(own_at, own)| own == name && own_at < at);
        if !is_own && !known.contains_key(name) {
            let help = help_for(name, known, beside);
            problems.push(*at, format!("`${name}` is not captured by an earlier step"), Some(help));
        }
    }
    for (at, name) in own {
        let first = known.get(&name).or_else(|| beside.get(&name)).copied();
        match first {
            Some(line) => {
                let text = format!("`${name}` is captured twice, also in line {line}");
                problems.push(at, text, Some("each name is captured once".to_owned()));
            }
            None => {
                known.insert(name, at.line);
            }
        }
    }
}

fn help_for(name: &str, known: &Known, beside: &Known) -> String {
    if let Some(line) = beside.get(name) {
        return format!(
            "line {line} captures it in another branch, which runs beside this one: use it behind \
             `together`"
        );
    }
    match nearest(name, known.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `${near}`?"),
        None => format!("capture it first, e.g. `P-Charging-Vector;icid-value: as ${name}`"),
    }
}

fn captured(step: &Step) -> Vec<(Position, String)> {
    match &step.kind {
        StepKind::Expect(seen) | StepKind::Never(seen) => seen
            .fields
            .iter()
            .filter_map(|field| Some((field.value_at, field.capture.clone()?)))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures() -> Captures {
        let mut captures = Captures::default();
        captures.keep("uri", 3, "sip:a+b@c.d".to_owned());
        captures
    }

    #[test]
    fn names_stand_for_what_was_captured() {
        for (text, filled) in [
            ("<$uri>", "<sip:a+b@c.d>"),
            ("$uri;lr", "sip:a+b@c.d;lr"),
            ("$uris and $other", "$uris and $other"),
            ("costs $5, $$uri", "costs $5, $uri"),
            ("\\$uri é $uri", "\\$uri é sip:a+b@c.d"),
            ("$", "$"),
        ] {
            assert_eq!(captures().fill(text), filled, "{text}");
        }
        assert_eq!(names("$a: /^<$b_2>$/ \\$c $$d"), ["a", "b_2"]);
    }

    #[test]
    fn a_captured_value_is_no_pattern_in_a_pattern() {
        let matcher = Matcher::read("/^<$uri>$/").expect("reads");
        let filled = captures().matcher(&matcher);
        assert!(filled.accepts(&["<sip:a+b@c.d>".to_owned()]));
        assert!(!filled.accepts(&["<sip:aab@c.d>".to_owned()]));
        // Nor is it a condition where it looks like one.
        let mut captures = Captures::default();
        captures.keep("word", 1, "absent".to_owned());
        let exact = captures.matcher(&Matcher::read("$word").expect("reads"));
        assert!(exact.accepts(&["absent".to_owned()]));
        assert!(!exact.accepts(&[]));
    }

    #[test]
    fn a_name_stands_at_the_end_of_a_condition() {
        assert_eq!(split("as $icid"), Ok(("", Some("icid".to_owned()))));
        assert_eq!(split("/<(.*)>/ as $u"), Ok(("/<(.*)>/", Some("u".to_owned()))));
        assert_eq!(split("known as $5 notes"), Ok(("known as $5 notes", None)));
        assert!(split("as $Icid").is_err());
        assert!(split("present as $").is_err());
    }
}
