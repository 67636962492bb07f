//! Reading a datagram or one framed stream message: one pass over the header lines, limits before
//! allocation, errors with the byte offset.

use bytes::Bytes;

use super::headers::{Field, Headers};
use super::message::{Message, Request, Response};
use super::method::Method;
use super::name::HeaderName;

/// What a peer may send at most; more is refused before anything is allocated for it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole message, in bytes.
    pub message_bytes_max: usize,
    /// The start line and the header lines together, in bytes.
    pub head_bytes_max: usize,
    /// Header lines.
    pub header_lines_max: usize,
}

/// The limits in force.
pub const LIMITS: Limits =
    Limits { message_bytes_max: 65_535, head_bytes_max: 32_768, header_lines_max: 256 };

/// Bytes that are no SIP message, and where the trouble is. The culprit is the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct ParseError {
    /// The offset of the first byte that cannot stand there.
    pub offset: usize,
    /// What is wrong, lower case, no full stop.
    pub reason: &'static str,
}

const fn error(offset: usize, reason: &'static str) -> ParseError {
    ParseError { offset, reason }
}

/// Reads one message. Leading CRLFs are skipped (RFC 3261 §7.5); bytes behind Content-Length are
/// discarded (datagrams, §18.3).
///
/// This is the structure only (start line, header lines, body length); whether the mandatory headers
/// are there and right is the next step's question.
///
/// # Errors
///
/// [`ParseError`] with the offset when the start line, a header line or the length is not SIP.
pub fn parse(bytes: &Bytes) -> Result<Message, ParseError> {
    if bytes.len() > LIMITS.message_bytes_max {
        return Err(error(LIMITS.message_bytes_max, "message longer than 65535 bytes"));
    }
    let start = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let mut lines = Lines { bytes, at: start };
    let (start_line, _) = lines.next_line()?;
    let start_text = bytes.slice(start_line.clone());
    let mut headers = Headers::new();
    loop {
        let (line, next) = lines.next_line()?;
        if line.is_empty() {
            break;
        }
        if headers.len() == LIMITS.header_lines_max {
            return Err(error(line.start, "more than 256 header lines"));
        }
        let next = lines.unfold(next)?;
        let whole = bytes.slice(line.start..next);
        let colon = memchr::memchr(b':', &whole)
            .filter(|colon| *colon < line.len())
            .ok_or(error(line.start, "header line without a colon"))?;
        if !is_field_name(whole.get(..colon).unwrap_or_default()) {
            return Err(error(line.start, "header name is not a token"));
        }
        headers.push_wire(Field::from_wire(whole, colon));
    }
    let body = body(bytes, lines.at, &headers)?;
    start_line_of(&start_text, start_line.start, headers, body)
}

fn is_field_name(name: &[u8]) -> bool {
    let name = name.trim_ascii_end();
    !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte))
}

/// Whether a byte may stand in a token (RFC 3261 §25.1).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

struct Lines<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Lines<'_> {
    /// The next line without its line end, and the offset behind the line end. A bare LF ends a line
    /// too: some clients send it, and no header value may hold one.
    fn next_line(&mut self) -> Result<(std::ops::Range<usize>, usize), ParseError> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let len = memchr::memchr(b'\n', rest)
            .ok_or(error(self.bytes.len(), "message ends before the empty line"))?;
        let next = start + len + 1;
        if next > LIMITS.head_bytes_max {
            return Err(error(LIMITS.head_bytes_max, "head longer than 32768 bytes"));
        }
        let end = match rest.get(..len) {
            Some([.., b'\r']) => start + len - 1,
            _ => start + len,
        };
        self.at = next;
        Ok((start..end, next))
    }

    /// Swallows continuation lines (RFC 3261 §7.3.1); gives the offset behind the last one.
    fn unfold(&mut self, mut next: usize) -> Result<usize, ParseError> {
        while let Some(b' ' | b'\t') = self.bytes.get(next) {
            let (line, after) = self.next_line()?;
            // A line of blanks only is the empty line of a careless client, not a continuation.
            if self.bytes.get(line).is_none_or(|text| text.trim_ascii().is_empty()) {
                return Err(error(next, "continuation line without content"));
            }
            next = after;
        }
        Ok(next)
    }
}

fn body(bytes: &Bytes, start: usize, headers: &Headers) -> Result<Bytes, ParseError> {
    let rest = bytes.slice(start.min(bytes.len())..);
    let Some(text) = headers.get(HeaderName::ContentLength) else {
        return Ok(rest);
    };
    // Whether the value is a number at all is a question of validation; an unreadable length takes
    // the whole rest, so that a request can still be answered with 400.
    let Ok(length) = text.parse::<usize>() else {
        return Ok(rest);
    };
    if length > rest.len() {
        return Err(error(bytes.len(), "body shorter than Content-Length"));
    }
    Ok(rest.slice(..length))
}

fn start_line_of(
    line: &Bytes,
    offset: usize,
    headers: Headers,
    body: Bytes,
) -> Result<Message, ParseError> {
    let text = std::str::from_utf8(line)
        .map_err(|fault| error(offset + fault.valid_up_to(), "start line is not UTF-8"))?;
    if let Some(rest) = strip_version(text) {
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let code = status
            .parse::<u16>()
            .ok()
            .filter(|code| status.len() == 3 && (100..=699).contains(code))
            .ok_or(error(offset + 8, "status code is not 100 to 699"))?;
        let reason = reason.to_owned();
        return Ok(Message::Response(Response { status: code, reason, headers, body }));
    }
    let (method, rest) = text.split_once(' ').ok_or(error(offset, "start line is not SIP"))?;
    if method.is_empty() || !method.bytes().all(is_token_byte) {
        return Err(error(offset, "method is not a token"));
    }
    let uri_at = offset + method.len() + 1;
    let (uri, version) =
        rest.rsplit_once(' ').ok_or(error(uri_at, "start line without SIP version"))?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(error(uri_at + uri.len() + 1, "SIP version is not SIP/2.0"));
    }
    if uri.is_empty() || uri.contains([' ', '\t', '<', '>']) {
        return Err(error(uri_at, "request URI is empty, has spaces or stands in brackets"));
    }
    let method = Method::from_token(method);
    Ok(Message::Request(Request { method, request_uri: uri.to_owned(), headers, body }))
}

fn strip_version(text: &str) -> Option<&str> {
    let (version, rest) = text.split_once(' ')?;
    version.eq_ignore_ascii_case("SIP/2.0").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:bob@ims.example SIP/2.0\r\n\
        v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        X-Odd :  one,\r\n\t two\r\n\
        Content-Length: 4\r\n\r\nbody-and-more";

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
}
