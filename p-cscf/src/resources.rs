//! Resources for media: what the policy function is asked before a session goes on, and what is
//! done with its answers and news (TS 24.229 §5.2.7.2, §5.2.7.3, §5.2.8.1; TS 29.214 §4.4).
//!
//! The P-CSCF of a caller asks about the offer before it lets the INVITE go on; that of a callee
//! about the answer before it lets it go back. Later offers are asked about where they want other
//! media than before. Without an answer in time there are no resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use cscf_core::clause::ts24229;
use cscf_core::cx::AskId;
use cscf_core::policy::{
    MediaWish, PolicyAnswer, PolicyEvent, PolicyRequest, PolicySession, PolicyWish,
};
use cscf_core::role::{Action, Actions, Answer, Answered, Env, Incoming, Question};
use cscf_core::sip::{HeaderName, Sdp};

use crate::dialogs::Direction;
use crate::exchange::{Call, Exchange};
use crate::media::{offers, sdp_of, wishes};
use crate::release::Release;
use crate::tokens::DialogId;
use crate::{Pcscf, Timer, cause};

/// Responses that may wait for one answer; more are dropped, and are sent again by the UE.
const RESPONSES_MAX: usize = 16;

/// What waits for the policy function.
#[derive(Debug)]
pub(crate) struct Waiting {
    dialog: DialogId,
    wish: Vec<MediaWish>,
    held: Held,
}

/// Media that a request wants, and the request as it came.
#[derive(Debug)]
pub(crate) struct Wanted {
    wish: Vec<MediaWish>,
    came: Box<Incoming>,
}

#[derive(Debug)]
enum Held {
    /// A request with an offer: as it came, and as it goes on.
    Request(Box<Incoming>, Box<Action<Timer>>),
    /// Responses, the first with a description.
    Responses(Call, Vec<Answered>),
}

/// All that waits, bounded by the contexts of the engine.
pub(crate) type AllWaiting = BTreeMap<AskId, Waiting>;

impl Pcscf {
    /// What the offer of a request wants that its dialog does not have yet, with the request as it
    /// came; `None` where nobody is to be asked.
    pub(crate) fn wanted(&self, dialog: Option<DialogId>, came: &Incoming) -> Option<Wanted> {
        let Incoming { request, .. } = came;
        if !self.config.policy || !offers(&request.method) {
            return None;
        }
        self.wanted_for(dialog, came, &sdp_of(&request.headers, &request.body)?)
    }

    /// As [`Self::wanted`], for the description that was read from the request already.
    pub(crate) fn wanted_for(
        &self,
        dialog: Option<DialogId>,
        came: &Incoming,
        sdp: &Sdp,
    ) -> Option<Wanted> {
        if !self.config.policy || !offers(&came.request.method) {
            return None;
        }
        let wish = wishes(sdp);
        let granted = self.dialogs.has_granted(dialog?, &wish)?;
        (!granted).then(|| Wanted { wish, came: Box::new(came.clone()) })
    }

    /// Lets a request go on, at once or when its media have resources.
    pub(crate) fn forward_with_resources(
        &mut self,
        env: &mut Env<'_>,
        dialog: Option<DialogId>,
        (wanted, forward): (Option<Wanted>, Action<Timer>),
        out: &mut Actions<Timer>,
    ) {
        if let (Some(dialog), Some(Wanted { wish, came })) = (dialog, wanted)
            && let Some(ask) = self.ask_for(env, dialog, &wish, out)
        {
            let held = Held::Request(came, Box::new(forward));
            self.waiting.insert(ask, Waiting { dialog, wish, held });
            return;
        }
        out.push(forward);
    }

    /// Asks for these media, unless they have resources already or there is nobody to ask.
    fn ask_for(
        &mut self,
        env: &mut Env<'_>,
        id: DialogId,
        wish: &[MediaWish],
        out: &mut Actions<Timer>,
    ) -> Option<AskId> {
        if !self.config.policy || wish.is_empty() {
            return None;
        }
        let dialog = self.dialogs.get(id)?;
        if self.dialogs.has_granted(id, wish)? {
            return None;
        }
        let who = self.bindings.get(dialog.ue)?.impi().to_owned();
        let ask = env.next_ask();
        let kinds: Vec<&str> = wish.iter().map(|media| media.kind.as_str()).collect();
        env.note(ts24229("5.2.7.2"), || {
            format!("asks the policy function for {} of {who}", kinds.join(" and "))
        });
        let wish = PolicyWish::Authorize(wish.to_vec());
        let request = PolicyRequest { session: PolicySession(id.0), who, wish };
        out.push(Action::Ask { ask, question: Question::Policy(request) });
        Some(ask)
    }

    /// Keeps a response of a called UE back until its media have resources; gives it back if it may
    /// go on.
    pub(crate) fn keep_for_resources(
        &mut self,
        env: &mut Env<'_>,
        call: &Call,
        answered: Answered,
        out: &mut Actions<Timer>,
    ) -> Option<Answered> {
        let Some(id) = call.dialog else { return Some(answered) };
        let asking = self.dialogs.get(id).and_then(|dialog| dialog.asking);
        if answered.response.status < 300
            && let Some(waiting) = asking.and_then(|ask| self.waiting.get_mut(&ask))
            && let Held::Responses(_, all) = &mut waiting.held
            && all.first().is_some_and(|first| first.context == answered.context)
        {
            if all.len() < RESPONSES_MAX {
                all.push(answered);
            }
            return None;
        }
        let is_answer_of_ue = call.direction == Direction::ToUe || !call.offered;
        if !call.makes_dialog || !is_answer_of_ue || answered.response.status >= 300 {
            return Some(answered);
        }
        let Some(sdp) = sdp_of(&answered.response.headers, &answered.response.body) else {
            return Some(answered);
        };
        let wish = wishes(&sdp);
        match self.ask_for(env, id, &wish, out) {
            None => Some(answered),
            Some(ask) => {
                if let Some(dialog) = self.dialogs.get_mut(id) {
                    dialog.asking = Some(ask);
                }
                let held = Held::Responses(call.clone(), vec![answered]);
                self.waiting.insert(ask, Waiting { dialog: id, wish, held });
                None
            }
        }
    }

    /// The policy function answers, or did not in time.
    pub(crate) fn resources_answered(
        &mut self,
        env: &mut Env<'_>,
        ask: AskId,
        answer: &Answer,
        out: &mut Actions<Timer>,
    ) {
        let Some(Waiting { dialog, wish, held }) = self.waiting.remove(&ask) else { return };
        if let Some(dialog) = self.dialogs.get_mut(dialog) {
            dialog.asking.take_if(|its| *its == ask);
        }
        let acceptable = match answer {
            Answer::Policy(PolicyAnswer::Granted) => {
                return self.granted(env, dialog, (wish, held), out);
            }
            Answer::Policy(PolicyAnswer::Refused { acceptable_kbps }) => *acceptable_kbps,
            _ => None,
        };
        let why = match answer {
            Answer::TimedOut => "no answer in time",
            _ => "refused",
        };
        match held {
            Held::Request(came, _) => self.refuse_resources(env, &came, (why, acceptable), out),
            Held::Responses(_, all) => {
                let release = self.no_resources();
                env.refuse(ts24229("5.2.7.3"), || {
                    format!("the answer gets no resources ({why}): the session ends")
                });
                self.release(env, dialog, release, out);
                for answered in &all {
                    self.ends_late_success(env, Some(dialog), answered, out);
                }
            }
        }
        // The engine may have heard in time what the role did not.
        self.resources_end(env, dialog, out);
    }

    fn granted(
        &mut self,
        env: &mut Env<'_>,
        id: DialogId,
        (wish, held): (Vec<MediaWish>, Held),
        out: &mut Actions<Timer>,
    ) {
        if self.dialogs.get(id).is_none_or(|it| it.released.is_some()) {
            return Self::end_session(env, id, out);
        }
        self.dialogs.grant(id, &wish);
        match held {
            // Cancelled meanwhile: nobody waits for it any more.
            Held::Request(came, _) if !self.exchanges.contains_key(&came.context) => {
                self.resources_end(env, id, out);
            }
            Held::Request(_, forward) => out.push(*forward),
            Held::Responses(call, all) => {
                for answered in all {
                    let now = match self.exchanges.get(&answered.context) {
                        Some(Exchange::Call(now)) => Some(Arc::clone(now)),
                        _ => None,
                    };
                    self.call_response(env, now.as_deref().unwrap_or(&call), answered, out);
                }
            }
        }
    }

    /// Refuses a request for lack of resources (TS 24.229 §5.2.7.2): 488 with the bandwidth that
    /// would be granted, else 503 while overloaded, else 500.
    fn refuse_resources(
        &self,
        env: &mut Env<'_>,
        came: &Incoming,
        (why, acceptable): (&str, Option<u64>),
        out: &mut Actions<Timer>,
    ) {
        let request = &came.request;
        let status = match (acceptable, self.work.overload()) {
            (Some(_), _) => 488,
            (None, Some(_)) => 503,
            (None, None) => 500,
        };
        let cause = cause::resources(why, acceptable, self.work.overload().is_some());
        let cause = cause.of_request(request);
        let text = format!("{} gets {status}: {cause}", request.method);
        env.diagnose(ts24229("5.2.7.2"), text, cause);
        let mut response = request.reply(status);
        if acceptable.is_some()
            && let Some(sdp) = sdp_of(&request.headers, &request.body)
        {
            self.add_permitted(env, &mut response, &sdp, acceptable);
        } else if let Some(seconds) = self.no_resources().retry_after {
            response.headers.push(HeaderName::RetryAfter, &seconds.to_string());
        }
        out.push(Action::Reply { context: came.context, response: Box::new(response) });
    }

    /// How a session ends for lack of resources.
    fn no_resources(&self) -> Release {
        let retry_after = self.config.policy_retry_after.or(self.work.overload());
        match self.work.overload() {
            Some(_) => Release { retry_after, ..Release::UNAVAILABLE },
            None => Release { status: 500, retry_after, ..Release::UNAVAILABLE },
        }
    }

    /// The policy function need not keep anything for this dialog any more.
    pub(crate) fn resources_end(
        &mut self,
        env: &mut Env<'_>,
        id: DialogId,
        out: &mut Actions<Timer>,
    ) {
        if self.dialogs.end_grant(id) {
            Self::end_session(env, id, out);
        }
    }

    /// As [`Self::resources_end`] for a dialog that is gone already.
    pub(crate) fn end_session(env: &mut Env<'_>, id: DialogId, out: &mut Actions<Timer>) {
        let (session, wish) = (PolicySession(id.0), PolicyWish::End);
        let request = PolicyRequest { session, who: String::new(), wish };
        out.push(Action::Ask { ask: env.next_ask(), question: Question::Policy(request) });
    }

    /// News of bearers.
    pub(crate) fn bearer_news(
        &mut self,
        env: &mut Env<'_>,
        event: PolicyEvent,
        out: &mut Actions<Timer>,
    ) {
        match event {
            PolicyEvent::BearerLost(PolicySession(number)) => {
                let id = DialogId(number);
                self.dialogs.end_grant(id);
                let Some(dialog) = self.dialogs.get(id) else { return };
                let retry_after = self.config.policy_retry_after;
                env.refuse(ts24229("5.2.8.1"), || {
                    format!(
                        "the bearers of {} are lost: the session ends",
                        dialog.between.call_id()
                    )
                });
                self.release(env, id, Release { retry_after, ..Release::UNAVAILABLE }, out);
            }
            PolicyEvent::SignallingLost(impi) => {
                let ids: Vec<_> = self.bindings.of_impi(&impi).collect();
                for id in ids {
                    let Some(ue) = self.bindings.get_mut(id) else { continue };
                    ue.signalling_lost = true;
                    env.note(ts24229("5.2.8.1"), || {
                        format!("the signalling bearer of {impi} is lost until it is heard again")
                    });
                }
            }
        }
    }
}
