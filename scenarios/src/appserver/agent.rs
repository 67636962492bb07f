//! The application server as user agent: it takes calls to play an announcement (TS 24.229 §5.7.2),
//! and makes calls of its own (§5.7.3). No media are sent, only described.
//!
//! States told to the trace: `call incoming`, `call ringing` (of a call out), `call established`,
//! `call ended`, `call failed N`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::clause::{own, rfc3261, ts24229};
use cscf_core::config::ServerBehaviour;
use cscf_core::dialog::{DialogId, TimerPolicy};
use cscf_core::role::{Action, Actions, ContextId, Env, Incoming, OwnAnswered, OwnTag, Side};
use cscf_core::sip::{HeaderName, Method, Request, Response};
use cscf_core::time::{Duration, Instant};
use cscf_core::ua::{
    Abilities, Effect, Habits, RequestId, ResourcePolicy, Session, SessionEvent, SessionPhase,
    SessionSettings, Turn, inspect,
};

use super::{AppServer, ServerTimer};
use crate::ue::CodecSet;

/// Calls held at most, those just over included; further ones get 486.
const CALLS_MAX: usize = 10_000;
/// What it can in calls.
const ABILITIES: Abilities<'static> = Abilities {
    methods: &[
        Method::Invite,
        Method::Ack,
        Method::Cancel,
        Method::Bye,
        Method::Prack,
        Method::Update,
        Method::Info,
        Method::Options,
    ],
    schemes: &["sip", "tel"],
    extensions: &["100rel", "precondition", "timer"],
    content_types: &["application/sdp", "application/3gpp-ims+xml"],
    answer_type: "application/sdp",
};

/// The calls of an application server that is one of their ends.
#[derive(Debug)]
pub(super) struct Agent {
    address: SocketAddr,
    calls: BTreeMap<u32, Call>,
    next: u32,
}

/// One call.
#[derive(Debug)]
struct Call {
    session: Session<ContextId>,
    /// The INVITE that came; none of a call out.
    invite: Option<Request>,
    deadline: Option<Instant>,
    /// What is done when the announcement is over.
    then: Option<u16>,
    /// How long it is; none of a call out.
    plays: Option<Duration>,
}

impl Agent {
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self { address, calls: BTreeMap::new(), next: 0 }
    }

    /// What is still held, by name.
    pub(super) fn remainders(&self) -> [(&'static str, usize); 1] {
        [("own calls", self.calls.len())]
    }

    fn of(&self, fits: impl Fn(&Call) -> bool) -> Option<u32> {
        self.calls.iter().rev().find(|(_, call)| fits(call)).map(|(number, _)| *number)
    }
}

/// Numbers of requests of these calls lie above all others.
const OWN_CALLS: u64 = 1 << 62;

fn tag_of(call: u32, RequestId(request): RequestId) -> OwnTag {
    OwnTag(OWN_CALLS | u64::from(call) << 16 | u64::from(request))
}

fn of_tag(tag: OwnTag) -> Option<(u32, RequestId)> {
    if tag.0 & OWN_CALLS == 0 {
        return None;
    }
    let call = u32::try_from((tag.0 & !OWN_CALLS) >> 16).ok()?;
    let request = u16::try_from(tag.0 & 0xffff).ok()?;
    Some((call, RequestId(request)))
}

fn turn<'a>(env: &'a mut Env<'_>, out: &'a mut Vec<Effect<ContextId>>) -> Turn<'a, ContextId> {
    Turn { now: env.now, ids: &mut *env.ids, tracing: env.tracing, out }
}

impl AppServer {
    /// A request outside a dialog for an announcement (TS 24.229 §5.7.2).
    pub(super) fn on_call(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let request = &incoming.request;
        if let Err(refusal) = inspect(request, &ABILITIES, |_| true) {
            env.refuse(refusal.clause, || format!("{}: {}", refusal.status, refusal.why));
            return self.answer(incoming, refusal.response(request), out);
        }
        if request.method != Method::Invite {
            let mut response = request.reply(200);
            response.headers.push(HeaderName::Allow, &ABILITIES.allow());
            response.headers.push(HeaderName::Accept, &ABILITIES.accept());
            return self.answer(incoming, response, out);
        }
        if self.agent.calls.len() >= CALLS_MAX {
            env.refuse(own("limits"), || format!("486: {CALLS_MAX} calls are held already"));
            return self.answer(incoming, request.reply(486), out);
        }
        let ServerBehaviour::Announces { time, then } = self.config.behaviour else { return };
        let caller = request.headers.first_value(HeaderName::PAssertedIdentity);
        let caller = caller.unwrap_or("nobody that is asserted").to_owned();
        env.note(ts24229("5.7.2"), || format!("takes the call itself; the caller is {caller}"));
        out.push(Action::State("call incoming".to_owned()));
        let settings = self.session_settings(env);
        let mut effects = Vec::new();
        let context = incoming.context;
        let session = Session::called(&mut turn(env, &mut effects), settings, context, request);
        let call = Call {
            session,
            invite: Some(request.clone()),
            deadline: None,
            then,
            plays: Some(time),
        };
        let number = self.next_call();
        self.settle(env, number, call, effects, out);
        if then.is_some() {
            let at = env.now + time;
            out.push(Action::SetTimer { timer: ServerTimer::Played(number), at });
        } else {
            self.drive(env, number, out, |session, turn| session.answer(turn));
        }
    }

    fn next_call(&mut self) -> u32 {
        self.agent.next = self.agent.next.wrapping_add(1);
        self.agent.next
    }

    fn session_settings(&self, env: &mut Env<'_>) -> SessionSettings {
        SessionSettings {
            t1: self.t1,
            t2: self.t1 * 8,
            contact: format!("<{}>", self.uri),
            abilities: ABILITIES,
            reliable: true,
            preconditions: true,
            // Its media are on a network that needs no bearers.
            resources: ResourcePolicy::Reserved,
            timer: TimerPolicy::default(),
            media: CodecSet::VoLte.plan(self.agent.address, env.ids.below(1 << 31) + 1),
            skip_ack: false,
            skip_prack: false,
            habits: Habits::default(),
        }
    }

    /// Calls somebody; the request is complete but for what the session adds.
    pub(super) fn call_out(
        &mut self,
        env: &mut Env<'_>,
        invite: Request,
        out: &mut Actions<ServerTimer>,
    ) {
        let settings = self.session_settings(env);
        let mut effects = Vec::new();
        let session = Session::call(&mut turn(env, &mut effects), settings, invite, false);
        let call = Call { session, invite: None, deadline: None, then: None, plays: None };
        let number = self.next_call();
        self.settle(env, number, call, effects, out);
    }

    /// The announcement is over.
    pub(super) fn on_played(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(call) = self.agent.calls.get(&number) else { return };
        match (call.then, call.session.phase()) {
            (Some(status), SessionPhase::Incoming) => {
                env.refuse(own("behaviour"), || format!("{status} after the announcement"));
                self.drive(env, number, out, |session, turn| session.reject(turn, status));
            }
            _ => {
                env.note(ts24229("5.7.2"), || "the announcement is over: BYE".to_owned());
                self.drive(env, number, out, |session, turn| session.hang_up(turn));
            }
        }
    }

    /// One step of a call's machine.
    fn drive(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        out: &mut Actions<ServerTimer>,
        step: impl FnOnce(&mut Session<ContextId>, &mut Turn<'_, ContextId>),
    ) {
        let Some(mut call) = self.agent.calls.remove(&number) else { return };
        let mut effects = Vec::new();
        step(&mut call.session, &mut turn(env, &mut effects));
        self.settle(env, number, call, effects, out);
    }

    /// Performs what a call wants, and files its deadline.
    fn settle(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        mut call: Call,
        mut effects: Vec<Effect<ContextId>>,
        out: &mut Actions<ServerTimer>,
    ) {
        let mut at = 0;
        while let Some(effect) = effects.get(at).cloned() {
            at += 1;
            if let Effect::Event(SessionEvent::Challenged(response)) = effect {
                call.session.give_up(&mut turn(env, &mut effects), response);
            } else {
                self.perform(env, number, &call, effect, out);
            }
        }
        let timer = ServerTimer::Session(number);
        let deadline = call.session.poll_timeout();
        match deadline {
            Some(at) if call.deadline != deadline => out.push(Action::SetTimer { timer, at }),
            None if call.deadline.is_some() => out.push(Action::ClearTimer { timer }),
            _ => {}
        }
        call.deadline = deadline;
        if call.session.phase() == SessionPhase::Over {
            out.push(Action::ClearTimer { timer: ServerTimer::Played(number) });
        }
        if !call.session.is_gone() {
            self.agent.calls.insert(number, call);
        }
    }

    fn perform(
        &self,
        env: &mut Env<'_>,
        number: u32,
        call: &Call,
        effect: Effect<ContextId>,
        out: &mut Actions<ServerTimer>,
    ) {
        match effect {
            Effect::Ack(request) => {
                let to = self.first_hop(&request);
                out.push(Action::SendAck { request, to });
            }
            // Its abilities have none of these methods.
            Effect::Asked(context, request) => {
                let response = Box::new(request.reply(405));
                out.push(Action::Reply { context, response });
            }
            Effect::Cancel(id) => {
                out.push(Action::CancelOwn { tag: tag_of(number, id), reason: None });
            }
            Effect::Event(event) => Self::on_event(env, number, call, &event, out),
            Effect::Note(note) => env.notes.push(note),
            Effect::Request(id, mut request) => {
                if request.method == Method::Bye {
                    request.headers.push(HeaderName::Reason, "SIP;cause=200");
                }
                let to = self.first_hop(&request);
                let tag = tag_of(number, id);
                out.push(Action::Originate { tag, request, to, within: None, side: Side::Core });
            }
            Effect::Respond(context, mut response) => {
                self.dress(call, &mut response);
                out.push(Action::Reply { context, response });
            }
        }
    }

    /// Charging, and why a call is refused (TS 24.229 §5.7.1.1, RFC 3326).
    fn dress(&self, call: &Call, response: &mut Response) {
        let of_invite = response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let Some(invite) = call.invite.as_ref().filter(|_| of_invite) else { return };
        self.charge_answer(invite, response);
        if response.status >= 300 && response.status != 487 {
            let reason = format!("SIP;cause={}", response.status);
            response.headers.push(HeaderName::Reason, &reason);
        }
    }

    fn on_event(
        env: &mut Env<'_>,
        number: u32,
        call: &Call,
        event: &SessionEvent,
        out: &mut Actions<ServerTimer>,
    ) {
        let state = match event {
            SessionEvent::Ended(why) => {
                env.note(own("call"), || format!("the call is over: {why}"));
                "call ended".to_owned()
            }
            SessionEvent::Established => {
                if let Some(time) = call.plays {
                    let timer = ServerTimer::Played(number);
                    out.push(Action::SetTimer { timer, at: env.now + time });
                }
                "call established".to_owned()
            }
            SessionEvent::Failed(response) => format!("call failed {}", response.status),
            SessionEvent::Ringing => "call ringing".to_owned(),
            _ => return,
        };
        out.push(Action::State(state));
    }

    /// A request inside a dialog, or an ACK; says whether it is of a call of our own.
    pub(super) fn on_own_call(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let request = &incoming.request;
        let id = DialogId::of_request(request);
        let Some(number) = self.agent.of(|call| call.session.owns(&id)) else { return false };
        if request.method != Method::Ack
            && let Err(refusal) = inspect(request, &ABILITIES, |_| true)
        {
            env.refuse(refusal.clause, || format!("{}: {}", refusal.status, refusal.why));
            self.answer(incoming, refusal.response(request), out);
            return true;
        }
        self.drive(env, number, out, |session, turn| {
            session.on_request(turn, incoming.context, request);
        });
        true
    }

    /// An answer; says whether it is to a request of a call of our own.
    pub(super) fn on_own_call_response(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let Some((number, id)) = of_tag(answered.tag) else { return false };
        self.drive(env, number, out, |session, turn| {
            session.on_response(turn, id, &answered.response);
        });
        true
    }

    /// A CANCEL; says whether it is of a call of our own.
    pub(super) fn on_own_call_cancel(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let pending = |call: &Call| call.session.pending_context() == Some(context);
        let Some(number) = self.agent.of(pending) else { return false };
        env.note(rfc3261("9.2"), || "the caller gave up".to_owned());
        self.drive(env, number, out, |session, turn| session.cancelled(turn));
        true
    }

    pub(super) fn on_own_call_timer(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        out: &mut Actions<ServerTimer>,
    ) {
        if let Some(call) = self.agent.calls.get_mut(&number) {
            call.deadline = None;
        }
        self.drive(env, number, out, |session, turn| session.handle_timeout(turn));
    }

    /// Ends every call of our own; says how many there were.
    pub(super) fn hang_up_all(
        &mut self,
        env: &mut Env<'_>,
        out: &mut Actions<ServerTimer>,
    ) -> usize {
        let over = |call: &&Call| call.session.phase() == SessionPhase::Over;
        let up: Vec<u32> = self
            .agent
            .calls
            .iter()
            .filter(|(_, call)| !over(call))
            .map(|(number, _)| *number)
            .collect();
        for number in &up {
            self.drive(env, *number, out, |session, turn| session.hang_up(turn));
        }
        up.len()
    }
}
