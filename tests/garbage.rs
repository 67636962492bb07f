//! Hostile bytes at every port of a running lab: no node dies, stops answering or grows, and its
//! users go on registering. The bytes come from a seed, `CSCF_SEED` if it is set.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod running;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use running::{Running, WITHIN, cscf, hex, output, secret, text};

/// Bytes sent to each port.
const BYTES: usize = 10_000_000;
/// What a node may hold more afterwards.
const GROWTH_KB_MAX: u64 = 10_000;
/// Datagrams between two questions whether a node still answers: fewer than its socket holds.
const DATAGRAMS: usize = 24;
/// How long a node may take to close a connection that has ended.
const CLOSES_WITHIN: Duration = Duration::from_secs(10);
const SEED: u64 = 0x5EED;

/// Chance from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).expect("fits")).expect("fits")
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next().to_le_bytes()).flatten().take(count).collect()
    }

    fn one<'a>(&mut self, of: &'a [Vec<u8>]) -> &'a [u8] {
        &of[self.below(of.len())]
    }
}

/// What is mutated: messages of a call, and messages made to torture parsers (RFC 4475, RFC 5118).
struct Corpus {
    sip: Vec<Vec<u8>>,
    diameter: Vec<Vec<u8>>,
}

impl Corpus {
    /// The addresses of the recorded call become those of this lab, so that whatever an answer to
    /// garbage goes to is nobody else's.
    fn new(lab: &Running) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let run =
            output(cscf().args(["run", "volte-call", "--virtual", "--out"]).arg(folder.path()));
        assert!(run.status.success(), "{}", text(&run.stderr));
        let trace = std::fs::read_to_string(folder.path().join("trace.jsonl")).expect("a trace");
        let own = lab.ip(0).to_string();
        let own = own.trim_end_matches('0');
        let mut corpus = Self { sip: Vec::new(), diameter: Vec::new() };
        for line in trace.lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            if event["kind"] != "sent" {
                continue;
            }
            let local = event["local"].as_str().expect("an address");
            let network =
                &local[..=local[..local.rfind(':').expect("a port")].rfind('.').expect("IPv4")];
            if let Some(text) = event["text"].as_str() {
                corpus.sip.push(text.replace(network, own).into_bytes());
            } else if let Some(base64) = event["base64"].as_str() {
                corpus.diameter.push(BASE64.decode(base64).expect("Base64"));
            }
        }
        for folder in ["corpus/sip/rfc4475", "corpus/sip/rfc5118"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let mut files: Vec<_> =
                std::fs::read_dir(folder).expect("corpus").flatten().map(|it| it.path()).collect();
            files.sort();
            let bytes = files.iter().map(|file| std::fs::read(file).expect("reads"));
            corpus.sip.extend(bytes);
        }
        assert!(corpus.sip.len() > 100 && corpus.diameter.len() > 20, "a small corpus");
        corpus
    }

    /// What one connection says: perhaps something right first, so that garbage meets a peer that
    /// has been let in, then garbage.
    fn conversation(&self, chance: &mut Chance, diameter: bool) -> Vec<u8> {
        let mut whole = Vec::new();
        if chance.below(2) == 0 {
            // The first Diameter message is the CER.
            let right = if diameter { self.diameter[0].as_slice() } else { chance.one(&self.sip) };
            whole.extend_from_slice(right);
        }
        for _ in 0..=chance.below(4) {
            whole.extend(self.garbage(chance, diameter));
        }
        whole
    }

    /// One message of garbage; a quarter is nothing but chance.
    fn garbage(&self, chance: &mut Chance, diameter: bool) -> Vec<u8> {
        if chance.below(4) == 0 {
            let count = 1 + chance.below(2_000);
            return chance.bytes(count);
        }
        // Now and then the other protocol comes to the wrong port.
        let own = if diameter != (chance.below(16) == 0) { &self.diameter } else { &self.sip };
        let mut message = chance.one(own).to_vec();
        for _ in 0..=chance.below(4) {
            mutate(&mut message, chance, own);
        }
        message.truncate(60_000);
        message
    }
}

/// Changes one place of a message.
fn mutate(message: &mut Vec<u8>, chance: &mut Chance, others: &[Vec<u8>]) {
    const WORDS: [&[u8]; 12] = [
        b"\r\n",
        b"\r\n\r\n",
        b":",
        b";",
        b"\"",
        b"<",
        b",",
        b"%00",
        b"\0",
        b"\xFF\xFF\xFF\xFF",
        b"4294967296",
        b"SIP/2.0",
    ];
    if message.is_empty() {
        message.push(0);
    }
    let (at, to) = (chance.below(message.len()), chance.below(message.len()));
    let (from, until) = (at.min(to), at.max(to));
    match chance.below(8) {
        0 => message[at] ^= 1 << chance.below(8),
        1 => drop(message.drain(from..until)),
        2 => message.truncate(at),
        3 => drop(message.splice(at..at, WORDS[chance.below(WORDS.len())].iter().copied())),
        4 => {
            let copy = message[from..until].to_vec();
            let times = 1 + chance.below(8);
            drop(message.splice(at..at, copy.repeat(times)));
        }
        5 => {
            let other = chance.one(others);
            let tail = other[chance.below(other.len())..].to_vec();
            message.truncate(at);
            message.extend(tail);
        }
        6 => {
            let count = 1 + chance.below(32);
            drop(message.splice(at..at, chance.bytes(count)));
        }
        _ => {
            // Numbers grow: lengths, ports, sequence numbers.
            if let Some(digit) = message[at..].iter().position(u8::is_ascii_digit) {
                let place = at + digit;
                let digits = b"99999999999".iter().copied();
                drop(message.splice(place..place, digits));
            }
        }
    }
}

/// A port that a node listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    tcp: bool,
    address: SocketAddrV4,
}

/// What listens in the network of a lab, as the kernel tells it; nothing is overlooked.
fn ports(lab: &Running) -> Vec<Port> {
    let mut out = Vec::new();
    for (file, tcp, state) in [("/proc/net/tcp", true, "0A"), ("/proc/net/udp", false, "07")] {
        for line in std::fs::read_to_string(file).expect("proc").lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (ip, port) = words[1].split_once(':').expect("an address");
            let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).expect("digits").to_le_bytes());
            let port = u16::from_str_radix(port, 16).expect("digits");
            let ours = ip.octets()[..3] == lab.ip(0).octets()[..3] && ip != lab.ip(1);
            if ours && words[3] == state {
                out.push(Port { tcp, address: SocketAddrV4::new(ip, port) });
            }
        }
    }
    out.sort();
    out
}

/// Asks a node whether it is there and waits for the answer; datagrams may be lost.
fn still_answers(socket: &UdpSocket, to: SocketAddrV4, number: usize) {
    const TRIES: usize = 50;
    let from = socket.local_addr().expect("address");
    let branch = format!("z9hG4bK-ping-{number}-");
    let request = format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch={branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=1\r\nTo: <sip:{to}>\r\n\
         Call-ID: {number}@{from}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let mut buffer = [0; 65_536];
    for _ in 0..TRIES {
        socket.send_to(request.as_bytes(), to).expect("sends");
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((count, _)) if text(&buffer[..count]).contains(&branch) => return,
                // An answer to garbage.
                Ok(_) => {}
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => break,
                Err(fault) => panic!("{to}: {fault}"),
            }
        }
    }
    panic!("{to} answers no more");
}

fn throw_datagrams(lab: &Running, corpus: &Corpus, port: Port, mut chance: Chance) {
    let socket = UdpSocket::bind((lab.ip(201), 0)).expect("binds");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("timeout");
    let mut sent = 0;
    for number in 0.. {
        for _ in 0..DATAGRAMS {
            let message = corpus.garbage(&mut chance, false);
            socket.send_to(&message, port.address).expect("sends");
            sent += message.len();
        }
        still_answers(&socket, port.address, number);
        if sent >= BYTES {
            return;
        }
    }
}

/// Connections, each with some garbage, until all bytes are written; a few stay open half way.
fn throw_at_connections(corpus: &Corpus, port: Port, mut chance: Chance) {
    const OPEN_MAX: usize = 32;
    let mut open = Vec::new();
    let mut written = 0;
    while written < BYTES {
        let mut stream = TcpStream::connect_timeout(&port.address.into(), WITHIN)
            .unwrap_or_else(|fault| panic!("{port:?}: {fault}"));
        stream.set_write_timeout(Some(CLOSES_WITHIN)).expect("timeout");
        stream.set_read_timeout(Some(CLOSES_WITHIN)).expect("timeout");
        let diameter = port.address.port() == 3868;
        let whole = corpus.conversation(&mut chance, diameter);
        // The node may hang up at any byte.
        let taken = stream.write_all(&whole).is_ok();
        written += whole.len();
        if taken && open.len() < OPEN_MAX {
            open.push(stream);
            continue;
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut buffer = [0; 16_384];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => {
                    panic!("{port:?} keeps a connection that has ended")
                }
                Err(_) => break,
            }
        }
    }
}

/// One registration of carol with plain sockets: what the test itself knows of digest (RFC 7616).
fn register(lab: &Running, number: usize) -> Result<(), String> {
    let socket = UdpSocket::bind((lab.ip(105), 0)).map_err(|fault| fault.to_string())?;
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("timeout");
    let (domain, from) = (&lab.lab.domain, socket.local_addr().expect("address"));
    let ask = |cseq: u32, authorization: &str| -> Result<String, String> {
        let request = format!(
            "REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-{number}-{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:carol@{domain}>;tag=1\r\nTo: <sip:carol@{domain}>\r\n\
             Call-ID: {number}@{from}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:carol@{from}>\r\n\
             {authorization}Content-Length: 0\r\n\r\n"
        );
        let mut buffer = [0; 65_536];
        for _ in 0..30 {
            socket.send_to(request.as_bytes(), lab.pcscf()).map_err(|fault| fault.to_string())?;
            while let Ok((count, _)) = socket.recv_from(&mut buffer) {
                let answer = text(&buffer[..count]);
                let ours = answer.contains(&format!("CSeq: {cseq} REGISTER"));
                if ours && !answer.starts_with("SIP/2.0 1") {
                    return Ok(answer);
                }
            }
        }
        Err(format!("no answer to REGISTER {cseq}"))
    };
    let challenge = ask(1, "")?;
    let nonce = challenge
        .split_once("nonce=\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .ok_or_else(|| challenge.clone())?
        .0;
    let md5 = |parts: &str| hex(&Md5::digest(parts));
    let carol = lab.subscriber("carol");
    let secret = md5(&format!("{}:{domain}:{}", carol.impi, secret(carol)));
    let request = md5(&format!("REGISTER:sip:{domain}"));
    let response = md5(&format!("{secret}:{nonce}:00000001:abc:auth:{request}"));
    let authorization = format!(
        "Authorization: Digest username=\"{}\",realm=\"{domain}\",nonce=\"{nonce}\",\
         uri=\"sip:{domain}\",qop=auth,nc=00000001,cnonce=\"abc\",algorithm=MD5,\
         response=\"{response}\"\r\n",
        carol.impi
    );
    let answer = ask(2, &authorization)?;
    if answer.starts_with("SIP/2.0 200") { Ok(()) } else { Err(answer) }
}

/// Resident memory of a process in kB.
fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn garbage_at_every_port_harms_no_node_and_no_user() {
    let lab = Running::start();
    let corpus = Corpus::new(&lab);
    let ports = ports(&lab);
    let kinds: Vec<(bool, u16)> = ports.iter().map(|it| (it.tcp, it.address.port())).collect();
    let expected = [(false, 5060), (false, 4060), (false, 6060), (true, 5060), (true, 4060)];
    for kind in expected.iter().chain(&[(true, 6060), (true, 3868)]) {
        assert!(kinds.contains(kind), "{kind:?} is not in {kinds:?}");
    }
    for number in 0..20 {
        assert_eq!(register(&lab, number), Ok(()));
    }
    let nodes = lab.nodes();
    assert_eq!(nodes.len(), 4, "{nodes:?}");
    let before: BTreeMap<u32, u64> =
        nodes.iter().map(|node| (node.pid, resident_kb(node.pid))).collect();
    let seed = std::env::var("CSCF_SEED").map_or(SEED, |text| text.parse().expect("a seed"));

    let (over, registrations) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let throwing: Vec<_> = ports
            .iter()
            .zip(seed..)
            .map(|(port, seed)| {
                let (lab, corpus) = (&lab, &corpus);
                scope.spawn(move || {
                    let chance = Chance(seed);
                    match port.tcp {
                        true => throw_at_connections(corpus, *port, chance),
                        false => throw_datagrams(lab, corpus, *port, chance),
                    }
                })
            })
            .collect();
        let registering = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let number = registrations.fetch_add(1, Ordering::Relaxed);
                assert_eq!(register(&lab, 100 + number), Ok(()), "seed {seed}");
            }
        });
        let ends: Vec<_> = throwing.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        registering.join().expect("all register");
        for end in ends {
            end.expect("garbage is thrown");
        }
    });

    let registrations = registrations.into_inner();
    println!("seed {seed}: {registrations} registrations meanwhile");
    for node in &nodes {
        let (was, is) = (before[&node.pid], resident_kb(node.pid));
        println!("{:<8} {was} kB before, {is} kB after", node.role);
    }
    for node in &nodes {
        let grown = resident_kb(node.pid).saturating_sub(before[&node.pid]);
        assert!(grown <= GROWTH_KB_MAX, "{} holds {grown} kB more, seed {seed}", node.role);
    }
    lab.end();
}
