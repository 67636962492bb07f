//! The role driven directly with text: what goes in is a message, what is compared is the list of
//! actions, each message as its difference to the one that came in. Random tokens are written
//! `{U1}`, `{D1}`, `{R1}`, `{I1}` (icid) in the order they appear.

mod calls;
mod engine;
mod originating;
mod reg_event;
mod register;
mod terminating;

use std::collections::BTreeMap;

use bytes::Bytes;
use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::role::{
    Action, Answered, BranchId, Cause, ContextId, Env, Incoming, NextHop, OwnTag, RequestKind,
    Role, Within,
};
use cscf_core::sip::{HeaderName, Message, Method, Request, Response, parse};
use cscf_core::time::{Duration, Instant, UnixTime};
use cscf_core::transport::{ConnId, Flow, Transport};

use super::*;

pub(super) const ALICE: &str = "10.1.0.1:5060";
pub(super) const BOB: &str = "10.1.0.2:5060";
pub(super) const CORE: &str = "10.0.0.20:5060";

/// A P-CSCF with the tokens seen so far.
pub(super) struct Bench {
    pub(super) pcscf: Pcscf,
    pub(super) now: Instant,
    pub(super) refusals: Vec<String>,
    ids: Ids,
    asks: u64,
    contexts: u64,
    sent: BTreeMap<u64, Flow>,
    names: Vec<(String, String)>,
}

pub(super) fn config() -> Config {
    let mut config =
        Config::new("p1", "p1.visited.example:5060", "ims.example", "sip:i1.ims.example:5060");
    config.visited_network = "visited.example".to_owned();
    config.charging.ioi = "visited.example".to_owned();
    config.trusted_peers = vec!["10.0.0.20:0".parse().expect("address")];
    config.reg_event_subscription = false;
    config
}

impl Bench {
    pub(super) fn new(edit: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        edit(&mut config);
        Self {
            pcscf: Pcscf::new(config, &Seed::derive(1, "p1")),
            now: Instant::from_secs(1000),
            refusals: Vec::new(),
            ids: Ids::new(Seed::derive(1, "p1"), ShardId(0)),
            asks: 0,
            contexts: 0,
            sent: BTreeMap::new(),
            names: Vec::new(),
        }
    }

    fn run(
        &mut self,
        event: impl FnOnce(&mut Pcscf, &mut Env<'_>, &mut Actions<Timer>),
    ) -> Vec<Action<Timer>> {
        let mut notes = Vec::new();
        let mut out = Vec::new();
        let mut env = Env {
            now: self.now,
            unix_at_epoch: UnixTime(1_700_000_000),
            ids: &mut self.ids,
            tracing: true,
            notes: &mut notes,
            asks: &mut self.asks,
        };
        event(&mut self.pcscf, &mut env, &mut out);
        let refusals = notes.into_iter().filter(|note| note.refusal);
        self.refusals.extend(refusals.map(|note| format!("{}: {}", note.clause, note.text)));
        out
    }

    /// A request from `source`; the topmost Route is taken off if it is ours, as the engine does.
    /// Gives its context and what was done.
    pub(super) fn request(&mut self, source: &str, text: &str) -> (ContextId, String) {
        self.request_by(udp(source), text)
    }

    pub(super) fn request_with_body(
        &mut self,
        source: &str,
        text: &str,
        body: &str,
    ) -> (ContextId, String) {
        let mut request = request(&self.unmask(text));
        request.set_body("application/reginfo+xml", Bytes::from(body.to_owned()));
        self.receive(udp(source), request)
    }

    pub(super) fn request_by(&mut self, flow: Flow, text: &str) -> (ContextId, String) {
        let request = request(&self.unmask(text));
        self.receive(flow, request)
    }

    fn receive(&mut self, flow: Flow, mut request: Request) -> (ContextId, String) {
        let top = request.headers.first_value(HeaderName::Route);
        let own_route = top
            .filter(|top| top.contains("p1.visited.example:5060"))
            .map(|top| top.trim_start_matches('<').trim_end_matches('>').to_owned());
        if own_route.is_some() {
            request.headers.drop_front_value(HeaderName::Route);
        }
        let kind = match (&request.method, request.to_tag()) {
            (Method::Ack, _) => RequestKind::Ack,
            (_, Some(_)) => RequestKind::InDialog,
            (_, None) => RequestKind::Initial,
        };
        self.contexts += 1;
        let context = ContextId(self.contexts);
        self.sent.insert(context.0, flow);
        let before = request.clone();
        let incoming = Incoming { context, request, flow, own_route, kind };
        let actions = self.run(|pcscf, env, out| pcscf.on_request(env, incoming, out));
        (context, self.render(&actions, &Message::Request(before)))
    }

    /// A response from `source` to the branch of a context.
    pub(super) fn response(&mut self, context: ContextId, source: &str, text: &str) -> String {
        let text = self.unmask(text);
        let response = response(&text);
        self.answer(context, Cause::Received, Some(udp(source)), response)
    }

    /// No response: what the engine makes instead.
    pub(super) fn failure(&mut self, context: ContextId, cause: Cause, text: &str) -> String {
        let response = response(&self.unmask(text));
        self.answer(context, cause, None, response)
    }

    fn answer(
        &mut self,
        context: ContextId,
        cause: Cause,
        flow: Option<Flow>,
        response: Response,
    ) -> String {
        let before = response.clone();
        let answered = Answered { context, branch: BranchId(0), response, cause, flow };
        let actions = self.run(|pcscf, env, out| pcscf.on_response(env, answered, out));
        self.render(&actions, &Message::Response(before))
    }

    pub(super) fn end(&mut self, context: ContextId) {
        self.pcscf.on_context_end(context);
    }

    pub(super) fn timer(&mut self, timer: Timer) -> String {
        let actions = self.run(|pcscf, env, out| pcscf.on_timer(env, timer, out));
        let nothing = Request::new(Method::Options, "sip:x");
        self.render(&actions, &Message::Request(nothing))
    }

    /// The answer to our own request.
    pub(super) fn own_response(&mut self, name: &str, cause: Cause, text: &str) -> String {
        let response = response(&self.unmask(text));
        let tag = match Token::parse(&self.unmask(name)) {
            Some(Token::Subscription(id)) => OwnTag(id.0),
            other => panic!("{name} is {other:?}"),
        };
        let answered = OwnAnswered { tag, response, cause, flow: None };
        let actions = self.run(|pcscf, env, out| pcscf.on_own_response(env, answered, out));
        let nothing = Request::new(Method::Options, "sip:x");
        self.render(&actions, &Message::Request(nothing))
    }

    pub(super) fn command(&mut self, command: Command) {
        let actions = self.run(|pcscf, env, out| pcscf.on_command(env, command, out));
        assert!(actions.is_empty());
    }

    pub(super) fn closed(&mut self, flow: Flow) {
        let event = FlowEvent::Closed { flow, cause: "reset".to_owned() };
        let actions = self.run(|pcscf, env, out| pcscf.on_flow(env, event, out));
        assert!(actions.is_empty());
    }

    pub(super) fn wait(&mut self, span: Duration) {
        self.now += span;
    }

    /// The number behind `{U1}`.
    pub(super) fn ue(&self, name: &str) -> UeId {
        match Token::parse(&self.unmask(name)) {
            Some(Token::Ue(id)) => id,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// The number behind `{D1}`.
    pub(super) fn dialog(&self, name: &str) -> DialogId {
        match Token::parse(&self.unmask(name)) {
            Some(Token::Dialog(id)) => id,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Registers a user from `source`: `alice` with her tel alias and Service-Route.
    pub(super) fn register(&mut self, source: &str, user: &str, number: &str) {
        self.register_by(udp(source), user, number);
    }

    pub(super) fn register_by(&mut self, flow: Flow, user: &str, number: &str) {
        let text = register_text(&flow.remote.to_string(), user, "600000");
        let (context, _) = self.request_by(flow, &text);
        let answer = ok_to_register(&flow.remote.to_string(), user, number, "600000");
        let _ = self.response(context, CORE, &answer);
        self.end(context);
    }

    fn render(&mut self, actions: &[Action<Timer>], before: &Message) -> String {
        let mut out = String::new();
        for action in actions {
            out.push_str(&self.render_one(action, before));
        }
        self.mask(&out)
    }

    fn render_one(&self, action: &Action<Timer>, before: &Message) -> String {
        let at = |at: &Instant| at.since(self.now).as_secs();
        match action {
            Action::Forward { request, to, record_route, within, side, .. } => {
                let to = match to {
                    NextHop::AsRouted => "as routed".to_owned(),
                    NextHop::Uri(uri) => format!("to {uri}"),
                    NextHop::Flow(flow) => format!("by {flow}"),
                };
                let within = match within {
                    Some(Within::Final(it)) => format!(" within {}s", it.as_secs()),
                    Some(Within::First(it)) => format!(" first within {}s", it.as_secs()),
                    None => String::new(),
                };
                let record = record_route.as_ref().map_or(String::new(), |it| format!(" {it}"));
                let after = Message::Request((**request).clone());
                format!("forward {to} {side:?}{within}{record}\n{}", difference(before, &after))
            }
            Action::PassUp { response, .. } => {
                let after = Message::Response((**response).clone());
                format!("pass up {}\n{}", response.status, difference(before, &after))
            }
            Action::Reply { response, .. } => {
                let Message::Request(request) = before else { panic!("reply to a response") };
                let base = Message::Response(request.response(response.status, &response.reason));
                let after = Message::Response((**response).clone());
                format!("reply {}\n{}", response.status, difference(&base, &after))
            }
            Action::Originate { request, to, .. } => {
                let to = match to {
                    NextHop::Uri(uri) => format!("to {uri}"),
                    NextHop::AsRouted => "as routed".to_owned(),
                    NextHop::Flow(flow) => format!("by {flow}"),
                };
                let text = String::from_utf8_lossy(&request.to_bytes()).replace("\r\n", "\n");
                format!("originate {to}\n{}\n", text.trim())
            }
            Action::SetTimer { timer, at: when } => {
                format!("set {} in {}s\n", timer_name(*timer), at(when))
            }
            Action::ClearTimer { timer } => format!("clear {}\n", timer_name(*timer)),
            other => format!("{other:?}\n"),
        }
    }

    fn mask(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(byte) = rest.chars().next() {
            let token = ["0-u", "0-d", "0-r", "p1-0-"].iter().find_map(|head| {
                let digits = if *head == "p1-0-" { 24 } else { 16 };
                let token = rest.get(..head.len() + digits)?;
                let hex = token.strip_prefix(head)?;
                hex.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(token)
            });
            if let Some(token) = token {
                out.push_str(&self.name_of(token));
                rest = &rest[token.len()..];
            } else {
                out.push(byte);
                rest = &rest[byte.len_utf8()..];
            }
        }
        out
    }

    fn name_of(&mut self, token: &str) -> String {
        if let Some((name, _)) = self.names.iter().find(|(_, known)| known == token) {
            return name.clone();
        }
        let kind = match token.split_once('-') {
            Some(("0", rest)) => rest[..1].to_uppercase(),
            _ => "I".to_owned(),
        };
        let count = self.names.iter().filter(|(name, _)| name[1..].starts_with(&kind)).count();
        let name = format!("{{{kind}{}}}", count + 1);
        self.names.push((name.clone(), token.to_owned()));
        name
    }

    pub(super) fn unmask(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (name, token) in &self.names {
            out = out.replace(name, token);
        }
        out
    }
}

fn timer_name(timer: Timer) -> String {
    match timer {
        Timer::Association(id) => format!("set {}", id.0),
        Timer::Challenge(context) => format!("challenge of {context:?}"),
        Timer::Dialog(id) => Token::Dialog(id).text(ShardId(0)),
        Timer::Notify(id) => format!("N of {}", Token::Subscription(id).text(ShardId(0))),
        Timer::Release(id) => format!("release of {}", Token::Dialog(id).text(ShardId(0))),
        Timer::Subscription(id) => Token::Subscription(id).text(ShardId(0)),
        Timer::Ue(id) => Token::Ue(id).text(ShardId(0)),
    }
}

/// Lines taken away (`-`) and added (`+`), in order; a body as one more line.
fn difference(before: &Message, after: &Message) -> String {
    let lines = |message: &Message| -> Vec<String> {
        let text = String::from_utf8_lossy(&message.to_bytes()).replace("\r\n", "\n");
        text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
    };
    let (old, new) = (lines(before), lines(after));
    let mut left = new;
    let mut out = String::new();
    for line in &old {
        match left.iter().position(|other| other == line) {
            Some(at) => drop(left.remove(at)),
            None => out.push_str(&format!("- {line}\n")),
        }
    }
    for line in left {
        out.push_str(&format!("+ {line}\n"));
    }
    out
}

pub(super) fn wire(text: &str) -> Bytes {
    let lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
    Bytes::from(lines.join("\r\n") + "\r\n\r\n")
}

pub(super) fn request(text: &str) -> Request {
    match parse(&wire(text)).expect("parses") {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

pub(super) fn response(text: &str) -> Response {
    match parse(&wire(text)).expect("parses") {
        Message::Response(response) => response,
        Message::Request(_) => panic!("a request"),
    }
}

pub(super) fn udp(remote: &str) -> Flow {
    let local = "10.0.0.10:5060".parse().expect("address");
    let remote = remote.parse().expect("address");
    Flow { transport: Transport::Udp, local, remote, conn: None, sa: None }
}

pub(super) fn stream(transport: Transport, remote: &str, conn: u64) -> Flow {
    Flow { transport, conn: Some(ConnId(conn)), ..udp(remote) }
}

/// A REGISTER that answers a challenge.
pub(super) fn register_text(source: &str, user: &str, expires: &str) -> String {
    format!(
        "REGISTER sip:ims.example SIP/2.0
        Via: SIP/2.0/UDP {source};branch=z9hG4bK1
        From: <sip:{user}@ims.example>;tag=f1
        To: <sip:{user}@ims.example>
        Call-ID: reg-{user}
        CSeq: 2 REGISTER
        Contact: <sip:{source}>;expires={expires}
        Authorization: Digest username=\"{user}@ims.example\", nonce=\"n\", response=\"r\""
    )
}

pub(super) fn ok_to_register(source: &str, user: &str, number: &str, expires: &str) -> String {
    format!(
        "SIP/2.0 200 OK
        Via: SIP/2.0/UDP {source};branch=z9hG4bK1
        From: <sip:{user}@ims.example>;tag=f1
        To: <sip:{user}@ims.example>;tag=s1
        Call-ID: reg-{user}
        CSeq: 2 REGISTER
        Contact: <sip:{source}>;expires={expires}
        Service-Route: <sip:orig-{user}@s1.ims.example:5060;lr>
        P-Associated-URI: <sip:{number}@ims.example;user=phone>, <tel:{number}>
        P-Charging-Vector: icid-value=\"x\";orig-ioi=\"Type 1visited.example\";term-ioi=\"Type \
            1ims.example\""
    )
}

/// Compares two texts line by line, indentation left out.
pub(super) fn check(found: &str, expected: &str) {
    let clean = |text: &str| -> Vec<String> {
        text.trim().lines().map(|line| line.trim().to_owned()).collect()
    };
    let (found, expected) = (clean(found), clean(expected));
    assert_eq!(found, expected, "\nfound:\n{}\n", found.join("\n"));
}

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
