//! The reg event (TS 24.229 §5.4.2.1, RFC 3680, RFC 6665): the S-CSCF as notifier of what happens
//! to a registration.

use std::collections::BTreeMap;
use std::sync::Arc;

use cscf_core::clause::{own, rfc6665, ts24229};
use cscf_core::cx::RestoredSubscription;
use cscf_core::dialog::Dialog;
use cscf_core::registrar::{
    Binding, ContactEvent, PROBATION_FOR, REGINFO_CONTENT_TYPE, ReginfoDocument, WishError,
    identity_key,
};
use cscf_core::role::{Action, Cause, Env, Incoming, NextHop, OwnAnswered, OwnTag, Side};
use cscf_core::sip::{Event, HeaderName, Method, Request, Response, Uri};
use cscf_core::time::{Duration, Instant};

use crate::owner::{ImplicitSet, RegistrationOwner, SetId};
use crate::refusal::Refusal;
use crate::{ScscfActions, Timer, charging};

/// Granted where the subscriber wishes nothing (RFC 3680 §4.4).
const EXPIRES_DEFAULT: u32 = 3761;

/// Responses to NOTIFY that end the subscription (RFC 6665 §4.2.2, RFC 5057 §5.2).
const ENDING: [u16; 13] = [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604];

/// The subscriptions to the reg event.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// By the user part of the Contact that we gave.
    list: BTreeMap<Box<str>, Subscription>,
    by_set: BTreeMap<SetId, Vec<Box<str>>>,
    /// NOTIFYs that wait for their answer.
    sent: BTreeMap<OwnTag, Box<str>>,
    sent_count: u64,
}

#[derive(Debug)]
struct Subscription {
    dialog: Dialog,
    set: SetId,
    event: Event,
    expires_at: Instant,
    version: u32,
    icid: String,
    /// It is the user's own; what made its dialog, for restoration.
    own: Option<RestoredSubscription>,
}

/// A subscription that is taken up again after its state was lost.
pub(crate) struct RestoredDialog {
    pub(crate) dialog: Dialog,
    pub(crate) set: SetId,
    pub(crate) expires_at: Instant,
    /// The number of the next document.
    pub(crate) version: u32,
}

/// Why a subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Deactivated,
    NoResource,
    Probation,
    Rejected,
    Timeout,
}

impl Ending {
    const fn reason(self) -> &'static str {
        match self {
            Self::Deactivated => "deactivated",
            Self::NoResource => "noresource",
            Self::Probation => "probation",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
        }
    }

    /// What the end of the last contact means for the subscription (RFC 3680 §4.7.1).
    fn of(removed: &[Binding]) -> Self {
        match removed.last().map(|binding| binding.event) {
            Some(ContactEvent::Deactivated) => Self::Deactivated,
            Some(ContactEvent::Probation) => Self::Probation,
            Some(ContactEvent::Rejected) => Self::Rejected,
            _ => Self::NoResource,
        }
    }
}

impl Subscriptions {
    pub(crate) const fn new() -> Self {
        Self {
            list: BTreeMap::new(),
            by_set: BTreeMap::new(),
            sent: BTreeMap::new(),
            sent_count: 0,
        }
    }

    /// The number of subscriptions, those that only wait for their last NOTIFY's answer included.
    pub(crate) fn len(&self) -> usize {
        self.list.len() + self.sent.values().filter(|its| !self.list.contains_key(*its)).count()
    }

    /// Forgets the subscriptions to a set without telling the subscribers.
    pub(crate) fn forget(&mut self, set: SetId) {
        for token in self.by_set.remove(&set).unwrap_or_default() {
            self.list.remove(&token);
        }
    }

    fn remove(&mut self, token: &str) -> Option<Subscription> {
        let subscription = self.list.remove(token)?;
        if let Some(tokens) = self.by_set.get_mut(&subscription.set) {
            tokens.retain(|its| **its != *token);
            if tokens.is_empty() {
                self.by_set.remove(&subscription.set);
            }
        }
        Some(subscription)
    }
}

impl RegistrationOwner {
    /// Whether a SUBSCRIBE is meant for this S-CSCF as notifier of the identity in its Request-URI.
    pub(crate) fn is_reg_event(request: &Request) -> bool {
        request.method == Method::Subscribe
            && event(request).is_some_and(|event| event.token.eq_ignore_ascii_case("reg"))
    }

    /// Takes a SUBSCRIBE outside a dialog (TS 24.229 §5.4.2.1.1).
    pub(crate) fn subscribe(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut ScscfActions,
    ) {
        let Incoming { context, request, .. } = incoming;
        let admitted = self.admit(env, &request);
        let (id, expires, dialog) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal.send(env, context, &request, out),
        };
        let token: Box<str> = dialog.id.local_tag.as_str().into();
        let response = self.accepted(&request, &token, expires);
        out.push(Action::Reply { context, response: Box::new(response) });
        let subscription = Subscription {
            dialog,
            set: id,
            event: event(&request).unwrap_or_else(|| Event::new("reg")),
            expires_at: env.now + expires,
            version: 0,
            icid: charging::icid(&request.headers).unwrap_or_else(|| env.ids.token(16)),
            own: None,
        };
        let own = self.own(id, &request, &subscription.dialog);
        let subscription = Subscription { own, ..subscription };
        let user = subscription.own.is_some().then(|| self.user_of(id, &subscription)).flatten();
        self.subscriptions.list.insert(token.clone(), subscription);
        self.subscriptions.by_set.entry(id).or_default().push(token.clone());
        self.after_subscribe(env, &token, expires, out);
        if let Some(impi) = user {
            self.keep(env, id, &impi, out);
        }
    }

    /// What the HSS keeps of the dialog, if the user itself subscribes and restoration is on.
    fn own(&self, id: SetId, request: &Request, dialog: &Dialog) -> Option<RestoredSubscription> {
        let set = self.sets.get(&id).filter(|_| self.config.restoration)?;
        let asserted = request.headers.address(HeaderName::PAssertedIdentity).ok()?;
        let key = identity_key(&asserted.uri)?;
        set.identities.iter().find(|its| *its.key == *key)?;
        let text = |name| {
            let values: Vec<&str> = request.headers.values(name).collect();
            values.join(", ")
        };
        Some(RestoredSubscription {
            call_id: dialog.id.call_id.clone(),
            from: dialog.remote().to_owned(),
            to: dialog.local().to_owned(),
            record_route: text(HeaderName::RecordRoute),
            contact: text(HeaderName::Contact),
        })
    }

    /// The user whose contact a subscription goes to; the only one, else that with this address.
    fn user_of(&self, id: SetId, subscription: &Subscription) -> Option<Arc<str>> {
        let list = self.sets.get(&id)?.bindings.list();
        let target = &subscription.dialog.remote_target;
        let by_address = list.iter().find(|its| its.contact.uri() == *target);
        by_address.or_else(|| list.first()).map(|its| its.impi.clone())
    }

    /// The user's own subscription to a set, as the HSS keeps it.
    pub(crate) fn own_subscription(&self, id: SetId) -> Option<RestoredSubscription> {
        let tokens = self.subscriptions.by_set.get(&id)?.iter();
        let mut list = tokens.filter_map(|token| self.subscriptions.list.get(token));
        list.find_map(|its| its.own.clone())
    }

    /// Takes a subscription up again and tells the state.
    pub(crate) fn restore_subscription(
        &mut self,
        env: &mut Env<'_>,
        token: &str,
        restored: RestoredDialog,
        out: &mut ScscfActions,
    ) {
        let RestoredDialog { dialog, set, expires_at, version } = restored;
        if self.subscriptions.list.contains_key(token) {
            return;
        }
        let (event, icid) = (Event::new("reg"), env.ids.token(16));
        let subscription =
            Subscription { dialog, set, event, expires_at, version, icid, own: None };
        self.subscriptions.list.insert(token.into(), subscription);
        self.subscriptions.by_set.entry(set).or_default().push(token.into());
        self.after_subscribe(env, token, expires_at - env.now, out);
    }

    /// Decides on a SUBSCRIBE outside a dialog and opens its dialog.
    fn admit(
        &self,
        env: &mut Env<'_>,
        request: &Request,
    ) -> Result<(SetId, Duration, Dialog), Refusal> {
        if self.subscriptions.list.len() >= self.config.subscriptions_max {
            let refusal = Refusal::by(503, own("subscriptions_max"), "too many subscriptions");
            return Err(refusal.with(HeaderName::RetryAfter, "60"));
        }
        let key = request.uri().ok().and_then(|uri| identity_key(&uri));
        let id = key.as_deref().and_then(|key| self.set_id(key));
        let set = id.and_then(|id| self.sets.get(&id));
        let (Some(id), Some(set)) = (id, set) else {
            let why = format!("{} is not registered here", request.request_uri);
            return Err(Refusal::new(404, "5.4.2.1.1", why));
        };
        if set.identities.iter().any(|its| Some(&*its.key) == key.as_deref() && its.barred) {
            let why = format!("{} is barred", request.request_uri);
            return Err(Refusal::new(404, "5.4.2.1.1", why));
        }
        let subscriber = subscriber(set, request)?;
        let expires = self.interval(request)?;
        let token = format!("reg-{}", env.ids.token(8));
        let dialog = Dialog::at_callee(request, &token)
            .map_err(|fault| Refusal::by(400, rfc6665("4.2.1"), fault.to_string()))?;
        env.note(ts24229("5.4.2.1.1"), || {
            let secs = expires.as_secs();
            format!(
                "{subscriber} subscribes to the registration of {} for {secs} s",
                key.unwrap_or_default()
            )
        });
        Ok((id, expires, dialog))
    }

    fn interval(&self, request: &Request) -> Result<Duration, Refusal> {
        let asked = request.expires().unwrap_or(EXPIRES_DEFAULT);
        self.config.expiry.grant(Some(asked)).map_err(|fault| {
            let refusal = Refusal::by(423, rfc6665("4.2.1.1"), fault.to_string());
            match fault {
                WishError::TooBrief { min, .. } => {
                    refusal.with(HeaderName::MinExpires, min.to_string())
                }
                _ => refusal,
            }
        })
    }

    /// The 200 to a SUBSCRIBE (RFC 6665 §4.2.1.1).
    fn accepted(&self, request: &Request, token: &str, expires: Duration) -> Response {
        let mut response = request.reply(200);
        response.set_to_tag(token);
        response.headers.copy_from(&request.headers, HeaderName::RecordRoute);
        response.headers.push(HeaderName::Contact, &self.contact_of(token));
        response.headers.push(HeaderName::Expires, &expires.as_secs().to_string());
        let came = charging::vector(&request.headers);
        charging::set_response(
            &mut response.headers,
            came.as_ref(),
            &charging::to_p_cscf(&self.config),
        );
        response
    }

    fn contact_of(&self, token: &str) -> String {
        let (scheme, host) = self.config.uri.split_once(':').unwrap_or(("sip", &self.config.uri));
        format!("<{scheme}:{}@{host}>", self.config.marked(token))
    }

    /// Tells the state at once, as every SUBSCRIBE demands; the last time if it ends the
    /// subscription (RFC 6665 §4.2.1.2, §4.2.1.3).
    fn after_subscribe(
        &mut self,
        env: &mut Env<'_>,
        token: &str,
        expires: Duration,
        out: &mut ScscfActions,
    ) {
        let timer = Timer::Subscription(token.into());
        if expires.is_zero() {
            out.push(Action::ClearTimer { timer });
            self.send_notify(env, token, &[], Some(Ending::Timeout), out);
        } else {
            out.push(Action::SetTimer { timer, at: env.now + expires });
            self.send_notify(env, token, &[], None, out);
        }
    }

    /// Takes a request in a dialog that a SUBSCRIBE opened here.
    pub(crate) fn in_subscription(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut ScscfActions,
    ) {
        let Incoming { context, request, .. } = incoming;
        let token = request.uri().ok();
        let token = token.as_ref().and_then(Uri::user).unwrap_or_default();
        let token = self.config.shard.unmarked(token).to_owned();
        let known = self
            .subscriptions
            .list
            .get_mut(token.as_str())
            .filter(|its| its.dialog.id == cscf_core::dialog::DialogId::of_request(&request));
        let Some(subscription) = known else {
            let refusal = Refusal::by(481, rfc6665("4.1.2.2"), "no such subscription");
            return refusal.send(env, context, &request, out);
        };
        if let Err(fault) = subscription.dialog.take_cseq(&request) {
            let refusal = Refusal::by(500, rfc6665("4.1.2.2"), fault.to_string());
            return refusal.send(env, context, &request, out);
        }
        if request.method != Method::Subscribe {
            let why = format!("{} in a subscription", request.method);
            let refusal = Refusal::by(405, rfc6665("4.2.1"), why);
            let refusal = refusal.with(HeaderName::Allow, "SUBSCRIBE");
            return refusal.send(env, context, &request, out);
        }
        if !Self::is_reg_event(&request) {
            return bad_event().send(env, context, &request, out);
        }
        subscription.dialog.refresh_target(&request.headers);
        let expires = match self.interval(&request) {
            Ok(expires) => expires,
            Err(refusal) => return refusal.send(env, context, &request, out),
        };
        let response = Box::new(self.accepted(&request, &token, expires));
        out.push(Action::Reply { context, response });
        if let Some(subscription) = self.subscriptions.list.get_mut(token.as_str()) {
            subscription.expires_at = env.now + expires;
        }
        self.after_subscribe(env, &token, expires, out);
    }

    /// Tells all subscribers to a set what became of it; with its last contact the subscriptions
    /// end (TS 24.229 §5.4.2.1.2).
    pub(crate) fn notify(
        &mut self,
        env: &mut Env<'_>,
        id: SetId,
        removed: &[Binding],
        out: &mut ScscfActions,
    ) {
        let over = self.sets.get(&id).is_none_or(|set| set.bindings.is_empty());
        let ending = over.then(|| Ending::of(removed));
        for token in self.subscriptions.by_set.get(&id).cloned().unwrap_or_default() {
            if over {
                out.push(Action::ClearTimer { timer: Timer::Subscription(token.clone()) });
            }
            self.send_notify(env, &token, removed, ending, out);
        }
    }

    /// Sends one NOTIFY with the full state (RFC 3680 §4.6, §5); forgets the subscription with the
    /// last one.
    fn send_notify(
        &mut self,
        env: &mut Env<'_>,
        token: &str,
        removed: &[Binding],
        ending: Option<Ending>,
        out: &mut ScscfActions,
    ) {
        let (contact, config) = (self.contact_of(token), Arc::clone(&self.config));
        let ioi = charging::to_p_cscf(&config);
        let Some(subscription) = self.subscriptions.list.get_mut(token) else { return };
        let set = self.sets.get(&subscription.set);
        let active = set.map(|set| set.active(env.now)).unwrap_or_default();
        let identities = set.map(|set| &*set.identities).unwrap_or_default();
        let open: Vec<_> = identities.iter().filter(|identity| identity.is_shown()).collect();
        let document = ReginfoDocument {
            version: subscription.version,
            identities: &open,
            active: &active,
            terminated: removed,
            now: env.now,
        };
        let body = document.to_xml();
        subscription.version = subscription.version.wrapping_add(1);
        let mut request = subscription.dialog.request(Method::Notify);
        let state = match ending {
            None => {
                let left = subscription.expires_at.since(env.now).as_secs();
                format!("active;expires={left}")
            }
            Some(Ending::Probation) => {
                format!("terminated;reason=probation;retry-after={PROBATION_FOR}")
            }
            Some(ending) => format!("terminated;reason={}", ending.reason()),
        };
        request.headers.push(HeaderName::Contact, &contact);
        request.headers.push(HeaderName::Event, &subscription.event.to_string());
        request.headers.push(HeaderName::SubscriptionState, &state);
        charging::set_request(&mut request.headers, &subscription.icid, &ioi);
        request.set_body(REGINFO_CONTENT_TYPE, body);
        env.note(ts24229("5.4.2.1.2"), || {
            format!("tells {} the state ({state})", subscription.dialog.remote_target)
        });
        let subscriptions = &mut self.subscriptions;
        subscriptions.sent_count += 1;
        let tag = OwnTag(subscriptions.sent_count);
        subscriptions.sent.insert(tag, token.into());
        if ending.is_some() {
            subscriptions.remove(token);
        }
        out.push(Action::Originate {
            tag,
            request: Box::new(request),
            to: NextHop::AsRouted,
            within: None,
            side: Side::Core,
        });
    }

    /// The answer to a NOTIFY: some end the subscription (RFC 6665 §4.2.2).
    pub(crate) fn notified(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut ScscfActions,
    ) {
        if answered.response.is_provisional() {
            return;
        }
        let Some(token) = self.subscriptions.sent.remove(&answered.tag) else { return };
        let silent = matches!(answered.cause, Cause::Budget | Cause::Timeout | Cause::Transport);
        let status = answered.response.status;
        if (silent || ENDING.contains(&status)) && self.subscriptions.remove(&token).is_some() {
            env.note(rfc6665("4.2.2"), || format!("NOTIFY got {status}: the subscription is over"));
            out.push(Action::ClearTimer { timer: Timer::Subscription(token) });
        }
    }

    /// The time of a subscription is over (RFC 6665 §4.2.2).
    pub(crate) fn subscription_over(
        &mut self,
        env: &mut Env<'_>,
        token: &str,
        out: &mut ScscfActions,
    ) {
        self.send_notify(env, token, &[], Some(Ending::Timeout), out);
    }
}

/// Who subscribes, if it may: the user itself, a P-CSCF in the Path, an AS of the user
/// (TS 24.229 §5.4.2.1.1).
fn subscriber(set: &ImplicitSet, request: &Request) -> Result<String, Refusal> {
    let asserted = request.headers.addresses(HeaderName::PAssertedIdentity);
    let asserted = asserted.unwrap_or_default();
    for address in &asserted {
        let key = identity_key(&address.uri);
        let user = key.is_some_and(|key| set.has_identity(&key));
        let path = set.bindings.list().iter().flat_map(|binding| binding.path.iter());
        let known = user
            || path.filter_map(|value| uri_of(value)).any(|uri| same_node(&uri, &address.uri))
            || set.servers.iter().any(|uri| same_node(uri, &address.uri));
        if known {
            return Ok(address.uri.to_string());
        }
    }
    let names: Vec<_> = asserted.iter().map(|address| address.uri.to_string()).collect();
    let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    let why = format!("{names}: neither the user, nor its P-CSCF, nor an AS of it");
    Err(Refusal::new(403, "5.4.2.1.1", why))
}

/// The answer to a SUBSCRIBE for an event that this notifier does not have (RFC 6665 §4.2.1).
pub(crate) fn bad_event() -> Refusal {
    Refusal::by(489, rfc6665("4.2.1.3"), "the only event here is reg")
        .with(HeaderName::AllowEvents, "reg")
}

fn event(request: &Request) -> Option<Event> {
    Event::parse(request.headers.get(HeaderName::Event)?).ok()
}

fn uri_of(value: &str) -> Option<Uri> {
    cscf_core::sip::NameAddr::parse(value).ok().map(|address| address.uri)
}

/// Whether two SIP URIs name the same node, whatever their user parts.
fn same_node(a: &Uri, b: &Uri) -> bool {
    let (Some(host), Some(other)) = (a.host(), b.host()) else { return false };
    let port = |uri: &Uri| uri.port().unwrap_or(cscf_core::sip::DEFAULT_PORT);
    cscf_core::sip::host_eq(host, other) && port(a) == port(b)
}
