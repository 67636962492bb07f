//! Protected ports where this program speaks ESP itself: sockets that keep others off them, and
//! drop what comes in clear text (TS 33.203 §7.1).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::super::task::Event;
use super::super::udp::{self, UdpSocket};
use super::super::{bind, conn};

/// A protected port.
#[derive(Debug)]
struct Guard {
    /// How many associations it is for, and one more if it stays without.
    needed: usize,
    sockets: Option<(UdpSocket, TcpListener)>,
    readers: Vec<AbortHandle>,
}

/// The protected ports of a node.
#[derive(Debug, Default)]
pub(super) struct Guards(BTreeMap<SocketAddr, Guard>);

impl Guards {
    /// Takes a port, or the same once more.
    pub(super) fn take(
        &mut self,
        addr: SocketAddr,
    ) -> Result<(), (&'static str, SocketAddr, io::Error)> {
        if let Some(known) = self.0.get_mut(&addr) {
            known.needed += 1;
            return Ok(());
        }
        let udp = udp::open(addr).map_err(|fault| ("udp", addr, fault))?;
        let tcp = bind::listen(addr).map_err(|fault| ("tcp", addr, fault))?;
        let sockets = Some((udp, tcp));
        self.0.insert(addr, Guard { needed: 1, sockets, readers: Vec::new() });
        Ok(())
    }

    /// Lets a port go, once for each time that it was taken.
    pub(super) fn leave(&mut self, addr: SocketAddr) {
        let Some(guard) = self.0.get_mut(&addr) else { return };
        guard.needed = guard.needed.saturating_sub(1);
        if guard.needed == 0 {
            for reader in &guard.readers {
                reader.abort();
            }
            self.0.remove(&addr);
        }
    }

    /// Begins to read what comes to ports that were taken since.
    pub(super) fn start(&mut self, tasks: &mut JoinSet<()>, events: &mpsc::Sender<Event>) {
        for (addr, guard) in &mut self.0 {
            let Some((udp, tcp)) = guard.sockets.take() else { continue };
            guard.readers = vec![
                tasks.spawn_local(datagrams(*addr, udp, events.clone())),
                tasks.spawn_local(connections(*addr, tcp, events.clone())),
            ];
        }
    }
}

/// Tells of each datagram. A node that is behind leaves the rest to the buffer of the socket.
async fn datagrams(local: SocketAddr, socket: UdpSocket, events: mpsc::Sender<Event>) {
    let mut start = [0; 1];
    loop {
        let Ok((_, remote)) = socket.recv_from(&mut start).await else { continue };
        if events.send(Event::ClearText { local, remote }).await.is_err() {
            return;
        }
    }
}

/// Ends each connection as soon as it is there.
async fn connections(local: SocketAddr, listener: TcpListener, events: mpsc::Sender<Event>) {
    loop {
        let remote = match listener.accept().await {
            Ok((stream, remote)) => {
                bind::reset_on_drop(&stream);
                remote
            }
            Err(fault) => {
                conn::after(&fault).await;
                continue;
            }
        };
        if events.send(Event::ClearText { local, remote }).await.is_err() {
            return;
        }
    }
}
