//! The lab: what nodes there are, where they listen, who the subscribers are, and the lab's choices
//! where the standards leave them.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::control::{self, ControlToken, NodeControl};
use super::edge::EdgeConfig;
use super::entry::EntryConfig;
use super::gather::Gather;
use super::load::LoadConfig;
use super::node::read_node;
use super::numbering::{DnsConfig, NumberingConfig};
use super::problem::{Problems, nearest};
use super::security::GmSecurity;
use super::server::ServerConfig;
use super::serving::{ServingConfig, unknown_users};
use super::subscriber::{ReadSubscribers, SubscriberConfig};
use super::subscribers::Subscribers;
use super::tls::{SecuredListen, TlsConfig};
use super::tree::{Node, Position, Reader, Value, read_tree_in_pieces, scalar};
use crate::fault::Rule;
use crate::time::Duration;
pub(super) use crate::words::duration;

/// A whole lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab {
    /// Home network domain name, also the realm (TS 23.003 §13.2).
    pub domain: String,
    /// The nodes, in the order of the file.
    pub nodes: Vec<NodeConfig>,
    /// Names of nodes that the others take for strangers (TS 24.229 §4.4).
    pub untrusted: Vec<String>,
    /// Whether the networks of the lab trust each other (TS 24.229 §4.4).
    pub interconnect: bool,
    /// The control address; none means no control interface.
    pub control: Option<SocketAddr>,
    /// The token without which that does nothing.
    pub control_token: Option<ControlToken>,
    /// Whether a right AKA answer without security agreement registers (a rule of this emulator).
    pub aka_without_sec_agree: bool,
    /// The security agreement on Gm.
    pub gm: GmSecurity,
    /// The certificates of the lab.
    pub tls: TlsConfig,
    /// Whether this run can carry ESP. Not a key of the file: who runs the lab says so.
    pub esp: bool,
    /// Whether the P-CSCF subscribes to the reg event of its users (TS 24.229 §5.2.3).
    pub reg_event_subscription: bool,
    /// Whether the P-CSCF knows flows (RFC 5626).
    pub outbound: bool,
    /// How long registrations may last.
    pub registration: RegistrationLimits,
    /// Timer values between network elements (RFC 3261).
    pub core_timers: TimerValues,
    /// Timer values towards UEs on a 3GPP radio access (TS 24.229 §7.7).
    pub air_timers: TimerValues,
    /// How long an answer to a challenge may take (reg-await-auth, TS 24.229 §5.4.1.2.1).
    pub reg_await_auth: Duration,
    /// How long the HSS may take to answer.
    pub cx_timeout: Duration,
    /// The largest datagram that passes; larger requests go by TCP (RFC 3261 §18.1.1).
    pub path_mtu: PathMtu,
    /// How long a node under load gathers messages before it looks at them.
    pub gather: Gather,
    /// What becomes of numbers (TS 24.229 §5.4.3.2).
    pub numbering: NumberingConfig,
    /// What the DNS knows.
    pub dns: DnsConfig,
    /// What nodes do wrong on purpose.
    pub faults: Vec<Rule>,
    /// The subscribers, in the order of the file.
    pub subscribers: Subscribers,
}

/// What is known of the path MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMtu {
    /// So many bytes, e.g. 65536 on loopback.
    Known(u32),
    /// Nothing: requests above 1300 bytes go by TCP.
    Unknown,
}

/// Limits of the registration interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationLimits {
    /// Shorter wishes get 423 with Min-Expires.
    pub expires_min: Duration,
    /// Longer wishes are cut down to this.
    pub expires_max: Duration,
    /// Granted where the UE wishes nothing.
    pub expires_default: Duration,
}

/// T1, T2 and T4 of RFC 3261 §17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerValues {
    /// Round-trip estimate.
    pub t1: Duration,
    /// Longest interval between retransmissions.
    pub t2: Duration,
    /// Longest time a message stays in the network.
    pub t4: Duration,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRole {
    /// Application server.
    As,
    /// Home subscriber server.
    Hss,
    /// Interrogating CSCF.
    Icscf,
    /// Proxy CSCF.
    Pcscf,
    /// Serving CSCF.
    Scscf,
}

impl NodeRole {
    /// All roles with their names in the file.
    pub const ALL: [(&'static str, Self); 5] = [
        ("p-cscf", Self::Pcscf),
        ("i-cscf", Self::Icscf),
        ("s-cscf", Self::Scscf),
        ("hss", Self::Hss),
        ("as", Self::As),
    ];

    /// The name in the file, and of the program.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Hss => "hss",
            Self::Icscf => "i-cscf",
            Self::Pcscf => "p-cscf",
            Self::Scscf => "s-cscf",
        }
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its name in traces, e.g. `p1`.
    pub name: String,
    /// What it is.
    pub role: NodeRole,
    /// Where it listens: UDP and TCP (HSS: TCP).
    pub listen: SocketAddr,
    /// P-CSCF: its address of the other version of IP, where it has both.
    pub listen_also: Option<SocketAddr>,
    /// What others are told: host and port (behind a translation or in a container).
    pub advertise: (String, u16),
    /// S-CSCF: the capabilities it has (TS 29.228 §6.7).
    pub capabilities: Vec<u32>,
    /// AS: what it does.
    pub server: ServerConfig,
    /// S-CSCF: its choices.
    pub serving: ServingConfig,
    /// P-CSCF: its choices.
    pub edge: EdgeConfig,
    /// I-CSCF: its choices.
    pub entry: EntryConfig,
    /// The network it belongs to, where that is not the lab's (`Lab::domain`).
    pub domain: Option<String>,
    /// How fast it is, and how much new work it takes.
    pub load: LoadConfig,
    /// Where it is controlled when it runs by itself.
    pub control: NodeControl,
    /// P-CSCF: where it listens for TLS and WebSocket.
    pub secured: SecuredListen,
}

impl NodeConfig {
    /// All addresses at which it listens.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        std::iter::once(self.listen).chain(self.listen_also)
    }

    /// `host:port` as others are told, IPv6 in brackets.
    #[must_use]
    pub fn advertised(&self) -> String {
        let (host, port) = &self.advertise;
        if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// The node's own URI, e.g. `sip:127.0.0.1:6060`.
    #[must_use]
    pub fn sip_uri(&self) -> String {
        format!("sip:{}", self.advertised())
    }
}

impl Lab {
    /// The first node with this role.
    #[must_use]
    pub fn node(&self, role: NodeRole) -> Option<&NodeConfig> {
        self.nodes.iter().find(|node| node.role == role)
    }

    /// The node with this name.
    #[must_use]
    pub fn node_named(&self, name: &str) -> Option<&NodeConfig> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The subscriber with this name.
    #[must_use]
    pub fn subscriber(&self, name: &str) -> Option<Cow<'_, SubscriberConfig>> {
        self.subscribers.named(name)
    }

    /// The private identity of a user: of the subscriber with this name, or itself.
    #[must_use]
    pub fn user_named(&self, who: &str) -> Option<String> {
        Some(self.subscribers.known_as(who)?.into_owned().impi)
    }

    /// Says whether whoever runs the lab carries ESP on real sockets. Tunnels in UDP for UEs behind
    /// a translation are not carried there, so none is agreed on (TS 33.203 Annex M).
    pub const fn carry_esp(&mut self, carries: bool) {
        self.esp = carries;
        self.gm.nat_traversal &= !carries;
    }

    /// The protected ports of a P-CSCF, `port_ps` and all `port_pc`, with its address.
    #[must_use]
    pub fn protected_ports(&self, node: &NodeConfig) -> Vec<SocketAddr> {
        let at = |addr: SocketAddr| {
            let ports = std::iter::once(self.gm.port_ps).chain(self.gm.port_pc.iter().copied());
            ports.map(move |port| SocketAddr::new(addr.ip(), port))
        };
        node.addresses().flat_map(at).collect()
    }
}

/// Reads a lab file.
///
/// # Errors
///
/// Every mistake in it, with its place.
pub fn read_lab(source: &str) -> Result<Lab, Problems> {
    let mut subscribers = ReadSubscribers::new();
    let tree = read_tree_in_pieces(source, &mut subscribers)?;
    let mut problems = Problems::default();
    let lab = lab(&tree, subscribers, &mut problems);
    if problems.is_empty() { Ok(lab) } else { Err(problems) }
}

/// The lab without its subscribers, read without looking at them, where they stand in a block of
/// their own. It is a guess to begin with while [`read_lab`] still reads: it holds if that finds
/// nothing wrong and otherwise the same lab.
#[must_use]
pub fn read_lab_but_subscribers(source: &str) -> Option<Lab> {
    const KEY: &str = "subscribers:\n";
    let start = source.find(&format!("\n{KEY}"))? + 1;
    let (before, block) = source.split_at_checked(start)?;
    let of_block = |line: &&str| line.starts_with([' ', '-', '#', '\n']);
    let inside = block.get(KEY.len()..)?.split_inclusive('\n').take_while(of_block);
    let end = KEY.len() + inside.map(str::len).sum::<usize>();
    read_lab(&format!("{before}{}", block.get(end..)?)).ok()
}

/// What the DNS of the lab knows, and the servers for the rest.
fn names(reader: &mut Reader<'_>, problems: &mut Problems) -> DnsConfig {
    let dns = reader.optional("dns").map(|node| DnsConfig::read(node, problems));
    let mut dns = dns.unwrap_or_default();
    if let Some(node) = reader.optional("dns_servers") {
        dns.servers = DnsConfig::read_servers(node, problems);
    }
    dns
}

fn lab(tree: &Node, mut subscribers: ReadSubscribers, problems: &mut Problems) -> Lab {
    let mut reader = Reader::new(tree, "the lab", problems);
    let domain = reader
        .required("domain", problems)
        .and_then(|node| scalar(node, problems, domain_name))
        .unwrap_or_default();
    let listed = reader.required("nodes", problems);
    let nodes = listed.map(|node| nodes(node, problems));
    let (nodes, all_read) = nodes.unwrap_or_default();
    if let Some(node) = reader.optional("subscribers") {
        subscribers.read(node, &domain);
    }
    let subscribers = subscribers.end(problems);
    let dns = names(&mut reader, problems);
    let secs = Duration::from_secs;
    let (control, control_token) = control::read(reader.optional("control"), problems);
    let mut lab = Lab {
        untrusted: reader
            .optional("untrusted")
            .map(|node| super::networks::untrusted(node, &nodes, problems))
            .unwrap_or_default(),
        nodes,
        interconnect: reader.or("interconnect", true, problems, |text| {
            choice(text, &[("trusted", true), ("untrusted", false)])
        }),
        control,
        control_token,
        aka_without_sec_agree: reader.or("aka_without_sec_agree", true, problems, |text| {
            choice(text, &[("allow", true), ("refuse", false)])
        }),
        gm: super::security::gm_security(&mut reader, problems),
        tls: TlsConfig::read(reader.optional("tls"), problems),
        esp: false,
        reg_event_subscription: reader.or("reg_event_subscription", true, problems, on_off),
        outbound: reader.or("outbound", true, problems, on_off),
        registration: registration(reader.optional("registration"), problems),
        core_timers: timers(
            reader.optional("core_timers"),
            TimerValues { t1: Duration::from_millis(500), t2: secs(4), t4: secs(5) },
            problems,
        ),
        air_timers: timers(
            reader.optional("air_timers"),
            TimerValues { t1: secs(2), t2: secs(16), t4: secs(17) },
            problems,
        ),
        reg_await_auth: reader.or("reg_await_auth", secs(240), problems, duration),
        cx_timeout: reader.or("cx_timeout", secs(5), problems, duration),
        path_mtu: reader.or("path_mtu", PathMtu::Known(65_536), problems, path_mtu),
        gather: reader.or("gather", Gather::Auto, problems, Gather::read),
        numbering: reader
            .optional("numbering")
            .map(|node| NumberingConfig::read(node, problems))
            .unwrap_or_default(),
        dns,
        faults: Vec::new(),
        subscribers,
        domain,
    };
    lab.listen_as_agreed();
    lab.read_faults(&mut reader, problems);
    reader.finish(problems);
    names_known(&lab, tree, (listed, all_read), problems);
    lab
}

/// The nodes as they are written, and whether all of them could be read: else what one of them
/// would have been is not missed, too.
type Listed<'a> = (Option<&'a Node>, bool);

/// Whether the names that parts of the lab have for others are known.
fn names_known(lab: &Lab, tree: &Node, (listed, all_read): Listed<'_>, problems: &mut Problems) {
    control::check_nodes(lab, listed, problems);
    super::ports::check(lab, tree, problems);
    let of_nodes = [Lab::unknown_servers, Lab::incomplete_networks];
    let faults = of_nodes.iter().filter(|_| all_read).flat_map(|faults| faults(lab));
    for fault in faults.chain(lab.unknown_places()) {
        problems.push(tree.at, fault, None);
    }
    if let Some(nodes) = listed {
        let known = |who: &str| lab.user_named(who).is_some();
        unknown_users(nodes, known, &lab.subscribers, problems);
    }
}

/// Reads one name or a list of them, each with its place.
pub fn read_names(node: &Node, problems: &mut Problems) -> Vec<(Position, String)> {
    let items = match &node.value {
        Value::Seq(items) => items.as_slice(),
        Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(node),
    };
    let mut out = Vec::new();
    for item in items {
        match item.text() {
            Some(text) => out.push((item.at, text.to_owned())),
            None => problems.push(item.at, "here must be a name", None),
        }
    }
    out
}

pub(super) fn domain_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if text.split('.').all(label) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("`{text}` is no domain name, e.g. ims.mnc001.mcc001.3gppnetwork.org"))
    }
}

pub(super) fn on_off(text: &str) -> Result<bool, String> {
    choice(text, &[("on", true), ("off", false)])
}

pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        match nearest(text, names.iter().copied()) {
            Some(near) => format!("`{text}` is not known here; did you mean `{near}`?"),
            None => format!("`{text}` is not known here; write one of: {}", names.join(", ")),
        }
    })
}

fn path_mtu(text: &str) -> Result<PathMtu, String> {
    if text == "unknown" {
        return Ok(PathMtu::Unknown);
    }
    text.parse()
        .ok()
        .filter(|bytes| (576..=65_536).contains(bytes))
        .map(PathMtu::Known)
        .ok_or_else(|| format!("`{text}` is no MTU; write 576 to 65536, or unknown"))
}

pub(super) fn socket_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is no address with port, e.g. 127.0.0.1:5060 or [::1]:5060"))
}

pub(super) fn host_port(text: &str) -> Result<(String, u16), String> {
    let fault = || format!("`{text}` is no host with port, e.g. pcscf.example.org:5060");
    let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
    let port = port.parse().map_err(|_| fault())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let named = domain_name(host).is_ok() || host.parse::<std::net::IpAddr>().is_ok();
    if named { Ok((host.to_owned(), port)) } else { Err(fault()) }
}

fn timers(node: Option<&Node>, default: TimerValues, problems: &mut Problems) -> TimerValues {
    let Some(node) = node else { return default };
    let mut reader = Reader::new(node, "the timers", problems);
    let values = TimerValues {
        t1: reader.or("t1", default.t1, problems, duration),
        t2: reader.or("t2", default.t2, problems, duration),
        t4: reader.or("t4", default.t4, problems, duration),
    };
    reader.finish(problems);
    if values.t1.is_zero() || values.t2 < values.t1 {
        problems.push(node.at, "t1 must be above zero and t2 at least t1", None);
    }
    values
}

fn registration(node: Option<&Node>, problems: &mut Problems) -> RegistrationLimits {
    let default = RegistrationLimits {
        expires_min: Duration::from_secs(60),
        expires_max: Duration::from_secs(600_000),
        expires_default: Duration::from_secs(600_000),
    };
    let Some(node) = node else { return default };
    let mut reader = Reader::new(node, "registration", problems);
    let limits = RegistrationLimits {
        expires_min: reader.or("expires_min", default.expires_min, problems, duration),
        expires_max: reader.or("expires_max", default.expires_max, problems, duration),
        expires_default: reader.or("expires_default", default.expires_default, problems, duration),
    };
    reader.finish(problems);
    if limits.expires_min > limits.expires_max {
        problems.push(node.at, "expires_min is above expires_max", None);
    }
    limits
}

/// The entries of a mapping by name, each with its place; `what` names it in the mistake.
pub fn named_entries<'a>(
    node: &'a Node,
    what: &str,
    problems: &mut Problems,
) -> Vec<(&'a str, Position, &'a Node)> {
    match &node.value {
        Value::Map(entries) => {
            entries.iter().map(|entry| (entry.key.as_str(), entry.at, &entry.node)).collect()
        }
        Value::Scalar(_) | Value::Seq(_) => {
            problems.push(node.at, format!("{what} must be a mapping by name"), None);
            Vec::new()
        }
    }
}

/// The nodes, and whether all of them could be read.
fn nodes(node: &Node, problems: &mut Problems) -> (Vec<NodeConfig>, bool) {
    let mut out: Vec<NodeConfig> = Vec::new();
    let mut all_read = matches!(node.value, Value::Map(_));
    for (name, at, node) in named_entries(node, "nodes", problems) {
        let Some(config) = read_node(name, node, problems) else {
            all_read = false;
            continue;
        };
        if let Some(other) = out.iter().find(|other| other.listen == config.listen) {
            problems.push(at, format!("{} is taken by `{}`", config.listen, other.name), None);
        }
        out.push(config);
    }
    // Application servers are the only nodes a lab can be without.
    let needed = NodeRole::ALL.into_iter().filter(|(_, role)| all_read && *role != NodeRole::As);
    for (name, role) in needed {
        if !out.iter().any(|node| node.role == role) {
            problems.push(node.at, format!("the lab has no node with role {name}"), None);
        }
    }
    (out, all_read)
}

pub(super) fn numbers(node: &Node, problems: &mut Problems) -> Vec<u32> {
    let Value::Seq(items) = &node.value else {
        problems.push(node.at, "here must be a list of numbers, e.g. [1, 2]", None);
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| {
            scalar(item, problems, |text| {
                text.parse().map_err(|_| format!("`{text}` is no number"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_is_known_before_its_subscribers_are_read() {
        let mut lab = Lab::default_lab();
        let yaml = lab.to_yaml();
        let (head, tail) = yaml.split_once("\nsubscribers:\n").expect("subscribers");
        let moved = head.replacen("cx_timeout: 5s", "", 1);
        assert!(moved != head);
        let later = format!("{moved}\nsubscribers:\n{tail}\n# more\ncx_timeout: 5s\n");
        assert_eq!(read_lab(&later).as_ref(), Ok(&lab));
        lab.subscribers.clear();
        for source in [&yaml, &later] {
            assert_eq!(read_lab_but_subscribers(source).as_ref(), Some(&lab));
        }
        assert_eq!(read_lab_but_subscribers("domain: ims.example\n"), None);
        let mut some = read_lab(&yaml).expect("a lab");
        assert_eq!(read_lab(&some.to_yaml_for_cscfs()).as_ref(), Ok(&lab));
        let scscf = some.nodes.iter_mut().find(|node| node.role == NodeRole::Scscf).expect("s1");
        scscf.serving.aka_algorithms_of = vec![("bob".into(), vec![])];
        assert_eq!(some.to_yaml_for_cscfs().matches("impi:").count(), 1);
        let flow = yaml.replace("subscribers:\n", "subscribers: {}\n");
        assert_eq!(read_lab_but_subscribers(&flow), None);
    }

    #[test]
    fn what_a_node_that_could_not_be_read_would_have_been_is_not_missed() {
        let said = |source: &str| -> Vec<String> {
            let problems = read_lab(source).expect_err("wrong");
            problems.0.into_iter().map(|problem| problem.text).collect()
        };
        let lab = Lab::default_lab().to_yaml();
        let misspelt = said(&lab.replacen("role: hss", "rle: hss", 1));
        assert_eq!(misspelt, ["a node needs `role`", "unknown key `rle` in a node"]);
        assert_eq!(said("domain: ims.example\nnodes:\n"), ["nodes must be a mapping by name"]);
        assert_eq!(said("domain: ims.example\nnodes: {}\n").len(), 4);
    }

    #[test]
    fn every_mistake_is_reported_at_its_place() {
        let source = "domain: ims.example\nnodes:\n  p1: {role: p-cscv, listen: 127.0.0.1:5060}\n\
                      subscribers:\n  a: {impi: a, impus: [alice], aka: {k: 00, op: 01}}\n\
                      aka_without_sec_agree: alow\nfoo: 1\n";
        let problems = read_lab(source).expect_err("wrong");
        let said: Vec<(u32, u32, &str)> = problems
            .0
            .iter()
            .map(|problem| (problem.at.line, problem.at.column, problem.text.as_str()))
            .collect();
        assert!(
            said.contains(&(3, 14, "`p-cscv` is not known here; did you mean `p-cscf`?")),
            "{said:?}"
        );
        assert!(
            said.contains(&(6, 24, "`alow` is not known here; did you mean `allow`?")),
            "{said:?}"
        );
        assert!(said.contains(&(7, 1, "unknown key `foo` in the lab")), "{said:?}");
        assert!(said.iter().any(|(line, _, text)| *line == 5 && text.contains("hexadecimal")));
    }
}
