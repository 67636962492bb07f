//! What an operator may order an application server: to be overloaded, to call or write to somebody
//! (TS 24.229 §5.7.3), to end its calls.

use std::borrow::Cow;

use cscf_core::clause::ts24229;
use cscf_core::operator::{Order, OrderAnswer, OrderError, OrderResult, Originated};
use cscf_core::role::{Action, Actions, Env, Incoming, NextHop, RequestKind};
use cscf_core::sip::{ChargingVector, HeaderName, Ioi, Method, Request};

use super::{AppServer, ServerTimer, key_of};
use crate::ue::dialled;

/// Who a request of our own is from, and where it goes first.
pub(super) struct Origin {
    pub(super) identity: String,
    /// P-Served-User, where it is for a user.
    pub(super) served: Option<String>,
    /// The Route; none: on to the terminating network directly.
    pub(super) route: Option<String>,
}

impl AppServer {
    pub(super) fn obey(
        &mut self,
        env: &mut Env<'_>,
        order: &Order,
        out: &mut Actions<ServerTimer>,
    ) -> OrderResult {
        match order {
            Order::Drain { .. } | Order::Overload { .. } => {
                self.work.obey(order).ok_or(OrderError::NotHere)
            }
            Order::HangUp { .. } => {
                let count = self.hang_up_all(env, out);
                Ok(OrderAnswer::done(format!("{count} calls are ended")))
            }
            Order::Originate {
                what: Originated::ShortMessage(text), target, on_behalf_of, ..
            } => self.send_short_message(env, (target, text), on_behalf_of.as_deref(), out),
            Order::Originate { what, target, on_behalf_of, .. } => {
                let origin = self.origin(on_behalf_of.as_deref())?;
                let target = self.target(target);
                match what {
                    Originated::Call => {
                        let invite = self.own_request(env, Method::Invite, &target, &origin);
                        self.call_out(env, invite, out);
                        Ok(OrderAnswer::done(format!("calls {target}")))
                    }
                    Originated::ShortMessage(_) => Err(OrderError::NotHere),
                    Originated::Message(text) => {
                        let mut message = self.own_request(env, Method::Message, &target, &origin);
                        message.set_body("text/plain;charset=UTF-8", text.clone());
                        self.send_message(env, message, out);
                        Ok(OrderAnswer::done(format!("writes to {target}")))
                    }
                }
            }
            _ => Err(OrderError::NotHere),
        }
    }

    /// A name of the lab by its default public identity, else what would be dialled.
    pub(super) fn target(&self, text: &str) -> String {
        let known = self.people.identity(text).map(Cow::into_owned);
        known.unwrap_or_else(|| dialled(text, &self.domain))
    }

    /// Where a request begins: for a user at the S-CSCF that is known from its registration, else
    /// at an I-CSCF, both with `orig` (TS 24.229 §5.7.3, §5.3.2.1A); as itself to the terminating
    /// network.
    fn origin(&self, on_behalf_of: Option<&str>) -> Result<Origin, OrderError> {
        let Some(user) = on_behalf_of else {
            return Ok(Origin { identity: self.uri.clone(), served: None, route: None });
        };
        let identity = self.target(user);
        let key =
            key_of(&identity).ok_or_else(|| OrderError::refused(format!("`{user}` is no user")))?;
        let known = self.users.get(&key).filter(|user| !user.gone);
        let (route, state) = match known {
            Some(user) => (user.scscf.clone(), "reg"),
            None => (self.entry.clone(), "unreg"),
        };
        let served = Some(format!("<{identity}>;sescase=orig;regstate={state}"));
        Ok(Origin { identity, served, route: Some(format!("<{route};lr;orig>")) })
    }

    /// A request of our own, up to but without Contact and body (TS 24.229 §5.7.3).
    pub(super) fn own_request(
        &self,
        env: &mut Env<'_>,
        method: Method,
        target: &str,
        origin: &Origin,
    ) -> Request {
        let mut request = Request::new(method, target);
        let cseq = format!("1 {}", request.method);
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, "70");
        if let Some(route) = &origin.route {
            headers.push(HeaderName::Route, route);
        }
        let identity = &origin.identity;
        headers.push(HeaderName::From, &format!("<{identity}>;tag={}", env.ids.tag()));
        headers.push(HeaderName::To, &format!("<{target}>"));
        headers.push(HeaderName::CallId, &env.ids.call_id(&self.domain));
        headers.push(HeaderName::CSeq, &cseq);
        headers.push(HeaderName::PAssertedIdentity, &format!("<{identity}>"));
        if let Some(served) = &origin.served {
            headers.push(HeaderName::PServedUser, served);
        }
        let mut vector = ChargingVector::new(&env.ids.token(16));
        vector.set_orig_ioi(Some(&Ioi::Type3((&*self.domain).into())));
        headers.push(HeaderName::PChargingVector, &vector.to_string());
        headers.push(HeaderName::ContentLength, "0");
        let way = origin.route.as_deref().unwrap_or("the terminating network");
        let clause = if origin.route.is_some() { "5.7.3" } else { "5.7.3.1" };
        env.note(ts24229(clause), || format!("begins it as {identity}, by {way}"));
        request
    }

    /// The next hop of a request of our own: its Route or dialog, else the entry of the network.
    pub(super) fn first_hop(&self, request: &Request) -> NextHop {
        let routed = request.headers.contains(HeaderName::Route) || request.to_tag().is_some();
        match routed {
            true => NextHop::AsRouted,
            false => NextHop::Uri(self.entry.clone()),
        }
    }

    /// Whether a request is refused because there is too much to do (TS 24.229 §5.7.1.9).
    pub(super) fn is_overloaded(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let request = &incoming.request;
        let may_wait = incoming.kind == RequestKind::Initial && !request.asks_emergency_service();
        let Some((why, seconds)) = self.work.refusal().filter(|_| may_wait) else { return false };
        let state = why.as_str();
        env.refuse(ts24229("5.7.1.9"), || {
            format!("503: {state}, says Retry-After {seconds} to {}", request.method)
        });
        out.push(Action::State(format!("refused {} 503", request.method)));
        let mut response = request.reply(503);
        response.headers.push(HeaderName::RetryAfter, &seconds.to_string());
        response.headers.push(HeaderName::Reason, "SIP;cause=503");
        self.answer(incoming, response, out);
        true
    }
}
