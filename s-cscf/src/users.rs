//! The users of an implicit registration set: the private identities with a contact in it, and what
//! is kept of each.

use std::sync::Arc;

use cscf_core::cx::AuthItem;
use cscf_core::map::{Marks, Packed, SeededState};
use cscf_core::time::Instant;

use crate::owner::SetId;
use crate::proxy_auth::ProxyNonces;
use crate::secret::Accepted;

/// The users of a set in the order of their private identities: one mostly, so that a list is
/// smaller than a map and as fast.
#[derive(Debug, Default)]
pub(crate) struct Users {
    list: Vec<User>,
}

/// In which sets private identities have a contact: what the HSS and the operator say of one of
/// them is done without a look at all sets.
#[derive(Debug)]
pub(crate) struct SetsOfUsers {
    state: SeededState,
    /// By fingerprints of private identities: the sets themselves tell the rest.
    sets: Marks<Packed>,
}

impl SetsOfUsers {
    pub(crate) fn new(state: SeededState) -> Self {
        Self { state, sets: Marks::default() }
    }

    /// How many private identities have a contact.
    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }

    /// Lets a set be found by one of its users.
    pub(crate) fn enter(&mut self, impi: &str, set: SetId) {
        self.sets.insert(self.state.fingerprint(impi), Packed::new(set));
    }

    /// Lets it be found no longer.
    pub(crate) fn leave(&mut self, impi: &str, set: SetId) {
        self.sets.remove(self.state.fingerprint(impi), Packed::new(set));
    }

    /// The sets that may have this user, in the order they were opened.
    pub(crate) fn of(&self, impi: &str) -> impl Iterator<Item = SetId> {
        self.sets.of(self.state.fingerprint(impi)).map(Packed::get)
    }
}

/// A private identity with a contact in the set.
#[derive(Debug)]
pub(crate) struct User {
    /// The private identity.
    pub(crate) impi: Arc<str>,
    /// The credentials it may use again.
    pub(crate) accepted: Option<Accepted>,
    /// Protected REGISTERs since it was last authenticated.
    pub(crate) refreshes: u32,
    /// When it was last authenticated.
    pub(crate) authenticated_at: Instant,
    /// The operator wants it authenticated at its next REGISTER (TS 24.229 §5.4.1.6).
    pub(crate) reauthenticate: bool,
    /// Authentication vectors left for its next authentication, first in first out.
    pub(crate) spare: Box<[AuthItem]>,
    /// The nonces it has for requests other than REGISTER, once it got one.
    pub(crate) proxy_nonces: Option<Box<ProxyNonces>>,
    /// The fingerprint of the contacts and Paths that the HSS keeps for restoration, see
    /// `ImplicitSet::to_keep`; first of none.
    pub(crate) kept: u64,
}

impl Users {
    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    /// The place of a user in the list, or where it would be.
    fn place(&self, impi: &str) -> Result<usize, usize> {
        self.list.binary_search_by(|user| (*user.impi).cmp(impi))
    }

    /// Whether this private identity is one of them.
    pub(crate) fn contains(&self, impi: &str) -> bool {
        self.place(impi).is_ok()
    }

    /// A user.
    pub(crate) fn get(&self, impi: &str) -> Option<&User> {
        self.list.get(self.place(impi).ok()?)
    }

    /// A user, to change it.
    pub(crate) fn get_mut(&mut self, impi: &str) -> Option<&mut User> {
        let place = self.place(impi).ok()?;
        self.list.get_mut(place)
    }

    /// Adds a user that has no contact yet, unless it is known.
    pub(crate) fn add(&mut self, now: Instant, impi: &Arc<str>) {
        let Err(place) = self.place(impi) else { return };
        // Most sets have one user.
        self.list.reserve_exact(1);
        let user = User {
            impi: Arc::clone(impi),
            accepted: None,
            refreshes: 0,
            authenticated_at: now,
            reauthenticate: false,
            spare: Box::default(),
            proxy_nonces: None,
            kept: 0,
        };
        self.list.insert(place, user);
    }

    /// Forgets those that do not stay; says which, in their order.
    pub(crate) fn retain(&mut self, stays: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        if self.list.iter().all(|user| stays(&user.impi)) {
            return Vec::new();
        }
        let gone = self.list.iter().map(|user| &user.impi).filter(|impi| !stays(impi));
        let gone = gone.cloned().collect();
        self.list.retain(|user| stays(&user.impi));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_once_are_found_and_go_in_the_order_of_their_identities() {
        let mut users = Users::default();
        for impi in ["c", "a", "b", "a"] {
            users.add(Instant::EPOCH, &impi.into());
        }
        assert_eq!(users.len(), 3);
        users.get_mut("b").expect("a user").refreshes = 7;
        assert_eq!(users.get("b").map(|user| user.refreshes), Some(7));

        let gone = users.retain(|impi| impi == "b");

        assert_eq!(gone, ["a".into(), "c".into()]);
        assert!(users.contains("b") && !users.contains("a"));
    }
}
