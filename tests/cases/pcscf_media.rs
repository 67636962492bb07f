//! What media the P-CSCF lets pass (TS 24.229 §6.2): phones by hand whose every description the
//! test writes.

use cscf_core::config::EdgeConfig;
use cscf_core::sip::{HeaderName, Request, Response, Sdp};
use cscf_core::time::Duration;
use cscf_tests::{Bench, header};

use super::by_hand::{Hand, impu, one, sent_to};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "pcscf_media::an_offer_that_is_not_permitted_gets_488_with_what_is",
            &["P-SDP-010"],
            offers,
        ),
        case(
            "pcscf_media::a_later_offer_leaves_the_session_as_it_was",
            &["P-SDP-010"],
            later_offers,
        ),
        case("pcscf_media::an_answer_that_is_not_permitted_ends_the_call", &["P-SDP-020"], answers),
        case(
            "pcscf_media::an_answer_in_a_call_that_is_not_permitted_ends_it",
            &["P-SDP-020"],
            later_answers,
        ),
        case("pcscf_media::rtcp_without_bandwidth_is_no_error", &["P-SDP-040"], rtcp),
    ]
}

/// alice and bob by hand in a lab whose P-CSCF has these choices.
pub(crate) fn both_with(change: impl FnOnce(&mut EdgeConfig)) -> (Bench, Hand, Hand) {
    let source = "scenario: none\nparties:\n  alice: {}\n  bob: {}\nsteps: []\n";
    let mut bench = Bench::with_lab(source, 1, |lab| {
        let p1 = lab.nodes.iter_mut().find(|node| node.name == "p1").expect("p1");
        change(&mut p1.edge);
    });
    let bob = Hand::registered(&mut bench, "bob");
    let alice = Hand::registered(&mut bench, "alice");
    (bench, alice, bob)
}

/// A body with these media.
pub(crate) fn sdp(media: &str) -> String {
    format!(
        "Content-Type: application/sdp\n\nv=0\no=- 9 1 IN IP4 10.0.0.2\ns=-\n\
         c=IN IP4 10.0.0.2\nt=0 0\n{media}"
    )
}

pub(crate) const AMR: &str = "m=audio 7000 RTP/AVP 97\na=rtpmap:97 AMR/8000";
pub(crate) const EVS: &str = "m=audio 7000 RTP/AVP 96\na=rtpmap:96 EVS/16000";
const BOTH: &str = "m=audio 7000 RTP/AVP 97 96\na=rtpmap:97 AMR/8000\na=rtpmap:96 EVS/16000";
const VIDEO: &str = "m=video 7002 RTP/AVP 99\na=rtpmap:99 H264/90000";

fn only_amr(edge: &mut EdgeConfig) {
    edge.media.media = Some(vec!["audio".to_owned()]);
    edge.media.codecs = Some(vec!["AMR".to_owned()]);
}

/// The description in a 488.
fn permitted(response: &Response) -> Sdp {
    assert_eq!(response.status, 488);
    assert_eq!(response.headers.get(HeaderName::ContentType), Some("application/sdp"));
    assert!(response.headers.contains(HeaderName::Warning));
    Sdp::parse(&response.body).expect("SDP")
}

fn is_amr_only(response: &Response) {
    let sdp = permitted(response);
    let [audio] = sdp.media.as_slice() else { panic!("one medium: {sdp}") };
    assert_eq!((audio.kind(), audio.port()), ("audio", 0));
    let names: Vec<String> = audio.rtpmaps().map(|map| map.encoding).collect();
    assert_eq!(names, ["AMR", "telephone-event"]);
}

fn offers() {
    // The caller's P-CSCF, for its codecs and for a medium.
    for offer in [EVS.to_owned(), format!("{AMR}\n{VIDEO}")] {
        let (mut bench, alice, bob) = both_with(only_amr);
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(&offer)));
        let refused = one(&bench, "p1", alice.addr, "488 INVITE");
        is_amr_only(refused.response());
        assert!(sent_to(&bench, "p1", bench.addr("s1"), "INVITE").is_empty());
        assert!(bob.heard(&mut bench, "INVITE").is_empty());
        // What the answer said is taken.
        alice.answers(&mut bench, "");
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 2, &sdp(AMR)));
        let invite = bob.heard_one(&mut bench, "INVITE");
        assert!(String::from_utf8_lossy(&invite.body).contains("AMR/8000"));
    }
    // The callee's P-CSCF, when the offer comes from the network.
    let (mut bench, _, bob) = both_with(only_amr);
    let core = Hand::node(&mut bench, "s1", "p1");
    let path = path_of_bob();
    let lines = format!("Route: {path}\n{}", sdp(EVS));
    core.send(&mut bench, &core.request("INVITE", &format!("sip:{}", bob.addr), 3, &lines));
    is_amr_only(&core.answered(&mut bench));
    assert!(bob.heard(&mut bench, "INVITE").is_empty());
}

/// The Path that bob's registration has in a lab with the same seed and parties.
fn path_of_bob() -> String {
    let source = "scenario: none\nparties:\n  alice: {}\n  bob: {}\nsteps: []\n";
    let mut bench = Bench::with_lab(source, 1, |_| {});
    bench.register(&["bob"]);
    let sent = sent_to(&bench, "p1", bench.addr("i1"), "REGISTER");
    sent.last().expect("REGISTER").header("Path")
}

/// A call of AMR that alice and bob have set up.
pub(crate) fn call_with(
    change: impl FnOnce(&mut EdgeConfig),
) -> (Bench, Hand, Hand, Response, Request) {
    let (mut bench, alice, bob) = both_with(change);
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(AMR)));
    let invite = bob.heard_one(&mut bench, "INVITE");
    bob.answer(&mut bench, &invite, 200, &sdp(AMR));
    let answer = alice.answered(&mut bench);
    assert_eq!(answer.status, 200);
    alice.send(&mut bench, &alice.in_dialog("ACK", 1, &answer, ""));
    assert_eq!(bob.heard(&mut bench, "ACK").len(), 1);
    bench.mark();
    (bench, alice, bob, answer, invite)
}

/// A request of bob in the dialog of an INVITE that he has answered.
pub(crate) fn by_bob(bob: &Hand, method: &str, cseq: u32, invite: &Request, lines: &str) -> String {
    let get = |name| invite.headers.get(name).unwrap_or_default();
    let routes: Vec<&str> = invite.headers.values(HeaderName::RecordRoute).collect();
    let routes: Vec<String> = routes.iter().map(|uri| format!("Route: {uri}\n")).collect();
    let lines = if lines.is_empty() { String::new() } else { format!("{lines}\n") };
    format!(
        "{method} {} SIP/2.0\n\
         Via: SIP/2.0/UDP {addr};branch=z9hG4bK-{method}-b{cseq}\n\
         {}Max-Forwards: 70\n\
         From: {};tag=hand\n\
         To: {}\n\
         Call-ID: {}\n\
         CSeq: {cseq} {method}\n\
         Contact: <sip:{addr}>\n\
         {lines}",
        super::by_hand::uri_of(get(HeaderName::Contact)),
        routes.concat(),
        get(HeaderName::To),
        get(HeaderName::From),
        get(HeaderName::CallId),
        addr = bob.addr,
    )
}

fn later_offers() {
    let (mut bench, alice, bob, answer, invite) = call_with(only_amr);
    for (cseq, method) in [(2, "UPDATE"), (3, "INVITE")] {
        alice.send(&mut bench, &alice.in_dialog(method, cseq, &answer, &sdp(EVS)));
        is_amr_only(&alice.answered(&mut bench));
        assert!(bob.heard(&mut bench, method).is_empty(), "{method}");
        bob.send(&mut bench, &by_bob(&bob, method, cseq, &invite, &sdp(EVS)));
        is_amr_only(&bob.answered(&mut bench));
        assert!(alice.heard(&mut bench, method).is_empty(), "{method}");
    }
    // The session is as it was.
    assert!(sent_to(&bench, "p1", bench.addr("s1"), "BYE").is_empty());
    alice.send(&mut bench, &alice.in_dialog("UPDATE", 4, &answer, &sdp(AMR)));
    let update = bob.heard_one(&mut bench, "UPDATE");
    bob.answer(&mut bench, &update, 200, &sdp(AMR));
    assert_eq!(alice.answered(&mut bench).status, 200);
}

/// bob's answer, in a provisional or final response, to an offer that is within what is permitted,
/// and his offer where alice made none.
fn answers() {
    for (status, offer) in [(183, BOTH), (200, BOTH), (200, "")] {
        let (mut bench, alice, bob) = both_with(only_amr);
        let lines = if offer.is_empty() { String::new() } else { sdp(offer) };
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &lines));
        let invite = bob.heard_one(&mut bench, "INVITE");
        bench.mark();
        bob.answer(&mut bench, &invite, status, &sdp(EVS));
        bench.run_for(Duration::from_secs(1));
        if status == 183 {
            let cancel = bob.heard_one(&mut bench, "CANCEL");
            assert_eq!(header_of(&cancel, "Reason"), "SIP;cause=488;text=\"Not Acceptable Here\"");
        } else {
            let heard = bench.heard(&bob.name);
            let heard: Vec<String> = heard.iter().map(cscf_tests::label).collect();
            assert!(heard.contains(&"ACK".to_owned()), "{heard:?}");
            assert!(heard.contains(&"BYE".to_owned()), "{heard:?}");
            let bye = sent_to(&bench, "p1", bob.addr, "BYE").remove(0);
            assert_eq!(bye.header("Reason"), "SIP;cause=488;text=\"Not Acceptable Here\"");
        }
        // alice never sees the media.
        let answer = alice.answered(&mut bench);
        assert_eq!(answer.status, 488);
        for told in bench.sent("p1").iter().filter(|told| told.wire.remote == alice.addr) {
            assert!(!String::from_utf8_lossy(&told.wire.bytes).contains("EVS/16000"), "{status}");
        }
    }
    answers_from_the_network();
}

/// The P-CSCF of the caller.
fn answers_from_the_network() {
    for status in [183, 200] {
        let (mut bench, alice, _) = both_with(only_amr);
        let core = Hand::node(&mut bench, "s1", "p1");
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(BOTH)));
        let invite = core.heard_one(&mut bench, "INVITE");
        core.answer(&mut bench, &invite, status, &sdp(EVS));
        let answer = alice.answered(&mut bench);
        is_amr_only(&answer);
        let heard = bench.heard(&core.name);
        let heard: Vec<String> = heard.iter().map(cscf_tests::label).collect();
        if status == 183 {
            assert_eq!(heard, ["CANCEL"]);
        } else {
            assert_eq!(heard, ["ACK", "BYE"]);
            // Its 200 once more is acknowledged once more.
            core.answer(&mut bench, &invite, status, &sdp(EVS));
            assert_eq!(core.heard(&mut bench, "ACK").len(), 1);
        }
        let told = sent_to(&bench, "p1", core.addr, heard.last().expect("one"));
        assert_eq!(told[0].header("Reason"), "SIP;cause=488;text=\"Not Acceptable Here\"");
    }
}

fn header_of(request: &Request, name: &str) -> String {
    header(&cscf_core::sip::Message::Request(request.clone()), name)
}

fn later_answers() {
    let (mut bench, alice, bob, answer, _) = call_with(only_amr);
    alice.send(&mut bench, &alice.in_dialog("UPDATE", 2, &answer, &sdp(BOTH)));
    let update = bob.heard_one(&mut bench, "UPDATE");
    bob.answer(&mut bench, &update, 200, &sdp(EVS));
    bench.run_for(Duration::from_secs(1));
    assert!(alice.answers(&mut bench, "200 UPDATE").is_empty());
    for hand in [&alice, &bob] {
        let bye = sent_to(&bench, "p1", hand.addr, "BYE");
        assert!(!bye.is_empty(), "{}", hand.name);
        assert!(bye[0].header("Reason").starts_with("SIP;cause=488"));
    }
    assert_eq!(sent_to(&bench, "p1", alice.addr, "488 UPDATE").len(), 1);
}

/// Lines about RTCP pass as they are; only without them a twentieth is added to what is asked for.
fn rtcp() {
    use cscf_core::policy::Conduct;
    let offer =
        |rtcp: &str| sdp(&format!("m=audio 7000 RTP/AVP 97\nb=AS:41\n{rtcp}a=rtpmap:97 AMR/8000"));
    for (rtcp, limit, passes) in [
        ("", 43, false),
        ("", 44, true),
        ("b=RS:0\nb=RR:0\n", 41, true),
        ("b=RS:0\n", 41, true),
        ("b=RS:1000\nb=RR:3000\n", 44, false),
        ("b=RS:1000\nb=RR:3000\n", 45, true),
    ] {
        let (mut bench, alice, bob) =
            both_with(|edge| edge.policy_of = vec![("alice".into(), Conduct::RefusesAbove(limit))]);
        let text = alice.request("INVITE", &impu(2), 1, &offer(rtcp));
        let (_, body) = text.split_once("\n\n").expect("a body");
        let body = body.replace('\n', "\r\n");
        alice.send(&mut bench, &text);
        let heard = bob.heard(&mut bench, "INVITE");
        assert_eq!(!heard.is_empty(), passes, "{rtcp:?} {limit}");
        if let [invite] = heard.as_slice() {
            assert_eq!(String::from_utf8_lossy(&invite.body).trim_end(), body.trim_end());
        }
    }
}
