//! A session: one call from INVITE to BYE at one end, caller or callee, with all its early dialogs
//! (RFC 3261 §13–§15, RFC 3262, RFC 3264, RFC 3311, RFC 3312, RFC 4028).
//!
//! A pure state machine: messages, orders and time go in, [`Effect`]s come out. `C` is the owner's
//! name for a server transaction. The owner dresses what leaves with headers of its own.

mod again;
mod callee;
mod caller;
mod habits;
mod info;
mod leg;
mod offers;
mod release;
mod within;

pub use habits::Habits;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::accepted::Accepted;
use super::inspect::Abilities;
use super::media::MediaPlan;
use super::reliable::{ReliableSender, Resend};
use crate::clause::{Clause, rfc3261, rfc4028};
use crate::dialog::{DialogId, DialogSide, SessionTimer, TimerPolicy};
use crate::ids::Ids;
use crate::sip::{HeaderName, Method, Request, Response};
use crate::time::{Duration, Instant};
use crate::trace::Note;
use leg::Leg;

/// A request of the session's own; unique in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u16);

/// When the resources of a call are there (RFC 3312).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourcePolicy {
    /// So long after the media are known.
    After(Duration),
    /// Never: so long after the media are known the reservation fails.
    Fails(Duration),
    /// Before the call.
    Reserved,
}

impl ResourcePolicy {
    /// How long after the media are known something happens.
    const fn wait(self) -> Option<Duration> {
        match self {
            Self::After(wait) | Self::Fails(wait) => Some(wait),
            Self::Reserved => None,
        }
    }
}

/// How an end behaves in a session.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// T1 for what the user agent repeats itself.
    pub t1: Duration,
    /// T2 likewise.
    pub t2: Duration,
    /// The value of Contact.
    pub contact: String,
    /// What the user agent can.
    pub abilities: Abilities<'static>,
    /// Whether provisional responses may be reliable.
    pub reliable: bool,
    /// Whether preconditions are used.
    pub preconditions: bool,
    /// When resources are there.
    pub resources: ResourcePolicy,
    /// Session timers.
    pub timer: TimerPolicy,
    /// The media.
    pub media: MediaPlan,
    /// A mistake for tests: no ACK to a 2xx.
    pub skip_ack: bool,
    /// A mistake for tests: no PRACK.
    pub skip_prack: bool,
    /// What else differs from user to user.
    pub habits: Habits,
}

/// What a session wants done, in order.
#[derive(Clone, Debug)]
pub enum Effect<C> {
    /// Send this ACK: no transaction.
    Ack(Box<Request>),
    /// A request in the dialog that is not about the session (REFER, NOTIFY …): the owner answers
    /// it. Its CSeq was checked.
    Asked(C, Box<Request>),
    /// Cancel the INVITE with this number, for [`Session::cancel_reason`].
    Cancel(RequestId),
    /// Tell the user.
    Event(SessionEvent),
    /// Tell why.
    Note(Note),
    /// Send this request in a client transaction; its responses come back with the number.
    Request(RequestId, Box<Request>),
    /// Answer a server transaction (a 1xx or 2xx to INVITE also more than once).
    Respond(C, Box<Response>),
}

/// What a user notices.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// The final response to a request of [`Session::ask`].
    Answered(RequestId, Box<Response>),
    /// The INVITE was challenged; the owner may call [`Session::invite_again`].
    Challenged(Box<Response>),
    /// Whether media of the network may be played before the answer (RFC 5009 §8).
    EarlyMedia(bool),
    /// The session is over; why, in a word or two.
    Ended(&'static str),
    /// The call is up: the 2xx is acknowledged.
    Established,
    /// The call did not come about: the final response.
    Failed(Box<Response>),
    /// Our hold was accepted.
    Held,
    /// The peer put us on hold, or took us from it.
    HeldByPeer(bool),
    /// INFO came; it was answered with 200.
    Info(Box<Request>),
    /// INFO of ours was answered.
    InfoAnswered(u16),
    /// INFO of ours was not sent: the peer takes no such package (RFC 6086 §4.2.1).
    InfoUnwanted,
    /// A 183 came.
    Progress,
    /// The call was redirected: calls this URI now.
    Redirected(String),
    /// A change of the session was refused; the session stays as it was.
    Refused(u16),
    /// Our hold was taken back.
    Resumed,
    /// A 180 came (caller), or we told the caller that it rings (callee).
    Ringing,
    /// Video came to the session, or left it.
    Video(bool),
}

/// One turn of the machine: time, chance, and the list to fill.
#[derive(Debug)]
pub struct Turn<'a, C> {
    /// The time of the event.
    pub now: Instant,
    /// Tokens.
    pub ids: &'a mut Ids,
    /// Whether notes that refuse nothing have a reader.
    pub tracing: bool,
    /// What is wanted.
    pub out: &'a mut Vec<Effect<C>>,
}

impl<C> Turn<'_, C> {
    pub(super) fn note(&mut self, clause: Clause, text: impl FnOnce() -> String) {
        if self.tracing {
            self.out.push(Effect::Note(Note::new(clause, text(), false)));
        }
    }

    pub(super) fn refuse(&mut self, clause: Clause, text: impl FnOnce() -> String) {
        self.out.push(Effect::Note(Note::new(clause, text(), true)));
    }

    pub(super) fn event(&mut self, event: SessionEvent) {
        self.out.push(Effect::Event(event));
    }

    pub(super) fn respond(&mut self, context: C, response: Response) {
        self.out.push(Effect::Respond(context, Box::new(response)));
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionPhase {
    /// Caller: no final response yet.
    Calling,
    /// BYE is out.
    Ending,
    /// Callee: not answered yet.
    Incoming,
    /// Over; kept a while for late messages.
    Over,
    /// Confirmed by a 2xx.
    Talking,
}

/// A request of our own that waits for its answer.
#[derive(Clone, Debug)]
struct Sent {
    what: What,
    /// The dialog, but for the first INVITE.
    dialog: Option<DialogId>,
    /// For ACK: the CSeq number.
    cseq: u32,
    /// A 2xx came; kept because it may come again.
    answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Bye,
    Info,
    Invite,
    /// A request of the owner's.
    Other,
    Prack,
    Reinvite,
    Update,
}

/// An INVITE of the peer that waits for our final response or whose 2xx waits for its ACK.
#[derive(Clone, Debug)]
struct PeerInvite<C> {
    context: C,
    request: Request,
    accepted: Option<Accepted>,
}

/// What is to be tried again after glare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// UPDATE with an offer.
    Offer,
    Reinvite,
    Update,
}

/// What the callee's user wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wishes {
    ring: bool,
    answer: bool,
    /// Why it wants to end the call as soon as it may.
    bye: Option<&'static str>,
}

/// One call at one end.
#[derive(Clone, Debug)]
pub struct Session<C> {
    settings: SessionSettings,
    side: DialogSide,
    phase: SessionPhase,
    /// Our own first INVITE (caller).
    invite: Option<(RequestId, Request)>,
    cancelled: bool,
    /// The Reason of our CANCEL.
    cancel_reason: Option<&'static str>,
    challenged: bool,
    /// How often the call was redirected.
    redirected: u8,
    /// The network may play something before the answer.
    early_media: bool,
    /// The offer was lowered to what a 488 allows.
    lowered: bool,
    legs: Vec<Leg>,
    sent: BTreeMap<RequestId, Sent>,
    next: u16,
    /// The peer's INVITE or re-INVITE in progress.
    peer: Option<PeerInvite<C>>,
    sender: Option<ReliableSender>,
    wishes: Wishes,
    alerting: bool,
    established: bool,
    timer: Option<SessionTimer>,
    timer_value: Option<String>,
    resources_at: Option<Instant>,
    /// When a callee that rings says so again.
    ring_again_at: Option<Instant>,
    retry: Option<(Instant, Retry)>,
    over_at: Option<Instant>,
}

impl<C: Copy> Session<C> {
    fn empty(settings: SessionSettings, side: DialogSide, phase: SessionPhase) -> Self {
        Self {
            settings,
            side,
            phase,
            invite: None,
            cancelled: false,
            cancel_reason: None,
            challenged: false,
            redirected: 0,
            early_media: false,
            lowered: false,
            legs: Vec::new(),
            sent: BTreeMap::new(),
            next: 0,
            peer: None,
            sender: None,
            wishes: Wishes::default(),
            alerting: false,
            established: false,
            timer: None,
            timer_value: None,
            resources_at: None,
            ring_again_at: None,
            retry: None,
            over_at: None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn phase(&self) -> SessionPhase {
        self.phase
    }

    /// Whether it may be forgotten.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self.phase, SessionPhase::Over) && self.over_at.is_none()
    }

    /// The Reason of our CANCEL, where it has one (RFC 3326).
    #[must_use]
    pub const fn cancel_reason(&self) -> Option<&'static str> {
        self.cancel_reason
    }

    /// Whether a request belongs to one of its dialogs.
    #[must_use]
    pub fn owns(&self, id: &DialogId) -> bool {
        self.legs.iter().any(|leg| leg.dialog.id == *id)
    }

    /// The server transaction of the INVITE that is not answered finally yet.
    #[must_use]
    pub fn pending_context(&self) -> Option<C> {
        let peer = self.peer.as_ref()?;
        peer.accepted.is_none().then_some(peer.context)
    }

    /// The next time [`Session::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let accepted = self.peer.as_ref().and_then(|peer| peer.accepted.as_ref());
        [
            self.sender.as_ref().and_then(ReliableSender::poll_timeout),
            accepted.map(Accepted::poll_timeout),
            self.resources_at,
            self.ring_again_at,
            self.retry.map(|(at, _)| at),
            self.timer.map(|timer| timer.due_at),
            self.over_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_, C>) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= turn.now);
        if due(self.over_at) {
            self.over_at = None;
            return;
        }
        if due(self.sender.as_ref().and_then(ReliableSender::poll_timeout)) {
            self.on_prack_missing(turn);
        }
        if self.peer.as_ref().is_some_and(|peer| peer.accepted.is_some()) {
            self.on_ack_missing(turn);
        }
        if self.resources_at.is_some_and(|at| at <= turn.now) {
            self.resources_at = None;
            self.on_resources(turn);
        }
        if self.ring_again_at.is_some_and(|at| at <= turn.now) {
            self.ring_again_at = None;
            self.ring_on(turn);
        }
        if let Some((at, retry)) = self.retry
            && at <= turn.now
        {
            self.retry = None;
            self.try_again(turn, retry);
        }
        if self.timer.is_some_and(|timer| timer.due_at <= turn.now) {
            self.on_session_timer(turn);
        }
    }

    fn on_ack_missing(&mut self, turn: &mut Turn<'_, C>) {
        let Some(peer) = &mut self.peer else { return };
        let Some(accepted) = &mut peer.accepted else { return };
        match accepted.handle_timeout(turn.now) {
            Resend::Nothing => {}
            Resend::Now(response) => turn.respond(peer.context, response),
            Resend::GiveUp => {
                turn.refuse(rfc3261("13.3.1.4"), || {
                    "no ACK for the 2xx within 64*T1: ends the session".to_owned()
                });
                self.peer = None;
                self.bye(turn, "no ACK");
            }
        }
    }

    fn on_session_timer(&mut self, turn: &mut Turn<'_, C>) {
        let Some(timer) = self.timer.take() else { return };
        if self.phase != SessionPhase::Talking {
            return;
        }
        if timer.ours {
            turn.note(rfc4028("7.4"), || "half the session interval is over: refreshes".into());
            // Should the refresh fail, the session ends in time all the same.
            let left = timer.interval / 2;
            self.timer = Some(SessionTimer {
                ours: false,
                due_at: turn.now + crate::dialog::due(left, false),
                ..timer
            });
            self.timer_value = Some(timer.refresh_value());
            self.refresh(turn);
        } else {
            turn.refuse(rfc4028("10"), || "the peer did not refresh in time: BYE".to_owned());
            self.bye(turn, "session expired");
        }
    }

    /// The session is over for the user; late messages are still answered for 64*T1.
    fn end(&mut self, turn: &mut Turn<'_, C>, event: Option<SessionEvent>) {
        if self.phase == SessionPhase::Over {
            return;
        }
        self.phase = SessionPhase::Over;
        self.over_at = Some(turn.now + self.settings.t1 * 64);
        self.sender = None;
        self.resources_at = None;
        self.ring_again_at = None;
        self.retry = None;
        self.timer = None;
        // An INVITE that is proceeding has no time-out: whoever ends the dialog gives it up.
        let open = self.sent.iter().filter(|(_, it)| it.what == What::Reinvite && !it.answered);
        turn.out.extend(open.map(|(id, _)| Effect::Cancel(*id)));
        if let Some(event) = event {
            turn.event(event);
        }
    }

    fn number(&mut self) -> RequestId {
        self.next = self.next.wrapping_add(1);
        RequestId(self.next)
    }

    /// Sends a request inside the dialog of a leg.
    fn send(&mut self, turn: &mut Turn<'_, C>, what: What, dialog: &DialogId, request: Request) {
        self.send_numbered(turn, what, dialog, request);
    }

    fn send_numbered(
        &mut self,
        turn: &mut Turn<'_, C>,
        what: What,
        dialog: &DialogId,
        mut request: Request,
    ) -> RequestId {
        let id = self.number();
        if self.settings.habits.old_cseq && matches!(what, What::Info | What::Reinvite) {
            let old = format!("1 {}", request.method);
            request.headers.set(HeaderName::CSeq, &old);
        }
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        self.sent.insert(id, Sent { what, dialog: Some(dialog.clone()), cseq, answered: false });
        turn.out.push(Effect::Request(id, Box::new(request)));
        id
    }

    /// Sends a request of the owner's inside the dialog of the call, e.g. REFER; `dress` completes
    /// it. Its final response comes as [`SessionEvent::Answered`]. `None` where the call is not up.
    pub fn ask(
        &mut self,
        turn: &mut Turn<'_, C>,
        method: Method,
        dress: impl FnOnce(&mut Request),
    ) -> Option<RequestId> {
        if !matches!(self.phase, SessionPhase::Talking | SessionPhase::Incoming) {
            return None;
        }
        let leg = self.talking()?;
        let mut request = leg.dialog.request(method);
        let id = leg.dialog.id.clone();
        dress(&mut request);
        Some(self.send_numbered(turn, What::Other, &id, request))
    }

    fn is_pending(&self, what: What) -> bool {
        self.sent.values().any(|sent| sent.what == what && !sent.answered)
    }

    fn leg_mut(&mut self, id: &DialogId) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.dialog.id == *id)
    }

    /// The dialog of the call, as Replaces and Target-Dialog of another name it: Call-ID, our tag
    /// and the peer's.
    #[must_use]
    pub fn dialog_id(&self) -> Option<&DialogId> {
        self.legs.first().map(|leg| &leg.dialog.id)
    }

    /// The media of the call.
    #[must_use]
    pub fn media(&self) -> Option<&super::media::Media> {
        self.legs.first().map(|leg| &leg.media)
    }

    /// Whether we made the call.
    #[must_use]
    pub const fn is_caller(&self) -> bool {
        matches!(self.side, DialogSide::Caller)
    }

    /// The dialog of the call: the only one after the 2xx.
    fn talking(&mut self) -> Option<&mut Leg> {
        self.legs.first_mut()
    }

    /// Allow, Supported and Contact of requests and responses that make or refresh a dialog.
    fn dress(&self, headers: &mut crate::sip::Headers, preconditions: bool) {
        headers.set(HeaderName::Contact, &self.settings.contact);
        headers.set(HeaderName::Allow, &self.settings.abilities.allow());
        let mut supported = vec!["timer"];
        if preconditions {
            supported.insert(0, "precondition");
        }
        if self.settings.reliable {
            supported.insert(0, "100rel");
        }
        headers.set(HeaderName::Supported, &supported.join(","));
        if !self.settings.habits.packages.is_empty() {
            headers.set(HeaderName::RecvInfo, &self.settings.habits.packages.join(", "));
        }
    }
}

/// The SDP of a message, if it has any.
fn sdp<'a>(headers: &crate::sip::Headers, body: &'a [u8]) -> Option<&'a [u8]> {
    let kind = headers.get(HeaderName::ContentType).map_or("", super::inspect::media_type);
    (!body.is_empty() && kind.eq_ignore_ascii_case("application/sdp")).then_some(body)
}
