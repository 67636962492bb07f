//! The real clock: the only place that reads time.

use crate::time::{Duration, Instant, UnixTime};

#[expect(clippy::disallowed_types, reason = "this is the clock")]
type SystemInstant = std::time::Instant;

/// A clock that counts from an epoch which all processes of one lab share. It never goes back, also
/// when somebody sets the time of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: SystemInstant,
    before_start: Duration,
    epoch_unix_ns: u64,
}

impl Clock {
    /// A clock whose epoch is now.
    #[must_use]
    pub fn start() -> Self {
        let epoch_unix_ns = unix_ns();
        Self { started: instant(), before_start: Duration::ZERO, epoch_unix_ns }
    }

    /// A clock whose epoch is given in nanoseconds of Unix time; an epoch that is still to come
    /// counts as now.
    #[must_use]
    pub fn since_unix_ns(epoch_unix_ns: u64) -> Self {
        let before_start = Duration::from_nanos(unix_ns().saturating_sub(epoch_unix_ns));
        Self { started: instant(), before_start, epoch_unix_ns }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::EPOCH + self.before_start + self.started.elapsed()
    }

    /// The epoch, in nanoseconds of Unix time.
    #[must_use]
    pub const fn epoch_unix_ns(&self) -> u64 {
        self.epoch_unix_ns
    }

    /// The epoch in whole seconds of Unix time, as roles want it.
    #[must_use]
    pub const fn unix_at_epoch(&self) -> UnixTime {
        UnixTime(self.epoch_unix_ns / 1_000_000_000)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn instant() -> SystemInstant {
    SystemInstant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn unix_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clocks_of_one_epoch_agree() {
        let first = Clock::start();
        let second = Clock::since_unix_ns(first.epoch_unix_ns());
        let (early, late) = (first.now(), second.now());
        assert!(late.since(early) < Duration::from_secs(5), "{early} {late}");
        assert!(early.since(late) < Duration::from_secs(5), "{early} {late}");
    }

    #[test]
    fn an_epoch_to_come_counts_as_now() {
        let clock = Clock::since_unix_ns(u64::MAX);
        assert!(clock.now() < Instant::from_secs(60));
    }
}
