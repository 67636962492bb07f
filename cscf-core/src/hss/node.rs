//! The HSS as a node: a Diameter server on top of the store. Bytes in, bytes out; it answers each
//! question at once, and sends RTR and PPR when it is told to (TS 29.228 §6.1.3, §6.2.2).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::Scheme;
use crate::clause::{Clause, ts29228};
use crate::cx::{CxDemand, CxRequest, CxResult, DemandId, DeregistrationReason};
use crate::diameter::{
    DiameterServer, LocalPeer, RequestId, ServerConfig, ServerInput, ServerOutput, Timing,
};
use crate::hss::answer::HssEnv;
use crate::hss::store::{RegistrationState, Store, StoreError, Subscriber};
use crate::ids::{Ids, Seed, ShardId};
use crate::ifc::ServiceProfile;
use crate::time::{Instant, UnixTime};
use crate::trace::{Note, TraceEvent, TraceKind};
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
    /// Changes the services of the implicit registration set of a public identity and sends a PPR
    /// to its S-CSCF, if it has one (TS 29.228 §6.2.2).
    ChangeProfile {
        /// Any identity of the set.
        impu: String,
        /// The new services.
        service_profiles: Vec<ServiceProfile>,
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

/// What an unanswered demand is about.
#[derive(Clone, Debug)]
enum Demanded {
    /// These sets of a subscription are being deregistered.
    Rtr { subscription: usize, sets: Vec<usize>, impi: String },
    /// The profile of an identity was pushed.
    Ppr { impi: String },
}

/// The node.
#[derive(Debug)]
pub struct HssNode {
    name: Arc<str>,
    config: HssConfig,
    server: DiameterServer,
    store: Store,
    ids: Ids,
    demands: BTreeMap<DemandId, Demanded>,
    demand_count: u64,
    outputs: VecDeque<HssOutput>,
}

impl HssNode {
    /// A node with these subscriptions.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says which subscription cannot be, and why.
    pub fn new(
        config: HssConfig,
        subscribers: Vec<Subscriber>,
        seed: Seed,
    ) -> Result<Self, StoreError> {
        let store = Store::new(&config.home_domain, config.sqn_scheme, subscribers, &seed)?;
        let server = ServerConfig { us: config.us.clone(), timing: config.timing };
        Ok(Self {
            name: Arc::from(config.name.as_str()),
            server: DiameterServer::new(server, seed),
            // Challenges come from another sequence than the identifiers on the wire.
            ids: Ids::new(seed, ShardId(1)),
            store,
            demands: BTreeMap::new(),
            demand_count: 0,
            outputs: VecDeque::new(),
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

    /// Origin-Host of every peer that is connected.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        self.server.peers()
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
            HssInput::Timeout => self.server.handle_input(now, ServerInput::Timeout),
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
        self.server.poll_timeout()
    }

    fn drain_server(&mut self, now: Instant) {
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
        let mut notes = Vec::new();
        let seconds = now.as_nanos() / 1_000_000_000;
        let unix_now = UnixTime(self.config.unix_at_epoch.0 + seconds);
        let mut env = HssEnv { unix_now, ids: &mut self.ids, notes: &mut notes };
        let keep = self.config.keep_server_name;
        let answer = self.store.answer(&mut env, origin_host, keep, asked);
        for note in notes {
            self.trace(now, TraceKind::Note(note));
        }
        self.server.handle_input(now, ServerInput::Answer(id, answer));
    }

    fn on_command(&mut self, now: Instant, command: HssCommand) {
        match command {
            HssCommand::ChangeProfile { impu, service_profiles } => {
                self.change_profile(now, &impu, service_profiles);
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

    /// One RTR to each S-CSCF that serves something of it.
    fn deregister(
        &mut self,
        now: Instant,
        impi: &str,
        impus: &[String],
        reason: DeregistrationReason,
        info: &str,
    ) {
        let clause = ts29228("6.1.3");
        let Some(subscription) = self.store.find_impi(impi) else {
            return self.note(now, true, clause, format!("RTR: IMPI {impi} is unknown"));
        };
        let named: Vec<usize> = impus
            .iter()
            .filter_map(|impu| self.store.find_impu(impu))
            .filter(|found| found.subscription == subscription)
            .map(|found| found.set)
            .collect();
        if named.len() < impus.len() {
            return self.note(now, true, clause, format!("RTR: not all IMPUs belong to {impi}"));
        }
        let Some(subscribed) = self.store.at(subscription) else { return };
        let mut by_host: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (set, state) in subscribed.states.iter().enumerate() {
            let meant = if named.is_empty() {
                subscribed.associates(set, impi)
            } else {
                named.contains(&set)
            };
            if let (true, Some(server)) = (meant, &state.server) {
                by_host.entry(server.origin_host.clone()).or_default().push(set);
            }
        }
        if by_host.is_empty() {
            return self.note(now, true, clause, format!("RTR: no S-CSCF serves {impi}"));
        }
        for (host, sets) in by_host {
            let demanded = Demanded::Rtr { subscription, sets, impi: impi.to_owned() };
            let (impi, impus, info) = (impi.to_owned(), impus.to_vec(), info.to_owned());
            let what = CxDemand::Rtr { impi, impus, reason, info };
            self.demand(now, host, what, demanded);
        }
    }

    fn change_profile(&mut self, now: Instant, impu: &str, services: Vec<ServiceProfile>) {
        let clause = ts29228("6.2.2");
        let changed = self.store.change_profile(impu, services);
        let (impi, server, user_data) = match changed {
            Err(error) => {
                return self.note(now, true, clause, format!("profile not changed: {error}"));
            }
            Ok(changed) => changed,
        };
        match server {
            None => {
                let text = format!("profile of {impu} changed; no S-CSCF to be told");
                self.note(now, false, clause, text);
            }
            Some(host) => {
                self.note(now, false, clause, format!("profile of {impu} changed: PPR"));
                let what = CxDemand::Ppr { impi: impi.clone(), user_data: Some(user_data) };
                self.demand(now, host, what, Demanded::Ppr { impi });
            }
        }
    }

    fn demand(
        &mut self,
        now: Instant,
        destination_host: String,
        what: CxDemand,
        demanded: Demanded,
    ) {
        self.demand_count += 1;
        let demand = DemandId(self.demand_count);
        self.demands.insert(demand, demanded);
        let input = ServerInput::Demand { demand, destination_host, what };
        self.server.handle_input(now, input);
    }

    /// After an RTR the sets are not registered, also when the S-CSCF cannot be reached; when it
    /// refuses they stay (TS 29.228 §6.1.3.1).
    fn on_demand_answer(&mut self, now: Instant, demand: DemandId, result: Option<CxResult>) {
        let Some(demanded) = self.demands.remove(&demand) else { return };
        let told = result.map_or_else(|| "no answer".to_owned(), |result| result.to_string());
        match demanded {
            Demanded::Rtr { subscription, sets, impi } => {
                let done = result.is_none_or(CxResult::is_success);
                if done {
                    self.store.terminate(subscription, &sets, &impi);
                }
                let what = if done { "deregistered" } else { "still registered" };
                let text = format!("RTR of {impi}: {told}: {what}");
                self.note(now, !done, ts29228("6.1.3.1"), text);
            }
            Demanded::Ppr { impi } => {
                let fine = result.is_some_and(CxResult::is_success);
                self.note(now, !fine, ts29228("6.2.2.1"), format!("PPR of {impi}: {told}"));
                if result == Some(CxResult::TooMuchData) {
                    let reason = DeregistrationReason::ServerChange;
                    self.deregister(now, &impi, &[], reason, "profile too large");
                }
            }
        }
    }

    fn note(&mut self, now: Instant, refusal: bool, clause: Clause, text: String) {
        self.trace(now, TraceKind::Note(Note::new(clause, text, refusal)));
    }

    fn trace(&mut self, now: Instant, kind: TraceKind) {
        let event = TraceEvent { at: now, node: Arc::clone(&self.name), kind };
        self.outputs.push_back(HssOutput::Trace(event));
    }
}

impl Store {
    /// Replaces the services of a set; gives the private identity to be named, the Diameter name of
    /// the S-CSCF if there is one, and the new document.
    fn change_profile(
        &mut self,
        impu: &str,
        service_profiles: Vec<ServiceProfile>,
    ) -> Result<(String, Option<String>, String), StoreError> {
        let unknown = || StoreError::IdentityWrong(impu.to_owned());
        let found = self.find_impu(impu).ok_or_else(unknown)?;
        let before: Vec<String> = self.impus_of(found);
        let subscription = self.at_mut(found.subscription).ok_or_else(unknown)?;
        let set = subscription.provisioned.implicit_sets.get_mut(found.set).ok_or_else(unknown)?;
        let after: Vec<&str> = service_profiles
            .iter()
            .flat_map(|profile| &profile.public_identities)
            .map(|identity| identity.identity.as_str())
            .collect();
        // Identities are found by an index that a PPR does not change.
        if let Some(odd) = after.iter().find(|it| !before.iter().any(|known| known == *it)) {
            return Err(StoreError::IdentityWrong((*odd).to_owned()));
        }
        set.service_profiles = service_profiles;
        set.profile_xml = None;
        let state = subscription.states.get(found.set).ok_or_else(unknown)?;
        let known = state.registration() != RegistrationState::NotRegistered;
        let number = state.registered_by.first().copied().unwrap_or(0);
        let server = state.server.as_ref().filter(|_| known).map(|it| it.origin_host.clone());
        let private = subscription.provisioned.private_identities.get(number);
        let impi = private.map(|one| one.impi.clone()).ok_or_else(unknown)?;
        let user_data = subscription.user_data(found.set, &impi).ok_or_else(unknown)?;
        Ok((impi, server, user_data))
    }

    /// The sets are not registered any more, except by other private identities.
    fn terminate(&mut self, subscription: usize, sets: &[usize], impi: &str) {
        let Some(subscription) = self.at_mut(subscription) else { return };
        let number = subscription.impi_index(impi);
        for set in sets {
            let Some(state) = subscription.states.get_mut(*set) else { continue };
            if let Some(number) = number {
                state.registered_by.remove(&number);
                state.pending.remove(&number);
            }
            state.kept = false;
            state.release_server();
        }
    }
}
