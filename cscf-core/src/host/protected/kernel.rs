//! Ordinary sockets under the kernel's ESP: which there are at the protected ports, and which set
//! of associations what comes there has come by. The kernel lets no clear text in between ports
//! that an association is for; what still comes to a protected port is dropped here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::AbortHandle;

use super::super::{bind, udp};
use super::Protect;
use super::xfrm::{KernelDrop, Xfrm};
use crate::time::{Duration, Instant};
use crate::transport::SaId;
use crate::transport::esp::DropCause;
use crate::transport::ipsec::SaSet;

/// What cannot be had where the kernel refuses its associations, in a `BindError`.
const XFRM: &str = "ESP (kernel)";
/// How often the counters of the kernel are read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    dropped: BTreeMap<DropCause, u64>,
    /// When the counters of the kernel are read again.
    look_at: Option<Instant>,
}

impl Kernel {
    pub(super) fn open(protect: &Protect) -> Result<Self, (&'static str, SocketAddr, io::Error)> {
        let first = protect.at.first().map(|ip| SocketAddr::new(*ip, 0));
        let first = first.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let mut xfrm = Xfrm::open().map_err(|fault| (XFRM, first, io::Error::other(fault)))?;
        let mut opened = Vec::new();
        for addr in &protect.ports {
            opened.push(Port::open(*addr)?);
            xfrm.guard(*addr).map_err(|fault| (XFRM, *addr, io::Error::other(fault)))?;
        }
        Ok(Self {
            xfrm,
            opened,
            lasting: protect.ports.iter().copied().collect(),
            readers: BTreeMap::new(),
            pairs: BTreeMap::new(),
            dropped: BTreeMap::new(),
            look_at: None,
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
        let (client, server) = (set.local.client(), set.local.server());
        for addr in [client, server] {
            let open = self.readers.contains_key(&addr)
                || self.opened.iter().any(|port| port.addr == addr);
            if !open {
                let port = Port::open(addr).map_err(|(what, addr, fault)| {
                    format!("the protected port {addr} cannot be had ({what}): {fault}")
                })?;
                self.opened.push(port);
                self.xfrm.guard(addr).map_err(|fault| fault.to_string())?;
            }
        }
        self.xfrm.install(set).map_err(|fault| fault.to_string())?;
        self.pairs.insert((server, set.remote.client()), set.id);
        self.pairs.insert((client, set.remote.server()), set.id);
        Ok(())
    }

    /// Lets the kernel remove associations; gives the ports that nobody needs any more.
    ///
    /// # Errors
    ///
    /// What the kernel says, for the trace.
    pub(super) fn remove(&mut self, id: SaId) -> (Vec<SocketAddr>, Result<(), String>) {
        self.pairs.retain(|_, of| *of != id);
        let used: BTreeSet<SocketAddr> = self.pairs.keys().map(|(local, _)| *local).collect();
        let is_idle = |addr: &&SocketAddr| !self.lasting.contains(addr) && !used.contains(addr);
        let idle: Vec<SocketAddr> = self.readers.keys().filter(is_idle).copied().collect();
        for addr in &idle {
            for reader in self.readers.remove(addr).unwrap_or_default() {
                reader.abort();
            }
            self.xfrm.unguard(*addr);
        }
        (idle, self.xfrm.remove(id).map_err(|fault| fault.to_string()))
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
        if self.look_at.is_some_and(|at| at > now) {
            return Vec::new();
        }
        self.look_at = Some(now + LOOK_EVERY);
        let found = self.xfrm.drops();
        for KernelDrop { cause, count, .. } in &found {
            *self.dropped.entry(*cause).or_default() += count;
        }
        found
    }

    /// When it is time for the next look.
    pub(super) const fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// How many packets were dropped, by cause.
    pub(super) fn dropped(&self) -> Vec<(DropCause, u64)> {
        self.dropped.iter().map(|(cause, count)| (*cause, *count)).collect()
    }
}
