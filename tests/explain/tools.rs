//! Captures written by programs of others read as ours do. Each test is skipped where its program
//! is not installed.

use std::path::Path;
use std::process::Command;

use scenarios::builtin;
use scenarios::capture::{Capture, Captured, read_file};
use scenarios::report::{Parties, pcapng};

use super::running::{installed, output, text};

fn run(command: &mut Command) {
    let out = output(command);
    assert!(out.status.success(), "{command:?}: {}", text(&out.stderr));
}

/// The messages without what differs by the precision of a format.
fn messages(capture: &Capture) -> Vec<(u64, String, Vec<u8>)> {
    let told = |it: &Captured| (it.frame, format!("{}>{}", it.from, it.to), it.bytes.to_vec());
    capture.messages.iter().map(told).collect()
}

fn write_call(path: &Path) -> Capture {
    let source = builtin::find("volte-call").expect("a scenario").source;
    let outcome = scenarios::run::simulate(source, 1).expect("runs");
    std::fs::write(path, pcapng::write(&outcome.events, &Parties::default())).expect("written");
    read_file(path).expect("a capture")
}

#[test]
fn editcap_and_mergecap_write_what_is_read() {
    if !installed("editcap") || !installed("mergecap") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let ours = folder.path().join("ours.pcapng");
    let before = write_call(&ours);
    assert!(before.messages.len() > 100, "{}", before.messages.len());
    for format in ["pcap", "nsecpcap", "pcapng", "modpcap"] {
        let theirs = folder.path().join(format);
        run(Command::new("editcap").arg("-F").arg(format).arg(&ours).arg(&theirs));
        match (format, read_file(&theirs)) {
            // A format of its own, which the message says is not known.
            ("modpcap", result) => assert!(result.is_err(), "modified pcap"),
            (_, result) => {
                assert_eq!(messages(&result.expect("read")), messages(&before), "{format}");
            }
        }
    }
    let short = folder.path().join("short");
    run(Command::new("editcap").args(["-s", "200"]).arg(&ours).arg(&short));
    let cut = read_file(&short).expect("read");
    assert!(cut.flaws.iter().any(|it| it.contains("captured only in part")), "{:?}", cut.flaws);
    let merged = folder.path().join("merged");
    run(Command::new("mergecap").arg("-a").arg("-w").arg(&merged).arg(&ours).arg(&ours));
    let twice = read_file(&merged).expect("read");
    assert!(twice.messages.len() >= before.messages.len(), "{:?}", twice.flaws);
}

#[test]
fn tshark_writes_what_is_read() {
    if !installed("tshark") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let ours = folder.path().join("ours.pcapng");
    let before = write_call(&ours);
    let theirs = folder.path().join("theirs.pcap");
    run(Command::new("tshark").arg("-r").arg(&ours).args(["-F", "pcap", "-w"]).arg(&theirs));
    assert_eq!(messages(&read_file(&theirs).expect("read")), messages(&before));
}

#[test]
fn text2pcap_writes_what_is_read() {
    if !installed("text2pcap") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let message = "OPTIONS sip:bob@ims.example SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    let mut dump = String::from("000000");
    for byte in message.bytes() {
        dump.push_str(&format!(" {byte:02x}"));
    }
    dump.push('\n');
    let (hex, out) = (folder.path().join("hex"), folder.path().join("out"));
    std::fs::write(&hex, dump).expect("written");
    for ends in [
        &["-u", "5070,5080"][..],
        &["-T", "5070,5080"],
        &["-4", "192.0.2.1,192.0.2.2", "-u", "5070,5080"],
    ] {
        run(Command::new("text2pcap").args(ends).arg(&hex).arg(&out));
        let capture = read_file(&out).expect("read");
        assert_eq!(capture.messages.len(), 1, "{ends:?}: {:?}", capture.flaws);
        let it = &capture.messages[0];
        assert_eq!((it.from.port(), it.to.port(), &it.bytes[..]), (5070, 5080, message.as_bytes()));
    }
}
