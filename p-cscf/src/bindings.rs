//! What the P-CSCF knows of each UE (TS 24.229 §5.2.2.1): its flow and IP association, its
//! registrations with Service-Route and identities, and when all that ends. One record per UE and
//! flow; its number is the token in Path.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use cscf_core::dialog::field;
use cscf_core::ids::Seed;
use cscf_core::map::{Marks, Packed, Records, SeededState};
use cscf_core::role::Side;
use cscf_core::time::Instant;
use cscf_core::transport::Flow;

use crate::config::Limits;
use crate::identity::Identity;
use crate::mechanism::Mechanism;
use crate::shards::Changes;
use crate::tokens::UeId;

/// Public identities a UE may register explicitly over one flow.
pub(crate) const REGISTRATIONS_MAX: usize = 8;

/// What names a UE on an unprotected access: source address and port, sent-by, private identity
/// (TS 33.203 §N.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Association {
    /// Source address and port of its packets.
    pub(crate) source: SocketAddr,
    /// Host and port in its Via, lower case.
    pub(crate) sent_by: Box<str>,
    /// Private identity.
    pub(crate) impi: Box<str>,
}

/// One registered public identity with its implicit registration set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    /// Key of the identity in To of the REGISTER.
    pub(crate) aor: Arc<str>,
    /// The registered contact URI.
    pub(crate) contact: Box<str>,
    /// The Service-Route values in order.
    pub(crate) service_route: Box<[Box<str>]>,
    /// P-Associated-URI; the first is the default.
    pub(crate) associated: Box<[Identity]>,
    /// The home network's name from the 200.
    pub(crate) term_ioi: Option<Arc<str>>,
    /// When it ends unless refreshed.
    pub(crate) expires_at: Instant,
}

/// A UE on one flow.
#[derive(Clone, Debug)]
pub(crate) struct Ue {
    /// What it is recognised by.
    pub(crate) association: Association,
    /// Where requests to it go.
    pub(crate) flow: Flow,
    /// The flow's connection is gone.
    pub(crate) flow_lost: bool,
    /// It sends keep-alives, so that its silence tells something.
    pub(crate) kept: bool,
    /// The bearer of its signalling is lost, and nothing has come from it since.
    pub(crate) signalling_lost: bool,
    /// Timer values towards it.
    pub(crate) side: Side,
    /// It registered for outbound (RFC 5626).
    pub(crate) outbound: bool,
    /// Its registrations; empty while the first one is pending.
    pub(crate) registrations: Box<[Registration]>,
    /// When an unfinished first registration is forgotten.
    pub(crate) pending_until: Instant,
    /// A challenge went to it.
    pub(crate) challenged: bool,
    /// How its registration is protected.
    pub(crate) mechanism: Mechanism,
}

impl Ue {
    /// Its private identity.
    #[must_use]
    pub(crate) fn impi(&self) -> &str {
        &self.association.impi
    }

    /// Whether it has a registration.
    #[must_use]
    pub(crate) const fn is_registered(&self) -> bool {
        !self.registrations.is_empty()
    }

    /// Whether its requests come and go by this flow.
    fn is_on(&self, flow: &Flow) -> bool {
        let known = &self.flow;
        known.transport == flow.transport && known.conn == flow.conn && known.sa == flow.sa
    }

    /// Whether what comes by this flow can be of it, as far as TLS tells.
    #[must_use]
    pub(crate) fn may_speak_by(&self, flow: &Flow) -> bool {
        let by_tls = self.mechanism == Mechanism::DigestTls || self.flow.transport.is_secure();
        flow.transport.is_secure() || !by_tls
    }

    /// Whether all it registered for is emergency calls (TS 24.229 §5.2.10.3).
    #[must_use]
    pub(crate) fn is_emergency_only(&self) -> bool {
        let sos = |registration: &Registration| field::uri_has_param(&registration.contact, "sos");
        self.is_registered() && self.registrations.iter().all(sos)
    }

    /// Whether any of its registrations is for emergency calls.
    #[must_use]
    pub(crate) fn has_emergency(&self) -> bool {
        self.registrations.iter().any(|it| field::uri_has_param(&it.contact, "sos"))
    }

    /// The last moment this record is good for anything.
    #[must_use]
    pub(crate) fn ends_at(&self) -> Instant {
        let last = self.registrations.iter().map(|registration| registration.expires_at).max();
        last.unwrap_or(self.pending_until)
    }

    /// The registration and the registered form of an identity the UE prefers.
    #[must_use]
    pub(crate) fn find(&self, wanted: &Identity) -> Option<(&Registration, &Identity)> {
        let all = || {
            self.registrations.iter().flat_map(|registration| {
                registration.associated.iter().map(move |identity| (registration, identity))
            })
        };
        let same = |identity: &Identity| identity.key == wanted.key;
        all()
            .find(|(_, identity)| same(identity) && identity.is_tel == wanted.is_tel)
            .or_else(|| all().find(|(_, identity)| same(identity)))
    }

    /// The registration and identity to assert when the UE prefers none.
    #[must_use]
    pub(crate) fn default_identity(&self) -> Option<(&Registration, &Identity)> {
        self.registrations.iter().find_map(|registration| {
            registration.associated.first().map(|identity| (registration, identity))
        })
    }
}

/// Where a UE stands among all at its source: the registered before the pending, of which anybody
/// can make as many as may be; then by sent-by, then by private identity (30 and 32 bits of their
/// fingerprints).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(Packed);

impl Place {
    const PENDING: u64 = 1 << 62;

    /// The first of a sent-by.
    const fn first(is_registered: bool, sent_by: u64) -> Self {
        Self(Packed::new(Self::beginning(is_registered, sent_by)))
    }

    const fn new(is_registered: bool, sent_by: u64, impi: u64) -> Self {
        Self(Packed::new(Self::beginning(is_registered, sent_by) | (impi & u32::MAX as u64)))
    }

    const fn beginning(is_registered: bool, sent_by: u64) -> u64 {
        let pending = if is_registered { 0 } else { Self::PENDING };
        pending | (sent_by >> 2 & !(u32::MAX as u64))
    }

    /// Whether both are registered or both not, with the same sent-by.
    const fn is_beside(self, other: Self) -> bool {
        self.0.get() >> 32 == other.0.get() >> 32
    }
}

/// All UEs with their indexes.
#[derive(Debug)]
pub(crate) struct Bindings {
    /// Makes the fingerprints.
    state: SeededState,
    ues: Records<UeId, Ue>,
    /// By fingerprints of source addresses; the records themselves tell the rest.
    by_source: Marks<(Place, UeId)>,
    /// By fingerprints of private identities; the pending, marked so, behind the registered.
    by_impi: Marks<(bool, UeId)>,
    pending: BTreeSet<(Instant, UeId)>,
    registered_count: usize,
    /// The home network that was told last; mostly it is that of all.
    home: Option<Arc<str>>,
    /// Records that the other engines of the node have to hear of.
    changes: Changes<UeId>,
}

impl Bindings {
    /// Nothing is known of any UE; `seed` is that of the node.
    pub(crate) fn new(seed: &Seed) -> Self {
        Self {
            state: SeededState::new(seed),
            ues: Records::default(),
            by_source: Marks::default(),
            by_impi: Marks::default(),
            pending: BTreeSet::new(),
            registered_count: 0,
            home: None,
            changes: Changes::default(),
        }
    }

    /// The number of records.
    pub(crate) fn len(&self) -> usize {
        self.ues.len()
    }

    /// All records in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Ue> {
        let mut all: Vec<_> = self.ues.iter().collect();
        all.sort_unstable_by_key(|(id, _)| **id);
        all.into_iter().map(|(_, ue)| ue)
    }

    /// Whether nothing is known of any UE.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.ues.is_empty() && self.by_source.is_empty() && self.by_impi.is_empty()
    }

    /// The number of UEs with a registration.
    #[must_use]
    pub(crate) const fn registered_count(&self) -> usize {
        self.registered_count
    }

    /// A record.
    #[must_use]
    pub(crate) fn get(&self, id: UeId) -> Option<&Ue> {
        self.ues.get(&id)
    }

    /// Keeps in mind from now on which records change.
    pub(crate) fn follow_changes(&mut self) {
        self.changes = Changes::followed();
    }

    /// The records that have changed, are new or gone, since this was last asked.
    pub(crate) fn take_changes(&mut self) -> BTreeSet<UeId> {
        self.changes.take()
    }

    /// Takes a record over as another engine has it.
    pub(crate) fn copy(&mut self, id: UeId, ue: Option<&Ue>) {
        self.remove(id);
        let Some(ue) = ue else { return };
        self.registered_count += usize::from(ue.is_registered());
        self.index(id, &ue.association, ue.is_registered());
        self.ues.insert(id, ue.clone());
    }

    /// A record, to change what no index holds: neither its association nor whether it has
    /// registrations.
    pub(crate) fn get_mut(&mut self, id: UeId) -> Option<&mut Ue> {
        self.changes.note(id);
        self.ues.get_mut(&id)
    }

    /// The record of exactly this association.
    #[must_use]
    pub(crate) fn of_association(&self, association: &Association) -> Option<UeId> {
        let same = |id: &UeId| self.get(*id).is_some_and(|ue| ue.association == *association);
        let find = |is_registered| {
            let (source, place) = self.marks(association, is_registered);
            let all = self.by_source.of_from(source, (place, UeId(0)));
            all.take_while(move |(its, _)| *its == place).map(|(_, id)| id).find(same)
        };
        find(true).or_else(|| find(false))
    }

    /// The registered UE a packet without associations comes from: the one with this source and
    /// sent-by, else the only one at this source (a UE may write another sent-by once it knows its
    /// translated address). Who has registered over TLS speaks over TLS (TS 33.203 §O.2.1): its
    /// address alone is anybody's.
    #[must_use]
    pub(crate) fn registered_at(&self, flow: &Flow, sent_by: &str) -> Option<UeId> {
        let speaks = |(ue, _): &(&Ue, UeId)| ue.may_speak_by(flow);
        let exact = self
            .beside(flow.remote, sent_by, true)
            .filter(speaks)
            .min_by_key(|(ue, _)| &ue.association);
        if let Some((_, id)) = exact {
            return Some(id);
        }
        let registered = self.at(flow.remote).take_while(|(ue, _)| ue.is_registered());
        let mut all = registered.filter(speaks).map(|(_, id)| id);
        all.next().filter(|_| all.next().is_none())
    }

    /// Any UE at this source, registered or not.
    #[must_use]
    pub(crate) fn any_at(&self, source: SocketAddr) -> Option<&Ue> {
        self.at(source).next().map(|(ue, _)| ue)
    }

    /// Every registered UE with this private identity.
    pub(crate) fn of_impi(&self, impi: &str) -> impl Iterator<Item = UeId> {
        let all = self.by_impi.of(self.state.fingerprint(impi));
        let registered = all.take_while(|(is_pending, _)| !is_pending).map(|(_, id)| id);
        registered.filter(move |id| self.get(*id).is_some_and(|ue| *ue.association.impi == *impi))
    }

    /// Records a UE in its first registration. When too many are pending the oldest is forgotten.
    pub(crate) fn insert(&mut self, id: UeId, ue: Ue, limits: Limits) {
        while self.pending.len() >= limits.pending_max.max(1) {
            let Some((_, oldest)) = self.pending.first().copied() else { break };
            self.remove(oldest);
        }
        if let Some(old) = self.of_association(&ue.association) {
            self.remove(old);
        }
        self.changes.note(id);
        self.index(id, &ue.association, ue.is_registered());
        self.pending.insert((ue.pending_until, id));
        self.ues.insert(id, ue);
    }

    /// Gives a pending UE more time.
    pub(crate) fn prolong(&mut self, id: UeId, until: Instant) {
        self.changes.note(id);
        let Some(ue) = self.ues.get_mut(&id) else { return };
        if ue.is_registered() {
            return;
        }
        self.pending.remove(&(ue.pending_until, id));
        ue.pending_until = until;
        self.pending.insert((until, id));
    }

    /// Stores or replaces the registration of one identity.
    pub(crate) fn register(&mut self, id: UeId, mut registration: Registration) {
        self.changes.note(id);
        let same = registration.associated.iter().find(|its| its.key == registration.aor);
        if let Some(same) = same {
            registration.aor = Arc::clone(&same.key);
        }
        if registration.term_ioi == self.home {
            registration.term_ioi.clone_from(&self.home);
        } else {
            self.home.clone_from(&registration.term_ioi);
        }
        self.confirm(id);
        let Some(ue) = self.ues.get_mut(&id) else { return };
        let old = ue.registrations.iter_mut().find(|old| old.aor == registration.aor);
        match old {
            Some(old) => *old = registration,
            None => {
                let all = Vec::from(std::mem::take(&mut ue.registrations));
                let above = (all.len() + 1).saturating_sub(REGISTRATIONS_MAX);
                ue.registrations = all.into_iter().skip(above).chain([registration]).collect();
            }
        }
    }

    /// Counts a UE that is about to get its first registration among the registered.
    fn confirm(&mut self, id: UeId) {
        let Some(ue) = self.ues.get(&id).filter(|ue| !ue.is_registered()) else { return };
        self.pending.remove(&(ue.pending_until, id));
        self.registered_count += 1;
        let (source, before) = self.marks(&ue.association, false);
        let (_, now) = self.marks(&ue.association, true);
        let impi = self.state.fingerprint(&*ue.association.impi);
        self.by_source.remove(source, (before, id));
        self.by_source.insert(source, (now, id));
        self.by_impi.remove(impi, (true, id));
        self.by_impi.insert(impi, (false, id));
    }

    /// Removes the registrations for which `gone` says so; says whether the record went with the
    /// last of them.
    pub(crate) fn deregister(&mut self, id: UeId, gone: impl Fn(&Registration) -> bool) -> bool {
        let Some(ue) = self.ues.get_mut(&id) else { return false };
        if !ue.is_registered() {
            return false;
        }
        self.changes.note(id);
        let mut left = Vec::from(std::mem::take(&mut ue.registrations));
        left.retain(|registration| !gone(registration));
        ue.registrations = left.into();
        if ue.is_registered() {
            return false;
        }
        self.registered_count = self.registered_count.saturating_sub(1);
        self.forget(id, true);
        true
    }

    /// Removes a record.
    pub(crate) fn remove(&mut self, id: UeId) {
        let was_registered = self.get(id).is_some_and(Ue::is_registered);
        if was_registered {
            self.registered_count = self.registered_count.saturating_sub(1);
        }
        self.forget(id, was_registered);
    }

    /// The other UEs with the same source and sent-by, registered or not, and the registered ones
    /// of the same private identity with the same contact: a successful registration takes their
    /// place (TS 33.203 §N.2.1.1).
    #[must_use]
    pub(crate) fn superseded_by(&self, id: UeId, contact: &str) -> Vec<UeId> {
        let Some(ue) = self.get(id) else { return Vec::new() };
        let key = &ue.association;
        let same_place = [true, false]
            .into_iter()
            .flat_map(|is_registered| self.beside(key.source, &key.sent_by, is_registered))
            .filter(|(other, _)| other.association.impi != key.impi)
            .map(|(_, other)| other);
        let same_contact = self.of_impi(&key.impi).filter(|other| {
            self.get(*other).is_some_and(|ue| {
                ue.registrations.iter().any(|registration| *registration.contact == *contact)
            })
        });
        let mut out: Vec<UeId> = same_place.chain(same_contact).filter(|it| *it != id).collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The UEs whose requests come and go by this flow.
    #[must_use]
    pub(crate) fn on_flow(&self, flow: &Flow) -> Vec<UeId> {
        let all = self.at(flow.remote).filter(|(ue, _)| ue.is_on(flow));
        all.map(|(_, id)| id).collect()
    }

    /// Those of them that are registered.
    pub(crate) fn registered_on(&self, flow: &Flow) -> impl Iterator<Item = &Ue> {
        let registered = self.at(flow.remote).take_while(|(ue, _)| ue.is_registered());
        registered.map(|(ue, _)| ue).filter(|ue| ue.is_on(flow))
    }

    /// The records of a source, the registered first.
    fn at(&self, source: SocketAddr) -> impl Iterator<Item = (&Ue, UeId)> {
        self.who(source, self.by_source.of(self.state.fingerprint(&source)))
    }

    /// The records of a source with this sent-by, those registered or the others.
    fn beside<'a>(
        &'a self,
        source: SocketAddr,
        sent_by: &'a str,
        is_registered: bool,
    ) -> impl Iterator<Item = (&'a Ue, UeId)> {
        let first = Place::first(is_registered, self.state.fingerprint(sent_by));
        let all = self.by_source.of_from(self.state.fingerprint(&source), (first, UeId(0)));
        let beside = all.take_while(move |(place, _)| place.is_beside(first));
        self.who(source, beside).filter(move |(ue, _)| *ue.association.sent_by == *sent_by)
    }

    fn who(
        &self,
        source: SocketAddr,
        all: impl Iterator<Item = (Place, UeId)>,
    ) -> impl Iterator<Item = (&Ue, UeId)> {
        all.filter_map(move |(_, id)| {
            self.get(id).filter(|ue| ue.association.source == source).map(|ue| (ue, id))
        })
    }

    fn index(&mut self, id: UeId, association: &Association, is_registered: bool) {
        let (source, place) = self.marks(association, is_registered);
        self.by_source.insert(source, (place, id));
        self.by_impi.insert(self.state.fingerprint(&*association.impi), (!is_registered, id));
    }

    fn forget(&mut self, id: UeId, was_registered: bool) {
        let Some(ue) = self.ues.remove(&id) else { return };
        self.changes.note(id);
        self.pending.remove(&(ue.pending_until, id));
        let impi = self.state.fingerprint(&*ue.association.impi);
        self.by_impi.remove(impi, (!was_registered, id));
        let (source, place) = self.marks(&ue.association, was_registered);
        self.by_source.remove(source, (place, id));
    }

    /// The fingerprint of a source, and the place among all that are there.
    fn marks(&self, of: &Association, is_registered: bool) -> (u64, Place) {
        let sent_by = self.state.fingerprint(&*of.sent_by);
        let place = Place::new(is_registered, sent_by, self.state.fingerprint(&*of.impi));
        (self.state.fingerprint(&of.source), place)
    }
}

#[cfg(test)]
mod tests;
