//! Diameter messages as bytes: the header and its AVPs (RFC 6733 §3, §4).
//!
//! Decoding copies nothing: the data of each AVP are a slice of the message. A group is opened only
//! by who asks for it, so nesting costs no stack. What a message means is not decided here.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use thiserror::Error;

use crate::diameter::dictionary::{self, Definition, result};

/// The length of a header in bytes (RFC 6733 §3).
pub const HEADER_LENGTH: usize = 20;
/// The longest message we take or send, in bytes. The format allows 16 MiB; a user profile of
/// hundreds of filter criteria fits in this.
pub const MESSAGE_MAX: usize = 65_536;
/// The AVPs for which there is room at once.
const AVPS_USUAL: usize = 12;
/// The most AVPs in one message, and in one group.
pub const AVP_MAX: usize = 512;

/// The command flags (RFC 6733 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// R: a request.
    pub request: bool,
    /// P: may be proxied.
    pub proxiable: bool,
    /// E: an answer that reports a protocol error.
    pub error: bool,
    /// T: may be a retransmission after a fail-over.
    pub retransmitted: bool,
}

impl Flags {
    const fn to_byte(self) -> u8 {
        (self.request as u8) << 7
            | (self.proxiable as u8) << 6
            | (self.error as u8) << 5
            | (self.retransmitted as u8) << 4
    }

    /// The reserved bits are ignored, as a receiver must.
    const fn from_byte(byte: u8) -> Self {
        Self {
            request: byte & 0x80 != 0,
            proxiable: byte & 0x40 != 0,
            error: byte & 0x20 != 0,
            retransmitted: byte & 0x10 != 0,
        }
    }
}

/// A Diameter header without its length (RFC 6733 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Command flags.
    pub flags: Flags,
    /// Command code.
    pub command: u32,
    /// Application.
    pub application: u32,
    /// Matches answers to requests on one connection.
    pub hop_by_hop: u32,
    /// Detects duplicates along the whole way.
    pub end_to_end: u32,
}

impl Header {
    /// The header of the answer: R and T off, P and both identifiers kept (RFC 6733 §6.2).
    #[must_use]
    pub const fn answer(mut self) -> Self {
        self.flags.request = false;
        self.flags.retransmitted = false;
        self.flags.error = false;
        self
    }

    /// Reads a header, whatever length it claims.
    ///
    /// # Errors
    ///
    /// [`FaultKind::MessageLength`] when there are fewer than 20 bytes,
    /// [`FaultKind::Version`] and [`FaultKind::HeaderBits`] as named.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let header = Self::decode_loosely(bytes)
            .ok_or(Fault::at(0, FaultKind::MessageLength { length: bytes.len() }))?;
        match bytes.first() {
            Some(1) => {}
            Some(version) => return Err(Fault::at(0, FaultKind::Version(*version))),
            None => return Err(Fault::at(0, FaultKind::MessageLength { length: 0 })),
        }
        let Flags { request, error, retransmitted, .. } = header.flags;
        if (request && error) || (!request && retransmitted) {
            return Err(Fault::at(4, FaultKind::HeaderBits));
        }
        Ok(header)
    }

    /// Reads the fields of a header without any check, to answer a message that is wrong.
    #[must_use]
    pub fn decode_loosely(bytes: &[u8]) -> Option<Self> {
        let flags = Flags::from_byte(*bytes.get(4)?);
        Some(Self {
            flags,
            command: word(bytes, 4)? & 0x00ff_ffff,
            application: word(bytes, 8)?,
            hop_by_hop: word(bytes, 12)?,
            end_to_end: word(bytes, 16)?,
        })
    }
}

/// A message: header and AVPs in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The header.
    pub header: Header,
    /// The AVPs of the top level.
    pub avps: Vec<Avp>,
}

impl Message {
    /// Reads one whole message, as [`crate::diameter::Framer`] cuts it.
    ///
    /// # Errors
    ///
    /// A [`Fault`] with the offset of the first byte that is wrong and the Result-Code it causes.
    pub fn decode(bytes: &Bytes) -> Result<Self, Fault> {
        let header = Header::decode(bytes)?;
        let length = claimed_length(bytes);
        if length != Some(bytes.len()) || bytes.len() > MESSAGE_MAX {
            let length = length.unwrap_or(0);
            return Err(Fault::at(1, FaultKind::MessageLength { length }));
        }
        let avps = decode_avps(&bytes.slice(HEADER_LENGTH..), HEADER_LENGTH)?;
        Ok(Self { header, avps })
    }

    /// Writes the message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body: usize = self.avps.iter().map(Avp::padded_length).sum();
        let mut out = Vec::with_capacity(HEADER_LENGTH + body);
        let length = u32::try_from(HEADER_LENGTH + body).unwrap_or(u32::MAX);
        out.extend_from_slice(&(1 << 24 | length & 0x00ff_ffff).to_be_bytes());
        let flags = u32::from(self.header.flags.to_byte()) << 24;
        out.extend_from_slice(&(flags | self.header.command & 0x00ff_ffff).to_be_bytes());
        for field in [self.header.application, self.header.hop_by_hop, self.header.end_to_end] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        for avp in &self.avps {
            avp.encode(&mut out);
        }
        Bytes::from(out)
    }

    /// The first AVP of this kind.
    #[must_use]
    pub fn find(&self, what: &Definition) -> Option<&Avp> {
        self.avps.iter().find(|avp| avp.is(what))
    }

    /// All AVPs of this kind, in order.
    pub fn all<'a>(&'a self, what: &'a Definition) -> impl Iterator<Item = &'a Avp> {
        self.avps.iter().filter(move |avp| avp.is(what))
    }

    /// The first AVP of this kind as text, if it is there and is UTF-8.
    #[must_use]
    pub fn text(&self, what: &Definition) -> Option<&str> {
        self.find(what)?.as_text().ok()
    }

    /// The first AVP of this kind as a number, if it is there and has four bytes.
    #[must_use]
    pub fn number(&self, what: &Definition) -> Option<u32> {
        self.find(what)?.as_u32().ok()
    }

    /// `UAR`, `UAA` …; `command 999` for one we do not know.
    #[must_use]
    pub fn name(&self) -> String {
        dictionary::command_name(self.header.command, self.header.flags.request)
            .map_or_else(|| format!("command {}", self.header.command), str::to_owned)
    }
}

/// One attribute-value pair (RFC 6733 §4.1).
#[derive(Clone)]
pub struct Avp {
    /// AVP code.
    pub code: u32,
    /// Vendor number, 0 for none.
    pub vendor: u32,
    /// The M bit.
    pub mandatory: bool,
    /// The P bit (RFC 3588; obsolete, kept as it came).
    pub protected: bool,
    /// The data without padding.
    pub data: Bytes,
    /// Where it stood in the message, in bytes; 0 for one made here.
    pub offset: usize,
}

impl Avp {
    /// An AVP with these bytes.
    #[must_use]
    pub fn octets(what: &Definition, data: impl Into<Bytes>) -> Self {
        Self {
            code: what.code,
            vendor: what.vendor,
            mandatory: what.mandatory,
            protected: false,
            data: data.into(),
            offset: 0,
        }
    }

    /// An AVP with this text.
    #[must_use]
    pub fn text(what: &Definition, text: &str) -> Self {
        Self::octets(what, text.as_bytes().to_vec())
    }

    /// An AVP with this number.
    #[must_use]
    pub fn number(what: &Definition, number: u32) -> Self {
        Self::octets(what, number.to_be_bytes().to_vec())
    }

    /// An AVP with this address: family 1 (IPv4) or 2 (IPv6) first (RFC 6733 §4.3.1).
    #[must_use]
    pub fn address(what: &Definition, address: IpAddr) -> Self {
        let mut data = Vec::with_capacity(18);
        match address {
            IpAddr::V4(four) => {
                data.extend_from_slice(&[0, 1]);
                data.extend_from_slice(&four.octets());
            }
            IpAddr::V6(six) => {
                data.extend_from_slice(&[0, 2]);
                data.extend_from_slice(&six.octets());
            }
        }
        Self::octets(what, data)
    }

    /// An AVP with these AVPs inside.
    #[must_use]
    pub fn group(what: &Definition, inside: &[Self]) -> Self {
        let mut data = Vec::with_capacity(inside.iter().map(Self::padded_length).sum());
        for avp in inside {
            avp.encode(&mut data);
        }
        Self::octets(what, data)
    }

    /// Whether it is of this kind.
    #[must_use]
    pub const fn is(&self, what: &Definition) -> bool {
        self.code == what.code && self.vendor == what.vendor
    }

    /// Its name, or `AVP 601 of vendor 10415` for one we do not know.
    #[must_use]
    pub fn name(&self) -> String {
        match dictionary::lookup(self.code, self.vendor) {
            Some(row) => row.name.to_owned(),
            None if self.vendor == 0 => format!("AVP {}", self.code),
            None => format!("AVP {} of vendor {}", self.code, self.vendor),
        }
    }

    /// The data as a number.
    ///
    /// # Errors
    ///
    /// [`FaultKind::AvpLength`] unless there are four bytes.
    pub fn as_u32(&self) -> Result<u32, Fault> {
        match *self.data {
            [a, b, c, d] => Ok(u32::from_be_bytes([a, b, c, d])),
            _ => Err(self.fault(FaultKind::AvpLength { length: self.length() })),
        }
    }

    /// The data as text.
    ///
    /// # Errors
    ///
    /// [`FaultKind::AvpValue`] unless they are UTF-8.
    pub fn as_text(&self) -> Result<&str, Fault> {
        std::str::from_utf8(&self.data).map_err(|_| self.fault(FaultKind::AvpValue("not UTF-8")))
    }

    /// The data as AVPs.
    ///
    /// # Errors
    ///
    /// As [`Message::decode`], about the inner AVP.
    pub fn as_group(&self) -> Result<Vec<Self>, Fault> {
        decode_avps(&self.data, self.offset + self.header_length())
    }

    /// A fault of this AVP, which goes into Failed-AVP.
    #[must_use]
    pub fn fault(&self, kind: FaultKind) -> Fault {
        Fault { offset: self.offset, kind, avp: Some(Box::new(self.clone())) }
    }

    const fn header_length(&self) -> usize {
        if self.vendor == 0 { 8 } else { 12 }
    }

    fn length(&self) -> usize {
        self.header_length() + self.data.len()
    }

    fn padded_length(&self) -> usize {
        self.length().next_multiple_of(4)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.code.to_be_bytes());
        let flags = u32::from(self.vendor != 0) << 31
            | u32::from(self.mandatory) << 30
            | u32::from(self.protected) << 29;
        let length = u32::try_from(self.length()).unwrap_or(u32::MAX) & 0x00ff_ffff;
        out.extend_from_slice(&(flags | length).to_be_bytes());
        if self.vendor != 0 {
            out.extend_from_slice(&self.vendor.to_be_bytes());
        }
        out.extend_from_slice(&self.data);
        out.resize(out.len().next_multiple_of(4), 0);
    }
}

/// Two AVPs are equal wherever they stood.
impl PartialEq for Avp {
    fn eq(&self, other: &Self) -> bool {
        (self.code, self.vendor, self.mandatory, self.protected, &self.data)
            == (other.code, other.vendor, other.mandatory, other.protected, &other.data)
    }
}

impl Eq for Avp {}

/// Keys do not show: only name and length.
impl fmt::Debug for Avp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.name(), self.data.len())
    }
}

/// What is wrong with a message of the peer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind} at byte {offset}{}", .avp.as_ref().map(|avp| format!(" ({})", avp.name())).unwrap_or_default())]
pub struct Fault {
    /// The first byte that is wrong, from the start of the message; 0 for what is missing.
    pub offset: usize,
    /// What is wrong.
    pub kind: FaultKind,
    /// What goes into Failed-AVP (RFC 6733 §7.5).
    pub avp: Option<Box<Avp>>,
}

/// What kind of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The length of an AVP is less than its header or more than what is left.
    #[error("AVP length {length} is wrong")]
    AvpLength {
        /// The length that stands there.
        length: usize,
    },
    /// The AVP must not be there.
    #[error("AVP is not allowed here")]
    AvpNotAllowed,
    /// The AVP is there too often.
    #[error("AVP occurs too often")]
    AvpRepeated,
    /// The AVP has the M bit and is unknown.
    #[error("AVP must be understood and is unknown")]
    AvpUnknown,
    /// The value of the AVP is wrong.
    #[error("AVP value is wrong: {0}")]
    AvpValue(&'static str),
    /// An AVP is missing.
    #[error("AVP is missing")]
    AvpMissing,
    /// The flags contradict each other.
    #[error("header flags contradict each other")]
    HeaderBits,
    /// The length of the message is wrong, or above [`MESSAGE_MAX`].
    #[error("message length {length} is wrong")]
    MessageLength {
        /// The length that stands there.
        length: usize,
    },
    /// More than [`AVP_MAX`] AVPs.
    #[error("more AVPs than {AVP_MAX}")]
    TooManyAvps,
    /// The version is not 1.
    #[error("version {0} is not 1")]
    Version(u8),
}

impl Fault {
    /// A fault without an AVP.
    #[must_use]
    pub const fn at(offset: usize, kind: FaultKind) -> Self {
        Self { offset, kind, avp: None }
    }

    /// A missing AVP; Failed-AVP carries an example of it with zeros (RFC 6733 §7.5).
    #[must_use]
    pub fn missing(what: &Definition) -> Self {
        let data: &[u8] = match what.kind {
            dictionary::Kind::Enumerated | dictionary::Kind::Unsigned32 => &[0; 4],
            dictionary::Kind::Address => &[0, 1, 0, 0, 0, 0],
            dictionary::Kind::Grouped | dictionary::Kind::Octets | dictionary::Kind::Text => &[],
        };
        let avp = Some(Box::new(Avp::octets(what, data)));
        Self { offset: 0, kind: FaultKind::AvpMissing, avp }
    }

    /// The Result-Code this causes (RFC 6733 §7.1).
    #[must_use]
    pub const fn result_code(&self) -> u32 {
        match self.kind {
            FaultKind::AvpLength { .. } => result::INVALID_AVP_LENGTH,
            FaultKind::AvpMissing => result::MISSING_AVP,
            FaultKind::AvpNotAllowed => result::AVP_NOT_ALLOWED,
            FaultKind::AvpRepeated => result::AVP_OCCURS_TOO_MANY_TIMES,
            FaultKind::AvpUnknown => result::AVP_UNSUPPORTED,
            FaultKind::AvpValue(_) => result::INVALID_AVP_VALUE,
            FaultKind::HeaderBits => result::INVALID_HDR_BITS,
            FaultKind::MessageLength { .. } => result::INVALID_MESSAGE_LENGTH,
            FaultKind::TooManyAvps => result::UNABLE_TO_COMPLY,
            FaultKind::Version(_) => result::UNSUPPORTED_VERSION,
        }
    }
}

/// The length that a message claims in its first four bytes.
pub(crate) fn claimed_length(bytes: &[u8]) -> Option<usize> {
    usize::try_from(word(bytes, 0)? & 0x00ff_ffff).ok()
}

/// Four bytes as a number.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(four.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// Reads AVPs until the end of `bytes`, which stand at `offset` in the message.
fn decode_avps(bytes: &Bytes, offset: usize) -> Result<Vec<Avp>, Fault> {
    // Few bytes are few AVPs; most messages and groups have fewer than this.
    let mut avps = Vec::with_capacity((bytes.len() / 8).min(AVPS_USUAL));
    let mut at = 0;
    while at < bytes.len() {
        if avps.len() == AVP_MAX {
            return Err(Fault::at(offset + at, FaultKind::TooManyAvps));
        }
        let avp = decode_avp(bytes, at, offset)?;
        // The last padding of a group may be missing: its length says what belongs to it.
        at += avp.padded_length();
        avps.push(avp);
    }
    Ok(avps)
}

fn decode_avp(bytes: &Bytes, at: usize, offset: usize) -> Result<Avp, Fault> {
    let left = bytes.len() - at;
    let short = || Fault::at(offset + at, FaultKind::AvpLength { length: left });
    let code = word(bytes, at).ok_or_else(short)?;
    let second = word(bytes, at + 4).ok_or_else(short)?;
    let length = usize::try_from(second & 0x00ff_ffff).map_err(|_| short())?;
    let has_vendor = second & 0x8000_0000 != 0;
    let vendor = if has_vendor { word(bytes, at + 8).ok_or_else(short)? } else { 0 };
    let header = if has_vendor { 12 } else { 8 };
    let mut avp = Avp {
        code,
        vendor,
        mandatory: second & 0x4000_0000 != 0,
        protected: second & 0x2000_0000 != 0,
        data: Bytes::new(),
        offset: offset + at,
    };
    if length < header || length > left {
        // Failed-AVP carries the header with no data (RFC 6733 §7.1.5, 5014).
        return Err(avp.fault(FaultKind::AvpLength { length }));
    }
    avp.data = bytes.slice(at + header..at + length);
    if has_vendor && vendor == 0 {
        return Err(avp.fault(FaultKind::AvpValue("vendor 0 with the V bit")));
    }
    Ok(avp)
}
