//! The grammar, which messages a rule hits, and what each change does to a message.

use std::net::SocketAddr;

use bytes::Bytes;

use super::rule::{Action, Answer, Count, Direction, Edit, Known, Rule, Spoilt, What, When};
use super::{Looked, RULES_MAX, Table, answer, change};
use crate::cx::CxResult;
use crate::diameter::dictionary as avp;
use crate::diameter::{Avp, Flags, Header, Message as Diameter};
use crate::ids::{Ids, Seed, ShardId};
use crate::policy::Conduct;
use crate::sip::{self, HeaderName, Message};
use crate::time::{Duration, Instant};

const REGISTER: &str = "REGISTER sip:ims.example SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
    From: <sip:alice@ims.example>;tag=a\r\nTo: <sip:alice@ims.example>\r\n\
    Call-ID: c\r\nCSeq: 1 REGISTER\r\nContact: <sip:alice@192.0.2.1>;expires=60;+x=\"a;b\"\r\n\
    Content-Length: 0\r\n\r\n";
const ANSWER: &str = "SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
    From: <sip:alice@ims.example>;tag=a\r\nTo: <sip:bob@ims.example>;tag=b\r\n\
    Call-ID: c\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 76\r\n\r\n\
    v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nt=0 0\r\nm=audio 1 RTP/AVP 0\r\na=sendrecv\r\n";

fn rule(text: &str) -> Rule {
    let mut rule: Rule = text.parse().unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    rule.known = vec![
        Known { name: "s1".into(), addresses: vec![s1()], identities: vec![] },
        Known {
            name: "alice".into(),
            addresses: vec![],
            identities: vec!["1@ims.example".into(), "sip:alice@ims.example".into()],
        },
        Known {
            name: "bob".into(),
            addresses: vec![],
            identities: vec!["sip:bob@ims.example".into()],
        },
    ];
    rule
}

fn s1() -> SocketAddr {
    "192.0.2.6:6060".parse().expect("an address")
}

fn phone() -> SocketAddr {
    "192.0.2.1:5060".parse().expect("an address")
}

fn looked(direction: Direction, remote: SocketAddr, text: &str) -> Looked {
    Looked::read(direction, remote, &Bytes::from(text.to_owned())).expect("a message")
}

fn table() -> Table {
    Table::new("p1", Seed::derive(1, "p1"))
}

#[test]
fn each_form_is_read() {
    let action = |text: &str| rule(text).action;
    let answer = |status| Answer { status, ..Answer::default() };
    for (text, wanted) in [
        ("p1 drops INVITE", Action::Drop),
        ("p1 answers REGISTER with 503", Action::Answer(answer(503))),
        ("hss answers MAR with 5012", Action::Result(CxResult::UnableToComply)),
        ("hss answers MAR with wrong MAC", Action::Spoil(Spoilt::WrongMac)),
        ("hss answers MAR of alice with old SQN, first", Action::Spoil(Spoilt::OldSqn)),
        ("hss answers SAR with garbled data", Action::Spoil(Spoilt::GarbledData)),
        ("hss answers requests with garbage", Action::Spoil(Spoilt::Garbage)),
        ("s1 delays INVITE from i1 by 2s", Action::Delay(Duration::from_secs(2))),
        ("p1 sends 200 for INVITE to alice twice", Action::Copies(2)),
        ("p1 receives INVITE from alice 3 times", Action::Copies(3)),
        ("p1 reorders 183 to alice", Action::Reorder),
        ("p1 corrupts anything to s1, in 2.5%", Action::Corrupt),
        ("p1 cuts the connection of alice after INVITE", Action::Cut),
        ("p1 cuts the connection after 200 to alice", Action::Cut),
        ("s1 crashes at INVITE from p1", Action::Crash { back_after: None }),
        (
            "s1 crashes at INVITE from p1 and restarts after 5s",
            Action::Crash { back_after: Some(Duration::from_secs(5)) },
        ),
        ("p1 is overloaded, until 10s: {Retry-After: 5}", Action::Overload(5)),
        (
            "p1 removes Security-Server from 401 to alice",
            Action::Edit(Edit::RemoveHeader("Security-Server".into())),
        ),
        (
            "p1 removes Contact;expires from REGISTER to s1",
            Action::Edit(Edit::RemoveParameter("Contact".into(), "expires".into())),
        ),
        (
            "p1 adds P-Foo \"a, b\" to requests to s1",
            Action::Edit(Edit::AddHeader("P-Foo".into(), "a, b".into())),
        ),
        (
            "s1 sets WWW-Authenticate;realm to \"x\" in 401",
            Action::Edit(Edit::SetParameter("WWW-Authenticate".into(), "realm".into(), "x".into())),
        ),
        (
            "s1 removes SDP line \"a=curr\" from INVITE",
            Action::Edit(Edit::RemoveLine("a=curr".into())),
        ),
        (
            "p1 replaces \"AMR\" with \"FOO\" in INVITE to s1",
            Action::Edit(Edit::Replace("AMR".into(), "FOO".into())),
        ),
        ("s1 spoils the MAC in 401", Action::SpoilMac),
        ("policy refuses above 64 of alice", Action::Policy(Conduct::RefusesAbove(64))),
    ] {
        assert_eq!(action(text), wanted, "{text}");
        let read = rule(text);
        assert_eq!(rule(&read.to_string()), read, "{text} reads back");
    }
}

#[test]
fn what_stands_behind_a_comma_is_read() {
    let when = |text: &str| rule(&format!("p1 drops INVITE, {text}")).when;
    assert_eq!(when("first").count, Count::First(1));
    assert_eq!(when("first 2").count, Count::First(2));
    assert_eq!(when("second").count, Count::Nth(2));
    assert_eq!(when("11th").count, Count::Nth(11));
    assert_eq!(when("in 20%").chance, Some(200));
    let both = When {
        after: Duration::from_secs(5),
        until: Some(Duration::from_secs(30)),
        ..When::default()
    };
    assert_eq!(when("after 5s, until 30s"), both);
    let read = rule("p1 drops INVITE, if Require contains \"sec-agree, x\", if To;tag is absent");
    assert_eq!(read.about.conditions.len(), 2);
    assert_eq!(read.about.conditions[1].parameter.as_deref(), Some("tag"));
}

#[test]
fn headers_and_body_stand_in_braces() {
    let read = rule(
        "p1 answers REGISTER with 504 \"Server Time-out\", first: {Retry-After: 30, body: \
         \"<a x=\\\"1\\\">\\r\\n{b}</a>\"}",
    );
    let Action::Answer(answer) = &read.action else { panic!("{read:?}") };
    assert_eq!(answer.reason.as_deref(), Some("Server Time-out"));
    assert_eq!(answer.headers[0], ("Retry-After".into(), "30".into()));
    assert_eq!(answer.headers[1].1, "application/3gpp-ims+xml");
    assert_eq!(answer.body, "<a x=\"1\">\r\n{b}</a>");
    let again = super::read(
        "p1 answers REGISTER with 504 \"Server Time-out\", first",
        &[("Retry-After".into(), "30".into()), ("body".into(), answer.body.clone())],
    )
    .expect("a rule");
    assert_eq!(again.action, read.action);
    assert_eq!(rule(&again.to_string()).action, read.action);
}

#[test]
fn a_mistake_is_said_with_its_place_and_the_word_that_was_meant() {
    for (text, place, said) in [
        ("p1 drps INVITE", "drps", "a fault rule has no verb `drps`; did you mean `drops`?"),
        ("p1 drops INVIT", "INVIT", "`INVIT` is no message; did you mean `INVITE`?"),
        ("p1 drops 701", "701", "`701` is no status from 100 to 699"),
        ("p1 drops 7xx", "7xx", "classes of responses are 1xx to 6xx"),
        (
            "p1 drops INVITE form alice",
            "form",
            "`form` is not understood here; did you mean `for`?",
        ),
        ("p1 drops INVITE, fist", "fist", {
            "`fist` is not understood behind a comma; did you mean `first`?"
        }),
        ("p1 drops INVITE, first x", "x", "`x` is no number above 0"),
        ("p1 drops INVITE, in 101%", "101%", "`101%` is no percentage, e.g. 20%"),
        ("p1 drops INVITE, after 5", "5", "`5` needs a unit: ms, s, min or h"),
        ("p1 answers 200 with 503", "200", {
            "an answer is not answered; name a request, e.g. `REGISTER`"
        }),
        ("p1 answers ACK with 503", "ACK", {
            "nobody answers an ACK; name a request, e.g. `REGISTER`"
        }),
        ("p1 answers INVITE to s1 with 503", "INVITE", {
            "a node answers what it receives `from` others"
        }),
        ("p1 answers INVITE with 99", "99", "`99` is no status from 100 to 699"),
        ("p1 sends INVITE from alice twice", "sends", {
            "a node sends `to` and receives `from` another"
        }),
        ("p1 sends INVITE 11 times", "11", {
            "`11` is no number of copies; write `twice`, or 2 to 10 `times`"
        }),
        ("p1 drops INVITE for REGISTER", "for", "only a response is one `for` a method"),
        ("p1 removes SDP line \"sendrecv\" from INVITE", "\"sendrecv\"", {
            "a line of SDP is e.g. `a=sendrecv`"
        }),
        ("p1 drops INVITE, if Require equals x", "equals", {
            "`equals` is no condition; there is: is, contains, lacks, matches"
        }),
        ("policy refuse of alice", "refuse", {
            "`refuse` is no policy; write accepts, refuses, refuses above 64 (kbit/s), late 2s, \
             silent, or lost after 10s"
        }),
        ("p1 delays INVITE", "E", "here must be `by`"),
        ("p1 adds Foo \"x to INVITE", "\"x to INVITE", "a quotation mark is not closed"),
    ] {
        let fault = text.parse::<Rule>().expect_err(text);
        assert_eq!(fault.to_string(), said, "{text}");
        assert_eq!(text.get(fault.at..fault.at + fault.len), Some(place), "{text}");
    }
    let fault = "p1 drops INVITE: {Foo: 1}".parse::<Rule>().expect_err("headers");
    assert_eq!(fault.to_string(), "only an answer has headers of its own, not `Foo`");
}

#[test]
fn a_rule_fits_by_message_direction_peer_user_and_condition() {
    let received = looked(Direction::Received, phone(), REGISTER);
    let sent = looked(Direction::Sent, s1(), REGISTER);
    let fits = |text: &str, message: &Looked| message.fits(&rule(text));
    assert!(fits("p1 drops REGISTER from alice", &received));
    assert!(fits("p1 drops REGISTER", &received) && !fits("p1 drops REGISTER", &sent));
    assert!(fits("p1 drops sent REGISTER", &sent) && fits("p1 drops REGISTER to s1", &sent));
    assert!(!fits("p1 drops REGISTER from bob", &received));
    assert!(!fits("p1 drops REGISTER to alice", &sent), "s1 is a node, not her phone");
    assert!(fits("p1 drops REGISTER to s1 of alice", &sent));
    assert!(!fits("p1 drops INVITE", &received) && fits("p1 drops requests", &received));
    assert!(fits("p1 drops REGISTER, if Contact;expires is 60", &received));
    assert!(fits("p1 drops REGISTER, if Contact;+x is \"a;b\"", &received));
    assert!(!fits("p1 drops REGISTER, if Contact;expires is 61", &received));
    assert!(fits("p1 drops REGISTER, if request_uri matches /^sip:ims/", &received));
    let answer = looked(Direction::Sent, phone(), ANSWER);
    for text in ["200", "2xx", "responses", "200 for INVITE", "200 to alice", "200 of bob"] {
        assert!(fits(&format!("p1 drops {text}"), &answer), "{text}");
    }
    for text in ["180", "3xx", "200 for BYE", "200 to bob", "requests"] {
        assert!(!fits(&format!("p1 drops {text}"), &answer), "{text}");
    }
}

#[test]
fn counts_times_and_chance_choose_among_those_that_fit() {
    let hits = |text: &str, at: &[u64]| -> Vec<bool> {
        let mut table = table();
        table.add(Instant::EPOCH, rule(text)).expect("room");
        at.iter()
            .map(|secs| {
                let mut message = looked(Direction::Received, phone(), REGISTER);
                !table.decide(Instant::from_secs(*secs), &mut message).is_empty()
            })
            .collect()
    };
    assert_eq!(hits("p1 drops REGISTER, first 2", &[0, 1, 2]), [true, true, false]);
    assert_eq!(hits("p1 drops REGISTER, second", &[0, 1, 2]), [false, true, false]);
    assert_eq!(
        hits("p1 drops REGISTER, after 2s, until 4s", &[1, 2, 3, 4]),
        [false, true, true, false]
    );
    let many = hits("p1 drops REGISTER, in 30%", &[0; 1_000]);
    let count = many.iter().filter(|hit| **hit).count();
    assert!((250..350).contains(&count), "{count}");
    // The copies of a request that is answered get the same answer.
    assert_eq!(hits("p1 answers REGISTER with 503, first", &[0, 1, 2]), [true, true, true]);
}

#[test]
fn changes_add_up_until_something_else_is_done() {
    let mut table = table();
    for text in [
        "p1 adds Foo 1 to REGISTER",
        "p1 adds Foo 2 to REGISTER",
        "p1 drops REGISTER",
        "p1 adds Foo 3 to REGISTER",
    ] {
        table.add(Instant::EPOCH, rule(text)).expect("room");
    }
    let mut message = looked(Direction::Received, phone(), REGISTER);
    let hits = table.decide(Instant::EPOCH, &mut message);
    let ids: Vec<&str> = hits.iter().map(|hit| hit.id.as_str()).collect();
    assert_eq!(ids, ["p1-1", "p1-2", "p1-3"]);
    let counts: Vec<u64> = table.iter().map(|kept| kept.hits).collect();
    assert_eq!(counts, [1, 1, 1, 0]);
    assert_eq!(table.remove("p1-3").len(), 1);
    assert_eq!(table.remove("p1 adds Foo 1 to REGISTER").len(), 1);
    assert_eq!(table.remove("p1-3").len(), 0);
    assert_eq!(table.remove("all").len(), 2);
    assert!(table.is_empty());
}

#[test]
fn the_number_of_rules_has_a_bound() {
    let mut table = table();
    for _ in 0..RULES_MAX {
        table.add(Instant::EPOCH, rule("p1 drops REGISTER")).expect("room");
    }
    assert!(table.add(Instant::EPOCH, rule("p1 drops REGISTER")).is_err());
}

#[test]
fn what_lasts_is_told_when_it_turns() {
    let mut table = table();
    table.add(Instant::EPOCH, rule("p1 is overloaded, after 2s, until 4s")).expect("room");
    let turned = |table: &mut Table, secs| -> Vec<bool> {
        table.turned(Instant::from_secs(secs)).iter().map(|(on, _)| *on).collect()
    };
    assert!(turned(&mut table, 1).is_empty());
    assert_eq!(table.turns_at(), Some(Instant::from_secs(2)));
    assert_eq!(turned(&mut table, 2), [true]);
    assert_eq!(table.turns_at(), Some(Instant::from_secs(4)));
    assert_eq!(turned(&mut table, 4), [false]);
    assert_eq!(table.turns_at(), None);
}

/// A message after the change of a rule.
fn changed(text: &str, message: &str) -> Option<String> {
    let Action::Edit(edit) = rule(text).action else { panic!("{text}") };
    let bytes = change::edited(&looked(Direction::Sent, phone(), message), &edit)?;
    Some(String::from_utf8(bytes.to_vec()).expect("text"))
}

#[test]
fn a_change_touches_its_own_line_only() {
    for (text, gone, new) in [
        ("p1 adds P-Foo \"a, b\" to REGISTER", "", "P-Foo: a, b\r\n"),
        ("p1 sets Call-ID to x in REGISTER", "Call-ID: c\r\n", "Call-ID: x\r\n"),
        ("p1 removes Call-ID from REGISTER", "Call-ID: c\r\n", ""),
        ("p1 removes Contact;expires from REGISTER", ";expires=60", ""),
        ("p1 sets Contact;expires to 7 in REGISTER", ";expires=60", ";expires=7"),
        ("p1 sets Contact;+x to c in REGISTER", "+x=\"a;b\"", "+x=\"c\""),
        ("p1 sets Contact;q to 0.5 in REGISTER", "", ";q=0.5"),
        ("p1 replaces \"branch=z9\" with \"branch=zz\" in REGISTER", "branch=z9", "branch=zz"),
    ] {
        let new_text = changed(text, REGISTER).expect(text);
        let mut lines: Vec<&str> = REGISTER.split("\r\n").collect();
        lines.retain(|line| !new_text.contains(line));
        assert!(lines.len() <= 1, "{text}: {lines:?}");
        assert!(!gone.is_empty() || new_text.len() > REGISTER.len(), "{text}");
        assert!(gone.is_empty() || !new_text.contains(gone), "{text}: {new_text}");
        assert!(new_text.contains(new), "{text}: {new_text}");
    }
    for text in [
        "p1 removes Path from REGISTER",
        "p1 removes Contact;foo from REGISTER",
        "p1 replaces \"nowhere\" with \"x\" in REGISTER",
        "p1 adds SDP line \"a=x\" to REGISTER",
    ] {
        assert_eq!(changed(text, REGISTER), None, "{text}");
    }
}

#[test]
fn content_length_follows_a_changed_body() {
    for (text, gone, new) in [
        ("p1 removes SDP line \"a=\" from 200", "a=sendrecv", "RTP/AVP 0\r\n"),
        ("p1 adds SDP line \"a=foo:1\" to 200", "x=", "a=sendrecv\r\na=foo:1\r\n"),
        ("p1 sets SDP line \"a=inactive\" in 200", "a=sendrecv", "a=inactive\r\n"),
        ("p1 sets SDP line \"m=audio 0 RTP/AVP 0\" in 200", "audio 1", "m=audio 0 RTP/AVP 0\r\n"),
        ("p1 replaces \"192.0.2.9\" with \"192.0.2.100\" in 200", "192.0.2.9", "192.0.2.100"),
    ] {
        let new_text = changed(text, ANSWER).expect(text);
        assert!(!new_text.contains(gone) && new_text.contains(new), "{text}: {new_text}");
        let (head, body) = new_text.split_once("\r\n\r\n").expect("a body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}: {new_text}");
    }
}

#[test]
fn the_first_parameter_of_a_challenge_can_be_changed() {
    let challenge = "SIP/2.0 401 Unauthorized\r\nCSeq: 1 REGISTER\r\n\
        WWW-Authenticate: Digest realm=\"ims.example\", nonce=\"x\", algorithm=MD5\r\n\r\n";
    let text = changed("s1 sets WWW-Authenticate;realm to wrong in 401", challenge);
    assert!(text.expect("changed").contains("Digest realm=\"wrong\", nonce=\"x\""));
    let text = changed("s1 removes WWW-Authenticate;realm from 401", challenge);
    assert!(text.expect("changed").contains("Digest nonce=\"x\", algorithm=MD5"));
    let text = changed("s1 removes WWW-Authenticate;nonce from 401", challenge);
    assert!(text.expect("changed").contains("realm=\"ims.example\", algorithm=MD5"));
}

#[test]
fn the_mac_of_a_challenge_is_another_one() {
    let nonce = crate::auth::AkaNonce::from_sip_authenticate(&[7; 32]).expect("32 octets");
    let text = format!(
        "SIP/2.0 401 Unauthorized\r\nCSeq: 1 REGISTER\r\n\
         WWW-Authenticate: Digest realm=\"a\", nonce=\"{}\", algorithm=AKAv1-MD5\r\n\r\n",
        nonce.encode()
    );
    let spoilt = change::with_spoilt_mac(&looked(Direction::Sent, phone(), &text));
    let spoilt = String::from_utf8(spoilt.expect("a challenge").to_vec()).expect("text");
    let (_, rest) = spoilt.split_once("nonce=\"").expect("nonce");
    let new = crate::auth::AkaNonce::decode(rest.split('"').next().expect("end")).expect("reads");
    assert_eq!((new.rand, new.autn.concealed_sqn), (nonce.rand, nonce.autn.concealed_sqn));
    assert_eq!(new.autn.mac_a, [!7; 8]);
    let digest = text.replace(&nonce.encode(), "abc");
    assert_eq!(change::with_spoilt_mac(&looked(Direction::Sent, phone(), &digest)), None);

    let item = Avp::octets(&avp::SIP_AUTHENTICATE, vec![7; 32]);
    let maa = Diameter {
        header: Header { command: avp::MULTIMEDIA_AUTH, ..Header::default() },
        avps: vec![Avp::group(&avp::SIP_AUTH_DATA_ITEM, &[item])],
    };
    let maa = Looked::read(Direction::Sent, s1(), &maa.encode()).expect("a message");
    let bytes = change::with_spoilt_mac(&maa).expect("a vector");
    let read = Diameter::decode(&bytes).expect("reads");
    let inside = read.avps[0].as_group().expect("AVPs");
    assert_eq!(inside[0].data[..24], [7; 24]);
    assert_eq!(inside[0].data[24..], [!7; 8]);
}

#[test]
fn corruption_is_a_function_of_the_seed_and_leaves_a_stream_whole() {
    let bytes = Bytes::from(ANSWER);
    let corrupted = |run, stream| {
        let mut chance = Ids::new(Seed::derive(run, "x"), ShardId(0));
        change::corrupted(&bytes, stream, &mut chance)
    };
    assert_eq!(corrupted(1, false), corrupted(1, false));
    assert_ne!(corrupted(1, false), corrupted(2, false));
    let differ = |other: &Bytes| bytes.iter().zip(other).filter(|(a, b)| a != b).count();
    for run in 0..300 {
        let other = corrupted(run, true);
        assert_eq!(other.len(), bytes.len());
        assert!((1..=1 + bytes.len() / 200).contains(&differ(&other)), "{run}");
        let mut cutter = super::Cutter::default();
        cutter.push(&other);
        cutter.push(ANSWER.as_bytes());
        assert_eq!(cutter.next_piece(), Some(other));
        assert_eq!(cutter.next_piece(), Some(bytes.clone()));
    }
}

#[test]
fn an_answer_has_what_identifies_the_transaction_and_what_the_rule_says() {
    let Ok(Message::Request(request)) = sip::parse(&Bytes::from(REGISTER)) else { panic!() };
    let read = rule("p1 answers REGISTER with 423 \"Too Brief\": {Min-Expires: 600, body: text}");
    let Action::Answer(with) = read.action else { panic!() };
    let response = answer::response(&request, &with, "t");
    assert_eq!((response.status, &*response.reason), (423, "Too Brief"));
    let header = |name| response.headers.get(name);
    assert_eq!(header(HeaderName::MinExpires), Some("600"));
    assert_eq!(header(HeaderName::ContentLength), Some("4"));
    assert_eq!(header(HeaderName::To), Some("<sip:alice@ims.example>;tag=t"));
    assert_eq!(header(HeaderName::CSeq), Some("1 REGISTER"));
}

#[test]
fn a_question_of_diameter_gets_its_result() {
    let request = Diameter {
        header: Header {
            flags: Flags { request: true, proxiable: true, ..Flags::default() },
            command: avp::PUSH_PROFILE,
            hop_by_hop: 7,
            ..Header::default()
        },
        avps: vec![
            Avp::text(&avp::SESSION_ID, "s"),
            Avp::text(&avp::DESTINATION_HOST, "s1.ims.example"),
            Avp::text(&avp::DESTINATION_REALM, "ims.example"),
        ],
    };
    let bare = answer::result(&request, CxResult::TooBusy);
    assert!(!bare.header.flags.request && bare.header.flags.error);
    assert_eq!(bare.header.hop_by_hop, 7);
    assert_eq!(bare.number(&avp::RESULT_CODE), Some(3004));
    assert_eq!(bare.text(&avp::ORIGIN_HOST), Some("s1.ims.example"));
    let known = answer::result(&request, CxResult::UserUnknown);
    assert!(known.find(&avp::EXPERIMENTAL_RESULT).is_some() && !known.header.flags.error);
    // An answer without identities is about whom its request was.
    let of_alice = Diameter {
        avps: vec![Avp::text(&avp::PUBLIC_IDENTITY, "sip:alice@ims.example")],
        ..request
    };
    let mut table = table();
    table.add(Instant::EPOCH, rule("p1 drops PPA of alice")).expect("room");
    for (direction, message, hit) in [
        (Direction::Sent, bare.encode(), false),
        (Direction::Received, of_alice.encode(), false),
        (Direction::Sent, bare.encode(), true),
    ] {
        let mut message = Looked::read(direction, s1(), &message).expect("a message");
        assert_eq!(!table.decide(Instant::EPOCH, &mut message).is_empty(), hit);
    }
}

#[test]
fn a_name_is_found_where_it_stands() {
    let read = rule("p1 drops 401 to alice of bob, first");
    let names: Vec<(usize, &str)> = read.names().collect();
    assert_eq!(names, [(16, "alice"), (25, "bob")]);
    assert_eq!(read.about.what, What::Status(401));
}

/// Which of these messages, one after the other, a rule hits.
fn hit_by(text: &str, messages: &[(SocketAddr, &str)]) -> Vec<bool> {
    let mut table = table();
    table.add(Instant::EPOCH, rule(text)).expect("room");
    let hit = |(remote, message): &(SocketAddr, &str)| {
        let mut message = looked(Direction::Received, *remote, message);
        !table.decide(Instant::EPOCH, &mut message).is_empty()
    };
    messages.iter().map(hit).collect()
}

#[test]
fn answers_of_several_branches_and_several_in_a_row_are_no_copies() {
    let of = |tag: &str, rseq: &str| {
        ANSWER.replace("200 OK", "183 Progress").replace("tag=b", tag).replace(
            "CSeq: 1 INVITE\r\n",
            &format!("CSeq: 1 INVITE\r\nRSeq: {rseq}\r\nRequire: 100rel\r\n"),
        )
    };
    let (first, again, next) = (of("tag=b", "1"), of("tag=b", "1"), of("tag=b", "2"));
    let other = of("tag=c", "1");
    let from = |text| (s1(), text);
    let messages = [from(first.as_str()), from(&again), from(&next), from(&other)];
    let rule = "p1 sets Subject to x in 183 from s1, second";
    assert_eq!(hit_by(rule, &messages), [false, false, true, false]);
    let rule = "p1 sets Subject to x in 183 from s1, first 2";
    assert_eq!(hit_by(rule, &messages), [true, true, true, false]);
}

#[test]
fn a_connection_from_any_port_of_a_node_is_that_node_s() {
    let elsewhere = SocketAddr::new(s1().ip(), 40_000);
    let messages = [(s1(), REGISTER), (elsewhere, REGISTER), (phone(), REGISTER)];
    assert_eq!(hit_by("p1 drops REGISTER from s1", &messages), [true, true, false]);
    assert_eq!(hit_by("p1 drops REGISTER from alice", &messages), [false, false, true]);
}

#[test]
fn a_number_of_diameter_is_that_of_one_connection() {
    let message = |request: bool, avps: Vec<Avp>| {
        let flags = Flags { request, ..Flags::default() };
        let command = avp::MULTIMEDIA_AUTH;
        Diameter { header: Header { flags, command, hop_by_hop: 7, ..Header::default() }, avps }
    };
    let asks = |who: &str| message(true, vec![Avp::text(&avp::PUBLIC_IDENTITY, who)]).encode();
    let mut table = table();
    table.add(Instant::EPOCH, rule("p1 drops MAA of alice")).expect("room");
    let mut hit = |direction, remote, bytes: &Bytes| {
        let mut message = Looked::read(direction, remote, bytes).expect("a message");
        !table.decide(Instant::EPOCH, &mut message).is_empty()
    };
    assert!(!hit(Direction::Received, s1(), &asks("sip:alice@ims.example")));
    assert!(!hit(Direction::Received, phone(), &asks("sip:bob@ims.example")));
    let answer = message(false, Vec::new()).encode();
    assert!(hit(Direction::Sent, s1(), &answer), "alice was asked about there");
    assert!(!hit(Direction::Sent, phone(), &answer), "and bob here");
}
