//! Reading a datagram or one framed stream message: one pass over the header lines, limits before
//! allocation, errors with the byte offset.

use std::borrow::Cow;

use bytes::Bytes;

use super::head::usual_lines;
use super::headers::Headers;
use super::message::{Message, Request, Response};
use super::method::Method;
use super::name::HeaderName;
use super::status::phrase;

/// What a peer may send at most; more is refused before anything is allocated for it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole message, in bytes.
    pub message_bytes_max: usize,
    /// The start line and the header lines together, in bytes.
    pub head_bytes_max: usize,
    /// Header lines.
    pub header_lines_max: usize,
    /// The Request-URI, in bytes.
    pub request_uri_bytes_max: usize,
}

/// The limits in force.
pub const LIMITS: Limits = Limits {
    message_bytes_max: 65_535,
    head_bytes_max: 32_768,
    header_lines_max: 256,
    request_uri_bytes_max: 4_096,
};

/// Bytes that are no SIP message, and where the trouble is. The culprit is the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct ParseError {
    /// The offset of the first byte that cannot stand there.
    pub offset: usize,
    /// What is wrong.
    pub reason: Cow<'static, str>,
}

const fn error(offset: usize, reason: &'static str) -> ParseError {
    ParseError { offset, reason: Cow::Borrowed(reason) }
}

/// A fault that leaves enough of a request to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) offset: usize,
    /// The status of the answer.
    pub(super) status: u16,
    /// What is wrong, and the reason phrase of the answer.
    pub(super) reason: &'static str,
}

const fn flaw(offset: usize, reason: &'static str) -> Flaw {
    Flaw { offset, status: 400, reason }
}

/// Reads one message. Leading CRLFs are skipped (RFC 3261 §7.5); bytes behind Content-Length are
/// discarded (datagrams, §18.3). A bare LF ends a line too, and leaves as CRLF.
///
/// This is the structure only (start line, header lines, body length); whether the mandatory
/// headers are there and right is [`super::read`]'s question.
///
/// # Errors
///
/// [`ParseError`] with the offset when the start line, a header line or the length is not SIP.
pub fn parse(bytes: &Bytes) -> Result<Message, ParseError> {
    match parse_loose(bytes)? {
        (message, None) => Ok(message),
        (_, Some(flaw)) => Err(error(flaw.offset, flaw.reason)),
    }
}

/// Reads one message, and the first fault that does not hide the rest of it.
pub(super) fn parse_loose(bytes: &Bytes) -> Result<(Message, Option<Flaw>), ParseError> {
    if bytes.len() > LIMITS.message_bytes_max {
        return Err(error(LIMITS.message_bytes_max, "message longer than 65535 bytes"));
    }
    let start = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let mut lines = Lines { bytes, at: start };
    let line = lines.next_line().map_err(|flaw| error(flaw.offset, flaw.reason))?;
    let text = bytes.get(start..line.end).unwrap_or_default();
    let text = std::str::from_utf8(text)
        .map_err(|fault| error(start + fault.valid_up_to(), "start line is not UTF-8"))?;
    if let Some(at) = line.stray_cr {
        return Err(error(at, "CR without LF in the start line"));
    }
    let (start_line, start_flaw) = StartLine::read(text, start)?;
    let (mut headers, head_flaw) = header_lines(&mut lines);
    headers.set_wire(bytes.slice(..lines.at.min(bytes.len())));
    let (body, body_flaw) = match head_flaw {
        Some(_) => (bytes.slice(lines.at.min(bytes.len())..), None),
        None => body(bytes, lines.at, &headers),
    };
    let message = match start_line {
        StartLine::Request(method, uri, at) => {
            // A head that is not text as a whole has no view to give.
            let request_uri = headers.shared(at..at + uri.len()).unwrap_or_else(|| uri.into());
            Message::Request(Request { method, request_uri, headers, body, version: 2 })
        }
        StartLine::Response(status, reason) => {
            let reason = phrase(status, reason);
            Message::Response(Response { status, reason, headers, body })
        }
    };
    Ok((message, start_flaw.or(head_flaw).or(body_flaw)))
}

/// Lines up to the empty one; a line that is no header is left out and the first such reported.
fn header_lines(lines: &mut Lines<'_>) -> (Headers, Option<Flaw>) {
    let mut headers = Headers::received();
    if let Some(end) = usual_lines(lines.bytes, lines.at, &mut headers) {
        lines.at = end;
        return (headers, None);
    }
    headers.forget_lines();
    line_by_line(lines, headers)
}

/// The same for every head there is.
fn line_by_line(lines: &mut Lines<'_>, mut headers: Headers) -> (Headers, Option<Flaw>) {
    let mut first = None;
    loop {
        let start = lines.at;
        match lines.next_line() {
            Ok(line) if line.end == start => return (headers, first),
            Ok(_) if headers.len() == LIMITS.header_lines_max => {
                let reason = "more than 256 header lines";
                let flaw = Flaw { offset: start, status: 513, reason };
                return (headers, first.or(Some(flaw)));
            }
            Ok(line) => {
                if let Err(flaw) = lines.field(start, line, &mut headers) {
                    first = first.or(Some(flaw));
                }
            }
            Err(flaw) => return (headers, first.or(Some(flaw))),
        }
        // Every turn takes at least one line end.
        debug_assert!(lines.at > start);
    }
}

/// What both ways read of the header lines of a message whose head is usual: with the flaw, and
/// where the body begins.
#[cfg(test)]
pub(super) fn both_ways(bytes: &Bytes) -> Option<[String; 2]> {
    let mut lines = Lines { bytes, at: 0 };
    lines.next_line().ok()?;
    let mut headers = Headers::received();
    let end = usual_lines(bytes, lines.at, &mut headers)?;
    let usual = format!("{headers:?} None {end}");
    let (headers, flaw) = line_by_line(&mut lines, Headers::received());
    Some([usual, format!("{headers:?} {flaw:?} {}", lines.at)])
}

/// Whether a byte may stand in a token (RFC 3261 §25.1).
#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            table[byte] = is_token(byte as u8);
        }
        byte += 1;
    }
    table
};

pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// A line that was found.
#[derive(Clone, Copy)]
struct Line {
    /// Where its line end begins.
    end: usize,
    /// Whether it ends with a bare LF.
    bare_lf: bool,
    /// The first CR in it that is no line end.
    stray_cr: Option<usize>,
}

struct Lines<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Lines<'_> {
    /// The next line. A bare LF ends a line too: some clients send it, and no header value may
    /// hold one.
    #[inline]
    fn next_line(&mut self) -> Result<Line, Flaw> {
        let mut line = Line { end: self.at, bare_lf: false, stray_cr: None };
        let next = loop {
            let rest = self.bytes.get(line.end..).unwrap_or_default();
            let found = memchr::memchr2(b'\r', b'\n', rest)
                .ok_or(flaw(self.bytes.len(), "message ends before the empty line"))?;
            line.end += found;
            match rest.get(found..) {
                Some([b'\r', b'\n', ..]) => break line.end + 2,
                Some([b'\n', ..]) => {
                    line.bare_lf = true;
                    break line.end + 1;
                }
                _ => {
                    line.stray_cr = line.stray_cr.or(Some(line.end));
                    line.end += 1;
                }
            }
        };
        if next > LIMITS.head_bytes_max {
            let reason = "head longer than 32768 bytes";
            return Err(Flaw { offset: LIMITS.head_bytes_max, status: 513, reason });
        }
        self.at = next;
        Ok(line)
    }

    /// The header field whose first line is `line`, with its continuation lines (RFC 3261 §7.3.1).
    fn field(&mut self, start: usize, line: Line, headers: &mut Headers) -> Result<(), Flaw> {
        let Line { mut bare_lf, mut stray_cr, .. } = line;
        while let Some(b' ' | b'\t') = self.bytes.get(self.at) {
            let from = self.at;
            let more = self.next_line()?;
            bare_lf |= more.bare_lf;
            stray_cr = stray_cr.or(more.stray_cr);
            // A line of blanks only is the empty line of a careless client, not a continuation.
            if self.bytes.get(from..more.end).is_none_or(|text| text.trim_ascii().is_empty()) {
                return Err(flaw(from, "continuation line without content"));
            }
        }
        let whole = self.bytes.get(start..self.at).unwrap_or_default();
        let colon = find_near(whole, b':')
            .filter(|colon| *colon < line.end - start)
            .ok_or(flaw(start, "header line without a colon"))?;
        let text = whole.get(..colon).unwrap_or_default().trim_ascii_end();
        let name = HeaderName::from_bytes(text);
        // The names of the list are tokens.
        if name == HeaderName::Unknown && !is_field_name(text) {
            return Err(flaw(start, "header name is not a token"));
        }
        // A CR inside a line would be a line end to the next reader.
        if let Some(at) = stray_cr {
            return Err(flaw(at, "CR without LF in a header line"));
        }
        if bare_lf {
            headers.push_mended(&with_crlf(whole), name, colon, start);
        } else {
            headers.push_wire(whole, name, colon, start);
        }
        Ok(())
    }
}

#[inline]
pub(super) fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte))
}

/// The first such byte. Where it stands within the first dozens of bytes, eight at a time in a
/// register beat the call of a search with wider steps.
#[inline]
pub(crate) fn find_near(text: &[u8], byte: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let wanted = ONES * u64::from(byte);
    let mut rest = text;
    while let Some((eight, more)) = rest.split_first_chunk() {
        // The lowest byte that is zero here is the first one wanted.
        let differs = u64::from_le_bytes(*eight) ^ wanted;
        let zeros = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
        if zeros != 0 {
            return Some(text.len() - rest.len() + zeros.trailing_zeros() as usize / 8);
        }
        rest = more;
    }
    let found = rest.iter().position(|its| *its == byte)?;
    Some(text.len() - rest.len() + found)
}

/// The lines with CRLF ends: what leaves us has no other.
fn with_crlf(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() + 8);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn body(bytes: &Bytes, start: usize, headers: &Headers) -> (Bytes, Option<Flaw>) {
    let rest = bytes.slice(start.min(bytes.len())..);
    let length = headers.get(HeaderName::ContentLength).and_then(|text| text.parse::<usize>().ok());
    // Whether the value is a number at all is a question of validation; an unreadable length takes
    // the whole rest, so that a request can still be answered with 400.
    match length {
        None => (rest, None),
        Some(length) if length > rest.len() => {
            (rest, Some(flaw(bytes.len(), "body shorter than Content-Length")))
        }
        Some(length) => (rest.slice(..length), None),
    }
}

enum StartLine<'a> {
    /// Method, Request-URI, and where in the message that begins.
    Request(Method, &'a str, usize),
    /// Status and reason phrase.
    Response(u16, &'a str),
}

impl<'a> StartLine<'a> {
    fn read(text: &'a str, offset: usize) -> Result<(Self, Option<Flaw>), ParseError> {
        if let Some(rest) = strip_version(text) {
            let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let code = status
                .parse::<u16>()
                .ok()
                .filter(|code| status.len() == 3 && (100..=699).contains(code))
                .ok_or(error(offset + 8, "status code is not 100 to 699"))?;
            return Ok((Self::Response(code, reason), None));
        }
        let space = find_near(text.as_bytes(), b' ');
        let parts = space.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
        let (method, rest) = parts.ok_or(error(offset, "start line is not SIP"))?;
        if method.is_empty() || !method.bytes().all(is_token_byte) {
            return Err(error(offset, "method is not a token"));
        }
        let uri_at = offset + method.len() + 1;
        let line = rest.trim_end_matches([' ', '\t']);
        let usual = line.strip_suffix(VERSION).and_then(|uri| uri.strip_suffix(' '));
        let (uri, version) = usual
            .map(|uri| (uri, VERSION))
            .or_else(|| line.rsplit_once(' '))
            .ok_or(error(uri_at, "start line without SIP version"))?;
        let version_at = uri_at + uri.len() + 1;
        let usual = version.eq_ignore_ascii_case(VERSION);
        if !usual && !is_version(version) {
            return Err(error(version_at, "start line without SIP version"));
        }
        let flaw = if !usual {
            Some(Flaw { offset: version_at, status: 505, reason: "SIP version is not SIP/2.0" })
        } else if uri.len() > LIMITS.request_uri_bytes_max {
            let reason = "Request-URI longer than 4096 bytes";
            Some(Flaw { offset: uri_at, status: 414, reason })
        } else if line.len() != rest.len() {
            Some(flaw(uri_at + line.len(), "space behind the SIP version"))
        } else if uri.is_empty() || cannot_be_uri(uri.as_bytes()) {
            Some(flaw(uri_at, "Request-URI is empty, has spaces or stands in brackets"))
        } else {
            None
        };
        let begin = uri_at + (uri.len() - uri.trim_start().len());
        Ok((Self::Request(Method::from_token(method), uri.trim(), begin), flaw))
    }
}

/// `SIP/` and two numbers.
fn is_version(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/"))
        && text
            .get(4..)
            .and_then(|numbers| numbers.split_once('.'))
            .is_some_and(|(major, minor)| digits(major) && digits(minor))
}

const VERSION: &str = "SIP/2.0";

fn strip_version(text: &str) -> Option<&str> {
    let (version, rest) = text.split_at_checked(VERSION.len())?;
    rest.strip_prefix(' ').filter(|_| version.eq_ignore_ascii_case(VERSION))
}

fn cannot_be_uri(text: &[u8]) -> bool {
    memchr::memchr3(b' ', b'<', b'>', text).is_some() || memchr::memchr(b'\t', text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:bob@ims.example SIP/2.0\r\n\
        v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        X-Odd :  one,\r\n\t two\r\n\
        Content-Length: 4\r\n\r\nbody-and-more";

    #[test]
    fn the_request_uri_is_a_view_into_the_message_where_its_head_is_text() {
        for (subject, shared) in [("caf\u{e9}".as_bytes(), true), (b"caf\xe9", false)] {
            let mut text = b"\r\nOPTIONS sip:bob@ims.example SIP/2.0\r\nSubject: ".to_vec();
            text.extend_from_slice(subject);
            text.extend_from_slice(b"\r\n\r\n");
            let bytes = Bytes::from(text);

            let Ok(Message::Request(request)) = parse(&bytes) else { panic!("a request") };

            assert_eq!(request.request_uri, "sip:bob@ims.example");
            let within = bytes.as_ptr_range().contains(&request.request_uri.as_ptr());
            assert_eq!(within, shared);
        }
    }

    #[test]
    fn an_untouched_message_leaves_as_it_came() {
        let message = parse(&Bytes::from(OPTIONS)).expect("parses");
        let wire = message.to_bytes();
        assert_eq!(wire, OPTIONS.trim_end_matches("-and-more").as_bytes());
    }

    #[test]
    fn a_folded_value_is_read_unfolded() {
        let message = parse(&Bytes::from(OPTIONS)).expect("parses");
        let field = message.headers().fields_named("x-odd").next().expect("there");
        assert_eq!(field.unfolded(), "one, two");
    }

    #[test]
    fn an_error_names_the_byte() {
        let text = "OPTIONS sip:bob@ims.example SIP/2.0\r\nno colon\r\n\r\n";
        let fault = parse(&Bytes::from(text)).expect_err("no colon");
        assert_eq!(fault, error(37, "header line without a colon"));
    }

    #[test]
    fn a_bare_line_feed_leaves_as_a_full_line_end() {
        let text = "OPTIONS sip:b SIP/2.0\nX: a\n b\r\n\nbody";
        let message = parse(&Bytes::from(text)).expect("parses");
        assert_eq!(&message.to_bytes()[..], b"OPTIONS sip:b SIP/2.0\r\nX: a\r\n b\r\n\r\nbody");
        let fault = parse(&Bytes::from("OPTIONS sip:b SIP/2.0\r\nX: a\rRoute: b\r\n\r\n"));
        assert_eq!(fault.expect_err("CR").offset, 27);
    }

    #[test]
    fn limits_hold() {
        let head = "OPTIONS sip:b SIP/2.0\r\n";
        let many = format!("{head}{}\r\n", "A: b\r\n".repeat(257));
        let (message, flaw) = parse_loose(&Bytes::from(many)).expect("readable");
        assert_eq!((message.headers().len(), flaw.map(|flaw| flaw.status)), (256, Some(513)));
        let long = format!("{head}A: {}\r\n\r\n", "b".repeat(40_000));
        let (_, flaw) = parse_loose(&Bytes::from(long)).expect("readable");
        assert_eq!(flaw.map(|flaw| (flaw.status, flaw.offset)), Some((513, 32_768)));
        assert!(parse(&Bytes::from(vec![b'A'; 70_000])).is_err());
        let uri = format!("OPTIONS sip:{} SIP/2.0\r\n\r\n", "a".repeat(5_000));
        let (_, flaw) = parse_loose(&Bytes::from(uri)).expect("readable");
        assert_eq!(flaw.map(|flaw| (flaw.status, flaw.offset)), Some((414, 8)));
    }
}
