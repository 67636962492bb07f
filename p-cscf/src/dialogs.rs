//! Dialogs through this node, one record per side (a call between two UEs of one P-CSCF has two):
//! whose it is, its route set, its charging identifier, and when it ends. The number of a record is
//! the token in Record-Route.

use std::collections::{BTreeMap, BTreeSet};

use cscf_core::cx::AskId;
use cscf_core::dialog::Between;
use cscf_core::policy::MediaWish;
use cscf_core::role::{ContextId, Side};
use cscf_core::sip::{Method, Request, Response, Sdp};
use cscf_core::time::Instant;
use cscf_core::transport::Flow;

use crate::release::Release;
use crate::tokens::{DialogId, UeId};

/// Early and confirmed dialogs that may stem from one request.
pub(crate) const FORKS_MAX: usize = 16;

/// Who sent the request that made the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// The UE of this side.
    FromUe,
    /// The network.
    ToUe,
}

/// What the dialog is used for; decides when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// A session: over with BYE.
    Session,
    /// A subscription (SUBSCRIBE or REFER): over with the last NOTIFY or its expiry.
    Subscription,
}

impl Usage {
    /// The usage a method outside a dialog makes; `None` for methods without dialog.
    #[must_use]
    pub(crate) const fn of(method: &Method) -> Option<Self> {
        match method {
            Method::Invite => Some(Self::Session),
            Method::Refer | Method::Subscribe => Some(Self::Subscription),
            _ => None,
        }
    }
}

/// One dialog that the To tag of a response made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fork {
    /// The To tag.
    pub(crate) to_tag: Box<str>,
    /// Whether a 2xx confirmed it.
    pub(crate) confirmed: bool,
    /// Where requests of the UE go, behind our own entry.
    pub(crate) route_set: Vec<Box<str>>,
}

/// An INVITE without final answer: what is needed to answer it from here.
#[derive(Clone, Debug)]
pub(crate) struct PendingInvite {
    /// Its context.
    pub(crate) context: ContextId,
    /// Its answer but for the status; the message itself is not kept.
    pub(crate) answer: Response,
    /// Its offer, where only some media are permitted.
    pub(crate) offer: Option<Sdp>,
}

/// A dialog-making request and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    /// The UE of this side.
    pub(crate) ue: UeId,
    /// The UE's flow when it began; used when the UE's record is gone.
    pub(crate) flow: Flow,
    /// Timer values towards the UE.
    pub(crate) side: Side,
    /// Who began.
    pub(crate) direction: Direction,
    /// What for.
    pub(crate) usage: Usage,
    /// The Call-ID.
    pub(crate) call_id: Box<str>,
    /// The From tag of the request that made it.
    pub(crate) caller_tag: Box<str>,
    /// The request that made it has failed; kept a while for what is on its way (PRACK).
    pub(crate) failed: bool,
    /// Whether more forks may still come: the request that made it is not over.
    pub(crate) open: bool,
    /// What responses made of it.
    pub(crate) forks: Vec<Fork>,
    /// The charging identifier of the dialog.
    pub(crate) icid: Box<str>,
    /// The inter-operator identifier the request came with.
    pub(crate) orig_ioi: Option<Box<str>>,
    /// Whom the caller called, from P-Called-Party-ID.
    pub(crate) called_party: Option<Box<str>>,
    /// The route set of a called UE, behind our own entry; known from the request.
    pub(crate) called_routes: Vec<Box<str>>,
    /// Both ends of a session, for the case that it has to be ended from here.
    pub(crate) between: Option<Box<Between>>,
    /// When it is forgotten unless something happens.
    pub(crate) expires_at: Instant,
    /// The INVITE that made it, while nothing final has gone back.
    pub(crate) invite: Option<Box<PendingInvite>>,
    /// The question that responses of this dialog wait for.
    pub(crate) asking: Option<AskId>,
    /// The media that have resources.
    pub(crate) granted: Option<Vec<MediaWish>>,
    /// How this node has released it: it is kept to answer for it.
    pub(crate) released: Option<Release>,
    /// It is an emergency call, which outlasts the registration of its UE.
    pub(crate) emergency: bool,
}

impl Dialog {
    /// Whether a 2xx confirmed any fork.
    #[must_use]
    pub(crate) fn is_confirmed(&self) -> bool {
        self.forks.iter().any(|fork| fork.confirmed)
    }

    /// Whether a request with this Call-ID and these tags belongs here. The tag of the other end
    /// may be new while no 2xx is there (a NOTIFY can overtake the response).
    #[must_use]
    pub(crate) fn holds(&self, call_id: &str, from_tag: &str, to_tag: &str) -> bool {
        if *self.call_id != *call_id {
            return false;
        }
        let other = if *self.caller_tag == *from_tag {
            to_tag
        } else if *self.caller_tag == *to_tag {
            from_tag
        } else {
            return false;
        };
        !self.is_confirmed() || self.fork(other).is_some()
    }

    /// The fork with this tag.
    #[must_use]
    pub(crate) fn fork(&self, tag: &str) -> Option<&Fork> {
        self.forks.iter().find(|fork| *fork.to_tag == *tag)
    }

    /// Takes what a response says: the fork, and for a calling UE its route set. A repeated
    /// response changes nothing.
    pub(crate) fn learn(
        &mut self,
        to_tag: &str,
        confirmed: bool,
        routes: impl FnOnce() -> Vec<Box<str>>,
    ) {
        if let Some(fork) = self.forks.iter_mut().find(|fork| *fork.to_tag == *to_tag) {
            // The route set may only be taken anew when the 2xx confirms (RFC 3261 §13.2.2.4).
            if confirmed && !fork.confirmed {
                fork.confirmed = true;
                fork.route_set = routes();
            }
        } else if self.forks.len() < FORKS_MAX {
            self.forks.push(Fork { to_tag: to_tag.into(), confirmed, route_set: routes() });
        }
    }

    /// The route of a request of the UE in this dialog, behind our own entry; `None` while unknown.
    #[must_use]
    pub(crate) fn ue_routes(&self, from_tag: &str, to_tag: &str) -> Option<&[Box<str>]> {
        match self.direction {
            Direction::ToUe => Some(&self.called_routes),
            Direction::FromUe => {
                let fork = self.fork(to_tag).or_else(|| self.fork(from_tag))?;
                Some(&fork.route_set)
            }
        }
    }
}

/// All dialogs with their indexes.
#[derive(Debug, Default)]
pub(crate) struct Dialogs {
    /// Boxed: a tree that is filled in order has room for twice as many.
    dialogs: BTreeMap<DialogId, Box<Dialog>>,
    by_call: BTreeSet<(UeId, Box<str>, DialogId)>,
}

impl Dialogs {
    /// All records in the order they were made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Dialog> {
        self.dialogs.values().map(|dialog| &**dialog)
    }

    /// The number of records.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.dialogs.len()
    }

    /// Whether there is no dialog.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.dialogs.is_empty()
    }

    /// A record.
    #[must_use]
    pub(crate) fn get(&self, id: DialogId) -> Option<&Dialog> {
        self.dialogs.get(&id).map(|dialog| &**dialog)
    }

    /// A record, to change what no index holds (UE and Call-ID stay).
    pub(crate) fn get_mut(&mut self, id: DialogId) -> Option<&mut Dialog> {
        self.dialogs.get_mut(&id).map(|dialog| &mut **dialog)
    }

    /// Notes what a request inside a session says of its ends.
    pub(crate) fn heard(&mut self, id: DialogId, request: &Request) {
        let between = self.dialogs.get_mut(&id).and_then(|it| it.between.as_mut());
        if let Some(between) = between {
            let _ = between.on_request(request);
        }
    }

    /// Adds a dialog.
    pub(crate) fn insert(&mut self, id: DialogId, dialog: Dialog) {
        self.by_call.insert((dialog.ue, dialog.call_id.clone(), id));
        self.dialogs.insert(id, Box::new(dialog));
    }

    /// Removes a dialog.
    pub(crate) fn remove(&mut self, id: DialogId) -> Option<Dialog> {
        let dialog = self.dialogs.remove(&id)?;
        self.by_call.remove(&(dialog.ue, dialog.call_id.clone(), id));
        Some(*dialog)
    }

    /// The dialog of this UE that a request without our token belongs to.
    #[must_use]
    pub(crate) fn of_ue(
        &self,
        ue: UeId,
        call_id: &str,
        from_tag: &str,
        to_tag: &str,
    ) -> Option<DialogId> {
        let call: Box<str> = call_id.into();
        self.by_call
            .range((ue, call.clone(), DialogId(0))..)
            .take_while(|(owner, other, _)| *owner == ue && *other == call)
            .map(|(_, _, id)| *id)
            .find(|id| self.get(*id).is_some_and(|it| it.holds(call_id, from_tag, to_tag)))
    }

    /// Gives the dialogs of a UE's old record to its new one.
    pub(crate) fn move_to(&mut self, old: UeId, new: UeId, flow: Flow, side: Side) {
        for id in self.all_of(old) {
            let Some(mut dialog) = self.remove(id) else { continue };
            (dialog.ue, dialog.flow, dialog.side) = (new, flow, side);
            self.insert(id, dialog);
        }
    }

    /// The dialogs of one UE.
    #[must_use]
    pub(crate) fn all_of(&self, ue: UeId) -> Vec<DialogId> {
        self.by_call
            .range((ue, "".into(), DialogId(0))..)
            .take_while(|(owner, _, _)| *owner == ue)
            .map(|(_, _, id)| *id)
            .collect()
    }
}
