//! The layers of the short message service that travel in `application/vnd.3gpp.sms`
//! (TS 24.341 §5.3): RP (TS 24.011 §7.3), TP (TS 23.040 §9.2) and text (TS 23.038). Bytes to values
//! and back, without state; SMS-COMMAND and compressed text are read no further than their head.

mod address;
mod alphabet;
mod data;
mod octets;
mod rp;
mod stamp;
mod tp;
mod words;

pub use address::Address;
pub use data::{Content, Element, Part, UserData, segments};
pub use octets::Malformed;
pub use rp::{Direction, Rp, RpMessage, cause};
pub use stamp::{TimeStamp, Validity};
pub use tp::{Deliver, DeliverReport, StatusReport, Submit, SubmitReport, Tpdu, failure, status};
pub use words::{field, long, short};

/// The content type of an RP message in SIP (TS 24.341 §5.3.1.2).
pub const CONTENT_TYPE: &str = "application/vnd.3gpp.sms";

/// Whether a Content-Type is that of RP messages.
#[must_use]
pub fn is_content_type(value: &str) -> bool {
    let media = value.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case(CONTENT_TYPE)
}

#[cfg(test)]
mod tests;
