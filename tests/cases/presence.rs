//! The presence server (RFC 3856, RFC 3903; TS 24.141), spoken to by hand, and UEs that publish.

use cscf_core::sip::{HeaderName, Request, Response};
use cscf_core::time::Duration;
use cscf_tests::Bench;

use super::by_hand::{Hand, impu, sent_to};
use super::isc::{criterion, lab};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("presence::watchers_are_told_what_is_published", &["N-PRE-010", "N-PUB-010"], whole),
        case("presence::a_publication_has_its_time", &["N-PUB-010"], expiry),
        case("presence::consent_is_waited_for", &["N-PRE-010"], consent),
        case(
            "presence::what_cannot_be_published_is_refused",
            &["N-PUB-020a", "N-PUB-020b", "N-PUB-020c", "N-PUB-020d", "N-PUB-020e"],
            refused,
        ),
        case("presence::a_subscription_has_its_time", &["N-PRE-010"], subscription),
        case("presence::a_phone_publishes", &["RC-412", "RC-423c"], phone),
    ]
}

/// s1 by hand before a presence server.
fn server(keys: &str) -> (Bench, Hand) {
    let none = criterion(1, "as1", "all_of: [{method: PUBLISH}]");
    let mut bench = lab(&[&format!("presence{keys}")], &[&none], &[]);
    let s1 = Hand::node(&mut bench, "s1", "as1");
    bench.mark();
    (bench, s1)
}

fn document(basic: &str) -> String {
    format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{}\"><tuple id=\"t\"><status>\
         <basic>{basic}</basic></status></tuple></presence>",
        impu(2)
    )
}

/// A PUBLISH of bob's: `lines` are further headers, `body` a document.
fn publish(bench: &mut Bench, s1: &Hand, n: u32, lines: &str, body: &str) -> Response {
    let mut all = format!("P-Asserted-Identity: <{}>", impu(2));
    for (name, line) in [("Event", "Event: presence"), ("Expires", "Expires: 600")] {
        if !lines.contains(name) {
            all.push_str(&format!("\n{line}"));
        }
    }
    if !lines.is_empty() {
        all.push_str(&format!("\n{lines}"));
    }
    if !body.is_empty() {
        if !lines.contains("Content-Type") {
            all.push_str("\nContent-Type: application/pidf+xml");
        }
        all.push_str(&format!("\n\n{body}"));
    }
    s1.send(bench, &s1.request("PUBLISH", &impu(2), n, &all));
    let mut heard = bench.heard(&s1.name);
    let response = heard.iter().position(|it| {
        matches!(it, cscf_core::sip::Message::Response(response)
            if response.cseq().is_ok_and(|it| it.method.as_str() == "PUBLISH"))
    });
    let found = heard.swap_remove(response.expect("an answer to PUBLISH"));
    let cscf_core::sip::Message::Response(response) = found else { unreachable!() };
    // What else came is answered where it asks for that.
    for message in heard {
        if let cscf_core::sip::Message::Request(request) = message {
            s1.answer(bench, &request, 200, "");
        }
    }
    response
}

fn get(response: &Response, name: HeaderName) -> String {
    response.headers.get(name).unwrap_or_default().to_owned()
}

/// Subscribes as alice; what came back: the answer and the NOTIFYs, which are answered.
fn subscribe(bench: &mut Bench, s1: &Hand, n: u32, lines: &str) -> (Response, Vec<Request>) {
    let mut all = format!("P-Asserted-Identity: <{}>", impu(1));
    for (name, line) in [("Event", "Event: presence"), ("Expires", "Expires: 600")] {
        if !lines.contains(name) {
            all.push_str(&format!("\n{line}"));
        }
    }
    let text = s1.request("SUBSCRIBE", &impu(2), n, &format!("{all}\n{lines}"));
    s1.send(bench, text.trim_end());
    let mut heard = Vec::new();
    let mut answer = None;
    for message in bench.heard(&s1.name) {
        match message {
            cscf_core::sip::Message::Response(response) => answer = Some(response),
            cscf_core::sip::Message::Request(request) => heard.push(request),
        }
    }
    for notify in &heard {
        s1.answer(bench, notify, 200, "");
    }
    (answer.expect("an answer to SUBSCRIBE"), heard)
}

/// The NOTIFYs that as1 has sent since the mark: Subscription-State without its time, and body.
fn notified(bench: &Bench, s1: &Hand) -> Vec<(String, String)> {
    let sent = sent_to(bench, "as1", s1.addr, "NOTIFY");
    let state = |text: String| match text.split_once(";expires") {
        Some((state, _)) => state.to_owned(),
        None => text,
    };
    let body = |told: &cscf_tests::Told| String::from_utf8_lossy(told.message.body()).into_owned();
    sent.iter().map(|told| (state(told.header("Subscription-State")), body(told))).collect()
}

fn whole() {
    let (mut bench, s1) = server("");
    let (answer, notifies) = subscribe(&mut bench, &s1, 1, "Accept: application/pidf+xml");
    assert_eq!((answer.status, get(&answer, HeaderName::Expires)), (200, "600".to_owned()));
    let [first] = &notifies[..] else { panic!("NOTIFY at once: {notifies:?}") };
    let header = |name| first.headers.get(name).unwrap_or_default();
    assert_eq!(header(HeaderName::ContentType), "application/pidf+xml");
    assert_eq!(header(HeaderName::Event), "presence");
    assert_eq!(header(HeaderName::SubscriptionState), "active;expires=600");
    assert_eq!(first.from_tag(), answer.to_tag());
    // bob appears.
    bench.mark();
    let initial = publish(&mut bench, &s1, 1, "", &document("open"));
    let first_tag = get(&initial, HeaderName::SipEtag);
    assert_eq!((initial.status, get(&initial, HeaderName::Expires)), (200, "600".to_owned()));
    assert_eq!(notified(&bench, &s1), [("active".to_owned(), document("open") + "\r\n")]);
    // Kept: nobody is told, and the tag is another one.
    bench.mark();
    let kept = publish(&mut bench, &s1, 2, &format!("SIP-If-Match: {first_tag}"), "");
    let second_tag = get(&kept, HeaderName::SipEtag);
    assert!(kept.status == 200 && !second_tag.is_empty() && second_tag != first_tag);
    assert!(notified(&bench, &s1).is_empty());
    // Changed.
    let lines = format!("SIP-If-Match: {second_tag}");
    let changed = publish(&mut bench, &s1, 3, &lines, &document("closed"));
    let third_tag = get(&changed, HeaderName::SipEtag);
    assert!(changed.status == 200 && third_tag != second_tag);
    assert_eq!(notified(&bench, &s1), [("active".to_owned(), document("closed") + "\r\n")]);
    // A second device: both are told.
    bench.mark();
    let other = publish(&mut bench, &s1, 4, "", &document("open"));
    assert_eq!(other.status, 200);
    let told = notified(&bench, &s1).remove(0).1;
    assert!(told.contains("closed") && told.contains("open") && told.contains("p2-t"), "{told}");
    // Taken back.
    bench.mark();
    let lines = format!("SIP-If-Match: {third_tag}\nExpires: 0");
    let gone = publish(&mut bench, &s1, 5, &lines, "");
    assert_eq!((gone.status, get(&gone, HeaderName::Expires)), (200, "0".to_owned()));
    assert_eq!(notified(&bench, &s1), [("active".to_owned(), document("open") + "\r\n")]);
    let late = publish(&mut bench, &s1, 6, &format!("SIP-If-Match: {third_tag}"), "");
    assert_eq!(late.status, 412, "a tag is good once");
}

fn expiry() {
    let (mut bench, s1) = server("");
    let initial = publish(&mut bench, &s1, 1, "Expires: 100", &document("open"));
    subscribe(&mut bench, &s1, 1, "");
    bench.run_for(Duration::from_secs(60));
    let lines = format!("SIP-If-Match: {}\nExpires: 100", get(&initial, HeaderName::SipEtag));
    let kept = publish(&mut bench, &s1, 2, &lines, "");
    bench.mark();
    bench.run_for(Duration::from_secs(95));
    assert!(notified(&bench, &s1).is_empty(), "it counts from the refresh");
    bench.run_for(Duration::from_secs(10));
    let told = notified(&bench, &s1);
    assert!(told[0].0 == "active" && !told[0].1.contains("tuple"), "{told:?}");
    let late = format!("SIP-If-Match: {}", get(&kept, HeaderName::SipEtag));
    assert_eq!(publish(&mut bench, &s1, 3, &late, "").status, 412);
    // Longer than the longest is cut.
    let long = publish(&mut bench, &s1, 4, "Expires: 99999", &document("open"));
    assert_eq!(get(&long, HeaderName::Expires), "3600");
}

fn consent() {
    let (mut bench, s1) = server(", watchers: pending for 10s");
    publish(&mut bench, &s1, 1, "", &document("open"));
    subscribe(&mut bench, &s1, 1, "");
    let told = notified(&bench, &s1);
    assert!(told.len() == 1 && told[0].0 == "pending" && !told[0].1.contains("open"), "{told:?}");
    publish(&mut bench, &s1, 2, "", &document("open"));
    assert_eq!(notified(&bench, &s1).len(), 1, "nothing until then");
    bench.mark();
    bench.run_for(Duration::from_secs(11));
    let told = notified(&bench, &s1);
    assert!(told[0].0 == "active" && told[0].1.contains("open"), "{told:?}");
    // Politely: it looks as if nobody were there.
    let (mut bench, s1) = server(", watchers: blocked");
    publish(&mut bench, &s1, 1, "", &document("open"));
    subscribe(&mut bench, &s1, 1, "");
    publish(&mut bench, &s1, 2, "", &document("open"));
    let told = notified(&bench, &s1);
    assert_eq!(told.len(), 1);
    assert!(told[0].0 == "active" && told[0].1.contains("closed"), "{told:?}");
    assert!(!told[0].1.contains("open"));
    let (mut bench, s1) = server(", watchers: refused");
    let (answer, notifies) = subscribe(&mut bench, &s1, 1, "");
    assert!(answer.status == 403 && notifies.is_empty());
}

fn refused() {
    let (mut bench, s1) = server(", expires_min: 90s");
    // (a)
    let unknown = publish(&mut bench, &s1, 1, "SIP-If-Match: nobody", "");
    assert_eq!(unknown.status, 412);
    // (b)
    let brief = publish(&mut bench, &s1, 2, "Expires: 89", &document("open"));
    assert_eq!((brief.status, get(&brief, HeaderName::MinExpires)), (423, "90".to_owned()));
    assert_eq!(publish(&mut bench, &s1, 3, "Expires: 0", &document("open")).status, 200);
    // (c)
    for event in ["Event: dialog", "Event:"] {
        let other = publish(&mut bench, &s1, 4, event, &document("open"));
        let allowed = get(&other, HeaderName::AllowEvents);
        assert_eq!((other.status, allowed), (489, "presence".to_owned()), "{event}");
        bench.run_for(Duration::from_secs(40));
    }
    // (d)
    let text = publish(&mut bench, &s1, 5, "Content-Type: text/plain", "open");
    let accepted = get(&text, HeaderName::Accept);
    assert_eq!((text.status, accepted), (415, "application/pidf+xml".to_owned()));
    for (n, body) in [(6, "<presence/>"), (7, "no xml")] {
        assert_eq!(publish(&mut bench, &s1, n, "", body).status, 400, "{body}");
    }
    assert_eq!(publish(&mut bench, &s1, 8, "", "").status, 400, "neither body nor tag");
    // (e)
    let lines = format!("P-Asserted-Identity: <{}>\nEvent: presence", impu(2));
    s1.send(&mut bench, &s1.request("PUBLISH", &impu(77), 9, &lines));
    assert_eq!(s1.answered(&mut bench).status, 404);
    // And nobody publishes for another.
    let lines = format!("P-Asserted-Identity: <{}>\nEvent: presence", impu(1));
    s1.send(&mut bench, &s1.request("PUBLISH", &impu(2), 10, &lines));
    assert_eq!(s1.answered(&mut bench).status, 403);
    // None of it has left anything.
    let (_, notifies) = subscribe(&mut bench, &s1, 11, "");
    assert!(!String::from_utf8_lossy(&notifies[0].body).contains("tuple"));
}

fn subscription() {
    let (mut bench, s1) = server("");
    for (n, lines, status) in
        [(1, "Event: foo", 489), (2, "Accept: text/plain", 406), (3, "Expires: 10", 423)]
    {
        let (answer, notifies) = subscribe(&mut bench, &s1, n, lines);
        assert!(answer.status == status && notifies.is_empty(), "{lines}: {}", answer.status);
    }
    let (answer, _) = subscribe(&mut bench, &s1, 4, "Expires: 100");
    // Kept by a refresh in the dialog.
    bench.run_for(Duration::from_secs(50));
    bench.mark();
    let again = s1.in_dialog("SUBSCRIBE", 2, &answer, "Event: presence\nExpires: 100");
    s1.send(&mut bench, &again);
    assert_eq!(notified(&bench, &s1)[0].0, "active");
    let refreshed = sent_to(&bench, "as1", s1.addr, "200 SUBSCRIBE");
    assert_eq!(refreshed[0].header("Expires"), "100");
    for notify in s1.heard(&mut bench, "NOTIFY") {
        s1.answer(&mut bench, &notify, 200, "");
    }
    // It ends with its time.
    bench.mark();
    bench.run_for(Duration::from_secs(110));
    assert_eq!(notified(&bench, &s1)[0].0, "terminated;reason=timeout");
    for notify in s1.heard(&mut bench, "NOTIFY") {
        s1.answer(&mut bench, &notify, 200, "");
    }
    s1.send(&mut bench, &s1.in_dialog("SUBSCRIBE", 3, &answer, "Event: presence"));
    assert_eq!(s1.answers(&mut bench, "481 SUBSCRIBE").len(), 1);
    // It ends when the watcher wants no more, or does not take a NOTIFY.
    let (answer, _) = subscribe(&mut bench, &s1, 5, "");
    bench.mark();
    s1.send(&mut bench, &s1.in_dialog("SUBSCRIBE", 2, &answer, "Event: presence\nExpires: 0"));
    assert_eq!(notified(&bench, &s1)[0].0, "terminated;reason=timeout");
    for notify in s1.heard(&mut bench, "NOTIFY") {
        s1.answer(&mut bench, &notify, 200, "");
    }
    s1.send(&mut bench, &s1.request("SUBSCRIBE", &impu(2), 6, "Event: presence"));
    for notify in s1.heard(&mut bench, "NOTIFY") {
        s1.answer(&mut bench, &notify, 481, "");
    }
    bench.run_for(Duration::from_secs(40));
    let left = bench.remainders();
    let of_presence = ["watchers", "notifications", "publications"];
    let held = left.iter().filter(|(_, what, _)| of_presence.contains(what));
    assert!(held.clone().all(|(_, _, count)| *count == 0), "{left:?}");
}

fn phone() {
    let it = criterion(1, "as1", "all_of: [{method: PUBLISH}]");
    let mut bench = lab(&["presence"], &[&it], &[]);
    bench.register(&["alice"]);
    bench.mark();
    // Too brief: asks for what it may have.
    bench.play("alice publishes \"open\" for 10s\nalice is published\nas1 is published alice");
    let alice = bench.addr("p1");
    let _ = alice;
    let brief = sent_to(&bench, "as1", bench.addr("s1"), "423 PUBLISH");
    assert_eq!(brief[0].header("Min-Expires"), "60");
    let sent = |bench: &Bench| sent_to(bench, "alice", bench.addr("p1"), "PUBLISH");
    assert_eq!(sent(&bench)[1].header("Expires"), "60");
    let ok = sent_to(&bench, "as1", bench.addr("s1"), "200 PUBLISH").remove(0);
    // Too late: publishes anew, without the tag.
    bench.play("wait 70s");
    bench.mark();
    bench.play("alice refreshes her publication\nalice is published");
    let [late, anew] = &sent(&bench)[..] else { panic!("two") };
    assert_eq!(late.header("SIP-If-Match"), ok.header("SIP-ETag"));
    assert!(late.message.body().is_empty());
    assert_eq!(sent_to(&bench, "as1", bench.addr("s1"), "412 PUBLISH").len(), 1);
    assert_eq!(anew.header("SIP-If-Match"), "");
    assert!(!anew.message.body().is_empty());
    bench.play("alice withdraws her publication\nalice is publication removed");
    assert_eq!(sent(&bench)[2].header("Expires"), "0");
    bench.play("alice withdraws her publication\nalice is no publication");
}
