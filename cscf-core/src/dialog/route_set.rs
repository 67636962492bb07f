//! The route set of a dialog: where it comes from and how requests in the dialog follow it
//! (RFC 3261 §12.1, §12.2.1.1).

use crate::sip::{HeaderName, Headers, NameAddr, Request};

/// Most routes a dialog keeps; a message with more keeps the first ones only.
pub const ROUTES_MAX: usize = 64;

/// An ordered list of Route values, as they stand in Record-Route or Service-Route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteSet(Vec<String>);

impl RouteSet {
    /// A route set from these values, first hop first.
    pub fn new<T: Into<String>>(routes: impl IntoIterator<Item = T>) -> Self {
        Self(routes.into_iter().take(ROUTES_MAX).map(Into::into).collect())
    }

    /// The callee's: the Record-Route values of the request in order (RFC 3261 §12.1.1).
    #[must_use]
    pub fn of_request(headers: &Headers) -> Self {
        Self::new(headers.values(HeaderName::RecordRoute))
    }

    /// The caller's: the Record-Route values of the response, reversed (RFC 3261 §12.1.2).
    #[must_use]
    pub fn of_response(headers: &Headers) -> Self {
        let mut set = Self::of_request(headers);
        set.0.reverse();
        set
    }

    /// The values, first hop first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether requests go straight to the remote target.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives `request` its Request-URI and Route for `target`: loose routing leaves the target in
    /// the Request-URI; a strict first hop (no `lr`) takes its place and the target goes to the
    /// end of the Route (RFC 3261 §12.2.1.1).
    pub fn apply(&self, request: &mut Request, target: &str) {
        let _ = request.headers.remove(HeaderName::Route);
        let mut routes: Vec<&str> = self.iter().collect();
        let last;
        let first = routes.first().and_then(|first| NameAddr::parse(first).ok());
        match first.map(|first| first.uri) {
            Some(first) if !first.is_loose_router() => {
                request.request_uri = first.to_string().into();
                last = format!("<{target}>");
                routes.remove(0);
                routes.push(&last);
            }
            _ => request.request_uri = target.into(),
        }
        for route in routes {
            request.headers.push(HeaderName::Route, route);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Method;

    fn check(routes: &[&str], uri: &str, expected: &[&str]) {
        let mut request = Request::new(Method::Bye, "sip:before@x");
        request.headers.push(HeaderName::Route, "<sip:old@x>");
        RouteSet::new(routes.iter().copied()).apply(&mut request, "sip:bob@10.0.0.2");
        assert_eq!(request.request_uri, uri);
        let routes: Vec<&str> = request.headers.values(HeaderName::Route).collect();
        assert_eq!(routes, expected);
    }

    #[test]
    fn a_request_follows_loose_and_strict_routes() {
        check(&[], "sip:bob@10.0.0.2", &[]);
        check(
            &["<sip:p1.ims.example;lr>", "<sip:s1.ims.example;lr>"],
            "sip:bob@10.0.0.2",
            &["<sip:p1.ims.example;lr>", "<sip:s1.ims.example;lr>"],
        );
        check(
            &["<sip:old.ims.example>", "<sip:s1.ims.example;lr>"],
            "sip:old.ims.example",
            &["<sip:s1.ims.example;lr>", "<sip:bob@10.0.0.2>"],
        );
    }

    #[test]
    fn the_caller_reads_record_route_backwards() {
        let mut headers = Headers::new();
        headers.push(HeaderName::RecordRoute, "<sip:p2;lr>, <sip:s2;lr>");
        headers.push(HeaderName::RecordRoute, "<sip:p1;lr>");
        let caller: Vec<String> =
            RouteSet::of_response(&headers).iter().map(str::to_owned).collect();
        assert_eq!(caller, ["<sip:p1;lr>", "<sip:s2;lr>", "<sip:p2;lr>"]);
        assert_eq!(RouteSet::of_request(&headers).iter().next(), Some("<sip:p2;lr>"));
    }
}
