//! REGISTER at the I-CSCF, TS 24.229 §5.3.1: the client stands in the place of p1.

use cscf_core::auth::IntegrityProtected;
use cscf_core::config::{Lab, NodeConfig, NodeRole};
use cscf_core::cx::ServerCapabilities;
use cscf_core::diameter::dictionary;
use cscf_core::hss::Subscriber;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::cx::{provision, subscriber_of};
use super::hand::{A_MOMENT, Hand, asked, result_of, values};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("icscf_register::strangers_are_refused_unasked", &["I-REG-010"], stranger),
        case("icscf_register::the_hss_is_asked_what_the_register_says", &["I-REG-020"], uar),
        case("icscf_register::without_authorization_to_names_the_user", &["I-REG-030"], derived),
        case(
            "icscf_register::the_kind_of_question_fits_the_wish",
            &["I-REG-040a", "I-REG-040b", "I-REG-040c"],
            kinds,
        ),
        case("icscf_register::the_assigned_s_cscf_gets_it_as_it_is", &["I-REG-050"], assigned),
        case("icscf_register::capabilities_choose_the_s_cscf", &["I-REG-060"], capabilities),
        case("icscf_register::a_negative_uaa_is_403", &["I-REG-070"], negative),
        case(
            "icscf_register::an_unknown_identity_or_realm_stops_here",
            &["I-REG-075a", "I-REG-075b", "I-REG-075c", "I-REG-075d"],
            unknown,
        ),
        case("icscf_register::without_a_capable_s_cscf_it_is_600", &["I-REG-090"], incapable),
        case("icscf_register::a_failing_s_cscf_is_replaced", &["I-REG-100"], reselection),
        case("icscf_register::a_protected_register_stays", &["I-REG-110"], protected),
        case("icscf_register::when_all_failed_the_last_word_counts", &["I-REG-120"], exhausted),
        case("icscf_register::a_retransmission_asks_nobody", &["I-REG-130"], retransmission),
        case("icscf_register::an_emergency_is_told_to_the_hss", &["I-REG-140"], emergency),
        case("icscf_register::hops_and_loops_end", &["I-REG-160"], hops),
    ]
}

fn at_icscf(name: &str) -> Hand {
    Hand::at_icscf(Bench::new(&[]), name)
}

/// A lab with a second S-CSCF; the capabilities of both.
fn two(first: &[u32], second: &[u32]) -> Bench {
    let more = |lab: &mut Lab| {
        let s1 = lab.node(NodeRole::Scscf).expect("s1").clone();
        let at = lab.nodes.iter().position(|node| node.name == "s1").expect("s1");
        lab.nodes[at].capabilities = first.to_vec();
        let mut listen = s1.listen;
        listen.set_port(6070);
        let advertise = (s1.advertise.0.clone(), 6070);
        let capabilities = second.to_vec();
        let s2 = NodeConfig { name: "s2".to_owned(), listen, advertise, capabilities, ..s1 };
        lab.nodes.push(s2);
    };
    Bench::with_lab("scenario: none\nsteps: []\n", 1, more)
}

fn kind(uar: &cscf_core::diameter::Message) -> u32 {
    // Absent means REGISTRATION (TS 29.229 §6.3.24).
    uar.number(&dictionary::USER_AUTHORIZATION_TYPE).unwrap_or(0)
}

fn registers_at(hand: &Hand, node: &str) -> usize {
    hand.bench.received(node).iter().filter(|told| told.label() == "REGISTER").count()
}

fn stranger() {
    let mut hand = Hand::ue(Bench::new(&[]), "alice");
    hand.to = hand.bench.addr("i1");
    let lines = hand.unchallenged(None) + "P-Visited-Network-ID: x\n";
    assert_eq!(label(&hand.register(&lines)), "403 REGISTER");
    assert_eq!(hand.asked("i1", "UAR").len(), 0);
    // The same from a peer that is trusted is asked about.
    let mut hand = at_icscf("alice");
    assert_eq!(label(&hand.register(&lines)), "401 REGISTER");
    assert_eq!(hand.asked("i1", "UAR").len(), 1);
}

fn uar() {
    let mut hand = at_icscf("alice");
    hand.lines = hand.lines.replace(&format!("\"{DOMAIN}\""), "\"visited.example\"");
    hand.impu = format!("sip:alice@{DOMAIN}");
    let lines = hand.unchallenged(NO);
    hand.register(&lines);
    let uars = hand.asked("i1", "UAR");
    let [uar] = uars.as_slice() else { panic!("one UAR") };
    assert_eq!(uar.text(&dictionary::PUBLIC_IDENTITY), Some(hand.impu.as_str()));
    assert_eq!(uar.text(&dictionary::USER_NAME), Some(hand.who.impi.as_str()));
    let visited = uar.find(&dictionary::VISITED_NETWORK_IDENTIFIER).expect("a network");
    assert_eq!(&visited.data[..], b"visited.example");
    assert_eq!(kind(uar), 0);
}

fn derived() {
    let mut hand = at_icscf("carol");
    let plain = hand.next("");
    let to = format!("To: <sip:carol@{DOMAIN}>");
    let rich = format!("To: \"C\" <sip:carol@{DOMAIN}:5060;transport=udp>;note=x");
    let text = plain.replace(&to, &rich);
    assert_ne!(text, plain);
    assert_eq!(label(&hand.ask(&text)), "401 REGISTER");
    let uars = hand.asked("i1", "UAR");
    assert_eq!(uars[0].text(&dictionary::USER_NAME), Some(format!("carol@{DOMAIN}").as_str()));
}

fn kinds() {
    // (a) a wish or a fetch, (b) nothing but taking away.
    for (contact, expected) in [
        ("Contact: <sip:a@10.0.0.9>;expires=600\n", 0),
        ("Contact: <sip:a@10.0.0.9>\nExpires: 600\n", 0),
        ("Contact: <sip:a@10.0.0.9>;expires=0, <sip:b@10.0.0.9>;expires=60\n", 0),
        ("", 0),
        ("Contact: <sip:a@10.0.0.9>\nExpires: 0\n", 1),
        ("Contact: <sip:a@10.0.0.9>;expires=0\nExpires: 600\n", 1),
        ("Contact: *\nExpires: 0\n", 1),
    ] {
        let mut hand = at_icscf("alice");
        contact.clone_into(&mut hand.contact);
        let lines = hand.unchallenged(NO);
        hand.register(&lines);
        let uars = hand.asked("i1", "UAR");
        assert_eq!(uars.iter().map(kind).collect::<Vec<_>>(), [expected], "{contact}");
    }
    // (c) after an S-CSCF failed.
    let mut hand = Hand::at_icscf(two(&[], &[]), "alice");
    assert!(hand.bench.stage.lab.crash("s1"));
    let lines = hand.unchallenged(NO);
    let text = hand.next(&lines);
    hand.send(&text);
    hand.bench.run_for(Duration::from_secs(30));
    let uars = hand.asked("i1", "UAR");
    assert_eq!(uars.iter().map(kind).collect::<Vec<_>>(), [0, 2]);
}

fn assigned() {
    let mut hand = at_icscf("alice");
    hand.registered(NO, YES);
    let s1 = hand.bench.replace("s1", "fakes");
    for (expires, result) in [("3600", 2002), ("0", 2001)] {
        hand.bench.mark();
        let proof = hand.unchallenged(YES);
        let contact = hand.contact.replace("3600", expires);
        let more = "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=1\n";
        let text = hand.next(&format!("{proof}{contact}{more}"));
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        let answers = asked(&hand.bench, "hss", "UAA");
        assert_eq!(answers.iter().map(result_of).collect::<Vec<_>>(), [result]);
        let name = answers[0].text(&dictionary::SERVER_NAME).expect("a name").to_owned();
        let heard = hand.bench.heard("fakes");
        let Some(Message::Request(request)) = heard.first() else { panic!("a REGISTER") };
        assert_eq!((&*request.request_uri, name.as_str()), (&*format!("sip:{s1}"), &*name));
        assert_eq!(request.request_uri, name);
        let came = &heard[0];
        let sent = cscf_core::sip::parse(&cscf_tests::crlf(&text).into()).expect("SIP");
        for name in [
            "Path",
            "Authorization",
            "P-Visited-Network-ID",
            "P-Charging-Vector",
            "Require",
            "P-Access-Network-Info",
            "Contact",
            "To",
            "From",
            "Call-ID",
            "CSeq",
        ] {
            assert_eq!(header(came, name), header(&sent, name), "{name}");
        }
        assert_eq!(header(came, "Route"), "");
        assert_eq!(header(came, "Record-Route"), "");
        assert_eq!(header(came, "Max-Forwards"), "69");
        let vias = values(came, HeaderName::Via);
        assert_eq!(vias.len(), 2);
        assert!(vias[0].contains(&hand.to.to_string()));
    }
}

/// A user with these capabilities, who then registers; gives who got the REGISTER.
fn chosen(bench: Bench, wanted: ServerCapabilities) -> (Hand, Message) {
    let mut hand = Hand::at_icscf(bench, "carol");
    let impu = format!("sip:erin@{DOMAIN}");
    let user =
        Subscriber { capabilities: Some(wanted), ..subscriber_of("erin", &[(&impu, false)]) };
    provision(&mut hand.bench, user);
    hand.who.impi = format!("erin@{DOMAIN}");
    hand.impu = impu;
    let lines = hand.unchallenged(None);
    let answer = hand.register(&lines);
    (hand, answer)
}

fn wants(mandatory: &[u32], optional: &[u32], names: &[String]) -> ServerCapabilities {
    ServerCapabilities {
        mandatory: mandatory.to_vec(),
        optional: optional.to_vec(),
        server_names: names.to_vec(),
    }
}

fn capabilities() {
    let s2 = {
        let bench = two(&[], &[]);
        format!("sip:{}", bench.addr("s2"))
    };
    for (first, second, wanted, expected) in [
        // All that is mandatory.
        (&[1][..], &[1, 2][..], wants(&[1, 2], &[], &[]), "s2"),
        (&[1, 2], &[1], wants(&[1, 2], &[], &[]), "s1"),
        // As much as possible of what is optional.
        (&[1], &[1, 3], wants(&[1], &[3], &[]), "s2"),
        (&[1, 3], &[1], wants(&[1], &[3], &[]), "s1"),
        (&[3, 4], &[1, 3], wants(&[1], &[3, 4], &[]), "s2"),
        // A name is a candidate.
        (&[], &[], wants(&[], &[], std::slice::from_ref(&s2)), "s2"),
        // None: any one.
        (&[], &[], wants(&[], &[], &[]), ""),
    ] {
        let (hand, answer) = chosen(two(first, second), wanted.clone());
        assert_eq!(label(&answer), "401 REGISTER", "{wanted:?}");
        let got = [("s1", registers_at(&hand, "s1")), ("s2", registers_at(&hand, "s2"))];
        let got: Vec<&str> = got.iter().filter(|(_, count)| *count > 0).map(|it| it.0).collect();
        assert_eq!(got.len(), 1, "{wanted:?}");
        assert!(expected.is_empty() || got == [expected], "{wanted:?}: {got:?}");
    }
    // No capabilities at all in the answer.
    let mut hand = Hand::at_icscf(two(&[], &[]), "alice");
    let lines = hand.unchallenged(NO);
    assert_eq!(label(&hand.register(&lines)), "401 REGISTER");
    let answers = asked(&hand.bench, "hss", "UAA");
    assert!(answers[0].find(&dictionary::SERVER_CAPABILITIES).is_none());
}

fn negative() {
    let refused = |hand: &mut Hand, contact: &str, result: u32| {
        let lines = hand.unchallenged(None) + contact;
        assert_eq!(label(&hand.register(&lines)), "403 REGISTER");
        let answers = asked(&hand.bench, "hss", "UAA");
        assert_eq!(answers.iter().map(result_of).collect::<Vec<_>>(), [result]);
        assert_eq!(registers_at(hand, "s1"), 0);
    };
    let mut hand = at_icscf("alice");
    hand.impu = format!("sip:nobody@{DOMAIN}");
    refused(&mut hand, "", 5001);
    let mut hand = at_icscf("alice");
    hand.impu = format!("sip:bob@{DOMAIN}");
    refused(&mut hand, "", 5002);
    let mut hand = at_icscf("alice");
    refused(&mut hand, "Contact: *\nExpires: 0\n", 5003);
    let impu = format!("sip:erin@{DOMAIN}");
    let erin = || subscriber_of("erin", &[(&impu, false)]);
    for (user, result) in [
        (Subscriber { visited_networks: vec!["elsewhere".to_owned()], ..erin() }, 5004),
        (Subscriber { barred: true, ..erin() }, 5003),
    ] {
        let mut hand = at_icscf("carol");
        provision(&mut hand.bench, user);
        hand.who.impi = format!("erin@{DOMAIN}");
        hand.impu.clone_from(&impu);
        refused(&mut hand, "", result);
    }
    // A realm that is not ours.
    let mut hand = at_icscf("alice");
    let lines = hand.unchallenged(None).replace(&format!("realm=\"{DOMAIN}"), "realm=\"other");
    assert_eq!(label(&hand.register(&lines)), "403 REGISTER");
    assert_eq!(registers_at(&hand, "s1"), 0);
}

/// Letter, what is changed before the REGISTER, in its Authorization, and the UARs expected.
type Unknown<'a> = (&'a str, &'a dyn Fn(&mut Hand), &'a dyn Fn(&str) -> String, usize);

fn unknown() {
    let realm = |text: &str| text.replace(&format!("realm=\"{DOMAIN}"), "realm=\"other.example");
    let same = str::to_owned;
    let changes: [Unknown<'_>; 4] = [
        ("a", &|hand| hand.impu = format!("sip:nobody@{DOMAIN}"), &same, 1),
        ("b", &|hand| hand.who.impi = format!("nobody@{DOMAIN}"), &same, 1),
        ("c", &|_| {}, &realm, 0),
        ("d", &|hand| "sip:other.example".clone_into(&mut hand.uri), &same, 0),
    ];
    for (letter, change, edit, uars) in changes {
        let mut hand = at_icscf("alice");
        change(&mut hand);
        let lines = edit(&hand.unchallenged(None));
        let text = hand.next(&lines);
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        let heard: Vec<String> = hand.bench.heard("fake").iter().map(label).collect();
        assert_eq!(heard, ["403 REGISTER"], "({letter})");
        assert_eq!(hand.asked("i1", "UAR").len(), uars, "({letter})");
        let answers = asked(&hand.bench, "hss", "UAA");
        assert_eq!(answers.iter().map(result_of).collect::<Vec<_>>(), vec![5001; uars]);
        assert_eq!(hand.asked("s1", "MAR").len(), 0);
        assert_eq!(hand.bench.received("s1").len(), 0);
        let notes = hand.bench.notes("i1");
        assert!(notes.iter().any(|note| note.refusal && note.text.contains("403")), "({letter})");
    }
}

fn incapable() {
    let (hand, answer) = chosen(two(&[1], &[2]), wants(&[1, 2], &[], &[]));
    assert_eq!(label(&answer), "600 REGISTER");
    assert_eq!(registers_at(&hand, "s1") + registers_at(&hand, "s2"), 0);
}

/// Answers the last REGISTER that a raw S-CSCF has heard.
fn scscf_says(hand: &mut Hand, peer: &str, status: &str) {
    let heard = hand.bench.heard(peer);
    let request = heard.last().expect("a REGISTER");
    let text = super::hand::response(request, status, "");
    let to = hand.bench.addr("i1");
    hand.bench.send(peer, to, &text);
    hand.bench.run_for(A_MOMENT);
}

fn reselection() {
    for status in ["", "302 Moved", "480 Unavailable"] {
        let mut hand = Hand::at_icscf(two(&[], &[]), "alice");
        hand.bench.replace("s1", "fakes");
        let lines = hand.unchallenged(NO);
        let text = hand.next(&lines);
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        if status.is_empty() {
            hand.bench.run_for(Duration::from_secs(30));
        } else {
            scscf_says(&mut hand, "fakes", status);
        }
        let finals: Vec<Message> = hand.bench.heard("fake");
        let finals: Vec<String> =
            finals.iter().map(label).filter(|it| !it.starts_with('1')).collect();
        assert_eq!(finals, ["401 REGISTER"], "{status}: only the later result");
        let uars = hand.asked("i1", "UAR");
        assert_eq!(uars.iter().map(kind).collect::<Vec<_>>(), [0, 2], "{status}");
        assert_eq!(registers_at(&hand, "s2"), 1, "{status}");
    }
}

fn protected() {
    let mut hand = Hand::at_icscf(two(&[], &[]), "alice");
    hand.registered(NO, YES);
    assert!(hand.bench.stage.lab.crash("s1"));
    hand.bench.mark();
    let lines = hand.unchallenged(YES);
    let text = hand.next(&lines);
    hand.send(&text);
    hand.bench.run_for(Duration::from_secs(40));
    let answer = hand.answered().expect("a final response");
    assert_eq!(label(&answer), "504 REGISTER");
    assert_eq!(hand.asked("i1", "UAR").len(), 1);
    assert_eq!(registers_at(&hand, "s2"), 0);
}

fn exhausted() {
    for (status, expected) in [("", "504"), ("480 Unavailable", "480"), ("302 Moved", "302")] {
        let mut hand = Hand::at_icscf(two(&[], &[]), "alice");
        hand.bench.replace("s1", "fakes");
        hand.bench.replace("s2", "faket");
        let lines = hand.unchallenged(NO);
        let text = hand.next(&lines);
        hand.send(&text);
        // The first is silent, the other one has the last word.
        let mut spoken = status.is_empty();
        for _ in 0..120 {
            hand.bench.run_for(Duration::from_millis(500));
            if !spoken
                && hand.bench.sent("i1").iter().any(|told| {
                    told.label() == "REGISTER" && told.wire.remote == hand.bench.addr("s2")
                })
            {
                scscf_says(&mut hand, "faket", status);
                spoken = true;
            }
        }
        let answer = hand.answered().expect("a final response");
        assert_eq!(label(&answer), format!("{expected} REGISTER"));
    }
}

fn retransmission() {
    let mut hand = at_icscf("alice");
    let lines = hand.unchallenged(NO);
    let text = hand.next(&lines);
    for _ in 0..2 {
        hand.send(&text);
    }
    hand.bench.run_for(A_MOMENT);
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    assert_eq!(hand.asked("i1", "UAR").len(), 1);
    assert_eq!(registers_at(&hand, "s1"), 1);
    let heard = hand.bench.heard("fake");
    let finals = heard.iter().filter(|message| label(message) == "401 REGISTER").count();
    assert!(finals >= 2, "the answer is said again: {finals}");
}

fn emergency() {
    let impu = format!("sip:erin@{DOMAIN}");
    let erin = || subscriber_of("erin", &[(&impu, false)]);
    for user in [
        Subscriber { visited_networks: vec!["elsewhere".to_owned()], ..erin() },
        Subscriber { barred: true, ..erin() },
        subscriber_of("erin", &[(&impu, true)]),
    ] {
        for (sos, flags, expected) in [("", 0, "403 REGISTER"), (";sos", 1, "401 REGISTER")] {
            let mut hand = at_icscf("carol");
            provision(&mut hand.bench, user.clone());
            hand.who.impi = format!("erin@{DOMAIN}");
            hand.impu.clone_from(&impu);
            let contact = format!("Contact: <sip:erin@{}{sos}>;expires=600\n", hand.at);
            let lines = hand.unchallenged(None) + &contact;
            assert_eq!(label(&hand.register(&lines)), expected);
            let uars = hand.asked("i1", "UAR");
            let said = uars[0].number(&dictionary::UAR_FLAGS).unwrap_or(0);
            assert_eq!(said & 1, flags);
        }
    }
}

fn hops() {
    let mut hand = at_icscf("alice");
    let lines = hand.unchallenged(NO);
    let text = hand.next(&lines).replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(label(&hand.ask(&text)), "483 REGISTER");
    assert_eq!(registers_at(&hand, "s1"), 0);

    let i1 = format!("sip:{}", Bench::new(&[]).addr("i1"));
    let (hand, answer) = chosen(Bench::new(&[]), wants(&[], &[], &[i1]));
    assert_eq!(label(&answer), "482 REGISTER");
    assert_eq!(registers_at(&hand, "s1") + registers_at(&hand, "i1"), 1, "only what came");
}
