//! The security agreement of both ends (TS 33.203 §7.2, Annex H; RFC 3329 §2.2): what a list of
//! mechanisms offers, which one both ends must choose, and where two lists differ.

use super::{Algorithms, Mode, Ports, SPI_MIN};
use crate::sip::SecurityMechanism;

/// One mechanism `ipsec-3gpp` of a list that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How packets shall be protected.
    pub algorithms: Algorithms,
    /// How they shall be wrapped.
    pub mode: Mode,
    /// Ports and SPIs of the end that offers.
    pub ports: Ports,
}

/// Why a mechanism `ipsec-3gpp` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// A parameter is missing or no number of its kind.
    #[error("{0} is missing or no number of its kind")]
    Parameter(&'static str),
    /// A value nobody here knows, or algorithms that do not go together.
    #[error("{name}={value} is not known here")]
    Unknown {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Two values that must differ are the same, or a port or SPI that is reserved.
    #[error("{0}")]
    Reserved(&'static str),
}

impl Offer {
    /// What a mechanism offers.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn of(mechanism: &SecurityMechanism) -> Result<Self, OfferError> {
        let unknown = |name, value: &str| OfferError::Unknown { name, value: value.to_owned() };
        if !mechanism.prot().eq_ignore_ascii_case("esp") {
            return Err(unknown("prot", mechanism.prot()));
        }
        let mode = Mode::named(mechanism.mode()).ok_or_else(|| unknown("mod", mechanism.mode()))?;
        // AES-GCM may stand without `alg`: it needs no other.
        let alg = mechanism.alg().unwrap_or("null");
        let pair = Algorithms::named(alg, mechanism.ealg());
        let algorithms =
            pair.ok_or_else(|| unknown("alg/ealg", &format!("{alg}/{}", mechanism.ealg())))?;
        let number = |name, value: Option<u32>| value.ok_or(OfferError::Parameter(name));
        let port = |name, value: Option<u16>| {
            value.filter(|port| *port != 0).ok_or(OfferError::Parameter(name))
        };
        let ports = Ports {
            client: port("port-c", mechanism.port_c())?,
            server: port("port-s", mechanism.port_s())?,
            spi_client: number("spi-c", mechanism.spi_c())?,
            spi_server: number("spi-s", mechanism.spi_s())?,
        };
        if ports.client == ports.server {
            return Err(OfferError::Reserved("port-c and port-s are the same"));
        }
        if ports.spi_client == ports.spi_server {
            return Err(OfferError::Reserved("spi-c and spi-s are the same"));
        }
        if ports.spi_client < SPI_MIN || ports.spi_server < SPI_MIN {
            return Err(OfferError::Reserved("an SPI below 256"));
        }
        if [ports.client, ports.server].iter().any(|port| matches!(port, 5060 | 5061)) {
            return Err(OfferError::Reserved("5060 and 5061 are never protected"));
        }
        Ok(Self { algorithms, mode, ports })
    }
}

/// What can be used of a list, most preferred first: by `q`, then in the order of the list
/// (RFC 3329 §2.2). Mechanisms other than `ipsec-3gpp` and those of media are passed over.
#[must_use]
pub fn offers(list: &[SecurityMechanism]) -> Vec<Offer> {
    let mut usable: Vec<(u16, Offer)> = list
        .iter()
        .filter(|it| it.is_ipsec_3gpp() && !it.is_mediasec())
        .filter_map(|it| Offer::of(it).ok().map(|offer| (it.q_thousandths(), offer)))
        .collect();
    usable.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    usable.into_iter().map(|(_, offer)| offer).collect()
}

/// The offer of the peer that fits the first of the P-CSCF's preferences it can fit: what both
/// ends choose, the P-CSCF from its own list and Security-Client, the UE from Security-Server and
/// its own list (TS 33.203 §7.2). `ours` is that of whoever chooses: `preferred(own, client)` at
/// the P-CSCF; at the UE the roles of the lists are the other way round: see [`offers`] of
/// Security-Server, the first of which that the UE supports.
#[must_use]
pub fn preferred(ours: &[(Algorithms, Mode)], theirs: &[Offer]) -> Option<Offer> {
    ours.iter().find_map(|(algorithms, mode)| {
        theirs.iter().find(|it| it.algorithms == *algorithms && it.mode == *mode).copied()
    })
}

/// Where the second list differs from the first, with both values: number of mechanisms, name, or
/// the first parameter. `None` when they agree (RFC 3329 §2.3.1: order counts, the order of
/// parameters does not).
#[must_use]
pub fn difference(expected: &[SecurityMechanism], got: &[SecurityMechanism]) -> Option<String> {
    if expected.len() != got.len() {
        return Some(format!("{} mechanisms instead of {}", got.len(), expected.len()));
    }
    let mut pairs = expected.iter().zip(got).enumerate();
    pairs.find_map(|(index, (expected, got))| {
        if expected.agrees_with(got) {
            return None;
        }
        let at = index + 1;
        if !expected.name.eq_ignore_ascii_case(&got.name) {
            return Some(format!("mechanism {at}: {} instead of {}", got.name, expected.name));
        }
        let names = expected.params.iter().chain(got.params.iter()).map(|param| param.name());
        let value = |it: &SecurityMechanism, name: &str| match it.params.get(name) {
            Some(value) => format!("{name}={value}"),
            None if it.params.has(name) => name.to_owned(),
            None => format!("no {name}"),
        };
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let differs = names
            .map(|name| (value(expected, name), value(got, name)))
            .find(|(expected, got)| !same(expected, got));
        Some(match differs {
            Some((expected, got)) => format!("mechanism {at}: {got} instead of {expected}"),
            None => format!("mechanism {at}: a parameter stands twice"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<SecurityMechanism> {
        text.split(',').map(|it| SecurityMechanism::parse(it).expect(it)).collect()
    }

    const PORTS: &str = "spi-c=1001;spi-s=1002;port-c=40001;port-s=40002";

    #[test]
    fn the_first_own_preference_that_the_peer_offers_is_chosen() {
        let client = list(&format!(
            "ipsec-3gpp;alg=hmac-md5-96;{PORTS}, ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;{PORTS}, \
             tls;q=0.1, ipsec-3gpp;alg=hmac-sha-1-96;mod=UDP-enc-tun;{PORTS}, sdes-srtp;mediasec"
        ));
        let pair = |alg, ealg| Algorithms::named(alg, ealg).expect("go together");
        let own = [
            (pair("aes-gmac", "null"), Mode::Transport),
            (pair("hmac-sha-1-96", "null"), Mode::Transport),
            (pair("hmac-sha-1-96", "aes-cbc"), Mode::Transport),
            (pair("hmac-md5-96", "null"), Mode::Transport),
        ];
        let chosen = preferred(&own, &offers(&client)).expect("one in common");
        assert_eq!(chosen.algorithms, pair("hmac-sha-1-96", "aes-cbc"));
        assert_eq!(chosen.ports.client, 40_001);
        assert_eq!(preferred(&own[..2], &offers(&client)), None);
        let by_q = offers(&list(&format!(
            "ipsec-3gpp;q=0.1;alg=hmac-md5-96;{PORTS},ipsec-3gpp;q=0.5;alg=hmac-sha-1-96;{PORTS}"
        )));
        assert_eq!(by_q[0].algorithms, pair("hmac-sha-1-96", "null"));
    }

    #[test]
    fn an_offer_that_cannot_be_used_says_why() {
        for (text, why) in [
            ("ipsec-3gpp;alg=hmac-md5-96;spi-c=1001;spi-s=1002;port-c=1", "port-s is missing"),
            ("ipsec-3gpp;alg=x;spi-c=1001;spi-s=1002;port-c=1;port-s=2", "alg/ealg=x/null"),
            ("ipsec-3gpp;alg=hmac-md5-96;spi-c=1001;spi-s=1001;port-c=1;port-s=2", "the same"),
            ("ipsec-3gpp;alg=hmac-md5-96;spi-c=1001;spi-s=1;port-c=1;port-s=2", "below 256"),
            ("ipsec-3gpp;alg=hmac-md5-96;spi-c=9999999999;spi-s=1;port-c=1;port-s=2", "spi-c"),
            ("ipsec-3gpp;alg=hmac-md5-96;spi-c=1001;spi-s=1002;port-c=1;port-s=5060", "never"),
            ("ipsec-3gpp;alg=hmac-md5-96;prot=ah;spi-c=1001;spi-s=1;port-c=1;port-s=2", "prot=ah"),
        ] {
            let fault = Offer::of(&list(text)[0]).expect_err(text).to_string();
            assert!(fault.contains(why), "{text}: {fault}");
        }
    }

    #[test]
    fn the_first_difference_is_told_with_both_values() {
        let sent =
            list("ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;spi-c=1, ipsec-3gpp;q=0.5;alg=x;spi-c=1");
        let check = |got: &str, expected: Option<&str>| {
            assert_eq!(difference(&sent, &list(got)).as_deref(), expected, "{got}");
        };
        check("ipsec-3gpp;alg=hmac-sha-1-96;Q=0.9;spi-c=1,ipsec-3gpp;q=0.5;alg=x;spi-c=1", None);
        check("ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;spi-c=1", Some("1 mechanisms instead of 2"));
        let text = "ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;spi-c=1,ipsec-3gpp;q=0.5;alg=x;spi-c=2";
        check(text, Some("mechanism 2: spi-c=2 instead of spi-c=1"));
        let text = "ipsec-3gpp;q=0.9;alg=hmac-sha-1-96,ipsec-3gpp;q=0.5;alg=x;spi-c=1";
        check(text, Some("mechanism 1: no spi-c instead of spi-c=1"));
        let text = "tls;q=0.9;alg=hmac-sha-1-96;spi-c=1,ipsec-3gpp;q=0.5;alg=x;spi-c=1";
        check(text, Some("mechanism 1: tls instead of ipsec-3gpp"));
    }
}
