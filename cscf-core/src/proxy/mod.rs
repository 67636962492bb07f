//! The proxy core (RFC 3261 §16): response contexts, the checks and repairs of a received request,
//! and the steps of forwarding it. Knows no role; transactions and flows are joined to it by the
//! engine.

mod best;
mod breadth;
mod context;
mod forward;
mod loops;
#[cfg(test)]
mod programs;
mod route;
#[cfg(test)]
mod tables;

pub use best::Candidates;
pub use breadth::{MAX_BREADTH, max_breadth, set_max_breadth};
pub use context::{
    BranchNumber, BranchRefused, ContextAction, ContextSettings, ResponseContext, TIMER_C,
};
pub use forward::{
    add_record_route, ensure_content_length, lower_max_forwards, post_process_routes, push_via,
};
pub use loops::{LoopGuard, Passage};
pub use route::{Preprocessed, Refusal, SCHEMES, preprocess, validate};
