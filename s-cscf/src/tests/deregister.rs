//! The end of a registration at the S-CSCF, message by message.

use cscf_core::cx::{
    AssignmentType, AuthScheme, CxDemand, CxResult, DemandId, DeregistrationReason,
};
use cscf_core::registrar::ContactEvent;
use cscf_core::role::{Action, Role as _};
use cscf_core::sip::HeaderName;
use cscf_core::time::Duration;

use super::*;
use crate::{Command, Timer};

/// S-DRG-010
#[test]
fn the_user_takes_its_contact_away() {
    for lines in [contact(0), "Contact: *\nExpires: 0\n".to_owned()] {
        let mut bench = Bench::new();
        bench.registered();
        let out = bench.register(&unchallenged("yes"), &lines);
        assert_eq!(sar(&out).assignment_type, AssignmentType::UserDeregistration);
        assert!(bench.scscf.registrations().is_empty(), "gone at once");
        let out = bench.answer(asked(&out).0, assigned(PROFILE));
        assert_eq!(
            values(replied(&out), HeaderName::Contact),
            ["<sip:10.0.0.1:5060>;+g.3gpp.smsip;audio;expires=0"]
        );
        assert!(bench.is_idle());
    }
}

/// S-DRG-020
#[test]
fn a_contact_that_is_not_bound_cannot_be_taken_away() {
    let mut bench = Bench::new();
    assert_eq!(status(&bench.register(&unchallenged("yes"), &contact(0))), 481);
    bench.registered();
    let out = bench.register(&unchallenged("yes"), "Contact: <sip:10.9.9.9>;expires=0\n");
    assert_eq!(status(&out), 481);
}

/// S-DRG-030
#[test]
fn an_unprotected_deregistration_is_challenged_first() {
    let mut bench = Bench::new();
    bench.registered();
    let out = bench.register(&unchallenged("no"), &contact(0));
    let out = bench.answer(asked(&out).0, aka_vector([8; 16]));
    assert!(!bench.scscf.registrations().is_empty());
    let authorization = answer(&challenge(replied(&out)), &XRES, "yes");
    let out = bench.register(&authorization, &contact(0));
    assert_eq!(sar(&out).assignment_type, AssignmentType::UserDeregistration);
}

/// S-DRG-040, S-DRG-050
#[test]
fn the_hss_ends_a_registration() {
    let mut bench = Bench::new();
    bench.registered();
    let rtr = CxDemand::Rtr {
        impi: IMPI.into(),
        impus: Vec::new(),
        reason: DeregistrationReason::PermanentTermination,
        info: String::new(),
    };
    let out = bench.act(|scscf, env, out| scscf.on_demand(env, DemandId(1), rtr, out));
    assert!(out.iter().any(|action| matches!(
        action,
        Action::AnswerDemand { demand: DemandId(1), reply } if reply.result == CxResult::Success
    )));
    assert!(bench.is_idle());
}

/// S-DRG-080
#[test]
fn the_operator_has_a_user_authenticate_anew() {
    let mut bench = Bench::new();
    bench.registered();
    let within = Duration::from_secs(60);
    let command = Command::Reauthenticate { impi: IMPI.into(), within };
    let out = bench.act(|scscf, env, out| scscf.on_command(env, command, out));
    let at = bench.now + within;
    assert!(out.iter().any(|action| matches!(action, Action::SetTimer { at: a, .. } if *a == at)));
    let out = bench.register(&unchallenged("yes"), &contact(600));
    assert_eq!(mar(&out).scheme, AuthScheme::Aka);
}

/// S-DRG-090
#[test]
fn a_registration_ends_with_its_time() {
    let mut bench = Bench::new();
    bench.registered();
    let out = bench.fire(Timer::Expiry(1), Duration::from_secs(600_000));
    assert_eq!(sar(&out).assignment_type, AssignmentType::TimeoutDeregistration);
    assert!(bench.is_idle());
}

/// S-DRG-100
#[test]
fn the_operator_takes_one_contact_away() {
    let mut bench = Bench::new();
    bench.registered();
    let contact = Some(CONTACT.to_owned());
    let event = ContactEvent::Rejected;
    let command = Command::Deregister { impi: IMPI.into(), contact, event };
    let out = bench.act(|scscf, env, out| scscf.on_command(env, command, out));
    assert_eq!(sar(&out).assignment_type, AssignmentType::AdministrativeDeregistration);
    assert!(bench.is_idle());
}

/// S-REG-330
#[test]
fn two_users_share_an_identity_with_a_contact_each() {
    let mut bench = Bench::new();
    bench.registered();
    let other = "001010000000002@ims.example";
    let text = |authorization: &str| {
        format!(
            "REGISTER sip:s1 SIP/2.0\nTo: <sip:alice@ims.example>\nCall-ID: reg2\n\
             CSeq: 9 REGISTER\nAuthorization: {authorization}\n\
             Contact: <sip:10.0.0.2>;expires=600\n"
        )
    };
    let trusted = unchallenged("auth-done").replace(IMPI, other);
    let out = bench.send(&text(&trusted));
    assert_eq!(sar(&out).assignment_type, AssignmentType::Registration);
    let out = bench.answer(asked(&out).0, assigned(PROFILE));
    assert_eq!(values(replied(&out), HeaderName::Contact).len(), 2);
    let out = bench.register(&unchallenged("yes"), &contact(0));
    assert_eq!(sar(&out).assignment_type, AssignmentType::UserDeregistration);
    let out = bench.answer(asked(&out).0, assigned(PROFILE));
    assert_eq!(values(replied(&out), HeaderName::Contact).len(), 2, "one left, one gone");
    let set = bench.scscf.registrations().by_key("sip:alice@ims.example").expect("one is left");
    assert_eq!(set.bindings.len(), 1);
}

/// X-CX-060b
#[test]
fn what_the_hss_pushes_and_nobody_can_read_is_given_back() {
    let nobody = "<IMSSubscription><PrivateID>x</PrivateID></IMSSubscription>";
    for document in ["\u{fffd}\u{fffd}", "<Other/>", nobody] {
        let mut bench = Bench::new();
        bench.registered();
        let (impi, user_data) = (IMPI.to_owned(), Some(document.to_owned()));
        let what = CxDemand::Ppr { impi, user_data, charging_ccf: None, digest: None };
        let out = bench.act(|scscf, env, out| scscf.on_demand(env, DemandId(1), what, out));
        assert!(out.iter().any(|action| matches!(
            action,
            Action::AnswerDemand { reply, .. } if reply.result == CxResult::NotSupportedUserData
        )));
        assert_eq!(out.len(), 1, "nothing changes");
    }
}
