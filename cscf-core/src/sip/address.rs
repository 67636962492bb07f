//! `name-addr` and `addr-spec`: From, To, Contact, Route, Record-Route, Path, Service-Route,
//! P-Asserted-Identity and all other headers that hold an address (RFC 3261 §20.10, §25.1).

use std::fmt;
use std::str::FromStr;

use super::params::{HeaderParams, Params, first_param};
use super::scan::{Scan, SyntaxError, is_lws, is_token, quote, unquote};
use super::uri::{Uri, check_uri};

/// An address: display name, URI and header parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct NameAddr {
    /// The display name without quotes and escapes.
    pub display_name: Option<String>,
    /// The URI.
    pub uri: Uri,
    /// The parameters behind the URI, such as `tag` or `expires`.
    pub params: Params,
}

/// The three pieces of an address, not yet read.
pub(super) struct Parts<'a> {
    /// The display name as written, quotes included; empty if none.
    pub(super) display: &'a str,
    /// The URI and its offset.
    pub(super) uri: &'a str,
    pub(super) uri_at: usize,
    /// From the first `;` behind the URI, and its offset.
    pub(super) params: &'a str,
    pub(super) params_at: usize,
    /// Whether the URI stands in angle brackets.
    pub(super) bracketed: bool,
}

impl<'a> Parts<'a> {
    pub(super) fn split(text: &'a str) -> Result<Self, SyntaxError> {
        // As most addresses are: no name before the bracket.
        if let Some(rest) = text.strip_prefix('<')
            && let Some(end) = memchr::memchr(b'>', rest.as_bytes())
        {
            let uri = rest.get(..end).unwrap_or_default();
            let behind = rest.get(end + 1..).unwrap_or_default();
            let params = behind.trim_start_matches(|char| u8::try_from(char).is_ok_and(is_lws));
            let params_at = text.len() - params.len();
            return Ok(Self { display: "", uri, uri_at: 1, params, params_at, bracketed: true });
        }
        let mut scan = Scan::new(text);
        scan.skip_lws();
        let display_at = scan.at();
        let display = if scan.peek() == Some(b'"') {
            let quoted = scan.quoted()?;
            scan.skip_lws();
            quoted
        } else {
            // Tokens, and what clients write outside ASCII although the grammar wants quotes then.
            let end = memchr::memchr(b'<', scan.rest().as_bytes());
            match end {
                None => return Self::bare(text, scan),
                Some(end) => {
                    let words = scan.rest().get(..end).unwrap_or_default();
                    check_words(words).map_err(|fault| fault.at(display_at))?;
                    scan.take_until(b'<');
                    words.trim_ascii_end()
                }
            }
        };
        if !scan.eat(b'<') {
            return Err(scan.error("< is missing before the URI"));
        }
        let uri_at = scan.at();
        let uri = scan.take_until(b'>');
        if !scan.eat(b'>') {
            return Err(scan.error("> is missing behind the URI"));
        }
        scan.skip_lws();
        let (params, params_at) = (scan.rest(), scan.at());
        Ok(Self { display, uri, uri_at, params, params_at, bracketed: true })
    }

    /// A URI without brackets: what follows the first `;` belongs to the header, and `?` and `,`
    /// may not stand in it (RFC 3261 §20).
    fn bare(text: &'a str, mut scan: Scan<'a>) -> Result<Self, SyntaxError> {
        let uri_at = scan.at();
        let uri = scan.take_while(|byte| !is_lws(byte) && byte != b';');
        if let Some(at) = uri.find([',', '?']) {
            return Err(SyntaxError::new(uri_at + at, "URI with , or ? must stand in < and >"));
        }
        scan.skip_lws();
        let params = text.get(scan.at()..).unwrap_or_default();
        Ok(Self { display: "", uri, uri_at, params, params_at: scan.at(), bracketed: false })
    }
}

fn check_words(words: &str) -> Result<(), SyntaxError> {
    if words.is_empty() {
        return Ok(());
    }
    let mut at = 0;
    for word in words.split(|char: char| u8::try_from(char).is_ok_and(is_lws)) {
        if !word.is_empty() && !word.is_ascii() {
            if let Some(bad) = word.find(['"', ',', ';', ':']) {
                return Err(SyntaxError::new(at + bad, "display name must be quoted"));
            }
        } else if !word.is_empty() && !is_token(word) {
            return Err(SyntaxError::new(at, "display name must be quoted"));
        }
        at += word.len() + 1;
    }
    Ok(())
}

impl NameAddr {
    /// An address without display name and parameters.
    #[must_use]
    pub const fn new(uri: Uri) -> Self {
        Self { display_name: None, uri, params: Params::new() }
    }

    /// Reads an address in either form; parameters behind a URI without brackets are header
    /// parameters.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Self::of(&Parts::split(text)?)
    }

    fn of(parts: &Parts<'_>) -> Result<Self, SyntaxError> {
        let uri = Uri::parse(parts.uri).map_err(|fault| fault.at(parts.uri_at))?;
        let params = Params::parse(parts.params).map_err(|fault| fault.at(parts.params_at))?;
        let display_name = (!parts.display.is_empty()).then(|| {
            if parts.display.starts_with('"') {
                unquote(parts.display).into_owned()
            } else {
                let words = parts.display.split_ascii_whitespace();
                words.collect::<Vec<_>>().join(" ")
            }
        });
        Ok(Self { display_name, uri, params })
    }

    /// Reads an address that must stand in angle brackets: Route, Record-Route, Path, Service-Route
    /// (RFC 3261 §20.30).
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse_bracketed(text: &str) -> Result<Self, SyntaxError> {
        let parts = Parts::split(text)?;
        if !parts.bracketed {
            return Err(SyntaxError::new(parts.uri_at, "URI must stand in < and >"));
        }
        Self::of(&parts)
    }

    /// The `tag` parameter.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }

    /// Sets the `tag` parameter.
    pub fn set_tag(&mut self, tag: &str) {
        self.params.set("tag", tag);
    }

    /// A header parameter without its quotes; the empty text for a flag.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// The `q` parameter of a Contact in thousandths; 1000 if absent or malformed
    /// (RFC 3261 §20.10).
    #[must_use]
    pub fn q_thousandths(&self) -> u16 {
        self.param("q").and_then(q_value).unwrap_or(1000)
    }

    /// The `expires` parameter of a Contact in seconds; a malformed one counts as 3600
    /// (RFC 3261 §20.10).
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.param("expires").map(|text| super::scan::delta_seconds(text).unwrap_or(3600))
    }
}

/// `0`, `1`, `0.xxx` or `1.000` in thousandths.
#[must_use]
pub fn q_value(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    match (whole, part) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

impl From<Uri> for NameAddr {
    fn from(uri: Uri) -> Self {
        Self::new(uri)
    }
}

impl FromStr for NameAddr {
    type Err = SyntaxError;
    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::parse(text)
    }
}

impl NameAddr {
    /// The address as text, as `Display` writes it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = match &self.display_name {
            Some(name) if is_token(name) => [name, " <"].concat(),
            Some(name) => [&quote(name), " <"].concat(),
            None => "<".to_owned(),
        };
        text.push_str(&self.uri.text());
        text.push('>');
        self.params.write(&mut text);
        text
    }

    /// The URI of an address; its parameters are not read.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse_uri(text: &str) -> Result<Uri, SyntaxError> {
        let parts = Parts::split(text)?;
        Uri::parse(parts.uri).map_err(|fault| fault.at(parts.uri_at))
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The contacts of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Contacts {
    /// `*`: all bindings (RFC 3261 §10.2.2).
    Star,
    /// The addresses in order; empty if there is no Contact.
    List(Vec<NameAddr>),
}

impl Contacts {
    /// The addresses; none for `*`.
    #[must_use]
    pub fn list(&self) -> &[NameAddr] {
        match self {
            Self::Star => &[],
            Self::List(list) => list,
        }
    }

    /// The first address.
    #[must_use]
    pub fn first(&self) -> Option<&NameAddr> {
        self.list().first()
    }

    /// Whether it is `*`.
    #[must_use]
    pub const fn is_star(&self) -> bool {
        matches!(self, Self::Star)
    }
}

/// [`NameAddr::expires`] of a Contact value, read without the URI.
#[must_use]
pub fn contact_expires(value: &str) -> Option<u32> {
    address_param(value, "expires").map(|text| super::scan::delta_seconds(text).unwrap_or(3600))
}

/// A header parameter of an address, borrowed, without reading the URI; `None` if absent or the
/// value is malformed before it.
pub(super) fn address_param<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    if let Some(usual) = usual_param(text, name) {
        return usual;
    }
    let parts = Parts::split(text).ok()?;
    HeaderParams::new(parts.params)
        .map_while(Result::ok)
        .find(|(its, _)| its.eq_ignore_ascii_case(name))
        .map(|(_, value)| super::scan::strip_quotes(value.unwrap_or_default()))
}

/// The same where it is seen at once: a URI in angle brackets first, and behind it nothing, or the
/// parameter that is wanted as nearly all write it.
fn usual_param<'a>(text: &'a str, name: &str) -> Option<Option<&'a str>> {
    let inside = text.strip_prefix('<')?;
    let behind = inside.get(memchr::memchr(b'>', inside.as_bytes())? + 1..)?;
    if behind.is_empty() {
        return Some(None);
    }
    first_param(behind, name).map(Some)
}

/// Checks an address without keeping anything of it, showing each parameter to `see`:
/// its name and value.
pub(super) fn check<'a>(
    text: &'a str,
    must_be_bracketed: bool,
    mut see: impl FnMut(&'a str, Option<&'a str>) -> Result<(), &'static str>,
) -> Result<(), SyntaxError> {
    let parts = Parts::split(text)?;
    if must_be_bracketed && !parts.bracketed {
        return Err(SyntaxError::new(parts.uri_at, "URI must stand in < and >"));
    }
    check_uri(parts.uri).map_err(|fault| fault.at(parts.uri_at))?;
    for param in HeaderParams::new(parts.params) {
        let (name, value) = param.map_err(|fault| fault.at(parts.params_at))?;
        see(name, value).map_err(|reason| SyntaxError::new(parts.params_at, reason))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_an_address_is_read() {
        for (text, name, uri, params) in [
            ("sip:a@b;tag=1", None, "sip:a@b", ";tag=1"),
            ("<sip:a@b;user=phone>;tag=1", None, "sip:a@b;user=phone", ";tag=1"),
            (r#""A \"B\"" <sip:a@b>"#, Some(r#"A "B""#), "sip:a@b", ""),
            ("A  Bee<tel:+1555>", Some("A Bee"), "tel:+1555", ""),
            ("Ünal <sip:a@b> ; tag = x", Some("Ünal"), "sip:a@b", ";tag=x"),
            ("\r\n sip:a@b ;\r\n tag    = 1", None, "sip:a@b", ";tag=1"),
        ] {
            let it = NameAddr::parse(text).expect(text);
            assert_eq!(it.display_name.as_deref(), name, "{text}");
            assert_eq!(
                (it.uri.to_string().as_str(), it.params.to_string().as_str()),
                (uri, params)
            );
        }
    }

    #[test]
    fn malformed_addresses_are_refused_at_their_place() {
        for (text, offset) in [
            (r#""open <sip:a@b>"#, 0),
            ("Bell, Al <sip:a@b>", 0),
            ("sip:a@b?x=y", 7),
            ("<sip:a@b", 8),
            (r#""A" sip:a@b"#, 4),
            ("<sip:a@b>x", 9),
            ("< sip:a@b>", 1),
            ("<sip:a@b>;;", 10),
        ] {
            assert_eq!(NameAddr::parse(text).expect_err(text).offset, offset, "{text}");
        }
    }

    #[test]
    fn an_address_prints_in_brackets_and_quotes_where_needed() {
        let mut it = NameAddr::parse("sip:a@b").expect("parses");
        it.display_name = Some("A B".to_owned());
        it.set_tag("t1");
        it.params.set("+sip.instance", "<urn:x>");
        let text = r#""A B" <sip:a@b>;tag=t1;+sip.instance="<urn:x>""#;
        assert_eq!(it.to_string(), text);
        assert_eq!(address_param(text, "TAG"), Some("t1"));
    }

    #[test]
    fn a_route_must_stand_in_brackets() {
        assert!(NameAddr::parse_bracketed("<sip:p;lr>").is_ok());
        assert!(NameAddr::parse_bracketed("sip:p;lr").is_err());
    }

    #[test]
    fn q_counts_in_thousandths() {
        for (text, q) in [("1", Some(1000)), ("0.33", Some(330)), ("1.1", None), ("x", None)] {
            assert_eq!(q_value(text), q);
        }
    }
}
