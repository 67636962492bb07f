//! A hash map of numbers that never stops the node to grow: it consists of many small tables, and
//! only one of them grows at a time. What a burst took goes back, table by table. With the keys of
//! the node it is one of texts as well.

use std::hash::{BuildHasher, BuildHasherDefault, Hash};

use hashbrown::HashTable;

use super::{NumberHasher, SeededState};

/// So many parts has a map once it is large: at a million entries one has 4,000, which are moved in
/// well below a millisecond.
const PARTS: usize = 256;
/// Below so many entries there is one part.
const WHOLE_MAX: usize = 1024;
/// Where in a hash the number of the part stands: above what a part of a map of 64 million entries
/// looks at, and below what tables keep of each hash.
const PART_SHIFT: u32 = 18;
/// Room that a part keeps when it becomes empty.
const ROOM_KEPT: usize = 14;
/// A part with room for so many times what is in it gives half of that back and more.
const SPARSE: usize = 8;

/// Makes the hashes of what the node has numbered itself.
pub type Numbered = BuildHasherDefault<NumberHasher>;

/// A hash map whose keys the node has numbered itself, or with hashes by the keys of the node;
/// never iterated for output. Large values belong in a box, since entries are moved now and then.
#[derive(Clone, Debug)]
pub struct Numbers<K, V, S = Numbered> {
    parts: Vec<HashTable<(K, V)>>,
    count: usize,
    state: S,
}

impl<K, V> Default for Numbers<K, V> {
    fn default() -> Self {
        Self { parts: Vec::new(), count: 0, state: Numbered::default() }
    }
}

impl<K, V> Numbers<K, V, SeededState> {
    /// A map with keys that peers may choose.
    #[must_use]
    pub const fn keyed(state: SeededState) -> Self {
        Self { parts: Vec::new(), count: 0, state }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Numbers<K, V, S> {
    /// The number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
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
        let part = self.parts.get(self.place(hash))?;
        part.find(hash, |(its, _)| its == key).map(|(_, value)| value)
    }

    /// The value of this key, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let hash = self.state.hash_one(key);
        let place = self.place(hash);
        let part = self.parts.get_mut(place)?;
        part.find_mut(hash, |(its, _)| its == key).map(|(_, value)| value)
    }

    /// Sets the value of this key; gives the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(&key) {
            return Some(std::mem::replace(old, value));
        }
        if self.parts.is_empty() {
            self.parts.push(HashTable::new());
        }
        if self.count >= WHOLE_MAX && self.parts.len() == 1 {
            self.divide();
        }
        let hash = self.state.hash_one(&key);
        let place = self.place(hash);
        if let Some(part) = self.parts.get_mut(place) {
            part.insert_unique(hash, (key, value), |(key, _)| self.state.hash_one(key));
            self.count += 1;
        }
        None
    }

    /// Takes the value of this key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let hash = self.state.hash_one(key);
        let place = self.place(hash);
        let part = self.parts.get_mut(place)?;
        let entry = part.find_entry(hash, |(its, _)| its == key).ok()?;
        self.count -= 1;
        let ((_, value), _) = entry.remove();
        if part.capacity() > ROOM_KEPT && part.len() * SPARSE < part.capacity() {
            part.shrink_to((part.len() * 2).max(ROOM_KEPT), |(key, _)| self.state.hash_one(key));
        }
        Some(value)
    }

    /// All entries, in no order: who shows them puts them in one.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flatten().map(|(key, value)| (key, value))
    }

    /// The same, to change the values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.parts.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// The part an entry with this hash belongs to.
    const fn place(&self, hash: u64) -> usize {
        if self.parts.len() > 1 { (hash >> PART_SHIFT) as usize % PARTS } else { 0 }
    }

    /// Makes many parts of one, while there are few entries.
    fn divide(&mut self) {
        let whole = std::mem::take(&mut self.parts);
        self.parts = (0..PARTS).map(|_| HashTable::new()).collect();
        for (key, value) in whole.into_iter().flatten() {
            let hash = self.state.hash_one(&key);
            let place = self.place(hash);
            if let Some(part) = self.parts.get_mut(place) {
                part.insert_unique(hash, (key, value), |(key, _)| self.state.hash_one(key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ids::Seed;

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
        let room = |map: &Numbers<Counted<'_>, u64>| -> usize {
            map.parts.iter().map(HashTable::capacity).sum()
        };
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
