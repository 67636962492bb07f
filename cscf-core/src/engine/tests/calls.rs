//! INVITE: CANCEL, ACK, forking, time-outs, budgets.

use super::basics::{agent, order, proxy, request};
use super::roles::{Agent, Order, Proxy, START};
use super::{Net, addr, header, subject};
use crate::engine::{Input, Sizes};
use crate::role::{Cause, NextHop, Within};
use crate::time::Duration;
use crate::transport::ConnId;

fn to(n: u8) -> NextHop {
    NextHop::Uri(format!("sip:n{n}.example"))
}

fn ringing() -> Agent {
    Agent::answering(&[180, 200]).after(500)
}

// T-TRN-130a, T-PRX-060
#[test]
fn a_cancel_reaches_the_ringing_agent_and_487_comes_back() {
    let mut a = agent(1, Agent::default());
    a.command(START, order("INVITE", "sip:bob@n3.example", "", to(2)));
    let mut p = proxy(2, Proxy::default());
    let mut b = agent(3, ringing());
    let mut net = Net::new(vec![(1, &mut a), (2, &mut p), (3, &mut b)]);
    net.drain(addr(1));
    net.run_ms(100);
    let cancel = invite_of(&net).replace("INVITE", "CANCEL");
    net.datagram(addr(1), 2, &cancel);
    net.run_ms(100);

    assert_eq!(
        net.sent("n2"),
        ["UDP 100", "UDP INVITE", "UDP 180", "UDP 200", "UDP CANCEL", "UDP ACK", "UDP 487",]
    );
    net.run_ms(200_000);
    assert_eq!(a.role().own, [(7, 180, Cause::Received), (7, 487, Cause::Received)]);
    assert_eq!(b.role().cancels, 1);
    for sizes in [a.sizes(), p.sizes(), b.sizes()] {
        assert_eq!(sizes.contexts + sizes.attempts + sizes.server_transactions, 0);
    }
}

/// The INVITE that left n1, without its body.
fn invite_of(net: &Net<'_>) -> String {
    String::from_utf8(net.sent_bytes("n1")[0].1.to_vec()).expect("text")
}

// T-TRN-130
#[test]
fn a_cancel_before_any_1xx_is_held() {
    let mut a = agent(1, Agent::default());
    a.command(START, order("INVITE", "sip:bob@127.0.0.9", "", NextHop::AsRouted));
    a.command(START, Order::Cancel { tag: 7 });
    let mut net = Net::new(vec![(1, &mut a)]);
    net.drain(addr(1));
    net.run_ms(100);
    assert_eq!(net.sent("n1"), ["UDP INVITE"]);

    let invite = net.got[0].text.clone();
    let trying = answer(&invite, 100);
    net.datagram(addr(9), 1, &trying);
    net.run_ms(100);

    assert_eq!(net.sent("n1"), ["UDP INVITE", "UDP CANCEL"]);
    let cancel = &net.got[1].text;
    assert_eq!(header(cancel, "Via"), header(&invite, "Via"));
}

/// A response by hand.
fn answer(request: &str, status: u16) -> String {
    let mut lines: Vec<String> = vec![format!("SIP/2.0 {status} Something")];
    for name in ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"] {
        for value in header(request, name) {
            let tag = if name == "To" && status > 100 { ";tag=b1" } else { "" };
            lines.push(format!("{name}: {value}{tag}"));
        }
    }
    lines.push("Content-Length: 0\r\n\r\n".to_owned());
    lines.join("\r\n")
}

// T-TRN-130b, T-TRN-130c
#[test]
fn a_cancel_of_an_answered_or_unknown_invite_has_no_effect() {
    let mut b = agent(3, Agent::answering(&[486]));
    let mut net = Net::new(vec![(3, &mut b)]);
    net.datagram(addr(1), 3, &request("CANCEL", "sip:bob@n3.example", ""));
    net.datagram(addr(1), 3, &request("INVITE", "sip:bob@n3.example", ""));
    let cancel = request("CANCEL", "sip:bob@n3.example", "");
    net.datagram(addr(1), 3, &cancel.replace("z9hG4bKtest", "z9hG4bKother"));
    let late = cancel.replace("Call-ID: call-1", "Call-ID: call-2");
    net.datagram(addr(1), 3, &late.replace("z9hG4bKtest", "z9hG4bKtest2"));
    assert_eq!(net.sent("n3"), ["UDP 481", "UDP 486", "UDP 481", "UDP 481"]);
    assert_eq!(b.role().cancels, 0);
}

#[test]
fn a_cancel_of_a_finished_invite_gets_200() {
    let mut b = agent(3, Agent::answering(&[486]));
    let mut net = Net::new(vec![(3, &mut b)]);
    net.datagram(addr(1), 3, &request("INVITE", "sip:bob@n3.example", ""));
    net.datagram(addr(1), 3, &request("CANCEL", "sip:bob@n3.example", ""));
    assert_eq!(net.sent("n3"), ["UDP 486", "UDP 200"]);
    assert_eq!(b.role().cancels, 0);
}

#[test]
fn a_cancel_finds_a_role_that_is_still_thinking() {
    let mut p = proxy(2, Proxy { silent: true, ..Proxy::default() });
    let mut net = Net::new(vec![(2, &mut p)]);
    net.datagram(addr(1), 2, &request("INVITE", "sip:bob@n3.example", ""));
    net.datagram(addr(1), 2, &request("CANCEL", "sip:bob@n3.example", ""));
    net.run_ms(1);
    assert_eq!(net.sent("n2"), ["UDP 100", "UDP 200", "UDP 487"]);
    let ack = request("ACK", "sip:bob@n3.example", "");
    net.datagram(addr(1), 2, &ack);
    net.run_ms(100_000);
    assert_eq!(p.sizes(), Sizes::default());
    assert_eq!(p.role().ended.len(), 1);
}

// T-TRN-060, T-TRN-020
#[test]
fn the_ack_of_a_failure_stays_on_its_hop() {
    let mut p = proxy(2, Proxy::default());
    let mut b = agent(3, Agent::answering(&[486]));
    let mut net = Net::new(vec![(2, &mut p), (3, &mut b)]);
    net.datagram(addr(1), 2, &request("INVITE", "sip:bob@n3.example", ""));
    net.run_ms(1_000);
    assert_eq!(net.sent("n2"), ["UDP 100", "UDP INVITE", "UDP ACK", "UDP 486", "UDP 486"]);
    let ack = request("ACK", "sip:bob@n3.example", "");
    net.datagram(addr(1), 2, &ack);
    net.run_ms(60_000);
    assert_eq!(net.sent("n2").len(), 5, "nothing is forwarded, nothing repeated");
    assert_eq!(b.role().acks, 0);
}

#[test]
fn a_cancel_finds_its_way_when_the_connection_is_gone() {
    let tcp = NextHop::Uri("sip:n3.example;transport=tcp".into());
    let mut p = proxy(2, Proxy { to: vec![tcp], ..Proxy::default() });
    let mut b = agent(3, ringing());
    let mut net = Net::new(vec![(2, &mut p), (3, &mut b)]);
    let invite = request("INVITE", "sip:bob@n3.example", "Timestamp: 54\r\n");
    net.datagram(addr(1), 2, &invite);
    net.run_ms(100);
    assert_eq!(header(&net.got[0].text, "Timestamp"), ["54"]);
    let conn = ConnId::opened(1);
    net.reset(addr(2), conn);
    net.input(addr(2), Input::Closed { conn, cause: "reset".into() });
    net.run_ms(100);
    net.datagram(addr(1), 2, &invite.replace("INVITE", "CANCEL"));
    net.run_ms(100);
    drop(net);
    assert_eq!(b.role().cancels, 1);
    assert_eq!(p.role().answered.last(), Some(&(487, Cause::Received)));
}

// T-PRX-030, T-PRX-060
#[test]
fn the_first_2xx_of_a_fork_cancels_the_others() {
    let mut p = proxy(2, Proxy { to: vec![to(3), to(4), to(5)], ..Proxy::default() });
    let mut b = agent(3, ringing());
    let mut c = agent(4, Agent::answering(&[180, 200]).after(2));
    let mut d = agent(5, Agent::answering(&[404]));
    let mut net = Net::new(vec![(2, &mut p), (3, &mut b), (4, &mut c), (5, &mut d)]);
    net.datagram(addr(1), 2, &request("INVITE", "sip:bob@n9.example", ""));
    net.run_ms(3_000);

    let up: Vec<String> = net.got.iter().map(|got| subject(got.text.as_bytes())).collect();
    assert_eq!(up, ["100", "180", "180", "200"]);
    let cancels = net.sent("n2").iter().filter(|what| what.contains("CANCEL")).count();
    assert_eq!(cancels, 1);
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    let (_, cancel) = net
        .sent_bytes("n2")
        .into_iter()
        .rfind(|(_, it)| it.starts_with(b"CANCEL"))
        .expect("a CANCEL");
    assert_eq!(header(&String::from_utf8_lossy(&cancel), "Reason"), [reason]);
    net.run_ms(200_000);
    assert_eq!(b.role().cancels, 1);
    assert_eq!(p.sizes(), Sizes::default());
}

// T-PRX-070
#[test]
fn timer_c_cancels_what_rings_for_ever() {
    let mut p = proxy(2, Proxy::default());
    let mut b = agent(3, ringing());
    let mut net = Net::new(vec![(2, &mut p), (3, &mut b)]);
    net.datagram(addr(1), 2, &request("INVITE", "sip:bob@n3.example", ""));
    net.run_ms(180_000);
    assert!(!net.sent("n2").contains(&"UDP CANCEL".to_owned()));
    net.run_ms(2_000);
    assert!(net.sent("n2").contains(&"UDP CANCEL".to_owned()));
    assert_eq!(subject(net.got[2].text.as_bytes()), "487");
}

#[test]
fn a_budget_ends_a_silent_branch_and_cancels_a_ringing_one() {
    for (second, subjects) in [
        (None, vec!["UDP 100", "UDP INVITE", "UDP INVITE", "UDP INVITE", "UDP 408"]),
        (Some(ringing()), vec!["UDP 100", "UDP INVITE", "UDP 180", "UDP CANCEL", "UDP 408"]),
    ] {
        let within = Some(Within::Final(Duration::from_secs(2)));
        let mut p = proxy(2, Proxy { within, ..Proxy::default() });
        let mut b = second.map(|role| agent(3, role));
        let mut nodes: Vec<(u8, &mut dyn crate::engine::Node)> = vec![(2, &mut p)];
        if let Some(b) = &mut b {
            nodes.push((3, b));
        }
        let mut net = Net::new(nodes);
        net.datagram(addr(1), 2, &request("INVITE", "sip:bob@n3.example", ""));
        net.run_ms(2_000);
        assert_eq!(net.sent("n2")[..5], subjects);
        drop(net);
        assert_eq!(p.role().answered.last(), Some(&(408, Cause::Budget)));
    }
}

#[test]
fn a_budget_for_the_first_response_ends_only_what_is_silent() {
    for (second, last) in [(None, 408), (Some(ringing()), 180)] {
        let within = Some(Within::First(Duration::from_secs(2)));
        let mut p = proxy(2, Proxy { within, ..Proxy::default() });
        let mut b = second.map(|role| agent(3, role));
        let mut nodes: Vec<(u8, &mut dyn crate::engine::Node)> = vec![(2, &mut p)];
        if let Some(b) = &mut b {
            nodes.push((3, b));
        }
        let mut net = Net::new(nodes);
        net.datagram(addr(1), 2, &request("INVITE", "sip:bob@n3.example", ""));
        net.run_ms(10_000);
        assert!(!net.sent("n2").contains(&"UDP CANCEL".to_owned()));
        drop(net);
        assert_eq!(p.role().answered.last().map(|(status, _)| *status), Some(last));
    }
}

#[test]
fn a_budget_ends_another_request_without_a_408_on_the_wire() {
    let within = Some(Within::Final(Duration::from_secs(6)));
    let mut p = proxy(2, Proxy { within, ..Proxy::default() });
    let mut net = Net::new(vec![(2, &mut p)]);
    net.datagram(addr(1), 2, &request("MESSAGE", "sip:bob@n3.example", ""));
    net.run_ms(6_001);
    let sent = net.sent("n2").len();
    net.run_ms(100_000);
    assert_eq!(net.sent("n2").len(), sent, "{:?}", net.sent("n2"));
    assert_eq!(p.role().answered, [(408, Cause::Budget)]);
    assert_eq!(p.sizes(), Sizes::default());
}

// T-TRN-120
#[test]
fn a_merged_request_gets_482_at_an_agent_only() {
    let mut b = agent(3, ringing());
    let mut net = Net::new(vec![(3, &mut b)]);
    let first = request("INVITE", "sip:bob@n3.example", "");
    net.datagram(addr(1), 3, &first);
    net.datagram(addr(1), 3, &first.replace("z9hG4bKtest", "z9hG4bKother"));
    assert_eq!(net.sent("n3"), ["UDP 180", "UDP 482"]);

    let mut p = proxy(2, Proxy::default());
    let mut net = Net::new(vec![(2, &mut p)]);
    net.datagram(addr(1), 2, &first);
    net.datagram(addr(1), 2, &first.replace("z9hG4bKtest", "z9hG4bKother"));
    assert!(!net.sent("n2").contains(&"UDP 482".to_owned()));
}

// T-TRN-010, T-TRN-060
#[test]
fn a_repeated_2xx_reaches_the_caller_each_time() {
    let mut a = agent(1, Agent::default());
    a.command(START, order("INVITE", "sip:bob@127.0.0.9", "", NextHop::AsRouted));
    let mut net = Net::new(vec![(1, &mut a)]);
    net.drain(addr(1));
    let ok = answer(&net.got[0].text, 200);
    for _ in 0..3 {
        net.datagram(addr(9), 1, &ok);
    }
    assert_eq!(net.sent("n1"), ["UDP INVITE", "UDP ACK", "UDP ACK", "UDP ACK"]);
    let acks: Vec<&str> = net.got[1..].iter().map(|got| header(&got.text, "Via")[0]).collect();
    assert_ne!(acks[0], header(&net.got[0].text, "Via")[0], "a branch of its own");
    net.run_ms(40_000);
    assert_eq!(a.role().own.len(), 3);
    assert_eq!(a.sizes(), Sizes::default());
}
