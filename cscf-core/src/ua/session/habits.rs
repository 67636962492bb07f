//! What differs from one user of a user agent to the next, within the rules or against them.

use crate::dialog::Refresher;

/// How an end uses its freedom in a session, and what it does wrong on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habits {
    /// The info packages it takes (RFC 6086 §4.2); none: it names none, and INFO is that of old.
    pub packages: Vec<String>,
    /// Whether it calls on where a 300, 301 or 302 sends it (RFC 3261 §8.1.3.4).
    pub follows_redirects: bool,
    /// Whether it calls again with what the body of a 488 allows (TS 24.229 §5.1.3.1).
    pub lowers_offer: bool,
    /// Who is to refresh the session, in its own requests (RFC 4028 §7.1).
    pub refresher: Refresher,
    /// A mistake for tests: INFO and re-INVITE with a CSeq of the past.
    pub old_cseq: bool,
    /// A mistake for tests: INFO of packages that the peer does not take.
    pub unwanted_package: bool,
    /// A mistake for tests: PRACK for a response that never was.
    pub wrong_rack: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            packages: Vec::new(),
            follows_redirects: false,
            lowers_offer: true,
            refresher: Refresher::Uac,
            old_cseq: false,
            unwanted_package: false,
            wrong_rack: false,
        }
    }
}
