//! What an emulated UE is: its identities, its card or password, its habits and its mistakes.

use std::net::SocketAddr;

use cscf_core::auth::{
    AkaKeys, AkaSet, Amf, FreshnessCheck, IndBits, Key, Milenage, Sqn, Usim, derive_opc,
};
use cscf_core::config::{
    Auth, CentreConfig, Lab, NodeConfig, SecAgree, ServerBehaviour, SubscriberConfig,
    SubscriberTransport, TimerValues,
};
use cscf_core::dialog::TimerPolicy;
use cscf_core::time::Duration;
use cscf_core::transport::Transport;
use cscf_core::transport::ipsec::Algorithms;
use cscf_core::ua::Habits;

use super::alive::KeepAlive;
use super::codecs::CodecSet;
use super::emergency::EmergencyTimers;
use super::mistakes::Mistakes;
use super::registration::ELSEWHERE;

/// Everything a UE knows before it is switched on.
#[derive(Clone, Debug)]
pub struct UeConfig {
    /// Name in traces, e.g. `alice`.
    pub name: String,
    /// Private identity: the user name of authentication.
    pub impi: String,
    /// Public identities the user may call with, the default first.
    pub impus: Vec<String>,
    /// The public identity to register: without ISIM the one made of the IMSI
    /// (TS 24.229 §5.1.1.1A).
    pub register_impu: String,
    /// Home network domain name; also the registrar.
    pub domain: String,
    /// The P-CSCF's URI without parameters, e.g. `sip:127.0.0.1:5060`.
    pub pcscf: String,
    /// Further P-CSCFs, for when that one fails or sends us away.
    pub other_pcscfs: Vec<String>,
    /// The same P-CSCFs in the same order, as they are found over TLS.
    pub tls_pcscfs: Vec<String>,
    /// Our own address: where we listen, and our Contact.
    pub address: SocketAddr,
    /// UDP, TCP, TLS or WebSocket.
    pub transport: Transport,
    /// How we authenticate.
    pub credentials: Credentials,
    /// The value of P-Access-Network-Info; with it the UE is on a 3GPP access and has its timers.
    pub access_network_info: Option<String>,
    /// The instance: `urn:gsma:imei:…` (TS 23.003 §13.8).
    pub instance: Option<String>,
    /// The registration interval wished for.
    pub expires: Duration,
    /// Whether calls use preconditions (RFC 3312).
    pub preconditions: bool,
    /// Whether provisional responses may be reliable (RFC 3262).
    pub reliable_provisionals: bool,
    /// When the resources of a call are there.
    pub resources: Resources,
    /// The codecs offered and taken.
    pub codecs: CodecSet,
    /// Whether it answers with every codec that both know instead of the best one.
    pub all_codecs: bool,
    /// Whether it can video.
    pub video: bool,
    /// Session timers.
    pub session_timer: TimerPolicy,
    /// Info packages, redirections, who refreshes.
    pub habits: Habits,
    /// What it does when it is asked to call somebody (RFC 3515).
    pub refers: Refers,
    /// Whether to subscribe to the own registration state (TS 24.229 §5.1.1.3).
    pub reg_event: bool,
    /// T1 and T2 of what the UE repeats itself.
    pub timers: TimerValues,
    /// What sessions and messages have as their Contact, where it was assigned.
    pub gruu: Gruu,
    /// With it the registration is a flow of RFC 5626, one of several of this instance.
    pub reg_id: Option<u32>,
    /// How it keeps its flow alive.
    pub keep_alive: KeepAlive,
    /// What it agrees on with the P-CSCF to protect what they say to each other.
    pub security: Protection,
    /// The algorithms it offers there, most preferred first.
    pub algorithms: Vec<Algorithms>,
    /// Whether it tries again by itself when nobody registered it (RFC 5626 §4.5).
    pub retries: bool,
    /// Whether it knows early IMS security: registers without authentication where the network
    /// refuses the security agreement (TS 33.203 annex T).
    pub early_security: bool,
    /// An emergency PDN connection: it registers for emergency only (TS 24.229 §5.1.6).
    pub emergency: Option<EmergencyTimers>,
    /// Whether it sends and takes short messages over IP, and says so when it registers
    /// (TS 24.341 §5.3.2.2).
    pub sms: bool,
    /// The number of its service centre (TS 31.102: EF SMSP), also the user part of its PSI.
    pub centre: String,
    /// How many calls at a time, then 486.
    pub calls_max: usize,
    /// What it does with what comes in, when nobody commands it.
    pub robot: Robot,
    /// What it does wrong.
    pub mistakes: Mistakes,
    /// Private and public identity of somebody else, for mistakes.
    pub somebody_else: (String, String),
}

/// What a UE agrees on with its P-CSCF (RFC 3329).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// Nothing.
    #[default]
    Off,
    /// Security associations, with the keys of its card (TS 33.203 §7).
    Ipsec,
    /// TLS (TS 33.203 annex O).
    Tls,
}

/// Which Contact a UE gives others (TS 24.229 §5.1.2A.1.1, RFC 5627 §4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gruu {
    /// Its address.
    #[default]
    Off,
    /// The public GRUU.
    Public,
    /// The temporary GRUU, which says nothing of who it is.
    Temporary,
}

/// How a UE authenticates.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// With a USIM.
    Aka {
        /// The subscriber key.
        k: Key,
        /// The operator variant key.
        opc: [u8; 16],
        /// The authentication management field of the card's operator.
        amf: Amf,
        /// The greatest sequence number the card has accepted.
        sqn: Sqn,
    },
    /// With a USIM of another algorithm set than Milenage.
    Card {
        /// The keys with their algorithm set.
        keys: AkaKeys,
        /// The greatest sequence number the card has accepted.
        sqn: Sqn,
    },
    /// With a password.
    Digest {
        /// The password.
        password: String,
    },
}

impl Credentials {
    /// Cards that may be meant where this one finds a MAC wrong, and what would be wrong then.
    pub(super) fn other_readings(&self, mistakes: &Mistakes) -> Vec<(Milenage, &'static str)> {
        let Self::Aka { k, opc, .. } = self else { return Vec::new() };
        let doubled = "the network derives OPc from the card's OPc: OPc taken as OP";
        let raw = "the network uses the card's OP as it is: OP taken as OPc";
        if mistakes.op_as_opc {
            vec![(Milenage::new(*k, *opc), raw)]
        } else {
            vec![(Milenage::with_op(*k, *opc), doubled)]
        }
    }

    /// The card, if there is one.
    pub(super) fn usim(&self, mistakes: &Mistakes) -> Option<Usim<AkaSet>> {
        let (functions, sqn) = match self {
            Self::Aka { k, opc, sqn, .. } => {
                let key = if mistakes.wrong_key { k.map(|byte| !byte) } else { *k };
                let opc = if mistakes.op_as_opc { derive_opc(*k, *opc) } else { *opc };
                (AkaSet::Milenage(Box::new(Milenage::new(key, opc))), sqn)
            }
            Self::Card { keys, sqn } => (keys.functions(), sqn),
            Self::Digest { .. } => return None,
        };
        // Ahead of every clock for centuries, and still far from the end of the numbers.
        let ahead = Sqn::from_parts(1 << 40, 0, IndBits::default()).unwrap_or(Sqn::MAX);
        let sqn = if mistakes.old_sqn { ahead } else { *sqn };
        let mut freshness = FreshnessCheck::default().starting_at(sqn);
        if mistakes.sqn_ahead {
            freshness = freshness.with_delta(0);
        }
        Some(Usim::new(functions, freshness))
    }
}

/// When the resources of a call are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resources {
    /// So long after the media are known (RFC 3312 §5).
    After(Duration),
    /// Never: the reservation fails so long after the media are known.
    Fail(Duration),
    /// Before the call.
    Reserved,
}

/// What a UE does with a REFER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refers {
    /// Calls whom it is to call.
    #[default]
    Accepts,
    /// Its user does not want to: 603.
    Declines,
    /// It may not: 403.
    Forbids,
}

/// What a UE does without a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Robot {
    /// Rings, and answers after a while.
    Answers {
        /// How long it rings.
        after: Duration,
    },
    /// Refuses calls with 486.
    Busy,
    /// Answers at once, and sends each MESSAGE back.
    Echo,
    /// Rings, and waits for the user's commands.
    #[default]
    None,
    /// Refuses calls with this status.
    Rejects(u16),
    /// Rings until the caller gives up.
    Rings,
}

impl UeConfig {
    /// The UE of a subscriber of the lab, listening on `address`.
    #[must_use]
    pub fn of_subscriber(
        lab: &Lab,
        subscriber: &SubscriberConfig,
        pcscf: &str,
        address: SocketAddr,
    ) -> Self {
        let open = subscriber.impus.iter().filter(|impu| !impu.barred);
        let impus: Vec<String> = open.map(|impu| impu.uri.clone()).collect();
        let default = subscriber.default_impu().unwrap_or_default();
        let has_card = !matches!(subscriber.auth, Auth::Digest { .. });
        let imsi = subscriber.impi.split('@').next().unwrap_or_default();
        let cell = "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001";
        Self {
            name: subscriber.name.clone(),
            impi: subscriber.impi.clone(),
            register_impu: if has_card {
                format!("sip:{}", subscriber.impi)
            } else {
                default.to_owned()
            },
            impus,
            domain: lab.home_of(subscriber).to_owned(),
            pcscf: pcscf.to_owned(),
            other_pcscfs: Vec::new(),
            tls_pcscfs: Vec::new(),
            address,
            transport: match subscriber.transport {
                SubscriberTransport::Tcp => Transport::Tcp,
                SubscriberTransport::AsRegistered | SubscriberTransport::Udp => Transport::Udp,
            },
            credentials: credentials_of(&subscriber.auth),
            access_network_info: has_card.then(|| cell.to_owned()),
            instance: has_card.then(|| instance_of(imsi)),
            expires: Duration::from_secs(600_000),
            preconditions: has_card,
            reliable_provisionals: true,
            resources: Resources::After(Duration::from_millis(100)),
            codecs: if has_card { CodecSet::VoLte } else { CodecSet::Narrow },
            all_codecs: false,
            video: false,
            session_timer: TimerPolicy::default(),
            habits: Habits::default(),
            refers: Refers::Accepts,
            reg_event: true,
            timers: if has_card { lab.air_timers } else { lab.core_timers },
            gruu: Gruu::Off,
            reg_id: None,
            keep_alive: KeepAlive::default(),
            security: match subscriber.ipsec {
                Some(SecAgree::Required) => Protection::Ipsec,
                _ => Protection::Off,
            },
            algorithms: [("hmac-sha-1-96", "null"), ("hmac-sha-1-96", "aes-cbc")]
                .into_iter()
                .filter_map(|(alg, ealg)| Algorithms::named(alg, ealg))
                .collect(),
            retries: false,
            early_security: false,
            emergency: None,
            sms: true,
            centre: centre_of(lab, lab.home_of(subscriber)),
            calls_max: 2,
            robot: Robot::None,
            mistakes: Mistakes::default(),
            somebody_else: somebody_else(lab, subscriber),
        }
    }
}

/// What the UE of a subscriber has to authenticate with.
fn credentials_of(auth: &Auth) -> Credentials {
    match auth {
        Auth::Aka { k, opc, amf, sqn } => Credentials::Aka {
            k: *k,
            opc: *opc,
            amf: *amf,
            sqn: Sqn::new(*sqn).unwrap_or_default(),
        },
        Auth::Card { keys, sqn, .. } => {
            Credentials::Card { keys: *keys, sqn: Sqn::new(*sqn).unwrap_or_default() }
        }
        Auth::Digest { password, .. } => Credentials::Digest { password: password.clone() },
    }
}

impl UeConfig {
    /// Host and port of Via on our transport: a browser knows no address of its own
    /// (RFC 7118 §5.1).
    #[must_use]
    pub fn sent_by(&self) -> (String, u16) {
        match self.transport {
            Transport::Ws | Transport::Wss => (self.invalid_host(), self.transport.default_port()),
            Transport::Tcp | Transport::Tls | Transport::Udp => {
                (self.via_host(), self.address.port())
            }
        }
    }

    /// A host that stands for nobody, and for no other UE.
    pub(super) fn invalid_host(&self) -> String {
        let letters = self.name.chars().filter(char::is_ascii_alphanumeric);
        format!("{}.invalid", letters.collect::<String>().to_ascii_lowercase())
    }

    /// Whether it is on WebSocket.
    #[must_use]
    pub const fn is_web(&self) -> bool {
        matches!(self.transport, Transport::Ws | Transport::Wss)
    }

    /// The host of Via: our address, or by mistake another.
    #[must_use]
    pub fn via_host(&self) -> String {
        if self.mistakes.via_differs { ELSEWHERE.to_owned() } else { self.address.ip().to_string() }
    }
}

/// The number of the service centre of a network: its gateway's, else the usual one.
fn centre_of(lab: &Lab, domain: &str) -> String {
    let is_gateway = |node: &&NodeConfig| {
        node.server.behaviour == ServerBehaviour::ShortMessages && lab.domain_of(node) == domain
    };
    let gateway = lab.nodes.iter().find(is_gateway);
    gateway.map_or_else(|| CentreConfig::default().number, |node| node.server.centre.number.clone())
}

/// The identities of the first other subscriber; invented ones in a lab with one subscriber.
fn somebody_else(lab: &Lab, subscriber: &SubscriberConfig) -> (String, String) {
    let other = lab.subscribers.iter().find(|other| other.impi != subscriber.impi);
    let impi = other.as_ref().map(|other| other.impi.clone());
    let impu = other.and_then(|other| other.default_impu().map(str::to_owned));
    let invented = format!("somebody.else@{}", lab.domain);
    (impi.unwrap_or_else(|| invented.clone()), impu.unwrap_or_else(|| format!("sip:{invented}")))
}

/// An instance identity made of an IMSI: TAC 35209900 and the last six digits
/// (TS 23.003 §13.8).
fn instance_of(imsi: &str) -> String {
    let digits: Vec<char> = imsi.chars().filter(char::is_ascii_digit).collect();
    let last: String = digits.iter().skip(digits.len().saturating_sub(6)).collect();
    format!("urn:gsma:imei:35209900-{last:0>6}-0")
}
