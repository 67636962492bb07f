//! The security agreement as a UE makes it (TS 33.203 §7; TS 24.229 §5.1.1.2.2, §5.1.1.5.1;
//! RFC 3329): what it offers, which of the P-CSCF's mechanisms it takes, and under which set of
//! associations each message leaves. Packets are for others to protect.

use std::net::IpAddr;

use cscf_core::clause::{ts24229, ts33203};
use cscf_core::role::{Action, Actions, Cause, Env, NextHop, OwnAnswered};
use cscf_core::sip::{HeaderName, Headers, Message, Method, Response, SecurityMechanism, Uri};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::Diagnosis;
use cscf_core::transport::ipsec::{
    Algorithms, End, EspKeys, IPSEC_LIFETIME, Mode, Ports, SPI_MIN, SaCommand, SaSet, offers,
};
use cscf_core::transport::{Flow, SaId, Transport};

use super::{Credentials, Protection, Ue, UeTimer};

/// The protected server port; it stays the same as long as the UE is on (TS 33.203 §7.1).
const SERVER_PORT: u16 = 40_002;
/// The protected client ports, one after the other: each agreement needs a new one.
const CLIENT_PORTS: std::ops::RangeInclusive<u16> = 40_003..=40_999;
/// How much longer than the registration its associations last (TS 33.203 §7.4.1).
const LONGER_BY: Duration = Duration::from_secs(30);
/// Protected requests in a row without any answer that make a UE doubt its associations.
const UNANSWERED_MAX: u8 = 2;
/// An integrity algorithm that nobody has, for mistakes.
const UNKNOWN_ALGORITHM: &str = "hmac-sha-512-256";
/// Mechanisms of a Security-Server looked at, at most.
pub(super) const MECHANISMS_MAX: usize = 32;

/// A set of associations with what belongs to it in SIP.
#[derive(Debug)]
struct Association {
    set: SaSet,
    /// The mechanisms of Security-Server as they came, to be repeated in Security-Verify.
    server: Vec<String>,
    until: Instant,
}

/// What a UE knows of its security associations: at most the set in use, the one being
/// authenticated, and the one before.
#[derive(Debug, Default)]
pub(super) struct Security {
    /// Ports and SPIs in the Security-Client of this attempt.
    offered: Option<Ports>,
    active: Option<Association>,
    temporary: Option<Association>,
    /// The set before, and its end: its own, until the network has used the new set.
    retired: Option<(SaId, Instant)>,
    /// Sets made so far.
    count: u32,
    /// Client ports used so far.
    ports: u16,
    /// Protected requests without answer since the last answer.
    unanswered: u8,
    /// A challenge without a mechanism of use was met with a new attempt once.
    abandoned: bool,
    /// The mechanisms of Security-Server that TLS was agreed on by, to be repeated in
    /// Security-Verify.
    pub(super) over_tls: Option<Vec<String>>,
}

impl Association {
    fn flow(&self, transport: Transport) -> Flow {
        match transport {
            Transport::Udp => self.set.datagram_flow(),
            transport => Flow { transport, ..self.set.stream_flow() },
        }
    }
}

impl Ue {
    /// Whether this UE agrees on security associations: with a card, and where it is told to.
    fn secures_by_ipsec(&self) -> bool {
        let has_card = matches!(self.config.credentials, Credentials::Aka { .. });
        self.config.security == Protection::Ipsec && has_card && !self.recovery.early
    }

    /// Whether this UE makes security agreements.
    pub(super) fn secures(&self) -> bool {
        self.secures_by_ipsec() || self.secures_by_tls()
    }

    /// New ports and SPIs for the next Security-Client; the server port stays
    /// (TS 33.203 §7.4.1, TS 24.229 §5.1.1.4.2).
    pub(super) fn offer_anew(&mut self, env: &mut Env<'_>) {
        if !self.secures_by_ipsec() {
            self.security.offered = None;
            return;
        }
        let span = CLIENT_PORTS.end() - CLIENT_PORTS.start() + 1;
        let client = CLIENT_PORTS.start() + self.security.ports % span;
        self.security.ports = self.security.ports.wrapping_add(1);
        let mut spi = || {
            let free = u64::from(u32::MAX - SPI_MIN);
            SPI_MIN + u32::try_from(env.ids.below(free)).unwrap_or_default()
        };
        let spi_client = spi();
        let spi_server = std::iter::repeat_with(spi).find(|spi| *spi != spi_client);
        let spi_server = spi_server.unwrap_or(SPI_MIN);
        self.security.offered = Some(Ports { client, server: SERVER_PORT, spi_client, spi_server });
    }

    /// The beginning of an unprotected registration: what was being authenticated is void.
    pub(super) fn begin_agreement(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        self.drop_temporary(out);
        self.offer_anew(env);
    }

    /// Security-Client, Security-Verify and the option tags of a REGISTER
    /// (TS 24.229 §5.1.1.2.2, §5.1.1.4.2, §5.1.1.5.1).
    pub(super) fn push_agreement(&self, headers: &mut Headers) {
        let mistakes = self.config.mistakes;
        if mistakes.no_sec_agree {
            return headers.push(HeaderName::Supported, "sec-agree");
        }
        let Some(ports) = self.security.offered else { return self.push_tls(headers) };
        let answers = self.security.temporary.is_some();
        let mut client = self.security_client(ports);
        if mistakes.security_client_differs && answers {
            client = with_next_number(&client, "spi-c=");
        }
        push_client(headers, &client);
        if let Some(over) = self.association_of_register() {
            let mut verify = over.server.join(", ");
            if mistakes.security_verify_differs && answers {
                verify = with_next_number(&verify, "spi-s=");
            }
            headers.push(HeaderName::SecurityVerify, &verify);
        }
    }

    fn security_client(&self, ports: Ports) -> String {
        let Ports { client, server, spi_client, spi_server } = ports;
        let mechanism = |alg: &str, ealg: &str| {
            format!(
                "ipsec-3gpp;alg={alg};ealg={ealg};prot=esp;mod=trans;spi-c={spi_client};\
                 spi-s={spi_server};port-c={client};port-s={server}"
            )
        };
        if self.config.mistakes.no_common_algorithm {
            return mechanism(UNKNOWN_ALGORITHM, "null");
        }
        let list = self.config.algorithms.iter();
        let list = list.map(|it| mechanism(it.integrity().as_str(), it.encryption().as_str()));
        list.collect::<Vec<_>>().join(", ")
    }

    /// The set under which the REGISTER leaves: the one being authenticated, else that of the
    /// registration, else none.
    fn association_of_register(&self) -> Option<&Association> {
        let active = self.security.active.as_ref();
        let active = active.filter(|_| self.registration.expires_at.is_some());
        self.security.temporary.as_ref().or(active)
    }

    /// Whether the REGISTER leaves protected.
    pub(super) fn register_is_protected(&self) -> bool {
        self.association_of_register().is_some() || self.transport().is_secure()
    }

    /// Where the REGISTER goes.
    pub(super) fn register_hop(&self) -> NextHop {
        match self.association_of_register() {
            Some(over) => NextHop::Flow(over.flow(self.config.transport)),
            None => NextHop::Uri(self.pcscf_uri()),
        }
    }

    /// The port at which we are reached: the protected server port, once there is one.
    pub(super) fn contact_port(&self) -> u16 {
        let over = self.association_of_register();
        over.map_or(self.config.address.port(), |over| over.set.local.ports.server)
    }

    /// Whether a port is one of ours, protected or not.
    pub(super) fn is_own_port(&self, port: u16) -> bool {
        let sets = [&self.security.active, &self.security.temporary];
        port == self.config.address.port()
            || sets.into_iter().flatten().any(|it| it.set.local.ports.server == port)
    }

    /// Host and port of the P-CSCF in our Routes: the protected server port under associations.
    pub(super) fn pcscf_route(&self) -> String {
        match &self.security.active {
            Some(active) => format!("sip:{}", active.set.remote.server()),
            None => self.pcscf().to_owned(),
        }
    }

    /// A valid challenge: takes the most preferred mechanism of Security-Server that we offered,
    /// and sets up the associations to be authenticated (TS 24.229 §5.1.1.5.1).
    ///
    /// # Errors
    ///
    /// Why there are none: the answer to the challenge must not be sent.
    pub(super) fn agree(
        &mut self,
        env: &mut Env<'_>,
        response: &Response,
        via: Option<&Flow>,
        out: &mut Actions<UeTimer>,
    ) -> Result<(), String> {
        if self.secures_by_tls() {
            return self.agree_on_tls(env, response);
        }
        let Some(ours) = self.security.offered else { return Ok(()) };
        let Some((ck, ik)) = self.auth.keys() else { return Err("no keys".to_owned()) };
        let server = mechanisms_of(response)?;
        let fits = |algorithms: &Algorithms| self.config.algorithms.contains(algorithms);
        let chosen = offers(&server)
            .into_iter()
            .find(|it| it.mode == Mode::Transport && fits(&it.algorithms))
            .ok_or_else(|| format!("no usable mechanism in {}", list(&server)))?;
        let pcscf = via.map(|flow| flow.remote.ip()).or_else(|| self.pcscf_address());
        let pcscf = pcscf.ok_or("the P-CSCF has no address")?;
        self.drop_temporary(out);
        self.security.count = self.security.count.wrapping_add(1);
        let set = SaSet {
            id: SaId(self.security.count),
            local: End { addr: self.config.address.ip(), ports: ours },
            remote: End { addr: pcscf, ports: chosen.ports },
            algorithms: chosen.algorithms,
            mode: chosen.mode,
            keys: EspKeys::expand(chosen.algorithms, &ck, &ik),
            lifetime: IPSEC_LIFETIME,
        };
        env.note(ts24229("5.1.1.5.1"), || format!("answers under {set}"));
        out.push(Action::Security(SaCommand::Install(Box::new(set.clone()))));
        let server = server.iter().map(ToString::to_string).collect();
        self.security.temporary = Some(Association { set, server, until: env.now });
        Ok(())
    }

    /// A challenge without a mechanism of use: the attempt is abandoned, and made anew once
    /// (TS 24.229 §5.1.1.5.1). Says whether it is.
    pub(super) fn abandon(
        &mut self,
        env: &mut Env<'_>,
        why: &str,
        out: &mut Actions<UeTimer>,
    ) -> bool {
        let again =
            !std::mem::replace(&mut self.security.abandoned, true) && !self.registration.leaves();
        let diagnosis = Diagnosis::new(&*self.config.impi, "Security-Server against the UE's list")
            .theirs(why)
            .ours(self.offered_text())
            .change("let the P-CSCF offer one of these, or register without security agreement");
        let next = if again { "registers anew" } else { "gives up" };
        let text = format!("the security agreement has failed: {next}");
        env.diagnose(ts24229("5.1.1.5.1"), text, diagnosis);
        if again {
            self.register_initially(env, out);
        }
        again
    }

    /// The registration stands: the set that was authenticated is the one to use, the one before
    /// ends with its transactions, or at once after an unprotected beginning
    /// (TS 33.203 §7.4.1a, §7.4.1).
    pub(super) fn settle_agreement(
        &mut self,
        env: &mut Env<'_>,
        granted: Duration,
        initial: bool,
        out: &mut Actions<UeTimer>,
    ) {
        self.security.abandoned = false;
        self.security.unanswered = 0;
        let lasts = env.now + granted + LONGER_BY;
        let before = self.security.active.as_ref().map(|old| old.until);
        if let Some(mut new) = self.security.temporary.take() {
            let old = self.security.active.take();
            new.until = lasts.max(old.as_ref().filter(|_| !initial).map_or(lasts, |old| old.until));
            self.security.active = Some(new);
            if let Some(old) = old {
                self.drop_retired(out);
                if initial {
                    out.push(Action::Security(SaCommand::Remove(old.set.id)));
                } else {
                    env.note(ts33203("7.4.1a"), || {
                        format!("set {} stays until the network uses the new one", old.set.id.0)
                    });
                    self.security.retired = Some((old.set.id, old.until));
                }
            }
        } else if let (Some(active), Some(before)) = (&mut self.security.active, before) {
            active.until = lasts.max(before);
        }
        self.watch_associations(out);
    }

    /// A further message came by the new set: the one before only stays for its transactions
    /// (TS 33.203 §7.4.1a).
    pub(super) fn heed_path(
        &mut self,
        env: &mut Env<'_>,
        flow: Option<&Flow>,
        out: &mut Actions<UeTimer>,
    ) {
        let Some(by) = flow.and_then(|flow| flow.sa) else { return };
        let active = self.security.active.as_ref().map(|active| active.set.id);
        let Some((id, end)) = self.security.retired.filter(|_| active == Some(by)) else { return };
        let at = env.now + self.config.timers.t1 * 64;
        if at < end {
            env.note(ts33203("7.4.1a"), || {
                format!("set {} stays for its transactions until {at}", id.0)
            });
            self.security.retired = Some((id, at));
            self.watch_associations(out);
        }
    }

    fn watch_associations(&self, out: &mut Actions<UeTimer>) {
        let active = self.security.active.as_ref().map(|it| it.until);
        let retired = self.security.retired.map(|(_, at)| at);
        if let Some(at) = active.into_iter().chain(retired).min() {
            out.push(Action::SetTimer { timer: UeTimer::Associations, at });
        }
    }

    /// A set has reached its end.
    pub(super) fn on_associations_timer(&mut self, env: &mut Env<'_>, out: &mut Actions<UeTimer>) {
        if self.security.retired.is_some_and(|(_, at)| at <= env.now) {
            self.drop_retired(out);
        }
        if self.security.active.as_ref().is_some_and(|it| it.until <= env.now) {
            env.note(ts33203("7.4.1"), || "the associations have reached their end".to_owned());
            self.drop_associations(out);
        }
        self.watch_associations(out);
    }

    /// The challenge was not answered well: what was being authenticated is void, what there was
    /// before stays (TS 33.203 §7.4.1a).
    pub(super) fn drop_temporary(&mut self, out: &mut Actions<UeTimer>) {
        if let Some(temporary) = self.security.temporary.take() {
            out.push(Action::Security(SaCommand::Remove(temporary.set.id)));
        }
    }

    fn drop_retired(&mut self, out: &mut Actions<UeTimer>) {
        if let Some((id, _)) = self.security.retired.take() {
            out.push(Action::Security(SaCommand::Remove(id)));
        }
    }

    /// Nothing is registered any more: all associations go (TS 24.229 §5.1.1.6.2).
    pub(super) fn drop_associations(&mut self, out: &mut Actions<UeTimer>) {
        // What was to leave before still leaves under them.
        self.protect(out);
        self.drop_temporary(out);
        self.drop_retired(out);
        if let Some(active) = self.security.active.take() {
            out.push(Action::Security(SaCommand::Remove(active.set.id)));
            out.push(Action::ClearTimer { timer: UeTimer::Associations });
        }
        self.security.unanswered = 0;
        self.forget_tls();
    }

    /// [`Ue::protect`] for the actions from `start` on.
    pub(super) fn protect_from(&self, start: usize, out: &mut Actions<UeTimer>) {
        self.spoil_from(start, out);
        self.protect(out.get_mut(start..).unwrap_or_default());
    }

    /// Puts requests under the associations: all but REGISTER, which has a way of its own, leave
    /// for the P-CSCF's protected server port and repeat Security-Server
    /// (TS 24.229 §5.1.2A.1.1, RFC 3329 §2.3.1).
    pub(super) fn protect(&self, actions: &mut [Action<UeTimer>]) {
        let active = self.security.active.as_ref();
        let server = active.map(|active| &active.server).or(self.security.over_tls.as_ref());
        let Some(server) = server else { return };
        let verify = server.join(", ");
        for action in actions {
            let (request, to) = match action {
                Action::Originate { request, to, .. } => (request, to),
                Action::SendAck { request, to } => (request, to),
                _ => continue,
            };
            if request.method == Method::Register {
                continue;
            }
            if let Some(active) = active {
                *to = NextHop::Flow(active.flow(self.config.transport));
            }
            if request.method != Method::Ack {
                let headers = &mut request.headers;
                headers.set(HeaderName::SecurityVerify, &verify);
                for name in [HeaderName::Require, HeaderName::ProxyRequire] {
                    if !headers.has_token(name, "sec-agree") {
                        headers.push(name, "sec-agree");
                    }
                }
            }
        }
    }

    /// Whether a set waits for the answer that proves it.
    pub(super) const fn is_authenticating(&self) -> bool {
        self.security.temporary.is_some()
    }

    /// Whether a message that came in the clear is for us: with a security agreement no request is
    /// (TS 33.203 §7.1), but within what began in the clear while nothing was registered. Of an
    /// answer its transaction knows how its request left.
    pub(super) fn admits_clear(&self, message: &Message) -> Result<(), &'static str> {
        let Message::Request(request) = message else { return Ok(()) };
        let within = request.to_tag().is_some() && self.security.active.is_none();
        let calls_unregistered = self.config.emergency.is_some() || within;
        match !self.secures() || (calls_unregistered && !self.registration.is_on()) {
            true => Ok(()),
            false => Err("clear text: requests come to this UE protected only"),
        }
    }

    /// Says of a request that stayed without answer by which set it left.
    pub(super) fn tell_silence(&self, env: &mut Env<'_>, answered: &OwnAnswered) {
        if !matches!(answered.cause, Cause::Timeout | Cause::Transport) {
            return;
        }
        let by = answered.flow.and_then(|flow| flow.sa);
        let is_it = |it: &&Association| Some(it.set.id) == by;
        let Security { active, temporary, .. } = &self.security;
        let method = method_of(&answered.response);
        let (clause, set) = match temporary.as_ref().filter(is_it) {
            Some(it) => (ts24229("5.1.1.5.1"), &it.set),
            None => match active.as_ref().filter(is_it) {
                Some(it) if method == "REGISTER" => (ts24229("5.1.1.4.1"), &it.set),
                Some(it) => (ts24229("5.1.1.2.1"), &it.set),
                None if method == "REGISTER" => return self.tell_no_pcscf(env, answered.cause),
                None => return,
            },
        };
        let waited = (self.config.timers.t1 * 64).as_secs();
        let diagnosis = Diagnosis::new(&*self.config.impi, "an answer over the association")
            .theirs(format!("nothing from {} within {waited} s", set.remote.addr))
            .ours(set.to_string())
            .change(
                "see at the P-CSCF whether it still has this set (one that started anew has none) \
                 and what it drops; else whether ESP passes between these addresses",
            );
        let text = format!("{method}: no answer over the association");
        env.diagnose(clause, text, diagnosis);
    }

    /// Says that the P-CSCF is not there.
    fn tell_no_pcscf(&self, env: &mut Env<'_>, cause: Cause) {
        let look = match self.transport().is_secure() {
            true => {
                "whether the P-CSCF listens for TLS there, and whether its certificate is one of \
                 the CA that this UE trusts"
            }
            false => "whether the P-CSCF runs at this address, and what is on the way to it",
        };
        let waited = (self.config.timers.t1 * 64).as_secs();
        let silent = cause == Cause::Timeout;
        let came = if silent { format!("nothing within {waited} s") } else { "refused".to_owned() };
        let diagnosis = Diagnosis::new(&*self.config.impi, "the P-CSCF answers the REGISTER")
            .theirs(came)
            .ours(format!("a REGISTER to {}", self.pcscf()))
            .change(look);
        let text = format!("REGISTER: no answer from {}", self.pcscf());
        env.diagnose(ts24229("5.1.1.2.1"), text, diagnosis);
    }

    /// Counts protected requests without an answer; after several the associations are not believed
    /// in any more: everything under them is over, and the UE registers from the beginning
    /// (TS 24.229 §5.1.1.2.1, §5.1.2A.1.1), unless it was about to leave.
    pub(super) fn doubt_associations(
        &mut self,
        env: &mut Env<'_>,
        answered: (Option<Flow>, Cause),
        out: &mut Actions<UeTimer>,
    ) {
        let (flow, cause) = answered;
        let active = self.security.active.as_ref().map(|active| active.set.id);
        if active.is_none() || flow.and_then(|flow| flow.sa) != active {
            return;
        }
        if matches!(cause, Cause::Received | Cause::Budget) {
            self.security.unanswered = 0;
            return;
        }
        self.security.unanswered += 1;
        if self.security.unanswered < UNANSWERED_MAX {
            return;
        }
        let leaves = self.registration.leaves();
        let next = if leaves { "is gone" } else { "registers from the start" };
        env.refuse(ts24229("5.1.1.2.1"), || {
            format!("{UNANSWERED_MAX} protected requests without answer: {next}")
        });
        self.lose_all_calls(env, out);
        if leaves {
            return self.registration_gone("deregistered", out);
        }
        self.registration_gone("registration lost", out);
        self.recovery.forget(self.config.expires);
        self.register_initially(env, out);
    }

    /// Associations do not hold at this end: the challenge they were for cannot be answered.
    pub(super) fn not_secured(
        &mut self,
        env: &mut Env<'_>,
        id: SaId,
        cause: String,
        out: &mut Actions<UeTimer>,
    ) {
        let waiting = self.security.temporary.as_ref().filter(|it| it.set.id == id);
        let Some(set) = waiting.map(|it| it.set.to_string()) else { return };
        let diagnosis = Diagnosis::new(&*self.config.impi, "the associations of the challenge")
            .theirs(cause)
            .ours(set)
            .change("what keeps this machine from protecting packets; `cscf doctor` looks at it");
        let text = "the associations do not hold: the challenge is not answered".to_owned();
        env.diagnose(ts33203("7.1"), text, diagnosis);
        // What answers the REGISTER that left under them is no longer of interest.
        self.registration.serial = self.registration.serial.wrapping_add(1);
        out.push(Action::State("associations refused".to_owned()));
        self.on_register_failed(env, 500, None, out);
    }

    fn pcscf_address(&self) -> Option<IpAddr> {
        let uri = Uri::parse(self.pcscf()).ok()?;
        uri.host()?.trim_matches(['[', ']']).parse().ok()
    }
}

/// What a response tells of the path it came by, or of the lack of one.
pub(super) fn path_of(answered: &OwnAnswered) -> (Option<Flow>, Cause) {
    (answered.flow, answered.cause)
}

/// The method that a response answers.
fn method_of(response: &Response) -> &str {
    let cseq = response.headers.get(HeaderName::CSeq).unwrap_or_default();
    cseq.split_whitespace().nth(1).unwrap_or_default()
}

/// Security-Client, and that it counts.
pub(super) fn push_client(headers: &mut Headers, client: &str) {
    headers.push(HeaderName::Require, "sec-agree");
    headers.push(HeaderName::ProxyRequire, "sec-agree");
    headers.push(HeaderName::SecurityClient, client);
}

/// Security-Server of a 401.
pub(super) fn mechanisms_of(response: &Response) -> Result<Vec<SecurityMechanism>, String> {
    let server = response.headers.security(HeaderName::SecurityServer);
    let mut server = server.map_err(|fault| format!("Security-Server: {fault}"))?;
    server.truncate(MECHANISMS_MAX);
    if server.is_empty() {
        return Err("the 401 has no Security-Server".to_owned());
    }
    Ok(server)
}

pub(super) fn list(mechanisms: &[SecurityMechanism]) -> String {
    mechanisms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The text with the first number behind `name` raised by one, for mistakes.
fn with_next_number(text: &str, name: &str) -> String {
    let Some((before, behind)) = text.split_once(name) else { return text.to_owned() };
    let end = behind.find(|char: char| !char.is_ascii_digit()).unwrap_or(behind.len());
    let (digits, rest) = behind.split_at_checked(end).unwrap_or((behind, ""));
    let next = digits.parse::<u32>().unwrap_or_default().wrapping_add(1);
    format!("{before}{name}{next}{rest}")
}
