//! The end of a registration: by the user, by time, by the HSS or by the operator
//! (TS 24.229 §5.4.1.4, §5.4.1.5, §5.4.1.6).

use std::sync::Arc;

use cscf_core::clause::{own, ts24229};
use cscf_core::cx::{
    AssignmentType, CxDemand, CxRequest, CxResult, DemandId, DemandReply, DeregistrationReason,
};
use cscf_core::registrar::{Binding, ContactEvent, Wish, identity_key};
use cscf_core::role::{Action, Env, Question};
use cscf_core::sip::Uri;
use cscf_core::time::Duration;

use crate::changes::{Became, ChangedBy, SetChange};
use crate::owner::{Job, RegistrationOwner, SetId};
use crate::push::Pushed;
use crate::refusal::Refusal;
use crate::register::Register;
use crate::secret::Proof;
use crate::third_party::ENDED_BY_SERVER;
use crate::{Command, ScscfActions};

impl RegistrationOwner {
    /// Takes the contacts away that a proven REGISTER names; the 200 waits for the HSS when the
    /// user has none left (TS 24.229 §5.4.1.4.1).
    pub(crate) fn deregister(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        proof: Proof,
        out: &mut ScscfActions,
    ) {
        let id = self.set_id(&register.impu);
        let Some((id, set)) = id.and_then(|id| Some((id, self.sets.get_mut(&id)?))) else {
            let refusal = Refusal::new(481, "5.4.1.4.1", "the user is not registered here");
            return refusal.send(env, register.context, &register.request, out);
        };
        let (impi, bindings) = (register.impi.as_str(), &set.bindings);
        let named: Vec<u64> = match &register.wish {
            Wish::Fetch => Vec::new(),
            Wish::RemoveAll => bindings.of_user(impi).map(|binding| binding.id).collect(),
            Wish::Update(list) => list
                .iter()
                .filter_map(|wish| bindings.find(impi, &wish.address).map(|binding| binding.id))
                .collect(),
        };
        if named.is_empty() {
            let refusal = Refusal::new(481, "5.4.1.4.1", "the contact is not bound");
            return refusal.send(env, register.context, &register.request, out);
        }
        let which = |binding: &Binding| named.contains(&binding.id);
        let removed = set.bindings.remove(ContactEvent::Unregistered, which);
        env.note(ts24229("5.4.1.4.1"), || {
            format!("{impi} takes {} contact(s) away", removed.len())
        });
        let left = self.end(env, id, (ChangedBy::User(&register), &removed), out);
        if left.iter().any(|user| **user == *register.impi) {
            let why = AssignmentType::UserDeregistration;
            let question = self.assignment(&register.impi, &register.impu, why);
            let ask = env.next_ask();
            let question = Question::Cx(CxRequest::Sar(question));
            let job = Job::Deregister(Box::new(register), Box::new(proof), removed);
            self.jobs.insert(ask, job);
            out.push(Action::Ask { ask, question });
        } else {
            self.reply_ok(env, &register, proof, &removed, out);
        }
    }

    /// The contacts of a set ran out of time (TS 24.229 §5.4.1.5).
    pub(crate) fn expired(&mut self, env: &mut Env<'_>, id: SetId, out: &mut ScscfActions) {
        let Some(set) = self.sets.get_mut(&id) else { return };
        let removed = set.bindings.expire(env.now);
        for binding in &removed {
            env.note(ts24229("5.4.1.5"), || format!("{} expired", binding.contact.uri()));
        }
        let impus: Vec<Arc<str>> = removed.iter().map(|its| its.registered_with.clone()).collect();
        let users: Vec<Arc<str>> = removed.iter().map(|its| its.impi.clone()).collect();
        let left = self.end(env, id, (ChangedBy::Time, &removed), out);
        for impi in left {
            let at = users.iter().position(|user| *user == impi);
            let Some(impu) = at.and_then(|at| impus.get(at)) else { continue };
            self.tell(env, &impi, impu, AssignmentType::TimeoutDeregistration, out);
        }
    }

    /// Publishes a set that lost these contacts and tells whoever has to know; says which users
    /// have none left.
    fn end(
        &mut self,
        env: &mut Env<'_>,
        id: SetId,
        (by, removed): (ChangedBy<'_>, &[Binding]),
        out: &mut ScscfActions,
    ) -> Vec<Arc<str>> {
        let over = self.sets.get(&id).is_none_or(|set| !set.bindings.has_normal());
        let became = if over { Became::Deregistered } else { Became::Reregistered };
        self.set_changed(env, &SetChange { set: id, became, by, removed }, out);
        let left = self.publish(id, out);
        for impi in &left {
            out.push(Action::State(format!("deregistered {impi}")));
        }
        left
    }

    /// Acts on a demand of the HSS (TS 24.229 §5.4.1.5, TS 29.228 §6.1.3, §6.2).
    pub(crate) fn demanded(
        &mut self,
        env: &mut Env<'_>,
        demand: DemandId,
        what: CxDemand,
        out: &mut ScscfActions,
    ) {
        let reply = match what {
            CxDemand::Rtr { impi, impus, reason, .. } => {
                self.terminated(env, &impi, &impus, reason, out)
            }
            CxDemand::Ppr { impi, user_data, charging_ccf, digest } => {
                let pushed = Pushed { user_data, charging_ccf, digest };
                self.pushed(env, &impi, &pushed, out).into()
            }
        };
        out.push(Action::AnswerDemand { demand, reply });
    }

    /// The HSS ends registrations (TS 29.228 §6.1.3): of these identities, else of all of the user.
    fn terminated(
        &mut self,
        env: &mut Env<'_>,
        impi: &str,
        impus: &[String],
        reason: DeregistrationReason,
        out: &mut ScscfActions,
    ) -> DemandReply {
        let event = match reason {
            DeregistrationReason::PermanentTermination | DeregistrationReason::RemoveScscf => {
                ContactEvent::Rejected
            }
            DeregistrationReason::NewServerAssigned | DeregistrationReason::ServerChange => {
                ContactEvent::Deactivated
            }
        };
        let keys: Vec<String> = impus.iter().filter_map(|text| key(text)).collect();
        for key in &keys {
            self.unregistered.forget(key, out);
        }
        if impus.is_empty() {
            self.unregistered.forget_user(impi, out);
        }
        let ids: Vec<SetId> = if impus.is_empty() {
            self.sets_of(impi)
        } else {
            let mut ids: Vec<_> = keys.iter().filter_map(|key| self.set_id(key)).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let (mut emergency, mut ended) = (Vec::new(), 0);
        for id in ids {
            let Some(set) = self.sets.get_mut(&id) else { continue };
            let stands = set.bindings.of_user(impi).filter(|its| its.is_emergency());
            emergency.extend(stands.map(|its| (impi.to_owned(), its.registered_with.to_string())));
            let which = |its: &Binding| *its.impi == *impi && !its.is_emergency();
            let removed = set.bindings.remove(event, which);
            ended += removed.len();
            env.note(ts24229("5.4.1.5"), || {
                format!("the HSS ends {} contact(s) of {impi} ({reason:?})", removed.len())
            });
            let (moved, sessions) =
                (reason == DeregistrationReason::NewServerAssigned, self.gone.len());
            if moved {
                // Another S-CSCF tells the UE (TS 29.228 §6.1.3.1).
                self.subscriptions.forget(id);
                self.third_parties.forget(id, out);
            }
            self.end(env, id, (ChangedBy::Hss, &removed), out);
            if moved {
                self.gone.truncate(sessions);
            }
        }
        // A registration for emergency calls stands until its time is over (TS 29.228 §6.1.3.1).
        let result = match (emergency.is_empty(), ended) {
            (true, _) => CxResult::Success,
            (false, 0) => CxResult::UnableToComply,
            (false, _) => CxResult::LimitedSuccess,
        };
        DemandReply { result, emergency }
    }

    /// The sets in which a private identity has a contact, in the order they were opened.
    pub(crate) fn sets_of(&self, impi: &str) -> Vec<SetId> {
        let has = |id: &SetId| self.sets.get(id).is_some_and(|set| set.users.contains(impi));
        self.sets_of_users.of(impi).filter(has).collect()
    }

    /// Acts on an order of the operator (TS 24.229 §5.4.1.5, §5.4.1.6).
    pub(crate) fn ordered(&mut self, env: &mut Env<'_>, command: Command, out: &mut ScscfActions) {
        match command {
            Command::Deregister { impi, contact, event } => {
                self.network_deregisters(env, &impi, contact.as_deref(), event, out);
            }
            Command::Forget { impi } => {
                let sessions = self.gone.len();
                for id in self.sets_of(&impi) {
                    env.note(own("forget"), || format!("loses all data of {impi}"));
                    self.subscriptions.forget(id);
                    self.third_parties.forget(id, out);
                    if let Some(set) = self.sets.get_mut(&id) {
                        set.bindings.remove(ContactEvent::Deactivated, |its| *its.impi == *impi);
                    }
                    self.publish(id, out);
                }
                // Sessions go on by their route sets.
                self.gone.truncate(sessions);
            }
            Command::Reauthenticate { impi, within } => {
                self.reauthenticate(env, &impi, within, out);
            }
        }
    }

    /// Cuts the time of a user's contacts, so that it registers soon, and challenges it then
    /// (TS 24.229 §5.4.1.6).
    fn reauthenticate(
        &mut self,
        env: &mut Env<'_>,
        impi: &str,
        within: Duration,
        out: &mut ScscfActions,
    ) {
        for id in self.sets_of(impi) {
            let Some(set) = self.sets.get_mut(&id) else { continue };
            if let Some(user) = set.users.get_mut(impi) {
                user.reauthenticate = true;
                user.accepted = None;
            }
            env.note(ts24229("5.4.1.6"), || {
                format!("{impi} has to authenticate within {} s", within.as_secs())
            });
            if set.bindings.shorten(env.now, impi, within) {
                self.publish(id, out);
                let (became, by) = (Became::Shortened, ChangedBy::Operator);
                self.set_changed(env, &SetChange { set: id, became, by, removed: &[] }, out);
            }
        }
    }

    /// An application server failed whose default handling ends the registration of the user
    /// (TS 24.229 §5.4.1.7).
    pub(crate) fn server_deregisters(
        &mut self,
        env: &mut Env<'_>,
        id: SetId,
        out: &mut ScscfActions,
    ) {
        let Some(set) = self.sets.get_mut(&id) else { return };
        let removed = set.bindings.remove(ENDED_BY_SERVER, |its| !its.is_emergency());
        let Some(impu) = removed.first().map(|its| its.registered_with.clone()) else { return };
        for user in self.end(env, id, (ChangedBy::Server, &removed), out) {
            self.tell(env, &user, &impu, AssignmentType::AdministrativeDeregistration, out);
        }
    }

    fn network_deregisters(
        &mut self,
        env: &mut Env<'_>,
        impi: &str,
        contact: Option<&str>,
        event: ContactEvent,
        out: &mut ScscfActions,
    ) {
        let target = contact.and_then(|text| Uri::parse(text).ok());
        let is_target = |its: &Binding| {
            let address = its.contact.read();
            target.is_some() && address.map(|address| address.uri) == target
        };
        for id in self.sets_of(impi) {
            let Some(set) = self.sets.get_mut(&id) else { continue };
            // A registration for emergency calls stands until its time is over
            // (TS 24.229 §5.4.8).
            let removed = set.bindings.remove(event, |its| {
                *its.impi == *impi && !its.is_emergency() && (contact.is_none() || is_target(its))
            });
            let Some(impu) = removed.first().map(|its| its.registered_with.clone()) else {
                continue;
            };
            env.note(ts24229("5.4.1.5"), || {
                format!("the operator ends {} contact(s) of {impi}", removed.len())
            });
            for user in self.end(env, id, (ChangedBy::Operator, &removed), out) {
                self.tell(env, &user, &impu, AssignmentType::AdministrativeDeregistration, out);
            }
        }
    }
}

fn key(text: &str) -> Option<String> {
    identity_key(&Uri::parse(text).ok()?)
}
