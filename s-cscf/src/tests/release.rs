//! Sessions of users that are gone, message by message.

use cscf_core::cx::{CxDemand, DemandId, DeregistrationReason};
use cscf_core::role::{Action, OwnTag};
use cscf_core::sip::HeaderName;

use super::session::{ALICE, invite, service_route};
use super::*;
use crate::Timer;

const OK: &str = "From: <sip:alice@ims.example>;tag=a\nTo: <sip:bob@ims.example>;tag=b\n\
    Contact: <sip:10.0.0.2:5060>\n\
    Record-Route: <sip:tok2@p2.example;lr>\nRecord-Route: <sip:term-rr.7@s2.example;lr>\n\
    Record-Route: <sip:orig-rr.1@s1.ims.example:6060;lr>\nRecord-Route: <sip:tok1@p1.example;lr>";

/// Has alice call bob, who answers.
fn established(bench: &mut Bench) {
    let route = service_route(bench);
    let headers = format!("{ALICE}Record-Route: <sip:tok1@p1.example;lr>\n");
    bench.send(&invite("sip:bob@ims.example", &route, &headers));
    let call = bench.context();
    bench.respond_with(call, 0, 200, OK);
    bench.act(|scscf, _, _| scscf.on_context_end(call));
}

fn rtr(bench: &mut Bench, reason: DeregistrationReason) -> Out {
    let info = String::new();
    let demand = CxDemand::Rtr { impi: IMPI.into(), impus: Vec::new(), reason, info };
    bench.act(|scscf, env, out| scscf.on_demand(env, DemandId(1), demand, out))
}

fn text(request: &Request) -> String {
    let text = String::from_utf8_lossy(&request.to_bytes()).into_owned();
    text.replace("\r\n", "\n").trim_end().to_owned()
}

/// S-REL-010, S-DRG-040
#[test]
fn the_end_of_a_registration_ends_its_sessions_both_ways() {
    let mut bench = Bench::new();
    established(&mut bench);
    let out = rtr(&mut bench, DeregistrationReason::PermanentTermination);
    let byes = notified(&out);
    let reason = "Reason: SIP;cause=480;text=\"The user is no longer registered\"\n\
        P-Charging-Vector: icid-value=\"p1-9\"\nContent-Length: 0";
    let to_caller = format!(
        "BYE sip:10.0.0.1 SIP/2.0\nRoute: <sip:tok1@p1.example;lr>\n\
         From: <sip:bob@ims.example>;tag=b\nTo: <sip:alice@ims.example>;tag=a\n\
         Call-ID: call1\nCSeq: 1 BYE\n{reason}"
    );
    let to_callee = format!(
        "BYE sip:10.0.0.2:5060 SIP/2.0\nRoute: <sip:term-rr.7@s2.example;lr>\n\
         Route: <sip:tok2@p2.example;lr>\nFrom: <sip:alice@ims.example>;tag=a\n\
         To: <sip:bob@ims.example>;tag=b\nCall-ID: call1\nCSeq: 2 BYE\n{reason}"
    );
    assert_eq!(text(byes[0].1), to_caller);
    assert_eq!(text(byes[1].1), to_callee);
    let tags: Vec<OwnTag> = byes.iter().map(|(tag, _)| *tag).collect();

    let late = "BYE sip:10.0.0.2 SIP/2.0\nRoute: <sip:orig-rr.1@s1.ims.example:6060;lr>\n\
        From: <sip:alice@ims.example>;tag=a\nTo: <sip:bob@ims.example>;tag=b\n\
        Call-ID: call1\nCSeq: 3 BYE\n";
    assert_eq!(status(&bench.send(late)), 481);
    for tag in tags {
        bench.own_answered(tag, 200, Cause::Received);
    }
    assert!(bench.is_idle());
}

/// S-REL-030, S-DRG-010, S-DRG-090
#[test]
fn sessions_end_before_subscribers_and_the_hss_hear_of_it() {
    for expiry in [true, false] {
        let mut bench = Bench::new();
        established(&mut bench);
        let out = if expiry {
            bench.fire(Timer::Expiry(1), Duration::from_secs(600_000))
        } else {
            bench.register(&unchallenged("yes"), &contact(0))
        };
        let at = |kind: fn(&Action<Timer>) -> bool| out.iter().position(kind).expect("there");
        let bye = at(|action| matches!(action, Action::Originate { .. }));
        let told = at(|action| matches!(action, Action::Ask { .. }));
        assert!(bye < told);
        assert_eq!(notified(&out).len(), 2);
    }
}

/// S-REL-020
#[test]
fn a_call_that_rings_ends_with_480_and_cancel() {
    let mut bench = Bench::new();
    let route = service_route(&mut bench);
    bench.send(&invite("sip:bob@ims.example", &route, ALICE));
    let call = bench.context();
    bench.respond(call, 0, 180, &[]);
    let out = rtr(&mut bench, DeregistrationReason::PermanentTermination);
    assert!(matches!(&out[0], Action::Cancel { context, .. } if *context == call));
    assert_eq!(status(&out), 480);
    bench.act(|scscf, _, _| scscf.on_context_end(call));
    assert!(bench.is_idle());
}

/// S-REL-020
#[test]
fn a_call_to_a_user_that_goes_away_ends_unless_another_contact_rings() {
    for both in [false, true] {
        let mut bench = Bench::new();
        bench.registered();
        if both {
            session::second_contact(&mut bench, "<sip:10.0.0.2>");
        }
        bench.send(&invite("sip:alice@ims.example", "", ""));
        let out = rtr(&mut bench, DeregistrationReason::PermanentTermination);
        let ended = out.iter().any(|action| matches!(action, Action::Reply { .. }));
        assert_eq!(ended, !both);
    }
}

/// S-REG-210
#[test]
fn sessions_of_a_contact_end_when_another_takes_its_place() {
    let mut bench = Bench::new();
    established(&mut bench);
    let other = "Contact: <sip:10.0.0.9>;expires=600\n";
    let out = bench.register(&unchallenged("no"), other);
    let out = bench.answer(asked(&out).0, aka_vector([8; 16]));
    let out = bench.register(&answer(&challenge(replied(&out)), &XRES, "yes"), other);
    let out = bench.answer(asked(&out).0, assigned(PROFILE));
    assert_eq!(notified(&out).len(), 2);
    assert_eq!(status(&out), 200);
    let route = values(replied(&out), HeaderName::ServiceRoute)[0].to_owned();
    let out = bench.send(&invite("sip:bob@ims.example", &route, ALICE));
    assert_eq!(forwarded(&out).len(), 1, "the new Service-Route is good");
}

/// S-DRG-060
#[test]
fn sessions_survive_a_move_to_another_s_cscf() {
    let mut bench = Bench::new();
    established(&mut bench);
    let out = rtr(&mut bench, DeregistrationReason::NewServerAssigned);
    assert!(notified(&out).is_empty());
}

#[test]
fn a_bye_uses_the_numbers_and_targets_of_the_dialog_as_it_is_now() {
    let mut bench = Bench::new();
    established(&mut bench);
    let update = "UPDATE sip:10.0.0.1 SIP/2.0\nRoute: <sip:orig-rr.1@s1.ims.example:6060;lr>\n\
        From: <sip:bob@ims.example>;tag=b\nTo: <sip:alice@ims.example>;tag=a\n\
        Call-ID: call1\nCSeq: 41 UPDATE\nContact: <sip:10.0.0.77>\n";
    bench.send(update);
    let context = bench.context();
    bench.respond_with(context, 0, 200, "Contact: <sip:10.0.0.88>");
    let out = rtr(&mut bench, DeregistrationReason::PermanentTermination);
    let byes = notified(&out);
    let facts = |at: usize| {
        let request: &Request = byes[at].1;
        (request.request_uri.clone(), request.headers.get(HeaderName::CSeq).map(str::to_owned))
    };
    assert_eq!(facts(0), ("sip:10.0.0.88".into(), Some("42 BYE".into())));
    assert_eq!(facts(1), ("sip:10.0.0.77".into(), Some("2 BYE".into())));
}
