//! Orders of an operator to a whole lab: names become identities, an order goes to the nodes that
//! may have a part in it, and their answers become one.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::{Lab, NodeRole, SubscriberConfig, nearest};
use crate::fault::{Known, POLICY, Rule};
use crate::operator::{
    FaultOrder, Order, OrderAnswer, OrderError, OrderResult, Show, Subject, Table,
};

/// A user by every name it may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Its name in the lab.
    pub name: String,
    /// The private identity.
    pub impi: String,
    /// The public identities.
    pub impus: Vec<String>,
    /// Where its phone is, if that is known.
    pub address: Option<SocketAddr>,
}

impl Person {
    /// The subscriber of this name, private or public identity.
    #[must_use]
    pub fn find(lab: &Lab, text: &str) -> Option<Self> {
        let SubscriberConfig { name, impi, impus, .. } =
            lab.subscribers.with_identity(text)?.into_owned();
        let impus = impus.into_iter().map(|impu| impu.uri).collect();
        Some(Self { name, impi, impus, address: None })
    }

    /// All its identities.
    #[must_use]
    pub fn identities(&self) -> Vec<String> {
        std::iter::once(&self.impi).chain(&self.impus).cloned().collect()
    }
}

/// Puts identities in the place of names. `more` are users the lab does not know.
///
/// # Errors
///
/// A name that is none, with the one that may have been meant.
pub fn resolve(lab: &Lab, more: &[Person], order: &Order) -> Result<Order, String> {
    let mut order = order.clone();
    if let Order::Fault(FaultOrder::Add(rule)) = &mut order {
        know(lab, more, rule)?;
        return Ok(order);
    }
    let find = |text: &str| {
        let own = more.iter().find(|one| one.name == text || one.impi == text).cloned();
        own.or_else(|| Person::find(lab, text)).ok_or_else(|| unknown(lab, more, text))
    };
    match order.subject_mut() {
        Subject::Nobody => {}
        Subject::Node(name) => {
            if lab.node_named(name).is_none() {
                let names: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
                return Err(no_such(name, "node", &names));
            }
        }
        Subject::User(who) => *who = find(who)?.impi,
        Subject::Users(of) => {
            let found: Result<Vec<_>, _> = of.iter().map(|text| find(text)).collect();
            *of = found?.iter().flat_map(Person::identities).collect();
        }
    }
    Ok(order)
}

/// Puts into a fault rule who the names in it are.
fn know(lab: &Lab, more: &[Person], rule: &mut Rule) -> Result<(), String> {
    let is_node = lab.node_named(&rule.node).is_some() || rule.node == POLICY;
    if !is_node && !more.iter().any(|one| one.name == rule.node) {
        let nodes = lab.nodes.iter().map(|node| node.name.as_str());
        let phones = more.iter().map(|one| one.name.as_str());
        let names: Vec<&str> = nodes.chain(phones).collect();
        return Err(no_such(&rule.node, "node", &names));
    }
    let persons = more.iter().map(|one| Known {
        name: one.name.clone(),
        addresses: one.address.into_iter().collect(),
        identities: one.identities(),
    });
    let mut known: Vec<Known> = persons.collect();
    known.retain(|known| rule.names().any(|(_, name)| name == known.name));
    let of_lab = lab.known_in(rule).into_iter();
    let new = of_lab.filter(|it| !known.iter().any(|own| own.name == it.name));
    let new: Vec<Known> = new.collect();
    known.extend(new);
    for (_, name) in rule.names() {
        if !known.iter().any(|known| known.name == name) {
            return Err(unknown(lab, more, name));
        }
    }
    rule.known = known;
    Ok(())
}

fn unknown(lab: &Lab, more: &[Person], text: &str) -> String {
    let own = more.iter().map(|person| person.name.as_str());
    let near = lab.subscribers.nearest(text, own.clone());
    told_unknown(text, "subscriber", near, own.map(Cow::Borrowed).chain(lab.subscribers.names()))
}

fn no_such(text: &str, what: &str, names: &[&str]) -> String {
    let near = nearest(text, names.iter().copied()).map(Cow::Borrowed);
    told_unknown(text, what, near, names.iter().copied().map(Cow::Borrowed))
}

fn told_unknown<'a>(
    text: &str,
    what: &str,
    near: Option<Cow<'_, str>>,
    mut names: impl Iterator<Item = Cow<'a, str>>,
) -> String {
    const SHOWN_MAX: usize = 12;
    match near {
        Some(near) => format!("`{text}` is no {what} of the lab; did you mean `{near}`?"),
        None => {
            let shown: Vec<_> = names.by_ref().take(SHOWN_MAX).collect();
            let more = if names.next().is_some() { ", …" } else { "" };
            format!("`{text}` is no {what} of the lab; known: {}{more}", shown.join(", "))
        }
    }
}

/// The nodes that may have a part in an order, in the order of the lab.
#[must_use]
pub fn targets(lab: &Lab, order: &Order) -> Vec<String> {
    let of = |wanted: &[NodeRole]| {
        let nodes = lab.nodes.iter().filter(|node| wanted.contains(&node.role));
        nodes.map(|node| node.name.clone()).collect()
    };
    match order {
        Order::Drain { node, .. }
        | Order::HangUp { node }
        | Order::Inject { node, .. }
        | Order::Log { node, .. }
        | Order::Originate { node, .. }
        | Order::Overload { node, .. } => vec![node.clone()],
        Order::BearerLost { .. } | Order::Policy { .. } => of(&[NodeRole::Pcscf]),
        Order::Fault(FaultOrder::Add(rule)) if rule.node == POLICY => of(&[NodeRole::Pcscf]),
        Order::Fault(FaultOrder::Add(rule)) => vec![rule.node.clone()],
        Order::Fault(_) => lab.nodes.iter().map(|node| node.name.clone()).collect(),
        Order::Hss { .. } | Order::Ppr { .. } | Order::Rtr { .. } | Order::Subscriber { .. } => {
            of(&[NodeRole::Hss])
        }
        Order::Deregister { .. } | Order::Forget { .. } | Order::Reauthenticate { .. } => {
            of(&[NodeRole::Scscf])
        }
        Order::Show { what: Show::Health | Show::Metrics | Show::Refusals, .. } => {
            lab.nodes.iter().map(|node| node.name.clone()).collect()
        }
        Order::Show { what: Show::Registrations | Show::Challenges, .. } => of(&[NodeRole::Scscf]),
        Order::Show { what: Show::Dialogs, .. } => of(&[NodeRole::Pcscf, NodeRole::Scscf]),
        Order::Show { what: Show::Transactions, .. } => {
            let nodes = lab.nodes.iter().filter(|node| node.role != NodeRole::Hss);
            nodes.map(|node| node.name.clone()).collect()
        }
        Order::Show { what: Show::Keys | Show::Sas, .. } => of(&[NodeRole::Pcscf]),
        Order::Show { what: Show::Subscribers, .. } => of(&[NodeRole::Hss]),
    }
}

/// One answer from those of several nodes: what was done, or all rows with the node's name before
/// them. An order that nobody obeyed is refused with the reasons.
///
/// # Errors
///
/// As a node's.
pub fn combine(answers: Vec<(String, OrderResult)>) -> OrderResult {
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    let mut table: Option<Table> = None;
    for (node, answer) in answers {
        match answer {
            Ok(OrderAnswer::Done(text)) => done.push(format!("{node}: {text}")),
            Ok(OrderAnswer::Table(one)) => add(&mut table, &node, one),
            Err(OrderError::NotHere) => {}
            Err(OrderError::Refused(text)) => refused.push(format!("{node}: {text}")),
        }
    }
    match table {
        Some(table) => Ok(OrderAnswer::Table(table)),
        None if !done.is_empty() => Ok(OrderAnswer::Done(done.join("\n"))),
        None if refused.is_empty() => Err(OrderError::NotHere),
        None => Err(OrderError::Refused(refused.join("\n"))),
    }
}

/// Adds a node's rows; columns that only one of the nodes has are empty in the rows of others.
fn add(all: &mut Option<Table>, node: &str, one: Table) {
    let all = all.get_or_insert_with(|| Table::new(&["node"]));
    let mut places = Vec::new();
    for name in &one.columns {
        let at = all.columns.iter().position(|known| known == name).unwrap_or_else(|| {
            all.columns.push(name.clone());
            for row in &mut all.rows {
                row.push(String::new());
            }
            all.columns.len() - 1
        });
        places.push(at);
    }
    for cells in one.rows {
        let mut row = vec![String::new(); all.columns.len()];
        if let Some(first) = row.first_mut() {
            node.clone_into(first);
        }
        for (cell, at) in cells.into_iter().zip(&places) {
            if let Some(place) = row.get_mut(*at) {
                *place = cell;
            }
        }
        all.rows.push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<String, String> {
        let order = text.parse().expect("an order");
        resolve(&Lab::default_lab(), &[], &order).map(|order| order.to_string())
    }

    #[test]
    fn names_become_identities_and_wrong_ones_are_corrected() {
        let alice = Lab::default_lab().subscriber("alice").expect("alice").into_owned();
        assert_eq!(resolved("forget alice"), Ok(format!("forget {}", alice.impi)));
        assert_eq!(resolved(&format!("forget {}", alice.impi)), resolved("forget alice"));
        assert_eq!(resolved("forget tel:+15550100001"), resolved("forget alice"));
        assert!(resolved("show refusals alice").expect("known").contains("tel:+15550100001"));
        assert_eq!(
            resolved("dereg alicia"),
            Err("`alicia` is no subscriber of the lab; did you mean `alice`?".into())
        );
        assert_eq!(resolved("drain s1"), Ok("drain s1".into()));
        let unknown = resolved("drain zzzzzzzz").expect_err("unknown");
        assert_eq!(unknown, "`zzzzzzzz` is no node of the lab; known: p1, i1, s1, hss");
    }

    #[test]
    fn the_rows_of_several_nodes_stand_under_all_their_columns() {
        let mut one = Table::new(&["a", "b"]);
        one.push(["1".into(), "2".into()]);
        let mut other = Table::new(&["b", "c"]);
        other.push(["3".into(), "4".into()]);
        let answers = vec![
            ("p1".to_owned(), Ok(OrderAnswer::Table(one))),
            ("i1".to_owned(), Err(OrderError::NotHere)),
            ("s1".to_owned(), Ok(OrderAnswer::Table(other))),
        ];
        let Ok(OrderAnswer::Table(table)) = combine(answers) else { panic!("a table") };
        assert_eq!(table.columns, ["node", "a", "b", "c"]);
        assert_eq!(table.rows, [["p1", "1", "2", ""], ["s1", "", "3", "4"]]);
    }

    #[test]
    fn an_order_that_nobody_obeys_is_refused_with_the_reasons() {
        let refused = |text: &str| Err(OrderError::refused(text));
        let answers = vec![("s1".to_owned(), refused("no")), ("s2".to_owned(), refused("nor I"))];
        assert_eq!(combine(answers), refused("s1: no\ns2: nor I"));
        let some = vec![
            ("s1".to_owned(), refused("no")),
            ("s2".to_owned(), Ok(OrderAnswer::done("done"))),
        ];
        assert_eq!(combine(some), Ok(OrderAnswer::done("s2: done")));
    }
}
