//! Writes a trace as pcapng: one interface a link, named after its two ends and the reference
//! point, the names of the hosts, and the decisions as comments, so that a packet analyser shows
//! who spoke to whom and why. No capture rights are needed:
//! addresses and bytes are those of the trace, the lower headers are made here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use cscf_core::time::Instant;
use cscf_core::trace::{TraceEvent, Wire};
use etherparse::PacketBuilder;

use super::Parties;
use super::hops::{Hop, hops};

/// Link type of packets that begin with an IP header.
const LINKTYPE_RAW: u16 = 101;
/// Largest payload of one packet made here; longer stream messages are cut as TCP would.
const SEGMENT_BYTES_MAX: usize = 60_000;

/// Names of the addresses, for the interfaces.
pub type Names = BTreeMap<SocketAddr, String>;

/// The name at an address: that of its port, else (protected ports come and go) that of its host,
/// if all of the host is one node's.
#[must_use]
pub fn name_at<'a>(names: &'a Names, addr: &SocketAddr) -> Option<&'a str> {
    if let Some(name) = names.get(addr) {
        return Some(name);
    }
    let mut of_host = names.iter().filter(|(known, _)| known.ip() == addr.ip());
    let (_, name) = of_host.next()?;
    of_host.all(|(_, other)| other == name).then_some(name)
}

/// The whole file.
#[must_use]
pub fn write(events: &[TraceEvent], parties: &Parties) -> Vec<u8> {
    let mut file = File { out: Vec::new(), interfaces: BTreeMap::new(), streams: BTreeMap::new() };
    file.section_header();
    file.names(&parties.names);
    for hop in hops(events, parties) {
        let said = hop.notes.iter().map(|note| format!("{}: {}", note.clause, note.text));
        file.message(&hop, parties, &said.collect::<Vec<_>>().join("\n"));
    }
    file.out
}

struct File {
    out: Vec<u8>,
    interfaces: BTreeMap<String, u32>,
    /// Next sequence number by direction.
    streams: BTreeMap<(SocketAddr, SocketAddr), u32>,
}

impl File {
    fn section_header(&mut self) {
        let mut body = Vec::new();
        body.extend_from_slice(&0x1A2B_3C4D_u32.to_le_bytes());
        body.extend_from_slice(&1_u16.to_le_bytes());
        body.extend_from_slice(&0_u16.to_le_bytes());
        body.extend_from_slice(&u64::MAX.to_le_bytes());
        option(&mut body, 4, b"cscf");
        end_of_options(&mut body);
        self.block(0x0A0D_0D0A, &body);
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let padding = body.len().next_multiple_of(4) - body.len();
        let length = u32::try_from(12 + body.len() + padding).unwrap_or(u32::MAX);
        self.out.extend_from_slice(&kind.to_le_bytes());
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(body);
        self.out.extend(std::iter::repeat_n(0, padding));
        self.out.extend_from_slice(&length.to_le_bytes());
    }

    /// Whose each host is (name resolution block), where all of it is one node's.
    fn names(&mut self, names: &Names) {
        let hosts: BTreeSet<IpAddr> = names.keys().map(SocketAddr::ip).collect();
        let mut body = Vec::new();
        for host in hosts {
            let Some(name) = name_at(names, &SocketAddr::new(host, 0)) else { continue };
            let (kind, mut record) = match host {
                IpAddr::V4(host) => (1_u16, host.octets().to_vec()),
                IpAddr::V6(host) => (2, host.octets().to_vec()),
            };
            record.extend_from_slice(name.as_bytes());
            record.push(0);
            option(&mut body, kind, &record);
        }
        if !body.is_empty() {
            end_of_options(&mut body);
            self.block(4, &body);
        }
    }

    fn interface(&mut self, hop: &Hop<'_>, parties: &Parties) -> u32 {
        let name = link_name(hop, parties);
        let next = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        if let Some(known) = self.interfaces.get(&name) {
            return *known;
        }
        let mut body = Vec::new();
        body.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
        body.extend_from_slice(&0_u16.to_le_bytes());
        body.extend_from_slice(&0_u32.to_le_bytes());
        option(&mut body, 2, name.as_bytes());
        // Time stamps in nanoseconds.
        option(&mut body, 9, &[9]);
        end_of_options(&mut body);
        self.block(1, &body);
        self.interfaces.insert(name, next);
        next
    }

    fn message(&mut self, hop: &Hop<'_>, parties: &Parties, comment: &str) {
        let interface = self.interface(hop, parties);
        let Hop { at, wire, .. } = hop;
        let mut comment = comment;
        if wire.transport.is_reliable() {
            for segment in wire.bytes.chunks(SEGMENT_BYTES_MAX) {
                if let Some(packet) = self.tcp(wire, segment) {
                    self.packet(*at, interface, &packet, comment);
                }
                comment = "";
            }
        } else if let Some(packet) = udp(wire) {
            self.packet(*at, interface, &packet, comment);
        }
    }

    fn tcp(&mut self, wire: &Wire, payload: &[u8]) -> Option<Vec<u8>> {
        let forth = (wire.local, wire.remote);
        let acknowledged = self.streams.get(&(forth.1, forth.0)).copied().unwrap_or(1);
        let sequence = self.streams.entry(forth).or_insert(1);
        let builder = ip(wire.local.ip(), wire.remote.ip())?
            .tcp(wire.local.port(), wire.remote.port(), *sequence, 65_535)
            .psh()
            .ack(acknowledged);
        *sequence = sequence.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
        let mut packet = Vec::with_capacity(builder.size(payload.len()));
        builder.write(&mut packet, payload).ok()?;
        Some(packet)
    }

    fn packet(&mut self, at: Instant, interface: u32, packet: &[u8], comment: &str) {
        let stamp = at.as_nanos();
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let mut body = Vec::with_capacity(packet.len() + 64);
        body.extend_from_slice(&interface.to_le_bytes());
        body.extend_from_slice(&u32::try_from(stamp >> 32).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&u32::try_from(stamp & 0xFFFF_FFFF).unwrap_or(0).to_le_bytes());
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(packet);
        body.extend(std::iter::repeat_n(0, packet.len().next_multiple_of(4) - packet.len()));
        if !comment.is_empty() {
            let clipped: String = comment.chars().take(8_000).collect();
            option(&mut body, 1, clipped.as_bytes());
            end_of_options(&mut body);
        }
        self.block(6, &body);
    }
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend_from_slice(value);
    body.extend(std::iter::repeat_n(0, value.len().next_multiple_of(4) - value.len()));
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend_from_slice(&[0; 4]);
}

fn ip(from: IpAddr, to: IpAddr) -> Option<etherparse::PacketBuilderStep<etherparse::IpHeaders>> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Some(PacketBuilder::ipv4(from.octets(), to.octets(), 64))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Some(PacketBuilder::ipv6(from.octets(), to.octets(), 64))
        }
        _ => None,
    }
}

fn udp(wire: &Wire) -> Option<Vec<u8>> {
    let builder = ip(wire.local.ip(), wire.remote.ip())?.udp(wire.local.port(), wire.remote.port());
    let mut packet = Vec::with_capacity(builder.size(wire.bytes.len()));
    builder.write(&mut packet, &wire.bytes).ok()?;
    Some(packet)
}

/// `Gm alice-p1`, `Mw i1-p1`, `Cx hss-i1`; both directions are one link.
fn link_name(hop: &Hop<'_>, parties: &Parties) -> String {
    let Hop { from, to, wire, .. } = hop;
    let link = parties.link_between(from, to, wire.protocol).as_str();
    let (a, b) = if from < to { (from, to) } else { (to, from) };
    format!("{link} {a}-{b}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cscf_core::config::NodeRole;
    use cscf_core::trace::{Protocol, TraceKind};
    use cscf_core::transport::Transport;

    use super::*;

    #[test]
    fn links_get_an_interface_each_and_blocks_are_whole() {
        let addr = |text: &str| text.parse::<SocketAddr>().expect("address");
        let wire = |local: &str, remote: &str, transport| Wire {
            protocol: Protocol::Sip,
            transport,
            local: addr(local),
            remote: addr(remote),
            bytes: Bytes::from_static(b"OPTIONS sip:a SIP/2.0\r\n\r\n"),
        };
        let names: Names =
            [(addr("127.0.0.1:5060"), "p1".to_owned()), (addr("127.0.0.2:4060"), "i1".to_owned())]
                .into();
        let roles = [("p1", NodeRole::Pcscf), ("i1", NodeRole::Icscf)];
        let roles = roles.map(|(name, role)| (name.to_owned(), role)).into();
        let parties = Parties { columns: Vec::new(), names, roles };
        let event = |node: &str, wire| TraceEvent {
            at: Instant::from_millis(1),
            node: node.into(),
            kind: TraceKind::Sent(wire),
        };
        let file = write(
            &[
                event("p1", wire("127.0.0.1:5060", "127.0.0.2:4060", Transport::Udp)),
                event("i1", wire("127.0.0.2:4060", "127.0.0.1:5060", Transport::Udp)),
                event("p1", wire("127.0.0.1:5060", "127.0.0.9:5060", Transport::Tcp)),
            ],
            &parties,
        );
        let mut kinds = Vec::new();
        let mut rest = file.as_slice();
        while let [a, b, c, d, e, f, g, h, ..] = *rest {
            let length = u32::from_le_bytes([e, f, g, h]) as usize;
            kinds.push(u32::from_le_bytes([a, b, c, d]));
            assert_eq!(rest[length - 4..length], [e, f, g, h]);
            rest = &rest[length..];
        }
        assert_eq!(kinds, [0x0A0D_0D0A, 4, 1, 6, 6, 1, 6]);
        let text = String::from_utf8_lossy(&file).into_owned();
        assert!(text.contains("Mw i1-p1") && text.contains("Gm 127.0.0.9:5060-p1"));
    }
}
