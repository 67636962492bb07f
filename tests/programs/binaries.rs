//! The command `cscf` as a person meets it: processes, ports, signals, exit codes. Each test has
//! addresses of its own in 127/8 and waits for events, with a bound.

#![allow(clippy::expect_used, reason = "fixtures of tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cscf_core::config::{Lab, NodeRole};
use serde_json::Value;
use tempfile::TempDir;

/// The longest any single event may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(20);
/// How long nodes may outlive a parent that was killed.
const GONE_WITHIN: Duration = Duration::from_secs(3);

fn cscf(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cscf-under-test"));
    command.args(args).stdin(Stdio::null()).env_remove("CSCF_LOG");
    command
}

fn output(args: &[&str]) -> Output {
    cscf(args).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A lab in a network of its own, written to a file.
pub(super) struct OwnLab {
    lab: Lab,
    folder: TempDir,
}

impl OwnLab {
    pub(super) fn new(number: u8) -> Self {
        // Tests of another checkout may run on this machine at the same time.
        let network = u8::try_from(std::process::id() % 100).expect("small") + 130;
        let ip = |host| IpAddr::V4(Ipv4Addr::new(127, network, number, host));
        let mut lab = Lab::for_plmn("001", "01", [ip(1), ip(2), ip(3), ip(4)]);
        lab.control = Some(SocketAddr::new(ip(1), 9480));
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("lab.yaml"), lab.to_yaml()).expect("writes");
        Self { lab, folder }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("lab.yaml")
    }

    fn addr(&self, role: NodeRole) -> SocketAddr {
        self.lab.node(role).expect("node").listen
    }

    fn up(&self, extra: &[&str]) -> Up {
        let file = self.file();
        let mut args = vec!["up", "--lab", file.to_str().expect("text")];
        args.extend(extra);
        Up::start(&args)
    }

    /// A connection to each node: it ends when the node does.
    fn connections(&self) -> Vec<(String, TcpStream)> {
        let connect = |node: &cscf_core::config::NodeConfig| {
            let stream = TcpStream::connect_timeout(&node.listen, WITHIN).expect("listens");
            (node.name.clone(), stream)
        };
        self.lab.nodes.iter().map(connect).collect()
    }
}

/// A running `cscf up`; killed when the test is over.
struct Up {
    child: Child,
    lines: Receiver<String>,
}

impl Up {
    fn start(args: &[&str]) -> Self {
        let mut command = cscf(args);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(WITHIN).expect("a line in time")
    }

    fn wait_for(&self, part: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    /// The exit status and what was said on standard error.
    fn end(mut self) -> (ExitStatus, String) {
        let mut stderr = self.child.stderr.take().expect("piped");
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            let _ = sender.send(text);
        });
        let said = said.recv_timeout(WITHIN).expect("ends in time");
        (self.child.wait().expect("ended"), said)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill");
    assert!(status.success());
}

/// Waits until the peer of each connection is gone.
fn all_end(connections: Vec<(String, TcpStream)>, within: Duration) {
    for (name, mut stream) in connections {
        stream.set_read_timeout(Some(within)).expect("timeout");
        let mut byte = [0; 1];
        match stream.read(&mut byte) {
            Ok(count) => assert_eq!(count, 0, "{name} says something"),
            Err(fault) => {
                let kind = fault.kind();
                assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{name} is still there");
            }
        }
    }
}

/// Process id and arguments of the children that run from this lab file.
fn children(lab_file: &Path) -> Vec<(u32, Vec<String>)> {
    let file = lab_file.to_string_lossy().into_owned();
    let mut out = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let Ok(bytes) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let args: Vec<String> = text(&bytes).split('\0').map(str::to_owned).collect();
        if args.contains(&file) && args.contains(&"--child".to_owned()) {
            out.push((pid, args));
        }
    }
    out
}

#[test]
fn the_program_has_an_allocator_of_its_own() {
    let said = cscf(&["--version"]).env("MIMALLOC_VERBOSE", "1").output().expect("runs");

    // With the allocator of the system nobody reads that variable.
    assert!(text(&said.stderr).contains("mimalloc"), "{}", text(&said.stderr));
}

#[test]
fn up_says_ready_first_then_how_to_reach_it_and_ends_in_order() {
    let own = OwnLab::new(1);
    let up = own.up(&[]);
    assert_eq!(up.line(), "ready p1 i1 s1 hss");
    let pcscf = own.addr(NodeRole::Pcscf);
    assert!(up.wait_for("P-CSCF").contains(&pcscf.to_string()));
    up.wait_for("carol-secret");
    let connections = own.connections();
    let mut names: Vec<String> =
        children(&own.file()).into_iter().map(|(_, args)| args[0].clone()).collect();
    names.sort();
    assert_eq!(names, ["hss", "i-cscf", "p-cscf", "s-cscf"]);

    up.signal("-TERM");

    let (status, said) = up.end();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    all_end(connections, GONE_WITHIN);
    assert!(children(&own.file()).is_empty());
}

/// Runs `cscf WORDS` for this lab: exit code, standard output, standard error.
fn ask(own: &OwnLab, command: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let file = own.file();
    let mut args = vec![command, "--lab", file.to_str().expect("text")];
    args.extend(words);
    let output = output(&args);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_running_lab_takes_orders_and_says_why_it_refused() {
    for (number, extra) in [(20, &[][..]), (21, &["--one-process"])] {
        let own = OwnLab::new(number);
        let (code, _, said) = ask(&own, "ctl", &["show", "registrations"]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("no lab runs"), "{said}");

        let mut args = vec!["--with", "alice=answers"];
        args.extend(extra);
        let up = own.up(&args);
        up.wait_for("alice registered");
        let ok = |(code, out, said): (Option<i32>, String, String)| {
            assert_eq!(code, Some(0), "{said}");
            out
        };
        let table = ok(ask(&own, "ctl", &["show", "registrations"]));
        assert!(table.contains("s1 ") && table.contains("001010000000001@"), "{table}");
        let json = ok(ask(&own, "ctl", &["--json", "show", "subscribers", "alice"]));
        let rows: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(rows[0]["state"], "registered", "{json}");

        let (code, _, said) = ask(&own, "ctl", &["dereg", "alicia"]);
        assert_eq!(code, Some(2));
        assert!(said.contains("did you mean `alice`?"), "{said}");
        let (code, _, said) = ask(&own, "ctl", &["reauth", "bob"]);
        assert_eq!(code, Some(1));
        assert!(said.contains("is not registered here"), "{said}");

        let done = ok(ask(&own, "ctl", &["dereg", "alice", "--reason", "rejected"]));
        assert!(done.contains("s1: 001010000000001@"), "{done}");
        let table = ok(ask(&own, "ctl", &["show", "registrations"]));
        assert!(table.contains("(none)"), "{table}");

        let before = ok(ask(&own, "why", &["carol"]));
        assert!(before.contains("nobody has refused carol"), "{before}");
        let register = format!(
            "REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5099;branch=z9hG4bKw\r\n\
             From: <sip:carol@{domain}>;tag=1\r\nTo: <sip:carol@{domain}>\r\nCall-ID: w\r\n\
             CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nRequire: no-such-extension\r\n\
             Contact: <sip:127.0.0.1:5099>\r\nContent-Length: 0\r\n\r\n",
            domain = own.lab.domain
        );
        let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
        socket.send_to(register.as_bytes(), own.addr(NodeRole::Pcscf)).expect("sends");
        up.wait_for("carol not registered, refused: 420");
        let why = ok(ask(&own, "why", &["carol"]));
        assert!(why.contains("Require: no-such-extension"), "{why}");
        assert!(why.contains("[RFC 3261 §10.3]"), "{why}");
        up.signal("-TERM");
        assert_eq!(up.end().0.code(), Some(0));
    }
}

#[test]
fn ctrl_c_ends_it_in_order_too() {
    let own = OwnLab::new(2);
    let up = own.up(&[]);
    up.wait_for("ready");
    up.signal("-INT");
    assert_eq!(up.end().0.code(), Some(0));
}

#[test]
fn a_killed_parent_leaves_no_node_behind() {
    let own = OwnLab::new(3);
    let up = own.up(&[]);
    up.wait_for("ready");
    let connections = own.connections();
    assert_eq!(connections.len(), 4);

    up.signal("-KILL");

    all_end(connections, GONE_WITHIN);
}

#[test]
fn a_dead_node_is_named_and_ends_the_lab() {
    let own = OwnLab::new(4);
    let up = own.up(&[]);
    up.wait_for("ready");
    let connections = own.connections();
    let scscf = children(&own.file()).into_iter().find(|(_, args)| args[0] == "s-cscf");

    kill("-KILL", scscf.expect("runs").0);

    let (status, said) = up.end();
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("error: s1 has ended (signal: 9"), "{said}");
    all_end(connections, GONE_WITHIN);
}

#[test]
fn a_port_in_use_is_explained_and_nothing_is_left_running() {
    let own = OwnLab::new(5);
    let pcscf = own.addr(NodeRole::Pcscf);
    let _taken = UdpSocket::bind(pcscf).expect("binds");

    for extra in [&[][..], &["--one-process"]] {
        let (status, said) = own.up(extra).end();

        assert_eq!(status.code(), Some(2), "{said}");
        let expected = format!("p1 cannot listen on udp {pcscf}: the address is in use");
        assert!(said.contains(&expected), "{said}");
        for role in [NodeRole::Icscf, NodeRole::Scscf] {
            UdpSocket::bind(own.addr(role)).expect("free again");
        }
    }
}

#[test]
fn a_second_lab_on_the_same_addresses_is_refused() {
    let own = OwnLab::new(6);
    let first = own.up(&[]);
    first.wait_for("ready");

    let (status, said) = own.up(&[]).end();

    assert_eq!(status.code(), Some(2));
    assert!(said.contains("the address is in use"), "{said}");
    first.signal("-TERM");
    assert_eq!(first.end().0.code(), Some(0));
}

/// A REGISTER of carol without credentials.
fn register(own: &OwnLab, from: SocketAddr, transport: &str) -> String {
    let domain = &own.lab.domain;
    format!(
        "REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:carol@{domain}>;tag=1\r\nTo: <sip:carol@{domain}>\r\n\
         Call-ID: {transport}@{from}\r\nCSeq: 1 REGISTER\r\nContact: <sip:carol@{from}>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_client_is_challenged_over_udp_and_over_tcp() {
    for (number, extra) in [(7, &[][..]), (8, &["--one-process"])] {
        let own = OwnLab::new(number);
        let up = own.up(extra);
        up.wait_for("ready");
        let pcscf = own.addr(NodeRole::Pcscf);
        let mut buffer = [0; 4096];

        let socket = UdpSocket::bind((pcscf.ip(), 0)).expect("binds");
        socket.set_read_timeout(Some(WITHIN)).expect("timeout");
        let request = register(&own, socket.local_addr().expect("address"), "UDP");
        socket.send_to(request.as_bytes(), pcscf).expect("sends");
        let count = loop {
            let (count, _) = socket.recv_from(&mut buffer).expect("an answer in time");
            if !buffer.starts_with(b"SIP/2.0 100") {
                break count;
            }
        };
        let answer = text(&buffer[..count]);
        assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");
        assert!(answer.contains("algorithm=MD5"), "{answer}");

        let mut stream = TcpStream::connect(pcscf).expect("connects");
        stream.set_read_timeout(Some(WITHIN)).expect("timeout");
        let request = register(&own, stream.local_addr().expect("address"), "TCP");
        let (head, tail) = request.as_bytes().split_at(100);
        stream.write_all(head).expect("writes");
        stream.write_all(tail).expect("writes");
        let count = stream.read(&mut buffer).expect("an answer in time");
        let answer = text(&buffer[..count]);
        assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");

        up.signal("-TERM");
        assert_eq!(up.end().0.code(), Some(0));
    }
}

#[test]
fn emulated_phones_register_and_the_trace_is_written() {
    for (number, extra) in [(9, &[][..]), (10, &["--one-process"])] {
        let own = OwnLab::new(number);
        let trace = own.folder.path().join("trace.jsonl");
        let mut args = vec!["--with", "bob=answers", "--with", "dave=busy", "--trace"];
        args.push(trace.to_str().expect("text"));
        args.extend(extra);
        let up = own.up(&args);

        let mut lines = [up.wait_for(" registered from "), up.wait_for(" registered from ")];

        lines.sort_by_key(|line| line.contains("dave"));
        assert!(lines[0].contains("bob registered") && lines[1].contains("dave"), "{lines:?}");
        up.signal("-TERM");
        assert_eq!(up.end().0.code(), Some(0));
        let written = std::fs::read_to_string(&trace).expect("a trace");
        let mut nodes: Vec<String> = written
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .map(|event| event["node"].as_str().expect("a name").to_owned())
            .collect();
        nodes.sort();
        nodes.dedup();
        assert_eq!(nodes, ["bob", "dave", "hss", "i1", "p1", "s1"]);
    }
}

#[test]
fn a_lab_file_is_made_checked_and_never_overwritten_by_chance() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("new.yaml");
    let file = path.to_str().expect("text");
    let init = ["init", "--plmn", "310/410", "--address", "192.168.1.10", "-o", file];

    assert_eq!(output(&init).status.code(), Some(0));

    let checked = output(&["check", file]);
    assert_eq!(checked.status.code(), Some(0));
    let line = text(&checked.stdout);
    assert!(line.contains("ims.mnc410.mcc310.3gppnetwork.org"), "{line}");
    assert!(line.contains("p1 192.168.1.10:5060"), "{line}");
    let again = output(&init);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--force"));
    let forced = [&init[..], &["--force"]].concat();
    assert_eq!(output(&forced).status.code(), Some(0));
}

#[test]
fn every_mistake_in_a_lab_file_is_named_with_its_place() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("bad.yaml");
    let file = path.to_str().expect("text");
    let good = Lab::default_lab().to_yaml();
    let bad = good.replace("cx_timeout:", "cx_timout:").replace("t1: 2s", "t1: 2");
    std::fs::write(&path, bad).expect("writes");

    for args in [vec!["check", file], vec!["up", "--lab", file], vec!["hss", "--lab", file]] {
        let checked = output(&args);
        assert_eq!(checked.status.code(), Some(2));
        let said = text(&checked.stderr);
        assert!(said.contains("cx_timeout") && said.contains("needs a unit"), "{said}");
        assert_eq!(said.matches(&format!("{file}:")).count(), 2, "{said}");
    }
}

#[test]
fn parse_says_the_facts_of_each_file() {
    let folder = tempfile::tempdir().expect("folder");
    let good = folder.path().join("good.sip");
    let bad = folder.path().join("bad.sip");
    let own = OwnLab::new(11);
    let request = register(&own, "127.0.0.1:5070".parse().expect("address"), "UDP");
    std::fs::write(&good, &request).expect("writes");
    std::fs::write(&bad, request.replace("SIP/2.0\r\nVia", "HTTP/1.1\r\nVia")).expect("writes");
    let [good, bad] = [&good, &bad].map(|path| path.to_str().expect("text"));

    let parsed = output(&["parse", "--json", good, bad]);

    assert_eq!(parsed.status.code(), Some(1), "one is rejected");
    assert_eq!(output(&["parse", good]).status.code(), Some(0));
    let lines: Vec<Value> = text(&parsed.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["file"], &lines[0]["verdict"]), (&good.into(), &"accept".into()));
    assert_eq!(lines[0]["method"], "REGISTER");
    assert_eq!((&lines[0]["cseq"], &lines[0]["via_count"]), (&1.into(), &1.into()));
    assert_eq!((&lines[0]["to_tag"], &lines[0]["status"]), (&Value::Null, &Value::Null));
    assert_eq!((&lines[1]["file"], &lines[1]["verdict"]), (&bad.into(), &"reject".into()));
    assert!(lines[1]["reason"].is_string() && lines[1]["method"].is_null());
    let missing = output(&["parse", "/no/such/file"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn what_is_not_understood_is_answered_with_what_may_have_been_meant() {
    let help = output(&[]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).starts_with("cscf run volte-call"));
    for (args, expected) in [
        (&["run", "volte-cal"][..], "volte-call"),
        (&["up", "--with", "bob=anwsers"], "answers"),
        (&["up", "--with", "bobb=answers"], "did you mean `bob`?"),
        (&["chekc", "x"], "check"),
    ] {
        let wrong = output(args);
        assert_eq!(wrong.status.code(), Some(2));
        assert!(text(&wrong.stderr).contains(expected), "{}", text(&wrong.stderr));
        assert!(!text(&wrong.stderr).contains('\x1b'), "no colours into a pipe");
    }
}

#[test]
fn a_scenario_runs_in_virtual_time_and_on_real_sockets() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("out");
    let out = out.to_str().expect("text");

    let simulated = ["run", "register-aka", "--virtual", "--seed", "7", "--out", out];
    let (first, second) = (output(&simulated), output(&simulated));
    let live = output(&["run", "register-aka", "--out", out]);

    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(live.status.code(), Some(0), "{}", text(&live.stderr));
}
