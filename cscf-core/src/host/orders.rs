//! Orders of the operator on their way to a node process and its answers on their way back: a line
//! `order NUMBER TEXT` on its standard input, a JSON line on its standard output.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::protected::Protected;
use super::{Clock, Handle, log};
use crate::config::{Lab, NodeConfig};
use crate::engine::Node;
use crate::hss::Provisioning;
use crate::operator::{
    Order, OrderAnswer, OrderError, OrderResult, Samples, Show, SubscriberChange, Table,
};
use crate::time::Instant;

/// A running node as orders reach it: what only its process knows is answered here.
#[derive(Clone, Debug)]
pub struct Obedient {
    node: Handle<Box<dyn Node>>,
    lab: Arc<Lab>,
    domain: String,
    clock: Clock,
    started_at: Instant,
}

impl Obedient {
    /// A node of a lab that has just been started.
    #[must_use]
    pub fn new(
        node: Handle<Box<dyn Node>>,
        lab: Arc<Lab>,
        config: &NodeConfig,
        clock: Clock,
    ) -> Self {
        let (domain, started_at) = (lab.domain_of(config).to_owned(), clock.now());
        Self { node, lab, domain, clock, started_at }
    }

    /// Obeys an order.
    ///
    /// # Errors
    ///
    /// As [`Node::order`].
    pub async fn obey(&self, order: &Order) -> OrderResult {
        match order {
            Order::Log { filter, .. } => logged(filter.as_deref()),
            Order::Subscriber { name, change } => self.provision(name, change).await,
            Order::Show { what: Show::Keys, .. } => Ok(self.keys().await),
            _ => {
                let asked = order.clone();
                let answer = self.ask(move |node, now| node.order(now, &asked)).await?;
                let dropped = match order {
                    Order::Show { what: Show::Metrics, .. } => self.node.protected().await,
                    _ => None,
                };
                Ok(self.completed(order, answer, &dropped.unwrap_or_default()))
            }
        }
    }

    async fn ask(
        &self,
        question: impl FnOnce(&mut Box<dyn Node>, Instant) -> OrderResult + Send + 'static,
    ) -> OrderResult {
        let answer = self.node.ask(question).await;
        answer.unwrap_or_else(|| Err(OrderError::refused("it has ended")))
    }

    async fn provision(&self, name: &str, change: &SubscriberChange) -> OrderResult {
        let read = |entry: &str| {
            let one = self.lab.subscriber_from(name, entry).map_err(OrderError::Refused)?;
            let its = self.lab.subscription_in(&self.domain, &one);
            its.map(Box::new).ok_or(OrderError::NotHere)
        };
        let impi = name.to_owned();
        let what = match change {
            SubscriberChange::Add(entry) => Provisioning::Add(read(entry)?),
            SubscriberChange::Change(entry) => {
                Provisioning::Change { impi, subscriber: read(entry)? }
            }
            SubscriberChange::Remove => Provisioning::Remove { impi },
        };
        self.ask(move |node, now| node.provision(now, what)).await
    }

    /// The keys of the associations that hold, and of the last ones that no longer do.
    async fn keys(&self) -> OrderAnswer {
        let mut table = Table::new(&["line"]);
        let protected = self.node.protected().await.unwrap_or_default();
        for line in protected.esp_sa() {
            table.push([line]);
        }
        OrderAnswer::Table(table)
    }

    /// Adds how long the node runs, and what its associations have dropped.
    fn completed(&self, order: &Order, answer: OrderAnswer, gm: &Protected) -> OrderAnswer {
        let OrderAnswer::Table(mut table) = answer else { return answer };
        let uptime = self.clock.now().since(self.started_at).as_secs();
        match order {
            Order::Show { what: Show::Health, .. } => {
                table.rows.push(vec!["uptime_s".to_owned(), uptime.to_string()]);
            }
            Order::Show { what: Show::Metrics, .. } => {
                let mut samples = Samples::default();
                samples.add("cscf_uptime_seconds", &[], uptime);
                for (cause, count) in &gm.dropped {
                    samples.add("cscf_esp_dropped", &[("cause", cause.as_str())], *count);
                }
                table.rows.extend(samples.into_table().rows);
            }
            _ => {}
        }
        OrderAnswer::Table(table)
    }
}

fn logged(filter: Option<&str>) -> OrderResult {
    if let Some(filter) = filter {
        log::change(filter).map_err(OrderError::Refused)?;
    }
    let mut table = Table::new(&["filter"]);
    table.push([log::chosen()]);
    Ok(OrderAnswer::Table(table))
}

/// An answer as a line.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Line {
    /// The number of the order.
    answer: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    done: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    columns: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rows: Option<Vec<Vec<String>>>,
}

/// The line that gives an order, without its end.
#[must_use]
pub fn order_line(number: u64, order: &Order) -> String {
    format!("order {number} {order}")
}

/// Reads an order. `None` if the line is none; an order that cannot be read is refused.
#[must_use]
pub fn read_order(line: &str) -> Option<(u64, Result<Order, String>)> {
    let (number, text) = line.strip_prefix("order ")?.split_once(' ')?;
    Some((number.parse().ok()?, text.parse()))
}

/// An answer as one line of JSON, without its end.
#[must_use]
pub fn answer_line(number: u64, answer: &OrderResult) -> String {
    let mut line = Line { answer: number, ..Line::default() };
    match answer.clone() {
        Ok(OrderAnswer::Done(text)) => line.done = Some(text),
        Ok(OrderAnswer::Table(Table { columns, rows })) => {
            (line.columns, line.rows) = (Some(columns), Some(rows));
        }
        Err(OrderError::NotHere) => {}
        Err(OrderError::Refused(text)) => line.refused = Some(text),
    }
    serde_json::to_string(&line).unwrap_or_default()
}

/// Reads an answer; `None` if the line is none.
#[must_use]
pub fn read_answer(line: &str) -> Option<(u64, OrderResult)> {
    if !line.starts_with("{\"answer\":") {
        return None;
    }
    let line: Line = serde_json::from_str(line).ok()?;
    let answer = match (line.done, line.refused, line.columns) {
        (Some(text), ..) => Ok(OrderAnswer::Done(text)),
        (None, Some(text), _) => Err(OrderError::Refused(text)),
        (None, None, Some(columns)) => {
            Ok(OrderAnswer::Table(Table { columns, rows: line.rows.unwrap_or_default() }))
        }
        (None, None, None) => Err(OrderError::NotHere),
    };
    Some((line.answer, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_answers_read_back_as_themselves() {
        let order: Order = "dereg alice --reason probation".parse().expect("an order");
        assert_eq!(read_order(&order_line(7, &order)), Some((7, Ok(order))));
        assert!(read_order("order 7 sing").is_some_and(|(_, order)| order.is_err()));
        assert_eq!(read_order("hello"), None);
        let mut table = Table::new(&["a"]);
        table.push(["1\n2".into()]);
        for answer in [
            Ok(OrderAnswer::done("yes")),
            Ok(OrderAnswer::Table(table)),
            Err(OrderError::NotHere),
            Err(OrderError::refused("no")),
        ] {
            let line = answer_line(3, &answer);
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(read_answer(&line), Some((3, answer)));
        }
        assert_eq!(read_answer("{\"at_ns\":1}"), None);
    }
}
