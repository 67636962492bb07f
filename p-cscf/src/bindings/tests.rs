//! What the records of UEs and their indexes keep, and in which order they are found.

use cscf_core::transport::Transport;

use super::*;

fn ue(number: u16) -> Ue {
    let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
    let (local, remote) = (address(5060), address(number));
    Ue {
        association: Association {
            source: remote,
            sent_by: "192.0.2.1".into(),
            impi: format!("{number}@ims.example").into(),
        },
        flow: Flow { transport: Transport::Udp, local, remote, conn: None, sa: None },
        flow_lost: false,
        kept: false,
        signalling_lost: false,
        side: Side::Air,
        outbound: false,
        registrations: Box::default(),
        pending_until: Instant::EPOCH,
        challenged: false,
        mechanism: Mechanism::Digest,
    }
}

fn registration(identity: &str, home: &str) -> Registration {
    Registration {
        aor: identity.into(),
        contact: "sip:a@192.0.2.1".into(),
        service_route: Box::default(),
        associated: Identity::read(identity).into_iter().collect(),
        term_ioi: Some(home.into()),
        expires_at: Instant::EPOCH,
    }
}

/// Users behind one address are told apart by sent-by, and nobody is taken for another.
#[test]
fn users_behind_one_address_are_told_apart() {
    let mut bindings = Bindings::new(&Seed([7; 32]));
    let at = SocketAddr::from(([192, 0, 2, 1], 5060));
    let here = |sent_by: &str, impi: &str| {
        let association = Association { source: at, sent_by: sent_by.into(), impi: impi.into() };
        Ue { association, flow: Flow { remote: at, ..ue(5060).flow }, ..ue(5060) }
    };
    let found = |bindings: &Bindings, sent_by: &str| {
        bindings.registered_at(&ue(5060).flow, sent_by).map(|id| id.0)
    };
    for (number, sent_by, impi) in [(3, "a", "1"), (1, "b", "2"), (2, "c", "3")] {
        bindings.insert(UeId(number), here(sent_by, impi), Limits::default());
    }
    bindings.register(UeId(1), registration("sip:2@ims.example", "home"));

    assert_eq!(found(&bindings, "other"), Some(1), "the only one that has registered");
    bindings.register(UeId(2), registration("sip:3@ims.example", "home"));
    assert_eq!(
        ["a", "b", "c", "other"].map(|it| found(&bindings, it)),
        [None, Some(1), Some(2), None]
    );

    let of = |bindings: &Bindings, sent_by: &str, impi: &str| {
        bindings.of_association(&here(sent_by, impi).association).map(|id| id.0)
    };
    assert_eq!(of(&bindings, "a", "1"), Some(3));
    assert_eq!(of(&bindings, "a", "2"), None);
    bindings.insert(UeId(4), here("c", "4"), Limits::default());
    assert_eq!(bindings.superseded_by(UeId(4), "sip:a@192.0.2.1"), [UeId(2)], "its place");

    // Those who only ask stand behind, however many.
    for number in 5..50 {
        let sent_by = if number % 2 == 0 { "b" } else { "c" };
        let asking = here(sent_by, &number.to_string());
        bindings.insert(UeId(number), asking, Limits::default());
    }
    assert_eq!(["b", "c"].map(|it| found(&bindings, it)), [Some(1), Some(2)]);
    let order: Vec<_> = bindings.at(at).map(|(ue, _)| ue.is_registered()).collect();
    assert_eq!(order.len(), 49);
    assert!(order.is_sorted_by(|this, next| this >= next), "{order:?}");
    let flow = ue(5060).flow;
    let registered: BTreeSet<_> = bindings.registered_on(&flow).map(Ue::impi).collect();
    assert_eq!(registered, BTreeSet::from(["2", "3"]));
    assert_eq!(of(&bindings, "b", "48"), Some(48));
    assert_eq!(bindings.of_impi("48").count(), 0, "it has not registered");
    assert_eq!(found(&bindings, "other"), None, "two have");
    bindings.remove(UeId(2));
    assert_eq!(found(&bindings, "other"), Some(1), "those who only ask do not count");

    for number in (4..50).chain([2, 1]) {
        bindings.remove(UeId(number));
    }
    assert!(bindings.any_at(at).is_some_and(|ue| ue.impi() == "1"));
    assert_eq!(bindings.of_impi("2").count(), 0);
    bindings.remove(UeId(3));
    assert!(bindings.any_at(at).is_none() && bindings.is_empty());
}

/// A record holds its identity once, and all records the name of their home.
#[test]
fn what_is_the_same_is_kept_once() {
    let mut bindings = Bindings::new(&Seed([7; 32]));
    for (number, home) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "a")] {
        let id = UeId(number.into());
        bindings.insert(id, ue(number), Limits::default());
        bindings.register(id, registration(&format!("sip:{number}@ims.example"), home));
    }
    let of = |number| &bindings.get(UeId(number)).expect("known").registrations[0];

    for number in 1..=5 {
        let (aor, identity) = (&of(number).aor, &of(number).associated[0]);
        assert_eq!(**aor, *format!("sip:{number}@ims.example"));
        assert!(Arc::ptr_eq(aor, &identity.key) && Arc::ptr_eq(aor, &identity.uri));
    }
    let home = |number| of(number).term_ioi.as_ref().expect("known");
    assert!(Arc::ptr_eq(home(1), home(2)) && Arc::ptr_eq(home(3), home(4)));
    assert_eq!([home(1), home(3), home(5)].map(|home| &**home), ["a", "b", "a"]);
}

/// What an operator is shown is in the order in which UEs came, whatever the table has them in.
#[test]
fn records_are_told_in_the_order_of_their_numbers() {
    let mut bindings = Bindings::new(&Seed([7; 32]));
    let numbers = || (1..=40).map(|it| it * 7 % 41);
    for number in numbers() {
        bindings.insert(UeId(number.into()), ue(number), Limits::default());
    }

    let told: Vec<_> = bindings.iter().map(|ue| ue.association.source.port()).collect();

    assert_eq!(told, (1..=40).collect::<Vec<_>>());
    assert!(!numbers().is_sorted());
}

/// However a record comes and goes, nothing of it stays in an index.
#[test]
fn a_record_that_is_gone_leaves_nothing_behind() {
    let home = || registration("sip:1@ims.example", "home");
    let ways: [fn(&mut Bindings); 4] = [
        |bindings| bindings.remove(UeId(1)),
        |bindings| assert!(bindings.deregister(UeId(1), |_| true)),
        |bindings| bindings.copy(UeId(1), None),
        |bindings| {
            // Another engine has heard that it is registered no more, then that it is gone.
            bindings.copy(UeId(1), Some(&ue(1)));
            assert_eq!(bindings.of_impi("1@ims.example").count(), 0);
            bindings.remove(UeId(1));
        },
    ];
    for way in ways {
        let mut bindings = Bindings::new(&Seed([7; 32]));
        bindings.insert(UeId(1), ue(1), Limits::default());
        bindings.register(UeId(1), home());
        assert_eq!(bindings.of_impi("1@ims.example").collect::<Vec<_>>(), [UeId(1)]);
        way(&mut bindings);
        assert!(bindings.is_empty(), "{bindings:?}");
    }
    let mut bindings = Bindings::new(&Seed([7; 32]));
    bindings.insert(UeId(1), ue(1), Limits::default());
    assert!(!bindings.is_empty());
    bindings.remove(UeId(1));
    assert!(bindings.is_empty());
}
