//! STUN for keep-alives on the port of SIP: a binding request is answered with the address it came
//! from (RFC 8489 §5, §6, §14.2; RFC 5626 §4.4.2, §8). No credentials, no other method; everything
//! else that looks like STUN is left unanswered.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

/// What every message of STUN has at its fifth byte (RFC 8489 §5).
const COOKIE: u32 = 0x2112_A442;
/// Type, length, cookie, transaction number.
const HEADER_BYTES: usize = 20;
/// Longest request that is read, in bytes.
const REQUEST_MAX: usize = 548;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// From here on an attribute may be passed over (RFC 8489 §14).
const OPTIONAL: u16 = 0x8000;
/// Unknown attributes that are told.
const UNKNOWN_MAX: usize = 8;

/// Whether a datagram is STUN and no SIP: a first byte of 0 to 3, and the cookie (RFC 8489 §6.3).
#[must_use]
pub fn is_stun(bytes: &[u8]) -> bool {
    let cookie = bytes.get(4..8).is_some_and(|it| *it == COOKIE.to_be_bytes());
    cookie && bytes.first().is_some_and(|first| *first < 4)
}

/// Whether a message of STUN asks something (RFC 8489 §5: both bits of its class are 0).
#[must_use]
pub fn is_request(bytes: &[u8]) -> bool {
    let kind = bytes.get(..2).and_then(number);
    kind.is_some_and(|kind| kind & 0x0110 == 0)
}

/// What tells one request of STUN from all others.
pub type TransactionId = [u8; 12];

/// A binding request without attributes.
#[must_use]
pub fn request(id: &TransactionId) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES);
    out.put_u16(BINDING_REQUEST);
    out.put_u16(0);
    out.put_u32(COOKIE);
    out.put_slice(id);
    out.freeze()
}

/// What a binding request was answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The address it came from.
    Mapped(SocketAddr),
    /// An error.
    Refused,
}

/// Reads the answer to a binding request, with the request it answers; `None` if it is none or has
/// no address.
#[must_use]
pub fn read_answer(bytes: &[u8]) -> Option<(TransactionId, Answered)> {
    if !is_stun(bytes) || bytes.len() > REQUEST_MAX {
        return None;
    }
    let (head, attributes) = bytes.split_at_checked(HEADER_BYTES)?;
    if usize::from(number(head.get(2..4)?)?) != attributes.len() {
        return None;
    }
    let id: TransactionId = head.get(8..)?.try_into().ok()?;
    let answered = match number(head.get(..2)?)? {
        BINDING_SUCCESS => Answered::Mapped(mapped_in(attributes, &id)?),
        BINDING_ERROR => Answered::Refused,
        _ => return None,
    };
    Some((id, answered))
}

/// The address in XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn mapped_in(mut rest: &[u8], id: &TransactionId) -> Option<SocketAddr> {
    loop {
        let (head, behind) = rest.split_at_checked(4)?;
        let length = usize::from(number(head.get(2..)?)?);
        if number(head.get(..2)?)? == XOR_MAPPED_ADDRESS {
            let value = behind.get(..length)?;
            let cookie = COOKIE.to_be_bytes();
            let [high, low, ..] = cookie;
            let port = number(value.get(2..4)?)? ^ u16::from_be_bytes([high, low]);
            let mask = cookie.iter().chain(id);
            let octets: Vec<u8> =
                value.get(4..)?.iter().zip(mask).map(|(octet, mask)| octet ^ mask).collect();
            let ip = match value.get(1)? {
                1 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
                2 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
                _ => return None,
            };
            return Some(SocketAddr::new(ip, port));
        }
        rest = behind.get(length.next_multiple_of(4)..)?;
    }
}

/// The answer to a binding request that came from `source`; none if it is not one.
#[must_use]
pub fn answer(bytes: &[u8], source: SocketAddr) -> Option<Bytes> {
    if !is_stun(bytes) || !(HEADER_BYTES..=REQUEST_MAX).contains(&bytes.len()) {
        return None;
    }
    let (head, attributes) = bytes.split_at_checked(HEADER_BYTES)?;
    let length = usize::from(number(head.get(2..4)?)?);
    if number(head.get(..2)?)? != BINDING_REQUEST
        || length != attributes.len()
        || !length.is_multiple_of(4)
    {
        return None;
    }
    let transaction = head.get(8..)?;
    let unknown = unknown(attributes)?;
    let (kind, body) = match unknown.is_empty() {
        true => (BINDING_SUCCESS, mapped(source, transaction)),
        false => (BINDING_ERROR, refusal(&unknown)),
    };
    let mut out = BytesMut::with_capacity(HEADER_BYTES + body.len());
    out.put_u16(kind);
    out.put_u16(u16::try_from(body.len()).ok()?);
    out.put_u32(COOKIE);
    out.put_slice(transaction);
    out.put_slice(&body);
    Some(out.freeze())
}

fn number(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// The attributes that have to be understood and are not; none at all if they are no list.
fn unknown(mut rest: &[u8]) -> Option<Vec<u16>> {
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (head, behind) = rest.split_at_checked(4)?;
        let kind = number(head.get(..2)?)?;
        let length = usize::from(number(head.get(2..)?)?);
        rest = behind.get(length.next_multiple_of(4)..)?;
        if kind < OPTIONAL && out.len() < UNKNOWN_MAX {
            out.push(kind);
        }
    }
    Some(out)
}

/// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn mapped(source: SocketAddr, transaction: &[u8]) -> BytesMut {
    let cookie = COOKIE.to_be_bytes();
    let mask = cookie.iter().chain(transaction).copied();
    let (family, octets) = match source.ip() {
        IpAddr::V4(addr) => (1, addr.octets().to_vec()),
        IpAddr::V6(addr) => (2, addr.octets().to_vec()),
    };
    let mut out = BytesMut::new();
    out.put_u16(XOR_MAPPED_ADDRESS);
    out.put_u16(if family == 1 { 8 } else { 20 });
    out.put_u8(0);
    out.put_u8(family);
    let [high, low, ..] = cookie;
    out.put_u16(source.port() ^ u16::from_be_bytes([high, low]));
    out.extend(octets.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
    out
}

/// 420 with the attributes that are not understood (RFC 8489 §6.3.1, §14.8, §14.13).
fn refusal(unknown: &[u16]) -> BytesMut {
    const REASON: &[u8] = b"Unknown Attribute\0\0\0";
    let mut out = BytesMut::new();
    out.put_u16(ERROR_CODE);
    out.put_u16(21);
    out.put_slice(&[0, 0, 4, 20]);
    out.put_slice(REASON);
    out.put_u16(UNKNOWN_ATTRIBUTES);
    out.put_u16(u16::try_from(unknown.len() * 2).unwrap_or(0));
    for kind in unknown {
        out.put_u16(*kind);
    }
    if !unknown.len().is_multiple_of(2) {
        out.put_u16(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).expect("short").to_be_bytes();
        let mut out = vec![0, 1, length[0], length[1], 0x21, 0x12, 0xA4, 0x42];
        // The transaction number of RFC 5769 §2.
        out.extend([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);
        out.extend(attributes);
        out
    }

    /// The addresses of RFC 5769 §2.2 and §2.3.
    #[test]
    fn the_source_is_told_as_the_test_vectors_have_it() {
        let answer = answer(&request(&[]), "192.0.2.1:32853".parse().expect("an address"));
        let answer = answer.expect("an answer");
        assert_eq!(answer[..4], [1, 1, 0, 12]);
        assert_eq!(answer[8..20], request(&[])[8..]);
        assert_eq!(answer[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let source = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address");
        let answer = super::answer(&request(&[]), source).expect("an answer");
        assert_eq!(answer[20..28], [0, 0x20, 0, 20, 0, 2, 0xa1, 0x47]);
        assert_eq!(
            answer[28..],
            [
                0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2,
                0xb9, 0xd9
            ]
        );
    }

    #[test]
    fn an_answer_is_read_as_it_was_made_and_nothing_else_is_one() {
        let id: TransactionId = request(&[])[8..].try_into().expect("twelve");
        assert_eq!(super::request(&id)[..], request(&[]));
        for source in ["192.0.2.1:32853", "[2001:db8::7]:5060"] {
            let source = source.parse().expect("an address");
            let whole = answer(&request(&[]), source).expect("an answer");
            assert_eq!(read_answer(&whole), Some((id, Answered::Mapped(source))));
            for end in 0..whole.len() {
                assert_eq!(read_answer(&whole[..end]), None, "{end}");
            }
        }
        let source = "192.0.2.1:1".parse().expect("an address");
        let refused = answer(&request(&[0, 6, 0, 1, b'x', 0, 0, 0]), source).expect("an answer");
        assert_eq!(read_answer(&refused), Some((id, Answered::Refused)));
        assert!(is_request(&request(&[])) && !is_request(&refused));
        assert_eq!(read_answer(&request(&[])), None);
        // An address of no family, one too short, and none at all.
        for attributes in
            [&[0, 0x20, 0, 8, 0, 3, 0, 0, 1, 2, 3, 4][..], &[0, 0x20, 0, 2, 0, 1, 0, 0], &[]]
        {
            let mut bytes = request(attributes);
            (bytes[0], bytes[1]) = (1, 1);
            assert_eq!(read_answer(&bytes), None, "{attributes:?}");
        }
    }

    #[test]
    fn what_must_be_understood_and_is_not_gets_420() {
        let source = "192.0.2.1:5060".parse().expect("an address");
        // SOFTWARE may be passed over, USERNAME may not.
        assert!(answer(&request(&[0x80, 0x22, 0, 1, b'x', 0, 0, 0]), source).is_some());
        let refused = answer(&request(&[0, 6, 0, 1, b'x', 0, 0, 0]), source).expect("an answer");
        assert_eq!(refused[..2], [1, 0x11]);
        assert_eq!(refused[24..28], [0, 0, 4, 20]);
        assert_eq!(refused[refused.len() - 8..], [0, 10, 0, 2, 0, 6, 0, 0]);
        let length = usize::from(u16::from_be_bytes([refused[2], refused[3]]));
        assert_eq!(length, refused.len() - 20);
    }

    #[test]
    fn anything_else_is_not_answered() {
        let source = "192.0.2.1:5060".parse().expect("an address");
        let mut response = request(&[]);
        response[0] = 1;
        for bytes in [
            response,
            request(&[0, 6, 0, 9, b'x', 0, 0, 0]),
            request(&[0, 6]),
            request(&vec![0; 600]),
            b"OPTIONS sip:a SIP/2.0\r\n\r\n".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(answer(&bytes, source), None, "{bytes:?}");
        }
        let whole = request(&[0x80, 0x22, 0, 4, 1, 2, 3, 4]);
        for end in 0..whole.len() {
            assert_eq!(answer(&whole[..end], source), None);
        }
    }
}
