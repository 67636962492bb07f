//! The S-CSCF serving callees (TS 24.229 §5.4.3.3): all around it is by hand.

use cscf_core::sip::{HeaderName, Request};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, label};

use super::by_hand::{Hand, charging, impu, one, sent_to, uri_of};
use super::scscf_session::Around;
use super::{Case, case, hand};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("scscf::a_barred_identity_cannot_be_called", &["S-TER-010"], barred),
        case("scscf::a_callee_is_found_at_the_contact", &["S-TER-020"], delivery),
        case("scscf::several_contacts_are_tried_as_wished", &["S-TER-060"], forking),
        case("scscf::pending_branches_share_max_breadth", &["T-PRX-050", "RC-440"], breadth),
        case("scscf::a_dead_early_dialog_is_told", &["T-PRX-080", "RC-199"], early_end),
        case("scscf::contacts_must_have_what_is_required", &["S-TER-070"], features),
        case("scscf::feature_tags_are_kept_shown_and_matched", &["G-FEAT-010"], feature_tags),
        case("scscf::the_alias_of_the_callee_is_added", &["S-TER-090"], alias),
        case("scscf::a_ringing_callee_is_cancelled_in_time", &["S-TER-110"], timer_c),
        case("scscf::privacy_that_cannot_be_given_is_refused", &["S-TER-130"], privacy),
        case("scscf::both_ends_on_one_scscf_are_served_in_turn", &["S-TER-140"], one_scscf),
        case("scscf::require_is_for_the_callee_to_judge", &["S-TER-160"], require),
    ]
}

fn header(request: &Request, name: HeaderName) -> Vec<String> {
    request.headers.values(name).map(str::to_owned).collect()
}

fn barred() {
    let mut around = Around::new();
    let text = around.to_user("INVITE", &format!("sip:001010000000002@{DOMAIN}"), 1, "");
    around.i1.send(&mut around.bench, &text);
    assert_eq!(around.i1.answered(&mut around.bench).status, 404);
    assert!(around.bench.heard(&around.p1.name).is_empty());
}

fn delivery() {
    let mut around = Around::new();
    let lines = format!(
        "P-Served-User: <{}>;sescase=term;regstate=reg\n\
         P-Charging-Vector: icid-value=\"p1-7\";orig-ioi=\"{DOMAIN}\"\n\
         Record-Route: <sip:orig-rr.9@{};lr>",
        impu(2),
        around.i1.to
    );
    let text = around.to_user("INVITE", "tel:+15550100002", 1, &lines);
    around.i1.send(&mut around.bench, &text);
    let sent = around.p1.heard_one(&mut around.bench, "INVITE");
    assert_eq!(sent.request_uri, format!("sip:{}", around.bench.addr("bob")));
    assert_eq!(header(&sent, HeaderName::Route), [around.path.clone()]);
    assert_eq!(header(&sent, HeaderName::PCalledPartyId), ["<tel:+15550100002>"]);
    assert_eq!(header(&sent, HeaderName::PServedUser).len(), 0);
    let routes = header(&sent, HeaderName::RecordRoute);
    assert_eq!(routes.len(), 2, "{routes:?}");
    assert!(routes[0].contains("term") && routes[0].contains(";lr"), "{routes:?}");
    let vector = sent.headers.get(HeaderName::PChargingVector).expect("a vector");
    assert_eq!(charging(vector, "icid-value").as_deref(), Some("p1-7"));

    // A Path of several hops is the Route in its order.
    let (mut bench, p1, i1) = registered(&["<sip:bob@10.9.9.9>;expires=3600"]);
    i1.send(&mut bench, &to_bob(&i1, "INVITE", 1, ""));
    let sent = p1.heard_one(&mut bench, "INVITE");
    let path = format!("<sip:tok@{};lr>", p1.addr);
    assert_eq!(header(&sent, HeaderName::Route), [path, "<sip:inner@10.8.8.8;lr>".to_owned()]);
}

/// bob registered by hand with these contacts; p1 and i1 by hand.
fn registered(contacts: &[&str]) -> (Bench, Hand, Hand) {
    registered_in(Bench::new(&[]), contacts)
}

fn registered_in(bench: Bench, contacts: &[&str]) -> (Bench, Hand, Hand) {
    let mut it = hand::Hand::at_scscf(bench, "bob");
    it.contact = format!("Contact: {}\n", contacts.join(", "));
    it.lines = it.lines.replace(";lr>\n", ";lr>, <sip:inner@10.8.8.8;lr>\n");
    let trusted = it.trusted();
    let ok = it.register(&trusted);
    assert_eq!(label(&ok), "200 REGISTER");
    let mut bench = it.bench;
    let addr = bench.addr("p1");
    let (name, to, service_route) = ("p1's hand".to_owned(), it.to, String::new());
    bench.raw_at(&name, addr);
    let i1 = Hand { name: it.peer.to_owned(), addr: it.at, to, service_route: String::new() };
    bench.heard(&i1.name);
    bench.mark();
    (bench, Hand { name, addr, to, service_route }, i1)
}

fn to_bob(i1: &Hand, method: &str, n: u32, lines: &str) -> String {
    let lines = format!("Route: <sip:{};lr>\n{lines}", i1.to);
    i1.request(method, &impu(2), n, lines.trim_end())
}

/// Who is tried: the hosts of the Request-URIs.
fn tried(p1: &Hand, bench: &mut Bench, method: &str) -> Vec<(String, Request)> {
    let heard = p1.heard(bench, method).into_iter();
    heard.map(|request| (request.request_uri.to_string(), request)).collect()
}

const EQUAL: [&str; 2] = ["<sip:bob@10.9.9.1>;expires=3600", "<sip:bob@10.9.9.2>;expires=3600"];

fn forking() {
    // Equal q: both at once; the first 2xx wins, the other is cancelled for that reason.
    let (mut bench, p1, i1) = registered(&EQUAL);
    i1.send(&mut bench, &to_bob(&i1, "INVITE", 1, ""));
    let branches = tried(&p1, &mut bench, "INVITE");
    let uris: Vec<&str> = branches.iter().map(|(uri, _)| &**uri).collect();
    assert_eq!(uris, ["sip:bob@10.9.9.1", "sip:bob@10.9.9.2"]);
    p1.answer(&mut bench, &branches[0].1, 180, "");
    p1.answer(&mut bench, &branches[1].1, 200, "");
    let cancels = tried(&p1, &mut bench, "CANCEL");
    assert_eq!(cancels.len(), 1);
    assert_eq!(cancels[0].0, "sip:bob@10.9.9.1");
    let reason = cancels[0].1.headers.get(HeaderName::Reason).unwrap_or_default();
    assert!(reason.contains("SIP;cause=200"), "{reason}");
    assert!(reason.contains("text=\"Call completed elsewhere\""), "{reason}");
    assert_eq!(i1.answered(&mut bench).status, 200);

    // All fail: the best is told.
    for (n, (first, second, best)) in (2..).zip([
        (486, 603, 603),
        (404, 500, 404),
        (500, 486, 486),
        (486, 415, 415),
        (486, 484, 484),
        (503, 503, 500),
        // Unknown ones count as their class.
        (499, 500, 499),
        (486, 607, 607),
    ]) {
        let (mut bench, p1, i1) = registered(&EQUAL);
        i1.send(&mut bench, &to_bob(&i1, "INVITE", n, ""));
        let branches = tried(&p1, &mut bench, "INVITE");
        p1.answer(&mut bench, &branches[0].1, first, "");
        p1.answer(&mut bench, &branches[1].1, second, "");
        assert_eq!(i1.answered(&mut bench).status, best, "{first} {second}");
    }

    // Different q, or the caller wants it: one after the other, or only the best.
    let sequential = [EQUAL[0].to_owned() + ";q=0.2", EQUAL[1].to_owned() + ";q=0.8"];
    let sequential: Vec<&str> = sequential.iter().map(String::as_str).collect();
    for (contacts, lines, order) in [
        (&sequential[..], "", vec!["sip:bob@10.9.9.2", "sip:bob@10.9.9.1"]),
        (
            &EQUAL[..],
            "Request-Disposition: sequential",
            vec!["sip:bob@10.9.9.1", "sip:bob@10.9.9.2"],
        ),
        (&sequential[..], "Request-Disposition: no-fork", vec!["sip:bob@10.9.9.2"]),
    ] {
        let (mut bench, p1, i1) = registered(contacts);
        i1.send(&mut bench, &to_bob(&i1, "INVITE", 1, lines));
        for uri in order {
            let branches = tried(&p1, &mut bench, "INVITE");
            assert_eq!(branches.len(), 1, "{lines}");
            assert_eq!(branches[0].0, uri, "{lines}");
            assert!(i1.answers(&mut bench, "486 INVITE").is_empty());
            p1.answer(&mut bench, &branches[0].1, 486, "");
        }
        assert!(p1.heard(&mut bench, "INVITE").is_empty(), "{lines}");
        assert_eq!(i1.answered(&mut bench).status, 486);
    }
}

/// The Max-Breadth of each INVITE that p1 hears, with the INVITEs.
fn breadths(p1: &Hand, bench: &mut Bench) -> (Vec<String>, Vec<Request>) {
    let invites: Vec<Request> = p1.heard(bench, "INVITE");
    (invites.iter().flat_map(|it| header(it, HeaderName::MaxBreadth)).collect(), invites)
}

fn breadth() {
    // Absent means 60; what came is shared; a request that is not forked keeps it all.
    for (n, (contacts, lines, shares)) in (1..).zip([
        (&EQUAL[..], "", &["30", "30"][..]),
        (&EQUAL[..], "Max-Breadth: 5", &["3", "2"]),
        (&EQUAL[..], "Max-Breadth: 2", &["1", "1"]),
        (&EQUAL[..], "Max-Breadth: 1000", &["30", "30"]),
        (&EQUAL[..1], "", &["60"]),
        (&EQUAL[..1], "Max-Breadth: 7", &["7"]),
        (&EQUAL[..1], "Max-Breadth: 1", &["1"]),
    ]) {
        let (mut bench, p1, i1) = registered(contacts);
        i1.send(&mut bench, &to_bob(&i1, "INVITE", n, lines));
        assert_eq!(breadths(&p1, &mut bench).0, shares, "{lines}");
    }
    // More contacts than branches: so many at a time, each with what is free again.
    let three = [EQUAL[0], EQUAL[1], "<sip:bob@10.9.9.3>;expires=3600"];
    for (contacts, lines, steps) in [
        (&EQUAL[..], "Max-Breadth: 1", &[&["1"][..], &["1"]][..]),
        (&three[..], "Max-Breadth: 2", &[&["1", "1"][..], &["2"]]),
    ] {
        let (mut bench, p1, i1) = registered(contacts);
        i1.send(&mut bench, &to_bob(&i1, "INVITE", 1, lines));
        for shares in steps {
            let (found, invites) = breadths(&p1, &mut bench);
            assert_eq!(found, *shares, "{lines}");
            assert!(i1.answers(&mut bench, "440 INVITE").is_empty());
            invites.iter().for_each(|invite| p1.answer(&mut bench, invite, 486, ""));
        }
        assert_eq!(i1.answered(&mut bench).status, 486);
    }
    // A node that does not try them one after the other refuses; nobody has anything with 0.
    let refusing = || {
        Bench::with_lab("scenario: none\nsteps: []\n", 1, |lab| {
            let s1 = lab.nodes.iter_mut().find(|node| node.name == "s1").expect("s1");
            s1.serving.breadth = cscf_core::config::Breadth::Refuse;
        })
    };
    for (bench, contacts, lines, refused) in [
        (refusing(), &EQUAL[..], "Max-Breadth: 1", true),
        (refusing(), &EQUAL[..], "", false),
        (refusing(), &EQUAL[..1], "Max-Breadth: 1", false),
        (Bench::new(&[]), &EQUAL[..], "Max-Breadth: 0", true),
        (Bench::new(&[]), &EQUAL[..1], "Max-Breadth: 0", true),
    ] {
        let (mut bench, p1, i1) = registered_in(bench, contacts);
        i1.send(&mut bench, &to_bob(&i1, "INVITE", 1, lines));
        assert_eq!(p1.heard(&mut bench, "INVITE").is_empty(), refused, "{lines}");
        assert_eq!(i1.answers(&mut bench, "440 INVITE").len(), usize::from(refused), "{lines}");
    }
    // A node that does not fork has nothing to give with 0, either.
    let (mut bench, alice) = super::by_hand::alice_and(&["bob"]);
    alice.send(&mut bench, &alice.request("MESSAGE", &impu(2), 1, "Max-Breadth: 0"));
    assert_eq!(alice.answered(&mut bench).status, 440);
    assert!(sent_to(&bench, "p1", bench.addr("s1"), "MESSAGE").is_empty());
}

fn early_end() {
    const CALLER: &str = "Supported: 199, timer";
    // (the caller says, the first contact does, a 199 is told, the second contact ends with)
    for (n, (lines, progress, told)) in (1..).zip([
        (CALLER, Some(183), true),
        ("Supported: timer", Some(183), false),
        ("Supported: 199\nRequire: 100rel", Some(183), false),
        (CALLER, None, false),
        (CALLER, Some(100), false),
        (CALLER, Some(199), false),
    ]) {
        let (mut bench, p1, i1) = registered(&EQUAL);
        i1.send(&mut bench, &to_bob(&i1, "INVITE", n, lines));
        let invites = p1.heard(&mut bench, "INVITE");
        let dead = |to: String| to.replace(";tag=hand", ";tag=dead");
        let says = |bench: &mut Bench, at: usize, status: u16| {
            let text = p1.response(&invites[at], status, "");
            let text = if at == 0 { dead(text) } else { text };
            p1.send(bench, &text);
        };
        says(&mut bench, 1, 180);
        if let Some(status) = progress {
            says(&mut bench, 0, status);
        }
        let before = i1.answers(&mut bench, "199 INVITE");
        assert_eq!(before.len(), usize::from(progress == Some(199)));
        says(&mut bench, 0, 486);
        let heard = i1.answers(&mut bench, "");
        let statuses: Vec<u16> = heard.iter().map(|it| it.status).collect();
        assert_eq!(statuses, if told { vec![199] } else { vec![] }, "{lines} {progress:?}");
        for response in heard {
            assert_eq!(response.to_tag(), Some("dead"));
            let reason = response.headers.get(HeaderName::Reason).unwrap_or_default();
            assert!(reason.starts_with("SIP;cause=486"), "{reason}");
            assert!(response.body.is_empty() && !response.headers.contains(HeaderName::RSeq));
            assert!(!response.headers.contains(HeaderName::Require));
        }
        // Nobody is left when the last one fails: the final response says it.
        says(&mut bench, 1, 480);
        assert!(i1.answers(&mut bench, "").iter().all(|it| it.status >= 400));
    }
    // One after the other: the next contact is pending when the first has failed.
    let (mut bench, p1, i1) = registered(&EQUAL);
    let lines = format!("{CALLER}\nMax-Breadth: 1");
    i1.send(&mut bench, &to_bob(&i1, "INVITE", 20, &lines));
    let first = p1.heard_one(&mut bench, "INVITE");
    p1.answer(&mut bench, &first, 180, "");
    p1.answer(&mut bench, &first, 408, "");
    let second = p1.heard_one(&mut bench, "INVITE");
    let told = i1.answers(&mut bench, "199 INVITE");
    assert_eq!(told.len(), 1);
    let reason = told[0].headers.get(HeaderName::Reason).unwrap_or_default();
    assert!(reason.starts_with("SIP;cause=408"), "{reason}");
    p1.answer(&mut bench, &second, 200, "");
    assert_eq!(i1.answered(&mut bench).status, 200);
}

fn features() {
    let sms = "<sip:bob@10.9.9.2>;expires=3600;+g.3gpp.smsip";
    let wish = "Accept-Contact: *;+g.3gpp.smsip;require;explicit";
    let (mut bench, p1, i1) = registered(&[EQUAL[0], sms]);
    i1.send(&mut bench, &to_bob(&i1, "MESSAGE", 1, wish));
    let branches = tried(&p1, &mut bench, "MESSAGE");
    assert_eq!(branches.len(), 1);
    assert_eq!(branches[0].0, "sip:bob@10.9.9.2");
    p1.answer(&mut bench, &branches[0].1, 200, "");
    let (mut bench, p1, i1) = registered(&EQUAL);
    i1.send(&mut bench, &to_bob(&i1, "MESSAGE", 1, wish));
    assert_eq!(i1.answered(&mut bench).status, 480);
    assert!(bench.heard(&p1.name).is_empty());
}

fn alias() {
    let (sip, tel) = (format!("<{}>", impu(2)), "<tel:+15550100002>".to_owned());
    for (asserted, other) in [(&sip, &tel), (&tel, &sip)] {
        let mut around = Around::new();
        let text = around.to_user("INVITE", &impu(2), 1, "");
        around.i1.send(&mut around.bench, &text);
        let invite = around.p1.heard_one(&mut around.bench, "INVITE");
        for status in [180, 200] {
            let lines = format!("P-Asserted-Identity: {asserted}");
            around.p1.answer(&mut around.bench, &invite, status, &lines);
            let wanted = format!("{status} INVITE");
            let told = around.i1.answers(&mut around.bench, &wanted).remove(0);
            let found: Vec<&str> = told.headers.values(HeaderName::PAssertedIdentity).collect();
            assert_eq!(found, [asserted, other], "{status}");
        }
    }
}

fn timer_c() {
    let mut around = Around::new();
    let text = around.to_user("INVITE", &impu(2), 1, "");
    around.i1.send(&mut around.bench, &text);
    let invite = around.p1.heard_one(&mut around.bench, "INVITE");
    let Around { bench, p1, i1, .. } = &mut around;
    for _ in 0..3 {
        p1.answer(bench, &invite, 180, "");
        bench.run_for(Duration::from_secs(178));
        assert!(p1.heard(bench, "CANCEL").is_empty(), "each 180 starts Timer C anew");
    }
    p1.answer(bench, &invite, 100, "");
    bench.run_for(Duration::from_secs(10));
    let cancel = p1.heard(bench, "CANCEL");
    assert!(!cancel.is_empty(), "after more than three minutes without news");
    p1.answer(bench, &cancel[0], 200, "");
    p1.answer(bench, &invite, 487, "");
    let end = i1.answers(bench, "");
    assert!(end.iter().any(|response| response.status >= 400), "the caller is told");
}

fn privacy() {
    let asserted = format!("P-Asserted-Identity: <{}>", impu(1));
    for (n, privacy) in (1..).zip(["id", "id;critical", "none"]) {
        let mut around = Around::new();
        let lines = format!("{asserted}\nPrivacy: {privacy}");
        let text = around.to_user("INVITE", &impu(2), n, &lines);
        around.i1.send(&mut around.bench, &text);
        let sent = around.p1.heard_one(&mut around.bench, "INVITE");
        assert_eq!(header(&sent, HeaderName::Privacy), [privacy]);
        assert_eq!(header(&sent, HeaderName::PAssertedIdentity).len(), 1, "for the edge to take");
    }
    for (n, privacy) in (10..).zip(["header;critical", "id;session;critical", "user;critical"]) {
        let mut around = Around::new();
        let text = around.to_user("INVITE", &impu(2), n, &format!("Privacy: {privacy}"));
        around.i1.send(&mut around.bench, &text);
        assert_eq!(around.i1.answered(&mut around.bench).status, 500, "{privacy}");
        assert!(around.p1.heard(&mut around.bench, "INVITE").is_empty());
    }
}

fn one_scscf() {
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["alice", "bob"]);
    bench.mark();
    bench.play(
        "alice calls bob\nalice receives 180 for INVITE\nbob answers\nalice is call established",
    );
    one(&bench, "s1", bench.addr("i1"), "INVITE");
    one(&bench, "i1", bench.addr("s1"), "INVITE");
    let delivered = one(&bench, "s1", bench.addr("p1"), "INVITE");
    let s1 = bench.addr("s1").to_string();
    let routes: Vec<&str> = delivered.request().headers.values(HeaderName::RecordRoute).collect();
    let ours: Vec<&&str> = routes.iter().filter(|route| route.contains(&s1)).collect();
    assert_eq!(ours.len(), 2, "{routes:?}");
    assert!(ours[0].contains("term") && ours[1].contains("orig"), "{routes:?}");
    let asserted = delivered.header("P-Asserted-Identity");
    assert!(asserted.contains("tel:+15550100001"), "the caller was served: {asserted}");
    assert_eq!(uri_of(&delivered.header("P-Called-Party-ID")), impu(2), "and the callee");
    assert!(sent_to(&bench, "s1", bench.addr("p1"), "482 INVITE").is_empty());
}

fn require() {
    let mut bench = Bench::new(&["alice", "bob"]);
    bench.register(&["bob"]);
    let alice = Hand::registered(&mut bench, "alice");
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 1, "Require: not-known"));
    let heard = one(&bench, "p1", bench.addr("bob"), "INVITE");
    assert_eq!(heard.header("Require"), "not-known");
    let refused = alice.answered(&mut bench);
    assert_eq!(refused.status, 420);
    assert_eq!(refused.headers.get(HeaderName::Unsupported), Some("not-known"));
    one(&bench, "bob", bench.addr("p1"), "420 INVITE");
    // Proxy-Require is for each CSCF: seen by the S-CSCF alone, and by the first of all.
    bench.mark();
    alice.send(&mut bench, &alice.request("INVITE", &impu(2), 2, "Proxy-Require: not-known"));
    let refused = alice.answered(&mut bench);
    assert_eq!(refused.status, 420);
    assert_eq!(refused.headers.get(HeaderName::Unsupported), Some("not-known"));
    assert!(bench.received("bob").is_empty());
    let mut around = Around::new();
    let text = around.to_user("INVITE", &impu(2), 1, "Proxy-Require: not-known");
    around.i1.send(&mut around.bench, &text);
    let refused = around.i1.answered(&mut around.bench);
    assert_eq!(refused.status, 420);
    assert_eq!(refused.headers.get(HeaderName::Unsupported), Some("not-known"));
    assert!(around.bench.heard(&around.p1.name).is_empty());
}

fn feature_tags() {
    const TAGS: [&str; 5] = [
        "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"",
        "+g.3gpp.smsip",
        "audio",
        "video",
        "+sip.instance=\"<urn:gsma:imei:90420156-025763-0>\"",
    ];
    let contact = format!("<sip:bob@10.9.9.1>;{};expires=3600", TAGS.join(";"));
    let mut it = hand::Hand::at_scscf(Bench::new(&[]), "bob");
    it.contact = format!("Contact: {contact}\n");
    let trusted = it.trusted();
    let ok = it.register(&trusted);
    assert_eq!(label(&ok), "200 REGISTER");
    let echoed = cscf_tests::header(&ok, "Contact");
    for tag in TAGS {
        assert!(echoed.contains(tag), "{tag}: {echoed}");
    }
    // Whoever may watch sees them.
    let (name, to) = ("p1's hand".to_owned(), it.to);
    let mut bench = it.bench;
    let addr = bench.addr("p1");
    bench.raw_at(&name, addr);
    let p1 = Hand { name, addr, to, service_route: String::new() };
    let lines = format!(
        "Event: reg\nExpires: 600\nRoute: <sip:{to};lr>\nP-Asserted-Identity: <{}>",
        impu(2)
    );
    p1.send(&mut bench, &p1.request("SUBSCRIBE", &impu(2), 1, &lines));
    let notify = p1.heard_one(&mut bench, "NOTIFY");
    let body = String::from_utf8_lossy(&notify.body).into_owned();
    let param = |name: &str| format!("<unknown-param name=\"{name}\"");
    for name in ["+g.3gpp.icsi-ref", "+g.3gpp.smsip", "audio", "video", "+sip.instance"] {
        assert!(body.contains(&param(name)), "{name}: {body}");
    }
    assert!(body.contains("urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"), "{body}");
    // And they decide who takes a request.
    let i1 = Hand { name: it.peer.to_owned(), addr: it.at, to, service_route: String::new() };
    for (n, (wish, fits)) in (1..).zip([
        ("+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"", true),
        ("+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.other\"", false),
        ("video", true),
        ("+g.3gpp.unheard-of", false),
    ]) {
        let lines = format!("Accept-Contact: *;{wish};require;explicit");
        i1.send(&mut bench, &to_bob(&i1, "MESSAGE", n, &lines));
        let heard = p1.heard(&mut bench, "MESSAGE");
        assert_eq!(!heard.is_empty(), fits, "{wish}");
        for request in heard {
            p1.answer(&mut bench, &request, 200, "");
        }
        assert_eq!(i1.answers(&mut bench, "480 MESSAGE").len(), usize::from(!fits), "{wish}");
    }
}
