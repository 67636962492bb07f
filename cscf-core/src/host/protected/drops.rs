//! What is told of dropped packets: each of the first few in a second, of the others how many.
//! Whoever floods a node fills no trace.

use std::collections::BTreeMap;

use crate::time::{Duration, Instant};
use crate::transport::esp::DropCause;

/// Drops told one by one in a second.
const TOLD_MAX: u32 = 16;
const SECOND: Duration = Duration::from_secs(1);

/// Which drops are told.
#[derive(Debug, Default)]
pub(super) struct Telling {
    until: Option<Instant>,
    told: u32,
    untold: BTreeMap<DropCause, u64>,
}

impl Telling {
    /// Whether this one is told, or these, seen at once.
    pub(super) fn admits(&mut self, now: Instant, cause: DropCause, count: u64) -> bool {
        if self.until.is_none_or(|until| until <= now) && self.untold.is_empty() {
            (self.until, self.told) = (Some(now + SECOND), 0);
        }
        if self.told < TOLD_MAX {
            self.told += 1;
            return true;
        }
        *self.untold.entry(cause).or_default() += count;
        false
    }

    /// When there is something to tell of those that were not.
    pub(super) fn due(&self) -> Option<Instant> {
        self.until.filter(|_| !self.untold.is_empty())
    }

    /// How many were not told, once their second is over.
    pub(super) fn rest(&mut self, now: Instant) -> Vec<(DropCause, u64)> {
        if self.due().is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.until = None;
        std::mem::take(&mut self.untold).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_the_first_are_told_and_then_how_many_there_were() {
        let mut telling = Telling::default();
        let at = |millis| Instant::EPOCH + Duration::from_millis(millis);
        let told =
            (0..1_000).filter(|it| telling.admits(at(*it / 2), DropCause::BadIcv, 1)).count();
        assert_eq!(told, 16);
        assert_eq!(telling.rest(at(999)), []);
        assert_eq!(telling.due(), Some(at(1_000)));
        assert_eq!(telling.rest(at(1_000)), [(DropCause::BadIcv, 984)]);
        assert!(telling.admits(at(1_001), DropCause::Replayed, 1));
        assert_eq!(telling.due(), None);
    }
}
