//! Requests in dialogs at the S-CSCF (TS 24.229 §5.4.3.2, §5.4.3.3): along their route set, without
//! services, with the charging identifier of the dialog.

use std::collections::VecDeque;
use std::sync::Arc;

use cscf_core::clause::{rfc3261, rfc4028, ts24229};
use cscf_core::role::{Action, Env, Incoming, NextHop, OwnTag, Side};
use cscf_core::sip::{
    ChargingVector, HeaderName, Ioi, Method, Request, Response, SessionExpires, Uri,
};
use cscf_core::time::Duration;

use crate::dialogs::{Dialog, refreshes};
use crate::refusal::Refusal;
use crate::sessions::{Call, SessionCase, Sessions};
use crate::{ScscfActions, Timer, charging};

impl Sessions {
    /// Forwards a request in a dialog, or an ACK, by its route set: no identities, no services
    /// (TS 24.229 §5.4.3.2, §5.4.3.3).
    pub(crate) fn subsequent(
        &mut self,
        env: &mut Env<'_>,
        mut incoming: Incoming,
        out: &mut ScscfActions,
    ) {
        self.sanitize(env, &mut incoming);
        let Incoming { context, mut request, own_route, .. } = incoming;
        let route = own_route.as_deref().and_then(|text| Uri::parse(text).ok());
        let number = route.as_ref().and_then(Self::dialog_in);
        let user = route.as_ref().and_then(Uri::user).unwrap_or_default();
        let marker = self.config.shard.unmarked(user);
        let by_caller = number.is_some_and(|number| self.dialogs.on_request(number, &request));
        let dialog = number.and_then(|number| self.dialogs.get(number));
        if dialog.is_some_and(Dialog::is_released) && request.method != Method::Ack {
            let why = "this node is ending the dialog";
            return Refusal::new(481, "5.4.5.1.2", why).send(env, context, &request, out);
        }
        let profile = dialog.and_then(|dialog| dialog.media);
        if self.refuses_media(env, (context, &request), profile, out) {
            return;
        }
        let came = charging::vector(&request.headers);
        self.resolve_gruu(env, &mut request);
        if dialog.is_none() && request.method != Method::Ack && self.leads_nowhere(&request) {
            let why = "no dialog is known here, and no route leads on";
            return Refusal::by(481, rfc3261("12.2.2"), why).send(env, context, &request, out);
        }
        if let Some(dialog) = dialog {
            let home = self.config.realm().into();
            let ours = match (dialog.goes_to_server(&request), serves_sender(marker, by_caller)) {
                (true, _) => Ioi::Type3(home),
                (false, true) => Ioi::Type2(home),
                (false, false) => Ioi::Type1(home),
            };
            charging::set_request(&mut request.headers, dialog.icid(), &ours);
        }
        let icid = dialog.map(|dialog| ChargingVector::new(dialog.icid()));
        let came = Arc::new(came.or(icid).unwrap_or_default());
        env.note(ts24229("5.4.3.2"), || {
            let known = if dialog.is_some() { "" } else { ", of a dialog not known here" };
            format!("{}{known} follows its route", request.method)
        });
        // The same value again, so that a peer that takes route sets from refreshes keeps it; a
        // NOTIFY may be there before the 2xx that tells the route set (RFC 6665 §4.3).
        let tells = refreshes(&request.method) || request.method == Method::Notify;
        let refresh = tells && number.is_some();
        let record_route = refresh.then(|| self.config.route_of(user));
        if request.method != Method::Ack {
            let case = match is_terminating(marker) {
                true => SessionCase::Terminating,
                false => SessionCase::Originating,
            };
            let mut call = Call::new(case, request.method.clone(), came);
            call.within = number;
            call.by_caller = by_caller;
            call.add_branch(Arc::default(), VecDeque::new());
            self.calls.insert(context, Box::new(call));
        }
        out.push(Action::Forward {
            context,
            request: Box::new(request),
            to: NextHop::AsRouted,
            record_route,
            within: None,
            side: Side::Core,
        });
    }

    /// Whether a request has neither a Route nor a target of its own: it names an identity of this
    /// network, which is no place.
    fn leads_nowhere(&self, request: &Request) -> bool {
        let identity = |uri: &Uri| uri.host().is_none_or(|host| self.config.is_home(host));
        !request.headers.contains(HeaderName::Route)
            && request.uri().is_ok_and(|uri| identity(&uri))
    }

    /// A request in a dialog whose target is a GRUU of a user here goes to the contact behind it
    /// (RFC 5627 §5.4, TS 24.229 §5.4.3.3).
    fn resolve_gruu(&self, env: &mut Env<'_>, request: &mut Request) {
        let Ok(uri) = request.uri() else { return };
        let Some(set) = uri.param("gr").and_then(|_| self.published.by_uri(&uri)) else { return };
        let bindings = set.of_gruu(&uri).unwrap_or_default();
        let Some(binding) = bindings.iter().find(|its| its.expires_at > env.now) else { return };
        env.note(ts24229("5.4.7A"), || format!("{uri} stands for {}", binding.contact.uri()));
        request.request_uri = binding.contact.uri().into();
        if !request.headers.contains(HeaderName::Route) {
            for path in &binding.path {
                request.headers.push(HeaderName::Route, path);
            }
        }
    }

    /// Notes how long a session lasts without a refresh, as a 2xx to INVITE or UPDATE says
    /// (RFC 4028 §8).
    pub(crate) fn note_session_timer(
        env: &mut Env<'_>,
        number: u64,
        response: &Response,
        out: &mut ScscfActions,
    ) {
        let value = response.headers.get(HeaderName::SessionExpires);
        let timer = Timer::Session(number);
        out.push(match value.and_then(|value| SessionExpires::parse(value).ok()) {
            Some(session) => {
                let secs = session.seconds;
                env.note(rfc4028("8"), || format!("the session lasts {secs} s without refresh"));
                Action::SetTimer { timer, at: env.now + Duration::from_secs(secs.into()) }
            }
            None => Action::ClearTimer { timer },
        });
    }

    /// A session was not refreshed: a proxy forgets it, and sends no BYE (RFC 4028 §8.1; the
    /// user agents do, §10).
    pub(crate) fn session_expired(&mut self, env: &mut Env<'_>, number: u64) {
        if self.dialogs.get(number).is_some_and(|dialog| !dialog.is_released()) {
            env.note(rfc4028("8"), || "the session was not refreshed: forgets it".to_owned());
            self.dialogs.remove(number);
        }
    }

    /// One of our BYEs has its final answer; says whether it was one.
    pub(crate) fn bye_answered(&mut self, tag: OwnTag, out: &mut ScscfActions) -> bool {
        let Some(number) = self.dialogs.bye_answered(tag) else { return false };
        if self.dialogs.get(number).is_none() {
            out.push(Action::ClearTimer { timer: Timer::Session(number) });
        }
        true
    }
}

/// Whether a Record-Route of ours was written for a callee.
fn is_terminating(marker: &str) -> bool {
    marker.starts_with(SessionCase::Terminating.word())
}

/// Whether a request in a dialog comes from the user served by the leg with this Record-Route, so
/// that it leaves towards the other side.
fn serves_sender(marker: &str, by_caller: bool) -> bool {
    is_terminating(marker) != by_caller
}
