//! Orders about the rules of a node, and rules that last from a begin to an end.

use super::FaultEdge;
use crate::clause::own;
use crate::engine::{Node, orders};
use crate::fault::{Action, Hit, Kept, POLICY, Rule, Table as Rules};
use crate::hss::Provisioning;
use crate::operator::{
    FaultOrder, Order, OrderAnswer, OrderError, OrderResult, Show, SubscriberChange, Table,
};
use crate::trace::{Note, TraceKind};

/// The columns of `fault list`.
const COLUMNS: [&str; 3] = ["id", "hits", "rule"];

/// What a node that a rule has stopped says to orders.
pub(super) fn is_down() -> OrderError {
    OrderError::refused("it is down: a fault rule has stopped it")
}

impl<N: Node> FaultEdge<N> {
    pub(super) fn obey(&mut self, order: &Order) -> OrderResult {
        match order {
            Order::Fault(FaultOrder::Add(rule)) => self.add(rule, order),
            Order::Fault(FaultOrder::List) => {
                let mut rows = listed(&self.table);
                if let Ok(OrderAnswer::Table(more)) = self.node.order(self.now, order) {
                    rows.rows.extend(more.rows);
                }
                Ok(OrderAnswer::Table(rows))
            }
            Order::Fault(FaultOrder::Remove(which)) => self.remove(which, order),
            _ if self.down.is_some() => Err(is_down()),
            Order::Subscriber { name, change: SubscriberChange::Remove } => {
                let what = Provisioning::Remove { impi: name.clone() };
                Node::provision(self, self.now, what)
            }
            Order::Show { what: Show::Refusals, of } => {
                let own = orders::refusals(&self.refusals).only(of);
                match self.node.order(self.now, order) {
                    Ok(OrderAnswer::Table(mut table)) => {
                        table.rows.extend(own.rows);
                        Ok(OrderAnswer::Table(table))
                    }
                    other => other,
                }
            }
            _ => self.node.order(self.now, order),
        }
    }

    fn add(&mut self, rule: &Rule, order: &Order) -> OrderResult {
        if rule.node == POLICY {
            return self.node.order(self.now, order);
        }
        if *rule.node != *self.name {
            return Err(OrderError::NotHere);
        }
        if matches!(rule.action, Action::Crash { back_after: Some(_) }) && self.rebuild.is_none() {
            return Err(OrderError::refused("it cannot be started again from here"));
        }
        let lasts = matches!(rule.action, Action::Overload(_));
        if lasts && self.node.order(self.now, &overload(&self.name, None)).is_err() {
            return Err(OrderError::refused("it knows no overload; let it answer instead"));
        }
        let id = self.table.add(self.now, rule.clone());
        let id = id.map_err(|full| OrderError::refused(full.to_string()))?;
        self.wake();
        Ok(OrderAnswer::done(format!("{id}: {rule}")))
    }

    fn remove(&mut self, which: &str, order: &Order) -> OrderResult {
        let gone = self.table.remove(which);
        for kept in gone.iter().filter(|kept| kept.on) {
            let Kept { id, rule, .. } = kept;
            let (id, text, action) = (id.clone(), rule.text.clone(), rule.action.clone());
            self.turn(false, &Hit { id, text, action });
        }
        let below = self.node.order(self.now, order);
        removed(&gone).or(below)
    }

    /// Begins or ends what a rule does for a while.
    pub(super) fn turn(&mut self, on: bool, hit: &Hit) {
        let Action::Overload(seconds) = hit.action else { return };
        let order = overload(&self.name, on.then_some(seconds));
        let _ = self.node.order(self.now, &order);
        let text = hit.said(if on { "begins" } else { "ends" });
        self.trace(TraceKind::Note(Note::new(own("fault"), text, false)));
    }
}

fn overload(node: &str, retry_after: Option<u32>) -> Order {
    Order::Overload { node: node.to_owned(), retry_after }
}

/// The rules of a table with their counts.
pub(in crate::engine) fn listed(rules: &Rules) -> Table {
    let mut table = Table::new(&COLUMNS);
    for Kept { id, rule, hits, .. } in rules.iter() {
        table.push([id.clone(), hits.to_string(), rule.to_string()]);
    }
    table
}

/// What there is to say of rules that were taken away.
///
/// # Errors
///
/// There were none.
pub(in crate::engine) fn removed(gone: &[Kept]) -> OrderResult {
    let said: Vec<String> = gone.iter().map(|it| format!("{} removed", it.id)).collect();
    if said.is_empty() { Err(OrderError::NotHere) } else { Ok(OrderAnswer::done(said.join(", "))) }
}
