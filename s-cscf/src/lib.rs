//! The S-CSCF (TS 24.229 §5.4): registrar of its users, notifier of the reg event, and the proxy
//! that serves the caller and the callee of a session.
//!
//! Two parts that share nothing but published snapshots: the registration owner, which alone
//! changes registrations, and the sessions, which read them. Application servers hear of
//! registrations, and take part in sessions, as the filter criteria of the profile say.

mod assign;
mod cause;
mod challenge;
mod changes;
mod charging;
mod config;
mod deregister;
mod dialogs;
mod early;
mod giba;
mod gruu;
mod history;
mod isc;
pub mod lab;
mod media;
mod numbers;
mod operator;
mod originating;
mod outbound;
mod overload;
mod owner;
mod proxy_auth;
mod push;
mod refusal;
mod reg_event;
mod register;
mod restoration;
mod secret;
mod sessions;
mod shards;
mod terminating;
#[cfg(test)]
mod tests;
mod third_party;
mod third_party_body;
mod unregistered;
mod users;
mod within;

use std::collections::BTreeMap;
use std::sync::Arc;

use cscf_core::clause::{own, ts24229};
use cscf_core::cx::{AskId, CxAnswer, CxDemand, DemandId};
use cscf_core::ids::{Seed, ShardId};
use cscf_core::operator::{Order, OrderResult, Samples, Workload};
use cscf_core::registrar::{ContactEvent, Registration, Registrations};
use cscf_core::role::{
    Actions, Answer, Answered, ContextId, Env, Incoming, News, OwnAnswered, RequestKind, Role,
};
use cscf_core::sip::{Method, Request, Uri};
use cscf_core::time::Duration;
use cscf_core::transport::dns::DnsAnswer;

pub use cscf_core::config::HssFailure;

pub use crate::config::{AkaWithoutSecAgree, Config};
use crate::owner::{Job, RegistrationOwner};
use crate::reg_event::bad_event;
use crate::restoration::Waiting;
use crate::sessions::Sessions;
use crate::shards::Asked;

/// An S-CSCF.
#[derive(Debug)]
pub struct Scscf {
    owner: RegistrationOwner,
    sessions: Sessions,
    /// Whether it takes new work.
    work: Workload,
    /// Requests that wait for the owner of the registrations, in another engine of the node.
    asked: BTreeMap<ContextId, Asked>,
}

/// The actions of an S-CSCF.
pub type ScscfActions = Actions<Timer>;

/// The timers of an S-CSCF.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// reg-await-auth of a private identity (TS 24.229 §7.8).
    AwaitAuth(Box<str>),
    /// The next contact of an implicit registration set ends.
    Expiry(u64),
    /// An application server will not have the users of a set, and they have to go.
    ServerFailed(u64),
    /// A session was not refreshed in time; the number of its dialog (RFC 4028 §8).
    Session(u64),
    /// A subscription to the reg event ends.
    Subscription(Box<str>),
    /// The profile of an identity without contacts was kept long enough.
    Unregistered(Box<str>),
    /// An application server that keeps an identity for a shorter time than it is registered has to
    /// be told again: the set, the identity and the server's URI.
    ThirdParty(u64, Box<(Box<str>, Box<str>)>),
}

/// What the operator may order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Takes contacts of a user away: all, or the one with this URI (TS 24.229 §5.4.1.5).
    Deregister {
        /// The private identity.
        impi: String,
        /// One contact only.
        contact: Option<String>,
        /// What the subscribers are told: rejected, deactivated or probation.
        event: ContactEvent,
    },
    /// Loses all data of a user, as a restart would.
    Forget {
        /// The private identity.
        impi: String,
    },
    /// Has a user authenticate anew within this time (TS 24.229 §5.4.1.6).
    Reauthenticate {
        /// The private identity.
        impi: String,
        /// What is left of the time of its contacts.
        within: Duration,
    },
}

impl Scscf {
    /// An S-CSCF with this configuration, nobody registered; `seed` is that of the node.
    #[must_use]
    pub fn new(config: Config, seed: &Seed) -> Self {
        Self::reading(config, Registrations::new(seed))
    }

    /// The part of an S-CSCF that works in one engine of its node, with the registrations that all
    /// of them share: engine 0 changes them, the others read them.
    #[must_use]
    pub fn reading(config: Config, published: Registrations) -> Self {
        let config = Arc::new(config);
        Self {
            owner: RegistrationOwner::new(Arc::clone(&config), published.clone()),
            sessions: Sessions::new(config, published),
            work: Workload::default(),
            asked: BTreeMap::new(),
        }
    }

    /// The registrations as everybody sees them.
    #[must_use]
    pub const fn registrations(&self) -> &Registrations {
        &self.owner.published
    }

    /// What it still holds, by name; all zero when nobody is registered and nothing is going on.
    #[must_use]
    pub fn remainders(&self) -> Vec<(&'static str, usize)> {
        let mut list = self.owner.remainders();
        list.extend(self.sessions.remainders());
        list.push(("requests that wait for the owner", self.asked.len()));
        list
    }

    fn command(&mut self, env: &mut Env<'_>, command: Command, out: &mut ScscfActions) {
        let start = out.len();
        env.note(own("command"), || format!("operator: {command:?}"));
        self.owner.ordered(env, command, out);
        self.settle(env, start, out);
    }

    /// Ends the sessions of users that went; before all else that was to be done since `start`, as
    /// long as their P-CSCF still knows them.
    fn settle(&mut self, env: &mut Env<'_>, start: usize, out: &mut ScscfActions) {
        if self.owner.gone.is_empty() {
            return;
        }
        let mut releases = Vec::new();
        let gone = std::mem::take(&mut self.owner.gone);
        self.tell_gone(&gone, &mut releases);
        for token in gone {
            self.sessions.user_gone(env, &token, &mut releases);
        }
        let start = start.min(out.len());
        out.splice(start..start, releases);
    }

    /// Takes an initial request other than REGISTER: originating by its Service-Route or `orig`,
    /// else terminating (TS 24.229 §5.4.3.1).
    fn initial(&mut self, env: &mut Env<'_>, mut incoming: Incoming, out: &mut ScscfActions) {
        self.sessions.sanitize(env, &mut incoming);
        let route = incoming.own_route.as_deref().and_then(|text| Uri::parse(text).ok());
        let token = route.as_ref().and_then(Uri::user).map(str::to_owned);
        let orig = route.as_ref().is_some_and(|uri| uri.params().has("orig"));
        if self.is_notifier(&incoming, token.as_deref()) {
            return if RegistrationOwner::is_reg_event(&incoming.request) {
                self.owner.subscribe(env, incoming, out);
            } else {
                let Incoming { context, request, .. } = incoming;
                bad_event().send(env, context, &request, out);
            };
        }
        if let Some(odi) = token.as_deref().and_then(|token| self.sessions.odi_of(token)) {
            match self.sessions.returned(env, incoming, odi, out) {
                None => return,
                Some(back) => incoming = back,
            }
        }
        let token = token.filter(|token| self.sessions.odi_of(token).is_none());
        if token.is_some() || orig {
            env.note(ts24229("5.4.3.1"), || "originating: Service-Route or orig".to_owned());
            if let Some(token) = &token
                && self.asks_for_proof(env, &mut incoming, token, out)
            {
                return;
            }
            if let Some(token) = token.as_deref()
                && !self.owner.is_proven(env, &mut incoming, token, out)
            {
                return;
            }
            let key = self.owner.unknown_caller(&incoming).filter(|_| token.is_none());
            if let Some((incoming, set)) = self.with_profile(env, key, incoming, out) {
                self.sessions.originating(env, incoming, (token.as_deref(), set), out);
            }
            return;
        }
        env.note(ts24229("5.4.3.1"), || "terminating: no Service-Route, no orig".to_owned());
        let key = self.owner.unknown_callee(&incoming);
        if let Some((incoming, set)) = self.with_profile(env, key, incoming, out) {
            self.sessions.terminating(env, incoming, set, out);
        }
    }

    /// The request with the set of its user, if that has no contacts; nothing if the HSS has to be
    /// asked first.
    fn with_profile(
        &mut self,
        env: &mut Env<'_>,
        key: Option<Box<str>>,
        incoming: Incoming,
        out: &mut ScscfActions,
    ) -> Option<(Incoming, Option<Arc<Registration>>)> {
        let Some(key) = key else { return Some((incoming, None)) };
        if !self.owner.config.shard.is_owner() {
            self.ask_for_profile(env, key, incoming, out);
            return None;
        }
        if let Some(set) = self.owner.unregistered.get(&key) {
            return Some((incoming, Some(set)));
        }
        let waiting = Waiting::Request(Box::new(incoming), key.clone());
        self.owner.ask_restoration(env, (None, &key), waiting, out);
        None
    }

    /// Goes on with what waited for the data of a user.
    fn restored(
        &mut self,
        env: &mut Env<'_>,
        waiting: Waiting,
        answer: &CxAnswer,
        out: &mut ScscfActions,
    ) {
        let kept = matches!(answer, CxAnswer::Saa(saa) if !saa.restoration.is_empty());
        let restored =
            kept && self.owner.config.restoration && { self.owner.restore(env, answer, out) };
        match waiting {
            Waiting::Register(register) => self.owner.protected(env, *register, false, out),
            Waiting::Request(incoming, key) => {
                let set = match restored {
                    true => None,
                    false => self.owner.serve_unregistered(env, &key, answer, out),
                };
                let route = incoming.own_route.as_deref().and_then(|text| Uri::parse(text).ok());
                if route.is_some_and(|uri| uri.params().has("orig")) {
                    self.sessions.originating(env, *incoming, (None, set), out);
                } else {
                    self.sessions.terminating(env, *incoming, set, out);
                }
            }
            Waiting::Elsewhere(to, context, key, _) => {
                let set = match restored {
                    true => None,
                    false => self.owner.serve_unregistered(env, &key, answer, out),
                };
                out.push(Self::found(to, context, set));
            }
        }
    }

    /// Whether a SUBSCRIBE ends here: it names this node, or the reg event of the caller itself or
    /// of a user that is served here (TS 24.229 §5.4.2.1.1).
    fn is_notifier(&self, incoming: &Incoming, token: Option<&str>) -> bool {
        let request = &incoming.request;
        if request.method != Method::Subscribe {
            return false;
        }
        let Ok(uri) = request.uri() else { return false };
        if uri.user().is_none() && self.sessions.is_me(&uri) {
            return true;
        }
        if !RegistrationOwner::is_reg_event(request) {
            return false;
        }
        let Some(token) = token else { return true };
        let caller = self.owner.published.by_token(token);
        let key = cscf_core::registrar::identity_key(&uri);
        caller.is_some_and(|set| key.is_some_and(|key| set.identity(&key).is_some()))
    }
}

impl Role for Scscf {
    type Command = Command;
    type Timer = Timer;

    fn on_load(&mut self, retry_after: Option<u32>) {
        self.work.measured = retry_after;
    }

    fn on_request(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut ScscfActions) {
        let start = out.len();
        if self.refuses_by_load(env, &incoming, out) {
            // Nothing of it goes on.
        } else if incoming.request.method == Method::Register {
            self.owner.register(env, incoming, out);
        } else if incoming.kind == RequestKind::Initial {
            self.initial(env, incoming, out);
        } else if self.sessions.refuses_stranger(env, &incoming, out) {
            // Nothing of it goes on.
        } else if incoming.kind == RequestKind::InDialog && self.sessions.ends_here(&incoming) {
            self.owner.in_subscription(env, incoming, out);
        } else {
            self.sessions.subsequent(env, incoming, out);
        }
        self.settle(env, start, out);
    }

    fn on_response(&mut self, env: &mut Env<'_>, answered: Answered, out: &mut ScscfActions) {
        self.sessions.answered(env, answered, out);
    }

    fn on_own_response(
        &mut self,
        env: &mut Env<'_>,
        answered: OwnAnswered,
        out: &mut ScscfActions,
    ) {
        let over = !answered.response.is_provisional();
        if over && self.sessions.bye_answered(answered.tag, out) {
            return;
        }
        let start = out.len();
        if !self.owner.server_answered(env, &answered, out) {
            self.owner.notified(env, &answered, out);
        }
        self.settle(env, start, out);
    }

    fn on_cancel(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        cancel: &Request,
        out: &mut ScscfActions,
    ) {
        self.sessions.cancelled(env, context, cancel, out);
    }

    fn on_news(&mut self, env: &mut Env<'_>, from: ShardId, news: &News, out: &mut ScscfActions) {
        self.told(env, from, news, out);
    }

    fn on_context_end(&mut self, context: ContextId) {
        self.asked.remove(&context);
        self.sessions.context_end(context);
    }

    fn on_answer(&mut self, env: &mut Env<'_>, ask: AskId, answer: Answer, out: &mut ScscfActions) {
        let start = out.len();
        if self.sessions.numbered.contains_key(&ask) {
            let answer = match answer {
                Answer::Dns(_, answer) => answer,
                Answer::Cx(_) | Answer::Policy(_) | Answer::TimedOut => DnsAnswer::Unreachable,
            };
            return self.sessions.number_told(env, ask, &answer, out);
        }
        let Some(job) = self.owner.jobs.remove(&ask) else { return };
        let Some(answer) = answer.cx() else { return };
        match job {
            Job::Address(register) => {
                self.owner.address_told(env, *register, answer, out);
            }
            Job::Authenticate(register, rounds) => {
                self.owner.vectors(env, *register, rounds, answer, out);
            }
            Job::Assign(register, proof) => {
                self.owner.assigned(env, &register, *proof, answer, out);
            }
            Job::Deregister(register, proof, removed) => {
                // Whatever the HSS says, the user is no longer registered here.
                self.owner.reply_ok(env, &register, *proof, &removed, out);
            }
            Job::Restore(waiting) => self.restored(env, waiting, &answer, out),
        }
        self.settle(env, start, out);
    }

    fn on_demand(
        &mut self,
        env: &mut Env<'_>,
        demand: DemandId,
        what: CxDemand,
        out: &mut ScscfActions,
    ) {
        let start = out.len();
        self.owner.demanded(env, demand, what, out);
        self.settle(env, start, out);
    }

    fn on_timer(&mut self, env: &mut Env<'_>, timer: Timer, out: &mut ScscfActions) {
        let start = out.len();
        match timer {
            Timer::AwaitAuth(impi) => self.owner.await_auth_over(env, &impi, out),
            Timer::Expiry(set) => self.owner.expired(env, set, out),
            Timer::Session(dialog) => self.sessions.session_expired(env, dialog),
            Timer::ServerFailed(set) => self.owner.server_deregisters(env, set, out),
            Timer::Subscription(token) => self.owner.subscription_over(env, &token, out),
            Timer::Unregistered(key) => self.owner.unregistered_over(env, &key, out),
            Timer::ThirdParty(set, server) => self.owner.refresh_server(env, set, *server, out),
        }
        self.settle(env, start, out);
    }

    fn on_command(&mut self, env: &mut Env<'_>, command: Command, out: &mut ScscfActions) {
        self.command(env, command, out);
    }

    fn workload(&self) -> Workload {
        self.work
    }

    fn tell_held(&self, samples: &mut Samples) {
        for (what, count) in self.remainders() {
            samples.held(what, count);
        }
    }

    fn on_order(
        &mut self,
        env: &mut Env<'_>,
        order: &Order,
        out: &mut ScscfActions,
    ) -> OrderResult {
        self.obey(env, order, out)
    }
}
