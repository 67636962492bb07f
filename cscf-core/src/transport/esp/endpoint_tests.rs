//! The endpoint of a P-CSCF and that of its UE: datagrams, and what the other files of tests share.

#[path = "hostile_tests.rs"]
mod hostile;
#[path = "stream_tests.rs"]
mod streams;

use super::*;
use crate::auth::Key;
use crate::transport::ipsec::{Algorithms, End, EspKeys, IPSEC_LIFETIME, Mode, Ports};

const PAIRS: [(&str, &str); 8] = [
    ("hmac-md5-96", "null"),
    ("hmac-md5-96", "aes-cbc"),
    ("hmac-md5-96", "des-ede3-cbc"),
    ("hmac-sha-1-96", "null"),
    ("hmac-sha-1-96", "aes-cbc"),
    ("hmac-sha-1-96", "des-ede3-cbc"),
    ("aes-gmac", "null"),
    ("null", "aes-gcm"),
];
const CK: Key = *b"confidentiality!";
const IK: Key = *b"integrity of Gm!";
const NOW: Instant = Instant::from_secs(5);
const V4: (&str, &str) = ("10.0.0.10", "10.0.0.1");
const V6: (&str, &str) = ("2001:db8::10", "2001:db8::1");

/// The set of a P-CSCF; `seen_by_peer` is that of its UE.
fn set((alg, ealg): (&str, &str), (ours, theirs): (&str, &str)) -> SaSet {
    let end = |addr: &str, client, spi| End {
        addr: addr.parse().expect("an address"),
        ports: Ports { client, server: client + 1, spi_client: spi, spi_server: spi + 1 },
    };
    let algorithms = Algorithms::named(alg, ealg).expect("go together");
    SaSet {
        id: SaId(7),
        local: end(ours, 41_001, 2_001),
        remote: end(theirs, 40_001, 1_001),
        algorithms,
        mode: Mode::Transport,
        keys: EspKeys::expand(algorithms, &CK, &IK),
        lifetime: IPSEC_LIFETIME,
    }
}

fn endpoint(seed: u64, set: SaSet) -> Endpoint {
    let mut endpoint = Endpoint::new(seed, EspLimits::default());
    endpoint.command(NOW, &SaCommand::Install(Box::new(set)));
    endpoint
}

/// A P-CSCF and its UE.
fn ends(set: &SaSet) -> (Endpoint, Endpoint) {
    (endpoint(1, set.clone()), endpoint(2, set.seen_by_peer(SaId(1))))
}

fn datagram(flow: Flow, text: &str) -> Packet {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Packet { flow, bytes, received_at: Instant::EPOCH }
}

fn sent(endpoint: &mut Endpoint, packet: &Packet) -> Bytes {
    endpoint.send_datagram(NOW, packet).expect("an association");
    let Some(EspEvent::Transmit { local, remote, bytes }) = endpoint.poll_event() else {
        panic!("nothing leaves");
    };
    assert_eq!((local, remote), (packet.flow.local.ip(), packet.flow.remote.ip()));
    bytes
}

fn events(endpoint: &mut Endpoint) -> Vec<EspEvent> {
    std::iter::from_fn(|| endpoint.poll_event()).collect()
}

/// What became of a packet from the UE: the cause of its drop and the words, if it was one.
fn received(endpoint: &mut Endpoint, set: &SaSet, esp: &[u8]) -> Option<(DropCause, String)> {
    let before: u64 = endpoint.dropped().map(|(_, count)| count).sum();
    endpoint.receive(NOW, set.local.addr, set.remote.addr, esp);
    let after: u64 = endpoint.dropped().map(|(_, count)| count).sum();
    match &events(endpoint)[..] {
        [EspEvent::Datagram(_)] => {
            assert_eq!(before, after);
            None
        }
        [EspEvent::Dropped { cause, detail, .. }] => {
            assert_eq!(before + 1, after, "{cause}: counted once");
            Some((*cause, detail.clone()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn datagrams_go_both_ways_by_each_pair_of_algorithms() {
    for pair in PAIRS {
        for family in [V4, V6] {
            let set = set(pair, family);
            let (mut pcscf, mut ue) = ends(&set);
            for text in ["REGISTER sip:ims.example SIP/2.0\r\n\r\n", "", "x"] {
                let request = datagram(set.seen_by_peer(SaId(1)).datagram_flow(), text);
                let esp = sent(&mut ue, &request);
                pcscf.receive(NOW, set.local.addr, set.remote.addr, &esp);
                let Some(EspEvent::Datagram(got)) = pcscf.poll_event() else {
                    panic!("{pair:?} {family:?}")
                };
                assert_eq!((&got.bytes[..], got.received_at), (text.as_bytes(), NOW));
                let flow = (got.flow.local, got.flow.remote, got.flow.sa);
                assert_eq!(flow, (set.local.server(), set.remote.client(), Some(SaId(7))));

                let esp = sent(&mut pcscf, &datagram(set.datagram_flow(), text));
                ue.receive(NOW, set.remote.addr, set.local.addr, &esp);
                let got = events(&mut ue);
                assert!(
                    matches!(&got[..], [EspEvent::Datagram(it)] if it.bytes == text),
                    "{got:?}"
                );
            }
            assert_eq!(pcscf.dropped().count() + ue.dropped().count(), 0);
        }
    }
}

#[test]
fn a_packet_counts_once_and_only_under_its_association() {
    for pair in PAIRS {
        let set = set(pair, V6);
        let (mut pcscf, mut ue) = ends(&set);
        let flow = set.seen_by_peer(SaId(1)).datagram_flow();
        let esp = sent(&mut ue, &datagram(flow, "OPTIONS"));
        let drop = |pcscf: &mut Endpoint, esp: &[u8]| received(pcscf, &set, esp);

        // A forged one with a number far ahead does not move the window.
        let mut forged = esp.to_vec();
        forged[4..8].copy_from_slice(&1_000_000_u32.to_be_bytes());
        assert_eq!(drop(&mut pcscf, &forged).map(|it| it.0), Some(DropCause::BadIcv));

        // Nor does a genuine one from elsewhere.
        let elsewhere = "2001:db8::bad".parse().expect("an address");
        pcscf.receive(NOW, set.local.addr, elsewhere, &esp);
        let got = events(&mut pcscf);
        let [EspEvent::Dropped { remote, cause: DropCause::WrongAddress, detail }] = &got[..]
        else {
            panic!("{got:?}");
        };
        assert_eq!(remote.ip(), elsewhere);
        assert_eq!(
            detail,
            "SPI 2002, sequence number 1: for 2001:db8::1 to 2001:db8::10, not 2001:db8::bad to \
             2001:db8::10"
        );

        assert_eq!(drop(&mut pcscf, &esp), None);
        let (cause, detail) = drop(&mut pcscf, &esp).expect("once only");
        assert_eq!(cause, DropCause::Replayed);
        assert_eq!(detail, "SPI 2002, sequence number 1, newest 1");

        let mut other = esp.to_vec();
        other[..4].copy_from_slice(&9_999_u32.to_be_bytes());
        let gone = drop(&mut pcscf, &other);
        assert_eq!(gone, Some((DropCause::UnknownSpi, "SPI 9999".to_owned())));
        // Its own packets mean nothing to it: SPIs are of their receiver.
        let own = sent(&mut pcscf, &datagram(set.datagram_flow(), "OPTIONS"));
        assert_eq!(drop(&mut pcscf, &own).map(|it| it.0), Some(DropCause::UnknownSpi));
    }
}
