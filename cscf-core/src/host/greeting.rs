//! Accepted connections that are in their handshake (TLS, WebSocket): bounded in number, in all and
//! of each peer. The node hears of a connection when it is up.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tokio::net::TcpStream;

use super::conn::Outgoing;
use super::secure::{self, Handshaking};
use super::task::{Conn, NodeTask, Path};
use super::{Limits, bind};
use crate::clause::rfc3261;
use crate::engine::{Input, Node};
use crate::trace::{Note, TraceEvent, TraceKind};
use crate::transport::{ConnId, Flow};

/// How many connections are in their handshake.
#[derive(Debug, Default)]
pub(super) struct Greetings {
    all: usize,
    by_peer: BTreeMap<IpAddr, usize>,
}

impl Greetings {
    /// Counts one more, if there is room.
    fn enter(&mut self, remote: SocketAddr, limits: &Limits) -> bool {
        let peer = bind::peer_key(remote);
        let of_peer = self.by_peer.get(&peer).copied().unwrap_or_default();
        if self.all >= limits.handshakes_max || of_peer >= limits.handshakes_per_peer_max {
            return false;
        }
        self.by_peer.insert(peer, of_peer + 1);
        self.all += 1;
        true
    }

    /// One is through, or has failed.
    fn leave(&mut self, remote: SocketAddr) {
        let peer = bind::peer_key(remote);
        let Some(of_peer) = self.by_peer.get_mut(&peer) else { return };
        self.all = self.all.saturating_sub(1);
        *of_peer = of_peer.saturating_sub(1);
        if *of_peer == 0 {
            self.by_peer.remove(&peer);
        }
    }
}

impl<N: Node> NodeTask<N> {
    /// What a handshake of this node needs.
    pub(super) fn handshaking(&self) -> Handshaking {
        let Limits { handshake_for, whole_within, .. } = self.with.limits;
        Handshaking { tls: self.with.tls.clone(), within: handshake_for, whole_within }
    }

    /// Begins the handshake of an accepted connection.
    pub(super) fn greet(&mut self, stream: TcpStream, flow: Flow) {
        let remote = flow.remote;
        if !self.greetings.enter(remote, &self.with.limits) {
            bind::reset_on_drop(&stream);
            return self.dropped(remote, "too many handshakes at a time");
        }
        let conn = self.next_accepted();
        let flow = Flow { conn: Some(conn), ..flow };
        let outgoing = Rc::new(Outgoing::default());
        let (with, events) = (self.handshaking(), self.events_in.clone());
        let run = secure::accepted(flow, stream, with, Rc::clone(&outgoing), events);
        let task = self.tasks.spawn_local(run);
        *self.by_peer.entry(bind::peer_key(remote)).or_default() += 1;
        let path = Path::Secured { up: false, outgoing, task };
        self.conns.insert(conn, Conn { remote, accepted: true, path });
    }

    /// A handshake is through, of either side's beginning.
    pub(super) fn secured(&mut self, flow: Flow, what: &str) {
        let Some(conn) = flow.conn else { return };
        let Some(Conn { remote, accepted, path: Path::Secured { up, .. } }) =
            self.conns.get_mut(&conn)
        else {
            return;
        };
        *up = true;
        if *accepted {
            let remote = *remote;
            self.greetings.leave(remote);
        }
        let what = what.trim_end_matches([',', ' ']);
        let text = format!("{flow}: {what}");
        let kind = TraceKind::Note(Note::new(rfc3261("26.3.1"), text, false));
        let (at, node) = (self.with.clock.now(), self.node.name().into());
        (self.with.sink)(TraceEvent { at, node, kind });
        self.input(Input::Opened(flow));
    }

    /// A handshake of an accepted connection has failed: the node has never heard of it.
    pub(super) fn refused(&mut self, conn: ConnId, cause: &str) {
        let Some(gone) = self.forget(conn) else { return };
        self.greetings.leave(gone.remote);
        self.dropped(gone.remote, cause);
    }
}
