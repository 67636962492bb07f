//! The response context (RFC 3261 §16.7–§16.10): one request that came in, the branches it was
//! forwarded on, and the one answer that goes back.
//!
//! The engine tells it first what arrived ([`ResponseContext::on_response`]), then what the role
//! made of it ([`ResponseContext::pass_up`], [`ResponseContext::reply`]), and when the role is done
//! with the event calls [`ResponseContext::settle`]. So a role may hold a failure back and try the
//! next target instead.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::best::Candidates;
use super::breadth::max_breadth;
use crate::clause::{Clause, rfc3261, rfc4320};
use crate::sip::{Headers, Method, Request, Response, reason_phrase};
use crate::time::{Duration, Instant};

/// Timer C: longer than three minutes (RFC 3261 §16.6 step 11).
pub const TIMER_C: Duration = Duration::from_secs(181);

/// Tells the branches that lost that there is no need to ring any more (RFC 3326 §2).
const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// A branch of a context, numbered from 0 in the order they were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchNumber(pub u32);

/// How a context behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextSettings {
    /// At most so many branches in all.
    pub branches_max: usize,
    /// A 503 goes upstream as it is; else as 500, because a 503 would tell the peer that *we* are
    /// of no use for any request (RFC 3261 §16.7 step 6).
    pub pass_503: bool,
    /// Timer C of each branch of an INVITE.
    pub timer_c: Duration,
}

impl Default for ContextSettings {
    fn default() -> Self {
        Self { branches_max: 64, pass_503: false, timer_c: TIMER_C }
    }
}

/// What a context wants done, in order.
#[derive(Clone, Debug)]
pub enum ContextAction {
    /// CANCEL this branch; a provisional response has come on it.
    Cancel {
        /// Which branch.
        branch: BranchNumber,
        /// The value of a Reason header.
        reason: Option<String>,
    },
    /// There will be no final response: the request was no INVITE and its time is over. The server
    /// transaction must absorb what comes (RFC 4320 §4.2).
    NoAnswer,
    /// A decision, for the trace.
    Note(Clause, &'static str),
    /// Timer C fired on a branch that never got a provisional response: forget its client
    /// transaction and take it as answered with 408 (RFC 3261 §16.8). The context has already
    /// counted it as answered.
    TimedOut(BranchNumber),
    /// Goes to the server transaction.
    Upstream(Box<Response>),
}

/// Why no branch was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BranchRefused {
    /// The request was cancelled, refused for good by a 6xx, or is answered.
    #[error("the request needs no more branches")]
    Closed,
    /// The pending branches have all of Max-Breadth (RFC 5393 §5.3.3).
    #[error("nothing of Max-Breadth is left")]
    NoBreadth,
    /// There are too many branches.
    #[error("too many branches")]
    TooMany,
}

/// A request and the branches it was forwarded on.
#[derive(Clone, Debug)]
pub struct ResponseContext {
    settings: ContextSettings,
    is_invite: bool,
    /// The Max-Breadth it came with.
    breadth: u32,
    /// The headers of a response to the request, for those made here; none once nobody asks for
    /// such a response any more.
    template: Option<Box<Response>>,
    branches: Vec<Branch>,
    candidates: Candidates,
    outcome: Outcome,
    /// No more branches: cancelled, or a 6xx came.
    closed: bool,
    /// A 408 that must not go upstream was the answer of a branch.
    silenced: bool,
}

/// What went upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A final response other than 2xx.
    Failure,
    /// Nothing final.
    None,
    /// The decision that nothing will (RFC 4320 §4.2).
    Silence,
    /// A 2xx.
    Success,
}

#[derive(Clone, Debug)]
struct Branch {
    state: BranchState,
    /// Timer C.
    give_up_at: Option<Instant>,
    cancel: CancelState,
    /// Its Max-Breadth, which others may have when it is answered (RFC 5393 §5.3.3.1).
    breadth: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BranchState {
    /// The final response came.
    Answered,
    /// Nothing came.
    Calling,
    /// A provisional response came.
    Proceeding,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum CancelState {
    No,
    Sent,
    /// As soon as a provisional response comes (RFC 3261 §9.1); with this Reason.
    Wanted(Option<String>),
}

impl Branch {
    fn is_pending(&self) -> bool {
        self.state != BranchState::Answered
    }
}

impl ResponseContext {
    /// The context of a request that was received.
    #[must_use]
    pub fn new(request: &Request, settings: ContextSettings) -> Self {
        let is_invite = request.method == Method::Invite;
        let mut template = request.reply(500);
        if is_invite {
            // It may ring for minutes; the few headers must not keep the whole message.
            template.headers.detach();
        }
        Self {
            settings,
            is_invite,
            breadth: max_breadth(request),
            template: Some(Box::new(template)),
            branches: Vec::new(),
            candidates: Candidates::default(),
            outcome: Outcome::None,
            closed: false,
            silenced: false,
        }
    }

    /// Opens a branch: the request is being forwarded.
    ///
    /// # Errors
    ///
    /// [`BranchRefused`]; the request must not be forwarded then.
    pub fn open_branch(&mut self, now: Instant) -> Result<BranchNumber, BranchRefused> {
        if self.closed || self.outcome != Outcome::None {
            return Err(BranchRefused::Closed);
        }
        if self.branches.len() >= self.settings.branches_max {
            return Err(BranchRefused::TooMany);
        }
        if self.breadth_left() == 0 {
            return Err(BranchRefused::NoBreadth);
        }
        let number = u32::try_from(self.branches.len()).map_err(|_| BranchRefused::TooMany)?;
        let give_up_at = self.is_invite.then(|| now + self.settings.timer_c);
        if self.branches.is_empty() {
            // Most requests have one, and it may ring for minutes.
            self.branches.reserve_exact(1);
        }
        self.branches.push(Branch {
            state: BranchState::Calling,
            give_up_at,
            cancel: CancelState::No,
            breadth: 0,
        });
        Ok(BranchNumber(number))
    }

    /// The Max-Breadth that no pending branch has (RFC 5393 §5.3.3).
    #[must_use]
    pub fn breadth_left(&self) -> u32 {
        let pending = self.branches.iter().filter(|branch| branch.is_pending());
        self.breadth.saturating_sub(pending.map(|branch| branch.breadth).sum())
    }

    /// Gives a branch its share of the Max-Breadth that is left; `others` more branches are opened
    /// beside it. All of it where it is alone (RFC 5393 §5.3.3).
    pub fn take_breadth(&mut self, number: BranchNumber, others: u32) -> u32 {
        let share = self.breadth_left().div_ceil(others.saturating_add(1));
        if let Some(branch) = self.branches.get_mut(number.0 as usize) {
            branch.breadth = share;
        }
        share
    }

    /// A response arrived on a branch, or one was made for it here (408, 503). Only notes how the
    /// branch stands; what goes upstream is said by [`Self::pass_up`].
    pub fn on_response(
        &mut self,
        now: Instant,
        number: BranchNumber,
        status: u16,
        out: &mut Vec<ContextAction>,
    ) {
        let timer_c = self.settings.timer_c;
        let Some(branch) = self.branches.get_mut(number.0 as usize) else { return };
        if !branch.is_pending() {
            return;
        }
        if status >= 200 {
            branch.state = BranchState::Answered;
            branch.give_up_at = None;
            return;
        }
        branch.state = BranchState::Proceeding;
        if status > 100
            && let Some(at) = &mut branch.give_up_at
        {
            *at = now + timer_c;
        }
        if let CancelState::Wanted(reason) = &mut branch.cancel {
            let reason = reason.take();
            out.push(ContextAction::Note(
                rfc3261("9.1"),
                "a provisional response came: the CANCEL that waited for it goes out",
            ));
            Self::send_cancel(branch, number, reason, out);
        }
    }

    /// The role hands a branch's response up: provisional and 2xx go upstream at once, others
    /// compete (RFC 3261 §16.7 steps 4, 5).
    pub fn pass_up(
        &mut self,
        number: BranchNumber,
        response: Response,
        out: &mut Vec<ContextAction>,
    ) {
        let _ = number;
        match response.status {
            ..=199 => self.pass_provisional(response, out),
            200..=299 => self.pass_success(response, out),
            408 if !self.is_invite => {
                out.push(ContextAction::Note(
                    rfc4320("4.2"),
                    "a 408 is no answer to a request other than INVITE",
                ));
                self.silenced = true;
            }
            status => {
                if status >= 600 {
                    self.closed = true;
                    out.push(ContextAction::Note(
                        rfc3261("16.7"),
                        "a 6xx came: the other branches are cancelled, no more are opened",
                    ));
                    let reason = format!("SIP;cause={status};text=\"{}\"", reason_phrase(status));
                    self.cancel_pending(Some(&reason), out);
                }
                if self.outcome == Outcome::None {
                    self.candidates.push(response);
                }
            }
        }
    }

    /// The role answers by itself. A final answer ends the context: branches still open are
    /// cancelled.
    pub fn reply(&mut self, response: Response, out: &mut Vec<ContextAction>) {
        match response.status {
            ..=199 if self.outcome == Outcome::None => {
                out.push(ContextAction::Upstream(Box::new(response)));
            }
            ..=199 => {}
            200..=299 => self.pass_success(response, out),
            _ if self.outcome == Outcome::None => {
                self.answer(response, out);
                self.cancel_pending(None, out);
            }
            _ => {}
        }
    }

    /// Cancels all branches that are not answered, each as soon as it has a provisional response
    /// (RFC 3261 §16.10); no more are opened. If there are none the request gets 487.
    pub fn cancel(&mut self, reason: Option<&str>, out: &mut Vec<ContextAction>) {
        if !self.is_invite || self.outcome != Outcome::None {
            return;
        }
        self.closed = true;
        self.cancel_pending(reason, out);
    }

    /// To be called when the role is done with an event: if no branch is open any more, the best of
    /// the responses handed up goes upstream (RFC 3261 §16.7 step 6).
    pub fn settle(&mut self, out: &mut Vec<ContextAction>) {
        if self.outcome != Outcome::None || self.branches.iter().any(Branch::is_pending) {
            return;
        }
        if let Some(best) = self.candidates.take_best() {
            let best = self.without_503(best, out);
            self.answer(best, out);
        } else if self.silenced {
            self.outcome = Outcome::Silence;
            out.push(ContextAction::NoAnswer);
        } else if self.closed {
            out.push(ContextAction::Note(
                rfc3261("16.10"),
                "cancelled, and no branch has an answer to hand up",
            ));
            let terminated = self.made_here(487);
            self.answer(terminated, out);
        }
    }

    /// Acts on the timers C that have fired (RFC 3261 §16.8).
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<ContextAction>) {
        for (branch, number) in self.branches.iter_mut().zip(0..) {
            if branch.give_up_at.take_if(|at| *at <= now).is_none() {
                continue;
            }
            let number = BranchNumber(number);
            if branch.state == BranchState::Proceeding {
                out.push(ContextAction::Note(
                    rfc3261("16.8"),
                    "timer C fired on a branch with a provisional response: it is cancelled",
                ));
                Self::send_cancel(branch, number, None, out);
            } else {
                out.push(ContextAction::Note(
                    rfc3261("16.8"),
                    "timer C fired on a branch without any response: it counts as answered by 408",
                ));
                branch.state = BranchState::Answered;
                out.push(ContextAction::TimedOut(number));
            }
        }
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.branches.iter().filter_map(|branch| branch.give_up_at).min()
    }

    /// Whether the request has its final answer (or will have none) and every branch, too. Only a
    /// repeated or late 2xx to an INVITE may still come by.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.outcome != Outcome::None && !self.branches.iter().any(Branch::is_pending)
    }

    /// The branches that have no final response yet.
    pub fn open_branches(&self) -> impl Iterator<Item = BranchNumber> {
        let numbered = self.branches.iter().zip(0..);
        numbered.filter(|(branch, _)| branch.is_pending()).map(|(_, number)| BranchNumber(number))
    }

    /// Lets go of all that only an unanswered request needs; for a context that [is
    /// over](Self::is_over) and only passes on what repeats its 2xx.
    pub fn retire(&mut self) {
        if self.is_over() {
            self.template = None;
            self.branches = Vec::new();
            self.candidates = Candidates::default();
        }
    }

    /// Whether a final response went upstream.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        matches!(self.outcome, Outcome::Failure | Outcome::Success)
    }

    /// A response to the request made here, without To tag. After [`Self::retire`] it has no
    /// headers, and there is nothing that would send it.
    #[must_use]
    pub fn made_here(&self, status: u16) -> Response {
        let reason = reason_phrase(status).into();
        match self.template.as_deref() {
            Some(its) => Response { status, reason, ..its.clone() },
            None => Response { status, reason, headers: Headers::new(), body: Bytes::new() },
        }
    }

    fn pass_provisional(&self, response: Response, out: &mut Vec<ContextAction>) {
        // 100 is hop by hop; and a request other than INVITE has no other provisional response
        // (RFC 4320 §4.1).
        if response.status > 100 && self.is_invite && self.outcome == Outcome::None {
            out.push(ContextAction::Upstream(Box::new(response)));
        }
    }

    fn pass_success(&mut self, response: Response, out: &mut Vec<ContextAction>) {
        match self.outcome {
            Outcome::None => {
                self.outcome = Outcome::Success;
                out.push(ContextAction::Upstream(Box::new(response)));
                self.cancel_pending(Some(ELSEWHERE), out);
            }
            Outcome::Success if self.is_invite => {
                out.push(ContextAction::Upstream(Box::new(response)));
            }
            Outcome::Failure | Outcome::Silence | Outcome::Success => {
                out.push(ContextAction::Note(
                    rfc3261("16.7"),
                    "a 2xx came after the final response and is dropped",
                ));
            }
        }
    }

    fn answer(&mut self, response: Response, out: &mut Vec<ContextAction>) {
        self.outcome = Outcome::Failure;
        out.push(ContextAction::Upstream(Box::new(response)));
    }

    fn without_503(&self, best: Response, out: &mut Vec<ContextAction>) -> Response {
        if best.status != 503 || self.settings.pass_503 {
            return best;
        }
        out.push(ContextAction::Note(
            rfc3261("16.7"),
            "a 503 speaks of the next hop, not of us: it goes up as 500",
        ));
        self.made_here(500)
    }

    fn cancel_pending(&mut self, reason: Option<&str>, out: &mut Vec<ContextAction>) {
        if !self.is_invite {
            return;
        }
        for (branch, number) in self.branches.iter_mut().zip(0..) {
            if !branch.is_pending() || branch.cancel != CancelState::No {
                continue;
            }
            let reason = reason.map(str::to_owned);
            match branch.state {
                BranchState::Proceeding => {
                    Self::send_cancel(branch, BranchNumber(number), reason, out);
                }
                BranchState::Answered | BranchState::Calling => {
                    branch.cancel = CancelState::Wanted(reason);
                }
            }
        }
    }

    /// The peer must now answer within 64 × T1, which the client transaction watches; timer C has
    /// done its part.
    fn send_cancel(
        branch: &mut Branch,
        number: BranchNumber,
        reason: Option<String>,
        out: &mut Vec<ContextAction>,
    ) {
        branch.cancel = CancelState::Sent;
        branch.give_up_at = None;
        out.push(ContextAction::Cancel { branch: number, reason });
    }
}
