//! Hostile bytes and a hostile network: whatever comes, nothing panics, and after the last deadline
//! every table is empty.

use bytes::Bytes;

use super::basics::{agent, proxy, request};
use super::roles::{Agent, Proxy, START};
use super::{addr, flow};
use crate::engine::{Engine, Input, Node, Output, Sizes};
use crate::ids::{Ids, Seed, ShardId};
use crate::role::{NextHop, Role, Within};
use crate::time::{Duration, Instant};
use crate::transport::{ConnId, Packet, Transport};

/// Chance of a test.
struct Dice(Ids);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Ids::new(Seed::derive(seed, "storm"), ShardId(0)))
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(bound as u64)).unwrap_or(0)
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    /// A message that is nearly one.
    fn message(&mut self) -> Vec<u8> {
        let method =
            self.pick(&["INVITE", "ACK", "CANCEL", "BYE", "MESSAGE", "REGISTER", "OPTIONS"]);
        let uri =
            self.pick(&["sip:b@n3.example", "tel:+1555", "sip:n2.example", "sip:[::1]", "x:y"]);
        let extra = self.pick(&[
            "",
            "Max-Forwards: 1\r\n",
            "Route: <sip:n2.example;lr>\r\n",
            "Route: <sip:n2.example;lr>, <sip:127.0.0.9;lr>\r\n",
            "Route: <sip:n7.example;transport=tcp;lr>\r\n",
            "Proxy-Require: x\r\n",
            "Record-Route: <sip:n1.example;lr>\r\n",
        ]);
        let mut text = request(method, uri, extra);
        let branch = format!("z9hG4bK{}", self.below(6));
        text = text.replace("z9hG4bKtest", &branch);
        if self.below(4) == 0 {
            text = text.replace("<sip:bob@n3.example>", "<sip:bob@n3.example>;tag=b1");
        }
        if self.below(3) == 0 {
            let status = self.pick(&["100", "180", "200", "302", "401", "486", "503", "603"]);
            text = text.replacen(
                &format!("{method} {uri} SIP/2.0"),
                &format!("SIP/2.0 {status} X"),
                1,
            );
        }
        self.mutate(text.into_bytes())
    }

    fn mutate(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = u8::try_from(self.below(256)).unwrap_or(0),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, b"\r\n\0;,<>\"\\ "[self.below(10)]),
                3 => {
                    bytes.remove(at);
                }
                _ => {
                    let end = (at + self.below(40)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(b'\n');
            }
        }
        bytes
    }
}

/// Feeds an engine with events for a while, then leaves it alone.
fn storm<R: Role>(mut engine: Engine<R>, seed: u64) -> (Engine<R>, Vec<Bytes>) {
    let mut dice = Dice::new(seed);
    let mut now = START;
    let mut sent = Vec::new();
    let mut conns: Vec<ConnId> = Vec::new();
    for n in 0..400 {
        now += Duration::from_millis(dice.below(700) as u64);
        let peer = addr(u8::try_from(dice.below(9)).unwrap_or(0));
        match dice.below(10) {
            0 => {
                let conn = ConnId::accepted(n);
                conns.push(conn);
                let flow = flow(Transport::Tcp, addr(2), peer, Some(conn));
                engine.handle_input(now, Input::Opened(flow));
            }
            1 | 2 if !conns.is_empty() => {
                let conn = conns[dice.below(conns.len())];
                let bytes = Bytes::from(dice.message());
                engine.handle_input(now, Input::Bytes { conn, bytes, received_at: now });
            }
            3 if !conns.is_empty() => {
                let conn = conns.swap_remove(dice.below(conns.len()));
                engine.handle_input(now, Input::Closed { conn, cause: "storm".into() });
            }
            4 => {
                let (local, cause) = (addr(2), "icmp".to_owned());
                engine.handle_input(now, Input::Unreachable { local, remote: peer, cause });
            }
            5 if !sent.is_empty() => {
                // What the engine has sent comes back, as a response if it can be one.
                let bytes: &Bytes = &sent[dice.below(sent.len())];
                let text = String::from_utf8_lossy(bytes).into_owned();
                let status = dice.pick(&["100", "183", "200", "404", "503"]);
                let line = text.lines().next().unwrap_or_default().to_owned();
                let text = text.replacen(&line, &format!("SIP/2.0 {status} X"), 1);
                let bytes = Bytes::from(dice.mutate(text.into_bytes()));
                let flow = flow(Transport::Udp, addr(2), peer, None);
                engine.handle_input(now, Input::Datagram(Packet { flow, bytes, received_at: now }));
            }
            6 => engine.handle_input(now, Input::Timeout),
            _ => {
                let bytes = Bytes::from(dice.message());
                let flow = flow(Transport::Udp, addr(2), peer, None);
                engine.handle_input(now, Input::Datagram(Packet { flow, bytes, received_at: now }));
            }
        }
        drain(&mut engine, &mut sent, &mut conns, now);
    }
    while let Some(at) = engine.poll_timeout() {
        assert!(at < now + Duration::from_secs(10_000), "a deadline that never ends");
        engine.handle_input(at.max(now), Input::Timeout);
        drain(&mut engine, &mut sent, &mut conns, at);
    }
    (engine, sent)
}

fn drain<R: Role>(
    engine: &mut Engine<R>,
    sent: &mut Vec<Bytes>,
    conns: &mut Vec<ConnId>,
    _: Instant,
) {
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Datagram(packet) => sent.push(packet.bytes),
            Output::Write { bytes, .. } => sent.push(bytes),
            Output::Connect { conn, .. } => conns.push(conn),
            Output::Close(conn) => conns.retain(|other| *other != conn),
            _ => {}
        }
    }
}

fn is_empty(sizes: Sizes) -> bool {
    Sizes { connections: 0, ..sizes } == Sizes::default()
}

#[test]
fn a_proxy_survives_every_storm_and_is_empty_after_it() {
    for seed in 0..60 {
        let to = match seed % 3 {
            0 => Vec::new(),
            1 => vec![NextHop::Uri("sip:n5.example;transport=tcp".into())],
            _ => vec![NextHop::Uri("sip:n5.example".into()), NextHop::Uri("sip:n6.example".into())],
        };
        let within = (seed % 5 == 0).then_some(Within::Final(Duration::from_secs(6)));
        let role = Proxy { to, within, ..Proxy::default() };
        let (engine, sent) = storm(proxy(2, role), seed);
        assert!(is_empty(engine.sizes()), "seed {seed}: {:?}", engine.sizes());
        assert!(sent.len() > 50, "seed {seed}: the storm was none");
        let ended = &engine.role().ended;
        let once: std::collections::BTreeSet<_> = ended.iter().collect();
        assert_eq!(once.len(), ended.len(), "seed {seed}: a context ended twice");
    }
}

#[test]
fn an_agent_survives_every_storm_and_is_empty_after_it() {
    for seed in 100..140 {
        let (engine, _) = storm(agent(2, Agent::answering(&[180, 486]).after(3)), seed);
        assert!(is_empty(engine.sizes()), "seed {seed}: {:?}", engine.sizes());
    }
}

#[test]
fn the_same_storm_gives_the_same_bytes() {
    let run = || storm(proxy(2, Proxy::default()), 7).1;
    assert_eq!(run(), run());
}

#[test]
fn datagrams_together_lead_to_what_they_lead_to_one_by_one() {
    let mut grouped = 0;
    for seed in 0..30 {
        let fresh = || {
            let mut engine = proxy(2, Proxy::default());
            engine.set_tracing(seed % 3 == 0);
            engine
        };
        let (mut one, mut other) = (fresh(), fresh());
        let mut dice = Dice::new(seed);
        let (mut now, mut sent) = (START, Vec::<Bytes>::new());
        for _ in 0..60 {
            now += Duration::from_millis(dice.below(700) as u64);
            let packets: Vec<Packet> = (0..=dice.below(8))
                .map(|_| {
                    let peer = addr(u8::try_from(dice.below(9)).unwrap_or(0));
                    let bytes = match dice.below(3) {
                        0 if !sent.is_empty() => {
                            let text = String::from_utf8_lossy(&sent[dice.below(sent.len())]);
                            let line = text.lines().next().unwrap_or_default();
                            Bytes::from(text.replacen(line, "SIP/2.0 200 X", 1))
                        }
                        _ => Bytes::from(dice.message()),
                    };
                    let flow = flow(Transport::Udp, addr(2), peer, None);
                    Packet { flow, bytes, received_at: now }
                })
                .collect();
            grouped += packets.len();
            let mut outputs = [Vec::new(), Vec::new()];
            for engine in [&mut one, &mut other] {
                engine.handle_input(now, Input::Timeout);
            }
            for packet in packets.clone() {
                one.handle_input(now, Input::Datagram(packet));
            }
            other.handle_datagrams(now, &mut packets.clone());
            for (engine, outputs) in [&mut one, &mut other].into_iter().zip(&mut outputs) {
                while let Some(output) = engine.poll_output() {
                    if let Output::Datagram(packet) = &output {
                        sent.push(packet.bytes.clone());
                    }
                    outputs.push(format!("{output:?}"));
                }
            }
            assert_eq!(outputs[0], outputs[1], "seed {seed}");
            assert_eq!(one.poll_timeout(), other.poll_timeout(), "seed {seed}");
        }
        assert_eq!(one.sizes(), other.sizes(), "seed {seed}");
    }
    assert!(grouped > 5_000, "{grouped}");
}
