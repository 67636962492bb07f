//! Orders of the operator on their way to a node process and its answers on their way back: a line
//! `order NUMBER TEXT` on its standard input, a JSON line on its standard output.

use serde::{Deserialize, Serialize};

use crate::operator::{Order, OrderAnswer, OrderError, OrderResult, Table};

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
