//! SIP, SIPS, tel and other URIs: reading, writing, equality (RFC 3261 §19.1, RFC 3966).
//! Other schemes are kept opaque; a URI prints the text it was read from, scheme in lower case.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::escape::{check_escapes, decode, encode, eq_unescaped};
use super::params::{PARAMS_MAX, Params};
use super::scan::SyntaxError;

/// What is wrong with a URI, and where in its text.
pub type UriError = SyntaxError;

/// A URI. `==` is the equivalence of the scheme (RFC 3261 §19.1.4, RFC 3966 §5), which is not
/// transitive: a parameter present in only one URI is mostly ignored. Hence no `Eq` and no `Hash`;
/// for keys take [`crate::identity::Impu`].
#[derive(Clone, Debug)]
pub enum Uri {
    /// `sip:` or `sips:`.
    Sip(SipUri),
    /// `tel:`.
    Tel(TelUri),
    /// Any other scheme, such as `urn:`.
    Other(OtherUri),
}

/// A SIP or SIPS URI (RFC 3261 §19.1.1).
#[derive(Clone, Debug)]
pub struct SipUri {
    /// Whether the scheme is `sips`.
    pub secure: bool,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    params: Params,
    headers: Option<String>,
}

/// A tel URI (RFC 3966 §3).
#[derive(Clone, Debug)]
pub struct TelUri {
    number: String,
    params: Params,
}

/// A URI of a scheme this core does not read.
#[derive(Clone, Debug)]
pub struct OtherUri {
    scheme: String,
    opaque: String,
}

const NO_PARAMS: &Params = &Params::new();

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    ///
    /// [`UriError`] with the offset of the first byte that cannot stand there.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let colon = text.find(':').ok_or(SyntaxError::new(0, "URI without a scheme"))?;
        let (scheme, rest) = text.split_at_checked(colon).unwrap_or((text, ""));
        let rest = rest.get(1..).unwrap_or_default();
        let start = colon + 1;
        if scheme.eq_ignore_ascii_case("sip") {
            SipUri::parse(rest, false).map(Self::Sip).map_err(|fault| fault.at(start))
        } else if scheme.eq_ignore_ascii_case("sips") {
            SipUri::parse(rest, true).map(Self::Sip).map_err(|fault| fault.at(start))
        } else if scheme.eq_ignore_ascii_case("tel") {
            TelUri::parse(rest).map(Self::Tel).map_err(|fault| fault.at(start))
        } else {
            OtherUri::parse(scheme, rest).map(Self::Other)
        }
    }

    /// A SIP URI of a user (escaped as needed) at a host, without port and parameters.
    ///
    /// # Errors
    ///
    /// [`UriError`] when `host` is neither a name nor an address (an IPv6 address in brackets), with
    /// or without `:port`.
    pub fn sip(user: Option<&str>, host: &str) -> Result<Self, UriError> {
        let mut uri = SipUri::parse(host, false)?;
        uri.user = user.map(|user| encode(user, is_user_byte).into_owned());
        Ok(Self::Sip(uri))
    }

    /// The scheme in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        match self {
            Self::Sip(uri) if uri.secure => "sips",
            Self::Sip(_) => "sip",
            Self::Tel(_) => "tel",
            Self::Other(uri) => &uri.scheme,
        }
    }

    /// Whether the scheme is sip or sips.
    #[must_use]
    pub const fn is_sip(&self) -> bool {
        matches!(self, Self::Sip(_))
    }

    /// Whether the scheme is tel.
    #[must_use]
    pub const fn is_tel(&self) -> bool {
        matches!(self, Self::Tel(_))
    }

    /// The SIP or SIPS URI, if it is one.
    #[must_use]
    pub const fn as_sip(&self) -> Option<&SipUri> {
        if let Self::Sip(uri) = self { Some(uri) } else { None }
    }

    /// The SIP or SIPS URI to be edited, if it is one.
    #[must_use]
    pub const fn as_sip_mut(&mut self) -> Option<&mut SipUri> {
        if let Self::Sip(uri) = self { Some(uri) } else { None }
    }

    /// The tel URI, if it is one.
    #[must_use]
    pub const fn as_tel(&self) -> Option<&TelUri> {
        if let Self::Tel(uri) = self { Some(uri) } else { None }
    }

    /// The part behind the scheme of a URI that is neither SIP nor tel, e.g. `service:sos`.
    #[must_use]
    pub fn opaque(&self) -> Option<&str> {
        if let Self::Other(uri) = self { Some(&uri.opaque) } else { None }
    }

    /// The user part as written (escapes inside); of a tel URI the number as written.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Sip(uri) => uri.user(),
            Self::Tel(uri) => Some(uri.number()),
            Self::Other(_) => None,
        }
    }

    /// The user part with escapes undone.
    #[must_use]
    pub fn user_decoded(&self) -> Option<Cow<'_, str>> {
        self.user().map(decode)
    }

    /// The host as written, IPv6 in brackets; `None` unless sip or sips.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.as_sip().map(SipUri::host)
    }

    /// The host if it is an address.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        self.as_sip().and_then(SipUri::host_ip)
    }

    /// The port if one is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.as_sip().and_then(SipUri::port)
    }

    /// The URI parameters; none for other schemes.
    #[must_use]
    pub const fn params(&self) -> &Params {
        match self {
            Self::Sip(uri) => &uri.params,
            Self::Tel(uri) => &uri.params,
            Self::Other(_) => NO_PARAMS,
        }
    }

    /// The value of a URI parameter as written; the empty text for a flag.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().get(name)
    }

    /// Sets a URI parameter, escaping what needs it; an empty value makes a flag. Other schemes stay
    /// as they are.
    pub fn set_param(&mut self, name: &str, value: &str) {
        let params = match self {
            Self::Sip(uri) => &mut uri.params,
            Self::Tel(uri) => &mut uri.params,
            Self::Other(_) => return,
        };
        if value.is_empty() {
            params.set_flag(name);
        } else {
            params.set_raw(name, &encode(value, is_param_byte));
        }
    }

    /// Removes a URI parameter; says whether it was there.
    pub fn remove_param(&mut self, name: &str) -> bool {
        match self {
            Self::Sip(uri) => uri.params.remove(name),
            Self::Tel(uri) => uri.params.remove(name),
            Self::Other(_) => false,
        }
    }

    /// The `transport` parameter as written.
    #[must_use]
    pub fn transport(&self) -> Option<&str> {
        self.as_sip().and_then(SipUri::transport)
    }

    /// Whether it has the `lr` parameter (RFC 3261 §19.1.1).
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.as_sip().is_some_and(|uri| uri.params.has("lr"))
    }
}

impl FromStr for Uri {
    type Err = UriError;
    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(uri) => uri.fmt(f),
            Self::Tel(uri) => uri.fmt(f),
            Self::Other(uri) => write!(f, "{}:{}", uri.scheme, uri.opaque),
        }
    }
}

impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        uri_eq(self, other)
    }
}

/// Whether two URIs are equivalent by the rules of their scheme (RFC 3261 §19.1.4, RFC 3966 §5).
#[must_use]
pub fn uri_eq(a: &Uri, b: &Uri) -> bool {
    match (a, b) {
        (Uri::Sip(a), Uri::Sip(b)) => a == b,
        (Uri::Tel(a), Uri::Tel(b)) => a == b,
        (Uri::Other(a), Uri::Other(b)) => {
            a.scheme.eq_ignore_ascii_case(&b.scheme) && a.opaque == b.opaque
        }
        _ => false,
    }
}

impl SipUri {
    fn parse(text: &str, secure: bool) -> Result<Self, UriError> {
        let pieces = SipPieces::read(text)?;
        Ok(Self {
            secure,
            user: pieces.user.map(str::to_owned),
            password: pieces.password.map(str::to_owned),
            host: pieces.host.to_owned(),
            port: pieces.port,
            params: collect_params(pieces.params),
            headers: pieces.headers.map(str::to_owned),
        })
    }

    /// The user part as written, without password.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password as written.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The host as written, IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host if it is an address.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(&self.host)
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
        self.headers.as_deref()
    }

    /// The header part as name and value, escapes undone.
    pub fn header_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        header_list(self.headers.as_deref()).map(|(name, value)| (decode(name), decode(value)))
    }

    /// Sets or removes the user part; escapes what needs it.
    pub fn set_user(&mut self, user: Option<&str>) {
        self.user = user.map(|user| encode(user, is_user_byte).into_owned());
        self.password = None;
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
        host.clone_into(&mut self.host);
        Ok(())
    }

    /// Takes the header part away (it may not stand in a Request-URI, RFC 3261 §19.1.1).
    pub fn clear_headers(&mut self) {
        self.headers = None;
    }

    /// Takes all parameters away.
    pub fn clear_params(&mut self) {
        self.params = Params::new();
    }
}

/// A SIP URI behind its scheme, checked and borrowed.
struct SipPieces<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    /// From the first `;`.
    params: &'a str,
    headers: Option<&'a str>,
}

impl<'a> SipPieces<'a> {
    fn read(text: &'a str) -> Result<Self, UriError> {
        let (user, password, host_at) = match text.find('@') {
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

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if let Some(user) = &self.user {
            f.write_str(user)?;
            if let Some(password) = &self.password {
                write!(f, ":{password}")?;
            }
            f.write_str("@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)?;
        if let Some(headers) = &self.headers {
            write!(f, "?{headers}")?;
        }
        Ok(())
    }
}

/// Parameters that make two URIs differ even if only one of them has the parameter: the examples of
/// RFC 3261 §19.1.4 add `transport` to the four its text names.
const NEVER_IGNORED: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

impl PartialEq for SipUri {
    fn eq(&self, other: &Self) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && host_eq(&self.host, &other.host)
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

impl TelUri {
    fn parse(text: &str) -> Result<Self, UriError> {
        let len = text.find(';').unwrap_or(text.len());
        let (number, params) = text.split_at_checked(len).unwrap_or((text, ""));
        let global = number.starts_with('+');
        for (at, byte) in number.bytes().enumerate() {
            let fits = match byte {
                b'0'..=b'9' | b'-' | b'.' | b'(' | b')' => true,
                b'+' => at == 0,
                b'*' | b'#' | b'a'..=b'f' | b'A'..=b'F' => !global,
                // `#` must be escaped in a URI; dial strings such as *31# come that way.
                b'%' => !global && number.get(at..at + 3) == Some("%23"),
                _ => false,
            };
            if !fits {
                return Err(SyntaxError::new(at, "character cannot stand in a telephone number"));
            }
        }
        if !number.bytes().any(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#')) {
            return Err(SyntaxError::new(0, "telephone number without digits"));
        }
        check_params(params).map_err(|fault| fault.at(len))?;
        Ok(Self { number: number.to_owned(), params: collect_params(params) })
    }

    /// The number as written, visual separators inside.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }

    /// The number without visual separators, `%23` as `#`, letters in upper case.
    #[must_use]
    pub fn digits(&self) -> String {
        phone_digits(&self.number)
    }

    /// Whether it is a global number, i.e. starts with `+` (RFC 3966 §5.1.4).
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.number.starts_with('+')
    }

    /// The `phone-context` parameter of a local number.
    #[must_use]
    pub fn phone_context(&self) -> Option<&str> {
        self.params.get("phone-context")
    }

    /// The URI parameters.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }
}

impl PartialEq for TelUri {
    fn eq(&self, other: &Self) -> bool {
        let within = |a: &Params, b: &Params| {
            a.iter().all(|param| {
                b.iter().any(|its| {
                    param.name().eq_ignore_ascii_case(its.name())
                        && tel_param_eq(
                            param.name(),
                            param.raw_value().unwrap_or_default(),
                            its.raw_value().unwrap_or_default(),
                        )
                })
            })
        };
        self.is_global() == other.is_global()
            && self.digits() == other.digits()
            && within(&self.params, &other.params)
            && within(&other.params, &self.params)
    }
}

/// `ext` and a numeric `phone-context` are numbers, so their visual separators do not count.
fn tel_param_eq(name: &str, a: &str, b: &str) -> bool {
    let number = name.eq_ignore_ascii_case("ext")
        || (name.eq_ignore_ascii_case("phone-context") && a.starts_with('+'));
    if number { phone_digits(a) == phone_digits(b) } else { eq_unescaped(a, b, true) }
}

impl fmt::Display for TelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tel:{}{}", self.number, self.params)
    }
}

/// A telephone number without visual separators, `%23` as `#`, letters in upper case.
#[must_use]
pub fn phone_digits(number: &str) -> String {
    decode(number)
        .chars()
        .filter(|char| !matches!(char, '-' | '.' | '(' | ')'))
        .map(|char| char.to_ascii_uppercase())
        .collect()
}

impl OtherUri {
    fn parse(scheme: &str, opaque: &str) -> Result<Self, UriError> {
        let named = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        if !named {
            return Err(SyntaxError::new(0, "URI scheme is not a scheme name"));
        }
        if opaque.is_empty() {
            return Err(SyntaxError::new(scheme.len() + 1, "URI ends behind its scheme"));
        }
        let at = scheme.len() + 1;
        check(opaque, at, is_opaque_byte, "character cannot stand in a URI")?;
        Ok(Self { scheme: scheme.to_ascii_lowercase(), opaque: opaque.to_owned() })
    }
}

fn check(
    text: &str,
    at: usize,
    allowed: fn(u8) -> bool,
    reason: &'static str,
) -> Result<(), UriError> {
    if let Some(offset) = text.bytes().position(|byte| byte != b'%' && !allowed(byte)) {
        return Err(SyntaxError::new(at + offset, reason));
    }
    check_escapes(text).map_err(|fault| fault.at(at))
}

/// The parameters of a URI: `;name[=value]` again and again, no white space.
fn check_params(text: &str) -> Result<(), UriError> {
    let Some(list) = text.strip_prefix(';') else {
        if text.is_empty() {
            return Ok(());
        }
        return Err(SyntaxError::new(0, "unexpected text behind the host"));
    };
    let mut at = 1;
    for (count, part) in list.split(';').enumerate() {
        if count == PARAMS_MAX {
            return Err(SyntaxError::new(at, "more than 64 URI parameters"));
        }
        if part.is_empty() || part.starts_with('=') {
            return Err(SyntaxError::new(at, "URI parameter without a name"));
        }
        check(part, at, is_param_text_byte, "character cannot stand in a URI parameter")?;
        at += part.len() + 1;
    }
    Ok(())
}

/// The parameters of a text that passed [`check_params`].
fn collect_params(text: &str) -> Params {
    let mut params = Params::new();
    for part in text.split(';').skip(1) {
        match part.split_once('=') {
            Some((name, value)) => params.push_raw(name, Some(value)),
            None => params.push_raw(part, None),
        }
    }
    params
}

/// Checks a URI without keeping anything of it.
pub(super) fn check_uri(text: &str) -> Result<(), UriError> {
    let colon = text.find(':').unwrap_or(0);
    let scheme = text.get(..colon).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
        let rest = text.get(colon + 1..).unwrap_or_default();
        return SipPieces::read(rest).map(drop).map_err(|fault| fault.at(colon + 1));
    }
    Uri::parse(text).map(drop)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

/// `#` is not allowed there, but dial strings (`*31#…`) come with it bare.
const fn is_user_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' | b'#')
}

const fn is_param_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

const fn is_param_text_byte(byte: u8) -> bool {
    is_param_byte(byte) || matches!(byte, b'=' | b',' | b'#')
}

const fn is_header_byte(byte: u8) -> bool {
    is_param_byte(byte) || matches!(byte, b'=' | b'?' | b'@' | b';' | b',' | b'#')
}

const fn is_opaque_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"')
}

/// Reads `host[:port]` at the start of `text`; says how many bytes it took.
fn host_port(text: &str) -> Result<(&str, Option<u16>, usize), UriError> {
    let host_len = if text.starts_with('[') {
        text.find(']').map(|at| at + 1).ok_or(SyntaxError::new(0, "IPv6 address is not closed"))?
    } else {
        text.find([':', ';', '?']).unwrap_or(text.len())
    };
    let (host, tail) = text.split_at_checked(host_len).unwrap_or((text, ""));
    check_host(host)?;
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
    // Underscores are not in the grammar but in the names of containers.
    match host
        .bytes()
        .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')))
    {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        Uri::parse(text).expect(text)
    }

    #[test]
    fn the_parts_of_a_sip_uri_are_read_and_print_as_they_came() {
        let text = "sips:alice:pw@[2001:db8::1]:5061;transport=TCP;lr;x=%41?Subject=a%20b&to=c";
        let it = uri(text);
        assert_eq!(it.to_string(), text);
        assert_eq!(
            (it.user(), it.host(), it.port()),
            (Some("alice"), Some("[2001:db8::1]"), Some(5061))
        );
        assert_eq!(it.host_ip(), "2001:db8::1".parse().ok());
        assert_eq!((it.transport(), it.is_loose_router()), (Some("TCP"), true));
        let sip = it.as_sip().expect("sip");
        assert_eq!((sip.secure, sip.password()), (true, Some("pw")));
        let headers: Vec<_> = sip.header_pairs().collect();
        assert_eq!(headers, [("Subject".into(), "a b".into()), ("to".into(), "c".into())]);
    }

    #[test]
    fn the_semicolon_may_stand_in_the_user_part() {
        let it = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(it.user_decoded().as_deref(), Some("user;par=u@example.net"));
        assert_eq!(it.host(), Some("example.com"));
    }

    #[test]
    fn errors_name_the_offset() {
        for (text, offset) in [
            ("nothing", 0),
            ("sip:", 4),
            ("sip:@host", 4),
            ("sip:a b@host", 5),
            ("sip:2001:db8::10", 9),
            ("sip:a@[2001:db8:::1]", 7),
            ("sip:a@[::1", 6),
            ("sip:host:70000", 9),
            ("sip:host:5060x", 13),
            ("sip:a@host;;lr", 11),
            ("sip:a%4@host", 5),
            ("tel:+1555x", 9),
            ("tel:", 4),
            ("urn:", 4),
            ("1x:y", 0),
        ] {
            assert_eq!(Uri::parse(text).expect_err(text).offset, offset, "{text}");
        }
    }

    /// The sets of RFC 3261 §19.1.4.
    #[test]
    fn the_examples_of_the_standard_compare_as_it_says() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
        ] {
            assert!(uri(a) == uri(b) && uri(b) == uri(a), "{a} {b}");
        }
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@b", "sips:a@b"),
            ("sip:b", "sip:a@b"),
        ] {
            assert!(uri(a) != uri(b) && uri(b) != uri(a), "{a} {b}");
        }
    }

    #[test]
    fn tel_uris_compare_without_visual_separators() {
        assert_eq!(uri("tel:+1-(555).0100"), uri("TEL:+15550100"));
        assert_eq!(
            uri("tel:863;phone-context=+1-914;ext=2"),
            uri("tel:8-63;EXT=2;phone-context=+1914")
        );
        assert_ne!(uri("tel:+15550100"), uri("tel:15550100"));
        assert_ne!(uri("tel:+15550100"), uri("tel:+15550100;ext=1"));
        assert_eq!(
            uri("tel:*31%23;phone-context=ims.example").as_tel().expect("tel").digits(),
            "*31#"
        );
    }

    #[test]
    fn parameters_are_set_escaped_and_removed() {
        let mut it = Uri::sip(Some("+15550100 x"), "ims.example:5080").expect("builds");
        it.set_param("user", "phone");
        it.set_param("lr", "");
        it.set_param("tok", "a;b");
        assert!(it.remove_param("USER"));
        assert_eq!(it.to_string(), "sip:+15550100%20x@ims.example:5080;lr;tok=a%3Bb");
    }

    #[test]
    fn another_scheme_stays_opaque() {
        let it = uri("urn:service:sos.police");
        assert_eq!(
            (it.scheme(), it.opaque(), it.host()),
            ("urn", Some("service:sos.police"), None)
        );
        assert_eq!(uri("soap.beep://192.0.2.103:3002").to_string(), "soap.beep://192.0.2.103:3002");
    }
}
