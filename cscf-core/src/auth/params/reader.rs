//! Reads a list of parameters with limits (RFC 3261 §25.1 `auth-param`, RFC 7616 §3.3 – §3.5).

use super::{AuthHeaderError, AuthParams, PARAMS_MAX, Place, Span, VALUE_MAX, mark};
use crate::sip::is_token_byte;

/// Where the reading of a header field value has come to.
pub(super) struct Reader<'a> {
    text: &'a str,
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, AuthHeaderError> {
        if text.len() > VALUE_MAX {
            return Err(AuthHeaderError::TooLong { length: text.len() });
        }
        Ok(Self { text, at: 0 })
    }

    pub(super) fn params(mut self) -> Result<AuthParams, AuthHeaderError> {
        let mut params = AuthParams { text: self.text.to_owned(), list: Vec::with_capacity(12) };
        loop {
            // Empty elements are no reason to lose a registration (RFC 9110 §5.6.1.2).
            while self.skip_space() > 0 || self.take(b',') {}
            if self.peek().is_none() {
                break;
            }
            let at = self.at;
            if params.list.len() == PARAMS_MAX {
                return Err(AuthHeaderError::TooMany { at });
            }
            let place = self.param()?;
            let name = place.name.of(self.text);
            if params.position(name).is_some() {
                return Err(AuthHeaderError::Repeated { at, name: name.to_owned() });
            }
            params.list.push(place);
            self.skip_space();
            if self.peek().is_some_and(|byte| byte != b',') {
                return Err(AuthHeaderError::CommaMissing { at: self.at });
            }
        }
        if params.list.is_empty() {
            return Err(AuthHeaderError::NameMissing { at: self.at });
        }
        Ok(params)
    }

    fn param(&mut self) -> Result<Place, AuthHeaderError> {
        let start = self.at;
        let name = self.token();
        if name.is_empty() {
            return Err(AuthHeaderError::NameMissing { at: self.at });
        }
        let (span, mark) = (Span::new(start, name.len()), mark(name));
        self.skip_space();
        if !self.take(b'=') {
            return Err(AuthHeaderError::ValueMissing { at: self.at, name: name.to_owned() });
        }
        self.skip_space();
        if self.peek() == Some(b'"') {
            return Ok(Place { name: span, raw: self.quoted()?, mark, quoted: true });
        }
        // Some clients leave the quotes of nonce, uri and response out; no harm is done.
        let start = self.at;
        let raw = self.run(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b'"' | b';'));
        if raw.is_empty() {
            return Err(AuthHeaderError::ValueMissing { at: self.at, name: name.to_owned() });
        }
        let raw = Span::new(start, raw.len());
        Ok(Place { name: span, raw, mark, quoted: false })
    }

    /// The inside of a quoted string, escapes kept.
    fn quoted(&mut self) -> Result<Span, AuthHeaderError> {
        let start = self.at + 1;
        let inside = self.text.as_bytes().get(start..).unwrap_or_default();
        let mut at = 0;
        let end = loop {
            let rest = inside.get(at..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else { break None };
            at += found;
            if inside.get(at) == Some(&b'"') {
                break Some(at);
            }
            // The byte behind a backslash is no end.
            at += 2;
        };
        if let Some(at) = first_control(inside.get(..end.unwrap_or(inside.len())).unwrap_or(b"")) {
            return Err(AuthHeaderError::ControlCharacter { at: start + at });
        }
        let end = end.ok_or(AuthHeaderError::Unterminated { at: start - 1 })?;
        self.at = start + end + 1;
        Ok(Span::new(start, end))
    }

    pub(super) fn token(&mut self) -> &'a str {
        self.run(is_token_byte)
    }

    /// Skips blanks and folds, and tells how many octets.
    pub(super) fn skip_space(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.at - start
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes what `belongs`, which no byte outside ASCII does.
    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len());
        let taken = self.text.get(self.at..self.at + len).unwrap_or_default();
        self.at += len;
        taken
    }
}

/// The place of the first character that [`is_forbidden`].
fn first_control(text: &[u8]) -> Option<usize> {
    // Looking at all bytes without stopping takes many in one step; most texts have none.
    let suspect = |any, byte: &u8| any | (*byte < b' ') | (*byte == 0x7f) | (*byte == 0xc2);
    if !text.iter().fold(false, suspect) {
        return None;
    }
    let next = |at: usize| text.get(at + 1).copied();
    text.iter().enumerate().position(|(at, byte)| is_control(*byte, next(at)))
}

/// [`is_forbidden`] for the character that begins with these bytes: outside ASCII it is U+0080 to
/// U+009F.
pub(super) const fn is_control(first: u8, second: Option<u8>) -> bool {
    match (first, second) {
        (b'\t', _) => false,
        (0xc2, Some(second)) => second < 0xa0,
        _ => first.is_ascii_control(),
    }
}
