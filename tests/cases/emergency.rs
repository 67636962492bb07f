//! A registration for emergency calls at the S-CSCF (TS 24.229 §5.4.8, §7.2A.13): the client stands
//! in the place of i1.

use cscf_core::auth::IntegrityProtected;
use cscf_core::cx::DeregistrationReason;
use cscf_core::diameter::{self, dictionary};
use cscf_tests::{Bench, DOMAIN, header, label};

use super::hand::{A_MOMENT, Hand, asked, restart_s1, result_of};
use super::reg_event::rtr;
use super::registrar::with_profile;
use super::scscf_register::{assignments, bindings, message_to};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("emergency::it_stands_beside_all_else", &["S-REG-320"], emergency),
        case("emergency::it_outlasts_the_removal_of_the_server", &["S-DRG-070"], server_removed),
    ]
}

/// Application servers hear of the normal registration only.
fn servers_and_emergencies() {
    let mut hand = Hand::at_scscf(
        Bench::of(
            "scenario: none\nlab:\n  subscribers:\n    alice:\n      filter_criteria:\n        - \
             {priority: 1, server: \"sip:127.1.0.201:5060\", all_of: [{method: REGISTER}]}\n\
             steps: []\n",
        ),
        "alice",
    );
    hand.bench.raw("server");
    let told = |hand: &mut Hand| {
        let heard = hand.bench.heard("server");
        let s1 = hand.to;
        for request in &heard {
            let ok = super::hand::response(request, "200 OK", "Expires: 3600\n");
            hand.bench.send("server", s1, &ok);
        }
        let told: Vec<String> = heard.iter().map(|it| header(it, "Expires")).collect();
        told
    };
    let sos = format!("Contact: <sip:alice@{};sos>;expires=3600\n", hand.at);
    let lines = hand.trusted() + &sos;
    assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    assert_eq!(told(&mut hand), [] as [String; 0], "an emergency alone");
    let trusted = hand.trusted();
    assert_eq!(label(&hand.register(&trusted)), "200 REGISTER");
    assert_eq!(told(&mut hand), ["3600"], "the normal one is an initial one");
    assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    assert_eq!(told(&mut hand), [] as [String; 0], "an emergency besides");
    let away = hand.trusted() + &hand.contact.replace("3600", "0");
    assert_eq!(label(&hand.register(&away)), "200 REGISTER");
    assert_eq!(told(&mut hand), ["0"], "the end of the normal one");
    assert!(bindings(&mut hand)[0].1.contains("sos"));
}

fn emergency() {
    servers_and_emergencies();
    let sos = |hand: &Hand| format!("Contact: <sip:alice@{};sos>;expires=3600\n", hand.at);
    // Roaming and barring do not count; the HSS hears of nobody registered.
    let barred = format!("sip:erin@{DOMAIN}");
    let mut hand = with_profile(&[(&barred, true)], |_| {});
    restart_s1(&mut hand.bench, |config| {
        config.visited_networks = Some(vec!["partner.example".to_owned()]);
    });
    hand.bench.mark();
    let trusted = hand.trusted();
    assert_eq!(label(&hand.register(&trusted)), "403 REGISTER");
    let lines = hand.trusted() + &sos(&hand);
    assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    assert_eq!(assignments(&hand), [3], "UNREGISTERED_USER");

    // Beside a normal registration, which it leaves alone.
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    let edge = hand.bench.raw("edge");
    hand.registered(NO, YES);
    let p1 =
        std::mem::replace(&mut hand.lines, format!("Path: <sip:tok@{edge};lr>\nRequire: path\n"));
    let lines = hand.unchallenged(NO) + &sos(&hand);
    "emergency".clone_into(&mut hand.call_id);
    let asked = hand.register(&lines);
    let lines = hand.proof(&asked, YES) + &sos(&hand);
    assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    hand.lines = p1;
    assert_eq!(bindings(&mut hand).len(), 2);

    // Only who calls back from an emergency centre reaches it.
    let to = format!("sip:alice@{DOMAIN}");
    message_to(&mut hand, &to);
    assert_eq!(hand.bench.heard("edge").len(), 0);
    let (at, s1) = (hand.at, hand.to);
    let text = format!(
        "MESSAGE {to} SIP/2.0\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-psap\nRoute: <sip:{s1};lr>\n\
         Max-Forwards: 70\nFrom: <sip:psap@{DOMAIN}>;tag=p\nTo: <{to}>\nCall-ID: psap\n\
         CSeq: 1 MESSAGE\nPriority: psap-callback\nP-Asserted-Identity: <sip:psap@{DOMAIN}>\n\
         Content-Length: 0\n"
    );
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    assert!(hand.bench.heard("edge").iter().any(|it| label(it) == "MESSAGE"));

    // The network can end the normal one, not this one.
    rtr(&mut hand, DeregistrationReason::PermanentTermination);
    let left = bindings(&mut hand);
    assert!(left.len() == 1 && left[0].1.contains("sos"), "{left:?}");
}

/// The private and public identities in each Identity-with-Emergency-Registration of an RTA.
fn standing(rta: &diameter::Message) -> Vec<(String, String)> {
    let groups = rta.all(&dictionary::IDENTITY_WITH_EMERGENCY_REGISTRATION);
    let text = |inside: &[diameter::Avp], what| {
        let avp = inside.iter().find(|avp| avp.is(what)).expect("is there");
        avp.as_text().expect("text").to_owned()
    };
    groups
        .map(|group| {
            let inside = group.as_group().expect("a group");
            (text(&inside, &dictionary::USER_NAME), text(&inside, &dictionary::PUBLIC_IDENTITY))
        })
        .collect()
}

fn server_removed() {
    // Normal and emergency, emergency alone, normal alone.
    for (normal, sos, code) in [(true, true, 2002), (false, true, 5012), (true, false, 2001)] {
        let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
        hand.impu = format!("sip:alice@{DOMAIN}");
        let contact = format!("Contact: <sip:alice@{};sos>;expires=3600\n", hand.at);
        for (wanted, contact) in [(normal, ""), (sos, contact.as_str())] {
            if wanted {
                let lines = hand.trusted() + contact;
                assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
            }
        }
        hand.bench.mark();
        rtr(&mut hand, DeregistrationReason::RemoveScscf);
        hand.bench.run_for(A_MOMENT);
        let answers = asked(&hand.bench, "s1", "RTA");
        let [rta] = answers.as_slice() else { panic!("one RTA") };
        assert_eq!(result_of(rta), code);
        let expected = [(hand.who.impi.clone(), hand.impu.clone())];
        assert_eq!(standing(rta), expected[usize::from(!sos)..]);
        // What is kept is the emergency registration, and nothing without one.
        if sos {
            let left = bindings(&mut hand);
            assert!(left.len() == 1 && left[0].1.contains("sos"), "{left:?}");
        } else {
            let again = hand.unchallenged(YES);
            assert_eq!(label(&hand.register(&again)), "500 REGISTER", "nothing is kept");
        }
    }
}
