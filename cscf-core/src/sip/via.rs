//! Via (RFC 3261 §20.42, RFC 3581, RFC 5118 §4.5).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::host::{check_host, host_ip};
use super::params::{HeaderParams, Params};
use super::scan::{Scan, SyntaxError, is_lws};
use super::usual::UsualVia;
use crate::ids::push_decimal;

/// The port a sent-by without port stands for, except TLS (RFC 3261 §18.2.2).
pub const DEFAULT_PORT: u16 = 5060;
/// The port of a TLS sent-by without port.
pub const DEFAULT_TLS_PORT: u16 = 5061;

/// One Via value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Protocol name and version, `SIP/2.0`.
    pub protocol: String,
    /// The transport token as written, e.g. `UDP`.
    pub transport: String,
    /// The host of sent-by as written, IPv6 in brackets.
    pub host: String,
    /// The port of sent-by, if one is written.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params,
}

impl Via {
    /// A Via of our own.
    #[must_use]
    pub fn new(transport: &str, host: &str, port: Option<u16>, branch: &str) -> Self {
        Self {
            protocol: "SIP/2.0".to_owned(),
            transport: transport.to_owned(),
            host: host.to_owned(),
            port,
            params: Params::new().with("branch", branch),
        }
    }

    /// Reads one value; white space may stand around `/` and `:`.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let sent = SentBy::read(text)?;
        let at = text.len() - sent.rest.len();
        let params = Params::parse(sent.rest).map_err(|fault| fault.at(at))?;
        Ok(Self { params, ..Self::from(&sent) })
    }

    /// The `branch` parameter.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch")
    }

    /// The address in `received`, brackets tolerated (RFC 5118 §4.5).
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        self.params.get("received").and_then(host_ip)
    }

    /// Whether `rport` is there, with or without value (RFC 3581 §3).
    #[must_use]
    pub fn has_rport(&self) -> bool {
        self.params.has("rport")
    }

    /// The value of `rport`; `None` if absent or a flag.
    #[must_use]
    pub fn rport(&self) -> Option<u16> {
        self.params.get("rport")?.parse().ok()
    }

    /// The `ttl` parameter.
    #[must_use]
    pub fn ttl(&self) -> Option<u8> {
        self.params.get("ttl")?.parse().ok()
    }

    /// The `maddr` parameter.
    #[must_use]
    pub fn maddr(&self) -> Option<&str> {
        self.params.get("maddr")
    }

    /// The sent-by host if it is an address.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(&self.host)
    }

    /// The port of sent-by, or the transport's default.
    #[must_use]
    pub fn port_or_default(&self) -> u16 {
        let tls =
            ["TLS", "WSS", "TLS-SCTP"].iter().any(|it| self.transport.eq_ignore_ascii_case(it));
        self.port.unwrap_or(if tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT })
    }

    /// `host[:port]` in lower case, as it stands: the sent-by of transaction matching
    /// (RFC 3261 §17.2.3).
    #[must_use]
    pub fn sent_by(&self) -> String {
        sent_by(&self.host, self.port)
    }

    /// Sets `received` (without brackets, as the grammar wants).
    pub fn set_received(&mut self, address: IpAddr) {
        self.params.set("received", &address.to_string());
    }

    /// Sets the value of `rport`.
    pub fn set_rport(&mut self, port: u16) {
        self.params.set("rport", &port.to_string());
    }
}

fn sent_by(host: &str, port: Option<u16>) -> String {
    let mut out = String::with_capacity(host.len() + ":65535".len());
    out.push_str(host);
    out.make_ascii_lowercase();
    if let Some(port) = port {
        out.push(':');
        push_decimal(&mut out, port.into());
    }
    out
}

/// Protocol and sent-by of a Via, borrowed, and the rest of the text from the first `;`.
pub(super) struct SentBy<'a> {
    name: &'a str,
    version: &'a str,
    transport: &'a str,
    host: &'a str,
    port: Option<u16>,
    pub(super) rest: &'a str,
}

/// With what nearly every Via begins.
const USUAL: &str = "SIP/2.0/";

impl<'a> SentBy<'a> {
    /// As [`Via::sent_by`].
    pub(super) fn key(&self) -> String {
        sent_by(self.host, self.port)
    }

    pub(super) fn read(text: &'a str) -> Result<Self, SyntaxError> {
        if let Some(UsualVia { transport, host, port, params }) = UsualVia::head(text) {
            return Ok(Self { name: "SIP", version: "2.0", transport, host, port, rest: params });
        }
        let mut scan = Scan::new(text);
        scan.skip_lws();
        let (name, version) = if scan.rest().starts_with(USUAL) {
            scan.advance(USUAL.len());
            scan.skip_lws();
            ("SIP", "2.0")
        } else {
            let name = scan.token("protocol of the Via is missing")?;
            expect(&mut scan, b'/')?;
            let version = scan.token("protocol version of the Via is missing")?;
            expect(&mut scan, b'/')?;
            (name, version)
        };
        let transport = scan.token("transport of the Via is missing")?;
        if !scan.peek().is_some_and(is_lws) {
            return Err(scan.error("white space is missing behind the transport of the Via"));
        }
        scan.skip_lws();
        let host_at = scan.at();
        let host = if scan.peek() == Some(b'[') {
            let host = scan.take_while(|byte| byte != b']' && !is_lws(byte));
            if !scan.eat(b']') {
                return Err(scan.error("IPv6 address of the Via is not closed"));
            }
            text.get(host_at..=host_at + host.len()).unwrap_or_default()
        } else {
            scan.take_while(|byte| !is_lws(byte) && !matches!(byte, b':' | b';' | b','))
        };
        check_host(host).map_err(|fault| fault.at(host_at))?;
        let mut port = None;
        if scan.eat_separator(b':') {
            let fault = scan.error("port of the Via is not a number from 0 to 65535");
            let digits = scan.take_while(|byte| byte.is_ascii_digit());
            port = Some(digits.parse().map_err(|_| fault)?);
        }
        scan.skip_lws();
        Ok(Self { name, version, transport, host, port, rest: scan.rest() })
    }
}

impl From<&SentBy<'_>> for Via {
    /// The Via without parameters.
    fn from(sent: &SentBy<'_>) -> Self {
        Self {
            protocol: format!("{}/{}", sent.name, sent.version),
            transport: sent.transport.to_owned(),
            host: sent.host.to_owned(),
            port: sent.port,
            params: Params::new(),
        }
    }
}

/// Checks one value without keeping anything of it.
pub(super) fn check(text: &str) -> Result<(), SyntaxError> {
    let sent = SentBy::read(text)?;
    let at = text.len() - sent.rest.len();
    HeaderParams::new(sent.rest).try_for_each(|param| param.map(drop)).map_err(|fault| fault.at(at))
}

fn expect(scan: &mut Scan<'_>, byte: u8) -> Result<(), SyntaxError> {
    if scan.eat_separator(byte) { Ok(()) } else { Err(scan.error("/ is missing in the Via")) }
}

impl FromStr for Via {
    type Err = SyntaxError;
    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::parse(text)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in [&*self.protocol, "/", &*self.transport, " ", &*self.host] {
            f.write_str(piece)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_may_stand_around_slash_and_colon() {
        let via =
            Via::parse("SIP  /\r\n 2.0 / UDP  192.0.2.2 : 5070 ; branch =\r\n z9hG4bK1 ;rport")
                .expect("parses");
        assert_eq!(via.to_string(), "SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bK1;rport");
        assert_eq!((via.has_rport(), via.rport(), via.port), (true, None, Some(5070)));
    }

    #[test]
    fn received_is_read_with_and_without_brackets() {
        let address = "2001:db8::9:255".parse::<IpAddr>().ok();
        for text in ["[2001:db8::9:255]", "2001:db8::9:255"] {
            let via = Via::parse(&format!("SIP/2.0/TCP [2001:db8::9:1];received={text};rport=5"))
                .expect("parses");
            assert_eq!((via.received(), via.rport()), (address, Some(5)));
            assert_eq!(via.host_ip(), "2001:db8::9:1".parse().ok());
        }
    }

    #[test]
    fn a_malformed_via_is_refused_at_its_place() {
        for (text, offset) in [
            ("SIP/2.0", 7),
            ("SIP/2.0/UDP", 11),
            ("SIP/2.0/UDP ;branch=1", 12),
            ("SIP/2.0/UDP h;;", 14),
            ("SIP/2.0/UDP h:x", 14),
            ("SIP/2.0/UDP [::1", 16),
            ("SIP/2.0/UDP 2001:db8::1", 17),
        ] {
            assert_eq!(Via::parse(text).expect_err(text).offset, offset, "{text}");
        }
    }

    #[test]
    fn sent_by_ignores_case_and_keeps_the_port() {
        let via = Via::parse("SIP/2.0/TLS Host.Example;branch=z9hG4bK1").expect("parses");
        assert_eq!((via.sent_by().as_str(), via.port_or_default()), ("host.example", 5061));
    }
}
