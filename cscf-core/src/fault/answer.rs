//! Answers that a rule gives in the place of a node.

use super::rule::Answer;
use crate::cx::{CxResult, ResultCode};
use crate::diameter::dictionary as avp;
use crate::diameter::{Avp, Message};
use crate::sip::{HeaderName, Request, Response, reason_phrase};

/// The response to a request, with this tag in To unless it is a 100.
#[must_use]
pub fn response(request: &Request, answer: &Answer, tag: &str) -> Response {
    let usual = reason_phrase(answer.status);
    let reason = answer.reason.as_deref().unwrap_or(usual);
    let mut response = request.response(answer.status, reason);
    if answer.status > 100 {
        response.set_to_tag(tag);
    }
    for (name, value) in &answer.headers {
        // Length and what identifies the transaction are set by the request and the body.
        match HeaderName::from_bytes(name.as_bytes()) {
            known @ (HeaderName::ContentType | HeaderName::To) => {
                response.headers.set(known, value);
            }
            _ => response.headers.push_named(name, value),
        }
    }
    if !answer.body.is_empty() {
        let kind = response.headers.get(HeaderName::ContentType).unwrap_or_default().to_owned();
        response.set_body(&kind, answer.body.clone().into_bytes());
    }
    response
}

/// The answer of Diameter with a result and no data (RFC 6733 §6.2).
#[must_use]
pub fn result(request: &Message, result: CxResult) -> Message {
    let mut avps = Vec::new();
    let copied = |what| request.find(what).cloned();
    avps.extend(copied(&avp::SESSION_ID));
    avps.extend(copied(&avp::VENDOR_SPECIFIC_APPLICATION_ID));
    avps.push(match result.code() {
        ResultCode::Base(code) => Avp::number(&avp::RESULT_CODE, code),
        ResultCode::Experimental(code) => Avp::group(
            &avp::EXPERIMENTAL_RESULT,
            &[
                Avp::number(&avp::VENDOR_ID, avp::VENDOR_3GPP),
                Avp::number(&avp::EXPERIMENTAL_RESULT_CODE, code),
            ],
        ),
    });
    avps.extend(copied(&avp::AUTH_SESSION_STATE));
    // Whoever was asked answers.
    let host = request.text(&avp::DESTINATION_HOST).or(request.text(&avp::DESTINATION_REALM));
    let realm = request.text(&avp::DESTINATION_REALM);
    avps.extend(host.map(|host| Avp::text(&avp::ORIGIN_HOST, host)));
    avps.extend(realm.map(|realm| Avp::text(&avp::ORIGIN_REALM, realm)));
    avps.extend(request.all(&avp::PROXY_INFO).cloned());
    let mut header = request.header.answer();
    header.flags.error = matches!(result.code(), ResultCode::Base(3000..4000));
    Message { header, avps }
}
