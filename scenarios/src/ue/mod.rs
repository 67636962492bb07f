//! The UE emulator: registers as a VoLTE UE does, calls and is called, and does by itself what the
//! protocol obliges it to. Decisions of a user come as [`UeCommand`] or from a [`Robot`].
//!
//! States told to the trace, for scenarios to wait for (`N` a status, text as it came):
//! `registered`, `re-registered`, `registration failed N`, `re-registration failed N`,
//! `deregistered`, `deregistered by network`, `challenged` (only when it does not answer),
//! `subscribed`, `subscription failed N`, `notified active|shortened|deactivated|probation|terminated`,
//! `message delivered`, `message failed N`, `message received TEXT`, `options answered N`,
//! `request answered N`.

mod authentication;
mod codecs;
mod command;
mod config;
mod headers;
mod reginfo;
mod registration;
mod requests;
mod subscription;

pub use codecs::CodecSet;
pub use command::{CallOptions, UeCommand};
pub use config::{Credentials, Mistakes, Resources, Robot, UeConfig};
pub use headers::dialled;
pub use registration::Phase;

use std::collections::BTreeMap;

use cscf_core::role::{
    Action, Actions, ContextId, Env, Incoming, OwnAnswered, OwnTag, RequestKind, Role, Side,
};
use cscf_core::sip::{Request, Uri};
use cscf_core::transport::Flow;

use authentication::Authenticator;
use registration::Registration;
use requests::Pending;
use subscription::Subscription;

/// The timers of a UE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UeTimer {
    /// Time to register, first or again.
    Register,
    /// Time to refresh the subscription to the registration state.
    Subscription,
}

/// A request of our own, packed into an [`OwnTag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Plain(u32),
    Register(u32),
    Subscribe(u32),
}

impl Own {
    const fn tag(self) -> OwnTag {
        let (kind, number) = match self {
            Self::Plain(number) => (1_u64, number),
            Self::Register(number) => (2, number),
            Self::Subscribe(number) => (3, number),
        };
        OwnTag(kind << 32 | number as u64)
    }

    fn of(tag: OwnTag) -> Option<Self> {
        let number = u32::try_from(tag.0 & 0xffff_ffff).ok()?;
        match tag.0 >> 32 {
            1 => Some(Self::Plain(number)),
            2 => Some(Self::Register(number)),
            3 => Some(Self::Subscribe(number)),
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
    subscription: Option<Subscription>,
    pending: BTreeMap<u32, Pending>,
    next_pending: u32,
}

impl Ue {
    /// A UE that is switched off until it is told to register.
    #[must_use]
    pub fn new(config: UeConfig) -> Self {
        Self {
            auth: Authenticator::new(&config),
            config,
            registration: Registration::default(),
            subscription: None,
            pending: BTreeMap::new(),
            next_pending: 0,
        }
    }

    /// What it was made of.
    #[must_use]
    pub const fn config(&self) -> &UeConfig {
        &self.config
    }

    /// Where its registration stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.registration.phase
    }

    fn is_own_uri_text(&self, text: &str) -> bool {
        Uri::parse(text).is_ok_and(|uri| self.is_own_address(&uri))
    }

    fn is_busy(&self) -> bool {
        self.config.robot == Robot::Busy
    }

    fn on_invite(&self, _env: &mut Env<'_>, incoming: &Incoming, out: &mut Actions<UeTimer>) {
        self.reply(incoming, incoming.request.reply(480), out);
    }

    fn hang_up_all(&mut self, _env: &mut Env<'_>, _out: &mut Actions<UeTimer>) {}

    fn drop_calls(&mut self, _env: &mut Env<'_>, _out: &mut Actions<UeTimer>) {}
}

impl Role for Ue {
    type Command = UeCommand;
    type Timer = UeTimer;

    fn on_request(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut Actions<UeTimer>) {
        match incoming.kind {
            RequestKind::Ack => {}
            RequestKind::InDialog if self.is_own_notify(&incoming.request) => {
                self.on_notify(env, &incoming, out);
            }
            RequestKind::InDialog => self.reply(&incoming, incoming.request.reply(481), out),
            RequestKind::Initial => self.on_initial_request(env, &incoming, out),
        }
    }

    fn on_own_response(
        &mut self,
        env: &mut Env<'_>,
        answered: OwnAnswered,
        out: &mut Actions<UeTimer>,
    ) {
        match Own::of(answered.tag) {
            Some(Own::Plain(number)) => self.on_plain_response(env, number, &answered, out),
            Some(Own::Register(number)) => self.on_register_response(env, number, &answered, out),
            Some(Own::Subscribe(number)) => self.on_subscribe_response(env, number, &answered, out),
            None => {}
        }
    }

    fn on_cancel(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        cancel: &Request,
        out: &mut Actions<UeTimer>,
    ) {
        let _ = (env, context, cancel, out);
    }

    fn on_timer(&mut self, env: &mut Env<'_>, timer: UeTimer, out: &mut Actions<UeTimer>) {
        match timer {
            UeTimer::Register => self.on_register_timer(env, out),
            UeTimer::Subscription => self.on_subscription_timer(env, out),
        }
    }

    fn on_command(&mut self, env: &mut Env<'_>, command: UeCommand, out: &mut Actions<UeTimer>) {
        match command {
            UeCommand::Deregister => self.deregister(env, out),
            UeCommand::Register { expires } => {
                let expires = expires.unwrap_or(self.config.expires);
                self.register(env, expires, out);
            }
            UeCommand::Reregister => self.reregister(env, out),
            UeCommand::SendMessage { target, text } => self.send_message(env, &target, &text, out),
            UeCommand::SendOptions { target } => self.send_options(env, &target, out),
            UeCommand::SendRaw { request } => self.send_raw(*request, out),
            UeCommand::SubscribeReg => self.subscribe(env, out),
            _ => out.push(Action::State("no call".to_owned())),
        }
    }

    fn side(&self, flow: &Flow) -> Side {
        let _ = flow;
        self.own_side()
    }

    fn is_proxy(&self) -> bool {
        false
    }
}
