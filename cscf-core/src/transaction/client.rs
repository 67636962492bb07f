//! The client transaction of every request but INVITE and ACK (RFC 3261 §17.1.2).

use bytes::Bytes;

use super::{Effect, Reliability, Resend, Timers, earlier};
use crate::time::Instant;

/// ```text
///                 |request
///                 V
///  E: send   +--------+ F: timed out, or transport failed
///  again  +--| Trying |-----------------------------------+
///         +->+--------+                                   |
///              |1xx: |final: pass up                      |
///              |pass +--------------------+               |
///              |up                        V               |
///  E: send   +------------+ final   +-----------+ K       V
///  again, +--| Proceeding |-------->| Completed |---> Terminated
///  1xx    +->+------------+ pass up +-----------+         ^
///                 | F: timed out, or transport failed     |
///                 +---------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// The final response came; repeated ones are absorbed.
    Completed {
        /// Timer K.
        linger_until: Instant,
    },
    /// A 1xx came; the request is repeated every T2.
    Proceeding {
        /// The request, for the next time; empty on a reliable transport.
        request: Bytes,
        /// Timer E; none on a reliable transport.
        resend: Option<Resend>,
        /// Timer F.
        give_up_at: Instant,
    },
    /// Nothing is left to do.
    Terminated,
    /// Nothing came yet.
    Trying {
        /// The request, for the next time; empty on a reliable transport.
        request: Bytes,
        /// Timer E; none on a reliable transport.
        resend: Option<Resend>,
        /// Timer F.
        give_up_at: Instant,
    },
}

impl ClientState {
    /// Its name in the standard.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Completed { .. } => "Completed",
            Self::Proceeding { .. } => "Proceeding",
            Self::Terminated => "Terminated",
            Self::Trying { .. } => "Trying",
        }
    }
}

use ClientState::{Completed, Proceeding, Terminated, Trying};

/// One request other than INVITE that was sent.
#[derive(Clone, Debug)]
pub struct Client {
    state: ClientState,
    reliability: Reliability,
}

impl Client {
    /// Sends the request.
    pub fn start(
        now: Instant,
        request: Bytes,
        reliability: Reliability,
        timers: &Timers,
        out: &mut Vec<Effect>,
    ) -> Self {
        let resend = Resend::new(now, timers.e(), reliability);
        out.push(Effect::Send(request.clone()));
        let request = if resend.is_some() { request } else { Bytes::new() };
        let state = Trying { request, resend, give_up_at: now + timers.f() };
        Self { state, reliability }
    }

    /// Takes the status of a response of this transaction.
    pub fn on_response(
        &mut self,
        now: Instant,
        status: u16,
        timers: &Timers,
        out: &mut Vec<Effect>,
    ) {
        match &mut self.state {
            Trying { request, resend, give_up_at } | Proceeding { request, resend, give_up_at } => {
                out.push(Effect::PassUp);
                let linger = timers.k(self.reliability);
                self.state = if status < 200 {
                    Proceeding {
                        request: std::mem::take(request),
                        resend: *resend,
                        give_up_at: *give_up_at,
                    }
                } else if linger.is_zero() {
                    Terminated
                } else {
                    Completed { linger_until: now + linger }
                };
            }
            Completed { .. } | Terminated => {}
        }
    }

    /// The request could not be sent (RFC 3261 §17.1.4).
    pub fn on_transport_failure(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.state, Proceeding { .. } | Trying { .. }) {
            out.push(Effect::TransportFailed);
            self.state = Terminated;
        }
    }

    /// Acts on the deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers, out: &mut Vec<Effect>) {
        match &mut self.state {
            Trying { give_up_at, .. } | Proceeding { give_up_at, .. } if *give_up_at <= now => {
                out.push(Effect::TimedOut);
                self.state = Terminated;
            }
            Trying { request, resend, .. } => {
                Resend::fire(resend, request, now, out, |wait| timers.doubled(wait));
            }
            Proceeding { request, resend, .. } => {
                Resend::fire(resend, request, now, out, |_| timers.t2());
            }
            Completed { linger_until } if *linger_until <= now => self.state = Terminated,
            Completed { .. } | Terminated => {}
        }
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            Trying { resend, give_up_at, .. } | Proceeding { resend, give_up_at, .. } => {
                earlier(resend.as_ref(), Some(*give_up_at))
            }
            Completed { linger_until } => Some(*linger_until),
            Terminated => None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> &ClientState {
        &self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::testing::sent_at;

    fn times(timers: Timers, provisional_at: Option<Instant>) -> (Vec<u64>, (u64, Vec<Effect>)) {
        let mut out = Vec::new();
        let request = Bytes::from_static(b"REGISTER");
        let mut it =
            Client::start(Instant::EPOCH, request, Reliability::Unreliable, &timers, &mut out);
        let mut provisional_at = provisional_at;
        sent_at(&mut out, |now, out| {
            let at = it.poll_timeout();
            if let Some(provisional) = provisional_at.filter(|due| at.is_some_and(|at| *due < at)) {
                provisional_at = None;
                it.on_response(provisional, 100, &timers, &mut Vec::new());
                return Some(provisional);
            }
            let at = at.or(now)?;
            it.handle_timeout(at, &timers, out);
            Some(at)
        })
    }

    // T-TRN-030
    #[test]
    fn the_interval_doubles_up_to_t2_until_timer_f() {
        let (times, end) = times(Timers::CORE, None);
        let expected =
            [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
        assert_eq!(times, expected);
        assert_eq!(end, (32_000, vec![Effect::TimedOut]));
    }

    // T-TRN-080
    #[test]
    fn on_the_air_side_the_interval_grows_from_2_to_16_seconds() {
        let (times, end) = times(Timers::AIR, None);
        let expected = [0, 2_000, 6_000, 14_000, 30_000, 46_000, 62_000, 78_000, 94_000, 110_000];
        assert_eq!(times.get(..10), Some(expected.as_slice()));
        assert_eq!(end, (128_000, vec![Effect::TimedOut]));
    }

    // T-TRN-030
    #[test]
    fn after_a_provisional_response_the_interval_is_t2() {
        let (times, _) = times(Timers::CORE, Some(Instant::from_millis(600)));
        assert_eq!(times, [0, 500, 1_500, 5_500, 9_500, 13_500, 17_500, 21_500, 25_500, 29_500]);
    }
}
