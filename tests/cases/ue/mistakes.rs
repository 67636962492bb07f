//! Mistakes on demand: each breaks its rule and no other.

use cscf_core::auth::Credentials;
use cscf_core::sip::HeaderName;

use super::phone::{Did, Phone, aka_challenge};
use super::registration::{self, header};
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::mistakes_stand_in_the_first_register", &[], in_the_first),
        case("ue::mistakes_stand_in_the_answer", &[], in_the_answer),
        case("ue::a_short_wish_is_not_raised", &[], short_expiry),
        case("ue::an_op_taken_as_opc_is_found", &[], op_as_opc),
        case("ue::a_number_too_far_ahead_is_a_synchronisation_failure", &[], sqn_ahead),
    ]
}

const DOMAIN: &str = "ims.mnc001.mcc001.3gppnetwork.org";

fn phone(words: &str) -> Phone {
    Phone::with("alice", |config| assert!(config.mistakes.make(words), "{words}"))
}

fn credentials(did: &Did) -> Credentials {
    registration::credentials(did.request().1)
}

fn challenged(phone: &mut Phone) -> Did {
    let did = phone.register();
    let challenge = aka_challenge(phone, 1);
    phone.answer(did.request(), 401, &challenge)
}

fn in_the_first() {
    let did = phone("wrong realm").register();
    assert_eq!(credentials(&did).realm().as_deref(), Some(&*format!("wrong.{DOMAIN}")));
    let did = phone("unknown require").register();
    assert_eq!(header(did.request().1, HeaderName::Require), "no-such-extension");
    let did = phone("another impu").register();
    let bob = format!("<sip:+15550100002@{DOMAIN};user=phone>");
    assert_eq!(header(did.request().1, HeaderName::To), bob);
    assert!(header(did.request().1, HeaderName::From).starts_with(&bob));
    assert_eq!(
        credentials(&did).username().as_deref(),
        Some(&*format!("001010000000001@{DOMAIN}"))
    );
}

fn in_the_answer() {
    let mut other = phone("another impi");
    let did = other.register();
    let own = format!("001010000000001@{DOMAIN}");
    assert_eq!(credentials(&did).username().as_deref(), Some(&*own));
    let challenge = aka_challenge(&other, 1);
    let did = other.answer(did.request(), 401, &challenge);
    assert_eq!(credentials(&did).username().as_deref(), Some(&*own.replace("0001@", "0002@")));

    let mut moved = phone("contact changed");
    let did = moved.register();
    assert!(header(did.request().1, HeaderName::Contact).starts_with("<sip:10.0.0.1:5060>"));
    let challenge = aka_challenge(&moved, 1);
    let did = moved.answer(did.request(), 401, &challenge);
    assert!(header(did.request().1, HeaderName::Contact).starts_with("<sip:192.0.2.1:5060>"));

    let did = challenged(&mut phone("no answer"));
    assert_eq!((did.requests.len(), did.states), (0, vec!["challenged".to_owned()]));
}

fn short_expiry() {
    let mut phone = phone("short expiry");
    let did = phone.register();
    assert!(header(did.request().1, HeaderName::Contact).ends_with(";expires=10"));
    let did = phone.answer(did.request(), 423, "Min-Expires: 60");
    assert_eq!((did.requests.len(), did.states), (0, vec!["registration failed 423".to_owned()]));
}

fn op_as_opc() {
    let mut phone = phone("op as opc");
    let did = challenged(&mut phone);
    assert_eq!(credentials(&did).response(), None);
    let diagnosis = phone.notes.iter().find_map(|note| note.diagnosis.as_deref());
    let diagnosis = diagnosis.expect("a diagnosis");
    assert!(diagnosis.ours.contains("OP taken as OPc"), "{diagnosis}");
}

fn sqn_ahead() {
    let mut phone = phone("sqn ahead");
    let did = challenged(&mut phone);
    assert!(credentials(&did).auts().is_some());
    assert!(phone.notes.iter().any(|note| note.refusal && note.text.contains("AUTS")));
}
