//! Security-Client, Security-Server, Security-Verify (RFC 3329 §2.2, TS 33.203 annex H).

use std::fmt;
use std::str::FromStr;

use super::address::q_value;
use super::headers::Headers;
use super::message_ext::HeaderError;
use super::name::HeaderName;
use super::params::{HeaderParams, Params};
use super::scan::{Scan, SyntaxError};

/// The mechanism of TS 33.203.
pub const IPSEC_3GPP: &str = "ipsec-3gpp";

/// One security mechanism with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityMechanism {
    /// The mechanism name, e.g. `ipsec-3gpp`.
    pub name: String,
    /// The parameters: `q alg ealg prot mod spi-c spi-s port-c port-s` and others.
    pub params: Params,
}

impl SecurityMechanism {
    /// A mechanism without parameters.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), params: Params::new() }
    }

    /// Reads one mechanism.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut scan = Scan::new(text);
        scan.skip_lws();
        let name = scan.token("security mechanism is missing")?.to_owned();
        scan.skip_lws();
        let at = scan.at();
        let params = Params::parse(scan.rest()).map_err(|fault| fault.at(at))?;
        Ok(Self { name, params })
    }

    /// Checks one mechanism without keeping anything of it.
    pub(super) fn check(text: &str) -> Result<(), SyntaxError> {
        let mut scan = Scan::new(text);
        scan.skip_lws();
        scan.token("security mechanism is missing")?;
        scan.skip_lws();
        let at = scan.at();
        HeaderParams::new(scan.rest())
            .try_for_each(|param| param.map(drop))
            .map_err(|fault| fault.at(at))
    }

    /// Whether it is `ipsec-3gpp`.
    #[must_use]
    pub fn is_ipsec_3gpp(&self) -> bool {
        self.name.eq_ignore_ascii_case(IPSEC_3GPP)
    }

    /// Whether it belongs to media plane security and not to this agreement (RFC 7649, `mediasec`).
    #[must_use]
    pub fn is_mediasec(&self) -> bool {
        self.params.has("mediasec")
    }

    /// The preference in thousandths; 1 (`0.001`) if absent (RFC 3329 §2.2).
    #[must_use]
    pub fn q_thousandths(&self) -> u16 {
        self.params.get("q").and_then(q_value).unwrap_or(1)
    }

    /// The integrity algorithm.
    #[must_use]
    pub fn alg(&self) -> Option<&str> {
        self.params.get("alg")
    }

    /// The encryption algorithm; `null` if absent (TS 33.203 annex H).
    #[must_use]
    pub fn ealg(&self) -> &str {
        self.params.get("ealg").unwrap_or("null")
    }

    /// The protocol; `esp` if absent.
    #[must_use]
    pub fn prot(&self) -> &str {
        self.params.get("prot").unwrap_or("esp")
    }

    /// The mode; `trans` if absent.
    #[must_use]
    pub fn mode(&self) -> &str {
        self.params.get("mod").unwrap_or("trans")
    }

    /// The SPI of the inbound SA at the protected client port.
    #[must_use]
    pub fn spi_c(&self) -> Option<u32> {
        self.number("spi-c")
    }

    /// The SPI of the inbound SA at the protected server port.
    #[must_use]
    pub fn spi_s(&self) -> Option<u32> {
        self.number("spi-s")
    }

    /// The protected client port.
    #[must_use]
    pub fn port_c(&self) -> Option<u16> {
        self.number("port-c").and_then(|port| port.try_into().ok())
    }

    /// The protected server port.
    #[must_use]
    pub fn port_s(&self) -> Option<u16> {
        self.number("port-s").and_then(|port| port.try_into().ok())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.params.get(name).and_then(super::scan::number)
    }

    /// Whether two mechanisms agree in name and every parameter, in any order of parameters: the
    /// comparison of Security-Verify with Security-Server (RFC 3329 §2.3.1).
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let within = |a: &Params, b: &Params| {
            a.iter().all(|param| {
                b.get(param.name()).is_some_and(|value| {
                    a.get(param.name()).is_some_and(|ours| ours.eq_ignore_ascii_case(value))
                })
            })
        };
        self.name.eq_ignore_ascii_case(&other.name)
            && self.params.len() == other.params.len()
            && within(&self.params, &other.params)
            && within(&other.params, &self.params)
    }
}

impl FromStr for SecurityMechanism {
    type Err = SyntaxError;
    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::parse(text)
    }
}

impl fmt::Display for SecurityMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.params.fmt(f)
    }
}

/// Whether two lists agree mechanism by mechanism, in order.
#[must_use]
pub fn mechanisms_agree(a: &[SecurityMechanism], b: &[SecurityMechanism]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.agrees_with(b))
}

impl Headers {
    /// The mechanisms of Security-Client, Security-Server or Security-Verify; empty if absent.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] for the first mechanism that breaks the grammar.
    pub fn security(&self, name: HeaderName) -> Result<Vec<SecurityMechanism>, HeaderError> {
        self.typed_list(name, SecurityMechanism::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "ipsec-3gpp;alg=hmac-sha-1-96;ealg=null;prot=esp;mod=trans;spi-c=1001;\
        spi-s=4294967295;port-c=40001;port-s=40002, ipsec-3gpp; alg=hmac-md5-96; ealg=aes-cbc";

    #[test]
    fn the_parameters_of_33_203_are_read() {
        let mut headers = Headers::new();
        headers.push(HeaderName::SecurityClient, CLIENT);
        let list = headers.security(HeaderName::SecurityClient).expect("parses");
        assert_eq!(list.len(), 2);
        let first = &list[0];
        assert!(first.is_ipsec_3gpp());
        assert_eq!(
            (first.alg(), first.ealg(), first.mode()),
            (Some("hmac-sha-1-96"), "null", "trans")
        );
        assert_eq!((first.spi_c(), first.spi_s()), (Some(1001), Some(u32::MAX)));
        assert_eq!((first.port_c(), first.port_s()), (Some(40001), Some(40002)));
        assert_eq!((list[1].spi_c(), list[1].prot()), (None, "esp"));
    }

    #[test]
    fn agreement_ignores_the_order_of_parameters_and_nothing_else() {
        let read = |text| SecurityMechanism::parse(text).expect("parses");
        let server = read("ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;spi-c=1;port-s=5");
        assert!(server.agrees_with(&read("ipsec-3gpp; alg=hmac-sha-1-96;Q=0.9;spi-c=1;port-s=5")));
        assert!(!server.agrees_with(&read("ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;spi-c=2;port-s=5")));
        assert!(!server.agrees_with(&read("ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;spi-c=1")));
    }
}
