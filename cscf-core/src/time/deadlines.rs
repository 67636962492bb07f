//! Deadlines named by their keys: equal keys are one deadline.

use std::hash::{BuildHasher, Hash};

use super::{DeadlineId, Instant, Wheel};
use crate::map::{Index, Numbered, SeededState};

/// A set of (instant, key), earliest first; among equal instants in the order they were set.
///
/// For keys that name themselves (a role's timers). Who keeps a record for each deadline anyway
/// keeps a [`DeadlineId`] in it and uses the [`Wheel`] alone.
#[derive(Clone, Debug)]
pub struct Deadlines<K, S = Numbered> {
    wheel: Wheel<K>,
    /// By their keys, which the wheel has.
    places: Index,
    state: S,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Deadlines<K> {
    /// No deadlines; their keys will be numbers of the node's own.
    #[must_use]
    pub fn new() -> Self {
        Self { wheel: Wheel::new(), places: Index::new(), state: Numbered::default() }
    }
}

impl<K> Deadlines<K, SeededState> {
    /// No deadlines; peers may choose their keys.
    #[must_use]
    pub fn keyed(state: SeededState) -> Self {
        Self { wheel: Wheel::new(), places: Index::new(), state }
    }
}

impl<K: Eq + Hash, S: BuildHasher> Deadlines<K, S> {
    /// How many deadlines are set.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Whether no deadline is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.wheel.is_empty()
    }

    /// Sets the deadline of `key`, or moves it.
    pub fn set(&mut self, key: K, at: Instant) {
        let hash = self.state.hash_one(&key);
        if let Some(id) = self.find(hash, &key)
            && self.wheel.reschedule(id, at)
        {
            return;
        }
        let id = self.wheel.insert(at, key);
        self.places.insert(hash, id.place(), hashes(&self.wheel, &self.state));
    }

    /// Takes the deadline of `key` back; says whether it was set.
    pub fn cancel(&mut self, key: &K) -> bool {
        let hash = self.state.hash_one(key);
        let Some(id) = self.find(hash, key) else { return false };
        self.wheel.cancel(id);
        self.places.remove(hash, id.place(), hashes(&self.wheel, &self.state));
        true
    }

    /// When the deadline of `key` fires.
    #[must_use]
    pub fn at(&self, key: &K) -> Option<Instant> {
        self.find(self.state.hash_one(key), key).and_then(|id| self.wheel.at(id))
    }

    /// The earliest deadline, exactly.
    #[must_use]
    pub const fn next(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// Takes out the next key whose deadline lies at or before `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (place, key) = self.wheel.pop_due_at(now)?;
        let hash = self.state.hash_one(&key);
        self.places.remove(hash, place, hashes(&self.wheel, &self.state));
        Some(key)
    }

    fn find(&self, hash: u64, key: &K) -> Option<DeadlineId> {
        let is_it = |place| self.wheel.at_place(place).is_some_and(|(its, _)| its == key);
        let (_, id) = self.wheel.at_place(self.places.find(hash, is_it)?)?;
        Some(id)
    }
}

/// The hashes of all that have a place.
fn hashes<K: Hash, S: BuildHasher>(wheel: &Wheel<K>, state: &S) -> impl Fn(u32) -> u64 {
    |place| wheel.at_place(place).map_or(0, |(key, _)| state.hash_one(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_the_last_one_set() {
        let mut deadlines = Deadlines::new();
        deadlines.set("expiry", Instant::from_secs(9));
        deadlines.set("ring", Instant::from_secs(5));
        deadlines.set("expiry", Instant::from_secs(2));

        assert_eq!(deadlines.len(), 2);
        assert_eq!(deadlines.next(), Some(Instant::from_secs(2)));
        assert_eq!(deadlines.pop_due(Instant::from_secs(9)), Some("expiry"));
        assert!(deadlines.cancel(&"ring"));
        assert!(!deadlines.cancel(&"ring"));
        assert_eq!(deadlines.pop_due(Instant::from_secs(9)), None);
        assert!(deadlines.is_empty());
    }

    #[test]
    fn of_many_deadlines_each_is_found_moved_and_taken_back_by_its_key() {
        let mut deadlines = Deadlines::keyed(SeededState::new(&crate::ids::Seed([7; 32])));
        for key in 0..3_000_u64 {
            deadlines.set(key, Instant::from_secs(key));
        }
        for key in (0..3_000).step_by(3) {
            assert!(deadlines.cancel(&key) && !deadlines.cancel(&key));
        }
        for key in (1..3_000).step_by(3) {
            deadlines.set(key, Instant::from_secs(10_000 + key));
        }

        assert_eq!((deadlines.at(&3), deadlines.at(&5)), (None, Some(Instant::from_secs(5))));
        assert_eq!(deadlines.at(&4), Some(Instant::from_secs(10_004)));
        let all = std::iter::from_fn(|| deadlines.pop_due(Instant::from_secs(20_000)));
        let expected: Vec<u64> = (2..3_000).step_by(3).chain((1..3_000).step_by(3)).collect();
        assert_eq!(all.collect::<Vec<_>>(), expected);
        assert!(deadlines.is_empty() && deadlines.places.is_empty());
    }
}
