//! What an S-CSCF answers to REGISTER, and to a reg SUBSCRIBE, when it will not or cannot: one case
//! a status code (RFC 3261 §21, TS 24.229 §5.4.1, §5.4.2), each with what else must not happen.

use cscf_core::auth::IntegrityProtected;
use cscf_core::cx::{CxCommand, CxResult};
use cscf_core::hss::Misbehaviour;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_core::transport::ipsec::Offer;
use cscf_tests::{Bench, DOMAIN, Told, header, label};

use super::hand::{A_MOMENT, Hand, restart_s1};
use super::hss_faults::misbehave;
use super::reg_event::subscribe;
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("scscf_refusals::a_register_gets_403", &["RC-403d"], forbidden),
        case("scscf_refusals::who_may_not_ask_gets_403", &["RC-403e"], strangers),
        case("scscf_refusals::a_method_a_ue_or_server_lacks_gets_405", &["RC-405"], not_allowed),
        case("scscf_refusals::a_request_to_be_proven_gets_407", &["RC-407"], proxy_authentication),
        case("scscf_refusals::a_short_registration_gets_423", &["RC-423a"], too_brief),
        case("scscf_refusals::a_lost_registration_gets_500", &["RC-500b"], lost),
        case("scscf_refusals::too_many_challenges_get_503", &["RC-503a"], overloaded),
        case("scscf_refusals::a_silent_hss_or_lost_data_get_504", &["RC-504c"], timed_out),
    ]
}

fn alice() -> Hand {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    hand.impu = impu();
    hand
}

fn impu() -> String {
    format!("sip:+15550100001@{DOMAIN};user=phone")
}

fn challenged(hand: &mut Hand) -> Message {
    let first = hand.unchallenged(NO);
    let asked = hand.register(&first);
    assert_eq!(label(&asked), "401 REGISTER");
    asked
}

/// A 403 without a challenge, and nothing of the REGISTER went further.
fn is_forbidden(hand: &Hand, what: &str, answer: &Message) {
    assert_eq!(label(answer), "403 REGISTER", "{what}");
    assert_eq!(header(answer, "WWW-Authenticate"), "", "{what}");
    let sent = hand.bench.sent("s1");
    assert!(sent.iter().all(|told| told.label() != "REGISTER"), "{what}");
    assert!(hand.bench.notes("s1").iter().any(|note| note.refusal), "{what}");
}

fn forbidden() {
    let mut hand = alice();
    let asked = challenged(&mut hand);
    let wrong = hand.wrong(&asked, YES);
    let answer = hand.register(&wrong);
    is_forbidden(&hand, "a wrong RES", &answer);

    let mut hand = alice();
    let asked = challenged(&mut hand);
    let failure = hand.mac_failure(&asked);
    let again = hand.register(&failure);
    let failure = hand.mac_failure(&again);
    let answer = hand.register(&failure);
    is_forbidden(&hand, "a MAC that is wrong again", &answer);

    for command in [CxCommand::Mar, CxCommand::Sar] {
        let mut hand = alice();
        let how = Misbehaviour::Answer(CxResult::UserUnknown);
        misbehave(&mut hand.bench, command, how, Some(1));
        let mut lines = hand.unchallenged(NO);
        if command == CxCommand::Sar {
            let asked = challenged(&mut hand);
            lines = hand.proof(&asked, YES);
        }
        let answer = hand.register(&lines);
        is_forbidden(&hand, command.as_str(), &answer);
    }

    let mut hand = alice();
    hand.registered(NO, YES);
    hand.bench.mark();
    let lines = hand.unchallenged(YES) + "Contact: <sip:a@10.0.0.9>;expires=900\n";
    let answer = hand.register(&lines);
    is_forbidden(&hand, "a new contact without reg-id", &answer);

    let mut hand = alice();
    restart_s1(&mut hand.bench, |config| config.flows_max = 1);
    hand.outbound();
    hand.registered(NO, YES);
    hand.bench.mark();
    let flow =
        |id: u8| format!("Contact: <sip:a@10.0.0.{id}>;reg-id={id};+sip.instance=\"<urn:x:1>\"\n");
    let lines = hand.unchallenged(YES) + &flow(1);
    assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    let lines = hand.unchallenged(YES) + &flow(2);
    let answer = hand.register(&lines);
    is_forbidden(&hand, "too many flows", &answer);

    // The UE hears it over the association that its REGISTER came by, and does not try again.
    let mut bench = Bench::of(
        "scenario: none\nparties:\n  alice: {security: on, mistakes: wrong res}\nsteps: []\n",
    );
    bench.play("alice registers\nalice is registration failed 403\nwait 60s");
    let sent = bench.sent("alice");
    let registers: Vec<&Told> = sent.iter().filter(|told| told.label() == "REGISTER").collect();
    assert_eq!(registers.len(), 2);
    let offer = registers[1].message.headers().security(HeaderName::SecurityClient);
    let ports = Offer::of(&offer.expect("parses")[0]).expect("an offer").ports;
    let heard = bench.received("alice");
    let refused = heard.iter().find(|told| told.label() == "403 REGISTER").expect("a 403");
    assert_eq!(refused.wire.local.port(), ports.server);
}

fn strangers() {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    let ok = hand.registered(NO, YES);
    let route = header(&ok, "Service-Route");
    // A barred identity asserts itself; the same request of another identity goes on.
    let (at, barred) = (hand.at, hand.impu.clone());
    for (number, identity, expected) in [(1, barred, Some("403 MESSAGE")), (2, impu(), None)] {
        hand.bench.mark();
        let text = format!(
            "MESSAGE sip:zoe@{at} SIP/2.0\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-e{number}\n\
             Route: {route}\nMax-Forwards: 70\nFrom: <{identity}>;tag=e\nTo: <sip:zoe@{at}>\n\
             Call-ID: e{number}\nCSeq: 1 MESSAGE\nP-Asserted-Identity: <{identity}>\n\
             Content-Length: 0\n"
        );
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        let heard = hand.bench.heard("fake");
        let went = heard.iter().any(|it| label(it) == "MESSAGE");
        assert_eq!(went, expected.is_none(), "{identity}");
        let answer = heard.iter().map(label).find(|it| it.starts_with("403"));
        assert_eq!(answer.as_deref(), expected);
    }
    // Somebody else wants to know who is registered.
    let lines = "Event: reg\nExpires: 3600\n";
    let mallory = format!("sip:mallory@{DOMAIN}");
    let (refused, told, _) = subscribe(&mut hand, "m", (&impu(), &mallory), lines);
    assert_eq!((label(&refused).as_str(), told.len()), ("403 SUBSCRIBE", 0));
    assert_eq!(header(&refused, "WWW-Authenticate"), "");
    let again = hand.unchallenged(YES);
    hand.register(&again);
    let told = hand.bench.heard("fake");
    assert!(told.iter().all(|it| label(it) != "NOTIFY"), "and hears nothing later");
}

fn not_allowed() {
    let mut bench = Bench::of(
        "scenario: none\nparties:\n  bob: {}\nlab:\n  nodes:\n    as1: {role: as, listen: \
         \"127.0.0.1:7060\"}\nsteps: []\n",
    );
    bench.register(&["bob"]);
    let (bob, p1) = (bench.addr("bob"), bench.replace("p1", "edge"));
    let (server, s1) = (bench.addr("as1"), bench.replace("s1", "core"));
    for (peer, from, to, method, lines) in [
        ("edge", p1, bob, "PUBLISH", "Event: presence\n"),
        ("edge", p1, bob, "REGISTER", "Contact: <sip:x@127.0.0.1>\n"),
        ("core", s1, server, "SUBSCRIBE", "Event: presence\nContact: <sip:x@127.0.0.1>\n"),
    ] {
        let text = format!(
            "{method} sip:{to} SIP/2.0\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-{method}\n\
             Max-Forwards: 70\nFrom: <sip:x@{DOMAIN}>;tag=x\nTo: <sip:y@{DOMAIN}>\n\
             Call-ID: {method}\nCSeq: 1 {method}\n{lines}Content-Length: 0\n"
        );
        bench.send(peer, to, &text);
        bench.run_for(A_MOMENT);
        let heard = bench.heard(peer);
        let wanted = format!("405 {method}");
        let refused = heard.iter().find(|it| label(it) == wanted);
        let refused = refused.unwrap_or_else(|| panic!("{wanted} of {to}: {heard:?}"));
        let allow = header(refused, "Allow");
        assert!(!allow.is_empty() && !allow.contains(method), "{method}: {allow}");
    }
}

fn proxy_authentication() {
    let mut bench = Bench::of(
        "scenario: none\nparties:\n  carol: {}\n  dave: {}\nlab:\n  nodes:\n    s1: {role: s-cscf, \
         listen: \"127.0.0.1:6060\", proxy_authentication: on}\nsteps: []\n",
    );
    bench.register(&["carol", "dave"]);
    bench.run_for(Duration::from_secs(1));
    bench.mark();
    bench.play("carol calls dave\ndave receives INVITE\ndave answers\ncarol is call established");
    bench.play("wait 1s\ncarol hangs up\ndave is call ended");
    let sent = bench.sent("carol");
    let of = |method: &str| -> Vec<&Told> {
        sent.iter().filter(|told| told.label() == method).collect()
    };
    let [first, second] = of("INVITE")[..] else { panic!("two INVITEs") };
    assert_eq!(first.header("Proxy-Authorization"), "");
    assert!(second.header("Proxy-Authorization").contains(&format!("realm=\"{DOMAIN}\"")));
    assert_eq!(
        (first.header("CSeq"), second.header("CSeq")),
        ("1 INVITE".into(), "2 INVITE".into())
    );
    let asked: Vec<Told> =
        bench.sent("s1").into_iter().filter(|told| told.label().starts_with("407")).collect();
    let [asked] = asked.as_slice() else { panic!("one 407: {asked:?}") };
    assert_eq!(asked.label(), "407 INVITE", "neither ACK nor BYE is challenged");
    assert!(asked.header("Proxy-Authenticate").contains(&format!("realm=\"{DOMAIN}\"")));
    // Each hop acknowledges the 407 itself.
    for (from, to) in [("carol", "p1"), ("p1", "s1")] {
        let (to, sent) = (bench.addr(to), bench.sent(from));
        let acks = sent.iter().filter(|told| told.label() == "ACK" && told.wire.remote == to);
        let own = acks.filter(|told| told.header("CSeq") == "1 ACK");
        assert_eq!(own.count(), 1, "{from}");
    }
    // Nobody behind the S-CSCF sees the credentials.
    let beyond = bench.received("dave");
    assert!(beyond.iter().any(|told| told.label() == "INVITE"));
    assert!(beyond.iter().all(|told| told.header("Proxy-Authorization").is_empty()));
    // A call that is given up: CANCEL is not challenged either.
    bench.mark();
    bench.play("carol calls dave\ncarol receives 180 for INVITE\ncarol cancels");
    bench.run_for(Duration::from_secs(1));
    let labels: Vec<String> = bench.received("carol").iter().map(Told::label).collect();
    assert!(labels.contains(&"487 INVITE".to_owned()), "{labels:?}");
    assert!(!labels.contains(&"407 CANCEL".to_owned()), "{labels:?}");
}

fn too_brief() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    for (min, wish, asked) in [(800_000, "", "600000"), (60, " for 10s", "10")] {
        let source = "scenario: none\nparties:\n  alice: {}\nsteps: []\n";
        let mut bench = Bench::with_lab(source, 1, |lab| {
            lab.registration.expires_min = Duration::from_secs(min);
            lab.registration.expires_max = hours(300);
        });
        bench.play(&format!("alice registers{wish}\nalice is registered"));
        let sent = bench.sent("alice");
        let registers: Vec<&Told> = sent.iter().filter(|it| it.label() == "REGISTER").collect();
        let brief = bench.sent("s1").into_iter().find(|it| it.label() == "423 REGISTER");
        assert_eq!(brief.expect("a 423").header("Min-Expires"), min.to_string());
        assert!(registers[0].header("Contact").contains(&format!("expires={asked}")));
        assert!(registers[1].header("Contact").contains(&format!("expires={min}")));
        assert_eq!(registers[1].header("CSeq"), "2 REGISTER");
        // Zero is no interval.
        bench.mark();
        bench.play("alice deregisters\nalice is deregistered");
        assert!(bench.sent("s1").iter().all(|it| it.label() != "423 REGISTER"));
    }
    // An hour is never too short, unless the operator overrides it.
    for (min, status) in [(3600, "401 REGISTER"), (7200, "423 REGISTER")] {
        let bench = Bench::with_lab("scenario: none\nsteps: []\n", 1, |lab| {
            lab.registration.expires_min = Duration::from_secs(min);
        });
        let mut hand = Hand::at_scscf(bench, "alice");
        let first = hand.unchallenged(NO);
        assert_eq!(label(&hand.register(&first)), status, "{min}");
    }
}

fn lost() {
    // The S-CSCF starts anew; the UE does not come again before it registers from the beginning.
    let mut bench = Bench::of("scenario: none\nparties:\n  alice: {security: on}\nsteps: []\n");
    bench.register(&["alice"]);
    bench.run_for(Duration::from_secs(1));
    bench.play("s1 crashes\nwait 1s\ns1 restarts\nwait 60s");
    bench.mark();
    bench.play("alice re-registers\nalice receives 500 for REGISTER");
    assert_eq!(bench.sent("s1")[0].label(), "500 REGISTER");
    bench.play("alice receives 401 for REGISTER within 120s\nalice is registered");
    let sent = bench.sent("alice");
    let registers: Vec<&Told> = sent.iter().filter(|it| it.label() == "REGISTER").collect();
    assert_ne!(registers[0].header("Call-ID"), registers[1].header("Call-ID"));
    assert!(registers[1].header("Authorization").contains("nonce=\"\""));

    // A privacy that is critical and that nobody here gives.
    let mut hand = alice();
    hand.registered(NO, YES);
    let (at, s1) = (hand.at, hand.to);
    let text = format!(
        "MESSAGE {} SIP/2.0\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-privacy\nRoute: <sip:{s1};lr>\n\
         Max-Forwards: 70\nFrom: <sip:bob@{DOMAIN}>;tag=p\nTo: <{}>\nCall-ID: p\n\
         CSeq: 1 MESSAGE\nPrivacy: header;critical\nP-Asserted-Identity: <sip:bob@{DOMAIN}>\n\
         Content-Length: 0\n",
        impu(),
        impu()
    );
    let answer = hand.ask(&text);
    assert_eq!(label(&answer), "500 MESSAGE");
}

fn overloaded() {
    let mut hand = alice();
    restart_s1(&mut hand.bench, |config| config.challenges_max = 1);
    challenged(&mut hand);
    let alice = (hand.who.clone(), hand.impu.clone());
    let bob = Hand::at_scscf(Bench::new(&[]), "bob");
    (hand.who, hand.impu) = (bob.who, bob.impu);
    "bob".clone_into(&mut hand.call_id);
    let first = hand.unchallenged(NO);
    let answer = hand.register(&first);
    assert_eq!(label(&answer), "503 REGISTER");
    assert_eq!(header(&answer, "Retry-After"), "10");
    // Who is known already is served, and so is everybody once there is room.
    (hand.who, hand.impu) = alice;
    hand.bench.run_for(Duration::from_secs(241));
    challenged(&mut hand);
}

fn timed_out() {
    // The HSS says nothing.
    for command in [CxCommand::Mar, CxCommand::Sar] {
        let mut hand = alice();
        misbehave(&mut hand.bench, command, Misbehaviour::Silent, Some(1));
        let mut lines = hand.unchallenged(NO);
        if command == CxCommand::Sar {
            let asked = challenged(&mut hand);
            lines = hand.proof(&asked, YES);
        }
        let text = hand.next(&lines);
        hand.send(&text);
        hand.bench.run_for(Duration::from_secs(30));
        let answer = hand.answered().expect("a final response");
        assert_eq!(label(&answer), "504 REGISTER", "{command:?}");
        assert!(answer.body().is_empty(), "plain");
    }
    // The S-CSCF lost the user: its next request says so, and it registers from the beginning.
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    bench.run_for(Duration::from_secs(1));
    let route = bench.received("alice").into_iter().find(|it| it.label() == "200 REGISTER");
    let route = route.expect("a 200").header("Service-Route");
    bench.play("operator forgets alice");
    bench.mark();
    bench.play("alice calls bob\nwait 1s");
    let sent = bench.sent("s1");
    let gone = sent.iter().find(|told| told.label() == "504 INVITE").expect("a 504");
    assert_eq!(gone.header("Content-Type"), "application/3gpp-ims+xml");
    let body = String::from_utf8_lossy(gone.message.body()).into_owned();
    assert!(body.contains("<type>restoration</type>"), "{body}");
    assert!(body.contains("<action>initial-registration</action>"), "{body}");
    assert_eq!(gone.header("P-Asserted-Identity"), route.split(", ").last().unwrap_or_default());
    bench.run_for(Duration::from_secs(60));
    let registers = bench.sent("alice").into_iter().filter(|it| it.label() == "REGISTER");
    let first = registers.into_iter().next().expect("a new registration");
    assert_eq!(first.header("CSeq"), "1 REGISTER");
}
