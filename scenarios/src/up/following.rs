//! `--ladder [USER]`: the ladder of a running lab as it grows, of everybody or of one subscriber.

use std::collections::{BTreeSet, VecDeque};

use cscf_core::config::{Lab, nearest};
use cscf_core::sip::{self, HeaderName};
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};

use crate::operate::Person;
use crate::report::ladder::{Growing, Style};
use crate::report::pcapng::Names;
use crate::report::summary::avp_values;

/// Dialogs and Diameter sessions of the user that are remembered.
const THREADS_MAX: usize = 1_000;

/// A ladder that grows, and whose it is.
#[derive(Debug)]
pub(super) struct Following {
    ladder: Growing,
    /// Name and identities of the one subscriber.
    user: Option<(String, Vec<String>)>,
    /// Call-IDs and Session-Ids in which an identity stood.
    threads: BTreeSet<String>,
    in_order: VecDeque<String>,
}

impl Following {
    /// A ladder of everybody, or of the subscriber with this name or identity.
    pub(super) fn new(lab: &Lab, who: Option<&str>) -> Result<Self, String> {
        let columns: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
        let names: Names = lab.nodes.iter().map(|node| (node.listen, node.name.clone())).collect();
        let user = match who {
            None => None,
            Some(who) => {
                let person = Person::find(lab, who).ok_or_else(|| {
                    let known = lab.subscribers.iter().map(|one| one.name.as_str());
                    match nearest(who, known) {
                        Some(near) => format!("`{who}` is no subscriber; did you mean `{near}`?"),
                        None => format!("`{who}` is no subscriber of the lab"),
                    }
                })?;
                Some((person.name.clone(), person.identities()))
            }
        };
        let ladder = Growing::new(&columns, &names, Style::default());
        Ok(Self { ladder, user, threads: BTreeSet::new(), in_order: VecDeque::new() })
    }

    /// The lines that an event adds.
    pub(super) fn lines(&mut self, event: &TraceEvent) -> String {
        if self.is_meant(event) {
            return self.ladder.event(event);
        }
        if matches!(event.kind, TraceKind::Sent(_)) {
            self.ladder.skip(&event.node);
        }
        String::new()
    }

    fn is_meant(&mut self, event: &TraceEvent) -> bool {
        let Some((name, identities)) = &self.user else { return true };
        let names = |text: &str| identities.iter().any(|identity| text.contains(identity.as_str()));
        match &event.kind {
            TraceKind::Note(Note { diagnosis: None, .. }) => true,
            TraceKind::Note(note) => {
                names(&note.text) || note.diagnosis.as_ref().is_some_and(|it| names(&it.about))
            }
            TraceKind::State(text) => *event.node == **name || names(text),
            TraceKind::Dropped { .. } => false,
            TraceKind::Fault { wire, .. } | TraceKind::Received(wire) | TraceKind::Sent(wire) => {
                let named = names(&String::from_utf8_lossy(&wire.bytes));
                let Some(thread) = thread(wire) else { return named };
                if named {
                    self.remember(thread);
                    return true;
                }
                self.threads.contains(&thread)
            }
        }
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

/// What holds messages together: the Call-ID, or the Session-Id of Diameter.
fn thread(wire: &Wire) -> Option<String> {
    match wire.protocol {
        Protocol::Diameter => avp_values(&wire.bytes, "Session-Id").into_iter().next(),
        Protocol::Sip => {
            let message = sip::parse(&wire.bytes).ok()?;
            message.headers().get(HeaderName::CallId).map(str::to_owned)
        }
    }
}

#[cfg(test)]
mod tests {
    use cscf_core::time::Instant;
    use cscf_core::transport::Transport;

    use super::*;

    fn sent(to: &str, call_id: &str) -> TraceEvent {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKx\r\n\
             From: <sip:x>;tag=a\r\nTo: <{to}>;tag=b\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        let wire = Wire {
            protocol: Protocol::Sip,
            transport: Transport::Udp,
            local: "127.0.0.1:5060".parse().expect("address"),
            remote: "127.0.0.1:5070".parse().expect("address"),
            bytes: text.into(),
        };
        TraceEvent { at: Instant::EPOCH, node: "p1".into(), kind: TraceKind::Sent(wire) }
    }

    #[test]
    fn one_user_is_followed_by_identity_and_then_by_call() {
        let mut all = Following::new(&Lab::default_lab(), None).expect("everybody");
        assert!(all.lines(&sent("sip:zoe@x", "1")).contains("200 (OPTIONS)"));
        let mut alice = Following::new(&Lab::default_lab(), Some("alice")).expect("alice");
        assert_eq!(alice.lines(&sent("sip:zoe@x", "1")), "");
        let first = alice.lines(&sent("tel:+15550100001", "2"));
        assert!(first.contains("p1") && first.contains("200 (OPTIONS)"), "{first}");
        let again = alice.lines(&sent("sip:zoe@x", "2"));
        assert!(again.contains("200") && !again.contains("hss"), "no second heading: {again}");
        let wrong = Following::new(&Lab::default_lab(), Some("alcie")).expect_err("unknown");
        assert!(wrong.contains("did you mean `alice`?"), "{wrong}");
    }
}
