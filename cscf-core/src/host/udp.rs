//! Datagrams: a socket that reports what ICMP says about them.
//!
//! The kernel keeps ICMP errors of an unconnected socket only in its error queue (`IP_RECVERR`,
//! RFC 1122 §4.1.3.3); each entry there carries the destination of the datagram it is about.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Sleep, sleep};

use super::quiet::Quiet;
use crate::time::Duration;

/// The largest payload of a UDP datagram, with room to see that nothing was cut.
pub(super) const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Wished for in both directions; the system may give less.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// How long what waits for room waits at most where nobody can tell that there is some.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// A socket for datagrams. It wakes its node for what comes, not for room in the system's buffer
/// when nothing waits for that: each datagram that a peer takes up on loopback makes room, which
/// would be a second wake-up for each message.
#[derive(Debug)]
pub(super) struct UdpSocket {
    incoming: AsyncFd<StdSocket>,
    /// While something waits for room.
    room: RefCell<Option<Room>>,
}

impl UdpSocket {
    /// Takes over a socket that does not block.
    pub(super) fn from_std(socket: StdSocket) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::ERROR;
        let incoming = watch(socket, interest)?;
        Ok(Self { incoming, room: RefCell::default() })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.incoming.get_ref().local_addr()
    }

    /// Receives one datagram; `WouldBlock` when there is none.
    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.incoming.try_io(Interest::READABLE, |socket| socket.recv_from(buffer))
    }

    /// Waits for one datagram.
    pub(super) async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.incoming.async_io(Interest::READABLE, |socket| socket.recv_from(buffer)).await
    }

    /// Sends one datagram; `WouldBlock` when there is no room.
    fn try_send_to(&self, bytes: &[u8], remote: SocketAddr) -> io::Result<usize> {
        self.incoming.get_ref().send_to(bytes, remote)
    }

    /// Whether something may have come.
    pub(super) fn poll_recv_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.poll_read_ready(context).map_ok(|mut guard| guard.retain_ready())
    }

    /// Whether there may be room for what waits.
    pub(super) fn poll_send_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = self.room.borrow_mut();
        let mut waiting = room.take().unwrap_or_else(|| {
            let socket = self.incoming.get_ref().try_clone();
            Room::of(socket.and_then(|socket| watch(socket, Interest::WRITABLE)))
        });
        let ready = waiting.poll(context);
        if ready.is_pending() {
            *room = Some(waiting);
        }
        ready
    }
}

/// How it is found that the system's buffer has room.
#[derive(Debug)]
enum Room {
    /// The system had no descriptor for that: it is looked for after a while.
    Later(Pin<Box<Sleep>>),
    /// The system tells.
    Watched(AsyncFd<StdSocket>),
}

impl Room {
    /// By a second descriptor of the socket, if there is one.
    fn of(watched: io::Result<AsyncFd<StdSocket>>) -> Self {
        watched.map_or_else(|_| Self::Later(Box::pin(sleep(LOOK_AGAIN_AFTER))), Self::Watched)
    }

    /// Whether there may be room.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Later(sleep) => sleep.as_mut().poll(context).map(Ok),
            Self::Watched(socket) => {
                socket.poll_write_ready(context).map_ok(|mut guard| guard.retain_ready())
            }
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe; a std socket owns its descriptor")]
fn watch(socket: StdSocket, interest: Interest) -> io::Result<AsyncFd<StdSocket>> {
    AsyncFd::with_interest(socket, interest)
}

/// Opens a socket for datagrams. No address is shared: a second program finds it in use.
pub(super) fn open(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
    }
    socket.bind(&addr.into())?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// A datagram that came back, or never left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    pub(super) remote: SocketAddr,
    pub(super) cause: String,
}

/// Waits until the error queue has something, and empties it.
pub(super) async fn undelivered(socket: &UdpSocket) -> io::Result<Vec<Undelivered>> {
    loop {
        socket.incoming.ready(Interest::ERROR).await?.retain_ready();
        let mut found = Vec::new();
        while let Ok(entry) = socket.incoming.try_io(Interest::ERROR, read_error) {
            found.extend(entry);
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
}

/// Reads one entry of the error queue; `None` where it names no destination.
fn read_error(socket: &StdSocket) -> io::Result<Option<Undelivered>> {
    let mut payload = [0; 64];
    let mut control = nix::cmsg_space!([u8; 256]);
    let mut parts = [io::IoSliceMut::new(&mut payload)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let Some(remote) = message.address.as_ref().and_then(socket_addr) else { return Ok(None) };
    let number = message.cmsgs()?.find_map(|entry| match entry {
        ControlMessageOwned::Ipv4RecvErr(fault, _) => Some(fault.ee_errno),
        ControlMessageOwned::Ipv6RecvErr(fault, _) => Some(fault.ee_errno),
        _ => None,
    });
    let errno = number.and_then(|number| i32::try_from(number).ok()).map(Errno::from_raw);
    let cause = errno.map_or_else(|| "undelivered".to_owned(), |errno| cause_of(errno).to_owned());
    Ok(Some(Undelivered { remote, cause: format!("{cause} (ICMP)") }))
}

fn socket_addr(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    storage.as_sockaddr_in6().map(|v6| SocketAddr::new(v6.ip().into(), v6.port()))
}

fn cause_of(errno: Errno) -> &'static str {
    match errno {
        Errno::ECONNREFUSED => "port unreachable",
        Errno::EHOSTUNREACH => "host unreachable",
        Errno::EMSGSIZE => "datagram too large for the path",
        Errno::ENETUNREACH => "network unreachable",
        other => other.desc(),
    }
}

/// What became of a datagram handed to the socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It left, or waits, or was lost in a full buffer.
    Taken,
    /// It cannot leave.
    Refused(String),
}

/// Datagrams that wait for room in the socket's buffer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: RefCell<VecDeque<(SocketAddr, Bytes)>>,
}

impl Waiting {
    /// Sends, or keeps for later while fewer than `max` wait.
    pub(super) fn send(
        &self,
        socket: &UdpSocket,
        (remote, bytes): (SocketAddr, Bytes),
        max: usize,
    ) -> Sent {
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() {
            match try_send(socket, remote, &bytes) {
                Ok(()) => return Sent::Taken,
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
                Err(fault) => {
                    let errno = fault.raw_os_error().map(Errno::from_raw);
                    return Sent::Refused(
                        errno.map_or_else(|| fault.to_string(), |errno| cause_of(errno).to_owned()),
                    );
                }
            }
        }
        if queue.len() < max {
            queue.push_back((remote, bytes));
        }
        Sent::Taken
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn flush(&self, socket: &UdpSocket) {
        let mut queue = self.queue.borrow_mut();
        while let Some((remote, bytes)) = queue.front() {
            if let Err(fault) = try_send(socket, *remote, bytes)
                && fault.kind() == io::ErrorKind::WouldBlock
            {
                return;
            }
            queue.pop_front();
        }
        // Or each datagram that a peer takes up would wake us.
        socket.room.take();
    }
}

/// A socket for datagrams.
pub(super) struct Datagrams {
    pub(super) addr: SocketAddr,
    pub(super) socket: Rc<UdpSocket>,
    pub(super) waiting: Waiting,
    pub(super) quiet: Quiet,
}

impl Datagrams {
    /// Nothing waits, and nobody has looked at it.
    pub(super) fn new(addr: SocketAddr, socket: Rc<UdpSocket>) -> Self {
        Self { addr, socket, waiting: Waiting::default(), quiet: Quiet::default() }
    }

    /// Whether there is something to receive, or room for what waits to be sent.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> bool {
        let Self { socket, waiting, quiet, .. } = self;
        let received = quiet.poll(context, |context| socket.poll_recv_ready(context));
        received | (!waiting.is_empty() && socket.poll_send_ready(context).is_ready())
    }
}

/// Sends one datagram. An ICMP error about an *earlier* one is also reported by the next call on
/// the socket, which then does nothing; so a refusal is believed only when it comes twice.
fn try_send(socket: &UdpSocket, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    match socket.try_send_to(bytes, remote) {
        Err(fault) if fault.kind() != io::ErrorKind::WouldBlock => {
            socket.try_send_to(bytes, remote).map(|_| ())
        }
        result => result.map(|_| ()),
    }
}

/// Receives one datagram into `buffer`; `None` when there is none. Errors left behind by ICMP are
/// skipped, the error queue tells them better.
pub(super) fn try_receive(
    socket: &Rc<UdpSocket>,
    buffer: &mut [u8],
) -> Option<(usize, SocketAddr)> {
    const PENDING_ERRORS_MAX: usize = 16;
    for _ in 0..PENDING_ERRORS_MAX {
        match socket.try_recv_from(buffer) {
            Ok(received) => return Some(received),
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_descriptor_room_is_looked_for_after_a_while_and_not_at_once() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let mut room = Room::of(Err(Errno::EMFILE.into()));
            let mut polls = 0;

            let found = std::future::poll_fn(|context| {
                polls += 1;
                room.poll(context)
            });
            let found = tokio::time::timeout(Duration::from_secs(5), found).await;

            found.expect("in time").expect("no fault");
            assert_eq!(polls, 2, "the second when the timer has woken it");
        });
    }

    #[test]
    fn a_datagram_to_a_closed_port_comes_back_with_its_destination() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let any = "127.91.0.3:0".parse().expect("address");
            let socket = open(any).expect("opens");
            let closed = open(any).expect("opens").local_addr().expect("address");
            let open_too = open(any).expect("opens");
            let alive = open_too.local_addr().expect("address");
            let waiting = Waiting::default();

            let gone = waiting.send(&socket, (closed, Bytes::from_static(b"x")), 10);
            let back = tokio::time::timeout(Duration::from_secs(5), undelivered(&socket));
            let back = back.await.expect("in time").expect("reads");
            let kept = waiting.send(&socket, (alive, Bytes::from_static(b"y")), 10);

            assert_eq!((gone, kept), (Sent::Taken, Sent::Taken));
            let cause = "port unreachable (ICMP)".to_owned();
            assert_eq!(back, [Undelivered { remote: closed, cause }]);
            let mut buffer = [0; 10];
            let got = open_too.recv_from(&mut buffer).await.expect("arrives");
            assert_eq!((got.0, buffer[0]), (1, b'y'));
        });
    }
}
