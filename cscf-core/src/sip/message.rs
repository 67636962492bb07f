//! Requests and responses: a start line, header fields, a body.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;

use super::buffer;
use super::headers::Headers;
use super::method::Method;
use super::name::HeaderName;
use super::status::phrase;
use crate::ids::Decimal;

/// A SIP request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The Request-URI as text; read it with [`crate::sip::Uri::parse`]. That of a received request
    /// is a view into the message: what outlives the message takes a copy (`to_string`), since a
    /// clone keeps the whole datagram.
    pub request_uri: ByteString,
    /// The header fields.
    pub headers: Headers,
    /// The body; Content-Length is the caller's to keep in step, see [`Request::set_body`].
    pub body: Bytes,
    /// The major number of the version it is written with; another than 2 is refused by everybody
    /// (RFC 3261 §21.5.6), and is what the tests of that write.
    pub version: u8,
}

/// A SIP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code, 100 to 699.
    pub status: u16,
    /// The reason phrase, may be empty.
    pub reason: Cow<'static, str>,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// A SIP message.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// The header fields.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        match self {
            Self::Request(request) => &request.body,
            Self::Response(response) => &response.body,
        }
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }
}

fn write(start_line: &[&str], headers: &Headers, body: &Bytes) -> Bytes {
    let mut out = buffer::take(len(start_line, headers, body));
    write_to(start_line, headers, body, &mut out);
    buffer::lend(out)
}

fn len(start_line: &[&str], headers: &Headers, body: &Bytes) -> usize {
    let start_len: usize = start_line.iter().map(|part| part.len()).sum();
    start_len + 4 + headers.wire_len() + body.len()
}

fn write_to(start_line: &[&str], headers: &Headers, body: &Bytes, out: &mut Vec<u8>) {
    out.reserve_exact(len(start_line, headers, body));
    for part in start_line {
        // A line end in a Request-URI or reason phrase of ours would begin a header.
        if memchr::memchr2(b'\r', b'\n', part.as_bytes()).is_some() {
            out.extend_from_slice(part.replace(['\r', '\n'], " ").as_bytes());
        } else {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    headers.write(out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

impl Request {
    /// A request without headers or body.
    #[must_use]
    pub fn new(method: Method, request_uri: impl Into<ByteString>) -> Self {
        Self {
            method,
            request_uri: request_uri.into(),
            headers: Headers::new(),
            body: Bytes::new(),
            version: 2,
        }
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let version = match self.version {
            2 => Cow::Borrowed(" SIP/2.0"),
            other => Cow::Owned(format!(" SIP/{other}.0")),
        };
        let line = [self.method.as_str(), " ", &self.request_uri, &version];
        write(&line, &self.headers, &self.body)
    }

    /// Gives the request a body and sets Content-Type and Content-Length.
    pub fn set_body(&mut self, content_type: &str, body: impl Into<Bytes>) {
        set_body(&mut self.headers, &mut self.body, content_type, body.into());
    }

    /// A response to this request with Via, From, To, Call-ID and CSeq copied (RFC 3261 §8.2.6.2),
    /// Timestamp in a 100 (§8.2.6.1), and Content-Length 0. The To tag is the caller's to add.
    #[must_use]
    pub fn response(&self, status: u16, reason: &str) -> Response {
        let mut headers = Headers::new();
        for name in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            headers.copy_from(&self.headers, name);
        }
        if status == 100 {
            headers.copy_from(&self.headers, HeaderName::Timestamp);
        }
        headers.push(HeaderName::ContentLength, "0");
        Response { status, reason: phrase(status, reason), headers, body: Bytes::new() }
    }
}

impl Response {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let status = Decimal::new(self.status.into());
        write(&["SIP/2.0 ", &status, " ", &self.reason], &self.headers, &self.body)
    }

    /// Appends the bytes on the wire.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let status = Decimal::new(self.status.into());
        let line = ["SIP/2.0 ", &status, " ", &self.reason];
        write_to(&line, &self.headers, &self.body, out);
    }

    /// Gives the response a body and sets Content-Type and Content-Length.
    pub fn set_body(&mut self, content_type: &str, body: impl Into<Bytes>) {
        set_body(&mut self.headers, &mut self.body, content_type, body.into());
    }

    /// Whether it is provisional (1xx).
    #[must_use]
    pub const fn is_provisional(&self) -> bool {
        self.status < 200
    }

    /// Whether it is a success (2xx).
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

fn set_body(headers: &mut Headers, body: &mut Bytes, content_type: &str, bytes: Bytes) {
    headers.set(HeaderName::ContentType, content_type);
    headers.set(HeaderName::ContentLength, &bytes.len().to_string());
    *body = bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_phrase_cannot_smuggle_a_header_line() {
        let response =
            Request::new(Method::Options, "sip:a").response(400, "Bad\r\nRoute: <sip:e>");
        assert!(response.to_bytes().starts_with(b"SIP/2.0 400 Bad  Route: <sip:e>\r\n"));
    }

    #[test]
    fn a_response_takes_over_what_identifies_the_transaction() {
        let mut request = Request::new(Method::Invite, "sip:bob@ims.example");
        for (name, value) in [
            (HeaderName::Via, "SIP/2.0/UDP b;branch=z9hG4bK2"),
            (HeaderName::Via, "SIP/2.0/UDP a;branch=z9hG4bK1"),
            (HeaderName::From, "<sip:a>;tag=1"),
            (HeaderName::To, "<sip:b>"),
            (HeaderName::CallId, "c"),
            (HeaderName::CSeq, "1 INVITE"),
            (HeaderName::Timestamp, "5"),
            (HeaderName::Subject, "x"),
        ] {
            request.headers.push(name, value);
        }

        let trying = request.response(100, "Trying").to_bytes();

        let expected = "SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK2\r\n\
            Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\n\
            Call-ID: c\r\nCSeq: 1 INVITE\r\nTimestamp: 5\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(trying, expected);
        assert!(!request.response(200, "OK").headers.contains(HeaderName::Timestamp));
    }

    #[test]
    fn a_body_brings_its_type_and_length() {
        let mut response = Request::new(Method::Options, "sip:a").response(200, "OK");
        response.set_body("application/sdp", "v=0\r\n");
        assert_eq!(response.headers.get(HeaderName::ContentLength), Some("5"));
        assert!(response.to_bytes().ends_with(b"application/sdp\r\n\r\nv=0\r\n"));
    }
}
