//! The summary of a run: what it came to, which messages passed each hop, what was decided by which
//! clause, and when. As text for a terminal, and as Markdown for a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Protocol, TraceEvent, TraceKind};

use super::Parties;
use super::hops::{Hop, hops};
use super::junit::{Case, Outcome, Suite};
use super::summary::{label, result_code};

/// States that are told with their time at most.
const STATES_MAX: usize = 50;
/// Bytes of one failure's account at most.
const ACCOUNT_BYTES_MAX: usize = 20_000;

/// How a summary is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Markdown with tables (GitHub, GitLab).
    Markdown,
    /// Columns of text.
    Text,
}

/// The summary of one run.
#[must_use]
pub fn of_run(events: &[TraceEvent], parties: &Parties, result: &Suite, form: Form) -> String {
    let mut page = Page { form, out: String::new() };
    for case in &result.cases {
        page.heading(&format!("{}: {}", case.name, word(&case.outcome)));
        page.account(&case.outcome);
    }
    let messages = hops(events, parties);
    let took: Duration = result.cases.iter().map(|case| case.time).sum();
    let properties = result.properties.iter().filter(|(name, _)| name != "clauses");
    let mut facts: Vec<Vec<String>> =
        properties.map(|(name, value)| vec![name.clone(), value.clone()]).collect();
    facts.push(vec!["time".to_owned(), format!("{:.3} s", took.as_secs_f64())]);
    facts.push(vec!["messages".to_owned(), messages.len().to_string()]);
    page.table(&["", ""], &facts);
    page.heading("Messages by hop");
    page.table(&["hop", "requests", "answers"], &by_hop(&messages, parties));
    page.heading("Decisions");
    page.table(&["clause", "node", "times", "for instance"], &decisions(events));
    page.heading("States");
    page.table(&["at", "node", "state"], &states(events));
    page.out
}

/// The results of several runs or cases: a table, and the account of each that did not pass.
#[must_use]
pub fn of_results(title: &str, suites: &[Suite], form: Form) -> String {
    let mut page = Page { form, out: String::new() };
    let cases = || suites.iter().flat_map(|suite| suite.cases.iter().map(move |it| (suite, it)));
    let count = |wanted: &str| cases().filter(|(_, case)| word(&case.outcome) == wanted).count();
    let words = ["passed", "failed", "could not run", "inconclusive", "skipped"];
    let counts: Vec<String> = words
        .iter()
        .map(|word| (count(word), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    page.heading(&format!("{title}: {}", counts.join(", ")));
    let row = |(suite, case): (&Suite, &Case)| {
        let name = if suite.name == case.name {
            case.name.clone()
        } else {
            format!("{}: {}", suite.name, case.name)
        };
        let time = format!("{:.3} s", case.time.as_secs_f64());
        vec![name, word(&case.outcome).to_owned(), time, reason(&case.outcome).to_owned()]
    };
    page.table(&["case", "result", "time", ""], &cases().map(row).collect::<Vec<_>>());
    for (_, case) in cases() {
        if matches!(case.outcome, Outcome::Failed { .. } | Outcome::CouldNotRun { .. }) {
            page.heading(&format!("{}: {}", case.name, word(&case.outcome)));
            page.account(&case.outcome);
        }
    }
    page.out
}

/// The outcome in a word or three.
const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed { .. } => "failed",
        Outcome::CouldNotRun { .. } => "could not run",
        Outcome::Skipped { .. } => "skipped",
        Outcome::Inconclusive { .. } => "inconclusive",
    }
}

/// Why, in one line.
fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Passed => "",
        Outcome::Failed { message, .. } | Outcome::CouldNotRun { message, .. } => message,
        Outcome::Skipped { reason } | Outcome::Inconclusive { reason } => reason,
    }
}

/// A row a link and direction: how many of each request and of each answer.
fn by_hop(messages: &[Hop<'_>], parties: &Parties) -> Vec<Vec<String>> {
    type Counts = BTreeMap<String, usize>;
    let mut links: BTreeMap<String, (Counts, Counts)> = BTreeMap::new();
    for Hop { from, to, wire, .. } in messages {
        let point = parties.link_between(from, to, wire.protocol).as_str();
        let (requests, answers) = links.entry(format!("{point} {from} > {to}")).or_default();
        let name = label(wire);
        let code = result_code(&wire.bytes).filter(|_| wire.protocol == Protocol::Diameter);
        match (code, name.split_once(" (")) {
            (Some(code), _) => *answers.entry(format!("{name} {code}")).or_default() += 1,
            (None, Some((status, _))) => *answers.entry(status.to_owned()).or_default() += 1,
            (None, None) => *requests.entry(name).or_default() += 1,
        }
    }
    let said = |counts: Counts| {
        let each = counts.into_iter().map(|(name, count)| match count {
            1 => name,
            _ => format!("{name} x{count}"),
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let row = |(link, (requests, answers))| vec![link, said(requests), said(answers)];
    links.into_iter().map(row).collect()
}

/// A row a clause and node, refusals first.
fn decisions(events: &[TraceEvent]) -> Vec<Vec<String>> {
    let mut found: BTreeMap<(bool, String, String), (usize, &str)> = BTreeMap::new();
    for event in events {
        let TraceKind::Note(note) = &event.kind else { continue };
        let key = (!note.refusal, note.clause.to_string(), event.node.to_string());
        found.entry(key).or_insert((0, &note.text)).0 += 1;
    }
    let row = |((fine, clause, node), (count, text)): ((bool, String, String), (usize, &str))| {
        let text = if fine { text.to_owned() } else { format!("refused: {text}") };
        vec![clause, node, count.to_string(), text]
    };
    found.into_iter().map(row).collect()
}

fn states(events: &[TraceEvent]) -> Vec<Vec<String>> {
    let start = events.first().map_or(Instant::EPOCH, |event| event.at);
    let states = events.iter().filter_map(|event| match &event.kind {
        TraceKind::State(state) => {
            let at = event.at.since(start).as_secs_f64();
            Some(vec![format!("{at:.4} s"), event.node.to_string(), state.clone()])
        }
        _ => None,
    });
    states.take(STATES_MAX).collect()
}

/// What is written, in one of the forms.
struct Page {
    form: Form,
    out: String,
}

impl Page {
    fn heading(&mut self, text: &str) {
        let _ = match self.form {
            Form::Markdown => writeln!(self.out, "### {}\n", plain(text)),
            Form::Text => writeln!(self.out, "{text}\n"),
        };
    }

    /// The whole account of what went wrong.
    fn account(&mut self, outcome: &Outcome) {
        let (Outcome::Failed { text, .. } | Outcome::CouldNotRun { text, .. }) = outcome else {
            return;
        };
        let end = (0..=ACCOUNT_BYTES_MAX.min(text.len())).rev();
        let end = end.into_iter().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        let text = text.get(..end).unwrap_or_default();
        // A fence longer than any in the text: nothing of the text ends it.
        let fence =
            "`".repeat(text.split(|it| it != '`').map(str::len).max().unwrap_or(0).max(2) + 1);
        let _ = match self.form {
            Form::Markdown => writeln!(self.out, "{fence}text\n{}\n{fence}\n", text.trim_end()),
            Form::Text => writeln!(self.out, "{}\n", text.trim_end()),
        };
    }

    fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
        match self.form {
            Form::Markdown => {
                let line = |cells: &[String]| {
                    let cells: Vec<String> = cells.iter().map(|cell| plain(cell)).collect();
                    format!("| {} |\n", cells.join(" | "))
                };
                self.out.push_str(&line(&head));
                self.out.push_str(&format!("|{}\n", " --- |".repeat(head.len())));
                rows.iter().for_each(|row| self.out.push_str(&line(row)));
            }
            Form::Text => {
                let titled = head.iter().any(|name| !name.is_empty());
                let all: Vec<&Vec<String>> =
                    titled.then_some(&head).into_iter().chain(rows).collect();
                let width = |column: usize| {
                    let cells = all.iter().filter_map(|row| row.get(column));
                    cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
                };
                let widths: Vec<usize> = (0..head.len()).map(width).collect();
                for row in all {
                    let mut line = String::from(" ");
                    for (cell, width) in row.iter().zip(&widths) {
                        let cell = cell.replace(char::is_control, " ");
                        let _ = write!(line, " {cell:<width$} ");
                    }
                    let _ = writeln!(self.out, "{}", line.trim_end());
                }
            }
        }
        self.out.push('\n');
    }
}

/// A text of which nothing is Markdown or HTML, in one line.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '#' | '~' => {
                out.push('\\');
                out.push(letter);
            }
            _ if letter.is_control() => out.push(' '),
            // No mail address or name becomes a link.
            '@' => out.push_str("&#64;"),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cscf_core::clause::ts24229;
    use cscf_core::trace::{Note, Wire};
    use cscf_core::transport::Transport;

    use super::*;

    fn result(outcome: Outcome) -> Suite {
        let case = Case {
            name: "call|busy".into(),
            classname: "cscf.run".into(),
            time: Duration::from_millis(1500),
            outcome,
            properties: Vec::new(),
            system_out: String::new(),
        };
        Suite { name: "call|busy".into(), properties: Vec::new(), cases: vec![case] }
    }

    #[test]
    fn a_run_is_told_by_hop_clause_and_state() {
        let addr = |host: u8| std::net::SocketAddr::from(([127, 0, 0, host], 5060));
        let wire = |text: &'static str| Wire {
            protocol: Protocol::Sip,
            transport: Transport::Udp,
            local: addr(1),
            remote: addr(2),
            bytes: Bytes::from_static(text.as_bytes()),
        };
        let event = |ms, kind| TraceEvent { at: Instant::from_millis(ms), node: "p1".into(), kind };
        let note = |text: &str, refusal| Note::new(ts24229("5.2.6.3"), text.into(), refusal);
        let events = [
            event(1, TraceKind::Sent(wire("OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n"))),
            event(1, TraceKind::Sent(wire("OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n"))),
            event(2, TraceKind::Sent(wire("SIP/2.0 486 Busy\r\nCSeq: 1 INVITE\r\n\r\n"))),
            event(3, TraceKind::Note(note("goes on", false))),
            event(4, TraceKind::Note(note("no <b>", true))),
            event(5, TraceKind::State("drained".into())),
        ];
        let parties = Parties::default();
        let passed = result(Outcome::Passed);
        let text = of_run(&events, &parties, &passed, Form::Text);
        for line in [
            "call|busy: passed",
            "time      1.500 s",
            "Gm p1 > 127.0.0.2:5060  OPTIONS x2  486",
            "TS 24.229 §5.2.6.3  p1    1      refused: no <b>",
            "0.0040 s  p1    drained",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let page = of_run(&events, &parties, &passed, Form::Markdown);
        assert!(page.contains("### call\\|busy: passed"), "{page}");
        assert!(page.contains("| refused: no &lt;b&gt; |"), "{page}");
    }

    #[test]
    fn what_failed_is_told_whole_and_ends_no_fence() {
        let failed = Outcome::Failed {
            kind: "expectation".into(),
            message: "x is not as expected".into(),
            text: "error: x\n```\n<script>".into(),
        };
        let page =
            of_results("cscf run", &[result(failed), result(Outcome::Passed)], Form::Markdown);
        assert!(page.starts_with("### cscf run: 1 passed, 1 failed\n"), "{page}");
        assert!(page.contains("| failed | 1.500 s | x is not as expected |"), "{page}");
        assert!(page.contains("````text\nerror: x\n```\n<script>\n````\n"), "{page}");
    }
}
