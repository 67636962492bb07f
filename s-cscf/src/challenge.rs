//! Challenging a user and judging the answer: IMS AKA and SIP digest (TS 24.229 §5.4.1.2.1,
//! §5.4.1.2.2, §5.4.1.2.3A, §5.4.1.2.3B; RFC 3310, RFC 7616).

use std::collections::VecDeque;
use std::net::IpAddr;

use cscf_core::auth::{AuthenticationInfo, Auts, Challenge as WwwAuthenticate, NonceCounter};
use cscf_core::clause::{own, ts24229, ts33102};
use cscf_core::cx::{AssignmentType, AuthItem, AuthScheme, CxAnswer, CxRequest, Mar};
use cscf_core::role::{Action, Env, Question};
use cscf_core::sip::{HeaderName, Headers};
use cscf_core::time::{Duration, Instant};

use crate::cause;
use crate::config::AkaWithoutSecAgree;
use crate::owner::{Job, RegistrationOwner, Rounds};
use crate::refusal::Refusal;
use crate::register::{Protection, Register};
use crate::secret::{Accepted, NotVerified, Offer, Proof, Secret};
use crate::{ScscfActions, Timer, charging};

/// Authentication vectors that one answer may leave for later.
const SPARE_MAX: usize = 8;

/// Challenges that a private identity may have under way, each for another Call-ID; one more takes
/// the place of the oldest.
const PENDING_MAX: usize = 4;

/// The challenges of a private identity that wait for their answer. A UE that starts anew keeps its
/// Call-ID and replaces its own challenge; another Call-ID may be a stranger, who must not be able
/// to take the user's challenge away.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    list: VecDeque<Challenge>,
    /// Vectors of the HSS, not yet used, in the order of their sequence numbers.
    spare: VecDeque<AuthItem>,
}

/// A challenge that waits for its answer.
#[derive(Debug)]
pub(crate) struct Challenge {
    nonce: Box<str>,
    secret: Secret,
    call_id: Box<str>,
    /// The public identity it was made for.
    impu: Box<str>,
    /// The host in Contact of the REGISTER that was challenged.
    contact: Option<IpAddr>,
    nonce_count: NonceCounter,
    since: Instant,
    rounds: Rounds,
}

impl Pending {
    /// Whether the REGISTER answers one of these challenges: same nonce and Call-ID
    /// (TS 24.229 §5.4.1.2.2).
    pub(crate) fn is_answered_by(&self, register: &Register) -> bool {
        self.list.iter().any(|challenge| challenge.is_answered_by(register))
    }

    /// Whether a challenge with the Call-ID of the REGISTER, or with its nonce, waits.
    pub(crate) fn waits_for(&self, register: &Register) -> bool {
        let named = |challenge: &Challenge| register.nonce() == Some(&*challenge.nonce);
        self.list.iter().any(|its| its.call_id == register.call_id || named(its))
    }

    /// The challenges, the oldest first.
    pub(crate) fn list(&self) -> impl Iterator<Item = &Challenge> {
        self.list.iter()
    }

    /// What proves the user, of each challenge.
    pub(crate) fn secrets(&mut self) -> impl Iterator<Item = &mut Secret> {
        self.list.iter_mut().map(|challenge| &mut challenge.secret)
    }

    fn answered_by(&mut self, register: &Register) -> Option<&mut Challenge> {
        self.list.iter_mut().find(|challenge| challenge.is_answered_by(register))
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

    fn is_answered_by(&self, register: &Register) -> bool {
        register.nonce() == Some(&*self.nonce) && register.call_id == self.call_id
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
        let impi = register.impi.as_str();
        if !self.challenges.contains_key(impi)
            && self.challenges.len() >= self.config.challenges_max
        {
            let why = format!("{} users are under challenge", self.challenges.len());
            let cause = cause::too_many_challenges(self.config.challenges_max);
            let refusal = Refusal::by(503, own("challenges_max"), why).because(cause);
            let refusal = refusal.with(HeaderName::RetryAfter, "10");
            return refusal.send(env, register.context, &register.request, out);
        }
        let mut spare = self.take_spare(&register);
        if resync.is_some() {
            // Vectors made before the repair are no longer good.
            spare.clear();
        }
        self.drop_challenge(&register, out);
        if !spare.is_empty() {
            env.note(ts24229("5.4.1.2.1"), || "takes the next vector at hand".to_owned());
            return self.send_challenge(env, register, rounds, spare, out);
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
            count: self.config.vectors_per_request.max(1),
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
                let items = maa.items.into_iter().take(SPARE_MAX).collect();
                return self.send_challenge(env, register, rounds, items, out);
            }
            CxAnswer::Maa(maa) => self.negative(maa.result),
            CxAnswer::Unreachable => self.no_answer("the HSS does not answer the MAR"),
            _ => self.no_answer("the HSS answers something else"),
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
        mut items: VecDeque<AuthItem>,
        out: &mut ScscfActions,
    ) {
        let first = items.pop_front();
        let offer = first.and_then(|item| Offer::new(env, &self.config, &register.impi, &item));
        let Some(Offer { nonce, secret, mut challenges }) = offer else {
            let why = "the HSS gives no authentication data that can be used";
            let refusal = Refusal::new(403, "5.4.1.2.1", why).because(cause::no_vector());
            return refusal.send(env, register.context, &register.request, out);
        };
        if rounds.stale {
            challenges = challenges.into_iter().map(WwwAuthenticate::with_stale).collect();
        }
        let mut response = register.request.reply(401);
        for challenge in &challenges {
            response.headers.push(HeaderName::WwwAuthenticate, &challenge.text());
        }
        self.charge(&register, &mut response.headers);
        env.note(ts24229("5.4.1.2.1A"), || {
            format!("challenges {} by {}", register.impi, secret.kind())
        });
        out.push(Action::Reply { context: register.context, response: Box::new(response) });
        let challenge = Challenge {
            nonce: nonce.into(),
            secret,
            contact: cause::contact_host(&register),
            call_id: register.call_id,
            impu: register.impu.into(),
            nonce_count: NonceCounter::default(),
            since: env.now,
            rounds: Rounds { stale: false, ..rounds },
        };
        let pending = self.challenges.entry(register.impi.as_str().into()).or_default();
        // An answer of the HSS that came late may find another challenge of the same Call-ID.
        pending.list.retain(|old| old.call_id != challenge.call_id);
        pending.list.push_back(challenge);
        if pending.list.len() > PENDING_MAX {
            pending.list.pop_front();
        }
        pending.spare.extend(items);
        pending.spare.truncate(SPARE_MAX);
        self.await_auth(&register.impi, out);
    }

    /// Sets reg-await-auth to the end of the oldest challenge of the user; forgets who has none
    /// (TS 24.229 §7.8).
    fn await_auth(&mut self, impi: &str, out: &mut ScscfActions) {
        let timer = Timer::AwaitAuth(impi.into());
        let oldest = self.challenges.get(impi).and_then(|its| its.list.front());
        match oldest.map(|challenge| challenge.since + self.config.await_auth_for) {
            Some(at) => out.push(Action::SetTimer { timer, at }),
            None => {
                self.challenges.remove(impi);
                out.push(Action::ClearTimer { timer });
            }
        }
    }

    /// Vectors at hand: those of challenges under way, else those left when the user registered.
    fn take_spare(&mut self, register: &Register) -> VecDeque<AuthItem> {
        if let Some(pending) = self.challenges.get_mut(register.impi.as_str()) {
            return std::mem::take(&mut pending.spare);
        }
        let set = self.set_id(&register.impu).and_then(|id| self.sets.get_mut(&id));
        let user = set.and_then(|set| set.users.get_mut(register.impi.as_str()));
        let spare = user.map(|user| std::mem::take(&mut user.spare));
        Vec::from(spare.unwrap_or_default()).into()
    }

    /// Judges the answer to the challenge under way (TS 24.229 §5.4.1.2.2, §5.4.1.2.3A).
    pub(crate) fn answered(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        out: &mut ScscfActions,
    ) {
        let pending = self.challenges.get_mut(register.impi.as_str());
        let Some(challenge) = pending.and_then(|its| its.answered_by(&register)) else { return };
        let Some(credentials) = &register.credentials else { return };
        if let Some(cause) = cause::moved(&register, challenge.contact) {
            let text = "the answer to the challenge has another address in Contact".to_owned();
            env.diagnose(ts24229("5.1.1.5.1"), text, cause);
        }
        let rounds = challenge.rounds;
        let auts = credentials.auts().map(str::to_owned);
        if let (Some(auts), Secret::Aka { vector, .. }) = (auts, &challenge.secret) {
            let rand = vector.rand;
            return self.resynchronise(env, register, (&auts, rand), rounds, out);
        }
        if !register.has_response() {
            let why = "the UE found the MAC of the challenge wrong";
            return self.failed(env, register, why, true, out);
        }
        if matches!(challenge.secret, Secret::Aka { .. }) {
            match register.protection {
                Protection::None => {
                    let text = "an AKA response without integrity protection is not accepted";
                    let cause = cause::in_the_clear(&register);
                    env.diagnose(ts24229("5.4.1.2.2"), text.to_owned(), cause);
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
                        let cause = cause::without_sec_agree(&register);
                        let refusal = Refusal::by(403, own("aka_without_sec_agree"), why);
                        let refusal = refusal.because(cause);
                        self.drop_challenge(&register, out);
                        return refusal.send(env, register.context, &register.request, out);
                    }
                },
                Protection::Associated | Protection::Trusted => {}
            }
        }
        let counter = &mut challenge.nonce_count;
        match challenge.secret.verify(credentials, &register.request, counter) {
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
        let spare = self.take_spare(&register);
        let Some(challenge) = self.drop_challenge(&register, out) else { return };
        // The user is known now: whoever else was challenged in its name is forgotten.
        self.challenges.remove(register.impi.as_str());
        self.await_auth(&register.impi, out);
        env.note(ts24229("5.4.1.2.2"), || format!("{} is authenticated", register.impi));
        let Challenge { nonce, secret, nonce_count, since, .. } = challenge;
        // Over a security association the P-CSCF vouches for the user from now on.
        let again = register.protection == Protection::Unknown;
        let until = since + self.config.nonce_for;
        let accepted = again.then_some(Accepted { nonce, secret, nonce_count, until });
        let proof = Proof { authenticated: true, challenged: true, info, accepted, spare };
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
                let cause = cause::unreadable(HeaderName::Authorization, auts, "auts of 14 octets");
                let refusal = Refusal::new(400, "5.4.1.2.3A", format!("auts: {fault}"));
                let refusal = refusal.because(cause);
                return refusal.send(env, register.context, &register.request, out);
            }
        };
        let resyncs = rounds.resyncs.saturating_add(1);
        if resyncs > self.config.resyncs_max {
            self.drop_challenge(&register, out);
            let why = format!("synchronisation failed {resyncs} times in a row");
            let cause = cause::out_of_step(&register.impi, resyncs, self.config.resyncs_max);
            let refusal = Refusal::new(403, "5.4.1.2.3A", why).because(cause);
            return refusal.send(env, register.context, &register.request, out);
        }
        env.note(ts33102("6.3.5"), || format!("{} is out of step: AUTS", register.impi));
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
        let pending = self.challenges.get_mut(register.impi.as_str());
        let Some(challenge) = pending.and_then(|its| its.answered_by(&register)) else { return };
        let rounds = challenge.rounds;
        let failures = rounds.failures.saturating_add(1);
        if retry && failures < self.config.failures_max {
            let cause = cause::wrong_answer(&register, why);
            env.diagnose(ts24229("5.4.1.2.3A"), format!("{why}: challenges again"), cause);
            return self.challenge(env, register, Rounds { failures, ..rounds }, None, out);
        }
        self.drop_challenge(&register, out);
        if self.set_id(&register.impu).is_none() {
            let why = AssignmentType::AuthenticationFailure;
            self.tell(env, &register.impi, &register.impu, why, out);
        }
        let cause = cause::wrong_answer(&register, why);
        let refusal = Refusal::new(403, "5.4.1.2.3A", why).because(cause);
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
                let cause = cause::wrong_answer(&register, why);
                let refusal = Refusal::new(403, "5.4.1.2.3B", why.as_str()).because(cause);
                refusal.send(env, register.context, &register.request, out);
            }
        }
    }

    /// Forgets the challenge with the Call-ID of this REGISTER.
    fn drop_challenge(&mut self, register: &Register, out: &mut ScscfActions) -> Option<Challenge> {
        let pending = self.challenges.get_mut(register.impi.as_str())?;
        let at = pending.list.iter().position(|its| its.call_id == register.call_id)?;
        let challenge = pending.list.remove(at);
        self.keep_spare(&register.impi, &register.impu);
        self.await_auth(&register.impi, out);
        challenge
    }

    /// With its last challenge a registered user gets the vectors back that were left for it.
    fn keep_spare(&mut self, impi: &str, impu: &str) {
        let id = self.set_id(impu);
        let Some(pending) = self.challenges.get_mut(impi) else { return };
        if pending.list.is_empty() {
            let spare = std::mem::take(&mut pending.spare);
            let set = id.and_then(|id| self.sets.get_mut(&id));
            if let Some(user) = set.and_then(|set| set.users.get_mut(impi)) {
                user.spare = Vec::from(spare).into();
            }
        }
    }

    /// Nobody answered the challenge: the vector is gone, the HSS hears of it, and the state is
    /// what it was before (TS 24.229 §5.4.1.2.3A).
    pub(crate) fn await_auth_over(
        &mut self,
        env: &mut Env<'_>,
        impi: &str,
        out: &mut ScscfActions,
    ) {
        let Some(pending) = self.challenges.get_mut(impi) else { return };
        let Some(challenge) = pending.list.pop_front() else { return };
        let seconds = self.config.await_auth_for.as_secs();
        let text = format!("{impi} did not answer its challenge within {seconds} s");
        env.diagnose(ts24229("5.4.1.2.3A"), text, cause::no_answer(impi, seconds));
        self.keep_spare(impi, &challenge.impu);
        self.await_auth(impi, out);
        self.tell(env, impi, &challenge.impu, AssignmentType::AuthenticationTimeout, out);
    }

    /// Returns what came in P-Charging-Vector, and our own network (TS 24.229 §5.4.1.2.2F).
    pub(crate) fn charge(&self, register: &Register, headers: &mut Headers) {
        let came = charging::vector(&register.request.headers);
        charging::set_response(headers, came.as_ref(), &charging::to_p_cscf(&self.config));
    }
}
