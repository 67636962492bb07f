//! Which events of a trace somebody wants to see: those of one user, one node, one method.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::diameter;
use crate::fault::mentions_one;
use crate::sip::{self, HeaderName, Message};
use crate::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};

/// Dialogs and Diameter sessions of a user that are remembered.
const THREADS_MAX: usize = 1_000;
/// Nodes whose last message is remembered.
const NODES_MAX: usize = 1_000;

/// Chooses events. A user is found by its identities and then by Call-ID and Session-Id; a decision
/// belongs to the message that its node had in hand.
#[derive(Debug, Default)]
pub struct TraceFilter {
    /// Name and identities.
    user: Option<(String, Vec<String>)>,
    node: Option<String>,
    method: Option<String>,
    /// Call-IDs and Session-Ids in which an identity stood.
    threads: BTreeSet<String>,
    in_order: VecDeque<String>,
    /// Whether the last message of a node was shown.
    shown: BTreeMap<Arc<str>, bool>,
}

impl TraceFilter {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only what concerns the user of this name with these identities.
    #[must_use]
    pub fn of_user(mut self, name: &str, identities: Vec<String>) -> Self {
        self.user = Some((name.to_owned(), identities));
        self
    }

    /// Only what happens at this node.
    #[must_use]
    pub fn of_node(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    /// Only messages of this method: that of CSeq, or the name of a Diameter message, e.g. `MAR`
    /// (with its answers); and the decisions about them.
    #[must_use]
    pub fn of_method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Whether an event is one of those.
    pub fn is_meant(&mut self, event: &TraceEvent) -> bool {
        if self.node.as_deref().is_some_and(|node| node != &*event.node) {
            return false;
        }
        match &event.kind {
            TraceKind::Fault { wire, .. } | TraceKind::Received(wire) | TraceKind::Sent(wire) => {
                let meant = self.is_wire_meant(wire);
                if self.shown.len() < NODES_MAX || self.shown.contains_key(&event.node) {
                    self.shown.insert(Arc::clone(&event.node), meant);
                }
                meant
            }
            TraceKind::Note(note) => self.is_note_meant(&event.node, note),
            TraceKind::State(text) => {
                self.method.is_none()
                    && self.user.as_ref().is_none_or(|(name, identities)| {
                        *event.node == **name || names(identities, text)
                    })
            }
            TraceKind::Dropped { .. } => self.user.is_none() && self.method.is_none(),
        }
    }

    fn is_note_meant(&self, node: &str, note: &Note) -> bool {
        if self.user.is_none() && self.method.is_none() {
            return true;
        }
        let named = self.method.is_none()
            && self.user.as_ref().is_some_and(|(_, identities)| {
                let about = note.diagnosis.as_ref().map_or("", |it| it.about.as_str());
                names(identities, &note.text) || names(identities, about)
            });
        named || self.shown.get(node).copied().unwrap_or_default()
    }

    fn is_wire_meant(&mut self, wire: &Wire) -> bool {
        if self.user.is_none() && self.method.is_none() {
            return true;
        }
        let (thread, method) = thread_and_method(wire);
        let by_user = self.is_of_user(wire, thread);
        by_user && self.method.as_deref().is_none_or(|wanted| is_method(wanted, &method))
    }

    fn is_of_user(&mut self, wire: &Wire, thread: Option<String>) -> bool {
        let Some((_, identities)) = &self.user else { return true };
        let named = mentions_one(&wire.bytes, identities);
        let Some(thread) = thread else { return named };
        if named {
            self.remember(thread);
            return true;
        }
        self.threads.contains(&thread)
    }

    fn remember(&mut self, thread: String) {
        if self.threads.insert(thread.clone()) {
            self.in_order.push_back(thread);
            if self.in_order.len() > THREADS_MAX
                && let Some(oldest) = self.in_order.pop_front()
            {
                self.threads.remove(&oldest);
            }
        }
    }
}

fn names(identities: &[String], text: &str) -> bool {
    mentions_one(text.as_bytes(), identities)
}

/// `MAR` means the question and its answer.
fn is_method(wanted: &str, method: &str) -> bool {
    let answer = |wanted: &str| wanted.strip_suffix('R').map(|stem| format!("{stem}A"));
    wanted.eq_ignore_ascii_case(method)
        || (wanted.len() == 3
            && answer(&wanted.to_ascii_uppercase()).is_some_and(|it| it == method))
}

/// What holds messages together (the Call-ID, or the Session-Id of Diameter), and the method.
fn thread_and_method(wire: &Wire) -> (Option<String>, String) {
    match wire.protocol {
        Protocol::Diameter => match diameter::Message::decode(&wire.bytes) {
            Ok(message) => {
                let session = message.avps.iter().find(|avp| avp.name() == "Session-Id");
                let session = session.and_then(|avp| avp.as_text().ok()).map(str::to_owned);
                (session, message.name())
            }
            Err(_) => (None, String::new()),
        },
        Protocol::Sip => match sip::parse(&wire.bytes) {
            Ok(message) => {
                let call_id = message.headers().get(HeaderName::CallId).map(str::to_owned);
                let method = match &message {
                    Message::Request(request) => request.method.to_string(),
                    Message::Response(response) => {
                        response.cseq().map(|cseq| cseq.method.to_string()).unwrap_or_default()
                    }
                };
                (call_id, method)
            }
            Err(_) => (None, String::new()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clause::own;
    use crate::time::Instant;
    use crate::transport::Transport;

    fn sent(node: &str, method: &str, to: &str, call_id: &str) -> TraceEvent {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKx\r\n\
             From: <sip:x>;tag=a\r\nTo: <{to}>;tag=b\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        let wire = Wire {
            protocol: Protocol::Sip,
            transport: Transport::Udp,
            local: "127.0.0.1:5060".parse().expect("address"),
            remote: "127.0.0.1:5070".parse().expect("address"),
            bytes: text.into(),
        };
        TraceEvent { at: Instant::EPOCH, node: node.into(), kind: TraceKind::Sent(wire) }
    }

    fn note(node: &str) -> TraceEvent {
        let note = Note::new(own("x"), "decided".to_owned(), false);
        TraceEvent { at: Instant::EPOCH, node: node.into(), kind: TraceKind::Note(note) }
    }

    #[test]
    fn a_user_is_found_by_identity_and_then_by_call() {
        let mut alice = TraceFilter::all().of_user("alice", vec!["tel:+1".to_owned()]);
        assert!(!alice.is_meant(&sent("p1", "INVITE", "sip:zoe@x", "1")));
        assert!(!alice.is_meant(&note("p1")), "about zoe");
        assert!(alice.is_meant(&sent("p1", "INVITE", "tel:+1", "2")));
        assert!(alice.is_meant(&note("p1")), "about alice");
        assert!(!alice.is_meant(&note("s1")), "s1 had nothing of hers");
        assert!(alice.is_meant(&sent("s1", "INVITE", "sip:zoe@x", "2")), "the same call");
        assert!(!alice.is_meant(&sent("p1", "INVITE", "tel:+15", "3")), "another number");
    }

    #[test]
    fn a_node_and_a_method_are_chosen_together() {
        let mut some = TraceFilter::all().of_node("p1").of_method("INVITE");
        assert!(some.is_meant(&sent("p1", "INVITE", "sip:a@x", "1")));
        assert!(!some.is_meant(&sent("s1", "INVITE", "sip:a@x", "1")));
        assert!(!some.is_meant(&sent("p1", "BYE", "sip:a@x", "1")));
        assert!(!some.is_meant(&note("p1")), "about the BYE");
        assert!(TraceFilter::all().is_meant(&note("p1")));
    }

    #[test]
    fn a_question_of_diameter_means_its_answer_too() {
        assert!(is_method("MAR", "MAR") && is_method("mar", "MAA") && !is_method("MAR", "SAA"));
        assert!(!is_method("INVITE", "BYE"));
    }
}
