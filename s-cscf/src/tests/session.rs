//! Sessions at the S-CSCF, message by message.

use cscf_core::role::{Action, Cause, NextHop, Role as _};
use cscf_core::sip::{HeaderName, Request};

use super::*;
use crate::{Command, Timer};

/// Registers alice and gives the Route of her requests.
pub(super) fn service_route(bench: &mut Bench) -> String {
    let response = bench.registered();
    values(&response, HeaderName::ServiceRoute)[0].to_owned()
}

pub(super) fn invite(uri: &str, route: &str, headers: &str) -> String {
    let route = if route.is_empty() { String::new() } else { format!("Route: {route}\n") };
    format!(
        "INVITE {uri} SIP/2.0\n{route}From: <sip:alice@ims.example>;tag=a\nTo: <{uri}>\n\
         Call-ID: call1\nCSeq: 1 INVITE\nContact: <sip:10.0.0.1>\n\
         P-Charging-Vector: icid-value=\"p1-9\";orig-ioi=\"Type 1visited.example\"\n{headers}"
    )
}

pub(super) const ALICE: &str = "P-Asserted-Identity: <sip:+15550101@ims.example;user=phone>\n";

fn list(request: &Request, name: HeaderName) -> Vec<&str> {
    request.headers.values(name).collect()
}

/// S-ORI-010, S-ORI-020, S-ORI-110, S-ORI-140a, S-ORI-170
#[test]
fn a_callers_invite_goes_to_the_entry_point_of_the_home_network() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    let out = bench.send(&invite("sip:bob@ims.example", &route, ALICE));
    let forwarded = forwarded(&out);
    let (request, to, record_route) = forwarded[0];
    assert_eq!(*to, NextHop::Uri("sip:i1.ims.example:4060".into()));
    assert_eq!(record_route, Some("<sip:orig-rr.1@s1.ims.example:6060;lr>"));
    assert_eq!(request.request_uri, "sip:bob@ims.example");
    assert_eq!(
        list(request, HeaderName::PAssertedIdentity),
        ["<sip:+15550101@ims.example;user=phone>", "<tel:+15550101>"]
    );
    assert_eq!(
        list(request, HeaderName::PChargingVector),
        ["icid-value=\"p1-9\";orig-ioi=\"ims.example\""]
    );
    assert!(!request.headers.contains(HeaderName::Route));
}

/// S-ORI-020
#[test]
fn p_served_user_wins_and_goes_no_further() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    let headers = "P-Served-User: <sip:alice@ims.example>;sescase=orig;regstate=reg\n\
                   P-Asserted-Identity: <sip:stranger@elsewhere.example>\n";
    let out = bench.send(&invite("sip:bob@ims.example", &route, headers));
    assert!(!forwarded(&out)[0].0.headers.contains(HeaderName::PServedUser));
    let stranger = "P-Asserted-Identity: <sip:stranger@ims.example>\n";
    assert_eq!(status(&bench.send(&invite("sip:bob@ims.example", &route, stranger))), 403);
    assert_eq!(status(&bench.send(&invite("sip:bob@ims.example", &route, ""))), 403);
}

/// S-ORI-030
#[test]
fn a_barred_caller_is_refused() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    let barred = "P-Asserted-Identity: <sip:001010000000001@ims.example>\n";
    let out = bench.send(&invite("sip:bob@ims.example", &route, barred));
    assert_eq!(status(&out), 403);
    assert!(bench.refusal().contains("barred"));
}

/// G-TRUST-040
#[test]
fn an_untrusted_peer_cannot_use_a_service_route() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    let text = invite("sip:bob@ims.example", &route, ALICE);
    assert_eq!(status(&bench.send_from("192.0.2.9:5060", &text)), 403);
}

/// S-ORI-050, G-XML-010
#[test]
fn a_service_route_no_longer_known_has_the_ue_register_anew() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    let command = Command::Forget { impi: IMPI.into() };
    bench.act(|scscf, env, out| scscf.on_command(env, command, out));
    assert!(bench.is_idle());

    let out = bench.send(&invite("sip:bob@ims.example", &route, ALICE));
    let response = replied(&out);
    assert_eq!(response.status, 504);
    assert_eq!(values(response, HeaderName::PAssertedIdentity), [&*route]);
    assert_eq!(values(response, HeaderName::ContentType), ["application/3gpp-ims+xml"]);
    let body = String::from_utf8_lossy(&response.body);
    assert!(body.contains("<type>restoration</type>"));
    assert!(body.contains("<action>initial-registration</action>"));
}

/// S-ORI-100
#[test]
fn the_preferred_service_is_asserted_if_subscribed() {
    let mmtel = "urn:urn-7:3gpp-service.ims.icsi.mmtel";
    let mut bench = Bench::with(|config| config.services = Some(vec![mmtel.into()]));
    let route = service_route(&mut bench);
    let headers =
        format!("{ALICE}P-Preferred-Service: {mmtel}\nP-Asserted-Service: urn:urn-7:forged\n");
    let out = bench.send(&invite("sip:bob@ims.example", &route, &headers));
    let request = forwarded(&out)[0].0;
    assert_eq!(list(request, HeaderName::PAssertedService), [mmtel]);
    assert!(!request.headers.contains(HeaderName::PPreferredService));
    let headers = format!("{ALICE}P-Preferred-Service: urn:urn-7:other\n");
    assert_eq!(status(&bench.send(&invite("sip:bob@ims.example", &route, &headers))), 403);
}

/// S-ORI-120, S-ORI-130
#[test]
fn a_global_number_becomes_a_home_uri_and_a_local_one_has_no_translation() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    let target = |bench: &mut Bench, uri: &str| {
        let out = bench.send(&invite(uri, &route, ALICE));
        forwarded(&out)[0].0.request_uri.clone()
    };
    let sip = "sip:+15550102@ims.example;user=phone";
    assert_eq!(target(&mut bench, "tel:+1-555-0102"), sip);
    assert_eq!(target(&mut bench, sip), sip);
    for uri in ["tel:5551234;phone-context=ims.example", "sip:5551234@ims.example;user=phone"] {
        assert_eq!(status(&bench.send(&invite(uri, &route, ALICE))), 404);
    }
    assert_eq!(status(&bench.send(&invite("urn:service:sos", &route, ALICE))), 404);
}

/// S-ORI-140b, S-ORI-150
#[test]
fn another_domain_is_reached_by_its_name_without_home_secrets() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    let headers = format!(
        "{ALICE}P-Access-Network-Info: 3GPP-E-UTRAN-FDD\n\
         P-Charging-Function-Addresses: ccf=c\n"
    );
    let out = bench.send(&invite("sip:eve@else.example", &route, &headers));
    let (request, to, _) = forwarded(&out)[0];
    assert_eq!(*to, NextHop::AsRouted);
    assert!(!request.headers.contains(HeaderName::PAccessNetworkInfo));
    assert!(!request.headers.contains(HeaderName::PChargingFunctionAddresses));
}

/// G-ROUTE-020, S-ORI-210
#[test]
fn a_message_gets_no_record_route() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    let text = invite("sip:bob@ims.example", &route, ALICE).replace("INVITE", "MESSAGE");
    let out = bench.send(&text);
    assert_eq!(forwarded(&out)[0].2, None);
    let out = bench.send(&text.replace(&format!("Route: {route}\n"), "").replace("bob", "alice"));
    assert_eq!(forwarded(&out)[0].2, None);
}

/// S-ORI-180, G-ICID-020, S-REL-050
#[test]
fn requests_in_the_dialog_follow_the_route_and_keep_the_icid() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    bench.send(&invite("sip:bob@ims.example", &route, ALICE));
    bench.respond(bench.context(), 0, 200, &[]);
    let call = bench.context();
    bench.act(|scscf, _, _| scscf.on_context_end(call));

    let within = |method: &str, tag: &str| {
        format!(
            "{method} sip:10.0.0.2 SIP/2.0\nRoute: <sip:orig-rr.1@s1.ims.example:6060;lr>\n\
             Route: <sip:p2.example;lr>\nFrom: <sip:a@b>;tag=a\nTo: <sip:c@d>{tag}\n\
             Call-ID: call1\nCSeq: 2 {method}\n"
        )
    };
    let out = bench.send(&within("ACK", ";tag=b"));
    let (request, to, record_route) = forwarded(&out)[0];
    assert_eq!((to, record_route), (&NextHop::AsRouted, None));
    assert_eq!(list(request, HeaderName::Route), ["<sip:p2.example;lr>"]);
    let vector = "icid-value=\"p1-9\";orig-ioi=\"ims.example\"";
    assert_eq!(list(request, HeaderName::PChargingVector), [vector]);

    let out = bench.send(&within("UPDATE", ";tag=b"));
    assert_eq!(forwarded(&out)[0].2, Some("<sip:orig-rr.1@s1.ims.example:6060;lr>"));
    let update = bench.context();
    bench.act(|scscf, _, _| scscf.on_context_end(update));

    let out = bench.send(&within("BYE", ";tag=b"));
    assert_eq!(forwarded(&out)[0].2, None);
    let bye = bench.context();
    bench.respond(bye, 0, 200, &[]);
    bench.act(|scscf, _, _| scscf.on_context_end(bye));
    let kept: Vec<_> = bench.scscf.remainders();
    assert!(kept.contains(&("dialogs", 0)) && kept.contains(&("requests", 0)), "{kept:?}");

    let out = bench.send(&within("BYE", ";tag=b"));
    assert_eq!(forwarded(&out).len(), 1, "a dialog not known here is routed all the same");
}

/// S-ORI-190
#[test]
fn a_response_returns_the_networks_identifiers() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    bench.send(&invite("sip:bob@ims.example", &route, ALICE));
    let vector = "icid-value=\"p1-9\";orig-ioi=\"ims.example\";term-ioi=\"other\"";
    let out = bench.respond(bench.context(), 0, 180, &[(HeaderName::PChargingVector, vector)]);
    assert_eq!(
        values(passed_up(&out), HeaderName::PChargingVector),
        ["icid-value=\"p1-9\";orig-ioi=\"Type 1visited.example\";term-ioi=\"Type 1ims.example\""]
    );
}

#[test]
fn a_call_that_fails_leaves_no_dialog() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    bench.send(&invite("sip:bob@ims.example", &route, ALICE));
    let call = bench.context();
    bench.respond(call, 0, 486, &[]);
    bench.act(|scscf, _, _| scscf.on_context_end(call));
    assert!(bench.scscf.remainders().contains(&("dialogs", 0)));
}

#[test]
fn dialogs_are_bounded() {
    let mut bench = Bench::with(|config| config.dialogs_max = 3);
    let route = service_route(&mut bench);
    for _ in 0..10 {
        bench.send(&invite("sip:bob@ims.example", &route, ALICE));
    }
    assert!(bench.scscf.remainders().contains(&("dialogs", 3)));
}

/// S-TER-020, G-ID-030, S-TER-160
#[test]
fn a_call_is_delivered_to_the_contact_by_its_path() {
    for called in [
        "sip:+15550101@ims.example;user=phone",
        "tel:+1-555-0101",
        "sip:alice@IMS.example:5060;x=y",
    ] {
        let mut bench = Bench::new();
        bench.registered();
        let headers = "P-Served-User: <sip:a@b>\nRequire: unknown-tag\n";
        let out = bench.send(&invite(called, "", headers));
        let forwarded = forwarded(&out);
        let (request, to, record_route) = forwarded[0];
        assert_eq!(request.request_uri, CONTACT);
        assert_eq!(*to, NextHop::AsRouted);
        assert_eq!(record_route, Some("<sip:term-rr.1@s1.ims.example:6060;lr>"));
        assert_eq!(list(request, HeaderName::Route), ["<sip:tok-u1@p1.visited.example:5060;lr>"]);
        assert_eq!(list(request, HeaderName::PCalledPartyId), [format!("<{called}>")]);
        assert_eq!(
            list(request, HeaderName::PChargingVector),
            ["icid-value=\"p1-9\";orig-ioi=\"Type 1ims.example\""]
        );
        assert!(!request.headers.contains(HeaderName::PServedUser));
        assert_eq!(list(request, HeaderName::Require), ["unknown-tag"]);
    }
}

/// S-TER-010
#[test]
fn a_barred_identity_is_not_found_and_an_unregistered_one_unavailable() {
    let mut bench = Bench::new();
    bench.registered();
    let barred = invite("sip:001010000000001@ims.example", "", "");
    assert_eq!(status(&bench.send(&barred)), 404);
    // The HSS is asked whether it has services all the same.
    let out = bench.send(&invite("sip:bob@ims.example", "", ""));
    let (ask, question) = asked(&out);
    let CxRequest::Sar(sar) = question else { panic!("{question:?}") };
    assert_eq!(sar.assignment_type, cscf_core::cx::AssignmentType::UnregisteredUser);
    assert_eq!(status(&bench.answer(ask, CxAnswer::Unreachable)), 480);
    assert_eq!(status(&bench.send(&invite("sip:bob@else.example", "", ""))), 404);
}

/// Registers a second contact, of another user of the same identities.
pub(super) fn second_contact(bench: &mut Bench, contact: &str) {
    let authorization = unchallenged("auth-done").replace(IMPI, "001010000000002@ims.example");
    let out = bench.send(&format!(
        "REGISTER sip:s1 SIP/2.0\nTo: <sip:alice@ims.example>\nCall-ID: reg2\n\
         CSeq: 9 REGISTER\nAuthorization: {authorization}\nContact: {contact};expires=600\n"
    ));
    bench.answer(asked(&out).0, assigned(PROFILE));
}

/// S-TER-060, S-REG-330
#[test]
fn contacts_of_equal_preference_ring_together() {
    let mut bench = Bench::new();
    bench.registered();
    second_contact(&mut bench, "<sip:10.0.0.2>");
    let out = bench.send(&invite("sip:alice@ims.example", "", ""));
    let uris: Vec<_> = forwarded(&out).iter().map(|it| it.0.request_uri.clone()).collect();
    assert_eq!(uris, [CONTACT, "sip:10.0.0.2"]);

    let no_fork = "Request-Disposition: no-fork\n";
    let out = bench.send(&invite("sip:alice@ims.example", "", no_fork));
    assert_eq!(forwarded(&out).len(), 1);
}

/// S-TER-060
#[test]
fn contacts_of_lower_preference_are_tried_when_the_better_ones_have_failed() {
    let mut bench = Bench::new();
    bench.registered();
    second_contact(&mut bench, "<sip:10.0.0.2>;q=0.5");
    let out = bench.send(&invite("sip:alice@ims.example", "", ""));
    assert_eq!(forwarded(&out).len(), 1);
    let call = bench.context();
    assert!(forwarded(&bench.respond(call, 0, 180, &[])).is_empty());
    let out = bench.respond(call, 0, 486, &[]);
    assert_eq!(forwarded(&out)[0].0.request_uri, "sip:10.0.0.2");
    let at = |kind: fn(&Action<Timer>) -> bool| out.iter().position(kind);
    let next = at(|action| matches!(action, Action::Forward { .. }));
    let failure = at(|action| matches!(action, Action::PassUp { .. }));
    assert!(next < failure, "the failure must not end the search");
    assert!(forwarded(&bench.respond(call, 1, 480, &[])).is_empty());
}

/// S-TER-060
#[test]
fn a_decline_ends_the_search() {
    let mut bench = Bench::new();
    bench.registered();
    second_contact(&mut bench, "<sip:10.0.0.2>;q=0.5");
    bench.send(&invite("sip:alice@ims.example", "", ""));
    assert!(forwarded(&bench.respond(bench.context(), 0, 603, &[])).is_empty());
}

/// S-TER-070
#[test]
fn only_contacts_with_a_feature_that_is_required_are_tried() {
    let mut bench = Bench::new();
    bench.registered();
    let wants = |feature: &str| format!("Accept-Contact: *;{feature};require;explicit\n");
    let called = "sip:alice@ims.example";
    let out = bench.send(&invite(called, "", &wants("+g.3gpp.smsip")));
    assert_eq!(forwarded(&out).len(), 1);
    assert_eq!(status(&bench.send(&invite(called, "", &wants("video")))), 480);
}

#[test]
fn a_contact_that_cannot_be_reached_is_unavailable() {
    for (cause, status) in [(Cause::Received, 430), (Cause::Timeout, 408), (Cause::Transport, 503)]
    {
        let mut bench = Bench::new();
        bench.registered();
        bench.send(&invite("sip:alice@ims.example", "", ""));
        let out = bench.respond_by(cause, bench.context(), 0, (status, &[]));
        assert_eq!(passed_up(&out).status, 480);
    }
}

/// S-TER-090
#[test]
fn the_callees_identity_gets_its_alias() {
    let mut bench = Bench::new();
    bench.registered();
    bench.send(&invite("tel:+15550101", "", ""));
    let asserted = [(HeaderName::PAssertedIdentity, "<tel:+15550101>")];
    let out = bench.respond(bench.context(), 0, 180, &asserted);
    assert_eq!(
        values(passed_up(&out), HeaderName::PAssertedIdentity),
        ["<tel:+15550101>", "<sip:+15550101@ims.example;user=phone>"]
    );
}

/// S-TER-140
#[test]
fn caller_and_callee_at_one_node_are_two_passages() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    let out = bench.send(&invite("sip:alice@ims.example", &route, ALICE));
    assert_eq!(*forwarded(&out)[0].1, NextHop::Uri("sip:i1.ims.example:4060".into()));
    let out = bench.send(&invite("sip:alice@ims.example", "<sip:s1.ims.example:6060;lr>", ALICE));
    assert_eq!(forwarded(&out)[0].2, Some("<sip:term-rr.2@s1.ims.example:6060;lr>"));
}

#[test]
fn a_cancelled_search_tries_nobody_else() {
    let mut bench = Bench::new();
    bench.registered();
    second_contact(&mut bench, "<sip:10.0.0.2>;q=0.5");
    bench.send(&invite("sip:alice@ims.example", "", ""));
    let call = bench.context();
    let cancel = request("CANCEL sip:alice@ims.example SIP/2.0\nReason: SIP;cause=480\n");
    let out = bench.act(|scscf, env, out| scscf.on_cancel(env, call, &cancel, out));
    assert!(
        matches!(&out[0], Action::Cancel { reason: Some(text), .. } if text == "SIP;cause=480")
    );
    assert!(forwarded(&bench.respond(call, 0, 487, &[])).is_empty());
}
