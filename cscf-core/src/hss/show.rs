//! What the HSS shows of its subscriptions.

use crate::hss::store::{RegistrationState, Secret, Store};
use crate::ifc::ServiceProfile;

/// An implicit registration set with one of its private identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberState {
    /// The private identity.
    pub impi: String,
    /// The public identities of the set.
    pub impus: Vec<String>,
    /// Its registration state.
    pub registration: RegistrationState,
    /// The S-CSCF, if one is assigned.
    pub server: Option<String>,
    /// The last sequence number of the private identity, with a USIM.
    pub sqn: Option<String>,
}

impl Store {
    /// Whether this private identity is known.
    #[must_use]
    pub fn has_impi(&self, impi: &str) -> bool {
        self.find_impi(impi).is_some()
    }

    /// How many implicit registration sets there are in each state.
    #[must_use]
    pub fn states_count(&self) -> [(RegistrationState, usize); 3] {
        use RegistrationState::{NotRegistered, Registered, Unregistered};
        let mut counts = [(NotRegistered, 0), (Registered, 0), (Unregistered, 0)];
        self.slots().count_states(|state, more| {
            for (_, count) in counts.iter_mut().filter(|(known, _)| *known == state) {
                *count += more;
            }
        });
        counts
    }

    /// The first `max` sets with a registration, an S-CSCF, or one of these identities; without
    /// identities and with few subscriptions, all.
    #[must_use]
    pub fn states(&self, of: &[String], max: usize) -> Vec<SubscriberState> {
        let all = self.len() <= max;
        let numbers: Box<dyn Iterator<Item = usize>> = if all {
            Box::new(0..self.len())
        } else if of.is_empty() {
            Box::new(self.slots().perhaps_served())
        } else {
            Box::new(self.slots().perhaps_named(of))
        };
        let mut out = Vec::new();
        for number in numbers {
            let Some(subscription) = self.at(number) else { continue };
            let sets = subscription.provisioned.implicit_sets.iter().zip(&subscription.states);
            for (index, (set, state)) in sets.enumerate() {
                let privates = subscription.provisioned.private_identities.iter();
                for (private, secret) in privates.zip(&subscription.secrets) {
                    if out.len() == max {
                        return out;
                    }
                    let named = of.iter().any(|one| private.impi.contains(one.as_str()));
                    let active = state.server.is_some() && of.is_empty();
                    let meant = named || active || all;
                    if !meant || !subscription.associates(index, &private.impi) {
                        continue;
                    }
                    out.push(SubscriberState {
                        impi: private.impi.clone(),
                        impus: set.identities().map(|one| one.identity.clone()).collect(),
                        registration: state.registration(),
                        server: state.server.as_ref().map(|server| server.name.clone()),
                        sqn: match secret {
                            Secret::Aka { sequence, .. } => Some(sequence.last().to_string()),
                            Secret::Digest { .. } => None,
                        },
                    });
                }
            }
        }
        out
    }

    /// An identity of the first set of a private identity, and the services of that set.
    #[must_use]
    pub fn services(&self, impi: &str) -> Option<(String, Vec<ServiceProfile>)> {
        let subscription = self.at(self.find_impi(impi)?)?;
        let mut sets = subscription.provisioned.implicit_sets.iter().enumerate();
        let (_, set) = sets.find(|(number, _)| subscription.associates(*number, impi))?;
        let impu = set.identities().next()?.identity.clone();
        Some((impu, set.service_profiles.clone()))
    }
}
