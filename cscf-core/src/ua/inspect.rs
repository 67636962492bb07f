//! What a user agent server checks before it processes a request, in the order the standard gives
//! (RFC 3261 §8.2): method, scheme, user, extensions, content.

use crate::clause::{Clause, rfc3261};
use crate::sip::{HeaderName, Method, Request, Response, Tagged, Uri};

/// What a user agent can do; what is not listed is refused.
#[derive(Clone, Copy, Debug)]
pub struct Abilities<'a> {
    /// Methods, for Allow.
    pub methods: &'a [Method],
    /// Schemes of a Request-URI.
    pub schemes: &'a [&'a str],
    /// Option tags, for Supported.
    pub extensions: &'a [&'a str],
    /// Body types it reads, for Accept.
    pub content_types: &'a [&'a str],
    /// Body types it sends in answers to INVITE and OPTIONS.
    pub answer_type: &'a str,
}

impl Abilities<'_> {
    /// The value of Allow.
    #[must_use]
    pub fn allow(&self) -> String {
        let names: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        names.join(", ")
    }

    /// The value of Supported.
    #[must_use]
    pub fn supported(&self) -> String {
        self.extensions.join(", ")
    }

    /// The value of Accept.
    #[must_use]
    pub fn accept(&self) -> String {
        self.content_types.join(", ")
    }
}

/// Why a request is refused, and what the response says besides its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// Further headers.
    pub headers: Vec<(HeaderName, String)>,
    /// The clause that asks for it.
    pub clause: Clause,
    /// The fact, for a note.
    pub why: String,
}

impl Refusal {
    fn new(status: u16, section: &'static str, why: String) -> Self {
        Self { status, headers: Vec::new(), clause: rfc3261(section), why }
    }

    fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The response to `request`.
    #[must_use]
    pub fn response(&self, request: &Request) -> Response {
        let mut response = request.reply(self.status);
        for (name, value) in &self.headers {
            response.headers.push(*name, value);
        }
        response
    }
}

/// Checks a request outside any dialog; inside one `is_ours` is always true. ACK and CANCEL are not
/// for this function: they cannot be refused.
///
/// # Errors
///
/// The first [`Refusal`] in the order of RFC 3261 §8.2.
pub fn inspect(
    request: &Request,
    abilities: &Abilities<'_>,
    is_ours: impl Fn(&Uri) -> bool,
) -> Result<(), Refusal> {
    method(request, abilities)?;
    request_uri(request, abilities, is_ours)?;
    extensions(request, abilities)?;
    content(request, abilities)?;
    accept(request, abilities)
}

fn method(request: &Request, abilities: &Abilities<'_>) -> Result<(), Refusal> {
    if abilities.methods.contains(&request.method) {
        return Ok(());
    }
    let why = format!("{} is not supported", request.method);
    // A method nobody knows is not implemented, one that is only not allowed here gets 405.
    let status = if matches!(request.method, Method::Other(_)) { 501 } else { 405 };
    Err(Refusal::new(status, "8.2.1", why).with(HeaderName::Allow, abilities.allow()))
}

fn request_uri(
    request: &Request,
    abilities: &Abilities<'_>,
    is_ours: impl Fn(&Uri) -> bool,
) -> Result<(), Refusal> {
    let uri = request
        .uri()
        .map_err(|error| Refusal::new(400, "8.2.2.1", format!("Request-URI: {error}")))?;
    if !abilities.schemes.iter().any(|scheme| uri.scheme().eq_ignore_ascii_case(scheme)) {
        let why = format!("scheme {} is not supported", uri.scheme());
        return Err(Refusal::new(416, "8.2.2.1", why));
    }
    if !is_ours(&uri) {
        let why = format!("{} is not one of our addresses", request.request_uri);
        return Err(Refusal::new(404, "8.2.2.1", why));
    }
    Ok(())
}

fn extensions(request: &Request, abilities: &Abilities<'_>) -> Result<(), Refusal> {
    let known = |tag: &&str| abilities.extensions.iter().any(|one| one.eq_ignore_ascii_case(tag));
    let unknown: Vec<&str> =
        request.headers.values(HeaderName::Require).filter(|tag| !known(tag)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let unknown = unknown.join(", ");
    let why = format!("Require names {unknown}, not supported");
    Err(Refusal::new(420, "8.2.2.3", why).with(HeaderName::Unsupported, unknown))
}

fn content(request: &Request, abilities: &Abilities<'_>) -> Result<(), Refusal> {
    let headers = &request.headers;
    if request.body.is_empty() || is_optional(headers.get(HeaderName::ContentDisposition)) {
        return Ok(());
    }
    let kind = headers.get(HeaderName::ContentType).unwrap_or_default();
    let plain = media_type(kind);
    let type_known = abilities.content_types.iter().any(|one| one.eq_ignore_ascii_case(plain));
    let encoded = headers
        .values(HeaderName::ContentEncoding)
        .any(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    if type_known && !encoded {
        return Ok(());
    }
    // Encrypted for somebody: there is no key here for anything (RFC 3261 §21.4.28).
    if ENCRYPTED.iter().any(|one| one.eq_ignore_ascii_case(plain)) {
        return Err(Refusal::new(493, "21.4.28", "the body is encrypted".to_owned()));
    }
    let why = if encoded {
        "Content-Encoding is not identity".to_owned()
    } else {
        format!("Content-Type {plain:?} is not supported")
    };
    Err(Refusal::new(415, "8.2.3", why)
        .with(HeaderName::Accept, abilities.accept())
        .with(HeaderName::AcceptEncoding, "identity".to_owned())
        .with(HeaderName::AcceptLanguage, "en".to_owned()))
}

/// Bodies of S/MIME that only the owner of a key can read (RFC 8551 §3.3).
const ENCRYPTED: [&str; 2] = ["application/pkcs7-mime", "application/x-pkcs7-mime"];

/// `handling=optional`: the body may be ignored (RFC 3261 §8.2.3).
fn is_optional(disposition: Option<&str>) -> bool {
    disposition
        .and_then(|text| Tagged::parse(text).ok())
        .is_some_and(|it| it.param("handling").is_some_and(|how| how == "optional"))
}

fn accept(request: &Request, abilities: &Abilities<'_>) -> Result<(), Refusal> {
    let answers_with_body = matches!(request.method, Method::Invite | Method::Options);
    if !answers_with_body || !request.headers.contains(HeaderName::Accept) {
        return Ok(());
    }
    let wanted = abilities.answer_type;
    let range = wanted.split('/').next().unwrap_or_default();
    let accepted = request.headers.values(HeaderName::Accept).map(media_type).any(|one| {
        let all_of_type = one.strip_suffix("/*").is_some_and(|kind| kind == "*" || kind == range);
        all_of_type || one.eq_ignore_ascii_case(wanted)
    });
    if accepted {
        return Ok(());
    }
    let why = format!("Accept does not take {wanted}");
    Err(Refusal::new(406, "21.4.7", why).with(HeaderName::Accept, abilities.accept()))
}

/// `type/subtype` of a Content-Type or Accept value, without parameters.
#[must_use]
pub fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABILITIES: Abilities<'_> = Abilities {
        methods: &[Method::Invite, Method::Bye, Method::Options],
        schemes: &["sip", "tel"],
        extensions: &["100rel"],
        content_types: &["application/sdp"],
        answer_type: "application/sdp",
    };

    fn request(method: &str, uri: &str, lines: &[(HeaderName, &str)], body: &str) -> Request {
        let mut request = Request::new(Method::from_token(method), uri);
        for (name, value) in lines {
            request.headers.push(*name, value);
        }
        request.body = body.to_owned().into();
        request
    }

    fn check(request: &Request, status: u16, header: Option<(HeaderName, &str)>) {
        let result = inspect(request, &ABILITIES, |uri| uri.user() == Some("bob"));
        let refusal = result.expect_err("refused");
        assert_eq!(refusal.status, status, "{}", refusal.why);
        if let Some((name, value)) = header {
            assert_eq!(refusal.response(request).headers.get(name), Some(value));
        }
    }

    #[test]
    fn a_request_that_is_wrong_in_everything_is_refused_for_the_first_reason() {
        use HeaderName::{Accept, Allow, ContentType, Require, Unsupported};
        let bad = [(Require, "x"), (ContentType, "text/x"), (Accept, "text/x")];
        check(&request("BREW", "x:y", &bad, "b"), 501, Some((Allow, "INVITE, BYE, OPTIONS")));
        check(&request("REFER", "x:y", &bad, "b"), 405, Some((Allow, "INVITE, BYE, OPTIONS")));
        check(&request("INVITE", "http:eve", &bad, "b"), 416, None);
        check(&request("INVITE", "sip:eve@x", &bad, "b"), 404, None);
        check(&request("INVITE", "sip:bob@x", &bad, "b"), 420, Some((Unsupported, "x")));
        check(&request("INVITE", "sip:bob@x", &bad[1..], "b"), 415, {
            Some((Accept, "application/sdp"))
        });
        check(&request("INVITE", "sip:bob@x", &bad[2..], ""), 406, None);
    }

    #[test]
    fn a_good_request_passes() {
        let good = [
            (HeaderName::Require, "100rel"),
            (HeaderName::ContentType, "application/SDP ; v=1"),
            (HeaderName::Accept, "application/3gpp-ims+xml, application/*"),
        ];
        let request = request("INVITE", "sip:bob@x", &good, "v=0");
        assert_eq!(inspect(&request, &ABILITIES, |_| true), Ok(()));
    }

    #[test]
    fn an_optional_body_of_unknown_type_is_ignored() {
        let lines = [
            (HeaderName::ContentType, "application/x"),
            (HeaderName::ContentDisposition, "render;handling=optional"),
        ];
        let request = request("OPTIONS", "sip:bob@x", &lines, "b");
        assert_eq!(inspect(&request, &ABILITIES, |_| true), Ok(()));
    }
}
