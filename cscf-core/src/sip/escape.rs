//! `%HH` escapes of URIs (RFC 3261 §19.1.2).

use std::borrow::Cow;

use super::scan::SyntaxError;

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Every `%` must be followed by two hexadecimal digits.
pub(super) fn check_escapes(text: &str) -> Result<(), SyntaxError> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'%', bytes.get(at..).unwrap_or_default()) {
        let percent = at + found;
        match bytes.get(percent + 1..percent + 3) {
            Some([high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
            _ => return Err(SyntaxError::new(percent, "escape is not % and two hex digits")),
        }
        at = percent + 3;
    }
    Ok(())
}

/// The bytes of a text: each with whether it came from an escape. Broken escapes stay as text.
struct Unescaped<'a> {
    rest: &'a [u8],
}

impl Iterator for Unescaped<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        let (first, rest) = self.rest.split_first()?;
        if *first == b'%'
            && let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.rest = after;
            return Some((high * 16 + low, true));
        }
        self.rest = rest;
        Some((*first, false))
    }
}

/// The text with escapes undone; what is then not UTF-8 becomes U+FFFD.
#[must_use]
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let bytes: Vec<u8> = Unescaped { rest: text.as_bytes() }.map(|(byte, _)| byte).collect();
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// The text with every byte outside `allowed` escaped.
#[must_use]
pub fn encode(text: &str, allowed: fn(u8) -> bool) -> Cow<'_, str> {
    if text.bytes().all(allowed) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if allowed(byte) {
            out.push(byte as char);
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(digit.into(), 16).map(|hex| hex.to_ascii_uppercase()));
            }
        }
    }
    out.into()
}

/// Whether two texts are the same when an escaped character counts as the character itself, unless
/// it is a reserved one (RFC 3261 §19.1.4, RFC 2396 §2.2).
pub(super) fn eq_unescaped(a: &str, b: &str, ignore_case: bool) -> bool {
    let normal = |text| {
        Unescaped { rest: text }.map(move |(byte, escaped): (u8, bool)| {
            let byte = if ignore_case { byte.to_ascii_lowercase() } else { byte };
            (byte, escaped && is_reserved(byte))
        })
    };
    normal(a.as_bytes()).eq(normal(b.as_bytes()))
}

const fn is_reserved(byte: u8) -> bool {
    matches!(byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_come_and_go() {
        assert_eq!(decode("%75se%72%40"), "user@");
        assert_eq!(encode("a b%", |byte| byte.is_ascii_alphanumeric()), "a%20b%25");
        assert_eq!(check_escapes("a%4").expect_err("short").offset, 1);
        assert_eq!(check_escapes("ab%zz").expect_err("no hex").offset, 2);
    }

    #[test]
    fn a_reserved_character_differs_from_its_escape() {
        assert!(eq_unescaped("%61lice", "alice", false));
        assert!(!eq_unescaped("a%40b", "a@b", false));
        assert!(eq_unescaped("a%3a", "a%3A", false));
    }
}
