//! A list that grows page by page: what is in it is never moved, and growing never copies it.

/// Entries a page.
const PAGE: usize = 256;

/// A growing list whose entries stay where they are.
#[derive(Clone, Debug)]
pub struct Pages<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Pages<T> {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { pages: Vec::new() }
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        let before = self.pages.len().saturating_sub(1) * PAGE;
        self.pages.last().map_or(0, |last| before + last.len())
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Appends an entry; gives its place.
    pub fn push(&mut self, entry: T) -> usize {
        let place = self.len();
        match self.pages.last_mut() {
            Some(last) if last.len() < PAGE => last.push(entry),
            // The first page grows as it is needed: most lists are short.
            None => self.pages.push(vec![entry]),
            Some(_) => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(entry);
                self.pages.push(page);
            }
        }
        place
    }

    /// The entry at this place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&T> {
        self.pages.get(place / PAGE)?.get(place % PAGE)
    }

    /// The entry at this place, to change it.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.pages.get_mut(place / PAGE)?.get_mut(place % PAGE)
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_entries_come_and_none_of_them_moves_but_in_the_first_page() {
        let mut pages = Pages::new();
        let mut seen: Vec<*const u64> = Vec::new();

        for number in 0..1_000_000_u64 {
            let place = pages.push(number);
            seen.push(std::ptr::from_ref(pages.get(place).expect("the new one")));
        }

        assert_eq!(pages.len(), 1_000_000);
        for (place, (entry, before)) in pages.iter().zip(seen).enumerate() {
            assert_eq!(*entry, place as u64);
            assert!(place < PAGE || std::ptr::eq(entry, before), "entry {place} has moved");
        }
    }

    #[test]
    fn places_are_those_of_a_list() {
        let mut pages = Pages::new();
        assert!(pages.is_empty());
        for number in 0..2 * PAGE + 1 {
            assert_eq!((pages.len(), pages.push(number)), (number, number));
        }

        *pages.get_mut(PAGE).expect("an entry") += 1;

        assert_eq!(pages.get(PAGE), Some(&(PAGE + 1)));
        assert_eq!((pages.get(2 * PAGE), pages.get(2 * PAGE + 1)), (Some(&(2 * PAGE)), None));
    }
}
