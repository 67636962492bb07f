//! Places by the hash of what is there: four bytes an entry, so that many of them are in a cache,
//! and what is at the place is looked at anyway by whoever searches for it.

use super::parts::Parts;

/// A hash table of places in another table, which has the keys.
#[derive(Clone, Debug)]
pub struct Index {
    places: Parts<u32>,
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// No place.
    #[must_use]
    pub const fn new() -> Self {
        Self { places: Parts::new() }
    }

    /// The number of places.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no place.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place with this hash that `is_it`.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.places.find(hash, |place| is_it(*place)).copied()
    }

    /// Lets a place be found by its hash, by which it is not found yet. `hash_of` makes the hashes
    /// of places again, also of this one.
    pub fn insert(&mut self, hash: u64, place: u32, hash_of: impl Fn(u32) -> u64) {
        self.places.insert(hash, place, |place| hash_of(*place));
    }

    /// Lets a place no longer be found; `hash_of` is not asked about it.
    pub fn remove(&mut self, hash: u64, place: u32, hash_of: impl Fn(u32) -> u64) {
        self.places.remove(hash, |its| *its == place, |place| hash_of(*place));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn places_come_and_go_across_the_division() {
        let key = |place: u32| u64::from(place) / 2;
        let hash = |place: u32| key(place).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
        let mut index = Index::new();
        for place in 0..5_000 {
            index.insert(hash(place), place, hash);
        }

        assert_eq!(index.find(hash(4), |it| key(it) == 2 && it != 4), Some(5), "of equal keys");
        let stays = |place: u32| place % 50 == 4;
        let asked = Cell::new(0);
        for place in (0..5_000).filter(|place| !stays(*place)) {
            index.remove(hash(place), place, |it| {
                assert_ne!(it, place, "it is gone already");
                asked.set(asked.get() + 1);
                hash(it)
            });
        }

        assert!(asked.get() > 0, "parts have become smaller");
        assert_eq!(index.len(), 100);
        for place in 0..5_000 {
            let found = index.find(hash(place), |it| it == place);
            assert_eq!(found, stays(place).then_some(place));
        }
    }
}
