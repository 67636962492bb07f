//! The subscription to the own registration state (TS 24.229 §5.1.1.3, RFC 3680), and what the UE
//! does when the network ends or shortens the registration (§5.1.1.7, §5.1.1.5.2).

use cscf_core::clause::{rfc3261, rfc3680, rfc6665, ts24229};
use cscf_core::dialog::Dialog;
use cscf_core::role::{Action, Actions, Env, Incoming, OwnAnswered};
use cscf_core::sip::{Event, HeaderName, Method, Request, Response, SubscriptionState};
use cscf_core::time::Duration;
use cscf_core::ua::{Resubscribe, media_type, timer_n};

use super::reginfo::{ContactChange, Reginfo};
use super::registration::Phase;
use super::requests::retry_after;
use super::{Own, Ue, UeTimer};

/// When to subscribe again where the notifier wants a delay and gives none.
const SUBSCRIBE_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The subscription of a UE to its own reg event.
#[derive(Debug)]
pub(super) struct Subscription {
    /// Until the first 2xx: the SUBSCRIBE out.
    request: Request,
    call_id: String,
    tag: String,
    dialog: Option<Dialog>,
    serial: u32,
    challenged: bool,
    /// A 2xx has come.
    told: bool,
    /// The version of the last document taken.
    version: Option<u32>,
}

impl Ue {
    /// Subscribes with a new Call-ID (TS 24.229 §5.1.1.3).
    pub(super) fn subscribe(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let identity = self.identity();
        let mut request = self.initial_request(env.ids, Method::Subscribe, &identity);
        self.dress_subscribe(&mut request);
        let serial = self.subscription.as_ref().map_or(0, |old| old.serial) + 1;
        let subscription = Subscription {
            call_id: request.call_id().unwrap_or_default().to_owned(),
            tag: request.from_tag().unwrap_or_default().to_owned(),
            request,
            dialog: None,
            serial,
            challenged: false,
            told: false,
            version: None,
        };
        self.subscription = Some(subscription);
        self.originate_subscribe(env, out);
    }

    fn dress_subscribe(&self, request: &mut Request) {
        let headers = &mut request.headers;
        headers.push(HeaderName::Contact, &format!("<{}>", self.contact_uri()));
        headers.push(HeaderName::Event, "reg");
        headers.push(HeaderName::Expires, &self.config.expires.as_secs().to_string());
        headers.push(HeaderName::Accept, "application/reginfo+xml");
        self.push_access(headers);
    }

    /// Sends the SUBSCRIBE; from now on a NOTIFY is awaited (RFC 6665 §4.1.2.4).
    fn originate_subscribe(&self, env: &Env<'_>, out: &mut Actions<UeTimer>) {
        let Some(subscription) = &self.subscription else { return };
        let at = env.now + timer_n(self.config.timers.t1);
        out.push(Action::SetTimer { timer: UeTimer::Notify, at });
        self.originate(Own::Subscribe(subscription.serial), &subscription.request, out);
    }

    /// Refreshes the subscription, or makes a new one.
    pub(super) fn on_subscription_timer(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        if !self.registration.is_on() {
            return;
        }
        let Some(mut subscription) = self.subscription.take() else {
            return self.subscribe(env, out);
        };
        let Some(dialog) = &mut subscription.dialog else {
            self.subscription = Some(subscription);
            return self.subscribe(env, out);
        };
        let mut request = dialog.request(Method::Subscribe);
        self.dress_subscribe(&mut request);
        subscription.request = request;
        subscription.serial += 1;
        subscription.challenged = false;
        self.subscription = Some(subscription);
        self.originate_subscribe(env, out);
    }

    pub(super) fn on_subscribe_response(
        &mut self,
        env: &mut Env<'_>,
        serial: u32,
        answered: &OwnAnswered,
        out: &mut Actions<UeTimer>,
    ) {
        let response = &answered.response;
        let current = self.subscription.as_ref().is_some_and(|it| it.serial == serial);
        if !current || response.is_provisional() {
            return;
        }
        if response.is_success() {
            return self.on_subscribed(env, response, out);
        }
        let Some(mut subscription) = self.subscription.take() else { return };
        if matches!(response.status, 401 | 407) && !subscription.challenged {
            subscription.challenged = true;
            if self.authorise(env, &mut subscription.request, response) {
                self.subscription = Some(subscription);
                return self.originate_subscribe(env, out);
            }
        }
        out.push(Action::ClearTimer { timer: UeTimer::Notify });
        out.push(Action::State(format!("subscription failed {}", response.status)));
        let lost = subscription.dialog.is_some() && response.status == 481;
        if lost {
            env.note(rfc6665("4.1.2.2"), || "481: the subscription is gone, a new one".to_owned());
            self.subscribe(env, out);
        } else if let Some(wait) = retry_after(response) {
            let at_once = self.config.mistakes.subscribes_at_once;
            let wait = if at_once { Duration::from_millis(100) } else { wait };
            let at = env.now + wait;
            env.note(ts24229("5.1.1.3"), || format!("Retry-After: subscribes again at {at}"));
            out.push(Action::SetTimer { timer: UeTimer::Subscription, at });
        }
    }

    /// A 2xx: 200, or the 202 of older notifiers (RFC 6665 §4.1.2.1, §8.3.1).
    fn on_subscribed(
        &mut self,
        env: &mut Env<'_>,
        response: &Response,
        out: &mut Actions<UeTimer>,
    ) {
        let Some(subscription) = &mut self.subscription else { return };
        match &mut subscription.dialog {
            Some(dialog) if response.to_tag() == Some(&dialog.id.remote_tag) => {
                dialog.refresh_target(&response.headers);
            }
            // A fork whose NOTIFY came first made the dialog (RFC 6665 §4.4.1).
            Some(_) => {}
            None => match Dialog::at_caller(&subscription.request, response) {
                Ok(dialog) => subscription.dialog = Some(dialog),
                Err(error) => env.refuse(rfc3261("12.1.2"), || format!("no dialog: {error}")),
            },
        }
        let first = !std::mem::replace(&mut subscription.told, true);
        let granted = u64::from(response.expires().unwrap_or(0));
        let granted = Duration::from_secs(granted).min(self.config.expires);
        set_refresh(env, granted, out);
        if first {
            out.push(Action::State("subscribed".to_owned()));
        }
    }

    /// No NOTIFY came in time: there is no subscription (RFC 6665 §4.1.2.4).
    pub(super) fn on_notify_timer(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        if self.subscription.is_none() {
            return;
        }
        env.refuse(rfc6665("4.1.2.4"), || {
            "timer N: SUBSCRIBE was not followed by NOTIFY, the subscription has failed".to_owned()
        });
        self.end_subscription(out);
        out.push(Action::State("subscription failed without NOTIFY".to_owned()));
        if self.config.retries {
            let at = env.now + SUBSCRIBE_AGAIN_AFTER;
            out.push(Action::SetTimer { timer: UeTimer::Subscription, at });
        }
    }

    /// Forgets the subscription and its timers.
    pub(super) fn end_subscription(&mut self, out: &mut Actions<UeTimer>) {
        self.subscription = None;
        out.push(Action::ClearTimer { timer: UeTimer::Subscription });
        out.push(Action::ClearTimer { timer: UeTimer::Notify });
    }

    /// Whether this NOTIFY belongs to our subscription; its dialog may not be known yet, when
    /// NOTIFY overtakes the 200 (RFC 6665 §4.1.2.4).
    pub(super) fn is_own_notify(&self, request: &Request) -> bool {
        request.method == Method::Notify
            && self.subscription.as_ref().is_some_and(|subscription| {
                request.call_id() == Some(&subscription.call_id)
                    && request.to_tag() == Some(&subscription.tag)
            })
    }

    /// A NOTIFY of our subscription: answered first, acted on then.
    pub(super) fn on_notify(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<UeTimer>,
    ) {
        let request = &incoming.request;
        let event = request.headers.get(HeaderName::Event).map(Event::parse);
        if !event.is_some_and(|event| event.is_ok_and(|event| event.token == "reg")) {
            env.refuse(rfc6665("8.2.1"), || "NOTIFY of an event never subscribed to".to_owned());
            return self.reply(incoming, request.reply(489), out);
        }
        // Without a state nobody knows whether it goes on (RFC 6665 §4.1.3, §8.2.3).
        let state = request.headers.get(HeaderName::SubscriptionState);
        let Some(Ok(state)) = state.map(SubscriptionState::parse) else {
            env.refuse(rfc6665("4.1.3"), || "NOTIFY without a Subscription-State".to_owned());
            return self.reply(incoming, request.reply(400), out);
        };
        let order = self.take_notify(env, request);
        if let Err(status) = order {
            return self.reply(incoming, request.reply(status), out);
        }
        self.reply(incoming, request.reply(200), out);
        out.push(Action::ClearTimer { timer: UeTimer::Notify });
        let ended = state.token.eq_ignore_ascii_case("terminated");
        if ended {
            self.end_subscription(out);
        }
        let kind = request.headers.get(HeaderName::ContentType).map_or("", media_type);
        if kind.eq_ignore_ascii_case("application/reginfo+xml") {
            self.on_reginfo(env, &request.body, out);
        }
        // If the document ended the registration, or began a new one, nothing is left to be done.
        if ended && self.registration.is_on() && self.subscription.is_none() {
            self.subscribe_after_end(env, &state, out);
        }
    }

    /// Finds the dialog of a NOTIFY, or makes it; the status to refuse it with otherwise.
    fn take_notify(&mut self, env: &mut Env<'_>, notify: &Request) -> Result<(), u16> {
        let Some(subscription) = &mut self.subscription else { return Err(481) };
        if subscription.dialog.is_none() {
            match Dialog::at_subscriber(&subscription.request, notify) {
                Ok(dialog) => subscription.dialog = Some(dialog),
                Err(error) => {
                    env.refuse(rfc6665("4.4.1"), || format!("NOTIFY makes no dialog: {error}"));
                    return Err(400);
                }
            }
        }
        let Some(dialog) = &mut subscription.dialog else { return Err(481) };
        if notify.from_tag() != Some(&dialog.id.remote_tag) {
            // The reg package has one dialog for each SUBSCRIBE (RFC 3680 §4.9).
            env.refuse(rfc6665("4.4.1"), || "NOTIFY of a second notifier: 481".to_owned());
            return Err(481);
        }
        if let Err(order) = dialog.take_cseq(notify) {
            env.refuse(rfc3261("12.2.2"), || order.to_string());
            return Err(500);
        }
        dialog.refresh_target(&notify.headers);
        Ok(())
    }

    /// The notifier ended the subscription: subscribes again as its reason says.
    fn subscribe_after_end(
        &mut self,
        env: &mut Env<'_>,
        state: &SubscriptionState,
        out: &mut Actions<UeTimer>,
    ) {
        let reason = state.reason();
        let wait = state.param("retry-after").and_then(|text| text.parse().ok());
        let wait = wait.map(Duration::from_secs);
        let after = Resubscribe::after(reason, wait, SUBSCRIBE_AGAIN_AFTER);
        let what = reason.unwrap_or("no reason");
        match after {
            Resubscribe::Never => {
                env.note(rfc6665("4.1.3"), || format!("{what}: does not subscribe again"));
            }
            Resubscribe::May(wait) | Resubscribe::Must(wait) if wait.is_zero() => {
                env.note(rfc6665("4.1.3"), || format!("{what}: subscribes again at once"));
                self.subscribe(env, out);
            }
            Resubscribe::May(wait) | Resubscribe::Must(wait) => {
                let at = env.now + wait;
                env.note(rfc6665("4.1.3"), || format!("{what}: subscribes again at {at}"));
                out.push(Action::SetTimer { timer: UeTimer::Subscription, at });
            }
        }
    }

    fn on_reginfo(&mut self, env: &mut Env<'_>, body: &[u8], out: &mut Actions<UeTimer>) {
        let info = match Reginfo::parse(body, |uri| self.is_own_uri_text(uri)) {
            Ok(info) => info,
            Err(error) => {
                env.refuse(ts24229("5.1.1.3"), || format!("reginfo: {error}"));
                return;
            }
        };
        let last = self.subscription.as_mut().and_then(|it| it.version.replace(info.version));
        if let (Some(subscription), Some(last)) = (&mut self.subscription, last) {
            if info.version <= last {
                env.note(ts24229("5.1.1.3"), || "reginfo is older than the last".to_owned());
                subscription.version = Some(last);
                return;
            }
            if !info.full && info.version > last + 1 {
                env.note(rfc3680("5.1"), || {
                    format!("reginfo {} after {last}: asks for the whole state", info.version)
                });
                self.on_subscription_timer(env, out);
            }
        }
        let Some(change) = info.change else { return };
        out.push(Action::State(format!("notified {change}")));
        let stays = matches!(change, ContactChange::Other | ContactChange::Shortened { .. });
        if self.registration.phase == Phase::Ending && !stays {
            // Our own REGISTER ended it; its 200 may come after this NOTIFY.
            env.note(ts24229("5.1.1.6"), || "the end that we asked for".to_owned());
            return;
        }
        match change {
            ContactChange::Shortened { .. } if self.config.mistakes.ignores_shortened => {}
            ContactChange::Shortened { seconds } => {
                let at = env.now + Duration::from_secs(seconds.into()) / 2;
                env.note(ts24229("5.1.1.5.2"), || {
                    format!("the network wants us again within {seconds} s: registers at {at}")
                });
                self.registration.expires_at = Some(env.now + Duration::from_secs(seconds.into()));
                out.push(Action::SetTimer { timer: UeTimer::Register, at });
            }
            ContactChange::Other => {}
            ContactChange::Deactivated => {
                env.note(ts24229("5.1.1.7"), || "deactivated: registers anew at once".to_owned());
                self.end_by_network(env, out);
                if !self.config.mistakes.stays_away {
                    let expires = self.config.expires;
                    self.register(env, expires, out);
                }
            }
            ContactChange::Probation { retry_after } => {
                self.end_by_network(env, out);
                let at = env.now + Duration::from_secs(retry_after.into());
                env.note(ts24229("5.1.1.7"), || format!("on probation: registers at {at}"));
                out.push(Action::SetTimer { timer: UeTimer::Register, at });
            }
            ContactChange::Ended => {
                env.note(ts24229("5.1.1.7"), || "the network ended the registration".to_owned());
                self.end_by_network(env, out);
                if self.config.mistakes.comes_back {
                    let expires = self.config.expires;
                    self.register(env, expires, out);
                }
            }
        }
    }

    fn end_by_network(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        self.hang_up_all(env, out);
        self.registration_gone("deregistered by network", out);
    }
}

/// Refreshed as the registration is: 600 s before the end, else at half time.
fn set_refresh(env: &Env<'_>, granted: Duration, out: &mut Actions<UeTimer>) {
    if !granted.is_zero() {
        let at = env.now + super::answers::refresh_after(granted);
        out.push(Action::SetTimer { timer: UeTimer::Subscription, at });
    }
}
