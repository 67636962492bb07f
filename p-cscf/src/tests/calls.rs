//! What happens inside dialogs (TS 24.229 §5.2.6.3.5, §5.2.6.4.5), and that nothing is left after.

use super::originating::INVITE;
use super::terminating::INVITE as TO_BOB;
use super::*;

const ICID: &str = "+ P-Charging-Vector: icid-value=\"{I2}\";\
    icid-generated-at=p1.visited.example;orig-ioi=\"Type 1visited.example\"";

const OK: &str = "SIP/2.0 200 OK
    Record-Route: <sip:term@s2.ims.example;lr>, <sip:orig@s1.ims.example;lr>
    Record-Route: <sip:{D1}@p1.visited.example:5060;lr>
    From: <sip:a@ims.example>;tag=a1
    To: <tel:+15550101>;tag=b1
    Call-ID: call1
    CSeq: 1 INVITE
    Contact: <sip:10.1.0.2:5060>
    P-Asserted-Identity: <sip:+15550101@ims.example>
    P-Charging-Vector: icid-value=x";

fn bye(method: &str, route: &str) -> String {
    format!(
        "{method} sip:10.1.0.2:5060 SIP/2.0
        Via: SIP/2.0/UDP 10.1.0.1:5060;branch=z9hG4bK9
        Route: {route}
        From: <sip:a@ims.example>;tag=a1
        To: <tel:+15550101>;tag=b1
        Call-ID: call1
        CSeq: 9 {method}"
    )
}

const ROUTE: &str = "<sip:{D1}@p1.visited.example:5060;lr>, <sip:orig@s1.ims.example;lr>, \
    <sip:term@s2.ims.example;lr>";

/// Alice in a call.
fn in_call() -> Bench {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    let (context, _) = bench.request(ALICE, INVITE);
    let found = bench.response(context, CORE, OK);
    check(&found, "set {D1} in 86400s\npass up 200\n- P-Charging-Vector: icid-value=x");
    bench.end(context);
    bench
}

/// G-ICID-020, P-ORI-090 (right route), P-ORI-190, G-ICID-030.
#[test]
fn requests_in_the_dialog_carry_its_charging_identifier() {
    let mut bench = in_call();
    for method in ["ACK", "PRACK", "UPDATE", "INVITE", "INFO"] {
        let text = bye(method, ROUTE) + "\nP-Charging-Vector: icid-value=forged";
        let (_, found) = bench.request(ALICE, &text);
        let expected =
            format!("forward as routed Core\n- P-Charging-Vector: icid-value=forged\n{ICID}");
        check(&found, &expected);
    }
}

/// P-ORI-080.
#[test]
fn another_ue_cannot_use_the_dialog() {
    let mut bench = in_call();
    bench.register(BOB, "bob", "+15550101");
    for source in [BOB, "10.9.9.9:5060"] {
        check(&bench.request(source, &bye("BYE", ROUTE)).1, "reply 403");
        check(&bench.request(source, &bye("ACK", ROUTE)).1, "");
    }
    assert_eq!(bench.pcscf.dialog_count(), 1);
}

/// P-ORI-090.
#[test]
fn a_wrong_route_in_the_dialog_is_repaired_or_refused() {
    let mut bench = in_call();
    for route in ["<sip:{D1}@p1.visited.example:5060;lr>", "<sip:p1.visited.example:5060;lr>"] {
        let (_, found) = bench.request(ALICE, &bye("UPDATE", route));
        for line in ["+ Route: <sip:orig@s1.ims.example;lr>", "+ Route: <sip:term@s2.ims", ICID] {
            assert!(found.contains(line), "{line}: {found}");
        }
    }
    bench.pcscf.config.route_mismatch = RouteMismatch::Reject;
    let (_, found) = bench.request(ALICE, &bye("UPDATE", "<sip:{D1}@p1.visited.example:5060;lr>"));
    check(&found, "reply 400");
    assert!(bench.request(ALICE, &bye("UPDATE", ROUTE)).1.starts_with("forward"));
}

/// P-ORI-100.
#[test]
fn an_unknown_dialog_goes_along_its_route_but_nowhere_without_one() {
    let mut bench = in_call();
    let text = bye("BYE", ROUTE).replace("call1", "call7");
    let (_, found) = bench.request(ALICE, &text);
    assert!(found.starts_with("forward as routed Core\n"), "{found}");
    assert!(!found.contains("P-Charging-Vector"), "no second icid for a dialog: {found}");
    let text = text.replace(", <sip:orig@s1.ims.example;lr>, <sip:term@s2.ims.example;lr>", "");
    check(&bench.request(ALICE, &text).1, "reply 481");
    let text = bye("BYE", "<sip:0-d00000000000000ab@p1.visited.example:5060;lr>");
    check(&bench.request(CORE, &text).1, "reply 481");
}

/// Everything ends with BYE, whoever sends it.
#[test]
fn bye_from_either_side_leaves_nothing() {
    let mut bench = in_call();
    let (context, _) = bench.request(ALICE, &bye("BYE", ROUTE));
    let found = bench.response(context, CORE, "SIP/2.0 401 Unauthorized\nCSeq: 9 BYE");
    check(&found, "pass up 401");
    bench.end(context);
    assert_eq!(bench.pcscf.dialog_count(), 1, "a challenged BYE ended nothing");
    let (context, _) = bench.request(ALICE, &bye("BYE", ROUTE));
    let found = bench.response(context, CORE, "SIP/2.0 200 OK\nCSeq: 9 BYE");
    check(&found, "clear {D1}\npass up 200");
    bench.end(context);
    assert_eq!(bench.pcscf.dialog_count(), 0);

    let mut bench = in_call();
    let text = bye("BYE", "<sip:{D1}@p1.visited.example:5060;lr>")
        .replace("tag=a1", "tag=x")
        .replace("tag=b1", "tag=a1")
        .replace("tag=x", "tag=b1")
        + "\nP-Charging-Vector: icid-value=\"x\"";
    let (context, found) = bench.request(CORE, &text);
    check(
        &found,
        "forward by UDP 10.0.0.10:5060 -> 10.1.0.1:5060 Core
        - P-Charging-Vector: icid-value=\"x\"",
    );
    let found = bench.response(context, ALICE, "SIP/2.0 200 OK\nCSeq: 9 BYE");
    check(
        &found,
        "clear {D1}
        pass up 200
        + P-Charging-Vector: icid-value=\"{I2}\";term-ioi=\"Type 1visited.example\"",
    );
    bench.end(context);
    assert!(bench.pcscf.exchanges.is_empty());
    assert_eq!(bench.pcscf.dialog_count(), 0);
}

/// Each fork of a call ends by itself.
#[test]
fn a_forked_call_ends_with_the_last_fork() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    let (context, _) = bench.request(ALICE, INVITE);
    let _ = bench.response(context, CORE, OK);
    let _ = bench.response(context, CORE, &OK.replace("tag=b1", "tag=b2"));
    bench.end(context);
    for (tag, left) in [("b2", 1), ("b1", 0)] {
        let text = bye("BYE", ROUTE).replace("tag=b1", &format!("tag={tag}"));
        let (context, _) = bench.request(ALICE, &text);
        let _ = bench.response(context, CORE, "SIP/2.0 481 Gone\nCSeq: 9 BYE");
        bench.end(context);
        assert_eq!(bench.pcscf.dialog_count(), left, "{tag}");
    }
}

/// P-ORI-100: a tag nobody gave is not this dialog.
#[test]
fn a_bye_with_a_changed_tag_does_not_touch_the_dialog() {
    let mut bench = in_call();
    let (context, found) = bench.request(ALICE, &bye("BYE", ROUTE).replace("tag=b1", "tag=b9"));
    assert!(found.starts_with("forward as routed Core\n"), "{found}");
    assert!(!found.contains("P-Charging-Vector"), "no second icid for a dialog: {found}");
    let _ = bench.response(context, CORE, "SIP/2.0 481 Gone\nCSeq: 9 BYE");
    bench.end(context);
    assert_eq!(bench.pcscf.dialog_count(), 1);
}

/// A caller may end one early dialog and take another.
#[test]
fn an_early_fork_that_ends_leaves_the_others() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    let (context, _) = bench.request(ALICE, INVITE);
    let ringing = OK.replace("200 OK", "183 Session Progress");
    let _ = bench.response(context, CORE, &ringing);
    let _ = bench.response(context, CORE, &ringing.replace("tag=b1", "tag=b2"));
    let (ended, _) = bench.request(ALICE, &bye("BYE", ROUTE));
    let found = bench.response(ended, CORE, "SIP/2.0 200 OK\nCSeq: 9 BYE");
    check(&found, "set {D1} in 128s\npass up 200");
    bench.end(ended);
    let found = bench.response(context, CORE, &OK.replace("tag=b1", "tag=b2"));
    assert!(found.starts_with("set {D1} in 86400s\npass up 200\n"), "{found}");
    bench.end(context);
    let (ended, _) = bench.request(ALICE, &bye("BYE", ROUTE).replace("tag=b1", "tag=b2"));
    let found = bench.response(ended, CORE, "SIP/2.0 200 OK\nCSeq: 9 BYE");
    check(&found, "clear {D1}\npass up 200");
    assert_eq!(bench.pcscf.dialog_count(), 0);
}

/// An INVITE that fails leaves no dialog.
#[test]
fn a_failed_invite_leaves_nothing() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    let (context, _) = bench.request(ALICE, INVITE);
    let _ = bench.response(context, CORE, &OK.replace("200 OK", "180 Ringing"));
    let (prack, found) = bench.request(ALICE, &bye("PRACK", ROUTE));
    check(&found, &format!("forward as routed Core\n{ICID}"));
    let _ = bench.response(prack, CORE, "SIP/2.0 200 OK\nCSeq: 9 PRACK");
    bench.end(prack);
    let found = bench.response(context, CORE, "SIP/2.0 486 Busy Here\nCSeq: 1 INVITE");
    check(&found, "set {D1} in 32s\npass up 486");
    bench.end(context);
    // Another PRACK crossed the failure.
    let (prack, found) = bench.request(ALICE, &bye("PRACK", ROUTE));
    check(&found, &format!("forward as routed Core\n{ICID}"));
    bench.end(prack);
    bench.wait(seconds(32));
    let dialog = bench.dialog("{D1}");
    check(&bench.timer(Timer::Dialog(dialog)), "");
    assert_eq!(bench.pcscf.dialog_count(), 0);
    assert!(bench.pcscf.exchanges.is_empty());
}

/// P-REL-040: a session timer that nobody refreshes ends the record, without BYE.
#[test]
fn a_session_that_is_not_refreshed_is_forgotten() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    let (context, _) = bench.request(ALICE, INVITE);
    let ok = format!("{OK}\nSession-Expires: 1800;refresher=uac");
    let found = bench.response(context, CORE, &ok);
    assert!(found.starts_with("set {D1} in 1800s\n"), "{found}");
    bench.end(context);
    let dialog = bench.dialog("{D1}");

    bench.wait(seconds(900));
    let (context, _) = bench.request(ALICE, &bye("UPDATE", ROUTE));
    let update = "SIP/2.0 200 OK\nCSeq: 9 UPDATE\nSession-Expires: 1800";
    let found = bench.response(context, CORE, update);
    assert!(found.starts_with("set {D1} in 1800s\n"), "{found}");
    bench.end(context);
    bench.wait(seconds(900));
    check(&bench.timer(Timer::Dialog(dialog)), "set {D1} in 900s");
    bench.wait(seconds(900));
    check(&bench.timer(Timer::Dialog(dialog)), "");
    assert_eq!(bench.pcscf.dialog_count(), 0);
}

/// The dialogs of a UE that is gone stay for the network's last BYE, and then end.
#[test]
fn dialogs_outlive_their_ue_for_a_while() {
    let mut bench = in_call();
    let (context, _) = bench.request(ALICE, &register_text(ALICE, "alice", "0"));
    let gone = ok_to_register(ALICE, "alice", "+15550100", "0");
    let found = bench.response(context, CORE, &gone);
    assert!(found.starts_with("clear {U1}\nset {D1} in 128s\npass up 200\n"), "{found}");
    bench.end(context);
    let (context, _) = bench.request(ALICE, &bye("UPDATE", ROUTE));
    let found = bench.response(context, CORE, "SIP/2.0 200 OK\nCSeq: 9 UPDATE");
    check(&found, "set {D1} in 128s\npass up 200");
    bench.end(context);
    let (context, found) =
        bench.request(CORE, &bye("BYE", "<sip:{D1}@p1.visited.example:5060;lr>"));
    assert!(found.starts_with("forward by UDP 10.0.0.10:5060 -> 10.1.0.1:5060"), "{found}");
    bench.end(context);
    bench.wait(seconds(128));
    let dialog = bench.dialog("{D1}");
    let _ = bench.timer(Timer::Dialog(dialog));
    assert!(bench.pcscf.is_idle());
}

/// A UE that comes back on a new connection keeps its calls.
#[test]
fn dialogs_move_with_a_contact_that_registers_on_a_new_flow() {
    let mut bench = in_call();
    let flow = stream(Transport::Tcp, "10.1.0.1:49152", 7);
    let (context, _) = bench.request_by(flow, &register_text(ALICE, "alice", "600000"));
    let answer = ok_to_register(ALICE, "alice", "+15550100", "600000");
    let _ = bench.response(context, CORE, &answer);
    bench.end(context);
    assert_eq!(bench.pcscf.registered_count(), 1);
    let (_, found) = bench.request_by(flow, &bye("UPDATE", ROUTE));
    assert!(found.starts_with("forward"), "{found}");
    let (_, found) = bench.request(CORE, &bye("BYE", "<sip:{D1}@p1.visited.example:5060;lr>"));
    assert!(found.starts_with("forward by TCP 10.0.0.10:5060 -> 10.1.0.1:49152"), "{found}");
}

/// A subscription ends with its last NOTIFY or when nobody refreshes it.
#[test]
fn a_subscription_ends_with_its_last_notify() {
    let mut bench = Bench::new(|_| {});
    bench.register(ALICE, "alice", "+15550100");
    let text = INVITE.replace("INVITE", "SUBSCRIBE") + "\nEvent: reg\nExpires: 600000";
    let (context, _) = bench.request(ALICE, &text);
    let notify = |state: &str| {
        bye("NOTIFY", "<sip:{D1}@p1.visited.example:5060;lr>")
            .replace("tag=a1", "tag=x")
            .replace("tag=b1", "tag=a1")
            .replace("tag=x", "tag=b1")
            + "\nSubscription-State: "
            + state
    };
    // The first NOTIFY overtakes the 200.
    let (early, found) = bench.request(CORE, &notify("active;expires=600000"));
    assert!(found.starts_with("forward by UDP"), "{found}");
    let _ = bench.response(early, ALICE, "SIP/2.0 200 OK\nCSeq: 9 NOTIFY");
    bench.end(early);
    let ok = OK.replace("1 INVITE", "1 SUBSCRIBE") + "\nExpires: 3600";
    let found = bench.response(context, CORE, &ok);
    assert!(found.starts_with("set {D1} in 3632s\n"), "{found}");
    bench.end(context);
    assert_eq!(bench.pcscf.dialog_count(), 1);

    let (last, _) = bench.request(CORE, &notify("Terminated ;reason=timeout"));
    let found = bench.response(last, ALICE, "SIP/2.0 200 OK\nCSeq: 9 NOTIFY");
    assert!(found.starts_with("clear {D1}\npass up 200\n"), "{found}");
    bench.end(last);
    assert_eq!(bench.pcscf.dialog_count(), 0);
}

/// Flow 8 with both users here: each side has its own record and its own route set.
#[test]
fn a_call_between_two_ues_of_one_p_cscf_has_two_sides() {
    let mut bench = Bench::new(|_| {});
    bench.register(BOB, "bob", "+15550101");
    bench.register(ALICE, "alice", "+15550100");
    let (from_alice, found) = bench.request(ALICE, INVITE);
    assert!(found.starts_with("forward as routed"), "{found}");
    let to_bob = TO_BOB
        .replace("call2", "call1")
        .replace("sip:x@p0.example", "sip:{D1}@p1.visited.example:5060");
    let (to_bob, _) = bench.request(CORE, &to_bob);
    let route = "Record-Route: <sip:{D2}@p1.visited.example:5060;lr>, <sip:term@s2.ims.example;\
        lr>, <sip:orig@s1.ims.example;lr>, <sip:{D1}@p1.visited.example:5060;lr>";
    let ok = format!(
        "SIP/2.0 200 OK\n{route}\nFrom: <sip:a@x>;tag=a1\nTo: <sip:b@x>;tag=b1\nCall-ID: \
            call1\nCSeq: 1 INVITE"
    );
    let _ = bench.response(to_bob, BOB, &ok);
    let _ = bench.response(from_alice, CORE, &ok);
    assert_eq!(bench.pcscf.dialog_count(), 2);

    let mine = |own: &str, rest: &str| format!("<sip:{own}@p1.visited.example:5060;lr>, {rest}");
    let from_alice = mine(
        "{D1}",
        "<sip:orig@s1.ims.example;lr>, <sip:term@s2.ims.example;lr>, \
            <sip:{D2}@p1.visited.example:5060;lr>",
    );
    let (_, found) = bench.request(ALICE, &bye("UPDATE", &from_alice));
    check(
        &found,
        "forward as routed Core\n+ P-Charging-Vector: icid-value=\"{I3}\";\
            icid-generated-at=p1.visited.example;orig-ioi=\"Type 1visited.example\"",
    );
    let from_bob = mine(
        "{D2}",
        "<sip:term@s2.ims.example;lr>, <sip:orig@s1.ims.example;lr>, \
            <sip:{D1}@p1.visited.example:5060;lr>",
    );
    let text = bye("UPDATE", &from_bob)
        .replace("tag=a1", "tag=x")
        .replace("tag=b1", "tag=a1")
        .replace("tag=x", "tag=b1");
    let (_, found) = bench.request(BOB, &text);
    check(
        &found,
        "forward as routed Core\n+ P-Charging-Vector: icid-value=\"abc\";\
            icid-generated-at=p1.visited.example;orig-ioi=\"Type 1visited.example\"",
    );
    check(&bench.request(ALICE, &text).1, "reply 403");
}
