//! Via on the path of every message: a borrowed reading, `received` and `rport` on receipt
//! (RFC 3261 §18.2.1, RFC 3581 §4), and where a response goes (§18.2.2, RFC 3581 §4).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::Transport;
use super::target::split_host_port;
use crate::ids::push_decimal;
pub(crate) use crate::sip::trimmed;
use crate::sip::{UsualVia, find_near};
use crate::time::Duration;

/// One Via value, borrowed from the header it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViaView<'a> {
    /// The transport, if it is one we know.
    pub transport: Option<Transport>,
    /// The host of sent-by; an IPv6 address without brackets.
    pub host: &'a str,
    /// The port of sent-by, if written.
    pub port: Option<u16>,
    /// The branch.
    pub branch: Option<&'a str>,
    /// `maddr`.
    pub maddr: Option<&'a str>,
    /// `received`.
    pub received: Option<IpAddr>,
    /// `rport`: asked for (`Some(None)`) or filled in.
    pub rport: Option<Option<u16>>,
}

impl<'a> ViaView<'a> {
    /// Reads one value, e.g. `SIP/2.0/UDP p1.ims.example:5060;branch=z9hG4bK1;rport`. White space
    /// may stand around the slashes, the colon and the parameters (RFC 3261 §25.1).
    ///
    /// `None` when it is not a Via of SIP/2.0.
    #[must_use]
    pub fn parse(value: &'a str) -> Option<Self> {
        Self::head(value).map(|(head, params)| head.with(params))
    }

    /// Transport and sent-by of a value, and the text of its parameters, from which
    /// [`ViaView::with`] makes the rest.
    pub(crate) fn head(value: &'a str) -> Option<(Self, &'a str)> {
        if let Some(UsualVia { transport, host, port, params }) = UsualVia::head(value) {
            let via = Self::of(transport, host, port);
            return Some((via, params.get(1..).unwrap_or_default()));
        }
        let (protocol, rest) = cut(value, b'/')?;
        let (version, rest) = cut(rest, b'/')?;
        if !trimmed(protocol).eq_ignore_ascii_case("SIP") || trimmed(version) != "2.0" {
            return None;
        }
        let rest = rest.trim_start();
        let space = rest.bytes().position(|byte| byte.is_ascii_whitespace())?;
        let (transport, rest) = rest.split_at_checked(space)?;
        let (sent_by, params) = cut(rest, b';').unwrap_or((rest, ""));
        let (host, port) = split_host_port(sent_by)?;
        if host.bytes().any(|byte| byte.is_ascii_whitespace()) {
            return None;
        }
        Some((Self::of(transport, host, port), params))
    }

    fn of(transport: &str, host: &'a str, port: Option<u16>) -> Self {
        let transport = transport.parse().ok();
        Self { transport, host, port, branch: None, maddr: None, received: None, rport: None }
    }

    /// The same with its parameters.
    pub(crate) fn with(self, mut params: &'a str) -> Self {
        let mut via = self;
        while !params.is_empty() {
            let (param, rest) = cut_param(params);
            params = rest;
            let (name, value) = cut(param, b'=').unwrap_or((param, ""));
            let (name, value) = (trimmed(name), trimmed(value));
            let bare = |value: &'a str| value.trim_start_matches('[').trim_end_matches(']');
            match name {
                _ if name.eq_ignore_ascii_case("branch") => via.branch = Some(value),
                _ if name.eq_ignore_ascii_case("maddr") => via.maddr = Some(bare(value)),
                _ if name.eq_ignore_ascii_case("received") => {
                    via.received = bare(value).parse().ok();
                }
                _ if name.eq_ignore_ascii_case("rport") => via.rport = Some(value.parse().ok()),
                _ => {}
            }
        }
        via
    }

    /// The port of sent-by, written or not.
    #[must_use]
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or(self.transport.unwrap_or(Transport::Udp).default_port())
    }

    /// Where a response goes that cannot use the request's connection: `maddr`, else `received`
    /// with `rport`, else `received` or sent-by with the port of sent-by (RFC 3261 §18.2.2,
    /// RFC 3581 §4). `resolve` finds the address of a name.
    pub fn response_addr(
        &self,
        reliable: bool,
        resolve: impl Fn(&str) -> Option<IpAddr>,
    ) -> Option<SocketAddr> {
        let of_host = |host: &str| host.parse().ok().or_else(|| resolve(host));
        if let Some(maddr) = self.maddr
            && !reliable
        {
            return of_host(maddr).map(|ip| SocketAddr::new(ip, self.effective_port()));
        }
        let ip = self.received.or_else(|| of_host(self.host))?;
        // rport is the source port of the request: on a stream that is the connection that is gone.
        let port = match self.rport {
            Some(Some(port)) if !reliable => port,
            _ => self.effective_port(),
        };
        Some(SocketAddr::new(ip, port))
    }
}

/// The address a host is, if it is one (IPv6 without brackets). Most hosts in messages are names,
/// and of most of them the first byte tells.
#[inline]
pub(crate) fn numeric(host: &str) -> Option<IpAddr> {
    let first = *host.as_bytes().first()?;
    let may = first.is_ascii_digit()
        || (matches!(first, b'a'..=b'f' | b'A'..=b'F' | b':') && host.contains(':'));
    if may { host.parse().ok() } else { None }
}

/// What stands before and behind the first `byte`, an ASCII character. It is asked for in short
/// texts of every message, where [`str::split_once`] is felt.
pub(crate) fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let (before, rest) = text.split_at_checked(find_near(text.as_bytes(), byte)?)?;
    Some((before, rest.get(1..)?))
}

/// The first of some parameters, and the others.
fn cut_param(params: &str) -> (&str, &str) {
    let end = semicolon(params).and_then(|at| params.split_at_checked(at));
    end.map_or((params, ""), |(param, rest)| (param, rest.get(1..).unwrap_or_default()))
}

/// Splits at the semicolons outside quotes.
pub(crate) fn semicolons(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let (piece, behind) = match semicolon(text) {
            Some(at) => text.split_at_checked(at)?,
            None => (text, ""),
        };
        rest = behind.get(1..);
        Some(piece)
    })
}

/// The first semicolon outside quotes.
fn semicolon(text: &str) -> Option<usize> {
    let at = memchr::memchr2(b';', b'"', text.as_bytes())?;
    if text.as_bytes().get(at) == Some(&b';') {
        return Some(at);
    }
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
        byte == b';' && !quoted
    })
}

/// What the receipt of a request makes of its top Via.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// As it must read now; none if it stays as it is.
    pub(crate) value: Option<String>,
    /// Where a response by datagram goes; none if `maddr` says it.
    pub(crate) back: Option<SocketAddr>,
}

/// The top Via value after receipt from `source`: with `received` when the host of sent-by is a
/// name or another address, and with `rport` filled in when it was asked for (RFC 3261 §18.2.1,
/// RFC 3581 §4). `None` when it is no Via.
pub(crate) fn received(value: &str, source: SocketAddr) -> Option<Receipt> {
    let via = ViaView::parse(value)?;
    let same_host = numeric(via.host) == Some(source.ip());
    let asked = via.rport.is_some();
    // By now sent-by or `received` is the address of the source (RFC 3261 §18.2.2).
    let port = if asked { source.port() } else { via.effective_port() };
    let back = via.maddr.is_none().then(|| SocketAddr::new(source.ip(), port));
    // A received or rport of the sender's own making would send the answer elsewhere.
    let forged = via.received.is_some_and(|ip| ip != source.ip())
        || via.rport.flatten().is_some_and(|port| port != source.port());
    if same_host && !asked && !forged && via.received.is_none() {
        return Some(Receipt { value: None, back });
    }
    let mut out = String::with_capacity(value.len() + 48);
    for (at, part) in semicolons(value).enumerate() {
        let name = part.split('=').next().map(trimmed).unwrap_or_default();
        let ours =
            at > 0 && (name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport"));
        if !ours {
            if at > 0 {
                out.push(';');
            }
            out.push_str(part);
        }
    }
    if asked {
        out.push_str(";rport=");
        push_decimal(&mut out, source.port().into());
    }
    // RFC 3581 §4: with rport, received is there even when the address is the same.
    if asked || !same_host {
        out.push_str(";received=");
        push_ip(&mut out, source.ip());
    }
    Some(Receipt { value: Some(out), back })
}

/// Writes an address as `Display` does.
fn push_ip(out: &mut String, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        let _ = write!(out, "{ip}");
        return;
    };
    for (at, octet) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            out.push('.');
        }
        push_decimal(out, octet.into());
    }
}

/// The top Via value with `keep=` this many seconds, where the sender offers keep-alives by `keep`
/// without a value (RFC 6223 §4.3); `None` where it does not.
#[must_use]
pub fn with_keep(value: &str, seconds: u32) -> Option<String> {
    let offers = |part: &str| part.trim().eq_ignore_ascii_case("keep");
    if !semicolons(value).skip(1).any(offers) {
        return None;
    }
    let kept = |(at, part): (usize, &str)| match at > 0 && offers(part) {
        true => format!("keep={seconds}"),
        false => part.to_owned(),
    };
    Some(semicolons(value).enumerate().map(kept).collect::<Vec<_>>().join(";"))
}

/// The value of `keep` in a Via value of a response: how often its sender wants keep-alives
/// (RFC 6223 §4.3); `None` where it did not take up the offer.
#[must_use]
pub fn kept(value: &str) -> Option<Duration> {
    let mut params = cut(value, b';')?.1;
    loop {
        let (param, rest) = cut_param(params);
        let seconds = cut(param, b'=')
            .filter(|(name, _)| trimmed(name).eq_ignore_ascii_case("keep"))
            .and_then(|(_, value)| trimmed(value).parse::<u32>().ok());
        if let Some(seconds) = seconds {
            return Some(Duration::from_secs(seconds.into()));
        }
        if rest.is_empty() {
            return None;
        }
        params = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn a_via_is_read_with_white_space_and_ipv6() {
        let via = ViaView::parse(
            "SIP / 2.0 / TCP [2001:db8::9]:5070 ; Branch = z9hG4bKx;received=[::1]; rport",
        )
        .expect("a via");
        assert_eq!((via.transport, via.host), (Some(Transport::Tcp), "2001:db8::9"));
        assert_eq!((via.port, via.branch), (Some(5070), Some("z9hG4bKx")));
        assert_eq!((via.received, via.rport), ("::1".parse().ok(), Some(None)));
        for wrong in ["SIP/2.0/UDP", "SIP/3.0/UDP h", "SIP/2.0/UDP h:x", "", "SIP/2.0/UDP a b"] {
            assert_eq!(ViaView::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn received_and_rport_are_stamped_from_the_source() {
        let source = addr("192.0.2.7:40000");
        let check = |value: &str, expected: Option<&str>, back: &str| {
            let Receipt { value: stamped, back: to } = received(value, source).expect(value);
            assert_eq!(stamped.as_deref(), expected, "{value}");
            assert_eq!(to, Some(addr(back)), "{value}");
            // As who reads the value that is left finds it.
            let via = ViaView::parse(stamped.as_deref().unwrap_or(value)).expect(value);
            assert_eq!(via.response_addr(false, |_| None), to, "{value}");
        };
        check("SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK1", None, "192.0.2.7:5070");
        check(
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1",
            Some("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.7"),
            "192.0.2.7:5060",
        );
        check(
            "SIP/2.0/UDP ue.example:5071;branch=z9hG4bK1",
            Some("SIP/2.0/UDP ue.example:5071;branch=z9hG4bK1;received=192.0.2.7"),
            "192.0.2.7:5071",
        );
        check(
            "SIP/2.0/UDP 192.0.2.7;rport;branch=b",
            Some("SIP/2.0/UDP 192.0.2.7;branch=b;rport=40000;received=192.0.2.7"),
            "192.0.2.7:40000",
        );
        check(
            "SIP/2.0/UDP 10.0.0.1;rport=999;branch=b",
            Some("SIP/2.0/UDP 10.0.0.1;branch=b;rport=40000;received=192.0.2.7"),
            "192.0.2.7:40000",
        );
        check(
            "SIP/2.0/UDP 192.0.2.7;received=203.0.113.9",
            Some("SIP/2.0/UDP 192.0.2.7"),
            "192.0.2.7:5060",
        );
        let maddr = received("SIP/2.0/UDP 192.0.2.7;maddr=203.0.113.9", source);
        assert_eq!(maddr, Some(Receipt { value: None, back: None }));
        assert_eq!(received("SIP/3.0/UDP 192.0.2.7", source), None);
    }

    #[test]
    fn what_stands_in_quotes_leads_nowhere() {
        let source = addr("192.0.2.7:40000");
        for value in [
            r#"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;a="x;rport=";b="y,z""#,
            r#"SIP/2.0/UDP 10.0.0.1;a="x;rport=";branch=z9hG4bK1"#,
            r#"SIP/2.0/UDP 10.0.0.1;a="\";maddr=203.0.113.5;keep";branch=z9hG4bK1"#,
            r#"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;a=";received=203.0.113.5;keep=9""#,
        ] {
            let Receipt { value: stamped, back } = received(value, source).expect(value);
            let expected = format!("{value};received=192.0.2.7");
            assert_eq!(
                (stamped.as_deref(), back),
                (Some(&*expected), Some(addr("192.0.2.7:5060")))
            );
            // As who reads the stamped line finds it.
            let mut headers = crate::sip::Headers::new();
            headers.push(crate::sip::HeaderName::Via, &expected);
            let top = headers.first_value(crate::sip::HeaderName::Via).expect(value);
            let via = ViaView::parse(top).expect(value);
            assert_eq!(via.response_addr(false, |_| None), back, "{value}");
            assert_eq!(via.branch, Some("z9hG4bK1"), "{value}");
            assert_eq!((with_keep(value, 30), kept(value)), (None, None), "{value}");
        }
    }

    #[test]
    fn an_offer_of_keep_alives_gets_its_interval() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(with_keep(value, 30).as_deref(), expected, "{value}");
        };
        check("SIP/2.0/UDP h;branch=b; Keep;rport", Some("SIP/2.0/UDP h;branch=b;keep=30;rport"));
        check("SIP/2.0/UDP h;keep=9", None);
        check("SIP/2.0/UDP keep;branch=keep", None);
    }

    #[test]
    fn an_offer_that_was_taken_up_says_how_often() {
        let seconds = |value: &str| kept(value).map(|it| it.as_secs());
        assert_eq!(seconds("SIP/2.0/UDP h;branch=b;KEEP=30"), Some(30));
        assert_eq!(seconds("SIP/2.0/UDP h;keep=0"), Some(0));
        for none in ["SIP/2.0/UDP h;keep", "SIP/2.0/UDP h;keep=x", "SIP/2.0/UDP h;branch=keep=3"] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

    #[test]
    fn a_response_finds_its_way_by_the_via() {
        let resolve = |name: &str| (name == "p.example").then(|| addr("192.0.2.1:1").ip());
        let check = |value: &str, reliable: bool, expected: Option<&str>| {
            let via = ViaView::parse(value).expect(value);
            assert_eq!(via.response_addr(reliable, resolve), expected.map(addr), "{value}");
        };
        check("SIP/2.0/UDP p.example", false, Some("192.0.2.1:5060"));
        check("SIP/2.0/UDP p.example:5062;received=192.0.2.9", false, Some("192.0.2.9:5062"));
        check("SIP/2.0/UDP p.example;rport=999;received=192.0.2.9", false, Some("192.0.2.9:999"));
        check("SIP/2.0/TCP p.example;rport=999;received=192.0.2.9", true, Some("192.0.2.9:5060"));
        check(
            "SIP/2.0/UDP p.example;maddr=192.0.2.3;received=192.0.2.9",
            false,
            Some("192.0.2.3:5060"),
        );
        check("SIP/2.0/UDP nowhere.example", false, None);
    }
}
