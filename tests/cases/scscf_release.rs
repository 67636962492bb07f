//! Sessions that the S-CSCF ends, forgets, or sees ended (TS 24.229 §5.4.5, RFC 4028): its
//! neighbours are by hand.

use cscf_core::sip::{HeaderName, Request, Response};
use cscf_core::time::Duration;
use cscf_tests::DOMAIN;

use super::by_hand::{charging, impu, one, sent_to};
use super::scscf_session::Around;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("release::a_call_ends_with_the_registration", &["S-REL-010", "RC-481b"], confirmed),
        case("release::a_call_that_rings_ends_both_ways", &["S-REL-020"], early),
        case("release::who_deregisters_in_a_call_ends_it_first", &["S-REL-030"], deregistered),
        case("release::a_session_without_refresh_is_forgotten", &["S-REL-040"], expired),
        case("release::a_bye_passes_and_ends_the_state", &["S-REL-050"], bye),
        case("release::the_answer_of_the_far_side_is_completed", &["S-ORI-190"], answers),
    ]
}

/// What is said of a session whose user is gone.
const GONE: &str = "SIP;cause=480;text=\"The user is no longer registered\"";

/// alice's call through s1, answered by the far side with these lines.
fn call(around: &mut Around, lines: &str) -> (Request, Response) {
    let route = format!("Record-Route: <sip:tok@{};lr>", around.p1.addr);
    let invite = around.alice_sends("INVITE", &impu(2), 1, &route);
    around.i1.answer(&mut around.bench, &invite, 200, lines);
    let made = around.p1.answered(&mut around.bench);
    assert_eq!(made.status, 200);
    let mut made = made;
    // p1 takes its own entry of the route set away.
    let routes = made.headers.values(HeaderName::RecordRoute).filter(|it| !it.contains("tok@"));
    let routes: Vec<String> = routes.map(str::to_owned).collect();
    made.headers.remove(HeaderName::RecordRoute);
    routes.iter().for_each(|route| made.headers.push(HeaderName::RecordRoute, route));
    (invite, made)
}

fn get(request: &Request, name: HeaderName) -> Vec<String> {
    request.headers.values(name).map(str::to_owned).collect()
}

/// The BYEs that the two sides have heard, once each: to the caller, to the callee.
fn byes(around: &mut Around) -> (Vec<Request>, Vec<Request>) {
    let mut to_caller = around.p1.heard(&mut around.bench, "BYE");
    let mut to_callee = around.i1.heard(&mut around.bench, "BYE");
    to_caller.dedup_by_key(|it| it.headers.get(HeaderName::Via).map(str::to_owned));
    to_callee.dedup_by_key(|it| it.headers.get(HeaderName::Via).map(str::to_owned));
    (to_caller, to_callee)
}

fn bye_counts(around: &mut Around) -> (usize, usize) {
    let (to_caller, to_callee) = byes(around);
    (to_caller.len(), to_callee.len())
}

fn confirmed() {
    let mut around = Around::new();
    let (_, made) = call(&mut around, "");
    around.bench.play("operator deregisters alice\nwait 100ms");
    let (to_caller, to_callee) = byes(&mut around);
    let ([caller], [callee]) = (&to_caller[..], &to_callee[..]) else { panic!("one BYE each way") };
    assert_eq!(caller.request_uri, format!("sip:{}", around.p1.addr));
    assert_eq!(get(caller, HeaderName::Route), [format!("<sip:tok@{};lr>", around.p1.addr)]);
    assert_eq!(callee.request_uri, format!("sip:{}", around.i1.addr));
    for bye in [caller, callee] {
        assert_eq!(get(bye, HeaderName::Reason), [GONE]);
        assert_eq!(bye.call_id(), made.headers.get(HeaderName::CallId));
        let vector = bye.headers.get(HeaderName::PChargingVector).unwrap_or_default();
        assert_eq!(charging(vector, "icid-value").as_deref(), Some("p1-1"));
    }
    // As if each came from the other one.
    assert_eq!(get(caller, HeaderName::To), [made.headers.get(HeaderName::From).unwrap_or("")]);
    assert_eq!(get(callee, HeaderName::To), [made.headers.get(HeaderName::To).unwrap_or("")]);
    // What comes in the dialog now belongs to nothing.
    let info = around.p1.in_dialog("INFO", 7, &made, "");
    around.p1.send(&mut around.bench, &info);
    assert_eq!(around.p1.answered(&mut around.bench).status, 481);
    assert!(around.i1.heard(&mut around.bench, "INFO").is_empty());
    for (hand, bye) in [(around.p1.clone(), caller), (around.i1.clone(), callee)] {
        hand.answer(&mut around.bench, bye, 200, "");
    }
}

fn early() {
    // The caller goes.
    let mut around = Around::new();
    let invite = around.alice_sends("INVITE", &impu(2), 1, "");
    around.i1.answer(&mut around.bench, &invite, 180, "");
    around.bench.mark();
    around.bench.play("operator deregisters alice\nwait 100ms");
    let cancel = around.i1.heard(&mut around.bench, "CANCEL").remove(0);
    assert_eq!(get(&cancel, HeaderName::Reason), [GONE]);
    assert!(!sent_to(&around.bench, "s1", around.p1.addr, "480 INVITE").is_empty());
    // The callee goes.
    let mut around = Around::new();
    let text = around.to_user("INVITE", &impu(2), 1, "");
    around.i1.send(&mut around.bench, &text);
    let invite = around.p1.heard_one(&mut around.bench, "INVITE");
    around.p1.answer(&mut around.bench, &invite, 180, "");
    around.bench.mark();
    around.bench.play("operator deregisters bob\nwait 100ms");
    let cancel = around.p1.heard(&mut around.bench, "CANCEL").remove(0);
    assert_eq!(get(&cancel, HeaderName::Reason), [GONE]);
    assert!(!sent_to(&around.bench, "s1", around.i1.addr, "480 INVITE").is_empty());
}

fn deregistered() {
    let mut around = Around::new();
    call(&mut around, "");
    around.bench.mark();
    let contact = around.bench.addr("alice");
    let lines = format!(
        "Authorization: Digest username=\"001010000000001@{DOMAIN}\",realm=\"{DOMAIN}\",\
         nonce=\"\",uri=\"sip:{DOMAIN}\",response=\"\",integrity-protected=\"yes\"\n\
         Path: <sip:tok@p1.example;lr>\nRequire: path\nExpires: 0"
    );
    let who = format!("sip:001010000000001@{DOMAIN}");
    let text = around
        .p1
        .request("REGISTER", &format!("sip:{DOMAIN}"), 5, &lines)
        .replace("<sip:anonymous@anonymous.invalid>", &format!("<{who}>"))
        .replace(&format!("To: <sip:{DOMAIN}>"), &format!("To: <{who}>"))
        .replace(
            &format!("Contact: <sip:{}>", around.p1.addr),
            &format!("Contact: <sip:{contact}>"),
        );
    around.p1.send(&mut around.bench, &text);
    let sent = around.bench.sent("s1");
    let at = |label: &str| sent.iter().position(|told| told.label() == label);
    let (bye, ok) = (at("BYE").expect("a BYE"), at("200 REGISTER").expect("a 200"));
    assert!(bye < ok, "the call ends first");
    let (to_caller, to_callee) = byes(&mut around);
    assert_eq!((to_caller.len(), to_callee.len()), (1, 1));
    assert_eq!(get(&to_caller[0], HeaderName::Reason), [GONE]);
    // The binding is gone as well.
    let text = around.to_user("MESSAGE", &impu(1), 6, "");
    around.i1.send(&mut around.bench, &text);
    around.bench.run_for(Duration::from_millis(500));
    one(&around.bench, "s1", around.i1.addr, "480 MESSAGE");
}

fn expired() {
    // Each time: how long the session lasts, how long after a refresh, and whether it is forgotten.
    for (wait, refreshed, forgotten) in [(80, false, false), (95, false, true), (95, true, false)] {
        let mut around = Around::new();
        let (_, made) = call(&mut around, "Session-Expires: 90;refresher=uac");
        if refreshed {
            around.bench.run_for(Duration::from_secs(45));
            let update = around.p1.in_dialog("UPDATE", 2, &made, "");
            around.p1.send(&mut around.bench, &update);
            let update = around.i1.heard_one(&mut around.bench, "UPDATE");
            around.i1.answer(&mut around.bench, &update, 200, "Session-Expires: 90;refresher=uac");
        }
        around.bench.run_for(Duration::from_secs(if refreshed { wait - 45 } else { wait }));
        assert_eq!(bye_counts(&mut around), (0, 0), "a proxy sends no BYE");
        around.bench.play("operator deregisters alice\nwait 100ms");
        let (to_caller, to_callee) = byes(&mut around);
        let left = usize::from(!forgotten);
        assert_eq!((to_caller.len(), to_callee.len()), (left, left), "{wait} s, {refreshed}");
    }
}

fn bye() {
    for by_caller in [true, false] {
        let mut around = Around::new();
        let (invite, made) = call(&mut around, "");
        let (from, to) = if by_caller {
            (around.p1.clone(), around.i1.clone())
        } else {
            (around.i1.clone(), around.p1.clone())
        };
        let mut made = made;
        if !by_caller {
            // The callee's view: tags and route set the other way round.
            let routes: Vec<String> = get(&invite, HeaderName::RecordRoute);
            let routes: Vec<String> = routes.into_iter().filter(|it| it.contains("-rr.")).collect();
            made.headers.remove(HeaderName::RecordRoute);
            for route in routes.iter().rev() {
                made.headers.push(HeaderName::RecordRoute, route);
            }
            let (caller, callee) = (
                made.headers.get(HeaderName::From).unwrap_or_default().to_owned(),
                made.headers.get(HeaderName::To).unwrap_or_default().to_owned(),
            );
            made.headers.set(HeaderName::From, &callee);
            made.headers.set(HeaderName::To, &caller);
            made.headers.set(HeaderName::Contact, &format!("<sip:{}>", around.p1.addr));
        }
        let text = from.in_dialog("BYE", 9, &made, "");
        from.send(&mut around.bench, &text);
        let bye = to.heard_one(&mut around.bench, "BYE");
        assert_eq!(bye.request_uri, format!("sip:{}", to.addr), "{by_caller}");
        assert!(get(&bye, HeaderName::Route).iter().all(|route| !route.contains("-rr.")));
        to.answer(&mut around.bench, &bye, 200, "");
        assert_eq!(from.answered(&mut around.bench).status, 200);
        around.bench.play("operator deregisters alice\nwait 100ms");
        assert_eq!(bye_counts(&mut around), (0, 0), "nothing is left to end");
    }
}

fn answers() {
    let mut around = Around::new();
    let invite = around.alice_sends("INVITE", &impu(2), 1, "Privacy: id");
    let vector = invite.headers.get(HeaderName::PChargingVector).unwrap_or_default().to_owned();
    let lines = format!(
        "P-Charging-Vector: {vector};term-ioi=\"far.example\"\n\
         P-Charging-Function-Addresses: ccf=far.example\nPrivacy: id\n\
         P-Asserted-Identity: <{}>",
        impu(2)
    );
    for status in [183, 200] {
        around.i1.answer(&mut around.bench, &invite, status, &lines);
        let sent = sent_to(&around.bench, "s1", around.p1.addr, &format!("{status} INVITE"));
        let told = sent.last().expect("passed on");
        let vector = told.header("P-Charging-Vector");
        assert_eq!(charging(&vector, "icid-value").as_deref(), Some("p1-1"));
        assert_eq!(charging(&vector, "orig-ioi").as_deref(), Some("Type 1visited"));
        assert_eq!(charging(&vector, "term-ioi"), Some(format!("Type 1{DOMAIN}")));
        assert_eq!(told.header("P-Charging-Function-Addresses"), "", "of another network");
        assert_eq!(told.header("P-Asserted-Identity"), format!("<{}>", impu(2)));
        assert_eq!(told.header("Privacy"), "id", "the edge hides it");
    }
}
