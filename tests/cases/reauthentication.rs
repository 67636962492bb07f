//! Re-authentication by the policy of the S-CSCF, end to end over security associations
//! (TS 24.229 §5.4.1.2.2, TS 33.203 §7.4).

use cscf_core::sip::HeaderName;
use cscf_core::time::Duration;
use cscf_core::transport::ipsec::Offer;
use cscf_tests::{Bench, Told};

use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![case(
        "reauthentication::the_challenge_comes_over_the_old_associations",
        &["S-REG-170"],
        over_associations,
    )]
}

/// The port-c in Security-Client of a REGISTER, or in Security-Server of a 401.
fn client_port(told: &Told, name: HeaderName) -> u16 {
    let offers = told.message.headers().security(name).expect("parses");
    Offer::of(&offers[0]).expect("an offer").ports.client
}

/// The same by a UE with security associations: the challenge comes over the old ones, which the
/// new ones replace.
fn over_associations() {
    let mut bench = Bench::of(
        "scenario: none\nparties:\n  alice: {security: on}\nlab:\n  nodes:\n    s1: {role: s-cscf, \
         listen: \"127.0.0.1:6060\", reauthenticate_every: 2}\nsteps: []\n",
    );
    bench.register(&["alice"]);
    bench.run_for(Duration::from_secs(1));
    let registers = |bench: &Bench| -> Vec<Told> {
        bench.sent("alice").into_iter().filter(|told| told.label() == "REGISTER").collect()
    };
    let challenge = |bench: &Bench| {
        let heard = bench.received("alice").into_iter();
        heard.rev().find(|told| told.label() == "401 REGISTER").expect("a 401")
    };
    let (client, server) = (HeaderName::SecurityClient, HeaderName::SecurityServer);
    let of_ue = client_port(&registers(&bench)[0], client);
    let of_edge = client_port(&challenge(&bench), server);
    bench.mark();
    bench.play("alice re-registers\nalice is re-registered");
    assert_eq!(registers(&bench).len(), 1, "the first is believed");

    bench.mark();
    bench.play("alice re-registers\nalice is re-registered");
    bench.run_for(Duration::from_secs(1));
    let [first, second] = &registers(&bench)[..] else { panic!("two REGISTERs") };
    let new_of_ue = client_port(first, client);
    let new_of_edge = client_port(&challenge(&bench), server);
    assert!(new_of_ue != of_ue && new_of_edge != of_edge);
    assert_eq!(first.wire.local.port(), of_ue, "by the old associations");
    assert_eq!(second.wire.local.port(), new_of_ue, "the answer by the new ones");
    let heard = bench.received("alice");
    let came = |label: &str| {
        let one = heard.iter().find(|told| told.label() == label);
        one.unwrap_or_else(|| panic!("{label}")).wire.remote.port()
    };
    assert_eq!((came("401 REGISTER"), came("200 REGISTER")), (of_edge, new_of_edge));
    let to_home = bench.sent("p1").into_iter().filter(|told| told.label() == "REGISTER");
    let flags: Vec<String> = to_home.map(|told| told.header("Authorization")).collect();
    assert_eq!(flags.len(), 2);
    assert!(flags.iter().all(|it| it.contains("integrity-protected=\"yes\"")), "{flags:?}");
    let challenges = bench.sent("s1").into_iter().filter(|told| told.label() == "401 REGISTER");
    assert_eq!(challenges.count(), 1);
    // From now on everything goes by the new ones, both ways.
    let ok = heard.iter().position(|told| told.label() == "200 REGISTER").expect("a 200");
    let mut late = heard.iter().skip(ok).filter(|told| told.label() == "NOTIFY");
    assert!(late.all(|told| told.wire.remote.port() == new_of_edge));
    bench.mark();
    bench.play("alice re-registers\nalice is re-registered");
    assert_eq!(registers(&bench)[0].wire.local.port(), new_of_ue);
}
