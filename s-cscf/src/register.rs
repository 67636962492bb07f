//! A REGISTER at the S-CSCF (TS 24.229 §5.4.1.1, §5.4.1.2): reading it, checking what does not
//! depend on the user, and deciding whether to challenge, to believe or to refuse it.

use cscf_core::auth::{Credentials, IntegrityProtected, is_digest};
use cscf_core::clause::{own, rfc3261, rfc3327, rfc5630, ts24229};
use cscf_core::dialog::field::uri_of;
use cscf_core::registrar::{Wish, WishError, identity_key};
use cscf_core::role::{ContextId, Env, Incoming};
use cscf_core::sip::{HeaderName, Request, is_sips};
use cscf_core::time::{Duration, Instant};

use crate::cause;
use crate::owner::{RegistrationOwner, Rounds};
use crate::refusal::Refusal;
use crate::restoration::Waiting;
use crate::secret::Proof;
use crate::users::User;
use crate::{Config, ScscfActions};

/// Option tags of Require that a registrar here understands.
const EXTENSIONS: [&str; 4] = ["gruu", "outbound", "path", "sec-agree"];

/// Path values that one REGISTER may carry.
const PATH_MAX: usize = 16;

/// The longest identity, Call-ID or nonce that is kept, in bytes.
const KEPT_MAX: usize = 1024;

/// The contacts and the path of one REGISTER together, in bytes.
const CONTACTS_BYTES_MAX: usize = 16 * 1024;

/// A REGISTER, read.
#[derive(Debug)]
pub(crate) struct Register {
    pub(crate) context: ContextId,
    pub(crate) request: Request,
    /// The private identity: the username, else derived from To (TS 24.229 §5.4.1.1).
    pub(crate) impi: String,
    /// The public identity in To, as it is asked for at the HSS.
    pub(crate) impu: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) protection: Protection,
    pub(crate) wish: Wish,
    pub(crate) path: Box<[Box<str>]>,
    pub(crate) call_id: Box<str>,
    pub(crate) cseq: u32,
    /// The HSS was asked already what it keeps of the user.
    pub(crate) asked_restoration: bool,
}

/// What the P-CSCF says of the way the REGISTER came (TS 24.229 §5.4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// `yes`: by the user's security association.
    Associated,
    /// `no`: in the clear, and the UE wants IMS AKA.
    None,
    /// `auth-done`: another trusted node has authenticated the user.
    Trusted,
    /// Nothing, or one of the values of SIP digest: the response alone proves the user.
    Unknown,
}

/// Who registers, and what it wants: the part of a REGISTER that can be refused.
struct Facts {
    impi: String,
    impu: String,
    credentials: Option<Credentials>,
    wish: Wish,
}

impl Facts {
    /// Reads and checks what does not depend on the user (TS 24.229 §5.4.1.2.1,
    /// RFC 3261 §10.3 steps 2 to 6).
    fn read(incoming: &Incoming, config: &Config) -> Result<Self, Refusal> {
        let request = &incoming.request;
        if !config.trusts(incoming.flow.remote) {
            let why = format!("{} is no trusted peer", incoming.flow.remote);
            let cause = cause::stranger(incoming.flow.remote);
            return Err(Refusal::new(403, "5.4.1.1", why).because(cause));
        }
        let unknown = unknown_extensions(request);
        if !unknown.is_empty() {
            let impu = request.headers.get(HeaderName::To).unwrap_or_default();
            let cause = cause::unknown_extension(impu, &unknown, &EXTENSIONS.join(", "));
            let refusal = Refusal::by(420, rfc3261("10.3"), format!("Require: {unknown}"));
            return Err(refusal.because(cause).with(HeaderName::Unsupported, unknown));
        }
        if config.strict_path && !says_path(request) {
            let why = "there is a Path, and neither Supported nor Require says path";
            let refusal = Refusal::by(420, rfc3327("5.3"), why).because(cause::path_not_known());
            return Err(refusal.with(HeaderName::Unsupported, "path"));
        }
        let to = request
            .to_uri()
            .map_err(|fault| unreadable(request, HeaderName::To, &fault.to_string()))?;
        let impu = identity_key(&to)
            .ok_or_else(|| unreadable(request, HeaderName::To, "no public user identity"))?;
        // Credentials of a scheme that nobody here knows are none (RFC 4475 §3.3.7).
        let mut lines = request.headers.fields(HeaderName::Authorization);
        let credentials = match lines.find(|field| is_digest(field.value())) {
            None => None,
            Some(field) => Some(field.unfolded().parse::<Credentials>().map_err(|fault| {
                unreadable(request, HeaderName::Authorization, &fault.to_string())
            })?),
        };
        let username = credentials.as_ref().and_then(Credentials::username);
        let impi = match username {
            Some(name) if !name.is_empty() => name.into_owned(),
            _ => impu.split_once(':').map_or_else(|| impu.clone(), |(_, rest)| rest.to_owned()),
        };
        may_be_kept(request, &impi, &impu)?;
        let mut wish = Wish::read(request, &config.expiry)
            .map_err(|fault| unwilling(request, &fault, &impu))?;
        crate::outbound::check(request, &mut wish)?;
        all_secure(request)?;
        // A registration for emergency calls is taken wherever the user is (TS 24.229 §5.4.8).
        if let Some(allowed) = &config.visited_networks
            && !wish.is_emergency()
        {
            roams(&visited_network(request), allowed)?;
        }
        Ok(Self { impi, impu, credentials, wish })
    }
}

impl Register {
    fn new(incoming: Incoming, facts: Facts) -> Self {
        let Incoming { context, request, .. } = incoming;
        let Facts { impi, impu, credentials, wish } = facts;
        let path = request.headers.values(HeaderName::Path).take(PATH_MAX);
        Self {
            context,
            impi,
            impu,
            protection: protection(credentials.as_ref()),
            credentials,
            wish,
            path: path.map(Into::into).collect(),
            call_id: request.call_id().unwrap_or_default().into(),
            cseq: request.cseq().map_or(0, |cseq| cseq.number),
            asked_restoration: false,
            request,
        }
    }

    /// Whether there is a response to a challenge.
    pub(crate) fn has_response(&self) -> bool {
        self.credentials.as_ref().is_some_and(|its| its.response().is_some())
    }

    /// The nonce that the UE used.
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.credentials.as_ref().and_then(Credentials::nonce)
    }

    /// The network that the REGISTER came through.
    pub(crate) fn visited_network(&self) -> String {
        visited_network(&self.request)
    }
}

/// The 4xx for contacts that cannot be granted (RFC 3261 §10.3).
fn unwilling(request: &Request, fault: &WishError, impu: &str) -> Refusal {
    match fault {
        WishError::TooBrief { asked, min } => Refusal::by(423, rfc3261("10.3"), fault.to_string())
            .because(cause::too_brief(impu, asked, min))
            .with(HeaderName::MinExpires, min.to_string()),
        _ => unreadable(request, HeaderName::Contact, &fault.to_string()),
    }
}

/// What is kept of a REGISTER, for a challenge or a registration, has bounds.
fn may_be_kept(request: &Request, impi: &str, impu: &str) -> Result<(), Refusal> {
    let headers = &request.headers;
    let size = |name| headers.fields(name).map(|field| field.value().len()).sum::<usize>();
    let call_id = headers.get(HeaderName::CallId).unwrap_or_default();
    let too_long = |name, max| {
        let mut refusal = unreadable(request, name, &format!("at most {max} bytes are kept"));
        refusal.clause = own("limits");
        Err(refusal)
    };
    if impu.len() > KEPT_MAX {
        return too_long(HeaderName::To, KEPT_MAX);
    }
    if impi.len() > KEPT_MAX {
        return too_long(HeaderName::Authorization, KEPT_MAX);
    }
    if call_id.len() > KEPT_MAX {
        return too_long(HeaderName::CallId, KEPT_MAX);
    }
    if size(HeaderName::Contact) + size(HeaderName::Path) > CONTACTS_BYTES_MAX {
        return too_long(HeaderName::Contact, CONTACTS_BYTES_MAX);
    }
    Ok(())
}

/// The 400 for a header that cannot be used.
fn unreadable(request: &Request, name: HeaderName, why: &str) -> Refusal {
    let came = request.headers.get(name).unwrap_or_default();
    let cause = cause::unreadable(name, came, why);
    Refusal::by(400, rfc3261("10.3"), format!("{}: {why}", name.as_str())).because(cause)
}

/// Whether this network has an agreement with the one that the REGISTER came through
/// (TS 24.229 §5.4.1.2.1).
fn roams(visited: &str, allowed: &[String]) -> Result<(), Refusal> {
    if allowed.iter().any(|network| network.eq_ignore_ascii_case(visited)) {
        return Ok(());
    }
    let why = format!("no roaming agreement with {visited}, only with {}", allowed.join(", "));
    Err(Refusal::new(403, "5.4.1.2.1", why).because(cause::no_roaming(visited, allowed)))
}

/// A `sips` contact is bound only where all of the way to it is by TLS: the Request-URI and each
/// Path are `sips` URIs, too (RFC 5630 §5.2).
fn all_secure(request: &Request) -> Result<(), Refusal> {
    let has_sips = |name| request.headers.values(name).any(|it| is_sips(uri_of(it)));
    if !has_sips(HeaderName::Contact) {
        return Ok(());
    }
    let paths = request.headers.values(HeaderName::Path);
    let open = paths.map(uri_of).chain([&*request.request_uri]).find(|uri| !is_sips(uri));
    let Some(open) = open else { return Ok(()) };
    let why = format!("a sips Contact, and on the way to it is {open}");
    let impu = request.headers.get(HeaderName::To).unwrap_or_default();
    let refusal = Refusal::by(400, rfc5630("5.2"), why);
    Err(refusal.because(cause::not_all_secure(impu, open)))
}

/// Whether the UE, or somebody on the way, says that Path is understood (RFC 3327 §5.3).
fn says_path(request: &Request) -> bool {
    let headers = &request.headers;
    let says = |name| headers.has_token(name, "path");
    !headers.contains(HeaderName::Path) || says(HeaderName::Supported) || says(HeaderName::Require)
}

fn unknown_extensions(request: &Request) -> String {
    let known = |tag: &&str| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(tag));
    let tags = request.headers.values(HeaderName::Require).filter(|tag| !known(tag));
    tags.collect::<Vec<_>>().join(", ")
}

fn visited_network(request: &Request) -> String {
    let networks = request.headers.visited_networks().unwrap_or_default();
    networks.into_iter().next().map(|its| its.network).unwrap_or_default()
}

fn protection(credentials: Option<&Credentials>) -> Protection {
    let Some(credentials) = credentials else { return Protection::Unknown };
    let raw = credentials.params.raw("integrity-protected").unwrap_or_default();
    match credentials.integrity_protected() {
        Some(IntegrityProtected::Yes) => Protection::Associated,
        Some(IntegrityProtected::No) => Protection::None,
        None if raw.eq_ignore_ascii_case("auth-done") => Protection::Trusted,
        _ => Protection::Unknown,
    }
}

impl RegistrationOwner {
    /// Takes a REGISTER (TS 24.229 §5.4.1).
    pub(crate) fn register(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut ScscfActions,
    ) {
        let register = match Facts::read(&incoming, &self.config) {
            Ok(facts) => Register::new(incoming, facts),
            Err(refusal) => {
                return refusal.send(env, incoming.context, &incoming.request, out);
            }
        };
        let challenge = self.challenges.get(register.impi.as_str());
        if challenge.is_some_and(|challenge| challenge.is_answered_by(&register)) {
            return self.answered(env, register, out);
        }
        let pending = challenge.is_some_and(|challenge| challenge.waits_for(&register));
        match register.protection {
            Protection::Trusted => {
                env.note(ts24229("5.4.1.2.1"), || {
                    format!("{} was authenticated by a trusted node", register.impi)
                });
                self.accept(env, register, Proof::elsewhere(), out);
            }
            Protection::Associated => self.protected(env, register, pending, out),
            Protection::None => self.challenge(env, register, Rounds::default(), None, out),
            Protection::Unknown if self.is_giba(&register) => self.ask_address(env, register, out),
            Protection::Unknown => self.unprotected(env, register, out),
        }
    }

    /// A REGISTER over the user's security association that answers no challenge
    /// (TS 24.229 §5.4.1.2.2).
    pub(crate) fn protected(
        &mut self,
        env: &mut Env<'_>,
        mut register: Register,
        pending: bool,
        out: &mut ScscfActions,
    ) {
        if pending {
            env.note(ts24229("5.4.1.2.2"), || {
                "not the answer to the challenge under way: challenges anew".to_owned()
            });
            return self.challenge(env, register, Rounds::default(), None, out);
        }
        let known = self.user(&register.impu, &register.impi).is_some();
        if !known && self.config.restoration && !register.asked_restoration {
            register.asked_restoration = true;
            let (impi, impu) = (register.impi.clone(), register.impu.clone());
            let waiting = Waiting::Register(Box::new(register));
            return self.ask_restoration(env, (Some(&impi), &impu), waiting, out);
        }
        let Some(user) = self.user(&register.impu, &register.impi) else {
            let (status, why) = if register.wish.deregisters() {
                (481, "no binding of this user to take away")
            } else {
                (500, "protected, but this S-CSCF has no registration of the user")
            };
            let cause = cause::not_known(&register);
            let refusal = Refusal::new(status, "5.4.1.2.3A", why).because(cause);
            return refusal.send(env, register.context, &register.request, out);
        };
        let due = self.due_again(env.now, user).filter(|_| !register.wish.deregisters());
        if let Some(why) = due {
            env.note(ts24229("5.4.1.2.2"), || {
                format!("{} is authenticated again: {why}", register.impi)
            });
            return self.challenge(env, register, Rounds::default(), None, out);
        }
        if self.has_new_contact(&register) {
            let why = "a new contact over a security association, and no reg-id";
            let cause = cause::new_contact(&register, &self.bound_contacts(&register));
            let refusal = Refusal::new(403, "5.4.1.2.2", why).because(cause);
            return refusal.send(env, register.context, &register.request, out);
        }
        env.note(ts24229("5.4.1.2.2"), || {
            format!("{} is integrity protected: no challenge", register.impi)
        });
        self.accept(env, register, Proof::association(), out);
    }

    /// Why the policy has a registered user authenticate again, if it does
    /// (TS 24.229 §5.4.1.2.2).
    fn due_again(&self, now: Instant, user: &User) -> Option<String> {
        let every = self.config.reauthenticate_every;
        let age = now - user.authenticated_at;
        if user.reauthenticate {
            return Some("the operator wants it".to_owned());
        }
        if every > 0 && user.refreshes + 1 >= every {
            return Some(format!("every REGISTER number {every} is challenged"));
        }
        let oldest = self.config.reauthenticate_after.filter(|oldest| age >= *oldest)?;
        let (age, oldest) = (age.as_secs(), oldest.as_secs());
        Some(format!("it was authenticated {age} s ago, {oldest} s are the limit"))
    }

    /// Whether the REGISTER binds an address that this user has not bound, without naming a flow.
    fn has_new_contact(&self, register: &Register) -> bool {
        let Wish::Update(list) = &register.wish else { return false };
        let set = self.set_id(&register.impu).and_then(|id| self.sets.get(&id));
        let Some(set) = set else { return true };
        list.iter().any(|wish| {
            wish.expires > Duration::ZERO
                && wish.address.param("reg-id").is_none()
                && set.bindings.find(&register.impi, &wish.address).is_none()
        })
    }

    /// The contacts that the user has.
    fn bound_contacts(&self, register: &Register) -> String {
        let set = self.set_id(&register.impu).and_then(|id| self.sets.get(&id));
        let bound = set.into_iter().flat_map(|set| set.bindings.of_user(&register.impi));
        bound.map(|its| its.contact.uri()).collect::<Vec<_>>().join(", ")
    }

    /// A REGISTER in the clear that answers no challenge under way: the credentials of the last
    /// registration may be used again, all else is challenged (TS 24.229 §5.4.1.2.2A).
    fn unprotected(&mut self, env: &mut Env<'_>, register: Register, out: &mut ScscfActions) {
        if register.has_response()
            && let Some(credentials) = &register.credentials
            && let Some(id) = self.set_id(&register.impu)
            && let Some(set) = self.sets.get_mut(&id)
            && let Some(user) = set.users.get_mut(register.impi.as_str())
            && let Some(accepted) = &mut user.accepted
            && accepted.is_named_by(credentials)
        {
            return match accepted.verify(env.now, credentials, &register.request) {
                Ok(proof) => {
                    env.note(ts24229("5.4.1.2.2A"), || {
                        format!("{} uses the nonce of its last registration", register.impi)
                    });
                    self.accept(env, register, proof, out);
                }
                Err(fault) => self.not_verified(env, register, &fault, out),
            };
        }
        self.challenge(env, register, Rounds::default(), None, out);
    }
}
