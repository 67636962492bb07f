//! A HSS that answers wrongly, late, in garbage or not at all, and what I- and S-CSCF make of it:
//! each result of Diameter has its SIP answer (TS 24.229 §5.3.1.3, §5.3.2.2, TS 29.228 §6.1, §6.3).

use cscf_core::auth::IntegrityProtected;
use cscf_core::cx::{CxCommand, CxResult};
use cscf_core::hss::{HssCommand, Misbehaviour};
use cscf_core::time::Duration;
use cscf_tests::{Bench, label};

use super::cx::order_hss;
use super::hand::{Hand, asked};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("hss_faults::without_a_readable_uaa_it_is_480", &["I-REG-080"], no_uaa),
        case("hss_faults::a_late_uaa_still_registers", &[], late),
    ]
}

/// From now on the HSS does this with these questions, so often.
pub(crate) fn misbehave(
    bench: &mut Bench,
    command: CxCommand,
    how: Misbehaviour,
    times: Option<u32>,
) {
    order_hss(bench, HssCommand::Misbehave { command: Some(command), how, times });
}

/// The final answer to a REGISTER, however long it takes.
pub(crate) fn registers(hand: &mut Hand, lines: &str) -> String {
    let text = hand.next(lines);
    hand.send(&text);
    hand.bench.run_for(Duration::from_secs(30));
    label(&hand.answered().expect("a final response"))
}

fn no_uaa() {
    for how in [
        Misbehaviour::Silent,
        Misbehaviour::Garbage,
        Misbehaviour::GarbledData,
        Misbehaviour::Late(Duration::from_secs(8)),
        Misbehaviour::Answer(CxResult::UnableToComply),
        Misbehaviour::Answer(CxResult::TooBusy),
        Misbehaviour::Answer(CxResult::OtherExperimental(5999)),
        Misbehaviour::Answer(CxResult::Other(5004)),
    ] {
        let mut hand = Hand::at_icscf(Bench::new(&[]), "alice");
        misbehave(&mut hand.bench, CxCommand::Uar, how, Some(1));
        hand.bench.mark();
        let lines = hand.unchallenged(NO);
        assert_eq!(registers(&mut hand, &lines), "480 REGISTER", "{how:?}");
        assert_eq!(asked(&hand.bench, "i1", "UAR").len(), 1);
        assert_eq!(hand.bench.received("s1").len(), 0, "{how:?}");
        let said = hand.bench.notes("i1");
        let said = said.iter().find(|note| note.refusal && note.text.contains("480"));
        assert!(said.expect("why").text.contains("HSS"), "{how:?}");
        // Only this one: the next is answered as it should.
        let lines = hand.unchallenged(NO);
        assert_eq!(registers(&mut hand, &lines), "401 REGISTER", "{how:?}");
    }
}

fn late() {
    let mut hand = Hand::at_icscf(Bench::new(&[]), "alice");
    misbehave(&mut hand.bench, CxCommand::Uar, Misbehaviour::Late(Duration::from_secs(4)), None);
    let lines = hand.unchallenged(NO);
    assert_eq!(registers(&mut hand, &lines), "401 REGISTER");
}
