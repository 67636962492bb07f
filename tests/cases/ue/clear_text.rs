//! What comes in the clear to a phone that offers security agreements (TS 33.203 §7.1).

use cscf_core::sip::{Message, Method};
use cscf_core::time::Duration;
use cscf_tests::{Bench, label};

use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::clear_text_at_its_open_port_is_dropped", &[], clear_text),
        case("ue::an_answer_comes_as_its_request_left", &[], clear_answers),
        case("ue::unregistered_it_hears_what_belongs_to_its_calls", &[], within),
    ]
}

/// A request that comes in the clear to a phone with a security agreement is dropped before anybody
/// hears of it (TS 33.203 §7.1), and what answers nothing by any phone.
fn clear_text() {
    for (security, taken) in [("on", false), ("off", true)] {
        let source =
            format!("scenario: none\nparties: {{alice: {{security: {security}}}}}\nsteps: []\n");
        let mut bench = Bench::of(&source);
        bench.register(&["alice"]);
        let (stranger, alice) = (bench.raw("stranger"), bench.addr("alice"));
        bench.mark();
        let message = format!(
            "MESSAGE sip:{alice} SIP/2.0\nVia: SIP/2.0/UDP {stranger};branch=z9hG4bKm\n\
             Max-Forwards: 9\nFrom: <sip:x@y>;tag=1\nTo: <sip:{alice}>\nCall-ID: m\n\
             CSeq: 1 MESSAGE\nContent-Length: 0\n\n"
        );
        bench.send("stranger", alice, &message);
        let answer = format!(
            "SIP/2.0 403 Forbidden\nVia: SIP/2.0/UDP {alice};branch=z9hG4bKq\n\
             From: <sip:x@y>;tag=1\nTo: <sip:x@y>;tag=2\nCall-ID: q\nCSeq: 7 SUBSCRIBE\n\
             Content-Length: 0\n\n"
        );
        bench.send("stranger", alice, &answer);
        bench.run_for(Duration::from_secs(1));
        assert_eq!(!bench.heard("stranger").is_empty(), taken);
        let dropped = bench.dropped("alice");
        let (clear, other): (Vec<_>, Vec<_>) =
            dropped.iter().partition(|why| why.starts_with("clear text"));
        assert_eq!(clear.len(), usize::from(!taken), "{dropped:?}");
        assert_eq!(other, ["response without a transaction"]);
    }
}

/// What alice, who offers security agreements, sends and is told by whom when she calls bob and a
/// stranger says 403 in the clear while he rings.
fn called(register: bool) -> (Bench, Vec<String>) {
    let mut bench =
        Bench::of("scenario: none\nparties: {alice: {security: on}, bob: {}}\nsteps: []\n");
    if register {
        bench.register(&["alice", "bob"]);
    }
    bench.raw("stranger");
    let alice = bench.addr("alice");
    bench.mark();
    bench.play("alice calls bob");
    bench.run_for(Duration::from_secs(1));
    let Message::Request(invite) = bench.sent("alice").remove(0).message else { panic!("INVITE") };
    let mut forged = invite.reply(403);
    forged.set_to_tag("forged");
    let forged = String::from_utf8(forged.to_bytes().to_vec()).expect("text");
    bench.send("stranger", alice, &forged.replace("\r\n", "\n"));
    bench.run_for(Duration::from_secs(40));
    let told = bench.received("alice").into_iter().filter_map(|told| match told.message {
        Message::Response(it) => Some(format!("{} {}", it.status, told.wire.remote.ip())),
        Message::Request(_) => None,
    });
    let told = told.collect();
    (bench, told)
}

/// The answer to what left protected comes protected; the answer to what left in the clear is taken
/// in the clear also by a phone that offers agreements, and ends its transaction (TS 33.203 §7.1).
fn clear_answers() {
    let (mut bench, told) = called(true);
    let dropped = bench.dropped("alice");
    let why = "response 403 in clear text, its transaction by set ";
    assert!(dropped.len() == 1 && dropped[0].starts_with(why), "{dropped:?}");
    let last = told.last_chunk::<2>().expect("two at least");
    assert_eq!(last, &["180 127.1.0.11".to_owned(), "403 127.1.0.201".to_owned()]);
    bench.play("bob answers\nalice is call established");
    let (bench, told) = called(false);
    let sent = bench.sent("alice");
    let invites = sent.iter().filter(|it| it.request().method == Method::Invite).count();
    assert_eq!(invites, 1, "nothing is repeated once it is answered");
    assert_eq!(told[0], "403 127.1.0.11");
}

/// What began in the clear goes on so, while nothing is registered.
fn within() {
    for registered in [false, true] {
        let mut bench = Bench::of("scenario: none\nparties: {alice: {security: on}}\nsteps: []\n");
        if registered {
            bench.register(&["alice"]);
        }
        let (stranger, alice) = (bench.raw("stranger"), bench.addr("alice"));
        bench.mark();
        let bye = format!(
            "BYE sip:{alice} SIP/2.0\nVia: SIP/2.0/UDP {stranger};branch=z9hG4bKb\n\
             Max-Forwards: 9\nFrom: <sip:x@y>;tag=1\nTo: <sip:{alice}>;tag=2\nCall-ID: b\n\
             CSeq: 2 BYE\nContent-Length: 0\n\n"
        );
        bench.send("stranger", alice, &bye);
        bench.run_for(Duration::from_secs(1));
        let heard: Vec<_> = bench.heard("stranger").iter().map(label).collect();
        let dropped = bench.dropped("alice");
        match registered {
            true => assert_eq!(dropped, ["clear text: requests come to this UE protected only"]),
            false => assert_eq!(heard, ["481 BYE"]),
        }
        assert_eq!((heard.len(), dropped.len()), if registered { (0, 1) } else { (1, 0) });
    }
}
