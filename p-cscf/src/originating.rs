//! Requests from UEs (TS 24.229 §5.2.6.3): who the sender is, which route it must take, and what it
//! may say.

use std::sync::Arc;

use cscf_core::clause::{own, rfc3261, rfc3325, ts24229};
use cscf_core::operator::Refused;
use cscf_core::role::{
    Action, Actions, ContextId, Env, Incoming, NextHop, RequestKind, Role as _, Side,
};
use cscf_core::sip::{HeaderName, Method, Request, quote};
use cscf_core::transport::{Flow, Transport};

use crate::bindings::Ue;
use crate::config::{RouteMismatch, Stranger};
use crate::dialogs::{Dialog, Direction, PendingInvite, Usage};
use crate::exchange::{Call, Exchange};
use crate::identity::Identity;
use crate::media::sdp_of;
use crate::terminating::may_begin;
use crate::tokens::{self, DialogId, Token, UeId};
use crate::{Pcscf, Timer, charging, edit, own_token, sent_by};

/// The longest Call-ID or tag of a dialog that is kept, in bytes.
pub(crate) const NAME_MAX: usize = 512;

impl Pcscf {
    /// A request other than REGISTER from outside the trust domain.
    pub(crate) fn request_from_ue(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut Actions<Timer>,
    ) {
        let ue = self.source_ue(&incoming, out);
        let token = own_token(&incoming);
        if let Some(Token::Ue(id)) = token
            && ue != Some(id)
            && self.bindings.get(id).is_some()
        {
            let why = "the Path of a UE, used from outside the core".to_owned();
            return Self::refuse(env, out, &incoming, 403, (ts24229("5.2.6.4"), why));
        }
        if incoming.kind == RequestKind::Initial
            && ue.is_none()
            && self.emergency_of_stranger(env, &incoming, out)
        {
            return;
        }
        match (incoming.kind, ue) {
            (RequestKind::Ack | RequestKind::InDialog, _) => {
                self.dialog_request_from_ue(env, incoming, token, ue, out);
            }
            (RequestKind::Initial, Some(ue)) => self.initial_from_ue(env, incoming, ue, out),
            (RequestKind::Initial, None) => self.stranger(env, &incoming, out),
        }
    }

    /// The registered UE a request comes from, by flow; its newest connection is noted.
    fn source_ue(&mut self, incoming: &Incoming, out: &mut Actions<Timer>) -> Option<UeId> {
        let flow = incoming.flow;
        let id = match flow.sa {
            Some(sa) => self.associations.get(sa).map(|record| record.ue)?,
            None => self.bindings.registered_at(&flow, &sent_by(&incoming.request))?,
        };
        self.heard_from(id, flow, out);
        Some(id)
    }

    /// A registered UE has sent something by this flow.
    pub(crate) fn heard_from(&mut self, id: UeId, flow: Flow, out: &mut Actions<Timer>) {
        let Some(ue) = self.bindings.get(id) else { return };
        let same_kind = ue.flow.transport == flow.transport && ue.flow.sa == flow.sa;
        let comes_back = same_kind && (ue.flow != flow || ue.flow_lost);
        if !comes_back && !ue.signalling_lost {
            return;
        }
        let moved = same_kind && ue.flow.conn != flow.conn;
        if !self.shard.is_owner() {
            self.tell_heard(id, &flow);
        }
        let Some(ue) = self.bindings.get_mut(id) else { return };
        ue.signalling_lost = false;
        if same_kind {
            (ue.flow, ue.flow_lost) = (flow, false);
        }
        if moved && self.shard.is_owner() {
            self.watch_flow(id, out);
        }
    }

    /// A request of somebody who is not registered here (TS 24.229 §5.2.6.3.2A).
    fn stranger(&self, env: &mut Env<'_>, incoming: &Incoming, out: &mut Actions<Timer>) {
        let clause = ts24229("5.2.6.3.2A");
        let remote = incoming.flow.remote;
        match self.config.stranger {
            Stranger::Refuse => {
                let why = "no registration from this address".to_owned();
                Self::refuse(env, out, incoming, 403, (clause, why));
            }
            Stranger::Discard => env.refuse(clause, || {
                let method = &incoming.request.method;
                format!("{method} from {remote} dropped: no registration from this address")
            }),
        }
    }

    /// Refuses a request whose Route is not the Service-Route of the registration, where it is not
    /// put right instead (TS 24.229 §5.2.6.3.3).
    fn refuses_routes(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        routes: &[Box<str>],
        out: &mut Actions<Timer>,
    ) -> bool {
        if edit::same_routes(&incoming.request.headers, routes) {
            return false;
        }
        let clause = ts24229("5.2.6.3.3");
        if self.config.route_mismatch == RouteMismatch::Reject {
            let why = "Route is not the Service-Route of the registration".to_owned();
            Self::refuse(env, out, incoming, 400, (clause, why));
            return true;
        }
        env.note(clause, || "Route differs from the Service-Route, which takes its place".into());
        false
    }

    /// A request outside a dialog from a registered UE (TS 24.229 §5.2.6.3.3, §5.2.6.3.7).
    fn initial_from_ue(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        ue: UeId,
        out: &mut Actions<Timer>,
    ) {
        if let Some(service) = self.emergency_service(&incoming.request) {
            return self.emergency_from_ue(env, incoming, (ue, service), out);
        }
        if self.refuses_by_load(env, &incoming, out) {
            return;
        }
        if self.bindings.get(ue).is_some_and(Ue::is_emergency_only) {
            let why = "only an emergency registration, and no emergency service asked".to_owned();
            return Self::refuse(env, out, &incoming, 403, (ts24229("5.2.10.3"), why));
        }
        if self.refuses_sips(env, &incoming, out) {
            return;
        }
        let usage = Usage::of(&incoming.request.method);
        if let Some(refusal) = self.cannot_keep(&incoming.request, usage) {
            return match refusal {
                Keep::Full => Self::refuse_new_work(env, out, &incoming, FULL),
                Keep::TooLong(why) => {
                    Self::refuse(env, out, &incoming, 400, (own("limits"), why));
                }
            };
        }
        let Some((asserted, routes)) = self.asserted(env, ue, &incoming.request) else {
            let why = "the user has no public identity that is not barred".to_owned();
            return Self::refuse(env, out, &incoming, 403, (ts24229("5.2.6.3.3"), why));
        };
        if self.refuses_routes(env, &incoming, &routes, out)
            || self.refuses_offer(env, &incoming, out)
        {
            return;
        }
        let icid = charging::new_icid(&self.config, env.ids);
        let mut call = Call::new(ue, Direction::FromUe, icid);
        (call.unanswered, call.sa) = (true, incoming.flow.sa);
        let looks = self.config.policy || !self.config.media.permits_all();
        let sdp = looks.then(|| sdp_of(&incoming.request.headers, &incoming.request.body));
        let sdp = sdp.flatten();
        call.offered = sdp.is_some();
        if let Some(usage) = usage {
            self.begin_dialog(env, usage, &incoming, &mut call);
        }
        let wanted = sdp.and_then(|sdp| self.wanted_for(call.dialog, &incoming, &sdp));
        let Incoming { context, mut request, flow, .. } = incoming;
        let headers = &mut request.headers;
        edit::strip_from_ue(headers);
        edit::set_routes(headers, &routes);
        for identity in &asserted {
            headers.push(HeaderName::PAssertedIdentity, &identity.asserted());
        }
        headers.push(HeaderName::PVisitedNetworkId, &quote(&self.config.visited_network));
        let vector = charging::of_request(&self.config, &call.icid);
        headers.push(HeaderName::PChargingVector, &vector);
        env.note(rfc3325("6"), || {
            let names: Vec<String> = asserted.iter().map(Identity::asserted).collect();
            format!("asserts {} by the flow {flow}, {}", names.join(" and "), call.icid)
        });
        let token = call.dialog.map(Token::Dialog);
        let record_route = token.map(|token| self.own_uri(env, token, Transport::Udp));
        let dialog = call.dialog;
        self.exchanges.insert(context, Exchange::Call(Arc::new(call)));
        let forward = Action::Forward {
            context,
            request: Box::new(request),
            to: NextHop::AsRouted,
            record_route,
            within: None,
            side: Side::Core,
        };
        self.forward_with_resources(env, dialog, (wanted, forward), out);
    }

    /// Whom the request is from: what the UE prefers if it is registered, else its default
    /// (TS 24.229 §5.2.6.3.3); and the Service-Route of that registration. From plays no part.
    pub(crate) fn asserted(
        &self,
        env: &mut Env<'_>,
        id: UeId,
        request: &Request,
    ) -> Option<(Vec<Identity>, Vec<Box<str>>)> {
        let ue = self.bindings.get(id)?;
        let wanted = Identity::read_all(&request.headers, HeaderName::PPreferredIdentity, 2);
        let mut out: Vec<Identity> = Vec::new();
        let mut home = None;
        for (registration, identity) in wanted.iter().filter_map(|wanted| ue.find(wanted)) {
            // One SIP and one tel URI at most (RFC 3325 §9.1).
            if out.iter().all(|known| known.is_tel != identity.is_tel) {
                out.push(identity.clone());
                home.get_or_insert(registration);
            }
        }
        if let Some(home) = home {
            return Some((out, home.service_route.to_vec()));
        }
        if let Some(wanted) = wanted.first() {
            env.note(ts24229("5.2.6.3.3"), || {
                format!("{} is not registered here: the default identity instead", wanted.uri)
            });
        }
        let (home, identity) = ue.default_identity()?;
        Some((vec![identity.clone()], home.service_route.to_vec()))
    }

    /// A request with a To tag, or an ACK (TS 24.229 §5.2.6.3.5).
    fn dialog_request_from_ue(
        &mut self,
        env: &mut Env<'_>,
        mut incoming: Incoming,
        token: Option<Token>,
        ue: Option<UeId>,
        out: &mut Actions<Timer>,
    ) {
        let Some(id) = self.find_dialog(&incoming.request, token, ue) else {
            return self.unknown_dialog_from_ue(env, incoming, ue, out);
        };
        let Some(dialog) = self.dialogs.get(id) else { return };
        let (flow, its) = (&incoming.flow, dialog.flow());
        let same_place = flow.remote == its.remote
            && flow.may_continue(&its, |one, other| self.is_one_peer(one, other));
        if ue != Some(dialog.ue) && !same_place {
            let why = "the dialog is another UE's".to_owned();
            return Self::refuse(env, out, &incoming, 403, (ts24229("5.2.6.3.5"), why));
        }
        if dialog.released.is_some() {
            let why = "this node has released the dialog".to_owned();
            return Self::refuse(env, out, &incoming, 481, (ts24229("5.2.8.1.3"), why));
        }
        if self.refuses_offer(env, &incoming, out) {
            return;
        }
        let wanted = self.wanted(Some(id), &incoming);
        let (from, to) = tags(&incoming.request);
        let routes = dialog.ue_routes(from, to);
        if let Some(routes) = routes
            && !edit::same_routes(&incoming.request.headers, &routes)
        {
            let clause = ts24229("5.2.6.3.5");
            if self.config.route_mismatch == RouteMismatch::Reject {
                let why = "Route is not the route set of the dialog".to_owned();
                return Self::refuse(env, out, &incoming, 400, (clause, why));
            }
            env.note(clause, || "Route differs from the route set, which takes its place".into());
            edit::set_routes(&mut incoming.request.headers, &routes);
        }
        let mut call = in_dialog(id, dialog, Direction::FromUe, &incoming.request);
        call.sa = incoming.flow.sa;
        self.dialogs.heard(id, &incoming.request);
        let Incoming { context, mut request, kind, .. } = incoming;
        let headers = &mut request.headers;
        edit::strip_from_ue(headers);
        let vector = charging::of_request(&self.config, &call.icid);
        headers.push(HeaderName::PChargingVector, &vector);
        if kind != RequestKind::Ack {
            self.exchanges.insert(context, Exchange::Call(Arc::new(call)));
        }
        let record_route =
            may_begin(&request).then(|| self.own_uri(env, Token::Dialog(id), Transport::Udp));
        let forward = forward_in_dialog(context, request, record_route);
        self.forward_with_resources(env, Some(id), (wanted, forward), out);
    }

    /// A dialog this node does not know: whoever has it answers (RFC 3261 §12.2.2). Only for UEs
    /// with a registration, and only along a Route: this is no open relay.
    fn unknown_dialog_from_ue(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        ue: Option<UeId>,
        out: &mut Actions<Timer>,
    ) {
        let Some(ue) = ue else { return self.stranger(env, &incoming, out) };
        if !incoming.request.headers.contains(HeaderName::Route) {
            let why = "no such dialog, and no Route to who might know it".to_owned();
            return Self::refuse(env, out, &incoming, 481, (rfc3261("12.2.2"), why));
        }
        env.note(rfc3261("12.2.2"), || "a dialog not known here goes along its Route".to_owned());
        let Incoming { context, mut request, kind, flow, .. } = incoming;
        edit::strip_from_ue(&mut request.headers);
        // The dialog, if there is one, has its icid elsewhere (the ACK of a 2xx repeated after BYE,
        // a BYE that crossed another): a new one here would be a second for the same dialog.
        if kind != RequestKind::Ack {
            let icid = charging::new_icid(&self.config, env.ids);
            let mut call = Call::new(ue, Direction::FromUe, icid);
            call.sa = flow.sa;
            self.exchanges.insert(context, Exchange::Call(Arc::new(call)));
        }
        out.push(forward_in_dialog(context, request, None));
    }

    /// The dialog a request belongs to: the one its token names, else one of this UE with its
    /// Call-ID and tags.
    pub(crate) fn find_dialog(
        &self,
        request: &Request,
        token: Option<Token>,
        ue: Option<UeId>,
    ) -> Option<DialogId> {
        let call_id = request.call_id()?;
        let (from, to) = tags(request);
        if let Some(Token::Dialog(id)) = token {
            return Some(id)
                .filter(|id| self.dialogs.get(*id).is_some_and(|it| it.holds(call_id, from, to)));
        }
        self.dialogs.of_ue(ue?, call_id, from, to)
    }

    /// Records the dialog that a request begins.
    pub(crate) fn begin_dialog(
        &mut self,
        env: &mut Env<'_>,
        usage: Usage,
        came: &Incoming,
        call: &mut Call,
    ) {
        let Incoming { request, .. } = came;
        // Who makes an emergency call need not be registered.
        let ue = self.bindings.get(call.ue);
        let (flow, side) = ue.map_or((came.flow, self.side(&came.flow)), |ue| (ue.flow, ue.side));
        let expires_at = env.now + self.config.dialog_idle_max;
        let mut dialog = Dialog::new(request, call, usage, (flow, side), expires_at);
        if usage == Usage::Session {
            dialog.invite = Some(Box::new(self.pending_invite(came)));
        }
        let id = DialogId(tokens::number(env.ids));
        self.dialogs.insert(id, dialog);
        (call.dialog, call.makes_dialog) = (Some(id), true);
    }

    fn pending_invite(&self, came: &Incoming) -> PendingInvite {
        let Incoming { context, request, .. } = came;
        let mut answer = request.reply(500);
        // It may ring for minutes; the few headers must not keep the whole message.
        answer.headers.detach();
        let restricted = !self.config.media.permits_all();
        let offer = restricted.then(|| sdp_of(&request.headers, &request.body)).flatten();
        PendingInvite { context: *context, answer, offer }
    }

    /// Why no dialog can be kept for this request, if so.
    pub(crate) fn cannot_keep(&self, request: &Request, usage: Option<Usage>) -> Option<Keep> {
        usage?;
        if self.dialogs.len() >= self.config.limits.dialogs_max {
            return Some(Keep::Full);
        }
        let call_id = request.call_id().unwrap_or_default();
        let tag = request.from_tag().unwrap_or_default();
        if call_id.len() > NAME_MAX || tag.len() > NAME_MAX {
            return Some(Keep::TooLong("a Call-ID or tag longer than 512 bytes".to_owned()));
        }
        None
    }
}

/// Why a dialog cannot be kept.
pub(crate) enum Keep {
    /// The table is full.
    Full,
    /// Its name is too long.
    TooLong(String),
}

/// Retry-After when the table of dialogs is full, in seconds.
pub(crate) const FULL: (Refused, u32) = (Refused::Overloaded, 10);

/// From and To tag, empty where there is none.
pub(crate) fn tags(request: &Request) -> (&str, &str) {
    (request.from_tag().unwrap_or_default(), request.to_tag().unwrap_or_default())
}

/// The exchange of a request inside a dialog.
pub(crate) fn in_dialog(
    id: DialogId,
    dialog: &Dialog,
    direction: Direction,
    request: &Request,
) -> Call {
    let (from, to) = tags(request);
    let other = if dialog.between.caller_tag() == from { to } else { from };
    let (ends, may_end) = match (dialog.usage, &request.method) {
        (Usage::Session, Method::Bye) => (true, true),
        (Usage::Subscription, Method::Notify) => (is_last_notify(request), true),
        (Usage::Session, Method::Invite | Method::Update)
        | (Usage::Subscription, Method::Subscribe) => (false, true),
        _ => (false, false),
    };
    let mut call = Call::new(dialog.ue, direction, dialog.icid().into());
    call.dialog = Some(id);
    call.fork = Some(other.into());
    (call.ends, call.may_end) = (ends, may_end);
    call.offered = sdp_of(&request.headers, &request.body).is_some();
    call.orig_ioi = dialog.orig_ioi().map(Into::into);
    call
}

/// Whether Subscription-State says the subscription is over (RFC 6665 §4.1.3).
fn is_last_notify(request: &Request) -> bool {
    let state = request.headers.get(HeaderName::SubscriptionState).unwrap_or_default();
    state.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("terminated")
}

fn forward_in_dialog(
    context: ContextId,
    request: Request,
    record_route: Option<String>,
) -> Action<Timer> {
    Action::Forward {
        context,
        request: Box::new(request),
        to: NextHop::AsRouted,
        record_route,
        within: None,
        side: Side::Core,
    }
}
