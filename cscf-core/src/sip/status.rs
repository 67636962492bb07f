//! Status codes and their reason phrases (RFC 3261 §21, and the RFCs that add codes).

use std::borrow::Cow;

/// The reason phrase of a status code; the one of its class's x00 for unknown codes
/// (RFC 3261 §8.1.3.2).
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        101..=199 => provisional(status),
        202 => "Accepted",
        204 => "No Notification",
        200..=299 => "OK",
        300..=399 => redirection(status),
        400..=479 => request_failure(status),
        480..=499 => call_failure(status),
        500..=599 => server_failure(status),
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => "Busy Everywhere",
    }
}

const fn redirection(status: u16) -> &'static str {
    match status {
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        _ => "Multiple Choices",
    }
}

const fn provisional(status: u16) -> &'static str {
    match status {
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        199 => "Early Dialog Terminated",
        _ => "Session Progress",
    }
}

const fn request_failure(status: u16) -> &'static str {
    match status {
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        417 => "Unknown Resource-Priority",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        424 => "Bad Location Information",
        425 => "Bad Alert Message",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        430 => "Flow Failed",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        470 => "Consent Needed",
        _ => "Bad Request",
    }
}

const fn call_failure(status: u16) -> &'static str {
    match status {
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        _ => "Bad Request",
    }
}

const fn server_failure(status: u16) -> &'static str {
    match status {
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        555 => "Push Notification Service Not Supported",
        580 => "Precondition Failure",
        _ => "Server Internal Error",
    }
}

/// A phrase as a response keeps it: the usual one of its status is not copied.
pub(super) fn phrase(status: u16, text: &str) -> Cow<'static, str> {
    match reason_phrase(status) {
        usual if usual == text => Cow::Borrowed(usual),
        _ => Cow::Owned(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_take_the_phrase_of_their_class() {
        for (status, phrase) in [
            (100, "Trying"),
            (150, "Session Progress"),
            (299, "OK"),
            (399, "Multiple Choices"),
            (499, "Bad Request"),
            (494, "Security Agreement Required"),
            (599, "Server Internal Error"),
            (699, "Busy Everywhere"),
        ] {
            assert_eq!(reason_phrase(status), phrase);
        }
    }

    #[test]
    fn only_an_unusual_phrase_is_copied() {
        for (status, text) in [(180, "Ringing"), (299, "OK")] {
            assert!(matches!(phrase(status, text), Cow::Borrowed(its) if its == text));
        }
        for (status, text) in [(180, "ringing"), (200, ""), (486, "OK")] {
            assert!(matches!(phrase(status, text), Cow::Owned(its) if its == text));
        }
    }
}
