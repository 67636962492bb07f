//! Emergency calls of a UE and the times it waits for them, TS 24.229 §5.1.6, §7.8.

use cscf_core::sip::{HeaderName, Request};
use cscf_core::time::{Duration, Instant};
use scenarios::ue::{CallOptions, EmergencyTimers, Phase, UeCommand, UeTimer};

use super::phone::{Did, Phone, aka_challenge};
use super::registration::header;
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::an_emergency_registration_has_its_time", &["T-TRN-090c"], registration),
        case("ue::an_emergency_call_has_its_time", &["T-TRN-090d"], request),
        case("ue::who_is_refused_calls_for_help_as_it_is", &[], refused),
        case("ue::an_emergency_registration_is_left_to_expire", &[], expires),
    ]
}

const HELP: &str = "urn:service:sos.police";
const REGISTRATION: UeTimer = UeTimer::EmergencyRegistration;
const CALL: UeTimer = UeTimer::EmergencyCall;

fn phone() -> Phone {
    Phone::with("alice", |config| config.emergency = Some(EmergencyTimers::default()))
}

fn help(phone: &mut Phone) -> Did {
    let (target, options) = (HELP.to_owned(), CallOptions::default());
    phone.command(UeCommand::Call { target, options })
}

fn set(did: &Did, timer: UeTimer) -> Vec<Instant> {
    did.timers.iter().filter(|(its, _)| *its == timer).map(|(_, at)| *at).collect()
}

fn after(seconds: u64) -> Instant {
    Instant::EPOCH + Duration::from_secs(seconds)
}

fn is_anonymous(phone: &Phone, invite: &Request) {
    assert_eq!(invite.request_uri, HELP);
    let from = header(invite, HeaderName::From);
    assert!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="), "{from}");
    assert!(!invite.headers.contains(HeaderName::PPreferredIdentity));
    let instance = phone.ue.config().instance.clone().expect("a device");
    let contact = header(invite, HeaderName::Contact);
    assert!(contact.contains(&format!("+sip.instance=\"<{instance}>\"")), "{contact}");
}

fn registration() {
    let mut phone = phone();
    let did = help(&mut phone);
    let (tag, register) = did.request();
    let contact = header(register, HeaderName::Contact);
    assert!(contact.starts_with("<sip:10.0.0.1:5060;sos>;"), "{contact}");
    assert!(!contact.contains("smsip"), "{contact}");
    assert_eq!(set(&did, REGISTRATION), [after(10)]);
    // It is one time for all of it: the challenge starts no other.
    let challenge = aka_challenge(&phone, 1);
    phone.now = after(4);
    let did = phone.answer((tag, register), 401, &challenge);
    assert!(set(&did, REGISTRATION).is_empty() && !did.cleared.contains(&REGISTRATION));
    let (late, answered) = (did.request().0, did.request().1.clone());
    let did = phone.timer(REGISTRATION, after(10));
    assert_eq!(did.states, ["emergency registration failed"]);
    assert_eq!(phone.ue.phase(), Phase::Off);
    is_anonymous(&phone, did.request().1);
    // What comes now is nobody's.
    let ok = phone.ok_lines(600_000);
    let did = phone.answer((late, &answered), 200, &ok);
    assert!(did.states.is_empty() && did.requests.is_empty());
    assert_eq!(phone.ue.phase(), Phase::Off);

    // In time: the timer stops, the call begins.
    let mut phone = super::emergency::phone();
    let did = help(&mut phone);
    let challenge = aka_challenge(&phone, 1);
    let did = phone.answer(did.request(), 401, &challenge);
    let ok = phone.ok_lines(600_000);
    let did = phone.answer(did.request(), 200, &ok);
    assert!(did.cleared.contains(&REGISTRATION));
    assert_eq!(did.states, ["registered"]);
    let (_, invite) = did.request();
    assert_eq!(invite.request_uri, HELP);
    assert_eq!(header(invite, HeaderName::To), format!("<{HELP}>"));
    let routes: Vec<&str> = invite.headers.values(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:10.0.0.10:5060;lr>"], "the P-CSCF alone");
    assert!(header(invite, HeaderName::PPreferredIdentity).starts_with('<'));
    // A timer that runs out after all of it does nothing.
    let did = phone.timer(REGISTRATION, after(10));
    assert!(did.states.is_empty() && did.requests.is_empty());
}

/// A phone that calls for help over its emergency registration, and the INVITE.
fn calling(seconds: u64) -> (Phone, Did) {
    let timers =
        EmergencyTimers { request: Duration::from_secs(seconds), ..EmergencyTimers::default() };
    let mut phone = Phone::with("alice", |config| config.emergency = Some(timers));
    phone.register_fully("");
    let did = help(&mut phone);
    assert_eq!(set(&did, CALL), [after(seconds)]);
    (phone, did)
}

fn request() {
    // Nobody says anything, or only that it has come.
    for trying in [false, true] {
        for seconds in [5, 10, 15] {
            let (mut phone, did) = calling(seconds);
            if trying {
                let did = phone.answer(did.request(), 100, "");
                assert!(!did.cleared.contains(&CALL));
            }
            let did = phone.timer(CALL, after(seconds));
            assert_eq!(did.states, ["emergency call unanswered"]);
            assert_eq!(did.cancels, 1);
        }
    }
    // An answer, whatever it says, ends the wait.
    for (status, lines) in [(183, ""), (180, ""), (486, ""), (503, "")] {
        let (mut phone, did) = calling(10);
        let did = phone.answer(did.request(), status, lines);
        assert!(did.cleared.contains(&CALL), "{status}");
        let did = phone.timer(CALL, after(10));
        assert_eq!((did.states.len(), did.cancels), (0, 0), "{status}");
    }
    // Other calls have no such time.
    let mut phone = Phone::new("alice");
    phone.register_fully("");
    let did = help(&mut phone);
    assert!(set(&did, CALL).is_empty());
}

fn refused() {
    let mut phone = phone();
    let did = help(&mut phone);
    let did = phone.answer(did.request(), 403, "");
    assert_eq!(did.states, ["registration failed 403"]);
    assert!(did.cleared.contains(&REGISTRATION));
    is_anonymous(&phone, did.request().1);
    assert_eq!(set(&did, CALL), [after(10)]);
}

fn expires() {
    let mut phone = phone();
    let did = phone.register_fully("");
    assert!(did.requests.is_empty(), "no SUBSCRIBE");
    let did = phone.command(UeCommand::Deregister);
    assert_eq!(did.states, ["no deregistration"]);
    assert!(did.requests.is_empty());
    // The time to refresh comes, and nobody calls.
    let did = phone.timer(UeTimer::Register, after(599_400));
    assert!(did.requests.is_empty());
    assert_eq!(set(&did, UeTimer::Register), [after(600_000)]);
    let did = phone.timer(UeTimer::Register, after(600_000));
    assert_eq!(did.states, ["registration expired"]);
    // With a call it is refreshed.
    let (mut phone, _) = calling(10);
    let did = phone.timer(UeTimer::Register, after(599_400));
    assert_eq!(did.request().1.method.as_str(), "REGISTER");
}
