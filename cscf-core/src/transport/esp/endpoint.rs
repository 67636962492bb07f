//! The ESP of one node: which set a packet belongs to, what becomes of what is inside, what is
//! counted.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::super::ipsec::{SaCommand, SaSet, Selectors};
use super::super::{Flow, Packet, SaId, Transport};
use super::associations::{Associations, Pair, Refusal, Vectors};
use super::inside;
use super::suite::{Header, Opened};
use super::{DropCause, EspEvent, EspLimits, StreamId};
use crate::ids::Seed;
use crate::map::{Map, map};
use crate::time::Instant;

/// The ESP of one node: its associations, their sequence numbers and windows, and the connections
/// inside.
#[derive(Debug)]
pub struct Endpoint {
    limits: EspLimits,
    events: VecDeque<EspEvent>,
    sets: Map<SaId, Associations>,
    by_spi: Map<u32, SaId>,
    /// Protected addresses, and how many sets use each.
    protected: Map<SocketAddr, usize>,
    vectors: Vectors,
    dropped: [u64; DropCause::ALL.len()],
}

impl Endpoint {
    /// An endpoint without associations; `seed` makes its initial vectors and the numbers of its
    /// connections.
    #[must_use]
    pub fn new(seed: u64, limits: EspLimits) -> Self {
        let seed = Seed::derive(seed, "ESP");
        Self {
            limits,
            events: VecDeque::new(),
            sets: map(&seed),
            by_spi: map(&seed),
            protected: map(&seed),
            vectors: Vectors::new(&seed),
            dropped: Default::default(),
        }
    }

    /// Installs or removes associations. What is installed again as it was keeps its sequence
    /// numbers and windows.
    pub fn command(&mut self, now: Instant, command: &SaCommand) {
        match command {
            SaCommand::Install(set) => self.install(now, set),
            SaCommand::Remove(id) => self.remove(*id),
        }
    }

    fn install(&mut self, now: Instant, set: &SaSet) {
        if self.sets.get_mut(&set.id).is_some_and(|old| old.renew(now, set)) {
            return;
        }
        self.remove(set.id);
        let Some(associations) = Associations::new(now, set) else { return };
        for spi in [set.local.ports.spi_client, set.local.ports.spi_server] {
            self.by_spi.insert(spi, set.id);
        }
        for port in [set.local.client(), set.local.server()] {
            *self.protected.entry(port).or_default() += 1;
        }
        self.sets.insert(set.id, associations);
    }

    fn remove(&mut self, id: SaId) {
        let Some(Associations { set, .. }) = self.sets.remove(&id) else { return };
        for spi in [set.local.ports.spi_client, set.local.ports.spi_server] {
            if self.by_spi.get(&spi) == Some(&id) {
                self.by_spi.remove(&spi);
            }
        }
        for port in [set.local.client(), set.local.server()] {
            let left = self.protected.get_mut(&port).map(|count| {
                *count = count.saturating_sub(1);
                *count
            });
            if left == Some(0) {
                self.protected.remove(&port);
            }
        }
    }

    /// Takes an ESP packet that came between these addresses.
    pub fn receive(&mut self, now: Instant, local: IpAddr, remote: IpAddr, esp: &[u8]) {
        if let Err(refusal) = self.accept(now, (local, remote), esp) {
            let remote = SocketAddr::new(remote, refusal.port);
            self.drop(remote, refusal.cause, refusal.detail);
        }
    }

    fn accept(&mut self, now: Instant, addrs: (IpAddr, IpAddr), esp: &[u8]) -> Result<(), Refusal> {
        let Some((header, _)) = Header::parse(esp) else {
            let detail = format!("{} octets are no ESP packet", esp.len());
            return Err(Refusal::new(DropCause::Malformed, detail));
        };
        let id = self.by_spi.get(&header.spi).copied();
        let Some((id, set)) = id.and_then(|id| Some((id, self.sets.get_mut(&id)?))) else {
            return Err(Refusal::new(DropCause::UnknownSpi, format!("SPI {}", header.spi)));
        };
        let (opened, selectors) = set.open(now, addrs, (header, esp), 0)?;
        let described = |cause, port, what: &str| {
            let Header { spi, sequence } = header;
            let detail = format!("SPI {spi}, sequence number {sequence}: {what}");
            Refusal { cause, port, detail }
        };
        if !matches!(opened.next_header, inside::UDP | inside::TCP) {
            if opened.next_header == inside::DUMMY {
                return Ok(());
            }
            let what = format!("protocol {} inside", opened.next_header);
            return Err(described(DropCause::Malformed, 0, &what));
        }
        let Some((source, destination)) = inside::ports(&opened.buffer) else {
            return Err(described(DropCause::Malformed, 0, "no ports inside"));
        };
        let Selectors { local, remote } = selectors;
        if (source, destination) != (remote.port(), local.port()) {
            let (theirs, ours) = (remote.port(), local.port());
            let what = format!("for port {theirs} to {ours}, not {source} to {destination}");
            return Err(described(DropCause::WrongPort, source, &what));
        }
        let flow = |transport| Flow { transport, local, remote, conn: None, sa: Some(id) };
        let taken = if opened.next_header == inside::UDP {
            self.datagram(now, flow(Transport::Udp), opened)
        } else {
            inside::check_tcp(&opened.buffer, remote.ip(), local.ip())
        };
        taken.map_err(|what| described(DropCause::Malformed, source, what))
    }

    fn datagram(&mut self, now: Instant, flow: Flow, opened: Opened) -> Result<(), &'static str> {
        let length = inside::udp_payload(&opened.buffer, flow.remote.ip(), flow.local.ip())?;
        let mut buffer = opened.buffer;
        buffer.truncate(inside::UDP_HEADER + length);
        let bytes = Bytes::from(buffer).split_off(inside::UDP_HEADER);
        self.events.push_back(EspEvent::Datagram(Packet { flow, bytes, received_at: now }));
        Ok(())
    }

    fn drop(&mut self, remote: SocketAddr, cause: DropCause, detail: String) {
        for (count, of) in self.dropped.iter_mut().zip(DropCause::ALL) {
            *count += u64::from(of == cause);
        }
        self.events.push_back(EspEvent::Dropped { remote, cause, detail });
    }

    /// Counts and tells clear text that came to a protected port; says whether the port is one.
    pub fn clear_text(&mut self, local: SocketAddr, remote: SocketAddr) -> bool {
        let protected = self.protected.contains_key(&local);
        if protected {
            self.drop(remote, DropCause::ClearText, format!("at protected port {local}"));
        }
        protected
    }

    /// Sends a datagram under the associations its flow names.
    ///
    /// # Errors
    ///
    /// Why it does not leave, for the trace.
    pub fn send_datagram(&mut self, now: Instant, packet: &Packet) -> Result<(), String> {
        let Flow { local, remote, .. } = packet.flow;
        let (set, pair) = pair_of(&mut self.sets, &packet.flow)?;
        let layout = set.layout(inside::UDP_HEADER + packet.bytes.len());
        let mut buffer = Vec::with_capacity(layout.total);
        buffer.resize(layout.prefix, 0);
        if !inside::push_udp(&mut buffer, local, remote, &packet.bytes) {
            return Err(format!("{} octets are too long for UDP", packet.bytes.len()));
        }
        let sealed = set.seal(now, (pair, inside::UDP), buffer, &mut self.vectors)?;
        self.events.push_back(EspEvent::Transmit {
            local: local.ip(),
            remote: remote.ip(),
            bytes: sealed.into(),
        });
        Ok(())
    }

    /// Opens a connection under associations, from our port to the peer's.
    ///
    /// # Errors
    ///
    /// Why not, for the trace.
    pub fn connect(&mut self, now: Instant, flow: &Flow) -> Result<StreamId, String> {
        let _ = (now, flow);
        Err("no TCP inside ESP here".to_owned())
    }

    /// Sends bytes on a connection; false if they do not fit into its queue.
    pub fn write(&mut self, now: Instant, stream: StreamId, bytes: Bytes) -> bool {
        let _ = (now, stream, bytes);
        false
    }

    /// Ends a connection: what waits is sent first.
    pub fn close(&mut self, now: Instant, stream: StreamId) {
        let _ = (now, stream);
    }

    /// Does what the time asks for.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next event; none when drained.
    pub fn poll_event(&mut self) -> Option<EspEvent> {
        self.events.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] wants to be called.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// How many packets were dropped, by cause; those without any are left out.
    pub fn dropped(&self) -> impl Iterator<Item = (DropCause, u64)> {
        DropCause::ALL.into_iter().zip(self.dropped).filter(|(_, count)| *count > 0)
    }

    /// What it may take.
    #[must_use]
    pub const fn limits(&self) -> EspLimits {
        self.limits
    }
}

/// The set a flow names, and between which of its ports the flow leads.
fn pair_of<'a>(
    sets: &'a mut Map<SaId, Associations>,
    flow: &Flow,
) -> Result<(&'a mut Associations, Pair), String> {
    let Flow { local, remote, .. } = *flow;
    let Some(id) = flow.sa else {
        return Err(format!("clear text from {local}"));
    };
    let set = sets.get_mut(&id);
    let set = set.ok_or_else(|| format!("association set {} is not installed", id.0))?;
    let pair = Pair::between(&set.set, local, remote);
    let pair = pair.ok_or_else(|| format!("no association from {local} to {remote}"))?;
    Ok((set, pair))
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
