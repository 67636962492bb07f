//! The HSS as a node: a Diameter server on top of the store. Bytes in, bytes out; it answers each
//! question at once, and sends RTR and PPR when it is told to (TS 29.228 §6.1.3, §6.2.2).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::Scheme;
use crate::clause::{Clause, own, ts29228};
use crate::cx::{
    AuthItem, CxAnswer, CxCommand, CxCounts, CxRequest, DemandId, DeregistrationReason,
};
use crate::diameter::{
    DiameterServer, LocalPeer, RequestId, ServerConfig, ServerInput, ServerOutput, Timing,
};
use crate::hss::answer::HssEnv;
use crate::hss::demand::{Demanded, Services};
use crate::hss::misbehaviour::{Misbehaviour, Orders, bare_answer};
use crate::hss::state::{Restored, StateFault};
use crate::hss::store::{Entry, Store, StoreError, Subscriber};
use crate::ids::{Ids, Seed, ShardId};
use crate::ifc::ServiceProfile;
use crate::time::{Instant, UnixTime};
use crate::trace::{Note, Refusals, TraceEvent, TraceKind};
use crate::transport::{ConnId, Flow};

/// What an [`HssNode`] must know.
#[derive(Clone, Debug)]
pub struct HssConfig {
    /// Name in traces, e.g. `hss`.
    pub name: String,
    /// Who it is to its Diameter peers.
    pub us: LocalPeer,
    /// The home domain, in which telephone numbers are aliases (TS 24.229 §4.2).
    pub home_domain: String,
    /// Whether the S-CSCF name is kept for a user who deregisters, if the S-CSCF asks for it
    /// (TS 29.228 §6.1.2.1).
    pub keep_server_name: bool,
    /// How sequence numbers are made (TS 33.102 §C.1).
    pub sqn_scheme: Scheme,
    /// Spans of the Diameter connections.
    pub timing: Timing,
    /// Unix time at [`Instant::EPOCH`].
    pub unix_at_epoch: UnixTime,
    /// Whether somebody reads its trace.
    pub tracing: bool,
}

/// What happens to an [`HssNode`].
#[derive(Clone, Debug)]
pub enum HssInput {
    /// Bytes of a connection.
    Bytes(ConnId, Bytes),
    /// A connection ended, and why.
    Closed(ConnId, String),
    /// The operator or the bench orders something.
    Command(HssCommand),
    /// A peer connected; `conn` is set.
    Opened(Flow),
    /// The time [`HssNode::poll_timeout`] named has come.
    Timeout,
}

/// An order of the operator or the bench.
#[derive(Clone, Debug)]
pub enum HssCommand {
    /// Behaves again: no [`HssCommand::Misbehave`] is in force any more.
    Behave,
    /// Changes the services of the implicit registration set of a public identity and sends a PPR
    /// to its S-CSCF, if it has one (TS 29.228 §6.2.2).
    ChangeProfile {
        /// Any identity of the set.
        impu: String,
        /// The new services.
        service_profiles: Vec<ServiceProfile>,
    },
    /// Changes the primary charging collection function of a subscription and sends PPRs
    /// (TS 29.228 §6.2.2).
    ChangeCharging {
        /// Any private identity of the subscription.
        impi: String,
        /// An `aaa:` URI.
        ccf: String,
    },
    /// Changes the password of a private identity with SIP digest and sends PPRs
    /// (TS 29.228 §6.2.2).
    ChangePassword {
        /// The private identity.
        impi: String,
        /// The new one.
        password: String,
    },
    /// As [`HssCommand::ChangeProfile`], with a whole document.
    ChangeProfileXml {
        /// Any identity of the set.
        impu: String,
        /// An `IMSSubscription` document (TS 29.228 Annex E).
        profile_xml: String,
    },
    /// Sends an RTR (TS 29.228 §6.1.3).
    Deregister {
        /// The private identity.
        impi: String,
        /// Public identities; empty means all of the private one.
        impus: Vec<String>,
        /// Why.
        reason: DeregistrationReason,
        /// Text for the user.
        info: String,
    },
    /// Does something wrong with the next questions, for tests of those who ask.
    Misbehave {
        /// With which questions; `None` means all.
        command: Option<CxCommand>,
        /// What.
        how: Misbehaviour,
        /// With how many of them; `None` means until told otherwise.
        times: Option<u32>,
    },
    /// Adds a subscription.
    Provision(Box<Subscriber>),
    /// Disconnects from all peers in order.
    Shutdown,
}

/// What an [`HssNode`] wants.
#[derive(Clone, Debug)]
pub enum HssOutput {
    /// End a connection.
    Close(ConnId),
    /// Something to tell.
    Trace(TraceEvent),
    /// Write to a connection.
    Write(ConnId, Bytes),
}

/// The node.
#[derive(Debug)]
pub struct HssNode {
    name: Arc<str>,
    config: HssConfig,
    pub(super) server: DiameterServer,
    pub(super) store: Store,
    ids: Ids,
    pub(super) demands: BTreeMap<DemandId, Demanded>,
    pub(super) demand_count: u64,
    orders: Orders,
    /// Answers that are late on purpose; bounded by the questions that wait.
    late: BTreeMap<(Instant, RequestId), CxAnswer>,
    refusals: Refusals,
    answers: CxCounts,
    outputs: VecDeque<HssOutput>,
    /// Something that is to outlive the node may have changed since it was last told.
    pub(super) unkept: bool,
}

impl HssNode {
    /// A node with these subscriptions.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says which subscription cannot be, and why.
    pub fn new(config: HssConfig, subscribers: Vec<Entry>, seed: Seed) -> Result<Self, StoreError> {
        let store = Store::new(&config.home_domain, config.sqn_scheme, subscribers, &seed)?;
        let (us, timing, tracing) = (config.us.clone(), config.timing, config.tracing);
        let server = ServerConfig { us, timing, tracing };
        Ok(Self {
            name: Arc::from(config.name.as_str()),
            server: DiameterServer::new(server, seed),
            // Challenges come from another sequence than the identifiers on the wire.
            ids: Ids::new(seed, ShardId(1)),
            store,
            demands: BTreeMap::new(),
            demand_count: 0,
            orders: Orders::default(),
            late: BTreeMap::new(),
            refusals: Refusals::default(),
            answers: CxCounts::default(),
            outputs: VecDeque::new(),
            unkept: false,
            config,
        })
    }

    /// Its name in traces.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it knows.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The last refusals: the answer to "why?".
    pub const fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The answers it has given.
    #[must_use]
    pub const fn answers(&self) -> &CxCounts {
        &self.answers
    }

    /// Origin-Host of every peer that is connected.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        self.server.peers()
    }

    /// Whether what [`HssNode::kept`] tells may have changed since it was last asked.
    #[must_use]
    pub const fn is_unkept(&self) -> bool {
        self.unkept
    }

    /// What is to outlive the node (see [`Store::kept`]).
    #[must_use]
    pub fn kept(&mut self) -> String {
        self.unkept = false;
        self.store.kept()
    }

    /// Goes on where another node was when it told `kept`.
    ///
    /// # Errors
    ///
    /// As [`Store::restore`].
    pub fn restore(&mut self, now: Instant, kept: &str) -> Result<(), StateFault> {
        let Restored { sequence_numbers, sets, unclaimed } = self.store.restore(kept)?;
        let text = format!(
            "goes on with {sequence_numbers} sequence numbers and {sets} assigned S-CSCFs; \
             {unclaimed} lines are about identities that are not provisioned"
        );
        self.note(now, false, own("state"), text);
        Ok(())
    }

    /// Takes one event.
    pub fn handle_input(&mut self, now: Instant, input: HssInput) {
        match input {
            HssInput::Bytes(conn, bytes) => {
                self.server.handle_input(now, ServerInput::Bytes(conn, bytes));
            }
            HssInput::Closed(conn, cause) => {
                self.server.handle_input(now, ServerInput::Closed(conn, cause));
            }
            HssInput::Command(command) => self.on_command(now, command),
            HssInput::Opened(flow) => self.server.handle_input(now, ServerInput::Opened(flow)),
            HssInput::Timeout => {
                self.answer_late(now);
                self.server.handle_input(now, ServerInput::Timeout);
            }
        }
        self.drain_server(now);
    }

    /// Gives one output; `None` when drained.
    pub fn poll_output(&mut self) -> Option<HssOutput> {
        self.outputs.pop_front()
    }

    /// The next time it wants [`HssInput::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let late = self.late.keys().next().map(|(at, _)| *at);
        self.server.poll_timeout().into_iter().chain(late).min()
    }

    pub(super) fn drain_server(&mut self, now: Instant) {
        while let Some(output) = self.server.poll_output() {
            match output {
                ServerOutput::Close { conn } => self.outputs.push_back(HssOutput::Close(conn)),
                ServerOutput::DemandAnswer(demand, result) => {
                    self.on_demand_answer(now, demand, result);
                }
                ServerOutput::Request { id, origin_host, request } => {
                    self.on_request(now, id, &origin_host, &request);
                }
                ServerOutput::Trace(kind) => self.trace(now, kind),
                ServerOutput::Write { conn, bytes } => {
                    self.outputs.push_back(HssOutput::Write(conn, bytes));
                }
            }
        }
    }

    fn on_request(&mut self, now: Instant, id: RequestId, origin_host: &str, asked: &CxRequest) {
        let command = asked.command();
        let how = self.orders.next(command);
        if let Some(how) = how {
            let text = format!("{} is answered wrongly, as ordered: {how:?}", command.as_str());
            self.note(now, true, own("misbehaviour"), text);
        }
        let input = match how {
            Some(Misbehaviour::Silent) => ServerInput::Forget(id),
            Some(Misbehaviour::Garbage) => ServerInput::Garbage { id, data_only: false },
            Some(Misbehaviour::GarbledData) => ServerInput::Garbage { id, data_only: true },
            Some(Misbehaviour::Answer(result)) => {
                ServerInput::Answer(id, bare_answer(command, result))
            }
            Some(Misbehaviour::Late(by)) => {
                let answer = self.answer(now, origin_host, asked, false);
                self.answers.count(Some(command), answer.result());
                self.late.insert((now + by, id), answer);
                return;
            }
            Some(Misbehaviour::BadMac) => {
                let answer = self.answer(now, origin_host, asked, false);
                ServerInput::Answer(id, spoil_mac(answer))
            }
            Some(Misbehaviour::OldSqn) => {
                ServerInput::Answer(id, self.answer(now, origin_host, asked, true))
            }
            None => ServerInput::Answer(id, self.answer(now, origin_host, asked, false)),
        };
        if let ServerInput::Answer(_, answer) = &input {
            self.answers.count(Some(command), answer.result());
        }
        self.server.handle_input(now, input);
    }

    /// The store's answer; `old_sqn` as [`HssEnv::old_sqn`].
    fn answer(
        &mut self,
        now: Instant,
        origin_host: &str,
        asked: &CxRequest,
        old_sqn: bool,
    ) -> CxAnswer {
        let mut notes = Vec::new();
        let seconds = now.as_nanos() / 1_000_000_000;
        let unix_now = UnixTime(self.config.unix_at_epoch.0 + seconds);
        let tracing = self.config.tracing;
        let mut env = HssEnv { unix_now, ids: &mut self.ids, notes: &mut notes, old_sqn, tracing };
        let keep = self.config.keep_server_name;
        // Of all questions only this one changes nothing.
        self.unkept |= !matches!(asked, CxRequest::Lir(lir) if !lir.capabilities);
        let answer = self.store.answer(&mut env, origin_host, keep, asked);
        for note in notes {
            self.trace(now, TraceKind::Note(note));
        }
        answer
    }

    fn answer_late(&mut self, now: Instant) {
        while let Some(entry) = self.late.first_entry() {
            let (at, id) = *entry.key();
            if at > now {
                break;
            }
            let answer = entry.remove();
            self.server.handle_input(now, ServerInput::Answer(id, answer));
        }
    }

    fn on_command(&mut self, now: Instant, command: HssCommand) {
        match command {
            HssCommand::Behave => self.orders.clear(),
            HssCommand::Misbehave { command, how, times } => self.orders.add(command, how, times),
            HssCommand::ChangeCharging { impi, ccf } => self.change_charging(now, &impi, &ccf),
            HssCommand::ChangePassword { impi, password } => {
                self.change_password(now, &impi, &password);
            }
            HssCommand::ChangeProfile { impu, service_profiles } => {
                self.change_profile(now, &impu, Services::Profiles(service_profiles));
            }
            HssCommand::ChangeProfileXml { impu, profile_xml } => {
                self.change_profile(now, &impu, Services::Document(profile_xml));
            }
            HssCommand::Deregister { impi, impus, reason, info } => {
                self.deregister(now, &impi, &impus, reason, &info);
            }
            HssCommand::Provision(subscriber) => {
                if let Err(error) = self.store.provision(*subscriber) {
                    self.note(now, true, ts29228("6"), format!("not provisioned: {error}"));
                }
            }
            HssCommand::Shutdown => self.server.handle_input(now, ServerInput::Shutdown),
        }
    }

    pub(super) fn note(&mut self, now: Instant, refusal: bool, clause: Clause, text: String) {
        self.trace(now, TraceKind::Note(Note::new(clause, text, refusal)));
    }

    /// Something that came was refused by the host.
    pub(crate) fn dropped(&mut self, now: Instant, remote: SocketAddr, reason: String) {
        self.trace(now, TraceKind::Dropped { remote, reason });
    }

    fn trace(&mut self, now: Instant, kind: TraceKind) {
        if let TraceKind::Note(note) = &kind {
            self.refusals.keep(now, "", note);
        }
        if !self.config.tracing {
            return;
        }
        let event = TraceEvent { at: now, node: Arc::clone(&self.name), kind };
        self.outputs.push_back(HssOutput::Trace(event));
    }
}

/// Turns a bit of MAC-A in every vector.
fn spoil_mac(mut answer: CxAnswer) -> CxAnswer {
    if let CxAnswer::Maa(maa) = &mut answer {
        for item in &mut maa.items {
            if let AuthItem::Aka { autn, .. } = item {
                let [.., last] = autn;
                *last ^= 1;
            }
        }
    }
    answer
}
