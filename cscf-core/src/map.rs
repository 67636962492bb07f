//! Hash maps whose order no peer can choose and no run can leak: keyed from the node's seed, looked
//! up by key, never iterated for output.

use std::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;

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
