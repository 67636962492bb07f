//! Security associations on real sockets: whole protected calls in each form of ESP that this
//! machine allows, keys for Wireshark, clear text where none may be, runs side by side.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Output, Stdio};

use cscf_core::config::{EspBackend, Lab, SecAgree, SubscriberTransport};
use cscf_core::host::protected::raw_can;
use cscf_core::transport::Transport;
use serde_json::Value;

use crate::asking;
use crate::running::{Running, cscf, output, text, wait_until};

/// The forms of this program that this machine allows; says which it does not.
fn forms() -> Vec<EspBackend> {
    let raw = raw_can();
    if let Err(why) = &raw {
        println!("skipped: {why}");
    }
    [(EspBackend::Raw, raw.is_ok()), (EspBackend::Udp, true)]
        .into_iter()
        .filter_map(|(form, there)| there.then_some(form))
        .collect()
}

/// Runs a scenario in the built-in lab with changes.
fn run(folder: &Path, args: &[&str], change: impl FnOnce(&mut Lab)) -> Output {
    let mut lab = Lab::default_lab();
    change(&mut lab);
    let file = folder.join("lab.yaml");
    std::fs::write(&file, lab.to_yaml()).expect("writes");
    let mut command = cscf();
    command.current_dir(folder).args(["run", "--out", "out", "--lab"]).arg(&file).args(args);
    output(&mut command)
}

fn passed(output: &Output) -> String {
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{told}");
    told
}

/// The events of a run.
fn trace(folder: &Path) -> Vec<Value> {
    let trace = std::fs::read_to_string(folder.join("out/trace.jsonl")).expect("a trace");
    trace.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The messages of a method or status that a node received at a port, by a transport.
fn received(events: &[Value], node: &str, (begin, transport): (&str, &str), port: u16) -> usize {
    let is = |event: &&Value| {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        event["node"] == node
            && event["kind"] == "received"
            && text("text").starts_with(begin)
            && text("transport").eq_ignore_ascii_case(transport)
            && text("local").ends_with(&format!(":{port}"))
    };
    events.iter().filter(is).count()
}

#[test]
fn a_call_is_protected_from_end_to_end_in_each_form() {
    for form in forms() {
        let folder = tempfile::tempdir().expect("folder");
        let told = passed(&run(folder.path(), &["volte-call", "--ipsec"], |lab| {
            lab.gm.backend = form;
        }));
        let words = if form == EspBackend::Raw { "on raw sockets" } else { "in UDP datagrams" };
        assert!(told.contains("Gm: ESP ") && told.contains(words), "{told}");
        let events = trace(folder.path());
        let port_ps = Lab::default_lab().gm.port_ps;
        // Of alice and bob each: a REGISTER in the clear, the other and all that follows not.
        assert_eq!(received(&events, "p1", ("REGISTER", "udp"), 5060), 2);
        assert_eq!(received(&events, "p1", ("REGISTER", "udp"), port_ps), 2);
        // At the other port only the one of the S-CSCF came.
        assert_eq!(received(&events, "p1", ("INVITE", "udp"), 5060), 1);
        assert_eq!(received(&events, "p1", ("INVITE", "udp"), port_ps), 1);
        assert_eq!(received(&events, "bob", ("INVITE", "udp"), 40_002), 1);
        // Four associations of each, with their keys; the packets of the capture are open.
        let keys = std::fs::read_to_string(folder.path().join("out/esp_sa")).expect("keys");
        let lines: BTreeSet<&str> = keys.lines().collect();
        assert_eq!(lines.len(), 8, "{keys}");
        assert!(lines.iter().all(|line| line.contains("\"HMAC-SHA-1-96 [RFC2404]\"")), "{keys}");
        let shown = output(cscf().current_dir(folder.path()).args(["keys", "out"]));
        assert_eq!(text(&shown.stdout), keys);
        let capture = std::fs::read(folder.path().join("out/trace.pcapng")).expect("a capture");
        let protected = |method: &str| {
            let begin = [&port_ps.to_be_bytes()[..]].concat();
            let at = capture.windows(method.len()).positions_of(method.as_bytes());
            at.iter()
                .any(|at| capture[at.saturating_sub(64)..*at].windows(2).any(|two| two == begin))
        };
        assert!(protected("INVITE sip:") || protected("INVITE tel:"), "a decrypted INVITE");
    }
}

/// Where a piece stands.
trait Positions<'a>: Iterator<Item = &'a [u8]> + Sized {
    fn positions_of(self, piece: &[u8]) -> Vec<usize> {
        self.enumerate().filter(|(_, part)| *part == piece).map(|(at, _)| at).collect()
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> Positions<'a> for I {}

#[test]
fn a_call_over_tcp_is_protected_in_each_form() {
    for form in forms() {
        let folder = tempfile::tempdir().expect("folder");
        passed(&run(folder.path(), &["volte-call", "--ipsec"], |lab| {
            lab.gm.backend = form;
            for subscriber in lab.subscribers.listed_mut() {
                subscriber.transport = SubscriberTransport::Tcp;
            }
        }));
        let events = trace(folder.path());
        let port_ps = Lab::default_lab().gm.port_ps;
        assert_eq!(received(&events, "p1", ("REGISTER", "tcp"), port_ps), 2, "{form:?}");
        assert_eq!(received(&events, "p1", ("INVITE", "tcp"), port_ps), 1, "{form:?}");
        // By the connection from his first protected client port.
        assert_eq!(received(&events, "bob", ("INVITE", "tcp"), 40_003), 1, "{form:?}");
    }
}

#[test]
fn two_protected_runs_beside_each_other_do_not_meet() {
    let folders = [tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder")];
    // Without namespaces: both in the network of this machine.
    let start = |folder: &tempfile::TempDir| {
        let mut command = cscf();
        command.current_dir(folder.path()).args(["run", "call-over-associations", "--out", "out"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    };
    let runs = folders.each_ref().map(start);
    for run in runs {
        passed(&run.wait_with_output().expect("ends"));
    }
    for folder in &folders {
        let dropped = trace(folder.path()).iter().filter(|it| it["kind"] == "dropped").count();
        assert_eq!(dropped, 0, "nothing of the other run came here");
    }
}

/// A lab in which alice has to be protected, with her phone.
fn protected_lab() -> Running {
    Running::start_with(|lab, _| {
        lab.gm.backend = EspBackend::Udp;
        for subscriber in lab.subscribers.listed_mut().iter_mut().filter(|one| one.name == "alice")
        {
            subscriber.ipsec = Some(SecAgree::Required);
        }
        ["--with", "alice=answers"].map(Into::into).to_vec()
    })
}

#[test]
fn a_running_lab_tells_its_form_its_keys_and_what_it_dropped() {
    let lab = protected_lab();
    let table = lab.wait_for("Gm  ");
    assert!(table.contains("ESP in UDP datagrams at port 4500 (RFC 3948) (as the lab says)"));
    lab.wait_for("registered");
    let control = lab.lab.control.expect("controlled");
    let file = lab.folder.path().join("lab.yaml");
    let shown = text(&output(cscf().args(["keys", "--lab"]).arg(file)).stdout);
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(shown.contains(&format!("\"{}\",\"{}\"", lab.ip(101), lab.ip(11))), "{shown}");
    let rows = asking::get(control, "/keys").json();
    assert_eq!(rows["rows"].as_array().map(Vec::len), Some(4), "{rows}");
    // Clear text to a protected port, by UDP and TCP.
    let port = (lab.ip(11), lab.lab.gm.port_ps);
    let stranger = UdpSocket::bind((lab.ip(66), 0)).expect("binds");
    stranger.send_to(b"OPTIONS sip:x SIP/2.0\r\n\r\n", port).expect("sends");
    drop(TcpStream::connect(port).expect("is seen"));
    wait_until(|| {
        let metrics = asking::get(control, "/metrics").body;
        let line = "cscf_esp_dropped_total{node=\"p1\",cause=\"clear text\"} 2";
        metrics.contains(line).then_some(())
    });
}

#[test]
fn phones_offer_an_agreement_where_the_lab_requires_it_of_all() {
    let lab = Running::start_with(|lab, _| {
        lab.gm.backend = EspBackend::Udp;
        lab.gm.sec_agree = SecAgree::Required;
        ["--with", "alice=answers", "--with", "bob=busy"].map(Into::into).to_vec()
    });
    let registered = [lab.wait_for(" registered from "), lab.wait_for(" registered from ")];
    for (name, host) in [("alice", 101), ("bob", 102)] {
        let line = format!("{name} registered from {}", lab.ip(host));
        assert!(registered.iter().any(|it| it.contains(&line)), "{line} is not in {registered:?}");
    }
    let file = lab.folder.path().join("lab.yaml");
    let shown = text(&output(cscf().args(["keys", "--lab"]).arg(file)).stdout);
    assert_eq!(shown.lines().count(), 8, "{shown}");
}

#[test]
fn a_client_without_tls_is_told_on_the_terminal() {
    let lab = Running::start_with(|lab, folder| {
        let pcscf = &mut lab.nodes[0];
        pcscf.listen_for(Transport::Tls);
        let files = scenarios::certificates::make(lab, &folder.join("tls"));
        lab.tls = files.expect("certificates");
        Vec::new()
    });
    lab.wait_for("sip over TLS at p1");
    let mut client = TcpStream::connect((lab.ip(11), 5061)).expect("listens");
    client.write_all(b"REGISTER sip:x SIP/2.0\r\n\r\n").expect("sends");
    let line = lab.wait_for("not connected");
    assert!(line.contains("TLS: plain text on the TLS port"), "{line}");
}

#[test]
fn a_back_end_that_is_not_there_is_an_error_that_says_what_to_do() {
    // Nobody's loopback is protected by a kernel.
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("lab.yaml");
    let mut lab = Lab::for_plmn("001", "01", [Ipv4Addr::LOCALHOST.into(); 4]);
    lab.gm.sec_agree = SecAgree::Off;
    std::fs::write(&file, lab.to_yaml()).expect("writes");
    let refused = output(cscf().args(["up", "--ipsec", "--lab"]).arg(&file));
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("ipsec: off"), "{said}");
}
