//! From a network packet to what it carries: fragments are put together, ESP without encryption is
//! opened (RFC 2410, as TS 33.203 allows).

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use etherparse::{Ipv6ExtensionSlice, LaxIpSlice};

use super::skipped::Reason;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
const ESP: u8 = 50;

/// Datagrams whose fragments are waited for at most; the oldest gives way.
const WAITING_MAX: usize = 256;
/// Pieces of one datagram at most.
const PIECES_MAX: usize = 256;
/// The longest datagram of IP.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Integrity check values: HMAC-MD5-96 and HMAC-SHA-1-96, then AES-GMAC and HMAC-SHA-256-128.
const CHECK_VALUE_LENGTHS: [usize; 2] = [12, 16];

/// What one IP datagram carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub from: IpAddr,
    pub to: IpAddr,
    /// The protocol number of the payload.
    pub number: u8,
    pub payload: Vec<u8>,
    /// Whether it was inside ESP.
    pub protected: bool,
}

type Key = (IpAddr, IpAddr, u32);

#[derive(Debug, Default)]
struct Waiting {
    number: Option<u8>,
    /// Bytes by their offset.
    pieces: BTreeMap<usize, Vec<u8>>,
    whole: Option<usize>,
}

/// Datagrams of which only a part has come.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    waiting: BTreeMap<Key, Waiting>,
    order: VecDeque<Key>,
    /// Datagrams that were waited for in vain.
    given_up: usize,
}

struct Fragment {
    id: u32,
    offset: usize,
    more: bool,
}

impl Fragments {
    /// The whole datagram that this packet is or completes.
    ///
    /// # Errors
    ///
    /// Why there is none, unless its other fragments are still to come.
    pub(super) fn packet(&mut self, bytes: &[u8]) -> Result<Packet, Option<Reason>> {
        let (slice, _) = LaxIpSlice::from_slice(bytes).map_err(|_| Some(Reason::NoIp))?;
        let (from, to) = (slice.source_addr(), slice.destination_addr());
        let payload = slice.payload();
        let (number, payload) = match fragment(&slice) {
            None => (payload.ip_number.0, payload.payload.to_vec()),
            Some(it) => self
                .add((from, to, it.id), &it, payload.ip_number.0, payload.payload)
                .ok_or(None)?,
        };
        let packet = Packet { from, to, number, payload, protected: false };
        if number == ESP { opened(&packet).ok_or(Some(Reason::Encrypted)) } else { Ok(packet) }
    }

    /// How many datagrams lack a part, in words.
    pub(super) fn flaws(&self) -> Option<String> {
        let count = self.given_up + self.waiting.len();
        (count > 0).then(|| format!("of {count} datagrams of IP not all fragments were captured"))
    }

    fn add(&mut self, key: Key, it: &Fragment, number: u8, bytes: &[u8]) -> Option<(u8, Vec<u8>)> {
        let end = it.offset.checked_add(bytes.len()).filter(|end| *end <= DATAGRAM_BYTES_MAX)?;
        if !self.waiting.contains_key(&key) {
            if self.order.len() >= WAITING_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.waiting.remove(&oldest);
                self.given_up += 1;
            }
            self.order.push_back(key);
        }
        let waiting = self.waiting.entry(key).or_default();
        if it.offset == 0 {
            waiting.number = Some(number);
        }
        if !it.more {
            waiting.whole = Some(end);
        }
        if waiting.pieces.len() < PIECES_MAX {
            waiting.pieces.entry(it.offset).or_insert_with(|| bytes.to_vec());
        }
        let whole = waiting.complete()?;
        self.waiting.remove(&key);
        self.order.retain(|other| *other != key);
        Some(whole)
    }
}

impl Waiting {
    fn complete(&self) -> Option<(u8, Vec<u8>)> {
        let (number, length) = (self.number?, self.whole?);
        let mut whole: Vec<u8> = Vec::new();
        for (offset, piece) in &self.pieces {
            // What overlaps is taken as it came first in the datagram.
            let skip = whole.len().checked_sub(*offset)?;
            whole.extend_from_slice(piece.get(skip..).unwrap_or_default());
        }
        (whole.len() == length).then_some((number, whole))
    }
}

/// Which part of a datagram a packet is, if it is no whole one.
fn fragment(slice: &LaxIpSlice<'_>) -> Option<Fragment> {
    if let Some(v4) = slice.ipv4() {
        let header = v4.header();
        let offset = usize::from(header.fragments_offset().value()) * 8;
        let more = header.more_fragments();
        return (more || offset > 0).then(|| Fragment {
            id: u32::from(header.identification()),
            offset,
            more,
        });
    }
    let extensions = slice.ipv6()?.extensions().clone();
    extensions.into_iter().find_map(|extension| match extension {
        Ipv6ExtensionSlice::Fragment(it) if it.is_fragmenting_payload() => Some(Fragment {
            id: it.identification(),
            offset: usize::from(it.fragment_offset().value()) * 8,
            more: it.more_fragments(),
        }),
        _ => None,
    })
}

/// The payload of ESP if it is not encrypted: its trailer must be sound and its content UDP or TCP.
fn opened(packet: &Packet) -> Option<Packet> {
    let inner = packet.payload.get(8..)?;
    CHECK_VALUE_LENGTHS.iter().find_map(|length| {
        let clear = inner.get(..inner.len().checked_sub(*length)?)?;
        let (rest, trailer) = clear.split_last_chunk::<2>()?;
        let [padding, number] = *trailer;
        let (payload, padding) = rest.split_at(rest.len().checked_sub(usize::from(padding))?);
        let sound = padding.iter().zip(1_u8..).all(|(byte, number)| *byte == number);
        (sound && matches!(number, UDP | TCP)).then(|| Packet {
            from: packet.from,
            to: packet.to,
            number,
            payload: payload.to_vec(),
            protected: true,
        })
    })
}
