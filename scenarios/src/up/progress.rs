//! One line for every registration and call that was finished or refused, made from the trace.
//!
//! What counts is what the P-CSCF says to a UE. A refusal is told with its cause, see `causes`;
//! where that is not there yet, because another node's words take longer, the line waits a moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::config::{Lab, NodeRole, SubscriberRange};
use cscf_core::dialog::field::uri_of;
use cscf_core::sip::{self, HeaderName, Headers, Message, NameAddr, Response};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Protocol, TraceEvent, TraceKind, Wire};

use super::causes::Causes;

/// Answers remembered, so that one sent again is not told again.
const TOLD_MAX: usize = 10_000;
/// How much newer an event may be until a line that waits for its cause is told without.
const HELD_FOR: Duration = Duration::from_secs(1);
/// Lines that wait at most.
const HELD_MAX: usize = 100;

/// What is remembered of the trace.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pcscfs: BTreeSet<String>,
    core: BTreeSet<SocketAddr>,
    /// User parts and numbers of identities, with the subscriber's name.
    people: BTreeMap<String, String>,
    ranges: Vec<SubscriberRange>,
    told: BTreeSet<String>,
    told_in_order: VecDeque<String>,
    causes: Causes,
    held: VecDeque<Held>,
}

/// A line without the cause of the refusal.
#[derive(Debug)]
struct Held {
    at: Instant,
    text: String,
    /// The answer.
    headers: Headers,
    /// Who is refused.
    who: String,
}

impl Held {
    fn line(&self, why: Option<&str>) -> String {
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{:>12} {}{why}", self.at.to_string(), self.text)
    }
}

impl Progress {
    pub(super) fn new(lab: &Lab) -> Self {
        let of_role = |role| lab.nodes.iter().filter(move |node| node.role == role);
        let mut people = BTreeMap::new();
        for subscriber in lab.subscribers.listed() {
            let impus = subscriber.impus.iter().map(|impu| impu.uri.as_str());
            for identity in impus.chain([subscriber.impi.as_str()]) {
                people.insert(user_of(identity).to_owned(), subscriber.name.clone());
            }
        }
        let core = lab.nodes.iter().filter(|node| !lab.untrusted.contains(&node.name));
        let core = core.map(|node| node.listen);
        Self {
            pcscfs: of_role(NodeRole::Pcscf).map(|node| node.name.clone()).collect(),
            core: core.collect(),
            people,
            ranges: lab.subscribers.ranges().cloned().collect(),
            ..Self::default()
        }
    }

    /// Takes one event; gives a line for each thing that came to an end.
    pub(super) fn lines(&mut self, event: &TraceEvent) -> Vec<String> {
        self.causes.event(event);
        let mut lines = Vec::new();
        lines.extend(self.turned_away(event));
        if let TraceKind::Sent(wire) = &event.kind
            && self.is_for_ue(&event.node, wire)
            && let Ok(Message::Response(response)) = sip::parse(&wire.bytes)
        {
            let (text, refused) = self.answered(&response, wire.remote).unzip();
            let (at, headers) = (event.at, response.headers);
            let ended = text.map(|text| Held { at, text, headers, who: String::new() });
            match (ended, refused.flatten()) {
                (Some(ended), Some(who)) => self.held.push_back(Held { who, ..ended }),
                (Some(ended), None) => lines.push(ended.line(None)),
                (None, _) => {}
            }
        }
        let now = event.at;
        let late = |held: &Held| now > held.at && now.since(held.at) > HELD_FOR;
        let too_many = self.held.len().saturating_sub(HELD_MAX);
        let mut left = VecDeque::new();
        for (number, held) in std::mem::take(&mut self.held).into_iter().enumerate() {
            match self.why(&held) {
                None if number >= too_many && !late(&held) => left.push_back(held),
                why => lines.push(held.line(why)),
            }
        }
        self.held = left;
        lines
    }

    /// Who comes by TLS or WebSocket and is not let in: told once of each address and reason, for
    /// clients try again and again.
    fn turned_away(&mut self, event: &TraceEvent) -> Option<String> {
        let TraceKind::Dropped { remote, reason } = &event.kind else { return None };
        let connects = reason.starts_with("TLS: ") || reason.starts_with("WebSocket: ");
        let is_told = connects && self.pcscfs.contains(&*event.node);
        (is_told && self.is_new(format!("{} {reason}", remote.ip())))
            .then(|| format!("{:>12} {remote} not connected: {reason}", event.at.to_string()))
    }

    /// Whether lines wait for their causes.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// The lines that have waited long enough.
    pub(super) fn overdue(&mut self) -> Vec<String> {
        std::mem::take(&mut self.held).iter().map(|held| held.line(None)).collect()
    }

    fn why(&self, held: &Held) -> Option<&str> {
        let is_user = |about: &str| self.called(about) == held.who;
        self.causes.of((held.at, &held.headers), is_user)
    }

    fn is_for_ue(&self, node: &str, wire: &Wire) -> bool {
        wire.protocol == Protocol::Sip
            && is_response(&wire.bytes)
            && self.pcscfs.contains(node)
            && !self.core.contains(&wire.remote)
    }

    /// What came to an end by this answer, and who is refused if it is a refusal.
    fn answered(
        &mut self,
        response: &Response,
        remote: SocketAddr,
    ) -> Option<(String, Option<String>)> {
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
        let refused = || format!("refused: {} {}", response.status, response.reason);
        let accepted = response.status < 300;
        let text = match method.as_str() {
            "REGISTER" if !accepted => {
                return Some((format!("{to} not registered, {}", refused()), Some(to)));
            }
            "REGISTER" if has_binding(headers) => format!("{to} registered from {remote}"),
            "REGISTER" => format!("{to} deregistered"),
            "INVITE" if in_dialog(headers) && !accepted => return None,
            "INVITE" if accepted => format!("{from} calls {to}: answered"),
            "INVITE" if response.status == 487 => format!("{from} calls {to}: cancelled"),
            "INVITE" => return Some((format!("{from} calls {to}: {}", refused()), Some(from))),
            _ if accepted => format!("call of {from} and {to} ended"),
            _ => return None,
        };
        Some((text, None))
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

    fn person(&self, headers: &Headers, name: HeaderName) -> String {
        self.called(headers.get(name).unwrap_or_default())
    }

    /// The name of whom an identity belongs to; the identity itself where it is nobody's.
    fn called(&self, value: &str) -> String {
        let uri = uri_of(value);
        let user = user_of(uri);
        if let Some(name) = self.people.get(user) {
            return name.clone();
        }
        let in_range = |it: &SubscriberRange| Some(it.imsis.imsi(it.imsis.of_user(user)?));
        self.ranges.iter().find_map(in_range).unwrap_or_else(|| uri.to_owned())
    }
}

fn is_response(bytes: &Bytes) -> bool {
    bytes.starts_with(b"SIP/")
}

/// Whether a 200 to a REGISTER lists a contact that is still there: what was taken away may be
/// listed with no time left (RFC 3261 10.3).
fn has_binding(headers: &Headers) -> bool {
    let is_over = |contact: &str| {
        NameAddr::parse(contact).is_ok_and(|contact| contact.param("expires") == Some("0"))
    };
    headers.values(HeaderName::Contact).any(|contact| !is_over(contact))
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
    use cscf_core::trace::{Diagnosis, Note};
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
        let mut lines: Vec<String> =
            events.iter().flat_map(|event| progress.lines(event)).collect();
        lines.extend(progress.overdue());
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
    fn who_cannot_connect_is_told_once_with_the_reason() {
        let dropped = |node: &str, port: u16, reason: &str| TraceEvent {
            at: Instant::from_millis(1500),
            node: node.into(),
            kind: TraceKind::Dropped {
                remote: SocketAddr::from(([127, 0, 0, 9], port)),
                reason: reason.to_owned(),
            },
        };
        let untrusted =
            "TLS: the peer does not trust the CA of our certificate (alert: unknown ca)";
        check(
            &[
                dropped("p1", 5, untrusted),
                dropped("p1", 6, untrusted),
                dropped("p1", 7, "start line is not SIP"),
                dropped("i1", 8, untrusted),
            ],
            &[&format!("1.500000 127.0.0.9:5 not connected: {untrusted}")],
        );
    }

    #[test]
    fn a_contact_without_time_is_no_registration() {
        let gone = "Contact: <sip:b@127.0.0.1:5070>;expires=0\r\n";
        let one_left = "Contact: <sip:b@127.0.0.1:5070>;expires=0, <sip:c@c>;expires=60\r\n";
        check(&[sent("200 OK", "REGISTER", gone)], &["1.500000 bob deregistered"]);
        check(
            &[sent("200 OK", "REGISTER", one_left)],
            &["1.500000 bob registered from 127.0.0.1:5070"],
        );
    }

    fn refusal(node: &str, millis: u64, text: &str, about: &str) -> TraceEvent {
        let cause = Diagnosis::new(about, "the check");
        let note = Note::diagnosed(ts24229("5.4.1.2.3"), text.to_owned(), cause);
        let at = Instant::from_millis(millis);
        TraceEvent { at, node: node.into(), kind: TraceKind::Note(note) }
    }

    /// The REGISTER that the 403 of [`sent`] answers, or another one, at s1.
    fn came(millis: u64, call_id: &str) -> TraceEvent {
        let TraceEvent { kind, .. } = sent("403 Forbidden", "REGISTER", "");
        let TraceKind::Sent(wire) = kind else { panic!("sent") };
        let text = String::from_utf8_lossy(&wire.bytes).replace("REGISTER403 Forbidden", call_id);
        let wire = Wire { bytes: text.into(), ..wire };
        let at = Instant::from_millis(millis);
        TraceEvent { at, node: "s1".into(), kind: TraceKind::Received(wire) }
    }

    const REFUSED: &str = "1.500000 bob not registered, refused: 403 Forbidden";

    #[test]
    fn a_refusal_is_told_with_the_cause_of_its_own_transaction() {
        let told = format!("{REFUSED} (s1: wrong RES [TS 24.229 §5.4.1.2.3]: the check)");
        check(
            &[
                came(1300, "REGISTER403 Forbidden"),
                refusal("s1", 1300, "wrong RES", "bob"),
                came(1400, "another"),
                refusal("s1", 1400, "somebody else", "x"),
                sent("403 Forbidden", "REGISTER", ""),
            ],
            &[&told],
        );
        // The words of another node may take longer than those of the P-CSCF.
        check(
            &[
                sent("403 Forbidden", "REGISTER", ""),
                came(1300, "REGISTER403 Forbidden"),
                refusal("s1", 1300, "wrong RES", "bob"),
            ],
            &[&told],
        );
    }

    #[test]
    fn what_a_timer_says_is_told_to_whom_it_names() {
        check(
            &[
                refusal("s1", 1400, "somebody else", "alice"),
                refusal("i1", 1400, "no answer", "<sip:+15550100002@x;user=phone>"),
                sent("403 Forbidden", "REGISTER", ""),
            ],
            &[&format!("{REFUSED} (i1: no answer [TS 24.229 §5.4.1.2.3]: the check)")],
        );
        check(
            &[refusal("i1", 1400, "somebody else", "alice"), sent("403 Forbidden", "REGISTER", "")],
            &[REFUSED],
        );
    }
}
