//! The entries of the kernel for a set of associations (TS 33.203 §7.1): four states and four
//! policies, each for UDP and TCP alike, and the guards of protected ports.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_xfrm::constants::{
    IPPROTO_ESP, XFRM_MODE_TRANSPORT, XFRM_POLICY_ALLOW, XFRM_POLICY_BLOCK, XFRM_POLICY_IN,
    XFRM_POLICY_OUT,
};
use netlink_packet_xfrm::{
    Alg, AlgAead, AlgAuth, ReplayEsn, Selector, UserSaId, UserSaInfo, UserTemplate,
    XFRM_ALG_AEAD_NAME_LEN, XFRM_ALG_AUTH_NAME_LEN, XFRM_ALG_NAME_LEN, XfrmAttrs, XfrmMessage,
    policy, state,
};

use crate::transport::ipsec::{Algorithms, Encryption, EspKeys, Integrity, SaSet};

/// Policies of sets come before guards: the lower number wins.
pub(super) const PRIORITY: u32 = 1_000;
/// Packets that may overtake each other before the later ones count as replayed.
pub(super) const REPLAY_WINDOW: u32 = 128;
/// The check value of the algorithms with HMAC (RFC 2403, RFC 2404).
const HMAC_ICV_BITS: u32 = 96;
/// The check value of AES-GCM and AES-GMAC (TS 33.203 Annex H).
const GCM_ICV_BITS: u32 = 128;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    In,
    Out,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::In, Self::Out];

    pub(super) const fn number(self) -> u8 {
        match self {
            Self::In => XFRM_POLICY_IN,
            Self::Out => XFRM_POLICY_OUT,
        }
    }
}

/// One association: what it is found by, and the packets it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Association {
    pub(super) direction: Direction,
    pub(super) spi: u32,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// The four of a set. Those that receive come first, so that nothing is answered that could not
/// have been heard.
pub(super) fn associations(set: &SaSet) -> [Association; 4] {
    let (local, remote) = (&set.local, &set.remote);
    let inward = |spi, source, destination| Association {
        direction: Direction::In,
        spi,
        source,
        destination,
    };
    let outward = |spi, source, destination| Association {
        direction: Direction::Out,
        spi,
        source,
        destination,
    };
    [
        inward(local.ports.spi_server, remote.client(), local.server()),
        inward(local.ports.spi_client, remote.server(), local.client()),
        outward(remote.ports.spi_server, local.client(), remote.server()),
        outward(remote.ports.spi_client, local.server(), remote.client()),
    ]
}

/// The state of an association.
pub(super) fn add_state(set: &SaSet, of: &Association, mark: u32) -> XfrmMessage {
    let mut message = state::ModifyMessage::default();
    let info = &mut message.user_sa_info;
    info.source(&of.source.ip());
    info.destination(&of.destination.ip());
    info.selector = selector(of);
    info.id.spi = of.spi;
    info.id.proto = IPPROTO_ESP;
    info.mode = XFRM_MODE_TRANSPORT;
    info.reqid = mark;
    info.lifetime_cfg.hard_add_expires_seconds = set.lifetime.as_secs();
    message.nlas = algorithms(set.algorithms, &set.keys);
    // A window above 32 stands in the attribute made for longer sequence numbers; without the
    // flag for those they stay what Gm has.
    message.nlas.push(XfrmAttrs::ReplayStateEsn(ReplayEsn {
        bmp_len: REPLAY_WINDOW.div_ceil(u32::BITS),
        replay_window: REPLAY_WINDOW,
        ..ReplayEsn::default()
    }));
    XfrmMessage::AddSa(message)
}

/// Takes a state away.
pub(super) fn delete_state(destination: IpAddr, spi: u32) -> XfrmMessage {
    XfrmMessage::DeleteSa(state_of(destination, spi))
}

/// Asks for a state.
pub(super) fn get_state(destination: IpAddr, spi: u32) -> XfrmMessage {
    XfrmMessage::GetSa(state_of(destination, spi))
}

fn state_of(destination: IpAddr, spi: u32) -> state::DelGetMessage {
    let mut id = UserSaId::default();
    id.destination(&destination);
    id.spi = spi;
    id.proto = IPPROTO_ESP;
    state::DelGetMessage { user_sa_id: id, nlas: Vec::new() }
}

/// The policy of an association: what its selector says travels under exactly this association,
/// and comes in under no other way.
pub(super) fn add_policy(of: &Association, mark: u32) -> XfrmMessage {
    let mut template = UserTemplate::default();
    template.source(&of.source.ip());
    template.destination(&of.destination.ip());
    template.protocol(IPPROTO_ESP);
    template.mode(XFRM_MODE_TRANSPORT);
    template.spi(of.spi);
    template.reqid(mark);
    let mut message = policy::ModifyMessage::default();
    let info = &mut message.user_policy_info;
    info.selector = selector(of);
    info.direction = of.direction.number();
    info.action = XFRM_POLICY_ALLOW;
    info.priority = PRIORITY;
    message.nlas.push(XfrmAttrs::Template(vec![template]));
    XfrmMessage::AddPolicy(message)
}

/// Takes the policy of an association away.
pub(super) fn delete_policy(of: &Association) -> XfrmMessage {
    delete_selected(selector(of), of.direction)
}

/// The guard of a protected port: what no policy of a set lets through is dropped, clear text in
/// (TS 33.203 §7.1) and out. Its priority is the owner's mark.
pub(super) fn add_guard(addr: SocketAddr, direction: Direction, mark: u32) -> XfrmMessage {
    let mut message = policy::ModifyMessage::default();
    let info = &mut message.user_policy_info;
    info.selector = guarded(addr, direction);
    info.direction = direction.number();
    info.action = XFRM_POLICY_BLOCK;
    info.priority = mark;
    XfrmMessage::AddPolicy(message)
}

/// Takes a guard away.
pub(super) fn delete_guard(addr: SocketAddr, direction: Direction) -> XfrmMessage {
    delete_selected(guarded(addr, direction), direction)
}

fn delete_selected(selector: Selector, direction: Direction) -> XfrmMessage {
    let mut message = policy::DelGetMessage::default();
    message.user_policy_id.selector = selector;
    message.user_policy_id.direction = direction.number();
    XfrmMessage::DeletePolicy(message)
}

/// Asks for the policy of these packets.
pub(super) fn get_policy(selector: Selector, direction: Direction) -> XfrmMessage {
    let mut message = policy::DelGetMessage::default();
    message.user_policy_id.selector = selector;
    message.user_policy_id.direction = direction.number();
    XfrmMessage::GetPolicy(message)
}

/// Takes a policy away by its number in the kernel.
pub(super) fn delete_indexed(index: u32, direction: u8) -> XfrmMessage {
    let mut message = policy::DelGetMessage::default();
    message.user_policy_id.index = index;
    message.user_policy_id.direction = direction;
    XfrmMessage::DeletePolicy(message)
}

/// The packets of an association. Ports count with any protocol that has them, so one selector
/// serves UDP and TCP.
pub(super) fn selector(of: &Association) -> Selector {
    let mut selector = Selector::default();
    let bits = prefix(of.source.ip());
    selector.source_prefix(&of.source.ip(), bits);
    selector.destination_prefix(&of.destination.ip(), bits);
    (selector.sport, selector.sport_mask) = (of.source.port(), u16::MAX);
    (selector.dport, selector.dport_mask) = (of.destination.port(), u16::MAX);
    selector
}

/// The packets of a protected port.
pub(super) fn guarded(addr: SocketAddr, direction: Direction) -> Selector {
    let mut selector = Selector::default();
    let bits = prefix(addr.ip());
    match direction {
        Direction::In => {
            selector.destination_prefix(&addr.ip(), bits);
            (selector.dport, selector.dport_mask) = (addr.port(), u16::MAX);
        }
        Direction::Out => {
            selector.source_prefix(&addr.ip(), bits);
            (selector.sport, selector.sport_mask) = (addr.port(), u16::MAX);
        }
    }
    selector
}

const fn prefix(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The algorithms as the kernel names them, with their keys.
fn algorithms(pair: Algorithms, keys: &EspKeys) -> Vec<XfrmAttrs> {
    let aead = |key: &[u8]| {
        let (alg_name, alg_key_len) = (name::<XFRM_ALG_AEAD_NAME_LEN>(names(pair)[0]), bits(key));
        let (alg_icv_len, alg_key) = (GCM_ICV_BITS, key.to_vec());
        vec![XfrmAttrs::EncryptionAlgAead(AlgAead { alg_name, alg_key_len, alg_icv_len, alg_key })]
    };
    match (pair.integrity(), pair.encryption()) {
        (Integrity::AesGmac, _) => aead(&keys.integrity),
        (_, Encryption::AesGcm) => aead(&keys.encryption),
        _ => {
            let [integrity, encryption] = names(pair);
            vec![
                XfrmAttrs::AuthenticationAlgTrunc(AlgAuth {
                    alg_name: name::<XFRM_ALG_AUTH_NAME_LEN>(integrity),
                    alg_key_len: bits(&keys.integrity),
                    alg_trunc_len: HMAC_ICV_BITS,
                    alg_key: keys.integrity.clone(),
                }),
                XfrmAttrs::EncryptionAlg(Alg {
                    alg_name: name::<XFRM_ALG_NAME_LEN>(encryption),
                    alg_key_len: bits(&keys.encryption),
                    alg_key: keys.encryption.clone(),
                }),
            ]
        }
    }
}

/// What the kernel calls the algorithms of a pair: integrity and encryption, or the one that does
/// both twice.
pub(super) const fn names(pair: Algorithms) -> [&'static str; 2] {
    let encryption = match pair.encryption() {
        Encryption::AesCbc => "cbc(aes)",
        Encryption::AesGcm => "rfc4106(gcm(aes))",
        Encryption::DesEde3Cbc => "cbc(des3_ede)",
        Encryption::Null => "ecb(cipher_null)",
    };
    match pair.integrity() {
        Integrity::AesGmac => ["rfc4543(gcm(aes))", "rfc4543(gcm(aes))"],
        Integrity::HmacMd5 => ["hmac(md5)", encryption],
        Integrity::HmacSha1 => ["hmac(sha1)", encryption],
        Integrity::Null => [encryption, encryption],
    }
}

fn name<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut name = [0; LENGTH];
    for (slot, byte) in name.iter_mut().zip(text.bytes()) {
        *slot = byte;
    }
    name
}

fn bits(key: &[u8]) -> u32 {
    u32::try_from(key.len() * 8).unwrap_or(u32::MAX)
}

/// Takes a state away that was found in the kernel.
pub(super) fn delete_found(info: &UserSaInfo) -> XfrmMessage {
    let id = UserSaId {
        daddr: info.id.daddr,
        spi: info.id.spi,
        family: info.family,
        proto: info.id.proto,
    };
    XfrmMessage::DeleteSa(state::DelGetMessage { user_sa_id: id, nlas: Vec::new() })
}
