//! SIP, SIPS, tel and other URIs: reading, writing, equality (RFC 3261 §19.1, RFC 3966).
//! Other schemes are kept opaque; a URI prints the text it was read from, scheme in lower case.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::escape::{decode, encode};
use super::params::Params;
use super::scan::SyntaxError;
use super::sip_uri::{SipPieces, SipUri};
use super::tel::TelUri;
use super::uri_syntax::{check, is_opaque_byte, is_param_byte};

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
        let colon = colon_of(text).ok_or(SyntaxError::new(0, "URI without a scheme"))?;
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
    /// [`UriError`] when `host` is neither a name nor an address (an IPv6 address in brackets),
    /// with or without `:port`.
    pub fn sip(user: Option<&str>, host: &str) -> Result<Self, UriError> {
        let mut uri = SipUri::parse(host, false)?;
        if user.is_some() {
            uri.set_user(user);
        }
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

    /// Sets a URI parameter, escaping what needs it; an empty value makes a flag. Other schemes
    /// stay as they are.
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

impl Uri {
    /// The URI as text, as `Display` writes it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Sip(uri) => {
                let mut text = String::new();
                uri.write(&mut text);
                text
            }
            Self::Tel(_) | Self::Other(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(uri) => uri.fmt(f),
            Self::Tel(uri) => uri.fmt(f),
            Self::Other(uri) => {
                f.write_str(&uri.scheme)?;
                f.write_str(":")?;
                f.write_str(&uri.opaque)
            }
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

/// Whether a URI is a `sips` URI.
#[must_use]
pub fn is_sips(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("sips"))
}

/// The value of Warning in the answer to a request that is for a `sips` URI and cannot go on by TLS
/// (RFC 5630 §6.2); `host` is who answers.
#[must_use]
pub fn sips_not_allowed(host: &str) -> String {
    format!("380 {host} \"SIPS Not Allowed\"")
}

/// The colon behind the scheme.
fn colon_of(text: &str) -> Option<usize> {
    text.bytes().position(|byte| byte == b':')
}

/// Checks a URI without keeping anything of it.
pub(super) fn check_uri(text: &str) -> Result<(), UriError> {
    let colon = colon_of(text).unwrap_or(0);
    let scheme = text.get(..colon).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
        let rest = text.get(colon + 1..).unwrap_or_default();
        return SipPieces::read(rest).map(drop).map_err(|fault| fault.at(colon + 1));
    }
    Uri::parse(text).map(drop)
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
