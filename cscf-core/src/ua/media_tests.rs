//! Offers and answers as text.

use std::net::Ipv4Addr;

use super::*;

const AMR: &str = "mode-change-capability=2;max-red=220";

fn plan(port: u16) -> MediaPlan {
    let codec = |payload, name, clock_rate, fmtp| Codec { payload, name, clock_rate, fmtp };
    MediaPlan {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        port,
        session_id: 1,
        codecs: vec![
            codec(97, "AMR-WB", 16_000, AMR),
            codec(98, "AMR", 8000, AMR),
            codec(99, "telephone-event", 16_000, ""),
            codec(100, "telephone-event", 8000, ""),
        ],
        bandwidth_as: 49,
        bandwidth_rtcp: Some((612, 1837)),
        packet_times: Some((20, 240)),
        video: None,
        all_codecs: false,
    }
}

fn offered(streams: &str) -> Vec<u8> {
    let head = "v=0\r\no=- 7 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n";
    format!("{head}{}", with_crlf(streams)).into_bytes()
}

/// The lines, trimmed, each with CRLF.
fn with_crlf(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

#[test]
fn the_first_offer_is_the_one_of_a_volte_phone() {
    let mut media = Media::new(plan(50_000), Some(false));
    let expected = with_crlf(
        "v=0
        o=- 1 1 IN IP4 10.0.0.1
        s=-
        c=IN IP4 10.0.0.1
        b=AS:49
        t=0 0
        m=audio 50000 RTP/AVP 97 98 99 100
        b=AS:49
        b=RS:612
        b=RR:1837
        a=rtpmap:97 AMR-WB/16000
        a=fmtp:97 mode-change-capability=2;max-red=220
        a=rtpmap:98 AMR/8000
        a=fmtp:98 mode-change-capability=2;max-red=220
        a=rtpmap:99 telephone-event/16000
        a=rtpmap:100 telephone-event/8000
        a=ptime:20
        a=maxptime:240
        a=sendrecv
        a=curr:qos local none
        a=curr:qos remote none
        a=des:qos mandatory local sendrecv
        a=des:qos optional remote sendrecv",
    );
    assert_eq!(media.offer(), expected);
    assert_eq!(media.offer(), expected, "unchanged, so the same version");
}

#[test]
fn an_answer_keeps_streams_and_payload_types_and_takes_the_first_common_codec() {
    let mut media = Media::new(plan(60_000), None);
    let offer = offered(
        "m=video 4000 RTP/AVP 31
         m=audio 5000 RTP/AVP 96 111 112 113
         a=rtpmap:96 EVS/16000
         a=rtpmap:111 AMR-WB/16000
         a=fmtp:111 mode-set=0,1,2
         a=rtpmap:112 telephone-event/16000
         a=rtpmap:113 telephone-event/8000
         m=audio 5002 RTP/AVP 0",
    );
    media.take_offer(&offer).expect("acceptable");
    let answer = Sdp::parse(media.answer().as_bytes()).expect("SDP");

    let ports: Vec<u16> = answer.media.iter().map(Stream::port).collect();
    assert_eq!(ports, [0, 60_000, 0]);
    let kinds: Vec<&str> = answer.media.iter().map(Stream::kind).collect();
    assert_eq!(kinds, ["video", "audio", "audio"]);
    let voice = &answer.media[1];
    assert_eq!(voice.formats().collect::<Vec<_>>(), ["111", "112"]);
    assert_eq!(voice.fmtp("111"), Some("mode-set=0,1,2;mode-change-capability=2;max-red=220"));
    assert_eq!(voice.attribute("curr"), None);
}

#[test]
fn offers_without_a_common_codec_are_refused_with_the_right_warning() {
    for (streams, error) in [
        ("m=audio 5000 RTP/AVP 0 8", MediaError::NoCommonCodec),
        ("m=audio 5000 RTP/AVP 99\na=rtpmap:99 telephone-event/16000", MediaError::NoCommonCodec),
        ("m=audio 5000 RTP/AVP 97\na=rtpmap:97 AMR-WB/16000\na=fmtp:97 octet-align=1", {
            MediaError::NoCommonCodec
        }),
        ("m=audio 0 RTP/AVP 97\na=rtpmap:97 AMR-WB/16000", MediaError::NoVoice),
        ("m=video 5000 RTP/AVP 31", MediaError::NoVoice),
        ("", MediaError::NoVoice),
    ] {
        let mut media = Media::new(plan(1), None);
        assert_eq!(media.take_offer(&offered(streams)), Err(error), "{streams}");
    }
    let mut media = Media::new(plan(1), None);
    let error = media.take_offer(b"no sdp").expect_err("no SDP");
    assert_eq!(error.status(), 400);
    assert!(media.take_offer(&offered(&"m=audio 1 RTP/AVP 0\n".repeat(33))).is_err());
}

/// Direction of the offer → of the answer, and whether we are held.
fn hold(stream: &str, expected: Direction, held: bool) {
    let mut media = Media::new(plan(1), None);
    let offer = offered(&format!("m=audio 5 RTP/AVP 97\n{stream}\na=rtpmap:97 AMR-WB/16000"));
    media.take_offer(&offer).expect("acceptable");
    let answer = Sdp::parse(media.answer().as_bytes()).expect("SDP");
    assert_eq!(answer.media[0].direction(), Some(expected), "{stream}");
    assert_eq!(media.is_held_by_peer(), held, "{stream}");
    assert_eq!(answer.media[0].bandwidth("RR"), Some(1837), "RTCP goes on");
}

#[test]
fn every_form_of_hold_is_answered() {
    hold("a=sendrecv", Direction::SendRecv, false);
    hold("a=sendonly", Direction::RecvOnly, true);
    hold("a=recvonly", Direction::SendOnly, false);
    hold("a=inactive", Direction::Inactive, true);
    hold("c=IN IP4 0.0.0.0", Direction::RecvOnly, true);
    hold("c=IN IP4 0.0.0.0\na=inactive", Direction::Inactive, true);
}

fn agreed() -> (Media, Media) {
    let (mut caller, mut callee) =
        (Media::new(plan(50_000), Some(false)), Media::new(plan(60_000), Some(false)));
    callee.take_offer(caller.offer().as_bytes()).expect("offer");
    let answer = callee.answer();
    assert!(answer.contains("m=audio 60000 RTP/AVP 97 99\r\n"), "{answer}");
    assert!(answer.contains("a=conf:qos remote sendrecv\r\n"), "{answer}");
    caller.take_answer(answer.as_bytes()).expect("answer");
    (caller, callee)
}

#[test]
fn preconditions_travel_in_update_with_the_next_version() {
    let (mut caller, mut callee) = agreed();
    assert!(!caller.is_met() && !callee.is_met());
    caller.reserve();
    callee.reserve();

    let update = caller.offer();
    callee.take_offer(update.as_bytes()).expect("offer");
    let answer = callee.answer();
    caller.take_answer(answer.as_bytes()).expect("answer");

    assert!(update.contains("o=- 1 2 IN IP4"), "{update}");
    assert!(update.contains("m=audio 50000 RTP/AVP 97 99\r\n"), "only what was agreed: {update}");
    assert!(update.contains("a=curr:qos local sendrecv\r\n"), "{update}");
    assert!(update.contains("a=des:qos mandatory remote sendrecv\r\n"), "{update}");
    assert!(answer.contains("a=curr:qos local sendrecv\r\na=curr:qos remote sendrecv\r\n"));
    assert!(answer.contains("o=- 1 2 IN IP4"), "{answer}");
    assert!(caller.is_met() && callee.is_met());
}

#[test]
fn a_peer_without_preconditions_ends_their_use() {
    let mut caller = Media::new(plan(1), Some(false));
    let mut callee = Media::new(plan(2), None);
    callee.take_offer(caller.offer().as_bytes()).expect("offer");
    caller.take_answer(callee.answer().as_bytes()).expect("answer");
    assert!(!caller.uses_preconditions() && caller.is_met());
    assert!(!caller.offer().contains("qos"));
}

#[test]
fn both_ends_hold_and_each_takes_back_its_own() {
    let (mut alice, mut bob) = agreed();
    let mut step = |holder: bool, on: bool, offered: &str, answered: &str| {
        let (from, to) = if holder { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        from.hold(on);
        let offer = from.offer();
        to.take_offer(offer.as_bytes()).expect("offer");
        let answer = to.answer();
        from.take_answer(answer.as_bytes()).expect("answer");
        assert!(offer.contains(&format!("a={offered}\r\n")), "{offer}");
        assert!(answer.contains(&format!("a={answered}\r\n")), "{answer}");
    };
    step(true, true, "sendonly", "recvonly");
    step(false, true, "inactive", "inactive");
    step(true, false, "recvonly", "sendonly");
    step(false, false, "sendrecv", "sendrecv");
}

#[test]
fn an_answer_that_does_not_fit_the_offer_is_refused() {
    let mut media = Media::new(plan(1), None);
    let _ = media.offer();
    let check = |streams: &str, media: &mut Media| media.take_answer(&offered(streams));
    assert_eq!(check("", &mut media), Err(MediaError::Streams { found: 0 }));
    let two = "m=audio 5 RTP/AVP 97\nm=video 0 RTP/AVP 31";
    assert_eq!(check(two, &mut media), Err(MediaError::Streams { found: 2 }));
    assert_eq!(check("m=audio 5 RTP/AVP 0", &mut media), Err(MediaError::NoCommonCodec));
    assert_eq!(check("m=audio 0 RTP/AVP 97", &mut media), Err(MediaError::NoVoice));
    assert_eq!(check("m=audio 5 RTP/AVP 97", &mut media), Ok(()));
}
