//! Which transport, which address, where a message ends (RFC 3261 §18, RFC 3581), and the routes
//! that requests take (RFC 3261 §16.4, §16.12).

use cscf_core::config::PathMtu;
use cscf_core::sip::HeaderName;
use cscf_core::transport::Transport;
use cscf_tests::{Bench, DOMAIN, crlf};

use super::wire::{Access, Serving, answer_to, count, dropped, labels, ms, sent_to};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "transport::a_request_near_the_known_mtu_goes_by_tcp",
            &["G-TRANS-010a"],
            near_the_mtu,
        ),
        case(
            "transport::a_large_request_on_an_unknown_path_goes_by_tcp",
            &["G-TRANS-010b"],
            || {
                large_goes_by_tcp(PathMtu::Unknown);
            },
        ),
        case("transport::loopback_takes_large_requests_by_udp", &["G-TRANS-010c"], loopback),
        case("transport::the_pcscf_answers_on_5060_by_udp_and_tcp", &["G-TRANS-020"], edge),
        case("transport::a_response_goes_where_the_via_says", &["T-TRN-100"], response_routing),
        case("transport::a_message_ends_where_its_length_says", &["T-TRN-110"], framing),
        case("transport::only_the_own_route_is_taken_away", &["G-ROUTE-010"], loose_routing),
        case(
            "transport::a_strict_router_gets_itself_in_the_request_uri",
            &["T-PRX-090"],
            strict_router,
        ),
    ]
}

fn near_the_mtu() {
    large_goes_by_tcp(PathMtu::Known(1_500));
    // What is further away from the MTU stays on UDP.
    let mut lab = Sized::new(PathMtu::Known(1_500));
    assert_eq!(lab.message("small", 100), [Transport::Udp]);
    let mut lab = Sized::new(PathMtu::Known(9_000));
    assert_eq!(lab.message("fits", 3_000), [Transport::Udp]);
    assert_eq!(lab.message("near", 8_400), [Transport::Tcp]);
}

/// `a` in the place of alice's UE, and what `p1` makes of her requests towards `s1`.
struct Sized {
    bench: Bench,
    alice: std::net::SocketAddr,
}

impl Sized {
    fn new(mtu: PathMtu) -> Self {
        let parties = "scenario: none\nparties:\n  alice: {}\nsteps: []\n";
        let mut bench = Bench::with_lab(parties, 1, |lab| lab.path_mtu = mtu);
        bench.register(&["alice"]);
        let alice = bench.replace("alice", "a");
        ms(&mut bench, 1_000);
        Self { bench, alice }
    }

    /// Sends a MESSAGE with a body of so many bytes; the transports p1 used towards s1.
    fn message(&mut self, name: &str, size: usize) -> Vec<Transport> {
        let (p1, s1, alice) = (self.bench.addr("p1"), self.bench.addr("s1"), self.alice);
        self.bench.mark();
        let body = "x".repeat(size);
        let text = format!(
            "MESSAGE sip:+15550100002@{DOMAIN};user=phone SIP/2.0\n\
             Via: SIP/2.0/UDP {alice};branch=z9hG4bK{name}\nMax-Forwards: 70\n\
             From: <sip:+15550100001@{DOMAIN};user=phone>;tag=a\n\
             To: <sip:+15550100002@{DOMAIN};user=phone>\nCall-ID: {name}\nCSeq: 1 MESSAGE\n\
             Content-Type: text/plain\nContent-Length: {size}\n\n{body}"
        );
        self.bench.send("a", p1, &text);
        ms(&mut self.bench, 100);
        let sent = sent_to(&self.bench, "p1", s1);
        let sent = sent.iter().filter(|told| told.label() == "MESSAGE");
        sent.map(|told| {
            let transport = told.wire.transport;
            let via = told.header("Via");
            assert!(via.starts_with(&format!("SIP/2.0/{transport} ")), "{via}");
            transport
        })
        .collect()
    }
}

fn large_goes_by_tcp(mtu: PathMtu) {
    let mut lab = Sized::new(mtu);
    assert_eq!(lab.message("small", 100), [Transport::Udp]);
    assert_eq!(lab.message("large", 1_400), [Transport::Tcp]);
    // Nobody listens for TCP: UDP after all, and no other attempt for a minute.
    assert!(lab.bench.stage.lab.crash("s1"));
    ms(&mut lab.bench, 1_000);
    assert_eq!(lab.message("refused", 1_400), [Transport::Udp]);
    let attempts = |lab: &Sized| {
        let notes = lab.bench.notes("p1");
        notes.iter().filter(|note| note.text.contains("too much for UDP")).count()
    };
    assert!(attempts(&lab) > 0, "TCP was tried");
    ms(&mut lab.bench, 55_000);
    assert_eq!(lab.message("remembered", 1_400), [Transport::Udp]);
    assert_eq!(attempts(&lab), 0, "the refusal is remembered");
    ms(&mut lab.bench, 6_000);
    lab.message("forgotten", 1_400);
    assert!(attempts(&lab) > 0, "for 60 s");
    both_everywhere();
}

fn loopback() {
    let mut lab = Sized::new(PathMtu::Known(65_536));
    assert_eq!(lab.message("large", 1_400), [Transport::Udp]);
    assert_eq!(lab.message("larger", 30_000), [Transport::Udp]);
    both_everywhere();
}

fn options(via: &str, branch: &str, to: std::net::SocketAddr) -> String {
    format!(
        "OPTIONS sip:{to} SIP/2.0\nVia: SIP/2.0/{via};branch=z9hG4bK{branch}\n\
         Max-Forwards: 70\nFrom: <sip:x@other.example>;tag=x\nTo: <sip:{to}>\n\
         Call-ID: {branch}\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n"
    )
}

/// Every node answers by UDP and by TCP on its port.
fn both_everywhere() {
    let mut bench = Bench::new(&[]);
    let x = bench.raw("x");
    for node in ["p1", "i1", "s1"] {
        let addr = bench.addr(node);
        bench.send("x", addr, &options(&format!("UDP {x}"), "udp", addr));
        ms(&mut bench, 50);
        assert_eq!(bench.heard("x").len(), 1, "{node} by UDP");
        let conn = bench.connect("x", addr);
        ms(&mut bench, 50);
        bench.write("x", conn, &crlf(&options(&format!("TCP {x}"), "tcp", addr)));
        ms(&mut bench, 50);
        let (streams, _) = bench.heard_stream("x");
        assert!(streams[0].1.starts_with(b"SIP/2.0 200 "), "{node} by TCP");
    }
}

fn register(via: &str, branch: &str) -> String {
    let impi = format!("001010000000001@{DOMAIN}");
    format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\nVia: SIP/2.0/{via};branch=z9hG4bK{branch}\n\
         Max-Forwards: 70\nFrom: <sip:{impi}>;tag=r\nTo: <sip:{impi}>\nCall-ID: {branch}\n\
         CSeq: 1 REGISTER\nContact: <sip:127.1.0.201:5060>\nSupported: path\n\
         Authorization: Digest username=\"{impi}\", realm=\"{DOMAIN}\", nonce=\"\", \
         uri=\"sip:{DOMAIN}\", response=\"\"\nContent-Length: 0\n\n"
    )
}

fn edge() {
    let mut bench = Bench::new(&["alice"]);
    let p1 = bench.addr("p1");
    assert_eq!(p1.port(), 5060);
    let x = bench.raw("x");
    // By UDP to received and rport, whatever the Via says.
    bench.send("x", p1, &register("UDP 192.0.2.7:7777;rport", "one"));
    ms(&mut bench, 100);
    let heard = bench.heard("x");
    assert_eq!(heard.len(), 1);
    assert_eq!(cscf_tests::label(&heard[0]), "401 REGISTER");
    let via = cscf_tests::header(&heard[0], "Via");
    assert!(via.contains("received=127.1.0.201") && via.contains("rport=5060"), "{via}");
    // By TCP on the same connection.
    let conn = bench.connect("x", p1);
    ms(&mut bench, 10);
    bench.mark();
    bench.write("x", conn, &crlf(&register(&format!("TCP {x}"), "two")));
    ms(&mut bench, 100);
    let (streams, closed) = bench.heard_stream("x");
    assert!(closed.is_empty() && bench.heard("x").is_empty());
    assert_eq!(streams.len(), 1);
    assert_eq!(streams[0].0, conn, "the same connection");
    assert!(streams[0].1.starts_with(b"SIP/2.0 401 "));
}

fn response_routing() {
    let mut bench = Bench::new(&[]);
    let p1 = bench.addr("p1");
    let from = std::net::SocketAddr::from(([127, 1, 0, 210], 6000));
    bench.raw_at("x", from);
    let default_port = std::net::SocketAddr::from(([127, 1, 0, 210], 5060));
    bench.raw_at("default", default_port);
    let sent_by = std::net::SocketAddr::from(([127, 1, 0, 210], 7777));
    bench.raw_at("sent-by", sent_by);
    let other = std::net::SocketAddr::from(([127, 1, 0, 211], 7777));
    bench.raw_at("other", other);
    for (number, (via, to)) in [
        ("UDP nowhere.example:7777;rport", "x"),
        ("UDP nowhere.example:7777", "sent-by"),
        ("UDP nowhere.example", "default"),
        ("UDP 127.1.0.210:7777", "sent-by"),
        ("UDP nowhere.example:7777;received=127.1.0.211", "sent-by"),
        ("UDP 127.1.0.210:7777;maddr=127.1.0.211", "other"),
    ]
    .into_iter()
    .enumerate()
    {
        bench.send("x", p1, &options(via, &format!("r{number}"), p1));
        ms(&mut bench, 50);
        for raw in ["x", "default", "sent-by", "other"] {
            assert_eq!(bench.heard(raw).len(), usize::from(raw == to), "{via}: {raw}");
        }
    }
    // By a connection: the same, else a new one to sent-by.
    let mut lab = Serving::new();
    let (s1, i) = (lab.s1, lab.i);
    let conn = lab.bench.connect("i", s1);
    lab.wait(10);
    let text = lab.request("MESSAGE", "c", "").replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    lab.bench.write("i", conn, &crlf(&text));
    lab.wait(50);
    lab.answer(&answer_to(&lab.forwarded(), 200, "b"));
    let (streams, _) = lab.bench.heard_stream("i");
    assert!(streams.len() == 1 && streams[0].0 == conn);
    assert!(streams[0].1.starts_with(b"SIP/2.0 200 "));
    let text = lab.request("MESSAGE", "d", "").replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    lab.bench.write("i", conn, &crlf(&text));
    lab.wait(50);
    lab.bench.disconnect("i", conn);
    lab.wait(50);
    lab.bench.mark();
    let response = answer_to(&super::wire::newest(&mut lab.bench, "p"), 200, "b");
    lab.answer(&response);
    let (streams, _) = lab.bench.heard_stream("i");
    assert_eq!(streams.len(), 1, "a new connection to {i}");
    assert!(streams[0].0 != conn && streams[0].1.starts_with(b"SIP/2.0 200 "));
    let sent = lab.up();
    assert!(sent.iter().all(|told| told.wire.transport == Transport::Tcp && told.wire.remote == i));
}

fn framing() {
    let mut bench = Bench::new(&[]);
    let (p1, x) = (bench.addr("p1"), bench.raw("x"));
    let one = crlf(&options(&format!("TCP {x}"), "one", p1));
    let two = crlf(&options(&format!("TCP {x}"), "two", p1));
    // Two messages in one write, behind a keep-alive, and the second cut in the middle.
    let conn = bench.connect("x", p1);
    ms(&mut bench, 10);
    let both = [b"\r\n\r\n".as_slice(), &one, b"\r\n", &two].concat();
    let (head, tail) = both.split_at(both.len() - 40);
    bench.write("x", conn, head);
    ms(&mut bench, 50);
    bench.write("x", conn, tail);
    ms(&mut bench, 50);
    let (streams, closed) = bench.heard_stream("x");
    let text = String::from_utf8_lossy(&streams[0].1).into_owned();
    assert_eq!(text.matches("SIP/2.0 200 ").count(), 2, "{text}");
    assert!(text.contains("z9hG4bKone") && text.contains("z9hG4bKtwo") && closed.is_empty());
    // Without a length, or with one that is too large, nobody knows where the next one begins.
    for instead in ["", "Content-Length: 99999999\n", "Content-Length: x\n"] {
        let conn = bench.connect("x", p1);
        ms(&mut bench, 10);
        let text =
            options(&format!("TCP {x}"), "broken", p1).replace("Content-Length: 0\n", instead);
        bench.write("x", conn, &crlf(&text));
        ms(&mut bench, 50);
        let (streams, closed) = bench.heard_stream("x");
        assert_eq!(streams.len(), 1, "{instead}: closed {closed:?}");
        let text = String::from_utf8_lossy(&streams[0].1).into_owned();
        let status = if instead.contains('9') { "513" } else { "400" };
        assert!(text.starts_with(&format!("SIP/2.0 {status} ")), "{instead}: {text}");
        assert_eq!(closed, [conn], "{instead}: closed");
    }
    // UDP: what is behind the length is not part of it, what is too short is refused.
    let mut lab = Access::on("3GPP-E-UTRAN-FDD");
    let text = lab.request("MESSAGE", "long", "").replace(
        "Content-Length: 0\n\n",
        "Content-Type: text/plain\nContent-Length: 2\n\nhi and more",
    );
    lab.ask(&format!("\n\n{text}"));
    assert_eq!(labels(&lab.down()), ["MESSAGE"]);
    assert_eq!(&lab.forwarded().body[..], b"hi");
    assert!(!String::from_utf8_lossy(&lab.down()[0].wire.bytes).contains("more"));
    let short = lab
        .request("MESSAGE", "short", "")
        .replace("Content-Length: 0\n\n", "Content-Type: text/plain\nContent-Length: 20\n\nhi");
    lab.ask(&short);
    assert_eq!(labels(&lab.down()), ["MESSAGE"], "not forwarded");
    assert_eq!(labels(&lab.up()), ["400 MESSAGE"]);
    let mut response = answer_to(&lab.forwarded(), 200, "b");
    response.headers.set(HeaderName::ContentLength, "20");
    let before = dropped(&lab.bench, "p1").len();
    lab.answer(&response);
    assert_eq!(count(&lab.up(), "200 MESSAGE"), 0, "a short response is dropped");
    assert_eq!(dropped(&lab.bench, "p1").len(), before + 1);
}

/// A dialog through `s1`: the 200 that `i` got and the Record-Route values, top first.
fn dialog(lab: &mut Serving) -> (String, Vec<String>) {
    lab.ask(&lab.request("INVITE", "dialog", ""));
    lab.answer(&answer_to(&lab.forwarded(), 200, "b"));
    let up = lab.up();
    let answered = up.last().expect("200");
    assert_eq!(answered.label(), "200 INVITE");
    let routes = answered.response().headers.values(HeaderName::RecordRoute);
    (answered.header("To"), routes.map(str::to_owned).collect())
}

fn in_dialog(lab: &Serving, branch: &str, uri: &str, routes: &[String], to: &str) -> String {
    let i = lab.i;
    let routes: String = routes.iter().map(|route| format!("Route: {route}\n")).collect();
    format!(
        "INFO {uri} SIP/2.0\nVia: SIP/2.0/UDP {i};branch=z9hG4bK{branch}\nMax-Forwards: 60\n\
         {routes}From: <sip:caller@other.example>;tag=caller\nTo: {to}\nCall-ID: call-dialog\n\
         CSeq: 8 INFO\nContent-Length: 0\n\n"
    )
}

const TARGET: &str = "sip:127.1.0.102:5060";

fn loose_routing() {
    let mut lab = Serving::new();
    let (to, mut routes) = dialog(&mut lab);
    assert_eq!(routes.len(), 1);
    let own = routes[0].clone();
    let (p, s1) = (lab.p, lab.s1);
    assert!(own.contains(&s1.to_string()) && own.contains(";lr"));
    routes.push(format!("<sip:first@{p};lr>"));
    routes.push("<sip:second.example;lr>".to_owned());
    lab.ask(&in_dialog(&lab, "loose", TARGET, &routes, &to));
    let forwarded = lab.forwarded();
    assert_eq!(forwarded.method.as_str(), "INFO");
    assert_eq!(forwarded.request_uri, TARGET, "the Request-URI is kept");
    let left: Vec<&str> = forwarded.headers.values(HeaderName::Route).collect();
    assert_eq!(left, routes[1..].iter().map(String::as_str).collect::<Vec<_>>());
    // Behind a strict router our Record-Route stands in the Request-URI.
    let own_uri = own.trim_start_matches('<').trim_end_matches('>').to_owned();
    let by_strict = [routes[1].clone(), format!("<{TARGET}>")];
    lab.ask(&in_dialog(&lab, "strict", &own_uri, &by_strict, &to).replace("CSeq: 8", "CSeq: 9"));
    let forwarded = lab.forwarded();
    assert_eq!(forwarded.headers.get(HeaderName::CSeq), Some("9 INFO"));
    assert_eq!(forwarded.request_uri, TARGET, "repaired");
    let left: Vec<&str> = forwarded.headers.values(HeaderName::Route).collect();
    assert_eq!(left, [routes[1].as_str()]);

    // All that a lab with a call in it says of routes is loose.
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    bench.play("alice calls bob\nalice receives 180 for INVITE\nbob answers\nalice receives 200 for INVITE\nwait 1s");
    let mut seen = std::collections::BTreeSet::new();
    for node in ["p1", "i1", "s1", "alice", "bob"] {
        for told in bench.sent(node) {
            for name in ["Route", "Record-Route", "Path", "Service-Route"] {
                for field in told.message.headers().fields_named(name) {
                    for value in field.values() {
                        assert!(value.contains(";lr"), "{node}: {name}: {value}");
                        seen.insert((node, name));
                    }
                }
            }
        }
    }
    for one in [("p1", "Path"), ("s1", "Service-Route"), ("p1", "Record-Route"), ("s1", "Route")] {
        assert!(seen.contains(&one), "{one:?}");
    }
}

fn strict_router() {
    let mut lab = Serving::new();
    let (to, mut routes) = dialog(&mut lab);
    let p = lab.p;
    routes.push(format!("<sip:strict@{p}>"));
    routes.push("<sip:second.example;lr>".to_owned());
    lab.ask(&in_dialog(&lab, "strict", TARGET, &routes, &to));
    let forwarded = lab.forwarded();
    assert_eq!(forwarded.method.as_str(), "INFO");
    assert_eq!(forwarded.request_uri, format!("sip:strict@{p}"));
    let left: Vec<&str> = forwarded.headers.values(HeaderName::Route).collect();
    assert_eq!(left, ["<sip:second.example;lr>", &format!("<{TARGET}>")]);
}
