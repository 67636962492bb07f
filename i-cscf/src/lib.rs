//! The I-CSCF (TS 24.229 §5.3): the entry point of a home network. It asks the HSS which S-CSCF
//! serves a user, chooses one where there is none, and sends the request there.
//!
//! It keeps nothing but the requests in its hands, adds no Record-Route, and lets in no REGISTER
//! from outside the trust domain. It does no topology hiding and no transit routing.

mod cause;
mod config;
pub mod lab;
mod register;
mod select;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;

use cscf_core::clause::{Clause, ts24229};
use cscf_core::cx::{AskId, CxRequest};
use cscf_core::operator::{Order, OrderError, OrderResult, Refused, Samples, Workload};
use cscf_core::role::{
    Action, Actions, Answer, Answered, BranchId, Cause, ContextId, Env, Incoming, Question,
    RequestKind, Role,
};
use cscf_core::sip::{HeaderName, Method, Request, Response};
use cscf_core::trace::Diagnosis;

pub use crate::config::{Config, ScscfConfig};
use crate::register::Registering;
use crate::session::{Locating, leave_trust};

/// An I-CSCF.
#[derive(Debug)]
pub struct Icscf {
    config: Config,
    /// Whether it takes new work.
    work: Workload,
    pending: BTreeMap<ContextId, Pending>,
    /// Open questions; an answer to any other is late and has nobody waiting for it.
    asks: BTreeMap<AskId, ContextId>,
}

/// A request whose final answer is not yet there, as far as something has to be known of it.
#[derive(Debug)]
enum Pending {
    Register(Box<Registering>),
    Session(Box<Locating>),
    /// Its S-CSCF has answered, and who sent it is outside the trust domain.
    Outside,
}

/// The actions of an I-CSCF; it has no timers.
pub type IcscfActions = Actions<Infallible>;

/// A response that this node makes itself, and why.
struct Refusal {
    status: u16,
    clause: Clause,
    why: String,
    cause: Option<Box<Diagnosis>>,
}

impl Refusal {
    fn new(status: u16, section: &'static str, why: impl Into<String>) -> Self {
        Self { status, clause: ts24229(section), why: why.into(), cause: None }
    }

    /// Says what whoever is refused has to know.
    fn because(mut self, cause: Diagnosis) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }
}

impl Icscf {
    /// An I-CSCF with this configuration and no request in its hands.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config, work: Workload::NONE, pending: BTreeMap::new(), asks: BTreeMap::new() }
    }

    /// What it still holds, by name; all zero when nothing is going on.
    #[must_use]
    pub fn remainders(&self) -> Vec<(&'static str, usize)> {
        vec![("requests", self.pending.len()), ("questions", self.asks.len())]
    }

    fn ask(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        question: CxRequest,
        out: &mut IcscfActions,
    ) {
        let ask = env.next_ask();
        self.asks.insert(ask, context);
        out.push(Action::Ask { ask, question: Question::Cx(question) });
    }
}

/// Answers a request with a final response of our own and says why.
fn refuse(
    env: &mut Env<'_>,
    context: ContextId,
    request: &Request,
    refusal: Refusal,
    out: &mut IcscfActions,
) {
    let Refusal { status, clause, why, cause } = refusal;
    let text = format!("{} answered {status}: {why}", request.method);
    match cause {
        Some(cause) => env.diagnose(clause, text, cause.of_request(request)),
        None => env.refuse(clause, || text),
    }
    let response = Box::new(request.reply(status));
    out.push(Action::Reply { context, response });
}

/// Answers 503 with Retry-After: this node has too much to do (TS 24.229 §4.12).
fn refuse_new_work(
    env: &mut Env<'_>,
    context: ContextId,
    request: &Request,
    (why, retry_after): (Refused, u32),
    out: &mut IcscfActions,
) {
    let (method, state, order) = (&request.method, why.as_str(), why.order());
    let cause = Diagnosis::new("", "the load of this I-CSCF")
        .ours(format!("{state}, Retry-After {retry_after} s"))
        .theirs(format!("a new {method}"))
        .change(format!("nothing at the phone: it comes again; or end the order `{order}`"))
        .of_request(request);
    let text = format!("{method} gets 503: this I-CSCF is {state}");
    env.diagnose(ts24229("4.12"), text, cause);
    let mut response = request.reply(503);
    response.headers.push(HeaderName::RetryAfter, &retry_after.to_string());
    out.push(Action::Reply { context, response: Box::new(response) });
}

impl Role for Icscf {
    type Command = Infallible;
    type Timer = Infallible;

    fn on_load(&mut self, retry_after: Option<u32>) {
        self.work.measured = retry_after;
    }

    fn on_request(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut IcscfActions) {
        if incoming.request.method == Method::Register {
            self.register(env, incoming, out);
        } else if incoming.kind == RequestKind::Initial {
            self.initial(env, incoming, out);
        } else {
            self.subsequent(env, incoming, out);
        }
    }

    fn on_response(&mut self, env: &mut Env<'_>, answered: Answered, out: &mut IcscfActions) {
        match self.pending.get_mut(&answered.context) {
            Some(Pending::Register(_)) => self.register_answered(env, answered, out),
            Some(Pending::Session(_)) => self.session_answered(env, answered, out),
            outside_or_none => {
                let outside = outside_or_none.is_some();
                let Answered { context, branch, mut response, cause, .. } = answered;
                if outside && cause == Cause::Received {
                    leave_trust(&mut response);
                }
                pass_up(context, branch, response, out);
            }
        }
    }

    fn on_context_end(&mut self, context: ContextId) {
        self.pending.remove(&context);
    }

    fn on_answer(&mut self, env: &mut Env<'_>, ask: AskId, answer: Answer, out: &mut IcscfActions) {
        let Some(context) = self.asks.remove(&ask) else { return };
        let Some(answer) = answer.cx() else { return };
        match self.pending.get(&context) {
            Some(Pending::Register(_)) => self.authorized(env, context, answer, out),
            Some(Pending::Session(_)) => self.located(env, context, answer, out),
            Some(Pending::Outside) | None => {}
        }
    }

    fn on_command(&mut self, _: &mut Env<'_>, command: Infallible, _: &mut IcscfActions) {
        match command {}
    }

    fn workload(&self) -> Workload {
        self.work
    }

    fn tell_held(&self, samples: &mut Samples) {
        for (what, count) in self.remainders() {
            samples.held(what, count);
        }
    }

    fn on_order(&mut self, _: &mut Env<'_>, order: &Order, _: &mut IcscfActions) -> OrderResult {
        self.work.obey(order).ok_or(OrderError::NotHere)
    }
}

fn pass_up(context: ContextId, branch: BranchId, response: Response, out: &mut IcscfActions) {
    out.push(Action::PassUp { context, branch, response: Box::new(response) });
}
