//! Datagrams in groups: what waits in a socket is taken up before the first of it is decided, and
//! what that leads to leaves together.
//!
//! The code of a node and that of the system each fill the caches of a processor. To receive,
//! decide and send one datagram after the other fetches both anew for each of them.

use std::net::SocketAddr;

use super::memory::Hop;
use super::task::{NodeTask, TURN_MAX};
use super::udp::{self, Datagrams};
use crate::engine::Node;
use crate::sip::received;
use crate::transport::{Flow, Packet, Transport};

/// Datagrams of a socket that are taken up, or leave, together. The first of them waits for the
/// decisions on all: with more, answers come later, and little is gained (`docs/decisions.md`).
const TOGETHER_MAX: usize = 8;

impl<N: Node> NodeTask<N> {
    /// Takes what came at one socket, a bounded number; false if there was nothing.
    pub(super) fn datagrams_turn(&mut self, index: usize) -> bool {
        let mut packets = std::mem::take(&mut self.packets);
        let mut taken = 0;
        while taken < TURN_MAX && self.take_up(index, &mut packets) {
            taken += packets.len();
            packets.retain_mut(|packet| {
                let admitted = self.admitted(packet.flow.local, packet.flow.remote);
                packet.flow.sa = admitted.unwrap_or_default();
                admitted.is_ok()
            });
            self.inputs(&mut packets);
            self.send_all();
        }
        self.packets = packets;
        taken > 0
    }

    /// Receives what waits in a socket, as many as are decided together; false if nothing does.
    fn take_up(&mut self, index: usize, packets: &mut Vec<Packet>) -> bool {
        let Some(Datagrams { addr, socket, waiting, quiet }) = self.datagrams.get(index) else {
            return false;
        };
        if !waiting.is_empty() {
            waiting.flush(socket);
        }
        if quiet.is_quiet() {
            return false;
        }
        let (local, received_at) = (*addr, self.rested_at);
        while packets.len() < TOGETHER_MAX
            && let Some((count, remote)) = udp::try_receive(socket, &mut self.buffer)
        {
            let bytes = received(self.buffer.get(..count).unwrap_or_default());
            let flow = Flow { transport: Transport::Udp, local, remote, conn: None, sa: None };
            packets.push(Packet { flow, bytes, received_at });
        }
        !packets.is_empty()
    }

    /// Takes what other nodes of this process sent, a bounded number; false if there was nothing.
    pub(super) fn hops_turn(&mut self) -> bool {
        let mut packets = std::mem::take(&mut self.packets);
        let mut taken = 0;
        while taken < TURN_MAX
            && let Some(hop) = self.inbox.take()
        {
            taken += 1;
            let is_datagram = matches!(hop, Hop::Datagram { .. });
            if (!is_datagram && !packets.is_empty()) || packets.len() >= TOGETHER_MAX {
                self.inputs(&mut packets);
            }
            self.hop(hop, &mut packets);
        }
        if !packets.is_empty() {
            self.inputs(&mut packets);
        }
        self.packets = packets;
        taken > 0
    }

    /// Sends a datagram with what else leaves now.
    pub(super) fn leave(&mut self, packet: Packet) {
        self.leaving.push(packet);
        if self.leaving.len() >= TOGETHER_MAX {
            self.send_all();
        }
    }

    /// Sends what leaves. What that leads to is held until the next turn.
    pub(super) fn send_all(&mut self) {
        let mut leaving = std::mem::take(&mut self.leaving);
        for packet in leaving.drain(..) {
            self.datagram(packet);
        }
        self.leaving = leaving;
    }

    fn datagram(&mut self, packet: Packet) {
        let Packet { flow, bytes, .. } = packet;
        let Some(Datagrams { addr, socket, waiting, .. }) = self
            .datagrams
            .iter()
            .find(|from| from.addr == flow.local)
            .or_else(|| self.datagrams.iter().find(|from| same_family(from.addr, flow.remote)))
        else {
            self.unreachable(flow.local, flow.remote, "no socket for this address".to_owned());
            return;
        };
        let local = *addr;
        if let Some(switch) = &self.with.switch
            && switch.datagram(local, flow.remote, &bytes)
        {
            return;
        }
        let max = self.with.limits.datagrams_waiting_max;
        if let udp::Sent::Refused(cause) = waiting.send(socket, (flow.remote, bytes), max) {
            self.unreachable(flow.local, flow.remote, cause);
        }
    }
}

const fn same_family(one: SocketAddr, other: SocketAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}
