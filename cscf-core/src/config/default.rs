//! The built-in lab: four nodes on loopback and four subscribers, two with a USIM and two with a
//! password.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::control::NodeControl;
use super::edge::EdgeConfig;
use super::entry::EntryConfig;
use super::gather::Gather;
use super::lab::{Lab, NodeConfig, NodeRole, PathMtu, RegistrationLimits, TimerValues};
use super::load::LoadConfig;
use super::numbering::{DnsConfig, NumberingConfig};
use super::security::GmSecurity;
use super::server::ServerConfig;
use super::serving::ServingConfig;
use super::subscriber::{Auth, HssData, Impu, SubscriberConfig, SubscriberTransport};
use super::tls::{SecuredListen, TlsConfig};
use crate::time::Duration;

const OP: [u8; 16] = [
    0xCD, 0xC2, 0x02, 0xD5, 0x12, 0x3E, 0x20, 0xF6, 0x2B, 0x6D, 0x67, 0x6A, 0xC7, 0x2C, 0xB3, 0x18,
];

impl Lab {
    /// The lab that `cscf up` starts without a file: PLMN 001/01 on 127.0.0.1.
    #[must_use]
    pub fn default_lab() -> Self {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self::for_plmn("001", "01", [localhost; 4])
    }

    /// A lab for the PLMN (MNC of 2 or 3 digits) with P-CSCF, I-CSCF, S-CSCF and HSS at these
    /// addresses and the standard ports.
    #[must_use]
    pub fn for_plmn(mcc: &str, mnc: &str, addresses: [IpAddr; 4]) -> Self {
        let domain = format!("ims.mnc{mnc:0>3}.mcc{mcc}.3gppnetwork.org");
        let [p, i, s, hss] = addresses;
        let nodes = [
            ("p1", NodeRole::Pcscf, p, 5060),
            ("i1", NodeRole::Icscf, i, 4060),
            ("s1", NodeRole::Scscf, s, 6060),
            ("hss", NodeRole::Hss, hss, 3868),
        ];
        let secs = Duration::from_secs;
        Self {
            nodes: nodes.into_iter().map(node).collect(),
            untrusted: Vec::new(),
            interconnect: true,
            // Never on the network unless the lab file says so.
            control: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9480)),
            control_token: None,
            aka_without_sec_agree: true,
            gm: GmSecurity::default(),
            tls: TlsConfig::default(),
            esp: false,
            reg_event_subscription: true,
            outbound: true,
            registration: RegistrationLimits {
                expires_min: secs(60),
                expires_max: secs(600_000),
                expires_default: secs(600_000),
            },
            core_timers: TimerValues { t1: Duration::from_millis(500), t2: secs(4), t4: secs(5) },
            air_timers: TimerValues { t1: secs(2), t2: secs(16), t4: secs(17) },
            reg_await_auth: secs(240),
            cx_timeout: secs(5),
            path_mtu: PathMtu::Known(65_536),
            gather: Gather::default(),
            numbering: NumberingConfig::default(),
            dns: DnsConfig::default(),
            faults: Vec::new(),
            subscribers: vec![
                usim_subscriber("alice", 1, (mcc, mnc), *b"0123456789abcdef", &domain),
                usim_subscriber("bob", 2, (mcc, mnc), *b"fedcba9876543210", &domain),
                digest_subscriber("carol", 3, &["MD5"], &domain),
                digest_subscriber("dave", 4, &["SHA-256", "MD5"], &domain),
            ]
            .into(),
            domain,
        }
    }
}

fn node((name, role, ip, port): (&str, NodeRole, IpAddr, u16)) -> NodeConfig {
    NodeConfig {
        name: name.to_owned(),
        role,
        listen: SocketAddr::new(ip, port),
        listen_also: None,
        advertise: (ip.to_string(), port),
        capabilities: Vec::new(),
        server: ServerConfig::default(),
        serving: ServingConfig::default(),
        edge: EdgeConfig::default(),
        entry: EntryConfig::default(),
        domain: None,
        load: LoadConfig::default(),
        control: NodeControl::default(),
        secured: SecuredListen::default(),
    }
}

fn open(uri: String) -> Impu {
    Impu { uri, barred: false }
}

fn usim_subscriber(
    name: &str,
    number: u32,
    (mcc, mnc): (&str, &str),
    k: [u8; 16],
    domain: &str,
) -> SubscriberConfig {
    let imsi = format!("{mcc}{mnc}{number:0width$}", width = 15 - mcc.len() - mnc.len());
    let msisdn = format!("+1555010{number:04}");
    SubscriberConfig {
        name: name.to_owned(),
        impi: format!("{imsi}@{domain}"),
        impus: vec![
            open(format!("sip:{msisdn}@{domain};user=phone")),
            open(format!("tel:{msisdn}")),
            open(format!("sip:{name}@{domain}")),
            Impu { uri: format!("sip:{imsi}@{domain}"), barred: true },
        ],
        auth: Auth::Aka { k, opc: crate::auth::derive_opc(k, OP), amf: [0x80, 0], sqn: 0 },
        ipsec: None,
        transport: SubscriberTransport::AsRegistered,
        filter_criteria: Vec::new(),
        hss: HssData::default(),
    }
}

fn digest_subscriber(
    name: &str,
    number: u32,
    algorithms: &[&str],
    domain: &str,
) -> SubscriberConfig {
    let msisdn = format!("+1555010{number:04}");
    SubscriberConfig {
        name: name.to_owned(),
        impi: format!("{name}@{domain}"),
        impus: vec![
            open(format!("sip:{name}@{domain}")),
            open(format!("sip:{msisdn}@{domain};user=phone")),
            open(format!("tel:{msisdn}")),
        ],
        auth: Auth::Digest {
            password: format!("{name}-secret"),
            algorithms: algorithms.iter().map(|text| (*text).to_owned()).collect(),
        },
        ipsec: None,
        transport: SubscriberTransport::AsRegistered,
        filter_criteria: Vec::new(),
        hss: HssData::default(),
    }
}
