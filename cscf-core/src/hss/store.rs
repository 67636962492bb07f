//! What the HSS knows: subscriptions with their identities and credentials, and what changes while
//! they are used: assigned S-CSCF, registration state, sequence numbers (TS 29.228 §6, §6.5).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

use crate::auth::{AkaKeys, AkaSet, Algorithm, Amf, Ha1, Hash, Scheme, SequenceGenerator, Sqn};
use crate::cx::{Restoration, ServerCapabilities};
use crate::hss::lookup::{impi_key, impu_key, same_impi};
use crate::hss::range::SubscriberRange;
use crate::hss::slots::{Seen, Slots};
use crate::identity::Wildcard;
use crate::ids::Seed;
use crate::ifc::{Condition, PublicIdentity, ServiceProfile, SessionCase, UserProfile};
use crate::map::{Map, map};

/// One IMS subscription as the operator provisions it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateIdentity {
    /// `user@realm`.
    pub impi: String,
    /// How it authenticates.
    pub credentials: Credentials,
}

/// How a private identity authenticates.
#[derive(Clone, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// What an HSS begins with: subscriptions one by one, and ranges of them.
#[derive(Clone, Debug)]
pub enum Entry {
    /// One.
    One(Box<Subscriber>),
    /// So many that are counted up.
    Range(SubscriberRange),
}

impl From<Subscriber> for Entry {
    fn from(subscriber: Subscriber) -> Self {
        Self::One(Box::new(subscriber))
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
    pub(super) server: Option<Arc<AssignedServer>>,
    /// The next S-CSCF that asks may take over.
    pub(super) reassignment_pending: bool,
    /// What its S-CSCF left for its restoration, by private identity (TS 23.380 §4).
    pub(super) restoration: BTreeMap<usize, Box<Restoration>>,
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
#[derive(Clone)]
pub(super) enum Secret {
    Aka {
        /// That of a range is one for all its members.
        functions: Arc<AkaSet>,
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
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    /// Shared with what a member of a range was made as, until it is changed.
    pub(super) provisioned: Arc<Subscriber>,
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
        let own = self.states.get(first).and_then(|state| state.server.as_deref());
        own.or_else(|| self.states.iter().find_map(|state| state.server.as_deref()))
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
    pub(super) slots: Slots,
    pub(super) by_impi: Map<String, usize>,
    pub(super) by_impu: Map<String, Found>,
    /// Identities that stand for many, in the order in which they were provisioned.
    pub(super) wildcards: Vec<(Wildcard, Found)>,
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
        entries: Vec<Entry>,
        seed: &Seed,
    ) -> Result<Self, StoreError> {
        let mut store = Self {
            home_domain: home_domain.to_ascii_lowercase(),
            scheme,
            slots: Slots::new(home_domain, seed),
            by_impi: map(seed),
            by_impu: map(seed),
            wildcards: Vec::new(),
            unclaimed: Vec::new(),
        };
        let single = |entry: &&Entry| matches!(entry, Entry::One(_));
        let singles = entries.iter().filter(single).count();
        store.by_impi.reserve(singles);
        // A number in two forms and the IMSI, as most have.
        store.by_impu.reserve(3 * singles);
        for entry in entries {
            match entry {
                Entry::One(subscriber) => store.provision(*subscriber)?,
                Entry::Range(range) => store.slots.push_range(range, scheme)?,
            }
        }
        store.check_ranges()?;
        Ok(store)
    }

    /// Adds a subscription.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the store is unchanged then.
    pub fn provision(&mut self, subscriber: Subscriber) -> Result<(), StoreError> {
        let subscription = self.slots.len();
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
            if self.by_key(&key).is_some() || impis.contains(&key) {
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
                if self.by_impu_key(&key).is_some() || impus.iter().any(|(known, _)| *known == key)
                {
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
        let provisioned = Arc::new(subscriber);
        self.slots.push(Subscription { provisioned, secrets, states });
        Ok(())
    }

    /// The registration state of a public identity; `None` when it is unknown.
    #[must_use]
    pub fn registration(&self, impu: &str) -> Option<RegistrationState> {
        let found = self.find_impu(impu)?;
        Some(self.subscription(found)?.states.get(found.set)?.registration())
    }

    /// The S-CSCF assigned to a public identity.
    #[must_use]
    pub fn server(&self, impu: &str) -> Option<AssignedServer> {
        let found = self.find_impu(impu)?;
        self.subscription(found)?.states.get(found.set)?.server.as_deref().cloned()
    }

    /// Whether an authentication of a public identity is pending.
    #[must_use]
    pub fn is_pending(&self, impu: &str) -> bool {
        let pending = self.find_impu(impu).and_then(|found| {
            Some(!self.subscription(found)?.states.get(found.set)?.pending.is_empty())
        });
        pending == Some(true)
    }

    /// The last sequence number of a private identity with a USIM.
    #[must_use]
    pub fn sqn(&self, impi: &str) -> Option<Sqn> {
        let subscription = self.at(self.find_impi(impi)?)?;
        match subscription.secrets.get(subscription.impi_index(impi)?)? {
            Secret::Aka { sequence, .. } => Some(sequence.last()),
            Secret::Digest { .. } => None,
        }
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no subscription.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many members of ranges have been made, of which all or what differs is kept.
    #[must_use]
    pub fn made(&self) -> usize {
        self.slots.made()
    }

    pub(super) fn home_domain(&self) -> &str {
        &self.home_domain
    }

    pub(super) const fn slots(&self) -> &Slots {
        &self.slots
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

    /// The identities of a set as they were provisioned.
    pub(super) fn impus_of(&self, found: Found) -> Vec<String> {
        let Some(subscription) = self.subscription(found) else { return Vec::new() };
        let set = subscription.provisioned.implicit_sets.get(found.set);
        let identities = set.into_iter().flat_map(ImplicitSet::identities);
        identities.map(|identity| identity.identity.clone()).collect()
    }

    pub(super) fn subscription(&self, found: Found) -> Option<Seen<'_>> {
        self.slots.at(found.subscription)
    }

    pub(super) fn at(&self, subscription: usize) -> Option<Seen<'_>> {
        self.slots.at(subscription)
    }

    pub(super) fn at_mut(&mut self, subscription: usize) -> Option<&mut Subscription> {
        self.slots.at_mut(subscription)
    }
}

pub(super) fn secret(identity: &PrivateIdentity, scheme: Scheme) -> Result<Secret, StoreError> {
    let PrivateIdentity { impi, credentials } = identity;
    match credentials {
        Credentials::Aka { keys, amf, sqn } => {
            let last = Sqn::new(*sqn).ok_or_else(|| StoreError::SqnTooLong(impi.clone()))?;
            let sequence = SequenceGenerator::new(scheme, last);
            Ok(Secret::Aka { functions: Arc::new(keys.functions()), amf: *amf, sequence })
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
