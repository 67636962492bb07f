//! The end of a registration, TS 24.229 §5.4.1.4 to §5.4.1.6, and identities, §4.2.

use cscf_core::auth::IntegrityProtected;
use cscf_core::config::Lab;
use cscf_core::cx::DeregistrationReason;
use cscf_core::engine::CxNode;
use cscf_core::registrar::ContactEvent;
use cscf_core::sip::HeaderName;
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};
use s_cscf::{Command, Scscf};

use super::hand::{A_MOMENT, Hand, asked, result_of, values};
use super::reg_event::{registrations, rtr, subscribe, watch};
use super::scscf_register::{assignments, bindings};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("deregistration::an_unknown_binding_gets_481", &["S-DRG-020", "RC-481c"], unknown),
        case("deregistration::in_the_clear_it_is_challenged", &["S-DRG-030"], unprotected),
        case("deregistration::a_server_change_brings_the_ue_back", &["S-DRG-050"], server_change),
        case("deregistration::a_new_server_is_silent", &["S-DRG-060"], new_server),
        case(
            "deregistration::the_operator_has_a_user_prove_itself",
            &["S-DRG-080"],
            reauthenticate,
        ),
        case("deregistration::the_operator_ends_one_contact", &["S-DRG-100"], one_contact),
        case("identity::a_usim_registers_with_its_imsi", &["G-ID-010"], from_imsi),
        case("identity::one_of_the_set_registers_all", &["G-ID-020"], implicit_set),
        case("identity::forms_of_an_identity_are_one", &["G-ID-030"], canonical),
    ]
}

fn alice() -> Hand {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    hand.impu = impu();
    hand.registered(NO, YES);
    hand
}

fn impu() -> String {
    format!("sip:+15550100001@{DOMAIN};user=phone")
}

fn unknown() {
    let mut hand = alice();
    let lines = hand.unchallenged(YES) + "Contact: <sip:a@10.0.0.9>;expires=0\n";
    assert_eq!(label(&hand.register(&lines)), "481 REGISTER");
    assert_eq!(bindings(&mut hand).len(), 1);
    // Nobody of that name is registered.
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    let lines = hand.unchallenged(YES) + "Contact: *\nExpires: 0\n";
    assert_eq!(label(&hand.register(&lines)), "481 REGISTER");
    // A flow that is not registered.
    let mut hand = alice();
    hand.outbound();
    let flow = "reg-id=7;+sip.instance=\"<urn:x:1>\";expires=0";
    let contact = hand.contact.replace("expires=3600", flow);
    let contact = contact.replace("sip:alice@", "sip:other@");
    let lines = hand.unchallenged(YES) + &contact;
    assert_eq!(label(&hand.register(&lines)), "481 REGISTER");
}

fn unprotected() {
    for flag in [NO, None] {
        let mut hand = alice();
        let away = hand.contact.replace("3600", "0");
        let lines = hand.unchallenged(flag) + &away;
        let challenged = hand.register(&lines);
        assert_eq!(label(&challenged), "401 REGISTER");
        let wrong = hand.wrong(&challenged, YES) + &away;
        assert_eq!(label(&hand.register(&wrong)), "403 REGISTER");
        assert_eq!(bindings(&mut hand).len(), 1, "only after success");
        let challenged = hand.register(&lines);
        let proof = hand.proof(&challenged, YES) + &away;
        assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
        // USER_DEREGISTRATION: nothing is left.
        assert_eq!(assignments(&hand).last(), Some(&5));
    }
}

fn server_change() {
    let mut hand = alice();
    let mut watcher = watch(&mut hand, &impu(), 3600);
    rtr(&mut hand, DeregistrationReason::ServerChange);
    let told = watcher.notified(&mut hand);
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(told.state(), "terminated;reason=deactivated");
    let contacts = registrations(&told.text).into_iter().flat_map(|it| it.2);
    assert!(contacts.into_iter().all(|(state, event, _)| {
        (state.as_str(), event.as_str()) == ("terminated", "deactivated")
    }));

    // The emulated UE comes back by itself with an initial registration.
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    bench.run_for(A_MOMENT);
    let first = call_ids(&bench);
    bench.mark();
    demand(&mut bench, DeregistrationReason::ServerChange);
    bench.play("alice is registered");
    let again = call_ids(&bench);
    assert!(again.iter().all(|call_id| !first.contains(call_id)), "a new Call-ID: {again:?}");
    assert_eq!(bench.received("alice").iter().filter(|it| it.label() == "401 REGISTER").count(), 1);
}

fn call_ids(bench: &Bench) -> Vec<String> {
    let sent = bench.sent("alice");
    sent.iter().filter(|it| it.label() == "REGISTER").map(|it| it.header("Call-ID")).collect()
}

/// The HSS ends alice's registration.
fn demand(bench: &mut Bench, reason: DeregistrationReason) {
    super::cx::order_hss(
        bench,
        cscf_core::hss::HssCommand::Deregister {
            impi: format!("001010000000001@{DOMAIN}"),
            impus: Vec::new(),
            reason,
            info: String::new(),
        },
    );
}

fn new_server() {
    let mut hand = alice();
    let mut watcher = watch(&mut hand, &impu(), 3600);
    hand.bench.mark();
    rtr(&mut hand, DeregistrationReason::NewServerAssigned);
    assert_eq!(watcher.notified(&mut hand).len(), 0);
    let answers = asked(&hand.bench, "s1", "RTA");
    assert_eq!(answers.iter().map(result_of).collect::<Vec<_>>(), [2001]);
    let lines = hand.unchallenged(YES);
    assert_eq!(label(&hand.register(&lines)), "500 REGISTER", "its data are gone");
}

fn order(bench: &mut Bench, command: Command) {
    let done =
        bench.stage.lab.with("s1", |node: &mut CxNode<Scscf>, now| node.command(now, command));
    done.expect("s1");
}

fn reauthenticate() {
    let within = Duration::from_secs(600);
    let impi = format!("001010000000001@{DOMAIN}");
    let command = || Command::Reauthenticate { impi: impi.clone(), within };
    let mut hand = alice();
    let mut watcher = watch(&mut hand, &impu(), 3600);
    order(&mut hand.bench, command());
    let told = watcher.notified(&mut hand);
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert!(told.state().starts_with("active"));
    assert!(told.text.contains("state=\"active\" event=\"shortened\" expires=\"600\""));
    // The next REGISTER is challenged, though protected.
    let again = hand.unchallenged(YES);
    assert_eq!(label(&hand.register(&again)), "401 REGISTER");

    // Nobody registers: it ends at the shortened time.
    let mut hand = alice();
    let mut watcher = watch(&mut hand, &impu(), 3600);
    order(&mut hand.bench, command());
    watcher.notified(&mut hand);
    let (_, told) = watcher.listen(&mut hand, within - Duration::from_secs(10));
    assert_eq!(told.len(), 0);
    let (_, told) = watcher.listen(&mut hand, Duration::from_secs(12));
    assert!(told.iter().any(|it| it.text.contains("event=\"expired\"")), "{told:?}");

    // The emulated UE registers in time and is challenged.
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    bench.run_for(A_MOMENT);
    bench.mark();
    let start = bench.now();
    order(&mut bench, command());
    bench.run_for(within);
    let labels: Vec<String> = bench.received("alice").iter().map(|it| it.label()).collect();
    assert!(labels.contains(&"401 REGISTER".to_owned()), "{labels:?}");
    assert!(labels.contains(&"200 REGISTER".to_owned()), "{labels:?}");
    let register = bench.sent("alice").into_iter().find(|it| it.label() == "REGISTER");
    assert!(register.expect("a REGISTER").at < start + within);
}

fn one_contact() {
    for event in [ContactEvent::Rejected, ContactEvent::Deactivated, ContactEvent::Probation] {
        let mut hand = alice();
        hand.outbound();
        let flow = "Contact: <sip:a@10.0.0.9>;reg-id=2;+sip.instance=\"<urn:x:1>\";expires=900\n";
        let lines = hand.unchallenged(YES) + flow;
        assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
        let mut watcher = watch(&mut hand, &impu(), 3600);
        order(
            &mut hand.bench,
            Command::Deregister {
                impi: hand.who.impi.clone(),
                contact: Some("sip:a@10.0.0.9".to_owned()),
                event,
            },
        );
        let told = watcher.notified(&mut hand);
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert!(told.state().starts_with("active"));
        let list = registrations(&told.text);
        assert!(list.iter().all(|(_, state, _)| state == "active"));
        let gone: Vec<_> = list[0].2.iter().filter(|(state, ..)| state == "terminated").collect();
        let [(_, said, uri)] = gone.as_slice() else { panic!("{gone:?}") };
        assert_eq!((said.as_str(), uri.as_str()), (event.as_str(), "sip:a@10.0.0.9"));
        if event == ContactEvent::Probation {
            assert!(told.text.contains("retry-after=\"60\""), "{}", told.text);
        }
        assert_eq!(bindings(&mut hand).len(), 1);
    }
}

fn from_imsi() {
    for (mnc, domain) in
        [("01", "ims.mnc001.mcc001.3gppnetwork.org"), ("015", "ims.mnc015.mcc001.3gppnetwork.org")]
    {
        let change = |lab: &mut Lab| {
            let [p, i, s, hss] = ["p1", "i1", "s1", "hss"]
                .map(|name| lab.node_named(name).expect("a node").listen.ip());
            *lab = Lab::for_plmn("001", mnc, [p, i, s, hss]);
        };
        let source = "scenario: none\nparties:\n  alice: {}\n  bob: {}\nsteps: []\n";
        let mut bench = Bench::with_lab(source, 1, change);
        let impi = bench.config.subscriber("alice").expect("alice").impi.clone();
        let (imsi, host) = impi.split_once('@').expect("user and realm");
        assert_eq!((imsi.len(), host), (15, domain));
        assert!(imsi.starts_with(&format!("001{mnc}")));
        bench.register(&["alice", "bob"]);
        let sent = bench.sent("alice");
        let register = sent.iter().find(|it| it.label() == "REGISTER").expect("a REGISTER");
        assert_eq!(register.request().request_uri, format!("sip:{domain}"));
        assert_eq!(register.header("To"), format!("<sip:{imsi}@{domain}>"));
        let authorization = register.header("Authorization");
        assert!(authorization.contains(&format!("username=\"{impi}\"")), "{authorization}");
        assert!(authorization.contains(&format!("realm=\"{domain}\"")), "{authorization}");
        let heard = bench.received("alice");
        let ok = heard.iter().find(|it| it.label() == "200 REGISTER").expect("a 200");
        let associated = ok.header("P-Associated-URI");
        assert!(!associated.contains(imsi) && associated.contains("tel:"), "{associated}");
        // It can neither be called nor asserted.
        bench.mark();
        bench.play(&format!("bob sends message \"x\" to sip:{imsi}@{domain}\nwait 5s"));
        let labels: Vec<String> = bench.received("bob").iter().map(|it| it.label()).collect();
        assert!(labels.contains(&"404 MESSAGE".to_owned()), "{labels:?}");
        assert!(bench.received("alice").iter().all(|it| it.label() != "MESSAGE"));
    }
    // A request that prefers it is asserted to be by the default identity.
    let mut hand = Hand::ue(Bench::new(&[]), "alice");
    hand.registered(None, None);
    let (at, to, imsi) = (hand.at, hand.to, hand.impu.clone());
    let text = format!(
        "MESSAGE sip:bob@{DOMAIN} SIP/2.0\n\
         Via: SIP/2.0/UDP {at};branch=z9hG4bK-imsi\n\
         Max-Forwards: 70\n\
         Route: <sip:{to};lr>\n\
         From: <{imsi}>;tag=i\n\
         To: <sip:bob@{DOMAIN}>\n\
         Call-ID: i\n\
         CSeq: 1 MESSAGE\n\
         P-Preferred-Identity: <{imsi}>\n\
         Content-Length: 0\n"
    );
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    let sent = hand.bench.sent("p1");
    let message = sent.iter().find(|it| it.label() == "MESSAGE").expect("a MESSAGE");
    assert!(message.header("P-Asserted-Identity").starts_with(&format!("<{}>", impu())));
}

/// The identities of alice that others see.
fn open() -> [String; 3] {
    [impu(), "tel:+15550100001".to_owned(), format!("sip:alice@{DOMAIN}")]
}

fn implicit_set() {
    let all = open().into_iter().chain([format!("sip:001010000000001@{DOMAIN}")]);
    for with in all {
        let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
        hand.impu.clone_from(&with);
        let edge = hand.bench.raw("edge");
        hand.lines = format!("Path: <sip:tok@{edge};lr>\nRequire: path\n");
        let ok = hand.registered(NO, YES);
        assert_eq!(
            values(&ok, HeaderName::PAssociatedUri),
            open().map(|uri| format!("<{uri}>")),
            "registered with {with}"
        );
        // Every alias leads to the same contact.
        for to in open() {
            super::scscf_register::message_to(&mut hand, &to);
            let heard = hand.bench.heard("edge");
            let came = heard
                .iter()
                .filter(|it| label(it) == "MESSAGE" && header(it, "To") == format!("<{to}>"));
            let came: Vec<_> = came.collect();
            let Some(cscf_core::sip::Message::Request(request)) = came.first() else {
                panic!("{to} with {with}: {:?}", heard.iter().map(label).collect::<Vec<_>>())
            };
            assert_eq!(request.request_uri, format!("sip:alice@{}", hand.at));
            let answer = super::hand::response(came[0], "200 OK", "");
            let s1 = hand.to;
            hand.bench.send("edge", s1, &answer);
            hand.bench.run_for(A_MOMENT);
        }
    }
}

fn canonical() {
    let upper = DOMAIN.to_uppercase();
    for (form, found) in [
        (format!("sip:alice@{upper}:5060;transport=udp"), true),
        (format!("sip:%61lice@{DOMAIN}"), true),
        ("tel:+1-555-010-0001".to_owned(), true),
        ("tel:+1.555.(010).0001".to_owned(), true),
        (format!("sip:+15550100001@{DOMAIN};user=phone"), true),
        (format!("sip:+1-555-0100001@{DOMAIN};user=phone"), true),
        // The user part has its case.
        (format!("sip:Alice@{DOMAIN}"), false),
    ] {
        let mut bench = Bench::new(&["alice", "bob"]);
        bench.register(&["alice", "bob"]);
        bench.mark();
        bench.play(&format!("bob sends message \"x\" to \"{form}\"\nwait 5s"));
        let came = bench.received("alice").iter().any(|it| it.label() == "MESSAGE");
        let labels: Vec<String> = bench.received("bob").iter().map(|it| it.label()).collect();
        assert_eq!(came, found, "{form}: {labels:?}");
        assert_eq!(labels.contains(&"404 MESSAGE".to_owned()), !found, "{form}: {labels:?}");
    }
    // Headers have no place in a Request-URI; where they may stand they do not count.
    let mut hand = alice();
    let asserted = format!("sip:alice@{upper}:5060;transport=udp?Subject=x");
    let lines = "Event: reg\nExpires: 3600\n";
    let (ok, _, _) = subscribe(&mut hand, "form", (&impu(), &asserted), lines);
    assert_eq!(label(&ok), "200 SUBSCRIBE");
}
