//! The ends of sessions and their changes: BYE, transfers, replaced calls, codecs, tones, media
//! before the answer.

use cscf_core::role::OwnTag;
use cscf_core::sip::{HeaderName, Message, Method, Request};
use cscf_core::time::Duration;
use scenarios::ue::{CallOptions, CodecSet, Dtmf, Evs, Robot, UeCommand, UeConfig};

use super::phone::{Phone, request};
use super::world::World;
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::bye_is_answered_whatever_the_dialog_is", &["T-UA-060"], bye),
        case("ue::a_refer_names_exactly_one_target", &["N-REF-010"], refer),
        case("ue::only_what_may_be_replaced_is_replaced", &["T-UA-110"], replaces),
        case("ue::a_305_is_not_followed", &["T-UA-120"], redirects),
        case("ue::early_media_are_played_if_authorised", &["U-SES-070"], early_media),
        case("ue::a_call_is_set_up_as_the_profile_has_it", &["P92-030"], profile),
        case("ue::codecs_are_those_of_the_profile", &["P92-040"], codecs),
        case("ue::digits_go_beside_the_voice_or_in_info", &["V-SDP-080"], digits),
    ]
}

const ALICE: &str = "sip:alice@ims.mnc001.mcc001.3gppnetwork.org";
const AUDIO: &str = "m=audio 7000 RTP/AVP 97\r\na=rtpmap:97 AMR-WB/16000\r\n";

/// A request to alice in the call with this Call-ID; `tag` is hers, if she has given one.
fn incoming(method: &str, call: &str, tag: Option<&str>, cseq: u32, lines: &str) -> Request {
    let tag = tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
    request(&format!(
        "{method} {ALICE} SIP/2.0
         From: <sip:bob@ims.example>;tag=b1
         To: <{ALICE}>{tag}
         Call-ID: {call}
         CSeq: {cseq} {method}
         Contact: <sip:bob@10.0.0.2>
         {lines}"
    ))
}

fn sdp(streams: &str) -> String {
    format!(
        "Content-Type: application/sdp\n\nv=0\r\no=- 9 1 IN IP4 10.0.0.2\r\ns=-\r\n\
         c=IN IP4 10.0.0.2\r\nt=0 0\r\n{streams}"
    )
}

fn plain(change: impl FnOnce(&mut UeConfig)) -> Phone {
    Phone::with("alice", |config| {
        config.preconditions = false;
        change(config);
    })
}

/// A call that rings at alice; her tag.
fn ringing(phone: &mut Phone, call: &str) -> String {
    let did = phone.request(incoming("INVITE", call, None, 1, &sdp(AUDIO)));
    assert_eq!(did.status(), 180);
    did.replies[0].to_tag().expect("a tag").to_owned()
}

/// A call that alice has answered; her tag.
fn answered(phone: &mut Phone, call: &str) -> String {
    let tag = ringing(phone, call);
    assert_eq!(phone.command(UeCommand::Answer).status(), 200);
    phone.request(incoming("ACK", call, Some(&tag), 1, ""));
    tag
}

fn bye() {
    let mut phone = plain(|_| {});
    // In an early dialog only the caller may say it.
    let tag = ringing(&mut phone, "c1");
    let did = phone.request(incoming("BYE", "c1", Some(&tag), 2, ""));
    let replies: Vec<(String, u16)> = did
        .replies
        .iter()
        .map(|reply| (reply.cseq().expect("a CSeq").method.to_string(), reply.status))
        .collect();
    assert_eq!(replies, [("BYE".to_owned(), 200), ("INVITE".to_owned(), 487)]);
    assert_eq!(did.states, ["call ended"]);
    // In a confirmed one both; a second one finds nothing.
    let tag = answered(&mut phone, "c2");
    let did = phone.request(incoming("BYE", "c2", Some(&tag), 2, "Reason: Q.850;cause=16"));
    assert_eq!((did.status(), did.states), (200, vec!["call ended".to_owned()]));
    assert_eq!(phone.request(incoming("BYE", "c2", Some(&tag), 3, "")).status(), 481);
    // A re-INVITE that nobody has answered ends with it; here the callee has not sent ACK yet.
    let tag = ringing(&mut phone, "c3");
    assert_eq!(phone.request(incoming("BYE", "c3", Some("other"), 2, "")).status(), 481);
    let did = phone.request(incoming("BYE", "c3", Some(&tag), 2, ""));
    assert_eq!(did.replies.len(), 2);
}

fn refer() {
    let mut phone = plain(|_| {});
    let tag = answered(&mut phone, "c1");
    for (n, lines) in [
        (2, ""),
        (3, "Refer-To: <sip:c@ims.example>\nRefer-To: <sip:d@ims.example>"),
        (4, "Refer-To: <nothing"),
    ] {
        let did = phone.request(incoming("REFER", "c1", Some(&tag), n, lines));
        assert_eq!((did.status(), did.requests.len()), (400, 0), "{lines}");
    }
    let other = "Refer-To: <sip:c@ims.example;method=BYE>";
    assert_eq!(phone.request(incoming("REFER", "c1", Some(&tag), 5, other)).status(), 501);

    let lines = "Refer-To: <sip:c@ims.example;method=INVITE>\nReferred-By: <sip:bob@ims.example>";
    let did = phone.request(incoming("REFER", "c1", Some(&tag), 6, lines));
    assert_eq!(did.status(), 202);
    let sent: Vec<&Request> = did.requests.iter().map(|(_, request)| request).collect();
    let methods: Vec<&Method> = sent.iter().map(|request| &request.method).collect();
    assert_eq!(methods, [&Method::Notify, &Method::Invite]);
    let notify = sent[0];
    assert_eq!(notify.headers.get(HeaderName::Event), Some("refer;id=6"));
    assert_eq!(&notify.body[..], b"SIP/2.0 100 Trying\r\n");
    let state = notify.headers.get(HeaderName::SubscriptionState).unwrap_or_default();
    assert!(state.starts_with("active;expires="), "{state}");
    let invite = did.requests[1].clone();
    assert_eq!(invite.1.request_uri, "sip:c@ims.example");
    assert_eq!(invite.1.headers.get(HeaderName::ReferredBy), Some("<sip:bob@ims.example>"));
    // What the call comes to is told at the end.
    let did = phone.answer((invite.0, &invite.1), 486, "");
    let (_, notify) = did.request();
    let state = notify.headers.get(HeaderName::SubscriptionState);
    assert_eq!(state, Some("terminated;reason=noresource"));
    assert_eq!(&notify.body[..], b"SIP/2.0 486 Busy Here\r\n");

    // Outside a dialog, about a dialog that is none.
    let lines = "Refer-To: <sip:c@ims.example>\nTarget-Dialog: c9;local-tag=b1;remote-tag=x";
    assert_eq!(phone.request(incoming("REFER", "r1", None, 1, lines)).status(), 403);
    let lines =
        format!("Refer-To: <sip:c@ims.example>\nTarget-Dialog: c1;local-tag=b1;remote-tag={tag}");
    let did = phone.request(incoming("REFER", "r2", None, 1, &lines));
    assert_eq!(did.status(), 202);
    assert!(did.replies[0].to_tag().is_some_and(|tag| !tag.is_empty()));
    let (notify, invite) = (&did.requests[0].1, &did.requests[1].1);
    assert_eq!((notify.call_id(), &notify.method), (Some("r2"), &Method::Notify));
    assert_eq!(invite.method, Method::Invite);
    // And quietly.
    let lines = "Refer-To: <sip:c@ims.example>\nRefer-Sub: false";
    let did = phone.request(incoming("REFER", "r3", None, 1, lines));
    assert_eq!(did.replies[0].headers.get(HeaderName::ReferSub), Some("false"));
    assert_eq!(did.request().1.method, Method::Invite);
}

fn replaces() {
    let mut phone = plain(|_| {});
    let tag = answered(&mut phone, "c1");
    let take_over = |call: &str, value: &str| {
        let lines = format!("Require: replaces\nReplaces: {value}\n{}", sdp(AUDIO));
        incoming("INVITE", call, None, 1, &lines)
    };
    let named = format!("c1;to-tag={tag};from-tag=b1");
    for (call, value, status) in [
        ("n1", format!("c1;to-tag={tag};from-tag=other"), 481),
        ("n2", "c9;to-tag=x;from-tag=b1".to_owned(), 481),
        ("n3", format!("{named};early-only"), 486),
        ("n4", "; ".to_owned(), 400),
    ] {
        let did = phone.request(take_over(call, &value));
        assert_eq!((did.status(), did.requests.len()), (status, 0), "{value}");
    }
    let did = phone.request(take_over("n5", &named));
    let statuses: Vec<u16> = did.replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [180, 200]);
    let (tag, bye) = did.request();
    assert_eq!((&bye.method, bye.call_id()), (&Method::Bye, Some("c1")));
    let did = phone.answer((tag, bye), 200, "");
    assert_eq!(did.states, ["call ended"]);
    // What is over is not replaced.
    assert_eq!(phone.request(take_over("n6", &named)).status(), 603);
    // Nor what only rings here.
    let tag = ringing(&mut phone, "c2");
    let named = format!("c2;to-tag={tag};from-tag=b1");
    assert_eq!(phone.request(take_over("n7", &named)).status(), 481);
}

fn call(phone: &mut Phone, options: CallOptions) -> (OwnTag, Request) {
    let target = "sip:bob@ims.example".to_owned();
    let did = phone.command(UeCommand::Call { target, options });
    let (tag, invite) = did.request();
    (tag, invite.clone())
}

fn redirects() {
    let mut phone = plain(|config| config.habits.follows_redirects = true);
    for status in [305, 380, 399] {
        let (tag, invite) = call(&mut phone, CallOptions::default());
        let did = phone.answer((tag, &invite), status, "Contact: <sip:c@ims.example>");
        assert_eq!(did.states, [format!("call failed {status}")]);
        assert!(did.requests.is_empty(), "{status}");
    }
    // The best one, once; not for ever.
    let (mut tag, mut invite) = call(&mut phone, CallOptions::default());
    let call_id = invite.call_id().map(str::to_owned);
    for n in 1..=6_u32 {
        let lines = format!("Contact: <sip:a@x>;q=0.2, <sip:c{n}@ims.example>;q=0.7");
        let did = phone.answer((tag, &invite), 302, &lines);
        if n == 6 {
            assert_eq!(did.states, ["call failed 302"]);
            break;
        }
        let (next, again) = did.request();
        assert_eq!(again.request_uri, format!("sip:c{n}@ims.example"));
        assert_eq!(again.call_id().map(str::to_owned), call_id);
        assert_eq!(again.headers.get(HeaderName::CSeq), Some(&*format!("{} INVITE", n + 1)));
        assert_eq!(again.headers.get(HeaderName::To), Some("<sip:bob@ims.example>"));
        (tag, invite) = (next, again.clone());
    }
    // And back to where it came from never.
    let (tag, invite) = call(&mut phone, CallOptions::default());
    let did = phone.answer((tag, &invite), 302, "Contact: <sip:bob@ims.example>");
    assert_eq!(did.states, ["call failed 302"]);
}

fn early_media() {
    let said = |phone: &Phone, text: &str| phone.notes.iter().any(|note| note.text.contains(text));
    let mut phone = plain(|_| {});
    let (tag, invite) = call(&mut phone, CallOptions::default());
    for (direction, state) in [
        ("sendrecv", "early media played"),
        ("inactive", "early media not played"),
        ("recvonly", "early media not played"),
        ("sendonly", "early media played"),
    ] {
        let lines = format!("Contact: <sip:as.ims.example>\nP-Early-Media: {direction}");
        let did = phone.answer((tag, &invite), 183, &lines);
        assert_eq!(did.states, [state, "call progress"], "{direction}");
    }
    // The network plays something: no tone of our own. One that says nothing has us ring.
    phone.answer((tag, &invite), 180, "Contact: <sip:as.ims.example>");
    assert!(!said(&phone, "local ringback"));
    let mut phone = plain(|_| {});
    let (tag, invite) = call(&mut phone, CallOptions::default());
    let did = phone.answer((tag, &invite), 180, "Contact: <sip:bob@10.0.0.2>");
    assert_eq!(did.states, ["call ringing"]);
    assert!(said(&phone, "local ringback"));
}

fn profile() {
    let mut phone = Phone::with("alice", |config| {
        config.session_timer.interval = Some(Duration::from_secs(1800));
    });
    let (_, invite) = call(&mut phone, CallOptions::default());
    let has = |name, token| invite.headers.has_token(name, token);
    for tag in ["100rel", "precondition", "timer"] {
        assert!(has(HeaderName::Supported, tag), "{tag}");
    }
    for method in ["PRACK", "UPDATE"] {
        assert!(has(HeaderName::Allow, method), "{method}");
    }
    assert_eq!(invite.headers.get(HeaderName::PEarlyMedia), Some("supported"));
    assert_eq!(invite.headers.get(HeaderName::SessionExpires), Some("1800;refresher=uac"));
    // Preconditions can be off, of the UE or of a call; reliability stays.
    let mut phone = plain(|_| {});
    let (_, invite) = call(&mut phone, CallOptions::default());
    assert_eq!(invite.headers.get(HeaderName::Supported), Some("100rel,timer"));
    assert!(!String::from_utf8_lossy(&invite.body).contains("qos"));
    // A callee acknowledges what is sent reliably, and takes Reason in BYE and CANCEL.
    let tag = answered(&mut phone, "c1");
    let did = phone.request(incoming("BYE", "c1", Some(&tag), 2, "Reason: SIP;cause=503"));
    assert_eq!(did.status(), 200);
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

fn codecs() {
    let all = [
        (CodecSet::Amr, ""),
        (CodecSet::VoLte, ""),
        (CodecSet::Evs(Evs::A1), "br=5.9-13.2;bw=nb-swb"),
        (CodecSet::Evs(Evs::A2), "br=5.9-24.4;bw=nb-swb"),
        (CodecSet::Evs(Evs::B0), "br=13.2;bw=swb"),
        (CodecSet::Evs(Evs::B1), "br=9.6-13.2;bw=swb"),
        (CodecSet::Evs(Evs::B2), "br=9.6-24.4;bw=swb"),
    ];
    for (set, evs) in all {
        let mut world = World::plain(|config| config.codecs = set);
        world.call(CallOptions::default());
        world.wait_ms(500);
        world.command("bob", UeCommand::Answer);
        world.wait_ms(500);
        let offer = body(&world.message("alice", "INVITE"));
        // AMR in every one, with tones of its clock rate; nothing forbids DTX.
        assert!(offer.contains("AMR/8000") && offer.contains("telephone-event/8000"), "{offer}");
        assert!(!offer.contains("dtx"), "{offer}");
        let order = |name: &str| offer.find(name).unwrap_or(usize::MAX);
        if set != CodecSet::Amr {
            assert!(order("AMR-WB/16000") < order("AMR/8000"), "{offer}");
            assert!(offer.contains("telephone-event/16000"), "{offer}");
        }
        if evs.is_empty() {
            assert!(!offer.contains("EVS"), "{offer}");
        } else {
            assert!(order("EVS/16000") < order("AMR-WB/16000"), "{offer}");
            assert!(offer.contains(&format!("a=fmtp:96 {evs}")), "{offer}");
            let answer = body(&world.message("bob", "183 INVITE"));
            assert!(answer.contains("RTP/AVP 96 99\r\n"), "{answer}");
        }
        // RTCP goes on while the call is on hold.
        world.ladder();
        world.command("alice", UeCommand::Hold);
        world.wait_ms(500);
        let (held, holder) = (world.message("bob", "200 INVITE"), world.message("alice", "INVITE"));
        for text in [body(&held), body(&holder)] {
            assert!(text.contains("b=RS:612\r\nb=RR:1837\r\n"), "{text}");
        }
    }
}

fn digits() {
    let mut world = World::plain(|config| config.robot = Robot::Echo);
    world.call(CallOptions::default());
    world.wait_ms(1000);
    let offer = body(&world.message("alice", "INVITE"));
    let answer = body(&world.message("bob", "183 INVITE"));
    assert!(offer.contains("a=rtpmap:100 telephone-event/8000"), "{offer}");
    // The tones have the clock rate of the voice.
    assert!(answer.contains("RTP/AVP 97 99\r\n"), "{answer}");
    assert!(answer.contains("a=rtpmap:99 telephone-event/16000"), "{answer}");
    world.ladder();
    let press = |digits: &str, by| UeCommand::SendDtmf { digits: digits.to_owned(), by };
    world.command("alice", press("5#", Dtmf::Rtp));
    world.wait_ms(500);
    assert!(world.ladder().is_empty(), "no message");
    assert_eq!(world.states("alice").last().map(String::as_str), Some("dtmf sent 5#"));
    world.command("alice", press("5#", Dtmf::Info));
    world.wait_ms(500);
    let info = world.message("alice", "INFO");
    assert_eq!(info.headers().get(HeaderName::ContentType), Some("application/dtmf-relay"));
    assert_eq!(body(&info), "Signal=5\r\nDuration=160\r\n");
    // One after the other, so that none overtakes another.
    assert_eq!(world.ladder(), ["alice INFO", "bob 200 INFO", "alice INFO", "bob 200 INFO"]);
    // Where no tones were agreed, none are sent.
    let mut phone = plain(|_| {});
    let _ = answered(&mut phone, "c1");
    let did = phone.command(press("1", Dtmf::Rtp));
    assert_eq!(did.states, ["dtmf not sent"]);
}
