//! Public identities of a UE as this edge compares them (TS 24.229 §5.2.6.3.3): the SIP form with
//! `user=phone` and the tel form of one number are the same identity.

use std::sync::Arc;

use cscf_core::dialog::field;
use cscf_core::sip::{HeaderName, Headers, Uri, phone_digits};

/// A registered public identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The URI as the registrar wrote it in P-Associated-URI.
    pub(crate) uri: Arc<str>,
    /// What it is compared by; mostly the same text.
    pub(crate) key: Arc<str>,
    /// Whether it is a tel URI.
    pub(crate) is_tel: bool,
}

impl Identity {
    /// Reads a name-addr or a bare URI; `None` if it holds no SIP or tel URI.
    #[must_use]
    pub(crate) fn read(value: &str) -> Option<Self> {
        let uri = field::uri_of(value);
        let (key, is_tel) = key(uri)?;
        let uri: Arc<str> = uri.into();
        let key = if *uri == *key { Arc::clone(&uri) } else { key.into() };
        Some(Self { uri, key, is_tel })
    }

    /// All readable values of a header, in order, at most `max`.
    #[must_use]
    pub(crate) fn read_all(headers: &Headers, name: HeaderName, max: usize) -> Vec<Self> {
        headers.values(name).filter_map(Self::read).take(max).collect()
    }

    /// As the value of P-Asserted-Identity.
    #[must_use]
    pub(crate) fn asserted(&self) -> String {
        ["<", &self.uri, ">"].concat()
    }
}

/// The key of a URI, and whether it is a tel URI.
fn key(uri: &str) -> Option<(String, bool)> {
    let uri = Uri::parse(uri).ok()?;
    match &uri {
        Uri::Tel(tel) => {
            let context = tel.phone_context().unwrap_or_default().to_ascii_lowercase();
            Some((number(&tel.digits(), &context), true))
        }
        Uri::Sip(sip) => {
            let user = uri.user_decoded().unwrap_or_default();
            let phone = sip.params().get("user").is_some_and(|value| value == "phone");
            if phone && let Some(digits) = global_number(&user) {
                return Some((number(&digits, ""), false));
            }
            let mut key = ["sip:", &user, "@"].concat();
            let from = key.len();
            key.push_str(sip.host());
            if let Some(host) = key.get_mut(from..) {
                host.make_ascii_lowercase();
            }
            Some((key, false))
        }
        Uri::Other(_) => None,
    }
}

fn number(digits: &str, context: &str) -> String {
    if digits.starts_with('+') {
        ["tel:", digits].concat()
    } else {
        ["tel:", digits, "@", context].concat()
    }
}

/// The digits of a global number in a user part, its own parameters left out.
fn global_number(user: &str) -> Option<String> {
    let digits = phone_digits(user.split(';').next().unwrap_or_default());
    digits.starts_with('+').then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tel_and_sip_user_phone_are_one_identity() {
        let key = |text| Identity::read(text).expect("reads").key;
        assert_eq!(key("<tel:+1-555-0100>"), key("<sip:+15550100@ims.example;user=phone>"));
        assert_eq!(key("<sip:alice@IMS.example:5060;x=y>"), key("sip:alice@ims.example"));
        assert_ne!(key("<sip:alice@ims.example>"), key("<sip:Alice@ims.example>"));
        assert_eq!(Identity::read("<urn:service:sos>"), None);
    }
}
