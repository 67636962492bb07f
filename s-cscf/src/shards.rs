//! An S-CSCF in several engines of one node. Engine 0 owns the registrations and alone asks the
//! HSS; all have sessions and read the published registrations. What only the owner can say of a
//! request in another engine (the profile of a user without contacts, whether a user has proven
//! itself) is asked of it, and the request waits; which users are gone is told to all.

use std::sync::Arc;

use cscf_core::clause::own;
use cscf_core::ids::ShardId;
use cscf_core::registrar::Registration;
use cscf_core::role::{Action, ContextId, Env, Incoming, News};
use cscf_core::sip::{Request, Response, Uri};

use crate::restoration::{Waiting, profile_key};
use crate::{Scscf, ScscfActions};

/// A request that waits for the owner.
#[derive(Debug)]
pub(crate) struct Asked {
    incoming: Incoming,
    /// The Service-Route token of the caller, where it was to prove itself.
    token: Option<Box<str>>,
}

/// What the engines of an S-CSCF tell each other.
#[derive(Clone, Debug)]
enum Told {
    /// The owner: the set of the user of this request, if it has no contacts.
    Found(ContextId, Option<Arc<Registration>>),
    /// The owner: Service-Route tokens that are no longer good.
    Gone(Vec<Arc<str>>),
    /// The owner: the request, without the proof it had, or the answer to it.
    Judged(ContextId, Result<Box<Request>, Box<Response>>),
    /// A call: whether the user with this token has proven the request.
    Prove(Box<Incoming>, Box<str>),
    /// A call: the profile of a user without contacts.
    Wanted {
        /// The request.
        context: ContextId,
        /// The key of the user's identity.
        key: Box<str>,
        /// The wildcarded identity whose profile it wants.
        wildcard: Option<String>,
    },
}

fn tell(to: Option<ShardId>, what: Told) -> Action<crate::Timer> {
    Action::Tell { to, news: News::new(what) }
}

impl Scscf {
    /// Tells the sessions in other engines which users are gone.
    pub(crate) fn tell_gone(&self, gone: &[Arc<str>], out: &mut ScscfActions) {
        if !self.owner.config.shard.is_alone() {
            out.push(tell(None, Told::Gone(gone.to_vec())));
        }
    }

    /// Asks the owner whether a user has proven its request, if this engine is another one and
    /// requests are to be proven; says whether the request waits.
    pub(crate) fn asks_for_proof(
        &mut self,
        env: &mut Env<'_>,
        incoming: &mut Incoming,
        token: &str,
        out: &mut ScscfActions,
    ) -> bool {
        let config = &self.owner.config;
        if config.shard.is_owner() || !config.proxy_authentication {
            return false;
        }
        env.note(own("shards"), || "the owner of the registrations judges the proof".to_owned());
        let question = Told::Prove(Box::new(incoming.clone()), token.into());
        let asked = Asked { incoming: incoming.clone(), token: Some(token.into()) };
        self.asked.insert(incoming.context, asked);
        out.push(tell(Some(ShardId(0)), question));
        true
    }

    /// Asks the owner for the profile of a user without contacts; the request waits.
    pub(crate) fn ask_for_profile(
        &mut self,
        env: &mut Env<'_>,
        key: Box<str>,
        incoming: Incoming,
        out: &mut ScscfActions,
    ) {
        env.note(own("shards"), || format!("asks the owner of the registrations for {key}"));
        let (context, wildcard) = (incoming.context, profile_key(&incoming.request));
        out.push(tell(Some(ShardId(0)), Told::Wanted { context, key, wildcard }));
        self.asked.insert(context, Asked { incoming, token: None });
    }

    /// The answer of the owner to an engine that wants a profile.
    pub(crate) fn found(
        to: ShardId,
        context: ContextId,
        set: Option<Arc<Registration>>,
    ) -> Action<crate::Timer> {
        tell(Some(to), Told::Found(context, set))
    }

    /// Takes what another engine tells.
    pub(crate) fn told(
        &mut self,
        env: &mut Env<'_>,
        from: ShardId,
        news: &News,
        out: &mut ScscfActions,
    ) {
        match news.read::<Told>() {
            Some(Told::Found(context, set)) => {
                if let Some(Asked { incoming, .. }) = self.asked.remove(context) {
                    let route = incoming.own_route.as_deref();
                    let route = route.and_then(|text| Uri::parse(text).ok());
                    if route.is_some_and(|uri| uri.params().has("orig")) {
                        self.sessions.originating(env, incoming, (None, set.clone()), out);
                    } else {
                        self.sessions.terminating(env, incoming, set.clone(), out);
                    }
                }
            }
            Some(Told::Gone(tokens)) => {
                for token in tokens {
                    self.sessions.user_gone(env, token, out);
                }
            }
            Some(Told::Judged(context, judged)) => {
                let Some(Asked { mut incoming, token }) = self.asked.remove(context) else {
                    return;
                };
                match judged {
                    Ok(request) => {
                        incoming.request = (**request).clone();
                        self.sessions.originating(env, incoming, (token.as_deref(), None), out);
                    }
                    Err(response) => {
                        out.push(Action::Reply { context: *context, response: response.clone() });
                    }
                }
            }
            Some(Told::Prove(incoming, token)) => {
                let (mut incoming, context) = ((**incoming).clone(), incoming.context);
                let mut answers = Vec::new();
                let judged = match self.owner.is_proven(env, &mut incoming, token, &mut answers) {
                    true => Some(Ok(Box::new(incoming.request))),
                    false => answers.into_iter().find_map(|action| match action {
                        Action::Reply { response, .. } => Some(Err(response)),
                        _ => None,
                    }),
                };
                let judged = judged.map(|judged| tell(Some(from), Told::Judged(context, judged)));
                out.extend(judged);
            }
            Some(Told::Wanted { context, key, wildcard }) => {
                if let Some(set) = self.owner.unregistered.get(key) {
                    return out.push(Self::found(from, *context, Some(set)));
                }
                let (key, wildcard) = (key.clone(), wildcard.clone());
                let waiting = Waiting::Elsewhere(from, *context, key.clone(), wildcard);
                self.owner.ask_restoration(env, (None, &key), waiting, out);
            }
            None => {}
        }
    }
}
