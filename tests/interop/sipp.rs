//! SIPp as the UE of others: it registers by IMS AKA and by digest, calls and is called, over UDP
//! and TCP, with its own Milenage and its own reading of SIP. Skipped where SIPp is not installed.

use crate::running::{Running, Sipp, alice_by_sipp, by_sipp, credentials, installed, secret};

/// Hosts of the two UEs in the network of a lab.
const ALICE: u8 = 101;
const CAROL: u8 = 103;

fn calls(mode: &str) {
    if !installed("sipp") {
        return;
    }
    let lab = Running::start();
    let carol = lab.subscriber("carol");
    let carol = credentials(carol, &secret(carol));
    let callee = Sipp::start(&lab, "carol_answers", CAROL, mode, &[&carol]);
    let registered = lab.wait_for("carol registered from");
    assert!(registered.contains(&lab.ip(CAROL).to_string()), "{registered}");

    let caller = alice_by_sipp(&lab, "alice_calls", ALICE, mode);

    assert_eq!(caller, Ok(()), "the caller");
    assert_eq!(callee.end(), Ok(()), "the callee");
    lab.wait_for("alice calls carol: answered");
    lab.wait_for("call of alice and carol ended");
    lab.end();
}

#[test]
fn alice_registers_by_aka_and_calls_carol_over_udp() {
    calls("u1");
}

#[test]
fn alice_registers_by_aka_and_calls_carol_over_tcp() {
    calls("t1");
}

#[test]
fn a_wrong_password_and_a_wrong_res_are_refused_with_403() {
    if !installed("sipp") {
        return;
    }
    let lab = Running::start();
    let (alice, carol) = (lab.subscriber("alice"), lab.subscriber("carol"));
    for mode in ["u1", "t1"] {
        let wrong = credentials(carol, "not-the-secret");
        let refused = Sipp::start(&lab, "carol_refused", CAROL, mode, &[&wrong]);
        assert_eq!(refused.end(), Ok(()), "{mode}");
        let refused = Sipp::start(&lab, "alice_refused", ALICE, mode, &[&alice.impi]);
        assert_eq!(refused.end(), Ok(()), "{mode}");
    }
    lab.end();
}

/// The proof that SIPp looks at AUTN: with another K it finds no network that knows its key.
#[test]
fn a_phone_with_another_key_does_not_accept_the_network() {
    if !installed("sipp") {
        return;
    }
    let lab = Running::start();
    let alice = lab.subscriber("alice");
    let other = credentials(alice, &"77".repeat(16));

    let said = by_sipp(&lab, "alice_registers", (ALICE, "u1"), &[&alice.impi, &other])
        .expect_err("does not register");
    assert!(said.contains("MAC"), "{said}");
    assert_eq!(alice_by_sipp(&lab, "alice_registers", ALICE, "u1"), Ok(()));
    lab.end();
}
