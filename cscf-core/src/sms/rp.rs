//! The relay layer between a mobile and its service centre (TS 24.011 §7.3).

use super::address::Address;
use super::octets::{Malformed, Octets, length};

/// Octets of a TPDU at most (TS 24.011 §8.2.5.3: 233 with its length).
const TPDU_MAX: usize = 232;
/// The identifier of RP-User-Data where it may be left out (TS 24.011 §8.2.5.3).
const USER_DATA: u8 = 0x41;

/// RP-Cause values (TS 24.011 §8.2.5.4).
pub mod cause {
    /// The destination is no number that is assigned.
    pub const UNASSIGNED: u8 = 1;
    /// The mobile has no memory left.
    pub const MEMORY_EXCEEDED: u8 = 22;
    /// The network cannot, for some time.
    pub const OUT_OF_ORDER: u8 = 38;
    /// Try again later.
    pub const TEMPORARY: u8 = 41;
    /// There is no room.
    pub const CONGESTION: u8 = 42;
    /// The sender may not use the service.
    pub const NOT_SUBSCRIBED: u8 = 50;
    /// A message that contradicts itself.
    pub const INCORRECT: u8 = 95;
    /// Something mandatory is wrong.
    pub const INVALID_MANDATORY: u8 = 96;
    /// A message type that is not known.
    pub const UNKNOWN_TYPE: u8 = 97;
    /// Something else; the report of the layer above says what.
    pub const INTERWORKING: u8 = 127;
}

/// Which way an RP message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the network to a mobile.
    ToMobile,
    /// From a mobile to the network.
    ToNetwork,
}

/// An RP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpMessage {
    /// Which way it goes.
    pub direction: Direction,
    /// RP-Message-Reference: joins a message and its answer.
    pub reference: u8,
    /// What it says.
    pub what: Rp,
}

/// What an RP message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rp {
    /// RP-ACK.
    Ack {
        /// The report of the layer above.
        tpdu: Option<Vec<u8>>,
    },
    /// RP-DATA.
    Data {
        /// The service centre: RP-Destination-Address to the network, else RP-Originator-Address.
        centre: Option<Address>,
        /// The message of the layer above, at most 232 octets.
        tpdu: Vec<u8>,
    },
    /// RP-ERROR.
    Error {
        /// Why ([`cause`]).
        cause: u8,
        /// More about it.
        diagnostic: Option<u8>,
        /// The report of the layer above.
        tpdu: Option<Vec<u8>>,
    },
    /// RP-SMMA: memory is free again.
    MemoryAvailable,
}

impl Rp {
    /// The name of the message.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ack { .. } => "RP-ACK",
            Self::Data { .. } => "RP-DATA",
            Self::Error { .. } => "RP-ERROR",
            Self::MemoryAvailable => "RP-SMMA",
        }
    }

    /// What it holds of the layer above.
    #[must_use]
    pub fn tpdu(&self) -> Option<&[u8]> {
        match self {
            Self::Ack { tpdu } | Self::Error { tpdu, .. } => tpdu.as_deref(),
            Self::Data { tpdu, .. } => Some(tpdu),
            Self::MemoryAvailable => None,
        }
    }
}

impl RpMessage {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`Malformed`] where it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        use Direction::{ToMobile, ToNetwork};
        let mut octets = Octets::new(bytes);
        let kind = octets.octet("no message type")? & 7;
        let direction = if kind & 1 == 0 { ToNetwork } else { ToMobile };
        let reference = octets.octet("no RP-Message-Reference")?;
        let what = match kind {
            0 | 1 => data(&mut octets, direction)?,
            2 | 3 => Rp::Ack { tpdu: user_data(&mut octets)? },
            4 | 5 => error(&mut octets)?,
            6 => Rp::MemoryAvailable,
            _ => return Err(Malformed { at: 0, what: "a message type that is reserved" }),
        };
        Ok(Self { direction, reference, what })
    }

    /// The octets of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let to_mobile = u8::from(self.direction == Direction::ToMobile);
        let kind = match self.what {
            Rp::Data { .. } => to_mobile,
            Rp::Ack { .. } => 2 | to_mobile,
            Rp::Error { .. } => 4 | to_mobile,
            Rp::MemoryAvailable => 6,
        };
        let mut out = vec![kind, self.reference];
        match &self.what {
            Rp::Data { centre, tpdu } => {
                let write = |out: &mut Vec<u8>| match centre {
                    Some(address) => address.write_rp(out),
                    None => out.push(0),
                };
                if self.direction == Direction::ToMobile {
                    write(&mut out);
                    out.push(0);
                } else {
                    out.push(0);
                    write(&mut out);
                }
                counted(tpdu, &mut out);
            }
            Rp::Ack { tpdu } => optional(tpdu.as_deref(), &mut out),
            Rp::Error { cause, diagnostic, tpdu } => {
                out.push(1 + u8::from(diagnostic.is_some()));
                out.push(cause & 0x7f);
                out.extend(diagnostic);
                optional(tpdu.as_deref(), &mut out);
            }
            Rp::MemoryAvailable => {}
        }
        out
    }
}

fn counted(tpdu: &[u8], out: &mut Vec<u8>) {
    let tpdu = tpdu.get(..TPDU_MAX).unwrap_or(tpdu);
    out.push(length(tpdu.len()));
    out.extend(tpdu);
}

fn optional(tpdu: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(tpdu) = tpdu {
        out.push(USER_DATA);
        counted(tpdu, out);
    }
}

fn data(octets: &mut Octets<'_>, direction: Direction) -> Result<Rp, Malformed> {
    let originator = Address::read_rp(octets)?;
    let destination = Address::read_rp(octets)?;
    let centre = if direction == Direction::ToMobile { originator } else { destination };
    let tpdu = octets.counted("RP-User-Data ends too early")?;
    if tpdu.is_empty() || tpdu.len() > TPDU_MAX {
        return Err(octets.fault("RP-User-Data has 1 to 232 octets"));
    }
    Ok(Rp::Data { centre, tpdu: tpdu.to_vec() })
}

fn error(octets: &mut Octets<'_>) -> Result<Rp, Malformed> {
    let content = octets.counted("RP-Cause ends too early")?;
    let (cause, diagnostic) = match content {
        [cause] => (cause & 0x7f, None),
        [cause, diagnostic, ..] => (cause & 0x7f, Some(*diagnostic)),
        [] => return Err(octets.fault("RP-Cause is empty")),
    };
    Ok(Rp::Error { cause, diagnostic, tpdu: user_data(octets)? })
}

/// RP-User-Data where it may be left out; what is not known before it is passed over.
fn user_data(octets: &mut Octets<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    while !octets.is_empty() {
        let name = octets.octet("no element")?;
        // One octet with its value in it (TS 24.007 §11.2.4).
        if name & 0x80 != 0 {
            continue;
        }
        let content = octets.counted("an element ends too early")?;
        if name == USER_DATA {
            let fits = !content.is_empty() && content.len() <= TPDU_MAX;
            let fault = octets.fault("RP-User-Data has 1 to 232 octets");
            return if fits { Ok(Some(content.to_vec())) } else { Err(fault) };
        }
    }
    Ok(None)
}
