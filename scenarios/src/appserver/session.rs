//! The application server in sessions (TS 24.229 §5.7.3): a proxy that sends requests back to the
//! S-CSCF by the Route they came with, or to somebody else; or one that refuses or says nothing.
//!
//! States told to the trace: `passed on METHOD`, `retargeted METHOD`, `answered METHOD N`,
//! `refused METHOD N`, `silent METHOD`.

use cscf_core::clause::{own, ts24229};
use cscf_core::config::ServerBehaviour;
use cscf_core::role::{Action, Actions, Answered, Env, Incoming, NextHop, RequestKind, Side};
use cscf_core::sip::{HeaderName, Ioi, Method, Request, Response};

use super::{AppServer, ServerTimer};

impl AppServer {
    /// Whether a request is of a session, which the behaviour is about, and not of the
    /// registrations that this server follows.
    pub(super) fn is_of_session(&self, incoming: &Incoming) -> bool {
        let routed = incoming.own_route.is_some();
        match (&self.config.behaviour, incoming.kind) {
            (ServerBehaviour::Registrations, _) => false,
            // What is inside their dialogs they find themselves.
            (behaviour, RequestKind::InDialog) if !behaviour.is_proxy() => false,
            (behaviour, RequestKind::Ack) => behaviour.is_proxy() && routed,
            (_, RequestKind::InDialog) => routed,
            (_, RequestKind::Initial) => {
                !matches!(incoming.request.method, Method::Register | Method::Notify)
            }
        }
    }

    /// Does what the lab says with a request of a session.
    pub(super) fn in_session(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let initial = incoming.kind == RequestKind::Initial;
        let method = incoming.request.method.clone();
        match self.config.behaviour.clone() {
            // Only requests that open something are refused or redirected.
            ServerBehaviour::Answers(status) if initial => {
                env.note(own("behaviour"), || format!("is told to answer {status}"));
                out.push(Action::State(format!("answered {method} {status}")));
                let response = self.scripted(&incoming.request, status);
                self.answer(&incoming, response, out);
            }
            ServerBehaviour::Refuses(status) if initial => {
                env.refuse(own("behaviour"), || format!("is told to answer {status}"));
                out.push(Action::State(format!("refused {method} {status}")));
                let mut response = self.scripted(&incoming.request, status);
                // Who releases or rejects says why (TS 24.229 §5.7.1.1, RFC 3326).
                response.headers.push(HeaderName::Reason, &format!("SIP;cause={status}"));
                self.answer(&incoming, response, out);
            }
            ServerBehaviour::Announces { .. } if initial => self.on_call(env, &incoming, out),
            ServerBehaviour::Presence if initial => self.on_presence(env, &incoming, out),
            ServerBehaviour::StoresMessages if initial => self.store(env, &incoming, out),
            ServerBehaviour::ShortMessages if initial => {
                self.on_short_message(env, &incoming, out);
            }
            behaviour if behaviour.is_bridge() && initial => self.bridge(env, &incoming, out),
            ServerBehaviour::Silent if initial => {
                env.refuse(own("behaviour"), || "is told to say nothing".to_owned());
                out.push(Action::State(format!("silent {method}")));
                out.push(Action::Discard { context: incoming.context });
            }
            ServerBehaviour::Retargets(to) if initial => {
                let mut incoming = incoming;
                env.note(ts24229("5.7.3.1"), || format!("sends it on to {to}"));
                incoming.request.request_uri = to.into();
                out.push(Action::State(format!("retargeted {method}")));
                self.pass_on(env, incoming, out);
            }
            _ => {
                if initial {
                    env.note(ts24229("5.7.3.1"), || "sends it back by its Route".to_owned());
                    out.push(Action::State(format!("passed on {method}")));
                }
                self.pass_on(env, incoming, out);
            }
        }
    }

    /// The answer that the lab scripts.
    fn scripted(&self, request: &Request, status: u16) -> Response {
        let mut response = request.reply(status);
        for (name, value) in &self.config.headers {
            response.headers.push_named(name, value);
        }
        response
    }

    fn pass_on(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut Actions<ServerTimer>) {
        let Incoming { context, mut request, kind, .. } = incoming;
        if !request.headers.contains(HeaderName::Route) && kind == RequestKind::Initial {
            env.refuse(ts24229("5.7.3.1"), || "404: no Route leads back to an S-CSCF".to_owned());
            let response = Box::new(request.reply(404));
            return out.push(Action::Reply { context, response });
        }
        if kind != RequestKind::Ack
            && let Ok(Some(vector)) = request.headers.charging_vector()
        {
            self.calls.insert(context, vector);
            self.charge_request(&mut request.headers);
        }
        let opens = matches!(request.method, Method::Invite | Method::Subscribe | Method::Refer);
        let stays = self.config.record_route && opens && kind == RequestKind::Initial;
        let record_route = stays.then(|| format!("<{};lr>", self.uri));
        out.push(Action::Forward {
            context,
            request: Box::new(request),
            to: NextHop::AsRouted,
            record_route,
            within: None,
            side: Side::Core,
        });
    }

    /// Hands the answer to a request that was passed on back, with the charging of its own
    /// interface (TS 24.229 §4.5.4).
    pub(super) fn relay(&self, answered: Answered, out: &mut Actions<ServerTimer>) {
        let Answered { context, branch, mut response, .. } = answered;
        if let Some(mut vector) = self.calls.get(&context).cloned() {
            vector.set_term_ioi(Some(&Ioi::Type3((&*self.domain).into())));
            response.headers.set(HeaderName::PChargingVector, &vector.to_string());
        }
        out.push(Action::PassUp { context, branch, response: Box::new(response) });
    }
}
