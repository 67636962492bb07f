//! A list of places that are taken and given back: what is in it is never moved, growing never
//! copies it, and what a burst took goes back to the system.

/// Places a page.
const PAGE: usize = 256;

/// Entries by the number of their place. The place given back last is taken first.
#[derive(Clone, Debug)]
pub struct Places<T> {
    pages: Vec<Page<T>>,
    /// Places that were given back.
    free: Vec<u32>,
    /// The number of places that there ever were.
    made: u32,
    /// The page that became empty last keeps its memory: its places are the next to be taken.
    spare: Option<usize>,
}

#[derive(Clone, Debug)]
struct Page<T> {
    entries: Vec<Option<T>>,
    taken: usize,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Places<T> {
    /// No place.
    #[must_use]
    pub const fn new() -> Self {
        Self { pages: Vec::new(), free: Vec::new(), made: 0, spare: None }
    }

    /// The number of places that there ever were.
    #[must_use]
    pub const fn made(&self) -> u32 {
        self.made
    }

    /// The place that is taken next.
    #[must_use]
    pub fn upcoming(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.made)
    }

    /// How many places are taken.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.made as usize - self.free.len()
    }

    /// Whether no place is taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a place for an entry; gives its number.
    pub fn insert(&mut self, entry: T) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.made += 1;
            self.made - 1
        });
        let (number, at) = split(place);
        if self.pages.len() <= number {
            self.pages.push(Page { entries: Vec::new(), taken: 0 });
        }
        if self.spare == Some(number) {
            self.spare = None;
        }
        if let Some(page) = self.pages.get_mut(number) {
            // The first page grows as it is needed: most lists are short.
            if number > 0 && page.entries.capacity() == 0 {
                page.entries.reserve_exact(PAGE);
            }
            if page.entries.len() <= at {
                page.entries.resize_with(at + 1, || None);
            }
            if let Some(entry_at) = page.entries.get_mut(at) {
                *entry_at = Some(entry);
                page.taken += 1;
            }
        }
        place
    }

    /// Gives a place back; gives what was there.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        let (number, at) = split(place);
        let page = self.pages.get_mut(number)?;
        let entry = page.entries.get_mut(at)?.take()?;
        page.taken -= 1;
        self.free.push(place);
        if page.taken == 0
            && number > 0
            && let Some(old) = self.spare.replace(number)
            && let Some(page) = self.pages.get_mut(old)
        {
            page.entries = Vec::new();
        }
        Some(entry)
    }

    /// The entry at this place.
    #[must_use]
    pub fn get(&self, place: u32) -> Option<&T> {
        let (number, at) = split(place);
        self.pages.get(number)?.entries.get(at)?.as_ref()
    }

    /// The entry at this place, to change it.
    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        let (number, at) = split(place);
        self.pages.get_mut(number)?.entries.get_mut(at)?.as_mut()
    }

    /// All entries in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| &page.entries).flatten()
    }
}

/// The page of a place, and where in it.
const fn split(place: u32) -> (usize, usize) {
    (place as usize / PAGE, place as usize % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_entries_come_and_none_of_them_moves_but_in_the_first_page() {
        let mut places = Places::new();
        let mut seen: Vec<*const u32> = Vec::new();

        for number in 0..1_000_000 {
            assert_eq!(places.insert(number), number);
            seen.push(std::ptr::from_ref(places.get(number).expect("the new one")));
        }

        for (place, (entry, before)) in places.iter().zip(seen).enumerate() {
            assert_eq!(*entry as usize, place);
            assert!(place < PAGE || std::ptr::eq(entry, before), "entry {place} has moved");
        }
    }

    #[test]
    fn the_place_given_back_last_is_taken_first() {
        let mut places = Places::new();
        for number in 0..3 * PAGE as u32 {
            assert_eq!(places.insert(number), number);
        }
        assert_eq!(places.remove(5), Some(5));
        assert_eq!(places.remove(600), Some(600));
        assert_eq!((places.remove(600), places.get(600), places.get(5)), (None, None, None));

        assert_eq!([places.insert(1000), places.insert(1001), places.insert(1002)], [600, 5, 768]);

        assert_eq!((places.get(600), places.get(5)), (Some(&1000), Some(&1001)));
        *places.get_mut(5).expect("an entry") += 1;
        assert_eq!(places.get(5), Some(&1002));
        assert_eq!(places.made(), 769);
    }

    #[test]
    fn what_a_burst_took_goes_back_but_for_two_pages() {
        let mut places = Places::new();
        for round in 0..3 {
            let taken: Vec<u32> = (0..100 * PAGE as u32).map(|it| places.insert(it)).collect();
            assert_eq!(places.made() as usize, 100 * PAGE, "round {round}");
            assert_eq!((places.iter().count(), places.len()), (100 * PAGE, 100 * PAGE));

            for place in taken {
                assert!(places.remove(place).is_some());
            }

            assert!(places.is_empty());
            let kept = places.pages.iter().filter(|page| page.entries.capacity() > 0);
            assert!(kept.count() <= 2, "the first page and the one that was left last");
        }
    }
}
