//! A UE driven by hand: commands, responses and requests in; what it wants done out, sorted.

use std::net::SocketAddr;

use cscf_core::auth::{AMF_SEPARATION, AuthVector, Challenge, Milenage, Sqn};
use cscf_core::config::{Auth, Lab};
use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::role::{
    Action, Cause, ContextId, Env, Incoming, NextHop, OwnAnswered, OwnTag, RequestKind, Role,
};
use cscf_core::sip::{Message, Method, Request, Response, parse};
use cscf_core::time::{Instant, UnixTime};
use cscf_core::trace::Note;
use cscf_core::transport::ipsec::SaCommand;
use cscf_core::transport::{Flow, FlowEvent, Transport};
use scenarios::ue::{Ue, UeCommand, UeConfig, UeTimer};

/// The P-CSCF of all phones here.
pub(super) const PCSCF: &str = "sip:10.0.0.10:5060";

/// What the UE wanted in one turn.
#[derive(Debug, Default)]
pub(super) struct Did {
    pub(super) requests: Vec<(OwnTag, Request)>,
    /// Where each request goes.
    pub(super) to: Vec<String>,
    pub(super) acks: Vec<Request>,
    pub(super) replies: Vec<Response>,
    pub(super) states: Vec<String>,
    pub(super) timers: Vec<(UeTimer, Instant)>,
    pub(super) cancels: usize,
    /// In which order it replied, sent, installed and removed.
    pub(super) order: Vec<&'static str>,
    /// Orders about security associations.
    pub(super) security: Vec<SaCommand>,
    /// Timers taken back.
    pub(super) cleared: Vec<UeTimer>,
    /// Until when a NOTIFY is awaited.
    pub(super) notify_by: Option<Instant>,
}

impl Did {
    /// The only request.
    pub(super) fn request(&self) -> (OwnTag, &Request) {
        assert_eq!(self.requests.len(), 1, "one request: {self:?}");
        (self.requests[0].0, &self.requests[0].1)
    }

    /// The status of the only reply.
    pub(super) fn status(&self) -> u16 {
        assert_eq!(self.replies.len(), 1, "one reply: {self:?}");
        self.replies[0].status
    }
}

/// A UE and the world's time.
pub(super) struct Phone {
    pub(super) ue: Ue,
    ids: Ids,
    asks: u64,
    pub(super) now: Instant,
    contexts: u64,
    pub(super) notes: Vec<Note>,
}

/// The configuration of a subscriber of the built-in lab, changed by `change`.
pub(super) fn config(name: &str, change: impl FnOnce(&mut UeConfig)) -> UeConfig {
    let lab = Lab::default_lab();
    let subscriber = lab.subscriber(name).expect("a subscriber");
    let address: SocketAddr = "10.0.0.1:5060".parse().expect("an address");
    let mut config = UeConfig::of_subscriber(&lab, &subscriber, PCSCF, address);
    change(&mut config);
    config
}

/// Between the phone and its P-CSCF, by datagrams without protection.
pub(super) fn clear_flow() -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "10.0.0.1:5060".parse().expect("an address"),
        remote: "10.0.0.10:5060".parse().expect("an address"),
        conn: None,
        sa: None,
    }
}

impl Phone {
    pub(super) fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    pub(super) fn with(name: &str, change: impl FnOnce(&mut UeConfig)) -> Self {
        Self {
            ue: Ue::new(config(name, change)),
            ids: Ids::new(Seed::derive(1, name), ShardId(0)),
            asks: 0,
            now: Instant::EPOCH,
            contexts: 0,
            notes: Vec::new(),
        }
    }

    fn turn(&mut self, act: impl FnOnce(&mut Ue, &mut Env<'_>, &mut Vec<Action<UeTimer>>)) -> Did {
        let mut out = Vec::new();
        let mut env = Env {
            now: self.now,
            unix_at_epoch: UnixTime(0),
            ids: &mut self.ids,
            tracing: true,
            notes: &mut self.notes,
            asks: &mut self.asks,
        };
        act(&mut self.ue, &mut env, &mut out);
        let mut did = Did::default();
        for action in out {
            did.order.extend(match &action {
                Action::Originate { .. } => Some("request"),
                Action::Reply { .. } => Some("reply"),
                Action::Security(SaCommand::Install(_)) => Some("install"),
                Action::Security(SaCommand::Remove(_)) => Some("remove"),
                _ => None,
            });
            match action {
                Action::Originate { tag, request, to, .. } => {
                    did.to.push(match to {
                        NextHop::AsRouted => "as routed".to_owned(),
                        NextHop::Uri(uri) => uri,
                        NextHop::Flow(flow) => match flow.sa {
                            Some(sa) => format!("{flow} set {}", sa.0),
                            None => flow.to_string(),
                        },
                    });
                    did.requests.push((tag, *request));
                }
                Action::SendAck { request, .. } => did.acks.push(*request),
                Action::Reply { response, .. } => did.replies.push(*response),
                Action::State(state) => did.states.push(state),
                Action::SetTimer { timer: UeTimer::Notify, at } => did.notify_by = Some(at),
                Action::SetTimer { timer, at } => did.timers.push((timer, at)),
                Action::Security(command) => did.security.push(command),
                Action::ClearTimer { timer } => did.cleared.push(timer),
                Action::CancelOwn { .. } => did.cancels += 1,
                _ => {}
            }
        }
        did
    }

    pub(super) fn command(&mut self, command: UeCommand) -> Did {
        self.turn(|ue, env, out| ue.on_command(env, command, out))
    }

    pub(super) fn register(&mut self) -> Did {
        self.command(UeCommand::Register { expires: None })
    }

    pub(super) fn respond(&mut self, tag: OwnTag, response: Response) -> Did {
        self.answered(OwnAnswered { tag, response, cause: Cause::Received, flow: None })
    }

    pub(super) fn answered(&mut self, answered: OwnAnswered) -> Did {
        self.turn(|ue, env, out| ue.on_own_response(env, answered, out))
    }

    pub(super) fn flow_event(&mut self, event: FlowEvent) -> Did {
        self.turn(|ue, env, out| ue.on_flow(env, event, out))
    }

    /// Answers a request of the UE with a status and further header lines.
    pub(super) fn answer(&mut self, asked: (OwnTag, &Request), status: u16, lines: &str) -> Did {
        let response = answer_to(asked.1, status, lines);
        self.respond(asked.0, response)
    }

    pub(super) fn timer(&mut self, timer: UeTimer, at: Instant) -> Did {
        self.now = at;
        self.turn(|ue, env, out| ue.on_timer(env, timer, out))
    }

    /// A request from the P-CSCF.
    pub(super) fn request(&mut self, request: Request) -> Did {
        self.contexts += 1;
        let flow = clear_flow();
        let kind = match (&request.method, request.to_tag()) {
            (Method::Ack, _) => RequestKind::Ack,
            (_, Some(_)) => RequestKind::InDialog,
            _ => RequestKind::Initial,
        };
        let context = ContextId(self.contexts);
        let incoming = Incoming { context, request, flow, own_route: None, kind };
        self.turn(|ue, env, out| ue.on_request(env, incoming, out))
    }

    /// Registers through challenge and 200.
    pub(super) fn register_fully(&mut self, extra: &str) -> Did {
        let did = self.register();
        let did = self.answer(did.request(), 401, &aka_challenge(self, 1));
        let ok = self.ok_lines(600_000) + extra;
        self.answer(did.request(), 200, &ok)
    }

    /// The lines of a 200 to REGISTER.
    pub(super) fn ok_lines(&self, expires: u32) -> String {
        let domain = &self.ue.config().domain;
        format!(
            "Contact: <sip:10.0.0.1:5060>;audio;expires={expires}\n\
             Service-Route: <sip:orig-u1@scscf.home.net:6060;lr>\n\
             Path: <sip:tok@10.0.0.10:5060;lr>\n\
             P-Associated-URI: <sip:+15550100001@{domain};user=phone>, <tel:+15550100001>\n"
        )
    }
}

/// The vector an HSS would make for a phone's subscriber.
pub(super) fn vector(phone: &Phone, sqn: u64) -> AuthVector {
    let lab = Lab::default_lab();
    let subscriber = lab.subscriber(&phone.ue.config().name).expect("a subscriber");
    let Auth::Aka { k, opc, .. } = subscriber.auth else { panic!("no card") };
    let sqn = Sqn::from_parts(sqn, 0, Default::default()).expect("48 bits");
    AuthVector::generate(&Milenage::new(k, opc), [7; 16], sqn, AMF_SEPARATION)
}

/// The WWW-Authenticate line of an AKA challenge with this sequence number.
pub(super) fn aka_challenge(phone: &Phone, sqn: u64) -> String {
    let nonce = vector(phone, sqn).nonce().encode();
    let domain = &phone.ue.config().domain;
    let challenge = Challenge::new(domain, &nonce, cscf_core::auth::Algorithm::AKAV1_MD5);
    format!("WWW-Authenticate: {challenge}\n")
}

/// A response with further header lines (and a body behind an empty line).
pub(super) fn answer_to(request: &Request, status: u16, lines: &str) -> Response {
    let (lines, body) = lines.split_once("\n\n").unwrap_or((lines, ""));
    let mut response = request.reply(status);
    response.set_to_tag("net1");
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a header line");
        let known = cscf_core::sip::HeaderName::from_bytes(name.as_bytes());
        response.headers.push(known, value.trim());
    }
    response.body = body.to_owned().into();
    response
}

/// A request from text: start line and header lines, a body behind an empty line.
pub(super) fn request(text: &str) -> Request {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let head: Vec<&str> = head.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = format!(
        "{}\r\nVia: SIP/2.0/UDP 10.0.0.10;branch=z9hG4bKx\r\nMax-Forwards: 60\r\n\r\n{body}",
        head.join("\r\n")
    );
    match parse(&text.into()).expect("parses") {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}
