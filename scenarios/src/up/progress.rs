//! One line for every registration and call that was finished or refused, made from the trace.
//!
//! What counts is what the P-CSCF says to a UE. A refusal is explained by the latest refusal that
//! any node noted before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::config::{Lab, NodeRole};
use cscf_core::sip::{self, HeaderName, Headers, Message, Response};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};

/// Answers remembered, so that one sent again is not told again.
const TOLD_MAX: usize = 10_000;
/// An older refusal explains nothing.
const WHY_FOR: Duration = Duration::from_secs(2);

/// What is remembered of the trace.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pcscfs: BTreeSet<String>,
    core: BTreeSet<SocketAddr>,
    /// User parts and numbers of public identities, with the subscriber's name.
    people: BTreeMap<String, String>,
    told: BTreeSet<String>,
    told_in_order: VecDeque<String>,
    refusal: Option<(Instant, String)>,
}

impl Progress {
    pub(super) fn new(lab: &Lab) -> Self {
        let of_role = |role| lab.nodes.iter().filter(move |node| node.role == role);
        let mut people = BTreeMap::new();
        for subscriber in &lab.subscribers {
            for impu in &subscriber.impus {
                people.insert(user_of(&impu.uri).to_owned(), subscriber.name.clone());
            }
        }
        Self {
            pcscfs: of_role(NodeRole::Pcscf).map(|node| node.name.clone()).collect(),
            core: lab.trusted_peers().into_iter().collect(),
            people,
            ..Self::default()
        }
    }

    /// Takes one event; gives a line where something came to an end.
    pub(super) fn line(&mut self, event: &TraceEvent) -> Option<String> {
        match &event.kind {
            TraceKind::Note(note) if note.refusal => {
                self.refusal = Some((event.at, because(&event.node, note)));
                None
            }
            TraceKind::Sent(wire) if self.is_for_ue(&event.node, wire) => {
                let Ok(Message::Response(response)) = sip::parse(&wire.bytes) else { return None };
                let text = self.answered(event.at, &response, wire.remote)?;
                Some(format!("{:>12} {text}", event.at.to_string()))
            }
            _ => None,
        }
    }

    fn is_for_ue(&self, node: &str, wire: &Wire) -> bool {
        wire.protocol == Protocol::Sip
            && is_response(&wire.bytes)
            && self.pcscfs.contains(node)
            && !self.core.contains(&wire.remote)
    }

    fn answered(&mut self, at: Instant, response: &Response, remote: SocketAddr) -> Option<String> {
        let headers = &response.headers;
        let cseq = headers.get(HeaderName::CSeq)?;
        let method = cseq.split_whitespace().nth(1)?.to_owned();
        let finished = response.status >= 200 && !matches!(response.status, 401 | 407);
        if !finished || !matches!(method.as_str(), "BYE" | "INVITE" | "REGISTER") {
            return None;
        }
        let call_id = headers.get(HeaderName::CallId).unwrap_or_default();
        if !self.is_new(format!("{call_id} {cseq}")) {
            return None;
        }
        let from = self.person(headers, HeaderName::From);
        let to = self.person(headers, HeaderName::To);
        let refused =
            |why: String| format!("refused: {} {}{why}", response.status, response.reason);
        let accepted = response.status < 300;
        Some(match method.as_str() {
            "REGISTER" if !accepted => format!("{to} not registered, {}", refused(self.why(at))),
            "REGISTER" => match headers.get(HeaderName::Contact) {
                Some(_) => format!("{to} registered from {remote}"),
                None => format!("{to} deregistered"),
            },
            "INVITE" if in_dialog(headers) && !accepted => return None,
            "INVITE" if accepted => format!("{from} calls {to}: answered"),
            "INVITE" if response.status == 487 => format!("{from} calls {to}: cancelled"),
            "INVITE" => format!("{from} calls {to}: {}", refused(self.why(at))),
            _ if accepted => format!("call of {from} and {to} ended"),
            _ => return None,
        })
    }

    fn is_new(&mut self, key: String) -> bool {
        if !self.told.insert(key.clone()) {
            return false;
        }
        self.told_in_order.push_back(key);
        if self.told_in_order.len() > TOLD_MAX
            && let Some(oldest) = self.told_in_order.pop_front()
        {
            self.told.remove(&oldest);
        }
        true
    }

    fn why(&mut self, at: Instant) -> String {
        match self.refusal.take() {
            Some((noted, text)) if at.since(noted) <= WHY_FOR => format!(" ({text})"),
            _ => String::new(),
        }
    }

    fn person(&self, headers: &Headers, name: HeaderName) -> String {
        let value = headers.get(name).unwrap_or_default();
        let uri = match value.split_once('<') {
            Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
            None => value.split(';').next().unwrap_or_default(),
        };
        self.people.get(user_of(uri)).cloned().unwrap_or_else(|| uri.trim().to_owned())
    }
}

fn because(node: &str, note: &Note) -> String {
    let cause = note.diagnosis.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{node}: {} [{}]{cause}", note.text, note.clause)
}

fn is_response(bytes: &Bytes) -> bool {
    bytes.starts_with(b"SIP/")
}

/// A re-INVITE changes a call; only that it fails is no end of it.
fn in_dialog(headers: &Headers) -> bool {
    headers.get(HeaderName::RecordRoute).is_none() && headers.to_tag().is_some()
}

/// `+15550100001` of `sip:+15550100001@ims.example;user=phone`.
fn user_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split(['@', ';']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use cscf_core::clause::ts24229;
    use cscf_core::transport::Transport;

    use super::*;

    fn sent(status: &str, method: &str, extra: &str) -> TraceEvent {
        let text = format!(
            "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKx\r\n\
             From: <sip:alice@ims.mnc001.mcc001.3gppnetwork.org>;tag=a\r\n\
             To: <tel:+15550100002>;tag=b\r\nCall-ID: {method}{status}\r\nCSeq: 1 {method}\r\n\
             {extra}Content-Length: 0\r\n\r\n"
        );
        let wire = Wire {
            protocol: Protocol::Sip,
            transport: Transport::Udp,
            local: "127.0.0.1:5060".parse().expect("address"),
            remote: "127.0.0.1:5070".parse().expect("address"),
            bytes: text.into(),
        };
        TraceEvent {
            at: Instant::from_millis(1500),
            node: "p1".into(),
            kind: TraceKind::Sent(wire),
        }
    }

    fn check(events: &[TraceEvent], expected: &[&str]) {
        let mut progress = Progress::new(&Lab::default_lab());
        let lines: Vec<String> = events.iter().filter_map(|event| progress.line(event)).collect();
        let lines: Vec<&str> = lines.iter().map(|line| line.trim_start()).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_end_is_told_once_and_in_names() {
        let contact = "Contact: <sip:b@127.0.0.1:5070>;expires=600\r\n";
        let answered = sent("200 OK", "INVITE", "Record-Route: <sip:p1;lr>\r\n");
        check(
            &[
                sent("401 Unauthorized", "REGISTER", ""),
                sent("200 OK", "REGISTER", contact),
                sent("180 Ringing", "INVITE", ""),
                answered.clone(),
                answered,
                sent("200 OK", "BYE", ""),
            ],
            &[
                "1.500000 bob registered from 127.0.0.1:5070",
                "1.500000 alice calls bob: answered",
                "1.500000 call of alice and bob ended",
            ],
        );
    }

    #[test]
    fn a_refusal_says_who_refused_and_why() {
        let text = "wrong RES".to_owned();
        let note = Note::new(ts24229("5.4.1.2.3"), text, true);
        let at = Instant::from_millis(1400);
        let noted = TraceEvent { at, node: "s1".into(), kind: TraceKind::Note(note) };
        check(
            &[noted, sent("403 Forbidden", "REGISTER", "")],
            &["1.500000 bob not registered, refused: 403 Forbidden (s1: wrong RES \
               [TS 24.229 §5.4.1.2.3])"],
        );
    }
}
