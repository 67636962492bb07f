//! What an I-CSCF of a lab does where the standards leave it to the operator (TS 24.229 §5.3).

use super::lab::{choice, on_off};
use super::problem::Problems;
use super::tree::Reader;

/// The choices of an I-CSCF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryConfig {
    /// What a request for a user is answered whom nobody knows: 404, or 604 from a network that
    /// speaks for the whole domain (RFC 3261 §21.6.3).
    pub unknown_user: u16,
    /// Whether another S-CSCF is chosen when the assigned one is silent (TS 23.380 §4.3).
    pub restoration: bool,
    /// Whether requests for other domains are sent on (TS 24.229 §5.3.2.1: transit); else 404.
    pub transit: bool,
}

impl Default for EntryConfig {
    fn default() -> Self {
        Self { unknown_user: 404, restoration: false, transit: false }
    }
}

impl EntryConfig {
    pub(super) fn read(reader: &mut Reader<'_>, problems: &mut Problems) -> Self {
        Self {
            unknown_user: reader.or("unknown_user", 404, problems, |text| {
                choice(text, &[("404", 404), ("604", 604)])
            }),
            restoration: reader.or("restoration", false, problems, on_off),
            transit: reader.or("transit", false, problems, on_off),
        }
    }

    /// The keys that are not at their defaults, as they are read.
    pub(super) fn written(&self) -> String {
        let mut out = String::new();
        if self.unknown_user != 404 {
            out += &format!(", unknown_user: {}", self.unknown_user);
        }
        for (on, key) in [(self.restoration, "restoration"), (self.transit, "transit")] {
            if on {
                out += &format!(", {key}: on");
            }
        }
        out
    }
}
