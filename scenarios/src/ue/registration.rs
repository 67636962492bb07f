//! What a UE asks of its registrar: to be registered, refreshed, deregistered, told what is
//! registered (TS 24.229 §5.1.1.2, §5.1.1.4, §5.1.1.6). What it makes of the answers is in
//! `answers`, where it turns after a failure in `recovery`.

use cscf_core::clause::ts24229;
use cscf_core::role::{Action, Actions, Env};
use cscf_core::sip::{HeaderName, Headers, Method, Request};
use cscf_core::time::{Duration, Instant};

use super::authentication::For;
use super::headers::{aor, host_text};
use super::{Own, Ue, UeTimer};

/// An address that is nobody's (RFC 5737), for mistakes.
pub(super) const ELSEWHERE: &str = "192.0.2.1";
/// The registration interval wished for by mistake, in seconds.
const SHORT_WISH: u32 = 10;

/// An Authorization with a quote that does not end, for mistakes.
const UNREADABLE: &str = "Digest username=\"unfinished, realm=ims";

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

/// What the REGISTER that is out asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asks {
    /// The binding of our contact for the interval wished for.
    #[default]
    Bind,
    /// Which contacts are bound: no Contact (RFC 3261 §10.2.3).
    Fetch,
    /// The end of our contact.
    Leave,
    /// The end of all contacts of the identity, ours and others (RFC 3261 §10.2.2).
    LeaveAll,
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
    /// The last temporary GRUU, if one was assigned.
    pub(super) temp_gruu: Option<String>,
    /// When the registration ends unless refreshed.
    pub(super) expires_at: Option<Instant>,
    pub(super) asks: Asks,
    call_id: String,
    from_tag: String,
    cseq: u32,
    /// Seconds asked for.
    pub(super) wish: u32,
    /// Invalid challenges in a row.
    pub(super) invalid: u8,
    /// Challenges of this attempt.
    pub(super) rounds: u8,
    /// 423 answers of this attempt.
    pub(super) longer: u8,
    /// The number of the REGISTER whose answer counts.
    pub(super) serial: u32,
    /// The user switched off while the first registration was under way: it ends when it stands.
    pub(super) off_when_on: bool,
}

impl Registration {
    /// Whether requests other than REGISTER make sense.
    pub(super) const fn is_on(&self) -> bool {
        matches!(self.phase, Phase::On | Phase::Refreshing)
    }

    /// Whether the user has switched it off, and only the network does not know yet.
    pub(super) const fn leaves(&self) -> bool {
        matches!(self.phase, Phase::Ending) || self.off_when_on
    }
}

impl Ue {
    /// Registers because the user wants it: whatever failed before is forgotten.
    pub(super) fn register(
        &mut self,
        env: &mut Env<'_>,
        expires: Duration,
        out: &mut Actions<UeTimer>,
    ) {
        self.recovery.forget(expires);
        self.watch_emergency_registration(env, out);
        self.register_initially(env, out);
    }

    /// Starts an initial registration with a new Call-ID (TS 24.229 §5.1.1.2).
    pub(super) fn register_initially(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let wish = u32::try_from(self.recovery.wish.as_secs()).unwrap_or(u32::MAX);
        let wish = if self.config.mistakes.short_expiry { SHORT_WISH } else { wish };
        self.start(env, Phase::Registering, Asks::Bind, out);
        self.registration.wish = wish;
        self.send_first(out);
    }

    /// Forgets the registration there was, and begins the next.
    fn start(&mut self, env: &mut Env<'_>, phase: Phase, asks: Asks, out: &mut Actions<UeTimer>) {
        let host = self.config.address.ip().to_string();
        self.registration = Registration {
            phase,
            asks,
            call_id: env.ids.call_id(&host),
            from_tag: env.ids.tag(),
            serial: self.registration.serial,
            ..Registration::default()
        };
        self.auth.forget();
        self.forget_tls();
        self.begin_agreement(env, out);
        out.push(Action::ClearTimer { timer: UeTimer::Register });
    }

    fn send_first(&mut self, out: &mut Actions<UeTimer>) {
        let uri = self.registrar();
        // Early IMS security knows the user by its address (TS 24.229 §5.1.1.2.4).
        let credentials = (!self.recovery.early)
            .then(|| self.auth.unchallenged(&self.config.domain, &uri).to_string());
        self.send_register(credentials.as_deref(), out);
    }

    /// Refreshes the registration: same Call-ID, next CSeq (TS 24.229 §5.1.1.4.1).
    pub(super) fn reregister(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let over = self.registration.expires_at.is_none_or(|at| at <= env.now);
        if !self.registration.is_on() || over {
            self.recovery.forget(self.config.expires);
            return self.register_initially(env, out);
        }
        self.registration.phase = Phase::Refreshing;
        self.registration.asks = Asks::Bind;
        self.register_again(env, out);
    }

    /// Ends the registration, and the calls first (TS 24.229 §5.1.1.6).
    pub(super) fn deregister(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        self.hang_up_all(env, out);
        if self.config.emergency.is_some() {
            env.note(ts24229("5.1.6.6"), || "an emergency registration expires".to_owned());
            return out.push(Action::State("no deregistration".to_owned()));
        }
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
        self.registration.asks = Asks::Leave;
        self.register_again(env, out);
    }

    /// Ends all bindings of the identity, whoever made them; also when not registered itself
    /// (TS 24.229 §5.1.1.6, RFC 3261 §10.2.2).
    pub(super) fn deregister_all(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        self.hang_up_all(env, out);
        if self.registration.is_on() {
            out.push(Action::ClearTimer { timer: UeTimer::Register });
            self.registration.phase = Phase::Ending;
            self.registration.asks = Asks::LeaveAll;
            return self.register_again(env, out);
        }
        self.recovery.forget(self.config.expires);
        self.start(env, Phase::Ending, Asks::LeaveAll, out);
        self.send_first(out);
    }

    /// Asks which contacts are bound to the identity (RFC 3261 §10.2.3).
    pub(super) fn fetch_registrations(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        match self.registration.phase {
            Phase::On => {
                self.registration.asks = Asks::Fetch;
                self.register_again(env, out);
            }
            Phase::Off => {
                self.recovery.forget(self.config.expires);
                self.start(env, Phase::Off, Asks::Fetch, out);
                self.send_first(out);
            }
            Phase::Ending | Phase::Refreshing | Phase::Registering => {
                // One REGISTER at a time (RFC 3261 §10.2).
                env.note(ts24229("5.1.1.1"), || "a REGISTER is out: does not fetch".to_owned());
                out.push(Action::State("fetch failed".to_owned()));
            }
        }
    }

    pub(super) fn register_again(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        let registration = &mut self.registration;
        (registration.invalid, registration.rounds, registration.longer) = (0, 0, 0);
        self.begin_agreement(env, out);
        let uri = self.registrar();
        let cnonce = env.ids.token(8);
        let request = For { method: "REGISTER", uri: &uri, cnonce: &cnonce, body: b"" };
        let credentials = match self.auth.again(request) {
            Some(credentials) => credentials,
            None => self.auth.unchallenged(&self.config.domain, &uri),
        };
        let credentials = (!self.recovery.early).then(|| credentials.to_string());
        self.send_register(credentials.as_deref(), out);
    }

    /// Sends the REGISTER of this attempt, with credentials unless early IMS security does without.
    pub(super) fn send_register(&mut self, credentials: Option<&str>, out: &mut Actions<UeTimer>) {
        let mistakes = self.config.mistakes;
        let address = if mistakes.another_impu {
            aor(&self.config.somebody_else.1)
        } else {
            aor(&self.config.register_impu)
        };
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
        self.push_asked(headers);
        if let Some(credentials) = credentials {
            let unreadable = mistakes.unreadable_authorization;
            let credentials = if unreadable { UNREADABLE } else { credentials };
            headers.push(HeaderName::Authorization, credentials);
        }
        let outbound = self.flow_number().is_some();
        let supported = if outbound { "path,gruu,outbound" } else { "path,gruu" };
        headers.push(HeaderName::Supported, supported);
        if mistakes.unknown_require {
            headers.push(HeaderName::Require, "no-such-extension");
        }
        self.push_agreement(headers);
        // In clear text nobody is told where we are (TS 24.229 §5.1.1.2.1); a UE that never
        // protects anything tells once it is challenged.
        let tells = if self.secures() {
            self.register_is_protected()
        } else {
            self.registration.rounds > 0 || self.registration.expires_at.is_some()
        };
        if tells {
            self.push_access(headers);
        }
        headers.push(HeaderName::ContentLength, "0");
        let (request, side) = (Box::new(request), self.own_side());
        let to = self.register_hop();
        out.push(Action::Originate { tag, request, to, within: None, side });
    }

    /// Contact and Expires by what the REGISTER asks for.
    fn push_asked(&self, headers: &mut Headers) {
        let contact = match self.registration.asks {
            Asks::Bind => self.contact_with_features(Some(self.registration.wish)),
            Asks::Leave => self.contact_with_features(Some(0)),
            Asks::LeaveAll => {
                headers.push(HeaderName::Contact, "*");
                let wrong = self.config.mistakes.star_with_expires;
                return headers.push(HeaderName::Expires, if wrong { "60" } else { "0" });
            }
            Asks::Fetch => return,
        };
        let mistakes = self.config.mistakes;
        let moved = (mistakes.contact_changed && self.registration.rounds > 0)
            || (mistakes.new_contact && self.registration.expires_at.is_some());
        if moved {
            let own = host_text(self.config.address.ip());
            headers.push(HeaderName::Contact, &contact.replace(&own, ELSEWHERE));
        } else {
            headers.push(HeaderName::Contact, &contact);
        }
    }

    /// The registration is over; what belonged to it goes. What still answers its last REGISTER is
    /// of no interest.
    pub(super) fn registration_gone(&mut self, state: &str, out: &mut Actions<UeTimer>) {
        let serial = self.registration.serial.wrapping_add(1);
        self.registration = Registration { serial, ..Registration::default() };
        self.auth.forget();
        self.end_subscription(out);
        self.drop_associations(out);
        self.forget_flow(out);
        out.push(Action::ClearTimer { timer: UeTimer::Register });
        out.push(Action::State(state.to_owned()));
    }

    /// The time to refresh, or to try again, has come.
    pub(super) fn on_register_timer(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        match self.registration.phase {
            Phase::On if self.registration.expires_at.is_some_and(|at| at <= env.now) => {
                env.note(ts24229("5.1.1.4.1"), || "never refreshed: it has expired".to_owned());
                self.registration_gone("registration expired", out);
                if self.config.retries {
                    self.register_later(env, out);
                }
            }
            Phase::On if self.refreshes() => self.reregister(env, out),
            Phase::On => {
                env.note(ts24229("5.1.6.4"), || "no emergency call: lets it expire".to_owned());
                let end = self.registration.expires_at.unwrap_or(env.now);
                out.push(Action::SetTimer { timer: UeTimer::Register, at: end });
            }
            Phase::Off => {
                self.recovery.start_round(env.now);
                self.register_initially(env, out);
            }
            Phase::Ending | Phase::Refreshing | Phase::Registering => {}
        }
    }

    pub(super) fn registrar(&self) -> String {
        format!("sip:{}", self.config.domain)
    }
}
