//! A P-CSCF in several engines of one node. Engine 0 owns the registrations with their flows and
//! security associations; all have calls. Each of the others has a copy of the records, which it
//! only reads: the owner tells every change, in order, before whatever it hands over after it.
//! What a call finds out about a UE (it is heard of by a new connection, its flow fails) is told to
//! the owner.

use std::collections::BTreeSet;
use std::sync::Arc;

use cscf_core::ids::{Shard, ShardId};
use cscf_core::role::{Action, Actions, Env, News, Side};
use cscf_core::transport::{Flow, SaId};

use crate::associations::Record;
use crate::bindings::Ue;
use crate::tokens::{Token, UeId};
use crate::{Pcscf, Timer};

/// Keys of records that have changed; kept only where somebody is to hear of it.
#[derive(Debug)]
pub(crate) struct Changes<K> {
    list: Option<BTreeSet<K>>,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self { list: None }
    }
}

impl<K: Ord> Changes<K> {
    /// Nothing has changed yet.
    pub(crate) const fn followed() -> Self {
        Self { list: Some(BTreeSet::new()) }
    }

    /// This record has changed.
    pub(crate) fn note(&mut self, key: K) {
        if let Some(list) = &mut self.list {
            list.insert(key);
        }
    }

    /// What has changed since this was last asked.
    pub(crate) fn take(&mut self) -> BTreeSet<K> {
        self.list.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// What the engines of a P-CSCF tell each other.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// The owner: security associations as they are now; none if they are gone.
    Association(SaId, Option<Arc<Record>>),
    /// The owner: the network has ended the registrations of a UE, its sessions end soon.
    Deregistered(UeId),
    /// A call: a UE was heard of by this flow.
    Heard(UeId, Flow),
    /// A call: this flow of a UE has failed.
    Lost(UeId, Flow),
    /// The owner: the dialogs of a UE go on with another record.
    Moved {
        /// The record of before.
        old: UeId,
        /// The one of now.
        new: UeId,
        /// Its flow.
        flow: Flow,
        /// Its timer values.
        side: Side,
    },
    /// The owner: the record of a UE as it is now; none if it is gone.
    Ue(UeId, Option<Arc<Ue>>),
}

impl Pcscf {
    /// The part of a P-CSCF that works in this engine of its node.
    #[must_use]
    pub fn in_shard(mut self, shard: Shard) -> Self {
        self.shard = shard;
        if !shard.is_alone() && shard.is_owner() {
            self.bindings.follow_changes();
            self.associations.follow_changes();
        }
        self
    }

    /// The engine that a URI with this user part leads to: that of the dialog or subscription; the
    /// UEs are spread over all.
    pub(crate) fn home_of(&self, env: &Env<'_>, token: Token) -> ShardId {
        match token {
            Token::Ue(id) if !self.shard.is_alone() => self.shard.home_of(id.0),
            _ => env.ids.shard(),
        }
    }

    /// Has the owner hear that a UE was heard of.
    pub(crate) fn tell_heard(&mut self, id: UeId, flow: &Flow) {
        self.news.push((Some(ShardId(0)), Told::Heard(id, *flow)));
    }

    /// Tells the other engines what has changed.
    pub(crate) fn tell_others(&mut self, out: &mut Actions<Timer>) {
        if self.shard.is_alone() {
            return self.news.clear();
        }
        let mut news = std::mem::take(&mut self.news);
        for id in self.associations.take_changes() {
            let record = self.associations.get(id).cloned().map(Arc::new);
            news.push((None, Told::Association(id, record)));
        }
        for id in self.bindings.take_changes() {
            let ue = self.bindings.get(id).cloned().map(Arc::new);
            news.push((None, Told::Ue(id, ue)));
        }
        out.extend(news.into_iter().map(|(to, it)| Action::Tell { to, news: News::new(it) }));
    }

    /// Takes what another engine tells.
    pub(crate) fn told(&mut self, env: &mut Env<'_>, news: &News, out: &mut Actions<Timer>) {
        let Some(told) = news.read::<Told>() else { return };
        match told {
            Told::Association(id, record) => self.associations.copy(*id, record.as_deref()),
            Told::Deregistered(ue) => self.release_soon(env, *ue, out),
            Told::Heard(id, flow) => {
                self.came_by(env, flow, out);
                self.heard_from(*id, *flow, out);
            }
            Told::Lost(id, flow) => {
                let same = self.bindings.get(*id).is_some_and(|ue| ue.flow == *flow);
                if let Some(ue) = self.bindings.get_mut(*id).filter(|_| same) {
                    ue.flow_lost = ue.flow.transport.is_reliable() && ue.flow.sa.is_none();
                }
            }
            Told::Moved { old, new, flow, side } => {
                self.dialogs.move_to(*old, *new, *flow, *side);
            }
            Told::Ue(id, ue) => {
                self.bindings.copy(*id, ue.as_deref());
                if ue.is_none() {
                    self.dialogs_end_soon(env, *id, out);
                }
            }
        }
    }
}
