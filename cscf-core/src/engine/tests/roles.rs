//! Tiny roles: a proxy that forwards, a user agent that answers and asks.

use crate::role::{
    Action, Actions, Answered, ContextId, Env, Incoming, NextHop, OwnAnswered, OwnTag, RequestKind,
    Role, Side, Within,
};
use crate::sip::{HeaderName, Method, Request};
use crate::time::{Duration, Instant};
use crate::transport::FlowEvent;
use crate::transport::ipsec::{SaCommand, SaSet};

/// Forwards everything; to each of `to`, or as routed.
#[derive(Debug, Default)]
pub(crate) struct Proxy {
    pub(crate) to: Vec<NextHop>,
    pub(crate) record_route: Option<String>,
    pub(crate) within: Option<Within>,
    pub(crate) own_routes: Vec<Option<String>>,
    /// Asks nobody and forwards nothing.
    pub(crate) silent: bool,
    pub(crate) answered: Vec<(u16, crate::role::Cause)>,
    pub(crate) ended: Vec<ContextId>,
    pub(crate) flows: Vec<FlowEvent>,
}

impl Role for Proxy {
    type Command = ();
    type Timer = u32;

    fn on_request(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut Actions<u32>) {
        env.note(crate::clause::own("proxy"), || "forward".to_owned());
        self.own_routes.push(incoming.own_route);
        if self.silent {
            return;
        }
        let to = if self.to.is_empty() { vec![NextHop::AsRouted] } else { self.to.clone() };
        for hop in to {
            out.push(Action::Forward {
                context: incoming.context,
                request: Box::new(incoming.request.clone()),
                to: hop,
                record_route: self.record_route.clone(),
                within: self.within,
                side: Side::Core,
            });
        }
    }

    fn on_response(&mut self, _: &mut Env<'_>, answered: Answered, out: &mut Actions<u32>) {
        let Answered { context, branch, response, cause, .. } = answered;
        self.answered.push((response.status, cause));
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
    }

    fn on_context_end(&mut self, context: ContextId) {
        self.ended.push(context);
    }

    fn on_flow(&mut self, _: &mut Env<'_>, event: FlowEvent, _: &mut Actions<u32>) {
        self.flows.push(event);
    }

    fn on_command(&mut self, _: &mut Env<'_>, (): (), _: &mut Actions<u32>) {}

    fn proxy_extensions(&self) -> &[&str] {
        &["path"]
    }
}

/// What a test wants of a user agent.
#[derive(Debug)]
pub(crate) enum Order {
    Send { tag: u64, text: String, to: NextHop, within: Option<Within> },
    Cancel { tag: u64 },
    Secure(Box<SaSet>),
}

/// Answers with `answers` (final after `after`), and sends what it is told to.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    /// What it answers to a new request, in order.
    pub(crate) answers: Vec<u16>,
    /// When the last of them goes out; at once if zero.
    pub(crate) after: Duration,
    waiting: Vec<(ContextId, Request)>,
    pub(crate) requests: Vec<Request>,
    pub(crate) own: Vec<(u64, u16, crate::role::Cause)>,
    pub(crate) cancels: usize,
    pub(crate) acks: usize,
    pub(crate) last_flow: Option<crate::transport::Flow>,
}

impl Agent {
    pub(crate) fn answering(answers: &[u16]) -> Self {
        Self { answers: answers.to_vec(), ..Self::default() }
    }

    /// The last answer comes this many seconds later.
    pub(crate) fn after(mut self, secs: u64) -> Self {
        self.after = Duration::from_secs(secs);
        self
    }

    fn say(request: &Request, context: ContextId, status: u16, out: &mut Actions<u32>) {
        let mut response = request.reply(status);
        response.headers.copy_from(&request.headers, HeaderName::RecordRoute);
        if request.method == Method::Invite {
            response.headers.push(HeaderName::Contact, "<sip:bob@127.0.0.9>");
        }
        out.push(Action::Reply { context, response: Box::new(response) });
    }
}

impl Role for Agent {
    type Command = Order;
    type Timer = u32;

    fn on_request(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut Actions<u32>) {
        let Incoming { context, request, kind, flow, .. } = incoming;
        self.last_flow = Some(flow);
        if kind == RequestKind::Ack {
            self.acks += 1;
            return;
        }
        self.requests.push(request.clone());
        if let Some((last, first)) = self.answers.split_last() {
            for status in first {
                Self::say(&request, context, *status, out);
            }
            if self.after.is_zero() {
                Self::say(&request, context, *last, out);
            } else {
                out.push(Action::SetTimer { timer: 1, at: env.now + self.after });
            }
        }
        self.waiting.push((context, request));
    }

    fn on_cancel(
        &mut self,
        _: &mut Env<'_>,
        context: ContextId,
        _: &Request,
        out: &mut Actions<u32>,
    ) {
        self.cancels += 1;
        for (_, request) in self.waiting.iter().filter(|(other, _)| *other == context) {
            Self::say(request, context, 487, out);
        }
        self.waiting.retain(|(other, _)| *other != context);
    }

    fn on_timer(&mut self, _: &mut Env<'_>, _: u32, out: &mut Actions<u32>) {
        for (context, request) in std::mem::take(&mut self.waiting) {
            if let Some(last) = self.answers.last() {
                Self::say(&request, context, *last, out);
            }
        }
    }

    fn on_own_response(&mut self, _: &mut Env<'_>, it: OwnAnswered, out: &mut Actions<u32>) {
        self.own.push((it.tag.0, it.response.status, it.cause));
        let invite = it.response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        if invite && it.response.is_success() {
            let mut ack = Request::new(Method::Ack, "sip:bob@127.0.0.9");
            for name in [HeaderName::From, HeaderName::To, HeaderName::CallId] {
                ack.headers.copy_from(&it.response.headers, name);
            }
            ack.headers.push(HeaderName::CSeq, "1 ACK");
            let routes: Vec<_> = it.response.headers.values(HeaderName::RecordRoute).collect();
            for route in routes.into_iter().rev() {
                ack.headers.push(HeaderName::Route, route);
            }
            out.push(Action::SendAck { request: Box::new(ack), to: NextHop::AsRouted });
        }
    }

    fn on_command(&mut self, _: &mut Env<'_>, order: Order, out: &mut Actions<u32>) {
        match order {
            Order::Send { tag, text, to, within } => {
                let request = match crate::sip::parse(&bytes::Bytes::from(text)) {
                    Ok(crate::sip::Message::Request(request)) => request,
                    other => panic!("{other:?}"),
                };
                out.push(Action::Originate {
                    tag: OwnTag(tag),
                    request: Box::new(request),
                    to,
                    within,
                    side: Side::Core,
                });
            }
            Order::Secure(set) => out.push(Action::Security(SaCommand::Install(set))),
            Order::Cancel { tag } => {
                out.push(Action::CancelOwn { tag: OwnTag(tag), reason: None });
            }
        }
    }

    fn is_proxy(&self) -> bool {
        false
    }
}

/// When a test starts.
pub(crate) const START: Instant = Instant::from_secs(1);
