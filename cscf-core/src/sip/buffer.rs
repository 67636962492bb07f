//! The memory of whole messages that are gone, for the next ones of the same thread. An allocator
//! may give the block that was free longest (mimalloc does); the one that became free last is still
//! in the caches of the processor, and a message of a thousand bytes fills it at once.
//!
//! What is kept is empty memory, so nothing of one message is seen by another, and it is bounded.
//! A message takes at most twice its length: it may be held for as long as a transaction lives.

use std::cell::RefCell;

use bytes::Bytes;

/// The two sizes that are kept; a message of at most half the first, or of more than the second,
/// has memory of its own size and keeps none.
const SIZES: [usize; 2] = [1_024, 2_048];
/// How many of each size are kept: as many as are read, decided and sent together, and some more.
const KEPT_MAX: usize = 32;

thread_local! {
    static KEPT: RefCell<[Vec<Vec<u8>>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// A message whose memory is kept when nobody has it any more.
struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

/// The size for a message of so many bytes, if its memory is kept.
fn size_for(len: usize) -> Option<(usize, usize)> {
    let [small, _] = SIZES;
    let size = SIZES.into_iter().enumerate().find(|(_, size)| len <= *size);
    size.filter(|_| len > small / 2)
}

/// Memory for a message of so many bytes; empty.
pub(super) fn take(len: usize) -> Vec<u8> {
    let Some((at, size)) = size_for(len) else { return Vec::with_capacity(len) };
    let kept = KEPT.try_with(|kept| kept.try_borrow_mut().ok()?.get_mut(at)?.pop());
    kept.ok().flatten().unwrap_or_else(|| Vec::with_capacity(size))
}

/// The message that was written into memory of [`take`].
pub(super) fn lend(message: Vec<u8>) -> Bytes {
    if SIZES.contains(&message.capacity()) {
        Bytes::from_owner(Lent(message))
    } else {
        message.into()
    }
}

/// A copy of a message that has just been received.
#[must_use]
pub fn received(message: &[u8]) -> Bytes {
    let mut room = take(message.len());
    room.extend_from_slice(message);
    lend(room)
}

fn give(mut room: Vec<u8>) {
    room.clear();
    let Some(at) = SIZES.iter().position(|size| *size == room.capacity()) else { return };
    // At the end of a thread there may be nobody left to keep it.
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && let Some(kept) = kept.get_mut(at)
            && kept.len() < KEPT_MAX
        {
            kept.push(room);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> [usize; 2] {
        KEPT.with(|kept| kept.borrow().each_ref().map(Vec::len))
    }

    #[test]
    fn a_message_gets_the_memory_of_the_one_before_it_and_nothing_of_what_it_held() {
        let text = |byte: u8| [byte; 700];
        let first = received(&text(b'1'));
        let place = first.as_ptr();
        let slice = first.slice(690..);
        drop(first);
        let other = received(&text(b'2'));
        assert_ne!(other.as_ptr(), place, "somebody still has a part of the first");
        assert_eq!(slice, text(b'1')[690..]);
        drop(slice);

        let next = received(&text(b'3')[..600]);

        assert_eq!((next.as_ptr(), &next[..]), (place, &text(b'3')[..600]));
        assert_eq!(other, text(b'2')[..]);
    }

    #[test]
    fn a_message_takes_at_most_twice_its_length_whatever_was_there_before() {
        for len in [0, 1, 511, 512, 513, 1_023, 1_024, 1_025, 2_047, 2_048, 2_049, 60_000] {
            drop(received(&[b'x'; 2_048]));
            let room = take(len);
            assert!(room.is_empty() && (len..=2 * len).contains(&room.capacity()), "{len}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let all = [600, 1_500, 300, 3_000].map(|len| vec![received(&vec![b'x'; len]); 1]);
        assert_eq!(kept(), [0, 0]);
        drop(all);
        assert_eq!(kept(), [1, 1], "the short and the long one have memory of their own");

        let many: Vec<_> = (0..3 * KEPT_MAX).map(|_| received(&[b'x'; 600])).collect();
        drop(many);
        assert_eq!(kept(), [KEPT_MAX, 1]);
    }
}
