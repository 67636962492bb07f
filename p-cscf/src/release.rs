//! The end of sessions by this node (TS 24.229 §5.2.5.2, §5.2.8.1): both ends of one that stands
//! hear a BYE in the name of the other; one that is being set up is cancelled towards the callee
//! and answered towards the caller. What comes for it afterwards is answered here.

use cscf_core::clause::ts24229;
use cscf_core::role::{Action, Actions, Answered, Env, NextHop, OwnTag, Side};
use cscf_core::sip::{HeaderName, Request, Response, reason_phrase};
use cscf_core::time::Duration;

use crate::dialogs::{Dialog, Direction, PendingInvite, Usage};
use crate::tokens::{self, DialogId, Token, UeId};
use crate::{DIALOG_LINGER, Pcscf, Timer, charging, token_of};

/// How long the BYEs of the S-CSCF may be on their way: 64 × T1.
const OTHERS_FIRST: Duration = Duration::from_secs(32);

/// How a session is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// The answer to an INVITE that is not answered yet.
    pub(crate) status: u16,
    /// The Retry-After of that answer, in seconds.
    pub(crate) retry_after: Option<u32>,
    /// Reason of BYE and CANCEL (RFC 3326).
    pub(crate) reason: &'static str,
}

impl Release {
    /// The user is not registered any more.
    const NOT_REGISTERED: Self =
        Self { status: 480, retry_after: None, reason: "SIP;cause=404;text=\"Not registered\"" };
    /// The media are not permitted (TS 24.229 §6.2).
    pub(crate) const NOT_ACCEPTABLE: Self = Self {
        status: 488,
        retry_after: None,
        reason: "SIP;cause=488;text=\"Not Acceptable Here\"",
    };
    /// There are no bearers (TS 24.229 §5.2.8.1.2).
    pub(crate) const UNAVAILABLE: Self = Self {
        status: 503,
        retry_after: None,
        reason: "SIP;cause=503;text=\"Service Unavailable\"",
    };
}

impl Pcscf {
    /// The sessions of a UE end soon.
    pub(crate) fn release_soon(&self, env: &Env<'_>, ue: UeId, out: &mut Actions<Timer>) {
        for id in self.dialogs.all_of(ue) {
            // An emergency call does not depend on a registration (TS 24.229 §5.2.5).
            let ends = |dialog: &Dialog| dialog.usage == Usage::Session && !dialog.emergency;
            if self.dialogs.get(id).is_some_and(ends) {
                let at = env.now + OTHERS_FIRST;
                out.push(Action::SetTimer { timer: Timer::Release(id), at });
            }
        }
    }

    /// Releases a session that nobody has ended: a BYE to each end, in the name of the other.
    pub(crate) fn on_release_timer(
        &mut self,
        env: &mut Env<'_>,
        id: DialogId,
        out: &mut Actions<Timer>,
    ) {
        // The dialogs of a UE that moved to another record stay with it.
        let gone = |ue| self.bindings.get(ue).is_none();
        let Some(dialog) = self.dialogs.get(id).filter(|it| gone(it.ue)) else { return };
        if !dialog.between.is_confirmed() {
            return;
        }
        env.note(ts24229("5.2.8.1.2"), || {
            format!("releases the session {}: its user is deregistered", dialog.between.call_id())
        });
        self.release(env, id, Release::NOT_REGISTERED, out);
    }

    /// Releases a session, whatever its state.
    pub(crate) fn release(
        &mut self,
        env: &mut Env<'_>,
        id: DialogId,
        how: Release,
        out: &mut Actions<Timer>,
    ) {
        self.resources_end(env, id, out);
        let reachable =
            |ue: UeId| self.bindings.get(ue).is_none_or(|ue| !ue.flow_lost && !ue.signalling_lost);
        let Some(dialog) = self.dialogs.get(id).filter(|it| it.released.is_none()) else { return };
        let to_ue_too = reachable(dialog.ue);
        let vector = charging::of_request(&self.config, dialog.icid());
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        dialog.released = Some(Box::new(how));
        dialog.expires_at = env.now + DIALOG_LINGER;
        out.push(Action::SetTimer { timer: Timer::Dialog(id), at: dialog.expires_at });
        if let Some(invite) = dialog.invite.take() {
            let context = invite.context;
            env.note(ts24229("5.2.8.1.1"), || {
                format!("cancels towards the callee and answers {} to the INVITE", how.status)
            });
            let reason = Some(how.reason.to_owned());
            out.push(Action::Cancel { context, reason });
            let response = self.answer_of(env, *invite, how);
            out.push(Action::Reply { context, response: Box::new(response) });
            return;
        }
        if dialog.usage != Usage::Session {
            return;
        }
        let (to_caller, to_callee) = dialog.between.byes();
        let (to_ue, to_core) = match dialog.direction {
            Direction::FromUe => (to_caller, to_callee),
            Direction::ToUe => (to_callee, to_caller),
        };
        env.note(ts24229("5.2.8.1.2"), || "sends a BYE to each end of the session".to_owned());
        if let Some(mut request) = to_core {
            request.headers.push(HeaderName::PChargingVector, &vector);
            out.push(bye(env, request, how.reason, (NextHop::AsRouted, Side::Core)));
        }
        if let Some(request) = to_ue
            && to_ue_too
        {
            let to = (NextHop::Flow(dialog.flow()), dialog.side);
            out.push(bye(env, request, how.reason, to));
        }
    }

    /// The answer to an INVITE whose session is released.
    fn answer_of(&self, env: &mut Env<'_>, invite: PendingInvite, how: Release) -> Response {
        let PendingInvite { answer: mut response, offer, .. } = invite;
        response.status = how.status;
        response.reason = reason_phrase(how.status).into();
        if let Some(seconds) = how.retry_after {
            response.headers.push(HeaderName::RetryAfter, &seconds.to_string());
        }
        if let (488, Some(offer)) = (how.status, offer) {
            self.add_permitted(env, &mut response, &offer, None);
        }
        response
    }

    /// A response in a dialog that this node has released: the callee's 2xx is acknowledged and its
    /// session ended, each time it comes. Says whether that was done.
    pub(crate) fn ends_late_success(
        &mut self,
        env: &mut Env<'_>,
        id: Option<DialogId>,
        answered: &Answered,
        out: &mut Actions<Timer>,
    ) -> bool {
        let response = &answered.response;
        let Some(id) = id.filter(|_| (200..300).contains(&response.status)) else { return false };
        let Some(dialog) = self.dialogs.get_mut(id) else { return false };
        let Some(how) = dialog.released.as_deref().copied() else { return false };
        let vector = charging::of_request(&self.config, dialog.icid());
        let to = way_to_callee(dialog);
        let to_core = dialog.direction == Direction::FromUe;
        let between = &mut dialog.between;
        if !between.is_made_by(response) {
            return false;
        }
        let first = !between.is_confirmed();
        between.confirm(response, |it| token_of(it) == Some(Token::Dialog(id)));
        env.note(ts24229("5.2.8.1.1"), || {
            "acknowledges a 200 that came too late, and ends its session".to_owned()
        });
        if let Some(ack) = between.ack() {
            out.push(Action::SendAck { request: Box::new(ack), to: to.0.clone() });
        }
        if first && let (_, Some(mut request)) = between.byes() {
            if to_core {
                request.headers.push(HeaderName::PChargingVector, &vector);
            }
            out.push(bye(env, request, how.reason, to));
        }
        true
    }
}

/// Where requests to the callee of a dialog go.
fn way_to_callee(dialog: &Dialog) -> (NextHop, Side) {
    match dialog.direction {
        Direction::FromUe => (NextHop::AsRouted, Side::Core),
        Direction::ToUe => (NextHop::Flow(dialog.flow()), dialog.side),
    }
}

/// A BYE of our own; whatever is answered, the session is over.
fn bye(
    env: &mut Env<'_>,
    mut request: Request,
    reason: &str,
    (to, side): (NextHop, Side),
) -> Action<Timer> {
    request.headers.push(HeaderName::Reason, reason);
    request.headers.push(HeaderName::ContentLength, "0");
    let tag = OwnTag(tokens::number(env.ids));
    Action::Originate { tag, request: Box::new(request), to, within: None, side }
}
