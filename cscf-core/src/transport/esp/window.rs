//! The anti-replay window of one association (RFC 4303 §3.4.3).

/// How many sequence numbers up to the newest are remembered (RFC 4303 §3.4.3: 64 is the default).
const WIDTH: u32 = u128::BITS;

/// Which sequence numbers were here: the newest, and a bit for each of those up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    newest: u32,
    seen: u128,
}

impl Window {
    /// Whether a packet with this number may be new. Nothing is noted: whether it is genuine is not
    /// known yet.
    pub(super) fn admits(&self, sequence: u32) -> bool {
        match self.newest.checked_sub(sequence) {
            // Numbers begin with 1.
            _ if sequence == 0 => false,
            None => true,
            Some(age) => age < WIDTH && self.seen & bit(age) == 0,
        }
    }

    /// Notes the number of a packet that is genuine.
    pub(super) fn note(&mut self, sequence: u32) {
        match self.newest.checked_sub(sequence) {
            Some(age) => self.seen |= bit(age),
            None => {
                let shift = sequence.saturating_sub(self.newest);
                self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
                self.newest = sequence;
            }
        }
    }

    /// The newest number, for the trace.
    pub(super) const fn newest(&self) -> u32 {
        self.newest
    }
}

fn bit(age: u32) -> u128 {
    1_u128.checked_shl(age).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_is_good_once_and_not_for_ever() {
        let mut window = Window::default();
        for (sequence, new) in [
            (0, false),
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (2, false),
            (130, true),
            (3, false),
            (4, true),
            (2, false),
            (131, true),
            (4, false),
            (5, true),
            (u32::MAX, true),
            (u32::MAX, false),
            (131, false),
            (u32::MAX - 127, true),
            (u32::MAX - 128, false),
        ] {
            assert_eq!(window.admits(sequence), new, "{sequence}");
            if new {
                window.note(sequence);
            }
        }
        assert_eq!(window.newest(), u32::MAX);
    }

    #[test]
    fn asking_changes_nothing() {
        let window = Window { newest: 9, seen: 1 };
        let before = window;
        assert!(window.admits(1_000) && window.admits(8) && !window.admits(9));
        assert_eq!(window, before);
    }

    /// The same by a set that forgets nothing.
    #[test]
    fn the_window_agrees_with_a_list_of_all_numbers() {
        let mut window = Window::default();
        let (mut seen, mut newest) = (std::collections::BTreeSet::new(), 0_u32);
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let near = u32::try_from(state >> 33).unwrap_or(0) % 300;
            let sequence = (newest + 20).saturating_sub(near);
            let expected = sequence > 0 && newest.saturating_sub(sequence) < WIDTH;
            let expected = expected && !seen.contains(&sequence);
            assert_eq!(window.admits(sequence), expected, "{sequence} of {newest}");
            if expected {
                window.note(sequence);
                seen.insert(sequence);
                newest = newest.max(sequence);
            }
        }
    }
}
