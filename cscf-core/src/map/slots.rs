//! Entries by numbers that their table gives them: to look one up is to go to its place, where a
//! hash map has three places to fetch from memory, one behind the other.

use super::Places;

/// A table that numbers its entries. A number is how many were given so far, above the place of its
/// entry: it is never zero, a later one is larger, and one whose entry is gone finds nothing. After
/// 2^32 they begin again.
#[derive(Clone, Debug)]
pub struct Slots<T> {
    places: Places<(u32, T)>,
    given: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slots<T> {
    /// No entry.
    #[must_use]
    pub const fn new() -> Self {
        Self { places: Places::new(), given: 0 }
    }

    /// The number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number that the next entry gets.
    #[must_use]
    pub fn upcoming(&self) -> u64 {
        joined(self.next(), self.places.upcoming())
    }

    /// Takes an entry in; gives its number.
    pub fn insert(&mut self, entry: T) -> u64 {
        self.given = self.next();
        joined(self.given, self.places.insert((self.given, entry)))
    }

    /// A number in the order of the others, for something that is not kept.
    pub const fn pass(&mut self) -> u64 {
        self.given = self.next();
        joined(self.given, u32::MAX)
    }

    const fn next(&self) -> u32 {
        match self.given.checked_add(1) {
            Some(next) => next,
            None => 1,
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        self.get(number)?;
        self.places.remove(split(number).1).map(|(_, entry)| entry)
    }

    /// The entry with this number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&T> {
        let (given, place) = split(number);
        self.places.get(place).filter(|(its, _)| *its == given).map(|(_, entry)| entry)
    }

    /// The entry with this number, to change it.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let (given, place) = split(number);
        self.places.get_mut(place).filter(|(its, _)| *its == given).map(|(_, entry)| entry)
    }
}

const fn joined(given: u32, place: u32) -> u64 {
    (given as u64) << 32 | place as u64
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
const fn split(number: u64) -> (u32, u32) {
    ((number >> 32) as u32, number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_and_lead_to_their_entry_alone() {
        let mut slots = Slots::new();
        let numbers: Vec<u64> = (0..1_000_u32)
            .map(|it| {
                let number = slots.upcoming();
                assert_eq!(slots.insert(it), number);
                number
            })
            .collect();
        assert!(numbers.is_sorted_by(|one, next| one < next));
        let first = numbers[0];

        assert_eq!(
            (slots.remove(first), slots.remove(first), slots.get(first)),
            (Some(0), None, None)
        );
        let passed = slots.pass();
        let again = slots.insert(7_000);

        assert_eq!(split(again).1, split(first).1, "the same place");
        assert!(numbers[999] < passed && passed < again);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(passed), None);
        assert_eq!((slots.get(first), slots.get(passed)), (None, None));
        *slots.get_mut(again).expect("an entry") += 1;
        assert_eq!((slots.get(again), slots.len()), (Some(&7_001), 1_000));
    }

    #[test]
    fn numbers_begin_again_when_all_were_given() {
        let mut slots = Slots { given: u32::MAX - 1, ..Slots::new() };

        let (last, first) = (slots.insert('a'), slots.insert('b'));

        assert_eq!((split(last).0, split(first).0), (u32::MAX, 1));
        assert_eq!((slots.get(last), slots.get(first)), (Some(&'a'), Some(&'b')));
        assert_eq!((slots.remove(last), slots.remove(first)), (Some('a'), Some('b')));
        assert!(slots.is_empty());
    }
}
