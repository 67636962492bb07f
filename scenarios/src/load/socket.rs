//! The sockets of a fleet: one for all source addresses (each datagram says its own, `IP_PKTINFO`),
//! or one for each port.
//!
//! Datagrams arrive in batches (`recvmmsg`). They leave one by one: nix shares the control message
//! of a `sendmmsg` among all its datagrams, and the source address is in it.

use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _};

use cscf_core::time::Duration;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;

use super::people::Sources;

/// Datagrams taken at once.
const BATCH: usize = 64;
/// The room of each; a longer one is cut.
const SLOT_BYTES: usize = 8192;
/// Wished for in both directions of a wildcard socket; the system may give less.
const BUFFER_BYTES: usize = 16 << 20;
/// The longest wait for room in the send buffer.
const ROOM_FOR: Duration = Duration::from_millis(20);

/// The sockets.
#[derive(Debug)]
pub(super) struct Net {
    sockets: Vec<UdpSocket>,
    /// Tells which of many sockets has something.
    epoll: Option<Epoll>,
    sources: Sources,
    buffer: Vec<u8>,
    headers: MultiHeaders<SockaddrIn>,
    got: Vec<(usize, Option<SocketAddrV4>)>,
    ready: Vec<usize>,
    /// Datagrams that the system did not take.
    pub(super) refused: u64,
    /// What it said of the last of them.
    pub(super) refusal: Option<Errno>,
}

impl Net {
    /// Opens the sockets of these sources.
    ///
    /// # Errors
    ///
    /// Which address cannot be had, and why.
    pub(super) fn open(sources: Sources) -> Result<Self, String> {
        let bind = |address: SocketAddrV4| {
            open(address).map_err(|fault| format!("{address} cannot be sent from: {fault}"))
        };
        let (sockets, sources) = match sources {
            Sources::Addresses { port, .. } => {
                let socket = bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
                let given = socket.local_addr().map_err(|fault| fault.to_string())?.port();
                (vec![socket], sources.on_port(given))
            }
            Sources::Ports { count, .. } => {
                let all = (0..u32::from(count)).map(|ue| bind(sources.of(ue)));
                (all.collect::<Result<_, _>>()?, sources)
            }
        };
        let epoll = (sockets.len() > 1).then(|| watch(&sockets)).transpose();
        let epoll = epoll.map_err(|fault| format!("sockets cannot be watched: {fault}"))?;
        Ok(Self {
            sockets,
            epoll,
            sources,
            buffer: vec![0; BATCH * SLOT_BYTES],
            headers: MultiHeaders::preallocate(BATCH, None),
            got: Vec::with_capacity(BATCH),
            ready: Vec::new(),
            refused: 0,
            refusal: None,
        })
    }

    /// The sources, with the port that the system gave.
    #[must_use]
    pub(super) const fn sources(&self) -> Sources {
        self.sources
    }

    /// Sends a datagram from the address of this UE.
    pub(super) fn send(&mut self, ue: u32, to: SocketAddrV4, bytes: &[u8]) {
        let (place, source) = match self.sources {
            Sources::Addresses { .. } => (0, Some(*self.sources.of(ue).ip())),
            Sources::Ports { count, .. } => (ue as usize % usize::from(count).max(1), None),
        };
        let Some(socket) = self.sockets.get(place) else { return };
        let none = in_addr { s_addr: 0 };
        let address = source.map_or(0, |source| u32::from_ne_bytes(source.octets()));
        let from = in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr { s_addr: address },
            ipi_addr: none,
        };
        let control = [ControlMessage::Ipv4PacketInfo(&from)];
        let control = if source.is_some() { control.as_slice() } else { &[] };
        let (parts, to) = ([IoSlice::new(bytes)], SockaddrIn::from(to));
        for _ in 0..2 {
            let flags = MsgFlags::MSG_DONTWAIT;
            match sendmsg(socket.as_raw_fd(), &parts, control, flags, Some(&to)) {
                Ok(_) => return,
                Err(Errno::EAGAIN) => poll(socket, PollFlags::POLLOUT, ROOM_FOR),
                // Told by ICMP of an earlier datagram; this one was not sent.
                Err(Errno::ECONNREFUSED) => {}
                Err(fault) => {
                    (self.refused, self.refusal) = (self.refused + 1, Some(fault));
                    return;
                }
            }
        }
        self.refused += 1;
    }

    /// Gives what has arrived to `take`, at most a batch of each socket; how many it was.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        self.ready.clear();
        match &self.epoll {
            None => self.ready.push(0),
            Some(epoll) => {
                let mut events = [EpollEvent::empty(); BATCH];
                let count = epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
                let places = events.iter().take(count).map(EpollEvent::data);
                self.ready.extend(places.filter_map(|it| usize::try_from(it).ok()));
            }
        }
        let mut count = 0;
        for place in &self.ready {
            let Some(socket) = self.sockets.get(*place) else { continue };
            self.got.clear();
            let slots = self.buffer.chunks_mut(SLOT_BYTES);
            let mut slots: Vec<_> = slots.map(|slot| [IoSliceMut::new(slot)]).collect();
            let flags = MsgFlags::MSG_DONTWAIT;
            let fd = socket.as_raw_fd();
            if let Ok(all) = recvmmsg(fd, &mut self.headers, slots.iter_mut(), flags, None) {
                let source = |it: SockaddrIn| SocketAddrV4::new(it.ip(), it.port());
                self.got.extend(all.map(|one| (one.bytes, one.address.map(source))));
            }
            count += self.got.len();
            for ((length, from), slot) in self.got.iter().zip(self.buffer.chunks(SLOT_BYTES)) {
                if let (Some(bytes), Some(from)) = (slot.get(..*length), from) {
                    take(bytes, *from);
                }
            }
        }
        count
    }

    /// Waits until something arrives, at most so long.
    pub(super) fn wait(&self, longest: Duration) {
        match (&self.epoll, self.sockets.first()) {
            (Some(epoll), _) => poll(&epoll.0, PollFlags::POLLIN, longest),
            (None, Some(socket)) => poll(socket, PollFlags::POLLIN, longest),
            (None, None) => {}
        }
    }

    /// How many datagrams the system has dropped because they were not taken in time, of all
    /// sockets since they were opened (`/proc/net/udp`).
    #[must_use]
    pub(super) fn dropped(&self) -> u64 {
        let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
        let ours: BTreeSet<String> = self.sockets.iter().filter_map(in_table).collect();
        let drops = table.lines().filter_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            columns.nth(1).filter(|local| ours.contains(*local))?;
            columns.last()?.parse::<u64>().ok()
        });
        drops.sum()
    }
}

/// The local address as `/proc/net/udp` writes it.
fn in_table(socket: &UdpSocket) -> Option<String> {
    let SocketAddr::V4(address) = socket.local_addr().ok()? else { return None };
    let octets = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{octets:08X}:{:04X}", address.port()))
}

fn open(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // Above the limit of the system where that is allowed, else as much as it gives.
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
        let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER_BYTES);
    }
    let _ = setsockopt(&socket, sockopt::SndBuf, &BUFFER_BYTES);
    Ok(socket)
}

fn watch(sockets: &[UdpSocket]) -> nix::Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (place, socket) in sockets.iter().enumerate() {
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, place as u64))?;
    }
    Ok(epoll)
}

fn poll(what: &impl AsFd, flags: PollFlags, longest: Duration) {
    let mut wanted = [PollFd::new(what.as_fd(), flags)];
    let _ = ppoll(&mut wanted, Some(TimeSpec::from_duration(longest)), None);
}
