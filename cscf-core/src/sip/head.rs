//! The header lines of a message as nearly all are: each ends with CRLF, none is continued, and
//! neither CR nor LF stands anywhere else. Their ends are found sixty-four bytes at a time, in one
//! pass. A head that is otherwise, or wrong, is read line by line ([`super::parse`]).

use wide::u8x16;

use super::headers::Headers;
use super::name::HeaderName;
use super::parse::{LIMITS, find_near, is_field_name};

/// Reads the header lines from `at` on, up to the empty one, and appends them to `headers`; where
/// the body begins. `None` if something is unusual: then what was appended is of no use.
#[inline]
pub(super) fn usual_lines(message: &[u8], at: usize, headers: &mut Headers) -> Option<usize> {
    let mut ends = Ends::new(message.get(at..)?, at);
    let mut start = at;
    loop {
        let end = ends.next()?;
        let next = end + 1;
        if end == start + 1 {
            return Some(next).filter(|next| *next <= LIMITS.head_bytes_max);
        }
        let line = message.get(start..next)?;
        let colon = find_near(line, b':')?;
        let text = line.get(..colon)?;
        let name = HeaderName::from_bytes(text);
        // The names of the list are tokens; a continuation begins with a blank, which is none.
        if (name == HeaderName::Unknown && !is_field_name(text))
            || headers.len() == LIMITS.header_lines_max
        {
            return None;
        }
        headers.push_wire(line, name, colon, start);
        start = next;
    }
}

/// The line feeds of a text in which each follows a CR, and each CR is followed by one.
struct Ends<'a> {
    /// What was not looked at.
    rest: &'a [u8],
    /// Where the next block begins.
    next_block: usize,
    /// The line feeds of this block that were not given yet, the first byte in the lowest bit.
    feeds: u64,
    /// One if this block ends with a CR.
    pending: u64,
}

impl<'a> Ends<'a> {
    const fn new(text: &'a [u8], at: usize) -> Self {
        Self { rest: text, next_block: at, feeds: 0, pending: 0 }
    }

    /// The place of the next line feed; `None` at the end of the text, and where a CR or LF stands
    /// alone.
    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.feeds == 0 {
            let (block, rest) = match self.rest.split_first_chunk() {
                Some((block, rest)) => (*block, rest),
                None => (padded(self.rest)?, [].as_slice()),
            };
            let returns = places(&block, b'\r');
            self.feeds = places(&block, b'\n');
            if self.feeds != (returns << 1 | self.pending) {
                return None;
            }
            self.pending = returns >> (BLOCK - 1);
            self.rest = rest;
            self.next_block += BLOCK;
        }
        let place = self.next_block - BLOCK + self.feeds.trailing_zeros() as usize;
        self.feeds &= self.feeds - 1;
        Some(place)
    }
}

const BLOCK: usize = 64;

/// The last block of a text, filled up; `None` behind it.
fn padded(text: &[u8]) -> Option<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    block.get_mut(..text.len()).filter(|place| !place.is_empty())?.copy_from_slice(text);
    Some(block)
}

/// Where such bytes stand in a block, the first in the lowest bit.
#[inline]
fn places(block: &[u8; BLOCK], byte: u8) -> u64 {
    let wanted = u8x16::splat(byte);
    let (parts, _) = block.as_chunks();
    parts.iter().rev().fold(0, |places, part| {
        places << 16 | u64::from(u8x16::new(*part).simd_eq(wanted).to_bitmask())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &[u8]) -> Vec<usize> {
        let mut ends = Ends::new(text, 1_000);
        std::iter::from_fn(|| ends.next()).collect()
    }

    #[test]
    fn line_feeds_are_found_wherever_they_stand() {
        for length in 0..200 {
            let text = [vec![b'a'; length], b"\r\n".to_vec(), vec![b'b'; 70], b"\r\n".to_vec()];
            let found = ends(&text.concat());
            assert_eq!(found, [1_001 + length, 1_073 + length]);
        }
        assert!(ends(b"").is_empty());
        assert!(ends(b"without").is_empty());
    }

    #[test]
    fn a_return_or_feed_alone_ends_the_search() {
        for length in 0..200 {
            for alone in [b"\r".as_slice(), b"\n", b"\r\r\n", b"\n\n", b"\n\r\n"] {
                let text = [vec![b'a'; length], alone.to_vec(), vec![b'b'; 70], b"\r\n".to_vec()];
                assert!(ends(&text.concat()).is_empty(), "{alone:?} behind {length}");
            }
        }
    }

    #[test]
    fn only_the_usual_is_read() {
        let read = |text: &str| {
            let mut headers = Headers::received();
            usual_lines(text.as_bytes(), 0, &mut headers).map(|at| (at, headers.len()))
        };
        assert_eq!(read("A: b\r\nVia:c\r\n\r\nbody"), Some((15, 2)));
        assert_eq!(read("\r\n"), Some((2, 0)));
        assert_eq!(read("A: b\r\n continued\r\n\r\n"), None);
        assert_eq!(read("A : b\r\n\r\n"), None, "a blank before the colon");
        assert_eq!(read("A\r\nB: c\r\n\r\n"), None, "no colon in its own line");
        assert_eq!(read("A: b\r\n"), None, "no empty line");
        assert_eq!(read("A: b\n\r\n"), None);
        let many = |count: usize| "A: b\r\n".repeat(count) + "\r\n";
        assert_eq!(read(&many(256)), Some((1_538, 256)));
        assert_eq!(read(&many(257)), None);
        let long = |length: usize| format!("A: {}\r\n\r\n", "b".repeat(length));
        assert_eq!(read(&long(32_761)), Some((32_768, 1)));
        assert_eq!(read(&long(32_762)), None);
    }
}
