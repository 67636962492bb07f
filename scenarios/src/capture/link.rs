//! From a frame to its network packet: link types with an IP packet in them.

use super::skipped::Reason;

const ETHERNET: u16 = 1;
const NULL: u16 = 0;
const LOOP: u16 = 108;
const RAW: [u16; 3] = [12, 14, 101];
const LINUX_COOKED: u16 = 113;
const LINUX_COOKED_2: u16 = 276;
const IPV4: u16 = 228;
const IPV6: u16 = 229;

const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86DD;
/// VLAN tags of IEEE 802.1Q, 802.1ad and the older form of it.
const ETHER_VLAN: [u16; 3] = [0x8100, 0x88A8, 0x9100];
/// Tags one in another at most.
const VLAN_MAX: usize = 4;

/// The IP packet in a frame, as far as its link type is known and carries one.
///
/// # Errors
///
/// Why there is none, where there might be one.
pub(super) fn network(link: u16, frame: &[u8]) -> Result<&[u8], Option<Reason>> {
    match link {
        ETHERNET => ethernet(frame, 12, 14),
        NULL | LOOP => family(frame).ok_or(None),
        LINUX_COOKED => ethernet(frame, 14, 16),
        LINUX_COOKED_2 => ethernet(frame, 0, 20),
        IPV4 | IPV6 => Ok(frame),
        raw if RAW.contains(&raw) => Ok(frame),
        _ => Err(Some(Reason::Link(link))),
    }
}

fn ether_type(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

/// A frame whose `EtherType` and payload stand at these offsets.
fn ethernet(frame: &[u8], kind_at: usize, payload_at: usize) -> Result<&[u8], Option<Reason>> {
    let mut kind = ether_type(frame, kind_at).ok_or(None)?;
    let mut rest = frame.get(payload_at..).ok_or(None)?;
    for _ in 0..VLAN_MAX {
        if !ETHER_VLAN.contains(&kind) {
            break;
        }
        kind = ether_type(rest, 2).ok_or(None)?;
        rest = rest.get(4..).ok_or(None)?;
    }
    match kind {
        ETHER_IPV4 | ETHER_IPV6 => Ok(rest),
        other => Err(Reason::of_ether(other)),
    }
}

/// Four bytes name the address family, in the byte order and with the numbers of the capturing
/// host; the packet itself tells its version.
fn family(frame: &[u8]) -> Option<&[u8]> {
    frame.get(4..).filter(|packet| matches!(packet.first().map(|byte| byte >> 4), Some(4 | 6)))
}
