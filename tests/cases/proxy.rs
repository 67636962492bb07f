//! What every CSCF does as a proxy (RFC 3261 §16): checks, forwarding, responses, loops, timer C.

use cscf_core::config::PathMtu;
use cscf_core::proxy::{ContextAction, ContextSettings, ResponseContext};
use cscf_core::sip::{HeaderName, Message, Request, Response};
use cscf_core::time::Instant;
use cscf_core::transport::Transport;
use cscf_tests::Bench;

use super::wire::{Access, Serving, answer_to, branch, count, labels, ms, sent_to};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "proxy::what_must_not_be_forwarded_is_refused_for_its_reason",
            &["T-PRX-010", "RC-483"],
            refusals,
        ),
        case("proxy::a_forwarded_request_is_changed_only_as_needed", &["T-PRX-020"], forwarding),
        case(
            "proxy::unknown_methods_and_headers_pass_untouched",
            &["G-HDR-010"],
            unknown_things_pass,
        ),
        case("proxy::responses_of_branches_are_chosen_and_passed", &["T-PRX-030"], responses),
        case("proxy::a_loop_gets_482_and_a_spiral_passes", &["T-PRX-040", "RC-482"], loops),
        case("proxy::pending_branches_are_cancelled", &["T-PRX-060"], cancels),
        case("proxy::timer_c_ends_a_branch_that_never_ends", &["T-PRX-070"], timer_c),
        case("proxy::each_hop_says_100_once_and_the_caller_waits", &["RC-100"], one_100_per_hop),
        case("proxy::merged_requests_are_the_uas_affair", &["T-TRN-120"], merged),
        case("proxy::a_broken_path_counts_as_503", &["T-TRN-140"], broken_path),
    ]
}

fn status_of_last(lab: &Serving) -> u16 {
    lab.up().last().expect("an answer").response().status
}

fn refusals() {
    let mut lab = Serving::new();
    for (number, (from, to, status)) in [
        ("Max-Forwards: 60", "Max-Forwards: 0", 483),
        ("Max-Forwards: 60", "Max-Forwards: 60\nProxy-Require: foo, bar", 420),
        ("MESSAGE sip:+15550100002@", "MESSAGE nobody-knows:", 416),
        ("Max-Forwards: 60", "Max-Forwards: sixty", 400),
        ("CSeq: 7 MESSAGE", "CSeq: seven MESSAGE", 400),
        ("MESSAGE sip:", "MESSAGE sip:@@", 400),
    ]
    .into_iter()
    .enumerate()
    {
        let text = lab.request("MESSAGE", &format!("r{number}"), "");
        assert!(text.contains(from), "{from}");
        lab.ask(&text.replacen(from, to, 1));
        assert_eq!(lab.up().len(), number + 1, "{to}");
        assert_eq!(status_of_last(&lab), status, "{to}");
        let told = lab.up();
        let unsupported = told.last().expect("answer").header("Unsupported");
        let expected = if status == 420 { "foo | bar" } else { "" };
        assert_eq!(unsupported, expected, "{to}");
    }
    assert!(lab.down().is_empty(), "none of them is forwarded");
    // OPTIONS that may go no further is answered, and with one hop left it goes on with 0.
    let options = lab.request("OPTIONS", "o", "").replace("Max-Forwards: 60", "Max-Forwards: 0");
    lab.ask(&options);
    assert_eq!(status_of_last(&lab), 200);
    assert!(lab.down().is_empty());
    let last = lab.request("MESSAGE", "l", "").replace("Max-Forwards: 60", "Max-Forwards: 1");
    lab.ask(&last);
    assert_eq!(lab.down().last().expect("forwarded").header("Max-Forwards"), "0");

    // A path of five hops with two allowed: the third hop refuses.
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    bench.play("alice calls bob");
    ms(&mut bench, 50);
    let p1 = bench.addr("p1");
    let sent = sent_to(&bench, "alice", p1);
    let invite = sent.iter().rev().find(|it| it.label() == "INVITE").expect("INVITE");
    let text = String::from_utf8_lossy(&invite.wire.bytes).into_owned();
    let alice = bench.replace("alice", "a");
    bench.mark();
    let branch = invite.request().top_branch().expect("branch").to_owned();
    let again = text
        .replace("Max-Forwards: 70", "Max-Forwards: 2")
        .replace(&branch, "z9hG4bKshort")
        .replace("Call-ID: ", "Call-ID: short");
    bench.send_bytes("a", p1, again.as_bytes());
    ms(&mut bench, 100);
    let hops: Vec<String> = ["p1", "s1", "i1"]
        .iter()
        .flat_map(|node| bench.sent(node))
        .filter(|told| told.label() == "INVITE")
        .map(|told| told.header("Max-Forwards"))
        .collect();
    assert_eq!(hops, ["1", "0"], "p1 and s1 pass it on, never below 0");
    assert_eq!(count(&bench.sent("i1"), "483 INVITE"), 1, "the hop where it is 0 refuses");
    assert_eq!(count(&sent_to(&bench, "p1", alice), "483 INVITE"), 1);
}

/// Header lines without those a proxy changes.
fn others(request: &Request) -> Vec<String> {
    let changed = [
        HeaderName::Via,
        HeaderName::MaxBreadth,
        HeaderName::MaxForwards,
        HeaderName::Route,
        HeaderName::RecordRoute,
    ];
    let text = String::from_utf8_lossy(&request.to_bytes()).into_owned();
    let changed = changed.map(|name| format!("{name}:"));
    text.lines()
        .skip(1)
        .filter(|line| !changed.iter().any(|name| line.starts_with(name.as_str())))
        .map(str::to_owned)
        .collect()
}

fn forwarding() {
    let mut lab = Serving::new();
    let mut branches = Vec::new();
    for method in ["INVITE", "MESSAGE"] {
        let more = "X-One: 1\nSubject: kept\nX-Two:  as   it came \nDate: nonsense\n";
        let text = lab.request(method, &format!("f{method}"), more).replace(
            "Content-Length: 0\n\n",
            "Content-Type: text/plain\nContent-Length: 4\n\nbody",
        );
        lab.ask(&text);
        let told = lab.down();
        let forwarded = told.last().expect("forwarded").request().clone();
        let vias: Vec<&str> = forwarded.headers.values(HeaderName::Via).collect();
        assert_eq!(vias.len(), 2, "our Via on top of the sender's");
        assert!(vias[0].contains(&lab.s1.to_string()) && vias[1].contains(&lab.i.to_string()));
        branches.push(branch(&forwarded));
        assert_eq!(forwarded.headers.get(HeaderName::MaxForwards), Some("59"));
        let routes: Vec<&str> = forwarded.headers.values(HeaderName::Route).collect();
        assert!(!routes.iter().any(|route| route.contains(&lab.s1.to_string())), "{routes:?}");
        let records = forwarded.headers.values(HeaderName::RecordRoute).count();
        assert_eq!(records, usize::from(method == "INVITE"), "{method}");
        assert_eq!(forwarded.headers.get(HeaderName::ContentLength), Some("4"));
        assert_eq!(&forwarded.body[..], b"body");
        let Ok(Message::Request(came)) = cscf_core::sip::parse(&cscf_tests::crlf(&text).into())
        else {
            panic!("a request")
        };
        let (before, after) = (others(&came), others(&forwarded));
        let kept: Vec<&String> = after.iter().filter(|line| before.contains(line)).collect();
        let in_order: Vec<&String> = before.iter().filter(|line| after.contains(line)).collect();
        assert_eq!(kept, in_order, "the order of the others");
        for line in ["X-One: 1", "Subject: kept", "X-Two:  as   it came ", "Date: nonsense"] {
            assert!(kept.iter().any(|one| *one == line), "{line}");
        }
    }
    branches.sort();
    branches.dedup();
    assert_eq!(branches.len(), 2, "each branch is unique");
}

fn unknown_things_pass() {
    let mut lab = Serving::new();
    let lines = "X-Extension:   odd \t spacing, \"a,b\" ;p\nDate: 31 Brumaire\nP-Unheard-Of: 1\n";
    for method in ["FROBNICATE", "MESSAGE"] {
        lab.ask(&lab.request(method, method, lines));
        let told = lab.down();
        let last = told.last().expect("forwarded");
        assert_eq!(last.label(), method);
        let bytes = String::from_utf8_lossy(&last.wire.bytes).into_owned();
        for line in lines.lines() {
            assert!(bytes.contains(&format!("\r\n{line}\r\n")), "{line}");
        }
    }
    // And at the edge.
    let mut lab = Access::on("3GPP-E-UTRAN-FDD");
    lab.ask(&lab.request("FROBNICATE", "e", lines));
    let told = lab.down();
    let bytes = &told.last().expect("forwarded").wire.bytes;
    let bytes = String::from_utf8_lossy(bytes).into_owned();
    assert!(bytes.starts_with("FROBNICATE "));
    for line in ["X-Extension:   odd \t spacing, \"a,b\" ;p", "Date: 31 Brumaire"] {
        assert!(bytes.contains(&format!("\r\n{line}\r\n")), "{line}");
    }
}

fn responses() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "up", ""));
    let invite = lab.forwarded();
    lab.answer(&answer_to(&invite, 100, ""));
    assert_eq!(labels(&lab.up()), ["100 INVITE"], "that of s1 itself");
    for (number, status) in [180, 181, 183, 199].into_iter().enumerate() {
        lab.answer(&answer_to(&invite, status, "b"));
        let up = lab.up();
        assert_eq!(up.len(), number + 2, "{status} goes up at once");
        let last = up.last().expect("up").response();
        assert_eq!(last.status, status);
        let vias: Vec<&str> = last.headers.values(HeaderName::Via).collect();
        assert_eq!(vias.len(), 1, "our Via is gone");
        assert!(vias[0].contains("z9hG4bKup"));
    }
    lab.answer(&answer_to(&invite, 200, "b"));
    assert_eq!(labels(&lab.up()).last().map(String::as_str), Some("200 INVITE"));
    // With nothing below our Via, a response is not ours to pass on.
    let mut own = answer_to(&invite, 200, "d");
    let top = invite.headers.first_value(HeaderName::Via).expect("Via").to_owned();
    own.headers.remove(HeaderName::Via);
    own.headers.push(HeaderName::Via, &top);
    let before = lab.bench.sent("s1").len();
    lab.answer(&own);
    assert_eq!(lab.bench.sent("s1").len(), before, "no Via remains: dropped");

    the_best_of_branches();
}

/// A context with this many branches, and what it wants.
struct Forked {
    core: ResponseContext,
    branches: Vec<cscf_core::proxy::BranchNumber>,
    request: Request,
}

impl Forked {
    fn new(branches: usize) -> Self {
        let text = "INVITE sip:bob@ims.example SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;\
                    branch=z9hG4bK1\nFrom: <sip:a@ims.example>;tag=a\nTo: <sip:bob@ims.example>\n\
                    Call-ID: c\nCSeq: 1 INVITE\nContact: <sip:a@192.0.2.1>\n\
                    Content-Length: 0\n\n";
        let parsed = cscf_core::sip::parse(&cscf_tests::crlf(text).into()).expect("parses");
        let Message::Request(request) = parsed else { panic!("a request") };
        let mut core = ResponseContext::new(&request, ContextSettings::default());
        let branches =
            (0..branches).map(|_| core.open_branch(Instant::EPOCH).expect("room")).collect();
        Self { core, branches, request }
    }

    fn answer(&mut self, branch: usize, status: u16) -> Vec<ContextAction> {
        self.answer_with(branch, self.request.reply(status))
    }

    fn answer_with(&mut self, branch: usize, response: Response) -> Vec<ContextAction> {
        let (mut out, branch) = (Vec::new(), self.branches[branch]);
        self.core.on_response(Instant::EPOCH, branch, response.status, &mut out);
        if response.status > 100 {
            self.core.pass_up(branch, response, &mut out);
        }
        self.core.settle(&mut out);
        out
    }
}

fn upstream(actions: &[ContextAction]) -> Vec<u16> {
    let up = actions.iter().filter_map(|action| match action {
        ContextAction::Upstream(response) => Some(response.status),
        _ => None,
    });
    up.collect()
}

fn cancelled(actions: &[ContextAction]) -> usize {
    actions.iter().filter(|action| matches!(action, ContextAction::Cancel { .. })).count()
}

fn the_best_of_branches() {
    // Nothing final goes up before all have ended; the lowest class wins, and 503 becomes 500.
    for (finals, best) in [
        ([404, 500, 600], 600),
        ([503, 500, 404], 404),
        ([302, 404, 500], 302),
        ([404, 420, 480], 420),
        ([480, 486, 415], 415),
        ([486, 484, 503], 484),
        ([503, 503, 503], 500),
        ([501, 503, 480], 480),
    ] {
        let mut forked = Forked::new(3);
        assert_eq!(upstream(&forked.answer(0, finals[0])), [0; 0], "{finals:?}");
        assert_eq!(upstream(&forked.answer(1, finals[1])), [0; 0], "{finals:?}");
        assert_eq!(upstream(&forked.answer(2, finals[2])), [best], "{finals:?}");
    }
    // 6xx ends the others, and waits for them.
    let mut forked = Forked::new(3);
    forked.answer(1, 180);
    forked.answer(2, 180);
    let out = forked.answer(0, 603);
    assert_eq!(upstream(&out), [0; 0]);
    assert_eq!(cancelled(&out), 2);
    assert_eq!(upstream(&forked.answer(1, 487)), [0; 0]);
    assert_eq!(upstream(&forked.answer(2, 487)), [603]);
    // Challenges of all branches go up together.
    let mut forked = Forked::new(2);
    for (number, realm) in ["one", "two"].into_iter().enumerate() {
        let mut challenge = forked.request.reply(407);
        let value = format!("Digest realm=\"{realm}\", nonce=\"n\"");
        challenge.headers.push(HeaderName::ProxyAuthenticate, &value);
        let out = forked.answer_with(number, challenge);
        if number == 1 {
            let [ContextAction::Upstream(response)] = &out[..] else { panic!("{out:?}") };
            let fields = response.headers.fields_named("Proxy-Authenticate");
            let all: String = fields.map(|field| field.unfolded().into_owned()).collect();
            assert!(all.contains("\"one\"") && all.contains("\"two\""), "{all}");
        }
    }
}

fn loops() {
    // What s1 sent comes back to it unchanged: a loop.
    let mut lab = Serving::new();
    lab.ask(&lab.request("MESSAGE", "round", ""));
    let forwarded = lab.down().last().expect("forwarded").clone();
    let Ok(Message::Request(mut back)) = cscf_core::sip::parse(&forwarded.wire.bytes) else {
        panic!("a request")
    };
    // As it was when it came in: same target and Route.
    back.request_uri = format!("sip:+15550100002@{};user=phone", cscf_tests::DOMAIN).into();
    back.headers.remove(HeaderName::Route);
    back.headers.push(HeaderName::Route, &format!("<sip:{};lr>", lab.s1));
    let via = format!("SIP/2.0/UDP {};branch=z9hG4bKback", lab.p);
    back.headers.push_front(HeaderName::Via, &via);
    let s1 = lab.s1;
    lab.bench.send_bytes("p", s1, &back.to_bytes());
    lab.wait(50);
    assert_eq!(count(&lab.down(), "482 MESSAGE"), 1, "{:?}", labels(&lab.down()));
    assert_eq!(count(&lab.down(), "MESSAGE"), 1, "a loop is not forwarded");
    // The same with another target is a spiral.
    back.request_uri = "sip:somebody@elsewhere.example".into();
    back.headers.drop_front_value(HeaderName::Via);
    back.headers.push_front(HeaderName::Via, &via.replace("back", "spiral"));
    lab.bench.send_bytes("p", s1, &back.to_bytes());
    lab.wait(50);
    assert_eq!(count(&lab.down(), "482 MESSAGE"), 1, "{:?}", labels(&lab.down()));
    // A call inside one network passes s1 twice, and is none.
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    bench.play("alice calls bob\nbob receives INVITE");
    let invites = bench.received("bob");
    let invite = invites.iter().find(|it| it.label() == "INVITE").expect("INVITE");
    let own = invite.request().headers.values(HeaderName::Via);
    let s1 = bench.addr("s1").to_string();
    assert_eq!(own.filter(|via| via.contains(&s1)).count(), 2, "a spiral");
}

fn cancels() {
    // The machine: a 2xx, a 6xx, and CANCEL from above end every branch that is pending, one
    // without a response when its first comes.
    for end in [200, 603, 0] {
        let mut forked = Forked::new(4);
        forked.answer(1, 180);
        forked.answer(2, 180);
        let out = match end {
            0 => {
                let mut out = Vec::new();
                forked.core.cancel(None, &mut out);
                out
            }
            status => forked.answer(0, status),
        };
        assert_eq!(cancelled(&out), 2, "{end}");
        assert_eq!(cancelled(&forked.answer(3, 180)), 1, "{end}");
    }
    // The wire: with a 1xx at once, without when it comes.
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "a", ""));
    let invite = lab.forwarded();
    lab.answer(&answer_to(&invite, 180, "b"));
    lab.ask(&lab.request("CANCEL", "a", ""));
    assert_eq!(labels(&lab.down()), ["INVITE", "CANCEL"]);
    assert_eq!(lab.forwarded().top_branch(), invite.top_branch());
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "b", ""));
    let invite = lab.forwarded();
    lab.ask(&lab.request("CANCEL", "b", ""));
    assert_eq!(labels(&lab.down()), ["INVITE"]);
    lab.answer(&answer_to(&invite, 100, ""));
    assert_eq!(labels(&lab.down()), ["INVITE", "CANCEL"]);
    assert_eq!(lab.forwarded().top_branch(), invite.top_branch());
}

fn timer_c() {
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "c", ""));
    let invite = lab.forwarded();
    lab.answer(&answer_to(&invite, 180, "b"));
    lab.wait(170_000);
    lab.answer(&answer_to(&invite, 180, "b"));
    lab.wait(180_000);
    assert_eq!(count(&lab.down(), "CANCEL"), 0, "each 101-199 starts it anew");
    lab.wait(2_000);
    assert!(count(&lab.down(), "CANCEL") > 0, "with a 1xx: CANCEL");
    lab.answer(&answer_to(&invite, 487, "b"));
    assert_eq!(count(&lab.up(), "487 INVITE"), 1);
    // 100 does not start it anew.
    let mut lab = Serving::new();
    lab.ask(&lab.request("INVITE", "d", ""));
    let invite = lab.forwarded();
    lab.answer(&answer_to(&invite, 100, ""));
    lab.wait(100_000);
    lab.answer(&answer_to(&invite, 100, ""));
    lab.wait(82_000);
    assert!(count(&lab.down(), "CANCEL") > 0);
    // Without any response the branch has ended with 408.
    let mut forked = Forked::new(1);
    let mut out = Vec::new();
    let at = forked.core.poll_timeout().expect("timer C runs");
    assert!((at - Instant::EPOCH).as_secs() > 180);
    forked.core.handle_timeout(at, &mut out);
    assert!(out.iter().any(|action| matches!(action, ContextAction::TimedOut(_))), "{out:?}");
    assert_eq!(cancelled(&out), 0);
}

/// A Via as its sender wrote it, without what the receiver filled in (RFC 3581 §4).
fn sent_by(via: &str) -> &str {
    via.split_once(";rport").map_or(via, |(before, _)| before)
}

fn one_100_per_hop() {
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    let (b, p1) = (bench.replace("bob", "b"), bench.addr("p1"));
    bench.play("alice calls bob");
    ms(&mut bench, 200);
    // All hops but the callee have said it; the callee now.
    let invite = bench.heard("b").into_iter().find_map(|message| match message {
        Message::Request(request) if request.method.as_str() == "INVITE" => Some(request),
        _ => None,
    });
    let invite = invite.expect("INVITE");
    bench.send_bytes("b", p1, &answer_to(&invite, 100, "").to_bytes());
    ms(&mut bench, 10_000);
    for (node, hundreds) in [("p1", 2), ("s1", 2), ("i1", 1)] {
        let sent = bench.sent(node);
        assert_eq!(count(&sent, "100 INVITE"), hundreds, "{node}, once a transaction");
        assert_eq!(count(&sent, "INVITE"), hundreds, "{node} sends each INVITE once");
        let ack = sent.iter().filter(|it| it.label() == "100 ACK").count();
        assert_eq!(ack, 0);
        for hundred in sent.iter().filter(|told| told.label() == "100 INVITE") {
            let received = bench.received(node);
            let from = received.iter().find(|told| {
                told.label() == "INVITE"
                    && sent_by(&told.header("Via")) == sent_by(&hundred.header("Via"))
                    && told.at <= hundred.at
            });
            let from = from.expect("its INVITE, with the Vias of that hop");
            assert!((hundred.at - from.at).as_millis() <= 200);
            assert_eq!(hundred.wire.remote, from.wire.remote, "{node}");
            assert_eq!(hundred.header("Require"), "", "never reliable");
        }
    }
    assert_eq!(count(&bench.sent("alice"), "INVITE"), 1);
    bench.send_bytes("b", p1, &answer_to(&invite, 180, "b").to_bytes());
    ms(&mut bench, 100);
    assert_eq!(count(&bench.received("alice"), "180 INVITE"), 1);
    assert_eq!(count(&sent_to(&bench, "p1", b), "INVITE"), 1);
}

fn merged() {
    let mut bench = Bench::new(&["bob"]);
    bench.register(&["bob"]);
    let (p, bob) = (bench.replace("p1", "p"), bench.addr("bob"));
    bench.mark();
    let copy = |branch: &str| {
        format!(
            "MESSAGE sip:{bob} SIP/2.0\nVia: SIP/2.0/UDP {p};branch=z9hG4bK{branch}\n\
             Max-Forwards: 60\nFrom: <sip:caller@other.example>;tag=caller\n\
             To: <sip:+15550100002@{}>\nCall-ID: merged\nCSeq: 7 MESSAGE\n\
             Content-Type: text/plain\nContent-Length: 2\n\nhi",
            cscf_tests::DOMAIN
        )
    };
    bench.send("p", bob, &copy("one"));
    bench.send("p", bob, &copy("two"));
    ms(&mut bench, 50);
    assert_eq!(labels(&bench.sent("bob")), ["200 MESSAGE", "482 MESSAGE"]);
    // A proxy forwards both.
    let mut lab = Serving::new();
    for branch in ["one", "two"] {
        let text = lab.request("MESSAGE", branch, "").replace("call-two", "call-one");
        lab.ask(&text);
    }
    assert_eq!(labels(&lab.down()), ["MESSAGE", "MESSAGE"]);
    assert!(lab.up().is_empty());
}

fn broken_path() {
    // Nobody at the address: an ICMP comes back, which is a 503 from that hop.
    let mut lab = Serving::new();
    assert!(lab.bench.stage.lab.crash("p"));
    lab.ask(&lab.request("INVITE", "icmp", ""));
    let notes: Vec<String> = lab.bench.notes("s1").into_iter().map(|note| note.text).collect();
    assert!(notes.iter().any(|text| text.starts_with("undelivered")), "{notes:?}");
    assert!(notes.iter().any(|text| text.starts_with("503")), "503 from that hop: {notes:?}");
    assert_eq!(count(&lab.down(), "INVITE"), 1, "no retransmission to a dead path");

    // Two addresses of one name: the second is tried, at once, and after both 5xx goes up.
    let parties = "scenario: none\nparties:\n  alice: {}\nsteps: []\n";
    let mut bench = Bench::with_lab(parties, 1, |lab| {
        let i1 = lab.nodes.iter_mut().find(|node| node.name == "i1").expect("i1");
        i1.advertise = ("entry.example".to_owned(), 4060);
        let mut i2 = i1.clone();
        i2.name = "i2".to_owned();
        let mut ip = i2.listen;
        ip.set_ip([127, 0, 0, 14].into());
        i2.listen = ip;
        lab.nodes.push(i2);
    });
    assert!(bench.stage.lab.crash("i1"));
    bench.play("alice registers");
    ms(&mut bench, 200);
    let (first, second) = (bench.addr("i1"), bench.addr("i2"));
    assert_eq!(count(&sent_to(&bench, "p1", first), "REGISTER"), 2, "once for each REGISTER");
    assert_eq!(count(&sent_to(&bench, "p1", second), "REGISTER"), 2);
    bench.play("alice is registered");
    // A stream that is reset below a request is a path that failed, too.
    let mut lab = Serving::over(PathMtu::Known(1_500));
    let text = lab.request("MESSAGE", "reset", "").replace(
        "Content-Length: 0\n\n",
        &format!("Content-Type: text/plain\nContent-Length: 1400\n\n{}", "x".repeat(1_400)),
    );
    lab.ask(&text);
    let (streams, _) = lab.bench.heard_stream("p");
    lab.bench.disconnect("p", streams[0].0);
    lab.wait(20);
    let transports: Vec<Transport> = lab.down().iter().map(|told| told.wire.transport).collect();
    assert_eq!(transports, [Transport::Tcp, Transport::Udp], "the next way is tried");
    // With none left the caller gets a 5xx.
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    assert!(bench.stage.lab.crash("i1"));
    let alice = bench.addr("alice");
    bench.mark();
    bench.play("alice re-registers");
    ms(&mut bench, 100);
    let got = labels(&sent_to(&bench, "p1", alice));
    assert_eq!(got.first().map(String::as_str), Some("504 REGISTER"), "mapped by the P-CSCF");
}
