//! Known bytes, and hostile ones.

use bytes::Bytes;

use super::harness::Pair;
use super::rules_tests::Raw;
use super::tests::{everything, full, sent_by_client};
use super::*;
use crate::ids::{Ids, Seed, ShardId};
use crate::time::{Duration, Instant};
use crate::trace::TraceKind;
use crate::transport::{Flow, Transport};

/// Hop-by-hop and end-to-end identifier are chance, as is the session: they are left out.
fn comparable(bytes: &Bytes) -> String {
    let mut message = Message::decode(bytes).unwrap();
    message.header.hop_by_hop = 0;
    message.header.end_to_end = 0;
    message.avps.retain(|avp| !avp.is(&dictionary::SESSION_ID));
    message.encode().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn found(name: &str) -> Bytes {
    let messages = everything();
    let named = |bytes: &&Bytes| Message::decode(bytes).unwrap().name() == name;
    messages.iter().find(named).unwrap().clone()
}

/// Made by another program from RFC 6733 §3, §4 and TS 29.229 §6, and read by a third.
#[test]
fn cer_cea_uar_and_maa_are_these_bytes() {
    let known = [
        (
            "CER",
            "010000ac80000101000000000000000000000000000001084000001673312e696d732e65\
             78616d706c6500000000012840000013696d732e6578616d706c6500000001014000000e\
             0001c000020a00000000010a4000000c000028af0000010d0000000c6373636600000109\
             4000000c000028af000001024000000c0100000000000104400000200000010a4000000c\
             000028af000001024000000c01000000000001164000000c00000001",
        ),
        (
            "CEA",
            "010000b8000001010000000000000000000000000000010c4000000c000007d100000108\
             400000176873732e696d732e6578616d706c65000000012840000013696d732e6578616d\
             706c6500000001014000000e0001c000021400000000010a4000000c000028af0000010d\
             0000000c63736366000001094000000c000028af000001024000000c0100000000000104\
             400000200000010a4000000c000028af000001024000000c01000000000001164000000c\
             00000001",
        ),
        (
            "UAR",
            "01000110c000012c01000000000000000000000000000104400000200000010a4000000c\
             000028af000001024000000c01000000000001154000000c000000010000010840000016\
             73312e696d732e6578616d706c6500000000012840000013696d732e6578616d706c6500\
             00000125400000176873732e696d732e6578616d706c65000000011b40000013696d732e\
             6578616d706c65000000000140000019616c69636540696d732e6578616d706c65000000\
             00000259c0000021000028af7369703a616c69636540696d732e6578616d706c65000000\
             00000258c0000017000028af696d732e6578616d706c65000000026fc0000010000028af\
             000000000000027d80000010000028af00000001",
        ),
        (
            "MAA",
            "010002284000012f01000000000000000000000000000104400000200000010a4000000c\
             000028af000001024000000c01000000000001154000000c000000010000010840000017\
             6873732e696d732e6578616d706c65000000012840000013696d732e6578616d706c6500\
             0000010c4000000c000007d10000000140000019616c69636540696d732e6578616d706c\
             6500000000000259c0000021000028af7369703a616c69636540696d732e6578616d706c\
             650000000000025fc0000010000028af0000000200000264c00000b0000028af00000265\
             c0000010000028af0000000100000260c000001c000028af4469676573742d414b417631\
             2d4d443500000261c000002c000028af0101010101010101010101010101010102020202\
             02020202020202020202020200000262c0000014000028af010101010101010100000271\
             c000001c000028af0303030303030303030303030303030300000272c000001c000028af\
             0404040404040404040404040404040400000264c00000b0000028af00000265c0000010\
             000028af0000000200000260c000001c000028af4469676573742d414b4176312d4d4435\
             00000261c000002c000028af090909090909090909090909090909090a0a0a0a0a0a0a0a\
             0a0a0a0a0a0a0a0a00000262c0000014000028af090909090909090900000271c000001c\
             000028af0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b00000272c000001c000028af0c0c0c0c\
             0c0c0c0c0c0c0c0c0c0c0c0c",
        ),
    ];
    for (name, expected) in known {
        assert_eq!(comparable(&found(name)), expected, "{name}");
    }
}

#[test]
fn every_message_is_written_as_it_was_read() {
    for bytes in everything() {
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.encode(), bytes);
    }
}

#[test]
fn faults_name_the_offset_and_the_result_code() {
    let good = Message {
        header: Header::default(),
        avps: vec![
            Avp::text(&dictionary::USER_NAME, "ab"),
            Avp::group(
                &dictionary::SERVER_CAPABILITIES,
                &[Avp::number(&dictionary::MANDATORY_CAPABILITY, 1)],
            ),
        ],
    };
    let bytes = good.encode();
    for (at, value, offset, code) in [
        (0, 2, 0, 5011),          // version
        (3, 0, 1, 5015),          // message length
        (4, 0xa0, 4, 3008),       // R and E
        (4, 0x10, 4, 3008),       // T in an answer
        (20 + 7, 7, 20, 5014),    // AVP shorter than its header
        (20 + 7, 0xff, 20, 5014), // AVP longer than the message
        (32 + 7, 0x1d, 32, 5014), // group reaches beyond the message
    ] {
        let mut bad = bytes.to_vec();
        bad[at] = value;
        let fault = Message::decode(&bad.into()).unwrap_err();
        assert_eq!((fault.offset, fault.result_code()), (offset, code), "{fault}");
    }
    let mut inner = bytes.to_vec();
    inner[32 + 12 + 7] = 9;
    let message = Message::decode(&inner.into()).unwrap();
    let fault = message.avps[1].as_group().unwrap_err();
    assert_eq!((fault.offset, fault.result_code()), (44, 5014));
    assert_eq!(fault.to_string(), "AVP length 9 is wrong at byte 44 (Mandatory-Capability)");
}

#[test]
fn more_avps_than_the_limit_are_refused() {
    let avps = vec![Avp::text(&dictionary::USER_NAME, ""); AVP_MAX + 1];
    let fault = Message::decode(&Message { header: Header::default(), avps }.encode()).unwrap_err();
    assert_eq!((fault.kind, fault.result_code()), (FaultKind::TooManyAvps, 5012));
}

/// Changes some bytes, often such that the length stays right.
fn mutate(ids: &mut Ids, bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let chance = ids.block();
    let mut words = chance.chunks_exact(4).map(|four| {
        usize::try_from(u32::from_be_bytes([four[0], four[1], four[2], four[3]])).unwrap()
    });
    let mut word = || words.next().unwrap_or(1);
    match word() % 8 {
        0 => out.truncate(word() % (out.len() + 1)),
        1 => {
            let at = word() % out.len();
            out.insert(at, u8::try_from(word() & 0xff).unwrap());
        }
        2 => {
            let (at, span) = (word() % out.len(), word() % 64);
            let end = (at + span).min(out.len());
            let to = word() % (out.len() - (end - at) + 1);
            out.copy_within(at..end, to);
        }
        _ => {
            for _ in 0..=word() % 3 {
                let at = word() % out.len();
                out[at] = u8::try_from(word() & 0xff).unwrap();
            }
        }
    }
    out
}

#[test]
fn hostile_messages_do_no_harm() {
    let corpus = everything();
    let mut ids = Ids::new(Seed::derive(7, "hostile"), ShardId(0));
    let (mut read, mut refused) = (0_u32, 0_u32);
    for round in 0..60_000 {
        let bytes: Bytes = mutate(&mut ids, &corpus[round % corpus.len()]).into();
        match Message::decode(&bytes) {
            Err(fault) => {
                assert!(fault.offset <= bytes.len());
                refused += 1;
            }
            Ok(message) => {
                read += 1;
                let _ = message.encode();
                let _ = request::decode(&message);
                let _ = answer::decode(&message);
                let _ = demand::decode(&message);
                for avp in &message.avps {
                    let _ = (avp.as_text(), avp.as_u32(), avp.as_group(), format!("{avp:?}"));
                }
            }
        }
    }
    assert!(read > 10_000 && refused > 5_000, "{read} read, {refused} refused");
}

#[test]
fn hostile_streams_leave_server_and_client_usable() {
    let sent = sent_by_client();
    let corpus = everything();
    let mut ids = Ids::new(Seed::derive(8, "streams"), ShardId(0));
    let mut raw = Raw::new();
    let mut open = false;
    for round in 0..20_000 {
        if !open {
            raw.open(1);
            raw.send(1, &sent[0]);
        }
        let bytes = mutate(&mut ids, &corpus[round % corpus.len()]);
        let portion = 1 + usize::try_from(ids.below(300)).unwrap();
        open = bytes.chunks(portion).all(|chunk| !raw.send(1, chunk).1);
    }
    raw.open(2);
    raw.send(2, &sent[0]);
    assert_eq!(raw.send(2, &sent[1]).0.len(), 1);

    let mut client = harness::client("s1", 1);
    let mut now = Instant::EPOCH;
    let cea = found("CEA");
    let mut rng = Ids::new(Seed::derive(9, "client"), ShardId(0));
    let mut linked = None;
    for round in 0..20_000 {
        now += Duration::from_secs(40);
        client.handle_input(now, ClientInput::Timeout);
        if let Some(conn) = linked {
            let bytes = mutate(&mut rng, &corpus[round % corpus.len()]);
            client.handle_input(now, ClientInput::Bytes(conn, bytes.into()));
        }
        while let Some(output) = client.poll_output() {
            match output {
                ClientOutput::Connect { conn, local, remote } => {
                    let flow = Flow {
                        transport: Transport::Tcp,
                        local,
                        remote,
                        conn: Some(conn),
                        sa: None,
                    };
                    client.handle_input(now, ClientInput::Opened(flow));
                    client.handle_input(now, ClientInput::Bytes(conn, cea.clone()));
                    linked = Some(conn);
                }
                ClientOutput::Close { .. } => linked = None,
                ClientOutput::Demand(demand, _) => {
                    let answer =
                        ClientInput::DemandAnswer(demand, crate::cx::CxResult::Success.into());
                    client.handle_input(now, answer);
                }
                ClientOutput::Trace(TraceKind::Note(note)) => assert!(note.text.len() < 1_000),
                _ => {}
            }
        }
    }
    let mut pair = Pair::new(full);
    pair.run(Duration::ZERO);
    assert!(pair.client.is_connected());
}
