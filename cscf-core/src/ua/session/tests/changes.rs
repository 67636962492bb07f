//! Changes of a session that is up: hold, glare, UPDATE, session timers.

use super::*;

#[test]
fn hold_and_resume_go_by_reinvite() {
    let mut world = up(plain(1), plain(2));
    world.step(0, |session, turn| session.hold(turn, true));
    world.step(0, |session, turn| session.hold(turn, false));
    assert_eq!(
        world.take(),
        [
            "a INVITE sendonly sdp",
            "b 200 INVITE recvonly sdp",
            "a ACK",
            "a INVITE sdp",
            "b 200 INVITE sdp",
            "a ACK",
        ]
    );
    for event in ["a Held", "a Resumed", "b HeldByPeer"] {
        assert!(world.events.iter().any(|it| it == event), "{event}");
    }
}

#[test]
fn reinvites_that_cross_are_refused_and_tried_again_by_both() {
    let mut world = up(plain(1), plain(2));
    // Both send before either receives.
    let now = world.now;
    for at in [0, 1] {
        let end = &mut world.ends[at];
        let mut out = Vec::new();
        let mut turn = Turn { now, ids: &mut end.ids, tracing: true, out: &mut out };
        end.session.as_mut().expect("a session").hold(&mut turn, true);
        world.perform(at, out);
    }
    world.run();
    let ladder = world.take();
    let refused = ladder.iter().filter(|line| line.ends_with("491 INVITE")).count();
    assert_eq!(refused, 2, "{ladder:?}");
    world.wait_ms(5000);
    let ladder = world.take();
    // The callee does not own the Call-ID, so it comes first.
    assert_eq!(
        ladder,
        [
            "b INVITE sendonly sdp",
            "a 200 INVITE inactive sdp",
            "b ACK",
            "a INVITE inactive sdp",
            "b 200 INVITE inactive sdp",
            "a ACK",
        ]
    );
}

#[test]
fn updates_at_the_wrong_time_are_refused() {
    let update = |world: &mut World, at: usize| {
        let leg = &mut world.ends[1 - at].session.as_mut().expect("a session").legs[0];
        let mut update = leg.dialog.request(Method::Update);
        update.set_body("application/sdp", leg.media.offer());
        world.contexts.push((1 - at, RequestId(9999)));
        let context = world.contexts.len() - 1;
        world.post(at, Wire::Request(context, Box::new(update)));
        world.run();
        world.take().pop().unwrap_or_default()
    };
    // Our own offer is open: 491.
    let mut world = up(plain(1), plain(2));
    let exchange = &mut world.ends[1].session.as_mut().expect("a session").legs[0].exchange;
    assert!(exchange.send_offer(crate::ua::offer::Carrier::Update));
    assert_eq!(update(&mut world, 1), "b 491 UPDATE");
    // An earlier offer is not answered: 500.
    let mut world = World::new(plain(1), plain(2));
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    let first = world.ends[0].session.as_mut().expect("a session").legs.first_mut().is_some();
    assert!(first, "a 180 with a tag makes an early dialog");
    assert_eq!(update(&mut world, 1), "b 500 UPDATE");
    // Otherwise it is answered.
    let mut world = up(plain(1), plain(2));
    assert_eq!(update(&mut world, 1), "b 200 UPDATE sdp");
}

#[test]
fn an_offer_nobody_can_take_is_refused_with_a_warning_and_the_capabilities() {
    let mut callee = plain(2);
    callee.media.codecs = vec![Codec { payload: 0, name: "PCMU", clock_rate: 8000, fmtp: "" }];
    let mut world = World::new(plain(1), callee);
    world.call(false);
    assert_eq!(world.take(), ["a INVITE sdp", "b 488 INVITE sdp"]);
    assert!(world.events.contains(&"a Failed".to_owned()));
}

#[test]
fn the_refresher_refreshes_at_half_the_interval_by_update() {
    let timer = TimerPolicy { interval: Some(Duration::from_secs(1800)), ..TimerPolicy::default() };
    let mut world = up(SessionSettings { timer, ..plain(1) }, plain(2));
    world.wait(Instant::from_secs(2000));
    assert_eq!(world.take(), ["a UPDATE", "b 200 UPDATE", "a UPDATE", "b 200 UPDATE"]);
    assert_eq!(world.phase(1), SessionPhase::Talking);
}

#[test]
fn a_session_nobody_refreshes_is_ended() {
    let timer = TimerPolicy { interval: Some(Duration::from_secs(90)), ..TimerPolicy::default() };
    let mut world = up(SessionSettings { timer, ..plain(1) }, plain(2));
    world.lost = "UPDATE";
    world.wait(Instant::from_secs(100));
    assert!(world.take().contains(&"b BYE".to_owned()));
    assert_eq!(world.phase(0), SessionPhase::Over);
}

#[test]
fn an_interval_too_small_is_answered_422_and_tried_again_longer() {
    let timer = TimerPolicy { interval: Some(Duration::from_secs(120)), ..TimerPolicy::default() };
    let slow = TimerPolicy { interval: None, min_se: Duration::from_secs(600) };
    let mut world = World::new(
        SessionSettings { timer, ..plain(1) },
        SessionSettings { timer: slow, ..plain(2) },
    );
    world.call(false);
    let ladder = world.take();
    assert_eq!(ladder[1..], ["b 422 INVITE", "a INVITE sdp"]);
    world.step(1, |session, turn| session.answer(turn));
    assert_eq!(world.take(), ["b 200 INVITE sdp", "a ACK"]);
}
