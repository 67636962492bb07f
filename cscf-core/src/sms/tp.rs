//! The transfer layer between a mobile and its service centre (TS 23.040 §9.2.2).

use super::address::Address;
use super::data::UserData;
use super::octets::{Malformed, Octets};
use super::rp::Direction;
use super::stamp::{TimeStamp, Validity};

/// TP-Failure-Cause values (TS 23.040 §9.2.3.22).
pub mod failure {
    /// The centre has this message already.
    pub const DUPLICATE: u8 = 0xc5;
    /// The mobile's memory is full.
    pub const MEMORY: u8 = 0xd3;
    /// Something is wrong that has no name of its own.
    pub const UNSPECIFIED: u8 = 0xff;
}

/// TP-Status values of a report (TS 23.040 §9.2.3.15).
pub mod status {
    /// The recipient has the message.
    pub const RECEIVED: u8 = 0x00;
    /// It could not be delivered for good: the remote end refuses.
    pub const REFUSED: u8 = 0x43;
    /// Its validity period has ended.
    pub const EXPIRED: u8 = 0x46;

    /// Whether a status says that the recipient has the message.
    #[must_use]
    pub const fn is_delivered(status: u8) -> bool {
        status < 0x20
    }

    /// Whether the centre goes on trying.
    #[must_use]
    pub const fn is_pending(status: u8) -> bool {
        matches!(status, 0x20..=0x3f)
    }
}

/// SMS-DELIVER: a message to a mobile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// Whether more messages wait.
    pub more: bool,
    /// Whether the sender has asked for a status report.
    pub status_report: bool,
    /// TP-Originating-Address: who wrote it.
    pub originator: Address,
    /// TP-Protocol-Identifier.
    pub protocol: u8,
    /// When the centre received it.
    pub time: TimeStamp,
    /// The user data.
    pub data: UserData,
}

/// SMS-DELIVER-REPORT: what a mobile says of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliverReport {
    /// Why it does not take it ([`failure`]); in RP-ERROR only.
    pub failure: Option<u8>,
}

/// SMS-SUBMIT: a message from a mobile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    /// TP-Message-Reference.
    pub reference: u8,
    /// Whether a message that the centre has already is to be refused.
    pub reject_duplicates: bool,
    /// Whether a status report is wished for.
    pub status_report: bool,
    /// TP-Destination-Address: who it is for.
    pub destination: Address,
    /// TP-Protocol-Identifier.
    pub protocol: u8,
    /// How long it is to be kept.
    pub validity: Option<Validity>,
    /// The user data.
    pub data: UserData,
}

/// SMS-SUBMIT-REPORT: what the centre says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitReport {
    /// Why it does not take it ([`failure`]); in RP-ERROR only.
    pub failure: Option<u8>,
    /// When it was received.
    pub time: TimeStamp,
}

/// SMS-STATUS-REPORT: what became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReport {
    /// Whether more messages wait.
    pub more: bool,
    /// TP-Message-Reference of the message it is about.
    pub reference: u8,
    /// Who that was for.
    pub recipient: Address,
    /// When the centre received that.
    pub time: TimeStamp,
    /// When it became what it is.
    pub discharge: TimeStamp,
    /// What became of it ([`status`]).
    pub status: u8,
}

/// A message of the transfer layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tpdu {
    /// SMS-COMMAND, of which nothing is read.
    Command,
    /// SMS-DELIVER.
    Deliver(Deliver),
    /// SMS-DELIVER-REPORT.
    DeliverReport(DeliverReport),
    /// SMS-STATUS-REPORT.
    StatusReport(StatusReport),
    /// SMS-SUBMIT.
    Submit(Submit),
    /// SMS-SUBMIT-REPORT.
    SubmitReport(SubmitReport),
}

/// Bits of the first octet (TS 23.040 §9.2.3).
const MORE: u8 = 0x04;
const REJECT_DUPLICATES: u8 = 0x04;
const REPORT: u8 = 0x20;
const HEADER: u8 = 0x40;

fn flag(on: bool, bit: u8) -> u8 {
    if on { bit } else { 0 }
}

impl Tpdu {
    /// The name of the message.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Command => "SMS-COMMAND",
            Self::Deliver(_) => "SMS-DELIVER",
            Self::DeliverReport(_) => "SMS-DELIVER-REPORT",
            Self::StatusReport(_) => "SMS-STATUS-REPORT",
            Self::Submit(_) => "SMS-SUBMIT",
            Self::SubmitReport(_) => "SMS-SUBMIT-REPORT",
        }
    }

    /// Reads a message. What it is depends on the way it goes, and a report on whether it stands
    /// in RP-ERROR (`failed`).
    ///
    /// # Errors
    ///
    /// [`Malformed`] where it is none.
    pub fn decode(bytes: &[u8], direction: Direction, failed: bool) -> Result<Self, Malformed> {
        use Direction::{ToMobile, ToNetwork};
        let mut octets = Octets::new(bytes);
        let first = octets.octet("no message type")?;
        Ok(match (first & 3, direction) {
            (0, ToMobile) => Self::Deliver(deliver(first, &mut octets)?),
            (0, ToNetwork) => {
                let failure = failure_of(&mut octets, failed)?;
                Self::DeliverReport(DeliverReport { failure })
            }
            (1, ToNetwork) => Self::Submit(submit(first, &mut octets)?),
            (1, ToMobile) => {
                let failure = failure_of(&mut octets, failed)?;
                octets.octet("no TP-Parameter-Indicator")?;
                Self::SubmitReport(SubmitReport { failure, time: TimeStamp::read(&mut octets)? })
            }
            (2, ToMobile) => Self::StatusReport(status_report(first, &mut octets)?),
            (2, ToNetwork) => Self::Command,
            _ => return Err(Malformed { at: 0, what: "a message type that is reserved" }),
        })
    }

    /// The octets of the message; of SMS-COMMAND its type alone.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Command => out.push(2),
            Self::Deliver(it) => {
                let report = flag(it.status_report, REPORT);
                out.push(flag(!it.more, MORE) | report | flag(it.data.has_header(), HEADER));
                it.originator.write_tp(&mut out);
                out.extend([it.protocol, it.data.coding()]);
                out.extend(it.time.octets());
                it.data.write(&mut out);
            }
            Self::DeliverReport(it) => {
                out.push(0);
                out.extend(it.failure);
                out.push(0);
            }
            Self::Submit(it) => {
                let format = match it.validity {
                    None => 0,
                    Some(Validity::Enhanced(_)) => 0x08,
                    Some(Validity::Relative(_)) => 0x10,
                    Some(Validity::Absolute(_)) => 0x18,
                };
                let duplicates = flag(it.reject_duplicates, REJECT_DUPLICATES);
                let report = flag(it.status_report, REPORT);
                out.push(1 | duplicates | format | report | flag(it.data.has_header(), HEADER));
                out.push(it.reference);
                it.destination.write_tp(&mut out);
                out.extend([it.protocol, it.data.coding()]);
                match it.validity {
                    None => {}
                    Some(Validity::Relative(octet)) => out.push(octet),
                    Some(Validity::Enhanced(octets)) => out.extend(octets),
                    Some(Validity::Absolute(until)) => out.extend(until.octets()),
                }
                it.data.write(&mut out);
            }
            Self::SubmitReport(it) => {
                out.push(1);
                out.extend(it.failure);
                out.push(0);
                out.extend(it.time.octets());
            }
            Self::StatusReport(it) => {
                out.extend([2 | flag(!it.more, MORE), it.reference]);
                it.recipient.write_tp(&mut out);
                out.extend(it.time.octets());
                out.extend(it.discharge.octets());
                out.push(it.status);
            }
        }
        out
    }
}

fn failure_of(octets: &mut Octets<'_>, failed: bool) -> Result<Option<u8>, Malformed> {
    failed.then(|| octets.octet("no TP-Failure-Cause")).transpose()
}

fn deliver(first: u8, octets: &mut Octets<'_>) -> Result<Deliver, Malformed> {
    let originator = Address::read_tp(octets)?;
    let protocol = octets.octet("no TP-Protocol-Identifier")?;
    let coding = octets.octet("no TP-Data-Coding-Scheme")?;
    Ok(Deliver {
        more: first & MORE == 0,
        status_report: first & REPORT != 0,
        originator,
        protocol,
        time: TimeStamp::read(octets)?,
        data: UserData::read(octets, coding, first & HEADER != 0)?,
    })
}

fn submit(first: u8, octets: &mut Octets<'_>) -> Result<Submit, Malformed> {
    let reference = octets.octet("no TP-Message-Reference")?;
    let destination = Address::read_tp(octets)?;
    let protocol = octets.octet("no TP-Protocol-Identifier")?;
    let coding = octets.octet("no TP-Data-Coding-Scheme")?;
    let what = "TP-Validity-Period ends too early";
    let validity = match first >> 3 & 3 {
        0 => None,
        1 => {
            let fault = octets.fault(what);
            Some(Validity::Enhanced(octets.take(7, what)?.try_into().map_err(|_| fault)?))
        }
        2 => Some(Validity::Relative(octets.octet(what)?)),
        _ => Some(Validity::Absolute(TimeStamp::read(octets)?)),
    };
    Ok(Submit {
        reference,
        reject_duplicates: first & REJECT_DUPLICATES != 0,
        status_report: first & REPORT != 0,
        destination,
        protocol,
        validity,
        data: UserData::read(octets, coding, first & HEADER != 0)?,
    })
}

fn status_report(first: u8, octets: &mut Octets<'_>) -> Result<StatusReport, Malformed> {
    let reference = octets.octet("no TP-Message-Reference")?;
    let recipient = Address::read_tp(octets)?;
    let (time, discharge) = (TimeStamp::read(octets)?, TimeStamp::read(octets)?);
    let status = octets.octet("no TP-Status")?;
    Ok(StatusReport { more: first & MORE == 0, reference, recipient, time, discharge, status })
}
