//! What the S-CSCF asks, stores and answers as registrar, TS 24.229 §5.4.1.2: the client stands in
//! the place of i1, the HSS is the real one.

use cscf_core::auth::{AkaFunctions, Algorithm, Challenge, IntegrityProtected, aka_password};
use cscf_core::cx::{CxCommand, CxResult};
use cscf_core::diameter::dictionary;
use cscf_core::hss::{self, Misbehaviour, PrivateIdentity};
use cscf_core::operator::{Order, Show};
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};
use s_cscf::HssFailure;

use super::cx::{provision, subscriber_of};
use super::hand::{A_MOMENT, Hand, challenge, line, rand, restart_s1, values};
use super::hss_faults::misbehave;
use super::reg_event::{registrations, watch};
use super::scscf_register::{assignments, bindings, message_to};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("registrar::vectors_are_used_first_in_first_out_and_once", &["S-REG-020"], vectors),
        case("registrar::the_hss_assigns_before_the_200", &["S-REG-080"], assignment),
        case("registrar::the_200_tells_what_the_ue_needs", &["S-REG-090"], answer),
        case("registrar::policy_challenges_a_protected_register", &[], policy),
        case("registrar::another_contact_takes_the_place", &["S-REG-210"], replaced),
        case("registrar::a_silent_hss_leaves_nothing", &["S-REG-250"], silent_hss),
        case("registrar::an_unusable_profile_is_given_back", &["S-REG-260"], unusable),
        case("registrar::two_users_share_an_identity", &["S-REG-330"], shared),
        case("registrar::algorithms_are_offered_best_first", &["S-REG-360"], algorithms),
        case("registrar::a_stranger_takes_no_challenge_away", &[], stranger),
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

fn text(message: &cscf_core::diameter::Message, what: &dictionary::Definition) -> String {
    message.text(what).unwrap_or_default().to_owned()
}

/// The sequence number of a challenge of the USIM.
pub(crate) fn sqn(hand: &Hand, challenged: &Message) -> u64 {
    let nonce = challenge(challenged).nonce().expect("a nonce").to_owned();
    let nonce = cscf_core::auth::AkaNonce::decode(&nonce).expect("an AKA nonce");
    let ak = hand.milenage().f2345(&nonce.rand).ak;
    let octets = nonce.autn.concealed_sqn.iter().zip(ak).map(|(a, b)| a ^ b);
    octets.fold(0, |so_far, octet| so_far << 8 | u64::from(octet))
}

fn vectors() {
    for batch in [1, 3] {
        let mut hand = alice();
        restart_s1(&mut hand.bench, |config| {
            config.vectors_per_request = batch;
            config.reauthenticate_every = 1;
        });
        hand.bench.mark();
        let mut seen = Vec::new();
        for round in 0..5 {
            let asked = challenged(&mut hand, if round == 0 { NO } else { YES });
            seen.push((sqn(&hand, &asked), rand(&challenge(&asked))));
            let proof = hand.proof(&asked, YES);
            assert_eq!(label(&hand.register(&proof)), "200 REGISTER", "round {round}");
        }
        let mars = hand.asked("s1", "MAR");
        assert_eq!(mars.len(), 5_usize.div_ceil(batch as usize), "a batch of {batch}");
        assert_eq!(text(&mars[0], &dictionary::USER_NAME), hand.who.impi);
        assert_eq!(text(&mars[0], &dictionary::PUBLIC_IDENTITY), hand.impu);
        assert_eq!(text(&mars[0], &dictionary::SERVER_NAME), format!("sip:{}", hand.to));
        let count = mars[0].number(&dictionary::SIP_NUMBER_AUTH_ITEMS);
        assert_eq!(count.expect("a number"), batch);
        let item = mars[0].find(&dictionary::SIP_AUTH_DATA_ITEM).expect("an item");
        let scheme = item.as_group().expect("a group").into_iter().find_map(|avp| {
            let wanted = avp.code == dictionary::SIP_AUTHENTICATION_SCHEME.code;
            wanted.then(|| avp.as_text().expect("text").to_owned())
        });
        assert_eq!(scheme.as_deref(), Some("Digest-AKAv1-MD5"));
        // In the order of their sequence numbers, none twice.
        assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "{seen:?}");
        let mut rands: Vec<_> = seen.iter().map(|(_, rand)| *rand).collect();
        rands.sort_unstable();
        rands.dedup();
        assert_eq!(rands.len(), 5);
    }
}

fn assignment() {
    let mut hand = alice();
    let asked = challenged(&mut hand, NO);
    hand.bench.mark();
    let proof = hand.proof(&asked, YES);
    let ok = hand.register(&proof);
    assert_eq!(label(&ok), "200 REGISTER");
    let sars = hand.asked("s1", "SAR");
    let [sar] = sars.as_slice() else { panic!("one SAR") };
    assert_eq!(text(sar, &dictionary::USER_NAME), hand.who.impi);
    assert_eq!(text(sar, &dictionary::PUBLIC_IDENTITY), hand.impu);
    assert_eq!(text(sar, &dictionary::SERVER_NAME), format!("sip:{}", hand.to));
    assert_eq!(sar.number(&dictionary::SERVER_ASSIGNMENT_TYPE).expect("a type"), 1);
    let available = sar.number(&dictionary::USER_DATA_ALREADY_AVAILABLE);
    assert_eq!(available.expect("a number"), 0);
    // What came is stored: the set in the 200, and each identity of it can be called.
    let set = header(&ok, "P-Associated-URI");
    assert!(set.contains("tel:+15550100001") && set.contains("sip:alice@"), "{set}");

    // While the HSS says nothing there is no 200; once it refuses there is none at all.
    let mut hand = alice();
    let asked = challenged(&mut hand, NO);
    let late = Misbehaviour::Late(Duration::from_secs(2));
    misbehave(&mut hand.bench, CxCommand::Sar, late, Some(1));
    let proof = hand.proof(&asked, YES);
    let text = hand.next(&proof);
    hand.send(&text);
    hand.bench.run_for(Duration::from_secs(1));
    assert!(hand.answered().is_none(), "not before the SAA");
    hand.bench.run_for(Duration::from_secs(2));
    assert_eq!(hand.answered().map(|it| label(&it)).as_deref(), Some("200 REGISTER"));
    stored();
}

/// What an SAA told is kept, each part of it.
fn stored() {
    let [first, second] = ["erin", "erin.second"].map(|user| format!("sip:{user}@{DOMAIN}"));
    let identity =
        |uri: &str| format!("<PublicIdentity><Identity>{uri}</Identity></PublicIdentity>");
    let document = format!(
        "<IMSSubscription><PrivateID>erin@{DOMAIN}</PrivateID><ServiceProfile>{}{}\
         <InitialFilterCriteria><Priority>1</Priority><TriggerPoint><ConditionTypeCNF>1\
         </ConditionTypeCNF><SPT><Group>0</Group><Method>REGISTER</Method></SPT></TriggerPoint>\
         <ApplicationServer><ServerName>sip:127.1.0.201:5060</ServerName></ApplicationServer>\
         </InitialFilterCriteria></ServiceProfile></IMSSubscription>",
        identity(&first),
        identity(&second)
    );
    let tablet = format!("tablet@{DOMAIN}");
    let mut hand = with_profile(&[(&first, false), (&second, false)], |user| {
        user.charging_ccf = Some("aaa://ccf.example".to_owned());
        user.implicit_sets[0].profile_xml = Some(document);
        let credentials = user.private_identities[0].credentials.clone();
        user.private_identities.push(PrivateIdentity { impi: tablet.clone(), credentials });
    });
    hand.bench.raw("server");
    let edge = hand.bench.raw("edge");
    hand.lines = format!("Path: <sip:tok@{edge};lr>\nRequire: path\n");
    let trusted = hand.trusted();
    let ok = hand.register(&trusted);
    // The set, the charging addresses.
    let set = [format!("<{first}>"), format!("<{second}>")];
    assert_eq!(values(&ok, HeaderName::PAssociatedUri), set);
    assert!(header(&ok, "P-Charging-Function-Addresses").contains("ccf.example"));
    for to in [&first, &second] {
        message_to(&mut hand, to);
        let came = hand.bench.heard("edge").iter().any(|it| header(it, "To") == format!("<{to}>"));
        assert!(came, "{to}");
    }
    // The filter criteria.
    assert!(hand.bench.heard("server").iter().any(|it| label(it) == "REGISTER"));
    // Who may register the set, too.
    let order = Order::Show { what: Show::Registrations, of: Vec::new() };
    let shown = hand.bench.stage.lab.order("s1", &order);
    let shown = format!("{shown:?}");
    assert!(shown.contains(&format!("erin@{DOMAIN}, {tablet}")), "{shown}");
}

fn answer() {
    let mut hand = alice();
    restart_s1(&mut hand.bench, |config| {
        config.feature_caps = Some("*;+g.3gpp.test".to_owned());
    });
    hand.impu = format!("sip:+15550100001@{DOMAIN};user=phone");
    hand.outbound();
    let flow = |id: u8| {
        let instance = "+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000001>\"";
        format!("Contact: <sip:alice@10.0.0.{id}>;{instance};reg-id={id};expires=3600\n")
    };
    let lines = hand.unchallenged(NO) + &flow(1);
    let asked = hand.register(&lines);
    let lines = hand.proof(&asked, YES) + &flow(1);
    let ok = hand.register(&lines);
    assert_eq!(label(&ok), "200 REGISTER");
    let path = hand.lines.lines().next().and_then(|it| it.strip_prefix("Path: "));
    assert_eq!(header(&ok, "Path"), path.expect("a Path"));
    assert_eq!(header(&ok, "Require"), "outbound");
    assert_eq!(header(&ok, "Feature-Caps"), "*;+g.3gpp.test");
    let set = values(&ok, HeaderName::PAssociatedUri);
    let expected = [
        format!("<sip:+15550100001@{DOMAIN};user=phone>"),
        "<tel:+15550100001>".to_owned(),
        format!("<sip:alice@{DOMAIN}>"),
    ];
    assert_eq!(set, expected, "the default first, aliases, nothing barred");
    let vector = header(&ok, "P-Charging-Vector");
    assert!(vector.contains("icid-value=\"hand-1\""), "{vector}");
    assert!(vector.contains("orig-ioi=\"Type 1visited.example\""), "{vector}");
    assert!(vector.contains(&format!("term-ioi=\"Type 1{DOMAIN}\"")), "{vector}");

    // The second flow: both contacts with their time, and a Service-Route of its own.
    let lines = hand.unchallenged(YES) + &flow(2);
    let both = hand.register(&lines);
    let contacts = values(&both, HeaderName::Contact);
    assert_eq!(contacts.len(), 2);
    assert!(contacts.iter().all(|it| it.contains("expires=")), "{contacts:?}");
    let (first, second) = (header(&ok, "Service-Route"), header(&both, "Service-Route"));
    for route in [&first, &second] {
        assert!(route.ends_with(&format!("@{};lr>", hand.to)), "{route}");
    }
    assert_ne!(first, second);
    let lines = hand.unchallenged(YES) + &flow(1);
    assert_eq!(header(&hand.register(&lines), "Service-Route"), first, "it stays the flow's");

    // Charging addresses go to a P-CSCF of this network only; wildcards are never told.
    for (visited, told) in [(DOMAIN, true), ("visited.example", false)] {
        let mut hand = with_profile(&[(&format!("sip:erin@{DOMAIN}"), false)], |user| {
            user.charging_ccf = Some("aaa://ccf.example".to_owned());
        });
        hand.lines = hand.lines.replace(&format!("\"{DOMAIN}\""), visited);
        let trusted = hand.trusted();
        let ok = hand.register(&trusted);
        let addresses = header(&ok, "P-Charging-Function-Addresses");
        assert_eq!(addresses.contains("ccf.example"), told, "{visited}: {addresses}");
    }
    let (own, wild) = (format!("sip:erin@{DOMAIN}"), format!("sip:erin!.*!@{DOMAIN}"));
    let mut hand = with_profile(&[(&own, false), (&wild, false)], |_| {});
    let trusted = hand.trusted();
    let ok = hand.register(&trusted);
    assert_eq!(header(&ok, "P-Associated-URI"), format!("<{own}>"));
}

/// A user `erin` with these identities.
pub(crate) fn with_profile(
    impus: &[(&str, bool)],
    change: impl FnOnce(&mut hss::Subscriber),
) -> Hand {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "carol");
    let mut erin = subscriber_of("erin", impus);
    change(&mut erin);
    provision(&mut hand.bench, erin);
    hand.who.impi = format!("erin@{DOMAIN}");
    impus[0].0.clone_into(&mut hand.impu);
    hand
}

fn policy() {
    // Every third REGISTER, or those whose authentication is older than ten minutes.
    for (every, after, expected) in [
        (3, None, ["200", "200", "401"]),
        (0, Some(Duration::from_secs(600)), ["200", "401", "401"]),
    ] {
        let mut hand = alice();
        restart_s1(&mut hand.bench, |config| {
            config.reauthenticate_every = every;
            config.reauthenticate_after = after;
        });
        hand.registered(NO, YES);
        let mut last = None;
        for status in expected {
            hand.bench.run_for(Duration::from_secs(400));
            let again = hand.unchallenged(YES);
            let answer = hand.register(&again);
            assert_eq!(label(&answer), format!("{status} REGISTER"), "{every} {after:?}");
            last = Some(answer);
        }
        let asked = last.expect("an answer");
        let proof = hand.proof(&asked, YES);
        assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
        // It counts from there anew.
        let again = hand.unchallenged(YES);
        assert_eq!(label(&hand.register(&again)), "200 REGISTER");
    }
}

fn replaced() {
    let mut hand = alice();
    let edge = hand.bench.raw("edge");
    hand.impu = format!("sip:+15550100001@{DOMAIN};user=phone");
    let to = hand.impu.clone();
    let p1 = hand.lines.clone();
    hand.lines = format!("Path: <sip:tok@{edge};lr>\nRequire: path\n");
    hand.registered(NO, YES);
    let mut watcher = watch(&mut hand, &to, 3600);
    // A call that rings at the old contact.
    let (at, s1) = (hand.at, hand.to);
    let invite = format!(
        "INVITE {to} SIP/2.0\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-inv\nRoute: <sip:{s1};lr>\n\
         Max-Forwards: 70\nFrom: <sip:bob@{DOMAIN}>;tag=i\nTo: <{to}>\nCall-ID: ringing\n\
         CSeq: 1 INVITE\nContact: <sip:bob@{at}>\nP-Asserted-Identity: <sip:bob@{DOMAIN}>\n\
         Content-Length: 0\n"
    );
    hand.send(&invite);
    hand.bench.run_for(A_MOMENT);
    let came = hand.bench.heard("edge");
    let ringing = super::hand::response(&came[0], "180 Ringing", "Contact: <sip:a@10.0.0.7>\n");
    hand.bench.send("edge", s1, &ringing);
    hand.bench.run_for(A_MOMENT);
    let _ = hand.bench.heard("fake");

    // The same private identity registers another contact.
    hand.lines = p1;
    "anew".clone_into(&mut hand.call_id);
    let other = "Contact: <sip:alice@10.0.0.9>;expires=3600\n";
    let lines = hand.unchallenged(NO) + other;
    let asked = hand.register(&lines);
    let lines = hand.proof(&asked, YES) + other;
    let text = hand.next(&lines);
    hand.send(&text);
    let (answers, told) = watcher.listen(&mut hand, Duration::from_secs(1));
    let labels: Vec<String> = answers.iter().map(label).collect();
    assert!(labels.contains(&"200 REGISTER".to_owned()), "{labels:?}");
    assert!(labels.contains(&"480 INVITE".to_owned()), "{labels:?}");
    let ok = answers.iter().find(|it| label(it) == "200 REGISTER").expect("a 200");
    let contacts = values(ok, HeaderName::Contact);
    assert!(contacts.len() == 1 && contacts[0].contains("10.0.0.9"), "{contacts:?}");
    let cancelled = hand.bench.heard("edge").iter().any(|it| label(it) == "CANCEL");
    assert!(cancelled, "the old contact rings no longer");
    let [told] = told.as_slice() else { panic!("{told:?}") };
    let old: Vec<_> =
        registrations(&told.text)[0].2.iter().filter(|it| it.0 == "terminated").cloned().collect();
    let [(_, event, uri)] = old.as_slice() else { panic!("{old:?}") };
    assert_eq!((event.as_str(), uri.contains(&at.to_string())), ("unregistered", true));
}

fn silent_hss() {
    for (failure, status, retry) in [
        (HssFailure::TimedOut, "504 REGISTER", ""),
        (HssFailure::RetryAfter(Duration::from_secs(7)), "500 REGISTER", "7"),
    ] {
        for (command, how) in [
            (CxCommand::Mar, Misbehaviour::Silent),
            (CxCommand::Sar, Misbehaviour::Silent),
            (CxCommand::Mar, Misbehaviour::Answer(CxResult::UnableToComply)),
            (CxCommand::Sar, Misbehaviour::Answer(CxResult::UnableToComply)),
        ] {
            let mut hand = alice();
            restart_s1(&mut hand.bench, |config| config.hss_failure = failure);
            misbehave(&mut hand.bench, command, how, Some(1));
            let mut lines = hand.unchallenged(NO);
            if command == CxCommand::Sar {
                let asked = hand.register(&lines);
                lines = hand.proof(&asked, YES);
            }
            let text = hand.next(&lines);
            hand.send(&text);
            hand.bench.run_for(Duration::from_secs(30));
            let answer = hand.answered().expect("a final response");
            assert_eq!(label(&answer), status, "{command:?} {how:?}");
            assert_eq!(header(&answer, "Retry-After"), retry);
            // No binding, and nothing is left that waits.
            let left: Vec<_> =
                hand.bench.remainders().into_iter().filter(|it| it.0 == "s1").collect();
            let waits = |what: &str| left.iter().any(|it| it.1 == what && it.2 > 0);
            assert!(!waits("registrations") && !waits("challenges") && !waits("questions"));
            let again = hand.unchallenged(NO);
            assert_eq!(label(&hand.register(&again)), "401 REGISTER", "the HSS is back");
        }
    }
}

fn unusable() {
    let own = format!("sip:erin@{DOMAIN}");
    for (max, taken) in [(200, false), (262_144, true)] {
        let mut hand = with_profile(&[(&own, false)], |_| {});
        restart_s1(&mut hand.bench, |config| config.profile_max = max);
        hand.bench.mark();
        let trusted = hand.trusted();
        let answer = hand.register(&trusted);
        if taken {
            assert_eq!(label(&answer), "200 REGISTER");
            continue;
        }
        assert_eq!(label(&answer), "480 REGISTER");
        // DEREGISTRATION_TOO_MUCH_DATA
        assert_eq!(assignments(&hand), [1, 11]);
        let left = hand.bench.remainders();
        assert!(left.iter().all(|it| it.1 != "registrations" || it.2 == 0), "{left:?}");
    }
    // Nobody can read it.
    let mut hand = with_profile(&[(&own, false)], |_| {});
    misbehave(&mut hand.bench, CxCommand::Sar, Misbehaviour::GarbledData, Some(1));
    hand.bench.mark();
    let trusted = hand.trusted();
    assert_eq!(label(&hand.register(&trusted)), "480 REGISTER");
    assert_eq!(assignments(&hand), [1, 11]);
    // Where there is another S-CSCF the I-CSCF takes that one.
    let mut bench = Bench::of(
        "scenario: none\nparties:\n  alice: {}\nlab:\n  nodes:\n    s1: {role: s-cscf, listen: \
         \"127.0.0.1:6060\", profile_max: 200}\n    s2: {role: s-cscf, listen: \
         \"127.0.0.1:6060\"}\nsteps: []\n",
    );
    bench.register(&["alice"]);
    let answers = |node: &str| {
        let sent = bench.sent(node).into_iter();
        let of_register = sent.map(|told| told.label()).filter(|it| it.ends_with(" REGISTER"));
        of_register.collect::<Vec<_>>()
    };
    assert_eq!(answers("s1"), ["401 REGISTER", "480 REGISTER"]);
    assert!(answers("s2").contains(&"200 REGISTER".to_owned()), "{:?}", answers("s2"));
}

fn shared() {
    let impu = format!("sip:family@{DOMAIN}");
    let mut hand = with_profile(&[(&impu, false)], |family| {
        family.private_identities.push(PrivateIdentity {
            impi: format!("tablet@{DOMAIN}"),
            credentials: family.private_identities[0].credentials.clone(),
        });
    });
    let edge = hand.bench.raw("edge");
    hand.lines = format!("Path: <sip:tok@{edge};lr>\nRequire: path\n");
    let mut contacts = Vec::new();
    for (who, q) in [("erin", "0.9"), ("tablet", "0.1")] {
        hand.who.impi = format!("{who}@{DOMAIN}");
        who.clone_into(&mut hand.call_id);
        let contact = format!("Contact: <sip:{who}@10.0.0.1>;q={q};expires=900\n");
        let lines = hand.trusted() + &contact;
        let ok = hand.register(&lines);
        assert_eq!(label(&ok), "200 REGISTER");
        contacts = values(&ok, HeaderName::Contact);
    }
    assert_eq!(contacts.len(), 2, "{contacts:?}");
    // The first again: it hears of both.
    hand.who.impi = format!("erin@{DOMAIN}");
    "erin".clone_into(&mut hand.call_id);
    let lines = hand.trusted() + "Contact: <sip:erin@10.0.0.1>;q=0.9;expires=900\n";
    assert_eq!(values(&hand.register(&lines), HeaderName::Contact).len(), 2);

    // A request goes to the better one, and to the other when that fails.
    message_to(&mut hand, &impu);
    let targets = |heard: &[Message]| -> Vec<String> {
        let mut all: Vec<String> = heard
            .iter()
            .filter_map(|it| match it {
                Message::Request(request) => Some(request.request_uri.to_string()),
                Message::Response(_) => None,
            })
            .collect();
        all.dedup();
        all
    };
    let heard = hand.bench.heard("edge");
    assert_eq!(targets(&heard), ["sip:erin@10.0.0.1"]);
    let busy = super::hand::response(&heard[0], "486 Busy Here", "");
    let s1 = hand.to;
    hand.bench.send("edge", s1, &busy);
    hand.bench.run_for(A_MOMENT);
    assert_eq!(targets(&hand.bench.heard("edge")), ["sip:tablet@10.0.0.1"]);
    // One goes; the other stays.
    let lines = hand.trusted() + "Contact: *\nExpires: 0\n";
    assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    hand.who.impi = format!("tablet@{DOMAIN}");
    let left = bindings(&mut hand);
    assert!(left.len() == 1 && left[0].1.contains("tablet"), "{left:?}");
}

/// All challenges of a 401.
fn offered(asked: &Message) -> Vec<Challenge> {
    let fields = asked.headers().fields(HeaderName::WwwAuthenticate);
    fields.map(|field| field.unfolded().parse().expect("a challenge")).collect()
}

fn names(list: &[Challenge]) -> Vec<String> {
    list.iter().map(|it| it.algorithm().expect("an algorithm").to_string()).collect()
}

fn algorithms() {
    // Each subscriber has its list; what is not on it does not count.
    for (listed, shown) in [
        (vec!["MD5"], vec!["MD5"]),
        (vec!["SHA-256", "MD5"], vec!["SHA-256", "MD5"]),
        (vec!["SHA-256"], vec!["SHA-256"]),
    ] {
        for used in [Algorithm::SHA_256, Algorithm::MD5] {
            let own = format!("sip:erin@{DOMAIN}");
            let mut hand = with_profile(&[(&own, false)], |erin| {
                let credentials = &mut erin.private_identities[0].credentials;
                if let hss::Credentials::Digest { algorithms, .. } = credentials {
                    *algorithms = listed.iter().map(|it| (*it).to_owned()).collect();
                }
            });
            let asked = challenged(&mut hand, None);
            let list = offered(&asked);
            assert_eq!(names(&list), shown);
            assert!(list.iter().all(|it| it.nonce() == list[0].nonce()));
            let wanted = Challenge::new(DOMAIN, list[0].nonce().expect("a nonce"), used);
            let proof = line(hand.answer(&wanted, b"erin-secret"), None);
            let taken = shown.contains(&used.to_string().as_str());
            let expected = if taken { "200 REGISTER" } else { "403 REGISTER" };
            assert_eq!(label(&hand.register(&proof)), expected, "{used} of {shown:?}");
        }
    }

    // AKAv2 with its own construction of the password; the HSS is asked for AKAv1 all the same.
    let v2 = [Algorithm::AKAV2_SHA_256, Algorithm::AKAV2_MD5, Algorithm::AKAV1_MD5];
    for used in v2 {
        let mut hand = alice();
        let impi = hand.who.impi.clone();
        restart_s1(&mut hand.bench, |config| {
            config.aka_algorithms_by_user.insert(impi, v2.to_vec());
        });
        hand.bench.mark();
        let asked = challenged(&mut hand, NO);
        let list = offered(&asked);
        assert_eq!(names(&list), ["AKAv2-SHA-256", "AKAv2-MD5", "AKAv1-MD5"]);
        let item = hand.asked("s1", "MAR")[0].find(&dictionary::SIP_AUTH_DATA_ITEM).cloned();
        let item = item.expect("an item").as_group().expect("a group");
        assert!(item.iter().any(|avp| avp.as_text().ok() == Some("Digest-AKAv1-MD5")));
        let keys = hand.milenage().f2345(&rand(&list[0]));
        let password = aka_password(used, &keys.res, &keys.ik, &keys.ck);
        let of = list.iter().find(|it| it.algorithm() == Ok(used)).expect("offered");
        let proof = line(hand.answer(of, &password), YES);
        assert_eq!(label(&hand.register(&proof)), "200 REGISTER", "{used}");
    }
    // Another subscriber has the default.
    let mut hand = alice();
    assert_eq!(names(&offered(&challenged(&mut hand, NO))), ["AKAv1-MD5"]);
}

fn stranger() {
    let mut hand = alice();
    let mine = challenged(&mut hand, NO);
    // Somebody else says it is alice, several times, under other Call-IDs.
    let own = hand.call_id.clone();
    for number in 0..3 {
        hand.call_id = format!("stranger-{number}");
        challenged(&mut hand, NO);
    }
    hand.call_id = own;
    let proof = hand.proof(&mine, YES);
    assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
    // The strangers' challenges are gone with it; there is a limit, too.
    let open = |hand: &Hand| {
        let all = hand.bench.remainders();
        all.iter().filter(|it| it.0 == "s1" && it.1 == "challenges").map(|it| it.2).sum::<usize>()
    };
    assert_eq!(open(&hand), 0);
    for number in 0..20 {
        hand.call_id = format!("stranger-{number}");
        challenged(&mut hand, NO);
    }
    assert!(open(&hand) <= 4);
}
