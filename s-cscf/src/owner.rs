//! The one owner of the registration state: implicit registration sets, their users, challenges
//! under way, and the snapshots that everybody else reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use cscf_core::cx::{AskId, AssignmentType, CxRequest, Saa, Sar};
use cscf_core::identity::Wildcard;
use cscf_core::ifc::ProfileReader;
use cscf_core::map::{Marks, Packed, Records, SeededState};
use cscf_core::registrar::{
    Binding, Bindings, PublicIdentity, Registration, Registrations, Service,
};
use cscf_core::role::{Action, Env, Question};
use cscf_core::sip::Uri;
use cscf_core::time::Instant;

use crate::challenge::Pending;
use crate::reg_event::Subscriptions;
use crate::register::Register;
use crate::restoration::Waiting;
use crate::secret::Proof;
use crate::third_party::ThirdParties;
use crate::unregistered::Unregistered;
use crate::users::{SetsOfUsers, User, Users};
use crate::{Config, ScscfActions, Timer};

/// Private identities that are kept of a subscription.
const ASSOCIATED_MAX: usize = 64;

/// Wildcarded identities that are matched, of all sets and of one; others stand for nobody.
const WILDCARDS_MAX: usize = 10_000;
const WILDCARDS_OF_SET_MAX: usize = 16;

/// The number of an implicit registration set; never used again.
pub(crate) type SetId = u64;

/// Registration state and what is being done to it.
#[derive(Debug)]
pub(crate) struct RegistrationOwner {
    pub(crate) config: Arc<Config>,
    pub(crate) published: Registrations,
    pub(crate) sets: Records<SetId, ImplicitSet>,
    /// Which set an identity belongs to, by a fingerprint of its key: the sets themselves tell the
    /// rest.
    set_of: Marks<Packed>,
    /// Where the private identities with a contact are.
    pub(crate) sets_of_users: SetsOfUsers,
    /// The same for identities that stand for many, by their texts (TS 23.003 §13.4A).
    wildcards: BTreeMap<Box<str>, (Wildcard, SetId)>,
    /// Challenges that wait for their answer, by private identity.
    pub(crate) challenges: BTreeMap<Box<str>, Pending>,
    /// REGISTERs that wait for the HSS.
    pub(crate) jobs: BTreeMap<AskId, Job>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) third_parties: ThirdParties,
    /// Reads user profiles.
    pub(crate) profiles: ProfileReader,
    pub(crate) unregistered: Unregistered,
    /// Service-Route tokens that are no longer good; the sessions take them from here.
    pub(crate) gone: Vec<Arc<str>>,
    set_count: SetId,
}

/// A REGISTER that waits for the HSS.
#[derive(Debug)]
pub(crate) enum Job {
    /// For the address of the UE.
    Address(Box<Register>),
    /// For authentication data.
    Authenticate(Box<Register>, Rounds),
    /// For the user profile.
    Assign(Box<Register>, Box<Proof>),
    /// For the end of its registration; the contacts are gone already.
    Deregister(Box<Register>, Box<Proof>, Vec<Binding>),
    /// For what is kept of a user that is not known here.
    Restore(Waiting),
}

/// How often a user failed in a row, and whether only the nonce was too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rounds {
    pub(crate) failures: u8,
    pub(crate) resyncs: u8,
    pub(crate) stale: bool,
}

/// An implicit registration set with its contacts.
#[derive(Debug)]
pub(crate) struct ImplicitSet {
    /// Shared with what is published.
    pub(crate) identities: Arc<[PublicIdentity]>,
    /// Those of them that stand for many.
    pub(crate) wildcards: Box<[Wildcard]>,
    pub(crate) bindings: Bindings,
    pub(crate) charging_ccf: Option<Box<str>>,
    /// The private identities that may register the set (Associated-Identities).
    pub(crate) associated: Box<[Arc<str>]>,
    /// The application servers of the profile.
    pub(crate) servers: Vec<Uri>,
    /// The services of the profile.
    pub(crate) services: Arc<[Service]>,
    /// The users with a contact in the set.
    pub(crate) users: Users,
    published: Option<Arc<Registration>>,
}

impl RegistrationOwner {
    pub(crate) fn new(config: Arc<Config>, published: Registrations) -> Self {
        Self {
            config,
            sets_of_users: SetsOfUsers::new(published.state()),
            published,
            sets: Records::default(),
            set_of: Marks::default(),
            wildcards: BTreeMap::new(),
            challenges: BTreeMap::new(),
            jobs: BTreeMap::new(),
            subscriptions: Subscriptions::new(),
            third_parties: ThirdParties::new(),
            profiles: ProfileReader::default(),
            unregistered: Unregistered::new(),
            gone: Vec::new(),
            set_count: 0,
        }
    }

    /// What is kept, by name.
    pub(crate) fn remainders(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("registrations", self.sets.len()),
            ("users of registrations", self.sets_of_users.len()),
            ("published identities", self.published.len()),
            ("challenges", self.challenges.len()),
            ("questions", self.jobs.len()),
            ("subscriptions", self.subscriptions.len()),
            ("third-party registrations", self.third_parties.len()),
            ("profiles of unregistered users", self.unregistered.len()),
        ]
    }

    /// The set whose list has the identity with this key.
    fn listed_in(&self, key: &str) -> Option<SetId> {
        let mark = self.published.state().fingerprint(key);
        self.set_of
            .of(mark)
            .map(Packed::get)
            .find(|id| self.sets.get(id).is_some_and(|set| set.lists(key)))
    }

    /// Lets no other set be found by this identity.
    fn take_from_others(&mut self, key: &str, id: SetId) {
        let mark = self.published.state().fingerprint(key);
        let lists = |its: &SetId| self.sets.get(its).is_some_and(|set| set.lists(key));
        let all = self.set_of.of(mark).map(Packed::get);
        let others = all.filter(|its| *its != id && lists(its));
        for other in others.collect::<Vec<_>>() {
            self.set_of.remove(mark, Packed::new(other));
        }
    }

    /// All sets in the order they were opened.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &ImplicitSet> {
        let mut all: Vec<_> = self.sets.iter().collect();
        all.sort_unstable_by_key(|(id, _)| **id);
        all.into_iter().map(|(_, set)| set)
    }

    /// The set that this identity belongs to.
    pub(crate) fn set_id(&self, key: &str) -> Option<SetId> {
        self.listed_in(key).or_else(|| {
            let stands = |its: &&(Wildcard, SetId)| its.0.stands_for(key);
            self.wildcards.values().find(stands).map(|(_, id)| *id)
        })
    }

    /// The user's entry in the set of this identity.
    pub(crate) fn user(&self, key: &str, impi: &str) -> Option<&User> {
        self.sets.get(&self.set_id(key)?)?.users.get(impi)
    }

    /// The set that holds one of these identities, or a new one, with these identities.
    pub(crate) fn open_set(&mut self, identities: &Arc<[PublicIdentity]>) -> SetId {
        let known = identities.iter().find_map(|its| self.listed_in(&its.key));
        let id = known.unwrap_or_else(|| {
            self.set_count += 1;
            self.set_count
        });
        for identity in identities.iter() {
            self.take_from_others(&identity.key, id);
        }
        let state = self.published.state();
        if known.is_none() {
            self.sets.insert(id, ImplicitSet::new());
        }
        let Some(set) = self.sets.get_mut(&id) else { return id };
        // Identities of another user of a shared set that this profile does not hold stay.
        let shared = set.users.len() > 1;
        let lacks = |old: &&PublicIdentity| !identities.iter().any(|its| its.key == old.key);
        let kept = set.identities.iter().filter(lacks).filter(|_| shared);
        let list: Arc<[PublicIdentity]> = match kept.clone().next() {
            Some(_) => identities.iter().chain(kept).cloned().collect(),
            None => Arc::clone(identities),
        };
        for old in set.identities.iter() {
            if !list.iter().any(|identity| identity.key == old.key) {
                self.set_of.remove(state.fingerprint(&*old.key), Packed::new(id));
            }
        }
        for old in &set.wildcards {
            self.wildcards.remove(old.as_str());
        }
        let room = WILDCARDS_MAX.saturating_sub(self.wildcards.len()).min(WILDCARDS_OF_SET_MAX);
        let wild = list.iter().filter(|identity| identity.wildcarded).take(room);
        set.wildcards = wild.filter_map(|identity| Wildcard::parse(&identity.uri)).collect();
        for wildcard in &set.wildcards {
            self.wildcards.insert(wildcard.as_str().into(), (wildcard.clone(), id));
        }
        for identity in list.iter() {
            self.set_of.insert(state.fingerprint(&*identity.key), Packed::new(id));
        }
        set.identities = list;
        id
    }

    /// Publishes the set as it is now, sets its timer, and forgets users without contacts and a set
    /// without users. Says which users went.
    pub(crate) fn publish(&mut self, id: SetId, out: &mut ScscfActions) -> Vec<Arc<str>> {
        let Some(set) = self.sets.get_mut(&id) else { return Vec::new() };
        let bindings = &set.bindings;
        let state = self.published.state();
        let left = set.users.retain(|impi| bindings.has_user(impi));
        for impi in &left {
            self.sets_of_users.leave(impi, id);
        }
        let old = set.published.take();
        let was = old.iter().flat_map(|old| old.bindings.iter()).map(|binding| &binding.token);
        let is = |token: &str| bindings.list().iter().any(|its| *its.token == *token);
        self.gone.extend(was.filter(|token| !is(token)).cloned());
        let timer = Timer::Expiry(id);
        if set.bindings.is_empty() {
            self.published.replace(old.as_deref(), None);
            for identity in set.identities.iter() {
                self.set_of.remove(state.fingerprint(&*identity.key), Packed::new(id));
            }
            for wildcard in &set.wildcards {
                self.wildcards.remove(wildcard.as_str());
            }
            self.sets.remove(&id);
            out.push(Action::ClearTimer { timer });
            return left;
        }
        let new = Arc::new(Registration {
            identities: Arc::clone(&set.identities),
            wildcards: set.wildcards.clone(),
            bindings: set.bindings.shared(),
            charging_ccf: set.charging_ccf.clone(),
            services: Arc::clone(&set.services),
        });
        self.published.replace(old.as_deref(), Some(&new));
        for identity in new.identities.iter() {
            self.unregistered.forget(&identity.key, out);
        }
        set.published = Some(new);
        if let Some(at) = set.bindings.next_expiry() {
            out.push(Action::SetTimer { timer, at });
        }
        left
    }

    /// Tells the HSS something whose answer changes nothing here.
    pub(crate) fn tell(
        &self,
        env: &mut Env<'_>,
        impi: &str,
        impu: &str,
        why: AssignmentType,
        out: &mut ScscfActions,
    ) {
        let ask = env.next_ask();
        let question = Question::Cx(CxRequest::Sar(self.assignment(impi, impu, why)));
        out.push(Action::Ask { ask, question });
    }

    /// A SAR of this S-CSCF.
    pub(crate) fn assignment(&self, impi: &str, impu: &str, why: AssignmentType) -> Sar {
        Sar {
            impi: Some(impi.to_owned()),
            impus: vec![impu.to_owned()],
            server_name: self.config.uri.clone(),
            assignment_type: why,
            profile_available: !matches!(
                why,
                AssignmentType::Registration
                    | AssignmentType::UnregisteredUser
                    | AssignmentType::NoAssignment
            ),
            restoration: None,
            wildcard: None,
        }
    }
}

impl ImplicitSet {
    fn new() -> Self {
        Self {
            identities: Arc::new([]),
            wildcards: Box::new([]),
            bindings: Bindings::new(),
            charging_ccf: None,
            associated: Box::new([]),
            servers: Vec::new(),
            services: Arc::new([]),
            users: Users::default(),
            published: None,
        }
    }

    /// Whether the list of the set has the identity with this key.
    fn lists(&self, key: &str) -> bool {
        self.identities.iter().any(|identity| *identity.key == *key)
    }

    /// Whether an identity with this key belongs to the set.
    pub(crate) fn has_identity(&self, key: &str) -> bool {
        self.lists(key) || self.wildcards.iter().any(|wildcard| wildcard.stands_for(key))
    }

    /// The user, new if it has no contact yet; `sets` and the number of this set are for the index.
    pub(crate) fn user(
        &mut self,
        now: Instant,
        impi: &str,
        (sets, id): (&mut SetsOfUsers, SetId),
    ) -> Option<&mut User> {
        if !self.users.contains(impi) {
            sets.enter(impi, id);
            let known = self.associated.iter().find(|its| ***its == *impi);
            let impi = known.map_or_else(|| impi.into(), Arc::clone);
            self.users.add(now, &impi);
        }
        self.users.get_mut(impi)
    }

    /// The key of an identity as the set has it.
    pub(crate) fn key(&self, key: &str) -> Arc<str> {
        let known = self.identities.iter().find(|identity| *identity.key == *key);
        known.map_or_else(|| key.into(), |identity| Arc::clone(&identity.key))
    }

    /// Keeps what an SAA tells besides identities and services (TS 29.228 §6.1.2.1).
    pub(crate) fn keep(&mut self, servers: Vec<Uri>, saa: &Saa) {
        self.servers = servers;
        self.charging_ccf = saa.charging_ccf.as_deref().map(Into::into);
        let associated = saa.associated_impis.iter().take(ASSOCIATED_MAX);
        self.associated = associated.map(|impi| impi.as_str().into()).collect();
    }

    /// A fingerprint of contacts and Paths of a user, which the HSS keeps: no more is needed to see
    /// that they have changed. It is 0 while there are none.
    pub(crate) fn to_keep(&self, state: SeededState, impi: &str) -> u64 {
        let all = self.bindings.of_user(impi).filter(|its| !its.is_emergency());
        all.fold(0, |before, its| state.fingerprint(&(before, its.contact.text(), &its.path)))
    }

    /// The contacts that have not ended.
    pub(crate) fn active(&self, now: Instant) -> Vec<Binding> {
        let alive = |binding: &&Binding| binding.expires_at > now;
        self.bindings.list().iter().filter(alive).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use cscf_core::ids::Seed;

    use super::*;

    fn list(uris: &[&str]) -> Arc<[PublicIdentity]> {
        uris.iter().filter_map(|uri| PublicIdentity::new(uri, false)).collect()
    }

    fn owner() -> RegistrationOwner {
        let config =
            Config::new("sip:s1.ims.example:6060", "ims.example", "sip:i1.ims.example:4060");
        RegistrationOwner::new(Arc::new(config), Registrations::new(&Seed([7; 32])))
    }

    /// An identity leads to the set that had it last, and nowhere when that has it no more.
    #[test]
    fn an_identity_leads_to_one_set() {
        let mut owner = owner();
        let (a, b, c) = ("sip:a@ims.example", "sip:b@ims.example", "sip:c@ims.example");

        let first = owner.open_set(&list(&[a, c]));
        let second = owner.open_set(&list(&[b]));
        assert_ne!(first, second);
        let ids = |owner: &RegistrationOwner| [a, b, c].map(|key| owner.set_id(key));
        assert_eq!(ids(&owner), [Some(first), Some(second), Some(first)]);

        assert_eq!(owner.open_set(&list(&[b, c])), second);
        assert_eq!(ids(&owner), [Some(first), Some(second), Some(second)]);

        assert_eq!(owner.open_set(&list(&[b])), second);
        assert_eq!(ids(&owner), [Some(first), Some(second), None]);
    }

    /// What an operator is shown is in the order in which sets were opened.
    #[test]
    fn sets_are_told_in_the_order_they_were_opened() {
        let mut owner = owner();
        let all: Vec<_> = (0..40).map(|it| format!("sip:{}@ims.example", it * 7 % 41)).collect();
        for uri in &all {
            owner.open_set(&list(&[uri]));
        }

        let told: Vec<_> = owner.in_order().map(|set| &*set.identities[0].key).collect();

        assert_eq!(told, all);
    }

    #[test]
    fn a_new_user_has_kept_what_a_set_without_contacts_keeps() {
        let state = SeededState::new(&Seed([7; 32]));
        let mut set = ImplicitSet::new();
        let index = (&mut SetsOfUsers::new(state), 1);
        let kept = set.user(Instant::EPOCH, "alice@ims.example", index).map(|user| user.kept);

        assert_eq!(kept, Some(set.to_keep(state, "alice@ims.example")));
    }
}
