//! MILENAGE, the example algorithm set of 3GPP (TS 35.206): f1, f1*, f2, f3, f4, f5 and f5* from
//! K and OPc with AES-128 as kernel. The constants c1 … c5 and r1 … r5 may be an operator's own.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

use crate::auth::functions::{AkaFunctions, Amf, Key, Outputs, Rand, Res, join};
use crate::auth::sequence::Sqn;

/// The constants of MILENAGE; the default is the standard's (TS 35.206 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constants {
    /// c1 … c5, most significant bit first.
    pub c: [u128; 5],
    /// r1 … r5: rotations towards the most significant bit, in bits, taken modulo 128.
    pub r: [u32; 5],
}

impl Default for Constants {
    fn default() -> Self {
        Self { c: [0, 1, 2, 4, 8], r: [64, 0, 32, 64, 96] }
    }
}

/// MILENAGE with the keys of one subscription.
#[derive(Clone)]
pub struct Milenage {
    kernel: Aes128,
    opc: u128,
    constants: Constants,
}

impl Milenage {
    /// With the subscriber key K and the derived operator value OPc.
    #[must_use]
    pub fn new(k: Key, opc: [u8; 16]) -> Self {
        Self {
            kernel: Aes128::new(&k.into()),
            opc: u128::from_be_bytes(opc),
            constants: Constants::default(),
        }
    }

    /// With K and the operator's value OP, from which OPc is derived here.
    #[must_use]
    pub fn with_op(k: Key, op: [u8; 16]) -> Self {
        Self::new(k, derive_opc(k, op))
    }

    /// The same keys with an operator's own constants.
    #[must_use]
    pub const fn with_constants(mut self, constants: Constants) -> Self {
        self.constants = constants;
        self
    }

    fn encrypt(&self, block: u128) -> u128 {
        encrypt(&self.kernel, block)
    }

    /// TEMP, on which every output rests (TS 35.206 §4.1).
    fn temp(&self, rand: &Rand) -> u128 {
        self.encrypt(u128::from_be_bytes(*rand) ^ self.opc)
    }

    /// OUT1: MAC-A in its first, MAC-S in its second half.
    fn out1(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> u128 {
        let half: [u8; 8] = join(sqn.to_bytes(), amf);
        let in1 = u128::from_be_bytes(join(half, half));
        let [c1, ..] = self.constants.c;
        let [r1, ..] = self.constants.r;
        let mixed = (in1 ^ self.opc).rotate_left(r1 % 128);
        self.encrypt(self.temp(rand) ^ mixed ^ c1) ^ self.opc
    }

    /// OUT2 … OUT5: `temp` turned by `r` with `c` added.
    fn out(&self, temp: u128, c: u128, r: u32) -> u128 {
        self.encrypt((temp ^ self.opc).rotate_left(r % 128) ^ c) ^ self.opc
    }
}

impl AkaFunctions for Milenage {
    fn f1(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        halves(self.out1(rand, sqn, amf)).0
    }

    fn f1_star(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        halves(self.out1(rand, sqn, amf)).1
    }

    fn f2345(&self, rand: &Rand) -> Outputs {
        let [_, c2, c3, c4, _] = self.constants.c;
        let [_, r2, r3, r4, _] = self.constants.r;
        let temp = self.temp(rand);
        let out2 = self.out(temp, c2, r2);
        Outputs {
            res: Res::from(halves(out2).1),
            ck: self.out(temp, c3, r3).to_be_bytes(),
            ik: self.out(temp, c4, r4).to_be_bytes(),
            ak: first_48(out2),
        }
    }

    fn f5_star(&self, rand: &Rand) -> [u8; 6] {
        let [.., c5] = self.constants.c;
        let [.., r5] = self.constants.r;
        first_48(self.out(self.temp(rand), c5, r5))
    }
}

/// Keys stay out of traces and panics.
impl fmt::Debug for Milenage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Milenage").finish_non_exhaustive()
    }
}

/// OPc of one subscriber: OP ⊕ E\[OP\] under K (TS 35.206 §4.1).
#[must_use]
pub fn derive_opc(k: Key, op: [u8; 16]) -> [u8; 16] {
    let op = u128::from_be_bytes(op);
    (op ^ encrypt(&Aes128::new(&k.into()), op)).to_be_bytes()
}

fn encrypt(kernel: &Aes128, block: u128) -> u128 {
    let mut block = block.to_be_bytes().into();
    kernel.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

fn halves(out: u128) -> ([u8; 8], [u8; 8]) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = out.to_be_bytes();
    ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p])
}

fn first_48(out: u128) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = out.to_be_bytes();
    [a, b, c, d, e, f]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::functions::{from_hex, to_hex};
    use crate::auth::milenage_vectors::TEST_SETS;

    #[test]
    fn conformance_data_of_ts_35_208_come_out() {
        assert_eq!(TEST_SETS.len(), 20);
        for set in &TEST_SETS {
            let n = set.number;
            let rand: Rand = from_hex(set.rand).unwrap();
            let sqn = Sqn::from_bytes(from_hex(set.sqn).unwrap());
            let amf: Amf = from_hex(set.amf).unwrap();
            let k = from_hex(set.k).unwrap();
            let op = from_hex(set.op).unwrap();

            let opc = derive_opc(k, op);
            let by_op = Milenage::with_op(k, op);
            let by_opc = Milenage::new(k, opc);

            assert_eq!(to_hex(&opc), set.opc, "OPc of set {n}");
            for milenage in [by_op, by_opc] {
                let out = milenage.f2345(&rand);
                assert_eq!(to_hex(&milenage.f1(&rand, sqn, amf)), set.f1, "f1 of set {n}");
                let f1_star = to_hex(&milenage.f1_star(&rand, sqn, amf));
                assert_eq!(f1_star, set.f1_star, "f1* of set {n}");
                assert_eq!(to_hex(out.res.as_bytes()), set.f2, "f2 of set {n}");
                assert_eq!(to_hex(&out.ck), set.f3, "f3 of set {n}");
                assert_eq!(to_hex(&out.ik), set.f4, "f4 of set {n}");
                assert_eq!(to_hex(&out.ak), set.f5, "f5 of set {n}");
                assert_eq!(to_hex(&milenage.f5_star(&rand)), set.f5_star, "f5* of set {n}");
            }
        }
    }

    #[test]
    fn opc_of_the_lab_subscribers_is_derived() {
        let op = from_hex("CDC202D5123E20F62B6D676AC72CB318").unwrap();
        for (k, opc) in [
            ("30313233343536373839616263646566", "03ff93ae8298f016f239466547f71cb2"),
            ("66656463626139383736353433323130", "f572a728c3db0a0a653a79a6631259dd"),
        ] {
            assert_eq!(to_hex(&derive_opc(from_hex(k).unwrap(), op)), opc);
        }
    }

    #[test]
    fn every_constant_touches_exactly_its_own_functions() {
        let plain = Milenage::new([1; 16], [2; 16]);
        let (rand, sqn, amf) = ([3; 16], Sqn::from_bytes([4, 5, 6, 7, 8, 9]), [0x80, 0]);
        let all = |m: &Milenage| {
            let out = m.f2345(&rand);
            [
                m.f1(&rand, sqn, amf).to_vec(),
                out.res.as_bytes().to_vec(),
                out.ck.to_vec(),
                out.ik.to_vec(),
                m.f5_star(&rand).to_vec(),
            ]
        };
        for changed in 0..5 {
            for rotation in [false, true] {
                let mut constants = Constants::default();
                if rotation {
                    constants.r[changed] += 8;
                } else {
                    constants.c[changed] ^= 1 << 100;
                }
                let own = plain.clone().with_constants(constants);
                for (at, (a, b)) in all(&plain).iter().zip(all(&own)).enumerate() {
                    assert_eq!(*a != b, at == changed, "constant {changed}, output {at}");
                }
            }
        }
    }

    #[test]
    fn debug_text_holds_no_key() {
        assert_eq!(format!("{:?}", Milenage::new([0x41; 16], [0x42; 16])), "Milenage { .. }");
    }
}
