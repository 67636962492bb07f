//! The policy function as values: what a P-CSCF asks before media flow, what it is answered and
//! what it is told of bearers (TS 24.229 §5.2.7.2, §5.2.8.1; TS 29.214 §4.4), and a policy function
//! of the lab that answers by rules. There is no Diameter Rx and no N5 here: the questions are
//! those of Rx, and a function that speaks it can stand in the place of this one.

mod function;
mod rules;

pub use function::{Function, Told};
pub use rules::{Conduct, Rules};

/// A session of which the policy function hears; the number is the P-CSCF's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicySession(pub u64);

/// What a P-CSCF asks of the policy function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRequest {
    /// The session.
    pub session: PolicySession,
    /// The private identity of the served user.
    pub who: String,
    /// What is wanted.
    pub wish: PolicyWish,
}

/// What is wanted of the policy function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyWish {
    /// Resources for these media: all of the session, also those that were there before.
    Authorize(Vec<MediaWish>),
    /// The session is over.
    End,
}

/// One medium of a session description, as far as policy looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MediaWish {
    /// `audio`, `video`, …
    pub kind: String,
    /// `b=AS` of the medium, else of the session, in kbit/s.
    pub as_kbps: Option<u64>,
    /// `b=RS`, RTCP of senders, in bit/s (RFC 3556).
    pub rs_bps: Option<u64>,
    /// `b=RR`, RTCP of receivers, in bit/s.
    pub rr_bps: Option<u64>,
}

/// What the policy function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyAnswer {
    /// The resources are granted (or the end of the session is noted).
    Granted,
    /// They are not.
    Refused {
        /// What would be granted for the whole session, in kbit/s.
        acceptable_kbps: Option<u64>,
    },
}

/// What the policy function tells without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyEvent {
    /// The bearers of a session are lost (TS 29.214 §4.4.6.1).
    BearerLost(PolicySession),
    /// The bearer of a user's signalling is lost (TS 29.214 §4.4.6.7).
    SignallingLost(String),
}
