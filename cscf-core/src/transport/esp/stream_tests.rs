//! TCP under associations, between two endpoints over a network that loses, doubles, reorders and
//! damages packets by a seed.

use std::collections::BTreeMap;

use super::*;
use crate::time::Duration;
use crate::transport::esp::EspEvent::{Accepted, Bytes as Got, Closed, Connected};

const PCSCF: usize = 0;
const UE: usize = 1;

/// In thousandths.
#[derive(Clone, Copy, Default)]
struct Trouble {
    loss: u64,
    doubling: u64,
    damage: u64,
    spread_ms: u64,
}

struct World {
    ends: [Endpoint; 2],
    set: SaSet,
    now: Instant,
    wire: BTreeMap<(Instant, u64), (usize, Bytes)>,
    posted: u64,
    trouble: Trouble,
    chance: Ids,
    told: Vec<(usize, EspEvent)>,
}

impl World {
    fn new(set: &SaSet, seed: u64, trouble: Trouble) -> Self {
        let (pcscf, ue) = ends(set);
        Self {
            ends: [pcscf, ue],
            set: set.clone(),
            now: NOW,
            wire: BTreeMap::new(),
            posted: 0,
            trouble,
            chance: Ids::new(Seed::derive(seed, "network"), ShardId::default()),
            told: Vec::new(),
        }
    }

    fn set_of(&self, end: usize) -> SaSet {
        if end == PCSCF { self.set.clone() } else { self.set.seen_by_peer(SaId(1)) }
    }

    fn happens(&mut self, thousandths: u64) -> bool {
        self.chance.below(1_000) < thousandths
    }

    /// Carries what leaves, and keeps what is told.
    fn pump(&mut self) {
        for end in [PCSCF, UE] {
            while let Some(event) = self.ends[end].poll_event() {
                let EspEvent::Transmit { bytes, .. } = event else {
                    self.told.push((end, event));
                    continue;
                };
                let copies = 1 + usize::from(self.happens(self.trouble.doubling));
                for _ in 0..copies {
                    if self.happens(self.trouble.loss) {
                        continue;
                    }
                    let mut bytes = bytes.to_vec();
                    if self.happens(self.trouble.damage) {
                        let bit = usize::try_from(self.chance.below(bytes.len() as u64 * 8));
                        let bit = bit.expect("small");
                        bytes[bit / 8] ^= 1 << (bit % 8);
                    }
                    let spread = self.chance.below(self.trouble.spread_ms + 1);
                    let at = self.now + Duration::from_millis(10 + spread);
                    self.posted += 1;
                    self.wire.insert((at, self.posted), (1 - end, bytes.into()));
                }
            }
        }
    }

    /// Lets the next thing happen, if there is one within the time.
    fn step(&mut self, until: Instant) -> bool {
        self.pump();
        let arrives = self.wire.keys().next().map(|(at, _)| *at);
        let due = self.ends.iter().filter_map(Endpoint::poll_timeout);
        let Some(next) = arrives.into_iter().chain(due).min().filter(|at| *at <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        for end in &mut self.ends {
            end.handle_timeout(self.now);
        }
        while let Some(first) = self.wire.first_entry().filter(|it| it.key().0 <= self.now) {
            let (to, bytes) = first.remove();
            let set = self.set_of(to);
            self.ends[to].receive(self.now, set.local.addr, set.remote.addr, &bytes);
        }
        self.pump();
        true
    }

    fn run(&mut self, secs: u64) {
        let until = self.now + Duration::from_secs(secs);
        while self.step(until) {}
    }

    fn connect(&mut self, end: usize) -> StreamId {
        let flow = self.set_of(end).stream_flow();
        let stream = self.ends[end].connect(self.now, &flow).expect("asked for");
        self.pump();
        stream
    }

    fn write(&mut self, end: usize, stream: StreamId, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        assert!(self.ends[end].write(self.now, stream, bytes), "written");
        self.pump();
    }

    fn close(&mut self, end: usize, stream: StreamId) {
        self.ends[end].close(self.now, stream);
        self.pump();
    }

    /// What one end was told, bytes left out, and the bytes.
    fn told(&mut self, end: usize) -> (Vec<EspEvent>, Vec<u8>) {
        let (mine, others): (Vec<_>, _) = self.told.drain(..).partition(|(of, _)| *of == end);
        self.told = others;
        let (mut told, mut bytes) = (Vec::new(), Vec::new());
        for (_, event) in mine {
            match event {
                Got { bytes: more, .. } => bytes.extend_from_slice(&more),
                other => told.push(other),
            }
        }
        (told, bytes)
    }

    /// A connection from an end that is up, by both numbers.
    fn connected(&mut self, from: usize) -> (StreamId, StreamId) {
        let ours = self.connect(from);
        self.run(5);
        assert_eq!(self.told(from).0, [Connected(ours)]);
        match &self.told(1 - from).0[..] {
            [Accepted { stream, .. }] => (ours, *stream),
            other => panic!("{other:?}"),
        }
    }
}

fn text(octets: usize) -> Vec<u8> {
    (0..octets).map(|at| u8::try_from(at * 31 % 251).expect("an octet")).collect()
}

#[test]
fn each_end_opens_a_connection_from_its_client_port_by_each_pair_of_algorithms() {
    for pair in PAIRS {
        for (family, from) in [(V4, UE), (V6, PCSCF), (V6, UE)] {
            let set = set(pair, family);
            let mut world = World::new(&set, 1, Trouble::default());
            let ours = world.connect(from);
            world.write(from, ours, b"REGISTER sip:ims.example SIP/2.0\r\n\r\n");
            world.run(2);
            let (told, got) = world.told(1 - from);
            assert_eq!(got, b"REGISTER sip:ims.example SIP/2.0\r\n\r\n", "{pair:?}");
            let [Accepted { stream: theirs, flow }] = told[..] else { panic!("{told:?}") };
            let there = world.set_of(1 - from);
            assert_eq!((flow.local, flow.remote), (there.local.server(), there.remote.client()));
            assert_eq!((flow.transport, flow.sa), (Transport::Tcp, Some(there.id)));
            assert_eq!(world.told(from), (vec![Connected(ours)], vec![]));

            world.write(1 - from, theirs, &text(100_000));
            world.close(1 - from, theirs);
            world.run(30);
            let (told, got) = world.told(from);
            assert!(got == text(100_000), "{} octets", got.len());
            let cause = "closed by the peer".to_owned();
            assert_eq!(told, [Closed { stream: ours, cause }]);
            assert_eq!(world.told(1 - from), (vec![], vec![]), "it has ended it itself");
            // Nothing is left, not even something to wait for.
            assert!(world.ends.iter().all(|end| end.connections == 0));
            assert!(world.ends.iter().all(|end| end.streams.is_empty()));
            assert_eq!(world.ends.each_ref().map(Endpoint::poll_timeout), [None, None]);
            assert_eq!(world.ends[0].dropped().count() + world.ends[1].dropped().count(), 0);
        }
    }
}

#[test]
fn segments_fit_the_path() {
    for pair in PAIRS {
        for (family, header) in [(V4, 20), (V6, 40)] {
            let mut world = World::new(&set(pair, family), 1, Trouble::default());
            let (ours, _) = world.connected(UE);
            assert!(world.ends[UE].write(world.now, ours, text(50_000).into()));
            let mut longest = 0;
            while let Some(event) = world.ends[UE].poll_event() {
                let EspEvent::Transmit { bytes, .. } = event else { panic!("{event:?}") };
                longest = longest.max(bytes.len() + header);
            }
            let mtu = EspLimits::default().path_mtu;
            assert!((mtu - 16..=mtu).contains(&longest), "{pair:?}: {longest} octets");
        }
    }
}

/// Both ways at once over a bad network: everything arrives, once and in order, or not at all.
#[test]
fn streams_survive_loss_doubling_reordering_and_damage() {
    let trouble = Trouble { loss: 60, doubling: 60, damage: 40, spread_ms: 15 };
    let mut dropped = BTreeMap::new();
    for seed in 0..12_usize {
        let pair = PAIRS[seed % PAIRS.len()];
        let set = set(pair, if seed % 2 == 0 { V4 } else { V6 });
        let mut world = World::new(&set, seed as u64, trouble);
        let ours = world.connect(UE);
        let request = text(30_000 + seed);
        world.write(UE, ours, &request);
        let (mut told, mut got, mut tries) = (Vec::new(), Vec::new(), 0);
        while !told.iter().any(|event| matches!(event, Accepted { .. })) && tries < 60 {
            world.run(1);
            let (more, bytes) = world.told(PCSCF);
            told.extend(more);
            got.extend(bytes);
            tries += 1;
        }
        let theirs = told.iter().find_map(|event| match event {
            Accepted { stream, .. } => Some(*stream),
            _ => None,
        });
        let theirs = theirs.expect("accepted");
        let answer = text(40_000 + seed);
        world.write(PCSCF, theirs, &answer);
        world.run(120);
        got.extend(world.told(PCSCF).1);
        assert!(got == request, "seed {seed}: {} octets", got.len());
        let (told, got) = world.told(UE);
        assert!(got == answer, "seed {seed}: {} octets", got.len());
        assert!(told.contains(&Connected(ours)));
        for (cause, count) in world.ends.iter().flat_map(Endpoint::dropped) {
            *dropped.entry(cause).or_insert(0) += count;
        }
    }
    let causes: Vec<_> = dropped.keys().copied().collect();
    assert_eq!(causes, [DropCause::UnknownSpi, DropCause::BadIcv, DropCause::Replayed]);
    let many = [DropCause::BadIcv, DropCause::Replayed].map(|cause| dropped[&cause] > 20);
    assert_eq!(many, [true; 2], "{dropped:?}");
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    let run = |seed| {
        let mut packets = Vec::new();
        let set = set(PAIRS[4], V4);
        let mut pcscf = endpoint(seed, set.clone());
        let flow = set.stream_flow();
        pcscf.connect(NOW, &flow).expect("asked for");
        pcscf.send_datagram(NOW, &datagram(set.datagram_flow(), "OPTIONS")).expect("sent");
        for event in events(&mut pcscf) {
            let EspEvent::Transmit { bytes, .. } = event else { panic!("{event:?}") };
            packets.push(bytes);
        }
        packets
    };
    assert_eq!(run(1).len(), 2);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn connections_end_with_their_associations() {
    let set = set(PAIRS[3], V4);
    let mut world = World::new(&set, 1, Trouble::default());
    let (ours, theirs) = world.connected(UE);
    world.ends[PCSCF].command(world.now, &SaCommand::Remove(set.id));
    world.run(1);
    let cause = "its security associations are gone".to_owned();
    assert_eq!(world.told(PCSCF).0, [Closed { stream: theirs, cause }]);
    // The reset leaves while there is still something to protect it.
    let cause = "reset by peer".to_owned();
    assert_eq!(world.told(UE).0, [Closed { stream: ours, cause }]);
    assert!(!world.ends[PCSCF].write(world.now, theirs, Bytes::from_static(b"x")));
    assert!(world.ends[PCSCF].connect(world.now, &set.stream_flow()).is_err());
    let memory = &world.ends[PCSCF];
    assert!(memory.sets.is_empty() && memory.by_spi.is_empty() && memory.protected.is_empty());
    assert_eq!((memory.connections, memory.poll_timeout()), (0, None));
}

#[test]
fn a_peer_that_does_not_answer_is_given_up() {
    let set = set(PAIRS[3], V6);
    let mut world = World::new(&set, 1, Trouble { loss: 1_000, ..Trouble::default() });
    let ours = world.connect(PCSCF);
    world.run(29);
    assert_eq!(world.told(PCSCF).0, []);
    world.run(2);
    let silent = |stream| Closed { stream, cause: "the peer does not answer".to_owned() };
    assert_eq!(world.told(PCSCF).0, [silent(ours)]);

    // One that was idle for an hour has its time from what is sent.
    world.trouble = Trouble::default();
    let (ours, theirs) = world.connected(PCSCF);
    world.run(3_600);
    world.trouble.loss = 1_000;
    world.write(PCSCF, ours, b"OPTIONS");
    world.run(29);
    assert_eq!(world.told(PCSCF).0, []);
    world.run(2);
    assert_eq!(world.told(PCSCF).0, [silent(ours)]);
    // The other end knows nothing of it until it is asked for a connection again.
    world.trouble = Trouble::default();
    assert_eq!(world.told(UE).0, []);
    let ours = world.connect(PCSCF);
    world.run(10);
    assert_eq!(world.told(PCSCF).0, [Connected(ours)]);
    let told = world.told(UE).0;
    let cause = "the peer has opened another".to_owned();
    assert_eq!(told[0], Closed { stream: theirs, cause });
    assert!(matches!(&told[1..], [Accepted { .. }]), "{told:?}");
}

#[test]
fn the_next_connection_takes_the_place_of_one_that_is_over() {
    let set = set(PAIRS[0], V4);
    let mut world = World::new(&set, 1, Trouble::default());
    for _ in 0..5 {
        let (ours, theirs) = world.connected(UE);
        let again = world.ends[UE].connect(world.now, &set.seen_by_peer(SaId(1)).stream_flow());
        assert_eq!(
            again,
            Err("there is a connection from 10.0.0.1:40001 to 10.0.0.10:41002".to_owned())
        );
        world.close(UE, ours);
        world.run(1);
        let cause = "closed by the peer".to_owned();
        assert_eq!(world.told(PCSCF).0, [Closed { stream: theirs, cause }]);
        // The UE remembers the old one for a while (RFC 9293 §3.6.1), and opens the next all the
        // same.
        assert_eq!(world.ends[UE].connections, 1);
    }
}

#[test]
fn only_server_ports_accept() {
    let set = set(PAIRS[3], V4);
    let ue = set.seen_by_peer(SaId(1));
    // The UE's machine takes the port of the P-CSCF's client for its server.
    let turned = |set: &SaSet| {
        let mut turned = set.clone();
        for end in [&mut turned.local, &mut turned.remote] {
            std::mem::swap(&mut end.ports.client, &mut end.ports.server);
            std::mem::swap(&mut end.ports.spi_client, &mut end.ports.spi_server);
        }
        turned
    };
    let mut world = World::new(&set, 1, Trouble::default());
    let ue = turned(&ue);
    world.ends[UE] = endpoint(2, ue.clone());
    let stream = world.ends[UE].connect(NOW, &ue.stream_flow()).expect("asked for");
    world.run(2);
    let cause = "refused".to_owned();
    assert_eq!(world.told(UE).0, [Closed { stream, cause }]);
    assert_eq!(world.told(PCSCF).0, []);
    // Nor does it open one from there itself.
    let flow = Flow { local: set.local.server(), remote: set.remote.client(), ..set.stream_flow() };
    let refused = world.ends[PCSCF].connect(NOW, &flow);
    let words = "connections are opened from the client port, not 10.0.0.10:41002";
    assert_eq!(refused, Err(words.to_owned()));
}

#[test]
fn what_a_peer_does_not_read_is_bounded() {
    let set = set(PAIRS[3], V4);
    let mut world = World::new(&set, 1, Trouble::default());
    let (ours, _) = world.connected(PCSCF);
    world.trouble.loss = 1_000;
    let portion = Bytes::from(text(60_000));
    let mut taken = 0;
    while world.ends[PCSCF].write(world.now, ours, portion.clone()) {
        taken += 1;
    }
    assert_eq!(taken, EspLimits::default().write_queue_bytes_max / portion.len());
    let told = world.ends[PCSCF].poll_event().into_iter().chain(events(&mut world.ends[PCSCF]));
    let told: Vec<_> = told.filter(|it| !matches!(it, EspEvent::Transmit { .. })).collect();
    let cause = "the peer does not read: 262144 octets wait".to_owned();
    assert_eq!(told, [Closed { stream: ours, cause }]);
    assert_eq!((world.ends[PCSCF].connections, world.ends[PCSCF].poll_timeout()), (0, None));
}

#[test]
fn connections_are_bounded_in_all() {
    let limits = EspLimits { connections_max: 3, ..EspLimits::default() };
    let mut pcscf = Endpoint::new(1, limits);
    let mut ues = Vec::new();
    for number in 0..5_u16 {
        let mut one = set(PAIRS[3], V4);
        one.id = SaId(u32::from(number));
        one.local.ports.spi_client += 10 * u32::from(number);
        one.local.ports.spi_server += 10 * u32::from(number);
        one.remote.addr = format!("10.0.0.{}", 100 + number).parse().expect("an address");
        pcscf.command(NOW, &SaCommand::Install(Box::new(one.clone())));
        let ue = one.seen_by_peer(SaId(1));
        ues.push((endpoint(2, ue.clone()), ue));
    }
    let mut syn = |number: usize, pcscf: &mut Endpoint| {
        let (ue, set) = &mut ues[number];
        ue.connect(NOW, &set.stream_flow()).expect("asked for");
        let Some(EspEvent::Transmit { bytes, .. }) = ue.poll_event() else { panic!("no SYN") };
        pcscf.receive(NOW, set.remote.addr, set.local.addr, &bytes);
        events(pcscf)
    };
    for number in 0..3 {
        assert_eq!(syn(number, &mut pcscf).len(), 1, "SYN and ACK");
    }
    for number in 3..5 {
        let got = syn(number, &mut pcscf);
        let full = |event: &EspEvent| {
            matches!(event, EspEvent::Dropped { cause: DropCause::Full, detail, .. }
                if detail.ends_with("3 connections are open"))
        };
        assert!(got.iter().any(full), "{got:?}");
        assert!(got.iter().any(|event| matches!(event, EspEvent::Transmit { .. })), "a reset");
    }
    assert_eq!((pcscf.connections, pcscf.streams.len()), (3, 3));
    // What was never finished goes by itself.
    let mut now = NOW;
    while let Some(at) = pcscf.poll_timeout() {
        now = now.max(at);
        pcscf.handle_timeout(now);
        events(&mut pcscf);
        assert!(now < NOW + Duration::from_secs(40), "it comes to an end");
    }
    assert_eq!((pcscf.connections, pcscf.streams.len()), (0, 0));
}
