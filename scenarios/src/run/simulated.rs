//! A scenario in virtual time over the simulated network.

use std::net::SocketAddr;

use cscf_core::config::{
    EdgeConfig, EntryConfig, Lab as LabConfig, LoadConfig, NodeConfig, NodeControl, NodeRole,
    SecuredListen, ServerConfig, ServingConfig, Start, in_brackets,
};
use cscf_core::engine::{CxNode, Engine, Listen, PolicyNode, Rebuild, Shards};
use cscf_core::hss::HssNode;
use cscf_core::ids::Seed;
use cscf_core::operator::{self, FaultOrder};
use cscf_core::role::Role;
use cscf_core::time::{Instant, UnixTime};
use cscf_core::trace::TraceEvent;
use cscf_core::transport::Transport;
use i_cscf::Icscf;
use p_cscf::Pcscf;
use s_cscf::Scscf;

use super::network::Network;
use super::parties::Instance;
use super::{Options, Outcome, play};
use crate::appserver::AppServer;
use crate::lab::{Lab, LabNode};
use crate::operate;
use crate::report::pcapng::{Names, name_at};
use crate::script::{Order, Scenario, Stage};
use crate::ue::{Protection, Ue, UeConfig};

/// Unix time at the start of every simulated run: 2026-01-01.
pub const UNIX_AT_EPOCH: UnixTime = UnixTime(1_767_225_600);

/// What an engine still holds, by name.
fn engine_remainders<R: Role>(engine: &Engine<R>) -> Vec<(&'static str, usize)> {
    let sizes = engine.sizes();
    vec![
        ("response contexts", sizes.contexts),
        ("server transactions", sizes.server_transactions),
        ("client transactions", sizes.client_transactions),
        ("requests on their way", sizes.attempts),
        ("questions", sizes.asks),
        ("role timers", sizes.role_timers),
    ]
}

impl LabNode for PolicyNode<Pcscf> {
    fn remainders(&self) -> Vec<(&'static str, usize)> {
        let mut out = engine_remainders(self.engine());
        let role = self.engine().role();
        out.push(("registered UEs", role.registered_count()));
        out.push(("dialogs", role.dialog_count()));
        out.push(("state", usize::from(!role.is_idle())));
        out.push(("sessions with resources", self.function().session_count()));
        out
    }
}

impl LabNode for Engine<Scscf> {
    fn remainders(&self) -> Vec<(&'static str, usize)> {
        let mut out = engine_remainders(self);
        out.extend(self.role().remainders());
        out
    }
}

impl<N: LabNode, C: LabNode> LabNode for Shards<N, C> {
    fn remainders(&self) -> Vec<(&'static str, usize)> {
        let mut out = self.owner().remainders();
        out.extend(self.calls().iter().flat_map(LabNode::remainders));
        out.push(("hand-overs on their way", self.on_the_way()));
        out
    }
}

impl LabNode for CxNode<Icscf> {
    fn remainders(&self) -> Vec<(&'static str, usize)> {
        let mut out = engine_remainders(self.engine());
        out.extend(self.engine().role().remainders());
        out
    }
}

impl LabNode for CxNode<Scscf> {
    fn remainders(&self) -> Vec<(&'static str, usize)> {
        let mut out = engine_remainders(self.engine());
        out.extend(self.engine().role().remainders());
        out
    }
}

impl LabNode for Engine<AppServer> {
    fn remainders(&self) -> Vec<(&'static str, usize)> {
        let mut out = engine_remainders(self);
        out.extend(self.role().remainders());
        out
    }
}

impl LabNode for Engine<Ue> {
    fn remainders(&self) -> Vec<(&'static str, usize)> {
        engine_remainders(self)
    }
}

impl LabNode for HssNode {}

/// A node of a lab, for the simulated network.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn lab_node(
    lab: &LabConfig,
    node: &NodeConfig,
    setup: &Start,
) -> Result<Box<dyn LabNode>, String> {
    let several = node.load.shards.is_some_and(|count| count > 1);
    Ok(match node.role {
        NodeRole::Pcscf if several => Box::new(p_cscf::lab::shards(lab, node, setup)?),
        NodeRole::Scscf if several => Box::new(s_cscf::lab::shards(lab, node, setup)?),
        NodeRole::As => Box::new(crate::appserver::node(lab, node, setup)?),
        NodeRole::Hss => Box::new(lab.hss_node(node, setup)?),
        NodeRole::Icscf => Box::new(i_cscf::lab::node(lab, node, setup)?),
        NodeRole::Pcscf => Box::new(p_cscf::lab::node(lab, node, setup)?),
        NodeRole::Scscf => Box::new(s_cscf::lab::node(lab, node, setup)?),
    })
}

/// A UE in its engine.
///
/// # Errors
///
/// What in the lab does not fit.
pub fn ue_node(config: &UeConfig, lab: &LabConfig, start: &Start) -> Result<Engine<Ue>, String> {
    let address = config.address;
    // A UE listens as a node does, only that it is none of the lab's.
    let node = NodeConfig {
        name: config.name.clone(),
        role: NodeRole::Pcscf,
        listen: address,
        listen_also: None,
        advertise: (config.via_host(), address.port()),
        capabilities: Vec::new(),
        server: ServerConfig::default(),
        serving: ServingConfig::default(),
        edge: EdgeConfig::default(),
        entry: EntryConfig::default(),
        domain: None,
        load: LoadConfig::default(),
        control: NodeControl::Off,
        secured: SecuredListen::default(),
    };
    let mut settings = lab.settings(&node, start)?;
    settings.rport = true;
    settings.offers_keep = config.keep_alive.is_offered();
    if config.transport != Transport::Tcp && config.transport != Transport::Udp {
        let (host, port) = config.sent_by();
        let advertise = (in_brackets(&host), port);
        settings.listen.push(Listen { transport: config.transport, addr: address, advertise });
    } else if config.security == Protection::Tls {
        // It only connects from there.
        let advertise = (in_brackets(&config.via_host()), address.port());
        settings.listen.push(Listen { transport: Transport::Tls, addr: address, advertise });
    }
    Ok(Engine::new(&config.name, Ue::new(config.clone()), settings, start.seed))
}

/// The stage of a simulated run.
#[derive(Debug)]
pub struct SimulatedStage {
    /// The simulated lab.
    pub lab: Lab,
    instance: Instance,
    names: Names,
}

impl SimulatedStage {
    /// Puts the nodes and UEs of an instance into a simulated lab.
    ///
    /// # Errors
    ///
    /// What in the lab does not fit.
    pub fn new(
        mut instance: Instance,
        network: crate::lab::NetworkOptions,
        seed: u64,
    ) -> Result<Self, String> {
        // The simulated network carries what security associations protect.
        instance.lab.esp = true;
        let mut lab = Lab::new(seed, network);
        // The HSS first: then the others find it at their first attempt.
        let (hss, others): (Vec<_>, Vec<_>) =
            instance.lab.nodes.iter().partition(|node| node.role == NodeRole::Hss);
        for node in hss.into_iter().chain(others) {
            let setup = setup_of(&lab, &node.name);
            let addresses: Vec<SocketAddr> = node.addresses().collect();
            lab.add(lab_node(&instance.lab, node, &setup)?, &addresses);
            for (transport, addr) in node.secured_listeners() {
                lab.listen(&node.name, transport, addr);
            }
            lab.set_rebuild(&node.name, rebuild(&instance.lab, node, seed));
            if let Some(time) = node.load.service_time {
                lab.slow_down(&node.name, time);
            }
            if node.role == NodeRole::Pcscf {
                lab.protect(&node.name, &instance.lab.protected_ports(node));
            }
        }
        for config in &instance.ues {
            let node = ue_node(config, &instance.lab, &setup_of(&lab, &config.name))?;
            lab.add(Box::new(node), &[config.address]);
        }
        for node in &instance.lab.nodes {
            for rule in instance.lab.fault_rules(&node.name, node.role) {
                let order = operator::Order::Fault(FaultOrder::Add(Box::new(rule)));
                lab.order(&node.name, &order).map_err(|fault| fault.to_string())?;
            }
        }
        let names = instance.names();
        Ok(Self { lab, instance, names })
    }
}

impl SimulatedStage {
    /// The address of a node or UE.
    #[must_use]
    pub fn address_of(&self, name: &str) -> Option<SocketAddr> {
        self.names.iter().find(|(_, known)| *known == name).map(|(addr, _)| *addr)
    }
}

/// Makes a node again that a fault rule had crash; each start has chance of its own.
fn rebuild(lab: &LabConfig, node: &NodeConfig, seed: u64) -> Rebuild<Box<dyn LabNode>> {
    let (lab, node) = (lab.clone(), node.clone());
    Box::new(move |now| {
        let seed = Seed::derive(seed, &format!("{} again at {now}", node.name));
        let start = Start { seed, tracing: true, unix_at_epoch: UNIX_AT_EPOCH };
        lab_node(&lab, &node, &start).ok()
    })
}

fn setup_of(lab: &Lab, name: &str) -> Start {
    Start { seed: lab.seed_of(name), tracing: true, unix_at_epoch: UNIX_AT_EPOCH }
}

/// Runs a scenario in virtual time. The network is the same for every run, so that a run is a
/// function of scenario and seed.
///
/// # Errors
///
/// Why it could not run.
pub(super) fn run(
    scenario: &Scenario,
    lab: &LabConfig,
    options: &Options,
) -> Result<(Instance, Outcome), String> {
    let network = Network::alone(options.family);
    let mut instance = Instance::of_run(lab, scenario, &network, options)?;
    // Nothing outside the simulation answers.
    instance.lab.dns.servers.clear();
    let mut stage = SimulatedStage::new(instance.clone(), scenario.network.clone(), options.seed)?;
    let outcome = play(scenario, &mut stage);
    Ok((instance, outcome))
}

impl Stage for SimulatedStage {
    fn now(&self) -> Instant {
        self.lab.now()
    }

    fn events(&self) -> &[TraceEvent] {
        self.lab.trace()
    }

    fn advance(&mut self, until: Instant) -> Result<bool, String> {
        if self.lab.next_at().is_some_and(|at| at <= until) {
            self.lab.step();
            return Ok(true);
        }
        self.lab.run_until(until);
        Ok(false)
    }

    fn command(&mut self, ue: &str, order: &Order) -> Result<(), String> {
        let command = self.instance.command(order);
        self.lab
            .with(ue, |node: &mut Engine<Ue>, now| node.command(now, command))
            .ok_or_else(|| format!("`{ue}` is no UE"))
    }

    fn operate(&mut self, order: &operator::Order) -> Result<(), String> {
        let order = operate::resolve(&self.instance.lab, &self.instance.people(), order)?;
        let mut answers = Vec::new();
        let phones = self.instance.phones_for(&order);
        for name in operate::targets(&self.instance.lab, &order).into_iter().chain(phones) {
            let answer = self.lab.order(&name, &order);
            answers.push((name, answer));
        }
        operate::combine(answers).map(|_| ()).map_err(|fault| fault.to_string())
    }

    fn crash(&mut self, node: &str) -> Result<(), String> {
        if self.lab.crash(node) { Ok(()) } else { Err(format!("`{node}` is not running")) }
    }

    fn restart(&mut self, node: &str) -> Result<(), String> {
        let config = self.instance.lab.node_named(node);
        let config = config.ok_or_else(|| format!("`{node}` is no node of the lab"))?;
        // Each start has chance of its own: a second one must not repeat the branches of the first.
        let setup = setup_of(&self.lab, &format!("{node} again at {}", self.lab.now()));
        self.lab.restart(lab_node(&self.instance.lab, config, &setup)?);
        Ok(())
    }

    fn name_of(&self, addr: &SocketAddr) -> Option<&str> {
        name_at(&self.names, addr)
    }
}
