//! Keep-alives on the wire (RFC 5626 §3.5, §4.4, RFC 6223, RFC 7118 §6): the bytes that an emulated
//! UE sends to a P-CSCF by hand, when it sends them, and what it does without an answer.

use std::net::SocketAddr;
use std::time::Duration;

use cscf_core::sip::{HeaderName, Message, Request};
use cscf_core::transport::ConnId;
use cscf_tests::{Bench, crlf, label};

use super::hand::{A_MOMENT, response};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("alive::pings_come_in_time_on_a_stream", &["U-REG-185a"], pings),
        case("alive::a_stream_without_pong_is_left", &["U-REG-185c"], no_pong),
        case("alive::binding_requests_come_in_time", &["U-REG-185b"], probes),
        case("alive::another_address_is_another_flow", &["U-REG-185d"], moved),
        case("alive::nobody_sends_what_nobody_asked_for", &["U-REG-185e"], unasked),
    ]
}

/// A P-CSCF by hand, and the UE `alice` with these keys.
struct Edge {
    bench: Bench,
    conn: Option<ConnId>,
}

impl Edge {
    fn of(keys: &str) -> Self {
        let text = format!("scenario: x\nparties: {{alice: {{{keys}}}}}\nsteps: []\n");
        let mut bench = Bench::of(&text);
        bench.replace("p1", "edge");
        Self { bench, conn: None }
    }

    fn alice(&self) -> SocketAddr {
        self.bench.addr("alice")
    }

    /// What came by a stream since, with the connection it came by; message and other bytes alike.
    fn streamed(&mut self) -> Vec<u8> {
        let (streams, _) = self.bench.heard_stream("edge");
        let mut out = Vec::new();
        for (conn, bytes) in streams {
            self.conn = Some(conn);
            out.extend(bytes);
        }
        out
    }

    /// Answers the REGISTER that came with a 200 that has these lines.
    fn accepts(&mut self, request: &Request, keep: &str, lines: &str) {
        let contact = request.headers.get(HeaderName::Contact).expect("a contact");
        let contact = contact.split(";expires").next().unwrap_or_default();
        let lines = format!("Contact: {contact};expires=600000\n{lines}");
        let text = response(&Message::Request(request.clone()), "200 OK", &lines);
        let text = text.replacen(";keep", &format!(";keep{keep}"), 1);
        match self.conn {
            Some(conn) => self.bench.write("edge", conn, &crlf(&text)),
            None => {
                let to = self.alice();
                self.bench.send("edge", to, &text);
            }
        }
        self.bench.run_for(A_MOMENT);
    }

    /// The REGISTER on a stream.
    fn registers(&mut self) -> Request {
        self.bench.run_for(A_MOMENT);
        let bytes = self.streamed();
        let text = bytes.strip_prefix(b"\r\n\r\n").unwrap_or(&bytes).to_vec();
        match cscf_core::sip::parse(&text.into()).expect("SIP") {
            Message::Request(request) => request,
            Message::Response(_) => panic!("a response"),
        }
    }

    /// What came by datagram: whole SIP messages apart from the rest.
    fn datagrams(&mut self) -> (Vec<Message>, Vec<Vec<u8>>) {
        let (mut messages, mut others) = (Vec::new(), Vec::new());
        for packet in self.bench.packets("edge") {
            match cscf_core::sip::parse(&packet.bytes) {
                Ok(message) => messages.push(message),
                Err(_) => others.push(packet.bytes.to_vec()),
            }
        }
        (messages, others)
    }

    /// Runs until something other than SIP comes by datagram; what, and after how long.
    fn next_datagram(&mut self, within: Duration) -> Option<(Vec<u8>, Duration)> {
        let step = Duration::from_millis(100);
        let mut waited = Duration::ZERO;
        while waited < within {
            self.bench.run_for(step);
            waited += step;
            if let Some(bytes) = self.datagrams().1.pop() {
                return Some((bytes, waited));
            }
        }
        None
    }
}

const OUTBOUND: &str = "Require: outbound\nFlow-Timer: 30\n";

/// Runs until something comes by the stream; what, and after how long.
fn next_bytes(edge: &mut Edge, within: Duration) -> Option<(Vec<u8>, Duration)> {
    let step = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    while waited < within {
        edge.bench.run_for(step);
        waited += step;
        let mut bytes = edge.streamed();
        if !bytes.is_empty() {
            // The rest of what came in pieces.
            edge.bench.run_for(Duration::from_millis(20));
            bytes.extend(edge.streamed());
            return Some((bytes, waited));
        }
    }
    None
}

fn in_time(waited: Duration, longest: u64) -> bool {
    let early = Duration::from_secs(longest) * 4 / 5;
    (early..=Duration::from_secs(longest) + A_MOMENT * 2).contains(&(waited + A_MOMENT))
}

fn pings() {
    for (told, longest) in [(OUTBOUND, 30), ("Require: outbound\n", 120)] {
        let mut edge = Edge::of("transport: tcp, reg_id: 1, reg_event: off");
        edge.bench.play("alice registers");
        let request = edge.registers();
        edge.accepts(&request, "", told);
        let mut waits = Vec::new();
        for _ in 0..5 {
            let (bytes, waited) = next_bytes(&mut edge, Duration::from_secs(130)).expect("a ping");
            assert_eq!(bytes, b"\r\n\r\n");
            assert!(in_time(waited, longest), "{waited:?} of {longest} s");
            waits.push(waited);
            let conn = edge.conn.expect("a connection");
            edge.bench.write("edge", conn, b"\r\n");
            edge.bench.run_for(A_MOMENT);
        }
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 1, "chance decides: {waits:?}");
    }
}

fn no_pong() {
    let mut edge = Edge::of("transport: tcp, reg_id: 1, reg_event: off");
    edge.bench.play("alice registers");
    let first = edge.registers();
    edge.accepts(&first, "", OUTBOUND);
    let old = edge.conn.expect("a connection");
    let (bytes, _) = next_bytes(&mut edge, Duration::from_secs(31)).expect("a ping");
    assert_eq!(bytes, b"\r\n\r\n");
    // One pong, so that the flow has worked; then none.
    edge.bench.write("edge", old, b"\r\n");
    let (_, _) = next_bytes(&mut edge, Duration::from_secs(31)).expect("a ping");
    edge.bench.run_for(Duration::from_millis(9_500));
    let (streams, closed) = edge.bench.heard_stream("edge");
    assert!(streams.is_empty() && closed.is_empty(), "10 s are not over");
    edge.bench.run_for(Duration::from_secs(1));
    let (streams, closed) = edge.bench.heard_stream("edge");
    assert_eq!(closed, [old], "the old flow is left");
    let (conn, bytes) = streams.into_iter().next().expect("another flow");
    assert_ne!(conn, old);
    let Ok(Message::Request(again)) = cscf_core::sip::parse(&bytes) else { panic!("no REGISTER") };
    let of = |request: &Request, name| request.headers.get(name).expect("a header").to_owned();
    assert_eq!(label(&Message::Request(again.clone())), "REGISTER");
    assert!(of(&again, HeaderName::Contact).contains(";reg-id=1"), "the same flow number");
    assert_ne!(of(&again, HeaderName::CallId), of(&first, HeaderName::CallId));
}

/// A binding success with this address (RFC 8489 §14.2), IPv4.
fn mapped(request: &[u8], seen: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(seen) = seen else { panic!("IPv4") };
    let mut out = vec![1, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42];
    out.extend(&request[8..20]);
    out.extend([0, 0x20, 0, 8, 0, 1]);
    out.extend((seen.port() ^ 0x2112).to_be_bytes());
    let octets = seen.ip().octets().into_iter().zip([0x21, 0x12, 0xA4, 0x42]);
    out.extend(octets.map(|(octet, mask)| octet ^ mask));
    out
}

/// `alice` registered by datagram.
fn by_datagram(keys: &str, keep: &str, lines: &str) -> (Edge, Request) {
    let mut edge = Edge::of(keys);
    edge.bench.play("alice registers");
    edge.bench.run_for(A_MOMENT);
    let (mut messages, _) = edge.datagrams();
    let Some(Message::Request(request)) = messages.pop() else { panic!("no REGISTER") };
    edge.accepts(&request, keep, lines);
    (edge, request)
}

fn probes() {
    for (keys, keep, lines, longest) in [
        ("reg_id: 1", "", OUTBOUND, 30),
        ("reg_id: 1", "", "Require: outbound\n", 29),
        ("keep_alive: \"on\"", "=20", "", 20),
        ("keep_alive: 10s", "=20", "", 10),
        ("keep_alive: \"on\"", "=0", "", 29),
    ] {
        let keys = format!("{keys}, reg_event: off");
        let (mut edge, request) = by_datagram(&keys, keep, lines);
        let offered = request.headers.get(HeaderName::Via).expect("Via").contains(";keep");
        assert_eq!(offered, keys.contains("keep_alive"), "{keys}");
        let mut ids = Vec::new();
        for _ in 0..3 {
            let (bytes, waited) = edge.next_datagram(Duration::from_secs(40)).expect("STUN");
            assert_eq!(bytes.len(), 20, "{keys}");
            assert_eq!(bytes[..8], [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42]);
            assert!(in_time(waited, longest), "{keys}: {waited:?} of {longest} s");
            let alice = edge.alice();
            edge.bench.send_bytes("edge", alice, &mapped(&bytes, alice));
            edge.bench.run_for(A_MOMENT);
            ids.push(bytes[8..].to_vec());
        }
        ids.dedup();
        assert_eq!(ids.len(), 3, "each has a number of its own");
        // Without an answer: again after 0.5, 1, 2, 4, 8 and 16 s (RFC 8489 §6.2.1), 8 s more, then
        // the end of the flow.
        let (first, _) = edge.next_datagram(Duration::from_secs(40)).expect("STUN");
        for millis in [500, 1_000, 2_000, 4_000, 8_000, 16_000] {
            let (again, waited) = edge.next_datagram(Duration::from_secs(20)).expect("again");
            assert_eq!(again, first);
            let late = waited.as_millis().abs_diff(millis);
            assert!(late <= 200, "{waited:?} for {millis} ms");
        }
        edge.bench.run_for(Duration::from_millis(7_500));
        assert!(edge.datagrams().0.is_empty());
        edge.bench.run_for(Duration::from_secs(1));
        let (messages, _) = edge.datagrams();
        assert_eq!(messages.iter().map(label).collect::<Vec<_>>(), ["REGISTER"], "{keys}");
    }
}

fn moved() {
    let (mut edge, _) = by_datagram("reg_id: 1, reg_event: off", "", OUTBOUND);
    let alice = edge.alice();
    let elsewhere: SocketAddr = "192.0.2.9:40000".parse().expect("an address");
    for (seen, expected) in [(elsewhere, 0), (elsewhere, 0), (alice, 1)] {
        let (bytes, _) = edge.next_datagram(Duration::from_secs(40)).expect("STUN");
        edge.bench.send_bytes("edge", alice, &mapped(&bytes, seen));
        edge.bench.run_for(A_MOMENT);
        assert_eq!(edge.datagrams().0.len(), expected, "{seen}");
    }
}

fn unasked() {
    for (keys, keep, lines) in [
        ("reg_id: 1", "", ""),
        ("keep_alive: \"on\"", "", ""),
        ("radio: on", "", "Flow-Timer: 30\nRequire: outbound\n"),
        ("reg_id: 1, keep_alive: \"off\"", "", OUTBOUND),
    ] {
        let (mut edge, _) = by_datagram(&format!("{keys}, reg_event: off"), keep, lines);
        assert_eq!(edge.next_datagram(Duration::from_secs(130)), None, "{keys}");
    }
}
