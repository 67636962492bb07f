//! The reg event at the S-CSCF, message by message.

use cscf_core::cx::{CxDemand, DemandId, DeregistrationReason};
use cscf_core::role::{Cause, OwnTag, Role as _};
use cscf_core::sip::{HeaderName, Request};
use cscf_core::time::Duration;

use super::*;
use crate::{Command, Timer};

const ALICE: &str = "<sip:alice@ims.example>";

fn subscribe(headers: &str) -> String {
    format!(
        "SUBSCRIBE sip:alice@ims.example SIP/2.0\nFrom: <sip:a@b>;tag=u\n\
         To: <sip:alice@ims.example>\nCall-ID: sub1\nCSeq: 1 SUBSCRIBE\n\
         Contact: <sip:10.0.0.1:5060>\nRecord-Route: <sip:u1tok@p1.visited.example:5060;lr>\n\
         {headers}"
    )
}

/// Registers alice and has her subscribe; gives the tag of our side and the first NOTIFY.
fn subscribed(bench: &mut Bench) -> (String, OwnTag, Request) {
    let response = bench.registered();
    let route = values(&response, HeaderName::ServiceRoute)[0].to_owned();
    let headers =
        format!("Route: {route}\nEvent: reg\nExpires: 600000\nP-Asserted-Identity: {ALICE}\n");
    let out = bench.send(&subscribe(&headers));
    let ok = replied(&out);
    assert_eq!(ok.status, 200);
    let tag = ok.to_tag().expect("a tag").to_owned();
    let (own, notify) = notified(&out)[0];
    (tag, own, notify.clone())
}

fn again(tag: &str, headers: &str) -> String {
    format!(
        "SUBSCRIBE sip:{tag}@s1.ims.example:6060 SIP/2.0\nFrom: <sip:a@b>;tag=u\n\
         To: <sip:alice@ims.example>;tag={tag}\nCall-ID: sub1\nCSeq: 2 SUBSCRIBE\n\
         Contact: <sip:10.0.0.1:5060>\n{headers}"
    )
}

fn get(request: &Request, name: HeaderName) -> &str {
    request.headers.get(name).unwrap_or_default()
}

fn body(request: &Request) -> String {
    String::from_utf8_lossy(&request.body).into_owned()
}

/// S-NOT-010
#[test]
fn a_ue_subscribes_to_its_own_registration() {
    let mut bench = Bench::new();
    let response = bench.registered();
    let route = values(&response, HeaderName::ServiceRoute)[0].to_owned();
    let headers =
        format!("Route: {route}\nEvent: reg\nExpires: 600001\nP-Asserted-Identity: {ALICE}\n");
    let out = bench.send(&subscribe(&headers));
    let ok = replied(&out);
    assert_eq!(ok.status, 200);
    assert_eq!(values(ok, HeaderName::Expires), ["600000"]);
    assert_eq!(values(ok, HeaderName::RecordRoute), ["<sip:u1tok@p1.visited.example:5060;lr>"]);
    let tag = ok.to_tag().expect("a tag");
    assert_eq!(values(ok, HeaderName::Contact), [format!("<sip:{tag}@s1.ims.example:6060>")]);
}

/// S-NOT-020
#[test]
fn only_the_user_its_p_cscf_and_its_as_may_subscribe() {
    let cases = [
        (ALICE, 200),
        ("<sip:p1.visited.example>", 200),
        ("<sip:as1.ims.example:5070>", 200),
        ("<sip:eve@ims.example>", 403),
        ("<sip:p1.visited.example:5099>", 403),
    ];
    for (who, expected) in cases {
        let mut bench = Bench::new();
        bench.registered();
        let headers = format!("Event: reg\nExpires: 600\nP-Asserted-Identity: {who}\n");
        let out = bench.send(&subscribe(&headers));
        assert_eq!(replied(&out).status, expected, "{who}");
    }
    let mut bench = Bench::new();
    bench.registered();
    let headers = format!("Event: reg\nExpires: 600\nP-Asserted-Identity: {ALICE}\n");
    let out = bench.send_from("192.0.2.1:5060", &subscribe(&headers));
    assert_eq!(replied(&out).status, 403, "a stranger may assert nothing");
}

/// S-NOT-030
#[test]
fn the_first_notify_tells_the_full_state_at_once() {
    let mut bench = Bench::new();
    let (tag, _, notify) = subscribed(&mut bench);
    assert_eq!(notify.request_uri, "sip:10.0.0.1:5060");
    assert_eq!(get(&notify, HeaderName::Route), "<sip:u1tok@p1.visited.example:5060;lr>");
    assert_eq!(notify.from_tag(), Some(&*tag));
    assert_eq!(notify.to_tag(), Some("u"));
    assert_eq!(get(&notify, HeaderName::Event), "reg");
    assert_eq!(get(&notify, HeaderName::SubscriptionState), "active;expires=600000");
    assert_eq!(get(&notify, HeaderName::ContentType), "application/reginfo+xml");
    let body = body(&notify);
    assert!(body.contains("version=\"0\" state=\"full\""));
    assert_eq!(body.matches("<registration ").count(), 3, "the barred identity is not told");
    assert_eq!(body.matches("event=\"created\"").count(), 3, "registered with the barred one");
}

/// S-NOT-040
#[test]
fn each_change_is_told_with_a_higher_version() {
    let mut bench = Bench::new();
    let (_, _, _) = subscribed(&mut bench);
    let out = bench.register(&unchallenged("yes"), &contact(900));
    let first = body(notified(&out)[0].1);
    assert!(first.contains("version=\"1\"") && first.contains("event=\"refreshed\""));

    let within = Duration::from_secs(60);
    let command = Command::Reauthenticate { impi: IMPI.into(), within };
    let out = bench.act(|scscf, env, out| scscf.on_command(env, command, out));
    let second = body(notified(&out)[0].1);
    assert!(second.contains("version=\"2\""));
    assert!(second.contains("event=\"shortened\" expires=\"60\""), "S-DRG-080: {second}");
}

/// S-NOT-060
#[test]
fn another_event_or_a_brief_interval_is_refused() {
    let mut bench = Bench::new();
    let (tag, _, _) = subscribed(&mut bench);
    let out = bench.send(&again(&tag, "Event: presence\n"));
    assert_eq!(replied(&out).status, 489);
    assert_eq!(values(replied(&out), HeaderName::AllowEvents), ["reg"]);
    let mine = "SUBSCRIBE sip:s1.ims.example:6060 SIP/2.0\nEvent: foo\nCSeq: 1 SUBSCRIBE\n";
    assert_eq!(replied(&bench.send(mine)).status, 489);
    let headers = format!("Event: reg\nExpires: 10\nP-Asserted-Identity: {ALICE}\n");
    let out = bench.send(&subscribe(&headers));
    assert_eq!(replied(&out).status, 423);
    assert_eq!(values(replied(&out), HeaderName::MinExpires), ["60"]);
}

/// S-NOT-070
#[test]
fn unsubscribing_brings_a_last_notify() {
    let mut bench = Bench::new();
    let (tag, first, _) = subscribed(&mut bench);
    bench.own_answered(first, 200, Cause::Received);
    let out = bench.send(&again(&tag, "Event: reg\nExpires: 0\n"));
    assert_eq!(replied(&out).status, 200);
    let (own, notify) = notified(&out)[0];
    assert_eq!(get(notify, HeaderName::SubscriptionState), "terminated;reason=timeout");
    assert!(body(notify).contains("state=\"active\""), "the registration itself stands");
    bench.own_answered(own, 200, Cause::Received);
    assert!(bench.scscf.remainders().contains(&("subscriptions", 0)));
    let out = bench.send(&again(&tag, "Event: reg\n"));
    assert_eq!(replied(&out).status, 481);
}

/// S-NOT-070
#[test]
fn a_subscription_ends_with_its_time() {
    let mut bench = Bench::new();
    let (tag, first, _) = subscribed(&mut bench);
    bench.own_answered(first, 200, Cause::Received);
    let out = bench.fire(Timer::Subscription(tag.into()), Duration::from_secs(1));
    let (own, notify) = notified(&out)[0];
    assert_eq!(get(notify, HeaderName::SubscriptionState), "terminated;reason=timeout");
    bench.own_answered(own, 481, Cause::Received);
    assert!(bench.scscf.remainders().contains(&("subscriptions", 0)));
}

/// S-NOT-080
#[test]
fn a_notify_that_fails_ends_the_subscription() {
    for (status, cause) in [(481, Cause::Received), (408, Cause::Timeout), (503, Cause::Transport)]
    {
        let mut bench = Bench::new();
        let (_, own, _) = subscribed(&mut bench);
        bench.own_answered(own, status, cause);
        assert!(bench.scscf.remainders().contains(&("subscriptions", 0)));
        let out = bench.register(&unchallenged("yes"), &contact(900));
        assert!(notified(&out).is_empty());
    }
}

/// S-NOT-090
#[test]
fn a_user_that_is_not_registered_cannot_be_subscribed_to() {
    let mut bench = Bench::new();
    let headers = format!("Event: reg\nP-Asserted-Identity: {ALICE}\n");
    assert_eq!(replied(&bench.send(&subscribe(&headers))).status, 404);
}

/// S-NOT-100, S-DRG-010, S-DRG-040, S-DRG-050
#[test]
fn the_last_contact_ends_the_subscriptions_with_the_reason() {
    type End = fn(&mut Bench) -> Out;
    fn rtr(bench: &mut Bench, reason: DeregistrationReason) -> Out {
        let info = String::new();
        let demand = CxDemand::Rtr { impi: IMPI.into(), impus: Vec::new(), reason, info };
        bench.act(|scscf, env, out| scscf.on_demand(env, DemandId(1), demand, out))
    }
    let cases: [(End, &str, &str); 4] = [
        (|bench| bench.register(&unchallenged("yes"), &contact(0)), "unregistered", "noresource"),
        (
            |bench| bench.fire(Timer::Expiry(1), Duration::from_secs(600_000)),
            "expired",
            "noresource",
        ),
        (|bench| rtr(bench, DeregistrationReason::PermanentTermination), "rejected", "rejected"),
        (|bench| rtr(bench, DeregistrationReason::ServerChange), "deactivated", "deactivated"),
    ];
    for (end, event, reason) in cases {
        let mut bench = Bench::new();
        let (_, first, _) = subscribed(&mut bench);
        bench.own_answered(first, 200, Cause::Received);
        let out = end(&mut bench);
        let (own, notify) = notified(&out)[0];
        let state = format!("terminated;reason={reason}");
        assert_eq!(get(notify, HeaderName::SubscriptionState), state);
        let text = body(notify);
        assert_eq!(text.matches("<registration ").count(), 3);
        assert!(!text.contains("state=\"active\""));
        assert_eq!(text.matches(&format!("event=\"{event}\"")).count(), 3, "{text}");
        bench.own_answered(own, 200, Cause::Received);
        assert!(bench.scscf.remainders().contains(&("subscriptions", 0)));
    }
}

/// S-DRG-060
#[test]
fn a_user_moved_to_another_s_cscf_hears_nothing_from_here() {
    let mut bench = Bench::new();
    let (_, first, _) = subscribed(&mut bench);
    bench.own_answered(first, 200, Cause::Received);
    let demand = CxDemand::Rtr {
        impi: IMPI.into(),
        impus: vec!["sip:alice@ims.example".into()],
        reason: DeregistrationReason::NewServerAssigned,
        info: String::new(),
    };
    let out = bench.act(|scscf, env, out| scscf.on_demand(env, DemandId(1), demand, out));
    assert!(notified(&out).is_empty());
    assert!(bench.is_idle());
}
