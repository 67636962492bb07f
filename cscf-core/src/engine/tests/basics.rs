//! Forwarding, answering, retransmitting: one hop over UDP.

use super::roles::{Agent, Order, Proxy, START};
use super::{Net, addr, header, settings, subject};
use crate::engine::contexts::Context;
use crate::engine::outgoing::Attempt;
use crate::engine::{Engine, Sizes};
use crate::ids::Seed;
use crate::role::{Cause, NextHop};

pub(super) fn proxy(n: u8, role: Proxy) -> Engine<Proxy> {
    Engine::new(&format!("n{n}"), role, settings(n), Seed::derive(1, &format!("n{n}")))
}

pub(super) fn agent(n: u8, role: Agent) -> Engine<Agent> {
    Engine::new(&format!("n{n}"), role, settings(n), Seed::derive(1, &format!("n{n}")))
}

pub(super) fn request(method: &str, uri: &str, extra: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKtest\r\n\
         From: <sip:alice@n1.example>;tag=a1\r\nTo: <sip:bob@n3.example>\r\n\
         Call-ID: call-1\r\nCSeq: 1 {method}\r\nContact: <sip:alice@127.0.0.1>\r\n\
         {extra}Content-Length: 0\r\n\r\n"
    )
}

pub(super) fn without_via(text: &str) -> String {
    text.replace("Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKtest\r\n", "")
}

pub(super) fn order(method: &str, uri: &str, extra: &str, to: NextHop) -> Order {
    let text = without_via(&request(method, uri, extra));
    Order::Send { tag: 7, text, to, within: None }
}

// T-PRX-020, G-HDR-010
#[test]
fn a_proxy_forwards_unknown_headers_byte_for_byte() {
    let mut p = proxy(2, Proxy::default());
    let mut b = agent(3, Agent::answering(&[200]));
    let mut net = Net::new(vec![(2, &mut p), (3, &mut b)]);
    let odd = "X-Odd :  one,\r\n\t two\r\nDate: yesterday\r\nMax-Forwards: 70\r\n";

    net.datagram(addr(1), 2, &request("FOO", "sip:bob@n3.example", odd));
    net.run_ms(10);

    let text = String::from_utf8(net.sent_bytes("n2")[0].1.to_vec()).expect("text");
    assert!(text.contains("X-Odd :  one,\r\n\t two\r\nDate: yesterday\r\n"), "{text}");
    assert_eq!(header(&text, "Max-Forwards"), ["69"]);
    let vias = header(&text, "Via");
    assert!(vias[0].starts_with("SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK0-"), "{vias:?}");
    assert_eq!(vias[1], "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKtest");
    assert_eq!(net.got.len(), 1);
    assert_eq!(subject(net.got[0].text.as_bytes()), "200");
    assert_eq!(header(&net.got[0].text, "Via"), ["SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKtest"]);
    net.run_ms(200_000);
    assert_eq!(p.sizes(), Sizes::default());
    assert_eq!(b.sizes(), Sizes::default());
    assert_eq!(p.role().ended.len(), 1);
}

// T-PRX-010, T-TRN-030
#[test]
fn a_user_agent_hears_408_when_nobody_answers_and_it_stays_inside() {
    let mut a = agent(1, Agent::default());
    a.command(
        START,
        order("MESSAGE", "sip:bob@n3.example", "", NextHop::Uri("sip:n2.example".into())),
    );
    let mut p = proxy(2, Proxy::default());
    let mut net = Net::new(vec![(1, &mut a), (2, &mut p)]);
    net.drain(addr(1));
    net.run_ms(60_000);

    let copies: Vec<_> = net.got.iter().map(|got| &got.text).collect();
    assert_eq!(copies.len(), 11, "retransmissions of the proxy");
    assert!(copies.iter().all(|copy| *copy == copies[0]));
    assert!(!net.sent("n2").iter().any(|what| what.contains("408")), "{:?}", net.sent("n2"));
    assert_eq!(a.role().own, [(7, 408, Cause::Timeout)]);
    assert_eq!(p.role().answered, [(408, Cause::Timeout)]);
}

#[test]
fn a_call_is_set_up_and_torn_down_through_two_proxies() {
    let route = |n: u8| Some(format!("<sip:tok@n{n}.example;lr>"));
    let mut a = agent(1, Agent::default());
    let hop = NextHop::Uri("sip:n2.example".into());
    a.command(START, order("INVITE", "sip:bob@n9.example", "", hop));
    let to = vec![NextHop::Uri("sip:n3.example".into())];
    let mut p = proxy(2, Proxy { record_route: route(2), to, ..Proxy::default() });
    let to = vec![NextHop::Uri("sip:n4.example".into())];
    let mut q = proxy(3, Proxy { record_route: route(3), to, ..Proxy::default() });
    let mut b = agent(4, Agent::answering(&[180, 200]));
    let mut net = Net::new(vec![(1, &mut a), (2, &mut p), (3, &mut q), (4, &mut b)]);

    net.drain(addr(1));
    net.run_ms(100);

    assert_eq!(net.sent("n2"), ["UDP 100", "UDP INVITE", "UDP 180", "UDP 200", "UDP ACK"]);
    assert_eq!(net.sent("n4"), ["UDP 180", "UDP 200"]);
    net.run_ms(400_000);
    assert_eq!(b.role().acks, 1);
    assert_eq!(a.role().own, [(7, 180, Cause::Received), (7, 200, Cause::Received)]);
    assert_eq!(p.role().own_routes, [None, Some("sip:tok@n2.example;lr".to_owned())]);
    for sizes in [a.sizes(), p.sizes(), q.sizes(), b.sizes()] {
        assert_eq!(sizes, Sizes::default());
    }
}

#[test]
fn what_is_kept_for_each_request_on_its_way_is_small() {
    // An INVITE keeps both for half a minute after its answer.
    let (context, attempt) = (size_of::<Context>(), size_of::<Attempt>());
    assert!(context <= 280, "a context takes {context} bytes");
    assert!(attempt <= 400, "an attempt takes {attempt} bytes");
}
