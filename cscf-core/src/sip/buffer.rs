//! The memory of whole messages that are gone, for the next ones of the same thread. An allocator
//! gives the block that was free longest; the one that became free last is still in the caches of
//! the processor, and a message of a thousand bytes fills it at once.
//!
//! What is kept is empty memory, so nothing of one message is seen by another, and it is bounded.

use std::cell::RefCell;

use bytes::Bytes;

/// Room that most messages do with.
const USUAL: usize = 2_048;
/// What is larger is not kept.
const MAX: usize = 8_192;
/// How many are kept: what is read, decided and sent together, and some that wait for an answer.
const KEPT_MAX: usize = 32;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
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

/// Memory for a message of so many bytes; empty.
pub(super) fn take(len: usize) -> Vec<u8> {
    let kept = KEPT.try_with(|kept| kept.try_borrow_mut().ok().and_then(|mut kept| kept.pop()));
    let mut room = kept.ok().flatten().unwrap_or_default();
    if room.capacity() < len {
        room.reserve_exact(len.max(USUAL));
    }
    room
}

/// The message that was written into memory of [`take`].
pub(super) fn lend(message: Vec<u8>) -> Bytes {
    Bytes::from_owner(Lent(message))
}

/// A copy of a message that has just been received.
#[must_use]
pub fn received(message: &[u8]) -> Bytes {
    let mut room = take(message.len());
    room.extend_from_slice(message);
    lend(room)
}

fn give(mut room: Vec<u8>) {
    if !(USUAL..=MAX).contains(&room.capacity()) {
        return;
    }
    room.clear();
    // At the end of a thread there may be nobody left to keep it.
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.len() < KEPT_MAX
        {
            kept.push(room);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_gets_the_memory_of_the_one_before_it_and_nothing_of_what_it_held() {
        let first = received(b"INVITE one");
        let place = first.as_ptr();
        let slice = first.slice(7..);
        drop(first);
        let other = received(b"INVITE two");
        assert_ne!(other.as_ptr(), place, "somebody still has a part of the first");
        assert_eq!(slice, b"one"[..]);
        drop(slice);

        let next = received(b"BYE");

        assert_eq!((next.as_ptr(), &next[..]), (place, &b"BYE"[..]));
        assert_eq!(other, b"INVITE two"[..]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let large = received(&[b'x'; MAX + 1]);
        let place = large.as_ptr();
        drop(large);
        assert_ne!(received(b"BYE").as_ptr(), place);

        let many: Vec<_> = (0..3 * KEPT_MAX).map(|_| received(b"BYE")).collect();
        drop(many);
        assert_eq!(KEPT.with(|kept| kept.borrow().len()), KEPT_MAX);
        assert!(KEPT.with(|kept| kept.borrow().iter().all(|room| room.capacity() <= MAX)));
    }
}
