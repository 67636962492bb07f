//! `;name=value` lists of headers and URIs: order, unknown names and quoting are kept
//! (RFC 3261 §7.3.1, §19.1.1).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

use super::parse::{find_near, is_token_byte};
use super::scan::{Scan, SyntaxError, is_lws, is_token, push_quoted, quote, strip_quotes, unquote};
use super::uri_syntax::is_value_byte;

/// The parameters one header value or URI may have; lookups are linear.
pub(super) const PARAMS_MAX: usize = 64;

/// One parameter; the value as it is on the wire, quotes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl<'a> Param<'a> {
    /// The name as it was written; compare it without regard to case.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// The value as on the wire, quotes included; `None` for a flag such as `lr`.
    #[must_use]
    pub const fn raw_value(&self) -> Option<&'a str> {
        self.value
    }

    /// Writes it as it stands in a header.
    pub(super) fn write(&self, out: &mut String) {
        out.push_str(self.name);
        let Some(value) = self.value else { return };
        out.push('=');
        push_one_line(out, value);
    }
}

/// Writes a value; folding inside a quoted one may not travel into a line of our own.
pub(super) fn push_one_line(out: &mut String, value: &str) {
    match memchr::memchr2(b'\r', b'\n', value.as_bytes()) {
        None => out.push_str(value),
        Some(_) => value.split(['\r', '\n']).for_each(|part| out.push_str(part)),
    }
}

/// Where a name or value stands in [`Params::text`].
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    len: u32,
}

#[derive(Clone, Copy)]
struct Place {
    name: Span,
    value: Option<Span>,
}

/// An ordered list of parameters. Names are found without regard to case.
#[derive(Clone, Default)]
pub struct Params {
    /// Has all names and values, those too that were replaced since: one piece of memory for them
    /// all.
    text: String,
    /// Most have few.
    list: SmallVec<[Place; 3]>,
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Params {}

fn span(place: Range<usize>) -> Span {
    let len = u32::try_from(place.len()).unwrap_or(0);
    Span { start: u32::try_from(place.start).unwrap_or(u32::MAX), len }
}

fn piece(text: &str, span: Span) -> &str {
    let start = span.start as usize;
    text.get(start..start + span.len as usize).unwrap_or_default()
}

fn view<'a>(text: &'a str, place: &Place) -> Param<'a> {
    Param { name: piece(text, place.name), value: place.value.map(|value| piece(text, value)) }
}

impl Params {
    /// No parameters.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: String::new(), list: SmallVec::new_const() }
    }

    /// Reads the parameters of a header: empty, or `;name[=value]` again and again, white space
    /// allowed around `;` and `=`.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] at the first byte that cannot stand there.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut params = Self::new();
        for param in HeaderParams::new(text) {
            let (name, value) = param?;
            if params.list.is_empty() {
                params.reserve(text.len());
            }
            params.push_raw(name, value);
        }
        Ok(params)
    }

    /// Reads parameters of which the first has no `;` before it, as in P-Charging-Vector.
    ///
    /// # Errors
    ///
    /// As [`Params::parse`].
    pub fn parse_leading(text: &str) -> Result<Self, SyntaxError> {
        let mut params = Self::new();
        params.reserve(text.len());
        for param in HeaderParams::leading(text) {
            let (name, value) = param?;
            params.push_raw(name, value);
        }
        Ok(params)
    }

    /// Writes them as they stand in a header: what `Display` writes, piece by piece into memory of
    /// the right size.
    pub(super) fn write(&self, out: &mut String) {
        out.reserve(self.iter().map(|it| 2 + it.name.len() + it.value.map_or(0, str::len)).sum());
        for param in self.iter() {
            out.push(';');
            param.write(out);
        }
    }

    /// The bytes they take when they are written, and those of what was replaced.
    pub(super) fn text_len(&self) -> usize {
        self.text.len() + 2 * self.list.len()
    }

    /// Makes room for names and values of so many bytes together.
    pub(super) fn reserve(&mut self, len: usize) {
        self.text.reserve(len);
    }

    /// Parameters whose names and values stand at these places of the text: from, to.
    pub(super) fn of_text(
        text: &str,
        places: impl Iterator<Item = (Range<usize>, Option<Range<usize>>)>,
    ) -> Self {
        let list = places.map(|(name, value)| Place { name: span(name), value: value.map(span) });
        Self { list: list.collect(), text: text.to_owned() }
    }

    pub(super) fn push_raw(&mut self, name: &str, value: Option<&str>) {
        let name = self.kept(name);
        let value = value.map(|value| self.kept(value));
        self.list.push(Place { name, value });
    }

    fn kept(&mut self, piece: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(piece);
        self.since(start)
    }

    /// What was written from this place on.
    fn since(&self, start: usize) -> Span {
        span(start..self.text.len())
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'_>> {
        self.list.iter().map(|place| view(&self.text, place))
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

    fn position(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|place| {
            place.name.len as usize == name.len()
                && piece(&self.text, place.name).eq_ignore_ascii_case(name)
        })
    }

    fn find(&self, name: &str) -> Option<Param<'_>> {
        self.list.get(self.position(name)?).map(|place| view(&self.text, place))
    }

    /// Whether a parameter with this name is there, with or without value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// The value without surrounding quotes (escapes inside stay, see [`Params::unquoted`]); the
    /// empty text for a flag; `None` if the parameter is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|param| strip_quotes(param.value.unwrap_or_default()))
    }

    /// The value as on the wire, quotes included; `None` if absent or a flag.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.find(name)?.raw_value()
    }

    /// The value with quotes and escapes undone.
    #[must_use]
    pub fn unquoted(&self, name: &str) -> Option<Cow<'_, str>> {
        self.find(name).map(|param| unquote(param.value.unwrap_or_default()))
    }

    /// Every value of a parameter that may be repeated, without quotes.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter()
            .filter(move |param| param.name.eq_ignore_ascii_case(name))
            .map(|param| strip_quotes(param.value.unwrap_or_default()))
    }

    /// Appends a parameter even if the name is there already; quoted if it must be.
    pub fn push(&mut self, name: &str, value: &str) {
        self.push_raw(name, Some(&quoted_if_needed(value)));
    }

    fn put(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(|value| self.kept(value));
        self.put_span(name, value);
    }

    fn put_span(&mut self, name: &str, value: Option<Span>) {
        match self.position(name).and_then(|at| self.list.get_mut(at)) {
            Some(place) => place.value = value,
            None => {
                let name = self.kept(name);
                self.list.push(Place { name, value });
            }
        }
    }

    /// Gives the parameter this value, in its place if it is there, else at the end; quoted if the
    /// value could not stand there bare.
    pub fn set(&mut self, name: &str, value: &str) {
        self.put(name, Some(&quoted_if_needed(value)));
    }

    /// Gives the parameter this value as it is, for values that must not be quoted or are already
    /// in the form of the wire; control characters and line ends become `_`.
    pub fn set_raw(&mut self, name: &str, value: &str) {
        if value.bytes().any(|byte| byte.is_ascii_control()) {
            self.put(name, Some(&value.replace(|char: char| char.is_ascii_control(), "_")));
        } else {
            self.put(name, Some(value));
        }
    }

    /// Gives the parameter this value in quotes.
    pub fn set_quoted(&mut self, name: &str, value: &str) {
        let start = self.text.len();
        push_quoted(&mut self.text, value);
        self.put_span(name, Some(self.since(start)));
    }

    /// Sets a parameter without value, such as `lr` or `rport`.
    pub fn set_flag(&mut self, name: &str) {
        self.put(name, None);
    }

    /// Removes every parameter with this name; says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.list.len();
        self.retain(|param| !param.name.eq_ignore_ascii_case(name));
        before != self.list.len()
    }

    /// Keeps the parameters for which `keep` says so.
    pub fn retain(&mut self, keep: impl Fn(&Param<'_>) -> bool) {
        let text = &self.text;
        self.list.retain(|place| keep(&view(text, place)));
    }

    /// Builder form of [`Params::set`].
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

fn quoted_if_needed(value: &str) -> Cow<'_, str> {
    let bare = !value.is_empty() && value.bytes().all(is_value_byte);
    if bare { value.into() } else { quote(value).into() }
}

/// The parameters of a header one by one, borrowed; `;` must come first. Stops behind an error.
pub(super) struct HeaderParams<'a> {
    scan: Scan<'a>,
    count: usize,
    failed: bool,
    leading: bool,
}

impl<'a> HeaderParams<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { scan: Scan::new(text), count: 0, failed: false, leading: false }
    }

    /// As [`Self::new`], and the first has no `;` before it.
    pub(super) const fn leading(text: &'a str) -> Self {
        Self { leading: true, ..Self::new(text) }
    }

    fn one(&mut self) -> Result<(&'a str, Option<&'a str>), SyntaxError> {
        if !std::mem::take(&mut self.leading) && !self.scan.eat(b';') {
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

/// The value of a parameter that stands first, without quotes and white space, as tags and branches
/// nearly always do. `None` tells nothing.
pub(crate) fn first_param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    let (its, value) = params.strip_prefix(';')?.split_at_checked(name.len())?;
    let value = value.strip_prefix('=')?;
    let value = value.get(..find_near(value.as_bytes(), b';').unwrap_or(value.len()))?;
    let is_it =
        its.eq_ignore_ascii_case(name) && !value.is_empty() && value.bytes().all(is_value_byte);
    is_it.then_some(value)
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
    fn the_first_parameter_is_what_all_of_them_say() {
        for (params, usual) in [
            (";tag=a1", true),
            (";TAG=a1;x=\"q\"", true),
            (";tag=[::1]:5;y", true),
            ("", false),
            (";tag", false),
            (";tag=", false),
            (";tag=\"a;b\"", false),
            (";tag = a1", false),
            (";tag=a1 ;x", false),
            (";x;tag=a1", false),
            (";tags=a1", false),
            (";tag=\u{e9}", false),
        ] {
            let first = first_param(params, "tag");
            assert_eq!(first.is_some(), usual, "{params}");
            if let Some(value) = first {
                let all = Params::parse(params).expect(params);
                assert_eq!(all.get("tag"), Some(value), "{params}");
            }
        }
    }

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
