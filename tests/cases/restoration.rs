//! An S-CSCF that lost its state, TS 23.380 §4, and GRUUs, RFC 5627 and RFC 5628.

use cscf_core::auth::IntegrityProtected;
use cscf_core::diameter::dictionary;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::hand::{A_MOMENT, Hand, restart_s1, values};
use super::reg_event::watch;
use super::scscf_register::{assignments, message_to};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("restoration::a_lost_user_is_fetched_or_refused", &[], lost_user),
        case("restoration::the_hss_keeps_contacts_and_paths", &["S-REG-370"], kept),
        case("gruu::an_instance_gets_its_gruus", &["S-REG-300"], gruus),
        case("gruu::the_document_tells_gruus_and_features", &["S-NOT-050"], told),
    ]
}

fn restart(hand: &mut Hand, restoration: bool) {
    restart_s1(&mut hand.bench, |config| config.restoration = restoration);
}

fn alice(restoration: bool) -> Hand {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    hand.impu = impu();
    restart(&mut hand, restoration);
    hand
}

fn impu() -> String {
    format!("sip:+15550100001@{DOMAIN};user=phone")
}

fn lost_user() {
    for restoration in [false, true] {
        let mut hand = alice(restoration);
        hand.registered(NO, YES);
        restart(&mut hand, restoration);
        hand.bench.mark();
        let again = hand.unchallenged(YES);
        let answer = hand.register(&again);
        if restoration {
            assert_eq!(label(&answer), "200 REGISTER");
            assert_eq!(assignments(&hand)[0], 0, "NO_ASSIGNMENT");
            assert_eq!(hand.asked("s1", "MAR").len(), 0, "no challenge");
        } else {
            assert_eq!(label(&answer), "500 REGISTER");
            assert_eq!(assignments(&hand), [] as [u32; 0]);
            let said = hand.bench.notes("s1");
            assert!(said.iter().any(|it| it.refusal && it.text.contains("no registration")));
        }
    }
    // Nothing is kept of whom nobody registered: 500 with restoration, too.
    let mut hand = alice(true);
    let again = hand.unchallenged(YES);
    assert_eq!(label(&hand.register(&again)), "500 REGISTER");
}

fn kept() {
    let mut hand = alice(true);
    let edge = hand.bench.raw("edge");
    let route = format!("<sip:tok@{edge};lr>");
    hand.lines = format!("Path: {route}\nRequire: path\n");
    hand.registered(NO, YES);
    let _ = watch(&mut hand, &impu(), 3600);
    // The SAR has Contact and Path; that after SUBSCRIBE (RE_REGISTRATION) the dialog, too.
    let sars = hand.asked("s1", "SAR");
    let bytes = |at: usize| {
        let info = sars[at].find(&dictionary::SCSCF_RESTORATION_INFO).expect("restoration");
        String::from_utf8_lossy(&info.data).into_owned()
    };
    assert_eq!(assignments(&hand), [1, 2]);
    for at in [0, 1] {
        assert!(bytes(at).contains(&route) && bytes(at).contains("sip:alice@"), "{at}");
    }
    assert!(bytes(1).contains("tag=watcher"), "{}", bytes(1));

    restart(&mut hand, true);
    let _ = (hand.bench.heard("edge"), hand.bench.heard("fake"));
    hand.bench.mark();
    // A call finds the user without any action of the UE, and its subscription goes on.
    message_to(&mut hand, &format!("sip:alice@{DOMAIN}"));
    let heard = hand.bench.heard("edge");
    let said: Vec<String> = hand.bench.notes("s1").into_iter().map(|it| it.text).collect();
    let came = heard.iter().find(|it| label(it) == "MESSAGE");
    let came = came.unwrap_or_else(|| panic!("not by the restored Path: {said:#?}"));
    assert_eq!(values(came, HeaderName::Route), [route]);
    let Message::Request(request) = came else { panic!("a request") };
    assert_eq!(request.request_uri, format!("sip:alice@{}", hand.at));
    let notify = hand.bench.heard("fake").into_iter().find(|it| label(it) == "NOTIFY");
    let notify = notify.expect("the subscription is taken up again");
    assert_eq!(header(&notify, "Call-ID"), "watcher");
    assert!(header(&notify, "Subscription-State").starts_with("active"));
    assert!(hand.bench.received("s1").iter().all(|it| it.label() != "REGISTER"));

    // Who was never registered is not served by it.
    let mut hand = alice(true);
    message_to(&mut hand, &format!("sip:alice@{DOMAIN}"));
    assert_eq!(hand.answered().map(|it| label(&it)).as_deref(), Some("480 MESSAGE"));

    // A refresh that changes nothing tells the HSS nothing; another Path does.
    let mut hand = alice(true);
    hand.registered(NO, YES);
    hand.bench.mark();
    let again = hand.unchallenged(YES);
    hand.register(&again);
    assert_eq!(assignments(&hand), [] as [u32; 0]);
    hand.lines = hand.lines.replace("sip:tok@", "sip:other@");
    hand.register(&again);
    assert_eq!(assignments(&hand), [2]);
}

const INSTANCE: &str = "urn:uuid:00000000-0000-1000-8000-000a95a0e128";

fn with_instance() -> Hand {
    let mut hand = alice(false);
    hand.contact = format!(
        "Contact: <sip:alice@{}>;+sip.instance=\"<{INSTANCE}>\";+g.3gpp.smsip;expires=3600\n",
        hand.at
    );
    hand.lines += "Supported: gruu\n";
    hand
}

/// Public and temporary GRUU of the only contact of a 200.
fn gruus_of(ok: &Message) -> (String, String) {
    let contacts = ok.headers().contacts().expect("contacts");
    let [one] = contacts.list() else { panic!("one contact") };
    let of = |name| one.params.unquoted(name).map(|it| it.into_owned()).unwrap_or_default();
    (of("pub-gruu"), of("temp-gruu"))
}

fn gruus() {
    let mut hand = with_instance();
    let edge = hand.bench.raw("edge");
    hand.lines = format!("Path: <sip:tok@{edge};lr>\nRequire: path\nSupported: gruu\n");
    let ok = hand.registered(NO, YES);
    let (public, first) = gruus_of(&ok);
    assert_eq!(public, format!("{};gr={INSTANCE}", impu()));
    assert!(first.starts_with("sip:") && first.ends_with(";gr"), "{first}");
    assert!(!first.contains("15550100001"), "it does not tell who it is: {first}");
    let again = hand.unchallenged(YES);
    let ok = hand.register(&again);
    let (same, second) = gruus_of(&ok);
    assert_eq!(same, public, "stable");
    assert_ne!(second, first, "new at each REGISTER");
    // Both temporary ones and the public one lead to the contact.
    for (number, target) in [&public, &first, &second].into_iter().enumerate() {
        message_to(&mut hand, target);
        let heard = hand.bench.heard("edge");
        let came = heard.iter().rfind(|it| label(it) == "MESSAGE");
        let Some(Message::Request(request)) = came else { panic!("{target}") };
        assert_eq!(request.request_uri, format!("sip:alice@{}", hand.at), "{number}");
        let (answer, s1) = (super::hand::response(came.expect("it"), "200 OK", ""), hand.to);
        hand.bench.send("edge", s1, &answer);
        hand.bench.run_for(A_MOMENT);
    }
    // Another instance of the public one: nobody is there.
    let other = public.replace("e128", "e129");
    let _ = hand.bench.heard("fake");
    message_to(&mut hand, &other);
    assert_eq!(hand.answered().map(|it| label(&it)).as_deref(), Some("480 MESSAGE"));

    // Who does not want to know is not told.
    hand.lines = hand.lines.replace("Supported: gruu\n", "");
    let ok = hand.register(&again);
    assert_eq!(gruus_of(&ok), (String::new(), String::new()));
    // After deregistration they lead nowhere.
    let lines = hand.unchallenged(YES) + "Contact: *\nExpires: 0\n";
    assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    // A temporary one will never lead anywhere again (RFC 5627 §5.1).
    for (target, wanted) in [(&public, "480"), (&first, "404"), (&second, "404")] {
        let _ = hand.bench.heard("fake");
        message_to(&mut hand, target);
        hand.bench.run_for(Duration::from_secs(1));
        let wanted = format!("{wanted} MESSAGE");
        assert_eq!(hand.answered().map(|it| label(&it)), Some(wanted));
        assert!(hand.bench.heard("edge").iter().all(|it| label(it) != "MESSAGE"));
    }
}

fn told() {
    let mut hand = with_instance();
    let ok = hand.registered(NO, YES);
    let (public, temporary) = gruus_of(&ok);
    let (_, told, _) =
        super::reg_event::subscribe(&mut hand, "ue", (&impu(), &impu()), "Event: reg\n");
    let text = &told[0].text;
    assert!(text.contains(" xmlns:gr=\"urn:ietf:params:xml:ns:gruuinfo\""), "{text}");
    let of = |start: &str| -> Vec<String> {
        let tags = text.split(start).skip(1);
        tags.map(|tag| tag.split('"').next().unwrap_or_default().to_owned()).collect()
    };
    // Each SIP identity has its own; the number as tel URI has none.
    let expected = [public, format!("sip:alice@{DOMAIN};gr={INSTANCE}")];
    assert_eq!(of("<gr:pub-gruu uri=\""), expected);
    let temporaries = of("<gr:temp-gruu uri=\"");
    assert_eq!(temporaries.len(), 2);
    assert_eq!(temporaries[0], temporary);
    assert_ne!(temporaries[0], temporaries[1]);
    assert_eq!(of(" first-cseq=\""), ["2", "2"]);
    assert!(of("<unknown-param name=\"").contains(&"+g.3gpp.smsip".to_owned()), "{text}");
}
