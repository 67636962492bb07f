//! Ordinary sockets under the kernel's ESP: which there are at the protected ports, and which set
//! of associations what comes there has come by. The kernel lets no clear text in between ports
//! that an association is for; what still comes to a protected port is dropped here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::super::bind;
use super::super::conn::Outgoing;
use super::super::udp::{self, UdpSocket};
use super::Protect;
use super::xfrm::{KernelDrop, Xfrm};
use crate::time::{Duration, Instant};
use crate::transport::esp::DropCause;
use crate::transport::ipsec::SaSet;
use crate::transport::{ConnId, SaId};

/// What cannot be had where the kernel refuses its associations, in a `BindError`.
const XFRM: &str = "ESP (kernel)";
/// How often the counters of the kernel are read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon the next states are looked at where not all have been.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long connections may take to end before the associations that protect them go.
const LEAVE_WITHIN: Duration = Duration::from_millis(200);
/// How often it is looked whether they have.
const LEAVE_AGAIN: Duration = Duration::from_millis(5);

/// The two sockets of a protected port.
#[derive(Debug)]
pub(in super::super) struct Port {
    pub(in super::super) addr: SocketAddr,
    pub(in super::super) udp: UdpSocket,
    pub(in super::super) tcp: TcpListener,
}

impl Port {
    pub(super) fn open(addr: SocketAddr) -> Result<Self, (&'static str, SocketAddr, io::Error)> {
        let udp = udp::open(addr).map_err(|fault| ("udp", addr, fault))?;
        let tcp = bind::listen(addr).map_err(|fault| ("tcp", addr, fault))?;
        Ok(Self { addr, udp, tcp })
    }
}

/// A connection under associations.
#[derive(Debug)]
pub(in super::super) struct Under {
    pub(in super::super) conn: ConnId,
    pub(in super::super) stream: Weak<TcpStream>,
    pub(in super::super) outgoing: Rc<Outgoing>,
    pub(in super::super) task: AbortHandle,
}

impl Under {
    /// Sends what waits and resets the connection as soon as its task lets it go; false if it is
    /// gone already.
    fn reset(&self) -> bool {
        let Some(stream) = self.stream.upgrade() else { return false };
        let _ = self.outgoing.flush(&stream);
        bind::reset_on_drop(&stream);
        self.task.abort();
        true
    }
}

/// A set that goes when its connections have, so that their ends are protected too.
#[derive(Debug)]
struct Leaving {
    id: SaId,
    ports: BTreeSet<SocketAddr>,
    streams: Vec<Weak<TcpStream>>,
    /// When it goes at the latest.
    until: Instant,
}

/// The kernel's part in the associations of a node.
#[derive(Debug)]
pub(super) struct Kernel {
    xfrm: Xfrm,
    /// Ports that were opened and that nobody has taken up yet.
    opened: Vec<Port>,
    /// Protected ports that stay whether or not an association uses them.
    lasting: BTreeSet<SocketAddr>,
    /// What reads the sockets of each port.
    readers: BTreeMap<SocketAddr, Vec<AbortHandle>>,
    /// Our port and the peer's, for each pair that an association is for.
    pairs: BTreeMap<(SocketAddr, SocketAddr), SaId>,
    /// Connections between such pairs that may still have something to send.
    streams: BTreeMap<SaId, Vec<Under>>,
    /// Sets that go when their connections have.
    leaving: Vec<Leaving>,
    dropped: BTreeMap<DropCause, u64>,
    /// When the counters of the kernel are read again.
    look_at: Option<Instant>,
    /// When sets that are to go were last looked at.
    rested_at: Instant,
}

impl Kernel {
    pub(super) fn open(protect: &Protect) -> Result<Self, (&'static str, SocketAddr, io::Error)> {
        let first = protect.at.first().map(|ip| SocketAddr::new(*ip, 0));
        let first = first.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let mut xfrm = Xfrm::open().map_err(|fault| (XFRM, first, io::Error::other(fault)))?;
        let mut opened = Vec::new();
        for addr in &protect.ports {
            // Before there is a socket: what comes in between would count as protected.
            xfrm.guard(*addr).map_err(|fault| (XFRM, *addr, io::Error::other(fault)))?;
            opened.push(Port::open(*addr)?);
        }
        Ok(Self {
            xfrm,
            opened,
            lasting: protect.ports.iter().copied().collect(),
            readers: BTreeMap::new(),
            pairs: BTreeMap::new(),
            streams: BTreeMap::new(),
            leaving: Vec::new(),
            dropped: BTreeMap::new(),
            look_at: None,
            rested_at: Instant::EPOCH,
        })
    }

    /// Ports that wait for their readers.
    pub(super) fn take_opened(&mut self) -> Vec<Port> {
        std::mem::take(&mut self.opened)
    }

    /// What reads the sockets of a port; it ends with the port.
    pub(super) fn read_by(&mut self, addr: SocketAddr, readers: Vec<AbortHandle>) {
        self.readers.insert(addr, readers);
    }

    /// Lets the kernel install associations, and opens what ports of theirs are not open yet.
    ///
    /// # Errors
    ///
    /// Why they do not hold, for the trace.
    pub(super) fn install(&mut self, set: &SaSet) -> Result<(), String> {
        // What is to go stands in the way of nothing.
        let gone = self.remove_left(None);
        self.pairs.retain(|_, of| *of != set.id);
        let (client, server) = (set.local.client(), set.local.server());
        for addr in [client, server] {
            let open = self.readers.contains_key(&addr)
                || self.opened.iter().any(|port| port.addr == addr);
            if !open {
                self.open_port(addr)?;
            }
        }
        self.xfrm.install(set).map_err(|fault| match gone {
            Ok(()) => fault.to_string(),
            Err(before) => format!("{fault}; before that: {before}"),
        })?;
        self.pairs.insert((server, set.remote.client()), set.id);
        self.pairs.insert((client, set.remote.server()), set.id);
        Ok(())
    }

    /// Opens a port behind its guard.
    fn open_port(&mut self, addr: SocketAddr) -> Result<(), String> {
        self.xfrm.guard(addr).map_err(|fault| fault.to_string())?;
        match Port::open(addr) {
            Ok(port) => self.opened.push(port),
            Err((what, addr, fault)) => {
                self.xfrm.unguard(addr);
                return Err(format!("the protected port {addr} cannot be had ({what}): {fault}"));
            }
        }
        Ok(())
    }

    /// A connection came up between these addresses.
    pub(super) fn carries(&mut self, (local, remote): (SocketAddr, SocketAddr), under: Under) {
        let Some(id) = self.between(local, remote) else { return };
        let of_set = self.streams.entry(id).or_default();
        of_set.retain(|it| it.stream.strong_count() > 0);
        of_set.push(under);
    }

    /// Ends the connections under associations, and then lets the kernel remove them; gives those
    /// connections.
    ///
    /// # Errors
    ///
    /// What the kernel says, for the trace.
    pub(super) fn remove(&mut self, now: Instant, id: SaId) -> (Vec<ConnId>, Result<(), String>) {
        let mut under = self.streams.remove(&id).unwrap_or_default();
        under.retain(Under::reset);
        let ends = self.pairs.iter().filter(|(_, of)| **of == id);
        let ports = ends.map(|((local, _), _)| *local).collect();
        self.pairs.retain(|_, of| *of != id);
        let conns = under.iter().map(|it| it.conn).collect();
        if under.is_empty() {
            return (conns, self.xfrm.remove(id).map_err(|fault| fault.to_string()));
        }
        let streams = under.into_iter().map(|it| it.stream).collect();
        self.leaving.push(Leaving { id, ports, streams, until: now + LEAVE_WITHIN });
        (conns, Ok(()))
    }

    /// Removes the sets whose connections are gone; with no time given, all that are to go.
    ///
    /// # Errors
    ///
    /// What the kernel says, for the trace.
    pub(super) fn remove_left(&mut self, now: Option<Instant>) -> Result<(), String> {
        let mut done = Ok(());
        for leaving in std::mem::take(&mut self.leaving) {
            let is_over = now.is_none_or(|now| leaving.until <= now)
                || leaving.streams.iter().all(|it| it.strong_count() == 0);
            if is_over {
                let removed = self.xfrm.remove(leaving.id).map_err(|fault| fault.to_string());
                done = done.and(removed);
            } else {
                self.leaving.push(leaving);
            }
        }
        done
    }

    /// Stops the readers of ports that nobody needs any more, and gives these.
    pub(super) fn close_idle(&mut self) -> Vec<SocketAddr> {
        let used = self.pairs.keys().map(|(local, _)| *local);
        let left = self.leaving.iter().flat_map(|it| it.ports.iter().copied());
        let used: BTreeSet<SocketAddr> = used.chain(left).collect();
        let is_idle = |addr: &SocketAddr| !self.lasting.contains(addr) && !used.contains(addr);
        let mut idle: Vec<SocketAddr> =
            self.readers.keys().copied().filter(|addr| is_idle(addr)).collect();
        let opened = std::mem::take(&mut self.opened);
        let (unused, kept): (Vec<Port>, _) = opened.into_iter().partition(|it| is_idle(&it.addr));
        idle.extend(unused.iter().map(|port| port.addr));
        self.opened = kept;
        for addr in &idle {
            for reader in self.readers.remove(addr).unwrap_or_default() {
                reader.abort();
            }
        }
        idle
    }

    /// Takes the guard of a port away whose sockets are closed.
    pub(super) fn unguard(&mut self, addr: SocketAddr) {
        self.xfrm.unguard(addr);
    }

    /// Whether this port is a protected one of ours.
    pub(super) fn protects(&self, local: SocketAddr) -> bool {
        self.lasting.contains(&local) || self.readers.contains_key(&local)
    }

    /// The set that packets between these ports have come by.
    pub(super) fn between(&self, local: SocketAddr, remote: SocketAddr) -> Option<SaId> {
        self.pairs.get(&(local, remote)).copied()
    }

    /// Counts clear text at a protected port.
    pub(super) fn clear_text(&mut self) {
        *self.dropped.entry(DropCause::ClearText).or_default() += 1;
    }

    /// How many entries of programs that are gone were found in the kernel and removed.
    pub(super) const fn take_left_over(&mut self) -> usize {
        self.xfrm.take_left_over()
    }

    /// What the kernel has dropped since the last look, when it is time for one.
    pub(super) fn look(&mut self, now: Instant) -> Vec<KernelDrop> {
        self.rested_at = now;
        if self.look_at.is_some_and(|at| at > now) {
            return Vec::new();
        }
        let (found, is_done) = self.xfrm.drops();
        self.look_at = Some(now + if is_done { LOOK_EVERY } else { LOOK_AGAIN });
        for KernelDrop { cause, count, .. } in &found {
            *self.dropped.entry(*cause).or_default() += count;
        }
        found
    }

    /// When it is time for the next look, at counters or at sets that are to go.
    pub(super) fn look_at(&self) -> Option<Instant> {
        let leaving = (!self.leaving.is_empty()).then_some(self.rested_at + LEAVE_AGAIN);
        self.look_at.into_iter().chain(leaving).min()
    }

    /// How many packets were dropped, by cause.
    pub(super) fn dropped(&self) -> Vec<(DropCause, u64)> {
        self.dropped.iter().map(|(cause, count)| (*cause, *count)).collect()
    }
}
