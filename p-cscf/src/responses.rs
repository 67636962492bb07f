//! Responses both ways (TS 24.229 §5.2.6.3.4, §5.2.6.4.4): charging and identity at the edge, our
//! own Record-Route, and what the response makes of the dialog. The edits depend on the exchange or
//! the dialog only, so that a repeated 2xx leaves as the first one did.

use std::sync::Arc;

use cscf_core::clause::ts24229;
use cscf_core::dialog::{Between, Texts};
use cscf_core::ids::ShardId;
use cscf_core::role::{Action, Actions, Answered, Cause, Env};
use cscf_core::sip::{
    HeaderName, Headers, Method, NotPermitted, Response, SessionExpires, reason_phrase,
};
use cscf_core::time::Duration;
use cscf_core::transport::Transport;

use crate::alternative::Alternative;
use crate::dialogs::{Direction, Usage};
use crate::exchange::{Call, Exchange};
use crate::media::sdp_of;
use crate::originating::NAME_MAX;
use crate::shards::Told;
use crate::tokens::{DialogId, Token};
use crate::{DIALOG_LINGER, Pcscf, Timer, charging, edit, token_of};

/// How long a subscription is kept beyond its expiry: the last NOTIFY may still be on its way.
const SUBSCRIPTION_GUARD: Duration = Duration::from_secs(32);
/// How long the early dialogs of a failed request are kept: 64 × T1.
const FAILED_LINGER: Duration = Duration::from_secs(32);
/// How long a REFER may take to send its first NOTIFY.
const REFER_FIRST: Duration = Duration::from_secs(600);

impl Pcscf {
    /// A response to a request forwarded here, or its failure to come.
    pub(crate) fn call_response(
        &mut self,
        env: &mut Env<'_>,
        call: &Call,
        answered: Answered,
        out: &mut Actions<Timer>,
    ) {
        if self.ends_late_success(env, call.dialog, &answered, out) {
            return;
        }
        if let Some(wrong) = self.breaks_policy(call, &answered.response) {
            return self.answer_not_permitted(env, call, (answered, wrong), out);
        }
        let answered = match call.emergency {
            Some(_) => self.emergency_response(env, call, answered, out),
            None => self.keep_for_resources(env, call, answered, out),
        };
        let Some(Answered { context, branch, mut response, cause, .. }) = answered else { return };
        if cause == Cause::Received
            && let Some(Exchange::Call(kept)) = self.exchanges.get_mut(&context)
            && kept.unanswered
        {
            Arc::make_mut(kept).unanswered = false;
        }
        match (call.direction, cause) {
            (Direction::FromUe, Cause::Received)
            | (Direction::ToUe, Cause::Timeout | Cause::Budget) => {}
            (Direction::FromUe, _) if call.emergency.is_some() => {}
            (Direction::FromUe, _) => self.no_answer_from_core(env, call, &mut response),
            (Direction::ToUe, Cause::Transport) => self.flow_failed(env, call, &mut response),
            (Direction::ToUe, Cause::Received) => {}
        }
        if let Some(id) = call.dialog {
            self.dialog_response(env, id, call, &response, out);
        }
        match call.direction {
            Direction::FromUe => self.to_ue(env, call.dialog, &mut response),
            Direction::ToUe => self.to_core(env, call, &mut response, cause),
        }
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
    }

    /// An answer that is not permitted: what it belongs to ends. The 2xx to anything but INVITE
    /// becomes a 488; that to a later INVITE passes, for its ACK must (TS 24.229 §6.2).
    fn answer_not_permitted(
        &mut self,
        env: &mut Env<'_>,
        call: &Call,
        (answered, wrong): (Answered, NotPermitted),
        out: &mut Actions<Timer>,
    ) {
        self.end_for_media(env, call, &wrong, out);
        if call.makes_dialog {
            self.ends_late_success(env, call.dialog, &answered, out);
            return;
        }
        let Answered { context, branch, mut response, .. } = answered;
        if response.status >= 200
            && response.cseq().is_ok_and(|cseq| cseq.method != Method::Invite)
            && let Some(sdp) = sdp_of(&response.headers, &response.body)
        {
            response.status = 488;
            response.reason = reason_phrase(488).into();
            self.add_permitted(env, &mut response, &sdp, None);
        }
        match call.direction {
            Direction::FromUe => self.to_ue(env, call.dialog, &mut response),
            Direction::ToUe => self.to_core(env, call, &mut response, Cause::Received),
        }
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
    }

    /// A response whose exchange is over: a repeated 2xx. Dialog and direction are told by our own
    /// Record-Route; without it only the trust boundary is kept.
    pub(crate) fn late_response(
        &mut self,
        env: &mut Env<'_>,
        answered: Answered,
        out: &mut Actions<Timer>,
    ) {
        let id = answered.response.headers.values(HeaderName::RecordRoute).find_map(|value| {
            match token_of(value) {
                Some(Token::Dialog(id)) => Some(id).filter(|id| self.dialogs.get(*id).is_some()),
                _ => None,
            }
        });
        if self.ends_late_success(env, id, &answered, out) {
            return;
        }
        let Answered { context, branch, mut response, cause, flow } = answered;
        let from_core = flow.is_none_or(|flow| self.config.trusts(flow.remote));
        match id.and_then(|id| self.dialogs.get(id)) {
            _ if from_core => self.to_ue(env, id, &mut response),
            Some(dialog) => {
                let mut call = Call::new(dialog.ue, Direction::ToUe, dialog.icid().into());
                call.dialog = id;
                call.makes_dialog = true;
                call.orig_ioi = dialog.orig_ioi().map(Into::into);
                call.called_party = dialog.called_party().map(Into::into);
                self.to_core(env, &call, &mut response, cause);
            }
            None => edit::strip_from_ue(&mut response.headers),
        }
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
    }

    /// What goes to the UE: nothing of the trust domain, and our own Record-Route with the
    /// transport the UE uses.
    fn to_ue(&self, env: &mut Env<'_>, dialog: Option<DialogId>, response: &mut Response) {
        let headers = &mut response.headers;
        edit::strip_to_ue(headers);
        if !self.config.reason_to_ue {
            headers.remove(HeaderName::Reason);
        }
        let Some(id) = dialog else { return };
        let Some(dialog) = self.dialogs.get(id) else { return };
        let ours = self.own_uri_for(env, Token::Dialog(id), &dialog.flow());
        rewrite_record_route(headers, id, &ours);
    }

    /// What comes from the UE: nothing it may not say, the called identity instead of what it says,
    /// the charging identifier of the request.
    fn to_core(&self, env: &mut Env<'_>, call: &Call, response: &mut Response, cause: Cause) {
        let headers = &mut response.headers;
        edit::strip_from_ue(headers);
        if let Some(called) = &call.called_party
            && (101..300).contains(&response.status)
            && cause == Cause::Received
        {
            headers.push(HeaderName::PAssertedIdentity, called);
            env.note(ts24229("5.2.6.4.4"), || format!("asserts {called}, who was called"));
        }
        let vector = charging::of_response(&self.config, &call.icid, call.orig_ioi.as_deref());
        headers.push(HeaderName::PChargingVector, &vector);
        if let Some(id) = call.dialog {
            let ours = self.own_uri(env, Token::Dialog(id), Transport::Udp);
            rewrite_record_route(headers, id, &ours);
        }
    }

    /// The S-CSCF does not answer: the UE registers anew (TS 24.229 §5.2.6.3.1).
    fn no_answer_from_core(&self, env: &mut Env<'_>, call: &Call, response: &mut Response) {
        if !call.unanswered {
            return;
        }
        env.refuse(ts24229("5.2.6.3.1"), || {
            "504: the S-CSCF of the Service-Route does not answer".to_owned()
        });
        response.status = 504;
        response.reason = reason_phrase(504).into();
        if self.config.restoration {
            self.put_alternative(env, response, call.ue, Alternative::RESTORATION);
        }
    }

    /// The UE's flow does not carry any more (TS 24.229 §5.2.6.4, RFC 5626 §5.3.1).
    fn flow_failed(&mut self, env: &mut Env<'_>, call: &Call, response: &mut Response) {
        let mut outbound = false;
        if !self.shard.is_owner()
            && let Some(ue) = self.bindings.get(call.ue)
        {
            self.news.push((Some(ShardId(0)), Told::Lost(call.ue, ue.flow)));
        }
        if let Some(ue) = self.bindings.get_mut(call.ue) {
            // A UE with security associations can be reached by a new connection.
            ue.flow_lost = ue.flow.transport.is_reliable() && ue.flow.sa.is_none();
            outbound = ue.outbound;
        }
        response.status = if outbound { 430 } else { 480 };
        let status = response.status;
        response.reason = reason_phrase(status).into();
        env.refuse(ts24229("5.2.6.4"), || format!("{status}: the flow of the UE fails"));
    }

    /// What a response makes of its dialog.
    fn dialog_response(
        &mut self,
        env: &mut Env<'_>,
        id: DialogId,
        call: &Call,
        response: &Response,
        out: &mut Actions<Timer>,
    ) {
        let status = response.status;
        let ended = status >= 200 && call.ends && !matches!(status, 401 | 407)
            || call.may_end && status == 481;
        if ended {
            return self.end_fork(env, id, call, out);
        }
        if status >= 300 && call.makes_dialog {
            self.resources_end(env, id, out);
        }
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        if call.makes_dialog && status >= 200 {
            dialog.invite = None;
        }
        if call.makes_dialog
            && (101..300).contains(&status)
            && let Some(tag) = response.to_tag().filter(|tag| tag.len() <= NAME_MAX)
        {
            let calls = dialog.direction == Direction::FromUe;
            dialog.learn(tag, status >= 200, || {
                if calls { routes_of_caller(&response.headers, id) } else { Texts::default() }
            });
        }
        if status >= 300 && call.makes_dialog && dialog.has_forks() && !dialog.is_confirmed() {
            // A PRACK may have crossed the failure; whoever gets it answers for the dialog.
            (dialog.failed, dialog.expires_at) = (true, env.now + FAILED_LINGER);
            out.push(Action::SetTimer { timer: Timer::Dialog(id), at: dialog.expires_at });
        }
        if !(200..300).contains(&status) {
            return;
        }
        let method = response.cseq().map(|cseq| cseq.method);
        if dialog.usage == Usage::Session && matches!(method, Ok(Method::Invite | Method::Update)) {
            let by_caller = call.direction == dialog.direction;
            if call.makes_dialog {
                dialog.between.confirm(response, |it| token_of(it) == Some(Token::Dialog(id)));
                dialog.settle();
            } else {
                dialog.between.on_success(by_caller, response);
            }
        }
        let Some(mut lasts) = self.lasts(id, response) else { return };
        let emergency = self.dialogs.get(id).is_some_and(|dialog| dialog.emergency);
        if self.bindings.get(call.ue).is_none() && !emergency {
            // Nothing of a UE that is gone stays for long, whatever its peer wishes.
            lasts = lasts.min(DIALOG_LINGER);
        }
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        dialog.expires_at = env.now + lasts;
        out.push(Action::SetTimer { timer: Timer::Dialog(id), at: dialog.expires_at });
    }

    /// How long the dialog lasts after this 2xx, if it says so.
    fn lasts(&self, id: DialogId, response: &Response) -> Option<Duration> {
        let dialog = self.dialogs.get(id)?;
        let method = response.cseq().ok()?.method;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        match (dialog.usage, method) {
            (Usage::Session, Method::Invite | Method::Update) => {
                let value = response.headers.get(HeaderName::SessionExpires);
                let timer = value.and_then(|value| SessionExpires::parse(value).ok());
                Some(timer.map_or(self.config.dialog_idle_max, |timer| seconds(timer.seconds)))
            }
            (Usage::Subscription, Method::Subscribe) => {
                Some(seconds(response.expires().unwrap_or(3600)) + SUBSCRIPTION_GUARD)
            }
            (Usage::Subscription, Method::Refer) => Some(REFER_FIRST),
            _ => None,
        }
    }

    /// A fork of the dialog is over; the last one takes the record along.
    fn end_fork(&mut self, env: &mut Env<'_>, id: DialogId, call: &Call, out: &mut Actions<Timer>) {
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        dialog.end_fork(call.fork.as_deref());
        if dialog.is_confirmed() {
            return;
        }
        let timer = Timer::Dialog(id);
        if dialog.open && dialog.has_forks() {
            // Another early dialog of the same request may still be confirmed.
            dialog.expires_at = env.now + DIALOG_LINGER;
            out.push(Action::SetTimer { timer, at: dialog.expires_at });
            return;
        }
        env.note(ts24229("5.2.6.3.5"), || "the dialog is over".to_owned());
        self.resources_end(env, id, out);
        self.dialogs.remove(id);
        out.push(Action::ClearTimer { timer });
    }

    /// An exchange is over: a dialog nobody confirmed goes with it.
    pub(crate) fn call_ended(&mut self, call: &Call) {
        let Some(id) = call.dialog.filter(|_| call.makes_dialog) else { return };
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        (dialog.open, dialog.invite) = (false, None);
        if !dialog.is_confirmed() && !dialog.failed && dialog.released.is_none() {
            self.dialogs.remove(id);
        }
    }
}

/// Our own Record-Route entry says how we are reached by whoever reads the response
/// (RFC 3261 §16.7 step 8).
fn rewrite_record_route(headers: &mut Headers, id: DialogId, ours: &str) {
    headers.map_values(HeaderName::RecordRoute, |value| {
        (token_of(value) == Some(Token::Dialog(id)) && value != ours).then(|| ours.to_owned())
    });
}

/// The route set of a calling UE behind our own entry: Record-Route read backwards from it
/// (RFC 3261 §12.1.2).
fn routes_of_caller(headers: &Headers, id: DialogId) -> Texts {
    let mut routes: Vec<_> = headers
        .values(HeaderName::RecordRoute)
        .take_while(|value| token_of(value) != Some(Token::Dialog(id)))
        .take(Between::ROUTES_MAX)
        .map(Some)
        .collect();
    routes.reverse();
    Texts::new(&routes)
}
