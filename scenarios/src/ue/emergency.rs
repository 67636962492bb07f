//! Emergency calls of a UE (TS 24.229 §5.1.6): it registers for emergency first, and calls without
//! registration where that fails or takes too long. The UE here is the one of the emergency PDN
//! connection: it has an address of its own and registers for emergency only.
//!
//! Not done: location (Geolocation, PIDF-LO), and another domain, of which the emulation has none:
//! the state `emergency call unanswered` says when a phone would turn there.

use cscf_core::clause::ts24229;
use cscf_core::role::{Action, Actions, Env};
use cscf_core::sip::{HeaderName, NameAddr, Request};
use cscf_core::time::Duration;

use super::calls::Start;
use super::{Ue, UeTimer};

/// From of somebody who is not registered (TS 24.229 §5.1.6.8.2, RFC 3261 §8.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// How long a UE waits in an emergency (TS 24.229 §7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmergencyTimers {
    /// emerg-reg: from the wish to call until the emergency registration stands, 8 to 20 s.
    pub registration: Duration,
    /// emerg-request: for a first answer to the INVITE, 5 to 15 s.
    pub request: Duration,
}

impl EmergencyTimers {
    /// The least and the greatest value of emerg-reg.
    pub const REGISTRATION: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(20)];
    /// The least and the greatest value of emerg-request.
    pub const REQUEST: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];
}

impl Default for EmergencyTimers {
    fn default() -> Self {
        Self { registration: Duration::from_secs(10), request: Duration::from_secs(10) }
    }
}

/// What is under way in an emergency.
#[derive(Debug, Default)]
pub(super) struct Emergency {
    /// The service to call once the registration stands, or has failed.
    wanted: Option<String>,
    /// The call whose first answer is awaited.
    unanswered: Option<u16>,
}

/// Whether somebody calls for help: `urn:service:sos` or a service under it (RFC 5031 §4.2).
pub(super) fn is_emergency(target: &str) -> bool {
    let target = target.to_ascii_lowercase();
    let rest = target.strip_prefix("urn:service:sos");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Ue {
    /// The user dials an emergency service: registers for it first (TS 24.229 §5.1.6.1). Says
    /// whether the call waits for that.
    pub(super) fn prepare_emergency(
        &mut self,
        env: &mut Env<'_>,
        target: &str,
        out: &mut Actions<UeTimer>,
    ) -> bool {
        if self.config.emergency.is_none() || !is_emergency(target) || self.registration.is_on() {
            return false;
        }
        env.note(ts24229("5.1.6.1"), || "an emergency: registers for it first".to_owned());
        self.emergency.wanted = Some(target.to_owned());
        let expires = self.config.expires;
        self.register(env, expires, out);
        true
    }

    /// An emergency registration begins: emerg-reg watches over it.
    pub(super) fn watch_emergency_registration(&self, env: &Env<'_>, out: &mut Actions<UeTimer>) {
        if let Some(timers) = self.config.emergency {
            let timer = UeTimer::EmergencyRegistration;
            out.push(Action::SetTimer { timer, at: env.now + timers.registration });
        }
    }

    /// The emergency registration stands, or has failed: the call that waited for it begins.
    pub(super) fn emergency_registration_done(
        &mut self,
        env: &mut Env<'_>,
        out: &mut Actions<UeTimer>,
    ) {
        if self.config.emergency.is_none() {
            return;
        }
        out.push(Action::ClearTimer { timer: UeTimer::EmergencyRegistration });
        let Some(target) = self.emergency.wanted.take() else { return };
        if !self.registration.is_on() {
            env.note(ts24229("5.1.6.8.2"), || "not registered: calls as it is".to_owned());
        }
        let number = self.next_call();
        self.begin_call(env, number, &target, Start::default(), out);
    }

    /// emerg-reg has run out: nothing of this registration is waited for any longer.
    pub(super) fn on_emergency_registration_timer(
        &mut self,
        env: &mut Env<'_>,
        out: &mut Actions<UeTimer>,
    ) {
        if self.registration.is_on() {
            return;
        }
        env.refuse(ts24229("5.1.6.1"), || {
            "emerg-reg has run out: the emergency registration has failed".to_owned()
        });
        // Its answers are those of a REGISTER that nobody sent.
        self.registration.serial += 1;
        self.registration_gone("emergency registration failed", out);
        self.emergency_registration_done(env, out);
    }

    /// An INVITE for help leaves: with the headers of such a call, and emerg-request watches over
    /// it (TS 24.229 §5.1.6.8).
    pub(super) fn dress_emergency(
        &mut self,
        env: &Env<'_>,
        number: u16,
        invite: &mut Request,
        out: &mut Actions<UeTimer>,
    ) {
        let Some(timers) = self.config.emergency.filter(|_| is_emergency(&invite.request_uri))
        else {
            return;
        };
        // The P-CSCF knows the way: no Service-Route (§5.1.6.8.3).
        let first = invite.headers.first_value(HeaderName::Route).map(str::to_owned);
        let _ = invite.headers.remove(HeaderName::Route);
        if let Some(first) = first {
            invite.headers.push(HeaderName::Route, &first);
        }
        if !self.registration.is_on() {
            let from = invite.headers.get(HeaderName::From).unwrap_or_default();
            let from = NameAddr::parse(from).ok();
            let tag = from.and_then(|from| from.param("tag").map(str::to_owned));
            let from = format!("{ANONYMOUS};tag={}", tag.unwrap_or_default());
            invite.headers.set(HeaderName::From, &from);
            let _ = invite.headers.remove(HeaderName::PPreferredIdentity);
        }
        self.emergency.unanswered = Some(number);
        let timer = UeTimer::EmergencyCall;
        out.push(Action::SetTimer { timer, at: env.now + timers.request });
    }

    /// The network has said something about a call; 100 is no answer.
    pub(super) fn emergency_answered(
        &mut self,
        number: u16,
        status: u16,
        out: &mut Actions<UeTimer>,
    ) {
        if status > 100 && self.emergency.unanswered == Some(number) {
            self.emergency.unanswered = None;
            out.push(Action::ClearTimer { timer: UeTimer::EmergencyCall });
        }
    }

    /// emerg-request has run out: gives the call up here.
    pub(super) fn on_emergency_call_timer(
        &mut self,
        env: &mut Env<'_>,
        out: &mut Actions<UeTimer>,
    ) {
        let Some(number) = self.emergency.unanswered.take() else { return };
        env.refuse(ts24229("5.1.6.8.1"), || {
            "emerg-request has run out: gives up here and turns to another domain".to_owned()
        });
        out.push(Action::State("emergency call unanswered".to_owned()));
        self.drive(env, number, out, |session, turn| session.cancel(turn));
    }

    /// Whether an emergency registration is to be refreshed: only while a call needs it
    /// (TS 24.229 §5.1.6.4).
    pub(super) fn refreshes(&self) -> bool {
        self.config.emergency.is_none() || self.calls.values().any(super::calls::Call::is_up)
    }
}

#[cfg(test)]
mod tests {
    use super::is_emergency;

    #[test]
    fn a_call_for_help_is_known_by_its_urn() {
        for (target, is) in [
            ("urn:service:sos", true),
            ("URN:service:sos.police", true),
            ("urn:service:sosie", false),
            ("urn:service:counseling", false),
            ("tel:112", false),
        ] {
            assert_eq!(is_emergency(target), is, "{target}");
        }
    }
}
