//! Calls: the sessions of the user agent core in the clothes of TS 24.229 §5.1.3 and §5.1.4, and
//! what a robot does with those that come in.

use cscf_core::clause::{own, rfc3261, rfc3891, ts24229};
use cscf_core::dialog::DialogId;
use cscf_core::role::{Action, Actions, ContextId, Env, Incoming, NextHop, OwnAnswered};
use cscf_core::sip::{HeaderName, Method, NameAddr, Request, Response, Uri};
use cscf_core::time::Instant;
use cscf_core::transport::Transport;
use cscf_core::ua::{
    Abilities, Effect, Habits, RequestId, ResourcePolicy, Session, SessionEvent, SessionPhase,
    SessionSettings, Turn, inspect,
};

use super::codecs::Extras;
use super::config::Resources;
use super::headers::dialled;
use super::reginfo::asks_for_registration;
use super::replaces::{caller_of, is_one_of};
use super::requests::{ABILITIES, WITHOUT_SMS};
use super::tones::{Digits, digit_of};
use super::{CallOptions, Own, Robot, Ue, UeTimer};

/// Calls held at most, those just over included.
const CALLS_HELD_MAX: usize = 256;

/// What a second caller is told.
const CALL_WAITING: &str = "<urn:alert:service:call-waiting>";

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    session: Session<ContextId>,
    /// When its timer is set for.
    deadline: Option<Instant>,
    incoming: bool,
    /// The URI of the other end.
    peer: String,
    /// The call that this one replaces, until it does.
    replaces: Option<u16>,
    /// Digits that are still to be sent.
    digits: Digits,
}

impl Call {
    fn new(session: Session<ContextId>, peer: String, incoming: bool) -> Self {
        let digits = Digits::default();
        Self { session, deadline: None, incoming, peer, replaces: None, digits }
    }

    /// Whether it goes on.
    pub(super) fn is_up(&self) -> bool {
        self.session.phase() != SessionPhase::Over
    }

    pub(super) const fn session(&self) -> &Session<ContextId> {
        &self.session
    }

    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    pub(super) const fn digits_mut(&mut self) -> &mut Digits {
        &mut self.digits
    }
}

/// How a call is begun, besides what its user says.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) options: CallOptions,
    /// Further headers of the INVITE.
    pub(super) headers: Vec<(HeaderName, String)>,
}

impl Ue {
    /// Calls somebody (TS 24.229 §5.1.3.1).
    pub(super) fn call(
        &mut self,
        env: &mut Env<'_>,
        target: &str,
        options: CallOptions,
        out: &mut Actions<UeTimer>,
    ) {
        if self.prepare_emergency(env, target, out) {
            return;
        }
        let start = Start { options, headers: Vec::new() };
        let number = self.next_call();
        self.begin_call(env, number, target, start, out);
    }

    /// Makes the call with this number.
    pub(super) fn begin_call(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        target: &str,
        start: Start,
        out: &mut Actions<UeTimer>,
    ) {
        let Start { options, headers } = start;
        let target = dialled(target, &self.config.domain);
        let mut invite = self.initial_request(env.ids, Method::Invite, &target);
        Self::push_service(&mut invite.headers);
        invite.headers.push(HeaderName::PEarlyMedia, "supported");
        invite.headers.push(HeaderName::Accept, "application/sdp,application/3gpp-ims+xml");
        for (name, value) in headers {
            invite.headers.push(name, &value);
        }
        self.dress_emergency(env, number, &mut invite, out);
        let mut settings = self.session_settings(env, options.video);
        if let Some(preconditions) = options.preconditions {
            settings.preconditions = preconditions;
        }
        let mut effects = Vec::new();
        let mut turn = turn(env, &mut effects);
        let session = Session::call(&mut turn, settings, invite, options.offerless);
        self.settle(env, number, Call::new(session, target, false), effects, out);
    }

    /// An INVITE outside a dialog, already inspected (TS 24.229 §5.1.4.1).
    pub(super) fn on_invite(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<UeTimer>,
    ) {
        let request = &incoming.request;
        let replaced = match self.replaced_by(env, request) {
            Ok(replaced) => replaced,
            Err(status) => return self.reply(incoming, request.reply(status), out),
        };
        let refusal = match self.config.robot {
            Robot::Busy => Some(486),
            Robot::Rejects(status) => Some(status.clamp(300, 699)),
            _ if replaced.is_none() && self.is_busy() => Some(486),
            _ => None,
        };
        if let Some(status) = refusal {
            env.refuse(rfc3261("13.3.1.3"), || format!("{status}: the user takes no call now"));
            return self.reply(incoming, request.reply(status), out);
        }
        let settings = self.session_settings(env, false);
        let mut effects = Vec::new();
        let mut turn = turn(env, &mut effects);
        let session = Session::called(&mut turn, settings, incoming.context, request);
        let number = self.next_call();
        if session.phase() == SessionPhase::Incoming {
            out.push(Action::State("call incoming".to_owned()));
        }
        let mut call = Call::new(session, caller_of(request), true);
        call.replaces = replaced;
        self.settle(env, number, call, effects, out);
        if !self.config.mistakes.silent {
            self.drive(env, number, out, |session, turn| session.ring(turn));
        }
        // Who takes over a call finds it answered (RFC 3891 §3).
        if self.config.robot == Robot::Echo || replaced.is_some() {
            self.drive(env, number, out, |session, turn| session.answer(turn));
        }
    }

    pub(super) fn next_call(&mut self) -> u16 {
        self.next_call = self.next_call.wrapping_add(1);
        self.next_call
    }

    /// What the user agent can, as configured.
    pub(super) const fn abilities(&self) -> Abilities<'static> {
        let extensions: &'static [&'static str] =
            match (self.config.reliable_provisionals, self.config.preconditions) {
                (true, true) => ABILITIES.extensions,
                (true, false) => {
                    &["100rel", "timer", "path", "gruu", "replaces", "norefersub", "tdialog"]
                }
                (false, _) => &["timer", "path", "gruu", "replaces", "norefersub", "tdialog"],
            };
        let content_types = if self.config.sms { ABILITIES.content_types } else { WITHOUT_SMS };
        Abilities { extensions, content_types, ..ABILITIES }
    }

    fn session_settings(&self, env: &mut Env<'_>, video: bool) -> SessionSettings {
        let config = &self.config;
        let extras = Extras {
            video: config.video || video,
            video_offered: video,
            all_codecs: config.all_codecs,
        };
        SessionSettings {
            t1: config.timers.t1,
            t2: config.timers.t2,
            contact: self.session_contact(),
            abilities: self.abilities(),
            reliable: config.reliable_provisionals,
            preconditions: config.preconditions && config.reliable_provisionals,
            resources: match config.resources {
                Resources::After(wait) => ResourcePolicy::After(wait),
                Resources::Fail(wait) => ResourcePolicy::Fails(wait),
                Resources::Reserved => ResourcePolicy::Reserved,
            },
            timer: config.session_timer,
            media: config.codecs.plan_with(config.address, env.ids.below(1 << 31) + 1, extras),
            skip_ack: config.mistakes.no_ack,
            skip_prack: config.mistakes.no_prack,
            habits: Habits {
                old_cseq: config.mistakes.old_cseq,
                unwanted_package: config.mistakes.unwanted_package,
                wrong_rack: config.mistakes.wrong_rack,
                ..config.habits.clone()
            },
        }
    }

    /// Whether as many calls are up as the user can have.
    pub(super) fn is_busy(&self) -> bool {
        let up = self.calls.values().filter(|call| call.is_up()).count();
        let full = self.calls.len() >= CALLS_HELD_MAX;
        self.config.robot == Robot::Busy || up >= self.config.calls_max || full
    }

    /// One step of a call's machine.
    pub(super) fn drive(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        out: &mut Actions<UeTimer>,
        step: impl FnOnce(&mut Session<ContextId>, &mut Turn<'_, ContextId>),
    ) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        let mut effects = Vec::new();
        step(&mut call.session, &mut turn(env, &mut effects));
        self.settle(env, number, call, effects, out);
    }

    /// Performs what a call wants, and files its deadline.
    fn settle(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        mut call: Call,
        mut effects: Vec<Effect<ContextId>>,
        out: &mut Actions<UeTimer>,
    ) {
        let mut at = 0;
        let (mut asked, mut answered) = (Vec::new(), false);
        while let Some(effect) = effects.get(at).cloned() {
            at += 1;
            match effect {
                Effect::Asked(context, request) => asked.push((context, request)),
                Effect::Event(SessionEvent::Challenged(response)) => {
                    self.answer_challenge(env, &mut call, response, &mut effects);
                }
                effect => {
                    answered |= matches!(effect, Effect::Event(SessionEvent::InfoAnswered(_)));
                    self.perform(env, number, &call, effect, out);
                }
            }
        }
        let timer = UeTimer::Call(number);
        let deadline = call.session.poll_timeout();
        match deadline {
            Some(at) if call.deadline != deadline => out.push(Action::SetTimer { timer, at }),
            None if call.deadline.is_some() => out.push(Action::ClearTimer { timer }),
            _ => {}
        }
        call.deadline = deadline;
        let up = call.session.phase() == SessionPhase::Talking;
        let replaced = call.replaces.take_if(|_| up);
        if call.session.is_gone() {
            self.transfers.forget(number);
        } else {
            self.calls.insert(number, call);
        }
        if answered {
            self.next_digit(env, number, out);
        }
        if let Some(old) = replaced {
            env.note(rfc3891("3"), || "the new call is there: ends the one it replaces".into());
            self.drive(env, old, out, |session, turn| session.hang_up(turn));
        }
        for (context, request) in asked {
            self.on_asked(env, number, context, &request, out);
        }
    }

    fn answer_challenge(
        &mut self,
        env: &mut Env<'_>,
        call: &mut Call,
        response: Box<Response>,
        effects: &mut Vec<Effect<ContextId>>,
    ) {
        let again = call.session.invite().cloned();
        let again = again
            .and_then(|mut invite| self.authorise(env, &mut invite, &response).then_some(invite));
        let mut turn = turn(env, effects);
        match again {
            Some(invite) => call.session.invite_again(&mut turn, invite),
            None => call.session.give_up(&mut turn, response),
        }
    }

    fn perform(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        call: &Call,
        effect: Effect<ContextId>,
        out: &mut Actions<UeTimer>,
    ) {
        match effect {
            // Answered when the call has settled.
            Effect::Asked(..) => {}
            Effect::Ack(request) => {
                let to = self.next_hop(&request);
                out.push(Action::SendAck { request, to });
            }
            Effect::Cancel(_) if self.config.mistakes.never_cancels => {}
            Effect::Cancel(id) => {
                let reason = call.session.cancel_reason().map(str::to_owned);
                out.push(Action::CancelOwn { tag: call_tag(number, id), reason });
            }
            Effect::Event(event) => {
                let unavailable =
                    matches!(&event, SessionEvent::Failed(response) if response.status == 503);
                self.on_event(env, number, call.incoming, event, out);
                if unavailable && self.config.mistakes.calls_again {
                    self.call(env, &call.peer, CallOptions::default(), out);
                }
            }
            Effect::Note(note) => env.notes.push(note),
            Effect::Request(id, mut request) => {
                self.push_access(&mut request.headers);
                let (to, side) = (self.next_hop(&request), self.own_side());
                let tag = call_tag(number, id);
                out.push(Action::Originate { tag, request, to, within: None, side });
            }
            Effect::Respond(context, mut response) => {
                self.push_access(&mut response.headers);
                let rings = response.status == 180 && call.incoming;
                if rings
                    && self.calls.values().any(|it| it.session.phase() == SessionPhase::Talking)
                {
                    // The call waits (TS 24.615 §4.5.5.3, RFC 7462 §4.1).
                    response.headers.set(HeaderName::AlertInfo, CALL_WAITING);
                }
                out.push(Action::Reply { context, response });
            }
        }
    }

    /// Outside a dialog the P-CSCF; inside one the route set, over our own transport.
    pub(super) fn next_hop(&self, request: &Request) -> NextHop {
        let outside = request.to_tag().is_none();
        let routed = request.headers.contains(HeaderName::Route);
        if outside || (routed && self.transport() != Transport::Udp) {
            self.to_pcscf()
        } else {
            NextHop::AsRouted
        }
    }

    fn on_event(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        incoming: bool,
        event: SessionEvent,
        out: &mut Actions<UeTimer>,
    ) {
        let state = match event {
            SessionEvent::Challenged(_) => return,
            SessionEvent::Answered(id, response) => {
                return self.on_transfer_answered(env, (number, id), &response, out);
            }
            SessionEvent::EarlyMedia(on) => {
                format!("early media {}", if on { "played" } else { "not played" })
            }
            SessionEvent::Ended(why) => {
                env.note(own("call"), || format!("the call is over: {why}"));
                self.tell_referrer(env, number, 487, out);
                "call ended".to_owned()
            }
            SessionEvent::Established => {
                self.tell_referrer(env, number, 200, out);
                "call established".to_owned()
            }
            SessionEvent::Failed(response) => {
                self.tell_referrer(env, number, response.status, out);
                out.push(Action::State(format!("call failed {}", response.status)));
                return self.on_call_failed(env, &response, out);
            }
            SessionEvent::Held => "call held".to_owned(),
            SessionEvent::HeldByPeer(true) => "held by peer".to_owned(),
            SessionEvent::HeldByPeer(false) => "resumed by peer".to_owned(),
            SessionEvent::Info(info) => {
                out.extend(digit_of(&info).map(|it| Action::State(format!("dtmf received {it}"))));
                "info received".to_owned()
            }
            SessionEvent::InfoAnswered(status) => format!("info answered {status}"),
            SessionEvent::InfoUnwanted => "info not sent".to_owned(),
            SessionEvent::Redirected(target) => format!("call redirected {target}"),
            SessionEvent::Video(on) => format!("video {}", if on { "added" } else { "dropped" }),
            SessionEvent::Progress => "call progress".to_owned(),
            SessionEvent::Refused(status) => format!("change refused {status}"),
            SessionEvent::Resumed => "call resumed".to_owned(),
            SessionEvent::Ringing => {
                if incoming && let Robot::Answers { after } = self.config.robot {
                    let timer = UeTimer::Robot(number);
                    out.push(Action::SetTimer { timer, at: env.now + after });
                }
                "call ringing".to_owned()
            }
        };
        out.push(Action::State(state));
    }

    /// A 504 from our own S-CSCF or P-CSCF that asks for it makes us register anew
    /// (TS 24.229 §5.1.2A.1.6).
    fn on_call_failed(
        &mut self,
        env: &mut Env<'_>,
        response: &Response,
        out: &mut Actions<UeTimer>,
    ) {
        let asserted = response.headers.first_value(HeaderName::PAssertedIdentity);
        let asserted = asserted.and_then(|value| NameAddr::parse(value).ok());
        let ours = asserted.is_some_and(|address| self.is_own_core(&address.uri));
        if self.config.mistakes.ignores_restoration {
            return;
        }
        if response.status != 504 || !ours || !asks_for_registration(&response.body) {
            return;
        }
        env.note(ts24229("5.1.2A.1.6"), || "504 asks for restoration: registers anew".to_owned());
        let expires = self.config.expires;
        self.register(env, expires, out);
    }

    /// Whether a URI is one of our Service-Route or Path.
    fn is_own_core(&self, uri: &Uri) -> bool {
        let known = self.registration.service_route.iter().chain(&self.registration.path);
        known.filter_map(|value| NameAddr::parse(value).ok()).any(|route| {
            route.uri.host() == uri.host()
                && route.uri.port() == uri.port()
                && route.uri.user() == uri.user()
        })
    }

    /// The newest call for which `fits` holds.
    pub(super) fn newest(&self, fits: impl Fn(&Call) -> bool) -> Option<u16> {
        self.calls.iter().rev().find(|(_, call)| fits(call)).map(|(number, _)| *number)
    }

    /// The newest call in one of these phases, with the person the order is about.
    pub(super) fn meant(&self, phases: &[SessionPhase]) -> Option<u16> {
        let about = |call: &Call| self.about.is_empty() || is_one_of(&call.peer, &self.about);
        self.newest(|call| phases.contains(&call.session.phase()) && about(call))
    }

    /// An order for the newest call in one of these phases.
    pub(super) fn order(
        &mut self,
        env: &mut Env<'_>,
        phases: &[SessionPhase],
        out: &mut Actions<UeTimer>,
        step: impl FnOnce(&mut Session<ContextId>, &mut Turn<'_, ContextId>),
    ) {
        match self.meant(phases) {
            Some(number) => self.drive(env, number, out, step),
            None => out.push(Action::State("no call".to_owned())),
        }
    }

    /// A request inside a dialog, or an ACK.
    pub(super) fn on_call_request(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<UeTimer>,
    ) {
        let request = &incoming.request;
        let is_ack = request.method == Method::Ack;
        let id = DialogId::of_request(request);
        let Some(number) = self.newest(|call| call.session.owns(&id)) else {
            if !is_ack {
                env.refuse(rfc3261("12.2.2"), || "481: no such dialog".to_owned());
                self.reply(incoming, request.reply(481), out);
            }
            return;
        };
        if !is_ack && let Err(refusal) = inspect(request, &self.abilities(), |_| true) {
            env.refuse(refusal.clause, || format!("{}: {}", refusal.status, refusal.why));
            let response = refusal.response(request);
            return self.reply(incoming, response, out);
        }
        match request.method {
            Method::Message | Method::Options => self.on_plain_request(env, incoming, out),
            _ => self.drive(env, number, out, |session, turn| {
                session.on_request(turn, incoming.context, request);
            }),
        }
    }

    pub(super) fn on_call_response(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        id: RequestId,
        answered: &OwnAnswered,
        out: &mut Actions<UeTimer>,
    ) {
        self.emergency_answered(number, answered.response.status, out);
        self.drive(env, number, out, |session, turn| {
            session.on_response(turn, id, &answered.response);
        });
    }

    pub(super) fn on_call_cancelled(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        out: &mut Actions<UeTimer>,
    ) {
        if let Some(number) = self.newest(|call| call.session.pending_context() == Some(context)) {
            self.drive(env, number, out, |session, turn| session.cancelled(turn));
        }
    }

    pub(super) fn on_call_timer(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        out: &mut Actions<UeTimer>,
    ) {
        if let Some(call) = self.calls.get_mut(&number) {
            call.deadline = None;
        }
        self.drive(env, number, out, |session, turn| session.handle_timeout(turn));
    }

    pub(super) fn on_robot_timer(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        out: &mut Actions<UeTimer>,
    ) {
        self.drive(env, number, out, |session, turn| session.answer(turn));
    }

    /// Forgets every call: nothing that we send reaches the peers any more.
    pub(super) fn lose_all_calls(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let numbers: Vec<u16> = self.calls.keys().copied().collect();
        for number in numbers {
            self.drive(env, number, out, |session, turn| session.lose(turn));
        }
    }

    /// Ends every call.
    pub(super) fn hang_up_all(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let numbers: Vec<u16> = self.calls.keys().copied().collect();
        for number in numbers {
            self.drive(env, number, out, |session, turn| session.hang_up(turn));
        }
    }
}

fn turn<'a>(env: &'a mut Env<'_>, out: &'a mut Vec<Effect<ContextId>>) -> Turn<'a, ContextId> {
    Turn { now: env.now, ids: &mut *env.ids, tracing: env.tracing, out }
}

fn call_tag(number: u16, id: RequestId) -> cscf_core::role::OwnTag {
    Own::Call(number, id).tag()
}
