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

            /// The compact form (RFC 3261 §7.3.3), if the name has one.
            #[must_use]
            pub const fn compact(self) -> Option<u8> {
                match self {
                    $(Self::$variant => { let c: &[u8] = $compact.as_bytes();
                        match c { [] => None, [letter, ..] => Some(*letter) } })*
                    Self::Unknown => None,
                }
            }

            /// Whether several values may stand in one line, separated by commas
            /// (RFC 3261 §7.3.1; the four authentication headers may not).
            #[must_use]
            pub const fn is_list(self) -> bool {
                match self { $(Self::$variant => $list,)* Self::Unknown => false }
            }

            fn by_length(text: &[u8]) -> Self {
                $(if text.len() == $text.len() && text.eq_ignore_ascii_case($text.as_bytes()) {
                    return Self::$variant;
                })*
                Self::Unknown
            }
        }
    };
}

header_names! {
    Accept, "Accept", "", true;
    AcceptContact, "Accept-Contact", "a", true;
    AcceptEncoding, "Accept-Encoding", "", true;
    AcceptLanguage, "Accept-Language", "", true;
    AlertInfo, "Alert-Info", "", true;
    Allow, "Allow", "", true;
    AllowEvents, "Allow-Events", "u", true;
    AuthenticationInfo, "Authentication-Info", "", false;
    Authorization, "Authorization", "", false;
    CallId, "Call-ID", "i", false;
    CallInfo, "Call-Info", "", true;
    Contact, "Contact", "m", true;
    ContentDisposition, "Content-Disposition", "", false;
    ContentEncoding, "Content-Encoding", "e", true;
    ContentLanguage, "Content-Language", "", true;
    ContentLength, "Content-Length", "l", false;
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
    GeolocationRouting, "Geolocation-Routing", "", false;
    HistoryInfo, "History-Info", "", true;
    InReplyTo, "In-Reply-To", "", true;
    InfoPackage, "Info-Package", "", false;
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
    Replaces, "Replaces", "", false;
    ReplyTo, "Reply-To", "", false;
    RequestDisposition, "Request-Disposition", "d", true;
    Require, "Require", "", true;
    ResourcePriority, "Resource-Priority", "", true;
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
    /// Recognises a field name, long or compact, in any case.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Self {
        if let [letter] = text {
            let letter = letter.to_ascii_lowercase();
            return Self::ALL
                .iter()
                .copied()
                .find(|name| name.compact() == Some(letter))
                .unwrap_or(Self::Unknown);
        }
        Self::by_length(text)
    }
}

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
            assert_eq!(HeaderName::from_bytes(name.as_str().to_uppercase().as_bytes()), *name);
            if let Some(letter) = name.compact() {
                assert_eq!(HeaderName::from_bytes(&[letter]), *name);
            }
        }
        assert_eq!(HeaderName::from_bytes(b"X-Vendor"), HeaderName::Unknown);
    }
}
