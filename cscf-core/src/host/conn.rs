//! Connections: one task each, which reads portions and writes what waits.
//!
//! The node hands over bytes without waiting; they are written at once, and what the peer does not
//! take is queued up to a bound. A peer that does not read is cut off.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use bytes::{Buf as _, Bytes};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::bind;
use super::task::Event;
use crate::time::Duration;
use crate::transport::{ConnId, Transport};

/// Bytes read at once.
const PORTION_BYTES: usize = 16 * 1024;
/// Pieces written at once.
const SLICES_MAX: usize = 32;
/// How long a connection that the node ended may take to write what waits, and to hear the end.
const LINGER: Duration = Duration::from_secs(1);

/// What waits to be written to one connection.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: RefCell<VecDeque<Bytes>>,
    queued_bytes: Cell<usize>,
    ending: Cell<bool>,
    wake: Notify,
    done: Notify,
}

impl Outgoing {
    /// Adds bytes; false if more than `max` would wait.
    pub(super) fn push(&self, bytes: Bytes, max: usize) -> bool {
        let total = self.queued_bytes.get().saturating_add(bytes.len());
        if total > max {
            return false;
        }
        self.queued_bytes.set(total);
        self.queue.borrow_mut().push_back(bytes);
        true
    }

    /// Writes as much as the peer takes; true when nothing waits any more.
    pub(super) fn flush(&self, stream: &TcpStream) -> io::Result<bool> {
        let mut queue = self.queue.borrow_mut();
        while !queue.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                queue.iter().take(SLICES_MAX).map(|bytes| IoSlice::new(bytes)).collect();
            let written = match stream.try_write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(fault) => return Err(fault),
            };
            self.queued_bytes.set(self.queued_bytes.get().saturating_sub(written));
            advance(&mut queue, written);
        }
        Ok(true)
    }

    /// Takes the next piece, for a task that writes for itself.
    pub(super) fn pop(&self) -> Option<Bytes> {
        let bytes = self.queue.borrow_mut().pop_front()?;
        self.queued_bytes.set(self.queued_bytes.get().saturating_sub(bytes.len()));
        Some(bytes)
    }

    /// Whether the node has ended the connection.
    pub(super) const fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// Waits until something is to be looked at.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The task of the connection is through.
    pub(super) fn done(&self) {
        self.done.notify_one();
    }

    /// Waits until the task of the connection is through.
    pub(super) async fn finished(&self) {
        self.done.notified().await;
    }

    /// Lets the task of the connection look at the queue.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Ends the connection when everything is written.
    pub(super) fn end(&self) {
        self.ending.set(true);
        self.wake.notify_one();
    }

    /// Returns when a flush came to an end: everything written, and ended if that was asked for.
    async fn work(&self, stream: &TcpStream) -> io::Result<()> {
        loop {
            if self.flush(stream)? {
                if self.ending.get() {
                    return Ok(());
                }
                self.wake.notified().await;
            } else {
                stream.writable().await?;
            }
        }
    }
}

fn advance(queue: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = queue.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        queue.pop_front();
    }
}

/// Reads and writes until one side ends the connection.
pub(super) async fn run(
    conn: ConnId,
    stream: Rc<TcpStream>,
    outgoing: Rc<Outgoing>,
    events: mpsc::Sender<Event>,
) {
    let cause = tokio::select! {
        cause = read(conn, &stream, &events) => cause,
        written = outgoing.work(&stream) => match written {
            Ok(()) => return linger(&stream).await,
            Err(fault) => cause_of(&fault),
        },
    };
    if outgoing.ending.get() {
        // The node has ended it and does not want to hear of it again.
        return;
    }
    let _ = events.send(Event::Closed(conn, cause)).await;
}

async fn read(conn: ConnId, stream: &TcpStream, events: &mpsc::Sender<Event>) -> String {
    loop {
        if let Err(fault) = stream.readable().await {
            return cause_of(&fault);
        }
        match read_portion(stream) {
            Ok(portion) if portion.is_empty() => return "closed by the peer".to_owned(),
            Ok(portion) => {
                // A node that is behind makes its peers wait: the channel is bounded.
                if events.send(Event::Bytes(conn, portion)).await.is_err() {
                    return "the node has ended".to_owned();
                }
            }
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
            Err(fault) => return cause_of(&fault),
        }
    }
}

/// Reads what is there into a buffer of its own size: what keeps it keeps nothing else alive.
fn read_portion(stream: &TcpStream) -> io::Result<Bytes> {
    PORTION.with_borrow_mut(|buffer| {
        let count = stream.try_read(buffer)?;
        if (1..PORTION_BYTES).contains(&count) {
            // That was all: what comes later is told anew, and no call is needed to learn it.
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = stream.try_io(Interest::READABLE, nothing);
        }
        Ok(Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default()))
    })
}

thread_local! {
    /// What all connections of a thread are read into, one at a time: to clear a buffer of its size
    /// for each read costs more than the read.
    static PORTION: RefCell<Box<[u8]>> = RefCell::new(vec![0; PORTION_BYTES].into());
}

/// Says that nothing more comes and waits for the peer to hear it; closing with unread bytes would
/// reset the connection and could lose what was written last.
async fn linger(stream: &TcpStream) {
    if SockRef::from(stream).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let _ = timeout(LINGER, async {
        let mut sink = [0; 4096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut sink) {
                Ok(0) => return,
                Ok(_) => {}
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    })
    .await;
}

/// Opens a connection and tells the node.
pub(super) async fn open(
    conn: ConnId,
    (local, remote): (SocketAddr, SocketAddr),
    port: bind::PortWanted,
    outgoing: Rc<Outgoing>,
    events: mpsc::Sender<Event>,
) {
    match bind::connect(local, remote, port).await {
        Ok(stream) => {
            bind::prepare(&stream);
            let local = stream.local_addr().unwrap_or(local);
            let stream = Rc::new(stream);
            let opened = Event::Connected { conn, local, remote, stream: Rc::clone(&stream) };
            if events.send(opened).await.is_ok() {
                run(conn, stream, outgoing, events).await;
            }
        }
        Err(fault) => {
            let _ = events.send(Event::Closed(conn, cause_of(&fault))).await;
        }
    }
}

/// Accepts connections and hands them to the node, which decides whether it has room.
pub(super) async fn accept(
    transport: Transport,
    local: SocketAddr,
    listener: TcpListener,
    events: mpsc::Sender<Event>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let accepted = Event::Accepted { transport, stream, local, remote };
                if events.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(fault) => after(&fault).await,
        }
    }
}

/// Waits a moment after what could not be accepted, where the next cannot be either: when the
/// process has no more file numbers, trying at once would only burn time.
pub(super) async fn after(fault: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(50);
    if !is_about_one_connection(fault) {
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_about_one_connection(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// Words for the trace.
pub(super) fn cause_of(fault: &io::Error) -> String {
    match fault.kind() {
        io::ErrorKind::BrokenPipe => "the peer no longer reads".to_owned(),
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset => "reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::TimedOut => "the peer does not answer".to_owned(),
        _ => fault.to_string(),
    }
}
