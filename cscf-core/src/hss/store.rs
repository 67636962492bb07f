//! What the HSS knows: subscriptions with their identities and credentials, and what changes while
//! they are used: assigned S-CSCF, registration state, sequence numbers (TS 29.228 §6, §6.5).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use crate::auth::{AkaKeys, AkaSet, Algorithm, Amf, Ha1, Hash, Scheme, SequenceGenerator, Sqn};
use crate::cx::{Restoration, ServerCapabilities};
use crate::identity::{Impi, Impu, Wildcard};
use crate::ids::Seed;
use crate::ifc::{Condition, PublicIdentity, ServiceProfile, SessionCase, UserProfile};
use crate::map::{Map, map};

/// One IMS subscription as the operator provisions it.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// Private identities with their credentials; at least one.
    pub private_identities: Vec<PrivateIdentity>,
    /// Implicit registration sets; an identity alone is a set of one.
    pub implicit_sets: Vec<ImplicitSet>,
    /// May not use IMS at all.
    pub barred: bool,
    /// Visited networks it may register from; empty means any.
    pub visited_networks: Vec<String>,
    /// What its S-CSCF must have.
    pub capabilities: Option<ServerCapabilities>,
    /// The address that the access network gave its UE, for GIBA (TS 29.228 §6.3).
    pub framed_ip: Option<IpAddr>,
    /// Primary charging collection function, an `aaa:` URI.
    pub charging_ccf: Option<String>,
    /// The application server that hosts it: the identities are public service identities, to
    /// which requests go without an S-CSCF (TS 23.228 §5.4.12).
    pub hosted_by: Option<String>,
    /// Out of use for now: as if nobody had its identities.
    pub inactive: bool,
}

/// A private identity and how it authenticates.
#[derive(Clone, Debug)]
pub struct PrivateIdentity {
    /// `user@realm`.
    pub impi: String,
    /// How it authenticates.
    pub credentials: Credentials,
}

/// How a private identity authenticates.
#[derive(Clone)]
pub enum Credentials {
    /// IMS AKA.
    Aka {
        /// The keys with the algorithm set they are for.
        keys: AkaKeys,
        /// The authentication management field.
        amf: Amf,
        /// The last sequence number used (48 bits); the first vector has a greater one.
        sqn: u64,
    },
    /// SIP digest.
    Digest {
        /// The realm; empty means the realm of the private identity.
        realm: String,
        /// The password.
        password: String,
        /// `MD5`, `SHA-256` or both, most preferred first.
        algorithms: Vec<String>,
    },
}

/// Keys and passwords do not show.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aka { .. } => "Aka(..)",
            Self::Digest { .. } => "Digest(..)",
        })
    }
}

/// Public identities that are registered together (TS 29.228 §6.5).
#[derive(Clone, Debug, Default)]
pub struct ImplicitSet {
    /// The identities in order with their services; the first that is not barred is the default.
    pub service_profiles: Vec<ServiceProfile>,
    /// Private identities it belongs to; empty means all of the subscription.
    pub impis: Vec<String>,
    /// It has services while unregistered, even if no filter criterion says so.
    pub unregistered_services: bool,
    /// An `IMSSubscription` document to be sent as it is.
    pub profile_xml: Option<String>,
}

impl ImplicitSet {
    /// A set without services.
    #[must_use]
    pub fn of(public_identities: Vec<PublicIdentity>) -> Self {
        let profile = ServiceProfile { public_identities, ..ServiceProfile::default() };
        Self { service_profiles: vec![profile], ..Self::default() }
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = &PublicIdentity> {
        self.service_profiles.iter().flat_map(|profile| &profile.public_identities)
    }

    /// Whether a request to it leads somewhere while it is not registered: a filter criterion names
    /// the session case, or none at all (TS 29.228 §6.1.4.1).
    pub(super) fn has_unregistered_services(&self) -> bool {
        let serves = |condition: &Condition, negated: bool| match condition {
            Condition::SessionCase(case) => {
                (*case == SessionCase::TerminatingUnregistered) != negated
            }
            _ => false,
        };
        let names_case = |condition: &Condition| matches!(condition, Condition::SessionCase(_));
        self.unregistered_services
            || self.service_profiles.iter().flat_map(|it| &it.initial_filter_criteria).any(|ifc| {
                ifc.profile_part != Some(crate::ifc::ProfilePart::Registered)
                    && ifc.trigger_point.as_ref().is_none_or(|point| {
                        let mut spts = point.triggers.iter();
                        spts.any(|spt| serves(&spt.condition, spt.negated))
                            || !point.triggers.iter().any(|spt| names_case(&spt.condition))
                    })
            })
    }
}

/// The registration state of a public identity (TS 29.228 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistrationState {
    /// No S-CSCF has its profile.
    #[default]
    NotRegistered,
    /// Registered by at least one private identity.
    Registered,
    /// An S-CSCF keeps its profile though it is not registered.
    Unregistered,
}

impl fmt::Display for RegistrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRegistered => "not registered",
            Self::Registered => "registered",
            Self::Unregistered => "unregistered",
        })
    }
}

/// An S-CSCF that is assigned to an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedServer {
    /// Its SIP URI.
    pub name: String,
    /// Its Origin-Host, where RTR and PPR go.
    pub origin_host: String,
}

/// What cannot be provisioned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A digest algorithm that IMS does not know.
    #[error("{impi}: digest algorithm {algorithm:?} is neither MD5 nor SHA-256")]
    AlgorithmUnknown {
        /// Whose.
        impi: String,
        /// What stands there.
        algorithm: String,
    },
    /// Two subscriptions, or one twice, have the same identity.
    #[error("{0} is provisioned twice")]
    IdentityTwice(String),
    /// An identity that is none.
    #[error("{0:?} is no identity")]
    IdentityWrong(String),
    /// A subscription without private or public identity.
    #[error("the subscription of {0:?} has no private or no public identity")]
    NoIdentity(String),
    /// A password for somebody who authenticates with a USIM.
    #[error("{0} has no password: it authenticates with a USIM")]
    NoPassword(String),
    /// The profile of a set cannot be read.
    #[error("the profile of {0}: {1}")]
    Profile(String, crate::ifc::ProfileError),
    /// A sequence number of more than 48 bits.
    #[error("{0}: the sequence number has more than 48 bits")]
    SqnTooLong(String),
}

/// The changing side of an implicit registration set.
#[derive(Clone, Debug, Default)]
pub(super) struct SetState {
    /// The private identities by which it is registered.
    pub(super) registered_by: BTreeSet<usize>,
    /// A profile is kept though nobody is registered.
    pub(super) kept: bool,
    /// The private identities whose authentication is pending.
    pub(super) pending: BTreeSet<usize>,
    /// The assigned S-CSCF.
    pub(super) server: Option<AssignedServer>,
    /// The next S-CSCF that asks may take over.
    pub(super) reassignment_pending: bool,
    /// What its S-CSCF left for its restoration, by private identity (TS 23.380 §4).
    pub(super) restoration: BTreeMap<usize, Restoration>,
}

impl SetState {
    pub(super) fn registration(&self) -> RegistrationState {
        match (self.registered_by.is_empty(), self.kept) {
            (false, _) => RegistrationState::Registered,
            (true, true) => RegistrationState::Unregistered,
            (true, false) => RegistrationState::NotRegistered,
        }
    }

    /// Nothing has happened to it, or all of that is over.
    pub(super) fn is_idle(&self) -> bool {
        let nobody = self.registered_by.is_empty() && self.pending.is_empty();
        nobody && !self.kept && self.server.is_none()
    }

    /// Forgets the S-CSCF unless somebody's registration or authentication needs it.
    pub(super) fn release_server(&mut self) {
        if self.registered_by.is_empty() && self.pending.is_empty() && !self.kept {
            self.server = None;
            self.reassignment_pending = false;
            self.restoration.clear();
        }
    }
}

/// Credentials ready for use.
pub(super) enum Secret {
    Aka {
        functions: AkaSet,
        amf: Amf,
        sequence: SequenceGenerator,
    },
    Digest {
        realm: String,
        /// Algorithm name and HA1, most preferred first.
        hashes: Vec<(String, String)>,
    },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aka { .. } => "Aka(..)",
            Self::Digest { .. } => "Digest(..)",
        })
    }
}

/// A subscription in use.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) provisioned: Subscriber,
    /// One for each private identity.
    pub(super) secrets: Vec<Secret>,
    /// One for each implicit registration set.
    pub(super) states: Vec<SetState>,
}

impl Subscription {
    /// The private identity may use the set.
    pub(super) fn associates(&self, set: usize, impi: &str) -> bool {
        self.provisioned.implicit_sets.get(set).is_some_and(|set| {
            set.impis.is_empty() || set.impis.iter().any(|one| same_impi(one, impi))
        })
    }

    /// The number of a private identity in the subscription.
    pub(super) fn impi_index(&self, impi: &str) -> Option<usize> {
        self.provisioned.private_identities.iter().position(|one| same_impi(&one.impi, impi))
    }

    /// The S-CSCF of any other set: one subscription is served by one S-CSCF (TS 29.228 §6.1.1.1).
    pub(super) fn any_server(&self, first: usize) -> Option<&AssignedServer> {
        let own = self.states.get(first).and_then(|state| state.server.as_ref());
        own.or_else(|| self.states.iter().find_map(|state| state.server.as_ref()))
    }

    /// The user profile of a set for a private identity (TS 29.228 §6.5.1.4, §6.6).
    pub(super) fn user_data(&self, set: usize, impi: &str) -> Option<String> {
        let set = self.provisioned.implicit_sets.get(set)?;
        if let Some(xml) = &set.profile_xml {
            return Some(xml.clone());
        }
        Some(super::profile::write_profiles(impi, &set.service_profiles))
    }
}

/// Where an identity is found: subscription and implicit registration set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) subscription: usize,
    pub(super) set: usize,
}

/// Wildcarded identities of all subscriptions.
const WILDCARDS_MAX: usize = 10_000;

/// All subscriptions, found by identity.
#[derive(Debug)]
pub struct Store {
    home_domain: String,
    scheme: Scheme,
    subscriptions: Vec<Subscription>,
    by_impi: Map<String, usize>,
    by_impu: Map<String, Found>,
    /// Identities that stand for many, in the order in which they were provisioned.
    wildcards: Vec<(Wildcard, Found)>,
    /// Lines of a kept state about identities that are not provisioned.
    unclaimed: Vec<String>,
}

impl Store {
    /// A store with these subscriptions. `scheme` says how sequence numbers are made.
    ///
    /// # Errors
    ///
    /// What [`Store::provision`] refuses.
    pub fn new(
        home_domain: &str,
        scheme: Scheme,
        subscribers: Vec<Subscriber>,
        seed: &Seed,
    ) -> Result<Self, StoreError> {
        let mut store = Self {
            home_domain: home_domain.to_ascii_lowercase(),
            scheme,
            subscriptions: Vec::with_capacity(subscribers.len()),
            by_impi: map(seed),
            by_impu: map(seed),
            wildcards: Vec::new(),
            unclaimed: Vec::new(),
        };
        store.by_impi.reserve(subscribers.len());
        // A number in two forms and the IMSI, as most have.
        store.by_impu.reserve(3 * subscribers.len());
        for subscriber in subscribers {
            store.provision(subscriber)?;
        }
        Ok(store)
    }

    /// Adds a subscription.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the store is unchanged then.
    pub fn provision(&mut self, subscriber: Subscriber) -> Result<(), StoreError> {
        let subscription = self.subscriptions.len();
        let first = subscriber.private_identities.first().map(|one| one.impi.clone());
        let no_sets = subscriber.implicit_sets.iter().all(|set| set.identities().next().is_none());
        let name = first.filter(|_| !no_sets);
        if name.is_none() {
            let name = subscriber.private_identities.first().map(|one| one.impi.clone());
            return Err(StoreError::NoIdentity(name.unwrap_or_default()));
        }
        let mut impis = Vec::new();
        let mut secrets = Vec::new();
        for one in &subscriber.private_identities {
            let key = impi_key(&one.impi);
            if self.by_impi.contains_key(&key) || impis.contains(&key) {
                return Err(StoreError::IdentityTwice(one.impi.clone()));
            }
            impis.push(key);
            secrets.push(secret(one, self.scheme)?);
        }
        let (mut impus, mut wildcards) = (Vec::new(), Vec::new());
        for (set, one) in subscriber.implicit_sets.iter().enumerate() {
            for identity in one.identities() {
                let key = impu_key(&identity.identity)
                    .ok_or_else(|| StoreError::IdentityWrong(identity.identity.clone()))?;
                if self.by_impu.contains_key(&key) || impus.iter().any(|(known, _)| *known == key) {
                    return Err(StoreError::IdentityTwice(identity.identity.clone()));
                }
                let found = Found { subscription, set };
                if Wildcard::is_meant(&key) {
                    let room = self.wildcards.len() + wildcards.len() < WILDCARDS_MAX;
                    let wildcard = Wildcard::parse(&key).filter(|_| room);
                    let wrong = || StoreError::IdentityWrong(identity.identity.clone());
                    wildcards.push((wildcard.ok_or_else(wrong)?, found));
                }
                impus.push((key, found));
            }
            if let Some(xml) = &one.profile_xml {
                let name = one.identities().next().map(|it| it.identity.clone());
                UserProfile::parse(xml)
                    .map_err(|error| StoreError::Profile(name.unwrap_or_default(), error))?;
            }
        }
        self.by_impi.extend(impis.into_iter().map(|key| (key, subscription)));
        self.by_impu.extend(impus);
        self.wildcards.extend(wildcards);
        let states = vec![SetState::default(); subscriber.implicit_sets.len()];
        self.subscriptions.push(Subscription { provisioned: subscriber, secrets, states });
        Ok(())
    }

    /// Lets the identities of a subscription lead to it, or nowhere.
    pub(super) fn lead(&mut self, number: usize, here: bool) {
        let Some(subscription) = self.subscriptions.get(number) else { return };
        for one in &subscription.provisioned.private_identities {
            let key = impi_key(&one.impi);
            if here {
                self.by_impi.insert(key, number)
            } else {
                self.by_impi.remove(&key)
            };
        }
        self.wildcards.retain(|(_, found)| found.subscription != number);
        for (set, one) in subscription.provisioned.implicit_sets.iter().enumerate() {
            let found = Found { subscription: number, set };
            for key in one.identities().filter_map(|it| impu_key(&it.identity)) {
                if let Some(wildcard) = Wildcard::parse(&key).filter(|_| here) {
                    self.wildcards.push((wildcard, found));
                }
                if here {
                    self.by_impu.insert(key, found)
                } else {
                    self.by_impu.remove(&key)
                };
            }
        }
    }

    /// The registration state of a public identity; `None` when it is unknown.
    #[must_use]
    pub fn registration(&self, impu: &str) -> Option<RegistrationState> {
        let found = self.find_impu(impu)?;
        Some(self.subscription(found)?.states.get(found.set)?.registration())
    }

    /// The S-CSCF assigned to a public identity.
    #[must_use]
    pub fn server(&self, impu: &str) -> Option<&AssignedServer> {
        let found = self.find_impu(impu)?;
        self.subscription(found)?.states.get(found.set)?.server.as_ref()
    }

    /// Whether an authentication of a public identity is pending.
    #[must_use]
    pub fn is_pending(&self, impu: &str) -> bool {
        let state =
            self.find_impu(impu).and_then(|found| self.subscription(found)?.states.get(found.set));
        state.is_some_and(|state| !state.pending.is_empty())
    }

    /// The last sequence number of a private identity with a USIM.
    #[must_use]
    pub fn sqn(&self, impi: &str) -> Option<Sqn> {
        let subscription = self.subscriptions.get(*self.by_impi.get(&impi_key(impi))?)?;
        match subscription.secrets.get(subscription.impi_index(impi)?)? {
            Secret::Aka { sequence, .. } => Some(sequence.last()),
            Secret::Digest { .. } => None,
        }
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subscriptions.len()
    }

    /// Whether there is no subscription.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }

    pub(super) fn home_domain(&self) -> &str {
        &self.home_domain
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter()
    }

    pub(super) fn unclaimed(&self) -> &[String] {
        &self.unclaimed
    }

    pub(super) fn keep_unclaimed(&mut self, line: &str) {
        self.unclaimed.push(line.to_owned());
    }

    pub(super) const fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn find_impi(&self, impi: &str) -> Option<usize> {
        // Most come in the form of the key.
        self.by_impi.get(impi).or_else(|| self.by_impi.get(&impi_key(impi))).copied()
    }

    /// A number is found by its tel and by its SIP form (TS 24.229 §4.2); a distinct identity goes
    /// before a wildcarded one (TS 23.003 §13.4A).
    pub(super) fn find_impu(&self, text: &str) -> Option<Found> {
        // Most come in the form of the key.
        let found = self.by_impu.get(text).copied();
        if found.is_some() || Wildcard::is_meant(text) {
            return found;
        }
        let impu = Impu::parse(text).ok()?;
        if let Some(found) = self.by_impu.get(impu.as_str()) {
            return Some(*found);
        }
        let mut aliases = impu.aliases(&self.home_domain);
        let found = aliases.find_map(|alias| self.by_impu.get(alias.as_str()).copied());
        found.or_else(|| {
            let stands = |its: &&(Wildcard, Found)| its.0.stands_for(impu.as_str());
            self.wildcards.iter().find(stands).map(|(_, found)| *found)
        })
    }

    /// The wildcarded identity that stands for one that is not provisioned itself.
    pub(super) fn wildcard_of(&self, text: &str) -> Option<&str> {
        let impu = Impu::parse(text).ok().filter(|_| !Wildcard::is_meant(text))?;
        let mut forms = impu.aliases(&self.home_domain);
        let distinct = self.by_impu.contains_key(impu.as_str())
            || forms.any(|alias| self.by_impu.contains_key(alias.as_str()));
        let stands = |its: &&(Wildcard, Found)| its.0.stands_for(impu.as_str());
        self.wildcards.iter().filter(|_| !distinct).find(stands).map(|(it, _)| it.as_str())
    }

    /// The identities of a set as they were provisioned.
    pub(super) fn impus_of(&self, found: Found) -> Vec<String> {
        let set = self
            .subscription(found)
            .and_then(|subscription| subscription.provisioned.implicit_sets.get(found.set));
        let identities = set.into_iter().flat_map(ImplicitSet::identities);
        identities.map(|identity| identity.identity.clone()).collect()
    }

    pub(super) fn subscription(&self, found: Found) -> Option<&Subscription> {
        self.subscriptions.get(found.subscription)
    }

    pub(super) fn at(&self, subscription: usize) -> Option<&Subscription> {
        self.subscriptions.get(subscription)
    }

    pub(super) fn at_mut(&mut self, subscription: usize) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(subscription)
    }
}

/// The key of a private identity; as it is when it is no `user@realm`.
fn impi_key(text: &str) -> String {
    Impi::parse(text).map_or_else(|_| text.to_owned(), |impi| impi.to_string())
}

pub(super) fn same_impi(one: &str, other: &str) -> bool {
    one == other || impi_key(one) == impi_key(other)
}

/// The key of a public identity; a wildcarded one is its own.
fn impu_key(text: &str) -> Option<String> {
    if Wildcard::is_meant(text) {
        return Some(text.to_owned());
    }
    Impu::parse(text).ok().map(|impu| impu.as_str().to_owned())
}

pub(super) fn secret(identity: &PrivateIdentity, scheme: Scheme) -> Result<Secret, StoreError> {
    let PrivateIdentity { impi, credentials } = identity;
    match credentials {
        Credentials::Aka { keys, amf, sqn } => {
            let last = Sqn::new(*sqn).ok_or_else(|| StoreError::SqnTooLong(impi.clone()))?;
            let sequence = SequenceGenerator::new(scheme, last);
            Ok(Secret::Aka { functions: keys.functions(), amf: *amf, sequence })
        }
        Credentials::Digest { realm, password, algorithms } => {
            let home = impi.split_once('@').map_or("", |(_, realm)| realm);
            let realm = if realm.is_empty() { home } else { realm };
            let md5 = [Algorithm::MD5.to_string()];
            let names = if algorithms.is_empty() { &md5 } else { algorithms.as_slice() };
            let hash = |name: &String| {
                let hash = match name.parse() {
                    Ok(Algorithm::MD5) => Hash::Md5,
                    Ok(Algorithm::SHA_256) => Hash::Sha256,
                    _ => {
                        let (impi, algorithm) = (impi.clone(), name.clone());
                        return Err(StoreError::AlgorithmUnknown { impi, algorithm });
                    }
                };
                let ha1 = Ha1::new(hash, impi, realm, password.as_bytes());
                Ok((name.clone(), ha1.as_hex().to_owned()))
            };
            let hashes = names.iter().map(hash).collect::<Result<_, _>>()?;
            Ok(Secret::Digest { realm: realm.to_owned(), hashes })
        }
    }
}
