//! What a proxy does with a request before its role sees it: the checks of RFC 3261 §16.3 and the
//! repair of routes of §16.4.

use crate::clause::{Clause, rfc3261};
use crate::sip::{
    HeaderName, NameAddr, Request, Response, Uri, UsualAddress, UsualUri, reason_phrase,
};
use crate::transport::target::Place;

/// The URI schemes a CSCF can route (RFC 3261 §16.3 step 2; RFC 5031 for `urn`).
pub const SCHEMES: &[&str] = &["sip", "sips", "tel", "urn"];

/// A request the proxy does not forward, and what it answers. An ACK gets no answer; it is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Where it stands written.
    pub clause: Clause,
    /// The values of Unsupported, with 420.
    pub unsupported: Vec<String>,
}

impl Refusal {
    fn new(status: u16, clause: Clause) -> Self {
        Self { status, reason: reason_phrase(status).to_owned(), clause, unsupported: Vec::new() }
    }

    fn bad_request(reason: String) -> Self {
        Self { reason, ..Self::new(400, rfc3261("16.3")) }
    }

    /// The loop was found (RFC 3261 §16.3 step 4).
    #[must_use]
    pub fn loop_detected() -> Self {
        Self::new(482, rfc3261("16.3"))
    }

    /// The response, without To tag.
    #[must_use]
    pub fn response(&self, request: &Request) -> Response {
        let mut response = request.response(self.status, &self.reason);
        for value in &self.unsupported {
            response.headers.push(HeaderName::Unsupported, value);
        }
        response
    }
}

/// Checks whether the request may be forwarded: scheme of the Request-URI (416), Max-Forwards (400,
/// 483) and Proxy-Require (420), in the order of RFC 3261 §16.3. `schemes` is usually [`SCHEMES`],
/// `extensions` are the option tags the element understands.
///
/// # Errors
///
/// [`Refusal`] for the first check that fails.
pub fn validate(request: &Request, schemes: &[&str], extensions: &[String]) -> Result<(), Refusal> {
    let known = |scheme: &str| schemes.contains(&scheme);
    let routable = match UsualUri::read(&request.request_uri) {
        Some(_) => known("sip"),
        None => {
            let uri = request.uri();
            let malformed = |fault| Refusal::bad_request(format!("Malformed Request-URI: {fault}"));
            known(uri.map_err(malformed)?.scheme())
        }
    };
    if !routable {
        return Err(Refusal::new(416, rfc3261("16.3")));
    }
    match request.max_forwards() {
        Some(0) => return Err(Refusal::new(483, rfc3261("16.3"))),
        None if request.headers.contains(HeaderName::MaxForwards) => {
            return Err(Refusal::bad_request("Malformed Max-Forwards".to_owned()));
        }
        _ => {}
    }
    let unsupported: Vec<String> = request
        .headers
        .values(HeaderName::ProxyRequire)
        .filter(|tag| !extensions.iter().any(|known| known.eq_ignore_ascii_case(tag)))
        .map(str::to_owned)
        .collect();
    if unsupported.is_empty() {
        Ok(())
    } else {
        Err(Refusal { unsupported, ..Refusal::new(420, rfc3261("16.3")) })
    }
}

/// What [`preprocess`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preprocessed {
    /// The URI that named us, taken away from the Route or, behind a strict router, from the
    /// Request-URI.
    pub own_route: Option<String>,
    /// The Request-URI was ours and was repaired.
    pub strict_routed: bool,
}

/// Repairs a request that came by a strict router, and takes our own topmost Route away (RFC 3261
/// §16.4). Only the topmost: what is below is a later visit.
///
/// `is_own` says whether a place is this element; `maddr` makes no other place of it. A Request-URI
/// is taken for our own Record-Route only if it also has `lr`, which we put into each of those and
/// nobody puts into others.
///
/// # Errors
///
/// [`Refusal`] (400) when a Route that must be looked at cannot be read.
pub fn preprocess(
    request: &mut Request,
    is_own: impl Fn(&Place<'_>) -> bool,
) -> Result<Preprocessed, Refusal> {
    let mut found = Preprocessed::default();
    if !request.headers.contains(HeaderName::Route) {
        return Ok(found);
    }
    let is_ours = |uri: &Uri| place_of(uri).is_some_and(|place| is_own(&place));
    let ours = may_be_loose(&request.request_uri)
        && request.uri().is_ok_and(|uri| is_loose(&uri) && is_ours(&uri));
    if ours {
        let last = request.headers.values(HeaderName::Route).last();
        if let Some(target) = last.map(read_route).transpose()? {
            remove_last_route(request);
            let own = std::mem::replace(&mut request.request_uri, target.to_string().into());
            found = Preprocessed { own_route: Some(own.into()), strict_routed: true };
        }
    }
    let Some(top) = request.headers.first_value(HeaderName::Route) else { return Ok(found) };
    let own = match UsualAddress::read(top) {
        Some(top) => is_own(&usual_place(&top.uri)).then(|| top.text.to_owned()),
        None => Some(read_route(top)?).filter(is_ours).map(|uri| uri.to_string()),
    };
    if let Some(own) = own {
        request.headers.drop_front_value(HeaderName::Route);
        found.own_route.get_or_insert(own);
    }
    Ok(found)
}

/// Whether `;lr` stands anywhere in a Request-URI: in most it does not.
fn may_be_loose(uri: &str) -> bool {
    uri.split(';')
        .skip(1)
        .any(|param| param.get(..2).is_some_and(|it| it.eq_ignore_ascii_case("lr")))
}

/// Where a URI leads, without regard to `maddr`.
fn place_of(uri: &Uri) -> Option<Place<'_>> {
    let sip = uri.as_sip()?;
    let host = sip.host();
    Some(Place {
        host: host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host),
        port: sip.port(),
        transport: sip.transport().and_then(|name| name.parse().ok()),
        secure: sip.secure,
        loose: sip.params().has("lr"),
        user: None,
    })
}

/// The same of a URI as most are.
fn usual_place<'a>(uri: &UsualUri<'a>) -> Place<'a> {
    Place { host: uri.host, ..Place::of_usual(uri) }
}

fn is_loose(uri: &Uri) -> bool {
    uri.as_sip().is_some_and(|uri| uri.params().has("lr"))
}

fn read_route(value: &str) -> Result<Uri, Refusal> {
    NameAddr::parse(value)
        .map(|address| address.uri)
        .map_err(|fault| Refusal::bad_request(format!("Malformed Route: {fault}")))
}

fn remove_last_route(request: &mut Request) {
    let mut left: Vec<String> =
        request.headers.values(HeaderName::Route).map(str::to_owned).collect();
    left.pop();
    request.headers.remove(HeaderName::Route);
    for value in left {
        request.headers.push(HeaderName::Route, &value);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::{Message, parse};

    fn request(uri: &str, headers: &str) -> Request {
        let text = format!(
            "INVITE {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             {headers}\
             From: <sip:alice@ims.example>;tag=a1\r\n\
             To: <sip:bob@ims.example>\r\n\
             Call-ID: c1\r\n\
             CSeq: 7 INVITE\r\n\
             Content-Length: 0\r\n\r\n"
        );
        match parse(&Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn refused(uri: &str, headers: &str) -> Option<u16> {
        let request = request(uri, headers);
        validate(&request, SCHEMES, &["sec-agree".to_owned()]).err().map(|refusal| refusal.status)
    }

    // T-PRX-010
    #[test]
    fn what_must_not_be_forwarded_is_refused_for_its_reason() {
        for (uri, headers, status) in [
            ("sip:bob@ims.example", "", None),
            ("tel:+15550100001", "", None),
            ("urn:service:sos", "", None),
            ("sip:bob@ims.example", "Max-Forwards: 1\r\n", None),
            ("sip:bob@ims.example", "Max-Forwards: 0\r\n", Some(483)),
            ("sip:bob@ims.example", "Max-Forwards: many\r\n", Some(400)),
            ("sip:bob@ims.example", "Max-Forwards: 256\r\n", Some(400)),
            ("http://ims.example/", "Max-Forwards: 0\r\n", Some(416)),
            ("sip:bob@@ims.example:x", "", Some(400)),
            ("sip:bob@ims.example", "Proxy-Require: Sec-Agree\r\n", None),
            ("sip:bob@ims.example", "Proxy-Require: sec-agree, foo\r\n", Some(420)),
        ] {
            assert_eq!(refused(uri, headers), status, "{uri} {headers}");
        }
    }

    // T-PRX-010
    #[test]
    fn a_420_lists_each_extension_that_is_unknown() {
        let request =
            request("sip:b@ims.example", "Proxy-Require: foo, sec-agree\r\nProxy-Require: bar\r\n");
        let refusal = validate(&request, SCHEMES, &["sec-agree".to_owned()]).expect_err("refused");
        let response = refusal.response(&request);
        assert_eq!((response.status, &*response.reason), (420, "Bad Extension"));
        let unsupported: Vec<_> = response.headers.values(HeaderName::Unsupported).collect();
        assert_eq!(unsupported, ["foo", "bar"]);
    }

    fn prepared(uri: &str, routes: &str) -> (Preprocessed, String, Vec<String>) {
        let mut request = request(uri, routes);
        let is_own = |place: &Place<'_>| place.host == "p1.ims.example";
        let found = preprocess(&mut request, is_own).expect("readable");
        let routes = request.headers.values(HeaderName::Route).map(str::to_owned).collect();
        (found, request.request_uri.to_string(), routes)
    }

    // G-ROUTE-010
    #[test]
    fn only_our_own_topmost_route_is_taken_away() {
        let (found, uri, routes) = prepared(
            "sip:bob@192.0.2.4",
            "Route: <sip:tok@p1.ims.example;lr>, <sip:s1.ims.example;lr>\r\n\
             Route: <sip:again@p1.ims.example;lr>\r\n",
        );
        assert_eq!(found.own_route.as_deref(), Some("sip:tok@p1.ims.example;lr"));
        assert!(!found.strict_routed);
        assert_eq!(uri, "sip:bob@192.0.2.4");
        assert_eq!(routes, ["<sip:s1.ims.example;lr>", "<sip:again@p1.ims.example;lr>"]);

        let (found, _, routes) = prepared(
            "sip:bob@192.0.2.4",
            "Route: <sip:s1.ims.example;lr>, <sip:tok@p1.ims.example;lr>\r\n",
        );
        assert_eq!(found, Preprocessed::default());
        assert_eq!(routes.len(), 2);
    }

    // G-ROUTE-010
    #[test]
    fn a_request_that_came_by_a_strict_router_is_repaired() {
        let (found, uri, routes) = prepared(
            "sip:tok@p1.ims.example;lr",
            "Route: <sip:s1.ims.example;lr>\r\nRoute: <sip:bob@192.0.2.4>\r\n",
        );
        assert!(found.strict_routed);
        assert_eq!(found.own_route.as_deref(), Some("sip:tok@p1.ims.example;lr"));
        assert_eq!(uri, "sip:bob@192.0.2.4");
        assert_eq!(routes, ["<sip:s1.ims.example;lr>"]);
    }

    #[test]
    fn a_request_that_is_for_us_is_not_taken_for_strictly_routed() {
        for (uri, routes) in [
            ("sip:p1.ims.example", "Route: <sip:s1.ims.example;lr>\r\n"),
            ("sip:p1.ims.example;lr", ""),
        ] {
            let (found, unchanged, _) = prepared(uri, routes);
            assert_eq!(found, Preprocessed::default());
            assert_eq!(unchanged, uri);
        }
    }

    #[test]
    fn a_route_that_cannot_be_read_is_refused() {
        let mut request = request("sip:bob@192.0.2.4", "Route: <sip:\r\n");
        let refusal = preprocess(&mut request, |_| false).expect_err("refused");
        assert_eq!(refusal.status, 400);
        assert!(refusal.reason.starts_with("Malformed Route"), "{}", refusal.reason);
    }
}
