//! Programs of others as witnesses of what is on the wire: tshark decodes each packet of a trace,
//! osmo-auc-gen computes IMS AKA, xmllint holds documents of the reg event and of presence against
//! the schemas of RFC 3680 and RFC 3863, and results of runs against that of `JUnit`.
//! Each test is skipped where its program is not installed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::running::{AMF, OP, cscf, hex, installed, output, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cscf_core::config::{Auth, Lab};
use md5::{Digest as _, Md5};
use tempfile::TempDir;

/// The severity of an expert warning in Wireshark; notes, chats and comments are below.
const WARNING: &str = "0x600000";

/// The trace of a run.
struct Trace {
    folder: TempDir,
}

impl Trace {
    fn of(scenario: &str, how: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut command = cscf();
        command.args(["run", scenario, "--out"]).arg(folder.path()).args(how);
        let run = output(&mut command);
        assert!(run.status.success(), "{}{}", text(&run.stdout), text(&run.stderr));
        Self { folder }
    }

    /// What tshark finds under a filter: one line a packet, its fields separated by tabs. An empty
    /// field list gives tshark's own summary line.
    fn packets(&self, filter: &str, fields: &[&str]) -> Vec<String> {
        let mut command = Command::new("tshark");
        command
            .arg("-r")
            .arg(self.folder.path().join("trace.pcapng"))
            // Two passes, so that requests know their answers.
            .args(["-n", "-2", "-Y", filter])
            // The ports of the lab that are not those of the standards.
            .args(["-d", "tcp.port==3868,diameter"])
            .args(["-d", "udp.port==4060,sip", "-d", "udp.port==6060,sip"]);
        if !fields.is_empty() {
            command.args(["-T", "fields"]);
        }
        for field in fields {
            command.args(["-e", field]);
        }
        let found = output(&mut command);
        assert!(found.status.success(), "{}", text(&found.stderr));
        text(&found.stdout).lines().map(str::to_owned).collect()
    }
}

/// Which versions of IP all packets have, of those that were run.
fn decodes(how: &[&str], versions: &[&str]) {
    if !installed("tshark") {
        return;
    }
    let trace = Trace::of("volte-call", how);
    let seen: BTreeSet<String> = trace.packets("sip", &["ip.version"]).into_iter().collect();
    assert_eq!(seen, versions.iter().map(|it| (*it).to_owned()).collect(), "{how:?}");
    let none = |filter: &str| {
        let packets = trace.packets(filter, &[]);
        assert!(packets.is_empty(), "{filter}\n{}", packets.join("\n"));
    };

    none(&format!("_ws.malformed || _ws.expert.severity >= {WARNING}"));
    none("!sip && !diameter");
    none("diameter.avp.unknown || diameter.avp.code.unknown");
    none(
        "diameter.applicationId == 16777216 && diameter.flags.request == 1 && !diameter.answer_in",
    );

    let sip = trace.packets("sip", &["sip.CSeq.method"]);
    assert!(sip.len() >= 80, "{} SIP packets", sip.len());
    let methods: BTreeSet<String> = sip.into_iter().collect();
    let expected = ["ACK", "BYE", "INVITE", "NOTIFY", "PRACK", "REGISTER", "SUBSCRIBE", "UPDATE"];
    assert_eq!(methods, expected.map(str::to_owned).into());
    let diameter = trace.packets("diameter", &["diameter.cmd.code", "diameter.flags.request"]);
    assert!(diameter.len() >= 20, "{} Diameter packets", diameter.len());
    let commands: BTreeSet<String> = diameter.into_iter().collect();
    // CER, UAR, SAR, LIR and MAR with their answers; a live run may end with DPR.
    for code in [257, 300, 301, 302, 303] {
        for request in [0, 1] {
            assert!(commands.contains(&format!("{code}\t{request}")), "{code} in {commands:?}");
        }
    }
    let offers = trace.packets("sip.Method == \"INVITE\" && sdp", &["sdp.media"]);
    assert!(!offers.is_empty(), "no INVITE with SDP");
}

#[test]
fn tshark_decodes_a_live_call_without_a_warning() {
    decodes(&[], &["4"]);
}

#[test]
fn tshark_decodes_a_simulated_call_without_a_warning() {
    decodes(&["--virtual"], &["4"]);
}

#[test]
fn tshark_decodes_a_call_on_ipv6_and_one_between_both_versions_without_a_warning() {
    decodes(&["--virtual", "--ipv6"], &["6"]);
    decodes(&["--virtual", "--dual-stack"], &["4", "6"]);
}

#[test]
fn tshark_shows_names_links_and_clauses() {
    if !installed("tshark") {
        return;
    }
    let trace = Trace::of("server-in-call", &["--virtual"]);
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(trace.folder.path().join("trace.pcapng"))
        .args(["-N", "n", "-T", "fields"]);
    for field in ["ip.src_host", "ip.dst_host", "frame.interface_name", "frame.comment"] {
        command.args(["-e", field]);
    }
    let found = output(&mut command);
    let found = text(&found.stdout);
    let links: BTreeSet<Vec<&str>> =
        found.lines().map(|line| line.split('\t').take(3).collect()).collect();
    for link in [
        ["alice", "p1", "Gm alice-p1"],
        ["p1", "i1", "Mw i1-p1"],
        ["i1", "hss", "Cx hss-i1"],
        ["s1", "as1", "ISC as1-s1"],
    ] {
        assert!(links.contains(link.as_slice()), "{link:?} is not in {links:?}");
    }
    assert!(found.contains("TS 24.229 §5.4.3.2"), "{found}");
}

/// How Wireshark's dictionaries have the M and V bits of an AVP: must, must not, or either.
fn dictionary() -> Option<BTreeMap<u32, (String, String)>> {
    let folder = Path::new("/usr/share/wireshark/diameter");
    let base = std::fs::read_to_string(folder.join("dictionary.xml")).ok()?;
    let cx = std::fs::read_to_string(folder.join("TGPP.xml")).ok()?;
    let mut out = BTreeMap::new();
    for (text, codes) in [(base, 1..600), (cx, 600..700)] {
        for entry in text.split("<avp ").skip(1) {
            let head = entry.split('>').next().unwrap_or_default();
            let of = |name: &str| {
                let (_, rest) = head.split_once(&format!("{name}=\""))?;
                Some(rest.split('"').next()?.to_owned())
            };
            let Some(code) = of("code").and_then(|code| code.parse().ok()) else { continue };
            let either = || "may".to_owned();
            if codes.contains(&code) && (code >= 600 || of("vendor-id").is_none()) {
                let bits = [of("mandatory"), of("vendor-bit")].map(|it| it.unwrap_or_else(either));
                let [mandatory, vendor] = bits;
                out.entry(code).or_insert((mandatory, vendor));
            }
        }
    }
    Some(out)
}

#[test]
fn tshark_knows_each_avp_of_a_registration_and_its_flags() {
    if !installed("tshark") {
        return;
    }
    let Some(dictionary) = dictionary() else {
        println!("skipped: Wireshark's dictionaries are not where Debian has them");
        return;
    };
    let mut seen = BTreeSet::new();
    for scenario in ["register-aka", "register-digest", "register-out-of-sync", "deregister"] {
        let trace = Trace::of(scenario, &["--virtual"]);
        for filter in [
            "diameter && (_ws.malformed || _ws.expert.severity >= 0x600000)",
            "diameter.avp.unknown || diameter.avp.code.unknown || diameter.avp.invalid-data",
        ] {
            assert_eq!(trace.packets(filter, &[]), Vec::<String>::new(), "{scenario}: {filter}");
        }
        let fields = ["diameter.cmd.code", "diameter.avp.code", "diameter.avp.flags"];
        for packet in trace.packets("diameter", &fields) {
            let columns: Vec<&str> = packet.split('\t').collect();
            let [command, codes, flags] = columns[..] else { panic!("{packet}") };
            let codes: Vec<&str> = codes.split(',').collect();
            let flags: Vec<&str> = flags.split(',').collect();
            assert_eq!(codes.len(), flags.len(), "{packet}");
            for (code, flags) in codes.iter().zip(flags) {
                let code: u32 = code.parse().expect("a code");
                let flags = flags.trim_start_matches("0x");
                let flags = u32::from_str_radix(flags, 16).expect("flags");
                let (mandatory, vendor) =
                    dictionary.get(&code).unwrap_or_else(|| panic!("AVP {code} of {command}"));
                for (name, bit, rule) in [("M", 0x40, mandatory), ("V", 0x80, vendor)] {
                    let set = flags & bit != 0;
                    let fine = match rule.as_str() {
                        "must" => set,
                        "mustnot" => !set,
                        _ => true,
                    };
                    assert!(fine, "{name} of AVP {code} in command {command}: {rule}");
                }
                seen.insert(code);
            }
        }
    }
    // CER and CEA tell the application in both forms, and MAR carried an AUTS.
    for code in [258, 260, 266, 297, 601, 602, 606, 609, 610, 612, 614, 625, 626] {
        assert!(seen.contains(&code), "AVP {code} is in no message: {seen:?}");
    }
}

/// What osmo-auc-gen says for K, OP, RAND and SQN: AUTN and RES.
fn vector(k: &[u8], rand: &[u8], sqn: u64) -> (Vec<u8>, Vec<u8>) {
    let mut command = Command::new("osmo-auc-gen");
    command.args(["-3", "-a", "MILENAGE", "-k", &hex(k), "-O", OP, "-f", AMF]).args([
        "-r",
        &hex(rand),
        "-s",
        &sqn.to_string(),
    ]);
    let said = output(&mut command);
    let said = text(&said.stdout);
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        bytes_of(line.trim())
    };
    (field("AUTN:"), field("RES:"))
}

fn bytes_of(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        digits.chars().map(|digit| digit.to_digit(16).expect("a digit")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum * 256 + u64::from(*byte))
}

fn md5(parts: &[&[u8]]) -> String {
    hex(&Md5::digest(parts.join(&b':')))
}

/// Proves the digest response of each REGISTER that carries one, from K and the nonce alone (RFC
/// 3310 §3.2, §3.3; RFC 7616 §3.4.1); gives how many there were.
fn prove_responses(trace: &Trace, name: &str) -> usize {
    let lab = Lab::default_lab();
    let subscriber = lab.subscriber(name).expect("a subscriber");
    let Auth::Aka { k, .. } = &subscriber.auth else { panic!("{name} has no USIM") };
    let fields = ["username", "realm", "nonce", "nc", "cnonce", "qop", "uri", "digest.response"]
        .map(|field| format!("sip.auth.{field}"));
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let filter = format!(
        "sip.Method == \"REGISTER\" && sip.auth.username contains \"{}\" && sip.auth.cnonce",
        subscriber.impi
    );
    let packets = trace.packets(&filter, &fields);
    for packet in &packets {
        let values: Vec<&str> = packet.split('\t').map(|value| value.trim_matches('"')).collect();
        let [username, realm, nonce, nc, cnonce, qop, uri, response] = values[..] else {
            panic!("{packet}");
        };
        let challenge = BASE64.decode(nonce).expect("RAND and AUTN in Base64");
        let (rand, autn) = challenge.split_at(16);
        // Under any SQN the answer shows AK, and AK shows the SQN of this challenge.
        let (other, _) = vector(k, rand, 32);
        let sqn = number(&autn[..6]) ^ number(&other[..6]) ^ 32;
        let (expected_autn, res) = vector(k, rand, sqn);
        assert_eq!(hex(autn), hex(&expected_autn), "SQN {sqn}: MAC and AMF");

        let secret = md5(&[username.as_bytes(), realm.as_bytes(), &res]);
        let request = md5(&[b"REGISTER", uri.as_bytes()]);
        let parts = [&secret, nonce, nc, cnonce, qop, &request].map(str::as_bytes);
        assert_eq!(response, md5(&parts), "the response of {username}");
    }
    packets.len()
}

#[test]
fn osmo_auc_gen_finds_the_same_autn_and_res() {
    if !installed("tshark") || !installed("osmo-auc-gen") {
        return;
    }
    for how in [&[][..], &["--virtual"]] {
        let trace = Trace::of("volte-call", how);
        for name in ["alice", "bob"] {
            // From the UE, from p1 and from i1.
            let proven = prove_responses(&trace, name);
            assert!(proven >= 3, "{name}: {proven} responses");
        }
    }
}

fn schema(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name)
}

/// What xmllint says of a document by a schema; `Ok` if it is valid.
fn validate(folder: &Path, document: &[u8], by: &str) -> Result<(), String> {
    let file = folder.join("document.xml");
    std::fs::write(&file, document).expect("writes");
    let mut command = Command::new("xmllint");
    command.args(["--nonet", "--noout", "--schema"]).arg(schema(by)).arg(&file);
    let checked = output(&mut command);
    if checked.status.success() { Ok(()) } else { Err(text(&checked.stderr)) }
}

/// The documents in the requests of a method in a trace.
fn documents(trace: &Trace, method: &str) -> Vec<Vec<u8>> {
    let packets = trace.packets(&format!("sip.Method == \"{method}\""), &["udp.payload"]);
    let messages = packets.iter().map(|packet| bytes_of(packet));
    messages
        .map(|message| {
            let head = message.windows(4).position(|four| four == b"\r\n\r\n").expect("a body");
            message[head + 4..].to_vec()
        })
        .collect()
}

#[test]
fn xmllint_finds_each_reg_event_document_valid() {
    if !installed("tshark") || !installed("xmllint") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    for (scenario, how) in [("volte-call", &[][..]), ("deregister", &["--virtual"])] {
        let trace = Trace::of(scenario, how);
        let documents = documents(&trace, "NOTIFY");
        // To the UE and to the P-CSCF.
        assert!(documents.len() >= 2, "{scenario}: {} documents", documents.len());
        for document in &documents {
            assert_eq!(
                validate(folder.path(), document, "reginfo.xsd"),
                Ok(()),
                "{}",
                text(document)
            );
        }
        let last = text(documents.last().expect("a document"));
        let state = if scenario == "deregister" { "terminated" } else { "active" };
        assert!(last.contains(&format!("state=\"{state}\"")), "{last}");
        // The schema does say no.
        let wrong = last.replace(" event=\"", " because=\"");
        assert!(validate(folder.path(), wrong.as_bytes(), "reginfo.xsd").is_err());
    }
}

#[test]
fn xmllint_finds_each_presence_document_valid() {
    if !installed("tshark") || !installed("xmllint") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    for scenario in ["flow-17-presence", "presence-of-two-devices"] {
        let trace = Trace::of(scenario, &["--virtual"]);
        let mut all = documents(&trace, "NOTIFY");
        all.extend(documents(&trace, "PUBLISH"));
        all.retain(|document| text(document).contains("<presence"));
        assert!(all.len() >= 4, "{scenario}: {} documents", all.len());
        for document in &all {
            let valid = validate(folder.path(), document, "pidf.xsd");
            assert_eq!(valid, Ok(()), "{}", text(document));
        }
        // The schema does say no.
        let wrong = all.iter().map(|it| text(it)).find(|it| it.contains("basic")).expect("one");
        let wrong = wrong.replace("basic>", "status>");
        assert!(validate(folder.path(), wrong.as_bytes(), "pidf.xsd").is_err());
    }
}

#[test]
fn xmllint_finds_the_results_of_runs_valid() {
    if !installed("xmllint") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let scenario = folder.path().join("hostile.yaml");
    let steps = "- alice registers\n  - alice is registered\n  - s1 receives INVITE";
    std::fs::write(&scenario, format!("scenario: a < b & \"c\"\nsteps:\n  {steps}\n"))
        .expect("writes");
    let file = folder.path().join("out/results.xml");
    let mut command = cscf();
    command.args(["run", "--virtual", "volte-call"]).arg(&scenario).arg("no-such-scenario");
    command.arg("--junit").arg(&file).arg("--out").arg(folder.path().join("runs"));
    let run = output(&mut command);
    assert_eq!(run.status.code(), Some(2), "{}{}", text(&run.stdout), text(&run.stderr));
    let results = std::fs::read(&file).expect("results");
    assert_eq!(validate(folder.path(), &results, "junit.xsd"), Ok(()), "{}", text(&results));
    let results = text(&results);
    for expected in [
        "<testsuites name=\"cscf run\" tests=\"3\" failures=\"1\" errors=\"1\"",
        "<testcase name=\"volte-call\" classname=\"cscf.run\" time=\"",
        "<property name=\"seed\" value=\"1\"/>",
        "TS 24.229 §5.4.3.2",
        "<failure type=\"expectation\" message=\"",
        "hostile.yaml:5: did not happen within",
        "<error type=\"could not run\" message=\"no scenario `no-such-scenario`",
    ] {
        assert!(results.contains(expected), "{expected} is not in\n{results}");
    }
    // The run's folder has its own.
    let own = std::fs::read(folder.path().join("runs/hostile/junit.xml")).expect("results");
    assert_eq!(validate(folder.path(), &own, "junit.xsd"), Ok(()), "{}", text(&own));
    // The schema does say no.
    let wrong = results.replace("classname=", "class=");
    assert!(validate(folder.path(), wrong.as_bytes(), "junit.xsd").is_err());
}

/// What tshark finds of the RP and TP layers in each short message of a run, once each, in time:
/// message type, RP-MR, cause, TP-MTI, TP-MR, number, text, TP-FCS.
fn short_messages(scenario: &str) -> Vec<String> {
    let trace = Trace::of(scenario, &["--virtual"]);
    let malformed =
        trace.packets(&format!("_ws.malformed || _ws.expert.severity >= {WARNING}"), &[]);
    assert!(malformed.is_empty(), "{}", malformed.join("\n"));
    let fields = [
        "sip.Call-ID",
        "gsm_a.rp.msg_type",
        "gsm_a.rp.rp_message_reference",
        "gsm_a.rp.cause",
        "gsm_sms.tp-mti",
        "gsm_sms.tp-mr",
        "e164.msisdn",
        "gsm_sms.sms_text",
        "gsm_sms.tp-fcs",
    ];
    // Each goes over several hops. Of the numbers the last one is that of the TPDU, those before it
    // are in URIs.
    let mut seen = BTreeSet::new();
    let rows = trace.packets("gsm_a.rp", &fields).into_iter().map(|row| {
        let mut columns: Vec<String> = row.split('\t').map(str::to_owned).collect();
        let has_number = matches!(columns[1].as_str(), "0x00" | "0x01") && columns[4] != "2";
        let last = columns[6].rsplit(',').next().unwrap_or_default().to_owned();
        columns[6] = if has_number { last } else { String::new() };
        (columns[0].clone(), columns[1..].join("|"))
    });
    rows.filter(|row| seen.insert(row.clone())).map(|(_, row)| row).collect()
}

#[test]
fn tshark_reads_short_messages_as_they_are_meant() {
    if !installed("tshark") {
        return;
    }
    let submitted = [
        "0x00|0x00||1|0|15550100002|hello|",
        "0x03|0x00||1||||",
        "0x01|0x00||0||15550100001|hello|",
        "0x02|0x00||0||||",
        "0x01|0x01||2|0|||",
        "0x02|0x01||0||||",
    ];
    assert_eq!(short_messages("flow-15-submit"), submitted);
    let full = short_messages("memory-full");
    for row in ["0x04|0x00|22|0||||0xd3", "0x06|0x00||||||"] {
        assert!(full.iter().any(|it| it == row), "{row} in {full:#?}");
    }
    let parts = short_messages("two-parts");
    assert!(parts.iter().filter(|row| row.starts_with("0x00")).count() == 2, "{parts:#?}");
}
