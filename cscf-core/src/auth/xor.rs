//! The test algorithm of conformance testing: everything is K ⊕ RAND, turned and cut
//! (TS 34.108 §8.1.2). It protects nothing; test USIMs use it.

use std::fmt;

use crate::auth::functions::{AkaFunctions, Amf, Key, Outputs, Rand, Res, join, xor};
use crate::auth::sequence::Sqn;

/// The XOR test algorithm with one test key.
#[derive(Clone)]
pub struct XorTest {
    k: Key,
}

impl XorTest {
    /// With the test USIM's key K.
    #[must_use]
    pub const fn new(k: Key) -> Self {
        Self { k }
    }

    fn xdout(&self, rand: &Rand) -> u128 {
        u128::from_be_bytes(xor(self.k, *rand))
    }

    /// AK: bits 24 to 71 of XDOUT.
    fn ak(&self, rand: &Rand) -> [u8; 6] {
        let [_, _, _, a, b, c, d, e, f, ..] = self.xdout(rand).to_be_bytes();
        [a, b, c, d, e, f]
    }
}

impl AkaFunctions for XorTest {
    fn f1(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.xdout(rand).to_be_bytes();
        xor([a, b, c, d, e, f, g, h], join(sqn.to_bytes(), amf))
    }

    fn f1_star(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        self.f1(rand, sqn, amf)
    }

    fn f2345(&self, rand: &Rand) -> Outputs {
        let xdout = self.xdout(rand);
        Outputs {
            res: Res::from(xdout.to_be_bytes()),
            ck: xdout.rotate_left(8).to_be_bytes(),
            ik: xdout.rotate_left(16).to_be_bytes(),
            ak: self.ak(rand),
        }
    }

    fn f5_star(&self, rand: &Rand) -> [u8; 6] {
        self.ak(rand)
    }
}

/// Keys stay out of traces and panics.
impl fmt::Debug for XorTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XorTest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::functions::to_hex;

    #[test]
    fn outputs_are_cuts_of_key_xor_challenge() {
        let k = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let algorithm = XorTest::new(k);

        let out = algorithm.f2345(&[0; 16]);

        assert_eq!(out.res.as_bytes(), k);
        assert_eq!(to_hex(&out.ck), "0102030405060708090a0b0c0d0e0f00");
        assert_eq!(to_hex(&out.ik), "02030405060708090a0b0c0d0e0f0001");
        assert_eq!(to_hex(&out.ak), "030405060708");
        let mac = algorithm.f1(&[0; 16], Sqn::from_bytes([0x10; 6]), [0x20, 0x20]);
        assert_eq!(to_hex(&mac), "1011121314152627");
    }
    /// Known answers of two public implementations: osmo-auc-gen (`-3 -a XOR`) and an example
    /// that prints every output for K = 00 … 0f, RAND = 34 … 34, SQN 1, AMF 8000.
    #[test]
    fn outputs_agree_with_other_implementations() {
        let k = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let algorithm = XorTest::new(k);
        let sqn = Sqn::new(1).unwrap();

        let out = algorithm.f2345(&[0x34; 16]);

        assert_eq!(to_hex(&algorithm.f1(&[0x34; 16], sqn, [0x80, 0])), "343536373030b233");
        assert_eq!(to_hex(&algorithm.f1_star(&[0x34; 16], sqn, [0x80, 0])), "343536373030b233");
        assert_eq!(to_hex(out.res.as_bytes()), "34353637303132333c3d3e3f38393a3b");
        assert_eq!(to_hex(&out.ck), "353637303132333c3d3e3f38393a3b34");
        assert_eq!(to_hex(&out.ik), "3637303132333c3d3e3f38393a3b3435");
        assert_eq!(to_hex(&out.ak), "37303132333c");
        assert_eq!(to_hex(&algorithm.f5_star(&[0x34; 16])), "37303132333c");
    }
}
