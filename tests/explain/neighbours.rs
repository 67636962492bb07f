//! What looks like a violation and is none, and whom a finding blames.

use std::collections::BTreeSet;

use scenarios::explain::{Selection, explain, text};

use super::broken::{CALL, PLAIN, REFRESHED, all};
use super::tape::Op::{Add, Again, Cut, Delay, GoesOn, Set, Swap, Tcp, To, Without, WithoutAll};
use super::tape::{Op, Tape};

const NUMBER: &str = "INVITE sip:+15550100002@ims.mnc001.mcc001.3gppnetwork.org;user=phone SIP/2.0";
const OPENING: &str = "Digest username=\"001010000000001@ims.mnc001.mcc001.3gppnetwork.org\", \
    realm=\"ims.mnc001.mcc001.3gppnetwork.org\", uri=\"sip:ims.mnc001.mcc001.3gppnetwork.org\", \
    nonce=\"\", response=\"\"";
/// A challenge beside that of the registrar.
const SECOND: &str = "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\", algorithm=SHA-256\r\n\
    WWW-Authenticate: Digest ";
/// Without what comes before the user is alerted.
const NO_EARLY: [Op; 3] = [WithoutAll("183/INVITE"), WithoutAll("PRACK"), WithoutAll("200/PRACK")];
const EARLY_ROUTE: Op = Swap(
    "p1>alice 180/INVITE",
    "Record-Route: <sip:orig",
    "Record-Route: <sip:9.9.9.9>, <sip:orig",
);

/// What a change shows, the scenario, and the change, which violates nothing.
const NEIGHBOURS: &[(&str, &str, &[Op])] = &[
    (
        "the route set is taken anew from the 2xx",
        PLAIN,
        &[NO_EARLY[0], NO_EARLY[1], NO_EARLY[2], EARLY_ROUTE],
    ),
    (
        "a reliable response comes again over TCP",
        PLAIN,
        &[Tcp("bob 183/INVITE"), Again("bob 183/INVITE", 1)],
    ),
    (
        "a reliable response comes again with another header",
        PLAIN,
        &[Again("bob 183/INVITE", 1), Add("bob 183/INVITE 2", "X", "y")],
    ),
    (
        "the second of two challenges is answered",
        CALL,
        &[Swap("p1>alice 401/REGISTER", "WWW-Authenticate: Digest ", SECOND)],
    ),
    (
        "REGISTER is tried at another P-CSCF",
        CALL,
        &[
            Again("alice REGISTER", 1),
            Swap("alice REGISTER 2", "branch=z9hG4bK", "branch=z9hG4bKx"),
            To("alice REGISTER 2", "127.1.0.19:5060"),
        ],
    ),
    (
        "a request is tried at another address",
        CALL,
        &[
            Again("alice INVITE", 1),
            Swap("alice INVITE 2", "branch=z9hG4bK", "branch=z9hG4bKx"),
            To("alice INVITE 2", "127.1.0.19:5060"),
        ],
    ),
    (
        "a device that was off registers anew",
        REFRESHED,
        &[
            Delay("alice REGISTER 5", 2_000),
            Set("alice REGISTER 5", "Authorization", OPENING),
            Cut("alice REGISTER 5", "P-Access-Network-Info"),
        ],
    ),
    (
        "a device that was off registers anew under another Call-ID",
        REFRESHED,
        &[
            Delay("alice REGISTER 5", 2_000),
            Cut("alice REGISTER 5", "Authorization"),
            Cut("alice REGISTER 5", "P-Access-Network-Info"),
            Set("alice REGISTER 5", "Call-ID", "anew"),
        ],
    ),
    ("a datagram was captured twice", PLAIN, &[Again("alice BYE", 20)]),
    (
        "an emergency call of a user who is not registered",
        CALL,
        &[
            Swap("p1>alice 200/REGISTER", "SIP/2.0 200 OK", "SIP/2.0 403 Forbidden"),
            Swap("p1>s1 INVITE", NUMBER, "INVITE urn:service:sos SIP/2.0"),
            Cut("p1>s1 INVITE", "P-Asserted-Identity"),
        ],
    ),
];

#[test]
fn what_is_allowed_is_not_found() {
    let mut wrong = String::new();
    for (shows, scenario, changes) in NEIGHBOURS {
        let mut tape = Tape::of(scenario);
        let before = all(&explain(&tape.capture(), &Selection::default()));
        for change in *changes {
            if let Err(fault) = tape.change(change) {
                wrong.push_str(&format!("{shows}: {fault}\n"));
            }
        }
        let found = all(&explain(&tape.capture(), &Selection::default()));
        let new: Vec<String> = found.difference(&before).map(|it| (*it).to_owned()).collect();
        if !new.is_empty() {
            let only = Selection { only: new, ignore: Vec::new() };
            wrong.push_str(&format!("{shows}:\n{}", text(&explain(&tape.capture(), &only))));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn two_phones_may_share_a_host() {
    let addr = |text: &str| text.parse().expect("an address");
    for to in ["127.1.0.102:5070", "127.1.0.101:5070"] {
        let capture = Tape::of(CALL).as_packets(addr("127.1.0.102:5060"), addr(to));
        let report = explain(&capture, &Selection::default());
        assert!(report.findings.is_empty(), "{}", text(&report));
        assert!(report.messages > 50, "{:?}", capture.flaws);
    }
}

/// A rule, the scenario, the change, and who did it.
const BLAMED: &[(&str, &str, &[Op], &str)] = &[
    ("SIP-170", CALL, &[WithoutAll("ACK"), GoesOn], "alice"),
    ("SIP-170", CALL, &[Without("p1>bob ACK"), GoesOn], "p1"),
    ("SIP-170", CALL, &[Without("p1>bob ACK"), Without("s1>p1 ACK"), GoesOn], "s1"),
    ("REL-050", PLAIN, &[WithoutAll("PRACK"), GoesOn], "alice"),
    ("REL-050", PLAIN, &[Without("p1>bob PRACK"), GoesOn], "p1"),
    ("REG-140", CALL, &[Cut("p1>alice 200/REGISTER", "Service-Route")], "p1"),
    (
        "REG-140",
        CALL,
        &[
            Cut("s1 200/REGISTER", "Service-Route"),
            Cut("i1 200/REGISTER", "Service-Route"),
            Cut("p1>alice 200/REGISTER", "Service-Route"),
        ],
        "s1",
    ),
    (
        "REG-150",
        CALL,
        &[
            Swap("i1 200/REGISTER", ";expires=600000", ""),
            Swap("p1>alice 200/REGISTER", ";expires=600000", ""),
        ],
        "i1",
    ),
];

#[test]
fn who_did_it_is_blamed() {
    let mut wrong = String::new();
    for (rule, scenario, changes, device) in BLAMED {
        let mut tape = Tape::of(scenario);
        for change in *changes {
            tape.change(change).unwrap_or_else(|fault| panic!("{rule} {scenario}: {fault}"));
        }
        let only = Selection { only: vec![(*rule).to_owned()], ignore: Vec::new() };
        let report = explain(&tape.capture(), &only);
        let blamed: BTreeSet<&str> = report.findings.iter().map(|it| it.device.as_str()).collect();
        if blamed != [*device].into() {
            wrong.push_str(&format!("{rule}: {blamed:?}, not {device}\n{}", text(&report)));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
