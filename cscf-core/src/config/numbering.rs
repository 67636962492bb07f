//! Numbers and names of a lab: the numbering plan, where numbers go that nobody here has, and the
//! zone that the DNS of the lab knows.

use std::net::{IpAddr, SocketAddr};

use super::lab::{Lab, domain_name, named_entries};
use super::problem::Problems;
use super::tree::{Node, Reader, Value, scalar};
use super::write::quoted;
use crate::identity::Numbering;
use crate::sip::Uri;
use crate::transport::dns::{DnsRecord, Naptr, Srv, Zone, enum_name};

/// The port of DNS servers (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;
/// Where ENUM is looked up where the lab does not say otherwise (RFC 6116 §3).
const SUFFIX: &str = "e164.arpa";

/// What an S-CSCF of the lab does with numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberingConfig {
    /// The numbering plan.
    pub plan: Numbering,
    /// Where numbers go that are not of this lab, as a BGCF would choose: the name of a node, or a
    /// SIP URI. Without, they get 404.
    pub break_out: Option<String>,
}

/// What the DNS of the lab knows: names with their records as text, e.g. `SRV 10 1 4060 i1.b.net`.
///
/// A name that is a global number stands for its name in ENUM; the address of an `A` or `AAAA` may
/// be the name of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// The names, in the order of the file.
    pub names: Vec<(String, Vec<String>)>,
    /// The DNS servers that know further names, in live runs.
    pub servers: Vec<SocketAddr>,
}

impl NumberingConfig {
    /// Reads the key `numbering`.
    pub fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut reader = Reader::new(node, "the numbering", problems);
        let translate = reader.optional("translate");
        let translate = translate.map(|node| named_entries(node, "translate", problems));
        let pair = |(from, _, node): (&str, _, &Node)| {
            let to = scalar(node, problems, |text| number_start(text).map(str::to_owned))?;
            Some((from.to_owned(), to))
        };
        let translate = translate.unwrap_or_default().into_iter().filter_map(pair).collect();
        let home = reader.optional("home").map(|node| prefixes(node, problems));
        let plan = Numbering {
            translate,
            digits_min: reader.or("digits_min", 0, problems, |text| {
                text.parse()
                    .ok()
                    .filter(|it| *it <= 15)
                    .ok_or_else(|| format!("`{text}` is no count of digits, 0 to 15"))
            }),
            home: home.unwrap_or_default(),
            enum_suffix: reader.or("enum", None, problems, |text| match text {
                "off" => Ok(None),
                "on" => Ok(Some(SUFFIX.to_owned())),
                name => domain_name(name).map(Some),
            }),
        };
        let break_out = reader.or("break_out", None, problems, |text| Ok(Some(text.to_owned())));
        reader.finish(problems);
        Self { plan, break_out }
    }

    /// The key as it is read; nothing where all is at its default.
    pub(super) fn written(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        let Numbering { translate, digits_min, home, enum_suffix } = &self.plan;
        let mut parts = Vec::new();
        let pair = |(from, to): &(String, String)| format!("{}: {}", quoted(from), quoted(to));
        let pairs: Vec<String> = translate.iter().map(pair).collect();
        parts.push(format!("translate: {{{}}}", pairs.join(", ")));
        parts.push(format!("digits_min: {digits_min}"));
        let home: Vec<String> = home.iter().map(|text| quoted(text)).collect();
        parts.push(format!("home: [{}]", home.join(", ")));
        parts.push(format!("enum: {}", enum_suffix.as_deref().unwrap_or("off")));
        parts.extend(self.break_out.as_ref().map(|to| format!("break_out: {}", quoted(to))));
        format!("\n# Numbers: docs/lab-file.md.\nnumbering: {{{}}}\n", parts.join(", "))
    }
}

impl DnsConfig {
    /// Reads the key `dns`.
    pub fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut names = Vec::new();
        for (name, _, node) in named_entries(node, "dns", problems) {
            let Value::Seq(items) = &node.value else {
                problems.push(node.at, "here must be a list of records, e.g. [\"A i1\"]", None);
                continue;
            };
            let check = |text: &str| {
                // Whether a node has the name is known only with the whole lab.
                record(text, |_| Some(IpAddr::from([127, 0, 0, 1]))).map(|_| text.to_owned())
            };
            let read = |item| scalar(item, problems, check);
            names.push((name.to_owned(), items.iter().filter_map(read).collect()));
        }
        Self { names, servers: Vec::new() }
    }

    /// Reads the key `dns_servers`: addresses, port 53 where none is named.
    pub fn read_servers(node: &Node, problems: &mut Problems) -> Vec<SocketAddr> {
        let Value::Seq(items) = &node.value else {
            let help = "write `dns_servers: [127.0.0.1:53]`".to_owned();
            problems.push(node.at, "here must be a list of addresses", Some(help));
            return Vec::new();
        };
        let address = |text: &str| {
            let ip = || text.parse().map(|ip: IpAddr| SocketAddr::new(ip, DNS_PORT));
            text.parse().or_else(|_| ip()).map_err(|_| format!("`{text}` is no address"))
        };
        items.iter().filter_map(|item| scalar(item, problems, address)).collect()
    }

    pub(super) fn written(&self) -> String {
        let mut out = String::new();
        if !self.names.is_empty() {
            out.push_str("\n# What the DNS knows: docs/lab-file.md.\ndns:\n");
        }
        for (name, records) in &self.names {
            let records: Vec<String> = records.iter().map(|text| quoted(text)).collect();
            out.push_str(&format!("  {}: [{}]\n", quoted(name), records.join(", ")));
        }
        if !self.servers.is_empty() {
            let servers: Vec<String> =
                self.servers.iter().map(|it| quoted(&it.to_string())).collect();
            out.push_str(&format!("\ndns_servers: [{}]\n", servers.join(", ")));
        }
        out
    }
}

impl Lab {
    /// The zone that the DNS of the lab knows; none if the lab has no `dns`.
    ///
    /// # Errors
    ///
    /// An address that is neither one nor a node of the lab.
    pub fn zone(&self) -> Result<Option<Zone>, String> {
        if self.dns.names.is_empty() {
            return Ok(None);
        }
        let suffix = self.numbering.plan.enum_suffix.as_deref().unwrap_or(SUFFIX);
        let address = |name: &str| self.node_named(name).map(|node| node.listen.ip());
        let mut zone = Zone::new();
        for (name, records) in &self.dns.names {
            let name = match name.starts_with('+') {
                true => enum_name(name, suffix),
                false => name.clone(),
            };
            for text in records {
                let record = record(text, address).map_err(|fault| format!("dns: {fault}"))?;
                zone.add(&name, record);
            }
        }
        Ok(Some(zone))
    }

    /// The URI that numbers go to which nobody here has.
    #[must_use]
    pub fn break_out_uri(&self) -> Option<String> {
        let name = self.numbering.break_out.as_deref()?;
        Some(self.node_named(name).map_or_else(|| name.to_owned(), |node| node.sip_uri()))
    }

    /// What is wrong with where numbers and names lead.
    pub(super) fn unknown_places(&self) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(name) = &self.numbering.break_out
            && self.node_named(name).is_none()
            && !Uri::parse(name).is_ok_and(|uri| uri.is_sip())
        {
            out.push(format!("break_out `{name}` is neither a node of the lab nor a SIP URI"));
        }
        out.extend(self.zone().err());
        out
    }
}

/// Reads a record as it stands in a zone file, without name, class and time to live.
fn record(text: &str, node: impl Fn(&str) -> Option<IpAddr>) -> Result<DnsRecord, String> {
    let fault = || {
        format!(
            "`{text}` is no record; write `A 127.0.0.1`, `AAAA ::1`, `A i1`, `SRV 10 1 5060 host` \
             or `NAPTR 10 1 s SIP+D2U name`"
        )
    };
    let number = |text: &str| text.parse::<u16>().map_err(|_| fault());
    let address = |text: &str| match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => node(text).ok_or_else(|| format!("`{text}` is no address and no node")),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["A" | "AAAA", to] => match address(to)? {
            IpAddr::V4(address) => Ok(DnsRecord::A(address)),
            IpAddr::V6(address) => Ok(DnsRecord::Aaaa(address)),
        },
        ["SRV", priority, weight, port, target] => Ok(DnsRecord::Srv(Srv {
            priority: number(priority)?,
            weight: number(weight)?,
            port: number(port)?,
            target: (*target).to_owned(),
        })),
        ["NAPTR", order, preference, flags, services, last] => {
            let substitutes = last.starts_with('!');
            let text = |wanted: bool| if wanted { (*last).to_owned() } else { String::new() };
            Ok(DnsRecord::Naptr(Naptr {
                order: number(order)?,
                preference: number(preference)?,
                flags: (*flags).to_owned(),
                services: (*services).to_owned(),
                regexp: text(substitutes),
                replacement: text(!substitutes),
            }))
        }
        _ => Err(fault()),
    }
}

/// The beginning of a global number.
fn number_start(text: &str) -> Result<&str, String> {
    let digits = text.strip_prefix('+').filter(|rest| rest.bytes().all(|it| it.is_ascii_digit()));
    digits.map(|_| text).ok_or_else(|| format!("`{text}` begins no global number, e.g. +1555"))
}

fn prefixes(node: &Node, problems: &mut Problems) -> Vec<String> {
    let Value::Seq(items) = &node.value else {
        problems.push(
            node.at,
            "here must be a list of numbers' beginnings, e.g. [\"+1555\"]",
            None,
        );
        return Vec::new();
    };
    let read = |item| scalar(item, problems, |text| number_start(text).map(str::to_owned));
    items.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::super::lab::read_lab;
    use super::*;
    use crate::transport::dns::{DnsKind, DnsQuestion};

    const KEYS: &str = "numbering: {translate: {\"0\": \"+1\", \"\": \"+1555\"}, digits_min: 4, \
        home: [\"+1555010\"], enum: on, break_out: sip:pstn@127.0.0.9}\n\
        dns:\n  b.example: [\"NAPTR 10 1 s SIP+D2U _sip._udp.b.example\"]\n  \
        _sip._udp.b.example: [\"SRV 1 2 4060 i.b.example\"]\n  i.b.example: [\"A i1\"]\n  \
        \"+15550200001\": [\"NAPTR 1 1 u E2U+sip !^.*$!sip:bob@b.example!\"]\n";

    #[test]
    fn numbers_and_names_are_read_as_they_are_written() {
        let lab = read_lab(&format!("{}{KEYS}", Lab::default_lab().to_yaml())).expect("a lab");
        assert_eq!(read_lab(&lab.to_yaml()), Ok(lab.clone()));
        assert_eq!(lab.break_out_uri().as_deref(), Some("sip:pstn@127.0.0.9"));
        let zone = lab.zone().expect("a zone").expect("names");
        let ask = |kind, name: &str| zone.answer(&DnsQuestion::new(kind, name)).records().len();
        assert_eq!(ask(DnsKind::A, "i.b.example"), 1);
        assert_eq!(ask(DnsKind::Srv, "_sip._udp.b.example"), 1);
        assert_eq!(ask(DnsKind::Naptr, "1.0.0.0.0.2.0.5.5.5.1.e164.arpa"), 1);
        assert_eq!(Lab::default_lab().zone(), Ok(None));
    }

    #[test]
    fn what_leads_nowhere_is_said() {
        for (keys, text) in [
            ("numbering: {break_out: nobody}", "break_out `nobody` is neither a node"),
            ("numbering: {home: [\"555\"]}", "`555` begins no global number"),
            ("numbering: {digits_min: 99}", "`99` is no count of digits"),
            ("dns: {b.example: [\"A i9\"]}", "dns: `i9` is no address and no node"),
            ("dns: {b.example: [\"MX 1 x\"]}", "`MX 1 x` is no record"),
        ] {
            let problems = read_lab(&format!("{}{keys}\n", Lab::default_lab().to_yaml()));
            let problems = problems.expect_err(keys);
            assert!(problems.0[0].text.starts_with(text), "{keys}: {problems:?}");
        }
    }
}
