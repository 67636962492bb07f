//! The I-CSCF and requests other than REGISTER (TS 24.229 §5.3.2): S-CSCF and peers by hand.

use cscf_core::config::Start;
use cscf_core::engine::{CxNode, Engine};
use cscf_core::sip::HeaderName;
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN};
use i_cscf::Icscf;

use super::by_hand::{Hand, avps, charging, impu, sent_to};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("icscf::what_a_stranger_says_is_not_believed", &["I-SES-010", "I-SES-140"], stranger),
        case(
            "icscf::the_hss_is_asked_once_by_the_canonical_identity",
            &["I-SES-020", "I-SES-030"],
            question,
        ),
        case("icscf::the_serving_scscf_becomes_the_route", &["I-SES-040"], forwarding),
        case("icscf::an_unknown_user_gives_404", &["I-SES-050"], unknown),
        case("icscf::a_user_who_is_not_registered_gives_480", &["I-SES-060"], not_registered),
        case("icscf::a_silent_hss_gives_480", &[], silent_hss),
        case("icscf::orig_serves_the_caller", &["I-SES-090a", "I-SES-090b"], originating),
        case("icscf::other_schemes_are_refused", &["I-SES-110"], schemes),
        case("icscf::a_silent_scscf_gives_504", &["I-SES-120"], silent_scscf),
        case("icscf::requests_in_dialogs_ask_nobody", &["I-SES-130"], in_dialog),
    ]
}

/// i1 with alice and bob registered, p1 (or who else is trusted) and s1 by hand.
pub(crate) fn around() -> (Bench, Hand, Hand) {
    around_with(|_| {})
}

pub(crate) fn around_with(change: impl FnOnce(&mut i_cscf::Config)) -> (Bench, Hand, Hand) {
    let mut bench = bench_with(change);
    bench.register(&["alice", "bob"]);
    bench.run_for(Duration::from_secs(1));
    let p1 = Hand::node(&mut bench, "p1", "i1");
    let s1 = Hand::node(&mut bench, "s1", "i1");
    bench.mark();
    (bench, p1, s1)
}

/// An I-CSCF configured otherwise is i1.
fn bench_with(change: impl FnOnce(&mut i_cscf::Config)) -> Bench {
    let mut bench = Bench::new(&["alice", "bob"]);
    let node = bench.config.node_named("i1").expect("i1").clone();
    let seed = bench.stage.lab.seed_of("i1 otherwise");
    let unix_at_epoch = scenarios::run::UNIX_AT_EPOCH;
    let start = Start { seed, tracing: true, unix_at_epoch };
    let mut config = i_cscf::lab::config(&bench.config, &node);
    change(&mut config);
    let settings = bench.config.settings(&node, &start).expect("settings");
    let engine = Engine::new("i1", Icscf::new(config), settings, seed);
    let client = bench.config.diameter_client(&node, &start).expect("client");
    assert!(bench.stage.lab.crash("i1"));
    bench.stage.lab.restart(Box::new(CxNode::new(engine, client)));
    bench.run_for(Duration::from_secs(1));
    bench
}

const VECTOR: &str = "P-Charging-Vector: icid-value=\"p1-1\";icid-generated-at=1.2.3.4";

fn stranger() {
    let lines = format!(
        "P-Asserted-Identity: <{}>\n{VECTOR}\nP-Charging-Function-Addresses: ccf=x\n\
         P-Access-Network-Info: 3GPP-NR-FDD\nP-Profile-Key: <sip:x@y>",
        impu(1)
    );
    const NAMES: [HeaderName; 4] = [
        HeaderName::PAssertedIdentity,
        HeaderName::PChargingFunctionAddresses,
        HeaderName::PAccessNetworkInfo,
        HeaderName::PProfileKey,
    ];
    let icid = |vector: &str| charging(vector, "icid-value").expect("an icid");
    let (mut bench, p1, s1) = around();
    let stranger = Hand::stranger(&mut bench, "i1");
    stranger.send(&mut bench, &stranger.request("INVITE", &impu(2), 1, &lines));
    let sent = s1.heard_one(&mut bench, "INVITE");
    for name in NAMES {
        assert!(!sent.headers.contains(name), "{name}");
    }
    assert_ne!(icid(sent.headers.get(HeaderName::PChargingVector).expect("a new one")), "p1-1");
    s1.answer(&mut bench, &sent, 486, "");
    assert_eq!(stranger.answered(&mut bench).status, 486, "it was terminating as any other");
    // The same from a peer that is trusted: all of it passes.
    p1.send(&mut bench, &p1.request("INVITE", &impu(2), 2, &lines));
    let sent = s1.heard_one(&mut bench, "INVITE");
    for name in NAMES {
        assert!(sent.headers.contains(name), "{name}");
    }
    assert_eq!(icid(sent.headers.get(HeaderName::PChargingVector).expect("kept")), "p1-1");
    s1.answer(&mut bench, &sent, 486, "");
    // No vector at all: it gets one here.
    p1.send(&mut bench, &p1.request("INVITE", &impu(2), 3, ""));
    let sent = s1.heard_one(&mut bench, "INVITE");
    let vector = sent.headers.get(HeaderName::PChargingVector).expect("a vector");
    assert!(!icid(vector).is_empty());
    // REGISTER is for those inside only.
    let register = |who: &Hand, n: u32| {
        let proof = format!(
            "Authorization: Digest username=\"001010000000001@{DOMAIN}\",realm=\"{DOMAIN}\",\
             uri=\"sip:{DOMAIN}\",nonce=\"\",response=\"\""
        );
        who.request("REGISTER", &format!("sip:{DOMAIN}"), n, &proof)
            .replace(&format!("To: <sip:{DOMAIN}>"), &format!("To: <{}>", impu(1)))
    };
    bench.heard(&s1.name);
    bench.heard(&stranger.name);
    stranger.send(&mut bench, &register(&stranger, 4));
    assert_eq!(stranger.answered(&mut bench).status, 403);
    assert!(s1.heard(&mut bench, "REGISTER").is_empty());
    p1.send(&mut bench, &register(&p1, 5));
    assert_eq!(s1.heard(&mut bench, "REGISTER").len(), 1);
    // The peer that was trusted is so no longer.
    let mut bench = bench_with(|config| config.trusted.retain(|peer| peer.port() != 5060));
    bench.play("alice registers\nalice is registration failed 403");
    // At the S-CSCF: what a stranger asserts is not there either.
    let mut around = super::scscf_session::Around::new();
    let name = "stranger at s1".to_owned();
    let addr = around.bench.raw(&name);
    let other = Hand { name, addr, ..around.i1.clone() };
    let route = format!("Route: <sip:{};lr>\n{lines}", other.to);
    other.send(&mut around.bench, &other.request("INVITE", &impu(2), 8, &route));
    let sent = around.p1.heard_one(&mut around.bench, "INVITE");
    assert!(!sent.headers.contains(HeaderName::PAssertedIdentity));
    let text = around.to_user("INVITE", &impu(2), 9, &lines);
    around.i1.send(&mut around.bench, &text);
    let sent = around.p1.heard(&mut around.bench, "INVITE").pop().expect("forwarded");
    assert!(sent.headers.contains(HeaderName::PAssertedIdentity));
}

fn question() {
    for (n, (uri, key)) in (1..).zip([
        (impu(2), "tel:+15550100002".to_owned()),
        ("tel:+1-555-010-0002".to_owned(), "tel:+15550100002".to_owned()),
        (format!("sip:bob@{DOMAIN}:5060;x=y"), format!("sip:bob@{DOMAIN}")),
        (format!("sip:5551234@{DOMAIN};user=phone"), format!("sip:5551234@{DOMAIN}")),
    ]) {
        let (mut bench, p1, s1) = around();
        let text = p1.request("INVITE", &uri, n, VECTOR);
        for _ in 0..3 {
            p1.send(&mut bench, &text);
        }
        let asked = avps(&bench, "i1", "LIR", "Public-Identity");
        assert_eq!(asked, [[key]], "{uri}");
        for sent in s1.heard(&mut bench, "INVITE") {
            assert_eq!(sent.request_uri, uri, "leaves as it came");
        }
    }
}

fn forwarding() {
    let (mut bench, p1, s1) = around();
    p1.send(&mut bench, &p1.request("INVITE", &impu(2), 1, VECTOR));
    let sent = s1.heard_one(&mut bench, "INVITE");
    let routes: Vec<&str> = sent.headers.values(HeaderName::Route).collect();
    assert_eq!(routes, [format!("<sip:{};lr>", s1.addr)]);
    assert_eq!(sent.request_uri, impu(2));
    assert!(!sent.headers.contains(HeaderName::RecordRoute));
    let vector = sent.headers.get(HeaderName::PChargingVector).unwrap_or_default();
    assert_eq!(format!("P-Charging-Vector: {vector}"), VECTOR);
}

/// What p1 is told for this Request-URI; the S-CSCF hears nothing.
fn refused((mut bench, p1, s1): (Bench, Hand, Hand), uri: &str) -> u16 {
    p1.send(&mut bench, &p1.request("INVITE", uri, 1, VECTOR));
    bench.run_for(Duration::from_secs(10));
    assert!(s1.heard(&mut bench, "INVITE").is_empty());
    let answers = p1.answers(&mut bench, "");
    answers.last().expect("an answer").status
}

fn unknown() {
    assert_eq!(refused(around(), &format!("sip:nobody@{DOMAIN}")), 404);
    assert_eq!(refused(around(), "tel:+15550109999"), 404);
}

fn not_registered() {
    assert_eq!(refused(around(), &format!("sip:carol@{DOMAIN}")), 480);
}

fn silent_hss() {
    let (mut bench, p1, s1) = around();
    assert!(bench.stage.lab.crash("hss"));
    assert_eq!(refused((bench, p1, s1), &impu(2)), 480);
}

fn originating() {
    let (mut bench, p1, s1) = around();
    for (n, header) in (1..).zip(["P-Served-User", "P-Asserted-Identity"]) {
        bench.mark();
        let lines = format!("Route: <sip:{};lr;orig>\n{header}: <{}>", p1.to, impu(1));
        p1.send(&mut bench, &p1.request("INVITE", &impu(2), n, &lines));
        assert_eq!(avps(&bench, "i1", "LIR", "Public-Identity"), [["tel:+15550100001"]]);
        assert_eq!(avps(&bench, "i1", "LIR", "Originating-Request"), [["0"]]);
        let sent = s1.heard_one(&mut bench, "INVITE");
        let route = sent.headers.get(HeaderName::Route).unwrap_or_default();
        assert!(route.contains(&s1.addr.to_string()) && route.contains(";orig"), "{route}");
        s1.answer(&mut bench, &sent, 486, "");
    }
    let stranger = Hand::stranger(&mut bench, "i1");
    bench.mark();
    let lines = format!("Route: <sip:{};lr;orig>\nP-Served-User: <{}>", p1.to, impu(1));
    stranger.send(&mut bench, &stranger.request("INVITE", &impu(2), 9, &lines));
    assert_eq!(stranger.answered(&mut bench).status, 403);
    assert!(avps(&bench, "i1", "LIR", "Public-Identity").is_empty());
}

fn schemes() {
    for uri in ["http://example.com/x", "urn:service:unknown"] {
        assert_eq!(refused(around(), uri), 416, "{uri}");
    }
}

fn silent_scscf() {
    // Nothing but what the S-CSCF said was heard from it: 504, and no late 408.
    for (n, method) in (1..).zip(["INVITE", "MESSAGE"]) {
        let (mut bench, p1, _) = around();
        p1.send(&mut bench, &p1.request(method, &impu(2), n, VECTOR));
        bench.run_for(Duration::from_secs(60));
        assert!(sent_to(&bench, "i1", p1.addr, &format!("408 {method}")).is_empty());
        let answers = sent_to(&bench, "i1", p1.addr, &format!("504 {method}"));
        assert!(!answers.is_empty() || method != "INVITE", "{method}");
    }
    // With restoration another one is chosen, by capabilities.
    let second = "127.1.0.77:6060".parse().expect("address");
    let uri = format!("sip:{second}");
    let (mut bench, p1, s1) = around_with(|config| {
        config.restoration = true;
        config.scscfs.push(i_cscf::ScscfConfig { uri, capabilities: Vec::new() });
    });
    bench.raw_at("another S-CSCF", second);
    p1.send(&mut bench, &p1.request("INVITE", &impu(2), 3, VECTOR));
    assert_eq!(s1.heard(&mut bench, "INVITE").len(), 1);
    bench.run_for(Duration::from_secs(60));
    // User-Authorization-Type REGISTRATION_AND_CAPABILITIES.
    let asked = avps(&bench, "i1", "LIR", "User-Authorization-Type");
    assert_eq!(asked, [vec![], vec!["2".to_owned()]]);
    let sent = sent_to(&bench, "i1", second, "INVITE");
    assert!(sent[0].header("Route").contains("127.1.0.77"), "{}", sent[0].header("Route"));
}

fn in_dialog() {
    let (mut bench, p1, s1) = around();
    for (n, method) in (1..).zip(["UPDATE", "BYE", "INFO"]) {
        let route = format!("Route: <sip:x@{};lr>, <sip:y@{};lr>", p1.to, s1.addr);
        let text = p1.request(method, &impu(2), n, &route);
        p1.send(&mut bench, &text.replacen("\nCall-ID", ";tag=b\nCall-ID", 1));
        let sent = s1.heard_one(&mut bench, method);
        let routes: Vec<&str> = sent.headers.values(HeaderName::Route).collect();
        assert_eq!(routes, [format!("<sip:y@{};lr>", s1.addr)]);
        s1.answer(&mut bench, &sent, 200, "");
        bench.heard(&p1.name);
    }
    // No Route beyond: nobody knows whose it is.
    let text = p1.request("BYE", &impu(2), 9, "").replacen("\nCall-ID", ";tag=b\nCall-ID", 1);
    p1.send(&mut bench, &text);
    assert_eq!(p1.answered(&mut bench).status, 404);
    assert!(avps(&bench, "i1", "LIR", "Public-Identity").is_empty());
}
