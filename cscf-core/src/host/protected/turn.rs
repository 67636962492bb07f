//! A node's task and its security associations: orders, packets and connections under them, both
//! ways.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::Context;

use bytes::Bytes;

use super::super::task::{Conn, NodeTask, Path, TURN_MAX};
use super::super::udp::{self, Datagrams};
use super::super::{bind, conn};
use super::Back;
use super::kernel::{Port, Under};
use super::user::Carried;
use super::xfrm::KernelDrop;
use crate::clause::own;
use crate::engine::{Input, Node};
use crate::time::Instant;
use crate::trace::{Note, TraceEvent, TraceKind};
use crate::transport::esp::{DropCause, EspEvent, StreamId};
use crate::transport::ipsec::SaCommand;
use crate::transport::{ConnId, Flow, Packet, SaId, Transport};

/// Why what security associations are to protect does not leave.
const NO_ESP: &str = "no ESP here";

impl<N: Node> NodeTask<N> {
    /// Begins to read the protected ports.
    pub(in super::super) fn start_protection(&mut self) {
        match &mut self.protection.back {
            Back::Off => {}
            Back::User(user) => {
                user.guards.start(&mut self.tasks, &self.events_in);
                let mut unheard = Vec::new();
                for carrier in user.carriers.iter_mut().filter(|it| !it.is_heard) {
                    carrier.is_heard = true;
                    let port = user.port.unwrap_or_default();
                    let local = SocketAddr::new(carrier.local, port);
                    unheard.push((local, Rc::clone(&carrier.socket)));
                }
                // Nobody may leave them to the socket: they take the room of what is received.
                for (local, socket) in unheard {
                    self.read_undelivered(local, socket);
                }
            }
            Back::Kernel(kernel) => {
                let (ports, left_over) = (kernel.take_opened(), kernel.take_left_over());
                if left_over > 0 {
                    let whose = "of a program that has ended without taking them away";
                    let text = format!("{left_over} entries {whose} were removed from the kernel");
                    self.tell_protection(text, false);
                }
                self.read_ports(ports);
            }
        }
    }

    /// Makes ordinary sockets of protected ports the node's own.
    fn read_ports(&mut self, ports: Vec<Port>) {
        for Port { addr, udp, tcp } in ports {
            let socket = Rc::new(udp);
            let readers = vec![
                self.tasks.spawn_local(conn::accept(
                    Transport::Tcp,
                    addr,
                    tcp,
                    self.events_in.clone(),
                )),
                self.read_undelivered(addr, Rc::clone(&socket)),
            ];
            self.datagrams.push(Datagrams::new(addr, socket));
            if let Back::Kernel(kernel) = &mut self.protection.back {
                kernel.read_by(addr, readers);
            }
        }
    }

    /// Carries out an order about associations.
    pub(in super::super) fn secure(&mut self, command: &SaCommand) {
        let now = self.with.clock.now();
        let (mut told, mut ended) = (None, Vec::new());
        let done = match (&mut self.protection.back, command) {
            (Back::Off, SaCommand::Install(_)) => Err(NO_ESP.to_owned()),
            (Back::Off, SaCommand::Remove(_)) => return,
            (Back::User(user), SaCommand::Install(set)) => user.install(now, set).map(|unseen| {
                told = unseen;
            }),
            (Back::User(user), SaCommand::Remove(id)) => {
                user.remove(now, *id);
                Ok(())
            }
            (Back::Kernel(kernel), SaCommand::Install(set)) => kernel.install(set),
            (Back::Kernel(kernel), SaCommand::Remove(id)) => {
                let (conns, done) = kernel.remove(now, *id);
                ended = conns;
                done
            }
        };
        for conn in ended {
            if self.forget(conn).is_some() {
                let cause = "its security associations are gone".to_owned();
                self.held.push_back(Input::Closed { conn, cause });
            }
        }
        match (done, command) {
            (Ok(()), _) => self.protection.note(command),
            (Err(why), SaCommand::Remove(_)) => {
                self.protection.note(command);
                self.tell_protection(why, true);
            }
            (Err(why), SaCommand::Install(set)) => {
                // What stood in its place is gone.
                self.protection.note(&SaCommand::Remove(set.id));
                self.tell_protection(format!("{set} does not hold: {why}"), true);
                self.refused.push_back(Input::NotSecured { set: set.id, why });
            }
        }
        if let Some(text) = told {
            self.tell_protection(text, true);
        }
        self.forget_idle_ports();
        self.start_protection();
    }

    /// Closes protected ports that no associations are for any more, and takes their guards away.
    fn forget_idle_ports(&mut self) {
        let Back::Kernel(kernel) = &mut self.protection.back else { return };
        let idle = kernel.close_idle();
        self.datagrams.retain(|from| !idle.contains(&from.addr));
        for addr in idle {
            kernel.unguard(addr);
        }
    }

    /// A connection of the kernel is up; where associations are between its ends, these know it.
    pub(in super::super) fn under_associations(
        &mut self,
        ends: (SocketAddr, SocketAddr),
        conn: ConnId,
    ) {
        let Back::Kernel(kernel) = &mut self.protection.back else { return };
        let Some(Conn { path, .. }) = self.conns.get(&conn) else { return };
        if let Path::Kernel { stream: Some(stream), outgoing, task } = path {
            let (stream, outgoing) = (Rc::downgrade(stream), Rc::clone(outgoing));
            kernel.carries(ends, Under { conn, stream, outgoing, task: task.clone() });
        }
    }

    /// Sends a datagram that associations are to protect.
    pub(in super::super) fn protected_datagram(&mut self, packet: Packet) {
        let now = self.with.clock.now();
        let Flow { local, remote, .. } = packet.flow;
        let fault = match &mut self.protection.back {
            Back::Off => Some(NO_ESP.to_owned()),
            Back::User(user) => user.endpoint.send_datagram(now, &packet).err(),
            Back::Kernel(kernel) if kernel.between(local, remote) != packet.flow.sa => {
                Some(format!("no association from {local} to {remote}"))
            }
            Back::Kernel(_) => {
                let max = self.with.limits.datagrams_waiting_max;
                let from = self.datagrams.iter().find(|from| from.addr == local);
                let sent = from.map(|it| it.waiting.send(&it.socket, (remote, packet.bytes), max));
                match sent {
                    Some(udp::Sent::Taken) => None,
                    Some(udp::Sent::Refused(cause)) => Some(cause),
                    None => Some(format!("no socket at {local}")),
                }
            }
        };
        if let Some(cause) = fault {
            self.unreachable(local, remote, cause);
        }
    }

    /// Opens a connection that associations are to protect. With the kernel's ESP it is an ordinary
    /// one, from the protected port.
    pub(in super::super) fn protected_connect(&mut self, conn: ConnId, flow: Flow) {
        let now = self.with.clock.now();
        let asked = match &mut self.protection.back {
            Back::Off => Err(NO_ESP.to_owned()),
            Back::Kernel(kernel) if kernel.between(flow.local, flow.remote) != flow.sa => {
                Err(format!("no association from {} to {}", flow.local, flow.remote))
            }
            Back::Kernel(_) => {
                let ends = (flow.local, flow.remote);
                return self.connect(conn, flow.transport, ends, bind::PortWanted::Always);
            }
            Back::User(_) if flow.transport != Transport::Tcp => {
                Err(format!("{} is not available here", flow.transport))
            }
            Back::User(user) => user.endpoint.connect(now, &flow),
        };
        match asked {
            Ok(stream) => {
                let remote = flow.remote;
                let path = Path::Protected { stream, flow };
                self.conns.insert(conn, Conn { remote, accepted: false, path });
                if let Back::User(user) = &mut self.protection.back {
                    user.streams.insert(stream, conn);
                }
            }
            Err(cause) => self.held.push_back(Input::Closed { conn, cause }),
        }
    }

    /// Writes to a connection under associations; false if that cannot be.
    pub(in super::super) fn protected_write(&mut self, stream: StreamId, bytes: Bytes) -> bool {
        let now = self.with.clock.now();
        match &mut self.protection.back {
            Back::User(user) => user.endpoint.write(now, stream, bytes),
            Back::Off | Back::Kernel(_) => false,
        }
    }

    /// Ends a connection under associations.
    pub(in super::super) fn protected_close(&mut self, stream: StreamId) {
        let now = self.with.clock.now();
        if let Back::User(user) = &mut self.protection.back {
            user.streams.remove(&stream);
            user.endpoint.close(now, stream);
        }
    }

    /// The associations that what arrives at an ordinary socket has come by; `Err` where it is
    /// clear text at a protected port, which is told and goes no further.
    pub(in super::super) fn admitted(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Option<SaId>, ()> {
        let Back::Kernel(kernel) = &mut self.protection.back else { return Ok(None) };
        if !kernel.protects(local) {
            return Ok(None);
        }
        if let Some(sa) = kernel.between(local, remote) {
            return Ok(Some(sa));
        }
        kernel.clear_text();
        self.tell_drop(remote, DropCause::ClearText, &local.to_string());
        Err(())
    }

    /// Clear text came to a port that no ordinary socket serves.
    pub(in super::super) fn clear_text(&mut self, local: SocketAddr, remote: SocketAddr) {
        if let Back::User(user) = &mut self.protection.back {
            if !user.endpoint.clear_text(local, remote) {
                // No association is for this port now, and it is a protected one all the same.
                user.clear_text += 1;
                self.tell_drop(remote, DropCause::ClearText, &local.to_string());
            }
            self.pump();
        }
    }

    /// Takes what the carriers of ESP have, and does what the time asks for; false if there was
    /// nothing.
    pub(in super::super) fn protected_turn(&mut self) -> bool {
        let now = self.with.clock.now();
        let mut busy = false;
        for (cause, count) in self.protection.telling.rest(now) {
            self.tell_protection(format!("{count} more packets were dropped: {cause}"), false);
        }
        if let Back::Kernel(kernel) = &mut self.protection.back {
            let found = kernel.look(now);
            let removed = kernel.remove_left(Some(now));
            self.tell_kernel(found);
            if let Err(why) = removed {
                self.tell_protection(why, true);
            }
            self.forget_idle_ports();
        }
        let Back::User(user) = &mut self.protection.back else { return false };
        let mut wrong = Vec::new();
        for index in 0..user.carriers.len() {
            for _ in 0..TURN_MAX {
                let Some(carrier) = user.carriers.get(index) else { break };
                carrier.waiting.flush(&carrier.socket);
                let local = carrier.local;
                let Some((count, remote)) = udp::try_receive(&carrier.socket, &mut self.buffer)
                else {
                    break;
                };
                busy = true;
                let received = self.buffer.get(..count).unwrap_or_default();
                match user.packet(local, received) {
                    Carried::Esp(packet) => user.endpoint.receive(now, local, remote.ip(), packet),
                    Carried::Nothing => {}
                    Carried::Wrong(what) => {
                        user.malformed();
                        wrong.push((remote, what));
                    }
                }
            }
        }
        if user.endpoint.poll_timeout().is_some_and(|at| at <= now) {
            user.endpoint.handle_timeout(now);
            busy = true;
        }
        for (remote, what) in wrong {
            self.tell_drop(remote, DropCause::Malformed, what);
        }
        if busy {
            self.pump();
        }
        busy
    }

    /// Does what the machine of ESP wants; what the node is to hear is held until it is drained.
    pub(in super::super) fn pump(&mut self) {
        while let Back::User(user) = &mut self.protection.back
            && let Some(event) = user.endpoint.poll_event()
        {
            self.protected_event(event);
        }
    }

    fn protected_event(&mut self, event: EspEvent) {
        let Back::User(user) = &mut self.protection.back else { return };
        match event {
            EspEvent::Transmit { local, remote, bytes } => {
                let max = self.with.limits.datagrams_waiting_max;
                if let Err(why) = user.transmit((local, remote), bytes, max) {
                    self.tell_unsent((local, remote), &why);
                }
            }
            EspEvent::Datagram(mut packet) => {
                packet.received_at = self.rested_at;
                self.held.push_back(Input::Datagram(packet));
            }
            EspEvent::Accepted { stream, flow } => self.protected_accept(stream, flow),
            EspEvent::Connected(stream) => {
                let Some(conn) = user.streams.get(&stream).copied() else { return };
                if let Some(Conn { path: Path::Protected { flow, .. }, .. }) = self.conns.get(&conn)
                {
                    let flow = Flow { conn: Some(conn), ..*flow };
                    self.held.push_back(Input::Opened(flow));
                }
            }
            EspEvent::Bytes { stream, bytes } => {
                let Some(conn) = user.streams.get(&stream).copied() else { return };
                let received_at = self.rested_at;
                self.held.push_back(Input::Bytes { conn, bytes, received_at });
            }
            EspEvent::Closed { stream, cause } => {
                let Some(conn) = user.streams.remove(&stream) else { return };
                if self.forget(conn).is_some() {
                    self.held.push_back(Input::Closed { conn, cause });
                }
            }
            EspEvent::Dropped { remote, cause, detail } => self.tell_drop(remote, cause, &detail),
        }
    }

    fn protected_accept(&mut self, stream: StreamId, flow: Flow) {
        let limits = self.with.limits;
        let (remote, peer) = (flow.remote, bind::peer_key(flow.remote));
        let from_peer = self.by_peer.get(&peer).copied().unwrap_or_default();
        if self.conns.len() >= limits.connections_max
            || from_peer >= limits.connections_per_peer_max
        {
            self.protected_close(stream);
            self.dropped(remote, "too many connections");
            return;
        }
        let conn = self.next_accepted();
        let flow = Flow { conn: Some(conn), ..flow };
        self.by_peer.insert(peer, from_peer + 1);
        let path = Path::Protected { stream, flow };
        self.conns.insert(conn, Conn { remote, accepted: true, path });
        if let Back::User(user) = &mut self.protection.back {
            user.streams.insert(stream, conn);
        }
        self.held.push_back(Input::Opened(flow));
    }

    fn tell_drop(&mut self, remote: SocketAddr, cause: DropCause, detail: &str) {
        if self.protection.telling.admits(self.with.clock.now(), cause, 1) {
            self.dropped(remote, &format!("ESP: {cause}: {detail}"));
        }
    }

    /// A packet of ESP could not leave. Whatever is inside counts as undelivered.
    fn tell_unsent(&mut self, (local, remote): (IpAddr, IpAddr), why: &str) {
        let (local, remote) = (SocketAddr::new(local, 0), SocketAddr::new(remote, 0));
        self.unreachable(local, remote, format!("ESP: {why}"));
    }

    /// Tells what the kernel has dropped: of a set where the kernel knows whose packets they were.
    fn tell_kernel(&mut self, found: Vec<KernelDrop>) {
        for KernelDrop { set, cause, count, detail } in found {
            let set = set.and_then(|id| self.protection.sets.get(&id));
            let nobody = SocketAddr::new([0; 4].into(), 0);
            let remote = set.map_or(nobody, |set| SocketAddr::new(set.remote.addr, 0));
            if !self.protection.telling.admits(self.with.clock.now(), cause, count) {
                continue;
            }
            self.dropped(remote, &format!("ESP: {cause}: {count} by the kernel ({detail})"));
        }
    }

    fn tell_protection(&self, text: String, refusal: bool) {
        let kind = TraceKind::Note(Note::new(own("esp"), text, refusal));
        let (at, node) = (self.with.clock.now(), self.node.name().into());
        (self.with.sink)(TraceEvent { at, node, kind });
    }

    /// When the associations want their turn.
    pub(in super::super) fn protected_at(&self) -> Option<Instant> {
        let endpoint = match &self.protection.back {
            Back::User(user) => user.endpoint.poll_timeout(),
            Back::Kernel(kernel) => kernel.look_at(),
            Back::Off => None,
        };
        endpoint.into_iter().chain(self.protection.telling.due()).min()
    }

    /// Whether a carrier of ESP has something; if not, the task is woken when it does.
    pub(in super::super) fn poll_carriers(&self, context: &mut Context<'_>) -> bool {
        let Back::User(user) = &self.protection.back else { return false };
        let mut ready = false;
        for carrier in &user.carriers {
            ready |= carrier.socket.poll_recv_ready(context).is_ready();
            ready |=
                !carrier.waiting.is_empty() && carrier.socket.poll_send_ready(context).is_ready();
        }
        ready
    }

    /// The addresses between which associations hold, for connections of the kernel.
    pub(in super::super) fn sa_between(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<SaId> {
        match &self.protection.back {
            Back::Kernel(kernel) => kernel.between(local, remote),
            Back::Off | Back::User(_) => None,
        }
    }

    /// Lets what is under associations leave for the last time.
    pub(in super::super) fn finish_protection(&mut self) {
        let streams: Vec<StreamId> = match &self.protection.back {
            Back::User(user) => user.streams.keys().copied().collect(),
            Back::Off | Back::Kernel(_) => Vec::new(),
        };
        for stream in streams {
            self.protected_close(stream);
        }
        self.pump();
    }
}
