//! Requests from the wire: answered here, or opened as a response context for the role (RFC 3261
//! §8.2, §9.2, §16.2 to §16.4).

use smallvec::SmallVec;

use super::route;
use super::state::{Core, Due, Event};
use crate::clause::{own, rfc3261};
use crate::proxy::{self, ContextSettings, Passage, Refusal, ResponseContext};
use crate::role::{ContextId, Incoming, RequestKind, Side};
use crate::sip::{HeaderName, Method, Request, Response};
use crate::time::{DeadlineId, Duration, Instant};
use crate::transaction::{CancelTarget, ServerEvent, ServerId, TuId};
use crate::transport::Flow;
use crate::transport::target::Place;
use crate::transport::via::ViaView;

use super::outgoing::AttemptId;

/// How long a context of an INVITE may exist without branches and final response: nobody lets it
/// ring for longer, and a role that forgot it must not fill the table.
const FORGOTTEN_INVITE: Duration = Duration::from_secs(900);

/// A request that a role has seen, and its branches.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) server: ServerId,
    pub(super) invite: bool,
    /// Branches and answers.
    pub(super) core: ResponseContext,
    /// Our To tag, once one was needed.
    pub(super) to_tag: Option<String>,
    /// The Timestamp a 100 copies (RFC 3261 §8.2.6.1).
    pub(super) timestamp: Option<String>,
    /// A 2xx went up.
    pub(super) succeeded: bool,
    pub(super) server_ended: bool,
    /// Attempts that may still bring something.
    pub(super) live: SmallVec<[AttemptId; 2]>,
    pub(super) loop_mark: Option<u64>,
    pub(super) timer_c: Option<DeadlineId>,
    /// When somebody looks whether the role has forgotten it; none once it is answered for good.
    pub(super) forgotten: Option<DeadlineId>,
}

impl Core {
    /// A request from the wire, well-formed.
    pub(super) fn on_request(
        &mut self,
        now: Instant,
        flow: Flow,
        mut request: Request,
        side: Side,
    ) {
        self.outlet.counters.requests_in += 1;
        let stamped = route::stamp(&mut request, &flow);
        if self.settings.keep_alives {
            route::take_keep(&mut request, &flow, self.settings.keep_every);
        }
        if self.gives_injected(now, &flow, &request) {
            return;
        }
        let back = self.return_flow(&request, &flow, stamped);
        let timers = self.timers(side);
        let event = self.layer.receive_request(now, &request, back, &timers, &mut self.outbox);
        match event {
            Err(fault) => self.outlet.dropped(now, flow.remote, &fault.to_string()),
            Ok(ServerEvent::Absorbed) => {}
            Ok(ServerEvent::Ack(_) | ServerEvent::StrayAck) => self.on_ack(now, flow, request),
            Ok(ServerEvent::Cancel(server, target)) => {
                self.on_cancel(now, server, target, request);
            }
            Ok(ServerEvent::Full) => self.refuse_full(now, &flow, &request),
            Ok(ServerEvent::Merged(server)) => {
                let text = "482: another copy of this request came by another path";
                self.refuse(now, rfc3261("8.2.2.2"), || text.to_owned());
                self.answer(now, server, request.reply(482));
            }
            Ok(ServerEvent::New(server)) => self.on_new(now, flow, request, server, side),
        }
    }

    fn on_new(
        &mut self,
        now: Instant,
        flow: Flow,
        mut request: Request,
        server: ServerId,
        side: Side,
    ) {
        if let Some(response) = self.beyond_limits(now, &request) {
            return self.answer(now, server, response);
        }
        let loop_mark = self.proxy.then(|| self.loop_guard.fingerprint(&request));
        let own_route = match self.preprocess(&mut request, loop_mark) {
            Ok(own_route) => own_route,
            Err(refusal) => {
                self.outlet.counters.refused += 1;
                let (status, reason) = (refusal.status, &refusal.reason);
                let text = format!("{status}: {reason}");
                self.refuse_request(now, refusal.clause, &request, text);
                let response = refusal.response(&request);
                return self.answer(now, server, response);
            }
        };
        if self.proxy && self.is_for_us(&request) {
            self.note(now, rfc3261("16.3"), || "OPTIONS is for this node: 200".to_owned());
            return self.answer(now, server, capabilities(&request));
        }
        let context = self.open_context(now, server, &request, side, loop_mark);
        let kind = match request.to_tag() {
            Some(_) => RequestKind::InDialog,
            None => RequestKind::Initial,
        };
        let incoming = Incoming { context, request, flow, own_route, kind };
        self.events.push_back(Event::Request(Box::new(incoming)));
    }

    /// The answer to a request that is larger than what this element takes, or that finds its
    /// tables full.
    fn beyond_limits(&mut self, now: Instant, request: &Request) -> Option<Response> {
        let limits = &self.settings.limits;
        let (status, why) = if request.request_uri.len() > limits.request_uri_bytes_max {
            (414, "Request-URI is too long")
        } else if request.body.len() > limits.body_bytes_max {
            (413, "body is too large")
        } else if self.contexts.len() >= limits.contexts_max {
            (503, "too many requests are open")
        } else {
            return None;
        };
        self.refuse_request(now, own("limits"), request, format!("{status}: {why}"));
        if status != 503 {
            self.outlet.counters.refused += 1;
            return Some(request.reply(status));
        }
        self.outlet.counters.overflowed += 1;
        Some(self.unavailable(request))
    }

    fn unavailable(&self, request: &Request) -> Response {
        let mut response = request.reply(503);
        let after = self.settings.limits.retry_after.as_secs().to_string();
        response.headers.push(HeaderName::RetryAfter, &after);
        response
    }

    /// What a proxy does before its role sees the request (RFC 3261 §16.3, §16.4). Gives the URI of
    /// our own Route.
    fn preprocess(
        &self,
        request: &mut Request,
        loop_mark: Option<u64>,
    ) -> Result<Option<String>, Refusal> {
        if !self.proxy {
            return Ok(None);
        }
        match proxy::validate(request, proxy::SCHEMES, &self.extensions) {
            // An OPTIONS that may go no further is answered instead (RFC 3261 §16.3 step 3).
            Err(refusal) if refusal.status == 483 && request.method == Method::Options => {}
            other => other?,
        }
        let is_own = |via: &ViaView<'_>| self.addresses.is_own_via(via);
        if let Some(mark) = loop_mark
            && self.loop_guard.passage(request, mark, is_own) == Passage::Loop
        {
            return Err(Refusal::loop_detected());
        }
        let found = proxy::preprocess(request, |place| self.addresses.is_own(place))?;
        Ok(found.own_route)
    }

    /// An OPTIONS that ends here: it names the node and no user, or may go no further (RFC 3261
    /// §11, §16.3 step 3).
    fn is_for_us(&self, request: &Request) -> bool {
        if request.method != Method::Options {
            return false;
        }
        let names_us = || {
            Place::of_uri(&request.request_uri)
                .is_some_and(|it| it.user.is_none() && self.addresses.is_own(&it))
        };
        request.max_forwards() == Some(0)
            || (!request.headers.contains(HeaderName::Route) && names_us())
    }

    fn open_context(
        &mut self,
        now: Instant,
        server: ServerId,
        request: &Request,
        side: Side,
        loop_mark: Option<u64>,
    ) -> ContextId {
        let id = ContextId(self.contexts.upcoming());
        let timers = self.timers(side);
        let invite = request.method == Method::Invite;
        // Behind the client's own time-out nobody waits for an answer any more (RFC 4320 §4.2).
        let forgotten_for = if invite { FORGOTTEN_INVITE } else { timers.f() + timers.t4() };
        let settings = ContextSettings {
            branches_max: self.settings.limits.branches_max,
            ..ContextSettings::default()
        };
        let context = Context {
            server,
            invite,
            core: ResponseContext::new(request, settings),
            to_tag: None,
            timestamp: request.headers.get(HeaderName::Timestamp).map(str::to_owned),
            succeeded: false,
            server_ended: false,
            live: SmallVec::new(),
            loop_mark,
            timer_c: None,
            forgotten: Some(self.due.insert(now + forgotten_for, Due::Forgotten(id))),
        };
        let number = self.contexts.insert(context);
        debug_assert_eq!(number, id.0, "no other context was opened or ended meanwhile");
        self.layer.set_tu(server, TuId(id.0));
        id
    }

    /// The ACK of a 2xx goes to the role; one of an answer made without a transaction ends here.
    fn on_ack(&mut self, now: Instant, flow: Flow, mut request: Request) {
        if request.to_tag().is_some_and(|tag| tag == self.stateless_tag(&request)) {
            return;
        }
        let own_route = match self.preprocess(&mut request, None) {
            Ok(own_route) => own_route,
            Err(refusal) => {
                // An ACK is never answered (RFC 3261 §17.1.1.3).
                return self.outlet.dropped(now, flow.remote, &refusal.reason);
            }
        };
        let context = ContextId(self.contexts.pass());
        let kind = RequestKind::Ack;
        let incoming = Incoming { context, request, flow, own_route, kind };
        self.events.push_back(Event::Request(Box::new(incoming)));
    }

    /// A CANCEL is answered here (RFC 3261 §9.2); the role hears of it if it is in time.
    fn on_cancel(
        &mut self,
        now: Instant,
        server: ServerId,
        target: CancelTarget,
        request: Request,
    ) {
        let invite = match target {
            CancelTarget::Answered(invite) | CancelTarget::Pending(invite) => invite,
            CancelTarget::None => {
                let text = || "481: CANCEL matches no INVITE".to_owned();
                self.refuse(now, rfc3261("9.2"), text);
                return self.answer(now, server, request.reply(481));
            }
        };
        let context = ContextId(self.layer.tu_of(invite).0);
        let context = self.contexts.get(context.0).map(|_| context);
        let mut response = request.reply(200);
        if let Some(tag) = context.and_then(|context| self.tag_of(context)) {
            // The same tag as in the answers to the INVITE (RFC 3261 §9.2).
            response.set_to_tag(&tag);
        }
        self.answer(now, server, response);
        if let (CancelTarget::Pending(_), Some(context)) = (target, context) {
            self.note(now, rfc3261("9.2"), || "CANCEL stops a pending INVITE".to_owned());
            self.events.push_back(Event::Cancel(context, Box::new(request)));
        }
    }

    /// No room for a transaction: the answer is made without one.
    fn refuse_full(&mut self, now: Instant, flow: &Flow, request: &Request) {
        self.outlet.counters.overflowed += 1;
        let text = "503: transaction table is full".to_owned();
        self.refuse_request(now, own("limits"), request, text);
        let response = self.unavailable(request);
        self.send_stateless(now, flow, request, response);
    }

    /// Sends an answer without a transaction (RFC 3261 §8.2.7).
    pub(super) fn send_stateless(
        &mut self,
        now: Instant,
        flow: &Flow,
        request: &Request,
        mut response: Response,
    ) {
        response.set_to_tag(&self.stateless_tag(request));
        let back = self.return_flow(request, flow, None);
        if let Err(fault) = self.outlet.send(now, &back, &response.to_bytes()) {
            self.lost(now, &back, fault);
        }
    }

    /// The To tag of answers without a transaction: the same for each copy of a request and for its
    /// ACK, and of no other message.
    fn stateless_tag(&self, request: &Request) -> String {
        let branch = request.top_branch().unwrap_or_default();
        self.tags.tag(branch, request.call_id().unwrap_or_default())
    }

    /// Answers for the engine itself.
    fn answer(&mut self, now: Instant, server: ServerId, mut response: Response) {
        response.set_to_tag(&self.ids.tag());
        if let Err(fault) = self.layer.send_response(now, server, &response, &mut self.outbox) {
            let status = response.status;
            self.note(now, rfc3261("17.2"), || format!("{status} not sent: {fault}"));
        }
    }
}

/// What a CSCF says about itself in the answer to OPTIONS (T-UA-080).
fn capabilities(request: &Request) -> Response {
    let mut response = request.reply(200);
    let allow = "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO, MESSAGE, OPTIONS, NOTIFY, \
                 PUBLISH, REFER, REGISTER, SUBSCRIBE";
    response.headers.push(HeaderName::Allow, allow);
    response.headers.push(HeaderName::Accept, "*/*");
    response.headers.push(HeaderName::Supported, "path");
    response
}
