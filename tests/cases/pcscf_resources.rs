//! The P-CSCF and the policy function (TS 24.229 §5.2.7.2, §5.2.7.3, §5.2.8.1): resources refused,
//! late and lost, and what each side hears of it. Phones by hand.

use cscf_core::engine::Node as _;
use cscf_core::engine::PolicyNode;
use cscf_core::operator::{Order, Show};
use cscf_core::policy::Conduct;
use cscf_core::sip::{HeaderName, Request, Sdp};
use cscf_core::time::Duration;
use cscf_tests::{Bench, label};
use p_cscf::Pcscf;

use super::by_hand::{impu, one, sent_to, shown};
use super::pcscf_media::{AMR, both_with, by_bob, call_with, sdp};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pcscf_resources::refused_while_overloaded_is_503", &["P-ORI-140"], overloaded),
        case("pcscf_resources::refused_is_500", &["P-ORI-150"], refused),
        case("pcscf_resources::refused_with_a_bandwidth_is_488", &["P-ORI-160"], bandwidth),
        case("pcscf_resources::a_late_answer_is_waited_for", &[], late),
        case("pcscf_resources::an_answer_without_resources_ends_it", &["P-TER-100"], answer),
        case("pcscf_resources::lost_signalling_is_500_until_heard", &["P-TER-070"], signalling),
        case("pcscf_resources::lost_bearers_end_the_call", &["P-REL-010"], lost),
        case(
            "pcscf_resources::lost_bearers_end_a_call_that_is_being_set_up",
            &["P-REL-020a", "P-REL-020b"],
            lost_early,
        ),
        case(
            "pcscf_resources::what_was_released_gets_481",
            &["P-REL-030", "P-ORI-100"],
            afterwards,
        ),
        case("pcscf_resources::a_session_timer_ends_a_record_only", &["P-REL-040"], timer),
    ]
}

/// Gives p1 an order.
fn order(bench: &mut Bench, text: &str) {
    let impi = |name: &str| bench.config.user_named(name);
    let words: Vec<String> =
        text.split(' ').map(|word| impi(word).unwrap_or_else(|| word.to_owned())).collect();
    let order: Order = words.join(" ").parse().expect("an order");
    let done = bench
        .stage
        .lab
        .with("p1", |node: &mut PolicyNode<Pcscf>, now| node.order(now, &order).map(|_| ()));
    done.expect("p1").expect("obeyed");
    bench.run_for(Duration::from_millis(100));
}

/// The sessions on record at p1, those of subscriptions left out.
fn sessions(bench: &mut Bench) -> Vec<Vec<String>> {
    let mut rows = shown(bench, Show::Dialogs);
    rows.retain(|row| row.iter().any(|cell| cell == "usage=session"));
    rows
}

/// The Reason of lost bearers.
const REASON: &str = "SIP;cause=503;text=\"Service Unavailable\"";

fn overloaded() {
    // The policy function says nothing; meanwhile the node has become overloaded.
    let (mut bench, alice, bob) = both_with(|edge| {
        edge.policy_of = vec![("alice".into(), Conduct::Silent)];
        edge.policy_timeout = Duration::from_secs(2);
    });
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(AMR)));
    assert_eq!(sent_to(&bench, "p1", alice.addr, "100 INVITE").len(), 1);
    order(&mut bench, "overload p1 --retry-after 9");
    bench.run_for(Duration::from_secs(2));
    let refused = alice.answered(&mut bench);
    assert_eq!((refused.status, refused.headers.get(HeaderName::RetryAfter)), (503, Some("9")));
    assert!(bob.heard(&mut bench, "INVITE").is_empty());
}

fn refused() {
    for retry_after in [None, Some(7)] {
        let (mut bench, alice, bob) = both_with(|edge| {
            edge.policy_of = vec![("alice".into(), Conduct::Refuses)];
            edge.policy_retry_after = retry_after.map(Duration::from_secs);
        });
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(AMR)));
        let refused = alice.answered(&mut bench);
        assert_eq!(refused.status, 500);
        let after = retry_after.map(|seconds| seconds.to_string());
        assert_eq!(refused.headers.get(HeaderName::RetryAfter), after.as_deref());
        assert!(sent_to(&bench, "p1", bench.addr("s1"), "INVITE").is_empty());
        assert!(bob.heard(&mut bench, "INVITE").is_empty());
        let notes = bench.notes("p1");
        let note = notes.iter().find(|note| note.refusal).expect("a refusal");
        assert_eq!(note.clause.to_string(), "TS 24.229 §5.2.7.2");
    }
}

fn bandwidth() {
    let (mut bench, alice, bob) =
        both_with(|edge| edge.policy_of = vec![("alice".into(), Conduct::RefusesAbove(50))]);
    let offer = sdp(&AMR.replace("\na=", "\nb=AS:64\na="));
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &offer));
    let refused = alice.answered(&mut bench);
    assert_eq!(refused.status, 488);
    let sdp = Sdp::parse(&refused.body).expect("SDP");
    assert_eq!(sdp.bandwidth("AS"), Some(50));
    assert!(bob.heard(&mut bench, "INVITE").is_empty());
}

fn late() {
    let (mut bench, alice, bob) = both_with(|edge| {
        edge.policy = Conduct::Late(Duration::from_secs(2));
    });
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(AMR)));
    bench.run_for(Duration::from_millis(1_700));
    assert!(bob.heard(&mut bench, "INVITE").is_empty());
    bench.run_for(Duration::from_millis(500));
    let invite = bob.heard_one(&mut bench, "INVITE");
    // What the callee says while his answer waits keeps its order.
    bob.answer(&mut bench, &invite, 183, &sdp(AMR));
    bob.answer(&mut bench, &invite, 180, "");
    let heard = |bench: &mut Bench| -> Vec<u16> {
        let mut all = alice.answers(bench, "");
        all.retain(|it| it.status > 100);
        all.iter().map(|it| it.status).collect()
    };
    assert_eq!(heard(&mut bench), [] as [u16; 0]);
    bench.run_for(Duration::from_secs(2));
    assert_eq!(heard(&mut bench), [183, 180]);
    // A caller who gives up meanwhile gets 487, and nothing goes on.
    let (mut bench, alice, bob) = both_with(|edge| {
        edge.policy = Conduct::Late(Duration::from_secs(2));
    });
    let text = alice.request("INVITE", &impu(2), 1, &sdp(AMR));
    alice.send(&mut bench, &text);
    let cancel = text.split("Content-Type").next().expect("head");
    let cancel = cancel.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL");
    alice.send(&mut bench, &cancel);
    bench.run_for(Duration::from_secs(4));
    assert_eq!(sent_to(&bench, "p1", alice.addr, "487 INVITE")[0].response().status, 487);
    assert!(bob.heard(&mut bench, "INVITE").is_empty());
    assert_eq!(sessions_with_resources(&bench), 0);
}

fn sessions_with_resources(bench: &Bench) -> usize {
    let all = bench.remainders();
    let of_p1 = all.iter().filter(|(node, what, _)| node == "p1" && *what == RESOURCES);
    of_p1.map(|(_, _, count)| *count).sum()
}

const RESOURCES: &str = "sessions with resources";

fn answer() {
    let refuses_bob = |status: u16, lines: &str| {
        let (mut bench, alice, bob) =
            both_with(|edge| edge.policy_of = vec![("bob".into(), Conduct::Refuses)]);
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(AMR)));
        let invite = bob.heard_one(&mut bench, "INVITE");
        bench.mark();
        bob.answer(&mut bench, &invite, status, lines);
        bench.run_for(Duration::from_millis(300));
        let heard: Vec<String> = bench.heard(&bob.name).iter().map(label).collect();
        let told = one(&bench, "p1", bob.addr, heard.last().expect("something"));
        assert_eq!(told.header("Reason"), REASON);
        assert_eq!(alice.answered(&mut bench).status, 500);
        assert_eq!(sent_to(&bench, "p1", bench.addr("s1"), "500 INVITE").len(), 1);
        let passed = format!("{status} INVITE");
        assert!(sent_to(&bench, "p1", bench.addr("s1"), &passed).is_empty());
        assert_eq!(sessions_with_resources(&bench), 0);
        heard
    };
    let reliable = format!("Require: 100rel\nRSeq: 1\n{}", sdp(AMR));
    assert_eq!(refuses_bob(183, &reliable), ["CANCEL"]);
    assert_eq!(refuses_bob(200, &sdp(AMR)), ["ACK", "BYE"]);
}

fn signalling() {
    for retry_after in [None, Some(8)] {
        let (mut bench, alice, bob) = both_with(|edge| {
            edge.signalling_lost_retry_after = retry_after.map(Duration::from_secs);
        });
        order(&mut bench, "bearer signalling-lost bob");
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(AMR)));
        let told = one(
            &bench,
            "p1",
            bench.addr("s1"),
            match retry_after {
                None => "500 INVITE",
                Some(_) => "503 INVITE",
            },
        );
        let after = retry_after.map(|seconds| seconds.to_string()).unwrap_or_default();
        assert_eq!(told.header("Retry-After"), after);
        assert!(bob.heard(&mut bench, "INVITE").is_empty());
        // He is there again.
        bob.send(&mut bench, &bob.request("MESSAGE", &impu(1), 2, ""));
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 3, &sdp(AMR)));
        assert_eq!(bob.heard(&mut bench, "INVITE").len(), 1);
    }
}

/// The lines of a BYE that must fit its dialog.
fn fits(bye: &Request, began: &Request, (from, to, target): (&str, &str, &str), cseq: u32) {
    assert_eq!(bye.headers.get(HeaderName::CallId), began.headers.get(HeaderName::CallId));
    assert_eq!((bye.from_tag(), bye.to_tag()), (Some(from), Some(to)));
    assert_eq!(bye.request_uri, target);
    let cseq = format!("{cseq} BYE");
    assert_eq!(bye.headers.get(HeaderName::CSeq), Some(cseq.as_str()));
    assert_eq!(bye.headers.get(HeaderName::Reason), Some(REASON));
}

fn lost() {
    // One P-CSCF has both sides; the bearers of alice are lost.
    let (mut bench, alice, bob, answer, invite) = call_with(|_| {});
    alice.send(&mut bench, &alice.in_dialog("INFO", 5, &answer, ""));
    let info = bob.heard_one(&mut bench, "INFO");
    bob.answer(&mut bench, &info, 200, "");
    alice.answers(&mut bench, "");
    assert_eq!(sessions_with_resources(&bench), 2);
    bench.mark();
    order(&mut bench, "bearer lost alice");
    let to_alice = one(&bench, "p1", alice.addr, "BYE");
    let (a, b) = (format!("sip:{}", alice.addr), format!("sip:{}", bob.addr));
    fits(to_alice.request(), &invite, ("hand", "from1", &a), 1);
    let to_core = one(&bench, "p1", bench.addr("s1"), "BYE");
    fits(to_core.request(), &invite, ("from1", "hand", &b), 6);
    assert!(!to_core.header("P-Charging-Vector").is_empty());
    assert_eq!(to_alice.header("P-Charging-Vector"), "");
    // Along the route set of the dialog: the S-CSCF first, the callee's side last.
    let routes = to_core.header("Route");
    assert!(routes.contains(&bench.addr("s1").to_string()), "{routes}");
    assert!(routes.ends_with(&format!("@{};lr>", bench.addr("p1"))), "{routes}");
    let to_bob = bob.heard_one(&mut bench, "BYE");
    assert_eq!(to_bob.headers.get(HeaderName::Reason), Some(REASON));
    bob.answer(&mut bench, &to_bob, 200, "");
    alice.answer(&mut bench, &to_alice.request().clone(), 200, "");
    assert_eq!(sessions_with_resources(&bench), 0);
    bench.run_for(Duration::from_secs(200));
    assert_eq!(sessions(&mut bench), [] as [Vec<String>; 0]);

    // With the rule `lost after`, and a UE that cannot be reached: only the other side hears.
    let (mut bench, alice, bob, _, _) = call_with(|edge| {
        edge.policy_of = vec![("bob".into(), Conduct::LostAfter(Duration::from_secs(10)))];
    });
    order(&mut bench, "bearer signalling-lost bob");
    bench.run_for(Duration::from_secs(11));
    assert!(bob.heard(&mut bench, "BYE").is_empty());
    assert!(!alice.heard(&mut bench, "BYE").is_empty());
}

fn lost_early() {
    for (who, early) in [("alice", false), ("bob", false), ("alice", true)] {
        let (mut bench, alice, bob) = both_with(|_| {});
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(AMR)));
        let invite = bob.heard_one(&mut bench, "INVITE");
        if !early {
            bob.answer(&mut bench, &invite, 183, &sdp(AMR));
        } else {
            bob.answer(&mut bench, &invite, 180, "");
        }
        alice.answers(&mut bench, "");
        bench.mark();
        order(&mut bench, &format!("bearer lost {who}"));
        bench.run_for(Duration::from_millis(200));
        let (first, status) = if who == "alice" {
            (bench.addr("s1"), alice.addr)
        } else {
            (bob.addr, bench.addr("s1"))
        };
        let cancel = one(&bench, "p1", first, "CANCEL");
        assert_eq!(cancel.header("Reason"), REASON);
        assert_eq!(sent_to(&bench, "p1", status, "503 INVITE").len(), 1, "{who}");
        let cancel = bob.heard_one(&mut bench, "CANCEL");
        assert_eq!(cancel.headers.get(HeaderName::CSeq), Some("1 CANCEL"));
        bob.answer(&mut bench, &cancel, 200, "");
        bob.answer(&mut bench, &invite, 487, "");
        let finals = alice.answers(&mut bench, "");
        assert_eq!(finals.iter().filter(|it| it.status >= 200).count(), 1, "{who}");
        assert_eq!(sessions_with_resources(&bench), 0, "{who}");
    }
}

fn afterwards() {
    let (mut bench, alice, bob, answer, invite) = call_with(|_| {});
    bench.mark();
    order(&mut bench, "bearer lost alice");
    let bye = alice.heard_one(&mut bench, "BYE");
    let to_bob = bob.heard_one(&mut bench, "BYE");
    // Both ends hang up at the same moment: each is answered, and nothing goes on.
    alice.send(&mut bench, &alice.in_dialog("BYE", 7, &answer, ""));
    assert_eq!(alice.answered(&mut bench).status, 481);
    bob.send(&mut bench, &by_bob(&bob, "BYE", 7, &invite, ""));
    let crossed = bob.answered(&mut bench).status;
    assert!(matches!(crossed, 200 | 481), "{crossed}");
    assert_eq!(sent_to(&bench, "p1", alice.addr, "BYE").len(), 1);
    alice.answer(&mut bench, &bye, 200, "");
    bob.answer(&mut bench, &to_bob, 200, "");
    bench.mark();
    for (cseq, method) in [(8, "UPDATE"), (9, "INFO"), (10, "INVITE")] {
        alice.send(&mut bench, &alice.in_dialog(method, cseq, &answer, ""));
        assert_eq!(alice.answered(&mut bench).status, 481, "{method}");
        assert!(sent_to(&bench, "p1", bench.addr("s1"), method).is_empty(), "{method}");
    }
    let notes = bench.notes("p1");
    assert!(notes.iter().any(|note| note.clause.to_string() == "TS 24.229 §5.2.8.1.3"));
    // It is forgotten once, and after its time only.
    bench.run_for(Duration::from_secs(200));
    assert_eq!(sessions(&mut bench), [] as [Vec<String>; 0]);
    assert_eq!(sessions_with_resources(&bench), 0);
}

fn timer() {
    let (mut bench, alice, bob) = both_with(|_| {});
    let lines = |refresher: &str| {
        format!("Session-Expires: 90{refresher}\nSupported: timer\nMin-SE: 90\n{}", sdp(AMR))
    };
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &lines("")));
    let invite = bob.heard_one(&mut bench, "INVITE");
    bob.answer(&mut bench, &invite, 200, &lines(";refresher=uac"));
    let answer = alice.answered(&mut bench);
    alice.send(&mut bench, &alice.in_dialog("ACK", 1, &answer, ""));
    bench.run_for(Duration::from_secs(60));
    assert_eq!(sessions(&mut bench).len(), 2);
    // A refresh in time keeps it.
    alice.send(
        &mut bench,
        &alice.in_dialog("UPDATE", 2, &answer, "Session-Expires: 90;refresher=uac"),
    );
    let update = bob.heard_one(&mut bench, "UPDATE");
    bob.answer(&mut bench, &update, 200, "Session-Expires: 90;refresher=uac");
    assert_eq!(alice.answered(&mut bench).status, 200);
    bench.run_for(Duration::from_secs(80));
    assert_eq!(sessions(&mut bench).len(), 2);
    bench.mark();
    bench.run_for(Duration::from_secs(60));
    assert_eq!(sessions(&mut bench), [] as [Vec<String>; 0]);
    assert!(bench.sent("p1").iter().all(|told| told.label() != "BYE"));
    assert!(bench.heard(&alice.name).is_empty() && bench.heard(&bob.name).is_empty());
    assert_eq!(sessions_with_resources(&bench), 0);
}
