//! The control interface: HTTP with JSON on one address, by which an operator sees and orders
//! nodes. `cscf up` serves one for all its nodes, a node that runs by itself its own. What there is
//! stands in [`routes::ROUTES`]; `docs/openapi.yaml` describes it, `docs/control.md` explains it.

mod answers;
mod filter;
mod metrics;
pub mod routes;
pub mod server;
mod token;
mod trace;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use serde_json::{Map, Value, json};

pub use filter::TraceFilter;
pub use token::Token;
pub use trace::Tap;

use crate::config::{Lab, operate};
use crate::operator::{Order, OrderAnswer, OrderError, OrderResult, SubscriberChange, Table};

/// What a node will answer.
pub type Answering<'a> = Pin<Box<dyn Future<Output = OrderResult> + Send + 'a>>;

/// The way to nodes, by name.
pub trait Nodes: Send + Sync {
    /// Gives one node an order whose names are resolved.
    fn give<'a>(&'a self, node: &'a str, order: &'a Order) -> Answering<'a>;
}

/// Waits for the answers of several nodes at once; they come in the order of the questions. One
/// that is slow holds up nobody else's.
pub async fn all<T>(questions: Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> Vec<T> {
    let mut open: Vec<(_, Option<T>)> = questions.into_iter().map(|it| (it, None)).collect();
    std::future::poll_fn(|context| {
        let mut waits = false;
        for (question, answer) in &mut open {
            if answer.is_none() {
                match question.as_mut().poll(context) {
                    Poll::Ready(told) => *answer = Some(told),
                    Poll::Pending => waits = true,
                }
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    open.into_iter().filter_map(|(_, answer)| answer).collect()
}

/// What a control interface serves.
pub struct Control {
    lab: Mutex<Arc<Lab>>,
    /// The nodes that can be reached here.
    served: BTreeSet<String>,
    nodes: Box<dyn Nodes>,
    /// Where it listens.
    addr: SocketAddr,
    token: Option<Token>,
    /// The trace; none where none is made.
    tap: Option<Tap>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Control {
    /// Serves these nodes of a lab at this address. Without a token whoever reaches the address
    /// controls them.
    #[must_use]
    pub fn new(lab: Arc<Lab>, served: &[&str], nodes: Box<dyn Nodes>, addr: SocketAddr) -> Self {
        let served = served.iter().map(|name| (*name).to_owned()).collect();
        Self { lab: Mutex::new(lab), served, nodes, addr, token: None, tap: None }
    }

    /// With a token that each request must have.
    #[must_use]
    pub fn with_token(self, token: Option<Token>) -> Self {
        Self { token, ..self }
    }

    /// With the trace of the nodes.
    #[must_use]
    pub fn with_trace(self, tap: Option<Tap>) -> Self {
        Self { tap, ..self }
    }

    /// The lab as it is now.
    fn lab(&self) -> Arc<Lab> {
        let lab = self.lab.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(&lab)
    }

    /// Gives an order to every node here that may have a part in it: those that have in a whole
    /// lab, else all.
    ///
    /// # Errors
    ///
    /// As the nodes'.
    async fn order(&self, lab: &Lab, order: &Order) -> OrderResult {
        let mut targets = operate::targets(lab, order);
        targets.retain(|name| self.served.contains(name));
        if targets.is_empty() {
            targets.extend(self.served.iter().cloned());
        }
        let answers = all(targets.iter().map(|name| self.nodes.give(name, order)).collect()).await;
        let answer = operate::combine(targets.into_iter().zip(answers).collect());
        self.keep_in_mind(order, &answer);
        answer
    }

    /// What an order has changed of the lab, if it has.
    fn keep_in_mind(&self, order: &Order, answer: &OrderResult) {
        if let (Order::Subscriber { name, change }, Ok(_)) = (order, answer) {
            self.changed(name, change);
        }
    }

    /// Keeps in mind what the HSS has changed, so that names mean the same here.
    fn changed(&self, name: &str, change: &SubscriberChange) {
        let mut lab = self.lab.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A new one is given by its name, one that is known by its private identity.
        let is_new = matches!(change, SubscriberChange::Add(_));
        let subscribers = &lab.subscribers;
        let at = match is_new {
            true => subscribers.place_named(name),
            false => subscribers.place_of_impi(name),
        };
        let known = at.and_then(|at| subscribers.get(at));
        let name = known.as_ref().map_or(name, |known| known.name.as_str());
        let new = match change {
            SubscriberChange::Add(entry) | SubscriberChange::Change(entry) => {
                lab.subscriber_from(name, entry).ok()
            }
            SubscriberChange::Remove => None,
        };
        drop(known);
        let subscribers = &mut Arc::make_mut(&mut lab).subscribers;
        match (at, new) {
            (Some(at), new) => subscribers.replace(at, new),
            (None, Some(new)) => subscribers.push(new),
            (None, None) => {}
        }
    }
}

/// An answer with its HTTP status.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Reply {
    /// What was asked for.
    #[must_use]
    pub const fn ok(body: Value) -> Self {
        Self { status: 200, body }
    }

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
        Ok(OrderAnswer::Done(text)) => Reply::ok(json!({"done": text})),
        Ok(OrderAnswer::Table(table)) => Reply::ok(table_json(table)),
        Err(OrderError::NotHere) => {
            Reply::error(409, "no node here has a part in such an order", "see `/`")
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
    fn nodes_are_asked_at_once_and_answer_in_their_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (tell, told) = tokio::sync::oneshot::channel::<&str>();
        // The first cannot answer before the second has.
        let questions: Vec<Pin<Box<dyn Future<Output = &str> + Send>>> = vec![
            Box::pin(async { told.await.expect("told") }),
            Box::pin(async {
                tell.send("first").expect("heard");
                "second"
            }),
        ];
        assert_eq!(runtime.block_on(all(questions)), ["first", "second"]);
    }

    struct Nobody;

    impl Nodes for Nobody {
        fn give<'a>(&'a self, _: &'a str, _: &'a Order) -> Answering<'a> {
            Box::pin(async { Err(OrderError::NotHere) })
        }
    }

    #[test]
    fn a_new_subscriber_replaces_none_that_has_its_name_as_private_identity() {
        let mut lab = Lab::default_lab();
        let mut entry = lab.subscriber("alice").expect("alice").entry();
        let bob =
            lab.subscribers.listed_mut().iter_mut().find(|one| one.name == "bob").expect("bob");
        bob.impi = "erin".to_owned();
        let count = lab.subscribers.count();
        let addr = "127.0.0.1:9480".parse().expect("address");
        let control = Control::new(Arc::new(lab), &["hss"], Box::new(Nobody), addr);
        entry.insert("impi".to_owned(), "new".into());
        control.changed("erin", &SubscriberChange::Add(Value::Object(entry).to_string()));
        let lab = control.lab();
        assert_eq!(lab.subscribers.count(), count + 1);
        assert!(lab.subscriber("bob").is_some() && lab.subscriber("erin").is_some());
    }

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
