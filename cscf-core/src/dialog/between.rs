//! A dialog as a proxy between its ends sees it: both targets, the routes to each and the numbers
//! used, so that the proxy can end it in the name of each end towards the other
//! (TS 24.229 §5.2.8.1.2, §5.4.5.1.2).

use std::borrow::Cow;

use super::Texts;
use crate::sip::{HeaderName, Headers, Method, Request, Response, UsualAddress};

/// Longest address and target kept, in bytes; without them there is no BYE. Call-ID and tags are
/// bounded by whoever keeps the dialog.
const VALUE_MAX: usize = 4096;

/// Both ends of a dialog, and words of whoever keeps it: one block of memory with all texts, and a
/// few numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// The Call-ID; of each end address, tag and target; the words; the routes to the caller, the
    /// routes to the callee.
    texts: Texts,
    words: u8,
    caller_routes: u8,
    confirmed: bool,
    /// The highest number of each end.
    caller_cseq: u32,
    callee_cseq: u32,
    /// The number of the request that made it.
    made_by: u32,
}

/// Where a text stands.
const CALL_ID: usize = 0;
const CALLER: usize = 1;
const CALLEE: usize = 4;
const WORDS: usize = 7;
/// Texts of most dialogs.
const LISTED: usize = 20;

impl Between {
    /// Routes kept towards each end.
    pub const ROUTES_MAX: usize = 32;

    /// What the request that makes it, as it was received, says of the caller; `words` are kept
    /// with it, at most 255.
    #[must_use]
    pub fn of_request(request: &Request, words: &[Option<&str>]) -> Self {
        let headers = &request.headers;
        let target = target(headers);
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        let words = words.get(..u8::MAX.into()).unwrap_or(words);
        let mut texts = Vec::with_capacity(LISTED);
        texts.push(request.call_id());
        texts.extend(end(value(headers, HeaderName::From), request.from_tag(), target.as_deref()));
        texts.extend([None; 3]);
        texts.extend(words);
        let before = texts.len();
        texts.extend(headers.values(HeaderName::RecordRoute).take(Self::ROUTES_MAX).map(Some));
        Self {
            words: words.len() as u8,
            caller_routes: (texts.len() - before) as u8,
            texts: Texts::new(&texts),
            caller_cseq: cseq,
            made_by: cseq,
            ..Self::default()
        }
    }

    /// Takes the callee's end from the 2xx to INVITE, as it was received; `is_ours` finds our own
    /// Record-Route. Of several that answer the first counts.
    pub fn confirm(&mut self, response: &Response, is_ours: impl Fn(&str) -> bool) {
        let headers = &response.headers;
        if self.confirmed {
            if self.callee_tag() == response.to_tag().unwrap_or_default() {
                self.take_target(false, headers);
            }
            return;
        }
        self.confirmed = true;
        let target = target(headers);
        let mut texts = Vec::with_capacity(LISTED);
        texts.extend(self.texts.iter());
        let address = value(headers, HeaderName::To);
        let target = target.as_deref().or_else(|| self.texts.get(CALLEE + 2));
        let callee = end(address, response.to_tag(), target);
        for (place, text) in texts.iter_mut().skip(CALLEE).zip(callee) {
            *place = text;
        }
        let before = texts.len();
        let values = headers.values(HeaderName::RecordRoute).take_while(|value| !is_ours(value));
        texts.extend(values.take(Self::ROUTES_MAX).map(Some));
        texts.get_mut(before..).unwrap_or_default().reverse();
        self.texts = Texts::new(&texts);
    }

    /// Notes number and target of a request in the dialog (RFC 3261 §12.2.2, RFC 3311 §5.2); says
    /// whether the caller sent it.
    pub fn on_request(&mut self, request: &Request) -> bool {
        let by_caller = request.from_tag() == Some(self.caller_tag());
        if let Ok(cseq) = request.cseq() {
            let highest = if by_caller { &mut self.caller_cseq } else { &mut self.callee_cseq };
            *highest = cseq.number.max(*highest);
        }
        if matches!(request.method, Method::Invite | Method::Update) {
            self.take_target(by_caller, &request.headers);
        }
        by_caller
    }

    /// Notes the target in the 2xx to an INVITE or UPDATE of the caller, or of the callee.
    pub fn on_success(&mut self, by_caller: bool, response: &Response) {
        self.take_target(!by_caller, &response.headers);
    }

    /// Notes the target of an end, if there is one.
    fn take_target(&mut self, of_caller: bool, headers: &Headers) {
        let Some(target) = target(headers) else { return };
        let place = if of_caller { CALLER } else { CALLEE } + 2;
        // Mostly it is what it was.
        if self.texts.get(place) == Some(&*target) {
            return;
        }
        let mut all: Vec<_> = self.texts.iter().collect();
        if let Some(its) = all.get_mut(place) {
            *its = Some(&target);
        }
        self.texts = Texts::new(&all);
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.texts.get(CALL_ID).unwrap_or_default()
    }

    /// The caller as its From has it.
    #[must_use]
    pub fn caller(&self) -> &str {
        self.texts.get(CALLER).unwrap_or_default()
    }

    /// The callee as the To of the first 2xx has it; empty before.
    #[must_use]
    pub fn callee(&self) -> &str {
        self.texts.get(CALLEE).unwrap_or_default()
    }

    /// The tag of the caller; empty if it gave none.
    #[must_use]
    pub fn caller_tag(&self) -> &str {
        self.tag(CALLER)
    }

    /// The tag of the callee whose 2xx was the first; empty before.
    #[must_use]
    pub fn callee_tag(&self) -> &str {
        self.tag(CALLEE)
    }

    fn tag(&self, end: usize) -> &str {
        let mut texts = self.texts.iter().skip(end);
        let address = texts.next().flatten().unwrap_or_default();
        texts.next().flatten().unwrap_or_else(|| told_tag(address))
    }

    /// A word of whoever keeps it, by its place.
    #[must_use]
    pub fn word(&self, place: u8) -> Option<&str> {
        self.texts.get(WORDS + usize::from(place)).filter(|_| place < self.words)
    }

    /// The way to the caller: Record-Route of the request that made it.
    pub fn caller_routes(&self) -> impl Iterator<Item = &str> + Clone {
        self.routes(0, self.caller_routes.into())
    }

    /// The way to the callee whose 2xx was the first: Record-Route before our own, backwards.
    pub fn callee_routes(&self) -> impl Iterator<Item = &str> + Clone {
        self.routes(self.caller_routes.into(), Self::ROUTES_MAX)
    }

    fn routes(&self, skipped: usize, most: usize) -> impl Iterator<Item = &str> + Clone {
        self.texts.iter().skip(WORDS + usize::from(self.words) + skipped).take(most).flatten()
    }

    /// Whether a request names this dialog as only its parties can.
    #[must_use]
    pub fn is_of(&self, request: &Request) -> bool {
        let caller = Some(self.caller_tag());
        request.call_id() == Some(self.call_id())
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
        self.caller_cseq = self.caller_cseq.saturating_add(1);
        self.callee_cseq = self.callee_cseq.saturating_add(1);
        (
            self.request(Method::Bye, CALLER, self.callee_cseq),
            self.request(Method::Bye, CALLEE, self.caller_cseq),
        )
    }

    /// Whether a response is to the INVITE that made it.
    #[must_use]
    pub fn is_made_by(&self, response: &Response) -> bool {
        response
            .cseq()
            .is_ok_and(|cseq| cseq.method == Method::Invite && cseq.number == self.made_by)
    }

    /// The ACK of the 2xx to the INVITE that made it, in the name of the caller
    /// (RFC 3261 §13.2.2.4); `None` as for [`Self::byes`].
    #[must_use]
    pub fn ack(&self) -> Option<Request> {
        if !self.confirmed {
            return None;
        }
        self.request(Method::Ack, CALLEE, self.made_by)
    }

    /// A request to this end in the name of the other.
    fn request(&self, method: Method, to: usize, cseq: u32) -> Option<Request> {
        let (from, address) = match to {
            CALLER => (self.callee(), self.caller()),
            _ => (self.caller(), self.callee()),
        };
        if from.is_empty() || address.is_empty() {
            return None;
        }
        let line = format!("{cseq} {method}");
        let mut request = Request::new(method, self.texts.get(to + 2)?);
        let (skipped, most) = match to {
            CALLER => (0, self.caller_routes.into()),
            _ => (self.caller_routes.into(), Self::ROUTES_MAX),
        };
        for route in self.routes(skipped, most) {
            request.headers.push(HeaderName::Route, route);
        }
        request.headers.push(HeaderName::From, from);
        request.headers.push(HeaderName::To, address);
        request.headers.push(HeaderName::CallId, self.call_id());
        request.headers.push(HeaderName::CSeq, &line);
        Some(request)
    }
}

fn value(headers: &Headers, name: HeaderName) -> &str {
    headers.get(name).filter(|value| value.len() <= VALUE_MAX).unwrap_or_default()
}

/// What is kept of an end: its address, its tag unless the address tells it, its target.
fn end<'a>(
    address: &'a str,
    tag: Option<&'a str>,
    target: Option<&'a str>,
) -> [Option<&'a str>; 3] {
    let tag = tag.unwrap_or_default();
    [Some(address), (told_tag(address) != tag).then_some(tag), target]
}

/// The tag as it stands in most addresses: at the end. What this gives is compared with the tag
/// before an address is trusted to tell it.
fn told_tag(address: &str) -> &str {
    let start = memchr::memrchr(b'=', address.as_bytes()).unwrap_or_default();
    match address.split_at_checked(start) {
        Some((before, tag)) if before.ends_with(";tag") => tag.get(1..).unwrap_or_default(),
        _ => "",
    }
}

/// The URI of Contact.
fn target(headers: &Headers) -> Option<Cow<'_, str>> {
    let mut values = headers.values(HeaderName::Contact);
    if let Some(first) = values.next().and_then(UsualAddress::read)
        && values.next().is_none()
    {
        return (first.text.len() <= VALUE_MAX).then_some(first.text.into());
    }
    let contacts = headers.contacts().ok()?;
    let uri = contacts.first()?.uri.to_string();
    (uri.len() <= VALUE_MAX).then_some(uri.into())
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
        let mut between = Between::of_request(&invite, &[Some("icid"), None]);
        assert!(matches!(between.byes(), (None, None)), "not confirmed");
        assert_eq!((between.caller_tag(), between.callee_tag()), ("1", ""));
        assert_eq!((between.callee_routes().count(), between.callee()), (0, ""));
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
        assert_eq!((between.word(0), between.word(1), between.word(2)), (Some("icid"), None, None));
        assert_eq!((between.caller_tag(), between.callee_tag()), ("1", "2"));
        assert!(between.caller_routes().eq(["<sip:s;lr>", "<sip:a;lr>"]));
        assert!(between.callee_routes().eq(["<sip:r;lr>", "<sip:q;lr>"]));
    }

    #[test]
    fn a_target_changes_and_all_else_stays() {
        let Message::Request(invite) = message(
            "INVITE sip:b@x SIP/2.0\nVia: SIP/2.0/UDP s;branch=z9hG4bK1\nRecord-Route: <sip:s;lr>\n\
             From: <sip:a@x>;tag=1\nTo: <sip:b@x>\nCall-ID: c\nCSeq: 7 INVITE\n\
             Contact: <sip:a@1>\n\n",
        ) else {
            panic!("a request")
        };
        // An address too long to be kept does not take the tag along.
        let mut long = invite.clone();
        long.headers.remove(HeaderName::From);
        long.headers.push(HeaderName::From, &format!("\"{}\" <sip:a@x>;tag=1", "a".repeat(5_000)));
        let mut update = Request::new(Method::Update, "sip:us");
        for (name, value) in [
            (HeaderName::From, "<sip:a@x>;tag=1"),
            (HeaderName::To, "<sip:b@x>;tag=2"),
            (HeaderName::CallId, "c"),
            (HeaderName::CSeq, "9 UPDATE"),
            (HeaderName::Contact, "<sip:a@elsewhere>"),
        ] {
            update.headers.push(name, value);
        }
        for made_by in [&invite, &long] {
            let mut between = Between::of_request(made_by, &[]);
            assert_eq!(between.texts.get(CALLER + 2), Some("sip:a@1"));
            assert!(between.on_request(&update), "the caller's");
            assert_eq!(between.texts.get(CALLER + 2), Some("sip:a@elsewhere"));
            assert_eq!((between.caller_cseq, between.call_id()), (9, "c"));
            assert_eq!((between.caller_tag(), between.callee_tag()), ("1", ""));
            assert!(between.is_of(&update) && between.caller_routes().eq(["<sip:s;lr>"]));
        }
    }
}
