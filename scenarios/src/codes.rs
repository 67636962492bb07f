//! The table of response codes: for each entry of the catalogue, who sends it in this core, why,
//! and the scenario that shows it. It is made from what the scenarios say of themselves (`shows`),
//! so a row without a scenario says so.

use std::fmt::Write as _;

use cscf_core::config::Lab;
use cscf_core::sip::reason_phrase;
use serde::Serialize;

use crate::builtin::{self, Builtin};
use crate::conformance::Behaviour;
use crate::script::{Shows, read_scenario};

/// One response code for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The entry of the catalogue, with its letter: `RC-403a`.
    pub entry: String,
    /// The status code; none for the entry on codes that nobody knows.
    pub status: Option<u16>,
    /// The reason phrase.
    pub phrase: String,
    /// Who sends it.
    pub by: String,
    /// Why.
    pub because: String,
    /// Where the standard says so.
    pub clause: String,
    /// What `cscf run` takes; empty where no scenario shows it.
    pub scenario: String,
}

/// What the built-in scenarios show, in their order.
#[must_use]
pub fn shown() -> Vec<(&'static Builtin, Shows)> {
    let domain = Lab::default_lab().domain;
    let mut out = Vec::new();
    for builtin in builtin::ALL.iter().filter(|one| one.source.contains("\nshows:")) {
        // A unit test of the built-in scenarios says that each reads.
        let scenario = read_scenario(builtin.source, &domain);
        out.extend(scenario.iter().flat_map(|it| &it.shows).map(|it| (builtin, it.clone())));
    }
    out
}

/// The scenarios behind `code-403a`, or behind `code-403` with all its letters.
#[must_use]
pub fn find(name: &str) -> Vec<&'static Builtin> {
    let mut out: Vec<&'static Builtin> = Vec::new();
    for (builtin, shows) in shown() {
        let own = shows.name();
        let letters = own.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        let known = out.iter().any(|one| one.name == builtin.name);
        if (own == name || letters == name) && !known {
            out.push(builtin);
        }
    }
    out
}

/// The whole table, in the order of the catalogue.
#[must_use]
pub fn table(catalogue: &[Behaviour]) -> Vec<Row> {
    let shown = shown();
    let mut rows = Vec::new();
    for entry in catalogue.iter().filter(|entry| entry.id.starts_with("RC-")) {
        for marker in entry.markers() {
            rows.extend(rows_of(entry, &marker, &shown));
        }
    }
    rows
}

fn rows_of(entry: &Behaviour, marker: &str, shown: &[(&'static Builtin, Shows)]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (builtin, shows) in shown.iter().filter(|(_, shows)| shows.code == marker) {
        // The first one is found by the code, unless another has that name.
        let by_code = rows.is_empty() && builtin::find(&shows.name()).is_none();
        let scenario = if by_code { shows.name() } else { builtin.name.to_owned() };
        rows.push(Row {
            by: shows.by.clone(),
            because: shows.because.clone(),
            clause: shows.clause.clone(),
            scenario,
            ..bare(entry, marker)
        });
    }
    if rows.is_empty() { vec![bare(entry, marker)] } else { rows }
}

fn bare(entry: &Behaviour, marker: &str) -> Row {
    let digits = entry.id.strip_prefix("RC-").unwrap_or_default();
    let status: Option<u16> = digits.parse().ok();
    Row {
        entry: marker.to_owned(),
        status,
        phrase: status.map_or("any that nobody knows", reason_phrase).to_owned(),
        by: entry.role.clone(),
        because: String::new(),
        clause: entry.clause.clone(),
        scenario: String::new(),
    }
}

/// The table for a reader.
#[must_use]
pub fn text(rows: &[Row]) -> String {
    let mut out = String::new();
    let width = rows.iter().map(|row| row.scenario.len()).max().unwrap_or_default();
    let mut last = "";
    for row in rows {
        let code = code(row);
        let group = row.entry.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        if group != last {
            let _ = writeln!(out, "{code} {}", row.phrase);
            last = group;
        }
        let scenario = if row.scenario.is_empty() { "-" } else { &row.scenario };
        let because = because(row);
        let (by, clause) = (&row.by, &row.clause);
        let own = row.entry.trim_start_matches("RC-");
        let _ = writeln!(out, "    {own:5} {by:7} {scenario:width$}  {because} [{clause}]");
    }
    out
}

/// The table as a page of the documentation.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::from("| code | sent by | because | clause | `cscf run` |\n");
    out.push_str("|---|---|---|---|---|\n");
    for row in rows {
        let scenario = match row.scenario.as_str() {
            "" => "-".to_owned(),
            name => format!("`{name}`"),
        };
        let (code, phrase) = (code(row), &row.phrase);
        let because = because(row).replace('|', "\\|");
        let (by, clause) = (&row.by, &row.clause);
        let _ = writeln!(out, "| {code} {phrase} | {by} | {because} | {clause} | {scenario} |");
    }
    out
}

/// One JSON object a line.
#[must_use]
pub fn json(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        out.push_str(&serde_json::to_string(row).unwrap_or_default());
        out.push('\n');
    }
    out
}

fn code(row: &Row) -> String {
    row.status.map_or_else(|| "xxx".to_owned(), |status| status.to_string())
}

fn because(row: &Row) -> &str {
    if row.because.is_empty() { "no scenario shows it yet" } else { &row.because }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::catalogue;

    #[test]
    fn a_code_is_found_by_its_number_and_by_its_letter() {
        let names = |name: &str| find(name).iter().map(|one| one.name).collect::<Vec<_>>();
        let all = names("code-503a");
        assert!(all.len() >= 2, "{all:?}");
        let every = names("code-503");
        assert!(every.len() > all.len() && all.iter().all(|one| every.contains(one)), "{every:?}");
        assert!(names("code-499").is_empty());
    }

    #[test]
    fn a_row_names_the_scenario_that_is_run() {
        let catalogue = catalogue().expect("reads");
        let rows = table(&catalogue);
        for (builtin, shows) in shown() {
            let mut own = rows.iter().filter(|row| {
                (row.entry.as_str(), &row.because) == (shows.code.as_str(), &shows.because)
            });
            let run = |row: &Row| match builtin::find(&row.scenario) {
                Some(found) => vec![found],
                None => find(&row.scenario),
            };
            let leads = own.any(|row| run(row).iter().any(|one| one.name == builtin.name));
            assert!(leads, "{}: {}", builtin.file, shows.code);
        }
    }

    #[test]
    fn every_entry_of_the_catalogue_has_a_row_and_every_scenario_stands_in_one() {
        let catalogue = catalogue().expect("reads");
        let rows = table(&catalogue);
        let entries = catalogue.iter().filter(|entry| entry.id.starts_with("RC-"));
        for marker in entries.flat_map(Behaviour::markers) {
            assert!(rows.iter().any(|row| row.entry == marker), "{marker}");
        }
        for (builtin, shows) in shown() {
            let stands = rows.iter().any(|row| row.entry == shows.code && !row.because.is_empty());
            assert!(stands, "{}: {} is not in the catalogue", builtin.file, shows.code);
        }
    }
}
