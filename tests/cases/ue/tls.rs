//! TLS as the UE agrees on it, TS 33.203 annex O and TS 24.229 §5.1.1.5.6.

use cscf_core::sip::HeaderName;
use scenarios::ue::Protection;

use super::phone::Phone;
use super::registration::header;
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::a_challenge_with_tls_is_answered_over_it", &["U-REG-210b"], answered),
        case("ue::without_tls_in_the_challenge_it_begins_anew_once", &["U-REG-210d"], unusable),
    ]
}

const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"x\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\n";

fn phone() -> Phone {
    Phone::with("carol", |config| {
        config.security = Protection::Tls;
        config.tls_pcscfs = vec!["sip:10.0.0.10:5061".to_owned()];
    })
}

fn answered() {
    let mut phone = phone();
    let first = phone.register();
    assert_eq!(first.to, ["sip:10.0.0.10:5060"]);
    let (_, register) = first.request();
    assert_eq!(header(register, HeaderName::SecurityClient), "tls");
    assert!(!register.headers.contains(HeaderName::SecurityVerify));
    // The list is repeated as it came, mechanisms of others too.
    let lines = format!("{CHALLENGE}Security-Server: digest;d-qop=auth, tls;q=0.2;x=y\n");
    let did = phone.answer(first.request(), 401, &lines);
    assert_eq!(did.to, ["sip:10.0.0.10:5061;transport=tls"]);
    let (_, register) = did.request();
    assert_eq!(header(register, HeaderName::SecurityClient), "tls");
    let verify = header(register, HeaderName::SecurityVerify);
    assert_eq!(verify, "digest;d-qop=auth, tls;q=0.2;x=y");
    assert!(header(register, HeaderName::Contact).contains(";transport=tls"));
}

fn unusable() {
    for server in ["", "Security-Server: digest;d-qop=auth\n", "Security-Server: tls;;q\n"] {
        let mut phone = phone();
        let first = phone.register();
        let lines = format!("{CHALLENGE}{server}");
        let did = phone.answer(first.request(), 401, &lines);
        let (_, again) = did.request();
        assert_eq!(did.to, ["sip:10.0.0.10:5060"], "{server}");
        assert!(!header(again, HeaderName::Authorization).contains("nonce=\"n1\""), "{server}");
        assert_eq!(header(again, HeaderName::CSeq), "1 REGISTER", "{server}");
        let did = phone.answer(did.request(), 401, &lines);
        assert!(did.requests.is_empty(), "{server}");
        assert_eq!(did.states, ["registration failed 401"], "{server}");
    }
}
