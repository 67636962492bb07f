//! `--ladder [USER]`: the ladder of a running lab as it grows, of everybody or of one subscriber.

use cscf_core::config::Lab;
use cscf_core::host::control::TraceFilter;
use cscf_core::trace::{TraceEvent, TraceKind};

use crate::operate::Person;
use crate::report::ladder::{Growing, Style};
use crate::report::order::InOrder;
use crate::report::pcapng::Names;

/// A ladder that grows, and whose it is.
#[derive(Debug)]
pub(super) struct Following {
    order: InOrder,
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
                    match lab.subscribers.nearest(who, []) {
                        Some(near) => format!("`{who}` is no subscriber; did you mean `{near}`?"),
                        None => format!("`{who}` is no subscriber of the lab"),
                    }
                })?;
                TraceFilter::all().of_user(&person.name, person.identities())
            }
        };
        let ladder = Growing::new(&columns, &names, Style::default());
        Ok(Self { order: InOrder::default(), ladder, filter })
    }

    /// The lines that an event adds, or that it brings about: rows come in the order of time.
    pub(super) fn lines(&mut self, event: &TraceEvent) -> String {
        let due = self.order.event(event);
        due.iter().map(|event| self.drawn(event)).collect()
    }

    /// The lines of what was held back: nothing has come for a while.
    pub(super) fn rest(&mut self) -> String {
        let rest = self.order.rest();
        rest.iter().map(|event| self.drawn(event)).collect()
    }

    /// Whether anything is held back.
    pub(super) fn holds(&self) -> bool {
        self.order.holds()
    }

    fn drawn(&mut self, event: &TraceEvent) -> String {
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

    /// What an event and nothing after it adds.
    fn drawn(following: &mut Following, event: &TraceEvent) -> String {
        let lines = following.lines(event);
        lines + &following.rest()
    }

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
        assert!(drawn(&mut all, &sent("sip:zoe@x", "1")).contains("200 (OPTIONS)"));
        let mut alice = Following::new(&Lab::default_lab(), Some("alice")).expect("alice");
        assert_eq!(drawn(&mut alice, &sent("sip:zoe@x", "1")), "");
        let first = drawn(&mut alice, &sent("tel:+15550100001", "2"));
        assert!(first.contains("p1") && first.contains("200 (OPTIONS)"), "{first}");
        let again = drawn(&mut alice, &sent("sip:zoe@x", "2"));
        assert!(again.contains("200") && !again.contains("hss"), "no second heading: {again}");
    }

    #[test]
    fn what_a_phone_sends_that_tells_nothing_is_drawn_once_and_in_its_order() {
        let answer = sent("sip:zoe@x", "1");
        let TraceKind::Sent(wire) = &answer.kind else { unreachable!() };
        let received = |node: &str, local: &str, remote: &str, millis| TraceEvent {
            at: Instant::from_millis(millis),
            node: node.into(),
            kind: TraceKind::Received(Wire {
                local: local.parse().expect("address"),
                remote: remote.parse().expect("address"),
                ..wire.clone()
            }),
        };
        let mut all = Following::new(&Lab::default_lab(), None).expect("everybody");
        let i1 = Lab::default_lab().nodes.iter().find(|node| node.name == "i1").cloned();
        let i1 = i1.expect("an I-CSCF").listen.to_string();
        let to_i1 = |mut event: TraceEvent| {
            event.at = Instant::from_millis(6);
            if let TraceKind::Sent(wire) = &mut event.kind {
                wire.remote = i1.parse().expect("address");
            }
            event
        };
        let mut out = String::new();
        // i1 tells of it before p1, which sent it, does.
        for event in [
            received("i1", &i1, "127.0.0.1:5060", 7),
            received("p1", "127.0.0.1:5060", "192.168.100.101:50601", 5),
            to_i1(answer.clone()),
        ] {
            out.push_str(&all.lines(&event));
        }
        assert!(all.holds());
        out.push_str(&all.rest());
        let rows: Vec<&str> = out.lines().filter(|line| line.contains("200")).collect();
        assert_eq!(rows.len(), 2, "{out}");
        assert!(rows[0].contains("0.0000") && rows[0].contains('<'), "{out}");
        assert!(rows[1].contains("0.0010") && rows[1].contains('>'), "{out}");
        let heads: Vec<&str> = out.lines().take(3).map(str::trim_end).collect();
        assert!(heads[0].ends_with("192.168.100."), "{out}");
        assert_eq!(heads[1..].iter().map(|it| it.trim()).collect::<Vec<_>>(), ["101", ":50601"]);
    }

    #[test]
    fn nobody_is_followed_who_is_not_of_the_lab() {
        let wrong = Following::new(&Lab::default_lab(), Some("alcie")).expect_err("unknown");
        assert!(wrong.contains("did you mean `alice`?"), "{wrong}");
    }
}
