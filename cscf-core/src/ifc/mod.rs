//! The user profile that an HSS gives to an S-CSCF, and the initial filter criteria in it
//! (TS 29.228 §7.7, Annexes B and E): the model, its reading from XML, and the evaluation. Writing
//! it is the HSS's business.

mod evaluate;
mod expression;
mod kept;
mod model;
mod profile;

pub use evaluate::{Filter, Filters, Subject};
pub use expression::Expressions;
pub use kept::ProfileReader;
pub use model::{
    ApplicationServer, Condition, DefaultHandling, IdentityType, InitialFilterCriteria,
    ProfilePart, PublicIdentity, RegistrationType, ServicePointTrigger, ServiceProfile,
    SessionCase, TriggerPoint, UserProfile,
};
pub use profile::{PROFILE_MAX, ProfileError};
