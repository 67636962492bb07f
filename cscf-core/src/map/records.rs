//! A hash map of large values that are not moved, but for the first few: they lie in [`Places`],
//! found by an [`Index`].

use std::hash::{BuildHasher, Hash};

use super::{Index, Numbered, Places};

/// A hash map whose keys the node has numbered itself; never iterated for output.
#[derive(Clone, Debug)]
pub struct Records<K, V> {
    index: Index,
    entries: Places<(K, V)>,
}

impl<K, V> Default for Records<K, V> {
    fn default() -> Self {
        Self { index: Index::new(), entries: Places::new() }
    }
}

impl<K: Copy + Eq + Hash, V> Records<K, V> {
    /// The number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The value of this key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(self.place(key)?).map(|(_, value)| value)
    }

    /// The value of this key, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key)?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    /// Sets the value of this key; gives the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(&key) {
            return Some(std::mem::replace(old, value));
        }
        let place = self.entries.insert((key, value));
        self.index.insert(hash(&key), place, hashes(&self.entries));
        None
    }

    /// Takes the value of this key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key)?;
        let (_, value) = self.entries.remove(place)?;
        self.index.remove(hash(key), place, hashes(&self.entries));
        Some(value)
    }

    /// All entries, in no order: who shows them puts them in one.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    fn place(&self, key: &K) -> Option<u32> {
        let is_it = |place| self.entries.get(place).is_some_and(|(its, _)| its == key);
        self.index.find(hash(key), is_it)
    }
}

fn hash<K: Hash>(key: &K) -> u64 {
    Numbered::default().hash_one(key)
}

/// The hashes of all that have a place.
fn hashes<K: Hash, V>(entries: &Places<(K, V)>) -> impl Fn(u32) -> u64 {
    |place| entries.get(place).map_or(0, |(key, _)| hash(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_change_and_go_and_those_of_full_pages_stay_where_they_are() {
        let mut map = Records::default();
        let keys = 0..5_000_u64;
        for key in keys.clone() {
            assert_eq!(map.insert(key, key), None);
        }
        let at = std::ptr::from_ref(map.get(&4_999).expect("an entry"));
        for key in keys.clone() {
            assert_eq!(map.insert(key, 2 * key), Some(key));
            *map.get_mut(&key).expect("an entry") += 1;
        }

        // So many go that the parts of the index become smaller.
        let stays = |key: u64| key % 50 == 49;
        for key in keys.clone().filter(|key| !stays(*key)) {
            assert_eq!((map.remove(&key), map.remove(&key)), (Some(2 * key + 1), None));
        }

        for key in keys {
            assert_eq!(map.get(&key).copied(), stays(key).then_some(2 * key + 1));
        }
        assert_eq!((map.len(), map.iter().count(), map.is_empty()), (100, 100, false));
        assert!(std::ptr::eq(at, map.get(&4_999).expect("an entry")));
    }
}
