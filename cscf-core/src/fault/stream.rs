//! Cuts a stream into whole messages of SIP or Diameter, so that a rule sees each of them. Unlike
//! the framers of the protocols it judges nothing and loses nothing: what it gives, put together,
//! is the stream, and what it does not understand goes on as it came.

use bytes::{Bytes, BytesMut};

use crate::diameter::dictionary::command_name;
use crate::diameter::{HEADER_LENGTH, MESSAGE_MAX, claimed_length};
use crate::sip::{LIMITS, stated_length};

/// The bytes of one direction of one connection that wait for the rest of their message.
#[derive(Debug, Default)]
pub struct Cutter {
    buffer: BytesMut,
    /// Where the next message begins is unknown: everything goes on until one is recognized.
    lost: bool,
}

/// How much of the beginning of a stream is a message.
enum Cut {
    /// So many bytes.
    Whole(usize),
    /// Nobody can say before more has come.
    More,
    /// No message that a node would take.
    Lost,
}

impl Cutter {
    /// Whether these bytes are the beginning of a message and not the middle of one: where nobody
    /// has seen the stream from its first byte, it is from there that it is cut.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        if bytes.first() == Some(&1) {
            return begins_diameter(bytes);
        }
        let text = bytes.trim_ascii_start();
        if text.is_empty() && !bytes.is_empty() {
            // A keep-alive stands between messages.
            return bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        }
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.starts_with(b"SIP/2.0 ") {
            return true;
        }
        let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
        let method = words.next().is_some_and(|word| {
            !word.is_empty() && word.iter().all(|byte| byte.is_ascii_uppercase())
        });
        let uri = words.next().is_some_and(|word| word.contains(&b':'));
        let ends = line.len() == text.len() || words.next() == Some(b"SIP/2.0");
        method && uri && ends
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lost = self.lost && !(self.buffer.is_empty() && Self::begins(bytes));
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece: a whole message, or bytes between two of them.
    pub fn next_piece(&mut self) -> Option<Bytes> {
        if self.lost {
            return self.rest();
        }
        let blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let blanks = self.buffer.iter().take_while(blank).count();
        let cut = if blanks > 0 { Cut::Whole(blanks) } else { message_len(&self.buffer) };
        match cut {
            Cut::Whole(len) if len <= self.buffer.len() => Some(self.buffer.split_to(len).freeze()),
            Cut::Whole(_) | Cut::More => None,
            Cut::Lost => {
                self.lost = true;
                self.rest()
            }
        }
    }

    /// Everything that waits.
    pub fn rest(&mut self) -> Option<Bytes> {
        (!self.buffer.is_empty()).then(|| self.buffer.split().freeze())
    }
}

/// Whether a header of Diameter stands there whole: a length that may be, no reserved flag, a
/// command that is known (RFC 6733 §3).
fn begins_diameter(bytes: &[u8]) -> bool {
    let &[1, _, _, _, flags, a, b, c, ..] = bytes else { return false };
    let command = u32::from_be_bytes([0, a, b, c]);
    let known = [true, false].into_iter().any(|asks| command_name(command, asks).is_some());
    flags & 0x0f == 0 && known && claimed_length(bytes).is_some_and(may_be_length)
}

fn may_be_length(length: usize) -> bool {
    (HEADER_LENGTH..=MESSAGE_MAX).contains(&length) && length.is_multiple_of(4)
}

/// The length of the message at the beginning. It ends where the framers of the protocols say.
fn message_len(bytes: &[u8]) -> Cut {
    match bytes.first() {
        None => return Cut::More,
        Some(1) => {
            return match claimed_length(bytes) {
                None => Cut::More,
                Some(length) if may_be_length(length) => Cut::Whole(length),
                Some(_) => Cut::Lost,
            };
        }
        Some(_) => {}
    }
    let ends = [&b"\n\r\n"[..], b"\n\n"];
    let ends = ends.iter().filter_map(|end| Some(memchr::memmem::find(bytes, end)? + end.len()));
    let Some(head) = ends.min() else {
        return if bytes.len() > LIMITS.head_bytes_max { Cut::Lost } else { Cut::More };
    };
    let length = bytes.get(..head).and_then(stated_length).unwrap_or_default();
    match head.checked_add(length) {
        Some(whole) if whole <= LIMITS.message_bytes_max => Cut::Whole(whole),
        _ => Cut::Lost,
    }
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

    fn pieces(cutter: &mut Cutter, bytes: &[u8]) -> Vec<Bytes> {
        cutter.push(bytes);
        std::iter::from_fn(|| cutter.next_piece()).collect()
    }

    #[test]
    fn what_is_no_message_goes_on_as_it_came() {
        let mut cutter = Cutter::default();
        for wrong in [&[1, 0, 0, 3, 9, 9][..], b"abc", &[1, 0xff, 0xff, 0xff]] {
            assert_eq!(pieces(&mut cutter, wrong), [Bytes::copy_from_slice(wrong)]);
        }
        let one = b"OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n";
        assert_eq!(pieces(&mut cutter, one), [&one[..]], "from here it is cut again");
        assert!(pieces(&mut cutter, b"OPTIONS").is_empty(), "the rest may come");
        assert_eq!(cutter.rest().as_deref(), Some(&b"OPTIONS"[..]));
        // What a node refuses at once does not wait for its end.
        let endless = vec![b'X'; LIMITS.head_bytes_max + 1];
        assert_eq!(pieces(&mut cutter, &endless).concat(), endless);
        let mut cutter = Cutter::default();
        let long = b"OPTIONS sip:a SIP/2.0\r\nl: 99999\r\n\r\n";
        assert_eq!(pieces(&mut cutter, long), [&long[..]]);
    }

    #[test]
    fn a_message_ends_where_the_framer_ends_it() {
        let mut cutter = Cutter::default();
        let bare = b"OPTIONS sip:a SIP/2.0\nl:\n 3\n\nabc";
        assert_eq!(pieces(&mut cutter, bare), [&bare[..]]);
        let mixed = b"OPTIONS sip:a SIP/2.0\r\nl: 3\n\r\nabc";
        assert_eq!(pieces(&mut cutter, mixed), [&mixed[..]]);
    }

    #[test]
    fn the_middle_of_a_message_does_not_begin_one() {
        let header = |length: u8, flags: u8, command: [u8; 2]| {
            [1, 0, 0, length, flags, 0, command[0], command[1], 9, 9]
        };
        assert!(Cutter::begins(&header(20, 0x80, [1, 24])), "a watchdog request");
        assert!(!Cutter::begins(&header(21, 0x80, [1, 24])), "a length that cannot be");
        assert!(!Cutter::begins(&header(20, 0x81, [1, 24])), "a reserved flag");
        assert!(!Cutter::begins(&header(20, 0x80, [77, 77])), "an unknown command");
        assert!(Cutter::begins(b"\r\nREGISTER sip:a") && Cutter::begins(b"SIP/2.0 200 OK\r\n"));
        for middle in [&b"Via: SIP/2.0/TCP a\r\n"[..], b"OK\r\n", b"v=0\r\n", b"A b\r\nC", b""] {
            assert!(!Cutter::begins(middle), "{}", String::from_utf8_lossy(middle));
        }
    }
}
