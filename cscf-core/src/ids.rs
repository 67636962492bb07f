//! Chance as an argument: every token a node makes comes from one seed and a counter.

use sha2::{Digest, Sha256};

/// The seed of one node. In simulated runs it is derived from the scenario's seed and the node's
/// name; in live runs the host takes it from the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// Derives the seed of the node `name` from the number of a run.
    #[must_use]
    pub fn derive(run: u64, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(run.to_be_bytes());
        hash.update(name.as_bytes());
        Self(hash.finalize().into())
    }

    /// The two 64-bit keys of the node's hash maps.
    #[must_use]
    pub fn map_keys(&self) -> (u64, u64) {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(b"map");
        let [a, b, ..] = words(hash.finalize().into());
        (a, b)
    }
}

/// The number of a shard inside its node; written into every token that must find its way home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u8);

/// One of the engines that a node consists of. Engine 0 owns what outlives calls (registrations),
/// all of them have calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// Its number.
    pub id: ShardId,
    /// How many there are; at least 1.
    pub count: u8,
}

impl ShardId {
    /// The engine that a mark of ours begins with, at most three digits and a hyphen; and where
    /// what is behind it begins.
    #[must_use]
    pub fn leading(text: &[u8]) -> Option<(Self, usize)> {
        let digits = text.iter().take(4).position(|byte| *byte == b'-').filter(|at| *at > 0)?;
        let mut sum = 0_u16;
        for digit in text.get(..digits)? {
            sum = sum * 10 + u16::from(digit.checked_sub(b'0').filter(|value| *value < 10)?);
        }
        Some((Self(u8::try_from(sum).ok()?), digits + 1))
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::ALONE
    }
}

impl Shard {
    /// The only engine of its node.
    pub const ALONE: Self = Self { id: ShardId(0), count: 1 };

    /// Whether there is no other.
    #[must_use]
    pub const fn is_alone(self) -> bool {
        self.count < 2
    }

    /// Whether registrations are its own.
    #[must_use]
    pub const fn is_owner(self) -> bool {
        self.id.0 == 0
    }

    /// The other engines of the node, in order.
    pub fn others(self) -> impl Iterator<Item = ShardId> {
        (0..self.count).map(ShardId).filter(move |id| *id != self.id)
    }

    /// The engine where the calls of something with this number shall be, if nothing else says so.
    #[must_use]
    pub fn home_of(self, number: u64) -> ShardId {
        let rest = number.checked_rem(u64::from(self.count)).unwrap_or_default();
        ShardId(u8::try_from(rest).unwrap_or_default())
    }

    /// A user part of our own that leads back to engine `to`: `<number>-<user>`; as it is while
    /// there is no other engine.
    #[must_use]
    pub fn marked(self, to: ShardId, user: &str) -> String {
        if self.is_alone() { user.to_owned() } else { format!("{}-{user}", to.0) }
    }

    /// The user part that [`Self::marked`] was given.
    #[must_use]
    pub fn unmarked(self, user: &str) -> &str {
        let marked = ShardId::leading(user.as_bytes()).filter(|_| !self.is_alone());
        marked.and_then(|(_, behind)| user.get(behind..)).unwrap_or(user)
    }
}

/// Source of branches, tags, Call-IDs, nonces and random challenges.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: Seed,
    counter: u64,
    shard: ShardId,
}

impl Ids {
    /// Starts the sequence of `seed`.
    #[must_use]
    pub const fn new(seed: Seed, shard: ShardId) -> Self {
        Self { seed, counter: 0, shard }
    }

    /// The shard whose tokens these are.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// 32 unpredictable bytes (unpredictable without the seed).
    pub fn block(&mut self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed.0);
        hash.update([self.shard.0]);
        hash.update(self.counter.to_be_bytes());
        self.counter += 1;
        hash.finalize().into()
    }

    /// 16 bytes, e.g. a RAND (TS 33.102 §6.3.2).
    pub fn rand16(&mut self) -> [u8; 16] {
        let mut out = [0; 16];
        for (to, from) in out.iter_mut().zip(self.block()) {
            *to = from;
        }
        out
    }

    /// A number below `bound` (0 when `bound` is 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        let [word, ..] = words(self.block());
        if bound == 0 { 0 } else { word % bound }
    }

    /// A Via branch with the magic cookie and our shard number: `z9hG4bK<shard>-<token>`
    /// (RFC 3261 §8.1.1.7).
    pub fn branch(&mut self) -> String {
        // With room for a mark against loops.
        let mut out = String::with_capacity("z9hG4bK255-".len() + 24 + 17);
        out.push_str("z9hG4bK");
        push_decimal(&mut out, self.shard.0.into());
        out.push('-');
        push_hex(&mut out, self.block().get(..12).unwrap_or_default());
        out
    }

    /// A From or To tag (RFC 3261 §19.3).
    pub fn tag(&mut self) -> String {
        self.token(6)
    }

    /// A Call-ID for a dialog or request of our own.
    pub fn call_id(&mut self, host: &str) -> String {
        let mut out = String::with_capacity(2 * 10 + 1 + host.len());
        push_hex(&mut out, self.block().get(..10).unwrap_or_default());
        out.push('@');
        out.push_str(host);
        out
    }

    /// `bytes` random bytes in lower-case hexadecimal (at most 32 bytes).
    pub fn token(&mut self, bytes: usize) -> String {
        let block = self.block();
        let mut out = String::with_capacity(2 * bytes);
        push_hex(&mut out, block.get(..bytes).unwrap_or(&block));
        out
    }
}

/// Writes bytes in lower-case hexadecimal.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.chunks(32) {
        let mut digits = [0; 64];
        for (to, byte) in digits.chunks_exact_mut(2).zip(chunk) {
            to.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
        let digits = digits.get(..2 * chunk.len()).unwrap_or_default();
        out.push_str(std::str::from_utf8(digits).unwrap_or_default());
    }
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

/// Writes a number in decimal, as `Display` does and without its machinery.
pub fn push_decimal(out: &mut String, number: u64) {
    out.push_str(&Decimal::new(number));
}

/// A number in decimal, in no memory of its own.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; 20],
    from: usize,
}

impl Decimal {
    /// Writes a number.
    #[must_use]
    pub fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut from = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            from -= 1;
            if number == 0 {
                break;
            }
        }
        Self { digits, from }
    }
}

impl std::ops::Deref for Decimal {
    type Target = str;

    fn deref(&self) -> &str {
        let digits = self.digits.get(self.from..).unwrap_or_default();
        std::str::from_utf8(digits).unwrap_or_default()
    }
}

fn words(block: [u8; 32]) -> [u64; 4] {
    let mut out = [0; 4];
    for (word, chunk) in out.iter_mut().zip(block.chunks_exact(8)) {
        *word = chunk.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_begins_with_the_number_of_an_engine_and_a_hyphen() {
        for (text, number, behind) in [("0-ab", 0, 2), ("255-", 255, 4), ("007-x-y", 7, 4)] {
            assert_eq!(
                ShardId::leading(text.as_bytes()),
                Some((ShardId(number), behind)),
                "{text}"
            );
        }
        for text in ["", "-", "-1-x", "+1-x", "1", "1 -x", "256-x", "0003-x", "a-b", "1\u{e9}-x"] {
            assert_eq!(ShardId::leading(text.as_bytes()), None, "{text}");
        }
        let two = Shard { id: ShardId(0), count: 2 };
        let unmarked =
            ["1-orig", "+1-orig", "0001-orig", "1-\u{e9}"].map(|user| two.unmarked(user));
        assert_eq!(unmarked, ["orig", "+1-orig", "0001-orig", "\u{e9}"]);
    }

    #[test]
    fn numbers_are_written_as_display_writes_them() {
        for number in [0, 7, 10, 99, 100, 65_535, 1_234_567_890, u64::MAX] {
            let mut out = String::from("x");
            push_decimal(&mut out, number);
            assert_eq!(out, format!("x{number}"));
        }
    }

    #[test]
    fn bytes_are_written_as_two_digits_each() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = String::new();
        push_hex(&mut out, &bytes);
        let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(out, expected);
    }
}
