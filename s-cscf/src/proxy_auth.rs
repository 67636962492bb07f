//! Authentication of requests other than REGISTER: users of SIP digest prove themselves anew at
//! their S-CSCF, where the policy says so (TS 24.229 §5.4.3.2 step 1A, §5.4.3.6; RFC 3261 §22.3).

use std::collections::VecDeque;

use cscf_core::auth::{Credentials, Ha1, NonceCounter, is_digest};
use cscf_core::clause::ts24229;
use cscf_core::role::{Action, Env, Incoming};
use cscf_core::sip::{HeaderName, Request};
use cscf_core::time::Instant;

use crate::ScscfActions;
use crate::cause;
use crate::owner::RegistrationOwner;
use crate::refusal::Refusal;
use crate::secret::{NotVerified, Secret, challenges_of};

/// Nonces that a user may have in use for its requests at a time.
const NONCES_MAX: usize = 4;

/// The nonces a user was given for its requests.
#[derive(Debug, Default)]
pub(crate) struct ProxyNonces {
    list: VecDeque<ProxyNonce>,
    /// Wrong responses in a row.
    failures: u8,
}

#[derive(Debug)]
struct ProxyNonce {
    nonce: Box<str>,
    counter: NonceCounter,
    since: Instant,
    /// A right response has used it.
    used: bool,
}

/// What a request is worth.
enum Judged {
    /// It proves the user.
    Right,
    /// It is challenged; whether only the nonce was too old, and why.
    Challenged(bool, String),
    /// It was wrong too often.
    Refused(String),
}

impl RegistrationOwner {
    /// Whether a request with this Service-Route may go on: the user needs no proof, or has given
    /// it, which is then taken away. Else it is answered 407 or 403.
    pub(crate) fn is_proven(
        &mut self,
        env: &mut Env<'_>,
        incoming: &mut Incoming,
        token: &str,
        out: &mut ScscfActions,
    ) -> bool {
        if !self.config.proxy_authentication {
            return true;
        }
        let Some((secrets, impi)) = self.digest_of(token) else { return true };
        let judged = self.judge(env, &incoming.request, &impi, token);
        let (stale, why) = match judged {
            Judged::Right => {
                env.note(ts24229("5.4.3.6"), || format!("{impi} has proven the request"));
                take_away(&mut incoming.request, self.config.realm());
                return true;
            }
            Judged::Refused(why) => {
                let cause = cause::not_proven(&impi, &incoming.request, &why);
                let refusal = Refusal::new(403, "5.4.3.6", why).because(cause);
                refusal.send(env, incoming.context, &incoming.request, out);
                return false;
            }
            Judged::Challenged(stale, why) => (stale, why),
        };
        let nonce = env.ids.token(16);
        let mut response = incoming.request.reply(407);
        for challenge in challenges_of(self.config.realm(), &nonce, &secrets) {
            let challenge = if stale { challenge.with_stale() } else { challenge };
            response.headers.push(HeaderName::ProxyAuthenticate, &challenge.to_string());
        }
        let text = format!("{} of {impi} answered 407: {why}", incoming.request.method);
        let cause = cause::not_proven(&impi, &incoming.request, &why);
        env.diagnose(ts24229("5.4.3.6"), text, cause);
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
        if let Some(nonces) = self.proxy_nonces(&impi, token) {
            let (counter, since) = (NonceCounter::default(), env.now);
            nonces.list.push_back(ProxyNonce { nonce: nonce.into(), counter, since, used: false });
            if nonces.list.len() > NONCES_MAX {
                nonces.list.pop_front();
            }
        }
        false
    }

    /// The password hashes of the user with this Service-Route, if it registered by SIP digest in
    /// the clear, and its private identity.
    fn digest_of(&self, token: &str) -> Option<(Vec<Ha1>, String)> {
        let published = self.published.by_token(token)?;
        let binding = published.by_token(token)?;
        let user = self.user(&binding.registered_with, &binding.impi)?;
        match &user.accepted.as_ref()?.secret {
            Secret::Digest(list) => Some((list.clone(), binding.impi.to_string())),
            Secret::Aka { .. } => None,
        }
    }

    fn proxy_nonces(&mut self, impi: &str, token: &str) -> Option<&mut ProxyNonces> {
        let published = self.published.by_token(token)?;
        let key = &published.by_token(token)?.registered_with;
        let set = self.set_id(key).and_then(|id| self.sets.get_mut(&id))?;
        Some(set.users.get_mut(impi)?.proxy_nonces.get_or_insert_default())
    }

    fn judge(&mut self, env: &Env<'_>, request: &Request, impi: &str, token: &str) -> Judged {
        let (realm, limit) = (self.config.realm().to_owned(), self.config.failures_max);
        let (first_use, lifetime) = (self.config.await_auth_for, self.config.nonce_for);
        let Some((secrets, _)) = self.digest_of(token) else { return Judged::Right };
        let nothing = |why: &str| Judged::Challenged(false, why.to_owned());
        let Some(credentials) = credentials(request, &realm) else {
            return nothing("no Proxy-Authorization for this realm");
        };
        let now = env.now;
        let Some(nonces) = self.proxy_nonces(impi, token) else { return Judged::Right };
        let named = |its: &&mut ProxyNonce| credentials.nonce() == Some(&*its.nonce);
        let Some(nonce) = nonces.list.iter_mut().find(named) else {
            return nothing("its nonce is none of ours");
        };
        if credentials.username().as_deref() != Some(impi) {
            let name = credentials.username().unwrap_or_default();
            return Judged::Refused(format!(
                "username {name}, the Service-Route is that of {impi}"
            ));
        }
        match Secret::Digest(secrets).verify(&credentials, request, &mut nonce.counter) {
            Ok(_) => {
                let limit = if nonce.used { lifetime } else { first_use };
                nonce.used = true;
                nonces.failures = 0;
                if now - nonce.since >= limit {
                    let age = limit.as_secs();
                    return Judged::Challenged(true, format!("its nonce is older than {age} s"));
                }
                Judged::Right
            }
            Err(NotVerified::Stale(why)) => Judged::Challenged(true, why),
            Err(NotVerified::Wrong(why)) => {
                nonces.failures = nonces.failures.saturating_add(1);
                if nonces.failures < limit {
                    return Judged::Challenged(false, why);
                }
                nonces.failures = 0;
                nonces.list.clear();
                Judged::Refused(format!("{why}, {limit} times in a row"))
            }
        }
    }
}

/// The credentials for this realm.
fn credentials(request: &Request, realm: &str) -> Option<Credentials> {
    let lines = request.headers.fields(HeaderName::ProxyAuthorization);
    let mut read = lines
        .filter(|field| is_digest(field.value()))
        .filter_map(|field| field.unfolded().parse::<Credentials>().ok());
    read.find(|its| its.realm().as_deref() == Some(realm))
}

/// Removes the credentials for this realm; those for others go on (RFC 3261 §22.3).
fn take_away(request: &mut Request, realm: &str) {
    let others: Vec<String> = request
        .headers
        .fields(HeaderName::ProxyAuthorization)
        .map(|field| field.unfolded().into_owned())
        .filter(|value| {
            let its = value.parse::<Credentials>().ok();
            its.is_none_or(|its| its.realm().as_deref() != Some(realm))
        })
        .collect();
    request.headers.remove(HeaderName::ProxyAuthorization);
    for value in others {
        request.headers.push(HeaderName::ProxyAuthorization, &value);
    }
}
