//! Reads the part of a reginfo document a P-CSCF acts on: which contacts of which identities are
//! gone or shortened (RFC 3680 §5).

use roxmltree::{Document, Node};

/// Longest document read, in bytes.
const DOCUMENT_MAX: usize = 65_535;

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reginfo {
    /// Its number.
    pub(crate) version: u32,
    /// The registrations it names.
    pub(crate) registrations: Vec<RegistrationInfo>,
}

/// What a document says of one public identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegistrationInfo {
    /// The public identity, a URI.
    pub(crate) aor: String,
    /// Its state is `terminated`.
    pub(crate) terminated: bool,
    /// Its contacts.
    pub(crate) contacts: Vec<ContactInfo>,
}

/// What a document says of one contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContactInfo {
    /// The contact URI.
    pub(crate) uri: String,
    /// Its state is `terminated`.
    pub(crate) terminated: bool,
    /// The seconds left, where the network shortened it.
    pub(crate) shortened_to: Option<u32>,
}

/// Why a document cannot be read; the culprit is the notifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReginfoError {
    /// Not XML.
    #[error("not XML: {0}")]
    NotXml(String),
    /// Longer than is read.
    #[error("longer than {DOCUMENT_MAX} bytes")]
    TooLong,
    /// The version is missing or no number.
    #[error("no version")]
    VersionMissing,
}

impl Reginfo {
    /// Reads a document.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ReginfoError> {
        if body.len() > DOCUMENT_MAX {
            return Err(ReginfoError::TooLong);
        }
        let text = String::from_utf8_lossy(body);
        let document =
            Document::parse(&text).map_err(|fault| ReginfoError::NotXml(fault.to_string()))?;
        let root = document.root_element();
        let version = root.attribute("version").and_then(|text| text.trim().parse().ok());
        Ok(Self {
            version: version.ok_or(ReginfoError::VersionMissing)?,
            registrations: elements(root, "registration").map(registration).collect(),
        })
    }
}

fn registration(node: Node<'_, '_>) -> RegistrationInfo {
    RegistrationInfo {
        aor: node.attribute("aor").unwrap_or_default().trim().to_owned(),
        terminated: node.attribute("state") == Some("terminated"),
        contacts: elements(node, "contact").map(contact).collect(),
    }
}

fn contact(node: Node<'_, '_>) -> ContactInfo {
    let uri = elements(node, "uri").next().and_then(|uri| uri.text()).unwrap_or_default();
    let expires = node.attribute("expires").and_then(|text| text.trim().parse().ok());
    ContactInfo {
        uri: uri.trim().to_owned(),
        terminated: node.attribute("state") == Some("terminated"),
        shortened_to: expires.filter(|_| node.attribute("event") == Some("shortened")),
    }
}

fn elements<'a, 'input: 'a>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_and_contacts_are_read_with_their_state() {
        let body = "<?xml version=\"1.0\"?>
            <reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"3\" state=\"full\">
            <registration aor=\"sip:a@ims.example\" id=\"r1\" state=\"active\">
            <contact id=\"c1\" state=\"terminated\" event=\"rejected\"><uri> sip:1 </uri></contact>
            <contact id=\"c2\" state=\"active\" event=\"shortened\" expires=\"60\"><uri>sip:2</uri>
            </contact></registration></reginfo>";
        let contact = |uri: &str, terminated, shortened_to| ContactInfo {
            uri: uri.to_owned(),
            terminated,
            shortened_to,
        };
        let registrations = vec![RegistrationInfo {
            aor: "sip:a@ims.example".to_owned(),
            terminated: false,
            contacts: vec![contact("sip:1", true, None), contact("sip:2", false, Some(60))],
        }];
        assert_eq!(Reginfo::parse(body.as_bytes()), Ok(Reginfo { version: 3, registrations }));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        assert!(matches!(Reginfo::parse(b"<reginfo"), Err(ReginfoError::NotXml(_))));
        assert_eq!(Reginfo::parse(b"<reginfo/>"), Err(ReginfoError::VersionMissing));
        assert_eq!(Reginfo::parse(&[b' '; 65_536]), Err(ReginfoError::TooLong));
        let bomb = b"<!DOCTYPE x [<!ENTITY a \"aa\">]><reginfo version=\"1\">&a;</reginfo>";
        assert!(matches!(Reginfo::parse(bomb), Err(ReginfoError::NotXml(_))));
    }
}
