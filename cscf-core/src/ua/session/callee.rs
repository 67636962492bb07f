//! The callee's INVITE: offer, reliable provisional responses, preconditions before alerting, the
//! final response (RFC 3261 §13.3, RFC 3262 §3, RFC 3312 §6, TS 24.229 §5.1.4.1).

use super::leg::Leg;
use super::{
    PeerInvite, ResourcePolicy, Session, SessionEvent, SessionPhase, SessionSettings, Turn, sdp,
};
use crate::clause::{rfc3261, rfc3262, rfc3264, rfc3312, rfc4028};
use crate::dialog::{Dialog, DialogSide, SessionTimer};
use crate::sip::{HeaderName, Request, Response};
use crate::time::Duration;
use crate::ua::accepted::Accepted;
use crate::ua::media::{Media, MediaError};
use crate::ua::offer::{Carrier, Exchange};
use crate::ua::reliable::{ReliableSender, Resend};

/// How often a callee says that it still rings (RFC 3261 §13.3.1.1).
const RING_AGAIN: Duration = Duration::from_secs(60);
/// The same where each 180 is reliable (RFC 3262 §3).
const RING_AGAIN_RELIABLY: Duration = Duration::from_secs(150);

impl<C: Copy> Session<C> {
    /// Is called: takes the offer, and sends 183 where reliability or preconditions want it. The
    /// user then says [`Session::ring`], [`Session::answer`] or [`Session::reject`]. The request
    /// has passed the checks of [`crate::ua::inspect`].
    pub fn called(
        turn: &mut Turn<'_, C>,
        settings: SessionSettings,
        context: C,
        invite: &Request,
    ) -> Self {
        let mut session = Self::empty(settings, DialogSide::Callee, SessionPhase::Incoming);
        let request = invite.clone();
        session.peer = Some(PeerInvite { context, request, accepted: None });
        let number = invite.cseq().map_or(1, |cseq| cseq.number);
        session.sender = Some(ReliableSender::new(turn.ids, session.settings.t1, number));
        let tag = turn.ids.tag();
        let dialog = match Dialog::at_callee(invite, &tag) {
            Ok(dialog) => dialog,
            Err(error) => {
                turn.refuse(rfc3261("12.1.1"), || format!("400: {error}"));
                session.finish(turn, invite.reply(400), "malformed");
                return session;
            }
        };
        if let Err(status) = session.begin(turn, dialog, invite) {
            session.finish(turn, status, "refused");
            return session;
        }
        session.progress(turn);
        session.advance(turn);
        session
    }

    /// Takes offer, session timer and preconditions of the INVITE; gives the refusal otherwise.
    fn begin(
        &mut self,
        turn: &mut Turn<'_, C>,
        dialog: Dialog,
        invite: &Request,
    ) -> Result<(), Response> {
        match SessionTimer::answer(turn.now, &invite.headers, &self.settings.timer) {
            Ok(Some((timer, value))) => {
                self.timer_value = Some(value);
                self.timer = Some(timer);
            }
            Ok(None) => {}
            Err(small) => {
                turn.refuse(rfc4028("9"), || format!("422: {small}"));
                let mut response = invite.reply(422);
                let least = small.min_se.as_secs().to_string();
                response.headers.push(HeaderName::MinSe, &least);
                return Err(response);
            }
        }
        let reserved = self.settings.resources == ResourcePolicy::Reserved;
        let usable = self.may_be_reliable(invite) && knows(invite, "precondition");
        let preconditions = self.settings.preconditions && usable;
        let plan = self.settings.media.clone();
        let mut media = Media::new(plan, preconditions.then_some(reserved));
        let mut exchange = Exchange::Nothing;
        if let Some(offer) = sdp(&invite.headers, &invite.body) {
            let _ = exchange.receive_offer(Carrier::Invite);
            if let Err(error) = media.take_offer(offer) {
                turn.refuse(rfc3264("6"), || format!("{}: {error}", error.status()));
                return Err(not_acceptable(invite, &error, &media));
            }
        }
        let mut leg = Leg::new(dialog, exchange, media);
        leg.learn(&invite.headers);
        self.legs.push(leg);
        Ok(())
    }

    fn may_be_reliable(&self, invite: &Request) -> bool {
        self.settings.reliable && knows(invite, "100rel")
    }

    /// The 183 with SDP, where the caller takes it reliably: the answer, or the offer if there was
    /// none (RFC 3262 §5).
    fn progress(&mut self, turn: &mut Turn<'_, C>) {
        let Some(invite) = self.peer.as_ref().map(|peer| peer.request.clone()) else { return };
        if !self.may_be_reliable(&invite) {
            return;
        }
        let (needs, met) = self.talking().map_or((false, true), |leg| match leg.exchange {
            // Without an offer we make one, and nothing is there yet.
            Exchange::Nothing => (leg.media.would_use_preconditions(), false),
            _ => (leg.media.uses_preconditions(), leg.media.is_met()),
        });
        if needs && met {
            turn.note(rfc3312("6"), || "all resources are there: no 183 needed".to_owned());
            return;
        }
        if needs {
            turn.note(rfc3312("6"), || "resources are missing: 183 before alerting".to_owned());
        }
        let mut response = self.provisional(&invite, 183);
        if needs {
            response.headers.push(HeaderName::Require, "precondition");
        }
        self.put_sdp(&mut response);
        self.send_reliably(turn, response);
        if let Some(wait) = self.settings.resources.wait()
            && needs
        {
            self.resources_at = Some(turn.now + wait);
        }
    }

    /// Answer or offer into a response, if one is due.
    fn put_sdp(&mut self, response: &mut Response) {
        let Some(leg) = self.talking() else { return };
        let body = match leg.exchange {
            Exchange::Received(_) => {
                let answer = leg.media.answer();
                leg.exchange.settle();
                leg.told = leg.media.is_reserved();
                answer
            }
            Exchange::Nothing => {
                let offer = leg.media.offer();
                let _ = leg.exchange.send_offer(Carrier::Response);
                offer
            }
            Exchange::Sent(_) | Exchange::Stable => return,
        };
        response.set_body("application/sdp", body);
    }

    fn send_reliably(&mut self, turn: &mut Turn<'_, C>, response: Response) {
        let Some(context) = self.pending_context() else { return };
        let Some(sender) = &mut self.sender else { return };
        if let Some(response) = sender.send(turn.now, response) {
            turn.respond(context, response);
        }
    }

    /// A response that makes the dialog: tag, Record-Route, Contact (RFC 3261 §12.1.1).
    pub(super) fn dialog_response(&self, request: &Request, status: u16) -> Response {
        let mut response = request.reply(status);
        if let Some(leg) = self.legs.first() {
            response.set_to_tag(&leg.dialog.id.local_tag);
        }
        response.headers.copy_from(&request.headers, HeaderName::RecordRoute);
        let uses = self.legs.first().is_some_and(|leg| leg.media.uses_preconditions());
        self.dress(&mut response.headers, uses);
        response
    }

    fn provisional(&self, invite: &Request, status: u16) -> Response {
        let mut response = self.dialog_response(invite, status);
        let _ = response.headers.remove(HeaderName::Supported);
        response
    }

    /// The user is to be told, or was: 180 goes out as soon as the preconditions are met.
    pub fn ring(&mut self, turn: &mut Turn<'_, C>) {
        self.wishes.ring = true;
        self.advance(turn);
    }

    /// The user takes the call: 200 goes out as soon as it may.
    pub fn answer(&mut self, turn: &mut Turn<'_, C>) {
        self.wishes.answer = true;
        self.advance(turn);
    }

    /// The user refuses with a final status.
    pub fn reject(&mut self, turn: &mut Turn<'_, C>, status: u16) {
        self.refuse(turn, status, &[]);
    }

    /// The same with further headers, such as the Contact of a 302.
    pub fn refuse(
        &mut self,
        turn: &mut Turn<'_, C>,
        status: u16,
        headers: &[(HeaderName, String)],
    ) {
        if self.phase != SessionPhase::Incoming {
            return;
        }
        let Some(invite) = self.peer.as_ref().map(|peer| peer.request.clone()) else { return };
        let mut response = invite.reply(status);
        for (name, value) in headers {
            response.headers.push(*name, value);
        }
        self.finish(turn, response, "rejected");
    }

    /// The INVITE was cancelled; the CANCEL is answered already (RFC 3261 §9.2).
    pub fn cancelled(&mut self, turn: &mut Turn<'_, C>) {
        if self.phase != SessionPhase::Incoming {
            return;
        }
        let Some(invite) = self.peer.as_ref().map(|peer| peer.request.clone()) else { return };
        turn.note(rfc3261("9.2"), || "cancelled before it was answered: 487".to_owned());
        self.finish(turn, invite.reply(487), "cancelled");
    }

    /// A final response that is no success.
    pub(super) fn finish(
        &mut self,
        turn: &mut Turn<'_, C>,
        mut response: Response,
        why: &'static str,
    ) {
        if let Some(leg) = self.legs.first() {
            response.set_to_tag(&leg.dialog.id.local_tag);
        }
        if let Some(peer) = self.peer.take() {
            turn.respond(peer.context, response);
        }
        self.end(turn, Some(SessionEvent::Ended(why)));
    }

    /// Sends what may be sent now: 180 and 200 wait for PRACK, answers and resources.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_, C>) {
        if self.phase != SessionPhase::Incoming {
            return;
        }
        let clear = self.sender.as_ref().is_none_or(ReliableSender::is_clear);
        let Some(leg) = self.legs.first() else { return };
        let open = leg.exchange.is_sent();
        if !clear || open || (leg.media.uses_preconditions() && !leg.media.is_met()) {
            return;
        }
        if self.wishes.ring && !self.alerting {
            self.alert(turn);
        }
        let clear = self.sender.as_ref().is_none_or(ReliableSender::is_clear);
        if self.wishes.answer && clear {
            self.accept(turn);
        }
    }

    fn alert(&mut self, turn: &mut Turn<'_, C>) {
        let Some(invite) = self.peer.as_ref().map(|peer| peer.request.clone()) else { return };
        self.alerting = true;
        let answered = self.legs.first().is_some_and(|leg| leg.exchange.is_stable());
        self.send_ringing(turn, &invite, !answered);
        turn.event(SessionEvent::Ringing);
    }

    fn send_ringing(&mut self, turn: &mut Turn<'_, C>, invite: &Request, with_sdp: bool) {
        let required = invite.headers.has_token(HeaderName::Require, "100rel");
        let mut response = self.provisional(invite, 180);
        if self.may_be_reliable(invite) && (required || with_sdp) {
            self.put_sdp(&mut response);
            self.send_reliably(turn, response);
            self.ring_again_at = Some(turn.now + RING_AGAIN_RELIABLY);
        } else if let Some(context) = self.pending_context() {
            turn.respond(context, response);
            self.ring_again_at = Some(turn.now + RING_AGAIN);
        }
    }

    /// It still rings: says so again, so that no proxy on the way takes the call for dead
    /// (RFC 3261 §13.3.1.1, RFC 3262 §3).
    pub(super) fn ring_on(&mut self, turn: &mut Turn<'_, C>) {
        if self.phase != SessionPhase::Incoming {
            return;
        }
        let Some(invite) = self.peer.as_ref().map(|peer| peer.request.clone()) else { return };
        turn.note(rfc3261("13.3.1.1"), || "still ringing: 180 once more".to_owned());
        self.send_ringing(turn, &invite, false);
    }

    /// The reservation failed (RFC 3312 §8).
    pub(super) fn fail_resources(&mut self, turn: &mut Turn<'_, C>) {
        let Some(invite) = self.peer.as_ref().map(|peer| peer.request.clone()) else { return };
        turn.refuse(rfc3312("8"), || "580: the resources of this end cannot be had".to_owned());
        let mut response = invite.reply(580);
        if let Some(failure) = self.talking().map(|leg| leg.media.failure()) {
            response.set_body("application/sdp", failure);
        }
        self.finish(turn, response, "no resources");
    }

    fn accept(&mut self, turn: &mut Turn<'_, C>) {
        let Some(mut peer) = self.peer.take() else { return };
        let mut response = self.dialog_response(&peer.request, 200);
        self.put_sdp(&mut response);
        self.put_timer(turn, &peer.request, &mut response);
        if let Some(leg) = self.talking() {
            leg.dialog.confirm(&response);
        }
        turn.respond(peer.context, response.clone());
        let number = peer.request.cseq().map_or(1, |cseq| cseq.number);
        let (t1, t2) = (self.settings.t1, self.settings.t2);
        peer.accepted = Some(Accepted::start(turn.now, t1, t2, number, response));
        self.peer = Some(peer);
        self.phase = SessionPhase::Talking;
        self.ring_again_at = None;
        if let Some(sender) = &mut self.sender {
            sender.stop();
        }
    }

    /// Session-Expires into a 2xx, if agreed; the interval starts now (RFC 4028 §9).
    pub(super) fn put_timer(
        &mut self,
        turn: &mut Turn<'_, C>,
        request: &Request,
        response: &mut Response,
    ) {
        if let Some(timer) = &mut self.timer {
            *timer = SessionTimer::start(turn.now, timer.interval, timer.ours);
        }
        let Some(value) = &self.timer_value else { return };
        response.headers.set(HeaderName::SessionExpires, value);
        let supported = request.headers.has_token(HeaderName::Supported, "timer");
        if supported && value.ends_with("uac") {
            response.headers.push(HeaderName::Require, "timer");
        }
    }

    /// Retransmits the reliable response, or refuses the INVITE after 64*T1 (RFC 3262 §3).
    pub(super) fn on_prack_missing(&mut self, turn: &mut Turn<'_, C>) {
        let Some(sender) = &mut self.sender else { return };
        match sender.handle_timeout(turn.now) {
            Resend::Nothing => {}
            Resend::Now(response) => {
                if let Some(context) = self.pending_context() {
                    turn.respond(context, response);
                }
            }
            Resend::GiveUp => {
                turn.refuse(rfc3262("3"), || "no PRACK within 64*T1: 504".to_owned());
                if let Some(invite) = self.peer.as_ref().map(|peer| peer.request.clone()) {
                    self.finish(turn, invite.reply(504), "no PRACK");
                }
            }
        }
    }
}

/// Whether a caller understands an extension.
fn knows(invite: &Request, tag: &str) -> bool {
    invite.headers.has_token(HeaderName::Supported, tag)
        || invite.headers.has_token(HeaderName::Require, tag)
}

/// 488 with Warning and what we can (RFC 3261 §13.3.1.3, §20.43).
pub(super) fn not_acceptable(request: &Request, error: &MediaError, media: &Media) -> Response {
    let mut response = request.reply(error.status());
    response.headers.push(HeaderName::Warning, error.warning());
    if error.status() == 488 {
        response.set_body("application/sdp", media.capabilities());
    }
    response
}
