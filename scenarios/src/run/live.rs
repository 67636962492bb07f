//! A scenario on real sockets: the nodes as processes, the UEs in this one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use cscf_core::config::{Lab, NodeRole, SecAgree, Start};
use cscf_core::engine::{Engine, FaultEdge, Node as _};
use cscf_core::fault::Rule;
use cscf_core::host::protected::{Form, Peers, Protect, Wish, choose};
use cscf_core::host::{Addresses, Clock, Handle, Host, program};
use cscf_core::operator::{self, FaultOrder, OrderAnswer, OrderError, Show};
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::TraceEvent;
use tempfile::{NamedTempFile, TempDir};
use tokio::runtime::Runtime;

use super::network::{Claim, Family, Network};
use super::parties::Instance;
use super::simulated::ue_node;
use super::{Options, Outcome, play};
use crate::report::pcapng::{Names, name_at};
use crate::script::{Order, Scenario, Stage};
use crate::ue::{Protection, Ue, UeConfig};
use crate::up::{NodeEvent, NodeProcesses, Starting, Telling};
use crate::{certificates, operate};

/// Events of this process that wait to be looked at.
type Waiting = Rc<RefCell<VecDeque<TraceEvent>>>;

/// How late a node process may tell what happened, on a machine that is busy.
const LATENESS: Duration = Duration::from_secs(2);

/// The stage of a live run.
pub struct LiveStage {
    runtime: Runtime,
    host: Host,
    clock: Clock,
    processes: Option<NodeProcesses>,
    ues: BTreeMap<String, Handle<FaultEdge<Engine<Ue>>>>,
    waiting: Waiting,
    events: Vec<TraceEvent>,
    instance: Instance,
    names: Names,
    /// The lab file of the node processes.
    file: NamedTempFile,
    /// The certificates that were made for this run.
    _certificates: Option<TempDir>,
    /// The fault rules that were given, for nodes that start again.
    given: Vec<Rule>,
    /// What carries ESP, if there is any.
    esp: Option<Form>,
}

impl std::fmt::Debug for LiveStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveStage").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// Runs a scenario live.
///
/// # Errors
///
/// Why it could not run.
pub(super) fn run(
    scenario: &Scenario,
    lab: &Lab,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<(Instance, Outcome), String> {
    let claim = Claim::take(options.family)?;
    // A network of its own has all addresses, for one run at a time.
    let alone = options.apart && options.family != Family::V4;
    let network = if alone { Network::alone(options.family) } else { claim.network };
    let instance = Instance::of_run(lab, scenario, &network, options)?;
    let mut stage = LiveStage::start(instance.clone(), progress)?;
    let mut outcome = play(scenario, &mut stage);
    outcome.esp_sa = stage.keys();
    let rest = stage.stop();
    outcome.events.extend(rest);
    outcome.events.sort_by_key(|event| event.at);
    Ok((instance, outcome))
}

/// Makes certificates for the addresses of this run, where its P-CSCFs need some and the lab brings
/// none.
fn certify(lab: &mut Lab) -> Result<Option<TempDir>, String> {
    if !lab.needs_certificate() || lab.tls.certificate.is_some() {
        return Ok(None);
    }
    let folder = tempfile::Builder::new().prefix("cscf-tls-").tempdir();
    let folder = folder.map_err(|fault| fault.to_string())?;
    lab.tls = certificates::make(lab, folder.path())?;
    Ok(Some(folder))
}

impl LiveStage {
    /// Starts the nodes and the UEs of an instance. There is ESP where one of the UEs makes a
    /// security agreement, or the lab demands it, or says that there is (`Lab::esp`).
    ///
    /// # Errors
    ///
    /// What did not start, and why.
    pub fn start(instance: Instance, progress: &mut dyn FnMut(&str)) -> Result<Self, String> {
        Self::start_without(instance, None, progress)
    }

    /// The same without one of the UEs: it is somewhere else.
    ///
    /// # Errors
    ///
    /// As [`LiveStage::start`].
    pub fn start_without(
        mut instance: Instance,
        absent: Option<&str>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, String> {
        let peers = if absent.is_some() { Peers::Anybody } else { Peers::Own };
        let esp = choose_esp(&mut instance, peers, progress)?;
        let runtime = program::runtime()?;
        let clock = Clock::start();
        let names = instance.names();
        let certificates = certify(&mut instance.lab)?;
        let file = tempfile::Builder::new()
            .prefix("cscf-lab-")
            .suffix(".yaml")
            .tempfile()
            .map_err(|fault| fault.to_string())?;
        std::fs::write(file.path(), instance.lab.to_yaml()).map_err(|fault| fault.to_string())?;
        progress("starting p-cscf, i-cscf, s-cscf and hss as processes");
        let starting = starting(&file, clock, esp);
        let processes = runtime
            .block_on(NodeProcesses::start_with(&instance.lab, &starting))
            .map_err(|fault| fault.to_string())?;
        progress("all nodes listen");
        let waiting = Waiting::default();
        let sink = Rc::clone(&waiting);
        let guard = runtime.enter();
        let host = Host::new(clock, Rc::new(move |event| sink.borrow_mut().push_back(event)));
        let host = host.with_tls(program::tls_of(&instance.lab, None)?);
        let mut ues = BTreeMap::new();
        for config in instance.ues.iter().filter(|ue| absent != Some(ue.name.as_str())) {
            let seed = program::fresh_seed()?;
            let start = Start { seed, unix_at_epoch: clock.unix_at_epoch(), tracing: true };
            let node = ue_node(config, &instance.lab, &start)?;
            let node = FaultEdge::new(node, program::fresh_seed()?);
            let handle = host
                .add(node, &addresses(config, &instance.lab, esp)?)
                .map_err(|fault| fault.to_string())?;
            ues.insert(config.name.clone(), handle);
        }
        drop(guard);
        Ok(Self {
            runtime,
            host,
            clock,
            processes: Some(processes),
            ues,
            waiting,
            events: Vec::new(),
            instance,
            names,
            file,
            _certificates: certificates,
            given: Vec::new(),
            esp,
        })
    }

    /// The keys of all security associations, of this end and of the other, each once.
    pub(crate) fn keys(&mut self) -> Vec<String> {
        if self.esp.is_none() {
            return Vec::new();
        }
        let orders = self.processes.as_ref().map(NodeProcesses::orders);
        let (ues, lab) = (&self.ues, &self.instance.lab);
        let order = operator::Order::Show { what: Show::Keys, of: Vec::new() };
        let lines: BTreeSet<String> = self.runtime.block_on(self.host.run_until(async {
            let mut lines = BTreeSet::new();
            for handle in ues.values() {
                lines.extend(handle.protected().await.unwrap_or_default().esp_sa());
            }
            let told = match orders {
                Some(orders) => orders.give_all(lab, &order).await,
                None => Vec::new(),
            };
            for (_, answer) in told {
                if let Ok(OrderAnswer::Table(table)) = answer {
                    lines.extend(table.rows.into_iter().filter_map(|mut row| row.pop()));
                }
            }
            lines
        }));
        lines.into_iter().collect()
    }

    /// Stops everything; gives what was still told.
    pub(crate) fn stop(mut self) -> Vec<TraceEvent> {
        let mut rest = Vec::new();
        if let Some(processes) = self.processes.take() {
            let told = self.runtime.block_on(processes.stop());
            rest.extend(told.into_iter().filter_map(|event| match event {
                NodeEvent::Trace(event) => Some(event),
                NodeEvent::Died { .. } => None,
            }));
        }
        self.runtime.block_on(self.host.stop());
        rest.extend(self.waiting.borrow_mut().drain(..));
        rest
    }

    fn take(&mut self, event: NodeEvent) -> Result<(), String> {
        match event {
            NodeEvent::Trace(event) => self.events.push(event),
            NodeEvent::Died { name, status, last_words } => {
                return Err(format!("{name} died ({status})\n{last_words}"));
            }
        }
        Ok(())
    }
}

/// What carries the ESP of an instance, if there is to be any.
fn choose_esp(
    instance: &mut Instance,
    peers: Peers,
    progress: &mut dyn FnMut(&str),
) -> Result<Option<Form>, String> {
    let secured = instance.ues.iter().any(|ue| ue.security == Protection::Ipsec);
    let lab = &mut instance.lab;
    let wanted = lab.esp || secured || lab.gm.sec_agree == SecAgree::Required;
    let Some(pcscf) = lab.node(NodeRole::Pcscf).filter(|_| wanted) else { return Ok(None) };
    let at: Vec<IpAddr> = pcscf.addresses().map(|it| it.ip()).collect();
    let choice = choose(lab.gm.backend, &lab.gm, (&at, peers));
    let choice = choice.map_err(|fault| fault.to_string())?;
    progress(&format!("Gm: {choice}"));
    lab.carry_esp(true);
    lab.gm.algorithms.retain(|pair| !choice.without.contains(pair));
    Ok(Some(choice.form))
}

/// Where a UE listens, and what its associations need.
fn addresses(config: &UeConfig, lab: &Lab, esp: Option<Form>) -> Result<Addresses, String> {
    let at = config.address.ip();
    let protect = match esp.filter(|_| config.security == Protection::Ipsec) {
        Some(_) if lab.nodes.iter().any(|node| node.listen.ip() == at) => {
            let name = &config.name;
            return Err(format!(
                "{name} cannot have security associations at {at}, which is a node's address"
            ));
        }
        Some(form) => Some(Protect { form, at: vec![at], ports: Vec::new() }),
        None => None,
    };
    Ok(Addresses::both(config.address).protected(protect))
}

fn starting(file: &NamedTempFile, clock: Clock, esp: Option<Form>) -> Starting<'_> {
    Starting {
        lab_file: Some(file.path()),
        telling: Telling::Trace(clock.epoch_unix_ns()),
        state: None,
        by_themselves: false,
        esp: Some(esp.map_or(Wish::Off, |form| Wish::By(form.backend()))),
    }
}

const fn is_add(order: &operator::Order) -> bool {
    matches!(order, operator::Order::Fault(FaultOrder::Add(_)))
}

impl Stage for LiveStage {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn events(&self) -> &[TraceEvent] {
        &self.events
    }

    fn advance(&mut self, until: Instant) -> Result<bool, String> {
        let now = self.clock.now();
        if now >= until && self.waiting.borrow().is_empty() {
            return Ok(false);
        }
        let Some(processes) = self.processes.as_mut() else { return Ok(false) };
        // Own nodes put their events into `waiting`; a short turn keeps both sources in step.
        let turn = until.since(now).min(Duration::from_millis(2));
        let next = self.runtime.block_on(
            self.host
                .run_until(async { tokio::time::timeout(turn, processes.events().recv()).await }),
        );
        if let Ok(event) = next {
            let event = event.ok_or("all node processes have ended")?;
            self.take(event)?;
        }
        let own: Vec<TraceEvent> = self.waiting.borrow_mut().drain(..).collect();
        self.events.extend(own);
        Ok(true)
    }

    fn command(&mut self, ue: &str, order: &Order) -> Result<(), String> {
        let command = self.instance.command(order);
        let handle = self.ues.get(ue).ok_or_else(|| format!("`{ue}` is no UE"))?;
        if handle.call(move |node, now| node.inner_mut().command(now, command)) {
            Ok(())
        } else {
            Err(format!("{ue} no longer runs"))
        }
    }

    fn operate(&mut self, order: &operator::Order) -> Result<(), String> {
        let order = operate::resolve(&self.instance.lab, &self.instance.people(), order)?;
        let Some(processes) = &self.processes else { return Err("no node runs".to_owned()) };
        let (orders, lab) = (processes.orders(), &self.instance.lab);
        let mut phones = self.instance.phones_for(&order);
        if let operator::Order::Fault(FaultOrder::Add(rule)) = &order {
            phones.push(rule.node.clone());
        }
        let (ues, order) = (&self.ues, &order);
        let answers = self.runtime.block_on(self.host.run_until(async {
            let mut answers = Vec::new();
            for name in phones {
                let Some(handle) = ues.get(&name) else { continue };
                let order = order.clone();
                let answer = handle.ask(move |node, now| node.order(now, &order)).await;
                answers.push((name, answer.unwrap_or(Err(OrderError::NotHere))));
            }
            if answers.is_empty() || !is_add(order) {
                answers.extend(orders.give_all(lab, order).await);
            }
            answers
        }));
        operate::combine(answers).map_err(|fault| fault.to_string())?;
        match order {
            operator::Order::Fault(FaultOrder::Add(rule)) => self.given.push((**rule).clone()),
            operator::Order::Fault(FaultOrder::Remove(which)) => {
                self.given.retain(|rule| which != "all" && !rule.is_called(which));
            }
            _ => {}
        }
        Ok(())
    }

    fn crash(&mut self, node: &str) -> Result<(), String> {
        if let Some(handle) = self.ues.remove(node) {
            handle.stop();
            return Ok(());
        }
        let Some(processes) = self.processes.as_mut() else { return Err("no node runs".into()) };
        if self.runtime.block_on(self.host.run_until(processes.kill(node))) {
            Ok(())
        } else {
            Err(format!("`{node}` is not running"))
        }
    }

    fn restart(&mut self, node: &str) -> Result<(), String> {
        let config = self.instance.lab.node_named(node);
        let config = config.ok_or_else(|| format!("`{node}` is no node of the lab"))?;
        let Some(processes) = self.processes.as_mut() else { return Err("no node runs".into()) };
        if processes.names().any(|name| name == node) {
            return Err(format!("`{node}` is running"));
        }
        let starting = starting(&self.file, self.clock, self.esp);
        let started = processes.start_again(config, &starting);
        self.runtime.block_on(self.host.run_until(started)).map_err(|fault| fault.to_string())?;
        let (again, rest) = self.given.drain(..).partition(|rule: &Rule| rule.node == node);
        self.given = rest;
        for rule in again {
            self.operate(&operator::Order::Fault(FaultOrder::Add(Box::new(rule))))?;
        }
        Ok(())
    }

    fn lateness(&self) -> Duration {
        LATENESS
    }

    fn name_of(&self, addr: &SocketAddr) -> Option<&str> {
        name_at(&self.names, addr)
    }
}
