//! What of a capture is passed over, counted by its reason: nothing that may hold SIP is left out
//! without a word.

use std::collections::BTreeMap;
use std::fmt;

/// Reasons told apart at most.
const REASONS_MAX: usize = 64;

/// Why a frame gives no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The capture left the end of the frame out.
    Cut,
    /// A link type that is not known.
    Link(u16),
    /// An Ethernet frame with something that may carry IP in it.
    Ether(u16),
    /// Something else than IP where IP is due.
    NoIp,
    /// ESP that is encrypted.
    Encrypted,
    /// ESP in UDP (RFC 3948).
    EspInUdp,
    /// A protocol over IP that may carry SIP.
    Protocol(u8),
    /// GTP-U.
    Gtp,
    /// VXLAN.
    Vxlan,
    /// TLS.
    Tls,
}

impl Reason {
    /// What a protocol over IP is where it may carry SIP and is not opened.
    pub(super) const fn of_protocol(number: u8) -> Option<Self> {
        match number {
            4 | 41 | 47 | 132 => Some(Self::Protocol(number)),
            _ => None,
        }
    }

    /// What an `EtherType` is where it may carry IP and is not opened.
    pub(super) const fn of_ether(kind: u16) -> Option<Self> {
        match kind {
            0x8847 | 0x8848 | 0x8864 | 0x88E5 => Some(Self::Ether(kind)),
            _ => None,
        }
    }

    /// What a datagram of UDP is by its ports and its first bytes, where it is no SIP.
    pub(super) fn of_udp(ports: [u16; 2], payload: &[u8]) -> Option<Self> {
        let to = |port: u16| ports.contains(&port);
        match payload {
            [0x30..=0x3F, 0xFF, ..] if to(2_152) => Some(Self::Gtp),
            [0x08, ..] if to(4_789) => Some(Self::Vxlan),
            // Four zeros are of IKE, a single byte keeps the way open (RFC 3948 §2).
            [0, 0, 0, 0, ..] => None,
            [_, _, _, _, _, _, _, _, ..] if to(4_500) => Some(Self::EspInUdp),
            _ => None,
        }
    }

    /// Whether a segment of TCP begins as a record of TLS does.
    pub(super) fn of_segment(payload: &[u8]) -> Option<Self> {
        matches!(payload, [0x14..=0x17, 3, 0..=4, ..]).then_some(Self::Tls)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Cut => "captured only in part",
            Self::Link(number) => return write!(f, "of link type {number}, which is not read"),
            Self::Ether(0x8864) => "PPPoE, which is not opened",
            Self::Ether(0x88E5) => "MACsec, which is not opened",
            Self::Ether(_) => "MPLS, which is not opened",
            Self::NoIp => "not IP where it is due",
            Self::Encrypted => "ESP that is encrypted",
            Self::EspInUdp => "ESP in UDP, which is not opened",
            Self::Protocol(4 | 41) => "IP in IP, which is not opened",
            Self::Protocol(47) => "GRE, which is not opened",
            Self::Protocol(_) => "SCTP, which is not read",
            Self::Gtp => "GTP, which is not opened",
            Self::Vxlan => "VXLAN, which is not opened",
            Self::Tls => "TLS, which cannot be read",
        };
        f.write_str(name)
    }
}

/// How many frames were passed over for which reason, and the first of them.
#[derive(Debug, Default)]
pub(super) struct Skipped(BTreeMap<Reason, (u64, u64)>);

impl Skipped {
    pub(super) fn add(&mut self, frame: u64, reason: Reason) {
        if let Some((count, _)) = self.0.get_mut(&reason) {
            *count += 1;
        } else if self.0.len() < REASONS_MAX {
            self.0.insert(reason, (1, frame));
        }
    }

    /// A line for each reason.
    pub(super) fn told(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(reason, (count, first))| match count {
            1 => format!("frame {first} is {reason}"),
            _ => format!("{count} frames are {reason}; the first is {first}"),
        })
    }
}
