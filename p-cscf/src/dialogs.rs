//! Dialogs through this node, one record per side (a call between two UEs of one P-CSCF has two):
//! whose it is, its route set, its charging identifier, and when it ends. The number of a record is
//! the token in Record-Route.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, SocketAddrV4};

use cscf_core::cx::AskId;
use cscf_core::dialog::{Between, Texts};
use cscf_core::ids::Seed;
use cscf_core::map::SeededState;
use cscf_core::policy::MediaWish;
use cscf_core::role::{ContextId, Side};
use cscf_core::sip::{Method, Request, Response, Sdp};
use cscf_core::time::Instant;
use cscf_core::transport::{Flow, Transport};

use crate::exchange::Call;
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
    /// Where requests of a calling UE go, behind our own entry.
    pub(crate) route_set: Texts,
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
    flow: KeptFlow,
    /// Timer values towards the UE.
    pub(crate) side: Side,
    /// Who began.
    pub(crate) direction: Direction,
    /// What for.
    pub(crate) usage: Usage,
    /// The request that made it has failed; kept a while for what is on its way (PRACK).
    pub(crate) failed: bool,
    /// Whether more forks may still come: the request that made it is not over.
    pub(crate) open: bool,
    /// What responses made of it, but for the one that `between` has.
    forks: Vec<Fork>,
    /// The callee that `between` has is a confirmed fork with the same route set.
    first_stands: bool,
    /// Both ends with Call-ID, tags and routes, for the case too that a session has to be ended
    /// from here; with words of ours.
    pub(crate) between: Between,
    /// When it is forgotten unless something happens.
    pub(crate) expires_at: Instant,
    /// The INVITE that made it, while nothing final has gone back.
    pub(crate) invite: Option<Box<PendingInvite>>,
    /// The question that responses of this dialog wait for.
    pub(crate) asking: Option<AskId>,
    /// The media that have resources, as a fingerprint.
    granted: Option<u64>,
    /// How this node has released it: it is kept to answer for it.
    pub(crate) released: Option<Box<Release>>,
    /// It is an emergency call, which outlasts the registration of its UE.
    pub(crate) emergency: bool,
}

/// The words that are kept with both ends, by place: the charging identifier of the dialog, the
/// inter-operator identifier the request came with, and whom the caller called, from
/// P-Called-Party-ID.
const ICID: u8 = 0;
const ORIG_IOI: u8 = 1;
const CALLED_PARTY: u8 = 2;

impl Dialog {
    /// What the exchange of this request makes, of the UE at this flow.
    #[must_use]
    pub(crate) fn new(
        request: &Request,
        call: &Call,
        usage: Usage,
        (flow, side): (Flow, Side),
        expires_at: Instant,
    ) -> Self {
        let words = [Some(&*call.icid), call.orig_ioi.as_deref(), call.called_party.as_deref()];
        Self {
            ue: call.ue,
            flow: KeptFlow::of(flow),
            side,
            direction: call.direction,
            usage,
            failed: false,
            open: true,
            forks: Vec::new(),
            first_stands: false,
            between: Between::of_request(request, &words),
            expires_at,
            invite: None,
            asking: None,
            granted: None,
            released: None,
            emergency: false,
        }
    }

    /// The UE's flow when it began.
    #[must_use]
    pub(crate) fn flow(&self) -> Flow {
        self.flow.get()
    }

    /// The charging identifier.
    #[must_use]
    pub(crate) fn icid(&self) -> &str {
        self.between.word(ICID).unwrap_or_default()
    }

    /// The inter-operator identifier the request came with.
    #[must_use]
    pub(crate) fn orig_ioi(&self) -> Option<&str> {
        self.between.word(ORIG_IOI)
    }

    /// Whom the caller called.
    #[must_use]
    pub(crate) fn called_party(&self) -> Option<&str> {
        self.between.word(CALLED_PARTY)
    }

    /// Whether a response made a fork that is not over.
    #[must_use]
    pub(crate) const fn has_forks(&self) -> bool {
        self.first_stands || !self.forks.is_empty()
    }

    /// Whether a 2xx confirmed any fork.
    #[must_use]
    pub(crate) fn is_confirmed(&self) -> bool {
        self.first_stands || self.forks.iter().any(|fork| fork.confirmed)
    }

    /// Whether a request with this Call-ID and these tags belongs here. The tag of the other end
    /// may be new while no 2xx is there (a NOTIFY can overtake the response).
    #[must_use]
    pub(crate) fn holds(&self, call_id: &str, from_tag: &str, to_tag: &str) -> bool {
        if self.between.call_id() != call_id {
            return false;
        }
        let caller = self.between.caller_tag();
        let other = if caller == from_tag {
            to_tag
        } else if caller == to_tag {
            from_tag
        } else {
            return false;
        };
        !self.is_confirmed() || self.is_first(other) || self.fork(other).is_some()
    }

    /// Whether this is the tag of the fork that `between` has.
    fn is_first(&self, tag: &str) -> bool {
        self.first_stands && self.between.callee_tag() == tag
    }

    /// Another fork with this tag.
    fn fork(&self, tag: &str) -> Option<&Fork> {
        self.forks.iter().find(|fork| *fork.to_tag == *tag)
    }

    /// Takes what a response says: the fork, and for a calling UE its route set, which `routes`
    /// reads. A repeated response changes nothing.
    pub(crate) fn learn(&mut self, to_tag: &str, confirmed: bool, routes: impl Fn() -> Texts) {
        if self.is_first(to_tag) {
            return;
        }
        if let Some(fork) = self.forks.iter_mut().find(|fork| *fork.to_tag == *to_tag) {
            // The route set may only be taken anew when the 2xx confirms (RFC 3261 §13.2.2.4).
            if confirmed && !fork.confirmed {
                fork.confirmed = true;
                fork.route_set = routes();
            }
        } else if self.forks.len() + usize::from(self.first_stands) < FORKS_MAX {
            // Mostly it is the only one.
            self.forks.reserve_exact(1);
            self.forks.push(Fork { to_tag: to_tag.into(), confirmed, route_set: routes() });
        }
    }

    /// `between` has taken the 2xx that confirms a session: what that has is not kept twice.
    pub(crate) fn settle(&mut self) {
        if self.first_stands {
            return;
        }
        let (between, direction) = (&self.between, self.direction);
        let is_known = |fork: &Fork| {
            fork.confirmed
                && *fork.to_tag == *between.callee_tag()
                && (direction == Direction::ToUe
                    || fork.route_set.iter().flatten().eq(between.callee_routes()))
        };
        if let Some(place) = self.forks.iter().position(is_known) {
            self.forks.remove(place);
            self.forks.shrink_to_fit();
            self.first_stands = true;
        }
    }

    /// A fork is over.
    pub(crate) fn end_fork(&mut self, tag: Option<&str>) {
        let Some(tag) = tag else { return };
        if self.is_first(tag) {
            self.first_stands = false;
        }
        self.forks.retain(|fork| *fork.to_tag != *tag);
    }

    /// The route of a request of the UE in this dialog, behind our own entry; `None` while unknown.
    #[must_use]
    pub(crate) fn ue_routes(&self, from_tag: &str, to_tag: &str) -> Option<Vec<&str>> {
        if self.direction == Direction::ToUe {
            return Some(self.between.caller_routes().collect());
        }
        [to_tag, from_tag].into_iter().find_map(|tag| match self.is_first(tag) {
            true => Some(self.between.callee_routes().collect()),
            false => Some(self.fork(tag)?.route_set.iter().flatten().collect()),
        })
    }
}

/// A flow in little room.
#[derive(Clone, Debug)]
enum KeptFlow {
    /// By UDP and IPv4 without associations.
    Plain(SocketAddrV4, SocketAddrV4),
    /// Any other.
    Other(Box<Flow>),
}

impl KeptFlow {
    fn of(flow: Flow) -> Self {
        match flow {
            Flow {
                transport: Transport::Udp,
                local: SocketAddr::V4(local),
                remote: SocketAddr::V4(remote),
                conn: None,
                sa: None,
            } => Self::Plain(local, remote),
            _ => Self::Other(Box::new(flow)),
        }
    }

    fn get(&self) -> Flow {
        match self {
            Self::Plain(local, remote) => Flow {
                transport: Transport::Udp,
                local: (*local).into(),
                remote: (*remote).into(),
                conn: None,
                sa: None,
            },
            Self::Other(flow) => **flow,
        }
    }
}

/// All dialogs with their indexes.
#[derive(Debug)]
pub(crate) struct Dialogs {
    /// Makes the fingerprints.
    state: SeededState,
    /// Boxed: a tree that is filled in order has room for twice as many.
    dialogs: BTreeMap<DialogId, Box<Dialog>>,
    /// By fingerprints of Call-IDs; the records themselves tell the rest.
    by_call: BTreeSet<(UeId, u64, DialogId)>,
}

impl Dialogs {
    /// No dialog; `seed` is that of the node.
    pub(crate) fn new(seed: &Seed) -> Self {
        let state = SeededState::new(seed);
        Self { state, dialogs: BTreeMap::new(), by_call: BTreeSet::new() }
    }

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
        if let Some(dialog) = self.dialogs.get_mut(&id).filter(|it| it.usage == Usage::Session) {
            let _ = dialog.between.on_request(request);
        }
    }

    /// Adds a dialog.
    pub(crate) fn insert(&mut self, id: DialogId, dialog: Dialog) {
        self.by_call.insert((dialog.ue, self.state.fingerprint(dialog.between.call_id()), id));
        self.dialogs.insert(id, Box::new(dialog));
    }

    /// Removes a dialog.
    pub(crate) fn remove(&mut self, id: DialogId) -> Option<Dialog> {
        let dialog = self.dialogs.remove(&id)?;
        self.by_call.remove(&(dialog.ue, self.state.fingerprint(dialog.between.call_id()), id));
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
        let call = self.state.fingerprint(call_id);
        self.by_call
            .range((ue, call, DialogId(0))..=(ue, call, DialogId(u64::MAX)))
            .map(|(_, _, id)| *id)
            .find(|id| self.get(*id).is_some_and(|it| it.holds(call_id, from_tag, to_tag)))
    }

    /// Gives the dialogs of a UE's old record to its new one.
    pub(crate) fn move_to(&mut self, old: UeId, new: UeId, flow: Flow, side: Side) {
        for id in self.all_of(old) {
            let Some(mut dialog) = self.remove(id) else { continue };
            (dialog.ue, dialog.flow, dialog.side) = (new, KeptFlow::of(flow), side);
            self.insert(id, dialog);
        }
    }

    /// The dialogs of one UE, in the order of their Call-IDs.
    #[must_use]
    pub(crate) fn all_of(&self, ue: UeId) -> Vec<DialogId> {
        let range = (ue, 0, DialogId(0))..=(ue, u64::MAX, DialogId(u64::MAX));
        let mut all: Vec<DialogId> = self.by_call.range(range).map(|(_, _, id)| *id).collect();
        all.sort_by_key(|id| (self.get(*id).map(|dialog| dialog.between.call_id()), *id));
        all
    }

    /// Whether the media of a dialog that have resources are these; `None` without a dialog.
    #[must_use]
    pub(crate) fn has_granted(&self, id: DialogId, media: &[MediaWish]) -> Option<bool> {
        Some(self.get(id)?.granted == Some(self.state.fingerprint(media)))
    }

    /// These media of a dialog have resources.
    pub(crate) fn grant(&mut self, id: DialogId, media: &[MediaWish]) {
        if let Some(dialog) = self.dialogs.get_mut(&id) {
            dialog.granted = Some(self.state.fingerprint(media));
        }
    }

    /// No media of a dialog have resources any more; says whether any had.
    pub(crate) fn end_grant(&mut self, id: DialogId) -> bool {
        self.dialogs.get_mut(&id).is_some_and(|dialog| dialog.granted.take().is_some())
    }
}

#[cfg(test)]
mod tests {
    use cscf_core::sip::{Message, parse};

    use super::*;

    const UE: UeId = UeId(1);

    fn message(text: &str) -> Message {
        parse(&text.replace('\n', "\r\n").into_bytes().into()).expect("SIP")
    }

    fn began(direction: Direction) -> Dialog {
        let Message::Request(invite) = message(
            "INVITE sip:b@x SIP/2.0\nVia: SIP/2.0/UDP s;branch=z9hG4bK1\nRecord-Route: <sip:a;lr>\n\
             From: <sip:a@x>;tag=1\nTo: <sip:b@x>\nCall-ID: c\nCSeq: 7 INVITE\n\
             Contact: <sip:a@1>\n\n",
        ) else {
            panic!("a request")
        };
        let call = Call::new(UE, direction, "icid".into());
        let address: SocketAddr = "192.0.2.1:5060".parse().expect("an address");
        let flow = Flow {
            transport: Transport::Udp,
            local: address,
            remote: address,
            conn: None,
            sa: None,
        };
        Dialog::new(&invite, &call, Usage::Session, (flow, Side::Core), Instant::EPOCH)
    }

    /// A response of this callee by this route.
    fn hears(dialog: &mut Dialog, (tag, route): (&str, &str), confirmed: bool) {
        dialog.learn(tag, confirmed, || Texts::new(&[Some(route)]));
        if confirmed {
            let Message::Response(ok) = message(&format!(
                "SIP/2.0 200 OK\nVia: SIP/2.0/UDP s;branch=z9hG4bK1\nRecord-Route: {route}\n\
                 From: <sip:a@x>;tag=1\nTo: <sip:b@x>;tag={tag}\nCall-ID: c\nCSeq: 7 INVITE\n\
                 Contact: <sip:b@2>\n\n"
            )) else {
                panic!("a response")
            };
            dialog.between.confirm(&ok, |_| false);
            dialog.settle();
        }
    }

    #[test]
    fn each_fork_keeps_its_route_and_the_first_that_is_confirmed_is_kept_once() {
        let mut dialog = began(Direction::FromUe);
        let (one, two) = (("2", "<sip:r;lr>"), ("3", "<sip:q;lr>"));
        hears(&mut dialog, one, false);
        hears(&mut dialog, two, false);
        assert!(dialog.holds("c", "new", "1") && !dialog.is_confirmed());
        hears(&mut dialog, two, true);
        assert!(
            dialog.is_confirmed() && dialog.holds("c", "1", "3") && dialog.holds("c", "2", "1")
        );
        assert!(!dialog.holds("c", "new", "1") && !dialog.holds("d", "3", "1"));
        let tags: Vec<&str> = dialog.forks.iter().map(|fork| &*fork.to_tag).collect();
        assert_eq!(tags, ["2"], "the other is where both ends are");
        assert_eq!(dialog.ue_routes("1", "3").as_deref(), Some(&["<sip:q;lr>"][..]));
        assert_eq!(dialog.ue_routes("1", "2").as_deref(), Some(&["<sip:r;lr>"][..]));
        assert_eq!(dialog.ue_routes("1", "new"), None);
        hears(&mut dialog, one, true);
        hears(&mut dialog, two, true);
        assert_eq!(dialog.forks.len(), 1, "a second 2xx is a fork beside the first");
        dialog.end_fork(Some("3"));
        assert!(dialog.is_confirmed() && dialog.holds("c", "1", "2"));
        assert!(!dialog.holds("c", "1", "3"));
        dialog.end_fork(Some("2"));
        assert!(!dialog.has_forks());
    }

    #[test]
    fn the_dialogs_of_a_ue_are_found_by_call_and_by_ue() {
        let mut dialogs = Dialogs::new(&Seed::derive(1, "p1"));
        let mut called = began(Direction::ToUe);
        hears(&mut called, ("2", "<sip:r;lr>"), true);
        assert!(called.forks.is_empty() && called.has_forks());
        assert_eq!(called.ue_routes("2", "1").as_deref(), Some(&["<sip:a;lr>"][..]));
        dialogs.insert(DialogId(9), called);
        dialogs.insert(DialogId(8), began(Direction::FromUe));
        assert_eq!(dialogs.all_of(UE), [DialogId(8), DialogId(9)]);
        assert_eq!(dialogs.of_ue(UE, "c", "1", "9"), Some(DialogId(8)));
        assert_eq!(dialogs.of_ue(UE, "d", "1", "9"), None);
        assert_eq!(dialogs.of_ue(UeId(2), "c", "1", "9"), None);
        let audio = [MediaWish { kind: "audio".to_owned(), ..MediaWish::default() }];
        dialogs.grant(DialogId(9), &audio);
        assert_eq!(dialogs.has_granted(DialogId(9), &audio), Some(true));
        assert_eq!(dialogs.has_granted(DialogId(9), &[]), Some(false));
        assert!(dialogs.end_grant(DialogId(9)) && !dialogs.end_grant(DialogId(9)));
        assert!(dialogs.remove(DialogId(8)).is_some());
        assert_eq!(dialogs.all_of(UE), [DialogId(9)]);
        let flow = dialogs.get(DialogId(9)).map(Dialog::flow).expect("a dialog");
        let tcp = Flow { transport: Transport::Tcp, ..flow };
        dialogs.move_to(UE, UeId(2), tcp, Side::Core);
        assert_eq!(dialogs.get(DialogId(9)).map(Dialog::flow), Some(tcp));
        assert_eq!((dialogs.all_of(UE).len(), dialogs.all_of(UeId(2)).len()), (0, 1));
    }
}
