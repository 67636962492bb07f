//! Nodes that have more to do than they can, and nodes under maintenance (TS 24.229 §4.12). The
//! P-CSCF of these runs works 5 ms on each message, so that a queue builds in virtual time.

use std::collections::BTreeMap;

use cscf_core::engine::Engine;
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::TraceKind;
use cscf_tests::{Bench, label};
use scenarios::ue::{CallOptions, Robot, Ue, UeCommand};

use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let goodput = &["P-OVL-010", "P-EMG-090", "RC-503a"];
    vec![
        case("overload::three_times_the_load_leaves_the_goodput", goodput, goodput_holds),
        case("overload::a_rate_is_kept", &["P-OVL-010"], rate_is_kept),
    ]
}

/// Phones that call; bob, who is called, answers after a moment.
const CALLERS: usize = 60;
/// How long a caller talks.
const TALK: Duration = Duration::from_millis(1_600);
/// How long calls are made.
const RUN: Duration = Duration::from_secs(4);

/// What came of a run.
#[derive(Debug, Default)]
struct Outcome {
    offered: usize,
    established: usize,
    /// 503 of p1 for requests by which a session begins.
    refused: usize,
    /// 503 of p1 for others.
    refused_others: usize,
    /// Whether each emergency call got past p1.
    emergency_calls_go_on: bool,
}

/// Calls every so often, to a P-CSCF with these keys.
fn run(keys: &str, every: Duration) -> Outcome {
    let callers: Vec<String> = (0..CALLERS).map(|number| format!("caller{number}")).collect();
    let parties: String =
        callers.iter().map(|it| format!("  {it}: {{of: alice, reg_id: 1}}\n")).collect();
    let node = format!(
        "{{role: p-cscf, listen: \"127.0.0.1:5060\", e_cscf: [\"sip:127.1.0.201:5060\"], {keys}}}"
    );
    let source = format!(
        "scenario: load\nlab: {{nodes: {{p1: {node}}}}}\nparties:\n{parties}  bob: {{}}\n  \
         carol: {{}}\nsteps: []\n"
    );
    let mut bench = Bench::with_ues(
        &source,
        1,
        |_| {},
        |ues| {
            for ue in ues {
                ue.calls_max = CALLERS;
                ue.reg_event = false;
                ue.robot = Robot::Answers { after: Duration::from_millis(200) };
            }
        },
    );
    bench.raw("e-cscf");
    let all: Vec<&str> = callers.iter().map(String::as_str).chain(["bob", "carol"]).collect();
    for ue in all {
        bench.register(&[ue]);
        bench.run_for(Duration::from_secs(1));
    }
    bench.mark();
    let mut outcome = Outcome::default();
    let end = bench.now() + RUN;
    let mut plan: BTreeMap<(Instant, usize), Option<()>> = BTreeMap::new();
    let mut at = bench.now();
    while at < end {
        let caller = outcome.offered % CALLERS;
        plan.insert((at, caller), Some(()));
        plan.insert((at + TALK, caller), None);
        outcome.offered += 1;
        at += every;
    }
    let bob = bench.config.subscriber("bob").expect("bob").into_owned();
    let bob = bob.default_impu().expect("an identity");
    let bob = bob.to_owned();
    let mut sos_at = bench.now() + Duration::from_secs(1);
    for ((at, caller), calls) in plan {
        bench.stage.lab.run_until(at);
        let call = |target: &str| UeCommand::Call {
            target: target.to_owned(),
            options: CallOptions::default(),
        };
        let command = if calls.is_some() { call(&bob) } else { UeCommand::Hangup };
        order(&mut bench, &callers[caller], command);
        if at >= sos_at {
            sos_at = at + Duration::from_secs(5);
            order(&mut bench, "carol", call("urn:service:sos"));
        }
    }
    bench.run_for(Duration::from_secs(10));
    judge(&bench, &mut outcome);
    outcome
}

fn order(bench: &mut Bench, ue: &str, command: UeCommand) {
    let done = bench.stage.lab.with(ue, |node: &mut Engine<Ue>, now| node.command(now, command));
    done.expect("a UE of that name");
}

fn judge(bench: &Bench, outcome: &mut Outcome) {
    let is_call = |event: &&cscf_core::trace::TraceEvent| {
        event.node.starts_with("caller")
            && matches!(&event.kind, TraceKind::State(state) if state == "call established")
    };
    outcome.established = bench.events().filter(is_call).count();
    let of_p1 = bench.sent("p1");
    let labels: Vec<String> = of_p1.iter().map(|told| told.label()).collect();
    outcome.refused = labels.iter().filter(|label| *label == "503 INVITE").count();
    outcome.refused_others =
        labels.iter().filter(|label| label.starts_with("503 ") && *label != "503 INVITE").count();
    let is_sos = |told: &&cscf_tests::Told| {
        matches!(&told.message, cscf_core::sip::Message::Request(request)
            if request.asks_emergency_service() && label(&told.message) == "INVITE")
    };
    let (came, went) =
        (bench.sent("carol").iter().filter(is_sos).count(), of_p1.iter().filter(is_sos).count());
    outcome.emergency_calls_go_on = came > 0 && went >= came;
}

/// The goodput at three times the capacity is at least 80 % of the peak; emergency calls and what
/// is in a dialog pass. Without a bound the same load leaves next to nothing.
fn goodput_holds() {
    const LIMITED: &str = "service_time: 5ms, target_latency: 50ms";
    let (capacity, thrice) = (Duration::from_millis(111), Duration::from_millis(37));

    let peak = run(LIMITED, capacity);
    let high = run(LIMITED, thrice);
    let unlimited = run("service_time: 5ms", thrice);

    assert!(peak.established * 20 >= peak.offered * 19, "it is the capacity: {peak:?}");
    assert!(high.established * 10 >= peak.established * 8, "{high:?}, at the peak {peak:?}");
    assert_eq!(high.established + high.refused, high.offered, "{high:?}");
    assert!(unlimited.established * 2 < peak.established, "{unlimited:?}");
    assert!(high.emergency_calls_go_on, "{high:?}");
    assert_eq!((high.refused_others, unlimited.refused), (0, 0), "{high:?} {unlimited:?}");
}

fn rate_is_kept() {
    let outcome = run("requests_per_second: 5", Duration::from_millis(50));

    // A call comes in at p1 twice, from the caller and for the called: 20 in 4 s, and two bursts.
    assert!((8..=13).contains(&outcome.established), "{outcome:?}");
    assert_eq!(outcome.established + outcome.refused, outcome.offered, "{outcome:?}");
    assert!(outcome.emergency_calls_go_on && outcome.refused_others == 0, "{outcome:?}");
}
