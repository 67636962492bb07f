//! Registration as the UE sees it: initial, challenged, refreshed, ended by either side
//! (TS 24.229 §5.1.1). Without security agreement, which comes with the security of Gm.

use cscf_core::clause::{rfc7616, ts24229};
use cscf_core::role::{Action, Actions, Cause, Env, NextHop, OwnAnswered};
use cscf_core::sip::{HeaderName, Method, NameAddr, Request, Response, RetryAfter};
use cscf_core::time::{Duration, Instant};

use super::authentication::{For, Outcome};
use super::headers::aor;
use super::{Own, Ue, UeTimer};

/// Consecutive challenges a UE finds invalid before it gives up (TS 24.229 §5.1.1.5.3).
const INVALID_MAX: u8 = 2;
/// Challenges answered in one attempt; more is a network that never believes us.
const ROUNDS_MAX: u8 = 4;
/// 423 answers followed in one attempt.
const LONGER_MAX: u8 = 2;
/// An address that is nobody's (RFC 5737), for mistakes.
pub(super) const ELSEWHERE: &str = "192.0.2.1";
/// The registration interval wished for by mistake, in seconds.
const SHORT_WISH: u32 = 10;
/// What a UE keeps of the lists in a 200 at most.
const LIST_MAX: usize = 32;

/// Where the registration stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The 200 to the last REGISTER is awaited, to end the registration.
    Ending,
    /// Not registered.
    #[default]
    Off,
    /// Registered.
    On,
    /// Registered, and refreshing.
    Refreshing,
    /// A first REGISTER is out.
    Registering,
}

/// What a UE knows of its registration.
#[derive(Debug, Default)]
pub(super) struct Registration {
    pub(super) phase: Phase,
    /// Service-Route of the last 200.
    pub(super) service_route: Vec<String>,
    /// Path of the last 200.
    pub(super) path: Vec<String>,
    /// P-Associated-URI of the last 200.
    pub(super) associated: Vec<String>,
    /// The public GRUU, if one was assigned.
    pub(super) pub_gruu: Option<String>,
    /// When the registration ends unless refreshed.
    pub(super) expires_at: Option<Instant>,
    /// No request of its own accord before (Retry-After).
    pub(super) not_before: Option<Instant>,
    call_id: String,
    from_tag: String,
    cseq: u32,
    /// Seconds asked for.
    wish: u32,
    invalid: u8,
    rounds: u8,
    longer: u8,
    /// The number of the REGISTER whose answer counts.
    serial: u32,
    /// The user switched off while the first registration was under way: it ends when it stands.
    off_when_on: bool,
}

impl Registration {
    /// Whether requests other than REGISTER make sense.
    pub(super) const fn is_on(&self) -> bool {
        matches!(self.phase, Phase::On | Phase::Refreshing)
    }
}

impl Ue {
    /// Starts an initial registration with a new Call-ID (TS 24.229 §5.1.1.2).
    pub(super) fn register(
        &mut self,
        env: &mut Env<'_>,
        expires: Duration,
        out: &mut Actions<UeTimer>,
    ) {
        let host = self.config.address.ip().to_string();
        let wish = u32::try_from(expires.as_secs()).unwrap_or(u32::MAX);
        let wish = if self.config.mistakes.short_expiry { SHORT_WISH } else { wish };
        let serial = self.registration.serial;
        self.registration = Registration {
            phase: Phase::Registering,
            call_id: env.ids.call_id(&host),
            from_tag: env.ids.tag(),
            wish,
            serial,
            ..Registration::default()
        };
        self.auth.forget();
        out.push(Action::ClearTimer { timer: UeTimer::Register });
        let uri = self.registrar();
        let credentials = self.auth.unchallenged(&self.config.domain, &uri).to_string();
        self.send_register(&credentials, out);
    }

    /// Refreshes the registration: same Call-ID, next CSeq (TS 24.229 §5.1.1.4.1).
    pub(super) fn reregister(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        if !self.registration.is_on() {
            let expires = self.config.expires;
            return self.register(env, expires, out);
        }
        self.registration.phase = Phase::Refreshing;
        self.register_again(env, out);
    }

    /// Ends the registration, and the calls first (TS 24.229 §5.1.1.6).
    pub(super) fn deregister(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        self.hang_up_all(env, out);
        // A retry that waits for its time is off, too.
        out.push(Action::ClearTimer { timer: UeTimer::Register });
        if self.registration.phase == Phase::Registering {
            env.note(ts24229("5.1.1.6"), || "registering: ends it once it stands".to_owned());
            self.registration.off_when_on = true;
            return;
        }
        if !self.registration.is_on() {
            env.note(ts24229("5.1.1.6"), || "not registered: nothing to deregister".to_owned());
            out.push(Action::State("deregistered".to_owned()));
            return;
        }
        self.registration.phase = Phase::Ending;
        self.registration.wish = 0;
        self.register_again(env, out);
    }

    fn register_again(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let registration = &mut self.registration;
        (registration.invalid, registration.rounds, registration.longer) = (0, 0, 0);
        let uri = self.registrar();
        let cnonce = env.ids.token(8);
        let request = For { method: "REGISTER", uri: &uri, cnonce: &cnonce, body: b"" };
        let credentials = match self.auth.again(request) {
            Some(credentials) => credentials,
            None => self.auth.unchallenged(&self.config.domain, &uri),
        };
        self.send_register(&credentials.to_string(), out);
    }

    fn send_register(&mut self, credentials: &str, out: &mut Actions<UeTimer>) {
        let mistakes = self.config.mistakes;
        let mut contact = self.contact_with_features(Some(self.registration.wish));
        if mistakes.contact_changed && self.registration.rounds > 0 {
            contact = contact.replace(&self.config.address.ip().to_string(), ELSEWHERE);
        }
        let address = if mistakes.another_impu {
            aor(&self.config.somebody_else.1)
        } else {
            aor(&self.config.register_impu)
        };
        let known = self.registration.rounds > 0 || self.registration.phase != Phase::Registering;
        let info = self.config.access_network_info.clone().filter(|_| known);
        let registration = &mut self.registration;
        registration.cseq += 1;
        registration.serial += 1;
        let tag = Own::Register(registration.serial).tag();
        let mut request = Request::new(Method::Register, format!("sip:{}", self.config.domain));
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, "70");
        headers.push(HeaderName::From, &format!("{address};tag={}", registration.from_tag));
        headers.push(HeaderName::To, &address);
        headers.push(HeaderName::CallId, &registration.call_id);
        headers.push(HeaderName::CSeq, &format!("{} REGISTER", registration.cseq));
        headers.push(HeaderName::Contact, &contact);
        headers.push(HeaderName::Authorization, credentials);
        headers.push(HeaderName::Supported, "path,gruu");
        if mistakes.unknown_require {
            headers.push(HeaderName::Require, "no-such-extension");
        }
        // In clear text the first REGISTER says nothing of where we are (TS 24.229 §5.1.1.2.1).
        if let Some(info) = info {
            headers.push(HeaderName::PAccessNetworkInfo, &info);
        }
        headers.push(HeaderName::ContentLength, "0");
        let (request, side) = (Box::new(request), self.own_side());
        let to = NextHop::Uri(self.pcscf_uri());
        out.push(Action::Originate { tag, request, to, within: None, side });
    }

    /// The answer to the REGISTER with this number.
    pub(super) fn on_register_response(
        &mut self,
        env: &mut Env<'_>,
        serial: u32,
        answered: &OwnAnswered,
        out: &mut Actions<UeTimer>,
    ) {
        let response = &answered.response;
        if serial != self.registration.serial || response.is_provisional() {
            return;
        }
        match response.status {
            200..=299 => self.on_registered(env, response, out),
            401 | 407 if answered.cause == Cause::Received => {
                self.on_challenge(env, response, out);
            }
            423 => self.on_interval_too_brief(env, response, out),
            status => self.on_register_failed(env, status, Some(response), out),
        }
    }

    fn on_challenge(&mut self, env: &mut Env<'_>, response: &Response, out: &mut Actions<UeTimer>) {
        if self.config.mistakes.no_answer {
            env.note(cscf_core::clause::own("mistake"), || "does not answer the challenge".into());
            out.push(Action::State("challenged".to_owned()));
            return;
        }
        self.registration.rounds += 1;
        if self.registration.rounds > ROUNDS_MAX {
            env.refuse(ts24229("5.1.1.5.1"), || "challenged again and again: giving up".into());
            return self.on_register_failed(env, response.status, None, out);
        }
        let (uri, cnonce) = (self.registrar(), env.ids.token(8));
        let request = For { method: "REGISTER", uri: &uri, cnonce: &cnonce, body: b"" };
        let challenges = response.headers.fields(HeaderName::WwwAuthenticate);
        let outcome = self.auth.answer(challenges.map(|field| field.value()), request);
        let credentials = match outcome {
            Outcome::Answered(credentials) => {
                env.note(ts24229("5.1.1.5.1"), || "the challenge is valid: answers it".into());
                self.registration.invalid = 0;
                credentials
            }
            Outcome::MacFailure(credentials, why) => {
                env.refuse(ts24229("5.1.1.5.3"), || {
                    format!("MAC of the challenge is wrong ({why}): answers without response")
                });
                self.registration.invalid += 1;
                credentials
            }
            Outcome::SyncFailure(credentials, why) => {
                env.refuse(ts24229("5.1.1.5.3"), || format!("{why}: answers with AUTS"));
                self.registration.invalid += 1;
                credentials
            }
            Outcome::Unable(why) => {
                env.refuse(rfc7616("3.3"), || format!("cannot answer the challenge: {why}"));
                return self.on_register_failed(env, response.status, None, out);
            }
        };
        if self.registration.invalid > INVALID_MAX {
            env.refuse(ts24229("5.1.1.5.3"), || "third invalid challenge: giving up".into());
            return self.on_register_failed(env, response.status, None, out);
        }
        self.send_register(&credentials.to_string(), out);
    }

    fn on_interval_too_brief(
        &mut self,
        env: &mut Env<'_>,
        response: &Response,
        out: &mut Actions<UeTimer>,
    ) {
        let least = response.headers.get(HeaderName::MinExpires).and_then(|text| text.parse().ok());
        let registration = &mut self.registration;
        registration.longer += 1;
        match least {
            Some(least)
                if registration.longer <= LONGER_MAX
                    && least > registration.wish
                    && !self.config.mistakes.short_expiry =>
            {
                registration.wish = least;
                env.note(ts24229("5.1.1.2.1"), || {
                    format!("423: registers again for at least {least} s")
                });
                self.register_again_keeping_counts(env, out);
            }
            _ => self.on_register_failed(env, response.status, Some(response), out),
        }
    }

    fn register_again_keeping_counts(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let longer = self.registration.longer;
        self.register_again(env, out);
        self.registration.longer = longer;
    }

    fn on_registered(
        &mut self,
        env: &mut Env<'_>,
        response: &Response,
        out: &mut Actions<UeTimer>,
    ) {
        if let Some(info) = response.headers.get(HeaderName::AuthenticationInfo) {
            self.auth.learn(info);
        }
        let before = self.registration.phase;
        if before == Phase::Ending {
            env.note(ts24229("5.1.1.6"), || "200: the registration is gone".to_owned());
            return self.registration_gone("deregistered", out);
        }
        let Some(granted) = self.granted(response).filter(|seconds| *seconds > 0) else {
            env.refuse(ts24229("5.1.1.2.1"), || "the 200 does not hold our Contact".to_owned());
            return self.on_register_failed(env, response.status, None, out);
        };
        self.keep_answer(response);
        self.registration.phase = Phase::On;
        let granted_for = Duration::from_secs(granted.into());
        self.registration.expires_at = Some(env.now + granted_for);
        let at = env.now + refresh_after(granted_for);
        env.note(ts24229("5.1.1.4.1"), || format!("registered for {granted} s: refreshes at {at}"));
        out.push(Action::SetTimer { timer: UeTimer::Register, at });
        if before == Phase::Registering {
            out.push(Action::State("registered".to_owned()));
            if std::mem::take(&mut self.registration.off_when_on) {
                return self.deregister(env, out);
            }
            if self.config.reg_event {
                self.subscribe(env, out);
            }
        } else {
            out.push(Action::State("re-registered".to_owned()));
        }
    }

    /// The seconds granted to our own Contact, else those of Expires.
    fn granted(&self, response: &Response) -> Option<u32> {
        let contacts = response.contacts().ok()?;
        let own = contacts.list().iter().find(|contact| self.is_own_contact(contact))?;
        let expires = own.param("expires").and_then(|text| text.parse().ok());
        expires.or_else(|| response.expires())
    }

    /// Service-Route, P-Associated-URI and GRUU of a 200 (TS 24.229 §5.1.1.2.1).
    fn keep_answer(&mut self, response: &Response) {
        let list = |name| {
            let values = response.headers.values(name).take(LIST_MAX);
            values.map(str::to_owned).collect::<Vec<_>>()
        };
        let contacts = response.contacts().ok();
        let contacts = contacts.as_ref().map_or(&[][..], |contacts| contacts.list());
        let own = contacts.iter().find(|contact| self.is_own_contact(contact));
        let gruu = own.and_then(|contact| contact.params.unquoted("pub-gruu"));
        self.registration.pub_gruu = gruu.map(std::borrow::Cow::into_owned);
        self.registration.service_route = list(HeaderName::ServiceRoute);
        self.registration.path = list(HeaderName::Path);
        self.registration.associated = response
            .headers
            .values(HeaderName::PAssociatedUri)
            .take(LIST_MAX)
            .filter_map(|value| NameAddr::parse(value).ok())
            .map(|address| address.uri.to_string())
            .collect();
    }

    fn on_register_failed(
        &mut self,
        env: &mut Env<'_>,
        status: u16,
        response: Option<&Response>,
        out: &mut Actions<UeTimer>,
    ) {
        let before = self.registration.phase;
        let wait = response
            .and_then(|response| response.headers.get(HeaderName::RetryAfter))
            .and_then(|text| RetryAfter::parse(text).ok())
            .map(|after| Duration::from_secs(after.seconds.into()));
        if before == Phase::Ending {
            // The network may know no more of us than we want it to (TS 24.229 §5.1.1.6).
            return self.registration_gone("deregistered", out);
        }
        if before == Phase::Refreshing && matches!(status, 403 | 408 | 500 | 504) && wait.is_none()
        {
            env.note(ts24229("5.1.1.4.1"), || format!("{status}: registers anew"));
            let expires = self.config.expires;
            return self.register(env, expires, out);
        }
        let still = self.registration.expires_at.is_some_and(|at| at > env.now);
        let fatal = matches!(status, 401 | 404);
        if before == Phase::Refreshing && still && !fatal {
            self.registration.phase = Phase::On;
            out.push(Action::State(format!("re-registration failed {status}")));
        } else {
            self.registration.phase = Phase::Off;
            self.registration.expires_at = None;
            out.push(Action::State(format!("registration failed {status}")));
            if std::mem::take(&mut self.registration.off_when_on) {
                return self.registration_gone("deregistered", out);
            }
        }
        if let Some(wait) = wait {
            let at = env.now + wait;
            self.registration.not_before = Some(at);
            env.note(ts24229("5.1.1.2.1"), || {
                format!("{status} with Retry-After {} s: registers again at {at}", wait.as_secs())
            });
            out.push(Action::SetTimer { timer: UeTimer::Register, at });
        }
    }

    /// The registration is over; what belonged to it goes.
    pub(super) fn registration_gone(&mut self, state: &str, out: &mut Actions<UeTimer>) {
        let serial = self.registration.serial;
        self.registration = Registration { serial, ..Registration::default() };
        self.auth.forget();
        self.subscription = None;
        out.push(Action::ClearTimer { timer: UeTimer::Register });
        out.push(Action::ClearTimer { timer: UeTimer::Subscription });
        out.push(Action::State(state.to_owned()));
    }

    /// The time to refresh, or to try again, has come.
    pub(super) fn on_register_timer(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        self.registration.not_before = None;
        match self.registration.phase {
            Phase::On => self.reregister(env, out),
            Phase::Off => {
                let expires = self.config.expires;
                self.register(env, expires, out);
            }
            Phase::Ending | Phase::Refreshing | Phase::Registering => {}
        }
    }

    fn registrar(&self) -> String {
        format!("sip:{}", self.config.domain)
    }
}

/// How long after the 200 a registration is refreshed: 600 s before its end if it lasts longer than
/// 1200 s, else at half time (TS 24.229 §5.1.1.4.1).
pub(super) fn refresh_after(granted: Duration) -> Duration {
    if granted > Duration::from_secs(1200) {
        granted.saturating_sub(Duration::from_secs(600))
    } else {
        granted / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_refreshed_600_s_before_its_end_or_at_half_time() {
        for (granted, after) in [(600_000, 599_400), (1201, 601), (1200, 600), (60, 30)] {
            let after = Duration::from_secs(after);
            assert_eq!(refresh_after(Duration::from_secs(granted)), after, "{granted}");
        }
    }
}
