//! Which subscription an identity leads to: by the index of those that were provisioned one by one,
//! or by arithmetic where it is one of a range.

use crate::hss::store::{Found, Store, StoreError};
use crate::identity::{Impi, Impu, Wildcard};

impl Store {
    /// Lets the identities of a subscription lead to it, or nowhere.
    pub(super) fn lead(&mut self, number: usize, here: bool) {
        if self.slots.lead(number, here) {
            return;
        }
        let Some(subscription) = self.slots.at(number) else { return };
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

    /// Those that stood before a range were looked up in none.
    pub(super) fn check_ranges(&self) -> Result<(), StoreError> {
        if !self.slots.has_ranges() {
            return Ok(());
        }
        let impis = self.by_impi.keys().filter(|key| self.slots.find_impi(key).is_some());
        let impus = self.by_impu.keys().filter(|key| self.slots.find_impu(key).is_some());
        let twice = impis.min().or_else(|| impus.min());
        twice.map_or(Ok(()), |key| Err(StoreError::IdentityTwice(key.clone())))
    }

    pub(super) fn find_impi(&self, impi: &str) -> Option<usize> {
        // Most come in the form of the key.
        self.by_key(impi).or_else(|| self.by_key(&impi_key(impi)))
    }

    pub(super) fn by_key(&self, key: &str) -> Option<usize> {
        self.by_impi.get(key).copied().or_else(|| self.slots.find_impi(key))
    }

    pub(super) fn by_impu_key(&self, key: &str) -> Option<Found> {
        self.by_impu.get(key).copied().or_else(|| self.slots.find_impu(key))
    }

    /// A number is found by its tel and by its SIP form (TS 24.229 §4.2); a distinct identity goes
    /// before a wildcarded one (TS 23.003 §13.4A).
    pub(super) fn find_impu(&self, text: &str) -> Option<Found> {
        // Most come in the form of the key.
        let found = self.by_impu_key(text);
        if found.is_some() || Wildcard::is_meant(text) {
            return found;
        }
        let impu = Impu::parse(text).ok()?;
        if let Some(found) = self.by_impu_key(impu.as_str()) {
            return Some(found);
        }
        let mut aliases = impu.aliases(self.home_domain());
        let found = aliases.find_map(|alias| self.by_impu_key(alias.as_str()));
        found.or_else(|| {
            let stands = |its: &&(Wildcard, Found)| its.0.stands_for(impu.as_str());
            self.wildcards.iter().find(stands).map(|(_, found)| *found)
        })
    }

    /// The wildcarded identity that stands for one that is not provisioned itself.
    pub(super) fn wildcard_of(&self, text: &str) -> Option<&str> {
        let impu = Impu::parse(text).ok().filter(|_| !Wildcard::is_meant(text))?;
        let mut forms = impu.aliases(self.home_domain());
        let distinct = self.by_impu_key(impu.as_str()).is_some()
            || forms.any(|alias| self.by_impu_key(alias.as_str()).is_some());
        let stands = |its: &&(Wildcard, Found)| its.0.stands_for(impu.as_str());
        self.wildcards.iter().filter(|_| !distinct).find(stands).map(|(it, _)| it.as_str())
    }

    /// Makes the member of a range to whom a question is, so that it is made once.
    pub(super) fn wake(&mut self, impi: Option<&str>, impu: Option<&str>) {
        if !self.slots.has_ranges() {
            return;
        }
        let by_impi = impi.and_then(|impi| self.find_impi(impi));
        let found = by_impi.or_else(|| Some(self.find_impu(impu?)?.subscription));
        if let Some(number) = found {
            self.slots.at_mut(number);
        }
    }
}

/// The key of a private identity; as it is when it is no `user@realm`.
pub(super) fn impi_key(text: &str) -> String {
    Impi::parse(text).map_or_else(|_| text.to_owned(), |impi| impi.to_string())
}

pub(super) fn same_impi(one: &str, other: &str) -> bool {
    one == other || impi_key(one) == impi_key(other)
}

/// The key of a public identity; a wildcarded one is its own.
pub(super) fn impu_key(text: &str) -> Option<String> {
    if Wildcard::is_meant(text) {
        return Some(text.to_owned());
    }
    Impu::parse(text).ok().map(|impu| impu.as_str().to_owned())
}
