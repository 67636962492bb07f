//! CSeq (RFC 3261 §20.16) and RAck (RFC 3262 §7.2).

use std::fmt;
use std::str::FromStr;

use super::method::Method;
use super::scan::{Scan, SyntaxError, number};

/// The first number a CSeq may not have (RFC 3261 §8.1.1.5).
const CSEQ_END: u32 = 1 << 31;

/// The CSeq of a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CSeq {
    /// The sequence number, below 2^31.
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl CSeq {
    /// A CSeq.
    #[must_use]
    pub const fn new(number: u32, method: Method) -> Self {
        Self { number, method }
    }

    /// Reads a CSeq.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] when it is not a number below 2^31 and a method.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let (number, method) = pieces(text)?;
        Ok(Self { number, method: Method::from_token(method) })
    }

    /// Checks a CSeq as [`CSeq::parse`] does; gives the text of the method.
    pub(super) fn check(text: &str) -> Result<&str, SyntaxError> {
        pieces(text).map(|(_, method)| method)
    }
}

fn pieces(text: &str) -> Result<(u32, &str), SyntaxError> {
    let mut scan = Scan::new(text);
    let number = sequence(&mut scan)?;
    let method = scan.token("method is missing")?;
    scan.expect_end("unexpected text behind the method")?;
    Ok((number, method))
}

fn sequence(scan: &mut Scan<'_>) -> Result<u32, SyntaxError> {
    scan.skip_lws();
    let fault = scan.error("sequence number is not below 2^31");
    let digits = scan.take_while(|byte| byte.is_ascii_digit());
    scan.skip_lws();
    number(digits).filter(|number| *number < CSEQ_END).ok_or(fault)
}

impl FromStr for CSeq {
    type Err = SyntaxError;
    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::parse(text)
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// The RAck of a PRACK: which reliable provisional response it acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq of the response.
    pub rseq: u32,
    /// The CSeq of the response.
    pub cseq: CSeq,
}

impl RAck {
    /// Reads a RAck.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] when it is not two numbers and a method.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut scan = Scan::new(text);
        scan.skip_lws();
        let fault = scan.error("RSeq is not a number below 2^32");
        let rseq = number(scan.take_while(|byte| byte.is_ascii_digit())).ok_or(fault)?;
        let at = scan.at();
        let cseq = CSeq::parse(scan.rest()).map_err(|fault| fault.at(at))?;
        Ok(Self { rseq, cseq })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cseq_is_a_number_and_a_method() {
        assert_eq!(CSeq::parse("0009\r\n  INVITE"), Ok(CSeq::new(9, Method::Invite)));
        for text in ["INVITE", "1", "2147483648 INVITE", "-1 INVITE", "1 INVITE x"] {
            assert!(CSeq::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rack_names_rseq_and_cseq() {
        let rack = RAck::parse("776656 1 INVITE").expect("parses");
        assert_eq!((rack.rseq, &rack.cseq), (776_656, &CSeq::new(1, Method::Invite)));
        assert_eq!(rack.to_string(), "776656 1 INVITE");
        assert!(RAck::parse("1 INVITE").is_err());
    }
}
