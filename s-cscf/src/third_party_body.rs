//! The bodies of a third-party REGISTER (TS 24.229 §5.4.1.7, §7.6): service information of the
//! profile, the user's REGISTER, the 200 to it.

use std::fmt::Write as _;

use cscf_core::registrar::xml_text;
use cscf_core::sip::{Request, Response};

/// The media type of the 3GPP IMS document (TS 24.229 §7.6.1).
const IMS_XML: &str = "application/3gpp-ims+xml";

/// What goes into a third-party REGISTER.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bodies<'a> {
    /// `ServiceInfo` of the filter criterion.
    pub(crate) service_info: Option<&'a str>,
    /// The user's REGISTER.
    pub(crate) request: Option<&'a Request>,
    /// The answer it got.
    pub(crate) response: Option<&'a Response>,
}

/// Writes the bodies: one alone, several as a multipart. `boundary` is a fresh token.
pub(crate) fn write_bodies(register: &mut Request, bodies: &Bodies<'_>, boundary: &str) {
    let mut parts: Vec<(&str, Vec<u8>)> = Vec::new();
    if let Some(info) = bodies.service_info {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ims-3gpp version=\"1\"><service-info>{}\
             </service-info></ims-3gpp>",
            xml_text(info)
        );
        parts.push((IMS_XML, text.into_bytes()));
    }
    let messages = bodies.request.map(Request::to_bytes).into_iter();
    for message in messages.chain(bodies.response.map(Response::to_bytes)) {
        parts.push(("message/sip", message.to_vec()));
    }
    match parts.as_slice() {
        [] => register.headers.push(cscf_core::sip::HeaderName::ContentLength, "0"),
        [(kind, body)] => register.set_body(kind, body.clone()),
        parts => {
            let mut out = Vec::new();
            for (kind, body) in parts {
                let mut head = String::new();
                // Writing to a String does not fail.
                let _ = write!(head, "--{boundary}\r\nContent-Type: {kind}\r\n\r\n");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(body);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
            let kind = format!("multipart/mixed;boundary=\"{boundary}\"");
            register.set_body(&kind, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use cscf_core::sip::{HeaderName, Method};

    use super::*;

    fn written(bodies: &Bodies<'_>) -> (String, String) {
        let mut request = Request::new(Method::Register, "sip:as1.ims.example");
        write_bodies(&mut request, bodies, "b1");
        let kind = request.headers.get(HeaderName::ContentType).unwrap_or_default().to_owned();
        (kind, String::from_utf8_lossy(&request.body).into_owned())
    }

    #[test]
    fn one_body_stands_alone_and_several_are_a_multipart() {
        let request = Request::new(Method::Register, "sip:ims.example");
        let response = request.reply(200);
        assert_eq!(written(&Bodies::default()), (String::new(), String::new()));
        let (kind, body) = written(&Bodies { service_info: Some("a<b"), ..Bodies::default() });
        assert_eq!(kind, "application/3gpp-ims+xml");
        assert!(body.contains("<service-info>a&lt;b</service-info>"), "{body}");
        let both =
            Bodies { request: Some(&request), response: Some(&response), ..Bodies::default() };
        let (kind, body) = written(&both);
        assert_eq!(kind, "multipart/mixed;boundary=\"b1\"");
        let expected = "--b1\r\nContent-Type: message/sip\r\n\r\nREGISTER sip:ims.example SIP/2.0\
             \r\n\r\n\r\n--b1\r\nContent-Type: message/sip\r\n\r\nSIP/2.0 200 OK\r\n\
             Content-Length: 0\r\n\r\n\r\n--b1--\r\n";
        assert_eq!(body, expected);
    }
}
