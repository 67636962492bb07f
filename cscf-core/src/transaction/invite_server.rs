//! The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1).

use bytes::Bytes;

use super::{Effect, Refused, Reliability, Resend, Timers, earlier};
use crate::time::Instant;

/// ```text
///                  |INVITE
///                  V
///  INVITE: send +------------+  2xx: send      +----------+ INVITE: absorb, ACK: pass up,
///  last 1xx; +--| Proceeding |---------------->| Accepted |--+ 2xx of the TU: send
///  1xx: send +->+------------+                 +----------+<-+
///                  |3xx-6xx: send                   |L
///                  V                                V
///  INVITE, G:   +-----------+ H: timed out
///  send     +---| Completed |----------------> Terminated
///  response +-->+-----------+                       ^
///                  |ACK                             |
///                  V                                |
///               +-----------+ I                     |
///               | Confirmed |-----------------------+
///               +-----------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InviteServerState {
    /// A 2xx was sent. Repeating it is the TU's; repeated INVITEs are absorbed (RFC 6026).
    Accepted {
        /// Timer L.
        linger_until: Instant,
    },
    /// A 3xx–6xx was sent and waits for its ACK.
    Completed {
        /// The response.
        response: Bytes,
        /// Timer G; none on a reliable transport.
        resend: Option<Resend>,
        /// Timer H.
        give_up_at: Instant,
    },
    /// The ACK came; repeated ones are absorbed.
    Confirmed {
        /// Timer I.
        linger_until: Instant,
    },
    /// No final response was sent yet.
    Proceeding {
        /// A 100 and when it is sent if the TU has said nothing until then.
        trying: Option<(Bytes, Instant)>,
        /// The last provisional response.
        last: Option<Bytes>,
    },
    /// Nothing is left to do.
    Terminated,
}

impl InviteServerState {
    /// Its name in the standard.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "Accepted",
            Self::Completed { .. } => "Completed",
            Self::Confirmed { .. } => "Confirmed",
            Self::Proceeding { .. } => "Proceeding",
            Self::Terminated => "Terminated",
        }
    }
}

use InviteServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated};

/// What an INVITE server transaction does about 100 (Trying) by itself (RFC 3261 §17.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trying {
    /// Sends it at the given time if the TU has said nothing until then.
    At(Instant, Bytes),
    /// Sends nothing: the TU knows that it answers within 200 ms.
    Never,
    /// Sends it at once, as a proxy does that forwards the request.
    Now(Bytes),
}

/// One INVITE that came in.
#[derive(Clone, Debug)]
pub struct InviteServer {
    state: InviteServerState,
    reliability: Reliability,
}

impl InviteServer {
    /// Opens the transaction; the INVITE itself is the TU's.
    pub fn start(trying: Trying, reliability: Reliability, out: &mut Vec<Effect>) -> Self {
        out.push(Effect::PassUp);
        let state = match trying {
            Trying::At(at, bytes) => Proceeding { trying: Some((bytes, at)), last: None },
            Trying::Never => Proceeding { trying: None, last: None },
            Trying::Now(bytes) => {
                out.push(Effect::Send(bytes.clone()));
                Proceeding { trying: None, last: Some(bytes) }
            }
        };
        Self { state, reliability }
    }

    /// The INVITE came again.
    pub fn on_retransmission(&self, out: &mut Vec<Effect>) {
        match &self.state {
            Proceeding { last: Some(bytes), .. } | Completed { response: bytes, .. } => {
                out.push(Effect::Send(bytes.clone()));
            }
            Accepted { .. } | Confirmed { .. } | Proceeding { .. } | Terminated => {}
        }
    }

    /// The TU leaves the INVITE without any answer; repeated ones are absorbed.
    pub fn on_discard(&mut self, now: Instant, timers: &Timers) {
        if self.is_pending() {
            self.state = Accepted { linger_until: now + timers.l() };
        }
    }

    /// An ACK came that matches the INVITE. After a 2xx it has a branch of its own and matches
    /// nothing; a client that keeps the branch nevertheless means the TU.
    pub fn on_ack(&mut self, now: Instant, timers: &Timers, out: &mut Vec<Effect>) {
        match &self.state {
            Accepted { .. } => out.push(Effect::PassUp),
            Completed { .. } => {
                let linger = timers.i(self.reliability);
                self.state = if linger.is_zero() {
                    Terminated
                } else {
                    Confirmed { linger_until: now + linger }
                };
            }
            Confirmed { .. } | Proceeding { .. } | Terminated => {}
        }
    }

    /// Sends a response of the TU.
    ///
    /// # Errors
    ///
    /// [`Refused::AfterFinal`] for anything but a further 2xx once a final response was sent.
    pub fn send_response(
        &mut self,
        now: Instant,
        status: u16,
        bytes: Bytes,
        timers: &Timers,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        match (&mut self.state, status) {
            (Proceeding { trying, last }, 100..=199) => {
                *trying = None;
                *last = Some(bytes.clone());
            }
            (Proceeding { .. }, 200..=299) => {
                self.state = Accepted { linger_until: now + timers.l() };
            }
            (Proceeding { .. }, _) => {
                let resend = Resend::new(now, timers.g(), self.reliability);
                let give_up_at = now + timers.h();
                self.state = Completed { response: bytes.clone(), resend, give_up_at };
            }
            (Accepted { .. }, 200..=299) => {}
            (Accepted { .. } | Completed { .. } | Confirmed { .. } | Terminated, _) => {
                return Err(Refused::AfterFinal);
            }
        }
        out.push(Effect::Send(bytes));
        Ok(())
    }

    /// Acts on the deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers, out: &mut Vec<Effect>) {
        match &mut self.state {
            Proceeding { trying, last } => {
                if let Some((bytes, _)) = trying.take_if(|(_, at)| *at <= now) {
                    out.push(Effect::Send(bytes.clone()));
                    *last = Some(bytes);
                }
            }
            Completed { give_up_at, .. } if *give_up_at <= now => {
                out.push(Effect::TimedOut);
                self.state = Terminated;
            }
            Completed { response, resend, .. } => {
                Resend::fire(resend, response, now, out, |wait| timers.doubled(wait));
            }
            Accepted { linger_until } | Confirmed { linger_until } if *linger_until <= now => {
                self.state = Terminated;
            }
            Accepted { .. } | Confirmed { .. } | Terminated => {}
        }
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            Proceeding { trying, .. } => trying.as_ref().map(|(_, at)| *at),
            Completed { resend, give_up_at, .. } => earlier(resend.as_ref(), Some(*give_up_at)),
            Accepted { linger_until } | Confirmed { linger_until } => Some(*linger_until),
            Terminated => None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> &InviteServerState {
        &self.state
    }

    /// Whether the final response is still to come.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self.state, Proceeding { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::testing::sent_at;

    // T-TRN-020
    #[test]
    fn a_refusal_is_repeated_until_timer_h_when_no_ack_comes() {
        let mut out = Vec::new();
        let timers = Timers::CORE;
        let mut it = InviteServer::start(Trying::Never, Reliability::Unreliable, &mut out);
        out.clear();
        let busy = Bytes::from_static(b"486");
        it.send_response(Instant::EPOCH, 486, busy, &timers, &mut out).expect("the first final");

        let (times, end) = sent_at(&mut out, |now, out| {
            let at = it.poll_timeout().or(now)?;
            it.handle_timeout(at, &timers, out);
            Some(at)
        });

        let expected =
            [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
        assert_eq!(times, expected);
        assert_eq!(end, (32_000, vec![Effect::TimedOut]));
    }
}
