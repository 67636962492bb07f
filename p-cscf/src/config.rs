//! What an operator tells a P-CSCF: who it is, whom it trusts, where the home network is, and the
//! choices TS 24.229 §5.2 leaves to the operator. Reading files is not done here.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::config::{EmergencyCalls, GmSecurity, SecAgree};
use cscf_core::sip::MediaPolicy;
use cscf_core::time::Duration;
use cscf_core::transaction::Timers;
use cscf_core::transaction::timers::AIR_ACCESS_TYPES;
use cscf_core::transport::Transport;

/// The configuration of one P-CSCF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its name in traces and charging identifiers, e.g. `p1`.
    pub name: String,
    /// `host:port` as others are told (IPv6 in brackets): Path, Record-Route and its own URI.
    pub uri: String,
    /// The same for UEs on TLS or WebSocket, by transport.
    pub secured_uris: Vec<(Transport, String)>,
    /// Domains of the home networks it serves; a REGISTER for another one is refused. Empty: any.
    pub home_domains: Vec<String>,
    /// The string of P-Visited-Network-ID (TS 24.229 §5.2.2.1).
    pub visited_network: String,
    /// URIs of the entry points (I-CSCF) of the home network, tried in order.
    pub core_entries: Vec<String>,
    /// Peers inside the trust domain. Address and port name a peer (several nodes may share the
    /// loopback address); port 0 stands for every port of the address.
    pub trusted_peers: Vec<SocketAddr>,
    /// What it says about charging.
    pub charging: Charging,
    /// Access types, as in P-Access-Network-Info, towards which the radio timer values hold
    /// (TS 24.229 §7.7). Compared without regard to case.
    pub air_access_types: Vec<String>,
    /// How long all entry points together may take to answer a REGISTER, in equal shares.
    pub core_within: Duration,
    /// How long a challenged UE may take (reg-await-auth, TS 24.229 §5.2.2.2).
    pub reg_await_auth: Duration,
    /// How long a binding outlives its registration, so that a late refresh still finds it.
    pub expiry_guard: Duration,
    /// How long a dialog without session timer may stay without any request.
    pub dialog_idle_max: Duration,
    /// What happens to a Route that is not the stored Service-Route.
    pub route_mismatch: RouteMismatch,
    /// What happens to requests of UEs that are not registered.
    pub stranger: Stranger,
    /// Whether a silent S-CSCF sends the UE to a new registration (TS 24.229 §5.2.6.3.1).
    pub restoration: bool,
    /// Whether Reason in a response reaches the UE.
    pub reason_to_ue: bool,
    /// Whether it subscribes to the reg event of its users (TS 24.229 §5.2.3).
    pub reg_event_subscription: bool,
    /// How long a NOTIFY of its own subscriptions is awaited: timer N (RFC 6665 §4.1.2.4).
    pub notify_awaited: Duration,
    /// Whether emergency registrations are let through (TS 24.229 §5.2.2.1); else 403.
    pub emergency_registration: bool,
    /// Whether it knows flows (RFC 5626): its Path says `ob` to UEs that register them.
    pub outbound: bool,
    /// Media and codecs that may pass (TS 24.229 §6.2).
    pub media: MediaPolicy,
    /// Whether a policy function is asked for resources (TS 24.229 §5.2.7.2).
    pub policy: bool,
    /// Retry-After of refusals for lack of resources, in seconds.
    pub policy_retry_after: Option<u32>,
    /// Retry-After, in seconds, of the 503 to requests for a UE whose signalling bearer is lost;
    /// `None`: 500 without.
    pub signalling_lost_retry_after: Option<u32>,
    /// The Flow-Timer of UEs whose flow is kept alive (RFC 5626 §5.4), in seconds; with it a flow
    /// that is silent for longer has failed.
    pub flow_timer: Option<u32>,
    /// Emergency calls.
    pub emergency: Emergency,
    /// The security agreement with UEs.
    pub security: Security,
    /// How much it remembers at most.
    pub limits: Limits,
}

/// What is done with emergency calls (TS 24.229 §5.2.10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emergency {
    /// Numbers that are emergency numbers here, each with its service, e.g. `sos.police`.
    pub numbers: Vec<(String, String)>,
    /// URIs of the E-CSCFs, tried in order.
    pub e_cscfs: Vec<String>,
    /// What becomes of those over a normal registration at home.
    pub calls: EmergencyCalls,
    /// Whether who is not registered may make them.
    pub anonymous: bool,
}

/// The security agreement with UEs (TS 33.203 §7), and whether there is ESP for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// What the lab says.
    pub gm: GmSecurity,
    /// Users, by private identity, for whom it says something else.
    pub of: BTreeMap<String, SecAgree>,
    /// Whether packets can be protected; without it nothing is agreed on.
    pub esp: bool,
}

impl Security {
    /// Whether associations are agreed on at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        let off = |wish: &SecAgree| matches!(wish, SecAgree::Off);
        self.esp && (!off(&self.gm.sec_agree) || self.of.values().any(|wish| !off(wish)))
    }

    /// Whether this user agrees on security.
    #[must_use]
    pub fn wish_for(&self, impi: &str) -> SecAgree {
        self.of.get(impi).copied().unwrap_or(self.gm.sec_agree)
    }
}

/// What P-Charging-Vector says about this node (TS 24.229 §4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charging {
    /// Value of `icid-generated-at`, a host.
    pub generated_at: String,
    /// Name of this network, without the prefix `Type 1`.
    pub ioi: String,
}

/// What to do when the Route of an initial request is not the Service-Route
/// (TS 24.229 §5.2.6.3.3 leaves both).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteMismatch {
    /// 400.
    Reject,
    /// The stored list takes its place.
    Replace,
}

/// What to do with a request of a UE that is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// No answer at all (TS 24.229 §5.2.6.3.2A).
    Discard,
    /// 403, so that a person sees why.
    Refuse,
}

/// Limits of what peers can make this node remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// UEs that are registered.
    pub registered_max: usize,
    /// UEs in the middle of their first registration; beyond, the oldest is forgotten.
    pub pending_max: usize,
    /// Dialogs.
    pub dialogs_max: usize,
    /// Sets of security associations; beyond, the oldest that waits for an answer gives way.
    pub associations_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            registered_max: 1_000_000,
            pending_max: 100_000,
            dialogs_max: 1_000_000,
            associations_max: 1_500_000,
        }
    }
}

impl Config {
    /// A configuration with the usual choices: replace a wrong Route, refuse strangers with 403,
    /// restoration on, 3GPP radio accesses with the long timers.
    #[must_use]
    pub fn new(name: &str, uri: &str, home_domain: &str, core_entry: &str) -> Self {
        Self {
            name: name.to_owned(),
            uri: uri.to_owned(),
            secured_uris: Vec::new(),
            home_domains: vec![home_domain.to_owned()],
            visited_network: home_domain.to_owned(),
            core_entries: vec![core_entry.to_owned()],
            trusted_peers: Vec::new(),
            charging: Charging { generated_at: host_of(uri).to_owned(), ioi: home_domain.into() },
            outbound: true,
            air_access_types: AIR_ACCESS_TYPES.iter().map(|name| (*name).to_owned()).collect(),
            core_within: Duration::from_secs(28),
            reg_await_auth: Duration::from_secs(240),
            expiry_guard: Duration::from_secs(30),
            dialog_idle_max: Duration::from_secs(24 * 3600),
            route_mismatch: RouteMismatch::Replace,
            stranger: Stranger::Refuse,
            restoration: true,
            reason_to_ue: true,
            reg_event_subscription: true,
            notify_awaited: Timers::CORE.n(),
            emergency_registration: true,
            media: MediaPolicy::default(),
            policy: false,
            policy_retry_after: None,
            signalling_lost_retry_after: None,
            flow_timer: None,
            emergency: Emergency::default(),
            security: Security::default(),
            limits: Limits::default(),
        }
    }

    /// `host:port` of the protected server port (TS 33.203 §7.1).
    #[must_use]
    pub fn protected_uri(&self) -> String {
        format!("{}:{}", host_of(&self.uri), self.security.gm.port_ps)
    }

    /// Its host as others are told.
    pub(crate) fn host(&self) -> &str {
        host_of(&self.uri)
    }

    /// Whether this address is inside the trust domain (TS 24.229 §4.4).
    #[must_use]
    pub fn trusts(&self, peer: SocketAddr) -> bool {
        self.trusted_peers
            .iter()
            .any(|known| known.ip() == peer.ip() && (known.port() == 0 || *known == peer))
    }
}

/// The host of `host:port`, IPv6 in its brackets.
fn host_of(uri: &str) -> &str {
    match uri.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => uri,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_address_and_port_name_a_peer() {
        let mut config = Config::new("p1", "127.0.0.1:5060", "ims.example", "sip:127.0.0.1:5070");
        config.trusted_peers = vec!["127.0.0.1:5070".parse().expect("address")];
        assert!(config.trusts("127.0.0.1:5070".parse().expect("address")));
        assert!(!config.trusts("127.0.0.1:40000".parse().expect("address")));
        config.trusted_peers = vec!["10.0.0.7:0".parse().expect("address")];
        assert!(config.trusts("10.0.0.7:40000".parse().expect("address")));
    }

    #[test]
    fn the_host_of_an_address_keeps_its_brackets() {
        assert_eq!(host_of("p1.ims.example:5060"), "p1.ims.example");
        assert_eq!(host_of("[2001:db8::1]:5060"), "[2001:db8::1]");
        assert_eq!(host_of("[2001:db8::1]"), "[2001:db8::1]");
    }
}
