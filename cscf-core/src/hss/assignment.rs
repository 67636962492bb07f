//! What the HSS answers to SAR: who serves an identity, in which state, with which profile
//! (TS 29.228 §6.1.2.1). A whole implicit registration set changes at once (TS 29.228 §6.5).

use std::sync::Arc;

use crate::clause::ts29228;
use crate::cx::{AssignmentType, CxResult, Saa, Sar};
use crate::diameter::dictionary::result;
use crate::hss::answer::HssEnv;
use crate::hss::store::{AssignedServer, Found, RegistrationState, SetState, Store, Subscription};

/// A refusal: the result and why.
type Refused = (CxResult, String);

/// Who asks and what the operator wants.
struct Asking<'a> {
    sar: &'a Sar,
    origin_host: &'a str,
    keep_server_name: bool,
    /// The private identity's number in the subscription; `None` when the S-CSCF named none.
    impi: Option<usize>,
}

impl Store {
    pub(super) fn answer_sar(
        &mut self,
        env: &mut HssEnv<'_>,
        origin_host: &str,
        keep_server_name: bool,
        sar: &Sar,
    ) -> Saa {
        let clause = ts29228("6.1.2.1");
        match self.try_sar(origin_host, keep_server_name, sar) {
            Ok((saa, text)) => {
                env.note(clause, || format!("{text}: {}", saa.result));
                saa
            }
            Err((result, text)) => {
                env.refuse(clause, format!("{text}: {result}"));
                bare_saa(result)
            }
        }
    }

    fn try_sar(
        &mut self,
        origin_host: &str,
        keep_server_name: bool,
        sar: &Sar,
    ) -> Result<(Saa, String), Refused> {
        let (subscription, sets) = self.sar_targets(sar)?;
        let lost = || (CxResult::UnableToComply, "the store is inconsistent".to_owned());
        let subscription = self.at_mut(subscription).ok_or_else(lost)?;
        let impi = sar.impi.as_ref().and_then(|impi| subscription.impi_index(impi));
        let asking = Asking { sar, origin_host, keep_server_name, impi };
        let first = *sets.first().ok_or_else(lost)?;
        let name = sar.impus.first().or(sar.impi.as_ref()).map_or("", String::as_str);
        let (result, text) = match sar.assignment_type {
            AssignmentType::Registration | AssignmentType::ReRegistration => {
                register(&asking, subscription.states.get_mut(first).ok_or_else(lost)?, name)?
            }
            AssignmentType::UnregisteredUser => {
                serve(&asking, subscription.states.get_mut(first).ok_or_else(lost)?, name)?
            }
            AssignmentType::NoAssignment => {
                look(&asking, subscription.states.get(first).ok_or_else(lost)?, name)?
            }
            AssignmentType::AuthenticationFailure | AssignmentType::AuthenticationTimeout => {
                fail(&asking, subscription.states.get_mut(first).ok_or_else(lost)?, name)?
            }
            AssignmentType::TimeoutDeregistration
            | AssignmentType::UserDeregistration
            | AssignmentType::TimeoutDeregistrationStoreServerName
            | AssignmentType::UserDeregistrationStoreServerName
            | AssignmentType::AdministrativeDeregistration
            | AssignmentType::DeregistrationTooMuchData => {
                deregister(&asking, subscription, &sets, name)?
            }
        };
        Ok((saa(&asking, subscription, first, result), text))
    }

    /// Steps 1 to 3: which subscription and which of its sets are meant.
    fn sar_targets(&self, sar: &Sar) -> Result<(usize, Vec<usize>), Refused> {
        let by_impi = match &sar.impi {
            None => None,
            Some(impi) => Some(
                self.find_impi(impi)
                    .ok_or_else(|| (CxResult::UserUnknown, format!("IMPI {impi} is unknown")))?,
            ),
        };
        let mut found: Vec<Found> = Vec::new();
        for impu in &sar.impus {
            let one = self
                .find_impu(impu)
                .ok_or_else(|| (CxResult::UserUnknown, format!("IMPU {impu} is unknown")))?;
            let first = by_impi.or(found.first().map(|it| it.subscription));
            let associated = sar.impi.as_ref().is_none_or(|impi| {
                self.subscription(one).is_some_and(|it| it.associates(one.set, impi))
            });
            if first.is_some_and(|it| it != one.subscription) || !associated {
                let impi = sar.impi.as_deref().unwrap_or("the first IMPU");
                let text = format!("IMPU {impu} does not belong to {impi}");
                return Err((CxResult::IdentitiesDontMatch, text));
            }
            found.push(one);
        }
        if found.len() > 1 && !sar.assignment_type.is_deregistration() {
            let text = format!("{} IMPUs where one is allowed", found.len());
            return Err((CxResult::Other(result::AVP_OCCURS_TOO_MANY_TIMES), text));
        }
        let missing = || (CxResult::UserUnknown, "no identity is named".to_owned());
        let subscription =
            by_impi.or(found.first().map(|it| it.subscription)).ok_or_else(missing)?;
        let mut sets: Vec<usize> = found.iter().map(|it| it.set).collect();
        if let (true, Some(impi)) = (sets.is_empty(), &sar.impi) {
            let subscription = self.at(subscription).ok_or_else(missing)?;
            let of_impi = |set: &usize| subscription.associates(*set, impi);
            sets = (0..subscription.states.len()).filter(of_impi).collect();
        }
        sets.sort_unstable();
        sets.dedup();
        if sets.is_empty() { Err(missing()) } else { Ok((subscription, sets)) }
    }
}

/// The S-CSCF takes the set over, if it may: there is none yet, it is the same, or reassignment is
/// pending.
fn take_over(asking: &Asking<'_>, state: &mut SetState, name: &str) -> Result<(), Refused> {
    let asks = &asking.sar.server_name;
    if let Some(server) = &state.server
        && server.name != *asks
        && !state.reassignment_pending
    {
        let text = format!("{name} is assigned to {}, {asks} asks", server.name);
        return Err((CxResult::IdentityAlreadyRegistered, text));
    }
    // Mostly it has just authenticated, and stands there.
    let stands = state.server.as_deref();
    if !stands.is_some_and(|it| it.name == *asks && it.origin_host == asking.origin_host) {
        let origin_host = asking.origin_host.to_owned();
        state.server = Some(Arc::new(AssignedServer { name: asks.clone(), origin_host }));
    }
    state.reassignment_pending = false;
    Ok(())
}

/// Only the assigned S-CSCF may change or read the set.
fn check_server(asking: &Asking<'_>, state: &SetState, name: &str) -> Result<(), Refused> {
    let asks = &asking.sar.server_name;
    match &state.server {
        Some(server) if server.name == *asks => Ok(()),
        Some(server) => {
            let text = format!("{name} is assigned to {}, {asks} asks", server.name);
            Err((CxResult::UnableToComply, text))
        }
        None => {
            Err((CxResult::UnableToComply, format!("{name} is assigned to nobody, {asks} asks")))
        }
    }
}

/// `REGISTRATION` and `RE_REGISTRATION`.
fn register(
    asking: &Asking<'_>,
    state: &mut SetState,
    name: &str,
) -> Result<(CxResult, String), Refused> {
    let again = asking.sar.assignment_type == AssignmentType::ReRegistration;
    let registered = state.registration() == RegistrationState::Registered;
    if again && !registered {
        let text = format!("RE_REGISTRATION of {name}, which is {}", state.registration());
        return Err((CxResult::InAssignmentType, text));
    }
    let Some(impi) = asking.impi else {
        return Err((CxResult::UserUnknown, "no IMPI is named".to_owned()));
    };
    take_over(asking, state, name)?;
    state.registered_by.insert(impi);
    state.pending.remove(&impi);
    state.kept = false;
    if let Some(info) = &asking.sar.restoration {
        state.restoration.insert(impi, Box::new(info.clone()));
    }
    Ok((CxResult::Success, [name, " is registered at ", &asking.sar.server_name].concat()))
}

/// `UNREGISTERED_USER`: the profile is wanted for a request to or from a user that is not
/// registered.
fn serve(
    asking: &Asking<'_>,
    state: &mut SetState,
    name: &str,
) -> Result<(CxResult, String), Refused> {
    let registered = state.registration() == RegistrationState::Registered;
    let same = check_server(asking, state, name).is_ok();
    let restorable = registered && !state.restoration.is_empty();
    if registered && same && !state.reassignment_pending && !restorable {
        let text = format!("UNREGISTERED_USER for {name}, which is registered");
        return Err((CxResult::InAssignmentType, text));
    }
    take_over(asking, state, name)?;
    if restorable {
        let text = "stays registered: its bindings are given back for restoration at";
        return Ok((CxResult::Success, format!("{name} {text} {}", asking.sar.server_name)));
    }
    // After a reassignment the bindings of the old S-CSCF are lost.
    state.registered_by.clear();
    state.kept = true;
    Ok((CxResult::Success, format!("{name} is unregistered at {}", asking.sar.server_name)))
}

/// `NO_ASSIGNMENT`: the assigned S-CSCF wants the profile.
fn look(asking: &Asking<'_>, state: &SetState, name: &str) -> Result<(CxResult, String), Refused> {
    check_server(asking, state, name)?;
    Ok((CxResult::Success, format!("{name} stays {}", state.registration())))
}

/// `AUTHENTICATION_FAILURE` and `AUTHENTICATION_TIMEOUT`: what was registered stays so.
fn fail(
    asking: &Asking<'_>,
    state: &mut SetState,
    name: &str,
) -> Result<(CxResult, String), Refused> {
    check_server(asking, state, name)?;
    match asking.impi {
        Some(impi) => {
            state.pending.remove(&impi);
        }
        None => state.pending.clear(),
    }
    state.release_server();
    let kept = if state.server.is_some() { "kept" } else { "cleared" };
    let text = format!("authentication of {name} ended; S-CSCF name is {kept}");
    Ok((CxResult::Success, text))
}

/// The deregistrations, for each set named or, if none is, for all of the private identity.
fn deregister(
    asking: &Asking<'_>,
    subscription: &mut Subscription,
    sets: &[usize],
    name: &str,
) -> Result<(CxResult, String), Refused> {
    let kind = asking.sar.assignment_type;
    let store_name = matches!(
        kind,
        AssignmentType::TimeoutDeregistrationStoreServerName
            | AssignmentType::UserDeregistrationStoreServerName
    );
    let is_known = |set: &&usize| {
        let state = subscription.states.get(**set);
        state.is_some_and(|state| state.registration() != RegistrationState::NotRegistered)
    };
    let known: Vec<usize> = sets.iter().filter(is_known).copied().collect();
    if known.is_empty() {
        let text = format!("deregistration of {name}, which is not registered");
        return Err((CxResult::InAssignmentType, text));
    }
    for set in &known {
        if let Some(state) = subscription.states.get(*set) {
            check_server(asking, state, name)?;
        }
    }
    let keep = store_name && asking.keep_server_name;
    for set in known {
        let Some(state) = subscription.states.get_mut(set) else { continue };
        match asking.impi {
            Some(impi) => {
                state.registered_by.remove(&impi);
                state.pending.remove(&impi);
                state.restoration.remove(&impi);
            }
            None => {
                state.registered_by.clear();
                state.restoration.clear();
            }
        }
        // Another private identity may still be registered: the state stays then.
        state.kept = keep && state.registered_by.is_empty();
        state.release_server();
    }
    let result =
        if store_name && !keep { CxResult::ServerNameNotStored } else { CxResult::Success };
    let what = if keep { "unregistered, S-CSCF name kept" } else { "deregistered" };
    Ok((result, format!("{name} is {what}")))
}

/// An SAA that has nothing but its result.
pub(super) const fn bare_saa(result: CxResult) -> Saa {
    Saa {
        result,
        user_data: None,
        charging_ccf: None,
        associated_impis: Vec::new(),
        restoration: Vec::new(),
    }
}

/// The profile goes with the types that need it, unless the S-CSCF has it (TS 29.228 §6.6).
fn saa(asking: &Asking<'_>, subscription: &Subscription, set: usize, result: CxResult) -> Saa {
    let sar = asking.sar;
    let wants = matches!(
        sar.assignment_type,
        AssignmentType::NoAssignment
            | AssignmentType::Registration
            | AssignmentType::ReRegistration
            | AssignmentType::UnregisteredUser
    ) && !sar.profile_available;
    let subscriber = &subscription.provisioned;
    let of_set = |one: &&crate::hss::PrivateIdentity| subscription.associates(set, &one.impi);
    // Whoever asked without a private identity gets any one that fits, first (step 5).
    let mut impis: Vec<String> =
        subscriber.private_identities.iter().filter(of_set).map(|one| one.impi.clone()).collect();
    if let Some(asked) = &sar.impi
        && let Some(at) = impis.iter().position(|one| super::lookup::same_impi(one, asked))
    {
        let asked = impis.remove(at);
        impis.insert(0, asked);
    }
    let private = impis.first().map_or("", String::as_str);
    // Whoever takes the profile anew may have lost its bindings as well (TS 23.380 §4.2, §4.3).
    let restores = matches!(
        sar.assignment_type,
        AssignmentType::NoAssignment | AssignmentType::UnregisteredUser
    );
    let state = subscription.states.get(set).filter(|_| restores);
    Saa {
        restoration: state
            .map(|it| it.restoration.values().map(|info| (**info).clone()).collect())
            .unwrap_or_default(),
        result,
        user_data: if wants { subscription.user_data(set, private) } else { None },
        charging_ccf: subscriber.charging_ccf.clone().filter(|_| wants),
        associated_impis: impis,
    }
}
