//! TLS and WebSocket in the lab file: where a P-CSCF listens for them, and the files with the
//! certificates of the lab (RFC 3261 §26.3.1, RFC 5922, RFC 7118).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::lab::{Lab, NodeConfig, NodeRole, choice, socket_addr};
use super::problem::Problems;
use super::tree::{Node, Reader};
use super::write::quoted;
use crate::transport::Transport;

/// Where a P-CSCF listens besides UDP and TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecuredListen {
    /// For TLS.
    pub tls: Option<SocketAddr>,
    /// For WebSocket.
    pub ws: Option<SocketAddr>,
    /// For WebSocket over TLS.
    pub wss: Option<SocketAddr>,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// 1.3 (RFC 8446).
    V1_3,
}

/// The files with the certificates of a lab, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// The CAs that UEs and nodes trust as clients.
    pub ca: Option<PathBuf>,
    /// The certificate of the listeners, with its chain.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The CAs of clients: with it a client has to show a certificate (mutual TLS).
    pub client_ca: Option<PathBuf>,
    /// The certificate that UEs and nodes show as clients.
    pub client_certificate: Option<PathBuf>,
    /// Its private key.
    pub client_key: Option<PathBuf>,
    /// The oldest version of TLS.
    pub min_version: TlsVersion,
}

impl SecuredListen {
    /// All of them, with their transport.
    #[must_use]
    pub fn listeners(&self) -> Vec<(Transport, SocketAddr)> {
        let all =
            [(Transport::Tls, self.tls), (Transport::Ws, self.ws), (Transport::Wss, self.wss)];
        all.into_iter().filter_map(|(transport, addr)| Some((transport, addr?))).collect()
    }

    /// The one for a transport.
    #[must_use]
    pub const fn of(&self, transport: Transport) -> Option<SocketAddr> {
        match transport {
            Transport::Tls => self.tls,
            Transport::Ws => self.ws,
            Transport::Wss => self.wss,
            Transport::Tcp | Transport::Udp => None,
        }
    }

    const fn slot(&mut self, transport: Transport) -> Option<&mut Option<SocketAddr>> {
        match transport {
            Transport::Tls => Some(&mut self.tls),
            Transport::Ws => Some(&mut self.ws),
            Transport::Wss => Some(&mut self.wss),
            Transport::Tcp | Transport::Udp => None,
        }
    }

    /// Whether a certificate is needed to listen.
    #[must_use]
    pub const fn needs_certificate(&self) -> bool {
        self.tls.is_some() || self.wss.is_some()
    }

    /// Moves all to another address.
    pub fn set_ip(&mut self, ip: std::net::IpAddr) {
        for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
            if let Some(Some(addr)) = self.slot(transport) {
                addr.set_ip(ip);
            }
        }
    }

    /// Moves each to the next of these ports.
    pub fn set_ports(&mut self, ports: &mut impl Iterator<Item = u16>) {
        for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
            if let Some(Some(addr)) = self.slot(transport)
                && let Some(port) = ports.next()
            {
                addr.set_port(port);
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, problems: &mut Problems) -> Self {
        let mut addr = |key| reader.or(key, None, problems, |text| socket_addr(text).map(Some));
        Self { tls: addr("tls"), ws: addr("ws"), wss: addr("wss") }
    }

    pub(super) fn written(&self) -> String {
        let one = |(transport, addr): (Transport, SocketAddr)| {
            format!(", {}: \"{addr}\"", transport.param_name())
        };
        self.listeners().into_iter().map(one).collect()
    }
}

impl NodeConfig {
    /// Listens for this transport too, at the address of the node with the usual port, if it does
    /// not yet: TLS on the port behind that of UDP and TCP, WebSocket on 8080, with TLS on 8443.
    pub fn listen_for(&mut self, transport: Transport) {
        let behind = self.listen.port().saturating_add(1);
        let port = match transport {
            Transport::Tls => behind,
            Transport::Ws => 8080,
            Transport::Wss => 8443,
            Transport::Tcp | Transport::Udp => return,
        };
        let addr = SocketAddr::new(self.listen.ip(), port);
        if let Some(slot) = self.secured.slot(transport) {
            slot.get_or_insert(addr);
        }
    }

    /// Where it listens for TLS and WebSocket: at each of its addresses.
    #[must_use]
    pub fn secured_listeners(&self) -> Vec<(Transport, SocketAddr)> {
        let also = |(transport, addr): (Transport, SocketAddr)| {
            let other = self.listen_also.map(|also| SocketAddr::new(also.ip(), addr.port()));
            [Some(addr), other].into_iter().flatten().map(move |addr| (transport, addr))
        };
        self.secured.listeners().into_iter().flat_map(also).collect()
    }

    /// `host:port` as UEs on this transport are told, IPv6 in brackets.
    #[must_use]
    pub fn advertised_for(&self, transport: Transport) -> String {
        let Some(addr) = self.secured.of(transport) else { return self.advertised() };
        let host = self.advertise.0.as_str();
        if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{}", addr.port())
        } else {
            format!("{host}:{}", addr.port())
        }
    }
}

impl TlsConfig {
    pub(super) fn read(node: Option<&Node>, problems: &mut Problems) -> Self {
        let Some(node) = node else { return Self::default() };
        let mut reader = Reader::new(node, "tls", problems);
        let mut file = |key| reader.or(key, None, problems, |text| Ok(Some(PathBuf::from(text))));
        let mut out = Self {
            ca: file("ca"),
            certificate: file("certificate"),
            key: file("key"),
            client_ca: file("client_ca"),
            client_certificate: file("client_certificate"),
            client_key: file("client_key"),
            min_version: TlsVersion::default(),
        };
        out.min_version = reader.or("min_version", out.min_version, problems, |text| {
            choice(text, &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)])
        });
        let before = problems.0.len();
        reader.finish(problems);
        if problems.0.len() > before {
            // One of them may be misspelt.
            return out;
        }
        let pairs = [
            ("certificate", "key", out.certificate.is_some() == out.key.is_some()),
            (
                "client_certificate",
                "client_key",
                out.client_certificate.is_some() == out.client_key.is_some(),
            ),
        ];
        for (one, other, whole) in pairs {
            if !whole {
                let there = [one, other].into_iter().find(|key| node.place(&[key]) != node.at);
                let missing = if there == Some(one) { other } else { one };
                let at = there.map_or(node.at, |key| node.place(&[key]));
                let text = format!("`{one}` and `{other}` belong together");
                problems.push(at, text, Some(format!("write `{missing}: FILE` as well")));
            }
        }
        out
    }

    /// Files with a relative name are beside the lab file.
    pub fn resolve(&mut self, folder: &Path) {
        let files = [
            &mut self.ca,
            &mut self.certificate,
            &mut self.key,
            &mut self.client_ca,
            &mut self.client_certificate,
            &mut self.client_key,
        ];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }

    pub(super) fn written(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        let mut out = String::from(
            "\n# Certificates of the lab (PEM), beside this file: docs/tls.md.\ntls:\n",
        );
        let files = [
            ("ca", &self.ca),
            ("certificate", &self.certificate),
            ("key", &self.key),
            ("client_ca", &self.client_ca),
            ("client_certificate", &self.client_certificate),
            ("client_key", &self.client_key),
        ];
        for (key, file) in files {
            if let Some(file) = file {
                let _ = writeln!(out, "  {key}: {}", quoted(&file.to_string_lossy()));
            }
        }
        let version = if self.min_version == TlsVersion::V1_3 { "1.3" } else { "1.2" };
        let _ = writeln!(out, "  min_version: \"{version}\"");
        out
    }
}

impl Lab {
    /// A P-CSCF that offers TLS on Gm (`gm_security: {tls: on}`) listens for it.
    pub fn listen_as_agreed(&mut self) {
        if !self.gm.tls {
            return;
        }
        for node in self.nodes.iter_mut().filter(|node| node.role == NodeRole::Pcscf) {
            node.listen_for(Transport::Tls);
        }
    }

    /// The names that certificates of listeners have to have: where a UE is told a name.
    #[must_use]
    pub fn names_of_listeners(&self) -> Vec<(SocketAddr, String)> {
        let of_node = |node: &NodeConfig| {
            let name = node.advertise.0.trim_matches(['[', ']']).to_owned();
            node.secured_listeners().into_iter().map(move |(_, addr)| (addr, name.clone()))
        };
        self.nodes.iter().flat_map(of_node).collect()
    }

    /// The nodes that need a certificate to listen.
    #[must_use]
    pub fn needs_certificate(&self) -> bool {
        self.nodes.iter().any(|node| node.secured.needs_certificate())
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab::read_lab;
    use super::*;

    #[test]
    fn listeners_and_files_read_back_as_themselves() {
        let mut lab = Lab::default_lab();
        for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
            lab.nodes[0].listen_for(transport);
        }
        lab.tls = TlsConfig {
            ca: Some("tls/ca.pem".into()),
            certificate: Some("tls/server.pem".into()),
            key: Some("tls/server.key".into()),
            min_version: TlsVersion::V1_3,
            ..TlsConfig::default()
        };

        let mut again = read_lab(&lab.to_yaml()).expect("reads");
        assert_eq!(again, lab);
        assert_eq!(again.nodes[0].advertised_for(Transport::Wss), "127.0.0.1:8443");

        again.tls.resolve(Path::new("/labs"));
        assert_eq!(again.tls.key.as_deref(), Some(Path::new("/labs/tls/server.key")));
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let yaml = Lab::default_lab().to_yaml();
        let wrong = |more: &str| {
            let problems = read_lab(&format!("{yaml}\ntls:\n  {more}\n")).expect_err("wrong");
            problems.0.first().expect("a problem").text.clone()
        };
        assert_eq!(wrong("certificate: a.pem"), "`certificate` and `key` belong together");
        assert!(wrong("min_version: \"1.1\"").contains("1.2"), "{}", wrong("min_version: \"1.1\""));
    }
}
