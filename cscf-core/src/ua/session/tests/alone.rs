//! One session against a script: forks, late and broken messages.

use super::*;

/// A response of a script to the caller's INVITE.
fn scripted(status: u16, tag: &str, lines: &[(HeaderName, &str)], sdp: Option<&str>) -> Response {
    let mut response = invite().reply(status);
    response.set_to_tag(tag);
    let contact = format!("<sip:{tag}@10.0.0.9>");
    response.headers.push(HeaderName::Contact, &contact);
    for (name, value) in lines {
        response.headers.push(*name, value);
    }
    if let Some(sdp) = sdp {
        response.set_body("application/sdp", sdp.to_owned());
    }
    response
}

const ANSWER: &str = "v=0\r\no=- 9 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
                      m=audio 7000 RTP/AVP 97\r\na=rtpmap:97 AMR-WB/16000\r\n";

fn caller_alone() -> World {
    let mut world =
        World::new(SessionSettings { preconditions: false, ..settings(1) }, settings(2));
    // The callee is the script.
    world.lost = "";
    world.call(false);
    world.take();
    world
}

fn respond(world: &mut World, response: &Response) -> Vec<String> {
    world.step(0, |session, turn| session.on_response(turn, RequestId(1), response));
    world.take()
}

#[test]
fn each_fork_gets_its_prack_and_the_second_2xx_its_bye() {
    let mut world = caller_alone();
    let reliable = |rseq| [(HeaderName::Require, "100rel"), (HeaderName::RSeq, rseq)];
    assert_eq!(respond(&mut world, &scripted(183, "x", &reliable("5"), Some(ANSWER))), ["a PRACK"]);
    assert_eq!(respond(&mut world, &scripted(183, "y", &reliable("5"), Some(ANSWER))), ["a PRACK"]);
    assert_eq!(respond(&mut world, &scripted(183, "x", &reliable("5"), Some(ANSWER))), [""; 0]);
    assert_eq!(respond(&mut world, &scripted(180, "x", &reliable("7"), None)), [""; 0], "a gap");
    assert_eq!(respond(&mut world, &scripted(180, "x", &reliable("6"), None)), ["a PRACK"]);

    assert_eq!(respond(&mut world, &scripted(200, "y", &[], None)), ["a ACK"]);
    assert_eq!(respond(&mut world, &scripted(200, "y", &[], None)), ["a ACK"], "repeated");
    assert_eq!(respond(&mut world, &scripted(200, "x", &[], Some(ANSWER))), ["a ACK", "a BYE"]);
    assert_eq!(world.phase(0), SessionPhase::Talking);
}

#[test]
fn a_200_without_an_answer_is_acknowledged_and_ended() {
    let mut world = caller_alone();
    assert_eq!(respond(&mut world, &scripted(200, "x", &[], None)), ["a ACK", "a BYE"]);
    assert_eq!(world.phase(0), SessionPhase::Over);
}

#[test]
fn a_request_out_of_order_gets_500_and_one_for_a_dead_session_481() {
    let mut world = up(plain(1), plain(2));
    let send = |world: &mut World, number: u32, method: Method| {
        let leg = &mut world.ends[0].session.as_mut().expect("a session").legs[0];
        let mut request = leg.dialog.request(method);
        let cseq = format!("{number} {}", request.method);
        request.headers.set(HeaderName::CSeq, &cseq);
        world.contexts.push((0, RequestId(9999)));
        let context = world.contexts.len() - 1;
        world.post(1, Wire::Request(context, Box::new(request)));
        world.run();
        world.take().pop().unwrap_or_default()
    };
    assert_eq!(send(&mut world, 1, Method::Info), "b 500 INFO");
    assert_eq!(send(&mut world, 50, Method::Info), "b 200 INFO");
    assert_eq!(send(&mut world, 51, Method::Bye), "b 200 BYE");
    assert_eq!(send(&mut world, 52, Method::Info), "b 481 INFO");
}

#[test]
fn an_over_session_is_forgotten_in_the_end() {
    let mut world = up(plain(1), plain(2));
    world.step(0, |session, turn| session.hang_up(turn));
    world.wait(Instant::from_secs(60));
    for end in &world.ends {
        let session = end.session.as_ref().expect("a session");
        assert!(session.is_gone() && session.poll_timeout().is_none(), "{}", end.name);
    }
}
