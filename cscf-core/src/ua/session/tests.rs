//! Two sessions, or one and a script, over a wire without proxies: each test compares the ladder.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::ids::{Seed, ShardId};
use crate::sip::{Message, Method, parse};
use crate::ua::media::Codec;

const ABILITIES: Abilities<'static> = Abilities {
    methods: &[Method::Invite, Method::Ack, Method::Bye, Method::Prack, Method::Update],
    schemes: &["sip"],
    extensions: &["100rel", "precondition", "timer"],
    content_types: &["application/sdp"],
    answer_type: "application/sdp",
};

fn settings(port: u16) -> SessionSettings {
    let codec = |payload, name, clock_rate| Codec { payload, name, clock_rate, fmtp: "" };
    SessionSettings {
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        contact: format!("<sip:10.0.0.1:{port}>"),
        abilities: ABILITIES,
        reliable: true,
        preconditions: true,
        resources: ResourcePolicy::After(Duration::from_millis(100)),
        timer: TimerPolicy::default(),
        media: MediaPlan {
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            port,
            session_id: u64::from(port),
            codecs: vec![codec(97, "AMR-WB", 16_000), codec(98, "AMR", 8000)],
            bandwidth_as: 49,
            bandwidth_rtcp: None,
            packet_times: None,
        },
        skip_ack: false,
        skip_prack: false,
    }
}

fn plain(port: u16) -> SessionSettings {
    SessionSettings { preconditions: false, reliable: false, ..settings(port) }
}

fn invite() -> Request {
    let mut request = Request::new(Method::Invite, "sip:b@ims.example");
    for (name, value) in [
        (HeaderName::Via, "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1"),
        (HeaderName::From, "<sip:a@ims.example>;tag=a1"),
        (HeaderName::To, "<sip:b@ims.example>"),
        (HeaderName::CallId, "call1"),
        (HeaderName::CSeq, "1 INVITE"),
    ] {
        request.headers.push(name, value);
    }
    request
}

/// What is short-written of a message: its method or status, options that matter, and its SDP.
fn label(message: &Message) -> String {
    let (mut text, headers) = match message {
        Message::Request(request) => (request.method.to_string(), &request.headers),
        Message::Response(response) => {
            let of = response.cseq().map(|cseq| cseq.method.to_string()).unwrap_or_default();
            (format!("{} {of}", response.status), &response.headers)
        }
    };
    for (tag, short) in [("100rel", "rel"), ("precondition", "pre")] {
        if headers.has_token(HeaderName::Require, tag) {
            text = format!("{text} {short}");
        }
    }
    let body = String::from_utf8_lossy(message.body()).into_owned();
    for line in body.lines() {
        for (start, short) in [("a=curr:qos local ", "local="), ("a=curr:qos remote ", "remote=")] {
            if let Some(value) = line.strip_prefix(start) {
                text = format!("{text} {short}{value}");
            }
        }
        if line == "a=conf:qos remote sendrecv" {
            text.push_str(" conf");
        }
        if ["a=sendonly", "a=recvonly", "a=inactive"].contains(&line) {
            text = format!("{text} {}", &line[2..]);
        }
    }
    if !body.is_empty() && !body.contains("qos") {
        text.push_str(" sdp");
    }
    text
}

struct End {
    name: char,
    ids: Ids,
    settings: SessionSettings,
    session: Option<Session<usize>>,
}

struct World {
    now: Instant,
    ends: [End; 2],
    queue: VecDeque<(usize, Wire)>,
    /// Server transactions: which request of which end.
    contexts: Vec<(usize, RequestId)>,
    ladder: Vec<String>,
    events: Vec<String>,
    /// Messages with this label are lost.
    lost: &'static str,
}

enum Wire {
    Request(usize, Box<Request>),
    Response(RequestId, Box<Response>),
    Cancel,
}

impl World {
    fn new(caller: SessionSettings, callee: SessionSettings) -> Self {
        let end = |name, settings| End {
            name,
            ids: Ids::new(Seed::derive(1, &String::from(name)), ShardId(0)),
            settings,
            session: None,
        };
        Self {
            now: Instant::EPOCH,
            ends: [end('a', caller), end('b', callee)],
            queue: VecDeque::new(),
            contexts: Vec::new(),
            ladder: Vec::new(),
            events: Vec::new(),
            lost: "-",
        }
    }

    fn call(&mut self, offerless: bool) {
        let now = self.now;
        let end = &mut self.ends[0];
        let mut out = Vec::new();
        let mut turn = Turn { now, ids: &mut end.ids, tracing: true, out: &mut out };
        end.session = Some(Session::call(&mut turn, end.settings.clone(), invite(), offerless));
        self.perform(0, out);
        self.run();
    }

    fn step(&mut self, at: usize, step: impl FnOnce(&mut Session<usize>, &mut Turn<'_, usize>)) {
        let now = self.now;
        let end = &mut self.ends[at];
        let mut out = Vec::new();
        let mut turn = Turn { now, ids: &mut end.ids, tracing: true, out: &mut out };
        step(end.session.as_mut().expect("a session"), &mut turn);
        self.perform(at, out);
        self.run();
    }

    fn perform(&mut self, from: usize, out: Vec<Effect<usize>>) {
        let to = 1 - from;
        for effect in out {
            match effect {
                Effect::Ack(request) => self.post(to, Wire::Request(usize::MAX, request)),
                Effect::Cancel(_) => {
                    self.ladder.push(format!("{} CANCEL", self.ends[from].name));
                    self.queue.push_back((to, Wire::Cancel));
                }
                Effect::Event(event) => {
                    let text = format!("{event:?}");
                    let text = text.split(['{', '(']).next().unwrap_or_default().trim();
                    self.events.push(format!("{} {text}", self.ends[from].name));
                }
                Effect::Note(_) => {}
                Effect::Request(id, request) => {
                    self.contexts.push((from, id));
                    self.post(to, Wire::Request(self.contexts.len() - 1, request));
                }
                Effect::Respond(context, response) => {
                    let (origin, id) = self.contexts[context];
                    self.post(origin, Wire::Response(id, response));
                }
            }
        }
    }

    fn post(&mut self, to: usize, wire: Wire) {
        let message = match &wire {
            Wire::Request(_, request) => Message::Request((**request).clone()),
            Wire::Response(_, response) => Message::Response((**response).clone()),
            Wire::Cancel => return,
        };
        // What travels is bytes.
        let message = parse(&message.to_bytes()).expect("our own message parses");
        let label = label(&message);
        self.ladder.push(format!("{} {label}", self.ends[1 - to].name));
        if label.starts_with(self.lost) {
            return;
        }
        self.queue.push_back((to, wire));
    }

    fn run(&mut self) {
        while let Some((at, wire)) = self.queue.pop_front() {
            let now = self.now;
            let end = &mut self.ends[at];
            let mut out = Vec::new();
            let mut turn = Turn { now, ids: &mut end.ids, tracing: true, out: &mut out };
            match (wire, &mut end.session) {
                (Wire::Request(context, request), Some(session)) if request.to_tag().is_some() => {
                    session.on_request(&mut turn, context, &request);
                }
                (Wire::Request(context, request), _) => {
                    let settings = end.settings.clone();
                    end.session = Some(Session::called(&mut turn, settings, context, &request));
                }
                (Wire::Response(id, response), Some(session)) => {
                    session.on_response(&mut turn, id, &response);
                }
                (Wire::Cancel, Some(session)) => session.cancelled(&mut turn),
                (Wire::Response(..) | Wire::Cancel, None) => {}
            }
            self.perform(at, out);
        }
    }

    /// Lets time pass until `until`.
    fn wait(&mut self, until: Instant) {
        loop {
            let due = |end: &End| end.session.as_ref().and_then(Session::poll_timeout);
            let next = [due(&self.ends[0]), due(&self.ends[1])];
            let Some(at) = next.iter().flatten().min().copied().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = at;
            let who = usize::from(next[0] != Some(at));
            self.step(who, |session, turn| session.handle_timeout(turn));
        }
    }

    fn wait_ms(&mut self, span: u64) {
        self.wait(self.now + Duration::from_millis(span));
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ladder)
    }

    fn phase(&self, at: usize) -> SessionPhase {
        self.ends[at].session.as_ref().expect("a session").phase()
    }
}

fn up(caller: SessionSettings, callee: SessionSettings) -> World {
    let mut world = World::new(caller, callee);
    world.call(false);
    world.step(1, |session, turn| session.ring(turn));
    world.wait_ms(200);
    world.step(1, |session, turn| session.answer(turn));
    assert_eq!((world.phase(0), world.phase(1)), (SessionPhase::Talking, SessionPhase::Talking));
    world.take();
    world
}

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
