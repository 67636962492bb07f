//! Calls between two UEs, compared with their ladders.

use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_core::trace::TraceKind;
use scenarios::lab::NetworkOptions;
use scenarios::ue::{CallOptions, Resources, Robot, UeCommand, UeConfig};

use super::world::World;
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "ue::a_call_with_preconditions_takes_every_step",
            &["Q-PRE-010", "Q-PRE-020", "Q-PRE-030", "U-SES-030", "T-UA-020"],
            preconditions,
        ),
        case("ue::a_caller_with_resources_needs_no_update", &["Q-PRE-040"], reserved),
        case("ue::a_callee_without_preconditions_gets_no_update", &["Q-PRE-070"], mixed),
        case("ue::a_call_without_preconditions_has_no_trace_of_them", &["Q-PRE-080"], without),
        case("ue::reliability_is_used_where_it_is_wanted", &["Q-REL-010"], when_reliable),
        case("ue::a_183_is_acknowledged_once", &["Q-REL-020"], prack),
        case("ue::without_prack_the_call_is_refused", &["Q-REL-030"], prack_missing),
        case("ue::offers_are_answered_in_their_place", &["Q-REL-040", "V-SDP-060"], offerless),
        case("ue::a_200_is_repeated_until_the_ack", &["T-UA-070"], ack_missing),
        case("ue::a_cancelled_call_ends_with_487", &[], cancelled),
        case("ue::a_failed_reservation_ends_the_call", &["Q-PRE-050"], no_resources),
        case("ue::a_phone_that_rings_says_so_every_minute", &["T-UA-090"], long_ringing),
        case("ue::session_timers_end_dead_calls", &["T-UA-100"], session_timers),
        case("ue::calls_fail_as_the_callee_wants", &["U-SES-100"], refusals),
        case("ue::bye_ends_the_call_at_both_ends", &[], bye),
        case("ue::hold_and_glare_leave_a_session", &[], glare),
    ]
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

fn requires(message: &Message, tag: &str) -> bool {
    message.headers().has_token(HeaderName::Require, tag)
}

fn preconditions() {
    let mut world = World::plain(|_| {});
    world.call(CallOptions::default());
    world.wait_ms(500);

    let invite = world.message("alice", "INVITE");
    for line in [
        "a=curr:qos local none",
        "a=curr:qos remote none",
        "a=des:qos mandatory local sendrecv",
        "a=des:qos optional remote sendrecv",
    ] {
        assert!(body(&invite).contains(line), "{line}");
    }
    assert_eq!(invite.headers().get(HeaderName::Require), None);
    let progress = world.message("bob", "183 INVITE");
    assert!(requires(&progress, "100rel") && requires(&progress, "precondition"));
    for line in [
        "a=curr:qos local none",
        "a=des:qos mandatory local sendrecv",
        "a=des:qos mandatory remote sendrecv",
        "a=conf:qos remote sendrecv",
    ] {
        assert!(body(&progress).contains(line), "{line}");
    }
    let update = world.message("alice", "UPDATE");
    assert!(requires(&update, "precondition"));
    assert!(body(&update).contains("a=curr:qos local sendrecv\r\n"));
    let answer = world.message("bob", "200 UPDATE");
    assert!(body(&answer).contains("a=curr:qos local sendrecv\r\na=curr:qos remote sendrecv\r\n"));
    assert_eq!(
        world.ladder(),
        [
            "alice INVITE",
            "bob 183 INVITE",
            "alice PRACK",
            "bob 200 PRACK",
            "alice UPDATE",
            "bob 200 UPDATE",
            "bob 180 INVITE",
        ]
    );

    world.command("bob", UeCommand::Answer);
    world.wait_ms(500);
    let accepted = world.message("bob", "200 INVITE");
    assert!(body(&accepted).is_empty(), "the answer was given before");
    let contact = accepted.headers().get(HeaderName::Contact).unwrap_or_default().to_owned();
    assert!(contact.contains("+g.3gpp.icsi-ref"), "{contact}");
    assert_eq!(world.ladder(), ["bob 200 INVITE", "alice ACK"]);
    world.command("alice", UeCommand::Hangup);
    world.wait_ms(500);
    let Message::Request(bye) = world.message("alice", "BYE") else { panic!("no request") };
    assert_eq!(bye.headers.get(HeaderName::CSeq), Some("4 BYE"), "after PRACK and UPDATE");
    assert_eq!(bye.request_uri, "sip:10.0.0.2:5060");
    assert_eq!(
        world.states("bob"),
        ["call incoming", "call ringing", "call established", "call ended"]
    );
    let states = ["call progress", "call ringing", "call established", "call ended"];
    assert_eq!(world.states("alice"), states);
}

fn reserved() {
    let mut world = World::plain(|config| {
        if config.name == "alice" {
            config.resources = Resources::Reserved;
        }
    });
    world.call(CallOptions::default());
    world.wait_ms(500);
    assert!(body(&world.message("alice", "INVITE")).contains("a=curr:qos local sendrecv\r\n"));
    assert_eq!(
        world.ladder(),
        ["alice INVITE", "bob 183 INVITE", "alice PRACK", "bob 200 PRACK", "bob 180 INVITE"]
    );
}

fn mixed() {
    let mut world = World::plain(|config| config.preconditions = config.name == "alice");
    world.call(CallOptions::default());
    world.wait_ms(500);
    assert!(!requires(&world.message("bob", "183 INVITE"), "precondition"));
    world.command("bob", UeCommand::Answer);
    world.wait_ms(500);
    for (_, message) in world.messages().iter().skip(2) {
        let headers = message.headers();
        for name in [HeaderName::Require, HeaderName::Supported] {
            assert!(!headers.has_token(name, "precondition"), "{message:?}");
        }
    }
    assert_eq!(
        world.ladder(),
        [
            "alice INVITE",
            "bob 183 INVITE",
            "alice PRACK",
            "bob 200 PRACK",
            "bob 180 INVITE",
            "bob 200 INVITE",
            "alice ACK",
        ]
    );
}

fn without() {
    let mut world = World::plain(|config| config.preconditions = false);
    world.call(CallOptions::default());
    world.wait_ms(500);
    world.command("bob", UeCommand::Answer);
    world.wait_ms(500);
    for (_, message) in world.messages() {
        assert!(!String::from_utf8_lossy(&message.to_bytes()).contains("precondition"));
        assert!(!body(&message).contains("qos"));
    }
    assert_eq!(
        world.ladder(),
        [
            "alice INVITE",
            "bob 183 INVITE",
            "alice PRACK",
            "bob 200 PRACK",
            "bob 180 INVITE",
            "bob 200 INVITE",
            "alice ACK",
        ]
    );
}

fn when_reliable() {
    // Nobody wants it: never.
    let mut world = World::plain(|config| {
        config.reliable_provisionals = false;
        config.preconditions = false;
    });
    world.call(CallOptions::default());
    world.wait_ms(500);
    assert!(!requires(&world.message("bob", "180 INVITE"), "100rel"));
    assert_eq!(world.ladder(), ["alice INVITE", "bob 180 INVITE"]);

    // Supported, and there is SDP: reliable, RSeq in range.
    let mut world = World::plain(|config| config.preconditions = false);
    world.call(CallOptions::default());
    world.wait_ms(500);
    let progress = world.message("bob", "183 INVITE");
    assert!(requires(&progress, "100rel") && !body(&progress).is_empty());
    assert!(progress.rseq().is_some_and(|rseq| (1..1 << 31).contains(&rseq)));
    assert!(!requires(&world.message("bob", "180 INVITE"), "100rel"), "it has no SDP");
}

fn prack() {
    let mut world = World::plain(|config| config.preconditions = false);
    world.call(CallOptions::default());
    world.wait_ms(500);
    let rseq = world.message("bob", "183 INVITE").rseq().expect("RSeq");
    let prack = world.message("alice", "PRACK");
    assert_eq!(prack.headers().get(HeaderName::RAck), Some(&*format!("{rseq} 1 INVITE")));
    assert_eq!(prack.headers().get(HeaderName::CSeq), Some("2 PRACK"));
    // Repeated on a lossy way back, it is acknowledged once.
    let lossy = NetworkOptions { duplicate: 1000, ..NetworkOptions::default() };
    let mut world = World::new(lossy, |config| config.preconditions = false);
    world.call(CallOptions::default());
    world.wait_ms(400);
    let pracks: std::collections::BTreeSet<String> = world
        .messages()
        .iter()
        .filter(|(_, message)| matches!(message, Message::Request(it) if it.rack().is_ok()))
        .map(|(_, message)| message.headers().get(HeaderName::CSeq).unwrap_or_default().to_owned())
        .collect();
    assert_eq!(pracks.len(), 1);
}

fn prack_missing() {
    let mut world = World::plain(|config| config.mistakes.no_prack = true);
    world.call(CallOptions::default());
    world.command("bob", UeCommand::Answer);
    world.wait(Duration::from_secs(40));
    let ladder = world.ladder();
    let repeated = ladder.iter().filter(|line| *line == "bob 183 INVITE").count();
    assert_eq!(repeated, 7, "{ladder:?}");
    assert!(ladder.contains(&"bob 504 INVITE".to_owned()));
    assert!(!ladder.contains(&"bob 200 INVITE".to_owned()));
    assert_eq!(world.states("alice").last().map(String::as_str), Some("call failed 504"));
}

fn offerless() {
    let mut world = World::plain(|config| config.preconditions = false);
    world.call(CallOptions { offerless: true, ..CallOptions::default() });
    world.wait_ms(500);
    assert!(body(&world.message("alice", "INVITE")).is_empty());
    assert!(body(&world.message("bob", "183 INVITE")).contains("m=audio"));
    assert!(body(&world.message("alice", "PRACK")).contains("m=audio"));
    world.command("bob", UeCommand::Answer);
    world.wait_ms(500);
    assert!(body(&world.message("bob", "200 INVITE")).is_empty());
    assert!(body(&world.message("alice", "ACK")).is_empty());

    let mut world = World::plain(|config| {
        config.preconditions = false;
        config.reliable_provisionals = false;
        config.robot = Robot::Echo;
    });
    world.call(CallOptions { offerless: true, ..CallOptions::default() });
    world.wait_ms(500);
    assert!(body(&world.message("bob", "200 INVITE")).contains("m=audio"));
    assert!(body(&world.message("alice", "ACK")).contains("m=audio"));
    assert_eq!(world.states("bob").last().map(String::as_str), Some("call established"));
}

fn ack_missing() {
    let mut world = World::plain(|config| {
        config.mistakes.no_ack = true;
        config.robot = Robot::Echo;
    });
    world.call(CallOptions::default());
    world.wait(Duration::from_secs(40));
    let times: Vec<u64> = world
        .lab
        .trace()
        .iter()
        .filter_map(|event| match &event.kind {
            TraceKind::Sent(wire) if wire.bytes.starts_with(b"SIP/2.0 200 OK\r\n") => {
                let text = String::from_utf8_lossy(&wire.bytes).into_owned();
                text.contains(" INVITE\r\n").then_some(event.at.as_nanos() / 1_000_000)
            }
            _ => None,
        })
        .collect();
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [500, 1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000, 4000]);
    assert!(world.ladder().contains(&"bob BYE".to_owned()));
    assert_eq!(world.states("bob").last().map(String::as_str), Some("call ended"));
}

fn cancelled() {
    let mut world = World::plain(|config| config.preconditions = false);
    world.call(CallOptions::default());
    world.wait_ms(500);
    world.ladder();
    world.command("alice", UeCommand::Cancel);
    world.wait_ms(500);
    assert_eq!(world.ladder(), ["alice CANCEL", "bob 200 CANCEL", "bob 487 INVITE", "alice ACK"]);
    assert_eq!(world.states("alice").last().map(String::as_str), Some("call failed 487"));
    assert_eq!(world.states("bob").last().map(String::as_str), Some("call ended"));
}

fn no_resources() {
    let fail = Resources::Fail(Duration::from_millis(50));
    for (who, state) in [("bob", "call failed 580"), ("alice", "call failed 487")] {
        let mut world = World::plain(|config| {
            if config.name == who {
                config.resources = fail;
            }
        });
        world.call(CallOptions::default());
        world.wait_ms(500);
        if who == "bob" {
            let failure = body(&world.message("bob", "580 INVITE"));
            assert!(failure.contains("m=audio 0 RTP/AVP"), "{failure}");
            assert!(failure.contains("a=des:qos failure local sendrecv"), "{failure}");
        }
        assert_eq!(world.states("alice").last().map(String::as_str), Some(state));
        assert_eq!(world.states("bob").last().map(String::as_str), Some("call ended"));
    }
}

fn long_ringing() {
    let mut world = World::plain(|config| config.preconditions = false);
    world.call(CallOptions::default());
    world.wait(Duration::from_secs(200));
    let ringing = world.ladder().iter().filter(|line| *line == "bob 180 INVITE").count();
    assert_eq!(ringing, 4);
    world.command("bob", UeCommand::Answer);
    world.wait_ms(500);
    assert_eq!(world.states("alice").last().map(String::as_str), Some("call established"));
}

fn session_timers() {
    // Too short for the callee: 422 with Min-SE, then longer.
    let interval = |config: &mut UeConfig, seconds, least| {
        config.preconditions = false;
        config.reliable_provisionals = false;
        config.robot = Robot::Echo;
        if config.name == "alice" {
            config.session_timer.interval = Some(Duration::from_secs(seconds));
        } else {
            config.session_timer.min_se = Duration::from_secs(least);
        }
    };
    let mut world = World::plain(|config| interval(config, 100, 600));
    world.call(CallOptions::default());
    world.wait_ms(500);
    let refusal = world.message("bob", "422 INVITE");
    assert_eq!(refusal.headers().get(HeaderName::MinSe), Some("600"));
    let accepted = world.message("bob", "200 INVITE");
    assert_eq!(accepted.headers().get(HeaderName::SessionExpires), Some("600;refresher=uac"));
    assert!(requires(&accepted, "timer"));
    world.ladder();
    // Refreshed at half the interval by UPDATE.
    world.wait(Duration::from_secs(310));
    assert_eq!(world.ladder(), ["alice UPDATE", "bob 200 UPDATE"]);
    // When the refresher is gone, the other end says BYE in time.
    assert!(world.lab.crash("alice"));
    world.wait(Duration::from_secs(555));
    assert_eq!(world.ladder(), [""; 0]);
    world.wait(Duration::from_secs(20));
    assert!(world.ladder().contains(&"bob BYE".to_owned()));
}

fn refusals() {
    for (robot, state) in
        [(Robot::Busy, "call failed 486"), (Robot::Rejects(603), "call failed 603")]
    {
        let mut world = World::plain(|config| config.robot = robot);
        world.call(CallOptions::default());
        world.wait_ms(500);
        assert_eq!(world.states("alice"), [state]);
    }
    let mut world = World::plain(|config| config.robot = Robot::Rings);
    world.call(CallOptions::default());
    world.wait_ms(500);
    world.command("alice", UeCommand::Cancel);
    world.wait_ms(500);
    assert_eq!(world.states("alice").last().map(String::as_str), Some("call failed 487"));
    let mut world = World::plain(|_| {});
    world.call(CallOptions::default());
    world.wait_ms(500);
    world.command("bob", UeCommand::Reject { status: 480 });
    world.wait_ms(500);
    assert_eq!(world.states("alice").last().map(String::as_str), Some("call failed 480"));
}

fn established(change: impl Fn(&mut UeConfig)) -> World {
    let mut world = World::plain(|config| {
        config.preconditions = false;
        config.robot = Robot::Answers { after: Duration::from_secs(2) };
        change(config);
    });
    world.call(CallOptions::default());
    world.wait_ms(2500);
    assert_eq!(world.states("bob").last().map(String::as_str), Some("call established"));
    world.ladder();
    world
}

fn bye() {
    let mut world = established(|_| {});
    world.command("bob", UeCommand::Hangup);
    world.wait_ms(500);
    assert_eq!(world.ladder(), ["bob BYE", "alice 200 BYE"]);
    for who in ["alice", "bob"] {
        assert_eq!(world.states(who).last().map(String::as_str), Some("call ended"));
    }
    // The INVITE that is still pending ends with 487 when the caller says BYE: the session's own
    // tests; a BYE for a dialog nobody knows gets 481: `requests_of_unknown_dialogs_get_481`.
}

fn glare() {
    let mut world = established(|_| {});
    world.command("alice", UeCommand::Hold);
    world.command("bob", UeCommand::Hold);
    world.wait_ms(5000);
    let ladder = world.ladder();
    let refused = ladder.iter().filter(|line| line.ends_with("491 INVITE")).count();
    assert_eq!(refused, 2, "{ladder:?}");
    // The callee does not own the Call-ID, so it comes first.
    assert_eq!(
        ladder[ladder.len() - 6..],
        [
            "bob INVITE",
            "alice 200 INVITE",
            "bob ACK",
            "alice INVITE",
            "bob 200 INVITE",
            "alice ACK"
        ]
    );
    world.command("alice", UeCommand::Hangup);
    world.wait_ms(500);
    assert_eq!(world.ladder(), ["alice BYE", "bob 200 BYE"]);
}
