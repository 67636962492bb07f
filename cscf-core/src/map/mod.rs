//! Hash maps whose order no peer can choose and no run can leak: keyed from the node's seed, looked
//! up by key, never iterated for output. What the node has numbered itself needs no such care. And
//! tables that grow without a pause, however large they are: [`Numbers`], [`Marks`], [`Places`] and
//! what is found by a place, [`Slots`], [`Records`] and [`Index`].

mod index;
mod marks;
mod numbers;
mod parts;
mod places;
mod records;
mod slots;

use std::hash::{BuildHasher, Hash, Hasher};

use siphasher::sip::SipHasher13;

pub use index::Index;
pub use marks::{Marks, Packed};
pub use numbers::{Numbered, Numbers};
pub use places::Places;
pub use records::Records;
pub use slots::Slots;

use crate::ids::Seed;

/// Builds SipHash-1-3 hashers with the keys of one node.
#[derive(Clone, Copy, Debug)]
pub struct SeededState {
    keys: (u64, u64),
}

impl SeededState {
    /// The state of the node with this seed.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        Self { keys: seed.map_keys() }
    }

    /// What an index has in place of a text or an address: 8 bytes. Another one may share it, so
    /// whoever looks there also looks at what was meant; but no peer can choose many that do.
    #[must_use]
    pub fn fingerprint<T: Hash + ?Sized>(&self, of: &T) -> u64 {
        self.hash_one(of)
    }
}

impl BuildHasher for SeededState {
    type Hasher = SeededHasher;
    fn build_hasher(&self) -> SeededHasher {
        SeededHasher(SipHasher13::new_with_keys(self.keys.0, self.keys.1))
    }
}

/// SipHash-1-3 with a node's keys.
#[derive(Clone, Debug)]
pub struct SeededHasher(SipHasher13);

impl Hasher for SeededHasher {
    fn finish(&self) -> u64 {
        self.0.finish()
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
}

/// Spreads numbers that no peer can choose: counted up by the node, or keyed hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberHasher(u64);

impl NumberHasher {
    /// An odd number without pattern (the golden ratio).
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
}

impl Hasher for NumberHasher {
    /// The high bits are the good ones, and tables look at the low ones as well.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(Self::FACTOR);
    }
}

/// A hash map keyed from the node's seed.
pub type Map<K, V> = hashbrown::HashMap<K, V, SeededState>;
/// A hash set keyed from the node's seed.
pub type Set<K> = hashbrown::HashSet<K, SeededState>;

/// An empty [`Map`].
#[must_use]
pub fn map<K, V>(seed: &Seed) -> Map<K, V> {
    Map::with_hasher(SeededState::new(seed))
}

/// An empty [`Set`].
#[must_use]
pub fn set<K>(seed: &Seed) -> Set<K> {
    Set::with_hasher(SeededState::new(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_what_is_equal_and_of_one_node() {
        let mine = SeededState::new(&Seed([7; 32]));
        let other = SeededState::new(&Seed([8; 32]));
        let text = String::from("alice@ims.example");

        assert_eq!(mine.fingerprint(&text), mine.fingerprint("alice@ims.example"));
        assert_ne!(mine.fingerprint(&text), mine.fingerprint("bob@ims.example"));
        assert_ne!(mine.fingerprint(&text), other.fingerprint(&text));
    }
}
