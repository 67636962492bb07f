//! The steps of forwarding a request (RFC 3261 §16.6), in the order in which a proxy takes them.
//! Which targets there are (step 2) is the role's to say, where they are (step 7) the engine's.

use crate::sip::{HeaderName, NameAddr, Request, SyntaxError, Via};

/// Max-Forwards of a request that came without it (RFC 3261 §16.6 step 3).
const MAX_FORWARDS: u8 = 70;

/// Lowers Max-Forwards by one, or adds it (RFC 3261 §16.6 step 3). The request has passed
/// [`super::validate`], so it is not 0.
pub fn lower_max_forwards(request: &mut Request) {
    let left = request.max_forwards().map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1));
    request.headers.set(HeaderName::MaxForwards, &left.to_string());
}

/// Puts a Record-Route value such as `<sip:tok@p1.ims.example;lr>` on top (RFC 3261 §16.6 step 4).
pub fn add_record_route(request: &mut Request, value: &str) {
    request.headers.push_front(HeaderName::RecordRoute, value);
}

/// Finds the next hop and prepares the request for it if it is a strict router, which expects
/// itself in the Request-URI and the Request-URI at the end of Route (RFC 3261 §16.6 step 6).
///
/// Returns the URI the request goes to (step 7): the topmost Route, else the Request-URI.
///
/// # Errors
///
/// [`SyntaxError`] when the topmost Route cannot be read; the peer gets 400.
pub fn post_process_routes(request: &mut Request) -> Result<String, SyntaxError> {
    let Some(top) = request.headers.first_value(HeaderName::Route) else {
        return Ok(request.request_uri.clone());
    };
    let uri = NameAddr::parse(top)?.uri;
    let text = uri.to_string();
    if uri.as_sip().is_none_or(|uri| uri.params().has("lr")) {
        return Ok(text);
    }
    request.headers.pop_front_value(HeaderName::Route);
    let target = std::mem::replace(&mut request.request_uri, text.clone());
    request.headers.push(HeaderName::Route, &format!("<{target}>"));
    Ok(text)
}

/// Puts our Via on top (RFC 3261 §16.6 step 8).
pub fn push_via(request: &mut Request, via: &Via) {
    request.headers.push_front(HeaderName::Via, &via.to_string());
}

/// Adds Content-Length where it is missing: a stream needs it (RFC 3261 §16.6 step 9).
pub fn ensure_content_length(request: &mut Request) {
    if !request.headers.contains(HeaderName::ContentLength) {
        request.headers.push(HeaderName::ContentLength, &request.body.len().to_string());
    }
}
