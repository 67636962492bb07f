//! Reads traffic from a file into one sequence of messages: our own `trace.jsonl` and
//! `trace.pcapng`, any pcap or pcapng of others, or one SIP message as text.
//!
//! What is understood of a packet: Ethernet (with VLAN tags), Linux cooked (both versions), raw IP,
//! loopback; IPv4 and IPv6 with fragments; UDP and TCP, also inside ESP without encryption. A
//! message is SIP or Diameter by its form, not by its port. What may hold a message and is not read
//! is counted and told. A hostile file makes flaws, never a panic, and what it may grow is bounded.

mod container;
mod ip;
mod jsonl;
mod link;
mod skipped;
mod stream;
mod tcp;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::{Protocol, TraceEvent, TraceKind, Wire};
use cscf_core::transport::Transport;

use self::skipped::{Reason, Skipped};
use crate::report::pcapng::{Names, name_at};

/// Messages of one capture at most.
const MESSAGES_MAX: usize = 2_000_000;
/// Bytes of all messages of one capture at most.
const BYTES_MAX: usize = 1 << 29;
/// Flaws told of one capture at most.
const FLAWS_MAX: usize = 100;
/// The same datagram seen again within this time was captured twice (SIP waits 500 ms at least
/// before it repeats: RFC 3261 §17.1.1.1).
const CAPTURED_TWICE: Duration = Duration::from_millis(2);

/// One message with its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The number of the frame in which it was complete, from 1; in a `trace.jsonl` the line.
    pub frame: u64,
    /// When; a packet capture begins at zero.
    pub at: Instant,
    /// Who sent it.
    pub from: SocketAddr,
    /// Who is to receive it.
    pub to: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// SIP or Diameter.
    pub protocol: Protocol,
    /// Whether it came inside ESP.
    pub protected: bool,
    /// The message.
    pub bytes: Bytes,
}

/// What was read of one file.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// The messages in the order of the file.
    pub messages: Vec<Captured>,
    /// Names of addresses as far as the file tells them.
    pub names: Names,
    /// When the first frame was captured, in nanoseconds since 1970; zero where nobody knows.
    pub began_ns: u64,
    /// What of the file could not be read, in words.
    pub flaws: Vec<String>,
    /// All events, where the file is a trace of ours with notes and states.
    events: Vec<TraceEvent>,
}

impl Capture {
    /// The messages of a run that has just been made; frames are counted as its events are.
    #[must_use]
    pub fn of_events(events: &[TraceEvent]) -> Self {
        let mut capture = Self { events: events.to_vec(), ..Self::default() };
        let lines: Vec<u64> = (1..).take(events.len()).collect();
        jsonl::fill(&mut capture, &lines);
        capture
    }

    /// The name at an address, else the address.
    #[must_use]
    pub fn name_of(&self, addr: &SocketAddr) -> String {
        name_at(&self.names, addr).map_or_else(|| addr.to_string(), str::to_owned)
    }

    /// The capture as a trace: its own events, or each message as sent by the node of its source.
    #[must_use]
    pub fn events(&self) -> Vec<TraceEvent> {
        if !self.events.is_empty() {
            return self.events.clone();
        }
        let event = |message: &Captured| TraceEvent {
            at: message.at,
            node: Arc::from(self.name_of(&message.from)),
            kind: TraceKind::Sent(Wire {
                protocol: message.protocol,
                transport: message.transport,
                local: message.from,
                remote: message.to,
                bytes: message.bytes.clone(),
            }),
        };
        self.messages.iter().map(event).collect()
    }

    /// Tells a flaw; those beyond the bound are not told.
    fn flaw(&mut self, text: String) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(text);
        }
    }

    /// Keeps a message; says whether there is room for more.
    fn keep(&mut self, message: Captured, kept: &mut usize) -> bool {
        *kept += message.bytes.len();
        if self.messages.len() >= MESSAGES_MAX || *kept > BYTES_MAX {
            self.flaw(format!(
                "frame {}: more than {MESSAGES_MAX} messages or {BYTES_MAX} bytes of them; \
                 what follows is not read",
                message.frame
            ));
            return false;
        }
        self.messages.push(message);
        true
    }
}

/// A file that is no capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is none of the known kinds.
    #[error(
        "is no capture: it begins with {begin}; pcap, pcapng, a trace.jsonl or one SIP message as \
         text can be read"
    )]
    Unknown {
        /// Its first bytes, readable.
        begin: String,
    },
}

/// Reads a file.
///
/// # Errors
///
/// [`CaptureError`] when nothing of it can be read; what is wrong inside is a flaw.
pub fn read_file(path: &Path) -> Result<Capture, CaptureError> {
    read(BufReader::new(File::open(path)?))
}

/// Reads a capture from its beginning.
///
/// # Errors
///
/// As [`read_file`].
pub fn read(mut input: impl Read) -> Result<Capture, CaptureError> {
    let mut begin = Vec::new();
    input.by_ref().take(4).read_to_end(&mut begin)?;
    let whole = io::Cursor::new(begin.clone()).chain(input);
    if let Some(kind) = container::kind(&begin) {
        return Ok(packets(container::Reader::new(whole, kind)));
    }
    match begin.first() {
        Some(b'{') => Ok(jsonl::read(BufReader::new(whole))?),
        Some(_) => one_message(whole, &begin),
        None => Err(unknown(&begin)),
    }
}

fn unknown(begin: &[u8]) -> CaptureError {
    let begin = match begin {
        [] => "nothing".to_owned(),
        [0x1f, 0x8b, ..] => "a gzip header (gunzip it first)".to_owned(),
        bytes => format!("{:?}", String::from_utf8_lossy(bytes)),
    };
    CaptureError::Unknown { begin }
}

/// One SIP message as text, from nowhere to nowhere.
fn one_message(input: impl Read, begin: &[u8]) -> Result<Capture, CaptureError> {
    let mut bytes = Vec::new();
    input.take(stream::MESSAGE_BYTES_MAX).read_to_end(&mut bytes)?;
    if !stream::is_sip(&bytes) {
        return Err(unknown(begin));
    }
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let message = Captured {
        frame: 1,
        at: Instant::EPOCH,
        from: nowhere,
        to: nowhere,
        transport: Transport::Udp,
        protocol: Protocol::Sip,
        protected: false,
        bytes: bytes.into(),
    };
    Ok(Capture { messages: vec![message], ..Capture::default() })
}

/// All packets of a container, from link to message.
fn packets(mut reader: container::Reader<impl Read>) -> Capture {
    let mut capture = Capture::default();
    let mut kept = 0;
    let mut fragments = ip::Fragments::default();
    let mut tcp = tcp::Connections::default();
    let mut out = Vec::new();
    let mut skipped = Skipped::default();
    while let Some(frame) = reader.next_frame() {
        if frame.number == 1 {
            capture.began_ns = frame.unix_ns;
        }
        let at = Instant::from_nanos(frame.unix_ns.saturating_sub(capture.began_ns));
        if frame.cut {
            skipped.add(frame.number, Reason::Cut);
        }
        let packet =
            link::network(frame.link, &frame.data).and_then(|network| fragments.packet(network));
        let packet = match packet {
            Ok(packet) => packet,
            Err(reason) => {
                reason.into_iter().for_each(|it| skipped.add(frame.number, it));
                continue;
            }
        };
        let seen = stream::Seen { frame: frame.number, at, protected: packet.protected };
        if let Some(reason) = packet_messages(&packet, seen, &mut tcp, &mut out) {
            skipped.add(frame.number, reason);
        }
        let room = out.drain(..).all(|message| {
            is_captured_twice(&capture.messages, &message) || capture.keep(message, &mut kept)
        });
        if !room {
            break;
        }
    }
    tcp.finish(&mut out);
    let room = out.drain(..).all(|message| capture.keep(message, &mut kept));
    debug_assert!(room || !capture.flaws.is_empty(), "a full capture says so");
    capture.messages.sort_by_key(|message| message.frame);
    let flaws = skipped.told().chain(fragments.flaws()).chain(reader.take_flaws());
    for flaw in flaws.chain(tcp.flaws()) {
        capture.flaw(flaw);
    }
    capture.names = reader.names(&capture.messages);
    capture
}

/// Takes the messages of a packet; gives back why it has none, where it may hold some.
fn packet_messages(
    packet: &ip::Packet,
    seen: stream::Seen,
    tcp: &mut tcp::Connections,
    out: &mut Vec<Captured>,
) -> Option<Reason> {
    match packet.number {
        ip::UDP => {
            let udp = etherparse::UdpSlice::from_slice_lax(&packet.payload).ok()?;
            if !stream::is_sip(udp.payload()) {
                return Reason::of_udp([udp.source_port(), udp.destination_port()], udp.payload());
            }
            out.push(Captured {
                frame: seen.frame,
                at: seen.at,
                from: SocketAddr::new(packet.from, udp.source_port()),
                to: SocketAddr::new(packet.to, udp.destination_port()),
                transport: Transport::Udp,
                protocol: Protocol::Sip,
                protected: seen.protected,
                bytes: Bytes::copy_from_slice(udp.payload()),
            });
            None
        }
        ip::TCP => {
            let segment = etherparse::TcpSlice::from_slice(&packet.payload).ok()?;
            tcp.segment(packet, &segment, seen, out);
            Reason::of_segment(segment.payload())
        }
        number => Reason::of_protocol(number),
    }
}

/// Whether a datagram was captured at two places of the same host, e.g. on the device `any`.
fn is_captured_twice(before: &[Captured], message: &Captured) -> bool {
    message.transport == Transport::Udp
        && before
            .iter()
            .rev()
            .take(64)
            .take_while(|it| message.at.since(it.at) <= CAPTURED_TWICE)
            .any(|it| it.from == message.from && it.to == message.to && it.bytes == message.bytes)
}
