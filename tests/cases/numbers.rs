//! Numbers and names: the numbering plan, ENUM and the break-out of the S-CSCF
//! (TS 24.229 §5.4.3.2).

use cscf_core::sip::{HeaderName, Request};
use cscf_tests::{Bench, DOMAIN};

use super::by_hand::{charging, impu, sent_to};
use super::scscf_session::Around;
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("numbers::what_enum_knows_goes_home", &["S-ORI-120a"], in_enum),
        case("numbers::what_nobody_has_breaks_out", &["S-ORI-120b"], breaks_out),
        case("numbers::local_numbers_follow_the_plan", &["S-ORI-130", "RC-484"], local),
        case("numbers::an_untranslatable_number_gives_404", &["RC-404b"], untranslatable),
        case("numbers::a_network_can_speak_for_everybody", &["RC-604"], nowhere),
    ]
}

/// The first raw peer of a bench.
const PSTN: &str = "127.1.0.201:5060";

/// A lab with alice, bob and these keys.
fn lab(keys: &str) -> Bench {
    Bench::of(&format!(
        "scenario: none\nparties:\n  alice: {{}}\n  bob: {{}}\nlab:\n{keys}steps: []\n"
    ))
}

fn with_enum(break_out: bool) -> Around {
    let away = if break_out { format!(", break_out: \"sip:{PSTN}\"") } else { String::new() };
    Around::of(lab(&format!(
        "  numbering: {{enum: on{away}}}\n  dns:\n    \"+15550100002\":\n      \
         - \"NAPTR 10 10 u E2U+sip !^.*$!sip:bob@{DOMAIN}!\"\n      \
         - \"NAPTR 20 10 u E2U+sip !^.*$!sip:second@{DOMAIN}!\"\n"
    )))
}

fn routes(request: &Request) -> usize {
    request.headers.values(HeaderName::Route).count()
}

fn in_enum() {
    let mut around = with_enum(true);
    for (n, uri) in (1..).zip(["tel:+1-555-010-0002".to_owned(), impu(2)]) {
        let sent = around.alice_sends("INVITE", &uri, n, "");
        assert_eq!(sent.request_uri, format!("sip:bob@{DOMAIN}"), "{uri}");
        assert_eq!(routes(&sent), 0);
    }
}

fn breaks_out() {
    let mut around = with_enum(true);
    let pstn = around.bench.raw("pstn");
    assert_eq!(pstn.to_string(), PSTN);
    let number = "+442071838750";
    let home = format!("sip:{number}@{DOMAIN};user=phone");
    for (n, uri) in (1..).zip([format!("tel:{number}"), home.clone()]) {
        around.bench.mark();
        let text = around.alices("INVITE", &uri, n, "");
        around.p1.send(&mut around.bench, &text);
        assert!(around.i1.heard(&mut around.bench, "INVITE").is_empty());
        let sent = sent_to(&around.bench, "s1", pstn, "INVITE").remove(0);
        assert_eq!(sent.request().request_uri, home, "{uri}");
        assert!(sent.header("Record-Route").contains("orig-rr"));
        let vector = sent.header("P-Charging-Vector");
        assert_eq!(charging(&vector, "orig-ioi").as_deref(), Some(DOMAIN));
    }
    // Without somebody to break out to there is nobody.
    let mut around = with_enum(false);
    let text = around.alices("INVITE", &format!("tel:{number}"), 3, "");
    assert_eq!(around.refused(&text), 404);
    // Without ENUM the plan says whose number it is.
    let keys = format!("  numbering: {{home: [\"+1555010\"], break_out: \"sip:{PSTN}\"}}\n");
    let mut around = Around::of(lab(&keys));
    let sent = around.alice_sends("INVITE", "tel:+15550100002", 4, "");
    assert_eq!(sent.request_uri, impu(2));
    let pstn = around.bench.raw("pstn");
    let text = around.alices("INVITE", &format!("tel:{number}"), 5, "");
    around.p1.send(&mut around.bench, &text);
    assert_eq!(sent_to(&around.bench, "s1", pstn, "INVITE")[0].request().request_uri, home);
}

const PLAN: &str = "  numbering: {translate: {\"\": \"+1555010\", \"9\": \"+1\"}, digits_min: 4}\n";

fn local() {
    let mut around = Around::of(lab(PLAN));
    let all = [
        format!("tel:0002;phone-context={DOMAIN}"),
        format!("sip:0002;phone-context={DOMAIN}@{DOMAIN};user=phone"),
        format!("sip:00-02@{DOMAIN};user=phone"),
        "tel:0002;phone-context=+1555010".to_owned(),
        format!("tel:95550100002;phone-context={DOMAIN}"),
    ];
    for (n, uri) in (1..).zip(all) {
        let sent = around.alice_sends("INVITE", &uri, n, "");
        assert_eq!(sent.request_uri, impu(2), "{uri}");
    }
    let mut around = Around::of(lab(PLAN));
    let text = around.alices("INVITE", &format!("tel:12;phone-context={DOMAIN}"), 9, "");
    assert_eq!(around.refused(&text), 484);
    let text = around.alices("INVITE", "tel:0002;phone-context=other.example", 10, "");
    assert_eq!(around.refused(&text), 404);
    // A global number may be as short as it likes.
    assert_eq!(around.alice_sends("INVITE", "tel:+12", 11, "").request_uri.len(), {
        format!("sip:+12@{DOMAIN};user=phone").len()
    });
}

fn untranslatable() {
    let mut bench = lab("  numbering: {translate: {\"7\": \"+7\"}}\n");
    bench.register(&["alice", "bob"]);
    bench.mark();
    bench
        .play(&format!("alice calls tel:5551234;phone-context={DOMAIN}\nalice is call failed 404"));
    assert_eq!(sent_to(&bench, "s1", bench.addr("p1"), "404 INVITE").len(), 1);
    assert!(sent_to(&bench, "s1", bench.addr("i1"), "INVITE").is_empty());
    // Barred identities are nobody to callers.
    bench.mark();
    bench.play(&format!(
        "alice calls sip:001010000000002@{DOMAIN}\nalice is call failed 404\nbob receives no INVITE within 1s"
    ));
    let by_s1 = sent_to(&bench, "s1", bench.addr("i1"), "404 INVITE").len();
    let by_i1 = sent_to(&bench, "i1", bench.addr("s1"), "404 INVITE").len();
    assert_eq!(by_s1.max(by_i1), 1);
}

fn nowhere() {
    let node = "{role: i-cscf, listen: \"127.0.0.1:4060\", unknown_user: 604}";
    let mut bench = lab(&format!("  nodes:\n    i1: {node}\n"));
    bench.register(&["alice"]);
    bench.mark();
    bench.play(&format!("alice calls {}\nalice is call failed 604", impu(9999)));
    assert_eq!(sent_to(&bench, "i1", bench.addr("s1"), "604 INVITE").len(), 1);
}
