//! Calls, messages and refusals across all nodes.

use bytes::Bytes;
use cscf_core::config::PathMtu;
use cscf_core::engine::Engine;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, Told, header};
use scenarios::ue::{Ue, UeCommand};

use super::by_hand::{Hand, alice_and, both, charging, impu, one, sent_to};
use super::scscf_session::Around;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("call::each_hop_says_100_once", &["P-ORI-130"], trying),
        case("call::sdp_passes_byte_for_byte", &["P-SDP-030", "G-ICID-020"], unchanged),
        case("call::a_503_of_one_hop_is_500_for_the_next", &["P-OVL-030"], unavailable),
        case("call::hold_and_resume_pass_unchanged", &["M-HOLD-010"], hold),
        case("message::a_message_takes_all_steps_without_a_dialog", &["N-MSG-010"], message),
        case("message::unknown_methods_are_for_the_callee", &["N-UNK-010"], unknown_method),
        case("call::ringing_is_relayed_as_it_is", &["RC-183"], provisional),
        case("call::success_is_end_to_end", &["RC-200"], success),
        case("call::a_number_nobody_has_gives_404", &[], not_found),
        case("call::who_is_not_there_gives_480", &[], not_there),
        case("call::what_nobody_knows_gives_481", &[], no_such_dialog),
        case("call::unknown_status_codes_count_by_class", &["RC-UNK"], unknown_status),
        case("call::who_stays_on_the_way_of_a_dialog", &["G-ROUTE-020"], stays_on_the_way),
    ]
}

/// The addresses of the nodes of the core.
fn core(bench: &Bench) -> [std::net::SocketAddr; 3] {
    ["p1", "i1", "s1"].map(|node| bench.addr(node))
}

fn command(bench: &mut Bench, ue: &str, command: UeCommand) {
    let done = bench.stage.lab.with(ue, |node: &mut Engine<Ue>, now| node.command(now, command));
    done.expect("a UE");
    bench.run_for(Duration::from_secs(1));
}

/// alice and bob in a call; all of it is after the mark.
fn in_call() -> Bench {
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    bench.run_for(Duration::from_secs(1));
    bench.mark();
    bench.play(
        "alice calls bob\nalice receives 180 for INVITE\nbob answers\n\
         bob is call established\nalice is call established\nwait 1s",
    );
    bench
}

/// All SIP messages that were sent since the mark.
fn all_sent(bench: &Bench) -> Vec<Told> {
    ["alice", "p1", "s1", "i1", "bob"].iter().flat_map(|node| bench.sent(node)).collect()
}

fn trying() {
    let (mut bench, alice, bob) = both();
    let text = alice.request("INVITE", &impu(2), 1, "");
    alice.send(&mut bench, &text);
    bench.run_for(Duration::from_secs(5));
    let came = bench.received("p1").iter().find(|told| told.label() == "INVITE").map(|it| it.at);
    let trying = one(&bench, "p1", alice.addr, "100 INVITE");
    assert!((trying.at - came.expect("received")).as_millis() <= 200);
    assert!(!trying.header("To").contains("tag="));
    // The 100 of every further hop stays there.
    let heard = alice.answers(&mut bench, "");
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(bench.received("p1").iter().any(|told| told.label() == "100 INVITE"));
    assert!(!bob.heard(&mut bench, "INVITE").is_empty());
}

fn unchanged() {
    let mut bench = in_call();
    command(&mut bench, "alice", UeCommand::Hold);
    bench.play("bob hangs up\nbob is call ended");
    let sent = all_sent(&bench);
    // One message is told by Call-ID, CSeq and start line but the URI; its body never changes.
    let mut bodies: std::collections::BTreeMap<String, Bytes> = std::collections::BTreeMap::new();
    for told in &sent {
        let text = |name| header(&told.message, name);
        let key = format!("{} {} {} {}", told.label(), text("CSeq"), text("RSeq"), text("Call-ID"));
        let body = told.message.body().clone();
        let known = bodies.entry(key.clone()).or_insert_with(|| body.clone());
        assert_eq!(*known, body, "{key}");
    }
    let with_sdp = bodies.values().filter(|body| body.starts_with(b"v=0")).count();
    assert!(with_sdp >= 6, "INVITE, 183, UPDATE, 200, re-INVITE, 200: {with_sdp}");

    // All of the dialog has the charging identifier of its first request.
    let first = sent_to(&bench, "p1", bench.addr("s1"), "INVITE").remove(0);
    let icid = charging(&first.header("P-Charging-Vector"), "icid-value").expect("an icid");
    let core = core(&bench);
    let mut seen = std::collections::BTreeSet::new();
    for told in &sent {
        let inside = core.contains(&told.wire.local) && core.contains(&told.wire.remote);
        let same = told.header("Call-ID") == first.header("Call-ID");
        if !inside || !same || told.label() == "100 INVITE" || told.label() == "ACK" {
            continue;
        }
        let found = charging(&told.header("P-Charging-Vector"), "icid-value");
        assert_eq!(found.as_ref(), Some(&icid), "{} {:?}", told.label(), told.wire.remote);
        seen.insert(told.label());
    }
    for label in ["PRACK", "UPDATE", "INVITE", "BYE", "200 PRACK", "200 UPDATE", "200 BYE"] {
        assert!(seen.contains(label), "{label}: {seen:?}");
    }
    // Where it is missing, the one that is known is put in.
    let mut around = Around::new();
    let invite = around.alice_sends("INVITE", &impu(2), 1, "");
    around.i1.answer(&mut around.bench, &invite, 200, "");
    let made = around.p1.answered(&mut around.bench);
    let update = around.p1.in_dialog("UPDATE", 2, &made, "");
    around.p1.send(&mut around.bench, &update);
    let sent = around.i1.heard_one(&mut around.bench, "UPDATE");
    let vector = sent.headers.get(HeaderName::PChargingVector).unwrap_or_default();
    assert_eq!(charging(vector, "icid-value").as_deref(), Some("p1-1"));
}

fn unavailable() {
    let (mut bench, alice, bob) = both();
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, ""));
    let invite = bob.heard_one(&mut bench, "INVITE");
    bob.answer(&mut bench, &invite, 503, "Retry-After: 10");
    let told = one(&bench, "p1", bench.addr("s1"), "500 INVITE");
    assert_eq!(told.header("Retry-After"), "", "it was that hop's");
    let refused = alice.answered(&mut bench);
    assert_eq!(refused.status, 500);
    for node in ["p1", "i1", "s1"] {
        assert!(bench.sent(node).iter().all(|told| told.label() != "503 INVITE"), "{node}");
    }
}

/// A line of an SDP body.
fn lines<'a>(body: &'a str, start: &'a str) -> Vec<&'a str> {
    body.lines().filter(|line| line.starts_with(start)).collect()
}

fn direction(body: &str) -> &str {
    let all = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
    all.into_iter().find(|line| body.lines().any(|its| its == *line)).unwrap_or("a=sendrecv")
}

fn version(body: &str) -> u64 {
    let origin = lines(body, "o=")[0];
    origin.split(' ').nth(2).and_then(|text| text.parse().ok()).expect("a version")
}

fn hold() {
    let mut bench = in_call();
    let text = |told: &Told| String::from_utf8_lossy(told.message.body()).into_owned();
    let mut before: Option<String> = None;
    for told in bench.sent("alice") {
        if told.message.body().starts_with(b"v=0") {
            before = Some(text(&told));
        }
    }
    let mut before = before.expect("an offer");
    for (order, offered, answered) in [
        (UeCommand::Hold, "a=sendonly", "a=recvonly"),
        (UeCommand::Resume, "a=sendrecv", "a=sendrecv"),
    ] {
        bench.mark();
        command(&mut bench, "alice", order);
        let offers = bench.sent("alice");
        let offer = offers.iter().find(|told| told.message.body().starts_with(b"v=0"));
        let (method, offer) = offer.map(|told| (told.label(), text(told))).expect("an offer");
        assert_eq!(direction(&offer), offered);
        assert_eq!(version(&offer), version(&before) + 1);
        for kind in ["b=", "m=", "a=rtpmap", "a=fmtp"] {
            assert_eq!(lines(&offer, kind), lines(&before, kind));
        }
        let got = bench.received("bob");
        let got = got.iter().find(|told| told.label() == method).expect("passed on");
        assert_eq!(text(got), offer);
        let answers = bench.received("alice");
        let answer = answers.iter().find(|told| told.label() == format!("200 {method}"));
        assert_eq!(direction(&text(answer.expect("an answer"))), answered);
        before = offer;
    }
}

fn message() {
    let mut bench = Bench::new(&["alice", "bob", "carol"]);
    bench.register(&["alice", "bob"]);
    bench.run_for(Duration::from_secs(1));
    bench.mark();
    bench.play("alice sends message \"Hello\" to bob\nalice is message delivered");
    let [p1, i1, s1] = core(&bench);
    for (node, peer) in [("p1", s1), ("s1", i1), ("i1", s1), ("s1", p1), ("p1", bench.addr("bob"))]
    {
        let hop = one(&bench, node, peer, "MESSAGE");
        assert_eq!(hop.header("Record-Route"), "");
    }
    let delivered = one(&bench, "p1", bench.addr("alice"), "200 MESSAGE");
    assert_eq!(delivered.header("Contact"), "", "no dialog");
    let dialogs = bench.remainders();
    assert!(!dialogs.iter().any(|(node, what, _)| node == "s1" && *what == "dialogs"));
    // carol is not registered, and nobody stores for her.
    bench.mark();
    bench.play("alice sends message \"Hello\" to carol\nwait 1s");
    one(&bench, "p1", bench.addr("alice"), "480 MESSAGE");

    // More than 1300 bytes go by TCP where the path MTU is not known.
    let source = "scenario: none\nparties:\n  alice: {}\n  bob: {}\nsteps: []\n";
    let mut bench = Bench::with_lab(source, 1, |lab| lab.path_mtu = PathMtu::Unknown);
    bench.register(&["alice", "bob"]);
    for (text, tcp) in [("short".to_owned(), false), ("long ".repeat(300), true)] {
        bench.mark();
        bench.play(&format!(
            "alice sends message \"{}\" to bob\nbob is message received",
            text.trim_end()
        ));
        let sent = sent_to(&bench, "alice", bench.addr("p1"), "MESSAGE");
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].wire.transport.param_name() == "tcp", tcp);
    }
}

fn unknown_method() {
    let (mut bench, alice) = alice_and(&["bob"]);
    for (n, (method, status)) in (1..).zip([("FOO", 501), ("PUBLISH", 405)]) {
        bench.mark();
        alice.send(&mut bench, &alice.request(method, &impu(2), n, "Refer-To: <sip:x@y>"));
        let refused = alice.answered(&mut bench);
        assert_eq!(refused.status, status, "{method}");
        let allow = refused.headers.get(HeaderName::Allow).unwrap_or_default();
        assert!(allow.contains("INVITE") && !allow.contains(method), "{allow}");
        one(&bench, "bob", bench.addr("p1"), &format!("{status} {method}"));
        for node in ["p1", "s1", "i1"] {
            assert!(bench.sent(node).iter().any(|told| told.label() == method), "{node}");
        }
    }
}

/// The lines of a message but those that change from hop to hop.
fn end_to_end(told: &Told) -> Vec<String> {
    let hops = ["Via", "P-Asserted-Identity", "P-Charging-Vector", "P-Access-Network-Info"];
    let fields = told.message.headers().iter();
    let fields = fields.filter(|field| !hops.contains(&field.name_text()));
    fields.map(|field| String::from_utf8_lossy(field.line()).into_owned()).collect()
}

fn provisional() {
    let bench = in_call();
    let asserted = format!("<{}>", impu(2));
    for label in ["183 INVITE", "180 INVITE"] {
        let said = one(&bench, "bob", bench.addr("p1"), label);
        assert!(said.header("To").contains("tag="));
        assert!(said.header("Contact").contains("sip:"));
        let invite = one(&bench, "p1", bench.addr("bob"), "INVITE");
        assert_eq!(said.header("Record-Route"), invite.header("Record-Route"));
        assert_eq!(said.header("P-Asserted-Identity"), "");
        let edge = one(&bench, "p1", bench.addr("s1"), label);
        assert_eq!(edge.header("P-Asserted-Identity"), asserted);
        let heard = one(&bench, "p1", bench.addr("alice"), label);
        for hop in all_sent(&bench).iter().filter(|told| told.label() == label) {
            assert_eq!(end_to_end(hop), end_to_end(&said), "{label}");
            assert_eq!(hop.message.body(), said.message.body());
        }
        assert!(heard.header("P-Asserted-Identity").starts_with(&asserted));
        assert_eq!(heard.header("P-Early-Media"), "", "nothing is authorised");
    }
    let progress = one(&bench, "bob", bench.addr("p1"), "183 INVITE");
    assert!(progress.message.body().starts_with(b"v=0"), "the answer");
    assert!(progress.header("Require").contains("100rel"));
    let (rseq, cseq) = (progress.header("RSeq"), progress.header("CSeq"));
    let pracks = bench.received("bob");
    let prack = pracks.iter().find(|told| told.label() == "PRACK").expect("PRACK");
    assert_eq!(prack.header("RAck"), format!("{rseq} {cseq}"));
    // Alerting waits for the resources of both sides, and is told by 180 alone.
    let ringing = one(&bench, "bob", bench.addr("p1"), "180 INVITE");
    let ready = bench.received("bob");
    let ready = ready.iter().find(|told| told.label() == "UPDATE").expect("UPDATE");
    assert!(ringing.at >= ready.at && progress.at < ready.at);
    let heard = one(&bench, "p1", bench.addr("alice"), "180 INVITE");
    let states = bench.stage.lab.trace().iter().filter(|event| &*event.node == "alice");
    let ring = states.filter_map(|event| match &event.kind {
        cscf_core::trace::TraceKind::State(text) if text.starts_with("call ringing") => {
            Some(event.at)
        }
        _ => None,
    });
    assert!(ring.min().expect("rings") >= heard.at, "no ringback by 183");
}

fn success() {
    let (mut bench, alice, bob) = both();
    let sdp = "Content-Type: application/sdp\n\nv=0\no=- 9 1 IN IP4 10.0.0.2\ns=-\n\
               c=IN IP4 10.0.0.2\nt=0 0\nm=audio 7000 RTP/AVP 97\na=rtpmap:97 AMR-WB/16000";
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, sdp));
    let invite = bob.heard_one(&mut bench, "INVITE");
    bob.answer(&mut bench, &invite, 200, sdp);
    let answer = alice.answered(&mut bench);
    assert!(answer.body.starts_with(b"v=0"));
    assert!(answer.headers.get(HeaderName::Contact).unwrap_or_default().contains("127.1.0.102"));
    let routes: Vec<&str> = answer.headers.values(HeaderName::RecordRoute).collect();
    let wanted: Vec<&str> = invite.headers.values(HeaderName::RecordRoute).collect();
    assert_eq!(routes, wanted);
    // Nobody acknowledges for alice; then her ACK goes all the way.
    bench.run_for(Duration::from_secs(1));
    assert!(bob.heard(&mut bench, "ACK").is_empty());
    alice.send(&mut bench, &alice.in_dialog("ACK", 1, &answer, ""));
    assert_eq!(bob.heard(&mut bench, "ACK").len(), 1);
    bench.heard(&alice.name);
    alice.send(&mut bench, &alice.in_dialog("BYE", 2, &answer, ""));
    let bye = bob.heard_one(&mut bench, "BYE");
    assert!(alice.answers(&mut bench, "200 BYE").is_empty(), "only the other end answers");
    bob.answer(&mut bench, &bye, 200, "");
    assert_eq!(alice.answers(&mut bench, "200 BYE").len(), 1);
    // The 200 to CANCEL is the next hop's own.
    bench.mark();
    let text = alice.request("INVITE", &impu(2), 7, "");
    alice.send(&mut bench, &text);
    let invite = bob.heard_one(&mut bench, "INVITE");
    bob.answer(&mut bench, &invite, 180, "");
    bench.heard(&alice.name);
    let cancel = text.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL");
    alice.send(&mut bench, &cancel);
    let cancelled = alice.answers(&mut bench, "200 CANCEL").remove(0);
    let to = cancelled.headers.get(HeaderName::To).unwrap_or_default();
    assert!(to.contains(";tag=") && !to.contains("tag=hand"), "{to}");
    assert!(sent_to(&bench, "s1", bench.addr("p1"), "200 CANCEL")[0].header("To").contains("tag="));
}

fn not_found() {
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    bench.run_for(Duration::from_secs(1));
    bench.mark();
    for (uri, node) in [
        ("tel:+15550109999".to_owned(), "i1"),
        (format!("sip:001010000000002@{DOMAIN}"), "s1"),
        (format!("sip:5551234@{DOMAIN};user=phone"), "s1"),
    ] {
        bench.mark();
        bench.play(&format!("alice calls {uri}\nalice is call failed 404"));
        let first = all_sent(&bench).into_iter().filter(|told| told.label() == "404 INVITE");
        let first = first.min_by_key(|told| told.at).expect("404");
        assert_eq!(first.wire.local, bench.addr(node), "{uri}");
        assert!(bench.received("bob").is_empty());
    }
    // To register as nobody is forbidden, not unknown.
    let mallory = "scenario: m\nparties:\n  mallory:\n    subscriber:\n      impi: \"001010000000099\"\n      \
                   impus: [\"sip:+15550100099@ims.mnc001.mcc001.3gppnetwork.org;user=phone\"]\n      \
                   aka: {k: \"30313233343536373839616263646566\", op: \"CDC202D5123E20F62B6D676AC72CB318\"}\n\
                   steps: []\n";
    let mut bench = Bench::of(mallory);
    bench.play("mallory registers\nmallory is registration failed 403");
}

fn unknown_status() {
    for status in [199, 418, 607, 599] {
        let (mut bench, alice, bob) = both();
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, ""));
        let invite = bob.heard_one(&mut bench, "INVITE");
        let text = bob.response(&invite, status, "X-Own: kept");
        let line = text.lines().next().unwrap_or_default().to_owned();
        bob.send(&mut bench, &text.replacen(&line, &format!("SIP/2.0 {status} As it is"), 1));
        let told = alice.answers(&mut bench, &format!("{status} INVITE"));
        let told = told.first().unwrap_or_else(|| panic!("{status} is relayed"));
        assert_eq!(told.reason, "As it is");
        assert_eq!(header(&Message::Response(told.clone()), "X-Own"), "kept");
    }
    // At a phone: a provisional one changes nothing, a final one ends the call.
    let mut bench = Bench::new(&["alice", "bob"]);
    let bob = Hand::registered(&mut bench, "bob");
    bench.register(&["alice"]);
    bench.heard(&bob.name);
    bench.play("alice calls bob\nwait 100ms");
    let invite = bob.heard_one(&mut bench, "INVITE");
    bob.answer(&mut bench, &invite, 188, "");
    bench.play("wait 1s");
    bob.answer(&mut bench, &invite, 418, "");
    bench.play("alice is call failed 418");
    assert_eq!(bob.heard(&mut bench, "ACK").len(), 1);
}

/// Both P-CSCFs and the S-CSCF of each side stay on the way of what makes a dialog, and nobody on
/// that of anything else.
fn stays_on_the_way() {
    let lines = |method: &str| match method {
        "SUBSCRIBE" => "Event: presence\nExpires: 600",
        "REFER" => "Refer-To: <sip:carol@ims.example>",
        "PUBLISH" => "Event: presence",
        _ => "",
    };
    for method in ["INVITE", "SUBSCRIBE", "REFER", "MESSAGE", "OPTIONS", "PUBLISH", "FROB"] {
        let (mut bench, alice, bob) = both();
        alice.send(&mut bench, &alice.request(method, &impu(2), 1, lines(method)));
        let came = bob.heard_one(&mut bench, method);
        let routes = came.headers.addresses(HeaderName::RecordRoute).expect("addresses");
        let place = |uri: &cscf_core::sip::Uri| {
            format!("{}:{}", uri.host().expect("host"), uri.port().unwrap_or(5060))
        };
        let hosts: Vec<String> = routes.iter().map(|route| place(&route.uri)).collect();
        let [p1, _, s1] = core(&bench).map(|addr| addr.to_string());
        let expected = match method {
            "INVITE" | "SUBSCRIBE" | "REFER" => vec![p1.clone(), s1.clone(), s1, p1],
            _ => Vec::new(),
        };
        assert_eq!(hosts, expected, "{method}");
    }
}

fn not_there() {
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice"]);
    bench.mark();
    bench.play("alice calls bob\nalice is call failed 480");
    one(&bench, "i1", bench.addr("s1"), "480 INVITE");
    // The caller is free to try again: bob is there now.
    bench.register(&["bob"]);
    bench.play("alice calls bob\nalice receives 180 for INVITE");
    // The HSS does not answer, or no contact can what is wanted, or the flow failed.
    let (mut bench, alice, bob) = both();
    let wish = "Accept-Contact: *;+g.unheard-of;require;explicit";
    alice.send(&mut bench, &alice.request("MESSAGE", &impu(2), 1, wish));
    assert_eq!(alice.answered(&mut bench).status, 480);
    one(&bench, "s1", bench.addr("i1"), "480 MESSAGE");
    assert!(bench.heard(&bob.name).is_empty());
    let mut around = Around::new();
    let text = around.to_user("MESSAGE", &impu(2), 1, "");
    around.i1.send(&mut around.bench, &text);
    let sent = around.p1.heard_one(&mut around.bench, "MESSAGE");
    around.p1.answer(&mut around.bench, &sent, 430, "");
    assert_eq!(around.i1.answered(&mut around.bench).status, 480);
    assert!(bench.stage.lab.crash("hss"));
    alice.send(&mut bench, &alice.request("MESSAGE", &impu(2), 2, ""));
    bench.run_for(Duration::from_secs(10));
    assert_eq!(alice.answered(&mut bench).status, 480);
    // An S-CSCF that answers a REGISTER so is not the only one.
    let (mut bench, p1, s1) = super::icscf_session::around_with(|config| {
        let uri = "sip:127.1.0.77:6060".to_owned();
        config.scscfs.push(i_cscf::ScscfConfig { uri, capabilities: Vec::new() });
    });
    let second = "127.1.0.77:6060".parse().expect("address");
    bench.raw_at("another S-CSCF", second);
    let proof = format!(
        "Authorization: Digest username=\"carol@{DOMAIN}\",realm=\"{DOMAIN}\",\
         uri=\"sip:{DOMAIN}\",nonce=\"\",response=\"\""
    );
    let register = p1.request("REGISTER", &format!("sip:{DOMAIN}"), 1, &proof);
    let carol = format!("To: <sip:carol@{DOMAIN}>");
    p1.send(&mut bench, &register.replace(&format!("To: <sip:{DOMAIN}>"), &carol));
    let register = s1.heard_one(&mut bench, "REGISTER");
    s1.answer(&mut bench, &register, 480, "");
    assert_eq!(sent_to(&bench, "i1", second, "REGISTER").len(), 1, "the next one is tried");
    assert!(p1.answers(&mut bench, "480 REGISTER").is_empty());
}

fn no_such_dialog() {
    // A BYE with another tag, at the phone.
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["bob"]);
    let alice = Hand::registered(&mut bench, "alice");
    let lines = "Supported: timer";
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, lines));
    let ringing = alice.answers(&mut bench, "180 INVITE");
    let mut ringing = ringing.into_iter().next().expect("it rings");
    let to = ringing.headers.get(HeaderName::To).unwrap_or_default().to_owned();
    ringing.headers.set(HeaderName::To, &format!("{to}x"));
    alice.send(&mut bench, &alice.in_dialog("BYE", 2, &ringing, ""));
    assert_eq!(alice.answered(&mut bench).status, 481);
    one(&bench, "bob", bench.addr("p1"), "481 BYE");
    // A CANCEL for nothing, at the first CSCF.
    bench.mark();
    let cancel = alice.request("CANCEL", &impu(2), 9, "");
    alice.send(&mut bench, &cancel);
    assert_eq!(alice.answered(&mut bench).status, 481);
    assert!(bench.sent("p1").iter().all(|told| told.wire.remote == alice.addr));
    // Whoever is told so drops the call, and says no BYE.
    let mut bench = Bench::new(&["alice", "bob"]);
    let bob = Hand::registered(&mut bench, "bob");
    bench.register(&["alice"]);
    bench.heard(&bob.name);
    bench.play("alice calls bob\nwait 100ms");
    let invite = bob.heard_one(&mut bench, "INVITE");
    let offer = String::from_utf8_lossy(&invite.body).replace("\r\n", "\n");
    let answer = offer.replace("a=curr:qos remote none", "a=curr:qos remote sendrecv");
    let answer = answer.replace("RTP/AVP 97 98 99 100", "RTP/AVP 97 99");
    let lines = format!("Content-Type: application/sdp\n\n{}", answer.trim_end());
    bob.answer(&mut bench, &invite, 200, &lines);
    bench.play("alice is call established");
    bench.heard(&bob.name);
    command(&mut bench, "alice", UeCommand::Hold);
    let held = bench.heard(&bob.name).into_iter().find_map(|message| match message {
        Message::Request(request) if request.method.as_str() != "ACK" => Some(request),
        _ => None,
    });
    bob.answer(&mut bench, &held.expect("a new offer"), 481, "");
    bench.play("alice is call ended\nwait 5s");
    assert!(bob.heard(&mut bench, "BYE").is_empty());
}
