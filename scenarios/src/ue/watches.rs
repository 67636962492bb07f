//! Subscriptions to the state of others: any event package, as far as RFC 6665 goes for every
//! subscriber. What the notifications say is nobody's business here, and nothing is refreshed: a
//! watch ends with its interval.

use cscf_core::clause::{rfc3261, rfc6665};
use cscf_core::dialog::{Dialog, RouteSet};
use cscf_core::role::{Action, Actions, Env, Incoming, OwnAnswered};
use cscf_core::sip::{Event, HeaderName, Method, Request, SubscriptionState};
use cscf_core::time::Instant;

use super::headers::dialled;
use super::{Own, Ue, UeTimer};

/// Most watches of a UE.
const WATCHES_MAX: usize = 16;
/// The state of a SUBSCRIBE that was refused.
const FAILED: &str = "subscription failed";
/// Most notifiers of one watch.
const NOTIFIERS_MAX: usize = 16;
/// The interval asked for, in seconds.
const INTERVAL: u32 = 3600;
/// Timer N in units of T1 (RFC 6665 §4.1.2.4).
const NOTIFY_AWAITED: u32 = 64;

/// A subscription to somebody's state.
#[derive(Debug)]
pub(super) struct Watch {
    request: Request,
    /// One for each notifier that a forked SUBSCRIBE has reached and that is accepted.
    dialogs: Vec<Dialog>,
    /// Until when NOTIFY may make a dialog (timer N).
    until: Instant,
}

impl Watch {
    /// Whether one more notifier may have a dialog: any of a package that has several, the first of
    /// all others (RFC 6665 §4.4.1; RFC 4235 §3.9, RFC 3856 §6.9).
    fn takes_another(&self, now: Instant) -> bool {
        let event = self.request.headers.get(HeaderName::Event).map(Event::parse);
        let several = event.is_some_and(|event| event.is_ok_and(|event| event.token == "dialog"));
        let room = if several { NOTIFIERS_MAX } else { 1 };
        self.dialogs.len() < room && now < self.until
    }

    /// Whether it is of a REFER.
    fn is_transfer(&self) -> bool {
        self.request.method == Method::Refer
    }

    fn dialog_with(&mut self, tag: Option<&str>) -> Option<&mut Dialog> {
        self.dialogs.iter_mut().find(|dialog| Some(dialog.id.remote_tag.as_str()) == tag)
    }
}

impl Ue {
    /// Subscribes to an event of somebody.
    pub(super) fn watch(
        &mut self,
        env: &mut Env<'_>,
        target: &str,
        event: &str,
        out: &mut Actions<UeTimer>,
    ) {
        let target = dialled(target, &self.config.domain);
        let mut request = self.initial_request(env.ids, Method::Subscribe, &target);
        let headers = &mut request.headers;
        headers.push(HeaderName::Contact, &self.session_contact());
        headers.push(HeaderName::Event, event);
        headers.push(HeaderName::Expires, &INTERVAL.to_string());
        if event == "presence" {
            headers.push(HeaderName::Accept, "application/pidf+xml");
        }
        self.watch_request(env, request, out);
    }

    /// Sends a request that makes a subscription: SUBSCRIBE, or REFER (RFC 3515 §2.4.4).
    pub(super) fn watch_request(
        &mut self,
        env: &Env<'_>,
        request: Request,
        out: &mut Actions<UeTimer>,
    ) {
        if self.watches.len() >= WATCHES_MAX {
            let _ = self.watches.pop_first();
        }
        self.next_pending = self.next_pending.wrapping_add(1);
        let number = self.next_pending;
        self.originate(Own::Watch(number), &request, out);
        let until = env.now + self.config.timers.t1 * NOTIFY_AWAITED;
        self.watches.insert(number, Watch { request, dialogs: Vec::new(), until });
    }

    /// Ends the subscriptions to an event of somebody (RFC 6665 §4.1.2.3); each is over with its
    /// last NOTIFY.
    pub(super) fn unwatch(
        &mut self,
        env: &mut Env<'_>,
        target: &str,
        event: &str,
        out: &mut Actions<UeTimer>,
    ) {
        let target = dialled(target, &self.config.domain);
        let contact = self.session_contact();
        let mut requests = Vec::new();
        for (number, watch) in &mut self.watches {
            let named = watch.request.headers.get(HeaderName::Event) == Some(event);
            if !named || watch.request.request_uri != target {
                continue;
            }
            for dialog in &mut watch.dialogs {
                let mut request = dialog.request(Method::Subscribe);
                request.headers.push(HeaderName::Contact, &contact);
                request.headers.push(HeaderName::Event, event);
                request.headers.push(HeaderName::Expires, "0");
                requests.push((*number, request));
            }
        }
        if requests.is_empty() {
            env.refuse(rfc6665("4.1.2.3"), || "there is no such subscription".to_owned());
            out.push(Action::State("no subscription".to_owned()));
        }
        for (number, mut request) in requests {
            self.push_access(&mut request.headers);
            self.originate(Own::Watch(number), &request, out);
        }
    }

    pub(super) fn on_watch_response(
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
        if !response.is_success() {
            if let Some(watch) = self.watches.remove(&number) {
                let what = if watch.is_transfer() { "transfer refused" } else { FAILED };
                out.push(Action::State(format!("{what} {}", response.status)));
            }
            return;
        }
        let Some(watch) = self.watches.get_mut(&number) else { return };
        let transfer = watch.is_transfer();
        if let Some(dialog) = watch.dialog_with(response.to_tag()) {
            dialog.refresh_target(&response.headers);
            // A NOTIFY that was first may have come without the proxies in its Record-Route.
            if dialog.routes.is_empty() {
                dialog.routes = RouteSet::of_response(&response.headers);
            }
        } else if watch.takes_another(env.now) {
            match Dialog::at_caller(&watch.request, response) {
                Ok(dialog) => watch.dialogs.push(dialog),
                Err(error) => env.refuse(rfc3261("12.1.2"), || format!("no dialog: {error}")),
            }
        }
        let state = if transfer { "transfer accepted" } else { "subscribed" };
        out.push(Action::State(state.to_owned()));
    }

    /// The watch a NOTIFY belongs to.
    fn watch_of(&self, notify: &Request) -> Option<u32> {
        let fits = |watch: &Watch| {
            notify.call_id() == watch.request.call_id()
                && notify.to_tag() == watch.request.from_tag()
        };
        self.watches.iter().find(|(_, watch)| fits(watch)).map(|(number, _)| *number)
    }

    /// Whether this NOTIFY belongs to a watch.
    pub(super) fn is_watch_notify(&self, request: &Request) -> bool {
        request.method == Method::Notify && self.watch_of(request).is_some()
    }

    /// A NOTIFY of a watch.
    pub(super) fn on_watch_notify(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<UeTimer>,
    ) {
        let request = &incoming.request;
        let watched = self.watch_of(request).and_then(|number| self.watches.get(&number));
        let refer = watched.filter(|watch| watch.is_transfer()).map(|watch| watch.request.clone());
        let taken = self.take_watch_notify(env, request);
        let status = taken.as_ref().map_or_else(|status| *status, |_| 200);
        self.reply(incoming, request.reply(status), out);
        match (taken, refer) {
            (Ok(_), Some(refer)) => self.heed_outside(env, &refer, request, out),
            (Ok(token), None) => out.push(Action::State(format!("event {token}"))),
            (Err(_), _) => {}
        }
    }

    /// Takes a NOTIFY into its dialog, or makes the dialog: what state it tells, else the status to
    /// refuse it with.
    fn take_watch_notify(&mut self, env: &mut Env<'_>, notify: &Request) -> Result<String, u16> {
        let number = self.watch_of(notify).ok_or(481_u16)?;
        let watch = self.watches.get_mut(&number).ok_or(481_u16)?;
        let state = notify.headers.get(HeaderName::SubscriptionState);
        let Some(Ok(state)) = state.map(SubscriptionState::parse) else {
            env.refuse(rfc6665("4.1.3"), || "NOTIFY without a Subscription-State".to_owned());
            return Err(400);
        };
        if watch.dialog_with(notify.from_tag()).is_none() {
            if !watch.takes_another(env.now) {
                env.refuse(rfc6665("4.4.1"), || {
                    "NOTIFY of a notifier too many, or too late: 481".to_owned()
                });
                return Err(481);
            }
            let dialog = Dialog::at_subscriber(&watch.request, notify).map_err(|error| {
                env.refuse(rfc6665("4.4.1"), || format!("NOTIFY makes no dialog: {error}"));
                400_u16
            })?;
            watch.dialogs.push(dialog);
        }
        let dialog = watch.dialog_with(notify.from_tag()).ok_or(481_u16)?;
        dialog.take_cseq(notify).map_err(|order| {
            env.refuse(rfc3261("12.2.2"), || order.to_string());
            500_u16
        })?;
        dialog.refresh_target(&notify.headers);
        if state.token.eq_ignore_ascii_case("terminated") {
            let tag = notify.from_tag().unwrap_or_default().to_owned();
            watch.dialogs.retain(|dialog| dialog.id.remote_tag != tag);
            if watch.dialogs.is_empty() {
                self.watches.remove(&number);
            }
        }
        Ok(state.token)
    }
}
