//! The caller's INVITE: provisional responses and forks, PRACK, 2xx and ACK, failures, CANCEL
//! (RFC 3261 §13.2, §9.1; RFC 3262 §4; RFC 4028 §7.3).

use super::leg::{LEGS_MAX, Leg};
use super::{
    Effect, RequestId, ResourcePolicy, Sent, Session, SessionEvent, SessionPhase, SessionSettings,
    Turn, What, sdp,
};
use crate::clause::{rfc3261, rfc3262, rfc3264, rfc3312, ts24229};
use crate::dialog::{Dialog, DialogId, DialogSide, SessionTimer};
use crate::sip::{HeaderName, Method, Request, Response};
use crate::ua::media::Media;
use crate::ua::offer::{Carrier, Exchange};
use crate::ua::reliable::Received;

impl<C: Copy> Session<C> {
    /// Calls: `invite` has everything but Contact, Allow, Supported and SDP, which come from the
    /// settings. `offerless`: leaves the offer to the callee (RFC 3261 §13.2.1).
    pub fn call(
        turn: &mut Turn<'_, C>,
        settings: SessionSettings,
        mut invite: Request,
        offerless: bool,
    ) -> Self {
        let mut session = Self::empty(settings, DialogSide::Caller, SessionPhase::Calling);
        session.dress(&mut invite.headers, session.settings.preconditions);
        if let Some(interval) = session.settings.timer.interval {
            let who = session.settings.habits.refresher.as_str();
            let value = format!("{};refresher={who}", interval.as_secs());
            invite.headers.set(HeaderName::SessionExpires, &value);
            let least = session.settings.timer.min_se.as_secs();
            invite.headers.set(HeaderName::MinSe, &least.to_string());
        }
        if !offerless {
            let mut media = session.new_media();
            let offer = media.offer();
            invite.set_body("application/sdp", offer);
        }
        session.send_invite(turn, invite);
        session
    }

    /// The media of a new dialog, before anything is agreed.
    pub(super) fn new_media(&self) -> Media {
        let reserved = self.settings.resources == ResourcePolicy::Reserved;
        Media::new(self.settings.media.clone(), self.settings.preconditions.then_some(reserved))
    }

    fn send_invite(&mut self, turn: &mut Turn<'_, C>, invite: Request) {
        let id = self.number();
        let cseq = invite.cseq().map_or(1, |cseq| cseq.number);
        self.sent.insert(id, Sent { what: What::Invite, dialog: None, cseq, answered: false });
        self.invite = Some((id, invite.clone()));
        turn.out.push(Effect::Request(id, Box::new(invite)));
    }

    /// Sends the INVITE again after a challenge: the owner has put in the credentials and the next
    /// CSeq (RFC 3261 §22.2).
    pub fn invite_again(&mut self, turn: &mut Turn<'_, C>, invite: Request) {
        self.legs.clear();
        self.send_invite(turn, invite);
    }

    /// The INVITE as it was sent last.
    #[must_use]
    pub fn invite(&self) -> Option<&Request> {
        self.invite.as_ref().map(|(_, invite)| invite)
    }

    /// Gives up a call that is not answered (RFC 3261 §9.1).
    pub fn cancel(&mut self, turn: &mut Turn<'_, C>) {
        self.cancel_because(turn, None);
    }

    pub(super) fn cancel_because(&mut self, turn: &mut Turn<'_, C>, reason: Option<&'static str>) {
        let Some((id, _)) = self.invite else { return };
        if self.phase == SessionPhase::Calling && !self.cancelled {
            self.cancelled = true;
            self.cancel_reason = reason;
            turn.note(rfc3261("9.1"), || "the caller gives up: CANCEL".to_owned());
            turn.out.push(Effect::Cancel(id));
        }
    }

    /// A response to our first INVITE.
    pub(super) fn on_invite_response(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: RequestId,
        response: &Response,
    ) {
        let current = self.invite.as_ref().is_some_and(|(current, _)| *current == id);
        if !current {
            return;
        }
        match response.status {
            0..=100 => {}
            101..=199 => self.on_provisional(turn, response),
            200..=299 => self.on_invite_success(turn, response),
            _ => {
                self.sent.remove(&id);
                self.on_invite_failure(turn, response);
            }
        }
    }

    /// The leg of a response, new if this is its first one (RFC 3261 §12.1.2).
    fn leg_of(&mut self, turn: &mut Turn<'_, C>, response: &Response) -> Option<DialogId> {
        let id = DialogId::of_response(response);
        if let Some(leg) = self.leg_mut(&id) {
            leg.learn(&response.headers);
            return Some(id);
        }
        if self.legs.len() >= LEGS_MAX {
            turn.refuse(rfc3261("12.1.2"), || "too many forks: this one is not followed".into());
            return None;
        }
        let (_, invite) = self.invite.as_ref()?;
        let dialog = match Dialog::at_caller(invite, response) {
            Ok(dialog) => dialog,
            Err(error) => {
                turn.refuse(rfc3261("12.1.2"), || format!("no dialog: {error}"));
                return None;
            }
        };
        let offered = sdp(&invite.headers, &invite.body).is_some();
        let mut media = self.new_media();
        let mut exchange = Exchange::Nothing;
        if offered {
            // Each fork answers the same offer.
            let _ = media.offer();
            let _ = exchange.send_offer(Carrier::Invite);
        }
        let mut leg = Leg::new(dialog, exchange, media);
        leg.learn(&response.headers);
        self.legs.push(leg);
        Some(id)
    }

    fn on_provisional(&mut self, turn: &mut Turn<'_, C>, response: &Response) {
        if self.phase != SessionPhase::Calling {
            return;
        }
        let reliable = response.headers.has_token(HeaderName::Require, "100rel");
        let rseq = response.rseq().filter(|_| reliable);
        let has_tag = !response.to_tag().unwrap_or_default().is_empty();
        let leg = if has_tag { self.leg_of(turn, response) } else { None };
        if let (Some(id), Some(rseq)) = (leg, rseq) {
            match self.leg_mut(&id).map(|leg| leg.receiver.take(rseq)) {
                Some(Received::New) => self.on_reliable(turn, &id, rseq, response),
                Some(Received::OutOfOrder) => {
                    turn.refuse(rfc3262("4"), || "RSeq has a gap: not acknowledged".into());
                    return;
                }
                _ => return,
            }
        }
        self.early_media(turn, response);
        match response.status {
            180 => {
                let network = self.early_media;
                turn.note(ts24229("5.1.3.1"), || {
                    let what = if network { "the network's tone" } else { "local ringback" };
                    format!("180: {what}")
                });
                turn.event(SessionEvent::Ringing);
            }
            183 => turn.event(SessionEvent::Progress),
            _ => {}
        }
    }

    /// What P-Early-Media of a provisional response authorises: media towards us are played in the
    /// directions in which the other end may send (RFC 5009 §8). Without one, nothing changes.
    fn early_media(&mut self, turn: &mut Turn<'_, C>, response: &Response) {
        let Some(direction) = response.headers.early_media().and_then(|it| it.direction) else {
            return;
        };
        let play = direction.sends();
        self.early_media = play;
        let what = if play { "plays the network's media" } else { "plays no early media" };
        turn.note(ts24229("5.1.3.1"), || format!("P-Early-Media: {what}"));
        turn.event(SessionEvent::EarlyMedia(play));
    }

    /// A new reliable provisional response: its SDP counts, and PRACK answers it.
    fn on_reliable(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &DialogId,
        rseq: u32,
        response: &Response,
    ) {
        let body = sdp(&response.headers, &response.body);
        let Ok(answer) = self.take_sdp_of_response(turn, id, body) else {
            return self.cancel(turn);
        };
        if self.settings.skip_prack {
            return;
        }
        let Some((_, invite)) = &self.invite else { return };
        let number = invite.cseq().map_or(1, |cseq| cseq.number);
        let wrong = self.settings.habits.wrong_rack;
        let Some(leg) = self.leg_mut(id) else { return };
        let offer = if answer.is_none() { narrower(turn, leg, Carrier::Prack) } else { None };
        // An offer with mandatory preconditions has to say so (RFC 3312 §11).
        let required = offer.is_some() && leg.media.uses_preconditions();
        let mut prack = leg.dialog.request(Method::Prack);
        let rseq = if wrong { rseq.wrapping_add(7) } else { rseq };
        prack.headers.push(HeaderName::RAck, &format!("{rseq} {number} INVITE"));
        if let Some(description) = answer.or(offer) {
            prack.set_body("application/sdp", description);
        }
        if required {
            prack.headers.push(HeaderName::Require, "precondition");
        }
        leg.prack_pending = true;
        self.send(turn, What::Prack, id, prack);
    }

    /// Takes the answer to our offer, or the offer of a callee that got none; gives our answer to
    /// be sent in PRACK or ACK.
    fn take_sdp_of_response(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &DialogId,
        body: Option<&[u8]>,
    ) -> Result<Option<String>, ()> {
        let Some(leg) = self.leg_mut(id) else { return Err(()) };
        let Some(body) = body else { return Ok(None) };
        if leg.exchange.is_sent_by(Carrier::Invite) {
            if let Err(error) = leg.media.take_answer(body) {
                turn.refuse(rfc3264("7"), || format!("the answer is unusable: {error}"));
                return Err(());
            }
            leg.exchange.settle();
            self.reserve(turn, id);
            return Ok(None);
        }
        if leg.exchange != Exchange::Nothing {
            // The answer repeated in a later response says nothing new (RFC 3261 §13.2.1).
            return Ok(None);
        }
        let taken = leg.exchange.receive_offer(Carrier::Response).is_ok();
        if let Err(error) = leg.media.take_offer(body) {
            turn.refuse(rfc3264("6"), || format!("the offer is unusable: {error}"));
            return Err(());
        }
        let answer = leg.media.answer();
        leg.exchange.settle();
        leg.told = leg.media.is_reserved();
        self.reserve(turn, id);
        Ok(taken.then_some(answer))
    }

    /// The media are known: the resources of this end are reserved from now on (RFC 3312 §5).
    fn reserve(&mut self, turn: &mut Turn<'_, C>, id: &DialogId) {
        let (resources, waiting) = (self.settings.resources, self.resources_at.is_some());
        let Some(leg) = self.leg_mut(id) else { return };
        if !leg.media.uses_preconditions() {
            if self.settings.preconditions {
                turn.note(rfc3312("5"), || {
                    "the callee uses no preconditions: goes on without".to_owned()
                });
            }
            return;
        }
        if let Some(wait) = resources.wait()
            && !waiting
            && !leg.media.is_reserved()
        {
            self.resources_at = Some(turn.now + wait);
        }
    }

    fn on_invite_success(&mut self, turn: &mut Turn<'_, C>, response: &Response) {
        let Some(id) = self.leg_of(turn, response) else {
            // Without a dialog there is nobody to acknowledge.
            return self.end(turn, Some(SessionEvent::Failed(Box::new(response.clone()))));
        };
        if let Some(leg) = self.leg_mut(&id)
            && let Some((_, ack)) = leg.ack.clone()
        {
            return self.push_ack(turn, ack);
        }
        if let Some(leg) = self.leg_mut(&id) {
            leg.dialog.confirm(response);
        }
        let body = sdp(&response.headers, &response.body);
        let answer = self.take_sdp_of_response(turn, &id, body);
        let agreed = self.leg_mut(&id).is_some_and(|leg| leg.exchange.is_agreed());
        let late = self.phase != SessionPhase::Calling;
        self.acknowledge(turn, &id, answer.clone().unwrap_or_default());
        if late || self.cancelled || answer.is_err() || !agreed {
            let why = if agreed { "an answer nobody waits for" } else { "no usable SDP answer" };
            turn.note(rfc3261("13.2.2.4"), || format!("{why}: ACK, then BYE"));
            self.bye_leg(turn, &id);
            if !late {
                self.end(turn, Some(SessionEvent::Ended(why)));
            }
            return;
        }
        self.legs.retain(|leg| leg.dialog.id == id);
        self.phase = SessionPhase::Talking;
        self.established = true;
        self.timer = SessionTimer::learn(turn.now, &response.headers);
        turn.event(SessionEvent::Established);
        self.narrow(turn, &id);
    }

    /// The answer left several codecs, and came too late for a PRACK: says which one by UPDATE, or
    /// by re-INVITE where the peer knows none.
    fn narrow(&mut self, turn: &mut Turn<'_, C>, id: &DialogId) {
        let Some(leg) = self.leg_mut(id).filter(|leg| leg.media.has_choice()) else { return };
        if !leg.peer_updates {
            leg.media.choose();
            return self.reinvite(turn);
        }
        let Some(offer) = narrower(turn, leg, Carrier::Update) else { return };
        let mut update = leg.dialog.request(Method::Update);
        let uses = leg.media.uses_preconditions();
        update.set_body("application/sdp", offer);
        self.dress(&mut update.headers, uses);
        self.send(turn, What::Update, id, update);
    }

    /// ACK for the 2xx to the INVITE; kept, for the 2xx may come again.
    fn acknowledge(&mut self, turn: &mut Turn<'_, C>, id: &DialogId, answer: Option<String>) {
        let number = self.invite.as_ref().and_then(|(_, invite)| invite.cseq().ok());
        let number = number.map_or(1, |cseq| cseq.number);
        self.acknowledge_cseq(turn, id, number, answer);
    }

    pub(super) fn acknowledge_cseq(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: &DialogId,
        number: u32,
        answer: Option<String>,
    ) {
        let Some(leg) = self.leg_mut(id) else { return };
        let mut ack = leg.dialog.ack(number);
        if let Some(answer) = answer {
            ack.set_body("application/sdp", answer);
        }
        leg.ack = Some((number, ack.clone()));
        self.push_ack(turn, ack);
    }

    pub(super) fn push_ack(&self, turn: &mut Turn<'_, C>, ack: Request) {
        if !self.settings.skip_ack {
            turn.out.push(Effect::Ack(Box::new(ack)));
        }
    }

    fn on_invite_failure(&mut self, turn: &mut Turn<'_, C>, response: &Response) {
        if self.phase != SessionPhase::Calling {
            return;
        }
        match response.status {
            401 | 407 if !self.challenged && !self.cancelled => {
                self.challenged = true;
                turn.event(SessionEvent::Challenged(Box::new(response.clone())));
            }
            _ if self.tries_again(turn, response) => {}
            _ => self.end(turn, Some(SessionEvent::Failed(Box::new(response.clone())))),
        }
    }

    /// The owner has no answer to the challenge: the call failed.
    pub fn give_up(&mut self, turn: &mut Turn<'_, C>, response: Box<Response>) {
        self.end(turn, Some(SessionEvent::Failed(response)));
    }
}

/// The offer that chooses one of several codecs of the last answer, where there is a choice: at the
/// first possible time (TS 24.229 §6.1.2).
fn narrower<C>(turn: &mut Turn<'_, C>, leg: &mut Leg, carrier: Carrier) -> Option<String> {
    if !leg.media.has_choice() || !leg.exchange.send_offer(carrier) {
        return None;
    }
    leg.media.choose();
    turn.note(ts24229("6.1.2"), || "the answer lists several codecs: offers one".to_owned());
    Some(leg.media.offer())
}
