//! The watchdog of RFC 3539 §3.4: whether the peer behind a connection still lives.
//!
//! ```text
//!            up                          timer, nothing came        timer
//! INITIAL ─────────> OKAY <────────────────────────────> SUSPECT ─────────> DOWN (close)
//!                     ^        anything came (fail back)                      │ up
//!                     └───────────────── REOPEN <─────────────────────────────┘
//!                        three DWAs
//! ```

use crate::ids::Ids;
use crate::time::{Duration, Instant};

/// The jitter of the timer: Tw ± 2 s (RFC 3539 §3.4.1).
const JITTER: Duration = Duration::from_secs(2);
/// How many DWAs a connection that failed before must give until it is used (RFC 3539 §3.4.1).
const REOPEN_AFTER: i8 = 3;

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// In use.
    Okay,
    /// Up again after a failure; must prove itself before it is used.
    Reopen,
    /// Silent; not used for new requests.
    Suspect,
}

/// What the watchdog wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Close the connection.
    Close,
    /// Use the connection again.
    FailBack,
    /// Use the connection no more for now.
    FailOver,
    /// Nothing.
    Nothing,
    /// Send a DWR.
    Send,
}

/// The watchdog of one connection that is up.
#[derive(Clone, Debug)]
pub(super) struct Watchdog {
    health: Health,
    /// A DWR is not answered.
    pending: bool,
    /// DWAs since REOPEN; -1 when one was missed.
    answered: i8,
    /// Tw without jitter.
    interval: Duration,
    at: Instant,
    /// When a message came last that puts the timer back. The timer itself is put back when it
    /// fires: a busy connection would do so with each message, and draw a jitter for each.
    heard: Option<Instant>,
}

impl Watchdog {
    /// Starts for a connection that came up: OKAY, or REOPEN when the one before failed. In REOPEN
    /// the caller sends a DWR at once.
    pub(super) fn start(interval: Duration, reopen: bool, now: Instant, ids: &mut Ids) -> Self {
        let health = if reopen { Health::Reopen } else { Health::Okay };
        let mut watchdog =
            Self { health, pending: reopen, answered: 0, interval, at: now, heard: None };
        watchdog.set(now, ids);
        watchdog
    }

    pub(super) const fn health(&self) -> Health {
        self.health
    }

    /// When [`Watchdog::on_timer`] is due.
    pub(super) const fn at(&self) -> Instant {
        self.at
    }

    /// A message came; `answer` says that it was a DWA.
    pub(super) fn on_received(&mut self, answer: bool, now: Instant, ids: &mut Ids) -> Act {
        if answer {
            self.pending = false;
        }
        match self.health {
            Health::Okay => {
                self.heard = Some(now);
                Act::Nothing
            }
            Health::Suspect => {
                self.health = Health::Okay;
                self.set(now, ids);
                Act::FailBack
            }
            Health::Reopen if !answer => Act::Nothing,
            Health::Reopen => {
                self.answered = self.answered.max(0) + 1;
                if self.answered >= REOPEN_AFTER {
                    self.health = Health::Okay;
                    self.set(now, ids);
                    return Act::FailBack;
                }
                // The RFC waits Tw between these; there is no other peer to use meanwhile, so the
                // next DWR goes at once.
                self.pending = true;
                self.set(now, ids);
                Act::Send
            }
        }
    }

    /// The timer fired.
    pub(super) fn on_timer(&mut self, now: Instant, ids: &mut Ids) -> Act {
        if let Some(heard) = self.heard.take() {
            self.set(heard, ids);
            if self.at > now {
                return Act::Nothing;
            }
        }
        self.set(now, ids);
        match (self.health, self.pending) {
            (Health::Okay | Health::Reopen, false) => {
                self.pending = true;
                Act::Send
            }
            (Health::Okay, true) => {
                self.health = Health::Suspect;
                Act::FailOver
            }
            (Health::Suspect, _) => Act::Close,
            (Health::Reopen, true) if self.answered < 0 => Act::Close,
            (Health::Reopen, true) => {
                self.answered = -1;
                Act::Nothing
            }
        }
    }

    /// Tw with jitter; an interval below the jitter has none (tests, labs with short intervals).
    fn set(&mut self, now: Instant, ids: &mut Ids) {
        let span = if self.interval > JITTER {
            let spread = u64::try_from(2 * JITTER.as_millis()).unwrap_or(0) + 1;
            self.interval - JITTER + Duration::from_millis(ids.below(spread))
        } else {
            self.interval
        };
        self.at = now + span;
        self.heard = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Seed, ShardId};

    fn ids() -> Ids {
        Ids::new(Seed([7; 32]), ShardId(0))
    }

    /// The table of RFC 3539 §3.4.1, one row a line: state, pending, `NumDWA`, event, act, state.
    #[test]
    fn the_table_of_rfc_3539_holds() {
        #[derive(Clone, Copy, Debug)]
        enum Event {
            Answer,
            Other,
            Timer,
        }
        use Event::{Answer, Other, Timer};
        use Health::{Okay, Reopen, Suspect};
        let rows = [
            (Okay, true, 0, Answer, Act::Nothing, Okay, false),
            (Okay, true, 0, Other, Act::Nothing, Okay, true),
            (Okay, false, 0, Timer, Act::Send, Okay, true),
            (Okay, true, 0, Timer, Act::FailOver, Suspect, true),
            (Suspect, true, 0, Answer, Act::FailBack, Okay, false),
            (Suspect, true, 0, Other, Act::FailBack, Okay, true),
            (Suspect, true, 0, Timer, Act::Close, Suspect, true),
            (Reopen, true, 0, Answer, Act::Send, Reopen, true),
            (Reopen, true, 2, Answer, Act::FailBack, Okay, false),
            (Reopen, true, 0, Other, Act::Nothing, Reopen, true),
            (Reopen, true, 0, Timer, Act::Nothing, Reopen, true),
            (Reopen, true, -1, Timer, Act::Close, Reopen, true),
            (Reopen, false, 0, Timer, Act::Send, Reopen, true),
        ];
        for (row, (health, pending, answered, event, act, then, then_pending)) in
            rows.into_iter().enumerate()
        {
            let interval = Duration::from_secs(30);
            let mut dog =
                Watchdog { health, pending, answered, interval, at: Instant::EPOCH, heard: None };
            let now = Instant::from_secs(100);
            let got = match event {
                Answer => dog.on_received(true, now, &mut ids()),
                Other => dog.on_received(false, now, &mut ids()),
                Timer => dog.on_timer(now, &mut ids()),
            };
            assert_eq!((got, dog.health, dog.pending), (act, then, then_pending), "row {row}");
        }
    }

    #[test]
    fn the_timer_stays_within_two_seconds_of_tw() {
        let mut ids = ids();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let dog = Watchdog::start(Duration::from_secs(30), false, Instant::EPOCH, &mut ids);
            assert!(dog.at() >= Instant::from_secs(28) && dog.at() <= Instant::from_secs(32));
            seen.insert(dog.at());
        }
        assert!(seen.len() > 100);
    }

    #[test]
    fn a_message_puts_the_timer_back_to_tw_after_it() {
        let (interval, start) = (Duration::from_secs(30), Instant::from_secs(100));
        let mut dog = Watchdog::start(interval, false, start, &mut ids());
        let heard = start + Duration::from_secs(20);
        assert_eq!(dog.on_received(false, heard, &mut ids()), Act::Nothing);

        let first = dog.at();
        assert_eq!(dog.on_timer(first, &mut ids()), Act::Nothing);
        let second = dog.at();
        assert!(second >= heard + Duration::from_secs(28));
        assert!(second <= heard + Duration::from_secs(32));

        assert_eq!(dog.on_timer(second, &mut ids()), Act::Send);
    }
}
