//! REGISTER at the S-CSCF, message by message: challenges, answers, bindings.

use cscf_core::cx::{AssignmentType, AuthItem, AuthScheme, CxAnswer, CxResult, Maa, Mar, Saa, Sar};
use cscf_core::role::Action;
use cscf_core::sip::HeaderName;
use cscf_core::time::Duration;

use super::*;
use crate::{AkaWithoutSecAgree, Timer};

fn asks(out: &Out) -> usize {
    out.iter().filter(|action| matches!(action, Action::Ask { .. })).count()
}

fn digest_data(algorithm: &str, sha256: bool) -> CxAnswer {
    use cscf_core::auth::{Ha1, Hash};
    let ha1 = |hash| Ha1::new(hash, IMPI, "ims.example", b"secret").as_hex().to_owned();
    let item = AuthItem::Digest {
        realm: "ims.example".into(),
        algorithm: algorithm.into(),
        ha1: ha1(Hash::Md5),
        ha1_sha256: sha256.then(|| ha1(Hash::Sha256)),
    };
    CxAnswer::Maa(Maa { result: CxResult::Success, items: vec![item] })
}

/// G-TRUST-040
#[test]
fn register_from_outside_the_trust_domain_is_refused() {
    let mut bench = Bench::new();
    let text = "REGISTER sip:s1.ims.example SIP/2.0\nTo: <sip:a@ims.example>\nCSeq: 1 REGISTER\n";
    let out = bench.send_from("192.0.2.1:5060", text);
    assert_eq!(status(&out), 403);
    assert_eq!(asks(&out), 0);
}

/// S-REG-010a, S-REG-020
#[test]
fn unprotected_register_asks_for_an_aka_vector() {
    let mut bench = Bench::new();
    let out = bench.register(&unchallenged("no"), &contact(600_000));
    assert_eq!(
        *mar(&out),
        Mar {
            impi: IMPI.into(),
            impu: "sip:001010000000001@ims.example".into(),
            server_name: "sip:s1.ims.example:6060".into(),
            scheme: AuthScheme::Aka,
            count: 1,
            resync: None,
        }
    );
}

/// S-REG-010e, S-REG-010f, P-REG-395a
#[test]
fn register_without_integrity_word_lets_the_hss_say_the_scheme() {
    for authorization in [unchallenged(""), String::new()] {
        let mut bench = Bench::new();
        let out = bench.register(&authorization, &contact(600_000));
        assert_eq!(mar(&out).scheme, AuthScheme::Unknown);
        assert_eq!(mar(&out).impi, IMPI, "derived from To where no username is");
    }
}

/// S-REG-030, S-REG-040
#[test]
fn the_challenge_holds_rand_autn_and_the_keys() {
    let mut bench = Bench::new();
    let out = bench.register(&unchallenged("no"), &contact(600_000));
    let out = bench.answer(asked(&out).0, aka_vector(RAND));

    let response = replied(&out);
    assert_eq!(
        values(response, HeaderName::WwwAuthenticate),
        ["Digest realm=\"ims.example\", \
          nonce=\"CQkJCQkJCQkJCQkJCQkJCQcHBwcHBwcHBwcHBwcHBwc=\", algorithm=AKAv1-MD5, \
          qop=\"auth\", ck=\"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0\", \
          ik=\"1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e\""]
    );
    assert_eq!(
        values(response, HeaderName::PChargingVector),
        ["icid-value=\"p1-1\";orig-ioi=\"Type 1visited.example\";term-ioi=\"Type 1ims.example\""]
    );
    let at = bench.now + Duration::from_secs(240);
    let timer = Timer::AwaitAuth(IMPI.into());
    assert!(out.iter().any(
        |action| matches!(action, Action::SetTimer { timer: t, at: a } if *t == timer && *a == at)
    ));
}

/// S-REG-070, S-REG-080
#[test]
fn the_right_response_is_assigned_at_the_hss() {
    let mut bench = Bench::new();
    let challenge = bench.challenged("no");
    let out = bench.register(&answer(&challenge, &XRES, "yes"), &contact(600_000));
    let expected = Sar {
        impi: Some(IMPI.into()),
        impus: vec!["sip:001010000000001@ims.example".into()],
        server_name: "sip:s1.ims.example:6060".into(),
        assignment_type: AssignmentType::Registration,
        profile_available: false,
        restoration: None,
        wildcard: None,
    };
    assert_eq!(*sar(&out), expected);
    let cleared = Timer::AwaitAuth(IMPI.into());
    assert!(
        out.iter()
            .any(|action| matches!(action, Action::ClearTimer { timer } if *timer == cleared))
    );
}

/// S-REG-090, S-REG-100, S-REG-110, G-FEAT-010, G-ID-010, G-ID-020
#[test]
fn the_200_names_contact_path_service_route_and_open_identities() {
    let mut bench = Bench::with(|config| config.expiry.max = Duration::from_secs(3600));
    let response = bench.registered();
    assert_eq!(response.status, 200);
    assert_eq!(
        values(&response, HeaderName::Contact),
        ["<sip:10.0.0.1:5060>;+g.3gpp.smsip;audio;expires=3600"]
    );
    assert_eq!(values(&response, HeaderName::Path), ["<sip:tok-u1@p1.visited.example:5060;lr>"]);
    assert_eq!(
        values(&response, HeaderName::PAssociatedUri),
        ["<sip:+15550101@ims.example;user=phone>", "<tel:+15550101>", "<sip:alice@ims.example>"]
    );
    let route = values(&response, HeaderName::ServiceRoute);
    assert!(route[0].starts_with("<sip:orig-") && route[0].ends_with("@s1.ims.example:6060;lr>"));
    assert!(!response.headers.contains(HeaderName::PChargingFunctionAddresses), "P is elsewhere");
    assert!(!response.headers.contains(HeaderName::AuthenticationInfo));
    let all = bench.scscf.registrations();
    for key in ["sip:+15550101@ims.example", "tel:+15550101", "sip:alice@ims.example"] {
        let set = all.by_key(key).expect("registered implicitly");
        assert_eq!(set.bindings[0].contact.uri(), CONTACT);
    }
}

/// S-REG-050
#[test]
fn a_new_register_voids_the_challenge_under_way() {
    let mut bench = Bench::new();
    let first = bench.challenged("no");
    let out = bench.register(&unchallenged("no"), &contact(600_000));
    let out = bench.answer(asked(&out).0, aka_vector([8; 16]));
    let second = challenge(replied(&out));
    assert_ne!(first.nonce(), second.nonce());

    let out = bench.register(&answer(&first, &XRES, "yes"), &contact(600_000));
    assert_eq!(mar(&out).scheme, AuthScheme::Aka, "the old answer only brings a new challenge");
    assert!(bench.scscf.registrations().is_empty());
}

/// S-REG-060
#[test]
fn the_answer_counts_only_with_the_call_id_of_the_challenge() {
    let mut bench = Bench::new();
    let challenge = bench.challenged("no");
    let authorization = answer(&challenge, &XRES, "yes");
    let text = format!(
        "REGISTER sip:s1 SIP/2.0\nTo: <sip:001010000000001@ims.example>\nCall-ID: other\n\
         CSeq: 9 REGISTER\nAuthorization: {authorization}\n{}",
        contact(600)
    );
    let out = bench.send(&text);
    assert_eq!(mar(&out).scheme, AuthScheme::Aka);
    assert!(bench.scscf.registrations().is_empty());
}

/// S-REG-120
#[test]
fn a_brief_interval_is_refused_with_the_minimum() {
    let mut bench = Bench::new();
    let out = bench.register(&unchallenged("no"), &contact(30));
    assert_eq!(status(&out), 423);
    assert_eq!(values(replied(&out), HeaderName::MinExpires), ["60"]);
}

/// S-REG-120
#[test]
fn a_brief_interval_does_not_use_the_challenge_up() {
    let mut bench = Bench::new();
    let challenge = bench.challenged("no");
    let out = bench.register(&answer(&challenge, &XRES, "yes"), &contact(30));
    assert_eq!(status(&out), 423);
    let again = answer_with(&challenge, &XRES, "yes", "00000002");
    let out = bench.register(&again, &contact(60));
    assert_eq!(sar(&out).assignment_type, AssignmentType::Registration);
}

/// S-REG-130
#[test]
fn a_star_is_refused_unless_it_takes_everything_away() {
    let mut bench = Bench::new();
    bench.registered();
    let out = bench.register(&unchallenged("yes"), "Contact: *\nExpires: 60\n");
    assert_eq!(status(&out), 400);
    let out = bench.register(&unchallenged("yes"), "Contact: *, <sip:a@b>\nExpires: 0\n");
    assert_eq!(status(&out), 400);
    assert!(!bench.scscf.registrations().is_empty());
}

/// S-REG-140
#[test]
fn an_old_sequence_number_is_refused() {
    let mut bench = Bench::new();
    bench.registered();
    let text = format!(
        "REGISTER sip:s1 SIP/2.0\nTo: <sip:001010000000001@ims.example>\nCall-ID: reg1\n\
         CSeq: 2 REGISTER\nAuthorization: {}\n{}",
        unchallenged("yes"),
        contact(600)
    );
    let out = bench.send(&text);
    assert_eq!(status(&out), 500);
}

/// S-REG-150
#[test]
fn a_register_without_contact_tells_the_bindings() {
    let mut bench = Bench::new();
    bench.registered();
    let out = bench.register(&unchallenged("yes"), "");
    assert_eq!(status(&out), 200);
    assert_eq!(asks(&out), 0);
    assert_eq!(values(replied(&out), HeaderName::Contact).len(), 1);
}

/// S-REG-160, S-NOT-040
#[test]
fn a_protected_refresh_needs_neither_challenge_nor_hss() {
    let mut bench = Bench::new();
    let first = bench.registered();
    bench.now += Duration::from_secs(100);
    let out = bench.register(&unchallenged("yes"), &contact(900));
    let response = replied(&out);
    assert_eq!(response.status, 200);
    assert_eq!(asks(&out), 0);
    let expires = "<sip:10.0.0.1:5060>;+g.3gpp.smsip;audio;expires=900";
    assert_eq!(values(response, HeaderName::Contact), [expires]);
    let route = |response| values(response, HeaderName::ServiceRoute)[0].to_owned();
    assert_eq!(route(response), route(&first));
}

/// S-REG-170, S-AUT-080
#[test]
fn the_policy_may_challenge_a_protected_refresh() {
    let mut bench = Bench::with(|config| config.reauthenticate_every = 2);
    bench.registered();
    assert_eq!(status(&bench.register(&unchallenged("yes"), &contact(900))), 200);
    let out = bench.register(&unchallenged("yes"), &contact(900));
    assert_eq!(mar(&out).scheme, AuthScheme::Aka);
    let out = bench.answer(asked(&out).0, aka_vector([8; 16]));
    let wrong = answer(&challenge(replied(&out)), b"wrongres", "yes");
    let out = bench.register(&wrong, &contact(900));
    assert_eq!(status(&out), 403);
    assert_eq!(asks(&out), 0, "registered: the HSS hears nothing");
    assert!(!bench.scscf.registrations().is_empty());
}

/// S-REG-180
#[test]
fn a_new_contact_over_a_security_association_is_refused() {
    let mut bench = Bench::new();
    bench.registered();
    let out = bench.register(&unchallenged("yes"), "Contact: <sip:10.0.0.9>;expires=600\n");
    assert_eq!(status(&out), 403);
}

/// S-REG-190
#[test]
fn contacts_of_a_set_are_bounded() {
    let mut bench = Bench::with(|config| config.bindings_max = 2);
    bench.registered();
    let flow = |id: u8| {
        format!(
            "Supported: outbound\nPath: <sip:p1.ims.example;lr;ob>\n\
             Contact: <sip:10.0.0.{id}>;+sip.instance=\"<urn:x:1>\";reg-id={id};expires=600\n"
        )
    };
    assert_eq!(status(&bench.register(&unchallenged("yes"), &flow(2))), 200);
    assert_eq!(status(&bench.register(&unchallenged("yes"), &flow(3))), 403);
    assert_eq!(status(&bench.register(&unchallenged("yes"), &flow(2))), 200);
}

/// S-REG-210
#[test]
fn a_new_initial_registration_replaces_the_contact() {
    let mut bench = Bench::new();
    bench.registered();
    let out = bench.register(&unchallenged("no"), "Contact: <sip:10.0.0.9>;expires=600\n");
    let out = bench.answer(asked(&out).0, aka_vector([8; 16]));
    let authorization = answer(&challenge(replied(&out)), &XRES, "yes");
    let out = bench.register(&authorization, "Contact: <sip:10.0.0.9>;expires=600\n");
    assert_eq!(sar(&out).assignment_type, AssignmentType::ReRegistration);
    let out = bench.answer(asked(&out).0, assigned(PROFILE));
    assert_eq!(values(replied(&out), HeaderName::Contact), ["<sip:10.0.0.9>;expires=600"]);
}

/// S-REG-220
#[test]
fn a_protected_register_of_an_unknown_user_is_refused() {
    let mut bench = Bench::new();
    assert_eq!(status(&bench.register(&unchallenged("yes"), &contact(600))), 500);
}

/// S-REG-230
#[test]
fn a_network_without_roaming_agreement_is_refused() {
    let mut bench = Bench::with(|config| config.visited_networks = Some(vec!["home.net".into()]));
    let out = bench.register(&unchallenged("no"), &contact(600));
    assert_eq!(status(&out), 403);
    assert_eq!(asks(&out), 0);
}

/// S-REG-240, S-REG-250
#[test]
fn a_negative_or_missing_answer_of_the_hss_refuses() {
    let maa = |result| CxAnswer::Maa(Maa { result, items: Vec::new() });
    let cases = [
        (maa(CxResult::UserUnknown), 403),
        (maa(CxResult::IdentitiesDontMatch), 403),
        (maa(CxResult::AuthSchemeNotSupported), 403),
        (maa(CxResult::UnableToComply), 504),
        (CxAnswer::Unreachable, 504),
    ];
    for (answer, expected) in cases {
        let mut bench = Bench::new();
        let out = bench.register(&unchallenged("no"), &contact(600));
        assert_eq!(status(&bench.answer(asked(&out).0, answer)), expected);
        assert!(bench.is_idle());
    }
    let saa = |result| {
        let charging_ccf = None;
        let (associated_impis, restoration) = (Vec::new(), Vec::new());
        CxAnswer::Saa(Saa { result, user_data: None, charging_ccf, associated_impis, restoration })
    };
    let cases = [
        (saa(CxResult::IdentityAlreadyRegistered), 403),
        (saa(CxResult::InAssignmentType), 403),
        (CxAnswer::Unreachable, 504),
    ];
    for (answer, expected) in cases {
        let mut bench = Bench::new();
        let challenge = bench.challenged("no");
        let out = bench.register(&super::answer(&challenge, &XRES, "yes"), &contact(600));
        assert_eq!(status(&bench.answer(asked(&out).0, answer)), expected);
        assert!(bench.is_idle());
    }
}

/// S-REG-260
#[test]
fn a_profile_that_cannot_be_read_goes_back() {
    let mut bench = Bench::new();
    let challenge = bench.challenged("no");
    let out = bench.register(&answer(&challenge, &XRES, "yes"), &contact(600));
    let out = bench.answer(asked(&out).0, assigned("<nonsense"));
    assert_eq!(status(&out), 480);
    assert_eq!(sar(&out).assignment_type, AssignmentType::DeregistrationTooMuchData);
}

/// S-REG-270
#[test]
fn a_user_with_only_barred_identities_is_refused() {
    let mut bench = Bench::new();
    let challenge = bench.challenged("no");
    let out = bench.register(&answer(&challenge, &XRES, "yes"), &contact(600));
    let profile = "<IMSSubscription><PrivateID>x</PrivateID><ServiceProfile><PublicIdentity>\
        <BarringIndication>1</BarringIndication>\
        <Identity>sip:001010000000001@ims.example</Identity></PublicIdentity>\
        </ServiceProfile></IMSSubscription>";
    let out = bench.answer(asked(&out).0, assigned(profile));
    assert_eq!(status(&out), 403);
    assert!(bench.scscf.registrations().is_empty());
}

/// S-REG-310
#[test]
fn an_unknown_extension_is_refused_by_name() {
    let mut bench = Bench::new();
    let lines = format!("Require: foo, gin\n{}", contact(600));
    let out = bench.register(&unchallenged("no"), &lines);
    assert_eq!(status(&out), 420);
    assert_eq!(values(replied(&out), HeaderName::Unsupported), ["foo", "gin"]);
}

/// S-AUT-010
#[test]
fn a_wrong_response_is_refused_without_keys() {
    let mut bench = Bench::new();
    let challenge = bench.challenged("no");
    let out = bench.register(&answer(&challenge, b"wrongres", "yes"), &contact(600));
    assert_eq!(status(&out), 403);
    assert!(!replied(&out).headers.contains(HeaderName::WwwAuthenticate));
    assert_eq!(sar(&out).assignment_type, AssignmentType::AuthenticationFailure);
    assert!(bench.is_idle());
}

/// S-AUT-020
#[test]
fn a_wrong_mac_is_challenged_once_more_and_then_refused() {
    let mut bench = Bench::new();
    let refused = |challenge: &Challenge| {
        let credentials = Credentials::refusal(challenge, IMPI, "sip:ims.example");
        let mut credentials = credentials.expect("a nonce");
        credentials.params.set("integrity-protected", "no");
        credentials.to_string()
    };
    let first = bench.challenged("no");
    let out = bench.register(&refused(&first), &contact(600));
    let out = bench.answer(asked(&out).0, aka_vector([8; 16]));
    let second = challenge(replied(&out));
    let out = bench.register(&refused(&second), &contact(600));
    assert_eq!(status(&out), 403);
    assert_eq!(sar(&out).assignment_type, AssignmentType::AuthenticationFailure);
    assert!(bench.is_idle());
}

/// S-AUT-030
#[test]
fn auts_is_handed_to_the_hss_and_a_fresh_challenge_follows() {
    let mut bench = Bench::new();
    let out_of_step = |challenge: &Challenge| {
        let auts = cscf_core::auth::Auts::from_bytes([3; 14]);
        let mut credentials: Credentials =
            answer(challenge, b"", "no").parse().expect("credentials");
        credentials = credentials.with_auts(&auts);
        credentials.to_string()
    };
    let first = bench.challenged("no");
    let out = bench.register(&out_of_step(&first), &contact(600));
    assert_eq!(mar(&out).resync, Some((RAND, [3; 14])));
    let out = bench.answer(asked(&out).0, aka_vector([8; 16]));
    let second = challenge(replied(&out));
    let out = bench.register(&answer(&second, &XRES, "yes"), &contact(600));
    assert_eq!(sar(&out).assignment_type, AssignmentType::Registration);

    let mut bench = Bench::with(|config| config.resyncs_max = 1);
    let first = bench.challenged("no");
    let out = bench.register(&out_of_step(&first), &contact(600));
    let out = bench.answer(asked(&out).0, aka_vector([8; 16]));
    let second = challenge(replied(&out));
    assert_eq!(status(&bench.register(&out_of_step(&second), &contact(600))), 403);
}

/// S-AUT-040
#[test]
fn a_challenge_nobody_answers_is_forgotten_and_told() {
    let mut bench = Bench::new();
    let challenge = bench.challenged("no");
    let out = bench.fire(Timer::AwaitAuth(IMPI.into()), Duration::from_secs(240));
    assert_eq!(sar(&out).assignment_type, AssignmentType::AuthenticationTimeout);
    assert!(bench.is_idle());
    let out = bench.register(&answer(&challenge, &XRES, "yes"), &contact(600));
    assert_eq!(status(&out), 500);
}

/// S-AUT-060
#[test]
fn a_right_response_without_integrity_gets_a_new_challenge() {
    let mut bench = Bench::new();
    let challenge = bench.challenged("no");
    let out = bench.register(&answer(&challenge, &XRES, "no"), &contact(600));
    assert_eq!(mar(&out).scheme, AuthScheme::Aka);
    assert!(bench.scscf.registrations().is_empty());
}

/// P-REG-395b, P-REG-395c
#[test]
fn aka_without_security_agreement_is_the_labs_choice() {
    let mut bench = Bench::new();
    let challenge = bench.challenged("");
    let out = bench.register(&answer(&challenge, &XRES, "ip-assoc-pending"), &contact(600));
    assert_eq!(sar(&out).assignment_type, AssignmentType::Registration);
    assert!(bench.notes.iter().any(|note| note.clause.section == "aka_without_sec_agree"));

    let mut bench = Bench::with(|config| config.aka_without_sec_agree = AkaWithoutSecAgree::Deny);
    let challenge = bench.challenged("");
    let out = bench.register(&answer(&challenge, &XRES, "ip-assoc-pending"), &contact(600));
    assert_eq!(status(&out), 403);
    assert!(bench.refusal().contains("security agreement"));
    assert!(bench.is_idle());
}

/// S-REG-010c, S-REG-340
#[test]
fn a_digest_user_is_challenged_verified_and_given_the_servers_proof() {
    let mut bench = Bench::new();
    let out = bench.register(&unchallenged(""), &contact(600));
    let out = bench.answer(asked(&out).0, digest_data("MD5", false));
    let challenge = challenge(replied(&out));
    assert_eq!(values(replied(&out), HeaderName::WwwAuthenticate).len(), 1);
    assert!(challenge.params.raw("ck").is_none());
    let out = bench.register(&answer(&challenge, b"secret", "ip-assoc-pending"), &contact(600));
    let out = bench.answer(asked(&out).0, assigned(PROFILE));
    let info = values(replied(&out), HeaderName::AuthenticationInfo)[0].to_owned();
    assert!(info.contains("qop=auth") && info.contains("nc=00000001"), "{info}");
    assert!(info.contains("rspauth=\"") && info.contains("cnonce=\"c1\""), "{info}");
}

/// S-REG-350
#[test]
fn a_nonce_may_be_used_again_but_not_its_count() {
    let mut bench = Bench::with(|config| config.nonce_for = Duration::from_secs(1000));
    let out = bench.register(&unchallenged(""), &contact(600));
    let out = bench.answer(asked(&out).0, digest_data("MD5", false));
    let first = challenge(replied(&out));
    let out = bench.register(&answer(&first, b"secret", "ip-assoc-pending"), &contact(6000));
    bench.answer(asked(&out).0, assigned(PROFILE));

    let again = answer_with(&first, b"secret", "ip-assoc-yes", "00000002");
    let out = bench.register(&again, &contact(6000));
    assert_eq!(status(&out), 200);
    assert_eq!(asks(&out), 0);
    assert!(replied(&out).headers.contains(HeaderName::AuthenticationInfo));

    let out = bench.register(&again, &contact(6000));
    let out = bench.answer(asked(&out).0, digest_data("MD5", false));
    assert!(challenge(replied(&out)).is_stale());

    bench.now += Duration::from_secs(1000);
    let old = answer_with(&first, b"secret", "ip-assoc-yes", "00000003");
    let out = bench.register(&old, &contact(6000));
    let out = bench.answer(asked(&out).0, digest_data("MD5", false));
    assert!(challenge(replied(&out)).is_stale());
}

/// S-REG-360
#[test]
fn sha_256_is_offered_before_md5_and_either_is_taken() {
    for pick in 0..2 {
        let mut bench = Bench::new();
        let out = bench.register(&unchallenged(""), &contact(600));
        let out = bench.answer(asked(&out).0, digest_data("MD5", true));
        let offers: Vec<Challenge> = values(replied(&out), HeaderName::WwwAuthenticate)
            .into_iter()
            .map(|text| text.parse().expect("a challenge"))
            .collect();
        let names: Vec<_> =
            offers.iter().map(|offer| offer.algorithm().expect("known").to_string()).collect();
        assert_eq!(names, ["SHA-256", "MD5"]);
        let authorization = answer(&offers[pick], b"secret", "ip-assoc-pending");
        let out = bench.register(&authorization, &contact(600));
        assert_eq!(sar(&out).assignment_type, AssignmentType::Registration);
    }
}

/// S-AUT-050
#[test]
fn a_wrong_password_is_refused_and_an_unknown_nonce_challenged() {
    let mut bench = Bench::new();
    let out = bench.register(&unchallenged(""), &contact(600));
    let out = bench.answer(asked(&out).0, digest_data("MD5", false));
    let first = challenge(replied(&out));
    let out = bench.register(&answer(&first, b"wrong", "ip-assoc-pending"), &contact(600));
    assert_eq!(status(&out), 403);
    let out = bench.register(&answer(&first, b"secret", "ip-assoc-pending"), &contact(600));
    let out = bench.answer(asked(&out).0, digest_data("MD5", false));
    assert!(!challenge(replied(&out)).is_stale());
}
