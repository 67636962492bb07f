//! One node on its sockets: the loop of the drain rule.
//!
//! Each turn takes a bounded number of inputs from every source, so that none starves another, and
//! sleeps only when all are empty.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{Sleep, sleep, timeout};

use super::bind::{self, Sockets};
use super::conn::{self, Outgoing};
use super::greeting::Greetings;
use super::memory::{Hop, Inbox, Link, Switch};
use super::protected::Protection;
use super::resolver::Resolver;
use super::secure::Tls;
use super::state::{Keeper, StateFile};
use super::udp::{self, Datagrams, UdpSocket};
use super::{Clock, Command, Limits, NodeEnded, Sink, pace};
use crate::cx::AskId;
use crate::engine::{Input, Node};
use crate::role::Answer;
use crate::time::{Duration, Instant};
use crate::transport::dns::{DnsAnswer, DnsQuestion};
use crate::transport::esp::StreamId;
use crate::transport::{ConnId, Flow, Packet, Transport};

/// Inputs taken from one source before the next has its turn.
pub(super) const TURN_MAX: usize = 64;
/// Turns before the tasks of connections have theirs: asking the system for news of sockets costs a
/// call, and most turns empty theirs.
const TURNS_MAX: usize = 4;
/// Events of connections that may wait for the node; then their readers wait.
const EVENTS_MAX: usize = 256;
/// How long a stopping node may hear its peers answer.
const LEAVE_FOR: Duration = Duration::from_millis(100);
/// How long it may then write what waits.
const FINISH_FOR: Duration = Duration::from_millis(200);

/// What the tasks of sockets tell the node.
#[derive(Debug)]
pub(super) enum Event {
    Accepted {
        transport: Transport,
        stream: TcpStream,
        local: SocketAddr,
        remote: SocketAddr,
    },
    Bytes(ConnId, Bytes),
    /// Clear text came to a protected port.
    ClearText {
        local: SocketAddr,
        remote: SocketAddr,
    },
    /// What the DNS servers said.
    Answered(AskId, DnsQuestion, DnsAnswer),
    Closed(ConnId, String),
    Connected {
        conn: ConnId,
        local: SocketAddr,
        remote: SocketAddr,
        stream: Rc<TcpStream>,
    },
    /// The state of the node was written, or not.
    Kept(std::io::Result<()>),
    /// The handshake of an accepted connection has failed.
    Refused(ConnId, String),
    /// A connection with TLS or WebSocket is up; and words about it.
    Secured {
        flow: Flow,
        what: String,
    },
    Undelivered {
        local: SocketAddr,
        what: udp::Undelivered,
    },
}

/// A connection as the node's task sees it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) remote: SocketAddr,
    pub(super) accepted: bool,
    pub(super) path: Path,
}

/// How the bytes of a connection travel.
#[derive(Debug)]
pub(super) enum Path {
    /// Through the kernel; no stream yet while it is being opened.
    Kernel { stream: Option<Rc<TcpStream>>, outgoing: Rc<Outgoing>, task: AbortHandle },
    /// To a node of this process; no link yet while it is being opened.
    Memory(Option<Link>),
    /// Inside security associations.
    Protected { stream: StreamId, flow: Flow },
    /// Through TLS or WebSocket, by a task that writes for itself; not up before the handshake.
    Secured { up: bool, outgoing: Rc<Outgoing>, task: AbortHandle },
}

/// What a node is given by its host.
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    pub(super) sink: Sink,
    pub(super) switch: Option<Switch>,
    pub(super) resolver: Option<Rc<Resolver>>,
    pub(super) tls: Option<Rc<Tls>>,
    pub(super) ended: mpsc::UnboundedSender<NodeEnded>,
}

/// A node with everything it needs to run.
pub(super) struct NodeTask<N> {
    pub(super) node: N,
    pub(super) with: Surroundings,
    pub(super) datagrams: Vec<Datagrams>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    /// Accepted connections by peer.
    pub(super) by_peer: BTreeMap<IpAddr, usize>,
    pub(super) greetings: Greetings,
    /// Inputs that came up while the node was drained.
    pub(super) held: VecDeque<Input>,
    /// What the system refused: the node hears of it before anything else.
    pub(super) refused: VecDeque<Input>,
    /// Connections with something new to write.
    pub(super) unwritten: Vec<ConnId>,
    pub(super) inbox: Inbox,
    pub(super) events_in: mpsc::Sender<Event>,
    pub(super) tasks: JoinSet<()>,
    pub(super) keeper: Option<Keeper>,
    pub(super) protection: Protection,
    listeners: Vec<(Transport, SocketAddr, tokio::net::TcpListener)>,
    events: mpsc::Receiver<Event>,
    event: Option<Event>,
    orders: mpsc::UnboundedReceiver<Command<N>>,
    order: Option<Command<N>>,
    accepted: u64,
    pub(super) buffer: Vec<u8>,
    /// Room for what is taken up together.
    pub(super) packets: Vec<Packet>,
    /// What is sent together.
    pub(super) leaving: Vec<Packet>,
    /// When the node last had nothing to do: what it takes up now has waited since then at most.
    pub(super) rested_at: Instant,
    deadline: Option<Instant>,
    sleep: Option<(Instant, Pin<Box<Sleep>>)>,
    stopping: bool,
    stop_at: Option<Instant>,
}

impl<N: Node> NodeTask<N> {
    pub(super) fn new(
        node: N,
        sockets: Sockets,
        orders: mpsc::UnboundedReceiver<Command<N>>,
        with: Surroundings,
    ) -> Self {
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let rested_at = with.clock.now();
        let inbox = Inbox::new(&sockets, with.switch.as_ref());
        let tcp = sockets.tcp.into_iter().map(|(addr, it)| (Transport::Tcp, addr, it));
        let listeners = tcp.chain(sockets.secured).collect();
        Self {
            node,
            with,
            datagrams: sockets.udp.into_iter().map(|(addr, it)| Datagrams::new(addr, it)).collect(),
            conns: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            greetings: Greetings::default(),
            held: VecDeque::new(),
            refused: VecDeque::new(),
            unwritten: Vec::new(),
            inbox,
            events_in,
            tasks: JoinSet::new(),
            keeper: None,
            protection: sockets.protection,
            listeners,
            events,
            event: None,
            orders,
            order: None,
            accepted: 0,
            buffer: vec![0; udp::DATAGRAM_BYTES_MAX],
            packets: Vec::new(),
            leaving: Vec::new(),
            rested_at,
            deadline: None,
            sleep: None,
            stopping: false,
            stop_at: None,
        }
    }

    /// With a file for what outlives the node.
    pub(super) fn keeping(mut self, file: Option<StateFile>) -> Self {
        self.keeper = file.map(Keeper::new);
        self
    }

    /// Runs until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut watch = Watch {
            name: self.node.name().to_owned(),
            ended: self.with.ended.clone(),
            asked: false,
        };
        self.start();
        self.drain();
        loop {
            let busy = (0..TURNS_MAX).all(|_| self.turn());
            if self.has_ended() {
                break;
            }
            if busy {
                yield_now().await;
            } else {
                self.wait().await;
                self.rested_at = self.with.clock.now();
            }
        }
        watch.asked = true;
        self.finish().await;
    }

    /// A node that is told to stop takes leave, and has a moment to hear its peers do the same.
    fn has_ended(&mut self) -> bool {
        if !self.stopping {
            return false;
        }
        let now = self.with.clock.now();
        let Some(until) = self.stop_at else {
            self.stop_at = Some(now + LEAVE_FOR);
            self.node.shut_down(now);
            self.drain();
            self.send_all();
            self.write_all();
            return self.conns.is_empty();
        };
        now >= until || self.conns.is_empty()
    }

    fn start(&mut self) {
        for (transport, addr, listener) in self.listeners.drain(..) {
            let events = self.events_in.clone();
            self.tasks.spawn_local(conn::accept(transport, addr, listener, events));
        }
        for index in 0..self.datagrams.len() {
            let Some(Datagrams { addr, socket, .. }) = self.datagrams.get(index) else { break };
            let (addr, socket) = (*addr, Rc::clone(socket));
            self.read_undelivered(addr, socket);
        }
        self.start_protection();
    }

    /// Begins to read what ICMP says of the datagrams of a socket.
    pub(super) fn read_undelivered(
        &mut self,
        local: SocketAddr,
        socket: Rc<UdpSocket>,
    ) -> AbortHandle {
        let events = self.events_in.clone();
        self.tasks.spawn_local(async move {
            while let Ok(found) = udp::undelivered(&socket).await {
                for what in found {
                    let _ = events.send(Event::Undelivered { local, what }).await;
                }
            }
        })
    }

    /// Takes what is there, a bounded number from each source; false if there was nothing.
    fn turn(&mut self) -> bool {
        let mut busy = self.orders_turn();
        for _ in 0..TURN_MAX {
            let Some(input) = self.held.pop_front() else { break };
            self.input(input);
            busy = true;
        }
        for _ in 0..TURN_MAX {
            let Some(event) = self.event.take().or_else(|| self.events.try_recv().ok()) else {
                break;
            };
            self.event(event);
            busy = true;
        }
        busy |= self.hops_turn();
        for index in 0..self.datagrams.len() {
            busy |= self.datagrams_turn(index);
        }
        busy |= self.protected_turn();
        if self.deadline.is_some_and(|at| at <= self.with.clock.now()) {
            self.input(Input::Timeout);
            busy = true;
        }
        self.send_all();
        self.write_all();
        self.keep_turn();
        busy
    }

    fn orders_turn(&mut self) -> bool {
        let mut busy = false;
        for _ in 0..TURN_MAX {
            let Some(order) = self.order.take().or_else(|| self.orders.try_recv().ok()) else {
                break;
            };
            busy = true;
            match order {
                Command::Call(call) => {
                    call(&mut self.node, self.with.clock.now());
                    self.drain();
                }
                Command::Protection(asked) => {
                    let _ = asked.send(self.protection.told());
                }
                Command::Stop => self.stopping = true,
            }
        }
        busy
    }

    /// Hands one input to the node and does what it wants.
    pub(super) fn input(&mut self, input: Input) {
        pace::took(1);
        self.node.handle_input(self.with.clock.now(), input);
        self.drain();
    }

    /// Hands datagrams to the node, which takes them all, and does what it wants.
    pub(super) fn inputs(&mut self, packets: &mut Vec<Packet>) {
        pace::took(packets.len());
        self.node.handle_datagrams(self.with.clock.now(), packets);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            while let Some(output) = self.node.poll_output() {
                self.perform(output);
            }
            let Some(input) = self.refused.pop_front() else { break };
            self.node.handle_input(self.with.clock.now(), input);
        }
        self.pump();
        self.deadline = self.node.poll_timeout().filter(|at| *at != Instant::NEVER);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Accepted { transport, stream, local, remote } => {
                let flow = Flow { transport, ..tcp_flow(ConnId(0), local, remote) };
                self.accept(stream, flow);
            }
            Event::Bytes(conn, bytes) => {
                if self.conns.contains_key(&conn) {
                    self.input(Input::Bytes { conn, bytes, received_at: self.rested_at });
                }
            }
            Event::ClearText { local, remote } => self.clear_text(local, remote),
            Event::Answered(ask, question, answer) => {
                self.input(Input::Answer(ask, Answer::Dns(question, answer)));
            }
            Event::Closed(conn, cause) => self.closed(conn, cause),
            Event::Connected { conn, local, remote, stream } => {
                let Some(Conn { path: Path::Kernel { stream: slot, .. }, .. }) =
                    self.conns.get_mut(&conn)
                else {
                    return;
                };
                *slot = Some(stream);
                self.under_associations((local, remote), conn);
                let sa = self.sa_between(local, remote);
                self.input(Input::Opened(Flow { sa, ..tcp_flow(conn, local, remote) }));
            }
            Event::Kept(result) => self.kept(result),
            Event::Refused(conn, cause) => self.refused(conn, &cause),
            Event::Secured { flow, what } => self.secured(flow, &what),
            Event::Undelivered { local, what: udp::Undelivered { remote, cause } } => {
                self.input(Input::Unreachable { local, remote, cause });
            }
        }
    }

    fn accept(&mut self, stream: TcpStream, flow: Flow) {
        let Flow { local, remote, .. } = flow;
        while self.tasks.try_join_next().is_some() {}
        let limits = self.with.limits;
        let peer = bind::peer_key(remote);
        let from_peer = self.by_peer.get(&peer).copied().unwrap_or_default();
        if self.conns.len() >= limits.connections_max
            || from_peer >= limits.connections_per_peer_max
        {
            bind::reset_on_drop(&stream);
            return self.dropped(remote, "too many connections");
        }
        let Ok(sa) = self.admitted(local, remote) else { return bind::reset_on_drop(&stream) };
        bind::prepare(&stream);
        if flow.transport != Transport::Tcp {
            return self.greet(stream, flow);
        }
        let conn = self.next_accepted();
        let (stream, outgoing) = (Rc::new(stream), Rc::new(Outgoing::default()));
        let run = conn::run(conn, Rc::clone(&stream), Rc::clone(&outgoing), self.events_in.clone());
        let task = self.tasks.spawn_local(run);
        let path = Path::Kernel { stream: Some(stream), outgoing, task };
        self.by_peer.insert(peer, from_peer + 1);
        self.conns.insert(conn, Conn { remote, accepted: true, path });
        self.under_associations((local, remote), conn);
        self.input(Input::Opened(Flow { sa, ..tcp_flow(conn, local, remote) }));
    }

    pub(super) fn next_accepted(&mut self) -> ConnId {
        self.accepted += 1;
        ConnId::accepted(self.accepted)
    }

    /// One hop; a datagram goes to those that are handed over together.
    pub(super) fn hop(&mut self, hop: Hop, packets: &mut Vec<Packet>) {
        match hop {
            Hop::Bytes { conn, bytes } => {
                if self.conns.contains_key(&conn) {
                    self.input(Input::Bytes { conn, bytes, received_at: self.rested_at });
                }
            }
            Hop::Closed(conn) => self.closed(conn, "closed by the peer".to_owned()),
            Hop::Datagram { local, remote, bytes } => {
                let flow = Flow { transport: Transport::Udp, local, remote, conn: None, sa: None };
                packets.push(Packet { flow, bytes, received_at: self.rested_at });
            }
            Hop::Open { local, remote, back } => {
                let conn = self.next_accepted();
                back.accepted(conn);
                let path = Path::Memory(Some(back));
                self.conns.insert(conn, Conn { remote, accepted: true, path });
                *self.by_peer.entry(bind::peer_key(remote)).or_default() += 1;
                self.input(Input::Opened(tcp_flow(conn, local, remote)));
            }
            Hop::Opened { conn, local, link } => {
                let Some(Conn { remote, path: Path::Memory(slot), .. }) = self.conns.get_mut(&conn)
                else {
                    link.close();
                    return;
                };
                let remote = *remote;
                *slot = Some(link);
                self.input(Input::Opened(tcp_flow(conn, local, remote)));
            }
        }
    }

    fn closed(&mut self, conn: ConnId, cause: String) {
        if self.forget(conn).is_some() {
            self.input(Input::Closed { conn, cause });
        }
    }

    /// Takes a connection out of the books.
    pub(super) fn forget(&mut self, conn: ConnId) -> Option<Conn> {
        let gone = self.conns.remove(&conn)?;
        let peer = bind::peer_key(gone.remote);
        if gone.accepted
            && let Some(count) = self.by_peer.get_mut(&peer)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_peer.remove(&peer);
            }
        }
        Some(gone)
    }

    /// Something that came in was refused here: the node counts and tells it.
    pub(super) fn dropped(&mut self, remote: SocketAddr, reason: &str) {
        self.held.push_back(Input::Dropped { remote, reason: reason.to_owned() });
    }

    /// Sleeps until something comes or the node's deadline.
    async fn wait(&mut self) {
        let deadline = [self.deadline, self.stop_at, self.keep_at(), self.protected_at()];
        let deadline = deadline.into_iter().flatten().min().map(pace::due);
        // Most deadlines only move away: a sleep that ends too early is one idle turn, and setting
        // it anew costs more.
        let armed = self.sleep.as_ref().map(|(set, _)| *set);
        if let Some(at) = deadline
            && armed.is_none_or(|set| at < set)
        {
            let span = at.since(self.with.clock.now());
            self.sleep = Some((at, Box::pin(sleep(span))));
        }
        std::future::poll_fn(|context| {
            let mut ready = false;
            for datagrams in &mut self.datagrams {
                ready |= datagrams.poll(context);
            }
            if let Poll::Ready(event) = self.events.poll_recv(context) {
                self.event = event;
                ready = true;
            }
            ready |= self.inbox.poll_ready(context);
            ready |= self.poll_carriers(context);
            if let Poll::Ready(order) = self.orders.poll_recv(context) {
                // All handles are gone: nobody can stop it any more, so it runs with its host.
                self.order = order;
                ready |= self.order.is_some();
            }
            if let Some((_, sleep)) = &mut self.sleep
                && sleep.as_mut().poll(context).is_ready()
            {
                self.sleep = None;
                ready = true;
            }
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn finish(mut self) {
        self.send_all();
        self.write_all();
        self.finish_protection();
        self.keep_last();
        for Datagrams { socket, waiting, .. } in &self.datagrams {
            waiting.flush(socket);
        }
        let mut ending = JoinSet::new();
        for (_, Conn { path, .. }) in std::mem::take(&mut self.conns) {
            match path {
                Path::Kernel { stream: Some(stream), outgoing, .. } => {
                    ending.spawn_local(async move {
                        while !matches!(outgoing.flush(&stream), Ok(true) | Err(_)) {
                            if stream.writable().await.is_err() {
                                break;
                            }
                        }
                    });
                }
                Path::Memory(Some(link)) => link.close(),
                Path::Secured { up: true, outgoing, .. } => {
                    outgoing.end();
                    ending.spawn_local(async move { outgoing.finished().await });
                }
                Path::Kernel { .. }
                | Path::Memory(None)
                | Path::Protected { .. }
                | Path::Secured { .. } => {}
            }
        }
        let _ = timeout(FINISH_FOR, async { while ending.join_next().await.is_some() {} }).await;
    }
}

/// A connection's path as the node names it.
pub(super) const fn tcp_flow(conn: ConnId, local: SocketAddr, remote: SocketAddr) -> Flow {
    Flow { transport: Transport::Tcp, local, remote, conn: Some(conn), sa: None }
}

/// Tells when the task ends without having been asked to: a fault of ours.
struct Watch {
    name: String,
    ended: mpsc::UnboundedSender<NodeEnded>,
    asked: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.asked {
            let _ = self.ended.send(NodeEnded { name: std::mem::take(&mut self.name) });
        }
    }
}
