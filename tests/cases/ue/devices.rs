//! What a UE says of itself as a device, and how it authenticates: instances, flows, GRUUs, lists
//! of contacts, the algorithms of digest AKA and SIP digest.

use cscf_core::auth::{Algorithm, Challenge, Ha1, aka_password};
use cscf_core::sip::HeaderName;
use cscf_core::time::Instant;
use scenarios::ue::{CallOptions, Gruu, Phase, UeCommand, UeTimer};

use super::phone::{Phone, aka_challenge, vector};
use super::registration::{credentials, header};
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::contacts_are_fetched_without_contact", &[], fetch),
        case("ue::everything_is_deregistered_with_a_star", &["U-REG-150"], star),
        case("ue::a_flow_has_a_number", &[], flow),
        case("ue::sessions_give_the_gruu_that_was_assigned", &["U-REG-070"], gruu),
        case("ue::every_version_of_digest_aka_is_answered", &["U-REG-020"], versions),
        case("ue::a_nonce_is_used_again_with_the_next_count", &[], nonce_again),
    ]
}

const DOMAIN: &str = "ims.mnc001.mcc001.3gppnetwork.org";

fn fetch() {
    let mut phone = Phone::new("alice");
    let did = phone.register_fully("");
    assert_eq!(did.states, ["registered"]);
    let did = phone.command(UeCommand::FetchRegistrations);
    let (_, register) = did.request();
    assert!(!register.headers.contains(HeaderName::Contact));
    assert!(!register.headers.contains(HeaderName::Expires));
    assert_eq!(header(register, HeaderName::CSeq), "3 REGISTER", "in the same series");
    let two = "Contact: <sip:10.0.0.1:5060>;expires=7, <sip:10.0.0.9:5060>;expires=9";
    let did = phone.answer(did.request(), 200, two);
    assert_eq!(did.states, ["registrations 2"]);
    assert!(did.timers.is_empty(), "nothing changes for the registration");
    assert_eq!(phone.ue.phase(), Phase::On);

    // Not registered oneself, one is challenged first.
    let mut phone = Phone::new("alice");
    let did = phone.command(UeCommand::FetchRegistrations);
    let challenge = aka_challenge(&phone, 1);
    let did = phone.answer(did.request(), 401, &challenge);
    assert!(credentials(did.request().1).response().is_some());
    assert!(!did.request().1.headers.contains(HeaderName::Contact));
    let did = phone.answer(did.request(), 200, "");
    assert_eq!((did.states, phone.ue.phase()), (vec!["registrations 0".to_owned()], Phase::Off));
}

fn star() {
    let mut phone = Phone::new("alice");
    phone.register_fully("");
    let did = phone.command(UeCommand::DeregisterAll);
    let (_, register) = did.request();
    assert_eq!(header(register, HeaderName::Contact), "*");
    assert_eq!(header(register, HeaderName::Expires), "0");
    let did = phone.answer(did.request(), 200, "");
    assert_eq!((did.states, phone.ue.phase()), (vec!["deregistered".to_owned()], Phase::Off));
}

fn flow() {
    let mut phone = Phone::with("alice", |config| config.reg_id = Some(2));
    let did = phone.register();
    let (_, register) = did.request();
    assert_eq!(header(register, HeaderName::Supported), "path,gruu,outbound");
    let contact = header(register, HeaderName::Contact);
    assert!(contact.contains(";+sip.instance=\"<urn:gsma:imei:"), "{contact}");
    assert!(contact.contains(";reg-id=2;"), "{contact}");
}

fn gruu() {
    let gruus = "pub-gruu=\"sip:+15550100001@x;gr=urn:a\";temp-gruu=\"sip:t9@x;gr\"";
    for (wish, expected) in [
        (Gruu::Off, "<sip:10.0.0.1:5060>"),
        (Gruu::Public, "<sip:+15550100001@x;gr=urn:a>"),
        (Gruu::Temporary, "<sip:t9@x;gr>"),
    ] {
        let mut phone = Phone::with("alice", |config| config.gruu = wish);
        let did = phone.register();
        let challenge = aka_challenge(&phone, 1);
        let did = phone.answer(did.request(), 401, &challenge);
        let ok = phone.ok_lines(600_000).replace(";audio;", &format!(";audio;{gruus};"));
        phone.answer(did.request(), 200, &ok);
        let target = "bob".to_owned();
        let did = phone.command(UeCommand::Call { target, options: CallOptions::default() });
        let contact = header(did.request().1, HeaderName::Contact);
        assert!(contact.starts_with(expected), "{contact}");
    }
}

fn versions() {
    for algorithm in [Algorithm::AKAV1_MD5, Algorithm::AKAV2_MD5, Algorithm::AKAV2_SHA_256] {
        let mut phone = Phone::new("alice");
        let did = phone.register();
        let vector = vector(&phone, 1);
        let challenge = Challenge::new(DOMAIN, &vector.nonce().encode(), algorithm);
        let line = format!("WWW-Authenticate: {challenge}\n");
        let did = phone.answer(did.request(), 401, &line);
        let sent = credentials(did.request().1);
        assert_eq!(sent.algorithm(), Ok(algorithm));
        let password = aka_password(algorithm, &vector.xres, &vector.ik, &vector.ck);
        let ha1 = sent.ha1(algorithm, &password);
        assert_eq!(sent.verify(&ha1, algorithm, "REGISTER", b""), Ok(()), "{algorithm}");
    }
}

fn nonce_again() {
    let mut phone = Phone::new("carol");
    let did = phone.register();
    let challenge = format!(
        "WWW-Authenticate: Digest realm=\"{DOMAIN}\",nonce=\"n1\",algorithm=MD5,qop=\"auth\"\n"
    );
    let did = phone.answer(did.request(), 401, &challenge);
    let ok = phone.ok_lines(1200);
    phone.answer(did.request(), 200, &ok);
    let ha1 = Ha1::new(Algorithm::MD5.hash, &format!("carol@{DOMAIN}"), DOMAIN, b"carol-secret");
    let mut refresh = |at: u64, nonce: &str, nc: &str, info: &str| {
        let did = phone.timer(UeTimer::Register, Instant::from_secs(at));
        let sent = credentials(did.request().1);
        assert_eq!((sent.nonce(), sent.nc()), (Some(nonce), Some(nc)));
        assert_eq!(sent.verify(&ha1, Algorithm::MD5, "REGISTER", b""), Ok(()));
        let did = phone.answer(did.request(), 200, &format!("{ok}{info}"));
        assert_eq!(did.states, ["re-registered"]);
    };
    refresh(600, "n1", "00000002", "");
    refresh(1200, "n1", "00000003", "Authentication-Info: nextnonce=\"n2\"");
    refresh(1800, "n2", "00000001", "");
    refresh(2400, "n2", "00000002", "");
}
