//! Captures written byte by byte: containers, links, fragments, streams, and hostile files.

use std::collections::BTreeSet;

use cscf_core::trace::Note;
use etherparse::{IpFragOffset, Ipv4Header, PacketBuilder};

use super::*;
use crate::report::Parties;
use crate::report::pcapng;

const ALICE: [u8; 4] = [192, 0, 2, 1];
const P1: [u8; 4] = [192, 0, 2, 9];

fn sip(number: usize, body: usize) -> Vec<u8> {
    format!(
        "MESSAGE sip:bob@ims.example SIP/2.0\r\nCSeq: {number} MESSAGE\r\n\
         Content-Length: {body}\r\n\r\n{}",
        "x\n".repeat(body.div_ceil(2)).get(..body).expect("long enough")
    )
    .into_bytes()
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(ALICE, P1, 64).udp(5060, 5060);
    builder.write(&mut packet, payload).expect("written");
    packet
}

fn udp6(payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6([0x20; 16], [0x21; 16], 64).udp(5060, 5062);
    builder.write(&mut packet, payload).expect("written");
    packet
}

fn tcp(sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(ALICE, P1, 64).tcp(40_000, 5060, sequence, 1_000).ack(1);
    builder.write(&mut packet, payload).expect("written");
    packet
}

/// A pcap of packets, each after one more millisecond.
fn pcap(link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    pcap_as(link, packets, false, false)
}

fn pcap_as(link: u32, packets: &[Vec<u8>], big: bool, nanos: bool) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = Vec::new();
    let magic = if nanos { 0xA1B2_3C4D } else { 0xA1B2_C3D4 };
    let version = if big { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
    file.extend_from_slice(&word(magic));
    file.extend_from_slice(&version);
    for value in [0, 0, 65_535, link] {
        file.extend_from_slice(&word(value));
    }
    for (index, packet) in packets.iter().enumerate() {
        let length = packet.len().try_into().expect("short");
        let fraction =
            u32::try_from(index + 1).expect("few") * if nanos { 1_000_000 } else { 1_000 };
        for value in [1_700_000_000, fraction, length, length] {
            file.extend_from_slice(&word(value));
        }
        file.extend_from_slice(packet);
    }
    file
}

/// A pcapng in big-endian order with one interface: its link type, time stamps in 2^-20 seconds.
fn pcapng_big(link: u16, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let padded = body.len().next_multiple_of(4);
        let length = u32::try_from(padded + 12).expect("short").to_be_bytes();
        file.extend_from_slice(&kind.to_be_bytes());
        file.extend_from_slice(&length);
        file.extend_from_slice(body);
        file.extend(std::iter::repeat_n(0, padded - body.len()));
        file.extend_from_slice(&length);
    };
    let section = [0x1A, 0x2B, 0x3C, 0x4D, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    block(0x0A0D_0D0A, &section);
    let mut interface = link.to_be_bytes().to_vec();
    interface.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    interface.extend_from_slice(&[0, 9, 0, 1, 0x80 | 20, 0, 0, 0, 0, 0, 0, 0]);
    block(1, &interface);
    let mut names = vec![0, 1, 0, 7];
    names.extend_from_slice(&ALICE);
    names.extend_from_slice(b"al\0\0\0\0\0\0");
    block(4, &names);
    for (index, packet) in packets.iter().enumerate() {
        let length = u32::try_from(packet.len()).expect("short");
        let stamp = (1_700_000_000_u64 << 20) + u64::try_from(index).expect("few") * 1_024;
        let mut body = vec![0, 0, 0, 0];
        body.extend_from_slice(&stamp.to_be_bytes());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(packet);
        // Every other one in the older kind of block, which has the same places.
        block(if index % 2 == 0 { 6 } else { 2 }, &body);
    }
    file
}

fn messages(file: &[u8]) -> Vec<Captured> {
    read(file).expect("a capture").messages
}

fn texts(file: &[u8]) -> Vec<String> {
    messages(file).iter().map(|it| String::from_utf8_lossy(&it.bytes).into_owned()).collect()
}

fn said(number: usize, body: usize) -> String {
    String::from_utf8(sip(number, body)).expect("text")
}

fn pieces(whole: &[u8], cuts: &[usize]) -> Vec<(u32, Vec<u8>)> {
    let mut ends = cuts.to_vec();
    ends.push(whole.len());
    let mut at = 0;
    let mut out = Vec::new();
    for end in ends {
        out.push((u32::try_from(100 + at).expect("short"), whole[at..end].to_vec()));
        at = end;
    }
    out
}

#[test]
fn every_container_and_byte_order_gives_the_same_messages() {
    let packets = [udp(&sip(1, 0)), udp(&sip(2, 3))];
    for (big, nanos) in [(false, false), (false, true), (true, false), (true, true)] {
        let capture = read(&pcap_as(101, &packets, big, nanos)[..]).expect("a capture");
        let got = &capture.messages;
        assert_eq!(got.len(), 2, "{big} {nanos}: {:?}", capture.flaws);
        assert_eq!((got[0].frame, got[1].frame), (1, 2));
        assert_eq!(got[1].at, Instant::from_millis(1), "{big} {nanos}");
        assert_eq!(capture.began_ns, 1_700_000_000_001_000_000);
        assert_eq!(got[0].from, "192.0.2.1:5060".parse().expect("an address"));
        assert_eq!((&got[0].bytes[..], &got[1].bytes[..]), (&sip(1, 0)[..], &sip(2, 3)[..]));
    }
    let capture = read(&pcapng_big(101, &packets)[..]).expect("a capture");
    assert_eq!(capture.messages.len(), 2, "{:?}", capture.flaws);
    assert_eq!(capture.messages[1].at.as_nanos(), 976_562, "1024 of 2^-20 s");
    assert_eq!(capture.name_of(&capture.messages[0].from), "al");
}

#[test]
fn every_link_type_is_taken_off() {
    let packet = udp(&sip(1, 0));
    let packet6 = udp6(&sip(1, 0));
    let with = |head: &[u8], packet: &[u8]| [head, packet].concat();
    let mac = [2_u8; 12];
    let vlan = [&mac[..], &[0x88, 0xA8, 0, 7, 0x81, 0, 0, 9, 8, 0]].concat();
    let cooked = [&[0_u8; 14][..], &[0x86, 0xDD]].concat();
    let cooked_2 = [&[8_u8, 0][..], &[0; 18]].concat();
    for (link, frame) in [
        (0, with(&[2, 0, 0, 0], &packet)),
        (1, with(&[&mac[..], &[8, 0]].concat(), &packet)),
        (1, with(&vlan, &packet)),
        (12, packet.clone()),
        (101, packet6.clone()),
        (108, with(&[0, 0, 0, 24], &packet6)),
        (113, with(&cooked, &packet6)),
        (228, packet.clone()),
        (276, with(&cooked_2, &packet)),
    ] {
        assert_eq!(texts(&pcap(link, &[frame])), [said(1, 0)], "link type {link}");
    }
    let capture = read(&pcap(147, &[packet])[..]).expect("a capture");
    assert!(capture.messages.is_empty());
    assert_eq!(capture.flaws, ["frame 1 is of link type 147, which is not read"]);
}

#[test]
fn what_may_hold_sip_and_is_not_read_is_told_with_its_number() {
    let of_protocol = |number: u8| {
        let mut packet = udp(b"no SIP but something else");
        packet[9] = number;
        packet
    };
    let to_port = |port: u16, payload: &[u8]| {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4(ALICE, P1, 64).udp(40_000, port);
        builder.write(&mut packet, payload).expect("written");
        packet
    };
    let packets = [
        of_protocol(50),
        of_protocol(132),
        of_protocol(50),
        of_protocol(47),
        to_port(2_152, &[0x30, 0xFF, 0, 4, 0, 0, 0, 1, 0x45]),
        to_port(4_500, &[0, 0, 2, 0, 0, 0, 0, 1, 9, 9]),
        to_port(4_500, &[0, 0, 0, 0, 1, 2, 3, 4]),
        to_port(53, b"a question of names"),
        tcp(1, &[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]),
        b"\xF0 no IP".to_vec(),
    ];
    let capture = read(&pcap(101, &packets)[..]).expect("a capture");
    assert_eq!(
        capture.flaws,
        [
            "frame 10 is not IP where it is due",
            "2 frames are ESP that is encrypted; the first is 1",
            "frame 6 is ESP in UDP, which is not opened",
            "frame 4 is GRE, which is not opened",
            "frame 2 is SCTP, which is not read",
            "frame 5 is GTP, which is not opened",
            "frame 9 is TLS, which cannot be read",
        ]
    );
    let ether = |kind: [u8; 2]| [&[2_u8; 12][..], &kind, &[0; 40]].concat();
    let frames = [ether([8, 6]), ether([0x88, 0x64]), ether([0x88, 0x47])];
    let capture = read(&pcap(1, &frames)[..]).expect("a capture");
    assert_eq!(
        capture.flaws,
        ["frame 3 is MPLS, which is not opened", "frame 2 is PPPoE, which is not opened"],
        "ARP is no loss"
    );
}

#[test]
fn what_was_captured_in_part_is_told_once() {
    let mut file = pcap(101, &[udp(&sip(1, 0)), udp(&sip(2, 0))]);
    let (first, second) = (24 + 12, 24 + 16 + udp(&sip(1, 0)).len() + 12);
    for at in [first, second] {
        file[at] ^= 0x80;
    }
    let capture = read(&file[..]).expect("a capture");
    assert_eq!(capture.flaws, ["2 frames are captured only in part; the first is 1"]);
}

#[test]
fn fragments_are_put_together_in_any_order() {
    let whole = udp(&sip(1, 3_000));
    let payload = &whole[20..];
    let part = |from: usize, to: usize| {
        let mut header =
            Ipv4Header::new(0, 64, etherparse::IpNumber::UDP, ALICE, P1).expect("short");
        header.identification = 77;
        header.more_fragments = to < payload.len();
        header.fragment_offset =
            IpFragOffset::try_new(u16::try_from(from / 8).expect("short")).expect("short");
        header.set_payload_len(to - from).expect("short");
        let mut out = Vec::new();
        header.write(&mut out).expect("written");
        out.extend_from_slice(&payload[from..to]);
        out
    };
    let end = payload.len();
    let parts = [part(0, 1_480), part(1_480, 2_960), part(2_960, end)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let packets: Vec<Vec<u8>> = order.iter().map(|it| parts[*it].clone()).collect();
        assert_eq!(texts(&pcap(101, &packets)), [said(1, 3_000)], "{order:?}");
    }
    let capture = read(&pcap(101, &parts[..2])[..]).expect("a capture");
    assert!(capture.messages.is_empty());
    assert_eq!(capture.flaws, ["of 1 datagrams of IP not all fragments were captured"]);
    let repeated: Vec<Vec<u8>> = [0, 0, 1, 1, 2].iter().map(|it| parts[*it].clone()).collect();
    assert_eq!(texts(&pcap(101, &repeated)), [said(1, 3_000)]);
}

#[test]
fn fragments_of_ipv6_are_put_together() {
    let whole = udp6(&sip(1, 2_000));
    let payload = &whole[40..];
    let part = |from: usize, to: usize| {
        let more = u16::from(to < payload.len());
        let offset = (u16::try_from(from).expect("short") | more).to_be_bytes();
        let mut out = whole[..40].to_vec();
        let length = u16::try_from(to - from + 8).expect("short").to_be_bytes();
        out[4..6].copy_from_slice(&length);
        out[6] = 44;
        out.extend_from_slice(&[17, 0, offset[0], offset[1], 0, 0, 0, 5]);
        out.extend_from_slice(&payload[from..to]);
        out
    };
    let packets = [part(1_024, payload.len()), part(0, 1_024)];
    assert_eq!(texts(&pcap(101, &packets)), [said(1, 2_000)]);
}

#[test]
fn a_stream_is_read_however_its_segments_come() {
    let whole = [sip(1, 10), sip(2, 0), sip(3, 40)].concat();
    let all = [said(1, 10), said(2, 0), said(3, 40)];
    for cuts in [vec![], vec![5, 50, 120], vec![sip(1, 10).len()], vec![100, 101, 102]] {
        let parts = pieces(&whole, &cuts);
        let mut packets: Vec<Vec<u8>> =
            parts.iter().map(|(sequence, bytes)| tcp(*sequence, bytes)).collect();
        assert_eq!(texts(&pcap(101, &packets)), all, "{cuts:?}");
        // The first segment tells where the stream is; the others may come in any order, and twice.
        packets[1..].reverse();
        packets.extend(packets.clone());
        assert_eq!(texts(&pcap(101, &packets)), all, "{cuts:?} backwards and twice");
    }
}

#[test]
fn a_gap_loses_the_message_in_it_and_no_other() {
    let whole = [sip(1, 10), sip(2, 200), sip(3, 0), sip(4, 0)].concat();
    let first = sip(1, 10).len();
    let parts = pieces(&whole, &[first, first + 100, first + sip(2, 200).len()]);
    let late = [0, 1, 3, 2].map(|index| tcp(parts[index].0, &parts[index].1));
    let lost = pieces(&whole, &[first, first + 100, first + 150, first + sip(2, 200).len()]);
    let packets: Vec<Vec<u8>> = [0, 1, 3, 4].map(|it| tcp(lost[it].0, &lost[it].1)).into();
    let capture = read(&pcap(101, &packets)[..]).expect("a capture");
    let got: Vec<Vec<u8>> = capture.messages.iter().map(|it| it.bytes.to_vec()).collect();
    assert_eq!(got, [sip(1, 10), sip(3, 0), sip(4, 0)]);
    assert_eq!(capture.flaws, ["bytes of TCP are missing 1 times, before frame 3"]);
    let all = [said(1, 10), said(2, 200), said(3, 0), said(4, 0)];
    assert_eq!(texts(&pcap(101, &late)), all, "late is not lost");
    // A capture that begins in the middle of a message.
    let late = tcp(7, &whole[first - 30..]);
    assert_eq!(texts(&pcap(101, &[late])).len(), 3);
}

#[test]
fn diameter_is_framed_and_a_datagram_seen_twice_counts_once() {
    let watchdog = cscf_core::diameter::Message::default().encode();
    let stream = [&watchdog[..], &watchdog[..]].concat();
    let got = messages(&pcap(101, &[tcp(1, &stream[..30]), tcp(31, &stream[30..])]));
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|it| it.protocol == Protocol::Diameter && it.bytes == watchdog));
    assert_eq!(texts(&pcap(101, &[udp(&sip(1, 0)), udp(&sip(1, 0))])).len(), 1);
    let later: Vec<Vec<u8>> = (0..4).map(|it| udp(&sip(it % 3, 0))).collect();
    assert_eq!(texts(&pcap(101, &later)).len(), 4, "3 ms later it is a retransmission");
}

#[test]
fn esp_without_encryption_is_opened() {
    let clear = udp(&sip(1, 1));
    let (header, datagram) = clear.split_at(20);
    for check_value in [12, 16] {
        let mut esp = [&[0, 0, 1, 0, 0, 0, 0, 1][..], datagram].concat();
        let padding = (esp.len() + 2).next_multiple_of(4) - esp.len() - 2;
        esp.extend((1_u8..).take(padding));
        esp.extend_from_slice(&[u8::try_from(padding).expect("short"), 17]);
        esp.extend(std::iter::repeat_n(0xEE, check_value));
        let mut packet = [header, &esp].concat();
        packet[9] = 50;
        let length = u16::try_from(packet.len()).expect("short").to_be_bytes();
        packet[2..4].copy_from_slice(&length);
        let got = messages(&pcap(101, &[packet]));
        assert_eq!(got.len(), 1, "{check_value}");
        assert!(got[0].protected && got[0].bytes == sip(1, 1));
    }
}

#[test]
fn what_a_run_writes_reads_back() {
    let addr = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let (alice, p1, s1) = (addr("127.0.0.1:5060"), addr("127.0.0.2:5060"), addr("[::1]:5060"));
    let event =
        |node: &str, kind| TraceEvent { at: Instant::from_millis(5), node: node.into(), kind };
    let wire = |local, remote, transport, bytes: Vec<u8>| Wire {
        protocol: Protocol::Sip,
        transport,
        local,
        remote,
        bytes: bytes.into(),
    };
    let (small, big) = (sip(1, 0), sip(2, 20_000));
    let note = Note::new(cscf_core::clause::ts24229("5.2.2"), "because".into(), false);
    let events = [
        event("p1", TraceKind::Received(wire(p1, alice, Transport::Udp, small.clone()))),
        event("p1", TraceKind::Note(note)),
        event("p1", TraceKind::Sent(wire(s1, s1, Transport::Tcp, big.clone()))),
        event("s1", TraceKind::Received(wire(s1, s1, Transport::Tcp, big.clone()))),
    ];
    let lines: Vec<String> = events.iter().map(cscf_core::host::json::to_json).collect();
    let capture = read(lines.join("\n").as_bytes()).expect("a trace");
    let got: Vec<_> =
        capture.messages.iter().map(|it| (it.frame, it.from, it.bytes.to_vec())).collect();
    assert_eq!(got, [(1, alice, small), (3, s1, big.clone())]);
    assert_eq!(capture.events(), events);
    let names: Names = [(s1, "s1".to_owned())].into();
    let parties = Parties { names, ..Parties::default() };
    let again = read(&pcapng::write(&events, &parties)[..]).expect("a capture");
    assert_eq!(again.messages.len(), 2, "{:?}", again.flaws);
    assert_eq!(again.messages[1].bytes, big);
    assert_eq!(again.messages[0].at, Instant::EPOCH);
}

#[test]
fn one_message_as_text_is_a_capture_and_anything_else_is_refused() {
    assert_eq!(texts(&sip(1, 0)), [said(1, 0)]);
    let odd = b"!interesting-Method0123456789_*+`.%indeed'~ sip:b@x SIP/2.0\r\n\r\n";
    assert_eq!(texts(odd).len(), 1, "a method is a token, of any length and letters");
    for (bytes, says) in [
        (&b""[..], "begins with nothing"),
        (b"\x1f\x8b\x08\x00", "gunzip it first"),
        (b"hello world", "begins with \"hell\""),
        (b"\x7fELF", "pcapng, a trace.jsonl"),
    ] {
        let fault = read(bytes).expect_err("refused").to_string();
        assert!(fault.contains(says), "{fault}");
    }
}

/// Chance from a seed (splitmix64).
fn chance(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    usize::try_from((mixed ^ (mixed >> 29)) >> 33).expect("31 bits")
}

#[test]
fn files_cut_and_flipped_anywhere_are_read_to_some_end() {
    let whole = [sip(1, 10), sip(2, 300)].concat();
    let mut packets: Vec<Vec<u8>> =
        pieces(&whole, &[60, 200]).iter().map(|(at, bytes)| tcp(*at, bytes)).collect();
    packets.push(udp(&sip(3, 5)));
    packets.push(tcp(1, &cscf_core::diameter::Message::default().encode()));
    let files = [
        pcap(101, &packets),
        pcap_as(101, &packets, true, true),
        pcapng_big(101, &packets),
        b"{\"at_ns\":1,\"node\":\"p1\",\"kind\":\"state\",\"what\":\"x\"}\n{\"at_ns\":".to_vec(),
    ];
    let mut state = 0x5EED;
    let mut outcomes = BTreeSet::new();
    for file in &files {
        for end in 0..file.len() {
            let _ = read(&file[..end]);
        }
        for _ in 0..4_000 {
            let mut bytes = file.clone();
            for _ in 0..=chance(&mut state) % 8 {
                let at = chance(&mut state) % bytes.len();
                bytes[at] ^= 1 << (chance(&mut state) % 8);
            }
            if let Ok(capture) = read(&bytes[..]) {
                assert!(capture.messages.len() <= packets.len() * 4);
                assert!(capture.flaws.len() <= FLAWS_MAX);
                outcomes.insert(capture.messages.len());
            }
        }
    }
    assert!(outcomes.len() > 3, "{outcomes:?}");
}

#[test]
fn a_block_that_claims_more_than_there_is_costs_nothing() {
    let mut file = pcapng_big(101, &[]);
    file.extend_from_slice(&[0, 0, 0, 6, 0x00, 0xFF, 0xFF, 0xFC]);
    let capture = read(&file[..]).expect("a capture");
    assert_eq!(capture.flaws, ["after frame 0: the file ends inside a block"]);
    let end = file.len() - 4;
    file[end..].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFC]);
    let capture = read(&file[..]).expect("a capture");
    assert_eq!(capture.flaws, ["after frame 0: a block with an impossible length"]);
}

#[test]
fn streams_without_end_keep_their_bounds() {
    let mut packets = vec![tcp(1, b"INVITE sip:a SIP/2.0\r\n")];
    // Never what is due.
    packets.extend((0..2_000).map(|it| tcp(1_000_000 + it * 100, &[b'x'; 90])));
    // A header without end.
    packets.extend((0..2_000).map(|it| tcp(23 + it * 90, &[b'y'; 90])));
    let capture = read(&pcap(101, &packets)[..]).expect("a capture");
    assert!(capture.messages.is_empty());
    assert!(capture.flaws.iter().any(|it| it.contains("are missing")), "{:?}", capture.flaws);
    let fragments: Vec<Vec<u8>> = (0..2_000_u32)
        .map(|it| {
            let mut packet = udp(&sip(1, 0));
            let id = u16::try_from(it).expect("few").to_be_bytes();
            packet[4..6].copy_from_slice(&id);
            packet[6] = 0x20;
            packet
        })
        .collect();
    assert!(texts(&pcap(101, &fragments)).is_empty());
}
