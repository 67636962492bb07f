//! An S-CSCF on the test bench: text in, actions out, no engine.

mod deregister;
mod reg_event;
mod register;
mod release;
mod session;

use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::auth::{Answer as Response401, Challenge, Credentials};
use cscf_core::cx::{AskId, AuthItem, CxAnswer, CxRequest, CxResult, Maa, Mar, Saa, Sar};
use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::role::{
    Action, Answer, Answered, BranchId, Cause, ContextId, Env, Incoming, NextHop, OwnAnswered,
    OwnTag, Question, RequestKind, Role,
};
use cscf_core::sip::{HeaderName, Message, Method, Request, Response, parse};
use cscf_core::time::{Duration, Instant, UnixTime};
use cscf_core::trace::Note;
use cscf_core::transport::{Flow, Transport};

use crate::{Config, Scscf, Timer};

const SEED: Seed = Seed([5; 32]);
const IMPI: &str = "001010000000001@ims.example";
const CONTACT: &str = "sip:10.0.0.1:5060";
const XRES: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const RAND: [u8; 16] = [9; 16];

/// The profile of alice: a number in both forms, a name, and the barred identity of the IMSI.
const PROFILE: &str = "<IMSSubscription><PrivateID>001010000000001@ims.example\
</PrivateID><ServiceProfile>\
<PublicIdentity><Identity>sip:+15550101@ims.example;user=phone</Identity></PublicIdentity>\
<PublicIdentity><Identity>tel:+15550101</Identity></PublicIdentity>\
<PublicIdentity><Identity>sip:alice@ims.example</Identity></PublicIdentity>\
<PublicIdentity><BarringIndication>1</BarringIndication>\
<Identity>sip:001010000000001@ims.example</Identity></PublicIdentity>\
<InitialFilterCriteria><Priority>1</Priority><TriggerPoint><ConditionTypeCNF>1\
</ConditionTypeCNF><SPT><Group>0</Group><Method>PUBLISH</Method></SPT></TriggerPoint>\
<ApplicationServer>\
<ServerName>sip:as1.ims.example:5070</ServerName></ApplicationServer></InitialFilterCriteria>\
</ServiceProfile></IMSSubscription>";

type Out = Vec<Action<Timer>>;

struct Bench {
    scscf: Scscf,
    now: Instant,
    notes: Vec<Note>,
    ids: Ids,
    asks: u64,
    contexts: u64,
    cseq: u32,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config =
            Config::new("sip:s1.ims.example:6060", "ims.example", "sip:i1.ims.example:4060");
        config.trusted.push("10.0.0.10:0".parse().expect("an address"));
        change(&mut config);
        Self {
            scscf: Scscf::new(config, &SEED),
            now: Instant::from_secs(1),
            notes: Vec::new(),
            ids: Ids::new(SEED, ShardId(0)),
            asks: 0,
            contexts: 0,
            cseq: 0,
        }
    }

    fn act(&mut self, event: impl FnOnce(&mut Scscf, &mut Env<'_>, &mut Out)) -> Out {
        let mut env = Env {
            now: self.now,
            unix_at_epoch: UnixTime(0),
            ids: &mut self.ids,
            tracing: true,
            notes: &mut self.notes,
            asks: &mut self.asks,
        };
        let mut out = Vec::new();
        event(&mut self.scscf, &mut env, &mut out);
        out
    }

    /// Sends a request from a trusted peer; the context is the number of the request.
    fn send(&mut self, text: &str) -> Out {
        self.send_from("10.0.0.10:5060", text)
    }

    fn send_from(&mut self, peer: &str, text: &str) -> Out {
        let mut request = request(text);
        let me = |uri: &str| uri.contains("s1.ims.example");
        let own_route = request
            .headers
            .first_value(HeaderName::Route)
            .filter(|route| me(route))
            .map(|route| route.trim_matches(['<', '>']).to_owned());
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
        let incoming = Incoming { context, request, flow: flow(peer), own_route, kind };
        self.act(|scscf, env, out| scscf.on_request(env, incoming, out))
    }

    const fn context(&self) -> ContextId {
        ContextId(self.contexts)
    }

    fn answer(&mut self, ask: AskId, answer: CxAnswer) -> Out {
        self.act(|scscf, env, out| scscf.on_answer(env, ask, Answer::Cx(answer), out))
    }

    fn fire(&mut self, timer: Timer, after: Duration) -> Out {
        self.now += after;
        self.act(|scscf, env, out| scscf.on_timer(env, timer, out))
    }

    fn respond(
        &mut self,
        context: ContextId,
        branch: u32,
        status: u16,
        headers: &[(HeaderName, &str)],
    ) -> Out {
        self.respond_by(Cause::Received, context, branch, (status, headers))
    }

    fn respond_by(
        &mut self,
        cause: Cause,
        context: ContextId,
        branch: u32,
        (status, headers): (u16, &[(HeaderName, &str)]),
    ) -> Out {
        let mut response = request("OPTIONS sip:x SIP/2.0\n").reply(status);
        for (name, value) in headers {
            response.headers.push(*name, value);
        }
        let branch = BranchId(branch);
        let answered = Answered { context, branch, response, cause, flow: None };
        self.act(|scscf, env, out| scscf.on_response(env, answered, out))
    }

    /// A response to the last request, with these lines.
    fn respond_with(&mut self, context: ContextId, branch: u32, status: u16, lines: &str) -> Out {
        let mut response = request("OPTIONS sip:x SIP/2.0\n").reply(status);
        for line in lines.lines() {
            let (name, value) = line.split_once(": ").expect("a header line");
            response.headers.push(HeaderName::from_bytes(name.as_bytes()), value);
        }
        let branch = BranchId(branch);
        let answered = Answered { context, branch, response, cause: Cause::Received, flow: None };
        self.act(|scscf, env, out| scscf.on_response(env, answered, out))
    }

    fn own_answered(&mut self, tag: OwnTag, status: u16, cause: Cause) -> Out {
        let response = request("NOTIFY sip:x SIP/2.0\n").reply(status);
        let answered = OwnAnswered { tag, response, cause, flow: None };
        self.act(|scscf, env, out| scscf.on_own_response(env, answered, out))
    }

    /// A REGISTER of alice; `authorization` without `Digest`, `headers` are further lines.
    fn register(&mut self, authorization: &str, headers: &str) -> Out {
        self.cseq += 1;
        let authorization = if authorization.is_empty() {
            String::new()
        } else {
            format!("Authorization: {authorization}\n")
        };
        let text = format!(
            "REGISTER sip:s1.ims.example:6060 SIP/2.0\n\
             From: <sip:001010000000001@ims.example>;tag=f1\n\
             To: <sip:001010000000001@ims.example>\n\
             Call-ID: reg1\n\
             CSeq: {} REGISTER\n\
             {authorization}\
             Path: <sip:tok-u1@p1.visited.example:5060;lr>\n\
             P-Visited-Network-ID: \"visited.example\"\n\
             P-Charging-Vector: icid-value=\"p1-1\";orig-ioi=\"Type 1visited.example\"\n\
             Require: path\n\
             {headers}",
            self.cseq
        );
        self.send(&text)
    }

    /// Challenges alice by AKA and gives the challenge.
    fn challenged(&mut self, integrity: &str) -> Challenge {
        let out = self.register(&unchallenged(integrity), &contact(600_000));
        let (ask, _) = asked(&out);
        let out = self.answer(ask, aka_vector(RAND));
        challenge(replied(&out))
    }

    /// Registers alice over a security association; gives the 200.
    fn registered(&mut self) -> Response {
        let challenge = self.challenged("no");
        let out = self.register(&answer(&challenge, &XRES, "yes"), &contact(600_000));
        let (ask, _) = asked(&out);
        let out = self.answer(ask, assigned(PROFILE));
        replied(&out).clone()
    }

    /// Whether the S-CSCF keeps nothing.
    fn is_idle(&self) -> bool {
        self.scscf.remainders().iter().all(|(_, count)| *count == 0)
    }

    fn refusal(&self) -> &str {
        let last = self.notes.iter().rev().find(|note| note.refusal);
        last.map_or("", |note| &note.text)
    }
}

fn flow(peer: &str) -> Flow {
    let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    let (local, remote) = (address("10.0.0.30:6060"), address(peer));
    Flow { transport: Transport::Udp, local, remote, conn: None, sa: None }
}

fn request(text: &str) -> Request {
    let mut text = text.replace('\n', "\r\n");
    if !text.contains("Via:") {
        let end = text.find("\r\n").expect("a start line") + 2;
        text.insert_str(end, "Via: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bK1\r\n");
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    match parse(&Bytes::from(text)) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

fn contact(expires: u32) -> String {
    format!("Contact: <{CONTACT}>;+g.3gpp.smsip;audio;expires={expires}\n")
}

fn unchallenged(integrity: &str) -> String {
    let mut credentials = Credentials::unchallenged(IMPI, "ims.example", "sip:ims.example");
    if !integrity.is_empty() {
        credentials.params.set("integrity-protected", integrity);
    }
    credentials.to_string()
}

/// The answer to a challenge with this password.
fn answer(challenge: &Challenge, password: &[u8], integrity: &str) -> String {
    answer_with(challenge, password, integrity, "00000001")
}

fn answer_with(challenge: &Challenge, password: &[u8], integrity: &str, nc: &str) -> String {
    let answer = Response401 {
        username: IMPI,
        password,
        method: "REGISTER",
        uri: "sip:ims.example",
        cnonce: "c1",
        nc,
        body: b"",
    };
    let mut credentials = Credentials::answer(challenge, &answer).expect("a known algorithm");
    if !integrity.is_empty() {
        credentials.params.set("integrity-protected", integrity);
    }
    credentials.to_string()
}

fn aka_vector(rand: [u8; 16]) -> CxAnswer {
    let (ck, ik) = ([0xc0; 16], [0x1e; 16]);
    let item = AuthItem::Aka { rand, autn: [7; 16], xres: XRES.to_vec(), ck, ik };
    CxAnswer::Maa(Maa { result: CxResult::Success, items: vec![item] })
}

fn assigned(profile: &str) -> CxAnswer {
    CxAnswer::Saa(Saa {
        result: CxResult::Success,
        user_data: Some(profile.to_owned()),
        charging_ccf: Some("ccf.ims.example".to_owned()),
        associated_impis: Vec::new(),
        restoration: Vec::new(),
    })
}

fn replied(out: &Out) -> &Response {
    let mut replies = out.iter().filter_map(|action| match action {
        Action::Reply { response, .. } => Some(response),
        _ => None,
    });
    let reply = replies.next().unwrap_or_else(|| panic!("no reply: {out:#?}"));
    assert!(replies.next().is_none(), "one reply only");
    reply
}

fn asked(out: &Out) -> (AskId, &CxRequest) {
    let mut asks = out.iter().filter_map(|action| match action {
        Action::Ask { ask, question: Question::Cx(question) } => Some((*ask, question)),
        _ => None,
    });
    asks.next().unwrap_or_else(|| panic!("no question: {out:#?}"))
}

/// The forwarded requests with their next hop and Record-Route.
fn forwarded(out: &Out) -> Vec<(&Request, &NextHop, Option<&str>)> {
    let forward = |action: &'_ Action<Timer>| matches!(action, Action::Forward { .. });
    out.iter()
        .filter(|action| forward(action))
        .filter_map(|action| match action {
            Action::Forward { request, to, record_route, .. } => {
                Some((&**request, to, record_route.as_deref()))
            }
            _ => None,
        })
        .collect()
}

fn notified(out: &Out) -> Vec<(OwnTag, &Request)> {
    out.iter()
        .filter_map(|action| match action {
            Action::Originate { tag, request, .. } => Some((*tag, &**request)),
            _ => None,
        })
        .collect()
}

fn passed_up(out: &Out) -> &Response {
    let mut passed = out.iter().filter_map(|action| match action {
        Action::PassUp { response, .. } => Some(response),
        _ => None,
    });
    passed.next().unwrap_or_else(|| panic!("nothing passed up: {out:#?}"))
}

fn challenge(response: &Response) -> Challenge {
    assert_eq!(response.status, 401);
    let text = response.headers.get(HeaderName::WwwAuthenticate).expect("a challenge");
    text.parse().expect("a readable challenge")
}

fn values(response: &Response, name: HeaderName) -> Vec<&str> {
    response.headers.values(name).collect()
}

fn status(out: &Out) -> u16 {
    replied(out).status
}

fn mar(out: &Out) -> &Mar {
    match asked(out).1 {
        CxRequest::Mar(mar) => mar,
        other => panic!("no MAR: {other:?}"),
    }
}

fn sar(out: &Out) -> &Sar {
    match asked(out).1 {
        CxRequest::Sar(sar) => sar,
        other => panic!("no SAR: {other:?}"),
    }
}
