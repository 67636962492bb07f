//! Names of next hops that a DNS server has to be asked for.

use super::basics::{order, request};
use super::roles::{Agent, Order, Proxy, START};
use super::{Net, addr, settings};
use crate::cx::AskId;
use crate::engine::{Engine, Input, Settings, Sizes};
use crate::ids::Seed;
use crate::role::{Answer, Cause, NextHop, Question};
use crate::time::Duration;
use crate::transport::dns::{DnsAnswer, DnsKind, DnsQuestion, DnsRecord, Zone};

/// Settings of a node that has DNS servers.
fn with_servers(n: u8) -> Settings {
    Settings { resolver: true, ..settings(n) }
}

fn agent() -> Engine<Agent> {
    Engine::new("n1", Agent::default(), with_servers(1), Seed::derive(1, "n1"))
}

/// The one question that is open.
fn asked(net: &mut Net<'_>) -> (AskId, DnsQuestion) {
    let [(ask, Question::Dns(question))] = &net.asked[..] else { panic!("{:?}", net.asked) };
    let open = (*ask, question.clone());
    net.asked.clear();
    open
}

fn answer(net: &mut Net<'_>, n: u8, (ask, question): (AskId, DnsQuestion), got: &[DnsRecord]) {
    let answer = Answer::Dns(question, DnsAnswer::Records(got.to_vec()));
    net.input(addr(n), Input::Answer(ask, answer));
}

/// Answers every question with nothing but one address; gives the questions.
fn answer_all(net: &mut Net<'_>, n: u8, address: [u8; 4]) -> Vec<String> {
    let mut questions = Vec::new();
    while !net.asked.is_empty() {
        let (ask, question) = asked(net);
        let a = [DnsRecord::A(address.into())];
        questions.push(question.to_string());
        let got = if question.kind == DnsKind::A { &a[..] } else { &[] };
        answer(net, n, (ask, question), got);
    }
    questions
}

// I-SES-080
#[test]
fn a_request_waits_until_its_next_hop_is_found() {
    let mut a = agent();
    a.command(START, order("MESSAGE", "sip:bob@far.example", "", NextHop::AsRouted));
    let mut b = Engine::new("n3", Agent::answering(&[200]), settings(3), Seed::derive(1, "n3"));
    let mut net = Net::new(vec![(1, &mut a), (3, &mut b)]);
    net.drain(addr(1));
    net.run_ms(1000);
    assert!(net.sent("n1").is_empty(), "it waits");
    let questions = answer_all(&mut net, 1, [127, 0, 0, 3]);
    assert_eq!(
        questions,
        [
            "NAPTR far.example",
            "SRV _sip._udp.far.example",
            "SRV _sip._tcp.far.example",
            "A far.example",
            "AAAA far.example"
        ]
    );
    net.run_ms(10);
    assert_eq!(net.sent("n1"), ["UDP MESSAGE"]);
    let note = net.notes("n1").into_iter().find(|note| note.starts_with("RFC 3263 §4: "));
    assert!(note.expect("a note").contains("far.example is UDP 127.0.0.3:5060"));
    net.run_ms(100_000);
    assert_eq!(a.role().own, [(7, 200, Cause::Received)]);
    assert_eq!(a.sizes(), Sizes::default());
}

#[test]
fn a_name_of_the_zone_is_nobody_elses_matter() {
    let mut zone = Zone::new();
    zone.add("near.example", DnsRecord::A([127, 0, 0, 3].into()));
    let settings = Settings { zone: Some(zone.into()), ..with_servers(1) };
    let mut a = Engine::new("n1", Agent::default(), settings, Seed::derive(1, "n1"));
    let hop = NextHop::Uri("sip:near.example:5060".into());
    a.command(START, order("MESSAGE", "sip:bob@near.example", "", hop));
    let mut net = Net::new(vec![(1, &mut a)]);
    net.drain(addr(1));
    assert!(net.asked.is_empty(), "{:?}", net.asked);
    assert_eq!(net.sent("n1"), ["UDP MESSAGE"]);
}

#[test]
fn servers_that_do_not_answer_are_a_transport_failure() {
    // Neither an answer in time, nor an answer of use.
    let unreachable: fn(DnsQuestion) -> Answer = |it| Answer::Dns(it, DnsAnswer::Unreachable);
    for says in [None, Some(unreachable), Some(|_| Answer::TimedOut)] {
        let mut a = agent();
        let hop = NextHop::Uri("sip:far.example:5060".into());
        a.command(START, order("MESSAGE", "sip:bob@far.example", "", hop));
        let mut net = Net::new(vec![(1, &mut a)]);
        net.drain(addr(1));
        match says {
            None => net.run_for(Duration::from_secs(30)),
            Some(says) => {
                while !net.asked.is_empty() {
                    let (ask, question) = asked(&mut net);
                    net.input(addr(1), Input::Answer(ask, says(question)));
                }
            }
        }
        assert_eq!(a.role().own, [(7, 503, Cause::Transport)]);
        assert_eq!(a.sizes(), Sizes::default());
        let why = a.recent_refusals().next().expect("a refusal").note.text.clone();
        assert!(why.contains("far.example is not found: A far.example: no answer"), "{why}");
    }
}

#[test]
fn an_answer_to_another_question_of_that_number_is_nobodys() {
    let mut a = agent();
    let hop = NextHop::Uri("sip:far.example:5060".into());
    a.command(START, order("MESSAGE", "sip:bob@far.example", "", hop));
    let mut net = Net::new(vec![(1, &mut a)]);
    net.drain(addr(1));
    let (ask, question) = asked(&mut net);
    // The node that asked before a crash counted from the same number.
    let other = DnsQuestion { name: "other.example".into(), ..question };
    answer(&mut net, 1, (ask, other), &[DnsRecord::A([127, 0, 0, 3].into())]);
    net.run_ms(10);
    assert!(net.sent("n1").is_empty() && net.asked.is_empty());
    answer(&mut net, 1, (ask, question), &[DnsRecord::A([127, 0, 0, 9].into())]);
    answer_all(&mut net, 1, [127, 0, 0, 9]);
    net.run_ms(10);
    assert_eq!(net.sent("n1"), ["UDP MESSAGE"]);
    assert_eq!(net.got[0].flow.remote, addr(9));
}

#[test]
fn what_is_cancelled_before_its_next_hop_is_found_never_leaves() {
    let mut a = agent();
    let hop = NextHop::Uri("sip:far.example:5060".into());
    a.command(START, order("INVITE", "sip:bob@far.example", "", hop));
    a.command(START, Order::Cancel { tag: 7 });
    let mut net = Net::new(vec![(1, &mut a)]);
    net.drain(addr(1));
    answer_all(&mut net, 1, [127, 0, 0, 3]);
    net.run_ms(1000);
    assert!(net.sent("n1").is_empty());
    assert_eq!(a.role().own, [(7, 487, Cause::Transport)]);
    assert_eq!(a.sizes(), Sizes::default());
}

#[test]
fn an_ack_waits_too() {
    let mut p = Engine::new("n2", Proxy::default(), with_servers(2), Seed::derive(1, "n2"));
    let mut net = Net::new(vec![(2, &mut p)]);
    net.datagram(addr(1), 2, &request("ACK", "sip:bob@far.example:5060", ""));
    assert!(net.got.is_empty());
    let questions = answer_all(&mut net, 2, [127, 0, 0, 9]);
    assert_eq!(questions, ["A far.example", "AAAA far.example"]);
    net.run_ms(10);
    assert_eq!(net.sent("n2"), ["UDP ACK"]);
    assert_eq!(net.got[0].flow.remote, addr(9));
    // Without an answer it is lost, and says so.
    let ack = request("ACK", "sip:bob@far.example:5060", "").replace("z9hG4bKtest", "z9hG4bKb");
    net.datagram(addr(1), 2, &ack);
    net.run_ms(60_000);
    assert_eq!(net.sent("n2"), ["UDP ACK"]);
    assert!(net.notes("n2").iter().any(|note| note.contains("ACK not sent: far.example")));
    assert_eq!(p.sizes().asks, 0);
}

#[test]
fn look_ups_are_bounded() {
    let mut settings = with_servers(1);
    settings.limits.lookups_max = 2;
    let mut a = Engine::new("n1", Agent::default(), settings, Seed::derive(1, "n1"));
    for tag in 1..=3 {
        let hop = NextHop::Uri("sip:far.example:5060".into());
        let Order::Send { text, to, within, .. } = order("MESSAGE", "sip:bob@far.example", "", hop)
        else {
            panic!("a request");
        };
        a.command(START, Order::Send { tag, text, to, within });
    }
    assert_eq!(a.role().own, [(3, 503, Cause::Transport)]);
    assert_eq!(a.sizes().asks, 2);
}
