//! Nodes under associations whose peer is a plain socket with the machine of ESP behind it: what is
//! on the wire between them can be looked at.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::super::{Addresses, Clock, Handle, Host};
use super::{Form, Protect, Protected};
use crate::engine::{Input, Node, Output};
use crate::time::{Duration, Instant};
use crate::transport::esp::{DropCause, Endpoint, EspEvent, EspLimits};
use crate::transport::ipsec::{
    Algorithms, End, EspKeys, IPSEC_LIFETIME, Mode, Ports, SaCommand, SaSet,
};
use crate::transport::{Packet, SaId};

const WITHIN: Duration = Duration::from_secs(10);
const ESP_PORT: u16 = 14_500;
const OURS: Ports = Ports { client: 15_100, server: 15_062, spi_client: 2_001, spi_server: 2_002 };
const THEIRS: Ports =
    Ports { client: 40_003, server: 40_002, spi_client: 1_001, spi_server: 1_002 };

/// Sends back what comes, by the associations it came by, and remembers it.
#[derive(Debug, Default)]
struct Echo {
    set: Option<SaSet>,
    happened: Vec<String>,
    outputs: VecDeque<Output>,
}

impl Node for Echo {
    fn name(&self) -> &str {
        "p1"
    }

    fn handle_input(&mut self, _: Instant, input: Input) {
        let said = match input {
            Input::Datagram(packet) => {
                let text = String::from_utf8_lossy(&packet.bytes).into_owned();
                if let Some(set) = self.set.as_ref().filter(|set| Some(set.id) == packet.flow.sa) {
                    let flow = set.datagram_flow();
                    self.outputs.push_back(Output::Datagram(Packet { flow, ..packet }));
                }
                format!("{text} by {:?}", packet.flow.sa.map(|id| id.0))
            }
            Input::Bytes { conn, bytes, .. } => {
                let said = format!("bytes {}", String::from_utf8_lossy(&bytes));
                self.outputs.push_back(Output::Write { conn, bytes });
                said
            }
            Input::Opened(flow) => format!("opened by {:?}", flow.sa.map(|id| id.0)),
            Input::Closed { cause, .. } => format!("closed: {cause}"),
            Input::Dropped { reason, .. } => format!("dropped: {reason}"),
            Input::NotSecured { set, why } => format!("set {} does not hold: {why}", set.0),
            Input::Unreachable { cause, .. } => format!("not sent: {cause}"),
            _ => return,
        };
        self.happened.push(said);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// The associations as the node at this address sees them.
fn set(ours: IpAddr, theirs: IpAddr) -> SaSet {
    let algorithms = Algorithms::named("hmac-sha-1-96", "aes-cbc").expect("go together");
    SaSet {
        id: SaId(7),
        local: End { addr: ours, ports: OURS },
        remote: End { addr: theirs, ports: THEIRS },
        algorithms,
        mode: Mode::Transport,
        keys: EspKeys::expand(algorithms, &[1; 16], &[2; 16]),
        lifetime: IPSEC_LIFETIME,
    }
}

/// The other end: a socket for ESP in UDP, and the machine.
struct Peer {
    socket: UdpSocket,
    endpoint: Endpoint,
    set: SaSet,
    clock: Clock,
    node: SocketAddr,
    /// Every packet that came, as it was on the wire.
    wire: Vec<Vec<u8>>,
}

impl Peer {
    async fn new(set: &SaSet) -> Self {
        let at = SocketAddr::new(set.remote.addr, ESP_PORT);
        let socket = UdpSocket::bind(at).await.expect("binds");
        let (mut endpoint, clock) = (Endpoint::new(1, EspLimits::default()), Clock::start());
        let theirs = set.seen_by_peer(SaId(1));
        endpoint.command(clock.now(), &SaCommand::Install(Box::new(theirs.clone())));
        let node = SocketAddr::new(set.local.addr, ESP_PORT);
        Self { socket, endpoint, set: theirs, clock, node, wire: Vec::new() }
    }

    fn say(&mut self, text: &str) {
        let (flow, now) = (self.set.datagram_flow(), self.clock.now());
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let packet = Packet { flow, bytes, received_at: now };
        self.endpoint.send_datagram(now, &packet).expect("protects");
    }

    /// Carries packets until the machine tells something that is no packet.
    async fn hears(&mut self) -> EspEvent {
        let mut buffer = [0; 4_096];
        let hearing = async {
            loop {
                while let Some(event) = self.endpoint.poll_event() {
                    match event {
                        EspEvent::Transmit { bytes, .. } => {
                            self.socket.send_to(&bytes, self.node).await.expect("sends");
                        }
                        event => return event,
                    }
                }
                let wake = self.endpoint.poll_timeout();
                let wait = wake.map_or(WITHIN, |at| at.since(self.clock.now()));
                match timeout(wait, self.socket.recv_from(&mut buffer)).await {
                    Ok(got) => {
                        let (count, from) = got.expect("receives");
                        let packet = buffer[..count].to_vec();
                        let (ours, now) = (self.set.local.addr, self.clock.now());
                        self.endpoint.receive(now, ours, from.ip(), &packet);
                        self.wire.push(packet);
                    }
                    Err(_) => self.endpoint.handle_timeout(self.clock.now()),
                }
            }
        };
        timeout(WITHIN, hearing).await.expect("hears something")
    }
}

struct Lab {
    host: Host,
    node: Handle<Echo>,
    set: SaSet,
}

/// A node with associations, at an address of its own.
fn lab(third: u8) -> Lab {
    let ip = |host| IpAddr::from([127, 93, third, host]);
    let set = set(ip(11), ip(101));
    let host = Host::new(Clock::start(), Rc::new(|_| {}));
    let ports = vec![SocketAddr::new(ip(11), OURS.server)];
    let protect = Protect { form: Form::InUdp(ESP_PORT), at: vec![ip(11)], ports };
    let addresses = Addresses::both(SocketAddr::new(ip(11), 0)).protected(Some(protect));
    let node = host.add(Echo::default(), &addresses).expect("binds");
    Lab { host, node, set }
}

impl Lab {
    fn order(&self, command: SaCommand) {
        self.node.call(move |node, _| {
            if let SaCommand::Install(set) = &command {
                node.set = Some((**set).clone());
            }
            node.outputs.push_back(Output::Security(command));
        });
    }

    fn install(&self) {
        self.order(SaCommand::Install(Box::new(self.set.clone())));
    }

    async fn told(&self, enough: impl Fn(&Protected) -> bool) -> Protected {
        let asking = async {
            loop {
                let told = self.node.protected().await.expect("runs");
                if enough(&told) {
                    return told;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(WITHIN, asking).await.expect("it comes to that")
    }

    async fn happened(&self, words: &str) -> Vec<String> {
        let asking = async {
            loop {
                let happened = self.node.ask(|node, _| node.happened.clone()).await.expect("runs");
                if happened.iter().any(|said| said.contains(words)) {
                    return happened;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(WITHIN, asking).await.unwrap_or_else(|_| panic!("`{words}` never happened"))
    }
}

fn counted(told: &Protected, cause: DropCause) -> u64 {
    told.dropped.iter().find(|(known, _)| *known == cause).map_or(0, |(_, count)| *count)
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("runtime").block_on(future)
}

#[test]
fn what_leaves_under_associations_is_esp_and_what_comes_by_esp_has_its_set() {
    block_on(async {
        let lab = lab(1);
        let mut peer = Peer::new(&lab.set).await;
        lab.host
            .run_until(async {
                lab.install();
                lab.told(|told| told.sets.len() == 1).await;
                peer.say("REGISTER");
                let EspEvent::Datagram(answer) = peer.hears().await else { panic!("no datagram") };
                assert_eq!(&answer.bytes[..], b"REGISTER");
                assert_eq!(answer.flow.remote, lab.set.local.client());
                let packet = &peer.wire[0];
                // The SPI of the peer's server port, the first number, and nothing in the clear.
                assert_eq!(packet[..8], [0, 0, 0x03, 0xEA, 0, 0, 0, 1]);
                assert!(!packet.windows(8).any(|part| part == b"REGISTER"));
                assert_eq!(lab.happened("REGISTER").await, ["REGISTER by Some(7)"]);
                let told = lab.told(|_| true).await;
                assert_eq!((told.form, told.esp_sa().len()), (Some(Form::InUdp(ESP_PORT)), 4));
            })
            .await;
        lab.host.stop().await;
    });
}

#[test]
fn clear_text_at_protected_ports_is_dropped_counted_and_told() {
    block_on(async {
        let lab = lab(2);
        let stranger = UdpSocket::bind("127.93.2.66:0").await.expect("binds");
        lab.host
            .run_until(async {
                let (server, client) = (lab.set.local.server(), lab.set.local.client());
                // The server port is protected before there is any association.
                stranger.send_to(b"INVITE", server).await.expect("sends");
                lab.told(|told| counted(told, DropCause::ClearText) == 1).await;
                lab.install();
                lab.told(|told| told.sets.len() == 1).await;
                stranger.send_to(b"INVITE", client).await.expect("sends");
                let stream = TcpStream::connect(server).await.expect("is seen");
                let told = lab.told(|told| counted(told, DropCause::ClearText) == 3).await;
                assert_eq!(told.dropped.len(), 1, "{told:?}");
                let mut byte = [0];
                stream.readable().await.expect("an end");
                let end = stream.try_read(&mut byte).expect_err("ended at once");
                assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
                let drops = lab.node.ask(|node, _| node.happened.clone()).await.expect("runs");
                assert_eq!(drops.len(), 3, "{drops:?}");
                let is_told = |it: &String| it.starts_with("dropped: ESP: clear text: ");
                assert!(drops.iter().all(is_told), "{drops:?}");
            })
            .await;
    });
}

#[test]
fn a_flood_of_forged_packets_is_counted_and_disturbs_nobody() {
    block_on(async {
        const FORGED: u64 = 2_000;
        let lab = lab(3);
        let mut peer = Peer::new(&lab.set).await;
        let stranger = UdpSocket::bind(SocketAddr::new(lab.set.remote.addr, 0)).await;
        let stranger = stranger.expect("binds");
        lab.host
            .run_until(async {
                lab.install();
                lab.told(|told| told.sets.len() == 1).await;
                let at = SocketAddr::new(lab.set.local.addr, ESP_PORT);
                for number in 1..=FORGED {
                    let number = u32::try_from(number).expect("small").to_be_bytes();
                    let spi = if number[3].is_multiple_of(2) { 2_002 } else { 9_999_u32 };
                    let packet = [&spi.to_be_bytes()[..], &number, &[0x5A; 76]].concat();
                    stranger.send_to(&packet, at).await.expect("sends");
                    // Some of a burst may be lost in the socket's buffer; not of a slow one.
                    tokio::task::yield_now().await;
                }
                peer.say("OPTIONS");
                let EspEvent::Datagram(answer) = peer.hears().await else { panic!("no answer") };
                assert_eq!(&answer.bytes[..], b"OPTIONS");
                let total = |told: &Protected| told.dropped.iter().map(|it| it.1).sum::<u64>();
                let told = lab.told(|told| total(told) == FORGED).await;
                assert_eq!(counted(&told, DropCause::UnknownSpi), FORGED / 2, "{told:?}");
                assert_eq!(counted(&told, DropCause::BadIcv), FORGED / 2, "{told:?}");
                let told = lab.node.ask(|node, _| node.happened.len()).await.expect("runs");
                assert!(told < 200, "{told} told of {FORGED}");
            })
            .await;
    });
}

#[test]
fn a_set_that_cannot_be_made_is_told_back_and_counts_for_nothing() {
    block_on(async {
        let mut lab = lab(6);
        lab.set.mode = Mode::UdpEncapsulatedTunnel;
        lab.host
            .run_until(async {
                lab.install();
                let happened = lab.happened("does not hold").await;
                let why = "set 7 does not hold: its mode is UDP-enc-tun; here is transport mode";
                assert!(happened[0].starts_with(why), "{happened:?}");
                let told = lab.told(|_| true).await;
                assert_eq!((told.sets, told.gone), (vec![], vec![]));
                // Its ports are nobody's, and those of the node stay guarded.
                UdpSocket::bind(lab.set.local.client()).await.expect("free");
                UdpSocket::bind(lab.set.local.server()).await.expect_err("guarded");
            })
            .await;
    });
}

#[test]
fn what_is_no_esp_at_its_port_is_counted_and_told() {
    block_on(async {
        let lab = lab(7);
        let stranger = UdpSocket::bind("127.93.7.66:0").await.expect("binds");
        lab.host
            .run_until(async {
                let at = SocketAddr::new(lab.set.local.addr, ESP_PORT);
                // A keep-alive is nothing to tell of.
                stranger.send_to(&[0xff], at).await.expect("sends");
                stranger.send_to(&[0; 20], at).await.expect("sends");
                lab.told(|told| told.dropped == [(DropCause::Malformed, 1)]).await;
                let told = lab.happened("no ESP").await;
                assert_eq!(told, ["dropped: ESP: malformed: no ESP: its SPI is 0"]);
            })
            .await;
    });
}

#[test]
fn packets_that_come_back_do_not_make_a_node_deaf() {
    block_on(async {
        // More than the buffer of a socket takes where it may not have the one it wishes for.
        const UNANSWERED: usize = 6_000;
        let lab = lab(8);
        lab.host
            .run_until(async {
                lab.install();
                lab.told(|told| told.sets.len() == 1).await;
                let flow = lab.set.datagram_flow();
                for _ in 0..UNANSWERED / 100 {
                    lab.node.call(move |node, now| {
                        let bytes = Bytes::from_static(b"NOTIFY");
                        let packet = Packet { flow, bytes, received_at: now };
                        node.outputs.extend(vec![Output::Datagram(packet); 100]);
                    });
                    lab.told(|_| true).await;
                }
                lab.happened("port unreachable (ICMP)").await;
                let mut peer = Peer::new(&lab.set).await;
                for number in 0..20 {
                    peer.say(&format!("OPTIONS {number}"));
                    let EspEvent::Datagram(answer) = peer.hears().await else { panic!("answer") };
                    assert_eq!(answer.bytes, format!("OPTIONS {number}"));
                }
            })
            .await;
    });
}

#[test]
fn without_its_set_nothing_leaves_and_ports_are_given_back() {
    block_on(async {
        let lab = lab(4);
        lab.host
            .run_until(async {
                lab.install();
                lab.told(|told| told.sets.len() == 1).await;
                let client = lab.set.local.client();
                assert!(UdpSocket::bind(client).await.is_err(), "it is taken");
                lab.order(SaCommand::Remove(lab.set.id));
                let told = lab.told(|told| told.sets.is_empty()).await;
                assert_eq!(told.gone.len(), 1, "its keys still open a capture");
                let free = async {
                    while UdpSocket::bind(client).await.is_err() {
                        tokio::task::yield_now().await;
                    }
                };
                timeout(WITHIN, free).await.expect("given back");
                let flow = lab.set.datagram_flow();
                let bytes = Bytes::from_static(b"late");
                lab.node.call(move |node, now| {
                    let packet = Packet { flow, bytes, received_at: now };
                    node.outputs.push_back(Output::Datagram(packet));
                });
                lab.happened("not sent").await;
            })
            .await;
    });
}

#[test]
fn connections_inside_associations_are_the_nodes() {
    block_on(async {
        let lab = lab(5);
        let mut peer = Peer::new(&lab.set).await;
        lab.host
            .run_until(async {
                lab.install();
                lab.told(|told| told.sets.len() == 1).await;
                let (flow, now) = (peer.set.stream_flow(), peer.clock.now());
                let stream = peer.endpoint.connect(now, &flow).expect("begins");
                assert_eq!(peer.hears().await, EspEvent::Connected(stream));
                let long = Bytes::from(vec![b'R'; 5_000]);
                assert!(peer.endpoint.write(peer.clock.now(), stream, long.clone()));
                let mut back = Vec::new();
                while back.len() < long.len() {
                    match peer.hears().await {
                        EspEvent::Bytes { bytes, .. } => back.extend_from_slice(&bytes),
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(back, long);
                assert_eq!(lab.happened("opened").await[0], "opened by Some(7)");
                peer.endpoint.close(peer.clock.now(), stream);
                let closed = async {
                    loop {
                        tokio::select! {
                            _ = peer.hears() => {}
                            happened = lab.happened("closed") => return happened,
                        }
                    }
                };
                timeout(WITHIN, closed).await.expect("it ends");
            })
            .await;
        lab.host.stop().await;
    });
}
