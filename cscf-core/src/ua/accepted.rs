//! The 2xx to an INVITE, which the user agent itself repeats until the ACK is there
//! (RFC 3261 §13.3.1.4), and the times to wait after glare (§14.1, RFC 3311 §5.2).

use super::reliable::Resend;
use crate::dialog::DialogSide;
use crate::ids::Ids;
use crate::sip::Response;
use crate::time::{Duration, Instant};

/// A 2xx that waits for its ACK.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The CSeq number of the INVITE, which the ACK repeats.
    pub cseq: u32,
    response: Response,
    t2: Duration,
    interval: Duration,
    resend_at: Instant,
    give_up_at: Instant,
}

impl Accepted {
    /// The 2xx was sent now.
    #[must_use]
    pub fn start(now: Instant, t1: Duration, t2: Duration, cseq: u32, response: Response) -> Self {
        let (interval, resend_at, give_up_at) = (t1, now + t1, now + t1 * 64);
        Self { cseq, response, t2, interval, resend_at, give_up_at }
    }

    /// The next time [`Accepted::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.resend_at.min(self.give_up_at)
    }

    /// Retransmits with intervals from T1 doubling to T2; after 64*T1 the session ends with BYE.
    pub fn handle_timeout(&mut self, now: Instant) -> Resend<Response> {
        if now >= self.give_up_at {
            return Resend::GiveUp;
        }
        if now < self.resend_at {
            return Resend::Nothing;
        }
        self.interval = (self.interval * 2).min(self.t2);
        self.resend_at = now + self.interval;
        Resend::Now(self.response.clone())
    }
}

/// How long to wait after a 491 before trying again: the owner of the Call-ID 2.1 to 4.0 s, the
/// other 0 to 2.0 s, in steps of 10 ms (RFC 3261 §14.1).
#[must_use]
pub fn after_glare(side: DialogSide, ids: &mut Ids) -> Duration {
    let (first, count) = match side {
        DialogSide::Caller => (210, 191),
        DialogSide::Callee => (0, 201),
    };
    Duration::from_millis((first + ids.below(count)) * 10)
}

/// The Retry-After of a 500 to an offer that came too early: 0 to 10 s (RFC 3261 §14.2).
#[must_use]
pub fn retry_after_pending(ids: &mut Ids) -> String {
    ids.below(11).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Seed, ShardId};
    use crate::sip::{Method, Request};

    #[test]
    fn a_2xx_is_sent_from_t1_doubling_to_t2_for_64_t1() {
        let response = Request::new(Method::Invite, "sip:bob@x").reply(200);
        let (t1, t2) = (Duration::from_millis(500), Duration::from_secs(4));
        let mut accepted = Accepted::start(Instant::EPOCH, t1, t2, 1, response);

        let mut sent_at = Vec::new();
        let end = loop {
            let at = accepted.poll_timeout();
            match accepted.handle_timeout(at) {
                Resend::Now(_) => sent_at.push(at.as_nanos() / 1_000_000),
                Resend::GiveUp => break at,
                Resend::Nothing => panic!("woken for nothing"),
            }
        };

        let expected = [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
        assert_eq!(sent_at, expected);
        assert_eq!(end, Instant::from_secs(32));
    }

    #[test]
    fn the_owner_of_the_call_id_waits_longer_after_glare() {
        let mut ids = Ids::new(Seed([1; 32]), ShardId(0));
        for _ in 0..500 {
            let owner = after_glare(DialogSide::Caller, &mut ids).as_millis();
            let other = after_glare(DialogSide::Callee, &mut ids).as_millis();
            assert!((2100..=4000).contains(&owner) && owner.is_multiple_of(10), "{owner}");
            assert!(other <= 2000 && other.is_multiple_of(10), "{other}");
        }
    }
}
