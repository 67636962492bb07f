//! Those who follow the presence of a user: SUBSCRIBE, consent, NOTIFY, and the end (RFC 6665 §4.2,
//! RFC 3856 §6).

use cscf_core::clause::{own, rfc3261, rfc3856, rfc6665};
use cscf_core::config::Watchers;
use cscf_core::dialog::{Dialog, DialogId};
use cscf_core::role::{Action, Actions, Env, Incoming, NextHop, OwnAnswered, Side};
use cscf_core::sip::{HeaderName, Method, Request};
use cscf_core::time::{Duration, Instant};
use cscf_core::ua::media_type;

use super::super::{AppServer, ServerTimer};
use super::{DOCUMENT, PACKAGE, Refused, of_subscribe, pidf, subscribed};

/// Subscriptions at a time; further ones get 503.
const WATCHERS_MAX: usize = 100_000;

/// One subscription.
#[derive(Debug)]
pub(super) struct Watcher {
    /// The subscriber's name in the lab.
    of: String,
    /// The identity that was subscribed to.
    entity: String,
    dialog: Dialog,
    /// The value of Event, with its `id`.
    event: String,
    until: Instant,
    consent: Consent,
}

/// Whether a watcher may see what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consent {
    Blocked,
    Given,
    /// It comes then.
    Pending(Instant),
}

/// Why a NOTIFY is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    No,
    TimedOut,
}

impl AppServer {
    /// A SUBSCRIBE outside a dialog.
    pub(super) fn watch(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) -> Result<(), Refused> {
        let request = &incoming.request;
        Self::package(request, of_subscribe())?;
        let of = self.presentity(request)?;
        readable_by(request)?;
        let seconds = self.interval(request, of_subscribe())?;
        let consent = match self.config.watchers {
            Watchers::Allowed => Consent::Given,
            Watchers::Blocked => Consent::Blocked,
            Watchers::Pending(time) => Consent::Pending(env.now + time),
            Watchers::Refused => {
                let why = format!("{of} lets nobody follow");
                return Err(Refused::new(403, rfc3856("6.6"), why));
            }
        };
        if self.presence.watchers.len() >= WATCHERS_MAX {
            return Err(Refused::new(503, own("limits"), format!("{WATCHERS_MAX} watchers")));
        }
        let tag = env.ids.tag();
        let dialog = Dialog::at_callee(request, &tag)
            .map_err(|fault| Refused::new(400, rfc3261("12.1.1"), fault.to_string()))?;
        env.note(rfc6665("4.2.1"), || format!("{of} is followed for {seconds} s"));
        self.answer(incoming, subscribed(request, &tag, &self.uri, seconds), out);
        self.presence.next = self.presence.next.wrapping_add(1);
        let number = self.presence.next;
        self.presence.dialogs.insert(dialog.id.clone(), number);
        let event = request.headers.get(HeaderName::Event).unwrap_or(PACKAGE).to_owned();
        let until = env.now + Duration::from_secs(seconds.into());
        let entity = request.request_uri.to_string();
        let watcher = Watcher { of, entity, dialog, event, until, consent };
        self.presence.watchers.insert(number, watcher);
        self.settle_watcher(env, number, seconds, out);
        Ok(())
    }

    /// A request inside the dialog of a subscription; says whether it is one.
    pub(in super::super) fn on_watcher_again(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let request = &incoming.request;
        let id = DialogId::of_request(request);
        let Some(number) = self.presence.dialogs.get(&id).copied() else { return false };
        if let Err(refused) = self.refresh_watcher(env, number, incoming, out) {
            self.refuse_event(env, incoming, refused, out);
        }
        true
    }

    fn refresh_watcher(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) -> Result<(), Refused> {
        let request = &incoming.request;
        if request.method != Method::Subscribe {
            let why = format!("{} has no place in a subscription", request.method);
            return Err(
                Refused::new(405, of_subscribe(), why).with(HeaderName::Allow, super::ALLOW)
            );
        }
        Self::package(request, of_subscribe())?;
        let seconds = self.interval(request, of_subscribe())?;
        let Some(watcher) = self.presence.watchers.get_mut(&number) else {
            return Err(Refused::new(481, of_subscribe(), "the subscription is over"));
        };
        watcher
            .dialog
            .take_cseq(request)
            .map_err(|order| Refused::new(500, rfc3261("12.2.2"), order.to_string()))?;
        watcher.dialog.refresh_target(&request.headers);
        watcher.until = env.now + Duration::from_secs(seconds.into());
        let tag = watcher.dialog.id.local_tag.clone();
        env.note(rfc6665("4.2.1.2"), || format!("followed for {seconds} s more"));
        self.answer(incoming, subscribed(request, &tag, &self.uri, seconds), out);
        self.settle_watcher(env, number, seconds, out);
        Ok(())
    }

    /// What follows each SUBSCRIBE: NOTIFY at once, and the next deadline.
    fn settle_watcher(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        seconds: u32,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(watcher) = self.presence.watchers.get(&number) else { return };
        if seconds == 0 {
            return self.end_watcher(env, number, out);
        }
        let state = match watcher.consent {
            Consent::Blocked => "blocked",
            Consent::Given => "active",
            Consent::Pending(_) => "pending",
        };
        out.push(Action::State(format!("watcher of {} {state}", watcher.of)));
        let at = match watcher.consent {
            Consent::Pending(at) => at.min(watcher.until),
            Consent::Blocked | Consent::Given => watcher.until,
        };
        self.notify(env, number, Last::No, out);
        out.push(Action::SetTimer { timer: ServerTimer::Watcher(number), at });
    }

    /// The consent has come, or the time is over.
    pub(in super::super) fn on_watcher_timer(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(watcher) = self.presence.watchers.get_mut(&number) else { return };
        if watcher.until <= env.now {
            return self.end_watcher(env, number, out);
        }
        watcher.consent = Consent::Given;
        let (of, until) = (watcher.of.clone(), watcher.until);
        env.note(rfc3856("6.6"), || format!("{of} agrees to be followed"));
        out.push(Action::State(format!("watcher of {of} active")));
        out.push(Action::SetTimer { timer: ServerTimer::Watcher(number), at: until });
        self.notify(env, number, Last::No, out);
    }

    fn end_watcher(&mut self, env: &mut Env<'_>, number: u32, out: &mut Actions<ServerTimer>) {
        self.notify(env, number, Last::TimedOut, out);
        self.forget_watcher(number, out);
    }

    fn forget_watcher(&mut self, number: u32, out: &mut Actions<ServerTimer>) {
        let Some(watcher) = self.presence.watchers.remove(&number) else { return };
        self.presence.dialogs.remove(&watcher.dialog.id);
        out.push(Action::ClearTimer { timer: ServerTimer::Watcher(number) });
        out.push(Action::State(format!("watcher of {} gone", watcher.of)));
    }

    /// Tells those who follow a user and may know.
    pub(super) fn tell_watchers(
        &mut self,
        env: &mut Env<'_>,
        of: &str,
        out: &mut Actions<ServerTimer>,
    ) {
        let all = self.presence.watchers.iter();
        let told: Vec<u32> = all
            .filter(|(_, it)| it.of == of && it.consent == Consent::Given)
            .map(|(number, _)| *number)
            .collect();
        for number in told {
            self.notify(env, number, Last::No, out);
        }
    }

    fn notify(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        last: Last,
        out: &mut Actions<ServerTimer>,
    ) {
        let tag = self.next_tag();
        let Some(watcher) = self.presence.watchers.get(&number) else { return };
        let document = match watcher.consent {
            Consent::Given => self.document_of(&watcher.of, &watcher.entity),
            Consent::Blocked => pidf::closed(&watcher.entity),
            Consent::Pending(_) => pidf::compose(&watcher.entity, &[]),
        };
        let left = watcher.until.since(env.now).as_secs();
        let state = match (last, watcher.consent) {
            (Last::TimedOut, _) => "terminated;reason=timeout".to_owned(),
            (Last::No, Consent::Pending(_)) => format!("pending;expires={left}"),
            (Last::No, _) => format!("active;expires={left}"),
        };
        env.note(rfc6665("4.2.2"), || format!("NOTIFY {state}"));
        let Some(watcher) = self.presence.watchers.get_mut(&number) else { return };
        let mut request = watcher.dialog.request(Method::Notify);
        let headers = &mut request.headers;
        headers.push(HeaderName::Contact, &format!("<{}>", self.uri));
        headers.push(HeaderName::Event, &watcher.event);
        headers.push(HeaderName::SubscriptionState, &state);
        request.set_body(DOCUMENT, document);
        self.presence.notifies.insert(tag, number);
        out.push(Action::Originate {
            tag,
            request: Box::new(request),
            to: NextHop::AsRouted,
            within: None,
            side: Side::Core,
        });
    }

    /// An answer; says whether it is to a NOTIFY of presence.
    pub(in super::super) fn on_watcher_response(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let Some(number) = self.presence.notifies.get(&answered.tag).copied() else { return false };
        let status = answered.response.status;
        if status < 200 {
            return true;
        }
        self.presence.notifies.remove(&answered.tag);
        // Whoever does not take a NOTIFY is no subscriber any more (RFC 6665 §4.2.2).
        if status >= 300 && self.presence.watchers.contains_key(&number) {
            env.refuse(rfc6665("4.2.2"), || format!("NOTIFY got {status}: the watcher is gone"));
            self.forget_watcher(number, out);
        }
        true
    }
}

/// Whether a subscriber reads what we write (RFC 3856 §6.7).
fn readable_by(request: &Request) -> Result<(), Refused> {
    if !request.headers.contains(HeaderName::Accept) {
        return Ok(());
    }
    let mut ranges = request.headers.values(HeaderName::Accept).map(media_type);
    let known = [DOCUMENT, "application/*", "*/*"];
    if ranges.any(|range| known.iter().any(|it| it.eq_ignore_ascii_case(range))) {
        return Ok(());
    }
    let why = format!("Accept does not take {DOCUMENT}");
    Err(Refused::new(406, rfc3856("6.7"), why).with(HeaderName::Accept, DOCUMENT))
}
