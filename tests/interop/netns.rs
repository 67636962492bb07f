//! ESP in user space between two hosts that these tests make themselves: network namespaces with a
//! veth pair, raw sockets on both. Skipped where namespaces cannot be made (they need root).

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use cscf_core::engine::Input;
use cscf_core::host::protected::Form;
use cscf_core::transport::esp::DropCause;
use cscf_core::transport::ipsec::{Algorithms, SaSet};
use socket2::{Domain, Protocol, Socket, Type};

use crate::stations::{
    Family, Hosts, PORTS, Station, datagrams_pass, enter, ip, pairs, set, streams_pass,
};

/// The protocol number of ESP.
const ESP: i32 = 50;

/// Two hosts; `None`, having said why, where this machine allows none.
fn hosts() -> Option<Hosts> {
    match Hosts::make() {
        Ok(hosts) => Some(hosts),
        Err(why) => {
            let required = std::env::var_os("CSCF_REQUIRE_TOOLS").is_some();
            assert!(!required, "no network namespaces ({why}), and CSCF_REQUIRE_TOOLS is set");
            println!("skipped: no network namespaces here: {why}");
            None
        }
    }
}

fn stations(hosts: &Hosts) -> (Station, Station) {
    let ports = [PORTS.server, PORTS.client];
    let p = Station::start(&hosts.p, Form::Raw, &Family::BOTH.map(Family::p), &ports);
    let ue = Station::start(&hosts.ue, Form::Raw, &Family::BOTH.map(Family::ue), &[]);
    (p.expect("a P-CSCF"), ue.expect("UEs"))
}

#[test]
fn each_pair_of_algorithms_protects_datagrams_and_connections_of_both_families() {
    let Some(hosts) = hosts() else { return };
    let (mut p, mut ue) = stations(&hosts);
    let mut index = 0;
    for family in Family::BOTH {
        for pair in pairs() {
            index += 1;
            let (set_of_p, set_of_ue) = set(index, pair, family);
            p.install(&set_of_p);
            ue.install(&set_of_ue);
            datagrams_pass((&p, &set_of_p), (&ue, &set_of_ue));
            streams_pass((&mut p, &set_of_p), (&mut ue, &set_of_ue));
        }
    }
    assert_eq!(p.protected().dropped, []);
    assert_eq!(ue.protected().dropped, []);
}

/// Sends and sees ESP packets as they are, on a host.
struct Tap {
    host: String,
    at: IpAddr,
}

impl Tap {
    fn socket(&self) -> Socket {
        let addr = SocketAddr::new(self.at, 0);
        let protocol = Some(Protocol::from(ESP));
        let socket = Socket::new(Domain::for_address(addr), Type::RAW, protocol).expect("raw");
        socket.bind(&addr.into()).expect("binds");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        socket
    }

    /// The ESP packet that arrives while `during` is done.
    fn see(&self, during: impl FnOnce()) -> Vec<u8> {
        let (ready, is_ready) = channel();
        let (host, at) = (self.host.clone(), self.at);
        let sees = std::thread::spawn(move || {
            enter(&host);
            let socket = Self { host, at }.socket();
            ready.send(()).expect("is waited for");
            let mut buffer = [0; 4_096];
            let count = (&socket).read(&mut buffer).expect("a packet");
            // IPv4 gives its header too.
            let start = if at.is_ipv4() { usize::from(buffer[0] & 0xf) * 4 } else { 0 };
            buffer[start..count].to_vec()
        });
        is_ready.recv().expect("is ready");
        during();
        sees.join().expect("sees")
    }

    /// Sends one as it is.
    fn send(&self, to: IpAddr, packet: &[u8]) {
        let (host, at, packet) = (self.host.clone(), self.at, packet.to_vec());
        let sends = std::thread::spawn(move || {
            enter(&host);
            let socket = Self { host, at }.socket();
            socket.send_to(&packet, &SocketAddr::new(to, 0).into()).expect("sends");
        });
        sends.join().expect("sends");
    }
}

fn changed(packet: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = packet.to_vec();
    change(&mut packet);
    packet
}

#[test]
fn what_is_wrong_is_dropped_with_its_cause_and_disturbs_nothing() {
    let Some(hosts) = hosts() else { return };
    let sha = Algorithms::named("hmac-sha-1-96", "aes-cbc").expect("go together");
    for (index, family) in (1..).zip(Family::BOTH) {
        let (p, ue) = stations(&hosts);
        let (set_of_p, set_of_ue) = set(index, sha, family);
        p.install(&set_of_p);
        ue.install(&set_of_ue);
        wrong_packets((&p, &set_of_p), (&ue, &set_of_ue), &hosts);
        clear_text(&p, &set_of_p, &hosts);
        // One each, and of clear text a datagram and a connection to both ports.
        let mut dropped = p.protected().dropped;
        dropped.sort();
        let mut expected = [
            (DropCause::Replayed, 1),
            (DropCause::BadIcv, 1),
            (DropCause::UnknownSpi, 1),
            (DropCause::Malformed, 1),
            (DropCause::WrongAddress, 1),
            (DropCause::WrongPort, 1),
            (DropCause::ClearText, 4),
        ];
        expected.sort();
        assert_eq!(dropped, expected, "{family:?}");
    }
}

fn wrong_packets(p: (&Station, &SaSet), ue: (&Station, &SaSet), hosts: &Hosts) {
    let ((p, set_of_p), (ue, set_of_ue)) = (p, ue);
    let at = set_of_p.local.addr;
    let tap = Tap { host: hosts.p.clone(), at };
    let bytes = Bytes::from_static(b"REGISTER");
    let packet = tap.see(|| ue.send(set_of_ue.datagram_flow(), &bytes));
    let Input::Datagram(heard) = p.hear() else { panic!("no datagram") };
    assert_eq!(heard.bytes, bytes);

    let sender = Tap { host: hosts.ue.clone(), at: set_of_p.remote.addr };
    sender.send(at, &packet);
    p.drops("replayed or too old");
    // A sequence number that was not here yet, so that the check value decides.
    let tampered = changed(&packet, |it| it[7] = 99);
    sender.send(at, &tampered);
    p.drops("integrity check value wrong");
    sender.send(at, &changed(&packet, |it| it[..4].copy_from_slice(&77_777_u32.to_be_bytes())));
    p.drops("no association: SPI 77777");
    sender.send(at, &packet[..7]);
    p.drops("malformed");

    // From an address of the same host that has no association.
    let other = match at {
        IpAddr::V4(_) => "10.9.8.77",
        IpAddr::V6(_) => "fd00:5060::77",
    };
    let bits = if at.is_ipv4() { 24 } else { 64 };
    let mut add = vec!["-n", &hosts.ue, "address", "add"];
    let with_bits = format!("{other}/{bits}");
    add.extend([with_bits.as_str(), "dev", "gm"]);
    if at.is_ipv6() {
        add.push("nodad");
    }
    ip(&add).expect("adds");
    let other: IpAddr = other.parse().expect("address");
    let stranger = Station::start(&hosts.ue, Form::Raw, &[other], &[]).expect("a stranger");
    let (theirs, mut wrong) = later(set_of_p, 20);
    p.install(&theirs);
    wrong.local.addr = other;
    stranger.install(&wrong);
    stranger.send(wrong.datagram_flow(), &bytes);
    p.drops("wrong address");

    // Rightly protected, from another port than the association is for.
    let (theirs, mut wrong) = later(set_of_p, 30);
    p.install(&theirs);
    wrong.local.ports.client = 39_999;
    ue.install(&wrong);
    ue.send(wrong.datagram_flow(), &bytes);
    p.drops("wrong port");

    // Nothing of this came through, and what is right still does.
    let (set_of_p, set_of_ue) = later(set_of_p, 50);
    p.install(&set_of_p);
    ue.install(&set_of_ue);
    datagrams_pass((p, &set_of_p), (ue, &set_of_ue));
}

/// A later set of the same UE.
fn later(old: &SaSet, by: u32) -> (SaSet, SaSet) {
    let family = if old.local.addr.is_ipv4() { Family::V4 } else { Family::V6 };
    let index = u16::try_from(old.id.0 + by).expect("small");
    set(index, old.algorithms, family)
}

fn clear_text(p: &Station, set_of_p: &SaSet, hosts: &Hosts) {
    let (host, local, remote) = (hosts.ue.clone(), set_of_p.local, set_of_p.remote);
    let sends = std::thread::spawn(move || {
        enter(&host);
        let socket = UdpSocket::bind((remote.addr, 39_998)).expect("a socket");
        for to in [local.server(), local.client()] {
            socket.send_to(b"REGISTER sip:ims.example SIP/2.0\r\n\r\n", to).expect("sends");
            // It is accepted to be seen, and ended at once.
            if let Ok(mut stream) = TcpStream::connect(to) {
                let _ = stream.read(&mut [0; 1]);
            }
        }
    });
    sends.join().expect("sends");
    for _ in 0..4 {
        p.drops("clear text");
    }
}
