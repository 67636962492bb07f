//! Application servers in sessions (TS 24.229 §5.4.3.2 steps 3 to 6, §5.4.3.3 steps 3 to 5,
//! TS 23.218 §5.2): which of them an initial request goes to, how it comes back, and what their
//! silence does.
//!
//! A request that is at a server is known by its original dialog identifier, the user part of the
//! Route that the server returns it with. The identifier holds one place in the list of criteria:
//! what comes back with it goes on behind that place, whatever its Call-ID or Request-URI.

use std::sync::Arc;

use cscf_core::clause::{ts23218, ts24229};
use cscf_core::ifc::{ApplicationServer, DefaultHandling, Filter, Subject};
use cscf_core::registrar::Registration;
use cscf_core::role::{Action, BranchId, Cause, ContextId, Env, Incoming, NextHop, Side, Within};
use cscf_core::sip::{
    ChargingFunctionAddresses, ChargingVector, HeaderName, Ioi, Method, NameAddr, Privacy, Request,
    Response, ServedSessionCase, ServedUser, Uri, reason_phrase,
};

use crate::originating::member;
use crate::refusal::Refusal;
use crate::sessions::{Call, SessionCase, Sessions};
use crate::{ScscfActions, charging};

/// How often one original dialog identifier is good: a server may fork, but not for ever.
const RETURNS_MAX: u32 = 16;
/// What the user part of a Route with an original dialog identifier begins with.
const ODI: &str = "odi.";
/// What a server outside the trust domain is not told (TS 24.229 §4.4).
const FOR_TRUSTED: [HeaderName; 4] = [
    HeaderName::PAccessNetworkInfo,
    HeaderName::PChargingFunctionAddresses,
    HeaderName::PProfileKey,
    HeaderName::PServedUser,
];

/// Whom the criteria are looked at for.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) case: cscf_core::ifc::SessionCase,
    /// The identity, as the user profile has it.
    pub(crate) uri: Arc<str>,
    /// The form it is looked up by.
    pub(crate) key: Arc<str>,
    /// Its set; without contacts if it is not registered.
    pub(crate) set: Arc<Registration>,
    /// The Service-Route token of the caller, if it sent the request by it.
    pub(crate) token: Option<Arc<str>>,
}

/// An initial request whose criteria are being looked at.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) context: ContextId,
    pub(crate) request: Request,
    pub(crate) served: Served,
    /// The first criterion that has not been looked at.
    pub(crate) from: usize,
    /// The dialog it opens, if that is known from before.
    pub(crate) dialog: Option<u64>,
    /// The P-Charging-Vector it came with, or that it was given.
    pub(crate) vector: Arc<ChargingVector>,
}

/// A request that is at a server.
#[derive(Debug)]
pub(crate) struct AtServer {
    branch: BranchId,
    odi: Box<str>,
    name: String,
    handling: DefaultHandling,
    /// The request as it goes on without the server.
    leg: Box<Leg>,
    /// A response came, other than 100.
    heard: bool,
    returns: u32,
}

impl Served {
    pub(crate) fn is_registered(&self) -> bool {
        !self.set.bindings.is_empty()
    }

    pub(crate) const fn side(&self) -> SessionCase {
        use cscf_core::ifc::SessionCase as Of;
        match self.case {
            Of::Originating | Of::OriginatingUnregistered | Of::OriginatingCdiv => {
                SessionCase::Originating
            }
            Of::TerminatingRegistered | Of::TerminatingUnregistered => SessionCase::Terminating,
        }
    }

    /// The Service-Route tokens of the users it is about.
    pub(crate) fn tokens(&self) -> Vec<Arc<str>> {
        match &self.token {
            Some(token) => vec![token.clone()],
            None => self.set.bindings.iter().map(|binding| binding.token.clone()).collect(),
        }
    }

    /// What a server is told of it (RFC 5502, RFC 8498).
    fn header(&self) -> Option<ServedUser> {
        let address = NameAddr::parse(&format!("<{}>", self.uri)).ok()?;
        let case = match (self.case, self.side()) {
            (cscf_core::ifc::SessionCase::OriginatingCdiv, _) => ServedSessionCase::OriginatingCdiv,
            (_, SessionCase::Originating) => ServedSessionCase::Originating,
            (_, SessionCase::Terminating) => ServedSessionCase::Terminating,
        };
        Some(ServedUser::new(address, case, self.is_registered()))
    }
}

impl Leg {
    /// A request that has just come.
    pub(crate) fn new(
        env: &mut Env<'_>,
        context: ContextId,
        request: Request,
        served: Served,
    ) -> Self {
        let came = charging::vector(&request.headers);
        let vector = came.unwrap_or_else(|| ChargingVector::new(&env.ids.token(16)));
        Self { context, request, served, from: 0, dialog: None, vector: Arc::new(vector) }
    }

    /// Ends the request of a user without contacts, when no service of it took it.
    pub(crate) fn nobody(&self, env: &mut Env<'_>, out: &mut ScscfActions) {
        let user = &self.served.uri;
        let why = format!("{user} is not registered, and no service of it takes the request");
        Refusal::new(480, "5.4.3.3", why).send(env, self.context, &self.request, out);
    }

    /// Whether the Request-URI still means the served user.
    fn is_for_served(&self) -> bool {
        let Ok(uri) = self.request.uri() else { return false };
        let set = &self.served.set;
        member(set, &uri).is_some() || set.of_gruu(&uri).is_some_and(|list| !list.is_empty())
    }

    /// Whether another request is of the dialog that this one opens.
    fn is_of_dialog(&self, request: &Request) -> bool {
        self.request.call_id() == request.call_id() && self.request.from_tag() == request.from_tag()
    }
}

/// Notes what became of a criterion.
pub(crate) fn note_filter(
    env: &mut Env<'_>,
    section: &'static str,
    filter: &Filter,
    mismatch: Option<&str>,
) {
    env.note(ts23218(section), || {
        let matches = match mismatch {
            None => "matches".to_owned(),
            Some(why) => format!("does not match: {why}"),
        };
        format!("priority {}, {}: {matches}", filter.priority, filter.server.server_name)
    });
}

impl Sessions {
    /// Looks at the criteria that are left: the request goes to the first server that wants it,
    /// else on its way (TS 23.218 §5.2.2).
    pub(crate) fn walk(&mut self, env: &mut Env<'_>, mut leg: Leg, out: &mut ScscfActions) {
        let set = Arc::clone(&leg.served.set);
        let filters = set.service(&leg.served.key).map(|service| service.filters.list());
        for (at, filter) in filters.unwrap_or_default().iter().enumerate().skip(leg.from) {
            let subject = Subject {
                request: &leg.request,
                session_case: leg.served.case,
                registration: None,
                registered: leg.served.is_registered(),
            };
            let mismatch = filter.mismatch(&subject);
            note_filter(env, "5.2.2", filter, mismatch.as_deref());
            if mismatch.is_none() {
                leg.from = at + 1;
                return self.send_to_server(env, leg, &filter.server, out);
            }
        }
        match leg.served.side() {
            SessionCase::Originating => self.leaves(env, leg, out),
            SessionCase::Terminating => self.arrives(env, &leg, out),
        }
    }

    /// Makes the entry of a request under way, and opens the dialog of an INVITE.
    pub(crate) fn enter(&mut self, env: &mut Env<'_>, leg: &Leg) -> &mut Call {
        let Leg { context, request, served, dialog, vector, .. } = leg;
        if !self.calls.contains_key(context) {
            let mut call = Call::new(served.side(), request.method.clone(), Arc::clone(vector));
            call.charging_ccf.clone_from(&served.set.charging_ccf);
            if request.method == Method::Invite {
                let mut refusal = request.reply(480);
                // It may ring for minutes.
                refusal.headers.detach();
                call.refusal = Some(Box::new(refusal));
                let known = dialog.filter(|number| self.dialogs.get(*number).is_some());
                call.opened = known.is_none();
                let number = known.unwrap_or_else(|| {
                    self.open_dialog(env, request, vector.icid(), served.tokens())
                });
                self.dialogs.set_media(number, Self::media_profile(served));
                call.dialog = Some(number);
            }
            let marked = self.marker(call.case, call.dialog.unwrap_or(0));
            let top = request.headers.first_value(HeaderName::RecordRoute);
            // A server that does not stay in the dialog leaves our own entry on top.
            if !top.is_some_and(|text| crate::dialogs::is_marked(text, &marked)) {
                call.record_route = self.record_route(call.case, &request.method, call.dialog);
            }
            self.calls.insert(*context, Box::new(call));
        }
        let fresh =
            || Box::new(Call::new(served.side(), request.method.clone(), Arc::clone(vector)));
        self.calls.entry(*context).or_insert_with(fresh)
    }

    /// Sends the request to an application server (TS 24.229 §5.4.3.2 step 5, §5.4.3.3 step 5).
    fn send_to_server(
        &mut self,
        env: &mut Env<'_>,
        leg: Leg,
        server: &ApplicationServer,
        out: &mut ScscfActions,
    ) {
        let name = server.server_name.clone();
        let odi = env.ids.token(12);
        let Some(request) = self.for_server(&leg, &name, &odi) else {
            env.refuse(ts24229("5.4.3.2"), || format!("{name} is no SIP URI: no such server"));
            return self.without_server(env, leg, server.default_handling, None, out);
        };
        env.note(ts24229("5.4.3.2"), || {
            format!("goes to {name} for {}, original dialog identifier {odi}", leg.served.uri)
        });
        let wait = self.config.server_answers_within;
        let within = match request.method {
            Method::Invite => Within::First(wait),
            // No 100 tells that somebody works on it.
            _ => Within::Final(wait * 4),
        };
        let context = leg.context;
        let call = self.enter(env, &leg);
        let opened = call.dialog;
        let branch = call.add_branch(Arc::default(), std::collections::VecDeque::new());
        let record_route = call.record_route.clone();
        let mut leg = Box::new(leg);
        leg.dialog = call.dialog;
        let (odi, handling) = (Box::from(odi), server.default_handling);
        let at_server = name.clone();
        call.server = Some(AtServer {
            branch,
            odi: Box::clone(&odi),
            name,
            handling,
            leg,
            heard: false,
            returns: 0,
        });
        if let Some(dialog) = opened {
            self.dialogs.add_server(dialog, &at_server);
        }
        self.odis.insert(odi, context);
        out.push(Action::Forward {
            context,
            request: Box::new(request),
            to: NextHop::AsRouted,
            record_route,
            within: Some(within),
            side: Side::Core,
        });
    }

    /// The request as a server gets it; none if the server has no SIP URI.
    fn for_server(&self, leg: &Leg, name: &str, odi: &str) -> Option<Request> {
        let mut server = Uri::parse(name).ok().filter(Uri::is_sip)?;
        server.set_param("lr", "");
        let mut request = leg.request.clone();
        let headers = &mut request.headers;
        let mut own = self.config.route_of(&self.config.marked(&format!("{ODI}{odi}")));
        if leg.served.side() == SessionCase::Originating {
            own.insert_str(own.len() - 1, ";orig");
        }
        headers.push_front(HeaderName::Route, &own);
        headers.push_front(HeaderName::Route, &format!("<{server}>"));
        charging::set_request(headers, leg.vector.icid(), &Ioi::Type3(self.config.realm().into()));
        headers.remove(HeaderName::PServedUser);
        if self.config.is_trusted_server(name) {
            if let Some(served) = leg.served.header() {
                headers.push(HeaderName::PServedUser, &served.to_string());
            }
            if let Some(ccf) = &leg.served.set.charging_ccf {
                let addresses = ChargingFunctionAddresses::new(&[ccf], &[]).to_string();
                headers.set(HeaderName::PChargingFunctionAddresses, &addresses);
            }
        } else {
            for name in FOR_TRUSTED {
                headers.remove(name);
            }
            let privacy = headers.get(HeaderName::Privacy).and_then(|it| Privacy::parse(it).ok());
            if privacy.is_some_and(|it| it.hides_asserted_identity()) {
                headers.remove(HeaderName::PAssertedIdentity);
            }
        }
        Some(request)
    }

    /// The original dialog identifier in the user part of our Route.
    pub(crate) fn odi_of<'a>(&self, user: &'a str) -> Option<&'a str> {
        self.config.shard.unmarked(user).strip_prefix(ODI)
    }

    /// Takes a request that a server sends back (TS 24.229 §5.4.3.2 step 1, §5.4.3.3 step 1); gives
    /// it back if its identifier is not known, or no more.
    pub(crate) fn returned(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        odi: &str,
        out: &mut ScscfActions,
    ) -> Option<Incoming> {
        let at = self.odis.get(odi).and_then(|context| self.calls.get_mut(context));
        let Some(at) = at.and_then(|call| call.server.as_mut()) else {
            env.note(ts24229("5.4.3.1"), || format!("{odi} is no identifier of a request here"));
            return Some(incoming);
        };
        let Incoming { context, mut request, .. } = incoming;
        at.returns += 1;
        if at.returns > RETURNS_MAX {
            let why = format!("{} sent it back {RETURNS_MAX} times already", at.name);
            Refusal::new(482, "5.4.3.2", why).send(env, context, &request, out);
            return None;
        }
        let name = at.name.clone();
        env.note(ts24229("5.4.3.1"), || format!("comes back from {name}, identifier {odi}"));
        request.headers.remove(HeaderName::PServedUser);
        let dialog = at.leg.dialog.filter(|_| at.leg.is_of_dialog(&request));
        let (served, from) = (at.leg.served.clone(), at.leg.from);
        let mut leg = Leg { from, dialog, ..Leg::new(env, context, request, served) };
        if leg.served.side() == SessionCase::Terminating && !leg.is_for_served() {
            let (uri, user) = (&leg.request.request_uri, &leg.served.uri);
            env.note(ts24229("5.4.3.3"), || {
                format!("{name} sends it on to {uri}, which is not {user}: a diversion")
            });
            leg.served.case = cscf_core::ifc::SessionCase::OriginatingCdiv;
            leg.from = 0;
        }
        self.walk(env, leg, out);
        None
    }

    /// A server answered, or did not: says whether its failure was dealt with, so that nothing goes
    /// up (TS 24.229 §5.4.3.2, §5.4.3.3; TS 23.218 §5.2.6).
    pub(crate) fn server_answered(
        &mut self,
        env: &mut Env<'_>,
        (context, branch): (ContextId, BranchId),
        response: &Response,
        cause: Cause,
        out: &mut ScscfActions,
    ) -> bool {
        let Some(call) = self.calls.get_mut(&context) else { return false };
        let Some(at) = call.server.as_mut().filter(|at| at.branch == branch) else { return false };
        if response.is_provisional() {
            at.heard = true;
            return false;
        }
        let silent = cause != Cause::Received;
        let failed = silent || response.status == 408 || (500..600).contains(&response.status);
        if !failed || at.heard || call.cancelled {
            return false;
        }
        let Some(at) = call.server.take() else { return false };
        self.odis.remove(&at.odi);
        let AtServer { name, handling, leg, .. } = at;
        env.refuse(ts24229("5.4.3.2"), || match silent {
            true => format!("{name} does not answer"),
            false => format!("{name} answers {}", response.status),
        });
        let status = (!silent).then_some(response);
        self.without_server(env, *leg, handling, status, out);
        true
    }

    /// The default handling of a server that failed: goes on with the next criterion, or ends the
    /// request with the server's answer, else 408, or 504 where no 408 may be sent (RFC 4320 §4.2).
    fn without_server(
        &mut self,
        env: &mut Env<'_>,
        leg: Leg,
        handling: DefaultHandling,
        answer: Option<&Response>,
        out: &mut ScscfActions,
    ) {
        if handling == DefaultHandling::SessionContinued {
            env.note(ts24229("5.4.3.2"), || {
                "default handling SESSION_CONTINUED: goes on without it".to_owned()
            });
            return self.walk(env, leg, out);
        }
        env.refuse(ts24229("5.4.3.2"), || {
            "default handling SESSION_TERMINATED: the request ends".to_owned()
        });
        let status = if leg.request.method == Method::Invite { 408 } else { 504 };
        let mut response = leg.request.reply(answer.map_or(status, |answer| answer.status));
        if let Some(answer) = answer {
            for name in [HeaderName::RetryAfter, HeaderName::Reason, HeaderName::Warning] {
                response.headers.copy_from(&answer.headers, name);
            }
        }
        response.reason = reason_phrase(response.status).into();
        let home = self.own_ioi(leg.served.side(), &leg.vector);
        charging::set_response(&mut response.headers, Some(&leg.vector), &home);
        out.push(Action::Reply { context: leg.context, response: Box::new(response) });
    }

    /// Forgets the identifier of a request that is over.
    pub(crate) fn forget_server(&mut self, call: &Call) {
        if let Some(at) = &call.server {
            self.odis.remove(&at.odi);
        }
    }
}
