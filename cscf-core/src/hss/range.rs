//! Subscriptions that are counted up. Of a range the HSS has one description; a member is made when
//! it is asked about, and what is kept of it is what differs from how it was made.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::auth::{AkaKeys, AkaSet, Amf, Scheme, SequenceGenerator, Sqn};
use crate::cx::Restoration;
use crate::hss::store::{
    AssignedServer, Credentials, ImplicitSet, PrivateIdentity, RegistrationState, Secret, SetState,
    StoreError, Subscriber, Subscription,
};
use crate::identity::ImsiRange;
use crate::ifc::PublicIdentity;
use crate::map::{Numbers, SeededState};

/// Subscriptions that differ in their identities only: each has one private identity with a USIM,
/// and one implicit registration set without services.
#[derive(Clone)]
pub struct SubscriberRange {
    /// The identities.
    pub imsis: ImsiRange,
    /// The keys of all.
    pub keys: AkaKeys,
    /// The authentication management field.
    pub amf: Amf,
    /// The last sequence number used by each (48 bits).
    pub sqn: u64,
}

/// Keys do not show.
impl std::fmt::Debug for SubscriberRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriberRange").field("imsis", &self.imsis).finish_non_exhaustive()
    }
}

impl SubscriberRange {
    /// A member as if it had been provisioned by itself.
    #[must_use]
    pub fn subscriber(&self, member: u64) -> Subscriber {
        let Self { imsis, keys, amf, sqn } = self;
        let credentials = Credentials::Aka { keys: *keys, amf: *amf, sqn: *sqn };
        let impus = imsis.impus(member).into_iter();
        let identities = impus.map(|(identity, barred)| PublicIdentity {
            identity,
            barred,
            ..PublicIdentity::default()
        });
        Subscriber {
            private_identities: vec![PrivateIdentity { impi: imsis.impi(member), credentials }],
            implicit_sets: vec![ImplicitSet::of(identities.collect())],
            ..Subscriber::default()
        }
    }
}

/// What is kept of a member that is not as it was made.
#[derive(Debug)]
enum Kept {
    /// It was used.
    Used(Used),
    /// It has other data.
    Whole(Box<Subscription>),
    /// It was removed.
    Gone,
}

/// How a member was used, as small as can be.
#[derive(Debug)]
struct Used {
    last: Sqn,
    /// DIF (TS 33.102 §C.1.1.3).
    offset: i64,
    registered: bool,
    /// The profile is kept though it is not registered.
    unregistered: bool,
    pending: bool,
    reassignment_pending: bool,
    server: Option<Arc<AssignedServer>>,
    restoration: Option<Box<Restoration>>,
}

impl Used {
    const fn registration(&self) -> RegistrationState {
        match (self.registered, self.unregistered) {
            (true, _) => RegistrationState::Registered,
            (false, true) => RegistrationState::Unregistered,
            (false, false) => RegistrationState::NotRegistered,
        }
    }
}

/// S-CSCFs that were assigned last; those of members are one and the same.
#[derive(Debug, Default)]
pub(super) struct Servers(VecDeque<Arc<AssignedServer>>);

/// S-CSCFs that are remembered.
const SERVERS_MAX: usize = 8;

impl Servers {
    fn shared(&mut self, server: Arc<AssignedServer>) -> Arc<AssignedServer> {
        if let Some(known) = self.0.iter().find(|known| **known == server) {
            return Arc::clone(known);
        }
        if self.0.len() == SERVERS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Arc::clone(&server));
        server
    }
}

/// A range in use.
#[derive(Debug)]
pub(super) struct Members {
    range: SubscriberRange,
    functions: Arc<AkaSet>,
    sequence: SequenceGenerator,
    kept: Numbers<u64, Kept, SeededState>,
    /// Members whose identities lead nowhere.
    hidden: BTreeSet<u64>,
}

impl Members {
    /// # Errors
    ///
    /// A sequence number of more than 48 bits.
    pub(super) fn new(
        range: SubscriberRange,
        scheme: Scheme,
        state: SeededState,
    ) -> Result<Self, StoreError> {
        let last =
            Sqn::new(range.sqn).ok_or_else(|| StoreError::SqnTooLong(range.imsis.impi(0)))?;
        Ok(Self {
            functions: Arc::new(range.keys.functions()),
            sequence: SequenceGenerator::new(scheme, last),
            range,
            kept: Numbers::keyed(state),
            hidden: BTreeSet::new(),
        })
    }

    pub(super) const fn imsis(&self) -> &ImsiRange {
        &self.range.imsis
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.range.imsis.count()).unwrap_or(usize::MAX)
    }

    /// Whether its identities lead to a member.
    pub(super) fn leads(&self, member: u64) -> bool {
        !self.hidden.contains(&member)
    }

    /// Lets its identities lead to a member, or nowhere.
    pub(super) fn lead(&mut self, member: u64, here: bool) {
        if here {
            self.hidden.remove(&member);
        } else {
            self.hidden.insert(member);
        }
    }

    /// The members of which something is kept, in no order.
    pub(super) fn used(&self) -> impl Iterator<Item = u64> {
        self.kept.iter().map(|(member, _)| *member)
    }

    /// Whether something is kept of a member.
    pub(super) fn keeps(&self, member: u64) -> bool {
        self.kept.contains_key(&member)
    }

    /// How many members there are in each state, without `awake` others.
    pub(super) fn count_states(
        &self,
        awake: usize,
        is_awake: impl Fn(u64) -> bool,
        mut add: impl FnMut(RegistrationState, usize),
    ) {
        let mut kept_count = 0;
        for (_, kept) in self.kept.iter().filter(|(member, _)| !is_awake(**member)) {
            kept_count += 1;
            match kept {
                Kept::Used(used) => add(used.registration(), 1),
                Kept::Whole(whole) => {
                    whole.states.iter().for_each(|state| add(state.registration(), 1));
                }
                Kept::Gone => {}
            }
        }
        let others = self.count().saturating_sub(awake + kept_count);
        add(RegistrationState::NotRegistered, others);
    }

    /// The members with an S-CSCF, in no order.
    pub(super) fn served(&self) -> impl Iterator<Item = u64> {
        let has_server = |kept: &Kept| match kept {
            Kept::Used(used) => used.server.is_some(),
            Kept::Whole(whole) => whole.states.iter().any(|state| state.server.is_some()),
            Kept::Gone => false,
        };
        self.kept.iter().filter(move |(_, kept)| has_server(kept)).map(|(member, _)| *member)
    }

    /// A member as it is, and its first data if it has them still.
    pub(super) fn make(&self, member: u64) -> (Subscription, Option<Arc<Subscriber>>) {
        let made = match self.kept.get(&member) {
            None => self.made(member, None),
            Some(Kept::Used(used)) => self.made(member, Some(used)),
            Some(Kept::Whole(whole)) => return ((**whole).clone(), None),
            Some(Kept::Gone) => return (Subscription::gone(), None),
        };
        let first = Arc::clone(&made.provisioned);
        (made, Some(first))
    }

    /// As [`Self::make`], for one that is given back with [`Self::keep`]: what was left for its
    /// restoration is not copied but taken.
    pub(super) fn wake(&mut self, member: u64) -> (Subscription, Option<Arc<Subscriber>>) {
        let left = match self.kept.get_mut(&member) {
            Some(Kept::Used(used)) => used.restoration.take(),
            _ => None,
        };
        let mut awake = self.make(member);
        if let Some(state) = awake.0.states.first_mut() {
            state.restoration.extend(left.map(|info| (0, info)));
        }
        awake
    }

    fn made(&self, member: u64, used: Option<&Used>) -> Subscription {
        let mut sequence = self.sequence.clone();
        let mut state = SetState::default();
        if let Some(used) = used {
            sequence.resume(used.last, used.offset);
            state.registered_by.extend(used.registered.then_some(0));
            state.pending.extend(used.pending.then_some(0));
            state.kept = used.unregistered;
            state.reassignment_pending = used.reassignment_pending;
            state.server.clone_from(&used.server);
            state.restoration.extend(used.restoration.iter().map(|it| (0, it.clone())));
        }
        let functions = Arc::clone(&self.functions);
        Subscription {
            provisioned: Arc::new(self.range.subscriber(member)),
            secrets: vec![Secret::Aka { functions, amf: self.range.amf, sequence }],
            states: vec![state],
        }
    }

    /// Keeps of a member what is not as it was made; `first` as [`Self::make`] gave it.
    pub(super) fn keep(
        &mut self,
        member: u64,
        (mut now, first): (Subscription, Option<Arc<Subscriber>>),
        servers: &mut Servers,
    ) {
        let untouched = first.is_some_and(|first| Arc::ptr_eq(&first, &now.provisioned));
        let kept = if now.provisioned.private_identities.is_empty() {
            Some(Kept::Gone)
        } else if untouched || *now.provisioned == self.range.subscriber(member) {
            match Self::used_as(&mut now, servers) {
                Some(used) if self.is_as_made(&used) => None,
                Some(used) => Some(Kept::Used(used)),
                None => Some(Kept::Whole(Box::new(now))),
            }
        } else {
            Some(Kept::Whole(Box::new(now)))
        };
        match kept {
            Some(kept) => self.kept.insert(member, kept),
            None => self.kept.remove(&member),
        };
    }

    fn is_as_made(&self, used: &Used) -> bool {
        let Used { last, offset, registered, unregistered, pending, .. } = used;
        let idle = !registered && !unregistered && !pending && used.server.is_none();
        idle && !used.reassignment_pending
            && used.restoration.is_none()
            && (*last, *offset) == (self.sequence.last(), self.sequence.offset())
    }

    /// How a member with its first data was used; `None` if it has more than one identity can have.
    fn used_as(now: &mut Subscription, servers: &mut Servers) -> Option<Used> {
        let ([Secret::Aka { sequence, .. }], [state]) =
            (now.secrets.as_slice(), now.states.as_mut_slice())
        else {
            return None;
        };
        let SetState { registered_by, kept, pending, server, reassignment_pending, restoration } =
            state;
        let mut impis = registered_by.iter().chain(pending.iter()).chain(restoration.keys());
        impis.all(|impi| *impi == 0).then(|| Used {
            last: sequence.last(),
            offset: sequence.offset(),
            registered: !registered_by.is_empty(),
            unregistered: *kept,
            pending: !pending.is_empty(),
            reassignment_pending: *reassignment_pending,
            server: server.take().map(|server| servers.shared(server)),
            restoration: restoration.remove(&0),
        })
    }
}
