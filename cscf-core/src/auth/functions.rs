//! The authentication and key generation functions f1 … f5* as a trait, so that the HSS and the
//! USIM do not care which algorithm set a subscription uses (TS 33.102 §6.3, §8).
//!
//! Algorithm sets: [`crate::auth::Milenage`], [`crate::auth::Tuak`] and [`crate::auth::XorTest`].

use std::fmt;

use subtle::ConstantTimeEq;

use crate::auth::sequence::Sqn;

/// A random challenge, 128 bits (TS 33.102 §6.3.7).
pub type Rand = [u8; 16];

/// A cipher or integrity key, 128 bits (TS 33.102 §6.3.7).
pub type Key = [u8; 16];

/// The authentication management field, 16 bits (TS 33.102 §6.3.7).
pub type Amf = [u8; 2];

/// The AMF of our own vectors: the separation bit set, all else clear, as EPS and 5G demand and
/// IMS tolerates (TS 33.102 Annex H).
pub const AMF_SEPARATION: Amf = [0x80, 0x00];

/// The AMF* inside MAC-S: always zero, so that it need not be sent (TS 33.102 §6.3.3).
pub const AMF_RESYNC: Amf = [0, 0];

/// What a USIM and an authentication centre compute from the subscriber's key.
///
/// The key is inside the implementor; nothing here keeps state.
pub trait AkaFunctions {
    /// f1: the network authentication code MAC-A.
    fn f1(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8];

    /// f1*: the resynchronisation authentication code MAC-S.
    fn f1_star(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8];

    /// f2 (RES), f3 (CK), f4 (IK) and f5 (AK); the algorithm sets compute them together.
    fn f2345(&self, rand: &Rand) -> Outputs;

    /// f5*: the anonymity key of the resynchronisation.
    fn f5_star(&self, rand: &Rand) -> [u8; 6];
}

impl<F: AkaFunctions + ?Sized> AkaFunctions for Box<F> {
    fn f1(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        (**self).f1(rand, sqn, amf)
    }

    fn f1_star(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        (**self).f1_star(rand, sqn, amf)
    }

    fn f2345(&self, rand: &Rand) -> Outputs {
        (**self).f2345(rand)
    }

    fn f5_star(&self, rand: &Rand) -> [u8; 6] {
        (**self).f5_star(rand)
    }
}

/// The outputs of f2, f3, f4 and f5 for one RAND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// f2: the user's response.
    pub res: Res,
    /// f3: the cipher key.
    pub ck: Key,
    /// f4: the integrity key.
    pub ik: Key,
    /// f5: the anonymity key that conceals SQN.
    pub ak: [u8; 6],
}

/// A user response RES or XRES: 4 to 16 octets (TS 33.102 §6.3.7).
#[derive(Clone, Copy)]
pub struct Res {
    octets: [u8; 16],
    length: u8,
}

impl Res {
    /// The response with these octets; `None` unless there are 4 to 16 of them.
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        if octets.len() < 4 {
            return None;
        }
        let mut all = [0; 16];
        all.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(Self { octets: all, length: u8::try_from(octets.len()).ok()? })
    }

    /// The response as octets; raw, as the password of AKAv1 (RFC 3310 §3.3).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or(&self.octets)
    }
}

impl From<[u8; 8]> for Res {
    fn from(octets: [u8; 8]) -> Self {
        Self { octets: join(octets, [0; 8]), length: 8 }
    }
}

impl From<[u8; 16]> for Res {
    fn from(octets: [u8; 16]) -> Self {
        Self { octets, length: 16 }
    }
}

/// Takes the same time wherever two responses of one length differ.
impl PartialEq for Res {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Res {}

impl fmt::Debug for Res {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Res({})", to_hex(self.as_bytes()))
    }
}

/// `octets` in lower-case hexadecimal.
#[must_use]
pub fn to_hex(octets: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    octets.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 15)]).collect()
}

/// `N` octets from exactly `2 N` hexadecimal digits of either case, as keys are written in lab
/// files and CK and IK in a challenge (TS 24.229 §7.2A.1); `None` for anything else.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let mut out = [0; N];
    for (octet, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *octet = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(out)
}

/// The concatenation of two arrays; `N` must be `A + B` (the rest is zero, the surplus lost).
pub(crate) fn join<const A: usize, const B: usize, const N: usize>(
    first: [u8; A],
    second: [u8; B],
) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(first.into_iter().chain(second)) {
        *to = from;
    }
    out
}

/// The exclusive or of two arrays of one length.
pub(crate) fn xor<const N: usize>(first: [u8; N], second: [u8; N]) -> [u8; N] {
    let mut out = first;
    for (to, with) in out.iter_mut().zip(second) {
        *to ^= with;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_exactly_or_not_at_all() {
        assert_eq!(from_hex("00fF"), Some([0, 255]));
        for wrong in ["", "00f", "00ff0", "00fg", "+0ff", "0\u{e9}f"] {
            assert_eq!(from_hex::<2>(wrong), None, "{wrong}");
        }
        assert_eq!(to_hex(&[0, 0x0a, 0xff]), "000aff");
    }

    #[test]
    fn a_response_has_four_to_sixteen_octets() {
        assert!(Res::new(&[0; 3]).is_none());
        assert!(Res::new(&[0; 17]).is_none());
        for length in 4..=16 {
            assert_eq!(Res::new(&[7; 16][..length]).unwrap().as_bytes().len(), length);
        }
        assert_ne!(Res::new(&[0; 4]), Res::new(&[0; 5]));
    }
}
