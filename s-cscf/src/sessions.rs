//! The sessions' part of the S-CSCF (TS 24.229 §5.4.3): requests under way and dialogs, requests in
//! dialogs, responses. Reads registrations, changes none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cscf_core::clause::{own, rfc5626, ts24229};
use cscf_core::cx::AskId;
use cscf_core::ids::push_decimal;
use cscf_core::registrar::Registrations;
use cscf_core::role::{Action, Answered, BranchId, Cause, ContextId, Env, Incoming, NextHop, Side};
use cscf_core::sip::{
    ChargingFunctionAddresses, ChargingVector, HeaderName, Ioi, Method, NameAddr, Request,
    Response, Uri, host_eq,
};

use crate::dialogs::{Dialogs, refreshes};
use crate::early::EarlyDialogs;
use crate::isc::AtServer;
use crate::numbers::Numbered;
use crate::refusal::Refusal;
use crate::{Config, ScscfActions, Timer, charging};

/// Why a session of a user that is gone ends.
const GONE: &str = "SIP;cause=480;text=\"The user is no longer registered\"";

/// What a peer outside the trust domain may not say (TS 24.229 §4.4).
const UNTRUSTED: [HeaderName; 7] = [
    HeaderName::PAccessNetworkInfo,
    HeaderName::PAssertedIdentity,
    HeaderName::PAssertedService,
    HeaderName::PChargingFunctionAddresses,
    HeaderName::PChargingVector,
    HeaderName::PProfileKey,
    HeaderName::PServedUser,
];

/// Requests and dialogs under way.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) config: Arc<Config>,
    pub(crate) published: Registrations,
    /// Boxed: the nodes of the tree have room for twice as many.
    pub(crate) calls: BTreeMap<ContextId, Box<Call>>,
    pub(crate) dialogs: Dialogs,
    /// Requests at application servers, by original dialog identifier.
    pub(crate) odis: BTreeMap<Box<str>, ContextId>,
    /// Requests whose number ENUM is asked about.
    pub(crate) numbered: BTreeMap<AskId, Numbered>,
}

/// Whom this S-CSCF serves in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionCase {
    Originating,
    Terminating,
}

impl SessionCase {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Originating => "orig",
            Self::Terminating => "term",
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) case: SessionCase,
    pub(crate) method: Method,
    /// The P-Charging-Vector it came with, or that it was given.
    pub(crate) vector: Arc<ChargingVector>,
    /// Where the served user's charging data go (TS 24.229 §4.5.6).
    pub(crate) charging_ccf: Option<Box<str>>,
    /// The dialog it opens.
    pub(crate) dialog: Option<u64>,
    /// Whether that dialog is its own: it is not when it came back from a server.
    pub(crate) opened: bool,
    /// The application server it is at.
    pub(crate) server: Option<AtServer>,
    /// Nobody else is tried any more.
    pub(crate) cancelled: bool,
    /// The dialog it is in.
    pub(crate) within: Option<u64>,
    /// In a dialog: whether the caller of the dialog sent it.
    pub(crate) by_caller: bool,
    /// The Service-Route tokens of the users whose contacts the branches go to, by branch; empty
    /// for a branch to something else.
    pub(crate) users: Vec<Arc<str>>,
    /// The 480 for an INVITE whose served user goes away.
    pub(crate) refusal: Option<Box<Response>>,
    /// Whether a 2xx confirmed the dialog.
    pub(crate) confirmed: bool,
    /// Whether it goes to the contacts of a called user.
    pub(crate) searching: bool,
    /// Early dialogs whose end the caller wants to hear of.
    pub(crate) early: Option<EarlyDialogs>,
    /// Contacts to try when all of those under way have failed, best first.
    pub(crate) later: VecDeque<Vec<Target>>,
    /// Further flows of the instance that a branch goes to, by branch.
    flows: Vec<VecDeque<FlowRequest>>,
    pub(crate) record_route: Option<String>,
    /// Branches without a final response.
    pub(crate) open: usize,
    finished: BTreeSet<BranchId>,
}

/// The request for a flow with the Service-Route token of its contact.
pub(crate) type FlowRequest = (Request, Arc<str>);

/// An instance of the called user: one flow at a time, the others only when it fails
/// (RFC 5626 §5.3).
#[derive(Debug)]
pub(crate) struct Target {
    /// Its flows, best first.
    pub(crate) flows: VecDeque<FlowRequest>,
}

impl Call {
    pub(crate) const fn new(
        case: SessionCase,
        method: Method,
        vector: Arc<ChargingVector>,
    ) -> Self {
        Self {
            case,
            method,
            vector,
            charging_ccf: None,
            dialog: None,
            opened: false,
            server: None,
            cancelled: false,
            within: None,
            by_caller: false,
            users: Vec::new(),
            refusal: None,
            confirmed: false,
            searching: false,
            early: None,
            later: VecDeque::new(),
            flows: Vec::new(),
            record_route: None,
            open: 0,
            finished: BTreeSet::new(),
        }
    }

    /// Numbers a branch that is about to be forwarded; branches are numbered in that order.
    pub(crate) fn add_branch(&mut self, user: Arc<str>, others: VecDeque<FlowRequest>) -> BranchId {
        let branch = BranchId(u32::try_from(self.users.len()).unwrap_or(u32::MAX));
        self.users.push(user);
        self.flows.push(others);
        self.open += 1;
        branch
    }
}

impl Sessions {
    pub(crate) fn new(config: Arc<Config>, published: Registrations) -> Self {
        let (calls, odis) = (BTreeMap::new(), BTreeMap::new());
        let (dialogs, numbered) = (Dialogs::default(), BTreeMap::new());
        Self { config, published, calls, dialogs, odis, numbered }
    }

    /// What is kept, by name.
    pub(crate) fn remainders(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("requests", self.calls.len()),
            ("dialogs", self.dialogs.len()),
            ("original dialog identifiers", self.odis.len()),
            ("questions about numbers", self.numbered.len()),
        ]
    }

    /// Ends the sessions of a user that is no longer registered with this token: BYE both ways, or
    /// 480 to the caller and CANCEL to the callee while it rings (TS 24.229 §5.4.5.1.2).
    pub(crate) fn user_gone(&mut self, env: &mut Env<'_>, token: &str, out: &mut ScscfActions) {
        for number in self.dialogs.of_user(token) {
            env.note(ts24229("5.4.5.1.2"), || "ends a session of a user that is gone".to_owned());
            let byes = self.dialogs.byes(number, GONE);
            if byes.is_empty() {
                self.end_early(env, number, out);
                self.dialogs.remove(number);
            }
            for (tag, request) in byes {
                out.push(Action::Originate {
                    tag,
                    request: Box::new(request),
                    to: NextHop::AsRouted,
                    within: None,
                    side: Side::Core,
                });
            }
        }
    }

    /// Ends the INVITE that was to open this dialog.
    fn end_early(&mut self, env: &mut Env<'_>, number: u64, out: &mut ScscfActions) {
        // A request that came back from a server is later than the one that went there.
        let opens = |call: &Call| call.dialog == Some(number) && call.method == Method::Invite;
        let Some((context, call)) = self.calls.iter_mut().find(|(_, call)| opens(call)) else {
            return;
        };
        call.cancelled = true;
        call.later.clear();
        call.flows.iter_mut().for_each(VecDeque::clear);
        let Some(response) = call.refusal.take() else { return };
        env.refuse(ts24229("5.4.5.1.2"), || "480: the served user is gone".to_owned());
        let context = *context;
        out.push(Action::Cancel { context, reason: Some(GONE.to_owned()) });
        out.push(Action::Reply { context, response });
    }

    /// Whether a URI is this node's own.
    pub(crate) fn is_me(&self, uri: &Uri) -> bool {
        let Ok(me) = Uri::parse(&self.config.uri) else { return false };
        let (Some(host), Some(mine)) = (uri.host(), me.host()) else { return false };
        let port = |uri: &Uri| uri.port().unwrap_or(cscf_core::sip::DEFAULT_PORT);
        host_eq(host, mine) && port(uri) == port(&me)
    }

    /// Whether a request in a dialog is for this node as user agent: no Route is left, and the
    /// Request-URI is one of our Contacts.
    pub(crate) fn ends_here(&self, incoming: &Incoming) -> bool {
        let request = &incoming.request;
        !request.headers.contains(HeaderName::Route)
            && request.uri().is_ok_and(|uri| uri.user().is_some() && self.is_me(&uri))
    }

    /// Takes away what a peer outside the trust domain may not say (TS 24.229 §4.4).
    pub(crate) fn sanitize(&self, env: &mut Env<'_>, incoming: &mut Incoming) {
        if self.config.trusts(incoming.flow.remote) {
            return;
        }
        let headers = &mut incoming.request.headers;
        let count: usize = UNTRUSTED.iter().map(|name| headers.remove(*name)).sum();
        if count > 0 {
            let peer = incoming.flow.remote;
            env.note(ts24229("4.4"), || format!("{count} headers of untrusted {peer} removed"));
        }
    }

    /// Whether a request in a dialog, or an ACK, comes from a peer outside the trust domain that is
    /// no party of a dialog through this node; it is refused then (TS 24.229 §4.4).
    pub(crate) fn refuses_stranger(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut ScscfActions,
    ) -> bool {
        let Incoming { context, request, flow, .. } = incoming;
        let known = || Self::dialog_of(incoming).and_then(|number| self.dialogs.get(number));
        if self.config.trusts(flow.remote) || known().is_some_and(|dialog| dialog.is_of(request)) {
            return false;
        }
        let peer = flow.remote;
        let why = format!("{peer} is no trusted peer and no party of a dialog known here");
        if request.method == Method::Ack {
            env.refuse(ts24229("4.4"), || format!("ACK dropped: {why}"));
        } else {
            Refusal::new(403, "4.4", why).send(env, *context, request, out);
        }
        true
    }

    /// The number of the dialog in our Record-Route.
    pub(crate) fn dialog_of(incoming: &Incoming) -> Option<u64> {
        Self::dialog_in(&Uri::parse(incoming.own_route.as_deref()?).ok()?)
    }

    /// The dialog that a URI of ours is of.
    pub(crate) fn dialog_in(route: &Uri) -> Option<u64> {
        route.user()?.split_once("-rr.")?.1.parse().ok()
    }

    /// Opens a dialog for an INVITE as it was received; at most `dialogs_max` are kept, the oldest
    /// goes first and is routed all the same.
    pub(crate) fn open_dialog(
        &mut self,
        env: &mut Env<'_>,
        invite: &Request,
        icid: &str,
        users: Vec<Arc<str>>,
    ) -> u64 {
        let number = self.dialogs.open(invite, icid, users);
        if self.dialogs.len() > self.config.dialogs_max {
            env.note(own("dialogs_max"), || "forgets the oldest dialog".to_owned());
            self.dialogs.remove_oldest();
        }
        number
    }

    /// Our Record-Route for the requests that are to come back through this node: those that open
    /// or refresh a dialog (TS 24.229 §5.4.3.2, §5.4.3.3). The user part holds session case and
    /// dialog.
    pub(crate) fn record_route(
        &self,
        case: SessionCase,
        method: &Method,
        dialog: Option<u64>,
    ) -> Option<String> {
        let opens = matches!(method, Method::Invite | Method::Subscribe | Method::Refer);
        opens.then(|| self.config.route_of(&self.marker(case, dialog.unwrap_or(0))))
    }

    /// The user part of our Record-Route: session case and number of the dialog.
    pub(crate) fn marker(&self, case: SessionCase, number: u64) -> String {
        self.config.marked(&marker(case, number))
    }

    /// Takes a response to a forwarded request (TS 24.229 §5.4.3.2, §5.4.3.3).
    pub(crate) fn answered(
        &mut self,
        env: &mut Env<'_>,
        answered: Answered,
        out: &mut ScscfActions,
    ) {
        let Answered { context, branch, mut response, cause, flow } = answered;
        if flow.is_some_and(|flow| !self.config.trusts(flow.remote)) {
            UNTRUSTED.iter().for_each(|name| {
                response.headers.remove(*name);
            });
        }
        let Some(call) = self.calls.get_mut(&context) else {
            out.push(Action::PassUp { context, branch, response: Box::new(response) });
            return;
        };
        let first_final = !response.is_provisional() && call.finished.insert(branch);
        if first_final {
            call.open = call.open.saturating_sub(1);
        }
        if first_final
            && call.method == Method::Bye
            && cause == Cause::Received
            && let Some(dialog) = call.within.take()
        {
            env.note(ts24229("5.4.5.2"), || "BYE is answered: the dialog is over".to_owned());
            self.dialogs.remove(dialog);
            out.push(Action::ClearTimer { timer: Timer::Session(dialog) });
        }
        if response.is_success() {
            call.confirmed = true;
            // From now on BYE ends it; and it is kept for half a minute, for a repeated 2xx.
            call.refusal = None;
            if let Some(number) = call.dialog {
                let user = call.users.get(branch.0 as usize);
                let user = user.filter(|user| !user.is_empty());
                let marker = self.config.marked(&marker(call.case, number));
                self.dialogs.confirm(number, &response, &marker, user);
            }
            if let Some(number) = call.within.filter(|_| refreshes(&call.method)) {
                self.dialogs.on_success(number, call.by_caller, &response);
            }
            let session = call.dialog.or(call.within).filter(|_| refreshes(&call.method));
            if let Some(number) = session.filter(|number| self.dialogs.get(*number).is_some()) {
                Self::note_session_timer(env, number, &response, out);
            }
        }
        let (case, vector, searching) = (call.case, Arc::clone(&call.vector), call.searching);
        let charging_ccf = call.charging_ccf.clone();
        if self.server_answered(env, (context, branch), &response, cause, out) {
            return;
        }
        if searching {
            let failed = first_final && self.flow_failed(context, &response, cause);
            if !(failed && self.next_flow(env, context, branch, out)) {
                self.branch_answered(env, context, &response, first_final, out);
            }
            self.early_dialogs(env, (context, branch), &response, out);
            self.unreachable(env, context, &mut response, cause);
        }
        if case == SessionCase::Terminating {
            self.add_alias(env, &mut response);
        }
        self.add_charging_functions(case, &vector, charging_ccf.as_deref(), &mut response);
        let came = (!vector.icid().is_empty()).then_some(&*vector);
        charging::set_response(&mut response.headers, came, &self.own_ioi(case, &vector));
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
    }

    /// Says where charging data go to a P-CSCF of this network, and to nobody else; what another
    /// network says of its own goes no further (TS 24.229 §4.5.6, §5.4.3.2).
    fn add_charging_functions(
        &self,
        case: SessionCase,
        came: &ChargingVector,
        ccf: Option<&str>,
        response: &mut Response,
    ) {
        let home = came.orig_ioi().is_some_and(|ioi| ioi == Ioi::Type1(self.config.realm().into()));
        response.headers.remove(HeaderName::PChargingFunctionAddresses);
        if let (SessionCase::Originating, true, Some(ccf)) = (case, home, ccf) {
            let addresses = ChargingFunctionAddresses::new(&[ccf], &[]).to_string();
            response.headers.push(HeaderName::PChargingFunctionAddresses, &addresses);
        }
    }

    /// What this network is called towards the side the request came from: of the same type as
    /// the identifier that came (TS 24.229 §4.5.4).
    pub(crate) fn own_ioi(&self, case: SessionCase, came: &ChargingVector) -> Ioi<'_> {
        let home = self.config.realm().into();
        match (came.orig_ioi(), case) {
            (Some(Ioi::Type1(_)), _) | (None, SessionCase::Originating) => Ioi::Type1(home),
            (Some(Ioi::Type2(_)), _) | (None, SessionCase::Terminating) => Ioi::Type2(home),
            (Some(Ioi::Type3(_)), _) => Ioi::Type3(home),
        }
    }

    /// A branch to a contact answered: a 2xx or 6xx ends the search (the engine cancels the
    /// others), the last failure brings the next contacts (RFC 3261 §16.7, TS 24.229 §5.4.3.3).
    fn branch_answered(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        response: &Response,
        first_final: bool,
        out: &mut ScscfActions,
    ) {
        let Some(call) = self.calls.get_mut(&context) else { return };
        if response.is_success() || response.status >= 600 {
            call.later = VecDeque::new();
            call.flows.iter_mut().for_each(|flows| *flows = VecDeque::new());
        } else if first_final && call.open == 0 {
            self.try_next(env, context, out);
        }
    }

    /// Forwards to the next contacts of equal preference, if there are any.
    pub(crate) fn try_next(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        out: &mut ScscfActions,
    ) {
        let Some(call) = self.calls.get_mut(&context) else { return };
        let Some(group) = call.later.pop_front() else { return };
        for mut target in group {
            if let Some(first) = target.flows.pop_front() {
                Self::branch_to(env, context, call, (first, target.flows), out);
            }
        }
    }

    /// Forwards to one flow on a new branch; `others` are those to try when it fails.
    fn branch_to(
        env: &mut Env<'_>,
        context: ContextId,
        call: &mut Call,
        ((request, token), others): (FlowRequest, VecDeque<FlowRequest>),
        out: &mut ScscfActions,
    ) {
        env.note(ts24229("5.4.3.3"), || format!("goes to {}", request.request_uri));
        call.add_branch(token, others);
        out.push(Action::Forward {
            context,
            request: Box::new(request),
            to: NextHop::AsRouted,
            record_route: call.record_route.clone(),
            within: None,
            side: Side::Core,
        });
    }

    /// Whether a branch failed because its flow did, so that another flow of the same instance may
    /// be better (RFC 5626 §5.3, §11.6).
    fn flow_failed(&self, context: ContextId, response: &Response, cause: Cause) -> bool {
        let Some(call) = self.calls.get(&context) else { return false };
        response.status == 430 || is_silent(cause, &call.method)
    }

    /// Goes on with the next flow of the instance; says whether there is one.
    fn next_flow(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        branch: BranchId,
        out: &mut ScscfActions,
    ) -> bool {
        let Some(call) = self.calls.get_mut(&context) else { return false };
        let flows = call.flows.get_mut(branch.0 as usize).map(std::mem::take);
        let mut flows = flows.filter(|_| !call.confirmed).unwrap_or_default();
        let Some(next) = flows.pop_front() else { return false };
        env.note(rfc5626("5.3"), || "the flow failed: another one of the instance".to_owned());
        Self::branch_to(env, context, call, (next, flows), out);
        true
    }

    /// A contact whose flow failed, or whose P-CSCF is silent, is as good as not registered
    /// (TS 24.229 §5.4.3.3).
    fn unreachable(
        &self,
        env: &mut Env<'_>,
        context: ContextId,
        response: &mut Response,
        cause: Cause,
    ) {
        let Some(call) = self.calls.get(&context) else { return };
        if is_silent(cause, &call.method) || response.status == 430 {
            let was = response.status;
            env.refuse(ts24229("5.4.3.3"), || format!("{was}: the contact cannot be reached"));
            response.status = 480;
            response.reason = cscf_core::sip::reason_phrase(480).into();
        }
    }

    /// Adds the other form, tel or SIP, of the only identity the callee asserts
    /// (TS 24.229 §5.4.3.3).
    fn add_alias(&self, env: &mut Env<'_>, response: &mut Response) {
        if response.status >= 300 {
            return;
        }
        if let Some(alias) = self.alias(&response.headers.addresses(HeaderName::PAssertedIdentity))
        {
            env.note(ts24229("5.4.3.3"), || format!("adds the alias {alias}"));
            response.headers.push(HeaderName::PAssertedIdentity, &format!("<{alias}>"));
        }
    }

    /// The alias of the only asserted identity, if it is one of a user here.
    pub(crate) fn alias<E>(&self, asserted: &Result<Vec<NameAddr>, E>) -> Option<String> {
        let Ok([only]) = asserted.as_deref() else { return None };
        let set = self.published.by_uri(&only.uri)?;
        let key = cscf_core::registrar::identity_key(&only.uri)?;
        let identity = set.identity(&key)?;
        set.alias(identity).map(|alias| alias.uri.to_string())
    }

    /// The caller gave up: nobody else is tried (RFC 3261 §16.10).
    pub(crate) fn cancelled(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        cancel: &Request,
        out: &mut ScscfActions,
    ) {
        if let Some(call) = self.calls.get_mut(&context) {
            if !call.later.is_empty() {
                env.note(ts24229("5.4.3.3"), || "cancelled: nobody else is tried".to_owned());
            }
            call.cancelled = true;
            call.later.clear();
            call.flows.iter_mut().for_each(VecDeque::clear);
        }
        let reason = cancel.headers.get(HeaderName::Reason).map(str::to_owned);
        out.push(Action::Cancel { context, reason });
    }

    /// A request is over; its dialog too unless a 2xx confirmed it.
    pub(crate) fn context_end(&mut self, context: ContextId) {
        self.numbered.retain(|_, numbered| numbered.context() != context);
        let Some(call) = self.calls.remove(&context) else { return };
        self.forget_server(&call);
        if call.opened
            && !call.confirmed
            && let Some(dialog) = call.dialog
        {
            self.dialogs.remove(dialog);
        }
    }
}

/// Whether nobody answered at the other end of a branch.
fn is_silent(cause: Cause, method: &Method) -> bool {
    match cause {
        Cause::Transport => true,
        Cause::Timeout => *method == Method::Invite,
        Cause::Budget | Cause::Received => false,
    }
}

/// Session case and number of the dialog.
fn marker(case: SessionCase, number: u64) -> String {
    let mut out = [case.word(), "-rr."].concat();
    push_decimal(&mut out, number);
    out
}
