//! What is covered, as text, JSON and Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::catalogue::Behaviour;

/// Which tests prove which marker (`P-REG-100`, `P-REG-390a`).
pub type Coverage = BTreeMap<String, Vec<String>>;

/// One entry of the catalogue with what is known about its proof.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The id.
    pub id: String,
    /// The tier.
    pub tier: u8,
    /// The role.
    pub role: String,
    /// Every case of it is proven.
    pub covered: bool,
    /// The tests and scenario steps that prove it.
    pub by: Vec<String>,
    /// Cases that no test proves yet, of an entry of which some are proven.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open_cases: Vec<String>,
    /// The area.
    pub area: String,
    /// Its title.
    pub title: String,
    /// The clause.
    pub clause: String,
    /// Whether the primary text was read.
    pub verified: bool,
}

/// Joins catalogue and coverage, in the order of the catalogue.
#[must_use]
pub fn rows(catalogue: &[Behaviour], coverage: &Coverage) -> Vec<Row> {
    let row = |entry: &Behaviour| {
        let markers = entry.markers();
        let mut by: Vec<String> =
            markers.iter().filter_map(|marker| coverage.get(marker)).flatten().cloned().collect();
        by.sort();
        by.dedup();
        let open: Vec<String> =
            markers.into_iter().filter(|marker| !coverage.contains_key(marker)).collect();
        let covered = open.is_empty();
        let open_cases = if covered || by.is_empty() { Vec::new() } else { open };
        Row {
            id: entry.id.clone(),
            tier: entry.tier,
            role: entry.role.clone(),
            covered,
            by,
            open_cases,
            area: entry.area.clone(),
            title: entry.title.clone(),
            clause: entry.clause.clone(),
            verified: entry.verified,
        }
    };
    catalogue.iter().map(row).collect()
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

/// Covered and total by a key, per tier.
fn table(rows: &[Row], key: impl Fn(&Row) -> &str) -> BTreeMap<&str, [(usize, usize); 3]> {
    let mut table: BTreeMap<&str, [(usize, usize); 3]> = BTreeMap::new();
    for row in rows {
        let cells = table.entry(key(row)).or_default();
        if let Some(cell) = cells.get_mut(usize::from(row.tier).saturating_sub(1)) {
            cell.0 += usize::from(row.covered);
            cell.1 += 1;
        }
    }
    table
}

fn totals(rows: &[Row]) -> [(usize, usize); 3] {
    table(rows, |_| "all").into_values().next().unwrap_or_default()
}

fn cell((covered, total): (usize, usize)) -> String {
    if total == 0 { "-".to_owned() } else { format!("{covered}/{total}") }
}

/// The summary for a terminal: per role and area, then what is not covered.
#[must_use]
pub fn text(rows: &[Row]) -> String {
    let mut out = String::new();
    for (head, table) in
        [("role", table(rows, |row| &row.role)), ("area", table(rows, |row| &row.area))]
    {
        let _ = writeln!(out, "{head:<16}{:>10}{:>10}{:>10}", "tier 1", "tier 2", "tier 3");
        for (name, [one, two, three]) in table {
            let (one, two, three) = (cell(one), cell(two), cell(three));
            let _ = writeln!(out, "{name:<16}{one:>10}{two:>10}{three:>10}");
        }
        out.push('\n');
    }
    let [one, two, three] = totals(rows).map(cell);
    let _ = writeln!(out, "{:<16}{one:>10}{two:>10}{three:>10}\n", "all");
    for tier in 1..=3 {
        let _ = writeln!(out, "not covered, tier {tier}:");
        for row in rows.iter().filter(|row| row.tier == tier && !row.covered) {
            let open = if row.open_cases.is_empty() {
                String::new()
            } else {
                format!(" (open: {})", row.open_cases.join(", "))
            };
            let _ = writeln!(out, "  {:<12} {}{open}", row.id, row.title);
        }
    }
    out
}

/// The page `docs/conformance.md`.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::from(
        "# Conformance\n\n\
         Made by the test run from `tests/behaviours.yaml` and `tests/coverage.json`; \
         `CSCF_BLESS=1 cargo test -p cscf-tests --test conformance` writes it anew.\n\n\
         An entry counts as covered when each of its cases is proven by a test that looks at the \
         wire or at a machine's outputs. Entries marked \u{2020} restate a clause whose primary \
         text was not read.\n\n",
    );
    let _ = writeln!(out, "| role | tier 1 | tier 2 | tier 3 |\n|---|---|---|---|");
    for (name, cells) in table(rows, |row| &row.role) {
        let [one, two, three] = cells.map(cell);
        let _ = writeln!(out, "| {name} | {one} | {two} | {three} |");
    }
    let [one, two, three] = totals(rows).map(cell);
    let _ = writeln!(out, "| **all** | {one} | {two} | {three} |\n\n## Covered\n");
    let _ = writeln!(out, "| id | tier | behaviour | clause | proven by |\n|---|---|---|---|---|");
    for row in rows.iter().filter(|row| row.covered) {
        let _ = writeln!(
            out,
            "| {}{} | {} | {} | {} | {} |",
            row.id,
            if row.verified { "" } else { " \u{2020}" },
            row.tier,
            escape(&row.title),
            escape(&row.clause),
            row.by.iter().map(|by| format!("`{by}`")).collect::<Vec<_>>().join("<br>")
        );
    }
    out.push_str("\n## Not covered\n\n| id | tier | role | behaviour | open cases |\n|---|---|---|---|---|\n");
    for row in rows.iter().filter(|row| !row.covered) {
        let _ = writeln!(
            out,
            "| {}{} | {} | {} | {} | {} |",
            row.id,
            if row.verified { "" } else { " \u{2020}" },
            row.tier,
            row.role,
            escape(&row.title),
            row.open_cases.join(", ")
        );
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
