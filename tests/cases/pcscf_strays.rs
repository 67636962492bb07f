//! What belongs to a transaction under security associations and comes by another way (TS 33.203
//! §7.1, §7.4.2a): in clear, by a set that waits, by the set of another UE. And under TLS.

use cscf_core::sip::Message;
use cscf_core::transport::Transport;
use cscf_tests::{header, label};

use super::gm::{Phone, ask};
use super::hand::{A_MOMENT, response, status};
use super::pcscf_security::path_of;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "pcscf_strays::a_cancel_comes_by_the_associations_of_its_invite",
            &["P-REG-250", "P-REG-260"],
            cancel,
        ),
        case(
            "pcscf_strays::a_response_comes_by_the_associations_of_its_request",
            &["P-REG-250", "P-REG-260"],
            answer,
        ),
        case("pcscf_strays::an_ack_comes_by_those_of_its_invite", &["P-REG-260"], ack),
        case("pcscf_strays::a_repeated_request_is_not_answered_in_clear", &["P-REG-260"], again),
        case("pcscf_strays::newer_associations_go_on_with_it", &["P-REG-270"], newer),
    ]
}

/// A phone with set 0, and at the same address another user's with set 5.
fn phones() -> Phone {
    let mut phone = Phone::new();
    phone.hand.bench.raw("stranger");
    let (impi, call_id) = (phone.hand.who.impi.clone(), phone.hand.call_id.clone());
    phone.hand.who.impi = impi.replace("001", "002");
    "another".clone_into(&mut phone.hand.call_id);
    let mut other = ask(5);
    other.ports.server = 6_400;
    let lines = phone.offer(&other.client());
    phone.send(&lines, None);
    let request = phone.at_home("REGISTER").expect("it goes home");
    let line = phone.challenge_line();
    let unauthorized = phone.home_says(&request, "401 Unauthorized", &line).remove(0).1;
    phone.install(5, &other, &unauthorized);
    let lines = phone.answer(5, &unauthorized).replace(&ask(5).client(), &other.client());
    phone.send(&lines, Some(5));
    let request = phone.at_home("REGISTER").expect("it goes home");
    assert_eq!(label(&phone.ok(&request).1), "200 REGISTER");
    (phone.hand.who.impi, phone.hand.call_id) = (impi, call_id);
    phone.registered(0, None);
    phone
}

/// What belongs to a request of the phone: its Via, its dialog.
fn of_request(request: &str, method: &str) -> String {
    request
        .replace("INVITE sip:", &format!("{method} sip:"))
        .replace("1 INVITE", &format!("1 {method}"))
}

/// Sends a text by all ways that are not those of set 0; each time p1 drops it, and says nothing.
fn by_other_ways(phone: &mut Phone, text: &str, waiting: u32) {
    let to = phone.hand.to;
    for way in ["stranger", "ue", "another", "waiting"] {
        phone.hand.bench.mark();
        match way {
            "another" => phone.hand.bench.send_by("ue", phone.flow(5), text),
            "waiting" => phone.hand.bench.send_by("ue", phone.flow(waiting), text),
            peer => phone.hand.bench.send(peer, to, text),
        }
        phone.hand.bench.run_for(A_MOMENT);
        let dropped = phone.hand.bench.dropped("p1");
        assert_eq!(dropped.len(), 1, "{way}: {dropped:?}");
        let why = match way {
            "another" => ", its transaction by set ",
            "waiting" => "only REGISTER may come by associations that wait",
            _ => " in clear text, its transaction by set ",
        };
        assert!(dropped[0].contains(why), "{way}: {dropped:?}");
        // What is repeated because the phone has not acknowledged it is no answer to this.
        let heard = phone.heard();
        let answers = heard.iter().filter(|(_, it)| label(it) != "486 INVITE");
        assert!(answers.clone().all(|(_, it)| matches!(it, Message::Request(_))), "{way}");
    }
}

/// Whether home has heard a CANCEL.
fn cancelled(phone: &mut Phone) -> bool {
    phone.hand.bench.heard("home").iter().any(|it| label(it) == "CANCEL")
}

fn cancel() {
    let mut phone = phones();
    let text = phone.request("INVITE", Transport::Udp);
    phone.hand.bench.send_by("ue", phone.flow(0), &text);
    phone.hand.bench.run_for(A_MOMENT);
    let invite = phone.at_home("INVITE").expect("it goes home");
    phone.home_says(&invite, "180 Ringing", "");
    phone.challenged(1, Some(0));
    let cancel = of_request(&text, "CANCEL");
    by_other_ways(&mut phone, &cancel, 1);
    assert!(!cancelled(&mut phone));
    phone.hand.bench.send_by("ue", phone.flow(0), &cancel);
    phone.hand.bench.run_for(A_MOMENT);
    assert!(phone.heard().iter().any(|(_, it)| label(it) == "200 CANCEL"));
    assert!(cancelled(&mut phone));
}

fn answer() {
    let mut phone = phones();
    let path = path_of(&mut phone);
    let invite = phone.calls(&path, "INVITE").remove(0).1;
    phone.challenged(1, Some(0));
    for status in ["180 Ringing", "200 OK", "603 Decline"] {
        by_other_ways(&mut phone, &response(&invite, status, ""), 1);
        assert!(phone.at_home(&format!("{} INVITE", &status[..3])).is_none());
    }
    let ok = response(&invite, "200 OK", "");
    phone.hand.bench.send_by("ue", phone.flow(0), &ok);
    phone.hand.bench.run_for(A_MOMENT);
    assert!(phone.at_home("200 INVITE").is_some());
    // Nor is another 200 taken while the transaction lingers.
    let forged = ok.replace("tag=raw", "tag=forged");
    assert_ne!(forged, ok);
    by_other_ways(&mut phone, &forged, 1);
    let heard = phone.hand.bench.heard("home");
    assert!(heard.iter().all(|it| !header(it, "To").contains("forged")), "{heard:?}");
}

fn ack() {
    let mut phone = phones();
    let text = phone.request("INVITE", Transport::Udp);
    phone.hand.bench.send_by("ue", phone.flow(0), &text);
    phone.hand.bench.run_for(A_MOMENT);
    let invite = phone.at_home("INVITE").expect("it goes home");
    phone.heard();
    phone.challenged(1, Some(0));
    let heard = phone.home_says(&invite, "486 Busy Here", "");
    assert_eq!(status(&heard.last().expect("an answer").1), 486);
    let to = header(&heard.last().expect("an answer").1, "To");
    let from = format!("To: <sip:bob@{}>\n", cscf_tests::DOMAIN);
    let ack = of_request(&text, "ACK").replace(&from, &format!("To: {to}\n"));
    by_other_ways(&mut phone, &ack, 1);
    let repeated = |phone: &mut Phone| {
        phone.hand.bench.heard_by("ue");
        phone.wait(20);
        phone.hand.bench.heard_by("ue").iter().any(|(_, it)| label(it) == "486 INVITE")
    };
    assert!(repeated(&mut phone), "it is not acknowledged");
    phone.hand.bench.send_by("ue", phone.flow(0), &ack);
    phone.hand.bench.run_for(A_MOMENT);
    assert!(!repeated(&mut phone), "it is acknowledged");
}

fn again() {
    let mut phone = phones();
    let text = phone.request("MESSAGE", Transport::Udp);
    phone.hand.bench.send_by("ue", phone.flow(0), &text);
    phone.hand.bench.run_for(A_MOMENT);
    let message = phone.at_home("MESSAGE").expect("it goes home");
    let heard = phone.home_says(&message, "200 OK", "Subject: secret\n");
    assert_eq!(label(&heard[0].1), "200 MESSAGE");
    for peer in ["stranger", "ue"] {
        phone.hand.bench.mark();
        phone.hand.bench.send(peer, phone.hand.to, &text);
        phone.wait(1);
        assert!(phone.hand.bench.heard(peer).is_empty(), "{peer}");
        assert_eq!(phone.hand.bench.dropped("p1").len(), 1);
    }
}

/// A call that began under set 0 is cancelled, and another answered, under set 1.
fn newer() {
    let mut phone = Phone::new();
    phone.registered(0, None);
    let path = path_of(&mut phone);
    let text = phone.request("INVITE", Transport::Udp);
    phone.hand.bench.send_by("ue", phone.flow(0), &text);
    phone.hand.bench.run_for(A_MOMENT);
    let invite = phone.at_home("INVITE").expect("it goes home");
    phone.home_says(&invite, "180 Ringing", "");
    let called = phone.calls(&path, "INVITE").remove(0).1;
    assert_eq!(ask(1).ports.server, ask(0).ports.server);
    phone.registered(1, Some(0));
    let mut by_new = |text: &str| {
        phone.hand.bench.send_by("ue", phone.flow(1), text);
        phone.hand.bench.run_for(A_MOMENT);
    };
    by_new(&of_request(&text, "CANCEL"));
    by_new(&response(&called, "200 OK", ""));
    let heard: Vec<String> = phone.hand.bench.heard("home").iter().map(label).collect();
    assert!(heard.iter().any(|it| it == "CANCEL"), "{heard:?}");
    assert!(heard.iter().any(|it| it == "200 INVITE"), "{heard:?}");
}
