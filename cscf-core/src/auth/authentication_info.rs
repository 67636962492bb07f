//! Authentication-Info, in which a server proves to its client that it knows H(A1) too and may
//! give the next nonce (RFC 3261 §20.6, RFC 7616 §3.5).

use std::fmt;
use std::str::FromStr;

use crate::auth::credentials::{Credentials, VerifyError};
use crate::auth::digest::{Algorithm, Ha1, Qop, ResponseInput, rspauth, same_digest};
use crate::auth::params::{AuthHeaderError, AuthParams};

/// The value of Authentication-Info: the server's own proof, and perhaps the next nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationInfo {
    /// All parameters in order.
    pub params: AuthParams,
}

impl AuthenticationInfo {
    /// Proves to the client whose `credentials` were right that the server has H(A1) too
    /// (RFC 7616 §3.5, TS 24.229 §5.4.1.2.2B).
    ///
    /// `body` is that of the answer.
    #[must_use]
    pub fn new(credentials: &Credentials, ha1: &Ha1, algorithm: Algorithm, body: &[u8]) -> Self {
        let input =
            ResponseInput { session: algorithm.session, ..credentials.response_input("", body) };
        let mut params = AuthParams::default();
        if let Some(qop) = input.qop {
            params.set_token("qop", qop.as_str());
        }
        params.set("rspauth", &rspauth(ha1, &input));
        if input.qop.is_some() {
            params.copy("cnonce", &credentials.params);
            params.copy("nc", &credentials.params);
        }
        Self { params }
    }

    /// Adds the nonce that the client shall use next.
    #[must_use]
    pub fn with_next_nonce(mut self, nonce: &str) -> Self {
        self.params.set("nextnonce", nonce);
        self
    }

    /// The nonce that the client shall use next.
    #[must_use]
    pub fn next_nonce(&self) -> Option<&str> {
        self.params.raw("nextnonce")
    }

    /// Checks the server's proof as the client that sent `credentials`; `body` is the answer's.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]; the client does not trust the answer then.
    pub fn verify(
        &self,
        credentials: &Credentials,
        ha1: &Ha1,
        algorithm: Algorithm,
        body: &[u8],
    ) -> Result<(), VerifyError> {
        let received =
            self.params.raw("rspauth").ok_or(VerifyError::ParameterMissing("rspauth"))?;
        for name in ["cnonce", "nc"] {
            let echoed = self.params.raw(name);
            if echoed.is_some_and(|value| credentials.params.raw(name) != Some(value)) {
                return Err(VerifyError::EchoDiffers(name));
            }
        }
        let mut input =
            ResponseInput { session: algorithm.session, ..credentials.response_input("", body) };
        // The server says by what quality its answer is protected (RFC 7616 §3.5).
        if let Some(text) = self.params.raw("qop") {
            input.qop = Some(Qop::parse(text).ok_or(VerifyError::QopUnknown)?);
        }
        let expected = rspauth(ha1, &input);
        if same_digest(received, &expected) { Ok(()) } else { Err(VerifyError::ResponseDiffers) }
    }
}

impl FromStr for AuthenticationInfo {
    type Err = AuthHeaderError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self { params: AuthParams::parse(value)? })
    }
}

impl fmt::Display for AuthenticationInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::challenge::Challenge;
    use crate::auth::credentials::Answer;

    fn sent(algorithm: Algorithm, qops: &[Qop]) -> Credentials {
        let challenge = Challenge::new("ims.example", "n1", algorithm).with_qop(qops);
        let answer = Answer {
            username: "carol@ims.example",
            password: b"carol-secret",
            method: "REGISTER",
            uri: "sip:ims.example",
            cnonce: "c1",
            nc: "00000001",
            body: b"",
        };
        Credentials::answer(&challenge, &answer).unwrap()
    }

    #[test]
    fn proof_of_the_server_is_accepted_and_a_wrong_one_is_not() {
        let session = Algorithm { session: true, ..Algorithm::SHA_256 };
        for algorithm in [Algorithm::MD5, Algorithm::SHA_256, Algorithm::SHA_512_256, session] {
            for qops in [&[][..], &[Qop::Auth], &[Qop::AuthInt]] {
                let credentials = sent(algorithm, qops);
                let ha1 = credentials.ha1(algorithm, b"carol-secret");
                let info = AuthenticationInfo::new(&credentials, &ha1, algorithm, b"body");
                let text = info.with_next_nonce("n2").to_string();

                let info: AuthenticationInfo = text.parse().unwrap();

                assert_eq!(info.next_nonce(), Some("n2"));
                assert_eq!(info.verify(&credentials, &ha1, algorithm, b"body"), Ok(()), "{text}");
                let other = credentials.ha1(algorithm, b"other");
                let refused = info.verify(&credentials, &other, algorithm, b"body");
                assert_eq!(refused, Err(VerifyError::ResponseDiffers), "{text}");
                let changed = info.verify(&credentials, &ha1, algorithm, b"changed");
                assert_eq!(changed.is_err(), qops == [Qop::AuthInt], "{text}");
            }
        }
    }

    #[test]
    fn proof_for_another_request_is_refused() {
        let credentials = sent(Algorithm::MD5, &[Qop::Auth]);
        let ha1 = credentials.ha1(Algorithm::MD5, b"carol-secret");
        let good = AuthenticationInfo::new(&credentials, &ha1, Algorithm::MD5, b"").to_string();
        for (from, to, expected) in [
            ("nc=00000001", "nc=00000002", VerifyError::EchoDiffers("nc")),
            ("cnonce=\"c1\"", "cnonce=\"c2\"", VerifyError::EchoDiffers("cnonce")),
            ("qop=auth", "qop=none", VerifyError::QopUnknown),
            ("rspauth=", "other=", VerifyError::ParameterMissing("rspauth")),
            ("rspauth=\"", "rspauth=\"0", VerifyError::ResponseDiffers),
        ] {
            let info: AuthenticationInfo = good.replace(from, to).parse().unwrap();
            assert_eq!(info.verify(&credentials, &ha1, Algorithm::MD5, b""), Err(expected));
        }
    }
}
