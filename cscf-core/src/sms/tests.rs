//! Octets of public examples, round trips, and octets of nobody.

use super::*;
use crate::time::UnixTime;

fn octets(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(value).collect()
}

/// The example that most tutorials on the PDU format have: "hellohello" to 46708251358.
#[test]
fn the_well_known_submit_is_read_and_written() {
    let bytes = octets("11 00 0B 91 6407281553F8 00 00 AA 0A E8329BFD4697D9EC37");
    let Ok(Tpdu::Submit(submit)) = Tpdu::decode(&bytes, Direction::ToNetwork, false) else {
        panic!("no SMS-SUBMIT")
    };
    assert_eq!(submit.destination.to_string(), "+46708251358");
    assert_eq!(submit.data.text(), Some("hellohello"));
    let four_days = crate::time::Duration::from_secs(4 * 86_400);
    assert_eq!(submit.validity.and_then(|it| it.lasts(UnixTime(0))), Some(four_days));
    assert_eq!(Tpdu::Submit(submit).encode(), bytes);
}

/// The SMS-DELIVER of the same tutorials: 29 March 1999, 15:16:59, GMT+2.
#[test]
fn the_well_known_deliver_is_read_and_written() {
    let bytes = octets("04 0B C8 7238880900F1 00 00 99309251619580 0A E8329BFD4697D9EC37");
    let Ok(Tpdu::Deliver(deliver)) = Tpdu::decode(&bytes, Direction::ToMobile, false) else {
        panic!("no SMS-DELIVER")
    };
    assert_eq!(deliver.originator.to_string(), "27838890001");
    assert_eq!(deliver.time.to_string(), "99-03-29 15:16:59 GMT+2:00");
    assert_eq!(deliver.data.text(), Some("hellohello"));
    assert_eq!(Tpdu::Deliver(deliver).encode(), bytes);
}

/// What pycrate 0.8 (an independent implementation) writes.
#[test]
fn the_messages_of_another_program_are_read_and_written() {
    let submit = octets("002a000591515599991725070b915155100000f200000b47b9df53066d50f84d0a");
    let deliver = octets("01c80591515599990017000b915155100000f90008000000000000000465e5672c");
    for (bytes, said) in [
        (
            &submit,
            "RP-DATA mr=42 centre=+15559999 SMS-SUBMIT mr=7 to=+15550100002 report \"Grüße {x}\"",
        ),
        (&deliver, "RP-DATA mr=200 centre=+15559999 SMS-DELIVER from=+15550100009 \"日本\""),
        (&octets("04030100"), "RP-ERROR mr=3 cause=0"),
    ] {
        assert_eq!(long(bytes), said);
        let rp = RpMessage::decode(bytes).expect(said);
        assert_eq!(rp.encode(), *bytes);
        if let Rp::Data { tpdu, .. } = rp.what {
            let tp = Tpdu::decode(&tpdu, rp.direction, false).expect(said);
            assert_eq!(tp.encode(), tpdu);
        }
    }
    let status = octets("02090b915155100000f200000000000000000000000000000000");
    let status = Tpdu::decode(&status, Direction::ToMobile, false);
    assert!(matches!(status, Ok(Tpdu::StatusReport(it)) if it.reference == 9 && it.more));
}

#[test]
fn every_rp_message_is_read_as_it_is_written() {
    use Direction::{ToMobile, ToNetwork};
    let centre = Address::number("+15559999");
    let tpdu = Some(vec![1, 2, 3]);
    for direction in [ToMobile, ToNetwork] {
        for what in [
            Rp::Data { centre: centre.clone(), tpdu: vec![1] },
            Rp::Data { centre: None, tpdu: vec![9; 232] },
            Rp::Ack { tpdu: None },
            Rp::Ack { tpdu: tpdu.clone() },
            Rp::Error { cause: 22, diagnostic: None, tpdu: None },
            Rp::Error { cause: 111, diagnostic: Some(3), tpdu: tpdu.clone() },
        ] {
            let message = RpMessage { direction, reference: 200, what };
            assert_eq!(RpMessage::decode(&message.encode()), Ok(message));
        }
    }
    let message = RpMessage { direction: ToNetwork, reference: 0, what: Rp::MemoryAvailable };
    assert_eq!(message.encode(), [6, 0]);
    assert_eq!(RpMessage::decode(&[6, 0]), Ok(message));
}

#[test]
fn what_is_no_rp_message_says_where() {
    for (bytes, said) in [
        ("", "octet 0: no message type"),
        ("01", "octet 1: no RP-Message-Reference"),
        ("07 01", "octet 0: a message type that is reserved"),
        ("00 01 00 05 91", "octet 4: an address ends too early"),
        ("00 01 00 00 00", "octet 5: RP-User-Data has 1 to 232 octets"),
        ("00 01 00 0c 91 1111111111111111111111 01 00", "an address of more than 20 digits"),
        ("04 01 00", "octet 3: RP-Cause is empty"),
        ("02 01 41 05 00", "octet 4: an element ends too early"),
    ] {
        let fault = RpMessage::decode(&octets(bytes)).expect_err(bytes).to_string();
        assert!(fault.contains(said), "{bytes}: {fault}");
    }
}

fn submit(data: UserData) -> Submit {
    Submit {
        reference: 7,
        reject_duplicates: true,
        status_report: true,
        destination: Address::number("+1-555-0100002").unwrap(),
        protocol: 0,
        validity: Some(Validity::Relative(167)),
        data,
    }
}

#[test]
fn every_text_comes_back_whole_from_its_messages() {
    let long = "0123456789".repeat(40);
    let greek = "ΔΦΓΛΩΠΨΣΘΞ {braces} [brackets] ~|^\\ €".repeat(9);
    let ucs2 = "日本語のテキスト 😀 ".repeat(30);
    for (text, parts) in [
        ("", 1),
        ("@", 1),
        (&long[..160], 1),
        (&long[..161], 2),
        (&*long, 3),
        (&*greek, 3),
        ("короткий", 1),
        (&*ucs2, 6),
        ("a\u{1b}b", 1),
    ] {
        let pieces = segments(text, 77).expect("few enough");
        assert_eq!(pieces.len(), parts, "{text}");
        let mut whole = String::new();
        for (number, data) in (1..).zip(pieces) {
            let bytes = Tpdu::Submit(submit(data)).encode();
            let Ok(Tpdu::Submit(read)) = Tpdu::decode(&bytes, Direction::ToNetwork, false) else {
                panic!("{text}")
            };
            let part = (parts > 1).then(|| Part {
                reference: 77,
                total: u8::try_from(parts).unwrap(),
                number,
            });
            assert_eq!(read.data.part(), part);
            whole.push_str(read.data.text().expect("text"));
            assert_eq!(Tpdu::Submit(read).encode(), bytes);
        }
        assert_eq!(whole, text);
    }
    assert_eq!(segments(&"x".repeat(153 * 255 + 1), 0), None);
    assert!(segments(&"x".repeat(153 * 255), 0).is_some());
}

#[test]
fn reports_are_read_as_they_are_written() {
    let time = TimeStamp::at(UnixTime(1_800_000_000));
    assert_eq!(time.unix(), Some(UnixTime(1_800_000_000)));
    assert_eq!(time.to_string(), "27-01-15 08:00:00 GMT+0:00");
    let recipient = Address::number("*100#").unwrap();
    let status = StatusReport {
        more: false,
        reference: 9,
        recipient,
        time,
        discharge: time,
        status: status::EXPIRED,
    };
    for (tpdu, direction, failed) in [
        (Tpdu::StatusReport(status), Direction::ToMobile, false),
        (Tpdu::DeliverReport(DeliverReport::default()), Direction::ToNetwork, false),
        (
            Tpdu::DeliverReport(DeliverReport { failure: Some(failure::MEMORY) }),
            Direction::ToNetwork,
            true,
        ),
        (Tpdu::SubmitReport(SubmitReport { failure: None, time }), Direction::ToMobile, false),
        (
            Tpdu::SubmitReport(SubmitReport { failure: Some(failure::DUPLICATE), time }),
            Direction::ToMobile,
            true,
        ),
    ] {
        assert_eq!(Tpdu::decode(&tpdu.encode(), direction, failed), Ok(tpdu));
    }
}

#[test]
fn a_time_stamp_knows_zones_and_leap_years() {
    for (bytes, unix) in [
        ("00209200000000", Some(951_782_400)),
        ("99309251619580", None),
        ("62820000000000", None),
        ("ff101000000000", None),
    ] {
        let mut data = vec![0x04, 0x01, 0x81, 0xf1, 0, 0];
        data.extend(octets(bytes));
        data.push(0);
        let Ok(Tpdu::Deliver(deliver)) = Tpdu::decode(&data, Direction::ToMobile, false) else {
            panic!("{bytes}")
        };
        let found = deliver.time.unix();
        match unix {
            Some(unix) => assert_eq!(found, Some(UnixTime(unix)), "{bytes}"),
            // 1999 counts as 2099 here; what is no date has no moment.
            None => assert!(found.is_none_or(|it| it.0 > 4_000_000_000), "{bytes}: {found:?}"),
        }
    }
}

#[test]
fn letters_stand_in_place_of_a_number() {
    let letters = Address::letters("MyBank").unwrap();
    let deliver = Tpdu::Deliver(Deliver {
        more: true,
        status_report: false,
        originator: letters,
        protocol: 0,
        time: TimeStamp::at(UnixTime(0)),
        data: UserData::binary(&[1, 2, 3]).unwrap(),
    });
    assert_eq!(Tpdu::decode(&deliver.encode(), Direction::ToMobile, false), Ok(deliver));
    assert_eq!(Address::letters("far too long"), None);
    for wrong in ["", "+", "abc def", "123456789012345678901", "+1x"] {
        assert_eq!(Address::number(wrong), None, "{wrong}");
    }
}

#[test]
fn a_body_is_told_in_words() {
    let data = segments("hello", 0).unwrap().remove(0);
    let tpdu = Tpdu::Submit(submit(data)).encode();
    let what = Rp::Data { centre: Address::number("+15559999"), tpdu };
    let body = RpMessage { direction: Direction::ToNetwork, reference: 1, what }.encode();
    assert_eq!(short(&body), "RP-DATA (SMS-SUBMIT \"hello\")");
    assert_eq!(
        long(&body),
        "RP-DATA mr=1 centre=+15559999 SMS-SUBMIT mr=7 to=+15550100002 report \"hello\""
    );
    for (name, value) in [
        ("rp", Some("RP-DATA")),
        ("rp_mr", Some("1")),
        ("rp_cause", None),
        ("rp_centre", Some("+15559999")),
        ("tp", Some("SMS-SUBMIT")),
        ("tp_mr", Some("7")),
        ("tp_address", Some("+15550100002")),
        ("sms_text", Some("hello")),
        ("nothing", None),
    ] {
        assert_eq!(field(&body, name).as_deref(), value, "{name}");
    }
    assert_eq!(short(&[5, 1, 1, 22]), "RP-ERROR 22");
    assert_eq!(long(&[5, 1, 1, 22]), "RP-ERROR mr=1 cause=22");
    assert_eq!(long(b"\xff"), "no RP message: octet 1: no RP-Message-Reference");
}

/// Whatever comes is read without a panic, and what was read is written and read again alike.
#[test]
fn octets_of_nobody_are_no_danger() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let data = segments(&"lorem ipsum ".repeat(20), 3).unwrap().remove(0);
    let tpdu = Tpdu::Submit(submit(data)).encode();
    let what = Rp::Data { centre: Address::number("+15559999"), tpdu };
    let good = RpMessage { direction: Direction::ToNetwork, reference: 1, what }.encode();
    let mut read = 0;
    for round in 0..20_000 {
        let mut bytes = if round % 2 == 0 {
            good.clone()
        } else {
            (0..next() % 200).map(|_| next().to_le_bytes()[0]).collect()
        };
        for _ in 0..next() % 4 {
            if let Some(place) = bytes.len().checked_sub(1) {
                let at = usize::try_from(next()).unwrap_or(0) % (place + 1);
                bytes[at] = next().to_le_bytes()[0];
                if next() % 3 == 0 {
                    bytes.truncate(at);
                }
            }
        }
        let _ = (short(&bytes), long(&bytes));
        let Ok(rp) = RpMessage::decode(&bytes) else { continue };
        assert_eq!(RpMessage::decode(&rp.encode()), Ok(rp.clone()));
        for failed in [false, true] {
            for direction in [Direction::ToMobile, Direction::ToNetwork] {
                let tpdu = rp.what.tpdu().unwrap_or_default();
                if let Ok(tp) = Tpdu::decode(tpdu, direction, failed) {
                    let again = Tpdu::decode(&tp.encode(), direction, failed).expect("our own");
                    assert_eq!(again.name(), tp.name());
                    read += 1;
                }
            }
        }
    }
    assert!(read > 1000, "{read}");
}
