//! The checks every element makes before it looks at a message: what is mandatory, single and
//! well-formed (RFC 3261 §8.1.1, §8.2.2, §16.3), and [`read`], which is parse plus checks.
//!
//! Optional headers are not looked at: a malformed Date must pass a proxy untouched (§16.3).

use std::borrow::Cow;

use bytes::Bytes;

use super::address;
use super::cseq::CSeq;
use super::field::Field;
use super::headers::Headers;
use super::message::{Message, Request, Response};
use super::method::Method;
use super::misc::{parse_expires, parse_max_forwards};
use super::name::HeaderName;
use super::params::check_pairs;
use super::parse::{ParseError, parse_loose};
use super::scan::{Scan, SyntaxError, is_token};
use super::security::SecurityMechanism;
use super::uri::{Uri, check_uri};
use super::usual::{self, MAGIC, Usual};
use super::via::{self, SentBy, Via};

/// Why a message that has the form of SIP is refused. The culprit is the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Invalid {
    /// The status of the answer, if the message is a request.
    pub status: u16,
    /// The reason phrase of the answer; it names the header.
    pub reason: Cow<'static, str>,
    /// What exactly is wrong, lower case, no full stop.
    pub detail: &'static str,
    /// The header at fault; `None` for the Request-URI.
    pub header: Option<HeaderName>,
    /// The offset of the fault in the bytes that were read; `None` when nothing stands there, or in
    /// a header of our own.
    pub offset: Option<usize>,
}

impl Invalid {
    fn missing(name: HeaderName) -> Self {
        Self {
            status: 400,
            reason: format!("Missing {name}").into(),
            detail: "mandatory header is missing",
            header: Some(name),
            offset: None,
        }
    }

    fn repeated(field: &Field<'_>) -> Self {
        let fault = SyntaxError::new(0, "header may stand only once");
        Self {
            reason: format!("Repeated {}", field.name()).into(),
            ..Self::malformed(field, fault)
        }
    }

    fn malformed(field: &Field<'_>, fault: SyntaxError) -> Self {
        Self {
            status: 400,
            reason: format!("Malformed {}", field.name()).into(),
            detail: fault.reason,
            header: Some(field.name()),
            offset: field.value_offset().map(|start| start + fault.offset),
        }
    }
}

/// A message that is not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Rejected {
    /// A request that is to be answered.
    #[error("{reason}")]
    Answerable {
        /// As much of the request as can be read; its top Via is always readable.
        request: Box<Request>,
        /// The status of the answer.
        status: u16,
        /// The reason phrase of the answer.
        reason: Cow<'static, str>,
        /// Where the fault is, if somewhere.
        offset: Option<usize>,
    },
    /// Anything else is dropped: no message, a response, an ACK, a request without a usable Via.
    #[error("{0}")]
    Unanswerable(ParseError),
}

/// Reads one message and makes the checks of every element.
///
/// # Errors
///
/// [`Rejected`]: with the answer to send if there is one.
pub fn read(bytes: &Bytes) -> Result<Message, Rejected> {
    let (message, flaw) = parse_loose(bytes).map_err(Rejected::Unanswerable)?;
    let invalid = match flaw {
        Some(flaw) => Invalid {
            status: flaw.status,
            reason: phrase(flaw.status, flaw.reason),
            detail: flaw.reason,
            header: None,
            offset: Some(flaw.offset),
        },
        None => match check(&message) {
            Ok(()) => return Ok(message),
            Err(mut invalid) => {
                if invalid.header.is_none() {
                    let before = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
                    invalid.offset = invalid.offset.map(|at| at + before.count());
                }
                invalid
            }
        },
    };
    Err(reject(message, invalid))
}

/// The catalogue's phrase where the code has one meaning, else what is wrong.
fn phrase(status: u16, reason: &'static str) -> Cow<'static, str> {
    match status {
        400 => format!("Bad Request - {reason}").into(),
        _ => super::status::reason_phrase(status).into(),
    }
}

fn reject(message: Message, invalid: Invalid) -> Rejected {
    let unanswerable = |invalid: &Invalid| {
        let reason = format!("{}: {}", invalid.reason, invalid.detail).into();
        Rejected::Unanswerable(ParseError { offset: invalid.offset.unwrap_or(0), reason })
    };
    let Message::Request(mut request) = message else { return unanswerable(&invalid) };
    if request.method == Method::Ack || !repair_top_via(&mut request.headers) {
        return unanswerable(&invalid);
    }
    let Invalid { status, reason, offset, .. } = invalid;
    Rejected::Answerable { request: Box::new(request), status, reason, offset }
}

/// Makes the topmost Via readable if only its parameters are broken, so that the answer finds its
/// way; says whether it is readable now.
fn repair_top_via(headers: &mut Headers) -> bool {
    let Some(top) = headers.first_value(HeaderName::Via) else { return false };
    if via::check(top).is_ok() {
        return true;
    }
    let Ok(sent) = SentBy::read(top) else { return false };
    let repaired = Via::from(&sent).to_string();
    headers.retain_values(HeaderName::Via, |value| via::check(value).is_ok());
    headers.push_front(HeaderName::Via, &repaired);
    true
}

/// The checks of every element.
///
/// # Errors
///
/// [`Invalid`] with the header at fault and where it is.
pub fn check(message: &Message) -> Result<(), Invalid> {
    match message {
        Message::Request(request) => check_request(request),
        Message::Response(response) => check_response(response),
    }
}

/// The checks of a request (RFC 3261 §8.1.1, §8.2.2, §16.3).
///
/// # Errors
///
/// [`Invalid`] with the status for the answer, the header at fault and where it is.
pub fn check_request(request: &Request) -> Result<(), Invalid> {
    let uri_fault = |fault: SyntaxError| Invalid {
        status: 400,
        reason: "Malformed Request-URI".into(),
        detail: fault.reason,
        header: None,
        offset: Some(request.method.as_str().len() + 1 + fault.offset),
    };
    check_uri(&request.request_uri).map_err(uri_fault)?;
    if memchr::memchr(b'?', request.request_uri.as_bytes()).is_some()
        && Uri::parse(&request.request_uri)
            .is_ok_and(|uri| uri.as_sip().is_some_and(|uri| uri.headers().is_some()))
    {
        let at = request.request_uri.rfind('?').unwrap_or(0);
        return Err(uri_fault(SyntaxError::new(at, "Request-URI may not have headers")));
    }
    let mut seen = Seen::default();
    for field in request.headers.fields_with(is_looked_at) {
        check_field(&field, &mut seen)?;
    }
    seen.mandatory()?;
    check_cseq_method(request, &seen)?;
    if request.method == Method::Invite && seen.contacts == 0 {
        return Err(Invalid::missing(HeaderName::Contact));
    }
    check_star(request, &seen)?;
    if !seen.from_tag {
        return Err(Invalid {
            reason: "Missing From Tag".into(),
            detail: "From has no tag",
            ..Invalid::missing(HeaderName::From)
        });
    }
    Ok(())
}

/// The checks of a response (RFC 3261 §8.1.3, §16.7); a response that fails is dropped.
///
/// # Errors
///
/// [`Invalid`] with the header at fault and where it is; its status is of no use.
pub fn check_response(response: &Response) -> Result<(), Invalid> {
    let mut seen = Seen::default();
    for field in response.headers.fields_with(is_looked_at) {
        check_field(&field, &mut seen)?;
    }
    seen.mandatory()?;
    if seen.star
        && let Some(field) = star(&response.headers)
    {
        let fault = SyntaxError::new(0, "* stands only in a REGISTER request");
        return Err(Invalid::malformed(&field, fault));
    }
    Ok(())
}

/// Which headers have been met, and what the rules that span two of them need.
#[derive(Default)]
struct Seen<'a> {
    via: bool,
    single: [bool; SINGLE.len()],
    contacts: usize,
    star: bool,
    from_tag: bool,
    cseq_method: Option<&'a str>,
}

/// The headers that may stand only once; the first four are mandatory.
const SINGLE: [HeaderName; 8] = [
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
    HeaderName::ContentLength,
    HeaderName::Expires,
    // RFC 3515 §2.4.2.
    HeaderName::ReferTo,
];

/// The place of a header among [`SINGLE`].
const fn single_place(name: HeaderName) -> Option<usize> {
    Some(match name {
        HeaderName::From => 0,
        HeaderName::To => 1,
        HeaderName::CallId => 2,
        HeaderName::CSeq => 3,
        HeaderName::MaxForwards => 4,
        HeaderName::ContentLength => 5,
        HeaderName::Expires => 6,
        HeaderName::ReferTo => 7,
        _ => return None,
    })
}

impl<'a> Seen<'a> {
    fn note(&mut self, name: HeaderName, usual: Usual<'a>) {
        match name {
            HeaderName::Via => self.via = true,
            HeaderName::From => self.from_tag = usual.tagged,
            HeaderName::Contact => self.contacts += usual.count,
            HeaderName::CSeq => self.cseq_method = usual.method,
            _ => {}
        }
    }

    fn mandatory(&self) -> Result<(), Invalid> {
        if !self.via {
            return Err(Invalid::missing(HeaderName::Via));
        }
        match SINGLE.iter().zip(self.single).take(4).find(|(_, seen)| !seen) {
            Some((name, _)) => Err(Invalid::missing(*name)),
            None => Ok(()),
        }
    }
}

fn check_field<'a>(field: &Field<'a>, seen: &mut Seen<'a>) -> Result<(), Invalid> {
    let name = field.name();
    if let Some(at) = single_place(name)
        && let Some(slot) = seen.single.get_mut(at)
        && std::mem::replace(slot, true)
    {
        return Err(Invalid::repeated(field));
    }
    if let Some(usual) = usual::value(name, field.value()) {
        seen.note(name, usual);
        return Ok(());
    }
    for (offset, element) in field.elements() {
        let result = if element.is_empty() {
            Err(SyntaxError::new(0, "value is empty or not UTF-8"))
        } else {
            check_element(name, element, seen)
        };
        result.map_err(|fault| Invalid::malformed(field, fault.at(offset)))?;
    }
    Ok(())
}

/// The headers whose form is every element's business, and Refer-To, of which only the number is;
/// all others pass as they are.
const fn is_looked_at(name: HeaderName) -> bool {
    matches!(
        name,
        HeaderName::Via
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::MaxForwards
            | HeaderName::ContentLength
            | HeaderName::Contact
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::Expires
            | HeaderName::ReferTo
            | HeaderName::Authorization
            | HeaderName::ProxyAuthorization
            | HeaderName::SecurityClient
            | HeaderName::SecurityServer
            | HeaderName::SecurityVerify
    )
}

fn check_element<'a>(
    name: HeaderName,
    text: &'a str,
    seen: &mut Seen<'a>,
) -> Result<(), SyntaxError> {
    match name {
        HeaderName::Via => {
            seen.via = true;
            check_via(text)
        }
        HeaderName::From => check_party(text).map(|tagged| seen.from_tag = tagged),
        HeaderName::To => check_party(text).map(drop),
        HeaderName::CallId => check_call_id(text),
        HeaderName::CSeq => CSeq::check(text).map(|method| seen.cseq_method = Some(method)),
        HeaderName::MaxForwards => parse_max_forwards(text).map(drop),
        HeaderName::ContentLength => check_content_length(text),
        HeaderName::Contact => {
            seen.contacts += 1;
            seen.star |= text == "*";
            if text == "*" { Ok(()) } else { address::check(text, false, |_, _| Ok(())) }
        }
        HeaderName::Route | HeaderName::RecordRoute => address::check(text, true, |_, _| Ok(())),
        HeaderName::Expires => parse_expires(text).map(drop),
        HeaderName::Authorization | HeaderName::ProxyAuthorization => check_credentials(text),
        _ => SecurityMechanism::check(text),
    }
}

fn check_via(text: &str) -> Result<(), SyntaxError> {
    let sent = SentBy::read(text)?;
    let at = text.len() - sent.rest.len();
    let mut branches = 0;
    for param in super::params::HeaderParams::new(sent.rest) {
        let (name, value) = param.map_err(|fault| fault.at(at))?;
        if name.eq_ignore_ascii_case("branch") {
            branches += 1;
            // The bare cookie identifies no transaction (RFC 4475 §3.2.1).
            if branches > 1 || !value.is_some_and(|value| is_token(value) && value != MAGIC) {
                return Err(SyntaxError::new(at, "branch is repeated, bare or no token"));
            }
        }
    }
    Ok(())
}

/// From and To: one tag at most, and that a token; says whether there is one.
fn check_party(text: &str) -> Result<bool, SyntaxError> {
    let mut tagged = false;
    address::check(text, false, |name, value| {
        if !name.eq_ignore_ascii_case("tag") {
            return Ok(());
        }
        if std::mem::replace(&mut tagged, true) || !value.is_some_and(is_token) {
            return Err("tag is repeated or no token");
        }
        Ok(())
    })?;
    Ok(tagged)
}

fn check_call_id(text: &str) -> Result<(), SyntaxError> {
    match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
        Some(at) => Err(SyntaxError::new(at, "character cannot stand in a Call-ID")),
        None => Ok(()),
    }
}

fn check_content_length(text: &str) -> Result<(), SyntaxError> {
    super::scan::number(text).map(drop).ok_or(SyntaxError::new(0, "not a number of bytes"))
}

/// A scheme and, for Digest, pairs; credentials of other schemes are not ours to read
/// (RFC 3261 §20.7, RFC 4475 §3.3.7).
fn check_credentials(text: &str) -> Result<(), SyntaxError> {
    let mut scan = Scan::new(text);
    let scheme = scan.token("authentication scheme is missing")?;
    let scheme_end = scan.at();
    scan.skip_lws();
    if scan.is_end() || scan.at() == scheme_end {
        return Err(scan.error("credentials are missing behind the scheme"));
    }
    if scheme.eq_ignore_ascii_case("Digest") {
        check_pairs(scan.rest()).map_err(|fault| fault.at(scan.at()))?;
    }
    Ok(())
}

/// The method of CSeq is the one of the request (RFC 3261 §8.1.1.5). A method nobody knows is
/// answered 501 (RFC 4475 §3.1.2.18).
fn check_cseq_method(request: &Request, seen: &Seen<'_>) -> Result<(), Invalid> {
    if seen.cseq_method == Some(request.method.as_str()) {
        return Ok(());
    }
    let Some(field) = request.headers.fields(HeaderName::CSeq).next() else { return Ok(()) };
    let fault = SyntaxError::new(0, "method is not the one of the request");
    let known = !matches!(request.method, Method::Other(_));
    Err(Invalid {
        status: if known { 400 } else { 501 },
        reason: if known { "CSeq Method Mismatch" } else { "Not Implemented" }.into(),
        ..Invalid::malformed(&field, fault)
    })
}

fn star(headers: &Headers) -> Option<Field<'_>> {
    headers.fields(HeaderName::Contact).find(|field| field.values().any(|value| value == "*"))
}

/// `Contact: *` stands alone, in REGISTER, with Expires 0 (RFC 3261 §10.2.2).
fn check_star(request: &Request, seen: &Seen<'_>) -> Result<(), Invalid> {
    if !seen.star {
        return Ok(());
    }
    let Some(field) = star(&request.headers) else { return Ok(()) };
    let alone = seen.contacts == 1;
    if request.method == Method::Register && alone && request.expires() == Some(0) {
        return Ok(());
    }
    let fault = SyntaxError::new(0, "* stands alone, in REGISTER, with Expires 0");
    Err(Invalid::malformed(&field, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTER: &str = "REGISTER sip:ims.example SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        From: <sip:alice@ims.example>;tag=a1\r\n\
        To: <sip:alice@ims.example>\r\n\
        Call-ID: c1\r\n\
        CSeq: 1 REGISTER\r\n\
        Max-Forwards: 70\r\n\
        Contact: <sip:192.0.2.1>\r\n\
        Expires: 0\r\n\
        Content-Length: 0\r\n\r\n";

    /// The answer to REGISTER with one text replaced by another.
    fn answer(from: &str, to: &str) -> Result<(), (u16, String, Option<usize>)> {
        assert!(REGISTER.contains(from), "{from}");
        match read(&Bytes::from(REGISTER.replacen(from, to, 1))) {
            Ok(_) => Ok(()),
            Err(Rejected::Answerable { status, reason, offset, request }) => {
                assert!(request.via().is_ok());
                Err((status, reason.into_owned(), offset))
            }
            Err(Rejected::Unanswerable(fault)) => Err((0, fault.reason.into_owned(), None)),
        }
    }

    fn refused(from: &str, to: &str, status: u16, reason: &str) {
        let (got, text, _) = answer(from, to).expect_err(to);
        assert_eq!((got, text.as_str()), (status, reason), "{from} -> {to}");
    }

    #[test]
    fn each_header_that_stands_once_has_its_place() {
        for (at, name) in SINGLE.iter().enumerate() {
            assert_eq!(single_place(*name), Some(at));
        }
    }

    #[test]
    fn a_request_as_it_should_be_is_taken() {
        assert_eq!(answer("", ""), Ok(()));
        assert_eq!(answer("Max-Forwards: 70\r\n", ""), Ok(()));
        assert_eq!(answer("<sip:192.0.2.1>", "*"), Ok(()));
        assert_eq!(answer("Expires: 0\r\n", "Date: yesterday\r\nSubject:\r\n"), Ok(()));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (line, reason) in [
            ("From: <sip:alice@ims.example>;tag=a1\r\n", "Missing From"),
            ("To: <sip:alice@ims.example>\r\n", "Missing To"),
            ("Call-ID: c1\r\n", "Missing Call-ID"),
            ("CSeq: 1 REGISTER\r\n", "Missing CSeq"),
            (";tag=a1", "Missing From Tag"),
        ] {
            refused(line, "", 400, reason);
        }
        let via = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n";
        refused(via, "", 0, "Missing Via: mandatory header is missing");
    }

    #[test]
    fn what_is_malformed_is_named() {
        for (from, to, reason) in [
            ("sip:ims.example SIP", "sip:[::1 SIP", "Malformed Request-URI"),
            ("sip:ims.example SIP", "sip:a@b?To=c SIP", "Malformed Request-URI"),
            ("branch=z9hG4bK1", "branch=z9hG4bK", "Malformed Via"),
            ("<sip:alice@ims.example>;tag", "\"open <sip:alice@ims.example>;tag", "Malformed From"),
            (";tag=a1", ";tag=a1;tag=a2", "Malformed From"),
            ("Call-ID: c1", "Call-ID: c 1", "Malformed Call-ID"),
            ("CSeq: 1 R", "CSeq: 2147483648 R", "Malformed CSeq"),
            ("CSeq: 1 REGISTER", "CSeq: 1 INVITE", "CSeq Method Mismatch"),
            ("Forwards: 70", "Forwards: 256", "Malformed Max-Forwards"),
            ("Contact: <sip:192.0.2.1>", "Contact: <sip:192.0.2.1>;;", "Malformed Contact"),
            ("Contact: <sip:192.0.2.1>", "Contact: *, <sip:a>", "Malformed Contact"),
            ("Expires: 0", "Expires: soon", "Malformed Expires"),
            ("Expires: 0", "Route: sip:p;lr", "Malformed Route"),
            ("Expires: 0", "Record-Route: <sip:p>,,<sip:q>", "Malformed Record-Route"),
            ("Expires: 0", "Authorization: Digest", "Malformed Authorization"),
            ("Expires: 0", "Authorization: Digest a", "Malformed Authorization"),
            ("Expires: 0", "Security-Client: ;alg=x", "Malformed Security-Client"),
            ("Content-Length: 0", "Content-Length: -1", "Malformed Content-Length"),
            ("Content-Length: 0", "Content-Length: 0\r\nl: 0", "Repeated Content-Length"),
            ("Call-ID: c1", "Call-ID: c1\r\nCall-ID: c1", "Repeated Call-ID"),
            (
                "Content-Length: 0",
                "Content-Length: 5",
                "Bad Request - body shorter than Content-Length",
            ),
        ] {
            refused(from, to, 400, reason);
        }
    }

    #[test]
    fn another_version_and_another_method_have_their_own_codes() {
        refused("SIP/2.0\r\nVia", "SIP/7.0\r\nVia", 505, "Version Not Supported");
        refused("REGISTER sip", "NEWMETHOD sip", 501, "Not Implemented");
    }

    #[test]
    fn the_star_needs_register_and_expires_0() {
        let text = REGISTER.replace("<sip:192.0.2.1>", "*");
        for text in [text.replace("Expires: 0", "Expires: 1"), text.replace("REGISTER", "OPTIONS")]
        {
            assert!(read(&Bytes::from(text)).is_err());
        }
    }

    #[test]
    fn the_offset_points_at_the_fault() {
        let (_, _, offset) = answer("CSeq: 1 REGISTER", "CSeq: x REGISTER").expect_err("bad");
        assert_eq!(offset, REGISTER.find("1 REGISTER"));
        let (_, _, offset) =
            answer("Contact: <sip:192.0.2.1>", "Contact: <sip:a>, <sip:b c>").expect_err("bad");
        assert_eq!(offset, REGISTER.find("<sip:192.0.2.1>").map(|at| at + 15));
    }

    #[test]
    fn a_via_with_broken_parameters_still_takes_the_answer_home() {
        let text = REGISTER.replace(";branch=z9hG4bK1", ":5070;;,;,,");
        let fault = read(&Bytes::from(text)).expect_err("broken");
        let Rejected::Answerable { request, reason, .. } = fault else { panic!("answerable") };
        assert_eq!(reason, "Malformed Via");
        assert_eq!(request.via().expect("repaired").to_string(), "SIP/2.0/UDP 192.0.2.1:5070");
    }

    #[test]
    fn responses_and_acks_are_dropped() {
        let ack = REGISTER.replace("REGISTER", "ACK").replace("Call-ID: c1\r\n", "");
        assert!(matches!(read(&Bytes::from(ack)), Err(Rejected::Unanswerable(_))));
        let response = REGISTER.replace("REGISTER sip:ims.example SIP/2.0", "SIP/2.0 200 OK");
        assert!(read(&Bytes::from(response.clone())).is_ok());
        let broken = response.replace("CSeq: 1", "CSeq: x");
        assert!(matches!(read(&Bytes::from(broken)), Err(Rejected::Unanswerable(_))));
    }
}
