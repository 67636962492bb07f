//! Flows of one instance at the S-CSCF, RFC 5626 and TS 24.229 §5.4.1.2.2: how many, through which
//! first hop, and in which turn they are tried. The client stands in the place of i1.

use cscf_core::auth::IntegrityProtected;
use cscf_core::sip::Message;
use cscf_tests::{Bench, DOMAIN, Told, header, label};

use super::hand::{A_MOMENT, Hand, restart_s1};
use super::scscf_register::{bindings, message_to};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("outbound::an_instance_has_a_limit_of_flows", &["S-REG-190"], flows),
        case(
            "outbound::a_first_hop_without_outbound_gets_439",
            &["S-REG-200", "RC-439"],
            first_hop,
        ),
        case("outbound::flows_of_an_instance_are_tried_in_turn", &[], in_turn),
    ]
}

fn alice() -> Hand {
    Hand::at_scscf(Bench::new(&[]), "alice")
}

/// A Contact of an instance with this flow.
fn flow(instance: u8, id: u8) -> String {
    format!(
        "Contact: <sip:a@10.0.{instance}.{id}>;reg-id={id};\
         +sip.instance=\"<urn:x:{instance}>\";expires=900\n"
    )
}

fn flows() {
    let mut hand = alice();
    restart_s1(&mut hand.bench, |config| config.flows_max = 2);
    hand.outbound();
    hand.registered(NO, YES);
    for (instance, id, status) in
        [(1, 1, "200"), (1, 2, "200"), (1, 3, "403"), (1, 2, "200"), (2, 1, "200")]
    {
        let lines = hand.unchallenged(YES) + &flow(instance, id);
        let answer = hand.register(&lines);
        assert_eq!(label(&answer), format!("{status} REGISTER"), "{instance}/{id}");
    }
    assert_eq!(bindings(&mut hand).len(), 4);
}

fn first_hop() {
    for (ob, supported, status) in
        [(true, true, "401"), (false, true, "439"), (false, false, "401")]
    {
        let mut hand = alice();
        if ob {
            hand.outbound();
        } else if supported {
            hand.lines += "Supported: outbound\n";
        }
        let lines = hand.unchallenged(NO) + &flow(1, 1);
        let answer = hand.register(&lines);
        assert_eq!(label(&answer), format!("{status} REGISTER"), "ob {ob}");
    }
    // A UE whose P-CSCF knows no flows registers without one.
    let mut bench = Bench::with_ues(
        "scenario: none\nparties:\n  alice: {}\nsteps: []\n",
        1,
        |_| {},
        |ues| ues.iter_mut().for_each(|ue| ue.reg_id = Some(1)),
    );
    super::by_hand::reconfigure(&mut bench, |config| config.outbound = false);
    bench.register(&["alice"]);
    let codes = bench.sent("s1").into_iter().map(|told| told.label());
    let codes: Vec<String> = codes.filter(|it| it.ends_with(" REGISTER")).collect();
    assert_eq!(codes, ["439 REGISTER", "401 REGISTER", "200 REGISTER"]);
    let sent = bench.sent("alice");
    let mut flows = sent.iter().filter(|told| told.label() == "REGISTER");
    let asks = |told: &Told| told.header("Contact").contains("reg-id");
    assert!(flows.next().is_some_and(asks) && !flows.any(asks));
    // Without outbound in Supported reg-id means nothing: a new contact over the association.
    let mut hand = alice();
    hand.registered(NO, YES);
    let lines = hand.unchallenged(YES) + &flow(1, 1);
    assert_eq!(label(&hand.register(&lines)), "403 REGISTER");
}

fn in_turn() {
    let mut hand = alice();
    let edge = hand.bench.raw("edge");
    hand.lines = format!("Path: <sip:tok@{edge};lr;ob>\nRequire: path\nSupported: outbound\n");
    hand.contact = flow(1, 1);
    hand.registered(NO, YES);
    for (instance, id) in [(1, 2), (1, 3)] {
        let lines = hand.unchallenged(YES) + &flow(instance, id);
        assert_eq!(label(&hand.register(&lines)), "200 REGISTER");
    }
    let to = format!("sip:alice@{DOMAIN}");
    message_to(&mut hand, &to);
    let s1 = hand.to;
    let mut tried = Vec::new();
    for status in ["430 Flow Failed", "430 Flow Failed", "200 OK"] {
        let heard = hand.bench.heard("edge");
        let mut requests: Vec<&Message> =
            heard.iter().filter(|it| label(it) == "MESSAGE").collect();
        requests.dedup_by_key(|it| header(it, "Via"));
        let [one] = requests.as_slice() else { panic!("one flow at a time: {requests:?}") };
        let Message::Request(request) = one else { panic!("a request") };
        tried.push(request.request_uri.to_string());
        let answer = super::hand::response(one, status, "");
        hand.bench.send("edge", s1, &answer);
        hand.bench.run_for(A_MOMENT);
    }
    assert_eq!(tried, ["sip:a@10.0.1.1", "sip:a@10.0.1.2", "sip:a@10.0.1.3"]);
    assert_eq!(hand.answered().map(|it| label(&it)).as_deref(), Some("200 MESSAGE"));
}
