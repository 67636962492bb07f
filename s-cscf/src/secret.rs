//! What proves a user, and how a REGISTER proved it: expected responses of a USIM and hashes of a
//! password (RFC 3310, RFC 4169, RFC 7616, RFC 8760; TS 24.229 §5.4.1.2.1A).

use std::collections::VecDeque;

use cscf_core::auth::{
    AkaNonce, Algorithm, AuthenticationInfo, Autn, Challenge as WwwAuthenticate, Credentials, Ha1,
    Hash, Key, NonceCounter, Rand, Res, aka_password, to_hex,
};
use cscf_core::cx::AuthItem;
use cscf_core::role::Env;
use cscf_core::sip::Request;
use cscf_core::time::Instant;

use crate::Config;

/// What proves the user.
#[derive(Clone)]
pub(crate) enum Secret {
    /// The expected response of a USIM with its keys, and the algorithms that were offered.
    Aka { vector: Box<Vector>, offered: Box<[Algorithm]> },
    /// H(A1), one for each hash the subscriber has, most preferred first.
    Digest(Vec<Ha1>),
}

/// What the HSS knows of a vector beyond the challenge itself.
#[derive(Clone)]
pub(crate) struct Vector {
    pub(crate) rand: Rand,
    pub(crate) xres: Res,
    pub(crate) ck: Key,
    pub(crate) ik: Key,
}

/// Secrets do not show in traces.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

/// Credentials that were right and may be used again, in the clear.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) nonce: Box<str>,
    pub(crate) secret: Secret,
    pub(crate) nonce_count: NonceCounter,
    pub(crate) until: Instant,
}

/// How a REGISTER proved its user.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// The S-CSCF itself authenticated the user just now: the HSS waits for a SAR.
    pub(crate) authenticated: bool,
    /// A new challenge was answered, so this is an initial registration or a re-authentication.
    pub(crate) challenged: bool,
    /// The server's own proof, for SIP digest.
    pub(crate) info: Option<AuthenticationInfo>,
    /// What the user may use again.
    pub(crate) accepted: Option<Accepted>,
    /// Vectors that are left for its next authentication.
    pub(crate) spare: VecDeque<AuthItem>,
}

impl Proof {
    /// By the security association that the P-CSCF vouches for.
    pub(crate) fn association() -> Self {
        Self::default()
    }

    /// By another trusted node.
    pub(crate) fn elsewhere() -> Self {
        Self { authenticated: true, ..Self::default() }
    }
}

/// Why a response does not prove the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotVerified {
    /// The response is right, but the nonce is too old or its count was used before.
    Stale(String),
    /// The response is wrong.
    Wrong(String),
}

impl Accepted {
    /// Whether these credentials use this nonce again.
    pub(crate) fn is_named_by(&self, credentials: &Credentials) -> bool {
        credentials.nonce() == Some(&*self.nonce)
    }

    /// Checks a response made with this nonce again.
    pub(crate) fn verify(
        &mut self,
        now: Instant,
        credentials: &Credentials,
        request: &Request,
    ) -> Result<Proof, NotVerified> {
        let info = self.secret.verify(credentials, request, &mut self.nonce_count)?;
        if now >= self.until {
            return Err(NotVerified::Stale("the nonce is too old".to_owned()));
        }
        Ok(Proof { info, ..Proof::default() })
    }
}

impl Secret {
    /// How the user is challenged by it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Aka { .. } => "IMS AKA",
            Self::Digest(_) => "SIP digest",
        }
    }

    /// Checks the response, then the nonce count: only a right response may use up a count
    /// (RFC 7616 §3.4). Gives the server's own proof for SIP digest.
    pub(crate) fn verify(
        &self,
        credentials: &Credentials,
        request: &Request,
        counter: &mut NonceCounter,
    ) -> Result<Option<AuthenticationInfo>, NotVerified> {
        let wrong = |why: String| NotVerified::Wrong(why);
        let algorithm = credentials.algorithm().map_err(|fault| wrong(fault.to_string()))?;
        let not_offered = || wrong(format!("{algorithm} was not offered"));
        let ha1 = match self {
            Self::Aka { vector, offered } => {
                if !offered.contains(&algorithm) {
                    return Err(not_offered());
                }
                let Vector { xres, ck, ik, .. } = &**vector;
                credentials.ha1(algorithm, &aka_password(algorithm, xres, ik, ck))
            }
            Self::Digest(list) => {
                let plain = algorithm.aka.is_none() && !algorithm.session;
                let mut fitting = list.iter().filter(|ha1| plain && ha1.hash() == algorithm.hash);
                fitting.next().ok_or_else(not_offered)?.clone()
            }
        };
        credentials.verify(&ha1, algorithm, request.method.as_str(), &request.body).map_err(
            |fault| {
                wrong(self.misread(credentials, algorithm, request).unwrap_or(fault.to_string()))
            },
        )?;
        if let Some(nc) = credentials.nc() {
            counter.accept(nc).map_err(|fault| NotVerified::Stale(fault.to_string()))?;
        }
        let digest = matches!(self, Self::Digest(_));
        Ok(digest.then(|| AuthenticationInfo::new(credentials, &ha1, algorithm, b"")))
    }
}

impl Secret {
    /// What a client has made of RES, where its response would be right for one of the usual
    /// mistakes: RES is an octet string and may hold zeros (RFC 3310 §3.3).
    fn misread(
        &self,
        credentials: &Credentials,
        algorithm: Algorithm,
        request: &Request,
    ) -> Option<String> {
        let Self::Aka { vector, .. } = self else { return None };
        let res = vector.xres.as_bytes();
        let hex = to_hex(res);
        let cut = res.split(|octet| *octet == 0).next().unwrap_or_default();
        let readings = [
            (cut, "RES cut at its first zero octet"),
            (hex.as_bytes(), "RES written in hexadecimal"),
            (b"", "no RES at all (an empty password)"),
        ];
        let fits = |(password, _): &(&[u8], &str)| {
            let ha1 = credentials.ha1(algorithm, password);
            credentials.verify(&ha1, algorithm, request.method.as_str(), &request.body).is_ok()
        };
        let (_, meaning) = readings.into_iter().find(fits)?;
        Some(format!("the response would be right with {meaning}"))
    }
}

/// One way to challenge.
pub(crate) struct Offer {
    pub(crate) nonce: String,
    pub(crate) secret: Secret,
    /// One for each algorithm, most preferred first (RFC 8760 §2.4).
    pub(crate) challenges: Vec<WwwAuthenticate>,
}

impl Offer {
    /// Makes nonce, secret and header fields of one item for this user; `None` if it is unusable.
    pub(crate) fn new(
        env: &mut Env<'_>,
        config: &Config,
        impi: &str,
        item: &AuthItem,
    ) -> Option<Self> {
        match item {
            // An address challenges nobody.
            AuthItem::Address(_) => None,
            AuthItem::Aka { rand, autn, xres, ck, ik } => {
                let autn = Autn::from_bytes(*autn);
                let nonce = AkaNonce { rand: *rand, autn, server_data: Vec::new() }.encode();
                let offered = config.aka_algorithms_of(impi).to_vec();
                let challenge = |algorithm: &Algorithm| {
                    WwwAuthenticate::new(config.realm(), &nonce, *algorithm).with_keys(ck, ik)
                };
                let challenges = offered.iter().map(challenge).collect();
                let vector = Vector { rand: *rand, xres: Res::new(xres)?, ck: *ck, ik: *ik };
                let offered = offered.into();
                let secret = Secret::Aka { vector: Box::new(vector), offered };
                Some(Self { nonce, secret, challenges })
            }
            AuthItem::Digest { realm, .. } => {
                let nonce = env.ids.token(16);
                let list = hashes(item);
                let challenges = challenges_of(realm, &nonce, &list);
                let secret = Secret::Digest(list);
                (!challenges.is_empty()).then_some(Self { nonce, secret, challenges })
            }
        }
    }
}

/// The hashes of a password, most preferred first; empty if there is none that can be used.
pub(crate) fn hashes(item: &AuthItem) -> Vec<Ha1> {
    let AuthItem::Digest { algorithm, ha1, ha1_sha256, .. } = item else { return Vec::new() };
    let Ok(algorithm) = algorithm.parse::<Algorithm>() else { return Vec::new() };
    let mut list = Vec::new();
    if let Some(text) = ha1_sha256 {
        list.extend(Ha1::from_hex(Hash::Sha256, text));
    }
    if list.is_empty() || algorithm.hash != Hash::Sha256 {
        list.extend(Ha1::from_hex(algorithm.hash, ha1));
    }
    list
}

/// A challenge for each hash of the password.
pub(crate) fn challenges_of(realm: &str, nonce: &str, list: &[Ha1]) -> Vec<WwwAuthenticate> {
    let challenges = list.iter().map(|ha1| {
        let algorithm = Algorithm { aka: None, hash: ha1.hash(), session: false };
        WwwAuthenticate::new(realm, nonce, algorithm)
    });
    challenges.collect()
}
