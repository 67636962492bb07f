//! Wildcarded identities, TS 23.003 §13.4A: one identity of the profile stands for many, at the HSS
//! and at the S-CSCF. The client stands in the place of i1.

use cscf_core::auth::IntegrityProtected;
use cscf_core::diameter::dictionary;
use cscf_core::sip::{HeaderName, Message};
use cscf_tests::{Bench, DOMAIN, header, label};

use super::cx::{provision, subscriber_of};
use super::hand::{A_MOMENT, Hand, values};
use super::registrar::with_profile;
use super::scscf_register::message_to;
use super::{Case, case};

const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("wildcards::whoever_matches_is_served", &[], served),
        case("wildcards::hostile_expressions_stand_for_nobody", &[], hostile),
        case("wildcards::the_profile_key_travels_with_the_request", &["S-TER-150"], profile_key),
    ]
}

/// A PBX: a main identity and everybody behind it.
fn pbx() -> (Hand, [String; 2]) {
    let identities = [format!("sip:pbx@{DOMAIN}"), format!("sip:pbx-!.*!@{DOMAIN}")];
    let [main, wild] = &identities;
    let mut hand = with_profile(&[(main, false), (wild, false)], |_| {});
    // Another subscriber inside of what the wildcard covers.
    provision(&mut hand.bench, subscriber_of("own", &[(&format!("sip:pbx-own@{DOMAIN}"), false)]));
    (hand, identities)
}

fn requests(heard: &[Message]) -> Vec<(String, String)> {
    let of = heard.iter().filter_map(|message| match message {
        Message::Request(request) => Some((request.request_uri.to_string(), header(message, "To"))),
        Message::Response(_) => None,
    });
    of.collect()
}

fn served() {
    // It registers with the main identity, or with one that only the wildcard holds.
    for who in ["pbx", "pbx-desk"] {
        let (mut hand, [main, _]) = pbx();
        let edge = hand.bench.raw("edge");
        hand.lines = format!("Path: <sip:tok@{edge};lr>\nRequire: path\n");
        hand.impu = format!("sip:{who}@{DOMAIN}");
        let trusted = hand.trusted();
        let ok = hand.register(&trusted);
        assert_eq!(label(&ok), "200 REGISTER", "{who}");
        assert_eq!(values(&ok, HeaderName::PAssociatedUri), [format!("<{main}>")]);
        let again = hand.unchallenged(YES);
        assert_eq!(label(&hand.register(&again)), "200 REGISTER", "a refresh");
        // So does the other subscriber, who has an identity of its own.
        let (impi, impu, lines) =
            (hand.who.impi.clone(), hand.impu.clone(), std::mem::take(&mut hand.lines));
        hand.who.impi = format!("own@{DOMAIN}");
        hand.impu = format!("sip:pbx-own@{DOMAIN}");
        let trusted = hand.trusted();
        let own = hand.register(&trusted);
        assert_eq!(header(&own, "P-Associated-URI"), format!("<{}>", hand.impu));
        (hand.who.impi, hand.impu, hand.lines) = (impi, impu, lines);
        // Everybody behind it can be called, nobody else.
        for (to, reached) in
            [("pbx", true), ("pbx-7", true), ("pbx-lobby", true), ("pbx-own", false), ("pb", false)]
        {
            let to = format!("sip:{to}@{DOMAIN}");
            message_to(&mut hand, &to);
            let heard = requests(&hand.bench.heard("edge"));
            let came = heard.iter().any(|it| it.1 == format!("<{to}>"));
            assert_eq!(came, reached, "{to}: {heard:?}");
        }
        // And may call: what it asserts of itself stays.
        let (at, route) = (hand.at, header(&ok, "Service-Route"));
        let text = format!(
            "MESSAGE sip:zoe@{at} SIP/2.0\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-w\n\
             Route: {route}\nMax-Forwards: 70\nFrom: <sip:pbx-7@{DOMAIN}>;tag=w\n\
             To: <sip:zoe@{at}>\nCall-ID: w\nCSeq: 1 MESSAGE\n\
             P-Asserted-Identity: <sip:pbx-7@{DOMAIN}>\nContent-Length: 0\n"
        );
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        let heard = hand.bench.heard("fake");
        let went = heard.iter().find(|it| header(it, "To").contains("zoe")).expect("it goes on");
        let asserted = header(went, "P-Asserted-Identity");
        assert!(asserted.contains(&format!("sip:pbx-7@{DOMAIN}")), "{asserted}");
        // The HSS is asked by what registers, and finds it.
        let sars = hand.asked("s1", "SAR");
        assert_eq!(sars[0].text(&dictionary::PUBLIC_IDENTITY), Some(hand.impu.as_str()));
        // With the registration the wildcard is gone.
        let lines = hand.trusted() + "Contact: *\nExpires: 0\n";
        assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
        message_to(&mut hand, &format!("sip:pbx-7@{DOMAIN}"));
        assert_eq!(hand.answered().map(|it| label(&it)).as_deref(), Some("480 MESSAGE"));
    }
}

fn hostile() {
    // The profile comes from an HSS that checks nothing: such an identity stands for nobody, and
    // the user is registered all the same.
    let own = format!("sip:erin@{DOMAIN}");
    let long = "a".repeat(2_000);
    for expression in ["(", "a)|(.*", "(a{999}){999}", long.as_str()] {
        let wild = format!("sip:!{expression}!@{DOMAIN}");
        let identity =
            |uri: &str| format!("<PublicIdentity><Identity>{uri}</Identity></PublicIdentity>");
        let document = format!(
            "<IMSSubscription><PrivateID>erin@{DOMAIN}</PrivateID><ServiceProfile>{}{}\
             </ServiceProfile></IMSSubscription>",
            identity(&own),
            identity(&wild)
        );
        let mut hand = with_profile(&[(&own, false)], |user| {
            user.implicit_sets[0].profile_xml = Some(document);
        });
        let edge = hand.bench.raw("edge");
        hand.lines = format!("Path: <sip:tok@{edge};lr>\nRequire: path\n");
        let trusted = hand.trusted();
        assert_eq!(label(&hand.register(&trusted)), "200 REGISTER", "{expression:.20}");
        for (to, reached) in [("erin", true), ("aaa", false)] {
            let to = format!("<sip:{to}@{DOMAIN}>");
            message_to(&mut hand, to.trim_matches(['<', '>']));
            let heard = requests(&hand.bench.heard("edge"));
            assert_eq!(heard.iter().any(|it| it.1 == to), reached, "{to}");
        }
    }
    // The HSS of the lab takes no such subscriber.
    let mut hand = Hand::at_scscf(Bench::new(&[]), "carol");
    let wild = format!("sip:!(!@{DOMAIN}");
    provision(&mut hand.bench, subscriber_of("erin", &[(&own, false), (&wild, false)]));
    hand.who.impi = format!("erin@{DOMAIN}");
    hand.impu = own;
    let trusted = hand.trusted();
    assert_eq!(label(&hand.register(&trusted)), "403 REGISTER");
}

fn profile_key() {
    let wild = format!("sip:hall-!.*!@{DOMAIN}");
    let mut bench = Bench::of(&format!(
        "scenario: none\nparties:\n  alice: {{}}\nlab:\n  nodes:\n    \
         as1: {{role: as, listen: \"127.0.0.1:7060\", behaviour: refuses 486}}\n  subscribers:\n    \
         hall:\n      impi: hall@{DOMAIN}\n      \
         impus: [\"sip:hall@{DOMAIN}\", \"{wild}\"]\n      \
         digest: {{password: hall-secret, algorithms: [MD5]}}\n      filter_criteria:\n        \
         - {{priority: 1, server: as1, all_of: [{{session_case: terminating unregistered}}]}}\n\
         steps: []\n"
    ));
    bench.register(&["alice"]);
    bench.run_for(A_MOMENT);
    bench.mark();
    bench.play(&format!("alice calls sip:hall-7@{DOMAIN}\nalice is call failed 486"));
    let told = |node: &str, name: &str| {
        let all = super::hand::asked(&bench, node, name);
        let last = all.last().unwrap_or_else(|| panic!("{name} of {node}"));
        last.text(&dictionary::WILDCARDED_PUBLIC_IDENTITY).map(str::to_owned)
    };
    assert_eq!(told("hss", "LIA"), Some(wild.clone()));
    let to_s1 = super::by_hand::one(&bench, "i1", bench.addr("s1"), "INVITE");
    assert_eq!(to_s1.header("P-Profile-Key"), format!("<{wild}>"));
    assert_eq!(told("s1", "SAR"), Some(wild));
    let served = super::by_hand::one(&bench, "s1", bench.addr("as1"), "INVITE");
    assert!(served.header("P-Served-User").contains("regstate=unreg"));
    // A distinct identity needs no key.
    bench.mark();
    bench.play(&format!("alice calls sip:hall@{DOMAIN}\nalice is call failed 486"));
    let to_s1 = super::by_hand::one(&bench, "i1", bench.addr("s1"), "INVITE");
    assert_eq!(to_s1.header("P-Profile-Key"), "");
}
