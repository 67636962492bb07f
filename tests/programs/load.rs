//! `cscf load` as a person uses it: against a lab that runs, with a lab of its own, and against a
//! P-CSCF that refuses or is not there.

use std::net::UdpSocket;

use crate::binaries::OwnLab;
use crate::running::{Running, cscf, output, text};
use cscf_core::config::{Auth, Impu, Lab, SubscriberRange};
use cscf_core::identity::ImsiRange;
use serde_json::Value;

/// What `cscf load WORDS` says: exit code, standard output, standard error.
fn load(words: &[&str]) -> (Option<i32>, String, String) {
    let output = output(cscf().arg("load").args(words));
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// So many subscribers, every second with a card and the others with a password.
fn crowd(lab: &mut Lab, count: usize) {
    let pattern = lab.subscribers.listed()[0].clone();
    lab.subscribers.clear();
    for number in 0..count {
        let mut one = pattern.clone();
        one.name = format!("ue{number}");
        one.impi = format!("ue{number}@{}", lab.domain);
        one.impus = vec![Impu { uri: format!("sip:ue{number}@{}", lab.domain), barred: false }];
        if number % 2 == 1 {
            let algorithms = vec!["MD5".to_owned()];
            one.auth = Auth::Digest { password: format!("secret{number}"), algorithms };
        }
        lab.subscribers.push(one);
    }
}

/// What the system tells of a process: whether it may be given huge pages.
#[cfg(target_os = "linux")]
fn may_have_huge_pages(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    status.lines().any(|line| line.starts_with("THP_enabled:") && line.ends_with('1'))
}

#[test]
#[cfg(target_os = "linux")]
fn only_nodes_of_many_subscribers_may_have_huge_pages() {
    for count in [200_000, 200_001] {
        let lab = Running::start_with(|lab, _| {
            let auth = lab.subscribers.listed()[0].auth.clone();
            let imsis = ImsiRange::new("001010000100000", count, None, &lab.domain);
            lab.subscribers.clear();
            let range = SubscriberRange { imsis: imsis.expect("a range"), auth };
            lab.subscribers.push_range(range);
            Vec::new()
        });
        let nodes = lab.nodes();
        assert_eq!(nodes.len(), 4);
        // What this process may not have it cannot give away.
        let expected = count > 200_000 && may_have_huge_pages("self");
        for node in nodes {
            assert_eq!(may_have_huge_pages(&node.pid.to_string()), expected, "{count}: {node:?}");
        }
    }
}

#[test]
fn fifty_ues_register_and_call_on_a_running_lab() {
    let lab = Running::start_with(|lab, _| {
        crowd(lab, 50);
        Vec::new()
    });
    let folder = tempfile::tempdir().expect("folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    std::fs::write(file("lab.yaml"), lab.lab.to_yaml()).expect("writes");
    let (dut, csv, users) = (lab.pcscf().to_string(), file("out.csv"), file("lab.yaml"));

    let (code, out, said) = load(&[
        "--dut",
        &dut,
        "--lab",
        &users,
        "--json",
        "-",
        "--csv",
        &csv,
        "--poisson",
        "--timeout",
        "20s",
        "register:25:50",
        "call=3,message=1:10:2s",
        "deregister:10:5",
    ]);

    assert_eq!((code, said.as_str()), (Some(0), ""), "{out}");
    let results: Vec<Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [registered, called, gone] = &results[..] else { panic!("{out}") };
    assert_eq!((&registered["begun"], &registered["ok"]), (&50.into(), &50.into()), "{out}");
    assert_eq!(registered["latency"]["REGISTER-401"]["count"], 50);
    assert_eq!(registered["latency"]["REGISTER-200"]["count"], 50);
    assert_eq!(registered["registered"], 50);
    assert_eq!((&called["work"], &called["failed"]), (&"call=3,message=1".into(), &0.into()));
    let calls = called["ok_by_work"]["call"].as_u64().expect("calls");
    assert!(calls > 0 && called["ok"] == called["begun"], "{out}");
    for latency in ["INVITE-180", "INVITE-200", "BYE-200"] {
        assert_eq!(called["latency"][latency]["count"], calls, "{latency} of {out}");
    }
    let millis = |of: &str, what: &str| called["latency"][of][what].as_f64().expect("a time");
    // The ring time of 20 ms lies between them.
    assert!(millis("INVITE-200", "p50_ms") >= 20.0 && millis("INVITE-180", "p50_ms") > 0.0);
    assert!(called["generator"]["us_per_message"].as_f64().expect("a time") > 0.0);
    assert_eq!((&gone["ok"], &gone["registered"]), (&5.into(), &45.into()));
    let table = std::fs::read_to_string(&csv).expect("written");
    let columns: Vec<usize> = table.lines().map(|line| line.matches(',').count()).collect();
    assert!(table.contains("\"register\",25,") && columns.len() >= 7, "{table}");
    // The comma of a mix is inside quotes.
    assert!(columns.iter().all(|count| (columns[0]..=columns[0] + 1).contains(count)), "{table}");
    drop(lab.end());
}

#[test]
fn a_load_starts_the_lab_that_it_needs() {
    for (number, extra) in [(31, &[][..]), (32, &["--one-process"])] {
        let own = OwnLab::new(number);
        let file = own.file();
        let mut words = vec!["--lab", file.to_str().expect("text"), "--timeout", "20s"];
        words.extend(extra);
        words.extend(["call:5:5", "--ring", "0s", "--hold", "10ms"]);

        let (code, out, said) = load(&words);

        assert_eq!((code, said.as_str()), (Some(0), ""), "{out}");
        assert!(out.starts_with("call at 5/s for ") && out.contains(": 5 begun, 5 ok ("), "{out}");
        assert!(out.contains("INVITE-180") && out.contains("p99.9"), "{out}");
        assert!(out.contains("  generator  "), "{out}");
    }
}

const NOBODY: [&str; 10] = [
    "--impi",
    "1@ims.example",
    "--password",
    "x",
    "--users",
    "10",
    "--timeout",
    "300ms",
    "--t1",
    "100ms",
];

#[test]
fn a_p_cscf_that_says_nothing_is_told_as_such() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let dut = silent.local_addr().expect("an address").to_string();

    let (code, out, _) = load(&[&["--dut", &dut, "register:50:10"][..], &NOBODY].concat());

    assert_eq!(code, Some(1));
    assert!(out.contains(": 10 begun, 0 ok (0.0/s), 10 failed"), "{out}");
    assert!(out.contains("10  REGISTER without answer\n"), "{out}");
    assert!(out.contains("  sent again          10\n"), "{out}");
    assert!(out.contains("nothing came back at all"), "{out}");
}

#[test]
fn a_p_cscf_that_refuses_is_told_by_its_code_and_nobody_calls_who_is_not_registered() {
    let core = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let dut = core.local_addr().expect("an address").to_string();
    let wanted = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = core.recv_from(&mut buffer) {
            let request = String::from_utf8_lossy(&buffer[..length]);
            let lines = request.lines().filter(|line| wanted.iter().any(|it| line.starts_with(it)));
            let head: String = lines.map(|line| format!("{line}\r\n")).collect();
            let answer = format!("SIP/2.0 503 No\r\n{head}Content-Length: 0\r\n\r\n");
            core.send_to(answer.as_bytes(), from).expect("sent");
        }
    });

    let (code, out, _) =
        load(&[&["--dut", &dut, "register:50:10", "call:50:10"][..], &NOBODY].concat());

    assert_eq!(code, Some(1));
    assert!(out.contains("10  REGISTER answered 503\n"), "{out}");
    assert!(out.contains("before the phase register at 300/s"), "{out}");
    assert!(!out.contains("call at"), "{out}");
}

#[test]
fn what_cannot_be_run_is_said() {
    for (words, expected) in [
        (&["--dut", "127.0.0.1:9"][..], "who are the UEs?"),
        (&["cal:1"], "`cal` is no work of a UE"),
        (&["--dut", "nowhere", "--impi", "1@x", "--password", "y"], "write e.g. 127.0.0.1:5060"),
        (&["--dut", "127.0.0.1:9", "--impi", "alice", "--password", "y"], "no IMPI to count up"),
        (&["--dut", "127.0.0.1:9", "--impi", "1@x", "--k", "12"], "--op or --opc"),
        (&["--dut", "127.0.0.1:9", "--impi", "1@x", "--k", "12", "--op", "12"], "no key of 32"),
        (&["--sources", "127.0.0.1"], "must be 1 to 250"),
        (&["--users", "1", "--impi", "1@x", "--password", "y", "--dut", "127.0.0.1:9"], "too few"),
        (&["--impi", "1@x", "--password", "y"], "--impi is for --dut"),
    ] {
        let (code, _, said) = load(words);
        assert_eq!(code, Some(2), "{words:?}: {said}");
        assert!(said.contains(expected), "{words:?}: {said}");
    }
}
