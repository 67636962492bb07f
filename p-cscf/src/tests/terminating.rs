//! Requests to UEs (TS 24.229 §5.2.6.4) and their answers.

use super::*;

pub(super) const INVITE: &str = "INVITE sip:10.1.0.2:5060 SIP/2.0
    Via: SIP/2.0/UDP 10.0.0.20:5060;branch=z9hG4bK3
    Route: <sip:{U1}@p1.visited.example:5060;lr>
    Record-Route: <sip:term@s2.ims.example;lr>, <sip:orig@s1.ims.example;lr>, <sip:x@p0.example;lr>
    From: <sip:+15550100@ims.example;user=phone>;tag=a1
    To: <tel:+15550101>
    Call-ID: call2
    CSeq: 1 INVITE
    Contact: <sip:10.1.0.9:5060>
    P-Asserted-Identity: <sip:+15550100@ims.example;user=phone>
    P-Called-Party-ID: <sip:+15550101@ims.example;user=phone>
    P-Charging-Vector: icid-value=\"abc\";icid-generated-at=h;orig-ioi=\"Type 1ims.example\"
    P-Charging-Function-Addresses: ccf=1.2.3.4
    P-Visited-Network-ID: \"other.example\"
    P-Served-User: <sip:b@ims.example>
    Supported: 100rel";

pub(super) const RINGING: &str = "SIP/2.0 183 Session Progress
    Via: SIP/2.0/UDP 10.0.0.20:5060;branch=z9hG4bK3
    Record-Route: <sip:{D1}@p1.visited.example:5060;lr>, <sip:term@s2.ims.example;lr>
    From: <sip:+15550100@ims.example;user=phone>;tag=a1
    To: <tel:+15550101>;tag=b1
    Call-ID: call2
    CSeq: 1 INVITE
    Contact: <sip:10.1.0.2:5060>
    Require: 100rel
    RSeq: 9021";

fn bench() -> Bench {
    let mut bench = Bench::new(|_| {});
    bench.register(BOB, "bob", "+15550101");
    bench
}

/// P-TER-010, P-TER-020 (unprotected port), P-TER-030, G-TRUST-030, G-ICID-030, G-ROUTE-020.
#[test]
fn an_invite_reaches_the_ue_by_its_flow_without_what_is_inside() {
    let (_, found) = bench().request(CORE, INVITE);
    check(
        &found,
        "forward by UDP 10.0.0.10:5060 -> 10.1.0.2:5060 Core <sip:{D1}@p1.visited.example:5060;lr>
        - P-Charging-Vector: icid-value=\"abc\";icid-generated-at=h;orig-ioi=\"Type 1ims.example\"
        - P-Charging-Function-Addresses: ccf=1.2.3.4
        - P-Visited-Network-ID: \"other.example\"
        - P-Served-User: <sip:b@ims.example>",
    );
    let (_, found) = bench().request(CORE, &format!("{INVITE}\nPrivacy: id"));
    assert!(found.contains("- P-Asserted-Identity: "), "{found}");
}

/// P-TER-030, P-TER-090, P-TER-110, P-ORI-120, G-TRUST-010.
#[test]
fn the_called_party_is_asserted_in_the_responses_of_the_ue() {
    let mut bench = bench();
    let (context, _) = bench.request(CORE, INVITE);
    let lines = "P-Preferred-Identity: <sip:mallory@ims.example>
        P-Asserted-Identity: <sip:mallory@ims.example>
        P-Early-Media: sendrecv";
    let found = bench.response(context, BOB, &format!("{RINGING}\n{lines}"));
    let added = "+ P-Asserted-Identity: <sip:+15550101@ims.example;user=phone>
        + P-Charging-Vector: icid-value=\"abc\";orig-ioi=\"Type 1ims.example\";term-ioi=\"Type \
            1visited.example\"";
    check(
        &found,
        &format!(
            "pass up 183
            - P-Preferred-Identity: <sip:mallory@ims.example>
            - P-Asserted-Identity: <sip:mallory@ims.example>
            - P-Early-Media: sendrecv
            {added}"
        ),
    );
    let ok = RINGING.replace("183 Session Progress", "200 OK");
    let first = bench.response(context, BOB, &ok);
    check(&first, &format!("set {{D1}} in 86400s\npass up 200\n{added}"));
    assert_eq!(bench.response(context, BOB, &ok), first, "a repeated 2xx leaves as the first");
    bench.end(context);
    check(&bench.response(context, BOB, &ok), &format!("pass up 200\n{added}"));

    let (context, _) = bench.request(CORE, &INVITE.replace("call2", "call3"));
    let busy = "SIP/2.0 486 Busy Here\nTo: <tel:1>;tag=b\nCSeq: 1 INVITE";
    let found = bench.response(context, BOB, busy);
    assert!(!found.contains("P-Asserted-Identity"), "{found}");
    assert!(found.contains("+ P-Charging-Vector: icid-value=\"abc\""), "{found}");
    bench.end(context);
    assert_eq!(bench.pcscf.dialog_count(), 1);
}

/// P-TER-040.
#[test]
fn a_flow_that_is_gone_gives_480_or_430_for_outbound() {
    let mut bench = Bench::new(|_| {});
    bench.register_by(stream(Transport::Tcp, BOB, 1), "bob", "+15550101");
    bench.closed(stream(Transport::Tcp, BOB, 1));
    check(&bench.request(CORE, INVITE).1, "reply 480");
    // A packet of the UE on a new connection from there brings it back.
    let message = originating::INVITE.replace("INVITE", "MESSAGE").replace("0.1:", "0.2:");
    let _ = bench.request_by(stream(Transport::Tcp, BOB, 2), &message);
    let (context, found) = bench.request(CORE, INVITE);
    assert!(found.starts_with("forward by TCP"), "{found}");
    let gone = "SIP/2.0 503 Service Unavailable\nCSeq: 1 INVITE";
    let found = bench.failure(context, Cause::Transport, gone);
    assert!(found.starts_with("pass up 480\n"), "{found}");
    check(&bench.request(CORE, INVITE).1, "reply 480");

    let unknown = INVITE.replace("{U1}", "0-u00000000000000ab");
    check(&bench.request(CORE, &unknown).1, "reply 480");
    check(&bench.request(CORE, &unknown.replace(";lr>\n", ";lr;ob>\n")).1, "reply 430");
    check(&bench.request(CORE, &INVITE.replace("{U1}@", "")).1, "reply 404");
}

/// P-TER-060: the engine's 408 goes up for INVITE.
#[test]
fn a_ue_that_does_not_answer_gives_408() {
    let mut bench = bench();
    let (context, _) = bench.request(CORE, INVITE);
    let timeout = "SIP/2.0 408 Request Timeout\nCSeq: 1 INVITE";
    let found = bench.failure(context, Cause::Timeout, timeout);
    assert!(found.starts_with("pass up 408\n"), "{found}");
    bench.end(context);
    assert_eq!(bench.pcscf.dialog_count(), 0);
}

/// P-TER-080.
#[test]
fn a_path_token_from_outside_the_core_is_refused() {
    let mut bench = bench();
    check(&bench.request("10.9.9.9:5060", INVITE).1, "reply 403");
    bench.register(ALICE, "alice", "+15550100");
    check(&bench.request(ALICE, INVITE).1, "reply 403");
}

/// P-TER-050, P-TER-080: which timers hold is decided at registration.
#[test]
fn the_long_timers_hold_towards_a_ue_on_a_radio_access() {
    let mut bench = Bench::new(|_| {});
    let text = register_text(BOB, "bob", "9") + "\nP-Access-Network-Info: 3GPP-NR-FDD";
    let (context, _) = bench.request(BOB, &text);
    let _ = bench.response(context, CORE, &ok_to_register(BOB, "bob", "+15550101", "9"));
    let (_, found) = bench.request(CORE, INVITE);
    assert!(found.starts_with("forward by UDP 10.0.0.10:5060 -> 10.1.0.2:5060 Air "), "{found}");
}

/// G-ICID-020: without an identifier from the core there is one of our own.
#[test]
fn a_missing_charging_identifier_is_made_here() {
    let mut bench = bench();
    let text: Vec<&str> =
        INVITE.lines().filter(|line| !line.contains("P-Charging-Vector")).collect();
    let (context, _) = bench.request(CORE, &text.join("\n"));
    let found = bench.response(context, BOB, RINGING);
    let line = "+ P-Charging-Vector: icid-value=\"{I2}\";term-ioi=\"Type 1visited.example\"";
    assert!(found.contains(line), "{found}");
}

/// P-OVL-010.
#[test]
fn an_overloaded_p_cscf_refuses_calls_to_its_ues() {
    let mut bench = bench();
    bench.command(Command::Overload(Some(7)));
    check(&bench.request(CORE, INVITE).1, "reply 503\n+ Retry-After: 7");
}

/// P-TER-020, P-ORI-190: the UE reads its own transport in our Record-Route, the core does not.
#[test]
fn record_route_names_the_transport_of_the_ue_to_the_ue_only() {
    let mut bench = Bench::new(|_| {});
    bench.register_by(stream(Transport::Tcp, BOB, 1), "bob", "+15550101");
    let (context, found) = bench.request(CORE, INVITE);
    let tcp = "<sip:{D1}@p1.visited.example:5060;transport=tcp;lr>";
    assert!(found.contains(&format!("Core {tcp}\n")), "{found}");
    let ringing = RINGING.replace("5060;lr>, <sip:term", "5060;transport=tcp;lr>, <sip:term");
    let found = bench.response(context, BOB, &ringing);
    let plain =
        "+ Record-Route: <sip:{D1}@p1.visited.example:5060;lr>, <sip:term@s2.ims.example;lr>";
    assert!(found.contains(plain), "{found}");
}
