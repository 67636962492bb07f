//! What a UE makes of the answers to its REGISTER requests (TS 24.229 §5.1.1.2, §5.1.1.4,
//! §5.1.1.5, §5.1.1.6).

use cscf_core::clause::{rfc3261, rfc7616, ts24229};
use cscf_core::role::{Action, Actions, Cause, Env, OwnAnswered};
use cscf_core::sip::{Contacts, HeaderName, NameAddr, Response};
use cscf_core::time::Duration;
use cscf_core::trace::Diagnosis;

use super::authentication::{For, Outcome};
use super::registration::{Asks, Phase};
use super::requests::retry_after;
use super::{Ue, UeTimer};

/// Consecutive challenges a UE finds invalid before it gives up (TS 24.229 §5.1.1.5.3).
const INVALID_MAX: u8 = 2;
/// Challenges answered in one attempt; more is a network that never believes us.
const ROUNDS_MAX: u8 = 4;
/// 423 answers followed in one attempt.
const LONGER_MAX: u8 = 2;
/// What a UE keeps of the lists in a 200 at most.
const LIST_MAX: usize = 32;
/// The least time before a refresh that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

impl Ue {
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
            200..=299 => {
                self.on_registered(env, response, out);
                self.keep_flow(env, answered, out);
            }
            401 | 407 if answered.cause == Cause::Received => {
                self.on_challenge(env, answered, out);
            }
            423 => self.on_interval_too_brief(env, response, out),
            status => self.on_register_failed(env, status, Some(response), out),
        }
    }

    fn on_challenge(
        &mut self,
        env: &mut Env<'_>,
        answered: &OwnAnswered,
        out: &mut Actions<UeTimer>,
    ) {
        let response = &answered.response;
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
                if let Err(why) = self.agree(env, response, answered.flow.as_ref(), out) {
                    if !self.abandon(env, &why, out) {
                        self.on_register_failed(env, response.status, None, out);
                    }
                    return;
                }
                credentials
            }
            // Without keys there are no associations; the next challenge gets new ports and SPIs.
            Outcome::MacFailure(credentials, why) => {
                self.on_mac_failure(env, why);
                if !self.config.mistakes.same_spi {
                    self.begin_agreement(env, out);
                }
                credentials
            }
            Outcome::SyncFailure(credentials, why) => {
                self.on_sync_failure(env, why);
                self.begin_agreement(env, out);
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
        self.send_register(Some(&credentials.to_string()), out);
    }

    fn on_mac_failure(&mut self, env: &mut Env<'_>, why: String) {
        self.registration.invalid += 1;
        let diagnosis = Diagnosis::new(&*self.config.impi, "MAC-A in AUTN against the card")
            .ours(why)
            .change("give HSS and card the same K and OPc (or OP)");
        let text = "MAC of the challenge is wrong: answers without response".to_owned();
        env.diagnose(ts24229("5.1.1.5.3"), text, diagnosis);
    }

    fn on_sync_failure(&mut self, env: &mut Env<'_>, why: String) {
        self.registration.invalid += 1;
        let diagnosis = Diagnosis::new(&*self.config.impi, "SQN in AUTN against the card")
            .ours(why)
            .change("nothing if the next challenge is taken; else set the SQN of the HSS");
        let text = "SQN of the challenge is not fresh: answers with AUTS".to_owned();
        env.diagnose(ts24229("5.1.1.5.3"), text, diagnosis);
    }

    fn on_interval_too_brief(
        &mut self,
        env: &mut Env<'_>,
        response: &Response,
        out: &mut Actions<UeTimer>,
    ) {
        let least = response.headers.get(HeaderName::MinExpires).and_then(|text| text.parse().ok());
        let wrong = self.config.mistakes;
        let lost = wrong.lost_at_423 && self.registration.phase == Phase::Refreshing;
        let obeys = !wrong.short_expiry && !lost;
        let registration = &mut self.registration;
        registration.longer += 1;
        match least {
            Some(least)
                if obeys && registration.longer <= LONGER_MAX && least > registration.wish =>
            {
                registration.wish = least;
                env.note(ts24229("5.1.1.2.1"), || {
                    format!("423: registers again for at least {least} s")
                });
                let longer = registration.longer;
                self.register_again(env, out);
                self.registration.longer = longer;
            }
            _ => self.on_register_failed(env, response.status, Some(response), out),
        }
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
        if self.registration.asks == Asks::Fetch {
            return self.on_fetched(env, response, out);
        }
        if before == Phase::Ending {
            env.note(ts24229("5.1.1.6"), || "200: the registration is gone".to_owned());
            return self.registration_gone("deregistered", out);
        }
        let Some(granted) = self.granted(response).filter(|seconds| *seconds > 0) else {
            let bound: Vec<&str> = response.headers.values(HeaderName::Contact).collect();
            let cause = Diagnosis::new(&*self.config.impi, "the 200 holds our Contact")
                .ours(format!("Contact at {}", self.config.address))
                .theirs(format!("Contact: {}", bound.join(", ")))
                .change("the Contact of each REGISTER: the one that was challenged is to be kept");
            let text = "the 200 does not hold our Contact".to_owned();
            env.diagnose(ts24229("5.1.1.2.1"), text, cause);
            return self.on_register_failed(env, response.status, None, out);
        };
        self.keep_answer(response);
        self.recovery.succeeded();
        self.registration.phase = Phase::On;
        let granted_for = Duration::from_secs(granted.into());
        self.registration.expires_at = Some(env.now + granted_for);
        self.settle_agreement(env, granted_for, before == Phase::Registering, out);
        let at = env.now + self.refresh_after(granted_for);
        env.note(ts24229("5.1.1.4.1"), || format!("registered for {granted} s: refreshes at {at}"));
        out.push(Action::SetTimer { timer: UeTimer::Register, at });
        if before == Phase::Registering {
            out.push(Action::State("registered".to_owned()));
            if std::mem::take(&mut self.registration.off_when_on) {
                return self.deregister(env, out);
            }
            // Not for an emergency registration (TS 24.229 §5.1.6.3).
            if self.config.reg_event && self.config.emergency.is_none() {
                self.subscribe(env, out);
            }
            self.emergency_registration_done(env, out);
        } else {
            out.push(Action::State("re-registered".to_owned()));
        }
    }

    /// How long after the 200 the registration is refreshed; by mistake at another time.
    fn refresh_after(&self, granted: Duration) -> Duration {
        let wrong = self.config.mistakes;
        match () {
            () if wrong.refreshes_late => granted * 9 / 10,
            () if wrong.always_half => granted / 2,
            () => refresh_after(granted),
        }
    }

    /// The list of contacts that was asked for.
    fn on_fetched(&mut self, env: &mut Env<'_>, response: &Response, out: &mut Actions<UeTimer>) {
        self.registration.asks = Asks::Bind;
        match self.registration.expires_at {
            Some(end) => self.settle_agreement(env, end.since(env.now), false, out),
            None => self.drop_associations(out),
        }
        let contacts = response.contacts().ok();
        let contacts = contacts.as_ref().map_or(&[][..], Contacts::list);
        let count = contacts.len();
        env.note(rfc3261("10.2.3"), || {
            let uris: Vec<String> = contacts.iter().map(|it| it.uri.to_string()).collect();
            format!("{count} contacts are registered: {}", uris.join(", "))
        });
        out.push(Action::State(format!("registrations {count}")));
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
        let contacts = contacts.as_ref().map_or(&[][..], Contacts::list);
        let own = contacts.iter().find(|contact| self.is_own_contact(contact));
        let gruu = |name| {
            let value = own.and_then(|contact| contact.params.unquoted(name));
            value.map(std::borrow::Cow::into_owned)
        };
        self.registration.pub_gruu = gruu("pub-gruu");
        self.registration.temp_gruu = gruu("temp-gruu");
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

    pub(super) fn on_register_failed(
        &mut self,
        env: &mut Env<'_>,
        status: u16,
        response: Option<&Response>,
        out: &mut Actions<UeTimer>,
    ) {
        let before = self.registration.phase;
        let wait = response.and_then(retry_after);
        // A 408 is made here when nobody answers.
        let unanswered = status == 408 && self.is_authenticating();
        self.drop_temporary(out);
        if self.registration.asks == Asks::Fetch {
            self.registration.asks = Asks::Bind;
            return out.push(Action::State(format!("fetch failed {status}")));
        }
        if before == Phase::Ending {
            // The network may know no more of us than we want it to (TS 24.229 §5.1.1.6).
            return self.registration_gone("deregistered", out);
        }
        let at = wait.map(|wait| self.heed_retry_after(env, status, wait));
        if before == Phase::Refreshing && matches!(status, 403 | 408 | 500 | 504) && at.is_none() {
            env.note(ts24229("5.1.1.4.1"), || format!("{status}: registers anew"));
            self.recovery.forget(self.config.expires);
            return self.register_initially(env, out);
        }
        let still = self.registration.expires_at.filter(|at| *at > env.now);
        let fatal = matches!(status, 401 | 404);
        if let Some(end) = still.filter(|_| before == Phase::Refreshing && !fatal) {
            self.registration.phase = Phase::On;
            out.push(Action::State(format!("re-registration failed {status}")));
            let again = env.now + (end.since(env.now) / 2).max(AGAIN_AFTER);
            let at = at.unwrap_or(again).min(end);
            env.note(ts24229("5.1.1.4.1"), || format!("still registered: tries again at {at}"));
            return out.push(Action::SetTimer { timer: UeTimer::Register, at });
        }
        let off_when_on = self.registration.off_when_on;
        if !off_when_on
            && (self.try_elsewhere(env, status, response, out)
                || (unanswered && self.start_over(env, out)))
        {
            return;
        }
        self.registration.phase = Phase::Off;
        self.registration.expires_at = None;
        self.drop_associations(out);
        out.push(Action::State(format!("registration failed {status}")));
        match at {
            _ if off_when_on => self.registration_gone("deregistered", out),
            Some(at) => out.push(Action::SetTimer { timer: UeTimer::Register, at }),
            None => self.retry(env, status, out),
        }
        self.emergency_registration_done(env, out);
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
