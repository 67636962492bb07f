//! The application server as back-to-back user agent (TS 24.229 §5.7.5, TS 23.218 §9.1.1.4): each
//! call has two legs with Call-ID, tags and numbers of their own. What is said on one is said on
//! the other; offers, answers and their reliability pass as they are.
//!
//! It passes on INVITE with all that follows in its dialogs, MESSAGE and OPTIONS. It does not map
//! identifiers of dialogs inside other headers (Replaces, Target-Dialog).

mod admission;
mod dialogs;
mod divert;
mod messages;
mod privacy;

use std::collections::BTreeMap;

use cscf_core::clause::{own, rfc3261, ts24229};
use cscf_core::config::ServerBehaviour;
use cscf_core::dialog::{Dialog, DialogId};
use cscf_core::role::{
    Action, Actions, Cause, ContextId, Env, Incoming, NextHop, OwnAnswered, OwnTag, Side,
};
use cscf_core::sip::{HeaderName, Method, Request, Response};
use cscf_core::time::Duration;

use super::{AppServer, ServerTimer};

/// Calls that are bridged at a time; further ones get 503.
const CALLS_MAX: usize = 10_000;
/// How long a call without any message is kept where no session timer says less.
const IDLE: Duration = Duration::from_secs(24 * 3600);
/// How often a call that waits in the queue is told so, at least (RFC 3261 §13.3.1.1).
const QUEUED_AGAIN: Duration = Duration::from_secs(60);
/// What a back-to-back user agent passes on.
const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO, MESSAGE, OPTIONS, NOTIFY, REFER";

/// All calls and requests that are bridged.
#[derive(Debug, Default)]
pub(super) struct Bridges {
    calls: BTreeMap<u32, Bridge>,
    /// Both legs of every pair, by the dialog's name at our end.
    dialogs: BTreeMap<DialogId, u32>,
    /// Requests on their way that belong to a call.
    tags: BTreeMap<OwnTag, u32>,
    /// Requests on their way outside calls, each with the one it was made from.
    plain: BTreeMap<OwnTag, (ContextId, Request)>,
    next: u32,
}

impl Bridges {
    /// What is still held, by name.
    pub(super) fn remainders(&self) -> [(&'static str, usize); 3] {
        [
            ("bridged calls", self.calls.len()),
            ("bridged dialogs", self.dialogs.len()),
            ("bridged requests", self.tags.len() + self.plain.len()),
        ]
    }
}

/// A call with its two legs; `near` is the one it came by, `far` the one we made.
#[derive(Debug)]
struct Bridge {
    context: ContextId,
    /// The INVITE as it came.
    near: Request,
    /// The INVITE as it was sent on, and its number; none while it waits in the queue.
    far: Option<(OwnTag, Request)>,
    /// Our tag in answers that belong to no dialog of the far side.
    tag: String,
    pairs: Vec<Pair>,
    relays: BTreeMap<OwnTag, Relay>,
    /// The first INVITE has its final answer.
    answered: bool,
    cancelled: bool,
    /// How long it is kept without a message.
    idle: Duration,
}

/// A dialog of the near side and the one of the far side that it stands for.
#[derive(Debug)]
struct Pair {
    near: Dialog,
    far: Dialog,
    invites: Vec<Numbers>,
    confirmed: bool,
}

/// An INVITE that was passed on inside a pair, by its numbers on both sides.
#[derive(Debug)]
struct Numbers {
    from_near: bool,
    came: u32,
    sent: u32,
    /// The ACK that was sent.
    ack: Option<Request>,
}

/// A request inside a dialog that waits for its answer.
#[derive(Debug)]
struct Relay {
    from_near: bool,
    /// The dialog at the near side.
    pair: DialogId,
    context: ContextId,
    request: Request,
    sent: u32,
}

impl AppServer {
    /// A request outside any dialog.
    pub(super) fn bridge(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let request = &incoming.request;
        if let Err(refusal) = self.admit(request) {
            return self.refuse(env, incoming, refusal, out);
        }
        if !self.leads_on(request) {
            env.refuse(ts24229("5.7.5"), || "404: no Route leads back to an S-CSCF".to_owned());
            return self.answer(incoming, request.reply(404), out);
        }
        match request.method {
            Method::Invite => self.bridge_call(env, incoming, out),
            Method::Message | Method::Options => {
                let target = self.target_of(request);
                let Some(far) = self.far_request(env, request, &target) else {
                    return self.answer(incoming, request.reply(483), out);
                };
                env.note(ts24229("5.7.5.2.1"), || "passes it on as a request of its own".into());
                out.push(Action::State(format!("passed on {}", request.method)));
                let tag = self.next_tag();
                self.bridges.plain.insert(tag, (incoming.context, request.clone()));
                let to = self.first_hop(&far);
                originate(tag, far, to, out);
            }
            _ => {
                env.refuse(ts24229("5.7.5"), || format!("{} is not bridged", request.method));
                let mut response = request.reply(405);
                response.headers.push(HeaderName::Allow, ALLOW);
                self.answer(incoming, response, out);
            }
        }
    }

    fn bridge_call(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let request = &incoming.request;
        if self.bridges.calls.len() >= CALLS_MAX {
            env.refuse(own("limits"), || format!("503: {CALLS_MAX} calls are bridged already"));
            return self.answer(incoming, request.reply(503), out);
        }
        self.bridges.next = self.bridges.next.wrapping_add(1);
        let number = self.bridges.next;
        let bridge = Bridge {
            context: incoming.context,
            near: request.clone(),
            far: None,
            tag: env.ids.tag(),
            pairs: Vec::new(),
            relays: BTreeMap::new(),
            answered: false,
            cancelled: false,
            idle: IDLE,
        };
        self.bridges.calls.insert(number, bridge);
        self.touch(env, number, out);
        match self.config.behaviour {
            ServerBehaviour::Queues(time) => {
                out.push(Action::State("queued INVITE".to_owned()));
                env.note(rfc3261("21.1.4"), || {
                    format!("182: the call waits in the queue for {} s", time.as_secs())
                });
                self.tell_queued(number, out);
                let timer = ServerTimer::QueueEnd(number);
                out.push(Action::SetTimer { timer, at: env.now + time });
                let timer = ServerTimer::Queued(number);
                out.push(Action::SetTimer { timer, at: env.now + QUEUED_AGAIN });
            }
            _ => self.send_on(env, number, out),
        }
    }

    /// Tells the caller that it waits.
    fn tell_queued(&self, number: u32, out: &mut Actions<ServerTimer>) {
        let Some(bridge) = self.bridges.calls.get(&number) else { return };
        let mut response = self.dialog_response(bridge, 182);
        response.reason = "Queued".into();
        out.push(Action::Reply { context: bridge.context, response: Box::new(response) });
    }

    /// A provisional response of our own to the first INVITE.
    fn dialog_response(&self, bridge: &Bridge, status: u16) -> Response {
        let mut response = bridge.near.reply(status);
        response.set_to_tag(&bridge.tag);
        response.headers.copy_from(&bridge.near.headers, HeaderName::RecordRoute);
        response.headers.push(HeaderName::Contact, &format!("<{}>", self.uri));
        self.charge_answer(&bridge.near, &mut response);
        response
    }

    /// The caller still waits: says so again.
    pub(super) fn on_queued(&mut self, env: &Env<'_>, number: u32, out: &mut Actions<ServerTimer>) {
        if self.bridges.calls.get(&number).is_some_and(|bridge| bridge.far.is_none()) {
            self.tell_queued(number, out);
            let timer = ServerTimer::Queued(number);
            out.push(Action::SetTimer { timer, at: env.now + QUEUED_AGAIN });
        }
    }

    /// It is the turn of a call that has waited.
    pub(super) fn on_queue_end(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        out: &mut Actions<ServerTimer>,
    ) {
        out.push(Action::ClearTimer { timer: ServerTimer::Queued(number) });
        self.send_on(env, number, out);
    }

    /// Sends the first INVITE on.
    fn send_on(&mut self, env: &mut Env<'_>, number: u32, out: &mut Actions<ServerTimer>) {
        let Some(bridge) = self.bridges.calls.get(&number) else { return };
        let near = bridge.near.clone();
        let target = self.target_of(&near);
        let Some(mut far) = self.far_request(env, &near, &target) else {
            env.refuse(rfc3261("16.3"), || "483: Max-Forwards is used up".to_owned());
            return self.end_unanswered(number, 483, out);
        };
        match self.config.behaviour.clone() {
            ServerBehaviour::Diverts(to) => {
                let Ok(history) = divert::history(&near, &to, self.config.show_diversion) else {
                    env.refuse(own("diversion"), || "480: diverted too often".to_owned());
                    return self.end_unanswered(number, 480, out);
                };
                env.note(cscf_core::clause::ts24604("4.5.2.6.2"), || {
                    format!("communication forwarding unconditional to {to}")
                });
                far.headers.remove(HeaderName::HistoryInfo);
                for entry in &history.entries {
                    far.headers.push(HeaderName::HistoryInfo, entry);
                }
                far.request_uri = history.target.as_str().into();
                out.push(Action::State("diverted INVITE".to_owned()));
                if self.config.notify_caller {
                    self.tell_diverted(number, &history, out);
                }
            }
            ServerBehaviour::Bridges(Some(to)) => {
                env.note(ts24229("5.7.5.2.1"), || format!("bridges it to {to}"));
                out.push(Action::State("retargeted INVITE".to_owned()));
            }
            _ => {
                env.note(ts24229("5.7.5.2.1"), || "bridges it: a leg of its own".to_owned());
                out.push(Action::State("passed on INVITE".to_owned()));
            }
        }
        let tag = self.next_tag();
        self.bridges.tags.insert(tag, number);
        let Some(bridge) = self.bridges.calls.get_mut(&number) else { return };
        bridge.far = Some((tag, far.clone()));
        let to = self.first_hop(&far);
        originate(tag, far, to, out);
    }

    /// Whether a request has somewhere to go: back by its Route, or to another user.
    fn leads_on(&self, request: &Request) -> bool {
        let elsewhere = matches!(
            self.config.behaviour,
            ServerBehaviour::Bridges(Some(_)) | ServerBehaviour::Diverts(_)
        );
        let mut routes = request.headers.values(HeaderName::Route);
        elsewhere || routes.any(|route| !self.is_our_route(route))
    }

    /// Where a request goes.
    fn target_of(&self, request: &Request) -> String {
        match &self.config.behaviour {
            ServerBehaviour::Bridges(Some(to)) => to.clone(),
            _ => request.request_uri.to_string(),
        }
    }

    /// Ends a call with a final answer of ours.
    fn end_unanswered(&mut self, number: u32, status: u16, out: &mut Actions<ServerTimer>) {
        if let Some(bridge) = self.bridges.calls.get(&number) {
            let mut response = bridge.near.reply(status);
            response.set_to_tag(&bridge.tag);
            if status != 487 {
                response.headers.push(HeaderName::Reason, &format!("SIP;cause={status}"));
            }
            self.charge_answer(&bridge.near, &mut response);
            out.push(Action::Reply { context: bridge.context, response: Box::new(response) });
        }
        self.forget_call(number, out);
    }

    /// Keeps a call for its time from now on.
    fn touch(&self, env: &Env<'_>, number: u32, out: &mut Actions<ServerTimer>) {
        if let Some(bridge) = self.bridges.calls.get(&number) {
            let at = env.now + bridge.idle;
            out.push(Action::SetTimer { timer: ServerTimer::Bridge(number), at });
        }
    }

    fn forget_call(&mut self, number: u32, out: &mut Actions<ServerTimer>) {
        let Some(bridge) = self.bridges.calls.remove(&number) else { return };
        for pair in &bridge.pairs {
            self.bridges.dialogs.remove(&pair.near.id);
            self.bridges.dialogs.remove(&pair.far.id);
        }
        for tag in bridge.relays.keys().chain(bridge.far.iter().map(|(tag, _)| tag)) {
            self.bridges.tags.remove(tag);
        }
        for timer in [
            ServerTimer::Bridge(number),
            ServerTimer::Queued(number),
            ServerTimer::QueueEnd(number),
        ] {
            out.push(Action::ClearTimer { timer });
        }
    }

    /// Nothing was heard of a call for too long.
    pub(super) fn on_bridge_idle(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(bridge) = self.bridges.calls.get(&number) else { return };
        env.note(own("bridge"), || "nothing was heard of the call for too long".to_owned());
        if bridge.answered {
            return self.forget_call(number, out);
        }
        if let Some((tag, _)) = &bridge.far {
            out.push(Action::CancelOwn { tag: *tag, reason: None });
        }
        self.end_unanswered(number, 480, out);
    }

    /// The caller, or the sender of a re-INVITE, has cancelled; says whether it was one of ours.
    pub(super) fn on_bridge_cancel(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        cancel: &Request,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let reason = cancel.headers.get(HeaderName::Reason).map(str::to_owned);
        let calls = &mut self.bridges.calls;
        let Some((number, bridge)) = calls.iter_mut().find(|(_, bridge)| {
            bridge.context == context || bridge.relays.values().any(|it| it.context == context)
        }) else {
            return false;
        };
        if bridge.context != context {
            let found = bridge.relays.iter().find(|(_, relay)| relay.context == context);
            if let Some((tag, _)) = found {
                out.push(Action::CancelOwn { tag: *tag, reason });
            }
            return true;
        }
        let number = *number;
        bridge.cancelled = true;
        if let Some((tag, _)) = &bridge.far {
            env.note(ts24229("5.7.5.2.1"), || "CANCEL goes on by the other leg".to_owned());
            out.push(Action::CancelOwn { tag: *tag, reason });
        } else {
            env.note(rfc3261("9.2"), || "487: the call left the queue".to_owned());
            self.end_unanswered(number, 487, out);
        }
        true
    }

    /// The answer to a request of a bridge; says whether it was one.
    pub(super) fn on_bridge_response(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let tag = answered.tag;
        if let Some((context, request)) = self.bridges.plain.get(&tag) {
            let response = final_of(answered);
            let near_tag = env.ids.tag();
            let response = self.near_response(request, &response, &near_tag);
            let done = response.status >= 200;
            out.push(Action::Reply { context: *context, response: Box::new(response) });
            if done {
                self.bridges.plain.remove(&tag);
            }
            return true;
        }
        let Some(number) = self.bridges.tags.get(&tag).copied() else { return false };
        self.touch(env, number, out);
        let first = self.bridges.calls.get(&number).and_then(|it| it.far.as_ref());
        if first.is_some_and(|(first, _)| *first == tag) {
            self.on_first_response(env, number, answered, out);
        } else {
            self.on_relayed_response(env, number, answered, out);
        }
        true
    }
}

/// Sends a request in a transaction of our own.
fn originate(tag: OwnTag, request: Request, to: NextHop, out: &mut Actions<ServerTimer>) {
    let request = Box::new(request);
    out.push(Action::Originate { tag, request, to, within: None, side: Side::Core });
}

/// What is told of an answer: nobody may answer 408 to a request other than INVITE (RFC 4320 §4.2).
fn final_of(answered: &OwnAnswered) -> Response {
    let mut response = answered.response.clone();
    let invite = response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
    if answered.cause != Cause::Received && response.status == 408 && !invite {
        response.status = 504;
        response.reason = cscf_core::sip::reason_phrase(504).into();
    }
    response
}
