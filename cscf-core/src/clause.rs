//! Names of clauses, so that each decision can say where it stands written.

use std::fmt;

/// A clause of a standard, e.g. `TS 24.229 §5.3.1.2` or `RFC 3261 §16.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clause {
    /// The document, e.g. `TS 24.229`.
    pub document: &'static str,
    /// The section, e.g. `5.3.1.2`; empty for the project's own rules.
    pub section: &'static str,
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.section.is_empty() {
            f.write_str(self.document)
        } else {
            write!(f, "{} §{}", self.document, self.section)
        }
    }
}

macro_rules! documents {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        $($(#[$doc])* #[must_use] pub const fn $name(section: &'static str) -> Clause {
            Clause { document: $text, section }
        })*
    };
}

documents! {
    /// IP multimedia call control protocol based on SIP and SDP; stage 3.
    ts24229 = "TS 24.229",
    /// Cx and Dx interfaces; signalling flows and message contents.
    ts29228 = "TS 29.228",
    /// Cx and Dx interfaces; Diameter protocol details.
    ts29229 = "TS 29.229",
    /// Communication diversion (CDIV).
    ts24604 = "TS 24.604",
    /// Anonymous communication rejection (ACR) and communication barring (CB).
    ts24611 = "TS 24.611",
    /// Presence service using the IM CN subsystem.
    ts24141 = "TS 24.141",
    /// SMS over IP networks.
    ts24341 = "TS 24.341",
    /// Short message service: relay layer.
    ts24011 = "TS 24.011",
    /// Short message service: transfer layer.
    ts23040 = "TS 23.040",
    /// Security architecture of 3G.
    ts33102 = "TS 33.102",
    /// IMS restoration procedures.
    ts23380 = "TS 23.380",
    /// Access security for IP-based services.
    ts33203 = "TS 33.203",
    /// IP multimedia session handling; IM call model; stage 2.
    ts23218 = "TS 23.218",
    /// Numbering, addressing and identification.
    ts23003 = "TS 23.003",
    /// Media handling and interaction of multimedia telephony.
    ts26114 = "TS 26.114",
    /// Codec for Enhanced Voice Services (EVS).
    ts26445 = "TS 26.445",
    /// IMS profile for voice and SMS (GSMA).
    ir92 = "IR.92",
    /// SIP.
    rfc3261 = "RFC 3261",
    /// Reliability of provisional responses.
    rfc3262 = "RFC 3262",
    /// Locating SIP servers.
    rfc3263 = "RFC 3263",
    /// Offer/answer model with SDP.
    rfc3264 = "RFC 3264",
    /// The UPDATE method.
    rfc3311 = "RFC 3311",
    /// Integration of resource management and SIP (preconditions).
    rfc3312 = "RFC 3312",
    /// Privacy.
    rfc3323 = "RFC 3323",
    /// Asserted identity.
    rfc3325 = "RFC 3325",
    /// The Path header field.
    rfc3327 = "RFC 3327",
    /// Digest AKA.
    rfc3310 = "RFC 3310",
    /// Security mechanism agreement.
    rfc3329 = "RFC 3329",
    /// The MESSAGE method.
    rfc3428 = "RFC 3428",
    /// The REFER method.
    rfc3515 = "RFC 3515",
    /// Symmetric response routing (rport).
    rfc3581 = "RFC 3581",
    /// The Service-Route header field.
    rfc3608 = "RFC 3608",
    /// A SIP event package for registrations.
    rfc3680 = "RFC 3680",
    /// A presence event package.
    rfc3856 = "RFC 3856",
    /// Event state publication.
    rfc3903 = "RFC 3903",
    /// The tel URI.
    rfc3966 = "RFC 3966",
    /// The Replaces header field.
    rfc3891 = "RFC 3891",
    /// Session timers.
    rfc4028 = "RFC 4028",
    /// Issues of non-INVITE transactions.
    rfc4320 = "RFC 4320",
    /// Authorization by a dialog (Target-Dialog).
    rfc4538 = "RFC 4538",
    /// RTP payload for DTMF digits.
    rfc4733 = "RFC 4733",
    /// RTP payload format of AMR and AMR-WB.
    rfc4867 = "RFC 4867",
    /// The URN of emergency services.
    rfc5031 = "RFC 5031",
    /// Loop detection and Max-Breadth.
    rfc5393 = "RFC 5393",
    /// Client-initiated connections (outbound).
    rfc5626 = "RFC 5626",
    /// The use of the SIPS URI scheme.
    rfc5630 = "RFC 5630",
    /// Offering and asking for keep-alives (the Via parameter `keep`).
    rfc6223 = "RFC 6223",
    /// Correct transaction handling for 2xx to INVITE.
    rfc6026 = "RFC 6026",
    /// Location conveyance.
    rfc6442 = "RFC 6442",
    /// INFO and its packages.
    rfc6086 = "RFC 6086",
    /// The end of an early dialog (199).
    rfc6228 = "RFC 6228",
    /// Events.
    rfc6665 = "RFC 6665",
    /// Diameter base protocol.
    rfc6733 = "RFC 6733",
    /// Digest access authentication.
    rfc7616 = "RFC 7616",
    /// Session-ID.
    rfc7989 = "RFC 7989",
    /// SIP digest with further algorithms.
    rfc8760 = "RFC 8760",
    /// SDP.
    rfc8866 = "RFC 8866",
}

/// A rule of this emulator's own, where the standards leave the choice; `section` names it.
#[must_use]
pub const fn own(section: &'static str) -> Clause {
    Clause { document: "cscf", section }
}
