//! The steps of forwarding a request (RFC 3261 §16.6), in the order in which a proxy takes them.
//! Which targets there are (step 2) is the role's to say, where they are (step 7) the engine's.

use crate::ids::Decimal;
use crate::sip::{HeaderName, NameAddr, Request, SyntaxError, UsualAddress, Via};
use crate::transport::target::Place;

/// Max-Forwards of a request that came without it (RFC 3261 §16.6 step 3).
const MAX_FORWARDS: u8 = 70;

/// Lowers Max-Forwards by one, or adds it (RFC 3261 §16.6 step 3). The request has passed
/// [`super::validate`], so it is not 0.
pub fn lower_max_forwards(request: &mut Request) {
    let left = request.max_forwards().map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1));
    request.headers.set(HeaderName::MaxForwards, &Decimal::new(left.into()));
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
        return Ok(request.request_uri.to_string());
    };
    // Nearly all are no more than a URI of a loose router.
    if let Some(address) = UsualAddress::read(top)
        && Place::of_usual(&address.uri).loose
    {
        return Ok(address.text.to_owned());
    }
    let uri = NameAddr::parse(top)?.uri;
    let text = uri.to_string();
    if uri.as_sip().is_none_or(|uri| uri.params().has("lr")) {
        return Ok(text);
    }
    request.headers.drop_front_value(HeaderName::Route);
    let target = std::mem::replace(&mut request.request_uri, text.as_str().into());
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::{Message, parse};

    fn invite(headers: &str) -> Request {
        let text = format!(
            "INVITE sip:bob@192.0.2.4 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             {headers}\
             From: <sip:alice@ims.example>;tag=a1\r\n\
             t: <sip:bob@ims.example>\r\n\
             Call-ID: c1\r\n\
             X-Kept:  as it  came\r\n\
             CSeq: 7 INVITE\r\n\
             Content-Length: 4\r\n\r\nv=0\n"
        );
        match parse(&Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn routes(request: &Request) -> Vec<&str> {
        request.headers.values(HeaderName::Route).collect()
    }

    // T-PRX-020
    #[test]
    fn a_forwarded_request_gets_via_and_record_route_and_is_otherwise_as_it_came() {
        let mut request = invite("Max-Forwards: 70\r\nRoute: <sip:s1.ims.example;lr>\r\n");

        lower_max_forwards(&mut request);
        add_record_route(&mut request, "<sip:tok@p1.ims.example;lr>");
        let target = post_process_routes(&mut request).expect("readable");
        push_via(&mut request, &Via::new("UDP", "p1.ims.example", Some(5070), "z9hG4bK2"));
        ensure_content_length(&mut request);

        assert_eq!(target, "sip:s1.ims.example;lr");
        assert_eq!(
            String::from_utf8(request.to_bytes().to_vec()).expect("utf-8"),
            "INVITE sip:bob@192.0.2.4 SIP/2.0\r\n\
             Record-Route: <sip:tok@p1.ims.example;lr>\r\n\
             Via: SIP/2.0/UDP p1.ims.example:5070;branch=z9hG4bK2\r\n\
             Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             Max-Forwards: 69\r\n\
             Route: <sip:s1.ims.example;lr>\r\n\
             From: <sip:alice@ims.example>;tag=a1\r\n\
             t: <sip:bob@ims.example>\r\n\
             Call-ID: c1\r\n\
             X-Kept:  as it  came\r\n\
             CSeq: 7 INVITE\r\n\
             Content-Length: 4\r\n\r\nv=0\n"
        );
    }

    // T-TRN-160
    #[test]
    fn a_missing_max_forwards_becomes_70() {
        let mut request = invite("");
        lower_max_forwards(&mut request);
        assert_eq!(request.max_forwards(), Some(70));
    }

    // T-PRX-090
    #[test]
    fn a_strict_router_gets_itself_in_the_request_uri_and_the_target_at_the_end_of_route() {
        let mut request = invite("Route: <sip:old.example>, <sip:s1.ims.example;lr>\r\n");
        let target = post_process_routes(&mut request).expect("readable");
        assert_eq!(target, "sip:old.example");
        assert_eq!(request.request_uri, "sip:old.example");
        assert_eq!(routes(&request), ["<sip:s1.ims.example;lr>", "<sip:bob@192.0.2.4>"]);
    }

    #[test]
    fn without_a_route_the_request_uri_is_the_target() {
        let mut request = invite("");
        assert_eq!(post_process_routes(&mut request).as_deref(), Ok("sip:bob@192.0.2.4"));
        let mut request = invite("Route: nonsense\r\n");
        assert!(post_process_routes(&mut request).is_err());
    }

    #[test]
    fn a_missing_content_length_is_that_of_the_body() {
        let mut request = invite("");
        request.headers.remove(HeaderName::ContentLength);
        ensure_content_length(&mut request);
        assert_eq!(request.headers.get(HeaderName::ContentLength), Some("4"));
    }
}
