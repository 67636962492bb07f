//! Whether a node takes new work: what the operator has ordered, and what the node finds itself
//! (TS 24.229 §4.12). What new work is, each role knows.

use super::{Order, OrderAnswer};

/// The Retry-After, in seconds, of a node that is being emptied.
const DRAIN_RETRY_AFTER: u32 = 60;

/// Why a node takes no new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has too much to do, or is to behave so.
    Overloaded,
    /// It is being emptied for maintenance.
    Drained,
}

impl Refused {
    /// The reason in a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Drained => "being emptied for maintenance",
        }
    }

    /// The order that takes it back.
    #[must_use]
    pub const fn order(self) -> &'static str {
        match self {
            Self::Overloaded => "overload",
            Self::Drained => "drain",
        }
    }
}

/// Whether new work is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The Retry-After in seconds while the operator says that there is too much of it.
    pub ordered: Option<u32>,
    /// The same as the node finds it for the request in hand.
    pub measured: Option<u32>,
    /// Whether the node is being emptied.
    pub draining: bool,
}

impl Workload {
    /// Whatever comes is taken.
    pub const NONE: Self = Self { ordered: None, measured: None, draining: false };

    /// The Retry-After in seconds while there is too much to do.
    #[must_use]
    pub fn overload(&self) -> Option<u32> {
        self.ordered.or(self.measured)
    }

    /// Why new work gets 503 now, and the Retry-After, in seconds.
    #[must_use]
    pub fn refusal(&self) -> Option<(Refused, u32)> {
        let overload = self.overload().map(|after| (Refused::Overloaded, after));
        overload.or(self.draining.then_some((Refused::Drained, DRAIN_RETRY_AFTER)))
    }

    /// Obeys an order to take no new work, or to take it again; `None` for other orders.
    pub fn obey(&mut self, order: &Order) -> Option<OrderAnswer> {
        let text = match order {
            Order::Drain { on, .. } => {
                self.draining = *on;
                if *on { "new work is sent elsewhere" } else { "new work is taken" }.to_owned()
            }
            Order::Overload { retry_after, .. } => {
                self.ordered = *retry_after;
                retry_after.map_or_else(
                    || "new work is taken".to_owned(),
                    |time| format!("new work gets 503, Retry-After {time} s"),
                )
            }
            _ => return None,
        };
        Some(OrderAnswer::Done(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_goes_before_what_is_measured_and_both_before_maintenance() {
        let none = Workload::default();
        let drained = Workload { draining: true, ..none };
        let measured = Workload { measured: Some(5), ..drained };
        let ordered = Workload { ordered: Some(30), ..measured };
        let refusals = [none, drained, measured, ordered].map(|it| it.refusal());
        let of = |why, after| Some((why, after));
        let expected = [
            None,
            of(Refused::Drained, 60),
            of(Refused::Overloaded, 5),
            of(Refused::Overloaded, 30),
        ];
        assert_eq!(refusals, expected);
    }
}
