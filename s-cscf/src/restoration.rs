//! Restoration of an S-CSCF that lost its state: what it leaves with the HSS, and how it goes on
//! with what it gets back (TS 23.380 §4, TS 29.228 §6.1.2, TS 24.229 §5.4.1.2.2).

use std::sync::Arc;

use cscf_core::clause::ts23380;
use cscf_core::cx::{
    AssignmentType, CxAnswer, CxRequest, Restoration, RestoredContact, RestoredSubscription, Saa,
};
use cscf_core::dialog::Dialog;
use cscf_core::identity::Wildcard;
use cscf_core::ids::ShardId;
use cscf_core::registrar::{Binding, ContactWish, Source, Wish};
use cscf_core::role::{Action, ContextId, Env, Incoming, Question};
use cscf_core::sip::{HeaderName, Method, NameAddr, Request};
use cscf_core::time::{Duration, Instant};

use crate::ScscfActions;
use crate::assign::read_profile;
use crate::cause;
use crate::owner::{Job, RegistrationOwner, SetId};
use crate::reg_event::RestoredDialog;
use crate::register::Register;

/// What waits for the data of a user that is not known here.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// A REGISTER over a security association.
    Register(Box<Register>),
    /// A request for the user, or from it by an application server, with the key of its identity.
    Request(Box<Incoming>, Box<str>),
    /// A request in another engine of the node: which engine, its number there, the key, and the
    /// wildcarded identity whose profile it wants.
    Elsewhere(ShardId, ContextId, Box<str>, Option<String>),
}

/// The wildcarded identity whose profile a request wants, as the I-CSCF was told it (RFC 5002).
pub(crate) fn profile_key(request: &Request) -> Option<String> {
    let value = request.headers.get(HeaderName::PProfileKey)?;
    let uri = value.split_once('<')?.1.rsplit_once('>')?.0;
    Wildcard::is_meant(uri).then(|| uri.to_owned())
}

impl RegistrationOwner {
    /// Asks the HSS for the profile of a user that is not known here, and what it keeps of it.
    pub(crate) fn ask_restoration(
        &mut self,
        env: &mut Env<'_>,
        (impi, impu): (Option<&str>, &str),
        waiting: Waiting,
        out: &mut ScscfActions,
    ) {
        env.note(ts23380("4.3"), || format!("{impu} is not known here: asks the HSS"));
        // Without a private identity only this type may be asked with (TS 29.228 §6.1.2).
        let why = match impi {
            Some(_) => AssignmentType::NoAssignment,
            None => AssignmentType::UnregisteredUser,
        };
        let mut sar = self.assignment("", impu, why);
        sar.impi = impi.map(str::to_owned);
        sar.wildcard = match &waiting {
            Waiting::Request(incoming, _) => profile_key(&incoming.request),
            Waiting::Elsewhere(.., wildcard) => wildcard.clone(),
            Waiting::Register(_) => None,
        };
        let ask = env.next_ask();
        self.jobs.insert(ask, Job::Restore(waiting));
        out.push(Action::Ask { ask, question: Question::Cx(CxRequest::Sar(sar)) });
    }

    /// Takes the kept registrations over; says whether there were any.
    pub(crate) fn restore(
        &mut self,
        env: &mut Env<'_>,
        answer: &CxAnswer,
        out: &mut ScscfActions,
    ) -> bool {
        let saa = match answer {
            CxAnswer::Saa(saa) if saa.result.is_success() && !saa.restoration.is_empty() => saa,
            CxAnswer::Saa(saa) => {
                let text = format!("the HSS keeps nothing: {}", saa.result);
                env.diagnose(ts23380("4.3"), text.clone(), cause::nothing_kept(&text));
                return false;
            }
            _ => {
                let text = "the HSS does not answer the SAR";
                env.diagnose(ts23380("4.3"), text.to_owned(), cause::nothing_kept(text));
                return false;
            }
        };
        match self.rebuild(env, saa, out) {
            Ok(count) => {
                env.note(ts23380("4.3"), || format!("{count} contact(s) are restored"));
                count > 0
            }
            Err(why) => {
                env.diagnose(ts23380("4.3"), why.clone(), cause::nothing_kept(&why));
                false
            }
        }
    }

    fn rebuild(
        &mut self,
        env: &mut Env<'_>,
        saa: &Saa,
        out: &mut ScscfActions,
    ) -> Result<usize, String> {
        let text = saa.user_data.as_ref().ok_or("the HSS sends no user profile")?;
        let profile = read_profile(&mut self.profiles, text)?;
        let default = profile.identities.iter().find(|its| its.is_shown());
        let key = default.map(|its| its.key.clone()).ok_or("no identity to restore")?;
        let id = self.open_set(&profile.identities);
        let granted = self.config.expiry.default.min(self.config.expiry.max);
        let mut subscriptions = Vec::new();
        let set = self.sets.get_mut(&id).ok_or("the set is gone")?;
        set.keep(profile.servers, saa);
        set.services = self.third_parties.services(env, (&profile.services, &profile.identities));
        for kept in saa.restoration.iter().filter(|kept| !kept.impi.is_empty()) {
            let index = (&mut self.sets_of_users, id);
            let Some(user) = set.user(env.now, &kept.impi, index) else { continue };
            let impi = Arc::clone(&user.impi);
            for contact in &kept.contacts {
                let Ok(address) = NameAddr::parse(&contact.contact) else { continue };
                let path = values(HeaderName::Path, &contact.path);
                let source = Source {
                    impi: Arc::clone(&impi),
                    registered_with: Arc::clone(&key),
                    path: &path,
                    call_id: contact.call_id.as_deref().unwrap_or_default(),
                    cseq: contact.cseq.unwrap_or_default(),
                    token: &self.config.service_route_token(env.ids),
                    replaces: false,
                };
                let wish = ContactWish { address, expires: granted };
                set.bindings.update(env.now, &[wish], &source);
                subscriptions.extend(contact.subscription.clone());
            }
        }
        let count = set.bindings.list().len();
        self.publish(id, out);
        for subscription in &subscriptions {
            self.resubscribe(env, id, subscription, granted, out);
        }
        Ok(count)
    }

    fn resubscribe(
        &mut self,
        env: &mut Env<'_>,
        set: SetId,
        kept: &RestoredSubscription,
        left: Duration,
        out: &mut ScscfActions,
    ) {
        let mut request = Request::new(Method::Subscribe, "sip:restored");
        request.headers.push(HeaderName::From, &kept.from);
        request.headers.push(HeaderName::To, &kept.to);
        request.headers.push(HeaderName::CallId, &kept.call_id);
        request.headers.push(HeaderName::CSeq, "0 SUBSCRIBE");
        request.headers.push(HeaderName::Contact, &kept.contact);
        for value in values(HeaderName::RecordRoute, &kept.record_route) {
            request.headers.push(HeaderName::RecordRoute, &value);
        }
        let token = request.to_tag().unwrap_or_default().to_owned();
        let Ok(mut dialog) = Dialog::at_callee(&request, &token) else { return };
        // The subscriber takes nothing that is older than what it has: both numbers go by the
        // time, which has passed since.
        let number = u32::try_from(env.unix_now().0 & 0x7fff_ffff).unwrap_or_default();
        dialog.continue_from(number);
        let restored = RestoredDialog { dialog, set, expires_at: env.now + left, version: number };
        self.restore_subscription(env, &token, restored, out);
    }

    /// What the HSS shall keep of a user once this REGISTER has been taken; none while restoration
    /// is off.
    pub(crate) fn to_keep(&self, now: Instant, register: &Register) -> Option<Restoration> {
        let Wish::Update(wishes) = &register.wish else { return None };
        if !self.config.restoration || register.wish.is_emergency() {
            return None;
        }
        let path = register.path.join(", ");
        let mut contacts = Vec::new();
        for wish in wishes.iter().filter(|wish| !wish.expires.is_zero()) {
            let mut contact = wish.address.clone();
            contact.params.remove("expires");
            contacts.push(RestoredContact {
                path: path.clone(),
                contact: contact.text(),
                call_id: Some(register.call_id.to_string()),
                cseq: Some(register.cseq),
                subscription: None,
            });
        }
        let set = self.set_id(&register.impu).and_then(|id| self.sets.get(&id));
        let others = set.map(|set| set.active(now)).unwrap_or_default();
        let flow = crate::outbound::is_flow(&register.wish);
        let named = |its: &Binding| wishes.iter().any(|wish| wish.names(&its.contact));
        let stays = |its: &&Binding| *its.impi == *register.impi && flow && !named(its);
        contacts.extend(others.iter().filter(stays).map(kept));
        Some(Restoration { impi: register.impi.clone(), contacts })
    }

    /// Has the HSS keep the contacts and the own subscription of a user as they are now
    /// (TS 29.228 §6.1.2).
    pub(crate) fn keep(
        &mut self,
        env: &mut Env<'_>,
        id: SetId,
        impi: &str,
        out: &mut ScscfActions,
    ) {
        if !self.config.restoration {
            return;
        }
        let subscription = self.own_subscription(id);
        let Some(set) = self.sets.get(&id) else { return };
        let active = set.active(env.now);
        let mine = active.iter().filter(|its| *its.impi == *impi && !its.is_emergency());
        let mut contacts: Vec<RestoredContact> = mine.clone().map(kept).collect();
        let Some(impu) = mine.clone().map(|its| its.registered_with.clone()).next() else { return };
        if let Some(first) = contacts.first_mut() {
            first.subscription = subscription;
        }
        env.note(ts23380("4.2"), || format!("the HSS shall keep {} contact(s)", contacts.len()));
        let mut sar = self.assignment(impi, &impu, AssignmentType::ReRegistration);
        sar.restoration = Some(Restoration { impi: impi.to_owned(), contacts });
        let ask = env.next_ask();
        out.push(Action::Ask { ask, question: Question::Cx(CxRequest::Sar(sar)) });
    }
}

fn kept(binding: &Binding) -> RestoredContact {
    RestoredContact {
        path: binding.path.join(", "),
        contact: binding.contact.text().to_owned(),
        call_id: Some(binding.call_id.to_string()),
        cseq: Some(binding.cseq),
        subscription: None,
    }
}

/// The values of a list of this header in one text.
fn values(name: HeaderName, text: &str) -> Box<[Box<str>]> {
    let mut request = Request::new(Method::Register, "sip:restored");
    if !text.trim().is_empty() {
        request.headers.push(name, text);
    }
    request.headers.values(name).map(Into::into).collect()
}
