//! What becomes of requests on their way: responses, time-outs, broken paths, budgets, CANCEL
//! (RFC 3261 §9.1, §16.7 to §16.10; RFC 3263 §4.3). Each end comes to the owner once.

use std::collections::VecDeque;

use super::outgoing::{AttemptId, Owner};
use super::route::Hop;
use super::state::{Core, Event};
use crate::clause::{own, rfc3261, rfc3263};
use crate::proxy::BranchNumber;
use crate::role::{Answered, BranchId, Cause, ContextId, OwnAnswered, OwnTag};
use crate::sip::{HeaderName, Response, reason_phrase};
use crate::time::Instant;
use crate::transaction::{Cancelled, ClientEvent, ClientId, TuId};
use crate::transport::via::{ViaView, kept};
use crate::transport::{Flow, FlowEvent, Transport};

impl Core {
    /// A response from the wire.
    pub(super) fn on_response(&mut self, now: Instant, flow: Flow, mut response: Response) {
        self.outlet.counters.responses_in += 1;
        let via = response.headers.first_value(HeaderName::Via).and_then(ViaView::head);
        if !via.is_some_and(|(via, _)| self.addresses.is_own_via(&via)) {
            // Not sent by us, so not ours to pass on (RFC 3261 §18.1.2).
            return self.outlet.dropped(now, flow.remote, "response with a top Via not ours");
        }
        let (client, tu) = match self.layer.receive_response(now, &response, &mut self.outbox) {
            ClientEvent::Absorbed => return,
            ClientEvent::Response(client, tu) => (client, tu),
            ClientEvent::Stray => {
                return self.outlet.dropped(now, flow.remote, "response without a transaction");
            }
        };
        let Some(id) = self.attempt_with(client, tu) else { return };
        if self.settings.offers_keep
            && let Some(every) = response.headers.first_value(HeaderName::Via).and_then(kept)
        {
            self.events.push_back(Event::Flow(FlowEvent::Keep { flow, every }));
        }
        response.headers.drop_front_value(HeaderName::Via);
        let Some(attempt) = self.attempts.get_mut(id.0) else { return };
        attempt.heard = true;
        let forwarded = matches!(attempt.owner, Owner::Branch(..));
        if forwarded && !response.headers.contains(HeaderName::Via) {
            // Nobody stands above us: not a response to what we forwarded (RFC 3261 §16.7 step 3).
            return self.outlet.dropped(now, flow.remote, "response without a Via below ours");
        }
        if response.status > 100 && response.status != 503 {
            // It is working there: no other hop will be needed.
            attempt.request = None;
        }
        if response.status == 503 && !attempt.cancelled && !attempt.hops.is_empty() {
            let remote = flow.remote;
            // Its transaction is no longer that of the attempt, which goes on with another.
            attempt.client = None;
            self.note(now, rfc3263("4.3"), || format!("503 from {remote}: next address"));
            return self.next_hop(now, id, "503");
        }
        self.tell(now, id, response, Cause::Received, Some(flow));
    }

    /// Tells the owner of a response, from the wire or made here.
    fn tell(
        &mut self,
        now: Instant,
        id: AttemptId,
        response: Response,
        cause: Cause,
        flow: Option<Flow>,
    ) {
        let Some(attempt) = self.attempts.get_mut(id.0) else { return };
        let (owner, invite, status) = (attempt.owner, attempt.invite, response.status);
        let told = attempt.told;
        if status >= 200 {
            attempt.told = true;
            if status < 300 {
                // Only a repeated 2xx may come: no other hop is tried, no response is made here.
                attempt.hops = VecDeque::new();
                attempt.template = None;
            }
            if let Some(budget) = attempt.budget.take() {
                self.due.cancel(budget);
            }
        }
        if let Owner::Branch(context, branch) = owner {
            let number = BranchNumber(branch.0);
            self.with_context(now, context, |core, wishes| {
                core.on_response(now, number, status, wishes);
            });
        }
        // A 2xx to INVITE may be repeated (RFC 6026 §7.2), and is news even when an end was told
        // already; an INVITE out of time lives until its CANCEL is through.
        let success = invite && (200..300).contains(&status);
        let news = !told || success;
        if status >= 200 && !success && !(invite && cause == Cause::Budget) {
            self.drop_attempt(id);
        }
        if status == 100 || !news {
            return;
        }
        match owner {
            Owner::Branch(context, branch) => {
                let answered = Answered { context, branch, response, cause, flow };
                self.events.push_back(Event::Response(Box::new(answered)));
            }
            Owner::Own(tag) => {
                let answered = OwnAnswered { tag, response, cause, flow };
                self.events.push_back(Event::Own(Box::new(answered)));
            }
        }
    }

    /// Makes an end for an attempt that has none, and tells it.
    fn tell_end(&mut self, now: Instant, id: AttemptId, status: u16, cause: Cause) {
        let Some(attempt) = self.attempts.get(id.0) else { return };
        let flow = attempt.flow;
        let response = match (attempt.owner, &attempt.template) {
            (Owner::Branch(context, _), _) => {
                self.contexts.get(context.0).map(|context| context.core.made_here(status))
            }
            (Owner::Own(_), Some(template)) => {
                let mut response = (**template).clone();
                response.status = status;
                response.reason = reason_phrase(status).into();
                Some(response)
            }
            (Owner::Own(_), None) => None,
        };
        match response {
            Some(response) => self.tell(now, id, response, cause, flow),
            None => self.drop_attempt(id),
        }
    }

    /// No hop is left.
    pub(super) fn give_up(&mut self, now: Instant, id: AttemptId, why: &str) {
        self.outlet.counters.send_failures += 1;
        self.refuse(now, rfc3261("16.9"), || format!("request did not get through: {why}"));
        self.tell_end(now, id, 503, Cause::Transport);
    }

    /// The transaction of an attempt has failed on its path.
    pub(super) fn on_client_failed(&mut self, now: Instant, client: ClientId, tu: TuId) {
        let Some(id) = self.attempt_with(client, tu) else { return };
        let Some(attempt) = self.attempts.get_mut(id.0) else { return };
        attempt.client = None;
        let remote = attempt.flow.map(|flow| flow.remote);
        if attempt.cancelled || attempt.request.is_none() {
            return self.give_up(now, id, "path failed");
        }
        if let (true, Some(hop), Some(flow)) = (attempt.by_size, attempt.hop, attempt.flow) {
            let remote = flow.remote;
            let udp = self.addresses.local_for(Transport::Udp, &remote).map(|it| it.addr);
            attempt.hops.push_front(match hop {
                // With the security associations that it has, and now without TCP.
                Hop::Flow(_) | Hop::UdpOnly { .. } => hop,
                Hop::Target(_) => Hop::UdpOnly { local: udp.unwrap_or(flow.local), remote },
            });
            self.tcp_refusals.remember(now, remote);
            self.note(now, rfc3261("18.1.1"), || format!("no TCP to {remote}: UDP after all"));
        } else if attempt.reused && !attempt.replaced && !attempt.heard {
            // A connection that was there may have been dead for long: the peer was restarted.
            attempt.replaced = true;
            if let Some(hop) = attempt.hop {
                attempt.hops.push_front(hop);
            }
        } else if !attempt.hops.is_empty() {
            self.note(now, rfc3263("4.3"), || match remote {
                Some(remote) => format!("no path to {remote}: next address"),
                None => "next address".to_owned(),
            });
        }
        self.next_hop(now, id, "path failed");
    }

    /// No final response came in time.
    pub(super) fn on_client_timed_out(&mut self, now: Instant, client: ClientId, tu: TuId) {
        let Some(id) = self.attempt_with(client, tu) else { return };
        let Some(attempt) = self.attempts.get_mut(id.0) else { return };
        attempt.client = None;
        let silent = !attempt.heard && !attempt.cancelled && attempt.request.is_some();
        if silent && !attempt.hops.is_empty() {
            self.note(now, rfc3263("4.3"), || "no answer at all: next address".to_owned());
            return self.next_hop(now, id, "no answer");
        }
        self.tell_end(now, id, 408, Cause::Timeout);
    }

    /// A transaction is over; nothing comes of its attempt any more.
    pub(super) fn on_client_ended(&mut self, client: ClientId, tu: TuId) {
        if let Some(id) = self.attempt_with(client, tu) {
            self.drop_attempt(id);
        }
    }

    /// The attempt that this transaction is of, unless it has gone on with another.
    fn attempt_with(&self, client: ClientId, tu: TuId) -> Option<AttemptId> {
        let attempt = self.attempts.get(tu.0)?;
        (attempt.client == Some(client)).then_some(AttemptId(tu.0))
    }

    /// The time given to a request is over: its owner hears of a 408; an INVITE is cancelled, any
    /// other request forgotten. Time until the first response is no matter once that is here.
    pub(super) fn on_budget(&mut self, now: Instant, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(id.0) else { return };
        attempt.budget = None;
        if attempt.told || (attempt.first_only && attempt.heard) {
            return;
        }
        let (invite, client) = (attempt.invite, attempt.client);
        self.refuse(now, own("within"), || "408: the next hop has used up its time".to_owned());
        match client {
            _ if invite => self.cancel_attempt(now, id, None),
            Some(client) => self.layer.drop_client(client),
            None => {}
        }
        self.tell_end(now, id, 408, Cause::Budget);
    }

    /// Cancels one branch of a context.
    pub(super) fn cancel_branch(
        &mut self,
        now: Instant,
        context: ContextId,
        branch: BranchId,
        reason: Option<&str>,
    ) {
        if let Some(attempt) = self.attempt_of(context, branch) {
            self.cancel_attempt(now, attempt, reason);
        }
    }

    /// Cancels an INVITE of the role's own: at once, or when the first 1xx is there.
    pub(super) fn cancel_own(&mut self, now: Instant, tag: OwnTag, reason: Option<&str>) {
        if let Some(attempt) = self.own.get(&tag).copied() {
            self.cancel_attempt(now, attempt, reason);
        }
    }

    fn cancel_attempt(&mut self, now: Instant, id: AttemptId, reason: Option<&str>) {
        let Some(attempt) = self.attempts.get_mut(id.0) else { return };
        attempt.cancelled = true;
        if attempt.looking {
            // It never left (RFC 3261 §9.1): its look-up is for nobody now.
            self.note(now, rfc3261("9.1"), || "cancelled before it was sent".to_owned());
            return self.tell_end(now, id, 487, Cause::Transport);
        }
        let Some(client) = attempt.client else { return };
        let outcome = self.layer.cancel(now, client, reason, &mut self.outbox);
        self.note(now, rfc3261("9.1"), || match outcome {
            Cancelled::Held => "CANCEL waits for a provisional response".to_owned(),
            Cancelled::Sent => "CANCEL goes out".to_owned(),
            Cancelled::TooLate => "too late to cancel".to_owned(),
        });
    }

    pub(super) fn attempt_of(&self, context: ContextId, branch: BranchId) -> Option<AttemptId> {
        let owner = Owner::Branch(context, branch);
        let live = &self.contexts.get(context.0)?.live;
        live.iter()
            .copied()
            .find(|id| self.attempts.get(id.0).is_some_and(|attempt| attempt.owner == owner))
    }

    /// Forgets an attempt whose answer nobody waits for any more, with its transaction.
    pub(super) fn abandon(&mut self, id: AttemptId) {
        if let Some(client) = self.attempts.get(id.0).and_then(|attempt| attempt.client) {
            self.layer.drop_client(client);
        }
        self.drop_attempt(id);
    }

    /// Takes an attempt out of the tables. A complete transaction lingers in the layer.
    fn drop_attempt(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.remove(id.0) else { return };
        if let Some(budget) = attempt.budget {
            self.due.cancel(budget);
        }
        match attempt.owner {
            Owner::Branch(context, _) => {
                if let Some(entry) = self.contexts.get_mut(context.0) {
                    entry.live.retain(|other| *other != id);
                    self.touch(context);
                }
            }
            Owner::Own(tag) => {
                if self.own.get(&tag) == Some(&id) {
                    self.own.remove(&tag);
                }
            }
        }
    }
}
