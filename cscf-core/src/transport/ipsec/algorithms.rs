//! The algorithms of ESP on Gm and their keys (TS 33.203 Annex H and Annex I; RFC 4303). Nothing is
//! encrypted here: the keys are for whoever carries packets.

use std::fmt;

use crate::auth::{Hash, Key, hmac};

/// An integrity algorithm, `alg` of Security-Client and Security-Server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Integrity {
    /// AES-GMAC with a 128-bit key (RFC 4543); stands alone, without encryption.
    AesGmac,
    /// HMAC-MD5-96 (RFC 2403); in the standard before Release 13.
    HmacMd5,
    /// HMAC-SHA-1-96 (RFC 2404).
    HmacSha1,
    /// None of its own: AES-GCM protects both.
    Null,
}

impl Integrity {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::HmacSha1, Self::HmacMd5, Self::AesGmac, Self::Null];

    /// Its name in the headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AesGmac => "aes-gmac",
            Self::HmacMd5 => "hmac-md5-96",
            Self::HmacSha1 => "hmac-sha-1-96",
            Self::Null => "null",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(name))
    }
}

/// An encryption algorithm, `ealg` of Security-Client and Security-Server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encryption {
    /// AES-CBC with a 128-bit key (RFC 3602).
    AesCbc,
    /// AES-GCM with a 128-bit key (RFC 4106); brings its own integrity.
    AesGcm,
    /// 3DES (RFC 2451); in the standard before Release 13.
    DesEde3Cbc,
    /// None.
    Null,
}

impl Encryption {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Null, Self::AesCbc, Self::DesEde3Cbc, Self::AesGcm];

    /// Its name in the headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AesCbc => "aes-cbc",
            Self::AesGcm => "aes-gcm",
            Self::DesEde3Cbc => "des-ede3-cbc",
            Self::Null => "null",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(name))
    }
}

/// An integrity and an encryption algorithm that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Algorithms {
    integrity: Integrity,
    encryption: Encryption,
}

impl Algorithms {
    /// The pair, if ESP may use it: integrity is never absent (TS 33.203 §6.3), AES-GMAC knows no
    /// encryption, and AES-GCM takes no second integrity algorithm.
    #[must_use]
    pub const fn new(integrity: Integrity, encryption: Encryption) -> Option<Self> {
        let fits = match (integrity, encryption) {
            (Integrity::HmacMd5 | Integrity::HmacSha1, Encryption::AesGcm) => false,
            (Integrity::HmacMd5 | Integrity::HmacSha1, _)
            | (Integrity::AesGmac, Encryption::Null)
            | (Integrity::Null, Encryption::AesGcm) => true,
            (Integrity::AesGmac | Integrity::Null, _) => false,
        };
        if fits { Some(Self { integrity, encryption }) } else { None }
    }

    /// All pairs there are.
    pub fn all() -> impl Iterator<Item = Self> {
        let all = Integrity::ALL.into_iter();
        all.flat_map(|one| Encryption::ALL.into_iter().filter_map(move |it| Self::new(one, it)))
    }

    /// The pair of these names, if both are known and go together.
    #[must_use]
    pub fn named(alg: &str, ealg: &str) -> Option<Self> {
        Self::new(Integrity::named(alg)?, Encryption::named(ealg)?)
    }

    /// The integrity algorithm.
    #[must_use]
    pub const fn integrity(self) -> Integrity {
        self.integrity
    }

    /// The encryption algorithm.
    #[must_use]
    pub const fn encryption(self) -> Encryption {
        self.encryption
    }

    /// Whether others cannot read what is protected by it.
    #[must_use]
    pub const fn is_confidential(self) -> bool {
        !matches!(self.encryption, Encryption::Null)
    }

    /// Whether it was taken out of the standard with Release 13 (TS 33.203 Annex H).
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        matches!(self.integrity, Integrity::HmacMd5)
            || matches!(self.encryption, Encryption::DesEde3Cbc)
    }
}

impl fmt::Display for Algorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.integrity.as_str(), self.encryption.as_str())
    }
}

/// The keys of all four security associations of a set (TS 33.203 §7.1: the same for both pairs).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EspKeys {
    /// Of the integrity algorithm; for AES-GMAC followed by the four octets of its salt.
    pub integrity: Vec<u8>,
    /// Of the encryption algorithm; for AES-GCM followed by the four octets of its salt.
    pub encryption: Vec<u8>,
}

impl fmt::Debug for EspKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = |key: &[u8]| key.len() * 8;
        write!(f, "EspKeys({}+{} bits)", bits(&self.integrity), bits(&self.encryption))
    }
}

impl EspKeys {
    /// Makes the keys of ESP from those of AKA (TS 33.203 Annex I; 3DES and HMAC-MD5 as in its
    /// releases before 13).
    #[must_use]
    pub fn expand(algorithms: Algorithms, ck: &Key, ik: &Key) -> Self {
        let integrity = match algorithms.integrity {
            Integrity::AesGmac => [&ik[..], &salt(0x58, b"AES_GMAC_SALT", ck, ik)].concat(),
            Integrity::HmacMd5 => ik.to_vec(),
            Integrity::HmacSha1 => [&ik[..], &[0; 4]].concat(),
            Integrity::Null => Vec::new(),
        };
        let encryption = match algorithms.encryption {
            Encryption::AesCbc => ck.to_vec(),
            Encryption::AesGcm => [&ck[..], &salt(0x59, b"AES_GCM_SALT", ck, ik)].concat(),
            Encryption::DesEde3Cbc => {
                let (ck1, ck2) = ck.split_at(8);
                [ck1, ck2, ck1].concat()
            }
            Encryption::Null => Vec::new(),
        };
        Self { integrity, encryption }
    }
}

/// The last 32 bits of the key derivation function of TS 33.220 Annex B over one parameter, keyed
/// with CK ‖ IK.
fn salt(fc: u8, name: &[u8], ck: &Key, ik: &Key) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or_default().to_be_bytes();
    let text = [&[fc], name, &length].concat();
    let derived = hmac(Hash::Sha256, &[&ck[..], &ik[..]].concat(), &text);
    derived.split_at(derived.len().saturating_sub(4)).1.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{from_hex, to_hex};

    const CK: &str = "b40ba9a3c58b2a05bbf0d987b21bf8cb";
    const IK: &str = "f769bcd751044604127672711c6d3441";

    fn expanded(alg: &str, ealg: &str) -> (String, String) {
        let algorithms = Algorithms::named(alg, ealg).expect("go together");
        let (ck, ik) = (from_hex(CK).expect("hex"), from_hex(IK).expect("hex"));
        let keys = EspKeys::expand(algorithms, &ck, &ik);
        (to_hex(&keys.integrity), to_hex(&keys.encryption))
    }

    /// CK and IK are those of test set 1 of TS 35.207. The salts by Python:
    /// `hmac.new(ck+ik, b"\x58AES_GMAC_SALT\0\x0d", "sha256").digest()[-4:]`.
    #[test]
    fn keys_of_aka_become_keys_of_esp() {
        let none = String::new();
        assert_eq!(expanded("hmac-md5-96", "null"), (IK.to_owned(), none.clone()));
        assert_eq!(expanded("hmac-sha-1-96", "aes-cbc"), (format!("{IK}00000000"), CK.to_owned()));
        let tripled = "b40ba9a3c58b2a05bbf0d987b21bf8cbb40ba9a3c58b2a05".to_owned();
        assert_eq!(expanded("hmac-md5-96", "des-ede3-cbc"), (IK.to_owned(), tripled));
        assert_eq!(expanded("aes-gmac", "null"), (format!("{IK}dbc2b1c2"), none.clone()));
        assert_eq!(expanded("null", "aes-gcm"), (none, format!("{CK}89273db6")));
    }

    #[test]
    fn only_pairs_that_protect_are_pairs() {
        for (alg, ealg) in [
            ("null", "null"),
            ("null", "aes-cbc"),
            ("aes-gmac", "aes-cbc"),
            ("hmac-sha-1-96", "aes-gcm"),
            ("hmac-sha-256", "null"),
            ("hmac-md5-96", "rot13"),
        ] {
            assert_eq!(Algorithms::named(alg, ealg), None, "{alg}/{ealg}");
        }
        let sha = Algorithms::named("HMAC-SHA-1-96", "NULL").expect("case does not matter");
        assert_eq!((sha.to_string(), sha.is_legacy()), ("hmac-sha-1-96/null".to_owned(), false));
    }
}
