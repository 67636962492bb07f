//! Initial requests of a served user (TS 24.229 §5.4.3.2): who it is, whether it may, and where the
//! request goes.

use std::collections::VecDeque;
use std::sync::Arc;

use cscf_core::clause::ts24229;
use cscf_core::ifc;
use cscf_core::registrar::{PublicIdentity, Registration, identity_key};
use cscf_core::role::{Action, ContextId, Env, Incoming, NextHop, Side};
use cscf_core::sip::{HeaderName, Ioi, Privacy, Request, Response, Uri};

use crate::isc::{Leg, Served};
use crate::refusal::Refusal;
use crate::sessions::Sessions;
use crate::{ScscfActions, charging};

/// The media type of the body that tells the UE what to do (TS 24.229 §7.6).
const IMS_XML: &str = "application/3gpp-ims+xml";

/// Where a request goes.
pub(crate) struct Target {
    pub(crate) to: NextHop,
    /// The Request-URI it gets, if it changes.
    pub(crate) request_uri: Option<String>,
    /// Whether it stays in the home network.
    pub(crate) home: bool,
}

impl Sessions {
    /// Serves the caller (TS 24.229 §5.4.3.2). `token` is the user part of our Route: that of the
    /// Service-Route, or none when an AS or I-CSCF sent the request with `orig`; `unregistered` the
    /// set of a user without contacts.
    pub(crate) fn originating(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        (token, unregistered): (Option<&str>, Option<Arc<Registration>>),
        out: &mut ScscfActions,
    ) {
        let Incoming { context, mut request, own_route, .. } = incoming;
        let set = match token {
            Some(token) => self.published.by_token(token),
            None => served_user(&request).and_then(|uri| self.published.by_uri(&uri)),
        };
        let Some(set) = set.or(unregistered) else {
            if token.is_some() {
                let route = own_route.unwrap_or_default();
                return lost(env, context, &request, &route, out);
            }
            let refusal = Refusal::new(403, "5.4.3.2", "the served user is not registered here");
            return refusal.send(env, context, &request, out);
        };
        let served = match self.prepare(env, &mut request, &set) {
            Ok(served) => served,
            Err(refusal) => return refusal.send(env, context, &request, out),
        };
        let case = match set.bindings.is_empty() {
            true => ifc::SessionCase::OriginatingUnregistered,
            false => ifc::SessionCase::Originating,
        };
        let PublicIdentity { uri, key, .. } = served;
        // It is kept with the dialog: the text that the binding has already.
        let token = token.map(|token| {
            let its = set.bindings.iter().find(|binding| *binding.token == *token);
            its.map_or_else(|| token.into(), |binding| binding.token.clone())
        });
        let served = Served { case, uri, key, set, token };
        let profile = Self::media_profile(&served);
        if self.refuses_media(env, (context, &request), profile, out) {
            return;
        }
        let leg = Leg::new(env, context, request, served);
        self.walk(env, leg, out);
    }

    /// No server wants the request any more: it goes to whom it is for
    /// (TS 24.229 §5.4.3.2 steps 8 to 12).
    pub(crate) fn leaves(&mut self, env: &mut Env<'_>, leg: Leg, out: &mut ScscfActions) {
        let routed = leg.request.headers.contains(HeaderName::Route);
        let number = match routed {
            true => Ok(None),
            false => self.number_of(&leg.request),
        };
        let target = match number {
            Ok(Some(number)) => return self.route_number(env, leg, number, out),
            Ok(None) => self.target(&leg.request),
            Err(refusal) => Err(refusal),
        };
        match target {
            Ok(target) => self.forward_to(env, leg, target, out),
            Err(refusal) => refusal.send(env, leg.context, &leg.request, out),
        }
    }

    /// Forwards a request that needs no service any more.
    pub(crate) fn forward_to(
        &mut self,
        env: &mut Env<'_>,
        mut leg: Leg,
        target: Target,
        out: &mut ScscfActions,
    ) {
        let call = self.enter(env, &leg);
        call.add_branch(Arc::default(), VecDeque::new());
        let record_route = call.record_route.clone();
        let request = &mut leg.request;
        let home = Ioi::Type2(self.config.realm().into());
        charging::set_request(&mut request.headers, leg.vector.icid(), &home);
        if !target.home {
            request.headers.remove(HeaderName::PAccessNetworkInfo);
            request.headers.remove(HeaderName::PChargingFunctionAddresses);
            self.leave_trust(env, request);
        }
        if let Some(uri) = target.request_uri {
            env.note(ts24229("5.4.3.2"), || format!("Request-URI becomes {uri}"));
            request.request_uri = uri.into();
        }
        out.push(Action::Forward {
            context: leg.context,
            request: Box::new(leg.request),
            to: target.to,
            record_route,
            within: None,
            side: Side::Core,
        });
    }

    /// Checks the served user and its service, and completes the identities
    /// (TS 24.229 §5.4.3.2 steps 1 to 5).
    fn prepare(
        &self,
        env: &mut Env<'_>,
        request: &mut Request,
        set: &Registration,
    ) -> Result<PublicIdentity, Refusal> {
        let uri = served_user(request)
            .ok_or_else(|| Refusal::new(403, "5.4.3.2", "nobody is asserted to have sent it"))?;
        let served = member(set, &uri).ok_or_else(|| {
            Refusal::new(
                403,
                "5.4.3.2",
                format!("{uri} is not of the user with this Service-Route"),
            )
        })?;
        if served.barred {
            return Err(Refusal::new(403, "5.4.3.2", format!("{uri} is barred")));
        }
        env.note(ts24229("5.4.3.2"), || format!("the served user is {}", served.uri));
        request.headers.remove(HeaderName::PServedUser);
        self.check_gruu(request, set)?;
        self.assert_service(env, request)?;
        let asserted = request.headers.addresses(HeaderName::PAssertedIdentity);
        if let Some(alias) = self.alias(&asserted) {
            env.note(ts24229("5.4.3.2"), || format!("adds the alias {alias}"));
            request.headers.push(HeaderName::PAssertedIdentity, &format!("<{alias}>"));
        }
        Ok(served.clone())
    }

    /// A GRUU in Contact must be one of the user that sends it (RFC 5627 §4.3; the refusal is this
    /// operator's choice).
    fn check_gruu(&self, request: &Request, set: &Registration) -> Result<(), Refusal> {
        let Ok(contact) = request.headers.address(HeaderName::Contact) else { return Ok(()) };
        let uri = &contact.uri;
        let ours = self.is_me(uri) || uri.host().is_some_and(|host| self.config.is_home(host));
        let owned = || set.of_gruu(uri).is_some_and(|list| !list.is_empty());
        if ours && uri.param("gr").is_some() && !owned() {
            return Err(Refusal::new(403, "5.4.3.2", format!("{uri} is no GRUU of the caller")));
        }
        Ok(())
    }

    /// Turns the service the UE prefers into the one that is asserted, if the user has it
    /// (TS 24.229 §5.4.3.2, RFC 6050).
    fn assert_service(&self, env: &mut Env<'_>, request: &mut Request) -> Result<(), Refusal> {
        request.headers.remove(HeaderName::PAssertedService);
        let preferred = request.headers.get(HeaderName::PPreferredService).map(str::to_owned);
        let Some(service) = preferred else { return Ok(()) };
        if let Some(services) = &self.config.services
            && !services.iter().any(|its| its.eq_ignore_ascii_case(&service))
        {
            return Err(Refusal::new(403, "5.4.3.2", format!("{service} is not subscribed")));
        }
        env.note(ts24229("5.4.3.2"), || format!("asserts the service {service}"));
        request.headers.remove(HeaderName::PPreferredService);
        request.headers.push(HeaderName::PAssertedService, &service);
        Ok(())
    }

    /// Decides where the request goes: along a Route that is left; numbers and users of the home
    /// network to its entry point, which knows who is unknown; all else by its domain
    /// (TS 24.229 §5.4.3.2 steps 10 to 12).
    fn target(&self, request: &Request) -> Result<Target, Refusal> {
        let refused = |status, why: String| Refusal::new(status, "5.4.3.2", why);
        if request.headers.contains(HeaderName::Route) {
            return Ok(Target { to: NextHop::AsRouted, request_uri: None, home: true });
        }
        let uri = request.uri().map_err(|fault| refused(400, format!("Request-URI: {fault}")))?;
        match &uri {
            Uri::Sip(sip) if self.config.is_home(sip.host()) => {
                let to = NextHop::Uri(self.config.icscf.clone());
                Ok(Target { to, request_uri: None, home: true })
            }
            Uri::Sip(_) => Ok(Target { to: self.abroad(), request_uri: None, home: false }),
            // The scheme is known (the engine refuses others): a service that nobody here offers.
            Uri::Other(_) | Uri::Tel(_) => Err(refused(404, format!("no routing for {uri}"))),
        }
    }

    /// Takes away what a network outside the trust domain is not told (TS 24.229 §4.4,
    /// RFC 3325 §7).
    fn leave_trust(&self, env: &mut Env<'_>, request: &mut Request) {
        if self.config.trusts_other_networks {
            return;
        }
        env.note(ts24229("4.4"), || "leaves the trust domain".to_owned());
        let headers = &mut request.headers;
        headers.remove(HeaderName::PChargingVector);
        headers.remove(HeaderName::PAssertedService);
        let privacy = headers.get(HeaderName::Privacy).and_then(|it| Privacy::parse(it).ok());
        if privacy.is_some_and(|it| it.hides_asserted_identity()) {
            headers.remove(HeaderName::PAssertedIdentity);
        }
    }

    /// Where requests for other networks go.
    pub(crate) fn abroad(&self) -> NextHop {
        self.config.exit.clone().map_or(NextHop::AsRouted, NextHop::Uri)
    }
}

/// The user the request is sent for: P-Served-User, else P-Asserted-Identity
/// (TS 24.229 §5.4.3.2 step 1).
pub(crate) fn served_user(request: &Request) -> Option<Uri> {
    if let Ok(Some(user)) = request.headers.served_user() {
        return Some(user.address.uri);
    }
    request.headers.address(HeaderName::PAssertedIdentity).ok().map(|address| address.uri)
}

/// The identity of the set that this URI means.
pub(crate) fn member<'a>(set: &'a Registration, uri: &Uri) -> Option<&'a PublicIdentity> {
    let found = identity_key(uri).and_then(|key| set.identity(&key));
    found.or_else(|| set.identity(&cscf_core::registrar::number_key(uri)?))
}

/// This node no longer knows the user whose Service-Route this was: 504 tells the UE to register
/// anew (TS 24.229 §5.4.3.2, §7.6).
fn lost(
    env: &mut Env<'_>,
    context: ContextId,
    request: &Request,
    route: &str,
    out: &mut ScscfActions,
) {
    env.refuse(ts24229("5.4.3.2"), || {
        format!("{} answered 504: no registration for {route}", request.method)
    });
    let mut response: Response = request.reply(504);
    response.headers.push(HeaderName::PAssertedIdentity, &format!("<{route}>"));
    response.set_body(
        IMS_XML,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ims-3gpp version=\"1\"><alternative-service><type>restoration</type>\
         <reason>The network has lost the registration</reason>\
         <action>initial-registration</action></alternative-service></ims-3gpp>\n",
    );
    out.push(Action::Reply { context, response: Box::new(response) });
}
