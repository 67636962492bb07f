//! The scanner under every typed header: bytes of one value, left to right, no backtracking.
//!
//! A folded value still has its line ends inside, so CR and LF count as white space here
//! (RFC 3261 §7.3.1).

use std::borrow::Cow;

use super::parse::{find_near, is_token_byte};

/// A header value or URI that breaks its grammar, and where. The culprit is the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at offset {offset} of the value")]
pub struct SyntaxError {
    /// The offset, in bytes, of the fault inside the text that was read.
    pub offset: usize,
    /// What is wrong, lower case, no full stop.
    pub reason: &'static str,
}

impl SyntaxError {
    pub(super) const fn new(offset: usize, reason: &'static str) -> Self {
        Self { offset, reason }
    }

    /// The same fault seen from a text in which this one starts at `start`.
    pub(super) const fn at(self, start: usize) -> Self {
        Self { offset: self.offset + start, reason: self.reason }
    }
}

pub(super) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// [`str::trim`], which looks for no white space where there is none: the ends of nearly all texts
/// of a message are printable ASCII.
#[inline]
pub(crate) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [b'!'..=b'~', .., b'!'..=b'~'] | [b'!'..=b'~'] | [] => text,
        _ => text.trim(),
    }
}

/// Whether the text is a token (RFC 3261 §25.1).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError::new(self.at, reason)
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn is_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub(super) fn skip_lws(&mut self) {
        while self.peek().is_some_and(is_lws) {
            self.at += 1;
        }
    }

    /// Takes this byte if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        if hit {
            self.at += 1;
        }
        hit
    }

    /// Takes a separator with the white space around it (SEMI, EQUAL, SLASH, COLON …).
    pub(super) fn eat_separator(&mut self, byte: u8) -> bool {
        let before = self.at;
        self.skip_lws();
        if self.eat(byte) {
            self.skip_lws();
            true
        } else {
            self.at = before;
            false
        }
    }

    #[inline]
    pub(super) fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.bytes().position(|byte| !keep(byte)).unwrap_or(rest.len());
        // A predicate that stops inside a character takes none of it.
        let taken = rest.get(..len).unwrap_or_else(|| {
            let len = (0..len).rev().find(|len| rest.is_char_boundary(*len)).unwrap_or(0);
            rest.get(..len).unwrap_or_default()
        });
        self.at += taken.len();
        taken
    }

    /// Takes everything before the next such (ASCII) byte, or all the rest.
    pub(super) fn take_until(&mut self, byte: u8) -> &'a str {
        let rest = self.rest();
        let len = memchr::memchr(byte, rest.as_bytes()).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    /// Skips `len` bytes that have been looked at; they must end a character.
    pub(super) fn advance(&mut self, len: usize) {
        self.at = (self.at + len).min(self.text.len());
    }

    pub(super) fn token(&mut self, reason: &'static str) -> Result<&'a str, SyntaxError> {
        let token = self.take_while(is_token_byte);
        if token.is_empty() { Err(self.error(reason)) } else { Ok(token) }
    }

    /// A quoted string that starts here, with its quotes (RFC 3261 §25.1).
    pub(super) fn quoted(&mut self) -> Result<&'a str, SyntaxError> {
        let rest = self.rest();
        let mut at = 1;
        while let Some(found) =
            rest.as_bytes().get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
        {
            at += found;
            if rest.as_bytes().get(at) == Some(&b'"') {
                self.at += at + 1;
                return Ok(rest.get(..=at).unwrap_or_default());
            }
            // The byte behind a backslash is no end.
            at += 2;
        }
        Err(self.error("quoted string is not closed"))
    }

    pub(super) fn expect_end(&mut self, reason: &'static str) -> Result<(), SyntaxError> {
        self.skip_lws();
        if self.is_end() { Ok(()) } else { Err(self.error(reason)) }
    }
}

/// The lines of a text with their ends, as [`str::split_inclusive`] finds them: sooner, as long as
/// they are short.
pub(super) fn short_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = find_near(rest.as_bytes(), b'\n').map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at_checked(end)?;
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

/// The contents of a quoted string; any other text as it is. Backslash escapes are undone, folding
/// becomes one space.
#[must_use]
pub fn unquote(text: &str) -> Cow<'_, str> {
    let inner = strip_quotes(text);
    if inner.len() == text.len() || memchr::memchr3(b'\\', b'\r', b'\n', inner.as_bytes()).is_none()
    {
        return inner.into();
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => out.extend(chars.next()),
            '\r' | '\n' => {
                while chars.peek().is_some_and(char::is_ascii_whitespace) {
                    chars.next();
                }
                out.push(' ');
            }
            _ => out.push(char),
        }
    }
    out.into()
}

/// The text between surrounding quotes, escapes still inside; any other text as it is.
pub(super) fn strip_quotes(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// The text as a quoted string: quotes around it, `"` and `\` escaped, line ends to spaces.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text);
    out
}

/// Writes it behind what is there.
pub(super) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    if !text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | b'\r' | b'\n')) {
        out.push_str(text);
        return out.push('"');
    }
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\r' | '\n' => out.push(' '),
            _ => out.push(char),
        }
    }
    out.push('"');
}

/// A decimal number that fits; digits only.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Delta seconds; a value above 2^32-1 counts as 2^32-1 (RFC 3261 §20.10).
pub(super) fn delta_seconds(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_and_unquoting_are_each_others_inverse() {
        for text in ["", "plain", r#"a "b" \c"#, "with,comma;semicolon<>", "ю"] {
            assert_eq!(unquote(&quote(text)), text);
        }
    }

    #[test]
    fn short_lines_are_those_that_split_inclusive_finds() {
        for text in ["", "\n", "a", "a\n", "a\r\nb", "a\n\nb\n", "v=0\r\no=- 1 1 IN IP4 a\r\n\r\n"]
        {
            let found: Vec<&str> = short_lines(text).collect();
            assert_eq!(found, text.split_inclusive('\n').collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn a_quoted_string_without_end_is_refused_where_it_starts() {
        let mut scan = Scan::new(r#"  "open \""#);
        scan.skip_lws();
        assert_eq!(scan.quoted(), Err(SyntaxError::new(2, "quoted string is not closed")));
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(number("0068"), Some(68));
        assert_eq!(number("+1"), None);
        assert_eq!(number("4294967296"), None);
        assert_eq!(delta_seconds("4294967296"), Some(u32::MAX));
    }
}
