//! SIPp as both UEs, with every method of sessions between them: what it sends and answers is not
//! ours, and what the core must have done on the way is checked where it arrives, in the scenarios
//! of `tests/sipp`. Skipped where SIPp is not installed.

use crate::running::{
    Running, Sipp, by_sipp, credentials, installed, md5_only, secret, text, wait_until,
};
use cscf_core::config::{Lab, read_lab};

/// Hosts of the two UEs in the network of a lab.
const CAROL: u8 = 103;
const DAVE: u8 = 104;
const UDP: &str = "u1";

/// A lab with a presence server for carol.
fn with_presence(lab: &mut Lab) {
    let [server, criteria] = [
        format!(
            "as1: {{role: as, listen: \"{}:7060\", behaviour: presence}}",
            lab.nodes[0].listen.ip()
        ),
        "filter_criteria:\n      - {priority: 1, server: as1, any_of: [{method: PUBLISH}, \
         [{method: SUBSCRIBE}, {session_case: terminating}]]}"
            .to_owned(),
    ];
    let text = lab
        .to_yaml()
        .replace("\nnodes:\n", &format!("\nnodes:\n  {server}\n"))
        .replace("\n  carol:\n", &format!("\n  carol:\n    {criteria}\n"));
    *lab = read_lab(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
}

/// Registers one and gives the S-CSCF of its Service-Route.
fn registers(lab: &Running, name: &str, host: u8) -> String {
    let subscriber = lab.subscriber(name);
    let credentials = credentials(subscriber, &secret(subscriber));
    let registered = by_sipp(lab, "registers", (host, UDP), &[&credentials, name]);
    assert_eq!(registered, Ok(()), "{name} registers");
    let log = lab.folder.path().join(format!("registers-{host}.messages"));
    let log = text(&std::fs::read(log).expect("a log"));
    let (_, route) = log.split_once("Service-Route: <").expect("a Service-Route");
    // What separates fields of SIPp is in every URI of a route, once.
    route.split_once(";lr>").expect("a loose route").0.to_owned()
}

/// True when somebody listens there, for the callee who is not to be called before.
fn listens(host: std::net::Ipv4Addr) -> bool {
    let [one, two, three, four] = host.octets();
    let wanted = format!(" {four:02X}{three:02X}{two:02X}{one:02X}:13C4 ");
    std::fs::read_to_string("/proc/net/udp").expect("sockets").contains(&wanted)
}

/// dave does something with carol, each with a scenario.
fn between(caller: &str, callee: &str) -> Option<Running> {
    if !installed("sipp") {
        return None;
    }
    let lab = Running::start_with(|lab, _| {
        md5_only(lab);
        Vec::new()
    });
    registers(&lab, "carol", CAROL);
    let route = registers(&lab, "dave", DAVE);
    let carol = Sipp::start(&lab, callee, CAROL, UDP, &[]);
    wait_until(|| listens(lab.ip(CAROL)).then_some(()));

    let dave = Sipp::start(&lab, caller, DAVE, UDP, &[&route]).end();
    let carol = carol.end();
    assert_eq!((dave, carol), (Ok(()), Ok(())), "dave, carol");
    Some(lab)
}

/// The same, for a call that is answered and ends.
fn call(caller: &str, callee: &str) {
    let Some(lab) = between(caller, callee) else { return };
    lab.wait_for("dave calls carol: answered");
    lab.wait_for("call of dave and carol ended");
    lab.end();
}

#[test]
fn prack_and_update_before_the_answer() {
    call("dave_calls_reliably", "carol_answers_reliably");
}

#[test]
fn info_hold_resume_and_options_within_a_call() {
    call("dave_holds", "carol_is_held");
}

#[test]
fn cancel_while_it_rings() {
    let Some(lab) = between("dave_gives_up", "carol_is_given_up") else { return };
    lab.end();
}

#[test]
fn refer_with_its_notifies() {
    call("dave_transfers", "carol_is_transferred");
}

#[test]
fn message_options_and_subscribe_outside_a_call() {
    let Some(lab) = between("dave_asks_and_watches", "carol_is_asked_and_watched") else { return };
    lab.end();
}

#[test]
fn publish_to_a_presence_server() {
    if !installed("sipp") {
        return;
    }
    let lab = Running::start_with(|lab, _| {
        with_presence(lab);
        Vec::new()
    });
    let route = registers(&lab, "carol", CAROL);
    let carol = by_sipp(&lab, "carol_publishes", (CAROL, UDP), &[&route]);
    assert_eq!(carol, Ok(()));
    lab.end();
}
