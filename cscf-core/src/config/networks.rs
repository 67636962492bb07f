//! Several home networks in one lab: which nodes and subscribers belong to which, and who trusts
//! whom between them (TS 24.229 §4.4).

use std::net::SocketAddr;

use super::lab::{Lab, NodeConfig, NodeRole, read_names};
use super::problem::{Problems, nearest};
use super::subscriber::SubscriberConfig;
use super::tree::Node;

impl Lab {
    /// The domain name of the network that a node belongs to.
    #[must_use]
    pub fn domain_of<'a>(&'a self, node: &'a NodeConfig) -> &'a str {
        node.domain.as_deref().unwrap_or(&self.domain)
    }

    /// The domain names of all networks, that of the lab first.
    #[must_use]
    pub fn networks(&self) -> Vec<&str> {
        let mut out = vec![self.domain.as_str()];
        for node in &self.nodes {
            let domain = self.domain_of(node);
            if !out.contains(&domain) {
                out.push(domain);
            }
        }
        out
    }

    /// The nodes of a network with this role.
    pub fn nodes_of<'a>(
        &'a self,
        domain: &'a str,
        role: NodeRole,
    ) -> impl Iterator<Item = &'a NodeConfig> {
        let fits = move |node: &&NodeConfig| node.role == role && self.domain_of(node) == domain;
        self.nodes.iter().filter(fits)
    }

    /// The network of a subscriber: the realm of its private identity, if that is one of the lab's
    /// networks.
    #[must_use]
    pub fn home_of(&self, subscriber: &SubscriberConfig) -> &str {
        let realm = subscriber.impi.rsplit_once('@').map_or("", |(_, realm)| realm);
        let networks = self.networks();
        let own = networks.into_iter().find(|domain| domain.eq_ignore_ascii_case(realm));
        own.unwrap_or(&self.domain)
    }

    /// The nodes inside the trust domain of a node: those of its network that are not said to be
    /// strangers, and those of other networks where the networks trust each other.
    #[must_use]
    pub fn peers_trusted_by(&self, node: &NodeConfig) -> Vec<SocketAddr> {
        let mine = self.domain_of(node);
        let near = |its: &&NodeConfig| self.interconnect || self.domain_of(its) == mine;
        let known = |its: &&NodeConfig| !self.untrusted.contains(&its.name);
        self.nodes.iter().filter(near).filter(known).flat_map(NodeConfig::addresses).collect()
    }

    /// The other networks with their entry points, as the names in URIs have them; without those
    /// that the DNS of the lab knows.
    pub(super) fn entry_points(&self) -> Vec<(&str, SocketAddr)> {
        let networks = self.networks();
        if networks.len() < 2 {
            return Vec::new();
        }
        let elsewhere = !self.dns.servers.is_empty();
        let in_dns =
            |domain: &str| elsewhere || self.dns.names.iter().any(|(name, _)| name == domain);
        let unknown = networks.into_iter().filter(|domain| !in_dns(domain));
        let entries = unknown.flat_map(|domain| {
            self.nodes_of(domain, NodeRole::Icscf).map(move |node| (domain, node.listen))
        });
        entries.collect()
    }

    /// What a network lacks: each that has CSCFs needs an HSS and an I-CSCF.
    pub(super) fn incomplete_networks(&self) -> Vec<String> {
        let mut out = Vec::new();
        for domain in self.networks() {
            let has = |role| self.nodes_of(domain, role).next().is_some();
            let serves = [NodeRole::Icscf, NodeRole::Pcscf, NodeRole::Scscf].into_iter().any(has);
            for role in [NodeRole::Hss, NodeRole::Icscf].into_iter().filter(|_| serves) {
                if !has(role) {
                    out.push(format!(
                        "the network {domain} has no node with role {}",
                        role.as_str()
                    ));
                }
            }
        }
        out
    }
}

/// Names of nodes of the lab.
pub(super) fn untrusted(node: &Node, nodes: &[NodeConfig], problems: &mut Problems) -> Vec<String> {
    let names = read_names(node, problems);
    let known = || nodes.iter().map(|node| node.name.as_str());
    for (at, name) in names.iter().filter(|(_, name)| !known().any(|known| known == name)) {
        let near = nearest(name, known()).map(|near| format!("did you mean `{near}`?"));
        problems.push(*at, format!("`{name}` is no node of the lab"), near);
    }
    names.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::lab::read_lab;
    use super::*;

    const OTHER: &str = "  p2: {role: p-cscf, listen: \"127.0.0.2:5060\", domain: b.example}\n  \
        i2: {role: i-cscf, listen: \"127.0.0.2:4060\", domain: b.example, unknown_user: 604}\n  \
        s2: {role: s-cscf, listen: \"127.0.0.2:6060\", domain: b.example}\n  \
        hss2: {role: hss, listen: \"127.0.0.2:3868\", domain: b.example}\n";

    fn lab(keys: &str) -> Lab {
        let yaml = Lab::default_lab().to_yaml();
        let yaml = yaml.replacen("\nnodes:\n", &format!("\nnodes:\n{OTHER}"), 1);
        read_lab(&format!("{yaml}{keys}")).expect("a lab")
    }

    #[test]
    fn a_lab_can_have_two_networks() {
        let both = lab("");
        assert_eq!(both.networks(), [both.domain.as_str(), "b.example"]);
        assert_eq!(read_lab(&both.to_yaml()), Ok(both.clone()));
        let s2 = both.node_named("s2").expect("s2");
        assert_eq!(both.peers_trusted_by(s2).len(), 8);
        assert_eq!(lab("interconnect: untrusted\n").peers_trusted_by(s2).len(), 4);
        assert_eq!(both.entry_points().len(), 2);
        let alone = Lab::default_lab();
        assert_eq!((alone.entry_points().len(), alone.incomplete_networks().len()), (0, 0));
        let mut half = both;
        half.nodes.retain(|node| node.name != "hss2");
        assert_eq!(half.incomplete_networks(), ["the network b.example has no node with role hss"]);
    }
}
