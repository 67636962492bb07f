//! The I-CSCF, message by message: text in, actions out, no engine.

mod register;
mod session;

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::cx::{
    AskId, AuthorizationType, CxAnswer, CxRequest, CxResult, Lir, ServerAnswer, ServerCapabilities,
    Uar,
};
use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::role::{
    Action, Answer, Answered, BranchId, Cause, ContextId, Env, Incoming, NextHop, Question,
    RequestKind, Role, Within,
};
use cscf_core::sip::{HeaderName, Message, Method, Request, Response, parse};
use cscf_core::time::{Duration, Instant, UnixTime};
use cscf_core::trace::Note;
use cscf_core::transport::{Flow, Transport};

use crate::{Config, Icscf, ScscfConfig};

const SEED: Seed = Seed([3; 32]);
const S1: &str = "sip:s1.ims.example:6060";
const S2: &str = "sip:s2.ims.example:6060";
const PEER: &str = "10.0.0.10:5060";
const STRANGER: &str = "192.0.2.1:5060";

type Out = Vec<Action<Infallible>>;

struct Bench {
    icscf: Icscf,
    now: Instant,
    notes: Vec<Note>,
    ids: Ids,
    asks: u64,
    contexts: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("sip:i1.ims.example:4060", "ims.example");
        config.trusted.push("10.0.0.10:0".parse().expect("an address"));
        let scscf = |uri: &str| ScscfConfig { uri: uri.into(), capabilities: vec![1] };
        config.scscfs = vec![scscf(S1), scscf(S2)];
        change(&mut config);
        Self {
            icscf: Icscf::new(config),
            now: Instant::from_secs(1),
            notes: Vec::new(),
            ids: Ids::new(SEED, ShardId(0)),
            asks: 0,
            contexts: 0,
        }
    }

    fn act(&mut self, event: impl FnOnce(&mut Icscf, &mut Env<'_>, &mut Out)) -> Out {
        let mut env = Env {
            now: self.now,
            unix_at_epoch: UnixTime(0),
            ids: &mut self.ids,
            tracing: true,
            notes: &mut self.notes,
            asks: &mut self.asks,
        };
        let mut out = Vec::new();
        event(&mut self.icscf, &mut env, &mut out);
        out
    }

    fn send(&mut self, peer: &str, own_route: Option<&str>, text: &str) -> Out {
        let request = request(text);
        let kind = match (&request.method, request.to_tag()) {
            (Method::Ack, _) => RequestKind::Ack,
            (_, Some(_)) => RequestKind::InDialog,
            (_, None) => RequestKind::Initial,
        };
        self.contexts += 1;
        let context = ContextId(self.contexts);
        let own_route = own_route.map(str::to_owned);
        let incoming = Incoming { context, request, flow: flow(peer), own_route, kind };
        self.act(|icscf, env, out| icscf.on_request(env, incoming, out))
    }

    fn answer(&mut self, ask: AskId, answer: CxAnswer) -> Out {
        self.act(|icscf, env, out| icscf.on_answer(env, ask, Answer::Cx(answer), out))
    }

    /// The last request gets this response on this branch.
    fn respond(&mut self, branch: u32, status: u16, cause: Cause) -> Out {
        let answered = Answered {
            context: ContextId(self.contexts),
            branch: BranchId(branch),
            response: request("OPTIONS sip:x SIP/2.0\n").reply(status),
            cause,
            flow: None,
        };
        self.act(|icscf, env, out| icscf.on_response(env, answered, out))
    }

    /// As [`Self::respond`], with one header more, from the wire.
    fn respond_with(&mut self, branch: u32, status: u16, name: HeaderName, value: &str) -> Out {
        let mut response = request("OPTIONS sip:x SIP/2.0\n").reply(status);
        response.headers.push(name, value);
        let answered = Answered {
            context: ContextId(self.contexts),
            branch: BranchId(branch),
            response,
            cause: Cause::Received,
            flow: None,
        };
        self.act(|icscf, env, out| icscf.on_response(env, answered, out))
    }

    fn end(&mut self) {
        let context = ContextId(self.contexts);
        self.act(|icscf, _, _| icscf.on_context_end(context));
    }

    fn is_idle(&self) -> bool {
        self.icscf.remainders().iter().all(|(_, count)| *count == 0)
    }
}

fn flow(peer: &str) -> Flow {
    let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    let (local, remote) = (address("10.0.0.20:4060"), address(peer));
    Flow { transport: Transport::Udp, local, remote, conn: None, sa: None }
}

fn request(text: &str) -> Request {
    let text = format!("{text}Via: SIP/2.0/UDP p1;branch=z9hG4bK1\nContent-Length: 0\n\n");
    match parse(&Bytes::from(text.replace('\n', "\r\n"))) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

/// A REGISTER of alice; `parameters` are added to the credentials, `headers` to the message.
fn register(parameters: &str, headers: &str) -> String {
    format!(
        "REGISTER sip:ims.example SIP/2.0\nFrom: <sip:alice@ims.example>;tag=a\n\
         To: <sip:Alice@IMS.example>\nCall-ID: c1\nCSeq: 1 REGISTER\n\
         Contact: <sip:10.0.0.1>\nPath: <sip:tok@p1;lr>\n\
         P-Visited-Network-ID: \"visited.example\"\n\
         Authorization: Digest username=\"00101@ims.example\", realm=\"ims.example\", \
         nonce=\"\", uri=\"sip:ims.example\", response=\"\"{parameters}\n{headers}"
    )
}

fn invite(uri: &str, headers: &str) -> String {
    format!(
        "INVITE {uri} SIP/2.0\nFrom: <sip:bob@ims.example>;tag=b\nTo: <{uri}>\nCall-ID: c2\n\
         CSeq: 1 INVITE\nP-Charging-Vector: icid-value=\"p1-1\"\n{headers}"
    )
}

fn server(result: CxResult, name: Option<&str>) -> CxAnswer {
    let server_name = name.map(str::to_owned);
    CxAnswer::Server(ServerAnswer { result, server_name, capabilities: None, wildcard: None })
}

fn capabilities(result: CxResult, mandatory: &[u32]) -> CxAnswer {
    let wanted =
        ServerCapabilities { mandatory: mandatory.to_vec(), ..ServerCapabilities::default() };
    CxAnswer::Server(ServerAnswer {
        result,
        server_name: None,
        capabilities: Some(wanted),
        wildcard: None,
    })
}

fn replied(out: &Out) -> &Response {
    match out.as_slice() {
        [Action::Reply { response, .. }] => response,
        _ => panic!("no lone reply: {out:#?}"),
    }
}

fn passed_up(out: &Out) -> u16 {
    match out.as_slice() {
        [Action::PassUp { response, .. }] => response.status,
        _ => panic!("not passed up: {out:#?}"),
    }
}

fn asked(out: &Out) -> (AskId, &CxRequest) {
    match out.as_slice() {
        [Action::Ask { ask, question: Question::Cx(question) }] => (*ask, question),
        _ => panic!("no lone question: {out:#?}"),
    }
}

fn uar(out: &Out) -> &Uar {
    match asked(out).1 {
        CxRequest::Uar(uar) => uar,
        other => panic!("no UAR: {other:?}"),
    }
}

fn lir(out: &Out) -> &Lir {
    match asked(out).1 {
        CxRequest::Lir(lir) => lir,
        other => panic!("no LIR: {other:?}"),
    }
}

fn forwarded(out: &Out) -> (&Request, Option<Within>) {
    match out.as_slice() {
        [Action::Forward { request, to, record_route: None, within, .. }] => {
            assert_eq!(*to, NextHop::AsRouted);
            (request, *within)
        }
        _ => panic!("no lone forward without Record-Route: {out:#?}"),
    }
}
