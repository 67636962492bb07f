//! What a role wants, carried out: answers, branches, requests of its own; and the life of response
//! contexts (RFC 3261 §16.6, §16.7, §16.10).

use super::outgoing::{How, Owner};
use super::state::{Core, Due, Event};
use crate::clause::{own, rfc3261, rfc4320, rfc5393};
use crate::proxy::{self, BranchNumber, BranchRefused, ContextAction, ResponseContext};
use crate::role::{Answered, BranchId, Cause, ContextId, NextHop, OwnTag};
use crate::sip::{HeaderName, Method, Request, Response};
use crate::time::{Duration, Instant};
use crate::transaction::{Refused, ServerId, TuId};

/// After which time a context that still has work is looked at again.
const FORGOTTEN_AGAIN: Duration = Duration::from_secs(300);

impl Core {
    /// Sends a response of the role.
    pub(super) fn reply(&mut self, now: Instant, id: ContextId, response: Response) {
        let status = response.status;
        if self.contexts.get(id.0).is_none() {
            return self.note(now, own("engine"), || format!("{status}: its request is over"));
        }
        self.with_context(now, id, |core, wishes| core.reply(response, wishes));
    }

    /// Hands a response of a branch to its context (RFC 3261 §16.7 steps 5 to 9).
    pub(super) fn pass_up(
        &mut self,
        now: Instant,
        id: ContextId,
        branch: BranchId,
        response: Response,
    ) {
        let number = BranchNumber(branch.0);
        self.with_context(now, id, |core, wishes| core.pass_up(number, response, wishes));
    }

    /// Cancels what is pending of a context (RFC 3261 §16.10).
    pub(super) fn cancel_branches(&mut self, now: Instant, id: ContextId, reason: Option<&str>) {
        self.with_context(now, id, |core, wishes| core.cancel(reason, wishes));
    }

    /// Lets `act` work on a context, carries out what it wants, and marks it for a look when the
    /// role has spoken.
    pub(super) fn with_context(
        &mut self,
        now: Instant,
        id: ContextId,
        act: impl FnOnce(&mut ResponseContext, &mut Vec<ContextAction>),
    ) {
        self.act_on(now, id, act);
        self.touch(id);
    }

    fn act_on(
        &mut self,
        now: Instant,
        id: ContextId,
        act: impl FnOnce(&mut ResponseContext, &mut Vec<ContextAction>),
    ) {
        let Some(context) = self.contexts.get_mut(id.0) else { return };
        let mut wishes = std::mem::take(&mut self.wishes);
        act(&mut context.core, &mut wishes);
        for wish in wishes.drain(..) {
            match wish {
                ContextAction::Cancel { branch, reason } => {
                    self.cancel_branch(now, id, BranchId(branch.0), reason.as_deref());
                }
                ContextAction::NoAnswer => self.no_answer(now, id),
                ContextAction::Note(clause, text) => self.note(now, clause, || text.to_owned()),
                ContextAction::TimedOut(branch) => {
                    self.on_branch_timed_out(id, BranchId(branch.0));
                }
                ContextAction::Upstream(response) => self.send_upstream(now, id, *response),
            }
        }
        self.wishes = wishes;
    }

    fn send_upstream(&mut self, now: Instant, id: ContextId, mut response: Response) {
        let Some(context) = self.contexts.get_mut(id.0) else { return };
        context.succeeded |= (200..300).contains(&response.status);
        if response.status > 100 && response.to_tag().is_none() {
            let tag = context.to_tag.get_or_insert_with(|| self.ids.tag());
            response.set_to_tag(tag);
        }
        if !response.headers.contains(HeaderName::ContentLength) {
            let length = response.body.len().to_string();
            response.headers.push(HeaderName::ContentLength, &length);
        }
        let (server, status) = (context.server, response.status);
        match self.layer.send_response(now, server, &response, &mut self.outbox) {
            Ok(()) => {}
            Err(Refused::Timeout) => self.no_answer(now, id),
            Err(fault) => {
                self.note(now, rfc3261("17.2"), || format!("{status} not sent: {fault}"));
            }
        }
    }

    /// The client has given up by now as well: silence says as much (RFC 4320 §4.2).
    fn no_answer(&mut self, now: Instant, id: ContextId) {
        if let Some(context) = self.contexts.get(id.0) {
            self.layer.no_answer(now, context.server, &mut self.outbox);
            self.note(now, rfc4320("4.2"), || "no final response is sent: no INVITE".to_owned());
        }
    }

    /// Forwards a request on a new branch.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        id: ContextId,
        mut request: Request,
        record_route: Option<&str>,
        how: &How,
    ) {
        proxy::lower_max_forwards(&mut request);
        if request.method == Method::Ack {
            return self.send_without_transaction(now, request, &how.to);
        }
        let Some(context) = self.contexts.get_mut(id.0) else {
            return self.note(now, own("engine"), || "not forwarded: request is over".to_owned());
        };
        let branch = match context.core.open_branch(now) {
            Ok(number) => BranchId(number.0),
            Err(fault @ BranchRefused::NoBreadth) => {
                let response = context.core.made_here(440);
                self.refuse(now, rfc5393("5.3.3"), || format!("440: {fault}"));
                return self.reply(now, id, response);
            }
            Err(fault) => {
                return self.note(now, rfc3261("16.6"), || format!("not forwarded: {fault}"));
            }
        };
        let breadth = context.core.take_breadth(BranchNumber(branch.0), how.others);
        proxy::set_max_breadth(&mut request, breadth);
        let loop_mark = context.loop_mark;
        if let Some(value) = record_route {
            proxy::add_record_route(&mut request, value);
        }
        self.launch(now, Owner::Branch(id, branch), request, how, loop_mark);
        self.touch(id);
    }

    /// Sends a request of the role's own.
    pub(super) fn originate(&mut self, now: Instant, tag: OwnTag, mut request: Request, how: &How) {
        with_max_forwards(&mut request);
        self.launch(now, Owner::Own(tag), request, how, None);
    }

    /// Sends the role's ACK of a 2xx.
    pub(super) fn send_ack(&mut self, now: Instant, mut request: Request, to: &NextHop) {
        with_max_forwards(&mut request);
        self.send_without_transaction(now, request, to);
    }

    /// Tells the client that the request is being worked on (RFC 3261 §8.2.6.1, §16.2).
    pub(super) fn say_trying(&mut self, now: Instant, id: ContextId) {
        if let Some(context) = self.contexts.get(id.0).filter(|context| context.invite) {
            let mut trying = context.core.made_here(100);
            if let Some(timestamp) = &context.timestamp {
                trying.headers.push(HeaderName::Timestamp, timestamp);
            }
            self.send_upstream(now, id, trying);
        }
    }

    /// Looks at a context when the role is done with an event: answers with the best response when
    /// all branches are done, ends it when nothing can come any more.
    pub(super) fn look_after(&mut self, now: Instant, id: ContextId) {
        self.act_on(now, id, ResponseContext::settle);
        self.file_timer_c(id);
        self.end_if_over(id);
    }

    /// A context is over when its final response went up, no branch can bring anything, and, after
    /// a 2xx to INVITE, no other 2xx can follow (RFC 6026 §7.1).
    fn end_if_over(&mut self, id: ContextId) {
        let Some(context) = self.contexts.get_mut(id.0) else { return };
        let over = context.core.is_over();
        let lingers = context.invite && !context.server_ended && context.succeeded;
        if over && !lingers && context.live.is_empty() {
            self.end(id);
        } else if over && lingers {
            // For half a minute there is nothing to do but to pass a repeated 2xx on.
            context.core.retire();
            context.timestamp = None;
            if let Some(deadline) = context.forgotten.take() {
                self.due.cancel(deadline);
            }
        }
    }

    pub(super) fn end(&mut self, id: ContextId) {
        let Some(context) = self.contexts.remove(id.0) else { return };
        for deadline in context.forgotten.into_iter().chain(context.timer_c) {
            self.due.cancel(deadline);
        }
        self.events.push_back(Event::End(id));
    }

    pub(super) fn on_server_ended(&mut self, server: ServerId, tu: TuId) {
        if let Some(context) = self.contexts.get_mut(tu.0)
            && context.server == server
        {
            context.server_ended = true;
            self.touch(ContextId(tu.0));
        }
    }

    /// No ACK came for a final response to INVITE. The caller may be gone; nothing is left to do.
    pub(super) fn on_not_acknowledged(&mut self, now: Instant) {
        self.note(now, rfc3261("17.2.1"), || "no ACK came for a final response".to_owned());
    }

    /// Keeps one deadline per context for the timers C of its branches.
    fn file_timer_c(&mut self, id: ContextId) {
        let Some(context) = self.contexts.get_mut(id.0) else { return };
        match (context.core.poll_timeout(), context.timer_c) {
            (Some(at), Some(timer)) if self.due.reschedule(timer, at) => {}
            (Some(at), _) => context.timer_c = Some(self.due.insert(at, Due::TimerC(id))),
            (None, Some(timer)) => {
                self.due.cancel(timer);
                context.timer_c = None;
            }
            (None, None) => {}
        }
    }

    pub(super) fn on_timer_c(&mut self, now: Instant, id: ContextId) {
        if let Some(context) = self.contexts.get_mut(id.0) {
            context.timer_c = None;
        }
        self.with_context(now, id, |core, wishes| core.handle_timeout(now, wishes));
    }

    /// Timer C fired on a branch without any response: the role hears of a 408.
    fn on_branch_timed_out(&mut self, id: ContextId, branch: BranchId) {
        let Some(context) = self.contexts.get(id.0) else { return };
        let response = context.core.made_here(408);
        let attempt = self.attempt_of(id, branch);
        let flow = attempt.and_then(|it| self.attempts.get(it.0)).and_then(|it| it.flow);
        if let Some(attempt) = attempt {
            self.abandon(attempt);
        }
        let cause = Cause::Timeout;
        let answered = Answered { context: id, branch, response, cause, flow };
        self.events.push_back(Event::Response(Box::new(answered)));
    }

    /// A context nobody has answered. Its client has given up long ago, or, for an INVITE, shall.
    pub(super) fn on_forgotten(&mut self, now: Instant, id: ContextId) {
        let Some(context) = self.contexts.get_mut(id.0) else { return };
        if !context.live.is_empty() || (context.invite && context.core.is_answered()) {
            // Timers C, F and L look after these; those of a branch to a UE may be longer than
            // ours.
            let at = now + FORGOTTEN_AGAIN;
            context.forgotten = Some(self.due.insert(at, Due::Forgotten(id)));
            return;
        }
        let live = context.live.clone();
        for attempt in live {
            self.abandon(attempt);
        }
        self.refuse(now, own("engine"), || "nobody answers this request: 408".to_owned());
        let Some(context) = self.contexts.get(id.0) else { return };
        let response = context.core.made_here(408);
        self.send_upstream(now, id, response);
        self.end(id);
    }

    /// Our To tag of a context, made if there is none yet.
    pub(super) fn tag_of(&mut self, id: ContextId) -> Option<String> {
        let context = self.contexts.get_mut(id.0)?;
        Some(context.to_tag.get_or_insert_with(|| self.ids.tag()).clone())
    }
}

/// Adds Max-Forwards where it is missing (RFC 3261 §8.1.1.6).
fn with_max_forwards(request: &mut Request) {
    if !request.headers.contains(HeaderName::MaxForwards) {
        request.headers.push(HeaderName::MaxForwards, "70");
    }
}
