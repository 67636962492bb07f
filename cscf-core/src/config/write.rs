//! Writes a lab as a commented file, which reads back as the same lab.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::control::NodeControl;
use super::criteria::write_criteria;
use super::lab::{Lab, NodeRole, PathMtu, TimerValues};
use super::security::pool_text;
use super::subscriber::{Auth, HssData, Impu, SubscriberConfig, SubscriberTransport};
use super::subscribers::Part;
use crate::auth::{AkaKeys, TuakKey};
use crate::time::Duration;

impl Lab {
    /// The lab file with comments.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        self.written(self.subscribers.parts())
    }

    /// The lab file with those subscribers only that the choices of a node name: all that a CSCF
    /// needs of it.
    #[must_use]
    pub fn to_yaml_for_cscfs(&self) -> String {
        let names_of = |node: &super::lab::NodeConfig| -> Vec<String> {
            let algorithms = node.serving.aka_algorithms_of.iter().map(|it| &it.0);
            algorithms.chain(node.edge.policy_of.iter().map(|it| &it.0)).cloned().collect()
        };
        let in_faults = self.faults.iter().flat_map(|rule| rule.names());
        let in_faults = in_faults.map(|(_, name)| name.to_owned());
        let named: Vec<String> = self.nodes.iter().flat_map(names_of).chain(in_faults).collect();
        let is_named =
            |one: &SubscriberConfig| named.iter().any(|it| *it == one.name || *it == one.impi);
        // The P-CSCF has to know of those with a wish of their own.
        let some = self.subscribers.listed().iter();
        let some = some.filter(|one| one.ipsec.is_some() || is_named(one)).cloned();
        let of_ranges = named.iter().filter_map(|who| match self.subscribers.known_as(who) {
            Some(Cow::Owned(one)) => Some(one),
            Some(Cow::Borrowed(_)) | None => None,
        });
        let mut some: Vec<SubscriberConfig> = some.chain(of_ranges).collect();
        let mut told = BTreeSet::new();
        some.retain(|one| told.insert(one.impi.clone()));
        self.written(std::iter::once(Part::Listed(&some)).filter(|_| !some.is_empty()))
    }

    fn written<'a>(&self, subscribers: impl Iterator<Item = Part<'a>> + Clone) -> String {
        let mut out = String::new();
        self.write_head(&mut out);
        self.write_choices(&mut out);
        self.write_gm(&mut out);
        out += &self.tls.written();
        out += &self.numbering.written();
        out += &self.dns.written();
        out += &self.written_faults();
        let nobody = if subscribers.clone().next().is_none() { " {}" } else { "" };
        let _ = writeln!(out, "\nsubscribers:{nobody}");
        // A range can only stand in a list.
        let is_list = subscribers.clone().any(|part| matches!(part, Part::Range(_)));
        for part in subscribers {
            match part {
                Part::Listed(listed) if is_list => {
                    listed.iter().for_each(|one| write_item(&mut out, one));
                }
                Part::Listed(listed) => {
                    listed.iter().for_each(|one| write_subscriber(&mut out, one));
                }
                Part::Range(range) => range.write(&mut out),
            }
        }
        out
    }

    fn write_head(&self, out: &mut String) {
        let _ = write!(
            out,
            "# A lab for cscf: `cscf check FILE` says what is wrong in it, `cscf up --lab FILE` \
             starts it.\n\n\
             # Home network domain name and realm (TS 23.003 13.2).\ndomain: {}\n\n\
             # One entry a node. CSCFs listen on UDP and TCP, the HSS on TCP (Diameter).\n\
             # `advertise: host:port` is what others are told, where it differs from `listen`.\n\
             # What a P- or S-CSCF may have besides: docs/lab-file.md.\n\
             nodes:\n",
            self.domain
        );
        for node in &self.nodes {
            let _ = write!(
                out,
                "  {}: {{role: {}, listen: \"{}\", advertise: \"{}\"",
                node.name,
                node.role.as_str(),
                node.listen,
                node.advertised()
            );
            if let Some(also) = node.listen_also {
                let _ = write!(out, ", listen_also: \"{also}\"");
            }
            if !node.capabilities.is_empty() {
                let _ = write!(out, ", capabilities: {:?}", node.capabilities);
            }
            if node.role == NodeRole::As {
                out.push_str(&node.server.written());
            }
            if node.role == NodeRole::Icscf {
                out.push_str(&node.entry.written());
            }
            if let Some(domain) = &node.domain {
                let _ = write!(out, ", domain: {domain}");
            }
            if node.role == NodeRole::Scscf {
                out.push_str(&node.serving.written());
            }
            if node.role == NodeRole::Pcscf {
                out.push_str(&node.edge.written());
            }
            out.push_str(&node.load.written());
            out.push_str(&node.secured.written());
            match node.control {
                NodeControl::At(addr) => {
                    let _ = write!(out, ", control: \"{addr}\"");
                }
                NodeControl::BesideLab => {}
                NodeControl::Off => out.push_str(", control: \"off\""),
            }
            out.push_str("}\n");
        }
        if !self.untrusted.is_empty() {
            let names = self.untrusted.join(", ");
            let _ = write!(
                out,
                "\n# Nodes that the others take for strangers.\nuntrusted: [{names}]\n"
            );
        }
        if !self.interconnect {
            out.push_str("\n# The networks do not trust each other.\ninterconnect: untrusted\n");
        }
        let control = self.control_written();
        let _ = write!(out, "\n# Control interface of `cscf up`, or off.\ncontrol: {control}\n");
    }

    fn write_choices(&self, out: &mut String) {
        let on_off = |on: bool| if on { "on" } else { "off" };
        let mtu = match self.path_mtu {
            PathMtu::Known(bytes) => bytes.to_string(),
            PathMtu::Unknown => "unknown".to_owned(),
        };
        let _ = write!(
            out,
            "\n# Whether a right AKA answer registers a UE that did not offer a security \
             agreement.\n# IMS AKA proper needs one (TS 33.203); plain clients have none.\n\
             aka_without_sec_agree: {}\n\n\
             # Whether the P-CSCF subscribes to the reg event of its users (TS 24.229 5.2.3).\n\
             reg_event_subscription: {}\n\n\
             # Whether the P-CSCF knows flows (RFC 5626); without, a reg-id gets 439.\n\
             outbound: {}\n\n\
             # Limits of the registration interval: shorter gets 423, longer is cut down.\n\
             registration: {{expires_min: {}, expires_max: {}, expires_default: {}}}\n\n\
             # Timers between network elements (RFC 3261), and towards UEs on a 3GPP radio \
             access\n# (TS 24.229 7.7).\ncore_timers: {}\nair_timers: {}\n\n\
             # How long a UE may take to answer a challenge, and the HSS to answer a question.\n\
             reg_await_auth: {}\ncx_timeout: {}\n\n\
             # Largest datagram that passes, or unknown (then requests above 1300 bytes go by \
             TCP).\npath_mtu: {mtu}\n\n\
             # How long a node under load gathers messages before it looks at them: less work \
             for each,\n# later answers. auto (up to 2ms where much comes), off, or 1ms to \
             20ms.\ngather: {}\n",
            if self.aka_without_sec_agree { "allow" } else { "refuse" },
            on_off(self.reg_event_subscription),
            on_off(self.outbound),
            span(self.registration.expires_min),
            span(self.registration.expires_max),
            span(self.registration.expires_default),
            timers(&self.core_timers),
            timers(&self.air_timers),
            span(self.reg_await_auth),
            span(self.cx_timeout),
            self.gather,
        );
    }
}

impl Lab {
    fn write_gm(&self, out: &mut String) {
        let on_off = |on: bool| if on { "on" } else { "off" };
        let gm = &self.gm;
        let algorithms: Vec<String> = gm.algorithms.iter().map(ToString::to_string).collect();
        let _ = write!(
            out,
            "\n# Security agreement between UE and P-CSCF (TS 33.203): off, optional, required.\n\
             ipsec: {}\n\
             # What protects packets: kernel, raw (sockets), udp, or auto for the first there is; \
             and\n# the port of ESP in UDP.\nipsec_backend: {}\nipsec_port: {}\n\
             # Its algorithms in order of preference, whether packets are encrypted (off, \
             optional,\n# required), the P-CSCF's protected ports, what becomes of unprotected \
             requests (refuse,\n# discard), and the codes of refusals the standard leaves open.\n\
             gm_security:\n  algorithms: [{}]\n  confidentiality: {}\n  port_ps: {}\n  \
             port_pc: \"{}\"\n  unprotected: {}\n  nat_traversal: {}\n  mediasec: {}\n  \
             # Other mechanisms (TS 33.203 Annex P): TLS, GIBA, SIP digest on a 3GPP access.\n  \
             tls: {}\n  giba: {}\n  digest_on_radio: {}\n  reject: {{via: {}, ports: {}, algorithms: {}}}\n",
            gm.sec_agree.as_str(),
            gm.backend.as_str(),
            gm.esp_port,
            algorithms.join(", "),
            gm.confidentiality.as_str(),
            gm.port_ps,
            pool_text(&gm.port_pc),
            if gm.discard_unprotected { "discard" } else { "refuse" },
            on_off(gm.nat_traversal),
            on_off(gm.mediasec),
            on_off(gm.tls),
            on_off(gm.giba),
            if gm.digest_on_radio { "allow" } else { "refuse" },
            gm.reject.via,
            gm.reject.ports,
            gm.reject.algorithms,
        );
    }
}

fn timers(values: &TimerValues) -> String {
    format!("{{t1: {}, t2: {}, t4: {}}}", span(values.t1), span(values.t2), span(values.t4))
}

pub(super) fn span(value: Duration) -> String {
    let millis = value.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

/// A subscriber as an item of a list.
fn write_item(out: &mut String, subscriber: &SubscriberConfig) {
    let mut entry = String::new();
    write_subscriber(&mut entry, subscriber);
    for (line, mark) in entry.lines().zip(std::iter::once("  - ").chain(std::iter::repeat("    ")))
    {
        let _ = writeln!(out, "{mark}{}", line.strip_prefix("  ").unwrap_or(line));
    }
}

pub(super) fn write_subscriber(out: &mut String, subscriber: &SubscriberConfig) {
    let impu = |impu: &Impu| {
        let uri = quoted(&impu.uri);
        if impu.barred { format!("{{barred: {uri}}}") } else { uri }
    };
    let impus: Vec<String> = subscriber.impus.iter().map(impu).collect();
    let SubscriberConfig { name, impi, .. } = subscriber;
    let _ = write!(out, "  {name}:\n    impi: {impi}\n    impus: [{}]\n", impus.join(", "));
    match &subscriber.auth {
        Auth::Aka { .. } | Auth::Card { .. } => {
            let keys = keys_of_card(&subscriber.auth).unwrap_or_default();
            let _ = writeln!(out, "    aka: {{{keys}}}");
        }
        Auth::Digest { password, algorithms } => {
            let _ = writeln!(
                out,
                "    digest: {{password: {}, algorithms: [{}]}}",
                quoted(password),
                algorithms.join(", ")
            );
        }
    }
    if let Some(wish) = subscriber.ipsec {
        let _ = writeln!(out, "    ipsec: {}", wish.as_str());
    }
    write_hss_data(out, &subscriber.hss);
    match subscriber.transport {
        SubscriberTransport::AsRegistered => {}
        SubscriberTransport::Tcp => out.push_str("    transport: tcp\n"),
        SubscriberTransport::Udp => out.push_str("    transport: udp\n"),
    }
    write_criteria(out, &subscriber.filter_criteria);
}

fn write_hss_data(out: &mut String, data: &HssData) {
    if data.barred {
        out.push_str("    barred: true\n");
    }
    if let Some(wanted) = &data.capabilities {
        let names: Vec<String> = wanted.server_names.iter().map(|it| quoted(it)).collect();
        let _ = writeln!(
            out,
            "    capabilities: {{mandatory: {:?}, optional: {:?}, servers: [{}]}}",
            wanted.mandatory,
            wanted.optional,
            names.join(", ")
        );
    }
    if let Some(document) = &data.profile_xml {
        let _ = writeln!(out, "    profile_xml: {}", quoted(document));
    }
    if !data.visited_networks.is_empty() {
        let names: Vec<String> = data.visited_networks.iter().map(|it| quoted(it)).collect();
        let _ = writeln!(out, "    visited_networks: [{}]", names.join(", "));
    }
    if let Some(addr) = data.framed_ip {
        let _ = writeln!(out, "    framed_ip: \"{addr}\"");
    }
    if let Some(id) = data.media_profile {
        let _ = writeln!(out, "    media_profile: {id}");
    }
    if let Some(ccf) = &data.charging_ccf {
        let _ = writeln!(out, "    charging_ccf: {}", quoted(ccf));
    }
}

/// What stands in `aka`; nothing of a password.
pub(super) fn keys_of_card(auth: &Auth) -> Option<String> {
    let (keys, amf, sqn) = match auth {
        Auth::Aka { k, opc, amf, sqn } => {
            (card_keys(&AkaKeys::Milenage { k: *k, opc: *opc }), amf, sqn)
        }
        Auth::Card { keys, amf, sqn } => (card_keys(keys), amf, sqn),
        Auth::Digest { .. } => return None,
    };
    Some(format!("{keys}, amf: \"{}\", sqn: \"{sqn:012x}\"", hex(amf)))
}

/// The keys as they stand in `aka`, without AMF and SQN.
fn card_keys(keys: &AkaKeys) -> String {
    match keys {
        AkaKeys::Milenage { k, opc } => format!("k: \"{}\", opc: \"{}\"", hex(k), hex(opc)),
        AkaKeys::Tuak { k, topc, res, iterations } => {
            let k = match k {
                TuakKey::Bits128(k) => hex(k),
                TuakKey::Bits256(k) => hex(k),
            };
            let res = res.bits();
            format!(
                "algorithm: tuak, k: \"{k}\", topc: \"{}\", res_bits: {res}, \
                 keccak_iterations: {iterations}",
                hex(topc)
            )
        }
        AkaKeys::Xor { k } => format!("algorithm: xor, k: \"{}\"", hex(k)),
    }
}

pub(super) fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{}\"", escaped.replace('\r', "\\r").replace('\t', "\\t"))
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02X}");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::lab::read_lab;
    use super::*;

    #[test]
    fn the_default_lab_reads_back_as_itself() {
        let lab = Lab::default_lab();
        let text = lab.to_yaml();
        assert_eq!(read_lab(&text), Ok(lab));
    }

    #[test]
    fn the_default_lab_has_the_addresses_other_tools_rely_on() {
        let lab = Lab::default_lab();
        let listen: Vec<SocketAddr> = lab.nodes.iter().map(|node| node.listen).collect();
        let expected = ["127.0.0.1:5060", "127.0.0.1:4060", "127.0.0.1:6060", "127.0.0.1:3868"];
        assert_eq!(listen.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }
}
