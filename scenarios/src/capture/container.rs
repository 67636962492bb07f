//! The containers pcap and pcapng: frames with their time and link type, and names of addresses.
//!
//! The project reads them itself: it is little code, and what was looked at elsewhere mistakes time
//! stamps in powers of two and offsets in the other byte order. Both byte orders, micro- and
//! nanoseconds, simple and old packet blocks and several sections are read.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Captured;
use crate::report::pcapng::Names;
use crate::report::plain;

/// The longest block or record; nothing that carries SIP is near it.
const BLOCK_BYTES_MAX: u32 = 16 << 20;
/// Interfaces of one section at most.
const INTERFACES_MAX: usize = 10_000;
/// Names kept at most.
const NAMES_MAX: usize = 10_000;
const NANOS: u64 = 1_000_000_000;

const SECTION: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
/// The packet block of files that are older than the enhanced one.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const ENHANCED_PACKET: u32 = 6;
const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;

/// Which container, by its first four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pcap { big: bool, nanos: bool },
    Pcapng,
}

/// The container that begins with these bytes.
pub(super) fn kind(begin: &[u8]) -> Option<Kind> {
    let Ok(begin) = <[u8; 4]>::try_from(begin) else { return None };
    Some(match u32::from_le_bytes(begin) {
        0xA1B2_C3D4 => Kind::Pcap { big: false, nanos: false },
        0xA1B2_3C4D => Kind::Pcap { big: false, nanos: true },
        0xD4C3_B2A1 => Kind::Pcap { big: true, nanos: false },
        0x4D3C_B2A1 => Kind::Pcap { big: true, nanos: true },
        SECTION => Kind::Pcapng,
        _ => return None,
    })
}

/// One captured frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// From 1, as packet analysers count.
    pub number: u64,
    pub unix_ns: u64,
    pub link: u16,
    pub data: Vec<u8>,
    /// Whether the capture left some of it out.
    pub cut: bool,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u16,
    snap_len: u32,
    /// Units a second.
    resolution: u64,
    offset_s: i64,
}

/// Reads frames one by one.
#[derive(Debug)]
pub(super) struct Reader<R> {
    input: R,
    kind: Kind,
    big: bool,
    begun: bool,
    frames: u64,
    link: u16,
    interfaces: Vec<Interface>,
    names: BTreeMap<IpAddr, String>,
    flaw: Option<String>,
    /// The time of the last frame, for packets without one.
    last_ns: u64,
}

impl<R: Read> Reader<R> {
    pub(super) const fn new(input: R, kind: Kind) -> Self {
        let big = matches!(kind, Kind::Pcap { big: true, .. });
        Self {
            input,
            kind,
            big,
            begun: false,
            frames: 0,
            link: 0,
            interfaces: Vec::new(),
            names: BTreeMap::new(),
            flaw: None,
            last_ns: 0,
        }
    }

    /// The next frame; `None` at the end, also at one that comes too early.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        if self.flaw.is_some() {
            return None;
        }
        let result = match self.kind {
            Kind::Pcap { nanos, .. } => self.record(nanos),
            Kind::Pcapng => self.blocks(),
        };
        match result {
            Ok(frame) => {
                self.last_ns = frame.as_ref().map_or(self.last_ns, |frame| frame.unix_ns);
                frame
            }
            Err(what) => {
                self.flaw = Some(format!("after frame {}: {what}", self.frames));
                None
            }
        }
    }

    /// Why reading ended before the end, if it did.
    pub(super) fn take_flaws(&mut self) -> Option<String> {
        self.flaw.take()
    }

    /// The names that the file gives to the addresses of these messages. A name that ends with a
    /// port (`p1:5060`) is of that port only.
    pub(super) fn names(&self, messages: &[Captured]) -> Names {
        let mut names = Names::new();
        for addr in messages.iter().flat_map(|message| [message.from, message.to]) {
            if let Some(name) = self.names.get(&addr.ip()) {
                names.entry(addr).or_insert_with(|| name.clone());
            }
        }
        names
    }

    fn bytes(&mut self, count: u32) -> Result<Option<Vec<u8>>, &'static str> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(u64::from(count)).read_to_end(&mut bytes);
        match read {
            Err(_) => Err("the file cannot be read"),
            Ok(0) if count > 0 => Ok(None),
            Ok(length) if u32::try_from(length).is_ok_and(|length| length < count) => {
                Err("the file ends inside a block")
            }
            Ok(_) => Ok(Some(bytes)),
        }
    }

    /// The next record of a pcap.
    fn record(&mut self, nanos: bool) -> Result<Option<Frame>, &'static str> {
        if !self.begun {
            let Some(header) = self.bytes(24)? else { return Ok(None) };
            self.begun = true;
            // The upper bits tell of a frame check sequence.
            let link = Fields { bytes: &header, big: self.big }.u32(20).ok_or("no header")?;
            self.link = u16::try_from(link & 0xFFFF).unwrap_or_default();
        }
        let Some(header) = self.bytes(16)? else { return Ok(None) };
        let fields = Fields { bytes: &header, big: self.big };
        let at = |offset| fields.u32(offset).ok_or("a record is cut");
        let (seconds, fraction, captured, length) = (at(0)?, at(4)?, at(8)?, at(12)?);
        if captured > BLOCK_BYTES_MAX {
            return Err("a record is longer than any packet");
        }
        let data = match captured {
            0 => Vec::new(),
            _ => self.bytes(captured)?.ok_or("the file ends inside a record")?,
        };
        self.frames += 1;
        let fraction = u64::from(fraction) * if nanos { 1 } else { 1_000 };
        Ok(Some(Frame {
            number: self.frames,
            unix_ns: u64::from(seconds).saturating_mul(NANOS).saturating_add(fraction),
            link: self.link,
            data,
            cut: captured < length,
        }))
    }

    /// The next packet block of a pcapng; others are read on the way.
    fn blocks(&mut self) -> Result<Option<Frame>, &'static str> {
        loop {
            let Some(head) = self.bytes(8)? else { return Ok(None) };
            let kind = Fields { bytes: &head, big: self.big }.u32(0).ok_or("a block is cut")?;
            let mut read = 8;
            let mut body = Vec::new();
            if kind == SECTION {
                body = self.bytes(4)?.ok_or("a section is cut")?;
                read = 12;
                self.big = match body.as_slice() {
                    [0x1A, 0x2B, 0x3C, 0x4D] => true,
                    [0x4D, 0x3C, 0x2B, 0x1A] => false,
                    _ => return Err("a section without its byte order"),
                };
                self.interfaces.clear();
            }
            let length = Fields { bytes: &head, big: self.big }.u32(4).ok_or("a block is cut")?;
            if length < read + 4 || length % 4 != 0 || length > BLOCK_BYTES_MAX {
                return Err("a block with an impossible length");
            }
            let rest = self.bytes(length - read)?.ok_or("the file ends inside a block")?;
            body.extend_from_slice(rest.get(..rest.len().saturating_sub(4)).unwrap_or_default());
            if let Some(frame) = self.block(kind, &body)? {
                return Ok(Some(frame));
            }
        }
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> Result<Option<Frame>, &'static str> {
        let fields = Fields { bytes: body, big: self.big };
        match kind {
            INTERFACE => {
                if self.interfaces.len() >= INTERFACES_MAX {
                    return Err("too many interfaces");
                }
                self.interfaces.push(interface(fields).ok_or("an interface is cut")?);
            }
            ENHANCED_PACKET | PACKET => {
                let frame = self.packet(kind, fields).ok_or("a packet block is cut")?;
                return Ok(Some(frame));
            }
            SIMPLE_PACKET => {
                let interface = self.interfaces.first().ok_or("a packet without interface")?;
                let length = fields.u32(0).ok_or("a packet block is cut")?;
                let captured = match interface.snap_len {
                    0 => length,
                    snap_len => length.min(snap_len),
                };
                let data = fields.slice(4, captured).ok_or("a packet block is cut")?.to_vec();
                self.frames += 1;
                return Ok(Some(Frame {
                    number: self.frames,
                    unix_ns: self.last_ns,
                    link: interface.link,
                    data,
                    cut: captured < length,
                }));
            }
            NAME_RESOLUTION => self.name_records(fields),
            // Statistics, secrets, comments of others.
            _ => {}
        }
        Ok(None)
    }

    fn packet(&mut self, kind: u32, fields: Fields<'_>) -> Option<Frame> {
        // The older block has a count of lost packets in the upper half.
        let index = if kind == PACKET { u32::from(fields.u16(0)?) } else { fields.u32(0)? };
        let index = usize::try_from(index).ok()?;
        let interface = *self.interfaces.get(index)?;
        let stamp = (u64::from(fields.u32(4)?) << 32) | u64::from(fields.u32(8)?);
        let (captured, length) = (fields.u32(12)?, fields.u32(16)?);
        let data = fields.slice(20, captured)?.to_vec();
        self.frames += 1;
        Some(Frame {
            number: self.frames,
            unix_ns: nanoseconds(stamp, interface),
            link: interface.link,
            data,
            cut: captured < length,
        })
    }

    fn name_records(&mut self, fields: Fields<'_>) {
        let mut at = 0;
        while let (Some(kind), Some(length)) = (fields.u16(at), fields.u16(at + 2)) {
            let Some(value) = fields.slice(at + 4, u32::from(length)) else { return };
            let addr = match kind {
                1 => value.first_chunk::<4>().map(|it| (IpAddr::V4(Ipv4Addr::from(*it)), 4)),
                2 => value.first_chunk::<16>().map(|it| (IpAddr::V6(Ipv6Addr::from(*it)), 16)),
                _ => return,
            };
            let name = addr.and_then(|(addr, start)| Some((addr, value.get(start..)?)));
            if let Some((addr, name)) = name
                && self.names.len() < NAMES_MAX
            {
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = plain(&String::from_utf8_lossy(name)).into_owned();
                self.names.entry(addr).or_insert(name);
            }
            at += 4 + usize::from(length).next_multiple_of(4);
        }
    }
}

fn interface(fields: Fields<'_>) -> Option<Interface> {
    let mut interface = Interface {
        link: fields.u16(0)?,
        snap_len: fields.u32(4)?,
        resolution: 1_000_000,
        offset_s: 0,
    };
    let mut at = 8;
    while let (Some(code @ 1..), Some(length)) = (fields.u16(at), fields.u16(at + 2)) {
        let value = fields.slice(at + 4, u32::from(length))?;
        match (code, value) {
            (OPTION_TIME_RESOLUTION, [power, ..]) => {
                let base = if power & 0x80 == 0 { 10_u64 } else { 2 };
                // One that does not fit into 64 bits is no clock.
                interface.resolution = base.checked_pow(u32::from(power & 0x7F)).unwrap_or(1);
            }
            (OPTION_TIME_OFFSET, [_, _, _, _, _, _, _, _, ..]) => {
                interface.offset_s = fields.i64(at + 4)?;
            }
            _ => {}
        }
        at += 4 + usize::from(length).next_multiple_of(4);
    }
    Some(interface)
}

fn nanoseconds(stamp: u64, interface: Interface) -> u64 {
    let nanos = u128::from(stamp) * u128::from(NANOS) / u128::from(interface.resolution.max(1));
    let offset = i128::from(interface.offset_s) * i128::from(NANOS);
    let whole = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_add(offset);
    u64::try_from(whole.max(0)).unwrap_or(u64::MAX)
}

/// Numbers in the byte order of the section.
#[derive(Clone, Copy)]
struct Fields<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl<'a> Fields<'a> {
    fn slice(self, at: usize, length: u32) -> Option<&'a [u8]> {
        self.bytes.get(at..)?.get(..usize::try_from(length).ok()?)
    }

    fn u16(self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn i64(self, at: usize) -> Option<i64> {
        let bytes = *self.bytes.get(at..)?.first_chunk::<8>()?;
        Some(if self.big { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) })
    }
}
