//! Ranges in the HSS: nobody is made before somebody asks, and a member is as if it had been
//! provisioned by itself.

use super::range::SubscriberRange;
use super::tests::{aka, set, subscriber};
use super::*;
use crate::auth::{AkaKeys, Scheme};
use crate::cx::{
    AssignmentType, AuthScheme, AuthorizationType, CxAnswer, CxRequest, Lir, Mar, Restoration,
    RestoredContact, Sar, Uar,
};
use crate::diameter::{LocalPeer, Timing};
use crate::identity::ImsiRange;
use crate::ids::{Ids, Seed, ShardId};
use crate::time::{Instant, UnixTime};

const DOMAIN: &str = "ims.example";
const SEED: Seed = Seed([3; 32]);

fn range(imsi: &str, count: u64, number: Option<u64>) -> SubscriberRange {
    let imsis = ImsiRange::new(imsi, count, number, DOMAIN).unwrap();
    let keys = AkaKeys::Milenage { k: [0x11; 16], opc: [0x22; 16] };
    SubscriberRange { imsis, keys, amf: [0x80, 0], sqn: 0 }
}

fn wide() -> SubscriberRange {
    range("001010000000001", 10_000_000, Some(1_555_000_000))
}

fn alice() -> Subscriber {
    subscriber(aka("alice"), set(&["tel:+199"], &[]))
}

fn store(entries: Vec<Entry>) -> Result<Store, StoreError> {
    Store::new(DOMAIN, Scheme::Counter, entries, &SEED)
}

fn succeeded(answer: &CxAnswer) -> bool {
    answer.result().is_some_and(crate::cx::CxResult::is_success)
}

/// A store with its own chance.
struct Bench {
    store: Store,
    ids: Ids,
}

impl Bench {
    fn of(entries: Vec<Entry>) -> Self {
        Self { store: store(entries).unwrap(), ids: Ids::new(Seed([4; 32]), ShardId(0)) }
    }

    fn ask(&mut self, request: &CxRequest) -> CxAnswer {
        let mut env = HssEnv {
            unix_now: UnixTime(0),
            ids: &mut self.ids,
            notes: &mut Vec::new(),
            old_sqn: false,
            tracing: true,
        };
        self.store.answer(&mut env, "s1.ims.example", true, request)
    }

    /// UAR, MAR, UAR, SAR, as a registration asks them.
    fn register(&mut self, impi: &str, impu: &str) -> Vec<CxAnswer> {
        let (impi, impu) = (impi.to_owned(), impu.to_owned());
        let server_name = "sip:s1.ims.example".to_owned();
        let uar = CxRequest::Uar(Uar {
            impi: impi.clone(),
            impu: impu.clone(),
            visited_network: DOMAIN.to_owned(),
            authorization_type: AuthorizationType::Registration,
            emergency: false,
        });
        let mar = CxRequest::Mar(Mar {
            impi: impi.clone(),
            impu: impu.clone(),
            server_name: server_name.clone(),
            count: 1,
            scheme: AuthScheme::Aka,
            resync: None,
        });
        let contact = format!("<sip:{impi};tag=1>");
        let contacts = vec![RestoredContact { contact, ..RestoredContact::default() }];
        let left = Restoration { impi: impi.clone(), contacts };
        let sar = CxRequest::Sar(Sar {
            impi: Some(impi),
            impus: vec![impu],
            server_name,
            assignment_type: AssignmentType::Registration,
            profile_available: false,
            restoration: Some(left),
            wildcard: None,
        });
        [uar.clone(), mar, uar, sar].map(|request| self.ask(&request)).to_vec()
    }

    fn found(&mut self, impu: &str) -> bool {
        let impu = impu.to_owned();
        let lir = CxRequest::Lir(Lir { impu, originating: true, capabilities: false });
        succeeded(&self.ask(&lir))
    }
}

#[test]
fn a_member_that_wakes_sends_one_away_and_who_was_away_is_as_before() {
    let mut bench = Bench::of(vec![Entry::Range(wide())]);
    let impi = |member| wide().imsis.impi(member);
    let register = |bench: &mut Bench, member| {
        let answers = bench.register(&impi(member), &format!("sip:{}", impi(member)));
        assert!(answers.iter().all(succeeded), "{answers:?}");
    };
    for member in 0..256 {
        register(&mut bench, member);
        assert_eq!(bench.store.slots().awake() as u64, member + 1);
    }
    let sqn = bench.store.sqn(&impi(0));

    for member in 256..332 {
        register(&mut bench, member);
        assert_eq!(bench.store.slots().awake(), 256, "one went for {member}");
    }

    assert_eq!(bench.store.made(), 332);
    assert_eq!(bench.store.sqn(&impi(0)), sqn);
    register(&mut bench, 0);
    assert_eq!((bench.store.slots().awake(), bench.store.made()), (256, 332));
    assert!(bench.store.sqn(&impi(0)) > sqn, "it goes on where it was");
}

#[test]
fn nobody_of_a_range_is_made_before_one_registers_and_then_only_that_one() {
    let mut bench = Bench::of(vec![Entry::Range(wide()), alice().into()]);
    assert_eq!((bench.store.len(), bench.store.made()), (10_000_001, 0));
    let last = wide().imsis.impi(9_999_999);
    let answers = bench.register(&last, &format!("sip:{last}"));
    assert!(answers.iter().all(succeeded), "{answers:?}");
    assert_eq!(bench.store.made(), 1);
    assert!(bench.store.sqn(&last).is_some_and(|sqn| sqn.value() > 0));
    let counts = bench.store.states_count().map(|(_, count)| count);
    assert_eq!(counts, [10_000_000, 1, 0]);
}

#[test]
fn a_question_that_changes_nothing_leaves_nothing() {
    let mut bench = Bench::of(vec![Entry::Range(wide())]);
    for member in 0..3_000 {
        assert!(bench.found(&wide().imsis.impus(member)[0].0), "{member}");
    }
    // Who was asked about last is there, all others have gone.
    assert!(bench.store.made() <= 256, "{}", bench.store.made());
    assert_eq!(bench.store.states(&[], 1_000), []);
}

#[test]
fn a_member_answers_as_one_that_was_provisioned_by_itself() {
    let range = range("001010000000001", 3_000, Some(1_555_000_000));
    let each = (0..3_000).map(|member| range.subscriber(member).into());
    let mut alone = Bench::of(each.collect());
    let mut counted = Bench::of(vec![Entry::Range(range.clone())]);
    let number = "sip:+1-555000007@ims.example;user=phone";
    for round in 0..2 {
        // More than are kept whole at a time, so that each is put away and taken again.
        for member in 0..3_000 {
            let impi = range.imsis.impi(member);
            let impu = format!("sip:{impi}");
            assert_eq!(
                alone.register(&impi, &impu),
                counted.register(&impi, &impu),
                "{impi} {round}"
            );
        }
        assert_eq!(alone.store.registration(number), counted.store.registration(number));
        assert_eq!(alone.store.states_count(), counted.store.states_count());
        assert_eq!(alone.store.kept(), counted.store.kept());
        for of in [vec![], vec!["0029".to_owned()], vec![range.imsis.impi(17), "x".to_owned()]] {
            assert_eq!(alone.store.states(&of, 100), counted.store.states(&of, 100), "{of:?}");
        }
    }
    assert_eq!(counted.store.made(), 3_000);
}

#[test]
fn each_form_of_an_identity_is_found_at_both_ends_and_none_outside() {
    let mut bench = Bench::of(vec![Entry::Range(wide())]);
    for text in [
        "sip:001010000000001@ims.example",
        "sip:001010010000000@IMS.example:5060",
        "tel:+1555000000",
        "tel:+1-564-999-999",
        "sip:+1555000000@ims.example;user=phone",
        "sip:+1564999999@ims.example",
    ] {
        assert!(bench.found(text), "{text}");
    }
    for text in [
        "sip:001010000000000@ims.example",
        "sip:001010010000001@ims.example",
        "sip:1010000000001@ims.example",
        "sip:001010000000001@ims.example.org",
        "tel:+1554999999",
        "tel:+1565000000",
        "sip:+1565000000@ims.example;user=phone",
        "sip:1555000000@ims.example",
    ] {
        assert!(!bench.found(text), "{text}");
    }
    assert!(bench.store.has_impi("001010000000001@IMS.example"));
    assert!(!bench.store.has_impi("001010000000000@ims.example"));
}

#[test]
fn identities_that_meet_are_refused() {
    let first = || Entry::Range(range("001010000000001", 10, Some(1_000)));
    let one = |impi: &str, impu: &str| subscriber(aka(impi), set(&[impu], &[])).into();
    let twice = |text: &str| Some(StoreError::IdentityTwice(text.to_owned()));
    for (other, expected) in [
        (Entry::Range(range("001010000000010", 5, None)), twice("001010000000010@ims.example")),
        (Entry::Range(range("001010000000011", 5, Some(990))), None),
        (Entry::Range(range("001010000000011", 11, Some(990))), twice("tel:+1000")),
        (Entry::Range(range("001010000000011", 5, Some(1_010))), None),
        (one("001010000000010", "sip:x@ims.example"), twice("001010000000010@ims.example")),
        (one("001010000000011", "sip:x@ims.example"), None),
        (one("x", "tel:+1009"), twice("tel:+1009")),
        (one("x", "tel:+1010"), None),
    ] {
        assert_eq!(store(vec![first(), other.clone()]).err(), expected, "{other:?}");
        let turned = store(vec![other.clone(), first()]).err();
        assert_eq!(turned.is_some(), expected.is_some(), "{other:?}");
    }
    let abroad = ImsiRange::new("001010", 1, None, "other.example").unwrap();
    let abroad = SubscriberRange { imsis: abroad, ..wide() };
    assert!(matches!(store(vec![Entry::Range(abroad)]), Err(StoreError::IdentityWrong(_))));
}

#[test]
fn what_is_kept_grows_with_those_who_were_used_and_goes_on_in_another_hss() {
    let mut before = Bench::of(vec![Entry::Range(wide()), alice().into()]);
    assert_eq!(before.store.kept().lines().count(), 2);
    for member in [5, 9_999_999] {
        let impi = wide().imsis.impi(member);
        before.register(&impi, &format!("sip:{impi}"));
    }
    let kept = before.store.kept();
    assert_eq!(kept.lines().count(), 6, "{kept}");
    let mut after = Bench::of(vec![Entry::Range(wide()), alice().into()]);
    let restored = after.store.restore(&kept).unwrap();
    assert_eq!((restored.sequence_numbers, restored.sets, restored.unclaimed), (2, 2, 0));
    assert_eq!((after.store.made(), after.store.kept()), (2, kept.clone()));
    assert_eq!(after.store.states(&[], 9), before.store.states(&[], 9));
    // With fewer of them the others' lines wait.
    let mut fewer = store(vec![Entry::Range(range("001010000000001", 10, None))]).unwrap();
    assert_eq!(fewer.restore(&kept).unwrap().unclaimed, 3);
    assert!(!fewer.kept().contains("tel:"), "{}", fewer.kept());
}

fn node() -> HssNode {
    let us = LocalPeer {
        origin_host: format!("hss.{DOMAIN}"),
        origin_realm: DOMAIN.to_owned(),
        origin_state_id: 1,
    };
    let config = HssConfig {
        name: "hss".into(),
        us,
        home_domain: DOMAIN.into(),
        keep_server_name: true,
        sqn_scheme: Scheme::Counter,
        timing: Timing::default(),
        tracing: false,
        unix_at_epoch: UnixTime(0),
    };
    HssNode::new(config, vec![Entry::Range(wide())], SEED).unwrap()
}

#[test]
fn a_member_that_was_removed_stays_away_until_its_identities_are_given_again() {
    let mut hss = node();
    let now = Instant::EPOCH;
    let impi = wide().imsis.impi(7);
    let add = || Provisioning::Add(Box::new(wide().subscriber(7)));
    assert!(hss.provision(now, add()).is_err(), "it is there");
    hss.provision(now, Provisioning::Remove { impi: impi.clone() }).unwrap();
    // Room for others is made at its cost.
    for member in 100..2_000 {
        let found = hss.store.find_impi(&wide().imsis.impi(member)).unwrap();
        assert!(hss.store.at_mut(found).is_some());
    }
    assert!(!hss.store().has_impi(&impi));
    assert_eq!(hss.store().registration(&format!("sip:{impi}")), None);
    assert_eq!(hss.store().registration("tel:+1555000007"), None);
    assert!(hss.provision(now, Provisioning::Remove { impi: impi.clone() }).is_err());
    assert!(hss.store().has_impi(&wide().imsis.impi(6)));
    let counts = hss.store().states_count().map(|(_, count)| count);
    assert_eq!(counts, [9_999_999, 0, 0]);
    assert_eq!(hss.store().states(std::slice::from_ref(&impi), 9), []);
    hss.provision(now, add()).unwrap();
    assert_eq!(hss.store().states(std::slice::from_ref(&impi), 9).len(), 1);
    assert_eq!(hss.store().registration("tel:+1555000007"), Some(RegistrationState::NotRegistered));
}

#[test]
fn a_member_that_was_changed_stays_so() {
    let mut hss = node();
    let now = Instant::EPOCH;
    let (impi, other) = (wide().imsis.impi(7), wide().imsis.impi(8));
    let barred = Subscriber { barred: true, ..wide().subscriber(7) };
    let change = |impi: &str, subscriber: Subscriber| Provisioning::Change {
        impi: impi.to_owned(),
        subscriber: Box::new(subscriber),
    };
    hss.provision(now, change(&impi, barred)).unwrap();
    let mut renamed = wide().subscriber(8);
    renamed.implicit_sets = vec![set(&["sip:carol@ims.example"], &[])];
    // Identities of somebody else are not had.
    let mut taken = wide().subscriber(8);
    taken.implicit_sets = vec![set(&["tel:+1555000009"], &[])];
    assert!(hss.provision(now, change(&other, taken)).is_err());
    assert!(hss.store().registration("tel:+1555000008").is_some(), "all is as before");
    hss.provision(now, change(&other, renamed)).unwrap();
    for member in 100..2_000 {
        let found = hss.store.find_impi(&wide().imsis.impi(member)).unwrap();
        assert!(hss.store.at_mut(found).is_some());
    }
    let found = hss.store.find_impi(&impi).unwrap();
    assert!(hss.store.at(found).unwrap().provisioned.barred);
    let found = hss.store.find_impi(&other).unwrap();
    let identities = hss.store.at(found).unwrap().provisioned.implicit_sets[0].clone();
    assert_eq!(identities, set(&["sip:carol@ims.example"], &[]));
    assert!(hss.store().registration("sip:carol@ims.example").is_some());
    assert_eq!(hss.store().registration("tel:+1555000008"), None);
}
