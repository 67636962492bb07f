//! Initial requests to a served user (TS 24.229 §5.4.3.3): from the identity that is called to the
//! contacts that are tried.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use cscf_core::clause::ts24229;
use cscf_core::registrar::{Binding, Registration};
use cscf_core::role::{ContextId, Env, Incoming};
use cscf_core::sip::{ChargingVector, ContactPreference, HeaderName, Ioi, Method, Request};
use cscf_core::time::Instant;

use crate::originating::member;
use crate::refusal::Refusal;
use crate::sessions::{Call, SessionCase, Sessions};
use crate::{ScscfActions, charging};

impl Sessions {
    /// Serves the callee (TS 24.229 §5.4.3.3).
    pub(crate) fn terminating(
        &mut self,
        env: &mut Env<'_>,
        incoming: Incoming,
        out: &mut ScscfActions,
    ) {
        let Incoming { context, request, .. } = incoming;
        if let Some(wish) = privacy_not_given(&request) {
            let why = format!("Privacy {wish} is critical, and is not given here");
            return Refusal::new(500, "5.4.3.3", why).send(env, context, &request, out);
        }
        let groups = match self.callee(env, &request) {
            Ok(groups) => self.to_contacts(env, &request, &groups),
            Err(refusal) => return refusal.send(env, context, &request, out),
        };
        self.start(env, context, &request, groups, out);
    }

    /// Finds the contacts of the called identity: groups of equal preference, best first
    /// (TS 24.229 §5.4.3.3 steps 1 and 10).
    fn callee(&self, env: &mut Env<'_>, request: &Request) -> Result<Vec<Vec<Binding>>, Refusal> {
        let refused = |status, why: String| Refusal::new(status, "5.4.3.3", why);
        let uri = request.uri().map_err(|fault| refused(400, format!("Request-URI: {fault}")))?;
        if !uri.is_sip() && !uri.is_tel() {
            return Err(refused(404, format!("{uri} is no user of this network")));
        }
        if uri.host().is_some_and(|host| !self.config.is_home(host)) {
            return Err(refused(404, format!("{uri} is not of this network")));
        }
        let set = self
            .published
            .by_uri(&uri)
            .ok_or_else(|| refused(480, format!("{uri} is not registered here")))?;
        if member(&set, &uri).is_some_and(|identity| identity.barred) {
            return Err(refused(404, format!("{uri} is barred")));
        }
        let groups = by_preference(&set, request, env.now);
        if groups.is_empty() {
            return Err(refused(480, format!("no contact of {uri} can take this request")));
        }
        env.note(ts24229("5.4.3.3"), || {
            let count: usize = groups.iter().map(Vec::len).sum();
            format!("{uri} has {count} contact(s), tried in {} step(s)", groups.len())
        });
        Ok(groups)
    }

    /// The request as it goes to each contact: Request-URI the contact, Route its Path, the
    /// identity that was called in P-Called-Party-ID (TS 24.229 §5.4.3.3).
    fn to_contacts(
        &self,
        env: &mut Env<'_>,
        request: &Request,
        groups: &[Vec<Binding>],
    ) -> (Call, VecDeque<Vec<Request>>) {
        let came = charging::vector(&request.headers);
        let vector = came.unwrap_or_else(|| ChargingVector::new(&env.ids.token(16)));
        let mut model = request.clone();
        let home = Ioi::Type1(self.config.realm().to_owned());
        charging::set_request(&mut model.headers, vector.icid(), &home);
        model.headers.remove(HeaderName::PServedUser);
        model.headers.remove(HeaderName::PProfileKey);
        let called = format!("<{}>", request.request_uri);
        model.headers.set(HeaderName::PCalledPartyId, &called);
        let to = |binding: &Binding| {
            let mut request = model.clone();
            request.request_uri = binding.contact.uri.to_string();
            request.headers.remove(HeaderName::Route);
            for path in &binding.path {
                request.headers.push(HeaderName::Route, path);
            }
            request
        };
        let later = groups.iter().map(|group| group.iter().map(to).collect()).collect();
        let mut call = Call::new(SessionCase::Terminating, request.method.clone(), vector);
        // Branches are numbered as they are forwarded: group after group.
        call.users = groups.iter().flatten().map(|binding| binding.token.clone()).collect();
        (call, later)
    }

    fn start(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        request: &Request,
        (mut call, later): (Call, VecDeque<Vec<Request>>),
        out: &mut ScscfActions,
    ) {
        if request.method == Method::Invite {
            let served: BTreeSet<Box<str>> = call.users.iter().cloned().collect();
            let served = served.into_iter().collect();
            call.refusal = Some(Box::new(request.reply(480)));
            call.dialog = Some(self.open_dialog(env, request, call.vector.icid(), served));
        }
        call.record_route =
            self.record_route(SessionCase::Terminating, &request.method, call.dialog);
        call.later = later;
        call.searching = true;
        call.open = 0;
        self.calls.insert(context, call);
        self.try_next(env, context, out);
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
/// or only the best where the caller wants that (RFC 3841 §7.2, §9.1).
fn by_preference(set: &Registration, request: &Request, now: Instant) -> Vec<Vec<Binding>> {
    let wishes = request.headers.accept_contact().unwrap_or_default();
    let mut list: Vec<Binding> =
        set.active(now).filter(|binding| accepts(binding, &wishes)).cloned().collect();
    // A stable sort: of equals, the one that registered first.
    list.sort_by_key(|binding| Reverse(binding.q));
    let wants = |word: &str| request.headers.has_token(HeaderName::RequestDisposition, word);
    if wants("no-fork") {
        list.truncate(1);
    }
    let serial = wants("sequential");
    let mut groups: Vec<Vec<Binding>> = Vec::new();
    for binding in list {
        let same = |group: &&mut Vec<Binding>| {
            !serial && group.first().is_some_and(|first| first.q == binding.q)
        };
        match groups.last_mut().filter(same) {
            Some(group) => group.push(binding),
            None => groups.push(vec![binding]),
        }
    }
    groups
}

/// Whether a contact may be tried: each preference with `require` is met, with `explicit` only by
/// a contact that tells the feature (RFC 3841 §7.2.4).
fn accepts(binding: &Binding, wishes: &[ContactPreference]) -> bool {
    wishes.iter().filter(|wish| wish.is_required()).all(|wish| {
        wish.features().all(|(name, value)| match binding.params().get(name) {
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
