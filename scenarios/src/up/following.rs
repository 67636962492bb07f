//! `--ladder [USER]`: the ladder of a running lab as it grows, of everybody or of one subscriber.

use cscf_core::config::{Lab, nearest};
use cscf_core::host::control::TraceFilter;
use cscf_core::trace::{TraceEvent, TraceKind};

use crate::operate::Person;
use crate::report::ladder::{Growing, Style};
use crate::report::pcapng::Names;

/// A ladder that grows, and whose it is.
#[derive(Debug)]
pub(super) struct Following {
    ladder: Growing,
    filter: TraceFilter,
}

impl Following {
    /// A ladder of everybody, or of the subscriber with this name or identity.
    pub(super) fn new(lab: &Lab, who: Option<&str>) -> Result<Self, String> {
        let columns: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
        let names: Names = lab.nodes.iter().map(|node| (node.listen, node.name.clone())).collect();
        let filter = match who {
            None => TraceFilter::all(),
            Some(who) => {
                let person = Person::find(lab, who).ok_or_else(|| {
                    let known = lab.subscribers.iter().map(|one| one.name.as_str());
                    match nearest(who, known) {
                        Some(near) => format!("`{who}` is no subscriber; did you mean `{near}`?"),
                        None => format!("`{who}` is no subscriber of the lab"),
                    }
                })?;
                TraceFilter::all().of_user(&person.name, person.identities())
            }
        };
        let ladder = Growing::new(&columns, &names, Style::default());
        Ok(Self { ladder, filter })
    }

    /// The lines that an event adds.
    pub(super) fn lines(&mut self, event: &TraceEvent) -> String {
        if self.filter.is_meant(event) {
            return self.ladder.event(event);
        }
        if matches!(event.kind, TraceKind::Sent(_)) {
            self.ladder.skip(&event.node);
        }
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use cscf_core::time::Instant;
    use cscf_core::trace::{Protocol, Wire};
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
