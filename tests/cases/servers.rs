//! Application servers that are user agents (TS 24.229 §5.7.2, §5.7.3, §5.7.5): bridges, calls they
//! take, calls they make, and what they refuse. All around them is real or by hand.

use cscf_core::sip::{HeaderName, Request, Response};
use cscf_core::time::Duration;
use cscf_tests::{Bench, Told};

use super::by_hand::{Hand, SDP, charging, impu, one, sent_to, uri_of};
use super::isc::{INVITE, criterion, lab, values, way};
use super::scscf_session::Around;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("servers::a_bridge_has_two_legs", &["A-GEN-040", "G-SESSID-010"], bridge),
        case("servers::a_bridge_maps_both_ways", &["A-GEN-040"], both_ways),
        case("servers::a_bridge_needs_a_way_on", &[], way_on),
        case("servers::a_bridge_passes_a_cancel_on", &["A-GEN-040"], cancelled),
        case("servers::a_server_takes_a_call_itself", &["A-GEN-050"], announcement),
        case("servers::a_server_calls_for_a_user", &["A-GEN-060"], for_a_user),
        case("servers::a_server_calls_as_itself", &["A-GEN-060"], as_itself),
        case("servers::a_server_hides_the_caller", &["A-GEN-070"], privacy),
        case("servers::an_overloaded_server_says_so", &["A-GEN-090"], overloaded),
        case("servers::a_bridge_leaves_nothing_behind", &[], remainders),
        case("servers::anonymous_callers_are_refused", &["RC-433"], anonymous),
        case("servers::a_diversion_is_told_or_not", &["RC-181", "M-CDIV-010"], diversion),
    ]
}

/// alice's INVITE passes as1; p1 and i1 are by hand.
fn around(behaviour: &str) -> Around {
    Around::of(lab(&[behaviour], &[&criterion(1, "as1", INVITE)], &[]))
}

fn get(headers: &cscf_core::sip::Headers, name: HeaderName) -> &str {
    headers.get(name).unwrap_or_default()
}

const OFFER: &str = "Supported: 100rel, precondition, timer\nSession-ID: \
                     0123456789abcdef0123456789abcdef;remote=00000000000000000000000000000000\n\
                     Privacy: id\nAllow: INVITE, ACK, BYE, PRACK, UPDATE";

/// alice's INVITE with number 7, and what reaches i1.
fn invite(around: &mut Around, n: u32) -> Request {
    let lines = format!("{OFFER}\n{SDP}");
    let text = around.alices("INVITE", &impu(2), n, &lines).replace("CSeq: 1 ", "CSeq: 7 ");
    around.p1.send(&mut around.bench, &text);
    around.i1.heard_one(&mut around.bench, "INVITE")
}

/// A request in the dialog of an INVITE that a hand has answered, from its side.
fn back(hand: &Hand, invite: &Request, method: &str, cseq: u32, lines: &str) -> String {
    let routes = invite.headers.values(HeaderName::RecordRoute);
    let routes: Vec<String> = routes.map(|uri| format!("Route: {uri}\n")).collect();
    format!(
        "{method} {} SIP/2.0\nVia: SIP/2.0/UDP {addr};branch=z9hG4bK-b-{method}-{cseq}\n\
         {}Max-Forwards: 70\nFrom: {};tag=hand\nTo: {}\nCall-ID: {}\nCSeq: {cseq} {method}\n\
         Contact: <sip:{addr}>\n{lines}",
        uri_of(get(&invite.headers, HeaderName::Contact)),
        routes.concat(),
        get(&invite.headers, HeaderName::To),
        get(&invite.headers, HeaderName::From),
        get(&invite.headers, HeaderName::CallId),
        addr = hand.addr,
    )
}

/// The answer of this label that p1 has heard first.
fn answer_at_p1(around: &mut Around, label: &str) -> Response {
    let mut heard = around.p1.answers(&mut around.bench, label);
    assert!(!heard.is_empty(), "{label} at p1");
    heard.remove(0)
}

fn bridge() {
    let mut around = around("b2bua");
    invite(&mut around, 1);
    let (as1, s1) = (around.bench.addr("as1"), around.bench.addr("s1"));
    let (came, sent) =
        (one(&around.bench, "s1", as1, "INVITE"), one(&around.bench, "as1", s1, "INVITE"));
    let (came, sent) = (came.request(), sent.request());
    let both = |name| (get(&came.headers, name), get(&sent.headers, name));
    for own in [HeaderName::CallId, HeaderName::CSeq, HeaderName::Contact, HeaderName::RecordRoute]
    {
        let (came, sent) = both(own);
        assert_ne!(came, sent, "{own}");
    }
    assert_ne!(came.from_tag(), sent.from_tag());
    let uri = |request: &Request| request.from_addr().map(|it| it.uri.to_string()).ok();
    assert_eq!(uri(came), uri(sent));
    assert_eq!(get(&sent.headers, HeaderName::CSeq), "1 INVITE");
    assert_eq!(get(&sent.headers, HeaderName::Contact), format!("<sip:{as1}>"));
    assert_eq!(get(&sent.headers, HeaderName::MaxForwards), "68", "one hop more than s1's");
    assert_eq!(values(sent, HeaderName::Via).len(), 1, "nothing of the way it came");
    assert_eq!(values(came, HeaderName::Route)[1..], values(sent, HeaderName::Route));
    for same in [
        HeaderName::PAssertedIdentity,
        HeaderName::Privacy,
        HeaderName::SessionId,
        HeaderName::Supported,
        HeaderName::Allow,
    ] {
        let (came, sent) = both(same);
        assert!(came == sent && !came.is_empty(), "{same}: {came} {sent}");
    }
    assert_eq!(came.body, sent.body);
    let (came, sent) = both(HeaderName::PChargingVector);
    assert_eq!(charging(came, "icid-value"), charging(sent, "icid-value"));
    assert!(charging(sent, "orig-ioi").is_some_and(|it| it.starts_with("Type 3")));
    // The proxies have left the Session-ID alone, too.
    let last = one(&around.bench, "s1", around.i1.addr, "INVITE");
    assert_eq!(
        last.header("Session-ID"),
        get(&came_of(&around, as1).headers, HeaderName::SessionId)
    );
}

fn came_of(around: &Around, as1: std::net::SocketAddr) -> Request {
    one(&around.bench, "s1", as1, "INVITE").request().clone()
}

fn both_ways() {
    let mut around = around("b2bua");
    let far = invite(&mut around, 1);
    let reliable = format!("Require: 100rel\nRSeq: 42\nSession-ID: f0f0;remote=aa\n{SDP}");
    around.i1.answer(&mut around.bench, &far, 183, &reliable);
    let progress = answer_at_p1(&mut around, "183 INVITE");
    assert_eq!(get(&progress.headers, HeaderName::RSeq), "42");
    assert_eq!(get(&progress.headers, HeaderName::Require), "100rel");
    assert_eq!(get(&progress.headers, HeaderName::SessionId), "f0f0;remote=aa");
    assert!(progress.body.windows(6).any(|it| it == b"AMR-WB"), "the answer passes");
    assert_ne!(progress.to_tag(), Some("hand"), "a tag of the leg");
    let as1 = around.bench.addr("as1");
    assert_eq!(get(&progress.headers, HeaderName::Contact), format!("<sip:{as1}>"));
    // PRACK, by the numbers of each leg.
    let prack = around.p1.in_dialog("PRACK", 8, &progress, "RAck: 42 7 INVITE");
    around.p1.send(&mut around.bench, &prack);
    let heard = around.i1.heard_one(&mut around.bench, "PRACK");
    assert_eq!(get(&heard.headers, HeaderName::RAck), "42 1 INVITE");
    assert_eq!(heard.call_id(), far.call_id());
    around.i1.answer(&mut around.bench, &heard, 200, "");
    answer_at_p1(&mut around, "200 PRACK");
    // UPDATE from the other side.
    let update = back(&around.i1, &far, "UPDATE", 1, SDP);
    around.i1.send(&mut around.bench, &update);
    let heard = around.p1.heard_one(&mut around.bench, "UPDATE");
    assert_eq!(heard.call_id(), progress.call_id());
    assert_eq!(heard.from_tag(), progress.to_tag());
    assert!(!heard.body.is_empty());
    around.p1.answer(&mut around.bench, &heard, 488, "Warning: 304 x \"no\"");
    let refused = around.i1.answers(&mut around.bench, "488 UPDATE");
    assert_eq!(get(&refused[0].headers, HeaderName::Warning), "304 x \"no\"");
    // 200 and ACK, each as often as it is needed.
    let ok = around.i1.response(&far, 200, "");
    around.i1.send(&mut around.bench, &ok);
    let up = answer_at_p1(&mut around, "200 INVITE");
    assert_eq!(up.to_tag(), progress.to_tag());
    around.i1.send(&mut around.bench, &ok);
    answer_at_p1(&mut around, "200 INVITE");
    let ack = around.p1.in_dialog("ACK", 7, &up, "");
    around.p1.send(&mut around.bench, &ack);
    let heard = around.i1.heard_one(&mut around.bench, "ACK");
    assert_eq!(get(&heard.headers, HeaderName::CSeq), "1 ACK");
    around.i1.send(&mut around.bench, &ok);
    assert_eq!(around.i1.heard(&mut around.bench, "ACK").len(), 1, "once more, by the bridge");
    assert!(around.p1.answers(&mut around.bench, "200 INVITE").is_empty());
    // A number twice is refused on its leg.
    around.i1.send(&mut around.bench, &back(&around.i1, &far, "INFO", 1, ""));
    assert_eq!(around.i1.answers(&mut around.bench, "500 INFO").len(), 1);
    // The callee hangs up; afterwards nobody knows the call.
    around.i1.send(&mut around.bench, &back(&around.i1, &far, "BYE", 2, "Reason: SIP;cause=200"));
    let bye = around.p1.heard_one(&mut around.bench, "BYE");
    assert_eq!(get(&bye.headers, HeaderName::Reason), "SIP;cause=200");
    around.p1.answer(&mut around.bench, &bye, 200, "");
    assert_eq!(around.i1.answers(&mut around.bench, "200 BYE").len(), 1);
    assert_eq!(sent_to(&around.bench, "as1", around.p1.to, "200 BYE").len(), 1);
    let left = around.bench.remainders();
    let bridged = |what: &str| what.starts_with("bridged");
    assert!(left.iter().all(|(_, what, count)| !bridged(what) || *count == 0), "{left:?}");
}

fn way_on() {
    for (behaviour, status) in [("b2bua".to_owned(), 404), (format!("\"b2bua to {}\"", impu(3)), 0)]
    {
        let none = criterion(1, "as1", "all_of: [{method: PUBLISH}]");
        let mut bench = lab(&[&behaviour], &[&none], &[]);
        let i1 = Hand::node(&mut bench, "i1", "as1");
        bench.mark();
        // As for a public service identity: without a Route.
        i1.send(&mut bench, &i1.request("INVITE", &impu(2), 1, SDP));
        if status == 0 {
            let invite = i1.heard_one(&mut bench, "INVITE");
            assert_eq!(invite.request_uri, impu(3));
        } else {
            assert_eq!(i1.answered(&mut bench).status, status);
        }
        // A method that is not bridged.
        i1.send(&mut bench, &i1.request("PUBLISH", &impu(2), 2, "Route: <sip:x@127.1.0.9;lr>"));
        let refused = i1.answers(&mut bench, "405 PUBLISH");
        assert!(get(&refused[0].headers, HeaderName::Allow).contains("INVITE"));
    }
}

fn cancelled() {
    let mut around = around("b2bua");
    let far = invite(&mut around, 1);
    around.i1.answer(&mut around.bench, &far, 180, "");
    let text = around.alices("INVITE", &impu(2), 1, "").replace("CSeq: 1 ", "CSeq: 7 ");
    let cancel: Vec<&str> = text
        .lines()
        .filter(|line| ["Via", "From", "To", "Call-ID"].iter().any(|it| line.starts_with(it)))
        .collect();
    let cancel = format!(
        "CANCEL {} SIP/2.0\n{}\nMax-Forwards: 70\nCSeq: 7 CANCEL\nReason: SIP;cause=200\n",
        impu(2),
        cancel.join("\n")
    );
    around.p1.send(&mut around.bench, &cancel);
    let heard = around.i1.heard_one(&mut around.bench, "CANCEL");
    assert_eq!(heard.call_id(), far.call_id());
    around.i1.answer(&mut around.bench, &far, 487, "");
    assert_eq!(around.p1.answered_for(&mut around.bench, "INVITE"), 487);
    // Any other failure passes as it is, a redirection with its contacts.
    let far = invite(&mut around, 2);
    let text = around.i1.response(&far, 302, "").replace(
        &format!("Contact: <sip:{}>", around.i1.addr),
        "Contact: <sip:elsewhere@ims.example>;q=0.5",
    );
    around.i1.send(&mut around.bench, &text);
    let moved = around.p1.answered(&mut around.bench);
    let contact = get(&moved.headers, HeaderName::Contact);
    assert_eq!((moved.status, contact), (302, "<sip:elsewhere@ims.example>;q=0.5"));
}

impl Hand {
    /// The status of the final response to this method.
    fn answered_for(&self, bench: &mut Bench, method: &str) -> u16 {
        let mut heard = self.answers(bench, "");
        heard.retain(|it| {
            it.status >= 200 && it.cseq().is_ok_and(|it| it.method.as_str() == method)
        });
        heard.first().expect("a final response").status
    }
}

fn remainders() {
    for loss in ["", "network: {loss: 2%}\n"] {
        let mut text = "scenario: none\nparties: {alice: {}, bob: {}}\n".to_owned();
        text.push_str(loss);
        text.push_str(
            "lab:\n  nodes:\n    as1: {role: as, listen: \"127.0.0.1:7010\", behaviour: b2bua}\n  \
             subscribers:\n    alice:\n      filter_criteria:\n        - {priority: 1, \
             server: as1, all_of: [{method: INVITE}]}\nsteps: []\n",
        );
        let mut bench = Bench::of(&text);
        bench.play(
            "alice registers\nalice is registered within 60s\nbob registers\n\
             bob is registered within 60s\nalice calls bob\n\
             bob is call ringing within 60s\nwait 1s\nalice cancels\n\
             alice is call failed within 60s\nbob is call ended within 60s\nalice calls bob\n\
             bob is call ringing within 60s\nbob answers\n\
             alice is call established within 60s\nwait 1s\nbob hangs up\n\
             alice is call ended within 60s\nwait 300s",
        );
        let left = bench.remainders();
        let of_as =
            left.iter().filter(|(node, what, _)| node == "as1" && *what != "followed users");
        assert!(of_as.clone().all(|(_, _, count)| *count == 0), "{left:?}");
    }
}

fn announcement() {
    // bob's mailbox takes the call; nobody else hears of it.
    let mut bench = lab(&["announces for 5s"], &[], &[&criterion(1, "as1", INVITE)]);
    bench.register(&["alice", "bob"]);
    bench.mark();
    bench.play(
        "alice calls bob\nalice receives 183 for INVITE\nalice is call established\n\
         alice is call ended within 7s\nwait 1s",
    );
    let (as1, s1) = (bench.addr("as1"), bench.addr("s1"));
    let progress = one(&bench, "as1", s1, "183 INVITE");
    assert_eq!(progress.header("Require"), "100rel | precondition");
    assert!(!progress.message.body().is_empty(), "early media are described");
    assert_eq!(sent_to(&bench, "s1", as1, "PRACK").len(), 1);
    assert_eq!(sent_to(&bench, "as1", s1, "200 PRACK").len(), 1);
    // alice's resources come later: her UPDATE is answered before the 200.
    assert_eq!(sent_to(&bench, "as1", s1, "200 UPDATE").len(), 1);
    let taken = one(&bench, "as1", s1, "200 INVITE");
    let bye = one(&bench, "as1", s1, "BYE");
    let played = bye.at.since(taken.at).as_millis();
    assert!((5_000..5_300).contains(&played), "{played} ms");
    assert!(taken.header("P-Charging-Vector").contains("term-ioi=\"Type 3"));
    let invites = way(&bench, "INVITE");
    assert!(!invites.iter().any(|hop| hop.starts_with("as1-") || hop == "p1-ue"), "{invites:?}");
    let caller = format!("the caller is <{}>", impu(1));
    assert!(bench.notes("as1").iter().any(|note| note.text.contains(&caller)));
    // With a refusal behind it: early media only.
    let refuses = "announces for 3s then refuses 603";
    let mut bench = lab(&[refuses], &[], &[&criterion(1, "as1", INVITE)]);
    bench.register(&["alice", "bob"]);
    bench.mark();
    bench
        .play("alice calls bob\nalice receives 183 for INVITE\nalice is call failed 603 within 4s");
    let refused = one(&bench, "as1", bench.addr("s1"), "603 INVITE");
    assert_eq!(refused.header("Reason"), "SIP;cause=603");
    assert!(sent_to(&bench, "p1", bench.addr("bob"), "INVITE").is_empty());
    // The caller gives up.
    bench.play(
        "alice calls bob\nalice receives 183 for INVITE\nalice cancels\nalice is call failed 487",
    );
    assert_eq!(sent_to(&bench, "as1", bench.addr("s1"), "487 INVITE").len(), 1);
}

/// What as1 sends to begin a call, after an order.
fn begun(bench: &mut Bench, order: &str, to: &str) -> Told {
    bench.mark();
    bench.play(&format!("operator orders \"{order}\"\nwait 200ms"));
    one(bench, "as1", bench.addr(to), "INVITE")
}

fn for_a_user() {
    let registers = criterion(1, "as1", "all_of: [{method: REGISTER}]");
    let unregistered = criterion(1, "as2", "all_of: [{session_case: originating unregistered}]");
    let mut bench = lab(&["b2bua", "proxy"], &[&registers], &[&unregistered]);
    bench.register(&["alice"]);
    bench.run_for(Duration::from_secs(1));
    // alice is registered: her S-CSCF is known.
    let s1 = bench.addr("s1");
    let invite = begun(&mut bench, "call as1 carol --for alice", "s1");
    assert_eq!(invite.header("Route"), format!("<sip:{s1};lr;orig>"));
    let alice = format!("<{}>", impu(1));
    assert_eq!(invite.header("P-Asserted-Identity"), alice);
    assert!(invite.header("From").starts_with(&alice));
    assert_eq!(invite.header("P-Served-User"), format!("{alice};sescase=orig;regstate=reg"));
    let first = invite.header("P-Charging-Vector");
    assert!(charging(&first, "orig-ioi").is_some_and(|it| it.starts_with("Type 3")));
    assert_eq!(invite.header("Contact"), format!("<sip:{}>", bench.addr("as1")));
    let on = sent_to(&bench, "s1", bench.addr("i1"), "INVITE");
    assert_eq!(on.len(), 1, "it is a call of alice's, and goes where calls go");
    let again = begun(&mut bench, "call as1 carol --for alice", "s1");
    let icid = |value: &str| charging(value, "icid-value");
    assert_ne!(icid(&first), icid(&again.header("P-Charging-Vector")));
    // bob is not: an I-CSCF finds who serves him.
    let invite = begun(&mut bench, "call as1 carol --for bob", "i1");
    assert_eq!(invite.header("Route"), format!("<sip:{};lr;orig>", bench.addr("i1")));
    let bob = format!("<{}>;sescase=orig;regstate=unreg", impu(2));
    assert_eq!(invite.header("P-Served-User"), bob);
    assert_eq!(sent_to(&bench, "s1", bench.addr("as2"), "INVITE").len(), 1, "his services");
    // A message for alice.
    bench.mark();
    bench.play(
        "as1 sends message \"good day\" to alice for alice\nalice is message received good day",
    );
    assert_eq!(one(&bench, "as1", s1, "MESSAGE").header("P-Asserted-Identity"), alice);
}

fn as_itself() {
    let none = criterion(1, "as1", "all_of: [{method: PUBLISH}]");
    let mut bench = lab(&["b2bua"], &[&none], &[]);
    bench.register(&["bob"]);
    bench.run_for(Duration::from_secs(1));
    let as1 = format!("<sip:{}>", bench.addr("as1"));
    let invite = begun(&mut bench, "call as1 bob", "i1");
    for absent in ["Route", "P-Served-User"] {
        assert_eq!(invite.header(absent), "", "{absent}");
    }
    assert_eq!(invite.header("P-Asserted-Identity"), as1);
    assert_eq!(invite.request().request_uri, impu(2));
    bench.play("bob is call ringing\nbob answers\nas1 is call established\nwait 1s");
    bench.play("operator orders \"hangup as1\"\nbob is call ended\nas1 is call ended");
}

fn privacy() {
    let mut around = around("anonymises");
    let lines = "Privacy: header;user;id\nSubject: s\nCall-Info: <http://a.example>\n\
                 User-Agent: alice's\nReply-To: <sip:alice@a.example>\nOrganization: o";
    let text = around.alices("INVITE", &impu(2), 1, lines);
    let text =
        text.replace("\"Nobody\" <sip:anonymous@anonymous.invalid>", "\"Alice\" <sip:a@b.c>");
    around.p1.send(&mut around.bench, &text);
    let far = around.i1.heard_one(&mut around.bench, "INVITE");
    let sent = one(&around.bench, "as1", around.p1.to, "INVITE");
    let from = sent.header("From");
    assert!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="), "{from}");
    for gone in ["Subject", "Call-Info", "User-Agent", "Reply-To", "Organization", "Record-Route"] {
        assert_eq!(sent.header(gone), "", "{gone}");
    }
    assert_eq!(sent.header("Privacy"), "id", "what is done is said no more");
    let came = came_of(&around, around.bench.addr("as1"));
    let asserted = values(&came, HeaderName::PAssertedIdentity);
    assert_eq!(values(sent.request(), HeaderName::PAssertedIdentity), asserted);
    assert_eq!(sent.header("Contact"), format!("<sip:{}>", around.bench.addr("as1")));
    assert_eq!(values(sent.request(), HeaderName::Via).len(), 1);
    // The answer comes back to who alice is.
    around.i1.answer(&mut around.bench, &far, 486, "Privacy: header\nServer: bob's");
    let busy = around.p1.answered(&mut around.bench);
    assert!(get(&busy.headers, HeaderName::From).starts_with("\"Alice\" <sip:a@b.c>"));
    assert!(!busy.headers.contains(HeaderName::Server));
}

fn overloaded() {
    for handling in ["continued", "terminated"] {
        let rest = format!("default_handling: {handling}, {INVITE}");
        let mut around = Around::of(lab(&["b2bua"], &[&criterion(1, "as1", &rest)], &[]));
        around.bench.play("operator orders \"overload as1 --retry-after 7\"");
        let text = around.alices("INVITE", &impu(2), 1, "");
        around.p1.send(&mut around.bench, &text);
        let refused = one(&around.bench, "as1", around.p1.to, "503 INVITE");
        assert_eq!(refused.header("Retry-After"), "7");
        let passed = around.i1.heard(&mut around.bench, "INVITE");
        assert_eq!(passed.len(), usize::from(handling == "continued"), "{handling}");
        if let Some(invite) = passed.first() {
            around.i1.answer(&mut around.bench, invite, 486, "");
        }
        if handling == "terminated" {
            assert_eq!(around.p1.answered(&mut around.bench).status, 503);
        }
        around.bench.play("operator orders \"overload as1 --off\"");
        let text = around.alices("INVITE", &impu(2), 2, "");
        around.p1.send(&mut around.bench, &text);
        around.i1.heard_one(&mut around.bench, "INVITE");
        let bridged = sent_to(&around.bench, "as1", around.p1.to, "INVITE");
        assert_eq!(bridged.len(), 1, "taken again");
    }
}

fn diversion() {
    let carol = impu(3);
    let diverts = |rest: &str| format!("\"diverts to {carol}\"{rest}");
    for (keys, told, shown) in [
        ("", true, true),
        (", show_diversion: off", true, false),
        (", notify_caller: off", false, false),
    ] {
        let behaviour = diverts(keys);
        let it = criterion(1, "as1", "all_of: [{method: INVITE}, {session_case: terminating}]");
        let mut around = Around::of(lab(&[&behaviour], &[], &[&it]));
        let text = around.to_user("INVITE", &impu(2), 1, SDP);
        around.i1.send(&mut around.bench, &text);
        let s1 = around.bench.addr("s1");
        let sent = one(&around.bench, "as1", s1, "INVITE");
        let target = carol.replace(";user=phone", ";user=phone;cause=302");
        assert_eq!(sent.request().request_uri, target);
        let history = values(sent.request(), HeaderName::HistoryInfo);
        assert_eq!(history[1], format!("<{target}>;index=1.1;mp=1"), "{keys}");
        let private = history[0].contains("Privacy=history");
        assert_eq!(private, keys.contains("show_diversion: off"), "{history:?}");
        let forwarded = sent_to(&around.bench, "as1", s1, "181 INVITE");
        assert_eq!(forwarded.len(), usize::from(told), "{keys}");
        if let Some(forwarded) = forwarded.first() {
            assert_eq!(forwarded.header("History-Info").is_empty(), !shown, "{keys}");
            assert!(forwarded.header("To").contains(";tag="));
        }
        // bob's phone hears nothing, and carol's network gets the call.
        assert!(around.p1.heard(&mut around.bench, "INVITE").is_empty());
        let heard = sent_to(&around.bench, "s1", around.i1.addr, "181 INVITE");
        assert_eq!(heard.len(), usize::from(told), "{keys}: relayed");
        let invite = around.i1.heard_one(&mut around.bench, "INVITE");
        assert_eq!(invite.request_uri, target);
        around.i1.answer(&mut around.bench, &invite, 180, "");
        let ringing = one(&around.bench, "as1", s1, "180 INVITE");
        if let Some(forwarded) = forwarded.first() {
            assert!(forwarded.at < ringing.at, "181 stands before the 180");
        }
    }
}

fn anonymous() {
    let alice = impu(1);
    for (keys, privacy, status) in [
        (String::new(), "Privacy: id", 433),
        (String::new(), "Privacy: header", 433),
        (String::new(), "Privacy: none", 0),
        (String::new(), "", 0),
        (format!(", overriding: \"{alice}\""), "Privacy: id", 0),
    ] {
        let it = criterion(1, "as1", "all_of: [{method: INVITE}, {session_case: terminating}]");
        let behaviour = format!("refuses anonymous{keys}");
        let mut around = Around::of(lab(&[&behaviour], &[], &[&it]));
        let lines = format!("P-Asserted-Identity: <{alice}>\n{privacy}");
        let text = around.to_user("INVITE", &impu(2), 1, &lines);
        around.i1.send(&mut around.bench, &text);
        let rings = around.p1.heard(&mut around.bench, "INVITE").len();
        assert_eq!(rings, usize::from(status == 0), "{keys} {privacy}");
        if status > 0 {
            let refused = around.i1.answered(&mut around.bench);
            assert_eq!(refused.status, status);
            assert_eq!(get(&refused.headers, HeaderName::Reason), "SIP;cause=433");
        }
    }
}
