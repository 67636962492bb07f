//! The control interface of `cscf up`: HTTP with JSON on one address, by which orders reach the
//! nodes of a running lab; and the client that `cscf ctl` and `cscf why` are. `docs/control.md`
//! lists what it understands.

pub mod client;
pub mod server;

use cscf_core::operator::{OrderAnswer, OrderError, OrderResult, Table};
use serde_json::{Map, Value, json};

/// An answer with its HTTP status.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Reply {
    /// A refusal with what to do instead.
    #[must_use]
    pub fn error(status: u16, error: &str, hint: &str) -> Self {
        Self { status, body: json!({"error": error, "hint": hint}) }
    }
}

/// What nodes answered, as JSON.
#[must_use]
pub fn reply_of(answer: &OrderResult) -> Reply {
    match answer {
        Ok(OrderAnswer::Done(text)) => Reply { status: 200, body: json!({"done": text}) },
        Ok(OrderAnswer::Table(table)) => Reply { status: 200, body: table_json(table) },
        Err(OrderError::NotHere) => {
            Reply::error(409, "no node of this lab has a part in such an order", "see `/`")
        }
        Err(OrderError::Refused(text)) => {
            let hint = "`cscf ctl show registrations` and `show subscribers` tell who is where";
            Reply::error(409, text, hint)
        }
    }
}

/// Columns in their order, and each row as an object.
fn table_json(table: &Table) -> Value {
    let object = |row: &Vec<String>| {
        let pairs = table.columns.iter().cloned().zip(row.iter().cloned().map(Value::String));
        Value::Object(pairs.collect::<Map<_, _>>())
    };
    let rows: Vec<Value> = table.rows.iter().map(object).collect();
    json!({"columns": table.columns, "rows": rows})
}

/// Reads an answer back; `None` if the body is none.
#[must_use]
pub fn answer_of(reply: &Reply) -> Option<OrderResult> {
    let text = |key: &str| reply.body.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(error) = text("error") {
        return Some(Err(OrderError::Refused(error)));
    }
    if let Some(done) = text("done") {
        return Some(Ok(OrderAnswer::Done(done)));
    }
    let columns: Vec<String> = serde_json::from_value(reply.body.get("columns")?.clone()).ok()?;
    let rows = reply.body.get("rows")?.as_array()?;
    let cell = |row: &Value, name: &String| {
        row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let rows = rows.iter().map(|row| columns.iter().map(|name| cell(row, name)).collect());
    let rows = rows.collect();
    Some(Ok(OrderAnswer::Table(Table { columns, rows })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_travel_as_json() {
        let mut table = Table::new(&["node", "impi"]);
        table.push(["s1".into(), "alice".into()]);
        for answer in [
            Ok(OrderAnswer::done("s1: done")),
            Ok(OrderAnswer::Table(table)),
            Err(OrderError::refused("s1: no")),
        ] {
            assert_eq!(answer_of(&reply_of(&answer)), Some(answer));
        }
        assert_eq!(reply_of(&Err(OrderError::NotHere)).status, 409);
    }
}
