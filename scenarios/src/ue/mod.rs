//! The UE emulator: registers as a VoLTE UE does, calls and is called, and does by itself what the
//! protocol obliges it to. Decisions of a user come as [`UeCommand`] or from a [`Robot`].
//!
//! States told to the trace, for scenarios to wait for (`N` a status, `TEXT` as it came):
//!
//! - registration: `registered`, `re-registered`, `registration failed N`,
//!   `re-registration failed N`, `registration expired`, `deregistered`, `deregistered by network`,
//!   `challenged` (only when it does not answer), `registrations N` (that many contacts),
//!   `associations refused` (its own system does not make them hold),
//!   `fetch failed N`;
//! - its flow, where it is kept alive: `flow kept alive` (the first answer came), `flow failed`;
//! - its reg event: `subscribed`, `subscription failed N`, `subscription failed without NOTIFY`,
//!   `notified active`, `notified shortened`, `notified deactivated`, `notified probation`,
//!   `notified terminated`;
//! - events of others: `subscribed`, `subscription failed N`, `event active` (and other states);
//! - `no subscription` for an order that finds none;
//! - its presence: `published`, `publication removed`, `publication failed N`, `no publication`;
//! - outside calls: `message delivered`, `message failed N`, `message received TEXT`,
//!   `options answered N`, `request answered N`;
//! - short messages: `sms accepted` (2xx), `sms submitted` (RP-ACK), `sms rejected CAUSE`
//!   (RP-ERROR), `sms failed N` (SIP), `sms unanswered`, `sms received TEXT`, `sms delivered` and
//!   `sms undelivered STATUS` (status reports), `sms memory full`, `sms memory told`;
//! - calls: `call incoming`, `call progress` (183 came), `call ringing` (180 came, or left),
//!   `call established`, `call ended`, `call failed N`, `call held`, `call resumed`,
//!   `held by peer`, `resumed by peer`, `change refused N`, `video added`, `video dropped`,
//!   `early media played`, `early media not played`, `call redirected URI`; `info received`,
//!   `info answered N`, `info not sent`, `dtmf sent TEXT`, `dtmf received C`;
//!   `no call` for an order that finds none;
//! - emergencies: `emergency registration failed` (it took too long),
//!   `emergency call unanswered`, `no deregistration`;
//! - transfers: `transfer accepted`, `transfer refused N`, `transfer progress N`,
//!   `transfer done`, `transfer failed N`; `referred` for who is to call somebody.

mod alive;
mod answers;
mod arbitrary;
mod authentication;
mod calls;
mod codecs;
mod command;
mod config;
mod emergency;
mod headers;
mod mistakes;
mod orders;
mod over_tls;
mod publication;
mod recovery;
mod refer;
mod reginfo;
mod registration;
mod replaces;
mod requests;
mod security;
mod sms;
mod spoiled;
mod subscription;
mod tones;
mod watches;

pub use alive::KeepAlive;
pub use arbitrary::{Change, PARTS, SIZE_MAX};
pub use codecs::{CodecSet, Evs};
pub use command::{CallOptions, Dtmf, Transfer, UeCommand};
pub use config::{Credentials, Gruu, Protection, Refers, Resources, Robot, UeConfig};
pub use emergency::EmergencyTimers;
pub use headers::dialled;
pub use mistakes::Mistakes;
pub use registration::Phase;

use std::collections::BTreeMap;

use cscf_core::role::{
    Actions, Cause, ContextId, Env, Incoming, OwnAnswered, OwnTag, RequestKind, Role, Side,
};
use cscf_core::sip::{Message, Method, Request, Uri};
use cscf_core::transport::{Flow, FlowEvent, SaId};
use cscf_core::ua::RequestId;

use authentication::Authenticator;
use calls::Call;
use emergency::Emergency;
use publication::Publication;
use recovery::Recovery;
use refer::Transfers;
use registration::Registration;
use requests::Pending;
use security::{Security, path_of};
use sms::Sms;
use subscription::Subscription;
use watches::Watch;

/// The timers of a UE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UeTimer {
    /// The end of a set of security associations.
    Associations,
    /// The next deadline of a call.
    Call(u16),
    /// emerg-request: the first answer to an emergency call is overdue.
    EmergencyCall,
    /// emerg-reg: an emergency registration is overdue.
    EmergencyRegistration,
    /// Time for a keep-alive.
    KeepAlive,
    /// Timer N: a NOTIFY of our subscription is overdue.
    Notify,
    /// Time to register, first or again.
    Register,
    /// TR1M: the service centre has not answered a short message.
    Sms,
    /// A robot takes a call.
    Robot(u16),
    /// Time to refresh the subscription to the registration state.
    Subscription,
}

/// A request of our own, packed into an [`OwnTag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Call(u16, RequestId),
    Plain(u32),
    Publish(u32),
    Register(u32),
    Subscribe(u32),
    Watch(u32),
}

impl Own {
    const fn tag(self) -> OwnTag {
        let (kind, number) = match self {
            Self::Plain(number) => (1_u64, number),
            Self::Register(number) => (2, number),
            Self::Subscribe(number) => (3, number),
            Self::Watch(number) => (5, number),
            Self::Publish(number) => (6, number),
            Self::Call(call, RequestId(request)) => (4, (call as u32) << 16 | request as u32),
        };
        OwnTag(kind << 32 | number as u64)
    }

    fn of(tag: OwnTag) -> Option<Self> {
        let number = u32::try_from(tag.0 & 0xffff_ffff).ok()?;
        match tag.0 >> 32 {
            1 => Some(Self::Plain(number)),
            2 => Some(Self::Register(number)),
            3 => Some(Self::Subscribe(number)),
            5 => Some(Self::Watch(number)),
            6 => Some(Self::Publish(number)),
            4 => {
                let call = u16::try_from(number >> 16).ok()?;
                let request = u16::try_from(number & 0xffff).ok()?;
                Some(Self::Call(call, RequestId(request)))
            }
            _ => None,
        }
    }
}

/// An emulated UE.
#[derive(Debug)]
pub struct Ue {
    config: UeConfig,
    auth: Authenticator,
    registration: Registration,
    recovery: Recovery,
    kept: alive::Kept,
    security: Security,
    subscription: Option<Subscription>,
    watches: BTreeMap<u32, Watch>,
    publication: Option<Publication>,
    pending: BTreeMap<u32, Pending>,
    next_pending: u32,
    calls: BTreeMap<u16, Call>,
    next_call: u16,
    transfers: Transfers,
    sms: Sms,
    emergency: Emergency,
    /// Whom an order is about, while it is obeyed.
    about: Vec<String>,
}

impl Ue {
    /// A UE that is switched off until it is told to register.
    #[must_use]
    pub fn new(config: UeConfig) -> Self {
        Self {
            auth: Authenticator::new(&config),
            config,
            registration: Registration::default(),
            recovery: Recovery::default(),
            kept: alive::Kept::default(),
            security: Security::default(),
            subscription: None,
            watches: BTreeMap::new(),
            publication: None,
            pending: BTreeMap::new(),
            next_pending: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            transfers: Transfers::default(),
            sms: Sms::default(),
            emergency: Emergency::default(),
            about: Vec::new(),
        }
    }

    /// What it was made of.
    #[must_use]
    pub const fn config(&self) -> &UeConfig {
        &self.config
    }

    /// How many calls it holds, those just over included.
    #[must_use]
    pub fn calls_held(&self) -> usize {
        self.calls.len()
    }

    /// Where its registration stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.registration.phase
    }

    fn is_own_uri_text(&self, text: &str) -> bool {
        Uri::parse(text).is_ok_and(|uri| self.is_own_address(&uri))
    }
}

impl Role for Ue {
    type Command = UeCommand;
    type Timer = UeTimer;

    fn admits(&self, flow: &Flow, message: &Message) -> Result<(), &'static str> {
        if self.config.mistakes.deaf
            && matches!(message, Message::Request(request) if request.method == Method::Invite)
        {
            return Err("the phone hears no calls");
        }
        match flow.sa.is_some() || flow.transport.is_secure() {
            true => Ok(()),
            false => self.admits_clear(message),
        }
    }

    fn is_one_peer(&self, _: SaId, _: SaId) -> bool {
        // All its sets are with its P-CSCF.
        true
    }

    fn on_request(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut Actions<UeTimer>) {
        let start = out.len();
        self.heed_path(env, Some(&incoming.flow), out);
        match incoming.kind {
            RequestKind::Ack => self.on_call_request(env, &incoming, out),
            RequestKind::InDialog if self.is_own_notify(&incoming.request) => {
                self.on_notify(env, &incoming, out);
            }
            RequestKind::InDialog if self.is_watch_notify(&incoming.request) => {
                self.on_watch_notify(env, &incoming, out);
            }
            RequestKind::InDialog => self.on_call_request(env, &incoming, out),
            RequestKind::Initial => self.on_initial_request(env, &incoming, out),
        }
        self.protect_from(start, out);
    }

    fn on_own_response(
        &mut self,
        env: &mut Env<'_>,
        answered: OwnAnswered,
        out: &mut Actions<UeTimer>,
    ) {
        let start = out.len();
        self.tell_silence(env, &answered);
        if answered.cause == Cause::Received {
            self.heed_path(env, answered.flow.as_ref(), out);
        }
        match Own::of(answered.tag) {
            Some(Own::Call(call, id)) => self.on_call_response(env, call, id, &answered, out),
            Some(Own::Plain(number)) => self.on_plain_response(env, number, &answered, out),
            Some(Own::Publish(number)) => self.on_publish_response(env, number, &answered, out),
            Some(Own::Register(number)) => self.on_register_response(env, number, &answered, out),
            Some(Own::Subscribe(number)) => self.on_subscribe_response(env, number, &answered, out),
            Some(Own::Watch(number)) => self.on_watch_response(env, number, &answered, out),
            None => {}
        }
        self.doubt_associations(env, path_of(&answered), out);
        self.protect_from(start, out);
    }

    fn on_cancel(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        cancel: &Request,
        out: &mut Actions<UeTimer>,
    ) {
        let _ = cancel;
        if self.config.mistakes.ignores_cancel {
            return;
        }
        let start = out.len();
        self.on_call_cancelled(env, context, out);
        self.protect_from(start, out);
    }

    fn on_timer(&mut self, env: &mut Env<'_>, timer: UeTimer, out: &mut Actions<UeTimer>) {
        let start = out.len();
        match timer {
            UeTimer::Associations => self.on_associations_timer(env, out),
            UeTimer::Call(number) => self.on_call_timer(env, number, out),
            UeTimer::Robot(number) => self.on_robot_timer(env, number, out),
            UeTimer::EmergencyCall => self.on_emergency_call_timer(env, out),
            UeTimer::EmergencyRegistration => self.on_emergency_registration_timer(env, out),
            UeTimer::KeepAlive => self.on_keep_alive_timer(env, out),
            UeTimer::Notify => self.on_notify_timer(env, out),
            UeTimer::Register => self.on_register_timer(env, out),
            UeTimer::Sms => self.on_sms_timer(env, out),
            UeTimer::Subscription => self.on_subscription_timer(env, out),
        }
        self.protect_from(start, out);
    }

    fn on_flow(&mut self, env: &mut Env<'_>, event: FlowEvent, out: &mut Actions<UeTimer>) {
        let start = out.len();
        self.flow_news(env, event, out);
        self.protect_from(start, out);
    }

    fn on_command(&mut self, env: &mut Env<'_>, command: UeCommand, out: &mut Actions<UeTimer>) {
        let start = out.len();
        self.obey(env, command, out);
        self.protect_from(start, out);
    }

    fn side(&self, flow: &Flow) -> Side {
        let _ = flow;
        self.own_side()
    }

    fn is_proxy(&self) -> bool {
        false
    }
}
