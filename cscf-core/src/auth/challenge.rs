//! Challenges, the values of WWW-Authenticate and Proxy-Authenticate (RFC 3261 §22,
//! RFC 7616 §3.3, with the keys for the P-CSCF of TS 24.229 §7.2A.1).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::auth::digest::{Algorithm, AlgorithmUnknown, Qop};
use crate::auth::functions::{Key, from_hex, to_hex};
use crate::auth::params::{AuthHeaderError, AuthParams};

/// A challenge: the value of WWW-Authenticate or Proxy-Authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// All parameters in order.
    pub params: AuthParams,
}

impl Challenge {
    /// A challenge with qop `auth`.
    #[must_use]
    pub fn new(realm: &str, nonce: &str, algorithm: Algorithm) -> Self {
        let mut params = AuthParams::with_room(realm.len() + nonce.len());
        params.set("realm", realm);
        params.set("nonce", nonce);
        params.set("algorithm", &algorithm.to_string());
        params.set("qop", Qop::Auth.as_str());
        Self { params }
    }

    /// Offers these qualities of protection instead; none at all for clients of old.
    #[must_use]
    pub fn with_qop(mut self, qops: &[Qop]) -> Self {
        let list: Vec<&str> = qops.iter().map(|qop| qop.as_str()).collect();
        if list.is_empty() {
            self.params.remove("qop");
        } else {
            self.params.set("qop", &list.join(","));
        }
        self
    }

    /// Adds opaque data, which the client sends back unchanged.
    #[must_use]
    pub fn with_opaque(mut self, opaque: &str) -> Self {
        self.params.set("opaque", opaque);
        self
    }

    /// Says that only the nonce was too old: the client tries again without asking its user
    /// (RFC 7616 §3.3).
    #[must_use]
    pub fn with_stale(mut self) -> Self {
        self.params.set("stale", "TRUE");
        self
    }

    /// Adds CK and IK for the P-CSCF (TS 24.229 §7.2A.1).
    #[must_use]
    pub fn with_keys(mut self, ck: &Key, ik: &Key) -> Self {
        self.params.set("ck", &to_hex(ck));
        self.params.set("ik", &to_hex(ik));
        self
    }

    /// Removes CK and IK and gives them, if both were there and readable: what the P-CSCF does
    /// before the challenge goes to the UE (TS 24.229 §5.2.2.1).
    pub fn take_keys(&mut self) -> Option<(Key, Key)> {
        let read = |name| self.params.raw(name).and_then(from_hex);
        let keys = read("ck").zip(read("ik"));
        self.params.remove("ck");
        self.params.remove("ik");
        keys
    }

    /// The value of the header field.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = "Digest ".to_owned();
        self.params.write(&mut text);
        text
    }

    /// The realm, unescaped.
    #[must_use]
    pub fn realm(&self) -> Option<Cow<'_, str>> {
        self.params.value("realm")
    }

    /// The nonce as it stands.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.params.raw("nonce")
    }

    /// The opaque data as it stands.
    #[must_use]
    pub fn opaque(&self) -> Option<&str> {
        self.params.raw("opaque")
    }

    /// The algorithm; MD5 where none is named (RFC 7616 §3.3).
    ///
    /// # Errors
    ///
    /// [`AlgorithmUnknown`]: the client ignores this challenge.
    pub fn algorithm(&self) -> Result<Algorithm, AlgorithmUnknown> {
        self.params.raw("algorithm").map_or(Ok(Algorithm::MD5), str::parse)
    }

    /// Whether only the nonce was too old.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.params.raw("stale").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The known ones of the qualities of protection offered, in their order.
    #[must_use]
    pub fn qops(&self) -> Vec<Qop> {
        self.params
            .raw("qop")
            .into_iter()
            .flat_map(|list| list.split(','))
            .filter_map(Qop::parse)
            .collect()
    }
}

impl FromStr for Challenge {
    type Err = AuthHeaderError;

    /// Reads the value of one header field; these fields are never joined by commas
    /// (RFC 3261 §7.3.1).
    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self { params: AuthParams::parse_with_scheme(value)? })
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_of_ims_is_printed_as_the_standard_writes_it() {
        let challenge = Challenge::new("ims.example", "bm9uY2U=", Algorithm::AKAV1_MD5)
            .with_opaque("o")
            .with_keys(&[0xab; 16], &[0x01; 16]);
        assert_eq!(
            challenge.to_string(),
            "Digest realm=\"ims.example\", nonce=\"bm9uY2U=\", algorithm=AKAv1-MD5, qop=\"auth\", \
             opaque=\"o\", ck=\"abababababababababababababababab\", \
             ik=\"01010101010101010101010101010101\""
        );
        assert_eq!(challenge.to_string().parse(), Ok(challenge));
    }

    #[test]
    fn keys_leave_the_challenge_even_if_unreadable() {
        let all = "Digest realm=\"r\", nonce=\"n\"";
        let key = "00112233445566778899aabbccddeeff";
        for (keys, readable) in [
            (format!(", CK=\"{key}\", ik={key}"), true),
            (format!(", ck=\"{key}\""), false),
            (format!(", ck=\"{key}00\", ik=\"{key}\""), false),
            (String::new(), false),
        ] {
            let mut challenge: Challenge = format!("{all}{keys}").parse().unwrap();
            assert_eq!(challenge.take_keys().is_some(), readable, "{keys}");
            assert_eq!(challenge.to_string(), all);
        }
    }

    #[test]
    fn parameters_are_read_with_their_defaults() {
        let challenge: Challenge = "Digest realm=\"a\\\"b\", nonce=\"\"".parse().unwrap();
        assert_eq!(challenge.realm().unwrap(), "a\"b");
        assert_eq!(challenge.nonce(), Some(""));
        assert_eq!(challenge.algorithm(), Ok(Algorithm::MD5));
        assert_eq!(challenge.qops(), []);
        assert!(!challenge.is_stale());

        let text = "Digest algorithm=x, qop=\"new, AUTH-INT ,auth\", stale=True";
        let challenge: Challenge = text.parse().unwrap();
        assert!(challenge.algorithm().is_err());
        assert_eq!(challenge.qops(), [Qop::AuthInt, Qop::Auth]);
        assert!(challenge.is_stale());
    }
}
