//! REGISTER at the I-CSCF.

use super::*;

/// Lets a REGISTER get as far as the first S-CSCF.
fn at_scscf(bench: &mut Bench, parameters: &str) -> Out {
    let out = bench.send(PEER, None, &register(parameters, ""));
    let ask = asked(&out).0;
    bench.answer(ask, server(CxResult::FirstRegistration, None))
}

/// I-REG-010, G-TRUST-040
#[test]
fn register_from_outside_the_trust_domain_is_refused_without_asking() {
    let mut bench = Bench::new();
    let out = bench.send(STRANGER, None, &register("", ""));
    assert_eq!(replied(&out).status, 403);
    assert!(bench.is_idle());
}

/// I-REG-020, I-REG-040a
#[test]
fn the_hss_is_asked_for_the_user_of_to_and_authorization() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &register("", ""));
    assert_eq!(
        *uar(&out),
        Uar {
            impi: "00101@ims.example".into(),
            impu: "sip:Alice@ims.example".into(),
            visited_network: "visited.example".into(),
            authorization_type: AuthorizationType::Registration,
            emergency: false,
        }
    );
}

/// I-REG-030
#[test]
fn without_authorization_the_private_identity_is_derived_from_to() {
    let mut bench = Bench::new();
    let text = register("", "");
    let lines: String =
        text.split_inclusive('\n').filter(|line| !line.starts_with("Authorization")).collect();
    let out = bench.send(PEER, None, &lines);
    assert_eq!(uar(&out).impi, "Alice@IMS.example");
}

/// I-REG-040
#[test]
fn the_authorization_type_follows_the_contacts() {
    let cases = [
        ("Contact: <sip:10.0.0.1>", "", AuthorizationType::Registration),
        ("Contact: <sip:10.0.0.1>;expires=0", "", AuthorizationType::Deregistration),
        ("Contact: <sip:10.0.0.1>", "Expires: 0\n", AuthorizationType::Deregistration),
        ("Contact: *", "Expires: 0\n", AuthorizationType::Deregistration),
        ("Contact: <sip:a>;expires=0, <sip:b>;expires=9", "", AuthorizationType::Registration),
        ("X-None: 1", "", AuthorizationType::Registration),
    ];
    for (contact, headers, expected) in cases {
        let mut bench = Bench::new();
        let text = register("", headers).replace("Contact: <sip:10.0.0.1>", contact);
        let out = bench.send(PEER, None, &text);
        assert_eq!(uar(&out).authorization_type, expected, "{contact} {headers}");
    }
}

/// I-REG-050
#[test]
fn register_goes_to_the_assigned_s_cscf_unchanged_but_for_the_request_uri() {
    for result in [CxResult::SubsequentRegistration, CxResult::Success] {
        let mut bench = Bench::new();
        let text = register(", integrity-protected=\"no\"", "");
        let out = bench.send(PEER, None, &text);
        let out = bench.answer(asked(&out).0, server(result, Some(S2)));
        let (sent, within) = forwarded(&out);
        let mut expected = request(&text);
        expected.request_uri = S2.into();
        assert_eq!(sent.to_bytes(), expected.to_bytes());
        assert_eq!(within, Some(Within::Final(Duration::from_secs(6))));
    }
}

/// I-REG-060
#[test]
fn a_first_registration_goes_to_the_best_s_cscf() {
    let mut bench = Bench::with(|config| config.scscfs[1].capabilities.push(7));
    let out = bench.send(PEER, None, &register("", ""));
    let out = bench.answer(asked(&out).0, capabilities(CxResult::FirstRegistration, &[7]));
    assert_eq!(forwarded(&out).0.request_uri, S2);
}

/// I-REG-070, I-REG-075a, I-REG-075b
#[test]
fn a_negative_answer_of_the_hss_refuses() {
    for result in [
        CxResult::UserUnknown,
        CxResult::IdentitiesDontMatch,
        CxResult::RoamingNotAllowed,
        CxResult::AuthorizationRejected,
        CxResult::IdentityNotRegistered,
    ] {
        let mut bench = Bench::new();
        let out = bench.send(PEER, None, &register("", ""));
        let out = bench.answer(asked(&out).0, server(result, None));
        assert_eq!(replied(&out).status, 403, "{result:?}");
        assert!(bench.is_idle());
    }
}

/// I-REG-075c, I-REG-075d
#[test]
fn another_realm_or_domain_is_refused_without_asking() {
    let realm = register("", "").replace("realm=\"ims.example\"", "realm=\"else.example\"");
    let domain = register("", "").replace("REGISTER sip:ims.example", "REGISTER sip:else.example");
    for text in [realm, domain] {
        let mut bench = Bench::new();
        assert_eq!(replied(&bench.send(PEER, None, &text)).status, 403);
        assert!(bench.notes.iter().any(|note| note.refusal));
    }
}

/// I-REG-080
#[test]
fn an_hss_that_does_not_answer_makes_the_service_unavailable() {
    for answer in [
        CxAnswer::Unreachable,
        server(CxResult::UnableToComply, None),
        server(CxResult::SubsequentRegistration, Some("nonsense")),
    ] {
        let mut bench = Bench::new();
        let out = bench.send(PEER, None, &register("", ""));
        assert_eq!(replied(&bench.answer(asked(&out).0, answer)).status, 480);
    }
}

/// I-REG-090
#[test]
fn nobody_with_the_mandatory_capabilities_is_busy_everywhere() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &register("", ""));
    let out = bench.answer(asked(&out).0, capabilities(CxResult::FirstRegistration, &[9]));
    assert_eq!(replied(&out).status, 600);
}

/// I-REG-100, I-REG-040c
#[test]
fn another_s_cscf_is_tried_when_the_first_cannot_serve() {
    let cases = [
        (Cause::Budget, 408),
        (Cause::Timeout, 408),
        (Cause::Transport, 503),
        (Cause::Received, 302),
        (Cause::Received, 480),
        (Cause::Received, 503),
    ];
    for (cause, status) in cases {
        let mut bench = Bench::new();
        let out = at_scscf(&mut bench, ", integrity-protected=\"no\"");
        assert_eq!(forwarded(&out).0.request_uri, S1);
        bench.now += Duration::from_secs(6);
        let out = bench.respond(0, status, cause);
        assert_eq!(uar(&out).authorization_type, AuthorizationType::RegistrationAndCapabilities);
        let out = bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
        let (sent, within) = forwarded(&out);
        assert_eq!(sent.request_uri, S2);
        assert_eq!(
            within,
            Some(Within::Final(Duration::from_secs(18))),
            "the last may use what is left"
        );
        assert_eq!(passed_up(&bench.respond(1, 401, Cause::Received)), 401);
    }
}

/// I-REG-110
#[test]
fn a_protected_register_is_not_sent_elsewhere() {
    let mut bench = Bench::new();
    let out = at_scscf(&mut bench, ", integrity-protected=\"yes\"");
    assert_eq!(
        forwarded(&out).1,
        Some(Within::Final(Duration::from_secs(24))),
        "nobody else to leave time"
    );
    assert_eq!(replied(&bench.respond(0, 408, Cause::Budget)).status, 504);
    assert!(bench.is_idle());
    // Users of SIP digest have no association that binds them to their S-CSCF.
    for integrity in ["tls-yes", "ip-assoc-yes"] {
        let mut bench = Bench::new();
        let out = at_scscf(&mut bench, &format!(", integrity-protected=\"{integrity}\""));
        assert_eq!(forwarded(&out).1, Some(Within::Final(Duration::from_secs(6))), "{integrity}");
    }
    let mut bench = Bench::new();
    at_scscf(&mut bench, ", integrity-protected=\"yes\"");
    assert_eq!(passed_up(&bench.respond(0, 480, Cause::Received)), 480);
}

/// I-REG-120
#[test]
fn when_all_s_cscfs_have_failed_the_last_word_counts() {
    for (cause, status) in [(Cause::Budget, 408), (Cause::Received, 480)] {
        let mut bench = Bench::new();
        at_scscf(&mut bench, "");
        let out = bench.respond(0, 408, Cause::Budget);
        bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
        let out = bench.respond(1, status, cause);
        let out = bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
        if cause == Cause::Received {
            assert_eq!(passed_up(&out), 480);
        } else {
            assert_eq!(replied(&out).status, 504);
        }
    }
}

/// I-REG-120
#[test]
fn all_s_cscfs_together_have_24_seconds() {
    let mut bench = Bench::new();
    at_scscf(&mut bench, "");
    bench.now += Duration::from_secs(24);
    assert_eq!(replied(&bench.respond(0, 408, Cause::Budget)).status, 504);
}

/// I-REG-140
#[test]
fn an_emergency_registration_is_told_to_the_hss() {
    let mut bench = Bench::new();
    let text = register("", "").replace("<sip:10.0.0.1>", "<sip:10.0.0.1;sos>");
    assert!(uar(&bench.send(PEER, None, &text)).emergency);
}

/// I-REG-160
#[test]
fn an_hss_that_names_this_node_is_a_loop() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &register("", ""));
    let me = server(CxResult::SubsequentRegistration, Some("sip:i1.ims.example:4060"));
    assert_eq!(replied(&bench.answer(asked(&out).0, me)).status, 482);
}
