//! How long a node under load gathers messages before it looks at them.

use std::fmt;

use super::write::span;
use crate::time::Duration;
use crate::words::duration;

/// The longest a node may gather: no timer of SIP is shorter than 20 hops of it.
const MOST: Duration = Duration::from_millis(20);

/// How long a node under load gathers messages before it looks at them. It costs time until the
/// answer and saves work: one wake-up serves several messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gather {
    /// Not at all: every message is looked at when it comes.
    Off,
    /// As its load says: a node with little to do answers at once, one with much to do waits for
    /// a handful, never longer than 2 ms.
    #[default]
    Auto,
    /// So long, 1 to 20 ms, where two messages are to be expected within that time.
    For(Duration),
}

impl Gather {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            _ => duration(text)
                .ok()
                .filter(|span| (Duration::from_millis(1)..=MOST).contains(span))
                .map(Self::For)
                .ok_or_else(|| {
                    format!("`{text}` is no time to gather; write auto, off, or 1ms to 20ms")
                }),
        }
    }
}

/// As a lab file has it.
impl fmt::Display for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Auto => f.write_str("auto"),
            Self::For(time) => f.write_str(&span(*time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [Gather::Off, Gather::Auto, Gather::For(Duration::from_millis(20))];
        for gather in all {
            assert_eq!(Gather::read(&gather.to_string()), Ok(gather));
        }
    }

    #[test]
    fn no_node_gathers_longer_than_timers_bear() {
        for wrong in ["21ms", "0ms", "1s", "often", ""] {
            let told = Gather::read(wrong).expect_err("refused");
            assert!(told.contains("auto, off, or 1ms to 20ms"), "{told}");
        }
    }
}
