//! What each route answers: orders to nodes, and their answers as JSON or text.

use serde_json::{Map, Value, json};

use super::filter::TraceFilter;
use super::routes::{Does, Found, ROUTES, query};
use super::server::{Said, Stay, Turns};
use super::{Control, Reply, all, metrics, reply_of};
use crate::config::{Lab, NodeConfig, SubscriberConfig, nearest, operate};
use crate::operator::{
    FaultOrder, Order, OrderAnswer, OrderError, OrderResult, Show, SubscriberChange, Table, USAGE,
};

/// The description of this interface.
const OPENAPI: &str = include_str!("../../../../docs/openapi.yaml");

/// What one request is about.
struct Asked<'a> {
    lab: &'a Lab,
    /// The one node; none: all that are served.
    node: Option<&'a str>,
    found: &'a Found,
    query: Option<&'a str>,
    body: &'a Value,
}

impl Asked<'_> {
    /// A text of the body.
    fn text(&self, key: &str, example: &str) -> Result<&str, Reply> {
        let hint = format!("e.g. {example}");
        let missing = || Reply::error(400, &format!("there is no text under `{key}`"), &hint);
        self.body.get(key).and_then(Value::as_str).ok_or_else(missing)
    }

    fn part(&self, name: &str) -> &str {
        self.found.part(name).unwrap_or_default()
    }
}

impl Control {
    /// Answers a request that has a route.
    pub(super) async fn answer(
        &self,
        found: &Found,
        query: Option<&str>,
        body: &Value,
        (stay, turns): (&Stay, &Turns),
    ) -> Said {
        let lab = self.lab();
        let node = found.part("node");
        if let Some(name) = node.filter(|name| !self.served.contains(*name)) {
            return no_such("node", name, self.served.iter().map(String::as_str)).into();
        }
        let asked = Asked { lab: &lab, node, found, query, body };
        match found.does {
            Does::Contents => contents().into(),
            Does::OpenApiYaml => Said::Text("application/yaml", OPENAPI.to_owned()),
            Does::OpenApiJson => openapi_json().into(),
            Does::Lab => self.told_lab(&lab).into(),
            Does::Nodes => {
                let all = lab.nodes.iter().filter(|node| self.served.contains(&node.name));
                Reply::ok(json!({"nodes": all.map(told_node).collect::<Vec<_>>()})).into()
            }
            Does::Node => {
                let node = asked.node.and_then(|name| lab.node_named(name));
                node.map_or_else(
                    || Reply::error(404, "no such node", ""),
                    |node| Reply::ok(told_node(node)),
                )
                .into()
            }
            Does::Health => self.health(&asked).await.into(),
            Does::Metrics => self.metrics(&asked).await,
            Does::Trace => self.trace(&asked, stay, turns),
            Does::Subscriber => subscriber(&asked).into(),
            _ => self.by_order(&asked).await.into(),
        }
    }

    /// What is an order in another form.
    async fn by_order(&self, asked: &Asked<'_>) -> Reply {
        match order_of(asked) {
            Ok(text) => self.obey(asked, &text).await,
            Err(reply) => reply,
        }
    }

    async fn obey(&self, asked: &Asked<'_>, text: &str) -> Reply {
        // Orders reach other processes as lines.
        if text.contains(['\n', '\r']) {
            return Reply::error(400, "an order is one line", "docs/control.md lists the orders");
        }
        let order: Order = match text.parse() {
            Ok(order) => order,
            Err(fault) => return Reply::error(400, &fault, "docs/control.md lists the orders"),
        };
        let order = match operate::resolve(asked.lab, &[], &order) {
            Ok(order) => order,
            Err(fault) => {
                return Reply::error(404, &fault, "GET /subscribers and /lab have the names");
            }
        };
        if let Err(reply) = Self::is_possible(asked.lab, &order) {
            return reply;
        }
        match (&order, self.give(asked, &order).await) {
            (Order::Fault(FaultOrder::Remove(which)), Err(OrderError::NotHere)) => {
                let error = match which.as_str() {
                    "all" => "there is no fault rule here".to_owned(),
                    which => format!("there is no fault rule `{which}` here"),
                };
                Reply::error(404, &error, "`cscf ctl fault list`, or GET /faults, has them")
            }
            (_, answer) => reply_of(&answer),
        }
    }

    /// An order to the one node that the path names, or to all that have a part in it.
    async fn give(&self, asked: &Asked<'_>, order: &Order) -> OrderResult {
        match asked.node {
            None => self.order(asked.lab, order).await,
            Some(name) => {
                let answer = self.nodes.give(name, order).await;
                let answer = operate::combine(vec![(name.to_owned(), answer)]);
                self.keep_in_mind(order, &answer);
                answer
            }
        }
    }

    /// What only this side can see is wrong with an order about a subscriber.
    fn is_possible(lab: &Lab, order: &Order) -> Result<(), Reply> {
        let Order::Subscriber { name, change } = order else { return Ok(()) };
        let entry = match change {
            SubscriberChange::Add(_) if lab.subscriber(name).is_some() => {
                let hint = "PATCH /subscribers/NAME, or `subscriber change`, changes it";
                return Err(Reply::error(409, &format!("there is a subscriber `{name}`"), hint));
            }
            SubscriberChange::Add(entry) | SubscriberChange::Change(entry) => Some(entry),
            SubscriberChange::Remove => None,
        };
        match entry.map(|entry| lab.subscriber_from(name, entry)) {
            Some(Err(fault)) => {
                Err(Reply::error(400, &fault, "the keys are those of docs/lab-file.md"))
            }
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// How each node is. A node that does not answer is `down`.
    async fn health(&self, asked: &Asked<'_>) -> Reply {
        let order = Order::Show { what: Show::Health, of: Vec::new() };
        let meant = || asked.lab.nodes.iter().filter(|node| self.is_meant(asked, &node.name));
        let answers = meant().map(|node| self.nodes.give(&node.name, &order)).collect();
        let answers = all(answers).await;
        let mut nodes: Vec<Value> =
            meant().zip(&answers).map(|(node, answer)| told_health(node, answer)).collect();
        let is = |state: &str| nodes.iter().any(|node| node["state"] == state);
        let state = ["down", "overloaded", "draining"].into_iter().find(|state| is(state));
        let status = if is("down") { 503 } else { 200 };
        match (asked.node, nodes.pop()) {
            (Some(_), Some(node)) => Reply { status, body: node },
            (_, last) => {
                nodes.extend(last);
                let body = json!({"state": state.unwrap_or("up"), "nodes": nodes});
                Reply { status, body }
            }
        }
    }

    fn is_meant(&self, asked: &Asked<'_>, name: &str) -> bool {
        self.served.contains(name) && asked.node.is_none_or(|node| node == name)
    }

    async fn metrics(&self, asked: &Asked<'_>) -> Said {
        let order = Order::Show { what: Show::Metrics, of: Vec::new() };
        match self.give(asked, &order).await {
            Ok(OrderAnswer::Table(table)) => Said::Text(metrics::MEDIA_TYPE, metrics::text(&table)),
            other => reply_of(&other).into(),
        }
    }

    fn trace(&self, asked: &Asked<'_>, stay: &Stay, turns: &Turns) -> Said {
        let Some(tap) = &self.tap else {
            let hint = "start it without --quiet";
            return Reply::error(409, "no trace is made", hint).into();
        };
        let filter = match self.filter(asked) {
            Ok(filter) => filter,
            Err(reply) => return reply.into(),
        };
        let Ok(turn) = std::sync::Arc::clone(&turns.readers).try_acquire_owned() else {
            let hint = "end one of the others";
            return Reply::error(503, "too many read the trace already", hint).into();
        };
        stay.reads();
        Said::Trace(tap.read(filter, std::sync::Arc::clone(&stay.stalled)).with_turn(turn))
    }

    fn filter(&self, asked: &Asked<'_>) -> Result<TraceFilter, Reply> {
        let mut filter = TraceFilter::all();
        let lab = asked.lab;
        if let Some(user) = query(asked.query, "user") {
            let person = operate::Person::find(lab, &user).ok_or_else(|| nobody(lab, &user))?;
            filter = filter.of_user(&person.name, person.identities());
        }
        let node = asked.node.map(str::to_owned).or_else(|| query(asked.query, "node"));
        if let Some(node) = node {
            // Emulated phones are nodes, too.
            if !self.served.contains(&node) && lab.subscriber(&node).is_none() {
                return Err(no_such("node", &node, self.served.iter().map(String::as_str)));
            }
            filter = filter.of_node(&node);
        }
        if let Some(method) = query(asked.query, "method") {
            filter = filter.of_method(&method);
        }
        Ok(filter)
    }

    fn told_lab(&self, lab: &Lab) -> Reply {
        let served = lab.nodes.iter().filter(|node| self.served.contains(&node.name));
        let nodes: Vec<Value> = served.map(told_node).collect();
        let (domain, subscribers) = (&lab.domain, lab.subscribers.count());
        Reply::ok(json!({"domain": domain, "nodes": nodes, "subscribers": subscribers}))
    }
}

/// The order that a request means.
fn order_of(asked: &Asked<'_>) -> Result<String, Reply> {
    let of = || query(asked.query, "of").unwrap_or_default();
    let node = asked.node.unwrap_or_default();
    Ok(match asked.found.does {
        Does::Order => asked.text("order", "{\"order\": \"dereg alice\"}")?.to_owned(),
        Does::Why => format!("show refusals {}", asked.part("user")),
        Does::Faults => "fault list".to_owned(),
        Does::AddFault => {
            let rule = asked.text("rule", "{\"rule\": \"p1 answers INVITE with 503\"}")?;
            format!("fault add {rule}")
        }
        Does::RemoveFault => format!("fault remove {}", asked.part("fault")),
        Does::Log => format!("log {node}"),
        Does::SetLog => {
            let filter = asked.text("filter", "{\"filter\": \"debug\"}")?;
            if filter.is_empty() || filter.contains(char::is_whitespace) {
                let error = "a filter has no white space";
                return Err(Reply::error(400, error, "e.g. debug, off, cscf_core=debug,warn"));
            }
            format!("log {node} {filter}")
        }
        Does::Drain => match asked.body.get("drain").and_then(Value::as_bool) {
            Some(true) => format!("drain {node}"),
            Some(false) => format!("drain {node} --off"),
            None => return Err(Reply::error(400, "`drain` must be true or false", "")),
        },
        Does::AddSubscriber => {
            let name = asked.text("name", "{\"name\": \"erin\", \"impi\": \"erin\", …}")?;
            let mut entry = asked.body.clone();
            if let Some(entry) = entry.as_object_mut() {
                entry.remove("name");
            }
            format!("subscriber add {} {entry}", one_word(name)?)
        }
        Does::ChangeSubscriber => {
            let name = asked.part("name");
            let known = asked.lab.subscriber(name).ok_or_else(|| nobody(asked.lab, name))?;
            format!("subscriber change {name} {}", changed(&known, asked.body)?)
        }
        Does::RemoveSubscriber => format!("subscriber remove {}", one_word(asked.part("name"))?),
        Does::Table => {
            let word = asked.found.part("table").unwrap_or("subscribers");
            if !Show::ALL.iter().any(|(known, _)| *known == word) {
                let known = Show::ALL.iter().map(|(known, _)| *known);
                return Err(no_such("table", word, known));
            }
            format!("show {word} {}", of())
        }
        _ => return Err(Reply::error(404, "nothing is here", "GET / lists what there is")),
    })
}

fn one_word(name: &str) -> Result<&str, Reply> {
    let fine = !name.is_empty() && !name.contains(char::is_whitespace);
    let error = || Reply::error(400, &format!("`{name}` is no name of a subscriber"), "one word");
    fine.then_some(name).ok_or_else(error)
}

/// The entry of a subscriber with other values for some keys; `null` takes a key out.
fn changed(known: &SubscriberConfig, body: &Value) -> Result<Value, Reply> {
    let Some(changes) = body.as_object().filter(|changes| !changes.is_empty()) else {
        let hint = "e.g. {\"barred\": true}";
        return Err(Reply::error(400, "nothing is to be changed", hint));
    };
    let mut entry = known.entry();
    for (key, value) in changes {
        match value {
            Value::Null => entry.remove(key),
            value => entry.insert(key.clone(), value.clone()),
        };
    }
    // It authenticates in one way.
    for (one, other) in [("aka", "digest"), ("digest", "aka")] {
        let comes = changes.get(one).is_some_and(|value| !value.is_null());
        if comes && !changes.contains_key(other) {
            entry.remove(other);
        }
    }
    Ok(Value::Object(entry))
}

/// A subscriber as in a lab file, what is secret left out.
fn subscriber(asked: &Asked<'_>) -> Reply {
    let name = asked.part("name");
    let Some(known) = operate::Person::find(asked.lab, name)
        .and_then(|person| asked.lab.subscriber(&person.name))
    else {
        return nobody(asked.lab, name);
    };
    let mut entry: Map<String, Value> = known.entry();
    for (way, secrets) in [("aka", &["k", "op", "opc", "topc"][..]), ("digest", &["password"][..])]
    {
        if let Some(keys) = entry.get_mut(way).and_then(Value::as_object_mut) {
            keys.retain(|key, _| !secrets.contains(&key.as_str()));
        }
    }
    entry.insert("name".to_owned(), known.name.clone().into());
    Reply::ok(Value::Object(entry))
}

/// The most names that are shown to who has named none of them.
const SHOWN_MAX: usize = 12;

fn no_such<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Reply {
    let near = nearest(name, known.clone());
    let known: Vec<&str> = known.take(SHOWN_MAX).collect();
    not_there(what, name, near, &known.join(", "))
}

fn nobody(lab: &Lab, name: &str) -> Reply {
    let known: Vec<_> = lab.subscribers.names().take(SHOWN_MAX).collect();
    let near = lab.subscribers.nearest(name, []);
    not_there("subscriber", name, near.as_deref(), &known.join(", "))
}

fn not_there(what: &str, name: &str, near: Option<&str>, known: &str) -> Reply {
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {known}"),
    };
    Reply::error(404, &format!("there is no {what} `{name}` here"), &hint)
}

fn contents() -> Reply {
    let routes = ROUTES.iter().map(|it| (format!("{} {}", it.method, it.path), it.what.into()));
    let tables: Vec<&str> = Show::ALL.iter().map(|(word, _)| *word).collect();
    let orders: Vec<&str> = USAGE.lines().collect();
    let routes: Map<String, Value> = routes.collect();
    Reply::ok(json!({"routes": routes, "tables": tables, "orders": orders}))
}

fn openapi_json() -> Reply {
    match serde_yaml::from_str::<Value>(OPENAPI) {
        Ok(document) => Reply::ok(document),
        Err(fault) => Reply::error(500, &fault.to_string(), "GET /openapi.yaml"),
    }
}

fn told_node(node: &NodeConfig) -> Value {
    json!({"name": node.name, "role": node.role.as_str(), "listen": node.listen.to_string()})
}

/// The rows `item`, `value` of a node as an object.
fn told_health(node: &NodeConfig, answer: &OrderResult) -> Value {
    let (name, role) = (node.name.as_str(), node.role.as_str());
    let table = match answer {
        Ok(OrderAnswer::Table(table)) => table,
        Ok(OrderAnswer::Done(_)) | Err(OrderError::NotHere) => &Table::default(),
        Err(OrderError::Refused(why)) => {
            return json!({"node": name, "role": role, "state": "down", "why": why});
        }
    };
    let rows = || table.rows.iter().filter_map(|row| Some((row.first()?, row.get(1)?)));
    let is = |item: &str| rows().any(|(name, value)| name == item && value == "yes");
    let (draining, overloaded) = (is("draining"), is("overloaded"));
    let peers: Vec<Value> = rows()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("peer ")?;
            Some(json!({"name": name, "reachable": value == "reachable"}))
        })
        .collect();
    let uptime = rows().find(|(name, _)| *name == "uptime_s");
    let uptime: u64 = uptime.and_then(|(_, value)| value.parse().ok()).unwrap_or_default();
    let state = match (overloaded, draining) {
        (true, _) => "overloaded",
        (false, true) => "draining",
        (false, false) => "up",
    };
    json!({
        "node": name, "role": role, "state": state, "uptime_s": uptime,
        "draining": draining, "overloaded": overloaded, "peers": peers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_to_authenticate_goes_when_the_other_comes() {
        let lab = Lab::default_lab();
        let alice = lab.subscriber("alice").expect("alice");
        let keys = |body: Value| {
            let entry = changed(&alice, &body).expect("changed");
            ["aka", "digest"].map(|key| entry.get(key).is_some())
        };
        assert_eq!(keys(json!({"barred": true})), [true, false]);
        assert_eq!(keys(json!({"digest": {"password": "x"}})), [false, true]);
        assert_eq!(keys(json!({"digest": null})), [true, false], "what was not there goes");
        let both = json!({"aka": null, "digest": {"password": "x"}});
        assert_eq!(keys(both), [false, true]);
    }
}
