//! Emergency calls at the P-CSCF (TS 24.229 §5.2.10, §7.6): phones by hand, an E-CSCF by hand.

use std::net::SocketAddr;

use cscf_core::config::{EdgeConfig, EmergencyCalls};
use cscf_core::sip::{HeaderName, Message, Request, Response};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header};

use super::by_hand::{Hand, charging, impu, one, sent_to};
use super::pcscf_media::{AMR, both_with, sdp};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pcscf_emergency::every_request_is_looked_at_first", &["P-EMG-010"], screened),
        case("pcscf_emergency::who_is_not_registered_may_call", &["P-EMG-020"], anonymous),
        case("pcscf_emergency::who_is_not_registered_may_not_call", &["P-EMG-030"], not_anonymous),
        case(
            "pcscf_emergency::over_a_normal_registration",
            &["P-EMG-040a", "P-EMG-040b", "G-XML-010"],
            normal_registration,
        ),
        case(
            "pcscf_emergency::a_number_that_only_the_network_knows",
            &["P-EMG-050a", "P-EMG-050b"],
            number,
        ),
        case("pcscf_emergency::over_an_emergency_registration", &["P-EMG-070"], emergency),
        case("pcscf_emergency::a_call_outlasts_the_registration", &[], outlasts),
        case("pcscf_emergency::another_e_cscf_is_tried", &["P-EMG-080"], fail_over),
    ]
}

/// Where the E-CSCFs are.
const E1: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 1, 0, 241)), 5060);
const E2: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 1, 0, 242)), 5060);

fn with_centre(edge: &mut EdgeConfig) {
    edge.e_cscfs = vec![format!("sip:{E1};lr")];
    edge.emergency_numbers = vec![
        ("11".to_owned(), "sos.marine".to_owned()),
        ("112".to_owned(), "sos".to_owned()),
        ("110".to_owned(), "sos.police".to_owned()),
    ];
}

/// An E-CSCF by hand.
fn centre(bench: &mut Bench, name: &str, addr: SocketAddr) -> Hand {
    bench.raw_at(name, addr);
    Hand { name: name.to_owned(), addr, to: bench.addr("p1"), service_route: String::new() }
}

/// alice and bob by hand, and an E-CSCF.
fn lab(change: impl FnOnce(&mut EdgeConfig)) -> (Bench, Hand, Hand) {
    let (mut bench, alice, _) = both_with(|edge| {
        with_centre(edge);
        change(edge);
    });
    let e1 = centre(&mut bench, "e1", E1);
    bench.mark();
    (bench, alice, e1)
}

fn is_alternative(response: &Response, action: Option<&str>) {
    assert_eq!(response.status, 380);
    assert_eq!(response.headers.get(HeaderName::ContentType), Some("application/3gpp-ims+xml"));
    assert!(!response.headers.contains(HeaderName::ContentDisposition));
    let body = String::from_utf8_lossy(&response.body).into_owned();
    let action = action.map(|it| format!("<action>{it}</action>")).unwrap_or_default();
    assert!(body.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"), "{body}");
    let (before, rest) = body.split_once("<reason>").expect("a reason");
    assert!(
        before.ends_with("<ims-3gpp version=\"1\"><alternative-service><type>emergency</type>"),
        "{body}"
    );
    let (reason, rest) = rest.split_once("</reason>").expect("a reason");
    assert!(!reason.is_empty());
    assert_eq!(rest.trim_end(), format!("{action}</alternative-service></ims-3gpp>"));
}

fn screened() {
    let home = "sip:112@home.example;user=phone";
    let dialled = format!("sip:110;phone-context={DOMAIN}@{DOMAIN};user=dialstring");
    for (uri, urn) in [
        ("urn:service:sos", Some("urn:service:sos")),
        ("URN:service:sos.fire", Some("urn:service:sos.fire")),
        ("tel:112;phone-context=+49", Some("urn:service:sos")),
        ("tel:1-1-0;phone-context=+49", Some("urn:service:sos.police")),
        (home, Some("urn:service:sos")),
        (&dialled, Some("urn:service:sos.police")),
        ("tel:11;phone-context=+49", Some("urn:service:sos.marine")),
        ("tel:1123;phone-context=+49", None),
        ("urn:service:counseling", None),
        ("tel:+15550100002", None),
    ] {
        let (mut bench, alice, e1) = lab(|_| {});
        // Not even overload comes before it.
        let order = urn.is_some();
        if order {
            bench.play("operator orders \"overload p1\"");
            bench.mark();
        }
        alice.send(&mut bench, &alice.request("INVITE", uri, 1, &sdp(AMR)));
        let heard = e1.heard(&mut bench, "INVITE");
        match urn {
            Some(urn) => {
                let got = heard.first().map(|it| it.request_uri.to_ascii_lowercase());
                assert_eq!(got.as_deref(), Some(urn), "{uri}");
                assert!(sent_to(&bench, "p1", bench.addr("s1"), "INVITE").is_empty(), "{uri}");
            }
            None => {
                assert!(heard.is_empty(), "{uri}");
                assert_eq!(sent_to(&bench, "p1", bench.addr("s1"), "INVITE").len(), 1, "{uri}");
            }
        }
    }
}

/// An emergency call of somebody who is not registered.
fn stranger_calls(bench: &mut Bench) -> Hand {
    let stranger = Hand::stranger(bench, "p1");
    let text = stranger.request("INVITE", "urn:service:sos", 1, &sdp(AMR));
    let contact = format!("Contact: <sip:{}>", stranger.addr);
    let instance = "+sip.instance=\"<urn:gsma:imei:90420156-025763-0>\"";
    let text = text.replace(&contact, &format!("{contact};{instance}"));
    let text =
        text.replace("Max-Forwards", &format!("P-Asserted-Identity: <{}>\nMax-Forwards", impu(1)));
    stranger.send(bench, &text);
    stranger
}

fn anonymous() {
    let (mut bench, _, e1) = lab(|edge| edge.anonymous_emergency_calls = true);
    let stranger = stranger_calls(&mut bench);
    let invite = e1.heard_one(&mut bench, "INVITE");
    let get = |name: &str| header(&Message::Request(invite.clone()), name);
    assert_eq!(invite.request_uri, "urn:service:sos");
    assert_eq!(get("P-Asserted-Identity"), "");
    assert!(get("Contact").contains("+sip.instance=\"<urn:gsma:imei:90420156-025763-0>\""));
    assert_eq!(get("Route"), format!("<sip:{E1};lr>"));
    assert!(get("Record-Route").contains(&format!("@{};lr>", bench.addr("p1"))));
    assert!(charging(&get("P-Charging-Vector"), "icid-value").is_some());
    // The whole call, and it outlasts what a dialog of a UE that is gone has.
    e1.answer(&mut bench, &invite, 200, &sdp(AMR));
    let answer = stranger.answered(&mut bench);
    assert_eq!(answer.status, 200);
    stranger.send(&mut bench, &stranger.in_dialog("ACK", 1, &answer, ""));
    assert_eq!(e1.heard(&mut bench, "ACK").len(), 1);
    bench.run_for(Duration::from_secs(600));
    stranger.send(&mut bench, &stranger.in_dialog("BYE", 2, &answer, ""));
    let bye = e1.heard_one(&mut bench, "BYE");
    e1.answer(&mut bench, &bye, 200, "");
    assert_eq!(stranger.answered(&mut bench).status, 200);
    // Nothing else is taken from there.
    stranger.send(&mut bench, &stranger.request("INVITE", &impu(2), 3, ""));
    assert_eq!(stranger.answered(&mut bench).status, 403);
}

fn not_anonymous() {
    let (mut bench, _, e1) = lab(|_| {});
    let stranger = stranger_calls(&mut bench);
    assert_eq!(stranger.answered(&mut bench).status, 403);
    assert!(e1.heard(&mut bench, "INVITE").is_empty());
    assert!(bench.notes("p1").iter().any(|note| note.clause.to_string() == "TS 24.229 §5.2.10.2"));
}

fn normal_registration() {
    type Change = fn(&mut EdgeConfig);
    let roaming: Change = |edge| edge.network = Some("visited.example".to_owned());
    let register: Change = |edge| edge.emergency_calls = EmergencyCalls::Register;
    let elsewhere: Change = |edge| edge.emergency_calls = EmergencyCalls::Elsewhere;
    let no_centre: Change = |edge| edge.e_cscfs.clear();
    for (change, action) in [
        (roaming, Some("emergency-registration")),
        (register, Some("emergency-registration")),
        (elsewhere, None),
        (no_centre, None),
    ] {
        let (mut bench, alice, e1) = lab(change);
        alice.send(&mut bench, &alice.request("INVITE", "urn:service:sos", 1, &sdp(AMR)));
        let answer = alice.answered(&mut bench);
        is_alternative(&answer, action);
        // Who says so is who stands in the Path of the registration.
        let told = answer.headers.get(HeaderName::PAssertedIdentity).expect("who");
        assert_eq!(told, path_of_alice(change));
        assert!(e1.heard(&mut bench, "INVITE").is_empty());
        assert!(sent_to(&bench, "p1", bench.addr("s1"), "INVITE").is_empty());
    }
    // At home, and the network takes it.
    let (mut bench, alice, e1) = lab(|_| {});
    alice.send(&mut bench, &alice.request("INVITE", "urn:service:sos", 1, &sdp(AMR)));
    assert_eq!(e1.heard(&mut bench, "INVITE").len(), 1);
    // The other document, and its kind.
    let (mut bench, alice, _) = both_with(|_| {});
    assert!(bench.stage.lab.crash("s1"));
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &sdp(AMR)));
    bench.run_for(Duration::from_secs(40));
    let restored = sent_to(&bench, "p1", alice.addr, "504 INVITE").remove(0);
    assert_eq!(restored.header("Content-Type"), "application/3gpp-ims+xml");
    let body = String::from_utf8_lossy(&restored.response().body).into_owned();
    assert!(body.contains("<type>restoration</type><reason>"), "{body}");
    assert!(body.contains("</reason><action>initial-registration</action>"), "{body}");
}

/// The Path of alice's registration in the same lab.
fn path_of_alice(change: fn(&mut EdgeConfig)) -> String {
    let source = "scenario: none\nparties:\n  alice: {}\n  bob: {}\nsteps: []\n";
    let mut bench = Bench::with_lab(source, 1, |lab| {
        let p1 = lab.nodes.iter_mut().find(|node| node.name == "p1").expect("p1");
        with_centre(&mut p1.edge);
        change(&mut p1.edge);
    });
    Hand::registered(&mut bench, "bob");
    bench.register(&["alice"]);
    let sent = sent_to(&bench, "p1", bench.addr("i1"), "REGISTER");
    sent.last().expect("REGISTER").header("Path")
}

fn number() {
    let calls = |calls| move |edge: &mut EdgeConfig| edge.emergency_calls = calls;
    let uri = "tel:110;phone-context=home.example";
    for (way, action) in [
        (EmergencyCalls::Register, Some("emergency-registration")),
        (EmergencyCalls::Elsewhere, None),
    ] {
        let (mut bench, alice, e1) = lab(calls(way));
        alice.send(&mut bench, &alice.request("INVITE", uri, 1, &sdp(AMR)));
        is_alternative(&alice.answered(&mut bench), action);
        assert!(e1.heard(&mut bench, "INVITE").is_empty());
    }
    let (mut bench, alice, e1) = lab(|_| {});
    alice.send(&mut bench, &alice.request("INVITE", uri, 1, &sdp(AMR)));
    let invite = e1.heard_one(&mut bench, "INVITE");
    assert_eq!(invite.request_uri, "urn:service:sos.police");
    e1.answer(&mut bench, &invite, 180, "P-Asserted-Identity: <sip:psap@psap.example>");
    e1.answer(&mut bench, &invite, 200, &sdp(AMR));
    let mut answers = alice.answers(&mut bench, "");
    answers.retain(|it| it.status > 100);
    let told: Vec<_> = answers
        .iter()
        .map(|it| (it.status, it.headers.get(HeaderName::PAssertedIdentity)))
        .collect();
    assert_eq!(told, [(180, Some("<tel:110>")), (200, Some("<tel:110>"))]);
}

fn emergency() {
    let (mut bench, _, e1) = lab(|_| {});
    let core = Hand::node(&mut bench, "i1", "p1");
    let ue = Hand::stranger(&mut bench, "p1");
    let contact = format!("Contact: <sip:{}>", ue.addr);
    let sos = format!("Contact: <sip:{};sos>", ue.addr);
    let register = ue.request("REGISTER", &format!("sip:{DOMAIN}"), 1, "Expires: 600");
    let register = register
        .replace(&contact, &sos)
        .replace(&format!("To: <sip:{DOMAIN}>"), &format!("To: <{}>", impu(9)))
        .replace("\"Nobody\" <sip:anonymous@anonymous.invalid>", &format!("<{}>", impu(9)));
    ue.send(&mut bench, &register);
    let heard = core.heard_one(&mut bench, "REGISTER");
    // The contact says what it is for, up to home and back.
    assert!(header(&Message::Request(heard.clone()), "Contact").contains(";sos>"));
    let lines = format!(
        "P-Associated-URI: <{}>, <tel:+15550100009>\nService-Route: <sip:orig@{};lr>",
        impu(9),
        core.addr
    );
    let ok = core.response(&heard, 200, &lines);
    let ok = ok.replace(&format!("Contact: <sip:{}>", core.addr), &format!("{sos};expires=600"));
    core.send(&mut bench, &ok);
    assert_eq!(ue.answered(&mut bench).status, 200);
    let pani = "P-Access-Network-Info: 3GPP-NR-FDD;utran-cell-id-3gpp=1";
    let lines = format!("{pani}\nGeolocation: <cid:loc@a>\n{}", sdp(AMR));
    ue.send(&mut bench, &ue.request("INVITE", "urn:service:sos.fire", 2, &lines));
    let invite: Request = e1.heard_one(&mut bench, "INVITE");
    let get = |name: &str| header(&Message::Request(invite.clone()), name);
    assert_eq!(invite.request_uri, "urn:service:sos.fire");
    assert_eq!(get("P-Asserted-Identity"), format!("<{}> | <tel:+15550100009>", impu(9)));
    assert_eq!(format!("P-Access-Network-Info: {}", get("P-Access-Network-Info")), pani);
    assert_eq!(get("Geolocation"), "<cid:loc@a>");
    assert_eq!(get("Route"), format!("<sip:{E1};lr>"));
    assert!(charging(&get("P-Charging-Vector"), "icid-value").is_some());
    assert!(get("Record-Route").contains(&format!("@{};lr>", bench.addr("p1"))));
}

/// The network takes the registration away while the call stands.
fn outlasts() {
    let (mut bench, alice, e1) = lab(|_| {});
    alice.send(&mut bench, &alice.request("INVITE", "urn:service:sos", 1, &sdp(AMR)));
    let invite = e1.heard_one(&mut bench, "INVITE");
    e1.answer(&mut bench, &invite, 200, &sdp(AMR));
    let answer = alice.answered(&mut bench);
    alice.send(&mut bench, &alice.in_dialog("ACK", 1, &answer, ""));
    bench.play("operator deregisters alice\nwait 300s");
    alice.send(&mut bench, &alice.request("MESSAGE", &impu(2), 5, ""));
    assert_eq!(sent_to(&bench, "p1", alice.addr, "403 MESSAGE").len(), 1, "not registered");
    assert!(bench.sent("p1").iter().all(|told| told.label() != "BYE"));
    bench.heard(&alice.name);
    alice.send(&mut bench, &alice.in_dialog("BYE", 2, &answer, ""));
    let bye = e1.heard_one(&mut bench, "BYE");
    e1.answer(&mut bench, &bye, 200, "");
    assert_eq!(alice.answered(&mut bench).status, 200);
}

fn fail_over() {
    let both = |edge: &mut EdgeConfig| edge.e_cscfs.push(format!("sip:{E2};lr"));
    // Silence, a redirection, 480 and a failure: the next one.
    for status in [None, Some(302), Some(480), Some(503)] {
        let (mut bench, alice, e1) = lab(both);
        let e2 = centre(&mut bench, "e2", E2);
        alice.send(&mut bench, &alice.request("INVITE", "urn:service:sos", 1, &sdp(AMR)));
        match status {
            None => bench.run_for(Duration::from_secs(7)),
            Some(status) => {
                let invite = e1.heard_one(&mut bench, "INVITE");
                e1.answer(&mut bench, &invite, status, "");
            }
        }
        let invite = e2.heard(&mut bench, "INVITE").remove(0);
        assert_eq!(header(&Message::Request(invite.clone()), "Route"), format!("<sip:{E2};lr>"));
        e2.answer(&mut bench, &invite, 200, &sdp(AMR));
        assert_eq!(alice.answered(&mut bench).status, 200, "{status:?}");
    }
    // No further one: the UE goes elsewhere.
    let (mut bench, alice, e1) = lab(|_| {});
    alice.send(&mut bench, &alice.request("INVITE", "urn:service:sos", 1, &sdp(AMR)));
    let invite = e1.heard_one(&mut bench, "INVITE");
    e1.answer(&mut bench, &invite, 500, "");
    is_alternative(one(&bench, "p1", alice.addr, "380 INVITE").response(), None);
    // What the centre itself says is no failure of it.
    let (mut bench, alice, e1) = lab(both);
    alice.send(&mut bench, &alice.request("INVITE", "urn:service:sos", 1, &sdp(AMR)));
    let invite = e1.heard_one(&mut bench, "INVITE");
    e1.answer(&mut bench, &invite, 486, "");
    assert_eq!(alice.answered(&mut bench).status, 486);
}
