//! The arithmetic of HTTP digest for SIP (RFC 7616 §3.4, RFC 8760, RFC 2617 for clients without
//! qop): algorithms, H(A1), response, rspauth, and the check of nonce counts. Header fields are
//! in `credentials`.

use std::fmt;
use std::str::FromStr;

use md5::Md5;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512_256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::auth::aka::AkaVersion;
use crate::auth::functions::to_hex;

/// A hash function of digest authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// MD5, the only one every SIP client has.
    Md5,
    /// SHA-256 (RFC 8760 §2.1).
    Sha256,
    /// SHA-512 cut to 256 bits (RFC 8760 §2.1).
    Sha512_256,
}

impl Hash {
    /// The hash of the concatenation of `parts`.
    #[must_use]
    pub fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Md5 => hash_of::<Md5>(parts),
            Self::Sha256 => hash_of::<Sha256>(parts),
            Self::Sha512_256 => hash_of::<Sha512_256>(parts),
        }
    }

    /// Octets in a block of the hash, as HMAC needs it (RFC 2104 §2).
    #[must_use]
    pub const fn block_length(self) -> usize {
        match self {
            Self::Md5 | Self::Sha256 => 64,
            Self::Sha512_256 => 128,
        }
    }

    /// Hexadecimal digits of a result.
    #[must_use]
    pub const fn hex_length(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 | Self::Sha512_256 => 64,
        }
    }

    /// The hash of `fields` with colons between them, in lower-case hexadecimal: the form of
    /// every step of digest (RFC 7616 §3.3).
    fn joined(self, fields: &[&[u8]]) -> String {
        let mut parts: Vec<&[u8]> = Vec::with_capacity(2 * fields.len());
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                parts.push(b":");
            }
            parts.push(field);
        }
        to_hex(&self.of(&parts))
    }
}

fn hash_of<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = D::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// The value of the `algorithm` parameter, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Algorithm {
    /// Where the password comes from: AKA of this version, or else a shared secret.
    pub aka: Option<AkaVersion>,
    /// The hash function.
    pub hash: Hash,
    /// Whether H(A1) takes in nonce and cnonce: the `-sess` variant (RFC 7616 §3.4.2).
    pub session: bool,
}

impl Algorithm {
    /// `MD5`, also meant where the parameter is absent (RFC 7616 §3.3).
    pub const MD5: Self = Self { aka: None, hash: Hash::Md5, session: false };
    /// `SHA-256`.
    pub const SHA_256: Self = Self { aka: None, hash: Hash::Sha256, session: false };
    /// `SHA-512-256`.
    pub const SHA_512_256: Self = Self { aka: None, hash: Hash::Sha512_256, session: false };
    /// `AKAv1-MD5`, the algorithm of IMS AKA (TS 24.229 §5.4.1.2.1).
    pub const AKAV1_MD5: Self = Self { aka: Some(AkaVersion::V1), hash: Hash::Md5, session: false };
    /// `AKAv2-MD5` (RFC 4169 §3).
    pub const AKAV2_MD5: Self = Self { aka: Some(AkaVersion::V2), hash: Hash::Md5, session: false };
    /// `AKAv2-SHA-256` (TS 24.229 §5.4.1.2.1).
    pub const AKAV2_SHA_256: Self =
        Self { aka: Some(AkaVersion::V2), hash: Hash::Sha256, session: false };
}

/// The registered spelling.
impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.aka {
            None => "",
            Some(AkaVersion::V1) => "AKAv1-",
            Some(AkaVersion::V2) => "AKAv2-",
        })?;
        f.write_str(match self.hash {
            Hash::Md5 => "MD5",
            Hash::Sha256 => "SHA-256",
            Hash::Sha512_256 => "SHA-512-256",
        })?;
        f.write_str(if self.session { "-sess" } else { "" })
    }
}

/// Reads any case, as tokens are compared without it (RFC 3261 §7.3.1).
impl FromStr for Algorithm {
    type Err = AlgorithmUnknown;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        let rest = lower.as_str();
        let (aka, rest) = if let Some(rest) = rest.strip_prefix("akav1-") {
            (Some(AkaVersion::V1), rest)
        } else if let Some(rest) = rest.strip_prefix("akav2-") {
            (Some(AkaVersion::V2), rest)
        } else {
            (None, rest)
        };
        let (rest, session) = match rest.strip_suffix("-sess") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let hash = match rest {
            "md5" => Hash::Md5,
            "sha-256" => Hash::Sha256,
            "sha-512-256" => Hash::Sha512_256,
            _ => return Err(AlgorithmUnknown(text.chars().take(64).collect())),
        };
        Ok(Self { aka, hash, session })
    }
}

/// An `algorithm` nobody here knows; a client ignores such a challenge (RFC 7616 §3.3).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the digest algorithm {0:?} is not known")]
pub struct AlgorithmUnknown(
    /// The first 64 characters of the value.
    pub String,
);

/// Quality of protection (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qop {
    /// Authentication.
    Auth,
    /// Authentication, and integrity of the body.
    AuthInt,
}

impl Qop {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }

    /// Reads one token of any case; `None` for one nobody here knows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        [Self::Auth, Self::AuthInt].into_iter().find(|qop| text.eq_ignore_ascii_case(qop.as_str()))
    }
}

/// H(A1) of user, realm and password, before nonce and cnonce come in (RFC 7616 §3.4.2).
///
/// This is what the SIP-Digest-Authenticate AVP hands to the S-CSCF (TS 29.229 §6.3).
#[derive(Clone)]
pub struct Ha1 {
    hash: Hash,
    hex: String,
}

impl Ha1 {
    /// From the password in octets: RES of AKAv1 is not text (RFC 3310 §3.3).
    ///
    /// `username` and `realm` are the quoted strings of the header fields without their quotes.
    #[must_use]
    pub fn new(hash: Hash, username: &str, realm: &str, password: &[u8]) -> Self {
        let hex = hash.joined(&[username.as_bytes(), realm.as_bytes(), password]);
        Self { hash, hex }
    }

    /// From the hexadecimal text of a Digest-HA1 AVP; `None` unless it has the digits of `hash`.
    #[must_use]
    pub fn from_hex(hash: Hash, text: &str) -> Option<Self> {
        let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        (digits && text.len() == hash.hex_length())
            .then(|| Self { hash, hex: text.to_ascii_lowercase() })
    }

    /// The hash it was made with.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// In lower-case hexadecimal, for the Digest-HA1 AVP. As good as the password: not for traces.
    #[must_use]
    pub fn as_hex(&self) -> &str {
        &self.hex
    }
}

/// Takes the same time wherever the two differ.
impl PartialEq for Ha1 {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.hex.as_bytes().ct_eq(other.hex.as_bytes()).into()
    }
}

impl Eq for Ha1 {}

/// Stays out of traces: who has H(A1) can answer as the user.
impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ha1").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// What a response covers besides H(A1), each as it stands in the header field without quotes.
#[derive(Clone, Copy, Debug)]
pub struct ResponseInput<'a> {
    /// Whether nonce and cnonce go into H(A1).
    pub session: bool,
    /// The request's method, in its own case.
    pub method: &'a str,
    /// The `uri` parameter, not the Request-URI (RFC 7616 §3.4.6).
    pub uri: &'a str,
    /// The server's nonce.
    pub nonce: &'a str,
    /// `None` for the form of old without nc and cnonce (RFC 2617 §3.2.2.1).
    pub qop: Option<Qop>,
    /// Eight digits; unused without `qop`.
    pub nc: &'a str,
    /// The client's nonce; used with `qop` and by `-sess`.
    pub cnonce: &'a str,
    /// The body of the message, covered by `auth-int` only.
    pub body: &'a [u8],
}

/// The `response` of a request, in lower-case hexadecimal (RFC 7616 §3.4.1).
#[must_use]
pub fn response(ha1: &Ha1, input: &ResponseInput<'_>) -> String {
    request_digest(ha1, input, input.method)
}

/// The `rspauth` of an answer: as the response, but without the method and over the body of the
/// answer (RFC 7616 §3.5).
#[must_use]
pub fn rspauth(ha1: &Ha1, input: &ResponseInput<'_>) -> String {
    request_digest(ha1, input, "")
}

fn request_digest(ha1: &Ha1, input: &ResponseInput<'_>, method: &str) -> String {
    let hash = ha1.hash;
    let (nonce, cnonce) = (input.nonce.as_bytes(), input.cnonce.as_bytes());
    let a1 = if input.session {
        hash.joined(&[ha1.hex.as_bytes(), nonce, cnonce])
    } else {
        ha1.hex.clone()
    };
    let a2 = match input.qop {
        Some(Qop::AuthInt) => {
            let body = to_hex(&hash.of(&[input.body]));
            hash.joined(&[method.as_bytes(), input.uri.as_bytes(), body.as_bytes()])
        }
        None | Some(Qop::Auth) => hash.joined(&[method.as_bytes(), input.uri.as_bytes()]),
    };
    let (a1, a2) = (a1.as_bytes(), a2.as_bytes());
    match input.qop {
        Some(qop) => {
            let qop = qop.as_str().as_bytes();
            hash.joined(&[a1, nonce, input.nc.as_bytes(), cnonce, qop, a2])
        }
        None => hash.joined(&[a1, nonce, a2]),
    }
}

/// Whether two hexadecimal digests are the same, in a time that does not tell where they differ.
/// Upper-case digits are taken too: some clients write them.
#[must_use]
pub fn same_digest(received: &str, expected: &str) -> bool {
    let received = received.to_ascii_lowercase();
    !expected.is_empty() && bool::from(received.as_bytes().ct_eq(expected.as_bytes()))
}

/// The nonce counts seen with one nonce; each must be greater than the last (RFC 7616 §3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NonceCounter {
    last: u32,
}

impl NonceCounter {
    /// Reads `nc` and checks that it is above the last one accepted, without accepting it.
    ///
    /// # Errors
    ///
    /// [`NonceCountError`]; after a replay the server challenges again with `stale=TRUE`.
    pub fn check(self, nc: &str) -> Result<u32, NonceCountError> {
        let digits = nc.bytes().all(|digit| digit.is_ascii_hexdigit());
        let count = u32::from_str_radix(nc, 16).ok().filter(|_| digits && nc.len() == 8);
        let Some(count) = count else {
            return Err(NonceCountError::Malformed(nc.chars().take(16).collect()));
        };
        if count > self.last {
            Ok(count)
        } else {
            Err(NonceCountError::NotGreater { found: count, last: self.last })
        }
    }

    /// Checks `nc` and remembers it. Only for a request whose response is right: else anybody
    /// could use the counts up.
    ///
    /// # Errors
    ///
    /// As [`Self::check`]; nothing is remembered then.
    pub fn accept(&mut self, nc: &str) -> Result<u32, NonceCountError> {
        self.last = self.check(nc)?;
        Ok(self.last)
    }

    /// The client's side: the next count as text, or `None` when the nonce is used up.
    pub fn next_count(&mut self) -> Option<String> {
        self.last = self.last.checked_add(1)?;
        Some(format!("{:08x}", self.last))
    }
}

/// What is wrong with a nonce count.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NonceCountError {
    /// Not eight hexadecimal digits.
    #[error("nc {0:?} is not eight hexadecimal digits")]
    Malformed(String),
    /// A replay.
    #[error("nc {found:08x} is not above {last:08x}")]
    NotGreater {
        /// The count received.
        found: u32,
        /// The last one accepted.
        last: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Request of RFC 2617 §3.5 and RFC 7616 §3.9.
    fn http<'a>(nonce: &'a str, cnonce: &'a str) -> ResponseInput<'a> {
        ResponseInput {
            session: false,
            method: "GET",
            uri: "/dir/index.html",
            nonce,
            qop: Some(Qop::Auth),
            nc: "00000001",
            cnonce,
            body: b"",
        }
    }

    #[test]
    fn example_of_rfc_2617_comes_out() {
        let input = http("dcd98b7102dd2f0e8b11d0f600bfb0c093", "0a4f113b");
        let ha1 = Ha1::new(Hash::Md5, "Mufasa", "testrealm@host.com", b"Circle Of Life");
        assert_eq!(ha1.as_hex(), "939e7578ed9e3c518a452acee763bce9");
        assert_eq!(response(&ha1, &input), "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn examples_of_rfc_7616_come_out() {
        let input = http(
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        );
        for (hash, expected) in [
            (Hash::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Hash::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let ha1 = Ha1::new(hash, "Mufasa", "http-auth@example.org", b"Circle of Life");
            assert_eq!(response(&ha1, &input), expected, "{hash:?}");
        }
    }

    #[test]
    fn example_of_rfc_7616_with_sha_512_256_comes_out() {
        // The user's name is "Jäsøn Doe"; the response is that of erratum 4897.
        let input = ResponseInput {
            uri: "/doe.json",
            ..http(
                "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
                "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            )
        };
        let password = b"Secret, or not?";
        let ha1 = Ha1::new(Hash::Sha512_256, "J\u{e4}s\u{f8}n Doe", "api@example.org", password);
        assert_eq!(
            response(&ha1, &input),
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
        );
    }

    #[test]
    fn algorithms_are_read_in_any_case_and_printed_as_registered() {
        for text in [
            "MD5",
            "MD5-sess",
            "SHA-256",
            "SHA-256-sess",
            "SHA-512-256",
            "SHA-512-256-sess",
            "AKAv1-MD5",
            "AKAv1-MD5-sess",
            "AKAv2-MD5",
            "AKAv2-SHA-256",
        ] {
            let algorithm: Algorithm = text.parse().unwrap();
            assert_eq!(algorithm.to_string(), text);
            assert_eq!(text.to_ascii_uppercase().parse(), Ok(algorithm));
            assert_eq!(text.to_ascii_lowercase().parse(), Ok(algorithm));
        }
        for text in ["", "SHA", "AKAv3-MD5", "AKAv1", "MD5-", "MD5-sess-sess", "AKAv1-AKAv2-MD5"] {
            assert!(text.parse::<Algorithm>().is_err(), "{text}");
        }
        assert_eq!("AKAv1-MD5".parse(), Ok(Algorithm::AKAV1_MD5));
        assert_eq!("AKAv2-SHA-256".parse(), Ok(Algorithm::AKAV2_SHA_256));
    }

    #[test]
    fn digests_are_compared_without_case_and_never_with_nothing() {
        assert!(same_digest("00AaFf", "00aaff"));
        assert!(!same_digest("00aafe", "00aaff"));
        assert!(!same_digest("00aaf", "00aaff"));
        assert!(!same_digest("", ""));
    }

    #[test]
    fn ha1_of_the_home_subscriber_server_is_checked() {
        let hex = "939E7578ED9E3C518A452ACEE763BCE9";
        let ha1 = Ha1::from_hex(Hash::Md5, hex).unwrap();
        assert_eq!(ha1, Ha1::new(Hash::Md5, "Mufasa", "testrealm@host.com", b"Circle Of Life"));
        assert!(Ha1::from_hex(Hash::Sha256, hex).is_none());
        assert!(Ha1::from_hex(Hash::Md5, "939E7578ED9E3C518A452ACEE763BCEg").is_none());
        assert!(!format!("{ha1:?}").contains("939e"));
    }

    #[test]
    fn nonce_count_grows_strictly() {
        let mut counter = NonceCounter::default();
        assert_eq!(counter.accept("00000001"), Ok(1));
        for nc in ["00000001", "00000000"] {
            assert!(matches!(counter.accept(nc), Err(NonceCountError::NotGreater { .. })));
        }
        assert_eq!(counter.check("0000000A"), Ok(10));
        assert_eq!(counter.accept("00000003"), Ok(3));
        assert!(counter.accept("00000002").is_err());
        for nc in ["", "4", "+0000004", "0000000g", "000000004", "\u{e9}000004"] {
            assert!(matches!(counter.accept(nc), Err(NonceCountError::Malformed(_))), "{nc}");
        }
        assert_eq!(counter.accept("ffffffff"), Ok(u32::MAX));
        assert_eq!(counter.next_count(), None);
        assert_eq!(NonceCounter::default().next_count().as_deref(), Some("00000001"));
    }
}
