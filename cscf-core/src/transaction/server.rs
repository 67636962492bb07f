//! The server transaction of every request but INVITE and ACK (RFC 3261 §17.2.2), which answers
//! late rather than wrongly: no 1xx but a timely 100, and never 408 (RFC 4320 §4).

use bytes::Bytes;

use super::{Effect, Refused, Reliability, Timers};
use crate::time::Instant;

/// ```text
///                |request
///                V
///            +--------+ final: send
///  request:  | Trying |----------------------------+
///  absorb    +--------+                            |
///                |100 of the TU, or timer E of     |
///                |the client is at T2: send        |
///                V                                 V
///  request:  +------------+ final: send      +-----------+ request: send
///  send 100  | Proceeding |----------------->| Completed | response, if any
///            +------------+ or no answer     +-----------+
///                                                  |J
///                                                  V
///                                              Terminated
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// The final response was sent, or the TU said that there will be none (RFC 4320 §4.2).
    Completed {
        /// The response, sent again for each repeated request.
        response: Option<Bytes>,
        /// Timer J.
        linger_until: Instant,
    },
    /// 100 was sent.
    Proceeding {
        /// The 100.
        last: Bytes,
    },
    /// Nothing is left to do.
    Terminated,
    /// Nothing was sent yet.
    Trying {
        /// The 100 that is sent when the client's timer E has grown to T2 (RFC 4320 §4.1).
        trying: Bytes,
        /// When that is.
        trying_at: Instant,
    },
}

impl ServerState {
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

use ServerState::{Completed, Proceeding, Terminated, Trying};

/// One request other than INVITE that came in.
#[derive(Clone, Debug)]
pub struct Server {
    state: ServerState,
    reliability: Reliability,
}

impl Server {
    /// Opens the transaction; the request itself is the TU's. `trying` is the 100 for later.
    pub fn start(
        now: Instant,
        trying: Bytes,
        reliability: Reliability,
        timers: &Timers,
        out: &mut Vec<Effect>,
    ) -> Self {
        out.push(Effect::PassUp);
        Self { state: Trying { trying, trying_at: now + timers.trying_due() }, reliability }
    }

    /// The request came again.
    pub fn on_retransmission(&self, out: &mut Vec<Effect>) {
        match &self.state {
            Proceeding { last: bytes } | Completed { response: Some(bytes), .. } => {
                out.push(Effect::Send(bytes.clone()));
            }
            Completed { response: None, .. } | Terminated | Trying { .. } => {}
        }
    }

    /// Sends a response of the TU.
    ///
    /// # Errors
    ///
    /// [`Refused`] for a second final response and for what RFC 4320 forbids.
    pub fn send_response(
        &mut self,
        now: Instant,
        status: u16,
        bytes: Bytes,
        timers: &Timers,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let early = match &self.state {
            Completed { .. } | Terminated => return Err(Refused::AfterFinal),
            Trying { trying_at, .. } => {
                self.reliability == Reliability::Unreliable && now < *trying_at
            }
            Proceeding { .. } => false,
        };
        match status {
            100 if early => return Err(Refused::TooEarly),
            100 => self.state = Proceeding { last: bytes.clone() },
            101..=199 => return Err(Refused::Provisional),
            408 => return Err(Refused::Timeout),
            _ => self.complete(now, Some(bytes.clone()), timers),
        }
        out.push(Effect::Send(bytes));
        Ok(())
    }

    /// The TU has no answer and never will: repeated requests are absorbed as long as the client
    /// may send them (RFC 4320 §4.2).
    pub fn on_no_answer(&mut self, now: Instant, timers: &Timers) {
        if self.is_pending() {
            self.complete(now, None, timers);
        }
    }

    fn complete(&mut self, now: Instant, response: Option<Bytes>, timers: &Timers) {
        let linger = timers.j(self.reliability);
        self.state = if linger.is_zero() {
            Terminated
        } else {
            Completed { response, linger_until: now + linger }
        };
    }

    /// Acts on the deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match &mut self.state {
            Trying { trying, trying_at } if *trying_at <= now => {
                let last = std::mem::take(trying);
                out.push(Effect::Send(last.clone()));
                self.state = Proceeding { last };
            }
            Completed { linger_until, .. } if *linger_until <= now => self.state = Terminated,
            Completed { .. } | Proceeding { .. } | Terminated | Trying { .. } => {}
        }
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            Trying { trying_at, .. } => Some(*trying_at),
            Completed { linger_until, .. } => Some(*linger_until),
            Proceeding { .. } | Terminated => None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> &ServerState {
        &self.state
    }

    /// Whether the final response is still to come.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self.state, Proceeding { .. } | Trying { .. })
    }
}
