//! Hops between nodes of one process: the same bytes, without the kernel.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::bind::Sockets;
use crate::transport::ConnId;

/// Datagrams that may wait for one node; more are lost, as in any full buffer.
const DATAGRAMS_MAX: usize = 10_000;

/// Something that arrives from a node of this process.
#[derive(Debug)]
pub(super) enum Hop {
    Bytes { conn: ConnId, bytes: Bytes },
    Closed(ConnId),
    Datagram { local: SocketAddr, remote: SocketAddr, bytes: Bytes },
    Open { local: SocketAddr, remote: SocketAddr, back: Link },
    Opened { conn: ConnId, local: SocketAddr, link: Link },
}

/// The way to one node.
#[derive(Clone, Debug)]
struct Door {
    hops: mpsc::UnboundedSender<(Hop, Weight)>,
    datagrams: Rc<Cell<usize>>,
}

/// What is given back when a hop has arrived.
#[derive(Debug)]
struct Weight {
    of: Rc<Cell<usize>>,
    weight: usize,
}

impl Weight {
    fn new(of: &Rc<Cell<usize>>, weight: usize) -> Self {
        of.set(of.get().saturating_add(weight));
        Self { of: Rc::clone(of), weight }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.of.set(self.of.get().saturating_sub(self.weight));
    }
}

/// Which address belongs to which node of this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Switch {
    udp: Rc<RefCell<BTreeMap<SocketAddr, Door>>>,
    tcp: Rc<RefCell<BTreeMap<SocketAddr, Door>>>,
}

impl Switch {
    /// Delivers a datagram if the address is a node's of this process.
    pub(super) fn datagram(&self, from: SocketAddr, to: SocketAddr, bytes: &Bytes) -> bool {
        let udp = self.udp.borrow();
        let Some(door) = udp.get(&to) else { return false };
        if door.datagrams.get() < DATAGRAMS_MAX {
            let weight = Weight::new(&door.datagrams, 1);
            let bytes = Bytes::copy_from_slice(bytes);
            let _ = door.hops.send((Hop::Datagram { local: to, remote: from, bytes }, weight));
        }
        true
    }

    /// Asks for a connection if the address is a node's of this process.
    pub(super) fn connect(
        &self,
        (local, remote): (SocketAddr, SocketAddr),
        conn: ConnId,
        inbox: &Inbox,
    ) -> bool {
        let tcp = self.tcp.borrow();
        let Some(door) = tcp.get(&remote) else { return false };
        let link = |to: &Door, theirs| Link {
            to: to.clone(),
            theirs,
            local: remote,
            remote: local,
            in_flight: Rc::default(),
            back: inbox.door.clone(),
        };
        let back = link(&inbox.door, conn);
        let hop =
            Hop::Open { local: remote, remote: local, back: Link { back: door.clone(), ..back } };
        door.hops.send((hop, Weight::new(&Rc::default(), 0))).is_ok()
    }
}

/// One direction of a connection: to the peer's end of it.
#[derive(Debug)]
pub(super) struct Link {
    to: Door,
    theirs: ConnId,
    /// The address of this end.
    local: SocketAddr,
    /// The address of the peer's end.
    remote: SocketAddr,
    in_flight: Rc<Cell<usize>>,
    /// The way back to this end.
    back: Door,
}

impl Link {
    /// Tells the node that asked for the connection under which number it is accepted.
    pub(super) fn accepted(&self, conn: ConnId) {
        let link = Self {
            to: self.back.clone(),
            theirs: conn,
            local: self.remote,
            remote: self.local,
            in_flight: Rc::default(),
            back: self.to.clone(),
        };
        self.send(Hop::Opened { conn: self.theirs, local: self.remote, link }, 0);
    }

    /// Writes; false if more than `max` bytes would be on their way.
    pub(super) fn write(&self, bytes: Bytes, max: usize) -> bool {
        if self.in_flight.get().saturating_add(bytes.len()) > max {
            return false;
        }
        let weight = bytes.len();
        self.send(Hop::Bytes { conn: self.theirs, bytes }, weight);
        true
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.send(Hop::Closed(self.theirs), 0);
    }

    fn send(&self, hop: Hop, weight: usize) {
        let weight = Weight::new(&self.in_flight, weight);
        if self.to.hops.send((hop, weight)).is_err() {
            // The peer has ended without a word.
        }
    }
}

/// Where a node's hops arrive; it leaves the switch when the node ends.
#[derive(Debug)]
pub(super) struct Inbox {
    door: Door,
    hops: mpsc::UnboundedReceiver<(Hop, Weight)>,
    hop: Option<(Hop, Weight)>,
    entered: Option<(Switch, Vec<SocketAddr>)>,
}

impl Inbox {
    pub(super) fn new(sockets: &Sockets, switch: Option<&Switch>) -> Self {
        let (sender, hops) = mpsc::unbounded_channel();
        let door = Door { hops: sender, datagrams: Rc::default() };
        let entered = switch.map(|switch| {
            let udp = sockets.udp.iter().map(|(addr, _)| *addr);
            let tcp = sockets.tcp.iter().map(|(addr, _)| *addr);
            switch.udp.borrow_mut().extend(udp.clone().map(|addr| (addr, door.clone())));
            switch.tcp.borrow_mut().extend(tcp.clone().map(|addr| (addr, door.clone())));
            (switch.clone(), udp.chain(tcp).collect())
        });
        Self { door, hops, hop: None, entered }
    }

    /// The next hop, if one is there.
    pub(super) fn take(&mut self) -> Option<Hop> {
        self.hop.take().or_else(|| self.hops.try_recv().ok()).map(|(hop, _)| hop)
    }

    /// Whether a hop is there; if not, the task is woken by the next.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> bool {
        if self.hop.is_none()
            && let Poll::Ready(hop) = self.hops.poll_recv(context)
        {
            self.hop = hop;
        }
        self.hop.is_some()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let Some((switch, addresses)) = &self.entered else { return };
        for addr in addresses {
            switch.udp.borrow_mut().remove(addr);
            switch.tcp.borrow_mut().remove(addr);
        }
    }
}
