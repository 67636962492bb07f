//! The application server emulator (TS 24.229 §5.7): hears by third-party REGISTER who is
//! registered, and follows it by the reg event (§5.7.1.1). What it does with requests of sessions
//! and events is its behaviour, as the lab says: `session` (proxy, refuses, silent), `bridge` (a
//! back-to-back user agent), `agent` (a user agent that plays announcements and calls by itself),
//! `messages` (keeps and delivers them), `presence`, `sms` (an IP-SM-GW with its centre).
//!
//! States told to the trace, for scenarios to wait for (`WHO` the subscriber's name in the lab,
//! else the identity; `N` a status): `registered WHO`, `re-registered WHO`, `deregistered WHO`,
//! `expired WHO`, `refused WHO N`, `silent WHO`; of its reg event `subscribed WHO`,
//! `subscription failed WHO N`, `subscription failed WHO without NOTIFY`, `notified WHO active`,
//! `notified WHO terminated`.

mod agent;
mod bridge;
mod messages;
mod orders;
mod people;
mod presence;
mod session;
mod sms;
mod subscription;

pub use sms::SmsTimer;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::clause::{own, ts24229};
use cscf_core::config::{Lab, NodeConfig, NodeRole, RegisterAnswer, ServerConfig, Start};
use cscf_core::engine::Engine;
use cscf_core::operator::{Order, OrderResult, Workload};
use cscf_core::registrar::identity_key;
use cscf_core::role::{
    Action, Actions, Answered, ContextId, Env, Incoming, OwnAnswered, OwnTag, RequestKind, Role,
};
use cscf_core::sip::{
    ChargingVector, HeaderName, Headers, Ioi, Method, NameAddr, Request, Response, Uri,
};
use cscf_core::time::Duration;
use cscf_core::ua::{Abilities, inspect};

use agent::Agent;
use bridge::Bridges;
use messages::Mailbox;
use people::People;
use presence::Presence;
use sms::Gateway;
use subscription::Subscription;

/// Users that are followed at a time; further ones get 503.
const USERS_MAX: usize = 200_000;
/// What an application server that follows registrations can do.
const ABILITIES: Abilities<'static> = Abilities {
    methods: &[Method::Register, Method::Notify, Method::Options],
    schemes: &["sip"],
    extensions: &[],
    content_types: &[
        "application/3gpp-ims+xml",
        "application/reginfo+xml",
        "message/sip",
        "multipart/mixed",
    ],
    answer_type: "application/sdp",
};

/// As long as a NOTIFY is repeated: 64 times T1 (RFC 3261 §17.1.2.2).
const LAST_NOTIFY: Duration = Duration::from_secs(32);

/// An emulated application server.
#[derive(Debug)]
pub struct AppServer {
    /// Its own SIP URI.
    uri: String,
    domain: String,
    config: ServerConfig,
    trusted: Vec<SocketAddr>,
    /// T1 between network elements.
    t1: Duration,
    /// The subscribers.
    people: People,
    /// Who is registered, by the key of the identity in To.
    users: BTreeMap<String, User>,
    /// SUBSCRIBEs that wait for their answer.
    pending: BTreeMap<OwnTag, String>,
    sent: u64,
    /// The P-Charging-Vector of requests that are passed on.
    calls: BTreeMap<ContextId, ChargingVector>,
    /// Keys of callers that are taken though they hide who they are.
    overriding: Vec<String>,
    /// Whether it takes new work.
    work: Workload,
    /// Where calls go that begin here: an I-CSCF.
    entry: String,
    bridges: Bridges,
    agent: Agent,
    mailbox: Mailbox,
    presence: Presence,
    gateway: Gateway,
}

/// A user that is registered, as far as this server has heard.
#[derive(Debug)]
struct User {
    /// As it stood in To.
    identity: String,
    /// The S-CSCF: where the third-party REGISTER says it is.
    scscf: String,
    subscription: Option<Subscription>,
    /// It is no longer registered; only the last NOTIFY is awaited.
    gone: bool,
}

/// The timers of an application server, each with the key of an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerTimer {
    /// A bridged call was not heard of for long.
    Bridge(u32),
    /// A message is delivered again.
    Deliver(u32),
    /// A registration ends.
    Expiry(String),
    /// No NOTIFY has followed a SUBSCRIBE in time.
    Notify(String),
    /// An announcement is over.
    Played(u32),
    /// A publication ends: its entity tag.
    Publication(String),
    /// A call in the queue is told so again.
    Queued(u32),
    /// A call leaves the queue.
    QueueEnd(u32),
    /// The next deadline of a session of its own.
    Session(u32),
    /// Something about a short message.
    Sms(SmsTimer),
    /// A subscription has to be refreshed.
    Subscription(String),
    /// A subscription to presence ends, or the consent to it comes.
    Watcher(u32),
}

/// An application server of the lab.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn node(lab: &Lab, node: &NodeConfig, start: &Start) -> Result<Engine<AppServer>, String> {
    let role = AppServer::new(lab, node);
    Ok(Engine::new(&node.name, role, lab.settings(node, start)?, start.seed))
}

impl AppServer {
    /// An application server that knows of nobody.
    #[must_use]
    pub fn new(lab: &Lab, node: &NodeConfig) -> Self {
        Self {
            uri: node.sip_uri(),
            domain: lab.domain_of(node).to_owned(),
            config: node.server.clone(),
            trusted: lab.peers_trusted_by(node),
            t1: lab.core_timers.t1,
            people: People::of(lab),
            users: BTreeMap::new(),
            pending: BTreeMap::new(),
            sent: 0,
            calls: BTreeMap::new(),
            overriding: node.server.overriding.iter().filter_map(|it| key_of(it)).collect(),
            work: Workload::NONE,
            entry: lab
                .nodes_of(lab.domain_of(node), NodeRole::Icscf)
                .next()
                .map(NodeConfig::sip_uri)
                .unwrap_or_default(),
            bridges: Bridges::default(),
            agent: Agent::new(node.listen),
            mailbox: Mailbox::default(),
            presence: Presence::default(),
            gateway: Gateway::default(),
        }
    }

    /// A number for a request of our own.
    fn next_tag(&mut self) -> OwnTag {
        self.sent += 1;
        OwnTag(self.sent)
    }

    /// Whether a Route value names this node.
    fn is_our_route(&self, route: &str) -> bool {
        let place = |uri: &Uri| (uri.host().map(str::to_owned), uri.port());
        let ours = Uri::parse(&self.uri).ok();
        let named = NameAddr::parse(route).ok();
        ours.zip(named).is_some_and(|(ours, named)| place(&ours) == place(&named.uri))
    }

    /// The charging vector of a request that leaves: the icid stays, our network is the originating
    /// one of this interface (TS 24.229 §4.5.4, §5.7.1).
    fn charge_request(&self, headers: &mut Headers) {
        if let Ok(Some(mut vector)) = headers.charging_vector() {
            vector.set_term_ioi(None);
            vector.set_orig_ioi(None);
            vector.set_orig_ioi(Some(&Ioi::Type3((&*self.domain).into())));
            headers.set(HeaderName::PChargingVector, &vector.to_string());
        }
    }

    /// The charging vector goes back with our network's identifier (TS 24.229 §4.5.4).
    fn charge_answer(&self, request: &Request, response: &mut Response) {
        if let Ok(Some(mut vector)) = request.headers.charging_vector() {
            vector.set_term_ioi(Some(&Ioi::Type3((&*self.domain).into())));
            response.headers.set(HeaderName::PChargingVector, &vector.to_string());
        }
    }

    /// What it still holds, by name.
    #[must_use]
    pub fn remainders(&self) -> Vec<(&'static str, usize)> {
        let mut all = vec![
            ("followed users", self.users.len()),
            ("subscriptions", self.pending.len()),
            ("requests", self.calls.len()),
            ("messages", self.mailbox.len()),
        ];
        all.extend(self.bridges.remainders());
        all.extend(self.agent.remainders());
        all.extend(self.gateway.remainders());
        all.extend(self.presence.remainders());
        all
    }

    /// The name for states: the subscriber's, else the identity.
    fn name<'a>(&'a self, key: &'a str) -> Cow<'a, str> {
        self.people.with_key(key).unwrap_or(Cow::Borrowed(key))
    }

    /// A third-party REGISTER (TS 24.229 §5.7.1.1).
    fn on_register(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let request = &incoming.request;
        let facts = match self.facts(incoming) {
            Ok(facts) => facts,
            Err((status, why)) => {
                env.refuse(ts24229("5.7.1.1"), || format!("REGISTER answered {status}: {why}"));
                return self.answer(incoming, request.reply(status), out);
            }
        };
        let name = self.name(&facts.key).into_owned();
        let limit = match self.config.register {
            RegisterAnswer::Accepts => facts.expires,
            RegisterAnswer::AcceptsFor(time) => facts.expires.min(time),
            RegisterAnswer::Refuses(status) => {
                env.refuse(own("register"), || format!("is told to answer {status}"));
                out.push(Action::State(format!("refused {name} {status}")));
                return self.answer(incoming, request.reply(status), out);
            }
            RegisterAnswer::Silent => {
                env.refuse(own("register"), || "is told to say nothing".to_owned());
                return out.push(Action::State(format!("silent {name}")));
            }
        };
        let mut response = request.reply(200);
        let secs = limit.as_secs();
        response.headers.push(HeaderName::Contact, &format!("<{}>;expires={secs}", facts.scscf));
        response.headers.push(HeaderName::Expires, &secs.to_string());
        self.answer(incoming, response, out);
        if limit.is_zero() {
            env.note(ts24229("5.7.1.1"), || format!("{} is no longer registered", facts.key));
            self.unreachable_by_sms(&facts.key);
            self.await_last_notify(env, &facts.key, out);
            return out.push(Action::State(format!("deregistered {name}")));
        }
        env.note(ts24229("5.7.1.1"), || {
            format!("{} is registered at {} for {secs} s", facts.identity, facts.scscf)
        });
        if self.users.get(&facts.key).is_some_and(|user| user.gone) {
            self.forget(&facts.key, out);
        }
        let known = self.users.contains_key(&facts.key);
        let Facts { key, identity, scscf, .. } = facts;
        let user = self.users.entry(key.clone()).or_insert_with(|| User {
            identity,
            scscf: String::new(),
            subscription: None,
            gone: false,
        });
        user.scscf = scscf;
        let at = env.now + limit;
        out.push(Action::SetTimer { timer: ServerTimer::Expiry(key.clone()), at });
        self.reachable_by_sms(env, &key, incoming, out);
        let what = if known { "re-registered" } else { "registered" };
        out.push(Action::State(format!("{what} {name}")));
        if self.config.reg_event {
            self.follow(env, &key, limit, out);
        }
    }

    fn facts(&self, incoming: &Incoming) -> Result<Facts, (u16, String)> {
        let request = &incoming.request;
        let source = incoming.flow.remote;
        if !self.trusted.contains(&source) {
            return Err((403, format!("{source} is no trusted peer")));
        }
        let to = request.to_addr().map_err(|fault| (400, fault.to_string()))?;
        let identity = to.uri.to_string();
        let key = identity_key(&to.uri).ok_or((400, "To holds no public identity".to_owned()))?;
        let contacts = request.headers.contacts().map_err(|fault| (400, fault.to_string()))?;
        let contact =
            contacts.first().ok_or((400, "no Contact: where is its S-CSCF?".to_owned()))?;
        let expires = contact.expires().or(request.expires()).unwrap_or(3600);
        if expires > 0 && !self.users.contains_key(&key) && self.users.len() >= USERS_MAX {
            return Err((503, format!("{USERS_MAX} users are followed already")));
        }
        let expires = Duration::from_secs(expires.into());
        Ok(Facts { key, identity, scscf: contact.uri.to_string(), expires })
    }

    /// Keeps the subscription of a user that has gone until its last NOTIFY has come, which may be
    /// a repeated one (RFC 6665 §4.4.1), or nobody can repeat it any more.
    fn await_last_notify(&mut self, env: &Env<'_>, key: &str, out: &mut Actions<ServerTimer>) {
        match self.users.get_mut(key) {
            Some(user) if user.subscription.is_some() => {
                user.gone = true;
                let at = env.now + LAST_NOTIFY;
                out.push(Action::SetTimer { timer: ServerTimer::Expiry(key.to_owned()), at });
                let timer = ServerTimer::Subscription(key.to_owned());
                out.push(Action::ClearTimer { timer });
            }
            _ => self.forget(key, out),
        }
    }

    fn forget(&mut self, key: &str, out: &mut Actions<ServerTimer>) {
        self.users.remove(key);
        self.unreachable_by_sms(key);
        out.push(Action::ClearTimer { timer: ServerTimer::Expiry(key.to_owned()) });
        out.push(Action::ClearTimer { timer: ServerTimer::Notify(key.to_owned()) });
        out.push(Action::ClearTimer { timer: ServerTimer::Subscription(key.to_owned()) });
    }

    /// Sends a response, with its charging vector.
    fn answer(&self, incoming: &Incoming, mut response: Response, out: &mut Actions<ServerTimer>) {
        self.charge_answer(&incoming.request, &mut response);
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
    }

    fn on_initial(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let request = &incoming.request;
        // Whatever URI a request of a served user has, it was routed to us.
        if let Err(refusal) = inspect(request, &ABILITIES, |_| true) {
            env.refuse(refusal.clause, || format!("{}: {}", refusal.status, refusal.why));
            return self.answer(incoming, refusal.response(request), out);
        }
        match &request.method {
            Method::Register => self.on_register(env, incoming, out),
            Method::Notify => self.on_notify(env, incoming, out),
            _ => {
                let mut response = request.reply(200);
                response.headers.push(HeaderName::Allow, &ABILITIES.allow());
                response.headers.push(HeaderName::Accept, &ABILITIES.accept());
                self.answer(incoming, response, out);
            }
        }
    }
}

/// What a third-party REGISTER says.
struct Facts {
    key: String,
    identity: String,
    scscf: String,
    expires: Duration,
}

fn key_of(text: &str) -> Option<String> {
    identity_key(&Uri::parse(text).ok()?)
}

impl Role for AppServer {
    type Command = std::convert::Infallible;
    type Timer = ServerTimer;

    fn on_load(&mut self, retry_after: Option<u32>) {
        self.work.measured = retry_after;
    }

    fn on_request(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let Incoming { kind, request: Request { method, .. }, .. } = &incoming;
        if self.is_overloaded(env, &incoming, out) {
            return;
        }
        if incoming.kind != RequestKind::Initial
            && (self.on_bridged(env, &incoming, out)
                || self.on_own_call(env, &incoming, out)
                || self.on_watcher_again(env, &incoming, out))
        {
            return;
        }
        if self.is_of_session(&incoming) {
            return self.in_session(env, incoming, out);
        }
        match (kind, method) {
            (RequestKind::Ack, _) => {}
            (RequestKind::InDialog, Method::Notify) => self.on_notify(env, &incoming, out),
            (RequestKind::InDialog, _) => {
                env.refuse(ts24229("5.7.1.1"), || format!("no dialog for {method}"));
                self.answer(&incoming, incoming.request.reply(481), out);
            }
            (RequestKind::Initial, _) => self.on_initial(env, &incoming, out),
        }
    }

    fn on_own_response(
        &mut self,
        env: &mut Env<'_>,
        answered: OwnAnswered,
        out: &mut Actions<ServerTimer>,
    ) {
        let found = self.on_bridge_response(env, &answered, out)
            || self.on_own_call_response(env, &answered, out)
            || self.on_delivered(env, &answered, out)
            || self.on_short_message_sent(env, &answered, out)
            || self.on_watcher_response(env, &answered, out);
        if !found {
            self.on_subscribe_response(env, &answered, out);
        }
    }

    fn on_timer(&mut self, env: &mut Env<'_>, timer: ServerTimer, out: &mut Actions<ServerTimer>) {
        match timer {
            ServerTimer::Expiry(key) if self.users.get(&key).is_some_and(|user| user.gone) => {
                self.forget(&key, out);
            }
            ServerTimer::Expiry(key) => {
                env.note(ts24229("5.7.1.1"), || format!("{key} was not registered again in time"));
                let name = self.name(&key).into_owned();
                self.forget(&key, out);
                out.push(Action::State(format!("expired {name}")));
            }
            ServerTimer::Bridge(number) => self.on_bridge_idle(env, number, out),
            ServerTimer::Deliver(number) => self.deliver(env, number, out),
            ServerTimer::Notify(key) => self.on_notify_timer(env, &key, out),
            ServerTimer::Played(number) => self.on_played(env, number, out),
            ServerTimer::Publication(tag) => self.on_publication_end(env, &tag, out),
            ServerTimer::Queued(number) => self.on_queued(env, number, out),
            ServerTimer::QueueEnd(number) => self.on_queue_end(env, number, out),
            ServerTimer::Session(number) => self.on_own_call_timer(env, number, out),
            ServerTimer::Sms(timer) => self.on_sms_timer(env, &timer, out),
            ServerTimer::Watcher(number) => self.on_watcher_timer(env, number, out),
            ServerTimer::Subscription(key) => self.refresh(env, &key, out),
        }
    }

    fn on_command(
        &mut self,
        _env: &mut Env<'_>,
        command: Self::Command,
        _out: &mut Actions<ServerTimer>,
    ) {
        match command {}
    }

    fn on_response(
        &mut self,
        _env: &mut Env<'_>,
        answered: Answered,
        out: &mut Actions<ServerTimer>,
    ) {
        self.relay(answered, out);
    }

    fn on_cancel(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        cancel: &Request,
        out: &mut Actions<ServerTimer>,
    ) {
        if self.on_bridge_cancel(env, context, cancel, out)
            || self.on_own_call_cancel(env, context, out)
        {
            return;
        }
        // A proxy cancels what it has passed on.
        let reason = cancel.headers.get(HeaderName::Reason).map(str::to_owned);
        out.push(Action::Cancel { context, reason });
    }

    fn on_order(
        &mut self,
        env: &mut Env<'_>,
        order: &Order,
        out: &mut Actions<ServerTimer>,
    ) -> OrderResult {
        self.obey(env, order, out)
    }

    fn on_context_end(&mut self, context: ContextId) {
        self.calls.remove(&context);
    }

    fn is_proxy(&self) -> bool {
        self.config.behaviour.is_proxy()
    }
}
