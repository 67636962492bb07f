//! The user agent core (RFC 3261 §8, §13–§15): what a UE and an application server need alike, as
//! pure state machines. Knows no role and no TS 24.229; its owner adds those headers.

mod accepted;
mod formats;
mod inspect;
mod media;
mod offer;
mod precondition;
mod reliable;
mod session;
mod subscriber;
mod video;

pub use accepted::{Accepted, after_glare, retry_after_pending};
pub use inspect::{Abilities, Refusal, inspect, media_type};
pub use media::{Codec, Media, MediaError, MediaPlan};
pub use offer::{Carrier, Exchange, Untimely};
pub use precondition::{Directions, Preconditions, Segment, Strength};
pub use reliable::{Received, ReliableReceiver, ReliableSender, Resend, UnmatchedPrack};
pub use session::{
    Effect, Habits, RequestId, ResourcePolicy, Session, SessionEvent, SessionPhase,
    SessionSettings, Turn,
};
pub use subscriber::{Resubscribe, timer_n};
pub use video::VideoPlan;
