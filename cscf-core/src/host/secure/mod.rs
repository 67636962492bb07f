//! Streams that are more than TCP: TLS (RFC 3261 §26.2.1), WebSocket and both (RFC 7118).
//!
//! Each connection has one task: the handshake, with a bound on its time, then reading and writing.
//! The node hears of a connection when its handshake is through; one that fails is told as dropped,
//! with its reason.

mod certificates;
mod handshake;
mod identity;
mod reasons;

mod traffic;
mod watch;

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub use certificates::{Tls, TlsFault};

use super::bind::{self, PortWanted};
use super::conn::{self, Outgoing};
use super::task::Event;
use crate::time::Duration;
use crate::transport::{ConnId, Flow, Transport};

/// What the handshake of a connection needs.
#[derive(Clone, Debug)]
pub(super) struct Handshaking {
    /// The certificates; without, there is no TLS.
    pub(super) tls: Option<Rc<Tls>>,
    /// How long it may take.
    pub(super) within: Duration,
    /// How long a record or message may take behind it, until it is whole.
    pub(super) whole_within: Duration,
}

/// Serves a connection that a peer has opened.
pub(super) async fn accepted(
    flow: Flow,
    stream: TcpStream,
    with: Handshaking,
    outgoing: Rc<Outgoing>,
    events: mpsc::Sender<Event>,
) {
    let Some(conn) = flow.conn else { return };
    let greeting = timeout(with.within, handshake::serve(flow.transport, stream, &with));
    match greeting.await.unwrap_or_else(|_| Err(too_slow(flow.transport, with.within))) {
        Ok((stream, what)) => {
            if events.send(Event::Secured { flow, what }).await.is_ok() {
                traffic::run(conn, (stream, with.whole_within), &outgoing, &events).await;
            }
        }
        Err(cause) => {
            let _ = events.send(Event::Refused(conn, cause)).await;
        }
    }
    outgoing.done();
}

/// Opens a connection to a peer.
pub(super) async fn open(
    conn: ConnId,
    way: (Transport, SocketAddr, SocketAddr),
    with: Handshaking,
    outgoing: Rc<Outgoing>,
    events: mpsc::Sender<Event>,
) {
    let (transport, local, remote) = way;
    let connecting = async {
        let connected = bind::connect(local, remote, PortWanted::IfFree).await;
        let stream = connected.map_err(|fault| conn::cause_of(&fault))?;
        bind::prepare(&stream);
        let local = stream.local_addr().unwrap_or(local);
        let (stream, what) = handshake::ask(transport, stream, remote, &with).await?;
        Ok((local, stream, what))
    };
    let connected = timeout(with.within, connecting).await;
    match connected.unwrap_or_else(|_| Err(too_slow(transport, with.within))) {
        Ok((local, stream, what)) => {
            let flow = Flow { transport, local, remote, conn: Some(conn), sa: None };
            if events.send(Event::Secured { flow, what }).await.is_ok() {
                traffic::run(conn, (stream, with.whole_within), &outgoing, &events).await;
            }
        }
        Err(cause) => {
            let _ = events.send(Event::Closed(conn, cause)).await;
        }
    }
    outgoing.done();
}

fn too_slow(transport: Transport, within: Duration) -> String {
    format!("{transport}: the handshake was not through within {} s", within.as_secs())
}
