//! The subscriber's side of event notification: what the end of a subscription means
//! (RFC 6665 §4.1.3), and how long its NOTIFY is awaited. Dialogs and timers are with whoever
//! subscribes.

use crate::time::Duration;

/// Timer N: how long after each SUBSCRIBE, refreshes included, a NOTIFY is awaited, in times of T1.
/// Without one the subscription has failed (RFC 6665 §4.1.2.4).
const N: u32 = 64;

/// Timer N of a subscriber with this T1 (TS 24.229 table 7.7.1).
#[must_use]
pub fn timer_n(t1: Duration) -> Duration {
    t1 * N
}

/// Whether a subscription that the notifier ended is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resubscribe {
    /// Only if the subscriber still wants to, not before that time.
    May(Duration),
    /// It must be made again after that time (zero: at once).
    Must(Duration),
    /// It is not to be made again.
    Never,
}

impl Resubscribe {
    /// What the `reason` of `Subscription-State: terminated` asks for, with its `retry-after`; the
    /// subscriber chooses `delay` where the notifier wants one and gives none (RFC 6665 §4.1.3).
    #[must_use]
    pub fn after(reason: Option<&str>, retry_after: Option<Duration>, delay: Duration) -> Self {
        let reason = reason.unwrap_or_default().to_ascii_lowercase();
        match reason.as_str() {
            // No meaning of retry-after is defined for these.
            "deactivated" => Self::Must(Duration::ZERO),
            "timeout" => Self::May(Duration::ZERO),
            "invariant" | "noresource" | "rejected" => Self::Never,
            "probation" => Self::Must(retry_after.unwrap_or(delay)),
            "giveup" => Self::May(retry_after.unwrap_or(delay)),
            _ => Self::May(retry_after.unwrap_or(Duration::ZERO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_says_whether_and_when_to_subscribe_again() {
        use Resubscribe::{May, Must, Never};
        let (wait, delay) = (Duration::from_secs(7), Duration::from_secs(30));
        for (reason, without, with) in [
            ("deactivated", Must(Duration::ZERO), Must(Duration::ZERO)),
            ("probation", Must(delay), Must(wait)),
            ("rejected", Never, Never),
            ("timeout", May(Duration::ZERO), May(Duration::ZERO)),
            ("giveup", May(delay), May(wait)),
            ("noresource", Never, Never),
            ("invariant", Never, Never),
            ("of-our-own", May(Duration::ZERO), May(wait)),
        ] {
            assert_eq!(Resubscribe::after(Some(reason), None, delay), without, "{reason}");
            assert_eq!(Resubscribe::after(Some(reason), Some(wait), delay), with, "{reason}");
        }
        assert_eq!(Resubscribe::after(None, None, delay), May(Duration::ZERO));
    }
}
