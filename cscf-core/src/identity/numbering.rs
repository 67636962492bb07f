//! The numbering plan of a network: which global number a local one stands for, and which numbers
//! are its own (TS 24.229 §5.4.3.2, RFC 3966 §5.1.5).

/// The numbering plan of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// Beginnings of local numbers with what stands for them in the global one, e.g. `0` and `+1`;
    /// the longest that fits counts, the empty one fits all.
    pub translate: Vec<(String, String)>,
    /// A local number with fewer digits is incomplete.
    pub digits_min: usize,
    /// Beginnings of the numbers of this network; all numbers are if there are none.
    pub home: Vec<String>,
    /// Under which name ENUM knows numbers, e.g. `e164.arpa`; without, nobody is asked.
    pub enum_suffix: Option<String>,
}

/// Why a local number stands for no global one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberFault {
    /// There are too few digits.
    #[error("the number has too few digits")]
    Incomplete,
    /// The plan has nothing for it.
    #[error("the numbering plan has no translation")]
    NoTranslation,
}

impl Numbering {
    /// The global number of a local one. `context` is its phone-context, none where the dialled
    /// digits came without one; `is_ours` says whether a domain is of this network.
    ///
    /// # Errors
    ///
    /// [`NumberFault`].
    pub fn global(
        &self,
        digits: &str,
        context: Option<&str>,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<String, NumberFault> {
        if digits.len() < self.digits_min {
            return Err(NumberFault::Incomplete);
        }
        match context {
            // The context is the part of the number that was not dialled (RFC 3966 §5.1.5).
            Some(context) if context.starts_with('+') => Ok(format!("{context}{digits}")),
            Some(domain) if !is_ours(domain) => Err(NumberFault::NoTranslation),
            _ => {
                let fits = self.translate.iter().filter(|(from, _)| digits.starts_with(&**from));
                let (from, to) =
                    fits.max_by_key(|(from, _)| from.len()).ok_or(NumberFault::NoTranslation)?;
                let rest = digits.strip_prefix(&**from).unwrap_or(digits);
                Ok(format!("{to}{rest}"))
            }
        }
    }

    /// Whether a global number is one of this network.
    #[must_use]
    pub fn is_home(&self, number: &str) -> bool {
        self.home.is_empty() || self.home.iter().any(|prefix| number.starts_with(&**prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_number_stands_for_a_global_one() {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let plan = Numbering {
            translate: vec![pair("0", "+1"), pair("00", "+"), pair("55", "+155501055")],
            digits_min: 4,
            home: vec!["+1555010".to_owned()],
            enum_suffix: None,
        };
        let ours = |domain: &str| domain == "ims.example";
        let check = |digits, context, expected: Result<&str, NumberFault>| {
            let found = plan.global(digits, context, ours);
            assert_eq!(found.as_deref().map_err(|fault| *fault), expected, "{digits}");
        };
        check("0555", Some("ims.example"), Ok("+1555"));
        check("00445", None, Ok("+445"));
        check("5512", None, Ok("+15550105512"));
        check("4455", Some("+1555010"), Ok("+15550104455"));
        check("12", Some("ims.example"), Err(NumberFault::Incomplete));
        check("7777", None, Err(NumberFault::NoTranslation));
        check("0555", Some("other.example"), Err(NumberFault::NoTranslation));
        assert!(plan.is_home("+15550100001") && !plan.is_home("+442079"));
        assert!(Numbering::default().is_home("+442079"));
    }
}
