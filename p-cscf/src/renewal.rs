//! What the answers to a REGISTER make of security associations (TS 33.203 §7.4.2a; TS 24.229
//! §5.2.2.2, §5.2.5): made by the challenge, established by the 200, replaced when the UE has used
//! newer ones, ended with the registration.

use cscf_core::auth::Key;
use cscf_core::clause::{own, ts24229, ts33203};
use cscf_core::role::{Action, Actions, ContextId, Env, Incoming, Side};
use cscf_core::sip::{HeaderName, Headers, Method, SecurityMechanism};
use cscf_core::time::Duration;
use cscf_core::trace::Diagnosis;
use cscf_core::transport::ipsec::{End, EspKeys, IPSEC_LIFETIME, Ports, SPI_MIN, SaCommand, SaSet};
use cscf_core::transport::{Flow, SaId};

use crate::associations::{Record, State};
use crate::exchange::{Exchange, Register};
use crate::security::{Agreement, mechanism};
use crate::tokens::UeId;
use crate::{Pcscf, Timer};

/// How much longer than the registration associations last (TS 33.203 §7.4.2a).
const BEYOND: Duration = Duration::from_secs(30);
/// 64 × T1 between elements and on the radio side: no transaction lasts longer, INVITE aside.
const TRANSACTION: Duration = Duration::from_secs(32);
const TRANSACTION_AIR: Duration = Duration::from_secs(128);
/// Most tries for an SPI that is free.
const TRIES: usize = 64;

impl Pcscf {
    /// Makes the associations of a challenge; gives the Security-Server for it.
    pub(crate) fn install(
        &mut self,
        env: &mut Env<'_>,
        exchange: &Register,
        agreement: &Agreement,
        (ck, ik, nonce): (Key, Key, &str),
        out: &mut Actions<Timer>,
    ) -> Vec<SecurityMechanism> {
        let others = self.associations.of_ue(exchange.ue);
        let waiting = others.filter(|it| it.state == State::Temporary).map(|it| it.set.id);
        for id in waiting.collect::<Vec<_>>() {
            // What the challenge itself leaves by stays a while.
            match exchange.flow.sa == Some(id) {
                true => self.close(env, id, out),
                false => self.drop_now(id, out),
            }
        }
        if !self.make_way(exchange, agreement, out) {
            env.refuse(ts33203("7.1"), || {
                "port-c or an SPI was taken meanwhile: no associations".to_owned()
            });
            return Vec::new();
        }
        if self.associations.len() >= self.config.limits.associations_max
            && let Some(oldest) = self.associations.oldest_temporary()
        {
            self.drop_now(oldest, out);
        }
        let Some(set) = self.new_set(env, exchange, agreement, (ck, ik)) else {
            env.refuse(own("limits"), || "no port or SPI is free: no associations".to_owned());
            return Vec::new();
        };
        let offered = self.config.security.gm.offered().into_iter().enumerate();
        let ports = set.local.ports;
        let server: Vec<SecurityMechanism> = offered
            .map(|(index, pair)| {
                let mut it = mechanism(index, pair, set.mode);
                it.params.set("spi-c", &ports.spi_client.to_string());
                it.params.set("spi-s", &ports.spi_server.to_string());
                it.params.set("port-c", &ports.client.to_string());
                it.params.set("port-s", &ports.server.to_string());
                it
            })
            .collect();
        let before = exchange.flow.sa.and_then(|sa| self.associations.get(sa));
        let before = before.filter(|it| it.state == State::Established).map(|it| it.set.id);
        let id = set.id;
        let expires_at = env.now + self.config.reg_await_auth;
        let impi = self.bindings.get(exchange.ue).map(|ue| ue.association.impi.clone());
        self.associations.insert(Record {
            set: set.clone(),
            ue: exchange.ue,
            impi: impi.unwrap_or_default(),
            state: State::Temporary,
            client: agreement.client.clone(),
            server: server.clone(),
            mediasec: agreement.mediasec,
            nonce: nonce.into(),
            before,
            expires_at,
        });
        env.note(ts33203("7.1"), || format!("temporary associations: {set}"));
        out.push(Action::Security(SaCommand::Install(Box::new(set))));
        out.push(Action::SetTimer { timer: Timer::Association(id), at: expires_at });
        server
    }

    /// Ends what is left of the same user's associations with these ports or SPIs; says whether
    /// nobody has them then.
    fn make_way(
        &mut self,
        exchange: &Register,
        agreement: &Agreement,
        out: &mut Actions<Timer>,
    ) -> bool {
        let Some(ue) = self.bindings.get(exchange.ue) else { return true };
        let impi = ue.association.impi.clone();
        let addr = exchange.flow.remote.ip();
        let used = self.associations.with_ports(addr, agreement.chosen.ports);
        let used: Vec<(SaId, bool)> = used.map(|it| (it.set.id, it.gives_way_to(&impi))).collect();
        if used.iter().any(|(_, gives_way)| !gives_way) {
            return false;
        }
        // What the challenge itself leaves by stays a while.
        for (id, _) in used.into_iter().filter(|(id, _)| exchange.flow.sa != Some(*id)) {
            self.drop_now(id, out);
        }
        true
    }

    fn new_set(
        &mut self,
        env: &mut Env<'_>,
        exchange: &Register,
        agreement: &Agreement,
        (ck, ik): (Key, Key),
    ) -> Option<SaSet> {
        let chosen = agreement.chosen;
        let remote = End { addr: exchange.flow.remote.ip(), ports: chosen.ports };
        let gm = &self.config.security.gm;
        let pool = u64::try_from(gm.port_pc.len()).unwrap_or(1).max(1);
        let start = usize::try_from(env.ids.below(pool)).unwrap_or_default();
        let client = self.associations.free_port(&gm.port_pc, remote.server(), start)?;
        let server = gm.port_ps;
        let (spi_client, spi_server) = (self.new_spi(env, &chosen.ports, 0)?, 0);
        let spi_server = self.new_spi(env, &chosen.ports, spi_client.max(spi_server))?;
        let ports = Ports { client, server, spi_client, spi_server };
        Some(SaSet {
            id: self.associations.next_id(),
            local: End { addr: exchange.flow.local.ip(), ports },
            remote,
            algorithms: chosen.algorithms,
            mode: chosen.mode,
            keys: EspKeys::expand(chosen.algorithms, &ck, &ik),
            lifetime: IPSEC_LIFETIME,
        })
    }

    /// An SPI that is neither given out, nor the UE's, nor this other one (TS 33.203 §7.1).
    fn new_spi(&self, env: &mut Env<'_>, theirs: &Ports, other: u32) -> Option<u32> {
        let taken = [theirs.spi_client, theirs.spi_server, other];
        (0..TRIES).find_map(|_| {
            let number = env.ids.below(u64::from(u32::MAX - SPI_MIN));
            let spi = u32::try_from(number).ok()? + SPI_MIN;
            (!taken.contains(&spi) && !self.associations.has_spi(spi)).then_some(spi)
        })
    }

    /// A 200: the associations it came by are those of the user now, or last longer.
    pub(crate) fn authenticated(
        &mut self,
        env: &mut Env<'_>,
        exchange: &Register,
        out: &mut Actions<Timer>,
    ) {
        let Some(ue) = self.bindings.get(exchange.ue) else { return };
        let until = ue.ends_at() + BEYOND;
        let confirmed = exchange.answers.and_then(|id| self.associations.get(id));
        let Some(record) = confirmed.filter(|it| it.state == State::Temporary).cloned() else {
            if let Some(record) = exchange.flow.sa.and_then(|id| self.associations.get(id))
                && record.state == State::Established
            {
                self.establish(record.set.id, record.expires_at.max(until), out);
            }
            return;
        };
        let id = record.set.id;
        let others: Vec<Record> =
            self.associations.of_ue(exchange.ue).filter(|it| it.set.id != id).cloned().collect();
        let living = |it: &&Record| matches!(it.state, State::Established | State::Superseded);
        // Lifetimes are never shortened.
        let longest = others.iter().filter(living).map(|it| it.expires_at).max();
        let until = longest.map_or(until, |longest| longest.max(until));
        self.establish(id, until, out);
        let now = env.now;
        env.note(ts33203("7.4.2a"), || {
            let seconds = until.since(now).as_secs();
            format!("set {} is established for {seconds} s", id.0)
        });
        for other in others {
            if record.before == Some(other.set.id) && living(&&other) {
                self.associations.advance(other.set.id, State::Superseded, other.expires_at);
                let left = other.expires_at.since(env.now);
                let at = env.now + left.saturating_sub(TRANSACTION);
                out.push(Action::SetTimer { timer: Timer::Association(other.set.id), at });
            } else if other.state != State::Closing {
                env.note(ts33203("7.4.2a"), || format!("set {} ends at once", other.set.id.0));
                self.drop_now(other.set.id, out);
            }
        }
    }

    fn establish(&mut self, id: SaId, until: cscf_core::time::Instant, out: &mut Actions<Timer>) {
        self.associations.advance(id, State::Established, until);
        out.push(Action::SetTimer { timer: Timer::Association(id), at: until });
    }

    /// The flow by which requests go to a UE whose REGISTER got a 200: the old associations until
    /// the UE has used the new ones (TS 33.203 §7.4.2a).
    pub(crate) fn flow_after(&self, known: Flow, exchange: &Register) -> Flow {
        let record = exchange.answers.and_then(|id| self.associations.get(id));
        match record.and_then(|it| it.before) {
            Some(before) if known.sa == Some(before) => known,
            _ => exchange.flow,
        }
    }

    /// The answer to a challenge was refused: the answer leaves by the associations of before, if
    /// there were any, and the new ones end (TS 33.203 §7.4.2a).
    pub(crate) fn not_authenticated(
        &mut self,
        env: &mut Env<'_>,
        context: ContextId,
        exchange: &Register,
        out: &mut Actions<Timer>,
    ) {
        let Some(record) = exchange.answers.and_then(|id| self.associations.get(id)) else {
            return;
        };
        let id = record.set.id;
        if let Some(before) = record.before.and_then(|id| self.associations.get(id)) {
            let flow = Flow { transport: exchange.flow.transport, ..before.set.datagram_flow() };
            env.note(ts33203("7.4.2a"), || format!("the refusal leaves by the old set: {flow}"));
            out.push(Action::AnswerBy { context, flow });
        }
        self.close(env, id, out);
    }

    /// A message of a UE came by its newer associations: what goes to it does so too from now on.
    pub(crate) fn came_by(&mut self, env: &mut Env<'_>, flow: &Flow, out: &mut Actions<Timer>) {
        let Some(sa) = flow.sa else { return };
        let Some(record) = self.associations.get(sa) else { return };
        if record.state != State::Established {
            return;
        }
        let (id, known) = (record.ue, self.bindings.get(record.ue).map(|ue| ue.flow.sa));
        if known.is_none_or(|its| its == Some(sa)) {
            return;
        }
        if !self.shard.is_owner() {
            return self.tell_heard(id, flow);
        }
        let Some(ue) = self.bindings.get_mut(id) else { return };
        let old = ue.flow.sa;
        (ue.flow, ue.flow_lost) = (*flow, false);
        self.watch_flow(id, out);
        env.note(ts33203("7.4.2a"), || {
            format!("the UE uses set {}: what goes to it does so too", sa.0)
        });
        self.retire(env, old, out);
    }

    /// Superseded associations are kept for the transactions they have.
    fn retire(&mut self, env: &Env<'_>, id: Option<SaId>, out: &mut Actions<Timer>) {
        let Some(record) = id.and_then(|id| self.associations.get(id)) else { return };
        let (id, expires_at) = (record.set.id, record.expires_at);
        let at = (env.now + self.transaction(record.ue)).min(expires_at);
        self.associations.advance(id, State::Retired, expires_at);
        out.push(Action::SetTimer { timer: Timer::Association(id), at });
    }

    /// How long a transaction with this UE may last.
    fn transaction(&self, ue: UeId) -> Duration {
        match self.bindings.get(ue).map(|ue| ue.side) {
            Some(Side::Air) => TRANSACTION_AIR,
            Some(Side::Core) | None => TRANSACTION,
        }
    }

    /// Ends associations when the answers that left by them cannot be asked for again
    /// (TS 24.229 §5.2.5.1).
    pub(crate) fn close(&mut self, env: &Env<'_>, id: SaId, out: &mut Actions<Timer>) {
        let Some(record) = self.associations.get(id) else { return };
        let at = env.now + self.transaction(record.ue);
        self.associations.advance(id, State::Closing, at);
        out.push(Action::SetTimer { timer: Timer::Association(id), at });
    }

    /// Ends all associations of a UE that is gone.
    pub(crate) fn close_all(&mut self, env: &Env<'_>, ue: UeId, out: &mut Actions<Timer>) {
        let open = self.associations.of_ue(ue).filter(|it| it.state != State::Closing);
        for id in open.map(|it| it.set.id).collect::<Vec<_>>() {
            self.close(env, id, out);
        }
    }

    /// Ends associations at once.
    pub(crate) fn drop_now(&mut self, id: SaId, out: &mut Actions<Timer>) {
        if self.associations.remove(id).is_some() {
            out.push(Action::Security(SaCommand::Remove(id)));
            out.push(Action::ClearTimer { timer: Timer::Association(id) });
        }
    }

    /// Ends all associations of a UE at once: another registration took its place.
    pub(crate) fn drop_all(&mut self, ue: UeId, out: &mut Actions<Timer>) {
        for id in self.associations.of_ue(ue).map(|it| it.set.id).collect::<Vec<_>>() {
            self.drop_now(id, out);
        }
    }

    pub(crate) fn on_association_timer(
        &mut self,
        env: &mut Env<'_>,
        id: SaId,
        out: &mut Actions<Timer>,
    ) {
        let Some(record) = self.associations.get(id).cloned() else { return };
        match record.state {
            State::Temporary => {
                let seconds = self.config.reg_await_auth.as_secs();
                let diagnosis = Diagnosis::new(&*record.impi, "answer to the challenge")
                    .ours(format!("a REGISTER protected by set {} within {seconds} s", id.0))
                    .theirs("none")
                    .change(
                        "look for what was dropped at the protected ports: clear text, a wrong \
                         SPI, other keys (K, OP), ESP blocked on the way",
                    );
                let text = format!("no protected REGISTER of {} after the 401", record.impi);
                env.diagnose(ts24229("5.2.2.2"), text, diagnosis);
                self.drop_now(id, out);
            }
            State::Superseded => {
                let newer = self.associations.of_ue(record.ue);
                let newer = newer.filter(|it| it.state == State::Established).last();
                let flow = newer.map(|it| it.set.datagram_flow());
                if let (Some(flow), Some(ue)) = (flow, self.bindings.get_mut(record.ue)) {
                    ue.flow = Flow { transport: ue.flow.transport, ..flow };
                }
                env.note(ts33203("7.4.2a"), || {
                    format!("set {} ends soon: not used any more", id.0)
                });
                self.retire(env, Some(id), out);
            }
            State::Retired if record.expires_at > env.now && self.is_used(id) => {
                let at = (env.now + self.transaction(record.ue)).min(record.expires_at);
                out.push(Action::SetTimer { timer: Timer::Association(id), at });
            }
            State::Retired | State::Closing | State::Established => {
                env.note(ts33203("7.4.2a"), || format!("set {} has come to its end", id.0));
                self.drop_now(id, out);
            }
        }
    }

    /// Whether a transaction with the UE is open that came or went by these associations.
    fn is_used(&self, id: SaId) -> bool {
        // What the calls of other engines do is not known here.
        if !self.shard.is_alone() {
            return true;
        }
        self.exchanges.values().any(|exchange| match exchange {
            Exchange::Call(call) => call.sa == Some(id),
            Exchange::Register(register) => register.flow.sa == Some(id),
        })
    }

    /// Whether a request other than REGISTER is to be worked on: not by waiting or ended
    /// associations (TS 33.203 §7.4.2a), and in clear only of UEs that have none, and emergencies
    /// (§7.1).
    pub(crate) fn may_come(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<Timer>,
    ) -> bool {
        let remote = incoming.flow.remote;
        let method = &incoming.request.method;
        let Some(sa) = incoming.flow.sa else {
            if !self.associations.protects(remote.ip()) || incoming.request.asks_emergency_service()
            {
                return true;
            }
            let why = "in clear text, and the UE has security associations".to_owned();
            let clause = ts33203("7.1");
            if self.config.security.gm.discard_unprotected || *method == Method::Ack {
                env.refuse(clause, || format!("{method} from {remote} dropped: {why}"));
                out.push(Action::Discard { context: incoming.context });
            } else {
                Self::refuse(env, out, incoming, 403, (clause, why));
            }
            return false;
        };
        let state = self.associations.get(sa).map(|it| it.state);
        if matches!(state, Some(State::Established | State::Superseded | State::Retired)) {
            return true;
        }
        env.refuse(ts33203("7.4.2a"), || {
            let state = state.map_or("gone".to_owned(), |it| format!("{it:?}").to_lowercase());
            format!("{method} from {remote} dropped: set {} is {state}", sa.0)
        });
        out.push(Action::Discard { context: incoming.context });
        false
    }
}

/// Puts Security-Server into an answer (TS 33.203 §7.2).
pub(crate) fn add_server(headers: &mut Headers, server: &[SecurityMechanism], mediasec: bool) {
    for mechanism in server {
        headers.push(HeaderName::SecurityServer, &mechanism.to_string());
    }
    if mediasec {
        headers.push(HeaderName::SecurityServer, "sdes-srtp;mediasec");
    }
}
