//! Sequence numbers (TS 33.102 §6.3, Annex C): made by the HSS, by counter or by clock, and
//! checked for freshness by the USIM. SQN = SEQ ‖ IND; IND chooses one entry of the USIM's array,
//! so that vectors fetched by several servers may be used in any order.

use std::fmt;

use thiserror::Error;

use crate::auth::functions::to_hex;
use crate::time::UnixTime;

/// The distance Δ that every profile of the standard allows between the highest accepted SEQ and
/// a new one: 2^28 (TS 33.102 §C.3).
pub const DELTA: u64 = 1 << 28;

/// Clock units in a second for time-based generation: 0.1 s each (TS 33.102 §C.3).
pub const UNITS_PER_SECOND: u64 = 10;

/// A sequence number of 48 bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sqn(u64);

impl Sqn {
    /// The greatest number of 48 bits.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// The sequence number `value`; `None` if it needs more than 48 bits.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// From six octets, most significant first.
    #[must_use]
    pub const fn from_bytes([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// As six octets, most significant first.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// As a number below 2^48.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The part SEQ above the index.
    #[must_use]
    pub const fn seq(self, bits: IndBits) -> u64 {
        self.0 >> bits.0
    }

    /// The index IND.
    #[must_use]
    pub const fn ind(self, bits: IndBits) -> u64 {
        self.0 & bits.mask()
    }

    /// SEQ ‖ IND; `None` if `seq` has too many bits. Of `ind` only the low bits count.
    #[must_use]
    pub const fn from_parts(seq: u64, ind: u64, bits: IndBits) -> Option<Self> {
        if seq <= Self::MAX.seq(bits) {
            Some(Self(seq << bits.0 | ind & bits.mask()))
        } else {
            None
        }
    }
}

/// Twelve hexadecimal digits.
impl fmt::Display for Sqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.to_bytes()))
    }
}

impl fmt::Debug for Sqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sqn({self})")
    }
}

/// How many low bits of an SQN are the index IND: 0 to 8, by default 5, an array of 32
/// (TS 33.102 §C.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndBits(u8);

impl IndBits {
    /// `bits` bits of index; `None` above 8.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits <= 8 { Some(Self(bits)) } else { None }
    }

    const fn mask(self) -> u64 {
        (1 << self.0) - 1
    }
}

impl Default for IndBits {
    fn default() -> Self {
        Self(5)
    }
}

/// How the HSS finds the next SEQ (TS 33.102 §C.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// One more than the last (TS 33.102 §C.1.1.2).
    #[default]
    Counter,
    /// The clock in units of 0.1 s plus the subscriber's offset DIF, and always more than the
    /// last: an HSS that forgot its counters is still ahead of every USIM (TS 33.102 §C.1.1.3).
    Time,
}

/// The HSS's side: makes the sequence numbers of one subscription.
#[derive(Clone, Debug)]
pub struct SequenceGenerator {
    scheme: Scheme,
    ind_bits: IndBits,
    /// `SQN_HE`: the last one made.
    last: Sqn,
    /// DIF, in clock units.
    offset: i64,
    /// Δ that the USIMs are believed to allow.
    delta: u64,
}

impl SequenceGenerator {
    /// Goes on after `last` (zero for a new subscription) with the default index of 5 bits.
    #[must_use]
    pub fn new(scheme: Scheme, last: Sqn) -> Self {
        Self { scheme, ind_bits: IndBits::default(), last, offset: 0, delta: DELTA }
    }

    /// With another number of index bits.
    #[must_use]
    pub const fn with_ind_bits(mut self, bits: IndBits) -> Self {
        self.ind_bits = bits;
        self
    }

    /// With another Δ than 2^28, to match what the cards allow.
    #[must_use]
    pub const fn with_delta(mut self, delta: u64) -> Self {
        self.delta = delta;
        self
    }

    /// DIF: how far the subscriber's clock is from ours, in units of 0.1 s (TS 33.102 §C.1.1.3).
    #[must_use]
    pub const fn offset(&self) -> i64 {
        self.offset
    }

    /// Goes on where another generator was: after `last`, with the same distance from the clock.
    pub const fn resume(&mut self, last: Sqn, offset: i64) {
        self.last = last;
        self.offset = offset;
    }

    /// `SQN_HE`: the last number made, or accepted from the USIM; what a stored state keeps.
    #[must_use]
    pub const fn last(&self) -> Sqn {
        self.last
    }

    /// Makes the next sequence number: a greater SEQ, and the next index round the array, which
    /// spreads vectors that are used out of order over all entries (TS 33.102 §C.1.2).
    ///
    /// `now` counts only where the scheme is [`Scheme::Time`].
    ///
    /// # Errors
    ///
    /// [`SequenceExhausted`] when SEQ has no next value; only a new key helps then
    /// (TS 33.102 §C.1.1.1).
    pub fn next_sqn(&mut self, now: UnixTime) -> Result<Sqn, SequenceExhausted> {
        let sqn = self.upcoming(now).ok_or(SequenceExhausted)?;
        self.last = sqn;
        Ok(sqn)
    }

    /// Takes over the USIM's number from a verified AUTS, if the next one of ours would be
    /// refused: it is not above `SQN_MS`, or further than Δ above (TS 33.102 §6.3.5).
    pub fn resynchronise(&mut self, sqn_ms: Sqn, now: UnixTime) -> Resync {
        let seq_ms = sqn_ms.seq(self.ind_bits);
        let in_range = self.upcoming(now).is_some_and(|next| {
            let seq = next.seq(self.ind_bits);
            seq > seq_ms && seq - seq_ms <= self.delta
        });
        if in_range {
            return Resync::InRange;
        }
        let seq_he = self.last.seq(self.ind_bits);
        self.last = sqn_ms;
        self.offset = i64::try_from(seq_ms).unwrap_or(i64::MAX).saturating_sub(clock(now));
        if seq_ms >= seq_he { Resync::MovedForward } else { Resync::MovedBack }
    }

    fn upcoming(&self, now: UnixTime) -> Option<Sqn> {
        let counted = self.last.seq(self.ind_bits) + 1;
        let seq = match self.scheme {
            Scheme::Counter => counted,
            Scheme::Time => {
                let timed = clock(now).saturating_add(self.offset);
                counted.max(u64::try_from(timed).unwrap_or(0))
            }
        };
        Sqn::from_parts(seq, self.last.ind(self.ind_bits) + 1, self.ind_bits)
    }
}

/// GLC: the clock in units of 0.1 s.
fn clock(now: UnixTime) -> i64 {
    i64::try_from(now.0.saturating_mul(UNITS_PER_SECOND)).unwrap_or(i64::MAX)
}

/// What a verified AUTS did to `SQN_HE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// Nothing: the next number would be accepted anyway.
    InRange,
    /// The HSS was too far ahead of the USIM and went back.
    MovedBack,
    /// The HSS was behind the USIM and caught up.
    MovedForward,
}

/// The sequence numbers of a subscription are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the sequence numbers of this key are used up: give the subscription a new key")]
pub struct SequenceExhausted;

/// The USIM's side: the array of the greatest SEQ accepted for each index (TS 33.102 §C.2).
#[derive(Clone, Debug)]
pub struct FreshnessCheck {
    ind_bits: IndBits,
    /// `SEQ_MS` of each index.
    accepted: Vec<u64>,
    /// `SQN_MS`: the greatest number accepted so far.
    sqn_ms: Sqn,
    delta: Option<u64>,
    age_limit: Option<u64>,
}

impl FreshnessCheck {
    /// A USIM that has accepted nothing yet, without Δ and without L.
    #[must_use]
    pub fn new(ind_bits: IndBits) -> Self {
        let entries = usize::from(u16::try_from(ind_bits.mask()).unwrap_or(u16::MAX)) + 1;
        Self {
            ind_bits,
            accepted: vec![0; entries],
            sqn_ms: Sqn::default(),
            delta: None,
            age_limit: None,
        }
    }

    /// Refuses a jump of more than `delta` above the greatest SEQ accepted, so that nobody can
    /// use the numbers up (TS 33.102 §C.2.1).
    #[must_use]
    pub const fn with_delta(mut self, delta: u64) -> Self {
        self.delta = Some(delta);
        self
    }

    /// Refuses what is `limit` or more below the greatest SEQ accepted, even if its own index
    /// would let it pass: the age limit L (TS 33.102 §C.2.2).
    #[must_use]
    pub const fn with_age_limit(mut self, limit: u64) -> Self {
        self.age_limit = Some(limit);
        self
    }

    /// As if the numbers up to `sqn` had been used: a card with a history, which refuses all that
    /// is not above it, whatever the index.
    #[must_use]
    pub fn starting_at(mut self, sqn: Sqn) -> Self {
        self.accepted.fill(sqn.seq(self.ind_bits));
        self.sqn_ms = sqn;
        self
    }

    /// `SQN_MS`: the greatest number accepted, which goes into an AUTS (TS 33.102 §6.3.3).
    #[must_use]
    pub const fn sqn_ms(&self) -> Sqn {
        self.sqn_ms
    }

    /// Accepts `sqn` and remembers it, or says why it is not fresh.
    ///
    /// # Errors
    ///
    /// [`NotFresh`]; nothing is remembered then (TS 33.102 §C.2.2).
    pub fn accept(&mut self, sqn: Sqn) -> Result<(), NotFresh> {
        let seq = sqn.seq(self.ind_bits);
        let highest = self.sqn_ms.seq(self.ind_bits);
        if self.delta.is_some_and(|delta| seq.saturating_sub(highest) > delta) {
            return Err(NotFresh::JumpTooFar);
        }
        if self.age_limit.is_some_and(|limit| highest.saturating_sub(seq) >= limit.max(1)) {
            return Err(NotFresh::TooOld);
        }
        if self.accepted.get(self.entry(sqn)).is_none_or(|last| seq <= *last) {
            return Err(NotFresh::AlreadyUsed);
        }
        self.store(sqn);
        Ok(())
    }

    fn store(&mut self, sqn: Sqn) {
        let at = self.entry(sqn);
        let seq = sqn.seq(self.ind_bits);
        if let Some(entry) = self.accepted.get_mut(at) {
            *entry = seq;
        }
        self.sqn_ms = self.sqn_ms.max(sqn);
    }

    fn entry(&self, sqn: Sqn) -> usize {
        usize::try_from(sqn.ind(self.ind_bits)).unwrap_or(usize::MAX)
    }
}

impl Default for FreshnessCheck {
    fn default() -> Self {
        Self::new(IndBits::default())
    }
}

/// Why a USIM finds a sequence number not fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotFresh {
    /// Not greater than the last one with this index.
    #[error("the sequence number is not above the last one accepted with its index")]
    AlreadyUsed,
    /// More than Δ above the greatest.
    #[error("the sequence number is further ahead than the USIM allows")]
    JumpTooFar,
    /// L or more below the greatest.
    #[error("the sequence number is older than the USIM allows")]
    TooOld,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixTime = UnixTime(1_700_000_000);

    fn sqn(seq: u64, ind: u64) -> Sqn {
        Sqn::from_parts(seq, ind, IndBits::default()).unwrap()
    }

    #[test]
    fn a_sequence_number_has_48_bits() {
        assert_eq!(Sqn::new(1 << 48), None);
        assert_eq!(Sqn::new((1 << 48) - 1), Some(Sqn::MAX));
        let number = Sqn::from_bytes([0xff, 0x9b, 0xb4, 0xd0, 0xb6, 0x07]);
        assert_eq!(number.to_string(), "ff9bb4d0b607");
        assert_eq!(number.ind(IndBits::default()), 7);
        assert_eq!(number.seq(IndBits::default()), 0xff9b_b4d0_b607 >> 5);
        assert_eq!(IndBits::new(9), None);
    }

    #[test]
    fn counter_grows_and_index_goes_round() {
        let mut hss = SequenceGenerator::new(Scheme::Counter, Sqn::default());
        let made: Vec<_> = (0..40).map(|_| hss.next_sqn(NOON).unwrap()).collect();

        assert_eq!(made[0], sqn(1, 1));
        assert_eq!(made[30], sqn(31, 31));
        assert_eq!(made[31], sqn(32, 0));
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn time_moves_the_sequence_and_never_back() {
        let mut hss = SequenceGenerator::new(Scheme::Time, Sqn::default());
        assert_eq!(hss.next_sqn(NOON).unwrap(), sqn(17_000_000_000, 1));
        assert_eq!(hss.next_sqn(NOON).unwrap(), sqn(17_000_000_001, 2));
        assert_eq!(hss.next_sqn(UnixTime(NOON.0 - 99)).unwrap(), sqn(17_000_000_002, 3));
        assert_eq!(hss.next_sqn(UnixTime(NOON.0 + 9)).unwrap(), sqn(17_000_000_090, 4));
    }

    #[test]
    fn restarted_time_based_hss_stays_ahead_of_the_card() {
        let mut usim = FreshnessCheck::default();
        let mut hss = SequenceGenerator::new(Scheme::Time, Sqn::default());
        for _ in 0..5 {
            usim.accept(hss.next_sqn(NOON).unwrap()).unwrap();
        }

        let mut restarted = SequenceGenerator::new(Scheme::Time, Sqn::default());
        let later = restarted.next_sqn(UnixTime(NOON.0 + 1)).unwrap();

        assert_eq!(usim.accept(later), Ok(()));
    }

    #[test]
    fn last_sequence_number_is_the_end() {
        let mut hss = SequenceGenerator::new(Scheme::Counter, sqn((1 << 43) - 2, 4));
        assert_eq!(hss.next_sqn(NOON), Ok(sqn((1 << 43) - 1, 5)));
        assert_eq!(hss.next_sqn(NOON), Err(SequenceExhausted));
        assert_eq!(hss.last(), sqn((1 << 43) - 1, 5));
    }

    #[test]
    fn freshness_is_judged_for_each_index() {
        let mut usim = FreshnessCheck::default();
        for (seq, ind, expected) in [
            (10, 1, Ok(())),
            (10, 1, Err(NotFresh::AlreadyUsed)),
            (9, 2, Ok(())),
            (9, 1, Err(NotFresh::AlreadyUsed)),
            (8, 2, Err(NotFresh::AlreadyUsed)),
            (11, 1, Ok(())),
            (0, 31, Err(NotFresh::AlreadyUsed)),
            (1, 31, Ok(())),
        ] {
            assert_eq!(usim.accept(sqn(seq, ind)), expected, "{seq} {ind}");
        }
        assert_eq!(usim.sqn_ms(), sqn(11, 1));
    }

    #[test]
    fn card_with_a_history_refuses_old_numbers_of_any_index() {
        let mut usim = FreshnessCheck::default().starting_at(sqn(100, 9));
        for ind in 0..32 {
            assert_eq!(usim.accept(sqn(100, ind)), Err(NotFresh::AlreadyUsed));
        }
        assert_eq!(usim.sqn_ms(), sqn(100, 9));
        assert_eq!(usim.accept(sqn(101, 0)), Ok(()));
    }

    #[test]
    fn limits_of_jump_and_age_hold_to_the_number() {
        let mut usim = FreshnessCheck::default().with_delta(100).with_age_limit(10);
        assert_eq!(usim.accept(sqn(101, 0)), Err(NotFresh::JumpTooFar));
        assert_eq!(usim.accept(sqn(100, 0)), Ok(()));
        assert_eq!(usim.accept(sqn(90, 1)), Err(NotFresh::TooOld));
        assert_eq!(usim.accept(sqn(91, 1)), Ok(()));
        assert_eq!(usim.accept(sqn(201, 2)), Err(NotFresh::JumpTooFar));
        assert_eq!(usim.accept(sqn(200, 2)), Ok(()));
    }

    #[test]
    fn resynchronisation_makes_the_next_number_acceptable() {
        // (scheme, SEQ_HE, SEQ_MS, what happens); the card allows Δ.
        let now_seq = NOON.0 * UNITS_PER_SECOND;
        for (scheme, he, ms, expected) in [
            (Scheme::Counter, 5, 1000, Resync::MovedForward),
            (Scheme::Counter, 1000, 1000, Resync::InRange),
            (Scheme::Counter, 1000, 999, Resync::InRange),
            (Scheme::Counter, DELTA + 10, 10, Resync::MovedBack),
            (Scheme::Counter, DELTA + 9, 10, Resync::InRange),
            (Scheme::Time, 0, now_seq + 777, Resync::MovedForward),
            (Scheme::Time, now_seq, 0, Resync::MovedBack),
            (Scheme::Time, now_seq, now_seq - 5, Resync::InRange),
        ] {
            let mut hss = SequenceGenerator::new(scheme, sqn(he, 3));
            let start = FreshnessCheck::default().starting_at(sqn(ms, 7));
            let mut usim = start.with_delta(DELTA);

            assert_eq!(hss.resynchronise(sqn(ms, 7), NOON), expected, "{scheme:?} {he} {ms}");

            for later in [0, 0, 60, 86_400] {
                let next = hss.next_sqn(UnixTime(NOON.0 + later)).unwrap();
                assert_eq!(usim.accept(next), Ok(()), "{scheme:?} {he} {ms}: {next}");
            }
        }
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        for scheme in [Scheme::Counter, Scheme::Time] {
            let mut hss = SequenceGenerator::new(scheme, Sqn::MAX);
            assert!(hss.next_sqn(UnixTime(u64::MAX)).is_err());
            hss.resynchronise(Sqn::MAX, UnixTime(u64::MAX));
            assert!(hss.next_sqn(UnixTime(0)).is_err());
            hss.resynchronise(Sqn::default(), UnixTime(0));
            assert!(hss.next_sqn(UnixTime(0)).is_ok());
        }
        let mut usim = FreshnessCheck::new(IndBits::new(0).unwrap());
        assert_eq!(usim.accept(Sqn::MAX), Ok(()));
        assert_eq!(usim.accept(Sqn::MAX), Err(NotFresh::AlreadyUsed));
    }
}
