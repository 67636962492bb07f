//! Which bytes may stand where in a URI, and the parameters of one (RFC 3261 §25.1).

use super::escape::check_escapes;
use super::params::{PARAMS_MAX, Params};
use super::scan::SyntaxError;
use super::uri::UriError;

pub(super) fn check(
    text: &str,
    at: usize,
    allowed: fn(u8) -> bool,
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
    let mut params = Params::new();
    for part in text.split(';').skip(1) {
        match part.split_once('=') {
            Some((name, value)) => params.push_raw(name, Some(value)),
            None => params.push_raw(part, None),
        }
    }
    params
}

pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

/// `#` is not allowed there, but dial strings (`*31#…`) come with it bare.
pub(super) const fn is_user_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' | b'#')
}

pub(super) const fn is_param_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

pub(super) const fn is_param_text_byte(byte: u8) -> bool {
    is_param_byte(byte) || matches!(byte, b'=' | b',' | b'#')
}

pub(super) const fn is_header_byte(byte: u8) -> bool {
    is_param_byte(byte) || matches!(byte, b'=' | b'?' | b'@' | b';' | b',' | b'#')
}

pub(super) const fn is_opaque_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"')
}
