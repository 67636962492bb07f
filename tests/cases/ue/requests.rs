//! Requests outside and inside calls, checked one by one.

use cscf_core::sip::{HeaderName, Method, Request};
use scenarios::ue::{CallOptions, Robot, UeCommand};

use super::phone::{Phone, answer_to, request};
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::a_bad_request_is_refused_for_its_first_reason", &["T-UA-010"], inspection),
        case("ue::requests_of_unknown_dialogs_get_481", &[], unknown_dialogs),
        case("ue::options_tells_all_it_can", &["T-UA-080"], options),
        case("ue::a_message_is_answered_and_echoed", &[], message),
        case("ue::an_invite_has_all_headers_of_a_volte_call", &["U-SES-010"], invite_headers),
        case("ue::numbers_are_dialled_as_tel_uris", &["U-SES-020"], dialling),
        case("ue::an_invite_that_is_challenged_is_sent_again", &[], challenged),
        case("ue::a_503_to_invite_is_not_tried_again", &["U-SES-040"], unavailable),
        case("ue::a_504_for_restoration_makes_it_register_anew", &["U-SES-050"], restoration),
        case("ue::the_first_offer_is_that_of_a_volte_phone", &["V-SDP-010"], offer),
        case("ue::an_invite_without_common_codec_gets_488", &["V-SDP-030"], no_codec),
        case("ue::every_form_of_hold_is_answered", &["V-SDP-070"], hold),
        case("ue::answers_keep_the_order_of_the_offer", &["V-SDP-020"], invariants),
        case("ue::requests_in_a_dialog_come_in_order", &["T-UA-030"], order),
        case("ue::a_change_at_the_wrong_time_waits", &["T-UA-040"], reinvites),
        case("ue::an_update_at_the_wrong_time_is_refused", &["T-UA-050a", "T-UA-050b"], updates),
        case("ue::only_one_offer_of_the_peer_is_open", &["T-UA-050c"], one_offer),
        case("ue::preconditions_it_cannot_are_refused", &["Q-PRE-060"], unsupported),
        case("ue::video_is_refused_with_port_0", &[], video),
        case("ue::forks_are_followed_one_by_one", &["U-SES-080"], forks),
        case("ue::robots_refuse_calls", &[], robots),
    ]
}

const ALICE: &str = "sip:alice@ims.mnc001.mcc001.3gppnetwork.org";

fn incoming(method: &str, uri: &str, lines: &str) -> Request {
    request(&format!(
        "{method} {uri} SIP/2.0
         From: <sip:bob@ims.example>;tag=b1
         To: <{ALICE}>
         Call-ID: in1
         CSeq: 1 {method}
         Contact: <sip:bob@10.0.0.2>
         {lines}"
    ))
}

const AUDIO: &str = "m=audio 7000 RTP/AVP 97\r\na=rtpmap:97 AMR-WB/16000\r\n";

fn sdp(streams: &str) -> String {
    format!(
        "Content-Type: application/sdp\n\nv=0\r\no=- 9 1 IN IP4 10.0.0.2\r\ns=-\r\n\
         c=IN IP4 10.0.0.2\r\nt=0 0\r\n{streams}"
    )
}

fn inspection() {
    let mut phone = Phone::new("alice");
    let bad = "Require: x\nContent-Type: text/x\nAccept: text/x\n\nb";
    let mut check = |method: &str, uri: &str, lines: &str, status: u16, header| {
        let did = phone.request(incoming(method, uri, lines));
        assert_eq!(did.status(), status, "{method} {uri}");
        if let Some((name, part)) = header {
            let value = did.replies[0].headers.get(name).unwrap_or_default().to_owned();
            assert!(value.contains(part), "{name}: {value}");
        }
    };
    check("BREW", "http:x", bad, 501, Some((HeaderName::Allow, "INVITE")));
    check("PUBLISH", "http:x", bad, 405, Some((HeaderName::Allow, "INVITE")));
    check("INVITE", "http:x", bad, 416, None);
    check("INVITE", "sip:mallory@ims.example", bad, 404, None);
    check("INVITE", ALICE, bad, 420, Some((HeaderName::Unsupported, "x")));
    let bad = "Content-Type: text/x\nAccept: text/x\n\nb";
    check("INVITE", ALICE, bad, 415, Some((HeaderName::Accept, "application/sdp")));
    check("INVITE", ALICE, bad, 415, Some((HeaderName::AcceptEncoding, "identity")));
    check("INVITE", ALICE, bad, 415, Some((HeaderName::AcceptLanguage, "en")));
    check("INVITE", ALICE, "Accept: text/x", 406, None);
}

fn unknown_dialogs() {
    let mut phone = Phone::new("alice");
    for method in ["BYE", "UPDATE", "PRACK", "INFO", "NOTIFY", "INVITE"] {
        let mut request = incoming(method, "sip:10.0.0.1:5060", "");
        request.headers.set(HeaderName::To, &format!("<{ALICE}>;tag=gone"));
        assert_eq!(phone.request(request).status(), 481, "{method}");
    }
    for method in ["BYE", "NOTIFY", "INFO"] {
        let did = phone.request(incoming(method, "sip:10.0.0.1:5060", ""));
        assert_eq!(did.status(), 481, "{method} without a tag");
    }
}

fn options() {
    let mut phone = Phone::new("alice");
    let did = phone.request(incoming("OPTIONS", ALICE, "Accept: application/sdp"));
    assert_eq!(did.status(), 200);
    let headers = &did.replies[0].headers;
    for (name, part) in [
        (HeaderName::Allow, "UPDATE"),
        (HeaderName::Accept, "application/sdp"),
        (HeaderName::Supported, "100rel"),
        (HeaderName::Contact, "+g.3gpp.icsi-ref"),
    ] {
        assert!(headers.get(name).is_some_and(|value| value.contains(part)), "{name}");
    }
    let mut phone = Phone::with("alice", |config| config.robot = Robot::Busy);
    assert_eq!(phone.request(incoming("OPTIONS", ALICE, "")).status(), 486);
}

fn message() {
    let mut phone = Phone::with("alice", |config| config.robot = Robot::Echo);
    let did = phone.request(incoming("MESSAGE", ALICE, "Content-Type: text/plain\n\nHello"));
    assert_eq!(did.status(), 200);
    assert_eq!(did.states, ["message received Hello"]);
    let (tag, echo) = did.request();
    assert_eq!(echo.request_uri, "sip:bob@ims.example");
    assert_eq!(&echo.body[..], b"Hello");
    let did = phone.answer((tag, echo), 200, "");
    assert_eq!(did.states, ["message delivered"]);
}

fn registered() -> Phone {
    let mut phone = Phone::new("alice");
    phone.register_fully("");
    phone
}

fn call(phone: &mut Phone, target: &str) -> (cscf_core::role::OwnTag, Request) {
    let options = CallOptions::default();
    let did = phone.command(UeCommand::Call { target: target.to_owned(), options });
    let (tag, invite) = did.request();
    (tag, invite.clone())
}

fn invite_headers() {
    let mut phone = registered();
    let (_, invite) = call(&mut phone, "tel:+15550100002");
    let icsi = "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"";
    let default = "<sip:+15550100001@ims.mnc001.mcc001.3gppnetwork.org;user=phone>";
    let routes: Vec<&str> = invite.headers.values(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:10.0.0.10:5060;lr>", "<sip:orig-u1@scscf.home.net:6060;lr>"]);
    assert_eq!(invite.request_uri, "tel:+15550100002");
    for (name, value) in [
        (HeaderName::Contact, format!("<sip:10.0.0.1:5060>;{icsi};audio").as_str()),
        (HeaderName::AcceptContact, &format!("*;{icsi}")),
        (HeaderName::PPreferredService, "urn:urn-7:3gpp-service.ims.icsi.mmtel"),
        (HeaderName::PPreferredIdentity, default),
        (HeaderName::PEarlyMedia, "supported"),
        (HeaderName::Accept, "application/sdp,application/3gpp-ims+xml"),
        (HeaderName::Supported, "100rel,precondition,timer"),
        (HeaderName::PAccessNetworkInfo, "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001"),
        (HeaderName::To, "<tel:+15550100002>"),
        (HeaderName::CSeq, "1 INVITE"),
        (HeaderName::ContentType, "application/sdp"),
    ] {
        assert_eq!(invite.headers.get(name), Some(value), "{name}");
    }
    assert!(!invite.headers.contains(HeaderName::Require));
}

fn dialling() {
    let domain = "ims.mnc001.mcc001.3gppnetwork.org";
    let mut phone = registered();
    for (dialled, uri) in [
        ("+15550100002", "tel:+15550100002".to_owned()),
        ("5550100", format!("tel:5550100;phone-context={domain}")),
        ("bob", format!("sip:bob@{domain}")),
        ("sip:+15550100002@x;user=phone", "sip:+15550100002@x;user=phone".to_owned()),
    ] {
        assert_eq!(call(&mut phone, dialled).1.request_uri, uri);
    }
}

fn challenged() {
    let mut phone = Phone::new("carol");
    let (tag, invite) = call(&mut phone, "bob");
    let challenge = "Proxy-Authenticate: Digest realm=\"x\",nonce=\"n\",algorithm=MD5,qop=\"auth\"";
    let did = phone.answer((tag, &invite), 407, challenge);
    let (tag, again) = did.request();
    assert_eq!(again.headers.get(HeaderName::CSeq), Some("2 INVITE"));
    assert_eq!(again.call_id(), invite.call_id());
    assert!(again.headers.contains(HeaderName::ProxyAuthorization));
    let did = phone.answer((tag, again), 407, challenge);
    assert_eq!(did.states, ["call failed 407"]);
}

fn unavailable() {
    let mut phone = registered();
    let (tag, invite) = call(&mut phone, "bob");
    let did = phone.answer((tag, &invite), 503, "Retry-After: 30");
    assert_eq!(did.states, ["call failed 503"]);
    assert!(did.requests.is_empty());
    let (_, again) = call(&mut phone, "bob");
    assert_ne!(again.call_id(), invite.call_id());
}

fn restoration() {
    let lines = |identity: &str, action: &str| {
        format!(
            "P-Asserted-Identity: <{identity}>\nContent-Type: application/3gpp-ims+xml\n\n\
             <?xml version=\"1.0\"?><ims-3gpp version=\"1\"><alternative-service>\
             <type>restoration</type><reason/><action>{action}</action></alternative-service>\
             </ims-3gpp>"
        )
    };
    for (identity, action, registers) in [
        ("sip:orig-u1@scscf.home.net:6060;lr", "initial-registration", true),
        ("sip:tok@10.0.0.10:5060", "initial-registration", true),
        ("sip:orig-u1@scscf.home.net:6060", "emergency-registration", false),
        ("sip:eve@scscf.home.net:6060", "initial-registration", false),
    ] {
        let mut phone = registered();
        let (tag, invite) = call(&mut phone, "bob");
        let did = phone.respond(tag, answer_to(&invite, 504, &lines(identity, action)));
        assert_eq!(did.states[0], "call failed 504");
        let sent = did.requests.iter().any(|(_, request)| request.method == Method::Register);
        assert_eq!(sent, registers, "{identity} {action}");
    }
}

fn offer() {
    let mut phone = registered();
    let (_, invite) = call(&mut phone, "bob");
    let body = String::from_utf8_lossy(&invite.body).into_owned();
    for line in [
        "RTP/AVP 97 98 99 100",
        "b=AS:49",
        "b=RS:612",
        "b=RR:1837",
        "a=rtpmap:97 AMR-WB/16000",
        "a=fmtp:97 mode-change-capability=2;max-red=220",
        "a=rtpmap:98 AMR/8000",
        "a=rtpmap:99 telephone-event/16000",
        "a=rtpmap:100 telephone-event/8000",
        "a=ptime:20",
        "a=maxptime:240",
    ] {
        assert!(body.contains(&format!("{line}\r\n")), "{line} in {body}");
    }
    assert!(!body.contains("mode-set"));
}

fn no_codec() {
    let mut phone = Phone::new("alice");
    let offer = sdp("m=audio 7000 RTP/AVP 0\r\n");
    let did = phone.request(incoming("INVITE", ALICE, &offer));
    assert_eq!(did.status(), 488);
    let warning = did.replies[0].headers.get(HeaderName::Warning);
    assert!(warning.is_some_and(|value| value.starts_with("305 ")));
    assert!(String::from_utf8_lossy(&did.replies[0].body).contains("AMR-WB"));
}

/// The body of the 200 that a phone gives at once to an INVITE without extensions.
fn answer(streams: &str) -> String {
    let mut phone = Phone::with("alice", |config| config.robot = Robot::Echo);
    let did = phone.request(incoming("INVITE", ALICE, &sdp(streams)));
    let ok = did.replies.iter().find(|reply| reply.status == 200).expect("a 200");
    String::from_utf8_lossy(&ok.body).into_owned()
}

fn hold() {
    for (extra, expected) in [
        ("a=sendonly\r\n", "a=recvonly\r\n"),
        ("a=inactive\r\n", "a=inactive\r\n"),
        ("c=IN IP4 0.0.0.0\r\n", "a=recvonly\r\n"),
        ("a=sendrecv\r\n", "a=sendrecv\r\n"),
    ] {
        let body = answer(&format!("{AUDIO}{extra}"));
        assert!(body.contains(expected), "{extra} gives {body}");
        assert!(body.contains("b=RS:612\r\nb=RR:1837\r\n"), "RTCP goes on");
    }
}

fn invariants() {
    let body = answer(
        "m=video 4000 RTP/AVP 31\r\nm=audio 5000 RTP/AVP 102 101 103\r\n\
         a=rtpmap:101 AMR-WB/16000\r\na=rtpmap:102 AMR/8000\r\n\
         a=rtpmap:103 telephone-event/8000\r\n\
         m=audio 5002 RTP/AVP 97\r\na=rtpmap:97 AMR-WB/16000\r\n",
    );
    let streams: Vec<&str> = body.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(streams.len(), 3);
    assert_eq!(streams[0], "m=video 0 RTP/AVP 31");
    assert!(streams[1].ends_with("RTP/AVP 102 103"), "{}", streams[1]);
    assert_eq!(streams[2], "m=audio 0 RTP/AVP 97");
}

/// A request of the caller inside the dialog that an INVITE made.
fn within(method: &str, number: u32, to: &str, lines: &str) -> Request {
    let mut request = incoming(method, "sip:10.0.0.1:5060", lines);
    request.headers.set(HeaderName::To, to);
    request.headers.set(HeaderName::CSeq, &format!("{number} {method}"));
    request
}

/// A phone that is called, and its To value.
fn called(robot: Robot) -> (Phone, String) {
    let mut phone = Phone::with("alice", |config| config.robot = robot);
    let did = phone.request(incoming("INVITE", ALICE, &sdp(AUDIO)));
    let to = did.replies[0].headers.get(HeaderName::To).unwrap_or_default().to_owned();
    (phone, to)
}

fn order() {
    let (mut phone, to) = called(Robot::Echo);
    phone.request(within("ACK", 1, &to, ""));
    assert_eq!(phone.request(within("INFO", 5, &to, "")).status(), 200);
    for number in [4, 5, 1] {
        assert_eq!(phone.request(within("INFO", number, &to, "")).status(), 500, "{number}");
    }
    assert_eq!(phone.request(within("BYE", 6, &format!("{to}x"), "")).status(), 481);
    assert_eq!(phone.request(within("BYE", 6, &to, "")).status(), 200);
}

/// A phone in a call it answered, with a re-INVITE of its own out.
fn holding() -> (Phone, String, (cscf_core::role::OwnTag, Request)) {
    let (mut phone, to) = called(Robot::Echo);
    phone.request(within("ACK", 1, &to, ""));
    let did = phone.command(UeCommand::Hold);
    let (tag, reinvite) = did.request();
    (phone, to, (tag, reinvite.clone()))
}

fn reinvites() {
    // Our own is out: 491; and ours, refused with 491, is tried again after 0 to 2.0 s.
    let (mut phone, to, (tag, reinvite)) = holding();
    let did = phone.request(within("INVITE", 2, &to, &sdp(AUDIO)));
    assert_eq!(did.status(), 491);
    let did = phone.answer((tag, &reinvite), 491, "");
    let (timer, at) = did.timers[0];
    assert!(at <= cscf_core::time::Instant::from_secs(2), "{at}");
    let did = phone.timer(timer, at);
    assert_eq!(did.request().1.method, Method::Invite);
    // One of the peer is not answered yet: 500 with Retry-After.
    let (mut phone, to) = called(Robot::None);
    let did = phone.request(within("INVITE", 2, &to, &sdp(AUDIO)));
    assert_eq!(did.status(), 500);
    let wait = did.replies[0].headers.get(HeaderName::RetryAfter).and_then(|it| it.parse().ok());
    assert!(wait.is_some_and(|wait: u32| wait <= 10));
    // A refusal leaves the session, 481 and 408 end it.
    for (status, state) in [(488, "change refused 488"), (481, "call ended"), (408, "call ended")] {
        let (mut phone, _, (tag, reinvite)) = holding();
        let did = phone.answer((tag, &reinvite), status, "");
        assert_eq!(did.states, [state]);
        let did = phone.command(UeCommand::Hangup);
        let byes = did.requests.iter().filter(|(_, it)| it.method == Method::Bye).count();
        assert_eq!(byes, usize::from(status == 488), "{status}");
    }
}

fn updates() {
    let (mut phone, to, _) = holding();
    assert_eq!(phone.request(within("UPDATE", 2, &to, &sdp(AUDIO))).status(), 491);
    let (mut phone, to) = called(Robot::None);
    let did = phone.request(within("UPDATE", 2, &to, &sdp(AUDIO)));
    assert_eq!(did.status(), 500);
    assert!(did.replies[0].headers.contains(HeaderName::RetryAfter));
    // In time it is answered, or refused for what it offers; its Contact is the new target.
    let (mut phone, to) = called(Robot::Echo);
    phone.request(within("ACK", 1, &to, ""));
    let did = phone.request(within("UPDATE", 2, &to, &sdp("m=audio 1 RTP/AVP 0\r\n")));
    assert_eq!(did.status(), 488);
    let mut update = within("UPDATE", 3, &to, &sdp(AUDIO));
    update.headers.set(HeaderName::Contact, "<sip:bob@10.0.0.3>");
    let did = phone.request(update);
    assert_eq!(did.status(), 200);
    assert!(String::from_utf8_lossy(&did.replies[0].body).contains("m=audio"));
    let did = phone.command(UeCommand::Hangup);
    assert_eq!(did.request().1.request_uri, "sip:bob@10.0.0.3");
}

fn one_offer() {
    use cscf_core::ua::{Carrier, Exchange};
    let mut exchange = Exchange::Stable;
    assert_eq!(exchange.receive_offer(Carrier::Update), Ok(()));
    let again = exchange.receive_offer(Carrier::Update).expect_err("one is open");
    assert_eq!(again.status(), 500);
    exchange.settle();
    assert_eq!(exchange.receive_offer(Carrier::Update), Ok(()));
}

fn unsupported() {
    let mut phone = Phone::with("alice", |config| config.preconditions = false);
    let lines = format!("Require: precondition\n{}", sdp(AUDIO));
    let did = phone.request(incoming("INVITE", ALICE, &lines));
    assert_eq!(did.status(), 420);
    assert_eq!(did.replies[0].headers.get(HeaderName::Unsupported), Some("precondition"));
    // Our own INVITE never requires it, so there is nothing to try again without.
    let (_, invite) = call(&mut phone, "bob");
    assert!(!invite.headers.contains(HeaderName::Require));
}

fn video() {
    let body = answer(&format!("{AUDIO}m=video 4000 RTP/AVP 31\r\n"));
    assert!(body.contains("m=video 0 RTP/AVP 31\r\n"), "{body}");
    // A re-INVITE that adds video later is answered the same way.
    let (mut phone, to) = called(Robot::Echo);
    phone.request(within("ACK", 1, &to, ""));
    let offer = sdp(&format!("{AUDIO}m=video 4000 RTP/AVP 31\r\n"));
    let did = phone.request(within("INVITE", 2, &to, &offer));
    assert_eq!(did.status(), 200);
    assert!(String::from_utf8_lossy(&did.replies[0].body).contains("m=video 0 RTP/AVP 31\r\n"));
}

fn forks() {
    let mut phone = Phone::with("alice", |config| config.preconditions = false);
    let (tag, invite) = call(&mut phone, "bob");
    let reply = |status: u16, fork: &str, lines: &str| {
        let mut response = answer_to(&invite, status, &format!("{lines}{}", sdp(AUDIO)));
        let to = response.headers.get(HeaderName::To).unwrap_or_default().to_owned();
        response.headers.set(HeaderName::To, &to.replace("tag=net1", &format!("tag={fork}")));
        response.headers.push(HeaderName::Contact, &format!("<sip:{fork}@10.0.0.2>"));
        response
    };
    let reliable = "Require: 100rel\nRSeq: 1\n";
    for fork in ["x", "y"] {
        let did = phone.respond(tag, reply(183, fork, reliable));
        let (_, prack) = did.request();
        assert_eq!(prack.request_uri, format!("sip:{fork}@10.0.0.2"));
        assert_eq!(prack.headers.get(HeaderName::CSeq), Some("2 PRACK"), "CSeq of its own dialog");
    }
    let did = phone.respond(tag, reply(200, "y", ""));
    assert_eq!((did.acks.len(), did.requests.len()), (1, 0));
    let did = phone.respond(tag, reply(200, "x", ""));
    assert_eq!(did.acks.len(), 1);
    let (_, bye) = did.request();
    assert_eq!((&bye.method, &*bye.request_uri), (&Method::Bye, "sip:x@10.0.0.2"));
}

fn robots() {
    for (robot, status) in [(Robot::Busy, 486), (Robot::Rejects(603), 603)] {
        let mut phone = Phone::with("alice", |config| config.robot = robot);
        let did = phone.request(incoming("INVITE", ALICE, &sdp(AUDIO)));
        assert_eq!(did.status(), status);
    }
    let mut phone = Phone::with("alice", |config| config.robot = Robot::Rings);
    let did = phone.request(incoming("INVITE", ALICE, &sdp(AUDIO)));
    assert_eq!(did.status(), 180);
    assert_eq!(did.states, ["call incoming", "call ringing"]);
}
