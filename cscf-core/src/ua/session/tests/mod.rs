//! Two sessions, or one and a script, over a wire without proxies: each test compares the ladder.

mod alone;
mod changes;
mod setup;

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
            video: None,
            all_codecs: false,
        },
        skip_ack: false,
        skip_prack: false,
        habits: Habits::default(),
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
                Effect::Note(_) | Effect::Asked(..) => {}
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
