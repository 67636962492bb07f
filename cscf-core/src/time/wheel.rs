//! The timing wheel: two rounds of 256 slots, of one millisecond and of 256 each, and a sorted map
//! for what lies more than a minute ahead. Which deadline is next is always known exactly.
//!
//! Each slot is a small heap ordered by (instant, sequence), so the order in which deadlines come
//! out is that of their instants, and among equal instants that in which they were set. A deadline
//! comes out of the slot it was put in: nothing is ever spread from one slot over others, and so
//! there is no moment at which thousands of them are touched.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::Instant;
use crate::map::Places;

const LEVELS: usize = 2;
const SLOTS: usize = 256;
/// The place of everything that lies beyond the rounds.
const FAR: usize = LEVELS * SLOTS;
const TICK_NANOS: u64 = 1_000_000;
/// Slots with fewer abandoned entries than this are not worth compacting.
const COMPACT_MIN: u32 = 32;
/// Room that an empty slot keeps.
const ROOM_KEPT: usize = 16;

/// Names a deadline while it is set; a stale id is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadlineId {
    index: u32,
    stamp: u32,
}

/// Deadlines with a key each, named by [`DeadlineId`].
///
/// Setting and cancelling take constant time but for a push into the small heap of one slot, or
/// into the sorted map. A deadline that moves later stays in its slot until it would be next; so
/// the usual fate of a retransmission timer, to be replaced by a later one, costs next to nothing.
#[derive(Clone, Debug)]
pub struct Wheel<K> {
    entries: Places<Entry<K>>,
    slots: Vec<Slot>,
    /// One bit a slot: something is filed there.
    occupied: [[u64; SLOTS / 64]; LEVELS],
    /// What lies beyond the rounds, each at its own instant.
    far: BTreeMap<(u64, u64), u32>,
    /// The tick up to which time has passed; the rounds begin at it.
    base: u64,
    sequence: u64,
    /// Counts filings.
    filings: u32,
    next: Option<Instant>,
    /// The filing of `next` and its slot, where they are known.
    found: Option<(Filed, usize)>,
}

#[derive(Clone, Debug)]
struct Entry<K> {
    key: K,
    /// The instant.
    at: u64,
    sequence: u64,
    /// Where it is filed; in a slot it may be filed at an earlier time than `at`.
    slot: u16,
    /// The number of the deadline, so that a later one at the same place is another.
    stamp: u32,
    /// The number of its last filing: only that one is valid.
    filing: u32,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    heap: BinaryHeap<Reverse<Filed>>,
    abandoned: u32,
}

/// A place in a slot. Ordered by instant, then sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Filed {
    at: u64,
    sequence: u64,
    index: u32,
    filing: u32,
}

impl DeadlineId {
    /// The place of the deadline, as long as it is set.
    pub(super) const fn place(self) -> u32 {
        self.index
    }
}

impl<K> Default for Wheel<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Wheel<K> {
    /// The memory a deadline takes.
    pub const BYTES_EACH: usize = size_of::<Entry<K>>() + size_of::<Filed>();

    /// No deadlines; the wheel starts at the epoch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: Places::new(),
            slots: (0..FAR).map(|_| Slot::default()).collect(),
            occupied: [[0; SLOTS / 64]; LEVELS],
            far: BTreeMap::new(),
            base: 0,
            sequence: 0,
            filings: 0,
            next: None,
            found: None,
        }
    }

    /// How many deadlines are set.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no deadline is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The earliest deadline, exactly.
    #[must_use]
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// When this deadline fires; `None` if it is no longer set.
    #[must_use]
    pub fn at(&self, id: DeadlineId) -> Option<Instant> {
        self.entry(id).map(|entry| Instant::from_nanos(entry.at))
    }

    /// Sets a deadline.
    pub fn insert(&mut self, at: Instant, key: K) -> DeadlineId {
        let sequence = self.next_sequence();
        // Enough of the sequence: nobody keeps an id while four billion deadlines come and go.
        let stamp = sequence as u32;
        let entry = Entry { key, at: at.as_nanos(), sequence, slot: 0, stamp, filing: 0 };
        let index = self.entries.insert(entry);
        self.file(index);
        self.note_earlier(at);
        DeadlineId { index, stamp }
    }

    /// Moves a deadline. To its present instant: it keeps its place among equal ones. Says whether
    /// it was still set.
    pub fn reschedule(&mut self, id: DeadlineId, at: Instant) -> bool {
        let Some(old) = self.at(id) else { return false };
        if old == at {
            return true;
        }
        let sequence = self.next_sequence();
        let Some(entry) = self.entries.get_mut(id.index) else { return false };
        // In a slot an earlier filing serves; its old one must not be taken for the deadline.
        let filed_anew = at < old || usize::from(entry.slot) == FAR;
        if filed_anew {
            self.abandon(id.index);
        }
        if let Some(entry) = self.entries.get_mut(id.index) {
            entry.at = at.as_nanos();
            entry.sequence = sequence;
        }
        if filed_anew {
            self.file(id.index);
            self.note_earlier(at);
        }
        if self.next == Some(old) {
            self.find_next();
        }
        true
    }

    /// Takes a deadline back and returns its key; `None` if it was no longer set.
    pub fn cancel(&mut self, id: DeadlineId) -> Option<K> {
        let at = self.at(id)?;
        self.abandon(id.index);
        let key = self.release(id.index);
        if self.next == Some(at) {
            self.find_next();
        }
        key
    }

    /// Takes out the next deadline if it lies at or before `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        self.pop_due_at(now).map(|(_, key)| key)
    }

    /// The same, with the place that it had.
    pub(super) fn pop_due_at(&mut self, now: Instant) -> Option<(u32, K)> {
        let Some(next) = self.next.filter(|next| *next <= now) else {
            self.base = self.base.max(now.as_nanos() / TICK_NANOS);
            return None;
        };
        self.base = self.base.max(next.as_nanos() / TICK_NANOS);
        let (filed, slot) = match self.found.take() {
            Some(found) => found,
            None => self.first()?,
        };
        if slot == FAR {
            self.far.pop_first();
        } else if let Some(its) = self.slots.get_mut(slot) {
            its.heap.pop();
            self.clear_if_empty(slot);
        }
        let key = self.release(filed.index);
        self.find_next();
        key.map(|key| (filed.index, key))
    }

    /// The key and the id of the deadline at this place.
    pub(super) fn at_place(&self, place: u32) -> Option<(&K, DeadlineId)> {
        let entry = self.entries.get(place)?;
        Some((&entry.key, DeadlineId { index: place, stamp: entry.stamp }))
    }

    fn entry(&self, id: DeadlineId) -> Option<&Entry<K>> {
        self.entries.get(id.index).filter(|entry| entry.stamp == id.stamp)
    }

    const fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn note_earlier(&mut self, at: Instant) {
        if self.next.is_none_or(|next| at < next) {
            self.next = Some(at);
            self.found = None;
        }
    }

    /// Frees the entry's place.
    fn release(&mut self, index: u32) -> Option<K> {
        self.entries.remove(index).map(|entry| entry.key)
    }

    /// The slot of an instant: in the first round in which it lies. What lies in the past goes to
    /// the base's own slot, whose heap puts it first.
    const fn slot_of(&self, at: u64) -> usize {
        let tick = at / TICK_NANOS;
        let tick = if tick < self.base { self.base } else { tick };
        if tick - self.base < SLOTS as u64 {
            tick as usize % SLOTS
        } else if (tick >> 8) - (self.base >> 8) < SLOTS as u64 {
            SLOTS + (tick >> 8) as usize % SLOTS
        } else {
            FAR
        }
    }

    /// Files the entry at its own instant.
    fn file(&mut self, index: u32) {
        let Some(at) = self.entries.get(index).map(|entry| entry.at) else { return };
        let slot = self.slot_of(at);
        self.filings = self.filings.wrapping_add(1);
        let Some(entry) = self.entries.get_mut(index) else { return };
        entry.slot = u16::try_from(slot).unwrap_or(u16::MAX);
        entry.filing = self.filings;
        let Entry { at, sequence, filing, .. } = *entry;
        if let Some(its) = self.slots.get_mut(slot) {
            its.heap.push(Reverse(Filed { at, sequence, index, filing }));
            self.mark(slot, true);
        } else {
            self.far.insert((at, sequence), index);
        }
    }

    /// Takes the entry out of the sorted map, or leaves its filing in a slot behind as invalid and
    /// compacts the slot when most of it is.
    fn abandon(&mut self, index: u32) {
        self.filings = self.filings.wrapping_add(1);
        let Some(entry) = self.entries.get_mut(index) else { return };
        entry.filing = self.filings;
        let (at, filed) = (usize::from(entry.slot), (entry.at, entry.sequence));
        let Some(slot) = self.slots.get_mut(at) else {
            self.far.remove(&filed);
            return;
        };
        slot.abandoned += 1;
        if slot.abandoned >= COMPACT_MIN && slot.abandoned as usize > slot.heap.len() / 2 {
            let entries = &self.entries;
            slot.heap.retain(|Reverse(filed)| valid(entries, filed).is_some());
            slot.heap.shrink_to(slot.heap.len() * 2);
            slot.abandoned = 0;
            self.clear_if_empty(at);
        }
    }

    fn clear_if_empty(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.heap.is_empty() {
            slot.abandoned = 0;
            // A burst must not leave its room behind in each slot it came by.
            slot.heap.shrink_to(ROOM_KEPT);
            self.mark(at, false);
        }
    }

    fn mark(&mut self, slot: usize, filled: bool) {
        let word =
            self.occupied.get_mut(slot / SLOTS).and_then(|level| level.get_mut(slot % SLOTS / 64));
        if let Some(word) = word {
            let bit = 1 << (slot % 64);
            *word = if filled { *word | bit } else { *word & !bit };
        }
    }

    /// The occupied slot of a round with the earliest filings: the first from the base on, around.
    fn first_slot(&self, level: usize) -> Option<usize> {
        let words = self.occupied.get(level)?;
        let start = (self.base >> (8 * level)) as usize % SLOTS;
        let (first, bit) = (start / 64, start % 64);
        for step in 0..=words.len() {
            let word = (first + step) % words.len();
            let mut bits = *words.get(word)?;
            // The word of the base comes twice: at last what of it lies before the base.
            if step == 0 {
                bits &= u64::MAX << bit;
            }
            if bits != 0 {
                return Some(level * SLOTS + word * 64 + bits.trailing_zeros() as usize);
            }
        }
        None
    }

    /// Makes the top of the first slot of a round a valid and exact filing, and gives it. `None` if
    /// the round is empty, or a deadline was filed anew and all is to be looked at again.
    fn exact_top(&mut self, level: usize, again: &mut bool) -> Option<(Filed, usize)> {
        while let Some(at) = self.first_slot(level) {
            let slot = self.slots.get_mut(at)?;
            let Reverse(filed) = slot.heap.peek().copied()?;
            match valid(&self.entries, &filed) {
                None => {
                    slot.heap.pop();
                    slot.abandoned = slot.abandoned.saturating_sub(1);
                    self.clear_if_empty(at);
                }
                Some(entry) if entry.sequence != filed.sequence => {
                    slot.heap.pop();
                    self.clear_if_empty(at);
                    self.file(filed.index);
                    *again = true;
                    return None;
                }
                Some(_) => return Some((filed, at)),
            }
        }
        None
    }

    /// The earliest filing of all and its slot.
    fn first(&mut self) -> Option<(Filed, usize)> {
        loop {
            let mut again = false;
            let tops = [self.exact_top(0, &mut again), self.exact_top(1, &mut again)];
            if again {
                continue;
            }
            let far = self.far.first_key_value().map(|(&(at, sequence), &index)| {
                let filing = 0;
                (Filed { at, sequence, index, filing }, FAR)
            });
            return tops.into_iter().chain([far]).flatten().min_by_key(|(filed, _)| *filed);
        }
    }

    /// Finds the earliest deadline, and remembers its instant.
    fn find_next(&mut self) {
        self.found = self.first();
        self.next = self.found.map(|(filed, _)| Instant::from_nanos(filed.at));
    }
}

/// The entry of a filing, if that is its last one.
fn valid<'a, K>(entries: &'a Places<Entry<K>>, filed: &Filed) -> Option<&'a Entry<K>> {
    entries.get(filed.index).filter(|entry| entry.filing == filed.filing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Duration;
    use super::*;
    use crate::ids::{Ids, Seed, ShardId};

    /// The same behaviour, written so plainly that it cannot be wrong.
    #[derive(Default)]
    struct Model {
        order: BTreeMap<(Instant, u64), u32>,
        sequence: u64,
    }

    impl Model {
        fn set(&mut self, key: u32, at: Instant) {
            let old = self.order.iter().find(|(_, k)| **k == key).map(|(place, _)| *place);
            if old.is_some_and(|(old, _)| old == at) {
                return;
            }
            if let Some(old) = old {
                self.order.remove(&old);
            }
            self.sequence += 1;
            self.order.insert((at, self.sequence), key);
        }

        fn cancel(&mut self, key: u32) {
            self.order.retain(|_, k| *k != key);
        }

        fn next(&self) -> Option<Instant> {
            self.order.keys().next().map(|(at, _)| *at)
        }

        fn pop_due(&mut self, now: Instant) -> Option<u32> {
            let first = *self.order.keys().next().filter(|(at, _)| *at <= now)?;
            self.order.remove(&first)
        }
    }

    fn filed<K>(wheel: &Wheel<K>) -> usize {
        wheel.far.len() + wheel.slots.iter().map(|slot| slot.heap.len()).sum::<usize>()
    }

    fn span(ids: &mut Ids) -> Duration {
        let limit = [3, 900, 300_000, 70_000_000, 20_000_000_000, 5_000_000_000_000_000];
        let limit = limit[ids.below(limit.len() as u64) as usize];
        Duration::from_micros(ids.below(limit))
    }

    fn run_program(seed: u64, steps: usize, keys: u64) {
        let mut ids = Ids::new(Seed::derive(seed, "wheel"), ShardId(0));
        let (mut wheel, mut model) = (Wheel::new(), Model::default());
        let mut set: BTreeMap<u32, DeadlineId> = BTreeMap::new();
        let mut now = Instant::EPOCH;
        for step in 0..steps {
            let key = ids.below(keys) as u32;
            match ids.below(10) {
                0..=4 => {
                    let early = ids.below(8) == 0;
                    let at = if early { Instant::from_millis(1) } else { now + span(&mut ids) };
                    if !set.get(&key).is_some_and(|id| wheel.reschedule(*id, at)) {
                        set.insert(key, wheel.insert(at, key));
                    }
                    model.set(key, at);
                }
                5 => {
                    let id = set.remove(&key);
                    let cancelled = id.and_then(|id| wheel.cancel(id));
                    assert_eq!(cancelled.is_some(), model.order.values().any(|k| *k == key));
                    model.cancel(key);
                }
                _ => {
                    now += span(&mut ids);
                    if ids.below(3) == 0 {
                        now = model.next().map_or(now, |next| next.max(now));
                    }
                    loop {
                        let (ours, theirs) = (wheel.pop_due(now), model.pop_due(now));
                        assert_eq!(ours, theirs, "seed {seed} step {step}");
                        if ours.is_none() {
                            break;
                        }
                    }
                }
            }
            assert_eq!(wheel.next(), model.next(), "seed {seed} step {step}");
            assert_eq!(wheel.len(), model.order.len(), "seed {seed} step {step}");
        }
    }

    #[test]
    fn random_programs_agree_with_a_sorted_map() {
        for seed in 0..300 {
            run_program(seed, 400, 1 + seed % 60);
        }
    }

    #[test]
    fn equal_instants_come_out_in_the_order_they_were_set() {
        let mut wheel = Wheel::new();
        let at = Instant::from_secs(7);
        let first = wheel.insert(Instant::from_secs(3), "moved");
        wheel.insert(at, "a");
        wheel.insert(at, "b");
        wheel.reschedule(first, at);

        let out: Vec<_> = std::iter::from_fn(|| wheel.pop_due(at)).collect();

        assert_eq!(out, ["a", "b", "moved"]);
    }

    #[test]
    fn a_deadline_of_a_week_comes_at_its_instant_and_not_before() {
        let mut wheel = Wheel::new();
        let at = Instant::from_secs(600_000);
        wheel.insert(at, ());
        assert_eq!(wheel.pop_due(Instant::from_nanos(at.as_nanos() - 1)), None);
        assert_eq!(wheel.next(), Some(at));
        assert_eq!(wheel.pop_due(at), Some(()));
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn cancelled_deadlines_leave_no_memory_behind() {
        let mut wheel = Wheel::new();
        for round in 0..100_000_u64 {
            let id = wheel.insert(Instant::from_secs(600_000 + round % 5), round);
            assert_eq!(wheel.cancel(id), Some(round));
            assert_eq!(wheel.cancel(id), None);
        }
        let filed = filed(&wheel);
        assert!(filed <= 5 * COMPACT_MIN as usize, "{filed} filings are left");
        assert_eq!(wheel.entries.made(), 1);
    }

    #[test]
    fn a_deadline_that_moves_to_and_fro_leaves_no_memory_behind() {
        let mut wheel = Wheel::new();
        let id = wheel.insert(Instant::from_secs(600_000), ());
        wheel.insert(Instant::from_millis(1), ());
        for step in 1..100_000 {
            wheel.reschedule(id, Instant::from_secs(600_000 + step % 2));
        }
        let filed = filed(&wheel);
        assert!(filed <= 3 * COMPACT_MIN as usize, "{filed} filings are left");
    }

    #[test]
    fn a_deadline_that_keeps_moving_is_filed_once() {
        let mut wheel = Wheel::new();
        let id = wheel.insert(Instant::from_secs(1), ());
        wheel.insert(Instant::from_millis(1), ());
        for step in 2..1000 {
            assert!(wheel.reschedule(id, Instant::from_secs(step)));
        }
        let filed = filed(&wheel);
        assert_eq!(filed, 2);
        assert_eq!(wheel.pop_due(Instant::from_millis(1)), Some(()));
        assert_eq!(wheel.next(), Some(Instant::from_secs(999)));
    }
}
