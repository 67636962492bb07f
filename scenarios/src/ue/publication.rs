//! The UE as publisher of its user's presence (RFC 3903 §4, TS 24.141 §5.3.2): initial, modifying
//! and refreshing publications, their end, and what a 412 or 423 asks for. Nothing is refreshed by
//! itself: a publication ends with its interval unless its user says otherwise.

use cscf_core::clause::{own, rfc3903};
use cscf_core::registrar::xml_text;
use cscf_core::role::{Action, Actions, Env, OwnAnswered};
use cscf_core::sip::{HeaderName, Method, Request};
use cscf_core::time::Duration;

use super::{Own, Ue, UeTimer};

/// The interval of a publication where its user names none.
const INTERVAL: Duration = Duration::from_secs(3600);

/// What the user does with the publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publish {
    /// Says something new: without an entity tag yet, else with it.
    Document,
    /// Keeps it for another interval.
    Refresh,
    /// Takes it back.
    Remove,
}

/// The publication of a UE.
#[derive(Debug)]
pub(super) struct Publication {
    status: String,
    expires: Duration,
    /// The entity tag of the last 200.
    etag: Option<String>,
    /// The PUBLISH that waits for its answer.
    sent: Option<Sent>,
}

#[derive(Debug)]
struct Sent {
    number: u32,
    what: Publish,
    request: Request,
    challenged: bool,
    /// Sent again after a 412 or 423 already.
    repaired: bool,
}

impl Ue {
    /// Publishes this basic status (`open`, `closed`), for this time.
    pub(super) fn publish(
        &mut self,
        env: &mut Env<'_>,
        status: &str,
        expires: Option<Duration>,
        out: &mut Actions<UeTimer>,
    ) {
        let expires = expires.unwrap_or(INTERVAL);
        let etag = self.publication.take().and_then(|it| it.etag);
        let status = status.to_owned();
        self.publication = Some(Publication { status, expires, etag, sent: None });
        self.send_publish(env, Publish::Document, false, out);
    }

    /// Keeps the publication, or takes it back.
    pub(super) fn keep_publication(
        &mut self,
        env: &mut Env<'_>,
        keep: bool,
        out: &mut Actions<UeTimer>,
    ) {
        if self.publication.as_ref().is_none_or(|it| it.etag.is_none()) {
            env.refuse(own("publish"), || "nothing is published".to_owned());
            return out.push(Action::State("no publication".to_owned()));
        }
        let what = if keep { Publish::Refresh } else { Publish::Remove };
        self.send_publish(env, what, false, out);
    }

    fn send_publish(
        &mut self,
        env: &mut Env<'_>,
        what: Publish,
        repaired: bool,
        out: &mut Actions<UeTimer>,
    ) {
        let identity = self.identity();
        let mut request = self.initial_request(env.ids, Method::Publish, &identity);
        self.next_pending = self.next_pending.wrapping_add(1);
        let number = self.next_pending;
        let Some(publication) = &mut self.publication else { return };
        let headers = &mut request.headers;
        headers.push(HeaderName::Event, "presence");
        let seconds = match what {
            Publish::Remove => 0,
            Publish::Document | Publish::Refresh => publication.expires.as_secs(),
        };
        headers.push(HeaderName::Expires, &seconds.to_string());
        if let Some(etag) = &publication.etag {
            headers.push(HeaderName::SipIfMatch, etag);
        }
        if what == Publish::Document {
            let document = document(&identity, &publication.status);
            request.set_body("application/pidf+xml", document);
        }
        let sent = Sent { number, what, request, challenged: false, repaired };
        publication.sent = Some(sent);
        self.originate_publish(out);
    }

    fn originate_publish(&self, out: &mut Actions<UeTimer>) {
        if let Some(sent) = self.publication.as_ref().and_then(|it| it.sent.as_ref()) {
            self.originate(Own::Publish(sent.number), &sent.request, out);
        }
    }

    pub(super) fn on_publish_response(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        answered: &OwnAnswered,
        out: &mut Actions<UeTimer>,
    ) {
        let response = &answered.response;
        if response.is_provisional() {
            return;
        }
        let Some(mut publication) = self.publication.take() else { return };
        let Some(mut sent) = publication.sent.take_if(|it| it.number == number) else {
            self.publication = Some(publication);
            return;
        };
        if matches!(response.status, 401 | 407) && !sent.challenged {
            sent.challenged = true;
            let can = self.authorise(env, &mut sent.request, response);
            if can {
                publication.sent = Some(sent);
                self.publication = Some(publication);
                return self.originate_publish(out);
            }
        }
        let (what, repaired) = (sent.what, sent.repaired);
        match response.status {
            200..=299 if what == Publish::Remove => {
                out.push(Action::State("publication removed".to_owned()));
            }
            200..=299 => {
                let etag = response.headers.get(HeaderName::SipEtag).map(str::to_owned);
                env.note(rfc3903("4.1"), || {
                    format!("published, entity tag {}", etag.as_deref().unwrap_or("missing"))
                });
                publication.etag = etag;
                self.publication = Some(publication);
                out.push(Action::State("published".to_owned()));
            }
            412 if !repaired && what != Publish::Remove => {
                env.note(rfc3903("4.1"), || {
                    "412: the publication is gone there, publishes anew".to_owned()
                });
                publication.etag = None;
                self.publication = Some(publication);
                self.send_publish(env, Publish::Document, true, out);
            }
            423 if !repaired => {
                let least = response.headers.get(HeaderName::MinExpires);
                let least =
                    least.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
                let wanted = publication.expires;
                let asked = least.filter(|least| *least > wanted);
                self.publication = Some(publication);
                let Some(least) = asked else { return Self::publication_failed(423, out) };
                env.note(rfc3903("4.1"), || format!("423: asks for {} s instead", least.as_secs()));
                if let Some(publication) = &mut self.publication {
                    publication.expires = least;
                }
                self.send_publish(env, what, true, out);
            }
            status => {
                if status != 412 {
                    self.publication = Some(publication);
                }
                Self::publication_failed(status, out);
            }
        }
    }

    fn publication_failed(status: u16, out: &mut Actions<UeTimer>) {
        out.push(Action::State(format!("publication failed {status}")));
    }
}

/// The smallest document that says it (RFC 3863 §4.1).
fn document(entity: &str, status: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{}\">\n  \
         <tuple id=\"ue\"><status><basic>{}</basic></status></tuple>\n</presence>\n",
        xml_text(entity),
        xml_text(status)
    )
}
