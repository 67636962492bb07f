//! Subscriptions that come, change and go while the HSS runs. Who serves a user hears of it: a new
//! profile is pushed (TS 29.228 §6.2.2), and a user that goes, or whose identities change, is
//! deregistered before (§6.1.3).

use std::sync::Arc;

use crate::clause::{own, ts29228};
use crate::cx::DeregistrationReason;
use crate::hss::demand::Services;
use crate::hss::node::HssNode;
use crate::hss::store::{Credentials, Store, StoreError, Subscriber, Subscription, secret};
use crate::time::Instant;

/// What becomes of a subscription.
#[derive(Clone, Debug)]
pub enum Provisioning {
    /// It is new.
    Add(Box<Subscriber>),
    /// The subscription with this private identity is this from now on.
    Change {
        /// A private identity it has now.
        impi: String,
        /// What it is then.
        subscriber: Box<Subscriber>,
    },
    /// It goes.
    Remove {
        /// A private identity of it.
        impi: String,
    },
}

impl HssNode {
    /// Takes up, changes or lets go a subscription; says what was done.
    ///
    /// # Errors
    ///
    /// Why it cannot be; nothing is changed then.
    pub fn provision(&mut self, now: Instant, what: Provisioning) -> Result<String, String> {
        let done = match what {
            Provisioning::Add(subscriber) => {
                let impi = first_impi(&subscriber);
                self.store.provision(*subscriber).map_err(|fault| fault.to_string())?;
                format!("{impi} is provisioned")
            }
            Provisioning::Change { impi, subscriber } => self.change(now, &impi, *subscriber)?,
            Provisioning::Remove { impi } => {
                let number = self.known(&impi)?;
                let told = self.let_go(now, &impi);
                self.store.remove(number);
                format!("{impi} is removed{told}")
            }
        };
        self.unkept = true;
        self.note(now, false, own("provisioning"), done.clone());
        self.drain_server(now);
        Ok(done)
    }

    fn known(&self, impi: &str) -> Result<usize, String> {
        self.store.find_impi(impi).ok_or_else(|| format!("the HSS does not know {impi}"))
    }

    /// Deregisters a user where it is registered; says so.
    fn let_go(&mut self, now: Instant, impi: &str) -> &'static str {
        if !self.store.is_served(impi) {
            return "";
        }
        let reason = DeregistrationReason::PermanentTermination;
        self.deregister(now, impi, &[], reason, "the subscription has ended");
        "; its S-CSCF gets an RTR"
    }

    fn change(&mut self, now: Instant, impi: &str, new: Subscriber) -> Result<String, String> {
        let number = self.known(impi)?;
        let old = self.store.at(number).map(|it| it.provisioned.clone()).unwrap_or_default();
        if identities(&old) != identities(&new) {
            self.store.replace(number, new).map_err(|fault| fault.to_string())?;
            // The old subscription is where it was until its S-CSCF has heard of its end.
            let told = self.let_go_number(now, number, impi);
            self.store.clear(number);
            return Ok(format!("{impi} has other identities from now on{told}"));
        }
        self.store.update(number, &new).map_err(|fault| fault.to_string())?;
        if new.barred && !old.barred {
            // Who goes is told of no other data; it finds them when it is let in again.
            self.store.settle(number, new);
            let told = self.let_go(now, impi);
            return Ok(format!("{impi} is barred from now on{told}"));
        }
        let mut pushed = Vec::new();
        for (before, after) in old.implicit_sets.iter().zip(&new.implicit_sets) {
            let same = before.service_profiles == after.service_profiles
                && before.profile_xml == after.profile_xml;
            let Some(impu) = after.identities().next().filter(|_| !same) else { continue };
            let services = match &after.profile_xml {
                Some(document) => Services::Document(document.clone()),
                None => Services::Profiles(after.service_profiles.clone()),
            };
            let impu = impu.identity.clone();
            self.change_profile(now, &impu, services);
            pushed.push("profile");
        }
        if let (Some(ccf), false) = (&new.charging_ccf, new.charging_ccf == old.charging_ccf) {
            self.change_charging(now, impi, ccf);
            pushed.push("charging function");
        }
        if let (Some(password), false) = (password(&new), password(&new) == password(&old)) {
            self.change_password(now, impi, &password);
            pushed.push("password");
        }
        let what = if pushed.is_empty() { "data".to_owned() } else { pushed.join(", ") };
        let told = match (self.store.is_served(impi), pushed.is_empty()) {
            (true, false) => "; its S-CSCF gets a PPR",
            _ => "",
        };
        Ok(format!("{impi} has another {what} from now on{told}"))
    }

    /// As [`Self::let_go`], for a subscription that is found by its number only.
    fn let_go_number(&mut self, now: Instant, number: usize, impi: &str) -> &'static str {
        if !self.store.at(number).is_some_and(|it| it.is_served()) {
            return "";
        }
        self.note(now, false, ts29228("6.1.3"), format!("RTR: {impi} has other identities"));
        let reason = DeregistrationReason::PermanentTermination;
        self.deregister_of(now, (number, impi), (&[], &[]), (reason, "identities have changed"));
        "; its S-CSCF gets an RTR"
    }
}

impl Subscription {
    fn is_served(&self) -> bool {
        self.states.iter().any(|state| state.server.is_some())
    }

    /// Nobody's.
    pub(super) fn gone() -> Self {
        Self { provisioned: Arc::default(), secrets: Vec::new(), states: Vec::new() }
    }
}

impl Store {
    fn is_served(&self, impi: &str) -> bool {
        let found = self.find_impi(impi).and_then(|number| self.at(number));
        found.is_some_and(|it| it.is_served())
    }

    /// Takes a subscription out. Its number is not used again: an answer to an RTR may still name
    /// it.
    fn remove(&mut self, number: usize) {
        self.lead(number, false);
        self.clear(number);
    }

    fn clear(&mut self, number: usize) {
        if let Some(place) = self.at_mut(number) {
            *place = Subscription::gone();
        }
    }

    /// All data of a subscription at once.
    fn settle(&mut self, number: usize, new: Subscriber) {
        if let Some(subscription) = self.at_mut(number) {
            subscription.provisioned = Arc::new(new);
        }
    }

    /// Gives the identities of a subscription to another one; without success all is as before.
    fn replace(&mut self, number: usize, new: Subscriber) -> Result<(), StoreError> {
        self.lead(number, false);
        let result = self.provision(new);
        if result.is_err() {
            self.lead(number, true);
        }
        result
    }

    /// Other data for the same identities. The sequence numbers of a card that stays go on; what is
    /// pushed to an S-CSCF is changed where it is pushed.
    fn update(&mut self, number: usize, new: &Subscriber) -> Result<(), StoreError> {
        let scheme = self.scheme();
        let Some(subscription) = self.at_mut(number) else { return Ok(()) };
        let privates = subscription.provisioned.private_identities.iter();
        let mut made = Vec::new();
        for (old, new) in privates.zip(&new.private_identities) {
            made.push(match same_card(&old.credentials, &new.credentials) {
                true => None,
                false => Some(secret(new, scheme)?),
            });
        }
        for (place, secret) in subscription.secrets.iter_mut().zip(made) {
            if let Some(secret) = secret {
                *place = secret;
            }
        }
        let pushed = Arc::unwrap_or_clone(std::mem::take(&mut subscription.provisioned));
        let mut provisioned = Subscriber {
            implicit_sets: pushed.implicit_sets,
            // One that goes is not pushed: a PPR can name another, not none (TS 29.228 §6.2.2).
            charging_ccf: pushed.charging_ccf.filter(|_| new.charging_ccf.is_some()),
            ..new.clone()
        };
        for (place, new) in provisioned.implicit_sets.iter_mut().zip(&new.implicit_sets) {
            place.unregistered_services = new.unregistered_services;
        }
        subscription.provisioned = Arc::new(provisioned);
        Ok(())
    }
}

fn same_card(one: &Credentials, other: &Credentials) -> bool {
    match (one, other) {
        (
            Credentials::Aka { keys, amf, .. },
            Credentials::Aka { keys: others, amf: other_amf, .. },
        ) => keys == others && amf == other_amf,
        (
            Credentials::Digest { realm, password, algorithms },
            Credentials::Digest { realm: r, password: p, algorithms: a },
        ) => (realm, password, algorithms) == (r, p, a),
        _ => false,
    }
}

fn password(subscriber: &Subscriber) -> Option<String> {
    subscriber.private_identities.iter().find_map(|one| match &one.credentials {
        Credentials::Digest { password, .. } => Some(password.clone()),
        Credentials::Aka { .. } => None,
    })
}

fn first_impi(subscriber: &Subscriber) -> String {
    subscriber.private_identities.first().map(|one| one.impi.clone()).unwrap_or_default()
}

/// All identities of a subscription, set by set.
fn identities(subscriber: &Subscriber) -> (Vec<&str>, Vec<Vec<&str>>) {
    let privates = subscriber.private_identities.iter().map(|one| one.impi.as_str());
    let sets = subscriber.implicit_sets.iter();
    let sets = sets.map(|set| {
        let mut all: Vec<&str> = set.identities().map(|it| it.identity.as_str()).collect();
        all.sort_unstable();
        all
    });
    (privates.collect(), sets.collect())
}
