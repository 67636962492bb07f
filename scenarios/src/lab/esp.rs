//! ESP in the simulated lab: what a node sends under security associations goes through the network
//! as a real ESP packet of its endpoint, and arrives as what the receiver's endpoint makes of it
//! (RFC 4303; `docs/esp.md`). Streams are the lab's own pipes: each of their segments is protected
//! in the place where a datagram would be, without the machinery of TCP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use cscf_core::ids::Seed;
use cscf_core::time::Instant;
use cscf_core::transport::esp::{Endpoint, EspEvent, EspLimits};
use cscf_core::transport::ipsec::{Mode, SaCommand, SaSet};
use cscf_core::transport::{Flow, Packet, SaId};

/// The most of a segment that one packet carries.
const SEGMENT_MAX: usize = 32 * 1024;

/// What goes over the wire for one packet.
#[derive(Clone, Debug)]
pub(super) enum Load {
    /// The bytes themselves.
    Clear(Bytes),
    /// ESP packets between two addresses, in their order.
    Esp {
        /// The sender's and the receiver's.
        between: (IpAddr, IpAddr),
        /// More than one only for a segment that is too long for one.
        packets: Vec<Bytes>,
    },
}

/// The security associations of one node.
#[derive(Debug)]
pub(super) struct Database {
    seed: Seed,
    endpoint: Endpoint,
    /// Protected ports of what is installed.
    installed: BTreeMap<SaId, [SocketAddr; 2]>,
    /// Protected ports whether or not an association uses them now.
    declared: BTreeSet<SocketAddr>,
}

impl Database {
    /// Without associations.
    pub(super) fn new(seed: Seed) -> Self {
        let (installed, declared) = Default::default();
        Self { endpoint: endpoint(&seed), seed, installed, declared }
    }

    /// These addresses are protected ports from now on.
    pub(super) fn declare(&mut self, ports: &[SocketAddr]) {
        self.declared.extend(ports);
    }

    pub(super) fn install(&mut self, now: Instant, set: SaSet) {
        self.installed.insert(set.id, [set.local.client(), set.local.server()]);
        // No address is translated here, so that tunnels have nothing to do.
        let set = SaSet { mode: Mode::Transport, ..set };
        self.endpoint.command(now, &SaCommand::Install(Box::new(set)));
    }

    pub(super) fn remove(&mut self, now: Instant, id: SaId) {
        self.installed.remove(&id);
        self.endpoint.command(now, &SaCommand::Remove(id));
    }

    /// Removes all sets: the node is gone, and its associations with it.
    pub(super) fn clear(&mut self) {
        self.installed.clear();
        self.endpoint = endpoint(&self.seed);
    }

    fn is_protected(&self, local: SocketAddr) -> bool {
        self.declared.contains(&local) || self.owns(local)
    }

    /// Whether packets to this address are for the node, by one of its sets.
    pub(super) fn owns(&self, local: SocketAddr) -> bool {
        self.installed.values().any(|ports| ports.contains(&local))
    }

    /// What goes over the wire for a packet that leaves by this flow, or why it does not leave.
    pub(super) fn protect(
        &mut self,
        now: Instant,
        flow: &Flow,
        bytes: &Bytes,
    ) -> Result<Load, String> {
        let (local, remote) = (flow.local, flow.remote);
        if flow.sa.is_none() {
            return match self.is_protected(local) {
                true => Err(format!("not sent: clear text from protected port {local}")),
                false => Ok(Load::Clear(bytes.clone())),
            };
        }
        let mut packets = Vec::new();
        let mut rest = bytes.clone();
        loop {
            let bytes = rest.split_to(rest.len().min(SEGMENT_MAX));
            let packet = Packet { flow: *flow, bytes, received_at: now };
            let sent = self.endpoint.send_datagram(now, &packet);
            sent.map_err(|why| format!("not sent: {why}"))?;
            while let Some(event) = self.endpoint.poll_event() {
                if let EspEvent::Transmit { bytes, .. } = event {
                    packets.push(bytes);
                }
            }
            if rest.is_empty() {
                return Ok(Load::Esp { between: (local.ip(), remote.ip()), packets });
            }
        }
    }

    /// The set under which a packet arrives, none for clear text, and its bytes; or why it is
    /// dropped.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        local: SocketAddr,
        load: &Load,
    ) -> Result<(Option<SaId>, Bytes), String> {
        let ((from, to), packets) = match load {
            Load::Clear(_) if self.is_protected(local) => {
                return Err(format!("clear text at protected port {local}"));
            }
            Load::Clear(bytes) => return Ok((None, bytes.clone())),
            Load::Esp { between, packets } => (*between, packets),
        };
        let (mut sa, mut whole) = (None, BytesMut::new());
        for packet in packets {
            self.endpoint.receive(now, to, from, packet);
            match self.endpoint.poll_event() {
                Some(EspEvent::Datagram(packet)) => {
                    sa = packet.flow.sa;
                    if packets.len() == 1 {
                        return Ok((sa, packet.bytes));
                    }
                    whole.extend_from_slice(&packet.bytes);
                }
                Some(EspEvent::Dropped { cause, detail, .. }) => {
                    return Err(format!("ESP: {cause}: {detail}"));
                }
                _ => return Err("ESP: nothing inside".to_owned()),
            }
        }
        Ok((sa, whole.freeze()))
    }
}

fn endpoint(seed: &Seed) -> Endpoint {
    Endpoint::new(seed.map_keys().0, EspLimits::default())
}
