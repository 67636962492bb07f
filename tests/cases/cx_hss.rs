//! The HSS on Cx: what it answers in which state, looked at in the Diameter messages that it sends
//! (TS 29.228 §6.1, §6.3, TS 29.229 §6).

use cscf_core::auth::{AkaFunctions as _, AkaKeys, Autn, Auts, ResLength, Sqn, TuakKey};
use cscf_core::config::{Auth, Lab};
use cscf_core::cx::{
    AuthScheme, AuthorizationType, CxCommand, CxRequest, CxResult, DeregistrationReason, Mar,
    RestoredContact, ServerCapabilities, Uar,
};
use cscf_core::diameter::{Avp, Message, dictionary};
use cscf_core::hss::{
    Credentials, HssCommand, ImplicitSet, Misbehaviour, PrivateIdentity, Subscriber,
};
use cscf_core::ifc::{PublicIdentity, ServiceProfile};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN};

use super::cx::{order_hss, subscriber_of};
use super::cx_peer::{Hss, mar, result, said, sar, uar};
use super::hand::asked;
use super::hss_faults::misbehave;
use super::{Case, case};

const REG: AuthorizationType = AuthorizationType::Registration;
const DEREG: AuthorizationType = AuthorizationType::Deregistration;
const CAP: AuthorizationType = AuthorizationType::RegistrationAndCapabilities;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("cx_hss::a_uaa_fits_the_state", &["X-CX-010"], uaa),
        case("cx_hss::an_maa_has_vectors_and_takes_auts", &["X-CX-020"], maa),
        case("cx_hss::an_saa_fits_the_type_and_the_state", &["X-CX-030"], saa),
        case("cx_hss::an_lia_fits_the_state", &["X-CX-040"], lia),
        case("cx_hss::an_s_cscf_can_be_reassigned", &["X-CX-050"], reassignment),
        case("cx_hss::an_rtr_has_its_reason", &["X-CX-060a"], rtr),
        case("cx_hss::what_changes_is_pushed", &["X-CX-060b"], pushes),
        case("cx_hss::a_barred_identity_is_notified", &["X-CX-060d"], notified),
        case("cx_hss::codes_of_3gpp_are_experimental", &["X-CX-070"], codes),
        case("cx_hss::vectors_are_of_the_card", &["X-CX-090"], vectors),
        case("cx_hss::an_emergency_knows_no_barring", &["X-CX-100"], emergency),
        case("cx_hss::a_lost_registration_is_given_back", &[], restoration),
    ]
}

fn alice() -> (String, String) {
    (format!("001010000000001@{DOMAIN}"), format!("sip:alice@{DOMAIN}"))
}

fn bob() -> (String, String) {
    (format!("001010000000002@{DOMAIN}"), format!("sip:bob@{DOMAIN}"))
}

fn erin() -> (String, String) {
    (format!("erin@{DOMAIN}"), format!("sip:erin@{DOMAIN}"))
}

fn provision(hss: &mut Hss, subscriber: Subscriber) {
    order_hss(&mut hss.bench, HssCommand::Provision(Box::new(subscriber)));
}

/// erin, who may have more or less.
fn with_erin(hss: &mut Hss, change: impl FnOnce(&mut Subscriber)) {
    let (_, impu) = erin();
    let mut subscriber = subscriber_of("erin", &[(&impu, false)]);
    change(&mut subscriber);
    provision(hss, subscriber);
}

fn wants(mandatory: &[u32], optional: &[u32]) -> ServerCapabilities {
    let (mandatory, optional) = (mandatory.to_vec(), optional.to_vec());
    ServerCapabilities { mandatory, optional, server_names: Vec::new() }
}

fn uaa() {
    let mut hss = Hss::new();
    let ((alice, impu), (erin, of_erin)) = (alice(), erin());
    with_erin(&mut hss, |it| it.capabilities = Some(wants(&[1], &[2])));
    // Not registered, no name stored: capabilities only where there are any.
    assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2001");
    assert_eq!(hss.uar(&erin, &of_erin, REG), "experimental 2001 can 1 wish 2");
    // Authentication pending, registered, unregistered.
    hss.mar("sA", &alice, &impu);
    assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2002 at sip:sA");
    assert_eq!(hss.uar(&alice, &impu, DEREG), "experimental 5003");
    hss.sar("sA", &alice, &impu, 1);
    assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2002 at sip:sA");
    let (bob, of_bob) = bob();
    hss.sar("sA", &bob, &of_bob, 3);
    assert_eq!(hss.uar(&bob, &of_bob, REG), "experimental 2002 at sip:sA");
    // Deregistration is no subsequent registration.
    assert_eq!(hss.uar(&alice, &impu, DEREG), "base 2001 at sip:sA");
    assert_eq!(hss.uar(&erin, &of_erin, DEREG), "experimental 5003");
    // Unknown, not together.
    let nobody = format!("sip:nobody@{DOMAIN}");
    assert_eq!(hss.uar(&format!("nobody@{DOMAIN}"), &impu, REG), "experimental 5001");
    assert_eq!(hss.uar(&alice, &nobody, REG), "experimental 5001");
    assert_eq!(hss.uar(&alice, &of_bob, REG), "experimental 5002");
    // Roaming, barred, failure.
    let mut hss = Hss::new();
    with_erin(&mut hss, |it| it.visited_networks = vec!["elsewhere".to_owned()]);
    assert_eq!(hss.uar(&erin, &of_erin, REG), "experimental 5004");
    let mut hss = Hss::new();
    provision(&mut hss, subscriber_of("erin", &[(&of_erin, true)]));
    assert_eq!(hss.uar(&erin, &of_erin, REG), "base 5003");
    let failure = Misbehaviour::Answer(CxResult::UnableToComply);
    misbehave(&mut hss.bench, CxCommand::Uar, failure, None);
    assert_eq!(hss.uar(&alice, &impu, REG), "base 5012");
}

fn keys_of(name: &str) -> AkaKeys {
    match Lab::default_lab().subscriber(name).expect("a subscriber").into_owned().auth {
        Auth::Aka { k, opc, .. } => AkaKeys::Milenage { k, opc },
        _ => panic!("a USIM"),
    }
}

/// RAND, AUTN and XRES of each vector, in the order of their numbers.
fn items(answer: &Message) -> Vec<([u8; 16], Autn, Vec<u8>)> {
    let groups: Vec<Vec<Avp>> = answer
        .all(&dictionary::SIP_AUTH_DATA_ITEM)
        .map(|group| group.as_group().expect("a group"))
        .collect();
    let mut out = Vec::new();
    for (number, inside) in (1..).zip(&groups) {
        let find = |what| inside.iter().find(|avp| avp.is(what)).expect("is there");
        assert_eq!(find(&dictionary::SIP_ITEM_NUMBER).as_u32().expect("a number"), number);
        let scheme = find(&dictionary::SIP_AUTHENTICATION_SCHEME);
        assert_eq!(scheme.as_text().expect("text"), "Digest-AKAv1-MD5");
        let challenge = &find(&dictionary::SIP_AUTHENTICATE).data;
        let (rand, autn) = challenge.split_at(16);
        out.push((
            rand.try_into().expect("RAND"),
            Autn::from_bytes(autn.try_into().expect("AUTN")),
            find(&dictionary::SIP_AUTHORIZATION).data.to_vec(),
        ));
    }
    let count = answer.number(&dictionary::SIP_NUMBER_AUTH_ITEMS).expect("a count");
    assert_eq!(count as usize, out.len());
    out
}

/// The sequence number inside a vector, its MAC proven.
fn sqn_of(keys: &AkaKeys, rand: &[u8; 16], autn: &Autn) -> Sqn {
    let functions = keys.functions();
    let ak = functions.f2345(rand).ak;
    let mut octets = autn.concealed_sqn;
    octets.iter_mut().zip(ak).for_each(|(to, with)| *to ^= with);
    let sqn = Sqn::from_bytes(octets);
    assert_eq!(functions.f1(rand, sqn, autn.amf), autn.mac_a, "MAC-A");
    sqn
}

fn maa() {
    let mut hss = Hss::new();
    let ((alice, impu), keys) = (alice(), keys_of("alice"));
    let ask = |hss: &mut Hss, peer: &str, count| {
        let answer = hss.ask(peer, mar(peer, &alice, &impu, AuthScheme::Aka, count));
        assert_eq!(result(&answer), "base 2001");
        assert_eq!(answer.text(&dictionary::USER_NAME), Some(alice.as_str()));
        assert_eq!(answer.text(&dictionary::PUBLIC_IDENTITY), Some(impu.as_str()));
        items(&answer)
    };
    let numbers = |items: &[([u8; 16], Autn, Vec<u8>)]| -> Vec<Sqn> {
        items.iter().map(|(rand, autn, _)| sqn_of(&keys, rand, autn)).collect()
    };
    // A batch, at most five; each vector above the last, with the SQN of its own RAND.
    let mut all = numbers(&ask(&mut hss, "sA", 3));
    let rest = ask(&mut hss, "sA", 99);
    assert_eq!((all.len(), rest.len()), (3, 5));
    all.extend(numbers(&rest));
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    // The name is stored, the newest one counts, and a failure takes it back: it was pending.
    assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2002 at sip:sA");
    ask(&mut hss, "sB", 1);
    assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2002 at sip:sB");
    assert_eq!(result(&hss.sar("sB", &alice, &impu, 9)), "base 2001");
    assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2001");
    // AUTS of a card far ahead moves the numbers, a forged one does not.
    let rand = [5; 16];
    let far = Sqn::from_parts(1 << 40, 9, Default::default()).expect("48 bits");
    let resync = |hss: &mut Hss, auts: Auts| {
        let CxRequest::Mar(question) = mar("sA", &alice, &impu, AuthScheme::Aka, 1) else {
            unreachable!()
        };
        let resync = Some((rand, auts.to_bytes()));
        let answer = hss.ask("sA", CxRequest::Mar(Mar { resync, ..question }));
        numbers(&items(&answer)).remove(0)
    };
    let forged = Auts::generate(&keys_of("bob").functions(), &rand, far);
    assert!(resync(&mut hss, forged) < far);
    let after = resync(&mut hss, Auts::generate(&keys.functions(), &rand, far));
    assert!(after > far, "{after} above {far}");
    // A scheme that the user has not, or nobody knows.
    let carol = format!("carol@{DOMAIN}");
    let of_carol = format!("sip:{carol}");
    for (impi, impu, scheme) in [
        (&alice, &impu, AuthScheme::Other),
        (&alice, &impu, AuthScheme::SipDigest),
        (&carol, &of_carol, AuthScheme::Aka),
    ] {
        let answer = hss.ask("sA", mar("sA", impi, impu, scheme, 1));
        assert_eq!(said(&answer), "experimental 5006", "{scheme:?}");
        assert!(answer.find(&dictionary::SIP_AUTH_DATA_ITEM).is_none());
    }
}

fn saa() {
    let (alice, impu) = alice();
    // REGISTRATION and RE_REGISTRATION: registered, no longer pending, data unless they are there.
    let mut hss = Hss::new();
    hss.mar("sA", &alice, &impu);
    assert_eq!(said(&hss.sar("sA", &alice, &impu, 1)), "base 2001 profile");
    assert_eq!(said(&hss.sar("sA", &alice, &impu, 9)), "base 2001", "nothing is pending");
    assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2002 at sip:sA", "so the name stays");
    assert_eq!(said(&hss.sar("sA", &alice, &impu, 2)), "base 2001 profile");
    let mut there = sar("sA", &alice, &[&impu], 2);
    there.profile_available = true;
    assert_eq!(said(&hss.ask("sA", CxRequest::Sar(there))), "base 2001");
    // NO_ASSIGNMENT: data for the assigned S-CSCF only.
    assert_eq!(said(&hss.sar("sA", &alice, &impu, 0)), "base 2001 profile");
    assert_eq!(said(&hss.sar("sB", &alice, &impu, 0)), "base 5012");
    // Another S-CSCF; a wrong state; too many identities.
    assert_eq!(said(&hss.sar("sB", &alice, &impu, 1)), "experimental 5005");
    assert_eq!(said(&hss.sar("sA", &alice, &impu, 3)), "experimental 5007");
    let both = [impu.as_str(), "tel:+15550100001"];
    let twice = hss.ask("sA", CxRequest::Sar(sar("sA", &alice, &both, 1)));
    assert_eq!(said(&twice), "base 5009");
    let mut fresh = Hss::new();
    for kind in [2, 4, 5, 8, 11] {
        assert_eq!(said(&fresh.sar("sA", &alice, &impu, kind)), "experimental 5007", "{kind}");
    }
    // UNREGISTERED_USER: a name and data, and the state that goes with them.
    assert_eq!(said(&fresh.sar("sA", "", &impu, 3)), "base 2001 profile");
    assert_eq!(fresh.lir(&impu, false, false), "base 2001 at sip:sA");
    // Deregistrations: the name goes; it is not kept here when the S-CSCF asks for that.
    for (kind, expected) in
        [(4, "base 2001"), (5, "base 2001"), (8, "base 2001"), (11, "base 2001")]
            .into_iter()
            .chain([(6, "experimental 2004"), (7, "experimental 2004")])
    {
        let mut hss = Hss::new();
        hss.sar("sA", &alice, &impu, 1);
        assert_eq!(said(&hss.sar("sA", &alice, &impu, kind)), expected, "{kind}");
        assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2001", "{kind}: no name");
    }
    // A failed authentication takes the name of who is not registered.
    for kind in [9, 10] {
        let mut hss = Hss::new();
        hss.mar("sA", &alice, &impu);
        assert_eq!(said(&hss.sar("sA", &alice, &impu, kind)), "base 2001", "{kind}");
        assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2001", "{kind}: no name");
    }
    shared();
}

/// Of two private identities with one public one the second keeps it registered.
fn shared() {
    let mut hss = Hss::new();
    let (erin, impu) = erin();
    let tablet = format!("tablet@{DOMAIN}");
    with_erin(&mut hss, |it| {
        let second = PrivateIdentity { impi: tablet.clone(), ..it.private_identities[0].clone() };
        it.private_identities.push(second);
    });
    hss.sar("sA", &erin, &impu, 1);
    hss.sar("sA", &tablet, &impu, 1);
    assert_eq!(said(&hss.sar("sA", &erin, &impu, 5)), "base 2001");
    assert_eq!(hss.lir(&impu, false, false), "base 2001 at sip:sA", "still registered");
    assert_eq!(said(&hss.sar("sA", &tablet, &impu, 5)), "base 2001");
    assert_eq!(hss.uar(&erin, &impu, REG), "experimental 2001");
}

fn lia() {
    let mut hss = Hss::new();
    let ((alice, impu), (_, of_erin)) = (alice(), erin());
    with_erin(&mut hss, |it| {
        it.capabilities = Some(wants(&[4], &[]));
        it.implicit_sets[0].unregistered_services = true;
    });
    // Not registered, without and with services, and on behalf of the user.
    assert_eq!(hss.lir(&impu, false, false), "experimental 5003");
    assert_eq!(hss.lir(&of_erin, false, false), "experimental 2003 can 4");
    assert_eq!(hss.lir(&impu, true, false), "experimental 2003");
    // Registered, by each form of the number; unregistered.
    hss.sar("sA", &alice, &impu, 1);
    for impu in [impu.as_str(), "tel:+15550100001", "tel:+1-555-010-0001"] {
        assert_eq!(hss.lir(impu, false, false), "base 2001 at sip:sA", "{impu}");
    }
    hss.sar("sB", "", &of_erin, 3);
    assert_eq!(hss.lir(&of_erin, false, false), "base 2001 at sip:sB");
    // A public service identity: where it is hosted, unless it is out of use.
    let mut psi = |inactive, name: &str| {
        let impu = format!("sip:{name}@{DOMAIN}");
        let hosted_by = Some("sip:as.ims.example".to_owned());
        let more = subscriber_of(name, &[(&impu, false)]);
        provision(&mut hss, Subscriber { hosted_by, inactive, ..more });
        hss.lir(&impu, false, false)
    };
    assert_eq!(psi(false, "voicemail"), "base 2001 at sip:as.ims.example");
    assert_eq!(psi(true, "old-voicemail"), "experimental 5001");
    // Unknown.
    assert_eq!(hss.lir(&format!("sip:nobody@{DOMAIN}"), false, false), "experimental 5001");
}

fn reassignment() {
    let (erin, impu) = erin();
    for by_lir in [false, true] {
        let mut hss = Hss::new();
        with_erin(&mut hss, |it| it.capabilities = Some(wants(&[7], &[])));
        hss.sar("sA", &erin, &impu, 1);
        assert_eq!(said(&hss.sar("sB", &erin, &impu, 1)), "experimental 5005", "before");
        let asked = if by_lir { hss.lir(&impu, false, true) } else { hss.uar(&erin, &impu, CAP) };
        assert_eq!(asked, "base 2001 can 7", "no name");
        assert_eq!(said(&hss.sar("sB", &erin, &impu, 1)), "base 2001 profile", "after");
        assert_eq!(hss.uar(&erin, &impu, REG), "experimental 2002 at sip:sB");
        // The flag is used up.
        assert_eq!(said(&hss.sar("sA", &erin, &impu, 1)), "experimental 5005");
    }
}

fn rtr() {
    let (alice, impu) = alice();
    for (reason, code) in [
        (DeregistrationReason::PermanentTermination, 0),
        (DeregistrationReason::NewServerAssigned, 1),
        (DeregistrationReason::ServerChange, 2),
        (DeregistrationReason::RemoveScscf, 3),
    ] {
        let mut hss = Hss::new();
        hss.sar("sA", &alice, &impu, 1);
        hss.bench.mark();
        let (impi, impus, info) = (alice.clone(), vec![impu.clone()], "by order".to_owned());
        order_hss(&mut hss.bench, HssCommand::Deregister { impi, impus, reason, info });
        let sent = asked(&hss.bench, "hss", "RTR");
        let [rtr] = sent.as_slice() else { panic!("one RTR") };
        let host = format!("sA.{DOMAIN}");
        assert_eq!(rtr.text(&dictionary::DESTINATION_HOST), Some(host.as_str()));
        assert_eq!(rtr.text(&dictionary::USER_NAME), Some(alice.as_str()));
        assert_eq!(rtr.text(&dictionary::PUBLIC_IDENTITY), Some(impu.as_str()));
        let group = rtr.find(&dictionary::DEREGISTRATION_REASON).expect("a reason");
        let inside = group.as_group().expect("a group");
        assert_eq!(inside[0].as_u32().expect("a number"), code);
        assert_eq!(inside[1].as_text().expect("text"), "by order");
        assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2001", "{reason:?}");
    }
}

/// A service profile with alice's identities, of which that with this scheme is barred.
fn profile_barring(scheme: &str) -> Vec<ServiceProfile> {
    let lab = Lab::default_lab();
    let alice = lab.subscriber("alice").expect("alice");
    let identities = alice.impus.iter().map(|impu| {
        let barred = impu.barred || impu.uri.starts_with(scheme);
        PublicIdentity { identity: impu.uri.clone(), barred, ..PublicIdentity::default() }
    });
    vec![ServiceProfile { public_identities: identities.collect(), ..ServiceProfile::default() }]
}

/// The results of the PPAs that a node has sent.
fn ppas(bench: &Bench, node: &str) -> Vec<String> {
    asked(bench, node, "PPA").iter().map(result).collect()
}

fn pushes() {
    let (alice, impu) = alice();
    let change = || HssCommand::ChangeProfile {
        impu: impu.clone(),
        service_profiles: profile_barring("tel:"),
    };
    let carol = format!("carol@{DOMAIN}");
    let password = || HssCommand::ChangePassword { impi: carol.clone(), password: "new".into() };
    let ccf = || HssCommand::ChangeCharging { impi: alice.clone(), ccf: "aaa://ccf".to_owned() };
    // To an S-CSCF by hand: what a PPR carries.
    let mut hss = Hss::new();
    hss.sar("sA", &alice, &impu, 1);
    let of_carol = format!("sip:{carol}");
    hss.sar("sB", &carol, &of_carol, 1);
    for (command, impi, avp) in [
        (change(), &alice, &dictionary::USER_DATA),
        (ccf(), &alice, &dictionary::CHARGING_INFORMATION),
        (password(), &carol, &dictionary::SIP_AUTH_DATA_ITEM),
    ] {
        hss.bench.mark();
        order_hss(&mut hss.bench, command);
        let sent = asked(&hss.bench, "hss", "PPR");
        let [ppr] = sent.as_slice() else { panic!("one PPR") };
        assert_eq!(ppr.text(&dictionary::USER_NAME), Some(impi.as_str()));
        for other in [
            &dictionary::USER_DATA,
            &dictionary::CHARGING_INFORMATION,
            &dictionary::SIP_AUTH_DATA_ITEM,
        ] {
            assert_eq!(ppr.find(other).is_some(), other == avp, "{other}");
        }
    }
    // A profile too large ends the registration.
    hss.with("sA", |peer, _| peer.verdict = Some(CxResult::TooMuchData));
    hss.bench.mark();
    order_hss(&mut hss.bench, change());
    assert_eq!(asked(&hss.bench, "hss", "RTR").len(), 1);

    // To s1: it takes the profile of whom it knows.
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    bench.run_for(Duration::from_secs(1));
    bench.mark();
    order_hss(&mut bench, change());
    assert_eq!(ppas(&bench, "s1"), ["base 2001"]);
    bench.mark();
    bench.play("alice re-registers\nwait 1s");
    let sent = bench.sent("s1");
    let ok = sent.iter().rfind(|told| told.label() == "200 REGISTER").expect("200");
    let identities = ok.header("P-Associated-URI");
    assert!(identities.contains("sip:alice@") && !identities.contains("tel:"), "{identities}");
    // Restarted, it knows nobody.
    bench.play("s1 crashes\nwait 1s\ns1 restarts\nwait 60s");
    bench.mark();
    order_hss(&mut bench, change());
    assert_eq!(ppas(&bench, "s1"), ["experimental 5001"]);
}

fn notified() {
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    bench.run_for(Duration::from_secs(1));
    bench.mark();
    let (impu, service_profiles) = (alice().1, profile_barring("tel:"));
    order_hss(&mut bench, HssCommand::ChangeProfile { impu, service_profiles });
    bench.run_for(Duration::from_secs(1));
    let sent = bench.sent("s1");
    let notify = sent.iter().find(|told| told.label() == "NOTIFY").expect("a NOTIFY");
    let body = String::from_utf8_lossy(&notify.request().body).into_owned();
    assert!(body.contains("sip:alice@"), "{body}");
    let of_tel = body.split("<registration ").find(|part| part.contains("tel:"));
    assert!(of_tel.is_none_or(|part| part.contains("state=\"terminated\"")), "{body}");
}

fn codes() {
    // What is no code of the base protocol is told as experimental one of 3GPP, whatever asks.
    let (alice, impu) = alice();
    let mut hss = Hss::new();
    for (answered, expected) in [
        (CxResult::Success, "base 2001"),
        (CxResult::FirstRegistration, "experimental 2001"),
        (CxResult::SubsequentRegistration, "experimental 2002"),
        (CxResult::UnregisteredService, "experimental 2003"),
        (CxResult::ServerNameNotStored, "experimental 2004"),
        (CxResult::UserUnknown, "experimental 5001"),
        (CxResult::IdentitiesDontMatch, "experimental 5002"),
        (CxResult::IdentityNotRegistered, "experimental 5003"),
        (CxResult::AuthorizationRejected, "base 5003"),
        (CxResult::RoamingNotAllowed, "experimental 5004"),
        (CxResult::IdentityAlreadyRegistered, "experimental 5005"),
        (CxResult::AuthSchemeNotSupported, "experimental 5006"),
        (CxResult::InAssignmentType, "experimental 5007"),
        (CxResult::TooMuchData, "experimental 5008"),
        (CxResult::FeatureUnsupported, "experimental 5011"),
        (CxResult::UnableToComply, "base 5012"),
        (CxResult::TooBusy, "base 3004"),
    ] {
        let how = Misbehaviour::Answer(answered);
        order_hss(&mut hss.bench, HssCommand::Misbehave { command: None, how, times: None });
        assert_eq!(hss.uar(&alice, &impu, REG), expected);
        assert_eq!(hss.lir(&impu, false, false), expected);
        assert_eq!(result(&hss.mar("sA", &alice, &impu)), expected);
        let saa = hss.sar("sA", &alice, &impu, 1);
        assert_eq!(result(&saa), expected);
        // A protocol error has the E bit, nothing else has it.
        assert_eq!(saa.header.flags.error, answered == CxResult::TooBusy, "{answered:?}");
    }
    order_hss(&mut hss.bench, HssCommand::Behave);
    assert_eq!(hss.uar(&alice, &impu, REG), "experimental 2001");
}

fn vectors() {
    let k = [0x55; 16];
    let tuak = |res| AkaKeys::Tuak { k: TuakKey::Bits128(k), topc: [0x66; 32], res, iterations: 1 };
    let cards = [
        (keys_of("alice"), 8),
        (AkaKeys::Xor { k }, 16),
        (tuak(ResLength::Bits64), 8),
        (tuak(ResLength::Bits128), 16),
    ];
    for (keys, length) in cards {
        let mut hss = Hss::new();
        let (erin, impu) = erin();
        let amf = [0x80, 0x01];
        with_erin(&mut hss, |it| {
            it.private_identities[0].credentials = Credentials::Aka { keys, amf, sqn: 0 };
        });
        let mut last = Sqn::default();
        let take = |hss: &mut Hss| items(&hss.mar("sA", &erin, &impu)).remove(0);
        for _ in 0..3 {
            let (rand, autn, xres) = take(&mut hss);
            let sqn = sqn_of(&keys, &rand, &autn);
            assert!(sqn > last, "{keys:?}: {sqn} after {last}");
            last = sqn;
            assert_eq!(autn.amf, amf);
            assert_eq!(xres, keys.functions().f2345(&rand).res.as_bytes());
            assert_eq!(xres.len(), length, "{keys:?}");
        }
        // On order: a MAC that is wrong, a number that was used.
        misbehave(&mut hss.bench, CxCommand::Mar, Misbehaviour::BadMac, Some(1));
        let (rand, autn, _) = take(&mut hss);
        let ak = keys.functions().f2345(&rand).ak;
        let mut octets = autn.concealed_sqn;
        octets.iter_mut().zip(ak).for_each(|(to, with)| *to ^= with);
        let right = keys.functions().f1(&rand, Sqn::from_bytes(octets), autn.amf);
        assert_ne!(right, autn.mac_a, "{keys:?}");
        misbehave(&mut hss.bench, CxCommand::Mar, Misbehaviour::OldSqn, Some(1));
        let (rand, autn, _) = take(&mut hss);
        assert!(sqn_of(&keys, &rand, &autn) < last, "{keys:?}");
        let (rand, autn, _) = take(&mut hss);
        assert!(sqn_of(&keys, &rand, &autn) > last, "{keys:?}: as before");
    }
}

fn emergency() {
    let (erin, impu) = erin();
    let barred = ImplicitSet::of(vec![PublicIdentity::barred(&impu)]);
    let changes: [&dyn Fn(&mut Subscriber); 3] =
        [&|it| it.barred = true, &|it| it.visited_networks = vec!["elsewhere".to_owned()], &|it| {
            it.implicit_sets = vec![barred.clone()];
        }];
    for (change, refused) in changes.iter().zip(["base 5003", "experimental 5004", "base 5003"]) {
        let mut hss = Hss::new();
        with_erin(&mut hss, |it| change(it));
        for (emergency, expected) in [(false, refused), (true, "experimental 2001")] {
            let CxRequest::Uar(question) = uar(&erin, &impu, REG) else { unreachable!() };
            let answer = hss.ask("sA", CxRequest::Uar(Uar { emergency, ..question }));
            assert_eq!(said(&answer), expected);
        }
    }
}

fn restoration() {
    let (alice, impu) = alice();
    let mut hss = Hss::new();
    let contact = RestoredContact {
        path: format!("<sip:tok@p1.{DOMAIN};lr>"),
        contact: "<sip:alice@10.0.0.9>;expires=600".to_owned(),
        call_id: Some("c1".to_owned()),
        cseq: Some(4),
        subscription: None,
    };
    let info = cscf_core::cx::Restoration { impi: alice.clone(), contacts: vec![contact] };
    let mut first = sar("sA", &alice, &[&impu], 1);
    first.restoration = Some(info);
    assert_eq!(said(&hss.ask("sA", CxRequest::Sar(first))), "base 2001 profile");
    // The S-CSCF that lost it asks with a REGISTER or a request in its hands.
    for kind in [0, 3] {
        let answer = hss.sar("sA", &alice, &impu, kind);
        assert_eq!(said(&answer), "base 2001 profile restore 1", "{kind}");
        let group = answer.find(&dictionary::SCSCF_RESTORATION_INFO).expect("there");
        assert!(group.as_group().expect("a group")[1].is(&dictionary::RESTORATION_INFO));
        assert!(answer.find(&dictionary::SUPPORTED_FEATURES).is_some());
    }
    assert_eq!(hss.lir(&impu, false, false), "base 2001 at sip:sA", "registered as before");
    // Another S-CSCF takes over and gets it as well.
    assert_eq!(hss.uar(&alice, &impu, CAP), "base 2001 can");
    assert_eq!(said(&hss.sar("sB", &alice, &impu, 3)), "base 2001 profile restore 1");
    assert_eq!(hss.lir(&impu, false, false), "base 2001 at sip:sB");
    // It is gone with the registration.
    hss.sar("sB", &alice, &impu, 5);
    assert_eq!(said(&hss.sar("sB", &alice, &impu, 3)), "base 2001 profile");
}
