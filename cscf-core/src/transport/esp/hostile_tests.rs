//! What comes from outside and is not what it should be: dropped, counted, and nothing else
//! changes.

use super::*;
use crate::time::Duration;
use crate::transport::esp::inside::{DUMMY, TCP, UDP};
use smoltcp::wire::{TcpPacket, TcpSeqNumber, UdpPacket};

/// Protects whatever a peer puts into a packet.
fn sealed(peer: &mut Endpoint, pair: Pair, next_header: u8, payload: &[u8]) -> Bytes {
    let Endpoint { sets, vectors, .. } = peer;
    let associations = &mut sets.get_mut(&SaId(1)).expect("its set").associations;
    let mut packet = vec![0; associations.overhead().prefix];
    packet.extend_from_slice(payload);
    associations.seal(NOW, (pair, next_header), packet, vectors).expect("sealed").into()
}

/// A datagram between two addresses, as the octets of UDP.
fn udp(from: SocketAddr, to: SocketAddr, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(inside::push_udp(&mut out, from, to, text.as_bytes()));
    out
}

/// Everything that a packet could change.
fn state(endpoint: &Endpoint) -> String {
    let entry = &endpoint.sets[&SaId(7)];
    let rest = (endpoint.connections, endpoint.streams.len(), endpoint.poll_timeout());
    format!("{:?} {:?} {rest:?}", entry.associations, entry.stack)
}

#[test]
fn no_cut_or_flipped_packet_changes_anything() {
    for pair in PAIRS {
        let set = set(pair, V4);
        let (mut pcscf, mut ue) = ends(&set);
        let flow = set.seen_by_peer(SaId(1)).datagram_flow();
        let datagram = sent(&mut ue, &datagram(flow, "OPTIONS sip:ims.example SIP/2.0"));
        ue.connect(NOW, &set.seen_by_peer(SaId(1)).stream_flow()).expect("asked for");
        let Some(EspEvent::Transmit { bytes: syn, .. }) = ue.poll_event() else { panic!("SYN") };
        for packet in [datagram, syn] {
            let before = state(&pcscf);
            for length in 0..packet.len() {
                let (cause, _) = received(&mut pcscf, &set, &packet[..length]).expect("cut");
                assert!(matches!(cause, DropCause::Malformed | DropCause::BadIcv), "{cause}");
            }
            for bit in 0..packet.len() * 8 {
                let mut flipped = packet.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let (cause, detail) = received(&mut pcscf, &set, &flipped).expect("flipped");
                let expected = match bit / 8 {
                    0..4 => DropCause::UnknownSpi,
                    // The number 0, or one that is left of the window, says so already.
                    4..8 if cause == DropCause::Replayed => DropCause::Replayed,
                    _ => DropCause::BadIcv,
                };
                assert_eq!(cause, expected, "{pair:?} bit {bit}: {detail}");
            }
            assert_eq!(state(&pcscf), before, "{pair:?}");
            pcscf.receive(NOW, set.local.addr, set.remote.addr, &packet);
            let taken = events(&mut pcscf);
            let good = matches!(taken[..], [EspEvent::Datagram(_) | EspEvent::Transmit { .. }]);
            assert!(good, "{taken:?}");
        }
    }
}

#[test]
fn random_octets_are_dropped_and_leave_nothing() {
    let set = set(PAIRS[4], V6);
    let mut pcscf = endpoint(1, set.clone());
    let before = state(&pcscf);
    let mut chance = Ids::new(Seed::derive(1, "hostile"), ShardId::default());
    for count in 1..=20_000_u64 {
        let length = usize::try_from(chance.below(200)).expect("short");
        let mut packet: Vec<u8> =
            std::iter::repeat_with(|| chance.block()).flatten().take(length).collect();
        // Half of them name an association.
        if count % 2 == 0 && length >= 4 {
            packet[..4].copy_from_slice(&set.local.ports.spi_server.to_be_bytes());
        }
        pcscf.receive(NOW, set.local.addr, set.remote.addr, &packet);
        assert!(matches!(events(&mut pcscf)[..], [EspEvent::Dropped { .. }]));
        assert_eq!(pcscf.dropped().map(|(_, count)| count).sum::<u64>(), count);
    }
    assert_eq!(state(&pcscf), before);
}

#[test]
fn what_is_inside_must_be_for_the_ports_of_the_association() {
    let set = set(PAIRS[0], V4);
    let (mut pcscf, mut ue) = ends(&set);
    let (client, server) = (set.remote.client(), set.local.server());
    for (from, to) in [
        (set.remote.server(), server),
        (client, set.local.client()),
        (SocketAddr::new(client.ip(), 5060), server),
        (client, SocketAddr::new(server.ip(), 5060)),
    ] {
        for protocol in [UDP, TCP] {
            let esp = sealed(&mut ue, Pair::OurClient, protocol, &udp(from, to, &"x".repeat(40)));
            let (cause, detail) = received(&mut pcscf, &set, &esp).expect("dropped");
            assert_eq!(cause, DropCause::WrongPort, "{detail}");
            let words = format!("for port 40001 to 41002, not {} to {}", from.port(), to.port());
            assert!(detail.ends_with(&words), "{detail}");
        }
    }
    // The other association of the UE is for its server port.
    let esp = sealed(&mut ue, Pair::OurServer, UDP, &udp(client, server, "OPTIONS"));
    assert_eq!(received(&mut pcscf, &set, &esp).map(|it| it.0), Some(DropCause::WrongPort));
}

#[test]
fn what_is_inside_must_be_whole() {
    for family in [V4, V6] {
        let set = set(PAIRS[3], family);
        let (mut pcscf, mut ue) = ends(&set);
        let (from, to) = (set.remote.client(), set.local.server());
        let whole = udp(from, to, "OPTIONS");
        let mut check = |next_header, inside: &[u8], expected: Option<&str>| {
            let esp = sealed(&mut ue, Pair::OurClient, next_header, inside);
            let dropped = received(&mut pcscf, &set, &esp);
            match (&dropped, expected) {
                (Some((DropCause::Malformed, detail)), Some(words)) => {
                    assert!(detail.ends_with(words), "{detail}");
                }
                (None, None) => {}
                _ => panic!("{dropped:?} instead of {expected:?}"),
            }
        };
        check(UDP, &whole, None);
        // Octets behind the datagram are padding (RFC 4303 §2.7).
        check(UDP, &[&whole[..], &[0; 64]].concat(), None);
        check(UDP, &whole[..7], Some("the length of UDP is wrong"));
        check(UDP, &whole[..3], Some("no ports inside"));
        check(UDP, &[], Some("no ports inside"));
        let mut other = whole.clone();
        UdpPacket::new_unchecked(&mut other[..]).set_len(7);
        check(UDP, &other, Some("the length of UDP is wrong"));
        let mut other = whole.clone();
        other[8] ^= 1;
        check(UDP, &other, Some("the checksum of UDP is wrong"));
        let mut other = whole.clone();
        UdpPacket::new_unchecked(&mut other[..]).set_checksum(0);
        let v6 = "UDP over IPv6 without a checksum";
        check(UDP, &other, (family == V6).then_some(v6));
        check(TCP, &whole, Some("the header of TCP is wrong"));
        check(TCP, &[&whole[..4], &[0; 8], &[0x50, 2], &[0; 6]].concat(), Some("of TCP is wrong"));
        for protocol in [0, 1, 4, 41, 50, 132] {
            check(protocol, &whole, Some(&format!("protocol {protocol} inside")));
        }
        assert_eq!((pcscf.connections, pcscf.streams.len()), (0, 0));
    }
}

/// A packet that is there only to hide that nothing is sent is no fault (RFC 4303 §2.6).
#[test]
fn dummy_packets_mean_nothing() {
    let set = set(PAIRS[7], V4);
    let (mut pcscf, mut ue) = ends(&set);
    let esp = sealed(&mut ue, Pair::OurClient, DUMMY, &[7; 100]);
    pcscf.receive(NOW, set.local.addr, set.remote.addr, &esp);
    assert_eq!((events(&mut pcscf), pcscf.dropped().count()), (vec![], 0));
    // It has its number all the same.
    let twice = received(&mut pcscf, &set, &esp).map(|it| it.0);
    assert_eq!(twice, Some(DropCause::Replayed));
}

/// A peer with the right keys sends any segments it likes: nothing panics, nothing grows.
#[test]
fn no_segment_of_a_peer_does_harm() {
    let mut chance = Ids::new(Seed::derive(2, "hostile"), ShardId::default());
    for family in [V4, V6] {
        let set = set(PAIRS[3], family);
        let (mut pcscf, mut ue) = ends(&set);
        let mut now = NOW;
        // What the P-CSCF said last, so that some numbers fit.
        let (mut expected, mut said) = (TcpSeqNumber(0), TcpSeqNumber(0));
        let mut accepted = 0;
        for _ in 0..6_000 {
            let pair = if chance.below(4) == 0 { Pair::OurServer } else { Pair::OurClient };
            let (from, to) = pair.addrs(&set.seen_by_peer(SaId(1)));
            let options = 4 * usize::try_from(chance.below(11)).expect("few");
            let length = usize::try_from(chance.below(60)).expect("few");
            let mut segment: Vec<u8> = std::iter::repeat_with(|| chance.block())
                .flatten()
                .take(20 + options + length)
                .collect();
            let fits = chance.below(3) > 0;
            let near = usize::try_from(chance.below(4)).expect("few") / 3;
            let mut tcp = TcpPacket::new_unchecked(&mut segment[..]);
            tcp.set_src_port(from.port());
            tcp.set_dst_port(to.port());
            tcp.set_header_len(u8::try_from(20 + options).expect("short"));
            if fits {
                tcp.set_seq_number(expected + near);
                tcp.set_ack_number(said + near);
                let flag = chance.below(8);
                tcp.clear_flags();
                tcp.set_syn(flag == 0);
                tcp.set_ack(flag > 0);
                tcp.set_fin(flag == 1);
                tcp.set_rst(flag == 2 && near == 0);
                tcp.set_header_len(u8::try_from(20 + options).expect("short"));
            }
            tcp.fill_checksum(&from.ip().into(), &to.ip().into());
            let esp = sealed(&mut ue, pair, TCP, &segment);
            pcscf.receive(now, set.local.addr, set.remote.addr, &esp);
            let mut told = 0;
            for event in events(&mut pcscf) {
                told += 1;
                match event {
                    EspEvent::Transmit { bytes, .. } => {
                        let (_, answer) = opened(&mut ue, &bytes);
                        let answer = TcpPacket::new_checked(&answer[..]).expect("TCP");
                        said = answer.seq_number() + usize::from(answer.syn());
                        expected = answer.ack_number();
                    }
                    EspEvent::Accepted { stream, .. } => {
                        pcscf.write(now, stream, Bytes::from_static(b"SIP/2.0 200 OK"));
                        accepted += 1;
                    }
                    _ => {}
                }
            }
            assert!(told < 20, "{told} events of one segment");
            assert!(pcscf.connections <= 2 && pcscf.streams.len() <= 2);
            if chance.below(50) == 0 {
                now += Duration::from_millis(chance.below(20_000));
                pcscf.handle_timeout(now);
                events(&mut pcscf);
            }
        }
        assert!(accepted > 5, "{accepted} connections came up in between");
        assert!(pcscf.dropped().all(|(cause, _)| cause == DropCause::Malformed));
        while let Some(at) = pcscf.poll_timeout() {
            now = now.max(at);
            pcscf.handle_timeout(now);
            events(&mut pcscf);
        }
        assert_eq!((pcscf.connections, pcscf.streams.len()), (0, 0), "all come to an end");
    }
}

/// What the UE finds in a packet, and between which of its ports.
fn opened(ue: &mut Endpoint, esp: &[u8]) -> (Pair, Vec<u8>) {
    let set = &mut ue.sets.get_mut(&SaId(1)).expect("its set").associations;
    let addrs = (set.set.local.addr, set.set.remote.addr);
    let (header, _) = Header::parse(esp).expect("a header");
    let (opened, pair) = set.open(NOW, addrs, (header, esp), 0).expect("genuine");
    (pair, opened.buffer)
}

#[test]
fn an_association_ends_with_its_last_sequence_number() {
    let set = set(PAIRS[7], V4);
    let (mut pcscf, mut ue) = ends(&set);
    let ue_set = set.seen_by_peer(SaId(1));
    let packet = datagram(ue_set.datagram_flow(), "OPTIONS");
    let entry = ue.sets.get_mut(&SaId(1)).expect("its set");
    entry.associations.skip_to(Pair::OurClient, u32::MAX - 1);
    let last = sent(&mut ue, &packet);
    assert_eq!(last[4..8], [0xff; 4]);
    assert_eq!(received(&mut pcscf, &set, &last), None);
    let words = "the sequence numbers of SPI 2002 are used up";
    assert_eq!(ue.send_datagram(NOW, &packet), Err(words.to_owned()));
    // A connection that cannot say anything any more comes to its end.
    let stream = ue.connect(NOW, &ue_set.stream_flow()).expect("asked for");
    let told = events(&mut ue);
    assert_eq!(told, [EspEvent::Closed { stream, cause: words.to_owned() }]);
    assert_eq!((ue.connections, ue.poll_timeout()), (0, None));
}

#[test]
fn an_association_ends_with_its_lifetime() {
    let mut set = set(PAIRS[1], V4);
    set.lifetime = Duration::from_secs(60);
    let (mut pcscf, mut ue) = ends(&set);
    let flow = set.seen_by_peer(SaId(1)).datagram_flow();
    let esp = sent(&mut ue, &datagram(flow, "OPTIONS"));
    let late = NOW + Duration::from_secs(61);
    pcscf.receive(late, set.local.addr, set.remote.addr, &esp);
    let told = events(&mut pcscf);
    let [EspEvent::Dropped { cause: DropCause::Expired, detail, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(detail, "SPI 2002, sequence number 1 of set 7");
    let answer = datagram(set.datagram_flow(), "OPTIONS");
    let expired = Err("association set 7 has expired".to_owned());
    assert_eq!(pcscf.send_datagram(late, &answer), expired);
    assert_eq!(pcscf.connect(late, &set.stream_flow()).map(|_| ()), expired);
    assert_eq!(pcscf.send_datagram(NOW + Duration::from_secs(60), &answer), Ok(()));
}

#[test]
fn clear_text_at_protected_ports_is_counted() {
    let set = set(PAIRS[0], V4);
    let mut pcscf = endpoint(1, set.clone());
    let from = set.remote.client();
    for (local, protected) in [
        (set.local.client(), true),
        (set.local.server(), true),
        (SocketAddr::new(set.local.addr, 5060), false),
    ] {
        assert_eq!(pcscf.clear_text(local, from), protected, "{local}");
    }
    let told = events(&mut pcscf);
    assert_eq!(told.len(), 2);
    let (cause, remote) = (DropCause::ClearText, from);
    let detail = "at protected port 10.0.0.10:41001".to_owned();
    assert_eq!(told[0], EspEvent::Dropped { remote, cause, detail });
    assert_eq!(pcscf.dropped().collect::<Vec<_>>(), [(DropCause::ClearText, 2)]);
    pcscf.command(NOW, &SaCommand::Remove(set.id));
    assert!(!pcscf.clear_text(set.local.server(), from));
}

/// Two sets of one UE overlap while it authenticates anew; the server port is that of both.
#[test]
fn sets_live_and_go_by_themselves() {
    let old = set(PAIRS[4], V4);
    let mut new = set(PAIRS[7], V4);
    new.id = SaId(8);
    new.local.ports.client = 41_003;
    for end in [&mut new.local, &mut new.remote] {
        end.ports.spi_client += 100;
        end.ports.spi_server += 100;
    }
    let mut pcscf = endpoint(1, old.clone());
    pcscf.command(NOW, &SaCommand::Install(Box::new(new.clone())));
    for set in [&old, &new] {
        let ue_set = set.seen_by_peer(SaId(1));
        let mut ue = endpoint(2, ue_set.clone());
        let esp = sent(&mut ue, &datagram(ue_set.datagram_flow(), "OPTIONS"));
        pcscf.receive(NOW, set.local.addr, set.remote.addr, &esp);
        let told = events(&mut pcscf);
        assert!(matches!(&told[..], [EspEvent::Datagram(it)] if it.flow.sa == Some(set.id)));
    }
    pcscf.command(NOW, &SaCommand::Remove(old.id));
    assert!(pcscf.clear_text(new.local.server(), new.remote.client()));
    assert!(!pcscf.clear_text(old.local.client(), new.remote.client()));
    assert_eq!(
        pcscf.send_datagram(NOW, &datagram(old.datagram_flow(), "OPTIONS")),
        Err("association set 7 is not installed".to_owned())
    );
    let clear = Flow { sa: None, ..old.datagram_flow() };
    let words = "clear text from 10.0.0.10:41001".to_owned();
    assert_eq!(pcscf.send_datagram(NOW, &datagram(clear, "OPTIONS")), Err(words));
    let elsewhere = Flow { remote: new.remote.client(), ..new.datagram_flow() };
    let words = "no association from 10.0.0.10:41003 to 10.0.0.1:40001".to_owned();
    assert_eq!(pcscf.send_datagram(NOW, &datagram(elsewhere, "OPTIONS")), Err(words));
}

/// A sequence number under a key is used once, also when the same set is installed twice.
#[test]
fn what_is_installed_again_goes_on() {
    let set = set(PAIRS[6], V4);
    let mut pcscf = endpoint(1, set.clone());
    let packet = datagram(set.datagram_flow(), "OPTIONS");
    let number = |esp: &Bytes| Header::parse(esp).expect("a header").0.sequence;
    assert_eq!(number(&sent(&mut pcscf, &packet)), 1);
    let longer = SaSet { lifetime: Duration::from_secs(7), ..set.clone() };
    pcscf.command(NOW, &SaCommand::Install(Box::new(longer)));
    assert_eq!(number(&sent(&mut pcscf, &packet)), 2);
    let keys = EspKeys::expand(set.algorithms, &IK, &CK);
    pcscf.command(NOW, &SaCommand::Install(Box::new(SaSet { keys, ..set })));
    assert_eq!(number(&sent(&mut pcscf, &packet)), 1);
    assert_eq!((pcscf.sets.len(), pcscf.by_spi.len(), pcscf.protected.len()), (1, 2, 2));
}

/// Under one key no vector comes twice: neither at one end nor at both, in either pair of ports
/// (RFC 4106 §3.1). Those of CBC do not even follow from each other.
#[test]
fn no_vector_comes_twice() {
    for (pair, length) in [(PAIRS[7], 8), (PAIRS[6], 8), (PAIRS[1], 16), (PAIRS[2], 8)] {
        let set = set(pair, V4);
        let (mut pcscf, mut ue) = ends(&set);
        let ue_set = set.seen_by_peer(SaId(1));
        let turned = |set: &SaSet| {
            let (local, remote) = (set.local.server(), set.remote.client());
            Flow { local, remote, ..set.datagram_flow() }
        };
        let mut vectors = std::collections::BTreeSet::new();
        for _ in 0..100 {
            for (end, set) in [(&mut pcscf, &set), (&mut ue, &ue_set)] {
                for flow in [set.datagram_flow(), turned(set)] {
                    let esp = sent(end, &datagram(flow, "OPTIONS"));
                    assert!(vectors.insert(esp.slice(8..8 + length)), "{pair:?}");
                }
            }
        }
        let near = |two: &[Bytes]| two[0][..length - 1] == two[1][..length - 1];
        let sorted: Vec<Bytes> = vectors.into_iter().collect();
        assert_eq!(sorted.windows(2).any(near), length == 8 && pair != PAIRS[2], "{pair:?}");
    }
}

#[test]
fn sets_that_cannot_be_are_refused_with_the_reason() {
    let good = set(PAIRS[4], V4);
    assert_eq!(Endpoint::obstacle(&good), None);
    let tunnel = SaSet { mode: Mode::UdpEncapsulatedTunnel, ..good.clone() };
    let mut mixed = good.clone();
    mixed.remote.addr = "2001:db8::1".parse().expect("an address");
    let mut short = good;
    short.keys.encryption.pop();
    for (set, words) in [
        (tunnel, "its mode is UDP-enc-tun; here is transport mode only"),
        (mixed, "its addresses are of two families"),
        (short, "its keys have not the length of its algorithms"),
    ] {
        assert_eq!(Endpoint::obstacle(&set), Some(words));
        assert!(endpoint(1, set).sets.is_empty());
    }
}
