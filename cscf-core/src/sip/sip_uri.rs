//! SIP and SIPS URIs: reading, writing, editing, equality (RFC 3261 §19.1).

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::escape::{decode, encode, eq_unescaped};
use super::host::{check_host, host_eq, host_ip, host_port};
use super::params::{PARAMS_MAX, Params};
use super::scan::SyntaxError;
use super::uri::UriError;
use super::uri_syntax::{check, check_params, collect_params, is_header_byte, is_user_byte};
use super::usual::UsualUri;
use crate::ids::push_decimal;

/// A SIP or SIPS URI (RFC 3261 §19.1.1).
#[derive(Clone, Debug)]
pub struct SipUri {
    /// Whether the scheme is `sips`.
    pub secure: bool,
    /// User, password, host and header part one behind the other: one piece of memory.
    text: String,
    /// The lengths of those that are there.
    user_len: Option<usize>,
    password_len: Option<usize>,
    host_len: usize,
    has_headers: bool,
    port: Option<u16>,
    pub(super) params: Params,
}

impl SipUri {
    pub(super) fn parse(text: &str, secure: bool) -> Result<Self, UriError> {
        let pieces = SipPieces::read(text)?;
        Ok(Self { secure, params: collect_params(pieces.params), ..Self::of(&pieces) })
    }

    /// The URI without parameters.
    fn of(pieces: &SipPieces<'_>) -> Self {
        let SipPieces { user, password, host, port, headers, .. } = *pieces;
        let [before, between, behind] = [user, password, headers].map(Option::unwrap_or_default);
        let text = [before, between, host, behind].concat();
        Self {
            secure: false,
            text,
            user_len: user.map(str::len),
            password_len: password.map(str::len),
            host_len: host.len(),
            has_headers: headers.is_some(),
            port,
            params: Params::new(),
        }
    }

    /// The pieces without parameters.
    fn pieces(&self) -> SipPieces<'_> {
        SipPieces {
            user: self.user(),
            password: self.password(),
            host: self.host(),
            port: self.port,
            params: "",
            headers: self.headers(),
        }
    }

    /// Takes over everything but scheme and parameters.
    fn replace(&mut self, new: Self) {
        let params = std::mem::take(&mut self.params);
        *self = Self { secure: self.secure, params, ..new };
    }

    /// Where user, password and host end in the text.
    fn ends(&self) -> (usize, usize, usize) {
        let user = self.user_len.unwrap_or(0);
        let password = user + self.password_len.unwrap_or(0);
        (user, password, password + self.host_len)
    }

    /// The user part as written, without password.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.text.get(..self.user_len?)
    }

    /// The password as written.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        let (start, end, _) = self.ends();
        self.password_len.and_then(|_| self.text.get(start..end))
    }

    /// The host as written, IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let (_, start, end) = self.ends();
        self.text.get(start..end).unwrap_or_default()
    }

    /// The host if it is an address.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host())
    }

    /// The port if one is written.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The URI parameters; values are never quoted here.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// The `transport` parameter as written.
    #[must_use]
    pub fn transport(&self) -> Option<&str> {
        self.params.get("transport")
    }

    /// The header part behind `?` as written.
    #[must_use]
    pub fn headers(&self) -> Option<&str> {
        let (_, _, start) = self.ends();
        self.text.get(start..).filter(|_| self.has_headers)
    }

    /// The header part as name and value, escapes undone.
    pub fn header_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        header_list(self.headers()).map(|(name, value)| (decode(name), decode(value)))
    }

    /// Sets or removes the user part; escapes what needs it.
    pub fn set_user(&mut self, user: Option<&str>) {
        let user = user.map(|user| encode(user, is_user_byte));
        let user = user.as_deref();
        self.replace(Self::of(&SipPieces { user, password: None, ..self.pieces() }));
    }

    /// Sets or removes the port.
    pub const fn set_port(&mut self, port: Option<u16>) {
        self.port = port;
    }

    /// Sets the host.
    ///
    /// # Errors
    ///
    /// [`UriError`] when it is neither a name nor an address (an IPv6 address in brackets).
    pub fn set_host(&mut self, host: &str) -> Result<(), UriError> {
        check_host(host)?;
        self.replace(Self::of(&SipPieces { host, ..self.pieces() }));
        Ok(())
    }

    /// Takes the header part away (it may not stand in a Request-URI, RFC 3261 §19.1.1).
    pub fn clear_headers(&mut self) {
        self.replace(Self::of(&SipPieces { headers: None, ..self.pieces() }));
    }

    /// Takes all parameters away.
    pub fn clear_params(&mut self) {
        self.params = Params::new();
    }
}

/// A SIP URI behind its scheme, checked and borrowed.
pub(super) struct SipPieces<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    /// From the first `;`.
    params: &'a str,
    headers: Option<&'a str>,
}

impl<'a> SipPieces<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, UriError> {
        if let Some(UsualUri { user, host, port, params }) = UsualUri::behind_scheme(text) {
            return Ok(Self { user, password: None, host, port, params, headers: None });
        }
        let (user, password, host_at) = match memchr::memchr(b'@', text.as_bytes()) {
            Some(at) => {
                let (user, password) = user_info(text.get(..at).unwrap_or_default())?;
                (Some(user), password, at + 1)
            }
            None => (None, None, 0),
        };
        let rest = text.get(host_at..).unwrap_or_default();
        let (host, port, used) = host_port(rest).map_err(|fault| fault.at(host_at))?;
        let tail_at = host_at + used;
        let tail = text.get(tail_at..).unwrap_or_default();
        if tail.is_empty() {
            return Ok(Self { user, password, host, port, params: "", headers: None });
        }
        let (params, headers) = match tail.split_once('?') {
            Some((params, headers)) => (params, Some(headers)),
            None => (tail, None),
        };
        check_params(params).map_err(|fault| fault.at(tail_at))?;
        if let Some(headers) = headers {
            let at = tail_at + params.len() + 1;
            check(headers, at, is_header_byte, "character cannot stand in URI headers")?;
            if headers.split('&').count() > PARAMS_MAX {
                return Err(SyntaxError::new(at, "more than 64 URI headers"));
            }
        }
        Ok(Self { user, password, host, port, params, headers })
    }
}

fn user_info(info: &str) -> Result<(&str, Option<&str>), UriError> {
    if !info.is_empty() && info.bytes().all(is_user_byte) {
        return Ok((info, None));
    }
    let (user, password) = match info.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (info, None),
    };
    if user.is_empty() {
        return Err(SyntaxError::new(0, "user part is empty"));
    }
    check(user, 0, is_user_byte, "character cannot stand in a user part")?;
    if let Some(password) = password {
        let at = user.len() + 1;
        check(password, at, is_user_byte, "character cannot stand in a password")?;
    }
    Ok((user, password))
}

impl SipUri {
    /// Writes it as `Display` does, into memory of the right size.
    pub(super) fn write(&self, out: &mut String) {
        out.reserve(self.text.len() + "sips::@:65535?".len());
        out.push_str(if self.secure { "sips:" } else { "sip:" });
        if let Some(user) = self.user() {
            out.push_str(user);
            if let Some(password) = self.password() {
                out.push(':');
                out.push_str(password);
            }
            out.push('@');
        }
        out.push_str(self.host());
        if let Some(port) = self.port {
            out.push(':');
            push_decimal(out, port.into());
        }
        self.params.write(out);
        if let Some(headers) = self.headers() {
            out.push('?');
            out.push_str(headers);
        }
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// Parameters that make two URIs differ even if only one of them has the parameter: the examples of
/// RFC 3261 §19.1.4 add `transport` to the four its text names.
const NEVER_IGNORED: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

impl PartialEq for SipUri {
    fn eq(&self, other: &Self) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && host_eq(self.host(), other.host())
            && option_eq(self.user(), other.user(), false)
            && option_eq(self.password(), other.password(), false)
            && params_eq(&self.params, &other.params)
            && headers_eq(self.headers(), other.headers())
    }
}

fn option_eq(a: Option<&str>, b: Option<&str>, ignore_case: bool) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => eq_unescaped(a, b, ignore_case),
        _ => false,
    }
}

fn params_eq(a: &Params, b: &Params) -> bool {
    // A repeated parameter counts by its first value.
    let shared = a.iter().all(|param| match (a.get(param.name()), b.get(param.name())) {
        (Some(ours), Some(theirs)) => eq_unescaped(ours, theirs, true),
        _ => true,
    });
    shared && NEVER_IGNORED.iter().all(|name| a.has(name) == b.has(name))
}

fn header_list(headers: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    headers
        .into_iter()
        .flat_map(|text| text.split('&'))
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Header components are never ignored and may stand in any order.
fn headers_eq(a: Option<&str>, b: Option<&str>) -> bool {
    let within = |a, b| {
        header_list(a).all(|(name, value)| {
            header_list(b).any(|(other, its)| {
                eq_unescaped(name, other, true) && eq_unescaped(value, its, false)
            })
        })
    };
    header_list(a).count() == header_list(b).count() && within(a, b) && within(b, a)
}
