//! Invariants that hold in every run, whatever the network did: one function each, its name a
//! sentence. They look at the wire only.

mod hops;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cscf_core::clause::{own, ts33203};
use cscf_core::config::NodeRole;
use cscf_core::sip::{self, HeaderName, Message, Method, Request, Response};
use cscf_core::time::Instant;
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};
use cscf_core::transport::Transport;

/// What was violated, with the time and place.
pub type Violations = Vec<String>;

/// Which nodes of a trace are what.
#[derive(Clone, Debug, Default)]
pub struct Cast {
    /// Names of UEs.
    pub ues: BTreeSet<String>,
    /// Names of UEs that answer challenges wrongly.
    pub impostors: BTreeSet<String>,
    /// Nodes that were stopped during the run: what they owed is forgiven.
    pub crashed: BTreeSet<String>,
    /// Names of P-CSCFs.
    pub edges: BTreeSet<String>,
    /// Addresses of UEs; their protected ports count as well.
    pub ue_addresses: BTreeSet<std::net::SocketAddr>,
    /// The roles of the nodes by their addresses, where each node has one of its own.
    pub roles: BTreeMap<std::net::IpAddr, NodeRole>,
    /// The roles of the nodes by the hosts that others are told.
    pub hosts: BTreeMap<String, NodeRole>,
}

/// Runs all checks on a finished run.
#[must_use]
pub fn all(events: &[TraceEvent], cast: &Cast) -> Violations {
    let seen = Seen::of(events);
    let mut out = Vec::new();
    every_invite_gets_one_final_and_the_others_at_most_one(&seen, cast, &mut out);
    no_408_answers_anything_but_invite(&seen, &injectors(events), &mut out);
    no_key_passes_the_edge(&seen, cast, &mut out);
    no_charging_vector_passes_the_edge(&seen, cast, &mut out);
    no_withheld_identity_passes_the_edge(&seen, cast, &mut out);
    the_icid_is_constant_along_a_dialog(&seen, cast, &mut out);
    an_impostor_never_gets_a_200(&seen, cast, &mut out);
    max_forwards_falls_by_one_a_hop(&seen, cast, &mut out);
    what_nobody_may_touch_arrives_unchanged(&seen, cast, &mut out);
    hops::all(&seen, cast, &mut out);
    out
}

/// Runs only the checks of single messages, which hold whatever the nodes are ordered to do: which
/// header may be at which hop.
#[must_use]
pub fn at_each_hop(events: &[TraceEvent], cast: &Cast) -> Violations {
    let seen = Seen::of(events);
    let mut out = Vec::new();
    no_key_passes_the_edge(&seen, cast, &mut out);
    no_charging_vector_passes_the_edge(&seen, cast, &mut out);
    the_icid_is_constant_along_a_dialog(&seen, cast, &mut out);
    hops::all(&seen, cast, &mut out);
    out
}

/// A SIP message of the trace, read once.
struct Item<'a> {
    event: &'a TraceEvent,
    wire: &'a Wire,
    sent: bool,
    message: Message,
    call_id: String,
    cseq: String,
    branch: String,
}

struct Seen<'a>(Vec<Item<'a>>, Discards<'a>, &'a [TraceEvent]);

/// The nodes and times at which what came under a security association was dropped unanswered
/// (TS 33.203 §7.4.2a: only the rest of its transactions is for one that ends).
type Discards<'a> = BTreeSet<(&'a str, Instant)>;

impl<'a> Seen<'a> {
    fn of(events: &'a [TraceEvent]) -> Self {
        let discard = |event: &'a TraceEvent| match &event.kind {
            TraceKind::Note(note)
                if note.refusal
                    && note.clause == ts33203("7.4.2a")
                    && note.text.contains(" dropped: ") =>
            {
                Some((&*event.node, event.at))
            }
            _ => None,
        };
        let discards = events.iter().filter_map(discard).collect();
        Self(events.iter().filter_map(item).collect(), discards, events)
    }

    /// Whether the connection by which a message came has ended since it was sent, and nobody can
    /// open it anew from this side: a browser has no address, and only a phone with a certificate
    /// would be one. It may end while one engine of a node hands the message to another.
    fn cannot_be_answered(&self, item: &Item<'_>) -> bool {
        let Wire { transport, local, remote, .. } = item.wire;
        if matches!(transport, Transport::Udp | Transport::Tcp) {
            return false;
        }
        let sent_at = self.0.iter().rev().find(|it| {
            it.sent
                && it.event.at <= item.event.at
                && (it.wire.local, it.wire.remote) == (*remote, *local)
                && it.wire.bytes == item.wire.bytes
        });
        let sent_at = sent_at.map_or(item.event.at, |it| it.event.at);
        let ended = |note: &Note| {
            let flow = note.ended.as_deref();
            flow.is_some_and(|it| {
                (it.transport, it.local, it.remote) == (*transport, *local, *remote)
            })
        };
        self.2.iter().any(|event| {
            event.at >= sent_at
                && event.node == item.event.node
                && matches!(&event.kind, TraceKind::Note(it) if ended(it))
        })
    }

    fn sent_requests(&self) -> impl Iterator<Item = (&Item<'a>, &Request)> {
        self.0.iter().filter(|item| item.sent).filter_map(|item| match &item.message {
            Message::Request(request) => Some((item, request)),
            Message::Response(_) => None,
        })
    }

    fn sent_responses(&self) -> impl Iterator<Item = (&Item<'a>, &Response)> {
        self.0.iter().filter(|item| item.sent).filter_map(|item| match &item.message {
            Message::Response(response) => Some((item, response)),
            Message::Request(_) => None,
        })
    }
}

fn item(event: &TraceEvent) -> Option<Item<'_>> {
    let (wire, sent) = match &event.kind {
        TraceKind::Sent(wire) => (wire, true),
        TraceKind::Received(wire) => (wire, false),
        _ => return None,
    };
    if wire.protocol != Protocol::Sip {
        return None;
    }
    let message = sip::parse(&wire.bytes).ok()?;
    let header = |name| message.headers().get(name).unwrap_or_default().to_owned();
    let (call_id, cseq) = (header(HeaderName::CallId), header(HeaderName::CSeq));
    let via = message.headers().first_value(HeaderName::Via).unwrap_or_default();
    let branch = via.split("branch=").nth(1).unwrap_or_default();
    let branch = branch.split(';').next().unwrap_or_default().to_owned();
    Some(Item { event, wire, sent, message, call_id, cseq, branch })
}

fn method_of(cseq: &str) -> &str {
    cseq.split_whitespace().nth(1).unwrap_or_default()
}

/// RFC 3261 §17.2, with RFC 4320 §4.2: a request other than INVITE may stay without an answer.
fn every_invite_gets_one_final_and_the_others_at_most_one(
    seen: &Seen<'_>,
    cast: &Cast,
    out: &mut Violations,
) {
    type Key<'a> = (&'a str, &'a str, &'a str);
    let mut asked: BTreeMap<Key<'_>, &Item<'_>> = BTreeMap::new();
    let mut finals: BTreeMap<Key<'_>, BTreeSet<(u16, &Bytes)>> = BTreeMap::new();
    for item in &seen.0 {
        let key = (&*item.event.node, item.branch.as_str(), method_of(&item.cseq));
        match &item.message {
            Message::Request(request) if !item.sent && request.method != Method::Ack => {
                asked.entry(key).or_insert(item);
            }
            Message::Response(response) if item.sent && response.status >= 200 => {
                finals.entry(key).or_default().insert((response.status, &item.wire.bytes));
            }
            _ => {}
        }
    }
    let none = BTreeSet::new();
    for (key, item) in asked {
        let (node, branch, method) = key;
        let given = finals.get(&key).unwrap_or(&none);
        let failures = given.iter().filter(|(status, _)| *status >= 300).count();
        let place = || format!("{} {node} {method} {branch}", item.event.at);
        // Who starts anew does not know what it has answered.
        let forgot = cast.crashed.contains(node);
        if !forgot && (failures > 1 || (failures == 1 && given.len() > 1)) {
            let codes: Vec<u16> = given.iter().map(|(status, _)| *status).collect();
            out.push(format!("{}: more than one final: {codes:?}", place()));
        }
        if method != "INVITE" || !given.is_empty() {
            continue;
        }
        let discarded = seen.1.contains(&(node, item.event.at));
        let excused = forgot || discarded || seen.cannot_be_answered(item);
        if !excused {
            out.push(format!("{}: no final", place()));
        }
    }
}

/// Nodes that the operator ordered to give an answer not their own.
fn injectors(events: &[TraceEvent]) -> BTreeSet<&str> {
    let ordered = events.iter().filter(|event| match &event.kind {
        TraceKind::Note(note) => note.clause == own("injected"),
        _ => false,
    });
    ordered.map(|event| &*event.node).collect()
}

/// RFC 4320 §4.2; whoever was ordered to do otherwise, and who relays that, is left out.
fn no_408_answers_anything_but_invite(
    seen: &Seen<'_>,
    injectors: &BTreeSet<&str>,
    out: &mut Violations,
) {
    for (item, response) in seen.sent_responses() {
        if injectors.is_empty() && response.status == 408 && method_of(&item.cseq) != "INVITE" {
            out.push(format!("{} {} sends 408 for {}", item.event.at, item.event.node, item.cseq));
        }
    }
}

/// TS 24.229 §5.2.2: CK and IK stay in the network.
fn no_key_passes_the_edge(seen: &Seen<'_>, cast: &Cast, out: &mut Violations) {
    for item in at_the_edge(seen, cast) {
        for field in item.message.headers().fields(HeaderName::WwwAuthenticate) {
            let names = field.value().split(',').map(str::trim_start);
            let mut keys = names.filter(|name| name.starts_with("ck=") || name.starts_with("ik="));
            if keys.next().is_some() {
                out.push(format!("{} {} sends keys to a UE", item.event.at, item.event.node));
            }
        }
    }
}

/// TS 24.229 §5.2: charging headers stay in the network.
fn no_charging_vector_passes_the_edge(seen: &Seen<'_>, cast: &Cast, out: &mut Violations) {
    for item in at_the_edge(seen, cast) {
        for name in [
            HeaderName::PChargingVector,
            HeaderName::PChargingFunctionAddresses,
            HeaderName::PVisitedNetworkId,
        ] {
            if item.message.headers().contains(name) {
                let (at, node) = (item.event.at, &item.event.node);
                out.push(format!("{at} {node} sends {name} to a UE"));
            }
        }
    }
}

/// RFC 3325 §7, TS 24.229 §4.4.2: an identity that is to be withheld stays in the network, and no
/// UE asserts one there: what a P-CSCF lets in is its own word.
fn no_withheld_identity_passes_the_edge(seen: &Seen<'_>, cast: &Cast, out: &mut Violations) {
    let withheld = |message: &Message| {
        let values = message.headers().fields(HeaderName::Privacy);
        let mut values = values.flat_map(|field| field.value().split([';', ',']));
        values.any(|value| value.trim().eq_ignore_ascii_case("id"))
    };
    for item in at_the_edge(seen, cast) {
        let asserted = item.message.headers().contains(HeaderName::PAssertedIdentity);
        if asserted && withheld(&item.message) {
            let (at, node) = (item.event.at, &item.event.node);
            out.push(format!("{at} {node} sends P-Asserted-Identity to a UE that may not see it"));
        }
    }
    for item in &seen.0 {
        let preferred = item.message.headers().contains(HeaderName::PPreferredIdentity);
        if item.sent && preferred && !cast.ues.contains(&*item.event.node) {
            let (at, node) = (item.event.at, &item.event.node);
            out.push(format!("{at} {node} {}: P-Preferred-Identity goes on", item.cseq));
        }
    }
}

fn at_the_edge<'s, 'a>(seen: &'s Seen<'a>, cast: &'s Cast) -> impl Iterator<Item = &'s Item<'a>> {
    seen.0.iter().filter(|item| {
        item.sent
            && cast.edges.contains(&*item.event.node)
            && cast.ue_addresses.iter().any(|ue| ue.ip() == item.wire.remote.ip())
    })
}

/// TS 24.229 §4.5.2: one icid for a dialog or stand-alone transaction; each REGISTER has its own,
/// and so has an INVITE that is made once more under the same Call-ID after a 407, 422 or 302. A
/// request that its UE sent again on a new branch, after its connection broke, is another
/// transaction to the network: such a Call-ID is left out.
fn the_icid_is_constant_along_a_dialog(seen: &Seen<'_>, cast: &Cast, out: &mut Violations) {
    let mut branches: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut again: BTreeSet<&str> = BTreeSet::new();
    let mut attempts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (item, request) in seen.sent_requests() {
        let initial = !request.headers.get(HeaderName::To).is_some_and(|to| to.contains(";tag="));
        let hop_by_hop = matches!(request.method, Method::Ack | Method::Cancel);
        if initial && !hop_by_hop && cast.ues.contains(&*item.event.node) {
            let first = branches.entry((&item.call_id, &item.cseq)).or_insert(&item.branch);
            if **first != *item.branch {
                again.insert(&item.call_id);
            }
            attempts.entry(&item.call_id).or_default().insert(&item.cseq);
        }
    }
    let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for item in &seen.0 {
        let method = method_of(&item.cseq);
        // Who goes on with the subscriptions of a node that is gone knows no icid of theirs.
        let taken_over = method == "NOTIFY" && !cast.crashed.is_empty();
        if method == "REGISTER" || taken_over || again.contains(item.call_id.as_str()) {
            continue;
        }
        let Some(vector) = item.message.headers().get(HeaderName::PChargingVector) else {
            continue;
        };
        let Some(icid) = vector.split("icid-value=").nth(1) else { continue };
        let icid = icid.split(';').next().unwrap_or_default().trim_matches('"').to_owned();
        let ids = known.entry(&item.call_id).or_default();
        let may = attempts.get(item.call_id.as_str()).map_or(1, BTreeSet::len);
        if ids.insert(icid.clone()) && ids.len() > may {
            let (at, node) = (item.event.at, &item.event.node);
            out.push(format!("{at} {node} {}: icid {icid} is one too many", item.cseq));
        }
    }
}

/// TS 24.229 §5.4.1.2.2: a wrong RES registers nobody.
fn an_impostor_never_gets_a_200(seen: &Seen<'_>, cast: &Cast, out: &mut Violations) {
    for item in &seen.0 {
        let Message::Response(response) = &item.message else { continue };
        let impostor = cast.impostors.contains(&*item.event.node);
        if !item.sent && impostor && response.status == 200 && method_of(&item.cseq) == "REGISTER" {
            out.push(format!("{} {} is registered", item.event.at, item.event.node));
        }
    }
}

/// RFC 3261 §16.6 step 3. CANCEL and ACK are made anew at each hop and do not count.
fn max_forwards_falls_by_one_a_hop(seen: &Seen<'_>, cast: &Cast, out: &mut Violations) {
    let hops = |request: &Request| {
        request.headers.get(HeaderName::MaxForwards).and_then(|text| text.parse::<u32>().ok())
    };
    let mut had: BTreeMap<(&str, &str, &str), BTreeSet<u32>> = BTreeMap::new();
    for item in &seen.0 {
        let Message::Request(request) = &item.message else { continue };
        let Some(left) = hops(request) else { continue };
        let key = (&*item.event.node, item.call_id.as_str(), item.cseq.as_str());
        if !item.sent {
            had.entry(key).or_default().insert(left);
        } else if !cast.ues.contains(key.0)
            // With its own Via alone the request was made here (a BYE of the S-CSCF).
            && request.headers.values(HeaderName::Via).count() > 1
            && !matches!(request.method, Method::Cancel | Method::Ack)
            && had.get(&key).is_some_and(|had| !had.contains(&(left + 1)))
        {
            let (at, node) = (item.event.at, &item.event.node);
            out.push(format!("{at} {node} {}: Max-Forwards {left}", item.cseq));
        }
    }
}

/// Idea 7 of the message model: a header that no clause touches leaves as it came, byte for byte,
/// and so does the body.
fn what_nobody_may_touch_arrives_unchanged(seen: &Seen<'_>, cast: &Cast, out: &mut Violations) {
    const UNTOUCHED: [HeaderName; 12] = [
        HeaderName::Accept,
        HeaderName::AcceptContact,
        HeaderName::Allow,
        HeaderName::CallId,
        HeaderName::ContentType,
        HeaderName::CSeq,
        HeaderName::From,
        HeaderName::PEarlyMedia,
        HeaderName::RAck,
        HeaderName::SessionExpires,
        HeaderName::Supported,
        HeaderName::UserAgent,
    ];
    let picture = |request: &Request| {
        let lines = UNTOUCHED.iter().flat_map(|name| request.headers.fields(*name));
        let mut lines: Vec<Vec<u8>> = lines.map(|field| field.line().to_vec()).collect();
        lines.push(request.body.to_vec());
        lines
    };
    let mut origin = BTreeMap::new();
    for (item, request) in seen.sent_requests() {
        if matches!(request.method, Method::Cancel | Method::Ack | Method::Register) {
            continue;
        }
        let from = request.headers.get(HeaderName::From).unwrap_or_default();
        let key = (item.call_id.clone(), item.cseq.clone(), from.to_owned());
        if cast.ues.contains(&*item.event.node) {
            origin.entry(key).or_insert_with(|| picture(request));
        } else if let Some(first) = origin.get(&key) {
            let now = picture(request);
            let changed = first.iter().zip(&now).find(|(a, b)| a != b);
            if let Some((was, is)) = changed {
                let (at, node) = (item.event.at, &item.event.node);
                let text = |line: &[u8]| String::from_utf8_lossy(line).trim_end().to_owned();
                out.push(format!("{at} {node} {}: {} was {}", item.cseq, text(is), text(was)));
            }
        }
    }
}
