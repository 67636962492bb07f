//! What can fail around an I-CSCF, and the response code that each failure becomes: HSS, S-CSCFs,
//! capabilities (TS 24.229 §5.3.1.3, §5.3.2.2).

use cscf_core::auth::IntegrityProtected;
use cscf_core::config::{Lab, NodeConfig, NodeRole};
use cscf_core::cx::{CxCommand, CxResult, ServerCapabilities};
use cscf_core::hss::{HssCommand, Misbehaviour, Subscriber};
use cscf_core::sip::HeaderName;
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::by_hand::{self, impu, sent_to};
use super::cx::{order_hss, provision, subscriber_of};
use super::hand::{Hand, asked, response, status};
use super::hss_faults::{misbehave, registers};
use super::icscf_session::around;
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("icscf_failures::who_may_not_register_gets_403", &["RC-403c", "RC-404d"], forbidden),
        case("icscf_failures::an_unknown_callee_is_404_for_the_caller", &["RC-404a"], unknown),
        case("icscf_failures::without_lia_it_is_480", &["I-SES-080", "RC-480a"], no_lia),
        case("icscf_failures::480_of_an_s_cscf_is_not_the_last_word", &["RC-480e"], reselects_480),
        case(
            "icscf_failures::503_is_tried_elsewhere_and_goes_up_as_500",
            &["RC-500d", "RC-503d"],
            overloaded,
        ),
        case("icscf_failures::dead_s_cscfs_are_504_in_time", &["RC-504b"], dead),
        case("icscf_failures::600_without_a_capable_s_cscf", &["RC-600a"], incapable),
        case("icscf_failures::unregistered_services_are_served", &["I-SES-070"], unregistered),
        case("icscf_failures::a_service_identity_goes_to_its_server", &["I-SES-100"], psi),
    ]
}

/// A lab with so many S-CSCFs: s1, s2 …
fn with_scscfs(count: u16) -> Bench {
    let more = |lab: &mut Lab| {
        let s1 = lab.node(NodeRole::Scscf).expect("s1").clone();
        for number in 2..=count {
            let mut listen = s1.listen;
            listen.set_port(6060 + number);
            let advertise = (s1.advertise.0.clone(), 6060 + number);
            let name = format!("s{number}");
            lab.nodes.push(NodeConfig { name, listen, advertise, ..s1.clone() });
        }
    };
    Bench::with_lab("scenario: none\nsteps: []\n", 1, more)
}

fn received(hand: &Hand, node: &str) -> usize {
    hand.bench.received(node).iter().filter(|told| told.label() == "REGISTER").count()
}

fn forbidden() {
    // Everything here ends at the I-CSCF, with the deciding word in its notes.
    let alice = |hand: &Hand| hand.unchallenged(NO);
    let expect_403 = |mut hand: Hand, lines: &str, why: &str| {
        assert_eq!(registers(&mut hand, lines), "403 REGISTER", "{why}");
        assert_eq!(hand.bench.received("s1").len(), 0, "{why}");
        let notes = hand.bench.notes("i1");
        assert!(notes.iter().any(|note| note.refusal && note.text.contains("403")), "{why}");
    };
    let mut hand = Hand::ue(Bench::new(&[]), "alice");
    hand.to = hand.bench.addr("i1");
    let lines = alice(&hand) + "P-Visited-Network-ID: x\n";
    expect_403(hand, &lines, "a stranger");
    for result in [
        CxResult::UserUnknown,
        CxResult::IdentitiesDontMatch,
        CxResult::RoamingNotAllowed,
        CxResult::AuthorizationRejected,
        CxResult::IdentityNotRegistered,
    ] {
        let mut hand = Hand::at_icscf(Bench::new(&[]), "alice");
        misbehave(&mut hand.bench, CxCommand::Uar, Misbehaviour::Answer(result), None);
        let lines = alice(&hand);
        expect_403(hand, &lines, &result.to_string());
    }
    // An identity nobody has is not told from one that may not: never 404.
    let mut hand = Hand::at_icscf(Bench::new(&[]), "alice");
    hand.impu = format!("sip:nobody@{DOMAIN}");
    let lines = alice(&hand);
    let refused = hand.register(&lines);
    assert_eq!(label(&refused), "403 REGISTER");
    assert_eq!(header(&refused, "WWW-Authenticate"), "");
    assert_eq!(hand.bench.received("s1").len(), 0);
}

fn unknown() {
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    bench.mark();
    bench.play(&format!("alice calls sip:nobody@{DOMAIN}\nwait 2s"));
    let labels: Vec<String> = bench.received("alice").iter().map(|told| told.label()).collect();
    assert!(labels.contains(&"404 INVITE".to_owned()), "{labels:?}");
    let by_i1 = bench.sent("i1");
    let answers: Vec<&str> =
        by_i1.iter().filter(|told| told.label() == "404 INVITE").map(|_| "404").collect();
    assert_eq!(answers.len(), 1);
    assert!(by_i1.iter().all(|told| told.label() != "INVITE"), "it goes no further");
}

fn no_lia() {
    for how in [
        Misbehaviour::Silent,
        Misbehaviour::Garbage,
        Misbehaviour::GarbledData,
        Misbehaviour::Answer(CxResult::UnableToComply),
        Misbehaviour::Answer(CxResult::TooBusy),
    ] {
        let (mut bench, p1, s1) = around();
        misbehave(&mut bench, CxCommand::Lir, how, None);
        for (n, method) in (1..).zip(["INVITE", "MESSAGE"]) {
            p1.send(&mut bench, &p1.request(method, &impu(2), n, by_hand::SDP));
            bench.run_for(Duration::from_secs(20));
            // Until it is acknowledged, that of an INVITE is said again.
            let answers = p1.answers(&mut bench, "");
            let answers = answers.iter().filter(|answer| answer.status >= 200);
            let mut said: Vec<u16> = answers.map(|answer| answer.status).collect();
            said.dedup();
            assert_eq!(said, [480], "{how:?} {method}");
        }
        assert!(s1.heard(&mut bench, "INVITE").is_empty());
    }
}

/// Says this as a raw S-CSCF to the newest REGISTER it has heard.
fn says(hand: &mut Hand, peer: &str, what: &str) {
    let heard = hand.bench.heard(peer);
    let text = response(heard.last().expect("a REGISTER"), what, "");
    let to = hand.bench.addr("i1");
    hand.bench.send(peer, to, &text);
    hand.bench.run_for(Duration::from_millis(300));
}

fn reselects_480() {
    let mut hand = Hand::at_icscf(with_scscfs(2), "alice");
    hand.bench.replace("s1", "fake1");
    let lines = hand.unchallenged(NO);
    let text = hand.next(&lines);
    hand.send(&text);
    hand.bench.run_for(Duration::from_millis(300));
    says(&mut hand, "fake1", "480 Temporarily Unavailable");
    assert_eq!(label(&hand.answered().expect("final")), "401 REGISTER", "of s2");
    assert_eq!(received(&hand, "s2"), 1);
}

fn overloaded() {
    // With a second one the first one's 503 is not seen.
    let mut hand = Hand::at_icscf(with_scscfs(2), "alice");
    hand.bench.replace("s1", "fake1");
    hand.bench.replace("s2", "fake2");
    let lines = hand.unchallenged(NO);
    let text = hand.next(&lines);
    hand.send(&text);
    hand.bench.run_for(Duration::from_millis(300));
    says(&mut hand, "fake1", "503 Overloaded");
    assert!(hand.answered().is_none(), "another one is tried");
    says(&mut hand, "fake2", "503 Overloaded");
    // This network is not down as a whole (RFC 3261 §16.7).
    assert_eq!(label(&hand.answered().expect("final")), "500 REGISTER");
}

fn dead() {
    // All candidates together may take less than the P-CSCF waits (32 s).
    for count in [1, 3, 5] {
        let mut hand = Hand::at_icscf(with_scscfs(count), "alice");
        for number in 1..=count {
            hand.bench.replace(&format!("s{number}"), &format!("fake{number}"));
        }
        let lines = hand.unchallenged(NO);
        let text = hand.next(&lines);
        hand.send(&text);
        let mut answer = None;
        let mut waited = 0;
        while answer.is_none() && waited < 40 {
            hand.bench.run_for(Duration::from_secs(1));
            waited += 1;
            answer = hand.answered();
        }
        let answer = answer.expect("a final response");
        assert_eq!(label(&answer), "504 REGISTER", "{count}");
        assert!(waited <= 25, "{count}: {waited} s");
        // Six seconds for each but the last, while others are left.
        let uars = asked(&hand.bench, "i1", "UAR").len();
        let heard =
            (1..=count).filter(|number| !hand.bench.heard(&format!("fake{number}")).is_empty());
        let tried = heard.count();
        assert_eq!(tried, usize::from(count.min(4)), "{count}: {uars} UARs");
    }
    // A protected one has keys with its S-CSCF: no other is tried.
    let mut hand = Hand::at_icscf(with_scscfs(2), "alice");
    hand.registered(NO, YES);
    assert!(hand.bench.stage.lab.crash("s1"));
    hand.bench.mark();
    let lines = hand.unchallenged(YES);
    assert_eq!(registers(&mut hand, &lines), "504 REGISTER");
    assert_eq!(received(&hand, "s2"), 0);
}

fn wants(mandatory: &[u32]) -> Option<ServerCapabilities> {
    Some(ServerCapabilities { mandatory: mandatory.to_vec(), ..ServerCapabilities::default() })
}

fn incapable() {
    let mut hand = Hand::at_icscf(with_scscfs(2), "carol");
    let impu = format!("sip:erin@{DOMAIN}");
    let capabilities = wants(&[99]);
    let erin = Subscriber { capabilities, ..subscriber_of("erin", &[(&impu, false)]) };
    provision(&mut hand.bench, erin);
    hand.who.impi = format!("erin@{DOMAIN}");
    hand.impu = impu;
    let lines = hand.unchallenged(None);
    let refused = hand.register(&lines);
    assert_eq!(status(&refused), 600);
    assert_eq!(received(&hand, "s1") + received(&hand, "s2"), 0);
    let notes = hand.bench.notes("i1");
    let said = notes.iter().find(|note| note.refusal && note.text.contains("600"));
    assert!(said.expect("why").text.contains("capabilit"));
}

/// carol's twin with services while she is not registered.
fn with_service(bench: &mut Bench, mandatory: &[u32]) -> String {
    let impu = format!("sip:erin@{DOMAIN}");
    let mut erin = subscriber_of("erin", &[(&impu, false)]);
    erin.implicit_sets[0].unregistered_services = true;
    erin.capabilities = wants(mandatory);
    order_hss(bench, HssCommand::Provision(Box::new(erin)));
    impu
}

fn unregistered() {
    for (mandatory, served) in [(&[][..], true), (&[99][..], false)] {
        let (mut bench, p1, s1) = around();
        let impu = with_service(&mut bench, mandatory);
        bench.mark();
        p1.send(&mut bench, &p1.request("INVITE", &impu, 1, by_hand::SDP));
        if served {
            let sent = s1.heard_one(&mut bench, "INVITE");
            let route = sent.headers.get(HeaderName::Route).unwrap_or_default();
            assert!(route.contains(&s1.addr.to_string()), "{route}");
        } else {
            assert_eq!(p1.answered(&mut bench).status, 600);
            assert!(s1.heard(&mut bench, "INVITE").is_empty());
        }
    }
}

fn psi() {
    let (mut bench, p1, s1) = around();
    let server = by_hand::Hand::stranger(&mut bench, "i1");
    for (n, inactive) in [(1, false), (2, true)] {
        let name = format!("service{n}");
        let impu = format!("sip:{name}@{DOMAIN}");
        let hosted_by = Some(format!("sip:{}", server.addr));
        let more = subscriber_of(&name, &[(&impu, false)]);
        let subscriber = Subscriber { hosted_by, inactive, ..more };
        order_hss(&mut bench, HssCommand::Provision(Box::new(subscriber)));
        bench.mark();
        p1.send(&mut bench, &p1.request("INVITE", &impu, n, by_hand::SDP));
        if inactive {
            assert_eq!(p1.answered(&mut bench).status, 404);
        } else {
            let sent = server.heard_one(&mut bench, "INVITE");
            assert_eq!(sent.request_uri, impu);
            let route = sent.headers.get(HeaderName::Route).unwrap_or_default();
            assert!(route.contains(&server.addr.to_string()), "{route}");
            assert_eq!(sent_to(&bench, "i1", server.addr, "INVITE").len(), 1);
            server.answer(&mut bench, &sent, 486, "");
            bench.heard(&p1.name);
        }
        assert!(s1.heard(&mut bench, "INVITE").is_empty(), "no S-CSCF");
    }
}
