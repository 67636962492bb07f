//! Fixtures of the tests: a simulated lab with emulated UEs, and raw peers that say exactly what a
//! test gives them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod parallel;
mod seeds;

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::config::{Lab as LabConfig, render};
use cscf_core::engine::{Input, Node, Output};
use cscf_core::sip::{self, Message, Request, Response};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Note, Protocol, TraceEvent, TraceKind, Wire};
use cscf_core::transport::ipsec::SaCommand;
use cscf_core::transport::{ConnId, Flow, Packet, Transport};
use scenarios::lab::LabNode;
use scenarios::run::{Instance, SimulatedStage};
use scenarios::script::{self, Failure, Stage, read_scenario};
use scenarios::ue::UeConfig;

pub use parallel::in_parallel;
pub use seeds::{cast_of, seed_to_replay};

/// The home domain of the built-in lab.
pub const DOMAIN: &str = "ims.mnc001.mcc001.3gppnetwork.org";

/// A simulated lab: p1, i1, s1, hss, and UEs.
#[derive(Debug)]
pub struct Bench {
    /// The stage, for what this fixture does not offer.
    pub stage: SimulatedStage,
    /// The lab's configuration.
    pub config: LabConfig,
    mark: usize,
    raw_count: u8,
}

/// A message of the trace with where it travelled.
#[derive(Clone, Debug)]
pub struct Told {
    /// When.
    pub at: Instant,
    /// The packet.
    pub wire: Wire,
    /// What it says.
    pub message: Message,
}

impl Bench {
    /// The built-in lab with these subscribers' UEs.
    #[must_use]
    pub fn new(ues: &[&str]) -> Self {
        let parties: String = ues.iter().map(|name| format!("  {name}: {{}}\n")).collect();
        if ues.is_empty() {
            return Self::of("scenario: none\nsteps: []\n");
        }
        Self::of(&format!("scenario: none\nparties:\n{parties}steps: []\n"))
    }

    /// The lab of a scenario text: its `parties`, `lab` and `network`.
    ///
    /// # Panics
    ///
    /// When the text is wrong.
    #[must_use]
    pub fn of(source: &str) -> Self {
        Self::seeded(source, 1)
    }

    /// As [`Bench::of`], from this seed.
    ///
    /// # Panics
    ///
    /// When the text is wrong.
    #[must_use]
    pub fn seeded(source: &str, seed: u64) -> Self {
        Self::with_lab(source, seed, |_| {})
    }

    /// As [`Bench::seeded`], with the lab file's values changed before it starts.
    ///
    /// # Panics
    ///
    /// When the text is wrong.
    #[must_use]
    pub fn with_lab(source: &str, seed: u64, change: impl FnOnce(&mut LabConfig)) -> Self {
        Self::with_ues(source, seed, change, |_| {})
    }

    /// As [`Bench::with_lab`], with the UEs' configuration changed too.
    ///
    /// # Panics
    ///
    /// When the text is wrong.
    #[must_use]
    pub fn with_ues(
        source: &str,
        seed: u64,
        change: impl FnOnce(&mut LabConfig),
        change_ues: impl FnOnce(&mut [UeConfig]),
    ) -> Self {
        let mut base = LabConfig::default_lab();
        change(&mut base);
        let scenario = match read_scenario(source, &base.domain) {
            Ok(scenario) => scenario,
            Err(problems) => panic!("{}", render("bench", source, &problems, false)),
        };
        let mut instance = Instance::new(&base, &scenario, 1, 0).expect("instance");
        change_ues(&mut instance.ues);
        instance.lab.esp = true;
        let config = instance.lab.clone();
        let stage = SimulatedStage::new(instance, scenario.network, seed).expect("stage");
        let mut bench = Self { stage, config, mark: 0, raw_count: 0 };
        // The Diameter connections come up first.
        bench.run_for(Duration::from_millis(20));
        bench
    }

    /// Runs steps of the scenario language, one a line, e.g. `alice registers`.
    ///
    /// # Panics
    ///
    /// At the first step that is not as expected, with its text.
    pub fn play(&mut self, steps: &str) {
        let lines: String =
            steps
                .lines()
                .map(str::trim_end)
                .filter(|line| !line.trim().is_empty())
                .map(|line| {
                    if line.starts_with(' ') { format!("{line}\n") } else { format!("- {line}\n") }
                })
                .collect();
        let source = format!("scenario: steps\nsteps:\n{lines}");
        let scenario = match read_scenario(&source, DOMAIN) {
            Ok(scenario) => scenario,
            Err(problems) => panic!("{}", render("steps", &source, &problems, false)),
        };
        match script::run(&scenario, &mut self.stage) {
            Ok(()) => {}
            Err(Failure::Expectation(problem)) => {
                let problems = cscf_core::config::Problems(vec![problem]);
                panic!("{}", render("steps", &source, &problems, false));
            }
            Err(Failure::Broken(fault)) => panic!("{fault}"),
        }
    }

    /// Registers these UEs and waits until all are registered.
    pub fn register(&mut self, ues: &[&str]) {
        for ue in ues {
            self.play(&format!("{ue} registers\n{ue} is registered"));
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.stage.now() + time;
        self.stage.lab.run_until(end);
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.stage.now()
    }

    /// The address of a node or UE.
    ///
    /// # Panics
    ///
    /// When there is none of that name.
    #[must_use]
    pub fn addr(&self, name: &str) -> SocketAddr {
        let node = self.config.node_named(name).map(|node| node.listen);
        node.or_else(|| self.stage.address_of(name)).expect("a node of that name")
    }

    /// Adds a peer that says what it is told: `127.1.0.201:5060` and upwards.
    pub fn raw(&mut self, name: &str) -> SocketAddr {
        self.raw_count += 1;
        let addr = SocketAddr::from(([127, 1, 0, 200 + self.raw_count], 5060));
        self.raw_at(name, addr);
        addr
    }

    /// Puts a raw peer at an address, also at that of a node that was crashed before.
    pub fn raw_at(&mut self, name: &str, addr: SocketAddr) {
        self.stage.lab.add(Box::new(RawPeer::new(name, addr)), &[addr]);
    }

    /// Stops a node and puts a raw peer of the name `fake` at its address.
    pub fn replace(&mut self, node: &str, fake: &str) -> SocketAddr {
        let addr = self.addr(node);
        assert!(self.stage.lab.crash(node), "{node} runs");
        self.raw_at(fake, addr);
        addr
    }

    /// Lets a raw peer send a datagram; `\n` becomes CRLF. Nothing happens until time passes.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn send(&mut self, raw: &str, to: SocketAddr, text: &str) {
        self.send_bytes(raw, to, &crlf(text));
    }

    /// Lets a raw peer send a datagram.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn send_bytes(&mut self, raw: &str, to: SocketAddr, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let done = self.stage.lab.with(raw, |peer: &mut RawPeer, _| peer.datagram(to, bytes));
        done.expect("a raw peer of that name");
    }

    /// Lets a raw peer open a connection.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn connect(&mut self, raw: &str, to: SocketAddr) -> ConnId {
        let conn = self.stage.lab.with(raw, |peer: &mut RawPeer, _| peer.connect(to));
        conn.expect("a raw peer of that name")
    }

    /// Lets a raw peer install or remove security associations.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn secure(&mut self, raw: &str, command: SaCommand) {
        let done = self.stage.lab.with(raw, |peer: &mut RawPeer, _| {
            peer.outputs.push_back(Output::Security(command));
        });
        done.expect("a raw peer of that name");
    }

    /// Lets a raw peer send a datagram by a flow, under the associations it names.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn send_by(&mut self, raw: &str, flow: Flow, text: &str) {
        let bytes = crlf(text).into();
        let done = self.stage.lab.with(raw, |peer: &mut RawPeer, _| {
            let packet = Packet { flow, bytes, received_at: Instant::EPOCH };
            peer.outputs.push_back(Output::Datagram(packet));
        });
        done.expect("a raw peer of that name");
    }

    /// Lets a raw peer open a connection by a flow, under the associations it names.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn connect_by(&mut self, raw: &str, flow: Flow) -> ConnId {
        let conn = self.stage.lab.with(raw, |peer: &mut RawPeer, _| peer.connect_by(flow));
        conn.expect("a raw peer of that name")
    }

    /// Takes the connections that others have opened to a raw peer.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn accepted(&mut self, raw: &str) -> Vec<Flow> {
        let take = |peer: &mut RawPeer, _| std::mem::take(&mut peer.accepted);
        self.stage.lab.with(raw, take).expect("a raw peer of that name")
    }

    /// Lets a raw peer write to a connection.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn write(&mut self, raw: &str, conn: ConnId, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let done = self.stage.lab.with(raw, |peer: &mut RawPeer, _| {
            peer.outputs.push_back(Output::Write { conn, bytes });
        });
        done.expect("a raw peer of that name");
    }

    /// Lets a raw peer close a connection.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn disconnect(&mut self, raw: &str, conn: ConnId) {
        let done = self.stage.lab.with(raw, |peer: &mut RawPeer, _| {
            peer.outputs.push_back(Output::Close(conn));
        });
        done.expect("a raw peer of that name");
    }

    /// Takes the SIP datagrams a raw peer has got.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name, or it got something that is not SIP.
    pub fn heard(&mut self, raw: &str) -> Vec<Message> {
        self.heard_by(raw).into_iter().map(|(_, message)| message).collect()
    }

    /// Takes the SIP datagrams a raw peer has got, with the flow each came by.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name, or it got something that is not SIP.
    pub fn heard_by(&mut self, raw: &str) -> Vec<(Flow, Message)> {
        let packets = self.packets(raw).into_iter();
        packets.map(|packet| (packet.flow, sip::parse(&packet.bytes).expect("SIP"))).collect()
    }

    /// Takes the datagrams a raw peer has got, whatever they are; none without such a peer.
    pub fn packets(&mut self, raw: &str) -> Vec<Packet> {
        let take = |peer: &mut RawPeer, _| std::mem::take(&mut peer.packets);
        self.stage.lab.with(raw, take).unwrap_or_default()
    }

    /// Takes the bytes a raw peer has got on its connections, joined per connection, and the
    /// connections that were closed.
    ///
    /// # Panics
    ///
    /// When there is no raw peer of that name.
    pub fn heard_stream(&mut self, raw: &str) -> (Vec<(ConnId, Bytes)>, Vec<ConnId>) {
        let heard = self.stage.lab.with(raw, |peer: &mut RawPeer, _| {
            (std::mem::take(&mut peer.streams), std::mem::take(&mut peer.closed))
        });
        heard.expect("a raw peer of that name")
    }

    /// From here on [`Bench::sent`], [`Bench::received`] and [`Bench::notes`] count.
    pub fn mark(&mut self) {
        self.mark = self.stage.events().len();
    }

    /// The events since the mark.
    pub fn events(&self) -> impl Iterator<Item = &TraceEvent> {
        self.stage.events().iter().skip(self.mark)
    }

    /// The SIP messages a node has sent since the mark.
    #[must_use]
    pub fn sent(&self, node: &str) -> Vec<Told> {
        self.told(node, true)
    }

    /// The SIP messages a node has received since the mark.
    #[must_use]
    pub fn received(&self, node: &str) -> Vec<Told> {
        self.told(node, false)
    }

    fn told(&self, node: &str, sent: bool) -> Vec<Told> {
        let of_node = self.events().filter(|event| *event.node == *node);
        of_node
            .filter_map(|event| {
                let wire = match &event.kind {
                    TraceKind::Sent(wire) if sent => wire,
                    TraceKind::Received(wire) if !sent => wire,
                    _ => return None,
                };
                let message = (wire.protocol == Protocol::Sip).then(|| sip::parse(&wire.bytes));
                let message = message?.ok()?;
                Some(Told { at: event.at, wire: wire.clone(), message })
            })
            .collect()
    }

    /// The Diameter messages a node has sent since the mark.
    #[must_use]
    pub fn sent_diameter(&self, node: &str) -> Vec<Bytes> {
        let of_node = self.events().filter(|event| *event.node == *node);
        of_node
            .filter_map(|event| match &event.kind {
                TraceKind::Sent(wire) if wire.protocol == Protocol::Diameter => {
                    Some(wire.bytes.clone())
                }
                _ => None,
            })
            .collect()
    }

    /// Why a node has dropped packets since the mark.
    #[must_use]
    pub fn dropped(&self, node: &str) -> Vec<String> {
        let of_node = self.events().filter(|event| *event.node == *node);
        of_node
            .filter_map(|event| match &event.kind {
                TraceKind::Dropped { reason, .. } => Some(reason.clone()),
                _ => None,
            })
            .collect()
    }

    /// The decisions of a node since the mark.
    #[must_use]
    pub fn notes(&self, node: &str) -> Vec<Note> {
        let of_node = self.events().filter(|event| *event.node == *node);
        of_node
            .filter_map(|event| match &event.kind {
                TraceKind::Note(note) => Some(note.clone()),
                _ => None,
            })
            .collect()
    }

    /// What all nodes still hold: node, what, how many.
    #[must_use]
    pub fn remainders(&self) -> Vec<(String, &'static str, usize)> {
        self.stage.lab.remainders()
    }
}

impl Told {
    /// The request it is.
    ///
    /// # Panics
    ///
    /// When it is a response.
    #[must_use]
    pub fn request(&self) -> &Request {
        match &self.message {
            Message::Request(request) => request,
            Message::Response(response) => panic!("a {} response", response.status),
        }
    }

    /// The response it is.
    ///
    /// # Panics
    ///
    /// When it is a request.
    #[must_use]
    pub fn response(&self) -> &Response {
        match &self.message {
            Message::Response(response) => response,
            Message::Request(request) => panic!("a {} request", request.method),
        }
    }

    /// `INVITE`, or `200 INVITE`.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.message)
    }

    /// The value of a header, unfolded; all lines joined by ` | `; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        header(&self.message, name)
    }
}

/// `INVITE`, or `200 INVITE`.
#[must_use]
pub fn label(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => {
            let cseq = header(message, "CSeq");
            format!("{} {}", response.status, cseq.split_whitespace().nth(1).unwrap_or_default())
        }
    }
}

/// The value of a header, unfolded; all lines joined by ` | `; empty if it is not there.
#[must_use]
pub fn header(message: &Message, name: &str) -> String {
    let fields = message.headers().fields_named(name);
    fields.map(|field| field.unfolded().into_owned()).collect::<Vec<_>>().join(" | ")
}

/// Text with CRLF line ends; an empty line ends the head when the text has none.
#[must_use]
pub fn crlf(text: &str) -> Vec<u8> {
    let mut out = text.replace("\r\n", "\n").replace('\n', "\r\n");
    if !out.contains("\r\n\r\n") {
        out.push_str(if out.ends_with("\r\n") { "\r\n" } else { "\r\n\r\n" });
    }
    out.into_bytes()
}

/// A node that only says what a test gives it, and keeps what it hears.
#[derive(Debug)]
pub struct RawPeer {
    name: String,
    addr: SocketAddr,
    outputs: VecDeque<Output>,
    packets: Vec<Packet>,
    streams: Vec<(ConnId, Bytes)>,
    closed: Vec<ConnId>,
    accepted: Vec<Flow>,
    conn_count: u64,
}

impl RawPeer {
    fn new(name: &str, addr: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            addr,
            outputs: VecDeque::new(),
            packets: Vec::new(),
            streams: Vec::new(),
            closed: Vec::new(),
            accepted: Vec::new(),
            conn_count: 0,
        }
    }

    fn datagram(&mut self, to: SocketAddr, bytes: Bytes) {
        let flow =
            Flow { transport: Transport::Udp, local: self.addr, remote: to, conn: None, sa: None };
        let packet = Packet { flow, bytes, received_at: Instant::EPOCH };
        self.outputs.push_back(Output::Datagram(packet));
    }

    fn connect(&mut self, remote: SocketAddr) -> ConnId {
        let (transport, local) = (Transport::Tcp, self.addr);
        self.connect_by(Flow { transport, local, remote, conn: None, sa: None })
    }

    fn connect_by(&mut self, flow: Flow) -> ConnId {
        self.conn_count += 1;
        let conn = ConnId::opened(self.conn_count);
        let Flow { transport, local, remote, sa, .. } = flow;
        self.outputs.push_back(Output::Connect { conn, transport, local, remote, sa });
        conn
    }
}

impl Node for RawPeer {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle_input(&mut self, _now: Instant, input: Input) {
        match input {
            Input::Datagram(packet) => self.packets.push(packet),
            Input::Bytes { conn, bytes, .. } => {
                match self.streams.iter_mut().find(|(known, _)| *known == conn) {
                    Some((_, so_far)) => *so_far = [&so_far[..], &bytes[..]].concat().into(),
                    None => self.streams.push((conn, bytes)),
                }
            }
            Input::Closed { conn, .. } => self.closed.push(conn),
            Input::Opened(flow) if flow.conn.is_some_and(|conn| conn.0 & 1 == 0) => {
                self.accepted.push(flow);
            }
            _ => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl LabNode for RawPeer {}
