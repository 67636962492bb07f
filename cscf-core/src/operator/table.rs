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
    fn rows_are_chosen_by_what_stands_in_them() {
        let mut table = Table::new(&["who", "what"]);
        table.push(["alice".into(), "x".into()]);
        table.push(["bob".into(), "y for alice@b".into()]);
        table.push(["carol".into(), "z".into()]);
        assert_eq!(table.clone().only(&[]).rows.len(), 3);
        assert_eq!(table.only(&["alice".into()]).rows.len(), 2);
    }
}
