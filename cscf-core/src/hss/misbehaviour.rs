//! What the HSS does wrong on purpose, so that those who ask it can be tested: it refuses, is
//! silent, late or not to be understood, for some questions or until it is told otherwise.

use crate::cx::{CxAnswer, CxCommand, CxResult, Maa, ServerAnswer};
use crate::hss::assignment::bare_saa;
use crate::time::Duration;

/// The most orders kept at once.
const ORDERS_MAX: usize = 32;

/// What the HSS does instead of what TS 29.228 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Answers with this result and no data; nothing in the store changes.
    Answer(CxResult),
    /// Answers an MAR with vectors whose MAC-A is wrong: the USIM finds a foreign network
    /// (TS 33.102 §6.3.3).
    BadMac,
    /// Answers success with data nobody can read: capabilities, items or profile are no AVPs, no
    /// XML.
    GarbledData,
    /// Answers with a right header and AVPs that are none.
    Garbage,
    /// Answers as it should, so much later.
    Late(Duration),
    /// Answers an MAR with vectors whose sequence number was used before: the USIM asks to
    /// resynchronise (TS 33.102 §6.3.3).
    OldSqn,
    /// Does not answer; nothing in the store changes.
    Silent,
}

/// An order: which questions, what with them, how often.
#[derive(Clone, Debug)]
struct Order {
    command: Option<CxCommand>,
    how: Misbehaviour,
    left: Option<u32>,
}

/// The orders in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders(Vec<Order>);

impl Orders {
    /// Adds an order, in place of an older one for the same questions. With more orders than the
    /// limit the oldest goes.
    pub(super) fn add(
        &mut self,
        command: Option<CxCommand>,
        how: Misbehaviour,
        times: Option<u32>,
    ) {
        self.0.retain(|order| order.command != command);
        if self.0.len() >= ORDERS_MAX {
            self.0.remove(0);
        }
        self.0.push(Order { command, how, left: times });
    }

    /// The HSS behaves again.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What is to be done with the next question of this kind; counts it. An order for this kind
    /// goes before one for all.
    pub(super) fn next(&mut self, command: CxCommand) -> Option<Misbehaviour> {
        let of = |wanted: Option<CxCommand>| {
            self.0.iter().position(|order| order.command == wanted && order.left != Some(0))
        };
        let at = of(Some(command)).or_else(|| of(None))?;
        let order = self.0.get_mut(at)?;
        if let Some(left) = &mut order.left {
            *left -= 1;
        }
        let how = order.how;
        self.0.retain(|order| order.left != Some(0));
        Some(how)
    }
}

/// An answer that has nothing but its result.
pub(super) fn bare_answer(command: CxCommand, result: CxResult) -> CxAnswer {
    match command {
        CxCommand::Lir | CxCommand::Uar => CxAnswer::Server(ServerAnswer {
            result,
            server_name: None,
            capabilities: None,
            wildcard: None,
        }),
        CxCommand::Mar => CxAnswer::Maa(Maa { result, items: Vec::new() }),
        CxCommand::Sar => CxAnswer::Saa(bare_saa(result)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_counts_and_the_more_precise_one_goes_first() {
        let mut orders = Orders::default();
        orders.add(None, Misbehaviour::Silent, None);
        orders.add(Some(CxCommand::Mar), Misbehaviour::BadMac, Some(2));
        let next = |orders: &mut Orders| orders.next(CxCommand::Mar);
        assert_eq!(next(&mut orders), Some(Misbehaviour::BadMac));
        assert_eq!(orders.next(CxCommand::Uar), Some(Misbehaviour::Silent));
        assert_eq!(next(&mut orders), Some(Misbehaviour::BadMac));
        assert_eq!(next(&mut orders), Some(Misbehaviour::Silent));
        orders.add(None, Misbehaviour::Garbage, Some(1));
        assert_eq!(next(&mut orders), Some(Misbehaviour::Garbage));
        assert_eq!(next(&mut orders), None);
        orders.add(None, Misbehaviour::Silent, Some(0));
        assert_eq!(next(&mut orders), None);
    }
}
