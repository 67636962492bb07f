//! The ordered list of header fields: each a span of the received bytes or an edit of our own.
//! Fields nobody changed are written as they were received.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::name::HeaderName;

/// One header field line (with its folded continuation lines).
#[derive(Clone, Debug)]
pub struct Field {
    name: HeaderName,
    /// The line with its final CRLF.
    line: Bytes,
    colon: u32,
    value: Range<u32>,
    /// Where the line began in the message it was read from; [`NOT_RECEIVED`] for our own lines.
    offset: u32,
}

/// The offset of a line of our own.
const NOT_RECEIVED: u32 = u32::MAX;

impl Field {
    /// A line as received: `line` with its CRLF, `colon` the offset of the colon in it, `offset`
    /// the one of the line in the message.
    pub(super) fn from_wire(line: Bytes, colon: usize, offset: usize) -> Self {
        let name_end = line.get(..colon).map_or(0, |text| text.trim_ascii_end().len());
        let name = HeaderName::from_bytes(line.get(..name_end).unwrap_or_default());
        let rest = line.get(colon + 1..).unwrap_or_default();
        let start = colon + 1 + (rest.len() - rest.trim_ascii_start().len());
        let end = start + rest.trim_ascii().len();
        let clip = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        let value = clip(start)..clip(end);
        Self { name, colon: clip(colon), value, line, offset: clip(offset) }
    }

    /// A line of our own; CR and LF in the value become spaces, so that no value can add a header.
    fn built(name: &str, value: &str) -> Self {
        let clean: Cow<'_, str> = if value.contains(['\r', '\n']) {
            value.replace(['\r', '\n'], " ").into()
        } else {
            value.into()
        };
        let line = Bytes::from(format!("{name}: {clean}\r\n"));
        Self::from_wire(line, name.len(), NOT_RECEIVED as usize)
    }

    /// Which header it is.
    #[must_use]
    pub const fn name(&self) -> HeaderName {
        self.name
    }

    /// The name as it stands in the line (compact, any case).
    #[must_use]
    pub fn name_text(&self) -> &str {
        let text = self.line.get(..self.colon as usize).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default().trim_end()
    }

    /// The value without surrounding white space; folding still inside; empty if it is not UTF-8.
    #[must_use]
    pub fn value(&self) -> &str {
        std::str::from_utf8(self.raw_value()).unwrap_or_default()
    }

    /// The offset of the value in the message it was received in; `None` for a line of our own.
    #[must_use]
    pub fn value_offset(&self) -> Option<usize> {
        (self.offset != NOT_RECEIVED).then_some((self.offset + self.value.start) as usize)
    }

    /// The values of the line with their offsets in [`Field::value`], empty ones included.
    pub(super) fn elements(&self) -> impl Iterator<Item = (usize, &str)> {
        let list = self.name.is_list();
        let value = self.value();
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let start = next?;
            let text = value.get(start..)?;
            let len = if list { first_comma(text) } else { None };
            next = len.map(|len| start + len + 1);
            let text = len.map_or(Some(text), |len| text.get(..len))?;
            let trimmed = text.trim_start();
            Some((start + text.len() - trimmed.len(), trimmed.trim_end()))
        })
    }

    /// The value's bytes without surrounding white space.
    #[must_use]
    pub fn raw_value(&self) -> &[u8] {
        self.line.get(self.value.start as usize..self.value.end as usize).unwrap_or_default()
    }

    /// The value with folded lines joined by one space (RFC 3261 §7.3.1).
    #[must_use]
    pub fn unfolded(&self) -> Cow<'_, str> {
        let value = String::from_utf8_lossy(self.raw_value());
        if !value.contains(['\r', '\n']) {
            return value;
        }
        value.lines().map(str::trim).collect::<Vec<_>>().join(" ").into()
    }

    /// The line with its CRLF, as it is written.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The values of the line: split at commas if the header is a list, else the whole.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        split_values(self.value(), self.name.is_list())
    }
}

/// Splits a header value at the commas outside quotes and angle brackets (if `list`), trimmed;
/// empty elements are left out.
pub fn split_values(value: &str, list: bool) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let at = if list { first_comma(text) } else { None };
            let (head, tail) = match at {
                Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
                None => (text, None),
            };
            rest = tail;
            let head = head.trim();
            if !head.is_empty() {
                return Some(head);
            }
        }
    })
}

fn first_comma(text: &str) -> Option<usize> {
    // Most values have none.
    memchr::memchr(b',', text.as_bytes())?;
    let (mut quoted, mut escaped, mut angled) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' if !angled => quoted = !quoted,
            b'<' if !quoted => angled = true,
            b'>' if !quoted => angled = false,
            b',' if !quoted && !angled => return Some(at),
            _ => {}
        }
    }
    None
}

/// The header fields of a message, in order.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    fields: Vec<Field>,
}

impl Headers {
    /// No fields yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { fields: Vec::new() }
    }

    pub(super) fn with_capacity(lines: usize) -> Self {
        Self { fields: Vec::with_capacity(lines) }
    }

    pub(super) fn push_wire(&mut self, field: Field) {
        self.fields.push(field);
    }

    /// All fields in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.fields.iter()
    }

    /// The number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All lines with this name.
    pub fn fields(&self, name: HeaderName) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |field| field.name == name)
    }

    /// All lines with this name, known or not, without regard to case.
    pub fn fields_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> {
        let known = HeaderName::from_bytes(name.as_bytes());
        self.fields.iter().filter(move |field| {
            field.name == known
                && (known != HeaderName::Unknown || field.name_text().eq_ignore_ascii_case(name))
        })
    }

    /// The whole value of the first line with this name.
    #[must_use]
    pub fn get(&self, name: HeaderName) -> Option<&str> {
        self.fields(name).next().map(Field::value)
    }

    /// Whether a line with this name is there.
    #[must_use]
    pub fn contains(&self, name: HeaderName) -> bool {
        self.fields(name).next().is_some()
    }

    /// All values with this name over all lines, comma lists split.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.fields(name).flat_map(Field::values)
    }

    /// The topmost value with this name, e.g. the top Via.
    #[must_use]
    pub fn first_value(&self, name: HeaderName) -> Option<&str> {
        self.values(name).next()
    }

    /// Whether a comma list (Require, Supported, Allow …) holds this token, without regard to case.
    #[must_use]
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(token))
    }

    /// Puts a line before the first one of its name, else before all others.
    pub fn push_front(&mut self, name: HeaderName, value: &str) {
        let at = self.position(name).unwrap_or(0);
        self.fields.insert(at, Field::built(name.as_str(), value));
    }

    /// Puts a line behind the last one of its name, else at the end.
    pub fn push(&mut self, name: HeaderName, value: &str) {
        let at = self.fields.iter().rposition(|field| field.name == name);
        let at = at.map_or(self.fields.len(), |at| at + 1);
        self.fields.insert(at, Field::built(name.as_str(), value));
    }

    /// Appends a line under any name (for headers this list does not know).
    pub fn push_named(&mut self, name: &str, value: &str) {
        self.fields.push(Field::built(name, value));
    }

    /// Gives the header this one value: replaces the first line, removes the others, or appends.
    /// A first line that has this value already is left as it is.
    pub fn set(&mut self, name: HeaderName, value: &str) {
        match self.position(name) {
            None => self.push(name, value),
            Some(at) => {
                let mut seen = false;
                self.fields
                    .retain(|field| field.name != name || !std::mem::replace(&mut seen, true));
                if let Some(field) = self.fields.get_mut(at)
                    && field.value() != value
                {
                    *field = Field::built(name.as_str(), value);
                }
            }
        }
    }

    /// Removes all lines with this name; says how many there were.
    pub fn remove(&mut self, name: HeaderName) -> usize {
        let before = self.fields.len();
        self.fields.retain(|field| field.name != name);
        before - self.fields.len()
    }

    /// Removes all lines with this name, known or not.
    pub fn remove_named(&mut self, name: &str) -> usize {
        let known = HeaderName::from_bytes(name.as_bytes());
        if known != HeaderName::Unknown {
            return self.remove(known);
        }
        let before = self.fields.len();
        self.fields.retain(|field| !field.name_text().eq_ignore_ascii_case(name));
        before - self.fields.len()
    }

    /// Takes the topmost value away (own Via of a response, own Route of a request).
    pub fn pop_front_value(&mut self, name: HeaderName) -> Option<String> {
        let at = self.position(name)?;
        let field = self.fields.get_mut(at)?;
        let mut values = field.values();
        let first = values.next().map(str::to_owned);
        let rest: Vec<&str> = values.collect();
        if rest.is_empty() {
            self.fields.remove(at);
        } else {
            *field = Field::built(name.as_str(), &rest.join(", "));
        }
        // A line without any value is malformed but must not hide the next one.
        if first.is_none() { self.pop_front_value(name) } else { first }
    }

    /// Replaces the topmost value (e.g. `received` into the top Via), keeping the others.
    pub fn replace_front_value(&mut self, name: HeaderName, value: &str) {
        let Some(field) = self.position(name).and_then(|at| self.fields.get_mut(at)) else {
            return self.push(name, value);
        };
        let rest: Vec<&str> = field.values().skip(1).collect();
        let mut text = value.to_owned();
        for other in rest {
            text.push_str(", ");
            text.push_str(other);
        }
        *field = Field::built(name.as_str(), &text);
    }

    /// Keeps only the values for which `keep` says so; lines of which nothing is taken stay as they
    /// are. Says how many values went.
    pub fn retain_values(&mut self, name: HeaderName, keep: impl Fn(&str) -> bool) -> usize {
        let mut removed = 0;
        self.fields.retain_mut(|field| {
            if field.name != name {
                return true;
            }
            let kept: Vec<&str> = field.values().filter(|value| keep(value)).collect();
            let gone = field.values().count() - kept.len();
            removed += gone;
            if gone > 0 && !kept.is_empty() {
                *field = Field::built(name.as_str(), &kept.join(", "));
                return true;
            }
            gone == 0
        });
        removed
    }

    /// Rewrites every value for which `edit` returns a new one; other lines stay as they are.
    pub fn map_values(&mut self, name: HeaderName, edit: impl Fn(&str) -> Option<String>) {
        for field in self.fields.iter_mut().filter(|field| field.name == name) {
            if !field.values().any(|value| edit(value).is_some()) {
                continue;
            }
            let values: Vec<String> = field
                .values()
                .map(|value| edit(value).unwrap_or_else(|| value.to_owned()))
                .collect();
            *field = Field::built(name.as_str(), &values.join(", "));
        }
    }

    /// Copies all lines with this name from another message, as they are (Via, From, To, Call-ID,
    /// CSeq, Record-Route of a response: RFC 3261 §8.2.6.2).
    pub fn copy_from(&mut self, other: &Self, name: HeaderName) {
        self.fields.extend(other.fields(name).cloned());
    }

    /// The lines' bytes together.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.fields.iter().map(|field| field.line.len()).sum()
    }

    /// Copies everything out of the buffer it was received in, so that keeping a few headers does
    /// not keep the datagram.
    pub fn detach(&mut self) {
        for field in &mut self.fields {
            field.line = Bytes::copy_from_slice(&field.line);
        }
    }

    fn position(&self, name: HeaderName) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Field;
    type IntoIter = std::slice::Iter<'a, Field>;
    fn into_iter(self) -> Self::IntoIter {
        self.fields.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<&str> {
        split_values(text, true).collect()
    }

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        assert_eq!(
            values(r#""a, \"b" <sip:x,y@z>;p="1,2", <sip:c>"#),
            [r#""a, \"b" <sip:x,y@z>;p="1,2""#, "<sip:c>"]
        );
        assert_eq!(values(" , a ,, b"), ["a", "b"]);
    }

    #[test]
    fn a_value_cannot_smuggle_a_header_line() {
        let mut headers = Headers::new();
        headers.push(HeaderName::Reason, "SIP\r\nRoute: <sip:evil>");
        assert_eq!(headers.len(), 1);
        let line = headers.iter().next().expect("one").line().to_vec();
        assert_eq!(line, b"Reason: SIP  Route: <sip:evil>\r\n");
    }

    #[test]
    fn the_topmost_value_goes_and_the_rest_of_its_line_stays() {
        let mut headers = Headers::new();
        headers.push(HeaderName::Route, "<sip:a;lr>, <sip:b;lr>");
        headers.push(HeaderName::Route, "<sip:c;lr>");
        assert_eq!(headers.pop_front_value(HeaderName::Route).as_deref(), Some("<sip:a;lr>"));
        assert_eq!(headers.pop_front_value(HeaderName::Route).as_deref(), Some("<sip:b;lr>"));
        assert_eq!(headers.values(HeaderName::Route).collect::<Vec<_>>(), ["<sip:c;lr>"]);
    }

    #[test]
    fn set_leaves_one_line_and_does_not_touch_an_equal_one() {
        let mut headers = Headers::new();
        headers.push_wire(Field::from_wire(Bytes::from_static(b"l:  0\r\n"), 1, 0));
        headers.push(HeaderName::ContentLength, "5");
        headers.set(HeaderName::ContentLength, "0");
        let lines: Vec<&[u8]> = headers.iter().map(Field::line).collect();
        assert_eq!(lines, [b"l:  0\r\n"]);
    }
}
