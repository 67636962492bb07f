//! scapy as the UE of a whole lab (`cscf up`): what the test says under associations scapy
//! encrypts, and what the P-CSCF answers scapy decrypts. No code of ours touches these packets:
//! keys are expanded here as TS 33.203 Annex I says, and SPIs and ports are read off the headers.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use bytes::Bytes;
use cscf_core::auth::{Answer, Credentials, FreshnessCheck, Milenage, Sqn, Usim};
use cscf_core::config::{Auth, EspBackend, SecAgree};
use cscf_core::sip::{self, HeaderName, Message, Response, SecurityMechanism};

use crate::esp::{asked, bytes_of, octets, scapy};
use crate::phone::{challenge, nonce};
use crate::running::{Running, WITHIN, hex};

/// The port of ESP in UDP of the built-in lab.
const ESP_PORT: u16 = 4_500;
/// SPIs of the phone's protected client and server port, and these ports.
const OURS: [u32; 4] = [11_001, 11_002, 40_001, 40_002];

/// A phone by hand.
struct Phone<'a> {
    lab: &'a Running,
    name: &'a str,
    at: IpAddr,
    clear: UdpSocket,
    esp: UdpSocket,
    pair: (&'a str, &'a str),
    card: Usim<Milenage>,
}

impl<'a> Phone<'a> {
    fn new(lab: &'a Running, name: &'a str, host: u8, pair: (&'a str, &'a str)) -> Self {
        let Auth::Aka { k, opc, .. } = lab.subscriber(name).auth else { panic!("no card") };
        let at = IpAddr::from(lab.ip(host));
        let open = |port| {
            let socket = UdpSocket::bind((at, port)).expect("binds");
            socket.set_read_timeout(Some(WITHIN)).expect("a timeout");
            socket
        };
        let freshness = FreshnessCheck::default().starting_at(Sqn::default());
        let card = Usim::new(Milenage::new(k, opc), freshness);
        Self { lab, name, at, clear: open(0), esp: open(ESP_PORT), pair, card }
    }

    fn security_client(&self) -> String {
        let ((alg, ealg), [spi_c, spi_s, port_c, port_s]) = (self.pair, OURS);
        format!(
            "ipsec-3gpp;alg={alg};ealg={ealg};spi-c={spi_c};spi-s={spi_s};port-c={port_c};\
             port-s={port_s}"
        )
    }

    fn request(&self, cseq: u32, via: SocketAddr, authorization: &str, more: &str) -> String {
        let Self { name, at, .. } = self;
        let domain = &self.lab.lab.domain;
        let (client, port_s) = (self.security_client(), OURS[3]);
        format!(
            "REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{name}{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{name}@{domain}>;tag=1\r\nTo: <sip:{name}@{domain}>\r\n\
             Call-ID: {name}-by-scapy\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:{name}@{at}:{port_s}>\r\nExpires: 3600\r\nSupported: path, sec-agree\r\n\
             Require: sec-agree\r\nProxy-Require: sec-agree\r\nSecurity-Client: {client}\r\n\
             Authorization: {authorization}\r\n{more}Content-Length: 0\r\n\r\n"
        )
    }

    /// The answer to a REGISTER in the clear.
    fn challenged(&self) -> Response {
        let domain = &self.lab.lab.domain;
        let impi = &self.lab.subscriber(self.name).impi;
        let uri = format!("sip:{domain}");
        let first = Credentials::unchallenged(impi, domain, &uri).to_string();
        let via = self.clear.local_addr().expect("an address");
        let request = self.request(1, via, &first, "");
        self.clear.send_to(request.as_bytes(), self.lab.pcscf()).expect("sends");
        let mut buffer = [0; 8_192];
        loop {
            let count = self.clear.recv(&mut buffer).expect("an answer in time");
            let answer = response(&buffer[..count]);
            if answer.status >= 200 {
                return answer;
            }
        }
    }

    /// What scapy is asked of the association with an SPI.
    fn order(&self, verb: &str, (ck, ik): (&[u8], &[u8]), from: IpAddr, to: IpAddr) -> String {
        let (alg, ealg) = self.pair;
        // TS 33.203 Annex I: IK with 32 zero bits for SHA-1, as it is for MD5; CK as it is for AES,
        // its first half once more behind it for 3DES.
        let integrity = if alg == "hmac-sha-1-96" { [ik, &[0; 4]].concat() } else { ik.to_vec() };
        let encryption = match ealg {
            "aes-cbc" => ck.to_vec(),
            "des-ede3-cbc" => [ck, &ck[..8]].concat(),
            _ => Vec::new(),
        };
        let (integrity, encryption) = (octets(&integrity), octets(&encryption));
        format!("{verb} {alg} {ealg} {integrity} {encryption} {from} {to}")
    }
}

fn response(bytes: &[u8]) -> Response {
    match sip::parse(&Bytes::copy_from_slice(bytes)) {
        Ok(Message::Response(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn number(of: &SecurityMechanism, name: &str) -> u32 {
    of.params.get(name).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name}"))
}

/// Registers; all that follows the challenge goes through scapy.
fn registers(lab: &Running, name: &str, host: u8, pair: (&str, &str)) {
    let mut phone = Phone::new(lab, name, host, pair);
    let unauthorized = phone.challenged();
    let asked_for = challenge(&unauthorized);
    let server = unauthorized.headers.security(HeaderName::SecurityServer).expect("readable");
    let is_ours = |it: &&SecurityMechanism| {
        (it.params.get("alg"), it.params.get("ealg")) == (Some(pair.0), Some(pair.1))
    };
    let theirs = server.iter().find(is_ours).expect("our pair is offered");
    let aka = nonce(&asked_for);
    let answer = phone.card.authenticate(&aka.rand, &aka.autn).expect("of its network, and fresh");

    let impi = lab.subscriber(name).impi.clone();
    let credentials = Answer {
        username: &impi,
        password: answer.res.as_bytes(),
        method: "REGISTER",
        uri: &format!("sip:{}", lab.lab.domain),
        cnonce: "hand",
        nc: "00000001",
        body: b"",
    };
    let credentials = Credentials::answer(&asked_for, &credentials).expect("credentials");
    let verify: Vec<String> = server.iter().map(ToString::to_string).collect();
    let verify = format!("Security-Verify: {}\r\n", verify.join(", "));
    let [_, spi_s, port_c, port_s] = OURS;
    let via = SocketAddr::new(phone.at, u16::try_from(port_s).expect("a port"));
    let request = phone.request(2, via, &credentials.to_string(), &verify);

    let (pcscf, keys) = (lab.pcscf().ip(), (&answer.ck[..], &answer.ik[..]));
    let make = phone.order("make", keys, phone.at, pcscf);
    let (their_spi, their_port) = (number(theirs, "spi-s"), number(theirs, "port-s"));
    let text = hex(request.as_bytes());
    let packet = asked(&[format!("{make} {their_spi} 1 udp {port_c} {their_port} {text}")]);
    if packet == ["unknown"] {
        return println!("this scapy does not know {pair:?}");
    }
    phone.esp.send_to(&bytes_of(&packet[0]), (pcscf, ESP_PORT)).expect("sends");

    let mut buffer = [0; 8_192];
    let (count, from) = phone.esp.recv_from(&mut buffer).expect("an answer in time");
    assert_eq!(from, SocketAddr::new(pcscf, ESP_PORT));
    // The SPI of our server port, the first number, and the answer nowhere in clear text.
    let numbers = [spi_s.to_be_bytes(), 1_u32.to_be_bytes()].concat();
    assert_eq!(buffer[..8], numbers);
    let open = phone.order("open", keys, pcscf, phone.at);
    let opened = asked(&[format!("{open} {spi_s} {}", hex(&buffer[..count]))]);
    let words: Vec<&str> = opened[0].split(' ').collect();
    let ["udp", from, to, "-", payload] = words[..] else { panic!("{opened:?}") };
    assert_eq!((from, to), (&*number(theirs, "port-c").to_string(), &*port_s.to_string()));
    let ok = response(&bytes_of(payload));
    assert_eq!((ok.status, ok.headers.get(HeaderName::CSeq)), (200, Some("2 REGISTER")));
}

#[test]
fn scapy_registers_at_a_whole_lab() {
    if !scapy() {
        return;
    }
    let lab = Running::start_with(|lab, _| {
        lab.gm.backend = EspBackend::Udp;
        lab.gm.sec_agree = SecAgree::Required;
        Vec::<OsString>::new()
    });
    registers(&lab, "alice", 31, ("hmac-sha-1-96", "aes-cbc"));
    registers(&lab, "bob", 32, ("hmac-md5-96", "des-ede3-cbc"));
    registers(&lab, "alice", 33, ("hmac-md5-96", "null"));
    lab.end();
}
