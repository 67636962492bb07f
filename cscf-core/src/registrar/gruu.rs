//! Globally routable user agent URIs: one that stays and tells who it is, and temporary ones that
//! do not (RFC 5627; TS 24.229 §5.4.7A).

use std::sync::Arc;

use crate::sip::{NameAddr, Uri};

use super::registration::PublicIdentity;

/// Temporary GRUUs that an identity keeps for one instance; the oldest goes first.
pub const TEMP_GRUUS_MAX: usize = 16;

/// The GRUUs of an instance in one implicit registration set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gruus {
    /// The value of the `gr` parameter: the instance.
    pub gr: Box<str>,
    /// The temporary ones, the oldest first; all are good until the instance is deregistered.
    pub temporary: Vec<TempGruu>,
}

/// A temporary GRUU (RFC 5627 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TempGruu {
    /// The key of the identity it stands for.
    pub identity: Arc<str>,
    /// The URI, with `gr`.
    pub uri: Box<str>,
    /// The sequence number of the REGISTER that it was made for (RFC 5628 §5).
    pub first_cseq: u32,
}

impl Gruus {
    /// The public GRUU of this identity; only SIP URIs have one (RFC 5627 §3.1).
    #[must_use]
    pub fn public(&self, identity: &PublicIdentity) -> Option<String> {
        let mut uri = Uri::parse(&identity.uri).ok().filter(Uri::is_sip)?;
        uri.set_param("gr", &self.gr);
        Some(uri.to_string())
    }

    /// The newest temporary GRUU of the identity with this key.
    #[must_use]
    pub fn newest(&self, key: &str) -> Option<&TempGruu> {
        self.temporary.iter().rev().find(|its| *its.identity == *key)
    }

    /// Adds temporary GRUUs, one for each identity; each identity keeps the newest
    /// [`TEMP_GRUUS_MAX`].
    pub(super) fn add(&mut self, new: Vec<TempGruu>) {
        self.temporary.extend(new);
        let mut counts = std::collections::BTreeMap::<Arc<str>, usize>::new();
        let mut kept: Vec<TempGruu> = Vec::with_capacity(self.temporary.len());
        for gruu in self.temporary.drain(..).rev() {
            let count = counts.entry(gruu.identity.clone()).or_default();
            *count += 1;
            if *count <= TEMP_GRUUS_MAX {
                kept.push(gruu);
            }
        }
        kept.reverse();
        self.temporary = kept;
    }
}

/// The instance of a contact as it stands in a `gr` parameter, if it can stand there.
#[must_use]
pub fn instance_of(contact: &NameAddr) -> Option<String> {
    let instance = contact.params.unquoted("+sip.instance")?;
    let inner = instance.trim().strip_prefix('<')?.strip_suffix('>')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'():[]/&+$%".contains(&byte);
    (!inner.is_empty() && inner.bytes().all(fits)).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(text: &str) -> NameAddr {
        NameAddr::parse(text).expect("an address")
    }

    /// S-REG-300
    #[test]
    fn the_public_gruu_is_the_identity_with_the_instance() {
        let contact = contact("<sip:10.0.0.1>;+sip.instance=\"<urn:uuid:0>\"");
        let gr = instance_of(&contact).expect("an instance").into();
        let gruus = Gruus { gr, temporary: Vec::new() };
        let of = |uri| gruus.public(&PublicIdentity::new(uri, false).expect("an identity"));
        assert_eq!(of("sip:a@h").as_deref(), Some("sip:a@h;gr=urn:uuid:0"));
        assert_eq!(of("tel:+1555"), None);
    }

    #[test]
    fn an_instance_that_is_no_parameter_value_has_no_gruu() {
        for instance in ["<>", "urn:x", "<a b>", "<a;b>", "<a>b>"] {
            let text = format!("<sip:10.0.0.1>;+sip.instance=\"{instance}\"");
            assert_eq!(instance_of(&contact(&text)), None, "{instance}");
        }
    }

    #[test]
    fn the_oldest_temporary_gruu_goes_first() {
        let mut gruus = Gruus { gr: "x".into(), temporary: Vec::new() };
        for first_cseq in 1..=20 {
            let uri = format!("sip:t{first_cseq}@h;gr").into();
            gruus.add(vec![TempGruu { identity: "sip:a@h".into(), uri, first_cseq }]);
        }
        assert_eq!(gruus.temporary.len(), TEMP_GRUUS_MAX);
        assert_eq!(gruus.temporary.first().map(|its| its.first_cseq), Some(5));
        assert_eq!(gruus.newest("sip:a@h").map(|its| its.first_cseq), Some(20));
    }
}
