//! The part of a reginfo document a UE acts on: what became of its own contact (RFC 3680 §5).

use std::fmt;

use roxmltree::{Document, Node};

/// Longest document read, in bytes.
const DOCUMENT_MAX: usize = 65_535;

/// What a document says of the own contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reginfo {
    /// The number of the document.
    pub(super) version: u32,
    /// Whether it tells the whole state, not only what changed.
    pub(super) full: bool,
    /// What happened to the own contact, if it is named. Of several registrations with the contact
    /// the worst counts only if all of them ended.
    pub(super) change: Option<ContactChange>,
}

/// What happened to a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContactChange {
    /// Ended; the UE registers anew at once.
    Deactivated,
    /// Ended by rejection, expiry or deregistration; the UE waits for its user.
    Ended,
    /// Still active: created, registered, refreshed.
    Other,
    /// Ended; the UE registers anew after this many seconds.
    Probation {
        /// Seconds.
        retry_after: u32,
    },
    /// Active for this many seconds more: the network wants to authenticate again.
    Shortened {
        /// Seconds.
        seconds: u32,
    },
}

impl fmt::Display for ContactChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deactivated => "deactivated",
            Self::Ended => "terminated",
            Self::Other => "active",
            Self::Probation { .. } => "probation",
            Self::Shortened { .. } => "shortened",
        })
    }
}

/// Why a document cannot be read; the culprit is the notifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReginfoError {
    /// Not XML.
    #[error("not XML: {0}")]
    NotXml(String),
    /// Longer than we read.
    #[error("longer than {DOCUMENT_MAX} bytes")]
    TooLong,
    /// The version is missing or no number.
    #[error("no version")]
    VersionMissing,
}

impl Reginfo {
    /// Reads a document; `is_own` tells the own contact's URI.
    pub(super) fn parse(body: &[u8], is_own: impl Fn(&str) -> bool) -> Result<Self, ReginfoError> {
        if body.len() > DOCUMENT_MAX {
            return Err(ReginfoError::TooLong);
        }
        let text = String::from_utf8_lossy(body);
        let document =
            Document::parse(&text).map_err(|error| ReginfoError::NotXml(error.to_string()))?;
        let root = document.root_element();
        let version = root.attribute("version").and_then(|text| text.trim().parse().ok());
        let version = version.ok_or(ReginfoError::VersionMissing)?;
        let contacts = root
            .descendants()
            .filter(|node| node.tag_name().name() == "contact")
            .filter(|contact| uri(contact).is_some_and(&is_own));
        let changes: Vec<ContactChange> = contacts.map(|contact| change(&contact)).collect();
        let shortened = changes.iter().find(|it| matches!(it, ContactChange::Shortened { .. }));
        let active = changes.iter().find(|it| matches!(it, ContactChange::Other));
        let change = shortened.or(active).or(changes.first()).copied();
        let full = root.attribute("state") != Some("partial");
        Ok(Self { version, full, change })
    }
}

fn uri<'a>(contact: &Node<'a, '_>) -> Option<&'a str> {
    contact.children().find(|node| node.tag_name().name() == "uri")?.text().map(str::trim)
}

fn change(contact: &Node<'_, '_>) -> ContactChange {
    let number = |name| contact.attribute(name).and_then(|text: &str| text.parse().ok());
    let event = contact.attribute("event").unwrap_or_default();
    if contact.attribute("state") != Some("terminated") {
        return match (event, number("expires")) {
            ("shortened", Some(seconds)) => ContactChange::Shortened { seconds },
            _ => ContactChange::Other,
        };
    }
    match event {
        "deactivated" => ContactChange::Deactivated,
        "probation" => ContactChange::Probation { retry_after: number("retry-after").unwrap_or(0) },
        _ => ContactChange::Ended,
    }
}

/// Whether a 3GPP IMS document orders an initial registration for restoration
/// (TS 24.229 §7.6.1, §5.1.2A.1.6).
pub(super) fn asks_for_registration(body: &[u8]) -> bool {
    if body.is_empty() || body.len() > DOCUMENT_MAX {
        return false;
    }
    let text = String::from_utf8_lossy(body);
    let Ok(document) = Document::parse(&text) else { return false };
    let says = |name: &str, value: &str| {
        document
            .descendants()
            .any(|node| node.tag_name().name() == name && node.text().map(str::trim) == Some(value))
    };
    says("type", "restoration") && says("action", "initial-registration")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(contact: &str, expected: Option<ContactChange>) {
        let body = format!(
            "<?xml version=\"1.0\"?><reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"3\"\
             state=\"full\"><registration aor=\"sip:alice@ims.example\" id=\"r\" state=\"active\">\
             {contact}</registration></reginfo>"
        );
        let body = body.replace("\"3\"state", "\"3\" state");
        let info = Reginfo::parse(body.as_bytes(), |uri| uri == "sip:10.0.0.1:40002");
        assert_eq!(info, Ok(Reginfo { version: 3, full: true, change: expected }), "{contact}");
    }

    fn contact(attributes: &str) -> String {
        format!("<contact id=\"c\" {attributes}><uri>sip:10.0.0.1:40002</uri></contact>")
    }

    #[test]
    fn the_fate_of_the_own_contact_is_read() {
        use ContactChange::{Deactivated, Ended, Other, Probation, Shortened};
        let terminated = |event: &str| contact(&format!("state=\"terminated\" event=\"{event}\""));
        check(&terminated("rejected"), Some(Ended));
        check(&terminated("deactivated"), Some(Deactivated));
        check(&terminated("probation\" retry-after=\"30"), Some(Probation { retry_after: 30 }));
        check(&contact("state=\"active\" event=\"registered\""), Some(Other));
        check(
            &contact("state=\"active\" event=\"shortened\" expires=\"60\""),
            Some(Shortened { seconds: 60 }),
        );
        let other = contact("state=\"terminated\" event=\"rejected\"").replace("40002", "40003");
        check(&other, None);
        check(&(terminated("rejected") + &contact("state=\"active\" event=\"created\"")), {
            Some(Other)
        });
    }

    #[test]
    fn bytes_that_are_no_document_are_an_error() {
        for body in [&b""[..], b"<reginfo", b"<reginfo/>", b"\xff\xfe<a>"] {
            assert!(Reginfo::parse(body, |_| true).is_err());
        }
        let bomb = b"<!DOCTYPE a [<!ENTITY b \"c\">]><reginfo version=\"1\">&b;</reginfo>";
        assert!(Reginfo::parse(bomb, |_| true).is_err());
    }
}
