//! The entry of one node in a lab file.

use std::net::SocketAddr;

use super::control;
use super::edge::EdgeConfig;
use super::entry::EntryConfig;
use super::lab::{NodeConfig, NodeRole, choice, domain_name, host_port, numbers, socket_addr};
use super::load::LoadConfig;
use super::problem::Problems;
use super::server::ServerConfig;
use super::serving::ServingConfig;
use super::tls::SecuredListen;
use super::tree::{Node, Position, Reader, scalar};

/// Reads one node; what is wrong goes to `problems`.
pub fn read_node(name: &str, node: &Node, problems: &mut Problems) -> Option<NodeConfig> {
    let mut reader = Reader::new(node, "a node", problems);
    let role = reader
        .required("role", problems)
        .and_then(|node| scalar(node, problems, |text| choice(text, &NodeRole::ALL)));
    let listen = reader.required("listen", problems);
    let listen = listen.and_then(|node| scalar(node, problems, socket_addr));
    let listen_also = match role {
        Some(NodeRole::Pcscf) => reader.optional("listen_also"),
        _ => None,
    };
    let also_at = listen_also.map(|node| node.at);
    let listen_also = listen_also.and_then(|node| scalar(node, problems, socket_addr));
    let advertise = reader.optional("advertise").and_then(|node| scalar(node, problems, host_port));
    let capabilities =
        reader.optional("capabilities").map(|node| numbers(node, problems)).unwrap_or_default();
    let server = match role {
        Some(NodeRole::As) => ServerConfig::read(&mut reader, problems),
        _ => ServerConfig::default(),
    };
    let serving = match role {
        Some(NodeRole::Scscf) => ServingConfig::read(&mut reader, problems),
        _ => ServingConfig::default(),
    };
    let edge = match role {
        Some(NodeRole::Pcscf) => EdgeConfig::read(&mut reader, problems),
        _ => EdgeConfig::default(),
    };
    let entry = match role {
        Some(NodeRole::Icscf) => EntryConfig::read(&mut reader, problems),
        _ => EntryConfig::default(),
    };
    let domain = reader.or("domain", None, problems, |text| domain_name(text).map(Some));
    let load = match role {
        Some(NodeRole::Hss) | None => LoadConfig::default(),
        Some(_) => LoadConfig::read(&mut reader, role, problems),
    };
    let control = control::read_node(&mut reader, problems);
    let secured = match role {
        Some(NodeRole::Pcscf) => SecuredListen::read(&mut reader, problems),
        _ => SecuredListen::default(),
    };
    reader.finish(problems);
    let (role, listen) = (role?, listen?);
    if let (Some(also), Some(at)) = (listen_also, also_at) {
        both_families((listen, also), advertise.as_ref(), (at, problems));
    }
    let advertise = advertise.unwrap_or_else(|| (listen.ip().to_string(), listen.port()));
    let name = name.to_owned();
    Some(NodeConfig {
        name,
        role,
        listen,
        listen_also,
        advertise,
        capabilities,
        server,
        serving,
        edge,
        entry,
        domain,
        load,
        control,
        secured,
    })
}

/// A node of two families writes one name of itself, which UEs and core read alike.
fn both_families(
    (listen, also): (SocketAddr, SocketAddr),
    advertise: Option<&(String, u16)>,
    (at, problems): (Position, &mut Problems),
) {
    if listen.is_ipv4() == also.is_ipv4() {
        let text = format!("{also} and {listen} are addresses of one version of IP");
        problems.push(at, text, Some("`listen_also` is for the other one".to_owned()));
    }
    if listen.port() != also.port() {
        let text = format!("`listen` has port {}, this {}", listen.port(), also.port());
        problems.push(at, text, Some("one name stands for both: use one port".to_owned()));
    }
    let is_name = |host: &str| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err();
    if !advertise.is_some_and(|(host, _)| is_name(host)) {
        let help = "advertise: p1.ims.example:5060; the lab knows its addresses".to_owned();
        let text = "who listens on IPv4 and IPv6 needs a name under `advertise`";
        problems.push(at, text, Some(help));
    }
}
