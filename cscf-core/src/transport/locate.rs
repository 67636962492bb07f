//! Which servers a URI leads to, asked of the DNS one question at a time (RFC 3263 §4): the
//! services of the domain, their servers, the servers' addresses. Asks nobody itself.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::Transport;
use super::dns::{DnsAnswer, DnsKind, DnsQuestion, DnsRecord, Naptr, Srv};
use super::target::{Place, Target};

/// Questions about one URI at most: who answers for a domain must not keep us busy.
const QUESTIONS_MAX: usize = 40;
/// Targets of one URI at most.
const TARGETS_MAX: usize = 16;
/// The transports that can be used, in the order they are preferred in where the domain says
/// nothing (RFC 3263 §4.1).
const KNOWN: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This has to be asked.
    Ask(DnsQuestion),
    /// All targets, in the order they are to be tried; none if there are none.
    Found(Vec<Target>),
}

/// A question that is still to be asked, or has been.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    Address { kind: DnsKind, name: String, transport: Transport, port: u16 },
    Naptr(String),
    Srv { name: String, transport: Transport },
}

/// The way from a URI to its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locating {
    host: String,
    secure: bool,
    transport: Option<Transport>,
    work: VecDeque<Work>,
    found: Vec<Target>,
    asked: usize,
    /// The domain has servers of its own, so that its address is not asked for.
    has_servers: bool,
    /// The address of the host itself was asked for.
    fell_back: bool,
}

impl Locating {
    /// Begins with a place that is named, not numbered.
    #[must_use]
    pub fn new(place: &Place<'_>) -> Self {
        let host = place.host.to_owned();
        let mut work = VecDeque::new();
        // A port says that the address is all that is wanted (§4.2); a transport that its services
        // need not be asked for (§4.1).
        match (place.port, place.transport) {
            (Some(port), transport) => {
                let transport = transport.unwrap_or(plain(place.secure));
                work.push_back(address(&host, transport, port));
            }
            (None, Some(transport)) => work.push_back(server(&host, place.secure, transport)),
            (None, None) => work.push_back(Work::Naptr(host.clone())),
        }
        Self {
            host,
            secure: place.secure,
            transport: place.transport,
            work,
            found: Vec::new(),
            asked: 0,
            has_servers: false,
            fell_back: place.port.is_some(),
        }
    }

    /// The host that is looked for.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What is to be done now.
    pub fn step(&mut self) -> Step {
        if self.work.is_empty() && self.found.is_empty() && !self.has_servers && !self.fell_back {
            // No servers are named: the address of the host itself (§4.2).
            self.fell_back = true;
            let transport = self.transport.unwrap_or(plain(self.secure));
            self.work.push_back(address(&self.host, transport, transport.default_port()));
        }
        match self.work.front() {
            Some(work) if self.asked < QUESTIONS_MAX && self.found.len() < TARGETS_MAX => {
                Step::Ask(match work {
                    Work::Address { kind, name, .. } => DnsQuestion::new(*kind, name),
                    Work::Naptr(name) => DnsQuestion::new(DnsKind::Naptr, name),
                    Work::Srv { name, .. } => DnsQuestion::new(DnsKind::Srv, name),
                })
            }
            _ => Step::Found(std::mem::take(&mut self.found)),
        }
    }

    /// Takes the answer to the question of the last step. `pick` gives a number below its argument,
    /// for servers that share a load (RFC 2782).
    pub fn told(&mut self, answer: &DnsAnswer, pick: &mut impl FnMut(u32) -> u32) {
        self.asked += 1;
        let Some(work) = self.work.pop_front() else { return };
        let records = answer.records();
        match work {
            Work::Naptr(_) => {
                let next = self.services(records);
                self.work.extend(next);
            }
            Work::Srv { transport, .. } => {
                let next = in_turn(records, pick).into_iter().map(|srv| {
                    // A target of `.` says that there is no such service (RFC 2782).
                    (srv.target.trim_end_matches('.').to_owned(), srv.port)
                });
                let next: Vec<_> = next.filter(|(name, _)| !name.is_empty()).collect();
                self.has_servers |= !next.is_empty();
                // Addresses come before the servers of the next service.
                for (name, port) in next.into_iter().rev() {
                    self.work.push_front(address(&name, transport, port));
                }
            }
            Work::Address { kind, name, transport, port } => {
                let addresses = records.iter().filter_map(|record| match record {
                    DnsRecord::A(ip) => Some(IpAddr::V4(*ip)),
                    DnsRecord::Aaaa(ip) => Some(IpAddr::V6(*ip)),
                    DnsRecord::Naptr(_) | DnsRecord::Srv(_) => None,
                });
                for ip in addresses {
                    let target = Target { transport, addr: SocketAddr::new(ip, port) };
                    if !self.found.contains(&target) {
                        self.found.push(target);
                    }
                }
                if kind == DnsKind::A {
                    let kind = DnsKind::Aaaa;
                    self.work.push_front(Work::Address { kind, name, transport, port });
                }
            }
        }
    }

    /// The services of a domain that can be used, best first; all that are known where it names
    /// none (§4.1).
    fn services(&self, records: &[DnsRecord]) -> Vec<Work> {
        let mut list: Vec<&Naptr> = records
            .iter()
            .filter_map(|record| match record {
                DnsRecord::Naptr(naptr) => Some(naptr),
                _ => None,
            })
            .filter(|naptr| naptr.flags.eq_ignore_ascii_case("s"))
            .collect();
        list.sort();
        let usable = |naptr: &&Naptr| {
            let transport = transport_of(&naptr.services, self.secure)?;
            let name = naptr.replacement.clone();
            Some(Work::Srv { name, transport })
        };
        let named: Vec<Work> = list.iter().filter_map(usable).collect();
        if !named.is_empty() {
            return named;
        }
        let known: &[Transport] = if self.secure { &[Transport::Tls] } else { &KNOWN };
        known.iter().map(|transport| server(&self.host, self.secure, *transport)).collect()
    }
}

/// The transport of a service such as `SIP+D2U`; none that cannot be used here.
fn transport_of(service: &str, secure: bool) -> Option<Transport> {
    match (service.to_ascii_uppercase().as_str(), secure) {
        ("SIP+D2U", false) => Some(Transport::Udp),
        ("SIP+D2T", false) => Some(Transport::Tcp),
        ("SIPS+D2T", true) => Some(Transport::Tls),
        _ => None,
    }
}

const fn plain(secure: bool) -> Transport {
    if secure { Transport::Tls } else { Transport::Udp }
}

fn address(name: &str, transport: Transport, port: u16) -> Work {
    Work::Address { kind: DnsKind::A, name: name.to_owned(), transport, port }
}

fn server(host: &str, secure: bool, transport: Transport) -> Work {
    let service = if secure || transport == Transport::Tls { "_sips" } else { "_sip" };
    let protocol = if transport == Transport::Udp { "_udp" } else { "_tcp" };
    Work::Srv { name: format!("{service}.{protocol}.{host}"), transport }
}

/// Servers by priority; of the same priority each comes first as often as its weight says
/// (RFC 2782).
fn in_turn(records: &[DnsRecord], pick: &mut impl FnMut(u32) -> u32) -> Vec<Srv> {
    let mut left: Vec<Srv> = records
        .iter()
        .filter_map(|record| match record {
            DnsRecord::Srv(srv) => Some(srv.clone()),
            _ => None,
        })
        .collect();
    left.sort();
    let mut out = Vec::new();
    while let Some(first) = left.first() {
        let priority = first.priority;
        let group = left.iter().filter(|srv| srv.priority == priority);
        let total: u32 = group.clone().map(|srv| u32::from(srv.weight)).sum();
        let mut lot = if total == 0 { 0 } else { pick(total) };
        let mut at = 0;
        for (index, srv) in group.enumerate() {
            at = index;
            let weight = u32::from(srv.weight);
            if lot < weight {
                break;
            }
            lot -= weight;
        }
        out.push(left.remove(at));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::dns::Zone;
    use super::*;

    fn zone() -> Zone {
        let mut zone = Zone::new();
        let naptr = |order, services: &str, replacement: &str| {
            DnsRecord::Naptr(Naptr {
                order,
                preference: 1,
                flags: "s".to_owned(),
                services: services.to_owned(),
                regexp: String::new(),
                replacement: replacement.to_owned(),
            })
        };
        let srv = |priority, weight, port, target: &str| {
            DnsRecord::Srv(Srv { priority, weight, port, target: target.to_owned() })
        };
        let a = |last| DnsRecord::A([192, 0, 2, last].into());
        zone.add("full.example", naptr(20, "SIP+D2U", "_sip._udp.full.example"));
        zone.add("full.example", naptr(10, "SIP+D2T", "_sip._tcp.full.example"));
        zone.add("full.example", naptr(1, "SIPS+D2T", "_sips._tcp.full.example"));
        zone.add("_sip._udp.full.example", srv(2, 0, 5070, "b.full.example"));
        zone.add("_sip._udp.full.example", srv(1, 0, 5060, "a.full.example"));
        zone.add("_sip._tcp.full.example", srv(1, 0, 5080, "a.full.example"));
        zone.add("full.example", a(9));
        zone.add("a.full.example", a(1));
        zone.add("a.full.example", DnsRecord::Aaaa("2001:db8::1".parse().expect("address")));
        zone.add("b.full.example", a(2));
        zone.add("_sip._udp.srv.example", srv(1, 30, 5060, "a.full.example"));
        zone.add("_sip._udp.srv.example", srv(1, 70, 5060, "b.full.example"));
        zone.add("plain.example", a(3));
        zone
    }

    fn check(uri: &str, asked: &[&str], found: &[&str]) {
        let place = Place::of_uri(uri).expect(uri);
        let mut locating = Locating::new(&place);
        let (zone, mut questions) = (zone(), Vec::new());
        let targets = loop {
            match locating.step() {
                Step::Ask(question) => {
                    locating.told(&zone.answer(&question), &mut |_| 40);
                    questions.push(question.to_string());
                }
                Step::Found(targets) => break targets,
            }
        };
        questions.retain(|text| !text.starts_with("AAAA"));
        assert_eq!(questions, asked, "{uri}");
        let targets = targets.iter().map(|it| format!("{} {}", it.transport, it.addr));
        assert_eq!(targets.collect::<Vec<_>>(), found, "{uri}");
    }

    #[test]
    fn services_servers_and_addresses_are_asked_for_in_this_order() {
        check(
            "sip:full.example",
            &[
                "NAPTR full.example",
                "SRV _sip._tcp.full.example",
                "A a.full.example",
                "SRV _sip._udp.full.example",
                "A a.full.example",
                "A b.full.example",
            ],
            &[
                "TCP 192.0.2.1:5080",
                "TCP [2001:db8::1]:5080",
                "UDP 192.0.2.1:5060",
                "UDP [2001:db8::1]:5060",
                "UDP 192.0.2.2:5070",
            ],
        );
        check(
            "sip:full.example;transport=udp",
            &["SRV _sip._udp.full.example", "A a.full.example", "A b.full.example"],
            &["UDP 192.0.2.1:5060", "UDP [2001:db8::1]:5060", "UDP 192.0.2.2:5070"],
        );
        check("sip:full.example:5090", &["A full.example"], &["UDP 192.0.2.9:5090"]);
    }

    #[test]
    fn without_services_the_servers_and_without_servers_the_host_is_asked_for() {
        check(
            "sip:plain.example",
            &[
                "NAPTR plain.example",
                "SRV _sip._udp.plain.example",
                "SRV _sip._tcp.plain.example",
                "A plain.example",
            ],
            &["UDP 192.0.2.3:5060"],
        );
        check(
            "sip:srv.example",
            &[
                "NAPTR srv.example",
                "SRV _sip._udp.srv.example",
                "A b.full.example",
                "A a.full.example",
                "SRV _sip._tcp.srv.example",
            ],
            &["UDP 192.0.2.2:5060", "UDP 192.0.2.1:5060", "UDP [2001:db8::1]:5060"],
        );
        check(
            "sip:nowhere.example;transport=tcp",
            &["SRV _sip._tcp.nowhere.example", "A nowhere.example"],
            &[],
        );
    }
}
