//! P-Access-Network-Info (RFC 7315 §5.4, TS 24.229 §7.2A.4), P-Visited-Network-ID (RFC 7315 §5.3),
//! P-Early-Media (RFC 5009) and Session-ID (RFC 7989).

use std::fmt;

use super::headers::Headers;
use super::message_ext::HeaderError;
use super::misc::Tagged;
use super::name::HeaderName;
use super::params::Params;
use super::scan::{Scan, SyntaxError, is_token, quote, unquote};

/// One P-Access-Network-Info value: the access type or class is the token.
pub type AccessNetworkInfo = Tagged;

impl Tagged {
    /// The access type of a P-Access-Network-Info, e.g. `3GPP-E-UTRAN-FDD`.
    #[must_use]
    pub fn access_type(&self) -> &str {
        &self.token
    }

    /// Whether the network itself provided the value (`np`, `network-provided`).
    #[must_use]
    pub fn is_network_provided(&self) -> bool {
        self.params.has("network-provided") || self.params.has("np")
    }

    /// The cell: `utran-cell-id-3gpp`, `cgi-3gpp` or another location parameter, without quotes.
    #[must_use]
    pub fn cell(&self) -> Option<&str> {
        const CELLS: [&str; 6] = [
            "utran-cell-id-3gpp",
            "cgi-3gpp",
            "ci-3gpp2",
            "ci-3gpp2-femto",
            "i-wlan-node-id",
            "dsl-location",
        ];
        CELLS.iter().find_map(|name| self.param(name))
    }

    /// Whether the access is one whose Gm side has the long timers of TS 24.229 table 7.7.1:
    /// GERAN, UTRAN, E-UTRAN, the 3GPP2 types and IEEE 802.11.
    #[must_use]
    pub fn has_air_interface_timers(&self) -> bool {
        const PREFIXES: [&str; 5] =
            ["3GPP-GERAN", "3GPP-UTRAN", "3GPP-E-UTRAN", "3GPP2-", "IEEE-802.11"];
        PREFIXES.iter().any(|prefix| {
            self.token.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix))
        })
    }
}

/// One P-Visited-Network-ID value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitedNetworkId {
    /// The network, quotes and escapes undone.
    pub network: String,
    /// The parameters.
    pub params: Params,
}

impl VisitedNetworkId {
    /// A network without parameters.
    #[must_use]
    pub fn new(network: &str) -> Self {
        Self { network: network.to_owned(), params: Params::new() }
    }

    /// Reads one value: a token or a quoted string.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut scan = Scan::new(text);
        scan.skip_lws();
        let network = if scan.peek() == Some(b'"') {
            unquote(scan.quoted()?).into_owned()
        } else {
            scan.token("visited network is missing")?.to_owned()
        };
        scan.skip_lws();
        let at = scan.at();
        let params = Params::parse(scan.rest()).map_err(|fault| fault.at(at))?;
        Ok(Self { network, params })
    }
}

impl fmt::Display for VisitedNetworkId {
    /// A token stays bare except that a domain name is quoted, as P-CSCFs write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_token(&self.network) && !self.network.contains('.') {
            write!(f, "{}{}", self.network, self.params)
        } else {
            write!(f, "{}{}", quote(&self.network), self.params)
        }
    }
}

/// What P-Early-Media says (RFC 5009 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EarlyMedia {
    /// `supported`.
    pub supported: bool,
    /// `gated`.
    pub gated: bool,
    /// The direction for the first media line, if one is given.
    pub direction: Option<super::sdp::Direction>,
}

/// The Session-ID of an end and its peer (RFC 7989 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionId {
    /// 32 lower-case hexadecimal digits.
    pub local: String,
    /// `remote` and other parameters.
    pub params: Params,
}

impl SessionId {
    /// Reads a Session-ID.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] when it does not start with 32 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let (id, at) = (text.get(..32).unwrap_or_default(), 32);
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SyntaxError::new(0, "Session-ID is not 32 hexadecimal digits"));
        }
        let rest = text.get(at..).unwrap_or_default();
        let params = Params::parse(rest).map_err(|fault| fault.at(at))?;
        Ok(Self { local: id.to_ascii_lowercase(), params })
    }

    /// The `remote` parameter.
    #[must_use]
    pub fn remote(&self) -> Option<&str> {
        self.params.get("remote")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.local)?;
        self.params.fmt(f)
    }
}

impl Headers {
    /// The P-Access-Network-Info values; empty if absent.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] for the first value that breaks the grammar.
    pub fn access_network_info(&self) -> Result<Vec<AccessNetworkInfo>, HeaderError> {
        self.typed_list(HeaderName::PAccessNetworkInfo, Tagged::parse)
    }

    /// The P-Visited-Network-ID values; empty if absent.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] for the first value that breaks the grammar.
    pub fn visited_networks(&self) -> Result<Vec<VisitedNetworkId>, HeaderError> {
        self.typed_list(HeaderName::PVisitedNetworkId, VisitedNetworkId::parse)
    }

    /// P-Early-Media, unknown words ignored (RFC 5009 §8); `None` if absent.
    #[must_use]
    pub fn early_media(&self) -> Option<EarlyMedia> {
        if !self.contains(HeaderName::PEarlyMedia) {
            return None;
        }
        let mut it = EarlyMedia::default();
        for word in self.values(HeaderName::PEarlyMedia) {
            let word = word.split(';').next().unwrap_or_default().trim();
            it.supported |= word.eq_ignore_ascii_case("supported");
            it.gated |= word.eq_ignore_ascii_case("gated");
            it.direction = it.direction.or_else(|| super::sdp::Direction::parse(word));
        }
        Some(it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::sdp::Direction;

    #[test]
    fn access_network_info_tells_type_and_cell() {
        let mut headers = Headers::new();
        headers.push(
            HeaderName::PAccessNetworkInfo,
            "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001, \
             IEEE-802.11;np;i-wlan-node-id=\"a\"",
        );
        let list = headers.access_network_info().expect("parses");
        assert_eq!(
            (list[0].access_type(), list[0].cell()),
            ("3GPP-E-UTRAN-FDD", Some("0010100010000001"))
        );
        assert!(list[0].has_air_interface_timers() && !list[0].is_network_provided());
        assert!(list[1].is_network_provided());
        assert!(!AccessNetworkInfo::new("3GPP-NR-FDD").has_air_interface_timers());
    }

    #[test]
    fn a_visited_network_is_a_token_or_a_string() {
        for (text, network) in
            [("visited", "visited"), (r#""Visited network 1""#, "Visited network 1")]
        {
            let it = VisitedNetworkId::parse(text).expect("parses");
            assert_eq!((it.network.as_str(), it.to_string().as_str()), (network, text));
        }
        assert_eq!(VisitedNetworkId::new("visited.net").to_string(), r#""visited.net""#);
        assert!(VisitedNetworkId::parse("").is_err());
    }

    #[test]
    fn early_media_ignores_words_it_does_not_know() {
        let mut headers = Headers::new();
        assert_eq!(headers.early_media(), None);
        headers.push(HeaderName::PEarlyMedia, "novel, sendonly;x=1, supported, inactive");
        let direction = Some(Direction::SendOnly);
        let expected = EarlyMedia { supported: true, gated: false, direction };
        assert_eq!(headers.early_media(), Some(expected));
    }

    #[test]
    fn a_session_id_has_32_digits() {
        let text = "ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2";
        let it = SessionId::parse(text).expect("parses");
        assert_eq!(it.remote(), Some("47755a9de7794ba387653f2099600ef2"));
        assert_eq!(it.to_string(), text);
        assert!(SessionId::parse("ab30").is_err());
    }
}
