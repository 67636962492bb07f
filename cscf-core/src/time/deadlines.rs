//! Deadlines named by their keys: equal keys are one deadline.

use std::hash::{BuildHasher, Hash};

use super::{DeadlineId, Instant, Wheel};
use crate::map::{Numbered, Numbers, SeededState};

/// A set of (instant, key), earliest first; among equal instants in the order they were set.
///
/// For keys that name themselves (a role's timers). Who keeps a record for each deadline anyway
/// keeps a [`DeadlineId`] in it and uses the [`Wheel`] alone.
#[derive(Clone, Debug)]
pub struct Deadlines<K, S = Numbered> {
    wheel: Wheel<K>,
    /// Hashed: where there are many, most of a tree has to be fetched from memory.
    ids: Numbers<K, DeadlineId, S>,
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
        Self { wheel: Wheel::new(), ids: Numbers::default() }
    }
}

impl<K> Deadlines<K, SeededState> {
    /// No deadlines; peers may choose their keys.
    #[must_use]
    pub fn keyed(state: SeededState) -> Self {
        Self { wheel: Wheel::new(), ids: Numbers::keyed(state) }
    }
}

impl<K: Clone + Eq + Hash, S: BuildHasher> Deadlines<K, S> {
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
        if let Some(id) = self.ids.get(&key)
            && self.wheel.reschedule(*id, at)
        {
            return;
        }
        let id = self.wheel.insert(at, key.clone());
        self.ids.insert(key, id);
    }

    /// Takes the deadline of `key` back; says whether it was set.
    pub fn cancel(&mut self, key: &K) -> bool {
        self.ids.remove(key).is_some_and(|id| self.wheel.cancel(id).is_some())
    }

    /// When the deadline of `key` fires.
    #[must_use]
    pub fn at(&self, key: &K) -> Option<Instant> {
        self.ids.get(key).and_then(|id| self.wheel.at(*id))
    }

    /// The earliest deadline, exactly.
    #[must_use]
    pub const fn next(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// Takes out the next key whose deadline lies at or before `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let key = self.wheel.pop_due(now)?;
        self.ids.remove(&key);
        Some(key)
    }
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
}
