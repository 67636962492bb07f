//! The P-CSCF (TS 24.229 §5.2): the edge between UEs and the home network. It keeps who is
//! registered on which flow, asserts identities, guards what crosses the trust boundary, and keeps
//! UEs on the routes they were given.
//!
//! Reading order: [`Config`]; this file (dispatch); `register` (§5.2.2), `originating` (§5.2.6.3),
//! `terminating` (§5.2.6.4), `responses`; `reg_event` (§5.2.3); `bindings` and `dialogs` are the
//! state, `edit` the trust boundary. Every decision about a UE starts from its flow and its record
//! in `bindings`.

mod alive;
mod alternative;
mod associations;
mod bindings;
mod cause;
mod charging;
mod config;
mod dialogs;
mod edit;
mod emergency;
mod exchange;
mod held;
mod identity;
pub mod lab;
mod mechanism;
mod media;
mod operator;
mod originating;
mod reg_event;
mod reginfo;
mod register;
mod release;
mod renewal;
mod resources;
mod responses;
mod security;
mod shards;
mod sips;
mod terminating;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use cscf_core::clause::{Clause, own, ts24229};
use cscf_core::cx::AskId;
use cscf_core::dialog::field;
use cscf_core::ids::{Seed, Shard, ShardId};
use cscf_core::operator::{Order, OrderResult, Refused, Samples, Workload};
use cscf_core::policy::PolicyEvent;
use cscf_core::role::{
    Action, Actions, Answer, Answered, Cause, ContextId, Env, Incoming, News, OwnAnswered,
    RequestKind, Role, Side,
};
use cscf_core::sip::{HeaderName, Message, Method, Request, reason_phrase};
use cscf_core::time::Duration;
use cscf_core::trace::Diagnosis;
use cscf_core::transport::{Flow, FlowEvent, SaId, Transport};

pub use config::{Charging, Config, Emergency, Limits, RouteMismatch, Security, Stranger};
pub use tokens::{DialogId, SubscriptionId, UeId};

use associations::{Associations, State};
use bindings::Bindings;
use dialogs::Dialogs;
use exchange::Exchange;
use reg_event::Subscriptions;
use resources::AllWaiting;
use shards::Told;
use tokens::Token;

/// How long a dialog outlives its UE, so that the network's last BYE and NOTIFY still get through:
/// 64 × T1 on the radio side.
const DIALOG_LINGER: Duration = Duration::from_secs(128);

/// The P-CSCF.
#[derive(Debug)]
pub struct Pcscf {
    config: Config,
    work: Workload,
    associations: Associations,
    bindings: Bindings,
    dialogs: Dialogs,
    exchanges: BTreeMap<ContextId, Exchange>,
    subscriptions: Subscriptions,
    /// What waits for the policy function.
    waiting: AllWaiting,
    /// Which engine of the node it works in, and what the others are to hear.
    shard: Shard,
    news: Vec<(Option<ShardId>, Told)>,
}

/// The timers of a P-CSCF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Security associations may have come to their end.
    Association(SaId),
    /// Nobody has refused the associations that a challenge tells of.
    Challenge(ContextId),
    /// A dialog may have come to its end.
    Dialog(DialogId),
    /// No NOTIFY has followed a SUBSCRIBE of our own in time.
    Notify(SubscriptionId),
    /// A dialog that the network has not ended is released.
    Release(DialogId),
    /// A subscription of our own is to be refreshed, or over.
    Subscription(SubscriptionId),
    /// A registration, or the wait for one, may have come to its end.
    Ue(UeId),
}

/// What an operator may order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send new UEs elsewhere (305), or no longer.
    Drain(bool),
    /// Refuse new work with 503 and this Retry-After in seconds, or no longer.
    Overload(Option<u32>),
}

impl Pcscf {
    /// A P-CSCF that knows no UE yet; `seed` is that of the node.
    #[must_use]
    pub fn new(config: Config, seed: &Seed) -> Self {
        Self {
            config,
            work: Workload::default(),
            associations: Associations::default(),
            bindings: Bindings::new(seed),
            dialogs: Dialogs::new(seed),
            exchanges: BTreeMap::new(),
            subscriptions: Subscriptions::default(),
            waiting: AllWaiting::new(),
            shard: Shard::ALONE,
            news: Vec::new(),
        }
    }

    /// The number of UEs with a registration.
    #[must_use]
    pub const fn registered_count(&self) -> usize {
        self.bindings.registered_count()
    }

    /// The number of dialogs through this node.
    #[must_use]
    pub fn dialog_count(&self) -> usize {
        self.dialogs.len()
    }

    /// Whether nothing of any UE, dialog or transaction is remembered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.bindings.is_empty()
            && self.associations.len() == 0
            && self.dialogs.is_empty()
            && self.exchanges.is_empty()
            && self.subscriptions.is_empty()
            && self.waiting.is_empty()
    }

    /// As [`Self::own_uri`] for a UE: under security associations with the protected server port
    /// (TS 24.229 §5.2.6.3, §5.2.6.4).
    fn own_uri_for(&self, env: &Env<'_>, token: Token, flow: &Flow) -> String {
        let uri = self.own_uri(env, token, flow.transport);
        if flow.sa.is_none() {
            return uri;
        }
        let protected = self.config.protected_uri();
        uri.replacen(&self.config.uri, &protected, 1)
    }

    /// The text of one of our tokens as a URI in angle brackets, loose routing. `transport` is
    /// named unless it is UDP, so that a UE comes back the way it is reached.
    fn own_uri(&self, env: &Env<'_>, token: Token, transport: Transport) -> String {
        let user = token.text(self.home_of(env, token));
        let secured = self.config.secured_uris.iter().find(|(kind, _)| *kind == transport);
        let uri = secured.map_or(&self.config.uri, |(_, uri)| uri);
        match transport {
            Transport::Udp => ["<sip:", &user, "@", uri, ";lr>"].concat(),
            other => {
                let transport = other.uri_name();
                ["<sip:", &user, "@", uri, ";transport=", transport, ";lr>"].concat()
            }
        }
    }

    /// Answers, and keeps why.
    fn refuse(
        env: &mut Env<'_>,
        out: &mut Actions<Timer>,
        incoming: &Incoming,
        status: u16,
        why: (Clause, String),
    ) {
        let (clause, text) = why;
        let method = &incoming.request.method;
        let remote = incoming.flow.remote;
        if incoming.kind == RequestKind::Ack {
            env.refuse(clause, || format!("ACK from {remote} dropped: {text}"));
            return;
        }
        env.refuse(clause, || format!("{method} from {remote} gets {status}: {text}"));
        let mut response = incoming.request.response(status, reason_phrase(status));
        if status == 400 && is_phrase(&text) {
            response.reason = format!("Bad Request - {text}").into();
        }
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
    }

    /// As [`Self::refuse`], with a cause.
    fn refuse_because(
        env: &mut Env<'_>,
        out: &mut Actions<Timer>,
        incoming: &Incoming,
        status: u16,
        why: (Clause, Diagnosis),
    ) {
        let (clause, cause) = why;
        let Incoming { context, request, flow, .. } = incoming;
        let text = format!("{} from {} gets {status}: {cause}", request.method, flow.remote);
        env.diagnose(clause, text, cause.of_request(request));
        let response = request.response(status, reason_phrase(status));
        out.push(Action::Reply { context: *context, response: Box::new(response) });
    }

    /// Refuses a session where no new work is taken; says whether it did.
    fn refuses_by_load(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<Timer>,
    ) -> bool {
        let may_wait =
            incoming.kind == RequestKind::Initial && !incoming.request.asks_emergency_service();
        let Some(refusal) = self.work.refusal().filter(|_| may_wait) else { return false };
        Self::refuse_new_work(env, out, incoming, refusal);
        true
    }

    /// Answers 503 with Retry-After.
    fn refuse_new_work(
        env: &mut Env<'_>,
        out: &mut Actions<Timer>,
        incoming: &Incoming,
        (why, retry_after): (Refused, u32),
    ) {
        let method = &incoming.request.method;
        let state = why.as_str();
        let text =
            format!("{method} gets 503: this P-CSCF is {state}, Retry-After {retry_after} s");
        let cause = cause::no_new_work(why, retry_after).of_request(&incoming.request);
        env.diagnose(ts24229("4.12"), text, cause);
        let mut response = incoming.request.response(503, reason_phrase(503));
        response.headers.push(HeaderName::RetryAfter, &retry_after.to_string());
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
    }

    /// Removes a UE. Its dialogs stay a while for the network's last BYE and NOTIFY.
    fn remove_ue(&mut self, env: &mut Env<'_>, id: UeId, why: &str, out: &mut Actions<Timer>) {
        let Some(ue) = self.bindings.get(id) else { return };
        env.note(ts24229("5.2.5"), || format!("{} at {} is gone: {why}", ue.impi(), ue.flow));
        self.bindings.remove(id);
        self.after_removal(env, id, out);
    }

    /// What remains to be done when a UE's record has gone.
    fn after_removal(&mut self, env: &Env<'_>, id: UeId, out: &mut Actions<Timer>) {
        out.push(Action::ClearTimer { timer: Timer::Ue(id) });
        self.close_all(env, id, out);
        self.dialogs_end_soon(env, id, out);
    }

    /// The dialogs of a UE whose record has gone stay for a while.
    fn dialogs_end_soon(&mut self, env: &Env<'_>, id: UeId, out: &mut Actions<Timer>) {
        for dialog in self.dialogs.all_of(id) {
            let Some(record) = self.dialogs.get_mut(dialog) else { continue };
            // An emergency call does not depend on a registration.
            if record.emergency {
                continue;
            }
            record.expires_at = record.expires_at.min(env.now + DIALOG_LINGER);
            out.push(Action::SetTimer { timer: Timer::Dialog(dialog), at: record.expires_at });
        }
    }

    /// Sets the timer of a UE to the end of its last registration and the guard behind it.
    fn arm_ue(&self, id: UeId, out: &mut Actions<Timer>) {
        let Some(ue) = self.bindings.get(id) else { return };
        let guard = if ue.is_registered() { self.config.expiry_guard } else { Duration::ZERO };
        out.push(Action::SetTimer { timer: Timer::Ue(id), at: ue.ends_at() + guard });
    }

    fn on_ue_timer(&mut self, env: &mut Env<'_>, id: UeId, out: &mut Actions<Timer>) {
        let Some(ue) = self.bindings.get(id) else { return };
        if !ue.is_registered() {
            if ue.pending_until <= env.now {
                if ue.challenged {
                    let seconds = self.config.reg_await_auth.as_secs();
                    let text = format!("{} sent nothing after its 401", ue.impi());
                    env.diagnose(ts24229("5.2.2.1"), text, cause::no_packet(ue, seconds));
                }
                self.remove_ue(env, id, "no answer to the challenge in time", out);
            } else {
                self.arm_ue(id, out);
            }
            return;
        }
        let (now, guard) = (env.now, self.config.expiry_guard);
        let impi = ue.impi().to_owned();
        if self.bindings.deregister(id, |registration| registration.expires_at + guard <= now) {
            env.note(ts24229("5.2.5"), || format!("the last registration of {impi} has expired"));
            self.after_removal(env, id, out);
        } else {
            self.arm_ue(id, out);
        }
    }

    fn on_dialog_timer(&mut self, env: &mut Env<'_>, id: DialogId, out: &mut Actions<Timer>) {
        let Some(dialog) = self.dialogs.get(id) else { return };
        if env.now < dialog.expires_at {
            out.push(Action::SetTimer { timer: Timer::Dialog(id), at: dialog.expires_at });
            return;
        }
        if !dialog.failed && dialog.released.is_none() {
            env.note(own("dialog expiry"), || {
                let call_id = dialog.between.call_id();
                format!("dialog {call_id} is forgotten: nothing refreshed it in time")
            });
        }
        self.resources_end(env, id, out);
        self.dialogs.remove(id);
    }
}

impl Role for Pcscf {
    type Command = Command;
    type Timer = Timer;

    fn on_load(&mut self, retry_after: Option<u32>) {
        self.work.measured = retry_after;
    }

    fn on_request(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut Actions<Timer>) {
        let trusted = self.config.trusts(incoming.flow.remote);
        self.came_by(env, &incoming.flow, out);
        if !trusted
            && incoming.request.method != Method::Register
            && !self.may_come(env, &incoming, out)
        {
            return self.tell_others(out);
        }
        match (trusted, incoming.request.method == Method::Register) {
            (false, true) => self.register_from_ue(env, incoming, out),
            (false, false) => self.request_from_ue(env, incoming, out),
            (true, false) => self.request_from_core(env, incoming, out),
            (true, true) => {
                let cause = cause::from_core(incoming.flow.remote);
                Self::refuse_because(env, out, &incoming, 403, (ts24229("5.2.2.1"), cause));
            }
        }
        self.tell_others(out);
    }

    fn on_response(&mut self, env: &mut Env<'_>, answered: Answered, out: &mut Actions<Timer>) {
        if let Some(flow) = answered.flow.filter(|_| answered.cause == Cause::Received) {
            self.came_by(env, &flow, out);
        }
        match self.exchanges.get(&answered.context) {
            Some(Exchange::Register(_)) => self.register_response(env, answered, out),
            Some(Exchange::Call(call)) => {
                let call = Arc::clone(call);
                self.call_response(env, &call, answered, out);
            }
            None => self.late_response(env, answered, out),
        }
        self.tell_others(out);
    }

    fn on_own_response(
        &mut self,
        env: &mut Env<'_>,
        answered: OwnAnswered,
        out: &mut Actions<Timer>,
    ) {
        self.subscribe_answered(env, &answered, out);
        self.tell_others(out);
    }

    fn on_context_end(&mut self, context: ContextId) {
        if let Some(Exchange::Call(call)) = self.exchanges.remove(&context) {
            self.call_ended(&call);
        }
    }

    fn on_answer(
        &mut self,
        env: &mut Env<'_>,
        ask: AskId,
        answer: Answer,
        out: &mut Actions<Timer>,
    ) {
        self.resources_answered(env, ask, &answer, out);
    }

    fn on_policy(&mut self, env: &mut Env<'_>, event: PolicyEvent, out: &mut Actions<Timer>) {
        self.bearer_news(env, event, out);
        self.tell_others(out);
    }

    fn on_news(
        &mut self,
        env: &mut Env<'_>,
        _from: ShardId,
        news: &News,
        out: &mut Actions<Timer>,
    ) {
        self.told(env, news, out);
        self.tell_others(out);
    }

    fn on_timer(&mut self, env: &mut Env<'_>, timer: Timer, out: &mut Actions<Timer>) {
        match timer {
            Timer::Association(id) => self.on_association_timer(env, id, out),
            Timer::Challenge(context) => self.on_challenge_timer(context, out),
            Timer::Dialog(id) => self.on_dialog_timer(env, id, out),
            Timer::Notify(id) => self.on_notify_timer(env, id, out),
            Timer::Release(id) => self.on_release_timer(env, id, out),
            Timer::Subscription(id) => self.on_subscription_timer(env, id, out),
            Timer::Ue(id) => self.on_ue_timer(env, id, out),
        }
        self.tell_others(out);
    }

    fn on_flow(&mut self, env: &mut Env<'_>, event: FlowEvent, out: &mut Actions<Timer>) {
        if self.shard.is_owner() {
            self.flow_news(env, event, out);
            self.tell_others(out);
        }
    }

    fn on_command(&mut self, env: &mut Env<'_>, command: Command, _out: &mut Actions<Timer>) {
        env.note(own("operator"), || format!("{command:?}"));
        match command {
            Command::Drain(on) => self.work.draining = on,
            Command::Overload(retry_after) => self.work.ordered = retry_after,
        }
    }

    fn workload(&self) -> Workload {
        self.work
    }

    fn tell_held(&self, samples: &mut Samples) {
        samples.held("UEs", self.bindings.len());
        samples.held("dialogs", self.dialogs.len());
        samples.held("security associations", self.associations.len());
    }

    fn on_order(
        &mut self,
        env: &mut Env<'_>,
        order: &Order,
        out: &mut Actions<Timer>,
    ) -> OrderResult {
        self.obey(env, order, out)
    }

    fn admits(&self, flow: &Flow, message: &Message) -> Result<(), &'static str> {
        let Some(record) = flow.sa.and_then(|sa| self.associations.get(sa)) else { return Ok(()) };
        // A request of its own is told of with more words (`Pcscf::may_come`).
        let belongs = match message {
            Message::Response(_) => true,
            Message::Request(it) => matches!(it.method, Method::Cancel | Method::Ack),
        };
        match belongs && record.state == State::Temporary {
            true => Err("only REGISTER may come by associations that wait (TS 33.203 7.4.2a)"),
            false => Ok(()),
        }
    }

    fn is_one_peer(&self, one: SaId, other: SaId) -> bool {
        let owner = |sa| self.associations.get(sa).map(|record| record.ue);
        one == other || owner(one).is_some_and(|ue| owner(other) == Some(ue))
    }

    fn policy_clause(&self) -> Clause {
        ts24229("5.2.7.2")
    }

    fn side(&self, flow: &Flow) -> Side {
        if self.config.trusts(flow.remote) {
            return Side::Core;
        }
        if let Some(record) = flow.sa.and_then(|sa| self.associations.get(sa)) {
            return self.bindings.get(record.ue).map_or(Side::Air, |ue| ue.side);
        }
        // Of an unknown UE nothing is known; see `await_registration`.
        self.bindings.any_at(flow.remote).map_or(Side::Air, |ue| ue.side)
    }

    fn proxy_extensions(&self) -> &[&str] {
        &["sec-agree"]
    }
}

/// Whether a text can stand in a status line.
fn is_phrase(text: &str) -> bool {
    text.len() <= 100 && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Our token in the Route that named us.
fn own_token(incoming: &Incoming) -> Option<Token> {
    token_of(incoming.own_route.as_deref()?)
}

/// Our token in a URI or name-addr.
fn token_of(address: &str) -> Option<Token> {
    // As we write it. With another end of the URI before the `@` it is no token.
    let ours = address.strip_prefix('<').unwrap_or(address).strip_prefix("sip:");
    if let Some(rest) = ours {
        return Token::parse(rest.get(..rest.bytes().position(|byte| byte == b'@')?)?);
    }
    let uri = field::uri_of(address);
    let rest = uri.split_once(':').map(|(_, rest)| rest)?;
    Token::parse(rest.split_once('@')?.0)
}

/// Host and port of the topmost Via, lower case; empty if it cannot be read.
fn sent_by(request: &Request) -> String {
    request.top_sent_by().unwrap_or_default()
}

#[cfg(test)]
mod tests;
