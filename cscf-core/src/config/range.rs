//! Many subscribers at once: a range of IMSIs with one key (`- range: {imsi: …, count: …}`), and
//! what a subscriber with a USIM is made of when only its numbers are given.

use super::problem::Problems;
use super::subscriber::{Auth, HssData, Impu, SubscriberConfig, SubscriberTransport, card};
use super::tree::{Node, Reader, scalar};

/// The most subscribers of one range.
const COUNT_MAX: u64 = 1_000_000;

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
    SubscriberConfig {
        name: name.to_owned(),
        impi: format!("{imsi}@{domain}"),
        impus,
        auth,
        ipsec: None,
        transport: SubscriberTransport::AsRegistered,
        filter_criteria: Vec::new(),
        hss: HssData::default(),
    }
}

/// Reads `{imsi: first, count: n, msisdn: first, k: …, opc: …}`; each subscriber has the name of
/// its IMSI.
pub(super) fn range(node: &Node, domain: &str, problems: &mut Problems) -> Vec<SubscriberConfig> {
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
    let (Some(imsi), Some(count), Some(auth)) = (imsi, count, auth) else { return Vec::new() };
    let first: u64 = imsi.parse().unwrap_or_default();
    let width = imsi.len();
    let last = (first + count - 1).to_string();
    if last.len() > width {
        problems.push(node.at, format!("the last IMSI {last} has more than {width} digits"), None);
        return Vec::new();
    }
    (0..count)
        .map(|number| {
            let imsi = format!("{:0width$}", first + number);
            let msisdn = msisdn.map(|first| format!("+{}", first + number));
            usim(&imsi, &imsi, msisdn.as_deref(), auth.clone(), domain)
        })
        .collect()
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
        let names: Vec<&str> = lab.subscribers.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["001010000000099", "001010000000100", "001010000000101", "erin"]);
        let last = &lab.subscribers[2];
        assert_eq!(last.impi, "001010000000101@ims.example");
        assert_eq!(last.default_impu(), Some("sip:+15550201@ims.example;user=phone"));
        assert!(last.impus[2].barred);
        let again = read_lab(&lab.to_yaml()).expect("reads back");
        assert_eq!(again.subscribers, lab.subscribers);
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
