//! Orders about fault rules: `fault add RULE`, `fault list`, `fault remove ID`.

use std::fmt;

use crate::fault::{Known, Rule};

/// What is to be done with the fault rules of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultOrder {
    /// One more. On its way to a node it carries who the names in it are (`--known`).
    Add(Box<Rule>),
    /// Tells all with how often they hit.
    List,
    /// Takes one away by its identifier or text, or `all`.
    Remove(String),
}

impl FaultOrder {
    /// Reads an order; `None` if it is not about faults.
    pub(super) fn read(text: &str) -> Option<Result<Self, String>> {
        let rest = text.trim().strip_prefix("fault")?;
        if !rest.is_empty() && !rest.starts_with(' ') {
            return None;
        }
        let rest = rest.trim();
        let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(match (verb, rest.trim()) {
            ("list", "") => Ok(Self::List),
            ("add", "") => Err("say which rule, e.g. `fault add \"p1 drops INVITE\"`".to_owned()),
            ("add", rule) => add(rule),
            ("remove", "") => Err("say which: `fault remove ID`, or `all`".to_owned()),
            ("remove", which) => Ok(Self::Remove(which.to_owned())),
            _ => Err("write `fault add RULE`, `fault list` or `fault remove ID`".to_owned()),
        })
    }
}

fn add(mut text: &str) -> Result<FaultOrder, String> {
    let mut known = Vec::new();
    while let Some(rest) = text.strip_prefix("--known ") {
        let (one, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (name, what) = one.split_once('=').ok_or("--known needs NAME=…")?;
        let mut entry = Known { name: name.to_owned(), ..Known::default() };
        for part in what.split('|').filter(|part| !part.is_empty()) {
            match part.parse() {
                Ok(addr) => entry.addresses.push(addr),
                Err(_) => entry.identities.push(part.to_owned()),
            }
        }
        known.push(entry);
        text = rest.trim_start();
    }
    let mut rule: Rule = text.parse().map_err(|fault: crate::fault::Mistake| {
        let place = text.get(fault.at..fault.at + fault.len).unwrap_or_default();
        match fault.text.contains(place) {
            true => fault.to_string(),
            false => format!("at `{place}`: {fault}"),
        }
    })?;
    rule.known = known;
    Ok(FaultOrder::Add(Box::new(rule)))
}

impl fmt::Display for FaultOrder {
    /// The text that reads back as the same order, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(rule) => {
                f.write_str("fault add ")?;
                for Known { name, addresses, identities } in &rule.known {
                    let addresses = addresses.iter().map(ToString::to_string);
                    let parts: Vec<String> = addresses.chain(identities.iter().cloned()).collect();
                    write!(f, "--known {name}={} ", parts.join("|"))?;
                }
                write!(f, "{rule}")
            }
            Self::List => f.write_str("fault list"),
            Self::Remove(which) => write!(f, "fault remove {which}"),
        }
    }
}
