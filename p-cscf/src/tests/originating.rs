//! Requests of UEs outside dialogs (TS 24.229 §5.2.6.3).

use super::*;

pub(super) const INVITE: &str = "INVITE tel:+15550101 SIP/2.0
    Via: SIP/2.0/UDP 10.1.0.1:5060;branch=z9hG4bK2
    Route: <sip:p1.visited.example:5060;lr>, <sip:orig-alice@s1.ims.example:5060;lr>
    From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=a1
    To: <tel:+15550101>
    Call-ID: call1
    CSeq: 1 INVITE
    Contact: <sip:10.1.0.1:5060>
    Supported: 100rel";

fn bench() -> Bench {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    bench
}

/// The P-Asserted-Identity of what leaves for this INVITE with some more lines.
fn asserted(lines: &str) -> Vec<String> {
    let (_, found) = bench().request(ALICE, &format!("{INVITE}\n{lines}"));
    found
        .lines()
        .filter_map(|line| line.strip_prefix("+ P-Asserted-Identity: "))
        .map(str::to_owned)
        .collect()
}

/// P-ORI-020, P-ORI-030a, P-ORI-040 (unprotected port), P-ORI-060, G-TRUST-010, G-ICID-010,
/// G-ROUTE-020, G-HDR-010.
#[test]
fn an_invite_leaves_with_identity_charging_and_record_route() {
    let mut bench = bench();
    let lines = "\nP-Asserted-Identity: <sip:ceo@ims.example>
        P-Charging-Vector: icid-value=forged
        X-Unknown:   kept  as,it ;is
        Date: not a date";
    let (_, found) = bench.request(ALICE, &format!("{INVITE}{lines}"));
    check(
        &found,
        "forward as routed Core <sip:{D1}@p1.visited.example:5060;lr>
        - P-Asserted-Identity: <sip:ceo@ims.example>
        - P-Charging-Vector: icid-value=forged
        + P-Asserted-Identity: <sip:+15550100@ims.example;user=phone>
        + P-Visited-Network-ID: \"visited.example\"
        + P-Charging-Vector: icid-value=\"{I2}\";icid-generated-at=p1.visited.example;\
            orig-ioi=\"Type 1visited.example\"",
    );
}

/// P-ORI-010, P-ORI-020.
#[test]
fn a_preferred_identity_is_asserted_only_if_it_is_registered() {
    let sip = "<sip:+15550100@ims.example;user=phone>";
    let tel = "<tel:+15550100>";
    assert_eq!(asserted(""), [sip]);
    assert_eq!(asserted("P-Preferred-Identity: \"A\" <tel:+1-555-0100>"), [tel]);
    assert_eq!(asserted("P-Preferred-Identity: <sip:+15550100@IMS.example;user=phone>"), [sip]);
    assert_eq!(asserted("P-Preferred-Identity: <sip:bob@ims.example>"), [sip]);
    assert_eq!(asserted(&format!("P-Preferred-Identity: {tel}, {sip}")), [tel, sip]);
    assert_eq!(asserted(&format!("P-Preferred-Identity: {tel}, {tel}")), [tel]);
    assert_eq!(asserted("P-Preferred-Identity: nonsense"), [sip]);
}

/// P-ORI-010: a user without an identity that is not barred calls nobody.
#[test]
fn a_user_without_an_unbarred_identity_is_refused() {
    let mut bench = Bench::new(|_| {});
    let (context, _) = bench.request(ALICE, &register_text(ALICE, "alice", "9"));
    let answer = ok_to_register(ALICE, "alice", "+15550100", "9");
    let answer: Vec<&str> =
        answer.lines().filter(|line| !line.contains("P-Associated-URI")).collect();
    let _ = bench.response(context, CORE, &answer.join("\n"));
    let (_, found) = bench.request(ALICE, INVITE);
    check(&found, "reply 403");
}

/// P-ORI-030b.
#[test]
fn a_route_that_is_not_the_service_route_is_replaced_or_refused() {
    let wrong = INVITE.replace("orig-alice@s1", "orig@s9");
    let none = INVITE.replace(", <sip:orig-alice@s1.ims.example:5060;lr>", "");
    let (_, found) = bench().request(ALICE, &wrong);
    assert!(found.contains("- Route: <sip:orig@s9.ims.example:5060;lr>\n"), "{found}");
    assert!(found.contains("+ Route: <sip:orig-alice@s1.ims.example:5060;lr>\n"), "{found}");
    let (_, found) = bench().request(ALICE, &none);
    assert!(found.contains("+ Route: <sip:orig-alice@s1.ims.example:5060;lr>\n"), "{found}");

    let mut strict = Bench::new(|config| config.route_mismatch = RouteMismatch::Reject);
    strict.register(ALICE, "alice", "+15550100");
    check(&strict.request(ALICE, &wrong).1, "reply 400");
    assert!(strict.request(ALICE, INVITE).1.starts_with("forward"));
}

/// P-ORI-050, P-REG-260 (unregistered), G-TRUST-040.
#[test]
fn who_is_not_registered_is_refused_or_ignored() {
    let mut bench = bench();
    check(&bench.request(BOB, INVITE).1, "reply 403");
    check(&bench.request("10.1.0.1:5062", &INVITE.replace("0.1:5060", "0.1:5062")).1, "reply 403");
    let bye = INVITE.replace("INVITE", "BYE").replace("To: <tel:+15550101>", "To: <tel:1>;tag=b");
    check(&bench.request(BOB, &bye).1, "reply 403");
    check(&bench.request(BOB, &bye.replace("BYE", "ACK")).1, "");
    assert_eq!(bench.refusals.len(), 4);

    let mut silent = Bench::new(|config| config.stranger = Stranger::Discard);
    check(&silent.request(BOB, INVITE).1, "");
    assert_eq!(silent.refusals.len(), 1);
}

/// P-ORI-170, P-ORI-200, G-ROUTE-020.
#[test]
fn requests_without_a_dialog_get_no_record_route() {
    for method in ["MESSAGE", "OPTIONS", "PUBLISH", "FANCY"] {
        let mut bench = bench();
        let text = INVITE.replace("INVITE", method);
        let (context, found) = bench.request(ALICE, &text);
        assert!(found.starts_with("forward as routed Core\n"), "{method}: {found}");
        assert!(found.contains("+ P-Asserted-Identity: "), "{method}: {found}");
        let found = bench.response(
            context,
            CORE,
            &format!("SIP/2.0 202 Accepted\nCSeq: 1 {method}\nP-Charging-Vector: icid-value=1"),
        );
        check(&found, "pass up 202\n- P-Charging-Vector: icid-value=1");
        bench.end(context);
        assert_eq!(bench.pcscf.dialog_count(), 0);
    }
    for method in ["SUBSCRIBE", "REFER"] {
        let (_, found) = bench().request(ALICE, &INVITE.replace("INVITE", method));
        let head = "forward as routed Core <sip:{D1}@p1.visited.example:5060;lr>\n";
        assert!(found.starts_with(head), "{method}: {found}");
    }
}

/// P-OVL-010 (INVITE).
#[test]
fn an_overloaded_p_cscf_refuses_new_calls_but_no_emergency() {
    let mut bench = bench();
    bench.command(Command::Overload(Some(7)));
    check(&bench.request(ALICE, INVITE).1, "reply 503\n+ Retry-After: 7");
    let sos = INVITE.replace("INVITE tel:+15550101", "INVITE urn:service:sos.police");
    serves_emergencies(&mut bench);
    assert!(bench.request(ALICE, &sos).1.starts_with("forward"));
    let message = INVITE.replace("INVITE", "MESSAGE");
    check(&bench.request(ALICE, &message).1, "reply 503\n+ Retry-After: 7");
}

/// A network that takes emergency calls of its own users.
fn serves_emergencies(bench: &mut Bench) {
    let config = &mut bench.pcscf.config;
    config.visited_network = "ims.example".to_owned();
    config.emergency.e_cscfs = vec!["sip:e1.ims.example;lr".to_owned()];
}

/// P-EMG-060.
#[test]
fn an_emergency_registration_serves_emergency_calls_only() {
    let mut bench = Bench::new(|_| {});
    let sos = |text: String| text.replace("5060>;expires", "5060;sos>;expires");
    let (context, _) = bench.request(ALICE, &sos(register_text(ALICE, "alice", "9")));
    let answer = sos(ok_to_register(ALICE, "alice", "+15550100", "9"));
    let _ = bench.response(context, CORE, &answer);
    check(&bench.request(ALICE, INVITE).1, "reply 403");
    let call = INVITE.replace("INVITE tel:+15550101", "INVITE urn:service:sos");
    serves_emergencies(&mut bench);
    assert!(bench.request(ALICE, &call).1.starts_with("forward"));
}

/// P-ORI-210.
#[test]
fn a_silent_s_cscf_sends_the_ue_to_a_new_registration() {
    let timeout = "SIP/2.0 408 Request Timeout\nCSeq: 1 INVITE\nContent-Length: 0";
    let mut bench = bench();
    let (context, _) = bench.request(ALICE, INVITE);
    let found = bench.failure(context, Cause::Timeout, timeout);
    for line in [
        "pass up 504",
        "+ SIP/2.0 504 Server Time-out",
        "+ P-Asserted-Identity: <sip:{U1}@p1.visited.example:5060;lr>",
        "+ Content-Type: application/3gpp-ims+xml",
    ] {
        assert!(found.contains(line), "{line}: {found}");
    }
    assert!(found.contains("<action>initial-registration</action>"), "{found}");
    bench.end(context);
    assert_eq!(bench.pcscf.dialog_count(), 0);

    // Once the S-CSCF has answered, the time-out is the callee's.
    let (context, _) = bench.request(ALICE, INVITE);
    let _ = bench.response(context, CORE, "SIP/2.0 180 Ringing\nTo: <tel:1>;tag=b\nCSeq: 1 INVITE");
    let found = bench.failure(context, Cause::Timeout, timeout);
    check(&found, "set {D2} in 32s\npass up 408");

    let mut plain = Bench::new(|config| config.restoration = false);
    plain.register(ALICE, "alice", "+15550100");
    let (context, _) = plain.request(ALICE, INVITE);
    let found = plain.failure(context, Cause::Transport, timeout);
    check(
        &found,
        "pass up 504
        - SIP/2.0 408 Request Timeout
        + SIP/2.0 504 Server Time-out",
    );
}

/// The dialog table has an end, and names are not kept at any length.
#[test]
fn a_ue_cannot_grow_the_dialog_table() {
    let mut bench = Bench::new(|config| config.limits.dialogs_max = 1);
    bench.register(ALICE, "alice", "+15550100");
    let long = INVITE.replace("Call-ID: call1", &format!("Call-ID: {}", "c".repeat(513)));
    check(&bench.request(ALICE, &long).1, "reply 400");
    assert!(bench.request(ALICE, INVITE).1.starts_with("forward"));
    check(&bench.request(ALICE, INVITE).1, "reply 503\n+ Retry-After: 10");
}
