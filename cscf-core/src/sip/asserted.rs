//! Privacy (RFC 3323 §4.2, RFC 3325 §9.3), P-Served-User (RFC 5502, RFC 8498), History-Info indexes
//! (RFC 7044) and caller preferences (RFC 3841). P-Asserted-Identity and its kin are plain
//! addresses, see [`Headers::addresses`].

use super::address::NameAddr;
use super::headers::Headers;
use super::message_ext::HeaderError;
use super::name::HeaderName;
use super::params::Params;
use super::scan::{Scan, SyntaxError};

/// The values of Privacy (RFC 3323 §4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    values: Vec<String>,
}

impl Privacy {
    /// Reads a Privacy header; values are separated by `;`.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] when a value is no token.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut scan = Scan::new(text);
        let mut values = Vec::new();
        scan.skip_lws();
        loop {
            values.push(scan.token("privacy value is missing")?.to_ascii_lowercase());
            if !scan.eat_separator(b';') && !scan.eat_separator(b',') {
                scan.expect_end("unexpected text behind a privacy value")?;
                return Ok(Self { values });
            }
        }
    }

    /// Whether this value is there, without regard to case.
    #[must_use]
    pub fn has(&self, value: &str) -> bool {
        self.values.iter().any(|it| it.eq_ignore_ascii_case(value))
    }

    /// Whether the asserted identity must not reach the other side: `id`, and nothing else obliges
    /// to it (RFC 3325 §7).
    #[must_use]
    pub fn hides_asserted_identity(&self) -> bool {
        self.has("id") && !self.has("none")
    }

    /// The values in order, lower case.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }
}

/// The session case of a P-Served-User (RFC 5502 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedSessionCase {
    /// `sescase=orig`.
    Originating,
    /// `sescase=term`.
    Terminating,
    /// `orig-cdiv`: originating after call diversion (RFC 8498 §4).
    OriginatingCdiv,
}

/// P-Served-User (RFC 5502 §6, RFC 8498).
#[derive(Clone, Debug, PartialEq)]
pub struct ServedUser {
    /// The user and all parameters.
    pub address: NameAddr,
}

impl ServedUser {
    /// A served user with session case and registration state.
    #[must_use]
    pub fn new(mut address: NameAddr, case: ServedSessionCase, registered: bool) -> Self {
        match case {
            ServedSessionCase::Originating => address.params.set("sescase", "orig"),
            ServedSessionCase::Terminating => address.params.set("sescase", "term"),
            ServedSessionCase::OriginatingCdiv => address.params.set_flag("orig-cdiv"),
        }
        address.params.set("regstate", if registered { "reg" } else { "unreg" });
        Self { address }
    }

    /// Reads a P-Served-User.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        NameAddr::parse(text).map(|address| Self { address })
    }

    /// The session case; `None` if it is not told or unknown.
    #[must_use]
    pub fn session_case(&self) -> Option<ServedSessionCase> {
        if self.address.params.has("orig-cdiv") {
            return Some(ServedSessionCase::OriginatingCdiv);
        }
        match self.address.param("sescase")?.to_ascii_lowercase().as_str() {
            "orig" => Some(ServedSessionCase::Originating),
            "term" => Some(ServedSessionCase::Terminating),
            _ => None,
        }
    }

    /// Whether the user is registered; `None` if it is not told or unknown.
    #[must_use]
    pub fn is_registered(&self) -> Option<bool> {
        match self.address.param("regstate")?.to_ascii_lowercase().as_str() {
            "reg" => Some(true),
            "unreg" => Some(false),
            _ => None,
        }
    }
}

impl std::fmt::Display for ServedUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

/// One Accept-Contact or Reject-Contact value: `*` and feature parameters (RFC 3841 §9.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactPreference {
    /// The features with `require` and `explicit`.
    pub params: Params,
}

impl ContactPreference {
    /// Reads one value.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] when it does not start with `*` or a parameter is malformed.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut scan = Scan::new(text);
        scan.skip_lws();
        if !scan.eat(b'*') {
            return Err(scan.error("* is missing"));
        }
        scan.skip_lws();
        let at = scan.at();
        Params::parse(scan.rest()).map(|params| Self { params }).map_err(|fault| fault.at(at))
    }

    /// Whether a contact that does not match is not to be tried.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.params.has("require")
    }

    /// Whether a contact that does not tell a feature does not match.
    #[must_use]
    pub fn is_explicit(&self) -> bool {
        self.params.has("explicit")
    }

    /// The features without `require` and `explicit`: name and value without quotes.
    pub fn features(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().filter_map(|param| {
            let name = param.name();
            let directive = ["require", "explicit"].iter().any(|it| name.eq_ignore_ascii_case(it));
            (!directive).then(|| (name, self.params.get(name).unwrap_or_default()))
        })
    }
}

impl Headers {
    /// Privacy; no values if the header is absent.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] when it breaks the grammar.
    pub fn privacy(&self) -> Result<Privacy, HeaderError> {
        Ok(self.optional(HeaderName::Privacy, Privacy::parse)?.unwrap_or_default())
    }

    /// P-Served-User, if it is there.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] when it breaks the grammar.
    pub fn served_user(&self) -> Result<Option<ServedUser>, HeaderError> {
        self.optional(HeaderName::PServedUser, ServedUser::parse)
    }

    /// The Accept-Contact values; empty if absent.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] for the first value that breaks the grammar.
    pub fn accept_contact(&self) -> Result<Vec<ContactPreference>, HeaderError> {
        self.typed_list(HeaderName::AcceptContact, ContactPreference::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_id_hides_the_asserted_identity() {
        for (text, hidden) in [
            ("id", true),
            ("user; ID;critical", true),
            ("user;header", false),
            ("none", false),
            ("session, id", true),
        ] {
            assert_eq!(
                Privacy::parse(text).expect(text).hides_asserted_identity(),
                hidden,
                "{text}"
            );
        }
        assert!(Privacy::parse("id;").is_err());
        assert!(!Headers::new().privacy().expect("absent").has("id"));
    }

    #[test]
    fn a_served_user_tells_case_and_state() {
        let text = "<sip:+15550001@home.net>;sescase=orig;regstate=reg";
        let it = ServedUser::parse(text).expect("parses");
        assert_eq!(it.session_case(), Some(ServedSessionCase::Originating));
        assert_eq!(it.is_registered(), Some(true));
        let address = NameAddr::parse("<sip:+15550001@home.net>").expect("parses");
        let ours = ServedUser::new(address.clone(), ServedSessionCase::Originating, true);
        assert_eq!(ours.to_string(), text);
        let cdiv = ServedUser::new(address, ServedSessionCase::OriginatingCdiv, false);
        assert_eq!(cdiv.session_case(), Some(ServedSessionCase::OriginatingCdiv));
        assert_eq!(cdiv.is_registered(), Some(false));
    }

    #[test]
    fn a_preference_has_features_and_directives() {
        let it = ContactPreference::parse("*;+g.3gpp.smsip;require;explicit").expect("parses");
        assert!(it.is_required() && it.is_explicit());
        assert_eq!(it.features().collect::<Vec<_>>(), [("+g.3gpp.smsip", "")]);
        assert!(ContactPreference::parse("sip:a").is_err());
    }
}
