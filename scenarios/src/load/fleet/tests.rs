//! The fleet in virtual time, against a core of a few lines: it challenges, forwards with Via and
//! Record-Route, and loses or refuses what a test says.

use std::fmt::Write as _;

use super::*;
use crate::load::people::{Range as Identities, Secret};
use crate::load::results::Latency;
use cscf_core::auth::{AkaKeys, Algorithm, AuthVector, Challenge, Credentials, Milenage};

const CORE: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(127, 0, 0, 1), 5060);
const HOP: Duration = Duration::from_millis(1);

fn setup(users: u32) -> Setup {
    let secret = Secret::Card(AkaKeys::Milenage { k: [1; 16], opc: [2; 16] }.functions());
    let range = Identities::new("001010000000001@ims.example").expect("a range");
    Setup {
        people: People::counted(range, secret, users),
        sources: Sources::parse("127.1.1.1:5070").expect("sources"),
        dut: CORE,
        routes: Vec::new(),
        ring: Duration::from_millis(20),
        hold: Duration::from_millis(100),
        t1: Duration::from_millis(500),
        timeout: Duration::from_secs(8),
        expires: 600,
        run: 0xabc,
    }
}

/// What the core does with a message that arrives, by its number from 0.
type Fate = fn(u64, &str) -> Option<u16>;

struct Core {
    fleet: Fleet,
    now: Instant,
    fate: Fate,
    arrived: u64,
    /// What the core has sent and when it arrives.
    on_the_way: Vec<(Instant, Vec<u8>)>,
    /// Everything that UEs have sent.
    said: Vec<(SocketAddrV4, SocketAddrV4, String)>,
}

impl Core {
    fn new(users: u32, fate: Fate) -> Self {
        let fleet = Fleet::new(setup(users), Seed::derive(1, "fleet"));
        let now = Instant::from_millis(1);
        Self { fleet, now, fate, arrived: 0, on_the_way: Vec::new(), said: Vec::new() }
    }

    /// Registers everybody and forgets what was said.
    fn registered(users: u32, fate: Fate) -> Self {
        let mut core = Self::new(users, |_, _| None);
        for _ in 0..users {
            assert!(core.fleet.begin(Work::Register, core.now));
        }
        core.run();
        assert_eq!(core.fleet.registered(), users as usize);
        let _ = core.fleet.take_results();
        core.said.clear();
        (core.fate, core.arrived) = (fate, 0);
        core
    }

    fn begin(&mut self, work: Work) {
        assert!(self.fleet.begin(work, self.now));
    }

    /// Until nothing runs.
    fn run(&mut self) {
        for _ in 0..100_000 {
            let (packets, bytes) = self.fleet.packets();
            let packets: Vec<_> = packets
                .iter()
                .map(|it| (it.ue, it.to, String::from_utf8(bytes[it.at.clone()].to_vec()).unwrap()))
                .collect();
            self.fleet.sent();
            for (ue, to, text) in packets {
                let from = self.fleet.setup().sources.of(ue);
                assert_eq!(to, CORE);
                self.take(from, &text);
                self.said.push((from, to, text));
            }
            let arrival = self.on_the_way.iter().map(|it| it.0).min();
            let next = self.fleet.next().into_iter().chain(arrival).min();
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            let (due, later) =
                std::mem::take(&mut self.on_the_way).into_iter().partition(|it| it.0 <= self.now);
            self.on_the_way = later;
            for (_, bytes) in due {
                self.fleet.receive(&bytes, CORE, self.now);
            }
            self.fleet.expire(self.now);
        }
        assert_eq!(self.fleet.running(), 0);
        assert!(self.fleet.jobs.iter().flatten().all(|job| job.timer.is_none()));
    }

    fn send(&mut self, text: String) {
        self.on_the_way.push((self.now + HOP, text.into_bytes()));
    }

    fn take(&mut self, from: SocketAddrV4, text: &str) {
        let number = self.arrived;
        self.arrived += 1;
        match (self.fate)(number, text) {
            Some(0) => return,
            Some(code) => return self.send(answer(text, code, "")),
            None => {}
        }
        let source = format!("Via: SIP/2.0/UDP {from};");
        if !text.starts_with("SIP/2.0") {
            assert!(text.contains(&source), "{source} in {text}");
        }
        if text.starts_with("REGISTER") {
            return self.registers(text);
        }
        if let Some(rest) = text.strip_prefix("SIP/2.0 ") {
            let own = rest.find("Via: SIP/2.0/UDP 127.0.0.1:5060").expect("the core's Via first");
            let (before, after) = rest.split_at(own);
            let (_, after) = after.split_once("\r\n").expect("a line");
            return self.send(format!("SIP/2.0 {before}{after}"));
        }
        let (line, head) = text.split_once("\r\n").expect("a line");
        let via = "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKcore";
        let recorded = "Record-Route: <sip:127.0.0.1:5060;lr>, <sip:s.example;lr>";
        self.send(format!("{line}\r\n{via}\r\n{recorded}\r\n{head}"));
    }

    fn registers(&mut self, text: &str) {
        let credentials = text.split_once("Authorization: ").expect("credentials").1;
        let credentials = credentials.split_once("\r\n").expect("a line").0;
        let credentials: Credentials = credentials.parse().expect("reads");
        let vector = AuthVector::generate(
            &Milenage::new([1; 16], [2; 16]),
            [9; 16],
            cscf_core::auth::Sqn::from_bytes([0, 0, 0, 0, 1, 0]),
            [0x80, 0],
        );
        if credentials.response().is_none_or(str::is_empty) {
            let nonce = vector.nonce().encode();
            let challenge = Challenge::new("ims.example", &nonce, Algorithm::AKAV1_MD5);
            return self.send(answer(text, 401, &format!("WWW-Authenticate: {challenge}\r\n")));
        }
        let ha1 = credentials.ha1(Algorithm::AKAV1_MD5, vector.xres.as_bytes());
        credentials.verify(&ha1, Algorithm::AKAV1_MD5, "REGISTER", b"").expect("right");
        self.send(answer(text, 200, "Service-Route: <sip:orig@s.example;lr>\r\n"));
    }

    fn said(&self, begin: &str) -> Vec<&str> {
        let texts = self.said.iter().map(|it| it.2.as_str());
        texts.filter(|text| text.starts_with(begin)).collect()
    }
}

fn answer(request: &str, code: u16, more: &str) -> String {
    let mut out = format!("SIP/2.0 {code} X\r\n");
    for line in request.split("\r\n") {
        if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|it| line.starts_with(it)) {
            let _ = write!(out, "{line}\r\n");
        }
    }
    format!("{out}{more}Content-Length: 0\r\n\r\n")
}

fn millis(core: &Core, of: Latency) -> (u64, u128) {
    let latency = core.fleet.results().latency(of);
    (latency.count(), latency.max().as_millis())
}

#[test]
fn everybody_registers_with_the_key_of_its_own_card() {
    let mut core = Core::new(3, |_, _| None);
    for _ in 0..3 {
        core.begin(Work::Register);
    }
    core.run();

    assert_eq!(core.fleet.registered(), 3);
    assert_eq!(core.fleet.results().ok[&Work::Register], 3);
    assert!(core.fleet.results().is_clean());
    assert_eq!(millis(&core, Latency::Register), (3, 1));
    let said = core.said("REGISTER");
    assert_eq!(said.len(), 6);
    assert!(said[1].contains("From: <sip:001010000000002@ims.example>"), "{}", said[1]);
    assert!(said[1].contains("Contact: <sip:u1@127.1.1.2:5070>"), "{}", said[1]);

    // In its Call-ID and with the next CSeq, and gone with expiration 0.
    core.begin(Work::Reregister);
    core.run();
    core.begin(Work::Deregister);
    core.run();
    assert_eq!(core.fleet.registered(), 2);
    let said = core.said("REGISTER");
    assert!(said[6].contains("Call-ID: r0-abc\r\nCSeq: 3 REGISTER"), "{}", said[6]);
    assert!(said[9].contains("expires=0\r\nExpires: 0"), "{}", said[9]);
}

#[test]
fn a_call_goes_by_service_route_and_route_set_and_is_measured_on_both_sides() {
    let mut core = Core::registered(4, |_, _| None);
    core.begin(Work::Call);
    core.begin(Work::Message);
    core.run();

    let results = core.fleet.results();
    assert_eq!((results.ok[&Work::Call], results.ok[&Work::Message]), (1, 1));
    assert!(results.is_clean() && results.unexpected == 0, "{results:?}");
    // Two hops there, two back; the ring time is 20 ms.
    assert_eq!(millis(&core, Latency::Ringing), (1, 2));
    assert_eq!(millis(&core, Latency::Answer), (1, 22));
    assert_eq!(millis(&core, Latency::Bye), (1, 2));
    assert_eq!(millis(&core, Latency::Message), (1, 2));
    let job = core.fleet.jobs.iter().flatten().find(|job| job.work == Some(Work::Call));
    let job = job.expect("its place");
    let kept = [&job.request, &job.to, &job.target, &job.route_set];
    let kept = kept.into_iter().chain([&job.callee.head, &job.callee.answer]);
    let bytes = size_of::<Job>() + kept.map(Vec::capacity).sum::<usize>();
    assert!(bytes < 6_000, "{bytes}");
    let invite = core.said("INVITE")[0];
    assert!(invite.starts_with("INVITE sip:001010000000003@ims.example SIP/2.0"), "{invite}");
    assert!(invite.contains("Route: <sip:127.0.0.1:5060;lr>,<sip:orig@s.example;lr>"), "{invite}");
    let (head, body) = invite.split_once("\r\n\r\n").expect("a body");
    assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
    for method in ["ACK", "BYE"] {
        let text = core.said(method)[0];
        assert!(text.starts_with(&format!("{method} sip:u2@127.1.1.3:5070 SIP/2.0")), "{text}");
        let routes = "Route: <sip:s.example;lr>\r\nRoute: <sip:127.0.0.1:5060;lr>\r\n";
        assert!(text.contains(routes), "{text}");
        assert!(text.contains(";tag=b"), "{text}");
    }
}

#[test]
fn a_request_that_is_lost_is_sent_again_and_counted() {
    // The first INVITE, and of the callee's answers the first 200.
    let mut core = Core::registered(2, |number, text| {
        (number == 0 || number == 3 && text.starts_with("SIP/2.0 200")).then_some(0)
    });
    core.begin(Work::Call);
    core.run();

    let results = core.fleet.results();
    assert_eq!(results.ok[&Work::Call], 1);
    assert_eq!((results.sent_again, results.failed_all()), (2, 0));
    assert!(!results.is_clean());
    let [first, second] = core.said("INVITE")[..] else { panic!("two") };
    assert_eq!(first, second);
    assert_eq!(millis(&core, Latency::Ringing), (1, 502));
}

#[test]
fn who_gets_no_answer_has_waited_its_time_and_who_is_refused_says_the_code() {
    let mut silent = Core::new(1, |_, _| Some(0));
    let begun = silent.now;
    silent.begin(Work::Register);
    silent.run();
    let failed: Vec<_> = silent.fleet.results().failed.keys().map(ToString::to_string).collect();
    assert_eq!(failed, ["REGISTER without answer"]);
    assert_eq!(silent.now.since(begun), Duration::from_secs(8));
    // At 0, 0.5, 1.5 and 3.5 s, and at 7.5 s: never further apart than T2.
    assert_eq!(silent.said("REGISTER").len(), 5);

    let refuses = |_: u64, text: &str| (!text.starts_with("ACK")).then_some(503);
    let mut core = Core::registered(2, refuses);
    core.begin(Work::Call);
    core.begin(Work::Message);
    core.begin(Work::Register);
    core.run();
    let failed: Vec<_> = core.fleet.results().failed.keys().map(ToString::to_string).collect();
    assert_eq!(failed, ["INVITE answered 503", "MESSAGE answered 503", "REGISTER answered 503"]);
    let branch = |text: &str| text.split_once(";branch=").map(|it| it.1[..20].to_owned());
    assert_eq!(branch(core.said("ACK")[0]), branch(core.said("INVITE")[0]));
}

#[test]
fn work_without_a_ue_in_the_right_state_is_skipped_and_late_answers_are_unexpected() {
    let mut core = Core::new(2, |_, _| None);
    assert!(!core.fleet.begin(Work::Call, core.now));
    assert_eq!(core.fleet.results().skipped, 1);

    core.begin(Work::Register);
    core.run();
    let first = answer(core.said("REGISTER")[0], 401, "");
    for text in [first.as_str(), "SIP/2.0 200 OK\r\n\r\n", "x", "\r\n\r\n"] {
        core.fleet.receive(text.as_bytes(), CORE, core.now);
    }
    assert_eq!(core.fleet.results().unexpected, 3);
    assert_eq!(core.fleet.running(), 0);
}

#[test]
fn nothing_that_the_network_sends_makes_it_fall_over() {
    let mut core = Core::registered(2, |_, _| None);
    core.begin(Work::Call);
    let (packets, bytes) = core.fleet.packets();
    let invite = bytes[packets[0].at.clone()].to_vec();
    core.fleet.sent();
    let text = String::from_utf8(invite).expect("text");
    for code in [100, 180, 199, 200, 200, 299, 302, 401, 699, 999] {
        let answer = answer(&text, code, "Record-Route: <,>,\r\nContact: \"\r\n");
        for end in 0..=answer.len() {
            core.fleet.receive(&answer.as_bytes()[..end], CORE, core.now);
        }
    }
    for method in ["INVITE", "ACK", "BYE", "OPTIONS", "CANCEL", "\u{1}"] {
        let request = text.replacen("INVITE", method, 1);
        for end in 0..=request.len() {
            core.fleet.receive(&request.as_bytes()[..end], CORE, core.now);
        }
    }
    core.fleet.sent();
    core.fleet.abandon();
    assert_eq!(core.fleet.running(), 0);
    core.run();
}

#[test]
fn a_hundred_thousand_ues_are_small() {
    assert_eq!(UE_BYTES, 12);
    let mut core = Core::new(100_000, |_, _| None);
    for _ in 0..20 {
        for _ in 0..100 {
            core.begin(Work::Register);
        }
        core.run();
        core.said.clear();
    }
    assert_eq!(core.fleet.registered(), 2000);
    // What ran one after the other used the same places.
    assert!(core.fleet.jobs.len() <= 100, "{}", core.fleet.jobs.len());
    let job = core.fleet.jobs[0].as_ref().expect("free");
    let bytes = size_of::<Job>() + job.request.capacity() + job.to.capacity();
    assert!(bytes < 2_000, "{bytes}");
    assert_eq!(core.fleet.service_routes.len(), 1);
}
