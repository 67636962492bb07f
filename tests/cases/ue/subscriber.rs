//! The subscriber's side of event notification, RFC 6665.

use cscf_core::sip::{HeaderName, Method, Request};
use cscf_core::time::{Duration, Instant};
use scenarios::ue::{UeCommand, UeTimer};

use super::phone::{Did, Phone};
use super::registration::{header, notify, subscribed};
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::a_dialog_begins_with_notify_or_2xx", &["N-SUB-010"], either_first),
        case("ue::a_notify_must_tell_the_state", &["N-SUB-010"], state_is_mandatory),
        case("ue::a_subscription_is_refreshed_in_its_dialog", &["N-SUB-010"], refreshed),
        case("ue::without_notify_there_is_no_subscription", &["N-SUB-020"], timer_n),
        case("ue::the_reason_says_whether_to_subscribe_again", &["N-SUB-030"], reasons),
        case("ue::a_second_notifier_is_refused", &[], second_notifier),
        case("ue::notifiers_are_accepted_as_the_package_has_it", &["N-SUB-040"], packages),
        case("ue::a_gap_in_partial_documents_is_closed", &[], gap),
    ]
}

const ACTIVE: &str = "state=\"active\" event=\"registered\"";

/// A registered phone and its SUBSCRIBE, not yet answered.
fn subscribing() -> (Phone, Did) {
    let mut phone = Phone::new("alice");
    let did = phone.register_fully("");
    (phone, did)
}

fn with_cseq(mut notify: Request, number: u32) -> Request {
    notify.headers.set(HeaderName::CSeq, &format!("{number} NOTIFY"));
    notify
}

fn either_first() {
    // NOTIFY first: it makes the dialog, the 200 changes nothing but the time.
    let (mut phone, did) = subscribing();
    let (_, subscribe) = did.request();
    let told = phone.request(notify(subscribe, "active;expires=600000", ACTIVE));
    assert_eq!((told.status(), told.states), (200, vec!["notified active".to_owned()]));
    let answered = phone.answer(did.request(), 202, "Expires: 600000\nContact: <sip:s1:6060>");
    assert_eq!(answered.states, ["subscribed"], "202 is as good as 200");
    // Both orders end in the same dialog: the refresh goes to the notifier by its tag.
    let refresh = phone.timer(UeTimer::Subscription, Instant::from_secs(599_400));
    assert!(header(refresh.request().1, HeaderName::To).ends_with(";tag=net1"));

    let (mut phone, did) = subscribing();
    let (_, subscribe) = did.request();
    let answered = phone.answer(did.request(), 200, "Expires: 600000\nContact: <sip:s1:6060>");
    assert_eq!(answered.states, ["subscribed"]);
    let told = phone.request(notify(subscribe, "active;expires=600000", ACTIVE));
    assert_eq!(told.status(), 200);
    // A NOTIFY that is repeated late is out of order.
    let told = phone.request(notify(subscribe, "active;expires=600000", ACTIVE));
    assert_eq!(told.status(), 500);
}

fn state_is_mandatory() {
    let (mut phone, subscribe) = subscribed();
    let mut bare = notify(&subscribe, "active", ACTIVE);
    bare.headers.remove(HeaderName::SubscriptionState);
    let did = phone.request(bare);
    assert_eq!((did.status(), did.states.len()), (400, 0));
    // It was not taken: the next one with its CSeq is.
    assert_eq!(phone.request(notify(&subscribe, "active", ACTIVE)).status(), 200);
}

fn refreshed() {
    let (mut phone, subscribe) = subscribed();
    let did = phone.timer(UeTimer::Subscription, Instant::from_secs(599_400));
    let (_, refresh) = did.request();
    assert_eq!(refresh.method, Method::Subscribe);
    assert_eq!(refresh.request_uri, "sip:s1:6060", "the Contact of the 200");
    for name in [HeaderName::CallId, HeaderName::From, HeaderName::Event, HeaderName::Accept] {
        assert_eq!(header(refresh, name), header(&subscribe, name));
    }
    assert_eq!(header(refresh, HeaderName::CSeq), "2 SUBSCRIBE");
    // The notifier has lost it: a new subscription.
    let did = phone.answer(did.request(), 481, "");
    let (_, anew) = did.request();
    assert_ne!(header(anew, HeaderName::CallId), header(&subscribe, HeaderName::CallId));
}

fn timer_n() {
    let (mut phone, did) = subscribing();
    let (_, subscribe) = did.request();
    let subscribe = subscribe.clone();
    // 64 * T1 of the air side.
    assert_eq!(did.notify_by, Some(Instant::from_secs(128)));
    phone.answer(did.request(), 200, "Expires: 600000\nContact: <sip:s1:6060>");
    let did = phone.timer(UeTimer::Notify, Instant::from_secs(128));
    assert_eq!(did.states, ["subscription failed without NOTIFY"]);
    let did = phone.request(notify(&subscribe, "active", ACTIVE));
    assert_eq!((did.status(), did.states.len()), (481, 0));

    // The core's T1 gives 32 s, and a NOTIFY ends the wait.
    let mut phone = Phone::with("alice", |config| config.timers.t1 = Duration::from_millis(500));
    let did = phone.register_fully("");
    assert_eq!(did.notify_by, Some(Instant::from_secs(32)));
    let (_, subscribe) = did.request();
    let told = phone.request(notify(subscribe, "active", ACTIVE));
    assert!(told.cleared.contains(&UeTimer::Notify));
}

fn reasons() {
    for (state, at_once, later) in [
        ("terminated;reason=deactivated", true, None),
        ("terminated;reason=probation;retry-after=30", false, Some(30)),
        ("terminated;reason=rejected", false, None),
        ("terminated;reason=timeout", true, None),
        ("terminated;reason=giveup;retry-after=20", false, Some(20)),
        ("terminated;reason=giveup", false, Some(60)),
        ("terminated;reason=noresource", false, None),
        ("terminated;reason=invariant", false, None),
        ("terminated", true, None),
    ] {
        let (mut phone, subscribe) = subscribed();
        let did = phone.request(notify(&subscribe, state, ACTIVE));
        assert_eq!(did.status(), 200, "{state}");
        let methods: Vec<_> = did.requests.iter().map(|(_, it)| it.method.clone()).collect();
        let expected = if at_once { vec![Method::Subscribe] } else { Vec::new() };
        assert_eq!(methods, expected, "{state}");
        if let Some((_, anew)) = did.requests.first() {
            assert_eq!(anew.to_tag(), None, "{state}: a new dialog");
            assert_ne!(anew.call_id(), subscribe.call_id(), "{state}");
        }
        let wait = later.map(|wait| (UeTimer::Subscription, Instant::from_secs(wait)));
        assert_eq!(did.timers.first().copied(), wait, "{state}");
        if let Some((timer, at)) = wait {
            let did = phone.timer(timer, at);
            assert_eq!(did.request().1.method, Method::Subscribe, "{state}");
        }
        // The old one is over either way.
        let did = phone.request(with_cseq(notify(&subscribe, "active", ACTIVE), 2));
        assert_eq!(did.status(), 481, "{state}");
    }
}

fn second_notifier() {
    let (mut phone, subscribe) = subscribed();
    assert_eq!(phone.request(notify(&subscribe, "active", ACTIVE)).status(), 200);
    let mut other = notify(&subscribe, "active", ACTIVE);
    let from = header(&other, HeaderName::From).replace("net1", "net2");
    other.headers.set(HeaderName::From, &from);
    let did = phone.request(other);
    assert_eq!((did.status(), did.states.len()), (481, 0));
}

fn packages() {
    for (event, second) in [("presence", 481), ("dialog", 200)] {
        let mut phone = Phone::new("alice");
        phone.register_fully("");
        let did =
            phone.command(UeCommand::Watch { target: "bob".to_owned(), event: event.to_owned() });
        let (_, subscribe) = did.request();
        assert_eq!(header(subscribe, HeaderName::Event), event);
        let from = |tag: &str, cseq: u32| {
            let mut notify = with_cseq(notify(subscribe, "active;expires=60", ACTIVE), cseq);
            let from = header(&notify, HeaderName::From).replace("net1", tag);
            notify.headers.set(HeaderName::From, &from);
            notify
        };
        // The first comes before the 200, the second behind it.
        assert_eq!(phone.request(from("n1", 1)).status(), 200, "{event}");
        let ok = "Expires: 60\nContact: <sip:bob@10.0.0.2>";
        assert_eq!(phone.answer(did.request(), 200, ok).states, ["subscribed"]);
        let did = phone.request(from("n2", 1));
        assert_eq!(did.status(), second, "{event}");
        // Each goes on by itself.
        assert_eq!(phone.request(from("n1", 2)).status(), 200, "{event}");
        assert_eq!(phone.request(from("n2", 2)).status(), second, "{event}");
        // After timer N nobody new is accepted.
        phone.now = Instant::from_secs(200);
        assert_eq!(phone.request(from("n3", 1)).status(), 481, "{event}");
        let mut end = from("n1", 3);
        end.headers.set(HeaderName::SubscriptionState, "terminated;reason=timeout");
        assert_eq!(phone.request(end).states, ["event terminated"]);
        assert_eq!(phone.request(from("n1", 4)).status(), 481, "{event}");
    }
}

fn gap() {
    let (mut phone, subscribe) = subscribed();
    assert_eq!(phone.request(notify(&subscribe, "active", ACTIVE)).status(), 200);
    let partial = |version: u32, cseq: u32| {
        let mut notify = with_cseq(notify(&subscribe, "active", ACTIVE), cseq);
        let body = String::from_utf8_lossy(&notify.body).replace(
            "version=\"0\" state=\"full\"",
            &format!("version=\"{version}\" state=\"partial\""),
        );
        notify.body = body.into();
        notify
    };
    assert!(phone.request(partial(1, 2)).requests.is_empty(), "the next one");
    let did = phone.request(partial(3, 3));
    assert_eq!(did.request().1.method, Method::Subscribe, "2 is missing");
}
