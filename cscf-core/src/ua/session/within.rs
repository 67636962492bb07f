//! Requests inside the dialogs of a session, in both directions: ACK, PRACK, UPDATE, re-INVITE,
//! INFO and BYE (RFC 3261 §12.2, §14, §15; RFC 3262; RFC 3311; RFC 6086).

use super::callee::not_acceptable;
use super::release::reason_of;
use super::{
    Effect, PeerInvite, RequestId, Retry, Session, SessionEvent, SessionPhase, Turn, What, sdp,
};
use crate::clause::{rfc3261, rfc3262, rfc3264, rfc3311, rfc4028};
use crate::dialog::{DialogId, DialogSide, SessionTimer};
use crate::sip::{HeaderName, Method, Request, Response};
use crate::ua::accepted::{Accepted, after_glare, retry_after_pending};
use crate::ua::offer::Carrier;

impl<C: Copy> Session<C> {
    /// A request in one of our dialogs, which [`Session::owns`]; it has passed the checks of
    /// [`crate::ua::inspect`]. `context` is of no use for ACK.
    pub fn on_request(&mut self, turn: &mut Turn<'_, C>, context: C, request: &Request) {
        let id = DialogId::of_request(request);
        let over = self.phase == SessionPhase::Over;
        let Some(leg) = self.leg_mut(&id) else {
            return turn.respond(context, request.reply(481));
        };
        if request.method == Method::Ack {
            return self.on_ack(turn, &id, request);
        }
        if let Err(order) = leg.dialog.take_cseq(request) {
            turn.refuse(rfc3261("12.2.2"), || format!("500: {order}"));
            return turn.respond(context, request.reply(500));
        }
        if over {
            turn.refuse(rfc3261("12.2.2"), || "481: the session is over".to_owned());
            return turn.respond(context, request.reply(481));
        }
        match request.method {
            Method::Bye => self.on_bye(turn, context, &id, request),
            Method::Info => self.on_info(turn, context, request),
            Method::Invite => self.on_reinvite(turn, context, &id, request),
            Method::Prack => self.on_prack(turn, context, &id, request),
            Method::Update => self.on_update(turn, context, &id, request),
            Method::Refer | Method::Notify | Method::Subscribe => {
                turn.out.push(Effect::Asked(context, Box::new(request.clone())));
            }
            _ => {
                let mut response = request.reply(405);
                response.headers.push(HeaderName::Allow, &self.settings.abilities.allow());
                turn.respond(context, response);
            }
        }
    }

    /// A response to a request of ours.
    pub fn on_response(&mut self, turn: &mut Turn<'_, C>, id: RequestId, response: &Response) {
        let Some(sent) = self.sent.get(&id) else { return };
        let (what, dialog, cseq) = (sent.what, sent.dialog.clone(), sent.cseq);
        if what == What::Invite {
            return self.on_invite_response(turn, id, response);
        }
        if response.is_provisional() {
            return;
        }
        let Some(dialog) = dialog else { return };
        if what != What::Reinvite || !response.is_success() {
            self.sent.remove(&id);
        }
        // The dialog is gone for the peer, or the peer is gone (RFC 3261 §12.2.1.2).
        let gone = matches!(response.status, 408 | 481);
        if gone && !matches!(what, What::Bye | What::Info | What::Other) {
            turn.refuse(rfc3261("12.2.1.2"), || {
                format!("{} inside the dialog: ends it", response.status)
            });
            return self.lose_leg(turn, &dialog);
        }
        match what {
            What::Bye => self.end(turn, Some(SessionEvent::Ended("hung up"))),
            What::Info => turn.event(SessionEvent::InfoAnswered(response.status)),
            What::Prack => self.on_prack_answered(turn, &dialog, response),
            What::Reinvite => self.on_reinvite_answered(turn, &dialog, cseq, response),
            What::Update => self.on_update_answered(turn, &dialog, response),
            What::Other => turn.event(SessionEvent::Answered(id, Box::new(response.clone()))),
            What::Invite => {}
        }
    }

    fn on_ack(&mut self, turn: &mut Turn<'_, C>, id: &DialogId, request: &Request) {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let waited = self.peer.as_ref().is_some_and(|peer| {
            peer.accepted.as_ref().is_some_and(|accepted| accepted.cseq == number)
        });
        if !waited {
            return;
        }
        self.peer = None;
        let Some(leg) = self.leg_mut(id) else { return };
        if leg.exchange.is_sent_by(Carrier::Response) {
            let body = sdp(&request.headers, &request.body);
            let taken = body.is_some_and(|body| leg.media.take_answer(body).is_ok());
            leg.exchange.settle();
            if !taken {
                turn.refuse(rfc3264("7"), || "no usable answer in the ACK: BYE".to_owned());
                return self.bye(turn, "no usable SDP answer");
            }
        }
        if !self.established {
            self.established = true;
            turn.event(SessionEvent::Established);
        }
        if let Some(why) = self.wishes.bye {
            self.bye(turn, why);
        }
    }

    fn on_bye(&mut self, turn: &mut Turn<'_, C>, context: C, id: &DialogId, request: &Request) {
        turn.respond(context, request.reply(200));
        match self.phase {
            SessionPhase::Incoming => {
                turn.note(rfc3261("15.1.2"), || "BYE before the answer: 487 to INVITE".to_owned());
                if let Some(invite) = self.peer.as_ref().map(|peer| peer.request.clone()) {
                    self.finish(turn, invite.reply(487), "ended by the peer");
                }
            }
            SessionPhase::Calling => self.lose_leg(turn, id),
            SessionPhase::Ending | SessionPhase::Over | SessionPhase::Talking => {
                // A re-INVITE that is not answered yet ends with the session (RFC 3261 §15.1.2).
                if let Some(peer) = self.peer.take().filter(|peer| peer.accepted.is_none()) {
                    turn.respond(peer.context, peer.request.reply(487));
                }
                self.end(turn, Some(SessionEvent::Ended("ended by the peer")));
            }
        }
    }

    fn on_prack(&mut self, turn: &mut Turn<'_, C>, context: C, id: &DialogId, request: &Request) {
        let Ok(rack) = request.rack() else {
            turn.refuse(rfc3262("7.2"), || "400: RAck is missing or unreadable".to_owned());
            return turn.respond(context, request.reply(400));
        };
        let taken = self.sender.as_mut().map(|sender| sender.on_prack(turn.now, &rack));
        let Some(Ok(next)) = taken else {
            turn.refuse(rfc3262("3"), || format!("481: RAck {} matches no response", rack.rseq));
            return turn.respond(context, request.reply(481));
        };
        let mut response = request.reply(200);
        if let Some(body) = sdp(&request.headers, &request.body)
            && let Err(refusal) = self.take_sdp_of_prack(turn, id, request, body, &mut response)
        {
            response = refusal;
        }
        turn.respond(context, response);
        if let Some(next) = next
            && let Some(context) = self.pending_context()
        {
            turn.respond(context, next);
        }
        self.advance(turn);
    }

    /// The answer to the offer of our 18x, or a new offer (RFC 3262 §5).
    fn take_sdp_of_prack(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &DialogId,
        request: &Request,
        body: &[u8],
        response: &mut Response,
    ) -> Result<(), Response> {
        let Some(leg) = self.leg_mut(id) else { return Ok(()) };
        if leg.exchange.is_sent_by(Carrier::Response) {
            if let Err(error) = leg.media.take_answer(body) {
                turn.refuse(rfc3264("7"), || format!("the answer is unusable: {error}"));
                return Err(not_acceptable(request, &error, &leg.media));
            }
            leg.exchange.settle();
            return Ok(());
        }
        let answer = self.answer_offer(turn, id, request, body, Carrier::Prack)?;
        response.set_body("application/sdp", answer);
        Ok(())
    }

    /// Takes an offer and gives the answer, or the refusal (RFC 3311 §5.2, RFC 3261 §14.2).
    fn answer_offer(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &DialogId,
        request: &Request,
        body: &[u8],
        carrier: Carrier,
    ) -> Result<String, Response> {
        let Some(leg) = self.leg_mut(id) else { return Err(request.reply(481)) };
        if let Err(untimely) = leg.exchange.receive_offer(carrier) {
            turn.refuse(rfc3311("5.2"), || format!("{}: {untimely}", untimely.status()));
            let mut response = request.reply(untimely.status());
            if untimely.status() == 500 {
                response.headers.push(HeaderName::RetryAfter, &retry_after_pending(turn.ids));
            }
            return Err(response);
        }
        let (held, video) = (leg.media.is_held_by_peer(), leg.media.has_video());
        if let Err(error) = leg.media.take_offer(body) {
            leg.exchange.withdraw(true);
            turn.refuse(rfc3264("6"), || format!("{}: {error}", error.status()));
            return Err(not_acceptable(request, &error, &leg.media));
        }
        let answer = leg.media.answer();
        leg.exchange.settle();
        leg.told = leg.media.is_reserved();
        let (now_held, now_video) = (leg.media.is_held_by_peer(), leg.media.has_video());
        leg.told_video = now_video;
        if held != now_held {
            turn.event(SessionEvent::HeldByPeer(now_held));
        }
        if video != now_video {
            turn.event(SessionEvent::Video(now_video));
        }
        Ok(answer)
    }

    fn on_update(&mut self, turn: &mut Turn<'_, C>, context: C, id: &DialogId, request: &Request) {
        let Some(value) = self.refreshed_timer(turn, context, request) else { return };
        let mut answer = None;
        if let Some(body) = sdp(&request.headers, &request.body) {
            match self.answer_offer(turn, id, request, body, Carrier::Update) {
                Ok(text) => answer = Some(text),
                Err(refusal) => return turn.respond(context, refusal),
            }
        }
        if let Some(leg) = self.leg_mut(id) {
            leg.dialog.refresh_target(&request.headers);
            leg.learn(&request.headers);
        }
        let mut response = self.dialog_response(request, 200);
        let _ = response.headers.remove(HeaderName::RecordRoute);
        if let Some(answer) = answer {
            response.set_body("application/sdp", answer);
        }
        self.restart_timer(turn, value, request, &mut response);
        turn.respond(context, response);
        self.advance(turn);
    }

    /// The session timer a refresh asks for; `None` when it was refused with 422.
    fn refreshed_timer(
        &mut self,
        turn: &mut Turn<'_, C>,
        context: C,
        request: &Request,
    ) -> Option<Option<(SessionTimer, String)>> {
        if self.phase != SessionPhase::Talking {
            return Some(None);
        }
        match SessionTimer::answer(turn.now, &request.headers, &self.settings.timer) {
            Ok(timer) => Some(timer),
            Err(small) => {
                turn.refuse(rfc4028("9"), || format!("422: {small}"));
                let mut response = request.reply(422);
                let least = small.min_se.as_secs().to_string();
                response.headers.push(HeaderName::MinSe, &least);
                turn.respond(context, response);
                None
            }
        }
    }

    fn restart_timer(
        &mut self,
        turn: &mut Turn<'_, C>,
        timer: Option<(SessionTimer, String)>,
        request: &Request,
        response: &mut Response,
    ) {
        if self.phase != SessionPhase::Talking {
            return;
        }
        let Some((timer, value)) = timer else { return };
        self.timer = Some(timer);
        self.timer_value = Some(value);
        self.put_timer(turn, request, response);
    }

    fn on_reinvite(
        &mut self,
        turn: &mut Turn<'_, C>,
        context: C,
        id: &DialogId,
        request: &Request,
    ) {
        if self.is_pending(What::Reinvite) || self.is_pending(What::Update) {
            turn.refuse(rfc3261("14.2"), || "491: our own offer is out".to_owned());
            return turn.respond(context, request.reply(491));
        }
        if self.peer.as_ref().is_some_and(|peer| peer.accepted.is_none()) {
            turn.refuse(rfc3261("14.2"), || "500: an INVITE is not answered yet".to_owned());
            let mut response = request.reply(500);
            response.headers.push(HeaderName::RetryAfter, &retry_after_pending(turn.ids));
            return turn.respond(context, response);
        }
        let Some(timer) = self.refreshed_timer(turn, context, request) else { return };
        let body = match sdp(&request.headers, &request.body) {
            Some(body) => match self.answer_offer(turn, id, request, body, Carrier::Invite) {
                Ok(answer) => answer,
                Err(refusal) => return turn.respond(context, refusal),
            },
            None => {
                let leg = self.leg_mut(id).filter(|leg| leg.exchange.may_offer());
                let Some(leg) = leg else { return turn.respond(context, request.reply(491)) };
                let _ = leg.exchange.send_offer(Carrier::Response);
                leg.media.offer()
            }
        };
        if let Some(leg) = self.leg_mut(id) {
            leg.dialog.refresh_target(&request.headers);
            leg.learn(&request.headers);
        }
        let mut response = self.dialog_response(request, 200);
        response.set_body("application/sdp", body);
        self.restart_timer(turn, timer, request, &mut response);
        turn.respond(context, response.clone());
        let number = request.cseq().map_or(1, |cseq| cseq.number);
        let (t1, t2) = (self.settings.t1, self.settings.t2);
        let accepted = Some(Accepted::start(turn.now, t1, t2, number, response));
        self.peer = Some(PeerInvite { context, request: request.clone(), accepted });
    }

    /// Ends the call: BYE, or CANCEL or 480 before it is answered (RFC 3261 §15).
    pub fn hang_up(&mut self, turn: &mut Turn<'_, C>) {
        match self.phase {
            SessionPhase::Calling => self.cancel(turn),
            SessionPhase::Incoming => self.reject(turn, 480),
            SessionPhase::Talking => {
                let unacknowledged =
                    self.side == DialogSide::Callee && self.peer.is_some() && !self.established;
                if unacknowledged {
                    // The callee may not send BYE before the ACK (RFC 3261 §15).
                    self.wishes.bye = Some("hung up");
                } else {
                    self.bye(turn, "hung up");
                }
            }
            SessionPhase::Ending | SessionPhase::Over => {}
        }
    }

    /// Forgets the call without a word to the peer: the path to it is gone. Only the INVITE of a
    /// caller gets its answer, should it still arrive.
    pub fn lose(&mut self, turn: &mut Turn<'_, C>) {
        self.reject(turn, 480);
        self.end(turn, Some(SessionEvent::Ended("the path to the peer is lost")));
    }

    pub(super) fn bye(&mut self, turn: &mut Turn<'_, C>, why: &'static str) {
        let Some(id) = self.talking().map(|leg| leg.dialog.id.clone()) else {
            return self.end(turn, Some(SessionEvent::Ended(why)));
        };
        if why != "hung up" {
            // Nobody waits for the answer to tell the user.
            self.bye_leg_because(turn, &id, reason_of(why));
            return self.end(turn, Some(SessionEvent::Ended(why)));
        }
        self.phase = SessionPhase::Ending;
        self.timer = None;
        self.retry = None;
        self.bye_leg(turn, &id);
    }

    pub(super) fn bye_leg(&mut self, turn: &mut Turn<'_, C>, id: &DialogId) {
        self.bye_leg_because(turn, id, None);
    }

    fn bye_leg_because(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &DialogId,
        reason: Option<&'static str>,
    ) {
        let Some(leg) = self.leg_mut(id) else { return };
        let mut bye = leg.dialog.request(Method::Bye);
        if let Some(reason) = reason {
            bye.headers.push(HeaderName::Reason, reason);
        }
        self.send(turn, What::Bye, id, bye);
    }

    /// A dialog is lost: the call if it is the only one, else one fork.
    fn lose_leg(&mut self, turn: &mut Turn<'_, C>, id: &DialogId) {
        if self.phase == SessionPhase::Calling {
            self.legs.retain(|leg| leg.dialog.id != *id);
            if self.legs.is_empty() {
                self.cancel(turn);
            }
            return;
        }
        self.end(turn, Some(SessionEvent::Ended("lost")));
    }

    /// After glare: once more, later (RFC 3261 §14.1, RFC 3311 §5.3).
    pub(super) fn try_later(
        &mut self,
        turn: &mut Turn<'_, C>,
        retry: Retry,
        response: &Response,
    ) -> bool {
        let wait = match response.status {
            491 => after_glare(self.side, turn.ids),
            500 => match response.headers.get(HeaderName::RetryAfter) {
                Some(text) => match crate::sip::RetryAfter::parse(text) {
                    Ok(after) => crate::time::Duration::from_secs(after.seconds.into()),
                    Err(_) => return false,
                },
                None => return false,
            },
            _ => return false,
        };
        let at = turn.now + wait;
        turn.note(rfc3261("14.1"), || format!("{}: tries again at {at}", response.status));
        self.retry = Some((at, retry));
        true
    }
}
