//! The timer profiles of TS 24.229 table 7.7.1: between CSCFs, and on the air interface.

use cscf_core::transaction::Timers;
use cscf_tests::{Bench, header, label};

use super::by_hand::{reg_notify, uri_of};
use super::pcscf_register::{edge, forwarded, home_says, last, ok_lines, register, to_home};
use super::transaction::{DOUBLED, UP_TO_T2};
use super::wire::{Access, Serving, answer_to, count, dropped, ms, sent_to, times};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("timers::cscfs_use_the_timers_of_the_core", &["T-TRN-070"], core_timers),
        case(
            "timers::ues_on_radio_get_the_long_timers_and_others_the_short",
            &["T-TRN-080"],
            air_timers,
        ),
    ]
}

fn core_timers() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "a", ""));
    lab.ask(&lab.request("MESSAGE", "b", ""));
    lab.wait(40_000);
    assert_eq!(times(&lab.down(), "INVITE"), DOUBLED, "T1 and B");
    assert_eq!(times(&lab.down(), "MESSAGE"), UP_TO_T2, "T2 and F");
    // The rest is in the cases of INVITE and other transactions: D, H, I, J, K, L, M on the wire.
    let timers = Timers::CORE;
    let millis = [timers.t1(), timers.t2(), timers.t4(), timers.h(), timers.l(), timers.m()];
    let millis = millis.map(|time| time.as_millis());
    assert_eq!(millis, [500, 4_000, 5_000, 32_000, 32_000, 32_000]);
    assert_eq!(timers.j(cscf_core::transaction::Reliability::Unreliable).as_millis(), 32_000);
    // Timer C: longer than 3 minutes.
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "c", ""));
    lab.answer(&answer_to(&lab.forwarded(), 180, "b"));
    lab.wait(180_000);
    assert_eq!(count(&lab.down(), "CANCEL"), 0, "C is longer than 3 min");
    lab.wait(5_000);
    assert!(count(&lab.down(), "CANCEL") > 0, "and ends");
    // Timer D: a failure is acknowledged again for 32 s at least.
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "d", ""));
    let response = answer_to(&lab.forwarded(), 486, "b");
    lab.answer(&response);
    lab.wait(31_970);
    lab.answer(&response);
    assert_eq!(count(&lab.down(), "ACK"), 2, "D is 32 s at least");
    timer_n();
}

/// Timer N: a SUBSCRIBE of the P-CSCF that no NOTIFY follows within 32 s has failed; the next
/// REGISTER has it subscribe anew.
fn timer_n() {
    for (notified, waited, subscribes) in
        [(false, 31_000, 0), (false, 33_000, 1), (true, 33_000, 0)]
    {
        let mut hand = edge();
        let route = to_home(&hand);
        register(&mut hand, &[&route]);
        let subscribe = last(&mut hand, "SUBSCRIBE");
        let home = hand.bench.config.node_named("i1").expect("i1").listen;
        let lines = format!("Expires: 4000\nContact: <sip:s@{home}>\n");
        home_says(&mut hand, &subscribe, "200 OK", &lines);
        if notified {
            let aor = header(&subscribe, "To");
            let text = reg_notify(home, &subscribe, (1, uri_of(&aor), "active"));
            let p1 = hand.to;
            hand.bench.send("home", p1, &text);
        }
        ms(&mut hand.bench, waited);
        hand.bench.heard("home");
        let lines = hand.unchallenged(None);
        let came = forwarded(&mut hand, &lines);
        let ok = ok_lines(&hand, &[&route]);
        home_says(&mut hand, &came, "200 OK", &ok);
        let heard = hand.bench.heard("home");
        let count = heard.iter().filter(|it| label(it) == "SUBSCRIBE").count();
        assert_eq!(count.min(1), subscribes, "after {waited} ms, notified {notified}");
    }
}

const AIR_DOUBLED: [u128; 7] = [0, 2_000, 6_000, 14_000, 30_000, 62_000, 126_000];
const AIR_UP_TO_T2: [u128; 11] =
    [0, 2_000, 6_000, 14_000, 30_000, 46_000, 62_000, 78_000, 94_000, 110_000, 126_000];

fn air_timers() {
    // P-CSCF towards a UE, by its access.
    for (access, long) in [
        ("3GPP-GERAN", true),
        ("3GPP-UTRAN-FDD", true),
        ("3GPP-UTRAN-TDD", true),
        ("3GPP-E-UTRAN-FDD", true),
        ("3GPP-E-UTRAN-TDD", true),
        ("3GPP-NR-FDD", true),
        ("3GPP-NR-TDD", true),
        ("3GPP2-1X", true),
        ("IEEE-802.11b", true),
        ("ADSL", false),
        ("IEEE-802.3", false),
    ] {
        let mut lab = Access::on(access);
        lab.ask(&lab.request("INVITE", "a", ""));
        lab.ask(&lab.request("MESSAGE", "b", ""));
        lab.wait(200_000);
        let (invites, messages) = (times(&lab.down(), "INVITE"), times(&lab.down(), "MESSAGE"));
        if long {
            assert_eq!(invites, AIR_DOUBLED, "{access}");
            assert_eq!(messages, AIR_UP_TO_T2, "{access}");
        } else {
            assert_eq!(invites, DOUBLED, "{access}");
            assert_eq!(messages, UP_TO_T2, "{access}");
        }
        let up = lab.up();
        let sent = up.iter().find(|told| told.label() == "100 INVITE").expect("100").at;
        let ended = up.iter().find(|told| told.label() == "408 INVITE").expect("408").at;
        let lasted = (ended - sent).as_secs();
        assert_eq!(lasted, if long { 128 } else { 32 }, "{access}");
        assert_eq!(count(&up, "408 MESSAGE"), 0, "{access}: RFC 4320");
    }
    // The list is the operator's.
    for (access, invites) in [("ADSL", AIR_DOUBLED), ("3GPP-E-UTRAN-FDD", DOUBLED)] {
        let mut lab = Access::listing(access, Some(&["ADSL"]));
        lab.ask(&lab.request("INVITE", "a", ""));
        lab.wait(200_000);
        assert_eq!(times(&lab.down(), "INVITE"), invites, "{access}");
    }
    // D is longer than 128 s over UDP; T4 keeps a final of another method for 17 s.
    let mut lab = Access::on("3GPP-E-UTRAN-FDD");
    lab.ask(&lab.request("INVITE", "a", ""));
    let refusal = answer_to(&lab.forwarded(), 486, "b");
    lab.answer(&refusal);
    lab.wait(127_900);
    lab.answer(&refusal);
    assert_eq!(count(&lab.down(), "ACK"), 2);
    lab.ask(&lab.request("MESSAGE", "b", ""));
    let done = answer_to(&lab.forwarded(), 200, "b");
    lab.answer(&done);
    lab.wait(16_900);
    lab.answer(&done);
    assert!(dropped(&lab.bench, "p1").is_empty(), "K is 17 s");
    lab.wait(200);
    lab.answer(&done);
    assert_eq!(dropped(&lab.bench, "p1").len(), 1);
    assert!(Timers::AIR.d(cscf_core::transaction::Reliability::Reliable).is_zero());

    // The UE itself.
    let mut bench = Bench::new(&["alice"]);
    let p = bench.replace("p1", "p");
    bench.play("alice registers");
    ms(&mut bench, 127_000);
    assert_eq!(times(&sent_to(&bench, "alice", p), "REGISTER"), AIR_UP_TO_T2);
    assert!(bench.sent("alice").iter().all(|told| told.label() == "REGISTER"));
}
