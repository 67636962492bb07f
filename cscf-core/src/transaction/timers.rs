//! Timer values: T1, T2 and T4 per side (TS 24.229 §7.7, table 7.7.1), the timers A to M derived
//! from them (RFC 3261 table 4, RFC 6026), and the IMS timers of TS 24.229 §7.8.

use crate::time::Duration;

/// How long an INVITE server transaction waits for its TU before it says 100 (RFC 3261 §17.2.1).
pub const TRYING_AFTER: Duration = Duration::from_millis(200);

/// The access types of P-Access-Network-Info whose UEs use the values of [`Timers::AIR`]. Table
/// 7.7.1 of TS 24.229 names the first generations; the NR types are this core's addition.
pub const AIR_ACCESS_TYPES: &[&str] = &[
    "3GPP-GERAN",
    "3GPP-UTRAN-FDD",
    "3GPP-UTRAN-TDD",
    "3GPP-E-UTRAN-FDD",
    "3GPP-E-UTRAN-TDD",
    "3GPP-NR-FDD",
    "3GPP-NR-TDD",
    "3GPP2-1X",
    "3GPP2-1X-HRPD",
    "3GPP2-UMB",
    "IEEE-802.11",
    "IEEE-802.11a",
    "IEEE-802.11b",
    "IEEE-802.11g",
    "IEEE-802.11n",
];

/// Whether this P-Access-Network-Info value names one of `types`, so that the UE and the P-CSCF
/// towards it use [`Timers::AIR`] (TS 24.229 §7.7).
#[must_use]
pub fn is_air_access(p_access_network_info: &str, types: &[impl AsRef<str>]) -> bool {
    let access = p_access_network_info.split([';', ',']).next().unwrap_or_default().trim();
    types.iter().any(|name| name.as_ref().eq_ignore_ascii_case(access))
}

/// Whether the transport itself delivers; if so nothing is retransmitted and nothing lingers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// TCP and its like.
    Reliable,
    /// UDP.
    Unreliable,
}

impl Reliability {
    /// Zero on a reliable transport, else `span`.
    const fn unless_reliable(self, span: Duration) -> Duration {
        match self {
            Self::Reliable => Duration::ZERO,
            Self::Unreliable => span,
        }
    }
}

impl From<crate::transport::Transport> for Reliability {
    fn from(transport: crate::transport::Transport) -> Self {
        if transport.is_reliable() { Self::Reliable } else { Self::Unreliable }
    }
}

/// A timer value is of no use. The culprit is the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimersError {
    /// T1 or T4 is below 1 ms, or so large that 64 × T1 is no time any more.
    #[error("T1, T2 and T4 must lie between 1 ms and 1 h")]
    OutOfRange,
    /// T2 caps intervals that start at T1.
    #[error("T2 must not be below T1")]
    T2BelowT1,
}

/// The values all timers of a transaction are derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    t1: Duration,
    t2: Duration,
    t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self::CORE
    }
}

impl Timers {
    /// Towards a UE on one of [`AIR_ACCESS_TYPES`], and at it: 2 s, 16 s, 17 s (TS 24.229 §7.7).
    pub const AIR: Self = Self {
        t1: Duration::from_secs(2),
        t2: Duration::from_secs(16),
        t4: Duration::from_secs(17),
    };

    /// Between network elements, and for all other UEs: 500 ms, 4 s, 5 s (RFC 3261 table 4).
    pub const CORE: Self = Self {
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
    };

    /// Values of the operator's choice.
    ///
    /// # Errors
    ///
    /// [`TimersError`] when they make no sense.
    pub fn new(t1: Duration, t2: Duration, t4: Duration) -> Result<Self, TimersError> {
        let sane = Duration::from_millis(1)..=Duration::from_secs(3600);
        if [t1, t2, t4].iter().any(|span| !sane.contains(span)) {
            return Err(TimersError::OutOfRange);
        }
        if t2 < t1 {
            return Err(TimersError::T2BelowT1);
        }
        Ok(Self { t1, t2, t4 })
    }

    /// T1, the estimate of a round trip.
    #[must_use]
    pub const fn t1(&self) -> Duration {
        self.t1
    }

    /// T2, the longest interval between retransmissions.
    #[must_use]
    pub const fn t2(&self) -> Duration {
        self.t2
    }

    /// T4, how long a message stays in the network.
    #[must_use]
    pub const fn t4(&self) -> Duration {
        self.t4
    }

    /// 64 × T1: the life of a transaction without an answer.
    #[must_use]
    pub const fn t1_64(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer A: the first wait before the INVITE is sent again; it doubles.
    #[must_use]
    pub const fn a(&self) -> Duration {
        self.t1
    }

    /// Timer B: how long an INVITE waits for any answer.
    #[must_use]
    pub const fn b(&self) -> Duration {
        self.t1_64()
    }

    /// Timer D: how long an acknowledged INVITE client transaction absorbs repeated answers. The
    /// standards ask for more than 64 × T1 on UDP.
    #[must_use]
    pub const fn d(&self, reliability: Reliability) -> Duration {
        reliability.unless_reliable(self.t1_64().saturating_add(self.t1))
    }

    /// Timer E: the first wait before a request other than INVITE is sent again.
    #[must_use]
    pub const fn e(&self) -> Duration {
        self.t1
    }

    /// Timer F: how long a request other than INVITE waits for its final response.
    #[must_use]
    pub const fn f(&self) -> Duration {
        self.t1_64()
    }

    /// Timer G: the first wait before the final response to an INVITE is sent again.
    #[must_use]
    pub const fn g(&self) -> Duration {
        self.t1
    }

    /// Timer H: how long a final response to an INVITE waits for its ACK.
    #[must_use]
    pub const fn h(&self) -> Duration {
        self.t1_64()
    }

    /// Timer I: how long repeated ACKs are absorbed.
    #[must_use]
    pub const fn i(&self, reliability: Reliability) -> Duration {
        reliability.unless_reliable(self.t4)
    }

    /// Timer J: how long repeated requests other than INVITE are answered.
    #[must_use]
    pub const fn j(&self, reliability: Reliability) -> Duration {
        reliability.unless_reliable(self.t1_64())
    }

    /// Timer K: how long repeated responses to a request other than INVITE are absorbed.
    #[must_use]
    pub const fn k(&self, reliability: Reliability) -> Duration {
        reliability.unless_reliable(self.t4)
    }

    /// Timer L: how long the INVITE server transaction stays after a 2xx (RFC 6026 §7.1).
    #[must_use]
    pub const fn l(&self) -> Duration {
        self.t1_64()
    }

    /// Timer M: how long the INVITE client transaction hands up repeated 2xx (RFC 6026 §7.2).
    #[must_use]
    pub const fn m(&self) -> Duration {
        self.t1_64()
    }

    /// Timer N: how long a subscriber waits for the first NOTIFY (RFC 6665 §4.1.2.4).
    #[must_use]
    pub const fn n(&self) -> Duration {
        self.t1_64()
    }

    /// The interval that follows `interval`: twice as long, at most T2.
    #[must_use]
    pub fn doubled(&self, interval: Duration) -> Duration {
        interval.saturating_mul(2).min(self.t2)
    }

    /// When a client's timer E has grown to T2, counted from its first sending: not before that
    /// time may a request other than INVITE be answered with 100 over UDP, and by then it must
    /// (RFC 4320 §4.1). 3.5 s in the core, 14 s on the air side.
    #[must_use]
    pub fn trying_due(&self) -> Duration {
        let (mut passed, mut interval) = (self.e(), self.e());
        while interval.saturating_mul(2) < self.t2 {
            interval = interval.saturating_mul(2);
            passed = passed.saturating_add(interval);
        }
        passed
    }
}

/// The timers of IMS procedures (TS 24.229 §7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImsTimers {
    /// How long the S-CSCF waits for the answer to its challenge of a REGISTER.
    pub reg_await_auth: Duration,
    /// How long the S-CSCF waits for the answer to its challenge of another request.
    pub request_await_auth: Duration,
    /// How long the UE waits for its emergency registration (8 s to 20 s).
    pub emerg_reg: Duration,
    /// How long the UE waits for an answer to its emergency INVITE (5 s to 15 s).
    pub emerg_request: Duration,
}

impl Default for ImsTimers {
    fn default() -> Self {
        Self {
            reg_await_auth: Duration::from_secs(240),
            request_await_auth: Duration::from_secs(240),
            emerg_reg: Duration::from_secs(10),
            emerg_request: Duration::from_secs(10),
        }
    }
}

impl ImsTimers {
    /// All four divided by `divisor`, for runs in real time; 0 counts as 1.
    #[must_use]
    pub fn divided(self, divisor: u32) -> Self {
        let by = divisor.max(1);
        Self {
            reg_await_auth: self.reg_await_auth / by,
            request_await_auth: self.request_await_auth / by,
            emerg_reg: self.emerg_reg / by,
            emerg_request: self.emerg_request / by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    // T-TRN-070, T-TRN-080
    #[test]
    fn both_profiles_are_those_of_table_7_7_1() {
        use Reliability::{Reliable, Unreliable};
        for (timers, t1, t2, t4, life) in [
            (Timers::CORE, 500, 4_000, 5_000, 32_000),
            (Timers::AIR, 2_000, 16_000, 17_000, 128_000),
        ] {
            assert_eq!((timers.t1(), timers.t2(), timers.t4()), (ms(t1), ms(t2), ms(t4)));
            for timer in [timers.b(), timers.f(), timers.h(), timers.l(), timers.m(), timers.n()] {
                assert_eq!(timer, ms(life));
            }
            assert_eq!(timers.j(Unreliable), ms(life));
            assert!(timers.d(Unreliable) > ms(life));
            assert_eq!((timers.i(Unreliable), timers.k(Unreliable)), (ms(t4), ms(t4)));
            for timer in
                [timers.d(Reliable), timers.i(Reliable), timers.j(Reliable), timers.k(Reliable)]
            {
                assert_eq!(timer, Duration::ZERO);
            }
        }
    }

    #[test]
    fn a_100_to_a_request_other_than_invite_is_due_when_timer_e_reaches_t2() {
        assert_eq!(Timers::CORE.trying_due(), ms(3_500));
        assert_eq!(Timers::AIR.trying_due(), ms(14_000));
        let flat = Timers::new(ms(500), ms(500), ms(500)).expect("sane");
        assert_eq!(flat.trying_due(), ms(500));
    }

    // T-TRN-080
    #[test]
    fn radio_accesses_use_the_values_of_the_air_side() {
        for (value, air) in [
            ("3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010000001", true),
            ("3gpp-nr-tdd;utran-cell-id-3gpp=1", true),
            ("IEEE-802.11;i-wlan-node-id=00", true),
            ("3GPP-GERAN", true),
            ("IEEE-802.3", false),
            ("3GPP-E-UTRAN", false),
            ("", false),
        ] {
            assert_eq!(is_air_access(value, AIR_ACCESS_TYPES), air, "{value}");
        }
        assert!(!is_air_access("3GPP-NR-FDD", &["3GPP-GERAN".to_owned()]));
    }

    // T-TRN-090
    #[test]
    fn ims_timers_have_their_values_and_can_be_divided() {
        let timers = ImsTimers::default();
        assert_eq!(timers.reg_await_auth, Duration::from_secs(240));
        assert_eq!(timers.request_await_auth, Duration::from_secs(240));
        assert!((8..=20).contains(&timers.emerg_reg.as_secs()));
        assert!((5..=15).contains(&timers.emerg_request.as_secs()));
        assert_eq!(timers.divided(100).reg_await_auth, ms(2_400));
        assert_eq!(timers.divided(0), timers);
    }

    #[test]
    fn useless_values_are_refused() {
        assert_eq!(Timers::new(ms(0), ms(4), ms(5)), Err(TimersError::OutOfRange));
        assert_eq!(Timers::new(ms(9), ms(4), ms(5)), Err(TimersError::T2BelowT1));
    }
}
