//! The P-CSCF between UEs and the home network: identity, routes, charging, the edge of trust.

use cscf_core::engine::PolicyNode;
use cscf_core::sip::HeaderName;
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, Told};
use p_cscf::Stranger;
use p_cscf::{Command, Pcscf};

use super::by_hand::{
    Hand, SDP, alice_and, both, call, charging, impu, one, reconfigure, sent_to, uri_of,
};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("pcscf::a_preferred_identity_is_asserted", &["P-ORI-010"], preferred),
        case(
            "pcscf::without_a_valid_preference_the_default_is_asserted",
            &["P-ORI-020", "G-TRUST-010"],
            default_identity,
        ),
        case("pcscf::the_service_route_is_enforced", &["P-ORI-030a", "P-ORI-030b"], service_route),
        case("pcscf::strangers_send_nothing", &["P-ORI-050"], strangers),
        case(
            "pcscf::every_initial_request_gets_an_icid_of_its_own",
            &["P-ORI-060", "G-ICID-010"],
            icids,
        ),
        case(
            "pcscf::what_only_the_network_says_is_taken_from_a_ue",
            &["P-ORI-070", "P-ORI-110"],
            forged,
        ),
        case("pcscf::early_media_is_authorised_by_no_ue", &["P-ORI-120"], early_media),
        case("pcscf::a_dialog_is_for_its_party_only", &["P-ORI-080"], strangers_bye),
        case("pcscf::the_route_set_of_a_dialog_is_repaired", &["P-ORI-090"], route_set),
        case("pcscf::unknown_dialogs_get_481", &[], unknown_dialog),
        case("pcscf::a_message_leaves_no_record_route", &["P-ORI-170"], standalone),
        case("pcscf::a_cancel_waits_for_the_next_hop", &["P-ORI-180"], cancel),
        case("pcscf::a_silent_scscf_sends_the_ue_to_register", &["P-ORI-210"], silent_scscf),
        case("pcscf::overload_refuses_new_work_first", &["P-OVL-010"], overload),
        case("pcscf::an_emergency_registration_is_for_emergencies", &["P-EMG-060"], emergency_only),
    ]
}

/// The request as the P-CSCF sends it to the S-CSCF.
fn to_core(bench: &Bench, method: &str) -> Told {
    one(bench, "p1", bench.addr("s1"), method)
}

fn preferred() {
    let default = format!("<{}>", impu(1));
    let sip = format!("<sip:alice@{DOMAIN}>");
    for (n, (preferred, asserted)) in (1..).zip([
        ("<tel:+1-555-010-0001>".to_owned(), "<tel:+15550100001>".to_owned()),
        (sip.clone(), sip.clone()),
        (default.clone(), default.clone()),
        (format!("{sip}, <tel:+15550100001>"), format!("{sip} | <tel:+15550100001>")),
        (format!("{sip}, {default}"), sip),
    ]) {
        let (mut bench, alice) = alice_and(&[]);
        let lines = format!("P-Preferred-Identity: {preferred}");
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), n, &lines));
        let invite = to_core(&bench, "INVITE");
        assert_eq!(invite.header("P-Asserted-Identity"), asserted, "{preferred}");
        assert_eq!(invite.header("P-Preferred-Identity"), "");
    }
}

fn default_identity() {
    let default = format!("<{}>", impu(1));
    for lines in [
        String::new(),
        format!("P-Preferred-Identity: <{}>", impu(2)),
        format!("P-Asserted-Identity: <{}>", impu(2)),
    ] {
        let (mut bench, alice) = alice_and(&[]);
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, &lines));
        let invite = to_core(&bench, "INVITE");
        assert_eq!(invite.header("P-Asserted-Identity"), default, "{lines}");
        assert_eq!(invite.header("P-Preferred-Identity"), "");
        let from = "\"Nobody\" <sip:anonymous@anonymous.invalid>;tag=from1";
        assert_eq!(invite.header("From"), from);
    }
}

fn service_route() {
    let (mut bench, alice) = alice_and(&[]);
    let stored = alice.service_route.clone();
    assert!(stored.contains(";lr"), "{stored}");
    let right = alice.request("INVITE", &impu(2), 1, "");
    alice.send(&mut bench, &right);
    assert_eq!(to_core(&bench, "INVITE").header("Route"), stored);

    let elsewhere = format!("<sip:x@{};lr>", bench.addr("i1"));
    for (n, wrong) in (2..).zip([elsewhere.clone(), format!("{stored}, {elsewhere}")]) {
        bench.mark();
        let alice = Hand { service_route: wrong, ..alice.clone() };
        alice.send(&mut bench, &alice.request("INVITE", &impu(2), n, ""));
        assert_eq!(to_core(&bench, "INVITE").header("Route"), stored);
        assert!(sent_to(&bench, "p1", bench.addr("i1"), "INVITE").is_empty());
    }
    // No Route at all behind the P-CSCF's own.
    bench.mark();
    let none = alice.request("INVITE", &impu(2), 9, "").replace(&format!(", {stored}"), "");
    alice.send(&mut bench, &none);
    assert_eq!(to_core(&bench, "INVITE").header("Route"), stored);
}

fn strangers() {
    for (silent, status) in [(true, None), (false, Some(403))] {
        let mut bench = Bench::new(&["bob"]);
        if silent {
            reconfigure(&mut bench, |config| config.stranger = Stranger::Discard);
        }
        bench.register(&["bob"]);
        let stranger = Hand::stranger(&mut bench, "p1");
        for (n, method) in (1..).zip(["INVITE", "MESSAGE", "SUBSCRIBE", "OPTIONS"]) {
            bench.mark();
            stranger.send(&mut bench, &stranger.request(method, &impu(2), n, ""));
            let found = stranger.answers(&mut bench, "");
            let found = found.iter().map(|response| response.status).find(|status| *status > 100);
            assert_eq!(found, status, "{method}");
            assert!(bench.sent("p1").iter().all(|told| told.wire.remote == stranger.addr));
        }
    }
}

fn icids() {
    let (mut bench, alice) = alice_and(&[]);
    // A core that only listens: every request is retransmitted.
    let core = Hand::node(&mut bench, "s1", "p1");
    let mut seen = Vec::new();
    let methods = ["INVITE", "SUBSCRIBE", "MESSAGE", "PUBLISH", "OPTIONS", "INVITE"];
    for (n, method) in (1..).zip(methods) {
        let lines = "Event: presence\nP-Charging-Vector: icid-value=forged;orig-ioi=forged";
        let text = alice.request(method, &impu(2), n, lines);
        alice.send(&mut bench, &text);
        alice.send(&mut bench, &text);
        bench.run_for(Duration::from_secs(4));
        let sent = core.heard(&mut bench, method);
        assert!(sent.len() >= 3, "{method} is retransmitted: {}", sent.len());
        let vectors: Vec<&str> = sent
            .iter()
            .map(|request| request.headers.get(HeaderName::PChargingVector).expect("a vector"))
            .collect();
        assert!(vectors.iter().all(|vector| *vector == vectors[0]), "{method}: {vectors:?}");
        assert!(!vectors[0].contains("forged"), "{}", vectors[0]);
        assert!(charging(vectors[0], "icid-generated-at").is_some(), "{}", vectors[0]);
        assert_eq!(charging(vectors[0], "orig-ioi"), Some(format!("Type 1{DOMAIN}")));
        assert_eq!(charging(vectors[0], "term-ioi"), None);
        let icid = charging(vectors[0], "icid-value").expect("icid");
        assert!(!seen.contains(&icid), "{method} has the icid of another request");
        seen.push(icid);
    }
    // REGISTER: the first of all, and the answer to the challenge.
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    let registers = sent_to(&bench, "p1", bench.addr("i1"), "REGISTER");
    assert_eq!(registers.len(), 2);
    for register in registers {
        let vector = register.header("P-Charging-Vector");
        assert!(charging(&vector, "icid-generated-at").is_some(), "{vector}");
        let icid = charging(&vector, "icid-value").expect("icid");
        assert!(!seen.contains(&icid), "REGISTER has the icid of another request");
        seen.push(icid);
    }
}

fn forged() {
    let (mut bench, alice) = alice_and(&[]);
    let foreign = bench.raw("foreign");
    let lines = "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=1, \
                 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=2;network-provided, 3GPP-NR-FDD;np\n\
                 Geolocation: <cid:a@b>;loc-src=forged.example;inserted-by=\"x\"\n\
                 Feature-Caps: *;+g.3gpp.srvcc\n\
                 P-Asserted-Service: urn:urn-7:3gpp-service.forged\n\
                 X-Own: kept";
    alice.send(&mut bench, &alice.request("INVITE", &format!("sip:x@{foreign}"), 1, lines));
    let invite = to_core(&bench, "INVITE");
    let info = invite.header("P-Access-Network-Info");
    assert_eq!(info, "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=1");
    assert_eq!(invite.header("Geolocation"), "<cid:a@b>;inserted-by=\"x\"");
    assert_eq!(invite.header("Feature-Caps"), "");
    assert_eq!(invite.header("P-Asserted-Service"), "");
    assert_eq!(invite.header("X-Own"), "kept");
    // The S-CSCF lets it leave the trust domain without the access network.
    let abroad = one(&bench, "s1", foreign, "INVITE");
    assert_eq!(abroad.header("P-Access-Network-Info"), "");
    assert_eq!(abroad.header("X-Own"), "kept");
}

fn early_media() {
    let (mut bench, alice, bob) = both();
    let lines = "P-Early-Media: supported, sendrecv";
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, lines));
    let invite = bob.heard_one(&mut bench, "INVITE");
    assert_eq!(invite.headers.get(HeaderName::PEarlyMedia), Some("supported"));
    bob.answer(&mut bench, &invite, 183, "P-Early-Media: sendrecv");
    let sent = one(&bench, "p1", bench.addr("s1"), "183 INVITE");
    assert_eq!(sent.header("P-Early-Media"), "");
}

fn strangers_bye() {
    let mut bench = Bench::new(&["alice", "bob", "carol"]);
    let bob = Hand::registered(&mut bench, "bob");
    let alice = Hand::registered(&mut bench, "alice");
    let carol = Hand::registered(&mut bench, "carol");
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, SDP));
    let invite = bob.heard_one(&mut bench, "INVITE");
    bob.answer(&mut bench, &invite, 200, SDP);
    let answer = alice.answered(&mut bench);
    alice.send(&mut bench, &alice.in_dialog("ACK", 1, &answer, ""));
    bench.heard(&bob.name);
    bench.mark();
    // carol says that she is alice.
    for (cseq, method) in (2..).zip(["BYE", "UPDATE", "INVITE"]) {
        carol.send(&mut bench, &carol.in_dialog(method, cseq, &answer, ""));
        assert_eq!(carol.answered(&mut bench).status, 403, "{method}");
    }
    assert!(sent_to(&bench, "p1", bench.addr("s1"), "BYE").is_empty());
    assert!(bench.heard(&bob.name).is_empty());
    // The dialog is as it was.
    alice.send(&mut bench, &alice.in_dialog("UPDATE", 5, &answer, ""));
    let update = bob.heard_one(&mut bench, "UPDATE");
    bob.answer(&mut bench, &update, 200, "");
    assert_eq!(alice.answered(&mut bench).status, 200);
}

fn route_set() {
    let (mut bench, alice, bob, answer, _) = call();
    let stored: Vec<&str> = answer.headers.values(HeaderName::RecordRoute).collect();
    let stored: Vec<&str> = stored.into_iter().rev().skip(1).collect();
    let right = alice.in_dialog("UPDATE", 2, &answer, "");
    let route: Vec<&str> = right.lines().filter(|line| line.starts_with("Route:")).collect();
    let wrong = format!("Route: <sip:x@{};lr>", bench.addr("i1"));
    for (wrong_request, branch) in [
        (right.replace(route[1], &wrong), "a"),
        (right.replace(&format!("{}\n", route[1]), ""), "b"),
        (right.replace(route[1], &format!("{}\n{wrong}", route[1])), "c"),
    ] {
        bench.mark();
        alice.send(&mut bench, &wrong_request.replace("-d2", branch));
        let update = to_core(&bench, "UPDATE");
        assert_eq!(update.header("Route"), stored.join(" | "));
        let heard = bob.heard_one(&mut bench, "UPDATE");
        bob.answer(&mut bench, &heard, 200, "");
        assert_eq!(alice.answered(&mut bench).status, 200);
    }
}

fn unknown_dialog() {
    let (mut bench, alice) = alice_and(&["bob"]);
    for method in ["BYE", "UPDATE", "INFO", "PRACK"] {
        bench.mark();
        let lines = "RAck: 1 1 INVITE";
        let text = alice.request(method, &format!("sip:{}", bench.addr("bob")), 7, lines);
        // Through the S-CSCF to the phone, in a dialog nobody has.
        let text = text.replacen("\nCall-ID", ";tag=nobody\nCall-ID", 1);
        alice.send(&mut bench, &text);
        assert_eq!(to_core(&bench, method).header("Route"), alice.service_route, "{method}");
        assert_eq!(alice.answered(&mut bench).status, 481, "{method}");
        let by_bob = one(&bench, "bob", bench.addr("s1"), &format!("481 {method}"));
        assert_eq!(by_bob.response().status, 481);
    }
    // A dialog that was over is answered by the P-CSCF itself.
    let (mut bench, alice, bob, answer, _) = call();
    alice.send(&mut bench, &alice.in_dialog("BYE", 2, &answer, ""));
    let bye = bob.heard_one(&mut bench, "BYE");
    bob.answer(&mut bench, &bye, 200, "");
    assert_eq!(alice.answered(&mut bench).status, 200);
    let core = Hand::node(&mut bench, "s1", "p1");
    let record = answer.headers.values(HeaderName::RecordRoute).last().expect("ours").to_owned();
    let text = core.request("BYE", &format!("sip:{}", alice.addr), 8, &format!("Route: {record}"));
    let text =
        text.replace("tag=from8", "tag=hand").replacen("\nCall-ID", ";tag=from1\nCall-ID", 1);
    let text = text.replace(&format!("call8@{}", core.addr), &format!("call1@{}", alice.addr));
    core.send(&mut bench, &text);
    assert_eq!(core.answered(&mut bench).status, 481);
    assert!(bench.heard(&alice.name).is_empty());
}

fn standalone() {
    let (mut bench, alice, bob) = both();
    for (n, method) in (1..).zip(["MESSAGE", "OPTIONS", "PUBLISH"]) {
        bench.mark();
        alice.send(
            &mut bench,
            &alice.request(method, &impu(2), n, "P-Charging-Vector: icid-value=x"),
        );
        let sent = to_core(&bench, method);
        assert_eq!(sent.header("P-Asserted-Identity"), format!("<{}>", impu(1)));
        assert_eq!(sent.header("Route"), alice.service_route);
        let vector = sent.header("P-Charging-Vector");
        assert!(charging(&vector, "icid-value").is_some_and(|icid| icid != "x"), "{vector}");
        assert_eq!(sent.header("Record-Route"), "");
        let heard = bob.heard_one(&mut bench, method);
        assert!(!heard.headers.contains(HeaderName::RecordRoute));
        let lines = "Server: b/1\nX-Own:   as it  is\nP-Charging-Vector: icid-value=y\n\
                     Content-Type: text/plain\n\nbody";
        bob.answer(&mut bench, &heard, 202, lines);
        let from = one(&bench, "s1", bench.addr("p1"), &format!("202 {method}"));
        let answer = alice.answered(&mut bench);
        assert_eq!((answer.status, &*answer.reason), (202, "Accepted"));
        assert_eq!(answer.headers.get(HeaderName::PChargingVector), None);
        assert_eq!(answer.body.trim_ascii_end(), b"body");
        let lines = |headers: &cscf_core::sip::Headers| -> Vec<String> {
            let lines = headers
                .iter()
                .filter(|field| !["Via", "P-Charging-Vector"].contains(&field.name_text()));
            lines.map(|field| String::from_utf8_lossy(field.line()).into_owned()).collect()
        };
        assert_eq!(lines(&answer.headers), lines(&from.response().headers));
        assert!(lines(&answer.headers).contains(&"X-Own:   as it  is\r\n".to_owned()));
    }
}

fn cancel() {
    let (mut bench, alice) = alice_and(&[]);
    let core = Hand::node(&mut bench, "s1", "p1");
    let text = alice.request("INVITE", &impu(2), 1, "");
    alice.send(&mut bench, &text);
    let invite = core.heard_one(&mut bench, "INVITE");
    let cancel = text.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL");
    bench.heard(&alice.name);
    alice.send(&mut bench, &cancel);
    assert_eq!(alice.answered(&mut bench).headers.get(HeaderName::CSeq), Some("1 CANCEL"));
    assert!(core.heard(&mut bench, "CANCEL").is_empty(), "before any 1xx");
    core.answer(&mut bench, &invite, 100, "");
    let heard = core.heard_one(&mut bench, "CANCEL");
    core.answer(&mut bench, &heard, 200, "");
    core.answer(&mut bench, &invite, 487, "");
    assert_eq!(core.heard(&mut bench, "ACK").len(), 1, "the P-CSCF acknowledges");
    let answer = alice.answered(&mut bench);
    assert_eq!(answer.status, 487);
    let ack = text.replace("INVITE sip", "ACK sip").replace("1 INVITE", "1 ACK");
    let to = answer.headers.get(HeaderName::To).unwrap_or_default();
    let ack = ack.replace(&format!("To: <{}>", impu(2)), &format!("To: {to}"));
    alice.send(&mut bench, &ack);
    bench.run_for(Duration::from_secs(10));
    assert!(bench.heard(&core.name).is_empty(), "the ACK goes no further");
    assert!(bench.heard(&alice.name).is_empty(), "the 487 is not repeated");
}

fn silent_scscf() {
    for restoration in [true, false] {
        let mut bench = Bench::new(&["alice"]);
        if !restoration {
            reconfigure(&mut bench, |config| config.restoration = false);
        }
        let alice = Hand::registered(&mut bench, "alice");
        assert!(bench.stage.lab.crash("s1"));
        for (n, method) in (1..).zip(["INVITE", "MESSAGE"]) {
            alice.send(&mut bench, &alice.request(method, &impu(2), n, ""));
            bench.run_for(Duration::from_secs(40));
            let answer = alice.answers(&mut bench, &format!("504 {method}"));
            let answer = answer.first().expect("504");
            let get = |name| answer.headers.get(name);
            if restoration {
                let asserted = get(HeaderName::PAssertedIdentity).expect("asserted");
                let path = bench.addr("p1").to_string();
                assert!(uri_of(asserted).contains(&path), "{asserted}");
                assert_eq!(get(HeaderName::ContentType), Some("application/3gpp-ims+xml"));
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(body.contains("<type>restoration</type>"), "{body}");
                assert!(body.contains("<action>initial-registration</action>"), "{body}");
            } else {
                assert_eq!(get(HeaderName::PAssertedIdentity), None);
                assert!(answer.body.is_empty());
            }
        }
    }
    // The P-Asserted-Identity is what the Path was, and the phone registers anew.
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    let registers = sent_to(&bench, "p1", bench.addr("i1"), "REGISTER");
    let path = registers.last().expect("REGISTER").header("Path");
    assert!(bench.stage.lab.crash("s1"));
    bench.mark();
    bench.play("alice calls bob\nwait 40s");
    let refused = one(&bench, "p1", bench.addr("alice"), "504 INVITE");
    assert_eq!(refused.header("P-Asserted-Identity"), path);
    let anew = sent_to(&bench, "alice", bench.addr("p1"), "REGISTER");
    let anew = anew.iter().find(|told| told.at > refused.at).expect("registers anew");
    assert!(anew.header("Authorization").contains("nonce=\"\""), "from scratch");
}

fn overload() {
    let (mut bench, alice, bob, answer, _) = call();
    bench.play("wait 1s");
    let order = |bench: &mut Bench, retry_after| {
        let done = bench.stage.lab.with("p1", |node: &mut PolicyNode<Pcscf>, now| {
            node.command(now, Command::Overload(retry_after));
        });
        done.expect("p1");
    };
    order(&mut bench, Some(7));
    let stranger = Hand::stranger(&mut bench, "p1");
    let register = stranger.request("REGISTER", &format!("sip:{DOMAIN}"), 1, "");
    stranger.send(&mut bench, &register);
    let refused = stranger.answered(&mut bench);
    assert_eq!((refused.status, refused.headers.get(HeaderName::RetryAfter)), (503, Some("7")));
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 5, ""));
    let refused = alice.answered(&mut bench);
    assert_eq!((refused.status, refused.headers.get(HeaderName::RetryAfter)), (503, Some("7")));
    assert!(bob.heard(&mut bench, "INVITE").is_empty());
    // Emergency calls, requests in dialogs and refreshes are still served.
    alice.send(&mut bench, &alice.request("INVITE", "urn:service:sos", 6, ""));
    assert_eq!(sent_to(&bench, "p1", alice.addr, "503 INVITE").len(), 1);
    bench.heard(&alice.name);
    alice.send(&mut bench, &alice.in_dialog("UPDATE", 7, &answer, ""));
    let update = bob.heard_one(&mut bench, "UPDATE");
    bob.answer(&mut bench, &update, 200, "");
    assert_eq!(alice.answered(&mut bench).status, 200);

    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    order(&mut bench, Some(7));
    bench.mark();
    bench.play("alice re-registers\nwait 2s");
    assert_eq!(sent_to(&bench, "p1", bench.addr("alice"), "200 REGISTER").len(), 1);
    assert!(sent_to(&bench, "p1", bench.addr("alice"), "503 REGISTER").is_empty());
}

fn emergency_only() {
    let mut bench = Bench::new(&[]);
    let core = Hand::node(&mut bench, "i1", "p1");
    let home = Hand::node(&mut bench, "s1", "p1");
    let ue = Hand::stranger(&mut bench, "p1");
    for (n, sos, served) in [(1, ";sos", false), (2, "", true)] {
        let register = ue.request("REGISTER", &format!("sip:{DOMAIN}"), n, "Expires: 600");
        let contact = format!("Contact: <sip:{}{sos}>", ue.addr);
        let register = register.replace(&format!("Contact: <sip:{}>", ue.addr), &contact);
        let register = register
            .replace(&format!("To: <sip:{DOMAIN}>"), &format!("To: <{}>", impu(9)))
            .replace("\"Nobody\" <sip:anonymous@anonymous.invalid>", &format!("<{}>", impu(9)));
        ue.send(&mut bench, &register);
        let heard = core.heard_one(&mut bench, "REGISTER");
        let lines =
            format!("P-Associated-URI: <{}>\nService-Route: <sip:orig@{};lr>", impu(9), home.addr);
        let contact = format!("{contact};expires=600");
        let ok = core.response(&heard, 200, &lines);
        let ok = ok.replace(&format!("Contact: <sip:{}>", core.addr), &contact);
        core.send(&mut bench, &ok);
        assert_eq!(ue.answered(&mut bench).status, 200, "{sos}");
        bench.mark();
        for (k, method) in (10 * n..).zip(["INVITE", "MESSAGE"]) {
            ue.send(&mut bench, &ue.request(method, "tel:+15550100002", k, ""));
            let forwarded = !home.heard(&mut bench, method).is_empty();
            assert_eq!(forwarded, served, "{method} {sos}");
            let refused = ue.answers(&mut bench, &format!("403 {method}"));
            assert_eq!(refused.len(), usize::from(!served), "{method} {sos}");
        }
    }
}
