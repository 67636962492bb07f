//! Offers of our own inside a dialog: UPDATE for preconditions and refreshes, re-INVITE for hold
//! (RFC 3311 §5.1, RFC 3312 §5, RFC 3264 §8.4, RFC 4028 §7.4).

use super::{ResourcePolicy, Retry, Session, SessionEvent, SessionPhase, Turn, What, sdp};
use crate::clause::{rfc3261, rfc3264, rfc3312};
use crate::dialog::{DialogId, DialogSide, SessionTimer};
use crate::sip::{HeaderName, Method, Response};
use crate::ua::offer::Carrier;

impl<C: Copy> Session<C> {
    /// Our resources are there, or will never be: the caller tells the callee by UPDATE or gives
    /// up, the callee goes on or refuses.
    pub(super) fn on_resources(&mut self, turn: &mut Turn<'_, C>) {
        if matches!(self.settings.resources, ResourcePolicy::Fails(_)) {
            return self.on_reservation_failed(turn);
        }
        for leg in &mut self.legs {
            leg.media.reserve();
        }
        turn.note(rfc3312("5"), || "the resources of this end are there".to_owned());
        if self.side == DialogSide::Caller {
            self.tell_all(turn);
        } else {
            self.advance(turn);
        }
    }

    fn tell_all(&mut self, turn: &mut Turn<'_, C>) {
        let ready = self.legs.iter().filter(|leg| leg.has_to_tell());
        let ready: Vec<DialogId> = ready.map(|leg| leg.dialog.id.clone()).collect();
        for id in ready {
            self.tell(turn, &id);
        }
    }

    /// UPDATE with the new status (TS 24.229 §5.1.3.1); only while the call is not answered.
    pub(super) fn tell(&mut self, turn: &mut Turn<'_, C>, id: &DialogId) {
        if self.phase != SessionPhase::Calling || self.cancelled {
            return;
        }
        let Some(leg) = self.leg_mut(id).filter(|leg| leg.has_to_tell()) else { return };
        if !leg.exchange.send_offer(Carrier::Update) {
            return;
        }
        let mut update = leg.dialog.request(Method::Update);
        update.set_body("application/sdp", leg.media.offer());
        leg.told = true;
        self.dress(&mut update.headers, true);
        update.headers.push(HeaderName::Require, "precondition");
        turn.note(rfc3312("5"), || "tells the callee by UPDATE".to_owned());
        self.send(turn, What::Update, id, update);
    }

    pub(super) fn on_prack_answered(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &DialogId,
        response: &Response,
    ) {
        let body = sdp(&response.headers, &response.body);
        if let Some(leg) = self.leg_mut(id) {
            leg.prack_pending = false;
            if leg.exchange.is_sent_by(Carrier::Prack) {
                let taken = body.map(|body| leg.media.take_answer(body));
                leg.exchange.settle();
                if !matches!(taken, Some(Ok(()))) {
                    turn.refuse(rfc3264("7"), || "PRACK without a usable answer".to_owned());
                }
            }
        }
        if !response.is_success() {
            turn.refuse(rfc3261("8.1.3"), || format!("PRACK was answered {}", response.status));
        }
        self.tell(turn, id);
    }

    pub(super) fn on_update_answered(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &DialogId,
        response: &Response,
    ) {
        let body = sdp(&response.headers, &response.body);
        let calling = self.phase == SessionPhase::Calling;
        let Some(leg) = self.leg_mut(id) else { return };
        if response.is_success() {
            leg.dialog.refresh_target(&response.headers);
            let offered = leg.exchange.is_sent_by(Carrier::Update);
            if offered {
                let taken = body.map(|body| leg.media.take_answer(body));
                leg.exchange.settle();
                if !matches!(taken, Some(Ok(()))) {
                    turn.refuse(rfc3264("7"), || "UPDATE without a usable answer".to_owned());
                }
            }
            self.learn_timer(turn, response);
            if offered && !calling {
                self.tell_change(turn, id);
            }
            return;
        }
        let offered = leg.exchange.is_sent_by(Carrier::Update);
        if offered {
            leg.exchange.withdraw(true);
        }
        if offered && calling {
            leg.told = false;
        }
        let retry = if offered && !calling { Retry::Offer } else { Retry::Update };
        if !self.try_later(turn, retry, response) {
            if offered
                && !calling
                && let Some(leg) = self.leg_mut(id)
            {
                leg.media.revert();
            }
            turn.event(SessionEvent::Refused(response.status));
        }
    }

    fn learn_timer(&mut self, turn: &Turn<'_, C>, response: &Response) {
        if self.phase != SessionPhase::Talking {
            return;
        }
        if let Some(timer) = SessionTimer::learn(turn.now, &response.headers) {
            self.timer = Some(timer);
        }
    }

    /// Refreshes the session: UPDATE without SDP where the peer takes it, else re-INVITE with the
    /// SDP as it is (RFC 4028 §7.4).
    pub(super) fn refresh(&mut self, turn: &mut Turn<'_, C>) {
        let Some(leg) = self.talking() else { return };
        if !leg.peer_updates {
            return self.reinvite(turn);
        }
        let mut update = leg.dialog.request(Method::Update);
        let id = leg.dialog.id.clone();
        let uses = leg.media.uses_preconditions();
        self.dress(&mut update.headers, uses);
        if let Some(value) = &self.timer_value {
            update.headers.set(HeaderName::SessionExpires, value);
        }
        self.send(turn, What::Update, &id, update);
    }

    /// Puts the call on hold, or takes it back (RFC 3264 §8.4).
    pub fn hold(&mut self, turn: &mut Turn<'_, C>, on: bool) {
        self.hold_by(turn, on, &Method::Invite);
    }

    /// The same, by UPDATE or re-INVITE.
    pub fn hold_by(&mut self, turn: &mut Turn<'_, C>, on: bool, method: &Method) {
        if self.phase != SessionPhase::Talking {
            return;
        }
        if let Some(leg) = self.talking() {
            leg.media.hold(on);
        }
        if *method == Method::Update { self.offer_update(turn) } else { self.reinvite(turn) }
    }

    /// Adds video to the call, or drops it (RFC 3264 §8.1, §8.2).
    pub fn video(&mut self, turn: &mut Turn<'_, C>, on: bool) {
        if self.phase != SessionPhase::Talking {
            return;
        }
        if self.talking().is_some_and(|leg| leg.media.want_video(on)) {
            self.reinvite(turn);
        }
    }

    /// UPDATE with an offer inside an established call.
    fn offer_update(&mut self, turn: &mut Turn<'_, C>) {
        let at = turn.now + crate::time::Duration::from_millis(500);
        let Some(leg) = self.talking() else { return };
        if !leg.exchange.send_offer(Carrier::Update) {
            self.retry = Some((at, Retry::Offer));
            return;
        }
        let mut update = leg.dialog.request(Method::Update);
        let id = leg.dialog.id.clone();
        let uses = leg.media.uses_preconditions();
        update.set_body("application/sdp", leg.media.offer());
        self.dress(&mut update.headers, uses);
        self.send(turn, What::Update, &id, update);
    }

    /// Tells the user what an accepted offer of ours changed.
    fn tell_change(&mut self, turn: &mut Turn<'_, C>, id: &DialogId) {
        let Some(leg) = self.leg_mut(id) else { return };
        let (held, video) = (leg.media.is_held(), leg.media.has_video());
        if std::mem::replace(&mut leg.told_video, video) == video {
            turn.event(if held { SessionEvent::Held } else { SessionEvent::Resumed });
        } else {
            turn.event(SessionEvent::Video(video));
        }
    }

    pub(super) fn reinvite(&mut self, turn: &mut Turn<'_, C>) {
        let busy = self.is_pending(What::Reinvite) || self.peer.is_some();
        let at = turn.now + crate::time::Duration::from_millis(500);
        let Some(leg) = self.talking() else { return };
        if busy || !leg.exchange.send_offer(Carrier::Invite) {
            self.retry = Some((at, Retry::Reinvite));
            return;
        }
        let mut invite = leg.dialog.request(Method::Invite);
        let id = leg.dialog.id.clone();
        let uses = leg.media.uses_preconditions();
        invite.set_body("application/sdp", leg.media.offer());
        self.dress(&mut invite.headers, uses);
        if let Some(value) = self.timer.map(|timer| timer.refresh_value()) {
            invite.headers.set(HeaderName::SessionExpires, &value);
        }
        self.send(turn, What::Reinvite, &id, invite);
    }

    pub(super) fn on_reinvite_answered(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &DialogId,
        cseq: u32,
        response: &Response,
    ) {
        let body = sdp(&response.headers, &response.body);
        let Some(leg) = self.leg_mut(id) else { return };
        if response.is_success() {
            if let Some((number, ack)) = leg.ack.clone()
                && number == cseq
            {
                return self.push_ack(turn, ack);
            }
            leg.dialog.refresh_target(&response.headers);
            let taken = body.map(|body| leg.media.take_answer(body));
            leg.exchange.settle();
            self.acknowledge_cseq(turn, id, cseq, None);
            self.sent.retain(|_, sent| sent.what != What::Reinvite || sent.cseq == cseq);
            for sent in self.sent.values_mut().filter(|sent| sent.what == What::Reinvite) {
                sent.answered = true;
            }
            self.learn_timer(turn, response);
            if !matches!(taken, Some(Ok(()))) {
                turn.refuse(rfc3264("7"), || "re-INVITE without a usable answer: BYE".to_owned());
                return self.bye(turn, "no usable SDP answer");
            }
            return self.tell_change(turn, id);
        }
        leg.exchange.withdraw(true);
        if !self.try_later(turn, Retry::Reinvite, response) {
            if let Some(leg) = self.leg_mut(id) {
                leg.media.revert();
            }
            turn.note(rfc3261("14.1"), || {
                format!("{}: the session stays as it was", response.status)
            });
            turn.event(SessionEvent::Refused(response.status));
        }
    }

    pub(super) fn try_again(&mut self, turn: &mut Turn<'_, C>, retry: Retry) {
        match (retry, self.phase) {
            (Retry::Reinvite, SessionPhase::Talking) => self.reinvite(turn),
            (Retry::Update, SessionPhase::Calling) => self.tell_all(turn),
            (Retry::Update, SessionPhase::Talking) => self.refresh(turn),
            (Retry::Offer, SessionPhase::Talking) => self.offer_update(turn),
            _ => {}
        }
    }
}
