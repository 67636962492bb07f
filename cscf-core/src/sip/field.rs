//! One header field line, and how its value falls into the values of a list.

use std::borrow::Cow;
use std::ops::Range;

use super::name::HeaderName;
use super::scan::trimmed;

/// The bytes of a line, and whether they are known to be text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    /// Not looked at, or not UTF-8 somewhere.
    Bytes(&'a [u8]),
    /// Text.
    Str(&'a str),
}

impl<'a> Text<'a> {
    pub(super) const fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Str(text) => text.as_bytes(),
        }
    }

    /// A part as text; empty if it is not UTF-8.
    fn part(&self, place: Range<usize>) -> &'a str {
        match self {
            Self::Str(text) => text.get(place).unwrap_or_default(),
            Self::Bytes(bytes) => {
                std::str::from_utf8(bytes.get(place).unwrap_or_default()).unwrap_or_default()
            }
        }
    }
}

/// One header field line (with its folded continuation lines), where it stands in its message.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub(super) name: HeaderName,
    /// The line with its final CRLF.
    pub(super) line: Text<'a>,
    pub(super) colon: usize,
    pub(super) value: usize,
    pub(super) value_end: usize,
    /// Where the line began in the message it was read from.
    pub(super) offset: Option<usize>,
}

impl<'a> Field<'a> {
    /// Which header it is.
    #[must_use]
    pub const fn name(&self) -> HeaderName {
        self.name
    }

    /// The name as it stands in the line (compact, any case).
    #[must_use]
    pub fn name_text(&self) -> &'a str {
        self.line.part(0..self.colon).trim_end()
    }

    /// The value without surrounding white space; folding still inside; empty if it is not UTF-8.
    #[must_use]
    pub fn value(&self) -> &'a str {
        self.line.part(self.value..self.value_end)
    }

    /// The offset of the value in the message it was received in; `None` for a line of our own.
    #[must_use]
    pub fn value_offset(&self) -> Option<usize> {
        self.offset.map(|start| start + self.value)
    }

    /// The values of the line with their offsets in [`Field::value`], empty ones included.
    pub(super) fn elements(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let list = self.name.is_list();
        let value = self.value();
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let start = next?;
            let text = value.get(start..)?;
            let len = if list { first_comma(text) } else { None };
            next = len.map(|len| start + len + 1);
            let text = len.map_or(Some(text), |len| text.get(..len))?;
            let rest = text.trim_start();
            Some((start + text.len() - rest.len(), rest.trim_end()))
        })
    }

    /// The value's bytes without surrounding white space.
    #[must_use]
    pub fn raw_value(&self) -> &'a [u8] {
        self.line.bytes().get(self.value..self.value_end).unwrap_or_default()
    }

    /// The value with folded lines joined by one space (RFC 3261 §7.3.1).
    #[must_use]
    pub fn unfolded(&self) -> Cow<'a, str> {
        let value = match self.line {
            Text::Str(_) => Cow::Borrowed(self.value()),
            Text::Bytes(_) => String::from_utf8_lossy(self.raw_value()),
        };
        if memchr::memchr2(b'\r', b'\n', value.as_bytes()).is_none() {
            return value;
        }
        value.lines().map(str::trim).collect::<Vec<_>>().join(" ").into()
    }

    /// The line with its CRLF, as it is written.
    #[must_use]
    pub const fn line(&self) -> &'a [u8] {
        self.line.bytes()
    }

    /// The values of the line: split at commas if the header is a list, else the whole.
    pub fn values(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        split_values(self.value(), self.name.is_list())
    }
}

/// Splits a header value at the commas outside quotes and angle brackets (if `list`), trimmed;
/// empty elements are left out.
#[inline]
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
            let head = trimmed(head);
            if !head.is_empty() {
                return Some(head);
            }
        }
    })
}

#[inline]
fn first_comma(text: &str) -> Option<usize> {
    // Most values have none.
    memchr::memchr(b',', text.as_bytes())?;
    first_comma_outside(text)
}

fn first_comma_outside(text: &str) -> Option<usize> {
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
}
