//! Changes that break rules of sessions: reliable responses, preconditions, descriptions, timers,
//! services.

use super::broken::{CALL, Case, PLAIN};
use super::tape::Op::{Add, Again, Before, Body, Cut, GoesOn, Set, Swap, WithoutAll};

const HOLD: &str = "flow-13-hold";
const TIMER: &str = "session-timer-caller";
const EVS: &str = "evs-configuration";
const EMERGENCY: &str = "flow-23b-emergency-number";
const NUMBER: &str = "INVITE tel:110;phone-context=home.example SIP/2.0";
const TEXT: &str = "message";

/// All of them.
pub(crate) const SESSION: &[Case] = &[
    ("REL-010", PLAIN, &[Cut("bob 183/INVITE", "RSeq")], &[]),
    ("REL-020", PLAIN, &[Add("p1>alice 100/INVITE", "RSeq", "7")], &[]),
    ("REL-030", PLAIN, &[Swap("p1>bob INVITE", "100rel", "x100rel")], &[]),
    ("REL-040", PLAIN, &[Set("alice PRACK", "RAck", "7 1 INVITE")], &[]),
    ("REL-050", PLAIN, &[WithoutAll("PRACK"), GoesOn], &["REL-080"]),
    (
        "REL-060",
        PLAIN,
        &[
            Add("bob 180/INVITE", "Require", "100rel"),
            Add("bob 180/INVITE", "RSeq", "503229674"),
            Before("bob 180/INVITE", "p1>bob PRACK"),
        ],
        &["REL-070"],
    ),
    (
        "REL-070",
        PLAIN,
        &[Add("bob 180/INVITE", "Require", "100rel"), Add("bob 180/INVITE", "RSeq", "7")],
        &[],
    ),
    ("REL-080", PLAIN, &[Before("bob 200/INVITE", "p1>bob PRACK")], &[]),
    ("PRE-010", CALL, &[Cut("alice INVITE", "Supported")], &[]),
    (
        "PRE-020",
        CALL,
        &[Swap("bob 183/INVITE", "des:qos mandatory remote", "des:qos optional remote")],
        &[],
    ),
    (
        "PRE-030",
        CALL,
        &[Cut("bob 183/INVITE", "RSeq"), Swap("bob 183/INVITE", "Require: 100rel\r\n", "")],
        &[],
    ),
    ("PRE-040", CALL, &[Before("bob 180/INVITE", "p1>bob UPDATE")], &[]),
    (
        "PRE-050",
        CALL,
        &[WithoutAll("UPDATE"), WithoutAll("200/UPDATE"), WithoutAll("180/INVITE")],
        &[],
    ),
    ("PRE-060", CALL, &[Swap("alice INVITE", "a=curr:qos remote none\r\n", "")], &[]),
    ("SDP-010", CALL, &[Swap("alice INVITE", "c=IN IP4 127.1.0.101\r\n", "")], &[]),
    ("SDP-020", CALL, &[Swap("alice UPDATE", " 2 IN IP4", " 1 IN IP4")], &[]),
    ("SDP-020", CALL, &[Swap("alice UPDATE", " 2 IN IP4", " 7 IN IP4")], &[]),
    ("SDP-030", HOLD, &[Swap("alice UPDATE", "m=audio", "m=video")], &[]),
    ("SDP-040", PLAIN, &[Swap("bob 183/INVITE", "m=audio", "m=video")], &[]),
    (
        "SDP-050",
        PLAIN,
        &[
            Swap("bob 183/INVITE", "RTP/AVP 97 99", "RTP/AVP 0"),
            Swap("bob 183/INVITE", "rtpmap:97 AMR-WB/16000", "rtpmap:0 PCMU/8000"),
            Swap("bob 183/INVITE", "a=rtpmap:99 telephone-event/16000\r\n", ""),
            Swap("bob 183/INVITE", "a=fmtp:97 mode-change-capability=2;max-red=220\r\n", ""),
        ],
        &[],
    ),
    ("SDP-060", PLAIN, &[Swap("alice INVITE", "a=rtpmap:98 AMR/8000\r\n", "")], &[]),
    ("SDP-070", CALL, &[Swap("alice UPDATE", "rtpmap:97 AMR-WB", "rtpmap:97 G722")], &[]),
    ("SDP-080", PLAIN, &[Swap("alice INVITE", "b=AS:49\r\nb=RS", "b=RS")], &[]),
    ("SDP-090", PLAIN, &[Swap("alice INVITE", "b=RR:1837\r\n", "")], &[]),
    ("SDP-100", PLAIN, &[Swap("alice INVITE", "AMR/8000", "AMR/16000")], &[]),
    ("SDP-110", PLAIN, &[Swap("bob 183/INVITE", "fmtp:97 ", "fmtp:97 octet-align=1;")], &[]),
    ("SDP-120", PLAIN, &[Swap("p1>bob INVITE", "fmtp:97 ", "fmtp:97 mode-set=0,1,2;")], &[]),
    (
        "SDP-130",
        PLAIN,
        &[Swap("alice INVITE", "fmtp:98 mode-change-capability=2;", "fmtp:98 ")],
        &[],
    ),
    ("SDP-140", PLAIN, &[Swap("alice INVITE", ";max-red=220", "")], &[]),
    ("SDP-150", PLAIN, &[Swap("alice INVITE", "a=maxptime:240\r\n", "")], &[]),
    (
        "SDP-160",
        PLAIN,
        &[
            Swap("alice INVITE", " 99 100\r\n", " 100\r\n"),
            Swap("alice INVITE", "a=rtpmap:99 telephone-event/16000\r\n", ""),
        ],
        &[],
    ),
    ("SDP-170", EVS, &[Swap("alice INVITE", "br=9.6-13.2", "br=9-13.2")], &[]),
    ("SDP-170", EVS, &[Swap("alice INVITE", ";max-red=220", ";max-red=220;ch-aw-recv=4")], &[]),
    ("SDP-180", EVS, &[Swap("bob 183/INVITE", "br=9.6-13.2", "br=5.9-13.2")], &[]),
    ("TIM-010", TIMER, &[Set("alice INVITE", "Session-Expires", "60;refresher=uac")], &[]),
    ("TIM-020", TIMER, &[Set("bob 200/INVITE", "Session-Expires", "200")], &[]),
    ("TIM-030", TIMER, &[Cut("bob 200/INVITE", "Require")], &[]),
    ("TIM-040", "code-422", &[Cut("bob 422/INVITE", "Min-SE")], &[]),
    ("TIM-050", "code-422", &[Set("alice INVITE 2", "Session-Expires", "91")], &["TIM-010"]),
    ("TIM-060", PLAIN, &[Again("alice BYE", 200)], &[]),
    ("TIM-070", PLAIN, &[Again("alice BYE", 600)], &[]),
    (
        "TIM-080",
        PLAIN,
        &[Again("alice BYE", 64_000), Again("alice BYE", 127_500), Again("alice BYE", 130_000)],
        &[],
    ),
    ("TIM-090", "code-503a", &[Set("p1>bob 503/REGISTER", "Retry-After", "60")], &[]),
    ("SMS-010", TEXT, &[Add("alice MESSAGE", "Contact", "<sip:127.1.0.101>")], &[]),
    ("SMS-020", TEXT, &[Add("bob 200/MESSAGE", "Contact", "<sip:127.1.0.102>")], &[]),
    ("SMS-030", TEXT, &[Body("alice MESSAGE", LONG)], &[]),
    ("SMS-040", TEXT, &[Body("alice MESSAGE", "")], &[]),
    ("EME-010", EMERGENCY, &[Swap("alice INVITE", NUMBER, "INVITE urn:service:sos SIP/2.0")], &[]),
    (
        "EME-020",
        EMERGENCY,
        &[
            Swap("alice INVITE", NUMBER, "INVITE urn:service:sos SIP/2.0"),
            Set("alice INVITE", "To", "<urn:service:sos>"),
            Cut("alice INVITE", "P-Access-Network-Info"),
        ],
        &["SIP-080"],
    ),
    ("SID-010", TEXT, &[Add("alice MESSAGE", "Session-ID", "ABC")], &[]),
    ("SRV-010", CALL, &[Cut("alice SUBSCRIBE", "Expires")], &[]),
];

const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
