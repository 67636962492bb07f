//! Sessions over security associations (TS 24.229 §5.2.6.3.3, §5.2.6.4.3): by which ports a phone
//! is reached, and which ports its requests are told to come back to.

use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_core::transport::SaId;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::by_hand::{Hand, alice_and, charging, impu, sent_to, uri_of};
use super::gm::{PORT_US, Phone};
use super::hand::{response, status};
use super::pcscf_security::path_of;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "pcscf_protected::a_calling_phone_comes_back_to_the_protected_port",
            &["P-ORI-040", "P-ORI-190"],
            record_route,
        ),
        case("pcscf_protected::a_path_leads_to_the_phone", &["P-TER-010"], by_path),
        case(
            "pcscf_protected::a_called_phone_answers_to_the_protected_port",
            &["P-TER-020"],
            called,
        ),
        case("pcscf_protected::a_flow_that_is_gone_gives_430", &["P-TER-040a"], flow_gone),
        case("pcscf_protected::methods_nobody_knows_pass", &["P-ORI-200"], unknown_methods),
    ]
}

fn record_route() {
    let mut phone = Phone::new();
    phone.registered(0, None);
    let invite = phone.says("INVITE", 0).expect("it goes home");
    let home = phone.home();
    let p1 = phone.hand.to;
    let ours = header(&invite, "Record-Route");
    let lines = format!(
        "Record-Route: <sip:x@{home};lr>, {ours}\nContact: <sip:s@{home}>\n\
         P-Asserted-Identity: <sip:bob@{DOMAIN}>\n\
         P-Charging-Vector: icid-value=x;orig-ioi=y;term-ioi=z\n\
         P-Charging-Function-Addresses: ccf=c\nSecurity-Server: ipsec-3gpp;q=0.1\n"
    );
    for (status, lines) in
        [("180 Ringing", lines.clone()), ("200 OK", format!("{lines}Privacy: id\n"))]
    {
        let heard = phone.home_says(&invite, status, &lines);
        let (flow, answer) =
            heard.iter().rev().find(|(_, it)| label(it) != "100 INVITE").expect("an answer");
        assert_eq!(flow.sa, Some(SaId(100)));
        let told = header(answer, "Record-Route");
        let (first, own) = told.split_once(", ").or_else(|| told.split_once(" | ")).expect("two");
        assert_eq!(first, format!("<sip:x@{home};lr>"));
        assert!(own.ends_with(&format!("@{}:5062;lr>", p1.ip())), "{own}");
        // The token that leads back is ours.
        assert_eq!(uri_of(own).split('@').next(), uri_of(&ours).split('@').next());
        let asserted = header(answer, "P-Asserted-Identity");
        let shown =
            if status.starts_with("180") { format!("<sip:bob@{DOMAIN}>") } else { String::new() };
        assert_eq!(asserted, shown, "{status}");
        for name in ["P-Charging-Vector", "P-Charging-Function-Addresses", "Security-Server"] {
            assert_eq!(header(answer, name), "", "{name}");
        }
    }
    // A request in the dialog is taken under the associations of the same phone only.
    let (token, _) = uri_of(&ours).split_once('@').expect("a token");
    let bye = |from: &str, tag: &str| {
        format!(
            "BYE sip:s@{home} SIP/2.0\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-{tag}\n\
             Max-Forwards: 70\nRoute: <{token}@{}:5062;lr>, <sip:x@{home};lr>\nFrom: {}\n\
             To: {};tag=raw\nCall-ID: {}\nCSeq: 2 BYE\nContent-Length: 0\n",
            p1.ip(),
            header(&invite, "From"),
            header(&invite, "To"),
            header(&invite, "Call-ID"),
        )
    };
    phone.hand.bench.mark();
    let other = phone.hand.bench.raw("other");
    phone.hand.bench.send("other", p1, &bye(&other.to_string(), "other"));
    phone.wait(1);
    let refused = phone.hand.bench.heard("other");
    assert_eq!(refused.iter().map(label).collect::<Vec<_>>(), ["403 BYE"]);
    assert!(phone.at_home("BYE").is_none());
    let flow = phone.flow(0);
    let text = bye(&format!("{}:{PORT_US}", phone.hand.at.ip()), "own");
    phone.hand.bench.send_by("ue", flow, &text);
    phone.wait(1);
    assert!(phone.at_home("BYE").is_some());

    // Without associations it is the port of everybody.
    let (mut bench, alice) = alice_and(&[]);
    let core = Hand::node(&mut bench, "s1", "p1");
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, ""));
    let invite = core.heard_one(&mut bench, "INVITE");
    core.answer(&mut bench, &invite, 180, "");
    let ringing = alice.answers(&mut bench, "180 INVITE").remove(0);
    let told = ringing.headers.values(HeaderName::RecordRoute).last().expect("ours").to_owned();
    assert!(told.ends_with(&format!("@{};lr>", bench.addr("p1"))), "{told}");
}

fn by_path() {
    let mut phone = Phone::new();
    phone.registered(0, None);
    let path = path_of(&mut phone);
    for method in ["MESSAGE", "INVITE", "OPTIONS"] {
        phone.hand.bench.mark();
        let heard = phone.calls(&path, method);
        let (flow, request) = heard.first().expect("it comes");
        assert_eq!(label(request), method);
        assert_eq!(header(request, "Route"), "");
        let Message::Request(it) = request else { panic!("a request") };
        assert_eq!(it.request_uri, format!("sip:alice@{}:{PORT_US}", phone.hand.at.ip()));
        // From the protected client port of this phone's set to its protected server port.
        let set = phone.set(0);
        assert_eq!((flow.local.port(), flow.sa), (PORT_US, Some(SaId(100))));
        assert_eq!(flow.remote.port(), set.remote.ports.client);
    }
}

fn called() {
    let mut phone = Phone::new();
    phone.registered(0, None);
    let path = path_of(&mut phone);
    phone.hand.bench.mark();
    let heard = phone.calls(&path, "INVITE");
    let (_, invite) = heard.first().expect("it comes");
    let p1 = phone.hand.to.ip();
    let via = header(invite, "Via");
    assert!(via.starts_with(&format!("SIP/2.0/UDP {p1}:5062;")), "{via}");
    let route = header(invite, "Record-Route");
    assert!(route.ends_with(&format!("@{p1}:5062;lr>")), "{route}");
    // The phone answers to that port, and home hears it with the port of the core.
    let lines =
        format!("Record-Route: {route}\nContact: <sip:alice@{}:{PORT_US}>\n", phone.hand.at.ip());
    let flow = phone.flow(0);
    phone.hand.bench.send_by("ue", flow, &response(invite, "180 Ringing", &lines));
    phone.wait(1);
    let received = phone.hand.bench.received("p1");
    let ringing = received.iter().find(|told| told.label() == "180 INVITE").expect("180");
    assert_eq!(ringing.wire.local.port(), 5062);
    let at_home = phone.at_home("180 INVITE").expect("it goes home");
    assert_eq!(status(&at_home), 180);
    let route = header(&at_home, "Record-Route");
    assert!(route.ends_with(&format!("@{};lr>", phone.hand.bench.addr("p1"))), "{route}");
    assert!(charging(&header(&at_home, "P-Charging-Vector"), "icid-value").is_some());
}

/// A flow of RFC 5626: its connection ends, and its token is one that nobody knows.
fn flow_gone() {
    let mut bench = Bench::with_ues(
        "scenario: none\nparties:\n  bob: {transport: tcp, reg_id: 1}\nsteps: []\n",
        1,
        |_| {},
        |_| {},
    );
    bench.register(&["bob"]);
    bench.run_for(Duration::from_secs(1));
    let sent = sent_to(&bench, "p1", bench.addr("i1"), "REGISTER");
    let path = sent.last().expect("REGISTER").header("Path");
    assert!(path.contains(";ob"), "{path}");
    let core = Hand::node(&mut bench, "s1", "p1");
    let to_bob = |n: u32, route: &str| {
        core.request("MESSAGE", "sip:bob@127.1.0.102", n, &format!("Route: {route}"))
    };
    let (user, _) = uri_of(&path).split_once('@').expect("a token");
    core.send(&mut bench, &to_bob(1, &path.replace(user, "sip:0-u0123456789abcdef")));
    assert_eq!(core.answered(&mut bench).status, 430);
    bench.mark();
    assert!(bench.stage.lab.crash("bob"));
    bench.run_for(Duration::from_secs(1));
    core.send(&mut bench, &to_bob(2, &path));
    bench.run_for(Duration::from_secs(10));
    assert_eq!(core.answered(&mut bench).status, 430);
}

fn unknown_methods() {
    let (mut bench, alice) = alice_and(&[]);
    let core = Hand::node(&mut bench, "s1", "p1");
    for (n, method) in (1..).zip(["SING", "X-NEW"]) {
        bench.mark();
        alice.send(&mut bench, &alice.request(method, &impu(2), n, "X-Note: la"));
        let heard = core.heard(&mut bench, method);
        let request = heard.first().expect("it passes");
        let get = |name: &str| header(&Message::Request(request.clone()), name);
        assert_eq!(get("P-Asserted-Identity"), format!("<{}>", impu(1)));
        assert_eq!((get("X-Note").as_str(), get("Record-Route").as_str()), ("la", ""));
        core.answer(&mut bench, request, 200, "");
        assert_eq!(alice.answered(&mut bench).status, 200);
    }
}
