//! `;name=value` lists of headers and URIs: order, unknown names and quoting are kept
//! (RFC 3261 §7.3.1, §19.1.1).

use std::borrow::Cow;
use std::fmt;

use super::parse::is_token_byte;
use super::scan::{Scan, SyntaxError, is_lws, is_token, quote, strip_quotes, unquote};
use super::uri_syntax::is_value_byte;

/// The parameters one header value or URI may have; lookups are linear.
pub(super) const PARAMS_MAX: usize = 64;

/// One parameter; the value as it is on the wire, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    name: String,
    value: Option<String>,
}

impl Param {
    /// The name as it was written; compare it without regard to case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value as on the wire, quotes included; `None` for a flag such as `lr`.
    #[must_use]
    pub fn raw_value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

/// An ordered list of parameters. Names are found without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    list: Vec<Param>,
}

impl Params {
    /// No parameters.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Reads the parameters of a header: empty, or `;name[=value]` again and again, white space
    /// allowed around `;` and `=`.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] at the first byte that cannot stand there.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut list = Vec::new();
        for param in HeaderParams::new(text) {
            let (name, value) = param?;
            list.push(Param { name: name.to_owned(), value: value.map(str::to_owned) });
        }
        Ok(Self { list })
    }

    pub(super) fn push_raw(&mut self, name: &str, value: Option<&str>) {
        self.list.push(Param { name: name.to_owned(), value: value.map(str::to_owned) });
    }

    /// The parameters in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Param> {
        self.list.iter()
    }

    /// The number of parameters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn find(&self, name: &str) -> Option<&Param> {
        self.list.iter().find(|param| param.name.eq_ignore_ascii_case(name))
    }

    /// Whether a parameter with this name is there, with or without value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The value without surrounding quotes (escapes inside stay, see [`Params::unquoted`]); the
    /// empty text for a flag; `None` if the parameter is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|param| strip_quotes(param.value.as_deref().unwrap_or_default()))
    }

    /// The value as on the wire, quotes included; `None` if absent or a flag.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.find(name)?.raw_value()
    }

    /// The value with quotes and escapes undone.
    #[must_use]
    pub fn unquoted(&self, name: &str) -> Option<Cow<'_, str>> {
        self.find(name).map(|param| unquote(param.value.as_deref().unwrap_or_default()))
    }

    /// Every value of a parameter that may be repeated, without quotes.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list
            .iter()
            .filter(move |param| param.name.eq_ignore_ascii_case(name))
            .map(|param| strip_quotes(param.value.as_deref().unwrap_or_default()))
    }

    /// Appends a parameter even if the name is there already; quoted if it must be.
    pub fn push(&mut self, name: &str, value: &str) {
        let value = quoted_if_needed(value);
        self.list.push(Param { name: name.to_owned(), value: Some(value) });
    }

    fn put(&mut self, name: &str, value: Option<String>) {
        match self.list.iter_mut().find(|param| param.name.eq_ignore_ascii_case(name)) {
            Some(param) => param.value = value,
            None => self.list.push(Param { name: name.to_owned(), value }),
        }
    }

    /// Gives the parameter this value, in its place if it is there, else at the end; quoted if the
    /// value could not stand there bare.
    pub fn set(&mut self, name: &str, value: &str) {
        self.put(name, Some(quoted_if_needed(value)));
    }

    /// Gives the parameter this value as it is, for values that must not be quoted or are already
    /// in the form of the wire; control characters and line ends become `_`.
    pub fn set_raw(&mut self, name: &str, value: &str) {
        self.put(name, Some(value.replace(|char: char| char.is_ascii_control(), "_")));
    }

    /// Gives the parameter this value in quotes.
    pub fn set_quoted(&mut self, name: &str, value: &str) {
        self.put(name, Some(quote(value)));
    }

    /// Sets a parameter without value, such as `lr` or `rport`.
    pub fn set_flag(&mut self, name: &str) {
        self.put(name, None);
    }

    /// Removes every parameter with this name; says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.list.len();
        self.list.retain(|param| !param.name.eq_ignore_ascii_case(name));
        before != self.list.len()
    }

    /// Keeps the parameters for which `keep` says so.
    pub fn retain(&mut self, keep: impl Fn(&Param) -> bool) {
        self.list.retain(keep);
    }

    /// Builder form of [`Params::set`].
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }
}

impl<'a> IntoIterator for &'a Params {
    type Item = &'a Param;
    type IntoIter = std::slice::Iter<'a, Param>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for param in &self.list {
            write!(f, ";{}", param.name)?;
            if let Some(value) = &param.value {
                // Folding inside a quoted value may not travel into a line of our own.
                f.write_str("=")?;
                for part in value.split(['\r', '\n']) {
                    f.write_str(part)?;
                }
            }
        }
        Ok(())
    }
}

fn quoted_if_needed(value: &str) -> String {
    let bare = !value.is_empty() && value.bytes().all(is_value_byte);
    if bare { value.to_owned() } else { quote(value) }
}

/// The parameters of a header one by one, borrowed; `;` must come first. Stops behind an error.
pub(super) struct HeaderParams<'a> {
    scan: Scan<'a>,
    count: usize,
    failed: bool,
}

impl<'a> HeaderParams<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { scan: Scan::new(text), count: 0, failed: false }
    }

    fn one(&mut self) -> Result<(&'a str, Option<&'a str>), SyntaxError> {
        if !self.scan.eat(b';') {
            return Err(self.scan.error("unexpected text where a parameter or the end should be"));
        }
        self.count += 1;
        if self.count > PARAMS_MAX {
            return Err(self.scan.error("more than 64 parameters"));
        }
        self.scan.skip_lws();
        let name = self.scan.token("parameter without a name")?;
        if !self.scan.eat_separator(b'=') {
            return Ok((name, None));
        }
        let value = if self.scan.peek() == Some(b'"') {
            self.scan.quoted()?
        } else {
            self.scan.take_while(is_value_byte)
        };
        if value.is_empty() {
            return Err(self.scan.error("parameter value is missing"));
        }
        Ok((name, Some(value)))
    }
}

impl<'a> Iterator for HeaderParams<'a> {
    type Item = Result<(&'a str, Option<&'a str>), SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.scan.skip_lws();
        if self.failed || self.scan.is_end() {
            return None;
        }
        let item = self.one();
        self.failed = item.is_err();
        Some(item)
    }
}

/// Checks `name=value` pairs separated by commas, as in the credentials of RFC 3261 §25.1: each has
/// a name, `=` and a value, and none is empty.
pub(super) fn check_pairs(text: &str) -> Result<(), SyntaxError> {
    let mut scan = Scan::new(text);
    loop {
        scan.skip_lws();
        let name = scan.take_while(is_token_byte);
        if name.is_empty() {
            return Err(scan.error("name of a pair is missing"));
        }
        if !scan.eat_separator(b'=') {
            return Err(scan.error("pair without ="));
        }
        let value = if scan.peek() == Some(b'"') {
            scan.quoted()?
        } else {
            scan.take_while(|byte| byte != b',' && byte != b'"' && !is_lws(byte))
        };
        if value.is_empty() {
            return Err(scan.error("value of a pair is missing"));
        }
        scan.skip_lws();
        if scan.is_end() {
            return Ok(());
        }
        if !scan.eat(b',') {
            return Err(scan.error("unexpected text between two pairs"));
        }
    }
}

/// Whether the text can stand where the grammar wants a token.
#[must_use]
pub fn is_valid_token(text: &str) -> bool {
    is_token(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_case_quotes_and_flags_survive() {
        let text = r#" ; Tag = a ;LR;x="1;2\"";y=[2001:db8::1]"#;
        let params = Params::parse(text).expect("parses");
        assert_eq!(params.to_string(), r#";Tag=a;LR;x="1;2\"";y=[2001:db8::1]"#);
        assert_eq!(params.get("tag"), Some("a"));
        assert_eq!(params.get("lr"), Some(""));
        assert_eq!(params.unquoted("X").as_deref(), Some(r#"1;2""#));
    }

    #[test]
    fn an_empty_parameter_is_refused_at_its_place() {
        assert_eq!(Params::parse(";a;;b").expect_err("empty").offset, 3);
        assert_eq!(Params::parse(";a=").expect_err("no value").offset, 3);
        assert_eq!(Params::parse(";a b").expect_err("rest").offset, 3);
    }

    #[test]
    fn set_keeps_the_place_and_quotes_what_needs_it() {
        let mut params = Params::parse(";a=1;b;c=3").expect("parses");
        params.set("B", "x y");
        params.set_flag("lr");
        assert!(params.remove("A"));
        assert_eq!(params.to_string(), r#";b="x y";c=3;lr"#);
    }

    #[test]
    fn credentials_are_pairs() {
        assert_eq!(check_pairs(r#"username="a, b", nc = 1 ,uri="sip:x""#), Ok(()));
        assert_eq!(check_pairs(r#"a="1" b"#).expect_err("rest").offset, 6);
        assert!(check_pairs("a=1,,b=2").is_err());
        assert!(check_pairs("a").is_err());
    }
}
