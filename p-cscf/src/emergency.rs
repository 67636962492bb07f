//! Emergency calls (TS 24.229 §5.2.10): every request that begins something is looked at first for
//! an emergency service; such a call goes to an E-CSCF, or its UE is sent another way with 380.

use std::sync::Arc;

use cscf_core::clause::{Clause, rfc3325, ts24229};
use cscf_core::config::EmergencyCalls;
use cscf_core::role::{
    Action, Actions, Answered, Cause, ContextId, Env, Incoming, NextHop, Side, Within,
};
use cscf_core::sip::{HeaderName, Headers, Request, Response, Uri, phone_digits, reason_phrase};
use cscf_core::time::Duration;
use cscf_core::transport::Transport;

use crate::alternative::Alternative;
use crate::bindings::Ue;
use crate::dialogs::{Direction, Usage};
use crate::exchange::{Call, Exchange};
use crate::tokens::{self, Token, UeId};
use crate::{Pcscf, Timer, charging, edit};

/// How long an E-CSCF may be silent before the next one is tried.
const SILENT_MAX: Duration = Duration::from_secs(6);

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// The service, e.g. `urn:service:sos.police` (RFC 5031 §4.2).
    urn: Box<str>,
    /// The number that was dialled for it, if the UE does not know that it is one.
    number: Option<Box<str>>,
}

/// An emergency call on its way.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The request as it leaves, without Route.
    request: Box<Request>,
    /// Our own Record-Route.
    record_route: Option<String>,
    /// The next E-CSCF to try.
    next: usize,
    /// The number that was dialled.
    number: Option<Box<str>>,
}

impl Pcscf {
    /// The emergency service a request asks for: by its name, or by a number this network knows
    /// (TS 24.229 §5.2.10.1). The number must be the whole of what was dialled, so that the entry
    /// that says most is the one that counts.
    pub(crate) fn emergency_service(&self, request: &Request) -> Option<Service> {
        let uri = request.request_uri.to_ascii_lowercase();
        if uri == "urn:service:sos" || uri.starts_with("urn:service:sos.") {
            return Some(Service { urn: uri.into(), number: None });
        }
        let numbers = &self.config.emergency.numbers;
        if numbers.is_empty() {
            return None;
        }
        let dialled = match Uri::parse(&request.request_uri).ok()? {
            Uri::Tel(tel) => tel.digits(),
            Uri::Sip(_) => {
                let parsed = Uri::parse(&request.request_uri).ok()?;
                let user = parsed.user_decoded()?.into_owned();
                phone_digits(user.split(';').next().unwrap_or_default())
            }
            Uri::Other(_) => return None,
        };
        let (number, service) = numbers.iter().find(|(number, _)| *number == dialled)?;
        let urn = format!("urn:service:{service}").into();
        Some(Service { urn, number: Some(number.as_str().into()) })
    }

    /// Whether the home network of a UE is another one than this (TS 24.229 §5.2.10.4).
    fn is_roaming(&self) -> bool {
        let here = &self.config.visited_network;
        !self.config.home_domains.is_empty()
            && !self.config.home_domains.iter().any(|home| home.eq_ignore_ascii_case(here))
    }

    /// An emergency call of a registered UE (TS 24.229 §5.2.10.3, §5.2.10.4).
    pub(crate) fn emergency_from_ue(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        (id, service): (UeId, Service),
        out: &mut Actions<Timer>,
    ) {
        let urn = &service.urn;
        env.note(ts24229("5.2.10.1"), || {
            format!("{} asks for {urn}", incoming.request.request_uri)
        });
        let clause = ts24229("5.2.10.4");
        if !self.bindings.get(id).is_some_and(Ue::has_emergency) {
            let calls = self.config.emergency.calls;
            let way = if self.is_roaming() {
                Some(("an emergency call needs a registration for it", true))
            } else {
                match calls {
                    EmergencyCalls::Forward => None,
                    EmergencyCalls::Register => Some((NUMBER_OR_CALL, true)),
                    EmergencyCalls::Elsewhere => Some((NUMBER_OR_CALL, false)),
                }
            };
            if let Some((reason, registers)) = way {
                let why = format!("{urn} over a normal registration");
                let alternative = Alternative::emergency(reason, registers);
                return self.send_elsewhere(env, &incoming, id, (clause, why, alternative), out);
            }
        }
        if self.config.emergency.e_cscfs.is_empty() {
            let why = format!("{urn}, and no E-CSCF is known");
            let alternative = Alternative::emergency("no emergency calls here", false);
            return self.send_elsewhere(env, &incoming, id, (clause, why, alternative), out);
        }
        let asserted = self.emergency_identities(env, id, &incoming.request);
        self.emergency_forward(env, incoming, (id, service, asserted), out);
    }

    /// Whom an emergency call is from: both forms of the identity where they are known
    /// (TS 24.229 §5.2.10.3).
    fn emergency_identities(&self, env: &mut Env<'_>, id: UeId, request: &Request) -> Vec<String> {
        let Some((mut all, _)) = self.asserted(env, id, request) else { return Vec::new() };
        if let (Some(ue), [one]) = (self.bindings.get(id), all.as_slice()) {
            let is_tel = one.is_tel;
            let sets = ue.registrations.iter().filter(|it| it.associated.contains(one));
            let other = sets.flat_map(|it| &it.associated).find(|it| it.is_tel != is_tel);
            all.extend(other.cloned());
        }
        all.iter().map(crate::identity::Identity::asserted).collect()
    }

    /// A request that begins something, of somebody who is not registered: an emergency call is
    /// taken where the network allows it (TS 24.229 §5.2.10.2). Says whether it was one.
    pub(crate) fn emergency_of_stranger(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<Timer>,
    ) -> bool {
        let Some(service) = self.emergency_service(&incoming.request) else { return false };
        let clause = ts24229("5.2.10.2");
        let emergency = &self.config.emergency;
        if !emergency.anonymous || emergency.e_cscfs.is_empty() {
            let why = format!(
                "{} without a registration: anonymous emergency calls are {}",
                service.urn,
                if emergency.anonymous { "on, and no E-CSCF is known" } else { "off" }
            );
            Self::refuse(env, out, incoming, 403, (clause, why));
            return true;
        }
        env.note(clause, || format!("takes {} of somebody not registered", service.urn));
        let nobody = UeId(tokens::number(env.ids));
        self.emergency_forward(env, incoming.clone(), (nobody, service, Vec::new()), out);
        true
    }

    /// Sends an emergency call to the first E-CSCF.
    fn emergency_forward(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        (id, service, asserted): (UeId, Service, Vec<String>),
        out: &mut Actions<Timer>,
    ) {
        let icid = charging::new_icid(&self.config, env.ids);
        let mut call = Call::new(id, Direction::FromUe, icid);
        call.sa = incoming.flow.sa;
        // Where no dialog can be kept the call goes on all the same.
        let usage = Usage::of(&incoming.request.method);
        if let Some(usage) = usage.filter(|_| self.cannot_keep(&incoming.request, usage).is_none())
        {
            self.begin_dialog(env, usage, &incoming, &mut call);
        }
        let Incoming { context, mut request, .. } = incoming;
        if let Some(dialog) = call.dialog.and_then(|id| self.dialogs.get_mut(id)) {
            dialog.emergency = true;
        }
        let vector = charging::of_request(&self.config, &call.icid);
        let headers = &mut request.headers;
        edit::strip_from_ue(headers);
        for identity in &asserted {
            headers.push(HeaderName::PAssertedIdentity, identity);
        }
        headers.push(HeaderName::PChargingVector, &vector);
        env.note(rfc3325("6"), || format!("asserts {}", in_words(&asserted)));
        if service.number.is_some() {
            request.request_uri = (*service.urn).into();
        }
        let record_route =
            call.dialog.map(|id| self.own_uri(env, Token::Dialog(id), Transport::Udp));
        let attempt =
            Attempt { request: Box::new(request), record_route, next: 0, number: service.number };
        call.emergency = Some(Box::new(attempt));
        self.emergency_try(env, context, call, out);
    }

    /// Sends the request to the next E-CSCF; says whether there was one.
    fn emergency_try(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        mut call: Call,
        out: &mut Actions<Timer>,
    ) -> bool {
        let Some(attempt) = &mut call.emergency else { return false };
        let Some(e_cscf) = self.config.emergency.e_cscfs.get(attempt.next) else { return false };
        attempt.next += 1;
        env.note(ts24229("5.2.10.3"), || format!("the emergency call goes to the E-CSCF {e_cscf}"));
        let mut request = attempt.request.clone();
        set_route(&mut request.headers, e_cscf);
        let record_route = attempt.record_route.clone();
        self.exchanges.insert(context, Exchange::Call(Arc::new(call)));
        out.push(Action::Forward {
            context,
            request,
            to: NextHop::AsRouted,
            record_route,
            within: Some(Within::First(SILENT_MAX)),
            side: Side::Core,
        });
        true
    }

    /// A response to an emergency call: another E-CSCF is tried where this one failed, and where
    /// none is left the UE hears 380 (TS 24.229 §5.2.10.5). Gives back what goes to the UE.
    pub(crate) fn emergency_response(
        &mut self,
        env: &mut Env<'_>,
        call: &Call,
        mut answered: Answered,
        out: &mut Actions<Timer>,
    ) -> Option<Answered> {
        let attempt = call.emergency.as_ref()?;
        let response = &mut answered.response;
        let failed = answered.cause != Cause::Received
            || matches!(response.status, 300..400 | 480 | 500..600);
        if !failed {
            if let Some(number) = &attempt.number
                && (101..300).contains(&response.status)
            {
                let identity = format!("<tel:{number}>");
                response.headers.set(HeaderName::PAssertedIdentity, &identity);
                env.note(ts24229("5.2.10.4"), || format!("{identity} tells that it is a number"));
            }
            return Some(answered);
        }
        let status = response.status;
        env.refuse(ts24229("5.2.10.5"), || format!("the E-CSCF fails: {status}"));
        if self.emergency_try(env, answered.context, call.clone(), out) {
            return None;
        }
        response.status = 380;
        response.reason = reason_phrase(380).into();
        self.put_alternative(env, response, call.ue, Alternative::emergency(NO_E_CSCF, false));
        Some(answered)
    }

    /// Answers 380.
    fn send_elsewhere(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        id: UeId,
        (clause, why, alternative): (Clause, String, Alternative),
        out: &mut Actions<Timer>,
    ) {
        let action = alternative.action.unwrap_or("another domain");
        let method = &incoming.request.method;
        env.refuse(clause, || format!("{method} gets 380 ({action}): {why}"));
        let mut response = incoming.request.reply(380);
        self.put_alternative(env, &mut response, id, alternative);
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
    }

    /// The body, and who says it: the URI of this node that the UE knows from its Path
    /// (TS 24.229 §5.2.10.4, §5.1.2A.1.6).
    pub(crate) fn put_alternative(
        &self,
        env: &Env<'_>,
        response: &mut Response,
        ue: UeId,
        alternative: Alternative,
    ) {
        let own = self.own_uri(env, Token::Ue(ue), Transport::Udp);
        response.headers.set(HeaderName::PAssertedIdentity, &own);
        alternative.put(response);
    }
}

const NUMBER_OR_CALL: &str = "an emergency number or call";
const NO_E_CSCF: &str = "no answer from the emergency centre";

/// The E-CSCF in the place of all Routes.
fn set_route(headers: &mut Headers, e_cscf: &str) {
    let route = match e_cscf.contains(";lr") {
        true => format!("<{e_cscf}>"),
        false => format!("<{e_cscf};lr>"),
    };
    edit::set_routes(headers, &[route]);
}

fn in_words(asserted: &[String]) -> String {
    if asserted.is_empty() { "nobody".to_owned() } else { asserted.join(" and ") }
}
