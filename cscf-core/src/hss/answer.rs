//! What the HSS answers to UAR and LIR, step by step, and the frame around all four questions
//! (TS 29.228 §6.1.1.1, §6.1.4.1). SAR is in `assignment`, MAR in `authentication`.

use crate::clause::{Clause, own, ts29228};
use crate::cx::{
    AuthorizationType, CxAnswer, CxRequest, CxResult, Lir, Mar, ServerAnswer, ServerCapabilities,
    Uar,
};
use crate::hss::store::{Found, RegistrationState, Store, Subscription};
use crate::ids::Ids;
use crate::time::UnixTime;
use crate::trace::{Diagnosis, Note};

/// Time, chance and the way to say why.
pub struct HssEnv<'a> {
    /// Unix time, for sequence numbers made by time (TS 33.102 §C.1.1.3).
    pub unix_now: UnixTime,
    /// Random challenges.
    pub ids: &'a mut Ids,
    /// Decisions, in order.
    pub notes: &'a mut Vec<Note>,
    /// Vectors have the sequence number zero, which every USIM has used: a fault on purpose.
    pub old_sqn: bool,
    /// Whether somebody reads the trace; decisions are noted only then, refusals always.
    pub tracing: bool,
}

impl HssEnv<'_> {
    /// Notes a decision.
    pub(super) fn note(&mut self, clause: Clause, text: impl FnOnce() -> String) {
        if self.tracing {
            self.notes.push(Note::new(clause, text(), false));
        }
    }

    /// Notes a refusal.
    pub(super) fn refuse(&mut self, clause: Clause, text: String) {
        self.notes.push(Note::new(clause, text, true));
    }

    /// Notes a refusal with its cause.
    pub(super) fn diagnose(&mut self, clause: Clause, text: String, diagnosis: Diagnosis) {
        self.notes.push(Note::diagnosed(clause, text, diagnosis));
    }
}

impl Store {
    /// Answers a question. `origin_host` is the Diameter name of who asks: an S-CSCF gets RTR and
    /// PPR there. `keep_server_name` is the operator's choice in TS 29.228 §6.1.2.1.
    pub fn answer(
        &mut self,
        env: &mut HssEnv<'_>,
        origin_host: &str,
        keep_server_name: bool,
        request: &CxRequest,
    ) -> CxAnswer {
        match request {
            CxRequest::Uar(Uar { impi, impu, .. }) | CxRequest::Mar(Mar { impi, impu, .. }) => {
                self.wake(Some(impi), Some(impu));
            }
            CxRequest::Lir(lir) => self.wake(None, Some(&lir.impu)),
            CxRequest::Sar(sar) => {
                self.wake(sar.impi.as_deref(), sar.impus.first().map(String::as_str));
            }
        }
        match request {
            CxRequest::Uar(uar) => CxAnswer::Server(self.answer_uar(env, uar)),
            CxRequest::Lir(lir) => {
                let wildcard = self.wildcard_of(&lir.impu).map(str::to_owned);
                let answer = self.answer_lir(env, lir);
                let wildcard = wildcard.filter(|_| answer.result.is_success());
                CxAnswer::Server(ServerAnswer { wildcard, ..answer })
            }
            CxRequest::Mar(mar) => CxAnswer::Maa(self.answer_mar(env, origin_host, mar)),
            CxRequest::Sar(sar) => {
                CxAnswer::Saa(self.answer_sar(env, origin_host, keep_server_name, sar))
            }
        }
    }

    /// Steps 2 and 4 of TS 29.228 §6.1.1.1, 1 and 3 of §6.3.1: both identities exist and belong
    /// together.
    pub(super) fn find_both(&self, impi: &str, impu: &str) -> Result<Found, (CxResult, String)> {
        let Some(subscription) = self.find_impi(impi) else {
            return Err((CxResult::UserUnknown, format!("IMPI {impi} is unknown")));
        };
        let Some(found) = self.find_impu(impu) else {
            return Err((CxResult::UserUnknown, format!("IMPU {impu} is unknown")));
        };
        let associated = found.subscription == subscription
            && self.subscription(found).is_some_and(|it| it.associates(found.set, impi));
        if !associated {
            let text = format!("IMPU {impu} does not belong to IMPI {impi}");
            return Err((CxResult::IdentitiesDontMatch, text));
        }
        Ok(found)
    }

    fn answer_uar(&mut self, env: &mut HssEnv<'_>, uar: &Uar) -> ServerAnswer {
        let clause = ts29228("6.1.1.1");
        let found = match self.check_uar(uar) {
            Ok(found) => found,
            Err((result, text)) => {
                let cause = self.uar_cause(uar, &text);
                env.diagnose(clause, format!("{text}: {result}"), cause);
                return bare(result);
            }
        };
        let Some(subscription) = self.at_mut(found.subscription) else {
            return bare(CxResult::UnableToComply);
        };
        if uar.authorization_type == AuthorizationType::RegistrationAndCapabilities {
            return reassign(env, clause, subscription, found.set);
        }
        let Some(state) = subscription.states.get(found.set) else {
            return bare(CxResult::UnableToComply);
        };
        let registration = state.registration();
        let deregistration = uar.authorization_type == AuthorizationType::Deregistration;
        if registration == RegistrationState::NotRegistered && deregistration {
            let result = CxResult::IdentityNotRegistered;
            let cause = Diagnosis::new(&uar.impi, "there is a registration to end")
                .theirs(format!("REGISTER with Expires 0 of {}", uar.impu))
                .ours("it is not registered")
                .change("nothing: the registration had ended already");
            env.diagnose(clause, format!("{} is not registered: {result}", uar.impu), cause);
            return bare(result);
        }
        let Some(server) = subscription.any_server(found.set) else {
            let result = CxResult::FirstRegistration;
            env.note(clause, || format!("no S-CSCF serves the subscription: {result}"));
            let capabilities = capabilities(subscription);
            return ServerAnswer { result, server_name: None, capabilities, wildcard: None };
        };
        // Only for type REGISTRATION this is a SUBSEQUENT_REGISTRATION (step 7).
        let result =
            if deregistration { CxResult::Success } else { CxResult::SubsequentRegistration };
        env.note(clause, || {
            format!("{} is {registration}, S-CSCF {}: {result}", uar.impu, server.name)
        });
        ServerAnswer {
            result,
            server_name: Some(server.name.clone()),
            capabilities: None,
            wildcard: None,
        }
    }

    /// Steps 2 to 6 of TS 29.228 §6.1.1.1.
    fn check_uar(&self, uar: &Uar) -> Result<Found, (CxResult, String)> {
        let found = self.find_both(&uar.impi, &uar.impu)?;
        let unknown = || (CxResult::UnableToComply, "the store is inconsistent".to_owned());
        let subscription = self.subscription(found).ok_or_else(unknown)?;
        let subscriber = &subscription.provisioned;
        let set = subscriber.implicit_sets.get(found.set).ok_or_else(unknown)?;
        if !uar.emergency && set.identities().all(|identity| identity.barred) {
            let text = format!("{} is barred, and all it would register with", uar.impu);
            return Err((CxResult::AuthorizationRejected, text));
        }
        if uar.emergency || uar.authorization_type == AuthorizationType::Deregistration {
            return Ok(found);
        }
        let visited = &subscriber.visited_networks;
        let allowed = visited.is_empty()
            || visited.iter().any(|it| it.eq_ignore_ascii_case(&uar.visited_network));
        if !allowed {
            let text = format!("{} may not register from {}", uar.impi, uar.visited_network);
            return Err((CxResult::RoamingNotAllowed, text));
        }
        if subscriber.barred {
            let text = format!("{} may not use IMS", uar.impi);
            return Err((CxResult::AuthorizationRejected, text));
        }
        Ok(found)
    }

    fn answer_lir(&mut self, env: &mut HssEnv<'_>, lir: &Lir) -> ServerAnswer {
        let clause = ts29228("6.1.4.1");
        let Some(found) = self.find_impu(&lir.impu) else {
            let result = CxResult::UserUnknown;
            env.refuse(clause, format!("IMPU {} is unknown: {result}", lir.impu));
            return bare(result);
        };
        let Some(subscription) = self.at_mut(found.subscription) else {
            return bare(CxResult::UnableToComply);
        };
        if subscription.provisioned.inactive {
            let result = CxResult::UserUnknown;
            env.refuse(clause, format!("{} is out of use: {result}", lir.impu));
            return bare(result);
        }
        if let Some(server) = &subscription.provisioned.hosted_by {
            let result = CxResult::Success;
            env.note(clause, || format!("{} is hosted by {server}: {result}", lir.impu));
            let server_name = Some(server.clone());
            return ServerAnswer { result, server_name, capabilities: None, wildcard: None };
        }
        if lir.capabilities {
            return reassign(env, clause, subscription, found.set);
        }
        let (Some(state), Some(set)) = (
            subscription.states.get(found.set),
            subscription.provisioned.implicit_sets.get(found.set),
        ) else {
            return bare(CxResult::UnableToComply);
        };
        let registration = state.registration();
        let served = registration != RegistrationState::NotRegistered
            || lir.originating
            || set.has_unregistered_services();
        if !served {
            let result = CxResult::IdentityNotRegistered;
            let text = "is not registered and has no services while unregistered";
            env.refuse(clause, format!("{} {text}: {result}", lir.impu));
            return bare(result);
        }
        match subscription.any_server(found.set) {
            Some(server) => {
                let result = CxResult::Success;
                env.note(clause, || {
                    format!("{} is {registration}, S-CSCF {}: {result}", lir.impu, server.name)
                });
                let server_name = Some(server.name.clone());
                ServerAnswer { result, server_name, capabilities: None, wildcard: None }
            }
            None => {
                let result = CxResult::UnregisteredService;
                env.note(clause, || format!("{} has services, no S-CSCF: {result}", lir.impu));
                let capabilities = capabilities(subscription);
                ServerAnswer { result, server_name: None, capabilities, wildcard: None }
            }
        }
    }
}

/// The I-CSCF cannot reach the S-CSCF: capabilities only, and the next S-CSCF that asks may take
/// over (TS 29.228 §6.1.1.1 step 6, §6.1.4.1 step 3).
fn reassign(
    env: &mut HssEnv<'_>,
    clause: Clause,
    subscription: &mut Subscription,
    set: usize,
) -> ServerAnswer {
    if let Some(state) = subscription.states.get_mut(set)
        && state.server.is_some()
    {
        state.reassignment_pending = true;
    }
    let result = CxResult::Success;
    env.note(clause, || format!("capabilities are asked for: S-CSCF may be reassigned: {result}"));
    // Without capabilities any S-CSCF will do; an empty group says so.
    let capabilities = Some(subscription.provisioned.capabilities.clone().unwrap_or_default());
    ServerAnswer { result, server_name: None, capabilities, wildcard: None }
}

fn capabilities(subscription: &Subscription) -> Option<ServerCapabilities> {
    subscription.provisioned.capabilities.clone()
}

const fn bare(result: CxResult) -> ServerAnswer {
    ServerAnswer { result, server_name: None, capabilities: None, wildcard: None }
}

/// Our own rule: TS 29.228 lets `Unknown` lead to SIP digest only; an S-CSCF that cannot tell asks
/// the same way for a USIM registered without security agreement.
pub(super) const UNKNOWN_SCHEME: Clause = own("unknown-scheme");
