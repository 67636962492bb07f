//! Header field names: the known ones as values, compact forms, and which may hold a comma list.

use std::fmt;

macro_rules! header_names {
    ($($variant:ident, $text:literal, $compact:literal, $list:literal;)*) => {
        /// A header field name. Names are compared without regard to case (RFC 3261 §7.3.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// A name this list does not have; look at the field's own text.
            Unknown,
        }

        impl HeaderName {
            /// Every known name.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in its long form; empty for [`HeaderName::Unknown`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* Self::Unknown => "" }
            }

            /// The compact form (RFC 3261 §7.3.3); empty if the name has none.
            const fn compact_text(self) -> &'static [u8] {
                match self { $(Self::$variant => $compact.as_bytes(),)* Self::Unknown => b"" }
            }

            /// Whether several values may stand in one line, separated by commas
            /// (RFC 3261 §7.3.1; the four authentication headers may not).
            #[must_use]
            pub const fn is_list(self) -> bool {
                match self { $(Self::$variant => $list,)* Self::Unknown => false }
            }
        }
    };
}

header_names! {
    Accept, "Accept", "", true;
    AcceptContact, "Accept-Contact", "a", true;
    AcceptEncoding, "Accept-Encoding", "", true;
    AcceptLanguage, "Accept-Language", "", true;
    AcceptResourcePriority, "Accept-Resource-Priority", "", true;
    AlertInfo, "Alert-Info", "", true;
    Allow, "Allow", "", true;
    AllowEvents, "Allow-Events", "u", true;
    AuthenticationInfo, "Authentication-Info", "", false;
    Authorization, "Authorization", "", false;
    CallId, "Call-ID", "i", false;
    CallInfo, "Call-Info", "", true;
    CellularNetworkInfo, "Cellular-Network-Info", "", true;
    Contact, "Contact", "m", true;
    ContentDisposition, "Content-Disposition", "", false;
    ContentEncoding, "Content-Encoding", "e", true;
    ContentId, "Content-ID", "", false;
    ContentLanguage, "Content-Language", "", true;
    ContentLength, "Content-Length", "l", false;
    ContentTransferEncoding, "Content-Transfer-Encoding", "", false;
    ContentType, "Content-Type", "c", false;
    CSeq, "CSeq", "", false;
    Date, "Date", "", false;
    ErrorInfo, "Error-Info", "", true;
    Event, "Event", "o", false;
    Expires, "Expires", "", false;
    FeatureCaps, "Feature-Caps", "", true;
    FlowTimer, "Flow-Timer", "", false;
    From, "From", "f", false;
    Geolocation, "Geolocation", "", true;
    GeolocationError, "Geolocation-Error", "", false;
    GeolocationRouting, "Geolocation-Routing", "", false;
    HistoryInfo, "History-Info", "", true;
    Identity, "Identity", "y", false;
    InReplyTo, "In-Reply-To", "", true;
    InfoPackage, "Info-Package", "", false;
    Join, "Join", "", false;
    MaxBreadth, "Max-Breadth", "", false;
    MaxForwards, "Max-Forwards", "", false;
    MimeVersion, "MIME-Version", "", false;
    MinExpires, "Min-Expires", "", false;
    MinSe, "Min-SE", "", false;
    Organization, "Organization", "", false;
    PAccessNetworkInfo, "P-Access-Network-Info", "", true;
    PAnswerState, "P-Answer-State", "", false;
    PAssertedIdentity, "P-Asserted-Identity", "", true;
    PAssertedService, "P-Asserted-Service", "", false;
    PAssociatedUri, "P-Associated-URI", "", true;
    PCalledPartyId, "P-Called-Party-ID", "", false;
    PChargingFunctionAddresses, "P-Charging-Function-Addresses", "", false;
    PChargingVector, "P-Charging-Vector", "", false;
    PEarlyMedia, "P-Early-Media", "", true;
    PMediaAuthorization, "P-Media-Authorization", "", true;
    PPreferredIdentity, "P-Preferred-Identity", "", true;
    PPreferredService, "P-Preferred-Service", "", false;
    PPrivateNetworkIndication, "P-Private-Network-Indication", "", false;
    PProfileKey, "P-Profile-Key", "", false;
    PServedUser, "P-Served-User", "", false;
    PUserDatabase, "P-User-Database", "", false;
    PVisitedNetworkId, "P-Visited-Network-ID", "", true;
    Path, "Path", "", true;
    PermissionMissing, "Permission-Missing", "", true;
    Priority, "Priority", "", false;
    Privacy, "Privacy", "", false;
    ProxyAuthenticate, "Proxy-Authenticate", "", false;
    ProxyAuthorization, "Proxy-Authorization", "", false;
    ProxyRequire, "Proxy-Require", "", true;
    RAck, "RAck", "", false;
    Reason, "Reason", "", true;
    RecordRoute, "Record-Route", "", true;
    RecvInfo, "Recv-Info", "", true;
    ReferSub, "Refer-Sub", "", false;
    ReferTo, "Refer-To", "r", false;
    ReferredBy, "Referred-By", "b", false;
    RejectContact, "Reject-Contact", "j", true;
    RelayedCharge, "Relayed-Charge", "", false;
    Replaces, "Replaces", "", false;
    ReplyTo, "Reply-To", "", false;
    RequestDisposition, "Request-Disposition", "d", true;
    Require, "Require", "", true;
    ResourcePriority, "Resource-Priority", "", true;
    ResponseSource, "Response-Source", "", false;
    RestorationInfo, "Restoration-Info", "", false;
    RetryAfter, "Retry-After", "", false;
    Route, "Route", "", true;
    RSeq, "RSeq", "", false;
    SecurityClient, "Security-Client", "", true;
    SecurityServer, "Security-Server", "", true;
    SecurityVerify, "Security-Verify", "", true;
    Server, "Server", "", false;
    ServiceRoute, "Service-Route", "", true;
    SessionExpires, "Session-Expires", "x", false;
    SessionId, "Session-ID", "", false;
    SipEtag, "SIP-ETag", "", false;
    SipIfMatch, "SIP-If-Match", "", false;
    Subject, "Subject", "s", false;
    SubscriptionState, "Subscription-State", "", false;
    Supported, "Supported", "k", true;
    SuppressIfMatch, "Suppress-If-Match", "", false;
    TargetDialog, "Target-Dialog", "", false;
    Timestamp, "Timestamp", "", false;
    To, "To", "t", false;
    Unsupported, "Unsupported", "", true;
    UserAgent, "User-Agent", "", false;
    Via, "Via", "v", true;
    Warning, "Warning", "", true;
    WwwAuthenticate, "WWW-Authenticate", "", false;
}

impl HeaderName {
    /// The compact form (RFC 3261 §7.3.3), if the name has one.
    #[must_use]
    pub const fn compact(self) -> Option<u8> {
        match self.compact_text() {
            [] => None,
            [letter, ..] => Some(*letter),
        }
    }

    /// Recognises a field name, long or compact, in any case.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Self {
        let bytes = (text.first(), text.get(text.len() / 2), text.last());
        let (Some(first), Some(middle), Some(last)) = bytes else { return Self::Unknown };
        let name = NAMES.get(slot(text.len(), *first, *middle, *last)).copied();
        let name = name.unwrap_or(Self::Unknown);
        let known = if text.len() == 1 { name.compact_text() } else { name.as_str().as_bytes() };
        // Nearly everybody writes a name as the standard does.
        if known == text || known.eq_ignore_ascii_case(text) { name } else { Self::Unknown }
    }
}

/// The slot of a name in [`NAMES`]: length, first, middle and last byte decide, whatever the case.
const fn slot(len: usize, first: u8, middle: u8, last: u8) -> usize {
    let key = u32::from_le_bytes([len as u8, first | 0x20, last | 0x20, middle | 0x20]);
    (key.wrapping_mul(MULTIPLIER) >> (u32::BITS - SLOT_BITS)) as usize
}

const SLOT_BITS: u32 = 10;
/// Found by trying: with it no two names share a slot, which is checked when the table is made.
const MULTIPLIER: u32 = 0x9df5_9263;

/// The one name a slot may stand for; a name with a compact form stands in two slots.
static NAMES: [HeaderName; 1 << SLOT_BITS] = {
    let mut names = [HeaderName::Unknown; 1 << SLOT_BITS];
    let mut at = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
    while at < HeaderName::ALL.len() {
        let name = HeaderName::ALL[at];
        let forms = [name.as_str().as_bytes(), name.compact_text()];
        let mut form = 0;
        while form < forms.len() {
            let text = forms[form];
            if !text.is_empty() {
                let slot = slot(text.len(), text[0], text[text.len() / 2], text[text.len() - 1]);
                assert!(matches!(names[slot], HeaderName::Unknown), "take another MULTIPLIER");
                names[slot] = name;
            }
            form += 1;
        }
        at += 1;
    }
    names
};

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_long_and_compact_form() {
        for name in HeaderName::ALL {
            assert_eq!(HeaderName::from_bytes(name.as_str().as_bytes()), *name);
            assert_eq!(HeaderName::from_bytes(name.as_str().to_uppercase().as_bytes()), *name);
            for at in 0..name.as_str().len() {
                let mut other = name.as_str().as_bytes().to_vec();
                other[at] ^= 1;
                assert_ne!(HeaderName::from_bytes(&other), *name, "byte {at} is another");
            }
            if let Some(letter) = name.compact() {
                assert_eq!(HeaderName::from_bytes(&[letter]), *name);
            }
        }
        for text in [&b"X-Vendor"[..], b"", b"z", b"Viaa", b"\xff\xff"] {
            assert_eq!(HeaderName::from_bytes(text), HeaderName::Unknown);
        }
    }
}
