//! What passes the edge of the trust domain at the P-CSCF, and who is inside it
//! (TS 24.229 §4.4, §4.5).

use std::net::SocketAddr;

use cscf_core::auth::IntegrityProtected;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, Told, header, label};

use super::by_hand;
use super::hand::{A_MOMENT, Hand, asked, response, values};
use super::pcscf_register::{
    edge, forwarded, home_says, icid, ok_lines, register, request, sends, to_home,
};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("trust::an_asserted_identity_is_its_own", &["G-TRUST-010"], asserted),
        case("trust::privacy_hides_the_identity_at_the_edge", &["G-TRUST-020"], privacy),
        case("trust::what_is_of_the_domain_stays_inside", &["G-TRUST-030"], stays_inside),
        case("trust::trust_is_by_peer", &["G-TRUST-040"], trust),
        case("trust::a_peer_can_be_said_to_be_a_stranger", &["G-TRUST-040"], flipped),
        case("trust::no_stranger_gets_into_a_dialog", &["G-TRUST-040"], dialogs),
        case("trust::each_request_has_its_own_icid", &["G-ICID-010"], icids),
        case("trust::charging_stays_inside", &["G-ICID-030"], charging_stays),
    ]
}

fn asserted() {
    let mut hand = edge();
    let route = to_home(&hand);
    register(&mut hand, &[&route]);
    let forged = format!("P-Asserted-Identity: <sip:bob@{DOMAIN}>\n");
    let came = sends(&mut hand, "MESSAGE", &forged);
    let own = header(&came, "P-Asserted-Identity");
    assert!(own.contains("+15550100001") && !own.contains("bob"), "{own}");
}

/// A request of the core for the UE, by its Path.
fn core_sends(hand: &mut Hand, path: &str, lines: &str) -> Message {
    hand.cseq += 1;
    let (home, cseq) = (to_home(hand), hand.cseq);
    let home = home.trim_start_matches("sip:s@").to_owned();
    let contact = hand.contact.split(['<', '>']).nth(1).expect("a URI").to_owned();
    let text = format!(
        "MESSAGE {contact} SIP/2.0\n\
         Via: SIP/2.0/UDP {home};branch=z9hG4bK-c{cseq}\n\
         Max-Forwards: 60\n\
         Route: {path}\n\
         From: <sip:bob@{DOMAIN}>;tag=c{cseq}\n\
         To: <sip:alice@{DOMAIN}>\n\
         Call-ID: c{cseq}\n\
         CSeq: 1 MESSAGE\n\
         P-Asserted-Identity: <sip:bob@{DOMAIN}>, <tel:+15550100002>\n\
         {lines}Content-Length: 0\n"
    );
    let to = hand.bench.addr("p1");
    hand.bench.send("home", to, &text);
    hand.bench.run_for(A_MOMENT);
    let heard = hand.bench.heard("ue");
    heard.into_iter().rev().find(|it| label(it) == "MESSAGE").expect("it arrives")
}

/// Registers and gives the Path.
fn with_path(hand: &mut Hand) -> String {
    let lines = hand.unchallenged(None);
    let came = forwarded(hand, &lines);
    let route = to_home(hand);
    let ok = ok_lines(hand, &[&route]);
    home_says(hand, &came, "200 OK", &ok).expect("a 200");
    values(&came, HeaderName::Path)[0].clone()
}

fn privacy() {
    let mut hand = edge();
    let path = with_path(&mut hand);
    for (lines, shown) in [
        ("", true),
        ("Privacy: none\n", true),
        ("Privacy: id\n", false),
        ("Privacy: header;id\n", false),
    ] {
        let came = core_sends(&mut hand, &path, lines);
        assert_eq!(header(&came, "P-Asserted-Identity").is_empty(), !shown, "{lines}");
        // The same in a response.
        let request = sends(&mut hand, "MESSAGE", "");
        let asserted = format!("P-Asserted-Identity: <sip:bob@{DOMAIN}>\n{lines}");
        let answer = home_says(&mut hand, &request, "200 OK", &asserted).expect("a 200");
        assert_eq!(header(&answer, "P-Asserted-Identity").is_empty(), !shown, "{lines}");
    }
}

/// Headers that no UE may see, one a line.
const INSIDE: &str = "P-Charging-Vector: icid-value=1;orig-ioi=x
P-Charging-Function-Addresses: ccf=192.0.2.1
P-Served-User: <sip:alice@x>;sescase=term;regstate=reg
P-Profile-Key: <sip:a@x>
P-User-Database: <aaa://hss.x>
P-Asserted-Service: urn:urn-7:3gpp-service.ims.icsi.mmtel
Restoration-Info: noresponse
Relayed-Charge: transit;x=1
Response-Source: type=\"s-cscf\"
Subject: seen
";

fn stays_inside() {
    let mut hand = edge();
    by_hand::reconfigure(&mut hand.bench, |config| config.reason_to_ue = false);
    hand.contact = hand.contact.replace(">;", ";x=1>;");
    let path = with_path(&mut hand);
    let hidden = |came: &Message| {
        for line in INSIDE.lines() {
            let (name, value) = line.split_once(": ").expect("a header");
            let expected = if name == "Subject" { value } else { "" };
            assert_eq!(header(came, name), expected, "{name} in {}", label(came));
        }
        let text = String::from_utf8_lossy(&match came {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        })
        .into_owned();
        assert!(!text.contains("iotl"), "{text}");
    };
    let lines = format!("{INSIDE}Record-Route: <sip:s@192.0.2.1;lr;iotl=visitedb-homeb>\n");
    hand.contact = hand.contact.replace(";x=1>", ";x=1;iotl=homea-homeb>");
    let came = core_sends(&mut hand, &path, &lines);
    hidden(&came);
    assert_eq!(header(&came, "Record-Route"), "<sip:s@192.0.2.1;lr>");
    let Message::Request(request) = &came else { panic!("a request") };
    assert!(request.request_uri.ends_with(";x=1"), "{}", request.request_uri);
    // The same in responses, with the reason that the operator keeps for himself.
    let request = sends(&mut hand, "MESSAGE", "");
    let lines = format!("{lines}Reason: Q.850;cause=1\n");
    let answer = home_says(&mut hand, &request, "404 Not Found", &lines).expect("an answer");
    hidden(&answer);
    assert_eq!(header(&answer, "Reason"), "");
    // It did come to p1.
    let came = hand.bench.received("p1").into_iter().rev();
    let came = came.map(|told| told.message).find(|it| label(it) == "404 MESSAGE");
    assert_eq!(header(&came.expect("it came"), "Restoration-Info"), "noresponse");
    let service_route = to_home(&hand) + ";iotl=homea-visiteda";
    let lines = hand.unchallenged(None);
    let came = forwarded(&mut hand, &lines);
    hand.contact = hand.contact.replace(";iotl=homea-homeb", "");
    let ok = ok_lines(&hand, &[&service_route]) + INSIDE.split_once('\n').expect("lines").1;
    let ok = ok.replacen("P-Charging-Function-Addresses: ccf=\"aaa://ccf\"\n", "", 1);
    hidden(&home_says(&mut hand, &came, "200 OK", &ok).expect("a 200"));
}

fn trust() {
    // The same REGISTER and the same MESSAGE from a trusted peer and from another one.
    let s1_hears = |trusted: bool, text: &dyn Fn(&Hand) -> String| {
        let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
        hand.registered(Some(IntegrityProtected::No), Some(IntegrityProtected::Yes));
        let other = hand.bench.raw("other");
        let home = hand.at;
        let (peer, at) = if trusted { ("fake", home) } else { ("other", other) };
        let text = text(&hand).replace("PEER", &at.to_string());
        hand.bench.mark();
        let to = hand.to;
        hand.bench.send(peer, to, &text);
        hand.bench.run_for(A_MOMENT);
        hand
    };
    for (trusted, expected) in [(true, "401"), (false, "403")] {
        for node in ["i1", "s1"] {
            let mut hand = Hand::at_icscf(Bench::new(&[]), "carol");
            hand.to = hand.bench.addr(node);
            let other = hand.bench.raw("other");
            let lines = hand.unchallenged(None);
            let mut text = hand.next(&lines);
            let peer = if trusted { "fake" } else { "other" };
            if !trusted {
                text = text.replace(&format!("UDP {}", hand.at), &format!("UDP {other}"));
            }
            let to = hand.to;
            hand.bench.send(peer, to, &text);
            hand.bench.run_for(A_MOMENT);
            let heard = hand.bench.heard(peer);
            let answer = heard.last().expect("an answer");
            assert_eq!(label(answer), format!("{expected} REGISTER"), "{node}");
        }
    }
    for trusted in [true, false] {
        let hand = s1_hears(trusted, &|hand| {
            format!(
                "MESSAGE sip:alice@{DOMAIN} SIP/2.0\n\
                 Via: SIP/2.0/UDP PEER;branch=z9hG4bK-t\n\
                 Route: <sip:{};lr>\n\
                 Max-Forwards: 70\n\
                 From: <sip:bob@{DOMAIN}>;tag=t\n\
                 To: <sip:alice@{DOMAIN}>\n\
                 Call-ID: t\n\
                 CSeq: 1 MESSAGE\n\
                 P-Asserted-Identity: <sip:bob@{DOMAIN}>\n\
                 Content-Length: 0\n",
                hand.to
            )
        });
        let sent = hand.bench.sent("s1");
        let message = sent.iter().find(|told| told.label() == "MESSAGE");
        let asserted = message.map(|told| told.header("P-Asserted-Identity")).unwrap_or_default();
        assert_eq!(asserted.contains("bob"), trusted, "{asserted}");
    }
}

/// The lab says that p1 is no trusted peer, and later that it is.
fn flipped() {
    for (untrusted, state) in [("", "registered"), ("untrusted: [p1]", "registration failed 403")] {
        let source =
            format!("scenario: x\nparties:\n  alice: {{}}\nlab: {{{untrusted}}}\nsteps: []\n");
        let mut bench = Bench::of(&source);
        bench.play(&format!("alice registers\nalice is {state}"));
        // The refusal is of i1, which asks the HSS nothing.
        let asked = asked(&bench, "i1", "UAR").len();
        assert_eq!(asked > 0, untrusted.is_empty(), "{asked}");
    }
}

/// Requests in dialogs from an address that nobody trusts, along a Route into the home network.
fn dialogs() {
    let (mut bench, _, bob, answer, _) = by_hand::call();
    let stranger = by_hand::Hand::stranger(&mut bench, "s1");
    let (i1, s1, p1) = (bench.addr("i1"), bench.addr("s1"), bench.addr("p1"));
    let routes: Vec<&str> = answer.headers.values(HeaderName::RecordRoute).collect();
    let routes = |node: SocketAddr| {
        let node = node.to_string();
        let from = routes.iter().rev().skip_while(|route| !route.contains(&node));
        from.map(|route| format!("Route: {route}\n")).collect::<String>()
    };
    let own = |node: &str| format!("Route: <sip:{node};lr>\n");
    let by_party = routes(s1);
    assert!(by_party.contains(&s1.to_string()), "{by_party}");
    // What nobody but the parties knows: Call-ID and tags.
    let mut cseq = 7;
    let mut party = |method: &str, routes: &str| {
        cseq += 1;
        let text = stranger.in_dialog(method, cseq, &answer, "Content-Length: 0");
        let lines = text.lines().filter(|line| !line.starts_with("Route:"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        text.replacen("Max-Forwards", &format!("{routes}Max-Forwards"), 1)
    };
    let guess = |text: String| text.replace("Call-ID: call1", "Call-ID: guessed");
    for (node, method, routes, known) in [
        (i1, "BYE", own(&i1.to_string()) + &own(&p1.to_string()), true),
        (i1, "INFO", own(&i1.to_string()), true),
        (s1, "BYE", by_party.clone(), false),
        (s1, "BYE", own(&s1.to_string()) + &own(&p1.to_string()), true),
        (s1, "ACK", by_party.clone(), false),
        (s1, "SUBSCRIBE", String::new(), true),
    ] {
        let text = party(method, &routes);
        let text = if known { text } else { guess(text) };
        let before = bob.heard(&mut bench, method).len();
        bench.mark();
        bench.send(&stranger.name, node, &text);
        bench.run_for(A_MOMENT);
        let node = if node == i1 { "i1" } else { "s1" };
        let sent: Vec<String> = bench.sent(node).iter().map(Told::label).collect();
        let expected: &[String] = &[format!("403 {method}")];
        assert_eq!(sent, if method == "ACK" { &[] } else { expected }, "{node} {routes}");
        assert!(bench.notes(node).iter().any(|note| note.refusal), "{node} {method}");
        let heard = bob.heard(&mut bench, method).len();
        assert_eq!((before, heard), (0, 0), "{method}");
    }
    // A party is known by what only it knows, wherever it sends from; its claims are taken off.
    let text = party("INFO", &by_party);
    let claim = "P-Asserted-Identity: <sip:boss@x.example>\nMax-Forwards";
    bench.send(&stranger.name, s1, &text.replacen("Max-Forwards", claim, 1));
    bench.run_for(A_MOMENT);
    let sent = bench.sent("s1");
    let sent = sent.iter().find(|told| told.label() == "INFO").expect("it goes on");
    assert_eq!(sent.header("P-Asserted-Identity"), "");
}

fn icids() {
    let mut hand = edge();
    let route = to_home(&hand);
    let mut seen = Vec::new();
    let lines = hand.unchallenged(None);
    let came = forwarded(&mut hand, &lines);
    seen.push(icid(&came));
    let ok = ok_lines(&hand, &[&route]);
    home_says(&mut hand, &came, "200 OK", &ok).expect("a 200");
    for (method, lines) in [
        ("INVITE", ""),
        ("SUBSCRIBE", "Event: presence\n"),
        ("MESSAGE", ""),
        ("PUBLISH", "Event: presence\n"),
        ("OPTIONS", ""),
    ] {
        let text = request(&mut hand, method, lines);
        // The UE sends it twice, the core gets it anew until it answers.
        hand.send(&text);
        hand.send(&text);
        hand.bench.run_for(Duration::from_secs(3));
        let heard = hand.bench.heard("home");
        let mut copies: Vec<String> = heard
            .iter()
            .filter(|it| label(it) == method && header(it, "Call-ID").starts_with('r'))
            .map(icid)
            .collect();
        assert!(copies.len() > 1, "{method}: {}", copies.len());
        assert!(
            heard
                .iter()
                .filter(|it| label(it) == method && header(it, "Call-ID").starts_with('r'))
                .all(|it| { header(it, "P-Charging-Vector").contains("icid-generated-at=") })
        );
        copies.dedup();
        let [one] = copies.as_slice() else { panic!("{method}: {copies:?}") };
        seen.push(one.clone());
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), count), (6, 6));
}

fn charging_stays() {
    let mut hand = edge();
    let both = "P-Charging-Vector: icid-value=\"mine\"\nP-Charging-Function-Addresses: ccf=mine\n";
    // From the UE.
    let path = with_path(&mut hand);
    let came = sends(&mut hand, "MESSAGE", both);
    assert!(!header(&came, "P-Charging-Vector").contains("mine"));
    assert_eq!(header(&came, "P-Charging-Function-Addresses"), "");
    // To the UE, in responses and requests.
    let answer = home_says(&mut hand, &came, "200 OK", both).expect("a 200");
    let request = core_sends(&mut hand, &path, both);
    for message in [&answer, &request] {
        assert_eq!(header(message, "P-Charging-Vector"), "");
        assert_eq!(header(message, "P-Charging-Function-Addresses"), "");
    }
    // From the UE, in a response.
    let to = hand.bench.addr("p1");
    let theirs = both.replace("mine", "theirs");
    hand.bench.send("ue", to, &response(&request, "200 OK", &theirs));
    hand.bench.run_for(A_MOMENT);
    let heard = hand.bench.heard("home");
    let answer = heard.iter().find(|it| label(it) == "200 MESSAGE").expect("it arrives");
    assert!(!header(answer, "P-Charging-Vector").contains("theirs"));
    assert_eq!(header(answer, "P-Charging-Function-Addresses"), "");
}
