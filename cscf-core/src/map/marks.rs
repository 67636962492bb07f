//! Who has a fingerprint: mostly one, in the odd case several. To look is one look at a table; a
//! tree of many has to be walked from its root through what is in no cache.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::{Bound, RangeBounds};

use super::{Numbers, Places};

/// A number below 2^63 as an index has it: its 8 bytes leave room to say that it is none, and lie
/// at any multiple of four, so that an entry of a table has no gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packed {
    high: NonZeroU32,
    low: u32,
}

impl Packed {
    /// Set in each, so that the upper half is never zero.
    const ALWAYS: u32 = 1 << 31;

    /// Packs a number below 2^63.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
    pub const fn new(number: u64) -> Self {
        debug_assert!(number >> 63 == 0, "a number below 2^63");
        let high = (number >> 32) as u32 | Self::ALWAYS;
        let high = match NonZeroU32::new(high) {
            Some(high) => high,
            None => NonZeroU32::MAX,
        };
        Self { high, low: number as u32 }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        ((self.high.get() & !Self::ALWAYS) as u64) << 32 | self.low as u64
    }
}

/// An index by fingerprints ([`super::SeededState::fingerprint`]). Another text may have the same,
/// so whoever finds somebody here also looks at what was meant.
#[derive(Clone, Debug)]
pub struct Marks<T> {
    known: Numbers<Mark, Few<T>>,
    /// Trees: all users behind one address have its fingerprint.
    many: Places<BTreeSet<T>>,
}

#[derive(Clone, Copy, Debug)]
enum Few<T> {
    One(T),
    /// Two and more: the place of their tree.
    More(u32),
}

impl<T> Default for Marks<T> {
    fn default() -> Self {
        Self { known: Numbers::default(), many: Places::new() }
    }
}

/// A fingerprint at any multiple of four.
#[repr(Rust, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Mark(u64);

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
        let Some(few) = self.known.get_mut(&Mark(mark)) else {
            self.known.insert(Mark(mark), Few::One(who));
            return;
        };
        match *few {
            Few::One(its) if its == who => {}
            Few::One(its) => *few = Few::More(self.many.insert(BTreeSet::from([its, who]))),
            Few::More(place) => {
                if let Some(all) = self.many.get_mut(place) {
                    all.insert(who);
                }
            }
        }
    }

    /// Lets somebody no longer be found by a fingerprint.
    pub fn remove(&mut self, mark: u64, who: T) {
        let Some(few) = self.known.get_mut(&Mark(mark)) else { return };
        match *few {
            Few::One(its) if its == who => {
                self.known.remove(&Mark(mark));
            }
            Few::One(_) => {}
            Few::More(place) => {
                let Some(all) = self.many.get_mut(place) else { return };
                all.remove(&who);
                if let (1, Some(last)) = (all.len(), all.first()) {
                    *few = Few::One(*last);
                    self.many.remove(place);
                }
            }
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
        let (one, more) = match self.known.get(&Mark(mark)) {
            Some(Few::One(its)) => (Some(*its).filter(|its| range.contains(its)), None),
            Some(Few::More(place)) => (None, self.many.get(*place).map(|all| all.range(range))),
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

        assert!(all(&marks, 1).is_empty() && marks.is_empty() && marks.many.is_empty());
    }

    #[test]
    fn each_fingerprint_of_several_has_a_tree_of_its_own() {
        let mut marks = Marks::default();
        let all = |marks: &Marks<u64>, mark| marks.of(mark).collect::<Vec<_>>();
        for (mark, who) in [(1, 10), (1, 11), (2, 20), (2, 21)] {
            marks.insert(mark, who);
        }
        marks.remove(1, 10);
        // In the place of the first tree.
        marks.insert(3, 30);
        marks.insert(3, 31);

        assert_eq!([1, 2, 3].map(|mark| all(&marks, mark)), [vec![11], vec![20, 21], vec![30, 31]]);
    }

    #[test]
    fn numbers_keep_their_order_and_an_entry_of_one_has_no_gap() {
        let numbers = [0, 1, u64::from(u32::MAX), 1 << 32, (1 << 62) + 5, (1 << 63) - 1];
        assert!(numbers.iter().all(|it| Packed::new(*it).get() == *it));
        assert!(numbers.map(Packed::new).is_sorted());
        assert_eq!(size_of::<(Mark, Few<Packed>)>(), 16);
        assert_eq!(size_of::<(Mark, Few<(Packed, Packed)>)>(), 24);
    }
}
