//! What a role is: a function from events to actions, with its own state and nothing else.
//!
//! Roles contain only what TS 24.229 (or, for the UE, the UE's part of it) asks of *that* element;
//! what RFC 3261 asks of any element is the engine's. A role has no socket, clock, lock or task:
//! time and chance are in [`Env`], every question to the outside is an [`Action::Ask`], answered
//! later.

use std::any::Any;
use std::sync::Arc;

use crate::clause::{Clause, own};
use crate::cx::{AskId, CxAnswer, CxDemand, CxRequest, CxResult, DemandId, DemandReply};
use crate::ids::{Ids, ShardId};
use crate::operator::{Order, OrderError, OrderResult, Samples, Workload};
use crate::policy::{PolicyAnswer, PolicyEvent, PolicyRequest};
use crate::sip::{Message, Request, Response};
use crate::time::{Duration, Instant, UnixTime};
use crate::trace::{Diagnosis, Note};
use crate::transport::dns::{DnsAnswer, DnsQuestion};
use crate::transport::ipsec::SaCommand;
use crate::transport::{Flow, FlowEvent, SaId};

/// A server transaction and all branches forwarded from it (RFC 3261 §16.2: the response context).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(pub u64);

/// One branch of a response context, numbered from 0 in the order of the `Forward`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchId(pub u32);

/// A request of the role's own; the role chooses the number and gets it back with each response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnTag(pub u64);

/// Which timer values a transaction uses (TS 24.229 §7.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Towards a UE on a 3GPP radio access: T1 2 s, T2 16 s, T4 17 s.
    Air,
    /// Between network elements, and for all other UEs: the values of RFC 3261.
    #[default]
    Core,
}

/// Where a request goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// As the request says: topmost Route, else Request-URI (RFC 3261 §16.6 step 6, §8.1.2).
    AsRouted,
    /// To the address this URI resolves to (RFC 3263).
    Uri(String),
    /// Along a flow: the connection if there is one, else from our local to the remote address.
    Flow(Flow),
}

/// How long a request may take at its next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// Until its final response.
    Final(Duration),
    /// Until any response at all, 100 included; after that as long as it likes.
    First(Duration),
}

/// What kind of request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// ACK to a 2xx: forwarded without a transaction, never answered.
    Ack,
    /// With a To tag: belongs to a dialog.
    InDialog,
    /// Without a To tag.
    Initial,
}

/// A request for the role. At a proxy the engine has already checked it, lowered nothing, and taken
/// our own topmost Route away (RFC 3261 §16.3, §16.4); Max-Forwards is lowered when it is
/// forwarded.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its server transaction, for the actions that answer.
    pub context: ContextId,
    /// The request.
    pub request: Request,
    /// The path it came by; `flow.remote` is the source.
    pub flow: Flow,
    /// The topmost Route that named us (URI text), now removed: its user part is our token.
    pub own_route: Option<String>,
    /// Initial, in a dialog, or ACK.
    pub kind: RequestKind,
}

/// Why there is an [`Answered`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The budget given in `within` ran out; `response` is a 408 made here.
    Budget,
    /// A message from the wire.
    Received,
    /// The client transaction timed out; `response` is a 408 made here (never put on the wire for a
    /// request other than INVITE: RFC 4320 §4.2).
    Timeout,
    /// The transport failed; `response` is a 503 made here (RFC 3261 §16.9).
    Transport,
}

/// A response to a forwarded branch.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The response context.
    pub context: ContextId,
    /// Which branch answered.
    pub branch: BranchId,
    /// The response, our own Via taken away.
    pub response: Response,
    /// Where it came from.
    pub cause: Cause,
    /// The path it came by (for a response made here: the path the request took, if any).
    pub flow: Option<Flow>,
}

/// A response to a request of the role's own. For an INVITE each retransmitted 2xx comes again, so
/// that it can be acknowledged again (RFC 3261 §13.2.2.4).
#[derive(Clone, Debug)]
pub struct OwnAnswered {
    /// The number the role gave.
    pub tag: OwnTag,
    /// The response, our own Via taken away.
    pub response: Response,
    /// Where it came from.
    pub cause: Cause,
    /// The path it came by, or the path the request took.
    pub flow: Option<Flow>,
}

/// A question to the outside. Each comes back as [`Role::on_answer`], unanswered ones too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// To the HSS.
    Cx(CxRequest),
    /// To the policy function.
    Policy(PolicyRequest),
    /// To the DNS.
    Dns(DnsQuestion),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// From the HSS ([`CxAnswer::Unreachable`] when the client had none).
    Cx(CxAnswer),
    /// From the DNS.
    Dns(DnsQuestion, DnsAnswer),
    /// From the policy function.
    Policy(PolicyAnswer),
    /// From nobody: the time for the answer ran out.
    TimedOut,
}

impl Answer {
    /// What the HSS answers; `None` when the question was another one.
    #[must_use]
    pub fn cx(self) -> Option<CxAnswer> {
        match self {
            Self::Cx(answer) => Some(answer),
            Self::TimedOut => Some(CxAnswer::Unreachable),
            Self::Dns(..) | Self::Policy(_) => None,
        }
    }
}

/// What the role in one engine of a node tells the same role in another one. The role knows its
/// type.
#[derive(Clone)]
pub struct News(Arc<dyn Any + Send + Sync>);

impl News {
    /// Wraps what is to be told.
    pub fn new<T: Any + Send + Sync>(what: T) -> Self {
        Self(Arc::new(what))
    }

    /// What was told, if it is of this type.
    #[must_use]
    pub fn read<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl std::fmt::Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("News")
    }
}

/// What a role wants done. The engine performs actions in order.
#[derive(Clone, Debug)]
pub enum Action<T> {
    /// Answers the request of this context: any number of 1xx, one final. Via is routed, a To tag
    /// is added where one is missing (RFC 3261 §8.2.6).
    Reply {
        /// Which request.
        context: ContextId,
        /// The response, usually from [`Request::response`].
        response: Box<Response>,
    },
    /// Forwards the request on a new branch (RFC 3261 §16.6): the engine lowers Max-Forwards, adds
    /// Record-Route and Via. For an ACK it is sent without a transaction.
    Forward {
        /// From which request.
        context: ContextId,
        /// The request as it shall leave.
        request: Box<Request>,
        /// Where it goes.
        to: NextHop,
        /// Value of a Record-Route to put on top, e.g. `<sip:tok@p1.example;lr>`.
        record_route: Option<String>,
        /// How long this branch may take; then it is ended with [`Cause::Budget`].
        within: Option<Within>,
        /// Timer values.
        side: Side,
    },
    /// Hands a branch's response to the response context: 1xx and 2xx go upstream at once, other
    /// finals compete for the best (RFC 3261 §16.7).
    PassUp {
        /// Which context.
        context: ContextId,
        /// Which branch.
        branch: BranchId,
        /// The response as it shall go up.
        response: Box<Response>,
    },
    /// Cancels all pending branches (RFC 3261 §16.10).
    Cancel {
        /// Which context.
        context: ContextId,
        /// A Reason header for the CANCELs.
        reason: Option<String>,
    },
    /// Sends a request of our own in a client transaction; the engine adds Via and, where missing,
    /// Max-Forwards. Not for ACK.
    Originate {
        /// The role's number for it.
        tag: OwnTag,
        /// The request.
        request: Box<Request>,
        /// Where it goes.
        to: NextHop,
        /// As in `Forward`.
        within: Option<Within>,
        /// Timer values.
        side: Side,
    },
    /// Cancels an INVITE of our own: at once, or when the first 1xx is there (RFC 3261 §9.1).
    CancelOwn {
        /// The number given to `Originate`.
        tag: OwnTag,
        /// A Reason header for the CANCEL.
        reason: Option<String>,
    },
    /// Sends the ACK of a 2xx: no transaction, no answer (RFC 3261 §13.2.2.4).
    SendAck {
        /// The ACK.
        request: Box<Request>,
        /// Where it goes.
        to: NextHop,
    },
    /// Asks something of the outside.
    Ask {
        /// From [`Env::next_ask`].
        ask: AskId,
        /// The question.
        question: Question,
    },
    /// Answers a demand of the HSS (RTA, PPA).
    AnswerDemand {
        /// Which demand.
        demand: DemandId,
        /// The answer.
        reply: DemandReply,
    },
    /// Sets or moves a timer.
    SetTimer {
        /// Which one; equal timers are one timer.
        timer: T,
        /// When it fires.
        at: Instant,
    },
    /// Takes a timer back; nothing happens if it is not set.
    ClearTimer {
        /// Which one.
        timer: T,
    },
    /// The answers to this request leave by another flow than it came by (TS 33.203 §7.4.2a: the
    /// refusal of a re-authentication by the associations of before).
    AnswerBy {
        /// Which request.
        context: ContextId,
        /// Where its answers go.
        flow: Flow,
    },
    /// Sends a keep-alive along a flow: a double CRLF on a connection, a binding request of STUN by
    /// datagram (RFC 5626 §3.5). What comes of it is told by [`FlowEvent::Alive`], or by
    /// [`FlowEvent::Closed`] and [`FlowEvent::Failed`].
    KeepAlive {
        /// Which one.
        flow: Flow,
    },
    /// Watches a flow, or no longer: when nothing has come by it for so long, its connection is
    /// closed, or [`FlowEvent::Failed`] tells so (RFC 5626 §5.4).
    Watch {
        /// Which one.
        flow: Flow,
        /// The longest silence; `None` ends the watch.
        within: Option<Duration>,
    },
    /// Leaves a request without any answer, not even 100 (TS 33.203 §7.4.2a has messages that are
    /// not to be answered): its retransmissions are absorbed as those of an answered one.
    Discard {
        /// Which request.
        context: ContextId,
    },
    /// Installs or removes security associations. What was sent before this action leaves under the
    /// associations as they were.
    Security(SaCommand),
    /// Tells the trace that the party reached a state, e.g. `registered`.
    State(String),
    /// Tells the role in another engine of the node something, or in all others. What is told to
    /// one engine arrives in order; with one engine there is nobody to tell.
    Tell {
        /// Which engine; `None` for all others.
        to: Option<ShardId>,
        /// What.
        news: News,
    },
}

/// The list of actions a role fills; the engine reuses it.
pub type Actions<T> = Vec<Action<T>>;

/// Time, chance and the way to say why.
#[derive(Debug)]
pub struct Env<'a> {
    /// The time of the event.
    pub now: Instant,
    /// Unix time at [`Instant::EPOCH`].
    pub unix_at_epoch: UnixTime,
    /// Tokens.
    pub ids: &'a mut Ids,
    /// Whether anybody reads the trace.
    pub tracing: bool,
    /// Decisions, in order.
    pub notes: &'a mut Vec<Note>,
    /// The next number of [`Env::next_ask`].
    pub asks: &'a mut u64,
}

impl Env<'_> {
    /// Notes a decision: present tense, what was decided and from what fact. The text is only made
    /// when somebody reads the trace.
    pub fn note(&mut self, clause: Clause, text: impl FnOnce() -> String) {
        if self.tracing {
            self.notes.push(Note::new(clause, text(), false));
        }
    }

    /// Notes a refusal: always kept, so that "why?" has an answer after the fact.
    pub fn refuse(&mut self, clause: Clause, text: impl FnOnce() -> String) {
        self.notes.push(Note::new(clause, text(), true));
    }

    /// Notes a refusal with its cause: which check, both values, what to change. Like
    /// [`Env::refuse`] it is always kept.
    pub fn diagnose(&mut self, clause: Clause, text: String, diagnosis: Diagnosis) {
        self.notes.push(Note::diagnosed(clause, text, diagnosis));
    }

    /// A number for a question.
    pub fn next_ask(&mut self) -> AskId {
        *self.asks += 1;
        AskId(*self.asks)
    }

    /// Unix time now.
    #[must_use]
    pub const fn unix_now(&self) -> UnixTime {
        UnixTime(self.unix_at_epoch.0 + self.now.as_nanos() / 1_000_000_000)
    }
}

/// An IMS element (or a UE) as a pure state machine.
///
/// The order of events per request at a proxy: `on_request` once; then any number of `on_answer`,
/// `on_response`, `on_timer`; `on_cancel` at most once. A role that neither replies nor forwards
/// nor asks leaves the request unanswered.
pub trait Role {
    /// What the bench may order (CSCFs: an operator's commands).
    type Command;
    /// The role's timers; equal values are the same timer.
    type Timer: Clone + Ord + std::hash::Hash + std::fmt::Debug;

    /// Whether a message that came by this flow is taken at all; else why it is dropped, unanswered
    /// and before any transaction hears of it (TS 33.203 §7.1: what may come without protection).
    ///
    /// # Errors
    ///
    /// Why not, for the trace.
    fn admits(&self, flow: &Flow, message: &Message) -> Result<(), &'static str> {
        let _ = (flow, message);
        Ok(())
    }

    /// Whether two sets of security associations are of one peer, so that a transaction begun under
    /// one may go on under the other (TS 33.203 §7.4.2a: re-authentication). By default each set
    /// has its own.
    fn is_one_peer(&self, one: SaId, other: SaId) -> bool {
        one == other
    }

    /// Whether the next request finds this node with too much to do, so that it is to be refused
    /// if it is new work that may wait (TS 24.229 §4.12); with the Retry-After, in seconds. Told
    /// before each request; by default nothing may wait.
    fn on_load(&mut self, retry_after: Option<u32>) {
        let _ = retry_after;
    }

    /// A new request, or the ACK of a 2xx. CANCEL and retransmissions never arrive here.
    fn on_request(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut Actions<Self::Timer>);

    /// A response to a forwarded branch (100 never arrives here; each retransmitted 2xx to INVITE
    /// does). By default it is passed up unchanged.
    fn on_response(
        &mut self,
        env: &mut Env<'_>,
        answered: Answered,
        out: &mut Actions<Self::Timer>,
    ) {
        let _ = env;
        let Answered { context, branch, response, .. } = answered;
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
    }

    /// A response to a request of our own.
    fn on_own_response(
        &mut self,
        env: &mut Env<'_>,
        answered: OwnAnswered,
        out: &mut Actions<Self::Timer>,
    ) {
        let _ = (env, answered, out);
    }

    /// The INVITE of this context was cancelled; the engine has answered the CANCEL with 200. By
    /// default all branches are cancelled; a user agent answers 487.
    fn on_cancel(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        cancel: &Request,
        out: &mut Actions<Self::Timer>,
    ) {
        let _ = env;
        let reason = cancel.headers.get(crate::sip::HeaderName::Reason).map(str::to_owned);
        out.push(Action::Cancel { context, reason });
    }

    /// The context is over: a final response went up and all branches ended. State kept for it may
    /// go.
    fn on_context_end(&mut self, context: ContextId) {
        let _ = context;
    }

    /// The answer to a question, or its failure.
    fn on_answer(
        &mut self,
        env: &mut Env<'_>,
        ask: AskId,
        answer: Answer,
        out: &mut Actions<Self::Timer>,
    ) {
        let _ = (env, ask, answer, out);
    }

    /// The HSS demands something (RTR, PPR).
    fn on_demand(
        &mut self,
        env: &mut Env<'_>,
        demand: DemandId,
        what: CxDemand,
        out: &mut Actions<Self::Timer>,
    ) {
        let _ = (env, what);
        out.push(Action::AnswerDemand { demand, reply: CxResult::UnableToComply.into() });
    }

    /// The policy function tells something.
    fn on_policy(&mut self, env: &mut Env<'_>, event: PolicyEvent, out: &mut Actions<Self::Timer>) {
        let _ = (env, event, out);
    }

    /// A timer fired (and is no longer set).
    fn on_timer(&mut self, env: &mut Env<'_>, timer: Self::Timer, out: &mut Actions<Self::Timer>) {
        let _ = (env, timer, out);
    }

    /// The role in another engine of the node tells something ([`Action::Tell`]).
    fn on_news(
        &mut self,
        env: &mut Env<'_>,
        from: ShardId,
        news: &News,
        out: &mut Actions<Self::Timer>,
    ) {
        let _ = (env, from, news, out);
    }

    /// Something happened to a connection or path.
    fn on_flow(&mut self, env: &mut Env<'_>, event: FlowEvent, out: &mut Actions<Self::Timer>) {
        let _ = (env, event, out);
    }

    /// An order of the bench or the operator.
    fn on_command(
        &mut self,
        env: &mut Env<'_>,
        command: Self::Command,
        out: &mut Actions<Self::Timer>,
    );

    /// An order of the operator in the form all nodes share. By default the role has no part in
    /// any.
    ///
    /// # Errors
    ///
    /// [`OrderError::NotHere`] when such an order is not for this role, else why it cannot be
    /// obeyed.
    fn on_order(
        &mut self,
        env: &mut Env<'_>,
        order: &Order,
        out: &mut Actions<Self::Timer>,
    ) -> OrderResult {
        let _ = (env, order, out);
        Err(OrderError::NotHere)
    }

    /// Whether it takes new work. By default it does.
    fn workload(&self) -> Workload {
        Workload::NONE
    }

    /// Tells how much of what it holds. By default nothing.
    fn tell_held(&self, samples: &mut Samples) {
        let _ = samples;
    }

    /// The clause by which it asks a policy function, for what that one tells.
    fn policy_clause(&self) -> Clause {
        own("policy")
    }

    /// The timer values for a server transaction of a request that came by this flow.
    fn side(&self, flow: &Flow) -> Side {
        let _ = flow;
        Side::Core
    }

    /// Option tags this element understands in Proxy-Require (RFC 3261 §16.3 step 5).
    fn proxy_extensions(&self) -> &[&str] {
        &[]
    }

    /// Whether the element is a proxy (RFC 3261 §16) or a user agent (§8).
    fn is_proxy(&self) -> bool {
        true
    }
}
