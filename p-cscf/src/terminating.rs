//! Requests from the home network to UEs (TS 24.229 §5.2.6.4): by the token of Path for what begins
//! here, by the token of Record-Route for what goes on, along the UE's flow.

use std::sync::Arc;

use cscf_core::clause::{own, rfc3261, ts24229};
use cscf_core::dialog::field;
use cscf_core::role::{Action, Actions, ContextId, Env, Incoming, NextHop, RequestKind, Side};
use cscf_core::sip::{HeaderName, Method, Request};
use cscf_core::transport::Flow;

use crate::dialogs::{Direction, Usage};
use crate::exchange::{Call, Exchange};
use crate::media::sdp_of;
use crate::originating::{FULL, Keep, in_dialog};
use crate::tokens::{DialogId, Token, UeId};
use crate::{Pcscf, Timer, charging, edit, own_token, token_of};

/// The longest P-Called-Party-ID that is kept, in bytes.
const CALLED_MAX: usize = 1024;

impl Pcscf {
    /// A request from inside the trust domain.
    pub(crate) fn request_from_core(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut Actions<Timer>,
    ) {
        if let Some(Token::Subscription(id)) = token_of(&incoming.request.request_uri) {
            return self.request_to_subscription(env, &incoming, id, out);
        }
        let refusal = match own_token(&incoming) {
            Some(Token::Dialog(id)) if self.dialogs.get(id).is_some() => {
                return self.dialog_request_to_ue(env, incoming, id, out);
            }
            Some(Token::Dialog(_)) => {
                (481, rfc3261("12.2.2"), "the dialog of this Record-Route is not known".to_owned())
            }
            Some(Token::Ue(id)) => match self.reachable(id, &incoming) {
                Ok(()) => return self.initial_to_ue(env, incoming, id, out),
                Err((status, why)) => (status, ts24229("5.2.6.4"), why),
            },
            Some(Token::Subscription(_)) | None => {
                let why = "no Path of ours in Route: nobody to bring it to".to_owned();
                (404, ts24229("5.2.6.4"), why)
            }
        };
        let (status, clause, why) = refusal;
        Self::refuse(env, out, &incoming, status, (clause, why));
        if let (503, Some(seconds), Some(Action::Reply { response, .. })) =
            (status, self.config.signalling_lost_retry_after, out.last_mut())
        {
            response.headers.push(HeaderName::RetryAfter, &seconds.to_string());
        }
    }

    /// Whether the UE of a Path token can be reached: 430 tells an S-CSCF that knows outbound to
    /// try another flow, 480 is for the caller (TS 24.229 §5.2.6.4, RFC 5626 §5.3.1).
    fn reachable(&self, id: UeId, incoming: &Incoming) -> Result<(), (u16, String)> {
        let ue = self.bindings.get(id).filter(|ue| ue.is_registered());
        let Some(ue) = ue else {
            let route = incoming.own_route.as_deref().unwrap_or_default();
            let outbound = field::uri_has_param(route, "ob");
            let status = if outbound { 430 } else { 480 };
            return Err((status, "no registration behind this Path".to_owned()));
        };
        if ue.flow_lost {
            let status = if ue.outbound { 430 } else { 480 };
            return Err((status, format!("the flow of {} is gone", ue.impi())));
        }
        if ue.signalling_lost && incoming.kind == RequestKind::Initial {
            let status = self.config.signalling_lost_retry_after.map_or(500, |_| 503);
            return Err((status, format!("the signalling bearer of {} is lost", ue.impi())));
        }
        Ok(())
    }

    fn initial_to_ue(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        id: UeId,
        out: &mut Actions<Timer>,
    ) {
        if self.refuses_by_load(env, &incoming, out) {
            return;
        }
        // A To tag means that the dialog began elsewhere; there is none to record.
        let usage =
            Usage::of(&incoming.request.method).filter(|_| incoming.kind == RequestKind::Initial);
        match self.cannot_keep(&incoming.request, usage) {
            Some(Keep::Full) => {
                return Self::refuse_new_work(env, out, &incoming, FULL);
            }
            Some(Keep::TooLong(why)) => {
                return Self::refuse(env, out, &incoming, 400, (own("limits"), why));
            }
            None => {}
        }
        if self.refuses_offer(env, &incoming, out) {
            return;
        }
        let Some(ue) = self.bindings.get(id) else { return };
        let (flow, side, impi) = (ue.flow, ue.side, ue.association.impi.clone());
        let request = &incoming.request;
        let icid = charging::param(&request.headers, "icid-value")
            .unwrap_or_else(|| charging::new_icid(&self.config, env.ids));
        let mut call = Call::new(id, Direction::ToUe, icid);
        call.sa = flow.sa;
        call.orig_ioi = charging::param(&request.headers, "orig-ioi");
        call.called_party = called_party(request);
        // Nothing else is asked of it towards a UE.
        call.offered =
            !self.config.media.permits_all() && sdp_of(&request.headers, &request.body).is_some();
        if let Some(usage) = usage {
            self.begin_dialog(env, usage, &incoming, &mut call);
        }
        let Incoming { context, mut request, kind, .. } = incoming;
        env.note(ts24229("5.2.6.4"), || format!("to {impi} by its flow {flow}"));
        let token = call.dialog.map(Token::Dialog);
        let record_route = token.map(|token| self.own_uri_for(env, token, &flow));
        strip_to_ue(&mut request);
        if kind != RequestKind::Ack {
            self.exchanges.insert(context, Exchange::Call(Arc::new(call)));
        }
        out.push(forward_to_ue(context, request, flow, side, record_route));
    }

    fn dialog_request_to_ue(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        id: DialogId,
        out: &mut Actions<Timer>,
    ) {
        let Some(dialog) = self.dialogs.get(id) else { return };
        if dialog.released.is_some() {
            let why = "this node has released the dialog".to_owned();
            return Self::refuse(env, out, &incoming, 481, (ts24229("5.2.8.1.4"), why));
        }
        if self.refuses_offer(env, &incoming, out) {
            return;
        }
        // The UE may have come back by another flow; without a record, the last one known must do.
        let ue = self.bindings.get(dialog.ue);
        let (flow, side) = ue.map_or((dialog.flow(), dialog.side), |ue| (ue.flow, ue.side));
        if ue.is_some_and(|ue| ue.flow_lost) {
            let why = "the flow of the UE is gone".to_owned();
            return Self::refuse(env, out, &incoming, 480, (ts24229("5.2.6.4"), why));
        }
        let mut call = in_dialog(id, dialog, Direction::ToUe, &incoming.request);
        call.sa = flow.sa;
        self.dialogs.heard(id, &incoming.request);
        let wanted = self.wanted(Some(id), &incoming);
        let Incoming { context, mut request, kind, .. } = incoming;
        let record_route =
            may_begin(&request).then(|| self.own_uri_for(env, Token::Dialog(id), &flow));
        strip_to_ue(&mut request);
        if kind != RequestKind::Ack {
            self.exchanges.insert(context, Exchange::Call(Arc::new(call)));
        }
        let forward = forward_to_ue(context, request, flow, side, record_route);
        self.forward_with_resources(env, Some(id), (wanted, forward), out);
    }
}

/// Whether a request with a To tag may be what begins the dialog for the one who gets it: a NOTIFY
/// may be there before the 2xx to its SUBSCRIBE, and who is to stay on the path is in each of them
/// (RFC 6665 §4.3).
pub(crate) fn may_begin(request: &Request) -> bool {
    request.method == Method::Notify
}

/// What a UE must not see, in the headers and in the Request-URI.
fn strip_to_ue(request: &mut Request) {
    edit::strip_to_ue(&mut request.headers);
    if let Some(uri) = edit::without_iotl(&request.request_uri) {
        request.request_uri = uri.into();
    }
}

fn forward_to_ue(
    context: ContextId,
    request: Request,
    flow: Flow,
    side: Side,
    record_route: Option<String>,
) -> Action<Timer> {
    Action::Forward {
        context,
        request: Box::new(request),
        to: NextHop::Flow(flow),
        record_route,
        within: None,
        side,
    }
}

/// Whom the network says was called, as an address to assert (TS 24.229 §5.2.6.4.3).
fn called_party(request: &Request) -> Option<Box<str>> {
    let value = request.headers.get(HeaderName::PCalledPartyId)?;
    let uri = field::uri_of(value);
    (!uri.is_empty() && uri.len() <= CALLED_MAX).then(|| format!("<{uri}>").into())
}
