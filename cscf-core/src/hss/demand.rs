//! What the HSS demands of an S-CSCF on its own account: RTR when registrations end, PPR when what
//! the S-CSCF keeps has changed (TS 29.228 §6.1.3, §6.2.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clause::ts29228;
use crate::cx::{AuthItem, CxDemand, CxResult, DemandId, DeregistrationReason};
use crate::diameter::ServerInput;
use crate::hss::authentication::digest;
use crate::hss::node::HssNode;
use crate::hss::store::{
    Credentials, RegistrationState, Secret, Store, StoreError, Subscription, secret,
};
use crate::ifc::{ServiceProfile, UserProfile};
use crate::time::Instant;

/// The new services of an implicit registration set.
pub(super) enum Services {
    /// An `IMSSubscription` document.
    Document(String),
    /// Service profiles.
    Profiles(Vec<ServiceProfile>),
}

/// What a PPR carries.
#[derive(Default)]
struct Changed {
    user_data: Option<String>,
    charging_ccf: Option<String>,
    digest: Option<AuthItem>,
}

/// What an unanswered demand is about.
#[derive(Clone, Debug)]
pub(super) enum Demanded {
    /// These sets of a subscription are being deregistered.
    Rtr { subscription: usize, sets: Vec<usize>, impi: String },
    /// The profile of an identity was pushed.
    Ppr { impi: String },
}

impl HssNode {
    /// One RTR to each S-CSCF that serves something of it.
    pub(super) fn deregister(
        &mut self,
        now: Instant,
        impi: &str,
        impus: &[String],
        reason: DeregistrationReason,
        info: &str,
    ) {
        let clause = ts29228("6.1.3");
        let Some(subscription) = self.store.find_impi(impi) else {
            return self.note(now, true, clause, format!("RTR: IMPI {impi} is unknown"));
        };
        let named: Vec<usize> = impus
            .iter()
            .filter_map(|impu| self.store.find_impu(impu))
            .filter(|found| found.subscription == subscription)
            .map(|found| found.set)
            .collect();
        if named.len() < impus.len() {
            return self.note(now, true, clause, format!("RTR: not all IMPUs belong to {impi}"));
        }
        self.deregister_of(now, (subscription, impi), (&named, impus), (reason, info));
    }

    /// As [`Self::deregister`], for a subscription by its number, and its sets with the identities
    /// that were named; no sets mean all.
    pub(super) fn deregister_of(
        &mut self,
        now: Instant,
        (subscription, impi): (usize, &str),
        (named, impus): (&[usize], &[String]),
        (reason, info): (DeregistrationReason, &str),
    ) {
        let clause = ts29228("6.1.3");
        let Some(subscribed) = self.store.at(subscription) else { return };
        let mut by_host: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (set, state) in subscribed.states.iter().enumerate() {
            let meant = if named.is_empty() {
                subscribed.associates(set, impi)
            } else {
                named.contains(&set)
            };
            if let (true, Some(server)) = (meant, &state.server) {
                by_host.entry(server.origin_host.clone()).or_default().push(set);
            }
        }
        if by_host.is_empty() {
            return self.note(now, true, clause, format!("RTR: no S-CSCF serves {impi}"));
        }
        for (host, sets) in by_host {
            let demanded = Demanded::Rtr { subscription, sets, impi: impi.to_owned() };
            let (impi, impus, info) = (impi.to_owned(), impus.to_vec(), info.to_owned());
            let what = CxDemand::Rtr { impi, impus, reason, info };
            self.demand(now, host, what, demanded);
        }
    }

    pub(super) fn change_profile(&mut self, now: Instant, impu: &str, services: Services) {
        let clause = ts29228("6.2.2");
        let changed = self.store.change_profile(impu, services);
        let (impi, server, user_data) = match changed {
            Err(error) => {
                return self.note(now, true, clause, format!("profile not changed: {error}"));
            }
            Ok(changed) => changed,
        };
        match server {
            None => {
                let text = format!("profile of {impu} changed; no S-CSCF to be told");
                self.note(now, false, clause, text);
            }
            Some(host) => {
                self.note(now, false, clause, format!("profile of {impu} changed: PPR"));
                let user_data = Some(user_data);
                self.push(now, host, &impi, Changed { user_data, ..Changed::default() });
            }
        }
    }

    /// Every S-CSCF that serves something of the subscription is told.
    pub(super) fn change_charging(&mut self, now: Instant, impi: &str, ccf: &str) {
        let clause = ts29228("6.2.2");
        let Some(found) = self.store.find_impi(impi) else {
            return self.note(now, true, clause, format!("PPR: IMPI {impi} is unknown"));
        };
        if let Some(subscription) = self.store.at_mut(found) {
            Arc::make_mut(&mut subscription.provisioned).charging_ccf = Some(ccf.to_owned());
        }
        let text = format!("charging function of {impi} is {ccf}");
        self.note(now, false, clause, text);
        for host in self.servers_of(found, impi) {
            let charging_ccf = Some(ccf.to_owned());
            self.push(now, host, impi, Changed { charging_ccf, ..Changed::default() });
        }
    }

    /// The S-CSCF gets the new digest credentials, if the user has SIP digest at all.
    pub(super) fn change_password(&mut self, now: Instant, impi: &str, password: &str) {
        let clause = ts29228("6.2.2");
        match self.store.change_password(impi, password) {
            Err(error) => self.note(now, true, clause, format!("password not changed: {error}")),
            Ok((found, item)) => {
                self.note(now, false, clause, format!("password of {impi} changed"));
                for host in self.servers_of(found, impi) {
                    let digest = Some(item.clone());
                    self.push(now, host, impi, Changed { digest, ..Changed::default() });
                }
            }
        }
    }

    /// Diameter names of the S-CSCFs that keep something of a private identity.
    fn servers_of(&self, subscription: usize, impi: &str) -> Vec<String> {
        let Some(subscription) = self.store.at(subscription) else { return Vec::new() };
        let mut hosts: Vec<String> = subscription
            .states
            .iter()
            .enumerate()
            .filter(|(set, state)| {
                subscription.associates(*set, impi)
                    && state.registration() != RegistrationState::NotRegistered
            })
            .filter_map(|(_, state)| state.server.as_ref().map(|it| it.origin_host.clone()))
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    fn push(&mut self, now: Instant, host: String, impi: &str, changed: Changed) {
        let Changed { user_data, charging_ccf, digest } = changed;
        let impi = impi.to_owned();
        let what = CxDemand::Ppr { impi: impi.clone(), user_data, charging_ccf, digest };
        self.demand(now, host, what, Demanded::Ppr { impi });
    }

    fn demand(
        &mut self,
        now: Instant,
        destination_host: String,
        what: CxDemand,
        demanded: Demanded,
    ) {
        self.demand_count += 1;
        let demand = DemandId(self.demand_count);
        self.demands.insert(demand, demanded);
        let input = ServerInput::Demand { demand, destination_host, what };
        self.server.handle_input(now, input);
    }

    /// After an RTR the sets are not registered, also when the S-CSCF cannot be reached; when it
    /// refuses they stay (TS 29.228 §6.1.3.1).
    pub(super) fn on_demand_answer(
        &mut self,
        now: Instant,
        demand: DemandId,
        result: Option<CxResult>,
    ) {
        let Some(demanded) = self.demands.remove(&demand) else { return };
        let told = result.map_or_else(|| "no answer".to_owned(), |result| result.to_string());
        match demanded {
            Demanded::Rtr { subscription, sets, impi } => {
                let done = result.is_none_or(CxResult::is_success);
                if done {
                    self.unkept = true;
                    self.store.terminate(subscription, &sets, &impi);
                }
                let what = if done { "deregistered" } else { "still registered" };
                let text = format!("RTR of {impi}: {told}: {what}");
                self.note(now, !done, ts29228("6.1.3.1"), text);
            }
            Demanded::Ppr { impi } => {
                let fine = result.is_some_and(CxResult::is_success);
                self.note(now, !fine, ts29228("6.2.2.1"), format!("PPR of {impi}: {told}"));
                if result == Some(CxResult::TooMuchData) {
                    let reason = DeregistrationReason::ServerChange;
                    self.deregister(now, &impi, &[], reason, "profile too large");
                }
            }
        }
    }
}

impl Store {
    /// Replaces the services of a set; gives the private identity to be named, the Diameter name of
    /// the S-CSCF if there is one, and the new document.
    fn change_profile(
        &mut self,
        impu: &str,
        services: Services,
    ) -> Result<(String, Option<String>, String), StoreError> {
        let unknown = || StoreError::IdentityWrong(impu.to_owned());
        let found = self.find_impu(impu).ok_or_else(unknown)?;
        let before: Vec<String> = self.impus_of(found);
        let subscription = self.at_mut(found.subscription).ok_or_else(unknown)?;
        let (service_profiles, profile_xml) = match services {
            Services::Profiles(profiles) => (profiles, None),
            Services::Document(document) => {
                let read = UserProfile::parse(&document)
                    .map_err(|error| StoreError::Profile(impu.to_owned(), error))?;
                (read.service_profiles, Some(document))
            }
        };
        let after: Vec<&str> = service_profiles
            .iter()
            .flat_map(|profile| &profile.public_identities)
            .map(|identity| identity.identity.as_str())
            .collect();
        // Identities are found by an index that a PPR does not change.
        if let Some(odd) = after.iter().find(|it| !before.iter().any(|known| known == *it)) {
            return Err(StoreError::IdentityWrong((*odd).to_owned()));
        }
        let provisioned = Arc::make_mut(&mut subscription.provisioned);
        let set = provisioned.implicit_sets.get_mut(found.set).ok_or_else(unknown)?;
        set.service_profiles = service_profiles;
        set.profile_xml = profile_xml;
        let state = subscription.states.get(found.set).ok_or_else(unknown)?;
        let known = state.registration() != RegistrationState::NotRegistered;
        let number = state.registered_by.first().copied().unwrap_or(0);
        let server = state.server.as_ref().filter(|_| known).map(|it| it.origin_host.clone());
        let private = subscription.provisioned.private_identities.get(number);
        let impi = private.map(|one| one.impi.clone()).ok_or_else(unknown)?;
        let user_data = subscription.user_data(found.set, &impi).ok_or_else(unknown)?;
        Ok((impi, server, user_data))
    }

    /// Gives a private identity with SIP digest another password; gives its subscription and what
    /// the S-CSCF must know.
    fn change_password(
        &mut self,
        impi: &str,
        password: &str,
    ) -> Result<(usize, AuthItem), StoreError> {
        let unknown = || StoreError::IdentityWrong(impi.to_owned());
        let found = self.find_impi(impi).ok_or_else(unknown)?;
        let scheme = self.scheme();
        let subscription = self.at_mut(found).ok_or_else(unknown)?;
        let number = subscription.impi_index(impi).ok_or_else(unknown)?;
        let Subscription { provisioned, secrets, .. } = subscription;
        let identities = &mut Arc::make_mut(provisioned).private_identities;
        let identity = identities.get_mut(number).ok_or_else(unknown)?;
        let Credentials::Digest { password: kept, .. } = &mut identity.credentials else {
            return Err(StoreError::NoPassword(impi.to_owned()));
        };
        password.clone_into(kept);
        let made = secret(identity, scheme)?;
        let Secret::Digest { realm, hashes } = &made else { return Err(unknown()) };
        let item = digest(realm, hashes);
        *secrets.get_mut(number).ok_or_else(unknown)? = made;
        Ok((found, item))
    }

    /// The sets are not registered any more, except by other private identities.
    fn terminate(&mut self, subscription: usize, sets: &[usize], impi: &str) {
        let Some(subscription) = self.at_mut(subscription) else { return };
        let number = subscription.impi_index(impi);
        for set in sets {
            let Some(state) = subscription.states.get_mut(*set) else { continue };
            if let Some(number) = number {
                state.registered_by.remove(&number);
                state.pending.remove(&number);
                state.restoration.remove(&number);
            }
            state.kept = false;
            state.release_server();
        }
    }
}
