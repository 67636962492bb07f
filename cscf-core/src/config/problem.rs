//! What is wrong with a file, and how it is said: place, excerpt, caret, what would be right.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::tree::Position;
pub(super) use crate::words::nearest;

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
