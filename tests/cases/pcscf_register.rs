//! REGISTER at the P-CSCF, TS 24.229 §5.2.2, §5.2.3: a UE by hand on one side, a home network by
//! hand on the other.

use cscf_core::auth::IntegrityProtected;
use cscf_core::config::{Lab, NodeConfig, NodeRole};
use cscf_core::sip::{HeaderName, Message, Request};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::hand::{A_MOMENT, Hand, credentials_of, response, values};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pcscf_register::path_names_the_flow", &["P-REG-010"], path),
        case("pcscf_register::path_must_be_understood_at_home", &["P-REG-020"], require_path),
        case("pcscf_register::the_visited_network_is_told", &["P-REG-030"], visited),
        case("pcscf_register::each_register_has_its_own_icid", &["P-REG-040"], charging),
        case("pcscf_register::a_clear_offer_is_not_protected", &["P-REG-050"], not_protected),
        case("pcscf_register::it_goes_home_unchanged", &["P-REG-080"], routing),
        case("pcscf_register::no_entry_point_is_504", &["P-REG-090", "RC-504a"], no_answer),
        case("pcscf_register::the_ue_sees_what_is_for_it", &["P-REG-320"], visible),
        case("pcscf_register::it_subscribes_to_the_reg_event", &["P-REG-330"], subscribes),
        case("pcscf_register::the_answer_goes_where_it_came_from", &["P-REG-360"], symmetric),
        case(
            "pcscf_register::digest_is_flagged_by_the_ip_association",
            &["P-REG-390a", "P-REG-390b", "P-REG-390c"],
            ip_association_flags,
        ),
        case(
            "pcscf_register::aka_without_security_agreement_is_the_labs_choice",
            &["P-REG-395a", "P-REG-395b", "P-REG-395c"],
            aka_in_the_clear,
        ),
        case("pcscf_register::address_and_via_stand_for_the_user", &["P-REG-400"], association),
    ]
}

/// A UE by hand, and the raw peer `home` in the place of i1.
pub(super) fn edge() -> Hand {
    let mut bench = Bench::new(&[]);
    bench.replace("i1", "home");
    let mut hand = Hand::ue(bench, "alice");
    hand.impu = format!("sip:alice@{DOMAIN}");
    hand
}

/// Sends a REGISTER and takes what arrives at home.
pub(super) fn forwarded(hand: &mut Hand, lines: &str) -> Message {
    let text = hand.next(lines);
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    last(hand, "REGISTER")
}

/// The last request of this method that home has heard.
pub(super) fn last(hand: &mut Hand, method: &str) -> Message {
    // Retransmissions of earlier ones may be among them.
    let number = |message: &Message| message.headers().cseq().map_or(0, |cseq| cseq.number);
    let heard = hand.bench.heard("home").into_iter().filter(|message| label(message) == method);
    heard.max_by_key(number).expect("it arrives")
}

/// Home answers.
pub(super) fn home_says(
    hand: &mut Hand,
    request: &Message,
    status: &str,
    lines: &str,
) -> Option<Message> {
    let to = hand.bench.addr("p1");
    hand.bench.send("home", to, &response(request, status, lines));
    hand.bench.run_for(A_MOMENT);
    hand.answered()
}

/// The lines of a 200 of the home network.
pub(super) fn ok_lines(hand: &Hand, routes: &[&str]) -> String {
    let contact = hand.contact.trim_end().to_owned();
    let routes: String = routes.iter().map(|it| format!("Service-Route: <{it};lr>\n")).collect();
    format!(
        "{contact}\n{routes}Path: <sip:x@{};lr>\n\
         P-Associated-URI: <sip:+15550100001@{DOMAIN};user=phone>, <tel:+15550100001>, \
         <sip:alice@{DOMAIN}>\n\
         P-Charging-Vector: icid-value=\"h1\";orig-ioi=\"Type 1x\";term-ioi=\"Type 1y\"\n\
         P-Charging-Function-Addresses: ccf=\"aaa://ccf\"\n\
         P-Visited-Network-ID: \"x\"\n\
         Security-Server: ipsec-3gpp;alg=hmac-sha-1-96\n",
        hand.to
    )
}

/// Registers the UE by hand; home is by hand too.
pub(super) fn register(hand: &mut Hand, routes: &[&str]) -> Message {
    let lines = hand.unchallenged(None);
    let request = forwarded(hand, &lines);
    let ok = ok_lines(hand, routes);
    let answer = home_says(hand, &request, "200 OK", &ok).expect("a 200");
    assert_eq!(label(&answer), "200 REGISTER");
    answer
}

/// A request of the UE other than REGISTER.
pub(super) fn request(hand: &mut Hand, method: &str, lines: &str) -> String {
    hand.cseq += 1;
    let Hand { at, cseq, impu, to, .. } = hand;
    format!(
        "{method} sip:bob@{DOMAIN} SIP/2.0\n\
         Via: SIP/2.0/UDP {at};branch=z9hG4bK-r{cseq};rport\n\
         Max-Forwards: 70\n\
         Route: <sip:{to};lr>, <sip:s@127.1.0.12:4060;lr>\n\
         From: <{impu}>;tag=r{cseq}\n\
         To: <sip:bob@{DOMAIN}>\n\
         Call-ID: r{cseq}\n\
         CSeq: 1 {method}\n\
         Contact: <sip:alice@{at}>\n\
         {lines}Content-Length: 0\n"
    )
}

/// The Service-Route that leads to `home`.
pub(super) fn to_home(hand: &Hand) -> String {
    format!("sip:s@{}", hand.bench.config.node_named("i1").expect("i1").listen)
}

pub(super) fn sends(hand: &mut Hand, method: &str, lines: &str) -> Message {
    let text = request(hand, method, lines);
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    last(hand, method)
}

fn path() {
    let mut hand = edge();
    let own = "Path: <sip:evil@10.6.6.6;lr>\n";
    let lines = hand.unchallenged(None) + own;
    let came = forwarded(&mut hand, &lines);
    let paths = values(&came, HeaderName::Path);
    let token = |path: &str, p1: &str| {
        let (token, rest) = path.strip_prefix("<sip:").expect("a URI").split_once('@').expect("@");
        assert_eq!(rest, format!("{p1};lr>"), "{path}");
        token.to_owned()
    };
    let p1 = hand.to.to_string();
    let first = token(&paths[0], &p1);
    assert_eq!(paths.len(), 1, "what the UE says is not trusted");
    // Another flow, another token; outbound shows.
    let other = hand.bench.raw("other");
    let text = hand.next(&lines).replace(&hand.at.to_string(), &other.to_string());
    hand.bench.send("other", hand.to, &text);
    hand.bench.run_for(A_MOMENT);
    let came = last(&mut hand, "REGISTER");
    assert_ne!(token(&values(&came, HeaderName::Path)[0], &p1), first);
    let third = hand.bench.raw("third");
    let flow = ";reg-id=1;+sip.instance=\"<urn:uuid:1>\";expires=600\n";
    let text = hand.next(&lines).replace(&hand.at.to_string(), &third.to_string());
    let text = text.replace(";expires=3600\n", flow);
    hand.bench.send("third", hand.to, &text);
    hand.bench.run_for(A_MOMENT);
    let came = last(&mut hand, "REGISTER");
    assert!(values(&came, HeaderName::Path)[0].ends_with(&format!("@{p1};lr;ob>")));
}

fn require_path() {
    for own in ["", "Require: path\n", "Require: foo\n"] {
        let mut hand = edge();
        let lines = hand.unchallenged(None) + own;
        let came = forwarded(&mut hand, &lines);
        let required = values(&came, HeaderName::Require);
        assert_eq!(required.iter().filter(|tag| *tag == "path").count(), 1, "{required:?}");
        let answer = home_says(&mut hand, &came, "420 Bad Extension", "Unsupported: path\n");
        let answer = answer.expect("a 420");
        assert_eq!(label(&answer), "420 REGISTER");
        assert_eq!(header(&answer, "Unsupported"), "path");
    }
}

fn visited() {
    let mut hand = edge();
    let lines = hand.unchallenged(None) + "P-Visited-Network-ID: \"forged\"\n";
    let came = forwarded(&mut hand, &lines);
    assert_eq!(values(&came, HeaderName::PVisitedNetworkId), [format!("\"{DOMAIN}\"")]);
    let ok = ok_lines(&hand, &["sip:s@h"]);
    assert!(ok.contains("P-Visited-Network-ID"));
    let answer = home_says(&mut hand, &came, "200 OK", &ok).expect("a 200");
    assert_eq!(header(&answer, "P-Visited-Network-ID"), "");
}

pub(super) fn icid(message: &Message) -> String {
    let vector = message.headers().charging_vector().expect("readable").expect("a vector");
    vector.icid().to_owned()
}

fn charging() {
    let mut hand = edge();
    let lines = hand.unchallenged(None) + "P-Charging-Vector: icid-value=\"mine\";term-ioi=x\n";
    let mut seen = Vec::new();
    for _ in 0..3 {
        let came = forwarded(&mut hand, &lines);
        let vector = header(&came, "P-Charging-Vector");
        assert!(vector.contains(&format!("orig-ioi=\"Type 1{DOMAIN}\"")), "{vector}");
        assert!(!vector.contains("term-ioi") && !vector.contains("mine"), "{vector}");
        seen.push(icid(&came));
        home_says(&mut hand, &came, "480 x", "");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

fn not_protected() {
    for forged in ["", ",integrity-protected=\"yes\"", ",integrity-protected=\"no\""] {
        let mut hand = edge();
        let first = hand.unchallenged(None).replace('\n', &format!("{forged}\n"));
        let offer = "Security-Client: ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1001;spi-s=1002;port-c=6501;\
                     port-s=6500\nRequire: sec-agree\nProxy-Require: sec-agree\n";
        let came = forwarded(&mut hand, &(first + offer));
        let sent = credentials_of(&format!("Authorization: {}", header(&came, "Authorization")));
        assert_eq!(sent.integrity_protected(), Some(IntegrityProtected::No));
        let text = header(&came, "Authorization");
        assert_eq!(text.matches("integrity-protected").count(), 1, "{text}");
    }
}

fn routing() {
    let mut hand = edge();
    let route = format!("Route: <sip:{};lr>, <sip:10.6.6.6;lr>\n", hand.to);
    let lines = hand.unchallenged(None) + &route;
    let text = hand.next(&lines);
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    let came = last(&mut hand, "REGISTER");
    let Message::Request(Request { request_uri, .. }) = &came else { panic!("a request") };
    assert_eq!(*request_uri, format!("sip:{DOMAIN}"));
    let sent = cscf_core::sip::parse(&cscf_tests::crlf(&text).into()).expect("SIP");
    for name in ["To", "From", "Contact"] {
        assert_eq!(header(&came, name), header(&sent, name));
    }
    assert_eq!(header(&came, "Route"), "");
}

fn no_answer() {
    let bench = Bench::with_lab("scenario: none\nsteps: []\n", 1, |lab: &mut Lab| {
        let i1 = lab.node(NodeRole::Icscf).expect("i1").clone();
        let mut listen = i1.listen;
        listen.set_port(4070);
        let advertise = (i1.advertise.0.clone(), 4070);
        lab.nodes.push(NodeConfig { name: "i2".to_owned(), listen, advertise, ..i1 });
    });
    let mut hand = Hand::ue(bench, "alice");
    hand.bench.replace("i1", "home");
    hand.bench.replace("i2", "other");
    let lines = hand.unchallenged(None);
    let text = hand.next(&lines);
    hand.send(&text);
    hand.bench.run_for(Duration::from_secs(40));
    for entry in ["home", "other"] {
        let heard = hand.bench.heard(entry);
        assert!(heard.iter().any(|message| label(message) == "REGISTER"), "{entry}");
    }
    let finals: Vec<String> = hand.bench.heard("ue").iter().map(label).collect();
    assert!(finals.contains(&"504 REGISTER".to_owned()), "{finals:?}");
    assert!(!finals.contains(&"408 REGISTER".to_owned()), "{finals:?}");
}

fn visible() {
    let mut hand = edge();
    let lines = hand.unchallenged(None);
    let came = forwarded(&mut hand, &lines);
    hand.contact = hand
        .contact
        .replace(";expires", ";pub-gruu=\"sip:alice@x;gr=1\";temp-gruu=\"sip:t@x;gr\";expires");
    let ok = ok_lines(&hand, &["sip:s@h", "sip:t@h"]);
    let sent = home_says(&mut hand, &came, "200 OK", &ok).expect("a 200");
    assert_eq!(format!("Contact: {}\n", header(&sent, "Contact")), hand.contact);
    assert_eq!(header(&sent, "Path"), format!("<sip:x@{};lr>", hand.to));
    assert_eq!(values(&sent, HeaderName::ServiceRoute), ["<sip:s@h;lr>", "<sip:t@h;lr>"]);
    assert_eq!(values(&sent, HeaderName::PAssociatedUri).len(), 3);
    assert!(header(&sent, "To").contains(";tag="));
    for name in [
        "P-Charging-Vector",
        "P-Charging-Function-Addresses",
        "P-Visited-Network-ID",
        "Security-Server",
    ] {
        assert!(ok.contains(name));
        assert_eq!(header(&sent, name), "", "{name}");
    }
}

fn subscribes() {
    let mut hand = edge();
    register(&mut hand, &["sip:s@h"]);
    let subscribe = last(&mut hand, "SUBSCRIBE");
    let default = format!("sip:+15550100001@{DOMAIN};user=phone");
    let Message::Request(Request { request_uri, .. }) = &subscribe else { panic!("a request") };
    assert_eq!(*request_uri, default);
    assert_eq!(header(&subscribe, "To"), format!("<{default}>"));
    let own = format!("<sip:{}>", hand.to);
    assert!(header(&subscribe, "From").starts_with(&own));
    assert_eq!(header(&subscribe, "P-Asserted-Identity"), own);
    assert_eq!(header(&subscribe, "Event"), "reg");
    assert_eq!(header(&subscribe, "Accept"), "application/reginfo+xml");
    // It went to the entry point of the home network, which knows the S-CSCF.
    assert_eq!(header(&subscribe, "Route"), "");
    let expires: u32 = header(&subscribe, "Expires").parse().expect("a number");
    assert!(expires > 3600);
    let granted = format!("Expires: {expires}\nContact: {}\n", to_home(&hand));
    let to = hand.bench.addr("p1");
    hand.bench.send("home", to, &response(&subscribe, "200 OK", &granted));
    let home = hand.bench.config.node_named("i1").expect("i1").listen;
    let notify = super::by_hand::reg_notify(home, &subscribe, (1, &default, "active"));
    hand.bench.send("home", to, &notify);
    // Nobody subscribes twice for the same registration; it is refreshed in time.
    let again = hand.unchallenged(None);
    let wait = Duration::from_secs(u64::from(expires) - 620);
    hand.bench.run_for(wait);
    let came = forwarded(&mut hand, &again);
    let ok = ok_lines(&hand, &["sip:s@h"]);
    home_says(&mut hand, &came, "200 OK", &ok);
    let none = hand.bench.heard("home").iter().filter(|it| label(it) == "SUBSCRIBE").count();
    assert_eq!(none, 0);
    hand.bench.run_for(Duration::from_secs(600));
    let refresh = last(&mut hand, "SUBSCRIBE");
    assert_eq!(header(&refresh, "Call-ID"), header(&subscribe, "Call-ID"));
    assert!(header(&refresh, "To").contains(";tag="));

    // Without an identity that others may see there is nothing to ask for.
    let mut hand = edge();
    let lines = hand.unchallenged(None);
    let came = forwarded(&mut hand, &lines);
    let ok = ok_lines(&hand, &["sip:s@h"]);
    let ok: String = ok
        .lines()
        .filter(|it| !it.starts_with("P-Associated-URI"))
        .map(|it| format!("{it}\n"))
        .collect();
    home_says(&mut hand, &came, "200 OK", &ok).expect("a 200");
    hand.bench.run_for(A_MOMENT);
    assert_eq!(hand.bench.heard("home").len(), 0);
}

fn symmetric() {
    let mut hand = edge();
    let lines = hand.unchallenged(None);
    let at = hand.at;
    let text = hand.next(&lines).replace(&format!("UDP {at};"), "UDP 192.168.1.2:5099;");
    assert!(text.contains("192.168.1.2"));
    hand.send(&text);
    hand.bench.run_for(A_MOMENT);
    let came = last(&mut hand, "REGISTER");
    let via = &values(&came, HeaderName::Via)[1];
    assert!(via.contains("192.168.1.2:5099"), "{via}");
    assert!(via.contains(&format!("received={}", at.ip())), "{via}");
    assert!(via.contains(&format!("rport={}", at.port())), "{via}");
    let answer = home_says(&mut hand, &came, "403 Forbidden", "");
    assert_eq!(label(&answer.expect("it comes back to the socket")), "403 REGISTER");
}

fn flag(message: &Message) -> Option<IntegrityProtected> {
    credentials_of(&format!("Authorization: {}", header(message, "Authorization")))
        .integrity_protected()
}

fn ip_association_flags() {
    let bench = Bench::new(&[]);
    let mut hand = Hand::ue(bench, "carol");
    // (a) first, (b) with a response, (c) with a response from where the user is registered.
    let first = hand.unchallenged(None);
    let challenged = hand.register(&first);
    let proof = hand.proof(&challenged, None);
    assert_eq!(label(&hand.register(&proof)), "200 REGISTER");
    let again = proof.replace("nc=00000001", "nc=00000002");
    hand.register(&again);
    let sent: Vec<Option<IntegrityProtected>> = hand
        .bench
        .sent("p1")
        .iter()
        .filter(|told| told.label() == "REGISTER")
        .map(|told| flag(&told.message))
        .collect();
    assert_eq!(
        sent,
        [None, Some(IntegrityProtected::IpAssocPending), Some(IntegrityProtected::IpAssocYes)]
    );
}

fn aka_in_the_clear() {
    for allowed in [true, false] {
        let bench = Bench::with_lab("scenario: none\nsteps: []\n", 1, |lab| {
            lab.aka_without_sec_agree = allowed;
        });
        let mut hand = Hand::ue(bench, "alice");
        // (a) What the UE claims is removed; the HSS knows the scheme.
        let first = hand.unchallenged(Some(IntegrityProtected::Yes));
        let challenged = hand.register(&first);
        let sent = |hand: &Hand| -> Vec<Option<IntegrityProtected>> {
            let all = hand.bench.sent("p1");
            let all = all.iter().filter(|told| told.label() == "REGISTER");
            all.map(|told| flag(&told.message)).collect()
        };
        assert_eq!(sent(&hand), [None]);
        assert_eq!(hand.asked("s1", "MAR").len(), 1);
        assert!(header(&challenged, "WWW-Authenticate").contains("algorithm=AKAv1-MD5"));
        // (b) The right answer registers, and the trace says by whose rule; (c) or it does not.
        let proof = hand.proof(&challenged, None);
        let answer = hand.register(&proof);
        assert_eq!(sent(&hand), [None, Some(IntegrityProtected::IpAssocPending)]);
        let notes = hand.bench.notes("s1");
        let ruled = |refusal: bool| {
            notes.iter().any(|note| {
                note.refusal == refusal && note.clause.to_string().contains("aka_without_sec_agree")
            })
        };
        assert_eq!(label(&answer), if allowed { "200 REGISTER" } else { "403 REGISTER" });
        assert_eq!((ruled(false), ruled(true)), (allowed, !allowed));
        // A wrong answer never registers.
        let mut hand = Hand::ue(Bench::new(&[]), "alice");
        let first = hand.unchallenged(None);
        let challenged = hand.register(&first);
        let wrong = hand.wrong(&challenged, None);
        assert_eq!(label(&hand.register(&wrong)), "403 REGISTER");
        // With integrity-protected="no" the right one is challenged anew.
        let offer = "Security-Client: ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1001;spi-s=1002;\
                     port-c=6501;port-s=6500\n";
        let first = hand.unchallenged(None) + offer;
        let challenged = hand.register(&first);
        let proof = hand.proof(&challenged, None) + &offer.replace("6501", "6502");
        assert_eq!(label(&hand.register(&proof)), "401 REGISTER");
    }
}

fn association() {
    let mut hand = Hand::ue(Bench::new(&[]), "carol");
    hand.registered(None, None);
    let message = |hand: &mut Hand, from: &str, via: &str| {
        let text = request(hand, "MESSAGE", "")
            .replace(&format!("UDP {}", hand.at), &format!("UDP {via}"));
        hand.bench.mark();
        let to = hand.to;
        hand.bench.send(from, to, &text);
        hand.bench.run_for(A_MOMENT);
        let sent = hand.bench.sent("p1");
        let sent = sent.iter().find(|told| told.label() == "MESSAGE");
        sent.map(|told| told.header("P-Asserted-Identity"))
    };
    let at = hand.at.to_string();
    let default = format!("<sip:carol@{DOMAIN}>");
    let asserted = message(&mut hand, "ue", &at).expect("it is forwarded");
    assert!(asserted.starts_with(&default), "{asserted}");
    // Another port of the same address is somebody else.
    let other = hand.bench.raw("other");
    assert_eq!(message(&mut hand, "other", &other.to_string()), None);
    // Dave registers from the same place by another sent-by: each request is told apart by it.
    let dave = Lab::default_lab().subscriber("dave").expect("dave").into_owned();
    (hand.impu, hand.who) = (format!("sip:dave@{DOMAIN}"), dave);
    "dave".clone_into(&mut hand.call_id);
    let dave = format!("<sip:dave@{DOMAIN}>");
    let elsewhere = "10.1.1.1:5060";
    let first = hand.unchallenged(None);
    let text = hand.next(&first).replace(&format!("UDP {at}"), &format!("UDP {elsewhere}"));
    let challenged = hand.ask(&text);
    let proof = hand.proof(&challenged, None);
    let text = hand.next(&proof).replace(&format!("UDP {at}"), &format!("UDP {elsewhere}"));
    assert_eq!(label(&hand.ask(&text)), "200 REGISTER");
    let asserted = message(&mut hand, "ue", elsewhere).expect("it is forwarded");
    assert!(asserted.starts_with(&dave), "{asserted}");
    let asserted = message(&mut hand, "ue", &at).expect("it is forwarded");
    assert!(asserted.starts_with(&default), "{asserted}");
    assert_eq!(message(&mut hand, "ue", "10.1.1.2:5060"), None, "neither of them");
    // And by the same one: the entry is his now.
    "dave2".clone_into(&mut hand.call_id);
    hand.registered(None, None);
    let asserted = message(&mut hand, "ue", &at).expect("it is forwarded");
    assert!(asserted.starts_with(&dave), "{asserted}");
}
