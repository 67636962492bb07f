//! ESP that this program speaks itself: the sockets that carry its packets, and what the machine
//! behind them knows.
//!
//! A raw socket of protocol 50 gives packets of IPv4 with their header and those of IPv6 without.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

use super::super::udp::{self, UdpSocket, Waiting};
use super::guard::Guards;
use super::{Form, Protect};
use crate::time::Instant;
use crate::transport::esp::framing::{self, Framed};
use crate::transport::esp::{DropCause, Endpoint, EspLimits, StreamId};
use crate::transport::ipsec::{SaCommand, SaSet};
use crate::transport::{ConnId, SaId};

/// The protocol number of ESP.
const ESP: i32 = 50;
/// What UDP puts before an ESP packet (RFC 3948 §2.1).
const UDP_HEADER: usize = 8;
/// Wished for in both directions; the system may give less.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A socket that carries ESP.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) local: IpAddr,
    pub(super) socket: Rc<UdpSocket>,
    pub(super) waiting: Waiting,
    /// Whether what ICMP says of its packets is read.
    pub(super) is_heard: bool,
}

/// ESP in this program.
#[derive(Debug)]
pub(super) struct User {
    pub(super) endpoint: Endpoint,
    pub(super) carriers: Vec<Carrier>,
    pub(super) guards: Guards,
    pub(super) streams: BTreeMap<StreamId, ConnId>,
    /// Clear text at protected ports that no association is for.
    pub(super) clear_text: u64,
    /// Packets that carry no ESP.
    malformed: u64,
    /// The ports that are guarded for each set.
    taken: BTreeMap<SaId, Vec<SocketAddr>>,
    /// The port of ESP in UDP; none: raw.
    pub(super) port: Option<u16>,
}

/// What a packet of a carrier has in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Carried<'a> {
    /// ESP, or what is to be judged as such.
    Esp(&'a [u8]),
    /// Nothing; it keeps a way open (RFC 3948 §2.3).
    Nothing,
    /// Neither; why.
    Wrong(&'static str),
}

impl User {
    pub(super) fn open(
        protect: &Protect,
        port: Option<u16>,
    ) -> Result<Self, (&'static str, SocketAddr, io::Error)> {
        let mut carriers = Vec::new();
        for ip in &protect.at {
            let (what, addr) = match port {
                Some(port) => ("udp", SocketAddr::new(*ip, port)),
                None => (super::super::bind::RAW, SocketAddr::new(*ip, 0)),
            };
            let socket = if port.is_some() { udp::open(addr) } else { raw(*ip) };
            let socket = Rc::new(socket.map_err(|fault| (what, addr, fault))?);
            carriers.push(Carrier {
                local: *ip,
                socket,
                waiting: Waiting::default(),
                is_heard: false,
            });
        }
        let mut guards = Guards::default();
        for addr in &protect.ports {
            guards.take(*addr)?;
        }
        let mut seed = [0; 8];
        let no_chance = |fault: getrandom::Error| {
            let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
            ("random", nowhere, io::Error::other(fault.to_string()))
        };
        getrandom::fill(&mut seed).map_err(no_chance)?;
        let mut limits = EspLimits::default();
        if port.is_some() {
            limits.path_mtu -= UDP_HEADER;
        }
        let endpoint = Endpoint::new(u64::from_le_bytes(seed), limits);
        Ok(Self {
            endpoint,
            carriers,
            guards,
            streams: BTreeMap::new(),
            clear_text: 0,
            malformed: 0,
            taken: BTreeMap::new(),
            port,
        })
    }

    pub(super) fn form(&self) -> Form {
        self.port.map_or(Form::Raw, Form::InUdp)
    }

    pub(super) fn dropped(&self) -> Vec<(DropCause, u64)> {
        let mut all: BTreeMap<DropCause, u64> = self.endpoint.dropped().collect();
        let here =
            [(DropCause::ClearText, self.clear_text), (DropCause::Malformed, self.malformed)];
        for (cause, count) in here.into_iter().filter(|(_, count)| *count > 0) {
            *all.entry(cause).or_default() += count;
        }
        all.into_iter().collect()
    }

    /// Installs a set; `Ok` with what is to be told of it.
    ///
    /// # Errors
    ///
    /// Why packets of this set cannot be made here; then it is not installed.
    pub(super) fn install(&mut self, now: Instant, set: &SaSet) -> Result<Option<String>, String> {
        if let Some(why) = Endpoint::obstacle(set) {
            self.remove(now, set.id);
            return Err(why.to_owned());
        }
        if !self.carriers.iter().any(|it| it.local == set.local.addr) {
            self.remove(now, set.id);
            return Err(format!("no ESP is received at {}", set.local.addr));
        }
        self.endpoint.command(now, &SaCommand::Install(Box::new(set.clone())));
        let mut unseen = None;
        let mut taken = Vec::new();
        for addr in [set.local.client(), set.local.server()] {
            match self.guards.take(addr) {
                Ok(()) => taken.push(addr),
                Err((what, addr, why)) => {
                    unseen = Some(format!("clear text at {what} {addr} is not seen: {why}"));
                }
            }
        }
        // What both have stays open.
        let before = self.taken.insert(set.id, taken);
        self.leave(before.unwrap_or_default());
        Ok(unseen)
    }

    /// Removes a set.
    pub(super) fn remove(&mut self, now: Instant, id: SaId) {
        self.endpoint.command(now, &SaCommand::Remove(id));
        let taken = self.taken.remove(&id).unwrap_or_default();
        self.leave(taken);
    }

    fn leave(&mut self, ports: Vec<SocketAddr>) {
        for addr in ports {
            self.guards.leave(addr);
        }
    }

    /// Puts a packet on the wire.
    ///
    /// # Errors
    ///
    /// Why it does not leave. It is lost then, as any packet may be: SIP or TCP inside sends it
    /// again.
    pub(super) fn transmit(
        &self,
        (local, remote): (IpAddr, IpAddr),
        bytes: Bytes,
        max: usize,
    ) -> Result<(), String> {
        let Some(from) = self.carriers.iter().find(|it| it.local == local) else {
            return Err("no ESP leaves from this address".to_owned());
        };
        let to = SocketAddr::new(remote, self.port.unwrap_or_default());
        match from.waiting.send(&from.socket, (to, bytes), max) {
            udp::Sent::Taken => Ok(()),
            udp::Sent::Refused(why) => Err(why),
        }
    }

    /// What a carrier has received.
    pub(super) fn packet<'a>(&self, local: IpAddr, received: &'a [u8]) -> Carried<'a> {
        match self.port {
            Some(_) => match framing::decapsulate(received) {
                // What is too short is judged with all others.
                Framed::Malformed => Carried::Esp(received),
                Framed::Esp(packet) => Carried::Esp(packet),
                Framed::KeepAlive => Carried::Nothing,
                Framed::NotEsp => Carried::Wrong("no ESP: its SPI is 0"),
            },
            None if local.is_ipv4() => {
                let packet = without_ipv4_header(received);
                packet.map_or(Carried::Wrong("a header of IPv4 that is none"), Carried::Esp)
            }
            None => Carried::Esp(received),
        }
    }

    /// Counts a packet that carries no ESP.
    pub(super) const fn malformed(&mut self) {
        self.malformed += 1;
    }
}

/// What follows the header of a packet of IPv4.
fn without_ipv4_header(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0F) * 4;
    if first >> 4 != 4 || header < 20 {
        return None;
    }
    packet.get(header..)
}

/// A raw socket of ESP in the event loop. A datagram socket's calls are all that it needs.
fn raw(ip: IpAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(raw_socket(ip)?.into())
}

/// Opens a raw socket of ESP. One of IPv6 hears nothing of IPv4 whatever it is told.
pub(super) fn raw_socket(ip: IpAddr) -> io::Result<Socket> {
    let addr = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(addr), Type::RAW, Some(Protocol::from(ESP)))?;
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    socket.bind(&addr.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_ipv4_goes_with_its_options() {
        let packet = |first: u8, bytes: usize| [vec![first; 1], vec![7; bytes - 1]].concat();
        assert_eq!(without_ipv4_header(&packet(0x45, 28)).map(<[u8]>::len), Some(8));
        assert_eq!(without_ipv4_header(&packet(0x46, 28)).map(<[u8]>::len), Some(4));
        for wrong in [packet(0x45, 19), packet(0x44, 28), packet(0x65, 28), vec![]] {
            assert_eq!(without_ipv4_header(&wrong), None);
        }
    }
}
