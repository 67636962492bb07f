//! Two home networks in one lab, and names that the DNS knows: where requests go, and what crosses
//! the border (TS 24.229 §4.4, §4.5, RFC 3263).

use cscf_core::sip::HeaderName;
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN};

use super::by_hand::{Hand, charging, impu, one, sent_to};
use super::scscf_session::Around;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("networks::each_interface_has_its_identifiers", &["G-IOI-010"], identifiers),
        case("networks::what_is_asserted_stays_where_there_is_no_trust", &[], border),
        case("networks::an_icscf_can_be_a_way_through", &["I-SES-150"], transit),
        case("dns::services_servers_and_addresses_in_turn", &["G-TRANS-030"], in_turn),
    ]
}

/// Nodes and a subscriber of another network; more keys of the lab may follow.
const TWO: &str = "scenario: none\nparties:\n  alice: {}\n  erin: {}\nlab:\n  nodes:\n    \
    as1: {role: as, listen: \"127.0.0.1:7060\", behaviour: proxy, record_route: on}\n    \
    p2: {role: p-cscf, listen: \"127.0.0.1:5060\", domain: b.example}\n    \
    i2: {role: i-cscf, listen: \"127.0.0.1:4060\", domain: b.example}\n    \
    s2: {role: s-cscf, listen: \"127.0.0.1:6060\", domain: b.example}\n    \
    hss2: {role: hss, listen: \"127.0.0.1:3868\", domain: b.example}\n  subscribers:\n    \
    alice:\n      filter_criteria:\n        \
    - {priority: 1, server: as1, all_of: [{method: INVITE}]}\n    \
    erin: {impi: erin@b.example, impus: [\"sip:erin@b.example\"], \
    aka: {k: \"30313233343536373839616263646568\", opc: \"30313233343536373839616263646568\"}}\n";

fn bench(keys: &str) -> Bench {
    Bench::of(&format!("{TWO}{keys}steps: []\n"))
}

fn identifiers() {
    let mut bench = bench("");
    bench.register(&["alice", "erin"]);
    bench.mark();
    bench.play(
        "alice calls erin\nalice receives 180 for INVITE\nerin answers\n\
         alice is call established\nwait 1s\nalice hangs up\nerin is call ended\nwait 1s",
    );
    let (a, b) = (DOMAIN.to_owned(), "b.example".to_owned());
    let ioi = |from: &str, to: &str, label: &str, name: &str| {
        let told = sent_to(&bench, from, bench.addr(to), label);
        let told = told.last().unwrap_or_else(|| panic!("{label} from {from} to {to}"));
        charging(&told.header("P-Charging-Vector"), name)
    };
    // Requests: who sends it names itself, by the type of the interface; nobody is the other end.
    for label in ["INVITE", "BYE"] {
        for (from, to, wanted) in [
            ("p1", "s1", format!("Type 1{a}")),
            ("s1", "as1", format!("Type 3{a}")),
            ("as1", "s1", format!("Type 3{a}")),
            ("s1", if label == "BYE" { "s2" } else { "i2" }, a.clone()),
            ("s2", "p2", format!("Type 1{b}")),
        ] {
            if (from, label) == ("as1", "BYE") {
                continue;
            }
            assert_eq!(ioi(from, to, label, "orig-ioi"), Some(wanted), "{label} {from} to {to}");
            assert_eq!(ioi(from, to, label, "term-ioi"), None, "{label} {from} to {to}");
        }
    }
    // Responses: what came goes back, with one's own name.
    for label in ["200 INVITE", "200 BYE"] {
        for (from, to, orig, term) in [
            ("p2", "s2", format!("Type 1{b}"), format!("Type 1{b}")),
            ("s2", if label == "200 BYE" { "s1" } else { "i2" }, a.clone(), b.clone()),
            ("s1", "p1", format!("Type 1{a}"), format!("Type 1{a}")),
        ] {
            assert_eq!(ioi(from, to, label, "orig-ioi"), Some(orig), "{label} {from} to {to}");
            assert_eq!(ioi(from, to, label, "term-ioi"), Some(term), "{label} {from} to {to}");
        }
    }
    let term = ioi("s1", "as1", "200 INVITE", "term-ioi");
    assert_eq!(term, Some(format!("Type 3{a}")));
}

fn border() {
    for (keys, trusted) in [("", true), ("  interconnect: untrusted\n", false)] {
        let mut bench = bench(keys);
        bench.register(&["erin"]);
        let alice = Hand::registered(&mut bench, "alice");
        bench.mark();
        let text = alice.request("INVITE", "sip:erin@b.example", 1, "Privacy: id");
        alice.send(&mut bench, &text);
        bench.run_for(Duration::from_millis(500));
        let out = one(&bench, "s1", bench.addr("i2"), "INVITE");
        let inside = one(&bench, "i2", bench.addr("s2"), "INVITE");
        let at_home = one(&bench, "s1", bench.addr("as1"), "INVITE");
        assert!(at_home.header("P-Asserted-Identity").contains(&impu(1)));
        let icid = charging(&at_home.header("P-Charging-Vector"), "icid-value");
        let crossed = charging(&out.header("P-Charging-Vector"), "icid-value");
        assert_eq!(out.header("P-Asserted-Identity").contains(&impu(1)), trusted);
        assert_eq!(out.header("P-Access-Network-Info"), "");
        assert_eq!(crossed.is_some(), trusted);
        // The other network has an identifier in any case, the same or its own.
        let theirs = charging(&inside.header("P-Charging-Vector"), "icid-value");
        assert_eq!(theirs == icid, trusted, "{theirs:?} {icid:?}");
        assert!(theirs.is_some());
        // Nothing that the other side does not give away comes back.
        bench.play("erin answers\nwait 500ms");
        let back = sent_to(&bench, "i2", bench.addr("s1"), "200 INVITE");
        let vector = back.last().expect("answered").header("P-Charging-Vector");
        assert_eq!(charging(&vector, "term-ioi").is_some(), trusted, "{vector}");
    }
}

fn transit() {
    let two = "    i1: {role: i-cscf, listen: \"127.0.0.1:4060\", transit: on}\n";
    for (nodes, passes) in [(two, true), ("", false)] {
        let text = TWO.replacen("lab:\n  nodes:\n", &format!("lab:\n  nodes:\n{nodes}"), 1);
        let mut bench = Bench::of(&format!("{text}steps: []\n"));
        let s1 = Hand::node(&mut bench, "s1", "i1");
        bench.mark();
        let text = s1.request("MESSAGE", "sip:erin@b.example", 1, "");
        s1.send(&mut bench, &text);
        bench.run_for(Duration::from_millis(500));
        let sent = sent_to(&bench, "i1", bench.addr("i2"), "MESSAGE").len();
        assert_eq!(sent > 0, passes);
        if !passes {
            assert_eq!(s1.answered(&mut bench).status, 404);
        }
    }
}

const ZONE: &str = "  dns:\n    far.example:\n      - \"NAPTR 10 1 s SIP+D2U _sip._udp.far.example\"\n      \
    - \"A 127.1.0.203\"\n    _sip._udp.far.example:\n      - \"SRV 2 0 5060 b.far.example\"\n      \
    - \"SRV 1 0 5060 a.far.example\"\n      - \"SRV 0 0 5060 gone.far.example\"\n    \
    a.far.example: [\"A 127.1.0.201\"]\n    b.far.example: [\"A 127.1.0.202\"]\n    \
    gone.far.example: [\"A 127.1.0.250\"]\n";

fn in_turn() {
    let mut around = Around::of(Bench::of(&format!(
        "scenario: none\nparties:\n  alice: {{}}\n  bob: {{}}\nlab:\n{ZONE}steps: []\n"
    )));
    let bench = &mut around.bench;
    let (a, b, host) = (bench.raw("a"), bench.raw("b"), bench.raw("host"));
    bench.mark();
    // Nobody is at the first; the second is overloaded; the third answers.
    let text = around.alices("INVITE", "sip:eve@far.example", 1, "");
    around.p1.send(&mut around.bench, &text);
    let gone = "127.1.0.250:5060".parse().expect("address");
    assert!(!sent_to(&around.bench, "s1", gone, "INVITE").is_empty(), "tried");
    let first = sent_to(&around.bench, "s1", a, "INVITE").remove(0);
    let hand = Hand { name: "a".into(), addr: a, to: around.p1.to, service_route: String::new() };
    assert!(sent_to(&around.bench, "s1", b, "INVITE").is_empty());
    hand.answer(&mut around.bench, first.request(), 503, "Retry-After: 9");
    let second = sent_to(&around.bench, "s1", b, "INVITE").remove(0);
    assert_eq!(second.request().request_uri, "sip:eve@far.example");
    let hand = Hand { name: "b".into(), addr: b, ..hand };
    hand.answer(&mut around.bench, second.request(), 486, "");
    let finals = around.p1.answers(&mut around.bench, "");
    let finals: Vec<u16> = finals.iter().map(|it| it.status).filter(|it| *it >= 200).collect();
    assert_eq!(finals, [486], "the failures before are nobody's business");
    // A port asks for the address of the host alone; a number for nothing.
    let noted = |bench: &Bench, what: &str| {
        bench.stage.lab.trace().iter().any(|event| format!("{event:?}").contains(what))
    };
    for (n, uri, at) in
        [(2, "sip:eve@far.example:5060".to_owned(), host), (3, format!("sip:eve@{host}"), host)]
    {
        around.bench.mark();
        let text = around.alices("INVITE", &uri, n, "");
        around.p1.send(&mut around.bench, &text);
        assert!(!sent_to(&around.bench, "s1", at, "INVITE").is_empty(), "{uri}");
        assert!(sent_to(&around.bench, "s1", a, "INVITE").is_empty(), "{uri}");
    }
    assert!(noted(&around.bench, "NAPTR far.example: 1"));
    // What no name stands for is told at once.
    let text = around.alices("INVITE", "sip:eve@nowhere.example", 4, "");
    around.bench.mark();
    around.p1.send(&mut around.bench, &text);
    let refused = around.p1.answers(&mut around.bench, "");
    let last = refused.iter().rfind(|it| it.status >= 200).expect("a final response");
    assert!(last.status >= 400);
    assert_eq!(last.headers.get(HeaderName::CallId).map(|it| it.starts_with("call4")), Some(true));
}
