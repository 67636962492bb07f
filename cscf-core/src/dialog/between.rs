//! A dialog as a proxy between its ends sees it: both targets, the routes to each and the numbers
//! used, so that the proxy can end it in the name of each end towards the other
//! (TS 24.229 §5.2.8.1.2, §5.4.5.1.2).

use crate::sip::{HeaderName, Headers, Method, Request, Response, UsualAddress};

/// Longest address and target kept, in bytes; without them there is no BYE. Call-ID and tags are
/// bounded by whoever keeps the dialog.
const VALUE_MAX: usize = 4096;
/// Routes kept.
const ROUTES_MAX: usize = 32;

/// Both ends of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Between {
    call_id: Box<str>,
    caller: End,
    callee: End,
    confirmed: bool,
    /// The number of the INVITE that made it.
    invite: u32,
}

/// One end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct End {
    /// Its From or To value, tag included.
    address: Box<str>,
    tag: Box<str>,
    target: Option<Box<str>>,
    /// From here to it, nearest first.
    routes: Vec<Box<str>>,
    /// The highest number in its direction.
    cseq: u32,
}

impl Between {
    /// What an INVITE, as it was received, says of the caller.
    #[must_use]
    pub fn of_invite(invite: &Request) -> Self {
        let headers = &invite.headers;
        let caller = End {
            address: value(headers, HeaderName::From),
            tag: invite.from_tag().unwrap_or_default().into(),
            target: target(headers),
            routes: routes(headers, |_| false),
            cseq: invite.cseq().map_or(0, |cseq| cseq.number),
        };
        let call_id = invite.call_id().unwrap_or_default().into();
        let invite = caller.cseq;
        Self { call_id, caller, invite, ..Self::default() }
    }

    /// Takes the callee's end from the 2xx to INVITE, as it was received; `is_ours` finds our own
    /// Record-Route. Of several that answer the first counts.
    pub fn confirm(&mut self, response: &Response, is_ours: impl Fn(&str) -> bool) {
        let headers = &response.headers;
        let tag = response.to_tag().unwrap_or_default();
        if !self.confirmed {
            self.confirmed = true;
            self.callee.address = value(headers, HeaderName::To);
            self.callee.tag = tag.into();
            self.callee.routes = routes(headers, is_ours);
            self.callee.routes.reverse();
        }
        if *self.callee.tag == *tag {
            self.callee.target = target(headers).or(self.callee.target.take());
        }
    }

    /// Notes number and target of a request in the dialog (RFC 3261 §12.2.2, RFC 3311 §5.2); says
    /// whether the caller sent it.
    pub fn on_request(&mut self, request: &Request) -> bool {
        let by_caller = request.from_tag() == Some(&*self.caller.tag);
        let sender = if by_caller { &mut self.caller } else { &mut self.callee };
        if let Ok(cseq) = request.cseq() {
            sender.cseq = sender.cseq.max(cseq.number);
        }
        if matches!(request.method, Method::Invite | Method::Update) {
            sender.target = target(&request.headers).or(sender.target.take());
        }
        by_caller
    }

    /// Notes the target in the 2xx to an INVITE or UPDATE of the caller, or of the callee.
    pub fn on_success(&mut self, by_caller: bool, response: &Response) {
        let other = if by_caller { &mut self.callee } else { &mut self.caller };
        other.target = target(&response.headers).or(other.target.take());
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The caller as its From has it.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.caller.address
    }

    /// The callee as the To of the first 2xx has it; empty before.
    #[must_use]
    pub fn callee(&self) -> &str {
        &self.callee.address
    }

    /// Whether a request names this dialog as only its parties can.
    #[must_use]
    pub fn is_of(&self, request: &Request) -> bool {
        let caller = Some(&*self.caller.tag);
        request.call_id() == Some(&*self.call_id)
            && (request.from_tag() == caller || request.to_tag() == caller)
    }

    /// Whether a 2xx has confirmed it.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// The BYE to the caller and the BYE to the callee, each as if from the other end; `None` for
    /// an end without a target, and for a dialog that is not confirmed.
    pub fn byes(&mut self) -> (Option<Request>, Option<Request>) {
        if !self.confirmed {
            return (None, None);
        }
        self.caller.cseq = self.caller.cseq.saturating_add(1);
        self.callee.cseq = self.callee.cseq.saturating_add(1);
        (self.bye(&self.callee, &self.caller), self.bye(&self.caller, &self.callee))
    }

    /// Whether a response is to the INVITE that made it.
    #[must_use]
    pub fn is_made_by(&self, response: &Response) -> bool {
        response
            .cseq()
            .is_ok_and(|cseq| cseq.method == Method::Invite && cseq.number == self.invite)
    }

    /// The ACK of the 2xx to the INVITE that made it, in the name of the caller
    /// (RFC 3261 §13.2.2.4); `None` as for [`Self::byes`].
    #[must_use]
    pub fn ack(&self) -> Option<Request> {
        if !self.confirmed {
            return None;
        }
        self.request(Method::Ack, (&self.caller, &self.callee), self.invite)
    }

    fn bye(&self, from: &End, to: &End) -> Option<Request> {
        self.request(Method::Bye, (from, to), from.cseq)
    }

    fn request(&self, method: Method, (from, to): (&End, &End), cseq: u32) -> Option<Request> {
        if from.address.is_empty() || to.address.is_empty() {
            return None;
        }
        let line = format!("{cseq} {method}");
        let mut request = Request::new(method, to.target.as_deref()?);
        for route in &to.routes {
            request.headers.push(HeaderName::Route, route);
        }
        request.headers.push(HeaderName::From, &from.address);
        request.headers.push(HeaderName::To, &to.address);
        request.headers.push(HeaderName::CallId, &self.call_id);
        request.headers.push(HeaderName::CSeq, &line);
        Some(request)
    }
}

fn value(headers: &Headers, name: HeaderName) -> Box<str> {
    headers.get(name).filter(|value| value.len() <= VALUE_MAX).unwrap_or_default().into()
}

/// The URI of Contact.
fn target(headers: &Headers) -> Option<Box<str>> {
    let mut values = headers.values(HeaderName::Contact);
    if let Some(first) = values.next().and_then(UsualAddress::read)
        && values.next().is_none()
    {
        return (first.text.len() <= VALUE_MAX).then(|| first.text.into());
    }
    let contacts = headers.contacts().ok()?;
    let uri = contacts.first()?.uri.to_string();
    (uri.len() <= VALUE_MAX).then(|| uri.into())
}

/// The Record-Route entries before our own.
fn routes(headers: &Headers, is_ours: impl Fn(&str) -> bool) -> Vec<Box<str>> {
    let values = headers.values(HeaderName::RecordRoute).take_while(|value| !is_ours(value));
    values.take(ROUTES_MAX).map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Message, parse};

    fn message(text: &str) -> Message {
        parse(&text.replace('\n', "\r\n").into_bytes().into()).expect("SIP")
    }

    #[test]
    fn each_end_hears_of_the_other() {
        let Message::Request(invite) = message(
            "INVITE sip:bob@ims.example SIP/2.0\nVia: SIP/2.0/UDP s;branch=z9hG4bK1\n\
             Record-Route: <sip:s;lr>, <sip:a;lr>\nFrom: <sip:a@x>;tag=1\nTo: <sip:b@x>\n\
             Call-ID: c\nCSeq: 7 INVITE\nContact: <sip:a@1>\n\n",
        ) else {
            panic!("a request")
        };
        let mut between = Between::of_invite(&invite);
        assert!(matches!(between.byes(), (None, None)), "not confirmed");
        let Message::Response(ok) = message(
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP s;branch=z9hG4bK1\n\
             Record-Route: <sip:q;lr>, <sip:r;lr>, <sip:us;lr>, <sip:s;lr>, <sip:a;lr>\n\
             From: <sip:a@x>;tag=1\nTo: <sip:b@x>;tag=2\nCall-ID: c\nCSeq: 7 INVITE\n\
             Contact: <sip:b@2>\n\n",
        ) else {
            panic!("a response")
        };
        between.confirm(&ok, |value| value.contains("sip:us"));
        let (to_caller, to_callee) = between.byes();
        let (to_caller, to_callee) = (to_caller.expect("a BYE"), to_callee.expect("a BYE"));
        let routes = |bye: &Request| -> Vec<String> {
            bye.headers.values(HeaderName::Route).map(str::to_owned).collect()
        };
        assert_eq!(to_caller.request_uri, "sip:a@1");
        assert_eq!(routes(&to_caller), ["<sip:s;lr>", "<sip:a;lr>"]);
        assert_eq!(to_caller.headers.get(HeaderName::CSeq), Some("1 BYE"));
        assert_eq!((to_caller.from_tag(), to_caller.to_tag()), (Some("2"), Some("1")));
        assert_eq!(to_callee.request_uri, "sip:b@2");
        assert_eq!(routes(&to_callee), ["<sip:r;lr>", "<sip:q;lr>"]);
        assert_eq!(to_callee.headers.get(HeaderName::CSeq), Some("8 BYE"));
        let ack = between.ack().expect("an ACK");
        assert_eq!((&*ack.request_uri, ack.method.as_str()), ("sip:b@2", "ACK"));
        assert_eq!(ack.headers.get(HeaderName::CSeq), Some("7 ACK"));
        assert_eq!(routes(&ack), routes(&to_callee));
    }
}
