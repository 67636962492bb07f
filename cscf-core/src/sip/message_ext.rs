//! Typed reading of a message's headers, on demand: `request.via()`, `response.cseq()` …

use super::address::{Contacts, NameAddr, address_param};
use super::cseq::{CSeq, RAck};
use super::headers::Headers;
use super::message::{Message, Request, Response};
use super::misc::{parse_expires, parse_max_forwards, parse_rseq};
use super::name::HeaderName;
use super::scan::SyntaxError;
use super::uri::Uri;
use super::via::{SentBy, Via};

/// A header that is missing or malformed. The culprit is the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The header is not there.
    #[error("{0} is missing")]
    Missing(HeaderName),
    /// The header breaks its grammar; the offset is the one inside the value.
    #[error("{0} is malformed: {1}")]
    Malformed(HeaderName, SyntaxError),
}

impl Headers {
    fn typed<T>(
        &self,
        name: HeaderName,
        parse: impl Fn(&str) -> Result<T, SyntaxError>,
    ) -> Result<T, HeaderError> {
        let value = self.first_value(name).ok_or(HeaderError::Missing(name))?;
        parse(value).map_err(|fault| HeaderError::Malformed(name, fault))
    }

    /// The first value of a header, read by `parse`; `None` if the header is absent.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] when the value breaks its grammar.
    pub fn optional<T>(
        &self,
        name: HeaderName,
        parse: impl Fn(&str) -> Result<T, SyntaxError>,
    ) -> Result<Option<T>, HeaderError> {
        match self.typed(name, parse) {
            Ok(value) => Ok(Some(value)),
            Err(HeaderError::Missing(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// All values of a header, each read by `parse`; empty if the header is absent.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] for the first value that breaks its grammar.
    pub fn typed_list<T>(
        &self,
        name: HeaderName,
        parse: impl Fn(&str) -> Result<T, SyntaxError>,
    ) -> Result<Vec<T>, HeaderError> {
        self.values(name)
            .map(|value| parse(value).map_err(|fault| HeaderError::Malformed(name, fault)))
            .collect()
    }

    /// The addresses of a header such as P-Asserted-Identity or Path; empty if it is absent.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] for the first address that breaks the grammar.
    pub fn addresses(&self, name: HeaderName) -> Result<Vec<NameAddr>, HeaderError> {
        self.typed_list(name, NameAddr::parse)
    }

    /// The first address of a header such as P-Served-User.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when it is missing or malformed.
    pub fn address(&self, name: HeaderName) -> Result<NameAddr, HeaderError> {
        self.typed(name, NameAddr::parse)
    }
}

/// The readers every message has; `Request`, `Response` and `Message` pass them on.
macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident -> $result:ty { $($body:tt)* })*) => {
        impl Headers {
            $($(#[$doc])* pub fn $name(&self) -> $result {
                let headers = self;
                readers!(@call headers $($body)*)
            })*
        }
        impl Request {
            $($(#[$doc])* pub fn $name(&self) -> $result { self.headers.$name() })*
        }
        impl Response {
            $($(#[$doc])* pub fn $name(&self) -> $result { self.headers.$name() })*
        }
        impl Message {
            $($(#[$doc])* pub fn $name(&self) -> $result { self.headers().$name() })*
        }
    };
    (@call $headers:ident |$it:ident| $body:expr) => {{ let $it = $headers; $body }};
}

readers! {
    /// The topmost Via.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when it is missing or malformed.
    via -> Result<Via, HeaderError> { |it| it.typed(HeaderName::Via, Via::parse) }

    /// The `branch` of the topmost Via, read without the rest.
    #[must_use]
    top_branch -> Option<&str> { |it| {
        let params = SentBy::read(it.first_value(HeaderName::Via)?).ok()?.rest;
        if let Some(branch) = super::params::first_param(params, "branch") {
            return Some(branch);
        }
        super::params::HeaderParams::new(params)
            .map_while(Result::ok)
            .find(|(name, _)| name.eq_ignore_ascii_case("branch"))
            .and_then(|(_, value)| value)
    } }

    /// `host[:port]` of the topmost Via in lower case ([`Via::sent_by`]), read without the rest.
    #[must_use]
    top_sent_by -> Option<String> {
        |it| Some(SentBy::read(it.first_value(HeaderName::Via)?).ok()?.key())
    }

    /// The From address.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when it is missing or malformed.
    from_addr -> Result<NameAddr, HeaderError> { |it| it.typed(HeaderName::From, NameAddr::parse) }

    /// The To address.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when it is missing or malformed.
    to_addr -> Result<NameAddr, HeaderError> { |it| it.typed(HeaderName::To, NameAddr::parse) }

    /// The URI of To, read without the parameters behind it.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when it is missing or malformed.
    to_uri -> Result<Uri, HeaderError> { |it| it.typed(HeaderName::To, NameAddr::parse_uri) }

    /// The tag of From, read without the URI.
    #[must_use]
    from_tag -> Option<&str> { |it| address_param(it.get(HeaderName::From)?, "tag") }

    /// The tag of To, read without the URI.
    #[must_use]
    to_tag -> Option<&str> { |it| address_param(it.get(HeaderName::To)?, "tag") }

    /// The Call-ID.
    #[must_use]
    call_id -> Option<&str> { |it| it.get(HeaderName::CallId) }

    /// The CSeq.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when it is missing or malformed.
    cseq -> Result<CSeq, HeaderError> { |it| it.typed(HeaderName::CSeq, CSeq::parse) }

    /// The RAck of a PRACK.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when it is missing or malformed.
    rack -> Result<RAck, HeaderError> { |it| it.typed(HeaderName::RAck, RAck::parse) }

    /// The RSeq of a reliable provisional response, if it is there and well-formed.
    #[must_use]
    rseq -> Option<u32> { |it| it.get(HeaderName::RSeq).and_then(|text| parse_rseq(text).ok()) }

    /// The contacts; an empty list if there is no Contact.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] for the first address that breaks the grammar.
    contacts -> Result<Contacts, HeaderError> { |it| {
        let mut values = it.values(HeaderName::Contact);
        if values.next() == Some("*") && values.next().is_none() {
            return Ok(Contacts::Star);
        }
        it.addresses(HeaderName::Contact).map(Contacts::List)
    } }

    /// The Route set, topmost first.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] for the first address that breaks the grammar.
    routes -> Result<Vec<NameAddr>, HeaderError> {
        |it| it.typed_list(HeaderName::Route, NameAddr::parse_bracketed)
    }

    /// The Record-Route entries, topmost first.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] for the first address that breaks the grammar.
    record_routes -> Result<Vec<NameAddr>, HeaderError> {
        |it| it.typed_list(HeaderName::RecordRoute, NameAddr::parse_bracketed)
    }

    /// Max-Forwards, if it is there and well-formed.
    #[must_use]
    max_forwards -> Option<u8> {
        |it| it.get(HeaderName::MaxForwards).and_then(|text| parse_max_forwards(text).ok())
    }

    /// Expires in seconds, if it is there and well-formed.
    #[must_use]
    expires -> Option<u32> {
        |it| it.get(HeaderName::Expires).and_then(|text| parse_expires(text).ok())
    }
}

impl Request {
    /// Reads the Request-URI.
    ///
    /// # Errors
    ///
    /// [`super::UriError`] with the offset in the Request-URI.
    pub fn uri(&self) -> Result<Uri, super::uri::UriError> {
        Uri::parse(&self.request_uri)
    }

    /// Whether an emergency service is asked for (RFC 5031 §4.2).
    #[must_use]
    pub fn asks_emergency_service(&self) -> bool {
        const SOS: &str = "urn:service:sos";
        let uri = self.request_uri.split_at_checked(SOS.len());
        uri.is_some_and(|(service, rest)| {
            service.eq_ignore_ascii_case(SOS) && (rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// A response with the usual reason phrase, see [`Request::response`].
    #[must_use]
    pub fn reply(&self, status: u16) -> Response {
        self.response(status, super::status::reason_phrase(status))
    }
}

impl Response {
    /// Adds this tag to To if it has none (RFC 3261 §8.2.6.2); a To that cannot be read stays.
    pub fn set_to_tag(&mut self, tag: &str) {
        let Some(text) = self.headers.get(HeaderName::To) else { return };
        let mut tagged = false;
        let checked = super::address::check(text, false, |name, _| {
            tagged |= name.eq_ignore_ascii_case("tag");
            Ok(())
        });
        if tagged || checked.is_err() {
            return;
        }
        // The rest of To must leave as it came (§8.2.6.2), so the text is only made longer.
        let mut value = String::with_capacity(text.len() + ";tag=".len() + tag.len());
        match memchr::memchr2(b'\r', b'\n', text.as_bytes()) {
            Some(_) => value.extend(text.split(['\r', '\n'])),
            None => value.push_str(text),
        }
        value.push_str(";tag=");
        value.push_str(tag);
        self.headers.set(HeaderName::To, &value);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::parse;

    const INVITE: &str = "INVITE sip:bob@ims.example SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, SIP/2.0/TCP h;branch=z9hG4bK0\r\n\
        Route: <sip:p1.ims.example;lr>, <sip:s1.ims.example;lr>\r\n\
        f: Alice <sip:alice@ims.example>;tag=a1\r\n\
        t: \"Bob\" <sip:bob@ims.example>\r\n\
        i: c1\r\n\
        CSeq: 7 INVITE\r\n\
        m: <sip:alice@192.0.2.1>;expires=60\r\n\
        Max-Forwards: 69\r\n\
        Expires: 180\r\n\
        l: 0\r\n\r\n";

    fn invite() -> Request {
        match parse(&Bytes::from(INVITE)) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn headers_are_read_typed() {
        let it = invite();
        assert_eq!(it.via().expect("via").branch(), Some("z9hG4bK1"));
        assert_eq!(it.top_branch(), Some("z9hG4bK1"));
        assert_eq!((it.from_tag(), it.to_tag(), it.call_id()), (Some("a1"), None, Some("c1")));
        assert_eq!(it.cseq().expect("cseq").number, 7);
        assert_eq!(it.routes().expect("routes").len(), 2);
        assert_eq!((it.max_forwards(), it.expires()), (Some(69), Some(180)));
        assert_eq!(it.contacts().expect("contacts").first().and_then(NameAddr::expires), Some(60));
        assert_eq!(it.rack(), Err(HeaderError::Missing(HeaderName::RAck)));
    }

    #[test]
    fn a_to_tag_is_added_once_and_nothing_else_changes() {
        let mut response = invite().reply(180);
        response.set_to_tag("b1");
        response.set_to_tag("b2");
        let to = response.headers.get(HeaderName::To);
        assert_eq!(to, Some("\"Bob\" <sip:bob@ims.example>;tag=b1"));
    }
}
