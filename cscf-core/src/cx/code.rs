//! Result codes as people write them.

use super::{CxResult, ResultCode};

impl CxResult {
    /// Reads a result by its code: that of 3GPP where both have one, `base-5003` that of RFC 6733.
    ///
    /// # Errors
    ///
    /// A text that says what would be right.
    pub fn read(text: &str) -> Result<Self, String> {
        let (base, digits) = match text.strip_prefix("base-") {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let code = digits.parse().ok().filter(|code| (1000..6000).contains(code));
        let code = code.ok_or_else(|| format!("`{text}` is no result code, e.g. 5012"))?;
        Ok(match Self::from_code(ResultCode::Experimental(code)) {
            Self::OtherExperimental(_) => Self::from_code(ResultCode::Base(code)),
            _ if base => Self::from_code(ResultCode::Base(code)),
            known => known,
        })
    }

    /// The text that [`Self::read`] reads back as this result.
    #[must_use]
    pub fn written(self) -> String {
        match self.code() {
            ResultCode::Experimental(code) => code.to_string(),
            ResultCode::Base(code) => match Self::from_code(ResultCode::Experimental(code)) {
                Self::OtherExperimental(_) => code.to_string(),
                _ => format!("base-{code}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_results_with_one_code_that_of_3gpp_is_meant() {
        assert_eq!(CxResult::read("5003"), Ok(CxResult::IdentityNotRegistered));
        assert_eq!(CxResult::read("base-5003"), Ok(CxResult::AuthorizationRejected));
        assert_eq!(CxResult::read("5012"), Ok(CxResult::UnableToComply));
        assert!(CxResult::read("7").is_err());
        for text in ["5003", "base-5003", "5012", "3004", "3002", "2001"] {
            assert_eq!(CxResult::read(text).expect("a result").written(), text);
        }
    }
}
