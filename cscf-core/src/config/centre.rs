//! The short message service centre behind an IP-SM-GW of a lab (TS 24.341 §5.3.3).

use super::problem::{Problems, nearest};
use super::server::identities;
use super::tree::Reader;
use super::write::quoted;
use crate::sms::{Address, cause};

/// What a service centre does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CentreConfig {
    /// Its number: RP-Destination-Address of what is sent to it, and the user part of its PSI.
    pub number: String,
    /// What it says to a message from a mobile.
    pub submissions: Submissions,
    /// Identities of users that may not send short messages.
    pub without_sms: Vec<String>,
    /// What such a user gets.
    pub unauthorised: Unauthorised,
}

impl Default for CentreConfig {
    fn default() -> Self {
        Self {
            number: "+15559999".to_owned(),
            submissions: Submissions::default(),
            without_sms: Vec::new(),
            unauthorised: Unauthorised::default(),
        }
    }
}

/// What a service centre says to a message from a mobile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Submissions {
    /// It takes it.
    #[default]
    Accepted,
    /// It does not, with this RP-Cause.
    Rejected(u8),
    /// It says nothing.
    Unanswered,
}

impl Submissions {
    fn read(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let known = "write accepted, rejected with 38, or unanswered";
        match words.as_slice() {
            ["accepted"] => Ok(Self::Accepted),
            ["rejected", "with", number] => match number.parse() {
                Ok(number @ 1..=127) => Ok(Self::Rejected(number)),
                _ => Err(format!("`{number}` is no RP-Cause from 1 to 127; {known}")),
            },
            ["unanswered"] => Ok(Self::Unanswered),
            [first, ..] => match nearest(first, ["accepted", "rejected", "unanswered"]) {
                Some(near) => Err(format!("did you mean `{near}`? {known}")),
                None => Err(known.to_owned()),
            },
            [] => Err(known.to_owned()),
        }
    }
}

impl std::fmt::Display for Submissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Rejected(cause) => write!(f, "rejected with {cause}"),
            Self::Unanswered => f.write_str("unanswered"),
        }
    }
}

/// What a user gets that may not send short messages (TS 24.341 §5.3.3.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unauthorised {
    /// 403.
    #[default]
    Forbidden,
    /// 202, and then RP-ERROR with this cause.
    RpError(u8),
}

impl Unauthorised {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "403" => Ok(Self::Forbidden),
            "rp-error" => Ok(Self::RpError(cause::NOT_SUBSCRIBED)),
            _ => match text.strip_prefix("rp-error ").map(str::parse) {
                Some(Ok(number @ 1..=127)) => Ok(Self::RpError(number)),
                _ => Err("write 403, rp-error, or rp-error 50".to_owned()),
            },
        }
    }
}

impl std::fmt::Display for Unauthorised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Forbidden => f.write_str("403"),
            Self::RpError(cause) => write!(f, "rp-error {cause}"),
        }
    }
}

impl CentreConfig {
    pub(super) fn read(reader: &mut Reader<'_>, problems: &mut Problems) -> Self {
        let usual = Self::default();
        Self {
            number: reader.or("centre", usual.number, problems, number),
            submissions: reader.or("submissions", usual.submissions, problems, Submissions::read),
            without_sms: reader.or("without_sms", usual.without_sms, problems, identities),
            unauthorised: reader.or(
                "unauthorised",
                usual.unauthorised,
                problems,
                Unauthorised::read,
            ),
        }
    }

    /// The keys of a node, as they are read; nothing where all are as usual.
    pub(super) fn written(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        let Self { number, submissions, without_sms, unauthorised } = self;
        let (number, without) = (quoted(number), quoted(&without_sms.join(" ")));
        let unauthorised = quoted(&unauthorised.to_string());
        format!(
            ", centre: {number}, submissions: {submissions}, without_sms: {without}, \
             unauthorised: {unauthorised}"
        )
    }
}

fn number(text: &str) -> Result<String, String> {
    let known = Address::number(text).filter(|_| text.starts_with('+'));
    let fault = || format!("`{text}` is no international number, e.g. \"+15559999\"");
    known.map(|it| it.to_string()).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_centre_does_is_read_as_it_is_written() {
        for it in [Submissions::Accepted, Submissions::Rejected(38), Submissions::Unanswered] {
            assert_eq!(Submissions::read(&it.to_string()), Ok(it));
        }
        for it in [Unauthorised::Forbidden, Unauthorised::RpError(50)] {
            assert_eq!(Unauthorised::read(&it.to_string()), Ok(it));
        }
        assert_eq!(number("+1-555-9999"), Ok("+15559999".to_owned()));
        for wrong in ["", "rejected", "rejected with 0", "rejected with x", "maybe"] {
            assert!(Submissions::read(wrong).is_err(), "{wrong}");
        }
        let near = Submissions::read("acepted").expect_err("misspelt");
        assert!(near.contains("did you mean `accepted`"), "{near}");
        assert!(Unauthorised::read("404").is_err() && number("15559999").is_err());
    }
}
