//! What a node shows: named columns and rows of text.

/// Rows of text under named columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// As many cells as columns in each.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Adds the numbers in the last column of another table to those of the rows that are alike but
    /// for them; other rows are put behind.
    pub fn add_up(&mut self, other: Self) {
        for row in other.rows {
            let Some((number, names)) = row.split_last() else { continue };
            let same = |its: &&mut Vec<String>| its.split_last().is_some_and(|it| it.1 == names);
            let found = self.rows.iter_mut().find(same).and_then(|row| row.last_mut());
            let value = |text: &str| text.parse::<u64>().ok();
            match found.map(|its| (value(its).zip(value(number)), its)) {
                Some((Some((one, more)), its)) => *its = one.saturating_add(more).to_string(),
                Some((None, _)) => {}
                None => self.rows.push(row),
            }
        }
    }

    /// Keeps the rows in which one of these texts stands; all, if there are none.
    #[must_use]
    pub fn only(mut self, texts: &[String]) -> Self {
        if !texts.is_empty() {
            let has = |cell: &String| texts.iter().any(|text| cell.contains(text.as_str()));
            self.rows.retain(|row| row.iter().any(has));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_equal_rows_are_added_up() {
        let rows = |rows: &[[&str; 2]]| {
            let mut table = Table::new(&["name", "value"]);
            rows.iter().for_each(|row| table.push(row.map(str::to_owned)));
            table
        };
        let mut table = rows(&[["a", "1"], ["b", "2.5"]]);
        table.add_up(rows(&[["c", "4"], ["a", "6"], ["b", "7"]]));
        assert_eq!(table, rows(&[["a", "7"], ["b", "2.5"], ["c", "4"]]));
    }

    #[test]
    fn rows_are_chosen_by_what_stands_in_them() {
        let mut table = Table::new(&["who", "what"]);
        table.push(["alice".into(), "x".into()]);
        table.push(["bob".into(), "y for alice@b".into()]);
        table.push(["carol".into(), "z".into()]);
        assert_eq!(table.clone().only(&[]).rows.len(), 3);
        assert_eq!(table.only(&["alice".into()]).rows.len(), 2);
    }
}
