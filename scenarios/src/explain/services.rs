//! Rules of messages, emergency calls and other services (RFC 3428, TS 24.341, TS 24.229 §5.1.6,
//! RFC 7989).

use cscf_core::clause::{rfc3261, rfc3428, rfc7989, ts24229};
use cscf_core::sip::{HeaderName, Method, Request, SessionId};

use super::rule::{Found, rules};
use super::traffic::{Item, Traffic};

/// The longest MESSAGE over a transport without congestion control (RFC 3428 §8).
const MESSAGE_BYTES_MAX: usize = 1_300;

rules! {
    CONTACT = Error "SMS-010" rfc3428("4"),
        "MESSAGE has a Contact",
        "it makes no dialog; a receiver may answer to the wrong place",
        "leave Contact out of MESSAGE";
    ANSWER_CONTACT = Error "SMS-020" rfc3428("7"),
        "a 2xx to MESSAGE has a Contact or a body",
        "the sender may take it for an answer to the text, which goes nowhere",
        "answer 200 or 202 without Contact and body";
    TOO_LARGE = Warning "SMS-030" rfc3428("8"),
        "MESSAGE over UDP is larger than 1300 bytes",
        "it is cut into fragments, and one lost fragment loses it",
        "send a long text over TCP, in a session, or in parts";
    NO_BODY = Warning "SMS-040" rfc3428("4"),
        "MESSAGE has no body",
        "there is no text to show",
        "put the text or the short message into the body";
    TO_SERVICE = Error "EME-010" ts24229("5.1.6.8.1"),
        "To of an emergency call is not the emergency service",
        "the call may be routed or shown as one to somebody else",
        "write the same service URN into To and the Request-URI";
    EMERGENCY_ACCESS = Error "EME-020" ts24229("5.1.6.8.3"),
        "an emergency call has no P-Access-Network-Info",
        "the emergency centre cannot find the caller",
        "send P-Access-Network-Info, in emergency calls also where it is not protected";
    SESSION_ID = Error "SID-010" rfc7989("5"),
        "Session-ID is not 32 lower-case hexadecimal digits",
        "nodes on the way cannot compare it",
        "write a UUID without hyphens, in lower case";
    EXPIRES = Hint "SRV-010" rfc3261("20.19"),
        "SUBSCRIBE does not say how long",
        "the notifier chooses; the subscription may end at once",
        "write Expires into each SUBSCRIBE";
}

/// Looks at all messages.
pub(super) fn check(traffic: &Traffic, found: &mut Found) {
    for item in traffic.fresh().filter(|item| item.own) {
        if item.method == Method::Message {
            message(item, found);
        }
        if let Some(request) = item.as_request() {
            emergency(traffic, item, request, found);
            if item.method == Method::Subscribe && !item.has(HeaderName::Expires) {
                found.add(&EXPIRES, item, item.label());
            }
        }
        if item.has(HeaderName::SessionId) {
            let value = item.header(HeaderName::SessionId);
            let read = SessionId::parse(value);
            if !read.is_ok_and(|it| value.starts_with(&it.local)) {
                found.add(&SESSION_ID, item, value);
            }
        }
    }
}

fn message(item: &Item, found: &mut Found) {
    let body = item.message.body();
    match item.status() {
        0 => {
            if item.has(HeaderName::Contact) {
                found.add(&CONTACT, item, item.header(HeaderName::Contact));
            }
            if body.is_empty() {
                found.add(&NO_BODY, item, item.label());
            }
            if !item.transport.is_reliable() && item.bytes.len() > MESSAGE_BYTES_MAX {
                found.add(&TOO_LARGE, item, format!("{} bytes", item.bytes.len()));
            }
        }
        200..300 if (item.has(HeaderName::Contact) || !body.is_empty()) => {
            let what = if body.is_empty() { "Contact" } else { "body" };
            found.add(&ANSWER_CONTACT, item, format!("{}: {what}", item.label()));
        }
        _ => {}
    }
}

fn emergency(traffic: &Traffic, item: &Item, request: &Request, found: &mut Found) {
    let begins = item.method == Method::Invite && item.is_initial() && traffic.is_ue(item.from);
    if !begins || !request.asks_emergency_service() {
        return;
    }
    let to = item.message.to_addr().map(|it| it.uri.to_string()).unwrap_or_default();
    if !to.to_ascii_lowercase().starts_with("urn:service:sos") {
        found.add(&TO_SERVICE, item, format!("To {to}"));
    }
    if !item.has(HeaderName::PAccessNetworkInfo) {
        found.add(&EMERGENCY_ACCESS, item, request.request_uri.to_string());
    }
}
