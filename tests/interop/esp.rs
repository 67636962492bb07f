//! Programs of others as the other end of ESP and as judges of it: scapy decrypts what our endpoint
//! makes and makes what it accepts, tshark decrypts a capture with the keys that we export.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use cscf_core::time::{Duration, Instant};
use cscf_core::transport::esp::{DropCause, Endpoint, EspEvent, EspLimits, wireshark};
use cscf_core::transport::ipsec::{
    Algorithms, End, EspKeys, IPSEC_LIFETIME, Mode, Ports, SaCommand, SaSet,
};
use cscf_core::transport::{Flow, Packet, SaId};

use crate::running::{hex, installed, output, text};

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
const FAMILIES: [(&str, &str); 2] = [("10.0.0.10", "10.0.0.1"), ("2001:db8::10", "2001:db8::1")];
const NOW: Instant = Instant::from_secs(1);
const REGISTER: &str = "REGISTER sip:ims.example SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.0.1:40002;branch=z9hG4bK1\r\n\
    From: <sip:a@ims.example>;tag=1\r\nTo: <sip:a@ims.example>\r\nCall-ID: 1\r\n\
    CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

/// The set of a P-CSCF. What SPIs and ports are matters to nobody but its two ends.
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
        keys: EspKeys::expand(algorithms, b"confidentiality!", b"integrity of Gm!"),
        lifetime: IPSEC_LIFETIME,
    }
}

fn endpoint(set: &SaSet) -> Endpoint {
    let mut endpoint = Endpoint::new(3, EspLimits::default());
    endpoint.command(NOW, &SaCommand::Install(Box::new(set.clone())));
    endpoint
}

fn datagram(flow: Flow, text: &str) -> Packet {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Packet { flow, bytes, received_at: Instant::EPOCH }
}

fn transmitted(endpoint: &mut Endpoint) -> Bytes {
    let events: Vec<_> = std::iter::from_fn(|| endpoint.poll_event()).collect();
    match &events[..] {
        [EspEvent::Transmit { bytes, .. }] => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

/// Whether Python has scapy with what its ESP needs.
pub(crate) fn scapy() -> bool {
    if !installed("python3") {
        return false;
    }
    let ask = "import scapy.layers.ipsec as it; it.CRYPT_ALGOS['AES-GCM']; it.CRYPT_ALGOS['3DES']";
    let found = output(Command::new("python3").args(["-c", ask]));
    if !found.status.success() {
        let required = std::env::var_os("CSCF_REQUIRE_TOOLS").is_some();
        assert!(!required, "scapy is not installed, and CSCF_REQUIRE_TOOLS is set");
        println!("skipped: Python has no scapy with cryptography");
    }
    found.status.success()
}

/// The answers of scapy, one for each order.
pub(crate) fn asked(orders: &[String]) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/esp_peer.py");
    let mut file = tempfile::tempfile().expect("a file");
    writeln!(file, "{}", orders.join("\n")).expect("writes");
    std::io::Seek::rewind(&mut file).expect("rewinds");
    let mut command = Command::new("python3");
    command.arg(script).stdin(Stdio::from(file)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = command.output().expect("starts");
    let answers: Vec<String> = text(&said.stdout).lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), orders.len(), "{}", text(&said.stderr));
    answers
}

pub(crate) fn octets(bytes: &[u8]) -> String {
    if bytes.is_empty() { "-".to_owned() } else { hex(bytes) }
}

pub(crate) fn bytes_of(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2) && digits.is_ascii(), "{digits}");
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("an octet");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// The words of an order about the association with an SPI, from one end to the other.
fn order(verb: &str, set: &SaSet, (from, to): (IpAddr, IpAddr), spi: u32) -> String {
    let (alg, ealg) = (set.algorithms.integrity().as_str(), set.algorithms.encryption().as_str());
    let (integrity, encryption) = (octets(&set.keys.integrity), octets(&set.keys.encryption));
    format!("{verb} {alg} {ealg} {integrity} {encryption} {from} {to} {spi}")
}

/// A pair of algorithms in a family of addresses, with its P-CSCF.
struct Case {
    set: SaSet,
    pcscf: Endpoint,
}

fn cases() -> Vec<Case> {
    let each = PAIRS.iter().flat_map(|pair| FAMILIES.iter().map(|family| set(*pair, *family)));
    each.map(|set| Case { pcscf: endpoint(&set), set }).collect()
}

#[test]
fn scapy_is_the_other_end_of_datagrams_and_connections() {
    if !scapy() {
        return;
    }
    let mut cases = cases();
    let mut orders = Vec::new();
    for Case { set, pcscf } in &mut cases {
        let (here, there) = (set.local, set.remote);
        let out = (here.addr, there.addr);
        let back = (there.addr, here.addr);
        // What scapy is to open: a datagram and a SYN.
        pcscf.send_datagram(NOW, &datagram(set.datagram_flow(), REGISTER)).expect("sent");
        let packet = transmitted(pcscf);
        orders.push(format!(
            "{} {}",
            order("open", set, out, there.ports.spi_server),
            hex(&packet)
        ));
        pcscf.connect(NOW, &set.stream_flow()).expect("asked for");
        let packet = transmitted(pcscf);
        orders.push(format!(
            "{} {}",
            order("open", set, out, there.ports.spi_server),
            hex(&packet)
        ));
        // What scapy is to make: the same.
        let ports = format!("{} {}", there.ports.client, here.ports.server);
        let payload = hex(REGISTER.as_bytes());
        let in_by = order("make", set, back, here.ports.spi_server);
        orders.push(format!("{in_by} 5 udp {ports} {payload}"));
        orders.push(format!("{in_by} 6 syn {ports} -"));
    }
    let answers = asked(&orders);

    let mut unknown = Vec::new();
    let mut replies = Vec::new();
    let mut open = Vec::new();
    for (case, answers) in cases.iter_mut().zip(answers.chunks(4)) {
        let [datagram, syn, their_datagram, their_syn] = answers else { panic!("four") };
        if answers.iter().all(|it| it == "unknown") {
            unknown.push(case.set.algorithms.to_string());
            continue;
        }
        let Case { set, pcscf } = case;
        let name = format!("{} {}", set.algorithms, set.local.addr);
        let (client, server) = (set.local.ports.client, set.remote.ports.server);
        let expected = format!("udp {client} {server} - {}", hex(REGISTER.as_bytes()));
        assert_eq!(*datagram, expected, "{name}");
        assert_eq!(*syn, format!("tcp {client} {server} S -"), "{name}");

        let mut take = |packet: &str| {
            let packet = bytes_of(packet);
            pcscf.receive(NOW, set.local.addr, set.remote.addr, &packet);
            std::iter::from_fn(|| pcscf.poll_event()).collect::<Vec<_>>()
        };
        let got = take(their_datagram);
        let [EspEvent::Datagram(packet)] = &got[..] else { panic!("{name}: {got:?}") };
        assert_eq!(packet.bytes, REGISTER, "{name}");
        let from: SocketAddr = set.remote.client();
        assert_eq!((packet.flow.remote, packet.flow.sa), (from, Some(set.id)));
        let again = take(their_datagram);
        assert!(matches!(again[..], [EspEvent::Dropped { cause: DropCause::Replayed, .. }]));
        let got = take(their_syn);
        let [EspEvent::Transmit { bytes, .. }] = &got[..] else { panic!("{name}: {got:?}") };
        let out = (set.local.addr, set.remote.addr);
        let back = order("open", set, out, set.remote.ports.spi_client);
        open.push(format!("{back} {}", hex(bytes)));
        let (client, server) = (set.remote.ports.client, set.local.ports.server);
        replies.push(format!("tcp {server} {client} SA -"));
    }
    assert_eq!(asked(&open), replies);
    // scapy before 2.6 knows no AES-GMAC.
    assert!(unknown.iter().all(|pair| pair == "aes-gmac/null"), "{unknown:?}");
    if !unknown.is_empty() {
        println!("this scapy does not know {unknown:?}");
    }
}

/// What goes over the wire between two ends, with an outer header each.
fn conversation(set: &SaSet) -> Vec<Vec<u8>> {
    let ue_set = set.seen_by_peer(SaId(1));
    let mut ends = [endpoint(set), endpoint(&ue_set)];
    let sets = [set, &ue_set];
    let mut now = NOW;
    ends[1].send_datagram(now, &datagram(ue_set.datagram_flow(), REGISTER)).expect("sent");
    ends[0].send_datagram(now, &datagram(set.datagram_flow(), REGISTER)).expect("sent");
    let stream = ends[1].connect(now, &ue_set.stream_flow()).expect("asked for");
    assert!(ends[1].write(now, stream, REGISTER.replace("UDP", "TCP").into()));
    let mut wire = Vec::new();
    for _ in 0..50 {
        now += Duration::from_millis(20);
        for from in [0, 1] {
            ends[from].handle_timeout(now);
            while let Some(event) = ends[from].poll_event() {
                if let EspEvent::Transmit { local, remote, bytes } = event {
                    let to = sets[1 - from];
                    assert_eq!((remote, local), (to.local.addr, to.remote.addr));
                    ends[1 - from].receive(now, remote, local, &bytes);
                    wire.push(in_ip(local, remote, &bytes));
                }
            }
        }
    }
    wire
}

/// An ESP packet with a header of IP before it.
fn in_ip(from: IpAddr, to: IpAddr, esp: &[u8]) -> Vec<u8> {
    let length = u16::try_from(esp.len()).expect("short");
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (length + 20).to_be_bytes();
            let head = [&[0x45, 0][..], &total, &[0, 0, 0, 0, 64, 50, 0, 0]].concat();
            [&head[..], &from.octets(), &to.octets(), esp].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let head = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[50, 64]].concat();
            [&head[..], &from.octets(), &to.octets(), esp].concat()
        }
        _ => panic!("two families"),
    }
}

/// A capture of packets of IP (`LINKTYPE_RAW`).
fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    let word = u32::to_le_bytes;
    let mut out = [word(0xa1b2_c3d4), word(0x0004_0002), word(0), word(0)].concat();
    out.extend([word(65_535), word(101)].concat());
    for (at, packet) in packets.iter().enumerate() {
        let length = word(u32::try_from(packet.len()).expect("short"));
        out.extend([word(u32::try_from(at).expect("few")), word(0), length, length].concat());
        out.extend(packet);
    }
    out
}

#[test]
fn tshark_decrypts_a_capture_with_the_keys_that_are_exported() {
    if !installed("tshark") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    for pair in PAIRS {
        for family in FAMILIES {
            let set = set(pair, family);
            let mut wire = conversation(&set);
            assert!(wire.len() >= 6, "{} packets", wire.len());
            // One that was tampered with, to see that tshark does say no.
            let mut tampered = wire[0].clone();
            *tampered.last_mut().expect("octets") ^= 1;
            wire.push(tampered);
            let file = folder.path().join("esp.pcap");
            std::fs::write(&file, capture(&wire)).expect("writes");
            let keys = wireshark::esp_sa(&set);
            let mut command = Command::new("tshark");
            command.arg("-r").arg(&file).args(["-n", "-Y", "esp"]);
            command.args(["-o", "esp.enable_encryption_decode:TRUE"]);
            command.args(["-o", "esp.enable_authentication_check:TRUE"]);
            for line in keys.lines().filter(|line| !line.starts_with('#')) {
                command.arg("-o").arg(format!("uat:esp_sa:{line}"));
            }
            for port in [40_001, 40_002, 41_001, 41_002] {
                command.args(["-d", &format!("udp.port=={port},sip")]);
                command.args(["-d", &format!("tcp.port=={port},sip")]);
            }
            command.args(["-T", "fields", "-e", "esp.icv_good", "-e", "sip.Method"]);
            command.args(["-e", "tcp.flags", "-e", "esp.spi"]);
            let found = output(&mut command);
            assert!(found.status.success(), "{}", text(&found.stderr));
            let found = text(&found.stdout);
            let lines: Vec<&str> = found.lines().collect();
            assert_eq!(lines.len(), wire.len(), "{found}");
            let requests = lines.iter().filter(|line| line.contains("REGISTER")).count();
            if pair.0 == "aes-gmac" {
                // Wireshark has no entry for it, and the export says so.
                assert!(keys.lines().all(|line| line.starts_with('#')), "{keys}");
                continue;
            }
            let good = lines.iter().filter(|line| line.starts_with("1\t")).count();
            assert_eq!(good, wire.len() - 1, "{pair:?}: {found}");
            assert!(!lines[lines.len() - 1].starts_with("1\t"), "{pair:?}: {found}");
            assert!((3..=4).contains(&requests), "{pair:?}: {found}");
            assert!(lines.iter().any(|line| line.contains("\t0x0002\t")), "a SYN in {found}");
        }
    }
}
