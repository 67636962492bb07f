//! Transactions on the wire, with the timers between CSCFs (RFC 3261 §17, RFC 6026, RFC 4320).

use cscf_core::config::PathMtu;
use cscf_core::sip::HeaderName;
use cscf_core::transport::Transport;
use cscf_tests::Bench;

use super::wire::{Serving, answer_to, branch, count, dropped, labels, ms, sent_to, times};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "transaction::invite_is_resent_until_answered_and_failures_are_acknowledged",
            &["T-TRN-010"],
            invite_client,
        ),
        case(
            "transaction::invite_gets_100_at_once_and_finals_until_ack",
            &["T-TRN-020"],
            invite_server,
        ),
        case(
            "transaction::other_requests_are_resent_up_to_t2_and_end_after_32_seconds",
            &["T-TRN-030"],
            client,
        ),
        case(
            "transaction::other_requests_get_their_final_again_a_late_100_and_never_408",
            &["T-TRN-040"],
            server,
        ),
        case(
            "transaction::a_message_belongs_to_the_transaction_of_branch_sent_by_and_method",
            &["T-TRN-050"],
            matching,
        ),
        case(
            "transaction::ack_of_a_failure_is_hop_by_hop_and_that_of_a_2xx_end_to_end",
            &["T-TRN-060"],
            ack_rules,
        ),
        case(
            "transaction::a_retransmission_is_absorbed_whatever_the_method",
            &["T-PRX-100"],
            retransmissions,
        ),
        case("transaction::cancel_stops_a_pending_invite", &["T-TRN-130a"], cancel_pending),
        case("transaction::cancel_after_the_answer_is_ok_and_void", &["T-TRN-130b"], cancel_late),
        case("transaction::cancel_of_nothing_gets_481", &["T-TRN-130c"], cancel_nothing),
    ]
}

pub(crate) const DOUBLED: [u128; 7] = [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500];
pub(crate) const UP_TO_T2: [u128; 11] =
    [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];

fn invite_client() {
    invite_without_answer();
    invite_with_1xx();
    invite_with_2xx();
    invite_with_failure();
    failure_over_tcp();
}

fn invite_without_answer() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "silent", ""));
    lab.wait(31_900);
    assert_eq!(times(&lab.down(), "INVITE"), DOUBLED, "timer A");
    assert_eq!(labels(&lab.up()), ["100 INVITE"], "nothing before timer B");
    lab.wait(200);
    // The TU gets 408, and here makes 480 of it: the contact cannot be reached.
    let notes: Vec<String> = lab.bench.notes("s1").into_iter().map(|note| note.text).collect();
    assert!(notes.iter().any(|text| text.starts_with("408")), "timer B: {notes:?}");
    assert_eq!(labels(&lab.up())[..2], ["100 INVITE", "480 INVITE"]);
    lab.wait(10_000);
    assert_eq!(count(&lab.down(), "INVITE"), 7, "nothing after timer B");
}

fn invite_with_1xx() {
    for status in [100, 180] {
        let mut lab = Serving::new();
        lab.ask(&lab.request("INVITE", "ringing", ""));
        lab.wait(600);
        lab.answer(&answer_to(&lab.forwarded(), status, "b"));
        lab.wait(60_000);
        assert_eq!(times(&lab.down(), "INVITE"), [0, 500], "{status} ends timer A");
        assert_eq!(count(&lab.up(), "480 INVITE"), 0, "{status} ends timer B");
    }
}

fn invite_with_2xx() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "answered", ""));
    let invite = lab.forwarded();
    lab.answer(&answer_to(&invite, 200, "b"));
    for (wait, tag, so_far) in [(500, "b", 2), (10_000, "c", 3), (21_000, "b", 4)] {
        lab.wait(wait);
        lab.answer(&answer_to(&invite, 200, tag));
        let up = lab.up();
        assert_eq!(count(&up, "200 INVITE"), so_far, "each 2xx goes up while Accepted");
        assert_eq!(up.last().expect("up").response().to_tag(), Some(tag));
    }
    lab.wait(1_000);
    lab.answer(&answer_to(&invite, 200, "b"));
    assert_eq!(count(&lab.up(), "200 INVITE"), 4, "timer M: 32 s after the first");
    assert_eq!(labels(&lab.down()), ["INVITE"], "a 2xx is not acknowledged here");
}

fn invite_with_failure() {
    for status in [302, 486, 500, 603] {
        let mut lab = Serving::new();
        lab.ask(&lab.request("INVITE", "refused", ""));
        let invite = lab.forwarded();
        let response = answer_to(&invite, status, "b");
        lab.answer(&response);
        assert_eq!(labels(&lab.down()), ["INVITE", "ACK"], "{status}");
        lab.wait(31_900);
        lab.answer(&response);
        assert_eq!(labels(&lab.down()), ["INVITE", "ACK", "ACK"], "timer D still runs");
        assert!(dropped(&lab.bench, "s1").is_empty());
        lab.wait(1_000);
        lab.answer(&response);
        assert_eq!(count(&lab.down(), "ACK"), 2, "timer D is over");
        assert_eq!(dropped(&lab.bench, "s1").len(), 1);
    }
}

/// Over TCP timer D is 0: nobody repeats a final there, and a repeated one is a stray.
fn failure_over_tcp() {
    let mut lab = Serving::over(PathMtu::Known(1_500));
    let text = lab.request("INVITE", "stream", "").replace(
        "Content-Length: 0\n\n",
        &format!("Content-Type: text/plain\nContent-Length: 1400\n\n{}", "x".repeat(1_400)),
    );
    lab.ask(&text);
    let sent = lab.down();
    assert_eq!(
        (labels(&sent), sent[0].wire.transport),
        (vec!["INVITE".to_owned()], Transport::Tcp)
    );
    let (streams, _) = lab.bench.heard_stream("p");
    let response = answer_to(&lab.forwarded(), 486, "b").to_bytes();
    for strays in [0, 1] {
        lab.bench.write("p", streams[0].0, &response);
        lab.wait(20);
        assert_eq!(count(&lab.down(), "ACK"), 1, "one ACK");
        assert_eq!(dropped(&lab.bench, "s1").len(), strays);
    }
}

fn invite_server() {
    invite_gets_1xx();
    failure_is_resent_until_timer_h();
    ack_ends_the_resending();
    accepted_absorbs_the_invite();
}

fn invite_gets_1xx() {
    let mut lab = Serving::new();
    let invite = lab.request("INVITE", "trying", "");
    lab.ask(&invite);
    lab.wait(180);
    assert_eq!(labels(&lab.up()), ["100 INVITE"], "100 within 200 ms");
    lab.ask(&invite);
    assert_eq!(labels(&lab.up()), ["100 INVITE", "100 INVITE"]);
    lab.answer(&answer_to(&lab.forwarded(), 180, "b"));
    lab.ask(&invite);
    assert_eq!(
        labels(&lab.up()),
        ["100 INVITE", "100 INVITE", "180 INVITE", "180 INVITE"],
        "the last 1xx again"
    );
    assert_eq!(labels(&lab.down()), ["INVITE"], "and nothing is forwarded twice");
}

fn failure_is_resent_until_timer_h() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "no-ack", ""));
    lab.answer(&answer_to(&lab.forwarded(), 486, "b"));
    lab.wait(60_000);
    assert_eq!(times(&lab.up(), "486 INVITE"), UP_TO_T2, "timer G up to T2, ended by timer H");
}

fn ack_ends_the_resending() {
    let mut lab = Serving::new();
    let invite = lab.request("INVITE", "ack", "");
    lab.ask(&invite);
    lab.answer(&answer_to(&lab.forwarded(), 486, "b"));
    lab.wait(600);
    assert_eq!(times(&lab.up(), "486 INVITE"), [0, 500]);
    let to = lab.up().last().expect("486").header("To");
    let ack = lab.request("ACK", "ack", "").replace(
        &format!("To: <sip:+15550100002@{};user=phone>", cscf_tests::DOMAIN),
        &format!("To: {to}"),
    );
    lab.ask(&ack);
    lab.wait(3_000);
    assert_eq!(count(&lab.up(), "486 INVITE"), 2, "ACK ends timer G");
    lab.ask(&ack);
    lab.ask(&invite);
    assert_eq!(lab.up().len(), 3, "Confirmed absorbs what comes: 100 and two 486");
    assert_eq!(labels(&lab.down()), ["INVITE", "ACK"], "and forwards none of it");
    // Timer I began at the first ACK; at its end the transaction is gone.
    lab.wait(2_000);
    lab.ask(&invite);
    assert_eq!(count(&lab.down(), "INVITE"), 2, "timer I is T4: the INVITE is a new one");
}

fn accepted_absorbs_the_invite() {
    let mut lab = Serving::new();
    let invite = lab.request("INVITE", "ok", "");
    lab.ask(&invite);
    lab.answer(&answer_to(&lab.forwarded(), 200, "b"));
    let answered = lab.up().last().expect("200").clone();
    assert_eq!(answered.label(), "200 INVITE");
    lab.wait(31_000);
    lab.ask(&invite);
    assert_eq!(labels(&lab.up()), ["100 INVITE", "200 INVITE"], "absorbed without an answer");
    assert_eq!(labels(&lab.down()), ["INVITE"]);
    // The ACK of a 2xx is the TU's: it goes on towards the callee.
    let routes: String = answered
        .response()
        .headers
        .values(HeaderName::RecordRoute)
        .map(|value| format!("Route: {value}\n"))
        .collect();
    let (i, p) = (lab.i, lab.p);
    lab.ask(&format!(
        "ACK sip:127.1.0.102:5060 SIP/2.0\nVia: SIP/2.0/UDP {i};branch=z9hG4bKok-ack\n\
         Max-Forwards: 60\n{routes}Route: <sip:{p};lr>\n\
         From: <sip:caller@other.example>;tag=caller\nTo: {}\nCall-ID: call-ok\nCSeq: 7 ACK\n\
         Content-Length: 0\n\n",
        answered.header("To")
    ));
    assert_eq!(labels(&lab.down()), ["INVITE", "ACK"], "passed to the TU");
    lab.wait(1_000);
    lab.ask(&invite);
    assert_eq!(count(&lab.down(), "INVITE"), 2, "timer L is over after 32 s");
}

fn client() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("MESSAGE", "silent", ""));
    lab.wait(60_000);
    assert_eq!(times(&lab.down(), "MESSAGE"), UP_TO_T2, "timer E doubles to T2, F ends it");

    let mut lab = Serving::new();
    lab.ask(&lab.request("MESSAGE", "slow", ""));
    lab.wait(200);
    lab.answer(&answer_to(&lab.forwarded(), 100, ""));
    lab.wait(60_000);
    let proceeding = [0, 500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500];
    assert_eq!(times(&lab.down(), "MESSAGE"), proceeding, "T2 after a 1xx");

    let mut lab = Serving::new();
    lab.ask(&lab.request("MESSAGE", "done", ""));
    let response = answer_to(&lab.forwarded(), 200, "b");
    lab.answer(&response);
    lab.wait(4_900);
    lab.answer(&response);
    assert_eq!(labels(&lab.up()), ["200 MESSAGE"], "passed up once");
    assert!(dropped(&lab.bench, "s1").is_empty(), "timer K still absorbs");
    lab.wait(200);
    lab.answer(&response);
    assert_eq!(dropped(&lab.bench, "s1").len(), 1, "timer K is T4: now it is a stray");
    assert_eq!(labels(&lab.down()), ["MESSAGE"], "a final ends timer E");
}

fn server() {
    let mut lab = Serving::new();
    let message = lab.request("MESSAGE", "again", "");
    lab.ask(&message);
    lab.ask(&message);
    assert!(lab.up().is_empty(), "no 100 over UDP at first");
    lab.answer(&answer_to(&lab.forwarded(), 200, "b"));
    for again in 2..5 {
        lab.wait(9_000);
        lab.ask(&message);
        assert_eq!(count(&lab.up(), "200 MESSAGE"), again, "the final again");
    }
    assert_eq!(labels(&lab.down()), ["MESSAGE"], "forwarded once");
    lab.wait(5_000);
    lab.ask(&message);
    assert_eq!(count(&lab.down(), "MESSAGE"), 2, "timer J is over after 32 s");

    let mut lab = Serving::new();
    lab.ask(&lab.request("MESSAGE", "slow", ""));
    lab.answer(&answer_to(&lab.forwarded(), 183, "b"));
    lab.wait(3_440);
    assert!(lab.up().is_empty(), "no 183 ever, no 100 before 3.5 s: {:?}", labels(&lab.up()));
    lab.wait(100);
    assert_eq!(labels(&lab.up()), ["100 MESSAGE"], "100 then");
    lab.wait(60_000);
    assert_eq!(labels(&lab.up()), ["100 MESSAGE"], "never 408");
    lab.answer(&answer_to(&lab.forwarded(), 200, "b"));
    lab.wait(1_000);
    assert_eq!(labels(&lab.up()), ["100 MESSAGE"], "a late response is not forwarded");
}

fn matching() {
    let mut lab = Serving::new();
    let message = lab.request("MESSAGE", "same", "");
    lab.ask(&message);
    lab.ask(&message);
    assert_eq!(lab.down().len(), 1, "the same transaction");
    let other_port = format!("{}", lab.i).replace(":4060", ":4061");
    let from_other = message.replacen(&lab.i.to_string(), &other_port, 1);
    assert_ne!(from_other, message);
    lab.ask(&from_other.replace("call-same", "call-other"));
    assert_eq!(lab.down().len(), 2, "another sent-by is another transaction");
    lab.ask(&lab.request("INFO", "same", "").replace("call-same", "call-third"));
    lab.ask(&lab.request("OPTIONS", "same", "").replace("call-same", "call-fourth"));
    assert_eq!(count(&lab.down(), "OPTIONS"), 1, "another method is another transaction");

    // A response belongs to its transaction by branch and the method in CSeq.
    let mut lab = Serving::new();
    lab.ask(&lab.request("MESSAGE", "one", ""));
    let forwarded = lab.forwarded();
    let text = String::from_utf8_lossy(&answer_to(&forwarded, 200, "b").to_bytes()).into_owned();
    let (s1, wrong_method) = (lab.s1, text.replace("7 MESSAGE", "7 OPTIONS"));
    let other_branch = text.replace(&branch(&forwarded), "z9hG4bKnobody");
    for stray in [wrong_method, other_branch] {
        lab.bench.send_bytes("p", s1, stray.as_bytes());
        lab.wait(20);
    }
    assert!(lab.up().is_empty(), "strays are not forwarded");
    assert_eq!(dropped(&lab.bench, "s1").len(), 2);
    lab.bench.send_bytes("p", s1, text.as_bytes());
    lab.wait(20);
    assert_eq!(labels(&lab.up()), ["200 MESSAGE"]);

    // ACK belongs to the INVITE, CANCEL is a transaction of its own with the same branch.
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "two", ""));
    let invite = lab.forwarded();
    lab.answer(&answer_to(&invite, 180, "b"));
    let cancel = lab.request("CANCEL", "two", "");
    lab.ask(&cancel);
    lab.ask(&cancel);
    assert_eq!(count(&lab.up(), "200 CANCEL"), 2, "the answer of CANCEL, and again");
    assert_eq!(count(&lab.down(), "CANCEL"), 1, "but one effect");
    assert_eq!(count(&lab.up(), "487 INVITE"), 0, "the INVITE is open still");
    lab.answer(&answer_to(&invite, 487, "b"));
    assert_eq!(count(&lab.up(), "487 INVITE"), 1);
    lab.ask(&lab.request("ACK", "two", ""));
    lab.wait(10_000);
    assert_eq!(count(&lab.up(), "487 INVITE"), 1, "ACK met the INVITE");
}

fn cancel_pending() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "c", ""));
    let invite = lab.forwarded();
    lab.ask(&lab.request("CANCEL", "c", ""));
    assert_eq!(labels(&lab.up()), ["100 INVITE", "200 CANCEL"]);
    assert_eq!(labels(&lab.down()), ["INVITE"], "held until a 1xx");
    lab.answer(&answer_to(&invite, 180, "b"));
    assert_eq!(labels(&lab.down()), ["INVITE", "CANCEL"], "then sent");
    let cancel = lab.forwarded();
    lab.answer(&answer_to(&cancel, 200, "b"));
    lab.answer(&answer_to(&invite, 487, "b"));
    assert_eq!(labels(&lab.down()), ["INVITE", "CANCEL", "ACK"]);
    assert_eq!(labels(&lab.up()).last().map(String::as_str), Some("487 INVITE"));
    assert_eq!(count(&lab.up(), "200 CANCEL"), 1, "the answer to our CANCEL stays here");
}

fn cancel_late() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "c", ""));
    lab.answer(&answer_to(&lab.forwarded(), 200, "b"));
    lab.ask(&lab.request("CANCEL", "c", ""));
    lab.wait(5_000);
    assert_eq!(labels(&lab.up()), ["100 INVITE", "200 INVITE", "200 CANCEL"]);
    assert_eq!(labels(&lab.down()), ["INVITE"], "no effect");
}

fn cancel_nothing() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("CANCEL", "nobody", ""));
    assert_eq!(labels(&lab.up()), ["481 CANCEL"]);
    assert!(lab.down().is_empty());
    lab.ask(&lab.request("INVITE", "somebody", ""));
    lab.ask(&lab.request("CANCEL", "other-branch", ""));
    lab.wait(1_000);
    assert_eq!(count(&lab.up(), "481 CANCEL"), 2);
    assert_eq!(count(&lab.down(), "CANCEL"), 0);
}

fn ack_rules() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "ack", ""));
    let invite = lab.forwarded();
    lab.answer(&answer_to(&invite, 486, "refusal"));
    let ack = lab.forwarded();
    assert_eq!(ack.method.as_str(), "ACK");
    assert_eq!(ack.top_branch(), invite.top_branch());
    assert_eq!(ack.headers.values(HeaderName::Via).count(), 1, "hop by hop");
    assert_eq!(ack.request_uri, invite.request_uri);
    let routes = |request: &cscf_core::sip::Request| -> Vec<String> {
        request.headers.values(HeaderName::Route).map(str::to_owned).collect()
    };
    assert!(!routes(&invite).is_empty());
    assert_eq!(routes(&ack), routes(&invite));
    assert_eq!(ack.headers.get(HeaderName::CSeq), Some("7 ACK"));
    assert_eq!(ack.to_tag(), Some("refusal"));
    assert_eq!(ack.headers.get(HeaderName::From), invite.headers.get(HeaderName::From));
    assert_eq!(ack.headers.get(HeaderName::CallId), invite.headers.get(HeaderName::CallId));
    lab.ask(&lab.request("ACK", "ack", ""));
    assert_eq!(count(&lab.down(), "ACK"), 1, "the caller's ACK ends here");
    lab.wait(40_000);
    assert_eq!(labels(&lab.up()), ["100 INVITE", "486 INVITE"], "ACK is never answered");

    // That of a 2xx comes from the UE, along the route set, for each 2xx anew.
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    let (b, p1) = (bench.replace("bob", "b"), bench.addr("p1"));
    bench.play("alice calls bob");
    ms(&mut bench, 100);
    bench.mark();
    let invite = invite_heard(&mut bench, "b");
    let response = answer_to(&invite, 200, "b");
    for acks in 1..4 {
        bench.send_bytes("b", p1, &response.to_bytes());
        ms(&mut bench, 100);
        let heard = sent_to(&bench, "p1", b);
        assert_eq!(count(&heard, "ACK"), acks, "one for each 2xx");
    }
    let sent = sent_to(&bench, "alice", p1);
    let ack = sent.iter().find(|told| told.label() == "ACK").expect("ACK").request();
    let own_via = invite.headers.values(HeaderName::Via).last().expect("alice's Via");
    assert!(!own_via.contains(ack.top_branch().expect("branch")), "a new branch");
    assert_eq!(ack.request_uri, "sip:127.1.0.102:5060", "the remote target");
    let expected: Vec<String> = {
        let hops = invite.headers.values(HeaderName::RecordRoute).map(user_of);
        let mut hops: Vec<String> = hops.collect();
        hops.reverse();
        hops
    };
    assert_eq!(routes(ack).iter().map(|value| user_of(value)).collect::<Vec<_>>(), expected);
    let cseq = |text: Option<&str>| text.map(|it| it.split(' ').next().map(str::to_owned));
    assert_eq!(cseq(ack.headers.get(HeaderName::CSeq)), cseq(invite.headers.get(HeaderName::CSeq)));
    for node in ["p1", "i1", "s1"] {
        assert_eq!(
            bench
                .sent(node)
                .iter()
                .filter(|it| it.header("CSeq").ends_with("ACK"))
                .filter(|it| it.label() != "ACK")
                .count(),
            0,
            "{node} answers no ACK"
        );
    }
}

/// What names a hop in its Record-Route, whatever parameters it has.
fn user_of(value: &str) -> String {
    value.trim_start_matches("<sip:").split(';').next().unwrap_or_default().to_owned()
}

fn invite_heard(bench: &mut Bench, raw: &str) -> cscf_core::sip::Request {
    let heard = bench.heard(raw).into_iter();
    heard
        .filter_map(|message| match message {
            cscf_core::sip::Message::Request(request) => Some(request),
            cscf_core::sip::Message::Response(_) => None,
        })
        .find(|request| request.method.as_str() == "INVITE")
        .expect("INVITE")
}

fn retransmissions() {
    for method in ["INVITE", "MESSAGE", "OPTIONS", "PUBLISH", "SUBSCRIBE"] {
        let mut lab = Serving::new();
        let event = if method == "SUBSCRIBE" { "Event: presence\n" } else { "" };
        let text = lab.request(method, "again", event);
        for _ in 0..3 {
            lab.ask(&text);
        }
        assert_eq!(count(&lab.down(), method), 1, "{method} is forwarded once");
        lab.answer(&answer_to(&lab.forwarded(), 404, "b"));
        lab.ask(&text);
        assert_eq!(count(&lab.down(), method), 1, "{method}, answered, is not forwarded again");
        let finals = count(&lab.up(), &format!("404 {method}"));
        assert_eq!(finals, 2, "{method}: its final again");
    }
    let mut bench = Bench::new(&["alice"]);
    let p1 = bench.addr("p1");
    bench.play("alice registers");
    ms(&mut bench, 15);
    let first = sent_to(&bench, "alice", p1).first().expect("REGISTER").wire.bytes.clone();
    let alice = bench.replace("alice", "a");
    ms(&mut bench, 100);
    bench.mark();
    bench.send_bytes("a", p1, &first);
    ms(&mut bench, 100);
    assert_eq!(labels(&sent_to(&bench, "p1", alice)), ["401 REGISTER"], "from the transaction");
    for node in ["i1", "s1"] {
        assert!(bench.received(node).is_empty(), "{node} hears nothing of it");
    }
}
