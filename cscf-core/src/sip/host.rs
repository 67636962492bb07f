//! Hosts: names and addresses, IPv6 in brackets (RFC 3261 §25.1, RFC 5118 §4).

use std::net::IpAddr;

use super::scan::SyntaxError;
use super::uri::UriError;
use super::uri_syntax::is_host_byte;

/// Reads `host[:port]` at the start of `text`; says how many bytes it took.
pub(super) fn host_port(text: &str) -> Result<(&str, Option<u16>, usize), UriError> {
    let named = text.bytes().position(|byte| !is_host_byte(byte)).unwrap_or(text.len());
    let (host, host_len) = match text.as_bytes().get(named) {
        None | Some(b':' | b';' | b'?') if named > 0 => {
            (text.get(..named).unwrap_or_default(), named)
        }
        _ => other_host(text)?,
    };
    let tail = text.get(host_len..).unwrap_or_default();
    let Some(tail) = tail.strip_prefix(':') else {
        return Ok((host, None, host_len));
    };
    let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
    let port = tail
        .get(..digits)
        .and_then(|digits| digits.parse().ok())
        .ok_or(SyntaxError::new(host_len + 1, "port is not a number from 0 to 65535"))?;
    Ok((host, Some(port), host_len + 1 + digits))
}

/// A host that is no name: an IPv6 address, or what is wrong.
fn other_host(text: &str) -> Result<(&str, usize), UriError> {
    let host_len = if text.starts_with('[') {
        text.find(']').map(|at| at + 1).ok_or(SyntaxError::new(0, "IPv6 address is not closed"))?
    } else {
        text.find([':', ';', '?']).unwrap_or(text.len())
    };
    let host = text.get(..host_len).unwrap_or(text);
    check_host(host)?;
    Ok((host, host_len))
}

/// Whether the text is a host name or an address, IPv6 in brackets.
///
/// # Errors
///
/// [`UriError`] at the first byte that cannot stand there.
pub(super) fn check_host(host: &str) -> Result<(), UriError> {
    if host.is_empty() {
        return Err(SyntaxError::new(0, "host is missing"));
    }
    if host.starts_with('[') {
        return match host_ip(host) {
            Some(IpAddr::V6(_)) => Ok(()),
            _ => Err(SyntaxError::new(1, "not an IPv6 address")),
        };
    }
    match host.bytes().position(|byte| !is_host_byte(byte)) {
        Some(at) => Err(SyntaxError::new(at, "character cannot stand in a host")),
        None => Ok(()),
    }
}

/// The address a host text stands for: IPv4, or IPv6 with or without brackets.
#[must_use]
pub fn host_ip(host: &str) -> Option<IpAddr> {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    }
    host.parse().ok()
}

/// Whether two hosts are the same: names without regard to case, addresses by value.
#[must_use]
pub fn host_eq(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
        || (a.starts_with('[') && host_ip(a).is_some() && host_ip(a) == host_ip(b))
}
