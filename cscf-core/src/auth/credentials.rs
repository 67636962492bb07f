//! Credentials, the values of Authorization and Proxy-Authorization: a client answers a challenge
//! with them and a server checks them (RFC 3261 §22, RFC 7616 §3.4, with the parameters of IMS in
//! TS 24.229 §7.2A.2 and RFC 3310 §3.4).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::auth::aka::Auts;
use crate::auth::challenge::Challenge;
use crate::auth::digest::{
    Algorithm, AlgorithmUnknown, Ha1, Qop, ResponseInput, response, same_digest,
};
use crate::auth::params::{AuthHeaderError, AuthParams};

/// Credentials: the value of Authorization or Proxy-Authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// All parameters in order.
    pub params: AuthParams,
}

/// What a client puts into its answer besides the challenge's own parameters.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The private identity, or the user's name.
    pub username: &'a str,
    /// The password: RES or what [`crate::auth::aka_password`] gives for AKA; empty with AUTS.
    pub password: &'a [u8],
    /// The method of the request.
    pub method: &'a str,
    /// The Request-URI (RFC 3261 §22.4).
    pub uri: &'a str,
    /// A nonce of the client's own; used with qop and by `-sess`.
    pub cnonce: &'a str,
    /// How often this nonce was used, as eight digits: see [`crate::auth::NonceCounter`].
    pub nc: &'a str,
    /// The body of the request, covered by `auth-int`.
    pub body: &'a [u8],
}

impl Credentials {
    /// What an IMS UE sends before it was challenged: its identity, nonce and response empty
    /// (TS 24.229 §5.1.1.2.2).
    #[must_use]
    pub fn unchallenged(username: &str, realm: &str, uri: &str) -> Self {
        let mut params = AuthParams::default();
        params.set("username", username);
        params.set("realm", realm);
        params.set("uri", uri);
        params.set("nonce", "");
        params.set("response", "");
        Self { params }
    }

    /// Answers `challenge`: by `auth` if offered, else by `auth-int`, else in the form of old.
    ///
    /// # Errors
    ///
    /// [`AnswerError`]: the client ignores this challenge and looks at the next.
    pub fn answer(challenge: &Challenge, answer: &Answer<'_>) -> Result<Self, AnswerError> {
        let algorithm = challenge.algorithm()?;
        let qops = challenge.qops();
        let qop = [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| qops.contains(qop));
        if qop.is_none() && challenge.params.raw("qop").is_some() {
            return Err(AnswerError::QopUnknown);
        }
        let mut credentials = Self::refusal(challenge, answer.username, answer.uri)?;
        let params = &mut credentials.params;
        if qop.is_some() || algorithm.session {
            params.set("cnonce", answer.cnonce);
        }
        if let Some(qop) = qop {
            params.set_token("qop", qop.as_str());
            params.set("nc", answer.nc);
        }
        let ha1 = credentials.ha1(algorithm, answer.password);
        let input = ResponseInput {
            session: algorithm.session,
            qop,
            ..credentials.response_input(answer.method, answer.body)
        };
        let response = response(&ha1, &input);
        credentials.params.set("response", &response);
        Ok(credentials)
    }

    /// The answer without response: the USIM found the challenge's MAC wrong
    /// (TS 24.229 §5.1.1.5.3).
    ///
    /// # Errors
    ///
    /// [`AnswerError::ParameterMissing`]: no realm or no nonce to refer to.
    pub fn refusal(challenge: &Challenge, username: &str, uri: &str) -> Result<Self, AnswerError> {
        let mut params = AuthParams::default();
        params.set("username", username);
        for name in ["realm", "nonce"] {
            challenge.params.param(name).ok_or(AnswerError::ParameterMissing(name))?;
            params.copy(name, &challenge.params);
        }
        params.set("uri", uri);
        params.set("response", "");
        for name in ["algorithm", "opaque"] {
            params.copy(name, &challenge.params);
        }
        Ok(Self { params })
    }

    /// Adds the token of a synchronisation failure; the response was then made with the empty
    /// password (RFC 3310 §3.4).
    #[must_use]
    pub fn with_auts(mut self, auts: &Auts) -> Self {
        self.params.set("auts", &auts.encode());
        self
    }

    /// The value of the header field.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = "Digest ".to_owned();
        self.params.write(&mut text);
        text
    }

    /// The private identity, unescaped.
    #[must_use]
    pub fn username(&self) -> Option<Cow<'_, str>> {
        self.params.value("username")
    }

    /// The realm, unescaped.
    #[must_use]
    pub fn realm(&self) -> Option<Cow<'_, str>> {
        self.params.value("realm")
    }

    /// The nonce as it stands; IMS sends an empty one before the challenge.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.params.raw("nonce")
    }

    /// The URI as it stands.
    #[must_use]
    pub fn uri(&self) -> Option<&str> {
        self.params.raw("uri")
    }

    /// The response, if there is one that is not empty.
    #[must_use]
    pub fn response(&self) -> Option<&str> {
        self.params.raw("response").filter(|response| !response.is_empty())
    }

    /// The nonce count as it stands.
    #[must_use]
    pub fn nc(&self) -> Option<&str> {
        self.params.raw("nc")
    }

    /// The client's nonce as it stands.
    #[must_use]
    pub fn cnonce(&self) -> Option<&str> {
        self.params.raw("cnonce")
    }

    /// The token of a synchronisation failure as it stands; [`Auts::decode`] reads it.
    #[must_use]
    pub fn auts(&self) -> Option<&str> {
        self.params.raw("auts")
    }

    /// The algorithm; MD5 where none is named (RFC 7616 §3.4).
    ///
    /// # Errors
    ///
    /// [`AlgorithmUnknown`].
    pub fn algorithm(&self) -> Result<Algorithm, AlgorithmUnknown> {
        self.params.raw("algorithm").map_or(Ok(Algorithm::MD5), str::parse)
    }

    /// What the P-CSCF says of the way the request came; `None` if absent or not known.
    #[must_use]
    pub fn integrity_protected(&self) -> Option<IntegrityProtected> {
        self.params.raw("integrity-protected")?.parse().ok()
    }

    /// Sets or, with `None`, removes `integrity-protected`. The P-CSCF does one or the other
    /// with every REGISTER, so that a UE cannot forge it (TS 24.229 §5.2.2.1).
    pub fn set_integrity_protected(&mut self, value: Option<IntegrityProtected>) {
        match value {
            Some(value) => self.params.set("integrity-protected", value.as_str()),
            None => {
                self.params.remove("integrity-protected");
            }
        }
    }

    /// H(A1) for these credentials' user and realm.
    #[must_use]
    pub fn ha1(&self, algorithm: Algorithm, password: &[u8]) -> Ha1 {
        let raw = |name| self.params.raw(name).unwrap_or_default();
        Ha1::new(algorithm.hash, raw("username"), raw("realm"), password)
    }

    /// Checks the response as a server does.
    ///
    /// `algorithm` is that of the challenge: the client cannot choose a weaker one. Whether
    /// username, realm, uri and nonce are the right ones and the nonce count is new is for the
    /// caller to see.
    ///
    /// # Errors
    ///
    /// [`VerifyError`].
    pub fn verify(
        &self,
        ha1: &Ha1,
        algorithm: Algorithm,
        method: &str,
        body: &[u8],
    ) -> Result<(), VerifyError> {
        let found = self.algorithm()?;
        if found != algorithm {
            return Err(VerifyError::AlgorithmDiffers { found, expected: algorithm });
        }
        let qop = self.params.raw("qop");
        let qop = match qop {
            None => None,
            Some(text) => Some(Qop::parse(text).ok_or(VerifyError::QopUnknown)?),
        };
        let by_qop: &[&'static str] = if qop.is_some() { &["nc", "cnonce"] } else { &[] };
        let by_session: &[&'static str] = if algorithm.session { &["cnonce"] } else { &[] };
        for name in ["username", "realm", "nonce", "uri"].iter().chain(by_qop).chain(by_session) {
            self.params.param(name).ok_or(VerifyError::ParameterMissing(name))?;
        }
        let received = self.response().ok_or(VerifyError::ParameterMissing("response"))?;
        let input =
            ResponseInput { session: algorithm.session, qop, ..self.response_input(method, body) };
        let expected = response(ha1, &input);
        if same_digest(received, &expected) { Ok(()) } else { Err(VerifyError::ResponseDiffers) }
    }

    /// The parameters that go into a response, without judging them.
    pub(super) fn response_input<'a>(
        &'a self,
        method: &'a str,
        body: &'a [u8],
    ) -> ResponseInput<'a> {
        let raw = |name| self.params.raw(name).unwrap_or_default();
        ResponseInput {
            session: false,
            method,
            uri: raw("uri"),
            nonce: raw("nonce"),
            qop: self.params.raw("qop").and_then(Qop::parse),
            nc: raw("nc"),
            cnonce: raw("cnonce"),
            body,
        }
    }
}

/// Whether a value of Authorization is of the scheme Digest. Others are none of ours: who sends
/// them is challenged as if they were not there (RFC 4475 §3.3.7).
#[must_use]
pub fn is_digest(value: &str) -> bool {
    let scheme = value.trim_start().split(|c: char| c.is_ascii_whitespace()).next();
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("Digest"))
}

impl FromStr for Credentials {
    type Err = AuthHeaderError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self { params: AuthParams::parse_with_scheme(value)? })
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// How a REGISTER came to the P-CSCF (TS 24.229 §7.2A.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntegrityProtected {
    /// In the clear, from an address not yet known to be the user's.
    IpAssocPending,
    /// In the clear, from the address the user authenticated from.
    IpAssocYes,
    /// In the clear, by a UE that wants IMS AKA.
    No,
    /// By TLS, before the user has authenticated.
    TlsPending,
    /// By TLS, over the session the user authenticated on.
    TlsYes,
    /// By the security association of this user.
    Yes,
}

impl IntegrityProtected {
    const ALL: [Self; 6] = [
        Self::IpAssocPending,
        Self::IpAssocYes,
        Self::No,
        Self::TlsPending,
        Self::TlsYes,
        Self::Yes,
    ];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IpAssocPending => "ip-assoc-pending",
            Self::IpAssocYes => "ip-assoc-yes",
            Self::No => "no",
            Self::TlsPending => "tls-pending",
            Self::TlsYes => "tls-yes",
            Self::Yes => "yes",
        }
    }
}

impl FromStr for IntegrityProtected {
    type Err = IntegrityProtectedUnknown;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|value| text.eq_ignore_ascii_case(value.as_str())).ok_or(IntegrityProtectedUnknown)
    }
}

/// A value of `integrity-protected` that the standard does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("integrity-protected has a value that TS 24.229 §7.2A.2 does not list")]
pub struct IntegrityProtectedUnknown;

/// Why a client cannot answer a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The algorithm is not known.
    #[error(transparent)]
    AlgorithmUnknown(#[from] AlgorithmUnknown),
    /// The challenge lacks what it must have.
    #[error("the challenge has no {0}")]
    ParameterMissing(&'static str),
    /// None of the qualities of protection offered is known.
    #[error("the challenge offers no known qop")]
    QopUnknown,
}

/// Why a proof is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Another algorithm than the challenge asked for.
    #[error("the algorithm is {found}, the challenge asked for {expected}")]
    AlgorithmDiffers {
        /// The one in the credentials, or MD5 for none.
        found: Algorithm,
        /// The one in the challenge.
        expected: Algorithm,
    },
    /// The algorithm is not known.
    #[error(transparent)]
    AlgorithmUnknown(#[from] AlgorithmUnknown),
    /// The server sent another value back than the client's.
    #[error("{0} is not what was sent")]
    EchoDiffers(&'static str),
    /// A parameter that the response needs is absent or empty.
    #[error("{0} is missing")]
    ParameterMissing(&'static str),
    /// The quality of protection is not known.
    #[error("the qop is not known")]
    QopUnknown,
    /// The response or rspauth is wrong: another password, another method or body.
    #[error("the response is not that of this user, method and body")]
    ResponseDiffers,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAROL: Answer<'_> = Answer {
        username: "carol@ims.example",
        password: b"carol-secret",
        method: "REGISTER",
        uri: "sip:ims.example",
        cnonce: "c1",
        nc: "00000001",
        body: b"",
    };

    fn challenge(text: &str) -> Challenge {
        text.parse().unwrap()
    }

    #[test]
    fn examples_of_rfc_7616_are_answered_and_verified_from_their_header_fields() {
        for (algorithm, response) in [
            (Algorithm::MD5, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                Algorithm::SHA_256,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let challenge = challenge(&format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            ));
            let answer = Answer {
                username: "Mufasa",
                password: b"Circle of Life",
                method: "GET",
                uri: "/dir/index.html",
                cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                ..CAROL
            };

            let credentials = Credentials::answer(&challenge, &answer).unwrap();

            assert_eq!(credentials.response(), Some(response));
            let ha1 = credentials.ha1(algorithm, answer.password);
            assert_eq!(credentials.verify(&ha1, algorithm, "GET", b""), Ok(()));
            assert_eq!(
                credentials.to_string(),
                format!(
                    "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
                     nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                     uri=\"/dir/index.html\", response=\"{response}\", algorithm={algorithm}, \
                     opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", \
                     cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, nc=00000001"
                )
            );
        }
    }

    #[test]
    fn first_register_of_ims_has_empty_nonce_and_response() {
        let credentials = Credentials::unchallenged("u@r", "r", "sip:r");
        let text = r#"Digest username="u@r", realm="r", uri="sip:r", nonce="", response="""#;
        assert_eq!(credentials.to_string(), text);
        let read: Credentials = text.parse().unwrap();
        assert_eq!((read.nonce(), read.response()), (Some(""), None));
        assert_eq!(read, credentials);
    }

    #[test]
    fn quality_of_protection_is_chosen_from_the_offer() {
        for (offer, expected) in [
            ("", Ok(None)),
            (", qop=\"auth\"", Ok(Some("auth"))),
            (", qop=\"auth-int,auth\"", Ok(Some("auth"))),
            (", qop=auth-int", Ok(Some("auth-int"))),
            (", qop=\"new\"", Err(AnswerError::QopUnknown)),
        ] {
            let challenge = challenge(&format!("Digest realm=\"r\", nonce=\"n\"{offer}"));
            let credentials = Credentials::answer(&challenge, &CAROL);
            let found = credentials.as_ref().map(|c| c.params.raw("qop"));
            assert_eq!(found.map_err(Clone::clone), expected, "{offer}");
            let Ok(credentials) = credentials else { continue };
            assert_eq!(credentials.nc().is_some(), expected != Ok(None), "{offer}");
            let ha1 = credentials.ha1(Algorithm::MD5, CAROL.password);
            assert_eq!(credentials.verify(&ha1, Algorithm::MD5, "REGISTER", b""), Ok(()));
        }
    }

    #[test]
    fn challenges_that_cannot_be_answered_are_left_alone() {
        for (text, expected) in [
            ("Digest nonce=\"n\"", AnswerError::ParameterMissing("realm")),
            ("Digest realm=\"r\"", AnswerError::ParameterMissing("nonce")),
            (
                "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-1",
                AnswerError::AlgorithmUnknown(AlgorithmUnknown("SHA-1".into())),
            ),
        ] {
            assert_eq!(Credentials::answer(&challenge(text), &CAROL), Err(expected), "{text}");
        }
    }

    #[test]
    fn wrong_credentials_are_refused_for_their_reason() {
        let offer = challenge("Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256");
        let good = Credentials::answer(&offer, &CAROL).unwrap();
        let ha1 = good.ha1(Algorithm::SHA_256, CAROL.password);
        let verify = |c: &Credentials| c.verify(&ha1, Algorithm::SHA_256, "REGISTER", b"");
        assert_eq!(verify(&good), Ok(()));

        for name in ["username", "realm", "nonce", "uri", "response", "nc", "cnonce"] {
            let mut without = good.clone();
            without.params.remove(name);
            assert_eq!(verify(&without), Err(VerifyError::ParameterMissing(name)));
        }
        for name in ["nonce", "uri", "nc", "cnonce", "response"] {
            let mut changed = good.clone();
            changed.params.set(name, "00000009");
            assert_eq!(verify(&changed), Err(VerifyError::ResponseDiffers), "{name}");
        }
        let mut empty = good.clone();
        empty.params.set("response", "");
        assert_eq!(verify(&empty), Err(VerifyError::ParameterMissing("response")));
        let mut strange = good.clone();
        strange.params.set_token("qop", "auth,auth-int");
        assert_eq!(verify(&strange), Err(VerifyError::QopUnknown));
        let mut weaker = good.clone();
        weaker.params.remove("algorithm");
        assert_eq!(
            verify(&weaker),
            Err(VerifyError::AlgorithmDiffers {
                found: Algorithm::MD5,
                expected: Algorithm::SHA_256
            })
        );
        let invite = good.verify(&ha1, Algorithm::SHA_256, "INVITE", b"");
        assert_eq!(invite, Err(VerifyError::ResponseDiffers));
    }

    #[test]
    fn body_is_covered_by_auth_int_only() {
        for (qop, covered) in [(Qop::Auth, false), (Qop::AuthInt, true)] {
            let offer = Challenge::new("r", "n", Algorithm::MD5).with_qop(&[qop]);
            let answer = Answer { body: b"v=0", ..CAROL };
            let credentials = Credentials::answer(&offer, &answer).unwrap();
            let ha1 = credentials.ha1(Algorithm::MD5, CAROL.password);
            let verify = |body| credentials.verify(&ha1, Algorithm::MD5, "REGISTER", body);
            assert_eq!(verify(&b"v=0"[..]), Ok(()));
            assert_eq!(verify(&b"v=1"[..]).is_err(), covered);
        }
    }

    #[test]
    fn escaped_names_are_hashed_as_they_stand_on_both_sides() {
        let offer = challenge(r#"Digest realm="a\"b", nonce="n""#);
        let answer = Answer { username: r#"J "\" Doe"#, ..CAROL };
        let sent = Credentials::answer(&offer, &answer).unwrap().to_string();
        let received: Credentials = sent.parse().unwrap();
        assert_eq!(received.username().unwrap(), answer.username);
        assert_eq!(received.realm().unwrap(), "a\"b");
        let ha1 = received.ha1(Algorithm::MD5, CAROL.password);
        assert_eq!(received.verify(&ha1, Algorithm::MD5, "REGISTER", b""), Ok(()));
    }

    #[test]
    fn integrity_flag_of_the_ue_is_replaced_or_removed() {
        let text = r#"Digest username="u", integrity-protected=YES, nonce="""#;
        let mut credentials: Credentials = text.parse().unwrap();
        assert_eq!(credentials.integrity_protected(), Some(IntegrityProtected::Yes));
        credentials.set_integrity_protected(Some(IntegrityProtected::No));
        let replaced = r#"Digest username="u", integrity-protected="no", nonce="""#;
        assert_eq!(credentials.to_string(), replaced);
        credentials.set_integrity_protected(None);
        assert_eq!(credentials.to_string(), r#"Digest username="u", nonce="""#);
        assert_eq!(credentials.integrity_protected(), None);
        for value in IntegrityProtected::ALL {
            assert_eq!(value.as_str().parse(), Ok(value));
        }
    }
}
