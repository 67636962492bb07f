//! What is wrong with a file, and how it is said: place, excerpt, caret, what would be right.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::tree::Position;

/// One mistake of an operator in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it begins.
    pub at: Position,
    /// What is wrong, lower case, no full stop.
    pub text: String,
    /// What would be right.
    pub help: Option<String>,
}

/// All mistakes found in one file, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds a mistake.
    pub fn push(&mut self, at: Position, text: impl Into<String>, help: Option<String>) {
        self.0.push(Problem { at, text: text.into(), help });
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes the mistakes as a person reads them: `error: …`, `--> file:line:column`, the line, a
/// caret and the help.
#[must_use]
pub fn render(file: &str, source: &str, problems: &Problems, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut sorted: Vec<&Problem> = problems.0.iter().collect();
    sorted.sort_by_key(|problem| (problem.at.line, problem.at.column));
    let mut out = String::new();
    for problem in sorted {
        let span = problem.at.byte_range(source);
        let snippet =
            Snippet::source(source).path(file).annotation(AnnotationKind::Primary.span(span));
        let mut report =
            vec![Group::with_title(Level::ERROR.primary_title(&*problem.text)).element(snippet)];
        if let Some(help) = &problem.help {
            report.push(Group::with_title(Level::HELP.secondary_title(&**help)));
        }
        let _ = writeln!(out, "{}", renderer.render(&report));
    }
    out
}

/// The candidate nearest to `word` by edit distance, if it is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.len() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate, limit), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance without regard to case; gives up above `limit`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    if a.chars().count().abs_diff(b.chars().count()) > limit {
        return limit + 1;
    }
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let change = diagonal + usize::from(from != to);
            diagonal = *cell;
            *cell = change.min(diagonal + 1).min(left + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_proposed_and_a_far_one_is_not() {
        assert_eq!(nearest("subcribers", ["subscribers", "nodes"]), Some("subscribers"));
        assert_eq!(nearest("lisen", ["listen", "role"]), Some("listen"));
        assert_eq!(nearest("xyzzy", ["listen", "role"]), None);
        assert_eq!(distance("kitten", "sitting", 9), 3);
    }
}
