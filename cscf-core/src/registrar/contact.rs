//! What a REGISTER wants done with its contacts (RFC 3261 §10.2, §10.3), checked against the limits
//! of the registrar.

use thiserror::Error;

use crate::sip::{Contacts, NameAddr, Request};
use crate::time::Duration;

/// Contacts that one REGISTER may carry; more is refused.
pub const CONTACTS_MAX: usize = 16;

/// How long a registration may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryLimits {
    /// Shorter wishes are refused with 423.
    pub min: Duration,
    /// Longer wishes are cut down to this.
    pub max: Duration,
    /// Granted where the UE wishes nothing.
    pub default: Duration,
    /// Whether wishes of an hour and more may be refused as too short, which RFC 3261 §10.3 does
    /// not allow but a conformance test may need.
    pub min_override: bool,
}

/// What a REGISTER wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// To see the bindings: there is no Contact.
    Fetch,
    /// To take all bindings away: `Contact: *` and `Expires: 0`.
    RemoveAll,
    /// To add, refresh or remove contacts, in this order.
    Update(Vec<ContactWish>),
}

/// What a REGISTER wants done with one contact.
#[derive(Clone, Debug, PartialEq)]
pub struct ContactWish {
    /// The address with its parameters.
    pub address: NameAddr,
    /// How long it shall be bound; zero removes it. Not more than the registrar allows.
    pub expires: Duration,
}

/// A Contact that cannot be granted; the bindings stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WishError {
    /// A Contact breaks the grammar: 400.
    #[error("{0}")]
    Malformed(String),
    /// `*` with another Contact or without `Expires: 0`: 400.
    #[error("Contact * with another Contact or an Expires that is not 0")]
    StarMisused,
    /// The interval is too brief: 423.
    #[error("{asked} s asked for, {min} s is the minimum")]
    TooBrief {
        /// What the UE wishes, in seconds.
        asked: u32,
        /// The least that is granted, in seconds.
        min: u32,
    },
    /// More contacts than [`CONTACTS_MAX`]: 400.
    #[error("more than {CONTACTS_MAX} contacts")]
    TooMany,
}

impl ContactWish {
    /// Whether it is about the binding of this address, see [`super::Bindings::find`].
    #[must_use]
    pub fn names(&self, contact: &super::BoundContact) -> bool {
        contact.is(&self.address)
    }
}

impl Wish {
    /// Reads the contacts of a REGISTER (RFC 3261 §10.3 steps 6 and 7).
    ///
    /// # Errors
    ///
    /// [`WishError`], the fault of the UE.
    pub fn read(request: &Request, limits: &ExpiryLimits) -> Result<Self, WishError> {
        let expires = request.expires();
        let contacts = request.contacts();
        let list = match contacts.map_err(|fault| WishError::Malformed(fault.to_string()))? {
            Contacts::Star if expires == Some(0) => return Ok(Self::RemoveAll),
            Contacts::Star => return Err(WishError::StarMisused),
            Contacts::List(list) if list.is_empty() => return Ok(Self::Fetch),
            Contacts::List(list) => list,
        };
        if list.len() > CONTACTS_MAX {
            return Err(WishError::TooMany);
        }
        let wishes = list.into_iter().map(|address| {
            let asked = address.expires().or(expires);
            Ok(ContactWish { expires: limits.grant(asked)?, address })
        });
        wishes.collect::<Result<_, _>>().map(Self::Update)
    }

    /// Whether one of the contacts is for emergency calls (TS 24.229 §7.2A.13).
    #[must_use]
    pub fn is_emergency(&self) -> bool {
        let Self::Update(list) = self else { return false };
        list.iter().any(|wish| wish.address.uri.params().has("sos"))
    }

    /// Whether it only takes bindings away.
    #[must_use]
    pub fn deregisters(&self) -> bool {
        match self {
            Self::Fetch => false,
            Self::RemoveAll => true,
            Self::Update(list) => list.iter().all(|wish| wish.expires.is_zero()),
        }
    }
}

impl ExpiryLimits {
    /// What is granted of the seconds asked for: zero stays zero, too much is cut, nothing becomes
    /// the default (RFC 3261 §10.3 step 7).
    ///
    /// # Errors
    ///
    /// [`WishError::TooBrief`]; an hour and more is only too brief with `min_override`.
    pub fn grant(&self, asked: Option<u32>) -> Result<Duration, WishError> {
        let Some(asked) = asked else { return Ok(self.default.min(self.max)) };
        let span = Duration::from_secs(asked.into());
        if asked > 0 && span < self.min && (asked < 3600 || self.min_override) {
            let min = u32::try_from(self.min.as_secs()).unwrap_or(u32::MAX);
            return Err(WishError::TooBrief { asked, min });
        }
        Ok(span.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{HeaderName, Method};

    const LIMITS: ExpiryLimits = ExpiryLimits {
        min: Duration::from_secs(60),
        max: Duration::from_secs(3600),
        default: Duration::from_secs(1800),
        min_override: false,
    };

    fn read(contacts: &[&str], expires: Option<&str>) -> Result<Wish, WishError> {
        let mut request = Request::new(Method::Register, "sip:ims.example");
        for contact in contacts {
            request.headers.push(HeaderName::Contact, contact);
        }
        if let Some(expires) = expires {
            request.headers.push(HeaderName::Expires, expires);
        }
        Wish::read(&request, &LIMITS)
    }

    fn granted(contacts: &[&str], expires: Option<&str>) -> Vec<u64> {
        match read(contacts, expires) {
            Ok(Wish::Update(list)) => list.iter().map(|wish| wish.expires.as_secs()).collect(),
            other => panic!("no update: {other:?}"),
        }
    }

    /// S-REG-130
    #[test]
    fn a_star_stands_alone_and_with_expires_zero() {
        assert_eq!(read(&["*"], Some("0")), Ok(Wish::RemoveAll));
        assert_eq!(read(&["*"], Some("60")), Err(WishError::StarMisused));
        assert_eq!(read(&["*"], None), Err(WishError::StarMisused));
        assert!(read(&["*", "<sip:a@b>"], Some("0")).is_err());
        assert_eq!(read(&[], Some("600")), Ok(Wish::Fetch));
    }

    /// S-REG-110, S-REG-120
    #[test]
    fn an_interval_is_cut_defaulted_or_too_brief() {
        assert_eq!(granted(&["<sip:a@b>;expires=600000"], None), [3600]);
        assert_eq!(granted(&["<sip:a@b>", "<sip:c@d>;expires=60"], Some("70")), [70, 60]);
        assert_eq!(granted(&["<sip:a@b>;expires=0"], Some("70")), [0]);
        assert_eq!(granted(&["<sip:a@b>"], None), [1800]);
        let brief = Err(WishError::TooBrief { asked: 59, min: 60 });
        assert_eq!(read(&["<sip:a@b>;expires=59"], Some("600")), brief);
    }

    #[test]
    fn an_hour_is_never_too_brief_unless_a_test_wants_it() {
        let week = Duration::from_secs(604_800);
        let limits = ExpiryLimits { min: week, max: week, ..LIMITS };
        assert_eq!(limits.grant(Some(3600)), Ok(Duration::from_secs(3600)));
        let strict = ExpiryLimits { min_override: true, ..limits };
        assert_eq!(
            strict.grant(Some(600_000)),
            Err(WishError::TooBrief { asked: 600_000, min: 604_800 })
        );
    }
}
