//! A draw of covered entries, so that somebody can take out the code behind each and see its test
//! fail. The same seed draws the same entries of the same coverage.

use std::fmt::Write as _;

use cscf_core::ids::{Ids, Seed, ShardId};

use super::report::Row;

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// How many entries at most.
    pub count: usize,
    /// The words that the draw depends on.
    pub seed: String,
    /// Beginnings of the ids that may be drawn; empty for all.
    pub of: Vec<String>,
}

impl Draw {
    fn may_be(&self, row: &Row) -> bool {
        let begins = |prefix: &String| row.id.starts_with(prefix.as_str());
        row.covered && (self.of.is_empty() || self.of.iter().any(begins))
    }
}

/// Draws covered rows without repetition, in the order of the catalogue.
#[must_use]
pub fn sample(rows: &[Row], draw: &Draw) -> Vec<Row> {
    let mut chance = Ids::new(Seed::derive(0, &draw.seed), ShardId(0));
    let mut left: Vec<usize> =
        rows.iter().enumerate().filter(|(_, row)| draw.may_be(row)).map(|(at, _)| at).collect();
    let mut drawn = Vec::new();
    while drawn.len() < draw.count && !left.is_empty() {
        let bound = u64::try_from(left.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(chance.below(bound)).unwrap_or_default();
        drawn.push(left.swap_remove(at));
    }
    drawn.sort_unstable();
    drawn.into_iter().filter_map(|at| rows.get(at).cloned()).collect()
}

/// The drawn entries with their proofs, for a terminal.
#[must_use]
pub fn list(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        let _ = writeln!(out, "{:<12} {} [{}]", row.id, row.title, row.clause);
        for proof in &row.by {
            let _ = writeln!(out, "             {proof}");
        }
    }
    if rows.is_empty() {
        out.push_str("nothing is covered\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |number: usize| Row {
            id: format!("X-{number:03}"),
            tier: 1,
            role: "p-cscf".into(),
            covered: !number.is_multiple_of(3),
            by: vec![format!("case {number}")],
            open_cases: Vec::new(),
            area: "x".into(),
            title: "t".into(),
            clause: "c".into(),
            verified: true,
        };
        (0..90).map(row).collect()
    }

    fn of(count: usize, seed: &str) -> Draw {
        Draw { count, seed: seed.into(), of: Vec::new() }
    }

    fn ids(count: usize, seed: &str) -> Vec<String> {
        sample(&rows(), &of(count, seed)).into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_covered_entries() {
        let first = ids(20, "abc123");
        assert_eq!(first, ids(20, "abc123"));
        assert_ne!(first, ids(20, "abc124"));
        assert_eq!(first.len(), 20);
        assert!(first.is_sorted(), "{first:?}");
        let mut once = first.clone();
        once.dedup();
        assert_eq!(once, first);
        let covered = |id: &String| id[2..].parse::<usize>().is_ok_and(|number| number % 3 != 0);
        assert!(first.iter().all(covered), "{first:?}");
    }

    #[test]
    fn more_than_there_is_draws_all() {
        assert_eq!(ids(1_000, "x").len(), 60);
        assert!(list(&sample(&rows(), &of(1, "x"))).contains("case "));
        assert_eq!(list(&[]), "nothing is covered\n");
    }

    #[test]
    fn only_entries_with_a_named_beginning_are_drawn() {
        let draw = Draw { of: vec!["X-01".into(), "X-02".into()], ..of(90, "x") };
        let drawn: Vec<String> = sample(&rows(), &draw).into_iter().map(|row| row.id).collect();
        assert_eq!(drawn.len(), 14, "{drawn:?}");
        assert!(drawn.iter().all(|id| id.starts_with("X-01") || id.starts_with("X-02")));
    }
}
