//! What a UE does when registering fails, TS 24.229 §5.1.1.2.1.

use cscf_core::role::{Cause, OwnAnswered};
use cscf_core::sip::HeaderName;
use cscf_core::time::{Duration, Instant};
use cscf_core::transport::FlowEvent;
use scenarios::ue::{KeepAlive, Phase, Protection, UeCommand, UeTimer};

use super::phone::{Did, Phone, aka_challenge, answer_to, clear_flow};
use super::registration::{credentials, header};
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::a_305_sends_it_to_another_p_cscf", &["U-REG-110"], use_proxy),
        case("ue::a_failure_sends_it_to_the_next_p_cscf", &["U-REG-120"], next_pcscf),
        case("ue::a_failed_refresh_makes_it_register_anew", &["U-REG-120"], anew),
        case("ue::retry_after_is_honoured", &["U-REG-130"], retry_after),
        case("ue::retry_after_is_of_one_p_cscf", &["U-REG-130"], retry_after_elsewhere),
        case("ue::a_403_ends_the_attempt", &["U-REG-140"], forbidden),
        case("ue::failures_are_followed_by_longer_waits", &["U-REG-180"], back_off),
        case("ue::a_refresh_that_failed_is_tried_again_until_the_end", &[], refresh_fails),
        case("ue::a_flow_that_fails_while_it_leaves_is_the_end", &[], flow_fails_at_the_end),
        case("ue::a_420_for_sec_agree_is_followed_by_early_security", &["U-REG-190"], early),
    ]
}

/// A phone that knows three P-CSCFs.
fn phone() -> Phone {
    Phone::with("alice", |config| {
        config.other_pcscfs =
            ["sip:10.0.0.20:5060", "sip:10.0.0.30:5060"].map(str::to_owned).to_vec();
    })
}

fn call_id(did: &Did) -> String {
    header(did.request().1, HeaderName::CallId).to_owned()
}

fn use_proxy() {
    let mut phone = phone();
    let did = phone.register();
    assert_eq!(did.to, ["sip:10.0.0.10:5060"]);
    let first = call_id(&did);
    let did = phone.answer(did.request(), 305, "Contact: <sip:6.6.6.6:5060>");
    assert_eq!(did.to, ["sip:10.0.0.20:5060"], "not the Contact of the 305");
    assert_ne!(call_id(&did), first, "an initial registration");
    assert!(credentials(did.request().1).response().is_none());
    // What it learns it uses with the P-CSCF it has now.
    let challenge = aka_challenge(&phone, 1);
    let did = phone.answer(did.request(), 401, &challenge);
    let ok = phone.ok_lines(600_000);
    let did = phone.answer(did.request(), 200, &ok);
    assert_eq!(did.states, ["registered"]);
    let (_, subscribe) = did.request();
    let route = subscribe.headers.first_value(HeaderName::Route);
    assert_eq!(route, Some("<sip:10.0.0.20:5060;lr>"));
    assert_eq!(did.to, ["sip:10.0.0.20:5060"]);

    // Without another one it is the end.
    let mut phone = Phone::new("alice");
    let did = phone.register();
    let did = phone.answer(did.request(), 305, "Contact: <sip:6.6.6.6:5060>");
    assert_eq!((did.requests.len(), did.states), (0, vec!["registration failed 305".to_owned()]));
}

fn next_pcscf() {
    for status in [408, 500, 504] {
        let mut phone = phone();
        let did = phone.register();
        let first = call_id(&did);
        let did = phone.answer(did.request(), status, "");
        assert_eq!(did.to, ["sip:10.0.0.20:5060"], "{status}");
        assert_ne!(call_id(&did), first);
        let did = phone.answer(did.request(), status, "");
        assert_eq!(did.to, ["sip:10.0.0.30:5060"], "{status}");
        // Each is tried once.
        let did = phone.answer(did.request(), status, "");
        assert_eq!(did.states, [format!("registration failed {status}")]);
        assert!(did.requests.is_empty());
        // The user may try again, and all are asked again.
        let did = phone.register();
        assert_eq!(did.to, ["sip:10.0.0.30:5060"]);
        let did = phone.answer(did.request(), status, "");
        assert_eq!(did.to, ["sip:10.0.0.10:5060"]);
    }
    // Timer F is a 408 made here.
    let mut phone = phone();
    let did = phone.register();
    let (tag, register) = did.request();
    let response = answer_to(register, 408, "");
    let answered = OwnAnswered { tag, response, cause: Cause::Timeout, flow: None };
    let did = phone.answered(answered);
    assert_eq!(did.to, ["sip:10.0.0.20:5060"]);
}

fn anew() {
    for status in [408, 500, 504] {
        let mut phone = Phone::new("alice");
        phone.register_fully("");
        let did = phone.command(UeCommand::Reregister);
        let registered = call_id(&did);
        let did = phone.answer(did.request(), status, "");
        let (_, register) = did.request();
        assert_ne!(header(register, HeaderName::CallId), registered, "{status}");
        assert!(credentials(register).response().is_none(), "{status}");
        // The first one of a series fails without another try.
        let did = phone.answer(did.request(), status, "");
        assert_eq!(did.states, [format!("registration failed {status}")]);
        assert!(did.requests.is_empty() && did.timers.is_empty());
    }
}

fn forbidden() {
    // Not even one that tries again by itself does so after a 403.
    let mut phone = Phone::with("alice", |config| config.retries = true);
    let did = phone.register();
    let did = phone.answer(did.request(), 403, "");
    assert_eq!(did.states, ["registration failed 403"]);
    assert!(did.requests.is_empty() && did.timers.is_empty());

    phone.register_fully("");
    let did = phone.command(UeCommand::Reregister);
    let did = phone.answer(did.request(), 403, "");
    assert!(credentials(did.request().1).response().is_none(), "an initial registration");
}

fn retry_after() {
    for status in [403, 480, 503, 600] {
        let mut phone = Phone::new("alice");
        let did = phone.register();
        let first = call_id(&did);
        let did = phone.answer(did.request(), status, "Retry-After: 120 (overload)");
        assert_eq!((did.requests.len(), did.states.len()), (0, 1));
        assert_eq!(did.timers, [(UeTimer::Register, Instant::from_secs(120))]);
        let did = phone.timer(UeTimer::Register, Instant::from_secs(120));
        assert_ne!(call_id(&did), first);
    }

    let mut phone = Phone::new("alice");
    let did = phone.register_fully("");
    let first = call_id(&did);
    let did = phone.answer(did.request(), 503, "Retry-After: 60");
    assert_eq!(did.states, ["subscription failed 503"]);
    assert_eq!(did.timers, [(UeTimer::Subscription, Instant::from_secs(60))]);
    let did = phone.timer(UeTimer::Subscription, Instant::from_secs(60));
    assert_ne!(call_id(&did), first);
}

fn retry_after_elsewhere() {
    let mut phone = phone();
    let did = phone.register();
    let did = phone.answer(did.request(), 503, "Retry-After: 120");
    assert_eq!(did.to, ["sip:10.0.0.20:5060"], "the others have not asked to be left alone");
    let did = phone.answer(did.request(), 503, "Retry-After: 60");
    let did = phone.answer(did.request(), 503, "Retry-After: 90");
    assert_eq!(did.states, ["registration failed 503"]);
    let at = Instant::from_secs(90);
    assert_eq!(did.timers, [(UeTimer::Register, at)]);
    // At that time the last may be asked again, and the second, but not the first.
    let did = phone.timer(UeTimer::Register, at);
    assert_eq!(did.to, ["sip:10.0.0.30:5060"]);
    let did = phone.answer(did.request(), 504, "");
    assert_eq!(did.to, ["sip:10.0.0.20:5060"]);
    let did = phone.answer(did.request(), 504, "");
    assert!(did.requests.is_empty(), "the first is asked before its 120 s");
}

fn back_off() {
    let mut phone = Phone::with("alice", |config| config.retries = true);
    let mut did = phone.register();
    for upper in [60, 120, 240, 480, 960, 1800, 1800] {
        did = phone.answer(did.request(), 504, "");
        assert_eq!(did.states, ["registration failed 504"]);
        let (timer, at) = did.timers[0];
        let wait = at.since(phone.now);
        let upper = Duration::from_secs(upper);
        assert!(wait >= upper / 2 && wait <= upper, "{wait:?} of {upper:?}");
        did = phone.timer(timer, at);
    }
    // A success is a new beginning.
    let challenge = aka_challenge(&phone, 1);
    let answered = phone.answer(did.request(), 401, &challenge);
    let ok = phone.ok_lines(600_000);
    phone.answer(answered.request(), 200, &ok);
    let did = phone.command(UeCommand::Reregister);
    let did = phone.answer(did.request(), 504, "");
    let did = phone.answer(did.request(), 504, "");
    assert!(did.timers[0].1.since(phone.now) <= Duration::from_secs(60));
}

fn refresh_fails() {
    let mut phone = Phone::new("alice");
    let did = phone.register();
    let challenge = aka_challenge(&phone, 1);
    let did = phone.answer(did.request(), 401, &challenge);
    let ok = phone.ok_lines(1200);
    phone.answer(did.request(), 200, &ok);
    let did = phone.timer(UeTimer::Register, Instant::from_secs(600));
    let did = phone.answer(did.request(), 480, "");
    assert_eq!(did.states, ["re-registration failed 480"]);
    assert_eq!(did.timers, [(UeTimer::Register, Instant::from_secs(900))]);
    let did = phone.timer(UeTimer::Register, Instant::from_secs(900));
    let did = phone.answer(did.request(), 503, "Retry-After: 3600");
    assert_eq!(did.timers, [(UeTimer::Register, Instant::from_secs(1200))], "its end");
    let did = phone.timer(UeTimer::Register, Instant::from_secs(1200));
    assert_eq!(did.states, ["registration expired"]);
    assert_eq!(phone.ue.phase(), Phase::Off);
}

fn early() {
    let secure = |knows: bool| {
        Phone::with("alice", |config| {
            config.security = Protection::Ipsec;
            config.early_security = knows;
        })
    };
    let agreement = [HeaderName::Require, HeaderName::ProxyRequire, HeaderName::SecurityClient];
    let mut phone = secure(true);
    let did = phone.register();
    let first = call_id(&did);
    assert!(agreement.iter().all(|name| did.request().1.headers.contains(*name)));
    let did = phone.answer(did.request(), 420, "Unsupported: sec-agree");
    let (_, register) = did.request();
    assert_ne!(header(register, HeaderName::CallId), first);
    for name in agreement.into_iter().chain([HeaderName::Authorization]) {
        assert!(!register.headers.contains(name), "{name}");
    }
    // Another 420 is the end.
    let did = phone.answer(did.request(), 420, "Unsupported: sec-agree");
    assert_eq!((did.requests.len(), did.states), (0, vec!["registration failed 420".to_owned()]));

    // One that does not know early security fails, and so does a 420 for something else.
    for (knows, unsupported) in [(false, "sec-agree"), (true, "path")] {
        let mut phone = secure(knows);
        let did = phone.register();
        let did = phone.answer(did.request(), 420, &format!("Unsupported: {unsupported}"));
        assert_eq!(did.states, ["registration failed 420"]);
        assert!(did.requests.is_empty() && did.timers.is_empty());
    }
}

/// A flow that worked fails: it registers anew at once, unless it is on its way out.
fn flow_fails_at_the_end() {
    for leaves in [false, true] {
        let mut phone = Phone::with("alice", |config| config.keep_alive = KeepAlive::Offered(None));
        let flow = clear_flow();
        let did = phone.register();
        let did = phone.answer(did.request(), 401, &aka_challenge(&phone, 1));
        phone.flow_event(FlowEvent::Keep { flow, every: Duration::from_secs(30) });
        let (tag, request) = did.request();
        let response = answer_to(request, 200, &phone.ok_lines(3_600));
        phone.answered(OwnAnswered { tag, response, cause: Cause::Received, flow: Some(flow) });
        let did = phone.flow_event(FlowEvent::Alive { flow, mapped: None });
        assert_eq!(did.states, ["flow kept alive"]);
        if leaves {
            phone.command(UeCommand::Deregister);
        }
        let did = phone.flow_event(FlowEvent::Failed { flow, cause: "silent".to_owned() });
        assert_eq!(did.requests.len(), usize::from(!leaves));
        let over = ["flow failed", "deregistered"].iter().take(1 + usize::from(leaves));
        assert!(did.states.iter().eq(over), "{:?}", did.states);
    }
}
