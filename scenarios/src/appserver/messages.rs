//! Messages of an application server: those it writes itself (TS 24.229 §5.7.3), and those it takes
//! with 202 and delivers then (RFC 3428 §7: store and forward).
//!
//! States told to the trace: `stored MESSAGE`, `message delivered`, `message failed N`.

use std::collections::BTreeMap;

use cscf_core::clause::{own, rfc3428, ts24229};
use cscf_core::role::{Action, Actions, Env, Incoming, OwnAnswered, OwnTag, Side};
use cscf_core::sip::{HeaderName, Method, Request};
use cscf_core::time::Duration;

use super::{AppServer, ServerTimer};

/// Messages kept at most; further ones get 503.
const MESSAGES_MAX: usize = 10_000;
/// How often the delivery is tried.
const TRIES_MAX: u32 = 3;
/// How long it waits before it tries again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The messages that wait to be delivered.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    kept: BTreeMap<u32, Kept>,
    sent: BTreeMap<OwnTag, u32>,
    next: u32,
}

#[derive(Debug)]
struct Kept {
    message: Request,
    tries: u32,
}

impl Mailbox {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

impl AppServer {
    /// A request outside a dialog for a store of messages.
    pub(super) fn store(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        let request = &incoming.request;
        if request.method != Method::Message {
            env.refuse(own("behaviour"), || format!("{} is no MESSAGE", request.method));
            let mut response = request.reply(405);
            response.headers.push(HeaderName::Allow, "MESSAGE, NOTIFY, OPTIONS");
            return self.answer(incoming, response, out);
        }
        if self.mailbox.kept.len() >= MESSAGES_MAX {
            env.refuse(own("limits"), || format!("503: {MESSAGES_MAX} messages are kept already"));
            return self.answer(incoming, request.reply(503), out);
        }
        let target = request.request_uri.to_string();
        let Some(mut message) = self.far_request(env, request, &target) else {
            env.refuse(own("behaviour"), || "483: Max-Forwards is used up".to_owned());
            return self.answer(incoming, request.reply(483), out);
        };
        // It is no longer on the way it came by: it starts anew in the network of the addressee.
        message.headers.remove(HeaderName::Route);
        message.headers.remove(HeaderName::PServedUser);
        env.note(rfc3428("7"), || "202: the message is kept, and delivered later".to_owned());
        self.answer(incoming, request.reply(202), out);
        out.push(Action::State("stored MESSAGE".to_owned()));
        self.keep(env, message, out);
    }

    /// Writes to somebody.
    pub(super) fn send_message(
        &mut self,
        env: &mut Env<'_>,
        message: Request,
        out: &mut Actions<ServerTimer>,
    ) {
        self.keep(env, message, out);
    }

    fn keep(&mut self, env: &mut Env<'_>, message: Request, out: &mut Actions<ServerTimer>) {
        self.mailbox.next = self.mailbox.next.wrapping_add(1);
        let number = self.mailbox.next;
        self.mailbox.kept.insert(number, Kept { message, tries: 0 });
        self.deliver(env, number, out);
    }

    /// Tries to deliver a message.
    pub(super) fn deliver(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        out: &mut Actions<ServerTimer>,
    ) {
        let tag = self.next_tag();
        let Some(kept) = self.mailbox.kept.get_mut(&number) else { return };
        kept.tries += 1;
        if kept.tries > 1 {
            let call_id = env.ids.call_id(&self.domain);
            kept.message.headers.set(HeaderName::CallId, &call_id);
        }
        let tries = kept.tries;
        let request = Box::new(kept.message.clone());
        env.note(ts24229("5.7.3"), || format!("delivers the message, try {tries}"));
        self.mailbox.sent.insert(tag, number);
        let to = self.first_hop(&request);
        out.push(Action::Originate { tag, request, to, within: None, side: Side::Core });
    }

    /// An answer; says whether it is to a message of ours.
    pub(super) fn on_delivered(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut Actions<ServerTimer>,
    ) -> bool {
        let Some(number) = self.mailbox.sent.get(&answered.tag).copied() else { return false };
        let status = answered.response.status;
        if status < 200 {
            return true;
        }
        self.mailbox.sent.remove(&answered.tag);
        if status < 300 {
            self.mailbox.kept.remove(&number);
            out.push(Action::State("message delivered".to_owned()));
            return true;
        }
        let later = matches!(status, 408 | 480 | 486 | 500..=599);
        let tries = self.mailbox.kept.get(&number).map_or(TRIES_MAX, |kept| kept.tries);
        out.push(Action::State(format!("message failed {status}")));
        if later && tries < TRIES_MAX {
            env.note(rfc3428("7"), || format!("{status}: tries again later"));
            let at = env.now + AGAIN_AFTER;
            out.push(Action::SetTimer { timer: ServerTimer::Deliver(number), at });
        } else {
            env.refuse(rfc3428("7"), || format!("{status}: the message is given up"));
            self.mailbox.kept.remove(&number);
        }
        true
    }
}
