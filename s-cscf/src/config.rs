//! What an S-CSCF has to be told: its name, its domains, its peers, and the choices that the
//! standards leave to the operator.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::auth::Algorithm;
use cscf_core::config::{Breadth, HssFailure};
use cscf_core::identity::Numbering;
use cscf_core::ids::{Ids, Shard};
use cscf_core::ifc::PROFILE_MAX;
use cscf_core::registrar::ExpiryLimits;
use cscf_core::sip::{DEFAULT_PORT, MediaPolicy, Uri};
use cscf_core::time::Duration;

/// Configuration of an S-CSCF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its own SIP URI without user part, which is its name towards the HSS, e.g.
    /// `sip:s1.ims.example:6060`.
    pub uri: String,
    /// The domains it serves; the first is the realm, and the inter-operator identifier.
    pub home_domains: Vec<String>,
    /// The entry point of the home network: the SIP URI of an I-CSCF.
    pub icscf: String,
    /// Where requests for other domains go; by the Request-URI itself if none.
    pub exit: Option<String>,
    /// The numbering plan (TS 24.229 §5.4.3.2).
    pub numbering: Numbering,
    /// Where numbers go that are not of this network: the SIP URI of what stands for a BGCF.
    pub break_out: Option<String>,
    /// Peers inside the trust domain; port 0 stands for every port of the address
    /// (TS 24.229 §4.4).
    pub trusted: Vec<SocketAddr>,
    /// Whether other networks belong to the trust domain: what is asserted goes there, too.
    pub trusts_other_networks: bool,
    /// How long registrations may last.
    pub expiry: ExpiryLimits,
    /// How long an answer to a challenge may take (reg-await-auth, TS 24.229 §7.8).
    pub await_auth_for: Duration,
    /// Whether a right AKA answer that came without security agreement registers (this emulator's
    /// choice; IMS AKA proper always has one).
    pub aka_without_sec_agree: AkaWithoutSecAgree,
    /// Whether a REGISTER without Authorization from a 3GPP access is judged by the address of the
    /// UE (GIBA, TS 33.203 Annex T).
    pub giba: bool,
    /// How many challenges in a row may fail before 403; at least 1.
    pub failures_max: u8,
    /// How many synchronisation failures in a row are repaired before 403.
    pub resyncs_max: u8,
    /// Whether a wrong response gets a new challenge while `failures_max` allows, instead of 403 at
    /// once.
    pub retry_after_wrong_response: bool,
    /// Which protected REGISTER of a user is challenged again: every n-th; 0 none.
    pub reauthenticate_every: u32,
    /// How old the authentication of a user may be when it registers again; older ones are
    /// challenged. None means any.
    pub reauthenticate_after: Option<Duration>,
    /// Authentication vectors asked for at a time; those left over serve the next challenges.
    pub vectors_per_request: u32,
    /// The AKA algorithms that users are challenged with, most preferred first; at least one
    /// (TS 24.229 §5.4.1.2.1A).
    pub aka_algorithms: Vec<Algorithm>,
    /// Private identities that are challenged with other AKA algorithms.
    pub aka_algorithms_by_user: BTreeMap<String, Vec<Algorithm>>,
    /// What a REGISTER is answered when the HSS cannot be asked.
    pub hss_failure: HssFailure,
    /// How long the nonce of SIP digest may be used again.
    pub nonce_for: Duration,
    /// Contacts that an implicit registration set may have; one more is refused with 403.
    pub bindings_max: usize,
    /// Whether data for its restoration are left with the HSS, and fetched when a user is not known
    /// here (TS 23.380 §4).
    pub restoration: bool,
    /// Whether users of SIP digest prove their requests other than REGISTER, too
    /// (TS 24.229 §5.4.3.6).
    pub proxy_authentication: bool,
    /// Flows that one instance of a user may have; one more is refused with 403
    /// (TS 24.229 §5.4.1.2.2).
    pub flows_max: usize,
    /// Whether a REGISTER with Path is refused where nobody says that Path is understood
    /// (RFC 3327 §5.3).
    pub strict_path: bool,
    /// Capabilities of this node, told in the 200 to REGISTER, e.g. `+g.3gpp.icsi-ref="…"`
    /// (Feature-Caps, RFC 6809).
    pub feature_caps: Option<String>,
    /// Bytes of a user profile that can be kept; a larger one is given back
    /// (TS 29.228 §6.1.2.1).
    pub profile_max: usize,
    /// Users that may be under challenge at a time; beyond that REGISTER gets 503.
    pub challenges_max: usize,
    /// Networks whose users may register; none means every network.
    pub visited_networks: Option<Vec<String>>,
    /// The IMS communication services a user may ask for; none means every service (RFC 6050).
    pub services: Option<Vec<String>>,
    /// What the media profiles of users allow, by number; one without entry allows everything
    /// (TS 24.229 §6.3).
    pub media_profiles: BTreeMap<u32, MediaPolicy>,
    /// What becomes of a request for more contacts at a time than its Max-Breadth allows.
    pub breadth: Breadth,
    /// How long an application server may take for its first response to an INVITE; four times as
    /// long for its final response to another request (TS 24.229 §5.4.3.2, §5.4.3.3).
    pub server_answers_within: Duration,
    /// How long the profile of a user without contacts is kept, and the HSS remembers this node
    /// (TS 24.229 §5.4.3.3).
    pub unregistered_for: Duration,
    /// Profiles of users without contacts that are kept.
    pub unregistered_max: usize,
    /// Dialogs that are remembered; beyond that the oldest is forgotten, and still routed.
    pub dialogs_max: usize,
    /// Subscriptions to the reg event that are kept; beyond that SUBSCRIBE gets 503.
    pub subscriptions_max: usize,
    /// Which engine of its node it works in.
    pub shard: Shard,
}

/// What an AKA answer without security agreement is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AkaWithoutSecAgree {
    /// It registers.
    Allow,
    /// 403.
    Deny,
}

impl Config {
    /// The AKA algorithms of this user, most preferred first.
    #[must_use]
    pub fn aka_algorithms_of(&self, impi: &str) -> &[Algorithm] {
        self.aka_algorithms_by_user.get(impi).unwrap_or(&self.aka_algorithms)
    }

    /// The defaults: 60 s to 600000 s, 4 min for an answer, no peers, everything else allowed.
    #[must_use]
    pub fn new(
        uri: impl Into<String>,
        home_domain: impl Into<String>,
        icscf: impl Into<String>,
    ) -> Self {
        Self {
            uri: uri.into(),
            home_domains: vec![home_domain.into()],
            icscf: icscf.into(),
            exit: None,
            numbering: Numbering::default(),
            break_out: None,
            trusted: Vec::new(),
            trusts_other_networks: true,
            expiry: ExpiryLimits {
                min: Duration::from_secs(60),
                max: Duration::from_secs(600_000),
                default: Duration::from_secs(600_000),
                min_override: false,
            },
            await_auth_for: Duration::from_secs(240),
            aka_without_sec_agree: AkaWithoutSecAgree::Allow,
            giba: false,
            failures_max: 2,
            resyncs_max: 2,
            retry_after_wrong_response: false,
            reauthenticate_every: 0,
            reauthenticate_after: None,
            vectors_per_request: 1,
            aka_algorithms: vec![Algorithm::AKAV1_MD5],
            aka_algorithms_by_user: BTreeMap::new(),
            hss_failure: HssFailure::TimedOut,
            nonce_for: Duration::from_secs(3600),
            bindings_max: 16,
            restoration: false,
            proxy_authentication: false,
            flows_max: 4,
            strict_path: false,
            feature_caps: None,
            profile_max: PROFILE_MAX,
            challenges_max: 200_000,
            visited_networks: None,
            services: None,
            media_profiles: BTreeMap::new(),
            breadth: Breadth::FallBack,
            server_answers_within: Duration::from_secs(5),
            unregistered_for: Duration::from_secs(300),
            unregistered_max: 100_000,
            dialogs_max: 200_000,
            subscriptions_max: 400_000,
            shard: Shard::ALONE,
        }
    }

    /// The realm of the home network.
    #[must_use]
    pub fn realm(&self) -> &str {
        self.home_domains.first().map_or("", String::as_str)
    }

    /// Whether this source belongs to the trust domain (TS 24.229 §4.4).
    #[must_use]
    pub fn trusts(&self, source: SocketAddr) -> bool {
        self.trusted
            .iter()
            .any(|peer| peer.ip() == source.ip() && (peer.port() == 0 || *peer == source))
    }

    /// Whether an application server belongs to the trust domain: a peer of it, or a host of the
    /// home network (TS 24.229 §4.4).
    #[must_use]
    pub fn is_trusted_server(&self, server: &str) -> bool {
        let Ok(uri) = Uri::parse(server) else { return false };
        let host = uri.host().map(ToString::to_string).unwrap_or_default();
        let port = uri.port().unwrap_or(DEFAULT_PORT);
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        match address {
            Ok(ip) => self.trusts((ip, port).into()),
            Err(_) => self.home_domains.iter().any(|domain| {
                let rest = host.len().checked_sub(domain.len()).map(|at| host.split_at(at));
                rest.is_some_and(|(rest, end)| {
                    end.eq_ignore_ascii_case(domain) && (rest.is_empty() || rest.ends_with('.'))
                })
            }),
        }
    }

    /// Whether the host is one of the home network's domains.
    #[must_use]
    pub fn is_home(&self, host: &str) -> bool {
        self.home_domains.iter().any(|domain| domain.eq_ignore_ascii_case(host))
    }

    /// A temporary GRUU: a SIP URI of this node, so that requests for it come here
    /// (TS 24.229 §5.4.7A.3).
    #[must_use]
    pub fn temporary_gruu(&self, token: &str) -> String {
        let (scheme, host) = self.uri.split_once(':').unwrap_or(("sip", &self.uri));
        format!("{scheme}:tgruu.{token}@{host};gr")
    }

    /// The user part of a URI of its own that leads back to this engine of the node.
    #[must_use]
    pub(crate) fn marked(&self, user: &str) -> String {
        self.shard.marked(self.shard.id, user)
    }

    /// The user part of a Service-Route: the users are spread over the engines of the node.
    pub(crate) fn service_route_token(&self, ids: &mut Ids) -> String {
        let token = ["orig-", &ids.token(8)].concat();
        let home = self.shard.home_of(ids_sum(&token));
        self.shard.marked(home, &token)
    }

    /// Its own URI with this user part and parameter, in angle brackets, for Service-Route and
    /// Record-Route: `<sip:user@host;lr>`.
    #[must_use]
    pub fn route_of(&self, user: &str) -> String {
        let (scheme, host) = self.uri.split_once(':').unwrap_or(("sip", &self.uri));
        ["<", scheme, ":", user, "@", host, ";lr>"].concat()
    }
}

/// A number from the bytes of a token, the same in every run.
fn ids_sum(token: &str) -> u64 {
    token.bytes().map(u64::from).sum()
}
