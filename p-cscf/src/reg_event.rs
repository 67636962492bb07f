//! The P-CSCF's own subscription to the reg event of its users (TS 24.229 §5.2.3, §5.2.5.2): one
//! per private identity and implicit registration set, so that it hears when the network ends or
//! shortens a registration.

use std::collections::BTreeMap;

use cscf_core::clause::{rfc3261, rfc6665, ts24229};
use cscf_core::dialog::Dialog;
use cscf_core::role::{Action, Actions, Cause, Env, Incoming, NextHop, OwnAnswered, OwnTag, Side};
use cscf_core::sip::{HeaderName, Headers, Method, Request, reason_phrase};
use cscf_core::time::{Duration, Instant};

use crate::bindings::{Registration, Ue};
use crate::identity::Identity;
use crate::reginfo::{Reginfo, RegistrationInfo};
use crate::shards::Told;
use crate::tokens::{self, SubscriptionId, Token, UeId};
use crate::{Pcscf, Timer, charging, edit};

/// How much longer than the registration the subscription shall last.
const LONGER: Duration = Duration::from_secs(600);
/// How long the last NOTIFY may be on its way after the end: 64 × T1.
const LINGER: Duration = Duration::from_secs(32);

/// Whose registration a subscription is about: private identity, key of the default public one.
type Subject = (Box<str>, Box<str>);

/// One subscription.
#[derive(Debug)]
struct Subscription {
    subject: Subject,
    call_id: String,
    tag: String,
    /// The first SUBSCRIBE, until its answer makes the dialog.
    request: Option<Box<Request>>,
    dialog: Option<Dialog>,
    icid: Box<str>,
    /// The number of the last document.
    version: Option<u32>,
    expires_at: Instant,
}

/// All subscriptions of this node.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    list: BTreeMap<SubscriptionId, Subscription>,
    by_subject: BTreeMap<Subject, SubscriptionId>,
}

impl Subscriptions {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn remove(&mut self, id: SubscriptionId) -> Option<Subscription> {
        let subscription = self.list.remove(&id)?;
        if self.by_subject.get(&subscription.subject) == Some(&id) {
            self.by_subject.remove(&subscription.subject);
        }
        Some(subscription)
    }
}

impl Pcscf {
    /// After a registration: subscribes if nobody of this set is subscribed to yet
    /// (TS 24.229 §5.2.3). Without an identity that is not barred there is nothing to ask for.
    pub(crate) fn subscribe_if_new(
        &mut self,
        env: &mut Env<'_>,
        ue: UeId,
        aor: &str,
        out: &mut Actions<Timer>,
    ) {
        if !self.config.reg_event_subscription {
            return;
        }
        let Some(record) = self.bindings.get(ue) else { return };
        let registration = record.registrations.iter().find(|it| *it.aor == *aor);
        let Some(registration) = registration else { return };
        let Some(default) = registration.associated.first() else { return };
        let subject = (record.association.impi.clone(), (*default.key).into());
        if self.subscriptions.by_subject.contains_key(&subject) {
            return;
        }
        let lasts = registration.expires_at.since(env.now) + LONGER;
        let uri = default.uri.to_string();
        self.subscribe(env, subject, &uri, lasts, out);
    }

    fn subscribe(
        &mut self,
        env: &mut Env<'_>,
        subject: Subject,
        uri: &str,
        lasts: Duration,
        out: &mut Actions<Timer>,
    ) {
        let id = SubscriptionId(tokens::number(env.ids));
        let icid = charging::new_icid(&self.config, env.ids);
        let own = format!("<sip:{}>", self.config.uri);
        let tag = env.ids.tag();
        let call_id = env.ids.call_id(&self.config.charging.generated_at);
        let mut request = Request::new(Method::Subscribe, uri);
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, "70");
        headers.push(HeaderName::From, &format!("{own};tag={tag}"));
        headers.push(HeaderName::To, &format!("<{uri}>"));
        headers.push(HeaderName::CallId, &call_id);
        headers.push(HeaderName::CSeq, "1 SUBSCRIBE");
        headers.push(HeaderName::PAssertedIdentity, &own);
        self.dress(env, headers, (id, &icid), lasts);
        headers.push(HeaderName::ContentLength, "0");
        env.note(ts24229("5.2.3"), || format!("subscribes to the registration of {uri}"));
        let subscription = Subscription {
            subject: subject.clone(),
            call_id,
            tag,
            request: Some(Box::new(request.clone())),
            dialog: None,
            icid,
            version: None,
            expires_at: env.now + lasts,
        };
        self.subscriptions.list.insert(id, subscription);
        self.subscriptions.by_subject.insert(subject, id);
        let entry = self.config.core_entries.first().cloned().unwrap_or_default();
        self.await_notify(env, id, out);
        out.push(originate(id, request, NextHop::Uri(entry)));
    }

    /// What every SUBSCRIBE of ours carries.
    fn dress(
        &self,
        env: &Env<'_>,
        headers: &mut Headers,
        (id, icid): (SubscriptionId, &str),
        lasts: Duration,
    ) {
        let token = Token::Subscription(id).text(env.ids.shard());
        headers.push(HeaderName::Contact, &format!("<sip:{token}@{}>", self.config.uri));
        headers.push(HeaderName::Event, "reg");
        headers.push(HeaderName::Accept, "application/reginfo+xml");
        headers.push(HeaderName::Expires, &lasts.as_secs().to_string());
        let vector = charging::of_request(&self.config, icid);
        headers.push(HeaderName::PChargingVector, &vector);
    }

    /// The answer to a SUBSCRIBE of ours.
    pub(crate) fn subscribe_answered(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut Actions<Timer>,
    ) {
        let id = SubscriptionId(answered.tag.0);
        let response = &answered.response;
        if response.is_provisional() {
            return;
        }
        let Some(subscription) = self.subscriptions.list.get_mut(&id) else { return };
        if response.is_success() && answered.cause == Cause::Received {
            match (&mut subscription.dialog, subscription.request.take()) {
                (None, Some(request)) => match Dialog::at_caller(&request, response) {
                    Ok(dialog) => subscription.dialog = Some(dialog),
                    Err(fault) => env.refuse(rfc3261("12.1.2"), || format!("no dialog: {fault}")),
                },
                (Some(dialog), _) => dialog.refresh_target(&response.headers),
                (None, None) => {}
            }
            let granted = Duration::from_secs(response.expires().unwrap_or(0).into());
            subscription.expires_at = env.now + granted;
            let timer = Timer::Subscription(id);
            out.push(Action::SetTimer { timer, at: env.now + refresh_after(granted) });
            return;
        }
        let status = response.status;
        env.refuse(ts24229("5.2.3"), || format!("the subscription to reg event got {status}"));
        let Some(ended) = self.forget_subscription(id, out) else { return };
        if status == 481 && ended.dialog.is_some() {
            self.subscribe_again(env, ended.subject, out);
        }
    }

    /// Makes a new subscription if the user is still registered.
    fn subscribe_again(&mut self, env: &mut Env<'_>, subject: Subject, out: &mut Actions<Timer>) {
        if let Some((uri, until)) = self.still_registered(&subject) {
            self.subscribe(env, subject, &uri, until.since(env.now) + LONGER, out);
        }
    }

    /// The default identity of the subject and when its last registration ends.
    fn still_registered(&self, (impi, key): &Subject) -> Option<(String, Instant)> {
        self.bindings
            .of_impi(impi)
            .filter_map(|id| self.bindings.get(id))
            .flat_map(|ue| ue.registrations.iter())
            .filter_map(|it| Some((it.associated.first()?, it.expires_at)))
            .filter(|(default, _)| *default.key == **key)
            .max_by_key(|(_, until)| *until)
            .map(|(default, until)| (default.uri.to_string(), until))
    }

    /// Time to refresh, or the end.
    pub(crate) fn on_subscription_timer(
        &mut self,
        env: &mut Env<'_>,
        id: SubscriptionId,
        out: &mut Actions<Timer>,
    ) {
        let Some(subscription) = self.subscriptions.list.get(&id) else { return };
        let end = subscription.expires_at + LINGER;
        if end <= env.now {
            env.note(rfc6665("4.1.2.2"), || "the subscription to reg event is over".to_owned());
            self.forget_subscription(id, out);
            return;
        }
        let until = self.still_registered(&subscription.subject).map(|(_, until)| until);
        let Some(subscription) = self.subscriptions.list.get_mut(&id) else { return };
        out.push(Action::SetTimer { timer: Timer::Subscription(id), at: end });
        // Past its expiry, or without a user, it is left to end.
        if let (Some(dialog), Some(until)) = (&mut subscription.dialog, until)
            && env.now < subscription.expires_at
        {
            let mut request = dialog.request(Method::Subscribe);
            let icid = subscription.icid.clone();
            let own = format!("<sip:{}>", self.config.uri);
            request.headers.push(HeaderName::PAssertedIdentity, &own);
            let lasts = until.since(env.now) + LONGER;
            self.dress(env, &mut request.headers, (id, &icid), lasts);
            env.note(ts24229("5.2.3"), || "refreshes its subscription to reg event".to_owned());
            self.await_notify(env, id, out);
            out.push(originate(id, request, NextHop::AsRouted));
        }
    }

    /// A SUBSCRIBE goes out: a NOTIFY must follow (RFC 6665 §4.1.2.4).
    fn await_notify(&self, env: &Env<'_>, id: SubscriptionId, out: &mut Actions<Timer>) {
        let at = env.now + self.config.notify_awaited;
        out.push(Action::SetTimer { timer: Timer::Notify(id), at });
    }

    /// No NOTIFY came in time: there is no subscription. The next REGISTER of the user makes
    /// another one.
    pub(crate) fn on_notify_timer(
        &mut self,
        env: &mut Env<'_>,
        id: SubscriptionId,
        out: &mut Actions<Timer>,
    ) {
        let Some(failed) = self.forget_subscription(id, out) else { return };
        env.refuse(rfc6665("4.1.2.4"), || {
            let (impi, _) = &failed.subject;
            format!("timer N: no NOTIFY followed the SUBSCRIBE for {impi}, which has failed")
        });
    }

    fn forget_subscription(
        &mut self,
        id: SubscriptionId,
        out: &mut Actions<Timer>,
    ) -> Option<Subscription> {
        let ended = self.subscriptions.remove(id)?;
        out.push(Action::ClearTimer { timer: Timer::Subscription(id) });
        out.push(Action::ClearTimer { timer: Timer::Notify(id) });
        Some(ended)
    }

    /// A request to the Contact of a subscription of ours.
    pub(crate) fn request_to_subscription(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        id: SubscriptionId,
        out: &mut Actions<Timer>,
    ) {
        let request = &incoming.request;
        let call_id = request.call_id().unwrap_or_default();
        let to_tag = request.to_tag().unwrap_or_default();
        let known = self.subscriptions.list.get_mut(&id);
        let known = known.filter(|it| it.call_id == call_id && it.tag == to_tag);
        let Some(subscription) = known else {
            let why = "no such subscription".to_owned();
            return Self::refuse(env, out, incoming, 481, (rfc6665("4.1.3"), why));
        };
        if request.method != Method::Notify {
            let why = "only NOTIFY has a place in this dialog".to_owned();
            return Self::refuse(env, out, incoming, 405, (rfc6665("4.1.3"), why));
        }
        // Before our 200 is there the dialog is not known, and nothing can be out of order.
        if let Some(dialog) = &mut subscription.dialog
            && let Err(fault) = dialog.take_cseq(request)
        {
            let why = fault.to_string();
            return Self::refuse(env, out, incoming, 500, (rfc3261("12.2.2"), why));
        }
        let document = if request.body.is_empty() {
            None
        } else {
            match Reginfo::parse(&request.body) {
                Ok(document) => Some(document),
                Err(fault) => {
                    let why = format!("reginfo: {fault}");
                    return Self::refuse(env, out, incoming, 400, (ts24229("5.2.5.2"), why));
                }
            }
        };
        let response = request.response(200, reason_phrase(200));
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
        out.push(Action::ClearTimer { timer: Timer::Notify(id) });
        let fresh = document.filter(|it| subscription.version.is_none_or(|last| last < it.version));
        let impi = subscription.subject.0.clone();
        if let Some(document) = fresh {
            subscription.version = Some(document.version);
            self.act_on(env, &impi, &document, out);
        }
        self.subscription_state(env, request, id, out);
    }

    /// What Subscription-State says of the subscription itself (RFC 6665 §4.1.3).
    fn subscription_state(
        &mut self,
        env: &mut Env<'_>,
        request: &Request,
        id: SubscriptionId,
        out: &mut Actions<Timer>,
    ) {
        let state = request.headers.get(HeaderName::SubscriptionState).unwrap_or_default();
        let Ok(state) = cscf_core::sip::SubscriptionState::parse(state) else { return };
        if !state.token.eq_ignore_ascii_case("terminated") {
            return;
        }
        let Some(ended) = self.forget_subscription(id, out) else { return };
        let reason = state.reason().unwrap_or_default().to_ascii_lowercase();
        env.note(rfc6665("4.1.3"), || format!("the subscription to reg event ends: {reason}"));
        // These two say: subscribe again at once; the others say wait, or never.
        if matches!(reason.as_str(), "deactivated" | "timeout") {
            self.subscribe_again(env, ended.subject, out);
        }
    }

    /// Ends and shortens registrations as the document says (TS 24.229 §5.2.5.2).
    fn act_on(
        &mut self,
        env: &mut Env<'_>,
        impi: &str,
        document: &Reginfo,
        out: &mut Actions<Timer>,
    ) {
        let ids: Vec<UeId> = self.bindings.of_impi(impi).collect();
        for id in ids {
            let Some(ue) = self.bindings.get_mut(id) else { continue };
            let shortened = shorten(ue, document, env.now);
            if self.bindings.deregister(id, |it| is_gone(it, document)) {
                env.note(ts24229("5.2.5.2"), || {
                    format!("the network has ended the registration of {impi}")
                });
                self.release_soon(env, id, out);
                self.news.push((None, Told::Deregistered(id)));
                self.after_removal(env, id, out);
            } else if shortened {
                env.note(ts24229("5.2.5.2"), || {
                    format!("the network has shortened the registration of {impi}")
                });
                self.arm_ue(id, out);
            }
        }
    }
}

/// What the document says of the identities of a registration.
fn about<'a>(
    registration: &'a Registration,
    document: &'a Reginfo,
) -> impl Iterator<Item = &'a RegistrationInfo> {
    document.registrations.iter().filter(|info| {
        // In brackets, or what follows a semicolon would be taken for a parameter of the header.
        Identity::read(&format!("<{}>", info.aor)).is_some_and(|identity| {
            registration.aor == identity.key
                || registration.associated.iter().any(|known| known.key == identity.key)
        })
    })
}

/// Whether a registration has ended: all that names its identities is terminated, or all that names
/// its contact.
fn is_gone(registration: &Registration, document: &Reginfo) -> bool {
    let mut named = about(registration, document).peekable();
    if named.peek().is_some() && named.all(|info| info.terminated) {
        return true;
    }
    let mut contacts = about(registration, document)
        .flat_map(|info| info.contacts.iter())
        .filter(|contact| edit::same_uri(&contact.uri, &registration.contact))
        .peekable();
    contacts.peek().is_some() && contacts.all(|contact| contact.terminated)
}

/// Brings the end of registrations forward; says whether any moved.
fn shorten(ue: &mut Ue, document: &Reginfo, now: Instant) -> bool {
    let mut moved = false;
    for registration in &mut ue.registrations {
        let seconds = about(registration, document)
            .flat_map(|info| info.contacts.iter())
            .filter(|contact| edit::same_uri(&contact.uri, &registration.contact))
            .filter_map(|contact| contact.shortened_to)
            .min();
        let Some(seconds) = seconds else { continue };
        let at = now + Duration::from_secs(seconds.into());
        if at < registration.expires_at {
            registration.expires_at = at;
            moved = true;
        }
    }
    moved
}

/// 600 s before the end, or at half time of what lasts 20 minutes or less.
fn refresh_after(granted: Duration) -> Duration {
    if granted > Duration::from_secs(1200) {
        granted - Duration::from_secs(600)
    } else {
        granted / 2
    }
}

fn originate(id: SubscriptionId, request: Request, to: NextHop) -> Action<Timer> {
    Action::Originate {
        tag: OwnTag(id.0),
        request: Box::new(request),
        to,
        within: None,
        side: Side::Core,
    }
}
