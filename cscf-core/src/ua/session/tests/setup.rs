//! How calls come up, and how they do not.

use super::*;

#[test]
fn a_call_with_preconditions_goes_as_in_the_canonical_flow() {
    let mut world = World::new(settings(50_000), settings(60_000));
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    world.wait_ms(200);
    world.step(1, |session, turn| session.answer(turn));
    world.step(0, |session, turn| session.hang_up(turn));
    assert_eq!(
        world.take(),
        [
            "a INVITE local=none remote=none",
            "b 183 INVITE rel pre local=none remote=none conf",
            "a PRACK",
            "b 200 PRACK",
            "a UPDATE pre local=sendrecv remote=none",
            "b 200 UPDATE local=none remote=sendrecv",
            "b 180 INVITE",
            "b 200 INVITE",
            "a ACK",
            "a BYE",
            "b 200 BYE",
        ]
    );
    let expected = [
        "a Progress",
        "a Ringing",
        "b Ringing",
        "a Established",
        "b Established",
        "b Ended",
        "a Ended",
    ];
    let mut events = world.events.clone();
    let mut expected: Vec<String> = expected.iter().map(|it| (*it).to_owned()).collect();
    events.sort();
    expected.sort();
    assert_eq!(events, expected);
}

#[test]
fn the_callee_answers_the_update_with_its_own_resources_when_it_has_them() {
    let slow = ResourcePolicy::After(Duration::from_millis(150));
    let mut world = World::new(SessionSettings { resources: slow, ..settings(1) }, settings(2));
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    world.wait_ms(200);
    let ladder = world.take();
    assert_eq!(ladder[5..], ["b 200 UPDATE local=sendrecv remote=sendrecv", "b 180 INVITE"]);
}

#[test]
fn a_caller_with_resources_sends_no_update() {
    let caller = SessionSettings { resources: ResourcePolicy::Reserved, ..settings(1) };
    let mut world = World::new(caller.clone(), settings(2));
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    world.wait_ms(200);
    assert_eq!(
        world.take(),
        [
            "a INVITE local=sendrecv remote=none",
            "b 183 INVITE rel pre local=none remote=sendrecv",
            "a PRACK",
            "b 200 PRACK",
            "b 180 INVITE",
        ]
    );

    let callee = SessionSettings { resources: ResourcePolicy::Reserved, ..settings(2) };
    let mut world = World::new(caller, callee);
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    let ladder = world.take();
    assert_eq!(ladder[1], "b 180 INVITE rel local=sendrecv remote=sendrecv");
}

#[test]
fn a_callee_without_preconditions_is_called_without_update() {
    let callee = SessionSettings { preconditions: false, ..settings(2) };
    let mut world = World::new(settings(1), callee);
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    world.wait_ms(500);
    world.step(1, |session, turn| session.answer(turn));
    assert_eq!(
        world.take(),
        [
            "a INVITE local=none remote=none",
            "b 183 INVITE rel sdp",
            "a PRACK",
            "b 200 PRACK",
            "b 180 INVITE",
            "b 200 INVITE",
            "a ACK",
        ]
    );
}

#[test]
fn a_call_without_any_extension_answers_in_the_200() {
    let mut world = World::new(plain(1), plain(2));
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    world.step(1, |session, turn| session.answer(turn));
    assert_eq!(world.take(), ["a INVITE sdp", "b 180 INVITE", "b 200 INVITE sdp", "a ACK"]);
}

#[test]
fn a_call_without_offer_is_answered_in_prack_or_ack() {
    let reliable = |port| SessionSettings { preconditions: false, ..settings(port) };
    let mut world = World::new(reliable(1), reliable(2));
    world.call(true);
    world.step(1, |session, turn| session.answer(turn));
    assert_eq!(
        world.take(),
        ["a INVITE", "b 183 INVITE rel sdp", "a PRACK sdp", "b 200 PRACK", "b 200 INVITE", "a ACK",]
    );

    let mut world = World::new(plain(1), plain(2));
    world.call(true);
    world.step(1, |session, turn| session.answer(turn));
    assert_eq!(world.take(), ["a INVITE", "b 200 INVITE sdp", "a ACK sdp"]);
    assert_eq!(world.phase(1), SessionPhase::Talking);
}

#[test]
fn without_prack_the_183_is_repeated_and_the_call_refused_after_32_s() {
    let mut world = World::new(SessionSettings { skip_prack: true, ..settings(1) }, settings(2));
    world.call(false);
    world.step(1, |session, turn| session.answer(turn));
    world.wait(Instant::from_secs(40));
    let ladder = world.take();
    let repeated = ladder.iter().filter(|line| line.starts_with("b 183")).count();
    assert_eq!((repeated, ladder.last().map(String::as_str)), (7, Some("b 504 INVITE")));
    assert!(world.events.contains(&"a Failed".to_owned()), "{:?}", world.events);
}

#[test]
fn without_ack_the_200_is_repeated_and_the_call_ended_by_bye() {
    let mut world = World::new(SessionSettings { skip_ack: true, ..plain(1) }, plain(2));
    world.call(false);
    world.step(1, |session, turn| session.answer(turn));
    world.wait(Instant::from_secs(33));
    let ladder = world.take();
    let repeated = ladder.iter().filter(|line| line.starts_with("b 200 INVITE")).count();
    assert_eq!(repeated, 11);
    assert_eq!(ladder[ladder.len() - 2..], ["b BYE", "a 200 BYE"]);
}

#[test]
fn a_repeated_200_is_acknowledged_again() {
    let mut world = World::new(plain(1), plain(2));
    world.lost = "ACK";
    world.call(false);
    world.step(1, |session, turn| session.answer(turn));
    world.lost = "-";
    world.wait_ms(500);
    world.wait_ms(5000);
    assert_eq!(world.take()[1..], ["b 200 INVITE sdp", "a ACK", "b 200 INVITE sdp", "a ACK"]);
    let established = world.events.iter().filter(|event| event.ends_with("Established")).count();
    assert_eq!(established, 2, "once at each end");
}

#[test]
fn a_cancelled_call_is_answered_487() {
    let mut world = World::new(settings(1), settings(2));
    world.call(false);
    world.step(0, |session, turn| session.cancel(turn));
    let ladder = world.take();
    assert_eq!(ladder[ladder.len() - 2..], ["a CANCEL", "b 487 INVITE"]);
    assert_eq!((world.phase(0), world.phase(1)), (SessionPhase::Over, SessionPhase::Over));
}

#[test]
fn a_200_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut world = World::new(plain(1), plain(2));
    world.call(false);
    world.ends[0].session.as_mut().expect("a session").cancelled = true;
    world.step(1, |session, turn| session.answer(turn));
    let ladder = world.take();
    assert_eq!(ladder[2..], ["a ACK", "a BYE", "b 200 BYE"]);
}

#[test]
fn the_callee_waits_for_the_ack_before_it_hangs_up() {
    let mut world = World::new(plain(1), plain(2));
    world.lost = "ACK";
    world.call(false);
    world.step(1, |session, turn| session.answer(turn));
    world.step(1, |session, turn| session.hang_up(turn));
    world.lost = "-";
    assert_eq!(world.take().last().map(String::as_str), Some("a ACK"));
    world.wait_ms(500);
    let ladder = world.take();
    assert_eq!(ladder, ["b 200 INVITE sdp", "a ACK", "b BYE", "a 200 BYE"]);
}

#[test]
fn an_early_bye_of_the_caller_ends_the_invite_with_487() {
    let mut world = World::new(settings(1), settings(2));
    world.call(false);
    world.take();
    world.step(0, |session, turn| {
        let id = session.legs[0].dialog.id.clone();
        session.bye_leg(turn, &id);
    });
    assert_eq!(world.take(), ["a BYE", "b 200 BYE", "b 487 INVITE"]);
}

#[test]
fn a_200_that_overtakes_the_answer_to_an_update_brings_the_call_up() {
    let mut world = World::new(settings(1), settings(2));
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    world.lost = "200 UPDATE";
    world.wait_ms(200);
    world.take();
    world.step(1, |session, turn| session.answer(turn));
    assert_eq!(world.take(), ["b 200 INVITE", "a ACK"]);
    assert_eq!((world.phase(0), world.phase(1)), (SessionPhase::Talking, SessionPhase::Talking));
}

#[test]
fn a_phone_that_rings_for_long_says_so_every_minute() {
    let mut world = World::new(plain(1), plain(2));
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    world.take();
    world.wait(Instant::from_secs(150));
    assert_eq!(world.take(), ["b 180 INVITE", "b 180 INVITE"]);
    world.step(1, |session, turn| session.answer(turn));
    world.take();
    world.wait(Instant::from_secs(400));
    assert_eq!(world.take(), [""; 0]);
}

#[test]
fn a_reservation_that_fails_ends_the_call() {
    let fails = ResourcePolicy::Fails(Duration::from_millis(50));
    let mut world = World::new(settings(1), SessionSettings { resources: fails, ..settings(2) });
    world.call(false);
    world.wait_ms(200);
    let ladder = world.take();
    assert_eq!(ladder.last().map(String::as_str), Some("b 580 INVITE local=none remote=none conf"));

    let mut world = World::new(SessionSettings { resources: fails, ..settings(1) }, settings(2));
    world.call(false);
    world.wait_ms(200);
    let ladder = world.take();
    assert_eq!(ladder[ladder.len() - 2..], ["a CANCEL", "b 487 INVITE"]);
}
