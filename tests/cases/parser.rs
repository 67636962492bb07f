//! What is read, and what is answered to what cannot be read (RFC 3261 §7, §8.1.1, §16.3; RFC
//! 4475).

use cscf_core::sip::{HeaderName, Message};

use super::wire::{Access, Serving, labels};
use super::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("parser::odd_but_valid_forms_mean_the_same", &["T-TRN-150"], robustness),
        case(
            "parser::a_missing_or_malformed_mandatory_header_is_named_in_the_400",
            &["T-TRN-160"],
            mandatory,
        ),
        case("parser::another_version_gets_505", &["T-TRN-170", "RC-505"], version),
        case("parser::what_is_too_large_gets_its_own_status", &["T-TRN-180"], sizes),
    ]
}

fn robustness() {
    let mut lab = Serving::new();
    let (i, s1, domain) = (lab.i, lab.s1, cscf_tests::DOMAIN);
    let text = format!(
        "MESSAGE sip:+1555010000%32@{domain};user=phone SIP/2.0\n\
         v:SIP / 2.0 / UDP {i} ;branch=z9hG4bKodd,\n \
         SIP/2.0/UDP [2001:db8::9:1]:5090;branch=z9hG4bKa\n\
         max-forwards:\t60\n\
         ROUTE: <sip:{s1};LR>\n\
         f: \"Q \\\"<sip:x@y>\\\", \\\\z\" <sip:caller@[2001:db8::1]:5060>\n  ;tag=caller\n\
         t :\n\t<sip:+15550100002@{domain};user=phone>\n\
         i: odd@call\n\
         cseq: 0007\n  MESSAGE\n\
         p-asserted-identity: <sip:caller@other.example>\n\
         Organization: first (a comment \\) here)\n\
         X-Many: one, two\nx-many: \"three, four\"\n\
         s: folded\n subject\n\
         c: text/plain\n\
         l: 2\n\nhi"
    );
    lab.ask(&text);
    assert_eq!(labels(&lab.down()), ["MESSAGE"], "{:?}", labels(&lab.up()));
    let told = lab.down();
    let last = &told[0];
    let forwarded = last.request();
    let vias: Vec<&str> = forwarded.headers.values(HeaderName::Via).collect();
    assert_eq!(vias.len(), 3);
    assert!(vias[1].contains("z9hG4bKodd") && vias[2].contains("[2001:db8::9:1]:5090"), "{vias:?}");
    assert_eq!(forwarded.max_forwards(), Some(59));
    assert_eq!(forwarded.call_id(), Some("odd@call"));
    assert_eq!(forwarded.from_tag(), Some("caller"));
    assert_eq!(last.header("Subject"), "folded subject");
    assert_eq!(last.header("X-Many"), "one, two | \"three, four\"", "the order is kept");
    assert_eq!(&forwarded.body[..], b"hi");
    assert!(!forwarded.headers.values(HeaderName::Route).any(|it| it.contains(&s1.to_string())));
    let mut answer = super::wire::answer_to(forwarded, 200, "b");
    answer.headers.remove(HeaderName::Contact);
    lab.answer(&answer);
    let up = lab.up();
    let response = up.last().expect("200");
    assert_eq!(response.label(), "200 MESSAGE");
    assert_eq!(response.response().headers.values(HeaderName::Via).count(), 2);

    torture();
}

#[derive(serde::Deserialize)]
struct Torture {
    file: String,
    parse: String,
    expected: String,
}

/// Every message of RFC 4475 and RFC 5118 is sent to an S-CSCF and to a P-CSCF: none of them
/// stops, a message that is to be refused is not forwarded and gets a 4xx or 5xx or nothing, and
/// what is valid is not called malformed.
fn torture() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let manifest = std::fs::read_to_string(corpus.join("manifest.yaml")).expect("manifest");
    let entries: Vec<Torture> = serde_yaml::from_str(&manifest).expect("YAML");
    assert!(entries.len() > 49, "all of RFC 4475");
    let mut documented = 0;
    for Torture { file, parse: verdict, expected } in entries {
        let bytes = std::fs::read(corpus.join(&file)).expect("file");
        let mut lab = Serving::new();
        let s1 = lab.s1;
        lab.bench.send_bytes("i", s1, &bytes);
        lab.wait(50);
        let statuses: Vec<u16> = lab
            .bench
            .sent("s1")
            .iter()
            .filter_map(|told| match &told.message {
                Message::Response(response) if response.status >= 200 => Some(response.status),
                _ => None,
            })
            .collect();
        if verdict == "reject" {
            assert!(lab.down().is_empty(), "{file} is not forwarded");
            assert!(statuses.iter().all(|status| *status >= 400), "{file}: {statuses:?}");
            let named = expected.split(|c: char| !c.is_ascii_digit()).find(|it| it.len() == 3);
            if let (Some(named), [status]) =
                (named.and_then(|it| it.parse::<u16>().ok()), &statuses[..])
            {
                assert_eq!(*status, named, "{file}: {expected}");
                documented += 1;
            }
        }
        if verdict == "accept" {
            let malformed = |reason: &str| {
                ["Malformed", "Missing", "Repeated"].iter().any(|word| reason.starts_with(word))
            };
            let found = lab.bench.sent("s1").iter().find_map(|told| match &told.message {
                Message::Response(response) => {
                    malformed(&response.reason).then(|| response.reason.to_string())
                }
                Message::Request(_) => None,
            });
            assert_eq!(found, None, "{file} is valid");
        }
        // It is alive.
        lab.bench.mark();
        lab.ask(&lab.request("MESSAGE", "alive", ""));
        assert_eq!(labels(&lab.down()), ["MESSAGE"], "after {file}");
    }
    assert!(documented >= 10, "most that are refused are answered: {documented}");
}

fn mandatory() {
    let faults = [
        ("To: ", "", "To"),
        ("From: ", "", "From"),
        ("Call-ID: ", "", "Call-ID"),
        ("CSeq: ", "", "CSeq"),
        ("From: ", "From: <sip:caller@other.example>\n", "From"),
        ("CSeq: ", "CSeq: 7 OPTIONS\n", "CSeq"),
        ("CSeq: ", "CSeq: 2147483648 MESSAGE\n", "CSeq"),
        ("Max-Forwards: ", "Max-Forwards: 256\n", "Max-Forwards"),
        ("Max-Forwards: ", "Max-Forwards: lots\n", "Max-Forwards"),
    ];
    for (line, instead, named) in faults {
        for method in ["MESSAGE", "ACK"] {
            let mut lab = Serving::new();
            let text: String = lab
                .request(method, "m", "")
                .split_inclusive('\n')
                .map(|it| if it.starts_with(line) { instead.to_owned() } else { it.to_owned() })
                .collect();
            let text = text.replace("MESSAGE\n", &format!("{method}\n"));
            lab.ask(&text);
            assert!(lab.down().is_empty(), "{line}: not forwarded");
            let up = lab.up();
            if method == "ACK" {
                assert!(up.is_empty(), "an ACK is dropped without a word");
                continue;
            }
            assert_eq!(up.len(), 1, "{line} {instead}");
            let response = up[0].response();
            assert_eq!(response.status, 400, "{line} {instead}");
            assert!(response.reason.contains(named), "{instead}: {}", response.reason);
        }
    }
    // Without a Via nobody can be answered.
    let mut lab = Serving::new();
    let text = lab.request("MESSAGE", "v", "");
    let without: String =
        text.split_inclusive('\n').filter(|line| !line.starts_with("Via")).collect();
    lab.ask(&without);
    assert!(lab.up().is_empty() && lab.down().is_empty());
    assert_eq!(super::wire::dropped(&lab.bench, "s1").len(), 1);
    // Max-Forwards that is missing is added.
    let text = text.replace("Max-Forwards: 60\n", "");
    lab.ask(&text);
    assert_eq!(lab.down()[0].header("Max-Forwards"), "70");
}

fn version() {
    let mut lab = Serving::new();
    for method in ["MESSAGE", "INVITE", "FROBNICATE"] {
        let text = lab.request(method, method, "").replacen(" SIP/2.0", " SIP/3.0", 1);
        lab.ask(&text);
        let up = lab.up();
        let response = up.last().expect("an answer").response();
        assert_eq!((response.status, &*response.reason), (505, "Version Not Supported"));
    }
    assert_eq!(lab.up().len(), 3);
    assert!(lab.up().iter().all(|told| told.wire.bytes.starts_with(b"SIP/2.0 505 ")));
    assert!(lab.down().is_empty());
}

fn sizes() {
    let mut lab = Serving::new();
    let body = "x".repeat(40_000);
    let text = lab.request("MESSAGE", "b", "").replace(
        "Content-Length: 0\n\n",
        &format!("Content-Type: text/plain\nContent-Length: {}\n\n{body}", body.len()),
    );
    lab.ask(&text);
    let long = format!("MESSAGE sip:{}@", "u".repeat(5_000));
    lab.ask(&lab.request("MESSAGE", "u", "").replacen("MESSAGE sip:+15550100002@", &long, 1));
    let header = format!("X-Long: {}\n", "h".repeat(65_000));
    lab.ask(&lab.request("MESSAGE", "h", &header));
    let got: Vec<u16> = lab.up().iter().map(|told| told.response().status).collect();
    assert_eq!(got, [413, 414, 513]);
    assert!(lab.down().is_empty());
    let reasons: Vec<String> =
        lab.up().iter().map(|told| told.response().reason.to_string()).collect();
    assert_eq!(reasons, ["Request Entity Too Large", "Request-URI Too Long", "Message Too Large"]);
    // What is large but allowed passes.
    let mut lab = Access::on("3GPP-E-UTRAN-FDD");
    let body = "x".repeat(20_000);
    let text = lab.request("MESSAGE", "ok", "").replace(
        "Content-Length: 0\n\n",
        &format!("Content-Type: text/plain\nContent-Length: {}\n\n{body}", body.len()),
    );
    lab.ask(&text);
    assert_eq!(labels(&lab.down()), ["MESSAGE"]);
}
