//! A hash map of numbers that never stops the node to grow ([`super::parts`]). With the keys of the
//! node it is one of texts as well.

use std::hash::{BuildHasher, BuildHasherDefault, Hash};

use super::parts::Parts;
use super::{NumberHasher, SeededState};

/// Makes the hashes of what the node has numbered itself.
pub type Numbered = BuildHasherDefault<NumberHasher>;

/// A hash map whose keys the node has numbered itself, or with hashes by the keys of the node;
/// never iterated for output. Large values belong in a box, since entries are moved now and then.
#[derive(Clone, Debug)]
pub struct Numbers<K, V, S = Numbered> {
    entries: Parts<(K, V)>,
    state: S,
}

impl<K, V> Default for Numbers<K, V> {
    fn default() -> Self {
        Self { entries: Parts::new(), state: Numbered::default() }
    }
}

impl<K, V> Numbers<K, V, SeededState> {
    /// A map with keys that peers may choose.
    #[must_use]
    pub const fn keyed(state: SeededState) -> Self {
        Self { entries: Parts::new(), state }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Numbers<K, V, S> {
    /// The number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this key has a value.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The value of this key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let hash = self.state.hash_one(key);
        self.entries.find(hash, |(its, _)| its == key).map(|(_, value)| value)
    }

    /// The value of this key, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let hash = self.state.hash_one(key);
        self.entries.find_mut(hash, |(its, _)| its == key).map(|(_, value)| value)
    }

    /// Sets the value of this key; gives the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.state.hash_one(&key);
        if let Some((_, old)) = self.entries.find_mut(hash, |(its, _)| *its == key) {
            return Some(std::mem::replace(old, value));
        }
        self.entries.insert(hash, (key, value), |(key, _)| self.state.hash_one(key));
        None
    }

    /// Takes the value of this key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let hash = self.state.hash_one(key);
        let again = |(key, _): &(K, V)| self.state.hash_one(key);
        self.entries.remove(hash, |(its, _)| its == key, again).map(|(_, value)| value)
    }

    /// All entries, in no order: who shows them puts them in one.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ids::Seed;
    use crate::map::parts::{PARTS, ROOM_KEPT, SPARSE, WHOLE_MAX};

    /// A key that counts how often it is hashed: looking up hashes once, moving once more.
    #[derive(Clone, Copy)]
    struct Counted<'a>(u64, &'a Cell<usize>);

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    impl Eq for Counted<'_> {}

    impl Hash for Counted<'_> {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.1.set(self.1.get() + 1);
            self.0.hash(state);
        }
    }

    #[test]
    fn a_million_entries_come_with_no_insertion_that_moves_many() {
        let hashed = Cell::new(0);
        let mut map = Numbers::default();
        let mut most = 0;

        for number in 0..1_000_000 {
            hashed.set(0);
            map.insert(Counted(number, &hashed), number);
            most = hashed.get().max(most);
        }

        assert_eq!(map.len(), 1_000_000);
        assert!(most < 5_000, "{most} entries were moved at once");
        assert!((0..1_000_000).all(|it| map.get(&Counted(it, &hashed)) == Some(&it)));
    }

    #[test]
    fn what_a_burst_took_goes_back_and_no_removal_moves_many() {
        let hashed = Cell::new(0);
        let mut map = Numbers::default();
        let room = |map: &Numbers<Counted<'_>, u64>| map.entries.room();
        for number in 0..300_000 {
            map.insert(Counted(number, &hashed), number);
        }
        assert!(room(&map) >= 300_000);
        let mut most = 0;

        for number in 0..299_000 {
            hashed.set(0);
            assert_eq!(map.remove(&Counted(number, &hashed)), Some(number));
            most = hashed.get().max(most);
        }

        assert!(room(&map) <= PARTS * ROOM_KEPT.max(SPARSE * 2 * 1_000 / PARTS), "{}", room(&map));
        assert!(most < 500, "{most} entries were moved at once");
        assert!((299_000..300_000).all(|it| map.get(&Counted(it, &hashed)) == Some(&it)));
    }

    #[test]
    fn entries_come_change_and_go_across_the_division() {
        comes_changes_and_goes(Numbers::default());
        comes_changes_and_goes(Numbers::keyed(SeededState::new(&Seed([7; 32]))));
    }

    fn comes_changes_and_goes<S: BuildHasher>(mut map: Numbers<u64, u64, S>) {
        let keys = 0..3 * WHOLE_MAX as u64;
        for key in keys.clone() {
            assert_eq!(map.insert(key, key), None);
        }
        for key in keys.clone() {
            assert_eq!(map.insert(key, 2 * key), Some(key));
            *map.get_mut(&key).expect("an entry") += 1;
        }
        assert_eq!(map.len(), keys.clone().count());

        for key in keys.clone().step_by(2) {
            assert_eq!(map.remove(&key), Some(2 * key + 1));
            assert_eq!(map.remove(&key), None);
        }

        for key in keys {
            assert_eq!(map.contains_key(&key), key % 2 == 1);
        }
        assert_eq!(map.len(), 3 * WHOLE_MAX / 2);
    }
}
