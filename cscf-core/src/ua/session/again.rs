//! A call that is made once more, in the same Call-ID with the next CSeq: with a longer session
//! interval (RFC 4028 §7.3), with what a 488 allows (TS 24.229 §5.1.3.1), to where a 3xx sends it
//! (RFC 3261 §8.1.3.4).

use super::{Session, SessionEvent, Turn, sdp};
use crate::clause::{rfc3261, rfc4028, ts24229};
use crate::sip::{Contacts, HeaderName, MinSe, Request, Response};

/// Redirections that are followed in one call.
const REDIRECTS_MAX: u8 = 5;

impl<C: Copy> Session<C> {
    /// What a failure of the INVITE lets us try again; says whether it does.
    pub(super) fn tries_again(&mut self, turn: &mut Turn<'_, C>, response: &Response) -> bool {
        if self.cancelled {
            return false;
        }
        match response.status {
            300..=302 => self.follow(turn, response),
            422 => self.wait_longer(turn, response),
            488 | 606 => self.lower_offer(turn, response),
            _ => false,
        }
    }

    /// The same INVITE with the next CSeq and a change.
    fn invite_changed(&mut self, turn: &mut Turn<'_, C>, change: impl FnOnce(&mut Request)) {
        let Some((_, invite)) = &self.invite else { return };
        let mut invite = invite.clone();
        let number = invite.cseq().map_or(1, |cseq| cseq.number);
        invite.headers.set(HeaderName::CSeq, &format!("{} INVITE", number.saturating_add(1)));
        change(&mut invite);
        self.invite_again(turn, invite);
    }

    /// 422: tries once more with the interval the other side wants (RFC 4028 §7.3).
    fn wait_longer(&mut self, turn: &mut Turn<'_, C>, response: &Response) -> bool {
        let asked = response.headers.get(HeaderName::MinSe).and_then(|it| MinSe::parse(it).ok());
        let Some(least) = asked.map(|it| it.seconds) else { return false };
        let Some((_, invite)) = &self.invite else { return false };
        let before = invite.headers.get(HeaderName::MinSe).and_then(|it| MinSe::parse(it).ok());
        if before.is_some_and(|before| before.seconds >= least) {
            return false;
        }
        turn.note(rfc4028("7.3"), || format!("422: tries again with {least} s"));
        let who = self.settings.habits.refresher.as_str();
        self.invite_changed(turn, |invite| {
            invite.headers.set(HeaderName::MinSe, &least.to_string());
            invite.headers.set(HeaderName::SessionExpires, &format!("{least};refresher={who}"));
        });
        true
    }

    /// 488 or 606 with a description: offers what is in it, once.
    fn lower_offer(&mut self, turn: &mut Turn<'_, C>, response: &Response) -> bool {
        let offered = self.invite().is_some_and(|it| sdp(&it.headers, &it.body).is_some());
        if !self.settings.habits.lowers_offer || self.lowered || !offered {
            return false;
        }
        let body = sdp(&response.headers, &response.body);
        let Some(plan) = body.and_then(|body| self.settings.media.restricted_to(body)) else {
            return false;
        };
        self.lowered = true;
        let status = response.status;
        turn.note(ts24229("5.1.3.1"), || {
            let codecs: Vec<&str> = plan.codecs.iter().map(|codec| codec.name).collect();
            format!("{status}: calls again with {}", codecs.join(", "))
        });
        self.settings.media = plan;
        let offer = self.new_media().offer();
        self.invite_changed(turn, |invite| invite.set_body("application/sdp", offer));
        true
    }

    /// 300, 301 or 302: calls the first Contact, if the user wants that.
    fn follow(&mut self, turn: &mut Turn<'_, C>, response: &Response) -> bool {
        if !self.settings.habits.follows_redirects {
            return false;
        }
        if self.redirected >= REDIRECTS_MAX {
            turn.refuse(rfc3261("8.1.3.4"), || "redirected again and again: gives up".to_owned());
            return false;
        }
        let Ok(Contacts::List(list)) = response.contacts() else { return false };
        // Only what can be called; the order of the list decides among those of one q.
        let q = |value: Option<&str>| value.and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        let callable = |scheme: &str| matches!(scheme, "sip" | "sips" | "tel");
        let usable = list.iter().filter(|contact| callable(contact.uri.scheme()));
        let best = usable.reduce(
            |best, next| {
                if q(next.param("q")) > q(best.param("q")) { next } else { best }
            },
        );
        let Some(target) = best.map(|contact| contact.uri.to_string()) else { return false };
        let same = self.invite().is_some_and(|invite| invite.request_uri == target);
        if same {
            turn.refuse(rfc3261("8.1.3.4"), || "redirected to where it came from".to_owned());
            return false;
        }
        self.redirected += 1;
        let status = response.status;
        turn.note(rfc3261("8.1.3.4"), || format!("{status}: calls {target} instead"));
        turn.event(SessionEvent::Redirected(target.clone()));
        self.invite_changed(turn, |invite| invite.request_uri = target.into());
        true
    }
}
