//! Cuts a byte stream into Diameter messages (RFC 6733 §2.1, §3). A message names its length first,
//! so the buffer never holds more than one unfinished message.

use bytes::{Buf, Bytes, BytesMut};

use crate::diameter::codec::{
    Fault, FaultKind, HEADER_LENGTH, Header, MESSAGE_MAX, claimed_length,
};

/// The bytes of one direction of one connection.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    broken: Option<Option<Header>>,
}

impl Framer {
    /// Takes bytes as they come. Call [`Framer::next_message`] until it gives `None` before the
    /// next ones.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Cuts the next whole message.
    ///
    /// # Errors
    ///
    /// [`FaultKind::MessageLength`] when the length is no multiple of 4, below 20 or above
    /// [`MESSAGE_MAX`], [`FaultKind::Version`] when this is no Diameter: where the next message
    /// begins is unknown then, and the connection must be closed. Further bytes are ignored.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some(length) = claimed_length(&self.buffer) else { return Ok(None) };
        let fault = match self.buffer.first() {
            Some(version) if *version != 1 => Some((0, FaultKind::Version(*version))),
            _ if !(HEADER_LENGTH..=MESSAGE_MAX).contains(&length) || !length.is_multiple_of(4) => {
                Some((1, FaultKind::MessageLength { length }))
            }
            _ => None,
        };
        if let Some((offset, kind)) = fault {
            self.broken = Some(Header::decode_loosely(&self.buffer));
            self.buffer.clear();
            return Err(Fault::at(offset, kind));
        }
        if self.buffer.remaining() < length {
            return Ok(None);
        }
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// The header of the message whose length was wrong, if it was there whole; to answer it before
    /// the connection is closed.
    #[must_use]
    pub fn broken_header(&self) -> Option<Header> {
        self.broken.flatten()
    }

    /// How many bytes of an unfinished message wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether no unfinished message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diameter::codec::Message;

    #[test]
    fn a_stream_is_cut_the_same_however_it_is_portioned() {
        let one = Message::default().encode();
        let stream: Vec<u8> = one.iter().chain(one.iter()).chain(one.iter()).copied().collect();
        for portion in 1..=stream.len() {
            let mut framer = Framer::default();
            let mut messages = Vec::new();
            for chunk in stream.chunks(portion) {
                framer.push(chunk);
                while let Some(message) = framer.next_message().unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, vec![one.clone(); 3], "portions of {portion}");
            assert!(framer.is_empty());
        }
    }

    #[test]
    fn a_wrong_length_or_version_breaks_the_stream_for_good() {
        for (start, code) in [
            ([1, 0, 0, 19], 5015),
            ([1, 0, 0, 22], 5015),
            ([1, 1, 0, 4], 5015),
            ([2, 0, 0, 20], 5011),
            (*b"GET ", 5011),
        ] {
            let mut framer = Framer::default();
            framer.push(&start);
            assert_eq!(framer.next_message().unwrap_err().result_code(), code);
            framer.push(&[1; 4096]);
            assert_eq!(framer.next_message(), Ok(None));
            assert_eq!(framer.len(), 0);
        }
    }
}
