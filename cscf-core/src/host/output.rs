//! What a node wants, done with sockets.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;

use super::bind::PortWanted;
use super::conn::{self, Outgoing};
use super::task::{Conn, Event, NodeTask, Path};
use super::{bind, secure};
use crate::cx::AskId;
use crate::engine::{Input, Node, Output};
use crate::role::{Answer, Question};
use crate::transport::dns::{DnsAnswer, DnsQuestion};
use crate::transport::{ConnId, Flow, Transport};

impl<N: Node> NodeTask<N> {
    /// Does one thing the node wants. What that leads to is held until the node is drained.
    pub(super) fn perform(&mut self, output: Output) {
        match output {
            Output::Ask(ask, Question::Dns(question)) => self.ask_dns(ask, question),
            Output::Ask(ask, _) => {
                // Nodes that ask have who answers in them; nobody is behind this door.
                self.held.push_back(Input::Answer(ask, Answer::TimedOut));
            }
            Output::Close(conn) => self.close(conn),
            Output::Connect { conn, transport, local, remote, sa: None } => {
                self.connect(conn, transport, (local, remote), PortWanted::IfFree);
            }
            Output::Connect { conn, transport, local, remote, sa } => {
                let flow = Flow { transport, local, remote, conn: Some(conn), sa };
                self.protected_connect(conn, flow);
            }
            Output::Datagram(packet) if packet.flow.sa.is_some() => self.protected_datagram(packet),
            Output::Datagram(packet) => self.leave(packet),
            // The engines of a node are joined before they come here.
            Output::DemandAnswer(..) | Output::Shard(..) => {}
            Output::Security(command) => {
                // It may close the socket that they leave by.
                self.send_all();
                self.secure(&command);
            }
            Output::Trace(event) => (self.with.sink)(event),
            Output::Write { conn, bytes } => self.write(conn, bytes),
        }
    }

    /// Asks the DNS servers, while the node goes on.
    fn ask_dns(&mut self, ask: AskId, question: DnsQuestion) {
        let Some(resolver) = self.with.resolver.clone() else {
            let nobody = Answer::Dns(question, DnsAnswer::Unreachable);
            return self.held.push_back(Input::Answer(ask, nobody));
        };
        let events = self.events_in.clone();
        self.tasks.spawn_local(async move {
            let answer = resolver.answer(&question).await;
            let _ = events.send(Event::Answered(ask, question, answer)).await;
        });
    }

    pub(super) fn unreachable(&mut self, local: SocketAddr, remote: SocketAddr, cause: String) {
        self.held.push_back(Input::Unreachable { local, remote, cause });
    }

    pub(super) fn connect(
        &mut self,
        conn: ConnId,
        transport: Transport,
        (local, remote): (SocketAddr, SocketAddr),
        port: PortWanted,
    ) {
        let refused = if transport == Transport::Udp {
            Some(format!("{transport} has no connections"))
        } else if self.conns.len() >= self.with.limits.connections_max {
            Some("too many connections".to_owned())
        } else {
            None
        };
        if let Some(cause) = refused {
            self.held.push_back(Input::Closed { conn, cause });
            return;
        }
        let path = if transport != Transport::Tcp {
            let outgoing = Rc::new(Outgoing::default());
            let (way, with) = ((transport, local, remote), self.handshaking());
            let events = self.events_in.clone();
            let open = secure::open(conn, way, with, Rc::clone(&outgoing), events);
            Path::Secured { up: false, outgoing, task: self.tasks.spawn_local(open) }
        } else if let Some(switch) = &self.with.switch
            && switch.connect((local, remote), conn, &self.inbox)
        {
            Path::Memory(None)
        } else {
            let outgoing = Rc::new(Outgoing::default());
            let events = self.events_in.clone();
            let open = conn::open(conn, (local, remote), port, Rc::clone(&outgoing), events);
            Path::Kernel { stream: None, outgoing, task: self.tasks.spawn_local(open) }
        };
        self.conns.insert(conn, Conn { remote, accepted: false, path });
    }

    fn close(&mut self, conn: ConnId) {
        match self.forget(conn).map(|gone| gone.path) {
            Some(
                Path::Kernel { stream: None, task, .. } | Path::Secured { up: false, task, .. },
            ) => task.abort(),
            Some(Path::Kernel { outgoing, .. } | Path::Secured { outgoing, .. }) => outgoing.end(),
            Some(Path::Memory(Some(link))) => link.close(),
            Some(Path::Protected { stream, .. }) => self.protected_close(stream),
            Some(Path::Memory(None)) | None => {}
        }
    }

    fn write(&mut self, conn: ConnId, bytes: Bytes) {
        let max = self.with.limits.write_queue_bytes_max;
        let Some(Conn { path, .. }) = self.conns.get(&conn) else { return };
        let taken = match path {
            Path::Kernel { stream, outgoing, .. } => {
                if outgoing.push(bytes.clone(), max) {
                    self.unwritten.push(conn);
                    true
                } else {
                    // Room may be there that nobody looked for yet.
                    let room = stream.as_ref().is_some_and(|stream| outgoing.flush(stream).is_ok());
                    let taken = room && outgoing.push(bytes, max);
                    if taken {
                        self.unwritten.push(conn);
                    }
                    taken
                }
            }
            Path::Memory(Some(link)) => link.write(bytes, max),
            Path::Secured { outgoing, .. } => {
                let taken = outgoing.push(bytes, max);
                outgoing.wake();
                taken
            }
            Path::Memory(None) => false,
            Path::Protected { stream, .. } => {
                let stream = *stream;
                self.protected_write(stream, bytes)
            }
        };
        if !taken {
            self.cut_off(conn);
        }
    }

    /// Ends a connection whose peer does not read; nobody waits for it to hear that.
    fn cut_off(&mut self, conn: ConnId) {
        let Some(gone) = self.forget(conn) else { return };
        match gone.path {
            Path::Kernel { stream, task, .. } => {
                if let Some(stream) = &stream {
                    bind::reset_on_drop(stream);
                }
                task.abort();
            }
            Path::Memory(Some(link)) => link.close(),
            Path::Protected { stream, .. } => self.protected_close(stream),
            Path::Secured { task, .. } => task.abort(),
            Path::Memory(None) => {}
        }
        let cause = "the peer does not read".to_owned();
        self.dropped(gone.remote, &cause);
        self.held.push_back(Input::Closed { conn, cause });
    }

    /// Writes what this turn brought, one system call a connection where the peer reads.
    pub(super) fn write_all(&mut self) {
        for conn in std::mem::take(&mut self.unwritten) {
            let Some(Conn { path: Path::Kernel { stream: Some(stream), outgoing, .. }, .. }) =
                self.conns.get(&conn)
            else {
                continue;
            };
            // What is left, and every error, is for the connection's own task.
            if !matches!(outgoing.flush(stream), Ok(true)) {
                outgoing.wake();
            }
        }
    }
}
