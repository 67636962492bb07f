//! When work begins: at equal distances or by chance (Poisson), whatever the network does.

use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::time::{Duration, Instant};

use super::plan::{Phase, Work};

/// The arrivals of one phase.
#[derive(Clone, Debug)]
pub struct Arrivals {
    phase: Phase,
    weights: u64,
    next: Instant,
    gap_nanos: f64,
    poisson: bool,
    ids: Ids,
}

impl Arrivals {
    /// Arrivals from `start` on, so many a second.
    #[must_use]
    pub fn new(phase: &Phase, rate: f64, poisson: bool, start: Instant, seed: Seed) -> Self {
        Self {
            phase: phase.clone(),
            weights: phase.weights(),
            next: start,
            gap_nanos: 1e9 / rate,
            poisson,
            ids: Ids::new(seed, ShardId(1)),
        }
    }

    /// When the next one is.
    #[must_use]
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// Takes the next arrival if it is due: when it was to be, and what begins.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Work)> {
        if self.next > now {
            return None;
        }
        let at = self.next;
        let mut gap = self.gap_nanos;
        if self.poisson {
            const RANGE: u32 = 1 << 31;
            let chance = self.ids.below(u64::from(RANGE)) as u32;
            gap *= -(f64::from(chance + 1) / f64::from(RANGE)).ln();
        }
        self.next += Duration::from_secs_f64(gap / 1e9);
        let number = if self.phase.mix.len() > 1 { self.ids.below(self.weights) } else { 0 };
        Some((at, self.phase.work_at(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(text: &str, poisson: bool) -> Arrivals {
        let phase = Phase::parse(text).expect("a phase");
        Arrivals::new(&phase, 100.0, poisson, Instant::EPOCH, Seed::derive(1, "arrivals"))
    }

    #[test]
    fn constant_arrivals_keep_their_distance() {
        let mut arrivals = arrivals("call:100", false);
        let mut at = Vec::new();
        while let Some((when, Work::Call)) = arrivals.pop_due(Instant::from_millis(30)) {
            at.push(when.as_nanos() / 1_000_000);
        }
        assert_eq!(at, [0, 10, 20, 30]);
        assert_eq!(arrivals.next(), Instant::from_millis(40));
    }

    #[test]
    fn arrivals_by_chance_have_the_rate_the_spread_and_the_mix() {
        let mut arrivals = arrivals("call=3,message:100", true);
        let (mut calls, mut gaps, mut last) = (0, Vec::new(), Instant::EPOCH);
        for _ in 0..10_000 {
            let (at, work) = arrivals.pop_due(Instant::NEVER).expect("due");
            calls += u32::from(work == Work::Call);
            gaps.push(at.since(last).as_secs_f64());
            last = at;
        }
        let mean = gaps.iter().sum::<f64>() / 10_000.0;
        let short = gaps.iter().filter(|gap| **gap < mean).count();
        assert!((0.0095..0.0105).contains(&mean), "{mean}");
        // 1 - 1/e of an exponential distribution lie below its mean.
        assert!((6100..6550).contains(&short), "{short}");
        assert!((7300..7700).contains(&calls), "{calls}");
    }
}
