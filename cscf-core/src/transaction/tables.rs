//! The tables of `docs/transactions.md`, executed: each row puts a machine into a state, lets one
//! event happen and compares all that can be seen. A state that lacks a row for an event fails, and
//! so does a row for what cannot happen.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::testing::{request, table};
use super::{
    Client, ClientState, Effect, InviteClient, InviteClientState, InviteServer, InviteServerState,
    Refused, Reliability, Server, ServerState, Timers, Trying,
};
use crate::sip::Request;
use crate::time::{Duration, Instant};

const TIMERS: Timers = Timers::CORE;
const START: Instant = Instant::from_secs(1000);
const BOTH: [Reliability; 2] = [Reliability::Unreliable, Reliability::Reliable];

/// A machine under test.
trait Machine: Sized {
    /// The states, and what leads to each from the start: events, first to last.
    const STATES: &'static [(&'static str, &'static [&'static str])];
    /// Events that may come in every state.
    const MESSAGES: &'static [&'static str];
    /// Timers: state, name, when it fires after the state was entered in units of the document.
    const TIMERS: &'static [(&'static str, &'static str, &'static str)];
    /// Ways to start.
    const STARTS: &'static [&'static str] = &["start"];

    fn start(event: &str, on: Reliability, out: &mut Vec<Effect>) -> Self;
    /// Lets a message come; gives what the table calls a message's own result, if anything.
    fn message(&mut self, event: &str, out: &mut Vec<Effect>) -> Option<&'static str>;
    fn timeout(&mut self, now: Instant, out: &mut Vec<Effect>);
    fn next(&self) -> Option<Instant>;
    fn state(&self) -> &'static str;
}

fn span(text: &str) -> Duration {
    let (factor, unit) = text.split_once('*').unwrap_or(("1", text));
    let factor: u32 = factor.parse().expect("a number");
    factor
        * match unit {
            "T1" => TIMERS.t1(),
            "T2" => TIMERS.t2(),
            "T4" => TIMERS.t4(),
            "200ms" => Duration::from_millis(200),
            other => panic!("no unit: {other}"),
        }
}

fn describe(effects: &[Effect], result: Option<&str>) -> String {
    let mut parts: Vec<String> = effects
        .iter()
        .map(|effect| match effect {
            Effect::PassUp => "pass up".to_owned(),
            Effect::Send(bytes) => {
                let text = std::str::from_utf8(bytes).expect("utf-8");
                format!("send {}", text.split_whitespace().next().expect("a word"))
            }
            Effect::TimedOut => "timed out".to_owned(),
            Effect::TransportFailed => "transport failed".to_owned(),
        })
        .collect();
    parts.extend(result.map(str::to_owned));
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

/// A machine in this state; `None` if the state does not exist on this transport.
fn enter<M: Machine>(state: &str, on: Reliability) -> Option<M> {
    let (_, path) = M::STATES.iter().find(|(name, _)| *name == state).expect("a known state");
    let mut out = Vec::new();
    let (first, rest) = path.split_first().expect("a start");
    let mut machine = M::start(first, on, &mut out);
    for event in rest {
        machine.message(event, &mut out);
    }
    (machine.state() != "Terminated").then_some(machine)
}

/// Does what a row says: what the row should tell.
fn happen<M: Machine>(state: &str, event: &str, on: Reliability) -> Option<[String; 3]> {
    let mut out = Vec::new();
    let mut now = START;
    let mut result = None;
    let machine = if state == "-" {
        M::start(event, on, &mut out)
    } else {
        let mut machine: M = enter(state, on)?;
        let timer = M::TIMERS.iter().find(|(of, name, _)| *of == state && *name == event);
        if let Some((_, _, after)) = timer {
            now = START + span(after);
            machine.timeout(now, &mut out);
        } else {
            result = machine.message(event, &mut out);
        }
        machine
    };
    let next = machine.next().map(|at| at.since(now));
    let next = next.map_or("-".to_owned(), |after| format!("{after:?}"));
    Some([describe(&out, result), machine.state().to_owned(), next])
}

fn check<M: Machine>(heading: &str) {
    let mut wanted = BTreeSet::new();
    for on in BOTH {
        let transport = if on == Reliability::Reliable { "TCP" } else { "UDP" };
        for start in M::STARTS {
            wanted.insert(("-", *start, transport));
        }
        for (state, _) in M::STATES.iter().filter(|(state, _)| enter::<M>(state, on).is_some()) {
            for message in M::MESSAGES {
                wanted.insert((*state, *message, transport));
            }
            for (_, timer, _) in M::TIMERS.iter().filter(|(of, _, _)| of == state) {
                // On a reliable transport nothing is sent again.
                let resends = matches!(*timer, "timer A" | "timer E" | "timer G");
                if on == Reliability::Unreliable || !resends {
                    wanted.insert((*state, *timer, transport));
                }
            }
        }
    }
    let rows = table(heading);
    for row in &rows {
        let [state, event, on, effects, next_state, next] = row.as_slice() else {
            panic!("six columns: {row:?}");
        };
        let next = if next == "-" { next.clone() } else { format!("{:?}", span(next)) };
        let expected = [effects.clone(), next_state.clone(), next];
        for (transport, reliability) in ["UDP", "TCP"].into_iter().zip(BOTH) {
            if on != "any" && on != transport {
                continue;
            }
            let place = (state.as_str(), event.as_str(), transport);
            assert!(wanted.remove(&place), "{heading}: twice or impossible: {place:?}");
            let got = happen::<M>(state, event, reliability).expect("a possible row");
            assert_eq!(got, expected, "{heading}: {place:?}");
        }
    }
    assert!(wanted.is_empty(), "{heading}: rows are missing: {wanted:?}");
}

fn invite() -> Request {
    super::testing::invite("z9hG4bK1")
}

fn status(event: &str) -> u16 {
    event.trim_start_matches("TU ").parse().expect("a status")
}

fn refusal(result: Result<(), Refused>) -> Option<&'static str> {
    result.is_err().then_some("refused")
}

impl Machine for InviteClient {
    const STATES: &'static [(&'static str, &'static [&'static str])] = &[
        ("Calling", &["start"]),
        ("Proceeding", &["start", "180"]),
        ("Accepted", &["start", "200"]),
        ("Completed", &["start", "486"]),
    ];
    const MESSAGES: &'static [&'static str] =
        &["100", "180", "200", "486", "transport failure", "CANCEL wanted"];
    const TIMERS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("Calling", "timer A", "T1"),
        ("Calling", "timer B", "64*T1"),
        ("Proceeding", "64*T1 after CANCEL", "64*T1"),
        ("Accepted", "timer M", "64*T1"),
        ("Completed", "timer D", "65*T1"),
    ];

    fn start(_: &str, on: Reliability, out: &mut Vec<Effect>) -> Self {
        Self::start(START, invite().to_bytes(), on, &TIMERS, out)
    }

    fn message(&mut self, event: &str, out: &mut Vec<Effect>) -> Option<&'static str> {
        match event {
            "transport failure" => self.on_transport_failure(out),
            "CANCEL wanted" => return self.on_cancel(START, &TIMERS).then_some("may cancel"),
            _ => self.on_response(START, &invite().reply(status(event)), &TIMERS, out),
        }
        None
    }

    fn timeout(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if matches!(Self::state(self), InviteClientState::Proceeding { .. }) {
            self.on_cancel(START, &TIMERS);
        }
        self.handle_timeout(now, out);
    }

    fn next(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn state(&self) -> &'static str {
        match Self::state(self) {
            InviteClientState::Accepted { .. } => "Accepted",
            InviteClientState::Calling { .. } => "Calling",
            InviteClientState::Completed { .. } => "Completed",
            InviteClientState::Proceeding { .. } => "Proceeding",
            InviteClientState::Terminated => "Terminated",
        }
    }
}

impl Machine for Client {
    const STATES: &'static [(&'static str, &'static [&'static str])] = &[
        ("Trying", &["start"]),
        ("Proceeding", &["start", "100"]),
        ("Completed", &["start", "200"]),
    ];
    const MESSAGES: &'static [&'static str] = &["100", "200", "486", "transport failure"];
    const TIMERS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("Trying", "timer E", "T1"),
        ("Trying", "timer F", "64*T1"),
        ("Proceeding", "timer E", "T1"),
        ("Proceeding", "timer F", "64*T1"),
        ("Completed", "timer K", "T4"),
    ];

    fn start(_: &str, on: Reliability, out: &mut Vec<Effect>) -> Self {
        let register = request("REGISTER", "SIP/2.0/UDP a.example;branch=z9hG4bK1");
        Self::start(START, register.to_bytes(), on, &TIMERS, out)
    }

    fn message(&mut self, event: &str, out: &mut Vec<Effect>) -> Option<&'static str> {
        match event {
            "transport failure" => self.on_transport_failure(out),
            _ => self.on_response(START, status(event), &TIMERS, out),
        }
        None
    }

    fn timeout(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.handle_timeout(now, &TIMERS, out);
    }

    fn next(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn state(&self) -> &'static str {
        match Self::state(self) {
            ClientState::Completed { .. } => "Completed",
            ClientState::Proceeding { .. } => "Proceeding",
            ClientState::Terminated => "Terminated",
            ClientState::Trying { .. } => "Trying",
        }
    }
}

impl Machine for InviteServer {
    const STATES: &'static [(&'static str, &'static [&'static str])] = &[
        ("Proceeding", &["start"]),
        ("Proceeding, 180 sent", &["start", "TU 180"]),
        ("Accepted", &["start", "TU 200"]),
        ("Completed", &["start", "TU 486"]),
        ("Confirmed", &["start", "TU 486", "ACK"]),
    ];
    const MESSAGES: &'static [&'static str] =
        &["INVITE", "ACK", "TU 100", "TU 180", "TU 200", "TU 486"];
    const TIMERS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("Proceeding", "200 ms", "200ms"),
        ("Accepted", "timer L", "64*T1"),
        ("Completed", "timer G", "T1"),
        ("Completed", "timer H", "64*T1"),
        ("Confirmed", "timer I", "T4"),
    ];
    const STARTS: &'static [&'static str] = &["start", "start, 100 at once", "start, 100 never"];

    fn start(event: &str, on: Reliability, out: &mut Vec<Effect>) -> Self {
        let bytes = Bytes::from_static(b"100");
        let trying = match event {
            "start" => Trying::At(START + super::timers::TRYING_AFTER, bytes),
            "start, 100 at once" => Trying::Now(bytes),
            _ => Trying::Never,
        };
        Self::start(trying, on, out)
    }

    fn message(&mut self, event: &str, out: &mut Vec<Effect>) -> Option<&'static str> {
        match event {
            "INVITE" => self.on_retransmission(out),
            "ACK" => self.on_ack(START, &TIMERS, out),
            _ => {
                let code = status(event);
                let bytes = Bytes::from(code.to_string());
                return refusal(self.send_response(START, code, bytes, &TIMERS, out));
            }
        }
        None
    }

    fn timeout(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.handle_timeout(now, &TIMERS, out);
    }

    fn next(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn state(&self) -> &'static str {
        match Self::state(self) {
            InviteServerState::Accepted { .. } => "Accepted",
            InviteServerState::Completed { .. } => "Completed",
            InviteServerState::Confirmed { .. } => "Confirmed",
            InviteServerState::Proceeding { .. } => "Proceeding",
            InviteServerState::Terminated => "Terminated",
        }
    }
}

impl Machine for Server {
    const STATES: &'static [(&'static str, &'static [&'static str])] = &[
        ("Trying", &["start"]),
        ("Proceeding", &["start", "timer E at T2"]),
        ("Completed", &["start", "TU 200"]),
        ("Completed, no answer", &["start", "no answer"]),
    ];
    const MESSAGES: &'static [&'static str] =
        &["request", "TU 100", "TU 180", "TU 200", "TU 408", "no answer"];
    const TIMERS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("Trying", "timer E at T2", "7*T1"),
        ("Completed", "timer J", "64*T1"),
        ("Completed, no answer", "timer J", "64*T1"),
    ];

    fn start(_: &str, on: Reliability, out: &mut Vec<Effect>) -> Self {
        Self::start(START, Bytes::from_static(b"100"), on, &TIMERS, out)
    }

    fn message(&mut self, event: &str, out: &mut Vec<Effect>) -> Option<&'static str> {
        match event {
            "request" => self.on_retransmission(out),
            "no answer" => self.on_no_answer(START, &TIMERS),
            "timer E at T2" => self.handle_timeout(START + span("7*T1"), out),
            _ => {
                let code = status(event);
                let bytes = Bytes::from(code.to_string());
                return refusal(self.send_response(START, code, bytes, &TIMERS, out));
            }
        }
        None
    }

    fn timeout(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.handle_timeout(now, out);
    }

    fn next(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn state(&self) -> &'static str {
        match Self::state(self) {
            ServerState::Completed { .. } => "Completed",
            ServerState::Proceeding { .. } => "Proceeding",
            ServerState::Terminated => "Terminated",
            ServerState::Trying { .. } => "Trying",
        }
    }
}

// T-TRN-010
#[test]
fn the_invite_client_transaction_is_as_documented() {
    check::<InviteClient>("INVITE client transaction");
}

// T-TRN-030
#[test]
fn the_client_transaction_is_as_documented() {
    check::<Client>("Non-INVITE client transaction");
}

// T-TRN-020
#[test]
fn the_invite_server_transaction_is_as_documented() {
    check::<InviteServer>("INVITE server transaction");
}

// T-TRN-040
#[test]
fn the_server_transaction_is_as_documented() {
    check::<Server>("Non-INVITE server transaction");
}
