//! Security associations that the system of a P-CSCF refuses (TS 33.203 §7.1).

use cscf_core::engine::{Input, Node as _, PolicyNode};
use cscf_core::transport::SaId;
use cscf_tests::header;
use p_cscf::Pcscf;

use super::gm::{Phone, ask};
use super::hand::{response, status};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pcscf_refused::those_that_do_not_hold_are_told", &[], not_held),
        case("pcscf_refused::refused_in_time_they_give_500", &[], refused_in_time),
    ]
}

/// What a host tells whose system refuses associations.
fn refuse_set_1(phone: &mut Phone) {
    let why = "the kernel has no room".to_owned();
    let tell = |node: &mut PolicyNode<Pcscf>, now| {
        node.handle_input(now, Input::NotSecured { set: SaId(1), why });
    };
    phone.hand.bench.stage.lab.with("p1", tell).expect("a P-CSCF");
}

fn refused_in_time() {
    let mut phone = Phone::new();
    let lines = phone.offer(&ask(0).client());
    phone.send(&lines, None);
    let request = phone.at_home("REGISTER").expect("it goes home");
    let line = phone.challenge_line();
    let to = phone.hand.bench.addr("p1");
    phone.hand.bench.send("home", to, &response(&request, "401 Unauthorized", &line));
    while !phone.noted("temporary associations") {
        phone.hand.bench.stage.lab.step();
    }
    refuse_set_1(&mut phone);
    phone.wait(100);
    let heard = phone.heard();
    assert_eq!(heard.iter().map(|(_, it)| status(it)).collect::<Vec<_>>(), [500]);
    for name in ["WWW-Authenticate", "Security-Server", "Require"] {
        assert_eq!(header(&heard[0].1, name), "", "{name}");
    }
    assert!(phone.noted("gets 500: its associations do not hold"));
    assert!(phone.noted("the kernel has no room"));
    // The phone may come again at once, with the same ports.
    let (_, unauthorized) = phone.challenged(0, None);
    assert_eq!(status(&unauthorized), 401);
}

fn not_held() {
    let mut phone = Phone::new();
    let (_, unauthorized) = phone.challenged(0, None);
    let lines = phone.answer(0, &unauthorized);
    phone.hand.bench.mark();
    refuse_set_1(&mut phone);
    assert!(phone.noted("set 1 does not hold: the kernel has no room"));
    assert!(phone.noted("stalls after the 401: its associations do not hold"));
    // Nothing is left of them: no waiting, no packet taken, no second telling.
    phone.send(&lines, Some(0));
    assert!(phone.at_home("REGISTER").is_none());
    phone.hand.bench.mark();
    phone.wait(300);
    assert!(!phone.noted("no protected REGISTER"));
}
