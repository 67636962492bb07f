//! The life of security associations at the P-CSCF (TS 33.203 §7.1, §7.4): who may use them for
//! what, how newer ones take over, when they end.

use cscf_core::auth::IntegrityProtected;
use cscf_core::operator::Show;
use cscf_core::sip::{HeaderName, Message, Request};
use cscf_core::transport::ipsec::{End, IPSEC_LIFETIME, SaCommand};
use cscf_core::transport::{Flow, SaId, Transport};
use cscf_tests::{DOMAIN, header, label};

use super::by_hand;
use super::gm::{PORT_US, Phone, ask, bytes, flag, mechanisms};
use super::hand::{response, status};
use super::pcscf_security::path_of;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pcscf_associations::two_pairs_hold", &["P-REG-200"], two_pairs),
        case("pcscf_associations::datagrams_take_two_ports", &["P-REG-205a"], by_udp),
        case("pcscf_associations::connections_take_all_four", &["P-REG-205b"], by_tcp),
        case("pcscf_associations::the_challenge_goes_as_it_was_asked", &["P-REG-210"], challenge),
        case("pcscf_associations::a_refusal_goes_as_it_was_asked", &["P-REG-220"], refusal),
        case("pcscf_associations::they_outlast_the_registration", &["P-REG-230"], lifetime),
        case("pcscf_associations::the_unanswered_ones_end", &["P-REG-240"], unanswered),
        case("pcscf_associations::waiting_ones_carry_only_register", &["P-REG-250"], only_register),
        case("pcscf_associations::nothing_passes_beside_them", &["P-REG-260"], beside),
        case("pcscf_associations::newer_ones_take_over_when_used", &["P-REG-270"], take_over),
        case("pcscf_associations::a_new_beginning_ends_them", &["P-REG-280"], new_beginning),
        case("pcscf_associations::they_end_with_the_registration", &["P-REG-290"], deregistered),
        case(
            "pcscf_associations::they_end_when_the_network_ends_it",
            &["P-REG-290", "P-REG-340"],
            ended_by_network,
        ),
        case("pcscf_associations::the_operator_sees_them", &[], shown),
        case("pcscf_associations::a_failure_at_the_phone_ends_them", &["P-REG-300"], failure),
    ]
}

fn two_pairs() {
    let mut phone = Phone::new();
    let (_, unauthorized) = phone.challenged(0, None);
    let lines = phone.answer(0, &unauthorized);
    let set = phone.set(0);
    // A packet under every association but from another place is not taken.
    let stranger = phone.hand.bench.raw("stranger");
    let moved = End { addr: stranger.ip(), ..set.local };
    let other = cscf_core::transport::ipsec::SaSet { local: moved, ..set.clone() };
    phone.hand.bench.secure("stranger", SaCommand::Install(Box::new(other.clone())));
    phone.hand.bench.mark();
    let text = phone.hand.next(&lines);
    phone.hand.bench.send_by("stranger", other.datagram_flow(), &text);
    phone.wait(1);
    let dropped = phone.hand.bench.dropped("p1");
    assert!(dropped[0].starts_with("ESP: wrong address: SPI "), "{dropped:?}");
    let words = format!("for {} to {}", set.local.addr, set.remote.addr);
    assert!(dropped[0].contains(&words), "{dropped:?}");
    // UDP and TCP share them; they last as long as can be.
    phone.send(&lines, Some(0));
    let request = phone.at_home("REGISTER").expect("it goes home");
    phone.ok(&request);
    let conn = phone.hand.bench.connect_by("ue", set.stream_flow());
    phone.wait(1);
    let text = phone.request("MESSAGE", Transport::Tcp);
    phone.hand.bench.write("ue", conn, &bytes(&text));
    phone.wait(1);
    assert!(phone.at_home("MESSAGE").is_some());
    assert_eq!(set.lifetime, IPSEC_LIFETIME);
    // The same packet again is not taken.
    phone.hand.bench.stage.lab.network_mut().duplicate = 1_000;
    phone.hand.bench.mark();
    phone.says("MESSAGE", 0);
    let dropped = phone.hand.bench.dropped("p1");
    assert!(
        dropped.iter().any(|it| it.starts_with("ESP: replayed or too old: SPI ")),
        "{dropped:?}"
    );
}

/// Home's answer to what p1 has brought.
fn home_answers(phone: &mut Phone, request: &Message, status: &str) -> Vec<(Flow, Message)> {
    phone.home_says(request, status, "")
}

fn by_udp() {
    let mut phone = Phone::new();
    let ok = phone.registered(0, None);
    let path = path_of(&mut phone);
    let set = phone.set(0);
    let from_pc = |flow: &Flow| {
        assert_eq!((flow.local.port(), flow.remote.port()), (PORT_US, set.remote.ports.client));
        assert_eq!(flow.sa, Some(set.id));
    };
    from_pc(&ok);
    // A response of p1 whatever Via says, a request of p1, and its own Via.
    let message = phone.says("MESSAGE", 0).expect("it goes home");
    from_pc(&home_answers(&mut phone, &message, "200 OK")[0].0);
    let heard = phone.calls(&path, "OPTIONS");
    from_pc(&heard[0].0);
    let Message::Request(options) = &heard[0].1 else { panic!("a request") };
    let via = options.via().expect("a Via");
    assert_eq!(
        (via.host.as_str(), via.port),
        (phone.hand.to.ip().to_string().as_str(), Some(5062))
    );
    // The response of the phone comes from port_uc.
    phone.hand.bench.send_by("ue", set.datagram_flow(), &response(&heard[0].1, "200 OK", ""));
    phone.wait(1);
    assert!(phone.at_home("200 OPTIONS").is_some());
    clear_text_is_dropped(&mut phone);
}

fn clear_text_is_dropped(phone: &mut Phone) {
    let p1 = phone.hand.to.ip();
    let set = phone.set(0);
    for port in [5062, set.remote.ports.client] {
        phone.hand.bench.mark();
        let text = phone.request("MESSAGE", Transport::Udp);
        phone.hand.bench.send("ue", (p1, port).into(), &text);
        let conn = phone.hand.bench.connect("ue", (p1, port).into());
        phone.hand.bench.write("ue", conn, &bytes(&text));
        phone.wait(1);
        assert!(phone.at_home("MESSAGE").is_none());
        let dropped = phone.hand.bench.dropped("p1");
        assert_eq!(dropped.len(), 2, "{dropped:?}");
        assert!(dropped.iter().all(|it| it.starts_with("clear text at protected port")));
    }
}

fn by_tcp() {
    let mut phone = Phone::new();
    let (_, unauthorized) = phone.challenged(0, None);
    let set = phone.set(0);
    let conn = phone.hand.bench.connect_by("ue", set.stream_flow());
    phone.wait(1);
    let lines = phone.answer(0, &unauthorized);
    let text = phone.hand.next(&lines).replace("/UDP", "/TCP");
    phone.hand.bench.write("ue", conn, &bytes(&text));
    phone.wait(1);
    let request = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(flag(&request), Some(IntegrityProtected::Yes));
    let path = header(&request, "Path");
    let ok = super::pcscf_register::ok_lines(&phone.hand, &[&format!("sip:s@{}", phone.home())]);
    phone.home_says(&request, "200 OK", &ok);
    let streamed = |phone: &mut Phone| phone.hand.bench.heard_stream("ue").0;
    let heard = streamed(&mut phone);
    assert_eq!(heard.len(), 1);
    assert!(heard[0].0 == conn && heard[0].1.starts_with(b"SIP/2.0 200"), "the same connection");
    // A request of p1 uses the open one,
    phone.calls(&path, "OPTIONS");
    let heard = streamed(&mut phone);
    assert!(heard[0].0 == conn && heard[0].1.starts_with(b"OPTIONS"));
    let request = Message::Request(parsed(&String::from_utf8_lossy(&heard[0].1)));
    phone.hand.bench.write("ue", conn, &bytes(&response(&request, "200 OK", "")));
    phone.wait(1);
    assert!(phone.at_home("200 OPTIONS").is_some());
    // and without one opens its own, from port_pc to port_us.
    phone.hand.bench.disconnect("ue", conn);
    phone.wait(1);
    phone.calls(&path, "OPTIONS");
    let opened = phone.hand.bench.accepted("ue");
    assert_eq!(opened.len(), 1);
    let ports = (opened[0].remote.port(), opened[0].local.port());
    assert_eq!((ports, opened[0].sa), ((set.remote.ports.client, PORT_US), Some(set.id)));
    let heard = streamed(&mut phone);
    assert!(Some(heard[0].0) == opened[0].conn && heard[0].1.starts_with(b"OPTIONS"));
    // The response returns on it.
    let text = String::from_utf8_lossy(&heard[0].1).into_owned();
    let request = Message::Request(parsed(&text));
    phone.hand.bench.write("ue", heard[0].0, &bytes(&response(&request, "200 OK", "")));
    phone.wait(1);
    assert!(phone.at_home("200 OPTIONS").is_some());
    clear_text_is_dropped(&mut phone);
}

fn parsed(text: &str) -> Request {
    match cscf_core::sip::parse(&bytes(text)).expect("SIP") {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

fn challenge() {
    let mut phone = Phone::new();
    let (flow, unauthorized) = phone.challenged(0, None);
    assert_eq!((flow.sa, flow.remote, flow.local), (None, phone.hand.to, phone.hand.at));
    let lines = phone.answer(0, &unauthorized);
    phone.send(&lines, Some(0));
    let request = phone.at_home("REGISTER").expect("it goes home");
    phone.ok(&request);
    let (flow, unauthorized) = phone.challenged(1, Some(0));
    assert_eq!((label(&unauthorized).as_str(), flow.sa), ("401 REGISTER", Some(SaId(100))));
}

fn refusal() {
    // SM1 in clear: the 403 is sent by the new associations.
    let mut phone = Phone::new();
    let (_, unauthorized) = phone.challenged(0, None);
    let lines = phone.answer(0, &unauthorized);
    phone.send(&lines, Some(0));
    let request = phone.at_home("REGISTER").expect("it goes home");
    let heard = phone.home_says(&request, "403 Forbidden", "");
    assert_eq!((status(&heard[0].1), heard[0].0.sa), (403, Some(SaId(100))));
    ended(&mut phone, 0);
    // SM1 protected: by the old ones.
    let mut phone = Phone::new();
    phone.registered(0, None);
    let (_, unauthorized) = phone.challenged(1, Some(0));
    let lines = phone.answer(1, &unauthorized);
    phone.send(&lines, Some(1));
    let request = phone.at_home("REGISTER").expect("it goes home");
    let heard = phone.home_says(&request, "403 Forbidden", "");
    assert_eq!((status(&heard[0].1), heard[0].0.sa), (403, Some(SaId(100))));
    assert!(phone.says("MESSAGE", 0).is_some(), "the old ones go on");
    ended(&mut phone, 1);
}

/// By these associations nothing is answered, and in the end nothing arrives.
fn ended(phone: &mut Phone, number: u32) {
    phone.heard();
    assert!(phone.says("MESSAGE", number).is_none());
    assert!(phone.heard().is_empty());
    phone.wait(130);
    phone.hand.bench.mark();
    assert!(phone.says("MESSAGE", number).is_none());
    let dropped = phone.hand.bench.dropped("p1");
    assert!(dropped.iter().any(|it| it.contains("no association: SPI ")), "{dropped:?}");
}

fn lifetime() {
    let mut phone = Phone::new();
    let flow = phone.registered(0, None);
    assert_eq!(flow.sa, Some(SaId(100)), "the 200 goes by the new ones");
    // An hour and 30 s; a shorter registration afterwards shortens nothing.
    phone.wait(10);
    phone.hand.contact = phone.hand.contact.replace("3600", "600");
    phone.registered(1, Some(0));
    assert!(phone.noted("set 2 is established for 361"));
    assert!(phone.says("MESSAGE", 1).is_some());
    phone.hand.contact = phone.hand.contact.replace("600;", "7200;").replace("=600", "=7200");
    phone.registered(2, Some(1));
    assert!(phone.noted("set 3 is established for 7230 s"));
}

fn unanswered() {
    let mut phone = Phone::new();
    let (_, unauthorized) = phone.challenged(0, None);
    let lines = phone.answer(0, &unauthorized);
    // Other keys: nobody answers.
    let mut wrong = phone.set(0);
    wrong.keys.integrity[3] ^= 0x40;
    phone.hand.bench.secure("ue", SaCommand::Install(Box::new(wrong)));
    phone.hand.bench.mark();
    phone.send(&lines, Some(0));
    assert!(phone.heard().is_empty());
    assert!(phone.hand.bench.dropped("p1")[0].contains("integrity check value wrong"));
    let right = phone.set(0);
    phone.hand.bench.secure("ue", SaCommand::Install(Box::new(right)));
    phone.wait(238);
    assert!(phone.says("MESSAGE", 0).is_none());
    assert!(phone.noted("set 1 is temporary"), "still there");
    phone.wait(3);
    assert!(phone.noted("no protected REGISTER"));
    phone.hand.bench.mark();
    phone.send(&lines, Some(0));
    assert!(phone.at_home("REGISTER").is_none() && phone.heard().is_empty());
    assert!(phone.hand.bench.dropped("p1")[0].contains("no association: SPI "));
}

fn only_register() {
    let mut phone = Phone::new();
    phone.challenged(0, None);
    for method in ["MESSAGE", "INVITE", "OPTIONS"] {
        assert!(phone.says(method, 0).is_none(), "{method}");
        assert!(phone.heard().is_empty(), "{method} is not answered, not even by 100");
    }
    assert!(phone.noted("set 1 is temporary"));
}

fn beside() {
    let mut phone = Phone::new();
    phone.registered(0, None);
    let clear = |phone: &mut Phone| {
        let text = phone.request("MESSAGE", Transport::Udp);
        let text = text.replace(&format!(":{PORT_US};br"), ":5060;br");
        phone.hand.send(&text);
        phone.wait(1);
        assert!(phone.at_home("MESSAGE").is_none());
        phone.heard()
    };
    assert_eq!(status(&clear(&mut phone)[0].1), 403);
    clear_text_is_dropped(&mut phone);
    let mut phone = Phone::with(|gm| gm.discard_unprotected = true);
    phone.registered(0, None);
    assert!(clear(&mut phone).is_empty());
}

fn take_over() {
    let mut phone = Phone::new();
    phone.registered(0, None);
    let path = path_of(&mut phone);
    // A call is being set up by the old ones.
    let invite = phone.says("INVITE", 0).expect("it goes home");
    home_answers(&mut phone, &invite, "180 Ringing");
    let before = phone.set(0);
    let (_, unauthorized) = phone.challenged(1, Some(0));
    let server = mechanisms(&unauthorized, HeaderName::SecurityServer);
    assert_eq!(server[0].port_s(), Some(before.remote.ports.server), "port_ps stays");
    assert_ne!(server[0].port_c(), Some(before.remote.ports.client), "port_pc is new");
    let lines = phone.answer(1, &unauthorized);
    phone.send(&lines, Some(1));
    let request = phone.at_home("REGISTER").expect("it goes home");
    let (flow, _) = phone.ok(&request);
    assert_eq!(flow.sa, Some(SaId(101)), "the 200 goes by the new ones");
    assert_eq!(header(&request, "Path"), path, "it is the same UE");
    // Until the phone has used them, requests go by the old ones.
    let by = |phone: &mut Phone| phone.calls(&path, "OPTIONS")[0].0;
    assert_eq!(by(&mut phone).sa, Some(SaId(100)));
    assert!(phone.says("MESSAGE", 1).is_some());
    let flow = by(&mut phone);
    assert_eq!((flow.sa, flow.local.port()), (Some(SaId(101)), PORT_US));
    assert_eq!(flow.remote.port(), phone.set(1).remote.ports.client);
    // The pending call still has the old ones, for as long as it rings;
    phone.wait(150);
    phone.heard();
    let heard = home_answers(&mut phone, &invite, "486 Busy Here");
    assert_eq!((status(&heard[0].1), heard[0].0.sa), (486, Some(SaId(100))));
    // then they go.
    phone.wait(300);
    phone.hand.bench.mark();
    assert!(phone.says("MESSAGE", 0).is_none());
    assert!(phone.hand.bench.dropped("p1")[0].contains("no association: SPI "));
    assert!(phone.says("MESSAGE", 1).is_some());
    near_the_end();
}

/// Nothing comes by the new ones: they are used when the old ones are about to end.
fn near_the_end() {
    let mut phone = Phone::new();
    phone.hand.contact = phone.hand.contact.replace("3600", "600");
    phone.registered(0, None);
    let path = path_of(&mut phone);
    phone.hand.contact = phone.hand.contact.replace("=600", "=3600");
    phone.registered(1, Some(0));
    assert_eq!(phone.calls(&path, "OPTIONS")[0].0.sa, Some(SaId(100)));
    phone.wait(610);
    phone.heard();
    assert_eq!(phone.calls(&path, "OPTIONS")[0].0.sa, Some(SaId(101)));
    // A third agreement ends all but the two it needs.
    phone.registered(2, Some(1));
    phone.registered(3, Some(2));
    assert!(phone.noted("set 2 ends at once"));
}

fn new_beginning() {
    let mut phone = Phone::new();
    phone.registered(0, None);
    phone.hand.bench.mark();
    phone.hand.call_id = "again".to_owned();
    let (_, unauthorized) = phone.challenged(1, None);
    assert!(phone.says("MESSAGE", 0).is_some(), "until the 200 all is as it was");
    let lines = phone.answer(1, &unauthorized);
    phone.send(&lines, Some(1));
    let request = phone.at_home("REGISTER").expect("it goes home");
    let (flow, _) = phone.ok(&request);
    assert_eq!(flow.sa, Some(SaId(101)));
    phone.hand.bench.mark();
    assert!(phone.says("MESSAGE", 0).is_none());
    assert!(phone.hand.bench.dropped("p1")[0].contains("no association: SPI "));
    let path = header(&request, "Path");
    assert_eq!(phone.calls(&path, "OPTIONS")[0].0.sa, Some(SaId(101)));
}

fn deregistered() {
    let mut phone = Phone::new();
    phone.registered(0, None);
    let path = path_of(&mut phone);
    phone.hand.contact = phone.hand.contact.replace("3600", "0");
    let lines = phone.offer(&ask(1).client());
    phone.send(&lines, Some(0));
    let request = phone.at_home("REGISTER").expect("it goes home");
    let heard = phone.home_says(&request, "200 OK", "");
    assert_eq!((status(&heard[0].1), heard[0].0.sa), (200, Some(SaId(100))));
    ended(&mut phone, 0);
    assert!(phone.calls(&path, "OPTIONS").is_empty());
    // By expiry.
    let mut phone = Phone::new();
    phone.hand.contact = phone.hand.contact.replace("3600", "600");
    phone.registered(0, None);
    phone.wait(640);
    ended(&mut phone, 0);
}

/// The registration ends by the NOTIFY to p1: what is on its way to the phone still gets there, its
/// session ends, and then nothing is left of it.
fn ended_by_network() {
    let mut phone = Phone::in_lab(|_| {});
    phone.registered(0, None);
    let own = phone.at_home("SUBSCRIBE").expect("p1 subscribes");
    let home = phone.home();
    let lines = format!("Expires: 4000\nContact: <sip:s@{home}>\n");
    phone.home_says(&own, "200 OK", &lines);
    let p1 = phone.hand.bench.addr("p1");
    let aor = format!("sip:+15550100001@{DOMAIN};user=phone");
    let tell = |phone: &mut Phone, cseq, state| {
        let text = by_hand::reg_notify(home, &own, (cseq, &aor, state));
        phone.hand.bench.send("home", p1, &text);
        phone.hand.bench.run_for(super::hand::A_MOMENT);
        phone.at_home("200 NOTIFY").expect("answered")
    };
    tell(&mut phone, 1, "active");
    let subscribe = in_dialog_of(&mut phone, "SUBSCRIBE");
    let invite = in_dialog_of(&mut phone, "INVITE");
    tell(&mut phone, 2, "terminated");
    assert!(phone.says("MESSAGE", 0).is_none());
    // The last NOTIFY of the phone's own subscription, and the answer to it.
    let notify = to_phone(&phone, &subscribe, "NOTIFY");
    phone.hand.bench.send("home", p1, &notify);
    phone.wait(1);
    let heard = phone.heard();
    assert_eq!((label(&heard[0].1).as_str(), heard[0].0.sa), ("NOTIFY", Some(SaId(100))));
    // It could begin the dialog for the phone: p1 stays on its path (RFC 6665 §4.3).
    let told = header(&heard[0].1, "Record-Route");
    assert!(told.ends_with(&format!("@{}:5062;lr>", p1.ip())), "{told}");
    let set = phone.set(0);
    phone.hand.bench.send_by("ue", set.datagram_flow(), &response(&heard[0].1, "200 OK", ""));
    phone.wait(1);
    assert!(phone.at_home("200 NOTIFY").is_some());
    released(&mut phone, &invite);
    ended(&mut phone, 0);
}

/// Nobody else has ended the session: p1 does, on both sides.
fn released(phone: &mut Phone, invite: &Message) {
    assert!(phone.at_home("BYE").is_none());
    phone.wait(32);
    let bye = phone.at_home("BYE").expect("a BYE");
    let Message::Request(request) = &bye else { panic!("a request") };
    assert_eq!(request.request_uri, format!("sip:s@{}", phone.home()));
    for name in ["From", "Call-ID"] {
        assert_eq!(header(&bye, name), header(invite, name));
    }
    assert!(header(&bye, "To").ends_with(";tag=raw"));
    assert_eq!(header(&bye, "CSeq"), "2 BYE");
    assert!(header(&bye, "Reason").starts_with("SIP;cause="));
    assert!(phone.home_says(&bye, "200 OK", "").iter().any(|(_, it)| label(it) == "BYE"));
    let told = phone.hand.bench.sent("p1").into_iter();
    let to_phone: Vec<_> =
        told.filter(|it| it.label() == "BYE" && it.wire.remote.port() == PORT_US).collect();
    assert_eq!(to_phone[0].wire.local.port(), phone.set(0).remote.ports.client);
    assert_eq!(to_phone[0].header("To"), header(invite, "From"));
    assert_eq!(to_phone[0].header("From"), header(&bye, "To"));
    let text = response(&to_phone[0].message, "200 OK", "");
    let flow = phone.flow(0);
    phone.hand.bench.send_by("ue", flow, &text);
    phone.wait(1);
    phone.heard();
}

/// A dialog that the phone begins and home accepts.
fn in_dialog_of(phone: &mut Phone, method: &str) -> Message {
    let request = phone.says(method, 0).expect("it goes home");
    let routes = header(&request, "Record-Route");
    let home = phone.home();
    let lines = format!("Record-Route: {routes}\nExpires: 600\nContact: <sip:s@{home}>\n");
    let heard = home_answers_with(phone, &request, &lines);
    assert!(heard.iter().any(|(_, it)| status(it) == 200), "{heard:?}");
    request
}

fn home_answers_with(phone: &mut Phone, request: &Message, lines: &str) -> Vec<(Flow, Message)> {
    phone.home_says(request, "200 OK", lines)
}

/// A request of home in a dialog of the phone.
fn to_phone(phone: &Phone, began: &Message, method: &str) -> String {
    let (ip, home) = (phone.hand.at.ip(), phone.home());
    format!(
        "{method} sip:alice@{ip}:{PORT_US} SIP/2.0\n\
         Via: SIP/2.0/UDP {home};branch=z9hG4bK-to-{method}\n\
         Max-Forwards: 70\n\
         Route: {}\n\
         From: {};tag=raw\n\
         To: {}\n\
         Call-ID: {}\n\
         CSeq: 1 {method}\n\
         Contact: <sip:s@{home}>\n\
         Event: reg\n\
         Subscription-State: terminated;reason=deactivated\n\
         Content-Length: 0\n",
        header(began, "Record-Route"),
        header(began, "To"),
        header(began, "From"),
        header(began, "Call-ID"),
    )
}

fn shown() {
    let mut phone = Phone::new();
    phone.challenged(0, None);
    let rows = by_hand::shown(&mut phone.hand.bench, Show::Sas);
    assert_eq!(rows.len(), 1);
    assert!(rows[0].contains(&"state=temporary".to_owned()), "{rows:?}");
    assert!(rows[0].contains(&"expires_s=239".to_owned()), "{rows:?}");
    let mut phone = Phone::new();
    phone.registered(0, None);
    let rows = by_hand::shown(&mut phone.hand.bench, Show::Sas);
    let ports = phone.set(0).remote.ports;
    for cell in [
        format!("impi={}", phone.hand.who.impi),
        "state=established".to_owned(),
        "algorithms=hmac-sha-1-96/null".to_owned(),
        "mode=trans".to_owned(),
        "ue_ports=6501|6500".to_owned(),
        "ue_spis=10000|10001".to_owned(),
        format!("p_ports={}|{}", ports.client, ports.server),
        format!("p_spis={}|{}", ports.spi_client, ports.spi_server),
    ] {
        assert!(rows[0].contains(&cell), "{cell}: {rows:?}");
    }
    let text = format!("{rows:?}").to_lowercase();
    assert!(!text.contains(&super::gm::IK[..16]) && !text.contains(&super::gm::CK[..16]));
}

fn failure() {
    for (by, expected) in [(None, IntegrityProtected::No), (Some(0), IntegrityProtected::Yes)] {
        for auts in [false, true] {
            let mut phone = Phone::new();
            if by.is_some() {
                phone.registered(0, None);
            }
            let (_, unauthorized) = phone.challenged(1, by);
            let challenge = super::gm::challenge(&unauthorized);
            let uri = format!("sip:{DOMAIN}");
            let impi = &phone.hand.who.impi;
            let credentials = cscf_core::auth::Credentials::refusal(&challenge, impi, &uri);
            let mut line = super::hand::line(credentials.expect("credentials"), None);
            if auts {
                line = line.replace('\n', ",auts=\"AAAAAAAAAAAAAAAAAAA=\"\n");
            }
            let lines = phone.offer(&ask(2).client());
            let lines = lines.replace(&phone.hand.unchallenged(None), &line);
            phone.send(&lines, by);
            let request = phone.at_home("REGISTER").expect("it goes home");
            assert_eq!(flag(&request), Some(expected), "auts {auts}");
            // What the first challenge made is gone.
            phone.hand.bench.mark();
            assert!(phone.says("MESSAGE", 1).is_none());
            let dropped = phone.hand.bench.dropped("p1");
            assert!(dropped[0].contains("no association: SPI "), "{dropped:?}");
            // The next one is for the new offer.
            let next = phone.challenge_line();
            let (_, unauthorized) = phone.home_says(&request, "401 Unauthorized", &next).remove(0);
            phone.install(2, &ask(2), &unauthorized);
            let lines = phone.answer(2, &unauthorized);
            phone.send(&lines, Some(2));
            let request = phone.at_home("REGISTER").expect("it goes home");
            assert_eq!(flag(&request), Some(IntegrityProtected::Yes));
        }
    }
}
