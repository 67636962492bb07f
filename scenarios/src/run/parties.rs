//! The instance a scenario runs in: a lab on addresses of its own, and the UEs of its parties.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cscf_core::config::{Lab, NodeConfig, NodeRole, Position, SecAgree, SubscriberConfig};
use cscf_core::operator::{self, FaultOrder};
use cscf_core::transport::Transport;

use super::Options;
use super::network::{Network, UE};
use crate::operate::Person;
use crate::report::Parties;
use crate::report::pcapng::Names;
use crate::script::{LabChanges, Order, Party, Scenario};
use crate::ue::{CodecSet, Credentials, Protection, Transfer, UeCommand, UeConfig};

/// The most names that are shown to who has named none of them.
const NAMES_MAX: usize = 50;

/// A scenario's lab with its UEs.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The lab, on addresses of its own.
    pub lab: Lab,
    /// The UEs, in the order the scenario names them.
    pub ues: Vec<UeConfig>,
}

/// Why there is no instance for a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstanceError {
    /// A step names somebody who is neither a subscriber nor described under `parties`.
    #[error("`{name}` is no subscriber of the lab; known: {known}; or describe it under `parties`")]
    UnknownParty {
        /// The name in the step.
        name: String,
        /// The lab's subscribers.
        known: String,
    },
    /// A party is to know a P-CSCF that is none.
    #[error("`{name}` is no P-CSCF of the lab; there are: {known}")]
    UnknownPcscf {
        /// The name under `p_cscfs`.
        name: String,
        /// The lab's P-CSCFs.
        known: String,
    },
    /// More UEs than an instance has addresses for.
    #[error("a scenario has at most {UES_MAX} UEs")]
    TooMany,
}

/// UEs of one instance at most: one address each.
const UES_MAX: usize = 120;
/// UEs that share an address have ports from here on.
const PORT_OF_UES: u16 = 25_060;

impl Instance {
    /// The instance of a scenario in the network 127.`x`.`y`.0/24.
    ///
    /// # Errors
    ///
    /// [`InstanceError`] when a party is unknown or there are too many.
    pub fn new(base: &Lab, scenario: &Scenario, x: u8, y: u8) -> Result<Self, InstanceError> {
        Self::on(base, scenario, &Network::v4(x, y))
    }

    /// The instance of a scenario in a network.
    ///
    /// # Errors
    ///
    /// [`InstanceError`] when a party is unknown or there are too many.
    pub fn on(base: &Lab, scenario: &Scenario, network: &Network) -> Result<Self, InstanceError> {
        Self::listening(base, scenario, network, None)
    }

    /// The instance of a scenario in a network, and listening for one more transport.
    fn listening(
        base: &Lab,
        scenario: &Scenario,
        network: &Network,
        further: Option<Transport>,
    ) -> Result<Self, InstanceError> {
        let mut lab = base.clone();
        apply(&scenario.lab, &mut lab);
        listen_for_parties(&mut lab, &scenario.parties, further);
        network.settle(&mut lab);
        Self::at(lab, scenario, |host| network.ue(host))
    }

    /// The instance of a scenario with what a run lets its UEs agree on.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub(super) fn of_run(
        base: &Lab,
        scenario: &Scenario,
        network: &Network,
        options: &Options,
    ) -> Result<Self, String> {
        let further = options.tls.then_some(Transport::Tls);
        let instance = Self::listening(base, scenario, network, further);
        let mut instance = instance.map_err(|fault| fault.to_string())?;
        if options.ipsec {
            instance.secure(scenario);
        }
        if options.tls {
            instance.secure_by_tls(scenario);
        }
        Ok(instance)
    }

    /// The instance of a scenario at the addresses of its lab, which others than this machine
    /// reach: nodes that the scenario adds and its UEs share the address of the P-CSCF.
    ///
    /// # Errors
    ///
    /// [`InstanceError`] when a party is unknown or there are too many.
    pub fn kept(base: &Lab, scenario: &Scenario) -> Result<Self, InstanceError> {
        let mut lab = base.clone();
        apply(&scenario.lab, &mut lab);
        lab.control = None;
        let shared = lab
            .node(NodeRole::Pcscf)
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |node| node.listen.ip());
        for node in &mut lab.nodes {
            if base.node_named(&node.name).is_none() {
                node.listen.set_ip(shared);
                node.secured.set_ip(shared);
                node.advertise = (node.listen.ip().to_string(), node.listen.port());
            }
        }
        Self::at(lab, scenario, |host| SocketAddr::new(shared, PORT_OF_UES + u16::from(host)))
    }

    fn at(
        mut lab: Lab,
        scenario: &Scenario,
        address: impl Fn(u8) -> SocketAddr,
    ) -> Result<Self, InstanceError> {
        let names = scenario.ues();
        if names.len() > UES_MAX {
            return Err(InstanceError::TooMany);
        }
        listen_for_parties(&mut lab, &scenario.parties, None);
        let mut ues = Vec::new();
        for (name, host) in names.iter().zip(UE..) {
            let address = address(host);
            let party = scenario.parties.iter().find(|party| party.name == *name);
            let own = party.and_then(|party| party.subscriber.as_ref());
            let known_as = party.and_then(|party| party.of.as_ref()).map_or(name, |(_, name)| name);
            let of_lab = || lab.subscriber(known_as);
            let subscriber = own.map(Cow::Borrowed).or_else(of_lab).ok_or_else(|| {
                let known: Vec<_> = lab.subscribers.names().take(NAMES_MAX).collect();
                InstanceError::UnknownParty { name: known_as.clone(), known: known.join(", ") }
            })?;
            let home = lab.nodes_of(lab.home_of(&subscriber), NodeRole::Pcscf).next();
            let pcscf = home.or_else(|| lab.node(NodeRole::Pcscf));
            let uri = pcscf.map(|node| node.sip_uri()).unwrap_or_default();
            let mut config = UeConfig::of_subscriber(&lab, &subscriber, &uri, address);
            config.name.clone_from(name);
            config.tls_pcscfs =
                pcscf.map(|node| uri_of(node, Transport::Tls)).into_iter().collect();
            if let Some(party) = party {
                change(&mut config, party);
                if let Some(node) = pcscf {
                    config.pcscf = uri_of(node, config.transport);
                }
                know_pcscfs(&mut config, party, &lab)?;
            }
            ues.push(config);
        }
        Ok(Self { lab, ues })
    }

    /// Lets every UE with a card agree on security associations, but those of which the scenario
    /// says something else.
    pub fn secure(&mut self, scenario: &Scenario) {
        if self.lab.gm.sec_agree == SecAgree::Off {
            self.lab.gm.sec_agree = SecAgree::Optional;
        }
        let has_card = |ue: &UeConfig| !matches!(ue.credentials, Credentials::Digest { .. });
        self.protect(scenario, Protection::Ipsec, has_card);
    }

    /// Lets every UE agree on TLS that has no security associations, but those of which the
    /// scenario says something else.
    pub fn secure_by_tls(&mut self, scenario: &Scenario) {
        self.lab.gm.tls = true;
        self.protect(scenario, Protection::Tls, |ue| ue.security == Protection::Off);
    }

    fn protect(&mut self, scenario: &Scenario, by: Protection, may: fn(&UeConfig) -> bool) {
        for ue in self.ues.iter_mut().filter(|ue| may(ue)) {
            let party = scenario.parties.iter().find(|party| party.name == ue.name);
            let by_ip = matches!(ue.transport, Transport::Udp | Transport::Tcp);
            if by_ip && party.is_none_or(|party| party.security.is_none()) {
                ue.security = by;
            }
        }
    }

    /// The names of all addresses.
    #[must_use]
    pub fn names(&self) -> Names {
        let of_node = |node: &NodeConfig| {
            let secured = node.secured_listeners().into_iter().map(|(_, addr)| addr);
            let all: Vec<_> = node.addresses().chain(secured).collect();
            let name = node.name.clone();
            all.into_iter().map(move |addr| (addr, name.clone()))
        };
        let nodes = self.lab.nodes.iter().flat_map(of_node);
        let ues = self.ues.iter().map(|ue| (ue.address, ue.name.clone()));
        nodes.chain(ues).collect()
    }

    /// Who takes part, for reports.
    #[must_use]
    pub fn parties(&self) -> Parties {
        let roles = self.lab.nodes.iter().map(|node| (node.name.clone(), node.role));
        Parties { columns: self.columns(), names: self.names(), roles: roles.collect() }
    }

    /// The users by name, for orders of the operator.
    #[must_use]
    pub fn people(&self) -> Vec<Person> {
        let person = |ue: &UeConfig| Person {
            name: ue.name.clone(),
            impi: ue.impi.clone(),
            impus: ue.impus.clone(),
            address: Some(ue.address),
        };
        self.ues.iter().map(person).collect()
    }

    /// The phones that an order is for beside the nodes of the lab: those about all fault rules.
    #[must_use]
    pub fn phones_for(&self, order: &operator::Order) -> Vec<String> {
        match order {
            operator::Order::Fault(FaultOrder::List | FaultOrder::Remove(_)) => {
                self.ues.iter().map(|ue| ue.name.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The lifelines of the ladder: the first UE, the nodes, the other UEs.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let mut ues = self.ues.iter().map(|ue| ue.name.clone());
        let first = ues.next();
        let nodes = self.lab.nodes.iter().map(|node| node.name.clone());
        first.into_iter().chain(nodes).chain(ues).collect()
    }

    /// What a UE is told for an order.
    #[must_use]
    pub fn command(&self, order: &Order) -> UeCommand {
        match order {
            Order::Answer => UeCommand::Answer,
            Order::About { whom, order } => UeCommand::About {
                whom: self.identities(whom),
                command: Box::new(self.command(order)),
            },
            Order::Call { target, options } => {
                UeCommand::Call { target: self.target(target), options: *options }
            }
            Order::Cancel => UeCommand::Cancel,
            Order::Deregister => UeCommand::Deregister,
            Order::Dressed { headers, order } => UeCommand::Dressed {
                headers: headers.clone(),
                command: Box::new(self.command(order)),
            },
            Order::Dtmf { digits, by } => UeCommand::SendDtmf { digits: digits.clone(), by: *by },
            Order::DeregisterAll => UeCommand::DeregisterAll,
            Order::Fetch => UeCommand::FetchRegistrations,
            Order::HangUp => UeCommand::Hangup,
            Order::Hold { on, by_update: true } => UeCommand::HoldByUpdate { on: *on },
            Order::Hold { on: true, .. } => UeCommand::Hold,
            Order::Hold { on: false, .. } => UeCommand::Resume,
            Order::LoseBearer => UeCommand::LoseBearer,
            Order::Message { target, text } => {
                UeCommand::SendMessage { target: self.target(target), text: text.clone() }
            }
            Order::Sms { target, text, status_report } => UeCommand::SendSms {
                target: self.target(target),
                text: text.clone(),
                status_report: *status_report,
            },
            Order::SmsMemory { full } => UeCommand::SmsMemory { full: *full },
            Order::Options { target } => UeCommand::SendOptions { target: self.target(target) },
            Order::KeepPublication { keep } => UeCommand::KeepPublication { keep: *keep },
            Order::Publish { status, expires } => {
                UeCommand::Publish { status: status.clone(), expires: *expires }
            }
            Order::Redirect { target } => UeCommand::Redirect { target: self.target(target) },
            Order::Register { expires } => UeCommand::Register { expires: *expires },
            Order::Request { method, target, changes } => UeCommand::SendRequest {
                method: method.clone(),
                target: self.target(target),
                changes: changes.clone(),
            },
            Order::Reject { status } => UeCommand::Reject { status: *status },
            Order::Reregister => UeCommand::Reregister,
            Order::Ring => UeCommand::Ring,
            Order::Subscribe => UeCommand::SubscribeReg,
            Order::Transfer { target, attended, outside, quiet } => UeCommand::Transfer {
                target: self.target(target),
                how: Transfer {
                    replaces: if *attended { self.identities(target) } else { Vec::new() },
                    outside: *outside,
                    quiet: *quiet,
                },
            },
            Order::Video { on } => UeCommand::Video { on: *on },
            Order::Unwatch { target, event } => {
                UeCommand::Unwatch { target: self.target(target), event: event.clone() }
            }
            Order::Watch { target, event } => {
                UeCommand::Watch { target: self.target(target), event: event.clone() }
            }
        }
    }

    /// All public identities of a party, or the URI as it is.
    fn identities(&self, whom: &str) -> Vec<String> {
        let party = self.ues.iter().find(|ue| ue.name == whom);
        party.map_or_else(|| vec![self.target(whom)], |ue| ue.impus.clone())
    }

    /// A party's default public identity, the URI of a node, or the URI as it is.
    #[must_use]
    pub fn target(&self, target: &str) -> String {
        let party = self.ues.iter().find(|ue| ue.name == target);
        let party = party.and_then(|ue| ue.impus.first()).cloned();
        let subscriber =
            || self.lab.subscriber(target).and_then(|s| s.default_impu().map(str::to_owned));
        let node = || {
            let node = self.lab.node_named(target)?;
            Some(node.sip_uri())
        };
        party.or_else(subscriber).or_else(node).unwrap_or_else(|| target.to_owned())
    }
}

fn apply(changes: &LabChanges, lab: &mut Lab) {
    let LabChanges {
        aka_without_sec_agree,
        sec_agree,
        reg_event_subscription,
        outbound,
        expires_min,
        expires_max,
        nodes,
        numbering,
        dns,
        interconnect,
        untrusted,
        subscribers,
        filter_criteria,
    } = changes;
    lab.untrusted.extend(untrusted.iter().map(|(_, name)| name.clone()));
    if let Some(trusted) = *interconnect {
        lab.interconnect = trusted;
    }
    if let Some(numbering) = numbering {
        lab.numbering.clone_from(numbering);
    }
    if let Some(dns) = dns {
        lab.dns.clone_from(dns);
    }
    for node in nodes {
        match lab.nodes.iter_mut().find(|its| its.name == node.name) {
            Some(same) => *same = node.clone(),
            None => lab.nodes.push(node.clone()),
        }
    }
    for subscriber in subscribers {
        match lab.subscribers.place_named(&subscriber.name) {
            Some(same) => lab.subscribers.replace(same, Some(subscriber.clone())),
            None => lab.subscribers.push(subscriber.clone()),
        }
    }
    for (name, list) in filter_criteria {
        let Some(place) = lab.subscribers.place_named(name) else { continue };
        let one = lab.subscribers.get(place).map(Cow::into_owned);
        let filter_criteria = list.clone();
        let one = one.map(|one| SubscriberConfig { filter_criteria, ..one });
        lab.subscribers.replace(place, one);
    }
    if let Some(allow) = *aka_without_sec_agree {
        lab.aka_without_sec_agree = allow;
    }
    if let Some(wish) = *sec_agree {
        lab.gm.sec_agree = wish;
    }
    if let Some(on) = *reg_event_subscription {
        lab.reg_event_subscription = on;
    }
    if let Some(on) = *outbound {
        lab.outbound = on;
    }
    if let Some(time) = *expires_min {
        lab.registration.expires_min = time;
    }
    if let Some(time) = *expires_max {
        lab.registration.expires_max = time;
    }
}

/// The URI under which a UE on this transport finds a P-CSCF.
fn uri_of(node: &NodeConfig, transport: Transport) -> String {
    format!("sip:{}", node.advertised_for(transport))
}

/// Has the P-CSCFs listen for the transports that UEs have, and for another one.
fn listen_for_parties(lab: &mut Lab, parties: &[Party], further: Option<Transport>) {
    let by_tls = |party: &Party| party.security == Some(Protection::Tls);
    let agreed = parties.iter().any(by_tls);
    lab.gm.tls |= agreed;
    let agreed = agreed.then_some(Transport::Tls);
    for node in lab.nodes.iter_mut().filter(|node| node.role == NodeRole::Pcscf) {
        let all = parties.iter().filter_map(|party| party.transport).chain(agreed).chain(further);
        all.for_each(|it| node.listen_for(it));
    }
}

/// The P-CSCFs that a party knows, where the scenario says so.
fn know_pcscfs(config: &mut UeConfig, party: &Party, lab: &Lab) -> Result<(), InstanceError> {
    let all: Vec<_> = lab.nodes.iter().filter(|node| node.role == NodeRole::Pcscf).collect();
    let uris = |(_, name): &(Position, String)| {
        let node = all.iter().find(|node| node.name == *name);
        let both = |node| (uri_of(node, config.transport), uri_of(node, Transport::Tls));
        node.map(|node| both(node)).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|node| node.name.as_str()).collect();
            InstanceError::UnknownPcscf { name: name.clone(), known: known.join(", ") }
        })
    };
    let uris = party.pcscfs.iter().map(uris).collect::<Result<Vec<_>, _>>()?;
    let (uris, by_tls): (Vec<String>, Vec<String>) = uris.into_iter().unzip();
    if let Some((first, others)) = uris.split_first() {
        config.tls_pcscfs = by_tls;
        config.pcscf.clone_from(first);
        config.other_pcscfs = others.to_vec();
    }
    Ok(())
}

fn change(config: &mut UeConfig, party: &Party) {
    // Another device of a subscriber is another instance (RFC 5626 §4.1). The one under test is its
    // subscriber's first.
    let further = party.of.as_ref().filter(|_| !party.is_device());
    let device = further.map(|_| format!("urn:uuid:{}", uuid_of(&party.name)));
    if let Some(instance) = party.instance.clone().or(device) {
        config.instance = Some(instance);
    }
    config.reg_id = party.reg_id;
    config.keep_alive = party.keep_alive.unwrap_or_default();
    if let Some(impu) = &party.impu {
        config.register_impu.clone_from(impu);
    }
    if let Some(gruu) = party.gruu {
        config.gruu = gruu;
    }
    config.security = party.security.unwrap_or(config.security);
    config.retries = party.retries.unwrap_or_default();
    config.emergency = party.emergency;
    config.early_security = party.early_security.unwrap_or_default();
    config.mistakes = party.mistakes;
    config.sms = party.sms.unwrap_or(config.sms);
    if let Some(on) = party.preconditions {
        config.preconditions = on;
    }
    if let Some(on) = party.reliable {
        config.reliable_provisionals = on;
    }
    config.transport = party.transport.unwrap_or(config.transport);
    if let Some(on) = party.reg_event {
        config.reg_event = on;
    }
    change_calls(config, party);
    forget_abilities(config);
    if party.radio == Some(false) {
        config.access_network_info = None;
    } else if let Some(access) = &party.access {
        let cell = if access.contains("NR") { NR_CELL } else { CELL };
        config.access_network_info = Some(format!("{access};utran-cell-id-3gpp={cell}"));
    }
}

/// The cell of every UE: PLMN, tracking area, cell; on new radio the last two are longer
/// (TS 24.229 §7.2A.4).
const CELL: &str = "0010100010000001";
const NR_CELL: &str = "00101000001000000001";

/// Mistakes that are abilities a UE lacks, or has where it should not.
const fn forget_abilities(config: &mut UeConfig) {
    let wrong = config.mistakes;
    config.reg_event &= !wrong.no_reg_event;
    config.reliable_provisionals &= !wrong.unreliable;
    config.preconditions |= wrong.preconditions_always;
    if wrong.no_evs {
        config.codecs = CodecSet::VoLte;
    }
}

/// What a party says of its calls.
fn change_calls(config: &mut UeConfig, party: &Party) {
    let habits = &mut config.habits;
    habits.packages.clone_from(&party.info_packages);
    habits.follows_redirects = party.follows_redirects.unwrap_or(habits.follows_redirects);
    habits.lowers_offer = party.lowers_offer.unwrap_or(habits.lowers_offer);
    habits.refresher = party.refresher.unwrap_or(habits.refresher);
    config.resources = party.resources.unwrap_or(config.resources);
    config.codecs = party.codecs.unwrap_or(config.codecs);
    config.all_codecs = party.all_codecs.unwrap_or(config.all_codecs);
    config.video = party.video.unwrap_or(config.video);
    config.refers = party.refers.unwrap_or(config.refers);
    config.calls_max = party.calls.unwrap_or(config.calls_max);
    config.robot = party.when_called.unwrap_or(config.robot);
    config.session_timer.interval = party.session_expires.or(config.session_timer.interval);
    config.session_timer.min_se = party.min_se.unwrap_or(config.session_timer.min_se);
}

/// The instance of a further device: a UUID made of its name, so that runs are alike.
fn uuid_of(name: &str) -> String {
    let mut digits = cscf_core::auth::to_hex(name.as_bytes());
    digits.truncate(12);
    format!("00000000-0000-4000-8000-{digits:0>12}")
}
