//! What the engine, the Diameter client and the HSS of a node are told, made from the lab. The
//! roles' own configuration is made in their packages (`p_cscf::lab` and so on).

use std::sync::Arc;

use super::lab::{Lab, NodeConfig, NodeRole, PathMtu, TimerValues};
use super::range::SubscriberRange;
use super::subscriber::{Auth, Impu, SubscriberConfig};
use super::subscribers::Part;
use crate::auth::{AkaKeys, Scheme};
use crate::diameter::{ClientConfig, DiameterClient, LocalPeer, Timing};
use crate::engine::{EngineLimits, Listen, Settings};
use crate::hss::{
    Credentials, Entry, HssConfig, HssNode, ImplicitSet, PrivateIdentity, Subscriber,
};
use crate::ids::Seed;
use crate::ifc::{InitialFilterCriteria, PublicIdentity, UserProfile};
use crate::time::{Duration, UnixTime};
use crate::transaction::Timers;
use crate::transport::Transport;
use crate::transport::target::Hosts;

/// What a node is told besides its lab when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The seed of all its tokens.
    pub seed: Seed,
    /// Unix time at the epoch.
    pub unix_at_epoch: UnixTime,
    /// Whether somebody reads its trace.
    pub tracing: bool,
}

impl Lab {
    /// The settings of a node's engine.
    ///
    /// # Errors
    ///
    /// Timer values that cannot be.
    pub fn settings(&self, node: &NodeConfig, start: &Start) -> Result<Settings, String> {
        let host = in_brackets(&node.advertise.0);
        let both = node.addresses().flat_map(|addr| {
            [Transport::Udp, Transport::Tcp].map(|transport| Listen {
                transport,
                addr,
                advertise: (host.clone(), node.advertise.1),
            })
        });
        let secured = node.secured_listeners().into_iter().map(|(transport, addr)| Listen {
            transport,
            addr,
            advertise: (host.clone(), addr.port()),
        });
        let listen = both.chain(secured).collect();
        Ok(Settings {
            hosts: self.hosts(),
            zone: self.zone()?.map(Arc::new),
            resolver: !self.dns.servers.is_empty(),
            core: timers("core_timers", &self.core_timers)?,
            air: timers("air_timers", &self.air_timers)?,
            tracing: start.tracing,
            unix_at_epoch: start.unix_at_epoch,
            // The Diameter client keeps the time of a question; this only catches what it forgot.
            limits: EngineLimits {
                ask_for: self.cx_timeout + Duration::from_secs(1),
                ask_policy_for: node.edge.policy_timeout,
                ..EngineLimits::default()
            },
            path_mtu: self.path_mtus(),
            load: node.load.limit,
            keep_alives: node.role == NodeRole::Pcscf,
            keep_every: node.edge.flow_timer,
            ..Settings::new(listen)
        })
    }

    /// The names under which nodes are told to others, where these are no addresses.
    #[must_use]
    pub fn hosts(&self) -> Hosts {
        let mut hosts = Hosts::new();
        for node in self.nodes.iter().filter(|node| node.role != NodeRole::Hss) {
            let (host, _) = &node.advertise;
            if host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err() {
                node.addresses().for_each(|addr| hosts.add_addr(host, addr));
            }
        }
        for (domain, entry) in self.entry_points() {
            hosts.add_addr(domain, entry);
        }
        hosts
    }

    fn path_mtus(&self) -> crate::transport::size::PathMtu {
        let known = match self.path_mtu {
            PathMtu::Known(bytes) => Some(usize::try_from(bytes).unwrap_or(usize::MAX)),
            PathMtu::Unknown => None,
        };
        let mut out = crate::transport::size::PathMtu { default: known, ..Default::default() };
        // An operator who writes another value than loopback has means loopback as well.
        if known != Some(crate::transport::size::LOOPBACK_MTU) {
            let addresses = self.nodes.iter().flat_map(NodeConfig::addresses);
            out.peers.extend(addresses.map(|addr| (addr.ip(), known)));
        }
        out
    }

    /// Who a node is to its Diameter peers (RFC 6733 §6.3, §6.4): its name in the home domain.
    #[must_use]
    pub fn diameter_peer(&self, node: &NodeConfig, start: &Start) -> LocalPeer {
        LocalPeer {
            origin_host: format!("{}.{}", node.name, self.domain_of(node)),
            origin_realm: self.domain_of(node).to_owned(),
            // Grows from start to start, as long as they are a second apart (RFC 6733 §8.16).
            origin_state_id: u32::try_from(start.unix_at_epoch.0).unwrap_or(u32::MAX),
        }
    }

    fn diameter_timing(&self) -> Timing {
        Timing { answer_within: self.cx_timeout, ..Timing::default() }
    }

    /// The Diameter client of an I- or S-CSCF. It is bound to the node's own address and port, so
    /// that these name the node in every trace.
    ///
    /// # Errors
    ///
    /// The lab has no HSS.
    pub fn diameter_client(
        &self,
        node: &NodeConfig,
        start: &Start,
    ) -> Result<DiameterClient, String> {
        let domain = self.domain_of(node);
        let hss = self
            .nodes_of(domain, NodeRole::Hss)
            .next()
            .ok_or_else(|| format!("{} needs an HSS, and the lab has none", node.name))?;
        let config = ClientConfig {
            us: self.diameter_peer(node, start),
            destination_realm: domain.to_owned(),
            destination_host: Some(format!("{}.{domain}", hss.name)),
            server: hss.listen,
            local: node.listen,
            timing: self.diameter_timing(),
            tracing: start.tracing,
        };
        Ok(DiameterClient::new(config, start.seed))
    }

    /// The HSS with the subscribers of the lab.
    ///
    /// # Errors
    ///
    /// Subscribers that cannot be, e.g. two with the same identity.
    pub fn hss_node(&self, node: &NodeConfig, start: &Start) -> Result<HssNode, String> {
        let config = HssConfig {
            name: node.name.clone(),
            us: self.diameter_peer(node, start),
            home_domain: self.domain_of(node).to_owned(),
            keep_server_name: false,
            // By time: an HSS that starts again is ahead of every USIM it has met before.
            sqn_scheme: Scheme::Time,
            timing: self.diameter_timing(),
            unix_at_epoch: start.unix_at_epoch,
            tracing: start.tracing,
        };
        let home = self.domain_of(node);
        let mut entries = Vec::new();
        for part in self.subscribers.parts() {
            match part {
                Part::Listed(listed) => {
                    let mine = listed.iter().filter(|its| self.home_of(its) == home);
                    entries.extend(mine.map(|it| self.subscription(it).into()));
                }
                Part::Range(range) => entries.extend(self.range_in(home, range).map(Entry::Range)),
            }
        }
        HssNode::new(config, entries, start.seed).map_err(|fault| fault.to_string())
    }

    /// What the HSS of a network keeps of a range; nothing if it belongs to another network.
    pub(super) fn range_in(
        &self,
        domain: &str,
        range: &SubscriberRange,
    ) -> Option<crate::hss::SubscriberRange> {
        let first = range.member(0).filter(|first| self.home_of(first) == domain)?;
        let first = self.subscription(&first).private_identities.into_iter().next()?;
        let Credentials::Aka { keys, amf, sqn } = first.credentials else { return None };
        Some(crate::hss::SubscriberRange { imsis: range.imsis.clone(), keys, amf, sqn })
    }

    /// The filter criteria of a subscriber, servers by URI.
    fn criteria(&self, subscriber: &SubscriberConfig) -> Vec<InitialFilterCriteria> {
        let mut list = subscriber.filter_criteria.clone();
        for ifc in &mut list {
            let name = &mut ifc.application_server.server_name;
            if let Some(node) = self.node_named(name) {
                *name = node.sip_uri();
            }
        }
        list
    }

    /// What is wrong with the servers that filter criteria name.
    pub(super) fn unknown_servers(&self) -> Vec<String> {
        self.subscribers.listed().iter().flat_map(|one| self.unknown_servers_of(one)).collect()
    }

    /// The same of one subscriber.
    pub(super) fn unknown_servers_of(&self, subscriber: &SubscriberConfig) -> Vec<String> {
        let known = |name: &str| {
            name.starts_with("sip:")
                || self.node_named(name).is_some_and(|node| node.role == NodeRole::As)
        };
        let who = &subscriber.name;
        let names = subscriber.filter_criteria.iter();
        names
            .map(|ifc| &ifc.application_server.server_name)
            .filter(|name| !known(name))
            .map(|name| {
                format!("`{name}`, a server of `{who}`, is neither an AS of the lab nor a SIP URI")
            })
            .collect()
    }

    /// The `IMSSubscription` document that an SAA carries for a subscriber (TS 29.228 Annex E);
    /// `None` when nobody has this name.
    #[must_use]
    pub fn profile_of(&self, name: &str) -> Option<String> {
        let subscription = self.subscription(&*self.subscriber(name)?);
        let set = subscription.implicit_sets.into_iter().next()?;
        if set.profile_xml.is_some() {
            return set.profile_xml;
        }
        let private_id = subscription.private_identities.into_iter().next()?.impi;
        let service_profiles = set.service_profiles;
        Some(crate::hss::write_profile(&UserProfile { private_id, service_profiles }))
    }

    pub(super) fn subscription(&self, subscriber: &SubscriberConfig) -> Subscriber {
        let credentials = match &subscriber.auth {
            Auth::Aka { k, opc, amf, sqn } => Credentials::Aka {
                keys: AkaKeys::Milenage { k: *k, opc: *opc },
                amf: *amf,
                sqn: *sqn,
            },
            Auth::Card { keys, amf, sqn } => Credentials::Aka { keys: *keys, amf: *amf, sqn: *sqn },
            Auth::Digest { password, algorithms } => Credentials::Digest {
                realm: self.home_of(subscriber).to_owned(),
                password: password.clone(),
                algorithms: algorithms.clone(),
            },
        };
        let identity = |impu: &Impu| PublicIdentity {
            identity: impu.uri.clone(),
            barred: impu.barred,
            ..PublicIdentity::default()
        };
        let mut set = ImplicitSet::of(subscriber.impus.iter().map(identity).collect());
        set.profile_xml.clone_from(&subscriber.hss.profile_xml);
        if let Some(services) = set.service_profiles.first_mut() {
            services.initial_filter_criteria = self.criteria(subscriber);
            services.subscribed_media_profile_id = subscriber.hss.media_profile;
        }
        Subscriber {
            private_identities: vec![PrivateIdentity {
                impi: subscriber.impi.clone(),
                credentials,
            }],
            implicit_sets: vec![set],
            barred: subscriber.hss.barred,
            capabilities: subscriber.hss.capabilities.clone(),
            visited_networks: subscriber.hss.visited_networks.clone(),
            framed_ip: subscriber.hss.framed_ip,
            charging_ccf: subscriber.hss.charging_ccf.clone(),
            ..Subscriber::default()
        }
    }
}

/// A host as it stands in URIs and Via: IPv6 in brackets.
#[must_use]
pub fn in_brackets(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

fn timers(key: &str, values: &TimerValues) -> Result<Timers, String> {
    Timers::new(values.t1, values.t2, values.t4).map_err(|fault| format!("{key}: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Start = Start { seed: Seed([0; 32]), unix_at_epoch: UnixTime(7), tracing: true };

    #[test]
    fn every_node_of_the_default_lab_can_be_made() {
        let lab = Lab::default_lab();
        for node in &lab.nodes {
            match node.role {
                NodeRole::Hss => {
                    let hss = lab.hss_node(node, &START).expect("an HSS");
                    assert_eq!(hss.name(), "hss");
                }
                NodeRole::As | NodeRole::Icscf | NodeRole::Pcscf | NodeRole::Scscf => {
                    let settings = lab.settings(node, &START).expect("settings");
                    assert_eq!(settings.listen.len(), 2);
                    assert!(lab.diameter_client(node, &START).is_ok());
                }
            }
        }
    }

    #[test]
    fn an_ipv6_address_is_told_in_brackets() {
        let lab = Lab::for_plmn("001", "01", [std::net::Ipv6Addr::LOCALHOST.into(); 4]);
        let settings = lab.settings(&lab.nodes[0], &START).expect("settings");
        assert_eq!(settings.listen[0].sent_by(), "[::1]:5060");
    }

    #[test]
    fn a_node_of_both_versions_of_ip_has_one_name_and_two_addresses() {
        let yaml = Lab::default_lab().to_yaml();
        let with = |keys: &str| {
            let entry = "listen: \"127.0.0.1:5060\", advertise: \"127.0.0.1:5060\"";
            assert!(yaml.contains(entry), "{yaml}");
            crate::config::read_lab(&yaml.replace(entry, keys))
        };
        let right = "listen: \"127.0.0.1:5060\", listen_also: \"[::1]:5060\", \
                     advertise: \"p1.ims.example:5060\"";
        let lab = with(right).expect("a lab");
        let again = crate::config::read_lab(&lab.to_yaml()).expect("reads back");
        assert_eq!(again.nodes[0], lab.nodes[0]);
        let settings = lab.settings(&lab.nodes[0], &START).expect("settings");
        assert_eq!(settings.listen.len(), 4);
        assert!(settings.listen.iter().all(|it| it.sent_by() == "p1.ims.example:5060"));
        assert_eq!(lab.hosts().records("p1.ims.example").len(), 2);
        let ports = lab.protected_ports(&lab.nodes[0]);
        assert!(ports.iter().filter(|it| it.is_ipv6()).count() * 2 == ports.len(), "{ports:?}");
        for (wrong, text) in [
            (right.replace("[::1]", "127.0.0.9"), "of one version of IP"),
            (right.replace("[::1]:5060", "[::1]:5070"), "this 5070"),
            (right.replace("p1.ims.example", "127.0.0.1"), "needs a name under `advertise`"),
        ] {
            let faults = with(&wrong).expect_err(&wrong);
            assert!(faults.0.iter().any(|fault| fault.text.contains(text)), "{wrong}: {faults:?}");
        }
    }

    #[test]
    fn an_advertised_name_leads_to_the_listening_address() {
        let mut lab = Lab::default_lab();
        lab.nodes[1].advertise = ("i1.ims.example".to_owned(), 4060);
        let record = lab.hosts().records("i1.ims.example")[0];
        assert_eq!((record.addr, record.port), (lab.nodes[1].listen.ip(), Some(4060)));
        assert!(lab.hosts().records("127.0.0.1").is_empty());
    }
}
