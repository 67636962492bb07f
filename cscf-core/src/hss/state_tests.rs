//! What outlives an HSS: told as text, taken by the next one, refused when it is not that.

use super::tests::Bench;
use super::*;
use crate::cx::{
    AssignmentType, CxRequest, Restoration, RestoredContact, RestoredSubscription, Sar,
};

fn restoration(impi: &str) -> Restoration {
    let subscription = RestoredSubscription {
        call_id: "c2".into(),
        from: "<sip:a@ims.example>;tag=1".into(),
        to: "<sip:a@ims.example>;tag=\"2\"".into(),
        record_route: "<sip:p1;lr>".into(),
        contact: "<sip:[2001:db8::1]:5060>".into(),
    };
    let contact = RestoredContact {
        path: "<sip:p1.ims.example;lr>".into(),
        contact: "<sip:10.0.0.1>;+sip.instance=\"<urn:x>\"".into(),
        call_id: Some("c1".into()),
        cseq: Some(7),
        subscription: Some(subscription),
    };
    let bare = RestoredContact { call_id: None, cseq: None, subscription: None, ..contact.clone() };
    Restoration { impi: impi.into(), contacts: vec![contact, bare] }
}

/// A store with something of everything.
fn used() -> Bench {
    let mut bench = Bench::new();
    bench.say("MAR alice sip:alice@ims.example s1 AKA");
    bench.ask(&CxRequest::Sar(Sar {
        impi: Some("alice@ims.example".into()),
        impus: vec!["sip:alice@ims.example".into()],
        server_name: "sip:s1".into(),
        assignment_type: AssignmentType::Registration,
        profile_available: false,
        restoration: Some(restoration("alice@ims.example")),
        wildcard: None,
    }));
    bench.say("MAR tablet sip:carol@ims.example s2 AKA");
    bench.say("SAR tablet sip:carol@ims.example s2 1");
    bench.say("MAR phone sip:carol@ims.example s2 AKA");
    bench.say("LIR sip:alice@ims.example CAP");
    bench.say("SAR - sip:frank@ims.example s1 3");
    bench
}

#[test]
fn another_store_goes_on_where_one_was() {
    let before = used();
    let kept = before.store.kept();
    let mut after = Bench::new();
    let restored = after.store.restore(&kept).expect("is taken");
    assert_eq!(restored, Restored { sequence_numbers: 3, sets: 3, unclaimed: 0 });
    assert_eq!(after.store.kept(), kept);
    let impus = ["sip:alice@ims.example", "sip:carol@ims.example", "sip:frank@ims.example"];
    for impu in impus {
        assert_eq!(after.store.registration(impu), before.store.registration(impu), "{impu}");
        assert_eq!(after.store.server(impu), before.store.server(impu), "{impu}");
        assert_eq!(after.store.is_pending(impu), before.store.is_pending(impu), "{impu}");
    }
    assert_eq!(after.store.registration(impus[2]), Some(RegistrationState::Unregistered));
    let sqn = after.store.sqn("alice@ims.example");
    assert!(sqn.is_some_and(|sqn| sqn.value() > 0) && sqn == before.store.sqn("alice@ims.example"));
    // The one who may be reassigned gets the bindings of the S-CSCF before.
    after.check(&[("state alice", "registered at sip:s1")]);
    let asked = Sar {
        impi: None,
        impus: vec!["sip:alice@ims.example".into()],
        server_name: "sip:s9".into(),
        assignment_type: AssignmentType::UnregisteredUser,
        profile_available: false,
        restoration: None,
        wildcard: None,
    };
    let crate::cx::CxAnswer::Saa(saa) = after.ask(&CxRequest::Sar(asked)) else { panic!("SAA") };
    assert_eq!(saa.restoration, [restoration("alice@ims.example")]);
}

#[test]
fn what_never_happened_is_not_written() {
    let kept = Bench::new().store.kept();
    let lines: Vec<&str> = kept.lines().collect();
    assert_eq!(
        lines,
        [r#"{"is":"hss_state","version":1,"domain":"ims.example"}"#, r#"{"is":"end","lines":1}"#]
    );
}

#[test]
fn a_clock_that_a_card_has_set_stays_set() {
    let mut sequence =
        crate::auth::SequenceGenerator::new(crate::auth::Scheme::Time, crate::auth::Sqn::default());
    let ahead = crate::auth::Sqn::new(1 << 46).expect("48 bits");
    sequence.resynchronise(ahead, crate::time::UnixTime(1_000));
    let mut resumed =
        crate::auth::SequenceGenerator::new(crate::auth::Scheme::Time, crate::auth::Sqn::default());
    resumed.resume(sequence.last(), sequence.offset());
    let later = crate::time::UnixTime(1_060);
    assert_eq!(resumed.next_sqn(later), sequence.next_sqn(later));
    assert!(resumed.last() > ahead);
}

#[test]
fn lines_about_others_are_kept_as_they_are() {
    let kept = used().store.kept();
    let stranger = r#"{"is":"sqn","impi":"zoe@ims.example","sqn":"000000000040"}"#;
    let mut lines: Vec<&str> = kept.lines().collect();
    lines.insert(1, stranger);
    let end = format!(r#"{{"is":"end","lines":{}}}"#, lines.len() - 1);
    let last = lines.len() - 1;
    lines[last] = &end;
    let mut after = Bench::new();
    let restored = after.store.restore(&(lines.join("\n") + "\n")).expect("is taken");
    assert_eq!(restored.unclaimed, 1);
    assert!(after.store.kept().contains(stranger));
}

#[test]
fn what_is_damaged_or_foreign_is_refused_with_its_place() {
    let kept = used().store.kept();
    let lines: Vec<&str> = kept.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let half = &kept[..kept.len() / 2];
    let foreign = kept.replace("\"domain\":\"ims.example\"", "\"domain\":\"other.example\"");
    let later = kept.replace("\"version\":1", "\"version\":2");
    let fewer = kept.lines().filter(|line| !line.contains("tablet")).collect::<Vec<_>>().join("\n");
    let odd = kept.replacen("\"sqn\":\"0", "\"sqn\":\"x", 1);
    let unknown = kept.replacen("\"impi\"", "\"impu\"", 1);
    for (text, line, said) in [
        ("", 1, "it is empty"),
        ("domain: ims.example\n", 1, "this is no state of an HSS of cscf"),
        (r#"{"is":"end","lines":0}"#, 1, "this is no state of an HSS of cscf"),
        (&*cut, lines.len(), "the end is missing"),
        (half, half.lines().count(), "EOF"),
        (&*foreign, 1, "it is the state of an HSS of other.example, this one is of ims.example"),
        (&*later, 1, "it has version 2"),
        (&*fewer, fewer.lines().count(), "lines were written, here are"),
        (&*odd, 2, "is no sequence number of 12 hexadecimal digits"),
        (&*unknown, 2, "unknown field `impu`"),
        (&*(kept.clone() + "more\n"), lines.len() + 1, "behind the end"),
    ] {
        let mut bench = Bench::new();
        let fault = bench.store.restore(text).expect_err(said);
        assert_eq!(fault.line, line, "{fault}");
        assert!(fault.text.contains(said), "{fault}");
        assert_eq!(bench.store.kept(), Bench::new().store.kept(), "nothing is taken: {said}");
    }
}
