//! The keys of a subscription with the algorithm set they are for, and the sets as one type, so
//! that an HSS and a UE take whichever a card has (TS 33.102 §6.3).

use std::fmt;

use crate::auth::functions::{AkaFunctions, Amf, Key, Outputs, Rand};
use crate::auth::milenage::Milenage;
use crate::auth::sequence::Sqn;
use crate::auth::tuak::{ResLength, Topc, Tuak, TuakKey};
use crate::auth::xor::XorTest;

/// What a card and its HSS share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AkaKeys {
    /// For Milenage (TS 35.206).
    Milenage {
        /// The subscriber key.
        k: Key,
        /// The derived operator value.
        opc: [u8; 16],
    },
    /// For TUAK (TS 35.231).
    Tuak {
        /// The subscriber key.
        k: TuakKey,
        /// The derived operator value.
        topc: Topc,
        /// The length of RES.
        res: ResLength,
        /// Iterations of Keccak, at least one.
        iterations: u8,
    },
    /// For the test algorithm (TS 34.108 §8.1.2).
    Xor {
        /// The test key.
        k: Key,
    },
}

impl AkaKeys {
    /// The algorithm set with these keys.
    #[must_use]
    pub fn functions(&self) -> AkaSet {
        match *self {
            Self::Milenage { k, opc } => AkaSet::Milenage(Box::new(Milenage::new(k, opc))),
            Self::Tuak { k, topc, res, iterations } => {
                AkaSet::Tuak(Tuak::new(k, topc).with_res(res).with_iterations(iterations))
            }
            Self::Xor { k } => AkaSet::Xor(XorTest::new(k)),
        }
    }
}

/// The name of the algorithm set only: keys stay out of traces and panics.
impl fmt::Debug for AkaKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Milenage { .. } => "Milenage(..)",
            Self::Tuak { .. } => "Tuak(..)",
            Self::Xor { .. } => "Xor(..)",
        })
    }
}

/// An algorithm set with its keys.
#[derive(Clone, Debug)]
pub enum AkaSet {
    /// Milenage.
    Milenage(Box<Milenage>),
    /// TUAK.
    Tuak(Tuak),
    /// The test algorithm.
    Xor(XorTest),
}

impl AkaSet {
    fn inner(&self) -> &dyn AkaFunctions {
        match self {
            Self::Milenage(set) => set.as_ref(),
            Self::Tuak(set) => set,
            Self::Xor(set) => set,
        }
    }
}

impl AkaFunctions for AkaSet {
    fn f1(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        self.inner().f1(rand, sqn, amf)
    }

    fn f1_star(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        self.inner().f1_star(rand, sqn, amf)
    }

    fn f2345(&self, rand: &Rand) -> Outputs {
        self.inner().f2345(rand)
    }

    fn f5_star(&self, rand: &Rand) -> [u8; 6] {
        self.inner().f5_star(rand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AMF_SEPARATION, AuthVector, FreshnessCheck, Usim};

    #[test]
    fn a_card_of_every_kind_accepts_the_vectors_of_its_keys_only() {
        let k = [0x11; 16];
        let tuak = |res| AkaKeys::Tuak {
            k: TuakKey::Bits256([0x22; 32]),
            topc: [0x33; 32],
            res,
            iterations: 1,
        };
        let all = [
            AkaKeys::Milenage { k, opc: [0x44; 16] },
            tuak(ResLength::Bits32),
            tuak(ResLength::Bits128),
            AkaKeys::Xor { k },
        ];
        for (number, keys) in all.iter().enumerate() {
            let sqn = Sqn::from_parts(1, 0, Default::default()).unwrap();
            let vector = AuthVector::generate(&keys.functions(), [9; 16], sqn, AMF_SEPARATION);
            for (other, keys) in all.iter().enumerate() {
                let mut usim = Usim::new(keys.functions(), FreshnessCheck::default());
                let answer = usim.authenticate(&vector.rand, &vector.autn);
                // With TUAK the length of RES changes AK, and so what SQN is read.
                assert_eq!(answer.is_ok(), number == other, "{number} {other}");
            }
        }
        assert_eq!(format!("{:?}", all[0]), "Milenage(..)");
    }
}
