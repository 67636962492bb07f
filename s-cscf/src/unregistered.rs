//! Services of users that are not registered (TS 24.229 §5.4.3.2, §5.4.3.3; TS 29.228 §6.1.2): the
//! profile comes from the HSS with the first request, and is kept for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use cscf_core::clause::ts24229;
use cscf_core::cx::{AssignmentType, CxAnswer, CxRequest};
use cscf_core::identity::Wildcard;
use cscf_core::registrar::{Registration, identity_key, number_key};
use cscf_core::role::{Action, Env, Incoming, Question};
use cscf_core::sip::Uri;

use crate::assign::read_profile;
use crate::originating::served_user;
use crate::owner::RegistrationOwner;
use crate::{ScscfActions, Timer};

/// The profiles of users without contacts, by the keys of their identities.
#[derive(Debug, Default)]
pub(crate) struct Unregistered {
    list: BTreeMap<Box<str>, Kept>,
}

/// The profile of one identity.
#[derive(Debug)]
struct Kept {
    /// `PrivateID` of the profile.
    impi: Box<str>,
    set: Arc<Registration>,
}

impl Unregistered {
    pub(crate) const fn new() -> Self {
        Self { list: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The set of the user with this identity.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Registration>> {
        self.list.get(key).map(|kept| Arc::clone(&kept.set))
    }

    /// Forgets a user: it is registered now, or the HSS wants it.
    pub(crate) fn forget(&mut self, key: &str, out: &mut ScscfActions) {
        if self.list.remove(key).is_some() {
            out.push(Action::ClearTimer { timer: Timer::Unregistered(key.into()) });
        }
    }

    /// Forgets all that is kept of a private identity; says whether there was anything.
    pub(crate) fn forget_user(&mut self, impi: &str, out: &mut ScscfActions) -> bool {
        let mine = self.list.iter().filter(|(_, kept)| *kept.impi == *impi);
        let keys: Vec<_> = mine.map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.forget(key, out);
        }
        !keys.is_empty()
    }
}

impl RegistrationOwner {
    /// The identity that a request is for, if nobody here is registered with it and it is one of
    /// this network. For strangers the HSS is not asked.
    pub(crate) fn unknown_callee(&self, incoming: &Incoming) -> Option<Box<str>> {
        self.config.trusts(incoming.flow.remote).then_some(())?;
        self.unknown(&incoming.request.uri().ok()?)
    }

    /// The same of the user that an application server sends a request for.
    pub(crate) fn unknown_caller(&self, incoming: &Incoming) -> Option<Box<str>> {
        self.config.trusts(incoming.flow.remote).then_some(())?;
        self.unknown(&served_user(&incoming.request)?)
    }

    fn unknown(&self, uri: &Uri) -> Option<Box<str>> {
        let home = uri.host().is_none_or(|host| self.config.is_home(host));
        // The HSS knows numbers as tel URIs (TS 24.229 §5.3.2.1).
        let key = number_key(uri).or_else(|| identity_key(uri)).filter(|_| home)?;
        self.published.by_uri(uri).is_none().then(|| key.into())
    }

    /// Takes the profile of a user without contacts. One without services is given back at once.
    pub(crate) fn serve_unregistered(
        &mut self,
        env: &mut Env<'_>,
        key: &str,
        answer: &CxAnswer,
        out: &mut ScscfActions,
    ) -> Option<Arc<Registration>> {
        let CxAnswer::Saa(saa) = answer else { return None };
        let text = saa.user_data.as_ref().filter(|_| saa.result.is_success())?;
        let profile = match read_profile(&mut self.profiles, text) {
            Ok(profile) => profile,
            Err(why) => {
                env.refuse(ts24229("5.4.3.3"), || why);
                return None;
            }
        };
        let services = self.third_parties.services(env, (&profile.services, &profile.identities));
        let wild = profile.identities.iter().filter(|its| its.wildcarded);
        let set = Arc::new(Registration {
            wildcards: wild.filter_map(|its| Wildcard::parse(&its.uri)).collect(),
            identities: profile.identities,
            bindings: Arc::new([]),
            charging_ccf: saa.charging_ccf.as_deref().map(Into::into),
            services,
        });
        let serves = |key: &str| set.service(key).is_some_and(|its| !its.filters.list().is_empty());
        let full = self.unregistered.len() >= self.config.unregistered_max;
        if full || !serves(key) {
            env.note(ts24229("5.4.3.3"), || format!("no services of {key} to be kept"));
            self.release_unregistered(env, key, out);
            return Some(set);
        }
        env.note(ts24229("5.4.3.3"), || format!("{key} is not registered, and has services"));
        let kept = Kept { impi: profile.private_id.into(), set: Arc::clone(&set) };
        self.unregistered.list.insert(key.into(), kept);
        let (timer, at) = (Timer::Unregistered(key.into()), env.now + self.config.unregistered_for);
        out.push(Action::SetTimer { timer, at });
        Some(set)
    }

    /// The profile was kept long enough.
    pub(crate) fn unregistered_over(
        &mut self,
        env: &mut Env<'_>,
        key: &str,
        out: &mut ScscfActions,
    ) {
        if self.unregistered.list.remove(key).is_some() {
            env.note(ts24229("5.4.3.3"), || format!("gives the profile of {key} back"));
            self.release_unregistered(env, key, out);
        }
    }

    /// The HSS need not remember this S-CSCF (TS 29.228 §6.1.2).
    fn release_unregistered(&self, env: &mut Env<'_>, impu: &str, out: &mut ScscfActions) {
        let mut sar = self.assignment("", impu, AssignmentType::TimeoutDeregistration);
        sar.impi = None;
        let ask = env.next_ask();
        out.push(Action::Ask { ask, question: Question::Cx(CxRequest::Sar(sar)) });
    }
}
