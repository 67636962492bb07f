//! Requests other than REGISTER that a user of SIP digest has to prove, TS 24.229 §5.4.3.6.

use cscf_core::auth::{Answer, Challenge, Credentials, IntegrityProtected};
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::hand::{A_MOMENT, Hand, restart_s1};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("proxy_authentication::a_digest_user_proves_its_requests", &["S-AUT-070"], proven),
        case("proxy_authentication::an_answer_has_four_minutes", &["T-TRN-090b"], await_auth),
        case("proxy_authentication::only_who_has_a_password_is_asked", &[], others),
    ]
}

/// Carol at s1 with the policy on, her Service-Route, and who takes what she sends.
fn carol() -> (Hand, String) {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "carol");
    restart_s1(&mut hand.bench, |config| config.proxy_authentication = true);
    let ok = hand.registered(None, None);
    let route = header(&ok, "Service-Route");
    (hand, route)
}

/// A request of carol; `fake` hears it again when s1 forwards it to the entry point.
fn request(hand: &mut Hand, method: &str, route: &str, lines: &str) -> Vec<Message> {
    hand.cseq += 1;
    let (at, cseq, impu) = (hand.at, hand.cseq, hand.impu.clone());
    let text = format!(
        "{method} sip:bob@{DOMAIN} SIP/2.0\n\
         Via: SIP/2.0/UDP {at};branch=z9hG4bK-r{cseq}\n\
         Route: {route}\n\
         Max-Forwards: 70\n\
         From: <{impu}>;tag=r\n\
         To: <sip:bob@{DOMAIN}>\n\
         Call-ID: r\n\
         CSeq: {cseq} {method}\n\
         Contact: <sip:carol@{at}>\n\
         P-Asserted-Identity: <{impu}>\n\
         {lines}Content-Length: 0\n"
    );
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    hand.bench.heard("fake")
}

fn final_of(heard: &[Message]) -> Option<&Message> {
    heard.iter().rev().find(|it| super::hand::status(it) >= 200)
}

fn challenge_of(answer: &Message) -> Challenge {
    header(answer, "Proxy-Authenticate").parse().expect("a challenge")
}

fn proof(hand: &Hand, challenge: &Challenge, method: &str, password: &str, nc: &str) -> String {
    let answer = Answer {
        username: &hand.who.impi,
        password: password.as_bytes(),
        method,
        uri: &format!("sip:bob@{DOMAIN}"),
        cnonce: "hand",
        nc,
        body: b"",
    };
    let credentials = Credentials::answer(challenge, &answer).expect("credentials");
    format!("Proxy-Authorization: {credentials}\n")
}

fn proven() {
    for method in ["INVITE", "MESSAGE"] {
        let (mut hand, route) = carol();
        let heard = request(&mut hand, method, &route, "");
        let asked = final_of(&heard).expect("an answer").clone();
        assert_eq!(label(&asked), format!("407 {method}"));
        assert!(heard.iter().all(|it| label(it) != method), "it goes no further");
        let shown = challenge_of(&asked);
        assert_eq!(shown.realm().as_deref(), Some(DOMAIN));
        assert_eq!(shown.algorithm(), Ok(cscf_core::auth::Algorithm::MD5));
        // The right answer is taken, and taken away; those for other realms are not.
        let other = "Proxy-Authorization: Digest realm=\"elsewhere\",nonce=\"x\"\n";
        let right = proof(&hand, &shown, method, "carol-secret", "00000001");
        let heard = request(&mut hand, method, &route, &format!("{right}{other}"));
        let went = heard.iter().find(|it| label(it) == method).expect("forwarded");
        let left = header(went, "Proxy-Authorization");
        assert!(left.contains("elsewhere") && !left.contains(DOMAIN), "{left}");
        // The nonce may be used again with the next count, not with the same.
        let next = proof(&hand, &shown, method, "carol-secret", "00000002");
        let heard = request(&mut hand, method, &route, &next);
        assert!(heard.iter().any(|it| label(it) == method));
        let heard = request(&mut hand, method, &route, &next);
        let stale = final_of(&heard).expect("an answer");
        assert_eq!(label(stale), format!("407 {method}"));
        assert!(challenge_of(stale).is_stale());
        assert_ne!(challenge_of(stale).nonce(), shown.nonce(), "fresh");
    }
    // Wrong: another challenge, then 403.
    let (mut hand, route) = carol();
    let heard = request(&mut hand, "MESSAGE", &route, "");
    let mut asked = final_of(&heard).expect("an answer").clone();
    for expected in ["407 MESSAGE", "403 MESSAGE"] {
        let wrong = proof(&hand, &challenge_of(&asked), "MESSAGE", "guess", "00000001");
        let heard = request(&mut hand, "MESSAGE", &route, &wrong);
        asked = final_of(&heard).expect("an answer").clone();
        assert_eq!(label(&asked), expected);
        assert!(heard.iter().all(|it| label(it) != "MESSAGE"));
    }
    assert_eq!(header(&asked, "Proxy-Authenticate"), "");
    // An answer has four minutes.
    for (wait, taken) in [(230, true), (250, false)] {
        let (mut hand, route) = carol();
        let heard = request(&mut hand, "MESSAGE", &route, "");
        let shown = challenge_of(final_of(&heard).expect("an answer"));
        hand.bench.run_for(Duration::from_secs(wait));
        let late = proof(&hand, &shown, "MESSAGE", "carol-secret", "00000001");
        let heard = request(&mut hand, "MESSAGE", &route, &late);
        assert_eq!(heard.iter().any(|it| label(it) == "MESSAGE"), taken, "after {wait} s");
    }
}

fn await_auth() {
    for (wait, taken) in [(239, true), (241, false)] {
        let (mut hand, route) = carol();
        let heard = request(&mut hand, "MESSAGE", &route, "");
        let shown = challenge_of(final_of(&heard).expect("an answer"));
        hand.bench.run_for(Duration::from_secs(wait));
        let right = proof(&hand, &shown, "MESSAGE", "carol-secret", "00000001");
        let heard = request(&mut hand, "MESSAGE", &route, &right);
        assert_eq!(heard.iter().any(|it| label(it) == "MESSAGE"), taken, "after {wait} s");
        if !taken {
            let stale = final_of(&heard).expect("an answer");
            assert_eq!(label(stale), "407 MESSAGE");
            assert!(challenge_of(stale).is_stale());
        }
    }
}

fn others() {
    // A user of IMS AKA, and everybody while the policy is off.
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    restart_s1(&mut hand.bench, |config| config.proxy_authentication = true);
    hand.impu = format!("sip:alice@{DOMAIN}");
    let ok = hand.registered(Some(IntegrityProtected::No), Some(IntegrityProtected::Yes));
    let route = header(&ok, "Service-Route");
    let heard = request(&mut hand, "MESSAGE", &route, "");
    assert!(heard.iter().any(|it| label(it) == "MESSAGE"));
    let mut hand = Hand::at_scscf(Bench::new(&[]), "carol");
    let ok = hand.registered(None, None);
    let route = header(&ok, "Service-Route");
    let heard = request(&mut hand, "MESSAGE", &route, "");
    assert!(heard.iter().any(|it| label(it) == "MESSAGE"));
    assert!(heard.iter().all(|it| !it.headers().contains(HeaderName::ProxyAuthenticate)));
}
