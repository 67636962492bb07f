//! The S-CSCF serving callers (TS 24.229 §5.4.3.2): all around it is by hand.

use cscf_core::config::Start;
use cscf_core::engine::{CxNode, Engine};
use cscf_core::sip::{HeaderName, Request};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN};
use s_cscf::Scscf;

use super::by_hand::{Hand, charging, impu, one, sent_to, uri_of};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("scscf::route_or_orig_make_a_request_originating", &["S-ORI-010"], session_case),
        case("scscf::the_served_user_is_that_of_the_route", &["S-ORI-020"], served_user),
        case("scscf::a_barred_identity_calls_nobody", &["S-ORI-030"], barred),
        case("scscf::a_lost_registration_gives_504", &["S-ORI-050"], lost),
        case("scscf::a_preferred_service_is_asserted", &["S-ORI-100"], service),
        case("scscf::the_alias_of_the_caller_is_added", &["S-ORI-110"], alias),
        case("scscf::numbers_are_translated_and_routed", &["S-ORI-120a"], numbers),
        case(
            "scscf::home_goes_to_the_icscf_and_foreign_abroad",
            &["S-ORI-140a", "S-ORI-140b", "S-ORI-150"],
            destinations,
        ),
        case("scscf::a_ringing_call_is_given_up_in_time", &["S-ORI-170"], timer_c),
        case("scscf::requests_in_dialogs_follow_their_route", &["S-ORI-180"], in_dialog),
    ]
}

/// s1 with alice and bob registered, p1 and i1 by hand.
pub(crate) struct Around {
    pub(crate) bench: Bench,
    pub(crate) p1: Hand,
    pub(crate) i1: Hand,
    /// alice's Service-Route, with brackets.
    pub(crate) route: String,
    /// bob's Path.
    pub(crate) path: String,
}

impl Around {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// As [`Around::new`], the S-CSCF configured otherwise.
    pub(crate) fn with(change: impl FnOnce(&mut s_cscf::Config)) -> Self {
        let mut bench = Bench::new(&["alice", "bob"]);
        reconfigure(&mut bench, change);
        Self::of(bench)
    }

    /// The same in a lab of one's own that has alice and bob.
    pub(crate) fn of(mut bench: Bench) -> Self {
        bench.register(&["alice", "bob"]);
        bench.run_for(Duration::from_secs(1));
        let registered = sent_to(&bench, "p1", bench.addr("alice"), "200 REGISTER");
        let route = registered[0].header("Service-Route");
        let registers = sent_to(&bench, "p1", bench.addr("i1"), "REGISTER");
        let path = registers.last().expect("bob's").header("Path");
        let p1 = Hand::node(&mut bench, "p1", "s1");
        let i1 = Hand::node(&mut bench, "i1", "s1");
        bench.mark();
        Self { bench, p1, i1, route, path }
    }

    /// A request of alice as p1 sends it.
    pub(crate) fn alices(&self, method: &str, uri: &str, n: u32, lines: &str) -> String {
        let lines = format!(
            "Route: {}\nP-Charging-Vector: icid-value=\"p1-{n}\";orig-ioi=\"Type 1visited\"\n{}{lines}",
            self.route,
            if lines.contains("P-Asserted-Identity") {
                String::new()
            } else {
                format!("P-Asserted-Identity: <{}>\n", impu(1))
            }
        );
        self.p1.request(method, uri, n, lines.trim_end())
    }

    /// Sends it, and takes what reaches i1.
    pub(crate) fn alice_sends(&mut self, method: &str, uri: &str, n: u32, lines: &str) -> Request {
        let text = self.alices(method, uri, n, lines);
        self.p1.send(&mut self.bench, &text);
        self.i1.heard_one(&mut self.bench, method)
    }

    /// A request for a user of s1 as i1 sends it.
    pub(crate) fn to_user(&self, method: &str, uri: &str, n: u32, lines: &str) -> String {
        let lines = format!("Route: <sip:{};lr>\n{lines}", self.i1.to);
        self.i1.request(method, uri, n, lines.trim_end())
    }

    /// The status that p1 is told.
    pub(crate) fn refused(&mut self, text: &str) -> u16 {
        self.p1.send(&mut self.bench, text);
        assert!(self.bench.heard(&self.i1.name).is_empty(), "goes nowhere");
        self.p1.answered(&mut self.bench).status
    }
}

/// An S-CSCF configured otherwise takes the place of s1.
fn reconfigure(bench: &mut Bench, change: impl FnOnce(&mut s_cscf::Config)) {
    let node = bench.config.node_named("s1").expect("s1").clone();
    let seed = bench.stage.lab.seed_of("s1 otherwise");
    let unix_at_epoch = scenarios::run::UNIX_AT_EPOCH;
    let start = Start { seed, tracing: true, unix_at_epoch };
    let mut config = s_cscf::lab::config(&bench.config, &node);
    change(&mut config);
    let role = Scscf::new(config, &seed);
    let settings = bench.config.settings(&node, &start).expect("settings");
    let engine = Engine::new("s1", role, settings, seed);
    let client = bench.config.diameter_client(&node, &start).expect("client");
    assert!(bench.stage.lab.crash("s1"));
    bench.stage.lab.restart(Box::new(CxNode::new(engine, client)));
    bench.run_for(Duration::from_secs(1));
}

fn header(request: &Request, name: HeaderName) -> Vec<String> {
    request.headers.values(name).map(str::to_owned).collect()
}

fn session_case() {
    let mut around = Around::new();
    let sent = around.alice_sends("INVITE", &impu(2), 1, "");
    assert!(header(&sent, HeaderName::RecordRoute)[0].contains("orig"), "by the Service-Route");
    assert!(!sent.headers.contains(HeaderName::PCalledPartyId));
    assert!(around.p1.heard(&mut around.bench, "INVITE").is_empty());

    let route = around.route.clone();
    around.route = format!("<sip:{};lr;orig>", around.p1.to);
    let sent = around.alice_sends("INVITE", &impu(2), 2, "");
    assert!(header(&sent, HeaderName::RecordRoute)[0].contains("orig"), "by orig");
    assert!(around.p1.heard(&mut around.bench, "INVITE").is_empty());

    // The same from nobody's Route: for the user of the Request-URI.
    around.route = route;
    let text = around.to_user("INVITE", &impu(2), 3, "");
    around.i1.send(&mut around.bench, &text);
    let sent = around.p1.heard_one(&mut around.bench, "INVITE");
    assert!(header(&sent, HeaderName::RecordRoute)[0].contains("term"));
    assert_eq!(header(&sent, HeaderName::PCalledPartyId), [format!("<{}>", impu(2))]);
    assert!(around.i1.heard(&mut around.bench, "INVITE").is_empty());
}

fn served_user() {
    let barred = format!("sip:001010000000001@{DOMAIN}");
    let lines = |user: &str, asserted: &str| {
        format!(
            "P-Served-User: <{user}>;sescase=orig;regstate=reg\nP-Asserted-Identity: <{asserted}>"
        )
    };
    let mut around = Around::new();
    // What P-Served-User says holds, whatever is asserted; and it goes no further.
    let sent = around.alice_sends("INVITE", &impu(2), 1, &lines(&impu(1), &barred));
    assert!(!sent.headers.contains(HeaderName::PServedUser));
    let text = around.alices("INVITE", &impu(2), 2, &lines(&barred, &impu(1)));
    assert_eq!(around.refused(&text), 403);
    // Without it the asserted identity counts, and must be of this Service-Route.
    let text = around.alices("INVITE", &impu(1), 3, &format!("P-Asserted-Identity: <{}>", impu(2)));
    assert_eq!(around.refused(&text), 403);
    let other = format!("P-Asserted-Identity: <sip:alice@{DOMAIN}>");
    around.alice_sends("INVITE", &impu(2), 4, &other);
}

fn barred() {
    let mut around = Around::new();
    let asserted = format!("P-Asserted-Identity: <sip:001010000000001@{DOMAIN}>");
    for (n, method) in (1..).zip(["INVITE", "MESSAGE"]) {
        let text = around.alices(method, &impu(2), n, &asserted);
        assert_eq!(around.refused(&text), 403, "{method}");
    }
}

fn lost() {
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    let route = sent_to(&bench, "p1", bench.addr("alice"), "200 REGISTER");
    let route = route[0].header("Service-Route");
    bench.play("s1 crashes\ns1 restarts\nwait 2s");
    bench.mark();
    bench.play("alice calls bob\nalice receives 504 for INVITE\nwait 5s");
    let refused = one(&bench, "s1", bench.addr("p1"), "504 INVITE");
    assert_eq!(uri_of(&refused.header("P-Asserted-Identity")), uri_of(&route));
    assert_eq!(refused.header("Content-Type"), "application/3gpp-ims+xml");
    let body = String::from_utf8_lossy(&refused.response().body).into_owned();
    assert!(body.contains("<type>restoration</type>"), "{body}");
    assert!(body.contains("<action>initial-registration</action>"), "{body}");
    let registers = sent_to(&bench, "alice", bench.addr("p1"), "REGISTER");
    assert!(registers[0].header("Authorization").contains("nonce=\"\""), "from scratch");
    assert_eq!(sent_to(&bench, "p1", bench.addr("alice"), "200 REGISTER").len(), 1);
}

const MMTEL: &str = "urn:urn-7:3gpp-service.ims.icsi.mmtel";

fn service() {
    let lines = format!("P-Preferred-Service: {MMTEL}\nP-Asserted-Service: urn:forged");
    let mut around = Around::new();
    let sent = around.alice_sends("INVITE", &impu(2), 1, &lines);
    assert_eq!(header(&sent, HeaderName::PAssertedService), [MMTEL]);
    assert!(!sent.headers.contains(HeaderName::PPreferredService));
    let sent = around.alice_sends("INVITE", &impu(2), 2, "P-Asserted-Service: urn:forged");
    assert!(!sent.headers.contains(HeaderName::PAssertedService));

    let mut around = Around::with(|config| config.services = Some(vec!["urn:other".to_owned()]));
    let text = around.alices("INVITE", &impu(2), 3, &lines);
    assert_eq!(around.refused(&text), 403, "not subscribed");
}

fn alias() {
    let (sip, tel) = (format!("<{}>", impu(1)), "<tel:+15550100001>".to_owned());
    for (asserted, wanted) in [
        (sip.clone(), vec![sip.clone(), tel.clone()]),
        (tel.clone(), vec![tel.clone(), sip.clone()]),
        (format!("{sip}, {tel}"), vec![sip, tel]),
    ] {
        let mut around = Around::new();
        let lines = format!("P-Asserted-Identity: {asserted}");
        let sent = around.alice_sends("INVITE", &impu(2), 1, &lines);
        assert_eq!(header(&sent, HeaderName::PAssertedIdentity), wanted);
    }
}

fn numbers() {
    let mut around = Around::new();
    for (n, uri) in (1..).zip(["tel:+1-555-010-0002".to_owned(), impu(2)]) {
        let sent = around.alice_sends("INVITE", &uri, n, "");
        assert_eq!(sent.request_uri, impu(2), "{uri}");
    }
    // A number nobody has.
    let mut bench = Bench::new(&["alice"]);
    bench.register(&["alice"]);
    for uri in ["tel:+15550109999".to_owned(), impu(9999)] {
        bench.mark();
        bench.play(&format!("alice calls {uri}\nalice is call failed 404"));
        one(&bench, "s1", bench.addr("p1"), "404 INVITE");
    }
}

fn destinations() {
    let mut around = Around::new();
    let foreign = around.bench.raw("foreign");
    let home = around.alice_sends("INVITE", &format!("sip:bob@{DOMAIN}"), 1, "");
    assert_eq!(home.request_uri, format!("sip:bob@{DOMAIN}"));
    around.bench.mark();
    let lines = "P-Charging-Function-Addresses: ccf=x\n\
                 P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=1";
    let text = around.alices("INVITE", &format!("sip:eve@{foreign}"), 2, lines);
    around.p1.send(&mut around.bench, &text);
    assert!(around.i1.heard(&mut around.bench, "INVITE").is_empty());
    let sent = sent_to(&around.bench, "s1", foreign, "INVITE").remove(0);
    let vector = sent.header("P-Charging-Vector");
    assert_eq!(charging(&vector, "icid-value").as_deref(), Some("p1-2"));
    assert_eq!(charging(&vector, "orig-ioi").as_deref(), Some(DOMAIN));
    assert_eq!(charging(&vector, "term-ioi"), None);
    assert_eq!(sent.header("P-Charging-Function-Addresses"), "");
    assert_eq!(sent.header("P-Access-Network-Info"), "");
    // It never answers.
    around.bench.run_for(Duration::from_secs(60));
    let late = sent_to(&around.bench, "s1", around.p1.addr, "408 INVITE");
    let after = late[0].at - sent.at;
    assert!((31_900..32_100).contains(&after.as_millis()), "{after:?}");
}

fn timer_c() {
    let mut around = Around::new();
    let invite = around.alice_sends("INVITE", &impu(2), 1, "");
    let ours = &header(&invite, HeaderName::RecordRoute)[0];
    assert!(ours.contains(";lr") && ours.contains("orig"), "{ours}");
    assert!(ours.contains(&around.p1.to.to_string()), "{ours}");
    let Around { bench, i1, p1, .. } = &mut around;
    for status in [180, 101, 183, 199] {
        i1.answer(bench, &invite, status, "");
        bench.run_for(Duration::from_secs(178));
        assert!(i1.heard(bench, "CANCEL").is_empty(), "{status} starts Timer C anew");
    }
    i1.answer(bench, &invite, 100, "");
    bench.run_for(Duration::from_secs(30));
    assert!(!i1.heard(bench, "CANCEL").is_empty(), "100 does not");
    i1.answer(bench, &invite, 487, "");
    let end = p1.answers(bench, "");
    assert!(end.iter().any(|response| response.status >= 400), "the caller is told");
}

fn in_dialog() {
    let mut around = Around::new();
    let invite = around.alice_sends("INVITE", &impu(2), 1, "");
    let Around { bench, i1, p1, .. } = &mut around;
    i1.answer(bench, &invite, 200, "");
    let made = p1.answered(bench);
    let mut cseq = 2;
    for restarted in [false, true] {
        if restarted {
            bench.play("s1 crashes\ns1 restarts\nwait 1s");
        }
        for method in ["PRACK", "UPDATE", "INFO", "INVITE", "BYE"] {
            bench.mark();
            let lines = format!(
                "P-Asserted-Identity: <{}>\nP-Preferred-Service: {MMTEL}\nRAck: 1 1 INVITE",
                impu(1)
            );
            let text = p1.in_dialog(method, cseq, &made, &lines);
            // The callee's S-CSCF is the next of the route set.
            let next = format!("Route: <sip:next@{};lr>\nMax-Forwards", i1.addr);
            p1.send(bench, &text.replace("Max-Forwards", &next));
            let sent = i1.heard_one(bench, method);
            assert_eq!(header(&sent, HeaderName::Route), [format!("<sip:next@{};lr>", i1.addr)]);
            assert_eq!(sent.request_uri, format!("sip:{}", i1.addr));
            // No service: neither alias nor asserted service.
            assert_eq!(header(&sent, HeaderName::PAssertedIdentity).len(), 1);
            assert!(sent.headers.contains(HeaderName::PPreferredService));
            let refreshes = matches!(method, "INVITE" | "UPDATE");
            if refreshes {
                let routes = header(&sent, HeaderName::RecordRoute);
                assert_eq!(routes, header_of(&made), "{method}");
            }
            assert!(bench.sent_diameter("s1").iter().all(|bytes| {
                !["SAR", "MAR"].contains(&&*scenarios::report::summary::diameter_label(bytes))
            }));
            i1.answer(bench, &sent, 200, "");
            assert_eq!(p1.answered(bench).status, 200, "{method}");
            cseq += 1;
        }
    }
}

fn header_of(response: &cscf_core::sip::Response) -> Vec<String> {
    response.headers.values(HeaderName::RecordRoute).map(str::to_owned).collect()
}
