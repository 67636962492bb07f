//! Requests other than REGISTER at the I-CSCF (TS 24.229 §5.3.2): where is the user, and on to that
//! S-CSCF by Route; the Request-URI leaves as it came.

use cscf_core::clause::{own, ts24229};
use cscf_core::cx::{CxAnswer, CxRequest, CxResult, Lir, ServerAnswer};
use cscf_core::registrar::{identity_key, number_key};
use cscf_core::role::{Action, Answered, Cause, ContextId, Env, Incoming, NextHop, Side};
use cscf_core::sip::{ChargingVector, HeaderName, Method, Privacy, Request, Response, Uri};

use crate::register::describe;
use crate::select::{candidates, same_server};
use crate::{Icscf, IcscfActions, Pending, Refusal, pass_up, refuse, refuse_new_work};

/// What a peer outside the trust domain may not say (TS 24.229 §5.3.2.1).
const UNTRUSTED: [HeaderName; 7] = [
    HeaderName::PAccessNetworkInfo,
    HeaderName::PAssertedIdentity,
    HeaderName::PAssertedService,
    HeaderName::PChargingFunctionAddresses,
    HeaderName::PChargingVector,
    HeaderName::PProfileKey,
    HeaderName::PServedUser,
];

/// An initial request on its way to an S-CSCF.
#[derive(Debug)]
pub(crate) struct Locating {
    request: Request,
    lir: Lir,
    tried: Vec<String>,
    /// Whether it came from inside the trust domain.
    trusted: bool,
    /// The wildcarded identity that stands for the user (TS 24.229 §5.3.2.1).
    profile_key: Option<String>,
}

impl Icscf {
    /// Takes an initial request (TS 24.229 §5.3.2.1, §5.3.2.1A).
    pub(crate) fn initial(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut IcscfActions,
    ) {
        let Incoming { context, mut request, flow, own_route, .. } = incoming;
        if let Some(refusal) = self.work.refusal()
            && !request.asks_emergency_service()
        {
            return refuse_new_work(env, context, &request, refusal, out);
        }
        let trusted = self.config.trusts(flow.remote);
        let route = own_route.as_deref().and_then(|text| Uri::parse(text).ok());
        let originating = route.is_some_and(|uri| uri.params().has("orig"));
        if originating && !trusted {
            let why = format!("orig from {}, which is no trusted peer", flow.remote);
            return refuse(env, context, &request, Refusal::new(403, "5.3.2.1A", why), out);
        }
        if trusted && request.headers.contains(HeaderName::Route) {
            env.note(ts24229("5.3.2.1"), || "a Route is left: forwards along it".to_owned());
            return forward(context, request, out);
        }
        if !trusted {
            // A Route of theirs could lead past the HSS straight to an S-CSCF.
            request.headers.remove(HeaderName::Route);
            sanitize(env, &mut request);
        }
        if self.is_transit(&request, originating, trusted) {
            env.note(ts24229("5.3.2.1"), || {
                format!("{} is of another network: sent on", request.request_uri)
            });
            return forward(context, request, out);
        }
        let lir = match self.location_request(&request, originating) {
            Ok(lir) => lir,
            Err(refusal) => return refuse(env, context, &request, refusal, out),
        };
        if !request.headers.contains(HeaderName::PChargingVector) {
            let icid = env.ids.token(16);
            let vector = ChargingVector::new(&icid).to_string();
            request.headers.push(HeaderName::PChargingVector, &vector);
            env.note(ts24229("4.5.2"), || format!("no P-Charging-Vector: icid {icid}"));
        }
        env.note(ts24229("5.3.2.1"), || format!("asks the HSS who serves {}", lir.impu));
        let question = CxRequest::Lir(lir.clone());
        let (tried, profile_key) = (Vec::new(), None);
        let locating = Locating { request, lir, tried, trusted, profile_key };
        self.pending.insert(context, Pending::Session(Box::new(locating)));
        self.ask(env, context, question, out);
    }

    /// Whether a request of a trusted peer is for another network, and this one lets it pass
    /// (TS 24.229 §5.3.2.1).
    fn is_transit(&self, request: &Request, originating: bool, trusted: bool) -> bool {
        let abroad =
            |uri: &Uri| uri.is_sip() && uri.host().is_some_and(|host| !self.config.is_home(host));
        let passes = self.config.transit && trusted && !originating;
        passes && request.uri().is_ok_and(|uri| abroad(&uri))
    }

    /// Reads the LIR out of an initial request (TS 24.229 §5.3.2.1, TS 29.228 §6.1.4).
    fn location_request(&self, request: &Request, originating: bool) -> Result<Lir, Refusal> {
        let refused = |status, why: String| Refusal::new(status, "5.3.2.1", why);
        let uri = if originating {
            let headers = &request.headers;
            let served = headers.address(HeaderName::PServedUser);
            let user = served.or_else(|_| headers.address(HeaderName::PAssertedIdentity));
            user.map_err(|_| refused(403, "orig without a served user".into()))?.uri
        } else {
            request.uri().map_err(|fault| refused(400, format!("Request-URI: {fault}")))?
        };
        if !uri.is_sip() && !uri.is_tel() {
            return Err(refused(416, format!("no routing for the scheme {}", uri.scheme())));
        }
        let foreign = uri.host().filter(|host| !self.config.is_home(host));
        if let Some(host) = foreign {
            return Err(refused(404, format!("{host} is not served here")));
        }
        // The tel form of a number is the key (TS 24.229 §5.3.2.1).
        let impu = number_key(&uri)
            .or_else(|| identity_key(&uri))
            .ok_or_else(|| refused(404, format!("{uri} names no user")))?;
        Ok(Lir { impu, originating, capabilities: false })
    }

    /// Acts on the LIA (TS 24.229 §5.3.2.1, §5.3.2.2).
    pub(crate) fn located(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        answer: CxAnswer,
        out: &mut IcscfActions,
    ) {
        let Some(Pending::Session(locating)) = self.pending.get_mut(&context) else { return };
        if let CxAnswer::Server(ServerAnswer { wildcard: Some(wildcard), .. }) = &answer {
            locating.profile_key = Some(wildcard.clone());
        }
        let chosen =
            judge(answer, self.config.unknown_user).and_then(|answer| match answer.server_name {
                Some(name) => Ok(name),
                None => {
                    let wanted = answer.capabilities.unwrap_or_default();
                    let mut list = candidates(&self.config, &wanted, &locating.tried);
                    list.next().map(str::to_owned).ok_or_else(|| {
                        let status = if locating.tried.is_empty() { 600 } else { 504 };
                        Refusal::new(status, "5.3.2.2", "no S-CSCF is left that can serve")
                    })
                }
            });
        match chosen {
            Ok(name) => self.send_to(env, context, name, out),
            Err(refusal) => self.refuse_session(env, context, refusal, out),
        }
    }

    /// Puts the S-CSCF on top of the Route (TS 24.229 §5.3.2.1); `orig` stays in it when the
    /// request is originating (§5.3.2.1A).
    fn send_to(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        name: String,
        out: &mut IcscfActions,
    ) {
        let Some(Pending::Session(locating)) = self.pending.get_mut(&context) else { return };
        let route = Uri::parse(&name).ok().filter(Uri::is_sip);
        let Some(mut route) = route else {
            let why = format!("server name {name} is no SIP URI");
            return self.refuse_session(env, context, Refusal::new(480, "5.3.2.2", why), out);
        };
        if same_server(&name, &self.config.uri) {
            let why = "the HSS names this I-CSCF as S-CSCF";
            return self.refuse_session(env, context, Refusal::new(482, "5.3.2.1", why), out);
        }
        route.set_param("lr", "");
        if locating.lir.originating {
            route.set_param("orig", "");
        }
        env.note(ts24229("5.3.2.1"), || format!("{} is served by {name}", locating.lir.impu));
        locating.tried.push(name);
        let mut request = locating.request.clone();
        request.headers.push_front(HeaderName::Route, &format!("<{route}>"));
        if let Some(wildcard) = &locating.profile_key {
            env.note(ts24229("5.3.2.1"), || format!("the profile is that of {wildcard}"));
            request.headers.set(HeaderName::PProfileKey, &format!("<{wildcard}>"));
        }
        forward(context, request, out);
    }

    /// Relays the S-CSCF's answer; its silence becomes 504, or another S-CSCF where restoration is
    /// on (TS 24.229 §5.3.2.2). Once it has answered no other is tried, and nothing is kept of the
    /// request: that of an INVITE would lie there until the last repeated 2xx has come.
    pub(crate) fn session_answered(
        &mut self,
        env: &mut Env<'_>,
        answered: Answered,
        out: &mut IcscfActions,
    ) {
        let Answered { context, branch, mut response, cause, .. } = answered;
        let Some(Pending::Session(locating)) = self.pending.get_mut(&context) else { return };
        if cause == Cause::Received {
            if locating.trusted {
                self.pending.remove(&context);
            } else {
                leave_trust(&mut response);
                self.pending.insert(context, Pending::Outside);
            }
            return pass_up(context, branch, response, out);
        }
        let scscf = locating.tried.last().cloned().unwrap_or_default();
        let what = describe(cause, response.status);
        if self.config.restoration {
            env.note(own("restoration"), || format!("{scscf} {what}: chooses another S-CSCF"));
            locating.lir.capabilities = true;
            let question = CxRequest::Lir(locating.lir.clone());
            return self.ask(env, context, question, out);
        }
        let why = format!("{scscf} {what}");
        self.refuse_session(env, context, Refusal::new(504, "5.3.2.2", why), out);
    }

    /// Forwards a request inside a dialog, or an ACK, by its Route alone: no LIR
    /// (TS 24.229 §5.3.2.1). This node stays in no dialog, so a peer outside the trust domain has
    /// no reason to send one here; its Route could lead past the HSS into the home network.
    pub(crate) fn subsequent(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut IcscfActions,
    ) {
        let Incoming { context, request, flow, .. } = incoming;
        if !self.config.trusts(flow.remote) {
            let why = format!("in a dialog, from {}, which is no trusted peer", flow.remote);
            if request.method == Method::Ack {
                env.refuse(ts24229("4.4"), || format!("ACK dropped: {why}"));
                return;
            }
            return refuse(env, context, &request, Refusal::new(403, "4.4", why), out);
        }
        let target = request.uri().ok();
        let ours = target.as_ref().is_none_or(|uri| {
            !uri.is_sip() || uri.host().is_some_and(|host| self.config.is_home(host))
        });
        if ours && !request.headers.contains(HeaderName::Route) {
            let why = "in a dialog, but with no Route to follow";
            if request.method == Method::Ack {
                env.refuse(ts24229("5.3.2.1"), || format!("ACK dropped: {why}"));
                return;
            }
            return refuse(env, context, &request, Refusal::new(404, "5.3.2.1", why), out);
        }
        env.note(ts24229("5.3.2.1"), || format!("{} follows its route", request.method));
        forward(context, request, out);
    }

    fn refuse_session(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        refusal: Refusal,
        out: &mut IcscfActions,
    ) {
        if let Some(Pending::Session(locating)) = self.pending.remove(&context) {
            refuse(env, context, &locating.request, refusal, out);
        }
    }
}

/// Takes away what only members of the trust domain may say (TS 24.229 §5.3.2.1).
fn sanitize(env: &mut Env<'_>, request: &mut Request) {
    let count: usize = UNTRUSTED.iter().map(|name| request.headers.remove(*name)).sum();
    if count > 0 {
        env.note(ts24229("5.3.2.1"), || format!("{count} headers of an untrusted peer removed"));
    }
}

/// Takes away what a network outside the trust domain is not told (TS 24.229 §4.4,
/// RFC 3325 §7).
pub(crate) fn leave_trust(response: &mut Response) {
    let headers = &mut response.headers;
    headers.remove(HeaderName::PChargingVector);
    headers.remove(HeaderName::PChargingFunctionAddresses);
    let privacy = headers.get(HeaderName::Privacy).and_then(|it| Privacy::parse(it).ok());
    if privacy.is_some_and(|it| it.hides_asserted_identity()) {
        headers.remove(HeaderName::PAssertedIdentity);
    }
}

/// What a LIA means for the request (TS 24.229 §5.3.2.2).
fn judge(answer: CxAnswer, unknown_user: u16) -> Result<ServerAnswer, Refusal> {
    let (status, why) = match answer {
        CxAnswer::Server(answer) if answer.result.is_success() => return Ok(answer),
        CxAnswer::Server(answer) => match answer.result {
            CxResult::UserUnknown => (unknown_user, "the HSS does not know the user".to_owned()),
            CxResult::IdentityNotRegistered => (480, "the user is not registered".to_owned()),
            result => (480, format!("the HSS says {result:?}")),
        },
        CxAnswer::Unreachable => (480, "the HSS does not answer".to_owned()),
        CxAnswer::Maa(_) | CxAnswer::Saa(_) => (480, "the HSS answers something else".to_owned()),
    };
    Err(Refusal::new(status, "5.3.2.2", why))
}

fn forward(context: ContextId, request: Request, out: &mut IcscfActions) {
    out.push(Action::Forward {
        context,
        request: Box::new(request),
        to: NextHop::AsRouted,
        record_route: None,
        within: None,
        side: Side::Core,
    });
}
