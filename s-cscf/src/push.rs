//! What the HSS sends of its own accord when the data of a user change: profile, charging
//! functions, digest credentials (TS 29.228 §6.2).

use cscf_core::auth::Ha1;
use cscf_core::clause::ts29228;
use cscf_core::cx::{AuthItem, CxResult};
use cscf_core::role::Env;

use crate::ScscfActions;
use crate::assign::{Profile, read_profile};
use crate::changes::{Became, ChangedBy, SetChange};
use crate::owner::RegistrationOwner;
use crate::secret::{Secret, hashes};

/// What a PPR carries.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) user_data: Option<String>,
    pub(crate) charging_ccf: Option<String>,
    pub(crate) digest: Option<AuthItem>,
}

impl RegistrationOwner {
    /// Takes what a PPR carries, all of it or nothing (TS 29.228 §6.2.2.1).
    pub(crate) fn pushed(
        &mut self,
        env: &mut Env<'_>,
        impi: &str,
        pushed: &Pushed,
        out: &mut ScscfActions,
    ) -> CxResult {
        let clause = ts29228("6.2.2.1");
        // The next request for a user without contacts asks for the data as they are then.
        let kept = self.unregistered.forget_user(impi, out);
        if self.sets_of(impi).is_empty() {
            if kept {
                env.note(clause, || format!("forgets the profile of {impi}, which has changed"));
                return CxResult::Success;
            }
            env.refuse(clause, || format!("{impi} is not registered here"));
            return CxResult::UserUnknown;
        }
        let profile = pushed.user_data.as_deref().map(|text| self.readable(impi, text));
        let profile = match profile.transpose() {
            Ok(profile) => profile,
            Err((result, why)) => {
                env.refuse(clause, || why);
                return result;
            }
        };
        let digest = match pushed.digest.as_ref().map(hashes) {
            Some(list) if list.is_empty() => {
                env.refuse(clause, || format!("no digest credentials of {impi} can be used"));
                return CxResult::UnableToComply;
            }
            digest => digest,
        };
        if let Some(ccf) = &pushed.charging_ccf {
            self.charging_pushed(env, impi, ccf, out);
        }
        if let Some(list) = digest {
            self.digest_pushed(env, impi, &list);
        }
        if let Some(profile) = profile {
            self.profile_pushed(env, impi, profile, out);
        }
        CxResult::Success
    }

    /// The profile in a document, if it can be kept and is of a user here.
    fn readable(&mut self, impi: &str, text: &str) -> Result<Profile, (CxResult, String)> {
        let (size, max) = (text.len(), self.config.profile_max);
        if size > max {
            let why = format!("a user profile of {size} bytes, {max} can be kept");
            return Err((CxResult::TooMuchData, why));
        }
        let profile = read_profile(&mut self.profiles, text)
            .map_err(|why| (CxResult::NotSupportedUserData, why))?;
        let list = &profile.identities;
        if list.is_empty() {
            let why = "a user profile without public identities".to_owned();
            return Err((CxResult::NotSupportedUserData, why));
        }
        if !list.iter().any(|identity| self.set_id(&identity.key).is_some()) {
            let why = format!("no identity of the profile of {impi} is registered here");
            return Err((CxResult::UserUnknown, why));
        }
        Ok(profile)
    }

    fn profile_pushed(
        &mut self,
        env: &mut Env<'_>,
        impi: &str,
        profile: Profile,
        out: &mut ScscfActions,
    ) {
        env.note(ts29228("6.2.2.1"), || format!("the HSS sends a new profile of {impi}"));
        let id = self.open_set(&profile.identities);
        if let Some(set) = self.sets.get_mut(&id) {
            set.servers = profile.servers;
            set.services =
                self.third_parties.services(env, (&profile.services, &profile.identities));
        }
        self.publish(id, out);
        let (became, by) = (Became::Profiled, ChangedBy::Hss);
        self.set_changed(env, &SetChange { set: id, became, by, removed: &[] }, out);
    }

    fn charging_pushed(
        &mut self,
        env: &mut Env<'_>,
        impi: &str,
        ccf: &str,
        out: &mut ScscfActions,
    ) {
        env.note(ts29228("6.2.2.1"), || format!("charging function of {impi} is now {ccf}"));
        for id in self.sets_of(impi) {
            if let Some(set) = self.sets.get_mut(&id) {
                set.charging_ccf = Some(ccf.into());
            }
            self.publish(id, out);
        }
    }

    /// Whatever was made from the old password is judged by the new one.
    fn digest_pushed(&mut self, env: &mut Env<'_>, impi: &str, list: &[Ha1]) {
        env.note(ts29228("6.2.2.1"), || format!("the HSS sends new digest credentials of {impi}"));
        let replace = |secret: &mut Secret| {
            if let Secret::Digest(kept) = secret {
                *kept = list.to_vec();
            }
        };
        for id in self.sets_of(impi) {
            let set = self.sets.get_mut(&id);
            let Some(user) = set.and_then(|set| set.users.get_mut(impi)) else { continue };
            let mut spare = Vec::from(std::mem::take(&mut user.spare));
            spare.retain(|item| !matches!(item, AuthItem::Digest { .. }));
            user.spare = spare.into();
            if let Some(accepted) = &mut user.accepted {
                replace(&mut accepted.secret);
            }
        }
        if let Some(pending) = self.challenges.get_mut(impi) {
            pending.secrets().for_each(replace);
        }
    }
}
