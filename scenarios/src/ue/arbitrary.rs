//! A request as the scenario writes it: any method, and any header other than a UE would write it.
//! What the rules of a UE forbid is provoked by it.

use bytes::Bytes;
use cscf_core::role::{Actions, Env};
use cscf_core::sip::{HeaderName, Method, Request};

use super::headers::dialled;
use super::{Ue, UeTimer};

/// How one field of the request differs from what the UE would write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// A header, or one of [`PARTS`].
    pub name: String,
    /// What stands there: a line for each; none: the header is left out.
    pub values: Vec<String>,
}

/// The names of a change that are no headers.
pub const PARTS: [&str; 6] =
    ["request_uri", "request_uri_size", "header_size", "body", "body_size", "version"];

/// Most bytes that a request of a given size may have.
pub const SIZE_MAX: usize = 4 << 20;

/// The request with its changes, in their order.
fn change(request: &mut Request, changes: &[Change]) {
    for Change { name, values } in changes {
        let first = values.first().map(String::as_str).unwrap_or_default();
        let size = || first.parse::<usize>().unwrap_or_default().min(SIZE_MAX);
        match name.as_str() {
            "request_uri" => request.request_uri = first.into(),
            "request_uri_size" => {
                let more = size().saturating_sub(request.request_uri.len());
                let uri = format!("{};x={}", request.request_uri, "u".repeat(more));
                request.request_uri = uri.into();
            }
            "header_size" => request.headers.push_named("X-Filler", &"h".repeat(size())),
            "version" => request.version = first.parse().unwrap_or(request.version),
            "body" => set_body(request, first.to_owned().into_bytes()),
            "body_size" => set_body(request, vec![b'x'; size()]),
            header => {
                request.headers.remove_named(header);
                for value in values {
                    request.headers.push_named(header, value);
                }
            }
        }
    }
}

/// A body, of the Content-Type that is there already, else text.
fn set_body(request: &mut Request, body: Vec<u8>) {
    let given = request.headers.get(HeaderName::ContentType).map(str::to_owned);
    let kind = given.unwrap_or_else(|| "text/plain".to_owned());
    request.set_body(&kind, Bytes::from(body));
}

impl Ue {
    /// Sends a request of this method, changed so.
    pub(super) fn send_arbitrary(
        &mut self,
        env: &mut Env<'_>,
        what: (&str, &str),
        changes: &[Change],
        out: &mut Actions<UeTimer>,
    ) {
        let (method, target) = what;
        let target = dialled(target, &self.config.domain);
        let method = Method::from_token(method);
        let makes_dialog = matches!(method, Method::Invite | Method::Subscribe | Method::Refer);
        let mut request = self.initial_request(env.ids, method, &target);
        if makes_dialog {
            request.headers.push(HeaderName::Contact, &self.session_contact());
        }
        change(&mut request, changes);
        self.send_raw(request, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_changed_as_written() {
        let mut request = Request::new(Method::Message, "sip:bob@ims.example");
        request.headers.push(HeaderName::MaxForwards, "70");
        request.headers.push(HeaderName::Route, "<sip:p1;lr>");
        let one = |name: &str, values: &[&str]| Change {
            name: name.to_owned(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        };
        let changes = [
            one("Max-Forwards", &["0"]),
            one("Route", &[]),
            one("Content-Type", &["text/foo"]),
            one("X-Two", &["a", "b"]),
            one("body_size", &["10"]),
            one("request_uri_size", &["1000"]),
        ];
        change(&mut request, &changes);
        assert_eq!(request.headers.get(HeaderName::MaxForwards), Some("0"));
        assert!(!request.headers.contains(HeaderName::Route));
        assert_eq!(request.headers.get(HeaderName::ContentType), Some("text/foo"));
        assert_eq!(request.headers.fields_named("X-Two").count(), 2);
        assert_eq!(request.body.len(), 10);
        assert!(request.request_uri.len() >= 1000);
    }
}
