//! What the answers of the HSS make of a REGISTER at the S-CSCF (TS 24.229 §5.4.1.2,
//! TS 29.228 §6.1.2, §6.3).

use cscf_core::auth::IntegrityProtected;
use cscf_core::config::{Lab, NodeConfig, NodeRole};
use cscf_core::hss::{
    self, HssCommand, HssInput, HssNode, ImplicitSet, PrivateIdentity, Subscriber,
};
use cscf_core::ifc::PublicIdentity;
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};

use super::hand::{A_MOMENT, Hand, asked, result_of};
use super::{Case, case};

const NO: Option<IntegrityProtected> = Some(IntegrityProtected::No);
const YES: Option<IntegrityProtected> = Some(IntegrityProtected::Yes);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("cx::a_negative_answer_of_the_hss_gets_403", &["S-REG-240a", "S-REG-240b"], negative),
        case("cx::a_silent_hss_gets_504", &[], silent_hss),
        case("cx::barred_identities_are_not_shown", &["S-REG-270"], all_barred),
    ]
}

fn alice() -> Hand {
    Hand::at_scscf(Bench::new(&[]), "alice")
}

fn carol() -> Hand {
    Hand::at_scscf(Bench::new(&[]), "carol")
}

/// Refused with 403, the HSS having said so, and nothing is bound.
fn refused_by_hss(hand: &mut Hand, lines: &str, (answer, result): (&str, u32)) {
    hand.bench.mark();
    let refused = hand.register(lines);
    assert_eq!(label(&refused), "403 REGISTER");
    assert_eq!(header(&refused, "WWW-Authenticate"), "");
    let answers = asked(&hand.bench, "hss", answer);
    assert_eq!(answers.iter().map(result_of).collect::<Vec<_>>(), [result]);
}

fn no_binding(hand: &mut Hand) {
    let lines = hand.unchallenged(YES);
    hand.contact.clear();
    assert_eq!(label(&hand.register(&lines)), "500 REGISTER", "not known here");
}

fn negative() {
    // (a) MAA: unknown, not together, no AKA for this user.
    let mut hand = alice();
    hand.who.impi = format!("nobody@{DOMAIN}");
    let lines = hand.unchallenged(NO);
    refused_by_hss(&mut hand, &lines, ("MAA", 5001));
    no_binding(&mut hand);
    let mut hand = alice();
    hand.impu = format!("sip:bob@{DOMAIN}");
    let lines = hand.unchallenged(NO);
    refused_by_hss(&mut hand, &lines, ("MAA", 5002));
    no_binding(&mut hand);
    let mut hand = carol();
    let lines = hand.unchallenged(NO);
    refused_by_hss(&mut hand, &lines, ("MAA", 5006));
    no_binding(&mut hand);

    // (b) SAA: unknown, not together, served by another S-CSCF, not what the HSS knows.
    let mut hand = alice();
    hand.who.impi = format!("nobody@{DOMAIN}");
    let lines = hand.trusted();
    refused_by_hss(&mut hand, &lines, ("SAA", 5001));
    no_binding(&mut hand);
    let mut hand = alice();
    hand.impu = format!("sip:bob@{DOMAIN}");
    let lines = hand.trusted();
    refused_by_hss(&mut hand, &lines, ("SAA", 5002));
    no_binding(&mut hand);
    let second = |lab: &mut Lab| {
        let s1 = lab.node(NodeRole::Scscf).expect("s1").clone();
        let mut listen = s1.listen;
        listen.set_port(6070);
        let advertise = (s1.advertise.0.clone(), 6070);
        lab.nodes.push(NodeConfig { name: "s2".to_owned(), listen, advertise, ..s1 });
    };
    let bench = Bench::with_lab("scenario: none\nsteps: []\n", 1, second);
    let mut hand = Hand::at_scscf(bench, "alice");
    hand.registered(NO, YES);
    hand.to = hand.bench.addr("s2");
    let lines = hand.trusted();
    refused_by_hss(&mut hand, &lines, ("SAA", 5005));
    no_binding(&mut hand);
    let mut hand = alice();
    hand.registered(NO, YES);
    hand.bench.play("hss crashes\nwait 1s\nhss restarts\nwait 60s");
    let lines = hand.trusted();
    refused_by_hss(&mut hand, &lines, ("SAA", 5007));
}

fn silent_hss() {
    for (crash_before_answer, status) in [(false, "504 REGISTER"), (true, "504 REGISTER")] {
        let mut hand = alice();
        let mut lines = hand.unchallenged(NO);
        if crash_before_answer {
            let challenged = hand.register(&lines);
            lines = hand.proof(&challenged, YES);
        }
        assert!(hand.bench.stage.lab.crash("hss"));
        hand.bench.mark();
        let text = hand.next(&lines);
        hand.send(&text);
        hand.bench.run_for(Duration::from_secs(10));
        let answer = hand.answered().expect("a final response");
        assert_eq!(label(&answer), status);
        no_binding(&mut hand);
        hand.bench.run_for(Duration::from_secs(40));
        let of_s1 = |(node, what, _): &(String, &str, usize)| node == "s1" && *what != "state";
        let left: Vec<_> = hand.bench.remainders().into_iter().filter(of_s1).collect();
        assert_eq!(left, [], "nothing waits any more");
    }
}

/// A subscription with these identities (barred or not) and a password.
pub(crate) fn subscriber_of(name: &str, impus: &[(&str, bool)]) -> Subscriber {
    let identities = impus.iter().map(|(uri, barred)| PublicIdentity {
        identity: (*uri).to_owned(),
        barred: *barred,
        ..PublicIdentity::default()
    });
    Subscriber {
        private_identities: vec![PrivateIdentity {
            impi: format!("{name}@{DOMAIN}"),
            credentials: hss::Credentials::Digest {
                realm: String::new(),
                password: format!("{name}-secret"),
                algorithms: vec!["MD5".to_owned()],
            },
        }],
        implicit_sets: vec![ImplicitSet::of(identities.collect())],
        ..Subscriber::default()
    }
}

/// Adds a subscription.
pub(crate) fn provision(bench: &mut Bench, subscriber: Subscriber) {
    order_hss(bench, HssCommand::Provision(Box::new(subscriber)));
}

/// Gives the HSS an order.
pub(crate) fn order_hss(bench: &mut Bench, command: HssCommand) {
    let done = bench.stage.lab.with("hss", |hss: &mut HssNode, now| {
        hss.handle_input(now, HssInput::Command(command));
    });
    done.expect("an HSS");
    bench.run_for(A_MOMENT);
}

fn all_barred() {
    let mut hand = carol();
    let only = format!("sip:erin@{DOMAIN}");
    provision(&mut hand.bench, subscriber_of("erin", &[(&only, true)]));
    "erin".clone_into(&mut hand.who.name);
    hand.who.impi = format!("erin@{DOMAIN}");
    hand.impu = only;
    let trusted = hand.trusted();
    assert_eq!(label(&hand.register(&trusted)), "403 REGISTER");
    no_binding(&mut hand);

    // Only the one that registers is barred: it is left out of the list.
    let mut hand = alice();
    let ok = hand.registered(NO, YES);
    assert_eq!(
        header(&ok, "P-Associated-URI"),
        format!("<sip:+15550100001@{DOMAIN};user=phone>, <tel:+15550100001>, <sip:alice@{DOMAIN}>")
    );
}
