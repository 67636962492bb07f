//! Reliable provisional responses (RFC 3262): the server's retransmission until PRACK, the
//! client's order of RSeq.

use std::collections::VecDeque;

use crate::ids::Ids;
use crate::sip::{CSeq, HeaderName, Method, RAck, Response};
use crate::time::{Duration, Instant};

/// Provisional responses that may wait for the PRACK of the one before.
const WAITING_MAX: usize = 8;

/// What to do when time has come.
#[derive(Clone, Debug)]
pub enum Resend<T> {
    /// It was never acknowledged: 64*T1 are over.
    GiveUp,
    /// Nothing yet.
    Nothing,
    /// This, once more.
    Now(T),
}

/// The PRACK acknowledges nothing that is outstanding; answered with 481 (RFC 3262 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("RAck {rseq} {cseq} matches no outstanding response")]
pub struct UnmatchedPrack {
    /// The RSeq named.
    pub rseq: u32,
    /// The CSeq named.
    pub cseq: u32,
}

/// The server's side for one INVITE: at most one response outstanding, others wait.
#[derive(Clone, Debug)]
pub struct ReliableSender {
    t1: Duration,
    next_rseq: u32,
    invite_cseq: u32,
    outstanding: Option<Outstanding>,
    waiting: VecDeque<Response>,
}

#[derive(Clone, Debug)]
struct Outstanding {
    rseq: u32,
    response: Response,
    interval: Duration,
    resend_at: Instant,
    give_up_at: Instant,
}

impl ReliableSender {
    /// For an INVITE with this CSeq number; the first RSeq is chosen by chance from the lower half
    /// of its range, so that it never has to wrap (RFC 3262 §3).
    #[must_use]
    pub fn new(ids: &mut Ids, t1: Duration, invite_cseq: u32) -> Self {
        let first = u32::try_from(ids.below(1 << 30)).unwrap_or(0) + 1;
        let (outstanding, waiting) = (None, VecDeque::new());
        Self { t1, next_rseq: first, invite_cseq, outstanding, waiting }
    }

    /// Makes a 101–199 reliable and gives it back to be sent, or keeps it until the PRACK of the
    /// one before is there.
    pub fn send(&mut self, now: Instant, response: Response) -> Option<Response> {
        if self.outstanding.is_some() {
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(response);
            }
            return None;
        }
        Some(self.start(now, response))
    }

    fn start(&mut self, now: Instant, mut response: Response) -> Response {
        let rseq = self.next_rseq;
        self.next_rseq = rseq.saturating_add(1);
        if !response.headers.has_token(HeaderName::Require, "100rel") {
            response.headers.push_front(HeaderName::Require, "100rel");
        }
        response.headers.set(HeaderName::RSeq, &rseq.to_string());
        self.outstanding = Some(Outstanding {
            rseq,
            response: response.clone(),
            interval: self.t1,
            resend_at: now + self.t1,
            give_up_at: now + self.t1 * 64,
        });
        response
    }

    /// A PRACK came. Gives the next response to be sent, if one waited.
    ///
    /// # Errors
    ///
    /// [`UnmatchedPrack`] when it fits no outstanding response.
    pub fn on_prack(
        &mut self,
        now: Instant,
        rack: &RAck,
    ) -> Result<Option<Response>, UnmatchedPrack> {
        let CSeq { number: cseq, method } = &rack.cseq;
        let fits = |it: &Outstanding| {
            it.rseq == rack.rseq && *cseq == self.invite_cseq && *method == Method::Invite
        };
        if !self.outstanding.as_ref().is_some_and(fits) {
            return Err(UnmatchedPrack { rseq: rack.rseq, cseq: *cseq });
        }
        self.outstanding = None;
        let next = self.waiting.pop_front();
        Ok(next.map(|response| self.start(now, response)))
    }

    /// Whether every response sent was acknowledged.
    #[must_use]
    pub const fn is_clear(&self) -> bool {
        self.outstanding.is_none()
    }

    /// The final response ends all retransmissions.
    pub fn stop(&mut self) {
        self.outstanding = None;
        self.waiting.clear();
    }

    /// The next time [`ReliableSender::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|it| it.resend_at.min(it.give_up_at))
    }

    /// Retransmits with doubling intervals, without the cap of T2 (RFC 3262 §3).
    pub fn handle_timeout(&mut self, now: Instant) -> Resend<Response> {
        let Some(it) = &mut self.outstanding else { return Resend::Nothing };
        if now >= it.give_up_at {
            self.stop();
            return Resend::GiveUp;
        }
        if now < it.resend_at {
            return Resend::Nothing;
        }
        it.interval *= 2;
        it.resend_at = now + it.interval;
        Resend::Now(it.response.clone())
    }
}

/// What the client does with a reliable response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// New: acknowledge it.
    New,
    /// Ahead of one that is missing: neither acknowledged nor processed.
    OutOfOrder,
    /// Seen before: discard.
    Seen,
}

/// The client's side for one early dialog (RFC 3262 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReliableReceiver {
    last: Option<u32>,
}

impl ReliableReceiver {
    /// Takes the RSeq of a response.
    pub fn take(&mut self, rseq: u32) -> Received {
        match self.last {
            Some(last) if rseq <= last => Received::Seen,
            Some(last) if rseq > last + 1 => Received::OutOfOrder,
            _ => {
                self.last = Some(rseq);
                Received::New
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Seed, ShardId};

    fn sender() -> ReliableSender {
        let mut ids = Ids::new(Seed([7; 32]), ShardId(0));
        ReliableSender::new(&mut ids, Duration::from_millis(500), 1)
    }

    fn progress(status: u16) -> Response {
        crate::sip::Request::new(Method::Invite, "sip:bob@x").reply(status)
    }

    fn rack(rseq: u32, cseq: u32) -> RAck {
        RAck { rseq, cseq: CSeq::new(cseq, Method::Invite) }
    }

    #[test]
    fn an_unacknowledged_response_is_sent_at_doubling_intervals_then_given_up() {
        let mut sender = sender();
        sender.send(Instant::EPOCH, progress(183)).expect("sent at once");

        let mut sent_at = Vec::new();
        let mut end = None;
        while let Some(at) = sender.poll_timeout() {
            match sender.handle_timeout(at) {
                Resend::Now(_) => sent_at.push(at.as_nanos() / 1_000_000),
                Resend::GiveUp => end = Some(at),
                Resend::Nothing => panic!("woken for nothing"),
            }
        }

        assert_eq!(sent_at, [500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(end, Some(Instant::from_secs(32)));
    }

    #[test]
    fn a_second_reliable_response_waits_for_the_prack_of_the_first() {
        let mut sender = sender();
        let first = sender.send(Instant::EPOCH, progress(183)).expect("sent");
        assert!(sender.send(Instant::EPOCH, progress(180)).is_none());
        let rseq = first.rseq().expect("RSeq");
        assert!(first.headers.has_token(HeaderName::Require, "100rel"));

        let second = sender.on_prack(Instant::EPOCH, &rack(rseq, 1)).expect("matches");

        let second = second.expect("waited");
        assert_eq!((second.status, second.rseq()), (180, Some(rseq + 1)));
        assert!(!sender.is_clear());
        assert_eq!(sender.on_prack(Instant::EPOCH, &rack(rseq + 1, 1)).map(|it| it.is_none()), {
            Ok(true)
        });
        assert!(sender.is_clear());
    }

    #[test]
    fn a_prack_for_something_else_matches_nothing() {
        let mut sender = sender();
        let first = sender.send(Instant::EPOCH, progress(183)).expect("sent");
        let rseq = first.rseq().expect("RSeq");
        for wrong in [rack(rseq + 1, 1), rack(rseq, 2)] {
            assert!(sender.on_prack(Instant::EPOCH, &wrong).is_err());
        }
        assert!(sender.on_prack(Instant::EPOCH, &rack(rseq, 1)).is_ok());
        assert!(sender.on_prack(Instant::EPOCH, &rack(rseq, 1)).is_err(), "twice");
    }

    #[test]
    fn the_client_acknowledges_in_order_and_once() {
        let mut receiver = ReliableReceiver::default();
        for (rseq, expected) in [
            (9021, Received::New),
            (9021, Received::Seen),
            (9023, Received::OutOfOrder),
            (9022, Received::New),
            (9023, Received::New),
            (9022, Received::Seen),
        ] {
            assert_eq!(receiver.take(rseq), expected, "{rseq}");
        }
    }
}
