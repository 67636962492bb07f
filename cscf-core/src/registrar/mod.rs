//! Registration state: bindings of contacts to an implicit registration set (RFC 3261 §10.3,
//! TS 24.229 §5.4.1.2.2), its published snapshots, and the reg-event document (RFC 3680).
//!
//! [`Bindings`] has one owner. Everybody else reads [`Registration`]s, immutable snapshots handed
//! out by [`Registrations`]. Authentication and Cx are the role's.

mod bindings;
mod bound;
mod contact;
mod gruu;
mod reginfo;
mod registration;
mod snapshots;

pub use bindings::{Bindings, Change, OutOfOrder, Source};
pub use bound::BoundContact;
pub use contact::{CONTACTS_MAX, ContactWish, ExpiryLimits, Wish, WishError};
pub use gruu::{Gruus, TEMP_GRUUS_MAX, TempGruu, instance_of};
pub use reginfo::{
    CONTENT_TYPE as REGINFO_CONTENT_TYPE, PROBATION_FOR, ReginfoDocument, escape as xml_text,
};
pub use registration::{
    Binding, ContactEvent, PublicIdentity, Registration, Service, identity_key, number_key,
};
pub use snapshots::Registrations;
