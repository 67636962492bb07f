//! One direction of a connection as messages: SIP by Content-Length (RFC 3261 §18.3), Diameter by
//! its length. Where the beginning was not captured or bytes are missing, the next start of a
//! message is looked for.

use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::diameter::Framer as DiameterFramer;
use cscf_core::sip::Framer as SipFramer;
use cscf_core::time::Instant;
use cscf_core::trace::Protocol;
use cscf_core::transport::Transport;

use super::Captured;

/// The longest message as a file of text.
pub(super) const MESSAGE_BYTES_MAX: u64 = 65_536;
/// How much of a start line is looked at.
const START_LINE_MAX: usize = 2_048;

/// The longest method.
const METHOD_MAX: usize = 64;

/// Where and when bytes were seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub frame: u64,
    pub at: Instant,
    pub protected: bool,
}

/// Whether bytes begin as SIP does: a request line or a status line after line ends.
pub(super) fn is_sip(bytes: &[u8]) -> bool {
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let Some(rest) = begin.and_then(|begin| bytes.get(begin..)) else { return false };
    let rest = rest.get(..START_LINE_MAX).unwrap_or(rest);
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    if let Some(status) = line.strip_prefix(b"SIP/2.0 ") {
        return status.first_chunk::<3>().is_some_and(|it| it.iter().all(u8::is_ascii_digit));
    }
    let mut words = line.rsplitn(2, |byte| *byte == b' ');
    let version = words.next().unwrap_or_default();
    let before = words.next().unwrap_or_default();
    let method = before.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte);
    version.starts_with(b"SIP/")
        && before.contains(&b' ')
        && (1..=METHOD_MAX).contains(&method.len())
        && method.iter().all(is_letter)
}

/// Whether bytes begin as Diameter does: version 1, a length, flags without reserved bits.
fn is_diameter(bytes: &[u8]) -> bool {
    let Some([1, high, middle, low, flags, ..]) = bytes.first_chunk::<8>() else { return false };
    let length = u32::from_be_bytes([0, *high, *middle, *low]);
    (20..=1 << 17).contains(&length) && length.is_multiple_of(4) && flags & 0x0F == 0
}

#[derive(Debug)]
enum Framing {
    Diameter(Box<DiameterFramer>),
    /// Neither is known to begin here; a line may have begun.
    Lost(Vec<u8>),
    Sip(Box<SipFramer>),
}

/// One direction of one connection.
#[derive(Debug)]
pub(super) struct Stream {
    from: SocketAddr,
    to: SocketAddr,
    framing: Framing,
}

impl Stream {
    pub(super) const fn new(from: SocketAddr, to: SocketAddr) -> Self {
        Self { from, to, framing: Framing::Lost(Vec::new()) }
    }

    /// Bytes are missing: an unfinished message is given up.
    pub(super) fn interrupted(&mut self) {
        self.framing = Framing::Lost(Vec::new());
    }

    /// Takes the next bytes; whole messages go to `out`.
    pub(super) fn push(&mut self, bytes: &[u8], seen: Seen, out: &mut Vec<Captured>) {
        let begun;
        let bytes = if let Framing::Lost(line) = &mut self.framing {
            let mut whole = std::mem::take(line);
            whole.extend_from_slice(bytes);
            begun = whole;
            self.found(&begun)
        } else {
            bytes
        };
        match &mut self.framing {
            Framing::Lost(_) => {}
            Framing::Sip(framer) => {
                framer.push(bytes);
                let mut lost = false;
                while let Some(next) = framer.next() {
                    // A head that cannot be framed is still worth looking at.
                    let whole = next.map_or_else(
                        |fault| {
                            lost = true;
                            fault.head
                        },
                        Some,
                    );
                    out.extend(
                        whole.map(|it| message(self.from, self.to, Protocol::Sip, seen, it)),
                    );
                }
                if lost {
                    self.framing = Framing::Lost(Vec::new());
                }
            }
            Framing::Diameter(framer) => {
                framer.push(bytes);
                loop {
                    match framer.next_message() {
                        Ok(Some(it)) => {
                            out.push(message(self.from, self.to, Protocol::Diameter, seen, it));
                        }
                        Ok(None) => break,
                        Err(_) => {
                            self.framing = Framing::Lost(Vec::new());
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Looks for the start of a message; gives back the bytes from there.
    fn found<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if is_diameter(bytes) {
            self.framing = Framing::Diameter(Box::default());
            return bytes;
        }
        let mut rest = bytes;
        loop {
            // Line ends before a message, once for all of them.
            let begin = rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            let Some(begin) = begin else {
                self.framing = Framing::Lost(Vec::new());
                return &[];
            };
            rest = rest.get(begin..).unwrap_or_default();
            if is_sip(rest) {
                self.framing = Framing::Sip(Box::default());
                return rest;
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                // The rest of the line may be still to come.
                let line = if rest.len() <= START_LINE_MAX { rest.to_vec() } else { Vec::new() };
                self.framing = Framing::Lost(line);
                return &[];
            };
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
}

fn message(
    from: SocketAddr,
    to: SocketAddr,
    protocol: Protocol,
    seen: Seen,
    bytes: Bytes,
) -> Captured {
    Captured {
        frame: seen.frame,
        at: seen.at,
        from,
        to,
        transport: Transport::Tcp,
        protocol,
        protected: seen.protected,
        bytes,
    }
}
