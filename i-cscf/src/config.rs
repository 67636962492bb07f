//! What an I-CSCF has to be told: its name, its domains, its peers and the S-CSCFs to choose from.

use std::net::SocketAddr;

use cscf_core::time::Duration;

/// Configuration of an I-CSCF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its own SIP URI, e.g. `sip:i1.ims.example:4060`.
    pub uri: String,
    /// The domains it is the entry point of; the first is the realm of the home network.
    pub home_domains: Vec<String>,
    /// Peers inside the trust domain; port 0 stands for every port of the address
    /// (TS 24.229 §4.4).
    pub trusted: Vec<SocketAddr>,
    /// The S-CSCFs it may choose, in order of preference.
    pub scscfs: Vec<ScscfConfig>,
    /// How long an S-CSCF may take to answer a REGISTER while there is another one to try.
    pub candidate_for: Duration,
    /// How long all S-CSCFs together may take for one REGISTER; below the 32 s that the P-CSCF
    /// waits.
    pub candidates_for: Duration,
    /// Whether a request outside REGISTER goes to another S-CSCF when the assigned one is silent
    /// (S-CSCF restoration, TS 23.380 §4.3).
    pub restoration: bool,
    /// What a request for a user is answered whom the HSS does not know: 404 or 604.
    pub unknown_user: u16,
    /// Whether requests for other domains are sent on (TS 24.229 §5.3.2.1); else 404.
    pub transit: bool,
}

/// An S-CSCF that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScscfConfig {
    /// Its SIP URI, which is its name towards the HSS, e.g. `sip:s1.ims.example:6060`.
    pub uri: String,
    /// The capabilities it has (TS 29.228 §6.7).
    pub capabilities: Vec<u32>,
}

impl Config {
    /// The defaults: 6 s for a candidate, 24 s for all, no peers, no S-CSCFs, no restoration.
    #[must_use]
    pub fn new(uri: impl Into<String>, home_domain: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            home_domains: vec![home_domain.into()],
            trusted: Vec::new(),
            scscfs: Vec::new(),
            candidate_for: Duration::from_secs(6),
            candidates_for: Duration::from_secs(24),
            restoration: false,
            unknown_user: 404,
            transit: false,
        }
    }

    /// Whether this source belongs to the trust domain (TS 24.229 §4.4).
    #[must_use]
    pub fn trusts(&self, source: SocketAddr) -> bool {
        self.trusted
            .iter()
            .any(|peer| peer.ip() == source.ip() && (peer.port() == 0 || *peer == source))
    }

    /// Whether the host is one of the home network's domains.
    #[must_use]
    pub fn is_home(&self, host: &str) -> bool {
        self.home_domains.iter().any(|domain| domain.eq_ignore_ascii_case(host))
    }
}
