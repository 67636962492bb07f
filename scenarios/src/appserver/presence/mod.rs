//! A presence server (TS 24.141, RFC 3856) that is the compositor of the event state its users
//! publish (RFC 3903): who may write and read, what is kept for how long, who is told.
//!
//! States told to the trace (`WHO` the subscriber's name in the lab): `published WHO`,
//! `refreshed WHO`, `modified WHO`, `removed WHO`, `publication expired WHO`; of those who follow
//! them `watcher of WHO active`, `pending`, `blocked`, `gone`; `refused METHOD N`.

mod pidf;
mod watchers;

use std::collections::BTreeMap;

use cscf_core::clause::{Clause, rfc3856, rfc3903, rfc6665};
use cscf_core::dialog::DialogId;
use cscf_core::role::{Action, Actions, Env, Incoming, OwnTag};
use cscf_core::sip::{Event, HeaderName, Method, Request, Response};
use cscf_core::time::Duration;
use cscf_core::ua::media_type;

use super::{AppServer, ServerTimer, key_of};
use watchers::Watcher;

/// Publications kept at a time, and of one user; further ones get 503.
const PUBLICATIONS_MAX: usize = 100_000;
const OF_A_USER_MAX: usize = 16;
/// Longest document taken, in bytes.
const DOCUMENT_MAX: usize = 65_535;
/// The interval of those who name none (RFC 3903 §6 leaves it open, RFC 3856 §6.4), in seconds.
const USUAL: u32 = 3600;
const PACKAGE: &str = "presence";
const DOCUMENT: &str = "application/pidf+xml";
const ALLOW: &str = "PUBLISH, SUBSCRIBE, NOTIFY, OPTIONS, REGISTER";

/// What is published, and who follows it.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// By entity tag.
    publications: BTreeMap<String, Publication>,
    watchers: BTreeMap<u32, Watcher>,
    dialogs: BTreeMap<DialogId, u32>,
    /// NOTIFY requests that wait for their answer.
    notifies: BTreeMap<OwnTag, u32>,
    next: u32,
}

/// What one device says of its user.
#[derive(Debug)]
struct Publication {
    /// The subscriber's name in the lab.
    of: String,
    document: String,
    /// In the order in which they came first.
    number: u32,
}

impl Presence {
    /// What is still held, by name.
    pub(super) fn remainders(&self) -> [(&'static str, usize); 3] {
        [
            ("publications", self.publications.len()),
            ("watchers", self.watchers.len()),
            ("notifications", self.notifies.len()),
        ]
    }
}

/// Why a request is refused.
struct Refused {
    status: u16,
    clause: Clause,
    why: String,
    headers: Vec<(HeaderName, String)>,
}

impl Refused {
    fn new(status: u16, clause: Clause, why: impl Into<String>) -> Self {
        Self { status, clause, why: why.into(), headers: Vec::new() }
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a PUBLISH wants (RFC 3903 §4, table 1).
enum Change {
    Initial,
    Refresh(String),
    Modify(String),
    Remove(String),
}

/// A PUBLISH that may be done.
struct Order {
    of: String,
    change: Change,
    seconds: u32,
}

impl AppServer {
    /// A request outside a dialog for a presence server.
    pub(super) fn on_presence(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let done = match incoming.request.method {
            Method::Publish => self.publish(env, incoming, out),
            Method::Subscribe => self.watch(env, incoming, out),
            Method::Options => {
                let mut response = incoming.request.reply(200);
                response.headers.push(HeaderName::Allow, ALLOW);
                response.headers.push(HeaderName::AllowEvents, PACKAGE);
                self.answer(incoming, response, out);
                Ok(())
            }
            ref other => {
                Err(Refused::new(405, rfc3856("6"), format!("{other} is not for presence"))
                    .with(HeaderName::Allow, ALLOW))
            }
        };
        if let Err(refused) = done {
            self.refuse_event(env, incoming, refused, out);
        }
    }

    fn refuse_event(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        refused: Refused,
        out: &mut Actions<ServerTimer>,
    ) {
        let Refused { status, clause, why, headers } = refused;
        env.refuse(clause, || format!("{status}: {why}"));
        out.push(Action::State(format!("refused {} {status}", incoming.request.method)));
        let mut response = incoming.request.reply(status);
        for (name, value) in headers {
            response.headers.push(name, &value);
        }
        self.answer(incoming, response, out);
    }

    /// The user whose presence a request is about (RFC 3903 §6 step 1).
    fn presentity(&self, request: &Request) -> Result<String, Refused> {
        let key = key_of(&request.request_uri);
        let known = key.and_then(|key| Some(self.people.with_key(&key)?.into_owned()));
        known.ok_or_else(|| {
            let why = format!("{} is nobody whose presence is kept here", request.request_uri);
            Refused::new(404, rfc3903("6"), why)
        })
    }

    /// The interval of a request: not above the longest, and positive ones not below the shortest
    /// (RFC 3903 §6 step 4, RFC 6665 §4.2.1.1).
    fn interval(&self, request: &Request, clause: Clause) -> Result<u32, Refused> {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let (least, most) = (seconds(self.config.expires_min), seconds(self.config.expires_max));
        let asked = request.expires().unwrap_or(USUAL);
        if asked > 0 && asked < least && asked < USUAL {
            let why = format!("{asked} s are too brief, at least {least} s");
            return Err(
                Refused::new(423, clause, why).with(HeaderName::MinExpires, least.to_string())
            );
        }
        Ok(asked.min(most))
    }

    /// The status of the event package of a request.
    fn package(request: &Request, clause: Clause) -> Result<(), Refused> {
        let event = request.headers.get(HeaderName::Event).map(Event::parse);
        match event {
            Some(Ok(event)) if event.token.eq_ignore_ascii_case(PACKAGE) => Ok(()),
            Some(Ok(event)) => {
                let why = format!("the event package {} is not known here", event.token);
                Err(Refused::new(489, clause, why).with(HeaderName::AllowEvents, PACKAGE))
            }
            _ => Err(Refused::new(489, clause, "no readable Event")
                .with(HeaderName::AllowEvents, PACKAGE)),
        }
    }

    /// Checks a PUBLISH in the order of RFC 3903 §6.
    fn order_of(&self, request: &Request) -> Result<Order, Refused> {
        let of = self.presentity(request)?;
        Self::package(request, rfc3903("6"))?;
        let asserted = request.headers.addresses(HeaderName::PAssertedIdentity);
        let mut names = asserted.unwrap_or_default().into_iter();
        let is_user = |it: cscf_core::sip::NameAddr| {
            let key = key_of(&it.uri.to_string());
            key.is_some_and(|key| self.people.with_key(&key).is_some_and(|name| name == of))
        };
        if !names.any(is_user) {
            return Err(Refused::new(403, rfc3903("6"), format!("only {of} may publish it")));
        }
        let mut tags = request.headers.values(HeaderName::SipIfMatch);
        let (tag, more) = (tags.next().map(str::to_owned), tags.next());
        if more.is_some() {
            return Err(Refused::new(400, rfc3903("6"), "more than one SIP-If-Match"));
        }
        if let Some(tag) = &tag
            && self.presence.publications.get(tag).is_none_or(|it| it.of != of)
        {
            let why = format!("SIP-If-Match {tag} is no entity tag in force");
            return Err(Refused::new(412, rfc3903("6"), why));
        }
        let seconds = self.interval(request, rfc3903("6"))?;
        let change = match (tag, seconds, request.body.is_empty()) {
            (Some(tag), 0, _) => Change::Remove(tag),
            (Some(tag), _, true) => Change::Refresh(tag),
            (Some(tag), _, false) => Change::Modify(tag),
            (None, _, false) => Change::Initial,
            (None, _, true) => {
                return Err(Refused::new(400, rfc3903("6"), "neither a body nor SIP-If-Match"));
            }
        };
        if !request.body.is_empty() {
            readable(request)?;
        }
        if matches!(change, Change::Initial) {
            let own = self.presence.publications.values().filter(|it| it.of == of).count();
            if own >= OF_A_USER_MAX || self.presence.publications.len() >= PUBLICATIONS_MAX {
                return Err(Refused::new(503, rfc3903("6"), "too much is published already"));
            }
        }
        Ok(Order { of, change, seconds })
    }

    fn publish(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) -> Result<(), Refused> {
        let request = &incoming.request;
        let Order { of, change, seconds } = self.order_of(request)?;
        let document = String::from_utf8_lossy(&request.body).into_owned();
        let (old, what) = match &change {
            Change::Initial => (None, "published"),
            Change::Modify(tag) => (Some(tag), "modified"),
            Change::Refresh(tag) => (Some(tag), "refreshed"),
            Change::Remove(tag) => (Some(tag), "removed"),
        };
        let old = old.and_then(|tag| {
            out.push(Action::ClearTimer { timer: ServerTimer::Publication(tag.clone()) });
            self.presence.publications.remove(tag)
        });
        let (document, number) = match (&change, old) {
            (Change::Refresh(_), Some(old)) => (old.document, old.number),
            (_, Some(old)) => (document, old.number),
            (_, None) => {
                self.presence.next = self.presence.next.wrapping_add(1);
                (document, self.presence.next)
            }
        };
        let tag = env.ids.token(8);
        if seconds > 0 {
            let publication = Publication { of: of.clone(), document, number };
            self.presence.publications.insert(tag.clone(), publication);
            let at = env.now + Duration::from_secs(seconds.into());
            out.push(Action::SetTimer { timer: ServerTimer::Publication(tag.clone()), at });
        }
        env.note(rfc3903("6"), || format!("{what}: {of} for {seconds} s, entity tag {tag}"));
        let mut response = request.reply(200);
        response.headers.push(HeaderName::SipEtag, &tag);
        response.headers.push(HeaderName::Expires, &seconds.to_string());
        self.answer(incoming, response, out);
        out.push(Action::State(format!("{what} {of}")));
        if !matches!(change, Change::Refresh(_)) {
            self.tell_watchers(env, &of, out);
        }
        Ok(())
    }

    /// A publication was not refreshed in time (RFC 3903 §6).
    pub(super) fn on_publication_end(
        &mut self,
        env: &mut Env<'_>,
        tag: &str,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(publication) = self.presence.publications.remove(tag) else { return };
        let of = publication.of;
        env.note(rfc3903("6"), || format!("the publication {tag} of {of} has expired"));
        out.push(Action::State(format!("publication expired {of}")));
        self.tell_watchers(env, &of, out);
    }

    /// What is said of a user now.
    fn document_of(&self, of: &str, entity: &str) -> String {
        let mut own: Vec<&Publication> =
            self.presence.publications.values().filter(|it| it.of == of).collect();
        own.sort_by_key(|it| it.number);
        let documents: Vec<&str> = own.iter().map(|it| it.document.as_str()).collect();
        pidf::compose(entity, &documents)
    }
}

/// Whether the document of a PUBLISH can be read (RFC 3903 §6 step 5).
fn readable(request: &Request) -> Result<(), Refused> {
    let kind = request.headers.get(HeaderName::ContentType).map_or("", media_type);
    if !kind.eq_ignore_ascii_case(DOCUMENT) {
        let why = format!("Content-Type {kind:?} is no document of presence");
        return Err(Refused::new(415, rfc3903("6"), why).with(HeaderName::Accept, DOCUMENT));
    }
    if request.body.len() > DOCUMENT_MAX {
        let why = format!("the document is longer than {DOCUMENT_MAX} bytes");
        return Err(Refused::new(413, rfc3903("6"), why));
    }
    pidf::check(&request.body).map_err(|why| Refused::new(400, rfc3903("6"), why))
}

/// The answer that makes or refreshes a subscription.
fn subscribed(request: &Request, tag: &str, contact: &str, seconds: u32) -> Response {
    let mut response = request.reply(200);
    response.set_to_tag(tag);
    response.headers.copy_from(&request.headers, HeaderName::RecordRoute);
    response.headers.push(HeaderName::Contact, &format!("<{contact}>"));
    response.headers.push(HeaderName::Expires, &seconds.to_string());
    response
}

/// Clause of what a subscriber may ask for.
const fn of_subscribe() -> Clause {
    rfc6665("4.2.1")
}
