//! The body by which a P-CSCF sends a UE another way (TS 24.229 §7.6).

use std::fmt;

use cscf_core::sip::Response;

/// Where a UE is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alternative {
    /// `emergency` or `restoration`.
    pub(crate) kind: &'static str,
    /// Why, for its user. Plain text without markup.
    pub(crate) reason: &'static str,
    /// What it shall do; none: it takes another domain.
    pub(crate) action: Option<&'static str>,
}

impl Alternative {
    /// The S-CSCF is silent: the UE registers anew (TS 24.229 §5.2.6.3.1).
    pub(crate) const RESTORATION: Self = Self {
        kind: "restoration",
        reason: "no answer from the S-CSCF",
        action: Some("initial-registration"),
    };

    /// An emergency call: after a registration for it, or elsewhere (TS 24.229 §5.2.10.4).
    pub(crate) const fn emergency(reason: &'static str, registers: bool) -> Self {
        let action = if registers { Some("emergency-registration") } else { None };
        Self { kind: "emergency", reason, action }
    }

    /// Puts the document into a response.
    pub(crate) fn put(&self, response: &mut Response) {
        response.set_body("application/3gpp-ims+xml", self.to_string());
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, reason, action } = self;
        write!(
            f,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
             <ims-3gpp version=\"1\"><alternative-service><type>{kind}</type>\
             <reason>{reason}</reason>"
        )?;
        if let Some(action) = action {
            write!(f, "<action>{action}</action>")?;
        }
        f.write_str("</alternative-service></ims-3gpp>\r\n")
    }
}
