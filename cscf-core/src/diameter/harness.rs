//! A client and a server on a simulated connection in virtual time, for tests.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::cx::{AskId, CxAnswer, CxDemand, CxRequest, CxResult, DemandId};
use crate::diameter::{
    ClientConfig, ClientInput, ClientOutput, DiameterClient, DiameterServer, LocalPeer, Message,
    RequestId, ServerConfig, ServerInput, ServerOutput, Timing,
};
use crate::ids::Seed;
use crate::time::{Duration, Instant};
use crate::trace::TraceKind;
use crate::transport::{ConnId, Flow, Transport};

pub(crate) fn client_address() -> SocketAddr {
    "192.0.2.10:40000".parse().unwrap()
}

pub(crate) fn server_address() -> SocketAddr {
    "192.0.2.20:3868".parse().unwrap()
}

pub(crate) fn peer(host: &str) -> LocalPeer {
    LocalPeer {
        origin_host: format!("{host}.ims.example"),
        origin_realm: "ims.example".into(),
        origin_state_id: 1,
    }
}

pub(crate) fn client(host: &str, run: u64) -> DiameterClient {
    let config = ClientConfig {
        us: peer(host),
        destination_realm: "ims.example".into(),
        destination_host: Some("hss.ims.example".into()),
        server: server_address(),
        local: client_address(),
        timing: Timing::default(),
        tracing: true,
    };
    DiameterClient::new(config, Seed::derive(run, host))
}

pub(crate) fn server() -> DiameterServer {
    let config = ServerConfig { us: peer("hss"), timing: Timing::default(), tracing: true };
    DiameterServer::new(config, Seed::derive(1, "hss"))
}

/// What happens between the two.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: DiameterClient,
    pub(crate) server: DiameterServer,
    /// Connections are refused and bytes are lost.
    pub(crate) cut: bool,
    /// The server's bytes are lost.
    pub(crate) mute: bool,
    /// The server leaves questions unanswered.
    pub(crate) lazy: bool,
    pub(crate) answers: Vec<(Instant, AskId, CxAnswer)>,
    pub(crate) questions: Vec<(RequestId, String, CxRequest)>,
    pub(crate) demands: Vec<(DemandId, CxDemand)>,
    pub(crate) demand_answers: Vec<(DemandId, Option<CxResult>)>,
    /// What the client sent and got, by name, e.g. `> CER`, `< CEA`.
    pub(crate) ladder: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) connects: Vec<Instant>,
    /// The messages themselves, sent and got by the client.
    pub(crate) messages: Vec<(bool, Bytes)>,
    conn: Option<ConnId>,
    next_accept: u64,
    accepted: ConnId,
    answer: fn(&CxRequest) -> CxAnswer,
}

impl Pair {
    pub(crate) fn new(answer: fn(&CxRequest) -> CxAnswer) -> Self {
        Self {
            now: Instant::EPOCH,
            client: client("s1", 1),
            server: server(),
            cut: false,
            mute: false,
            lazy: false,
            answers: Vec::new(),
            questions: Vec::new(),
            demands: Vec::new(),
            demand_answers: Vec::new(),
            ladder: Vec::new(),
            notes: Vec::new(),
            connects: Vec::new(),
            messages: Vec::new(),
            conn: None,
            next_accept: 0,
            accepted: ConnId(0),
            answer,
        }
    }

    pub(crate) fn ask(&mut self, ask: u64, request: CxRequest) {
        self.client.handle_input(self.now, ClientInput::Ask(AskId(ask), request));
        self.settle();
    }

    pub(crate) fn client_input(&mut self, input: ClientInput) {
        self.client.handle_input(self.now, input);
        self.settle();
    }

    pub(crate) fn server_input(&mut self, input: ServerInput) {
        self.server.handle_input(self.now, input);
        self.settle();
    }

    /// The connection breaks, and both sides hear of it.
    pub(crate) fn break_connection(&mut self) {
        if let Some(conn) = self.conn.take() {
            let cause = || "reset by peer".to_owned();
            self.client.handle_input(self.now, ClientInput::Closed(conn, cause()));
            self.server.handle_input(self.now, ServerInput::Closed(self.accepted, cause()));
            self.settle();
        }
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.settle();
            let due = [self.client.poll_timeout(), self.server.poll_timeout()];
            let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.client.handle_input(self.now, ClientInput::Timeout);
            self.server.handle_input(self.now, ServerInput::Timeout);
        }
        self.now = end;
    }

    /// Passes everything on until nobody says anything.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Some(output) = self.client.poll_output() {
                self.on_client(output);
            } else if let Some(output) = self.server.poll_output() {
                self.on_server(output);
            } else {
                return;
            }
        }
    }

    fn on_client(&mut self, output: ClientOutput) {
        match output {
            ClientOutput::Answer(ask, answer) => self.answers.push((self.now, ask, answer)),
            ClientOutput::Close { .. } => {
                if self.conn.take().is_some() {
                    let closed = ServerInput::Closed(self.accepted, "end of stream".into());
                    self.server.handle_input(self.now, closed);
                }
            }
            ClientOutput::Connect { conn, local, remote } => {
                self.connects.push(self.now);
                if self.cut {
                    let closed = ClientInput::Closed(conn, "refused".into());
                    return self.client.handle_input(self.now, closed);
                }
                self.conn = Some(conn);
                self.next_accept += 1;
                self.accepted = ConnId::accepted(self.next_accept);
                let flow = |local, remote, conn| Flow {
                    transport: Transport::Tcp,
                    local,
                    remote,
                    conn: Some(conn),
                    sa: None,
                };
                let opened = ServerInput::Opened(flow(remote, local, self.accepted));
                self.server.handle_input(self.now, opened);
                let opened = ClientInput::Opened(flow(local, remote, conn));
                self.client.handle_input(self.now, opened);
            }
            ClientOutput::Demand(demand, what) => self.demands.push((demand, what)),
            ClientOutput::Trace(kind) => self.on_trace(kind),
            ClientOutput::Write { bytes, .. } => {
                if !self.cut {
                    let bytes = ServerInput::Bytes(self.accepted, bytes);
                    self.server.handle_input(self.now, bytes);
                }
            }
        }
    }

    fn on_trace(&mut self, kind: TraceKind) {
        let (sent, wire) = match kind {
            TraceKind::Sent(wire) => (true, wire),
            TraceKind::Received(wire) => (false, wire),
            TraceKind::Note(note) => return self.notes.push(note.text),
            _ => return,
        };
        let message = Message::decode(&wire.bytes).unwrap();
        let way = if sent { ">" } else { "<" };
        self.ladder.push(format!("{way} {}", message.name()));
        self.messages.push((sent, wire.bytes));
    }

    fn on_server(&mut self, output: ServerOutput) {
        match output {
            ServerOutput::Close { conn } => {
                if conn == self.accepted
                    && let Some(ours) = self.conn.take()
                {
                    let closed = ClientInput::Closed(ours, "end of stream".into());
                    self.client.handle_input(self.now, closed);
                }
            }
            ServerOutput::DemandAnswer(demand, result) => {
                self.demand_answers.push((demand, result));
            }
            ServerOutput::Request { id, origin_host, request } => {
                if !self.lazy {
                    let answer = (self.answer)(&request);
                    self.server.handle_input(self.now, ServerInput::Answer(id, answer));
                }
                self.questions.push((id, origin_host, request));
            }
            ServerOutput::Trace(_) => {}
            ServerOutput::Write { conn, bytes } => {
                if let (false, false, Some(ours)) = (self.cut, self.mute, self.conn)
                    && conn == self.accepted
                {
                    self.client.handle_input(self.now, ClientInput::Bytes(ours, bytes));
                }
            }
        }
    }
}
