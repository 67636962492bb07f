//! Where a URI leads: RFC 3263 over a table of names instead of a DNS, with its order kept.
//!
//! A numeric host is its own answer; a port in the URI skips the service records (§4.2); a
//! `transport` parameter picks among them (§4.1). Does not decide between UDP and TCP by size: that
//! is [`super::size`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::Transport;
use super::via::{cut, numeric, trimmed};
use crate::sip::{UsualAddress, UsualUri};

/// A place a request can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The transport protocol.
    pub transport: Transport,
    /// The address.
    pub addr: SocketAddr,
}

/// One record of a name: an address alone (A, AAAA), or with port and transport (NAPTR, SRV).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRecord {
    /// The address.
    pub addr: IpAddr,
    /// The port, as a service record gives it.
    pub port: Option<u16>,
    /// The transport, as a service record gives it.
    pub transport: Option<Transport>,
}

/// The host part of a URI names nothing we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} resolves to no address")]
pub struct Unresolved(pub String);

/// The table of names. Names are compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    names: BTreeMap<String, Vec<HostRecord>>,
}

impl Hosts {
    /// A table without names.
    #[must_use]
    pub const fn new() -> Self {
        Self { names: BTreeMap::new() }
    }

    /// Adds a record behind those the name has already: earlier ones are tried first.
    pub fn add(&mut self, name: &str, record: HostRecord) {
        self.names.entry(name.to_ascii_lowercase()).or_default().push(record);
    }

    /// Adds a name that stands for one address and port on any transport.
    pub fn add_addr(&mut self, name: &str, addr: SocketAddr) {
        let record = HostRecord { addr: addr.ip(), port: Some(addr.port()), transport: None };
        self.add(name, record);
    }

    /// The records of a name, best first.
    #[must_use]
    pub fn records(&self, name: &str) -> &[HostRecord] {
        // Names in messages are nearly always lower case already: no copy for those.
        let found = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.names.get(&name.to_ascii_lowercase())
        } else {
            self.names.get(name)
        };
        found.map_or(&[], Vec::as_slice)
    }

    /// All places a URI's host part leads to, in the order they are to be tried (RFC 3263 §4).
    ///
    /// # Errors
    ///
    /// [`Unresolved`] when the host is neither an address nor a name of the table, or when the
    /// table has it on other transports only.
    pub fn resolve(&self, place: &Place<'_>) -> Result<Vec<Target>, Unresolved> {
        let default = if place.secure { Transport::Tls } else { Transport::Udp };
        let wanted = match (place.transport, place.secure) {
            (Some(Transport::Tcp | Transport::Tls), true) => Some(Transport::Tls),
            (Some(Transport::Ws | Transport::Wss), true) => Some(Transport::Wss),
            (asked, _) => asked,
        };
        if let Some(ip) = numeric(place.host) {
            let transport = wanted.unwrap_or(default);
            let port = place.port.unwrap_or(transport.default_port());
            return Ok(vec![Target { transport, addr: SocketAddr::new(ip, port) }]);
        }
        let mut targets = Vec::new();
        for record in self.records(place.host) {
            // An explicit port asks for the address only (RFC 3263 §4.2).
            let service = place.port.is_none();
            if service && wanted.is_some_and(|asked| record.transport.is_some_and(|t| t != asked)) {
                continue;
            }
            let named = record.transport.filter(|_| service);
            let transport = wanted.or(named).unwrap_or(default);
            let port =
                place.port.or(record.port.filter(|_| service)).unwrap_or(transport.default_port());
            let addr = SocketAddr::new(record.addr, port);
            let target = Target { transport, addr };
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        if targets.is_empty() { Err(Unresolved(place.host.to_owned())) } else { Ok(targets) }
    }
}

/// What of a SIP URI decides where a message goes: host, port, `transport`, `maddr`, `lr`.
///
/// A borrowed view for the path every message takes; [`crate::sip::Uri`] is the full reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The host, `maddr` if the URI has one (RFC 3261 §19.1.1); an IPv6 address without brackets.
    pub host: &'a str,
    /// The port, if written.
    pub port: Option<u16>,
    /// The `transport` parameter, if it names one we know.
    pub transport: Option<Transport>,
    /// The scheme is `sips`.
    pub secure: bool,
    /// The `lr` parameter is there (RFC 3261 §19.1.1).
    pub loose: bool,
    /// The user part.
    pub user: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// Reads the place out of a `sip` or `sips` URI, with or without angle brackets and display
    /// name. `None` for other schemes and for text that is no URI.
    #[must_use]
    pub fn of_uri(text: &'a str) -> Option<Self> {
        if let Some(uri) = UsualUri::read(text) {
            return Some(Self::of_usual(&uri));
        }
        if let Some(address) = UsualAddress::read(text) {
            return Some(Self::of_usual(&address.uri));
        }
        let text = uri_text(text);
        let (scheme, rest) = cut(text, b':')?;
        let secure = scheme.eq_ignore_ascii_case("sips");
        if !secure && !scheme.eq_ignore_ascii_case("sip") {
            return None;
        }
        // The user part may hold `;` and `?` (RFC 3261 §25.1): the last `@` before the headers ends
        // it, and neither host nor parameters may hold a bare one.
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(cut(user, b':').map_or(user, |(user, _)| user)), rest),
            None => (None, rest),
        };
        let rest = cut(rest, b'?').map_or(rest, |(rest, _)| rest);
        let (host_port, params) = cut(rest, b';').unwrap_or((rest, ""));
        let (host, port) = split_host_port(host_port)?;
        Some(Self { host, port, transport: None, secure, loose: false, user }.with(params))
    }

    /// The place of a URI that was taken apart already.
    pub(crate) fn of_usual(uri: &UsualUri<'a>) -> Self {
        let UsualUri { user, host, port, params } = *uri;
        let place = Self { host, port, transport: None, secure: false, loose: false, user };
        place.with(params.get(1..).unwrap_or_default())
    }

    /// The same with what its parameters say.
    fn with(self, mut params: &'a str) -> Self {
        let mut place = self;
        let mut said = false;
        while !params.is_empty() {
            let (param, rest) = cut(params, b';').unwrap_or((params, ""));
            params = rest;
            let (name, value) = cut(param, b'=').unwrap_or((param, ""));
            if name.eq_ignore_ascii_case("transport") {
                // Of several the first counts, as for the full reader.
                if !std::mem::replace(&mut said, true) {
                    place.transport = value.parse().ok();
                }
            } else if name.eq_ignore_ascii_case("maddr") && !value.is_empty() {
                place.host = value.trim_start_matches('[').trim_end_matches(']');
            } else if name.eq_ignore_ascii_case("lr") {
                place.loose = true;
            }
        }
        place
    }

    /// The port the URI means, written or not (RFC 3261 §19.1.2).
    #[must_use]
    pub fn effective_port(&self) -> u16 {
        let default = if self.secure { Transport::Tls } else { Transport::Udp };
        self.port.unwrap_or(self.transport.unwrap_or(default).default_port())
    }
}

/// The URI of a `name-addr` (`"Bob" <sip:b@x;lr>;p=1`), or the text itself if it has no brackets.
#[must_use]
pub fn uri_text(text: &str) -> &str {
    let text = text.trim();
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => {
                let inner = text.get(at + 1..).unwrap_or_default();
                return inner.split('>').next().unwrap_or(inner).trim();
            }
            _ => {}
        }
    }
    text
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`; `None` if the port is no number or the host
/// is empty.
#[must_use]
pub fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let text = trimmed(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            match rest.trim() {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':')?)),
            }
        }
        None => match cut(text, b':') {
            Some((host, port)) => (host.trim_end(), Some(port)),
            None => (text, None),
        },
    };
    let port = match port.map(trimmed) {
        Some(port) if !port.bytes().all(|byte| byte.is_ascii_digit()) => return None,
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Uri;

    fn table() -> Hosts {
        let mut hosts = Hosts::new();
        let record = |addr: &str, port, transport| HostRecord {
            addr: addr.parse().expect("address"),
            port,
            transport,
        };
        hosts.add("i.example", record("192.0.2.1", Some(5080), Some(Transport::Tcp)));
        hosts.add("i.example", record("192.0.2.2", Some(5081), Some(Transport::Udp)));
        hosts.add("plain.example", record("2001:db8::1", None, None));
        hosts
    }

    fn check(uri: &str, expected: &[&str]) {
        let place = Place::of_uri(uri).expect(uri);
        let found: Vec<String> = table()
            .resolve(&place)
            .map(|targets| targets.iter().map(|t| format!("{} {}", t.transport, t.addr)).collect())
            .unwrap_or_default();
        assert_eq!(found, expected, "{uri}");
    }

    #[test]
    fn a_name_leads_where_rfc_3263_says() {
        check("sip:u@192.0.2.9", &["UDP 192.0.2.9:5060"]);
        check("sips:192.0.2.9", &["TLS 192.0.2.9:5061"]);
        check("sip:[2001:db8::9]:5070;transport=tcp", &["TCP [2001:db8::9]:5070"]);
        check("sip:I.example", &["TCP 192.0.2.1:5080", "UDP 192.0.2.2:5081"]);
        check("<sip:t@i.example;transport=UDP;lr>", &["UDP 192.0.2.2:5081"]);
        check("sip:i.example:7000", &["UDP 192.0.2.1:7000", "UDP 192.0.2.2:7000"]);
        check("sip:plain.example;transport=tcp", &["TCP [2001:db8::1]:5060"]);
        check("sip:u@unknown.example;maddr=192.0.2.7", &["UDP 192.0.2.7:5060"]);
        check("sip:unknown.example", &[]);
    }

    #[test]
    fn the_first_of_several_transports_counts_as_for_the_full_reader() {
        for (uri, first) in [
            ("sip:h.example;transport=tcp;transport=udp", "tcp"),
            ("sip:h.example;Transport=udp;lr;TRANSPORT=tcp", "udp"),
            ("sip:h.example;transport=carrier;transport=tcp", "carrier"),
            ("sip:[2001:db8::9];transport=tcp;transport=udp", "tcp"),
        ] {
            let full = Uri::parse(uri).expect(uri);
            assert_eq!(full.as_sip().and_then(|sip| sip.transport()), Some(first), "{uri}");
            let place = Place::of_uri(uri).expect(uri);
            assert_eq!(place.transport, first.parse().ok(), "{uri}");
        }
    }

    #[test]
    fn a_place_is_read_from_odd_uris() {
        let place = Place::of_uri("\"a<b\" <sip:x;y?z:pw@h.example:99;LR;transport=ws?h=v>;q=1");
        let place = place.expect("a uri");
        assert_eq!((place.host, place.port, place.loose), ("h.example", Some(99), true));
        assert_eq!((place.user, place.transport), (Some("x;y?z"), Some(Transport::Ws)));
        assert_eq!(Place::of_uri("tel:+1555"), None);
        assert_eq!(Place::of_uri("sip:h:99999"), None);
        assert_eq!(Place::of_uri("sip:u@"), None);
    }
}
