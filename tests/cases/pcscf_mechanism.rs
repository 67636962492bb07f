//! Other mechanisms than associations at the P-CSCF (TS 33.203 Annex P, O, T), and keep-alives
//! (RFC 6223, RFC 5626): a UE by hand, with a home network by hand or the whole core.

use std::net::SocketAddr;

use cscf_core::auth::IntegrityProtected as Flag;
use cscf_core::config::Lab;
use cscf_core::diameter::dictionary;
use cscf_core::operator::Show;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::transport::{ConnId, Flow, Transport};
use cscf_tests::{Bench, DOMAIN, crlf, header, label};

use super::by_hand;
use super::gm::{bytes, flag};
use super::hand::{A_MOMENT, Hand, response, values};
use super::pcscf_register::{edge, last, ok_lines, request, to_home};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pcscf_mechanism::tls_is_bound_by_the_200", &["P-REG-390d", "P-REG-390e"], tls_flags),
        case("pcscf_mechanism::tls_is_agreed_on", &["P-REG-380c"], tls_agreed),
        case(
            "pcscf_mechanism::who_has_tls_does_not_speak_in_clear",
            &["P-REG-380c", "P-REG-390e"],
            tls_only,
        ),
        case("pcscf_mechanism::digest_is_for_some_accesses", &["P-REG-380d"], digest),
        case("pcscf_mechanism::no_credentials_on_radio_is_giba", &["P-REG-380e"], giba),
        case("pcscf_mechanism::the_address_must_be_the_access_networks", &["S-AUT-090"], address),
        case("pcscf_mechanism::keep_alives_are_answered", &["P-REG-370"], keep_alives),
    ]
}

const EMPTY: &str = "scenario: none\nsteps: []\n";

/// p1 between raw peers, in a lab like this.
fn edge_in(change: impl FnOnce(&mut Lab)) -> Hand {
    let mut bench = Bench::with_lab(EMPTY, 1, |lab| {
        change(lab);
        lab.reg_event_subscription = false;
    });
    bench.replace("i1", "home");
    Hand::ue(bench, "carol")
}

/// Opens a connection of the UE that TLS protects.
fn tls(hand: &mut Hand) -> ConnId {
    let (local, remote) = (hand.at, hand.to);
    let flow = Flow { transport: Transport::Tls, local, remote, conn: None, sa: None };
    let conn = hand.bench.connect_by("ue", flow);
    hand.bench.run_for(A_MOMENT);
    conn
}

/// Sends a REGISTER on a connection.
fn by(hand: &mut Hand, conn: ConnId, lines: &str) {
    let text = hand.next(lines).replace("SIP/2.0/UDP", "SIP/2.0/TLS");
    hand.bench.write("ue", conn, &bytes(&text));
    hand.bench.run_for(A_MOMENT);
}

/// What the UE has heard on its connections.
fn streamed(hand: &mut Hand) -> Vec<Message> {
    let (streams, _) = hand.bench.heard_stream("ue");
    let mut out = Vec::new();
    for (_, bytes) in streams {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let heads = text.split("\r\n\r\n").filter(|head| !head.is_empty());
        out.extend(heads.map(|head| {
            cscf_core::sip::parse(&crlf(&format!("{head}\r\n\r\n")).into()).expect("SIP")
        }));
    }
    out
}

/// Home says this; what the UE hears of it on its connections.
fn answers(hand: &mut Hand, request: &Message, status: &str, lines: &str) -> Message {
    let to = hand.to;
    hand.bench.send("home", to, &response(request, status, lines));
    hand.bench.run_for(A_MOMENT);
    streamed(hand).pop().expect("an answer")
}

const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"x\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\n";

fn tls_flags() {
    let mut hand = edge_in(|_| {});
    let conn = tls(&mut hand);
    let first = hand.unchallenged(Some(Flag::TlsYes));
    by(&mut hand, conn, &first);
    let came = last(&mut hand, "REGISTER");
    assert_eq!(flag(&came), Some(Flag::TlsPending), "whatever the UE claims");
    let challenged = answers(&mut hand, &came, "401 Unauthorized", CHALLENGE);
    let proof = hand.proof(&challenged, None);
    by(&mut hand, conn, &proof);
    let came = last(&mut hand, "REGISTER");
    assert_eq!(flag(&came), Some(Flag::TlsPending), "until the 200");
    let route = to_home(&hand);
    let ok = ok_lines(&hand, &[&route]);
    assert_eq!(label(&answers(&mut hand, &came, "200 OK", &ok)), "200 REGISTER");
    by(&mut hand, conn, &proof);
    let came = last(&mut hand, "REGISTER");
    assert_eq!(flag(&came), Some(Flag::TlsYes));
    answers(&mut hand, &came, "200 OK", &ok);
    // It is bound to that user, and to that connection.
    let other = proof.replace("username=\"carol@", "username=\"dave@");
    assert_ne!(other, proof);
    by(&mut hand, conn, &other);
    assert_eq!(label(&streamed(&mut hand).pop().expect("an answer")), "403 REGISTER");
    hand.bench.heard("home");
    let conn = tls(&mut hand);
    by(&mut hand, conn, &proof);
    assert_eq!(flag(&last(&mut hand, "REGISTER")), Some(Flag::TlsPending));
}

const OFFER: &str = "Security-Client: tls\nRequire: sec-agree\nProxy-Require: sec-agree\n";

fn tls_agreed() {
    let mut hand = edge_in(|lab| lab.gm.tls = true);
    let lines = hand.unchallenged(None) + OFFER;
    let text = hand.next(&lines);
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    let came = last(&mut hand, "REGISTER");
    assert_eq!((flag(&came), header(&came, "Security-Client").as_str()), (None, ""));
    let to = hand.to;
    hand.bench.send("home", to, &response(&came, "401 Unauthorized", CHALLENGE));
    hand.bench.run_for(A_MOMENT);
    let challenged = hand.answered().expect("a 401");
    let server = header(&challenged, "Security-Server");
    assert!(server.starts_with("tls;q="), "{server}");
    let verify = format!("Security-Verify: {server}\n");
    let proof = hand.proof(&challenged, None) + OFFER;
    // The answer comes over TLS and mirrors the list, or not at all.
    let refused = hand.register(&(proof.clone() + &verify));
    assert_eq!(label(&refused), "494 REGISTER");
    assert_eq!(header(&refused, "Security-Server"), server);
    let conn = tls(&mut hand);
    by(&mut hand, conn, &(proof.clone() + "Security-Verify: digest;d-qop=auth\n"));
    assert_eq!(label(&streamed(&mut hand).pop().expect("an answer")), "494 REGISTER");
    by(&mut hand, conn, &proof);
    assert_eq!(label(&streamed(&mut hand).pop().expect("an answer")), "494 REGISTER");
    assert!(hand.bench.heard("home").is_empty());
    by(&mut hand, conn, &(proof + &verify));
    let came = last(&mut hand, "REGISTER");
    assert_eq!(flag(&came), Some(Flag::TlsPending));
    assert_eq!(header(&came, "Security-Verify"), "");
    let route = to_home(&hand);
    let ok = ok_lines(&hand, &[&route]);
    answers(&mut hand, &came, "200 OK", &ok);
    assert!(mechanism(&mut hand).contains(&"digest-tls".to_owned()));
    // It is kept: the next REGISTER need not ask for it.
    let again = hand.proof(&challenged, None);
    by(&mut hand, conn, &again);
    assert_eq!(flag(&last(&mut hand, "REGISTER")), Some(Flag::TlsYes));
    // Who has no TLS does not promise it.
    let mut hand = edge_in(|_| {});
    let text = hand.next(&lines);
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    let came = last(&mut hand, "REGISTER");
    hand.bench.send("home", to, &response(&came, "401 Unauthorized", CHALLENGE));
    hand.bench.run_for(A_MOMENT);
    assert_eq!(header(&hand.answered().expect("a 401"), "Security-Server"), "");
}

/// Somebody sends datagrams with the address and port of a connection over TLS.
fn tls_only() {
    for (agreed, code) in [(false, "403 REGISTER"), (true, "494 REGISTER")] {
        let mut hand = edge_in(|lab| lab.gm.tls = agreed);
        let conn = tls(&mut hand);
        let first = hand.unchallenged(None);
        by(&mut hand, conn, &first);
        let came = last(&mut hand, "REGISTER");
        let challenged = answers(&mut hand, &came, "401 Unauthorized", CHALLENGE);
        let proof = hand.proof(&challenged, None);
        by(&mut hand, conn, &proof);
        let came = last(&mut hand, "REGISTER");
        let route = to_home(&hand);
        let ok = ok_lines(&hand, &[&route]);
        assert_eq!(label(&answers(&mut hand, &came, "200 OK", &ok)), "200 REGISTER");
        let message = |hand: &mut Hand, transport: &str| {
            let (at, to) = (hand.at, hand.to);
            let user = hand.impu.clone();
            hand.cseq += 1;
            let number = hand.cseq;
            format!(
                "MESSAGE sip:bob@{DOMAIN} SIP/2.0\n\
                 Via: SIP/2.0/{transport} {at};branch=z9hG4bK-m{number}\nMax-Forwards: 70\n\
                 Route: <sip:{to};lr>, <{route};lr>\nFrom: <{user}>;tag=m\n\
                 To: <sip:bob@{DOMAIN}>\nCall-ID: m{number}\nCSeq: 1 MESSAGE\n\
                 Content-Length: 0\n"
            )
        };
        hand.bench.heard("home");
        let text = message(&mut hand, "UDP");
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        assert!(hand.bench.heard("home").is_empty(), "in clear it is a stranger");
        assert_eq!(label(&hand.answered().expect("an answer")), "403 MESSAGE");
        // Nor does a REGISTER pass, with credentials that were seen or without any.
        let all = "Contact: *\nExpires: 0\n";
        for lines in [proof.clone(), format!("{proof}{all}"), format!("{first}{all}")] {
            let refused = hand.register(&lines);
            assert_eq!(label(&refused), code, "{lines}");
            assert!(hand.bench.heard("home").is_empty());
        }
        // A new beginning does where it offers TLS, but the address does not stand for the user.
        if agreed {
            let text = hand.next(&format!("{first}{OFFER}"));
            hand.send(&text);
            hand.bench.run_for(A_MOMENT);
            assert_eq!(flag(&last(&mut hand, "REGISTER")), None);
        }
        let text = message(&mut hand, "TLS");
        hand.bench.write("ue", conn, &bytes(&text));
        hand.bench.run_for(A_MOMENT);
        assert_eq!(label(&last(&mut hand, "MESSAGE")), "MESSAGE");
    }
}

/// The mechanisms of the registrations at p1.
fn mechanism(hand: &mut Hand) -> Vec<String> {
    let rows = by_hand::shown(&mut hand.bench, Show::Registrations);
    let cells = rows.iter().flatten().filter_map(|cell| cell.strip_prefix("mechanism="));
    cells.map(str::to_owned).collect()
}

fn digest() {
    for (allowed, access, passes) in [
        (true, "", true),
        (true, "P-Access-Network-Info: 3GPP-E-UTRAN-FDD\n", true),
        (false, "P-Access-Network-Info: ADSL\n", true),
        (false, "P-Access-Network-Info: 3GPP-E-UTRAN-FDD\n", false),
        (false, "", false),
    ] {
        let mut hand = edge_in(|lab| lab.gm.digest_on_radio = allowed);
        let lines = hand.unchallenged(None) + access;
        let text = hand.next(&lines);
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        let heard = hand.bench.heard("home");
        assert_eq!(heard.first().map(label), passes.then(|| "REGISTER".to_owned()), "{access}");
        if passes {
            assert_eq!(flag(&heard[0]), None);
            assert_eq!(mechanism(&mut hand), ["digest"]);
        } else {
            assert_eq!(label(&hand.answered().expect("an answer")), "403 REGISTER");
        }
    }
}

/// A UE with this address in the HSS, at the whole core.
fn known_by(address: &str, giba: bool) -> Hand {
    let address = address.parse().expect("an address");
    let bench = Bench::with_lab(EMPTY, 1, |lab| {
        lab.gm.giba = giba;
        for subscriber in lab.subscribers.listed_mut() {
            subscriber.hss.framed_ip = (subscriber.name == "alice").then_some(address);
        }
    });
    Hand::ue(bench, "alice")
}

/// The schemes that the S-CSCF has asked for.
fn schemes(hand: &Hand) -> Vec<String> {
    let told = by_hand::avps(&hand.bench, "s1", "MAR", "SIP-Authentication-Scheme");
    told.into_iter().flatten().collect()
}

fn giba() {
    const AT: &str = "127.1.0.201";
    let mut hand = known_by(AT, true);
    let ok = hand.register("");
    assert_eq!(label(&ok), "200 REGISTER", "without any challenge");
    assert_eq!(schemes(&hand), ["Early-IMS-Security"]);
    assert_eq!(mechanism(&mut hand), ["giba"]);
    // What the P-CSCF hands on has no flag, and it is kept for the refresh.
    let sent = hand.bench.sent("p1");
    let came = sent.iter().find(|it| it.label() == "REGISTER").expect("it goes home");
    assert_eq!(came.header("Authorization"), "");
    assert_eq!(label(&hand.register("")), "200 REGISTER");
    assert_eq!(mechanism(&mut hand), ["giba"]);
    let message = hand.unchallenged(Some(Flag::Yes));
    let text = hand.next(&message);
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    let sent = hand.bench.sent("p1");
    let mut registers = sent.iter().rev().filter(|it| it.label() == "REGISTER");
    assert_eq!(flag(&registers.next().expect("it goes home").message), None, "no IP association");
    // A name in Via: the address is that of the packet.
    let mut hand = known_by(AT, true);
    let text = hand.next("").replace("UDP 127.1.0.201:5060", "UDP phone.invalid:5060");
    assert_eq!(label(&hand.ask(&text)), "200 REGISTER");
    // Nobody stands in for another by a Via below.
    let text = hand.next("");
    let mut hand = known_by("10.9.9.9", true);
    let forged = "Max-Forwards: 70\nVia: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bK-f\n";
    let text = text.replace("Max-Forwards: 70\n", forged);
    assert_eq!(label(&hand.ask(&text)), "403 REGISTER");
    assert!(schemes(&hand).is_empty());
    // Another access, credentials, or a lab without it: a challenge.
    for (on, lines) in [
        (true, "P-Access-Network-Info: ADSL\n".to_owned()),
        (true, hand.unchallenged(None)),
        (false, String::new()),
    ] {
        let mut hand = known_by(AT, on);
        assert_eq!(label(&hand.register(&lines)), "401 REGISTER", "{lines}");
        assert_ne!(mechanism(&mut hand), ["giba"]);
    }
}

fn address() {
    let mut hand = known_by("127.1.0.77", true);
    let refused = hand.register("");
    assert_eq!(label(&refused), "403 REGISTER");
    assert_eq!(schemes(&hand), ["Early-IMS-Security"]);
    let maas = super::hand::asked(&hand.bench, "hss", "MAA");
    let item = maas[0].find(&dictionary::SIP_AUTH_DATA_ITEM).expect("an item");
    let inside = item.as_group().expect("a group");
    let code = dictionary::FRAMED_IP_ADDRESS.code;
    let framed = inside.iter().find(|avp| avp.code == code).expect("an address");
    assert_eq!(framed.data.as_ref(), [127, 1, 0, 77]);
    let told = hand.bench.notes("s1");
    assert!(told.iter().any(|it| it.refusal && it.text.contains("127.1.0.77")));
    assert!(hand.asked("s1", "SAR").is_empty());
    // At the S-CSCF itself: `received` counts, else the host.
    for (via, expected) in [
        ("127.1.0.77:5060", 200),
        ("127.1.0.78:5060;received=127.1.0.77", 200),
        ("127.1.0.77:5060;received=127.1.0.78", 403),
        ("phone.invalid", 403),
    ] {
        let bench = Bench::with_lab(EMPTY, 1, |lab| {
            lab.gm.giba = true;
            for subscriber in lab.subscribers.listed_mut() {
                subscriber.hss.framed_ip = "127.1.0.77".parse().ok();
            }
        });
        let mut hand = Hand::at_scscf(bench, "alice");
        let below = format!("Max-Forwards: 70\nVia: SIP/2.0/UDP {via};branch=z9hG4bK-u\n");
        let text = hand.next("").replace("Max-Forwards: 70\n", &below);
        let answer = hand.ask(&text);
        assert_eq!(super::hand::status(&answer), expected, "{via}");
    }
    // A subscriber of whom no address is known is challenged.
    let mut hand = Hand::ue(Bench::with_lab(EMPTY, 1, |lab| lab.gm.giba = true), "alice");
    assert_eq!(label(&hand.register("")), "401 REGISTER");
    assert_eq!(schemes(&hand).len(), 2);
}

/// A binding request (RFC 8489 §5).
const BINDING: [u8; 20] =
    [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

fn keep_alives() {
    let mut hand = edge();
    // The offer is taken up in every response.
    for (offer, expected) in [(";keep", Some("29")), ("", None)] {
        let lines = hand.unchallenged(None);
        let text = hand.next(&lines).replace(";rport", &format!(";rport{offer}"));
        hand.send(&text);
        hand.bench.run_for(A_MOMENT);
        let came = last(&mut hand, "REGISTER");
        let ok = ok_lines(&hand, &["sip:s@h"]);
        let to = hand.to;
        hand.bench.send("home", to, &response(&came, "200 OK", &ok));
        hand.bench.run_for(A_MOMENT);
        let answer = hand.answered().expect("a 200");
        let via = &values(&answer, HeaderName::Via)[0];
        let kept = via.split(';').find_map(|param| param.strip_prefix("keep="));
        assert_eq!(kept, expected, "{via}");
    }
    // Inside a dialog there is nothing to agree on.
    let text = request(&mut hand, "OPTIONS", "").replace(";rport", ";rport;keep");
    let text = text.replace("\nCall-ID", ";tag=x\nCall-ID");
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    let came = last(&mut hand, "OPTIONS");
    assert!(values(&came, HeaderName::Via)[1].contains(";keep;"), "{came:?}");
    // A ping on a stream gets one CRLF.
    let to = hand.to;
    let conn = hand.bench.connect("ue", to);
    hand.bench.run_for(A_MOMENT);
    hand.bench.write("ue", conn, b"\r\n\r\n");
    hand.bench.run_for(A_MOMENT);
    let (streams, closed) = hand.bench.heard_stream("ue");
    assert_eq!(streams.len(), 1);
    assert_eq!((&streams[0].1[..], closed.len()), (&b"\r\n"[..], 0));
    // A binding request gets the address it came from.
    hand.bench.send_bytes("ue", to, &BINDING);
    hand.bench.run_for(A_MOMENT);
    let heard = hand.bench.packets("ue");
    assert_eq!(heard.len(), 1);
    let heard = &heard[0].bytes;
    assert_eq!(heard[..8], [1, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42]);
    assert_eq!(heard[8..20], BINDING[8..]);
    assert_eq!(heard[20..26], [0, 0x20, 0, 8, 0, 1]);
    assert_eq!(mapped(heard), hand.at);
    // Other STUN, and what nobody has asked to keep alive, gets nothing.
    let mut other = BINDING;
    other[1] = 3;
    hand.bench.send_bytes("ue", to, &other);
    let i1 = Bench::new(&[]);
    let mut at_icscf = Hand::at_icscf(i1, "alice");
    let to = at_icscf.to;
    at_icscf.bench.send_bytes("fake", to, &BINDING);
    at_icscf.bench.run_for(A_MOMENT);
    assert!(at_icscf.bench.packets("fake").is_empty());
    hand.bench.run_for(A_MOMENT);
    assert!(hand.bench.packets("ue").is_empty());
}

/// XOR-MAPPED-ADDRESS of an answer to [`BINDING`].
fn mapped(answer: &[u8]) -> SocketAddr {
    let port = u16::from_be_bytes([answer[26] ^ 0x21, answer[27] ^ 0x12]);
    let octet = |at: usize| answer[28 + at] ^ BINDING[4 + at];
    SocketAddr::from(([octet(0), octet(1), octet(2), octet(3)], port))
}
