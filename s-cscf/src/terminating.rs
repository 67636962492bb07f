//! Initial requests to a served user (TS 24.229 §5.4.3.3): from the identity that is called to the
//! contacts that are tried.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use cscf_core::clause::{rfc5393, rfc5630, ts24229};
use cscf_core::config::Breadth;
use cscf_core::ifc;
use cscf_core::proxy::max_breadth;
use cscf_core::registrar::{Binding, Registration};
use cscf_core::role::{Env, Incoming};
use cscf_core::sip::{ContactPreference, HeaderName, Ioi, Request, Uri, is_sips, sips_not_allowed};
use cscf_core::time::Instant;

use crate::early::EarlyDialogs;
use crate::isc::{Leg, Served};
use crate::originating::member;
use crate::refusal::Refusal;
use crate::restoration::profile_key;
use crate::sessions::{Sessions, Target};
use crate::{ScscfActions, charging, history};

/// Instances of equal preference; of each the contacts that are its flows, one without an instance
/// alone.
type Group = Vec<Vec<Binding>>;

impl Sessions {
    /// Serves the callee (TS 24.229 §5.4.3.3); `unregistered` is the set of one without contacts.
    pub(crate) fn terminating(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        unregistered: Option<Arc<Registration>>,
        out: &mut ScscfActions,
    ) {
        let Incoming { context, mut request, .. } = incoming;
        if let Some(wish) = privacy_not_given(&request) {
            let why = format!("Privacy {wish} is critical, and is not given here");
            return Refusal::new(500, "5.4.3.3", why).send(env, context, &request, out);
        }
        let served = match self.callee(&request, unregistered) {
            Ok(served) => served,
            Err(refusal) => return refusal.send(env, context, &request, out),
        };
        env.note(ts24229("5.4.3.3"), || format!("the served user is {}", served.uri));
        let profile = Self::media_profile(&served);
        if self.refuses_media(env, (context, &request), profile, out) {
            return;
        }
        request.headers.remove(HeaderName::PServedUser);
        request.headers.remove(HeaderName::PProfileKey);
        let leg = Leg::new(env, context, request, served);
        self.walk(env, leg, out);
    }

    /// Finds out who is called (TS 24.229 §5.4.3.3 step 1).
    fn callee(
        &self,
        request: &Request,
        unregistered: Option<Arc<Registration>>,
    ) -> Result<Served, Refusal> {
        let refused = |status, why: String| Refusal::new(status, "5.4.3.3", why);
        let uri = request.uri().map_err(|fault| refused(400, format!("Request-URI: {fault}")))?;
        if !uri.is_sip() && !uri.is_tel() {
            return Err(refused(404, format!("{uri} is no user of this network")));
        }
        let temporary = uri.user().is_some_and(|user| user.starts_with("tgruu."));
        let mine = temporary && self.is_me(&uri);
        if !mine && uri.host().is_some_and(|host| !self.config.is_home(host)) {
            return Err(refused(404, format!("{uri} is not of this network")));
        }
        let found = self.published.by_uri(&uri).or(unregistered);
        if mine && found.is_none() {
            // It stands for nobody, and never will again (RFC 5627 §5.1).
            return Err(refused(404, format!("{uri} is no temporary GRUU of a user here")));
        }
        let set = found.ok_or_else(|| refused(480, format!("{uri} is not registered here")))?;
        // A temporary GRUU is none of the identities: it means the one that is shown first.
        // What the I-CSCF was told counts before what is found here (TS 24.229 §5.4.3.3 step 2).
        let key = profile_key(request);
        let keyed = key.as_deref().and_then(|key| set.identity(key));
        let identity = keyed.or_else(|| member(&set, &uri));
        let identity = identity.or_else(|| set.default_identity()).cloned();
        let identity = identity.ok_or_else(|| refused(404, format!("{uri} is no user here")))?;
        if identity.barred {
            return Err(refused(404, format!("{uri} is barred")));
        }
        let case = match set.bindings.is_empty() {
            true => ifc::SessionCase::TerminatingUnregistered,
            false => ifc::SessionCase::TerminatingRegistered,
        };
        Ok(Served { case, uri: identity.uri, key: identity.key, set, token: None })
    }

    /// No server wants the request any more: it goes to the contacts of the user, in groups of
    /// equal preference, best first (TS 24.229 §5.4.3.3 steps 6 to 10).
    pub(crate) fn arrives(&mut self, env: &mut Env<'_>, leg: &Leg, out: &mut ScscfActions) {
        // A server may have taken its time: the contacts are those of now.
        let Some(set) = self.published.by_key(&leg.served.key) else {
            return leg.nobody(env, out);
        };
        let (context, request) = (leg.context, &leg.request);
        let groups = request
            .uri()
            .map_or_else(|_| Vec::new(), |uri| by_preference(&set, request, env.now, &uri));
        if groups.is_empty() {
            let why = format!("no contact of {} can take this request", request.request_uri);
            return Refusal::new(480, "5.4.3.3", why).send(env, context, request, out);
        }
        // None of them has registered a sips Contact, see `register`.
        if is_sips(&request.request_uri) {
            let why = format!("no contact of {} is reached by TLS alone", request.request_uri);
            let refusal = Refusal::by(480, rfc5630("5.3"), why)
                .with(HeaderName::Warning, sips_not_allowed(self.config.realm()));
            return refusal.send(env, context, request, out);
        }
        let groups = match self.narrowed(env, request, groups) {
            Ok(groups) => groups,
            Err(refusal) => return refusal.send(env, context, request, out),
        };
        env.note(ts24229("5.4.3.3"), || {
            let count: usize = groups.iter().flatten().map(Vec::len).sum();
            let steps = groups.len();
            format!("{} has {count} contact(s), tried in {steps} step(s)", leg.served.uri)
        });
        let later = self.to_contacts(leg, &groups);
        let flows = later.iter().flatten().flat_map(|target| &target.flows);
        let users: BTreeSet<Arc<str>> = flows.map(|(_, token)| token.clone()).collect();
        let call = self.enter(env, leg);
        call.later = later;
        call.searching = true;
        call.early = EarlyDialogs::of(request);
        if let Some(dialog) = call.dialog {
            self.dialogs.set_users(dialog, users.into_iter().collect());
        }
        self.try_next(env, context, out);
    }

    /// The groups, none of them wider than the Max-Breadth of the request; 440 where there is one
    /// and this node does not try such contacts one after the other (RFC 5393 §5.3.3).
    fn narrowed(
        &self,
        env: &mut Env<'_>,
        request: &Request,
        groups: Vec<Group>,
    ) -> Result<Vec<Group>, Refusal> {
        let breadth = usize::try_from(max_breadth(request)).unwrap_or(usize::MAX);
        let widest = groups.iter().map(Vec::len).max().unwrap_or_default();
        if widest <= breadth {
            return Ok(groups);
        }
        let why = format!("{widest} contacts at a time, Max-Breadth is {breadth}");
        // With 0 not even one is allowed.
        if breadth == 0 || self.config.breadth == Breadth::Refuse {
            return Err(Refusal::by(440, rfc5393("5.3.3"), why));
        }
        env.note(rfc5393("5.3.3"), || format!("{why}: so many at a time, the others later"));
        let parts = groups.iter().flat_map(|group| group.chunks(breadth));
        Ok(parts.map(<[_]>::to_vec).collect())
    }

    /// The request as it goes to each contact: Request-URI the contact, Route its Path, the
    /// identity that was called in P-Called-Party-ID (TS 24.229 §5.4.3.3).
    fn to_contacts(&self, leg: &Leg, groups: &[Group]) -> VecDeque<Vec<Target>> {
        let mut model = leg.request.clone();
        let home = Ioi::Type1(self.config.realm().into());
        charging::set_request(&mut model.headers, leg.vector.icid(), &home);
        let called = format!("<{}>", leg.request.request_uri);
        model.headers.set(HeaderName::PCalledPartyId, &called);
        let mut count = 0;
        let mut to = |binding: &Binding| {
            let mut request = model.clone();
            request.request_uri = binding.contact.uri().into();
            count += 1;
            let called = &leg.request.request_uri;
            history::add(&mut request.headers, called, &request.request_uri, count);
            request.headers.remove(HeaderName::Route);
            for path in &binding.path {
                request.headers.push(HeaderName::Route, path);
            }
            (request, binding.token.clone())
        };
        let mut target =
            |flows: &Vec<Binding>| Target { flows: flows.iter().map(&mut to).collect() };
        groups.iter().map(|group| group.iter().map(&mut target).collect()).collect()
    }
}

/// The first privacy that is critical to the sender and that this network does not give: it hides
/// the asserted identity at its edge, and is no anonymiser (RFC 3323 §4.2, §5).
fn privacy_not_given(request: &Request) -> Option<String> {
    let values = request.headers.fields(HeaderName::Privacy);
    let words: Vec<&str> = values
        .flat_map(|field| field.value().split([';', ',']))
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    let is = |word: &str, name: &str| word.eq_ignore_ascii_case(name);
    words.iter().find(|word| is(word, "critical"))?;
    let given = |word: &str| ["critical", "id", "none"].iter().any(|name| is(word, name));
    words.into_iter().find(|word| !given(word)).map(str::to_owned)
}

/// The contacts that match the caller's preferences, in groups of equal q, best first; one by one
/// or only the best where the caller wants that (RFC 3841 §7.2, §9.1). The flows of an instance
/// stay together (RFC 5626 §5.3); a GRUU means one instance (RFC 5627 §5.4); contacts for emergency
/// calls are only called back (TS 24.229 §5.4.8).
fn by_preference(set: &Registration, request: &Request, now: Instant, uri: &Uri) -> Vec<Group> {
    let wishes = request.headers.accept_contact().unwrap_or_default();
    let instance = set.of_gruu(uri);
    let meant = |its: &&Binding| {
        instance.as_ref().is_none_or(|list| list.iter().any(|binding| binding.id == its.id))
    };
    let call_back = request.headers.has_token(HeaderName::Priority, "psap-callback");
    let fits = |its: &&Binding| !its.is_emergency() || call_back;
    let fitting = set.active(now).filter(meant).filter(fits);
    let mut list: Vec<Binding> =
        fitting.filter(|binding| accepts(binding, &wishes)).cloned().collect();
    // A stable sort: of equals, the one that registered first.
    list.sort_by_key(|binding| Reverse(binding.q));
    let wants = |word: &str| request.headers.has_token(HeaderName::RequestDisposition, word);
    if wants("no-fork") {
        list.truncate(1);
    }
    let serial = wants("sequential");
    let mut groups: Vec<Group> = Vec::new();
    for binding in list {
        let instance = binding.flow().map(|(instance, _)| instance);
        let same_instance = |flows: &&mut Vec<Binding>| {
            let first = flows.first().and_then(Binding::flow).map(|(instance, _)| instance);
            instance.is_some() && first == instance
        };
        if let Some(flows) = groups.iter_mut().flatten().find(same_instance) {
            flows.push(binding);
            continue;
        }
        let q = |group: &Group| group.first().and_then(|flows| flows.first()).map(|its| its.q);
        match groups.last_mut().filter(|group| !serial && q(group) == Some(binding.q)) {
            Some(group) => group.push(vec![binding]),
            None => groups.push(vec![vec![binding]]),
        }
    }
    groups
}

/// Whether a contact may be tried: each preference with `require` is met, with `explicit` only by
/// a contact that tells the feature (RFC 3841 §7.2.4).
fn accepts(binding: &Binding, wishes: &[ContactPreference]) -> bool {
    let mut required = wishes.iter().filter(|wish| wish.is_required()).peekable();
    if required.peek().is_none() {
        return true;
    }
    let address = binding.contact.read();
    let has = |name: &str| address.as_ref().and_then(|its| its.params.get(name));
    required.all(|wish| {
        wish.features().all(|(name, value)| match has(name) {
            None => !wish.is_explicit(),
            Some(has) => feature_matches(has, value),
        })
    })
}

/// Whether a feature that a contact has is one of those wanted; a flag has any value.
fn feature_matches(has: &str, wanted: &str) -> bool {
    let flag = |text: &str| text.is_empty() || text.eq_ignore_ascii_case("TRUE");
    if flag(wanted) {
        return !has.eq_ignore_ascii_case("FALSE");
    }
    let words = |text| str::split(text, ',').map(str::trim);
    words(wanted).any(|word| words(has).any(|its| its.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-TER-070
    #[test]
    fn a_feature_matches_by_one_of_its_values() {
        assert!(feature_matches("", ""));
        assert!(feature_matches("a,b", "b"));
        assert!(feature_matches("TRUE", ""));
        assert!(!feature_matches("FALSE", ""));
        assert!(!feature_matches("a,b", "c"));
    }
}
