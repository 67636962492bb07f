//! Where the S-CSCF leads requests, and which it does not: lost registrations, dead contacts,
//! GRUUs, media beyond the subscription, History-Info (TS 24.229 §5.4.3, §6.3; RFC 5627, RFC 7044).

use cscf_core::auth::IntegrityProtected;
use cscf_core::sip::{HeaderName, Message, Request, parse};
use cscf_core::trace::TraceKind;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::by_hand::{SDP, impu, sent_to, uri_of};
use super::hand::{A_MOMENT, Hand};
use super::scscf_register::message_to;
use super::scscf_session::Around;
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("paths::who_is_not_registered_calls_nobody", &["S-ORI-040a"], not_registered),
        case("paths::other_media_than_subscribed_get_488", &["S-ORI-160"], media),
        case("paths::a_dead_contact_is_as_good_as_none", &["S-TER-080", "RC-480b"], unreachable),
        case("paths::a_gruu_means_one_instance", &["S-TER-100a", "S-TER-100b", "S-TER-100c"], gruu),
        case("paths::a_gruu_in_contact_is_the_callers", &["S-ORI-200"], gruu_in_contact),
        case("paths::history_is_written_down", &["S-TER-120"], history),
    ]
}

fn values(request: &Request, name: HeaderName) -> Vec<String> {
    request.headers.values(name).map(str::to_owned).collect()
}

fn not_registered() {
    let mut around = Around::new();
    let carol = format!("P-Asserted-Identity: <sip:carol@{DOMAIN}>");
    let text = around.alices("INVITE", &impu(2), 1, &carol);
    assert_eq!(around.refused(&text), 403);
    // The P-CSCF knows a Service-Route that nobody here has given: the data are lost.
    let mut around = Around::new();
    around.route = around.route.replacen("sip:", "sip:lost-", 1);
    let text = around.alices("INVITE", &impu(2), 2, "");
    assert_eq!(around.refused(&text), 504);
    let lost = sent_to(&around.bench, "s1", around.p1.addr, "504 INVITE").remove(0);
    assert_eq!(uri_of(&lost.header("P-Asserted-Identity")), uri_of(&around.route));
    let body = String::from_utf8_lossy(&lost.response().body).into_owned();
    assert!(body.contains("<type>restoration</type>"), "{body}");
}

/// A bench whose alice has a media profile, which s1 knows to be of speech only.
fn of_speech(who: &str) -> Around {
    let text = "scenario: none\nparties:\n  alice: {}\n  bob: {}\nsteps: []\n";
    let bench = Bench::with_lab(text, 1, |lab| {
        let of_name = lab.subscribers.listed_mut().iter_mut().find(|its| its.name == who);
        of_name.expect("a subscriber").hss.media_profile = Some(4);
        let s1 = lab.nodes.iter_mut().find(|node| node.name == "s1").expect("s1");
        s1.serving.media_profiles = vec![(4, vec!["audio/AMR-WB".to_owned()])];
    });
    Around::of(bench)
}

const VIDEO: &str = "\nm=video 7002 RTP/AVP 98\na=rtpmap:98 H264/90000";
const EVS: &str = "\nm=audio 7004 RTP/AVP 96\na=rtpmap:96 EVS/16000";

fn media() {
    let mut around = of_speech("alice");
    around.alice_sends("INVITE", &impu(2), 1, SDP);
    for (n, more, what) in [(2, VIDEO, "video"), (3, EVS, "EVS")] {
        let mut around = of_speech("alice");
        let text = around.alices("INVITE", &impu(2), n, &format!("{SDP}{more}"));
        assert_eq!(around.refused(&text), 488, "{what}");
        let refused = sent_to(&around.bench, "s1", around.p1.addr, "488 INVITE").remove(0);
        assert_eq!(refused.header("Content-Type"), "application/sdp");
        assert!(refused.header("Warning").contains(what), "{}", refused.header("Warning"));
        let body = String::from_utf8_lossy(&refused.response().body).into_owned();
        assert!(body.contains("AMR-WB") && !body.contains("H264") && !body.contains("EVS"));
    }
    // The same of a callee, and of an offer within the dialog.
    let mut around = of_speech("bob");
    let text = around.to_user("INVITE", &impu(2), 4, &format!("{SDP}{VIDEO}"));
    around.i1.send(&mut around.bench, &text);
    assert_eq!(around.i1.answered(&mut around.bench).status, 488);
    let mut around = of_speech("alice");
    let invite = around.alice_sends("INVITE", &impu(2), 5, SDP);
    around.i1.answer(&mut around.bench, &invite, 200, "");
    let made = around.p1.answered(&mut around.bench);
    let text = around.p1.in_dialog("INVITE", 2, &made, &format!("{SDP}{VIDEO}"));
    around.p1.send(&mut around.bench, &text);
    assert_eq!(around.p1.answered(&mut around.bench).status, 488);
}

/// alice with flows of one instance behind an edge by hand.
fn flows(count: u8) -> Hand {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    let edge = hand.bench.raw("edge");
    hand.lines = format!("Path: <sip:tok@{edge};lr;ob>\nRequire: path\nSupported: outbound\n");
    let flow = |id: u8| {
        format!(
            "Contact: <sip:a@10.0.1.{id}>;reg-id={id};+sip.instance=\"<urn:x:1>\";expires=900\n"
        )
    };
    hand.contact = flow(1);
    hand.registered(NO, YES);
    for id in 2..=count {
        let lines = hand.unchallenged(YES) + &flow(id);
        assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    }
    hand
}

/// What of this method the edge has heard, retransmissions taken out.
fn at_edge(hand: &mut Hand, method: &str) -> Vec<Request> {
    let mut out: Vec<Request> = Vec::new();
    for message in hand.bench.heard("edge") {
        let Message::Request(request) = message else { continue };
        let same =
            |its: &Request| values(its, HeaderName::Via) == values(&request, HeaderName::Via);
        if request.method.as_str() == method && !out.iter().any(same) {
            out.push(request);
        }
    }
    out
}

fn unreachable() {
    let to = format!("sip:alice@{DOMAIN}");
    // 430 leads to the other flow; with none left nobody is reached.
    let mut hand = flows(2);
    message_to(&mut hand, &to);
    let s1 = hand.to;
    for id in 1..=2 {
        let requests = at_edge(&mut hand, "MESSAGE");
        let [one] = &requests[..] else { panic!("one flow at a time: {requests:?}") };
        assert_eq!(one.request_uri, format!("sip:a@10.0.1.{id}"));
        let one = Message::Request(one.clone());
        let text = super::hand::response(&one, "430 Flow Failed", "");
        hand.bench.send("edge", s1, &text);
        hand.bench.run_for(A_MOMENT);
    }
    assert_eq!(hand.answered().map(|it| label(&it)).as_deref(), Some("480 MESSAGE"));
    // What the callee's side says otherwise is the callee's word.
    for status in ["480 Temporarily Unavailable", "486 Busy Here"] {
        let mut hand = flows(2);
        message_to(&mut hand, &to);
        let one = Message::Request(at_edge(&mut hand, "MESSAGE").remove(0));
        let text = super::hand::response(&one, status, "");
        hand.bench.send("edge", s1, &text);
        hand.bench.run_for(A_MOMENT);
        assert_eq!(at_edge(&mut hand, "MESSAGE").len(), 0, "{status}");
        let wanted = format!("{} MESSAGE", &status[..3]);
        assert_eq!(hand.answered().map(|it| label(&it)), Some(wanted));
    }
    // An edge that says nothing at all.
    let mut around = Around::new();
    let text = around.to_user("INVITE", &impu(2), 1, "");
    around.i1.send(&mut around.bench, &text);
    around.bench.run_for(cscf_core::time::Duration::from_secs(33));
    assert!(!around.p1.heard(&mut around.bench, "INVITE").is_empty());
    let mut finals = around.i1.answers(&mut around.bench, "");
    finals.retain(|response| response.status >= 200);
    assert!(!finals.is_empty() && finals.iter().all(|response| response.status == 480));
}

/// The GRUUs of a 200 to REGISTER: public, temporary.
fn gruus_of(ok: &Message) -> (String, String) {
    let contact = header(ok, "Contact");
    let of = |name: &str| {
        let rest = contact.split_once(&format!("{name}=\"")).map_or("", |(_, rest)| rest);
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    (of("pub-gruu"), of("temp-gruu"))
}

fn gruu() {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    let edge = hand.bench.raw("edge");
    hand.lines =
        format!("Path: <sip:tok@{edge};lr;ob>\nRequire: path\nSupported: outbound, gruu\n");
    let flow = |n: u8| {
        format!("Contact: <sip:a@10.0.1.{n}>;reg-id=1;+sip.instance=\"<urn:x:{n}>\";expires=900\n")
    };
    hand.contact = flow(1);
    let ok = hand.registered(NO, YES);
    let (public, temporary) = gruus_of(&ok);
    assert!(public.contains(";gr=") && temporary.ends_with(";gr"), "{public} {temporary}");
    let lines = hand.unchallenged(YES) + &flow(2);
    assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    // (a) The identity means both, a GRUU one.
    let reached = |hand: &mut Hand, to: &str, count: usize| {
        message_to(hand, to);
        let (found, s1) = (at_edge(hand, "MESSAGE"), hand.to);
        assert_eq!(found.len(), count, "{to}");
        for one in &found {
            let text = super::hand::response(&Message::Request(one.clone()), "200 OK", "");
            hand.bench.send("edge", s1, &text);
        }
        hand.bench.run_for(A_MOMENT);
        found.first().map(|it| it.request_uri.to_string())
    };
    reached(&mut hand, &format!("sip:alice@{DOMAIN}"), 2);
    for to in [&public, &temporary] {
        assert_eq!(reached(&mut hand, to, 1).as_deref(), Some("sip:a@10.0.1.1"));
    }
    // (b) The instance goes, the other one stays.
    let gone = flow(1).replace("expires=900", "expires=0");
    let lines = hand.unchallenged(YES) + &gone;
    assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    hand.answered();
    assert_eq!(reached(&mut hand, &public, 0), None);
    assert_eq!(hand.answered().map(|it| label(&it)).as_deref(), Some("480 MESSAGE"));
    // (c) One that was never given.
    let forged = temporary.replace("tgruu.", "tgruu.x");
    assert_ne!(forged, temporary);
    assert_eq!(reached(&mut hand, &forged, 0), None);
    assert_eq!(hand.answered().map(|it| label(&it)).as_deref(), Some("404 MESSAGE"));
}

fn gruu_in_contact() {
    let mut around = Around::of(Bench::of(
        "scenario: none\nparties:\n  alice: {gruu: on}\n  bob: {}\nsteps: []\n",
    ));
    let sent = around.bench.stage.lab.trace().iter().filter_map(|event| match &event.kind {
        TraceKind::Sent(wire) if *event.node == *"s1" => parse(&wire.bytes).ok(),
        _ => None,
    });
    let oks = sent.filter(|it| label(it) == "200 REGISTER");
    let public = oks.map(|it| gruus_of(&it).0).find(|it| !it.is_empty()).expect("a GRUU");
    let own = format!("Contact: <sip:{}>", around.p1.addr);
    let with = |around: &Around, n: u32, contact: &str| {
        around.alices("INVITE", &impu(2), n, "").replace(&own, &format!("Contact: <{contact}>"))
    };
    let text = with(&around, 1, &public);
    around.p1.send(&mut around.bench, &text);
    let invite = around.i1.heard_one(&mut around.bench, "INVITE");
    assert_eq!(values(&invite, HeaderName::Contact), [format!("<{public}>")]);
    // What the callee sends to the GRUU in the dialog reaches the instance behind it.
    around.i1.answer(&mut around.bench, &invite, 200, "");
    let made = around.p1.answered(&mut around.bench);
    let marker = made.headers.get(HeaderName::RecordRoute).unwrap_or_default().to_owned();
    let info = format!(
        "INFO {public} SIP/2.0\nVia: SIP/2.0/UDP {};branch=z9hG4bK-info\nMax-Forwards: 70\n\
         Route: {marker}\nFrom: {}\nTo: {}\nCall-ID: {}\nCSeq: 1 INFO\n",
        around.i1.addr,
        made.headers.get(HeaderName::To).unwrap_or_default(),
        made.headers.get(HeaderName::From).unwrap_or_default(),
        made.headers.get(HeaderName::CallId).unwrap_or_default(),
    );
    around.i1.send(&mut around.bench, &info);
    let info = around.p1.heard_one(&mut around.bench, "INFO");
    assert_eq!(info.request_uri, format!("sip:{}", around.bench.addr("alice")));
    // That of another instance, or of nobody, is refused.
    let mut around = Around::new();
    let text = with(&around, 2, &format!("sip:alice@{DOMAIN};gr=urn:x:9"));
    assert_eq!(around.refused(&text), 403);
}

fn history() {
    let contact = |around: &Around| around.bench.addr("bob");
    for (lines, entries) in [
        ("Supported: histinfo".to_owned(), vec![format!("<{}>;index=1", impu(2))]),
        (
            format!("History-Info: <sip:carol@{DOMAIN}>;index=1, <{}>;index=1.1;mp=1", impu(2)),
            vec![format!("<sip:carol@{DOMAIN}>;index=1"), format!("<{}>;index=1.1;mp=1", impu(2))],
        ),
    ] {
        let mut around = Around::new();
        let text = around.to_user("INVITE", &impu(2), 1, &lines);
        around.i1.send(&mut around.bench, &text);
        let sent = around.p1.heard_one(&mut around.bench, "INVITE");
        let parent = if entries.len() == 1 { "1" } else { "1.1" };
        let mut wanted = entries;
        wanted.push(format!("<sip:{}>;index={parent}.1;rc={parent}", contact(&around)));
        assert_eq!(values(&sent, HeaderName::HistoryInfo), wanted);
    }
    let mut around = Around::new();
    let text = around.to_user("INVITE", &impu(2), 1, "Supported: histinfo\nPrivacy: history");
    around.i1.send(&mut around.bench, &text);
    let sent = around.p1.heard_one(&mut around.bench, "INVITE");
    let entries = values(&sent, HeaderName::HistoryInfo);
    assert!(entries.len() == 2 && entries.iter().all(|it| it.contains("anonymous.invalid")));
    let mut around = Around::new();
    let text = around.to_user("INVITE", &impu(2), 1, "");
    around.i1.send(&mut around.bench, &text);
    let sent = around.p1.heard_one(&mut around.bench, "INVITE");
    assert!(values(&sent, HeaderName::HistoryInfo).is_empty(), "nobody asks for it");
}
