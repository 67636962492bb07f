//! tel URIs: reading, writing, equality (RFC 3966).

use std::fmt;

use super::escape::{decode, eq_unescaped};
use super::params::Params;
use super::scan::SyntaxError;
use super::uri::UriError;
use super::uri_syntax::{check_params, collect_params};

/// A tel URI (RFC 3966 §3).
#[derive(Clone, Debug)]
pub struct TelUri {
    number: String,
    pub(super) params: Params,
}

impl TelUri {
    pub(super) fn parse(text: &str) -> Result<Self, UriError> {
        let len = text.find(';').unwrap_or(text.len());
        let (number, params) = text.split_at_checked(len).unwrap_or((text, ""));
        let global = number.starts_with('+');
        for (at, byte) in number.bytes().enumerate() {
            let fits = match byte {
                b'0'..=b'9' | b'-' | b'.' | b'(' | b')' => true,
                b'+' => at == 0,
                b'*' | b'#' | b'a'..=b'f' | b'A'..=b'F' => !global,
                // `#` must be escaped in a URI; dial strings such as *31# come that way.
                b'%' => !global && number.get(at..at + 3) == Some("%23"),
                _ => false,
            };
            if !fits {
                return Err(SyntaxError::new(at, "character cannot stand in a telephone number"));
            }
        }
        if !number.bytes().any(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#')) {
            return Err(SyntaxError::new(0, "telephone number without digits"));
        }
        check_params(params).map_err(|fault| fault.at(len))?;
        Ok(Self { number: number.to_owned(), params: collect_params(params) })
    }

    /// The number as written, visual separators inside.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }

    /// The number without visual separators, `%23` as `#`, letters in upper case.
    #[must_use]
    pub fn digits(&self) -> String {
        phone_digits(&self.number)
    }

    /// Whether it is a global number, i.e. starts with `+` (RFC 3966 §5.1.4).
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.number.starts_with('+')
    }

    /// The `phone-context` parameter of a local number.
    #[must_use]
    pub fn phone_context(&self) -> Option<&str> {
        self.params.get("phone-context")
    }

    /// The URI parameters.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }
}

impl PartialEq for TelUri {
    fn eq(&self, other: &Self) -> bool {
        let within = |a: &Params, b: &Params| {
            a.iter().all(|param| {
                b.iter().any(|its| {
                    param.name().eq_ignore_ascii_case(its.name())
                        && tel_param_eq(
                            param.name(),
                            param.raw_value().unwrap_or_default(),
                            its.raw_value().unwrap_or_default(),
                        )
                })
            })
        };
        self.is_global() == other.is_global()
            && self.digits() == other.digits()
            && within(&self.params, &other.params)
            && within(&other.params, &self.params)
    }
}

/// `ext` and a numeric `phone-context` are numbers, so their visual separators do not count.
fn tel_param_eq(name: &str, a: &str, b: &str) -> bool {
    let number = name.eq_ignore_ascii_case("ext")
        || (name.eq_ignore_ascii_case("phone-context") && a.starts_with('+'));
    if number { phone_digits(a) == phone_digits(b) } else { eq_unescaped(a, b, true) }
}

impl fmt::Display for TelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tel:")?;
        f.write_str(&self.number)?;
        self.params.fmt(f)
    }
}

/// A telephone number without visual separators, `%23` as `#`, letters in upper case.
#[must_use]
pub fn phone_digits(number: &str) -> String {
    let mut digits = String::with_capacity(number.len());
    push_phone_digits(&mut digits, number);
    digits
}

/// Writes them behind what is there.
pub(crate) fn push_phone_digits(out: &mut String, number: &str) {
    let is_digit = |char: &char| !matches!(char, '-' | '.' | '(' | ')');
    if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'+') {
        out.push_str(number);
    } else {
        let number = decode(number);
        out.extend(number.chars().filter(is_digit).map(|char| char.to_ascii_uppercase()));
    }
}
