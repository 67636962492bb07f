//! TCP inside one set of associations (RFC 9293, by smoltcp): at most one connection each way, for
//! addresses and ports are those of the set (TS 33.203 §7.1). One small stack for each set that has
//! a connection, so that a busy peer costs the others nothing.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpProtocol, IpRepr, TcpPacket};

use super::super::ipsec::SaSet;
use super::super::{Flow, Transport};
use super::associations::Pair;
use super::inside::ip_header_len;
use super::suite::Overhead;
use super::{EspEvent, StreamId};
use crate::time::{Duration, Instant};

/// What a connection holds that the node has not read; it is read at once, so that this is the
/// window.
const RECEIVE_BYTES: usize = 16 * 1024;
/// What a connection holds that is on its way; the rest waits as it was given.
const SEND_BYTES: usize = 16 * 1024;
/// How long a peer may leave us without any progress: a connection being opened, bytes sent, an
/// end.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The segment size never falls below this, however small a path is said to be.
const SEGMENT_MIN: usize = 256;

/// What ended a connection, in the words of the host's connections.
const REFUSED: &str = "refused";
const RESET: &str = "reset by peer";
const CLOSED: &str = "closed by the peer";
const FORGOTTEN: &str = "the peer has opened another";
const SILENT: &str = "the peer does not answer";

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// We have asked for it.
    Opening,
    /// The peer has.
    Accepting,
    /// It is up.
    Open,
    /// The node has ended it, or has been told that the peer did; what waits is still sent.
    Closing,
}

#[derive(Debug)]
struct Connection {
    stream: StreamId,
    handle: SocketHandle,
    phase: Phase,
    /// The peer's first sequence number, if it has opened the connection: by it a repeated wish is
    /// told from a new one.
    initial: Option<i32>,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// What waits, and since when the peer has taken none of it, nor agreed to anything.
    progress: (usize, Instant),
    /// Why we gave it up.
    cause: Option<String>,
}

/// What a segment means beyond the connections that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing.
    Nothing,
    /// It opens a connection, which has the number given.
    Accepted,
    /// It would open one, for which there is no room.
    NoRoom,
}

/// Where packets of IP come from and go to.
struct Wire {
    overhead: Overhead,
    header: usize,
    mtu: usize,
    inbound: Option<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
    scratch: Vec<u8>,
}

/// TCP inside one set.
pub(super) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    wire: Wire,
    set: SaSet,
    client: Option<Connection>,
    server: Option<Connection>,
    /// Connections that are no more; their numbers mean nothing from now on.
    ended: Vec<StreamId>,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack")
            .field("client", &self.client)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Stack {
    /// A stack without connections; none if no connection can be between such addresses.
    pub(super) fn new(
        now: Instant,
        set: &SaSet,
        overhead: Overhead,
        path_mtu: usize,
        seed: u64,
    ) -> Option<Self> {
        let (local, remote) = (IpAddress::from(set.local.addr), IpAddress::from(set.remote.addr));
        if !local.is_unicast() || !remote.is_unicast() {
            return None;
        }
        let header = ip_header_len(set.local.addr);
        let segment = overhead.payload_max(path_mtu.saturating_sub(header)).max(SEGMENT_MIN);
        let mut wire = Wire {
            overhead,
            header,
            mtu: header + segment,
            inbound: None,
            outbound: VecDeque::new(),
            scratch: Vec::new(),
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, clock(now));
        let prefix = if set.local.addr.is_ipv4() { 32 } else { 128 };
        interface.update_ip_addrs(|addrs| {
            let _ = addrs.push(IpCidr::new(local, prefix));
        });
        let routes = interface.routes_mut();
        let routed = match remote {
            IpAddress::Ipv4(addr) => routes.add_default_ipv4_route(addr),
            IpAddress::Ipv6(addr) => routes.add_default_ipv6_route(addr),
        };
        routed.ok()?;
        let sockets = SocketSet::new(Vec::new());
        let (client, server, ended) = Default::default();
        Some(Self { interface, sockets, wire, set: set.clone(), client, server, ended })
    }

    /// How many connections there are, those that are ending among them.
    pub(super) const fn connections(&self) -> usize {
        self.client.is_some() as usize + self.server.is_some() as usize
    }

    /// Takes the connections that are no more.
    pub(super) fn take_ended(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.ended)
    }

    /// Takes what is to leave: room for what ESP puts before, then the segment.
    pub(super) fn take_segment(&mut self) -> Option<Vec<u8>> {
        self.wire.outbound.pop_front()
    }

    const fn slot(&mut self, pair: Pair) -> &mut Option<Connection> {
        match pair {
            Pair::OurClient => &mut self.client,
            Pair::OurServer => &mut self.server,
        }
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut::<Socket<'static>>(handle)
    }

    fn add(&mut self, now: Instant, pair: Pair, stream: StreamId, phase: Phase) -> SocketHandle {
        let buffer = |bytes| SocketBuffer::new(vec![0; bytes]);
        let mut socket = Socket::new(buffer(RECEIVE_BYTES), buffer(SEND_BYTES));
        // A message is sent whole, without waiting for what the peer says to the one before.
        socket.set_nagle_enabled(false);
        let handle = self.sockets.add(socket);
        *self.slot(pair) = Some(Connection {
            stream,
            handle,
            phase,
            initial: None,
            queue: VecDeque::new(),
            queued: 0,
            progress: (0, now),
            cause: None,
        });
        handle
    }

    fn remove(&mut self, pair: Pair) {
        if let Some(old) = self.slot(pair).take() {
            self.sockets.remove(old.handle);
            self.ended.push(old.stream);
        }
    }

    /// Whether the connection of a pair of ports is over but for the memory of it.
    fn is_over(&mut self, pair: Pair) -> bool {
        let Some(Connection { handle, phase, queued, .. }) = *self.slot(pair) else {
            return true;
        };
        let socket = self.socket(handle);
        let nothing_waits = queued == 0 && socket.send_queue() == 0;
        phase == Phase::Closing && nothing_waits && !socket.may_send()
    }

    /// Asks for a connection from our client port to the peer's server port.
    ///
    /// # Errors
    ///
    /// Why not, for the trace.
    pub(super) fn connect(&mut self, now: Instant, stream: StreamId) -> Result<(), String> {
        let (local, remote) = Pair::OurClient.addrs(&self.set);
        if !self.is_over(Pair::OurClient) {
            return Err(format!("there is a connection from {local} to {remote}"));
        }
        self.remove(Pair::OurClient);
        let handle = self.add(now, Pair::OurClient, stream, Phase::Opening);
        let socket = self.sockets.get_mut::<Socket<'static>>(handle);
        let asked = socket.connect(self.interface.context(), remote, local);
        asked.map_err(|fault| {
            self.remove(Pair::OurClient);
            fault.to_string()
        })
    }

    /// Takes a segment, with room for the header of IP before it. One that opens a connection to
    /// our server port gets `stream` if there is `room`, or if it takes the place of one that the
    /// peer has forgotten.
    pub(super) fn segment(
        &mut self,
        now: Instant,
        pair: Pair,
        mut packet: Vec<u8>,
        (stream, room): (StreamId, bool),
        events: &mut VecDeque<EspEvent>,
    ) -> Taken {
        let mut taken = Taken::Nothing;
        let Some(segment) = packet.get(self.wire.header..) else { return taken };
        let length = segment.len();
        if pair == Pair::OurServer
            && let Some(initial) = opening(segment)
            && self.slot(pair).as_ref().is_none_or(|it| it.initial != Some(initial))
        {
            let old = self.slot(pair).as_ref().map(|it| (it.stream, it.phase));
            if let Some((stream, Phase::Open)) = old {
                events.push_back(EspEvent::Closed { stream, cause: FORGOTTEN.to_owned() });
            }
            self.remove(pair);
            taken = Taken::NoRoom;
            if room || old.is_some() {
                let handle = self.add(now, pair, stream, Phase::Accepting);
                if let Some(connection) = self.slot(pair) {
                    connection.initial = Some(initial);
                }
                let local = pair.addrs(&self.set).0;
                if self.socket(handle).listen(local).is_ok() {
                    taken = Taken::Accepted;
                }
            }
        }
        let (to, from) = (self.set.local.addr.into(), self.set.remote.addr.into());
        IpRepr::new(from, to, IpProtocol::Tcp, length, 64)
            .emit(&mut packet[..], &ChecksumCapabilities::ignored());
        self.wire.inbound = Some(packet);
        taken
    }

    /// How many bytes wait on a connection.
    pub(super) fn waiting(&mut self, pair: Pair) -> usize {
        let Some(Connection { handle, queued, .. }) = *self.slot(pair) else { return 0 };
        queued + self.socket(handle).send_queue()
    }

    /// Adds bytes to what waits; false if nothing more may be sent.
    pub(super) fn write(&mut self, pair: Pair, bytes: Bytes) -> bool {
        let Some(connection) = self.slot(pair) else { return false };
        if connection.phase == Phase::Closing {
            return false;
        }
        connection.queued += bytes.len();
        connection.queue.push_back(bytes);
        true
    }

    /// Ends a connection: what waits is sent first, and nothing more is told of it.
    pub(super) fn close(&mut self, now: Instant, pair: Pair) {
        if let Some(connection) = self.slot(pair) {
            connection.phase = Phase::Closing;
            connection.progress.1 = now;
        }
    }

    /// Gives a connection up: it is reset.
    pub(super) fn abort(&mut self, pair: Pair, cause: &str) {
        let Some(connection) = self.slot(pair) else { return };
        connection.cause = Some(cause.to_owned());
        let handle = connection.handle;
        self.socket(handle).abort();
    }

    /// Gives up what has not moved for too long.
    pub(super) fn lose_patience(&mut self, now: Instant) {
        for pair in Pair::BOTH {
            if self.gives_up_at(pair).is_some_and(|at| at <= now) {
                self.abort(pair, SILENT);
            }
        }
    }

    fn gives_up_at(&mut self, pair: Pair) -> Option<Instant> {
        let Connection { phase, handle, progress: (_, since), .. } = *self.slot(pair).as_ref()?;
        let waits = self.waiting(pair) > 0;
        // A connection that is over has a time of its own.
        let over = self.socket(handle).state() == State::TimeWait;
        ((phase != Phase::Open || waits) && !over).then(|| since + PATIENCE)
    }

    /// When there is something to do.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let stack = self.interface.poll_at(clock(now), &self.sockets);
        let soon = now + Duration::from_millis(1);
        let stack = stack.map(|at| {
            let micros = u64::try_from(at.total_micros()).unwrap_or_default();
            Instant::from_nanos(micros.saturating_mul(1_000)).max(soon)
        });
        let given_up = Pair::BOTH.into_iter().filter_map(|pair| self.gives_up_at(pair)).min();
        stack.into_iter().chain(given_up).min()
    }

    /// Moves everything that can move, and tells what there is to tell.
    pub(super) fn run(&mut self, now: Instant, events: &mut VecDeque<EspEvent>) {
        loop {
            let mut moved = false;
            for pair in Pair::BOTH {
                moved |= self.feed(pair);
            }
            self.interface.poll(clock(now), &mut self.wire, &mut self.sockets);
            for pair in Pair::BOTH {
                moved |= self.collect(now, pair, events);
            }
            if !moved {
                return;
            }
        }
    }

    /// Hands what waits to the socket; says whether anything moved.
    fn feed(&mut self, pair: Pair) -> bool {
        let Self { sockets, client, server, .. } = self;
        let connection = match pair {
            Pair::OurClient => client,
            Pair::OurServer => server,
        };
        let Some(connection) = connection else { return false };
        let socket = sockets.get_mut::<Socket<'static>>(connection.handle);
        let mut moved = false;
        while socket.can_send()
            && let Some(front) = connection.queue.front_mut()
        {
            let sent = socket.send_slice(front).unwrap_or_default();
            front.advance(sent);
            connection.queued = connection.queued.saturating_sub(sent);
            if front.is_empty() {
                connection.queue.pop_front();
            }
            moved = true;
        }
        let opening = matches!(socket.state(), State::SynSent);
        let ends = connection.phase == Phase::Closing && connection.queue.is_empty();
        if ends && (opening || socket.may_send()) {
            socket.close();
            moved = true;
        }
        moved
    }

    /// Tells what the socket has; says whether anything moved.
    fn collect(&mut self, now: Instant, pair: Pair, events: &mut VecDeque<EspEvent>) -> bool {
        let (local, remote) = pair.addrs(&self.set);
        let sa = Some(self.set.id);
        let waits = self.waiting(pair);
        let Self { sockets, client, server, .. } = self;
        let connection = match pair {
            Pair::OurClient => client,
            Pair::OurServer => server,
        };
        let Some(connection) = connection else { return false };
        let stream = connection.stream;
        let socket = sockets.get_mut::<Socket<'static>>(connection.handle);
        let (mut moved, mut opened) = (false, false);
        if matches!(connection.phase, Phase::Opening | Phase::Accepting) && is_up(socket) {
            events.push_back(if connection.phase == Phase::Opening {
                EspEvent::Connected(stream)
            } else {
                let flow = Flow { transport: Transport::Tcp, local, remote, conn: None, sa };
                EspEvent::Accepted { stream, flow }
            });
            connection.phase = Phase::Open;
            (moved, opened) = (true, true);
        }
        while socket.can_recv() {
            let portion = socket.recv(|bytes| (bytes.len(), Bytes::copy_from_slice(bytes)));
            let Ok(bytes) = portion else { break };
            if connection.phase == Phase::Open {
                events.push_back(EspEvent::Bytes { stream, bytes });
            }
            moved = true;
        }
        // What the peer sends says nothing about what it takes: only that counts.
        let (before, since) = connection.progress;
        let renewed = opened || waits < before || (before == 0 && waits > 0);
        connection.progress = (waits, if renewed { now } else { since });
        let state = socket.state();
        let cause = match connection.phase {
            _ if state == State::Listen => None,
            Phase::Open if state == State::CloseWait => {
                (connection.phase, connection.progress.1) = (Phase::Closing, now);
                events.push_back(EspEvent::Closed { stream, cause: CLOSED.to_owned() });
                return true;
            }
            _ if state != State::Closed => return moved,
            Phase::Opening => Some(REFUSED),
            Phase::Open => Some(RESET),
            Phase::Accepting | Phase::Closing => None,
        };
        if let Some(cause) = cause {
            let cause = connection.cause.take().unwrap_or_else(|| cause.to_owned());
            events.push_back(EspEvent::Closed { stream, cause });
        }
        self.remove(pair);
        moved
    }
}

/// The sequence number that a segment wants to open a connection with, if it does.
fn opening(segment: &[u8]) -> Option<i32> {
    let tcp = TcpPacket::new_checked(segment).ok()?;
    (tcp.syn() && !tcp.ack() && !tcp.rst()).then(|| tcp.seq_number().0)
}

/// Whether both ends have agreed on a connection, wherever it has got since.
fn is_up(socket: &Socket<'static>) -> bool {
    matches!(socket.state(), State::Established | State::CloseWait)
}

fn clock(now: Instant) -> smoltcp::time::Instant {
    let micros = i64::try_from(now.as_nanos() / 1_000).unwrap_or(i64::MAX);
    smoltcp::time::Instant::from_micros(micros)
}

impl Device for Wire {
    type RxToken<'a> = Inbound;
    type TxToken<'a> = Outbound<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Inbound, Outbound<'_>)> {
        let packet = self.inbound.take()?;
        Some((Inbound(packet), Outbound(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Outbound<'_>> {
        Some(Outbound(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        // The header of IP is only there for this stack; the checksum of TCP was checked.
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities.checksum.tcp = smoltcp::phy::Checksum::Tx;
        capabilities
    }
}

/// A packet that came.
struct Inbound(Vec<u8>);

impl RxToken for Inbound {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

/// Room for a packet that leaves.
struct Outbound<'a>(&'a mut Wire);

impl TxToken for Outbound<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let wire = self.0;
        wire.scratch.clear();
        wire.scratch.resize(len, 0);
        let result = write(&mut wire.scratch);
        if let Some(segment) = wire.scratch.get(wire.header..) {
            let mut packet = Vec::with_capacity(wire.overhead.total(segment.len()));
            packet.resize(wire.overhead.prefix, 0);
            packet.extend_from_slice(segment);
            wire.outbound.push_back(packet);
        }
        result
    }
}
