//! Answers to challenges that are wrong, late or missing, TS 24.229 §5.4.1.2.

use cscf_core::auth::IntegrityProtected;
use cscf_core::diameter::dictionary;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::hand::{Hand, asked, challenge, line, rand, restart_s1, result_of, values};
use super::reg_event::{Watcher, watch};
use super::scscf_register::{assignments, bindings};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

/// Server-Assignment-Type (TS 29.229 §6.3.15).
const REGISTRATION: u32 = 1;
const AUTHENTICATION_FAILURE: u32 = 9;
const AUTHENTICATION_TIMEOUT: u32 = 10;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("authentication::a_wrong_res_gets_403", &["S-AUT-010"], wrong_res),
        case("authentication::a_wrong_mac_gets_another_challenge", &["S-AUT-020"], wrong_mac),
        case("authentication::auts_brings_the_hss_into_step", &["S-AUT-030"], resync),
        case("authentication::silence_ends_a_challenge", &["S-AUT-040"], silence),
        case("authentication::a_wrong_password_is_told_from_an_old_nonce", &["S-AUT-050"], digest),
        case("authentication::an_unprotected_response_is_challenged", &["S-AUT-060"], unprotected),
        case("authentication::a_failure_takes_nothing_away", &["S-AUT-080"], nothing_is_lost),
        case("authentication::each_challenge_is_new", &["RC-401"], unauthorized),
    ]
}

fn alice() -> Hand {
    Hand::at_scscf(Bench::new(&[]), "alice")
}

fn challenged(hand: &mut Hand, flag: Option<IntegrityProtected>) -> Message {
    let first = hand.unchallenged(flag);
    let answer = hand.register(&first);
    assert_eq!(label(&answer), "401 REGISTER");
    answer
}

fn wrong_res() {
    for flag in [YES, None] {
        let mut hand = alice();
        let asked = challenged(&mut hand, NO);
        let wrong = hand.wrong(&asked, flag);
        let refused = hand.register(&wrong);
        assert_eq!(label(&refused), "403 REGISTER");
        assert_eq!(header(&refused, "WWW-Authenticate"), "");
        assert!(!assignments(&hand).contains(&REGISTRATION));
    }
    let mut hand = alice();
    hand.registered(NO, YES);
    let asked = challenged(&mut hand, NO);
    let wrong = hand.wrong(&asked, YES);
    assert_eq!(label(&hand.register(&wrong)), "403 REGISTER");
    assert_eq!(bindings(&mut hand).len(), 1);
}

fn wrong_mac() {
    // Through the whole core, so that the HSS's view shows in the UAA.
    let mut hand = Hand::ue(Bench::new(&[]), "alice");
    let first = challenged(&mut hand, None);
    let failure = hand.mac_failure(&first);
    let second = hand.register(&failure);
    assert_ne!(rand(&challenge(&first)), rand(&challenge(&second)));
    assert_eq!(assignments(&hand), [] as [u32; 0]);
    let failure = hand.mac_failure(&second);
    assert_eq!(label(&hand.register(&failure)), "403 REGISTER");
    assert_eq!(assignments(&hand), [AUTHENTICATION_FAILURE]);
    // The HSS has no S-CSCF for the user any more: it is a first registration again.
    hand.bench.mark();
    challenged(&mut hand, None);
    let answers = asked(&hand.bench, "hss", "UAA");
    assert_eq!(answers.iter().map(result_of).collect::<Vec<_>>(), [2001]);
    assert!(answers[0].find(&dictionary::SERVER_NAME).is_none());

    // Who is registered stays so, and the HSS hears nothing.
    let mut hand = alice();
    hand.registered(NO, YES);
    hand.bench.mark();
    let mut asked = challenged(&mut hand, NO);
    for expected in ["401 REGISTER", "403 REGISTER"] {
        let failure = hand.mac_failure(&asked);
        asked = hand.register(&failure);
        assert_eq!(label(&asked), expected);
    }
    assert_eq!(assignments(&hand), [] as [u32; 0]);
    assert_eq!(bindings(&mut hand).len(), 1);

    // A UE answers two challenges with a wrong MAC, no third.
    let mut bench =
        Bench::of("scenario: none\nparties:\n  alice: {mistakes: wrong key}\nsteps: []\n");
    bench.play("alice registers\nalice is registration failed 403\nwait 60s");
    let registers = bench.sent("alice").iter().filter(|told| told.label() == "REGISTER").count();
    assert_eq!(registers, 3);
}

fn resync() {
    let mut hand = alice();
    let first = challenged(&mut hand, NO);
    hand.bench.mark();
    let auts = hand.out_of_step(&first, 1 << 30);
    let second = hand.register(&auts);
    assert_eq!(label(&second), "401 REGISTER");
    let mars = hand.asked("s1", "MAR");
    assert_eq!(mars.len(), 1);
    let item = mars[0].find(&dictionary::SIP_AUTH_DATA_ITEM).expect("an item").as_group();
    let item = item.expect("a group");
    let sent = item.iter().find(|avp| avp.code == dictionary::SIP_AUTHORIZATION.code);
    let sent = &sent.expect("SIP-Authorization").data;
    let token = super::hand::credentials_of(&auts);
    let token = cscf_core::auth::Auts::decode(token.auts().expect("auts")).expect("an AUTS");
    assert_eq!(sent[..], [&rand(&challenge(&first))[..], &token.to_bytes()[..]].concat()[..]);
    assert_ne!(rand(&challenge(&second)), rand(&challenge(&first)));
    // The new vector is above the card's number.
    let nonce = cscf_core::auth::AkaNonce::decode(challenge(&second).nonce().expect("a nonce"));
    let nonce = nonce.expect("a nonce");
    let ak = cscf_core::auth::AkaFunctions::f2345(&hand.milenage(), &nonce.rand).ak;
    let sqn: Vec<u8> = nonce.autn.concealed_sqn.iter().zip(ak).map(|(a, b)| a ^ b).collect();
    let sqn = sqn.iter().fold(0_u64, |so_far, byte| so_far << 8 | u64::from(*byte));
    assert!(sqn >> 5 > 1 << 30, "{sqn:x}");
    // The old vector is worth nothing, the new one registers.
    let old = hand.proof(&first, YES);
    assert_ne!(label(&hand.register(&old)), "200 REGISTER");
    let mut hand = alice();
    let first = challenged(&mut hand, NO);
    let auts = hand.out_of_step(&first, 1 << 30);
    let second = hand.register(&auts);
    let proof = hand.proof(&second, YES);
    assert_eq!(label(&hand.register(&proof)), "200 REGISTER");

    // A response that is right beside AUTS is not looked at.
    let mut hand = alice();
    let asked = challenged(&mut hand, NO);
    let auts = super::hand::credentials_of(&hand.out_of_step(&asked, 1 << 30));
    let auts = cscf_core::auth::Auts::decode(auts.auts().expect("auts")).expect("an AUTS");
    let both = line(hand.credentials(&asked).with_auts(&auts), YES);
    assert_eq!(label(&hand.register(&both)), "401 REGISTER");
    batch_is_discarded();

    // Twice is repaired, no third time.
    let mut hand = alice();
    let mut asked = challenged(&mut hand, NO);
    for expected in ["401 REGISTER", "401 REGISTER", "403 REGISTER"] {
        let auts = hand.out_of_step(&asked, 1 << 30);
        asked = hand.register(&auts);
        assert_eq!(label(&asked), expected);
    }
}

/// Vectors that were fetched together with one that is out of step are not used.
fn batch_is_discarded() {
    let mut hand = alice();
    restart_s1(&mut hand.bench, |config| {
        config.vectors_per_request = 3;
        config.reauthenticate_every = 1;
    });
    hand.bench.mark();
    let first = challenged(&mut hand, NO);
    let auts = hand.out_of_step(&first, 1 << 30);
    let mut asked = hand.register(&auts);
    let mut last = 0;
    for _ in 0..3 {
        let sqn = super::registrar::sqn(&hand, &asked);
        assert!(sqn >> 5 > 1 << 30 && sqn > last, "{sqn:x}");
        last = sqn;
        let proof = hand.proof(&asked, YES);
        assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
        asked = challenged(&mut hand, YES);
    }
    // One for the first batch, one for the repair, one when that was used up.
    assert_eq!(hand.asked("s1", "MAR").len(), 3);
}

fn silence() {
    let mut hand = alice();
    let asked = challenged(&mut hand, NO);
    hand.bench.run_for(Duration::from_secs(241));
    assert_eq!(assignments(&hand), [AUTHENTICATION_TIMEOUT]);
    let late = hand.proof(&asked, YES);
    assert_ne!(label(&hand.register(&late)), "200 REGISTER");

    let mut hand = alice();
    hand.registered(NO, YES);
    let asked = challenged(&mut hand, NO);
    hand.bench.mark();
    hand.bench.run_for(Duration::from_secs(241));
    assert_eq!(assignments(&hand), [AUTHENTICATION_TIMEOUT]);
    assert_eq!(bindings(&mut hand).len(), 1);
    hand.bench.mark();
    let late = hand.proof(&asked, None);
    assert_eq!(label(&hand.register(&late)), "401 REGISTER");
    assert_eq!(assignments(&hand), [] as [u32; 0]);
}

fn digest() {
    let carol = || Hand::at_scscf(Bench::new(&[]), "carol");
    let mut hand = carol();
    let asked = challenged(&mut hand, None);
    let wrong = hand.wrong(&asked, None);
    assert_eq!(label(&hand.register(&wrong)), "403 REGISTER");

    // A nonce nobody gave: a new one, and nothing is stale.
    let mut hand = carol();
    let asked = challenged(&mut hand, None);
    let nonce = challenge(&asked).nonce().expect("a nonce").to_owned();
    let unknown = header(&asked, "WWW-Authenticate").replace(&nonce, "nobodysnonce");
    let made = hand.answer(&unknown.parse().expect("a challenge"), b"carol-secret");
    let again = hand.register(&line(made, None));
    assert_eq!(label(&again), "401 REGISTER");
    assert!(!challenge(&again).is_stale());
    assert!(![nonce.as_str(), "nobodysnonce"].contains(&challenge(&again).nonce().expect("one")));

    // The nonce of the registration, too old: stale if the response is right, else just wrong.
    for (right, expected) in [(true, "401 REGISTER"), (false, "403 REGISTER")] {
        let mut hand = carol();
        hand.contact = hand.contact.replace("3600", "100000");
        let asked = challenged(&mut hand, None);
        let proof = hand.proof(&asked, None);
        assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
        hand.bench.run_for(Duration::from_secs(3700));
        let again = if right { proof } else { hand.wrong(&asked, None) };
        let answer = hand.register(&again);
        assert_eq!(label(&answer), expected);
        let stale = label(&answer) == "401 REGISTER" && challenge(&answer).is_stale();
        assert_eq!(stale, right);
    }
}

fn unprotected() {
    let mut hand = alice();
    let first = challenged(&mut hand, NO);
    let right = hand.proof(&first, NO);
    let second = hand.register(&right);
    assert_eq!(label(&second), "401 REGISTER");
    assert_ne!(rand(&challenge(&second)), rand(&challenge(&first)));
    assert_eq!(assignments(&hand), [] as [u32; 0]);
}

fn nothing_is_lost() {
    let mut hand = alice();
    let ok = hand.registered(NO, YES);
    let route = header(&ok, "Service-Route");
    let mut watcher = watch(&mut hand, &format!("sip:alice@{DOMAIN}"), 600_000);
    hand.bench.mark();

    // A wrong response, two wrong MACs, an unprotected right one, silence.
    let asked = challenged(&mut hand, NO);
    let wrong = hand.wrong(&asked, YES);
    assert_eq!(label(&hand.register(&wrong)), "403 REGISTER");
    let mut asked = challenged(&mut hand, NO);
    for _ in 0..2 {
        let failure = hand.mac_failure(&asked);
        asked = hand.register(&failure);
    }
    assert_eq!(label(&asked), "403 REGISTER");
    challenged(&mut hand, NO);
    hand.bench.run_for(Duration::from_secs(300));

    let told: Vec<_> =
        hand.bench.sent("s1").into_iter().filter(|it| it.label() == "NOTIFY").collect();
    assert_eq!(told.len(), 0, "nothing changed");
    assert_eq!(bindings(&mut hand).len(), 1);
    let again = hand.unchallenged(YES);
    assert_eq!(header(&hand.register(&again), "Service-Route"), route);
    let told = watcher.notified(&mut hand);
    assert!(told.iter().any(|it| it.text.contains("event=\"refreshed\"")), "{told:?}");
    // It ends when its time is over, not before.
    hand.bench.run_for(Duration::from_secs(3500));
    assert_eq!(bindings(&mut hand).len(), 1);
    hand.bench.run_for(Duration::from_secs(200));
    let told = watcher.notified(&mut hand);
    assert!(told.iter().any(|it| it.text.contains("event=\"expired\"")), "{told:?}");
    let _: &Watcher = &watcher;
}

fn unauthorized() {
    // Seen by the UE: who challenges anew is the S-CSCF, and each nonce is another.
    let mut hand = Hand::ue(Bench::new(&[]), "alice");
    let mut nonces = Vec::new();
    let first = challenged(&mut hand, None);
    let failure = hand.mac_failure(&first);
    let second = hand.register(&failure);
    let auts = hand.out_of_step(&second, 1 << 30);
    let third = hand.register(&auts);
    for answer in [&first, &second, &third] {
        let shown = challenge(answer);
        assert!(!header(answer, "WWW-Authenticate").contains(", ck="));
        assert!(header(answer, "To").contains(";tag="));
        assert_eq!(header(answer, "Call-ID"), hand.call_id);
        nonces.push(shown.nonce().expect("a nonce").to_owned());
    }
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 3);
    // The keys are there between S-CSCF and P-CSCF.
    let on_mw = hand.bench.sent("s1");
    let on_mw: Vec<_> = on_mw.iter().filter(|told| told.label() == "401 REGISTER").collect();
    assert_eq!(on_mw.len(), 3);
    for told in on_mw {
        assert!(told.header("WWW-Authenticate").contains("ck=\""));
        assert!(told.header("WWW-Authenticate").contains("ik=\""));
    }
    let proof = hand.proof(&third, None);
    assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
    let cseqs: Vec<String> = hand
        .bench
        .received("s1")
        .iter()
        .filter(|told| told.label() == "REGISTER")
        .map(|told| told.header("CSeq"))
        .collect();
    assert_eq!(cseqs, ["1 REGISTER", "2 REGISTER", "3 REGISTER", "4 REGISTER"]);

    // A stale nonce, and a right response with integrity-protected="no".
    let (mut hand, asked) = {
        let mut hand = alice();
        let asked = challenged(&mut hand, NO);
        (hand, asked)
    };
    let right = hand.proof(&asked, NO);
    let again = hand.register(&right);
    assert_ne!(challenge(&again).nonce(), challenge(&asked).nonce());
    assert!(!values(&again, HeaderName::WwwAuthenticate).is_empty());
    let mut hand = Hand::at_scscf(Bench::new(&[]), "carol");
    let asked = challenged(&mut hand, None);
    let proof = hand.proof(&asked, None);
    assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
    let again = hand.register(&proof);
    assert!(challenge(&again).is_stale());
    // A re-authentication.
    let mut hand = alice();
    hand.registered(NO, YES);
    challenged(&mut hand, NO);
}
