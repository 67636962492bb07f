//! The published registrations: looked up by identity or Service-Route token, replaced as a whole.

use std::sync::Arc;

use dashmap::DashMap;

use super::registration::{PublicIdentity, Registration, identity_key, number_key};
use crate::identity::Wildcard;
use crate::ids::Seed;
use crate::map::SeededState;
use crate::sip::Uri;

/// What the owner of the registration state publishes and everybody else reads. A reader takes the
/// `Arc` and lets go of the map at once. Only wildcarded identities are iterated, of which there
/// are few; of those that match the first in the order of their texts counts.
#[derive(Clone, Debug)]
pub struct Registrations {
    by_identity: Shared<Arc<Registration>>,
    by_token: Shared<Arc<Registration>>,
    by_wildcard: Shared<(Wildcard, Arc<Registration>)>,
}

/// The keys share their texts with what they lead to.
type Shared<T> = Arc<DashMap<Arc<str>, T, SeededState>>;

impl Registrations {
    /// Nobody is registered.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        let map = || Arc::new(DashMap::with_hasher(SeededState::new(seed)));
        let by_wildcard = Arc::new(DashMap::with_hasher(SeededState::new(seed)));
        Self { by_identity: map(), by_token: map(), by_wildcard }
    }

    /// What makes hashes with the keys of the node.
    #[must_use]
    pub fn state(&self) -> SeededState {
        *self.by_identity.hasher()
    }

    /// The set that holds the identity with this key, see [`identity_key`].
    #[must_use]
    pub fn by_key(&self, key: &str) -> Option<Arc<Registration>> {
        let found = self.by_identity.get(key).map(|found| Arc::clone(&found));
        found.or_else(|| self.by_wildcard(key))
    }

    /// The set with a wildcarded identity that stands for this key (TS 23.003 §13.4A).
    fn by_wildcard(&self, key: &str) -> Option<Arc<Registration>> {
        if self.by_wildcard.is_empty() {
            return None;
        }
        let matching = self.by_wildcard.iter().filter(|entry| entry.value().0.stands_for(key));
        let first = matching.min_by(|one, other| one.key().cmp(other.key()));
        first.map(|entry| Arc::clone(&entry.value().1))
    }

    /// The set that holds the identity this URI means; a SIP URI with `user=phone` also means the
    /// tel URI with its number (TS 24.229 §5.4.3.3).
    #[must_use]
    pub fn by_uri(&self, uri: &Uri) -> Option<Arc<Registration>> {
        let found = identity_key(uri).and_then(|key| self.by_key(&key));
        found.or_else(|| number_key(uri).and_then(|key| self.by_key(&key)))
    }

    /// The set whose contact got a Service-Route with this user part.
    #[must_use]
    pub fn by_token(&self, token: &str) -> Option<Arc<Registration>> {
        self.by_token.get(token).map(|found| Arc::clone(&found))
    }

    /// Publishes `new` in place of `old`.
    pub fn replace(&self, old: Option<&Registration>, new: Option<&Arc<Registration>>) {
        if let Some(old) = old {
            for identity in old.identities.iter() {
                let same = |its: &PublicIdentity| its.key == identity.key;
                if new.is_none_or(|new| !new.identities.iter().any(same)) {
                    self.by_identity.remove(&identity.key);
                }
            }
            for wildcard in &old.wildcards {
                self.by_wildcard.remove(wildcard.as_str());
            }
            for key in gruu_keys(old) {
                self.by_identity.remove(&*key);
            }
            for binding in old.bindings.iter() {
                if new.is_none_or(|new| new.by_token(&binding.token).is_none()) {
                    self.by_token.remove(&binding.token);
                }
            }
        }
        let Some(new) = new else { return };
        for identity in new.identities.iter() {
            self.by_identity.insert(identity.key.clone(), Arc::clone(new));
        }
        for wildcard in &new.wildcards {
            let found = (wildcard.clone(), Arc::clone(new));
            self.by_wildcard.insert(wildcard.as_str().into(), found);
        }
        for key in gruu_keys(new) {
            self.by_identity.insert(key.into(), Arc::clone(new));
        }
        for binding in new.bindings.iter() {
            self.by_token.insert(binding.token.clone(), Arc::clone(new));
        }
    }

    /// The number of identities published, temporary GRUUs among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_identity.len()
    }

    /// Whether nothing is published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_identity.is_empty() && self.by_token.is_empty() && self.by_wildcard.is_empty()
    }
}

/// The keys of the temporary GRUUs of a set.
fn gruu_keys(set: &Registration) -> impl Iterator<Item = String> {
    let gruus = set.bindings.iter().filter_map(|binding| binding.gruus.as_deref());
    let uris = gruus.flat_map(|its| &its.temporary).filter_map(|its| Uri::parse(&its.uri).ok());
    uris.filter_map(|uri| identity_key(&uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(uris: &[&str]) -> Arc<Registration> {
        let identity = |uri: &&str| PublicIdentity::new(uri, false).expect("an identity");
        Arc::new(Registration {
            identities: uris.iter().map(identity).collect(),
            wildcards: uris.iter().filter_map(|uri| Wildcard::parse(uri)).collect(),
            bindings: Arc::new([]),
            charging_ccf: None,
            services: Arc::new([]),
        })
    }

    /// G-ID-020, G-ID-030
    #[test]
    fn every_form_of_an_identity_finds_its_set() {
        let all = Registrations::new(&Seed([7; 32]));
        let alice = set(&["sip:alice@home.example", "tel:+15550101"]);
        all.replace(None, Some(&alice));
        let found = |text: &str| all.by_uri(&Uri::parse(text).expect("a URI")).is_some();
        assert!(found("sip:alice@HOME.example:5060;transport=tcp"));
        assert!(found("tel:+1-555-0101"));
        assert!(found("sip:+15550101@home.example;user=phone"));
        assert!(!found("sip:+15550101@home.example"));
        assert!(!found("sip:bob@home.example"));
    }

    #[test]
    fn a_wildcarded_identity_stands_for_many_until_its_set_is_gone() {
        let all = Registrations::new(&Seed([7; 32]));
        let (pbx, one) = (set(&["sip:main@h", "sip:pbx!.*!@h"]), set(&["sip:pbx7@h"]));
        all.replace(None, Some(&pbx));
        all.replace(None, Some(&one));
        let found = |key: &str| all.by_key(key);
        assert_eq!(found("sip:pbx12@h"), Some(Arc::clone(&pbx)));
        assert_eq!(found("sip:pbx7@h"), Some(one), "a distinct one goes before");
        assert_eq!(pbx.identity("sip:pbx12@h").map(|its| &*its.uri), Some("sip:pbx!.*!@h"));
        all.replace(Some(&pbx), None);
        assert_eq!(all.by_key("sip:pbx12@h"), None);
    }

    #[test]
    fn what_the_new_set_lacks_is_gone() {
        let all = Registrations::new(&Seed([7; 32]));
        let (old, new) = (set(&["sip:a@h", "sip:b@h"]), set(&["sip:b@h"]));
        all.replace(None, Some(&old));
        all.replace(Some(&old), Some(&new));
        assert!(all.by_key("sip:a@h").is_none());
        assert_eq!(all.by_key("sip:b@h"), Some(Arc::clone(&new)));
        all.replace(Some(&new), None);
        assert!(all.is_empty());
    }
}
