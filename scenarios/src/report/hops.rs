//! The messages of a trace, each once, with the decisions that led to it.
//!
//! A message is told by whoever sends it. What comes from somebody who tells nothing, e.g. a device
//! under test, is told by whoever receives it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use cscf_core::time::Instant;
use cscf_core::trace::{Note, TraceEvent, TraceKind, Wire};

use super::Parties;

/// A message on its way from one party to another.
#[derive(Clone, Debug)]
pub struct Hop<'a> {
    /// When it was told.
    pub at: Instant,
    /// Who sends it.
    pub from: String,
    /// Who is to receive it.
    pub to: String,
    /// The message, with the addresses as its sender has them.
    pub wire: Wire,
    /// What its sender decided before it, if the sender tells.
    pub notes: Vec<&'a Note>,
    /// Which of the events it is.
    pub index: usize,
}

/// Addresses of a growing trace at most.
const SPEAKERS_MAX: usize = 10_000;

/// The addresses from which the nodes of a trace send.
#[derive(Clone, Debug, Default)]
pub struct Speakers(BTreeSet<SocketAddr>);

impl Speakers {
    /// Those of a whole trace.
    #[must_use]
    pub fn of(events: &[TraceEvent]) -> Self {
        let sent = events.iter().filter_map(|event| match &event.kind {
            TraceKind::Sent(wire) => Some(wire.local),
            _ => None,
        });
        Self(sent.collect())
    }

    /// Hears an event of a trace that is still growing.
    pub fn hear(&mut self, event: &TraceEvent) {
        if let TraceKind::Sent(wire) = &event.kind
            && self.0.len() < SPEAKERS_MAX
        {
            self.0.insert(wire.local);
        }
    }

    /// The message of an event with its addresses as the sender has them; nothing if it is told
    /// elsewhere.
    #[must_use]
    pub fn message(&self, kind: &TraceKind) -> Option<Wire> {
        match kind {
            TraceKind::Sent(wire) => Some(wire.clone()),
            TraceKind::Received(wire) if !self.0.contains(&wire.remote) => {
                Some(Wire { local: wire.remote, remote: wire.local, ..wire.clone() })
            }
            _ => None,
        }
    }
}

/// The messages of a trace, in its order.
#[must_use]
pub fn hops<'a>(events: &'a [TraceEvent], parties: &Parties) -> Vec<Hop<'a>> {
    let speakers = Speakers::of(events);
    let mut decided: BTreeMap<&str, Vec<&Note>> = BTreeMap::new();
    let mut out = Vec::new();
    for (index, event) in events.iter().enumerate() {
        if let TraceKind::Note(note) = &event.kind {
            decided.entry(&event.node).or_default().push(note);
        }
        let Some(wire) = speakers.message(&event.kind) else { continue };
        let (at, node) = (event.at, event.node.to_string());
        let sent = matches!(event.kind, TraceKind::Sent(_));
        let notes = if sent { decided.remove(&*event.node) } else { None };
        let notes = notes.unwrap_or_default();
        let (from, to) = if sent {
            (node, parties.name(&wire.remote))
        } else {
            (parties.name(&wire.local), node)
        };
        out.push(Hop { at, from, to, wire, notes, index });
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cscf_core::clause::ts24229;
    use cscf_core::trace::Protocol;
    use cscf_core::transport::Transport;

    use super::*;

    #[test]
    fn a_device_that_tells_nothing_is_told_by_its_peer() {
        let addr = |host: u8| SocketAddr::from(([127, 0, 0, host], 5060));
        let wire = |local, remote| Wire {
            protocol: Protocol::Sip,
            transport: Transport::Udp,
            local: addr(local),
            remote: addr(remote),
            bytes: Bytes::from_static(b"x"),
        };
        let event = |node: &str, kind| TraceEvent { at: Instant::EPOCH, node: node.into(), kind };
        let note = Note::new(ts24229("5.2.3"), "goes on".into(), false);
        let events = [
            event("p1", TraceKind::Received(wire(1, 9))),
            event("p1", TraceKind::Note(note)),
            event("p1", TraceKind::Sent(wire(1, 2))),
            event("i1", TraceKind::Received(wire(2, 1))),
            event("i1", TraceKind::Sent(wire(2, 1))),
        ];
        let names = [(addr(1), "p1".to_owned()), (addr(2), "i1".to_owned())].into();
        let parties = Parties { names, ..Parties::default() };
        let found = hops(&events, &parties);
        let ends: Vec<String> = found
            .iter()
            .map(|hop| format!("{}>{} {}", hop.from, hop.to, hop.notes.len()))
            .collect();
        assert_eq!(ends, ["127.0.0.9:5060>p1 0", "p1>i1 1", "i1>p1 0"]);
        assert_eq!(found[0].wire.local, addr(9));
    }
}
