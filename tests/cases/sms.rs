//! Short messages over IP at the wire of a gateway (TS 24.341 §5.3.3): phones by hand send and
//! answer RP messages that an emulated one would not.

use cscf_core::config::PathMtu;
use cscf_core::sip::{HeaderName, Method, Request, Response};
use cscf_core::sms::{
    Address, CONTENT_TYPE, Direction, Rp, RpMessage, Submit, Tpdu, Validity, failure, field,
    segments, status,
};
use cscf_core::time::Duration;
use cscf_core::trace::TraceKind;
use cscf_tests::{Bench, Told};

use super::by_hand::Hand;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("sms::one_submission_is_one_delivery", &["SMS-020"], submission),
        case("sms::a_report_names_what_it_is_about", &["SMS-030"], report),
        case("sms::a_phone_that_does_not_report_is_asked_again", &["SMS-070b", "SMS-100"], silent),
        case("sms::a_report_counts_for_its_message_only", &["SMS-050"], strange_reports),
        case("sms::a_message_ends_with_its_validity", &["SMS-060"], validity),
        case("sms::what_a_gateway_cannot_read_is_refused", &["SMS-070c"], unreadable),
        case("sms::one_message_is_under_way_to_a_phone_at_a_time", &["SMS-090"], serial),
        case("sms::a_large_message_goes_by_tcp", &["SMS-090"], large),
        case("sms::nothing_that_comes_harms_a_gateway_or_a_phone", &[], garbage),
    ]
}

const CRITERION: &str = "{priority: 10, server: smsgw, any_of: [[{method: REGISTER}], [{method: \
                         MESSAGE}, {session_case: originating}, {header: Content-Type, content: \
                         vnd.3gpp}]]}";

/// A lab with a gateway, alice and bob by hand.
fn lab(keys: &str) -> (Bench, Hand, Hand) {
    let mut text = "scenario: none\nparties:\n  alice: {}\n  bob: {}\nlab:\n  nodes:\n".to_owned();
    text.push_str("    smsgw: {role: as, listen: \"127.0.0.1:7080\", behaviour: ip-sm-gw");
    text.push_str(&format!("{keys}}}\n  subscribers:\n"));
    for name in ["alice", "bob"] {
        text.push_str(&format!("    {name}:\n      filter_criteria:\n        - {CRITERION}\n"));
    }
    text.push_str("steps: []\n");
    let mut bench = Bench::of(&text);
    let bob = Hand::registered(&mut bench, "bob");
    let alice = Hand::registered(&mut bench, "alice");
    (bench, alice, bob)
}

fn submit(reference: u8, text: &str) -> Submit {
    Submit {
        reference,
        reject_duplicates: false,
        status_report: false,
        destination: Address::number("+15550100002").expect("a number"),
        protocol: 0,
        validity: None,
        data: segments(text, 0).expect("short").remove(0),
    }
}

fn data(reference: u8, submit: Submit) -> RpMessage {
    let what =
        Rp::Data { centre: Address::number("+15559999"), tpdu: Tpdu::Submit(submit).encode() };
    RpMessage { direction: Direction::ToNetwork, reference, what }
}

/// A MESSAGE of a phone with these octets; `n` makes it its own.
fn message(hand: &Hand, n: u32, lines: &str, body: &[u8]) -> Vec<u8> {
    let lines = format!("Content-Type: {CONTENT_TYPE}\n{lines}");
    let uri = format!("sip:+15559999@{};user=phone", cscf_tests::DOMAIN);
    let head = hand.request("MESSAGE", &uri, n, lines.trim_end());
    let contact = format!("Contact: <sip:{}>\n", hand.addr);
    let head = head.replace(&contact, "").replace('\n', "\r\n");
    let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn say(bench: &mut Bench, hand: &Hand, n: u32, lines: &str, body: &[u8]) {
    bench.send_bytes(&hand.name, hand.to, &message(hand, n, lines, body));
    bench.run_for(Duration::from_millis(100));
}

/// What a phone has heard: the final answers, and the MESSAGEs, each answered with 200.
fn hear(bench: &mut Bench, hand: &Hand) -> (Vec<Response>, Vec<Request>) {
    let (mut answers, mut requests) = (Vec::new(), Vec::new());
    for message in bench.heard(&hand.name) {
        match message {
            cscf_core::sip::Message::Response(response) if response.status >= 200 => {
                answers.push(response);
            }
            cscf_core::sip::Message::Request(it) if it.method == Method::Message => {
                requests.push(it);
            }
            _ => {}
        }
    }
    for request in &requests {
        hand.answer(bench, request, 200, "");
    }
    (answers, requests)
}

fn said(request: &Request, name: &str) -> String {
    field(&request.body, name).unwrap_or_default()
}

/// The report of a phone for what came.
fn acknowledge(bench: &mut Bench, hand: &Hand, n: u32, came: &Request) {
    let reference = said(came, "rp_mr").parse().expect("a reference");
    let rp = RpMessage { direction: Direction::ToNetwork, reference, what: Rp::Ack { tpdu: None } };
    let lines = format!("In-Reply-To: {}", came.call_id().unwrap_or_default());
    say(bench, hand, n, &lines, &rp.encode());
}

fn submission() {
    let (mut bench, alice, bob) = lab("");
    let bytes = message(&alice, 1, "", &data(1, submit(1, "hello")).encode());
    bench.send_bytes(&alice.name, alice.to, &bytes);
    bench.run_for(Duration::from_millis(5));
    bench.send_bytes(&alice.name, alice.to, &bytes);
    bench.run_for(Duration::from_millis(200));
    let (answers, reports) = hear(&mut bench, &alice);
    assert!(!answers.is_empty() && answers.iter().all(|it| it.status == 202), "{answers:?}");
    assert!(answers.iter().all(|it| !it.headers.contains(HeaderName::Contact)));
    assert_eq!(reports.len(), 1);
    let (_, came) = hear(&mut bench, &bob);
    assert_eq!(came.len(), 1);
    assert_eq!((said(&came[0], "sms_text"), said(&came[0], "tp_address")), {
        ("hello".to_owned(), "+15550100001".to_owned())
    });
    acknowledge(&mut bench, &bob, 1, &came[0]);
    assert_eq!(hear(&mut bench, &bob).0[0].status, 202);
    // Submitted again on its own, it is refused if the sender wants no duplicates.
    let again = Submit { reject_duplicates: true, ..submit(1, "hello") };
    say(&mut bench, &alice, 2, "", &data(2, again).encode());
    let (_, reports) = hear(&mut bench, &alice);
    assert_eq!(said(&reports[0], "rp_cause"), "127");
    assert_eq!(said(&reports[0], "tp_failure"), format!("{:#04x}", failure::DUPLICATE));
    bench.run_for(Duration::from_secs(120));
    assert_eq!(hear(&mut bench, &bob).1.len(), 0);
}

fn report() {
    let (mut bench, alice, _) = lab("");
    say(&mut bench, &alice, 1, "", &data(200, submit(9, "hello")).encode());
    let (_, reports) = hear(&mut bench, &alice);
    let [report] = &reports[..] else { panic!("one report: {reports:?}") };
    assert_eq!((said(report, "rp"), said(report, "rp_mr")), ("RP-ACK".into(), "200".into()));
    let get = |name| report.headers.get(name).unwrap_or_default().to_owned();
    assert_eq!(get(HeaderName::InReplyTo), format!("call1@{}", alice.addr));
    assert_eq!(get(HeaderName::RequestDisposition), "no-fork");
    assert_eq!(get(HeaderName::AcceptContact), "*;+g.3gpp.smsip;require;explicit");
    assert_eq!(get(HeaderName::ContentType), CONTENT_TYPE);
    assert!(!report.headers.contains(HeaderName::Contact));
    assert!(report.to_tag().is_none() && !report.headers.contains(HeaderName::RecordRoute));
    // A number that nobody has.
    let destination = Address::number("+15550199999").expect("a number");
    say(&mut bench, &alice, 2, "", &data(201, Submit { destination, ..submit(1, "x") }).encode());
    let (answers, reports) = hear(&mut bench, &alice);
    assert_eq!(answers[0].status, 202);
    assert_eq!((said(&reports[0], "rp_mr"), said(&reports[0], "rp_cause")), {
        ("201".to_owned(), "1".to_owned())
    });
}

fn silent() {
    let (mut bench, alice, bob) = lab("");
    say(&mut bench, &alice, 1, "", &data(1, submit(1, "one")).encode());
    say(&mut bench, &alice, 2, "", &data(2, submit(2, "two")).encode());
    hear(&mut bench, &alice);
    let mut tried = Vec::new();
    let begin = bench.now();
    for _ in 0..300 {
        for came in hear(&mut bench, &bob).1 {
            let after = bench.now().since(begin).as_secs();
            tried.push((after, said(&came, "sms_text"), said(&came, "rp_mr")));
        }
        bench.run_for(Duration::from_secs(1));
    }
    let texts: Vec<&str> = tried.iter().map(|(_, text, _)| text.as_str()).collect();
    assert_eq!(texts[..4], ["one", "one", "one", "two"], "{tried:?}");
    // TR1N of 45 s, then 30 s until the next try.
    let gap = |at: usize| tried[at].0 - tried[at - 1].0;
    assert!((74..=77).contains(&gap(1)) && (74..=77).contains(&gap(2)), "{tried:?}");
    assert!((44..=47).contains(&gap(3)), "{tried:?}");
    let mut references: Vec<&String> = tried.iter().map(|(_, _, reference)| reference).collect();
    references.dedup();
    assert_eq!(references.len(), tried.len(), "{tried:?}");
}

fn strange_reports() {
    let (mut bench, alice, bob) = lab("");
    say(&mut bench, &alice, 1, "", &data(1, submit(1, "hello")).encode());
    let came = hear(&mut bench, &bob).1.remove(0);
    let reference: u8 = said(&came, "rp_mr").parse().expect("a reference");
    let ack = |reference| {
        let what = Rp::Ack { tpdu: None };
        RpMessage { direction: Direction::ToNetwork, reference, what }.encode()
    };
    let right = format!("In-Reply-To: {}", came.call_id().unwrap_or_default());
    let delivered = |bench: &Bench| {
        bench.events().any(
            |event| matches!(&event.kind, TraceKind::State(state) if state == "sms delivered bob"),
        )
    };
    say(&mut bench, &bob, 1, &right, &ack(reference.wrapping_add(1)));
    say(&mut bench, &bob, 2, "In-Reply-To: somebody-else", &ack(reference));
    say(&mut bench, &alice, 3, &right, &ack(reference));
    assert!(!delivered(&bench));
    say(&mut bench, &bob, 4, &right, &ack(reference));
    assert!(delivered(&bench));
    let answers = hear(&mut bench, &bob).0;
    assert_eq!(answers.iter().map(|it| it.status).collect::<Vec<_>>(), [202, 202, 202]);
}

fn validity() {
    let (mut bench, alice, _) = lab("");
    // Five minutes for carol, who is away; alice wants to know.
    let message = Submit {
        validity: Some(Validity::Relative(0)),
        status_report: true,
        destination: Address::number("+15550100003").expect("a number"),
        ..submit(77, "too late")
    };
    say(&mut bench, &alice, 1, "", &data(1, message).encode());
    let (_, came) = hear(&mut bench, &alice);
    assert_eq!(came.iter().map(|it| said(it, "rp")).collect::<Vec<_>>(), ["RP-ACK"]);
    bench.run_for(Duration::from_secs(299));
    assert_eq!(hear(&mut bench, &alice).1.len(), 0);
    bench.run_for(Duration::from_secs(2));
    let (_, came) = hear(&mut bench, &alice);
    let [report] = &came[..] else { panic!("one status report: {came:?}") };
    assert_eq!((said(report, "tp"), said(report, "tp_mr")), {
        ("SMS-STATUS-REPORT".to_owned(), "77".to_owned())
    });
    assert_eq!(said(report, "tp_status"), format!("{:#04x}", status::EXPIRED));
}

fn unreadable() {
    let (mut bench, alice, bob) = lab("");
    let bad = |what| RpMessage { direction: Direction::ToNetwork, reference: 5, what }.encode();
    let no_tpdu = bad(Rp::Data { centre: None, tpdu: vec![1] });
    let command = bad(Rp::Data { centre: None, tpdu: vec![2, 0, 0] });
    for (n, body, status, cause) in [
        (1, &[][..], 400, ""),
        (2, &[7, 1], 400, ""),
        (3, &[1, 1, 0, 0, 1, 0], 400, ""),
        (4, &no_tpdu, 202, "96"),
        (5, &command, 202, "97"),
    ] {
        say(&mut bench, &alice, n, "", body);
        let (answers, reports) = hear(&mut bench, &alice);
        assert_eq!(answers[0].status, status, "{body:?}");
        let causes: Vec<String> = reports.iter().map(|it| said(it, "rp_cause")).collect();
        assert_eq!(causes.concat(), cause, "{body:?}");
    }
    let other = message(&alice, 6, "", b"x");
    let other =
        String::from_utf8(other).expect("text").replace(CONTENT_TYPE, "application/vnd.3gpp2.sms");
    bench.send_bytes(&alice.name, alice.to, other.as_bytes());
    bench.run_for(Duration::from_millis(100));
    let (answers, _) = hear(&mut bench, &alice);
    assert_eq!(answers[0].status, 415);
    assert_eq!(answers[0].headers.get(HeaderName::Accept), Some(CONTENT_TYPE));
    assert_eq!(hear(&mut bench, &bob).1.len(), 0);
}

/// A message to oneself: its report and the message itself are for the same phone.
fn serial() {
    let (mut bench, alice, _) = lab("");
    let destination = Address::number("+15550100001").expect("a number");
    say(&mut bench, &alice, 1, "", &data(1, Submit { destination, ..submit(1, "x") }).encode());
    bench.run_for(Duration::from_secs(1));
    let heard = |bench: &mut Bench| -> Vec<Request> {
        let messages = bench.heard(&alice.name).into_iter();
        let requests = messages.filter_map(|message| match message {
            cscf_core::sip::Message::Request(it) => Some(it),
            cscf_core::sip::Message::Response(_) => None,
        });
        let mut out: Vec<Request> = requests.filter(|it| it.method == Method::Message).collect();
        // Repeated while it is not answered.
        out.dedup_by_key(|it| it.call_id().map(str::to_owned));
        out
    };
    let first = heard(&mut bench);
    assert_eq!(first.iter().map(|it| said(it, "rp")).collect::<Vec<_>>(), ["RP-ACK"]);
    alice.answer(&mut bench, &first[0], 200, "");
    let second = heard(&mut bench);
    assert_eq!(second.iter().map(|it| said(it, "tp")).collect::<Vec<_>>(), ["SMS-DELIVER"]);
}

fn large() {
    let source = "scenario: none\nparties:\n  alice: {}\n  bob: {transport: tcp}\nsteps: []\n";
    let mut bench = Bench::with_lab(source, 1, |lab| lab.path_mtu = PathMtu::Unknown);
    bench.register(&["alice", "bob"]);
    let hop = "transport: tcp\n    Contact: absent\n    Record-Route: absent";
    bench.play(&format!(
        "alice sends message \"{}\" to bob\nalice sends MESSAGE to p1:\n    {hop}\n\
         p1 sends MESSAGE to s1:\n    {hop}\ns1 sends MESSAGE to p1:\n    {hop}\n\
         bob receives MESSAGE\nalice receives 200 for MESSAGE:\n    {hop}",
        "long enough ".repeat(110),
    ));
    // A short one stays with datagrams.
    bench.play("alice sends message \"x\" to bob\nalice sends MESSAGE to p1:\n    transport: udp");
}

fn garbage() {
    let (mut bench, alice, bob) = lab("");
    let good = data(1, submit(1, "hello")).encode();
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for n in 1..300 {
        let mut body = good.clone();
        for _ in 0..=next() % 3 {
            let at = usize::try_from(next()).unwrap_or(0) % body.len();
            body[at] = next().to_le_bytes()[0];
        }
        if next() % 4 == 0 {
            body.truncate(usize::try_from(next()).unwrap_or(0) % body.len());
        }
        say(&mut bench, &alice, n, "", &body);
        let answers = hear(&mut bench, &alice).0;
        assert!(answers.iter().all(|it| matches!(it.status, 202 | 400)), "{body:?}: {answers:?}");
        for came in hear(&mut bench, &bob).1 {
            acknowledge(&mut bench, &bob, 1000 + n, &came);
        }
    }
    let held: Vec<Told> = bench.sent("smsgw");
    assert!(held.len() > 300);
}
