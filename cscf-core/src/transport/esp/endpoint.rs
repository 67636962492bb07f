//! The ESP of one node: which set a packet belongs to, what becomes of what is inside, what is
//! counted.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::super::ipsec::{SaCommand, SaSet};
use super::super::{Flow, Packet, SaId, Transport};
use super::associations::{Associations, Pair, Refusal, Vectors};
use super::inside;
use super::suite::{Header, Opened};
use super::tcp::{Stack, Taken};
use super::{DropCause, EspEvent, EspLimits, StreamId};
use crate::ids::{Ids, Seed, ShardId};
use crate::map::{Map, map};
use crate::time::{Deadlines, Instant};

/// Why what is inside is dropped, with the values.
type Drop = (DropCause, String);

/// A set with what TCP does inside.
#[derive(Debug)]
struct Entry {
    associations: Associations,
    stack: Option<Box<Stack>>,
}

/// The ESP of one node: its associations, their sequence numbers and windows, and the connections
/// inside.
#[derive(Debug)]
pub struct Endpoint {
    limits: EspLimits,
    events: VecDeque<EspEvent>,
    sets: Map<SaId, Entry>,
    by_spi: Map<u32, SaId>,
    /// Protected addresses, and how many sets use each.
    protected: Map<SocketAddr, usize>,
    vectors: Vectors,
    /// What the stacks of TCP choose their numbers from.
    chance: Ids,
    streams: Map<StreamId, (SaId, Pair)>,
    streams_made: u64,
    connections: usize,
    /// When the stack of a set has something to do.
    deadlines: Deadlines<SaId>,
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
            chance: Ids::new(seed, ShardId::default()),
            streams: map(&seed),
            streams_made: 0,
            connections: 0,
            deadlines: Deadlines::new(),
            dropped: Default::default(),
        }
    }

    /// Why packets of these associations could not be made here; none if they can.
    #[must_use]
    pub fn obstacle(set: &SaSet) -> Option<&'static str> {
        Associations::new(Instant::EPOCH, set).err()
    }

    /// Installs or removes associations. What is installed again as it was keeps its sequence
    /// numbers and windows; connections under what is removed are reset. A set that
    /// [`Endpoint::obstacle`] speaks against is not installed.
    pub fn command(&mut self, now: Instant, command: &SaCommand) {
        match command {
            SaCommand::Install(set) => self.install(now, set),
            SaCommand::Remove(id) => self.remove(now, *id),
        }
    }

    fn install(&mut self, now: Instant, set: &SaSet) {
        if self.sets.get_mut(&set.id).is_some_and(|old| old.associations.renew(now, set)) {
            return;
        }
        self.remove(now, set.id);
        let Ok(associations) = Associations::new(now, set) else { return };
        for spi in [set.local.ports.spi_client, set.local.ports.spi_server] {
            self.by_spi.insert(spi, set.id);
        }
        for port in [set.local.client(), set.local.server()] {
            *self.protected.entry(port).or_default() += 1;
        }
        self.sets.insert(set.id, Entry { associations, stack: None });
    }

    fn remove(&mut self, now: Instant, id: SaId) {
        self.reset(now, id, "its security associations are gone");
        let Some(Entry { associations: Associations { set, .. }, .. }) = self.sets.remove(&id)
        else {
            return;
        };
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
        let Some((id, entry)) = id.and_then(|id| Some((id, self.sets.get_mut(&id)?))) else {
            return Err(Refusal::new(DropCause::UnknownSpi, format!("SPI {}", header.spi)));
        };
        let room = inside::ip_header_len(addrs.0);
        let (opened, pair) = entry.associations.open(now, addrs, (header, esp), room)?;
        let (local, remote) = pair.addrs(&entry.associations.set);
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
        let payload = opened.buffer.get(room..).unwrap_or_default();
        let Some((source, destination)) = inside::ports(payload) else {
            return Err(described(DropCause::Malformed, 0, "no ports inside"));
        };
        if (source, destination) != (remote.port(), local.port()) {
            let (theirs, ours) = (remote.port(), local.port());
            let what = format!("for port {theirs} to {ours}, not {source} to {destination}");
            return Err(described(DropCause::WrongPort, source, &what));
        }
        let taken = if opened.next_header == inside::UDP {
            let flow = Flow { transport: Transport::Udp, local, remote, conn: None, sa: Some(id) };
            self.datagram(now, flow, opened, room)
        } else {
            match inside::check_tcp(payload, remote.ip(), local.ip()) {
                Ok(()) => self.segment(now, (id, pair), opened.buffer),
                Err(what) => Err((DropCause::Malformed, what.to_owned())),
            }
        };
        taken.map_err(|(cause, what)| described(cause, source, &what))
    }

    fn datagram(
        &mut self,
        now: Instant,
        flow: Flow,
        opened: Opened,
        room: usize,
    ) -> Result<(), Drop> {
        let mut buffer = opened.buffer;
        let datagram = buffer.get(room..).unwrap_or_default();
        let length = inside::udp_payload(datagram, flow.remote.ip(), flow.local.ip());
        let length = length.map_err(|what| (DropCause::Malformed, what.to_owned()))?;
        let start = room + inside::UDP_HEADER;
        buffer.truncate(start + length);
        let bytes = Bytes::from(buffer).split_off(start);
        self.events.push_back(EspEvent::Datagram(Packet { flow, bytes, received_at: now }));
        Ok(())
    }

    fn segment(
        &mut self,
        now: Instant,
        (id, pair): (SaId, Pair),
        packet: Vec<u8>,
    ) -> Result<(), Drop> {
        let room = self.connections < self.limits.connections_max;
        let stream = StreamId(self.streams_made + 1);
        if self.stack(now, id).is_none() {
            let what = "TCP to or from an address that is none".to_owned();
            return Err((DropCause::Malformed, what));
        }
        let Some(Entry { stack: Some(stack), .. }) = self.sets.get_mut(&id) else { return Ok(()) };
        let before = stack.connections();
        let taken = stack.segment(now, pair, packet, (stream, room), &mut self.events);
        if taken == Taken::Accepted {
            self.streams_made += 1;
            self.streams.insert(stream, (id, pair));
        }
        // What finds no room is reset.
        self.settle(now, id, before);
        if taken == Taken::NoRoom {
            let max = self.limits.connections_max;
            return Err((DropCause::Full, format!("{max} connections are open")));
        }
        Ok(())
    }

    /// The stack of a set, which is made when it is needed first.
    fn stack(&mut self, now: Instant, id: SaId) -> Option<&mut Stack> {
        let Entry { associations, stack } = self.sets.get_mut(&id)?;
        if stack.is_none() {
            let overhead = associations.overhead();
            let seed = self.chance.below(u64::MAX);
            let path_mtu = self.limits.path_mtu;
            let made = Stack::new(now, &associations.set, overhead, path_mtu, seed)?;
            *stack = Some(Box::new(made));
        }
        stack.as_deref_mut()
    }

    /// Lets a stack do what there is to do, protects what leaves, and forgets the stack when it has
    /// no connection any more. `before` is how many it had.
    fn settle(&mut self, now: Instant, id: SaId, before: usize) {
        let Some(Entry { associations, stack: place }) = self.sets.get_mut(&id) else { return };
        let Some(stack) = place else { return };
        stack.run(now, &mut self.events);
        while let Some(segment) = stack.take_segment() {
            let ports = segment.get(associations.overhead().prefix..).and_then(inside::ports);
            let of = |pair: &Pair| {
                let (local, remote) = pair.addrs(&associations.set);
                ports == Some((local.port(), remote.port()))
            };
            let Some(pair) = Pair::BOTH.into_iter().find(of) else { continue };
            match associations.seal(now, (pair, inside::TCP), segment, &mut self.vectors) {
                Ok(sealed) => self.events.push_back(EspEvent::Transmit {
                    local: associations.set.local.addr,
                    remote: associations.set.remote.addr,
                    bytes: sealed.into(),
                }),
                // Nothing will ever leave again: the connections come to their end.
                Err(cause) => {
                    for pair in Pair::BOTH {
                        stack.abort(pair, &cause);
                    }
                    stack.run(now, &mut self.events);
                }
            }
        }
        for stream in stack.take_ended() {
            self.streams.remove(&stream);
        }
        self.connections = (self.connections + stack.connections()).saturating_sub(before);
        let deadline = if stack.connections() == 0 {
            *place = None;
            None
        } else {
            stack.deadline(now)
        };
        match deadline {
            Some(at) => self.deadlines.set(id, at),
            None => {
                self.deadlines.cancel(&id);
            }
        }
    }

    /// Ends the connections of a set, if it has any.
    fn reset(&mut self, now: Instant, id: SaId, cause: &str) {
        let Some(Entry { stack: Some(stack), .. }) = self.sets.get_mut(&id) else { return };
        let before = stack.connections();
        for pair in Pair::BOTH {
            stack.abort(pair, cause);
        }
        self.settle(now, id, before);
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
        let overhead = set.overhead();
        let inside = inside::UDP_HEADER + packet.bytes.len();
        let mut buffer = Vec::with_capacity(overhead.total(inside));
        buffer.resize(overhead.prefix, 0);
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

    /// Opens a connection under associations, from our client port to the peer's server port
    /// (TS 33.203 §7.1).
    ///
    /// # Errors
    ///
    /// Why not, for the trace.
    pub fn connect(&mut self, now: Instant, flow: &Flow) -> Result<StreamId, String> {
        let (associations, pair) = pair_of(&mut self.sets, flow)?;
        let id = associations.set.id;
        if pair != Pair::OurClient {
            return Err(format!("connections are opened from the client port, not {}", flow.local));
        }
        if now > associations.until {
            return Err(format!("association set {} has expired", id.0));
        }
        let max = self.limits.connections_max;
        if self.connections >= max {
            return Err(format!("{max} connections are open"));
        }
        let stream = StreamId(self.streams_made + 1);
        let stack = self.stack(now, id).ok_or("no connection to such an address")?;
        let before = stack.connections();
        let asked = stack.connect(now, stream);
        if asked.is_ok() {
            self.streams_made += 1;
            self.streams.insert(stream, (id, pair));
        }
        self.settle(now, id, before);
        asked.map(|()| stream)
    }

    /// The stack that has a connection.
    fn stack_of(&mut self, stream: StreamId) -> Option<(SaId, Pair, &mut Stack)> {
        let (id, pair) = *self.streams.get(&stream)?;
        let stack = self.sets.get_mut(&id)?.stack.as_deref_mut()?;
        Some((id, pair, stack))
    }

    /// Sends bytes on a connection. False if they cannot be: it is no more, or more than
    /// [`EspLimits::write_queue_bytes_max`] would wait; then it is reset.
    pub fn write(&mut self, now: Instant, stream: StreamId, bytes: Bytes) -> bool {
        let max = self.limits.write_queue_bytes_max;
        let Some((id, pair, stack)) = self.stack_of(stream) else { return false };
        let before = stack.connections();
        let fits = stack.waiting(pair) + bytes.len() <= max;
        if !fits {
            stack.abort(pair, &format!("the peer does not read: {max} octets wait"));
        }
        let taken = fits && stack.write(pair, bytes);
        self.settle(now, id, before);
        taken
    }

    /// Ends a connection: what waits is sent first. Nothing more is told of it.
    pub fn close(&mut self, now: Instant, stream: StreamId) {
        let Some((id, pair, stack)) = self.stack_of(stream) else { return };
        let before = stack.connections();
        stack.close(now, pair);
        self.streams.remove(&stream);
        self.settle(now, id, before);
    }

    /// Does what the time asks for.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.pop_due(now) {
            let Some(Entry { stack: Some(stack), .. }) = self.sets.get_mut(&id) else { continue };
            let before = stack.connections();
            stack.lose_patience(now);
            self.settle(now, id, before);
        }
    }

    /// The next event; none when drained.
    pub fn poll_event(&mut self) -> Option<EspEvent> {
        self.events.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] wants to be called.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
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
    sets: &'a mut Map<SaId, Entry>,
    flow: &Flow,
) -> Result<(&'a mut Associations, Pair), String> {
    let Flow { local, remote, .. } = *flow;
    let Some(id) = flow.sa else {
        return Err(format!("clear text from {local}"));
    };
    let set = sets.get_mut(&id).map(|entry| &mut entry.associations);
    let set = set.ok_or_else(|| format!("association set {} is not installed", id.0))?;
    let pair = Pair::between(&set.set, local, remote);
    let pair = pair.ok_or_else(|| format!("no association from {local} to {remote}"))?;
    Ok((set, pair))
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
