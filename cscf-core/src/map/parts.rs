//! A hash table that never stops the node to grow: it consists of many small ones, and only one of
//! them grows at a time. What a burst took goes back, one by one.

use hashbrown::HashTable;

/// So many parts has a table once it is large: at a million entries one has 4,000, which are moved
/// in well below a millisecond; where the keys are in records ([`super::Index`]), each of which is
/// fetched for it, in about half of one.
pub(super) const PARTS: usize = 256;
/// Below so many entries there is one part.
pub(super) const WHOLE_MAX: usize = 1024;
/// Where in a hash the number of the part stands: above what a part of a table of 64 million
/// entries looks at, and below what tables keep of each hash.
const PART_SHIFT: u32 = 18;
/// Room that a part keeps when it becomes empty.
pub(super) const ROOM_KEPT: usize = 14;
/// A part with room for so many times what is in it gives half of that back and more.
pub(super) const SPARSE: usize = 8;

/// Entries by their hashes; whoever uses it knows how to make them again, and which entry is meant.
#[derive(Clone, Debug)]
pub(super) struct Parts<E> {
    parts: Vec<HashTable<E>>,
    count: usize,
}

impl<E> Parts<E> {
    pub(super) const fn new() -> Self {
        Self { parts: Vec::new(), count: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        self.parts.get(self.place(hash))?.find(hash, is_it)
    }

    pub(super) fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<&mut E> {
        let place = self.place(hash);
        self.parts.get_mut(place)?.find_mut(hash, is_it)
    }

    /// Takes an entry in that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, entry: E, hash_of: impl Fn(&E) -> u64) {
        if self.parts.is_empty() {
            self.parts.push(HashTable::new());
        }
        if self.count >= WHOLE_MAX && self.parts.len() == 1 {
            self.divide(&hash_of);
        }
        let place = self.place(hash);
        if let Some(part) = self.parts.get_mut(place) {
            part.insert_unique(hash, entry, hash_of);
            self.count += 1;
        }
    }

    pub(super) fn remove(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&E) -> bool,
        hash_of: impl Fn(&E) -> u64,
    ) -> Option<E> {
        let place = self.place(hash);
        let part = self.parts.get_mut(place)?;
        let (entry, _) = part.find_entry(hash, is_it).ok()?.remove();
        self.count -= 1;
        if part.capacity() > ROOM_KEPT && part.len() * SPARSE < part.capacity() {
            part.shrink_to((part.len() * 2).max(ROOM_KEPT), hash_of);
        }
        Some(entry)
    }

    /// All entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.parts.iter().flatten()
    }

    /// For how many entries there is room.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.parts.iter().map(HashTable::capacity).sum()
    }

    /// The part an entry with this hash belongs to.
    const fn place(&self, hash: u64) -> usize {
        if self.parts.len() > 1 { (hash >> PART_SHIFT) as usize % PARTS } else { 0 }
    }

    /// Makes many parts of one, while there are few entries.
    fn divide(&mut self, hash_of: &impl Fn(&E) -> u64) {
        let whole = std::mem::take(&mut self.parts);
        self.parts = (0..PARTS).map(|_| HashTable::new()).collect();
        for entry in whole.into_iter().flatten() {
            let hash = hash_of(&entry);
            let place = self.place(hash);
            if let Some(part) = self.parts.get_mut(place) {
                part.insert_unique(hash, entry, hash_of);
            }
        }
    }
}
