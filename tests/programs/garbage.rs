//! Hostile bytes at every port of a running lab: no node dies, stops answering or grows, and its
//! users go on registering. The bytes come from a seed, `CSCF_SEED` if it is set.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::running::{Running, WITHIN, alice_by_sipp, cscf, hex, installed, output, secret, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};

/// Bytes sent to each port.
const BYTES: usize = 10_000_000;
/// Bytes from a user who is let in; most of them cost the whole core work.
const BYTES_OF_USER: usize = 1_000_000;
/// Hosts in the network of a lab: who register all the time, who has registered and who has not.
const ALICE: u8 = 101;
const CAROL: u8 = 103;
const DAVE: u8 = 104;
const STRANGER: u8 = 201;
/// What a node may hold more afterwards.
const GROWTH_KB_MAX: u64 = 10_000;
/// Batches of garbage at a port for each registration meanwhile. A registration leaves 3 kB at a
/// node until its transactions end: a fast machine must not make more of them than a slow one.
const BATCHES: usize = 2;
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
        for message in corpus.sip.iter_mut().chain(&mut corpus.diameter) {
            spare_alice(message);
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

    /// The requests that UEs sent, by a user with this Service-Route to one who is registered.
    fn of_user(&self, at: SocketAddr, service_route: &str) -> Self {
        let host = at.ip().to_string();
        let network = &host[..host.rfind('.').expect("IPv4")];
        let mut sip = Vec::new();
        for message in self.sip.iter().map(|bytes| text(bytes)) {
            let ues = [101, 102].map(|host| format!(".{host}:5060"));
            let of_ue = ues.iter().any(|ue| message.contains(&format!("{ue};branch")));
            if message.starts_with("SIP/2.0") || message.matches("Via:").count() != 1 || !of_ue {
                continue;
            }
            let mut own = String::new();
            for line in message.split_inclusive("\r\n") {
                if line.starts_with("Route: <sip:orig") {
                    own.push_str(&format!("Route: {service_route}\r\n"));
                } else {
                    let mut line = line.replace("+15550100002", "+15550100003");
                    for ue in &ues {
                        line = line.replace(&format!("{network}{ue}"), &at.to_string());
                    }
                    own.push_str(&line);
                }
            }
            sip.push(own.into_bytes());
        }
        assert!(sip.len() > 10, "{} requests of UEs", sip.len());
        Self { sip, diameter: Vec::new() }
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

/// Makes bob of alice, who registers all the time: whoever begins a registration in her name takes
/// the place of her own that waits for an answer, and that is how it should be.
fn spare_alice(message: &mut [u8]) {
    const BOTH: [(&[u8], &[u8]); 3] = [
        (b"001010000000001", b"001010000000002"),
        (b"+15550100001", b"+15550100002"),
        (b".101:5060", b".102:5060"),
    ];
    for (alice, bob) in BOTH {
        for at in 0..message.len().saturating_sub(alice.len()) {
            if message[at..].starts_with(alice) {
                message[at..at + alice.len()].copy_from_slice(bob);
            }
        }
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
            // Protected ports answer nothing in clear text, and those of the pool are alike.
            let protected = port == 5062 || (5100..=5131).contains(&port);
            let asked = !protected || (tcp && port <= 5100);
            if ours && words[3] == state && asked {
                out.push(Port { tcp, address: SocketAddrV4::new(ip, port) });
            }
        }
    }
    out.sort();
    out
}

/// Asks a node whether it is there and waits for the answer; datagrams may be lost. Gives how often
/// garbage was answered 480 meanwhile.
fn still_answers(socket: &UdpSocket, to: SocketAddrV4, number: usize) -> usize {
    const TRIES: usize = 50;
    let from = socket.local_addr().expect("address");
    let branch = format!("z9hG4bK-ping-{number}-");
    let request = format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch={branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=1\r\nTo: <sip:{to}>\r\n\
         Call-ID: {number}@{from}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let (mut buffer, mut unavailable) = ([0; 65_536], 0);
    for _ in 0..TRIES {
        socket.send_to(request.as_bytes(), to).expect("sends");
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((count, _)) if text(&buffer[..count]).contains(&branch) => {
                    return unavailable;
                }
                Ok(_) => unavailable += usize::from(buffer.starts_with(b"SIP/2.0 480 ")),
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => break,
                Err(fault) => panic!("{to}: {fault}"),
            }
        }
    }
    panic!("{to} answers no more");
}

/// Datagrams of garbage from this socket until enough bytes are sent; the node answers throughout.
/// Tells at each second batch ([`BATCHES`]) that it is time for a registration.
fn throw_datagrams(
    socket: &UdpSocket,
    corpus: &Corpus,
    to: SocketAddrV4,
    mut chance: Chance,
    beat: &mpsc::Sender<()>,
) {
    let mut sent = 0;
    for number in 0.. {
        for _ in 0..DATAGRAMS {
            let message = corpus.garbage(&mut chance, false);
            socket.send_to(&message, to).expect("sends");
            sent += message.len();
        }
        still_answers(socket, to, number);
        if number % BATCHES == 0 {
            beat.send(()).expect("carol hears it");
        }
        if sent >= BYTES {
            return;
        }
    }
}

/// The same from a user who is registered: what is still a request goes through the whole core.
fn throw_as_user(lab: &Running, corpus: &Corpus, mut chance: Chance) {
    let SocketAddr::V4(pcscf) = lab.pcscf() else { panic!("IPv4") };
    let socket = socket(lab, DAVE);
    let answer = register(lab, &socket, "dave", 1).expect("registers");
    let route = answer.lines().find_map(|line| line.strip_prefix("Service-Route: "));
    let corpus =
        corpus.of_user(socket.local_addr().expect("address"), route.expect("a Service-Route"));
    let (mut sent, mut count, mut unavailable) = (0, 0, 0);
    for number in 0.. {
        for _ in 0..DATAGRAMS {
            count += 1;
            // A request of its own each time, or it would pass for one that was sent again.
            let message = text(chance.one(&corpus.sip))
                .replace("z9hG4bK", &format!("z9hG4bK{count}-"))
                .replace("Call-ID: ", &format!("Call-ID: {count}-"));
            let mut message = message.into_bytes();
            // One change at most: what is still understood goes far.
            if chance.below(3) > 0 {
                mutate(&mut message, &mut chance, &corpus.sip);
            }
            message.truncate(60_000);
            socket.send_to(&message, pcscf).expect("sends");
            sent += message.len();
        }
        unavailable += still_answers(&socket, pcscf, number);
        if sent >= BYTES_OF_USER {
            // Whom it calls is gone, and only at the end of the way that is found out.
            assert!(unavailable > 0, "all of it was stopped at the door");
            return;
        }
    }
}

/// Connections, each with some garbage, until all bytes are written; a few stay open half way.
fn throw_at_connections(corpus: &Corpus, port: Port, mut chance: Chance) {
    const OPEN_MAX: usize = 32;
    // What a connection that never came to be counts for.
    const REFUSED: usize = 1_000;
    let mut open = Vec::new();
    let mut written = 0;
    while written < BYTES {
        let mut stream = match TcpStream::connect_timeout(&port.address.into(), WITHIN) {
            Ok(stream) => stream,
            // A protected port ends what comes in clear text as soon as it sees it.
            Err(fault) if fault.kind() == ErrorKind::ConnectionReset => {
                written += REFUSED;
                continue;
            }
            Err(fault) => panic!("{port:?}: {fault}"),
        };
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

/// A registration with plain sockets: what the test itself knows of digest (RFC 7616). Gives the
/// 200.
fn register(
    lab: &Running,
    socket: &UdpSocket,
    name: &str,
    number: usize,
) -> Result<String, String> {
    let challenge = ask_to_register(lab, socket, name, (number, 1), "")?;
    let offered = challenge.lines().filter(|line| line.starts_with("WWW-Authenticate:"));
    let nonce = offered
        .filter(|line| line.contains("algorithm=MD5"))
        .find_map(|line| Some(line.split_once("nonce=\"")?.1.split_once('"')?.0))
        .ok_or_else(|| challenge.clone())?;
    let (domain, subscriber) = (&lab.lab.domain, lab.subscriber(name));
    let impi = &subscriber.impi;
    let md5 = |parts: &str| hex(&Md5::digest(parts));
    let secret = md5(&format!("{impi}:{domain}:{}", secret(subscriber)));
    let request = md5(&format!("REGISTER:sip:{domain}"));
    let response = md5(&format!("{secret}:{nonce}:00000001:abc:auth:{request}"));
    let authorization = format!(
        "Authorization: Digest username=\"{impi}\",realm=\"{domain}\",nonce=\"{nonce}\",\
         uri=\"sip:{domain}\",qop=auth,nc=00000001,cnonce=\"abc\",algorithm=MD5,\
         response=\"{response}\"\r\n"
    );
    let answer = ask_to_register(lab, socket, name, (number, 2), &authorization)?;
    if answer.starts_with("SIP/2.0 200") { Ok(answer) } else { Err(answer) }
}

/// Sends a REGISTER, again where nothing is heard, and gives the final answer.
fn ask_to_register(
    lab: &Running,
    socket: &UdpSocket,
    name: &str,
    (number, cseq): (usize, u32),
    authorization: &str,
) -> Result<String, String> {
    const TRIES: usize = 30;
    let (domain, from) = (&lab.lab.domain, socket.local_addr().expect("address"));
    let request = format!(
        "REGISTER sip:{domain} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {from};branch=z9hG4bK-{name}-{number}-{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:{name}@{domain}>;tag=1\r\nTo: <sip:{name}@{domain}>\r\n\
         Call-ID: {number}@{from}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{name}@{from}>\r\n\
         {authorization}Content-Length: 0\r\n\r\n"
    );
    let mut buffer = [0; 65_536];
    for _ in 0..TRIES {
        socket.send_to(request.as_bytes(), lab.pcscf()).map_err(|fault| fault.to_string())?;
        while let Ok((count, _)) = socket.recv_from(&mut buffer) {
            let answer = text(&buffer[..count]);
            let ours = answer.contains(&format!("CSeq: {cseq} REGISTER"));
            if ours && !answer.starts_with("SIP/2.0 1") {
                return Ok(answer);
            }
        }
    }
    Err(format!("no answer to REGISTER {cseq} of {name}"))
}

/// A socket of a UE that hears an answer or asks again.
fn socket(lab: &Running, host: u8) -> UdpSocket {
    let socket = UdpSocket::bind((lab.ip(host), 0)).expect("binds");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("timeout");
    socket
}

fn carol_registers(lab: &Running, number: usize) {
    let registered = register(lab, &socket(lab, CAROL), "carol", number);
    assert!(registered.is_ok(), "{registered:?}");
}

/// Resident memory of a process in kB.
fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

/// Throws garbage at all ports while users register; gives how many registrations there were, with
/// plain sockets and by SIPp.
fn hostilities(lab: &Running, corpus: &Corpus, ports: &[Port], seed: u64) -> (usize, usize) {
    let (over, registrations) = (AtomicBool::new(false), AtomicUsize::new(0));
    let by_sipp = AtomicUsize::new(0);
    let (beat, beats) = mpsc::channel();
    std::thread::scope(|scope| {
        let throwing: Vec<_> = ports
            .iter()
            .zip(seed..)
            .map(|(port, seed)| {
                let beat = beat.clone();
                scope.spawn(move || {
                    let chance = Chance(seed);
                    match port.tcp {
                        true => throw_at_connections(corpus, *port, chance),
                        false => {
                            let socket = socket(lab, STRANGER);
                            throw_datagrams(&socket, corpus, port.address, chance, &beat);
                        }
                    }
                })
            })
            .collect();
        let user = scope.spawn(move || throw_as_user(lab, corpus, Chance(seed.wrapping_neg())));
        drop(beat);
        let registrations = &registrations;
        let registering = scope.spawn(move || {
            for () in beats {
                let number = registrations.fetch_add(1, Ordering::Relaxed);
                carol_registers(lab, 100 + number);
            }
        });
        let with_usim = scope.spawn(|| {
            while installed("sipp") && !over.load(Ordering::Relaxed) {
                let registered = alice_by_sipp(lab, "alice_registers", ALICE, "u1");
                assert_eq!(registered, Ok(()), "seed {seed}");
                by_sipp.fetch_add(1, Ordering::Relaxed);
            }
        });
        let throwing = throwing.into_iter().chain([user]);
        let ends: Vec<_> = throwing.map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        registering.join().expect("carol registers");
        with_usim.join().expect("alice registers");
        for end in ends {
            end.expect("garbage is thrown");
        }
    });

    (registrations.into_inner(), by_sipp.into_inner())
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
        carol_registers(&lab, number);
    }
    let nodes = lab.nodes();
    assert_eq!(nodes.len(), 4, "{nodes:?}");
    let before: BTreeMap<u32, u64> =
        nodes.iter().map(|node| (node.pid, resident_kb(node.pid))).collect();
    let seed = std::env::var("CSCF_SEED").map_or(SEED, |text| text.parse().expect("a seed"));

    let (registrations, by_sipp) = hostilities(&lab, &corpus, &ports, seed);

    println!("seed {seed}: {registrations} registrations meanwhile, and {by_sipp} by SIPp");
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
