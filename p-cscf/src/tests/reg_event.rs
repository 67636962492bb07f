//! The P-CSCF's own subscription to reg event (TS 24.229 §5.2.3, §5.2.5.2).

use super::*;

/// The From tag and Call-ID of a SUBSCRIBE of ours.
struct Names {
    tag: String,
    call_id: String,
}

const OK: &str = "SIP/2.0 200 OK
    Contact: <sip:reg-1@s1.ims.example:5060>
    Expires: 600600";

impl Names {
    fn of(subscribe: &str) -> Self {
        let value = |name: &str| {
            let line = subscribe.lines().find_map(|line| line.strip_prefix(name));
            line.expect("there").to_owned()
        };
        let from = value("From: ");
        let tag = from.split_once("tag=").expect("a tag").1.to_owned();
        Self { tag, call_id: value("Call-ID: ") }
    }

    fn ok(&self, number: u32) -> String {
        let Self { tag, call_id } = self;
        format!(
            "{OK}
            From: <sip:p1.visited.example:5060>;tag={tag}
            To: <sip:+15550100@ims.example;user=phone>;tag=s9
            Call-ID: {call_id}
            CSeq: {number} SUBSCRIBE"
        )
    }

    fn notify(&self, number: u32, state: &str) -> String {
        let Self { tag, call_id } = self;
        format!(
            "NOTIFY sip:{{R1}}@p1.visited.example:5060 SIP/2.0
            Via: SIP/2.0/UDP 10.0.0.20:5060;branch=z9hG4bKn{number}
            From: <sip:+15550100@ims.example;user=phone>;tag=s9
            To: <sip:p1.visited.example:5060>;tag={tag}
            Call-ID: {call_id}
            CSeq: {number} NOTIFY
            Event: reg
            Subscription-State: {state}"
        )
    }
}

fn document(version: u32, state: &str, contact: &str) -> String {
    let registration = |aor: &str| {
        format!(
            "<registration aor=\"{aor}\" id=\"r\" state=\"{state}\">\
             <contact id=\"c\" {contact}><uri>sip:10.1.0.1:5060</uri></contact></registration>"
        )
    };
    format!(
        "<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"{version}\" state=\"full\">\
         {}{}</reginfo>",
        registration("sip:+15550100@ims.example;user=phone"),
        registration("tel:+15550100")
    )
}

/// Alice registered, and what was done after her 200.
fn registered() -> (Bench, String) {
    let mut bench = Bench::new(|config| config.reg_event_subscription = true);
    let (context, _) = bench.request(ALICE, &register_text(ALICE, "alice", "600000"));
    let answer = ok_to_register(ALICE, "alice", "+15550100", "600000");
    let found = bench.response(context, CORE, &answer);
    bench.end(context);
    (bench, found)
}

fn subscribed() -> (Bench, Names) {
    let (mut bench, found) = registered();
    let names = Names::of(&found);
    let found = bench.own_response("{R1}", Cause::Received, &names.ok(1));
    check(&found, "set {R1} in 600000s");
    (bench, names)
}

/// P-REG-330.
#[test]
fn the_first_registration_makes_a_subscription() {
    let (mut bench, found) = registered();
    let (_, subscribe) = found.split_once("originate ").expect("a SUBSCRIBE");
    let Names { tag, call_id } = Names::of(subscribe);
    check(
        subscribe,
        &format!(
            "to sip:i1.ims.example:5060
            SUBSCRIBE sip:+15550100@ims.example;user=phone SIP/2.0
            Max-Forwards: 70
            From: <sip:p1.visited.example:5060>;tag={tag}
            To: <sip:+15550100@ims.example;user=phone>
            Call-ID: {call_id}
            CSeq: 1 SUBSCRIBE
            P-Asserted-Identity: <sip:p1.visited.example:5060>
            Contact: <sip:{{R1}}@p1.visited.example:5060>
            Event: reg
            Accept: application/reginfo+xml
            Expires: 600600
            P-Charging-Vector: icid-value=\"{{I2}}\";icid-generated-at=p1.visited.example;\
                orig-ioi=\"Type 1visited.example\"
            Content-Length: 0"
        ),
    );
    assert!(found.find("pass up") < found.find("originate"), "the UE hears first: {found}");

    let (context, _) = bench.request(ALICE, &register_text(ALICE, "alice", "600000"));
    let answer = ok_to_register(ALICE, "alice", "+15550100", "600000");
    let found = bench.response(context, CORE, &answer);
    assert!(!found.contains("originate"), "one is enough: {found}");
}

/// P-REG-330: none where every identity is barred.
#[test]
fn without_an_unbarred_identity_there_is_no_subscription() {
    let mut bench = Bench::new(|config| config.reg_event_subscription = true);
    let (context, _) = bench.request(ALICE, &register_text(ALICE, "alice", "600000"));
    let answer = ok_to_register(ALICE, "alice", "+15550100", "600000");
    let answer = answer.replace("P-Associated-URI", "X-Nothing");
    assert!(!bench.response(context, CORE, &answer).contains("originate"));
}

/// P-REG-330: refreshed before its expiry while the user is registered.
#[test]
fn the_subscription_is_refreshed_while_the_user_is_registered() {
    let (mut bench, names) = subscribed();
    let Some(Token::Subscription(id)) = Token::parse(&bench.unmask("{R1}")) else { panic!() };
    bench.wait(seconds(599_000));
    let found = bench.timer(Timer::Subscription(id));
    for line in [
        "set {R1} in 1632s",
        "originate as routed",
        "SUBSCRIBE sip:reg-1@s1.ims.example:5060 SIP/2.0",
        "CSeq: 2 SUBSCRIBE",
        "Expires: 1600",
    ] {
        assert!(found.contains(line), "{line}: {found}");
    }
    let ok = names.ok(2).replace("600600", "1600");
    check(&bench.own_response("{R1}", Cause::Received, &ok), "set {R1} in 1000s");

    let ue = bench.ue("{U1}");
    bench.pcscf.bindings.remove(ue);
    bench.wait(seconds(1000));
    check(&bench.timer(Timer::Subscription(id)), "set {R1} in 632s");
    bench.wait(seconds(632));
    check(&bench.timer(Timer::Subscription(id)), "clear {R1}\nclear N of {R1}");
    assert!(bench.pcscf.is_idle());
}

/// P-REG-340.
#[test]
fn a_terminated_contact_takes_the_binding_away() {
    let (mut bench, names) = subscribed();
    let gone = document(1, "terminated", "state=\"terminated\" event=\"deactivated\"");
    let text = names.notify(1, "terminated;reason=rejected");
    let (_, found) = bench.request_with_body(CORE, &text, &gone);
    check(&found, "reply 200\nclear N of {R1}\nclear {U1}\nclear {R1}\nclear N of {R1}");
    assert!(bench.pcscf.is_idle());
    check(&bench.request_with_body(CORE, &names.notify(2, "active"), &gone).1, "reply 481");
}

/// P-REG-340: what is still active stays; an older document is not believed.
#[test]
fn an_active_contact_stays_and_an_old_document_changes_nothing() {
    let (mut bench, names) = subscribed();
    let active = document(5, "active", "state=\"active\" event=\"registered\" expires=\"600000\"");
    let (_, found) =
        bench.request_with_body(CORE, &names.notify(1, "active;expires=600000"), &active);
    check(&found, "reply 200\nclear N of {R1}");
    let old = document(4, "terminated", "state=\"terminated\" event=\"rejected\"");
    let (_, found) = bench.request_with_body(CORE, &names.notify(2, "active"), &old);
    check(&found, "reply 200\nclear N of {R1}");
    assert_eq!(bench.pcscf.registered_count(), 1);
    check(&bench.request_with_body(CORE, &names.notify(2, "active"), &old).1, "reply 500");
    check(&bench.request_with_body(CORE, &names.notify(3, "active"), "<no").1, "reply 400");

    // One contact of several: the registration is active, ours is not.
    let ours = document(6, "active", "state=\"terminated\" event=\"unregistered\"");
    let (_, found) = bench.request_with_body(CORE, &names.notify(4, "active"), &ours);
    check(&found, "reply 200\nclear N of {R1}\nclear {U1}");
}

/// P-REG-340, flow 6: the network shortens the registration.
#[test]
fn a_shortened_registration_ends_earlier() {
    let (mut bench, names) = subscribed();
    let short = document(1, "active", "state=\"active\" event=\"shortened\" expires=\"60\"");
    let (_, found) =
        bench.request_with_body(CORE, &names.notify(1, "active;expires=600000"), &short);
    check(&found, "reply 200\nclear N of {R1}\nset {U1} in 90s");
}

/// N-SUB-030: only `deactivated` and `timeout` ask for a new subscription at once.
#[test]
fn a_subscription_that_is_moved_is_made_anew() {
    for (reason, again) in [("deactivated", true), ("rejected", false), ("noresource", false)] {
        let (mut bench, names) = subscribed();
        let text = names.notify(1, &format!("terminated;reason={reason}"));
        let (_, found) = bench.request(CORE, &text);
        assert_eq!(found.contains("originate to sip:i1"), again, "{reason}: {found}");
        assert_eq!(bench.pcscf.registered_count(), 1);
    }
}

/// P-REG-340: strangers and wrong names.
#[test]
fn only_the_notifier_of_the_dialog_is_heard() {
    let (mut bench, names) = subscribed();
    let gone = document(1, "terminated", "state=\"terminated\" event=\"rejected\"");
    let text = names.notify(1, "terminated");
    check(&bench.request_with_body("10.9.9.9:5060", &text, &gone).1, "reply 403");
    let other = text.replace(&names.tag, "wrong");
    check(&bench.request_with_body(CORE, &other, &gone).1, "reply 481");
    let other = text.replace("NOTIFY", "INFO");
    check(&bench.request_with_body(CORE, &other, &gone).1, "reply 405");
    assert_eq!(bench.pcscf.registered_count(), 1);
}

/// A subscription that fails leaves the registration; the next registration tries again.
#[test]
fn a_subscription_that_fails_is_tried_again_with_the_next_registration() {
    let (mut bench, _) = registered();
    let failed = "SIP/2.0 403 Forbidden\nCSeq: 1 SUBSCRIBE";
    check(&bench.own_response("{R1}", Cause::Received, failed), "clear {R1}\nclear N of {R1}");
    let (context, _) = bench.request(ALICE, &register_text(ALICE, "alice", "600000"));
    let answer = ok_to_register(ALICE, "alice", "+15550100", "600000");
    assert!(bench.response(context, CORE, &answer).contains("originate"));
}
