//! REGISTER at the S-CSCF, TS 24.229 §5.4.1: the client stands in the place of i1, the HSS is the
//! real one.

use cscf_core::auth::{AkaFunctions, AkaNonce, Credentials, Hash, IntegrityProtected, to_hex};
use cscf_core::diameter::dictionary;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::hand::{A_MOMENT, Hand, asked, challenge, line, restart_s1, values};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "scscf_register::how_it_came_decides_how_it_is_authenticated",
            &["S-REG-010a", "S-REG-010b", "S-REG-010c", "S-REG-010d", "S-REG-010e", "S-REG-010f"],
            scheme_decision,
        ),
        case("scscf_register::an_aka_challenge_has_vector_and_keys", &["S-REG-030"], aka_challenge),
        case("scscf_register::an_answer_has_240_s", &["S-REG-040", "T-TRN-090a"], await_auth),
        case("scscf_register::a_new_register_ends_a_challenge", &["S-REG-050"], superseded),
        case("scscf_register::another_call_id_is_no_answer", &["S-REG-060"], other_call_id),
        case("scscf_register::the_response_is_the_digest_of_res", &["S-REG-070"], digest_of_res),
        case("scscf_register::path_is_the_route_to_the_ue", &["S-REG-100"], path),
        case("scscf_register::a_long_wish_is_cut_and_ends", &["S-REG-110"], expiry),
        case("scscf_register::a_short_wish_gets_423", &["S-REG-120"], too_brief),
        case("scscf_register::an_asterisk_stands_alone_with_zero", &["S-REG-130"], asterisk),
        case(
            "scscf_register::an_old_sequence_number_changes_nothing",
            &["S-REG-140"],
            out_of_order,
        ),
        case("scscf_register::without_contact_the_bindings_are_told", &["S-REG-150"], fetch),
        case("scscf_register::a_protected_refresh_is_believed", &["S-REG-160"], refresh),
        case("scscf_register::a_new_contact_needs_a_flow", &["S-REG-180"], new_contact),
        case("scscf_register::no_roaming_agreement_gets_403", &["S-REG-230"], roaming),
        case("scscf_register::an_unknown_extension_gets_420", &["S-REG-310"], bad_extension),
        case("scscf_register::digest_is_challenged_and_proven", &["S-REG-340"], digest),
        case("scscf_register::a_stale_nonce_is_replaced", &["S-REG-350"], stale),
    ]
}

fn alice() -> Hand {
    Hand::at_scscf(Bench::new(&[]), "alice")
}

fn carol() -> Hand {
    Hand::at_scscf(Bench::new(&[]), "carol")
}

fn text(message: &cscf_core::diameter::Message, what: &dictionary::Definition) -> String {
    message.text(what).unwrap_or_default().to_owned()
}

/// The scheme asked for in a MAR.
fn scheme(mar: &cscf_core::diameter::Message) -> String {
    let item = mar.find(&dictionary::SIP_AUTH_DATA_ITEM).expect("an item");
    let inside = item.as_group().expect("a group");
    let scheme = inside.iter().find(|avp| avp.code == dictionary::SIP_AUTHENTICATION_SCHEME.code);
    scheme.expect("a scheme").as_text().expect("text").to_owned()
}

/// The value of Server-Assignment-Type of each SAR since the mark.
pub(crate) fn assignments(hand: &Hand) -> Vec<u32> {
    let sars = hand.asked("s1", "SAR");
    sars.iter()
        .map(|sar| sar.number(&dictionary::SERVER_ASSIGNMENT_TYPE).expect("a type"))
        .collect()
}

fn scheme_decision() {
    // (a) In the clear, and it wants IMS AKA.
    let mut hand = alice();
    let first = hand.unchallenged(NO);
    let challenged = hand.register(&first);
    assert!(header(&challenged, "WWW-Authenticate").contains("algorithm=AKAv1-MD5"));
    let mars = hand.asked("s1", "MAR");
    assert_eq!((mars.len(), scheme(&mars[0])), (1, "Digest-AKAv1-MD5".to_owned()));

    // (b) Over the security association: believed without a challenge.
    let mut hand = alice();
    hand.registered(NO, YES);
    hand.bench.mark();
    let again = hand.unchallenged(YES);
    assert_eq!(label(&hand.register(&again)), "200 REGISTER");
    assert_eq!(hand.asked("s1", "MAR").len(), 0);

    // (c) The values of SIP digest: the response alone counts.
    for flag in [
        IntegrityProtected::TlsPending,
        IntegrityProtected::TlsYes,
        IntegrityProtected::IpAssocPending,
        IntegrityProtected::IpAssocYes,
    ] {
        let mut hand = carol();
        let first = hand.unchallenged(Some(flag));
        let challenged = hand.register(&first);
        assert!(header(&challenged, "WWW-Authenticate").contains("algorithm=MD5"));
        let proof = hand.proof(&challenged, Some(flag));
        assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
    }

    // (d) Authenticated by a trusted node.
    let mut hand = alice();
    let done = hand.trusted();
    assert_eq!(label(&hand.register(&done)), "200 REGISTER");
    assert_eq!((hand.asked("s1", "MAR").len(), assignments(&hand)), (0, vec![1]));

    // (e) Nothing is said: the HSS knows the scheme.
    for (name, algorithm) in [("alice", "AKAv1-MD5"), ("carol", "MD5")] {
        let mut hand = Hand::at_scscf(Bench::new(&[]), name);
        let first = hand.unchallenged(None);
        let challenged = hand.register(&first);
        let shown = header(&challenged, "WWW-Authenticate");
        assert!(shown.contains(&format!("algorithm={algorithm}")), "{shown}");
        assert_eq!(scheme(&hand.asked("s1", "MAR")[0]), "Unknown");
    }

    // (f) No Authorization: the private identity is derived, the HSS knows the scheme.
    let mut hand = carol();
    let challenged = hand.register("");
    assert!(header(&challenged, "WWW-Authenticate").contains("algorithm=MD5"));
    let mars = hand.asked("s1", "MAR");
    assert_eq!(scheme(&mars[0]), "Unknown");
    assert_eq!(text(&mars[0], &dictionary::USER_NAME), format!("carol@{DOMAIN}"));
}

fn aka_challenge() {
    let mut hand = alice();
    let first = hand.unchallenged(NO);
    let challenged = hand.register(&first);
    let shown = challenge(&challenged);
    let nonce = AkaNonce::decode(shown.nonce().expect("a nonce")).expect("RAND and AUTN");
    assert_eq!(nonce.encode(), shown.nonce().expect("a nonce"));
    let keys = hand.milenage().f2345(&nonce.rand);
    for (name, value) in [
        ("realm", DOMAIN.to_owned()),
        ("algorithm", "AKAv1-MD5".to_owned()),
        ("qop", "auth".to_owned()),
        ("ck", to_hex(&keys.ck)),
        ("ik", to_hex(&keys.ik)),
    ] {
        assert_eq!(shown.params.value(name).as_deref(), Some(value.as_str()), "{name}");
    }
    assert!(header(&challenged, "WWW-Authenticate").starts_with("Digest "));
    assert!(header(&challenged, "WWW-Authenticate").contains("qop=\"auth\""));
    assert!(header(&challenged, "To").contains(";tag="));
}

fn await_auth() {
    // Four minutes, or what the lab says.
    for seconds in [240, 10] {
        for (wait, then) in [(seconds - 1, "200 REGISTER"), (seconds + 1, "500 REGISTER")] {
            let bench = Bench::with_lab("scenario: none\nsteps: []\n", 1, |lab| {
                if seconds != 240 {
                    lab.reg_await_auth = Duration::from_secs(seconds);
                }
            });
            let mut hand = Hand::at_scscf(bench, "alice");
            let first = hand.unchallenged(NO);
            let challenged = hand.register(&first);
            hand.bench.run_for(Duration::from_secs(wait));
            let proof = hand.proof(&challenged, YES);
            assert_eq!(label(&hand.register(&proof)), then, "after {wait} s");
        }
    }
}

fn superseded() {
    let mut hand = alice();
    let first = hand.unchallenged(NO);
    let old = hand.register(&first);
    let new = hand.register(&first);
    assert_ne!(rand_of(&old), rand_of(&new));
    let proof = hand.proof(&old, YES);
    let refused = hand.register(&proof);
    assert_ne!(label(&refused), "200 REGISTER");
    assert_eq!(assignments(&hand), [] as [u32; 0]);
}

fn rand_of(challenged: &Message) -> [u8; 16] {
    super::hand::rand(&challenge(challenged))
}

fn other_call_id() {
    let mut hand = alice();
    let first = hand.unchallenged(NO);
    let challenged = hand.register(&first);
    let proof = hand.proof(&challenged, YES);
    "another".clone_into(&mut hand.call_id);
    let refused = hand.register(&proof);
    let status = super::hand::status(&refused);
    assert!(status == 403 || status == 401, "{status}");
    assert_eq!(assignments(&hand), [] as [u32; 0]);
}

fn digest_of_res() {
    // The response made here step by step from RES is the one that counts (RFC 3310 §3.3).
    let md5 = |text: &[u8]| to_hex(&Hash::Md5.of(&[text]));
    let by_hand = |hand: &Hand, challenged: &Message, change: fn(&mut Parts)| {
        let nonce = challenge(challenged).nonce().expect("a nonce").to_owned();
        let mut parts = Parts {
            username: hand.who.impi.clone(),
            method: "REGISTER",
            uri: format!("sip:{DOMAIN}"),
            qop: "auth",
            algorithm: "AKAv1-MD5",
            nonce,
        };
        change(&mut parts);
        let res = hand.milenage().f2345(&rand_of(challenged)).res;
        let a1 = [format!("{}:{DOMAIN}:", parts.username).as_bytes(), res.as_bytes()].concat();
        let a2 = format!("{}:{}", parts.method, parts.uri);
        let Parts { username, uri, qop, algorithm, nonce, .. } = &parts;
        let (ha1, ha2) = (md5(&a1), md5(a2.as_bytes()));
        let response = md5(format!("{ha1}:{nonce}:00000001:c1:{qop}:{ha2}").as_bytes());
        format!(
            "Authorization: Digest username=\"{username}\",realm=\"{DOMAIN}\",nonce=\"{nonce}\",\
             uri=\"{uri}\",qop={qop},nc=00000001,cnonce=\"c1\",algorithm={algorithm},\
             response=\"{response}\",integrity-protected=\"yes\"\n"
        )
    };
    let changes: [Change; 5] = [
        ("as it should be", |_| {}, true),
        ("another uri, as sent", |parts| "sip:elsewhere".clone_into(&mut parts.uri), true),
        ("made for another method", |parts| parts.method = "INVITE", false),
        ("of somebody else", |parts| parts.username = format!("001010000000002@{DOMAIN}"), false),
        ("for another algorithm", |parts| parts.algorithm = "MD5", false),
    ];
    for (what, change, registers) in changes {
        let mut hand = alice();
        let first = hand.unchallenged(NO);
        let challenged = hand.register(&first);
        let proof = by_hand(&hand, &challenged, change);
        let answer = hand.register(&proof);
        assert_eq!(label(&answer) == "200 REGISTER", registers, "{what}: {}", label(&answer));
        let registrations = assignments(&hand).into_iter().filter(|kind| *kind == 1).count();
        assert_eq!(registrations, usize::from(registers), "{what}");
    }
}

/// What is changed, how, and whether it registers all the same.
type Change = (&'static str, fn(&mut Parts), bool);

/// What a response is made of.
struct Parts {
    username: String,
    method: &'static str,
    uri: String,
    qop: &'static str,
    algorithm: &'static str,
    nonce: String,
}

/// A MESSAGE of bob for alice, as i1 sends it to s1.
pub(crate) fn message_to(hand: &mut Hand, uri: &str) {
    let (at, cseq) = (hand.at, hand.cseq + 100);
    hand.cseq += 1;
    let text = format!(
        "MESSAGE {uri} SIP/2.0\n\
         Via: SIP/2.0/UDP {at};branch=z9hG4bK-m{cseq}\n\
         Route: <sip:{};lr>\n\
         Max-Forwards: 70\n\
         From: <sip:bob@{DOMAIN}>;tag=m\n\
         To: <{uri}>\n\
         Call-ID: m{cseq}\n\
         CSeq: 1 MESSAGE\n\
         P-Asserted-Identity: <sip:bob@{DOMAIN}>\n\
         Content-Length: 0\n",
        hand.to
    );
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
}

fn path() {
    for require in ["Require: path\n", "Supported: path\n", ""] {
        let mut hand = alice();
        let edge = hand.bench.raw("edge");
        let route = |user: &str| format!("<sip:{user}@{edge};lr>");
        let through = |hand: &mut Hand, one: &str, two: &str| {
            let paths = format!("Path: {}, {}\n", route(one), route(two));
            hand.lines = format!("{paths}{require}P-Visited-Network-ID: {DOMAIN}\n");
        };
        through(&mut hand, "one", "two");
        hand.registered(NO, YES);
        let to = format!("sip:alice@{DOMAIN}");
        message_to(&mut hand, &to);
        let heard = hand.bench.heard("edge");
        let came = heard.first().expect("a MESSAGE by the Path");
        assert_eq!(values(came, HeaderName::Route), [route("one"), route("two")]);

        // The next REGISTER's list takes its place.
        through(&mut hand, "three", "four");
        let again = hand.unchallenged(YES);
        let ok = hand.register(&again);
        assert_eq!(values(&ok, HeaderName::Path), [route("three"), route("four")]);
        message_to(&mut hand, &to);
        let is_new = |came: &Message| values(came, HeaderName::Route)[0] == route("three");
        let heard = hand.bench.heard("edge");
        assert!(heard.iter().any(is_new));
        let new = heard.iter().find(|came| is_new(came)).expect("by the new Path");
        assert_eq!(values(new, HeaderName::Route), [route("three"), route("four")]);
    }
}

fn contact_expires(ok: &Message) -> Vec<u32> {
    let contacts = ok.headers().contacts().expect("contacts");
    contacts.list().iter().filter_map(|it| it.expires()).collect()
}

fn expiry() {
    for (wish, max, granted) in [(600_000, 3600, 3600), (600_000, 120, 120), (100, 3600, 100)] {
        let bench = Bench::with_lab("scenario: none\nsteps: []\n", 1, |lab| {
            lab.registration.expires_max = Duration::from_secs(max);
            lab.registration.expires_default = Duration::from_secs(max);
        });
        let mut hand = Hand::at_scscf(bench, "alice");
        hand.contact = format!("Contact: <sip:alice@{}>\nExpires: {wish}\n", hand.at);
        let ok = hand.registered(NO, YES);
        assert_eq!(contact_expires(&ok), [granted]);

        let fetch = hand.unchallenged(YES);
        "".clone_into(&mut hand.contact);
        hand.bench.run_for(Duration::from_secs(u64::from(granted) - 10));
        assert_eq!(contact_expires(&hand.register(&fetch)).len(), 1);
        hand.bench.run_for(Duration::from_secs(11));
        hand.bench.mark();
        let gone = hand.register(&fetch);
        assert_eq!(header(&gone, "Contact"), "");
    }
}

fn too_brief() {
    for (min, wish, told) in
        [(60, 10, Some("60")), (60, 60, None), (60, 0, None), (800_000, 600_000, Some("800000"))]
    {
        let bench = Bench::with_lab("scenario: none\nsteps: []\n", 1, |lab| {
            lab.registration.expires_min = Duration::from_secs(min);
            lab.registration.expires_max = Duration::from_secs(1_000_000);
        });
        let mut hand = Hand::at_scscf(bench, "alice");
        hand.contact = format!("Contact: <sip:alice@{}>;expires={wish}\n", hand.at);
        let first = hand.unchallenged(NO);
        let answer = hand.register(&first);
        match told {
            None => assert_eq!(label(&answer), "401 REGISTER"),
            Some(min) => {
                assert_eq!(label(&answer), "423 REGISTER");
                assert_eq!(header(&answer, "Min-Expires"), min);
            }
        }
    }
    // An hour is never too brief, unless the operator insists (RFC 3261 §10.3).
    for (insists, status) in [(false, "401 REGISTER"), (true, "423 REGISTER")] {
        let mut hand = alice();
        restart_s1(&mut hand.bench, |config| {
            config.expiry.min = Duration::from_secs(7200);
            config.expiry.min_override = insists;
        });
        hand.contact = format!("Contact: <sip:alice@{}>;expires=3600\n", hand.at);
        let lines = hand.unchallenged(NO);
        assert_eq!(label(&hand.register(&lines)), status);
    }
    let mut hand = alice();
    hand.registered(NO, YES);
    let brief = format!("Contact: <sip:alice@{}>;expires=10\n", hand.at);
    let lines = hand.unchallenged(YES) + &brief;
    assert_eq!(label(&hand.register(&lines)), "423 REGISTER");
    assert!(bindings(&mut hand)[0].0 > 3500);

    // The emulated UE asks again for as long as it is told.
    let mut bench = Bench::new(&["alice"]);
    bench.play(
        "alice registers for 10s\n\
         alice receives 423 for REGISTER\n\
         alice receives 200 for REGISTER\n\
         alice is registered",
    );
    let last =
        bench.received("alice").into_iter().rev().find(|told| told.label() == "200 REGISTER");
    assert!(contact_expires(&last.expect("a 200").message)[0] >= 60);
}

/// Time left and address of each binding, by a REGISTER without Contact.
pub(crate) fn bindings(hand: &mut Hand) -> Vec<(u32, String)> {
    let contact = std::mem::take(&mut hand.contact);
    let fetch = hand.unchallenged(YES);
    let ok = hand.register(&fetch);
    hand.contact = contact;
    assert_eq!(label(&ok), "200 REGISTER");
    let contacts = ok.headers().contacts().expect("contacts");
    let list = contacts.list().iter();
    list.map(|it| (it.expires().expect("expires"), it.uri.to_string())).collect()
}

fn asterisk() {
    for contact in [
        "Contact: *\n",
        "Contact: *\nExpires: 60\n",
        "Contact: *, <sip:alice@10.0.0.9>\nExpires: 0\n",
        "Contact: <sip:alice@10.0.0.9>\nContact: *\nExpires: 0\n",
    ] {
        let mut hand = alice();
        hand.registered(NO, YES);
        let before = bindings(&mut hand);
        let lines = hand.unchallenged(YES) + contact;
        assert_eq!(label(&hand.register(&lines)), "400 REGISTER", "{contact}");
        assert_eq!(bindings(&mut hand)[0].1, before[0].1);
    }
}

fn out_of_order() {
    let mut hand = alice();
    hand.registered(NO, YES);
    let before = bindings(&mut hand);
    for cseq in [1, 2] {
        // Another branch, so that it is no retransmission.
        hand.cseq = cseq - 1;
        let lines = hand.unchallenged(YES) + &hand.contact.replace("3600", "7200");
        let text = hand.next(&lines).replace("branch=z9hG4bK", "branch=z9hG4bKold");
        let answer = hand.ask(&text);
        assert_eq!(label(&answer), "500 REGISTER", "CSeq {cseq}");
    }
    hand.cseq = 50;
    let after = bindings(&mut hand);
    assert_eq!(before.len(), after.len());
    assert!(after[0].0 <= before[0].0);
}

fn fetch() {
    let mut hand = alice();
    hand.registered(NO, YES);
    hand.bench.run_for(Duration::from_secs(100));
    hand.bench.mark();
    let told = bindings(&mut hand);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1, format!("sip:alice@{}", hand.at));
    assert!((3490..=3500).contains(&told[0].0), "not refreshed: {}", told[0].0);
    assert_eq!(assignments(&hand), [] as [u32; 0]);
}

fn refresh() {
    let mut hand = alice();
    hand.registered(NO, YES);
    hand.bench.run_for(Duration::from_secs(1000));
    hand.bench.mark();
    let again = hand.unchallenged(YES);
    let ok = hand.register(&again);
    assert_eq!(label(&ok), "200 REGISTER");
    assert_eq!(contact_expires(&ok), [3600]);
    assert_eq!(hand.asked("s1", "MAR").len(), 0);
    // Nothing is to be fetched or restored: the HSS is not asked at all.
    assert_eq!(assignments(&hand), [] as [u32; 0]);
}

fn new_contact() {
    let mut hand = alice();
    hand.registered(NO, YES);
    let lines = hand.unchallenged(YES) + "Contact: <sip:alice@10.0.0.9:5060>;expires=600\n";
    assert_eq!(label(&hand.register(&lines)), "403 REGISTER");
    assert_eq!(bindings(&mut hand).len(), 1);
    // Taking an unknown one away is no matter of permission.
    let lines = hand.unchallenged(YES) + "Contact: <sip:alice@10.0.0.9:5060>;expires=0\n";
    assert_ne!(label(&hand.register(&lines)), "403 REGISTER");
}

fn roaming() {
    let mut hand = alice();
    restart_s1(&mut hand.bench, |config| {
        config.visited_networks = Some(vec!["partner.example".to_owned()]);
    });
    let first = hand.unchallenged(NO);
    let refused = hand.register(&first);
    assert_eq!(label(&refused), "403 REGISTER");
    assert_eq!(header(&refused, "WWW-Authenticate"), "");
    assert_eq!(hand.asked("s1", "MAR").len(), 0);
    hand.lines = hand.lines.replace(&format!("\"{DOMAIN}\""), "partner.example");
    assert_eq!(label(&hand.register(&first)), "401 REGISTER");
}

fn bad_extension() {
    let mut hand = alice();
    let lines = hand.unchallenged(NO) + "Require: foo\n";
    let refused = hand.register(&lines);
    assert_eq!(label(&refused), "420 REGISTER");
    assert_eq!(header(&refused, "Unsupported"), "foo");
}

fn digest() {
    let mut hand = carol();
    let first = hand.unchallenged(None);
    let challenged = hand.register(&first);
    let mars = hand.asked("s1", "MAR");
    assert_eq!(scheme(&mars[0]), "Unknown");
    let items = asked(&hand.bench, "hss", "MAA");
    let item = items[0].find(&dictionary::SIP_AUTH_DATA_ITEM).expect("an item").as_group();
    let item = item.expect("a group");
    let digest = item.iter().find(|avp| avp.code == dictionary::SIP_DIGEST_AUTHENTICATE.code);
    let digest = digest.expect("SIP-Digest-Authenticate").as_group().expect("a group");
    let ha1 = to_hex(&Hash::Md5.of(&[format!("carol@{DOMAIN}:{DOMAIN}:carol-secret").as_bytes()]));
    for (what, value) in [
        (&dictionary::DIGEST_HA1, ha1.as_str()),
        (&dictionary::DIGEST_REALM, DOMAIN),
        (&dictionary::DIGEST_ALGORITHM, "MD5"),
        (&dictionary::DIGEST_QOP, "auth"),
    ] {
        let avp = digest.iter().find(|avp| avp.code == what.code);
        assert_eq!(avp.expect(what.name).as_text().expect("text"), value);
    }
    let shown = challenge(&challenged);
    for (name, value) in [("realm", DOMAIN), ("algorithm", "MD5"), ("qop", "auth")] {
        assert_eq!(shown.params.value(name).as_deref(), Some(value));
    }
    assert_ne!(shown.nonce(), challenge(&carol_again().0).nonce(), "fresh");

    let mine = hand.credentials(&challenged);
    let ok = hand.register(&line(mine.clone(), None));
    assert_eq!(label(&ok), "200 REGISTER");
    let info = header(&ok, "Authentication-Info");
    let a2 = to_hex(&Hash::Md5.of(&[format!(":sip:{DOMAIN}").as_bytes()]));
    let nonce = shown.nonce().expect("a nonce");
    let rspauth = format!("{ha1}:{nonce}:00000001:hand:auth:{a2}");
    let rspauth = to_hex(&Hash::Md5.of(&[rspauth.as_bytes()]));
    for part in [
        format!("rspauth=\"{rspauth}\""),
        "qop=auth".to_owned(),
        "cnonce=\"hand\"".to_owned(),
        "nc=00000001".to_owned(),
    ] {
        assert!(info.contains(&part), "{part} in {info}");
    }
    // The count must rise: the same credentials again are not taken.
    assert_eq!(label(&hand.register(&line(mine, None))), "401 REGISTER");
    // Another password is none.
    let mut hand = carol();
    let first = hand.unchallenged(None);
    let challenged = hand.register(&first);
    let wrong = hand.wrong(&challenged, None);
    assert_eq!(label(&hand.register(&wrong)), "403 REGISTER");
}

/// Another client of carol that has just been challenged.
fn carol_again() -> (Message, Hand) {
    let mut hand = Hand::at_scscf(Bench::seeded("scenario: none\nsteps: []\n", 2), "carol");
    let first = hand.unchallenged(None);
    (hand.register(&first), hand)
}

fn with_count(hand: &Hand, challenged: &Message, nc: &str) -> Credentials {
    let answer = cscf_core::auth::Answer {
        username: &hand.who.impi,
        password: b"carol-secret",
        method: "REGISTER",
        uri: &format!("sip:{DOMAIN}"),
        cnonce: "hand",
        nc,
        body: b"",
    };
    Credentials::answer(&challenge(challenged), &answer).expect("credentials")
}

fn stale() {
    // The same count twice, the next count, a count that went back, a nonce that is too old.
    for (nc, wait, taken) in [
        ("00000002", 0, true),
        ("00000001", 0, false),
        ("00000000", 0, false),
        ("00000002", 3700, false),
    ] {
        let (challenged, mut hand) = carol_again();
        hand.contact = hand.contact.replace("3600", "100000");
        let mine = line(with_count(&hand, &challenged, "00000001"), None);
        assert_eq!(label(&hand.register(&mine)), "200 REGISTER");
        hand.bench.run_for(Duration::from_secs(wait));
        let again = line(with_count(&hand, &challenged, nc), None);
        let answer = hand.register(&again);
        if taken {
            assert_eq!(label(&answer), "200 REGISTER");
            continue;
        }
        assert_eq!(label(&answer), "401 REGISTER", "nc {nc} after {wait} s");
        assert!(challenge(&answer).is_stale(), "nc {nc} after {wait} s");
        assert_ne!(challenge(&answer).nonce(), challenge(&challenged).nonce());
        // It does not count as a failure: the user stays, the new nonce registers at once.
        assert_eq!(register_by(&mut hand, &answer), "200 REGISTER");
    }
}

fn register_by(hand: &mut Hand, challenged: &Message) -> String {
    let lines = line(with_count(hand, challenged, "00000001"), None);
    let sent = hand.next(&lines);
    assert!(sent.contains("nc=00000001"));
    let answer = hand.ask(&sent);
    label(&answer)
}
