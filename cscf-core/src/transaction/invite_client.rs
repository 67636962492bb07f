//! The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2). Acknowledges every final
//! response but 2xx; the ACK of a 2xx is the TU's.

use bytes::Bytes;

use super::{Effect, Reliability, Resend, Timers, ack_of_failure, earlier};
use crate::sip::Response;
use crate::time::Instant;

/// ```text
///                 |INVITE
///                 V
///  A: send   +---------+ B: timed out, or transport failed
///  INVITE +--| Calling |-----------------------------------> Terminated
///         +->+---------+                                       ^
///              |1xx  |2xx: pass up   3xx-6xx: send ACK,        |
///              V     +------------+   pass up                  |
///        +------------+           |        |                   |
///   1xx: | Proceeding |--+-2xx----|---+    |                   |
///   pass +------------+  |3xx-6xx |   V    V                   |
///   up         |         |     +----------+  +-----------+     |
///              |         |     | Accepted |  | Completed |     |
///              |         |     +----------+  +-----------+     |
///              |         |     2xx: |            ^  | 3xx-6xx: |
///              |         |  pass up |M           |  | send ACK |
///              |         +----------|------------+  |D         |
///              | 64*T1 after CANCEL |               |          |
///              +--------------------+---------------+----------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InviteClientState {
    /// A 2xx came; others of its kind may follow and are all handed up (RFC 6026).
    Accepted {
        /// Timer M.
        linger_until: Instant,
    },
    /// Nothing came yet.
    Calling {
        /// The INVITE, from which ACK and CANCEL are made.
        request: Bytes,
        /// Timer A; none on a reliable transport.
        resend: Option<Resend>,
        /// Timer B.
        give_up_at: Instant,
    },
    /// A 3xx–6xx came and is acknowledged whenever it comes again.
    Completed {
        /// The ACK.
        ack: Bytes,
        /// Timer D.
        linger_until: Instant,
    },
    /// A 1xx came. How long it may take from here is the TU's to say (timer C).
    Proceeding {
        /// The INVITE, from which ACK and CANCEL are made.
        request: Bytes,
        /// Set once the INVITE is cancelled: a peer that cancels must answer 487 within 64 × T1
        /// (RFC 3261 §9.1).
        give_up_at: Option<Instant>,
    },
    /// Nothing is left to do.
    Terminated,
}

impl InviteClientState {
    /// Its name in the standard.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "Accepted",
            Self::Calling { .. } => "Calling",
            Self::Completed { .. } => "Completed",
            Self::Proceeding { .. } => "Proceeding",
            Self::Terminated => "Terminated",
        }
    }
}

use InviteClientState::{Accepted, Calling, Completed, Proceeding, Terminated};

/// One INVITE that was sent.
#[derive(Clone, Debug)]
pub struct InviteClient {
    state: InviteClientState,
    reliability: Reliability,
}

impl InviteClient {
    /// Sends the INVITE.
    pub fn start(
        now: Instant,
        request: Bytes,
        reliability: Reliability,
        timers: &Timers,
        out: &mut Vec<Effect>,
    ) -> Self {
        let resend = Resend::new(now, timers.a(), reliability);
        out.push(Effect::Send(request.clone()));
        let state = Calling { request, resend, give_up_at: now + timers.b() };
        Self { state, reliability }
    }

    /// Takes a response of this transaction.
    pub fn on_response(
        &mut self,
        now: Instant,
        response: &Response,
        timers: &Timers,
        out: &mut Vec<Effect>,
    ) {
        match (&self.state, response.status) {
            (Calling { request, .. }, 100..=199) => {
                out.push(Effect::PassUp);
                self.state = Proceeding { request: request.clone(), give_up_at: None };
            }
            (Proceeding { .. }, 100..=199) | (Accepted { .. }, 200..=299) => {
                out.push(Effect::PassUp);
            }
            (Calling { .. } | Proceeding { .. }, 200..=299) => {
                out.push(Effect::PassUp);
                self.state = Accepted { linger_until: now + timers.m() };
            }
            (Calling { request, .. } | Proceeding { request, .. }, _) => {
                // Our own INVITE can be read; if it could not, there would be nothing to send.
                let ack = ack_of_failure(request, response).map(|ack| ack.to_bytes());
                debug_assert!(ack.is_some(), "an INVITE of our own cannot be read");
                let ack = ack.unwrap_or_default();
                out.extend([Effect::Send(ack.clone()), Effect::PassUp]);
                let linger = timers.d(self.reliability);
                self.state = if linger.is_zero() {
                    Terminated
                } else {
                    Completed { ack, linger_until: now + linger }
                };
            }
            (Completed { ack, .. }, 300..) => out.push(Effect::Send(ack.clone())),
            (Accepted { .. } | Completed { .. } | Terminated, _) => {}
        }
    }

    /// The INVITE is being cancelled: a final response must come within 64 × T1. Says whether it
    /// may be cancelled now, which is when a provisional response has come (RFC 3261 §9.1).
    pub fn on_cancel(&mut self, now: Instant, timers: &Timers) -> bool {
        let Proceeding { give_up_at, .. } = &mut self.state else { return false };
        give_up_at.get_or_insert(now + timers.t1_64());
        true
    }

    /// The INVITE could not be sent, or the ACK. After a provisional response there is nothing in
    /// flight, and the final one may come by another connection (RFC 3261 §18.2.2).
    pub fn on_transport_failure(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.state, Calling { .. } | Completed { .. }) {
            out.push(Effect::TransportFailed);
            self.state = Terminated;
        }
    }

    /// Acts on the deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match &mut self.state {
            Calling { give_up_at, .. } | Proceeding { give_up_at: Some(give_up_at), .. }
                if *give_up_at <= now =>
            {
                out.push(Effect::TimedOut);
                self.state = Terminated;
            }
            // Timer A has no upper limit but timer B (§17.1.1.2).
            Calling { request, resend, .. } => {
                Resend::fire(resend, request, now, out, |wait| wait * 2);
            }
            Accepted { linger_until } | Completed { linger_until, .. } if *linger_until <= now => {
                self.state = Terminated;
            }
            Accepted { .. } | Completed { .. } | Proceeding { .. } | Terminated => {}
        }
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            Calling { resend, give_up_at, .. } => earlier(resend.as_ref(), Some(*give_up_at)),
            Proceeding { give_up_at, .. } => *give_up_at,
            Accepted { linger_until } | Completed { linger_until, .. } => Some(*linger_until),
            Terminated => None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> &InviteClientState {
        &self.state
    }

    /// The INVITE, as long as no final response has come.
    #[must_use]
    pub const fn request(&self) -> Option<&Bytes> {
        match &self.state {
            Calling { request, .. } | Proceeding { request, .. } => Some(request),
            Accepted { .. } | Completed { .. } | Terminated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use crate::transaction::testing::{invite, sent_at};

    // T-TRN-010
    #[test]
    fn an_unanswered_invite_is_sent_seven_times_in_32_seconds() {
        let mut out = Vec::new();
        let timers = Timers::CORE;
        let invite = invite("z9hG4bK1").to_bytes();
        let mut it =
            InviteClient::start(Instant::EPOCH, invite, Reliability::Unreliable, &timers, &mut out);

        let (times, end) = sent_at(&mut out, |now, out| match it.poll_timeout() {
            Some(at) => {
                it.handle_timeout(at, out);
                Some(at)
            }
            None => now,
        });

        assert_eq!(times, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
        assert_eq!(end, (32_000, vec![Effect::TimedOut]));
        assert_eq!(it.state(), &Terminated);
    }

    #[test]
    fn a_cancelled_invite_gives_up_64_t1_after_the_cancel() {
        let mut out = Vec::new();
        let timers = Timers::CORE;
        let request = invite("z9hG4bK1");
        let mut it = InviteClient::start(
            Instant::EPOCH,
            request.to_bytes(),
            Reliability::Reliable,
            &timers,
            &mut out,
        );
        assert!(!it.on_cancel(Instant::EPOCH, &timers));
        it.on_response(Instant::EPOCH, &request.reply(180), &timers, &mut out);
        assert_eq!(it.poll_timeout(), None);

        let cancelled_at = Instant::from_secs(60);
        assert!(it.on_cancel(cancelled_at, &timers));
        assert!(it.on_cancel(Instant::from_secs(70), &timers));

        let end = cancelled_at + Duration::from_secs(32);
        assert_eq!(it.poll_timeout(), Some(end));
        out.clear();
        it.handle_timeout(end, &mut out);
        assert_eq!(out, [Effect::TimedOut]);
    }
}
