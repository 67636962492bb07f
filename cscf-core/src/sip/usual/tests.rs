//! Tests of usual values: each is right by the rules and means the same by them.

use super::super::address::NameAddr;
use super::super::cseq::CSeq;
use super::super::misc::{parse_expires, parse_max_forwards};
use super::super::scan;
use super::super::uri::Uri;
use super::super::via::Via;
use super::*;

const ADDRESSES: [&str; 5] = [
    "<sip:0-d00000000000000ab@p1.ims.example:5062;lr>",
    "<sip:s1.ims.example;transport=udp;lr>;x=1;y=\"a b\"",
    "\"A. Lice\" <sip:+15550100@ims.example;user=phone>;tag=a1",
    "Alice B <sip:alice@192.0.2.1:5060>;TAG=a1;expires=600",
    "<sip:a;b@h;ob>;+sip.instance=\"<urn:uuid:1>\"",
];
const VIAS: [&str; 3] = [
    "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport=5060;received=192.0.2.9",
    "SIP/2.0/TCP p1.ims.example;Branch=z9hG4bK-2.ab;keep",
    "SIP/2.0/UDP s1.ims.example:6060",
];
/// Each byte that means something somewhere, and some that never may stand there.
const ODD: &[u8] = b" \t\r\n\"'\\%<>@:;,=?&#()[]{}/.-_+*0a\x00\x7f";

/// The text, each text with one byte less, and each with one byte replaced or put in.
fn neighbours(text: &str) -> Vec<String> {
    let mut all = vec![text.to_owned()];
    for at in 0..=text.len() {
        let (before, behind) = text.split_at(at);
        for odd in ODD {
            all.push(format!("{before}{}{behind}", char::from(*odd)));
            if let Some(rest) = behind.get(1..) {
                all.push(format!("{before}{}{rest}", char::from(*odd)));
            }
        }
        if let Some(rest) = behind.get(1..) {
            all.push(format!("{before}{rest}"));
        }
        all.push(format!("{before}ü{behind}"));
    }
    all
}

#[test]
fn what_is_usual_is_also_right_by_the_rules_and_means_the_same() {
    let mut usual = 0;
    for text in ADDRESSES.into_iter().flat_map(neighbours) {
        let Some(address) = UsualAddress::read(&text) else { continue };
        usual += 1;
        let by_rules = NameAddr::parse_bracketed(&text).expect(&text);
        assert_eq!(by_rules.uri.to_string(), address.text, "{text}");
        assert_eq!(addresses(&text, false), Some((1, by_rules.tag().is_some())), "{text}");
        let sip = by_rules.uri.as_sip().expect(&text);
        assert_eq!(sip.user(), address.uri.user, "{text}");
        assert_eq!((sip.host(), sip.port()), (address.uri.host, address.uri.port), "{text}");
        assert_eq!(sip.params().to_string(), address.uri.params, "{text}");
        assert!(Uri::parse(address.text).is_ok() && UsualUri::read(address.text).is_some());
    }
    for text in VIAS.into_iter().flat_map(neighbours) {
        if !are_vias(&text) || text.contains(',') {
            continue;
        }
        usual += 1;
        let (by_rules, via) = (Via::parse(&text).expect(&text), UsualVia::head(&text));
        let via = via.expect("a head");
        assert_eq!(by_rules.transport, via.transport, "{text}");
        assert_eq!((&*by_rules.host, by_rules.port), (via.host, via.port), "{text}");
        assert_eq!(by_rules.params.to_string(), via.params, "{text}");
    }
    assert!(usual > 3_000, "{usual} are usual");
}

#[test]
fn a_usual_cseq_or_number_is_right_by_the_rules() {
    let mut usual = 0;
    for text in ["7 INVITE", "999999999 A-b.c"].into_iter().flat_map(neighbours) {
        let Some(method) = cseq_method(&text) else { continue };
        usual += 1;
        assert_eq!(CSeq::check(&text), Ok(method), "{text}");
    }
    for text in ["7", "99", "999999999"].into_iter().flat_map(neighbours) {
        let is = |name| usize::from(value(name, &text).is_some());
        let all = [HeaderName::MaxForwards, HeaderName::ContentLength, HeaderName::Expires];
        let [hops, length, expires] = all.map(is);
        usual += hops + length + expires;
        assert!(hops == 0 || parse_max_forwards(&text).is_ok(), "{text}");
        assert!(length == 0 || scan::number(&text).is_some(), "{text}");
        assert!(expires == 0 || parse_expires(&text).is_ok(), "{text}");
    }
    assert!(usual > 200, "{usual} are usual");
}

#[test]
fn what_nearly_everybody_sends_is_usual() {
    for text in ADDRESSES.iter().take(4) {
        assert!(UsualAddress::read(text).is_some(), "{text}");
    }
    for text in VIAS {
        assert!(are_vias(text), "{text}");
    }
    assert_eq!(addresses(&ADDRESSES[..2].join(", "), true), Some((2, false)));
    assert_eq!(addresses(ADDRESSES[2], false), Some((1, true)));
    assert_eq!(addresses(&ADDRESSES[..2].join(","), false), None);
    assert_eq!((cseq_method("7 INVITE"), cseq_method("2147483648 BYE")), (Some("INVITE"), None));
}

#[test]
fn a_usual_call_id_is_one_word_that_can_be_printed() {
    let is = |text| value(HeaderName::CallId, text).is_some();
    assert!(is("f81d4fae-7dec-11d0-a765-00a0c91e6bf6@192.0.2.1,x"));
    for text in ["", "a b", " a", "a\t", "caf\u{e9}", "a\u{7f}"] {
        assert!(!is(text), "{text:?}");
    }
}

#[test]
fn bytes_taken_sixteen_at_a_time_belong_to_every_class_that_says_so() {
    for byte in (0..=u8::MAX).filter(|byte| plain_run(&[*byte; 16]) == Some(16)) {
        assert_eq!(class_of(byte) & PLAIN, PLAIN, "{byte}");
    }
}
