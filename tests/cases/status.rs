//! Status codes that requests from the core draw from a UE, seen at its P-CSCF (RFC 3261 §21).

use cscf_core::sip::Message;
use cscf_tests::Bench;

use super::hand::Hand;
use super::wire::{Access, Serving, answer_to, count, labels, ms, newest, sent_to};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("status::an_unknown_scheme_gets_416_and_goes_no_further", &["RC-416"], scheme),
        case("status::a_sips_uri_goes_no_further_than_tls", &["G-SIPS-010b"], sips),
        case("status::a_sips_contact_needs_tls_on_the_way", &["G-SIPS-010c"], sips_contact),
        case("status::an_unknown_method_gets_501_from_the_ue_alone", &["RC-501"], method),
        case("status::only_the_uas_judges_require", &["RC-420"], extension),
        case("status::a_body_nobody_reads_gets_415_and_what_is_read", &["RC-415"], body),
        case("status::a_cancelled_invite_ends_with_487", &["RC-487"], terminated),
    ]
}

fn sips() {
    let mut lab = Serving::new();
    let text = lab.request("INVITE", "s", "").replacen("INVITE sip:", "INVITE sips:", 1);
    lab.ask(&text);
    let up = lab.up();
    assert_eq!(labels(&up).last().map(String::as_str), Some("480 INVITE"));
    let warning = up.last().expect("an answer").header("Warning");
    assert!(warning.starts_with("380 ") && warning.ends_with("\"SIPS Not Allowed\""), "{warning}");
    assert!(lab.down().is_empty());
}

fn sips_contact() {
    for (contact, path, status) in
        [("sips:", "sip:", 400), ("sip:", "sip:", 401), ("sips:", "sips:", 400)]
    {
        let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
        let lines = hand.unchallenged(None);
        let text = hand.next(&lines);
        let text = text.replace("Contact: <sip:", &format!("Contact: <{contact}"));
        let text = text.replace("Path: <sip:", &format!("Path: <{path}"));
        let answer = hand.ask(&text);
        assert_eq!(super::hand::status(&answer), status, "{contact} {path}");
    }
}

fn scheme() {
    for uri in ["http://x.example/", "foo:bar"] {
        let mut lab = Serving::new();
        let text = lab.request("INVITE", "s", "");
        let own = text.split(' ').nth(1).expect("Request-URI").to_owned();
        lab.ask(&text.replacen(&own, uri, 1));
        assert_eq!(labels(&lab.up()), ["416 INVITE"], "{uri}");
        assert!(lab.down().is_empty());
    }
    for uri in
        ["tel:+15550100002", "sip:x@other.example", "sips:x@other.example", "urn:service:sos"]
    {
        let mut lab = Serving::new();
        let text = lab.request("INVITE", "s", "");
        let own = text.split(' ').nth(1).expect("Request-URI").to_owned();
        lab.ask(&text.replacen(&own, uri, 1));
        assert_eq!(count(&lab.up(), "416 INVITE"), 0, "{uri} at s1");
        let mut lab = Access::on("3GPP-E-UTRAN-FDD");
        let text = lab.request("INVITE", "s", "");
        let own = text.split(' ').nth(1).expect("Request-URI").to_owned();
        lab.ask(&text.replacen(&own, uri, 1));
        assert_eq!(count(&lab.up(), "416 INVITE"), 0, "{uri} at p1");
    }
}

/// `p1` and bob's UE, `s` in the place of `s1`: requests go through `p1` to the real UE.
fn to_the_ue(lab: &Access, text: &str) -> (Bench, Vec<String>) {
    let mut bench = Bench::new(&["bob"]);
    bench.register(&["bob"]);
    let told = bench.sent("p1").into_iter().find(|told| told.label() == "REGISTER");
    let path = told.expect("REGISTER").header("Path");
    let (s, p1) = (bench.replace("s1", "s"), bench.addr("p1"));
    ms(&mut bench, 500);
    bench.mark();
    let text: String = text
        .split_inclusive('\n')
        .map(|line| match line.starts_with("Route: ") {
            true => format!("Route: {path}\n"),
            false => line.to_owned(),
        })
        .collect();
    assert_eq!(s, lab.s);
    bench.send("s", p1, &text);
    ms(&mut bench, 50);
    let up = labels(&sent_to(&bench, "p1", s));
    (bench, up)
}

fn last_header(bench: &Bench, name: &str) -> String {
    bench.received("s").last().map_or_else(
        || {
            let sent = bench.sent("bob");
            sent.last().expect("an answer of bob's").header(name)
        },
        |told| told.header(name),
    )
}

fn method() {
    let lab = Access::on("3GPP-E-UTRAN-FDD");
    let (bench, up) = to_the_ue(&lab, &lab.request("FROBNICATE", "m", ""));
    assert_eq!(up, ["501 FROBNICATE"]);
    assert_eq!(labels(&bench.sent("bob")), ["501 FROBNICATE"], "made by the UE");
    assert_eq!(count(&bench.received("bob"), "FROBNICATE"), 1, "forwarded by p1");
    let (bench, up) = to_the_ue(&lab, &lab.request("PUBLISH", "m", ""));
    assert_eq!(up, ["405 PUBLISH"]);
    assert!(last_header(&bench, "Allow").contains("INVITE"));
    assert!(!last_header(&bench, "Allow").contains("PUBLISH"));
    let mut lab = Serving::new();
    lab.ask(&lab.request("FROBNICATE", "s", ""));
    assert_eq!(labels(&lab.down()), ["FROBNICATE"], "s1 forwards it too");
    assert!(lab.up().is_empty());
}

fn extension() {
    let lab = Access::on("3GPP-E-UTRAN-FDD");
    let (bench, up) = to_the_ue(&lab, &lab.request("INVITE", "r", "Require: one, 100rel, two\n"));
    assert_eq!(up.last().map(String::as_str), Some("420 INVITE"), "{up:?}");
    assert_eq!(count(&bench.received("bob"), "INVITE"), 1, "p1 lets Require pass");
    let listed: Vec<String> = last_header_of(&bench, "420 INVITE", "Unsupported")
        .split([',', '|'])
        .map(trimmed)
        .collect();
    assert_eq!(listed, ["one", "two"], "exactly what is not understood");
    // Each proxy judges Proxy-Require.
    let (bench, up) = to_the_ue(&lab, &lab.request("INVITE", "p", "Proxy-Require: bar\n"));
    assert_eq!(up, ["420 INVITE"]);
    assert!(bench.received("bob").is_empty(), "p1 does not forward it");
    assert_eq!(last_header_of_node(&bench, "p1", "420 INVITE", "Unsupported"), "bar");
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "q", "Proxy-Require: bar\n"));
    assert_eq!(labels(&lab.up()), ["420 INVITE"]);
    assert_eq!(lab.up()[0].header("Unsupported"), "bar");
    assert!(lab.down().is_empty());
    lab.ask(&lab.request("INVITE", "w", "Require: foo\n"));
    assert_eq!(labels(&lab.down()), ["INVITE"], "s1 lets Require pass");
    // CANCEL and ACK are not refused for it.
    lab.answer(&answer_to(&lab.forwarded(), 180, "b"));
    lab.ask(&lab.request("CANCEL", "w", "Require: foo\n"));
    assert_eq!(count(&lab.up(), "200 CANCEL"), 1);
    assert_eq!(count(&lab.down(), "CANCEL"), 1);
    let mut bench = Bench::of(
        "scenario: none\nparties:\n  alice: {}\n  bob: {preconditions: off}\nsteps: []\n",
    );
    bench.register(&["alice", "bob"]);
    let (bob, p) = (bench.addr("bob"), bench.replace("p1", "p"));
    ms(&mut bench, 500);
    bench.mark();
    for (method, branch, more) in [
        ("INVITE", "one", "Require: precondition\n"),
        ("INVITE", "two", ""),
        ("CANCEL", "two", "Require: foo\n"),
    ] {
        let text =
            lab.request(method, branch, more).replacen(&lab.i.to_string(), &p.to_string(), 1);
        let text: String =
            text.split_inclusive('\n').filter(|line| !line.starts_with("Route")).collect();
        let own = text.split(' ').nth(1).expect("Request-URI").to_owned();
        bench.send("p", bob, &text.replacen(&own, &format!("sip:{bob}"), 1));
        ms(&mut bench, 30);
    }
    let sent = bench.sent("bob");
    assert_eq!(count(&sent, "420 INVITE"), 1, "{:?}", labels(&sent));
    assert_eq!(last_header_of(&bench, "420 INVITE", "Unsupported"), "precondition");
    assert_eq!(count(&sent, "200 CANCEL"), 1, "{:?}", labels(&sent));
}

fn trimmed(text: &str) -> String {
    text.trim().to_owned()
}

fn last_header_of(bench: &Bench, label: &str, name: &str) -> String {
    last_header_of_node(bench, "bob", label, name)
}

fn last_header_of_node(bench: &Bench, node: &str, label: &str, name: &str) -> String {
    let sent = bench.sent(node);
    sent.iter().rev().find(|told| told.label() == label).expect("sent").header(name)
}

fn body() {
    let lab = Access::on("3GPP-E-UTRAN-FDD");
    let with = |lines: &str| {
        lab.request("INVITE", "b", "")
            .replace("Content-Length: 0\n\n", &format!("{lines}Content-Length: 3\n\nabc"))
    };
    for (lines, header, value) in [
        ("Content-Type: text/foo\n", "Accept", "application/sdp"),
        (
            "Content-Type: application/sdp\nContent-Encoding: squash\n",
            "Accept-Encoding",
            "identity",
        ),
    ] {
        let (bench, up) = to_the_ue(&lab, &with(lines));
        assert_eq!(up.last().map(String::as_str), Some("415 INVITE"), "{lines}: {up:?}");
        assert!(last_header_of(&bench, "415 INVITE", header).contains(value), "{lines}");
    }
    let optional = "Content-Type: text/foo\nContent-Disposition: render;handling=optional\n";
    let (_, up) = to_the_ue(&lab, &with(optional));
    assert_eq!(up.iter().filter(|label| label.starts_with("415")).count(), 0, "{up:?}");
}

fn terminated() {
    // The UE: 200 to CANCEL first, then 487, acknowledged hop by hop.
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    bench.play("alice calls bob\nalice receives 180 for INVITE");
    bench.mark();
    bench.play("alice cancels\nalice receives 487 for INVITE");
    ms(&mut bench, 200);
    let of_bob: Vec<String> = labels(&bench.sent("bob"));
    assert_eq!(of_bob, ["200 CANCEL", "487 INVITE"]);
    for node in ["p1", "s1"] {
        let sent = bench.sent(node);
        let acks: Vec<_> = sent.iter().filter(|told| told.label() == "ACK").collect();
        assert_eq!(acks.len(), 2, "{node} acknowledges each INVITE it sent");
        assert!(acks.iter().all(|ack| !ack.header("Via").contains('|')), "hop by hop");
        let first = |label: &str| sent.iter().position(|told| told.label() == label);
        assert!(first("200 CANCEL") < first("487 INVITE"), "{node}");
    }
    // The 200 won: the caller acknowledges it and hangs up.
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    let (b, p1) = (bench.replace("bob", "b"), bench.addr("p1"));
    bench.play("alice calls bob");
    ms(&mut bench, 100);
    let invite = newest(&mut bench, "b");
    bench.send_bytes("b", p1, &answer_to(&invite, 180, "b").to_bytes());
    bench.play("alice receives 180 for INVITE\nalice cancels");
    bench.mark();
    ms(&mut bench, 100);
    let heard = bench.heard("b");
    let cancel = heard.into_iter().find_map(|message| match message {
        Message::Request(request) if request.method.as_str() == "CANCEL" => Some(request),
        _ => None,
    });
    bench.send_bytes("b", p1, &answer_to(&cancel.expect("CANCEL"), 200, "b").to_bytes());
    bench.send_bytes("b", p1, &answer_to(&invite, 200, "b").to_bytes());
    ms(&mut bench, 300);
    let got = labels(&sent_to(&bench, "p1", b));
    let at = |label: &str| got.iter().position(|one| one == label);
    assert!(at("ACK").is_some() && at("ACK") < at("BYE"), "{got:?}");
}
