//! Who has a fingerprint: mostly one, in the odd case several. To look is one look at a table; a
//! tree of many has to be walked from its root through what is in no cache.

use std::collections::BTreeSet;
use std::ops::{Bound, RangeBounds};

use super::Numbers;

/// An index by fingerprints ([`super::SeededState::fingerprint`]). Another text may have the same,
/// so whoever finds somebody here also looks at what was meant.
#[derive(Clone, Debug)]
pub struct Marks<T> {
    known: Numbers<u64, Few<T>>,
}

#[derive(Clone, Debug)]
enum Few<T> {
    One(T),
    /// Two and more. A tree: all users behind one address have its fingerprint.
    #[expect(clippy::box_collection, reason = "the entry of one takes 16 bytes, not 32")]
    More(Box<BTreeSet<T>>),
}

impl<T> Default for Marks<T> {
    fn default() -> Self {
        Self { known: Numbers::default() }
    }
}

impl<T: Copy + Ord> Marks<T> {
    /// How many fingerprints somebody has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nobody has any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Lets somebody be found by a fingerprint.
    pub fn insert(&mut self, mark: u64, who: T) {
        match self.known.get_mut(&mark) {
            None => {
                self.known.insert(mark, Few::One(who));
            }
            Some(Few::One(its)) if *its == who => {}
            Some(few @ Few::One(_)) => {
                let mut all = BTreeSet::from([who]);
                if let Few::One(its) = few {
                    all.insert(*its);
                }
                *few = Few::More(Box::new(all));
            }
            Some(Few::More(all)) => {
                all.insert(who);
            }
        }
    }

    /// Lets somebody no longer be found by a fingerprint.
    pub fn remove(&mut self, mark: u64, who: T) {
        match self.known.get_mut(&mark) {
            Some(Few::One(its)) if *its == who => {
                self.known.remove(&mark);
            }
            Some(few @ Few::More(_)) => {
                let Few::More(all) = few else { return };
                all.remove(&who);
                if let (1, Some(last)) = (all.len(), all.first()) {
                    *few = Few::One(*last);
                }
            }
            _ => {}
        }
    }

    /// Those with a fingerprint, in their order.
    pub fn of(&self, mark: u64) -> impl Iterator<Item = T> {
        self.range(mark, Bound::Unbounded)
    }

    /// The same without those before `first`; what is before them is not looked at.
    pub fn of_from(&self, mark: u64, first: T) -> impl Iterator<Item = T> {
        self.range(mark, Bound::Included(first))
    }

    fn range(&self, mark: u64, from: Bound<T>) -> impl Iterator<Item = T> {
        let range = (from, Bound::Unbounded);
        let (one, more) = match self.known.get(&mark) {
            Some(Few::One(its)) => (Some(*its).filter(|its| range.contains(its)), None),
            Some(Few::More(all)) => (None, Some(all.range(range))),
            None => (None, None),
        };
        one.into_iter().chain(more.into_iter().flatten().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_with_a_fingerprint_are_found_in_order_until_they_go() {
        let mut marks = Marks::default();
        let all = |marks: &Marks<u64>, mark| marks.of(mark).collect::<Vec<_>>();
        for who in [30, 10, 20, 10] {
            marks.insert(1, who);
        }
        marks.insert(2, 10);

        assert_eq!(all(&marks, 1), [10, 20, 30]);
        assert_eq!(all(&marks, 2), [10]);
        assert_eq!(marks.of(3).count(), 0);
        assert_eq!(marks.len(), 2);
        assert_eq!(marks.of_from(1, 11).collect::<Vec<_>>(), [20, 30]);
        assert_eq!(marks.of_from(2, 10).collect::<Vec<_>>(), [10]);
        assert_eq!(marks.of_from(2, 11).count(), 0);

        for (gone, left) in [(20, vec![10, 30]), (25, vec![10, 30]), (10, vec![30])] {
            marks.remove(1, gone);
            assert_eq!(all(&marks, 1), left);
        }
        marks.remove(1, 10);
        assert_eq!(all(&marks, 1), [30]);
        marks.remove(1, 30);
        marks.remove(2, 10);

        assert!(all(&marks, 1).is_empty() && marks.is_empty());
    }
}
