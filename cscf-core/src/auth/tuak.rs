//! TUAK, the second algorithm set of 3GPP (TS 35.231): f1, f1*, f2, f3, f4, f5 and f5* from K and
//! `TOPc` with the permutation Keccak-f\[1600\] as kernel. MAC, CK and IK have the lengths that IMS
//! uses (64, 128 and 128 bits); RES may have 32, 64 or 128 bits.

use std::fmt;

use crate::auth::functions::{AkaFunctions, Amf, Key, Outputs, Rand, Res, join};
use crate::auth::sequence::Sqn;

/// The operator's value TOP, or `TOPc` derived from it: 256 bits (TS 35.231 §6.1).
pub type Topc = [u8; 32];

/// Octets of the state of Keccak-f\[1600\].
const STATE: usize = 200;
/// ALGONAME (TS 35.231 §6.2).
const NAME: [u8; 7] = *b"TUAK1.0";

/// INSTANCE of each function; the length of RES and of K are added (TS 35.231 §6.3 to §6.7).
mod instance {
    pub(super) const TOPC: u8 = 0x00;
    /// With a MAC of 64 bits.
    pub(super) const F1: u8 = 0x08;
    /// With a MAC of 64 bits.
    pub(super) const F1_STAR: u8 = 0x88;
    pub(super) const F2345: u8 = 0x40;
    pub(super) const F5_STAR: u8 = 0xc0;
    pub(super) const KEY_256: u8 = 0x01;
}

/// A subscriber key for TUAK.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TuakKey {
    /// 128 bits.
    Bits128(Key),
    /// 256 bits.
    Bits256([u8; 32]),
}

impl TuakKey {
    /// The key in octets, with zeros behind a short one, and its bit in INSTANCE.
    fn padded(&self) -> ([u8; 32], u8) {
        match self {
            Self::Bits128(k) => (join(*k, [0; 16]), 0),
            Self::Bits256(k) => (*k, instance::KEY_256),
        }
    }
}

/// Keys stay out of traces and panics.
impl fmt::Debug for TuakKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bits128(_) => "Bits128(..)",
            Self::Bits256(_) => "Bits256(..)",
        })
    }
}

/// How many bits RES has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResLength {
    /// 32 bits.
    Bits32,
    /// 64 bits.
    #[default]
    Bits64,
    /// 128 bits.
    Bits128,
}

impl ResLength {
    /// The number of bits.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::Bits32 => 32,
            Self::Bits64 => 64,
            Self::Bits128 => 128,
        }
    }

    const fn instance(self) -> u8 {
        match self {
            Self::Bits32 => 0x00,
            Self::Bits64 => 0x08,
            Self::Bits128 => 0x10,
        }
    }
}

/// TUAK with the keys of one subscription.
#[derive(Clone)]
pub struct Tuak {
    k: TuakKey,
    topc: Topc,
    res: ResLength,
    iterations: u8,
}

impl Tuak {
    /// With the subscriber key K and the derived operator value `TOPc`; RES of 64 bits, one
    /// iteration of Keccak.
    #[must_use]
    pub const fn new(k: TuakKey, topc: Topc) -> Self {
        Self { k, topc, res: ResLength::Bits64, iterations: 1 }
    }

    /// With K and the operator's value TOP, from which `TOPc` is derived here.
    #[must_use]
    pub fn with_top(k: TuakKey, top: Topc, iterations: u8) -> Self {
        Self::new(k, derive_topc(&k, top, iterations)).with_iterations(iterations)
    }

    /// With another length of RES.
    #[must_use]
    pub const fn with_res(mut self, res: ResLength) -> Self {
        self.res = res;
        self
    }

    /// With so many iterations of Keccak, at least one, as the operator has chosen
    /// (TS 35.231 §7.3).
    #[must_use]
    pub const fn with_iterations(mut self, iterations: u8) -> Self {
        self.iterations = if iterations == 0 { 1 } else { iterations };
        self
    }

    /// The first half of OUT for a function, with what it takes besides RAND.
    fn out(&self, function: u8, rand: &Rand, sqn: [u8; 6], amf: Amf) -> Output {
        let (k, bits) = self.k.padded();
        let input = Input { top: self.topc, function: function | bits, rand: *rand, amf, sqn, k };
        input.run(self.iterations)
    }

    fn f1_of(&self, function: u8, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        self.out(function, rand, sqn.to_bytes(), amf).field(0)
    }
}

impl AkaFunctions for Tuak {
    fn f1(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        self.f1_of(instance::F1, rand, sqn, amf)
    }

    fn f1_star(&self, rand: &Rand, sqn: Sqn, amf: Amf) -> [u8; 8] {
        self.f1_of(instance::F1_STAR, rand, sqn, amf)
    }

    fn f2345(&self, rand: &Rand) -> Outputs {
        let out = self.out(instance::F2345 | self.res.instance(), rand, [0; 6], [0; 2]);
        let res = match self.res {
            ResLength::Bits32 => Res::new(&out.field::<4>(0)),
            ResLength::Bits64 => Res::new(&out.field::<8>(0)),
            ResLength::Bits128 => Res::new(&out.field::<16>(0)),
        };
        debug_assert!(res.is_some_and(|res| 8 * res.as_bytes().len() == self.res.bits()));
        Outputs {
            res: res.unwrap_or_else(|| Res::from([0; 16])),
            ck: out.field(32),
            ik: out.field(64),
            ak: out.field(96),
        }
    }

    fn f5_star(&self, rand: &Rand) -> [u8; 6] {
        self.out(instance::F5_STAR, rand, [0; 6], [0; 2]).field(96)
    }
}

/// Keys stay out of traces and panics.
impl fmt::Debug for Tuak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tuak").finish_non_exhaustive()
    }
}

/// `TOPc` of one subscriber (TS 35.231 §6.2).
#[must_use]
pub fn derive_topc(k: &TuakKey, top: Topc, iterations: u8) -> Topc {
    let (k, bits) = k.padded();
    let function = instance::TOPC | bits;
    Input { top, function, rand: [0; 16], amf: [0; 2], sqn: [0; 6], k }.run(iterations).field(0)
}

/// IN of the permutation, field by field; each stands in it with its last octet first
/// (TS 35.231 §6, TS 35.232 §4).
struct Input {
    top: Topc,
    function: u8,
    rand: Rand,
    amf: Amf,
    sqn: [u8; 6],
    k: [u8; 32],
}

impl Input {
    fn run(&self, iterations: u8) -> Output {
        let back = |field: &[u8]| field.iter().rev().copied().collect::<Vec<u8>>();
        let mut octets = back(&self.top);
        octets.push(self.function);
        octets.extend(back(&NAME));
        octets.extend(back(&self.rand));
        octets.extend(back(&self.amf));
        octets.extend(back(&self.sqn));
        // A key of 128 bits is followed by zeros, not preceded.
        let (low, high) = self.k.split_at(16);
        if self.function & instance::KEY_256 == 0 {
            octets.extend(back(low));
            octets.extend(back(high));
        } else {
            octets.extend(back(&self.k));
        }
        octets.push(0x1f);
        octets.resize(135, 0);
        octets.push(0x80);
        octets.resize(STATE, 0);
        let mut lanes = Lanes::of(&octets);
        for _ in 0..iterations.max(1) {
            lanes.permute();
        }
        Output(lanes.octets())
    }
}

/// OUT of the permutation.
struct Output(Vec<u8>);

impl Output {
    /// The field of `N` octets that begins at this octet.
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        for (to, from) in out.iter_mut().rev().zip(self.0.iter().skip(at)) {
            *to = *from;
        }
        out
    }
}

/// The state of Keccak-f\[1600\]: five planes of five lanes (FIPS 202 §3.1).
struct Lanes([[u64; 5]; 5]);

/// How far each lane is turned (FIPS 202 table 2), plane by plane.
const TURNS: [[u32; 5]; 5] = [
    [0, 1, 62, 28, 27],
    [36, 44, 6, 55, 20],
    [3, 10, 43, 25, 39],
    [41, 45, 15, 21, 8],
    [18, 2, 61, 56, 14],
];

/// The round constants (FIPS 202 §3.2.5).
const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

impl Lanes {
    fn of(octets: &[u8]) -> Self {
        let mut lanes = [[0; 5]; 5];
        let all = lanes.iter_mut().flatten();
        for (lane, octets) in all.zip(octets.chunks_exact(8)) {
            *lane = octets.iter().rev().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
        }
        Self(lanes)
    }

    fn octets(&self) -> Vec<u8> {
        self.0.iter().flatten().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    fn permute(&mut self) {
        for constant in ROUNDS {
            self.theta();
            self.rho_pi();
            self.chi();
            let [[first, ..], ..] = &mut self.0;
            *first ^= constant;
        }
    }

    fn theta(&mut self) {
        let mut columns = [0_u64; 5];
        for plane in &self.0 {
            for (column, lane) in columns.iter_mut().zip(plane) {
                *column ^= lane;
            }
        }
        let [a, b, c, d, e] = columns;
        let turn = |lane: u64| lane.rotate_left(1);
        let mix = [e ^ turn(b), a ^ turn(c), b ^ turn(d), c ^ turn(e), d ^ turn(a)];
        for plane in &mut self.0 {
            for (lane, mix) in plane.iter_mut().zip(mix) {
                *lane ^= mix;
            }
        }
    }

    /// Lane x of plane y comes from lane x + 3y of plane x, turned.
    fn rho_pi(&mut self) {
        let old = self.0;
        for (y, plane) in self.0.iter_mut().enumerate() {
            let sources = old.iter().zip(TURNS).enumerate();
            for (lane, (x, (from, turns))) in plane.iter_mut().zip(sources) {
                let at = (x + 3 * y) % 5;
                let value = from.get(at).copied().unwrap_or_default();
                *lane = value.rotate_left(turns.get(at).copied().unwrap_or_default());
            }
        }
    }

    fn chi(&mut self) {
        for plane in &mut self.0 {
            let [a, b, c, d, e] = *plane;
            *plane = [a ^ (!b & c), b ^ (!c & d), c ^ (!d & e), d ^ (!e & a), e ^ (!a & b)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::functions::{from_hex, to_hex};
    use crate::auth::tuak_vectors::{F1_SETS, F2345_SETS, KECCAK_SETS};

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|at| from_hex::<1>(&hex[2 * at..2 * at + 2]).unwrap()[0]).collect()
    }

    fn key(hex: &str) -> TuakKey {
        match hex.len() {
            32 => TuakKey::Bits128(from_hex(hex).unwrap()),
            _ => TuakKey::Bits256(from_hex(hex).unwrap()),
        }
    }

    fn sqn(hex: &str) -> Sqn {
        Sqn::from_bytes(from_hex(hex).unwrap())
    }

    #[test]
    fn keccak_agrees_with_the_data_of_ts_35_232() {
        for (number, (before, after)) in (1..).zip(KECCAK_SETS) {
            let mut lanes = Lanes::of(&bytes(before));
            lanes.permute();
            assert_eq!(to_hex(&lanes.octets()), after, "set {number}");
        }
    }

    #[test]
    fn f1_agrees_with_the_data_of_ts_35_233() {
        for set in F1_SETS {
            let tuak = Tuak::with_top(key(set.k), from_hex(set.top).unwrap(), set.iterations);
            let name = set.number;
            assert_eq!(to_hex(&tuak.topc), set.topc, "set {name}");
            let (rand, amf) = (from_hex(set.rand).unwrap(), from_hex(set.amf).unwrap());
            // Longer MACs than IMS has are INSTANCE 0x10 and 0x20.
            let length = set.f1.len() / 2;
            let long = u8::try_from(length).unwrap();
            let sqn_octets = sqn(set.sqn).to_bytes();
            let mac = |star: u8| {
                let out: [u8; 32] = tuak.out(long | star, &rand, sqn_octets, amf).field(0);
                to_hex(&out[32 - length..])
            };
            assert_eq!((mac(0).as_str(), mac(0x80).as_str()), (set.f1, set.f1_star), "set {name}");
            if length == 8 {
                assert_eq!(to_hex(&tuak.f1(&rand, sqn(set.sqn), amf)), set.f1);
                assert_eq!(to_hex(&tuak.f1_star(&rand, sqn(set.sqn), amf)), set.f1_star);
            }
        }
    }

    #[test]
    fn f2_to_f5_agree_with_the_data_of_ts_35_233() {
        let mut whole = 0;
        for set in F2345_SETS {
            let tuak = Tuak::with_top(key(set.k), from_hex(set.top).unwrap(), set.iterations);
            let rand = from_hex(set.rand).unwrap();
            let name = set.number;
            let lengths = [set.f2, set.f3, set.f4].map(|field| field.len() / 2);
            let [res, ck, ik] = lengths;
            // RES of 256 bits is 0x20; CK and IK of 256 bits are 0x04 and 0x02.
            let of_res = if res == 4 { 0 } else { u8::try_from(res).unwrap() };
            let function = instance::F2345
                | of_res
                | if ck == 32 { 0x04 } else { 0 }
                | if ik == 32 { 0x02 } else { 0 };
            let out = tuak.out(function, &rand, [0; 6], [0; 2]);
            let field = |at: usize, length: usize| {
                let field: [u8; 32] = out.field(at);
                to_hex(&field[32 - length..])
            };
            assert_eq!(field(0, res), set.f2, "set {name}");
            assert_eq!(field(32, ck), set.f3, "set {name}");
            assert_eq!(field(64, ik), set.f4, "set {name}");
            assert_eq!(to_hex(&out.field::<6>(96)), set.f5, "set {name}");
            assert_eq!(to_hex(&tuak.f5_star(&rand)), set.f5_star, "set {name}");
            let length = match res {
                4 => ResLength::Bits32,
                8 => ResLength::Bits64,
                16 => ResLength::Bits128,
                _ => continue,
            };
            if (ck, ik) == (16, 16) {
                let made = tuak.with_res(length).f2345(&rand);
                assert_eq!(to_hex(made.res.as_bytes()), set.f2, "set {name}");
                assert_eq!((to_hex(&made.ck), to_hex(&made.ik)), (set.f3.into(), set.f4.into()));
                whole += 1;
            }
        }
        assert_eq!(whole, 3, "sets with the lengths of IMS");
    }
}
