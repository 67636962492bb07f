//! Requests other than REGISTER at the I-CSCF.

use super::*;

/// I-SES-010
#[test]
fn what_a_stranger_asserts_is_removed() {
    let mut bench = Bench::new();
    let headers = "P-Asserted-Identity: <sip:forged@ims.example>\n\
        P-Charging-Function-Addresses: ccf=x\nP-Access-Network-Info: 3GPP-NR-FDD\n\
        P-Profile-Key: <sip:x@y>\nRoute: <sip:s1.ims.example:6060;lr>\n";
    let out = bench.send(STRANGER, None, &invite("sip:alice@ims.example", headers));
    let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    let sent = forwarded(&out).0;
    for name in [
        HeaderName::PAssertedIdentity,
        HeaderName::PChargingFunctionAddresses,
        HeaderName::PAccessNetworkInfo,
        HeaderName::PProfileKey,
    ] {
        assert!(!sent.headers.contains(name), "{name}");
    }
    let routes: Vec<_> = sent.headers.values(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:s1.ims.example:6060;lr>"], "only the one of the HSS");
    let vector = sent.headers.charging_vector().expect("readable").expect("a new one");
    assert_ne!(vector.icid(), "p1-1");
}

/// I-SES-020, I-SES-030
#[test]
fn the_key_of_the_question_is_the_canonical_identity() {
    let cases = [
        ("sip:Alice@IMS.example:5060;x=y", "sip:Alice@ims.example"),
        ("tel:+1-555-0101", "tel:+15550101"),
        ("sip:+15550101@ims.example;user=phone", "tel:+15550101"),
        ("sip:5551234@ims.example;user=phone", "sip:5551234@ims.example"),
    ];
    for (uri, key) in cases {
        let mut bench = Bench::new();
        let out = bench.send(PEER, None, &invite(uri, ""));
        let expected = Lir { impu: key.into(), originating: false, capabilities: false };
        assert_eq!(*lir(&out), expected);
        let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
        assert_eq!(forwarded(&out).0.request_uri, uri, "leaves as it came");
    }
}

/// I-SES-040
#[test]
fn the_serving_s_cscf_is_put_on_top_of_the_route() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
    let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    let (sent, within) = forwarded(&out);
    assert_eq!(sent.headers.get(HeaderName::Route), Some("<sip:s1.ims.example:6060;lr>"));
    assert_eq!(sent.headers.get(HeaderName::PChargingVector), Some("icid-value=\"p1-1\""));
    assert_eq!(within, None, "it may ring for long");
    assert_eq!(passed_up(&bench.respond(0, 180, Cause::Received)), 180);
    bench.end();
    assert!(bench.is_idle());
}

/// I-SES-100
#[test]
fn a_service_identity_is_routed_to_its_application_server() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &invite("sip:chess@ims.example", ""));
    let as1 = server(CxResult::Success, Some("sip:as1.ims.example:5070"));
    let out = bench.answer(asked(&out).0, as1);
    let route = forwarded(&out).0.headers.get(HeaderName::Route);
    assert_eq!(route, Some("<sip:as1.ims.example:5070;lr>"));
}

/// I-SES-050, I-SES-060, I-SES-080
#[test]
fn the_answer_of_the_hss_decides_what_the_caller_hears() {
    let cases = [
        (server(CxResult::UserUnknown, None), 404),
        (server(CxResult::IdentityNotRegistered, None), 480),
        (server(CxResult::UnableToComply, None), 480),
        (CxAnswer::Unreachable, 480),
    ];
    for (answer, expected) in cases {
        let mut bench = Bench::new();
        let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
        assert_eq!(replied(&bench.answer(asked(&out).0, answer)).status, expected);
        assert!(bench.is_idle());
    }
}

/// I-SES-070
#[test]
fn an_unregistered_user_with_services_gets_an_s_cscf() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
    let out = bench.answer(asked(&out).0, capabilities(CxResult::UnregisteredService, &[1]));
    assert!(forwarded(&out).0.headers.contains(HeaderName::Route));
    let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
    let out = bench.answer(asked(&out).0, capabilities(CxResult::UnregisteredService, &[9]));
    assert_eq!(replied(&out).status, 600);
}

/// I-SES-090
#[test]
fn orig_is_for_the_served_user_and_for_trusted_peers() {
    let mut bench = Bench::new();
    let own = Some("sip:i1.ims.example:4060;lr;orig");
    let text = invite("sip:bob@else.example", "P-Served-User: <sip:alice@ims.example>\n");
    let out = bench.send(PEER, own, &text);
    let expected =
        Lir { impu: "sip:alice@ims.example".into(), originating: true, capabilities: false };
    assert_eq!(*lir(&out), expected);
    let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    let route = forwarded(&out).0.headers.get(HeaderName::Route);
    assert_eq!(route, Some("<sip:s1.ims.example:6060;lr;orig>"));
    assert_eq!(replied(&bench.send(STRANGER, own, &text)).status, 403);
}

/// I-SES-110, I-SES-150
#[test]
fn what_cannot_be_routed_is_refused_without_asking() {
    let mut bench = Bench::new();
    for (uri, expected) in [("http://x.example", 416), ("sip:eve@else.example", 404)] {
        assert_eq!(replied(&bench.send(PEER, None, &invite(uri, ""))).status, expected);
    }
}

/// I-SES-120
#[test]
fn a_silent_s_cscf_is_a_server_time_out_or_brings_the_next() {
    let start = |bench: &mut Bench| {
        let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
        bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    };
    let mut bench = Bench::new();
    start(&mut bench);
    assert_eq!(replied(&bench.respond(0, 408, Cause::Timeout)).status, 504);

    let mut bench = Bench::with(|config| config.restoration = true);
    start(&mut bench);
    let out = bench.respond(0, 503, Cause::Transport);
    assert!(lir(&out).capabilities);
    let out = bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
    let route = forwarded(&out).0.headers.get(HeaderName::Route);
    assert_eq!(route, Some("<sip:s2.ims.example:6060;lr>"));
    let out = bench.respond(1, 503, Cause::Transport);
    let out = bench.answer(asked(&out).0, capabilities(CxResult::Success, &[]));
    assert_eq!(replied(&out).status, 504);

    let mut bench = Bench::new();
    start(&mut bench);
    bench.respond(0, 180, Cause::Received);
    assert_eq!(passed_up(&bench.respond(0, 408, Cause::Timeout)), 408, "it was alive");
}

#[test]
fn every_answer_to_a_stranger_leaves_the_trust_domain_and_nothing_of_its_request_is_kept() {
    let vectors_left = |from: &str| {
        let mut bench = Bench::new();
        let out = bench.send(from, None, &invite("sip:alice@ims.example", ""));
        bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
        let mut left = 0;
        for status in [180, 200, 200] {
            let out = bench.respond_with(0, status, HeaderName::PChargingVector, "icid-value=1");
            let [Action::PassUp { response, .. }] = out.as_slice() else {
                panic!("not passed up: {out:#?}");
            };
            left += usize::from(response.headers.contains(HeaderName::PChargingVector));
        }
        let kept = format!("{:?}", bench.icscf);
        assert!(!kept.contains("alice@ims.example"), "{kept}");
        left
    };

    assert_eq!(vectors_left(STRANGER), 0);
    assert_eq!(vectors_left(PEER), 3);
}

/// I-SES-130
#[test]
fn requests_in_a_dialog_follow_their_route() {
    let mut bench = Bench::new();
    let text = |route: &str| {
        format!(
            "BYE sip:alice@ims.example SIP/2.0\n{route}From: <sip:b@x>;tag=b\n\
             To: <sip:a@x>;tag=a\nCall-ID: c2\nCSeq: 2 BYE\n"
        )
    };
    let out = bench.send(PEER, None, &text("Route: <sip:s1;lr>\n"));
    assert_eq!(forwarded(&out).0.request_uri, "sip:alice@ims.example");
    assert_eq!(replied(&bench.send(PEER, None, &text(""))).status, 404);
    let ack = text("").replace("BYE", "ACK");
    assert!(bench.send(PEER, None, &ack).is_empty(), "an ACK is never answered");
}

/// I-SES-140
#[test]
fn a_request_without_icid_gets_one() {
    let mut bench = Bench::new();
    let text = invite("sip:alice@ims.example", "").replace("P-Charging-Vector", "X-Nothing");
    let out = bench.send(PEER, None, &text);
    let out = bench.answer(asked(&out).0, server(CxResult::Success, Some(S1)));
    let vector = forwarded(&out).0.headers.charging_vector().expect("readable");
    assert!(vector.is_some_and(|vector| !vector.icid().is_empty()));
}

#[test]
fn a_late_answer_of_the_hss_finds_nobody() {
    let mut bench = Bench::new();
    let out = bench.send(PEER, None, &invite("sip:alice@ims.example", ""));
    let ask = asked(&out).0;
    bench.end();
    assert!(bench.answer(ask, server(CxResult::Success, Some(S1))).is_empty());
    assert!(bench.is_idle());
}
