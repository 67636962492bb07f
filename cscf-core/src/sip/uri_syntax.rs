//! Which bytes may stand where in a URI, and the parameters of one (RFC 3261 §25.1).

use super::escape::check_escapes;
use super::params::{PARAMS_MAX, Params};
use super::scan::SyntaxError;
use super::uri::UriError;

pub(super) fn check(
    text: &str,
    at: usize,
    allowed: impl Fn(u8) -> bool,
    reason: &'static str,
) -> Result<(), UriError> {
    if let Some(offset) = text.bytes().position(|byte| byte != b'%' && !allowed(byte)) {
        return Err(SyntaxError::new(at + offset, reason));
    }
    check_escapes(text).map_err(|fault| fault.at(at))
}

/// The parameters of a URI: `;name[=value]` again and again, no white space.
pub(super) fn check_params(text: &str) -> Result<(), UriError> {
    let Some(list) = text.strip_prefix(';') else {
        if text.is_empty() {
            return Ok(());
        }
        return Err(SyntaxError::new(0, "unexpected text behind the host"));
    };
    // One flag such as `lr`, or one pair, is nearly all there ever is.
    if let Some(first) = list.bytes().next()
        && first != b'='
        && list.bytes().all(is_param_text_byte)
    {
        return Ok(());
    }
    let mut at = 1;
    for (count, part) in list.split(';').enumerate() {
        if count == PARAMS_MAX {
            return Err(SyntaxError::new(at, "more than 64 URI parameters"));
        }
        if part.is_empty() || part.starts_with('=') {
            return Err(SyntaxError::new(at, "URI parameter without a name"));
        }
        check(part, at, is_param_text_byte, "character cannot stand in a URI parameter")?;
        at += part.len() + 1;
    }
    Ok(())
}

/// The parameters of a text that passed [`check_params`].
pub(super) fn collect_params(text: &str) -> Params {
    if text.is_empty() {
        return Params::new();
    }
    let mut at = 1;
    let places = std::iter::from_fn(|| {
        let list = text.as_bytes().get(at..)?;
        let end = list.iter().position(|byte| *byte == b';').unwrap_or(list.len());
        let equal = list.get(..end)?.iter().position(|byte| *byte == b'=');
        let (from, to) = (at, at + end);
        at = to + 1;
        let value = equal.map(|equal| from + equal + 1..to);
        Some((from..equal.map_or(to, |equal| from + equal), value))
    });
    Params::of_text(text, places)
}

/// What a byte may be in a URI or in a bare value of a parameter, one bit a role.
static ROLES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            table[byte] = roles(byte as u8);
        }
        byte += 1;
    }
    table
};

pub(super) const USER: u8 = 1;
const PARAM: u8 = 2;
pub(super) const PARAM_TEXT: u8 = 4;
const HEADER: u8 = 8;
const OPAQUE: u8 = 16;
pub(super) const HOST: u8 = 32;
pub(super) const VALUE: u8 = 64;

pub(super) const fn roles(byte: u8) -> u8 {
    let unreserved = byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')');
    let param = unreserved || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$');
    let mut roles = 0;
    // `#` is not allowed in a user part, but dial strings (`*31#`) come with it bare.
    if unreserved || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' | b'#') {
        roles |= USER;
    }
    if param {
        roles |= PARAM;
    }
    if param || matches!(byte, b'=' | b',' | b'#') {
        roles |= PARAM_TEXT;
    }
    if param || matches!(byte, b'=' | b'?' | b'@' | b';' | b',' | b'#') {
        roles |= HEADER;
    }
    if byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"') {
        roles |= OPAQUE;
    }
    // Underscores are not in the grammar but in the names of containers.
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
        roles |= HOST;
    }
    // More than a token in practice: hosts, IPv6 addresses, URIs.
    if byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'<' | b'>' | b'\\') {
        roles |= VALUE;
    }
    roles
}

#[inline]
fn has_role(byte: u8, role: u8) -> bool {
    ROLES.get(usize::from(byte)).is_some_and(|roles| roles & role != 0)
}

macro_rules! role_checks {
    ($($name:ident $role:ident;)*) => {
        $(#[inline]
        pub(super) fn $name(byte: u8) -> bool {
            has_role(byte, $role)
        })*
    };
}

role_checks! {
    is_user_byte USER;
    is_param_byte PARAM;
    is_param_text_byte PARAM_TEXT;
    is_header_byte HEADER;
    is_opaque_byte OPAQUE;
    is_host_byte HOST;
    is_value_byte VALUE;
}
