//! Names, codes and flags: commands, applications, result codes and AVPs of the base protocol
//! (RFC 6733 §3.1, §4.5, §7.1) and of Cx (TS 29.229 §6.1, table 6.3.0.1).
//!
//! The M bit of what we send stands here, exactly as the tables say; what we receive is known by
//! code and vendor, whatever its flags.

use std::fmt;

/// The vendor number of 3GPP (TS 29.229 §6).
pub const VENDOR_3GPP: u32 = 10415;
/// The Diameter application Cx/Dx (TS 29.229 §6).
pub const APPLICATION_CX: u32 = 16_777_216;
/// The application of the base protocol's own messages (RFC 6733 §2.4).
pub const APPLICATION_COMMON: u32 = 0;
/// What a relay agent advertises: every application (RFC 6733 §2.4).
pub const APPLICATION_RELAY: u32 = 0xffff_ffff;
/// The port of Diameter over TCP (RFC 6733 §2.1).
pub const PORT: u16 = 3868;

macro_rules! commands {
    ($($name:ident = $code:literal, $short:literal, $text:literal;)*) => {
        $(#[doc = concat!($text, ", `", $short, "R` and `", $short, "A`.")]
        pub const $name: u32 = $code;)*

        /// The short name of a command as it stands in a ladder: `UAR`, `UAA`.
        #[must_use]
        pub const fn command_name(code: u32, request: bool) -> Option<&'static str> {
            match (code, request) {
                $(($code, true) => Some(concat!($short, "R")),
                ($code, false) => Some(concat!($short, "A")),)*
                _ => None,
            }
        }
    };
}

commands! {
    CAPABILITIES_EXCHANGE = 257, "CE", "Capabilities-Exchange (RFC 6733 §5.3)";
    DEVICE_WATCHDOG = 280, "DW", "Device-Watchdog (RFC 6733 §5.5)";
    DISCONNECT_PEER = 282, "DP", "Disconnect-Peer (RFC 6733 §5.4)";
    USER_AUTHORIZATION = 300, "UA", "User-Authorization (TS 29.229 §6.1.1)";
    SERVER_ASSIGNMENT = 301, "SA", "Server-Assignment (TS 29.229 §6.1.3)";
    LOCATION_INFO = 302, "LI", "Location-Info (TS 29.229 §6.1.5)";
    MULTIMEDIA_AUTH = 303, "MA", "Multimedia-Auth (TS 29.229 §6.1.7)";
    REGISTRATION_TERMINATION = 304, "RT", "Registration-Termination (TS 29.229 §6.1.9)";
    PUSH_PROFILE = 305, "PP", "Push-Profile (TS 29.229 §6.1.11)";
}

/// Result codes of the base protocol that we send (RFC 6733 §7.1).
pub mod result {
    /// The request succeeded.
    pub const SUCCESS: u32 = 2001;
    /// The command is not known.
    pub const COMMAND_UNSUPPORTED: u32 = 3001;
    /// The message cannot be delivered.
    pub const UNABLE_TO_DELIVER: u32 = 3002;
    /// The realm is not ours.
    pub const REALM_NOT_SERVED: u32 = 3003;
    /// The node cannot serve the request now.
    pub const TOO_BUSY: u32 = 3004;
    /// The application is not known.
    pub const APPLICATION_UNSUPPORTED: u32 = 3007;
    /// The header flags contradict each other.
    pub const INVALID_HDR_BITS: u32 = 3008;
    /// An AVP that we must understand is not known.
    pub const AVP_UNSUPPORTED: u32 = 5001;
    /// The user may not.
    pub const AUTHORIZATION_REJECTED: u32 = 5003;
    /// The value of an AVP is wrong.
    pub const INVALID_AVP_VALUE: u32 = 5004;
    /// An AVP that must be there is not.
    pub const MISSING_AVP: u32 = 5005;
    /// An AVP is there that must not be.
    pub const AVP_NOT_ALLOWED: u32 = 5008;
    /// An AVP is there too often.
    pub const AVP_OCCURS_TOO_MANY_TIMES: u32 = 5009;
    /// The peers share no application.
    pub const NO_COMMON_APPLICATION: u32 = 5010;
    /// The version is not 1.
    pub const UNSUPPORTED_VERSION: u32 = 5011;
    /// Any other reason.
    pub const UNABLE_TO_COMPLY: u32 = 5012;
    /// The length of an AVP is wrong.
    pub const INVALID_AVP_LENGTH: u32 = 5014;
    /// The length of the message is wrong.
    pub const INVALID_MESSAGE_LENGTH: u32 = 5015;
    /// The peers share no security mechanism.
    pub const NO_COMMON_SECURITY: u32 = 5017;
}

/// What the data of an AVP are (RFC 6733 §4.2, §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address family and an address.
    Address,
    /// A number with names.
    Enumerated,
    /// AVPs.
    Grouped,
    /// Bytes.
    Octets,
    /// UTF-8 (also `DiameterIdentity` and `DiameterURI`).
    Text,
    /// Four bytes.
    Unsigned32,
}

/// One row of the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// AVP code.
    pub code: u32,
    /// Vendor number, 0 for the base protocol.
    pub vendor: u32,
    /// Name as the standards write it.
    pub name: &'static str,
    /// What the data are.
    pub kind: Kind,
    /// Whether we set the M bit.
    pub mandatory: bool,
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! avps {
    ($($name:ident = $code:literal $vendor:expr, $text:literal $kind:ident $must:literal;)*) => {
        $(#[doc = concat!("The AVP ", $text, ".")]
        pub const $name: Definition = Definition {
            code: $code, vendor: $vendor, name: $text, kind: Kind::$kind, mandatory: $must,
        };)*

        /// All AVPs we know, base protocol first.
        pub const ALL: &[Definition] = &[$($name),*];
    };
}

avps! {
    // RFC 6733 §4.5, and the AVPs of RFC 4740 and RFC 7155 that TS 29.229 reuses.
    USER_NAME = 1 0, "User-Name" Text true;
    FRAMED_IP_ADDRESS = 8 0, "Framed-IP-Address" Octets true;
    PROXY_STATE = 33 0, "Proxy-State" Octets true;
    EVENT_TIMESTAMP = 55 0, "Event-Timestamp" Octets true;
    FRAMED_IPV6_PREFIX = 97 0, "Framed-IPv6-Prefix" Octets true;
    DIGEST_REALM = 104 0, "Digest-Realm" Text true;
    DIGEST_QOP = 110 0, "Digest-QoP" Text true;
    DIGEST_ALGORITHM = 111 0, "Digest-Algorithm" Text true;
    DIGEST_HA1 = 121 0, "Digest-HA1" Text true;
    HOST_IP_ADDRESS = 257 0, "Host-IP-Address" Address true;
    AUTH_APPLICATION_ID = 258 0, "Auth-Application-Id" Unsigned32 true;
    ACCT_APPLICATION_ID = 259 0, "Acct-Application-Id" Unsigned32 true;
    VENDOR_SPECIFIC_APPLICATION_ID = 260 0, "Vendor-Specific-Application-Id" Grouped true;
    SESSION_ID = 263 0, "Session-Id" Text true;
    ORIGIN_HOST = 264 0, "Origin-Host" Text true;
    SUPPORTED_VENDOR_ID = 265 0, "Supported-Vendor-Id" Unsigned32 true;
    VENDOR_ID = 266 0, "Vendor-Id" Unsigned32 true;
    FIRMWARE_REVISION = 267 0, "Firmware-Revision" Unsigned32 false;
    RESULT_CODE = 268 0, "Result-Code" Unsigned32 true;
    PRODUCT_NAME = 269 0, "Product-Name" Text false;
    DISCONNECT_CAUSE = 273 0, "Disconnect-Cause" Enumerated true;
    AUTH_SESSION_STATE = 277 0, "Auth-Session-State" Enumerated true;
    ORIGIN_STATE_ID = 278 0, "Origin-State-Id" Unsigned32 true;
    FAILED_AVP = 279 0, "Failed-AVP" Grouped true;
    PROXY_HOST = 280 0, "Proxy-Host" Text true;
    ERROR_MESSAGE = 281 0, "Error-Message" Text false;
    ROUTE_RECORD = 282 0, "Route-Record" Text true;
    DESTINATION_REALM = 283 0, "Destination-Realm" Text true;
    PROXY_INFO = 284 0, "Proxy-Info" Grouped true;
    DESTINATION_HOST = 293 0, "Destination-Host" Text true;
    ERROR_REPORTING_HOST = 294 0, "Error-Reporting-Host" Text false;
    ORIGIN_REALM = 296 0, "Origin-Realm" Text true;
    EXPERIMENTAL_RESULT = 297 0, "Experimental-Result" Grouped true;
    EXPERIMENTAL_RESULT_CODE = 298 0, "Experimental-Result-Code" Unsigned32 true;
    INBAND_SECURITY_ID = 299 0, "Inband-Security-Id" Unsigned32 true;
    // TS 29.229 table 6.3.0.1.
    VISITED_NETWORK_IDENTIFIER = 600 VENDOR_3GPP, "Visited-Network-Identifier" Octets true;
    PUBLIC_IDENTITY = 601 VENDOR_3GPP, "Public-Identity" Text true;
    SERVER_NAME = 602 VENDOR_3GPP, "Server-Name" Text true;
    SERVER_CAPABILITIES = 603 VENDOR_3GPP, "Server-Capabilities" Grouped true;
    MANDATORY_CAPABILITY = 604 VENDOR_3GPP, "Mandatory-Capability" Unsigned32 true;
    OPTIONAL_CAPABILITY = 605 VENDOR_3GPP, "Optional-Capability" Unsigned32 true;
    USER_DATA = 606 VENDOR_3GPP, "User-Data" Octets true;
    SIP_NUMBER_AUTH_ITEMS = 607 VENDOR_3GPP, "SIP-Number-Auth-Items" Unsigned32 true;
    SIP_AUTHENTICATION_SCHEME = 608 VENDOR_3GPP, "SIP-Authentication-Scheme" Text true;
    SIP_AUTHENTICATE = 609 VENDOR_3GPP, "SIP-Authenticate" Octets true;
    SIP_AUTHORIZATION = 610 VENDOR_3GPP, "SIP-Authorization" Octets true;
    SIP_AUTHENTICATION_CONTEXT = 611 VENDOR_3GPP, "SIP-Authentication-Context" Octets true;
    SIP_AUTH_DATA_ITEM = 612 VENDOR_3GPP, "SIP-Auth-Data-Item" Grouped true;
    SIP_ITEM_NUMBER = 613 VENDOR_3GPP, "SIP-Item-Number" Unsigned32 true;
    SERVER_ASSIGNMENT_TYPE = 614 VENDOR_3GPP, "Server-Assignment-Type" Enumerated true;
    DEREGISTRATION_REASON = 615 VENDOR_3GPP, "Deregistration-Reason" Grouped true;
    REASON_CODE = 616 VENDOR_3GPP, "Reason-Code" Enumerated true;
    REASON_INFO = 617 VENDOR_3GPP, "Reason-Info" Text true;
    CHARGING_INFORMATION = 618 VENDOR_3GPP, "Charging-Information" Grouped true;
    PRIMARY_EVENT_CHARGING_FUNCTION_NAME =
        619 VENDOR_3GPP, "Primary-Event-Charging-Function-Name" Text true;
    SECONDARY_EVENT_CHARGING_FUNCTION_NAME =
        620 VENDOR_3GPP, "Secondary-Event-Charging-Function-Name" Text true;
    PRIMARY_CHARGING_COLLECTION_FUNCTION_NAME =
        621 VENDOR_3GPP, "Primary-Charging-Collection-Function-Name" Text true;
    SECONDARY_CHARGING_COLLECTION_FUNCTION_NAME =
        622 VENDOR_3GPP, "Secondary-Charging-Collection-Function-Name" Text true;
    USER_AUTHORIZATION_TYPE = 623 VENDOR_3GPP, "User-Authorization-Type" Enumerated true;
    USER_DATA_ALREADY_AVAILABLE = 624 VENDOR_3GPP, "User-Data-Already-Available" Enumerated true;
    CONFIDENTIALITY_KEY = 625 VENDOR_3GPP, "Confidentiality-Key" Octets true;
    INTEGRITY_KEY = 626 VENDOR_3GPP, "Integrity-Key" Octets true;
    SUPPORTED_FEATURES = 628 VENDOR_3GPP, "Supported-Features" Grouped false;
    FEATURE_LIST_ID = 629 VENDOR_3GPP, "Feature-List-ID" Unsigned32 false;
    FEATURE_LIST = 630 VENDOR_3GPP, "Feature-List" Unsigned32 false;
    SUPPORTED_APPLICATIONS = 631 VENDOR_3GPP, "Supported-Applications" Grouped false;
    ASSOCIATED_IDENTITIES = 632 VENDOR_3GPP, "Associated-Identities" Grouped false;
    ORIGINATING_REQUEST = 633 VENDOR_3GPP, "Originating-Request" Enumerated true;
    WILDCARDED_PUBLIC_IDENTITY = 634 VENDOR_3GPP, "Wildcarded-Public-Identity" Text false;
    SIP_DIGEST_AUTHENTICATE = 635 VENDOR_3GPP, "SIP-Digest-Authenticate" Grouped false;
    WILDCARDED_IMPU = 636 VENDOR_3GPP, "Wildcarded-IMPU" Text false;
    UAR_FLAGS = 637 VENDOR_3GPP, "UAR-Flags" Unsigned32 false;
    LOOSE_ROUTE_INDICATION = 638 VENDOR_3GPP, "Loose-Route-Indication" Enumerated false;
    SCSCF_RESTORATION_INFO = 639 VENDOR_3GPP, "SCSCF-Restoration-Info" Grouped false;
    PATH = 640 VENDOR_3GPP, "Path" Octets false;
    CONTACT = 641 VENDOR_3GPP, "Contact" Octets false;
    SUBSCRIPTION_INFO = 642 VENDOR_3GPP, "Subscription-Info" Grouped false;
    CALL_ID_SIP_HEADER = 643 VENDOR_3GPP, "Call-ID-SIP-Header" Octets false;
    FROM_SIP_HEADER = 644 VENDOR_3GPP, "From-SIP-Header" Octets false;
    TO_SIP_HEADER = 645 VENDOR_3GPP, "To-SIP-Header" Octets false;
    RECORD_ROUTE = 646 VENDOR_3GPP, "Record-Route" Octets false;
    ASSOCIATED_REGISTERED_IDENTITIES =
        647 VENDOR_3GPP, "Associated-Registered-Identities" Grouped false;
    MULTIPLE_REGISTRATION_INDICATION =
        648 VENDOR_3GPP, "Multiple-Registration-Indication" Enumerated false;
    RESTORATION_INFO = 649 VENDOR_3GPP, "Restoration-Info" Grouped false;
    SESSION_PRIORITY = 650 VENDOR_3GPP, "Session-Priority" Enumerated false;
    IDENTITY_WITH_EMERGENCY_REGISTRATION =
        651 VENDOR_3GPP, "Identity-with-Emergency-Registration" Grouped false;
    PRIVILEDGED_SENDER_INDICATION =
        652 VENDOR_3GPP, "Priviledged-Sender-Indication" Enumerated false;
    LIA_FLAGS = 653 VENDOR_3GPP, "LIA-Flags" Unsigned32 false;
    INITIAL_CSEQ_SEQUENCE_NUMBER = 654 VENDOR_3GPP, "Initial-CSeq-Sequence-Number" Unsigned32 false;
    SAR_FLAGS = 655 VENDOR_3GPP, "SAR-Flags" Unsigned32 false;
    RTR_FLAGS = 659 VENDOR_3GPP, "RTR-Flags" Unsigned32 false;
    ALTERNATE_DIGEST_ALGORITHM = 662 VENDOR_3GPP, "Alternate-Digest-Algorithm" Text false;
    ALTERNATE_DIGEST_HA1 = 663 VENDOR_3GPP, "Alternate-Digest-HA1" Text false;
}

/// Finds the row of an AVP; `None` when we do not know it.
#[must_use]
pub fn lookup(code: u32, vendor: u32) -> Option<&'static Definition> {
    ALL.binary_search_by_key(&(vendor, code), |row| (row.vendor, row.code))
        .ok()
        .and_then(|at| ALL.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_in_the_order_that_the_search_needs() {
        let keys: Vec<_> = ALL.iter().map(|row| (row.vendor, row.code)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn every_row_is_found_by_code_and_vendor() {
        for row in ALL {
            assert_eq!(lookup(row.code, row.vendor), Some(row));
        }
        assert_eq!(lookup(601, 0), None);
    }

    #[test]
    fn the_m_bit_is_as_in_table_6_3_0_1_of_ts_29_229() {
        let clear: Vec<u32> = ALL
            .iter()
            .filter(|row| row.vendor == VENDOR_3GPP && !row.mandatory)
            .map(|row| row.code)
            .collect();
        let expected: Vec<u32> =
            [628, 629, 630, 631, 632].into_iter().chain(634..=655).chain([659, 662, 663]).collect();
        assert_eq!(clear, expected);
    }

    #[test]
    fn commands_are_named_as_in_a_ladder() {
        assert_eq!(command_name(300, true), Some("UAR"));
        assert_eq!(command_name(257, false), Some("CEA"));
        assert_eq!(command_name(999, true), None);
    }
}
