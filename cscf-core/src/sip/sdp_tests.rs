//! Tests of the SDP reader.

use super::*;

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nb=AS:49\r\n\
    t=0 0\r\nm=audio 50000 RTP/AVP 97 98\r\nb=AS:49\r\nb=RS:612\r\na=rtpmap:97 AMR-WB/16000\r\n\
    a=fmtp:97 mode-change-capability=2;max-red=220\r\na=rtpmap:98 AMR/8000/1\r\na=ptime:20\r\n\
    a=sendrecv\r\nm=video 0 RTP/AVP 31\r\nc=IN IP6 ::1\r\na=inactive\r\n";

fn offer() -> Sdp {
    Sdp::parse(OFFER.as_bytes()).expect("parses")
}

#[test]
fn a_description_prints_as_it_was_read() {
    assert_eq!(offer().to_string(), OFFER);
    for text in ["v=0\ns=-\nm=audio 1 x y\n", "v=0\r\ns=-", "v=0\n"] {
        assert_eq!(Sdp::parse(text.as_bytes()).expect(text).to_string(), text);
    }
}

#[test]
fn the_views_show_session_and_media() {
    let sdp = offer();
    let [audio, video] = &sdp.media[..] else { panic!("two streams") };
    assert_eq!((audio.kind(), audio.port(), audio.protocol()), ("audio", 50_000, "RTP/AVP"));
    assert_eq!(audio.formats().collect::<Vec<_>>(), ["97", "98"]);
    assert_eq!(
        (sdp.bandwidth("AS"), audio.bandwidth("RS"), audio.bandwidth("RR")),
        (Some(49), Some(612), None)
    );
    assert_eq!(
        (sdp.direction_of(audio), sdp.direction_of(video)),
        (Direction::SendRecv, Direction::Inactive)
    );
    assert_eq!(sdp.connection_of(audio).map(|it| it.address).as_deref(), Some("10.0.0.1"));
    assert_eq!(sdp.connection_of(video).map(|it| it.to_string()).as_deref(), Some("IN IP6 ::1"));
    assert_eq!(audio.fmtp("97"), Some("mode-change-capability=2;max-red=220"));
    assert_eq!(audio.attribute("ptime"), Some("20"));
    let maps: Vec<String> = audio.rtpmaps().map(|map| map.to_string()).collect();
    assert_eq!(maps, ["97 AMR-WB/16000", "98 AMR/8000/1"]);
    assert!(sdp.has_active("audio") && !sdp.has_active("video"));
}

#[test]
fn edits_stay_where_they_belong() {
    let mut sdp = offer();
    sdp.bump_version();
    let audio = &mut sdp.media[0];
    audio.set_formats(&["98"]);
    audio.set_direction(Direction::SendOnly);
    audio.push('b', "RR:1837");
    audio.push_attribute("maxptime", "240");
    assert_eq!(audio.remove_attribute("ptime"), 1);
    sdp.media[1].set_port(4000);
    let expected = "v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nb=AS:49\r\n\
        t=0 0\r\nm=audio 50000 RTP/AVP 98\r\nb=AS:49\r\nb=RS:612\r\n\
        b=RR:1837\r\na=rtpmap:98 AMR/8000/1\r\n\
        a=sendonly\r\na=maxptime:240\r\nm=video 4000 RTP/AVP 31\r\nc=IN IP6 ::1\r\na=inactive\r\n";
    assert_eq!(sdp.to_string(), expected);
}

#[test]
fn a_description_can_be_built() {
    let origin = Origin {
        user: "-".to_owned(),
        session_id: "7".to_owned(),
        version: 1,
        address_type: "IP4".to_owned(),
        address: "192.0.2.1".to_owned(),
    };
    let mut sdp = Sdp::new(&origin, "-", &Connection::new(std::net::IpAddr::from([192, 0, 2, 1])));
    let mut audio = Media::new("audio", 49170, "RTP/AVP", &["0"]);
    audio.push_attribute("rtpmap", "0 PCMU/8000");
    audio.set_direction(Direction::SendRecv);
    sdp.media.push(audio);
    let text = "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 49170 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n";
    assert_eq!(sdp.to_string(), text);
    assert_eq!(Sdp::parse(text.as_bytes()).expect("reads its own writing"), sdp);
    assert_eq!(sdp.origin(), Some(origin));
}

#[test]
fn what_is_no_description_is_refused_at_its_line() {
    for (text, line, offset) in [
        ("", 1, 0),
        ("s=-\r\n", 1, 0),
        ("v=0\r\nnothing\r\n", 2, 5),
        ("v=0\r\n\r\n", 2, 5),
        ("v=0\r\nm=audio x RTP/AVP 0\r\n", 2, 5),
        ("v=0\r\nm=audio 70000 RTP/AVP 0\r\n", 2, 5),
        ("v=0\r\ns=a\rb\r\n", 2, 5),
    ] {
        let fault = Sdp::parse(text.as_bytes()).expect_err(text);
        assert_eq!((fault.line, fault.offset), (line, offset), "{text:?}");
    }
    assert_eq!(Sdp::parse(b"v=0\r\ns=\xff\r\n").expect_err("bytes").offset, 7);
    let endless = format!("v=0\r\n{}", "a=x\r\n".repeat(5_000));
    assert_eq!(Sdp::parse(endless.as_bytes()).expect_err("endless").line, LINES_MAX + 1);
}

/// The table of RFC 3264 §6.1.
#[test]
fn directions_are_answered_by_what_both_allow() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    for (ours, theirs, result) in [
        (SendRecv, SendRecv, SendRecv),
        (SendRecv, SendOnly, RecvOnly),
        (SendRecv, RecvOnly, SendOnly),
        (SendOnly, SendOnly, Inactive),
        (RecvOnly, SendRecv, RecvOnly),
        (Inactive, SendRecv, Inactive),
    ] {
        assert_eq!(ours.answered_by(theirs), result);
    }
    assert_eq!(SendOnly.reversed(), RecvOnly);
}
