//! A scenario over two hosts: the nodes of the core on one, the phones on the other, each host in a
//! thread of its own with real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use cscf_core::config::{Lab, NodeRole, Start};
use cscf_core::engine::Engine;
use cscf_core::host::protected::{Form, Protect, Protected};
use cscf_core::host::{Addresses, Clock, Handle, Host, program};
use cscf_core::operator;
use cscf_core::time::{Duration, Instant};
use cscf_core::trace::TraceEvent;
use cscf_core::transport::Transport;
use scenarios::report::pcapng::{Names, name_at};
use scenarios::run::{Instance, ue_node};
use scenarios::script::{Order, Scenario, Stage};
use scenarios::ue::Ue;
use scenarios::up::node::build;

use crate::stations::{Family, Hosts, enter};

/// How late one of the threads may tell what happened.
const LATENESS: Duration = Duration::from_secs(2);

/// The stage of such a run.
pub(crate) struct Split {
    clock: Clock,
    events: Vec<TraceEvent>,
    told: Receiver<TraceEvent>,
    ues: BTreeMap<String, Handle<Engine<Ue>>>,
    pcscf: Option<Handle<Box<dyn cscf_core::engine::Node>>>,
    instance: Instance,
    names: Names,
    stops: Vec<tokio::sync::oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// What each thread starts, told once it listens.
type Started<T> = Result<T, String>;

impl Split {
    /// Starts the nodes and the phones of a scenario, with ESP in these forms.
    pub(crate) fn start(hosts: &Hosts, scenario: &Scenario, forms: [Form; 2]) -> Self {
        let mut instance = Instance::new(&Lab::default_lab(), scenario, 31, 7).expect("instance");
        instance.secure(scenario);
        instance.lab.carry_esp(true);
        for node in &mut instance.lab.nodes {
            if node.role == NodeRole::Pcscf {
                node.listen.set_ip(Family::V4.p());
                node.advertise = (node.listen.ip().to_string(), node.listen.port());
            }
        }
        let pcscf = instance.lab.node(NodeRole::Pcscf).expect("a P-CSCF").sip_uri();
        for (number, ue) in (2..).zip(&mut instance.ues) {
            ue.pcscf.clone_from(&pcscf);
            ue.address.set_ip(Family::V4.host(number));
            // The big REGISTER with the response goes over TCP from one of them.
            ue.transport = if number == 2 { Transport::Udp } else { Transport::Tcp };
        }
        let clock = Clock::start();
        let (to_told, told) = channel();
        let mut this = Self {
            clock,
            events: Vec::new(),
            told,
            ues: BTreeMap::new(),
            pcscf: None,
            names: instance.names(),
            instance,
            stops: Vec::new(),
            threads: Vec::new(),
        };
        let [of_p, of_ue] = forms;
        let instance = this.instance.clone();
        this.pcscf = Some(this.thread(&hosts.p, to_told.clone(), move |host, start| {
            core(host, &instance, of_p, start)
        }));
        let instance = this.instance.clone();
        this.ues = this
            .thread(&hosts.ue, to_told, move |host, start| phones(host, &instance, of_ue, start));
        this
    }

    /// Runs a host in a thread until this ends.
    fn thread<T: Send + 'static>(
        &mut self,
        on: &str,
        to_told: Sender<TraceEvent>,
        start: impl FnOnce(&Host, &dyn Fn() -> Start) -> Started<T> + Send + 'static,
    ) -> T {
        let (on, clock) = (on.to_owned(), self.clock);
        let (to_started, started) = channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        self.stops.push(stop);
        self.threads.push(std::thread::spawn(move || {
            enter(&on);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let sink = move |event| {
                    let _ = to_told.send(event);
                };
                let host = Host::new(clock, Rc::new(sink));
                let unix_at_epoch = clock.unix_at_epoch();
                let seeded = move || {
                    let seed = program::fresh_seed().expect("a seed");
                    Start { seed, unix_at_epoch, tracing: true }
                };
                let _ = to_started.send(start(&host, &seeded));
                let _ = host.run_until(stopped).await;
                host.stop().await;
            });
        }));
        started.recv().expect("a host").expect("all listen")
    }

    /// What the P-CSCF has of security associations.
    pub(crate) fn protected(&self) -> Protected {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let handle = self.pcscf.as_ref().expect("a P-CSCF");
        runtime.block_on(handle.protected()).expect("it runs")
    }
}

fn core(
    host: &Host,
    instance: &Instance,
    form: Form,
    start: &dyn Fn() -> Start,
) -> Started<Handle<Box<dyn cscf_core::engine::Node>>> {
    let lab = &instance.lab;
    let mut pcscf = None;
    for config in &lab.nodes {
        let node: Box<dyn cscf_core::engine::Node> = build(lab, config, &start())?;
        let is_pcscf = config.role == NodeRole::Pcscf;
        let protect = is_pcscf.then(|| Protect {
            form,
            at: vec![config.listen.ip()],
            ports: lab.protected_ports(config),
        });
        let addresses = Addresses::of(config).protected(protect);
        let handle = host.add(node, &addresses).map_err(|fault| fault.to_string())?;
        if is_pcscf {
            pcscf = Some(handle);
        }
    }
    pcscf.ok_or_else(|| "no P-CSCF".to_owned())
}

fn phones(
    host: &Host,
    instance: &Instance,
    form: Form,
    start: &dyn Fn() -> Start,
) -> Started<BTreeMap<String, Handle<Engine<Ue>>>> {
    let mut ues = BTreeMap::new();
    for config in &instance.ues {
        let node = ue_node(config, &instance.lab, &start())?;
        let protect = Protect { form, at: vec![config.address.ip()], ports: Vec::new() };
        let addresses = Addresses::both(config.address).protected(Some(protect));
        let handle = host.add(node, &addresses).map_err(|fault| fault.to_string())?;
        ues.insert(config.name.clone(), handle);
    }
    Ok(ues)
}

impl Stage for Split {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn events(&self) -> &[TraceEvent] {
        &self.events
    }

    fn advance(&mut self, until: Instant) -> Result<bool, String> {
        let left = until.since(self.clock.now());
        let turn = left.min(Duration::from_millis(5));
        match self.told.recv_timeout(turn) {
            Ok(event) => self.events.push(event),
            Err(_) if left.is_zero() => return Ok(false),
            Err(_) => {}
        }
        self.events.extend(self.told.try_iter());
        Ok(true)
    }

    fn command(&mut self, ue: &str, order: &Order) -> Result<(), String> {
        let command = self.instance.command(order);
        let handle = self.ues.get(ue).ok_or("no such phone")?;
        let runs = handle.call(move |node, now| node.command(now, command));
        if runs { Ok(()) } else { Err("it has ended".to_owned()) }
    }

    fn operate(&mut self, _order: &operator::Order) -> Result<(), String> {
        Err("nobody operates here".to_owned())
    }

    fn crash(&mut self, _node: &str) -> Result<(), String> {
        Err("nobody crashes here".to_owned())
    }

    fn restart(&mut self, _node: &str) -> Result<(), String> {
        Err("nobody starts again here".to_owned())
    }

    fn lateness(&self) -> Duration {
        LATENESS
    }

    fn name_of(&self, addr: &SocketAddr) -> Option<&str> {
        name_at(&self.names, addr)
    }
}

impl Drop for Split {
    fn drop(&mut self) {
        self.stops.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
