//! Cuts a stream into whole messages of SIP or Diameter, so that a rule sees each of them. Unlike
//! the framers of the protocols it judges nothing and loses nothing: what it gives, put together,
//! is the stream, and what it does not understand goes on as it came.

use bytes::{Bytes, BytesMut};

use crate::sip::STREAM_BYTES_MAX;

/// The bytes of one direction of one connection that wait for the rest of their message.
#[derive(Debug, Default)]
pub struct Cutter(BytesMut);

impl Cutter {
    /// Whether a message can begin with these bytes: it is from there that a stream is cut.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        let text = bytes.trim_ascii_start();
        bytes.first() == Some(&1) || text.first().is_some_and(u8::is_ascii_uppercase)
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next piece: a whole message, or bytes between two of them.
    pub fn next_piece(&mut self) -> Option<Bytes> {
        let blanks = self.0.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let len = if blanks > 0 { Some(blanks) } else { message_len(&self.0) };
        match len {
            Some(len) if len <= self.0.len() && len > 0 => Some(self.0.split_to(len).freeze()),
            // Longer than any message that a node would take.
            _ if self.0.len() > STREAM_BYTES_MAX => self.rest(),
            _ => None,
        }
    }

    /// Everything that waits.
    pub fn rest(&mut self) -> Option<Bytes> {
        (!self.0.is_empty()).then(|| self.0.split().freeze())
    }
}

/// The length of the message at the beginning, if that much can be told.
fn message_len(bytes: &[u8]) -> Option<usize> {
    if let [1, a, b, c, ..] = *bytes {
        let length = u32::from_be_bytes([0, a, b, c]);
        // Shorter than its own header: nobody knows where the next begins.
        return usize::try_from(length)
            .ok()
            .map(|length| if length < 20 { bytes.len() } else { length });
    }
    if bytes.first() == Some(&1) {
        return None;
    }
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let length = bytes.get(..head)?.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = line.get(..colon)?.trim_ascii();
        let known = [&b"Content-Length"[..], b"l"];
        if !known.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return None;
        }
        std::str::from_utf8(line.get(colon + 1..)?.trim_ascii()).ok()?.parse::<usize>().ok()
    });
    head.checked_add(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_the_same_however_it_is_portioned_and_nothing_is_lost() {
        let one = "OPTIONS sip:a SIP/2.0\r\nl: 3\r\n\r\nabc";
        let other = "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        let diameter = [&[1, 0, 0, 20][..], &[7; 16]].concat();
        let stream: Vec<u8> =
            [one.as_bytes(), b"\r\n\r\n", other.as_bytes(), &diameter, one.as_bytes()].concat();
        for portion in 1..=stream.len() {
            let mut cutter = Cutter::default();
            let mut pieces = Vec::new();
            for chunk in stream.chunks(portion) {
                cutter.push(chunk);
                pieces.extend(std::iter::from_fn(|| cutter.next_piece()));
            }
            assert_eq!(pieces.concat(), stream, "portions of {portion}");
            let whole = |piece: &&Bytes| !piece.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            let messages: Vec<&Bytes> = pieces.iter().filter(whole).collect();
            assert_eq!(messages, [one.as_bytes(), other.as_bytes(), &diameter, one.as_bytes()]);
        }
    }

    #[test]
    fn what_is_no_message_goes_on_as_it_came() {
        let mut cutter = Cutter::default();
        cutter.push(&[1, 0, 0, 3, 9, 9]);
        assert_eq!(cutter.next_piece(), Some(Bytes::from_static(&[1, 0, 0, 3, 9, 9])));
        cutter.push(&vec![b'x'; STREAM_BYTES_MAX + 1]);
        assert_eq!(cutter.next_piece().map(|piece| piece.len()), Some(STREAM_BYTES_MAX + 1));
        cutter.push(b"abc");
        assert_eq!((cutter.next_piece(), cutter.rest().as_deref()), (None, Some(&b"abc"[..])));
    }
}
