//! The address of a binding, held small: it stays for an hour or a week.

use std::sync::Arc;

use super::bindings::same_contact;
use crate::sip::NameAddr;

/// The address of a binding: one text that copies share, read where somebody wants its pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundContact {
    /// As [`NameAddr::text`] writes it.
    text: Arc<str>,
    /// Where the URI stands in it.
    uri_at: u32,
    uri_len: u32,
    /// It was registered for emergency calls.
    emergency: bool,
    /// It was registered as a flow.
    flow: bool,
}

impl BoundContact {
    /// Takes an address over.
    #[must_use]
    pub fn new(address: &NameAddr) -> Self {
        let (text, uri) = (address.text(), address.uri.text());
        // Should the name or a parameter hold the same in brackets, either will do.
        let uri_at = match &address.display_name {
            Some(_) => text.find(&["<", &uri, ">"].concat()).map_or(0, |at| at + 1),
            None => 1,
        };
        let number = |size| u32::try_from(size).unwrap_or(u32::MAX);
        Self {
            uri_at: number(uri_at),
            uri_len: number(uri.len()),
            text: text.into(),
            emergency: address.uri.params().has("sos"),
            flow: address.params.has("+sip.instance") && address.params.has("reg-id"),
        }
    }

    /// It as a value of Contact, without `expires` and GRUUs.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its URI as text.
    #[must_use]
    pub fn uri(&self) -> &str {
        let (at, len) = (self.uri_at as usize, self.uri_len as usize);
        self.text.get(at..at.saturating_add(len)).unwrap_or_default()
    }

    /// Its pieces; `None` never comes of an address that was read from a message.
    #[must_use]
    pub fn read(&self) -> Option<NameAddr> {
        NameAddr::parse(&self.text).ok()
    }

    /// Whether it was registered for emergency calls (TS 24.229 §7.2A.13).
    #[must_use]
    pub const fn is_emergency(&self) -> bool {
        self.emergency
    }

    /// The instance and flow, if it was registered as a flow (RFC 5626 §6).
    #[must_use]
    pub fn flow(&self) -> Option<(String, String)> {
        let address = if self.flow { self.read()? } else { return None };
        let instance = address.params.unquoted("+sip.instance")?.into_owned();
        Some((instance, address.param("reg-id")?.to_owned()))
    }

    /// Whether a contact of this address is the same binding: the same instance and flow where both
    /// name one (RFC 5626 §6), else equivalent URIs (RFC 3261 §10.3).
    #[must_use]
    pub fn is(&self, other: &NameAddr) -> bool {
        // Mostly it comes again as it was.
        if !self.flow && self.uri() == other.uri.text() {
            return true;
        }
        self.read().is_some_and(|own| same_contact(&own, other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> NameAddr {
        NameAddr::parse(text).expect("an address")
    }

    #[test]
    fn a_bound_contact_is_what_it_was_made_of() {
        for text in [
            "<sip:alice@10.0.0.1:5070>",
            "<sip:alice@10.0.0.1;transport=tcp;sos?a=b>;q=0.5;+g.3gpp.smsip",
            "\"A <sip:alice@10.0.0.1> & \\\"B\\\"\" <sip:alice@10.0.0.1>;q=1",
            "Alice <tel:+15550101>",
            "<urn:x:1>;+sip.instance=\"<sip:a@b>\";reg-id=1",
            "\"<urn:x:1>\" <urn:x:1>;x=\"<urn:x:1>\"",
        ] {
            let address = address(text);
            let bound = BoundContact::new(&address);

            assert_eq!(bound.read(), Some(address.clone()), "{text}");
            assert_eq!(bound.text(), address.to_string());
            assert_eq!(bound.is_emergency(), text.contains("sos"), "{text}");
            assert_eq!(bound.flow().is_some(), text.contains("reg-id"), "{text}");
            assert_eq!(bound.uri(), address.uri.to_string(), "{text}");
            let behind = bound.text().get(bound.uri_at as usize + bound.uri().len()..);
            assert_eq!(behind.and_then(|rest| rest.chars().next()), Some('>'), "{text}");
            assert!(bound.is(&address), "{text}");
        }
    }

    /// The short way and the rules agree.
    #[test]
    fn the_same_binding_is_known_by_flow_or_by_uri() {
        let flow = |instance: &str, id: u32, host: &str| {
            format!("<sip:a@{host}>;+sip.instance=\"<{instance}>\";reg-id={id}")
        };
        let texts = [
            "<sip:a@h1>".to_owned(),
            "<sip:a@H1>".to_owned(),
            "<sip:a@h1;sos>".to_owned(),
            "<sip:a@h1;transport=tcp>".to_owned(),
            "<sip:b@h1>".to_owned(),
            flow("urn:1", 1, "h1"),
            flow("urn:1", 1, "h2"),
            flow("urn:1", 2, "h1"),
            flow("urn:2", 1, "h1"),
        ];
        for one in &texts {
            for other in &texts {
                let (one, other) = (address(one), address(other));
                let same = same_contact(&one, &other);
                assert_eq!(BoundContact::new(&one).is(&other), same, "{one} {other}");
            }
        }
    }
}
