//! The end of a registration as everybody hears of it (TS 24.229 §5.4.1.4.1, §5.4.1.5): the ends of
//! a call, the subscribers, an application server and the HSS. The client, its P-CSCF and the other
//! end of the call stand in the place of i1.

use cscf_core::auth::IntegrityProtected;
use cscf_core::cx::DeregistrationReason;
use cscf_core::sip::{HeaderName, Message, Request};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, Told, header, label};

use super::hand::{A_MOMENT, Hand, asked, response, result_of, values};
use super::reg_event::{registrations, rtr, subscribe};
use super::scscf_register::{assignments, bindings, message_to};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

/// Server-Assignment-Type (TS 29.229 §6.3.15).
const TIMEOUT_DEREGISTRATION: u32 = 4;
const USER_DEREGISTRATION: u32 = 5;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("registration_end::the_user_takes_all_away", &["S-DRG-010"], by_the_user),
        case("registration_end::the_hss_ends_it_for_good", &["S-DRG-040"], by_the_hss),
        case("registration_end::its_time_runs_out", &["S-DRG-090"], by_time),
    ]
}

fn impu() -> String {
    format!("sip:+15550100001@{DOMAIN};user=phone")
}

/// Alice with a server in her criteria, two subscribers besides it, and a call that stands.
struct Scene {
    hand: Hand,
    /// What came in the place of i1 since the last look, answered.
    heard: Vec<Message>,
}

impl Scene {
    fn new(expires: u32) -> Self {
        let mut hand = Hand::at_scscf(
            Bench::of(
                "scenario: none\nlab:\n  nodes:\n    as1: {role: as, listen: \"127.0.0.1:7060\"}\n  \
                 subscribers:\n    alice:\n      filter_criteria:\n        - {priority: 1, \
                 server: as1, all_of: [{method: REGISTER}]}\nsteps: []\n",
            ),
            "alice",
        );
        hand.impu = impu();
        hand.contact = hand.contact.replace("3600", &expires.to_string());
        let ok = hand.registered(NO, YES);
        let route = header(&ok, "Service-Route");
        let edge = format!("sip:{}", hand.bench.addr("p1"));
        let lines = "Event: reg\nAccept: application/reginfo+xml\nExpires: 3600\n";
        for (name, asserted) in [("ue", impu()), ("edge", edge)] {
            let (ok, told, _) = subscribe(&mut hand, name, (&impu(), &asserted), lines);
            assert_eq!((label(&ok).as_str(), told.len()), ("200 SUBSCRIBE", 1), "{name}");
        }
        let mut scene = Self { hand, heard: Vec::new() };
        scene.call(&route);
        let server = scene.hand.bench.received("as1");
        assert_eq!(count(&server, "REGISTER"), 1);
        assert_eq!(count(&server, "NOTIFY"), 1, "the server follows, too");
        scene.hand.bench.mark();
        scene
    }

    /// Alice calls somebody of another network, who answers.
    fn call(&mut self, route: &str) {
        let (at, s1) = (self.hand.at, self.hand.to);
        let request = |method: &str, cseq: u32, routes: &str, to: &str| {
            format!(
                "{method} sip:zoe@{at} SIP/2.0\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-c{method}\n\
                 {routes}Record-Route: <sip:edge@{at};lr>\nMax-Forwards: 70\n\
                 From: <{}>;tag=caller\nTo: {to}\nCall-ID: call\nCSeq: {cseq} {method}\n\
                 Contact: <sip:alice@{at}>\nP-Asserted-Identity: <{}>\nContent-Length: 0\n",
                impu(),
                impu()
            )
        };
        let to = "<sip:zoe@other.example>";
        self.hand.send(&request("INVITE", 7, &format!("Route: {route}\n"), to));
        self.hand.bench.run_for(A_MOMENT);
        let heard = self.hand.bench.heard("fake");
        let invite = heard.iter().find(|it| label(it) == "INVITE").expect("it goes to zoe");
        let routes = values(invite, HeaderName::RecordRoute);
        let record: String = routes.iter().map(|it| format!("Record-Route: {it}\n")).collect();
        let lines = format!("{record}Contact: <sip:zoe@{at}>\n");
        self.hand.bench.send("fake", s1, &response(invite, "200 OK", &lines));
        self.hand.bench.run_for(A_MOMENT);
        let heard = self.hand.bench.heard("fake");
        let ok = heard.iter().find(|it| label(it) == "200 INVITE").expect("zoe answers");
        let way = format!("Route: {}\n", routes[0]);
        self.hand.send(&request("ACK", 7, &way, &header(ok, "To")));
        self.hand.bench.run_for(A_MOMENT);
        assert!(self.hand.bench.heard("fake").iter().any(|it| label(it) == "ACK"));
    }

    /// Lets time pass; every request that comes is answered 200.
    fn listen(&mut self, time: Duration) {
        let end = self.hand.bench.now() + time;
        while self.hand.bench.now() < end {
            let step = (end - self.hand.bench.now()).min(Duration::from_millis(100));
            self.hand.bench.run_for(step);
            for message in self.hand.bench.heard("fake") {
                if matches!(message, Message::Request(_)) {
                    let ok = response(&message, "200 OK", "");
                    self.hand.send(&ok);
                }
                self.heard.push(message);
            }
        }
    }

    fn requests(&self, method: &str) -> Vec<&Request> {
        let of_method = self.heard.iter().filter_map(|message| match message {
            Message::Request(request) if request.method.as_str() == method => Some(request),
            _ => None,
        });
        of_method.collect()
    }

    fn finals(&self, wanted: &str) -> Vec<&Message> {
        self.heard.iter().filter(|message| label(message) == wanted).collect()
    }

    /// What the end of it looks like, whatever ended it.
    fn is_over(&mut self, (event, reason): (&str, &str)) {
        let sent = self.hand.bench.sent("s1");
        let at = |label: &str| sent.iter().position(|told| told.label() == label);
        // The call, both ways, before anything else.
        self.call_is_over();
        assert!(at("BYE") < at("NOTIFY") && at("BYE") < at("REGISTER"), "{:?}", labels(&sent));
        // The UE, the P-CSCF, the server.
        let of_server = self.hand.bench.received("as1");
        let told = self.requests("NOTIFY").into_iter();
        let told = told.map(|it| Message::Request(it.clone()));
        let at_server = of_server.iter().filter(|it| it.label() == "NOTIFY");
        let told: Vec<_> = told.chain(at_server.map(|it| it.message.clone())).collect();
        assert_eq!(told.len(), 3);
        for notify in &told {
            let state = header(notify, "Subscription-State");
            assert_eq!(state, format!("terminated;reason={reason}"));
            let list = registrations(&String::from_utf8_lossy(notify.body()));
            assert_eq!(list.len(), 3, "the whole set");
            for (aor, state, contacts) in list {
                let [(contact, why, _)] = contacts.as_slice() else { panic!("{contacts:?}") };
                assert_eq!((state.as_str(), contact.as_str()), ("terminated", "terminated"));
                assert_eq!(why, event, "{aor}");
            }
        }
        // The server's registration ends, nobody else gets a REGISTER.
        let registers: Vec<_> = sent.iter().filter(|it| it.label() == "REGISTER").collect();
        let [register] = registers.as_slice() else { panic!("{:?}", labels(&sent)) };
        assert_eq!(register.wire.remote, self.hand.bench.addr("as1"));
        assert_eq!(register.header("Expires"), "0");
        assert_eq!(register.header("To"), format!("<{}>", impu()));
        // No identity of the set can be called.
        for to in [impu(), "tel:+15550100001".to_owned(), format!("sip:alice@{DOMAIN}")] {
            message_to(&mut self.hand, &to);
            let answer = self.hand.answered().map(|it| label(&it));
            assert_eq!(answer.as_deref(), Some("480 MESSAGE"), "{to}");
        }
    }

    fn call_is_over(&self) {
        let at = self.hand.at;
        let byes = self.requests("BYE");
        let [first, second] = byes.as_slice() else { panic!("{} BYEs", byes.len()) };
        let ways = [(first, "alice", "edge"), (second, "zoe", "")];
        for (bye, who, by) in ways {
            assert_eq!(bye.request_uri, format!("sip:{who}@{at}"));
            let route = bye.headers.get(HeaderName::Route).unwrap_or_default();
            let wanted = if by.is_empty() { String::new() } else { format!("<sip:{by}@{at};lr>") };
            assert_eq!(route, wanted);
            assert_eq!(bye.call_id(), Some("call"));
            let reason = bye.headers.get(HeaderName::Reason).unwrap_or_default();
            assert!(reason.contains("cause=480"), "{reason}");
        }
        assert_eq!((first.to_tag(), first.from_tag()), (Some("caller"), Some("raw")));
        assert_eq!((second.to_tag(), second.from_tag()), (Some("raw"), Some("caller")));
        assert!(second.cseq().expect("CSeq").number > 7, "the next of the caller");
    }
}

fn labels(told: &[Told]) -> Vec<String> {
    told.iter().map(Told::label).collect()
}

fn count(told: &[Told], wanted: &str) -> usize {
    told.iter().filter(|told| told.label() == wanted).count()
}

fn by_the_user() {
    for (contact, expires) in [("expires=0", ""), ("", "Expires: 0\n"), ("*", "Expires: 0\n")] {
        let mut scene = Scene::new(3600);
        let at = scene.hand.at;
        let contact = match contact {
            "*" => "Contact: *\n".to_owned(),
            "" => format!("Contact: <sip:alice@{at}>\n"),
            param => format!("Contact: <sip:alice@{at}>;{param}\n"),
        };
        let lines = scene.hand.unchallenged(YES) + &contact + expires;
        let text = scene.hand.next(&lines);
        scene.hand.send(&text);
        scene.listen(Duration::from_secs(1));
        let finals = scene.finals("200 REGISTER");
        let [ok] = finals.as_slice() else { panic!("{} answers", finals.len()) };
        let contacts = values(ok, HeaderName::Contact);
        assert_eq!(contacts, [format!("<sip:alice@{at}>;expires=0")]);
        assert_eq!(assignments(&scene.hand), [USER_DEREGISTRATION]);
        scene.is_over(("unregistered", "noresource"));
    }
    // With another contact left the registration stands: the HSS and the server hear nothing.
    let mut scene = Scene::new(3600);
    scene.hand.outbound();
    let flow = "Contact: <sip:a@10.0.0.9>;reg-id=2;+sip.instance=\"<urn:x:1>\";expires=900\n";
    let lines = scene.hand.unchallenged(YES) + flow;
    let text = scene.hand.next(&lines);
    scene.hand.send(&text);
    scene.listen(Duration::from_secs(1));
    scene.hand.bench.mark();
    scene.heard.clear();
    let lines = scene.hand.unchallenged(YES) + &flow.replace("=900", "=0");
    let text = scene.hand.next(&lines);
    scene.hand.send(&text);
    scene.listen(Duration::from_secs(1));
    let contacts = values(scene.finals("200 REGISTER")[0], HeaderName::Contact);
    assert_eq!(contacts.len(), 2, "{contacts:?}");
    assert!(contacts[0].contains("alice@") && !contacts[0].ends_with("expires=0"), "{contacts:?}");
    assert!(contacts[1].contains("10.0.0.9") && contacts[1].ends_with("expires=0"), "{contacts:?}");
    assert_eq!(assignments(&scene.hand), [] as [u32; 0]);
    let sent = labels(&scene.hand.bench.sent("s1"));
    assert!(!sent.contains(&"REGISTER".to_owned()) && !sent.contains(&"BYE".to_owned()));
    assert_eq!(bindings(&mut scene.hand).len(), 1);
}

fn by_the_hss() {
    let mut scene = Scene::new(3600);
    rtr(&mut scene.hand, DeregistrationReason::PermanentTermination);
    scene.listen(Duration::from_secs(1));
    let answers = asked(&scene.hand.bench, "s1", "RTA");
    assert_eq!(answers.iter().map(result_of).collect::<Vec<_>>(), [2001]);
    assert_eq!(assignments(&scene.hand), [] as [u32; 0], "the HSS knows");
    scene.is_over(("rejected", "rejected"));
}

fn by_time() {
    let mut scene = Scene::new(600);
    scene.listen(Duration::from_secs(590));
    assert!(scene.heard.is_empty(), "not before its time");
    scene.hand.bench.mark();
    scene.listen(Duration::from_secs(15));
    assert_eq!(assignments(&scene.hand), [TIMEOUT_DEREGISTRATION]);
    scene.is_over(("expired", "noresource"));
}
