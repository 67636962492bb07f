//! One implicit registration set as everybody but its owner sees it: identities and bindings, fixed
//! at one point in time.

use std::sync::Arc;

use super::bound::BoundContact;
use super::gruu::Gruus;
use crate::identity::{Impu, Wildcard};
use crate::ifc::Filters;
use crate::sip::Uri;
use crate::time::Instant;

/// A public user identity of a subscription. A copy shares its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicIdentity {
    /// The URI as the HSS has it.
    pub uri: Arc<str>,
    /// The form it is looked up by, see [`identity_key`]; mostly the same text.
    pub key: Arc<str>,
    /// Whether it is good for nothing but registering (TS 23.003 §13.4B).
    pub barred: bool,
    /// Whether it is an expression that stands for many identities (TS 23.003 §13.4A): it is never
    /// shown.
    pub wildcarded: bool,
}

impl PublicIdentity {
    /// An identity of the user profile; `None` if the text is neither a SIP or tel URI nor a
    /// wildcarded identity, which is its own key.
    #[must_use]
    pub fn new(uri: &str, barred: bool) -> Option<Self> {
        let wildcarded = Wildcard::is_meant(uri);
        let key = if wildcarded { uri.to_owned() } else { identity_key(&Uri::parse(uri).ok()?)? };
        let text: Arc<str> = uri.into();
        let key = if key == uri { Arc::clone(&text) } else { key.into() };
        Some(Self { uri: text, key, barred, wildcarded })
    }

    /// Whether others may see it: it is neither barred nor wildcarded
    /// (TS 24.229 §5.4.1.2.2F).
    #[must_use]
    pub const fn is_shown(&self) -> bool {
        !self.barred && !self.wildcarded
    }

    /// Whether it is a telephone number.
    #[must_use]
    pub fn is_tel(&self) -> bool {
        self.key.starts_with("tel:")
    }

    /// The digits, if it is a global number in either form.
    #[must_use]
    pub fn number(&self) -> Option<&str> {
        let rest = self.key.split_once(':').map_or("", |(_, rest)| rest);
        let user = rest.split('@').next().unwrap_or(rest);
        user.strip_prefix('+').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

/// Brings an identity into the form in which it is compared, see [`Impu`]; `None` for other schemes
/// and SIP URIs without user.
#[must_use]
pub fn identity_key(uri: &Uri) -> Option<String> {
    let known = uri.is_sip() || uri.is_tel();
    known.then(|| Impu::from_uri(uri).ok().map(Impu::into_string)).flatten()
}

/// The key of the tel URI that a SIP URI with `user=phone` stands for (TS 24.229 §5.3.2.1).
#[must_use]
pub fn number_key(uri: &Uri) -> Option<String> {
    uri.param("user").filter(|value| value.eq_ignore_ascii_case("phone"))?;
    let key = Impu::from_uri(uri).ok().filter(|key| !key.is_tel())?;
    key.to_tel().map(|key| key.to_string())
}

/// What last happened to a contact (RFC 3680 §4.7, §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContactEvent {
    /// Bound implicitly, with another identity of the set.
    Created,
    /// Taken away by the network; the UE shall register anew.
    Deactivated,
    /// Its time ran out.
    Expired,
    /// Taken away by the network; the UE shall try again later.
    Probation,
    /// Its time was extended.
    Refreshed,
    /// Bound by a REGISTER.
    Registered,
    /// Taken away by the network; the UE shall not come back by itself.
    Rejected,
    /// Its time was cut by the network.
    Shortened,
    /// Taken away by a REGISTER.
    Unregistered,
}

impl ContactEvent {
    /// The value in the reg-event document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deactivated => "deactivated",
            Self::Expired => "expired",
            Self::Probation => "probation",
            Self::Refreshed => "refreshed",
            Self::Registered => "registered",
            Self::Rejected => "rejected",
            Self::Shortened => "shortened",
            Self::Unregistered => "unregistered",
        }
    }
}

/// A contact bound to all identities of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// A number never used again in this set.
    pub id: u64,
    /// The private identity that registered it.
    pub impi: Arc<str>,
    /// The key of the identity it was registered with; the others of the set came implicitly.
    pub registered_with: Arc<str>,
    /// The address; of its parameters `expires` is left out.
    pub contact: BoundContact,
    /// Preference in thousandths.
    pub q: u16,
    /// When it ends.
    pub expires_at: Instant,
    /// The Path of its REGISTER, topmost first, each in angle brackets (RFC 3327 §5.3).
    pub path: Box<[Box<str>]>,
    /// Call-ID of its last REGISTER.
    pub call_id: Box<str>,
    /// Sequence number of its last REGISTER.
    pub cseq: u32,
    /// The user part of the Service-Route given for it.
    pub token: Arc<str>,
    /// What last happened to it.
    pub event: ContactEvent,
    /// The GRUUs of its instance, shared by all flows of the instance.
    pub gruus: Option<Arc<Gruus>>,
}

impl Binding {
    /// Seconds until it ends, rounded up: what was granted is told a moment later, too.
    #[must_use]
    pub fn expires_in(&self, now: Instant) -> u64 {
        let left = self.expires_at.since(now);
        left.as_secs() + u64::from(left.subsec_nanos() > 0)
    }

    /// The instance and flow, if it was registered as a flow (RFC 5626 §6).
    #[must_use]
    pub fn flow(&self) -> Option<(String, String)> {
        self.contact.flow()
    }

    /// Whether it was registered for emergency calls (TS 24.229 §7.2A.13).
    #[must_use]
    pub const fn is_emergency(&self) -> bool {
        self.contact.is_emergency()
    }
}

/// What the network does for some identities of a user (TS 29.228 §B.2.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The identities that it serves, in order; the list of the set if it serves all of them.
    pub identities: Arc<[PublicIdentity]>,
    /// Which application servers take part.
    pub filters: Filters,
    /// The media that the user has subscribed to, by number (TS 29.228 §B.2.1A).
    pub media_profile: Option<u32>,
}

/// An implicit registration set: identities registered together, and their contacts
/// (TS 23.228 §5.2.1a).
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// All identities in the order of the profile, barred ones too; the owner has the same list.
    pub identities: Arc<[PublicIdentity]>,
    /// Those of them that stand for many (TS 23.003 §13.4A).
    pub wildcards: Box<[Wildcard]>,
    /// The contacts, in the order in which they came; the owner has the same list.
    pub bindings: Arc<[Binding]>,
    /// Where charging data goes: the primary charging collection function.
    pub charging_ccf: Option<Box<str>>,
    /// The service profiles, in the order of the user profile.
    pub services: Arc<[Service]>,
}

impl Registration {
    /// The identity looked up by this key: itself, else the wildcarded one that stands for it.
    #[must_use]
    pub fn identity(&self, key: &str) -> Option<&PublicIdentity> {
        let listed = |key: &str| self.identities.iter().find(|identity| *identity.key == *key);
        listed(key).or_else(|| {
            let wildcard = self.wildcards.iter().find(|its| its.stands_for(key))?;
            listed(wildcard.as_str())
        })
    }

    /// The service profile of the identity with this key.
    #[must_use]
    pub fn service(&self, key: &str) -> Option<&Service> {
        let key = &self.identity(key)?.key;
        self.services.iter().find(|service| service.identities.iter().any(|its| its.key == *key))
    }

    /// The identities that others may see, the default one first (TS 24.229 §5.4.1.2.2F).
    pub fn associated(&self) -> impl Iterator<Item = &PublicIdentity> {
        self.identities.iter().filter(|identity| identity.is_shown())
    }

    /// The identity that stands for the user where nothing better is known.
    #[must_use]
    pub fn default_identity(&self) -> Option<&PublicIdentity> {
        self.associated().next()
    }

    /// The other form, tel or SIP, of this identity: the one with the same number, else the first
    /// of the other form (TS 24.229 §5.4.3.2).
    #[must_use]
    pub fn alias(&self, of: &PublicIdentity) -> Option<&PublicIdentity> {
        let other_form = || self.associated().filter(|other| other.is_tel() != of.is_tel());
        match of.number() {
            Some(number) => other_form().find(|other| other.number() == Some(number)),
            None => other_form().find(|other| other.is_tel()),
        }
    }

    /// The contacts that have not ended.
    pub fn active(&self, now: Instant) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(move |binding| binding.expires_at > now)
    }

    /// The contacts that a GRUU stands for, whether or not they have ended; `None` if the URI is no
    /// GRUU of this set (RFC 5627 §5.4).
    #[must_use]
    pub fn of_gruu(&self, uri: &Uri) -> Option<Vec<&Binding>> {
        let gr = uri.param("gr")?;
        let temporary = |gruus: &Gruus| {
            let key = identity_key(uri);
            gruus.temporary.iter().any(|its| {
                let its = Uri::parse(&its.uri).ok();
                its.is_some_and(|its| identity_key(&its) == key)
            })
        };
        let named = |binding: &&Binding| {
            let gruus = binding.gruus.as_deref();
            gruus.is_some_and(|its| if gr.is_empty() { temporary(its) } else { *its.gr == *gr })
        };
        Some(self.bindings.iter().filter(named).collect())
    }

    /// The contact whose Service-Route has this user part.
    #[must_use]
    pub fn by_token(&self, token: &str) -> Option<&Binding> {
        self.bindings.iter().find(|binding| *binding.token == *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<String> {
        identity_key(&Uri::parse(text).expect("a URI"))
    }

    /// G-ID-030
    #[test]
    fn parameters_ports_separators_and_escapes_do_not_make_another_identity() {
        let user = Some("sip:User@home.example".to_owned());
        assert_eq!(key("sip:User@Home.Example:5060;transport=udp?a=b"), user);
        assert_eq!(key("sip:%55ser@home.example"), user);
        assert_ne!(key("sip:user@home.example"), user);
        assert_eq!(key("tel:+1-555.0100"), key("tel:+15550100;phone-context=x"));
        let phone = key("sip:+15550100@home.example;user=phone");
        assert_eq!(key("sip:+1-555-0100;isub=1@home.example;user=phone"), phone);
        assert_eq!(key("sip:home.example"), None);
        assert_eq!(key("urn:service:sos"), None);
    }

    /// S-ORI-110
    #[test]
    fn the_alias_is_the_same_number_in_the_other_form() {
        let identity = |uri: &str| PublicIdentity::new(uri, false).expect("an identity");
        let set = Registration {
            wildcards: Box::new([]),
            identities: Arc::new([
                identity("sip:alice@home.example"),
                identity("tel:+15550101"),
                identity("sip:+15550102@home.example;user=phone"),
                identity("tel:+15550102"),
            ]),
            bindings: Arc::new([]),
            charging_ccf: None,
            services: Arc::new([]),
        };
        let alias = |at: usize| set.alias(&set.identities[at]).map(|other| &*other.uri);
        assert_eq!(alias(0), Some("tel:+15550101"));
        assert_eq!(alias(2), Some("tel:+15550102"));
        assert_eq!(alias(3), Some("sip:+15550102@home.example;user=phone"));
        assert_eq!(alias(1), None);
    }
}
