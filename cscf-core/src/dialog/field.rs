//! The URI and the parameters of a name-addr straight from header text: borrowed, nothing is
//! checked, nothing allocated. Where the value must be right, [`crate::sip::NameAddr`] reads it.

use crate::transport::via::{cut, trimmed};

/// The URI of a name-addr or addr-spec: `"B" <sip:b@x;lr>;tag=1` gives `sip:b@x;lr`.
///
/// Without angle brackets all parameters belong to the header (RFC 3261 §20.10).
#[must_use]
pub fn uri_of(value: &str) -> &str {
    match angles(value) {
        Some((open, close)) => trimmed(value.get(open + 1..close).unwrap_or_default()),
        None => trimmed(cut(value, b';').map_or(value, |(uri, _)| uri)),
    }
}

/// The value of a header parameter without quotes, `Some("")` for one without value; names are
/// compared without regard to case.
#[must_use]
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let rest = match angles(value) {
        Some((_, close)) => value.get(close + 1..).unwrap_or_default(),
        None => value.split_once(';').map_or("", |(_, rest)| rest),
    };
    params(rest).find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Whether a URI (text, without brackets) has this parameter.
#[must_use]
pub fn uri_has_param(uri: &str, name: &str) -> bool {
    let head = uri.split('?').next().unwrap_or_default();
    params(head.split_once(';').map_or("", |(_, rest)| rest))
        .any(|(key, _)| key.eq_ignore_ascii_case(name))
}

/// The parameters of `;a=1;b="2;3";c`.
fn params(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let end = semicolon(rest);
            let (one, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            let (key, value) = one.split_once('=').unwrap_or((one, ""));
            if !key.trim().is_empty() {
                return Some((key.trim(), value.trim().trim_matches('"')));
            }
        }
    })
}

/// The offset of the first semicolon outside quotes, or the length.
fn semicolon(text: &str) -> usize {
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b';' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// The offsets of the angle brackets; a bracket inside a quoted display name does not count.
fn angles(value: &str) -> Option<(usize, usize)> {
    // As in nearly all values: no quotes before the bracket.
    let first = memchr::memchr2(b'<', b'"', value.as_bytes())?;
    if value.as_bytes().get(first) == Some(&b'<') {
        let rest = value.as_bytes().get(first..)?;
        return Some((first, first + memchr::memchr(b'>', rest)?));
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => {
                let len = value.get(at..)?.find('>')?;
                return Some((at, at + len));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_addr_is_taken_apart() {
        let value = r#""A <b>;tag=no" <sip:bob@ims.example;lr>;q="0.5;1" ;Tag=x1"#;
        assert_eq!(uri_of(value), "sip:bob@ims.example;lr");
        assert_eq!(param(value, "tag"), Some("x1"));
        assert_eq!(param(value, "q"), Some("0.5;1"));
        assert_eq!(param(value, "lr"), None);
        assert!(uri_has_param(uri_of(value), "lr"));
        assert_eq!(uri_of("sip:bob@ims.example;tag=7"), "sip:bob@ims.example");
        assert_eq!(param("sip:bob@ims.example;tag=7", "tag"), Some("7"));
        assert_eq!(uri_of("<sip:unclosed"), "<sip:unclosed");
    }
}
