//! What the engine refuses or answers by itself.

use super::basics::{agent, proxy, request};
use super::roles::{Agent, Proxy};
use super::{Net, addr, header, settings, subject};
use crate::engine::{Engine, Sizes};
use crate::ids::Seed;
use crate::role::NextHop;

/// The answer of a forwarding proxy to a request, or what became of it.
fn answer(text: &str) -> String {
    let mut p = proxy(2, Proxy::default());
    let mut net = Net::new(vec![(2, &mut p)]);
    net.datagram(addr(1), 2, text);
    let first = net.got.first().map_or("nothing".to_owned(), |got| {
        got.text.lines().next().unwrap_or_default().replace("SIP/2.0 ", "")
    });
    net.run_ms(300_000);
    drop(net);
    assert_eq!(p.sizes(), Sizes::default(), "{text}");
    first
}

// T-PRX-010, T-TRN-160, T-TRN-170, T-TRN-180
#[test]
fn a_proxy_refuses_with_the_right_code() {
    let uri = "sip:bob@n3.example";
    let message = request("MESSAGE", uri, "");
    let extra = |line: &str| request("MESSAGE", uri, &format!("{line}\r\n"));
    for (text, expected) in [
        (extra("Max-Forwards: 0"), "483 Too Many Hops"),
        (extra("Max-Forwards: 256"), "400 Malformed Max-Forwards"),
        (extra("Proxy-Require: path, foo"), "420 Bad Extension"),
        (request("MESSAGE", "http://x.example", ""), "416 Unsupported URI Scheme"),
        (message.replace("Call-ID: call-1\r\n", ""), "400 Missing Call-ID"),
        (message.replace(";tag=a1", ""), "400 Missing From Tag"),
        (message.replace("CSeq: 1 MESSAGE", "CSeq: 1 INVITE"), "400 CSeq Method Mismatch"),
        (message.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), "505 Version Not Supported"),
        (
            request("MESSAGE", &format!("sip:{}@x", "b".repeat(5_000)), ""),
            "414 Request-URI Too Long",
        ),
        (extra("Max-Forwards: 70"), "MESSAGE sip:bob@n3.example SIP/2.0"),
        (message.clone(), "MESSAGE sip:bob@n3.example SIP/2.0"),
        (request("ACK", uri, "Max-Forwards: 0\r\n"), "nothing"),
        (request("ACK", uri, "").replace("Call-ID: call-1\r\n", ""), "nothing"),
        (message.replace("MESSAGE sip", "SIP/2.0 200"), "nothing"),
        ("nonsense".to_owned(), "nothing"),
    ] {
        assert_eq!(answer(&text), expected, "{text}");
    }
}

#[test]
fn a_420_names_what_is_not_understood() {
    let mut p = proxy(2, Proxy::default());
    let mut net = Net::new(vec![(2, &mut p)]);
    let text = request("INVITE", "sip:bob@n3.example", "Proxy-Require: foo, path\r\n");
    net.datagram(addr(1), 2, &text);
    assert_eq!(header(&net.got[0].text, "Unsupported"), ["foo"]);
    assert!(header(&net.got[0].text, "To")[0].contains(";tag="));
}

// T-TRN-180
#[test]
fn a_body_over_the_limit_gets_413() {
    let mut settings = settings(2);
    settings.limits.body_bytes_max = 10;
    let mut p = Engine::new("n2", Proxy::default(), settings, Seed::derive(1, "n2"));
    let mut net = Net::new(vec![(2, &mut p)]);
    let text = request("MESSAGE", "sip:bob@n3.example", "");
    let text = text.replace("Content-Length: 0\r\n\r\n", "Content-Length: 11\r\n\r\nhello world");
    net.datagram(addr(1), 2, &text);
    assert_eq!(subject(net.got[0].text.as_bytes()), "413");
}

// T-UA-080, RC-483
#[test]
fn options_to_a_proxy_is_answered_by_it() {
    for (uri, extra, own) in [
        ("sip:n2.example", "", true),
        ("sip:127.0.0.2:5060", "", true),
        ("sip:bob@n3.example", "Max-Forwards: 0\r\n", true),
        ("sip:bob@n3.example", "", false),
        ("sip:n2.example", "Route: <sip:n3.example;lr>\r\n", false),
    ] {
        let mut p = proxy(2, Proxy::default());
        let mut net = Net::new(vec![(2, &mut p)]);
        net.datagram(addr(1), 2, &request("OPTIONS", uri, extra));
        let first = subject(net.got[0].text.as_bytes());
        assert_eq!(first, if own { "200" } else { "OPTIONS" }, "{uri} {extra}");
        assert_eq!(header(&net.got[0].text, "Allow").is_empty(), !own);
    }
}

// T-PRX-040
#[test]
fn a_request_that_comes_back_unchanged_loops() {
    let via = NextHop::Uri("sip:n3.example".into());
    let mut p = proxy(2, Proxy { to: vec![via], ..Proxy::default() });
    let back = NextHop::Uri("sip:n2.example".into());
    let mut q = proxy(3, Proxy { to: vec![back], ..Proxy::default() });
    let mut net = Net::new(vec![(2, &mut p), (3, &mut q)]);
    net.datagram(addr(1), 2, &request("INVITE", "sip:bob@n9.example", ""));
    net.run_ms(100);
    assert_eq!(subject(net.got[1].text.as_bytes()), "482");
    let twice = net.sent("n2").iter().filter(|what| what.contains("INVITE")).count();
    assert_eq!(twice, 1);
}

// T-PRX-040
#[test]
fn a_request_that_passes_by_again_spirals() {
    let [two, three, four] = [2, 3, 4].map(|n| format!("<sip:n{n}.example;lr>"));
    let route = format!("Route: {two}, {three}, {two}, {four}\r\n");
    let mut p = proxy(2, Proxy::default());
    let mut q = proxy(3, Proxy::default());
    let mut b = agent(4, Agent::answering(&[200]));
    let mut net = Net::new(vec![(2, &mut p), (3, &mut q), (4, &mut b)]);
    net.datagram(addr(1), 2, &request("MESSAGE", "sip:bob@n9.example", &route));
    net.run_ms(100);
    assert_eq!(subject(net.got[0].text.as_bytes()), "200");
    drop(net);
    assert_eq!(p.role().own_routes.len(), 2);
}

#[test]
fn only_the_topmost_own_route_is_taken() {
    let route = "Route: <sip:tok@n2.example;lr>, <sip:n3.example;lr>\r\n";
    let mut p = proxy(2, Proxy::default());
    let mut b = agent(3, Agent::answering(&[200]));
    let mut net = Net::new(vec![(2, &mut p), (3, &mut b)]);
    net.datagram(addr(1), 2, &request("MESSAGE", "sip:bob@n9.example", route));
    net.run_ms(100);
    drop(net);
    assert_eq!(p.role().own_routes, [Some("sip:tok@n2.example;lr".to_owned())]);
    let seen = &b.role().requests[0];
    assert_eq!(seen.request_uri, "sip:bob@n9.example");
    let routes: Vec<&str> = seen.headers.values(crate::sip::HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:n3.example;lr>"]);
}

// T-PRX-090
#[test]
fn a_strict_router_behind_us_finds_itself_in_the_request_uri() {
    let route = "Route: <sip:n3.example>\r\n";
    let mut p = proxy(2, Proxy::default());
    let mut b = agent(3, Agent::answering(&[200]));
    let mut net = Net::new(vec![(2, &mut p), (3, &mut b)]);
    net.datagram(addr(1), 2, &request("MESSAGE", "sip:bob@n9.example", route));
    net.run_ms(100);
    drop(net);
    let seen = &b.role().requests[0];
    assert_eq!(seen.request_uri, "sip:n3.example");
    let routes: Vec<&str> = seen.headers.values(crate::sip::HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:bob@n9.example>"]);
}

// P-OVL-010
#[test]
fn a_full_table_is_answered_with_503_and_retry_after() {
    let mut settings = settings(2);
    settings.limits.contexts_max = 1;
    settings.limits.server_transactions_max = 2;
    let role = Proxy { silent: true, ..Proxy::default() };
    let mut p = Engine::new("n2", role, settings, Seed::derive(1, "n2"));
    let mut net = Net::new(vec![(2, &mut p)]);
    for n in 0..4 {
        let text = request("INVITE", "sip:bob@n3.example", "");
        let text = text.replace("z9hG4bKtest", &format!("z9hG4bK{n}"));
        net.datagram(addr(1), 2, &text);
        // The ACK of the last ones, which have no transaction, must not be taken for a 2xx's.
        let to = net.got.last().map(|got| header(&got.text, "To")[0].to_owned()).expect("to");
        let ack = text.replace("INVITE", "ACK").replace("<sip:bob@n3.example>", &to);
        net.datagram(addr(1), 2, &ack);
    }
    let codes: Vec<String> = net.got.iter().map(|got| subject(got.text.as_bytes())).collect();
    assert_eq!(codes, ["100", "503", "503", "503"]);
    assert_eq!(header(&net.got[3].text, "Retry-After"), ["5"]);
    drop(net);
    assert_eq!(p.role().own_routes.len(), 1, "only the first INVITE and no ACK");
    assert_eq!(p.counters().overflowed, 3);
}

#[test]
fn a_stray_response_is_dropped() {
    let mut p = proxy(2, Proxy::default());
    let mut net = Net::new(vec![(2, &mut p)]);
    let ok = request("MESSAGE", "x", "").replace("MESSAGE x SIP/2.0", "SIP/2.0 200 OK");
    net.datagram(addr(1), 2, &ok);
    net.datagram(addr(1), 2, &ok.replace("127.0.0.1:5060", "127.0.0.2:5060"));
    assert_eq!(
        net.dropped("n2"),
        ["response with a top Via not ours", "response without a transaction"]
    );
    assert!(net.got.is_empty());
}

#[test]
fn without_a_reader_no_trace_is_built_but_refusals_are_kept() {
    let mut settings = settings(2);
    settings.tracing = false;
    let mut p = Engine::new("n2", Proxy::default(), settings, Seed::derive(1, "n2"));
    let mut net = Net::new(vec![(2, &mut p)]);
    net.datagram(addr(1), 2, &request("MESSAGE", "sip:bob@n3.example", "Max-Forwards: 0\r\n"));
    assert!(net.trace.is_empty());
    drop(net);
    let why: Vec<String> =
        p.recent_refusals().map(|it| format!("{}: {}", it.note.clause, it.note.text)).collect();
    assert_eq!(why, ["RFC 3261 §16.3: 483: Too Many Hops"]);
}

#[test]
fn a_request_nobody_looks_after_ends() {
    let mut p = proxy(2, Proxy { silent: true, ..Proxy::default() });
    let mut net = Net::new(vec![(2, &mut p)]);
    net.datagram(addr(1), 2, &request("MESSAGE", "sip:bob@n3.example", ""));
    net.datagram(addr(1), 2, &request("INVITE", "sip:bob@n3.example", ""));
    net.run_ms(1_000_000);
    drop(net);
    assert_eq!(p.sizes(), Sizes::default());
    assert_eq!(p.role().ended.len(), 2);
}
