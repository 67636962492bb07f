//! The bytes of answers that may have to be sent again. They come and go nearly in order, half a
//! minute or two minutes later, among state that stays for days: each in a piece of memory of its
//! own would leave holes all over the heap when it goes. So they lie one behind the other in
//! chunks, and a chunk goes back to the system with the last of its answers.

use bytes::{Bytes, BytesMut};

use crate::sip::Response;

/// Bytes a chunk; a larger answer has a chunk of its own.
const CHUNK: usize = 64 * 1024;

/// The chunk that is being filled.
#[derive(Debug, Default)]
pub(super) struct Answers {
    chunk: BytesMut,
    /// Empty between two answers; kept for its room.
    scratch: Vec<u8>,
}

impl Answers {
    /// The bytes of an answer on the wire.
    pub(super) fn write(&mut self, response: &Response) -> Bytes {
        response.write_to(&mut self.scratch);
        if self.chunk.capacity() < self.scratch.len() {
            self.chunk = BytesMut::with_capacity(CHUNK.max(self.scratch.len()));
        }
        self.chunk.extend_from_slice(&self.scratch);
        self.scratch.clear();
        self.scratch.shrink_to(CHUNK);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Method, Request};

    #[test]
    fn answers_lie_one_behind_the_other_and_are_what_they_were() {
        let mut answers = Answers::default();
        let of = |status| Request::new(Method::Options, "sip:a").response(status, "Text");
        let kept: Vec<Bytes> = (200..700).map(|status| answers.write(&of(status))).collect();

        let follows = |pair: &[Bytes]| pair[0].as_ptr_range().end == pair[1].as_ptr();
        assert!(kept.windows(2).filter(|pair| follows(pair)).count() > 490);
        for (status, bytes) in (200..700).zip(kept) {
            assert_eq!(bytes, of(status).to_bytes());
        }
    }

    #[test]
    fn an_answer_larger_than_a_chunk_is_kept_too() {
        let mut answers = Answers::default();
        let mut response = Request::new(Method::Options, "sip:a").response(200, "OK");
        response.set_body("text/plain", vec![b'x'; 2 * CHUNK]);
        for _ in 0..3 {
            assert_eq!(answers.write(&response), response.to_bytes());
        }
        assert!(answers.scratch.capacity() <= CHUNK);
    }
}
