//! Requests to the kernel's XFRM over netlink, one at a time and answered at once: an association
//! is installed before the message that needs it leaves.

use std::io::{self, Read as _};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_xfrm::XfrmMessage;
use socket2::{Domain, Protocol, Socket, Type};

/// `AF_NETLINK` of Linux.
const AF_NETLINK: i32 = 16;
/// `NETLINK_XFRM` of Linux.
const NETLINK_XFRM: i32 = 6;
/// The kernel fills at most 32 KiB at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// The kernel answers within the call; this is only so that nothing can hang.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Messages begin at multiples of this.
const ALIGNMENT: usize = 4;

/// A way to the kernel's XFRM.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens it; that needs no permission yet.
    pub(super) fn open() -> io::Result<Self> {
        let (domain, protocol) = (Domain::from(AF_NETLINK), Protocol::from(NETLINK_XFRM));
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Orders something; the kernel has done it when this returns.
    pub(super) fn order(&mut self, message: XfrmMessage) -> io::Result<()> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK).map(|_| ())
    }

    /// Asks for one thing.
    pub(super) fn get(&mut self, message: XfrmMessage) -> io::Result<Option<XfrmMessage>> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK).map(|found| found.into_iter().next())
    }

    /// Asks for all of a kind.
    pub(super) fn dump(&mut self, message: XfrmMessage) -> io::Result<Vec<XfrmMessage>> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_DUMP)
    }

    fn exchange(&mut self, message: XfrmMessage, flags: u16) -> io::Result<Vec<XfrmMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes)?;
        let mut found = Vec::new();
        while !self.answer(&mut found)? {}
        Ok(found)
    }

    /// Reads one portion of an answer; true when it was the last.
    fn answer(&mut self, found: &mut Vec<XfrmMessage>) -> io::Result<bool> {
        let count = (&self.socket).read(&mut self.buffer)?;
        let mut rest = self.buffer.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            let message: NetlinkMessage<XfrmMessage> =
                NetlinkMessage::deserialize(rest).map_err(io::Error::other)?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            let next = length.next_multiple_of(ALIGNMENT).max(ALIGNMENT);
            rest = rest.get(next..).unwrap_or_default();
            if message.header.sequence_number != self.sequence {
                // Of a request whose answer was not waited for.
                continue;
            }
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) => match error.raw_code() {
                    0 => return Ok(true),
                    code => return Err(io::Error::from_raw_os_error(code.saturating_neg())),
                },
                NetlinkPayload::InnerMessage(message) => found.push(message),
                _ => {}
            }
        }
        Ok(false)
    }
}
