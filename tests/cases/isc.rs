//! Application servers in sessions (TS 24.229 §5.4.3.2, §5.4.3.3, §5.7; TS 23.218 §5.2): the
//! S-CSCF's side and the server's.

use cscf_core::sip::{HeaderName, Request};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, Told};

use super::by_hand::{Hand, avps, charging, impu, one, sent_to, uri_of};
use super::scscf_session::Around;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("isc::criteria_are_taken_in_their_order", &["S-ORI-060"], order),
        case("isc::a_server_gets_a_way_back", &["S-ORI-070"], to_server),
        case("isc::what_comes_back_goes_on_behind_it", &["S-ORI-080"], back),
        case("isc::a_failing_server_is_passed_over_or_ends_it", &["S-ORI-090"], failing),
        case("isc::a_server_calls_for_who_is_not_there", &["S-ORI-040b"], for_unregistered),
        case("isc::a_short_message_goes_to_its_server", &["S-ORI-210"], short_message),
        case("isc::nothing_goes_round_for_ever", &["S-ORI-220"], rounds),
        case("isc::who_is_not_there_has_services", &["S-TER-030"], unregistered),
        case("isc::the_callees_servers_come_before_its_contacts", &["S-TER-040"], terminating),
        case("isc::a_diversion_leaves_the_callee", &["S-TER-050"], diverted),
        case("isc::a_proxy_sends_it_back", &["A-GEN-030"], proxy),
        case("isc::a_server_that_refuses_says_why", &["A-GEN-080"], refuses),
    ]
}

pub(crate) const INVITE: &str = "all_of: [{method: INVITE}]";

/// A lab with servers of these behaviours, as1 first, and the criteria of alice and bob.
pub(crate) fn lab(servers: &[&str], alice: &[&str], bob: &[&str]) -> Bench {
    let mut text =
        "scenario: none\nparties:\n  alice: {}\n  bob: {}\n  carol: {}\nlab:\n  nodes:\n"
            .to_owned();
    for (number, behaviour) in (1..).zip(servers) {
        let port = 7000 + 10 * number;
        let node = format!("{{role: as, listen: \"127.0.0.1:{port}\", behaviour: {behaviour}}}");
        text.push_str(&format!("    as{number}: {node}\n"));
    }
    text.push_str("  subscribers:\n");
    for (name, list) in [("alice", alice), ("bob", bob)] {
        if !list.is_empty() {
            text.push_str(&format!("    {name}:\n      filter_criteria:\n"));
        }
        for criterion in list {
            text.push_str(&format!("        - {{{criterion}}}\n"));
        }
    }
    text.push_str("steps: []\n");
    Bench::of(&text)
}

pub(crate) fn criterion(priority: u32, server: &str, rest: &str) -> String {
    format!("priority: {priority}, server: {server}, {rest}")
}

/// A server by hand.
pub(crate) fn server(around: &mut Around, name: &str) -> Hand {
    Hand::node(&mut around.bench, name, "s1")
}

pub(crate) fn values(request: &Request, name: HeaderName) -> Vec<String> {
    request.headers.values(name).map(str::to_owned).collect()
}

/// The request as a server sends it back: its own Route taken away, `edit`ed.
fn send_back(hand: &Hand, bench: &mut Bench, came: &Request, n: u32, edit: impl Fn(&mut Request)) {
    let mut request = came.clone();
    request.headers.drop_front_value(HeaderName::Route);
    let via = format!("SIP/2.0/UDP {};branch=z9hG4bK-back-{n}", hand.addr);
    request.headers.push_front(HeaderName::Via, &via);
    edit(&mut request);
    bench.send_bytes(&hand.name, hand.to, &request.to_bytes());
    bench.run_for(Duration::from_millis(100));
}

/// From which node to which the requests of this method went, in time.
pub(crate) fn way(bench: &Bench, method: &str) -> Vec<String> {
    let nodes = ["p1", "s1", "i1", "as1", "as2", "as3", "alice", "bob", "carol"];
    let known = nodes.iter().filter(|node| bench.config.node_named(node).is_some());
    let names: Vec<(&str, std::net::SocketAddr)> =
        known.map(|node| (*node, bench.addr(node))).collect();
    let mut sent: Vec<(&str, Told)> = names
        .iter()
        .flat_map(|(node, _)| bench.sent(node).into_iter().map(|told| (*node, told)))
        .filter(|(_, told)| told.label() == method)
        .collect();
    sent.sort_by_key(|(_, told)| told.at);
    let to = |told: &Told| names.iter().find(|(_, addr)| *addr == told.wire.remote);
    sent.iter()
        .map(|(from, told)| format!("{from}-{}", to(told).map_or("ue", |(name, _)| name)))
        .collect()
}

fn order() {
    let alice = [
        criterion(30, "as2", INVITE),
        criterion(5, "as3", "all_of: [{not: {method: INVITE}}, {method: INVITE}]"),
        criterion(20, "as1", "any_of: [[{method: BYE}], [{method: INVITE}, {sdp: m}]]"),
        criterion(40, "as3", "all_of: [{method: BYE}]"),
    ];
    let alice: Vec<&str> = alice.iter().map(String::as_str).collect();
    let mut bench = lab(&["proxy", "proxy", "proxy"], &alice, &[]);
    bench.register(&["alice", "bob"]);
    bench.mark();
    bench.play(
        "alice calls bob\nalice receives 180 for INVITE\nbob answers\nalice is call established\n\
         alice hangs up\nalice is call ended",
    );
    let expected =
        ["ue-p1", "p1-s1", "s1-as1", "as1-s1", "s1-as2", "as2-s1", "s1-i1", "i1-s1", "s1-p1"];
    assert_eq!(way(&bench, "INVITE"), [&expected[1..], &["p1-ue"]].concat());
    // Nothing in the dialog is triggered; a server that did not stay in it sees none of it.
    for method in ["BYE", "PRACK"] {
        let way = way(&bench, method);
        assert!(!way.is_empty() && !way.iter().any(|hop| hop.contains("as")), "{way:?}");
    }
    // Each kind of condition decides by itself.
    for (condition, matches) in [
        ("{request_uri: \"5550100002\"}", true),
        ("{request_uri: \"5550100003\"}", false),
        ("{header: X-Own, content: \"^tw?o$\"}", true),
        ("{header: X-Own, content: \"^one$\"}", false),
        ("{header: X-Other}", false),
        ("{session_case: originating}", true),
        ("{session_case: terminating}", false),
        ("{not: {sdp: m}}", true),
        ("{sdp: m}", false),
    ] {
        let it = criterion(1, "as1", &format!("all_of: [{{method: MESSAGE}}, {condition}]"));
        let mut around = Around::of(lab(&["proxy"], &[&it], &[]));
        let as1 = server(&mut around, "as1");
        let text = around.alices("MESSAGE", &impu(2), 1, "X-Own: two");
        around.p1.send(&mut around.bench, &text);
        let heard = as1.heard(&mut around.bench, "MESSAGE").len();
        assert_eq!(heard, usize::from(matches), "{condition}");
        let passed = around.i1.heard(&mut around.bench, "MESSAGE").len();
        assert_eq!(passed, usize::from(!matches), "{condition}");
    }
    // Whoever is barred has no services.
    let mut around = Around::of(lab(&["proxy"], &[&criterion(1, "as1", INVITE)], &[]));
    let barred = format!("P-Asserted-Identity: <sip:001010000000001@{DOMAIN}>");
    let text = around.alices("INVITE", &impu(2), 1, &barred);
    assert_eq!(around.refused(&text), 403);
    assert!(around.bench.received("as1").iter().all(|told| told.label() != "INVITE"));
}

fn to_server() {
    let mut around = Around::of(lab(&["proxy"], &[&criterion(1, "as1", INVITE)], &[]));
    let as1 = server(&mut around, "as1");
    let s1 = around.p1.to;
    let mut identifiers = Vec::new();
    for n in 1..3 {
        let text = around.alices("INVITE", &impu(2), n, "");
        around.p1.send(&mut around.bench, &text);
        let invite = as1.heard_one(&mut around.bench, "INVITE");
        let [to, way_back] = &values(&invite, HeaderName::Route)[..] else { panic!("two Routes") };
        assert_eq!(*to, format!("<sip:{};lr>", as1.addr));
        let uri = uri_of(way_back);
        let (user, rest) = uri["sip:".len()..].split_once('@').expect("a user part");
        assert_eq!(rest, format!("{s1};lr;orig"));
        identifiers.push(user.to_owned());
        let served = format!("<{}>;sescase=orig;regstate=reg", impu(1));
        assert_eq!(values(&invite, HeaderName::PServedUser), [served]);
        let vector = invite.headers.get(HeaderName::PChargingVector).unwrap_or_default();
        assert_eq!(charging(vector, "icid-value"), Some(format!("p1-{n}")));
        assert_eq!(charging(vector, "orig-ioi"), Some(format!("Type 3{DOMAIN}")));
        assert_eq!(charging(vector, "term-ioi"), None);
        assert_eq!(invite.request_uri, impu(2));
        assert!(values(&invite, HeaderName::RecordRoute)[0].contains(&s1.to_string()));
        // What it answers goes to the caller, with the identifiers of that side.
        as1.answer(&mut around.bench, &invite, 486, "");
        let answer = around.p1.answered(&mut around.bench);
        assert_eq!(answer.status, 486);
        let vector = answer.headers.get(HeaderName::PChargingVector).unwrap_or_default();
        assert_eq!(charging(vector, "orig-ioi").as_deref(), Some("Type 1visited"));
        assert_eq!(charging(vector, "term-ioi"), Some(format!("Type 1{DOMAIN}")));
        assert!(around.i1.heard(&mut around.bench, "INVITE").is_empty());
    }
    assert_ne!(identifiers[0], identifiers[1], "each is unique");
}

fn back() {
    let alice = [criterion(1, "as1", INVITE), criterion(2, "as2", INVITE)];
    let alice: Vec<&str> = alice.iter().map(String::as_str).collect();
    let mut around = Around::of(lab(&["proxy", "proxy"], &alice, &[]));
    let (as1, as2) = (server(&mut around, "as1"), server(&mut around, "as2"));
    let text = around.alices("INVITE", &impu(2), 1, "");
    around.p1.send(&mut around.bench, &text);
    let first = as1.heard_one(&mut around.bench, "INVITE");
    // Another Call-ID and another Request-URI: a back-to-back user agent that knows better.
    send_back(&as1, &mut around.bench, &first, 1, |request| {
        request.request_uri = impu(3).into();
        request.headers.set(HeaderName::CallId, "another");
        request.headers.set(HeaderName::From, "<sip:x@y>;tag=z");
        request.headers.remove(HeaderName::RecordRoute);
    });
    assert!(as1.heard(&mut around.bench, "INVITE").is_empty(), "not to it again");
    let second = as2.heard_one(&mut around.bench, "INVITE");
    assert_eq!(second.request_uri, impu(3));
    assert_eq!(values(&second, HeaderName::RecordRoute).len(), 1);
    assert_ne!(values(&second, HeaderName::Route)[1], values(&first, HeaderName::Route)[1]);
    send_back(&as2, &mut around.bench, &second, 2, |_| {});
    let last = around.i1.heard_one(&mut around.bench, "INVITE");
    assert_eq!((&*last.request_uri, last.call_id()), (&*impu(3), Some("another")));
    assert!(!last.headers.contains(HeaderName::PServedUser));
    assert!(!last.headers.contains(HeaderName::Route));
    // as2 did not stay in the dialog: our entry is not doubled.
    assert_eq!(values(&last, HeaderName::RecordRoute).len(), 1);

    // An identifier that nobody gave out: as a request that has not been anywhere.
    let made_up = format!("<sip:odi.made-up@{};lr;orig>", around.p1.to);
    send_back(&as1, &mut around.bench, &first, 3, |request| {
        request.headers.set(HeaderName::Route, &made_up);
        request.headers.set(HeaderName::CallId, "fresh");
    });
    as1.heard_one(&mut around.bench, "INVITE");
    // Once the request is over its identifier is made up, too.
    as2.answer(&mut around.bench, &second, 486, "");
    as1.answer(&mut around.bench, &first, 486, "");
    around.bench.run_for(Duration::from_secs(1));
    as1.heard(&mut around.bench, "INVITE");
    send_back(&as1, &mut around.bench, &first, 4, |request| {
        request.headers.set(HeaderName::CallId, "late");
    });
    let heard = as1.heard(&mut around.bench, "INVITE");
    assert_eq!(heard.iter().filter(|it| it.call_id() == Some("late")).count(), 1);
}

/// What alice hears after the INVITE to a server of this behaviour, and when the INVITE went on.
fn with_failing(behaviour: &str, handling: &str) -> (u16, Option<Duration>) {
    let rest = format!("default_handling: {handling}, {INVITE}");
    let mut around = Around::of(lab(&[behaviour], &[&criterion(1, "as1", &rest)], &[]));
    let text = around.alices("INVITE", &impu(2), 1, "");
    let start = around.bench.now();
    around.p1.send(&mut around.bench, &text);
    around.bench.run_for(Duration::from_secs(10));
    let (s1, i1) = ("s1", around.i1.addr);
    let on = sent_to(&around.bench, s1, i1, "INVITE").first().map(|told| told.at.since(start));
    if let Some(invite) = around.i1.heard(&mut around.bench, "INVITE").first() {
        around.i1.answer(&mut around.bench, invite, 200, "");
    }
    (final_status(&mut around), on)
}

/// The final status that p1 hears, however often.
fn final_status(around: &mut Around) -> u16 {
    let mut heard = around.p1.answers(&mut around.bench, "");
    heard.retain(|response| response.status >= 200);
    heard.dedup_by_key(|response| response.status);
    let [only] = &heard[..] else { panic!("one final answer: {heard:?}") };
    only.status
}

fn failing() {
    let (status, on) = with_failing("silent", "continued");
    assert_eq!(status, 200);
    let on = on.expect("went on").as_millis();
    assert!((4_900..5_200).contains(&on), "{on} ms");
    assert_eq!(with_failing("silent", "terminated"), (408, None));
    for status in [500, 503, 408] {
        let behaviour = format!("refuses {status}");
        let (answer, on) = with_failing(&behaviour, "continued");
        assert!(answer == 200 && on.is_some_and(|on| on.as_millis() < 200), "{behaviour}");
        assert_eq!(with_failing(&behaviour, "terminated"), (status, None));
    }
    // Its decision is no failure.
    for handling in ["continued", "terminated"] {
        assert_eq!(with_failing("refuses 486", handling), (486, None));
    }
    // Nor is what comes after another response of it.
    let mut around = Around::of(lab(&["proxy"], &[&criterion(1, "as1", INVITE)], &[]));
    let as1 = server(&mut around, "as1");
    let text = around.alices("INVITE", &impu(2), 1, "");
    around.p1.send(&mut around.bench, &text);
    let invite = as1.heard_one(&mut around.bench, "INVITE");
    as1.answer(&mut around.bench, &invite, 183, "");
    as1.answer(&mut around.bench, &invite, 500, "");
    assert_eq!(around.p1.answered(&mut around.bench).status, 500);
    assert!(around.i1.heard(&mut around.bench, "INVITE").is_empty());
    // A 100 tells that it is there: it may take its time.
    let text = around.alices("INVITE", &impu(2), 2, "");
    around.p1.send(&mut around.bench, &text);
    let invite = as1.heard_one(&mut around.bench, "INVITE");
    as1.answer(&mut around.bench, &invite, 100, "");
    around.bench.run_for(Duration::from_secs(60));
    assert!(around.i1.heard(&mut around.bench, "INVITE").is_empty());
}

/// A lab with bob's criterion for this session case, alice there and bob not.
fn without_bob(servers: &[&str], list: &[&str]) -> Bench {
    let mut bench = lab(servers, &[], list);
    bench.register(&["alice", "carol"]);
    bench.run_for(Duration::from_secs(1));
    bench.mark();
    bench
}

fn for_unregistered() {
    let it = criterion(1, "as2", "all_of: [{session_case: originating unregistered}]");
    let mut bench = without_bob(&["proxy", "proxy"], &[&it]);
    let as1 = Hand::node(&mut bench, "as1", "s1");
    let as2 = Hand::node(&mut bench, "as2", "s1");
    let i1 = Hand::node(&mut bench, "i1", "s1");
    let s1 = as1.to;
    let lines = |user: &str| {
        format!(
            "Route: <sip:{s1};lr;orig>\nP-Served-User: <{user}>;sescase=orig;regstate=unreg\n\
             P-Asserted-Identity: <{user}>"
        )
    };
    as1.send(&mut bench, &as1.request("INVITE", &impu(3), 1, &lines(&impu(2))));
    assert_eq!(avps(&bench, "s1", "SAR", "Server-Assignment-Type"), [["3"]], "UNREGISTERED_USER");
    let invite = as2.heard_one(&mut bench, "INVITE");
    let served = format!("<{}>;sescase=orig;regstate=unreg", impu(2));
    assert_eq!(values(&invite, HeaderName::PServedUser), [served]);
    send_back(&as2, &mut bench, &invite, 1, |_| {});
    assert_eq!(i1.heard_one(&mut bench, "INVITE").request_uri, impu(3));
    // The profile is kept a while, then the HSS is told.
    as1.send(&mut bench, &as1.request("INVITE", &impu(3), 2, &lines(&impu(2))));
    assert_eq!(avps(&bench, "s1", "SAR", "Server-Assignment-Type").len(), 1);
    bench.run_for(Duration::from_secs(301));
    assert_eq!(avps(&bench, "s1", "SAR", "Server-Assignment-Type").concat(), ["3", "4"]);
    // Nobody the HSS knows.
    as1.send(&mut bench, &as1.request("INVITE", &impu(3), 3, &lines(&impu(99))));
    assert_eq!(as1.answers(&mut bench, "403 INVITE").len(), 1);
}

fn short_message() {
    let it = "all_of: [{method: MESSAGE}, {header: Content-Type, content: \"3gpp.sms\"}]";
    let mut around = Around::of(lab(&["proxy"], &[&criterion(1, "as1", it)], &[]));
    let as1 = server(&mut around, "as1");
    let centre = format!("sip:+15550109000@{DOMAIN};user=phone");
    let body = "Content-Type: application/vnd.3gpp.sms\n\nx";
    let text = around.alices("MESSAGE", &centre, 1, body);
    around.p1.send(&mut around.bench, &text);
    let message = as1.heard_one(&mut around.bench, "MESSAGE");
    assert!(!message.headers.contains(HeaderName::RecordRoute));
    assert_eq!(&message.body[..], b"x\r\n");
    as1.answer(&mut around.bench, &message, 202, "");
    assert_eq!(around.p1.answered(&mut around.bench).status, 202);
    assert!(around.i1.heard(&mut around.bench, "MESSAGE").is_empty());
    // Any other message takes the way of its number.
    let text = around.alices("MESSAGE", &centre, 2, "Content-Type: text/plain\n\nx");
    around.p1.send(&mut around.bench, &text);
    around.i1.heard_one(&mut around.bench, "MESSAGE");
    assert!(as1.heard(&mut around.bench, "MESSAGE").is_empty());
}

fn rounds() {
    let mut around = Around::of(lab(&["proxy"], &[&criterion(1, "as1", INVITE)], &[]));
    let as1 = server(&mut around, "as1");
    let text = around.alices("INVITE", &impu(2), 1, "");
    around.p1.send(&mut around.bench, &text);
    let invite = as1.heard_one(&mut around.bench, "INVITE");
    assert_eq!(invite.headers.get(HeaderName::MaxForwards), Some("69"), "this hop counts");
    send_back(&as1, &mut around.bench, &invite, 100, |request| {
        request.headers.set(HeaderName::MaxForwards, "0");
    });
    assert_eq!(as1.answers(&mut around.bench, "483 INVITE").len(), 1);
    // A server that sends it back for ever.
    let mut passed = std::collections::BTreeSet::new();
    for n in 0..20 {
        send_back(&as1, &mut around.bench, &invite, n, |request| {
            request.headers.set(HeaderName::CallId, &format!("round{n}"));
        });
        let heard = around.i1.heard(&mut around.bench, "INVITE");
        passed.extend(heard.iter().filter_map(Request::call_id).map(str::to_owned));
    }
    assert_eq!(passed.len(), 16);
    let refused = as1.answers(&mut around.bench, "482 INVITE");
    let refused = refused.iter().filter_map(|it| it.headers.get(HeaderName::CallId));
    assert_eq!(refused.collect::<std::collections::BTreeSet<_>>().len(), 4);
}

fn unregistered() {
    let it = criterion(1, "as1", "all_of: [{session_case: terminating unregistered}]");
    // The server sends it to carol, say her mailbox.
    let to = format!("proxy to {}", impu(3));
    let mut bench = without_bob(&[&format!("\"{to}\"")], &[&it]);
    bench.play("alice calls bob\ncarol receives INVITE");
    assert_eq!(avps(&bench, "s1", "SAR", "Server-Assignment-Type"), [["3"]]);
    let invite = sent_to(&bench, "s1", bench.addr("as1"), "INVITE").remove(0);
    let served = format!("<{}>;sescase=term;regstate=unreg", impu(2));
    assert_eq!(invite.header("P-Served-User"), served);
    // It sends it back: nobody is there.
    let mut bench = without_bob(&["proxy"], &[&it]);
    bench.play("alice calls bob\nalice is call failed 480");
    assert_eq!(way(&bench, "INVITE")[3..], ["s1-as1", "as1-s1"]);
    assert_eq!(sent_to(&bench, "s1", bench.addr("as1"), "480 INVITE").len(), 1);
    // A service for who is registered is none for who is not.
    let other = criterion(1, "as1", "all_of: [{session_case: terminating}]");
    let mut bench = without_bob(&["proxy"], &[&other]);
    bench.play("alice calls bob\nalice is call failed 480");
    assert!(sent_to(&bench, "s1", bench.addr("as1"), "INVITE").is_empty());
}

fn terminating() {
    let bob = [
        criterion(1, "as1", "all_of: [{method: INVITE}, {session_case: terminating}]"),
        criterion(2, "as2", "all_of: [{method: INVITE}, {session_case: originating}]"),
    ];
    let bob: Vec<&str> = bob.iter().map(String::as_str).collect();
    let mut around = Around::of(lab(&["proxy", "proxy"], &[], &bob));
    let (as1, as2) = (server(&mut around, "as1"), server(&mut around, "as2"));
    let text = around.to_user("INVITE", &impu(2), 1, "");
    around.i1.send(&mut around.bench, &text);
    let invite = as1.heard_one(&mut around.bench, "INVITE");
    let routes = values(&invite, HeaderName::Route);
    assert!(routes[1].ends_with(&format!("@{};lr>", around.i1.to)), "{routes:?}");
    let served = format!("<{}>;sescase=term;regstate=reg", impu(2));
    assert_eq!(values(&invite, HeaderName::PServedUser), [served]);
    assert_eq!(invite.request_uri, impu(2), "not yet the contact");
    assert!(around.p1.heard(&mut around.bench, "INVITE").is_empty());
    send_back(&as1, &mut around.bench, &invite, 1, |_| {});
    let last = around.p1.heard_one(&mut around.bench, "INVITE");
    assert_eq!(values(&last, HeaderName::Route), [around.path.clone()]);
    assert_eq!(values(&last, HeaderName::PCalledPartyId), [format!("<{}>", impu(2))]);
    assert!(!last.headers.contains(HeaderName::PServedUser));
    assert!(as2.heard(&mut around.bench, "INVITE").is_empty());
    // An alias of the user is no other user.
    let text = around.to_user("INVITE", &impu(2), 2, "");
    around.i1.send(&mut around.bench, &text);
    let invite = as1.heard_one(&mut around.bench, "INVITE");
    let alias = format!("sip:bob@{DOMAIN}");
    send_back(&as1, &mut around.bench, &invite, 2, |request| {
        request.request_uri = alias.as_str().into();
    });
    let last = around.p1.heard_one(&mut around.bench, "INVITE");
    assert_eq!(values(&last, HeaderName::PCalledPartyId), [format!("<{alias}>")]);
    // Without the server it goes to the contact at once, or not at all.
    let text = around.to_user("INVITE", &impu(2), 3, "");
    around.i1.send(&mut around.bench, &text);
    let invite = as1.heard_one(&mut around.bench, "INVITE");
    as1.answer(&mut around.bench, &invite, 503, "");
    around.p1.heard_one(&mut around.bench, "INVITE");
}

fn diverted() {
    let bob = [
        criterion(1, "as1", "all_of: [{method: INVITE}, {session_case: terminating}]"),
        criterion(2, "as2", "all_of: [{method: INVITE}, {session_case: terminating}]"),
        criterion(3, "as3", "all_of: [{method: INVITE}, {session_case: originating cdiv}]"),
    ];
    let bob: Vec<&str> = bob.iter().map(String::as_str).collect();
    let to = format!("\"proxy to {}\"", impu(3));
    let mut bench = lab(&[&to, "proxy", "proxy"], &[], &bob);
    bench.register(&["alice", "bob", "carol"]);
    bench.mark();
    bench.play(
        // carol speaks no codec of alice's.
        "alice calls bob\ncarol receives INVITE\nalice is call failed 488",
    );
    assert!(sent_to(&bench, "p1", bench.addr("bob"), "INVITE").is_empty());
    assert!(sent_to(&bench, "s1", bench.addr("as2"), "INVITE").is_empty(), "the chain has ended");
    let invite = one(&bench, "s1", bench.addr("as3"), "INVITE");
    let served = format!("<{}>;orig-cdiv;regstate=reg", impu(2));
    assert_eq!(invite.header("P-Served-User"), served);
    assert_eq!(invite.request().request_uri, impu(3));
    let carols = one(&bench, "p1", bench.addr("carol"), "INVITE");
    assert_eq!(carols.header("P-Called-Party-ID"), format!("<{}>", impu(3)));
}

fn proxy() {
    let servers = ["proxy, record_route: on"];
    let mut bench = lab(&servers, &[&criterion(1, "as1", INVITE)], &[]);
    bench.register(&["alice", "bob"]);
    bench.mark();
    bench.play(
        "alice calls bob\nalice receives 180 for INVITE\nbob answers\nalice is call established\n\
         wait 1s\nbob hangs up\nalice is call ended\nwait 1s",
    );
    let (as1, s1) = (bench.addr("as1"), bench.addr("s1"));
    let (came, sent) = (one(&bench, "s1", as1, "INVITE"), one(&bench, "as1", s1, "INVITE"));
    let routes = |told: &Told| values(told.request(), HeaderName::Route);
    assert_eq!(routes(&came)[1..], routes(&sent), "its own is gone, ours is left");
    assert_eq!(came.request().request_uri, sent.request().request_uri);
    assert_eq!(came.header("Call-ID"), sent.header("Call-ID"));
    assert_eq!(values(sent.request(), HeaderName::RecordRoute)[0], format!("<sip:{as1};lr>"));
    assert_eq!(sent_to(&bench, "as1", s1, "100 INVITE").len(), 1);
    // It stays in the dialog: what is in it comes by.
    assert_eq!(way(&bench, "BYE").iter().filter(|hop| hop.contains("as1")).count(), 2);
    assert!(bench.stage.lab.crash("alice") && bench.stage.lab.crash("bob"));
}

fn refuses() {
    for status in [403, 480, 503] {
        let rest = format!("default_handling: terminated, {INVITE}");
        let behaviour = format!("refuses {status}");
        let mut bench = lab(&[&behaviour], &[&criterion(1, "as1", &rest)], &[]);
        bench.register(&["alice", "bob"]);
        bench.mark();
        bench.play("alice calls bob\nwait 2s");
        let (s1, p1) = (bench.addr("s1"), bench.addr("p1"));
        let label = format!("{status} INVITE");
        let reason = format!("SIP;cause={status}");
        assert_eq!(one(&bench, "as1", s1, &label).header("Reason"), reason);
        assert_eq!(one(&bench, "s1", p1, &label).header("Reason"), reason);
    }
}
