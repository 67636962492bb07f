//! Small headers: a number, a token or a token with parameters (Session-Expires, Min-SE,
//! Retry-After, Event, Subscription-State, Reason, Replaces).

use std::borrow::Cow;
use std::fmt;

use super::params::Params;
use super::scan::{Scan, SyntaxError, delta_seconds, number};

/// Max-Forwards, 0 to 255 (RFC 3261 §20.22).
///
/// # Errors
///
/// [`SyntaxError`] when it is no such number.
pub fn parse_max_forwards(text: &str) -> Result<u8, SyntaxError> {
    number(text)
        .and_then(|hops| u8::try_from(hops).ok())
        .ok_or(SyntaxError::new(0, "not a number from 0 to 255"))
}

/// Expires, Min-Expires: seconds, 0 to 2^32-1 (RFC 3261 §20.19).
///
/// # Errors
///
/// [`SyntaxError`] when it is no such number.
pub fn parse_expires(text: &str) -> Result<u32, SyntaxError> {
    number(text).ok_or(SyntaxError::new(0, "not a number of seconds below 2^32"))
}

/// RSeq, 1 to 2^32-1 (RFC 3262 §7.1).
///
/// # Errors
///
/// [`SyntaxError`] when it is no such number.
pub fn parse_rseq(text: &str) -> Result<u32, SyntaxError> {
    number(text)
        .filter(|number| *number > 0)
        .ok_or(SyntaxError::new(0, "not a number from 1 to 2^32-1"))
}

/// A token and its parameters: Event, Subscription-State, Reason and many more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The leading token.
    pub token: String,
    /// The parameters.
    pub params: Params,
}

impl Tagged {
    /// A token without parameters.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self { token: token.to_owned(), params: Params::new() }
    }

    /// Reads a token and its parameters.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut scan = Scan::new(text);
        scan.skip_lws();
        let token = scan.token("token is missing")?.to_owned();
        scan.skip_lws();
        let at = scan.at();
        let params = Params::parse(scan.rest()).map_err(|fault| fault.at(at))?;
        Ok(Self { token, params })
    }

    /// A parameter without its quotes; the empty text for a flag.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// Builder form of setting a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.params.set(name, value);
        self
    }
}

impl fmt::Display for Tagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.token)?;
        self.params.fmt(f)
    }
}

macro_rules! seconds_with_params {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            /// The number of seconds.
            pub seconds: u32,
            /// The parameters.
            pub params: Params,
        }

        impl $name {
            /// The value without parameters.
            #[must_use]
            pub const fn new(seconds: u32) -> Self {
                Self { seconds, params: Params::new() }
            }

            /// Reads seconds and parameters; more than 2^32-1 counts as 2^32-1.
            ///
            /// # Errors
            ///
            /// [`SyntaxError`] with the offset in `text`.
            pub fn parse(text: &str) -> Result<Self, SyntaxError> {
                let (seconds, params) = seconds_and_params(text)?;
                Ok(Self { seconds, params })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", self.seconds, self.params)
            }
        }
    };
}

fn seconds_and_params(text: &str) -> Result<(u32, Params), SyntaxError> {
    let mut scan = Scan::new(text);
    scan.skip_lws();
    let fault = scan.error("not a number of seconds");
    let seconds = delta_seconds(scan.take_while(|byte| byte.is_ascii_digit())).ok_or(fault)?;
    scan.skip_lws();
    if scan.peek() == Some(b'(') {
        skip_comment(&mut scan)?;
    }
    let at = scan.at();
    Ok((seconds, Params::parse(scan.rest()).map_err(|fault| fault.at(at))?))
}

fn skip_comment(scan: &mut Scan<'_>) -> Result<(), SyntaxError> {
    let fault = scan.error("comment is not closed");
    let (mut depth, mut escaped, mut len) = (0_usize, false, 0);
    for byte in scan.rest().bytes() {
        len += 1;
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            scan.advance(len);
            scan.skip_lws();
            return Ok(());
        }
    }
    Err(fault)
}

seconds_with_params! {
    /// Session-Expires (RFC 4028 §4).
    SessionExpires
}
seconds_with_params! {
    /// Min-SE (RFC 4028 §5).
    MinSe
}
seconds_with_params! {
    /// Retry-After; its comment is not kept (RFC 3261 §20.33).
    RetryAfter
}

impl SessionExpires {
    /// The `refresher` parameter: `uac` or `uas`.
    #[must_use]
    pub fn refresher(&self) -> Option<&str> {
        self.params.get("refresher")
    }
}

/// Event (RFC 6665 §8.2.1).
pub type Event = Tagged;

/// Subscription-State (RFC 6665 §8.2.3).
pub type SubscriptionState = Tagged;

/// Reason: the protocol is the token (RFC 3326 §2).
pub type Reason = Tagged;

impl Tagged {
    /// The `id` parameter of an Event.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.param("id")
    }

    /// The `expires` parameter of a Subscription-State, in seconds.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.param("expires").and_then(delta_seconds)
    }

    /// The `reason` parameter of a Subscription-State.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.param("reason")
    }

    /// The `cause` parameter of a Reason.
    #[must_use]
    pub fn cause(&self) -> Option<u32> {
        self.param("cause").and_then(number)
    }

    /// The `text` parameter of a Reason, quotes and escapes undone.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        self.params.unquoted("text")
    }
}

/// Replaces, Join and Target-Dialog: a dialog named by its identifiers (RFC 3891 §3, RFC 4538 §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogRef {
    /// The Call-ID.
    pub call_id: String,
    /// `to-tag`, `from-tag` (or `local-tag`, `remote-tag`), `early-only` and others.
    pub params: Params,
}

/// Replaces (RFC 3891 §3).
pub type Replaces = DialogRef;

impl DialogRef {
    /// Reads a dialog reference.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let at = text.find(';').unwrap_or(text.len());
        let (call_id, params) = text.split_at_checked(at).unwrap_or((text, ""));
        let call_id = call_id.trim();
        if call_id.is_empty() || call_id.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(SyntaxError::new(0, "Call-ID is missing or has a space"));
        }
        let params = Params::parse(params).map_err(|fault| fault.at(at))?;
        Ok(Self { call_id: call_id.to_owned(), params })
    }

    /// The `to-tag` parameter.
    #[must_use]
    pub fn to_tag(&self) -> Option<&str> {
        self.params.get("to-tag")
    }

    /// The `from-tag` parameter.
    #[must_use]
    pub fn from_tag(&self) -> Option<&str> {
        self.params.get("from-tag")
    }

    /// Whether `early-only` is there.
    #[must_use]
    pub fn is_early_only(&self) -> bool {
        self.params.has("early-only")
    }
}

impl fmt::Display for DialogRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call_id)?;
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_ranges() {
        assert_eq!(parse_max_forwards("0068"), Ok(68));
        assert!(parse_max_forwards("256").is_err());
        assert_eq!(parse_expires("4294967295"), Ok(u32::MAX));
        assert!(parse_expires("4294967296").is_err());
        assert!(parse_rseq("0").is_err());
    }

    #[test]
    fn retry_after_may_hold_a_comment() {
        let it = RetryAfter::parse("120 (I'm (in) a \\) meeting) ;duration=60").expect("parses");
        assert_eq!(it.to_string(), "120;duration=60");
        assert!(RetryAfter::parse("120 (open").is_err());
        assert_eq!(
            RetryAfter::parse("949302838503028349304023988").map(|it| it.seconds),
            Ok(u32::MAX)
        );
    }

    #[test]
    fn tokens_with_parameters_are_read() {
        let state = SubscriptionState::parse("active;expires=3600").expect("parses");
        assert_eq!((state.token.as_str(), state.expires()), ("active", Some(3600)));
        let reason = Reason::parse(r#"Q.850 ;cause=16 ;text="Terminated; ok""#).expect("parses");
        assert_eq!((reason.cause(), reason.text().as_deref()), (Some(16), Some("Terminated; ok")));
        let timer = SessionExpires::parse("1800;refresher=uac").expect("parses");
        assert_eq!((timer.seconds, timer.refresher()), (1800, Some("uac")));
    }

    #[test]
    fn replaces_names_a_dialog() {
        let it =
            Replaces::parse("98732@sip.example; from-tag=r33;to-tag=1;early-only").expect("ok");
        assert_eq!(
            (it.to_tag(), it.from_tag(), it.is_early_only()),
            (Some("1"), Some("r33"), true)
        );
        assert!(Replaces::parse(";to-tag=1").is_err());
    }
}
