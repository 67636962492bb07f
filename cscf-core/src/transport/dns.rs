//! Names in the DNS, without a resolver: questions, records, and a zone of a lab that answers them
//! (RFC 1035, RFC 2782, RFC 3403). ENUM is a NAPTR question about the digits of a number
//! (RFC 6116). The order of questions for a next hop is [`super::locate`]'s.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use regex::RegexBuilder;

/// How many groups the replacement of a substitution may name.
const GROUPS_MAX: usize = 16;
/// How large the automaton of an expression may become.
const REGEX_BYTES_MAX: usize = 64 * 1024;

/// What kind of records is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DnsKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Naming authority pointers: the services of a domain, or of a number (RFC 3403).
    Naptr,
    /// Servers of a service (RFC 2782).
    Srv,
}

impl fmt::Display for DnsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Naptr => "NAPTR",
            Self::Srv => "SRV",
        })
    }
}

/// A question about a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsQuestion {
    /// The name, without the dot at its end, in lower case.
    pub name: String,
    /// What is asked for.
    pub kind: DnsKind,
}

impl DnsQuestion {
    /// A question of this kind about a name.
    #[must_use]
    pub fn new(kind: DnsKind, name: &str) -> Self {
        Self { name: canonical(name), kind }
    }
}

impl fmt::Display for DnsQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsRecord {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A naming authority pointer.
    Naptr(Naptr),
    /// A server of a service.
    Srv(Srv),
}

impl DnsRecord {
    /// The kind of question that it answers.
    #[must_use]
    pub const fn kind(&self) -> DnsKind {
        match self {
            Self::A(_) => DnsKind::A,
            Self::Aaaa(_) => DnsKind::Aaaa,
            Self::Naptr(_) => DnsKind::Naptr,
            Self::Srv(_) => DnsKind::Srv,
        }
    }
}

/// A naming authority pointer (RFC 3403 §4.1). Lower `order`, then lower `preference`, first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Naptr {
    /// In which order pointers are looked at.
    pub order: u16,
    /// Which of the same order is preferred.
    pub preference: u16,
    /// What comes next: `s` servers, `u` the URI that the expression makes.
    pub flags: String,
    /// The service, e.g. `SIP+D2U` or `E2U+sip`.
    pub services: String,
    /// The substitution, e.g. `!^.*$!sip:alice@ims.example!`; empty for a replacement.
    pub regexp: String,
    /// The next name; empty for a substitution.
    pub replacement: String,
}

/// A server of a service (RFC 2782). Lower `priority` first; `weight` shares the load.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Srv {
    /// Which servers are tried first.
    pub priority: u16,
    /// The share of requests among those of the same priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host.
    pub target: String,
}

/// What the DNS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    /// No answer came.
    Unreachable,
    /// The records; none where the name has none of that kind, or does not exist.
    Records(Vec<DnsRecord>),
}

impl DnsAnswer {
    /// The records, none if there was no answer.
    #[must_use]
    pub fn records(&self) -> &[DnsRecord] {
        match self {
            Self::Unreachable => &[],
            Self::Records(list) => list,
        }
    }
}

/// A zone of a lab: all names it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    names: BTreeMap<String, Vec<DnsRecord>>,
}

impl Zone {
    /// A zone without names.
    #[must_use]
    pub const fn new() -> Self {
        Self { names: BTreeMap::new() }
    }

    /// Adds a record behind those the name has already.
    pub fn add(&mut self, name: &str, record: DnsRecord) {
        self.names.entry(canonical(name)).or_default().push(record);
    }

    /// Whether it knows no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All names with their records, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &[DnsRecord])> {
        self.names.iter().map(|(name, list)| (name.as_str(), list.as_slice()))
    }

    /// Whether it has records of this name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The records of the asked kind.
    #[must_use]
    pub fn answer(&self, question: &DnsQuestion) -> DnsAnswer {
        let all = self.names.get(&question.name).map(Vec::as_slice).unwrap_or_default();
        DnsAnswer::Records(all.iter().filter(|it| it.kind() == question.kind).cloned().collect())
    }
}

/// The name of a global number under an ENUM suffix: `4.3.2.1.e164.arpa` (RFC 6116 §3.2).
#[must_use]
pub fn enum_name(digits: &str, suffix: &str) -> String {
    let mut name = String::new();
    for digit in digits.chars().rev().filter(char::is_ascii_digit) {
        name.push(digit);
        name.push('.');
    }
    name + suffix
}

/// The SIP URI that ENUM gives for a global number: the best pointer of the service `E2U+sip`
/// whose expression fits (RFC 6116 §3.4, RFC 3764).
#[must_use]
pub fn enum_uri(number: &str, records: &[DnsRecord]) -> Option<String> {
    let mut list: Vec<&Naptr> = records
        .iter()
        .filter_map(|record| match record {
            DnsRecord::Naptr(naptr) => Some(naptr),
            _ => None,
        })
        .filter(|it| it.flags.eq_ignore_ascii_case("u") && is_sip_service(&it.services))
        .collect();
    list.sort();
    list.into_iter().find_map(|naptr| substituted(number, &naptr.regexp))
}

fn is_sip_service(text: &str) -> bool {
    let mut words = text.split('+');
    words.next().is_some_and(|word| word.eq_ignore_ascii_case("E2U"))
        && words.any(|word| word.eq_ignore_ascii_case("sip"))
}

/// Applies a substitution `!expression!replacement!flags` (RFC 3402 §3.2).
fn substituted(text: &str, regexp: &str) -> Option<String> {
    let delimiter = regexp.chars().next()?;
    let mut parts = regexp.strip_prefix(delimiter)?.splitn(3, delimiter);
    let (expression, replacement) = (parts.next()?, parts.next()?);
    let fold = parts.next().is_some_and(|flags| flags.eq_ignore_ascii_case("i"));
    // Expressions come from whoever answers for a domain: no large automata for those.
    let mut builder = RegexBuilder::new(expression);
    let regex = builder.case_insensitive(fold).size_limit(REGEX_BYTES_MAX).build().ok()?;
    let found = regex.captures(text)?;
    let mut out = String::new();
    let mut chars = replacement.chars();
    let mut groups = 0;
    while let Some(char) = chars.next() {
        match (char, char == '\\') {
            (_, true) => {
                let next = chars.next()?;
                let Some(number) = next.to_digit(10) else {
                    out.push(next);
                    continue;
                };
                groups += 1;
                if groups > GROUPS_MAX {
                    return None;
                }
                let group = found.get(usize::try_from(number).ok()?);
                out.push_str(group.map_or("", |group| group.as_str()));
            }
            (char, false) => out.push(char),
        }
    }
    Some(out)
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naptr(order: u16, services: &str, regexp: &str) -> DnsRecord {
        DnsRecord::Naptr(Naptr {
            order,
            preference: 10,
            flags: "u".to_owned(),
            services: services.to_owned(),
            regexp: regexp.to_owned(),
            replacement: String::new(),
        })
    }

    #[test]
    fn a_zone_answers_by_name_and_kind() {
        let mut zone = Zone::new();
        zone.add("I1.ims.example.", DnsRecord::A(Ipv4Addr::LOCALHOST));
        let ask = |kind, name| zone.answer(&DnsQuestion::new(kind, name));
        let found = DnsAnswer::Records(vec![DnsRecord::A(Ipv4Addr::LOCALHOST)]);
        assert_eq!(ask(DnsKind::A, "i1.IMS.example"), found);
        assert_eq!(ask(DnsKind::Aaaa, "i1.ims.example").records(), []);
        assert_eq!(ask(DnsKind::A, "x.example").records(), []);
    }

    #[test]
    fn a_number_is_found_under_its_digits() {
        assert_eq!(enum_name("+15550100", "e164.arpa"), "0.0.1.0.5.5.5.1.e164.arpa");
        let check = |records: &[DnsRecord], expected: Option<&str>| {
            assert_eq!(enum_uri("+15550100", records).as_deref(), expected);
        };
        let fixed = naptr(20, "E2U+sip", "!^.*$!sip:bob@b.example!");
        let built = naptr(10, "e2u+SIP", r"!^(\+.*)$!sip:\1@a.example;user=phone!i");
        check(&[fixed.clone(), built], Some("sip:+15550100@a.example;user=phone"));
        let other = naptr(1, "E2U+email:mailto", "!^.*$!mailto:x@y!");
        let misses = naptr(2, "E2U+sip", r"!^\+44.*$!sip:x@y!");
        let broken = naptr(3, "E2U+sip", "!(!sip:x@y!");
        check(&[other, misses, broken, fixed], Some("sip:bob@b.example"));
        check(&[], None);
    }
}
