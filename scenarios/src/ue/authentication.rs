//! How a UE answers challenges: IMS AKA with its card, SIP digest with its password
//! (TS 24.229 §5.1.1.5, RFC 3310, RFC 7616).

use cscf_core::auth::{
    AkaNonce, AkaSet, Algorithm, Answer, AuthenticateError, AuthenticationInfo, Challenge,
    Credentials, FreshnessCheck, Key, Milenage, NonceCounter, Usim, aka_password,
};

use super::config::{self, UeConfig};
use super::mistakes::Mistakes;

/// What a UE knows of authentication: its card, and the last challenge.
#[derive(Debug)]
pub(super) struct Authenticator {
    impi: String,
    usim: Option<Usim<AkaSet>>,
    /// Other readings of the card's values, and what each would mean.
    readings: Vec<(Milenage, &'static str)>,
    password: Option<String>,
    mistakes: Mistakes,
    /// The private identity of somebody else, to answer under by mistake.
    other_impi: String,
    /// CK and IK of the last challenge the card took.
    keys: Option<(Key, Key)>,
    /// The last challenge answered, its password and how often its nonce was used.
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    challenge: Challenge,
    password: Vec<u8>,
    counter: NonceCounter,
    credentials: Credentials,
}

/// How a challenge was answered.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With a response.
    Answered(Box<Credentials>),
    /// The network's MAC is wrong: an answer without response; the text says what may be the cause.
    MacFailure(Box<Credentials>, String),
    /// The sequence number is not fresh: an answer with AUTS; the text says why.
    SyncFailure(Box<Credentials>, String),
    /// No challenge that this UE can answer; the text says why.
    Unable(String),
}

/// The request to answer for.
#[derive(Clone, Copy, Debug)]
pub(super) struct For<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) cnonce: &'a str,
    pub(super) body: &'a [u8],
}

impl Authenticator {
    pub(super) fn new(config: &UeConfig) -> Self {
        let password = match &config.credentials {
            config::Credentials::Aka { .. } | config::Credentials::Card { .. } => None,
            config::Credentials::Digest { password } => Some(password.clone()),
        };
        Self {
            impi: config.impi.clone(),
            usim: config.credentials.usim(&config.mistakes),
            readings: config.credentials.other_readings(&config.mistakes),
            password,
            mistakes: config.mistakes,
            other_impi: config.somebody_else.0.clone(),
            keys: None,
            last: None,
        }
    }

    /// Answers the first of the challenges that this UE can answer (RFC 8760 §2.4: the server lists
    /// the best first).
    pub(super) fn answer<'a>(
        &mut self,
        challenges: impl Iterator<Item = &'a str>,
        request: For<'_>,
    ) -> Outcome {
        let mut why = "no challenge in the response".to_owned();
        for text in challenges {
            let challenge: Challenge = match text.parse() {
                Ok(challenge) => challenge,
                Err(error) => {
                    why = format!("{error}");
                    continue;
                }
            };
            match self.answer_one(&challenge, request) {
                Outcome::Unable(reason) => why = reason,
                outcome => return outcome,
            }
        }
        Outcome::Unable(why)
    }

    fn answer_one(&mut self, challenge: &Challenge, request: For<'_>) -> Outcome {
        let algorithm = match challenge.algorithm() {
            Ok(algorithm) => algorithm,
            Err(error) => return Outcome::Unable(error.to_string()),
        };
        match (algorithm.aka.is_some(), &self.password) {
            (true, _) => self.answer_aka(challenge, algorithm, request),
            (false, Some(password)) => {
                let mut password = password.clone().into_bytes();
                if self.mistakes.wrong_res {
                    password.push(b'!');
                }
                self.respond(challenge, password, request)
            }
            (false, None) => Outcome::Unable("no password for SIP digest".to_owned()),
        }
    }

    fn answer_aka(
        &mut self,
        challenge: &Challenge,
        algorithm: Algorithm,
        request: For<'_>,
    ) -> Outcome {
        let Some(usim) = &mut self.usim else {
            return Outcome::Unable(format!("no card for {algorithm}"));
        };
        let nonce = match AkaNonce::decode(challenge.nonce().unwrap_or_default()) {
            Ok(nonce) => nonce,
            Err(error) => return Outcome::Unable(format!("nonce: {error}")),
        };
        match usim.authenticate(&nonce.rand, &nonce.autn) {
            Ok(answer) => {
                self.keys = Some((answer.ck, answer.ik));
                let mut password = aka_password(algorithm, &answer.res, &answer.ik, &answer.ck);
                if self.mistakes.wrong_res {
                    password.reverse();
                    password.push(0);
                }
                self.respond(challenge, password, request)
            }
            Err(AuthenticateError::SyncFailure { auts, sqn, sqn_ms, reason }) => {
                let why = format!("SQN {sqn} after {sqn_ms}: {reason}");
                match self.credentials(challenge, b"", "00000001", request) {
                    Ok(credentials) if self.mistakes.no_auts => {
                        Outcome::SyncFailure(Box::new(credentials), why)
                    }
                    Ok(credentials) => {
                        Outcome::SyncFailure(Box::new(credentials.with_auts(&auts)), why)
                    }
                    Err(why) => Outcome::Unable(why),
                }
            }
            Err(_) if self.mistakes.follows_anybody => {
                self.respond(challenge, b"anybody".to_vec(), request)
            }
            Err(error) => match Credentials::refusal(challenge, &self.impi, request.uri) {
                Ok(credentials) => {
                    let why = self.why_mac_differs(&nonce).unwrap_or_else(|| error.to_string());
                    Outcome::MacFailure(Box::new(credentials), why)
                }
                Err(error) => Outcome::Unable(error.to_string()),
            },
        }
    }

    /// The reading of the card's values with which the MAC would be right.
    fn why_mac_differs(&self, nonce: &AkaNonce) -> Option<String> {
        let fits = |functions: &Milenage| {
            let mut card = Usim::new(functions.clone(), FreshnessCheck::default());
            let result = card.authenticate(&nonce.rand, &nonce.autn);
            !matches!(result, Err(AuthenticateError::MacFailure))
        };
        let found = self.readings.iter().find(|(functions, _)| fits(functions));
        found.map(|(_, meaning)| format!("MAC-A would be right if {meaning}"))
    }

    fn respond(&mut self, challenge: &Challenge, password: Vec<u8>, request: For<'_>) -> Outcome {
        let mut counter = NonceCounter::default();
        let nc = counter.next_count().unwrap_or_default();
        match self.credentials(challenge, &password, &nc, request) {
            Ok(credentials) => {
                self.last = Some(Last {
                    challenge: challenge.clone(),
                    password,
                    counter,
                    credentials: credentials.clone(),
                });
                Outcome::Answered(Box::new(credentials))
            }
            Err(why) => Outcome::Unable(why),
        }
    }

    fn credentials(
        &self,
        challenge: &Challenge,
        password: &[u8],
        nc: &str,
        request: For<'_>,
    ) -> Result<Credentials, String> {
        let answer = Answer {
            username: if self.mistakes.another_impi { &self.other_impi } else { &self.impi },
            password,
            method: request.method,
            uri: request.uri,
            cnonce: request.cnonce,
            nc,
            body: request.body,
        };
        Credentials::answer(challenge, &answer).map_err(|error| error.to_string())
    }

    /// The credentials of a request sent before it is challenged: for IMS AKA the last ones as they
    /// were, for digest the last nonce used once more (TS 24.229 §5.1.1.4.1); `None` before the
    /// first success.
    pub(super) fn again(&mut self, request: For<'_>) -> Option<Credentials> {
        let last = self.last.as_mut()?;
        if self.password.is_none() {
            return Some(last.credentials.clone());
        }
        let nc = last.counter.next_count()?;
        let (challenge, password) = (last.challenge.clone(), last.password.clone());
        self.credentials(&challenge, &password, &nc, request).ok()
    }

    /// What stands in the very first REGISTER (TS 24.229 §5.1.1.2.2).
    pub(super) fn unchallenged(&self, realm: &str, uri: &str) -> Credentials {
        let wrong = format!("wrong.{realm}");
        let realm = if self.mistakes.wrong_realm { &wrong } else { realm };
        Credentials::unchallenged(&self.impi, realm, uri)
    }

    /// CK and IK of the last challenge the card took.
    pub(super) const fn keys(&self) -> Option<(Key, Key)> {
        self.keys
    }

    /// Forgets the last challenge: the registration is over.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.keys = None;
    }

    /// Takes the next nonce from an Authentication-Info value (RFC 7616 §3.5).
    pub(super) fn learn(&mut self, info: &str) {
        let Some(last) = &mut self.last else { return };
        let Ok(info) = info.parse::<AuthenticationInfo>() else { return };
        if let Some(nonce) = info.next_nonce() {
            last.challenge.params.set("nonce", nonce);
            last.counter = NonceCounter::default();
        }
    }
}
