//! Events of several processes in the order of their times: each is held back until what another
//! process tells a little later cannot come before it any more.

use std::collections::BTreeMap;

use cscf_core::time::{Duration, Instant};
use cscf_core::trace::TraceEvent;

/// How much later than others a process may tell what happened.
const HELD_FOR: Duration = Duration::from_millis(100);
/// Events held back at most.
const HELD_MAX: usize = 10_000;

/// Events that are held back.
#[derive(Debug, Default)]
pub struct InOrder {
    held: BTreeMap<(Instant, u64), TraceEvent>,
    count: u64,
    latest: Instant,
}

impl InOrder {
    /// Takes an event; gives out those whose turn has come.
    pub fn event(&mut self, event: &TraceEvent) -> Vec<TraceEvent> {
        self.count += 1;
        self.latest = self.latest.max(event.at);
        self.held.insert((event.at, self.count), event.clone());
        let mut out = Vec::new();
        while let Some(first) = self.held.first_entry() {
            if self.latest.since(first.key().0) < HELD_FOR {
                break;
            }
            out.push(first.remove());
        }
        while self.held.len() > HELD_MAX
            && let Some((_, event)) = self.held.pop_first()
        {
            out.push(event);
        }
        out
    }

    /// Gives out the rest: nothing has come for a while.
    pub fn rest(&mut self) -> Vec<TraceEvent> {
        std::mem::take(&mut self.held).into_values().collect()
    }

    /// Whether any is held back.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use cscf_core::trace::TraceKind;

    use super::*;

    #[test]
    fn what_is_told_late_comes_in_its_order() {
        let event = |millis| {
            let kind = TraceKind::State(format!("{millis}"));
            TraceEvent { at: Instant::from_millis(millis), node: "p1".into(), kind }
        };
        let times = |events: Vec<TraceEvent>| -> Vec<u64> {
            events.iter().map(|it| it.at.as_nanos() / 1_000_000).collect()
        };
        let mut order = InOrder::default();
        assert_eq!(times(order.event(&event(20))), [0; 0]);
        assert_eq!(times(order.event(&event(10))), [0; 0]);
        assert_eq!(times(order.event(&event(125))), [10, 20]);
        assert!(order.holds());
        assert_eq!(times(order.rest()), [125]);
        assert!(!order.holds());
        for number in 0..20_000 {
            order.event(&event(1_000 + number % 50));
        }
        assert_eq!(order.rest().len(), HELD_MAX);
    }
}
