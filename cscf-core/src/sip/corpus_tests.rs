//! Every message of RFC 4475 and RFC 5118 gets the verdict and shows the facts the RFC names, and
//! damaged copies of them neither panic nor change on their way through.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use super::facts::{Facts, ParseFacts, facts};
use super::parse::both_ways;
use super::{
    Framer, HeaderName, Headers, Media, Message, NameAddr, Rejected, STREAM_BYTES_MAX, Sdp, Uri,
    Via, parse, read,
};

#[derive(Deserialize)]
struct Entry {
    file: String,
    parse: Verdict,
    expected: String,
    facts: Option<BTreeMap<String, Scalar>>,
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Accept,
    Either,
    Reject,
}

/// A fact as the manifest writes it: null, a number or a text.
#[derive(Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
    Null,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus")
}

fn manifest() -> Vec<Entry> {
    let text = std::fs::read_to_string(corpus().join("manifest.yaml")).expect("manifest");
    serde_yaml::from_str(&text).expect("manifest is YAML")
}

fn bytes_of(file: &str) -> Bytes {
    std::fs::read(corpus().join(file)).expect(file).into()
}

fn fact(facts: &Facts, key: &str) -> Scalar {
    let text = |text: &Option<String>| text.clone().map_or(Scalar::Null, Scalar::Text);
    let number =
        |number: Option<usize>| number.map_or(Scalar::Null, |it| Scalar::Number(it as u64));
    match key {
        "kind" => Scalar::Text(facts.kind.to_owned()),
        "method" => text(&facts.method),
        "status" => number(facts.status.map(usize::from)),
        "request_uri" => text(&facts.request_uri),
        "header_lines" => number(Some(facts.header_lines)),
        "via_count" => number(Some(facts.via_count)),
        "top_branch" => text(&facts.top_branch),
        "call_id" => text(&facts.call_id),
        "cseq" => number(facts.cseq.map(|it| it as usize)),
        "from_tag" => text(&facts.from_tag),
        "to_tag" => text(&facts.to_tag),
        "contact_count" => number(Some(facts.contact_count)),
        "route_count" => number(Some(facts.route_count)),
        "body_bytes" => number(Some(facts.body_bytes)),
        other => panic!("the manifest has an unknown fact {other}"),
    }
}

#[test]
fn every_torture_message_gets_the_verdict_of_its_rfc() {
    let entries = manifest();
    assert_eq!(entries.len(), 62);

    let mut wrong = Vec::new();
    for entry in &entries {
        let verdict = facts(&bytes_of(&entry.file));
        let is = if matches!(verdict, ParseFacts::Accept(_)) {
            Verdict::Accept
        } else {
            Verdict::Reject
        };
        if entry.parse != Verdict::Either && entry.parse != is {
            wrong.push(format!("{}: {verdict:?}, expected {}", entry.file, entry.expected));
        }
        if let (ParseFacts::Accept(facts), Some(expected)) = (&verdict, &entry.facts) {
            for (key, value) in expected {
                let is = fact(facts, key);
                if is != *value {
                    wrong.push(format!("{}: {key} is {is:?}, expected {value:?}", entry.file));
                }
            }
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where the RFC names a status code for a message that is refused, that code is the answer.
#[test]
fn refused_torture_messages_get_the_status_of_their_rfc() {
    for (file, expected) in [
        ("badinv01", Some(400)),
        ("badvers", Some(505)),
        ("bigcode", None),
        ("clerr", Some(400)),
        ("escruri", Some(400)),
        ("insuf", Some(400)),
        ("ltgtruri", Some(400)),
        ("lwsruri", Some(400)),
        ("lwsstart", Some(400)),
        ("mcl01", Some(400)),
        ("mismatch01", Some(400)),
        ("mismatch02", Some(501)),
        ("multi01", Some(400)),
        ("ncl", Some(400)),
        ("quotbal", Some(400)),
        ("scalar02", Some(400)),
        ("scalarlg", None),
        ("trws", Some(400)),
    ] {
        let bytes = bytes_of(&format!("sip/rfc4475/{file}.sip"));
        match read(&bytes) {
            Err(Rejected::Answerable { request, status, .. }) => {
                assert_eq!(Some(status), expected, "{file}");
                assert!(request.via().is_ok(), "{file}: the answer needs a way home");
                assert!(parse(&request.reply(status).to_bytes()).is_ok(), "{file}");
            }
            Err(Rejected::Unanswerable(_)) => assert_eq!(expected, None, "{file}"),
            Ok(_) => panic!("{file} is taken"),
        }
    }
    let bad = bytes_of("sip/rfc5118/ipv6-bad.sip");
    assert!(matches!(read(&bad), Err(Rejected::Answerable { status: 400, .. })));
}

#[test]
fn torture_messages_mean_what_their_rfc_says() {
    let message = |file: &str| read(&bytes_of(file)).expect(file);

    let semi = message("sip/rfc4475/semiuri.sip");
    let Message::Request(semi) = semi else { panic!("request") };
    let user = semi.uri().expect("URI").user_decoded().map(|user| user.into_owned());
    assert_eq!(user.as_deref(), Some("user;par=u@example.net"));

    let nulls = message("sip/rfc4475/escnull.sip").contacts().expect("contacts");
    let [one, two] = nulls.list() else { panic!("two contacts") };
    assert_ne!(one.uri, two.uri);
    assert_eq!(one.uri.to_string(), "sip:%00@host5.example.com");

    for file in ["with", "no"] {
        let via = message(&format!("sip/rfc5118/via-received-param-{file}-delim.sip")).via();
        assert_eq!(via.expect("via").received(), "2001:db8::9:255".parse().ok());
    }
    let Message::Request(port) = message("sip/rfc5118/port-ambiguous.sip") else { panic!() };
    let uri = port.uri().expect("URI");
    assert_eq!((uri.host_ip(), uri.port()), ("2001:db8::10:5070".parse().ok(), None));

    let ws = message("sip/rfc4475/wsinv.sip");
    assert_eq!(ws.max_forwards(), Some(68));
    let from = ws.from_addr().expect("from");
    assert_eq!(from.display_name.as_deref(), Some(r#"J Rosenberg \""#));
    let contact = ws.contacts().expect("contacts").first().cloned().expect("one");
    assert_eq!((contact.q_thousandths(), contact.param("newparam")), (330, Some("newvalue")));
}

/// A small generator of our own (xorshift64*): the same damage in every run.
struct Damage(u64);

impl Damage {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("fits")
    }

    fn once(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        const SHARP: &[u8] = b"\r\n\t \0\"<>;:,=@%?*[]/\\()0\xff\x80";
        if bytes.is_empty() {
            bytes.push(b'\n');
        }
        let at = self.below(bytes.len());
        match self.below(7) {
            0 => bytes[at] = SHARP[self.below(SHARP.len())],
            1 => bytes[at] ^= 1 << self.below(8),
            2 => bytes.insert(at, SHARP[self.below(SHARP.len())]),
            3 => drop(bytes.remove(at)),
            4 => bytes.truncate(at.max(1)),
            5 => {
                let end = (at + self.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let from = self.below(other.len());
                let end = (from + self.below(80)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
}

/// What may differ on the way through: leading line ends, the case of the version, line ends, the
/// space of a status line without reason, and what follows Content-Length.
fn same_but_for_line_ends(sent: &[u8], message: &Message) -> bool {
    let out = message.to_bytes();
    let sent = &sent[sent.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()..];
    let head = |bytes: &[u8], body: usize| -> Vec<u8> {
        let head = &bytes[..bytes.len() - body];
        let mut text: Vec<u8> = head.iter().copied().filter(|byte| *byte != b'\r').collect();
        let line = text.iter().position(|byte| *byte == b'\n').expect("a start line");
        text[..line].make_ascii_uppercase();
        let trimmed = text[..line].trim_ascii_end().len();
        text.drain(trimmed..line);
        text
    };
    let extra = head(sent, 0).len() - head(&out, message.body().len()).len();
    let out_head = head(&out, message.body().len());
    let sent_head = head(sent, 0);
    let body = message.body();
    sent_head.starts_with(&out_head)
        && extra >= body.iter().filter(|byte| **byte != b'\r').count()
        && memchr::memmem::find(sent, body).is_some()
}

#[test]
fn damaged_messages_neither_panic_nor_change_on_their_way_through() {
    let all: Vec<Bytes> = manifest().iter().map(|entry| bytes_of(&entry.file)).collect();
    let mut damage = Damage(0x5EED_0001);
    let (mut taken, mut refused, mut usual) = (0_u32, 0_u32, 0_u32);
    for round in 0..20_000_usize {
        let mut bytes = all[round % all.len()].to_vec();
        let other = &all[damage.below(all.len())];
        for _ in 0..=damage.below(2) {
            damage.once(&mut bytes, other);
        }
        let bytes = Bytes::from(bytes);
        if let Some([one, other]) = both_ways(&bytes) {
            usual += 1;
            assert_eq!(one, other, "{bytes:?}");
        }
        if let Ok(message) = parse(&bytes) {
            assert!(same_but_for_line_ends(&bytes, &message), "{bytes:?}");
            let again = parse(&message.to_bytes()).expect("reads its own writing");
            assert_eq!(again.to_bytes(), message.to_bytes());
            typed_readers_hold(&message);
        }
        match read(&bytes) {
            Ok(_) => taken += 1,
            Err(Rejected::Answerable { request, status, .. }) => {
                refused += 1;
                assert!(request.via().is_ok(), "{bytes:?}");
                assert!(parse(&request.reply(status).to_bytes()).is_ok(), "{bytes:?}");
            }
            Err(Rejected::Unanswerable(fault)) => {
                refused += 1;
                assert!(fault.offset <= bytes.len());
            }
        }
    }
    assert!(taken > 2_000 && refused > 5_000 && usual > 5_000, "{taken} {refused} {usual}");
}

/// The typed readers see any text at all without a panic, and print what they would read again.
fn typed_readers_hold(message: &Message) {
    for field in message.headers() {
        for value in field.values() {
            if let Ok(via) = Via::parse(value) {
                assert_eq!(Via::parse(&via.to_string()).as_ref(), Ok(&via));
            }
            if let Ok(address) = NameAddr::parse(value) {
                let again = NameAddr::parse(&address.to_string()).expect("reads its own writing");
                assert_eq!(again.to_string(), address.to_string());
            }
            if let Ok(uri) = Uri::parse(value) {
                assert_eq!(Uri::parse(&uri.to_string()).expect("reads its own writing"), uri);
            }
        }
    }
}

/// Damaged messages one after the other on a stream, cut anywhere: the framer gives whole messages
/// or one error, never grows beyond its bound, and a body that reads as SDP prints as it was.
#[test]
fn damaged_streams_end_in_messages_or_one_error() {
    let all: Vec<Bytes> = manifest().iter().map(|entry| bytes_of(&entry.file)).collect();
    let mut damage = Damage(0x5EED_0002);
    let (mut whole, mut broken, mut described) = (0_u32, 0_u32, 0_u32);
    for _ in 0..1_500 {
        let mut stream = Vec::new();
        for _ in 0..4 {
            let mut bytes = all[damage.below(all.len())].to_vec();
            if damage.below(3) == 0 {
                damage.once(&mut bytes, &all[0]);
            }
            stream.extend(bytes);
        }
        let mut framer = Framer::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + damage.below(700)).min(rest.len()));
            rest = after;
            framer.push(piece);
            assert!(framer.pending() <= STREAM_BYTES_MAX);
            while let Some(result) = framer.next() {
                match result {
                    Ok(bytes) => {
                        whole += 1;
                        if let Ok(message) = read(&bytes)
                            && let Ok(sdp) = Sdp::parse(message.body())
                        {
                            described += 1;
                            let no_cr = |text: &[u8]| {
                                text.iter().copied().filter(|b| *b != b'\r').collect::<Vec<_>>()
                            };
                            assert_eq!(no_cr(sdp.to_string().as_bytes()), no_cr(message.body()));
                            let _ = sdp.media.iter().map(Media::preconditions).count();
                        }
                    }
                    Err(fault) => {
                        broken += 1;
                        let _ = fault.request();
                    }
                }
            }
        }
    }
    assert!(whole > 500 && broken > 300 && described > 100, "{whole} {broken} {described}");
}

/// One value is not UTF-8, and another line ends with a bare LF: each is on its own.
#[test]
fn a_line_that_is_no_text_leaves_as_it_came_and_hides_no_other() {
    let bytes = Bytes::from_static(
        b"OPTIONS sip:a@b SIP/2.0\r\nSubject: caf\xe9\r\nCall-ID: \xc3\xa9-1\nTo: <sip:a@b>\r\n\r\n",
    );
    let Ok(Message::Request(mut request)) = parse(&bytes) else { panic!("parses") };
    let headers = &request.headers;
    let subject = headers.fields(HeaderName::Subject).next().expect("a line");
    assert_eq!((subject.value(), subject.raw_value()), ("", &b"caf\xe9"[..]));
    assert_eq!(subject.unfolded(), "caf\u{fffd}");
    assert_eq!(headers.get(HeaderName::CallId), Some("\u{e9}-1"));
    assert_eq!(headers.get(HeaderName::To), Some("<sip:a@b>"));

    let mut copy = Headers::new();
    copy.push(HeaderName::Server, "x");
    for name in [HeaderName::To, HeaderName::Subject, HeaderName::CallId] {
        copy.copy_from(headers, name);
    }
    request.headers.detach();

    let lines = |headers: &Headers| headers.iter().flat_map(|it| it.line().to_vec()).collect();
    let (kept, copied): (Vec<u8>, Vec<u8>) = (lines(&request.headers), lines(&copy));
    let call_id = b"Call-ID: \xc3\xa9-1\r\n";
    let (subject, to) = (b"Subject: caf\xe9\r\n", b"To: <sip:a@b>\r\n");
    assert_eq!(kept, [&subject[..], call_id, to].concat());
    assert_eq!(copied, [&b"Server: x\r\n"[..], to, subject, call_id].concat());
}
