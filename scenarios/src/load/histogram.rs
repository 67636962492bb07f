//! Latencies: a histogram whose steps are at most 1/32 of what they hold, so that a percentile is
//! at most 3 % too high, in constant memory.

use cscf_core::time::Duration;

/// Linear steps of each octave, as a power of two.
const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// Octaves above the linear beginning: up to 2^41 ns, half an hour.
const OCTAVES: usize = 36;

/// How often which latency occurred.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u32>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; STEPS * (OCTAVES + 1)], count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let last = self.counts.len() - 1;
        if let Some(count) = self.counts.get_mut(place(nanos).min(last)) {
            *count = count.saturating_add(1);
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(nanos);
        self.max = self.max.max(nanos);
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The greatest.
    #[must_use]
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The mean; zero when there is none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum.checked_div(self.count).unwrap_or(0))
    }

    /// What so many thousandths of all do not exceed; zero when there is none.
    #[must_use]
    pub fn per_mille(&self, thousandths: u64) -> Duration {
        let wanted = (self.count * thousandths).div_ceil(1000).max(1);
        let mut sum = 0;
        for (place, count) in self.counts.iter().enumerate() {
            sum += u64::from(*count);
            if sum >= wanted && place + 1 < self.counts.len() {
                return Duration::from_nanos(upper_end(place).min(self.max));
            }
        }
        self.max()
    }
}

fn place(nanos: u64) -> usize {
    let octave = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let step = usize::try_from(nanos >> octave).unwrap_or(usize::MAX);
    if octave == 0 { step } else { octave as usize * STEPS + step }
}

/// The greatest value that has this place.
fn upper_end(place: usize) -> u64 {
    let octave = (place / STEPS).saturating_sub(1);
    let step = (place - octave * STEPS) as u64;
    ((step + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_ends_where_the_next_begins() {
        for at in 0..STEPS * OCTAVES {
            let end = upper_end(at);
            assert_eq!((place(end), place(end + 1)), (at, at + 1), "{at}");
        }
    }

    #[test]
    fn percentiles_are_at_most_a_step_too_high() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (thousandths, micros) in [(500, 500_u64), (900, 900), (990, 990), (999, 999)] {
            let found = histogram.per_mille(thousandths).as_nanos() as u64;
            let exact = micros * 1000;
            assert!((exact..=exact + exact / 31).contains(&found), "{thousandths}: {found}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(1));
        assert_eq!(histogram.mean(), Duration::from_nanos(500_500));
        assert_eq!(Histogram::default().per_mille(500), Duration::ZERO);
        let mut huge = Histogram::default();
        huge.add(Duration::MAX);
        assert_eq!(huge.per_mille(999), huge.max());
    }
}
