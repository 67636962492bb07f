//! The user agent core (RFC 3261 §8, §13–§15): what a UE and an application server need alike, as
//! pure state machines. Knows no role and no TS 24.229; its owner adds those headers.

mod inspect;

pub use inspect::{Abilities, Refusal, inspect, media_type};
