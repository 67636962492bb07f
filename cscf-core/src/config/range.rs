//! Many subscribers at once: a range of IMSIs with one key (`- range: {imsi: …, count: …}`), and
//! what a subscriber with a USIM is made of when only its numbers are given.

use std::fmt::Write as _;

use super::problem::Problems;
use super::subscriber::{Auth, HssData, Impu, SubscriberConfig, SubscriberTransport, card};
use super::tree::{Node, Reader, scalar};
use super::write::keys_of_card;
use crate::identity::ImsiRange;

/// The most subscribers of one range: that many numbers are the whole of a number block.
const COUNT_MAX: u64 = 10_000_000;

/// A range of subscribers: the identities are counted up, all have one key and nothing else of
/// their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberRange {
    /// The identities.
    pub imsis: ImsiRange,
    /// How each authenticates.
    pub auth: Auth,
}

impl SubscriberRange {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::try_from(self.imsis.count()).unwrap_or(usize::MAX)
    }

    /// One of them, counted from 0, as if it stood in the file; its name is its IMSI.
    #[must_use]
    pub fn member(&self, member: u64) -> Option<SubscriberConfig> {
        if member >= self.imsis.count() {
            return None;
        }
        let impus = self.imsis.impus(member).into_iter();
        Some(with_card(
            self.imsis.imsi(member),
            self.imsis.impi(member),
            impus.map(|(uri, barred)| Impu { uri, barred }).collect(),
            self.auth.clone(),
        ))
    }

    /// As an item of a list of subscribers.
    pub(super) fn write(&self, out: &mut String) {
        let (imsi, count) = (self.imsis.imsi(0), self.imsis.count());
        let _ = write!(out, "  - range: {{imsi: \"{imsi}\", count: {count}");
        if let Some(number) = self.imsis.number(0) {
            let _ = write!(out, ", msisdn: \"{number}\"");
        }
        let keys = keys_of_card(&self.auth).unwrap_or_default();
        let _ = writeln!(out, ", {keys}}}");
    }
}

fn with_card(name: String, impi: String, impus: Vec<Impu>, auth: Auth) -> SubscriberConfig {
    SubscriberConfig {
        name,
        impi,
        impus,
        auth,
        ipsec: None,
        transport: SubscriberTransport::AsRegistered,
        filter_criteria: Vec::new(),
        hss: HssData::default(),
    }
}

/// A subscriber with a USIM: private identity by the IMSI, the identity of the IMSI only to
/// register with (TS 23.003 §13.3, §13.4), and the number in its two forms if there is one.
pub(super) fn usim(
    name: &str,
    imsi: &str,
    msisdn: Option<&str>,
    auth: Auth,
    domain: &str,
) -> SubscriberConfig {
    let mut impus = Vec::with_capacity(3);
    if let Some(msisdn) = msisdn {
        impus.push(Impu { uri: format!("sip:{msisdn}@{domain};user=phone"), barred: false });
        impus.push(Impu { uri: format!("tel:{msisdn}"), barred: false });
    }
    // Without a number the IMSI is all there is to be called by.
    impus.push(Impu { uri: format!("sip:{imsi}@{domain}"), barred: msisdn.is_some() });
    with_card(name.to_owned(), format!("{imsi}@{domain}"), impus, auth)
}

/// Reads `{imsi: first, count: n, msisdn: first, k: …, opc: …}`; each subscriber has the name of
/// its IMSI.
pub(super) fn range(node: &Node, domain: &str, problems: &mut Problems) -> Option<SubscriberRange> {
    let mut reader = Reader::new(node, "a range", problems);
    let imsi = reader.required("imsi", problems);
    let imsi = imsi.and_then(|node| scalar(node, problems, imsi_of));
    let count = reader.required("count", problems).and_then(|node| {
        scalar(node, problems, |text| {
            let fault = || format!("`{text}` is no count from 1 to {COUNT_MAX}");
            text.parse().ok().filter(|it| (1..=COUNT_MAX).contains(it)).ok_or_else(fault)
        })
    });
    let msisdn = reader.optional("msisdn").and_then(|node| scalar(node, problems, msisdn_of));
    let auth = card(&mut reader, node, problems);
    reader.finish(problems);
    let (Some(imsi), Some(count), Some(auth)) = (imsi, count, auth) else { return None };
    match ImsiRange::new(&imsi, count, msisdn, domain) {
        Ok(imsis) => Some(SubscriberRange { imsis, auth }),
        Err(fault) => {
            problems.push(node.at, fault.to_string(), None);
            None
        }
    }
}

/// An IMSI: 6 to 15 digits (TS 23.003 §2.2).
pub(super) fn imsi_of(text: &str) -> Result<String, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (6..=15).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no IMSI of 6 to 15 digits, e.g. 001010000000001"))
    }
}

/// A number in international form, with or without `+`, at most 15 digits (TS 23.003 §3.3).
pub(super) fn msisdn_of(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix('+').unwrap_or(text);
    let fine = (3..=15).contains(&number.len()) && !number.starts_with('0');
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number
        .parse()
        .ok()
        .filter(|_| fine && digits)
        .ok_or_else(|| format!("`{text}` is no number in international form, e.g. +15550100000"))
}

#[cfg(test)]
mod tests {
    use crate::config::read_lab;

    const NODES: &str = "domain: ims.example\nnodes:\n  \
         p1: {role: p-cscf, listen: 127.0.0.1:5060}\n  \
         i1: {role: i-cscf, listen: 127.0.0.1:4060}\n  \
         s1: {role: s-cscf, listen: 127.0.0.1:6060}\n  \
         hss: {role: hss, listen: 127.0.0.1:3868}\n";

    #[test]
    fn a_range_counts_imsi_and_number_up() {
        let source = format!(
            "{NODES}subscribers:\n  - range: {{imsi: 001010000000099, count: 3, \
             msisdn: +15550199, k: {k}, opc: {k}}}\n  - erin: {{impi: erin, impus: \
             [\"sip:erin@ims.example\"], digest: {{password: x}}}}\n",
            k = "00".repeat(16)
        );
        let lab = read_lab(&source).expect("a lab");
        let names: Vec<_> = lab.subscribers.names().collect();
        assert_eq!(names, ["001010000000099", "001010000000100", "001010000000101", "erin"]);
        let last = lab.subscriber("001010000000101").expect("the last");
        assert_eq!(last.impi, "001010000000101@ims.example");
        assert_eq!(last.default_impu(), Some("sip:+15550201@ims.example;user=phone"));
        assert!(last.impus[2].barred);
        let again = read_lab(&lab.to_yaml()).expect("reads back");
        assert_eq!(again.subscribers, lab.subscribers);
    }

    #[test]
    fn what_is_there_already_is_refused_at_its_place() {
        let key = "00".repeat(16);
        let card = format!("k: {key}, opc: {key}");
        let range = |imsi, count| format!("  - range: {{imsi: {imsi}, count: {count}, {card}}}\n");
        let one = |name, impi| {
            format!("  - {name}: {{impi: {impi}, impus: [\"tel:+1\"], aka: {{{card}}}}}\n")
        };
        let first = range("001010000000100", 10_000_000);
        for (before, after, expected) in [
            (&first, one("x", "001010000000099"), None),
            (&first, one("x", "001010000000100"), Some(("100", "001010000000100"))),
            (&first, one("x", "001010010000099"), Some(("10000099", "001010010000099"))),
            (&first, one("x", "001010010000100"), None),
            (&first, one("x", "001010000000100@b.example"), None),
            (&first, range("001010010000100", 5), None),
            (&first, range("001010000000000", 101), Some(("100", "001010000000100"))),
            (&first, range("001010010000099", 5), Some(("10000099", "001010010000099"))),
            (&one("x", "001010000000100"), first.clone(), Some(("100", "x"))),
            (&one("x", "001010010000100"), first.clone(), None),
        ] {
            let source = format!("{NODES}subscribers:\n{before}{after}");
            let said = read_lab(&source).err().map(|problems| {
                let [one] = problems.0.as_slice() else { panic!("{problems:?}") };
                (one.at.line, one.at.column, one.text.clone())
            });
            let expected = expected.map(|(digits, other)| {
                let impi = format!("00101{digits:0>10}@ims.example");
                (9, 5, format!("{impi} is the IMPI of `{other}` already"))
            });
            assert_eq!(said, expected, "{after}");
        }
    }

    #[test]
    fn ten_million_are_read_as_one_entry_and_written_as_one() {
        let key = "00".repeat(16);
        let source = format!(
            "{NODES}subscribers:\n  - range: {{imsi: 001010000000000, count: 10000000, msisdn: \
             +15550000000, k: {key}, opc: {key}}}\n"
        );
        let lab = read_lab(&source).expect("a lab");
        assert_eq!((lab.subscribers.count(), lab.subscribers.listed().len()), (10_000_000, 0));
        let last = lab.subscriber("001010009999999").expect("the last");
        assert_eq!(last.default_impu(), Some("sip:+15559999999@ims.example;user=phone"));
        assert_eq!(lab.subscriber("001010010000000"), None);
        let written = lab.to_yaml();
        assert_eq!(written.matches("imsi:").count(), 1);
        assert_eq!(read_lab(&written).as_ref(), Ok(&lab));
        assert!(!lab.to_yaml_for_cscfs().contains("range:"));
        let node = lab.node(crate::config::NodeRole::Hss).expect("an HSS");
        let start = crate::config::Start {
            seed: crate::ids::Seed([0; 32]),
            unix_at_epoch: crate::time::UnixTime(7),
            tracing: false,
        };
        let hss = lab.hss_node(node, &start).expect("an HSS");
        assert_eq!((hss.store().len(), hss.store().made()), (10_000_000, 0));
    }

    #[test]
    fn the_hss_makes_of_a_range_what_the_lab_makes_of_each_member() {
        let key = "00".repeat(16);
        for msisdn in ["", "msisdn: +15550000000, "] {
            let source = format!(
                "{NODES}subscribers:\n  - range: {{imsi: 001010000000000, count: 3, {msisdn}k: \
                 {key}, opc: {key}, amf: 8001, sqn: \"000000000020\"}}\n"
            );
            let lab = read_lab(&source).expect("a lab");
            let range = lab.subscribers.ranges().next().expect("a range");
            let of_hss = lab.range_in(&lab.domain, range).expect("its HSS has it");
            let member = range.member(2).expect("the last");
            assert_eq!(of_hss.subscriber(2), lab.subscription(&member));
            assert!(lab.range_in("b.example", range).is_none());
        }
    }

    #[test]
    fn what_is_wrong_in_a_range_is_said() {
        for (range, expected) in [
            ("{imsi: 12, count: 1, k: 00, opc: 00}", "`12` is no IMSI"),
            ("{imsi: 001010000000001, count: 0}", "no count from 1"),
            ("{imsi: 999999, count: 2, k: K, opc: K}", "has more than 6 digits"),
            ("{imsi: 001010000000001, count: 1, msisdn: 0155, k: K, opc: K}", "no number"),
            ("{imsi: 001010000000001, count: 1, opc: K}", "a range needs `k`"),
        ] {
            let range = range.replace('K', &"00".repeat(16));
            let source = format!("{NODES}subscribers:\n  - range: {range}\n");
            let problems = read_lab(&source).expect_err("wrong");
            let texts: Vec<&str> = problems.0.iter().map(|it| it.text.as_str()).collect();
            assert!(texts.iter().any(|text| text.contains(expected)), "{texts:?}");
        }
    }
}
