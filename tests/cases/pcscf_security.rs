//! The security agreement at the P-CSCF (TS 33.203, RFC 3329, TS 24.229 §5.2.2.2): negotiation, and
//! what is refused.

use cscf_core::auth::{IntegrityProtected, from_hex};
use cscf_core::config::{Confidentiality, SecAgree};
use cscf_core::sip::{HeaderName, Message};
use cscf_core::transport::ipsec::{Algorithms, EspKeys, SaCommand};
use cscf_tests::{header, label};

use super::gm::{Ask, CK, IK, PORT_US, Phone, ask, flag, mechanisms};
use super::hand::status;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let yes = &["P-REG-060a", "P-REG-060b"];
    vec![
        case("pcscf_security::yes_only_by_the_right_associations", yes, yes_and_no),
        case("pcscf_security::the_agreement_stays_on_gm", &["P-REG-070"], stays_on_gm),
        case("pcscf_security::associations_are_of_one_user", &["P-REG-100", "RC-403a"], other_user),
        case("pcscf_security::via_names_the_source", &["P-REG-110"], via_source),
        case("pcscf_security::ports_are_used_once", &["P-REG-120"], ports_once),
        case("pcscf_security::ports_come_back_to_their_phone", &["P-REG-120"], ports_given_back),
        case("pcscf_security::nothing_in_common_is_refused", &["P-REG-130"], nothing_common),
        case("pcscf_security::verify_is_compared", &["P-REG-140", "RC-494"], verify),
        case("pcscf_security::the_offer_is_repeated", &["P-REG-150"], repeated),
        case(
            "pcscf_security::an_agreement_can_be_required",
            &["P-REG-160a", "P-REG-160b", "RC-421"],
            required,
        ),
        case("pcscf_security::agreement_is_for_neighbours", &["P-REG-170", "RC-502"], neighbours),
        case("pcscf_security::keys_stay_here", &["P-REG-180"], keys_stay),
        case("pcscf_security::the_server_says_all_it_has", &["P-REG-190"], server_list),
        case("pcscf_security::keys_are_expanded", &["P-REG-440"], expanded),
        case("pcscf_security::old_algorithms_are_taken", &["P-REG-450"], legacy),
        case("pcscf_security::the_mechanism_is_chosen", &["P-REG-380a", "P-REG-380b"], chosen),
        case("pcscf_security::media_is_another_matter", &["P-REG-430"], mediasec),
    ]
}

fn yes_and_no() {
    let mut phone = Phone::new();
    // (a) Only the answer by the associations of its challenge.
    let (_, unauthorized) = phone.challenged(0, None);
    let proof = phone.proof(&unauthorized);
    phone.send(
        &(phone.offer(&ask(5).client()).replace(&phone.hand.unchallenged(None), &proof)),
        None,
    );
    let clear = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(flag(&clear), Some(IntegrityProtected::No), "a response in clear");
    let nothing = phone.hand.unchallenged(None);
    let lines = phone.answer(0, &unauthorized).replace(&proof, &nothing);
    phone.send(&lines, Some(0));
    let silent = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(flag(&silent), Some(IntegrityProtected::No), "no response, by waiting ones");
    let lines = phone.answer(0, &unauthorized);
    phone.send(&lines, Some(0));
    let answer = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(flag(&answer), Some(IntegrityProtected::Yes));
    phone.ok(&answer);
    // (b) Without a response to a challenge by the latest ones.
    let lines = phone.offer(&ask(1).client());
    phone.send(&lines, Some(0));
    let again = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(flag(&again), Some(IntegrityProtected::Yes));
    let line = phone.challenge_line();
    let (_, unauthorized) = phone.home_says(&again, "401 Unauthorized", &line).remove(0);
    phone.install(1, &ask(1), &unauthorized);
    // The response by the old associations.
    let lines = phone.answer(1, &unauthorized).replace(&ask(1).client(), &ask(2).client());
    phone.send(&lines, Some(0));
    let old = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(flag(&old), Some(IntegrityProtected::No));
    // By those of before, once there are newer ones.
    let lines = phone.answer(1, &unauthorized);
    phone.send(&lines, Some(1));
    let right = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(flag(&right), Some(IntegrityProtected::Yes));
    phone.ok(&right);
    let lines = phone.offer(&ask(4).client());
    phone.send(&lines, Some(0));
    let superseded = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(flag(&superseded), Some(IntegrityProtected::No));
    // What the UE says of it does not count.
    let forged = phone.offer(&ask(3).client()).replace('\n', ",integrity-protected=\"yes\"\n");
    let forged = forged.replacen(",integrity-protected=\"yes\"", "", 4);
    phone.send(&forged, None);
    let clear = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(flag(&clear), Some(IntegrityProtected::No));
}

fn stays_on_gm() {
    let mut phone = Phone::new();
    let nothing_of_it = |message: &Message| {
        let text = String::from_utf8_lossy(&message.to_bytes()).to_ascii_lowercase();
        assert!(!text.contains("security-") && !text.contains("sec-agree"), "{text}");
    };
    let lines = phone.offer(&ask(0).client());
    phone.send(&lines, None);
    nothing_of_it(&phone.at_home("REGISTER").expect("it goes home"));
    phone.hand.call_id = "two".to_owned();
    phone.registered(1, None);
    let lines = phone.offer(&ask(2).client());
    phone.send(&lines, Some(1));
    let request = phone.at_home("REGISTER").expect("it goes home");
    nothing_of_it(&request);
    assert_eq!(header(&request, "Require"), "path");
    let message = phone.says("MESSAGE", 1).expect("it goes home");
    nothing_of_it(&message);
    assert_eq!(header(&message, "Require"), "");
    assert!(header(&message, "P-Asserted-Identity").contains("+15550100001"));
}

fn other_user() {
    let mut phone = Phone::new();
    let flow = phone.registered(0, None);
    let path = path_of(&mut phone);
    let mine = phone.hand.who.impi.clone();
    phone.hand.who.impi = mine.replace("001", "002");
    phone.hand.bench.mark();
    let lines = phone.offer(&ask(1).client());
    phone.send(&lines, Some(0));
    let (by, forbidden) = phone.answered();
    assert_eq!((label(&forbidden).as_str(), by.sa), ("403 REGISTER", flow.sa));
    assert_eq!(header(&forbidden, "WWW-Authenticate"), "");
    assert!(phone.at_home("REGISTER").is_none());
    assert!(phone.noted(&mine), "both identities are told");
    // The registration is as it was.
    assert_eq!(phone.calls(&path, "OPTIONS").len(), 1);
}

/// The Path that home knows.
pub(super) fn path_of(phone: &mut Phone) -> String {
    let told = phone.hand.bench.sent("p1").into_iter().rev();
    let mut registers = told.filter(|told| told.label() == "REGISTER");
    registers.next().expect("a REGISTER").header("Path")
}

fn via_source() {
    let mut phone = Phone::new();
    let (_, unauthorized) = phone.challenged(0, None);
    phone.hand.bench.mark();
    let lines = phone.answer(0, &unauthorized);
    let text = phone.hand.next(&lines).replace(&format!("UDP {}", phone.hand.at), "UDP 10.9.9.9:1");
    phone.hand.bench.send_by("ue", phone.flow(0), &text);
    phone.wait(1);
    let (_, answer) = phone.answered();
    assert_eq!(label(&answer), "403 REGISTER");
    assert!(phone.at_home("REGISTER").is_none());
    assert!(phone.noted("10.9.9.9") && phone.noted("127.1.0.201"), "both addresses are told");
    // A name is no address and proves nothing.
    let mut phone = Phone::with(|gm| gm.reject.via = 400);
    let (_, unauthorized) = phone.challenged(0, None);
    let lines = phone.answer(0, &unauthorized);
    let text = phone.hand.next(&lines).replace(&format!("UDP {}", phone.hand.at), "UDP [::1]:1");
    phone.hand.bench.send_by("ue", phone.flow(0), &text);
    phone.wait(1);
    assert_eq!(label(&phone.answered().1), "400 REGISTER");
}

fn ports_once() {
    let mut phone = Phone::new();
    phone.registered(0, None);
    let path = path_of(&mut phone);
    phone.hand.bench.mark();
    for by in [Some(0), None] {
        let lines = phone.offer(&ask(0).client());
        phone.send(&lines, by);
        let (_, answer) = phone.answered();
        assert_eq!(label(&answer), "403 REGISTER");
        assert!(phone.at_home("REGISTER").is_none());
        assert!(phone.noted("is in use by"));
    }
    assert_eq!(phone.calls(&path, "OPTIONS").len(), 1, "the associations are as they were");
    // Six associations each way are enough: three more phones of the same user.
    for number in 1..4 {
        phone.hand.call_id = format!("other-{number}");
        let mut offer = ask(number);
        offer.ports.server = PORT_US - u16::try_from(number).expect("few");
        let lines = phone.offer(&offer.client());
        phone.send(&lines, None);
        let Some(request) = phone.at_home("REGISTER") else {
            assert_eq!((number, label(&phone.answered().1).as_str()), (3, "403 REGISTER"));
            assert!(phone.noted("six each way"));
            return;
        };
        let line = phone.challenge_line();
        phone.home_says(&request, "401 Unauthorized", &line);
    }
    panic!("a fourth set was made");
}

/// What is left of the same phone's earlier associations with these ports is not in its way.
fn ports_given_back() {
    let mut phone = Phone::new();
    // The 401 was lost: the phone begins anew with all as it was.
    phone.challenged(0, None);
    phone.hand.call_id = "anew".to_owned();
    phone.registered(0, None);
    let path = path_of(&mut phone);
    assert_eq!(phone.calls(&path, "OPTIONS")[0].0.remote.port(), phone.set(0).remote.ports.client);
    // It leaves, and is back at once.
    let contact = phone.hand.contact.clone();
    phone.hand.contact = contact.replace("3600", "0");
    let lines = phone.offer(&ask(1).client());
    phone.send(&lines, Some(0));
    let request = phone.at_home("REGISTER").expect("it goes home");
    phone.home_says(&request, "200 OK", "");
    phone.hand.contact = contact;
    phone.hand.call_id = "back".to_owned();
    phone.registered(0, None);
    // Of another user they are in the way; so are SPIs in use with other ports.
    let mine = phone.hand.who.impi.clone();
    phone.hand.call_id = "other".to_owned();
    for (impi, client) in [(mine.replace("001", "002"), ask(0).ports.client), (mine, 6_600)] {
        phone.hand.who.impi = impi;
        let mut offer = ask(0);
        offer.ports.client = client;
        let lines = phone.offer(&offer.client());
        phone.send(&lines, None);
        assert_eq!(label(&phone.answered().1), "403 REGISTER", "{client}");
        assert!(phone.at_home("REGISTER").is_none());
    }
}

fn nothing_common() {
    for (client, code) in [
        ("ipsec-3gpp;alg=hmac-sha-256;spi-c=1001;spi-s=1002;port-c=6501;port-s=6500", 403),
        ("ipsec-3gpp;alg=hmac-md5-96;prot=ah;spi-c=1001;spi-s=1002;port-c=1;port-s=2", 403),
        ("ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1001;spi-s=1002;port-c=6501;port-s=6500", 494),
    ] {
        let mut phone = Phone::with(|gm| {
            gm.confidentiality = Confidentiality::Required;
            gm.reject.algorithms = code;
        });
        let lines = phone.offer(client);
        phone.send(&lines, None);
        let (_, answer) = phone.answered();
        assert_eq!(status(&answer), code, "{client}");
        assert!(phone.at_home("REGISTER").is_none());
        assert!(phone.noted("algorithms of Security-Client"));
        let server = mechanisms(&answer, HeaderName::SecurityServer);
        assert_eq!(server.is_empty(), code == 403);
        assert!(server.iter().all(|it| it.ealg() != "null"));
    }
}

fn verify() {
    for (wrong, told) in [
        (("spi-s=", "spi-s=1"), "instead of spi-s="),
        (("ealg=aes-cbc", "ealg=null"), "instead of ealg=aes-cbc"),
        (("ipsec-3gpp;q=0.98", "tls;q=0.98"), "tls instead of ipsec-3gpp"),
        (("prot=esp", "prot=esp;new=1"), "instead of no new"),
        (("ipsec-3gpp;q=0.99", "ipsec-3gpp;q=0.5"), "q=0.5 instead of q=0.99"),
    ] {
        let mut phone = Phone::new();
        let (_, unauthorized) = phone.challenged(0, None);
        phone.hand.bench.mark();
        let lines = phone.answer(0, &unauthorized);
        let (head, rest) = lines.split_once("Security-Verify").expect("there");
        let wrong = format!("{head}Security-Verify{}", rest.replacen(wrong.0, wrong.1, 1));
        phone.send(&wrong, Some(0));
        let (_, answer) = phone.answered();
        assert_eq!(label(&answer), "494 REGISTER");
        assert_eq!(header(&answer, "Security-Server"), header(&unauthorized, "Security-Server"));
        assert_eq!(header(&answer, "Require"), "sec-agree");
        assert!(phone.at_home("REGISTER").is_none());
        assert!(phone.noted(told), "{told}");
        // The associations are gone: the right answer comes too late.
        phone.send(&lines, Some(0));
        assert!(phone.at_home("REGISTER").is_none());
        assert!(phone.heard().is_empty());
        // A new beginning leads home.
        phone.registered(1, None);
    }
}

fn repeated() {
    for (change, code) in [
        (("spi-c=10000", "spi-c=10009"), 494),
        (("port-s=6500", "port-s=6509"), 494),
        (("alg=hmac-sha-1-96", "alg=hmac-md5-96"), 494),
        (("Security-Client", "X-Client"), 400),
        (("Security-Verify", "X-Verify"), 400),
    ] {
        let mut phone = Phone::new();
        let (_, unauthorized) = phone.challenged(0, None);
        let lines = phone.answer(0, &unauthorized);
        phone.send(&lines.replacen(change.0, change.1, 1), Some(0));
        let (_, answer) = phone.answered();
        assert_eq!(status(&answer), code, "{change:?}");
        phone.send(&lines, Some(0));
        assert!(phone.at_home("REGISTER").is_none(), "the associations are gone");
    }
}

fn required() {
    let mut phone = Phone::with(|gm| gm.sec_agree = SecAgree::Required);
    for (tag, code) in [("", 421), ("Supported: path, sec-agree\n", 494)] {
        let lines = format!("{tag}{}", phone.hand.unchallenged(None));
        phone.send(&lines, None);
        let (_, answer) = phone.answered();
        assert_eq!(status(&answer), code);
        assert_eq!(header(&answer, "Require"), "sec-agree");
        let server = mechanisms(&answer, HeaderName::SecurityServer);
        assert_eq!((server.len(), server[0].alg()), (8, Some("hmac-sha-1-96")));
        assert!(phone.at_home("REGISTER").is_none());
    }
    phone.registered(0, None);
    // What the entry of a subscriber says goes before what the lab says.
    let in_lab = |all, own| {
        Phone::in_lab(|lab| {
            lab.reg_event_subscription = false;
            lab.gm.sec_agree = all;
            for alice in lab.subscribers.listed_mut().iter_mut().filter(|one| one.name == "alice") {
                alice.ipsec = Some(own);
            }
        })
    };
    let mut phone = in_lab(SecAgree::Off, SecAgree::Required);
    let lines = phone.hand.unchallenged(None);
    phone.send(&lines, None);
    assert_eq!(status(&phone.answered().1), 421);
    phone.registered(0, None);
    let mut phone = in_lab(SecAgree::Required, SecAgree::Off);
    let lines = phone.offer(&ask(0).client());
    phone.send(&lines, None);
    assert!(phone.at_home("REGISTER").is_some());
    assert!(phone.noted("is not taken up: ipsec: off"));
}

fn neighbours() {
    let mut phone = Phone::new();
    let lines = phone.offer(&ask(0).client());
    let text = phone.hand.next(&lines);
    let second = "Max-Forwards: 70\nVia: SIP/2.0/UDP 10.1.1.1;branch=z9hG4bKx\n";
    phone.hand.send(&text.replace("Max-Forwards: 70\n", second));
    phone.wait(1);
    assert_eq!(label(&phone.answered().1), "502 REGISTER");
    assert!(phone.at_home("REGISTER").is_none());
    assert!(phone.noted("more than one Via"));
    assert!(!phone.noted("associations hold"));
}

fn keys_stay() {
    let mut phone = Phone::new();
    let (_, unauthorized) = phone.challenged(0, None);
    let expected = "Digest realm=\"{}\", nonce=\"bm9uY2Ug0001\", algorithm=AKAv1-MD5, \
                    qop=\"auth\", opaque=\"o1\"";
    let expected = expected.replace("{}", cscf_tests::DOMAIN);
    assert_eq!(header(&unauthorized, "WWW-Authenticate"), expected);
    assert!(!mechanisms(&unauthorized, HeaderName::SecurityServer).is_empty());
    // The keys are in use: packets under them arrive.
    let lines = phone.answer(0, &unauthorized);
    phone.send(&lines, Some(0));
    let text = phone.at_home("REGISTER").expect("it goes home").to_bytes();
    assert!(!String::from_utf8_lossy(&text).contains(CK));
}

fn server_list() {
    let mut phone = Phone::new();
    let (_, unauthorized) = phone.challenged(0, None);
    let server = mechanisms(&unauthorized, HeaderName::SecurityServer);
    assert_eq!(server.len(), 8);
    let first = &server[0];
    let mut q = 1_000;
    for it in &server {
        assert!(it.is_ipsec_3gpp() && it.q_thousandths() < q);
        q = it.q_thousandths();
        assert_eq!((it.prot(), it.mode()), ("esp", "trans"));
        assert_eq!((it.spi_c(), it.spi_s()), (first.spi_c(), first.spi_s()));
        assert_eq!((it.port_s(), it.port_c()), (Some(5062), first.port_c()));
    }
    let (spi_c, spi_s) = (first.spi_c().expect("spi-c"), first.spi_s().expect("spi-s"));
    let ours = ask(0).ports;
    assert!(spi_c != spi_s && spi_c > 255 && spi_s > 255);
    assert!(![ours.spi_client, ours.spi_server].iter().any(|it| [spi_c, spi_s].contains(it)));
    assert!((5100..=5131).contains(&first.port_c().expect("port-c")));
    let mut phone = Phone::with(|gm| gm.confidentiality = Confidentiality::Off);
    let (_, unauthorized) = phone.challenged(0, None);
    let server = mechanisms(&unauthorized, HeaderName::SecurityServer);
    assert!(server.len() == 3 && server.iter().all(|it| it.ealg() == "null"));
}

/// Registers with one pair of algorithms and the keys as given here.
fn with_keys(algorithms: &'static str, integrity: &str, encryption: &str) {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| from_hex::<1>(&hex[at..at + 2]).expect("hex")[0])
            .collect()
    };
    let mut phone = Phone::new();
    let offer = Ask { algorithms, ..ask(0) };
    let lines = phone.offer(&offer.client());
    phone.send(&lines, None);
    let request = phone.at_home("REGISTER").expect("it goes home");
    let line = phone.challenge_line();
    let (_, unauthorized) = phone.home_says(&request, "401 Unauthorized", &line).remove(0);
    phone.install(0, &offer, &unauthorized);
    let mut set = phone.set(0);
    set.keys = EspKeys { integrity: bytes(integrity), encryption: bytes(encryption) };
    phone.hand.bench.secure("ue", SaCommand::Install(Box::new(set.clone())));
    let lines = phone.answer(0, &unauthorized).replace(&ask(0).client(), &offer.client());
    phone.send(&lines, Some(0));
    let request = phone.at_home("REGISTER").expect("these are the keys");
    let (flow, ok) = phone.ok(&request);
    assert_eq!((label(&ok).as_str(), flow.sa), ("200 REGISTER", Some(set.id)));
    // With one bit changed nothing arrives.
    let key = if set.keys.integrity.is_empty() {
        &mut set.keys.encryption
    } else {
        &mut set.keys.integrity
    };
    key[0] ^= 1;
    phone.hand.bench.secure("ue", SaCommand::Install(Box::new(set)));
    phone.hand.bench.mark();
    assert!(phone.says("MESSAGE", 0).is_none());
    // Its numbers begin anew under another key, so that they are too old, or else forged.
    let dropped = phone.hand.bench.dropped("p1");
    assert!(dropped[0].starts_with("ESP: "), "{dropped:?}");
}

fn expanded() {
    let tripled = format!("{CK}{}", &CK[..16]);
    with_keys("alg=hmac-md5-96;ealg=null", IK, "");
    with_keys("alg=hmac-sha-1-96;ealg=null", &format!("{IK}00000000"), "");
    with_keys("alg=hmac-sha-1-96;ealg=aes-cbc", &format!("{IK}00000000"), CK);
    with_keys("alg=hmac-md5-96;ealg=des-ede3-cbc", IK, &tripled);
    // The salts by Python's hmac: see the unit test of the expansion.
    with_keys("alg=aes-gmac;ealg=null", &format!("{IK}dbc2b1c2"), "");
    with_keys("alg=null;ealg=aes-gcm", "", &format!("{CK}89273db6"));
}

fn legacy() {
    for (alg, ealg) in [
        ("hmac-md5-96", "null"),
        ("hmac-md5-96", "aes-cbc"),
        ("hmac-md5-96", "des-ede3-cbc"),
        ("hmac-sha-1-96", "null"),
        ("hmac-sha-1-96", "aes-cbc"),
        ("hmac-sha-1-96", "des-ede3-cbc"),
    ] {
        let client = ask(0)
            .client()
            .replace("alg=hmac-sha-1-96;ealg=null", &format!("alg={alg};ealg={ealg}"));
        let pair = Algorithms::named(alg, ealg).expect("a pair");
        let mut phone = Phone::new();
        let lines = phone.offer(&client);
        phone.send(&lines, None);
        assert!(phone.at_home("REGISTER").is_some());
        assert!(phone.noted(&format!("{pair} trans is the first of ours")));
        let mut strict = Phone::with(|gm| gm.drop_legacy());
        let lines = strict.offer(&client);
        strict.send(&lines, None);
        assert_eq!(strict.at_home("REGISTER").is_none(), pair.is_legacy(), "{pair}");
    }
    // SHA-1 is preferred to MD5, whatever the order of the UE.
    let both =
        format!("{}, {}", ask(0).client().replace("hmac-sha-1-96", "hmac-md5-96"), ask(0).client());
    let mut phone = Phone::new();
    let lines = phone.offer(&both);
    phone.send(&lines, None);
    assert!(phone.noted("hmac-sha-1-96/null trans is the first of ours"));
}

fn chosen() {
    let mut phone = Phone::new();
    let (_, unauthorized) = phone.challenged(0, None);
    assert_eq!(mechanisms(&unauthorized, HeaderName::SecurityServer)[0].mode(), "trans");
    let mut phone = Phone::new();
    let tunnel = ask(0).client().replace("mod=trans", "mod=UDP-enc-tun");
    let lines = phone.offer(&tunnel);
    phone.send(&lines, None);
    let request = phone.at_home("REGISTER").expect("it goes home");
    let line = phone.challenge_line();
    let (_, unauthorized) = phone.home_says(&request, "401 Unauthorized", &line).remove(0);
    let server = mechanisms(&unauthorized, HeaderName::SecurityServer);
    assert!(server.iter().all(|it| it.mode() == "UDP-enc-tun"));
    // Behind a translation the tunnel is taken where both are offered.
    let mut phone = Phone::new();
    let lines = phone.offer(&format!("{}, {tunnel}", ask(0).client()));
    let text =
        phone.hand.next(&lines).replace(&format!("UDP {}", phone.hand.at), "UDP 10.0.0.9:5060");
    phone.hand.send(&text);
    phone.wait(1);
    assert!(phone.noted("UDP-enc-tun is the first of ours"));
}

fn mediasec() {
    let mut phone = Phone::with(|gm| gm.mediasec = true);
    let lines = phone.offer(&format!("sdes-srtp;mediasec, {}", ask(0).client()));
    phone.send(&lines, None);
    let request = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(header(&request, "Security-Client"), "");
    let line = phone.challenge_line();
    let (_, unauthorized) = phone.home_says(&request, "401 Unauthorized", &line).remove(0);
    assert!(header(&unauthorized, "Security-Server").ends_with("| sdes-srtp;mediasec"));
    phone.install(0, &ask(0), &unauthorized);
    let lines = phone.answer(0, &unauthorized);
    let lines = lines.replace("Security-Client: ", "Security-Client: sdes-srtp;mediasec, ");
    phone.send(&lines, Some(0));
    let request = phone.at_home("REGISTER").expect("it goes home");
    let (_, ok) = phone.ok(&request);
    assert_eq!(header(&ok, "Security-Server"), "sdes-srtp;mediasec");
}
