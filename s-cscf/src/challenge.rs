//! Challenging a user and judging the answer: IMS AKA and SIP digest (TS 24.229 §5.4.1.2.1,
//! §5.4.1.2.2, §5.4.1.2.3A, §5.4.1.2.3B; RFC 3310, RFC 7616).

use std::collections::VecDeque;

use cscf_core::auth::{
    AkaNonce, Algorithm, AuthenticationInfo, Autn, Auts, Challenge as WwwAuthenticate, Credentials,
    Ha1, Hash, NonceCounter,
};
use cscf_core::clause::{own, ts24229, ts33102};
use cscf_core::cx::{AssignmentType, AuthItem, AuthScheme, CxAnswer, CxRequest, CxResult, Mar};
use cscf_core::role::{Action, Env, Question};
use cscf_core::sip::{HeaderName, Headers, Ioi};
use cscf_core::time::{Duration, Instant};

use crate::config::AkaWithoutSecAgree;
use crate::owner::{Job, RegistrationOwner, Rounds};
use crate::refusal::Refusal;
use crate::register::{Protection, Register};
use crate::{ScscfActions, Timer, charging};

/// Authentication vectors that one answer may leave for later.
const SPARE_MAX: usize = 8;

/// A challenge that waits for its answer.
#[derive(Debug)]
pub(crate) struct Challenge {
    nonce: Box<str>,
    secret: Secret,
    call_id: Box<str>,
    /// The public identity it was made for.
    impu: Box<str>,
    nonce_count: NonceCounter,
    since: Instant,
    rounds: Rounds,
    /// Vectors of the same answer, not yet used.
    spare: VecDeque<AuthItem>,
}

/// What proves the user.
#[derive(Clone, Debug)]
pub(crate) enum Secret {
    /// The expected response of a USIM.
    Aka { rand: [u8; 16], xres: Box<[u8]> },
    /// H(A1), one for each hash the subscriber has.
    Digest(Vec<Ha1>),
}

/// Credentials that were right and may be used again, in the clear.
#[derive(Debug)]
pub(crate) struct Accepted {
    nonce: Box<str>,
    secret: Secret,
    nonce_count: NonceCounter,
    until: Instant,
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

impl Challenge {
    /// Whether the REGISTER refers to this challenge: same nonce and Call-ID
    /// (TS 24.229 §5.4.1.2.2).
    pub(crate) fn is_answered_by(&self, register: &Register) -> bool {
        let nonce = register.credentials.as_ref().and_then(Credentials::nonce);
        nonce == Some(&*self.nonce) && register.call_id == self.call_id
    }
}

impl Challenge {
    /// The public identity it was made for.
    pub(crate) fn impu(&self) -> &str {
        &self.impu
    }

    /// What it asks for.
    pub(crate) const fn scheme(&self) -> &'static str {
        match self.secret {
            Secret::Aka { .. } => "AKA",
            Secret::Digest(_) => "digest",
        }
    }

    /// How long it has waited.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.since(self.since)
    }

    /// Wrong answers in a row before it.
    pub(crate) const fn failures(&self) -> u8 {
        self.rounds.failures
    }
}

impl Accepted {
    /// Whether the REGISTER uses this nonce again.
    pub(crate) fn is_named_by(&self, register: &Register) -> bool {
        register.credentials.as_ref().and_then(Credentials::nonce) == Some(&*self.nonce)
    }

    /// Checks a response made with this nonce again.
    pub(crate) fn verify(
        &mut self,
        now: Instant,
        register: &Register,
    ) -> Result<Proof, NotVerified> {
        let info = self.secret.verify(register, &mut self.nonce_count)?;
        if now >= self.until {
            return Err(NotVerified::Stale("the nonce is too old".to_owned()));
        }
        Ok(Proof { info, ..Proof::default() })
    }
}

impl Secret {
    /// Checks the response, then the nonce count: only a right response may use up a count
    /// (RFC 7616 §3.4). Gives the server's own proof for SIP digest.
    fn verify(
        &self,
        register: &Register,
        counter: &mut NonceCounter,
    ) -> Result<Option<AuthenticationInfo>, NotVerified> {
        let wrong = |why: String| NotVerified::Wrong(why);
        let credentials =
            register.credentials.as_ref().ok_or_else(|| wrong("no credentials".to_owned()))?;
        let method = register.request.method.as_str();
        let body = &register.request.body;
        let (ha1, algorithm, is_digest) = match self {
            Self::Aka { xres, .. } => {
                (credentials.ha1(Algorithm::AKAV1_MD5, xres), Algorithm::AKAV1_MD5, false)
            }
            Self::Digest(list) => {
                let asked = credentials.algorithm().map_err(|fault| wrong(fault.to_string()))?;
                let ha1 = list
                    .iter()
                    .find(|ha1| ha1.hash() == asked.hash && asked.aka.is_none() && !asked.session);
                let ha1 = ha1.ok_or_else(|| wrong(format!("{asked} was not offered")))?;
                (ha1.clone(), asked, true)
            }
        };
        credentials
            .verify(&ha1, algorithm, method, body)
            .map_err(|fault| wrong(fault.to_string()))?;
        if let Some(nc) = credentials.nc() {
            counter.accept(nc).map_err(|fault| NotVerified::Stale(fault.to_string()))?;
        }
        Ok(is_digest.then(|| AuthenticationInfo::new(credentials, &ha1, algorithm, b"")))
    }
}

impl RegistrationOwner {
    /// Challenges the user: with a vector at hand, else after asking the HSS for one
    /// (TS 24.229 §5.4.1.2.1). A challenge under way is forgotten (TS 33.203 §6.1.2.3).
    pub(crate) fn challenge(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        rounds: Rounds,
        resync: Option<([u8; 16], [u8; 14])>,
        out: &mut ScscfActions,
    ) {
        let old = self.challenges.remove(register.impi.as_str());
        if old.is_none() && self.challenges.len() >= self.config.challenges_max {
            let why = format!("{} users are under challenge", self.challenges.len());
            let refusal = Refusal::by(503, own("challenges_max"), why);
            let refusal = refusal.with(HeaderName::RetryAfter, "10");
            return refusal.send(env, register.context, &register.request, out);
        }
        let mut spare = old.map(|old| old.spare).unwrap_or_default();
        if resync.is_none() && !spare.is_empty() {
            env.note(ts24229("5.4.1.2.1"), || "takes the next vector at hand".to_owned());
            return self.send_challenge(env, register, rounds, &mut spare, out);
        }
        let scheme = match register.protection {
            Protection::Associated | Protection::None => AuthScheme::Aka,
            Protection::Trusted | Protection::Unknown if resync.is_some() => AuthScheme::Aka,
            Protection::Trusted | Protection::Unknown => AuthScheme::Unknown,
        };
        env.note(ts24229("5.4.1.2.1"), || {
            format!("asks the HSS for authentication data of {} ({scheme:?})", register.impi)
        });
        let question = Mar {
            impi: register.impi.clone(),
            impu: register.impu.clone(),
            server_name: self.config.uri.clone(),
            scheme,
            count: 1,
            resync,
        };
        let ask = env.next_ask();
        self.jobs.insert(ask, Job::Authenticate(Box::new(register), rounds));
        out.push(Action::Ask { ask, question: Question::Cx(CxRequest::Mar(question)) });
    }

    /// Acts on the MAA (TS 24.229 §5.4.1.2.1).
    pub(crate) fn vectors(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        rounds: Rounds,
        answer: CxAnswer,
        out: &mut ScscfActions,
    ) {
        let refusal = match answer {
            CxAnswer::Maa(maa) if maa.result.is_success() => {
                let mut items: VecDeque<_> = maa.items.into_iter().take(SPARE_MAX).collect();
                return self.send_challenge(env, register, rounds, &mut items, out);
            }
            CxAnswer::Maa(maa) => negative(maa.result),
            CxAnswer::Unreachable => {
                Refusal::new(504, "5.4.1.2.1", "the HSS does not answer the MAR")
            }
            _ => Refusal::new(504, "5.4.1.2.1", "the HSS answers something else"),
        };
        refusal.send(env, register.context, &register.request, out);
    }

    /// Sends the 401 with the first of these vectors and starts reg-await-auth
    /// (TS 24.229 §5.4.1.2.1A, §7.8).
    fn send_challenge(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        rounds: Rounds,
        items: &mut VecDeque<AuthItem>,
        out: &mut ScscfActions,
    ) {
        let offer = items.pop_front().and_then(|item| self.offer(env, &item));
        let Some(Offer { nonce, secret, mut challenges }) = offer else {
            let why = "the HSS gives no authentication data that can be used";
            let refusal = Refusal::new(403, "5.4.1.2.1", why);
            return refusal.send(env, register.context, &register.request, out);
        };
        if rounds.stale {
            challenges = challenges.into_iter().map(WwwAuthenticate::with_stale).collect();
        }
        let mut response = register.request.reply(401);
        for challenge in &challenges {
            response.headers.push(HeaderName::WwwAuthenticate, &challenge.to_string());
        }
        self.charge(&register, &mut response.headers);
        env.note(ts24229("5.4.1.2.1A"), || {
            let kind = match &secret {
                Secret::Aka { .. } => "IMS AKA",
                Secret::Digest(_) => "SIP digest",
            };
            format!("challenges {} by {kind}", register.impi)
        });
        let impi: Box<str> = register.impi.as_str().into();
        let at = env.now + self.config.await_auth_for;
        out.push(Action::SetTimer { timer: Timer::AwaitAuth(impi.clone()), at });
        out.push(Action::Reply { context: register.context, response: Box::new(response) });
        let challenge = Challenge {
            nonce: nonce.into(),
            secret,
            call_id: register.call_id,
            impu: register.impu.into(),
            nonce_count: NonceCounter::default(),
            since: env.now,
            rounds: Rounds { stale: false, ..rounds },
            spare: std::mem::take(items),
        };
        self.challenges.insert(impi, challenge);
    }

    /// Makes nonce, secret and header fields of one item; `None` if it is unusable.
    fn offer(&self, env: &mut Env<'_>, item: &AuthItem) -> Option<Offer> {
        match item {
            AuthItem::Aka { rand, autn, xres, ck, ik } => {
                let nonce = AkaNonce {
                    rand: *rand,
                    autn: Autn::from_bytes(*autn),
                    server_data: Vec::new(),
                };
                let nonce = nonce.encode();
                let challenge =
                    WwwAuthenticate::new(self.config.realm(), &nonce, Algorithm::AKAV1_MD5)
                        .with_keys(ck, ik);
                let xres = (4..=16).contains(&xres.len()).then(|| xres.as_slice().into())?;
                let secret = Secret::Aka { rand: *rand, xres };
                Some(Offer { nonce, secret, challenges: vec![challenge] })
            }
            AuthItem::Digest { realm, algorithm, ha1, ha1_sha256 } => {
                let nonce = env.ids.token(16);
                let algorithm: Algorithm = algorithm.parse().ok()?;
                let mut list = Vec::new();
                if let Some(text) = ha1_sha256 {
                    list.extend(Ha1::from_hex(Hash::Sha256, text));
                }
                if list.is_empty() || algorithm.hash != Hash::Sha256 {
                    list.extend(Ha1::from_hex(algorithm.hash, ha1));
                }
                let challenges = list.iter().map(|ha1| {
                    let algorithm = Algorithm { aka: None, hash: ha1.hash(), session: false };
                    WwwAuthenticate::new(realm, &nonce, algorithm)
                });
                let challenges: Vec<_> = challenges.collect();
                let secret = Secret::Digest(list);
                (!challenges.is_empty()).then_some(Offer { nonce, secret, challenges })
            }
        }
    }

    /// Judges the answer to the challenge under way (TS 24.229 §5.4.1.2.2, §5.4.1.2.3A).
    pub(crate) fn answered(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        out: &mut ScscfActions,
    ) {
        let Some(challenge) = self.challenges.get_mut(register.impi.as_str()) else { return };
        let rounds = challenge.rounds;
        let auts = register.credentials.as_ref().and_then(Credentials::auts).map(str::to_owned);
        if let (Some(auts), Secret::Aka { rand, .. }) = (auts, &challenge.secret) {
            let rand = *rand;
            return self.resynchronise(env, register, (&auts, rand), rounds, out);
        }
        if !register.has_response() {
            let why = "the UE found the MAC of the challenge wrong";
            return self.failed(env, register, why, true, out);
        }
        if matches!(challenge.secret, Secret::Aka { .. }) {
            match register.protection {
                Protection::None => {
                    env.refuse(ts24229("5.4.1.2.2"), || {
                        "an AKA response without integrity protection is not accepted".to_owned()
                    });
                    return self.challenge(env, register, rounds, None, out);
                }
                Protection::Unknown => match self.config.aka_without_sec_agree {
                    AkaWithoutSecAgree::Allow => {
                        env.note(own("aka_without_sec_agree"), || {
                            "an AKA response without security agreement counts in this lab".into()
                        });
                    }
                    AkaWithoutSecAgree::Deny => {
                        let why = "AKA without security agreement is not allowed";
                        let refusal = Refusal::by(403, own("aka_without_sec_agree"), why);
                        self.drop_challenge(&register.impi, out);
                        return refusal.send(env, register.context, &register.request, out);
                    }
                },
                Protection::Associated | Protection::Trusted => {}
            }
        }
        match challenge.secret.verify(&register, &mut challenge.nonce_count) {
            Ok(info) => self.succeeded(env, register, info, out),
            Err(NotVerified::Wrong(why)) => {
                let retry = self.config.retry_after_wrong_response;
                self.failed(env, register, &why, retry, out);
            }
            Err(fault @ NotVerified::Stale(_)) => self.not_verified(env, register, &fault, out),
        }
    }

    fn succeeded(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        info: Option<AuthenticationInfo>,
        out: &mut ScscfActions,
    ) {
        let Some(challenge) = self.drop_challenge(&register.impi, out) else { return };
        env.note(ts24229("5.4.1.2.2"), || format!("{} is authenticated", register.impi));
        let Challenge { nonce, secret, nonce_count, since, .. } = challenge;
        // Over a security association the P-CSCF vouches for the user from now on.
        let again = register.protection == Protection::Unknown;
        let until = since + self.config.nonce_for;
        let accepted = again.then_some(Accepted { nonce, secret, nonce_count, until });
        let proof = Proof { authenticated: true, challenged: true, info, accepted };
        self.accept(env, register, proof, out);
    }

    /// The USIM's sequence number is out of step: the HSS repairs it, and a new challenge goes out
    /// (TS 33.102 §6.3.5, TS 24.229 §5.4.1.2.3A).
    fn resynchronise(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        (auts, rand): (&str, [u8; 16]),
        rounds: Rounds,
        out: &mut ScscfActions,
    ) {
        let auts = match Auts::decode(auts) {
            Ok(auts) => auts.to_bytes(),
            Err(fault) => {
                let refusal = Refusal::new(400, "5.4.1.2.3A", format!("auts: {fault}"));
                return refusal.send(env, register.context, &register.request, out);
            }
        };
        let resyncs = rounds.resyncs.saturating_add(1);
        if resyncs > self.config.resyncs_max {
            self.drop_challenge(&register.impi, out);
            let why = format!("synchronisation failed {resyncs} times in a row");
            let refusal = Refusal::new(403, "5.4.1.2.3A", why);
            return refusal.send(env, register.context, &register.request, out);
        }
        env.note(ts33102("6.3.5"), || format!("{} is out of step: AUTS", register.impi));
        if let Some(challenge) = self.challenges.get_mut(register.impi.as_str()) {
            // Vectors made before the repair are no longer good.
            challenge.spare.clear();
        }
        self.challenge(env, register, Rounds { resyncs, ..rounds }, Some((rand, auts)), out);
    }

    /// An answer was wrong: another challenge while the count allows, else 403; a registration that
    /// stands is not touched (TS 24.229 §5.4.1.2.3A, §5.4.1.2.3B).
    fn failed(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        why: &str,
        retry: bool,
        out: &mut ScscfActions,
    ) {
        let Some(challenge) = self.challenges.get(register.impi.as_str()) else { return };
        let rounds = challenge.rounds;
        let failures = rounds.failures.saturating_add(1);
        if retry && failures < self.config.failures_max {
            env.refuse(ts24229("5.4.1.2.3A"), || format!("{why}: challenges again"));
            return self.challenge(env, register, Rounds { failures, ..rounds }, None, out);
        }
        self.drop_challenge(&register.impi, out);
        if self.set_id(&register.impu).is_none() {
            let why = AssignmentType::AuthenticationFailure;
            self.tell(env, &register.impi, &register.impu, why, out);
        }
        let refusal = Refusal::new(403, "5.4.1.2.3A", why);
        refusal.send(env, register.context, &register.request, out);
    }

    /// A response with known credentials was not right, or right too late.
    pub(crate) fn not_verified(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        fault: &NotVerified,
        out: &mut ScscfActions,
    ) {
        match fault {
            NotVerified::Stale(why) => {
                env.note(ts24229("5.4.1.2.3B"), || format!("stale: {why}"));
                let rounds = Rounds { stale: true, ..Rounds::default() };
                self.challenge(env, register, rounds, None, out);
            }
            NotVerified::Wrong(why) => {
                let refusal = Refusal::new(403, "5.4.1.2.3B", why.as_str());
                refusal.send(env, register.context, &register.request, out);
            }
        }
    }

    fn drop_challenge(&mut self, impi: &str, out: &mut ScscfActions) -> Option<Challenge> {
        let challenge = self.challenges.remove(impi)?;
        out.push(Action::ClearTimer { timer: Timer::AwaitAuth(impi.into()) });
        Some(challenge)
    }

    /// Nobody answered the challenge: the vector is gone, the HSS hears of it, and the state is
    /// what it was before (TS 24.229 §5.4.1.2.3A).
    pub(crate) fn await_auth_over(
        &mut self,
        env: &mut Env<'_>,
        impi: &str,
        out: &mut ScscfActions,
    ) {
        let Some(challenge) = self.challenges.remove(impi) else { return };
        env.note(ts24229("5.4.1.2.3A"), || format!("{impi} did not answer its challenge"));
        self.tell(env, impi, &challenge.impu, AssignmentType::AuthenticationTimeout, out);
    }

    /// Returns what came in P-Charging-Vector, and our own network (TS 24.229 §5.4.1.2.2F).
    pub(crate) fn charge(&self, register: &Register, headers: &mut Headers) {
        let came = charging::vector(&register.request.headers);
        charging::set_response(headers, came.as_ref(), &self.type_1());
    }

    /// This network towards that of the P-CSCF.
    pub(crate) fn type_1(&self) -> Ioi {
        Ioi::Type1(self.config.realm().to_owned())
    }
}

/// One way to challenge.
struct Offer {
    nonce: String,
    secret: Secret,
    challenges: Vec<WwwAuthenticate>,
}

/// The answer to a REGISTER when the HSS says no to MAR or SAR (TS 24.229 §5.4.1.2.1,
/// §5.4.1.2.2).
pub(crate) fn negative(result: CxResult) -> Refusal {
    let why = format!("the HSS says {result:?}");
    match result {
        CxResult::TooBusy | CxResult::UnableToComply | CxResult::Other(_) => {
            Refusal::new(504, "5.4.1.2", why)
        }
        _ => Refusal::new(403, "5.4.1.2", why),
    }
}
