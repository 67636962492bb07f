//! ESP in UDP as RFC 3948 frames it: the payload of a datagram is an ESP packet, unless it begins
//! with the marker of IKE or is a keep-alive. Nothing is added to an ESP packet, so that only what
//! comes has to be told apart.

/// The single octet that keeps a translation open (RFC 3948 §2.3).
pub const KEEP_ALIVE: [u8; 1] = [0xff];

/// What a UDP datagram on the port of ESP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// An ESP packet (RFC 3948 §2.1).
    Esp(&'a [u8]),
    /// A keep-alive; it is not answered (RFC 3948 §2.3).
    KeepAlive,
    /// The marker of something else than ESP, which nobody here speaks: four zero octets where the
    /// SPI stands (RFC 3948 §2.2).
    NotEsp,
    /// Too short for any of them.
    Malformed,
}

/// The payload of a UDP datagram that carries an ESP packet: the packet, if it can be told from
/// what is no ESP, its SPI not being zero (RFC 3948 §2.1).
#[must_use]
pub fn encapsulate(esp: &[u8]) -> Option<&[u8]> {
    matches!(decapsulate(esp), Framed::Esp(_)).then_some(esp)
}

/// What the payload of a UDP datagram is.
#[must_use]
pub fn decapsulate(payload: &[u8]) -> Framed<'_> {
    match payload {
        [0xff] => Framed::KeepAlive,
        [0, 0, 0, 0, ..] => Framed::NotEsp,
        [_, _, _, _, _, _, _, _, ..] => Framed::Esp(payload),
        _ => Framed::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_on_the_port_of_esp_are_told_apart() {
        let esp = [0, 0, 0x10, 0x01, 0, 0, 0, 1, 0xab];
        for (payload, framed) in [
            (&esp[..], Framed::Esp(&esp)),
            (&[0xff], Framed::KeepAlive),
            (&[0xff; 2], Framed::Malformed),
            (&[0; 20], Framed::NotEsp),
            (&[0, 0, 0, 0], Framed::NotEsp),
            (&[0, 0, 1, 0, 0, 0, 0], Framed::Malformed),
            (&[], Framed::Malformed),
        ] {
            assert_eq!(decapsulate(payload), framed, "{payload:?}");
        }
        assert_eq!(encapsulate(&esp), Some(&esp[..]));
        assert_eq!(encapsulate(&[0; 20]), None);
    }
}
