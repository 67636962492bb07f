//! What is inside ESP: UDP (RFC 768; the checksum of IPv6 by RFC 8200 §8.1), and what is looked at
//! of TCP before its stack sees it.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, TcpPacket, UDP_HEADER_LEN, UdpPacket};

/// The protocol numbers of what may be inside, and of a packet that is only there to hide when
/// nothing is sent (RFC 4303 §2.6).
pub(super) const UDP: u8 = 17;
pub(super) const TCP: u8 = 6;
pub(super) const DUMMY: u8 = 59;

/// The octets of the header of UDP.
pub(super) const UDP_HEADER: usize = UDP_HEADER_LEN;

/// The octets of a header of IP without options.
pub(super) const fn ip_header_len(addr: IpAddr) -> usize {
    match addr {
        IpAddr::V4(_) => IPV4_HEADER_LEN,
        IpAddr::V6(_) => IPV6_HEADER_LEN,
    }
}

/// The source and destination port of UDP or TCP.
pub(super) fn ports(payload: &[u8]) -> Option<(u16, u16)> {
    let (source, rest) = payload.split_first_chunk::<2>()?;
    let (destination, _) = rest.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*source), u16::from_be_bytes(*destination)))
}

/// Appends a UDP datagram; false if it is too long for one.
pub(super) fn push_udp(
    packet: &mut Vec<u8>,
    local: SocketAddr,
    remote: SocketAddr,
    bytes: &[u8],
) -> bool {
    let Ok(length) = u16::try_from(UDP_HEADER + bytes.len()) else { return false };
    let start = packet.len();
    packet.extend_from_slice(&[0; UDP_HEADER]);
    packet.extend_from_slice(bytes);
    let Some(datagram) = packet.get_mut(start..) else { return false };
    let Ok(mut udp) = checked_len(datagram, length) else { return false };
    udp.set_src_port(local.port());
    udp.set_dst_port(remote.port());
    udp.fill_checksum(&local.ip().into(), &remote.ip().into());
    true
}

fn checked_len(datagram: &mut [u8], length: u16) -> Result<UdpPacket<&mut [u8]>, ()> {
    if datagram.len() < UDP_HEADER {
        return Err(());
    }
    let mut udp = UdpPacket::new_unchecked(datagram);
    udp.set_len(length);
    udp.check_len().map_err(|_| ())?;
    Ok(udp)
}

/// The length of what a UDP datagram carries, or what is wrong with it. Octets behind the datagram
/// are padding (RFC 4303 §2.7).
pub(super) fn udp_payload(
    datagram: &[u8],
    from: IpAddr,
    to: IpAddr,
) -> Result<usize, &'static str> {
    let udp = UdpPacket::new_checked(datagram).map_err(|_| "the length of UDP is wrong")?;
    if udp.checksum() == 0 && from.is_ipv6() {
        return Err("UDP over IPv6 without a checksum");
    }
    if !udp.verify_checksum(&from.into(), &to.into()) {
        return Err("the checksum of UDP is wrong");
    }
    Ok(usize::from(udp.len()).saturating_sub(UDP_HEADER))
}

/// Whether a TCP segment is whole, with its checksum right; says what is wrong.
pub(super) fn check_tcp(segment: &[u8], from: IpAddr, to: IpAddr) -> Result<(), &'static str> {
    let tcp = TcpPacket::new_checked(segment).map_err(|_| "the header of TCP is wrong")?;
    if !tcp.verify_checksum(&from.into(), &to.into()) {
        return Err("the checksum of TCP is wrong");
    }
    Ok(())
}
