//! Transport rules: Via, UDP and TCP, connections, what is tried when a path fails.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::basics::{agent, order, proxy, request};
use super::roles::{Agent, Order, Proxy, START};
use super::{Net, addr, flow, header, settings, subject};
use crate::engine::{Engine, Input, Node, Output, Settings};
use crate::ids::Seed;
use crate::role::{Cause, NextHop};
use crate::sip::STREAM_BYTES_MAX;
use crate::time::Duration;
use crate::transport::ipsec::{Algorithms, End, EspKeys, IPSEC_LIFETIME, Mode, Ports, SaSet};
use crate::transport::target::HostRecord;
use crate::transport::{ConnId, FlowEvent, SaId, Transport};

fn far(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn agent_with(settings: Settings) -> Engine<Agent> {
    Engine::new("n1", Agent::default(), settings, Seed::derive(1, "n1"))
}

/// Settings of `n1` for which the path to node 3 has an MTU of 1500.
fn narrow() -> Settings {
    let mut settings = settings(1);
    settings.path_mtu.peers.insert(addr(3).ip(), Some(1500));
    settings
}

/// A header line that makes a request large.
fn padding(bytes: usize) -> String {
    format!("X-Padding: {}\r\n", "x".repeat(bytes))
}

// G-TRANS-020, T-TRN-100
#[test]
fn a_response_goes_where_via_and_source_say() {
    let mut b = agent(3, Agent::answering(&[200]));
    let mut net = Net::new(vec![(3, &mut b)]);
    let plain = request("MESSAGE", "sip:bob@n3.example", "");
    let with = |n: u32, via: &str| {
        plain
            .replace("127.0.0.1:5060", via)
            .replace("z9hG4bKtest", &format!("z9hG4bK{n}"))
            .replace("call-1", &format!("call-{n}"))
    };
    let rport = with(1, "127.0.0.1:5060").replace("z9hG4bK1", "z9hG4bK1;rport");
    net.datagram(far(40_000), 3, &rport);
    net.datagram(far(40_000), 3, &with(2, "127.0.0.1:5070"));
    net.datagram(far(40_000), 3, &with(3, "10.9.9.9:5070"));
    net.datagram(far(40_000), 3, &with(4, "alice.example"));
    let maddr = with(5, "127.0.0.1:5060").replace("z9hG4bK5", "z9hG4bK5;maddr=127.0.0.77");
    net.datagram(far(40_000), 3, &maddr);
    // What stands in quotes is no parameter: neither where it begins nor where it ends.
    let quotes = r#"z9hG4bK6;a="x;rport=";b="y,z;maddr=127.0.0.66""#;
    let quoted = with(6, "127.0.0.1:5070").replace("z9hG4bK6", quotes);
    net.datagram(far(40_000), 3, &quoted);

    let went: Vec<String> = net.got.iter().map(|got| got.flow.remote.to_string()).collect();
    assert_eq!(
        went,
        [
            "127.0.0.1:40000",
            "127.0.0.1:5070",
            "127.0.0.1:5070",
            "127.0.0.1:5060",
            "127.0.0.77:5060",
            "127.0.0.1:5070"
        ]
    );
    assert_eq!(
        header(&net.got[0].text, "Via"),
        ["SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1;rport=40000;received=127.0.0.1"]
    );
    let received = header(&net.got[2].text, "Via")[0];
    assert!(received.ends_with(";received=127.0.0.1"), "{received}");
    let quoted = format!("SIP/2.0/UDP 127.0.0.1:5070;branch={quotes}");
    assert_eq!(header(&net.got[5].text, "Via"), [quoted]);
}

// G-TRANS-010
#[test]
fn a_large_request_goes_over_tcp_when_the_path_is_narrow() {
    for (mtu, size, expected) in
        [(1500, 300, "UDP MESSAGE"), (1500, 1300, "TCP MESSAGE"), (65_536, 9_000, "UDP MESSAGE")]
    {
        let mut settings = settings(1);
        settings.path_mtu.peers.insert(addr(3).ip(), Some(mtu));
        let mut a = agent_with(settings);
        let to = NextHop::Uri("sip:n3.example".into());
        a.command(START, order("MESSAGE", "sip:bob@n3.example", &padding(size), to));
        let mut b = agent(3, Agent::answering(&[200]));
        let mut net = Net::new(vec![(1, &mut a), (3, &mut b)]);
        net.drain(addr(1));
        net.run_ms(10);
        assert_eq!(net.sent("n1"), [expected], "{mtu} {size}");
        let text = String::from_utf8(net.sent_bytes("n1")[0].1.to_vec()).expect("text");
        let transport = expected.split(' ').next().expect("a word");
        assert!(
            header(&text, "Via")[0].starts_with(&format!("SIP/2.0/{transport} 127.0.0.1:5060"))
        );
        assert_eq!(net.sent("n3"), [format!("{transport} 200")]);
        drop(net);
        assert_eq!(a.role().own, [(7, 200, Cause::Received)]);
    }
}

// G-TRANS-010
#[test]
fn a_target_that_refuses_tcp_gets_udp_and_is_not_asked_again_for_a_minute() {
    let mut a = agent_with(narrow());
    let mut b = agent(3, Agent::answering(&[200]));
    let to = || NextHop::Uri("sip:n3.example".into());
    let large = || order("MESSAGE", "sip:bob@n3.example", &padding(1300), to());
    a.command(START, large());
    {
        let mut net = Net::new(vec![(1, &mut a), (3, &mut b)]);
        net.no_tcp.push(addr(3));
        net.drain(addr(1));
        net.run_ms(100);
        assert_eq!(net.sent("n1"), ["UDP MESSAGE"]);
        let notes = net.notes("n1").join("\n");
        assert!(notes.contains("no TCP to 127.0.0.3:5060: UDP after all"), "{notes}");
    }
    let soon = START + Duration::from_secs(30);
    a.command(soon, large());
    let connects = |a: &mut Engine<Agent>| {
        let outputs = std::iter::from_fn(|| a.poll_output());
        outputs.filter(|it| matches!(it, Output::Connect { .. })).count()
    };
    assert_eq!(connects(&mut a), 0);
    a.command(START + Duration::from_secs(62), large());
    assert_eq!(connects(&mut a), 1);
}

// G-TRANS-010, TS 33.203 §7.1
#[test]
fn a_peer_that_refuses_tcp_gets_a_datagram_by_the_associations_it_has() {
    let set = set_with(addr(3).ip());
    let mut a = agent_with(narrow());
    a.command(START, Order::Secure(Box::new(set.clone())));
    let to = NextHop::Flow(set.datagram_flow());
    a.command(START, order("MESSAGE", "sip:bob@n3.example", &padding(1300), to));
    let mut outputs = std::iter::from_fn(|| a.poll_output());
    let conn = outputs.find_map(|it| match it {
        Output::Connect { conn, sa: Some(sa), .. } if sa == set.id => Some(conn),
        _ => None,
    });
    let conn = conn.expect("a connection under the associations");
    a.handle_input(START, Input::Closed { conn, cause: "refused".to_owned() });
    let mut outputs = std::iter::from_fn(|| a.poll_output());
    let sent = outputs.find_map(|it| match it {
        Output::Datagram(packet) => Some(packet.flow),
        _ => None,
    });
    assert_eq!(sent, Some(set.datagram_flow()));
}

/// Associations with a peer.
fn set_with(peer: IpAddr) -> SaSet {
    let end = |addr, client, spi| End {
        addr,
        ports: Ports { client, server: client + 1, spi_client: spi, spi_server: spi + 1 },
    };
    let algorithms = Algorithms::named("hmac-sha-1-96", "null").expect("go together");
    SaSet {
        id: SaId(7),
        local: end(addr(1).ip(), 41_001, 2_001),
        remote: end(peer, 40_001, 1_001),
        algorithms,
        mode: Mode::Transport,
        keys: EspKeys::expand(algorithms, &[1; 16], &[2; 16]),
        lifetime: IPSEC_LIFETIME,
    }
}

// T-TRN-100, T-TRN-110
#[test]
fn connections_are_reused_in_both_directions() {
    let mut a = agent(1, Agent::answering(&[200]));
    let mut b = agent(3, Agent::answering(&[200]));
    let tcp = |n: u8| NextHop::Uri(format!("sip:n{n}.example;transport=tcp"));
    a.command(START, order("MESSAGE", "sip:bob@n3.example", "", tcp(3)));
    a.command(START, order("MESSAGE", "sip:bob@n3.example", "CSeq2: x\r\n", tcp(3)));
    {
        let mut net = Net::new(vec![(1, &mut a), (3, &mut b)]);
        net.drain(addr(1));
        net.run_ms(10);
    }
    b.command(START + Duration::from_secs(1), order("OPTIONS", "sip:a@n1.example", "", tcp(1)));
    let outputs: Vec<_> = std::iter::from_fn(|| b.poll_output()).collect();
    let connects = outputs.iter().any(|it| matches!(it, Output::Connect { .. }));
    assert!(!connects, "the connection of the peer is used");
    assert_eq!((a.counters().connections, b.counters().connections), (1, 1));
}

// T-TRN-110
#[test]
fn segments_may_be_cut_and_merged_anywhere() {
    let text: String = (0..3)
        .map(|n| {
            request("MESSAGE", "sip:bob@n3.example", "")
                .replace("/UDP", "/TCP")
                .replace("z9hG4bKtest", &format!("z9hG4bK{n}"))
                .replace("call-1", &format!("call-{n}"))
        })
        .collect::<Vec<_>>()
        .join("\r\n\r\n");
    for portion in [1, 7, 100, 10_000] {
        let mut b = agent(3, Agent::answering(&[200]));
        let conn = ConnId::accepted(1);
        let opened = flow(Transport::Tcp, addr(3), far(9), Some(conn));
        b.handle_input(START, Input::Opened(opened));
        for bytes in text.as_bytes().chunks(portion) {
            b.handle_input(
                START,
                Input::Bytes { conn, bytes: Bytes::copy_from_slice(bytes), received_at: START },
            );
        }
        assert_eq!(b.role().requests.len(), 3, "portions of {portion}");
        let writes: Vec<String> = std::iter::from_fn(|| b.poll_output())
            .filter_map(|output| match output {
                Output::Write { bytes, .. } => Some(subject(&bytes)),
                _ => None,
            })
            .filter(|what| !what.is_empty())
            .collect();
        assert_eq!(writes, ["200", "200", "200"]);
    }
}

// T-TRN-110
#[test]
fn a_stream_without_content_length_is_answered_and_closed() {
    let mut b = agent(3, Agent::answering(&[200]));
    let mut net = Net::new(vec![(3, &mut b)]);
    let conn = ConnId::accepted(1);
    net.input(addr(3), Input::Opened(flow(Transport::Tcp, addr(3), far(9), Some(conn))));
    let text = request("MESSAGE", "sip:bob@n3.example", "").replace("Content-Length: 0\r\n", "");
    let bytes = Bytes::from(text.replace("/UDP", "/TCP"));
    net.input(addr(3), Input::Bytes { conn, bytes, received_at: START });
    assert_eq!(net.sent("n3"), ["TCP 400"]);
    assert!(net.got[0].text.starts_with("SIP/2.0 400 Missing Content-Length"));
    drop(net);
    assert_eq!(b.sizes().connections, 0);
}

// T-TRN-110
#[test]
fn what_stands_before_a_broken_message_is_answered() {
    let mut b = agent(3, Agent::answering(&[200]));
    let mut net = Net::new(vec![(3, &mut b)]);
    let conn = ConnId::accepted(1);
    net.input(addr(3), Input::Opened(flow(Transport::Tcp, addr(3), far(9), Some(conn))));
    let good = request("MESSAGE", "sip:bob@n3.example", "").replace("/UDP", "/TCP");
    let broken = good.replace("Content-Length: 0\r\n", "");
    let bytes = Bytes::from(good + &broken);
    net.input(addr(3), Input::Bytes { conn, bytes, received_at: START });
    assert_eq!(net.sent("n3"), ["TCP 200", "TCP 400"]);
    drop(net);
    assert_eq!(b.sizes().connections, 0);
}

// T-TRN-110
#[test]
fn a_ping_is_answered_with_a_pong() {
    let mut b = agent(3, Agent::default());
    let conn = ConnId::accepted(1);
    b.handle_input(START, Input::Opened(flow(Transport::Tcp, addr(3), far(9), Some(conn))));
    b.handle_input(
        START,
        Input::Bytes { conn, bytes: Bytes::from_static(b"\r\n\r\n"), received_at: START },
    );
    let pong = std::iter::from_fn(|| b.poll_output())
        .any(|output| matches!(output, Output::Write { bytes, .. } if &bytes[..] == b"\r\n"));
    assert!(pong);
}

// T-TRN-100
#[test]
fn a_response_whose_connection_is_gone_opens_a_new_one() {
    let mut a = agent(1, Agent::default());
    let tcp = NextHop::Uri("sip:n3.example;transport=tcp".into());
    a.command(START, order("INVITE", "sip:bob@n3.example", "", tcp));
    let mut b = agent(3, Agent::answering(&[180, 200]).after(5));
    let mut net = Net::new(vec![(1, &mut a), (3, &mut b)]);
    net.drain(addr(1));
    net.run_ms(1_000);
    net.reset(addr(1), ConnId::opened(1));
    net.input(addr(1), Input::Closed { conn: ConnId::opened(1), cause: "reset".into() });
    net.run_ms(10_000);
    drop(net);
    let codes: Vec<u16> = a.role().own.iter().map(|(_, status, _)| *status).collect();
    assert_eq!(codes, [180, 200]);
}

#[test]
fn a_dead_connection_is_replaced_once() {
    let mut a = agent(1, Agent::default());
    let tcp = || NextHop::Uri("sip:n3.example;transport=tcp".into());
    a.command(START, order("MESSAGE", "sip:bob@n3.example", "", tcp()));
    let mut b = agent(3, Agent::answering(&[200]));
    {
        let mut net = Net::new(vec![(1, &mut a), (3, &mut b)]);
        net.drain(addr(1));
        net.run_ms(10);
    }
    // The peer is restarted: it knows nothing of the connection, and resets it.
    let mut b = agent(3, Agent::answering(&[200]));
    let later = START + Duration::from_secs(5);
    a.command(later, order("MESSAGE", "sip:bob@n3.example", "", tcp()));
    a.handle_input(later, Input::Closed { conn: ConnId::opened(1), cause: "reset".into() });
    let mut net = Net::new(vec![(1, &mut a), (3, &mut b)]);
    net.now = later;
    net.drain(addr(1));
    net.run_ms(10);
    drop(net);
    assert_eq!(a.role().own, [(7, 200, Cause::Received), (7, 200, Cause::Received)]);
}

// T-TRN-140, G-TRANS-030
#[test]
fn an_unreachable_address_is_followed_by_the_next_one() {
    let mut settings = settings(1);
    for n in [8, 3] {
        let record = HostRecord { addr: addr(n).ip(), port: Some(5060), transport: None };
        settings.hosts.add("pool.example", record);
    }
    for method in ["MESSAGE", "INVITE"] {
        let mut a = agent_with(settings.clone());
        a.command(START, order(method, "sip:bob@pool.example", "", NextHop::AsRouted));
        let mut b = agent(3, Agent::answering(&[486]));
        let mut net = Net::new(vec![(1, &mut a), (3, &mut b)]);
        net.unreachable.push(addr(8));
        net.drain(addr(1));
        net.run_ms(100);
        let notes = net.notes("n1").join("\n");
        assert!(notes.contains("no path to 127.0.0.8:5060: next address"), "{notes}");
        drop(net);
        assert_eq!(a.role().own, [(7, 486, Cause::Received)]);
    }
}

// T-TRN-140
#[test]
fn a_503_moves_on_to_the_next_address() {
    let mut settings = settings(1);
    for n in [4, 3] {
        let record = HostRecord { addr: addr(n).ip(), port: Some(5060), transport: None };
        settings.hosts.add("pool.example", record);
    }
    let mut a = agent_with(settings);
    a.command(START, order("INVITE", "sip:bob@pool.example", "", NextHop::AsRouted));
    let mut full = agent(4, Agent::answering(&[503]));
    let mut b = agent(3, Agent::answering(&[486]));
    let mut net = Net::new(vec![(1, &mut a), (3, &mut b), (4, &mut full)]);
    net.drain(addr(1));
    net.run_ms(100);
    assert_eq!(net.sent("n1"), ["UDP INVITE", "UDP ACK", "UDP INVITE", "UDP ACK"]);
    drop(net);
    assert_eq!(a.role().own, [(7, 486, Cause::Received)]);
}

// T-TRN-140, P-OVL-030
#[test]
fn a_proxy_reports_a_dead_next_hop_as_500() {
    let mut p = proxy(2, Proxy::default());
    let mut net = Net::new(vec![(2, &mut p)]);
    net.unreachable.push(addr(9));
    net.datagram(addr(1), 2, &request("MESSAGE", "sip:bob@127.0.0.9", ""));
    net.run_ms(10);
    assert_eq!(subject(net.got[0].text.as_bytes()), "500");
    drop(net);
    assert_eq!(p.role().answered, [(503, Cause::Transport)]);
    assert!(matches!(p.role().flows[..], [FlowEvent::Unreachable { .. }]));
}

#[test]
fn a_name_nobody_knows_is_a_transport_failure() {
    let mut a = agent(1, Agent::default());
    a.command(START, order("MESSAGE", "sip:bob@nowhere.example", "", NextHop::AsRouted));
    assert_eq!(a.role().own, [(7, 503, Cause::Transport)]);
    let why: Vec<_> = a.recent_refusals().map(|it| it.note.text.clone()).collect();
    assert_eq!(why, ["request did not get through: nowhere.example resolves to no address"]);
}

#[test]
fn a_request_follows_the_flow_it_is_given() {
    let mut b = agent(3, Agent::default());
    let mut net = Net::new(vec![(3, &mut b)]);
    let conn = ConnId::accepted(1);
    let ue = flow(Transport::Tcp, addr(3), far(49_152), Some(conn));
    net.input(addr(3), Input::Opened(ue));
    drop(net);
    b.command(START, order("MESSAGE", "sip:alice@ue.example", "", NextHop::Flow(ue)));
    let mut net = Net::new(vec![(3, &mut b)]);
    net.drain(addr(3));
    assert_eq!(net.sent("n3"), ["TCP MESSAGE"]);
    assert!(header(&net.got[0].text, "Via")[0].starts_with("SIP/2.0/TCP 127.0.0.3:5060;"));
}

#[test]
fn the_connection_table_is_bounded_and_the_silent_one_goes() {
    let mut settings = settings(3);
    settings.limits.connections_max = 2;
    let mut b = Engine::new("n3", Agent::default(), settings, Seed::derive(1, "n3"));
    for n in 1..=4_u16 {
        let now = START + Duration::from_secs(n.into());
        let conn = ConnId::accepted(n.into());
        b.handle_input(now, Input::Opened(flow(Transport::Tcp, addr(3), far(n), Some(conn))));
    }
    assert_eq!(b.sizes().connections, 2);
    assert_eq!(b.counters().connections_shed, 2);
    let closed: Vec<ConnId> = std::iter::from_fn(|| b.poll_output())
        .filter_map(|output| match output {
            Output::Close(conn) => Some(conn),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [ConnId::accepted(1), ConnId::accepted(2)]);
}

#[test]
fn a_connection_that_never_says_anything_whole_is_closed() {
    let mut b = agent(3, Agent::default());
    let conn = ConnId::accepted(1);
    b.handle_input(START, Input::Opened(flow(Transport::Tcp, addr(3), far(9), Some(conn))));
    for n in 0..10 {
        let now = START + Duration::from_secs(3 * n);
        b.handle_input(
            now,
            Input::Bytes { conn, bytes: Bytes::from_static(b"MESSAGE"), received_at: now },
        );
    }
    b.handle_input(START + Duration::from_secs(33), Input::Timeout);
    assert_eq!(b.sizes().connections, 0);
}

#[test]
fn a_stream_cannot_fill_the_memory() {
    let mut b = agent(3, Agent::default());
    let conn = ConnId::accepted(1);
    b.handle_input(START, Input::Opened(flow(Transport::Tcp, addr(3), far(9), Some(conn))));
    let bytes = Bytes::from(vec![b'x'; STREAM_BYTES_MAX]);
    b.handle_input(START, Input::Bytes { conn, bytes, received_at: START });
    assert_eq!(b.sizes().connections, 0);
}

#[test]
fn what_waits_for_a_connection_is_bounded() {
    let mut settings = settings(1);
    settings.limits.write_queue_bytes_max = 2_000;
    let mut a = agent_with(settings);
    let tcp = || NextHop::Uri("sip:n3.example;transport=tcp".into());
    for _ in 0..3 {
        a.command(START, order("MESSAGE", "sip:bob@n3.example", &padding(600), tcp()));
    }
    assert_eq!(a.role().own, [(7, 503, Cause::Transport)]);
}
