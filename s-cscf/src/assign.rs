//! From a proven user to a registration: SAR, the user profile, the bindings and the 200
//! (TS 24.229 §5.4.1.2.2, §5.4.1.2.2F; TS 29.228 §6.1.2).

use std::sync::Arc;

use cscf_core::clause::{rfc3261, ts24229, ts29228};
use cscf_core::cx::{AssignmentType, CxAnswer, CxRequest, Saa};
use cscf_core::identity::Wildcard;
use cscf_core::ifc::{ProfileReader, ServiceProfile};
use cscf_core::registrar::{Binding, ContactWish, PublicIdentity, Source, Wish};
use cscf_core::role::{Action, Env, Question};
use cscf_core::sip::{ChargingFunctionAddresses, HeaderName, Uri};

use crate::ScscfActions;
use crate::cause;
use crate::changes::{Became, ChangedBy, SetChange};
use crate::owner::{ImplicitSet, Job, RegistrationOwner};
use crate::refusal::Refusal;
use crate::register::Register;
use crate::secret::Proof;

impl RegistrationOwner {
    /// Does what a proven REGISTER wants: at once where the HSS has nothing to say, else after a
    /// SAR (TS 24.229 §5.4.1.2.2).
    pub(crate) fn accept(
        &mut self,
        env: &mut Env<'_>,
        register: Register,
        proof: Proof,
        out: &mut ScscfActions,
    ) {
        let set = self.set_id(&register.impu);
        if let Some(set) = set.and_then(|id| self.sets.get(&id)) {
            let Register { impi, wish, call_id, cseq, .. } = &register;
            if let Err(fault) = set.bindings.check_order(impi, wish, call_id, *cseq) {
                let cause = cause::out_of_order(*cseq, &fault.to_string());
                let refusal = Refusal::by(500, rfc3261("10.3"), fault.to_string()).because(cause);
                return refusal.send(env, register.context, &register.request, out);
            }
        }
        if register.wish == Wish::Fetch {
            env.note(rfc3261("10.3"), || "no Contact: tells the bindings".to_owned());
            return self.reply_ok(env, &register, proof, &[], out);
        }
        if register.wish.deregisters() {
            return self.deregister(env, register, proof, out);
        }
        if let Some(count) = self.too_many(&register, &proof) {
            let refusal = Refusal::new(403, "5.4.1.2.2", format!("{count} contacts are too many"));
            let refusal =
                refusal.because(cause::too_many_contacts(count, self.config.bindings_max));
            return refusal.send(env, register.context, &register.request, out);
        }
        let flows = set.and_then(|id| self.sets.get(&id)).and_then(|set| {
            let max = self.config.flows_max;
            crate::outbound::too_many(&set.bindings, &register.impi, &register.wish, max)
        });
        if let Some(count) = flows {
            let why = format!("{count} flows of one instance, {} allowed", self.config.flows_max);
            let cause = cause::too_many_flows(count, self.config.flows_max);
            let refusal = Refusal::new(403, "5.4.1.2.2", why).because(cause);
            return refusal.send(env, register.context, &register.request, out);
        }
        if !proof.authenticated {
            return self.commit(env, &register, proof, None, out);
        }
        let why = self.assignment_type(&register);
        env.note(ts29228("6.1.2"), || {
            format!("tells the HSS that {} registers {} ({why:?})", register.impi, register.impu)
        });
        let mut sar = self.assignment(&register.impi, &register.impu, why);
        sar.restoration = self.to_keep(env.now, &register);
        let question = CxRequest::Sar(sar);
        let ask = env.next_ask();
        self.jobs.insert(ask, Job::Assign(Box::new(register), Box::new(proof)));
        out.push(Action::Ask { ask, question: Question::Cx(question) });
    }

    /// What the HSS is told: nobody is registered by a registration for emergency calls alone
    /// (TS 23.167 §6.2.4, TS 29.228 §6.1.2).
    fn assignment_type(&self, register: &Register) -> AssignmentType {
        let set = self.set_id(&register.impu).and_then(|id| self.sets.get(&id));
        let normal = set.map_or(&[][..], |set| set.bindings.list()).iter();
        let mut normal = normal.filter(|binding| !binding.is_emergency());
        match (normal.next(), register.wish.is_emergency()) {
            (None, true) => AssignmentType::UnregisteredUser,
            (Some(_), true) => AssignmentType::NoAssignment,
            (Some(one), false) if *one.impi == *register.impi => AssignmentType::ReRegistration,
            (_, false) if normal.any(|binding| *binding.impi == *register.impi) => {
                AssignmentType::ReRegistration
            }
            (_, false) => AssignmentType::Registration,
        }
    }

    /// How many contacts the set would have, if that is more than it may (TS 24.229 §5.4.1.2.2).
    fn too_many(&self, register: &Register, proof: &Proof) -> Option<usize> {
        let Wish::Update(wishes) = &register.wish else { return None };
        let set = self.set_id(&register.impu).and_then(|id| self.sets.get(&id));
        let bound = |wish: &&ContactWish| {
            set.is_some_and(|set| set.bindings.find(&register.impi, &wish.address).is_some())
        };
        let flows = wishes.iter().any(|wish| wish.address.param("reg-id").is_some());
        let list = set.map(|set| set.bindings.list()).unwrap_or_default();
        let replaced = proof.challenged && !flows;
        let others = list.iter().filter(|its| !replaced || *its.impi != *register.impi).count();
        let added = wishes.iter().filter(|wish| replaced || !bound(wish)).count();
        Some(others + added).filter(|count| *count > self.config.bindings_max)
    }

    /// Acts on the SAA of a registration (TS 29.228 §6.1.2.1).
    pub(crate) fn assigned(
        &mut self,
        env: &mut Env<'_>,
        register: &Register,
        proof: Proof,
        answer: CxAnswer,
        out: &mut ScscfActions,
    ) {
        let refusal = match answer {
            CxAnswer::Saa(saa) if saa.result.is_success() => match self.profile(register, &saa) {
                Ok(profile) => {
                    let profile = profile.map(|profile| (profile, saa));
                    return self.commit(env, register, proof, profile, out);
                }
                Err((refusal, why)) => {
                    self.tell(env, &register.impi, &register.impu, why, out);
                    refusal
                }
            },
            CxAnswer::Saa(saa) => self.negative(saa.result),
            CxAnswer::Unreachable => self.no_answer("the HSS does not answer the SAR"),
            _ => self.no_answer("the HSS answers something else"),
        };
        refusal.send(env, register.context, &register.request, out);
    }

    /// The identities of the profile in the SAA; `None` if it brings no profile and there is one
    /// already. An unusable one goes back to the HSS with this reason (TS 29.228 §6.1.2.1).
    fn profile(
        &mut self,
        register: &Register,
        saa: &Saa,
    ) -> Result<Option<Profile>, (Refusal, AssignmentType)> {
        let unusable = |why: String| {
            let cause = cause::unusable_profile(&why);
            let refusal = Refusal::by(480, ts29228("6.1.2.1"), why).because(cause);
            (refusal, AssignmentType::DeregistrationTooMuchData)
        };
        let Some(text) = &saa.user_data else {
            return match self.set_id(&register.impu) {
                Some(_) => Ok(None),
                None => Err(unusable("the HSS sends no user profile".to_owned())),
            };
        };
        let (size, max) = (text.len(), self.config.profile_max);
        if size > max {
            return Err(unusable(format!("a user profile of {size} bytes, {max} can be kept")));
        }
        let profile = read_profile(&mut self.profiles, text).map_err(unusable)?;
        let list = &profile.identities;
        if !list.iter().any(|identity| stands_for(identity, &register.impu)) {
            return Err(unusable(format!("the user profile does not hold {}", register.impu)));
        }
        // Barring does not count for emergency calls (TS 24.229 §5.4.8).
        if !register.wish.is_emergency() && list.iter().all(|identity| identity.barred) {
            let refusal = Refusal::new(403, "5.4.1.2.2", "all identities of the user are barred");
            let refusal = refusal.because(cause::barred(&register.impu));
            return Err((refusal, AssignmentType::AdministrativeDeregistration));
        }
        Ok(Some(profile))
    }

    /// Binds the contacts, publishes the set, answers 200 and tells subscribers.
    fn commit(
        &mut self,
        env: &mut Env<'_>,
        register: &Register,
        mut proof: Proof,
        profile: Option<(Profile, Saa)>,
        out: &mut ScscfActions,
    ) {
        let id = match &profile {
            Some((profile, _)) => Some(self.open_set(&profile.identities)),
            None => self.set_id(&register.impu),
        };
        let Some((id, set)) = id.and_then(|id| Some((id, self.sets.get_mut(&id)?))) else {
            // The registration ended while the HSS was asked; the UE has to start anew.
            let refusal = Refusal::new(500, "5.4.1.2.2", "the registration has just ended");
            return refusal.send(env, register.context, &register.request, out);
        };
        if let Some((profile, saa)) = profile {
            set.keep(profile.servers, &saa);
            set.services =
                self.third_parties.services(env, (&profile.services, &profile.identities));
        }
        let Wish::Update(wishes) = &register.wish else { return };
        let index = (&mut self.sets_of_users, id);
        let Some(user) = set.user(env.now, &register.impi, index) else { return };
        let impi = Arc::clone(&user.impi);
        if proof.authenticated {
            user.refreshes = 0;
            user.authenticated_at = env.now;
            user.reauthenticate = false;
            user.spare = Vec::from(std::mem::take(&mut proof.spare)).into();
            user.accepted = proof.accepted.take();
        } else {
            user.refreshes = user.refreshes.saturating_add(1);
        }
        let flows = wishes.iter().any(|wish| wish.address.param("reg-id").is_some());
        let emergency = wishes.iter().any(|wish| wish.address.uri.params().has("sos"));
        let replaces = proof.challenged && !flows && !emergency;
        let source = Source {
            impi,
            registered_with: set.key(&register.impu),
            path: &register.path,
            call_id: &register.call_id,
            cseq: register.cseq,
            token: &self.config.service_route_token(env.ids),
            replaces,
        };
        let first = !set.bindings.has_normal();
        let change = set.bindings.update(env.now, wishes, &source);
        set.assign_gruus(env, &self.config, register);
        env.note(ts24229("5.4.1.2.2"), || {
            let count = set.bindings.list().len();
            format!("{} is registered, {count} contact(s) in its set", register.impu)
        });
        let kept = set.to_keep(self.published.state(), &register.impi);
        let told = proof.authenticated;
        let user = set.users.get_mut(&register.impi);
        let changed = user.is_some_and(|user| std::mem::replace(&mut user.kept, kept) != kept);
        self.publish(id, out);
        self.reply_ok(env, register, proof, &change.removed, out);
        if changed && !told {
            self.keep(env, id, &register.impi, out);
        }
        out.push(Action::State(["registered ", &register.impu].concat()));
        let became = match first {
            true => Became::Registered,
            false => Became::Reregistered,
        };
        let (by, removed) = (ChangedBy::User(register), &*change.removed);
        self.set_changed(env, &SetChange { set: id, became, by, removed }, out);
    }

    /// Sends the 200 with all contacts of the set (TS 24.229 §5.4.1.2.2F).
    pub(crate) fn reply_ok(
        &self,
        env: &mut Env<'_>,
        register: &Register,
        proof: Proof,
        removed: &[Binding],
        out: &mut ScscfActions,
    ) {
        let mut response = register.request.reply(200);
        let headers = &mut response.headers;
        let set = self.set_id(&register.impu).and_then(|id| self.sets.get(&id));
        for binding in set.map(|set| set.active(env.now)).unwrap_or_default() {
            let expires = binding.expires_in(env.now);
            let contact = set.map(|set| set.contact(&binding, expires, register));
            headers.push(HeaderName::Contact, &contact.unwrap_or_default());
        }
        if register.wish.deregisters() {
            for binding in removed {
                headers.push(HeaderName::Contact, &format!("{};expires=0", binding.contact.text()));
            }
        }
        for path in &register.path {
            headers.push(HeaderName::Path, path);
        }
        if let Some(set) = set {
            if let Some(token) = service_route(set, register) {
                headers.push(HeaderName::ServiceRoute, &self.config.route_of(token));
            }
            let open = set.identities.iter().filter(|identity| identity.is_shown());
            let mut list = String::new();
            for identity in open {
                let separator = if list.is_empty() { "<" } else { ", <" };
                [separator, &*identity.uri, ">"].into_iter().for_each(|it| list.push_str(it));
            }
            headers.push(HeaderName::PAssociatedUri, &list);
            let visited = register.visited_network();
            if let Some(ccf) = &set.charging_ccf
                && (visited.is_empty() || self.config.is_home(&visited))
            {
                let addresses = ChargingFunctionAddresses::new(&[ccf], &[]).to_string();
                headers.push(HeaderName::PChargingFunctionAddresses, &addresses);
            }
        }
        if crate::outbound::is_flow(&register.wish) {
            headers.push(HeaderName::Require, "outbound");
        }
        if let Some(caps) = &self.config.feature_caps {
            headers.push(HeaderName::FeatureCaps, caps);
        }
        if let Some(info) = proof.info {
            headers.push(HeaderName::AuthenticationInfo, &info.to_string());
        }
        self.charge(register, &mut response.headers);
        out.push(Action::Reply { context: register.context, response: Box::new(response) });
    }
}

/// The user part of the Service-Route: that of the first contact the REGISTER names, else of any of
/// the user (TS 24.229 §5.4.1.2.2F).
fn service_route<'a>(set: &'a ImplicitSet, register: &Register) -> Option<&'a str> {
    let wishes = match &register.wish {
        Wish::Update(wishes) => wishes.as_slice(),
        Wish::Fetch | Wish::RemoveAll => &[],
    };
    let named = |its: &&Binding| wishes.iter().any(|wish| wish.names(&its.contact));
    let mine = || set.bindings.of_user(&register.impi);
    mine().find(named).or_else(|| mine().next()).map(|binding| &*binding.token)
}

/// Whether an identity of a profile is the one with this key, or stands for it
/// (TS 23.003 §13.4A).
fn stands_for(identity: &PublicIdentity, key: &str) -> bool {
    let wildcard = || Wildcard::parse(&identity.uri).is_some_and(|its| its.stands_for(key));
    *identity.key == *key || (identity.wildcarded && wildcard())
}

/// What an `IMSSubscription` document tells that is kept.
pub(crate) struct Profile {
    /// `PrivateID`.
    pub(crate) private_id: String,
    /// The identities in the order of the document.
    pub(crate) identities: Arc<[PublicIdentity]>,
    /// The application servers named in the filter criteria.
    pub(crate) servers: Vec<Uri>,
    /// The service profiles.
    pub(crate) services: Vec<ServiceProfile>,
}

/// Reads an `IMSSubscription` document.
pub(crate) fn read_profile(reader: &mut ProfileReader, text: &str) -> Result<Profile, String> {
    let profile = reader.read(text).map_err(|fault| format!("user profile: {fault}"))?;
    let identities = profile.public_identities();
    let identities = identities.filter_map(|its| PublicIdentity::new(&its.identity, its.barred));
    let criteria = profile.service_profiles.iter().flat_map(|its| &its.initial_filter_criteria);
    let servers = criteria.filter_map(|its| Uri::parse(&its.application_server.server_name).ok());
    Ok(Profile {
        identities: identities.collect(),
        servers: servers.collect(),
        private_id: profile.private_id,
        services: profile.service_profiles,
    })
}
