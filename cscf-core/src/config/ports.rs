//! Which ports of a lab meet: where two listeners of the lab would have one address and port, only
//! the first gets it. Known here so that a lab file says so before anything is started.

use std::net::SocketAddr;

use super::lab::{Lab, NodeConfig, NodeRole};
use super::problem::Problems;
use super::security::SecAgree;
use super::tree::{Node, Position, Value};

impl Node {
    /// The place of the value under these keys, one inside the other; where one is not there, the
    /// place of the last that is.
    #[must_use]
    pub fn place(&self, keys: &[&str]) -> Position {
        let Some((first, rest)) = keys.split_first() else { return self.at };
        let Value::Map(entries) = &self.value else { return self.at };
        let entry = entries.iter().find(|entry| entry.key == *first);
        match entry {
            // A mapping begins behind its key, and the key is what a person looks for.
            Some(entry) if rest.is_empty() && entry.node.text().is_none() => entry.at,
            Some(entry) => match entry.node.place(rest) {
                at if at == entry.node.at && entry.node.text().is_none() => entry.at,
                at => at,
            },
            None => self.at,
        }
    }
}

/// A listener: whose, what it is called in the file, where.
struct Listener<'a> {
    node: &'a NodeConfig,
    key: &'static str,
    addr: SocketAddr,
}

impl Listener<'_> {
    fn meets(&self, other: &Self) -> bool {
        let (ip, its) = (self.addr.ip(), other.addr.ip());
        let any = ip.is_unspecified() || its.is_unspecified();
        let same = ip == its || any && ip.is_ipv4() == its.is_ipv4();
        same && self.addr.port() == other.addr.port()
    }

    fn name(&self) -> String {
        format!("`{}` of `{}`", self.key, self.node.name)
    }
}

/// All TCP listeners of SIP in the order of the file. Those of the agreement are there only where
/// something protects packets, which nobody knows yet: they count where the lab lets UEs agree.
fn listeners(lab: &Lab) -> Vec<Listener<'_>> {
    let wishes = lab.subscribers.listed().iter().filter_map(|it| it.ipsec);
    let agrees = wishes.chain([lab.gm.sec_agree]).any(|wish| wish != SecAgree::Off);
    let mut out = Vec::new();
    for node in &lab.nodes {
        let mut add = |key, addr| out.push(Listener { node, key, addr });
        add("listen", node.listen);
        if let Some(addr) = node.listen_also {
            add("listen_also", addr);
        }
        for (transport, addr) in node.secured_listeners() {
            add(transport.param_name(), addr);
        }
        if !agrees || node.role != NodeRole::Pcscf {
            continue;
        }
        for addr in lab.protected_ports(node) {
            add(if addr.port() == lab.gm.port_ps { "port_ps" } else { "port_pc" }, addr);
        }
    }
    out
}

/// Tells of each listener that has the address and port of one before it.
pub(super) fn check(lab: &Lab, tree: &Node, problems: &mut Problems) {
    let all = listeners(lab);
    for (count, one) in all.iter().enumerate() {
        let mut before = all.iter().take(count);
        let Some(other) = before.find(|other| other.meets(one)) else { continue };
        if (one.key, other.key) == ("listen", "listen") && one.addr == other.addr {
            // Told where the nodes are read.
            continue;
        }
        // What is written, rather than what follows from it.
        let (at, other) = match one.key {
            "port_ps" | "port_pc" if other.key != "listen" => (other, one),
            _ => (one, other),
        };
        let keys = match at.key {
            "port_ps" | "port_pc" => vec!["gm_security", at.key],
            key => vec!["nodes", at.node.name.as_str(), key],
        };
        let help = match other.key {
            "port_ps" => "port_ps is the protected server port of `gm_security` (5062 if it is \
                          not written): write another port here or there"
                .to_owned(),
            "port_pc" => "port_pc are the protected client ports of `gm_security` (5100-5131 if \
                          they are not written): write another port here or there"
                .to_owned(),
            _ => "each listener needs an address or a port of its own".to_owned(),
        };
        let text = format!("{} of {} is taken by {}", at.addr, at.name(), other.name());
        problems.push(tree.place(&keys), text, Some(help));
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab::read_lab;
    use super::*;

    fn said(from: &str, to: &str) -> Vec<(u32, u32, String)> {
        let yaml = Lab::default_lab().to_yaml().replacen(from, to, 1);
        let problems = read_lab(&yaml).expect_err("they meet").0;
        problems.into_iter().map(|it| (it.at.line, it.at.column, it.text)).collect()
    }

    #[test]
    fn listeners_that_meet_are_told_at_what_is_written() {
        let p1 = "listen: \"127.0.0.1:5060\",";
        let with = |more: &str| said(p1, &format!("{p1} {more},"));
        assert_eq!(
            with("tls: \"127.0.0.1:5062\""),
            [(10, 53, "127.0.0.1:5062 of `tls` of `p1` is taken by `port_ps` of `p1`".to_owned())]
        );
        let met = with("wss: \"0.0.0.0:4060\"");
        assert_eq!(met.len(), 1, "{met:?}");
        assert_eq!(met[0].2, "127.0.0.1:4060 of `listen` of `i1` is taken by `wss` of `p1`");
        assert_eq!((met[0].0, met[0].1), (11, 30));
        let met = said("port_ps: 5062", "port_ps: 4060");
        assert_eq!(met[0].2, "127.0.0.1:4060 of `listen` of `i1` is taken by `port_ps` of `p1`");
    }

    #[test]
    fn protected_ports_count_only_where_somebody_agrees() {
        let mut lab = Lab::default_lab();
        lab.nodes[1].listen.set_port(5062);
        assert!(read_lab(&lab.to_yaml()).is_err());
        lab.gm.sec_agree = SecAgree::Off;
        assert_eq!(read_lab(&lab.to_yaml()).map(|_| ()), Ok(()));
    }
}
