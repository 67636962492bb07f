//! Cuts a byte stream into messages by Content-Length (RFC 3261 §7.5, §18.3) and finds the CRLF
//! keep-alives between them (RFC 5626 §3.5.1, §4.4.1). The buffer is bounded; what would not fit is
//! refused before anything is kept of it.

use bytes::{Buf, Bytes, BytesMut};

use super::message::{Message, Request};
use super::method::Method;
use super::name::HeaderName;
use super::parse::LIMITS;
use super::scan::number;
use super::validate::{Rejected, read};

/// The bytes one stream may have waiting: a whole message and one read of the caller's.
pub const STREAM_BYTES_MAX: usize = 2 * 65_536;

const CRLF: &[u8] = b"\r\n";

/// A ping on a stream: two CRLFs (RFC 5626 §3.5.1).
pub const PING: &[u8] = b"\r\n\r\n";

/// The answer to a ping on a stream: one CRLF (RFC 5626 §3.5.1).
pub const PONG: &[u8] = b"\r\n";

/// A stream that can no longer be cut into messages: answer it if it can be answered, then close it
/// (RFC 3261 §18.3). The culprit is the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct FrameError {
    /// The status of the answer.
    pub status: u16,
    /// What is wrong; the reason phrase of the answer.
    pub reason: &'static str,
    /// The head of the message, with its empty line, if it is complete.
    pub head: Option<Bytes>,
}

impl FrameError {
    /// The request to be answered with [`FrameError::status`], if the head is one that may be.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        match read(self.head.as_ref()?) {
            Ok(Message::Request(request)) => (request.method != Method::Ack).then_some(request),
            Err(Rejected::Answerable { request, .. }) => Some(*request),
            _ => None,
        }
    }
}

/// Cuts one direction of one stream. After each [`Framer::push`] take everything from
/// [`Framer::next`] and answer [`Framer::take_pings`] with as many [`PONG`]s.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Where the line begins at which the search for the end of the head has come.
    scanned: usize,
    /// Up to where that line has been searched for its end.
    searched: usize,
    /// The length of the whole message, once its head is complete.
    whole: Option<usize>,
    /// Whether a CRLF came that would make a ping with the next one.
    half_ping: bool,
    pings: usize,
    crlfs: usize,
    failed: Option<FrameError>,
    done: bool,
}

impl Framer {
    /// A framer at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes that were read from the stream. After an error it takes nothing any more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() || self.done {
            return;
        }
        if self.buffer.len() + bytes.len() > STREAM_BYTES_MAX {
            self.fail(513, "Message Too Large", None);
            return;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` if more bytes are needed. Nothing follows an error.
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: None is not the end")]
    pub fn next(&mut self) -> Option<Result<Bytes, FrameError>> {
        if self.done {
            return None;
        }
        if self.failed.is_none() {
            match self.step() {
                Ok(message) => return message.map(Ok),
                Err((status, reason, head)) => self.fail(status, reason, head),
            }
        }
        self.done = true;
        self.failed.take().map(Err)
    }

    /// The double CRLFs that came since the last call; each is a ping to be answered by one CRLF.
    pub fn take_pings(&mut self) -> usize {
        std::mem::take(&mut self.pings)
    }

    /// The single CRLFs between messages that came since the last call: for the side that pings,
    /// each is a pong.
    pub fn take_crlfs(&mut self) -> usize {
        std::mem::take(&mut self.crlfs)
    }

    /// The last single CRLF was a pong: it is no half of a ping.
    pub const fn was_pong(&mut self) {
        self.half_ping = false;
    }

    /// The bytes that wait for the rest of their message.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    fn fail(&mut self, status: u16, reason: &'static str, head: Option<Bytes>) {
        self.failed = Some(FrameError { status, reason, head });
        self.buffer = BytesMut::new();
    }

    fn step(&mut self) -> Result<Option<Bytes>, (u16, &'static str, Option<Bytes>)> {
        if self.whole.is_none() {
            self.skip_line_ends();
            let Some(head_len) = self.head_end()? else { return Ok(None) };
            self.whole = Some(self.message_len(head_len)?);
        }
        match self.whole {
            Some(whole) if whole <= self.buffer.len() => {
                self.whole = None;
                self.scanned = 0;
                self.searched = 0;
                Ok(Some(self.buffer.split_to(whole).freeze()))
            }
            _ => Ok(None),
        }
    }

    /// Line ends before a start line are keep-alives (RFC 3261 §7.5). A CR alone waits for its LF.
    fn skip_line_ends(&mut self) {
        if self.searched > 0 {
            return;
        }
        loop {
            if self.buffer.starts_with(CRLF) {
                self.buffer.advance(CRLF.len());
                self.crlfs += 1;
                self.pings += usize::from(self.half_ping);
                self.half_ping = !self.half_ping;
            } else if self.buffer.first() == Some(&b'\n') {
                self.buffer.advance(1);
                self.half_ping = false;
            } else {
                break;
            }
        }
        if !matches!(&self.buffer[..], [] | [b'\r']) {
            self.half_ping = false;
        }
    }

    /// The length of the head with its empty line, looking at each byte once however it arrives.
    fn head_end(&mut self) -> Result<Option<usize>, (u16, &'static str, Option<Bytes>)> {
        if matches!(&self.buffer[..], [] | [b'\r']) {
            return Ok(None);
        }
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'\n', rest) else {
                self.searched = self.buffer.len();
                if self.buffer.len() > LIMITS.head_bytes_max {
                    return Err((513, "Message Too Large", None));
                }
                return Ok(None);
            };
            let line_end = self.searched + found;
            let end = line_end + 1;
            if end > LIMITS.head_bytes_max {
                return Err((513, "Message Too Large", None));
            }
            let line = self.buffer.get(self.scanned..line_end).unwrap_or_default();
            let first = self.scanned == 0;
            let is_empty = line.is_empty() || line == b"\r";
            (self.scanned, self.searched) = (end, end);
            if !first && is_empty {
                return Ok(Some(end));
            }
        }
    }

    fn message_len(&self, head_len: usize) -> Result<usize, (u16, &'static str, Option<Bytes>)> {
        let head = self.buffer.get(..head_len).unwrap_or_default();
        let fault = |status, reason| (status, reason, Some(Bytes::copy_from_slice(head)));
        let length = match content_length(head) {
            Length::Known(length) => length,
            Length::Missing => return Err(fault(400, "Missing Content-Length")),
            Length::Bad => return Err(fault(400, "Malformed Content-Length")),
        };
        match head_len.checked_add(length) {
            Some(whole) if whole <= LIMITS.message_bytes_max => Ok(whole),
            _ => Err(fault(513, "Message Too Large")),
        }
    }
}

enum Length {
    Known(usize),
    Missing,
    Bad,
}

/// The Content-Length of a head, if there is a right one.
pub(crate) fn stated_length(head: &[u8]) -> Option<usize> {
    match content_length(head) {
        Length::Known(length) => Some(length),
        Length::Missing | Length::Bad => None,
    }
}

/// The Content-Length of a head. Two of them are an error even if they agree: where one message
/// ends and the next begins may not depend on which one is read.
fn content_length(head: &[u8]) -> Length {
    let mut found = Length::Missing;
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = line.get(..colon).unwrap_or_default().trim_ascii_end();
        let is_it = matches!(name, [b'l' | b'L'])
            || name.eq_ignore_ascii_case(HeaderName::ContentLength.as_str().as_bytes());
        if !is_it {
            continue;
        }
        let mut value = line.get(colon + 1..).unwrap_or_default().trim_ascii().to_vec();
        while let Some(more) = lines.next_if(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
            value.extend_from_slice(more.trim_ascii());
        }
        let length = std::str::from_utf8(&value).ok().and_then(number);
        found = match (found, length.and_then(|length| usize::try_from(length).ok())) {
            (Length::Missing, Some(length)) => Length::Known(length),
            _ => return Length::Bad,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nl: 4\r\n\r\nbody";
    const TWO: &[u8] = b"OPTIONS sip:b SIP/2.0\r\nContent-Length :\r\n 0\r\n\r\n";

    fn all(framer: &mut Framer) -> Vec<Result<Bytes, FrameError>> {
        std::iter::from_fn(|| framer.next()).collect()
    }

    #[test]
    fn pipelined_messages_come_one_by_one_however_the_stream_is_cut() {
        let stream = [ONE, TWO, b"\r\n\r\n", ONE].concat();
        for size in 1..stream.len() {
            let mut framer = Framer::new();
            let mut got = Vec::new();
            for piece in stream.chunks(size) {
                framer.push(piece);
                got.extend(all(&mut framer));
            }
            assert_eq!(got, [Ok(ONE.into()), Ok(TWO.into()), Ok(ONE.into())], "pieces of {size}");
            assert_eq!((framer.take_pings(), framer.take_crlfs(), framer.pending()), (1, 2, 0));
        }
    }

    #[test]
    fn a_double_crlf_is_a_ping_and_a_single_one_is_not() {
        let mut framer = Framer::new();
        framer.push(b"\r\n");
        assert_eq!((framer.next(), framer.take_pings(), framer.take_crlfs()), (None, 0, 1));
        framer.was_pong();
        framer.push(b"\r\n");
        assert_eq!((framer.next(), framer.take_pings(), framer.take_crlfs()), (None, 0, 1));
        framer.push(b"\r\n\r\n\r");
        assert_eq!((framer.next(), framer.take_pings()), (None, 1));
        framer.push(b"\n");
        assert_eq!((framer.next(), framer.take_pings()), (None, 1));
        framer.push(b"\r\n");
        assert_eq!(framer.next(), None);
        framer.push(TWO);
        framer.push(b"\r\n");
        assert_eq!(all(&mut framer).len(), 1);
        assert_eq!(framer.take_pings(), 0, "a message parts two single CRLFs");
    }

    #[test]
    fn a_message_without_length_is_answered_and_the_stream_ends() {
        let head = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n\r\n";
        let mut framer = Framer::new();
        framer.push(head);
        let fault = framer.next().expect("an error").expect_err("no length");
        assert_eq!((fault.status, fault.reason), (400, "Missing Content-Length"));
        assert_eq!(fault.head.as_deref(), Some(&head[..]));
        assert!(fault.request().is_some_and(|request| request.via().is_ok()));
        framer.push(ONE);
        assert_eq!(framer.next(), None);
        assert_eq!(framer.pending(), 0);
    }

    #[test]
    fn a_bad_or_repeated_length_ends_the_stream() {
        for line in ["l: -1", "l: 1x", "l:", "l: 0\r\nContent-Length: 0", "l: 99999999999999999999"]
        {
            let mut framer = Framer::new();
            framer.push(format!("OPTIONS sip:a SIP/2.0\r\n{line}\r\n\r\n").as_bytes());
            assert_eq!(framer.next().expect("error").expect_err(line).status, 400, "{line}");
        }
    }

    #[test]
    fn too_much_is_refused_before_it_is_kept() {
        let mut framer = Framer::new();
        framer.push(b"OPTIONS sip:a SIP/2.0\r\nl: 65536\r\n\r\n");
        assert_eq!(framer.next().expect("error").expect_err("long body").status, 513);

        let mut framer = Framer::new();
        framer.push(&[b'a'; 40_000]);
        assert_eq!(framer.next().expect("error").expect_err("endless head").status, 513);

        let mut framer = Framer::new();
        framer.push(&[b'a'; STREAM_BYTES_MAX + 1]);
        assert_eq!(framer.pending(), 0);
        assert_eq!(framer.next().expect("error").expect_err("endless push").status, 513);
    }
}
