//! How much new work a node takes: as much as it gets to in time, and at most so much a second
//! (TS 24.229 §4.12). What is over that the role is told, which knows what may be refused: no
//! emergency, and nothing that continues what is there.

use super::state::Core;
use crate::clause::own;
use crate::role::{Incoming, RequestKind};
use crate::sip::HeaderName;
use crate::time::{Duration, Instant};

/// When new work is too much. Without a bound nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadLimit {
    /// How long a message may have waited before the node came to it.
    pub latency: Option<Duration>,
    /// Requests outside dialogs a second.
    pub rate: Option<u32>,
}

/// How many requests may come at once before the rate counts: those of so long a time.
const BURST: Duration = Duration::from_millis(250);

/// What a node measures of its load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    limit: LoadLimit,
    /// How long the message in hand had to wait.
    waited: Duration,
    /// When the requests taken so far would all have come, had they kept to the rate.
    even_at: Instant,
}

impl Load {
    pub(super) const fn new(limit: LoadLimit) -> Self {
        Self { limit, waited: Duration::ZERO, even_at: Instant::EPOCH }
    }

    /// A message is taken in hand that arrived then.
    pub(super) const fn taken(&mut self, now: Instant, received_at: Instant) {
        self.waited = now.since(received_at);
    }

    /// Why no new work is taken now; one request less is free otherwise. What others have worked on
    /// already has `twice` the room: refusing it wastes more, and where a call passes a node a
    /// second time its callers would leave no room for the called.
    fn excess(&mut self, now: Instant, twice: bool) -> Option<String> {
        let room = |time: Duration| if twice { time * 2 } else { time };
        if let Some(latency) = self.limit.latency.map(room).filter(|room| self.waited > *room) {
            return Some(format!("it waited {:?}, more than {latency:?}", self.waited));
        }
        let rate = self.limit.rate?;
        if self.even_at > now + room(BURST) {
            return Some(format!("more than {rate} requests a second"));
        }
        self.even_at =
            self.even_at.max(now) + Duration::from_nanos(1_000_000_000 / u64::from(rate.max(1)));
        None
    }
}

impl Core {
    /// The Retry-After for this request if it is new work and there is too much; `None` too where
    /// nothing limits it.
    pub(super) fn load_of(&mut self, now: Instant, incoming: &Incoming) -> Option<u32> {
        if incoming.kind != RequestKind::Initial {
            return None;
        }
        let has_travelled = incoming.request.headers.values(HeaderName::Via).count() > 1;
        let why = self.load.excess(now, has_travelled)?;
        self.note(now, own("load"), || format!("{}: {why}", incoming.request.method));
        u32::try_from(self.settings.limits.retry_after.as_secs()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn what_waited_too_long_is_too_much() {
        let latency = Some(Duration::from_millis(20));
        let mut load = Load::new(LoadLimit { latency, rate: None });
        for (waited, too_much) in [(0, false), (20, false), (21, true), (3, false)] {
            load.taken(at(1_000 + waited), at(1_000));
            assert_eq!(load.excess(at(2_000), false).is_some(), too_much, "{waited} ms");
        }
    }

    #[test]
    fn a_rate_is_kept_over_any_time_longer_than_a_burst() {
        let mut load = Load::new(LoadLimit { latency: None, rate: Some(100) });
        let took =
            (0..10_000_u64).filter(|millis| load.excess(at(*millis), false).is_none()).count();
        assert!((1_000..=1_026).contains(&took), "{took} in ten seconds");
        // After a pause it is no more than a burst.
        let took = (0..1_000).filter(|_| load.excess(at(60_000), false).is_none()).count();
        assert!((25..=26).contains(&took), "{took} at once");
    }

    #[test]
    fn what_has_travelled_finds_room_where_a_first_hop_finds_none() {
        let mut load = Load::new(LoadLimit { latency: None, rate: Some(100) });
        while load.excess(at(0), false).is_none() {}
        assert_eq!(load.excess(at(0), true), None);
        let latency = Some(Duration::from_millis(20));
        let mut load = Load::new(LoadLimit { latency, rate: None });
        load.taken(at(30), at(0));
        assert!(load.excess(at(30), false).is_some());
        assert_eq!(load.excess(at(30), true), None);
    }

    #[test]
    fn without_a_bound_nothing_is_too_much() {
        let mut load = Load::new(LoadLimit::default());
        load.taken(at(9_000), at(0));
        assert!((0..1_000).all(|_| load.excess(at(9_000), false).is_none()));
    }
}
