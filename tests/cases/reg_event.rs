//! The reg event at the S-CSCF, TS 24.229 §5.4.2, and what the end of a registration makes of it.

use cscf_core::auth::IntegrityProtected;
use cscf_core::cx::DeregistrationReason;
use cscf_core::engine::CxNode;
use cscf_core::hss::{HssCommand, HssInput, HssNode};
use cscf_core::registrar::ContactEvent;
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use s_cscf::{Command, Scscf};

use super::cx::{provision, subscriber_of};
use super::hand::{A_MOMENT, Hand, response, values};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("reg_event::the_user_subscribes", &["S-NOT-010"], accepted),
        case(
            "reg_event::user_p_cscf_and_as_may_subscribe",
            &["S-NOT-020a", "S-NOT-020b", "S-NOT-020c", "S-NOT-020d"],
            subscribers,
        ),
        case("reg_event::the_full_state_is_told_at_once", &["S-NOT-030"], full_state),
        case("reg_event::each_change_is_told", &["S-NOT-040"], changes),
        case(
            "reg_event::other_events_and_short_times_are_refused",
            &["S-NOT-060", "RC-423b", "RC-489a"],
            refused,
        ),
        case("reg_event::zero_ends_it_with_a_last_word", &["S-NOT-070"], unsubscribe),
        case("reg_event::a_refused_notify_ends_it", &["S-NOT-080"], failed_notify),
        case("reg_event::who_is_not_registered_cannot_be_watched", &["S-NOT-090"], not_registered),
        case("reg_event::with_the_last_contact_it_ends", &["S-NOT-100"], last_contact),
    ]
}

/// A subscriber by hand, in the place of i1.
pub(crate) struct Watcher {
    /// The 200 to its SUBSCRIBE.
    pub(crate) ok: Option<Message>,
    /// Its own tag and Call-ID.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) at: String,
    cseq: u32,
    /// What it answers NOTIFYs.
    pub(crate) answers: &'static str,
}

/// A NOTIFY.
#[derive(Debug)]
pub(crate) struct Notified {
    /// The request.
    pub(crate) request: Message,
    /// Its body.
    pub(crate) text: String,
}

impl Notified {
    /// The value of Subscription-State.
    pub(crate) fn state(&self) -> String {
        header(&self.request, "Subscription-State")
    }

    /// The number of the document.
    pub(crate) fn version(&self) -> u32 {
        let (_, rest) = self.text.split_once("<reginfo ").expect("reginfo");
        let (_, rest) = rest.split_once("version=\"").expect("a version");
        rest.split('"').next().expect("a number").parse().expect("a number")
    }
}

/// The text of a SUBSCRIBE for an identity, asserted to be by `asserted`.
pub(crate) fn subscribe_text(
    hand: &mut Hand,
    name: &str,
    (uri, asserted): (&str, &str),
    lines: &str,
) -> String {
    let (at, to) = (hand.at, hand.to);
    format!(
        "SUBSCRIBE {uri} SIP/2.0\n\
         Via: SIP/2.0/UDP {at};branch=z9hG4bK-{name}-1\n\
         Route: <sip:{to};lr>\n\
         Record-Route: <sip:{at};lr>\n\
         Max-Forwards: 70\n\
         From: <{uri}>;tag={name}\n\
         To: <{uri}>\n\
         Call-ID: {name}\n\
         CSeq: 1 SUBSCRIBE\n\
         Contact: <sip:{name}@{at}>\n\
         P-Asserted-Identity: <{asserted}>\n\
         P-Charging-Vector: icid-value=\"{name}\";orig-ioi=\"Type 1visited.example\"\n\
         {lines}\
         Content-Length: 0\n"
    )
}

/// Sends a SUBSCRIBE and takes its final response; NOTIFYs are answered.
pub(crate) fn subscribe(
    hand: &mut Hand,
    name: &str,
    who: (&str, &str),
    lines: &str,
) -> (Message, Vec<Notified>, Watcher) {
    let text = subscribe_text(hand, name, who, lines);
    hand.send(&text);
    let mut watcher = Watcher {
        ok: None,
        name: name.to_owned(),
        at: hand.at.to_string(),
        cseq: 1,
        answers: "200 OK",
    };
    let (responses, told) = watcher.listen(hand, A_MOMENT);
    let answer = responses.into_iter().next_back().expect("a final response");
    watcher.ok = Some(answer.clone());
    (answer, told, watcher)
}

/// Alice's own subscription, its first NOTIFY answered.
pub(crate) fn watch(hand: &mut Hand, uri: &str, expires: u32) -> Watcher {
    let lines = format!("Event: reg\nAccept: application/reginfo+xml\nExpires: {expires}\n");
    let (ok, told, watcher) = subscribe(hand, "watcher", (uri, uri), &lines);
    assert_eq!((label(&ok).as_str(), told.len()), ("200 SUBSCRIBE", 1));
    watcher
}

impl Watcher {
    /// Lets time pass in small steps, answers NOTIFYs, and gives final responses and NOTIFYs.
    pub(crate) fn listen(
        &mut self,
        hand: &mut Hand,
        time: Duration,
    ) -> (Vec<Message>, Vec<Notified>) {
        let end = hand.bench.now() + time;
        let (mut responses, mut told) = (Vec::new(), Vec::new());
        loop {
            for message in hand.bench.heard(hand.peer) {
                match &message {
                    Message::Response(response) if response.status >= 200 => {
                        responses.push(message);
                    }
                    Message::Request(request) if label(&message) == "NOTIFY" => {
                        let text = String::from_utf8_lossy(&request.body).into_owned();
                        self.answer(hand, &message);
                        told.push(Notified { request: message, text });
                    }
                    _ => {}
                }
            }
            if hand.bench.now() >= end {
                return (responses, told);
            }
            hand.bench.run_for(Duration::from_millis(50));
        }
    }

    fn answer(&self, hand: &mut Hand, request: &Message) {
        if self.answers.is_empty() {
            return;
        }
        hand.send(&response(request, self.answers, ""));
    }

    /// The NOTIFYs of the next moment, answered.
    pub(crate) fn notified(&mut self, hand: &mut Hand) -> Vec<Notified> {
        self.listen(hand, A_MOMENT).1
    }

    /// Sends a SUBSCRIBE in the dialog.
    pub(crate) fn refresh(&mut self, hand: &mut Hand, lines: &str) -> (Message, Vec<Notified>) {
        self.cseq += 1;
        let Self { name, at, cseq, .. } = self;
        let ok = self.ok.as_ref().expect("a 200");
        let (from, to) = (header(ok, "From"), header(ok, "To"));
        let target = values(ok, HeaderName::Contact)[0].trim_matches(['<', '>']).to_owned();
        let text = format!(
            "SUBSCRIBE {target} SIP/2.0\n\
             Via: SIP/2.0/UDP {at};branch=z9hG4bK-{name}-{cseq}\n\
             Max-Forwards: 70\n\
             From: {from}\n\
             To: {to}\n\
             Call-ID: {name}\n\
             CSeq: {cseq} SUBSCRIBE\n\
             Contact: <sip:{name}@{at}>\n\
             {lines}\
             Content-Length: 0\n"
        );
        hand.send(&text);
        let (responses, told) = self.listen(hand, A_MOMENT);
        (responses.into_iter().next_back().expect("a final response"), told)
    }
}

fn alice() -> Hand {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    hand.registered(NO, YES);
    hand
}

fn impu() -> String {
    format!("sip:+15550100001@{DOMAIN};user=phone")
}

const REG: &str = "Event: reg\nAccept: application/reginfo+xml\n";

fn accepted() {
    let mut hand = alice();
    let uri = impu();
    let lines = format!("{REG}Expires: 600000\n");
    let (ok, told, mut watcher) = subscribe(&mut hand, "ue", (&uri, &uri), &lines);
    assert_eq!(label(&ok), "200 SUBSCRIBE");
    let granted: u32 = header(&ok, "Expires").parse().expect("a number");
    assert!(granted > 0 && granted <= 600_000);
    let contact = &values(&ok, HeaderName::Contact)[0];
    assert!(contact.contains(&hand.to.to_string()), "{contact}");
    assert_eq!(header(&ok, "Record-Route"), format!("<sip:{};lr>", hand.at));
    // The dialog: the NOTIFY is of it, and it can be refreshed.
    assert_eq!(header(&told[0].request, "From"), header(&ok, "To"));
    assert_eq!(header(&told[0].request, "To"), header(&ok, "From"));
    let (again, told) = watcher.refresh(&mut hand, &lines);
    assert_eq!((label(&again).as_str(), told.len()), ("200 SUBSCRIBE", 1));
}

/// A user `erin` with an application server in her profile.
fn erin(bench: &mut Bench) -> User {
    let impu = format!("sip:erin@{DOMAIN}");
    let xml = format!(
        "<IMSSubscription><PrivateID>erin@{DOMAIN}</PrivateID><ServiceProfile>\
         <PublicIdentity><Identity>{impu}</Identity></PublicIdentity>\
         <InitialFilterCriteria><Priority>1</Priority><ApplicationServer>\
         <ServerName>sip:as1.{DOMAIN}:5070</ServerName></ApplicationServer>\
         </InitialFilterCriteria></ServiceProfile></IMSSubscription>"
    );
    let mut user = subscriber_of("erin", &[(&impu, false)]);
    user.implicit_sets[0].profile_xml = Some(xml);
    provision(bench, user);
    User { impi: format!("erin@{DOMAIN}"), impu }
}

/// Who a user provisioned by a test is.
struct User {
    impi: String,
    impu: String,
}

fn with_erin() -> Hand {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "carol");
    let erin = erin(&mut hand.bench);
    (hand.who.impi, hand.impu) = (erin.impi, erin.impu);
    let trusted = hand.trusted();
    assert_eq!(label(&hand.register(&trusted)), "200 REGISTER");
    hand
}

fn subscribers() {
    let lines = format!("{REG}Expires: 3600\n");
    let edge = |hand: &Hand| format!("sip:{}", hand.bench.addr("p1"));
    // (a) Any identity of the set, (b) the P-CSCF of the Path, (c) the AS of the profile.
    let mut hand = alice();
    for (name, asserted) in [
        ("a1", impu()),
        ("a2", format!("sip:alice@{DOMAIN}")),
        ("a3", "tel:+15550100001".to_owned()),
        ("b", edge(&hand)),
    ] {
        let (ok, told, _) = subscribe(&mut hand, name, (&impu(), &asserted), &lines);
        assert_eq!((label(&ok).as_str(), told.len()), ("200 SUBSCRIBE", 1), "{asserted}");
    }
    let mut hand = with_erin();
    let (uri, server) = (hand.impu.clone(), format!("sip:as1.{DOMAIN}:5070"));
    let (ok, told, _) = subscribe(&mut hand, "c", (&uri, &server), &lines);
    assert_eq!((label(&ok).as_str(), told.len()), ("200 SUBSCRIBE", 1));

    // (d) Anybody else: another user, another server, nobody.
    let mut hand = alice();
    for (name, asserted) in [
        ("d1", format!("sip:bob@{DOMAIN}")),
        ("d2", server),
        ("d3", "sip:10.9.9.9:5060".to_owned()),
    ] {
        let (refused, told, _) = subscribe(&mut hand, name, (&impu(), &asserted), &lines);
        assert_eq!((label(&refused).as_str(), told.len()), ("403 SUBSCRIBE", 0), "{asserted}");
    }
    let text = subscribe_text(&mut hand, "d4", (&impu(), "sip:x"), &lines);
    let text = text.replace("P-Asserted-Identity: <sip:x>\n", "");
    assert_eq!(label(&hand.ask(&text)), "403 SUBSCRIBE");
}

/// State, event and address of a contact.
type Contact = (String, String, String);

/// The registrations of a document: address, state and contacts.
pub(crate) fn registrations(text: &str) -> Vec<(String, String, Vec<Contact>)> {
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{name}"));
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    let parts = text.split("<registration ").skip(1);
    parts
        .map(|part| {
            let tag = format!(" {}", part.split('>').next().unwrap_or_default());
            let contacts = part.split("<contact ").skip(1).map(|contact| {
                let tag = format!(" {}", contact.split('>').next().unwrap_or_default());
                assert!(!attribute(&tag, "id").is_empty());
                let (_, uri) = contact.split_once("<uri>").expect("a uri");
                let uri = uri.split("</uri>").next().unwrap_or_default().to_owned();
                (attribute(&tag, "state"), attribute(&tag, "event"), uri)
            });
            assert!(!attribute(&tag, "id").is_empty());
            (attribute(&tag, "aor"), attribute(&tag, "state"), contacts.collect())
        })
        .collect()
}

fn full_state() {
    // Alice registers explicitly one that others see, so that it is told apart.
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    hand.impu = impu();
    hand.registered(NO, YES);
    let lines = format!("{REG}Expires: 3600\n");
    let (_, told, mut watcher) = subscribe(&mut hand, "ue", (&impu(), &impu()), &lines);
    let (_, again) = watcher.refresh(&mut hand, &lines);
    for (version, told) in [(0, &told), (1, &again)] {
        let [told] = told.as_slice() else { panic!("one NOTIFY, at once") };
        assert_eq!(header(&told.request, "Event"), "reg");
        assert_eq!(header(&told.request, "Content-Type"), "application/reginfo+xml");
        let state = told.state();
        let left = state.strip_prefix("active;expires=").expect("active");
        assert!(left.parse::<u32>().is_ok_and(|left| (3590..=3600).contains(&left)));
        assert_eq!(told.version(), version);
        assert!(told.text.contains("state=\"full\""));
        let contact = |event: &str| {
            vec![("active".to_owned(), event.to_owned(), format!("sip:alice@{}", hand.at))]
        };
        let active = |aor: &str, event: &str| (aor.to_owned(), "active".to_owned(), contact(event));
        assert_eq!(
            registrations(&told.text),
            [
                active(&impu(), "registered"),
                active("tel:+15550100001", "created"),
                active(&format!("sip:alice@{DOMAIN}"), "created"),
            ]
        );
    }
}

/// Gives s1 an order.
fn order(hand: &mut Hand, command: Command) {
    let done = hand.bench.stage.lab.with("s1", |node: &mut CxNode<Scscf>, now| {
        node.command(now, command);
    });
    done.expect("s1");
}

/// The events of all contacts in a NOTIFY.
fn events(told: &Notified) -> Vec<String> {
    let all = registrations(&told.text).into_iter().flat_map(|(_, _, contacts)| contacts);
    let mut events: Vec<String> = all.map(|(_, event, _)| event).collect();
    events.sort();
    events.dedup();
    events
}

/// An event and what brings it about.
type Ending<'a> = (&'a str, &'a dyn Fn(&mut Hand));

fn changes() {
    let deregister = |event| Command::Deregister {
        impi: format!("001010000000001@{DOMAIN}"),
        contact: None,
        event,
    };
    let endings: [Ending<'_>; 5] = [
        ("unregistered", &|hand: &mut Hand| {
            let lines = hand.unchallenged(YES) + &hand.contact.replace("3600", "0");
            let text = hand.next(&lines);
            hand.send(&text);
        }),
        ("rejected", &|hand: &mut Hand| order(hand, deregister(ContactEvent::Rejected))),
        ("deactivated", &|hand: &mut Hand| order(hand, deregister(ContactEvent::Deactivated))),
        ("probation", &|hand: &mut Hand| order(hand, deregister(ContactEvent::Probation))),
        ("expired", &|hand: &mut Hand| {
            let end = hand.bench.now() + Duration::from_secs(3600);
            while hand.bench.sent("s1").last().is_none_or(|told| told.label() != "NOTIFY")
                && hand.bench.now() < end
            {
                hand.bench.run_for(Duration::from_millis(500));
            }
        }),
    ];
    for (event, end) in endings {
        let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
        hand.impu = impu();
        hand.registered(NO, YES);
        let mut watcher = watch(&mut hand, &impu(), 600_000);
        let mut version = 0;
        // A refresh, a second contact with a flow of its own, a shortened time.
        let again = hand.unchallenged(YES);
        let refresh: &dyn Fn(&mut Hand) = &|hand: &mut Hand| {
            let text = hand.next(&again);
            hand.send(&text);
        };
        let shorten: &dyn Fn(&mut Hand) = &|hand: &mut Hand| {
            order(
                hand,
                Command::Reauthenticate {
                    impi: format!("001010000000001@{DOMAIN}"),
                    within: Duration::from_secs(600),
                },
            );
        };
        for (wanted, act) in [("refreshed", refresh), ("shortened", shorten), (event, end)] {
            hand.bench.mark();
            act(&mut hand);
            let (_, told) = watcher.listen(&mut hand, Duration::from_secs(1));
            let [told] = told.as_slice() else { panic!("{wanted}: {told:?}") };
            assert_eq!(events(told), [wanted]);
            assert!(told.version() > version);
            if wanted == "probation" {
                assert_eq!(told.state(), "terminated;reason=probation;retry-after=60");
            }
            version = told.version();
        }
    }
    new_contact();
}

/// A new contact, with a flow of its own.
fn new_contact() {
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    hand.impu = impu();
    hand.registered(NO, YES);
    let mut watcher = watch(&mut hand, &impu(), 600_000);
    hand.outbound();
    let flow = "Contact: <sip:alice@10.0.0.9>;reg-id=2;+sip.instance=\"<urn:x:1>\";expires=600\n";
    let lines = hand.unchallenged(YES) + flow;
    let text = hand.next(&lines);
    hand.send(&text);
    let (_, told) = watcher.listen(&mut hand, Duration::from_secs(1));
    let [told] = told.as_slice() else { panic!("{told:?}") };
    let first = &registrations(&told.text)[0].2;
    assert_eq!((first.len(), first[1].1.as_str()), (2, "registered"));
    assert_eq!(registrations(&told.text)[1].2[1].1, "created");
}

fn refused() {
    let mut hand = alice();
    let me = format!("sip:{}", hand.to);
    let other = "Event: foo\nExpires: 600\n";
    let (bad, told, _) = subscribe(&mut hand, "e", (&me, &impu()), other);
    assert_eq!((label(&bad).as_str(), told.len()), ("489 SUBSCRIBE", 0));
    assert_eq!(header(&bad, "Allow-Events"), "reg");

    let lines = format!("{REG}Expires: 10\n");
    let (brief, told, _) = subscribe(&mut hand, "b", (&impu(), &impu()), &lines);
    assert_eq!((label(&brief).as_str(), told.len()), ("423 SUBSCRIBE", 0));
    assert_eq!(header(&brief, "Min-Expires"), "60");

    // An hour is enough even where the minimum is more.
    let bench = Bench::with_lab("scenario: none\nsteps: []\n", 1, |lab| {
        lab.registration.expires_min = Duration::from_secs(3600);
    });
    let mut hand = Hand::at_scscf(bench, "alice");
    hand.registered(NO, YES);
    for (name, expires, expected) in [("s", 3599, "423 SUBSCRIBE"), ("h", 3600, "200 SUBSCRIBE")] {
        let lines = format!("{REG}Expires: {expires}\n");
        let (answer, _, _) = subscribe(&mut hand, name, (&impu(), &impu()), &lines);
        assert_eq!(label(&answer), expected);
    }
}

fn unsubscribe() {
    let mut hand = alice();
    let mut watcher = watch(&mut hand, &impu(), 3600);
    let (ok, told) = watcher.refresh(&mut hand, &format!("{REG}Expires: 0\n"));
    let fetch = format!("{REG}Expires: 0\n");
    let (fetched, once, _) = subscribe(&mut hand, "fetch", (&impu(), &impu()), &fetch);
    for (ok, told) in [(&ok, &told), (&fetched, &once)] {
        assert_eq!(label(ok), "200 SUBSCRIBE");
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(told.state(), "terminated;reason=timeout");
        assert!(told.text.contains("state=\"full\""));
        assert_eq!(registrations(&told.text).len(), 3);
        assert_eq!(events(told), ["created"], "all contacts are still there");
    }
    // It is over: a change is told to nobody.
    let again = hand.unchallenged(YES);
    hand.register(&again);
    assert_eq!(watcher.notified(&mut hand).len(), 0);
}

fn failed_notify() {
    let codes = [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604];
    let answers: Vec<String> = codes.iter().map(|code| format!("{code} No")).collect();
    let answers = answers.iter().map(String::as_str).chain(["", "500 No", "200 OK"]);
    for answer in answers {
        let mut hand = alice();
        let mut watcher = watch(&mut hand, &impu(), 3600);
        watcher.answers = Box::leak(answer.to_owned().into_boxed_str());
        let again = hand.unchallenged(YES);
        hand.register(&again);
        let (_, told) = watcher.listen(&mut hand, Duration::from_secs(40));
        assert!(!told.is_empty() || answer.is_empty(), "{answer}: one NOTIFY");
        watcher.answers = "200 OK";
        let again = hand.unchallenged(YES);
        let text = hand.next(&again);
        hand.send(&text);
        let (_, told) = watcher.listen(&mut hand, Duration::from_secs(1));
        let goes_on = ["500 No", "200 OK"].contains(&answer);
        assert_eq!(!told.is_empty(), goes_on, "{answer}");
    }
}

fn not_registered() {
    let lines = format!("{REG}Expires: 3600\n");
    let mut hand = Hand::at_scscf(Bench::new(&[]), "alice");
    let (refused, told, _) = subscribe(&mut hand, "n", (&impu(), &impu()), &lines);
    let status = super::hand::status(&refused);
    assert!(matches!(status, 403 | 404) && told.is_empty(), "{status}");
    // Barred, though registered.
    hand.registered(NO, YES);
    let barred = hand.impu.clone();
    let (refused, told, _) = subscribe(&mut hand, "b", (&barred, &barred), &lines);
    let status = super::hand::status(&refused);
    assert!(matches!(status, 403 | 404) && told.is_empty(), "{status}");
    // Deregistered in between.
    let mut watcher = watch(&mut hand, &impu(), 3600);
    let lines = hand.unchallenged(YES) + &hand.contact.replace("3600", "0");
    let text = hand.next(&lines);
    hand.send(&text);
    let told = watcher.notified(&mut hand);
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert!(told.state().starts_with("terminated"));
    let (gone, told) = watcher.refresh(&mut hand, &format!("{REG}Expires: 3600\n"));
    assert_eq!((label(&gone).as_str(), told.len()), ("481 SUBSCRIBE", 0));
}

fn last_contact() {
    let ended = |hand: &mut Hand, watcher: &mut Watcher, reason: &str| {
        let told = watcher.notified(hand);
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(told.state(), format!("terminated;reason={reason}"));
        let list = registrations(&told.text);
        assert_eq!(list.len(), 3);
        assert!(list.iter().all(|(_, state, _)| state == "terminated"), "{}", told.text);
    };
    let mut hand = alice();
    let mut watcher = watch(&mut hand, &impu(), 3600);
    let lines = hand.unchallenged(YES) + &hand.contact.replace("3600", "0");
    let text = hand.next(&lines);
    hand.send(&text);
    ended(&mut hand, &mut watcher, "noresource");

    for (reason, told) in [
        (DeregistrationReason::PermanentTermination, "rejected"),
        (DeregistrationReason::ServerChange, "deactivated"),
    ] {
        let mut hand = alice();
        let mut watcher = watch(&mut hand, &impu(), 3600);
        rtr(&mut hand, reason);
        ended(&mut hand, &mut watcher, told);
    }
}

/// Lets the HSS end alice's registration; time passes only afterwards.
pub(crate) fn rtr(hand: &mut Hand, reason: DeregistrationReason) {
    let command = HssCommand::Deregister {
        impi: hand.who.impi.clone(),
        impus: Vec::new(),
        reason,
        info: "a test".to_owned(),
    };
    let done = hand.bench.stage.lab.with("hss", |hss: &mut HssNode, now| {
        hss.handle_input(now, HssInput::Command(command));
    });
    done.expect("an HSS");
}
